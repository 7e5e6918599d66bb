//! Addresses of VIPs: held in a range as those of nics are, so that an address has one holder, but chosen as the command
//! says: in a named range, which may be an AddressPool, and by a named strategy.

use super::{Candidate, allocator, allocator::Strategy, candidates, exhausted, look, note, reserved};
use crate::{IpRange, decision::Decision, facts::Facts, rules};
use crate::{L3Network, Vip, context::Context};
use std::net::IpAddr;
use switchback_bus::{CreateVip, Refusal, code};
use switchback_events::*;

/// Takes the address that the command asks for, and adds the events.
pub(crate) fn hold(
    decision: &mut Decision,
    facts: &Facts,
    context: &Context,
    command: &CreateVip,
    vip: VipId,
) -> Result<NicAddress, Refusal> {
    let l3 = command.l3_network_uuid;
    let mut ranges = candidates(facts, l3)?;
    if let Some(id) = command.ip_range_uuid {
        let range = rules::existing::<IpRange>(facts, "ipRangeUuid", id)?;
        let Some(bounds) = range.bounds.filter(|_| range.l3_network == l3) else {
            return Err(Refusal::argument("ipRangeUuid", id, format!("a range of L3 network {l3}")));
        };
        ranges = vec![Candidate { id, bounds, mode: range.mode }];
    }
    let version = family(command, &ranges)?;
    ranges.retain(|one| one.bounds.ip_version() == version);
    let strategy = match &command.allocator_strategy {
        None => Strategy::in_force(facts, l3, version)?,
        Some(word) => Strategy::named(facts, l3, version, word)?.ok_or_else(|| {
            Refusal::argument("allocatorStrategy", word, format!("a strategy of IPv{version}, as the address"))
        })?,
    };
    let found = match command.required_ip {
        Some(ip) => {
            let Some(Candidate { id, .. }) = ranges.iter().find(|one| one.bounds.contains(ip)) else {
                let detail = format!("requiredIp = `{ip}`: cannot find an IP range of L3 network {l3} that has it");
                let refusal = Refusal::conflict(code::L3_ALLOCATE, detail);
                let refusal = Refusal { field: Some("requiredIp".to_string()), ..refusal };
                return Err(refusal.hint("an address of an AddressPool needs the pool as ipRangeUuid"));
            };
            let view = look(decision, facts, *id)?;
            if !view.range.is_free(ip) {
                return Err(Refusal::argument("requiredIp", ip, "an address that is neither in use nor reserved"));
            }
            Some((*id, ip))
        }
        None => {
            let starts = ranges.iter().map(|one| (one.bounds.start, one.id)).collect();
            allocator::choose(strategy, starts, context, &mut |id| look(decision, facts, id))?
        }
    };
    let Some((range, ip)) = found else { return Err(exhausted(l3, if version == 6 { "IPv6 " } else { "" })) };
    // It has no nic.
    note(decision, facts, (l3, strategy), (range, ip), (NicId(Id::NIL), vip.0))
}

/// The family that is meant: all that say one must say the same.
fn family(command: &CreateVip, ranges: &[Candidate]) -> Result<u8, Refusal> {
    let named = command.ip_range_uuid.and(ranges.first()).map(|range| range.bounds.ip_version());
    let has = |version| ranges.iter().any(|range| range.bounds.ip_version() == version);
    let usual = named.unwrap_or(if has(6) && !has(4) { 6 } else { 4 });
    let asked = command.ip_version.or(command.required_ip.map(ip_version)).unwrap_or(usual);
    if let Some(other) = command.ip_version.filter(|version| !matches!(version, 4 | 6)) {
        return Err(Refusal::argument("ipVersion", other, "4 or 6"));
    }
    if let Some(ip) = command.required_ip.filter(|ip| ip_version(*ip) != asked) {
        return Err(Refusal::argument("requiredIp", ip, format!("an IPv{asked} address, as ipVersion says")));
    }
    match (named, command.ip_range_uuid) {
        (Some(other), Some(range)) if other != asked => {
            Err(Refusal::argument("ipRangeUuid", range, format!("a range of IPv{asked}: this one is of IPv{other}")))
        }
        _ => Ok(asked),
    }
}

/// Gives the address of a VIP back.
pub(crate) fn give_back(decision: &mut Decision, facts: &Facts, id: Id, vip: &Vip) -> Result<(), Refusal> {
    let Some(NicAddress { ip, ip_range, used_ip, .. }) = vip.address else { return Ok(()) };
    if facts.get::<IpRange>(ip_range)?.used.contains(ip) {
        let (l3_network, nic) = (vip.l3_network, NicId(Id::NIL));
        decision.add(ip_range, IpRangeEvent::AddressReleased { l3_network, ip, used_ip, nic, owner: id });
        reserved::hold_returned(decision, facts, l3_network, (ip_range, ip))?;
    }
    Ok(())
}

/// Why a network has no addresses for VIPs, or the network.
pub(crate) fn network(facts: &Facts, id: L3NetworkId) -> Result<std::sync::Arc<L3Network>, Refusal> {
    let field = "l3NetworkUuid";
    let l3 = rules::existing::<L3Network>(facts, field, id)?;
    if l3.system {
        return Err(Refusal::argument(field, id, "an L3 network that is not a system network"));
    }
    if l3.disabled {
        return Err(Refusal::operation(format!("{field} = `{id}`: the L3 network is disabled")));
    }
    if l3.no_ipam {
        let detail = format!("{field} = `{id}`: the L3 network has no address management (enableIPAM)");
        return Err(Refusal::operation(detail));
    }
    Ok(l3)
}

/// Whether an address is of this range.
pub(crate) fn of_range(vip: &Vip, range: Id) -> bool {
    vip.address.is_some_and(|address| address.ip_range.0 == range)
}

/// The addresses of the VIPs on a network, with the VIPs.
pub fn of_vips(states: &crate::States, l3: L3NetworkId) -> Result<std::collections::BTreeMap<IpAddr, VipId>, Refusal> {
    let facts = states.facts();
    let mut found = std::collections::BTreeMap::new();
    for id in facts.peek_members(crate::directory::Relation::VipsOnL3, l3) {
        if let Some(address) = facts.peek::<Vip>(id)?.address {
            found.insert(address.ip, VipId(id));
        }
    }
    Ok(found)
}
