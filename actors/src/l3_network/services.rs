//! Network services: attached from providers, each type from one. All of a request is one commit: there is nothing to
//! take back where a part of it is refused.

use super::dhcp_server;
use crate::{context::Context, decision::Decision, directory::Relation, facts::Facts, rules, *};
use std::collections::BTreeMap;
use switchback_bus::*;
use switchback_events::*;

/// The providers and services that a request names, by provider.
type Asked = BTreeMap<NetworkServiceProviderId, Vec<NetworkServiceType>>;

fn asked(request: &BTreeMap<String, Vec<String>>, facts: &Facts) -> Result<Asked, Refusal> {
    if request.is_empty() {
        return Err(Refusal::argument("networkServices", "{}", "at least one provider with its services"));
    }
    let mut asked = Asked::new();
    for (name, services) in request {
        let field = format!("networkServices.{name}");
        let provider = network_service_provider::find(facts, name)?.ok_or_else(|| {
            Refusal::argument("networkServices", name, "the uuid or type of a network service provider")
        })?;
        if services.is_empty() {
            return Err(Refusal::argument(&field, "[]", "at least one service"));
        }
        let offered = facts.get::<NetworkServiceProvider>(provider)?;
        let list = asked.entry(provider).or_default();
        for word in services {
            let Some(service) = word.parse().ok().filter(|service| offered.services.contains(service)) else {
                let all: Vec<String> = offered.services.iter().map(ToString::to_string).collect();
                return Err(Refusal::argument(&field, word, format!("a service of this provider: {}", all.join(", "))));
            };
            if !list.contains(&service) {
                list.push(service);
            }
        }
    }
    Ok(asked)
}

pub(crate) fn attach_services(
    command: &AttachNetworkServiceToL3Network,
    facts: &Facts,
    context: &Context,
) -> Result<Decision, Refusal> {
    let id = command.l3_network_uuid;
    let l3 = rules::existing::<L3Network>(facts, "l3NetworkUuid", id)?;
    let asked = asked(&command.network_services, facts)?;
    let mut decision = Decision::about(StreamKind::L3Network, id).show("l3");
    let mut seen: Vec<NetworkServiceType> = Vec::new();
    for services in asked.values() {
        for service in services {
            if let Some(other) = l3.services.get(service) {
                let refusal =
                    format!("L3 network {id} has {service} from provider {other} already: one provider per service");
                return Err(Refusal::operation(refusal));
            }
            if seen.contains(service) {
                return Err(Refusal::argument("networkServices", service, "each service from one provider only"));
            }
            seen.push(*service);
        }
    }
    let l2 = facts.get::<L2Network>(l3.l2_network)?;
    for (provider, services) in &asked {
        if !l2.providers.contains(provider) {
            let right = format!("a provider that is attached to L2 network {}", l3.l2_network);
            return Err(Refusal::argument("networkServices", provider, right));
        }
        let ours = *provider == network_service_provider::virtual_router();
        let offered = facts.get::<NetworkServiceProvider>(*provider)?;
        let all: Vec<_> = services.iter().chain(l3.services.keys()).chain(asked.values().flatten()).collect();
        for service in services {
            let translated = matches!(service, NetworkServiceType::Eip | NetworkServiceType::PortForwarding);
            if ours && translated && !all.contains(&&NetworkServiceType::SNAT) {
                return Err(Refusal::operation(format!("{service} of a virtual router needs SNAT on L3 network {id}")));
            }
            // A record without a backend gives nothing.
            if !facts.gives(&offered.provider_type, *service) {
                return Err(Refusal::not_supported(format!("service {service} of provider {provider}")));
            }
        }
        if services.contains(&NetworkServiceType::DHCP) {
            ip_range::refuse_dhcp(facts, id)?;
        }
        if services.contains(&NetworkServiceType::SNAT) && !facts.members(Relation::OfferingsOnL3, id).is_empty() {
            let right = "a network that no virtual router offering stands on";
            return Err(Refusal::argument("l3NetworkUuid", id, right));
        }
        if ours {
            router::reachable(facts, "l3NetworkUuid", id)?;
        }
        let by_hosts = *provider == dhcp_server::flat();
        if by_hosts && services.contains(&NetworkServiceType::DHCP) && ip_range::has_ipv6(facts, id)? {
            return Err(Refusal::not_supported(format!(
                "DHCP by the provider Flat on L3 network {id}, which has IPv6,"
            )));
        }
        decision = decision.event(L3NetworkEvent::ServicesAttached { provider: *provider, services: services.clone() });
        if ours && services.contains(&NetworkServiceType::SNAT) {
            router::become_gateway(&mut decision, facts, id)?;
        }
    }
    if l3.no_ipam && seen.iter().any(|service| *service != NetworkServiceType::SecurityGroup) {
        let detail = format!("l3NetworkUuid = `{id}`: the L3 network has no address management (enableIPAM)");
        return Err(Refusal::operation(detail).hint("only SecurityGroup needs no addresses"));
    }
    let crowded = seen.contains(&NetworkServiceType::DHCP) && !facts.members(Relation::VmsOnL3, id).is_empty();
    if crowded && !ip_range::has_room(facts, id)? {
        let detail = format!("networkServices = `DHCP`: L3 network {id} has VMs and no free address for the service");
        return Err(Refusal::operation(detail).hint("add an IP range first"));
    }
    if let Some(services) = asked.get(&dhcp_server::flat()) {
        dhcp_server::begin(&mut decision, facts, context, id, services)?;
    }
    Ok(decision)
}

pub(crate) fn detach_services(command: &DetachNetworkServiceFromL3Network, facts: &Facts) -> Result<Decision, Refusal> {
    let id = command.l3_network_uuid;
    let l3 = rules::existing::<L3Network>(facts, "l3NetworkUuid", id)?;
    let mut decision = Decision::about(StreamKind::L3Network, id).show("l3");
    let mut all = match &command.network_services {
        Some(request) => asked(request, facts)?,
        None if command.service.is_some() => Asked::new(),
        None => return Err(Refusal::missing("networkServices", "give networkServices or service")),
    };
    if let Some(word) = &command.service {
        let bad = |()| Refusal::argument("service", word, "a type of network service");
        let service: NetworkServiceType = word.parse().map_err(bad)?;
        if let Some(provider) = l3.services.get(&service) {
            all.entry(*provider).or_default().push(service);
        }
    }
    for (provider, mut services) in all {
        services.sort();
        services.dedup();
        services.retain(|service| l3.services.get(service) == Some(&provider));
        if services.contains(&NetworkServiceType::SecurityGroup) {
            unfiltered(facts, id)?;
        }
        if !services.is_empty() {
            if provider == dhcp_server::flat() {
                dhcp_server::end(&mut decision, facts, id, &services)?;
            }
            decision = decision.event(L3NetworkEvent::ServicesDetached { provider, services });
        }
    }
    Ok(decision)
}

/// Refuses to leave nics in security groups without whom filters for them.
fn unfiltered(facts: &Facts, id: L3NetworkId) -> Result<(), Refusal> {
    for vm in facts.members(Relation::VmsOnL3, id) {
        let vm = facts.get::<VmInstance>(vm)?;
        for nic in vm.nics.iter().filter(|nic| nic.l3_network == id) {
            if vm.security.get(&nic.nic).is_some_and(|own| !own.groups.is_empty()) {
                let detail = format!("l3NetworkUuid = `{id}`: nic {} is in security groups", nic.nic);
                return Err(Refusal::operation(detail).hint("take it out with SetVmNicSecurityGroup"));
            }
        }
    }
    Ok(())
}
