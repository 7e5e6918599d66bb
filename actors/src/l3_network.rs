//! L3 network: `Enabled ⇄ Disabled → deleted`, with name servers in order and services, each from one provider.

pub(crate) mod dhcp_server;
mod services;
mod settings;

pub(crate) use dhcp_server::change as change_dhcp_server;
pub use dhcp_server::of as dhcp_server_of;
pub(crate) use services::{attach_services, detach_services};
pub(crate) use settings::{add_host_route, remove_host_route, router_interface_ip, set_mtu, set_router_interface_ip};
pub use settings::{mtu_of, router_interface_ip_of};

use crate::{context::Context, decision::Decision, directory::Relation, facts::Facts, rules, *};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};
use switchback_bus::*;
use switchback_events::*;

/// An L3 network.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct L3Network {
    pub name: String,
    pub zone: ZoneId,
    pub l2_network: L2NetworkId,
    pub category: Option<L3NetworkCategory>,
    pub system: bool,
    pub dns_domain: Option<String>,
    pub disabled: bool,
    pub dns: Vec<IpAddr>,
    /// Where clients are told the way to, in order.
    pub host_routes: Vec<(Ipv4Net, Ipv4Addr)>,
    /// Bytes, where it was set.
    pub mtu: Option<u16>,
    /// No address is given or checked.
    pub no_ipam: bool,
    pub services: BTreeMap<NetworkServiceType, NetworkServiceProviderId>,
    /// Reserved ranges: first and last address.
    pub reserved: BTreeMap<Id, (IpAddr, IpAddr)>,
    /// Where the hosts of its VMs serve it, if they do.
    pub dhcp_server: Option<NicAddress>,
    pub deleted: bool,
}

rules::exists!(L3Network, "L3 network");

impl L3Network {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &L3NetworkEvent, _version: Version) {
        match event {
            L3NetworkEvent::Created { zone, l2_network, name, category, system, dns_domain, .. } => {
                (self.zone, self.l2_network, self.name) = (*zone, *l2_network, name.clone());
                (self.category, self.system, self.dns_domain) = (Some(*category), *system, dns_domain.clone());
            }
            L3NetworkEvent::Updated { name, dns_domain, category, system, .. } => {
                self.name = name.clone().unwrap_or_else(|| self.name.clone());
                self.dns_domain = dns_domain.clone().or_else(|| self.dns_domain.clone());
                self.category = category.or(self.category);
                self.system = system.unwrap_or(self.system);
            }
            L3NetworkEvent::StateChanged { state } => self.disabled = *state == Enabled::Disabled,
            L3NetworkEvent::DnsAdded { dns } => self.dns.push(*dns),
            L3NetworkEvent::DnsRemoved { dns } => self.dns.retain(|server| server != dns),
            L3NetworkEvent::HostRouteAdded { prefix, nexthop } => self.host_routes.push((*prefix, *nexthop)),
            L3NetworkEvent::HostRouteRemoved { prefix } => self.host_routes.retain(|(other, _)| other != prefix),
            L3NetworkEvent::MtuChanged { mtu } => self.mtu = Some(*mtu),
            L3NetworkEvent::IpamDisabled {} => self.no_ipam = true,
            L3NetworkEvent::ServicesAttached { provider, services } => {
                self.services.extend(services.iter().map(|service| (*service, *provider)));
            }
            L3NetworkEvent::ServicesDetached { services, .. } => {
                self.services.retain(|service, _| !services.contains(service));
            }
            L3NetworkEvent::RangeReserved { reserved_range, start, end } => {
                self.reserved.insert(*reserved_range, (*start, *end));
            }
            L3NetworkEvent::RangeUnreserved { reserved_range } => drop(self.reserved.remove(reserved_range)),
            L3NetworkEvent::DhcpServerChanged { address } => self.dhcp_server = *address,
            L3NetworkEvent::Deleted {} => self.deleted = true,
        }
    }

    /// Whether a virtual router gives it any service.
    pub fn needs_router(&self) -> bool {
        self.services.values().any(|provider| *provider == network_service_provider::virtual_router())
    }

    /// Whether a virtual router gives it this service.
    pub fn routed(&self, service: NetworkServiceType) -> bool {
        self.services.get(&service) == Some(&network_service_provider::virtual_router())
    }
}

fn category_of(word: &str) -> L3NetworkCategory {
    match word {
        "Public" => L3NetworkCategory::Public,
        "System" => L3NetworkCategory::System,
        _ => L3NetworkCategory::Private,
    }
}

fn fits(category: L3NetworkCategory, system: bool) -> Result<(), Refusal> {
    match (system, category) {
        (true, L3NetworkCategory::System) | (false, L3NetworkCategory::Public | L3NetworkCategory::Private) => Ok(()),
        (true, other) => Err(Refusal::argument("category", format!("{other:?}"), "System, since system=true")),
        (false, other) => {
            Err(Refusal::argument("category", format!("{other:?}"), "Public or Private, since system=false"))
        }
    }
}

pub(crate) fn create(command: &CreateL3Network, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let system = command.system.unwrap_or(command.category.as_deref() == Some("System"));
    let category = match &command.category {
        Some(word) => category_of(word),
        None if system => L3NetworkCategory::System,
        None => L3NetworkCategory::Private,
    };
    fits(category, system)?;
    match command.r#type.as_deref() {
        None | Some("L3BasicNetwork") => {}
        Some("L3VpcNetwork") => return Err(Refusal::not_supported("type L3VpcNetwork")),
        Some(other) => return Err(Refusal::argument("type", other, "L3BasicNetwork")),
    }
    match command.ip_version {
        None | Some(4 | 6) => {}
        Some(other) => return Err(Refusal::argument("ipVersion", other, "4 or 6")),
    }
    if let Some(domain) = &command.dns_domain {
        rules::domain("dnsDomain", domain)?;
    }
    let l2 = rules::existing::<L2Network>(facts, "l2NetworkUuid", command.l2_network_uuid)?;
    let id = context.resource_id();
    let decision = Decision::about(StreamKind::L3Network, id).show("l3").event(L3NetworkEvent::Created {
        zone: l2.zone,
        l2_network: command.l2_network_uuid,
        name: command.name.clone(),
        description: command.description.clone(),
        category,
        system,
        dns_domain: command.dns_domain.clone(),
    });
    Ok(match command.enable_IPAM {
        Some(false) => decision.event(L3NetworkEvent::IpamDisabled {}),
        _ => decision,
    })
}

pub(crate) fn update(command: &UpdateL3Network, facts: &Facts) -> Result<Decision, Refusal> {
    rules::existing::<L3Network>(facts, "uuid", command.uuid)?;
    match (&command.category, command.system) {
        (Some(category), Some(system)) => fits(category_of(category), system)?,
        (None, None) => {}
        (Some(category), None) => {
            return Err(Refusal::argument(
                "category",
                category,
                "category and system change together: give system too",
            ));
        }
        (None, Some(system)) => {
            return Err(Refusal::argument("system", system, "category and system change together: give category too"));
        }
    }
    if let Some(domain) = &command.dns_domain {
        rules::domain("dnsDomain", domain)?;
    }
    Ok(Decision::about(StreamKind::L3Network, command.uuid).show("l3").event(L3NetworkEvent::Updated {
        name: command.name.clone(),
        description: command.description.clone(),
        dns_domain: command.dns_domain.clone(),
        category: command.category.as_deref().map(category_of),
        system: command.system,
    }))
}

pub(crate) fn change_state(command: &ChangeL3NetworkState, facts: &Facts) -> Result<Decision, Refusal> {
    let l3 = rules::existing::<L3Network>(facts, "uuid", command.uuid)?;
    let state = rules::state_event(&command.state_event);
    let decision = Decision::about(StreamKind::L3Network, command.uuid).show("l3");
    if l3.disabled == (state == Enabled::Disabled) {
        return Ok(decision);
    }
    Ok(decision.event(L3NetworkEvent::StateChanged { state }))
}

pub(crate) fn add_dns(command: &AddDnsToL3Network, facts: &Facts) -> Result<Decision, Refusal> {
    let l3 = rules::existing::<L3Network>(facts, "l3NetworkUuid", command.l3_network_uuid)?;
    // An IPv4 address in the clothes of IPv6 is the same server.
    let dns = command.dns.to_canonical();
    if l3.dns.contains(&dns) {
        return Err(Refusal::operation(format!(
            "dns = `{}`: L3 network {} has this name server already",
            command.dns, command.l3_network_uuid
        )));
    }
    if dns.is_unspecified() || dns.is_multicast() {
        return Err(Refusal::argument("dns", command.dns, "a unicast address"));
    }
    router::reachable(facts, "l3NetworkUuid", command.l3_network_uuid)?;
    let event = L3NetworkEvent::DnsAdded { dns };
    Ok(Decision::about(StreamKind::L3Network, command.l3_network_uuid).show("l3").event(event))
}

pub(crate) fn remove_dns(command: &RemoveDnsFromL3Network, facts: &Facts) -> Result<Decision, Refusal> {
    let l3 = rules::existing::<L3Network>(facts, "l3NetworkUuid", command.l3_network_uuid)?;
    let decision = Decision::about(StreamKind::L3Network, command.l3_network_uuid).show("l3");
    let dns = command.dns.to_canonical();
    if !l3.dns.contains(&dns) {
        return Ok(decision);
    }
    Ok(decision.event(L3NetworkEvent::DnsRemoved { dns }))
}

pub(crate) fn delete(command: &DeleteL3Network, facts: &Facts) -> Result<Decision, Refusal> {
    let id = command.uuid;
    let decision = Decision::about(StreamKind::L3Network, id);
    if !rules::Exists::exists(&*facts.get::<L3Network>(id)?) {
        return Ok(decision);
    }
    let mut blockers = rules::blockers::<VmInstance>(facts, facts.members(Relation::VmsOnL3, id))?;
    blockers.extend(rules::blockers::<Router>(facts, facts.members(Relation::RoutersOnL3, id))?);
    blockers.extend(rules::blockers::<Offering>(facts, facts.members(Relation::OfferingsOnL3, id))?);
    blockers.extend(rules::blockers::<Vip>(facts, facts.members(Relation::VipsOnL3, id))?);
    rules::unblocked("L3 network", blockers)?;
    let mut decision = decision;
    for range in facts.members(Relation::RangesOfL3, id) {
        facts.get::<IpRange>(range)?;
        decision.add(range, IpRangeEvent::Deleted { l3_network: id });
    }
    security_group::forget_l3(&mut decision, facts, id)?;
    Ok(decision.event(L3NetworkEvent::Deleted {}))
}
