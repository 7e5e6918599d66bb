//! Logs for tests: one told by hand, and random ones in which ids repeat and many events are about rows that are
//! not there.

use std::net::Ipv4Addr;
use std::sync::Arc;
use switchback_events::*;

/// A small generator, the same everywhere for the same seed.
pub(crate) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len())]
    }
}

/// The id of the thing `n` of some kind.
pub(crate) fn id(kind: &str, n: usize) -> Id {
    Id::of_name(&format!("{kind} {n}"))
}

/// Commits under construction.
#[derive(Default)]
pub(crate) struct Log {
    pub commits: Vec<Arc<Commit>>,
    position: Position,
}

impl Log {
    /// One more commit, with these events on these streams.
    pub fn commit(&mut self, events: Vec<(Id, Event)>) -> &mut Log {
        let at = 1_700_000_000_000_000 + self.position as i64 * 1_000_001;
        let record = |(id, event): (Id, Event)| {
            self.position += 1;
            let stream = StreamKey::new(event.stream_kind(), id);
            Recorded { position: self.position, stream, version: 1, tags: event.tags(stream), event }
        };
        let events = events.into_iter().map(record).collect();
        let provenance = Provenance {
            command_id: CommandId(Id::NIL),
            command: "Test".to_string(),
            body: Id::NIL,
            principal: "test".to_string(),
            credential: None,
            origin: Origin::System,
            causation: None,
            correlation: Id::NIL,
            reason: None,
        };
        self.commits.push(Arc::new(Commit { at, provenance, reads: vec![], events }));
        self
    }

    /// One more commit of one event.
    pub fn event(&mut self, id: Id, event: impl Into<Event>) -> &mut Log {
        self.commit(vec![(id, event.into())])
    }
}

const NAMES: &[&str] = &["web", "Web-1", "web_1", "db", "Ünï", "a%b", "null", "", "long-name-1", "long-name-2"];

/// A random log of `count` events.
pub(crate) fn random_log(random: &mut Random, count: usize) -> Vec<Arc<Commit>> {
    let mut log = Log::default();
    let mut left = count;
    while left > 0 {
        let size = (1 + random.below(3)).min(left);
        left -= size;
        log.commit((0..size).map(|_| random_event(random)).collect());
    }
    log.commits
}

pub(crate) fn address6(n: usize) -> std::net::Ipv6Addr {
    std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n as u16)
}

pub(crate) fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, (n >> 8) as u8, n as u8)
}

/// The nic `n`, on the L3 network `l3`.
pub(crate) fn nic(n: usize, l3: usize) -> Nic {
    Nic {
        nic: NicId(id("nic", n)),
        l3_network: L3NetworkId(id("l3", l3)),
        l2_network: L2NetworkId(id("l2", 0)),
        mac: Mac([0xfa, 0, 0, 0, n as u8, 0]),
        addresses: vec![NicAddress {
            ip: address(n).into(),
            prefix_length: 24,
            gateway: address(1).into(),
            ip_range: IpRangeId(id("range", 0)),
            used_ip: id("ip", n),
        }],
        device_id: 0,
        internal_name: format!("vnic{n}.0"),
        meta_data: (n % 5) as u8,
    }
}

/// Something about one of two security groups, or about a nic in them.
fn random_security(random: &mut Random) -> (Id, Event) {
    let group = |n: usize| SecurityGroupId(id("group", n));
    let l3_network = L3NetworkId(id("l3", random.below(2)));
    let state = *random.pick(&[Enabled::Enabled, Enabled::Disabled]);
    let rule = |random: &mut Random| SecurityGroupRule {
        rule: SecurityGroupRuleId(id("rule", random.below(4))),
        direction: *random.pick(&[Direction::Ingress, Direction::Egress]),
        priority: random.below(4) as u16,
        state: *random.pick(&[Enabled::Enabled, Enabled::Disabled]),
        description: None,
        ip_version: *random.pick(&[4, 6]),
        protocol: *random.pick(&[RuleProtocol::ALL, RuleProtocol::TCP]),
        remote_group: (random.below(2) == 0).then(|| group(random.below(2))),
        addresses: vec![AddressSpan::One(address(random.below(9)).into())],
        ports: vec![PortSpan { first: 1, last: 2 }],
        action: RuleAction::DROP,
        legacy: random.below(2) == 0,
    };
    let event = match random.below(9) {
        0 | 1 => SecurityGroupEvent::Created {
            name: random.pick(NAMES).to_string(),
            description: None,
            ip_version: 4,
            rules: vec![rule(random)],
        },
        2 => SecurityGroupEvent::StateChanged { state },
        3 => SecurityGroupEvent::RulesChanged {
            rules: vec![rule(random)],
            deleted: vec![SecurityGroupRuleId(id("rule", random.below(4)))],
            remotes: vec![],
        },
        4 => SecurityGroupEvent::AttachedToL3Network { l3_network },
        5 => SecurityGroupEvent::DetachedFromL3Network { l3_network },
        6 => SecurityGroupEvent::Deleted {},
        _ => {
            let groups = (0..random.below(3)).map(group).collect();
            let nic = NicId(id("nic", random.below(4)));
            let (ingress_policy, egress_policy) = (NicPolicy::DENY, NicPolicy::ALLOW);
            let secured = VmInstanceEvent::NicSecurityChanged { nic, groups, ingress_policy, egress_policy };
            return (id("vm", random.below(4)), secured.into());
        }
    };
    (group(random.below(2)).0, event.into())
}

fn random_event(random: &mut Random) -> (Id, Event) {
    let few = |random: &mut Random| random.below(4);
    let name = |random: &mut Random| random.pick(NAMES).to_string();
    let maybe = |random: &mut Random| (random.below(2) == 0).then(|| random.pick(NAMES).to_string());
    let state = *random.pick(&[Enabled::Enabled, Enabled::Disabled]);
    let zone = ZoneId(id("zone", random.below(2)));
    let cluster = ClusterId(id("cluster", few(random)));
    let host = HostId(id("host", few(random)));
    let image = ImageId(id("image", random.below(2)));
    let l2 = L2NetworkId(id("l2", few(random)));
    let l3 = L3NetworkId(id("l3", few(random)));
    let offering = OfferingId(id("offering", random.below(3)));
    let hypervisor_type = *random.pick(&[HypervisorType::KVM, HypervisorType::Simulator]);
    let l3_networks = vec![];
    match random.below(21) {
        0 => {
            let event = match random.below(4) {
                0 | 1 => ZoneEvent::Created { name: name(random), description: maybe(random), is_default: true },
                2 => ZoneEvent::Updated { name: maybe(random), description: maybe(random), is_default: None },
                _ => ZoneEvent::StateChanged { state },
            };
            (zone.0, event.into())
        }
        1 => {
            let event = match random.below(5) {
                0..3 => ClusterEvent::Created { zone, name: name(random), description: maybe(random), hypervisor_type },
                3 => ClusterEvent::Updated { name: maybe(random), description: None },
                _ => ClusterEvent::Deleted {},
            };
            (cluster.0, event.into())
        }
        2 => {
            let event = match random.below(8) {
                0 | 1 => HostEvent::Added {
                    zone,
                    cluster,
                    name: name(random),
                    description: None,
                    management_ip: address(few(random)),
                    agent_port: 1,
                    hypervisor_type,
                },
                2 => HostEvent::ReconnectRequested {},
                3 => HostEvent::StatusChanged { status: HostStatus::Connected, reason: None },
                4 => HostEvent::StatusChanged { status: HostStatus::Disconnected, reason: maybe(random) },
                5 => HostEvent::StateChanged { state: state.into() },
                6 => HostEvent::DriftChanged { items: deviations(random), more: random.below(2) as u64 },
                _ => HostEvent::Deleted {},
            };
            (host.0, event.into())
        }
        3 => {
            let event = match random.below(3) {
                0 | 1 => ImageEvent::Added {
                    name: name(random),
                    description: None,
                    media_type: "RootVolumeTemplate".to_string(),
                    format: "qcow2".to_string(),
                    url: "http://x".to_string(),
                    system: random.below(2) == 0,
                },
                _ => ImageEvent::Deleted {},
            };
            (image.0, event.into())
        }
        4 => {
            let provider = NetworkServiceProviderId(id("provider", random.below(2)));
            let event = match random.below(9) {
                0 | 1 => L2NetworkEvent::Created {
                    zone,
                    name: name(random),
                    description: None,
                    physical_interface: "eth0".to_string(),
                    network_type: L2NetworkType::L2VlanNetwork,
                    vlan: (random.below(2) == 0).then(|| random.below(4094) as u16),
                    v_switch_type: "LinuxBridge".to_string(),
                },
                2..5 => L2NetworkEvent::Attached { cluster },
                5 => L2NetworkEvent::Detached { cluster },
                6 => L2NetworkEvent::ProviderAttached { provider },
                7 => L2NetworkEvent::ProviderDetached { provider },
                _ => L2NetworkEvent::Deleted {},
            };
            (l2.0, event.into())
        }
        5 | 6 => {
            let dns = address(few(random)).into();
            let provider = NetworkServiceProviderId(id("provider", random.below(2)));
            let services = vec![NetworkServiceType::DHCP, *random.pick(NetworkServiceType::ALL)];
            let reserved_range = id("reserved", few(random));
            let prefix = "10.9.0.0/16".parse().expect("a prefix");
            let event = match random.below(15) {
                0..3 => L3NetworkEvent::Created {
                    zone,
                    l2_network: l2,
                    name: name(random),
                    description: maybe(random),
                    category: L3NetworkCategory::Private,
                    system: random.below(2) == 0,
                    dns_domain: None,
                },
                3 => L3NetworkEvent::StateChanged { state },
                4 => L3NetworkEvent::DnsAdded { dns },
                5 => L3NetworkEvent::DnsRemoved { dns },
                6 => L3NetworkEvent::ServicesAttached { provider, services },
                7 => L3NetworkEvent::ServicesDetached { provider, services },
                10 => L3NetworkEvent::HostRouteAdded { prefix, nexthop: address(5) },
                11 => L3NetworkEvent::HostRouteRemoved { prefix },
                12 => L3NetworkEvent::MtuChanged { mtu: 1400 },
                13 => L3NetworkEvent::DhcpServerChanged { address: None },
                8 => L3NetworkEvent::RangeReserved { reserved_range, start: address(2).into(), end: address(9).into() },
                9 => L3NetworkEvent::RangeUnreserved { reserved_range },
                _ => L3NetworkEvent::Deleted {},
            };
            (l3.0, event.into())
        }
        7 | 8 => {
            let n = random.below(6);
            let (used_ip, nic, owner) = (id("ip", n), NicId(id("nic", n)), id("vm", few(random)));
            let (first, last) = (address(n).into(), address(n + 2).into());
            let (ip, ip6) = (address(n).into(), address6(n));
            let event = match random.below(11) {
                6 => IpRangeEvent::CursorMoved { next: ip, chosen_at: 1 },
                7 => IpRangeEvent::AddressesReserved { l3_network: l3, first, last },
                8 => IpRangeEvent::AddressesUnreserved { l3_network: l3, first, last },
                0 | 1 => IpRangeEvent::Created {
                    l3_network: l3,
                    l2_network: l2,
                    name: name(random),
                    description: None,
                    range_type: IpRangeType::Normal,
                    start: address(10),
                    end: address(99),
                    netmask: Ipv4Addr::new(255, 255, 255, 0),
                    gateway: address(1),
                },
                2 | 3 => IpRangeEvent::AddressAllocated { l3_network: l3, ip, used_ip, nic, owner },
                4 => IpRangeEvent::AddressReleased { l3_network: l3, ip, used_ip, nic, owner },
                9 => IpRangeEvent::Ipv6Created {
                    l3_network: l3,
                    l2_network: l2,
                    name: name(random),
                    description: None,
                    range_type: IpRangeType::Normal,
                    start: address6(2),
                    end: address6(99),
                    prefix_length: 64,
                    gateway: address6(1),
                    address_mode: AddressMode::Stateful,
                },
                10 => IpRangeEvent::AddressAllocated { l3_network: l3, ip: ip6.into(), used_ip, nic, owner },
                _ => IpRangeEvent::Deleted { l3_network: l3 },
            };
            (id("range", few(random)), event.into())
        }
        9 => {
            let router = (random.below(2) == 0).then_some(RouterTerms {
                zone,
                management_network: l3,
                public_network: l3,
                image,
                is_default: true,
            });
            let event = match random.below(4) {
                0 | 1 => OfferingEvent::Created {
                    name: name(random),
                    description: None,
                    cpu_num: random.below(20) as u32,
                    cpu_speed: 1000,
                    memory_size: 1 << 30,
                    allocator_strategy: "Default".to_string(),
                    router,
                },
                2 => OfferingEvent::Updated { name: None, description: None, is_default: Some(false), image: None },
                _ => OfferingEvent::Deleted {},
            };
            (offering.0, event.into())
        }
        10 | 11 => {
            let n = few(random);
            let event = match random.below(20) {
                0..4 => VmInstanceEvent::Created {
                    zone,
                    cluster,
                    host,
                    hypervisor_type,
                    name: name(random),
                    description: maybe(random),
                    hostname: name(random),
                    image: (random.below(2) == 0).then_some(image),
                    offering: (random.below(2) == 0).then_some(offering),
                    default_l3_network: l3,
                    nics: (0..random.below(3)).map(|at| nic(n * 4 + at, random.below(4))).collect(),
                },
                4 => VmInstanceEvent::StartRequested { host, cluster, l3_networks },
                5 => VmInstanceEvent::Started { host },
                6 => VmInstanceEvent::StopRequested { l3_networks },
                7 => VmInstanceEvent::Stopped { l3_networks },
                8 => VmInstanceEvent::DestroyRequested { l3_networks },
                9 => VmInstanceEvent::OperationFailed {
                    operation: *random.pick(&[VmOperation::Create, VmOperation::Destroy, VmOperation::Reboot]),
                    code: "VM.1000".to_string(),
                    detail: name(random),
                    l3_networks,
                },
                10 => VmInstanceEvent::NicDetached {
                    nic: NicId(id("nic", n * 4)),
                    l3_network: l3,
                    default_l3_network: (random.below(2) == 0).then_some(l3),
                },
                11 => VmInstanceEvent::NicAttached {
                    nic: nic(n * 4 + random.below(3), random.below(4)),
                    hostname: name(random),
                    running: true,
                    default_l3_network: l3,
                },
                12 => VmInstanceEvent::NicChanged {
                    nic: nic(n * 4, random.below(4)),
                    from: l3,
                    hostname: name(random),
                    running: true,
                    default_l3_network: l3,
                },
                13 => VmInstanceEvent::NicStateChanged {
                    nic: NicId(id("nic", n * 4)),
                    state: *random.pick(&[Enabled::Enabled, Enabled::Disabled]),
                },
                14 => VmInstanceEvent::HostnameChanged { hostname: name(random), l3_networks },
                15 if random.below(2) == 0 => VmInstanceEvent::Paused {},
                15 => VmInstanceEvent::Resumed {},
                16 => VmInstanceEvent::Recovered {
                    host,
                    name: name(random),
                    hostname: name(random),
                    image: (random.below(2) == 0).then_some(image),
                    offering: None,
                    default_l3_network: Some(l3),
                    nics: vec![nic(n * 4, random.below(4))],
                },
                17 => VmInstanceEvent::Expunged {},
                n => VmInstanceEvent::Destroyed { l3_networks, recoverable: n == 18 },
            };
            (id("vm", n), event.into())
        }
        12 => {
            let n = few(random);
            let digest = || "ab".repeat(32);
            let event = match random.below(14) {
                0..3 => RouterEvent::Created {
                    zone,
                    cluster,
                    host,
                    hypervisor_type,
                    name: name(random),
                    offering,
                    image,
                    management_network: l3,
                    public_network: l3,
                    default_route_network: l3,
                    nics: (0..random.below(3)).map(|at| nic(100 + n * 4 + at, random.below(4))).collect(),
                },
                3 | 4 => RouterEvent::Connected { agent_digest: digest(), revision: 1, config_digest: digest() },
                5 => RouterEvent::Disconnected { reason: name(random) },
                6 => RouterEvent::ConfigApplied { revision: random.next() >> 40, config_digest: digest() },
                7 => RouterEvent::Stopped {},
                11 => RouterEvent::DriftChanged { items: deviations(random), more: random.below(2) as u64 },
                12 => RouterEvent::HealthChanged {
                    unhealthy: deviations(random).into_iter().map(|found| (found.section, found.item)).collect(),
                },
                10 => RouterEvent::NicChanged { nic: nic(100 + n * 4, random.below(4)) },
                8 => RouterEvent::NicAttached { nic: nic(100 + n * 4, random.below(4)) },
                9 => RouterEvent::NicDetached { nic: NicId(id("nic", 100 + n * 4)), l3_network: l3 },
                _ => RouterEvent::Destroyed { l3_networks },
            };
            (id("router", n), event.into())
        }
        13 => {
            let (access_key, api_token) = (id("key", few(random)), id("token", few(random)));
            let event = match random.below(9) {
                4 => AccountEvent::AccessKeyCreated {
                    access_key: AccessKeyId(access_key),
                    key_id: name(random),
                    secret: SealedSecret::new([7]),
                    description: maybe(random),
                },
                5 if random.below(2) == 0 => AccountEvent::AccessKeyDeleted { access_key: AccessKeyId(access_key) },
                5 => AccountEvent::AccessKeyStateChanged { access_key: AccessKeyId(access_key), state },
                6 => AccountEvent::ApiTokenCreated {
                    api_token: ApiTokenId(api_token),
                    name: name(random),
                    description: maybe(random),
                    digest: api_token,
                    scopes: vec![name(random)],
                    expires: 7,
                },
                7 => AccountEvent::ApiTokenDeleted { api_token: ApiTokenId(api_token) },
                0 | 1 => AccountEvent::Created {
                    name: name(random),
                    description: maybe(random),
                    account_type: *random.pick(&[AccountType::SystemAdmin, AccountType::Normal]),
                    password: None,
                },
                2 => AccountEvent::Updated { name: maybe(random), description: maybe(random) },
                3 if random.below(2) == 0 => AccountEvent::LogInRefused {},
                3 => AccountEvent::PasswordChanged { password: PasswordHash::new("$x") },
                _ => AccountEvent::Deleted {},
            };
            (id("account", random.below(3)), event.into())
        }
        17 => load_balancer(random, l3),
        16 => {
            let n = random.below(6);
            let address = nic(n, few(random)).addresses[0];
            let at = VipPlace { vip: VipId(id("vip", few(random))), l3_network: l3, ip: address.ip, prefix_length: 24 };
            let led = ServedNic { nic: NicId(id("nic", n)), vm: VmInstanceId(id("vm", 0)), l3_network: l3 };
            if random.below(2) == 0 {
                let event = match random.below(6) {
                    0 | 1 => EipEvent::Created { name: name(random), description: maybe(random), at },
                    2 => EipEvent::StateChanged { state, guest_network: None },
                    3 => EipEvent::Attached { at, to: led },
                    4 => EipEvent::Detached { at, from: led },
                    _ => EipEvent::Deleted { at, from: None },
                };
                return (id("eip", few(random)), event.into());
            }
            if random.below(2) == 0 {
                let ports = ForwardedPorts {
                    protocol: *random.pick(&[PortProtocol::TCP, PortProtocol::UDP]),
                    vip_start: n as u16,
                    vip_end: n as u16 + 1,
                    private_start: 80,
                    private_end: 81,
                    allowed_cidr: None,
                };
                let event = match random.below(6) {
                    0 | 1 => PortForwardingEvent::Created { name: name(random), description: maybe(random), at, ports },
                    2 => PortForwardingEvent::Updated { name: maybe(random), description: None },
                    3 => PortForwardingEvent::Attached { at, to: led, ports },
                    4 => PortForwardingEvent::Detached { at, from: led },
                    _ => PortForwardingEvent::Deleted { at, from: None },
                };
                return (id("rule", few(random)), event.into());
            }
            let port = *random.pick(&[None, Some(80)]);
            let limits = QosLimits { inbound: *random.pick(&[None, Some(200_000)]), outbound: Some(1_000_000) };
            let event = match random.below(8) {
                0..3 => VipEvent::Created { name: name(random), description: maybe(random), l3_network: l3, address },
                6 => VipEvent::QosSet { l3_network: l3, port, limits },
                7 => VipEvent::QosDeleted { l3_network: l3, port },
                3 => VipEvent::Updated { name: maybe(random), description: maybe(random) },
                4 => VipEvent::StateChanged { state },
                _ => VipEvent::Deleted { l3_network: l3 },
            };
            (id("vip", few(random)), event.into())
        }
        15 => {
            let statement = PolicyStatement {
                name: maybe(random),
                effect: *random.pick(&[PolicyEffect::Allow, PolicyEffect::Deny]),
                actions: vec![name(random)],
            };
            let statements = vec![statement; random.below(3)];
            let policy = PolicyId(id("policy", random.below(5)));
            let account = AccountId(id("account", random.below(3)));
            let event = match random.below(12) {
                0 => return (policy.0, PolicyEvent::Deleted {}.into()),
                1 | 2 => {
                    let created = PolicyEvent::Created { name: name(random), description: maybe(random), statements };
                    return (policy.0, created.into());
                }
                3 => RoleEvent::Deleted {},
                4 => RoleEvent::Updated { name: maybe(random), description: maybe(random) },
                5 => RoleEvent::PolicyAttached { policy },
                6 => RoleEvent::PolicyDetached { policy },
                7 => RoleEvent::AccountAttached { account },
                8 => RoleEvent::AccountDetached { account },
                _ => RoleEvent::Created {
                    name: name(random),
                    description: maybe(random),
                    statements,
                    policies: vec![policy],
                },
            };
            (id("role", random.below(5)), event.into())
        }
        14 => {
            let (resource, account) = (StreamKind::L3Network, AccountId(id("account", random.below(3))));
            let event = match random.below(8) {
                0 => OwnershipEvent::Ended {},
                1 => OwnershipEvent::Published { resource },
                2 => OwnershipEvent::Unpublished {},
                3 | 4 => OwnershipEvent::Shared { resource, accounts: vec![account] },
                5 => OwnershipEvent::Unshared { accounts: vec![account] },
                6 => {
                    let changed =
                        OwnershipEvent::QuotaChanged { name: "l3.num".to_string(), value: random.next() >> 8 };
                    return (account.0, changed.into());
                }
                _ => OwnershipEvent::Owned { resource, account },
            };
            (id("l3", few(random)), event.into())
        }
        18 | 19 => random_security(random),
        _ => {
            let kind = *random.pick(&["vm", "vm", "l3", "router"]);
            let resource = id(kind, few(random));
            let tag = TagId(id("tag", random.below(12)));
            let event = match random.below(6) {
                0 => TagSetEvent::Deleted { tag },
                3 => {
                    let (category, name) = (name(random), name(random));
                    let event = match random.below(3) {
                        0 => ResourceConfigEvent::Deleted { category, name },
                        n => {
                            let (resource_type, value) = ("HostVO".to_string(), n.to_string());
                            ResourceConfigEvent::Changed { resource_type, category, name, value }
                        }
                    };
                    return (resource, event.into());
                }
                2 => TagSetEvent::Updated { tag, text: name(random), refers_to: vec![] },
                1 => {
                    let event =
                        GlobalConfigEvent::Changed { category: name(random), name: name(random), value: name(random) };
                    return (global_config_id(), event.into());
                }
                _ => TagSetEvent::Created {
                    tag,
                    tag_type: *random.pick(&[TagType::User, TagType::System]),
                    resource_type: "VmInstanceVO".to_string(),
                    text: name(random),
                    inherent: false,
                    refers_to: vec![],
                },
            };
            (resource, event.into())
        }
    }
}

fn deviations(random: &mut Random) -> Vec<Deviation> {
    let text = |word: &str, number: usize| format!("{word} {number}");
    let found = |number: usize| Deviation {
        section: text("section", number % 2),
        item: text("item", number),
        expected: text("wanted", number),
        observed: text("found", number),
    };
    (0..random.below(5)).map(found).collect()
}

/// An event of a load balancer, which may be about a listener that is not there.
fn load_balancer(random: &mut Random, l3: L3NetworkId) -> (Id, Event) {
    let listener = LoadBalancerListenerId(id("listener", random.below(4)));
    let (vip, l3_networks) = (VipId(id("vip", random.below(4))), vec![l3]);
    let options = ListenerOptions {
        port: 80,
        instance_port: 8080,
        protocol: *random.pick(&[ListenerProtocol::Tcp, ListenerProtocol::Https, ListenerProtocol::Http]),
        algorithm: *random.pick(&[BalancerAlgorithm::RoundRobin, BalancerAlgorithm::LeastConn]),
        persistence: Persistence::Off,
        max_connections: 10,
        processes: 1,
        idle_timeout: 60,
        health: HealthCheck {
            target: HealthTarget::Tcp,
            port: None,
            interval: 5,
            timeout: 2,
            healthy: 2,
            unhealthy: 6,
        },
        proxy_protocol: None,
        connections: HttpConnections::KeepAlive,
        compression: vec![Compression::Gzip],
        to_https: None,
        tls: *random.pick(&[TlsPolicy::Default, TlsPolicy::Strict12]),
        h2: false,
        lists_off: *random.pick(&[false, true]),
    };
    let nic = NicId(id("nic", random.below(4)));
    let group = ServerGroupId(id("server group", random.below(4)));
    let own = *random.pick(&[None, Some(listener)]);
    let certificate = CertificateId(id("certificate", random.below(3)));
    let list = AccessControlListId(id("access list", random.below(3)));
    let event = match random.below(26) {
        20 | 21 => return (list.0, access_list(random)),
        22 | 23 => {
            let sources = vec![];
            let rule = RedirectRule { domain: Some("a.example".to_string()), url: None };
            let groups = vec![group, ServerGroupId(id("server group", random.below(4)))];
            let access = random
                .pick(&[
                    ListenerAccess::White { sources: sources.clone() },
                    ListenerAccess::Black { sources },
                    ListenerAccess::Redirect { rule, groups },
                ])
                .clone();
            LoadBalancerEvent::AccessListPut { listener, list, access, l3_networks }
        }
        24 => LoadBalancerEvent::AccessListChanged { list, listeners: vec![listener], sources: vec![], l3_networks },
        25 => LoadBalancerEvent::AccessListRemoved { listener, list, l3_networks },
        16 => {
            let event = match random.below(4) {
                0 | 1 => CertificateEvent::Created {
                    name: format!("n{}", random.below(4)),
                    description: random.pick(&[None, Some("d".to_string())]).clone(),
                    chain: "chain".to_string(),
                    digest: "digest".to_string(),
                    key: SealedSecret::new([1]),
                },
                2 => CertificateEvent::Updated { name: Some("n".to_string()), description: None },
                _ => CertificateEvent::Deleted {},
            };
            return (certificate.0, event.into());
        }
        17 | 18 => {
            let digest = "digest".to_string();
            LoadBalancerEvent::CertificateAdded { listener, certificate, digest, l3_networks }
        }
        19 => LoadBalancerEvent::CertificateRemoved { listener, certificate, l3_networks },
        0 | 1 => LoadBalancerEvent::Created {
            name: format!("n{}", random.below(4)),
            description: random.pick(&[None, Some("d".to_string())]).clone(),
            at: VipPlace { vip, l3_network: l3, ip: [203, 0, 113, 7].into(), prefix_length: 24 },
        },
        2 => LoadBalancerEvent::Updated {
            name: random.pick(&[None, Some("d".to_string())]).clone(),
            description: random.pick(&[None, Some("d".to_string())]).clone(),
        },
        3 => LoadBalancerEvent::Deleted { vip, l3_networks },
        4 | 5 => LoadBalancerEvent::ListenerCreated {
            listener,
            name: format!("n{}", random.below(4)),
            description: random.pick(&[None, Some("d".to_string())]).clone(),
            options,
            group,
            l3_networks,
        },
        6 => LoadBalancerEvent::ListenerChanged { listener, options, l3_networks },
        7 => LoadBalancerEvent::ListenerDeleted { listener, group, l3_networks },
        8 => LoadBalancerEvent::GroupCreated {
            group,
            name: format!("n{}", random.below(4)),
            description: random.pick(&[None, Some("d".to_string())]).clone(),
        },
        9 => LoadBalancerEvent::GroupUpdated {
            group,
            name: random.pick(&[None, Some("d".to_string())]).clone(),
            description: random.pick(&[None, Some("d".to_string())]).clone(),
        },
        10 => LoadBalancerEvent::GroupDeleted { group },
        11 | 12 => LoadBalancerEvent::GroupAdded { listener, group, l3_networks },
        13 => LoadBalancerEvent::GroupRemoved { listener, group, l3_networks },
        14 => {
            let to = ServedNic { nic, vm: VmInstanceId(id("vm", random.below(4))), l3_network: l3 };
            let members = vec![GroupMember { to, weight: *random.pick(&[20, 100]) }];
            LoadBalancerEvent::MembersPut { group, listener: own, members, l3_networks }
        }
        _ => LoadBalancerEvent::MembersRemoved { group, listener: own, nics: vec![nic], l3_networks },
    };
    (id("balancer", random.below(3)), event.into())
}

/// An event of an access control list, which may be about an entry that is not there.
fn access_list(random: &mut Random) -> Event {
    let entry = AccessControlEntryId(id("access list entry", random.below(4)));
    let description = random.pick(&[None, Some("d".to_string())]).clone();
    let name = format!("n{}", random.below(4));
    let event = match random.below(7) {
        0 | 1 => AccessControlListEvent::Created { name, description },
        2 => AccessControlListEvent::Deleted {},
        3 => {
            let (entries, sources) = ("192.0.2.7".to_string(), vec![]);
            AccessControlListEvent::EntryAdded { entry, entries, sources, description }
        }
        4 => {
            let rule = RedirectRule { domain: description.clone(), url: Some("/".to_string()) };
            AccessControlListEvent::RuleAdded { entry, name: Some(name), description, rule }
        }
        5 => AccessControlListEvent::RuleRenamed { entry, name },
        _ => AccessControlListEvent::EntryRemoved { entry },
    };
    event.into()
}
