//! The fold of hosts: the log becomes, for every host, its [`HostConfig`]. One fold follows the whole log, since a
//! host's document draws on clusters, L2 networks, routers and VMs.
//!
//! A VM is in its host's document only when every router that serves it has applied a revision that knows of its
//! start, so a VM never asks for an address before the router can answer. So it is with what changes while it runs:
//! a nic that came, an address or a name that changed are in the document when the routers know of them.

use crate::{
    config::interface_name,
    host_config::*,
    l2_network::{L2Networks, Realisation},
    router::SNAT_INBOUND_TRAFFIC,
    security_group::{CLEAN_TRAFFIC, SecurityFold},
};
pub use router::{Replacement, RouterRecord};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};
use switchback_events::*;

/// What the fold knows of all hosts.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct HostFold {
    hosts: BTreeMap<HostId, HostRecord>,
    l2s: L2Networks,
    /// The L2 network of each L3 network, and its MTU where it was set.
    l3s: BTreeMap<L3NetworkId, (L2NetworkId, Option<u16>)>,
    routers: BTreeMap<RouterId, RouterRecord>,
    vms: BTreeMap<VmInstanceId, VmRecord>,
    on_host: BTreeMap<HostId, BTreeSet<Id>>,
    on_guest: BTreeMap<L3NetworkId, BTreeSet<RouterId>>,
    /// VMs that wait for their routers or their host.
    waiting: BTreeSet<VmInstanceId>,
    /// VMs that run, and of which something changed that not all of their routers know yet.
    changing: BTreeSet<VmInstanceId>,
    /// Routers that were to go to another host; what became of it is in their records.
    travelling: BTreeSet<RouterId>,
    position: Position,
    security: SecurityFold,
    /// Hosts that filter otherwise since the last commit.
    stirred: BTreeSet<HostId>,
    /// The position of the last event by which a host filters otherwise.
    stirred_at: BTreeMap<HostId, Position>,
    flat: flat::FlatFold,
}

/// What the fold knows of a host.
#[derive(Clone, PartialEq, Debug)]
pub struct HostRecord {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Where its agent listens.
    pub management_ip: Ipv4Addr,
    /// TCP port of its agent.
    pub agent_port: u16,
    /// Real or simulated.
    pub hypervisor_type: HypervisorType,
    /// What it is there for.
    pub state: HostState,
    /// Whether its agent answers.
    pub status: HostStatus,
    /// The position of the last event that asked for a new connection.
    pub connect_requested: Position,
}

/// What the fold knows of a VM.
#[derive(Clone, PartialEq, Debug)]
pub struct VmRecord {
    /// Its name.
    pub name: String,
    /// Its name in DNS.
    pub hostname: String,
    /// The position of the last change of that name.
    named: Position,
    /// The name that its host knows while it runs.
    told_name: String,
    /// Where it is placed.
    pub host: HostId,
    /// Its nics.
    pub nics: Vec<VmNic>,
    /// The network of its default route.
    pub default_l3_network: L3NetworkId,
    /// It stands still.
    pub paused: bool,
    /// The position of the last request to start or reboot it.
    pub generation: Position,
    /// The generation that the host was known to run, 0 for none.
    pub running: Position,
    /// It should run.
    pub wanted: bool,
    /// When the operation under way was asked for; none is under way otherwise.
    pub pending_since: Option<Micros>,
}

/// A nic of a VM.
#[derive(Clone, PartialEq, Debug)]
pub struct VmNic {
    /// As it should be.
    pub nic: Nic,
    /// The position of the event that made it so.
    since: Position,
    leases: Leases,
    /// It carries nothing.
    disabled: bool,
    /// As its host knows it while the VM runs.
    told: Option<ToldNic>,
}

/// Since when a nic has what DHCP gives it, of either family.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Leases {
    four: Position,
    six: Position,
}

#[derive(Clone, PartialEq, Debug)]
struct ToldNic {
    nic: Nic,
    since: Position,
    leases: Leases,
    /// The position at which all routers knew it.
    at: Position,
}

impl VmNic {
    fn new(nic: &Nic, since: Position) -> VmNic {
        let leases = Leases { four: since, six: since };
        VmNic { nic: nic.clone(), since, leases, disabled: false, told: None }
    }

    /// It asks anew for what is another address now, or none.
    fn change(&mut self, nic: Nic, since: Position) {
        let moved = (self.nic.l3_network, self.nic.mac) != (nic.l3_network, nic.mac);
        if moved || self.nic.ipv4() != nic.ipv4() {
            self.leases.four = since;
        }
        if moved || self.nic.ipv6() != nic.ipv6() {
            self.leases.six = since;
        }
        (self.nic, self.since) = (nic, since);
    }

    fn tell(&mut self, at: Position) {
        self.told = Some(ToldNic { nic: self.nic.clone(), since: self.since, leases: self.leases, at });
    }
}

impl HostFold {
    /// The position of the last event that was folded.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The hosts.
    pub fn hosts(&self) -> &BTreeMap<HostId, HostRecord> {
        &self.hosts
    }

    /// The routers.
    pub fn routers(&self) -> &BTreeMap<RouterId, RouterRecord> {
        &self.routers
    }

    /// The VM `id`.
    pub fn vm(&self, id: VmInstanceId) -> Option<&VmRecord> {
        self.vms.get(&id)
    }

    /// The VMs with an operation under way.
    pub fn pending(&self) -> impl Iterator<Item = (VmInstanceId, &VmRecord)> {
        self.vms.iter().filter(|(_, vm)| vm.pending_since.is_some()).map(|(id, vm)| (*id, vm))
    }

    /// The host of a VM that runs, and from which position on the host's document has all that changed of the VM;
    /// no position while its routers do not know of it yet.
    pub fn told(&self, id: VmInstanceId) -> Option<(HostId, Option<Position>)> {
        let vm = self.vms.get(&id).filter(|vm| vm.running > 0)?;
        let told = vm.nics.iter().filter_map(|own| own.told.as_ref()).map(|told| told.at).max().unwrap_or(0);
        Some((vm.host, Some(told).filter(|_| !self.changing.contains(&id))))
    }

    /// The VMs placed on a host.
    pub fn vms_of(&self, host: HostId) -> impl Iterator<Item = (VmInstanceId, &VmRecord)> {
        self.placed(host).filter_map(|id| self.vms.get_key_value(&VmInstanceId(id)).map(|(id, vm)| (*id, vm)))
    }

    /// The routers placed on a host.
    pub fn routers_of(&self, host: HostId) -> impl Iterator<Item = (RouterId, &RouterRecord)> {
        self.placed(host).filter_map(|id| self.routers.get_key_value(&RouterId(id)).map(|(id, router)| (*id, router)))
    }

    fn placed(&self, host: HostId) -> impl Iterator<Item = Id> + '_ {
        self.on_host.get(&host).into_iter().flatten().copied()
    }

    /// What hosts are asked to realise and have not all answered.
    pub fn realisations(&self) -> impl Iterator<Item = (Realisation, &[HostId])> {
        self.l2s.realisations()
    }

    /// The hosts that carry an L2 network: those of the clusters that it is attached to.
    pub fn carriers(&self, l2: L2NetworkId) -> Vec<HostId> {
        let carries = |host: &HostRecord| self.l2s.attached(l2, host.cluster);
        self.hosts.iter().filter(|(_, host)| carries(host)).map(|(id, _)| *id).collect()
    }

    /// Interface and VLAN of an L2 network.
    pub fn l2(&self, l2: L2NetworkId) -> Option<(&str, Option<u16>)> {
        self.l2s.wire(l2)
    }

    /// The hosts that filter otherwise because of something at this position or later.
    pub fn stirred_since(&self, position: Position) -> impl Iterator<Item = HostId> + '_ {
        self.stirred_at.iter().filter(move |(_, at)| **at >= position).map(|(host, _)| *host)
    }

    /// The hosts whose documents the event may change.
    pub fn touched(&self, event: &Event, stream: StreamKey) -> Vec<HostId> {
        let of_cluster = |cluster: ClusterId| {
            self.hosts.iter().filter(|(_, host)| host.cluster == cluster).map(|(id, _)| *id).collect::<Vec<_>>()
        };
        match event {
            Event::Host(_) => vec![HostId(stream.id)],
            Event::L2Network(
                L2NetworkEvent::AttachRequested { cluster, .. }
                | L2NetworkEvent::Attached { cluster }
                | L2NetworkEvent::AttachFailed { cluster, .. }
                | L2NetworkEvent::Detached { cluster },
            ) => of_cluster(*cluster),
            Event::L3Network(event)
                if matches!(event, L3NetworkEvent::MtuChanged { .. } | L3NetworkEvent::Deleted {})
                    || self.flat.heeds(L3NetworkId(stream.id), event) =>
            {
                let l2 = self.l3s.get(&L3NetworkId(stream.id)).map(|(l2, _)| *l2);
                l2.into_iter().flat_map(|l2| self.l2s.clusters(l2)).flat_map(of_cluster).collect()
            }
            Event::L2Network(
                L2NetworkEvent::VlanChangeRequested { .. }
                | L2NetworkEvent::VlanChanged { .. }
                | L2NetworkEvent::VlanChangeFailed { .. },
            ) => self.l2s.clusters(L2NetworkId(stream.id)).flat_map(of_cluster).collect(),
            Event::Eip(event) => {
                let vm = self.flat.served(EipId(stream.id), event).and_then(|vm| self.vms.get(&vm));
                vm.map(|vm| vm.host).into_iter().collect()
            }
            Event::Router(RouterEvent::Created { host, .. }) => vec![*host],
            Event::VmInstance(VmInstanceEvent::Created { host, .. } | VmInstanceEvent::Started { host }) => vec![*host],
            Event::VmInstance(event) => {
                let mut hosts: Vec<HostId> =
                    self.vms.get(&VmInstanceId(stream.id)).map(|vm| vm.host).into_iter().collect();
                if let VmInstanceEvent::StartRequested { host, .. } = event {
                    hosts.push(*host);
                }
                hosts
            }
            Event::Router(event) => {
                let Some(router) = self.routers.get(&RouterId(stream.id)) else { return vec![] };
                let mut hosts = vec![router.host];
                hosts.extend(router.beside);
                match event {
                    RouterEvent::StartRequested { host, .. } => hosts.push(*host),
                    // Its VMs may have waited for it, and need not any more.
                    RouterEvent::Connected { .. }
                    | RouterEvent::ConfigApplied { .. }
                    | RouterEvent::StopRequested {}
                    | RouterEvent::DestroyRequested { .. } => {
                        let l3s: BTreeSet<_> = router.nics.iter().map(|nic| nic.l3_network).collect();
                        hosts.extend(
                            self.waiting
                                .iter()
                                .filter_map(|vm| self.vms.get(vm))
                                .filter(|vm| vm.nics.iter().any(|own| l3s.contains(&own.nic.l3_network)))
                                .map(|vm| vm.host),
                        );
                    }
                    _ => {}
                }
                hosts
            }
            _ => vec![],
        }
    }

    /// Takes the next event of the log.
    pub fn apply(&mut self, at: Micros, recorded: &Recorded) {
        self.position = recorded.position;
        let id = recorded.stream.id;
        match &recorded.event {
            Event::Host(event) => self.host_event(HostId(id), event, recorded.position),
            Event::L2Network(event) => self.l2s.apply(L2NetworkId(id), event),
            Event::L3Network(event) => {
                self.l3_event(L3NetworkId(id), event);
                self.flat.apply(recorded);
            }
            Event::Vip(_) | Event::Eip(_) => self.flat.apply(recorded),
            Event::Router(event) => self.router_event(RouterId(id), event, recorded.position, at),
            Event::VmInstance(event) => {
                let before = self.heeded(VmInstanceId(id));
                self.vm_event(VmInstanceId(id), event, recorded.position, at);
                self.secure(VmInstanceId(id), event, before);
            }
            Event::SecurityGroup(event) => {
                let touched = self.security.group_event(SecurityGroupId(id), event);
                self.stir(touched);
            }
            Event::GlobalConfig(GlobalConfigEvent::Changed { category, name, value })
                if (category.as_str(), name.as_str()) == CLEAN_TRAFFIC =>
            {
                self.security.clean_all(value);
                self.stirred.extend(self.hosts.keys());
            }
            Event::ResourceConfig(event) => self.vm_config_event(VmInstanceId(id), event),
            Event::GlobalConfig(GlobalConfigEvent::Changed { category, name, .. })
                if (category.as_str(), name.as_str()) == ("eip", SNAT_INBOUND_TRAFFIC) =>
            {
                self.flat.apply(recorded);
                if self.flat.has_eips() {
                    self.stirred.extend(self.hosts.keys());
                }
            }
            Event::GlobalConfig(GlobalConfigEvent::Changed { category, name, value })
                if (category.as_str(), name.as_str()) == ("l2Network", "deleteL2.bridge") =>
            {
                self.l2s.keep_bridges(value == "false");
            }
            _ => {}
        }
    }

    fn host_event(&mut self, id: HostId, event: &HostEvent, position: Position) {
        match event {
            HostEvent::Added { cluster, management_ip, agent_port, hypervisor_type, .. } => {
                let record = HostRecord {
                    cluster: *cluster,
                    management_ip: *management_ip,
                    agent_port: *agent_port,
                    hypervisor_type: *hypervisor_type,
                    state: HostState::Enabled,
                    status: HostStatus::Connecting,
                    connect_requested: position,
                };
                self.hosts.insert(id, record);
            }
            HostEvent::ReconnectRequested {} => {
                if let Some(host) = self.hosts.get_mut(&id) {
                    host.connect_requested = position;
                    host.status = HostStatus::Connecting;
                }
            }
            HostEvent::StatusChanged { status, .. } => {
                if let Some(host) = self.hosts.get_mut(&id) {
                    host.status = *status;
                }
            }
            HostEvent::Deleted {} => {
                self.hosts.remove(&id);
            }
            HostEvent::StateChanged { state } => {
                if let Some(host) = self.hosts.get_mut(&id) {
                    host.state = *state;
                }
            }
            HostEvent::Updated { .. } | HostEvent::NotesChanged { .. } | HostEvent::DriftChanged { .. } => {}
        }
    }

    fn l3_event(&mut self, id: L3NetworkId, event: &L3NetworkEvent) {
        match event {
            L3NetworkEvent::Created { l2_network, .. } => drop(self.l3s.insert(id, (*l2_network, None))),
            L3NetworkEvent::MtuChanged { mtu } => {
                if let Some((_, own)) = self.l3s.get_mut(&id) {
                    *own = Some(*mtu);
                }
            }
            // Those who look whom the event touches look for it still.
            L3NetworkEvent::Deleted {} => {
                if let Some((_, own)) = self.l3s.get_mut(&id) {
                    *own = None;
                }
            }
            _ => {}
        }
    }

    /// Bytes that the bridge of an L2 network must pass.
    fn bridge_mtu(&self, l2: L2NetworkId) -> u16 {
        let own = self.l3s.values().filter(|(on, _)| *on == l2).filter_map(|(_, mtu)| *mtu);
        own.max().unwrap_or(DEFAULT_MTU).max(DEFAULT_MTU)
    }

    fn vm_event(&mut self, id: VmInstanceId, event: &VmInstanceEvent, position: Position, at: Micros) {
        let new = |host: &HostId, name: &str, hostname: &str, nics: &[Nic], default: L3NetworkId| VmRecord {
            name: name.to_string(),
            hostname: hostname.to_string(),
            named: position,
            told_name: hostname.to_string(),
            host: *host,
            nics: nics.iter().map(|nic| VmNic::new(nic, position)).collect(),
            default_l3_network: default,
            paused: false,
            generation: position,
            running: 0,
            wanted: true,
            pending_since: Some(at),
        };
        if let VmInstanceEvent::Recovered { host, name, hostname, nics, default_l3_network, .. } = event {
            let default = default_l3_network.unwrap_or_default();
            let record = new(host, name, hostname, nics, default);
            self.vms.insert(id, VmRecord { wanted: false, pending_since: None, ..record });
            self.on_host.entry(*host).or_default().insert(id.0);
            return;
        }
        if let VmInstanceEvent::Created { host, name, hostname, nics, default_l3_network, .. } = event {
            let record = new(host, name, hostname, nics, *default_l3_network);
            self.vms.insert(id, record);
            self.waiting.insert(id);
            self.on_host.entry(*host).or_default().insert(id.0);
            return;
        }
        if let VmInstanceEvent::Destroyed { .. } = event {
            self.waiting.remove(&id);
            self.changing.remove(&id);
            if let Some(vm) = self.vms.remove(&id) {
                self.on_host.entry(vm.host).or_default().remove(&id.0);
            }
            return;
        }
        let Some(vm) = self.vms.get_mut(&id) else { return };
        match event {
            VmInstanceEvent::StartRequested { host, .. } => {
                vm.generation = position;
                vm.wanted = true;
                vm.pending_since = Some(at);
                let before = std::mem::replace(&mut vm.host, *host);
                self.on_host.entry(before).or_default().remove(&id.0);
                self.on_host.entry(*host).or_default().insert(id.0);
            }
            VmInstanceEvent::RebootRequested { .. } => {
                vm.generation = position;
                vm.pending_since = Some(at);
            }
            VmInstanceEvent::StopRequested { .. } | VmInstanceEvent::DestroyRequested { .. } => {
                (vm.wanted, vm.paused) = (false, false);
                vm.pending_since = Some(at);
            }
            VmInstanceEvent::Started { .. } => {
                vm.running = vm.generation;
                vm.pending_since = None;
                vm.told_name = vm.hostname.clone();
                vm.nics.iter_mut().for_each(|own| own.tell(position));
            }
            VmInstanceEvent::Stopped { .. } => {
                vm.running = 0;
                vm.wanted = false;
                vm.pending_since = None;
            }
            VmInstanceEvent::NicDetached { nic, default_l3_network, .. } => {
                vm.nics.retain(|own| own.nic.nic != *nic);
                vm.default_l3_network = default_l3_network.unwrap_or_default();
            }
            VmInstanceEvent::NicAttached { nic, default_l3_network, .. } => {
                vm.nics.push(VmNic::new(nic, position));
                vm.nics.sort_by_key(|own| own.nic.device_id);
                vm.default_l3_network = *default_l3_network;
            }
            VmInstanceEvent::NicChanged { nic, default_l3_network, .. } => {
                for own in vm.nics.iter_mut().filter(|own| own.nic.nic == nic.nic) {
                    own.change(nic.clone(), position);
                }
                vm.default_l3_network = *default_l3_network;
            }
            VmInstanceEvent::NicAddressesChanged { nic, addresses, .. } => {
                for own in vm.nics.iter_mut().filter(|own| own.nic.nic == *nic) {
                    own.change(Nic { addresses: addresses.clone(), ..own.nic.clone() }, position);
                }
            }
            VmInstanceEvent::NicStateChanged { nic, state } => {
                for own in vm.nics.iter_mut().filter(|own| own.nic.nic == *nic) {
                    own.disabled = *state == Enabled::Disabled;
                }
            }
            VmInstanceEvent::HostnameChanged { hostname, .. } => {
                (vm.hostname, vm.named) = (hostname.clone(), position);
            }
            VmInstanceEvent::Paused {} => vm.paused = true,
            VmInstanceEvent::Resumed {} => vm.paused = false,
            VmInstanceEvent::OperationFailed { operation, .. } => {
                vm.pending_since = None;
                match operation {
                    VmOperation::Create | VmOperation::Start => vm.wanted = false,
                    // The host goes on with the generation that it ran.
                    VmOperation::Reboot => vm.generation = vm.running,
                    VmOperation::Stop | VmOperation::Destroy => vm.wanted = true,
                }
            }
            _ => {}
        }
        if vm.wanted && vm.running < vm.generation {
            self.waiting.insert(id);
        } else {
            self.waiting.remove(&id);
        }
        if vm.running > 0 {
            self.changing.insert(id);
        }
    }

    /// To be called after the events of each commit: which routers there are is known only then. Brings what hosts
    /// know of VMs that run up to what the routers know, and answers the hosts whose documents that changes.
    pub fn settle(&mut self) -> BTreeSet<HostId> {
        let changing = self.changing.clone();
        let mut hosts = std::mem::take(&mut self.stirred);
        let position = self.position;
        self.stirred_at.extend(hosts.iter().map(|host| (*host, position)));
        hosts.extend(changing.into_iter().filter_map(|vm| self.tell(vm)));
        hosts
    }

    /// The host, where there is something to tell it of a VM.
    fn tell(&mut self, id: VmInstanceId) -> Option<HostId> {
        let Some(vm) = self.vms.get(&id).filter(|vm| vm.running > 0) else {
            self.changing.remove(&id);
            return None;
        };
        let behind = |own: &VmNic| own.told.as_ref().is_none_or(|told| told.since < own.since);
        let now: Vec<bool> =
            vm.nics.iter().map(|own| behind(own) && self.known(own.nic.l3_network, own.since)).collect();
        let late = vm.nics.iter().zip(&now).any(|(own, now)| behind(own) && !now);
        let renamed = vm.told_name != vm.hostname;
        let rename = renamed && vm.nics.iter().all(|own| self.known(own.nic.l3_network, vm.named));
        let (position, host) = (self.position, vm.host);
        let vm = self.vms.get_mut(&id)?;
        for (own, _) in vm.nics.iter_mut().zip(&now).filter(|(_, now)| **now) {
            own.tell(position);
        }
        if rename {
            vm.told_name = vm.hostname.clone();
            for told in vm.nics.iter_mut().filter_map(|own| own.told.as_mut()) {
                told.at = position;
            }
        }
        if !late && (rename || !renamed) {
            self.changing.remove(&id);
        }
        (rename || now.contains(&true)).then_some(host)
    }

    /// Whether every router of the network that should run knows what happened up to a position.
    fn known(&self, l3: L3NetworkId, since: Position) -> bool {
        let routers = self.on_guest.get(&l3).into_iter().flatten();
        let mut routers = routers.filter_map(|router| self.routers.get(router)).filter(|router| router.wanted);
        routers.all(|router| router.applied >= since)
    }

    /// Whether every router that serves the VM knows of its last start. One that was told to go is not waited for.
    pub fn routers_ready(&self, vm: &VmRecord) -> bool {
        vm.nics.iter().all(|own| self.known(own.nic.l3_network, vm.generation))
    }

    /// What the host should carry now, or nothing for a host that is not known.
    pub fn config(&self, host: HostId) -> Option<HostConfig> {
        let cluster = self.hosts.get(&host)?.cluster;
        let bridges = self.l2s.bridges(host, cluster, |l2| self.bridge_mtu(l2));
        let appliances = self
            .routers_of(host)
            .filter(|(_, router)| router.wanted)
            .filter_map(|(id, router)| Some((id, self.appliance(router)?)))
            .chain(self.arriving(host))
            .collect();
        let vms: BTreeMap<VmInstanceId, VmConfig> = self
            .vms_of(host)
            .filter_map(|(id, vm)| {
                let generation = match (vm.wanted, self.routers_ready(vm)) {
                    (false, _) => return None,
                    (true, true) => vm.generation,
                    (true, false) if vm.running > 0 => vm.running,
                    (true, false) => return None,
                };
                Some((id, self.vm_config(vm, generation)))
            })
            .collect();
        let security = self.security_config(&vms);
        let services = self.services(cluster, &vms);
        let sections = HostSections { bridges, appliances, vms, security, services };
        Some(HostConfig { host, revision: self.position, sections })
    }

    fn plug(&self, nic: &Nic, up: bool, lease: Position) -> PlugConfig {
        let bridge = self.l2s.wire(nic.l2_network).map(|(interface, vlan)| bridge_name(interface, vlan));
        PlugConfig {
            name: interface_name(nic),
            internal_name: nic.internal_name.clone(),
            mac: nic.mac,
            bridge: bridge.unwrap_or_default(),
            mtu: self.l3s.get(&nic.l3_network).and_then(|(_, mtu)| *mtu).unwrap_or(DEFAULT_MTU),
            up,
            lease,
            lease6: None,
        }
    }

    fn vm_config(&self, vm: &VmRecord, generation: Position) -> VmConfig {
        let starting = generation > vm.running;
        let known = |own: &VmNic| match &own.told {
            _ if starting => Some((own.nic.clone(), own.leases)),
            Some(told) => Some((told.nic.clone(), told.leases)),
            None => None,
        };
        let nics: Vec<(Nic, Leases, bool)> = vm
            .nics
            .iter()
            .filter_map(|own| known(own).map(|(nic, leases)| (nic, leases, !own.disabled && !vm.paused)))
            .collect();
        let default = nics.iter().find(|(nic, ..)| nic.l3_network == vm.default_l3_network).or(nics.first());
        VmConfig {
            name: vm.name.clone(),
            hostname: if starting { vm.hostname.clone() } else { vm.told_name.clone() },
            generation,
            default_plug: default.map(|(nic, ..)| interface_name(nic)).unwrap_or_default(),
            plugs: nics
                .iter()
                .map(|(nic, leases, up)| PlugConfig {
                    lease6: nic.ipv6().map(|_| leases.six),
                    ..self.plug(nic, *up, leases.four)
                })
                .collect(),
        }
    }
}

mod flat;
mod router;
mod security;
#[cfg(test)]
mod tests;
