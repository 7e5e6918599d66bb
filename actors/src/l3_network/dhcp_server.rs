//! The address at which hosts serve a network with DHCP or DNS by the provider Flat. It is the same on each of them, and
//! one that a range of the network holds for it: nobody else has it.

use crate::{context::Context, decision::Decision, facts::Facts, rules, *};
use std::net::Ipv4Addr;
use switchback_bus::*;
use switchback_events::*;

/// The services that need the address.
const SERVED: [NetworkServiceType; 2] = [NetworkServiceType::DHCP, NetworkServiceType::DNS];

/// The provider whose services hosts give.
pub(crate) fn flat() -> NetworkServiceProviderId {
    built_in_provider("Flat")
}

impl L3Network {
    /// Whether the hosts of its VMs give it this service.
    pub fn by_hosts(&self, service: NetworkServiceType) -> bool {
        self.services.get(&service) == Some(&flat())
    }

    /// Whether hosts serve it at an address of its own.
    pub fn needs_dhcp_server(&self) -> bool {
        SERVED.into_iter().any(|service| self.by_hosts(service))
    }
}

/// Whether a decision has said already where the network is served.
fn said(decision: &Decision, l3: L3NetworkId) -> bool {
    let says = |event: &Event| matches!(event, Event::L3Network(L3NetworkEvent::DhcpServerChanged { .. }));
    decision.events.iter().any(|(stream, event)| stream.id == l3.0 && says(event))
}

/// Sees to it that a network that hosts serve has an address for that, once it has a range.
pub(crate) fn ensure(
    decision: &mut Decision,
    facts: &Facts,
    context: &Context,
    l3: L3NetworkId,
) -> Result<(), Refusal> {
    let network = facts.get::<L3Network>(l3)?;
    if network.needs_dhcp_server() && network.dhcp_server.is_none() && !said(decision, l3) {
        choose(decision, facts, context, l3)?;
    }
    Ok(())
}

fn choose(decision: &mut Decision, facts: &Facts, context: &Context, l3: L3NetworkId) -> Result<(), Refusal> {
    if let Some(address) = ip_range::hold_for_hosts(decision, facts, context, l3, None)? {
        decision.add(l3, L3NetworkEvent::DhcpServerChanged { address: Some(address) });
    }
    Ok(())
}

/// The network is being given services by hosts: it has an address for them, if one is free. Those that have none yet
/// get it with their first VM.
pub(crate) fn begin(
    decision: &mut Decision,
    facts: &Facts,
    context: &Context,
    l3: L3NetworkId,
    services: &[NetworkServiceType],
) -> Result<(), Refusal> {
    let network = facts.get::<L3Network>(l3)?;
    let needed = services.iter().any(|service| SERVED.contains(service));
    if needed && network.dhcp_server.is_none() && ip_range::has_room(facts, l3)? {
        choose(decision, facts, context, l3)?;
    }
    Ok(())
}

/// These services of hosts go: without others that need the address it is free again.
pub(crate) fn end(
    decision: &mut Decision,
    facts: &Facts,
    l3: L3NetworkId,
    services: &[NetworkServiceType],
) -> Result<(), Refusal> {
    let network = facts.get::<L3Network>(l3)?;
    let stays = |service: &NetworkServiceType| network.by_hosts(*service) && !services.contains(service);
    if let Some(address) = network.dhcp_server.filter(|_| !SERVED.iter().any(stays)) {
        ip_range::give_back_of_hosts(decision, facts, l3, &address)?;
        decision.add(l3, L3NetworkEvent::DhcpServerChanged { address: None });
    }
    Ok(())
}

/// With the range that holds it the address is gone: the network has another one from the next VM on.
pub(crate) fn follow(decision: &mut Decision, facts: &Facts) -> Result<(), Refusal> {
    let mut bereft = Vec::new();
    for (stream, event) in &decision.events {
        let Event::IpRange(IpRangeEvent::Deleted { l3_network }) = event else { continue };
        let goes = |(other, event): &(StreamKey, Event)| {
            other.id == l3_network.0 && matches!(event, Event::L3Network(L3NetworkEvent::Deleted {}))
        };
        let address = facts.get::<L3Network>(*l3_network)?.dhcp_server;
        if address.is_some_and(|address| address.ip_range.0 == stream.id) && !decision.events.iter().any(goes) {
            bereft.push(*l3_network);
        }
    }
    for l3 in bereft {
        decision.add(l3, L3NetworkEvent::DhcpServerChanged { address: None });
    }
    Ok(())
}

pub(crate) fn change(
    command: &ChangeL3NetworkDhcpIpAddress,
    facts: &Facts,
    context: &Context,
) -> Result<Decision, Refusal> {
    const FIELD: &str = "dhcpServerIp";
    let id = command.l3_network_uuid;
    let l3 = rules::existing::<L3Network>(facts, "l3NetworkUuid", id)?;
    if let Some(ip) = &command.dhcpv6_server_ip {
        return Err(Refusal::not_supported(format!("dhcpv6ServerIp = `{ip}`: DHCPv6 by the provider Flat")));
    }
    let Some(ip) = command.dhcp_server_ip else {
        return Err(Refusal::missing(FIELD, "give the address at which hosts serve the network"));
    };
    if !l3.needs_dhcp_server() {
        let detail = format!("l3NetworkUuid = `{id}`: the L3 network has neither DHCP nor DNS by the provider Flat");
        return Err(Refusal::operation(detail));
    }
    let mut decision = Decision::about(StreamKind::L3Network, id).show("l3");
    if l3.dhcp_server.is_some_and(|address| address.ip == ip) {
        return Ok(decision);
    }
    let address = ip_range::hold_for_hosts(&mut decision, facts, context, id, Some((FIELD, ip)))?;
    if let Some(before) = l3.dhcp_server {
        ip_range::give_back_of_hosts(&mut decision, facts, id, &before)?;
    }
    decision.add(id, L3NetworkEvent::DhcpServerChanged { address });
    Ok(decision)
}

/// What [`GetL3NetworkDhcpIpAddress`] answers: the address at which hosts serve the network, if they do.
///
/// # Errors
/// No such network.
pub fn of(states: &States, id: L3NetworkId) -> Result<Option<Ipv4Addr>, Refusal> {
    let l3 = rules::existing::<L3Network>(&states.facts(), "l3NetworkUuid", id)?;
    Ok(l3.dhcp_server.and_then(|address| match address.ip {
        std::net::IpAddr::V4(ip) => Some(ip),
        std::net::IpAddr::V6(_) => None,
    }))
}
