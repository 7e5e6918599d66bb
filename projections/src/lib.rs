//! What is: inventories folded from the log into an embedded SQL database, and the queries over them.
//!
//! Everything derives from one constant [`catalogue`] of kinds: the tables, the fold's statements, the query
//! compiler, the JSON. One file a concept (`zone.rs`, `vm_instance.rs` …) says which rows its events change.
//!
//! **Invariants:** the database is a cache of the log, with its position in the same transaction, and is rebuilt
//! whenever it cannot be trusted. Folding is deterministic: any cut of the log into batches gives the same tables,
//! history included, and so does the bulk rebuild. Every query can be asked of any earlier position.
//!
//! Not here: deciding anything. What a decision needs is folded by the actors from the log itself.

#![forbid(unsafe_code)]

mod access_control_list;
mod account;
#[doc(hidden)]
pub mod bench;
pub mod catalogue;
mod certificate;
mod cluster;
mod compile;
mod condition;
mod current;
mod eip;
mod fold;
mod global_config;
mod host;
mod image;
mod ip_range;
mod l2_network;
mod l3_network;
mod load_balancer;
mod mac_block;
mod network_service_provider;
mod offering;
mod ownership;
mod packed;
mod policy;
mod port_forwarding;
mod projections;
mod query;
mod readers;
mod rebuild;
mod resource_config;
mod role;
mod router;
mod security_group;
mod store;
mod tag_set;
mod value;
mod vip;
mod visible;
mod vm_instance;
mod waiters;
mod zone;

#[cfg(test)]
mod naive;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub use condition::{BadQuery, MEMBERS_MAX, PATTERN_BYTES_MAX, STEPS_MAX, VALUE_BYTES_MAX};
pub use global_config::ConfigDefault;
pub use projections::{OpenError, Progress, Projections, QUERY_TIME_MAX, RebuildProgress};
pub use query::{CONDITIONS_MAX, LIMIT_DEFAULT, LIMIT_MAX, Query, QueryError, QueryReply};
pub use store::StoreError;
