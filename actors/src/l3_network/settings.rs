//! Host routes, MTU, and the address of routers on the network.

use crate::{context::Context, decision::Decision, directory::Relation, facts::Facts, rules, *};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use switchback_bus::*;
use switchback_events::*;

/// The system tag that keeps the address of routers on a network.
pub(crate) const ROUTER_INTERFACE_IP: &str = "routerInterfaceIp";

/// The most host routes of a network: with the default route they fit into one DHCP option of 255 bytes.
const MAX_HOST_ROUTES: usize = 24;

impl L3Network {
    /// Bytes that its links carry: its own MTU, else that of its kind of L2 network.
    pub fn mtu(&self) -> u16 {
        self.mtu.unwrap_or(DEFAULT_MTU)
    }
}

fn prefix_of_route(text: &str) -> Result<Ipv4Net, Refusal> {
    let net: Result<Ipv4Net, _> = text.parse();
    net.map(|net| net.trunc()).map_err(|_| Refusal::argument("prefix", text, "an IPv4 subnet such as 10.1.0.0/16"))
}

pub(crate) fn add_host_route(command: &AddHostRouteToL3Network, facts: &Facts) -> Result<Decision, Refusal> {
    let id = command.l3_network_uuid;
    let l3 = rules::existing::<L3Network>(facts, "l3NetworkUuid", id)?;
    let prefix = prefix_of_route(&command.prefix)?;
    let bad = || Refusal::argument("nexthop", &command.nexthop, "a unicast IPv4 address such as 10.0.0.254");
    let nexthop: Ipv4Addr = command.nexthop.parse().map_err(|_| bad())?;
    if nexthop.is_unspecified() || nexthop.is_multicast() || nexthop.is_broadcast() || nexthop.is_loopback() {
        return Err(bad());
    }
    if l3.host_routes.iter().any(|(other, _)| *other == prefix) {
        return Err(Refusal::operation(format!("prefix = `{prefix}`: L3 network {id} has this host route already")));
    }
    if l3.host_routes.len() >= MAX_HOST_ROUTES {
        let detail =
            format!("prefix = `{prefix}`: L3 network {id} has {MAX_HOST_ROUTES} host routes, which is the most");
        return Err(Refusal::operation(detail));
    }
    router::reachable(facts, "l3NetworkUuid", id)?;
    let event = L3NetworkEvent::HostRouteAdded { prefix, nexthop };
    Ok(Decision::about(StreamKind::L3Network, id).show("l3").event(event))
}

pub(crate) fn remove_host_route(command: &RemoveHostRouteFromL3Network, facts: &Facts) -> Result<Decision, Refusal> {
    let id = command.l3_network_uuid;
    let l3 = rules::existing::<L3Network>(facts, "l3NetworkUuid", id)?;
    let prefix = prefix_of_route(&command.prefix)?;
    if !l3.host_routes.iter().any(|(other, _)| *other == prefix) {
        return Err(Refusal::operation(format!("prefix = `{prefix}`: L3 network {id} has no such host route")));
    }
    Ok(Decision::about(StreamKind::L3Network, id).show("l3").event(L3NetworkEvent::HostRouteRemoved { prefix }))
}

pub(crate) fn set_mtu(command: &SetL3NetworkMtu, facts: &Facts) -> Result<Decision, Refusal> {
    let id = command.l3_network_uuid;
    let l3 = rules::existing::<L3Network>(facts, "l3NetworkUuid", id)?;
    let decision = Decision::about(StreamKind::L3Network, id).show("l3");
    if l3.mtu == Some(command.mtu) {
        return Ok(decision);
    }
    mtu_fits(facts, id, &l3, command.mtu)?;
    if command.mtu < IPV6_MTU_MIN {
        for range in facts.members(Relation::RangesOfL3, id) {
            if facts.peek::<IpRange>(range)?.mode.is_some() {
                let right = format!("at least {IPV6_MTU_MIN}: the L3 network has IPv6");
                return Err(Refusal::argument("mtu", command.mtu, right));
            }
        }
    }
    router::reachable(facts, "l3NetworkUuid", id)?;
    Ok(decision.event(L3NetworkEvent::MtuChanged { mtu: command.mtu }))
}

/// What is tagged travels on the same wire as what is not: no VLAN network has a larger MTU than the untagged network
/// of its interface, where there is one.
fn mtu_fits(facts: &Facts, id: L3NetworkId, l3: &L3Network, mtu: u16) -> Result<(), Refusal> {
    let own = facts.get::<L2Network>(l3.l2_network)?;
    for other_id in facts.members(Relation::L2sOfZone, own.zone) {
        let other = facts.peek::<L2Network>(other_id)?;
        if other.physical_interface != own.physical_interface || other.vlan.is_some() == own.vlan.is_some() {
            continue;
        }
        facts.get::<L2Network>(other_id)?;
        let Some(theirs) = largest_mtu(facts, other_id, None)? else { continue };
        let interface = &own.physical_interface;
        if own.vlan.is_some() && mtu > theirs {
            let right = format!("at most {theirs}, the MTU of the untagged L2 network {other_id} on {interface}");
            return Err(Refusal::argument("mtu", mtu, right));
        }
        let ours = largest_mtu(facts, l3.l2_network.0, Some(id))?.unwrap_or(0).max(mtu);
        if own.vlan.is_none() && ours < theirs {
            let right = format!("at least {theirs}, the MTU of the VLAN network {other_id} on {interface}");
            return Err(Refusal::argument("mtu", mtu, right));
        }
    }
    Ok(())
}

/// The largest MTU of the L3 networks on an L2 network, one of them left out.
fn largest_mtu(facts: &Facts, l2: Id, but: Option<L3NetworkId>) -> Result<Option<u16>, Refusal> {
    let mut largest = None;
    for l3 in facts.members(Relation::L3sOfL2, l2) {
        if but != Some(L3NetworkId(l3)) {
            largest = largest.max(Some(facts.get::<L3Network>(l3)?.mtu()));
        }
    }
    Ok(largest)
}

pub(crate) fn set_router_interface_ip(
    command: &SetL3NetworkRouterInterfaceIp,
    facts: &Facts,
    context: &Context,
) -> Result<Decision, Refusal> {
    let id = command.l3_network_uuid;
    let ip = command.router_interface_ip;
    rules::existing::<L3Network>(facts, "l3NetworkUuid", id)?;
    router_interface_ip_fits(facts, "routerInterfaceIp", id, ip)?;
    let mut decision = Decision::about(StreamKind::L3Network, id).show("l3");
    tag_set::put(&mut decision, facts, context, id.0, &format!("{ROUTER_INTERFACE_IP}::{ip}"))?;
    Ok(decision)
}

/// An address that routers may take on the network: in its CIDR, and in no range of its L2 network, so that nobody
/// else ever gets it.
pub(crate) fn router_interface_ip_fits(
    facts: &Facts,
    field: &str,
    id: L3NetworkId,
    ip: Ipv4Addr,
) -> Result<(), Refusal> {
    let l3 = facts.get::<L3Network>(id)?;
    let Some((subnet, _)) = ip_range::first_normal(facts, id)? else {
        return Err(Refusal::operation(format!("{field} = `{ip}`: L3 network {id} has no IP range yet")));
    };
    if !subnet.contains(&ip) || subnet.prefix_len() < 31 && (ip == subnet.network() || ip == subnet.broadcast()) {
        return Err(Refusal::argument(field, ip, format!("a usable address of the network's CIDR {subnet}")));
    }
    match ip_range::range_with(facts, l3.l2_network, ip)? {
        Some(range) => Err(Refusal::argument(field, ip, format!("an address outside of all ranges: {range} has it"))),
        None => Ok(()),
    }
}

/// The address that was set for routers on the network.
pub(crate) fn router_interface_ip(tags: &TagSet) -> Option<Ipv4Addr> {
    tags.values(ROUTER_INTERFACE_IP).find_map(|ip| ip.parse().ok())
}

/// What [`GetL3NetworkMtu`] answers.
///
/// # Errors
/// No such network.
pub fn mtu_of(states: &States, id: L3NetworkId) -> Result<u16, Refusal> {
    Ok(rules::existing::<L3Network>(&states.facts(), "l3NetworkUuid", id)?.mtu())
}

/// What [`GetL3NetworkRouterInterfaceIp`] answers: the address that was set, else the gateway; nothing for a network
/// without ranges.
///
/// # Errors
/// No such network.
pub fn router_interface_ip_of(states: &States, id: L3NetworkId) -> Result<Option<Ipv4Addr>, Refusal> {
    let facts = states.facts();
    rules::existing::<L3Network>(&facts, "l3NetworkUuid", id)?;
    let set = router_interface_ip(&*facts.tags(id)?);
    let gateway = ip_range::first_normal(&facts, id)?.map(|(_, gateway)| gateway);
    Ok(set.or(gateway))
}
