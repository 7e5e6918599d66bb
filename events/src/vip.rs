//! What happens to a virtual IP address: an address of an L3 network that no nic has, for services to answer at.

use crate::{Enabled, Id, L3NetworkId, NicAddress, NicId, VipId, VmInstanceId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// Events of a VIP. What uses it is in the events of the services themselves.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum VipEvent {
    /// Its range holds the address for it as long as it is there.
    Created {
        name: String,
        description: Option<String>,
        l3_network: L3NetworkId,
        address: NicAddress,
    },
    Updated {
        name: Option<String>,
        description: Option<String>,
    },
    /// A disabled one takes no more services; those that it has stay.
    StateChanged {
        state: Enabled,
    },
    /// Its address is free again.
    Deleted {
        l3_network: L3NetworkId,
    },
    /// Its traffic, or that of one of its ports, has these limits from now on, and no others. The VIP's network is named
    /// because the router on it may come to serve the VIP later.
    QosSet {
        l3_network: L3NetworkId,
        port: Option<u16>,
        limits: QosLimits,
    },
    /// It has none any more.
    QosDeleted {
        l3_network: L3NetworkId,
        port: Option<u16>,
    },
}

/// How fast traffic may be, bits per second; none: as fast as it goes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QosLimits {
    /// Towards the VIP.
    pub inbound: Option<u64>,
    /// From the VIP.
    pub outbound: Option<u64>,
}

/// The id of the limits of a VIP, or of a port of it: they have none of their own.
pub fn vip_qos_id(vip: VipId, port: Option<u16>) -> Id {
    Id::of_name(&match port {
        Some(port) => format!("vip-qos:{vip}:{port}"),
        None => format!("vip-qos:{vip}"),
    })
}

/// The id of the system VIP of a router's public nic: its own IPv4 address. It is there as long as the nic has one, and
/// no event is about it.
pub fn system_vip_id(nic: NicId) -> VipId {
    VipId(Id::of_name(&format!("system-vip:{nic}")))
}

/// A VIP as its services note it: none of this ever changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct VipPlace {
    pub vip: VipId,
    /// The network that its address is of.
    pub l3_network: L3NetworkId,
    pub ip: IpAddr,
    /// Length of the subnet's prefix, bits.
    pub prefix_length: u8,
}

/// Where a service of a VIP leads to. Its address is the nic's of the VIP's family.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ServedNic {
    pub nic: NicId,
    pub vm: VmInstanceId,
    /// The guest network, whose router serves it.
    pub l3_network: L3NetworkId,
}

impl Default for VipPlace {
    fn default() -> VipPlace {
        let ip = Ipv4Addr::UNSPECIFIED.into();
        VipPlace { vip: VipId::default(), l3_network: L3NetworkId::default(), ip, prefix_length: 32 }
    }
}

impl ServedNic {
    /// What of it an event touches.
    pub fn ids(&self) -> [Id; 3] {
        [self.nic.0, self.vm.0, self.l3_network.0]
    }
}
