//! What happens to a port forwarding rule: ports of a VIP lead to ports of a nic. It stays when its nic goes.

use crate::{Enabled, L3NetworkId, ServedNic, VipPlace, schema::Prefix};
use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A protocol that has ports.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum PortProtocol {
    #[default]
    TCP,
    UDP,
}

/// Which ports lead where: as many of the nic as of the VIP, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ForwardedPorts {
    pub protocol: PortProtocol,
    pub vip_start: u16,
    pub vip_end: u16,
    pub private_start: u16,
    pub private_end: u16,
    /// Who may come; none: everybody.
    #[schemars(with = "Option<Prefix>")]
    pub allowed_cidr: Option<Ipv4Net>,
}

/// Events of a port forwarding rule. Those that bear on a router name the guest network that it serves.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum PortForwardingEvent {
    Created {
        name: String,
        description: Option<String>,
        at: VipPlace,
        ports: ForwardedPorts,
    },
    Updated {
        name: Option<String>,
        description: Option<String>,
    },
    StateChanged {
        state: Enabled,
        /// The network of its nic, where it has one.
        guest_network: Option<L3NetworkId>,
    },
    /// It leads to this nic from now on. Only an enabled one is attached.
    Attached {
        at: VipPlace,
        to: ServedNic,
        ports: ForwardedPorts,
    },
    /// It leads to no nic.
    Detached {
        at: VipPlace,
        from: ServedNic,
    },
    Deleted {
        at: VipPlace,
        from: Option<ServedNic>,
    },
}
