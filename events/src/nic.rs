//! A network interface of a VM or of a router, with an address of each family of its network.

use crate::{Id, IpRangeId, L2NetworkId, L3NetworkId, Mac, NicId, prefix_of};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address of a nic, of the family `A`: `IpAddr` for either.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NicAddress<A = IpAddr> {
    /// The address.
    pub ip: A,
    /// Length of the subnet's prefix, bits.
    pub prefix_length: u8,
    /// The subnet's gateway, of the same family.
    pub gateway: A,
    /// The range that holds it; for a gateway address the range whose gateway it is.
    pub ip_range: IpRangeId,
    /// Its record in the range; nil for a gateway address, which no range holds.
    pub used_ip: Id,
}

/// A network interface of a VM or of a router.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", from = "AnyNic")]
#[schemars(!from)]
#[allow(missing_docs)]
pub struct Nic {
    pub nic: NicId,
    pub l3_network: L3NetworkId,
    pub l2_network: L2NetworkId,
    pub mac: Mac,
    /// At most one of each family, IPv4 first.
    pub addresses: Vec<NicAddress>,
    /// 0 for eth0; the last byte of the MAC.
    pub device_id: u8,
    /// The host's end of the interface.
    pub internal_name: String,
    /// For routers a bit mask: public 1, management 2, guest 4, additional public 8. 0 for VMs.
    pub meta_data: u8,
}

impl Nic {
    /// The nic is on the public network.
    pub const PUBLIC: u8 = 1;
    /// The nic is on the management network.
    pub const MANAGEMENT: u8 = 2;
    /// The nic is on a guest network.
    pub const GUEST: u8 = 4;
    /// The nic is on a public network that was attached later.
    pub const ADDITIONAL_PUBLIC: u8 = 8;

    /// Whether the router nic plays the role `bit`.
    pub fn is(&self, bit: u8) -> bool {
        self.meta_data & bit != 0
    }

    /// Its IPv4 address.
    pub fn ipv4(&self) -> Option<NicAddress<Ipv4Addr>> {
        self.addresses.iter().find_map(|address| match (address.ip, address.gateway) {
            (IpAddr::V4(ip), IpAddr::V4(gateway)) => Some(address.of(ip, gateway)),
            _ => None,
        })
    }

    /// Its IPv6 address.
    pub fn ipv6(&self) -> Option<NicAddress<Ipv6Addr>> {
        self.addresses.iter().find_map(|address| match (address.ip, address.gateway) {
            (IpAddr::V6(ip), IpAddr::V6(gateway)) => Some(address.of(ip, gateway)),
            _ => None,
        })
    }
}

impl NicAddress {
    /// The netmask of its subnet; of IPv6 in the form of an address, as ZStack has it.
    pub fn netmask(&self) -> IpAddr {
        let length = u32::from(self.prefix_length);
        match self.ip {
            IpAddr::V4(_) => Ipv4Addr::from(u32::MAX.checked_shl(32 - length.min(32)).unwrap_or(0)).into(),
            IpAddr::V6(_) => Ipv6Addr::from(u128::MAX.checked_shl(128 - length.min(128)).unwrap_or(0)).into(),
        }
    }

    fn of<A>(&self, ip: A, gateway: A) -> NicAddress<A> {
        let NicAddress { prefix_length, ip_range, used_ip, .. } = *self;
        NicAddress { ip, prefix_length, gateway, ip_range, used_ip }
    }
}

/// A nic as it is written today, or as it was when there was IPv4 only.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyNic {
    nic: NicId,
    l3_network: L3NetworkId,
    l2_network: L2NetworkId,
    mac: Mac,
    addresses: Option<Vec<NicAddress>>,
    device_id: u8,
    internal_name: String,
    meta_data: u8,
    ip: Option<Ipv4Addr>,
    netmask: Option<Ipv4Addr>,
    gateway: Option<Ipv4Addr>,
    ip_range: Option<IpRangeId>,
    used_ip: Option<Id>,
}

impl AnyNic {
    fn only_address(&self) -> Option<NicAddress> {
        Some(NicAddress {
            ip: self.ip?.into(),
            prefix_length: prefix_of(self.netmask?)?,
            gateway: self.gateway?.into(),
            ip_range: self.ip_range?,
            used_ip: self.used_ip?,
        })
    }
}

impl From<AnyNic> for Nic {
    fn from(any: AnyNic) -> Nic {
        let addresses = any.addresses.clone().unwrap_or_else(|| any.only_address().into_iter().collect());
        let AnyNic { nic, l3_network, l2_network, mac, device_id, internal_name, meta_data, .. } = any;
        Nic { nic, l3_network, l2_network, mac, addresses, device_id, internal_name, meta_data }
    }
}
