//! A long log of a data centre's life: networks and routers first, then VMs that come, start, stop and go, with
//! their addresses, the routers' reports about it, name servers, names, tags and hosts that lose touch. Some networks
//! are much busier than the others.
//!
//! The same seed gives the same events. Ids are as the product's: time first, so that they grow.

use std::net::Ipv4Addr;
use std::time::Duration;
use switchback_events::*;
use switchback_journal::{AppendError, Journal, Proposal};

/// How many commits may wait for the disk: many, and fewer than any journal refuses.
const IN_FLIGHT: usize = 2048;
/// How long to wait before another look whether the disk got on.
const LOOK_AGAIN: Duration = Duration::from_micros(200);
/// Where the log begins: 2025-06-15.
const BEGIN: Micros = 1_750_000_000_000_000;
const MICROS_BETWEEN_COMMITS: u64 = 1_900_000;
/// One network with its router for so many events.
const EVENTS_PER_NETWORK: u64 = 2_000;
const NETWORKS_PER_ZONE: usize = 100;
const CLUSTERS_PER_ZONE: usize = 4;
const HOSTS_PER_CLUSTER: usize = 8;

/// Appends `events` events of a realistic mix to `journal`, which is empty, and waits until they are durable.
pub fn write_log(journal: &Journal, events: u64, seed: u64) -> Result<(), AppendError> {
    let end = journal.head() + events;
    let mut writer = Writer { journal, end, waiting: std::collections::VecDeque::new() };
    let networks = (events / EVENTS_PER_NETWORK).max(1) as usize;
    let mut world = World::new(seed, Shape { networks, ..Shape::OF_A_LONG_LIFE });
    let mut commits = Vec::new();
    world.set_up(&mut commits);
    while writer.append_all(&mut world, &mut commits)? {
        world.live_on(&mut commits);
    }
    writer.wait(end);
    Ok(())
}

/// Appends a data centre with `nics` interfaces to `journal`, which is empty, and then `changes` events of its life.
/// Tells the position at which it was complete.
///
/// VMs have two nics each. For each 100 nics there are two L3 networks, half an L2 network, a fifth of a router, ten tags
/// and ten EIPs with their VIPs; a quarter of the nics is on the first fifty networks.
pub fn write_data_set(journal: &Journal, nics: u64, changes: u64, seed: u64) -> Result<Position, AppendError> {
    let networks = (nics / 50).max(4) as usize;
    let mut writer = Writer { journal, end: Position::MAX, waiting: std::collections::VecDeque::new() };
    let mut world = World::new(seed, Shape { networks, ..Shape::OF_MANY_ROWS });
    let mut commits = Vec::new();
    world.set_up(&mut commits);
    writer.append_all(&mut world, &mut commits)?;
    for n in 0..nics / 2 {
        world.have_vm(&mut commits);
        if n % 5 == 0 {
            world.tag_vm(&mut commits);
            world.give_eip(&mut commits);
        }
        writer.append_all(&mut world, &mut commits)?;
    }
    let complete = journal.head();
    writer.end = complete + changes;
    while writer.append_all(&mut world, &mut commits)? {
        world.live_on(&mut commits);
    }
    writer.wait(writer.end);
    Ok(complete)
}

/// How many there are of what.
struct Shape {
    networks: usize,
    networks_per_l2: usize,
    networks_per_router: usize,
    nics_per_vm: usize,
    /// So many of the first networks are busy: so much of what happens, in percent, happens there.
    busy: (usize, usize),
}

impl Shape {
    const OF_A_LONG_LIFE: Shape =
        Shape { networks: 1, networks_per_l2: 1, networks_per_router: 1, nics_per_vm: 1, busy: (1, 20) };
    const OF_MANY_ROWS: Shape =
        Shape { networks: 1, networks_per_l2: 4, networks_per_router: 10, nics_per_vm: 2, busy: (50, 25) };
}

/// One command's name and events.
struct Draft {
    command: &'static str,
    origin: Origin,
    events: Vec<(StreamKey, Event)>,
}

struct Writer<'j> {
    journal: &'j Journal,
    end: Position,
    /// The last positions of the commits in flight.
    waiting: std::collections::VecDeque<Position>,
}

impl Writer<'_> {
    /// Whether there is room for more.
    fn append_all(&mut self, world: &mut World, commits: &mut Vec<Draft>) -> Result<bool, AppendError> {
        for mut draft in commits.drain(..) {
            let left = self.end - self.journal.head();
            draft.events.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            if draft.events.is_empty() {
                return Ok(false);
            }
            if self.waiting.len() >= IN_FLIGHT {
                let first = self.waiting.pop_front().unwrap_or_default();
                self.wait(first);
            }
            let proposal = self.proposal(world, draft);
            let appended = loop {
                match self.journal.append(proposal.clone(), || true, |_| {}) {
                    Err(AppendError::Busy) => std::thread::sleep(LOOK_AGAIN),
                    done => break done?,
                }
            };
            self.waiting.push_back(appended.commit.last_position());
        }
        Ok(true)
    }

    fn proposal(&self, world: &mut World, draft: Draft) -> Proposal {
        let mut reads: Vec<(StreamKey, Version)> = Vec::new();
        self.journal.sequenced(|heads| {
            for (stream, _) in &draft.events {
                if reads.iter().all(|(read, _)| read != stream) {
                    reads.push((*stream, heads.version(*stream)));
                }
            }
        });
        let command = world.id();
        let by_user = draft.origin == Origin::Api;
        let provenance = Provenance {
            command_id: CommandId(command),
            command: draft.command.to_string(),
            body: world.random_id(),
            principal: if by_user { "admin" } else { "system:router-reconciler" }.to_string(),
            credential: None,
            origin: draft.origin,
            causation: None,
            correlation: command,
            reason: None,
        };
        Proposal { at: world.now, provenance, reads, events: draft.events }
    }

    /// Waits until `position` is durable, or nothing is any more.
    fn wait(&self, position: Position) {
        while self.journal.durable() < position && self.journal.read_only().is_none() {
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// What there is.
struct World {
    shape: Shape,
    random: u64,
    now: Micros,
    zones: Vec<Zone>,
    networks: Vec<Network>,
    vms: Vec<Vm>,
    made: usize,
}

struct Zone {
    zone: ZoneId,
    clusters: Vec<(ClusterId, Vec<HostId>)>,
    image: ImageId,
    offering: OfferingId,
    router_offering: OfferingId,
}

struct Network {
    zone: usize,
    l2: L2NetworkId,
    l3: L3NetworkId,
    range: IpRangeId,
    router: Id,
    revision: u64,
    /// The addresses given so far, and those that came back.
    given: u32,
    free: Vec<u32>,
    dns: Vec<std::net::IpAddr>,
}

struct Vm {
    id: Id,
    network: usize,
    nics: Vec<Nic>,
    eip: Option<(Id, VipPlace, ServedNic)>,
    runs: bool,
}

impl World {
    fn new(seed: u64, shape: Shape) -> World {
        let (networks, per_l2) = (shape.networks, shape.networks_per_l2);
        let mut world = World {
            shape,
            random: seed,
            now: BEGIN,
            zones: Vec::new(),
            networks: Vec::with_capacity(networks),
            vms: Vec::new(),
            made: 0,
        };
        for _ in 0..networks.div_ceil(NETWORKS_PER_ZONE) {
            let hosts = |world: &mut World| (0..HOSTS_PER_CLUSTER).map(|_| HostId(world.id())).collect();
            let zone = Zone {
                zone: ZoneId(world.id()),
                clusters: (0..CLUSTERS_PER_ZONE).map(|_| (ClusterId(world.id()), hosts(&mut world))).collect(),
                image: ImageId(world.id()),
                offering: OfferingId(world.id()),
                router_offering: OfferingId(world.id()),
            };
            world.zones.push(zone);
        }
        for n in 0..networks {
            let network = Network {
                zone: n / NETWORKS_PER_ZONE,
                l2: match world.networks.last().filter(|_| n % per_l2 > 0) {
                    Some(before) => before.l2,
                    None => L2NetworkId(world.id()),
                },
                l3: L3NetworkId(world.id()),
                range: IpRangeId(world.id()),
                router: world.id(),
                revision: 0,
                given: 0,
                free: Vec::new(),
                dns: Vec::new(),
            };
            world.networks.push(network);
        }
        world
    }

    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ self.random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn random_id(&mut self) -> Id {
        Id((u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes())
    }

    /// A new id of version 7.
    fn id(&mut self) -> Id {
        let millis = (self.now / 1000) as u128;
        let random = u128::from_be_bytes(self.random_id().0);
        let version = 7 << 76 | 2 << 62;
        Id((millis << 80 | version | random & ((0xfff << 64) | ((1 << 62) - 1))).to_be_bytes())
    }

    fn digest(&mut self) -> String {
        format!("{}{}", self.random_id(), self.random_id())
    }

    fn say(&mut self, commits: &mut Vec<Draft>, command: &'static str, events: Vec<(Id, Event)>) {
        self.now += (self.next() % MICROS_BETWEEN_COMMITS) as i64;
        let of_system = command.starts_with("Report");
        let events = events.into_iter().map(|(id, event)| (StreamKey::new(event.stream_kind(), id), event)).collect();
        commits.push(Draft { command, origin: if of_system { Origin::Agent } else { Origin::Api }, events });
    }

    fn set_up(&mut self, commits: &mut Vec<Draft>) {
        for n in 0..self.zones.len() {
            self.set_up_zone(n, commits);
        }
        for n in 0..self.networks.len() {
            self.set_up_network(n, commits);
        }
    }

    fn set_up_zone(&mut self, n: usize, commits: &mut Vec<Draft>) {
        let Zone { zone, image, offering, router_offering, .. } = self.zones[n];
        let clusters = self.zones[n].clusters.clone();
        let created = ZoneEvent::Created { name: format!("zone-{n}"), description: None, is_default: n == 0 };
        self.say(commits, "CreateZone", vec![(zone.0, created.into())]);
        for (c, (cluster, hosts)) in clusters.iter().enumerate() {
            let created = ClusterEvent::Created {
                zone,
                name: format!("cluster-{n}-{c}"),
                description: None,
                hypervisor_type: HypervisorType::KVM,
            };
            self.say(commits, "CreateCluster", vec![(cluster.0, created.into())]);
            for (h, host) in hosts.iter().enumerate() {
                let added = HostEvent::Added {
                    zone,
                    cluster: *cluster,
                    name: format!("host-{n}-{c}-{h}"),
                    description: None,
                    management_ip: Ipv4Addr::new(172, n as u8, c as u8, h as u8),
                    agent_port: 7070,
                    hypervisor_type: HypervisorType::KVM,
                };
                self.say(commits, "AddKVMHost", vec![(host.0, added.into())]);
                let connected = HostEvent::StatusChanged { status: HostStatus::Connected, reason: None };
                self.say(commits, "ReportHost", vec![(host.0, connected.into())]);
            }
        }
        let added = ImageEvent::Added {
            name: format!("image-{n}"),
            description: None,
            media_type: "RootVolumeTemplate".to_string(),
            format: "qcow2".to_string(),
            url: format!("http://images.example.com/{n}.qcow2"),
            system: false,
        };
        self.say(commits, "AddImage", vec![(image.0, added.into())]);
        let l3 = self.networks[n * NETWORKS_PER_ZONE].l3;
        let terms = RouterTerms { zone, management_network: l3, public_network: l3, image, is_default: true };
        for (id, router) in [(offering, None), (router_offering, Some(terms))] {
            let created = OfferingEvent::Created {
                name: format!("offering-{n}"),
                description: None,
                cpu_num: 2,
                cpu_speed: 1000,
                memory_size: 1 << 30,
                allocator_strategy: "DefaultHostAllocatorStrategy".to_string(),
                router,
            };
            self.say(commits, "CreateInstanceOffering", vec![(id.0, created.into())]);
        }
    }

    fn set_up_network(&mut self, n: usize, commits: &mut Vec<Draft>) {
        let Network { zone: of, l2, l3, range, router, .. } = self.networks[n];
        let Zone { zone, image, router_offering: offering, .. } = self.zones[of];
        let (cluster, host) = self.place(of);
        if n.is_multiple_of(self.shape.networks_per_l2) {
            self.set_up_l2(n, commits);
        }
        let created = L3NetworkEvent::Created {
            zone,
            l2_network: l2,
            name: format!("l3-{n}"),
            description: None,
            category: L3NetworkCategory::Private,
            system: false,
            dns_domain: Some(format!("net{n}.example.com")),
        };
        self.say(commits, "CreateL3Network", vec![(l3.0, created.into())]);
        let created = IpRangeEvent::Created {
            l3_network: l3,
            l2_network: l2,
            name: format!("range-{n}"),
            description: None,
            range_type: IpRangeType::Normal,
            start: address(n, 2),
            end: address(n, 0xfffe),
            netmask: Ipv4Addr::new(255, 255, 0, 0),
            gateway: address(n, 1),
        };
        self.say(commits, "AddIpRange", vec![(range.0, created.into())]);
        let services = L3NetworkEvent::ServicesAttached {
            provider: built_in_provider("VirtualRouter"),
            services: vec![NetworkServiceType::DHCP, NetworkServiceType::DNS, NetworkServiceType::SNAT],
        };
        self.say(commits, "AttachNetworkServiceToL3Network", vec![(l3.0, services.into())]);
        if !n.is_multiple_of(self.shape.networks_per_router) {
            return;
        }
        let (nic, mut events) = self.nic(n, router, 0, Nic::GUEST);
        let created = RouterEvent::Created {
            zone,
            cluster,
            host,
            hypervisor_type: HypervisorType::KVM,
            name: format!("virtualRouter.l3.{n}"),
            offering,
            image,
            management_network: l3,
            public_network: l3,
            default_route_network: l3,
            nics: vec![nic],
        };
        events.push((router, created.into()));
        self.say(commits, "CreateVirtualRouter", events);
        let connected =
            RouterEvent::Connected { agent_digest: self.digest(), revision: 0, config_digest: self.digest() };
        self.say(commits, "ReportRouter", vec![(router, connected.into())]);
    }

    fn set_up_l2(&mut self, n: usize, commits: &mut Vec<Draft>) {
        let Network { zone: of, l2, .. } = self.networks[n];
        let created = L2NetworkEvent::Created {
            zone: self.zones[of].zone,
            name: format!("l2-{n}"),
            description: None,
            physical_interface: "eth0".to_string(),
            network_type: L2NetworkType::L2VlanNetwork,
            vlan: Some((n % 4094) as u16),
            v_switch_type: "LinuxBridge".to_string(),
        };
        self.say(commits, "CreateL2VlanNetwork", vec![(l2.0, created.into())]);
        for (cluster, _) in self.zones[of].clusters.clone() {
            self.say(commits, "AttachL2NetworkToCluster", vec![(l2.0, L2NetworkEvent::Attached { cluster }.into())]);
        }
    }

    fn place(&mut self, zone: usize) -> (ClusterId, HostId) {
        let (c, h) = (self.below(CLUSTERS_PER_ZONE), self.below(HOSTS_PER_CLUSTER));
        let (cluster, hosts) = &self.zones[zone].clusters[c];
        (*cluster, hosts[h])
    }

    /// A new nic on a network, and the events that give it its addresses.
    fn nic(&mut self, network: usize, owner: Id, device_id: u8, meta_data: u8) -> (Nic, Vec<(Id, Event)>) {
        let (nic, used_ip) = (NicId(self.id()), self.id());
        let Network { l2, l3, range, given, free, .. } = &mut self.networks[network];
        let n = free.pop().unwrap_or_else(|| {
            *given += 1;
            *given
        });
        let ip = address(network, n + 1);
        let nic = Nic {
            nic,
            l3_network: *l3,
            l2_network: *l2,
            mac: Mac([0xfa, network as u8, (network >> 8) as u8, (n >> 8) as u8, n as u8, device_id]),
            addresses: vec![NicAddress {
                ip: ip.into(),
                prefix_length: 16,
                gateway: address(network, 1).into(),
                ip_range: *range,
                used_ip,
            }],
            device_id,
            internal_name: format!("vnic{}.0", nic.0.tail()),
            meta_data,
        };
        let allocated = IpRangeEvent::AddressAllocated { l3_network: *l3, ip: ip.into(), used_ip, nic: nic.nic, owner };
        let range = range.0;
        let mac = MacBlockEvent::Allocated { mac: nic.mac, nic: nic.nic };
        let block = Id::of_name(&format!("mac block {network}"));
        (nic, vec![(range, allocated.into()), (block, mac.into())])
    }

    /// One more thing that someone does, and what comes of it.
    fn live_on(&mut self, commits: &mut Vec<Draft>) {
        match self.below(100) {
            0..18 => self.create_vm(commits),
            18..25 => self.destroy_vm(commits),
            25..63 => self.start_or_stop_vm(commits),
            63..83 => {
                let network = self.network();
                self.report(network, commits);
            }
            83..89 => self.change_dns(commits),
            89..94 => self.rename_vm(commits),
            94..97 => self.tag_vm(commits),
            _ => self.lose_host(commits),
        }
    }

    /// Some network, a busy one more often than another.
    fn network(&mut self) -> usize {
        let (busy, percent) = self.shape.busy;
        match self.below(100) < percent {
            // Of one there is none to choose.
            true if busy == 1 => 0,
            true => self.below(busy.min(self.networks.len())),
            false => self.below(self.networks.len()),
        }
    }

    fn create_vm(&mut self, commits: &mut Vec<Draft>) {
        let (network, id, host, events) = self.new_vm();
        self.say(commits, "CreateVmInstance", events);
        self.say(commits, "ReportVmInstance", vec![(id, VmInstanceEvent::Started { host }.into())]);
        self.report(network, commits);
    }

    /// A VM that runs, in one commit. What makes no row is left out.
    fn have_vm(&mut self, commits: &mut Vec<Draft>) {
        let (_, id, host, mut events) = self.new_vm();
        events.retain(|(_, event)| !matches!(event, Event::MacBlock(_)));
        events.push((id, VmInstanceEvent::Started { host }.into()));
        self.say(commits, "CreateVmInstance", events);
    }

    fn new_vm(&mut self) -> (usize, Id, HostId, Vec<(Id, Event)>) {
        let network = self.network();
        let Network { zone: of, l3, .. } = self.networks[network];
        let Zone { zone, image, offering, .. } = self.zones[of];
        let (cluster, host) = self.place(of);
        let id = self.id();
        let (nic, mut events) = self.nic(network, id, 0, 0);
        let mut nics = vec![nic];
        for n in 1..self.shape.nics_per_vm {
            // Others are on networks of the same zone.
            let (first, end) = (of * NETWORKS_PER_ZONE, self.networks.len().min((of + 1) * NETWORKS_PER_ZONE));
            let other = first + self.below(end - first);
            let (nic, more) = self.nic(other, id, n as u8, 0);
            nics.push(nic);
            events.extend(more);
        }
        self.made += 1;
        let name = format!("{}-{:07}", ["web", "db", "cache", "worker"][self.below(4)], self.made);
        let created = VmInstanceEvent::Created {
            zone,
            cluster,
            host,
            hypervisor_type: HypervisorType::KVM,
            hostname: name.clone(),
            name,
            description: None,
            image: Some(image),
            offering: Some(offering),
            default_l3_network: l3,
            nics: nics.clone(),
        };
        events.push((id, created.into()));
        self.vms.push(Vm { id, network, nics, eip: None, runs: true });
        (network, id, host, events)
    }

    fn destroy_vm(&mut self, commits: &mut Vec<Draft>) {
        if self.vms.is_empty() {
            return self.create_vm(commits);
        }
        let n = self.below(self.vms.len());
        let Vm { id, network, nics, eip, .. } = self.vms.swap_remove(n);
        let l3_networks: Vec<L3NetworkId> = nics.iter().map(|nic| nic.l3_network).collect();
        let requested = VmInstanceEvent::DestroyRequested { l3_networks: l3_networks.clone() };
        self.say(commits, "DestroyVmInstance", vec![(id, requested.into())]);
        let mut events: Vec<(Id, Event)> =
            vec![(id, VmInstanceEvent::Destroyed { l3_networks, recoverable: false }.into())];
        for Nic { l3_network, nic, mac, addresses, .. } in nics {
            let Some(NicAddress { ip, used_ip, ip_range, .. }) = addresses.into_iter().next() else { continue };
            let released = IpRangeEvent::AddressReleased { l3_network, ip, used_ip, nic, owner: id };
            events.push((ip_range.0, released.into()));
            let Mac([_, low, high, ..]) = mac;
            let at = usize::from(high) << 8 | usize::from(low);
            events.push((Id::of_name(&format!("mac block {at}")), MacBlockEvent::Released { mac, nic }.into()));
            if let std::net::IpAddr::V4(ip) = ip {
                let [_, _, high, low] = ip.octets();
                self.networks[at].free.push((u32::from(high) << 8 | u32::from(low)) - 1);
            }
        }
        if let Some((eip, at, from)) = eip {
            events.push((eip, EipEvent::Detached { at, from }.into()));
        }
        self.say(commits, "ReportVmInstance", events);
        self.report(network, commits);
    }

    /// An EIP for the first nic of the newest VM, at a VIP of the first network of its zone.
    fn give_eip(&mut self, commits: &mut Vec<Draft>) {
        let Some((place, vm)) = self.vms.iter().enumerate().next_back() else { return };
        let Some(nic) = vm.nics.first() else { return };
        let to = ServedNic { nic: nic.nic, vm: VmInstanceId(vm.id), l3_network: nic.l3_network };
        let public = self.networks[vm.network].zone * NETWORKS_PER_ZONE;
        let (vip, eip, used_ip) = (VipId(self.id()), self.id(), self.id());
        let Network { l3, range, given, .. } = &mut self.networks[public];
        *given += 1;
        let (l3_network, ip_range) = (*l3, *range);
        let ip = address(public, *given + 1).into();
        let gateway = address(public, 1).into();
        let at = VipPlace { vip, l3_network, ip, prefix_length: 16 };
        let address = NicAddress { ip, prefix_length: 16, gateway, ip_range, used_ip };
        let (name, description) = (format!("vip-{}", self.made), None);
        let created = VipEvent::Created { name, description, l3_network, address };
        self.say(commits, "CreateVip", vec![(vip.0, created.into())]);
        let created = EipEvent::Created { name: format!("eip-{}", self.made), description: None, at };
        let attached = EipEvent::Attached { at, to };
        self.say(commits, "CreateEip", vec![(eip, created.into()), (eip, attached.into())]);
        self.vms[place].eip = Some((eip, at, to));
    }

    fn start_or_stop_vm(&mut self, commits: &mut Vec<Draft>) {
        if self.vms.is_empty() {
            return self.create_vm(commits);
        }
        // A few VMs are started and stopped much more often than the others.
        let among = if self.below(5) > 0 { self.vms.len().div_ceil(20) } else { self.vms.len() };
        let n = self.below(among);
        let zone = self.networks[self.vms[n].network].zone;
        let (cluster, host) = self.place(zone);
        let vm = &mut self.vms[n];
        vm.runs = !vm.runs;
        let (id, runs, l3_networks) = (vm.id, vm.runs, vm.nics.iter().map(|nic| nic.l3_network).collect::<Vec<_>>());
        if runs {
            let requested = VmInstanceEvent::StartRequested { host, cluster, l3_networks };
            self.say(commits, "StartVmInstance", vec![(id, requested.into())]);
            self.say(commits, "ReportVmInstance", vec![(id, VmInstanceEvent::Started { host }.into())]);
        } else {
            let requested = VmInstanceEvent::StopRequested { l3_networks: l3_networks.clone() };
            self.say(commits, "StopVmInstance", vec![(id, requested.into())]);
            self.say(commits, "ReportVmInstance", vec![(id, VmInstanceEvent::Stopped { l3_networks }.into())]);
        }
    }

    /// The network's router has applied another configuration.
    fn report(&mut self, network: usize, commits: &mut Vec<Draft>) {
        let config_digest = self.digest();
        let network = network - network % self.shape.networks_per_router;
        let Network { router, revision, .. } = &mut self.networks[network];
        *revision += 1;
        let (router, revision) = (*router, *revision);
        self.say(
            commits,
            "ReportRouter",
            vec![(router, RouterEvent::ConfigApplied { revision, config_digest }.into())],
        );
    }

    fn change_dns(&mut self, commits: &mut Vec<Draft>) {
        let network = self.network();
        let dns = Ipv4Addr::new(8, 8, self.below(256) as u8, 8).into();
        let Network { l3, dns: known, .. } = &mut self.networks[network];
        let l3 = l3.0;
        if known.len() < 3 && !known.contains(&dns) {
            known.push(dns);
            self.say(commits, "AddDnsToL3Network", vec![(l3, L3NetworkEvent::DnsAdded { dns }.into())]);
        } else {
            let dns = known.remove(0);
            self.say(commits, "RemoveDnsFromL3Network", vec![(l3, L3NetworkEvent::DnsRemoved { dns }.into())]);
        }
        self.report(network, commits);
    }

    fn rename_vm(&mut self, commits: &mut Vec<Draft>) {
        if self.vms.is_empty() {
            return self.create_vm(commits);
        }
        let n = self.below(self.vms.len());
        let id = self.vms[n].id;
        let name = Some(format!("renamed-{:05}", self.below(100_000)));
        let updated = VmInstanceEvent::Updated { name, description: None };
        self.say(commits, "UpdateVmInstance", vec![(id, updated.into())]);
    }

    fn tag_vm(&mut self, commits: &mut Vec<Draft>) {
        if self.vms.is_empty() {
            return self.create_vm(commits);
        }
        let n = self.below(self.vms.len());
        let id = self.vms[n].id;
        let created = TagSetEvent::Created {
            tag: TagId(self.id()),
            tag_type: TagType::User,
            resource_type: "VmInstanceVO".to_string(),
            text: format!("team::{}", self.below(50)),
            inherent: false,
            refers_to: vec![],
        };
        self.say(commits, "CreateUserTag", vec![(id, created.into())]);
    }

    fn lose_host(&mut self, commits: &mut Vec<Draft>) {
        let zone = self.below(self.zones.len());
        let (_, host) = self.place(zone);
        let reason = Some("the agent does not answer".to_string());
        let lost = HostEvent::StatusChanged { status: HostStatus::Disconnected, reason };
        self.say(commits, "ReportHost", vec![(host.0, lost.into())]);
        self.say(commits, "ReportHost", vec![(host.0, HostEvent::ReconnectRequested {}.into())]);
        let back = HostEvent::StatusChanged { status: HostStatus::Connected, reason: None };
        self.say(commits, "ReportHost", vec![(host.0, back.into())]);
    }
}

/// The address `n` of a network. Networks have different ones.
fn address(network: usize, n: u32) -> Ipv4Addr {
    Ipv4Addr::new(10 + (network >> 8) as u8, network as u8, (n >> 8) as u8, n as u8)
}
