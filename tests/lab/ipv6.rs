//! Networks of both families in two clusters, with real clients: addresses that the kernel makes, addresses that a
//! DHCPv6 client asks for, and what routers tell of names, MTU and ways.

use crate::harness::Bench;
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, Ipv6Addr};
use switchback::lab::{Deadline, Topology, check, host_address, poll};
use switchback_events::{Mac, eui64};

/// What stands for the rest of the world.
const OUTSIDE: &str = "2001:db8:203::1";

/// A network of both families, with its router's addresses there once it has one.
struct Network {
    l3: String,
    mode: &'static str,
    prefix: Ipv6Addr,
}

/// A VM with an address of each family.
struct Vm {
    name: String,
    uuid: String,
    ip: Ipv4Addr,
    ip6: Ipv6Addr,
}

/// A second cluster on the third host; every L2 network is on both.
fn two_clusters(bench: &Bench) -> String {
    let zone = &bench.site.zone;
    let far = json!({"name": "far", "zoneUuid": zone, "hypervisorType": "KVM"});
    let far = bench.must(|bench| bench.ask("CreateCluster", far.clone()).uuid());
    let host = json!({"name": "host3", "clusterUuid": far, "managementIp": host_address(3)});
    let host = bench.must(|bench| bench.ask("AddKVMHost", host.clone()).uuid());
    bench.must(|bench| {
        poll("the third host to be Connected", Deadline::seconds(30), || {
            let inventory = bench.api.one("QueryHost", &host)?;
            Ok(if inventory["status"] == "Connected" { Ok(()) } else { Err(inventory.to_string()) })
        })
    });
    for l2 in bench.must(|bench| bench.api.query("QueryL2Network", &[])) {
        attach(bench, &l2["uuid"], &far);
    }
    far
}

fn attach(bench: &Bench, l2: &Value, cluster: &str) {
    bench.ask("AttachL2NetworkToCluster", json!({"l2NetworkUuid": l2, "clusterUuid": cluster}));
    let l2 = l2.as_str().unwrap_or_default();
    bench.must(|bench| {
        poll(&format!("the L2 network {l2} to be in {cluster}"), Deadline::seconds(30), || {
            let inventory = bench.api.one("QueryL2Network", l2)?;
            let clusters = inventory["attachedClusterUuids"].as_array();
            let there = clusters.is_some_and(|clusters| clusters.iter().any(|uuid| uuid == cluster));
            Ok(if there { Ok(()) } else { Err(inventory.to_string()) })
        })
    });
}

fn with_ipv6(bench: &Bench, l3: &str, prefix: &str, mode: &'static str) -> Network {
    let range = json!({
        "l3NetworkUuid": l3, "name": "six", "networkCidr": format!("{prefix}/64"), "addressMode": mode,
    });
    bench.ask("AddIpv6RangeByNetworkCidr", range);
    bench.ask("SetL3NetworkMtu", json!({"l3NetworkUuid": l3, "mtu": 1400}));
    Network { l3: l3.to_string(), mode, prefix: prefix.parse().unwrap() }
}

/// A network on the L2 network without VLAN below the guests', of both families.
fn flat(bench: &Bench, far: &str, mode: &'static str) -> Network {
    let l2 = json!({"name": "flat", "zoneUuid": bench.site.zone, "physicalInterface": "eth2"});
    let l2 = bench.must(|bench| bench.ask("CreateL2NoVlanNetwork", l2.clone()).uuid());
    for cluster in [&bench.site.cluster, far] {
        attach(bench, &json!(l2), cluster);
    }
    let l3 = json!({"name": "flat", "l2NetworkUuid": l2, "category": "Private", "dnsDomain": bench.site.guest.domain});
    let l3 = bench.must(|bench| bench.ask("CreateL3Network", l3.clone()).uuid());
    let range = json!({"l3NetworkUuid": l3, "name": "four", "networkCidr": "10.20.0.0/24"});
    bench.ask("AddIpRangeByNetworkCidr", range);
    let network = with_ipv6(bench, &l3, "fd00:20::", mode);
    let services = json!({"VirtualRouter": ["DHCP", "DNS", "SNAT"]});
    bench.ask("AttachNetworkServiceToL3Network", json!({"l3NetworkUuid": l3, "networkServices": services}));
    network
}

/// A VM of the network on a host, once its kernel has the two addresses that the log says.
fn vm(bench: &Bench, network: &Network, name: &str, host: &str) -> Vm {
    let parameters =
        json!({"name": name, "l3NetworkUuids": [network.l3], "zoneUuid": bench.site.zone, "hostUuid": host});
    let uuid = bench.must(|bench| bench.ask("CreateVmInstance", parameters.clone()).uuid());
    bench.must(|bench| {
        let inventory = check::vm_running(&bench.api, &uuid)?;
        let nic = &inventory["vmNics"][0];
        let word = |field: &str| nic[field].as_str().with_context(|| format!("expected `{field}`, got {nic}"));
        let condition = format!("vmNicUuid={}", word("uuid")?);
        let used = bench.api.query("QueryIpAddress", &[condition, "ipVersion=6".to_string()])?;
        let ip6: Ipv6Addr = used[0]["ip"].as_str().context("expected an IPv6 address")?.parse()?;
        if network.mode != "Stateful-DHCP" {
            let mac: Mac = word("mac")?.parse()?;
            ensure!(ip6 == eui64(network.prefix, mac), "{ip6} is not made of {mac}");
        }
        let vm = Vm { name: name.to_string(), uuid: uuid.clone(), ip: word("ip")?.parse()?, ip6 };
        check::address_inside(&bench.lab, &check::machine(&bench.lab, &uuid)?, vm.ip)?;
        has_addresses(bench, &vm.uuid, &[ip6])?;
        Ok(vm)
    })
}

fn has_addresses(bench: &Bench, vm: &str, expected: &[Ipv6Addr]) -> anyhow::Result<()> {
    poll(&format!("the VM {vm} to have {expected:?}"), Deadline::seconds(40), || {
        let (_, text) = bench.lab.run_in(vm, &["ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "global"])?;
        let held =
            text.lines().filter_map(|line| line.split_ascii_whitespace().nth(3)?.split('/').next()?.parse().ok());
        let held: Vec<Ipv6Addr> = held.collect();
        Ok(if held == expected && !text.contains("tentative") { Ok(()) } else { Err(text) })
    })
}

/// Waits until a command in the VM says what it should.
fn says(bench: &Bench, vm: &Vm, line: &[&str], expected: &str) {
    says_in(bench, &vm.uuid, line, expected);
}

fn says_in(bench: &Bench, vm: &str, line: &[&str], expected: &str) {
    bench.must(|bench| {
        poll(&format!("{} in {vm} to say `{expected}`", line.join(" ")), Deadline::seconds(20), || {
            let (_, text) = bench.lab.run_in(vm, line)?;
            Ok(if text.contains(expected) { Ok(()) } else { Err(text) })
        })
    });
}

fn pings(bench: &Bench, vm: &Vm, to: &str) {
    says(bench, vm, &["ping", "-n", "-c", "1", "-W", "1", to], " 1 received");
}

/// Addresses, names, MTU and ways of each VM, by real packets.
fn all_is_told(bench: &Bench, network: &Network, vms: &[Vm]) {
    let router = bench.must(|bench| check::router_connected(&bench.api, &network.l3));
    let router6 = Ipv6Addr::from(u128::from(network.prefix) + 1).to_string();
    let domain = &bench.site.guest.domain;
    for vm in vms {
        for (file, expected) in [("net/ipv6/conf/eth0/mtu", "1400"), ("net/ipv6/conf/eth0/forwarding", "0")] {
            says(bench, vm, &["cat", &format!("/proc/sys/{file}")], expected);
        }
        says(bench, vm, &["ip", "link", "show", "dev", "eth0"], " mtu 1400 ");
        says(bench, vm, &["ip", "-4", "route"], &format!("default via {} dev eth0", router.guest_ip));
        says(bench, vm, &["ip", "-6", "route"], "default via fe80::");
        pings(bench, vm, &router6);
        // What fills the link passes whole: 40 bytes are IPv6's, 8 are ICMP's.
        says(bench, vm, &["ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", "1352", &router6], " 1 received");
        pings(bench, vm, OUTSIDE);
        for other in vms {
            pings(bench, vm, &other.ip.to_string());
            pings(bench, vm, &other.ip6.to_string());
            let name = format!("{}.{domain}", other.name);
            for server in [router.guest_ip.to_string(), router6.clone()] {
                let at = format!("@{server}");
                says(bench, vm, &["dig", "+short", &at, "A", &name], &other.ip.to_string());
                says(bench, vm, &["dig", "+short", &at, "AAAA", &name], &other.ip6.to_string());
                says(bench, vm, &["dig", "+short", &at, "-x", &other.ip6.to_string()], &format!("{name}."));
            }
            // By the name servers that the VM was told.
            says(bench, vm, &["getent", "ahostsv6", &name], &other.ip6.to_string());
        }
        says(bench, vm, &["cat", "/etc/resolv.conf"], &format!("nameserver {router6}"));
    }
    bench.must(|bench| {
        let drift = check::drift(&bench.api, &router.uuid)?;
        ensure!(drift.is_empty(), "expected no drift, got {drift:?}");
        Ok(())
    });
}

/// The outside knows the way to the network: by the router's public address.
fn the_outside_answers(bench: &Bench, network: &Network) {
    bench.must(|bench| {
        let router = check::router_connected(&bench.api, &network.l3)?;
        let nics = router.inventory["vmNics"].as_array().context("a router has nics")?;
        let public = nics.iter().find(|nic| nic["l3NetworkUuid"] == bench.site.public.as_str());
        let public = public.and_then(|nic| nic["uuid"].as_str()).context("a router has a public nic")?;
        let conditions = [format!("vmNicUuid={public}"), "ipVersion=6".to_string()];
        let used = bench.api.query("QueryIpAddress", &conditions)?;
        let via = used[0]["ip"].as_str().context("expected an IPv6 address of the router")?;
        let line = format!("ip -6 route replace {}/64 via {via}", network.prefix);
        let (done, said) = bench.lab.run_in("inet", &["sh", "-c", &line])?;
        ensure!(done, "{line}: {said}");
        Ok(())
    });
}

#[test]
fn two_clusters_are_served_in_both_families() {
    let bench = Bench::with_hosts("six", Topology::Separate, 3);
    let far = two_clusters(&bench);
    let world =
        format!("echo 0 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6 && ip -6 addr add {OUTSIDE}/64 dev eth0 nodad");
    bench.must(|bench| {
        let (done, said) = bench.lab.run_in("inet", &["sh", "-c", &world])?;
        ensure!(done, "{world}: {said}");
        Ok(())
    });
    let public = json!({
        "l3NetworkUuid": bench.site.public, "name": "six", "startIp": "2001:db8:203::100", "endIp": "2001:db8:203::1ff",
        "gateway": OUTSIDE, "prefixLen": 64, "addressMode": "Stateful-DHCP",
    });
    bench.ask("AddIpv6Range", public);

    // The network of the lab has a VLAN; its hosts make their addresses.
    let made = with_ipv6(&bench, &bench.site.guest.l3, "fd00:10::", "SLAAC");
    let asked = flat(&bench, &far, "Stateful-DHCP");
    let hosts = bench.must(|bench| bench.api.query("QueryHost", &[]));
    let host = |name: &str| -> String {
        let found = hosts.iter().find(|host| host["name"] == name);
        found.and_then(|host| host["uuid"].as_str()).unwrap().to_string()
    };
    let mut all = vec![];
    for network in [&made, &asked] {
        let short = if network.mode == "SLAAC" { "made" } else { "asked" };
        let vms = ["host1", "host2", "host3"].map(|on| vm(&bench, network, &format!("{short}-{on}"), &host(on)));
        the_outside_answers(&bench, network);
        all_is_told(&bench, network, &vms);
        all.push(vms);
    }
    // Between the networks nothing passes but by way of the public, which does not begin a connection.
    bench.must(|bench| {
        let (reached, said) =
            bench.lab.run_in("inet", &["ping", "-n", "-c", "1", "-W", "1", &all[0][0].ip6.to_string()])?;
        ensure!(!reached, "the public reaches a guest: {said}");
        Ok(())
    });

    // Ways by IPv4 are told as before, to who asks for its lease anew.
    let first = &all[0][0];
    let route = json!({"l3NetworkUuid": made.l3, "prefix": "10.99.0.0/16", "nexthop": first.ip.to_string()});
    bench.ask("AddHostRouteToL3Network", route);
    let second = &all[0][1];
    bench.ask("RebootVmInstance", Bench::uuid_of(&second.uuid));
    bench.must(|bench| {
        check::vm_running(&bench.api, &second.uuid)?;
        check::address_inside(&bench.lab, &check::machine(&bench.lab, &second.uuid)?, second.ip)?;
        has_addresses(bench, &second.uuid, &[second.ip6])
    });
    says(&bench, second, &["ip", "-4", "route"], &format!("10.99.0.0/16 via {} dev eth0", first.ip));

    // Another address reaches a VM that runs, and what it has of IPv4 is not touched.
    let moved = &all[1][1];
    let wanted: Ipv6Addr = "fd00:20::abcd".parse().unwrap();
    let change = json!({"vmInstanceUuid": moved.uuid, "l3NetworkUuid": asked.l3, "ip6": wanted});
    bench.ask("SetVmStaticIp", change);
    bench.must(|bench| has_addresses(bench, &moved.uuid, &[wanted]));
    let name = format!("{}.{}", moved.name, bench.site.guest.domain);
    says(&bench, moved, &["getent", "ahostsv6", &name], &wanted.to_string());
    says(&bench, moved, &["ip", "-4", "addr"], &format!("inet {}/", moved.ip));
    pings(&bench, &all[1][0], &wanted.to_string());

    // The successor of a router is found by all, by its address and as the way to everywhere.
    for (network, vms) in [&made, &asked].into_iter().zip(&all) {
        let router = bench.must(|bench| check::router_connected(&bench.api, &network.l3));
        bench.ask("DestroyVmInstance", Bench::uuid_of(&router.uuid));
        vm(&bench, network, "late", &host("host2"));
        the_outside_answers(&bench, network);
        let began = std::time::Instant::now();
        for vm in vms {
            pings(&bench, vm, &Ipv6Addr::from(u128::from(network.prefix) + 1).to_string());
            pings(&bench, vm, OUTSIDE);
        }
        println!("{}: all found the new router after {:?}", network.mode, began.elapsed());
    }

    // What is gone for one family is not felt in the other one, and the VM runs on.
    let vm = &all[1][2];
    let before = bench.must(|bench| check::machine(&bench.lab, &vm.uuid)).pid;
    let ranges = bench.must(|bench| {
        bench.api.query("QueryIpRange", &[format!("l3NetworkUuid={}", asked.l3), "ipVersion=6".to_string()])
    });
    bench.ask("DeleteIpRange", json!({"uuid": ranges[0]["uuid"], "deleteMode": "Enforcing"}));
    bench.must(|bench| has_addresses(bench, &vm.uuid, &[]));
    pings(&bench, vm, &all[1][0].ip.to_string());
    let name = format!("{}.{}", all[1][0].name, bench.site.guest.domain);
    let server = bench.must(|bench| check::router_connected(&bench.api, &asked.l3)).guest_ip;
    says(&bench, vm, &["dig", &format!("@{server}"), "AAAA", &name], "ANSWER: 0");
    let after = bench.must(|bench| check::machine(&bench.lab, &vm.uuid)).pid;
    assert_eq!(before, after, "the VM was started again");
}

#[test]
fn a_network_without_ipv4_and_one_that_only_tells_are_served() {
    let bench = Bench::new("six2", Topology::Separate);
    let zone = &bench.site.zone;
    let network = |vlan: u16, range: Value, ipv4: bool| {
        let l2 = json!({"name": "six", "zoneUuid": zone, "physicalInterface": "eth2", "vlan": vlan});
        let l2 = bench.must(|bench| bench.ask("CreateL2VlanNetwork", l2.clone()).uuid());
        attach(&bench, &json!(l2), &bench.site.cluster);
        let l3 = json!({"name": "six", "l2NetworkUuid": l2, "category": "Private", "dnsDomain": "six.test"});
        let l3 = bench.must(|bench| bench.ask("CreateL3Network", l3.clone()).uuid());
        if ipv4 {
            let four = json!({"l3NetworkUuid": l3, "name": "four", "networkCidr": "10.30.0.0/24"});
            bench.ask("AddIpRangeByNetworkCidr", four);
        }
        let mut range = range;
        range["l3NetworkUuid"] = json!(l3);
        bench.ask("AddIpv6RangeByNetworkCidr", range);
        let services = json!({"VirtualRouter": ["DHCP", "DNS"]});
        bench.ask("AttachNetworkServiceToL3Network", json!({"l3NetworkUuid": l3, "networkServices": services}));
        l3
    };
    let alone =
        network(11, json!({"name": "a", "networkCidr": "fd00:11::/112", "addressMode": "Stateful-DHCP"}), false);
    let told = network(12, json!({"name": "b", "networkCidr": "fd00:12::/64", "addressMode": "Stateless-DHCP"}), true);
    for l3 in [&alone, &told] {
        let vms = [0, 1].map(|host| {
            let vm = json!({
                "name": format!("vm{host}"), "l3NetworkUuids": [l3], "zoneUuid": zone, "hostUuid": bench.site.hosts[host],
            });
            let uuid = bench.must(|bench| bench.ask("CreateVmInstance", vm.clone()).uuid());
            bench.must(|bench| {
                let nic = &check::vm_running(&bench.api, &uuid)?["vmNics"][0];
                let conditions = [format!("vmNicUuid={}", nic["uuid"].as_str().unwrap_or_default()), "ipVersion=6".into()];
                let used = bench.api.query("QueryIpAddress", &conditions)?;
                let ip: Ipv6Addr = used[0]["ip"].as_str().context("expected an IPv6 address")?.parse()?;
                if l3 == &told {
                    let mac: Mac = nic["mac"].as_str().unwrap_or_default().parse()?;
                    ensure!(ip == eui64("fd00:12::".parse()?, mac), "{ip} is not made of {mac}");
                }
                has_addresses(bench, &uuid, &[ip])?;
                Ok((uuid.clone(), ip))
            })
        });
        let nics = bench.must(|bench| {
            let routers = check::routers_of(&bench.api, l3)?;
            bench
                .api
                .query("QueryVmNic", &[format!("vmInstanceUuid={}", routers[0]["uuid"].as_str().unwrap_or_default())])
        });
        let own = nics.iter().find(|nic| nic["l3NetworkUuid"] == l3.as_str()).and_then(|nic| nic["uuid"].as_str());
        let conditions = [format!("vmNicUuid={}", own.unwrap()), "ipVersion=6".to_string()];
        let used = bench.must(|bench| bench.api.query("QueryIpAddress", &conditions));
        let router = used[0]["ip"].as_str().unwrap().to_string();
        for (vm, _) in &vms {
            says_in(&bench, vm, &["cat", "/etc/resolv.conf"], &format!("nameserver {router}"));
            says_in(&bench, vm, &["cat", "/etc/resolv.conf"], "search six.test");
            for (host, (_, other)) in vms.iter().enumerate() {
                says_in(&bench, vm, &["getent", "ahostsv6", &format!("vm{host}.six.test")], &other.to_string());
                says_in(&bench, vm, &["ping", "-n", "-c", "1", "-W", "1", &other.to_string()], " 1 received");
            }
            // The router is not the way to everywhere: the network has no SNAT.
            let (_, routes) = bench.must(|bench| bench.lab.run_in(vm, &["ip", "-6", "route", "show", "default"]));
            assert_eq!(routes.trim(), "", "{routes}");
        }
    }
}

#[test]
fn a_flat_network_is_served_in_both_families() {
    let bench = Bench::new("six3", Topology::Combined);
    let flat = with_ipv6(&bench, &bench.site.guest.l3, "fd00:30::", "SLAAC");
    // A router beside the flat network's own one is the way out.
    let world = "echo 0 >/proc/sys/net/ipv6/conf/eth1/disable_ipv6 && ip -6 addr add fd00:30::1/64 dev eth1 nodad";
    let (done, said) = bench.must(|bench| bench.lab.run_in("inet", &["sh", "-c", world]));
    assert!(done, "{said}");
    let vms = [0, 1].map(|host| vm(&bench, &flat, &format!("flat{host}"), &bench.site.hosts[host]));
    for vm in &vms {
        pings(&bench, vm, "fd00:30::1");
        for other in &vms {
            pings(&bench, vm, &other.ip6.to_string());
            let name = format!("{}.{}", other.name, bench.site.guest.domain);
            says(&bench, vm, &["getent", "ahostsv6", &name], &other.ip6.to_string());
        }
        // The router says nothing of ways.
        let (_, routes) = bench.must(|bench| bench.lab.run_in(&vm.uuid, &["ip", "-6", "route", "show", "default"]));
        assert_eq!(routes.trim(), "");
    }
    bench.must(|bench| {
        let router = check::router_connected(&bench.api, &flat.l3)?;
        let drift = check::drift(&bench.api, &router.uuid)?;
        ensure!(drift.is_empty(), "expected no drift, got {drift:?}");
        let (_, routes) = bench.lab.run_in(&router.uuid, &["ip", "-6", "route", "show", "default"])?;
        ensure!(routes.contains("default via fd00:30::1 dev eth0"), "{routes}");
        Ok(())
    });
}
