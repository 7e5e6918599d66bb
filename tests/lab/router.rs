//! What a router gives and what it refuses.

use crate::harness::Bench;
use anyhow::ensure;
use serde_json::json;
use std::{
    collections::BTreeSet,
    net::{SocketAddr, TcpStream},
    time::Duration,
};
use switchback::lab::{Deadline, INTERNET_WEB, Options, Topology, check, dns_a, poll};
use switchback_appliance::METADATA_PORT;

#[test]
fn fifteen_concurrent_creations_bring_one_router() {
    let bench = Bench::new("many", Topology::Separate);
    let uuids: Vec<String> = std::thread::scope(|scope| {
        let create = |number: usize| {
            let (api, parameters) = (bench.api.clone(), bench.site.vm(&format!("vm{number}"), None));
            move || api.command("CreateVmInstance", &parameters, &Options::default()).unwrap().uuid().unwrap()
        };
        let threads: Vec<_> = (0..15).map(|number| scope.spawn(create(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let router = bench.router();
    bench.must(|bench| {
        let all = bench.api.query("QueryVirtualRouterVm", &[])?;
        ensure!(all.len() == 1, "expected one router in all, got {}", json!(all));
        let mut addresses = BTreeSet::new();
        for uuid in &uuids {
            let ip = check::address_of(&check::vm_running(&bench.api, uuid)?)?;
            ensure!(addresses.insert(ip), "{ip} has two holders");
            check::address_inside(&bench.lab, &check::machine(&bench.lab, uuid)?, ip)?;
        }
        let seen = check::routers_of(&bench.api, &bench.site.guest.l3)?;
        ensure!(seen.len() == 1 && seen[0]["uuid"] == router.uuid.as_str(), "expected one router, got {}", json!(seen));
        Ok(())
    });
}

#[test]
fn an_address_outlives_stop_start_and_reboot() {
    let bench = Bench::new("keep", Topology::Separate);
    let vm = bench.vm("one", 0);
    let router = bench.router();
    for round in 0..2 {
        bench.ask("StopVmInstance", Bench::uuid_of(&vm.uuid));
        bench.must(|bench| check::vm_state(&bench.api, &vm.uuid, "Stopped"));
        bench.must(|bench| {
            poll("the stopped VM's namespace to be gone", Deadline::seconds(10), || {
                Ok(if bench.lab.machine(&vm.uuid).is_err() { Ok(()) } else { Err(format!("round {round}")) })
            })
        });
        bench.ask("StartVmInstance", Bench::uuid_of(&vm.uuid));
        bench.must(|bench| check::vm_running(&bench.api, &vm.uuid));
        bench.everything_serves(std::slice::from_ref(&vm));
    }
    bench.ask("RebootVmInstance", Bench::uuid_of(&vm.uuid));
    bench.must(|bench| check::vm_running(&bench.api, &vm.uuid));
    bench.everything_serves(std::slice::from_ref(&vm));
    assert_eq!(bench.router().uuid, router.uuid);
}

#[test]
fn nothing_but_its_services_is_open() {
    let bench = Bench::new("shut", Topology::Separate);
    let vm = bench.vm("one", 0);
    let router = bench.router();
    let agent_port = router.inventory["agentPort"].as_u64().and_then(|port| u16::try_from(port).ok());
    let agent_port = agent_port.expect("a router has an agent port");
    let open = |address: SocketAddr| TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok();
    bench.must(|bench| {
        let machine = check::machine(&bench.lab, &vm.uuid)?;
        let inside = |port: u16| bench.lab.within_machine(&machine, || open((router.guest_ip, port).into()));
        ensure!(inside(53)?, "expected DNS over TCP for the VM");
        ensure!(inside(80)?, "expected metadata for the VM");
        for port in [22, 81, agent_port] {
            ensure!(!inside(port)?, "expected port {port} of the router to be shut for the VM");
        }
        let inet = bench.lab.name().namespace("inet");
        for port in [22, 53, 80, METADATA_PORT, agent_port] {
            let reached = bench.lab.within(&inet, || open((router.public_ip, port).into()))?;
            ensure!(!reached, "expected port {port} of the router to be shut for the internet");
        }
        let asked =
            bench.lab.within(&inet, || dns_a(router.public_ip, "www.example.test", Duration::from_millis(500)))?;
        ensure!(asked.is_err(), "expected no DNS for the internet, got {asked:?}");
        // Without the router's translation there is no answer: the internet knows no way to the guests.
        let (reached, _) = bench.lab.run_in("inet", &["ip", "route", "get", &vm.ip.to_string()])?;
        ensure!(!reached, "expected the internet to have no route to {}", vm.ip);
        check::web_sees(&bench.lab, &vm.uuid, &format!("http://{INTERNET_WEB}/"), router.public_ip)
    });
}

#[test]
fn a_removed_name_server_is_asked_no_more() {
    let bench = Bench::new("dns", Topology::Separate);
    let vm = bench.vm("one", 0);
    bench.everything_serves(std::slice::from_ref(&vm));
    let router = bench.router();
    let dns = json!({"l3NetworkUuid": bench.site.guest.l3, "dns": "198.51.100.53"});
    bench.ask("RemoveDnsFromL3Network", dns.clone());
    let own = format!("one.{}", bench.site.guest.domain);
    bench.must(|bench| {
        let machine = check::machine(&bench.lab, &vm.uuid)?;
        poll("other names to be refused", Deadline::seconds(10), || {
            let ask = |name: &str| dns_a(router.guest_ip, name, Duration::from_secs(1));
            let (other, own) = bench.lab.within_machine(&machine, || (ask("www.example.test"), ask(&own)))?;
            let good = matches!(other, Ok(None)) && own.as_ref().is_ok_and(|ip| *ip == Some(vm.ip));
            Ok(if good { Ok(()) } else { Err(format!("{other:?} {own:?}")) })
        })
    });
    bench.ask("AddDnsToL3Network", dns);
    bench.everything_serves(std::slice::from_ref(&vm));
}

#[test]
fn a_router_that_runs_becomes_the_gateway_with_snat() {
    let bench = Bench::new("late", Topology::Separate);
    let snat = json!({"l3NetworkUuid": bench.site.guest.l3, "networkServices": {"VirtualRouter": ["SNAT"]}});
    bench.ask("DetachNetworkServiceFromL3Network", snat.clone());
    let vm = bench.vm("one", 0);
    let before = bench.router();
    bench.ask("AttachNetworkServiceToL3Network", snat);
    let router = bench.router();
    assert_ne!(router.guest_ip, before.guest_ip);
    bench.must(|bench| {
        check::web_sees(&bench.lab, &vm.uuid, &format!("http://{INTERNET_WEB}/"), router.public_ip)?;
        let drift = check::drift(&bench.api, &router.uuid)?;
        ensure!(drift.is_empty(), "expected no drift, got {drift:?}");
        Ok(())
    });
    // With its next lease the VM knows the name server's new address, too.
    bench.ask("RebootVmInstance", Bench::uuid_of(&vm.uuid));
    bench.must(|bench| check::vm_running(&bench.api, &vm.uuid));
    bench.everything_serves(std::slice::from_ref(&vm));
}
