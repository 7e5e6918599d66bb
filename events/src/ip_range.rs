//! What happens to a range of addresses. The range owns its allocations, so an address has at most one holder.

use crate::{Id, IpRangeId, L2NetworkId, L3NetworkId, NicId, Version, net::either_ip};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a range's addresses are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum IpRangeType {
    /// For VMs, routers and VIPs.
    Normal,
    /// For VIPs that name the range.
    AddressPool,
}

/// How the hosts of an IPv6 network come to their addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum AddressMode {
    /// They make them from router advertisements, and are told nothing else.
    #[serde(rename = "SLAAC")]
    Slaac,
    /// They ask for them.
    #[serde(rename = "Stateful-DHCP")]
    Stateful,
    /// They make them, and ask for the rest.
    #[serde(rename = "Stateless-DHCP")]
    Stateless,
}

impl AddressMode {
    /// All of them, in ZStack's words.
    pub const WORDS: &[&str] = &["SLAAC", "Stateful-DHCP", "Stateless-DHCP"];

    /// ZStack's word.
    pub fn word(self) -> &'static str {
        match self {
            AddressMode::Slaac => "SLAAC",
            AddressMode::Stateful => "Stateful-DHCP",
            AddressMode::Stateless => "Stateless-DHCP",
        }
    }

    /// Whether a host makes its address itself, from its hardware address.
    pub fn makes_its_own(self) -> bool {
        self != AddressMode::Stateful
    }
}

/// The id of the record of an address in use: a hash of range and address, so that there can be only one.
pub fn used_ip_id(range: IpRangeId, ip: IpAddr) -> Id {
    Id::of_name(&format!("used-ip:{range}:{ip}"))
}

/// Events of an IP range.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum IpRangeEvent {
    Created {
        l3_network: L3NetworkId,
        l2_network: L2NetworkId,
        name: String,
        description: Option<String>,
        range_type: IpRangeType,
        start: Ipv4Addr,
        end: Ipv4Addr,
        netmask: Ipv4Addr,
        gateway: Ipv4Addr,
    },
    /// A range of IPv6 addresses was made.
    Ipv6Created {
        l3_network: L3NetworkId,
        l2_network: L2NetworkId,
        name: String,
        description: Option<String>,
        range_type: IpRangeType,
        start: Ipv6Addr,
        end: Ipv6Addr,
        prefix_length: u8,
        gateway: Ipv6Addr,
        address_mode: AddressMode,
    },
    Updated {
        name: Option<String>,
        description: Option<String>,
    },
    /// The address has a holder now. `owner` is the VM or router of the nic, or a VIP, which has none: `nic` is nil. So it
    /// is where the network itself is the owner: its hosts serve it there.
    AddressAllocated {
        l3_network: L3NetworkId,
        #[serde(with = "either_ip")]
        #[schemars(with = "IpAddr")]
        ip: IpAddr,
        used_ip: Id,
        nic: NicId,
        owner: Id,
    },
    AddressReleased {
        l3_network: L3NetworkId,
        #[serde(with = "either_ip")]
        #[schemars(with = "IpAddr")]
        ip: IpAddr,
        used_ip: Id,
        nic: NicId,
        owner: Id,
    },
    /// Every address from first to last that has no holder is reserved now.
    AddressesReserved {
        l3_network: L3NetworkId,
        #[serde(with = "either_ip")]
        #[schemars(with = "IpAddr")]
        first: IpAddr,
        #[serde(with = "either_ip")]
        #[schemars(with = "IpAddr")]
        last: IpAddr,
    },
    /// None of these is reserved any more.
    AddressesUnreserved {
        l3_network: L3NetworkId,
        #[serde(with = "either_ip")]
        #[schemars(with = "IpAddr")]
        first: IpAddr,
        #[serde(with = "either_ip")]
        #[schemars(with = "IpAddr")]
        last: IpAddr,
    },
    /// Where the delayed recycler goes on. `chosen_at` is the version of the global configuration that chose this
    /// allocator: another choice begins anew.
    CursorMoved {
        #[serde(with = "either_ip")]
        #[schemars(with = "IpAddr")]
        next: IpAddr,
        chosen_at: Version,
    },
    Deleted {
        l3_network: L3NetworkId,
    },
}
