//! Limits of a VIP's traffic, and of its ports' within. They belong to the VIP, not to what uses it: a service that comes
//! later finds them, and only the VIP takes them along where it goes.

use super::{leads, uses};
use crate::{decision::Decision, facts::Facts, *};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use switchback_bus::*;
use switchback_events::*;

/// The key of the limits of the whole VIP among those of its ports.
pub const WHOLE: u16 = 0;

/// So many ports of a VIP have limits of their own: each is a class on two links of the router.
pub const PORTS_MAX: usize = 64;

fn port_of(key: u16) -> Option<u16> {
    Some(key).filter(|key| *key != WHOLE)
}

pub(crate) fn set(command: &SetVipQos, facts: &Facts) -> Result<Decision, Refusal> {
    let (id, port) = (command.uuid, command.port);
    let vip = super::existing(facts, "uuid", id)?;
    if let Some(address) = vip.address
        && address.ip.is_ipv6()
    {
        return Err(Refusal::not_supported(format!("uuid = `{id}`: limits of the IPv6 VIP {}", address.ip)));
    }
    super::by_host::unlimited(facts, id)?;
    if command.inbound_bandwidth.is_none() && command.outbound_bandwidth.is_none() {
        let right = "a limit for at least one direction, inboundBandwidth or outboundBandwidth";
        return Err(Refusal::argument("inboundBandwidth", "none", right));
    }
    let held = vip.limits.get(&port.unwrap_or(WHOLE)).copied();
    let ports = vip.limits.keys().filter(|key| **key != WHOLE).count();
    if let Some(port) = port
        && held.is_none()
        && ports >= PORTS_MAX
    {
        let right = format!("one of the {PORTS_MAX} ports of VIP {id} that have limits already: a VIP has no more");
        return Err(Refusal::argument("port", port, right));
    }
    let before = held.unwrap_or_default();
    let limits = QosLimits {
        inbound: command.inbound_bandwidth.or(before.inbound),
        outbound: command.outbound_bandwidth.or(before.outbound),
    };
    let decision = Decision::about(StreamKind::Vip, id).show_other("vipQos", vip_qos_id(id, port));
    Ok(match held == Some(limits) {
        true => decision,
        false => decision.event(VipEvent::QosSet { l3_network: vip.l3_network, port, limits }),
    })
}

pub(crate) fn delete(command: &DeleteVipQos, facts: &Facts) -> Result<Decision, Refusal> {
    let (id, port) = (command.uuid, command.port);
    super::deletable(facts, id)?;
    let (vip, decision) = (facts.get::<Vip>(id)?, Decision::about(StreamKind::Vip, id));
    Ok(match vip.limits.contains_key(&port.unwrap_or(WHOLE)) {
        true => decision.event(VipEvent::QosDeleted { l3_network: vip.l3_network, port }),
        false => decision,
    })
}

/// A VIP that goes has no limits any more.
pub(super) fn end(decision: &mut Decision, id: VipId, vip: &Vip) {
    for key in vip.limits.keys() {
        decision.add(id, VipEvent::QosDeleted { l3_network: vip.l3_network, port: port_of(*key) });
    }
}

/// The limits of a VIP as they are shown.
///
/// # Errors
/// There is no such VIP.
pub fn of(states: &States, id: VipId) -> Result<Vec<Value>, Refusal> {
    let facts = states.facts();
    if super::router_of_system_vip(&facts, id).is_some() {
        return Ok(vec![]);
    }
    let vip = rules::existing::<Vip>(&facts, "uuid", id)?;
    let shown = |(key, limits): (&u16, &QosLimits)| {
        json!({
            "uuid": vip_qos_id(id, port_of(*key)), "vipUuid": id, "port": port_of(*key),
            "inboundBandwidth": limits.inbound, "outboundBandwidth": limits.outbound,
        })
    };
    Ok(vip.limits.iter().map(shown).collect())
}

/// The guest networks that services of a VIP lead to: what their routers do with the VIP's traffic is theirs to know.
pub fn guests(states: &States, id: VipId) -> BTreeSet<L3NetworkId> {
    let facts = states.facts();
    let led = |user| leads(&facts, user).ok().flatten().map(|(_, to)| to.l3_network);
    uses(&facts, id).into_iter().filter_map(led).collect()
}
