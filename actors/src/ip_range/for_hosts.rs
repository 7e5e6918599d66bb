//! The address at which hosts serve a network: held in a range of it, with the network as its owner.

use super::{Candidate, allocator, allocator::Strategy, candidates, exhausted, look, note, reserved};
use crate::{IpRange, context::Context, decision::Decision, facts::Facts};
use std::net::Ipv4Addr;
use switchback_bus::Refusal;
use switchback_events::*;

/// Takes an address of IPv4, or the one that a parameter names, and adds the events; nothing where the network has no
/// range of IPv4.
pub(crate) fn hold(
    decision: &mut Decision,
    facts: &Facts,
    context: &Context,
    l3: L3NetworkId,
    wanted: Option<(&str, Ipv4Addr)>,
) -> Result<Option<NicAddress>, Refusal> {
    let mut ranges = candidates(facts, l3)?;
    ranges.retain(|one| one.bounds.ip_version() == 4);
    let strategy = Strategy::in_force(facts, l3, 4)?;
    let found = match wanted {
        Some((field, ip)) => {
            let range = ranges.iter().find(|one| one.bounds.contains(ip.into()));
            let Some(Candidate { id, .. }) = range else {
                let right = format!("an address of an IP range of L3 network {l3}");
                return Err(Refusal::argument(field, ip, right));
            };
            if !look(decision, facts, *id)?.range.is_free(ip.into()) {
                let right = "an address that is neither the gateway nor in use nor reserved";
                return Err(Refusal::argument(field, ip, right));
            }
            Some((*id, ip.into()))
        }
        None if ranges.is_empty() => return Ok(None),
        None => {
            let starts = ranges.iter().map(|one| (one.bounds.start, one.id)).collect();
            allocator::choose(strategy, starts, context, &mut |id| look(decision, facts, id))?
        }
    };
    let Some(found) = found else { return Err(exhausted(l3, "")) };
    note(decision, facts, (l3, strategy), found, (NicId(Id::NIL), l3.0)).map(Some)
}

/// Gives it back.
pub(crate) fn give_back(
    decision: &mut Decision,
    facts: &Facts,
    l3_network: L3NetworkId,
    address: &NicAddress,
) -> Result<(), Refusal> {
    let NicAddress { ip, ip_range, used_ip, .. } = *address;
    if facts.get::<IpRange>(ip_range)?.used.contains(ip) {
        let (nic, owner) = (NicId(Id::NIL), l3_network.0);
        decision.add(ip_range, IpRangeEvent::AddressReleased { l3_network, ip, used_ip, nic, owner });
        reserved::hold_returned(decision, facts, l3_network, (ip_range, ip))?;
    }
    Ok(())
}
