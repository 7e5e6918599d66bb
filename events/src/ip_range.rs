//! What happens to a range of addresses. The range owns its allocations, so an address has at most one holder.

use crate::{Id, IpRangeId, L2NetworkId, L3NetworkId, NicId, Version};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// What a range's addresses are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum IpRangeType {
    /// For VMs, routers and VIPs.
    Normal,
    /// For VIPs that name the range.
    AddressPool,
}

/// The id of the record of an address in use: a hash of range and address, so that there can be only one.
pub fn used_ip_id(range: IpRangeId, ip: Ipv4Addr) -> Id {
    Id::of_name(&format!("used-ip:{range}:{ip}"))
}

/// Events of an IP range.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
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
    Updated {
        name: Option<String>,
        description: Option<String>,
    },
    /// The address has a holder now. `owner` is the VM or router of the nic.
    AddressAllocated {
        l3_network: L3NetworkId,
        ip: Ipv4Addr,
        used_ip: Id,
        nic: NicId,
        owner: Id,
    },
    AddressReleased {
        l3_network: L3NetworkId,
        ip: Ipv4Addr,
        used_ip: Id,
        nic: NicId,
        owner: Id,
    },
    /// Every address from first to last that has no holder is reserved now.
    AddressesReserved {
        l3_network: L3NetworkId,
        first: Ipv4Addr,
        last: Ipv4Addr,
    },
    /// None of these is reserved any more.
    AddressesUnreserved {
        l3_network: L3NetworkId,
        first: Ipv4Addr,
        last: Ipv4Addr,
    },
    /// Where the delayed recycler goes on. `chosen_at` is the version of the global configuration that chose this
    /// allocator: another choice begins anew.
    CursorMoved {
        next: Ipv4Addr,
        chosen_at: Version,
    },
    Deleted {
        l3_network: L3NetworkId,
    },
}
