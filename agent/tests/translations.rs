//! VIPs, EIPs and forwarded ports on the real kernel, with packets that really pass. The site of `kernel.rs`. Needs root.

mod common;
mod site;

use site::{
    Site, eventually,
    talk::{self, again, connect, serve, tcp, udp},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use switchback_agent::Agents;
use switchback_appliance::{Counter, Eip, PortForwardingRule, Protocol, VipAddress};
use switchback_events::{EipId, Id, PortForwardingRuleId, VipId};

const PUBLIC: &str = "203.0.113.1";
const INTERNET: &str = "203.0.113.254";

fn vip(last: u8) -> VipAddress {
    let address = format!("203.0.113.{last}/24").parse().unwrap();
    VipAddress { vip: VipId(Id::of_name(&last.to_string())), interface: "eth0".to_string(), address }
}

fn eip(last: u8, vm: u8) -> Eip {
    Eip {
        eip: EipId(Id::of_name(&last.to_string())),
        vip_address: [203, 0, 113, last].into(),
        public_interface: "eth0".to_string(),
        guest_address: [10, 0, 0, 10 + vm].into(),
        guest_interface: "eth1".to_string(),
        snat_inbound_traffic: false,
    }
}

fn rule(vip: u8, protocol: Protocol, ports: (u16, u16), vm: u8, private: u16) -> PortForwardingRule {
    PortForwardingRule {
        rule: PortForwardingRuleId(Id::of_name(&format!("{vip} {protocol:?} {ports:?}"))),
        vip_address: [203, 0, 113, vip].into(),
        public_interface: "eth0".to_string(),
        protocol,
        vip_port_start: ports.0,
        vip_port_end: ports.1,
        guest_address: [10, 0, 0, 10 + vm].into(),
        guest_interface: "eth1".to_string(),
        private_port_start: private,
        private_port_end: private + (ports.1 - ports.0),
        allowed_cidr: None,
        snat_inbound_traffic: false,
    }
}

struct Places {
    net: PathBuf,
    mgmt: PathBuf,
    router: PathBuf,
    vm: [PathBuf; 2],
}

/// Two VMs with servers on some ports.
async fn start(name: &str) -> (Site, Places) {
    let mut site = Site::start(name);
    site.bring_up(2).await;
    site.wait_for_lease(1, "10.0.0.11/16");
    site.wait_for_lease(2, "10.0.0.12/16");
    let places = Places {
        net: site.place("net"),
        mgmt: site.place("mgmt"),
        router: site.router_place(),
        vm: [site.vm_place(1), site.vm_place(2)],
    };
    for port in [22, 8000, 8005, 9000] {
        serve(places.vm[0].clone(), "vm1", port);
        serve(places.vm[1].clone(), "vm2", port);
    }
    (site, places)
}

async fn push(site: &mut Site) -> switchback_appliance::ApplyReport {
    site.router.revision += 1;
    let report = site.push_router().await.unwrap();
    let drift = site.client.drift(site.router_at()).await.unwrap();
    assert!(drift.items.is_empty(), "{drift:?}");
    report
}

fn says(text: &str) -> Option<String> {
    Some(text.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eip_is_its_guest_for_everybody() {
    let (mut site, at) = start("eip").await;
    site.router.sections.vips.addresses = vec![vip(50)];
    site.router.sections.eips.eips = vec![eip(50, 1)];
    let report = push(&mut site).await;
    assert!(report.sections["vips"].changed && report.sections["eips"].changed, "{report:?}");

    // In: the guest sees who asks. Out: with the EIP; its neighbour with the router's address.
    assert_eq!(tcp(&at.net, "203.0.113.50:22"), says(&format!("vm1 {INTERNET}")));
    assert_eq!(udp(&at.net, "203.0.113.50:9000"), says(&format!("vm1 {INTERNET}")));
    assert!(site.in_net("ping -c 1 -W 1 203.0.113.50"));
    assert_eq!(tcp(&at.vm[0], "203.0.113.254:80"), says("peer=203.0.113.50"));
    assert_eq!(tcp(&at.vm[1], "203.0.113.254:80"), says("peer=203.0.113.1"));
    // The ways back: another VM, the guest itself, the router.
    assert_eq!(tcp(&at.vm[1], "203.0.113.50:22"), says("vm1 10.0.0.1"));
    assert_eq!(udp(&at.vm[1], "203.0.113.50:22"), says("vm1 10.0.0.1"));
    assert_eq!(tcp(&at.vm[0], "203.0.113.50:22"), says("vm1 203.0.113.50"));
    assert!(tcp(&at.router, "203.0.113.50:22").is_some_and(|said| said.starts_with("vm1 ")));
    // Not from the management network, and not the router's own address.
    assert!(site.in_mgmt("ip route replace 203.0.113.0/24 via 172.20.0.2"));
    assert_eq!(tcp(&at.mgmt, "203.0.113.50:22"), None);
    assert_eq!(tcp(&at.net, &format!("{PUBLIC}:22")), None);

    // Two EIPs see each other by their EIPs.
    site.router.sections.vips.addresses.push(vip(51));
    site.router.sections.eips.eips.push(eip(51, 2));
    let report = push(&mut site).await;
    let lines = &report.sections["eips"].actions;
    assert!(lines.iter().all(|line| line.contains("add element eip_")) && !lines.is_empty(), "{lines:?}");
    assert_eq!(tcp(&at.vm[1], "203.0.113.50:22"), says("vm1 203.0.113.51"));
    assert_eq!(tcp(&at.vm[1], "203.0.113.254:80"), says("peer=203.0.113.51"));
    assert_eq!(tcp(&at.net, "203.0.113.51:22"), says(&format!("vm2 {INTERNET}")));

    // What comes in with the router's address, where that is asked for.
    site.router.sections.eips.eips[1].snat_inbound_traffic = true;
    push(&mut site).await;
    assert_eq!(tcp(&at.net, "203.0.113.51:22"), says("vm2 10.0.0.1"));
    assert_eq!(tcp(&at.net, "203.0.113.50:22"), says(&format!("vm1 {INTERNET}")));

    // Who went through is counted, and stays counted when the table is replaced.
    let id = site.router.sections.eips.eips[0].eip;
    let before = site.client.counters(site.router_at()).await.unwrap().eips[&id];
    assert!(before.inbound.packets > 10 && before.outbound.packets > 10, "{before:?}");
    site.router.sections.firewall.input.pop();
    site.router.sections.snat.rules.clear();
    let report = push(&mut site).await;
    assert_eq!(report.sections["snat"].actions, ["replace chain postrouting", "remove map snat_eth0"]);
    let after = site.client.counters(site.router_at()).await.unwrap().eips[&id];
    // The ends of connections may have come meanwhile.
    let counted = |now: Counter, then: Counter| (then.packets..then.packets + 10).contains(&now.packets);
    assert!(counted(after.inbound, before.inbound) && counted(after.outbound, before.outbound), "{before:?} {after:?}");

    // Another EIP with that address is counted from zero, and one goes that nobody has used.
    let other = Eip { eip: eip(52, 1).eip, ..eip(50, 1) };
    site.router.sections.vips.addresses.push(vip(53));
    site.router.sections.eips.eips = vec![other.clone(), eip(53, 2)];
    push(&mut site).await;
    let anew = site.client.counters(site.router_at()).await.unwrap().eips[&other.eip];
    assert!(anew.inbound.packets < 10 && anew.outbound.packets < 10, "{anew:?} after {after:?}");
    site.router.sections.eips.eips = vec![eip(50, 1)];
    push(&mut site).await;

    // It moves: the connection of before does not go on, to nobody; the next one finds the new guest.
    let mut held = connect(&at.net, "203.0.113.50:22").unwrap();
    assert_eq!(talk::said(&mut held), says(&format!("vm1 {INTERNET}")));
    assert_eq!(again(&mut held), says(&format!("vm1 {INTERNET}")));
    site.router.sections.eips.eips = vec![eip(50, 2)];
    push(&mut site).await;
    assert_eq!(again(&mut held), None);
    assert_eq!(tcp(&at.net, "203.0.113.50:22"), says(&format!("vm2 {INTERNET}")));

    // It goes, with its address, and with what it let in.
    let mut held = connect(&at.net, "203.0.113.50:22").unwrap();
    assert_eq!(talk::said(&mut held), says(&format!("vm2 {INTERNET}")));
    site.router.sections.eips.eips.clear();
    site.router.sections.vips.addresses.clear();
    let report = push(&mut site).await;
    assert!(report.sections["vips"].changed && report.sections["eips"].changed, "{report:?}");
    assert_eq!(again(&mut held), None);
    assert_eq!(tcp(&at.net, "203.0.113.50:22"), None);
    assert!(!site.in_router("ip addr; nft list ruleset").contains("203.0.113.50"));
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_forwarded_to_whom_and_for_whom_a_rule_says() {
    let (mut site, at) = start("pf").await;
    let (tcp_rule, udp_rule) = (Protocol::Tcp, Protocol::Udp);
    site.router.sections.vips.addresses = vec![vip(60)];
    let mut allowed = rule(60, tcp_rule, (8000, 8010), 2, 8000);
    allowed.allowed_cidr = Some("203.0.113.254/32".parse().unwrap());
    site.router.sections.port_forwarding.rules = vec![
        rule(1, tcp_rule, (2222, 2222), 1, 22),
        rule(1, udp_rule, (2222, 2222), 2, 22),
        rule(60, tcp_rule, (7000, 7010), 1, 8000),
        rule(60, udp_rule, (4096, 8191), 1, 4096),
        rule(60, udp_rule, (9000, 9000), 1, 9000),
        allowed,
    ];
    let report = push(&mut site).await;
    assert!(report.sections["portForwarding"].changed, "{report:?}");

    // The router's own address, and that of a VIP; one port, ranges, and ranges that shift; both protocols.
    assert_eq!(tcp(&at.net, "203.0.113.1:2222"), says(&format!("vm1 {INTERNET}")));
    assert_eq!(udp(&at.net, "203.0.113.1:2222"), says(&format!("vm2 {INTERNET}")));
    assert_eq!(tcp(&at.net, "203.0.113.60:7005"), says(&format!("vm1 {INTERNET}")));
    assert_eq!(tcp(&at.net, "203.0.113.60:8005"), says(&format!("vm2 {INTERNET}")));
    assert_eq!(udp(&at.net, "203.0.113.60:8005"), says(&format!("vm1 {INTERNET}")));
    assert_eq!(udp(&at.net, "203.0.113.60:9000"), says(&format!("vm1 {INTERNET}")));
    // Next to them nothing.
    for closed in ["203.0.113.1:22", "203.0.113.60:2222", "203.0.113.60:7011", "203.0.113.60:6999", "203.0.113.60:9000"]
    {
        assert_eq!(tcp(&at.net, closed), None, "{closed}");
    }
    for closed in ["203.0.113.60:2222", "203.0.113.60:8192", "203.0.113.60:22"] {
        assert_eq!(udp(&at.net, closed), None, "{closed}");
    }
    // What leaves goes with the router's address, and the address of a VIP answers itself.
    assert_eq!(tcp(&at.vm[0], "203.0.113.254:80"), says("peer=203.0.113.1"));
    assert!(site.in_net("ping -c 1 -W 1 203.0.113.60"));
    // The ways back.
    assert_eq!(tcp(&at.vm[1], "203.0.113.1:2222"), says("vm1 10.0.0.1"));
    assert_eq!(tcp(&at.vm[0], "203.0.113.1:2222"), says("vm1 10.0.0.1"));
    assert_eq!(udp(&at.vm[1], "203.0.113.60:9000"), says("vm1 10.0.0.1"));
    assert!(tcp(&at.router, "203.0.113.60:7000").is_some_and(|said| said.starts_with("vm1 ")));
    // Whoever is not allowed is refused, and nobody comes in from the management network.
    assert_eq!(tcp(&at.vm[0], "203.0.113.60:8005"), None);
    assert!(site.in_mgmt("ip route replace 203.0.113.0/24 via 172.20.0.2"));
    assert_eq!(tcp(&at.mgmt, "203.0.113.60:7005"), None);

    // Counted by rule.
    let rules = site.router.sections.port_forwarding.rules.clone();
    let counters = site.client.counters(site.router_at()).await.unwrap().port_forwarding;
    let udp_once = counters[&rules[1].rule];
    assert_eq!((udp_once.inbound.packets, udp_once.outbound.packets), (1, 1), "{counters:?}");
    assert!(counters[&rules[5].rule].inbound.packets >= 3, "{counters:?}");

    // Who is allowed changes: those who are not any more are cut off, whoever asks next is refused.
    let mut held = connect(&at.net, "203.0.113.60:8005").unwrap();
    assert_eq!(talk::said(&mut held), says(&format!("vm2 {INTERNET}")));
    site.router.sections.port_forwarding.rules[5].allowed_cidr = Some("203.0.113.0/25".parse().unwrap());
    let report = push(&mut site).await;
    let lines = &report.sections["portForwarding"].actions;
    let item = format!("port forwarding rule {}", rules[5].rule);
    assert!(lines.iter().all(|line| line.starts_with(&item)) && lines.len() == 2, "{lines:?}");
    assert_eq!(again(&mut held), None);
    assert_eq!(tcp(&at.net, "203.0.113.60:8005"), None);
    // A rule leads elsewhere, comes with the router's address; its neighbours stay as they are.
    let mut neighbour = connect(&at.net, "203.0.113.60:7000").unwrap();
    assert!(talk::said(&mut neighbour).is_some());
    site.router.sections.port_forwarding.rules[0] = rule(1, tcp_rule, (2222, 2222), 2, 8000);
    site.router.sections.port_forwarding.rules[0].snat_inbound_traffic = true;
    push(&mut site).await;
    assert_eq!(tcp(&at.net, "203.0.113.1:2222"), says("vm2 10.0.0.1"));
    assert_eq!(again(&mut neighbour), says(&format!("vm1 {INTERNET}")));
    // A range where there was another, from one transaction to the next.
    site.router.sections.port_forwarding.rules[3] = rule(60, udp_rule, (4096, 8999), 2, 4096);
    push(&mut site).await;
    assert_eq!(udp(&at.net, "203.0.113.60:8005"), says(&format!("vm2 {INTERNET}")));

    // All gone.
    site.router.sections.port_forwarding.rules.clear();
    site.router.sections.vips.addresses.clear();
    push(&mut site).await;
    assert_eq!(again(&mut neighbour), None);
    assert_eq!(tcp(&at.net, "203.0.113.1:2222"), None);
    assert!(!site.in_router("nft list ruleset").contains("pf_"));
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_of_an_eip_is_named_by_it_and_comes_back() {
    let (mut site, at) = start("lost").await;
    site.router.sections.vips.addresses = vec![vip(50), vip(60)];
    site.router.sections.eips.eips = vec![eip(50, 1)];
    site.router.sections.port_forwarding.rules = vec![rule(60, Protocol::Tcp, (7000, 7010), 2, 7000)];
    push(&mut site).await;
    let table = format!("inet vr_{}", site.router.router.0.tail());
    site.in_router(&format!("nft delete element {table} eip_guests '{{ 203.0.113.50 }}'"));
    site.in_router(&format!("nft delete element {table} pf_ranges '{{ 203.0.113.60 . tcp . 7000-7010 }}'"));
    site.in_router(&format!("nft add element {table} passages '{{ \"eth0\" . \"eth1\" }}'"));
    site.in_router("ip addr del 203.0.113.50/32 dev eth0");
    let items = site.client.drift(site.router_at()).await.unwrap().items;
    let names: Vec<String> = items.iter().map(|item| format!("{} {}", item.section, item.item)).collect();
    let eip_id = site.router.sections.eips.eips[0].eip;
    let rule_id = site.router.sections.port_forwarding.rules[0].rule;
    let expected = [
        "vips address eth0 203.0.113.50/32".to_string(),
        "firewall element passages { eth0 . eth1 }".to_string(),
        format!("eips eip {eip_id}: element eip_guests {{ 203.0.113.50 }}"),
        format!(
            "portForwarding port forwarding rule {rule_id}: element pf_ranges {{ 203.0.113.60 . tcp . 7000-7010 }}"
        ),
    ];
    assert_eq!(names, expected);
    assert!(!site.client.health(site.router_at()).await.unwrap().healthy);
    push(&mut site).await;
    assert_eq!(tcp(&at.net, "203.0.113.50:22"), says(&format!("vm1 {INTERNET}")));
    assert!(site.client.health(site.router_at()).await.unwrap().healthy);

    // A dry run shows elements and changes none.
    let mut next = site.router.clone();
    next.revision += 1;
    next.sections.eips.eips[0].guest_address = [10, 0, 0, 12].into();
    let planned = site.client.dry_run(site.router_at(), switchback_agent::push_of_router(&next, 1)).await.unwrap();
    let line = format!("eip {eip_id}: add element eip_guests {{ 203.0.113.50 : 10.0.0.12 }}");
    assert!(planned.sections["eips"].actions.contains(&line), "{planned:?}");
    assert_eq!(tcp(&at.net, "203.0.113.50:22"), says(&format!("vm1 {INTERNET}")));
    site.finish().await;
}

/// How many questions ICMP has asked in a namespace, and how many answers came.
fn echoes(place: &Path) -> (u64, u64) {
    let text = talk::within(place, || std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap());
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("IcmpMsg: "));
    let names = lines.next().unwrap_or_default().split(' ');
    let counts: BTreeMap<&str, &str> = names.zip(lines.next().unwrap_or_default().split(' ')).collect();
    let count = |name: &str| counts.get(name).map_or(0, |count| count.parse().unwrap());
    (count("OutType8"), count("InType0"))
}

/// How many packets the queues of this machine's processors had no room for.
fn backlog_drops() -> u64 {
    let text = std::fs::read_to_string("/proc/net/softnet_stat").unwrap();
    let dropped = |line: &str| u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
    text.lines().map(dropped).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn applies_lose_no_packet_and_let_no_forbidden_one_in() {
    let (mut site, at) = start("flood").await;
    site.router.sections.vips.addresses = vec![vip(50), vip(60)];
    site.router.sections.eips.eips = vec![eip(50, 1)];
    site.router.sections.port_forwarding.rules = vec![rule(60, Protocol::Tcp, (7000, 7000), 2, 22)];
    push(&mut site).await;

    // Whoever gets an answer from a port that no rule opens, or from the guest itself.
    assert!(site.in_net("ip route replace 10.0.0.0/16 via 203.0.113.1"));
    let (stop, through, tries) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let flood = {
        let (stop, through, tries, net) = (stop.clone(), through.clone(), tries.clone(), at.net.clone());
        std::thread::spawn(move || {
            talk::within(&net, move || {
                let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.set_nonblocking(true).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    for forbidden in ["203.0.113.1:22", "203.0.113.60:22", "10.0.0.11:22", "10.0.0.12:9000"] {
                        let _ = socket.send_to(b"?", forbidden);
                    }
                    tries.fetch_add(4, Ordering::Relaxed);
                    // What is refused is answered by ICMP, at a rate that leaves the machine to others.
                    std::thread::sleep(Duration::from_micros(500));
                    while let Ok((length, _)) = socket.recv_from(&mut [0; 64]) {
                        through.fetch_add(u32::from(length > 0), Ordering::Relaxed);
                    }
                }
            });
        })
    };
    // Whoever begins a connection: to an EIP, from behind one, and from behind the router's own address.
    serve(at.net.clone(), "net", 9100);
    // Each apply looks at all connections: they are not to be remembered for long.
    site.in_router("sysctl -w net.netfilter.nf_conntrack_udp_timeout=1");
    let probes = [
        (at.net.clone(), "203.0.113.50:9000", format!("vm1 {INTERNET}")),
        (at.vm[0].clone(), "203.0.113.254:9100", "net 203.0.113.50".to_string()),
        (at.vm[1].clone(), "203.0.113.254:9100", format!("net {PUBLIC}")),
    ];
    let probes = probes.map(|(place, to, expected)| {
        let stop = stop.clone();
        std::thread::spawn(move || talk::within(&place, move || talk::begin_until(&stop, to, &expected)))
    });
    let (echoes, overrun) = (echoes(&at.vm[0]), backlog_drops());
    let mut ping = site.spawn_vm(1, "ping -q -i 0.01 203.0.113.254");
    let table = format!("inet vr_{}", site.router.router.0.tail());
    let rules = site.router.sections.port_forwarding.rules.clone();
    let mut refilled = 0;
    for round in 0..100u8 {
        site.router.revision += 1;
        // Elements, and chains that come and go; every tenth time nobody knows what the kernel has.
        site.router.sections.eips.eips.truncate(1);
        site.router.sections.vips.addresses.truncate(2);
        if round % 2 == 0 {
            site.router.sections.vips.addresses.push(vip(100 + round));
            site.router.sections.eips.eips.push(eip(100 + round, 89));
        }
        site.router.sections.port_forwarding.rules = if round % 4 >= 2 { rules.clone() } else { Vec::new() };
        if round % 10 == 9 {
            site.in_router(&format!(
                "nft add chain {table} stray; nft delete element {table} open '{{ \"eth1\" . udp . 53 }}'"
            ));
        }
        let report = site.push_router().await.unwrap();
        let restored = |line: &String| line == "restore nftables table";
        refilled += usize::from(report.sections["firewall"].actions.iter().any(restored));
    }
    assert_eq!(refilled, 10);
    ping.kill().unwrap();
    ping.wait().unwrap();
    stop.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    for probe in probes {
        let begun = probe.join().unwrap();
        assert!(begun > 100, "{begun}");
    }
    // What the kernels counted: ping itself does not wait for the last answer, and its socket may be full.
    let lost = || {
        let now = self::echoes(&at.vm[0]);
        (now.0 - echoes.0) - (now.1 - echoes.1)
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while lost() > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    // What a queue of this machine had no room for did not come as far as a rule.
    assert!(lost() <= backlog_drops() - overrun, "{} of {} lost", lost(), self::echoes(&at.vm[0]).0 - echoes.0);
    assert!(self::echoes(&at.vm[0]).0 - echoes.0 > 100);
    assert!(tries.load(Ordering::Relaxed) > 400);
    assert_eq!(through.load(Ordering::Relaxed), 0);
    eventually("the last document is in force", || {
        tcp(&at.net, "203.0.113.60:7000") == says(&format!("vm2 {INTERNET}"))
    });
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_eips_are_no_reason_to_wait_for_the_next() {
    let mut site = Site::start("many");
    site.bring_up(1).await;
    site.wait_for_lease(1, "10.0.0.11/16");
    let (net, vm) = (site.place("net"), site.vm_place(1));
    serve(vm, "vm1", 22);
    assert!(site.in_net("ip route replace 100.64.0.0/10 via 203.0.113.1"));
    let number = |number: u16, first: u8| {
        let [high, low] = number.to_be_bytes();
        [first, if first == 10 { 0 } else { 64 }, high, low]
    };
    let (mut vips, mut eips) = (Vec::new(), Vec::new());
    // More to measure by.
    let many = std::env::var("EIPS").map_or(1_000, |text| text.parse().unwrap());
    for at in 300..300 + many {
        let address = format!("{}/10", std::net::Ipv4Addr::from(number(at, 100))).parse().unwrap();
        vips.push(VipAddress { address, vip: VipId(Id::of_name(&at.to_string())), ..vip(1) });
        let (vip_address, guest_address) = (number(at, 100).into(), number(at, 10).into());
        eips.push(Eip { eip: EipId(Id::of_name(&at.to_string())), vip_address, guest_address, ..eip(1, 1) });
    }
    site.router.sections.vips.addresses = vips;
    site.router.sections.eips.eips = eips;
    let began = Instant::now();
    let report = push(&mut site).await;
    println!("TIME {many} EIPs on an empty router: {:?} (agent {} ms)", began.elapsed(), report.millis);
    for round in 0..6u16 {
        let held = (site.router.sections.clone(), site.router.sections.digests());
        // A guest has one EIP.
        let guest_address = if round == 0 { [10, 0, 0, 11] } else { number(20_000 + round, 10) };
        let vip_address = number(20_000 + round, 100);
        let address = format!("{}/10", std::net::Ipv4Addr::from(vip_address)).parse().unwrap();
        let vip_id = VipId(Id::of_name(&format!("one {round}")));
        site.router.sections.vips.addresses.push(VipAddress { address, vip: vip_id, ..vip(1) });
        let id = EipId(Id::of_name(&format!("one {round}")));
        let one = Eip { eip: id, vip_address: vip_address.into(), guest_address: guest_address.into(), ..eip(1, 1) };
        site.router.sections.eips.eips.push(one);
        site.router.revision += 1;
        // The first as a whole document, the others as what is different.
        let mut document = switchback_agent::push_of_router(&site.router, 1);
        let began = Instant::now();
        if round > 0 {
            document.sections = switchback_appliance::changes::parts_since(&site.router.sections, &held.0, &held.1);
            assert!(document.sections.values().all(|section| section.body.is_none()));
        }
        let report = site.client.put_config(site.router_at(), document).await.unwrap();
        println!("TIME one more EIP: {:?} (agent {} ms)", began.elapsed(), report.millis);
        let actions = &report.sections["eips"].actions;
        assert!(actions.len() <= 4 && actions.iter().all(|line| line.contains(&id.to_string())), "{actions:?}");
        let (vip, guest) = (std::net::Ipv4Addr::from(vip_address), std::net::Ipv4Addr::from(guest_address));
        let table = site.router.router.0.tail();
        let found = site.in_router(&format!("nft get element inet vr_{table} eip_guests '{{ {vip} }}'"));
        assert!(found.contains(&format!("{vip} : {guest}")), "{found}");
        assert!(site.in_router("ip -4 addr show dev eth0").contains(&format!("inet {vip}/32")));
    }
    for _ in 0..3 {
        site.in_router("nft flush ruleset");
        site.router.revision += 1;
        let document = switchback_agent::push_of_router(&site.router, 1);
        let began = Instant::now();
        let report = site.client.put_config(site.router_at(), document).await.unwrap();
        println!("TIME all of them again: {:?} (agent {} ms)", began.elapsed(), report.millis);
    }
    assert!(site.client.drift(site.router_at()).await.unwrap().items.is_empty());
    assert_eq!(tcp(&net, "100.64.78.32:22"), says(&format!("vm1 {INTERNET}")));
    site.finish().await;
}
