//! Who decides. For each concept: its state, what may be decided of it, and how events change it. Around them one
//! generic actor shell, the registry of actors, and the reconcilers that make the world match the log.
//!
//! **Invariant:** a decision is a pure function of facts, command and context; its commit stands only if nothing
//! that it was shown has moved.

#![forbid(unsafe_code)]

pub mod access_control_list;
pub mod access_key;
pub mod account;
pub mod agents;
pub mod api_token;
mod cascade;
pub mod certificate;
pub mod cluster;
pub mod context;
pub mod decide;
pub mod decision;
pub mod directory;
pub mod eip;
pub mod entity;
pub mod facts;
pub mod findings;
#[cfg(test)]
mod given;
pub mod global_config;
pub mod host;
pub mod image;
pub mod ip_range;
pub mod l2_network;
pub mod l3_network;
pub mod listener_access;
pub mod load_balancer;
pub mod mac_block;
pub mod network_service_provider;
pub mod offering;
pub mod ownership;
pub(crate) mod placement;
pub mod policy;
pub mod port_forwarding;
pub mod reconcilers;
pub mod registry;
pub mod resource_config;
pub mod role;
pub mod router;
pub mod rules;
pub mod security_group;
pub mod server_group;
pub mod state;
pub mod states;
pub mod tag_set;
pub(crate) mod userdata;
pub mod vip;
pub mod vm_instance;
pub mod zone;

pub use access_control_list::AccessControlList;
pub use access_key::AccessKey;
pub use account::Account;
pub use api_token::ApiToken;
pub use certificate::Certificate;
pub use cluster::Cluster;
pub use eip::Eip;
pub use global_config::GlobalConfig;
pub use host::Host;
pub use image::Image;
pub use ip_range::IpRange;
pub use l2_network::L2Network;
pub use l3_network::L3Network;
pub use load_balancer::{Listener, LoadBalancer, ServerGroup};
pub use mac_block::MacBlock;
pub use network_service_provider::NetworkServiceProvider;
pub use offering::Offering;
pub use ownership::Ownership;
pub use policy::Policy;
pub use port_forwarding::PortForwarding;
pub use resource_config::ResourceConfig;
pub use role::Role;
pub use router::Router;
pub use security_group::SecurityGroup;
pub use states::States;
pub use tag_set::TagSet;
pub use vip::Vip;
pub use vm_instance::{VmInstance, VmState};
pub use zone::Zone;
