//! What the fold of hosts does with networks that hosts serve themselves ([`crate::flat`]): a host serves a network while
//! it carries a VM with a nic there, and knows of that VM what its document has of it.

use super::{HostFold, VmRecord};
use crate::{
    Guard, HostServiceConfig, VmConfig, flat,
    network_service_provider::Place,
    router::{Client, Network, RouterFold},
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
    /// The addresses of VIPs.
    vips: BTreeMap<VipId, NicAddress>,
    /// The EIPs of nics.
    eips: BTreeMap<NicId, BTreeSet<EipId>>,
}

impl Default for FlatFold {
    fn default() -> FlatFold {
        FlatFold {
            place: RouterFold { provider: Some(flat::provider()), ..Default::default() },
            servers: BTreeMap::new(),
            vips: BTreeMap::new(),
            eips: BTreeMap::new(),
        }
    }
}

impl FlatFold {
    /// Takes the next event of an L3 network, VIP or EIP, or of the configuration.
    pub fn apply(&mut self, recorded: &Recorded) {
        let id = L3NetworkId(recorded.stream.id);
        match &recorded.event {
            Event::Vip(VipEvent::Created { address, .. }) => {
                self.vips.insert(VipId(id.0), *address);
            }
            Event::Vip(VipEvent::Deleted { .. }) => drop(self.vips.remove(&VipId(id.0))),
            Event::Vip(_) => {}
            Event::Eip(event) => {
                let eip = EipId(id.0);
                match event {
                    EipEvent::Attached { to, .. } => drop(self.eips.entry(to.nic).or_default().insert(eip)),
                    EipEvent::Detached { from, .. } | EipEvent::Deleted { from: Some(from), .. } => {
                        if let Some(held) = self.eips.get_mut(&from.nic) {
                            held.remove(&eip);
                            if held.is_empty() {
                                self.eips.remove(&from.nic);
                            }
                        }
                    }
                    _ => {}
                }
                self.place.apply(recorded);
            }
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
                *provider == flat::provider()
            }
            L3::DnsAdded { .. }
            | L3::DnsRemoved { .. }
            | L3::HostRouteAdded { .. }
            | L3::HostRouteRemoved { .. }
            | L3::Updated { dns_domain: Some(_), .. } => self.servers.contains_key(&l3),
            _ => false,
        }
    }

    /// The VM that an event of an EIP is about, where its host is to serve it.
    pub fn served(&self, eip: EipId, event: &EipEvent) -> Option<VmInstanceId> {
        let to = match event {
            EipEvent::Attached { to, .. } => Some(*to),
            EipEvent::Detached { from, .. } => Some(*from),
            EipEvent::Deleted { from, .. } => *from,
            EipEvent::StateChanged { .. } => self.place.eips.get(&eip).map(|served| served.to),
            EipEvent::Created { .. } | EipEvent::Updated { .. } => None,
        };
        to.filter(|to| self.place.network(to.l3_network).services.contains(&NetworkServiceType::Eip)).map(|to| to.vm)
    }

    /// Whether hosts serve any EIPs, as far as can be said without looking at each.
    pub fn has_eips(&self) -> bool {
        !self.eips.is_empty()
    }
}

impl HostFold {
    /// What a host with these VMs serves them with.
    pub(super) fn services(
        &self,
        cluster: ClusterId,
        vms: &BTreeMap<VmInstanceId, VmConfig>,
    ) -> BTreeMap<Id, HostServiceConfig> {
        if self.flat.servers.is_empty() && self.flat.eips.is_empty() {
            return BTreeMap::new();
        }
        let mut clients: BTreeMap<VmInstanceId, Client> = BTreeMap::new();
        let mut networks: BTreeSet<L3NetworkId> = BTreeSet::new();
        for (id, config) in vms {
            let Some(vm) = self.vms.get(id) else { continue };
            let nics: Vec<Nic> = known(vm, config.generation).collect();
            networks.extend(nics.iter().map(|nic| nic.l3_network));
            let hostname = config.hostname.clone();
            clients.insert(*id, Client { hostname, nics, served: true, ..Client::default() });
        }
        let served = |l3: L3NetworkId| Some((l3.0, self.service(l3, &clients)?));
        let mut services: BTreeMap<Id, HostServiceConfig> = networks.into_iter().filter_map(served).collect();
        for (vm, client) in &clients {
            for nic in &client.nics {
                let eips = self.flat.eips.get(&nic.nic).into_iter().flatten();
                services.extend(eips.filter_map(|eip| Some((eip.0, self.eip(*eip, cluster, (*vm, client), nic)?))));
            }
        }
        services
    }

    /// An EIP of a nic, where the host gives EIPs on its network and is on that of the VIP.
    fn eip(
        &self,
        id: EipId,
        cluster: ClusterId,
        (vm, client): (VmInstanceId, &Client),
        nic: &Nic,
    ) -> Option<HostServiceConfig> {
        let served = self.flat.place.eips.get(&id).filter(|served| !served.disabled)?;
        let guest = self.flat.place.networks.get(&nic.l3_network)?;
        if !guest.services.contains(&NetworkServiceType::Eip) {
            return None;
        }
        let public = served.at.l3_network;
        let (public_l2, _) = self.l3s.get(&public).filter(|(l2, _)| self.l2s.attached(*l2, cluster))?;
        let vip = *self.flat.vips.get(&served.at.vip)?;
        let own = nic.ipv4()?;
        let inside = nic.addresses.iter().find(|address| address.ip.is_ipv4())?;
        let gateway = NicAddress { ip: inside.gateway, used_ip: Id::NIL, ..*inside };
        let nics = flat::nics_of_eip(id, (nic.l3_network, nic.l2_network, gateway), (public, *public_l2, vip));
        let network = |services: &[NetworkServiceType], l3| Network {
            services: services.iter().copied().collect(),
            mtu: self.flat.place.network(l3).mtu,
            ..Network::default()
        };
        let networks =
            [(nic.l3_network, network(&[NetworkServiceType::Eip], nic.l3_network)), (public, network(&[], public))];
        let place = Place {
            provider: Some(flat::provider()),
            nics: nics.to_vec(),
            default_route_network: Some(public),
            networks: networks.into(),
            clients: BTreeMap::from([(vm, client.clone())]),
            eips: BTreeMap::from([(id, served.clone())]),
            snat_inbound: self.flat.place.snat_inbound.clone(),
            ..Place::default()
        };
        let [inside, _] = &nics;
        Some(HostServiceConfig {
            plugs: nics.iter().map(|nic| self.plug(nic, true, 0)).collect(),
            sections: flat::sections_of_eip(&place),
            guard: Guard::Nic {
                plug: inside.internal_name.clone(),
                nic: nic.internal_name.clone(),
                gateway: own.gateway,
            },
        })
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
            guard: Guard::Network { plug: nic.internal_name, mac: nic.mac, ip },
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
