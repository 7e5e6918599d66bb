//! Both roles on the real kernel: a host as a namespace, an "internet" behind one of its interfaces, a management
//! network behind another; VMs with real DHCP clients; packets that really pass. Needs root.
//!
//! ```text
//!   sbtN-net 203.0.113.254 ──eth0┐                     ┌ router: eth0 public, eth1 guests, eth2 management
//!   sbtN-mgmt 172.20.0.254 ──eth2┤ sbtN-host: bridges ─┤
//!   sbtN-mgmt 10.99.0.1 ── ctl   │ and the host's agent└ VMs
//!                    eth1.10 ────┘ (stands in for a VLAN)
//! ```

mod common;
mod site;

use common::mac;
use site::{Site, eventually};
use std::{collections::BTreeSet, fs, time::Instant};
use switchback_agent::{AgentAt, Agents};
use switchback_appliance::{AgentProblemCode, AgentRestart, InterfaceCheck};

#[tokio::test(flavor = "multi_thread")]
async fn a_router_serves_its_guests_end_to_end() {
    let mut site = Site::start("e2e");
    let accepted = Instant::now();
    site.bring_up(2).await;
    println!("TIME host and router from nothing to serving, VMs started: {:?}", accepted.elapsed());

    // DHCP: the fixed address, and nothing for a stranger.
    site.wait_for_lease(1, "10.0.0.11/16");
    println!("TIME until the VM has its address: {:?}", accepted.elapsed());
    site.wait_for_lease(2, "10.0.0.12/16");
    assert!(site.vm(1, "ip link show eth0").contains("mtu 1450"));
    assert!(site.vm(1, "ip route").contains("default via 10.0.0.1 dev eth0"));
    assert_eq!(site.vm(1, "hostname").trim(), "vm1");
    let stranger = site.stranger();
    assert!(!stranger.contains("obtained"), "{stranger}");

    // DNS: own names both ways, both forms, and the internet's.
    assert_eq!(site.vm(1, "dig +short vm2.vpc.local").trim(), "10.0.0.12");
    assert_eq!(site.vm(1, "dig +short vm2 @10.0.0.1").trim(), "10.0.0.12");
    assert_eq!(site.vm(1, "dig +short -x 10.0.0.12").trim(), "vm2.vpc.local.");
    assert_eq!(site.vm(1, "dig +short www.example.com").trim(), "198.51.100.7");
    assert!(site.vm(1, "getent hosts vm2").contains("10.0.0.12"));

    // SNAT: the internet sees the public address.
    assert_eq!(site.vm(1, "nc -w 2 203.0.113.254 80").trim(), "peer=203.0.113.1");
    assert!(site.vm(1, "ping -c 1 -W 1 10.0.0.1").contains(" 0% packet loss"));

    // Default deny: the agent listens on the management side only; a closed port is refused at once.
    assert!(!site.vm_ok(1, "nc -z -w 1 10.0.0.1 7272"));
    assert!(!site.vm_ok(1, "nc -z -w 1 172.20.0.2 7272"));
    assert!(!site.in_net("nc -z -w 1 203.0.113.1 7272"));
    assert!(!site.in_net("nc -z -w 1 203.0.113.1 53"));
    let knocked = Instant::now();
    assert!(!site.in_net("nc -z -w 5 203.0.113.1 81"));
    assert!(knocked.elapsed().as_secs() < 2, "a closed port must be refused, not silent");
    assert!(site.in_mgmt("nc -z -w 1 172.20.0.2 7272"));
    // Nothing from outside gets to the guests.
    assert!(!site.in_net("ip route replace 10.0.0.0/16 via 203.0.113.1 && ping -c 1 -W 1 10.0.0.11"));

    // The protocol over the wire.
    let health = site.client.health(site.router_at()).await.unwrap();
    assert!(health.healthy, "{health:?}");
    assert_eq!(health.agent_digest.len(), 64);
    let held = site.client.held(site.router_at()).await.unwrap();
    assert_eq!(held.digests, site.router.sections.digests());
    assert!(site.client.drift(site.router_at()).await.unwrap().items.is_empty());
    site.client.observed(site.router_at()).await.unwrap();
    let mut stale = site.router.clone();
    stale.revision = 0;
    let refused = site.client.put_config(site.router_at(), switchback_agent::push_of_router(&stale, 1)).await;
    assert_eq!(refused.unwrap_err().code, AgentProblemCode::StaleRevision);
    let other = AgentAt::host(site.host.host, "10.99.0.77:7070".parse().unwrap());
    let unreachable = site.client.health(other).await.unwrap_err();
    assert_eq!(unreachable.code, AgentProblemCode::Unreachable);

    site.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_wiped_is_named_and_healed() {
    let mut site = Site::start("wipe");
    site.bring_up(1).await;
    site.wait_for_lease(1, "10.0.0.11/16");
    let before = site.client.held(site.router_at()).await.unwrap();

    site.in_router("nft flush ruleset");
    site.kill_in_router("dnsmasq");
    let named = || async {
        let drift = site.client.drift(site.router_at()).await.unwrap();
        drift.items.into_iter().map(|item| format!("{} {}", item.section, item.item)).collect::<Vec<_>>()
    };
    let deadline = Instant::now() + std::time::Duration::from_secs(3);
    let mut found = named().await;
    while !found.contains(&"dhcp dnsmasq process".to_string()) && Instant::now() < deadline {
        found = named().await;
    }
    for wanted in ["snat nftables table", "firewall nftables table", "dhcp dnsmasq process", "dns dnsmasq process"] {
        assert!(found.contains(&wanted.to_string()), "{wanted} is not in {found:?}");
    }
    assert!(!site.client.health(site.router_at()).await.unwrap().healthy);

    let healing = Instant::now();
    let report = site.push_router().await.unwrap();
    println!("TIME healed: {:?}", healing.elapsed());
    assert_eq!(report.config_digest, site.router.digest());
    assert_eq!(site.client.held(site.router_at()).await.unwrap().digests, before.digests);
    assert!(site.client.drift(site.router_at()).await.unwrap().items.is_empty());
    assert!(site.client.health(site.router_at()).await.unwrap().healthy);
    assert_eq!(site.vm(1, "nc -w 2 203.0.113.254 80").trim(), "peer=203.0.113.1");

    // Addresses, routes and files too.
    site.in_router("ip addr flush dev eth1; ip addr add 10.9.9.9/24 dev eth0; ip route del default; sysctl -qw net.ipv4.ip_forward=0");
    for file in fs::read_dir(site.router_dir().join("dnsmasq")).unwrap().flatten() {
        if file.file_name().to_string_lossy().starts_with("hosts-") {
            fs::write(file.path(), "").unwrap();
        }
    }
    let found = named().await;
    for wanted in [
        "interfaces address eth1 10.0.0.1/16",
        "interfaces address eth0 10.9.9.9/24",
        "interfaces route default",
        "interfaces sysctl net/ipv4/ip_forward",
        "dhcp hosts file content",
    ] {
        assert!(found.contains(&wanted.to_string()), "{wanted} is not in {found:?}");
    }
    site.push_router().await.unwrap();
    assert!(named().await.is_empty(), "{:?}", named().await);
    site.finish().await;
}

/// Asks until the answer is as wanted.
async fn until<F: Future<Output = String>>(ask: impl Fn() -> F, wanted: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let answer = ask().await;
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "still `{answer}`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_serves_nobody_or_what_was_before_is_named_by_the_question_that_found_it() {
    let mut site = Site::start("well");
    site.bring_up(1).await;
    site.wait_for_lease(1, "10.0.0.11/16");
    let well = || async {
        let health = site.client.health(site.router_at()).await.unwrap();
        assert_eq!(health.healthy, health.services.values().all(|service| service.healthy), "{health:?}");
        health.services["dnsmasq"].detail.clone()
    };
    const WELL: &str = "answers for the configuration in force";
    assert_eq!(well().await, WELL);

    // It is there, and answers nobody.
    site.signal_in_router("dnsmasq", "STOP");
    let found = well().await;
    assert!(found.starts_with("the DNS question") && found.contains("(eth1) is not answered"), "{found}");
    assert_eq!(site.client.drift(site.router_at()).await.unwrap().items, []);
    site.signal_in_router("dnsmasq", "CONT");
    assert_eq!(well().await, WELL);

    // It answers for what was before, by DHCP alone, and by DNS.
    let directory = site.router_dir().join("dnsmasq");
    for (file, old, question) in [
        ("probe", "tag:switchback,224,\"old\"\n", "the DHCP question at 10.0.0.1 (eth1)"),
        ("canary", "fd73:7762::1 revision.switchback.internal\n", "the DNS question for revision.switchback.internal"),
    ] {
        let new = fs::read_to_string(directory.join(file)).unwrap();
        fs::write(directory.join(file), old).unwrap();
        site.signal_in_router("dnsmasq", "HUP");
        let found = until(&well, |found| found != WELL).await;
        assert!(found.starts_with(question) && found.ends_with("for another configuration"), "{found}");
        fs::write(directory.join(file), new).unwrap();
        site.signal_in_router("dnsmasq", "HUP");
        until(&well, |found| found == WELL).await;
    }

    // Whoever asks never has a lease.
    let leases = fs::read_to_string(directory.join("leases")).unwrap();
    assert!(leases.contains("10.0.0.11") && !leases.contains("03:73:77:62"), "{leases}");

    // A push starts one again that answers nobody, and its guest is served.
    site.signal_in_router("dnsmasq", "STOP");
    site.push_router().await.unwrap();
    assert_eq!(well().await, WELL);
    assert_eq!(site.vm(1, "dig +short vm1.vpc.local").trim(), "10.0.0.11");

    // The packet filter: the element that somebody took away.
    site.in_router("nft flush chain inet $(nft list tables inet | awk '/vr_/{print $3}') input");
    let health = site.client.health(site.router_at()).await.unwrap();
    let nftables = &health.services["nftables"];
    assert!(!nftables.healthy && nftables.detail.starts_with("the table was changed: "), "{nftables:?}");
    site.push_router().await.unwrap();
    assert!(site.client.health(site.router_at()).await.unwrap().healthy);
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_fails_is_rolled_back() {
    let mut site = Site::start("roll");
    site.bring_up(1).await;
    site.wait_for_lease(1, "10.0.0.11/16");
    let good = site.router.clone();
    // Somebody else sits on the name server's port of a new address.
    let mut thief = site.spawn_in_router("ip addr add 10.1.0.1/24 dev lo; exec nc -l 10.1.0.1 53");
    eventually("the thief listens", || site.in_router("ss -ltnH 'sport = 53'").contains("10.1.0.1"));
    site.router.revision = 2;
    site.router.sections.interfaces.nics[1].addresses = vec!["10.1.0.1/16".parse().unwrap()];
    site.router.sections.snat.rules.clear();
    let problem = site.push_router().await.unwrap_err();
    assert_eq!(problem.code, AgentProblemCode::Failed, "{problem}");
    assert!(matches!(problem.section.as_deref(), Some("dhcp" | "dns")), "{problem:?}");
    println!("rolled back because of: {problem}");
    let _ = thief.kill();
    let _ = thief.wait();

    site.router = good;
    let held = site.client.held(site.router_at()).await.unwrap();
    assert_eq!((held.revision, held.digests), (1, site.router.sections.digests()));
    assert!(site.client.drift(site.router_at()).await.unwrap().items.is_empty());
    assert_eq!(site.vm(1, "dig +short vm1.vpc.local").trim(), "10.0.0.11");
    assert_eq!(site.vm(1, "nc -w 2 203.0.113.254 80").trim(), "peer=203.0.113.1");

    // A dry run finds out without touching anything.
    let mut next = site.router.clone();
    next.revision = 3;
    next.sections.firewall.forward.clear();
    let report = site.client.dry_run(site.router_at(), switchback_agent::push_of_router(&next, 1)).await.unwrap();
    assert!(report.sections["firewall"].changed && !report.sections["dhcp"].changed);
    assert_eq!(site.vm(1, "nc -w 2 203.0.113.254 80").trim(), "peer=203.0.113.1");
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_may_die_while_packets_pass() {
    let mut site = Site::start("die");
    site.bring_up(1).await;
    site.wait_for_lease(1, "10.0.0.11/16");
    let table = site.in_router("nft -s list ruleset");
    let first = site.client.health(site.router_at()).await.unwrap();

    // The router's agent: started again by the host's, applies its last good, nothing had to be pushed.
    site.kill_in_router("switchback");
    assert_eq!(site.vm(1, "nc -w 2 203.0.113.254 80").trim(), "peer=203.0.113.1");
    let killed = Instant::now();
    let mut again = site.client.health(site.router_at()).await;
    while !again.as_ref().is_ok_and(|health| health.boot_id != first.boot_id) {
        assert!(killed.elapsed().as_secs() < 5, "{again:?}");
        again = site.client.health(site.router_at()).await;
    }
    println!("TIME router's agent back after kill -9: {:?}", killed.elapsed());
    let again = again.unwrap();
    assert!(again.healthy && again.revision == 1, "{again:?}");
    assert_eq!(site.in_router("nft -s list ruleset").len(), table.len());
    assert_eq!(site.vm(1, "dig +short vm1.vpc.local").trim(), "10.0.0.11");

    // The host's agent: routers and VMs do not notice, and the next one finds them again.
    site.kill_host_agent();
    assert_eq!(site.vm(1, "nc -w 2 203.0.113.254 80").trim(), "peer=203.0.113.1");
    assert_eq!(site.client.health(site.router_at()).await.unwrap().boot_id, again.boot_id);
    site.start_host_agent();
    let report = site.push_host().await.unwrap();
    assert!(report.items.values().all(|item| item.ok), "{report:?}");
    assert!(report.sections.values().all(|section| !section.changed), "{report:?}");
    assert_eq!(site.client.health(site.router_at()).await.unwrap().boot_id, again.boot_id);

    // An upgrade: another binary, the same data plane.
    let mut bytes = fs::read(site::agent_binary()).unwrap();
    bytes.extend(b"another build");
    let digest = site::sha256(&bytes);
    let wrong = site.client.put_agent_binary(site.host_at(), "0".repeat(64), std::sync::Arc::new(b"x".to_vec())).await;
    assert_eq!(wrong.unwrap_err().code, AgentProblemCode::Invalid);
    site.client.put_agent_binary(site.host_at(), digest.clone(), std::sync::Arc::new(bytes)).await.unwrap();
    let restart = AgentRestart { digest: Some(digest.clone()) };
    let upgrading = Instant::now();
    site.client.restart_router_agent(site.host_at(), site.router.router, restart).await.unwrap();
    println!("TIME router's agent upgraded: {:?}", upgrading.elapsed());
    let upgraded = site.client.health(site.router_at()).await.unwrap();
    assert_eq!(upgraded.agent_digest, digest);
    assert!(upgraded.healthy, "{upgraded:?}");
    site.push_router().await.unwrap();
    // A binary that does not run is given up.
    let broken = b"#!/bin/false\n".to_vec();
    let digest = site::sha256(&broken);
    site.client.put_agent_binary(site.host_at(), digest.clone(), std::sync::Arc::new(broken)).await.unwrap();
    let restart = AgentRestart { digest: Some(digest) };
    let refused = site.client.restart_router_agent(site.host_at(), site.router.router, restart).await.unwrap_err();
    assert_eq!(refused.code, AgentProblemCode::Failed, "{refused}");
    assert!(site.client.health(site.router_at()).await.unwrap().healthy);
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_disturbs_nobody_and_is_fast() {
    let mut site = Site::start("fast");
    site.bring_up(1).await;
    site.wait_for_lease(1, "10.0.0.11/16");

    // Ten documents under a ping.
    let ping = site.spawn_vm(1, "ping -i 0.005 -c 300 -W 1 203.0.113.254");
    for round in 0..10u16 {
        site.router.revision += 1;
        let rule = switchback_appliance::InputRule {
            interface: "eth1".to_string(),
            protocol: switchback_appliance::Protocol::Tcp,
            port: 8000 + round,
        };
        site.router.sections.firewall.input.push(rule);
        site.push_router().await.unwrap();
    }
    let printed = String::from_utf8(ping.wait_with_output().unwrap().stdout).unwrap();
    // ping does not wait for the answer to its last question.
    let answered: BTreeSet<u32> =
        printed.lines().filter_map(|line| line.split("icmp_seq=").nth(1)?.split(' ').next()?.parse().ok()).collect();
    let lost: Vec<u32> = (1..300).filter(|sequence| !answered.contains(sequence)).collect();
    assert!(lost.is_empty(), "{lost:?}: {printed}");

    // One more client, then a thousand.
    site.router.revision += 1;
    let more = common::router(site.router.router, 2).sections;
    (site.router.sections.dhcp, site.router.sections.dns) = (more.dhcp, more.dns);
    let one = Instant::now();
    site.push_router().await.unwrap();
    println!("TIME one DHCP entry applied and answered: {:?}", one.elapsed());
    site.router.revision += 1;
    let more = common::router(site.router.router, 1000).sections;
    (site.router.sections.dhcp, site.router.sections.dns) = (more.dhcp, more.dns);
    let thousand = Instant::now();
    let report = site.push_router().await.unwrap();
    println!("TIME 1,000 DHCP entries applied and answered: {:?} (agent {} ms)", thousand.elapsed(), report.millis);
    assert_eq!(site.vm(1, "dig +short vm1000.vpc.local").trim(), "10.0.3.242");
    site.router.revision += 1;
    let again = Instant::now();
    site.push_router().await.unwrap();
    println!("TIME the same 1,000 again: {:?}", again.elapsed());

    // A client that is gone is not answered for, although it had a lease.
    site.router.revision += 1;
    site.router.sections.dhcp.hosts.remove(0);
    site.router.sections.dns.names.remove(0);
    let removal = Instant::now();
    site.push_router().await.unwrap();
    println!("TIME a client removed: {:?}", removal.elapsed());
    assert_eq!(site.vm(1, "dig +short vm1.vpc.local @10.0.0.1").trim(), "");
    let leases = fs::read_to_string(site.router_dir().join("dnsmasq/leases")).unwrap();
    assert!(!leases.contains("10.0.0.11"), "{leases}");
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_of_a_host_stand_alone_and_go_when_they_are_not_named() {
    let mut site = Site::start("items");
    let client = &site.client;
    let check = |interface: &str, vlan| InterfaceCheck { physical_interface: interface.to_string(), vlan };
    client.check_interface(site.host_at(), check("eth0", None)).await.unwrap();
    client.check_interface(site.host_at(), check("eth1", Some(10))).await.unwrap();
    let problem = client.check_interface(site.host_at(), check("eth9", None)).await.unwrap_err();
    assert!(problem.detail.contains("eth9"), "{problem}");
    let vlan = client.health(site.host_at()).await.unwrap().capabilities["vlan"];
    let eleven = client.check_interface(site.host_at(), check("eth1", Some(11))).await;
    assert_eq!(eleven.is_ok(), vlan);

    // Without an identity the appliance waits; the VM next to it does not.
    site.want_vms(2);
    site.host.sections.vms.values_mut().last().unwrap().hostname = "vm;reboot".to_string();
    let report = site.push_host().await.unwrap();
    let error = |id: &switchback_events::Id| report.items[id].error.clone().unwrap_or_default();
    assert_eq!(error(&site.router.router.0), "no identity yet");
    let vms: Vec<_> = site.host.sections.vms.iter().collect();
    for (vm, config) in vms {
        assert_eq!(report.items[&vm.0].ok, config.hostname != "vm;reboot", "{:?}", report.items[&vm.0]);
    }
    let noted: Vec<_> = report.items.values().filter_map(|item| item.note.clone()).collect();
    assert_eq!(noted.is_empty(), vlan, "{noted:?}");

    // A new generation is a new router and a new DHCP exchange with the same address.
    site.bring_up(1).await;
    site.wait_for_lease(1, "10.0.0.11/16");
    let before = site.client.health(site.router_at()).await.unwrap().boot_id;
    site.host.revision += 1;
    site.host.sections.appliances.values_mut().for_each(|config| config.generation += 1);
    site.host.sections.vms.values_mut().for_each(|config| config.generation += 1);
    let started = Instant::now();
    let report = site.push_host().await.unwrap();
    println!("TIME appliance and VM started afresh: {:?}", started.elapsed());
    assert!(report.items.values().all(|item| item.ok), "{report:?}");
    let fresh = site.client.health(site.router_at()).await.unwrap();
    assert!(fresh.boot_id != before && fresh.revision == 0, "{fresh:?}");
    let serving = Instant::now();
    site.push_router().await.unwrap();
    println!("TIME router from push to serving: {:?}", serving.elapsed());
    site.wait_for_lease(1, "10.0.0.11/16");
    assert!(site.in_vm_links(1).contains(&mac(1001).to_string()));

    // An empty document leaves nothing.
    site.host.revision += 1;
    site.host.sections = Default::default();
    let report = site.push_host().await.unwrap();
    assert!(report.items.is_empty());
    assert_eq!(site.made_namespaces(), Vec::<String>::new());
    assert!(!site.in_host("ip -o link").contains("br_"), "{}", site.in_host("ip -o link"));
    assert!(site.in_host("ip -o link").contains("eth1.10"));
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_server_gives_orders() {
    use switchback_agent::{AgentClient, Authority, Timeouts};
    let site = Site::start("tls");
    let refused = |identity| {
        let client = AgentClient::new(&identity, Some(site.mgmt()), Timeouts::default()).unwrap();
        let at = site.host_at();
        async move { client.health(at).await.unwrap_err() }
    };
    // An agent's certificate is not one for clients; nor is one of another authority.
    let agent = site.authority().issue("other-agent", &["10.99.0.2".parse().unwrap()]).unwrap();
    let problem = refused(agent).await;
    assert_eq!(problem.code, AgentProblemCode::Unreachable, "{problem}");
    let directory = tempfile::tempdir().unwrap();
    let mut foreign = Authority::open_or_create(directory.path()).unwrap().server_identity().unwrap();
    foreign.authority = site.authority().server_identity().unwrap().authority;
    let problem = refused(foreign).await;
    assert_eq!(problem.code, AgentProblemCode::Unreachable, "{problem}");
    site.client.health(site.host_at()).await.unwrap();
    site.finish().await;
}
