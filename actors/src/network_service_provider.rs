//! Network service provider: a record of who offers which services. The built-in ones are made at first start. Which L2
//! networks a provider may serve is a part of the L2 network: all that there are when it is made.

use crate::{
    context::Context,
    decision::Decision,
    directory::Relation,
    facts::Facts,
    rules::{self, Exists},
    *,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use switchback_appliance::Providers;
use switchback_bus::*;
use switchback_events::*;

/// A provider.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct NetworkServiceProvider {
    pub name: String,
    pub provider_type: String,
    pub services: Vec<NetworkServiceType>,
}

impl Exists for NetworkServiceProvider {
    const WHAT: &'static str = "network service provider";
    fn exists(&self) -> bool {
        !self.provider_type.is_empty()
    }
    fn name(&self) -> &str {
        &self.name
    }
}

impl NetworkServiceProvider {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &NetworkServiceProviderEvent, _version: Version) {
        let NetworkServiceProviderEvent::Created { name, provider_type, services, .. } = event;
        (self.name, self.provider_type, self.services) = (name.clone(), provider_type.clone(), services.clone());
    }
}

/// The provider whose backend is a virtual router.
pub fn virtual_router() -> NetworkServiceProviderId {
    built_in_provider("VirtualRouter")
}

/// The built-in providers.
pub(crate) fn built_in() -> BTreeSet<NetworkServiceProviderId> {
    BUILT_IN_PROVIDERS.into_iter().map(built_in_provider).collect()
}

/// The events that make the built-in providers, as in ZStack, and those that this server has a backend for.
pub(crate) fn founding(backends: &Providers) -> Vec<(StreamKey, Event)> {
    use NetworkServiceType::*;
    let of_router = [DHCP, DNS, SNAT, PortForwarding, Eip, LoadBalancer];
    let of_vrouter = [of_router.as_slice(), &[CentralizedDNS, IPsec, VRouterRoute, VipQos]].concat();
    let offered = |provider_type| match provider_type {
        "VirtualRouter" => ("services by a virtual router", of_router.to_vec()),
        "vrouter" => ("services by a VyOS router", of_vrouter.clone()),
        "Flat" => ("services by the host", vec![DHCP, Userdata, Eip, DNS, HostRoute]),
        _ => ("filters at the nic", vec![SecurityGroup]),
    };
    let created = |name: &str, description: Option<&str>, services| {
        let event = NetworkServiceProviderEvent::Created {
            name: name.to_string(),
            description: description.map(str::to_string),
            provider_type: name.to_string(),
            services,
        };
        (StreamKey::new(StreamKind::NetworkServiceProvider, built_in_provider(name)), event.into())
    };
    let built_in = BUILT_IN_PROVIDERS.into_iter().map(|name| {
        let (description, services) = offered(name);
        created(name, Some(description), services)
    });
    let others = backends.iter().filter(|backend| !BUILT_IN_PROVIDERS.contains(&backend.provider_type()));
    built_in.chain(others.map(|backend| created(backend.provider_type(), None, backend.services()))).collect()
}

/// The provider that a request names by uuid or type.
pub(crate) fn find(facts: &Facts, name: &str) -> Result<Option<NetworkServiceProviderId>, Refusal> {
    for id in facts.members(Relation::All(StreamKind::NetworkServiceProvider), Id::NIL) {
        let provider = facts.get::<NetworkServiceProvider>(id)?;
        if id.to_string() == name || provider.provider_type == name {
            return Ok(Some(NetworkServiceProviderId(id)));
        }
    }
    Ok(None)
}

pub(crate) fn add(command: &AddNetworkServiceProvider, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let field = "networkServiceTypes";
    let mut services = Vec::new();
    for word in &command.network_service_types {
        let service = word.parse().map_err(|()| {
            let all: Vec<String> = NetworkServiceType::ALL.iter().map(ToString::to_string).collect();
            Refusal::argument(field, word, format!("one of {}", all.join(", ")))
        })?;
        if !services.contains(&service) {
            services.push(service);
        }
    }
    if services.is_empty() {
        return Err(Refusal::argument(field, "[]", "at least one type of network service"));
    }
    if let Some(other) = find(facts, &command.r#type)? {
        let right = format!("a type that no other provider has: {other} has it");
        return Err(Refusal::argument("type", &command.r#type, right));
    }
    let decision = Decision::about(StreamKind::NetworkServiceProvider, context.id()).show("networkServiceProvider");
    Ok(decision.event(NetworkServiceProviderEvent::Created {
        name: command.name.clone(),
        description: Some(command.description.clone()).filter(|text| !text.is_empty()),
        provider_type: command.r#type.clone(),
        services,
    }))
}

/// A new L2 network may have services from all providers that there are.
pub(crate) fn associate(mut decision: Decision, facts: &Facts) -> Decision {
    let built_in = built_in();
    for id in facts.members(Relation::All(StreamKind::NetworkServiceProvider), Id::NIL) {
        let provider = NetworkServiceProviderId(id);
        if !built_in.contains(&provider) {
            decision = decision.event(L2NetworkEvent::ProviderAttached { provider });
        }
    }
    decision
}

pub(crate) fn attach(command: &AttachNetworkServiceProviderToL2Network, facts: &Facts) -> Result<Decision, Refusal> {
    let (id, provider) = (command.l2_network_uuid, command.network_service_provider_uuid);
    let l2 = rules::existing::<L2Network>(facts, "l2NetworkUuid", id)?;
    rules::existing::<NetworkServiceProvider>(facts, "networkServiceProviderUuid", provider)?;
    if l2.providers.contains(&provider) {
        let detail =
            format!("networkServiceProviderUuid = `{provider}`: the provider is attached to L2 network {id} already");
        return Err(Refusal::conflict(code::PROVIDER_ATTACH, detail));
    }
    let decision = Decision::about(StreamKind::L2Network, id).show("l2");
    Ok(decision.event(L2NetworkEvent::ProviderAttached { provider }))
}

pub(crate) fn detach(command: &DetachNetworkServiceProviderFromL2Network, facts: &Facts) -> Result<Decision, Refusal> {
    let (id, provider) = (command.l2_network_uuid, command.network_service_provider_uuid);
    let l2 = rules::existing::<L2Network>(facts, "l2NetworkUuid", id)?;
    rules::existing::<NetworkServiceProvider>(facts, "networkServiceProviderUuid", provider)?;
    let refused = |why: String| {
        let detail = format!("networkServiceProviderUuid = `{provider}`: {why}");
        Refusal::conflict(code::PROVIDER_DETACH, detail)
    };
    if !l2.providers.contains(&provider) {
        return Err(refused(format!("the provider is not attached to L2 network {id}")));
    }
    let mut served = Vec::new();
    for l3 in facts.members(Relation::L3sOfL2, id) {
        if facts.get::<L3Network>(l3)?.services.values().any(|of| *of == provider) {
            served.push(l3);
        }
    }
    if let Some(first) = served.first() {
        let refusal = refused(format!("L3 network {first} on L2 network {id} has services from it"));
        let blockers = rules::blockers::<L3Network>(facts, served)?;
        return Err(refusal.hint("detach the services first").blockers(blockers));
    }
    let decision = Decision::about(StreamKind::L2Network, id).show("l2");
    Ok(decision.event(L2NetworkEvent::ProviderDetached { provider }))
}

/// The types of the providers with the services that they offer, in the order of the types.
pub fn offered(states: &States) -> Result<std::collections::BTreeMap<String, Vec<NetworkServiceType>>, Refusal> {
    let facts = states.facts();
    let ids = facts.peek_members(Relation::All(StreamKind::NetworkServiceProvider), Id::NIL);
    ids.into_iter()
        .map(|id| {
            let provider = facts.peek::<NetworkServiceProvider>(id)?;
            Ok((provider.provider_type.clone(), provider.services.clone()))
        })
        .collect()
}
