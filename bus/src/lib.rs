//! What can be asked of Switchback: the catalogue of messages with their parameters, the refusals, and the bus
//! that carries them.
//!
//! **Invariant:** there is one catalogue. HTTP routes, CLI verbs and subjects are made from it.

#![forbid(unsafe_code)]

mod access_control_list;
mod access_key;
mod account;
mod api_token;
pub mod asyncapi;
mod caller;
mod catalogue;
mod certificate;
mod cluster;
mod eip;
mod global_config;
mod heading;
mod host;
mod image;
mod in_flight;
mod ip_range;
mod l2_network;
mod l3_network;
mod load_balancer;
mod measure;
mod message;
mod network_service_provider;
mod nic;
mod offering;
mod ownership;
mod policy;
mod port_forwarding;
mod problem;
mod rates;
#[cfg(debug_assertions)]
mod reached;
mod read;
mod refusal;
mod resource_config;
mod role;
mod router;
pub mod schema;
mod secret;
mod security_group;
mod server_group;
mod tag_set;
mod tokens;
mod transport;
mod vip;
mod vm_instance;
mod zone;

pub use access_control_list::*;
pub use access_key::*;
pub use account::*;
pub use api_token::*;
pub use caller::Caller;
pub use catalogue::*;
pub use certificate::*;
pub use cluster::*;
pub use eip::*;
pub use global_config::*;
pub use heading::*;
pub use host::*;
pub use image::*;
pub use in_flight::{InFlight, InFlightPlace};
pub use ip_range::*;
pub use l2_network::*;
pub use l3_network::*;
pub use load_balancer::*;
pub use measure::*;
pub(crate) use message::messages;
pub use message::{
    Access, Check, KEY_ID, KEY_SECRET, MAX_LIST, MAX_OBJECTS, Message, MessageKind, Parameter, ParameterType, camel,
    nearest,
};
pub use network_service_provider::*;
pub use nic::*;
pub use offering::*;
pub use ownership::*;
pub use policy::*;
pub use port_forwarding::*;
pub use problem::{problem, status, title};
pub use rates::{Asked, Rates};
pub use read::*;
pub use refusal::*;
pub use resource_config::*;
pub use role::*;
pub use router::*;
pub use secret::*;
pub use security_group::*;
pub use server_group::*;
pub use tag_set::*;
pub use tokens::*;
pub use transport::*;
pub use vip::*;
pub use vm_instance::*;
pub use zone::*;
