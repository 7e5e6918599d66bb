//! What can be read of ranges and their addresses: from the sequenced states, not from the inventories.

use super::{Bounds, IpRange, after};
use crate::{L3Network, Zone, directory::Relation, facts::Facts, rules, states::States};
use ipnet::IpNet;
use std::{net::IpAddr, ops::AddAssign, sync::Arc};
use switchback_bus::*;
use switchback_events::*;

/// The most free addresses in one answer: those of a /8.
const MAX_FREE: usize = 1 << 24;

/// Free addresses of an L3 network or of one range, ascending, IPv4 first.
///
/// # Errors
/// Neither is named, what is named does not exist, or `start` is not of the one family that there is.
pub fn free_addresses(states: &States, request: &GetFreeIp) -> Result<Vec<(IpRangeId, IpAddr, Bounds)>, Refusal> {
    let facts = states.facts();
    let ranges = match (request.l3_network_uuid, request.ip_range_uuid) {
        (_, Some(range)) => {
            rules::existing::<IpRange>(&facts, "ipRangeUuid", range)?;
            vec![range.0]
        }
        (Some(l3), None) => {
            rules::existing::<L3Network>(&facts, "l3NetworkUuid", l3)?;
            facts.peek_members(Relation::RangesOfL3, l3)
        }
        (None, None) => return Err(Refusal::missing("l3NetworkUuid", "give l3NetworkUuid or ipRangeUuid")),
    };
    let limit = match request.limit {
        // Of IPv6 there is no end; of IPv4 this is all.
        Some(limit) if limit < 0 => MAX_FREE,
        Some(limit) => usize::try_from(limit).unwrap_or(MAX_FREE).min(MAX_FREE),
        None => 100,
    };
    let pool = request.ip_range_type.as_deref().map(|word| word == "AddressPool");
    let mut ranges = ordered(&facts, ranges)?;
    ranges.retain(|(_, bounds, range)| {
        request.ip_version.is_none_or(|version| version == bounds.ip_version())
            && pool.is_none_or(|pool| pool == range.pool)
    });
    if let Some(start) = request.start {
        let version = ip_version(start);
        let mut families: Vec<u8> = ranges.iter().map(|(_, bounds, _)| bounds.ip_version()).collect();
        families.extend(request.ip_version);
        if families.iter().any(|family| *family != version) {
            let right = match families.contains(&version) {
                true => "none without ipVersion: the network has ranges of both families".to_string(),
                false => format!("an IPv{} address, as those of the ranges", families[0]),
            };
            return Err(Refusal::argument("start", start, right));
        }
    }
    let mut found = Vec::new();
    for (id, bounds, range) in ranges {
        let mut next = range.free_from(request.start.unwrap_or(bounds.start));
        while let Some(ip) = next.filter(|_| found.len() < limit) {
            found.push((id, ip, bounds));
            next = after(ip).and_then(|ip| range.free_from(ip));
        }
    }
    Ok(found)
}

/// Ranges by their first address.
fn ordered(facts: &Facts, ranges: Vec<Id>) -> Result<Vec<(IpRangeId, Bounds, Arc<IpRange>)>, Refusal> {
    let mut ordered = Vec::new();
    for id in ranges {
        let range = facts.peek::<IpRange>(id)?;
        if let Some(bounds) = range.bounds {
            ordered.push((IpRangeId(id), bounds, range));
        }
    }
    ordered.sort_by_key(|(_, bounds, _)| bounds.start);
    Ok(ordered)
}

/// The L2 network that an L3 network is on.
///
/// # Errors
/// There is no such network.
pub fn l2_network_of(states: &States, l3: L3NetworkId) -> Result<L2NetworkId, Refusal> {
    Ok(rules::existing::<L3Network>(&states.facts(), "l3NetworkUuid", l3)?.l2_network)
}

/// Whether an address is free, and if not, why: `gateway`, `not in this range`, `used`.
///
/// # Errors
/// There is no such network.
pub fn availability(states: &States, request: &CheckIpAvailability) -> Result<Option<&'static str>, Refusal> {
    let facts = states.facts();
    rules::existing::<L3Network>(&facts, "l3NetworkUuid", request.l3_network_uuid)?;
    let mut inside = false;
    for id in facts.peek_members(Relation::RangesOfL3, request.l3_network_uuid) {
        let range = facts.peek::<IpRange>(id)?;
        let Some(bounds) = range.bounds else { continue };
        if !range.pool && bounds.gateway == request.ip {
            return Ok(Some("gateway"));
        }
        if bounds.contains(request.ip) {
            inside = true;
            if !range.is_free(request.ip) {
                return Ok(Some("used"));
            }
        }
    }
    Ok(if inside || request.ip_range_check == Some(false) { None } else { Some("not in this range") })
}

/// How many addresses there are of one family. Counts end at the most that a signed 64-bit number holds: clients of
/// other languages have no greater one, and a /64 has more.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// Of all ranges.
    pub total_capacity: u64,
    /// Of these free.
    pub available_capacity: u64,
    /// Of these not free.
    pub used_ip_address_number: u64,
}

const MAX_COUNT: u64 = i64::MAX as u64;

impl AddAssign for Capacity {
    fn add_assign(&mut self, other: Capacity) {
        let add = |count: &mut u64, more: u64| *count = (*count + more).min(MAX_COUNT);
        add(&mut self.total_capacity, other.total_capacity);
        add(&mut self.available_capacity, other.available_capacity);
        add(&mut self.used_ip_address_number, other.used_ip_address_number);
    }
}

impl IpRange {
    /// How many addresses it can give, and how many are free.
    fn capacity(&self) -> Capacity {
        let Some(bounds) = self.bounds else { return Capacity::default() };
        let size = (ip_number(bounds.end) - ip_number(bounds.start)).saturating_add(1);
        let ends = bounds.subnet().map(|net: IpNet| [net.network(), net.broadcast(), bounds.gateway]);
        let mut never: Vec<IpAddr> = ends.into_iter().flatten().collect();
        never.sort_unstable();
        never.dedup();
        never.retain(|ip| bounds.contains(*ip) && !self.is_usable(*ip));
        let total = size - never.len() as u128;
        let used = self.used.len().saturating_add(self.reserved.len());
        let available = total.saturating_sub(used.into());
        let count = |number: u128| u64::try_from(number).unwrap_or(u64::MAX).min(MAX_COUNT);
        Capacity {
            total_capacity: count(total),
            available_capacity: count(available),
            used_ip_address_number: used.min(MAX_COUNT),
        }
    }
}

/// The capacities of IPv4 and of IPv6.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct BothFamilies {
    pub v4: Capacity,
    pub v6: Capacity,
}

impl BothFamilies {
    /// Of either family.
    pub fn sum(&self) -> Capacity {
        let mut sum = self.v4;
        sum += self.v6;
        sum
    }
}

/// The capacities of several resources of one kind.
pub struct Capacities {
    /// The kind, in ZStack's words: `L3NetworkVO`.
    pub kind: &'static str,
    /// All together, by family.
    pub all: BothFamilies,
    /// Each.
    pub each: Vec<(Id, BothFamilies)>,
}

/// How many addresses ranges, L3 networks or zones have, each and in all. Of several lists the narrowest counts; `all`
/// without a list asks for every zone; of these L3 networks where only they are seen.
///
/// # Errors
/// Nothing is named, or what is named does not exist.
pub fn capacity(states: &States, request: &GetIpAddressCapacity, seen: Option<Vec<Id>>) -> Result<Capacities, Refusal> {
    let facts = states.facts();
    let of_l3 = |l3: Id| facts.peek_members(Relation::RangesOfL3, l3);
    let of_zone = |zone: Id| {
        let l2s = facts.peek_members(Relation::L2sOfZone, zone);
        let l3s = l2s.into_iter().flat_map(|l2| facts.peek_members(Relation::L3sOfL2, l2));
        l3s.flat_map(of_l3).collect::<Vec<_>>()
    };
    let mut parts: Vec<(Id, Vec<Id>)> = Vec::new();
    let kind = if let Some(ranges) = named(&request.ip_range_uuids) {
        for range in ranges {
            rules::existing::<IpRange>(&facts, "ipRangeUuids", *range)?;
            parts.push((range.0, vec![range.0]));
        }
        "IpRangeVO"
    } else if let Some(l3s) = named(&request.l3_network_uuids) {
        for l3 in l3s {
            rules::existing::<L3Network>(&facts, "l3NetworkUuids", *l3)?;
            parts.push((l3.0, of_l3(l3.0)));
        }
        "L3NetworkVO"
    } else if let Some(zones) = named(&request.zone_uuids) {
        for zone in zones {
            rules::existing::<Zone>(&facts, "zoneUuids", *zone)?;
            parts.push((zone.0, of_zone(zone.0)));
        }
        "ZoneVO"
    } else if let Some(seen) = seen.filter(|_| request.all == Some(true)) {
        parts.extend(seen.into_iter().map(|l3| (l3, of_l3(l3))));
        "L3NetworkVO"
    } else if request.all == Some(true) {
        let zones = facts.peek_members(Relation::All(StreamKind::Zone), Id::NIL);
        parts.extend(zones.into_iter().map(|zone| (zone, of_zone(zone))));
        "ZoneVO"
    } else {
        let one_of = "give ipRangeUuids, l3NetworkUuids or zoneUuids, or all=true";
        return Err(Refusal::missing("zoneUuids", one_of));
    };
    let mut all = BothFamilies::default();
    let mut each = Vec::new();
    for (id, ranges) in parts {
        let mut own = BothFamilies::default();
        for range in ranges {
            let range = facts.peek::<IpRange>(range)?;
            let family = if range.mode.is_none() { &mut own.v4 } else { &mut own.v6 };
            *family += range.capacity();
        }
        all.v4 += own.v4;
        all.v6 += own.v6;
        each.push((id, own));
    }
    Ok(Capacities { kind, all, each })
}

fn named<T>(list: &Option<Vec<T>>) -> Option<&[T]> {
    list.as_deref().filter(|list| !list.is_empty())
}

/// The addresses of an L3 network that have a holder, in order, those that are wanted: a page of them, and how many in
/// all.
///
/// # Errors
/// There is no such network.
pub fn used_addresses(
    states: &States,
    l3: L3NetworkId,
    wanted: Option<&dyn Fn(IpAddr) -> bool>,
    descending: bool,
    (start, limit): (usize, usize),
) -> Result<(Vec<IpAddr>, u64), Refusal> {
    let facts = states.facts();
    rules::existing::<L3Network>(&facts, "l3NetworkUuid", l3)?;
    let mut ranges = ordered(&facts, facts.peek_members(Relation::RangesOfL3, l3))?;
    if descending {
        ranges.reverse();
    }
    let in_order = ranges.iter().flat_map(|(_, _, range)| {
        let up = range.used.iter();
        let each: Box<dyn Iterator<Item = IpAddr>> = if descending { Box::new(up.rev()) } else { Box::new(up) };
        each
    });
    let Some(wanted) = wanted else {
        let total = ranges.iter().map(|(_, _, range)| range.used.len()).sum();
        return Ok((in_order.skip(start).take(limit).collect(), total));
    };
    let mut matching = in_order.filter(|ip| wanted(*ip));
    let before = matching.by_ref().take(start).count() as u64;
    let page: Vec<IpAddr> = matching.by_ref().take(limit).collect();
    let total = before + page.len() as u64 + matching.count() as u64;
    Ok((page, total))
}
