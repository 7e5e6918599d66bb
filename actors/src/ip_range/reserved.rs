//! Reserved ranges: addresses of an L3 network that no nic takes. They are noted on the network, and held on its IP
//! ranges address by address, since each can be given up alone.

use super::{Bounds, IpRange};
use crate::{L3Network, context::Context, decision::Decision, directory::Relation, facts::Facts, rules};
use std::{collections::BTreeSet, net::IpAddr};
use switchback_bus::*;
use switchback_events::*;

/// A reserved range has no more addresses: each free one has a record.
const MAX_ADDRESSES: u128 = 65_536;

/// First and last address, of one family.
type Span = (IpAddr, IpAddr);

fn common(a: Span, b: Span) -> Option<Span> {
    let both = (a.0.max(b.0), a.1.min(b.1));
    (both.0 <= both.1).then_some(both)
}

pub(crate) fn reserve(command: &AddReservedIpRange, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let l3_network = command.l3_network_uuid;
    let l3 = rules::existing::<L3Network>(facts, "l3NetworkUuid", l3_network)?;
    let address = |field: &str, text: &str| {
        text.parse::<IpAddr>().map_err(|_| Refusal::argument(field, text, "an IP address such as 10.0.0.1 or fd00::1"))
    };
    let (start, end) = (address("startIp", &command.start_ip)?, address("endIp", &command.end_ip)?);
    if start.is_ipv4() != end.is_ipv4() {
        return Err(Refusal::argument(
            "endIp",
            end,
            format!("an IPv{} address, as startIp {start}", ip_version(start)),
        ));
    }
    if start > end {
        return Err(Refusal::argument("startIp", start, format!("not behind endIp {end}")));
    }
    let size = ip_number(end) - ip_number(start);
    if size >= MAX_ADDRESSES {
        return Err(Refusal::argument(
            "endIp",
            end,
            format!("at most {MAX_ADDRESSES} addresses from startIp {start} on"),
        ));
    }
    let mut ranges = Vec::new();
    for id in facts.members(Relation::RangesOfL3, l3_network) {
        let range = facts.get::<IpRange>(id)?;
        if let Some(bounds) = range.bounds {
            ranges.push((range.pool, IpRangeId(id), bounds));
        }
    }
    let version = ip_version(start);
    let first = ranges.iter().find(|(pool, _, bounds)| !pool && bounds.ip_version() == version);
    let Some(subnet) = first.and_then(|(_, _, bounds)| bounds.subnet()) else {
        let detail = format!("L3 network {l3_network} has no Normal IPv{version} range: add one first");
        return Err(Refusal::operation(detail));
    };
    for (field, ip) in [("startIp", start), ("endIp", end)] {
        if !subnet.contains(&ip) {
            return Err(Refusal::argument(field, ip, format!("an address of the network's CIDR {subnet}")));
        }
    }
    if let Some((id, theirs)) = l3.reserved.iter().find(|(_, theirs)| common(**theirs, (start, end)).is_some()) {
        let right = format!("no overlap with reserved range {id} ({} to {})", theirs.0, theirs.1);
        return Err(Refusal::argument("startIp", start, right));
    }
    let reserved_range = context.id();
    let mut decision = Decision::about(StreamKind::L3Network, l3_network).event(L3NetworkEvent::RangeReserved {
        reserved_range,
        start,
        end,
    });
    decision.inventories.push(("reservedIpRange", reserved_range));
    for (_, id, bounds) in ranges {
        hold(&mut decision, id, l3_network, &bounds, [&(start, end)]);
    }
    Ok(decision)
}

/// Holds those addresses of a range that lie in reserved ranges of its network.
pub(super) fn hold<'a>(
    decision: &mut Decision,
    range: IpRangeId,
    l3_network: L3NetworkId,
    bounds: &Bounds,
    reserved: impl IntoIterator<Item = &'a Span>,
) {
    for span in reserved {
        if let Some((first, last)) = common(*span, (bounds.start, bounds.end)) {
            decision.add(range, IpRangeEvent::AddressesReserved { l3_network, first, last });
        }
    }
}

/// Holds the address that a nic gives back, if it lies in a reserved range.
pub(super) fn hold_returned(
    decision: &mut Decision,
    facts: &Facts,
    l3_network: L3NetworkId,
    (range, ip): (IpRangeId, IpAddr),
) -> Result<(), Refusal> {
    if facts.get::<L3Network>(l3_network)?.reserved.values().any(|(start, end)| (*start..=*end).contains(&ip)) {
        decision.add(range, IpRangeEvent::AddressesReserved { l3_network, first: ip, last: ip });
    }
    Ok(())
}

pub(crate) fn unreserve(command: &DeleteReservedIpRange, facts: &Facts) -> Result<Decision, Refusal> {
    let reserved_range = command.uuid;
    let Some(l3_network) = facts.members(Relation::L3OfReservedRange, reserved_range).first().copied().map(L3NetworkId)
    else {
        return Ok(Decision::about(StreamKind::L3Network, reserved_range));
    };
    let decision = Decision::about(StreamKind::L3Network, l3_network);
    let Some(span) = facts.get::<L3Network>(l3_network)?.reserved.get(&reserved_range).copied() else {
        return Ok(decision);
    };
    let mut decision = decision.event(L3NetworkEvent::RangeUnreserved { reserved_range });
    for id in facts.members(Relation::RangesOfL3, l3_network) {
        let range = facts.get::<IpRange>(id)?;
        if let Some((first, last)) = range.bounds.and_then(|bounds| common(span, (bounds.start, bounds.end))) {
            decision.add(id, IpRangeEvent::AddressesUnreserved { l3_network, first, last });
        }
    }
    Ok(decision)
}

pub(crate) fn unreserve_some(command: &DeleteIpAddress, facts: &Facts) -> Result<Decision, Refusal> {
    let l3_network = command.l3_network_uuid;
    rules::existing::<L3Network>(facts, "l3NetworkUuid", l3_network)?;
    let mut decision = Decision::about(StreamKind::L3Network, l3_network);
    let mut wanted: BTreeSet<Id> = command.used_ip_uuids.iter().copied().collect();
    for id in facts.members(Relation::RangesOfL3, l3_network) {
        let range = IpRangeId(id);
        for ip in facts.get::<IpRange>(range)?.reserved.iter() {
            if wanted.is_empty() {
                break;
            }
            if wanted.remove(&used_ip_id(range, ip)) {
                decision.add(range, IpRangeEvent::AddressesUnreserved { l3_network, first: ip, last: ip });
            }
        }
    }
    match wanted.first() {
        Some(other) => Err(Refusal::operation(format!(
            "usedIpUuids: `{other}` is no reserved address of L3 network {l3_network}: a nic has it, or a VIP, or there is none"
        ))),
        None => Ok(decision),
    }
}
