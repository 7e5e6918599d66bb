//! What can happen in Switchback: ids, network types, one event enum per concept, and the envelope around
//! every event. Events are past-tense facts; they are written once and read forever.
//!
//! **Invariant:** nothing here imports anything of ours, reads a clock or makes a random number.

#![forbid(unsafe_code)]

mod access_control_list;
mod account;
mod certificate;
mod cluster;
mod eip;
mod envelope;
mod event;
mod global_config;
mod host;
mod id;
mod image;
mod ip_range;
mod l2_network;
mod l3_network;
mod load_balancer;
mod mac_block;
mod net;
mod network_service_provider;
mod nic;
mod offering;
mod ownership;
mod policy;
mod port_forwarding;
mod resource_config;
mod role;
mod router;
mod schema;
mod security_group;
mod tag_set;
pub mod upcast;
mod vip;
mod vm_instance;
mod zone;

pub use access_control_list::*;
pub use account::*;
pub use certificate::*;
pub use cluster::*;
pub use eip::*;
pub use envelope::*;
pub use event::*;
pub use global_config::*;
pub use host::*;
pub use id::*;
pub use image::*;
pub use ip_range::*;
pub use l2_network::*;
pub use l3_network::*;
pub use load_balancer::*;
pub use mac_block::*;
pub use net::*;
pub use network_service_provider::*;
pub use nic::*;
pub use offering::*;
pub use ownership::*;
pub use policy::*;
pub use port_forwarding::*;
pub use resource_config::*;
pub use role::*;
pub use router::*;
pub use schema::{EventSchema, EventSchemas, event_schemas};
pub use security_group::*;
pub use tag_set::*;
pub use vip::*;
pub use vm_instance::*;
pub use zone::*;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The administrative state of most resources.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum Enabled {
    Enabled,
    Disabled,
}
