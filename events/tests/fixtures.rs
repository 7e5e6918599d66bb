//! Golden bytes of every event: what was written once must be read for ever, and must not come out differently.
//!
//! `fixtures/events.txt` has a line for each case: kind, schema version, name of the case, payload in hexadecimal.
//! A line is never changed or removed. `UPDATE_GOLDEN=1` adds the lines that are missing, and nothing else: a new
//! shape is a new schema version with an upcaster and lines of its own, and the old lines stay and must still decode.

#[path = "samples/load_balancers.rs"]
mod load_balancers;
#[path = "fixtures/routers.rs"]
mod routers;
#[path = "fixtures/schemas.rs"]
mod schemas;
#[path = "fixtures/security_groups.rs"]
mod security_groups;

use serde::{Deserialize, Deserializer, de::Error as _, de::Visitor, forward_to_deserialize_any};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};
use switchback_events::*;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/events.txt");

/// Kind, schema version, case.
type Key = (String, u16, String);

fn lines() -> BTreeMap<Key, String> {
    let text = std::fs::read_to_string(PATH).unwrap_or_default();
    let mut lines = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let [kind, schema, case, hex] = words[..] else { panic!("not `kind schema case hex`: {line}") };
        let key = (kind.to_string(), schema.parse().expect("a schema version"), case.to_string());
        assert!(lines.insert(key, hex.to_string()).is_none(), "the line stands twice: {line}");
    }
    lines
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits");
    (0..text.len()).step_by(2).map(digits).collect()
}

fn add_missing(samples: &BTreeMap<Key, Event>) {
    let mut lines = lines();
    for (key, event) in samples {
        lines.entry(key.clone()).or_insert_with(|| hex(&event.encode().unwrap()));
    }
    let mut text = "# kind, schema version, case, payload in hexadecimal. Lines are only ever added.\n".to_string();
    for ((kind, schema, case), hex) in lines {
        text.push_str(&format!("{kind} {schema} {case} {hex}\n"));
    }
    std::fs::write(PATH, text).unwrap();
}

#[test]
fn every_event_is_encoded_and_decoded_as_it_always_was() {
    let samples = samples();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        add_missing(&samples);
    }
    let lines = lines();
    for (key, event) in &samples {
        let golden = lines.get(key).unwrap_or_else(|| panic!("{key:?} has no line: UPDATE_GOLDEN=1 adds it"));
        let now = hex(&event.encode().unwrap());
        assert_eq!(*golden, now, "{key:?} is encoded differently: that needs a new schema version and an upcaster");
    }
    for ((kind, schema, case), golden) in &lines {
        let stem = kind.split('.').next().unwrap_or_default();
        let stream = kinds().into_iter().find(|stream| stream.stem() == stem);
        let stream = stream.unwrap_or_else(|| panic!("{kind}: there is no such concept any more"));
        let event = Event::decode(stream, *schema, &unhex(golden))
            .unwrap_or_else(|error| panic!("{kind} {schema} {case} cannot be read any more: {error}"));
        if *schema == upcast::current(stream) {
            let sample = samples.get(&(kind.clone(), *schema, case.clone()));
            assert_eq!(Some(&event), sample, "{kind} {schema} {case} has a line and no equal sample");
            assert_eq!(event.kind(), *kind);
        }
    }
}

#[test]
fn the_fields_of_every_event_are_the_same_as_text() {
    for (key, event) in samples() {
        let text = event.to_json_text();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).ok(), Some(event.to_json()), "{key:?}: {text}");
    }
}

#[test]
fn every_variant_of_every_concept_has_a_line() {
    let lines = lines();
    let pinned: BTreeSet<String> = lines.keys().map(|(kind, ..)| kind.clone()).collect();
    for stream in kinds() {
        for variant in variants_of(stream) {
            let kind = format!("{}.{variant}", stream.stem());
            assert!(pinned.contains(&kind), "{kind} has no line in {PATH}: add a sample, then UPDATE_GOLDEN=1");
        }
    }
}

#[test]
fn a_payload_of_a_newer_schema_is_refused_as_newer() {
    let payload = ZoneEvent::Deleted {};
    let payload = Event::from(payload).encode().unwrap();
    for stream in kinds() {
        let newer = upcast::current(stream) + 1;
        match Event::decode(stream, newer, &payload) {
            Err(CodecError::Newer { stream: stem, found, known }) => {
                assert_eq!((stem, found, known), (stream.stem(), newer, upcast::current(stream)));
            }
            other => panic!("{}: {other:?}", stream.stem()),
        }
    }
}

/// Every kind of stream. The compiler asks for a new one here.
fn kinds() -> Vec<StreamKind> {
    use StreamKind::*;
    let next = |kind| match kind {
        Zone => Some(Cluster),
        Cluster => Some(Host),
        Host => Some(Image),
        Image => Some(L2Network),
        L2Network => Some(L3Network),
        L3Network => Some(IpRange),
        IpRange => Some(MacBlock),
        MacBlock => Some(NetworkServiceProvider),
        NetworkServiceProvider => Some(Offering),
        Offering => Some(VmInstance),
        VmInstance => Some(Router),
        Router => Some(LoadBalancer),
        LoadBalancer => Some(Certificate),
        Certificate => Some(AccessControlList),
        AccessControlList => Some(Vip),
        Vip => Some(Eip),
        Eip => Some(PortForwarding),
        PortForwarding => Some(TagSet),
        TagSet => Some(GlobalConfig),
        GlobalConfig => Some(ResourceConfig),
        ResourceConfig => Some(Account),
        Account => Some(Policy),
        Policy => Some(Role),
        Role => Some(Ownership),
        Ownership => Some(SecurityGroup),
        SecurityGroup => None,
    };
    std::iter::successors(Some(Zone), |kind| next(*kind)).collect()
}

fn variants_of(stream: StreamKind) -> &'static [&'static str] {
    match stream {
        StreamKind::Zone => variants::<ZoneEvent>(),
        StreamKind::Cluster => variants::<ClusterEvent>(),
        StreamKind::Host => variants::<HostEvent>(),
        StreamKind::Image => variants::<ImageEvent>(),
        StreamKind::L2Network => variants::<L2NetworkEvent>(),
        StreamKind::L3Network => variants::<L3NetworkEvent>(),
        StreamKind::IpRange => variants::<IpRangeEvent>(),
        StreamKind::MacBlock => variants::<MacBlockEvent>(),
        StreamKind::NetworkServiceProvider => variants::<NetworkServiceProviderEvent>(),
        StreamKind::Offering => variants::<OfferingEvent>(),
        StreamKind::VmInstance => variants::<VmInstanceEvent>(),
        StreamKind::Router => variants::<RouterEvent>(),
        StreamKind::LoadBalancer => variants::<LoadBalancerEvent>(),
        StreamKind::Certificate => variants::<CertificateEvent>(),
        StreamKind::AccessControlList => variants::<AccessControlListEvent>(),
        StreamKind::Vip => variants::<VipEvent>(),
        StreamKind::Eip => variants::<EipEvent>(),
        StreamKind::PortForwarding => variants::<PortForwardingEvent>(),
        StreamKind::TagSet => variants::<TagSetEvent>(),
        StreamKind::GlobalConfig => variants::<GlobalConfigEvent>(),
        StreamKind::ResourceConfig => variants::<ResourceConfigEvent>(),
        StreamKind::Account => variants::<AccountEvent>(),
        StreamKind::Policy => variants::<PolicyEvent>(),
        StreamKind::Role => variants::<RoleEvent>(),
        StreamKind::Ownership => variants::<OwnershipEvent>(),
        StreamKind::SecurityGroup => variants::<SecurityGroupEvent>(),
    }
}

/// The names that an enum's own deserializer asks for.
fn variants<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    struct Names<'a>(&'a mut &'static [&'static str]);
    impl<'de> Deserializer<'de> for Names<'_> {
        type Error = serde::de::value::Error;
        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(Self::Error::custom("not an enum"))
        }
        fn deserialize_enum<V: Visitor<'de>>(
            self,
            _: &'static str,
            variants: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = variants;
            Err(Self::Error::custom("only asking"))
        }
        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map struct identifier ignored_any
        }
    }
    let mut names: &'static [&'static str] = &[];
    let _ = T::deserialize(Names(&mut names));
    assert!(!names.is_empty(), "an enum of events has variants");
    names
}

fn id<T: From<Id>>(n: u8) -> T {
    T::from(Id([n; 16]))
}

fn text(text: &str) -> String {
    text.to_string()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_string())
}

const fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

const fn ip6(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last)
}

/// An address of each family.
fn both() -> Vec<NicAddress> {
    let mut addresses = nic().addresses;
    addresses.push(NicAddress {
        ip: ip6(5).into(),
        prefix_length: 64,
        gateway: ip6(1).into(),
        ip_range: id(0x28),
        used_ip: id(0x29),
    });
    addresses
}

const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
const MAC: Mac = Mac([0xfa, 0xd9, 0xaf, 0xa1, 0x38, 0x01]);

fn nic() -> Nic {
    Nic {
        nic: id(0x21),
        l3_network: id(0x22),
        l2_network: id(0x23),
        mac: MAC,
        addresses: vec![NicAddress {
            ip: ip(5).into(),
            prefix_length: 24,
            gateway: ip(1).into(),
            ip_range: id(0x24),
            used_ip: id(0x25),
        }],
        device_id: 1,
        internal_name: text("vnic21212121.1"),
        meta_data: Nic::PUBLIC | Nic::GUEST,
    }
}

/// One event for each case. Samples are as immutable as their lines.
fn samples() -> BTreeMap<Key, Event> {
    let mut samples = BTreeMap::new();
    let mut add = |case: &str, event: Event| {
        let key = (event.kind(), event.schema(), case.to_string());
        assert!(samples.insert(key, event).is_none(), "the case `{case}` stands twice");
    };
    structure(&mut |case, event| add(case, event));
    networks(&mut |case, event| add(case, event));
    ownership(&mut |case, event| add(case, event));
    roles(&mut |case, event| add(case, event));
    machines(&mut |case, event| add(case, event));
    load_balancers::samples(&mut |case, event| add(case, event));
    vips(&mut |case, event| add(case, event));
    routers::samples(&mut |case, event| add(case, event));
    security_groups::samples(&mut |case, event| add(case, event));
    samples
}

fn structure(add: &mut dyn FnMut(&str, Event)) {
    add("full", ZoneEvent::Created { name: text("z"), description: some("d"), is_default: true }.into());
    add("sparse", ZoneEvent::Created { name: text("z"), description: None, is_default: false }.into());
    add("full", ZoneEvent::Updated { name: some("z"), description: some("d"), is_default: Some(true) }.into());
    add("sparse", ZoneEvent::Updated { name: None, description: None, is_default: None }.into());
    add("full", ZoneEvent::StateChanged { state: Enabled::Enabled }.into());
    add("disabled", ZoneEvent::StateChanged { state: Enabled::Disabled }.into());
    add("full", ZoneEvent::Deleted {}.into());

    let (kvm, simulator) = (HypervisorType::KVM, HypervisorType::Simulator);
    let created = |description, hypervisor_type| ClusterEvent::Created {
        zone: id(1),
        name: text("c"),
        description,
        hypervisor_type,
    };
    add("full", created(some("d"), kvm).into());
    add("sparse", created(None, simulator).into());
    add("full", ClusterEvent::Updated { name: some("c"), description: some("d") }.into());
    add("full", ClusterEvent::StateChanged { state: Enabled::Disabled }.into());
    add("full", ClusterEvent::Deleted {}.into());

    let added = |description, hypervisor_type| HostEvent::Added {
        zone: id(1),
        cluster: id(2),
        name: text("h"),
        description,
        management_ip: ip(11),
        agent_port: 7070,
        hypervisor_type,
    };
    add("full", added(some("d"), kvm).into());
    add("sparse", added(None, simulator).into());
    add("full", HostEvent::Updated { name: some("h"), description: some("d") }.into());
    add("full", HostEvent::StateChanged { state: HostState::Disabled }.into());
    add("emptied", HostEvent::StateChanged { state: HostState::PreMaintenance }.into());
    add("maintained", HostEvent::StateChanged { state: HostState::Maintenance }.into());
    add("full", HostEvent::ReconnectRequested {}.into());
    add("connecting", HostEvent::StatusChanged { status: HostStatus::Connecting, reason: None }.into());
    add("connected", HostEvent::StatusChanged { status: HostStatus::Connected, reason: None }.into());
    add("disconnected", HostEvent::StatusChanged { status: HostStatus::Disconnected, reason: some("r") }.into());
    add("full", HostEvent::NotesChanged { notes: vec![text("n")] }.into());
    add("full", HostEvent::DriftChanged { items: vec![deviation()], more: 3 }.into());
    add("full", HostEvent::Deleted {}.into());

    let image = |description| ImageEvent::Added {
        name: text("i"),
        description,
        media_type: text("RootVolumeTemplate"),
        format: text("qcow2"),
        url: text("file:///i"),
        system: true,
    };
    add("full", image(some("d")).into());
    add("sparse", image(None).into());
    add("full", ImageEvent::Updated { name: some("i"), description: some("d") }.into());
    add("full", ImageEvent::StateChanged { state: Enabled::Disabled }.into());
    add("full", ImageEvent::Deleted {}.into());

    let hash = || PasswordHash::new("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA");
    let account = |description, account_type, password| AccountEvent::Created {
        name: text("a"),
        description,
        account_type,
        password,
    };
    add("full", account(some("d"), AccountType::Normal, Some(hash())).into());
    add("sparse", account(None, AccountType::SystemAdmin, None).into());
    add("full", AccountEvent::Updated { name: some("a"), description: some("d") }.into());
    add("full", AccountEvent::PasswordChanged { password: hash() }.into());
    add("full", AccountEvent::Deleted {}.into());
    add("full", AccountEvent::LoggedIn { session: id(1), expires: 7, ended: vec![id(2)] }.into());
    add("full", AccountEvent::LogInRefused {}.into());
    add("full", AccountEvent::LoggedOut { session: id(1) }.into());
    let key = |description| AccountEvent::AccessKeyCreated {
        access_key: id(2),
        key_id: text("AKID0123456789abcdef"),
        secret: SealedSecret::new([0, 1, 255]),
        description,
    };
    add("full", key(some("d")).into());
    add("sparse", key(None).into());
    add("full", AccountEvent::AccessKeyStateChanged { access_key: id(2), state: Enabled::Disabled }.into());
    add("full", AccountEvent::AccessKeyDeleted { access_key: id(2) }.into());
    let token = |description, scopes: &[&str]| AccountEvent::ApiTokenCreated {
        api_token: id(3),
        name: text("ci"),
        description,
        digest: id(4),
        scopes: scopes.iter().map(|scope| scope.to_string()).collect(),
        expires: 7,
    };
    add("full", token(some("d"), &["read", "Create*"]).into());
    add("sparse", token(None, &[]).into());
    add("full", AccountEvent::ApiTokenDeleted { api_token: id(3) }.into());

    let offering = |description, router| OfferingEvent::Created {
        name: text("o"),
        description,
        cpu_num: 2,
        cpu_speed: 1000,
        memory_size: 1 << 33,
        allocator_strategy: text("DefaultHostAllocatorStrategy"),
        router,
    };
    let terms =
        RouterTerms { zone: id(1), management_network: id(3), public_network: id(4), image: id(5), is_default: true };
    add("full", offering(some("d"), Some(terms)).into());
    add("sparse", offering(None, None).into());
    let updated = |text: Option<&str>, is_default, image| OfferingEvent::Updated {
        name: text.map(str::to_string),
        description: text.map(str::to_string),
        is_default,
        image,
    };
    add("full", updated(Some("o"), Some(false), Some(id(5))).into());
    add("sparse", updated(None, None, None).into());
    add("full", OfferingEvent::StateChanged { state: Enabled::Disabled }.into());
    add("full", OfferingEvent::Deleted {}.into());

    let tag = |tag_type, inherent, refers_to| TagSetEvent::Created {
        tag: id(6),
        tag_type,
        resource_type: text("VmInstanceVO"),
        text: text("hostname::web"),
        inherent,
        refers_to,
    };
    add("full", tag(TagType::System, true, vec![id(7)]).into());
    add("sparse", tag(TagType::User, false, vec![]).into());
    add("full", TagSetEvent::Updated { tag: id(6), text: text("hostname::b"), refers_to: vec![id(4)] }.into());
    add("full", TagSetEvent::Deleted { tag: id(6) }.into());

    let (resource_type, category, name) = (text("HostVO"), text("host"), text("ping.interval"));
    let changed = ResourceConfigEvent::Changed { resource_type, category, name, value: text("20") };
    add("full", changed.into());
    let deleted = ResourceConfigEvent::Deleted { category: text("host"), name: text("ping.interval") };
    add("full", deleted.into());
    let changed = GlobalConfigEvent::Changed { category: text("host"), name: text("ping.interval"), value: text("60") };
    add("full", changed.into());
}

fn ownership(add: &mut dyn FnMut(&str, Event)) {
    let (resource, accounts) = (StreamKind::L3Network, vec![id(1), id(2)]);
    add("full", OwnershipEvent::Owned { resource, account: id(1) }.into());
    add("full", OwnershipEvent::Shared { resource, accounts: accounts.clone() }.into());
    add("full", OwnershipEvent::Published { resource }.into());
    add("full", OwnershipEvent::Unshared { accounts }.into());
    add("full", OwnershipEvent::Unpublished {}.into());
    add("full", OwnershipEvent::Ended {}.into());
    add("full", OwnershipEvent::QuotaChanged { name: text("l3.num"), value: 30 }.into());
}

fn roles(add: &mut dyn FnMut(&str, Event)) {
    let statement = |name, effect, actions: &[&str]| PolicyStatement {
        name,
        effect,
        actions: actions.iter().map(|action| text(action)).collect(),
    };
    let statements = || {
        vec![
            statement(some("look"), PolicyEffect::Allow, &["read", "Create*"]),
            statement(None, PolicyEffect::Deny, &["CreateVmInstance"]),
        ]
    };
    add("full", PolicyEvent::Created { name: text("p"), description: some("d"), statements: statements() }.into());
    add("sparse", PolicyEvent::Created { name: text("p"), description: None, statements: vec![] }.into());
    add("full", PolicyEvent::Deleted {}.into());
    let role =
        |description, statements, policies| RoleEvent::Created { name: text("r"), description, statements, policies };
    add("full", role(some("d"), statements(), vec![id(1), id(2)]).into());
    add("sparse", role(None, vec![], vec![]).into());
    add("full", RoleEvent::Updated { name: some("r"), description: some("d") }.into());
    add("full", RoleEvent::PolicyAttached { policy: id(1) }.into());
    add("full", RoleEvent::PolicyDetached { policy: id(1) }.into());
    add("full", RoleEvent::AccountAttached { account: id(3) }.into());
    add("full", RoleEvent::AccountDetached { account: id(3) }.into());
    add("full", RoleEvent::Deleted {}.into());
}

fn networks(add: &mut dyn FnMut(&str, Event)) {
    let l2 = |description, network_type, vlan| L2NetworkEvent::Created {
        zone: id(1),
        name: text("l2"),
        description,
        physical_interface: text("eth0"),
        network_type,
        vlan,
        v_switch_type: text("LinuxBridge"),
    };
    add("full", l2(some("d"), L2NetworkType::L2VlanNetwork, Some(10)).into());
    add("sparse", l2(None, L2NetworkType::L2NoVlanNetwork, None).into());
    add("full", L2NetworkEvent::Updated { name: some("l2"), description: some("d") }.into());
    add("full", L2NetworkEvent::AttachRequested { cluster: id(2), hosts: vec![id(8), id(9)] }.into());
    add("full", L2NetworkEvent::Attached { cluster: id(2) }.into());
    let failed = L2NetworkEvent::AttachFailed { cluster: id(2), code: text("L2.1000"), detail: text("no eth0") };
    add("full", failed.into());
    add("full", L2NetworkEvent::Detached { cluster: id(2) }.into());
    add("full", L2NetworkEvent::ProviderAttached { provider: id(10) }.into());
    add("full", L2NetworkEvent::ProviderDetached { provider: id(10) }.into());
    let changing = |network_type, vlan, hosts| L2NetworkEvent::VlanChangeRequested { network_type, vlan, hosts };
    add("full", changing(L2NetworkType::L2VlanNetwork, Some(20), vec![id(8), id(9)]).into());
    add("sparse", changing(L2NetworkType::L2NoVlanNetwork, None, vec![]).into());
    let changed = |network_type, vlan| L2NetworkEvent::VlanChanged { network_type, vlan };
    add("full", changed(L2NetworkType::L2VlanNetwork, Some(20)).into());
    add("sparse", changed(L2NetworkType::L2NoVlanNetwork, None).into());
    let failed = L2NetworkEvent::VlanChangeFailed { code: text("L2.1000"), detail: text("no eth0") };
    add("full", failed.into());
    add("full", L2NetworkEvent::Deleted {}.into());

    let l3 = |description, category, system, dns_domain| L3NetworkEvent::Created {
        zone: id(1),
        l2_network: id(0x23),
        name: text("l3"),
        description,
        category,
        system,
        dns_domain,
    };
    add("full", l3(some("d"), L3NetworkCategory::Private, false, some("a.test")).into());
    add("sparse", l3(None, L3NetworkCategory::Public, false, None).into());
    add("system", l3(None, L3NetworkCategory::System, true, None).into());
    let updated = |text: Option<&str>, category, system| L3NetworkEvent::Updated {
        name: text.map(str::to_string),
        description: text.map(str::to_string),
        dns_domain: text.map(str::to_string),
        category,
        system,
    };
    add("full", updated(Some("a"), Some(L3NetworkCategory::Private), Some(true)).into());
    add("sparse", updated(None, None, None).into());
    add("full", L3NetworkEvent::StateChanged { state: Enabled::Disabled }.into());
    add("full", L3NetworkEvent::DnsAdded { dns: IpAddr::V4(ip(53)) }.into());
    add("ipv6", L3NetworkEvent::DnsAdded { dns: "fd00::53".parse().unwrap() }.into());
    add("full", L3NetworkEvent::DnsRemoved { dns: IpAddr::V4(ip(53)) }.into());
    let prefix = "10.9.0.0/16".parse().unwrap();
    add("full", L3NetworkEvent::HostRouteAdded { prefix, nexthop: ip(7) }.into());
    add("full", L3NetworkEvent::HostRouteRemoved { prefix }.into());
    add("full", L3NetworkEvent::MtuChanged { mtu: 1400 }.into());
    add("full", L3NetworkEvent::IpamDisabled {}.into());
    let services = vec![NetworkServiceType::DHCP, NetworkServiceType::SNAT];
    add("full", L3NetworkEvent::ServicesAttached { provider: id(10), services: services.clone() }.into());
    add("full", L3NetworkEvent::ServicesDetached { provider: id(10), services }.into());
    add(
        "full",
        L3NetworkEvent::RangeReserved { reserved_range: id(0x27), start: ip(3).into(), end: ip(9).into() }.into(),
    );
    let (start, end) = (ip6(3).into(), ip6(9).into());
    add("ipv6", L3NetworkEvent::RangeReserved { reserved_range: id(0x27), start, end }.into());
    add("full", L3NetworkEvent::RangeUnreserved { reserved_range: id(0x27) }.into());
    let address = NicAddress {
        ip: ip(2).into(),
        prefix_length: 24,
        gateway: ip(1).into(),
        ip_range: id(0x24),
        used_ip: id(0x25),
    };
    add("full", L3NetworkEvent::DhcpServerChanged { address: Some(address) }.into());
    add("sparse", L3NetworkEvent::DhcpServerChanged { address: None }.into());
    add("full", L3NetworkEvent::Deleted {}.into());

    let range = |description, range_type| IpRangeEvent::Created {
        l3_network: id(0x22),
        l2_network: id(0x23),
        name: text("r"),
        description,
        range_type,
        start: ip(10),
        end: ip(200),
        netmask: MASK,
        gateway: ip(1),
    };
    add("full", range(some("d"), IpRangeType::Normal).into());
    add("pool", range(None, IpRangeType::AddressPool).into());
    add("full", IpRangeEvent::Updated { name: some("r"), description: some("d") }.into());
    let (l3_network, used_ip, nic, owner) = (id(0x22), id(0x25), id(0x21), id(0x26));
    add("full", IpRangeEvent::AddressAllocated { l3_network, ip: ip(5).into(), used_ip, nic, owner }.into());
    add("full", IpRangeEvent::AddressReleased { l3_network, ip: ip(5).into(), used_ip, nic, owner }.into());
    add("full", IpRangeEvent::AddressesReserved { l3_network, first: ip(5).into(), last: ip(9).into() }.into());
    add("full", IpRangeEvent::AddressesUnreserved { l3_network, first: ip(5).into(), last: ip(9).into() }.into());
    let (vip, none) = (id(0x28), id(0));
    let held = IpRangeEvent::AddressAllocated { l3_network, ip: ip(6).into(), used_ip, nic: none, owner: vip };
    add("vip", held.into());
    let given_up = IpRangeEvent::AddressReleased { l3_network, ip: ip(6).into(), used_ip, nic: none, owner: vip };
    add("vip", given_up.into());
    add("full", IpRangeEvent::CursorMoved { next: ip(6).into(), chosen_at: 7 }.into());
    let ipv6 = |description, address_mode| IpRangeEvent::Ipv6Created {
        l3_network,
        l2_network: id(0x23),
        name: text("r"),
        description,
        range_type: IpRangeType::Normal,
        start: ip6(0x10),
        end: ip6(0x20),
        prefix_length: 64,
        gateway: ip6(1),
        address_mode,
    };
    add("full", ipv6(some("d"), AddressMode::Stateful).into());
    add("slaac", ipv6(None, AddressMode::Slaac).into());
    add("stateless", ipv6(None, AddressMode::Stateless).into());
    add("ipv6", IpRangeEvent::AddressAllocated { l3_network, ip: ip6(5).into(), used_ip, nic, owner }.into());
    add("ipv6", IpRangeEvent::AddressReleased { l3_network, ip: ip6(5).into(), used_ip, nic, owner }.into());
    let (first, last) = (ip6(5).into(), ip6(9).into());
    add("ipv6", IpRangeEvent::AddressesReserved { l3_network, first, last }.into());
    add("ipv6", IpRangeEvent::AddressesUnreserved { l3_network, first, last }.into());
    add("full", IpRangeEvent::Deleted { l3_network }.into());

    add("full", MacBlockEvent::Allocated { mac: MAC, nic }.into());
    add("full", MacBlockEvent::Released { mac: MAC, nic }.into());

    use NetworkServiceType::*;
    let provider = NetworkServiceProviderEvent::Created {
        name: text("p"),
        description: some("d"),
        provider_type: text("VirtualRouter"),
        services: vec![
            DHCP,
            DNS,
            SNAT,
            PortForwarding,
            Eip,
            LoadBalancer,
            SecurityGroup,
            Userdata,
            CentralizedDNS,
            HostRoute,
            IPsec,
            VRouterRoute,
            VipQos,
        ],
    };
    add("full", provider.into());
}

fn machines(add: &mut dyn FnMut(&str, Event)) {
    let l3_networks = || vec![id(0x22), id(0x27)];
    let vm = |description, image, offering, nics| VmInstanceEvent::Created {
        zone: id(1),
        cluster: id(2),
        host: id(8),
        hypervisor_type: HypervisorType::KVM,
        name: text("vm"),
        description,
        hostname: text("vm"),
        image,
        offering,
        default_l3_network: id(0x22),
        nics,
    };
    add("full", vm(some("d"), Some(id(5)), Some(id(11)), vec![nic()]).into());
    add("sparse", vm(None, None, None, vec![]).into());
    add("full", VmInstanceEvent::Updated { name: some("vm"), description: some("d") }.into());
    let start = VmInstanceEvent::StartRequested { host: id(8), cluster: id(2), l3_networks: l3_networks() };
    add("full", start.into());
    add("full", VmInstanceEvent::StopRequested { l3_networks: l3_networks() }.into());
    add("full", VmInstanceEvent::RebootRequested { l3_networks: l3_networks() }.into());
    add("full", VmInstanceEvent::DestroyRequested { l3_networks: l3_networks() }.into());
    add("full", VmInstanceEvent::Started { host: id(8) }.into());
    add("full", VmInstanceEvent::Stopped { l3_networks: l3_networks() }.into());
    add("full", VmInstanceEvent::Destroyed { l3_networks: l3_networks(), recoverable: false }.into());
    let (nic_id, l3_network) = (id(33), id(34));
    add("full", VmInstanceEvent::NicAddressesChanged { nic: nic_id, l3_network, addresses: both() }.into());
    let detached =
        |default_l3_network| VmInstanceEvent::NicDetached { nic: id(33), l3_network: id(34), default_l3_network };
    add("full", detached(Some(id(35))).into());
    add("last", detached(None).into());
    add("recoverable", VmInstanceEvent::Destroyed { l3_networks: l3_networks(), recoverable: true }.into());
    add("full", VmInstanceEvent::Expunged {}.into());
    add("full", VmInstanceEvent::Paused {}.into());
    add("full", VmInstanceEvent::Resumed {}.into());
    let recovered = |image, offering, default_l3_network, nics| VmInstanceEvent::Recovered {
        host: id(8),
        name: text("vm"),
        hostname: text("vm"),
        image,
        offering,
        default_l3_network,
        nics,
    };
    add("full", recovered(Some(id(5)), Some(id(11)), Some(id(0x22)), vec![nic()]).into());
    add("sparse", recovered(None, None, None, vec![]).into());
    let (hostname, default_l3_network) = (text("vm"), id(0x22));
    add("full", VmInstanceEvent::NicAttached { nic: nic(), hostname, running: true, default_l3_network }.into());
    let hostname = text("vm");
    let changed =
        VmInstanceEvent::NicChanged { nic: nic(), from: id(35), hostname, running: false, default_l3_network };
    add("full", changed.into());
    add("full", VmInstanceEvent::NicStateChanged { nic: id(33), state: Enabled::Disabled }.into());
    add("full", VmInstanceEvent::HostnameChanged { hostname: text("db"), l3_networks: l3_networks() }.into());
    let userdata = |userdata| VmInstanceEvent::UserdataChanged { userdata, l3_networks: l3_networks() };
    add("full", userdata(some("IyEvYmluL3NoCg==")).into());
    add("sparse", userdata(None).into());
    let password = |password| VmInstanceEvent::PasswordChanged { password, l3_networks: l3_networks() };
    add("full", password(Some(SealedSecret::new([7; 40]))).into());
    add("sparse", password(None).into());
    let failed = |operation| VmInstanceEvent::OperationFailed {
        operation,
        code: text("VM.1000"),
        detail: text("why"),
        l3_networks: l3_networks(),
    };
    add("create", failed(VmOperation::Create).into());
    add("start", failed(VmOperation::Start).into());
    add("stop", failed(VmOperation::Stop).into());
    add("reboot", failed(VmOperation::Reboot).into());
    add("destroy", failed(VmOperation::Destroy).into());
}

fn deviation() -> Deviation {
    Deviation { section: text("eips"), item: text("element"), expected: text("present"), observed: text("absent") }
}

fn vips(add: &mut dyn FnMut(&str, Event)) {
    let l3_network = id(0x22);
    let vip = |description, address| VipEvent::Created { name: text("vip"), description, l3_network, address };
    let [v4, v6] = both()[..] else { panic!("an address of each family") };
    add("full", vip(some("d"), v4).into());
    add("ipv6", vip(None, v6).into());
    add("full", VipEvent::Updated { name: some("vip"), description: some("d") }.into());
    add("sparse", VipEvent::Updated { name: None, description: None }.into());
    add("full", VipEvent::StateChanged { state: Enabled::Disabled }.into());
    add("full", VipEvent::Deleted { l3_network }.into());
    let limits = QosLimits { inbound: Some(131_072), outbound: Some(32_212_254_720) };
    add("full", VipEvent::QosSet { l3_network, port: Some(80), limits }.into());
    let inbound = QosLimits { outbound: None, ..limits };
    add("sparse", VipEvent::QosSet { l3_network, port: None, limits: inbound }.into());
    add("full", VipEvent::QosDeleted { l3_network, port: Some(80) }.into());
    add("sparse", VipEvent::QosDeleted { l3_network, port: None }.into());

    let at = VipPlace { vip: id(0x29), l3_network, ip: ip(9).into(), prefix_length: 24 };
    let six = VipPlace { ip: ip6(9).into(), prefix_length: 64, ..at };
    let nic = ServedNic { nic: id(33), vm: id(0x26), l3_network: id(34) };
    let (guest_network, name) = (Some(nic.l3_network), text("e"));
    add("full", EipEvent::Created { name: name.clone(), description: some("d"), at }.into());
    add("ipv6", EipEvent::Created { name: name.clone(), description: None, at: six }.into());
    add("full", EipEvent::Updated { name: some("e"), description: some("d") }.into());
    add("full", EipEvent::StateChanged { state: Enabled::Disabled, guest_network }.into());
    add("sparse", EipEvent::StateChanged { state: Enabled::Enabled, guest_network: None }.into());
    add("full", EipEvent::Attached { at, to: nic }.into());
    add("full", EipEvent::Detached { at, from: nic }.into());
    add("full", EipEvent::Deleted { at, from: Some(nic) }.into());
    add("sparse", EipEvent::Deleted { at, from: None }.into());

    let ports = |protocol, allowed_cidr| ForwardedPorts {
        protocol,
        vip_start: 8000,
        vip_end: 8009,
        private_start: 80,
        private_end: 89,
        allowed_cidr,
    };
    let (tcp, udp) = (ports(PortProtocol::TCP, "10.9.0.0/16".parse().ok()), ports(PortProtocol::UDP, None));
    let created = |description, ports| PortForwardingEvent::Created { name: text("p"), description, at, ports };
    add("full", created(some("d"), tcp).into());
    add("sparse", created(None, udp).into());
    add("full", PortForwardingEvent::Updated { name: some("p"), description: some("d") }.into());
    add("full", PortForwardingEvent::StateChanged { state: Enabled::Disabled, guest_network }.into());
    add("sparse", PortForwardingEvent::StateChanged { state: Enabled::Enabled, guest_network: None }.into());
    add("full", PortForwardingEvent::Attached { at, to: nic, ports: tcp }.into());
    add("full", PortForwardingEvent::Detached { at, from: nic }.into());
    add("full", PortForwardingEvent::Deleted { at, from: Some(nic) }.into());
    add("sparse", PortForwardingEvent::Deleted { at, from: None }.into());
}

/// What had one address of one family before is a nic with that address now.
#[test]
fn a_nic_of_ipv4_only_is_read_as_one_with_its_address() {
    let lines = lines();
    for (kind, stream, schema) in
        [("vm_instance.Created", StreamKind::VmInstance, 2), ("router.Created", StreamKind::Router, 1)]
    {
        let payload = unhex(&lines[&(kind.to_string(), schema, "full".to_string())]);
        let nics = match Event::decode(stream, schema, &payload).unwrap() {
            Event::VmInstance(VmInstanceEvent::Created { nics, .. }) => nics,
            Event::Router(RouterEvent::Created { nics, .. }) => nics,
            other => panic!("{other:?}"),
        };
        assert_eq!(nics, [nic()], "{kind}");
    }
}
