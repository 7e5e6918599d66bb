//! What a router and a host should be: pure folds of events into their configurations, and the protocol by
//! which agents are told.
//!
//! **Invariant:** a configuration is a function of the log and of nothing else.

#![forbid(unsafe_code)]

pub mod changes;
pub mod config;
pub mod dhcp;
pub mod dns;
pub mod eip;
pub mod explain;
pub mod firewall;
pub mod flat;
pub mod host;
pub mod host_config;
pub mod interfaces;
pub mod l2_network;
pub mod load_balancer;
pub mod load_balancer_config;
pub mod metadata;
pub mod network_service_provider;
pub mod port_forwarding;
pub mod protocol;
pub mod router;
#[cfg(test)]
mod samples;
pub mod security_group;
pub mod snat;
pub mod touched;
pub mod vip;
pub mod vip_qos;

pub use config::*;
pub use host::*;
pub use host_config::*;
pub use l2_network::Realisation;
pub use load_balancer_config::*;
pub use metadata::*;
pub use network_service_provider::*;
pub use protocol::*;
pub use router::*;
pub use security_group::*;
