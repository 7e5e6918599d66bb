//! What the fold of hosts does with networks that hosts serve themselves ([`crate::flat`]): a host serves a network while
//! it carries a VM with a nic there, and knows of that VM what its document has of it.

use super::{HostFold, VmRecord};
use crate::{
    Guard, HostServiceConfig, VmConfig, flat,
    network_service_provider::Place,
    router::{Client, RouterFold},
};
use std::collections::{BTreeMap, BTreeSet};
use switchback_events::*;

/// What the fold knows of the networks that hosts serve.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct FlatFold {
    /// The settings of the networks.
    place: Place,
    /// Where they are served, if they are.
    servers: BTreeMap<L3NetworkId, NicAddress>,
}

impl Default for FlatFold {
    fn default() -> FlatFold {
        FlatFold {
            place: RouterFold { provider: Some(flat::provider()), ..Default::default() },
            servers: BTreeMap::new(),
        }
    }
}

impl FlatFold {
    /// Takes the next event of an L3 network.
    pub fn apply(&mut self, recorded: &Recorded) {
        let id = L3NetworkId(recorded.stream.id);
        match &recorded.event {
            Event::L3Network(L3NetworkEvent::DhcpServerChanged { address }) => match address {
                Some(address) => drop(self.servers.insert(id, *address)),
                None => drop(self.servers.remove(&id)),
            },
            Event::L3Network(L3NetworkEvent::Deleted {}) => {
                self.servers.remove(&id);
                self.place.networks.remove(&id);
            }
            _ => self.place.apply(recorded),
        }
    }

    /// Whether an event of this network may change what hosts serve there.
    pub fn heeds(&self, l3: L3NetworkId, event: &L3NetworkEvent) -> bool {
        use L3NetworkEvent as L3;
        match event {
            L3::DhcpServerChanged { .. } => true,
            L3::ServicesAttached { provider, .. } | L3::ServicesDetached { provider, .. } => {
                *provider == flat::provider() && self.servers.contains_key(&l3)
            }
            L3::DnsAdded { .. }
            | L3::DnsRemoved { .. }
            | L3::HostRouteAdded { .. }
            | L3::HostRouteRemoved { .. }
            | L3::Updated { dns_domain: Some(_), .. } => self.servers.contains_key(&l3),
            _ => false,
        }
    }
}

impl HostFold {
    /// What a host with these VMs serves them with.
    pub(super) fn services(&self, vms: &BTreeMap<VmInstanceId, VmConfig>) -> BTreeMap<Id, HostServiceConfig> {
        if self.flat.servers.is_empty() {
            return BTreeMap::new();
        }
        let mut clients: BTreeMap<VmInstanceId, Client> = BTreeMap::new();
        let mut networks: BTreeSet<L3NetworkId> = BTreeSet::new();
        for (id, config) in vms {
            let Some(vm) = self.vms.get(id) else { continue };
            let nics: Vec<Nic> = known(vm, config.generation).collect();
            networks.extend(nics.iter().map(|nic| nic.l3_network));
            let hostname = config.hostname.clone();
            clients.insert(*id, Client { hostname, nics, userdata: None, served: true });
        }
        let served = |l3: L3NetworkId| Some((l3.0, self.service(l3, &clients)?));
        networks.into_iter().filter_map(served).collect()
    }

    fn service(&self, l3: L3NetworkId, clients: &BTreeMap<VmInstanceId, Client>) -> Option<HostServiceConfig> {
        let address = *self.flat.servers.get(&l3)?;
        let network = self.flat.place.networks.get(&l3)?;
        let (l2, _) = self.l3s.get(&l3)?;
        let nic = flat::nic(l3, *l2, address);
        let std::net::IpAddr::V4(ip) = address.ip else { return None };
        let on_it = clients.iter().filter(|(_, client)| client.nics.iter().any(|nic| nic.l3_network == l3));
        let place = Place {
            provider: Some(flat::provider()),
            nics: vec![nic.clone()],
            networks: BTreeMap::from([(l3, network.clone())]),
            clients: on_it.map(|(vm, client)| (*vm, client.clone())).collect(),
            ..Place::default()
        };
        Some(HostServiceConfig {
            plugs: vec![self.plug(&nic, true, 0)],
            sections: flat::sections(&place),
            guard: Guard { plug: nic.internal_name, mac: nic.mac, ip },
        })
    }
}

/// The nics of a VM as its host knows them at this generation.
pub(super) fn known(vm: &VmRecord, generation: Position) -> impl Iterator<Item = Nic> + '_ {
    let starting = generation > vm.running;
    vm.nics.iter().filter_map(move |own| match &own.told {
        _ if starting => Some(own.nic.clone()),
        told => told.as_ref().map(|told| told.nic.clone()),
    })
}
