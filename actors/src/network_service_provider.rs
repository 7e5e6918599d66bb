//! Network service provider: a record of who offers which services. The built-in ones are made at first start.

use crate::{directory::Relation, facts::Facts};
use serde::{Deserialize, Serialize};
use switchback_bus::Refusal;
use switchback_events::*;

/// A provider.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct NetworkServiceProvider {
    pub name: String,
    pub provider_type: String,
    pub services: Vec<NetworkServiceType>,
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

/// The events that make the built-in providers, as in ZStack.
pub(crate) fn founding() -> Vec<(StreamKey, Event)> {
    use NetworkServiceType::*;
    let providers: [(&str, &str, &[NetworkServiceType]); 3] = [
        ("VirtualRouter", "services by a virtual router", &[DHCP, DNS, SNAT, PortForwarding, Eip, LoadBalancer]),
        ("Flat", "services by the host", &[DHCP, Userdata, Eip, DNS, HostRoute]),
        ("SecurityGroup", "filters at the nic", &[SecurityGroup]),
    ];
    providers
        .into_iter()
        .map(|(name, description, services)| {
            let event = NetworkServiceProviderEvent::Created {
                name: name.to_string(),
                description: Some(description.to_string()),
                provider_type: name.to_string(),
                services: services.to_vec(),
            };
            (StreamKey::new(StreamKind::NetworkServiceProvider, built_in_provider(name)), event.into())
        })
        .collect()
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
