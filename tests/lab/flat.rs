//! A network that hosts serve themselves, with real packets.

use crate::harness::Bench;
use anyhow::{Context, ensure};
use serde_json::json;
use std::net::Ipv4Addr;
use switchback::lab::{Deadline, INTERNET_WEB, Topology, check, poll};

/// A network with DHCP and DNS by hosts; the internet is nobody's way there.
fn network(bench: &Bench) -> String {
    let made = |name, parameters| bench.must(|bench| bench.ask(name, parameters).uuid());
    let l2 = json!({"name": "flat", "zoneUuid": bench.site.zone, "physicalInterface": "eth2", "vlan": 12});
    let l2 = made("CreateL2VlanNetwork", l2);
    bench.ask("AttachL2NetworkToCluster", json!({"l2NetworkUuid": l2, "clusterUuid": bench.site.cluster}));
    let l3 = made("CreateL3Network", json!({"name": "flat", "l2NetworkUuid": l2, "dnsDomain": "flat.test"}));
    let range = json!({
        "l3NetworkUuid": l3, "name": "r", "startIp": "10.12.0.10", "endIp": "10.12.0.99", "netmask": "255.255.255.0",
        "gateway": "10.12.0.1",
    });
    bench.ask("AddIpRange", range);
    let services = json!({"l3NetworkUuid": l3, "networkServices": {"Flat": ["DHCP", "DNS", "HostRoute"]}});
    bench.ask("AttachNetworkServiceToL3Network", services);
    l3
}

/// A VM on the network, once it has its address.
fn vm(bench: &Bench, l3: &str, name: &str, host: usize) -> (String, Ipv4Addr) {
    let vm = json!({"name": name, "l3NetworkUuids": [l3], "hostUuid": bench.site.hosts[host]});
    let uuid = bench.must(|bench| bench.ask("CreateVmInstance", vm.clone()).uuid());
    let ip = bench.must(|bench| {
        let ip = check::address_of(&check::vm_running(&bench.api, &uuid)?)?;
        check::address_inside(&bench.lab, &check::machine(&bench.lab, &uuid)?, ip)?;
        Ok(ip)
    });
    (uuid, ip)
}

/// The namespaces from which hosts serve networks.
fn rooms(bench: &Bench) -> usize {
    bench.lab.namespaces().iter().filter(|name| name.contains("fl-")).count()
}

#[test]
fn hosts_give_their_vms_addresses_and_names() {
    let bench = Bench::new("flat", Topology::Separate);
    let l3 = network(&bench);
    let ((here, ip), (there, other)) = (vm(&bench, &l3, "here", 0), vm(&bench, &l3, "there", 1));
    assert_eq!(rooms(&bench), 2);
    let server = bench.must(|bench| {
        let held = bench.api.query("QueryIpAddress", &["usedFor=DHCP".to_string()])?;
        let ip = held.first().and_then(|held| held["ip"].as_str()).context("expected an address of the server")?;
        Ok(ip.parse::<Ipv4Addr>()?)
    });
    bench.must(|bench| {
        check::resolves(&bench.lab, &here, "here.flat.test", ip)?;
        check::resolves(&bench.lab, &there, "there.flat.test", other)?;
        // They reach each other over the wire, and each its own host at the same address.
        let mut seen = Vec::new();
        for (vm, peer) in [(&here, other), (&there, ip)] {
            for address in [peer, server] {
                let (ok, said) = bench.lab.run_in(vm, &["ping", "-c", "1", "-W", "5", &address.to_string()])?;
                ensure!(ok, "expected {address} to answer, got: {said}");
            }
            let (_, told) = bench.lab.run_in(vm, &["ip", "neigh", "show", &server.to_string()])?;
            let mac = told.split_once("lladdr ").and_then(|(_, rest)| rest.split(' ').next().map(str::to_string));
            seen.push(mac.with_context(|| format!("expected to know {server}, got: {told}"))?);
        }
        ensure!(seen[0] == seen[1], "expected one hardware address, got {seen:?}");
        // Nothing of that was on the wire between the hosts.
        let (ok, known) = bench.lab.run_in("fabric", &["bridge", "fdb", "show"])?;
        let of_vms = bench.api.query("QueryVmNic", &[format!("l3NetworkUuid={l3}")])?;
        let mut of_vms = of_vms.iter().map(|nic| nic["mac"].as_str().unwrap_or("no MAC"));
        ensure!(ok && of_vms.all(|mac| known.contains(mac)), "expected the VMs on the wire, got: {known}");
        ensure!(!known.contains(&seen[0]), "expected {} nowhere on the wire, got: {known}", seen[0]);
        Ok(())
    });

    bench.ask("StopVmInstance", json!({"uuid": here}));
    assert_eq!(rooms(&bench), 1);
    bench.must(|bench| check::resolves(&bench.lab, &there, "there.flat.test", other));
    bench.ask("StartVmInstance", json!({"uuid": here}));
    bench.must(|bench| {
        check::address_inside(&bench.lab, &check::machine(&bench.lab, &here)?, ip)?;
        check::resolves(&bench.lab, &here, "here.flat.test", ip)
    });
    // An agent that comes back finds its rooms, and serves again.
    let mut bench = bench;
    bench.lab.restart_host(1).unwrap();
    bench.ask("ReconnectHost", json!({"uuid": bench.site.hosts[0]}));
    bench.must(|bench| check::resolves(&bench.lab, &here, "here.flat.test", ip));
    let detach = json!({"l3NetworkUuid": l3, "networkServices": {"Flat": ["DHCP", "DNS"]}});
    bench.ask("DetachNetworkServiceFromL3Network", detach);
    assert_eq!(rooms(&bench), 0);
}

#[test]
fn eips_of_hosts_lead_in_and_out() {
    let bench = Bench::new("fleip", Topology::Separate);
    let l3 = network(&bench);
    let services = json!({"l3NetworkUuid": l3, "networkServices": {"Flat": ["Eip"]}});
    bench.ask("AttachNetworkServiceToL3Network", services);
    let mut eips = Vec::new();
    for (host, name) in ["here", "there"].into_iter().enumerate() {
        let (vm, _) = vm(&bench, &l3, name, host);
        let vip = bench.ask("CreateVip", json!({"name": name, "l3NetworkUuid": bench.site.public}));
        let vip = vip.reply.inventory.unwrap_or_default();
        let nic = bench.must(|bench| Ok(bench.api.query("QueryVmNic", &[format!("vmInstanceUuid={vm}")])?.remove(0)));
        let eip = json!({"name": name, "vipUuid": vip["uuid"], "vmNicUuid": nic["uuid"]});
        let eip = bench.must(|bench| bench.ask("CreateEip", eip.clone()).uuid());
        let ip: Ipv4Addr = bench.must(|_| Ok(vip["ip"].as_str().context("a VIP has an address")?.parse()?));
        eips.push((vm, eip, ip));
    }
    let reached = |bench: &Bench, from: &str, ip: Ipv4Addr, answers: bool| {
        poll(&format!("{ip} to answer {from}: {answers}"), Deadline::seconds(20), || {
            let (ok, said) = bench.lab.run_in(from, &["ping", "-c", "1", "-W", "1", &ip.to_string()])?;
            Ok(if ok == answers { Ok(()) } else { Err(said) })
        })
    };
    let web = format!("http://{INTERNET_WEB}/");
    bench.must(|bench| {
        for (vm, _, ip) in &eips {
            check::web_sees(&bench.lab, vm, &web, *ip)?;
            reached(bench, "inet", *ip, true)?;
        }
        // From one host to the other, by the wire of the public.
        reached(bench, &eips[0].0, eips[1].2, true)
    });
    bench.ask("StopVmInstance", json!({"uuid": eips[0].0}));
    bench.must(|bench| reached(bench, "inet", eips[0].2, false));
    bench.ask("StartVmInstance", json!({"uuid": eips[0].0}));
    bench.must(|bench| check::web_sees(&bench.lab, &eips[0].0, &web, eips[0].2));
    bench.ask("DetachEip", json!({"uuid": eips[0].1}));
    bench.must(|bench| {
        reached(bench, "inet", eips[0].2, false)?;
        reached(bench, "inet", eips[1].2, true)
    });
}
