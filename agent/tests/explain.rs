//! What is explained is what happens: random packets through random documents of a router and of a host, on the real kernel.
//! Who gets a packet, from whom, whether it is answered, and whether it is refused is as `explain` says. Needs root.
//!
//! 2,000 packets in each run, 10,000 with `SWITCHBACK_FULL=1`. `EXPLAIN_SEED` chooses another seed than the one of every run;
//! a failure prints its own.

mod common;
mod probes;
mod site;

use common::mac;
use ipnet::{IpNet, Ipv4Net};
use probes::{Expected, Places, Probe, Rng};
use site::Site;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};
use switchback_appliance::{
    explain::{Beginning, Candidate, End, Explanation, Packet, PacketProtocol, Scene, Service, Verdict, explain},
    *,
};
use switchback_events::*;

/// Where servers listen in every place.
pub const PORTS: [u16; 8] = [22, 8080, 5000, 5001, 5002, 5003, 5004, 5005];
/// A port of VMs where nothing listens.
const CLOSED: u16 = 4999;
/// How long haproxy may take to find out which servers are well.
const SETTLES: Duration = Duration::from_secs(30);
/// Where load balancers listen; at the last one by IPv6.
const UDP_LISTENERS: [u16; 3] = [6000, 6001, 6002];
const TCP_LISTENERS: [u16; 3] = [6100, 6101, 6102];
const PACKETS: usize = 2_000;
const PACKETS_FULL: usize = 10_000;
/// Packets through each document.
const OF_EACH: usize = 100;
const PUBLIC: [u8; 4] = [203, 0, 113, 1];
/// Machines of the internet: the gateway, a neighbour, and two that are far away.
const INTERNET: [[u8; 4]; 4] = [[203, 0, 113, 254], [203, 0, 113, 200], [198, 51, 100, 7], [192, 0, 2, 9]];
/// The router's addresses of IPv6: to the public, and to the guests.
const OF_ROUTER6: [&str; 3] = ["2001:db8::1", "fd00:1::1", "fd00:2::1"];
const MANAGER: [u8; 4] = [172, 20, 0, 254];
/// VMs 1 to 4 are on the first network, 5 and 6 on the second.
const VMS: u16 = 6;

fn v4(ip: [u8; 4]) -> IpAddr {
    Ipv4Addr::from(ip).into()
}

fn vm_address(number: u16) -> [u8; 4] {
    if number <= 4 { [10, 0, 0, 10 + number as u8] } else { [10, 1, 0, 10 + number as u8] }
}

fn v6(ip: &str) -> IpAddr {
    ip.parse::<Ipv6Addr>().unwrap().into()
}

/// What a VM has of either family.
pub fn vm_addresses(number: u16) -> [IpAddr; 2] {
    [v4(vm_address(number)), v6(&format!("fd00:{}::1{number}", if number <= 4 { 1 } else { 2 }))]
}

fn vm_of(number: u16, v4: bool) -> IpAddr {
    vm_addresses(number)[usize::from(!v4)]
}

/// The machines of the internet, of one family.
pub fn internet(of_v4: bool) -> [IpAddr; 4] {
    if of_v4 { INTERNET.map(v4) } else { ["2001:db8::fe", "2001:db8::c8", "2001:db8:7::7", "2001:db8:9::9"].map(v6) }
}

/// All addresses that the router ever has: an answer comes from the one that was asked.
pub fn of_router() -> Vec<IpAddr> {
    let vips = [1, 50, 51, 52, 53, 55, 56, 60, 61].map(|last| v4([203, 0, 113, last]));
    let own = [[10, 0, 0, 1], [10, 1, 0, 1], [172, 20, 0, 2]].map(v4);
    vips.into_iter().chain(own).chain(OF_ROUTER6.map(v6)).collect()
}

fn vm_interface(number: u16) -> &'static str {
    if number <= 4 { "eth1" } else { "eth3" }
}

fn second() -> L3NetworkId {
    L3NetworkId(Id::of_name("second"))
}

/// The site's document with one network more, and what never changes: who has which address.
fn base(site: &Site) -> RouterConfig {
    let mut config = common::router(site.router.router, 4);
    let sections = &mut config.sections;
    for nic in &mut sections.interfaces.nics {
        nic.l3_network = if nic.name == "eth1" { common::guests() } else { nic.l3_network };
    }
    sections.interfaces.nics.push(RouterNic {
        name: "eth3".to_string(),
        mac: mac(13),
        addresses: vec!["10.1.0.1/24".parse().unwrap()],
        meta_data: Nic::GUEST,
        l3_network: second(),
        mtu: 1500,
    });
    for (name, ip) in ["eth0", "eth1", "eth3"].into_iter().zip(OF_ROUTER6) {
        let nic = sections.interfaces.nics.iter_mut().find(|nic| nic.name == name).unwrap();
        nic.addresses.push(IpNet::new(v6(ip), 64).unwrap());
    }
    sections.interfaces.default_gateway6 = Some("2001:db8::fe".parse().unwrap());
    let first = sections.dhcp.networks[0].clone();
    let gateway = Ipv4Addr::new(10, 1, 0, 1);
    sections.dhcp.networks.push(DhcpNetwork {
        interface: "eth3".to_string(),
        l3_network: second(),
        subnet: "10.1.0.0/24".parse().unwrap(),
        gateway,
        server: gateway,
        dns_servers: vec![gateway],
        ..first
    });
    for number in 5..=VMS {
        sections.dhcp.hosts.push(DhcpHost {
            ip: Some(vm_address(number).into()),
            ip6: None,
            mac: mac(1000 + number),
            hostname: format!("vm{number}"),
            l3_network: second(),
        });
    }
    sections.dns.interfaces.push("eth3".to_string());
    sections.firewall.input =
        input(&[("eth1", Protocol::Tcp, 53), ("eth1", Protocol::Udp, 53), ("eth1", Protocol::Udp, 67)]);
    let more = [("eth3", Protocol::Tcp, 53), ("eth3", Protocol::Udp, 53), ("eth3", Protocol::Udp, 67)];
    sections.firewall.input.extend(input(&more));
    sections.firewall.input.extend(input(&[("eth2", Protocol::Tcp, common::PORT)]));
    config
}

fn input(rules: &[(&str, Protocol, u16)]) -> Vec<InputRule> {
    let rule = |(interface, protocol, port): &(&str, Protocol, u16)| InputRule {
        interface: interface.to_string(),
        protocol: *protocol,
        port: *port,
    };
    rules.iter().map(rule).collect()
}

/// The host's document with the second network, its interface of the router, and its VMs.
fn widen(site: &mut Site) {
    site.want_vms(VMS);
    let router = site.router.router;
    let sections = &mut site.host.sections;
    let plug = |name: &str, internal: &str, last: u16| PlugConfig {
        name: name.to_string(),
        internal_name: internal.to_string(),
        mac: mac(last),
        bridge: "br_eth1".to_string(),
        mtu: 1500,
        up: true,
        lease: 0,
        lease6: None,
    };
    sections.appliances.get_mut(&router).unwrap().plugs.push(plug("eth3", "vr3", 13));
    for vm in sections.vms.values_mut() {
        let number: u16 = vm.name[2..].parse().unwrap();
        if number > 4 {
            vm.plugs = vec![plug("eth0", &format!("vm{number}"), 1000 + number)];
        }
    }
}

/// The nics of the VMs as `explain` knows them.
fn ends() -> Vec<End> {
    let end = |number: u16| End {
        vm: VmInstanceId(Id::of_name(&format!("vm{number}"))),
        nic: NicId(Id::of_name(&format!("nic{number}"))),
        l3_network: if number <= 4 { common::guests() } else { second() },
        internal_name: format!("vm{number}"),
        addresses: vm_addresses(number).into(),
        runs: true,
        carries: true,
        default: true,
    };
    (1..=VMS).map(end).collect()
}

/// Some document of the router: roles, ways, services.
fn router_document(rng: &mut Rng, base: &RouterConfig, at: u64) -> RouterConfig {
    let mut config = base.clone();
    config.revision = at;
    let sections = &mut config.sections;
    for nic in &mut sections.interfaces.nics {
        nic.meta_data = match nic.name.as_str() {
            "eth2" if rng.one_in(5) => Nic::MANAGEMENT | Nic::ADDITIONAL_PUBLIC,
            "eth1" | "eth3" if rng.one_in(8) => Nic::GUEST | Nic::PUBLIC,
            _ => nic.meta_data,
        };
    }
    if rng.one_in(8) {
        sections.interfaces.default_gateway = None;
    }
    if rng.one_in(8) {
        sections.interfaces.default_gateway6 = None;
    }
    sections.snat.rules.clear();
    sections.firewall.forward.clear();
    for (interface, subnet) in [("eth1", "10.0.0.0/16"), ("eth3", "10.1.0.0/24")] {
        if !rng.one_in(4) {
            let source: Ipv4Net = subnet.parse().unwrap();
            sections.snat.rules.push(SnatRule { source, interface: "eth0".to_string(), public_ip: PUBLIC.into() });
        }
        if !rng.one_in(4) {
            sections.firewall.forward.push(ForwardRule { from: interface.to_string(), to: "eth0".to_string() });
        }
    }
    for (from, to) in [("eth1", "eth3"), ("eth3", "eth1"), ("eth0", "eth1"), ("eth2", "eth3"), ("eth1", "eth2")] {
        if rng.one_in(6) {
            sections.firewall.forward.push(ForwardRule { from: from.to_string(), to: to.to_string() });
        }
    }
    for interface in ["eth0", "eth1", "eth2", "eth3"] {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            if rng.one_in(3) {
                sections.firewall.input.extend(input(&[(interface, protocol, PORTS[rng.below(PORTS.len())])]));
            }
        }
    }
    services(rng, sections);
    config
}

fn services(rng: &mut Rng, sections: &mut Sections) {
    let vip = |last: u8| VipAddress {
        vip: VipId(Id::of_name(&last.to_string())),
        interface: "eth0".to_string(),
        address: IpNet::new(v4([203, 0, 113, last]), 24).unwrap(),
    };
    let snat_inbound = (rng.one_in(5), rng.one_in(5));
    let mut vips = Vec::new();
    if !rng.one_in(6) {
        for last in 50..54u8 {
            let vm = 1 + rng.below(usize::from(VMS)) as u16;
            if rng.one_in(3) {
                continue;
            }
            vips.push(vip(last));
            sections.eips.eips.push(switchback_appliance::Eip {
                eip: EipId(Id::of_name(&last.to_string())),
                vip_address: [203, 0, 113, last].into(),
                public_interface: "eth0".to_string(),
                guest_address: vm_address(vm).into(),
                guest_interface: vm_interface(vm).to_string(),
                snat_inbound_traffic: snat_inbound.0,
            });
        }
    }
    let cidrs = ["203.0.113.254/32", "198.51.100.0/24", "203.0.113.0/25", "10.0.0.0/16", "0.0.0.0/0"];
    for (last, rules) in [(1u8, 2), (60, 3), (61, 2)] {
        if rng.one_in(4) {
            continue;
        }
        if last != 1 {
            vips.push(vip(last));
        }
        for number in 0..rules {
            let vm = 1 + rng.below(usize::from(VMS)) as u16;
            let size = if rng.one_in(2) { 1 } else { 2 + rng.below(3) as u16 };
            let private = if size == 1 { PORTS[rng.below(PORTS.len())] } else { 5000 + rng.below(3) as u16 };
            // Those that keep their ports are done by other rules than those that shift.
            let keeps = number == 0 && private >= 5000;
            let start = if keeps { private } else { 7000 + 100 * number as u16 + rng.below(50) as u16 };
            let protocol = if rng.one_in(2) { Protocol::Tcp } else { Protocol::Udp };
            sections.port_forwarding.rules.push(PortForwardingRule {
                rule: PortForwardingRuleId(Id::of_name(&format!("{last} {number}"))),
                vip_address: [203, 0, 113, last].into(),
                public_interface: "eth0".to_string(),
                protocol,
                vip_port_start: start,
                vip_port_end: start + size - 1,
                guest_address: vm_address(vm).into(),
                guest_interface: vm_interface(vm).to_string(),
                private_port_start: private,
                private_port_end: private + size - 1,
                allowed_cidr: rng.one_in(2).then(|| cidrs[rng.below(cidrs.len())].parse().unwrap()),
                snat_inbound_traffic: snat_inbound.1,
            });
        }
    }
    let (udp, tcp) = (rng.one_in(3), rng.one_in(3));
    if udp || tcp {
        vips.push(vip(56));
    }
    for (number, port) in UDP_LISTENERS.into_iter().enumerate().filter(|_| udp) {
        balanced(rng, sections, port, ListenerProtocol::Udp, number < 2);
    }
    for (number, port) in TCP_LISTENERS.into_iter().enumerate().filter(|_| tcp) {
        balanced(rng, sections, port, ListenerProtocol::Tcp, number < 2);
    }
    sections.vips.addresses = vips;
    if rng.one_in(2) {
        let client = |number: u16| MetadataClient {
            ip: vm_address(number).into(),
            mac: mac(1000 + number),
            vm: VmInstanceId(Id::of_name(&format!("vm{number}"))),
            hostname: format!("vm{number}"),
            domain: None,
            userdata: None,
            password: None,
        };
        sections.metadata.clients = (1..=VMS).map(client).collect();
        sections
            .firewall
            .input
            .extend(input(&[("eth1", Protocol::Tcp, METADATA_PORT), ("eth3", Protocol::Tcp, METADATA_PORT)]));
    }
    sections.firewall.input.sort();
    sections.firewall.input.dedup();
    sections.firewall.forward.sort();
}

fn balanced(rng: &mut Rng, sections: &mut Sections, port: u16, protocol: ListenerProtocol, of_v4: bool) {
    let mut servers = BTreeMap::new();
    // Health checks find out that nobody listens there; those of UDP take their time.
    let closed = protocol == ListenerProtocol::Tcp;
    for _ in 0..1 + rng.below(3) {
        let vm = 1 + rng.below(usize::from(VMS)) as u16;
        let port = if closed && rng.one_in(3) { CLOSED } else { 5000 + rng.below(6) as u16 };
        let weight = rng.below(2) as u8 * 10;
        servers.insert((vm, port), BackendServer { ip: vm_of(vm, of_v4), port, weight });
    }
    let mut listener = common::listener(port, protocol, servers.into_values().collect());
    // A server that is well is not taken for unwell where others have the processor.
    listener.health.timeout = 3;
    // There are no VIPs of IPv6 that have services.
    listener.addresses = vec![match (of_v4, rng.one_in(2)) {
        (true, true) => v4(PUBLIC),
        (true, false) => v4([203, 0, 113, 56]),
        (false, _) => v6(OF_ROUTER6[0]),
    }];
    listener.algorithm = match rng.below(4) {
        0 => BalancerAlgorithm::Source,
        3 if closed => BalancerAlgorithm::LeastConn,
        1 => BalancerAlgorithm::WeightRoundRobin,
        _ => BalancerAlgorithm::RoundRobin,
    };
    let sources = if of_v4 { ["198.51.100.0/24", "10.0.0.0/16"] } else { ["2001:db8:7::/48", "fd00:1::/64"] };
    let sources = sources.map(|net| net.parse().unwrap()).into();
    listener.access = rng.one_in(3).then(|| Access { allow: rng.one_in(2), sources });
    sections.load_balancer.listeners.push(listener);
}

/// Some filters at the nics of the VMs.
fn filters(rng: &mut Rng, ends: &[End]) -> SecurityConfig {
    let mut config = SecurityConfig::default();
    if rng.one_in(3) {
        return config;
    }
    let group = |number: usize| SecurityGroupId(Id::of_name(&format!("group {number}")));
    let policy = |allow| if allow { NicPolicy::ALLOW } else { NicPolicy::DENY };
    for (at, end) in ends.iter().enumerate() {
        let (clean, grouped) = (rng.one_in(2), rng.one_in(2));
        if !clean && !grouped {
            continue;
        }
        let groups: BTreeSet<SecurityGroupId> = (0..1 + rng.below(2)).map(|_| group(rng.below(3))).collect();
        let filter = NicFilter {
            bridge: if at < 4 { "br_eth1_10".to_string() } else { "br_eth1".to_string() },
            mac: mac(1001 + at as u16),
            addresses: end.addresses.iter().copied().collect(),
            clean,
            groups: if grouped { groups.into_iter().collect() } else { vec![] },
            ingress: policy(rng.one_in(3)),
            egress: policy(!rng.one_in(4)),
        };
        config.nics.insert(end.internal_name.clone(), filter);
    }
    let spans = ["10.0.0.0/16", "10.0.0.1", "203.0.113.0/24", "10.0.0.11-10.0.0.12", "198.51.100.7"];
    let spans6 = ["fd00:1::/64", "fd00:1::1", "2001:db8::/64", "fd00:1::10/124", "2001:db8:7::7"];
    for number in 0..3 {
        let mut rules = || -> Vec<RuleConfig> {
            let mut rule = |at: usize, ip_version: u8| RuleConfig {
                rule: SecurityGroupRuleId(Id::of_name(&format!("{number} {at}"))),
                ip_version,
                protocol: [
                    RuleProtocol::TCP,
                    RuleProtocol::UDP,
                    RuleProtocol::UDP,
                    RuleProtocol::ICMP,
                    RuleProtocol::ALL,
                ][rng.below(5)],
                remote_group: rng.one_in(4).then(|| group(rng.below(3))),
                addresses: if rng.one_in(2) {
                    vec![if ip_version == 4 { spans } else { spans6 }[rng.below(5)].parse().unwrap()]
                } else {
                    vec![]
                },
                ports: vec![],
                action: if rng.one_in(4) { RuleAction::DROP } else { RuleAction::ACCEPT },
            };
            let mut all: Vec<RuleConfig> = (0..5).map(|at| rule(at, if at < 3 { 4 } else { 6 })).collect();
            for rule in &mut all {
                if matches!(rule.protocol, RuleProtocol::TCP | RuleProtocol::UDP) && rng.one_in(2) {
                    rule.ports = vec!["5000-5003".parse().unwrap(), "22".parse().unwrap()];
                }
                if rule.remote_group.is_some() {
                    rule.addresses.clear();
                }
            }
            all
        };
        config.groups.insert(group(number), GroupRules { ingress: rules(), egress: rules() });
        let has = |end: &&End| {
            config.nics.get(&end.internal_name).is_some_and(|filter| filter.groups.contains(&group(number)))
        };
        let members = ends.iter().filter(has).flat_map(|end| end.addresses.clone()).collect();
        config.members.insert(group(number), members);
    }
    config.groups.retain(|id, _| config.nics.values().any(|nic| nic.groups.contains(id)));
    config
}

/// Where packets may be sent to.
fn destination(rng: &mut Rng, sections: &Sections) -> IpAddr {
    if rng.one_in(4) {
        return destination6(rng);
    }
    let listeners = &sections.load_balancer.listeners;
    if !listeners.is_empty() && rng.one_in(6) {
        return listeners[rng.below(listeners.len())].addresses[0];
    }
    v4(match rng.below(10) {
        0..=3 => {
            let vips = &sections.vips.addresses;
            let any = [203, 0, 113, [50, 55, 56, 60, 61][rng.below(5)]];
            let one = (!vips.is_empty()).then(|| vips[rng.below(vips.len())].address.addr());
            match one {
                Some(IpAddr::V4(ip)) if !rng.one_in(8) => ip.octets(),
                _ => any,
            }
        }
        4 | 5 => vm_address(1 + rng.below(usize::from(VMS)) as u16),
        6 => [PUBLIC, [10, 0, 0, 1], [10, 1, 0, 1], [172, 20, 0, 2]][rng.below(4)],
        7 | 8 => INTERNET[rng.below(4)],
        _ => [[10, 0, 0, 200], [203, 0, 113, 99], [100, 64, 0, 1], MANAGER, [169, 254, 169, 254]][rng.below(5)],
    })
}

fn destination6(rng: &mut Rng) -> IpAddr {
    match rng.below(10) {
        0..=2 => v6(OF_ROUTER6[0]),
        3 | 4 => vm_of(1 + rng.below(usize::from(VMS)) as u16, false),
        5 | 6 => v6(OF_ROUTER6[1 + rng.below(2)]),
        7 | 8 => internet(false)[rng.below(4)],
        _ => v6(["fd00:1::200", "2001:db8::99", "fd00:9::1"][rng.below(3)]),
    }
}

fn port(rng: &mut Rng, sections: &Sections, to: IpAddr, protocol: PacketProtocol) -> u16 {
    let near = |rule: &&PortForwardingRule| rule.vip_address == to;
    let rules: Vec<&PortForwardingRule> = sections.port_forwarding.rules.iter().filter(near).collect();
    if !rules.is_empty() && !rng.one_in(5) {
        let rule = rules[rng.below(rules.len())];
        let span = rule.vip_port_end - rule.vip_port_start + 3;
        return rule.vip_port_start - 1 + rng.below(usize::from(span)) as u16;
    }
    let balances = [v4(PUBLIC), v4([203, 0, 113, 56]), v6(OF_ROUTER6[0])];
    if protocol != PacketProtocol::Icmp && balances.contains(&to) && rng.one_in(2) {
        let listeners = if protocol == PacketProtocol::Udp { UDP_LISTENERS } else { TCP_LISTENERS };
        return if to.is_ipv4() { listeners[rng.below(2)] } else { listeners[2] };
    }
    let known: Vec<u16> = PORTS.into_iter().chain([80, METADATA_PORT, 53]).collect();
    // The site has servers of its own in the internet.
    let of_router = if internet(to.is_ipv4()).contains(&to) { PORTS.len() } else { known.len() };
    known[rng.below(of_router)]
}

/// Some packet, with where it begins; the ends of the lab tell whether it is one that can be sent there.
fn packet(rng: &mut Rng, sections: &Sections, number: u16) -> (String, Beginning, Packet, bool) {
    loop {
        let protocol = match rng.below(20) {
            0..=2 => PacketProtocol::Icmp,
            3..=8 => PacketProtocol::Tcp,
            _ => PacketProtocol::Udp,
        };
        let to = destination(rng, sections);
        let (place, beginning, mut source) = match rng.below(20) {
            0..=10 => {
                let vm = 1 + rng.below(usize::from(VMS)) as u16;
                let nic = NicId(Id::of_name(&format!("nic{vm}")));
                (format!("vm{vm}"), Beginning::Nic(nic), vm_of(vm, to.is_ipv4()))
            }
            11..=16 => {
                ("net".to_string(), Beginning::Interface("eth0".to_string()), internet(to.is_ipv4())[rng.below(4)])
            }
            17 => ("mgmt".to_string(), Beginning::Interface("eth2".to_string()), v4(MANAGER)),
            _ => ("router".to_string(), Beginning::Router, v4([0; 4])),
        };
        let nobody = [v4([203, 0, 113, 99]), v4([100, 64, 0, 1]), v4(MANAGER), v6("2001:db8::99")];
        let own = match place.as_str() {
            "net" => internet(to.is_ipv4()).contains(&to) || nobody.contains(&to),
            // The network for management has no IPv6.
            "mgmt" => to == v4(MANAGER) || to.is_ipv6(),
            _ => to == source,
        };
        if own {
            continue;
        }
        let spoofed = protocol == PacketProtocol::Udp && beginning != Beginning::Router && rng.one_in(9);
        if spoofed {
            let others =
                [[10, 0, 0, 77], [10, 1, 0, 12], [10, 0, 0, 12], [8, 8, 8, 8], [203, 0, 113, 50], [172, 20, 0, 9]];
            let others6 = ["fd00:1::77", "fd00:2::12", "fd00:1::12", "2001:db8:bad::8", "2001:db8::77", "fd00:9::9"];
            let any = rng.below(6);
            source = if to.is_ipv4() { v4(others[any]) } else { v6(others6[any]) };
        }
        let filters = SecurityConfig::default();
        let scene = Scene { sections, ends: &[], filters: &filters };
        let source = match &beginning {
            Beginning::Router => scene.source_for(to).unwrap_or(if to.is_ipv4() { v4([0; 4]) } else { v6("::") }),
            _ => source,
        };
        let (source_port, destination_port) = match protocol {
            PacketProtocol::Icmp => (0, 0),
            PacketProtocol::Tcp => (0, port(rng, sections, to, protocol)),
            PacketProtocol::Udp => (10_000 + number, port(rng, sections, to, protocol)),
        };
        let packet = Packet { protocol, source, source_port, destination: to, destination_port };
        return (place, beginning, packet, spoofed);
    }
}

/// What `explain` says of a packet, as it is seen from outside.
fn expected(scene: &Scene<'_>, beginning: &Beginning, packet: Packet, spoofed: bool) -> (String, Vec<Expected>) {
    let said = explain(scene, beginning, packet);
    let told = said.steps.iter().map(|step| step.what.as_str()).collect::<Vec<_>>().join("\n    ");
    // What the router sends from its address for management goes by that network, unless it knows the other end.
    let far = [[198, 51, 100, 7], [192, 0, 2, 9]].map(v4).contains(&packet.source);
    let away = far && packet.destination == v4([172, 20, 0, 2]);
    let answered = !spoofed && !away && said.answer.as_ref().is_some_and(|answer| answer.lost.is_none());
    if let Some(balanced) = by_haproxy(scene, &said) {
        let kind = if balanced == [Expected::Closed] { "Closed" } else { "Balanced" };
        return (format!("{kind}\n    {told}"), balanced);
    }
    let mut ends: Vec<(Verdict, Packet)> =
        said.candidates.iter().map(|candidate| (candidate.verdict.clone(), candidate.packet)).collect();
    if ends.is_empty() {
        ends.push((said.verdict.clone(), said.ends));
    }
    let seen = |(verdict, ends): (Verdict, Packet)| {
        let to = SocketAddr::new(ends.destination, ends.destination_port);
        let from = SocketAddr::new(ends.source, ends.source_port);
        let serves = packet.protocol == PacketProtocol::Icmp || PORTS.contains(&ends.destination_port);
        // A machine takes nothing that claims to be from itself.
        let got = |place: String| match serves && (ends.source != ends.destination || !spoofed) {
            true => Expected::Got { place, to, from, answered },
            false => Expected::Anything,
        };
        match verdict {
            Verdict::Delivered { nic, .. } => {
                let end = scene.ends.iter().find(|end| end.nic == nic).unwrap();
                got(end.internal_name.clone())
            }
            Verdict::Forwarded { .. } => match ends.destination {
                ip if internet(ip.is_ipv4()).contains(&ip) => got("net".to_string()),
                ip if ip == v4(MANAGER) => got("mgmt".to_string()),
                _ => Expected::Nothing,
            },
            Verdict::Answered { service: Service::Closed | Service::Echo } => got("router".to_string()),
            Verdict::Answered { service: Service::Dhcp } => Expected::Anything,
            Verdict::Answered { service: Service::Dns } if packet.protocol == PacketProtocol::Udp => Expected::Anything,
            Verdict::Answered { .. } if said.answer.as_ref().is_some_and(|answer| answer.lost.is_some()) => {
                Expected::Nothing
            }
            Verdict::Answered { .. } => Expected::Connects,
            Verdict::Rejected if spoofed || away => Expected::Nothing,
            Verdict::Rejected => Expected::Refused,
            Verdict::Dropped | Verdict::Unreachable => Expected::Nothing,
        }
    };
    (format!("{:?}\n    {told}", said.verdict), ends.into_iter().map(seen).collect())
}

/// A server of a load balancer that is well: the router reaches it, and something listens there.
fn is_well(candidate: &Candidate) -> bool {
    matches!(candidate.verdict, Verdict::Delivered { .. }) && PORTS.contains(&candidate.port)
}

/// What is seen of a connection that haproxy takes: one of its servers that are well answers.
fn by_haproxy(scene: &Scene<'_>, said: &Explanation) -> Option<Vec<Expected>> {
    if said.steps.last()?.hook != "haproxy" {
        return None;
    }
    let got = |candidate: &Candidate| {
        let Verdict::Delivered { nic, .. } = candidate.verdict else { return None };
        let end = scene.ends.iter().find(|end| end.nic == nic)?;
        Some(Expected::Got {
            place: end.internal_name.clone(),
            to: SocketAddr::new(candidate.ip, candidate.port),
            // A port of its own.
            from: SocketAddr::new(candidate.packet.source, 0),
            answered: true,
        })
    };
    let well: Vec<Expected> = said.candidates.iter().filter(|candidate| is_well(candidate)).filter_map(got).collect();
    let near = |nic: &RouterNic| nic.addresses.iter().any(|net| net.contains(&said.packet.source));
    let interfaces = &scene.sections.interfaces;
    // There is no way back to it.
    if said.packet.source.is_ipv6() && interfaces.default_gateway6.is_none() && !interfaces.nics.iter().any(near) {
        return Some(vec![Expected::Nothing]);
    }
    Some(if well.is_empty() { vec![Expected::Closed] } else { well })
}

/// Waits until haproxy has found out which servers are well; answers where it finds it otherwise than explained.
fn health_settles(site: &Site, scene: &Scene<'_>) -> Result<(), String> {
    let mut wanted = BTreeMap::new();
    for listener in &scene.sections.load_balancer.listeners {
        if listener.protocol == ListenerProtocol::Udp {
            continue;
        }
        // Asked by a packet that its access list admits.
        let open = ListenerConfig { access: None, ..listener.clone() };
        let mut sections = scene.sections.clone();
        sections.load_balancer.listeners = vec![open];
        let packet = Packet {
            protocol: PacketProtocol::Tcp,
            source: listener.addresses[0],
            source_port: 0,
            destination: listener.addresses[0],
            destination_port: listener.port,
        };
        let said = explain(&Scene { sections: &sections, ..*scene }, &Beginning::Router, packet);
        for candidate in &said.candidates {
            let server = format!("{}-{}", candidate.ip.to_string().replace(':', "_"), candidate.port);
            wanted.insert((format!("servers-{}", listener.listener), server), is_well(candidate));
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let deadline = Instant::now() + SETTLES;
    loop {
        let table = haproxy_servers(&site.router_dir().join("haproxy/admin.sock"));
        let found: BTreeMap<_, _> = wanted.keys().map(|key| (key.clone(), table.get(key).copied().flatten())).collect();
        let differs = wanted.iter().any(|(key, well)| found[key] != Some(*well));
        if !differs {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("servers that are well: explained {wanted:?}, found {found:?}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether each server is well, by haproxy's own word; nothing of those that it has not asked yet.
fn haproxy_servers(socket: &Path) -> BTreeMap<(String, String), Option<bool>> {
    let mut table = String::new();
    if let Ok(mut stream) = UnixStream::connect(socket)
        && stream.write_all(b"show stat\n").is_ok()
    {
        let _ = stream.read_to_string(&mut table);
    }
    let mut lines = table.lines().map(|line| line.trim_start_matches("# ").split(',').collect::<Vec<_>>());
    let Some(names) = lines.next() else { return BTreeMap::new() };
    let at = |name: &str| names.iter().position(|own| *own == name).unwrap();
    let [backend, server, status, check] = ["pxname", "svname", "status", "check_status"].map(at);
    let rows = lines.filter(|row| row.len() > check);
    let well = |row: &[&str]| match row[check] {
        "" | "INI" => None,
        _ => Some(row[status].starts_with("UP")),
    };
    rows.map(|row| ((row[backend].to_string(), row[server].to_string()), well(&row))).collect()
}

/// Has the agents put the site's documents in place, again where one does not answer in time.
async fn put_in_place(site: &Site) {
    let deadline = Instant::now() + SETTLES;
    let again = |problem: AgentProblem| {
        let silent = problem.code == AgentProblemCode::Unreachable;
        assert!(silent && Instant::now() < deadline, "{problem:?}");
    };
    loop {
        match site.push_host().await {
            Ok(report) => {
                assert!(report.items.values().all(|item| item.ok), "{report:?}");
                break;
            }
            Err(problem) => again(problem),
        }
    }
    while let Err(problem) = site.push_router().await {
        again(problem);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_explained_is_what_happens_to_packets() {
    let full = std::env::var("SWITCHBACK_FULL").is_ok_and(|value| value == "1");
    let all = if full { PACKETS_FULL } else { PACKETS };
    let seed = std::env::var("EXPLAIN_SEED").map_or(20_261_122, |text| text.parse().unwrap());
    println!("EXPLAIN_SEED={seed}");
    let mut rng = Rng(seed);

    let mut site = Site::start("expl");
    let base = base(&site);
    site.router = base.clone();
    let identity = site.authority().issue("router", &["172.20.0.2".parse().unwrap()]).unwrap();
    switchback_agent::Agents::set_identity(&site.client, site.host_at(), site.router.router, identity).await.unwrap();
    widen(&mut site);
    put_in_place(&site).await;
    for number in 1..=VMS {
        let [a, b, c, d] = vm_address(number);
        site.wait_for_lease(number, &format!("{a}.{b}.{c}.{d}/{}", if number <= 4 { 16 } else { 24 }));
    }
    for number in 1..=VMS {
        let [_, ip] = vm_addresses(number);
        let net = if number <= 4 { 1 } else { 2 };
        assert!(site.vm_ok(number, &format!("ip -6 addr add {ip}/64 dev eth0 nodad")));
        assert!(site.vm_ok(number, &format!("ip -6 route add default via fd00:{net}::1")));
    }
    let ends = ends();
    let places = Places::new(&site, VMS);

    let (mut sent, mut verdicts, mut wrong) = (0, BTreeMap::<String, usize>::new(), Vec::new());
    let mut revision = 1;
    while sent < all {
        revision += 1;
        site.router = router_document(&mut rng, &base, revision);
        site.host.revision += 1;
        site.host.sections.security = filters(&mut rng, &ends);
        put_in_place(&site).await;
        let scene = Scene { sections: &site.router.sections, ends: &ends, filters: &site.host.sections.security };
        let mut probes = Vec::new();
        for number in sent..sent + OF_EACH {
            let (place, beginning, packet, spoofed) = packet(&mut rng, &site.router.sections, number as u16);
            let (told, expected) = expected(&scene, &beginning, packet, spoofed);
            let kind = told.split([' ', '\n']).next().unwrap_or_default().to_string();
            *verdicts.entry(kind).or_default() += 1;
            probes.push(Probe { number: number as u32, place, packet, spoofed, expected, told });
        }
        sent += OF_EACH;
        wrong.extend(health_settles(&site, &scene).err().map(|why| format!("document {revision}: {why}")));
        let disagreed = places.try_all(&probes);
        // Again, before it counts: a packet may be lost, and a check of a server's health.
        for probe in disagreed {
            let mut seen = None;
            for time in 1..=2 {
                let _ = health_settles(&site, &scene);
                seen = places.again(&probe, time);
                if seen.is_none() {
                    break;
                }
            }
            wrong.extend(seen.map(|seen| format!("document {revision}: {probe}\n  seen: {seen}")));
        }
        if !wrong.is_empty() {
            println!("{}", serde_json::to_string_pretty(&site.router.sections).unwrap());
            println!("{}", serde_json::to_string_pretty(&site.host.sections.security).unwrap());
            println!("{}", site.in_router("nft list ruleset; ip -br addr; ip route"));
            break;
        }
    }
    println!("{sent} packets through {} documents: {verdicts:?}", revision - 1);
    assert!(wrong.is_empty(), "EXPLAIN_SEED={seed}: {} of {sent} are otherwise:\n{}", wrong.len(), wrong.join("\n"));
    for (kind, part) in [
        ("Delivered", 50),
        ("Forwarded", 50),
        ("Answered", 50),
        ("Rejected", 50),
        ("Dropped", 50),
        ("Balanced", 1000),
        ("Closed", 2000),
    ] {
        assert!(verdicts.get(kind).is_some_and(|count| *count > sent / part), "{kind} is rare: {verdicts:?}");
    }
    site.host.sections.security = SecurityConfig::default();
    site.finish().await;
}
