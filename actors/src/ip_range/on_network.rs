//! What other concepts ask of the IPv4 ranges on a network.

use super::IpRange;
use crate::{directory::Relation, facts::Facts};
use ipnet::{IpNet, Ipv4Net};
use std::net::{IpAddr, Ipv4Addr};
use switchback_bus::Refusal;
use switchback_events::*;

/// Subnet and gateway of the Normal IPv4 ranges of an L3 network.
pub(crate) fn first_normal(facts: &Facts, l3: L3NetworkId) -> Result<Option<(Ipv4Net, Ipv4Addr)>, Refusal> {
    for id in facts.members(Relation::RangesOfL3, l3) {
        // The bounds of a range never change, so nothing need rest on its allocations.
        let range = facts.peek::<IpRange>(id)?;
        if let Some(bounds) = range.bounds.filter(|_| !range.pool)
            && let (Some(IpNet::V4(subnet)), IpAddr::V4(gateway)) = (bounds.subnet(), bounds.gateway)
        {
            return Ok(Some((subnet, gateway)));
        }
    }
    Ok(None)
}

/// The range on any L3 network of an L2 network that an address lies in.
pub(crate) fn range_with(facts: &Facts, l2: L2NetworkId, ip: Ipv4Addr) -> Result<Option<IpRangeId>, Refusal> {
    for l3 in facts.members(Relation::L3sOfL2, l2) {
        for id in facts.members(Relation::RangesOfL3, l3) {
            if facts.peek::<IpRange>(id)?.bounds.is_some_and(|bounds| bounds.contains(ip.into())) {
                return Ok(Some(IpRangeId(id)));
            }
        }
    }
    Ok(None)
}

/// Whether a Normal range of an L3 network has a free address.
pub(crate) fn has_room(facts: &Facts, l3: L3NetworkId) -> Result<bool, Refusal> {
    for id in facts.members(Relation::RangesOfL3, l3) {
        let range = facts.get::<IpRange>(id)?;
        if !range.pool && range.bounds.is_some_and(|bounds| range.free_from(bounds.start).is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether an L3 network has a range of IPv6.
pub(crate) fn has_ipv6(facts: &Facts, l3: L3NetworkId) -> Result<bool, Refusal> {
    for id in facts.members(Relation::RangesOfL3, l3) {
        if facts.peek::<IpRange>(id)?.mode.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
