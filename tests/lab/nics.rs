//! Nics of a VM that runs come, change and go; what goes on beside them does not notice.

use crate::harness::Bench;
use anyhow::ensure;
use serde_json::{Value, json};
use std::{net::Ipv4Addr, time::Duration};
use switchback::lab::{Deadline, Topology, check, dns_a, poll};

/// Another guest network with DHCP and DNS, on another VLAN.
fn second_network(bench: &Bench) -> String {
    let made = |name: &str, parameters: Value| bench.must(|bench| bench.ask(name, parameters.clone()).uuid());
    let l2 = json!({"name": "second", "zoneUuid": bench.site.zone, "physicalInterface": "eth2", "vlan": 11});
    let l2 = made("CreateL2VlanNetwork", l2);
    bench.ask("AttachL2NetworkToCluster", json!({"l2NetworkUuid": l2, "clusterUuid": bench.site.cluster}));
    let l3 = made("CreateL3Network", json!({"name": "second", "l2NetworkUuid": l2, "dnsDomain": "second.test"}));
    bench.ask("AddIpRangeByNetworkCidr", json!({"l3NetworkUuid": l3, "name": "r", "networkCidr": "10.20.0.0/24"}));
    let services = json!({"l3NetworkUuid": l3, "networkServices": {"VirtualRouter": ["DHCP", "DNS"]}});
    bench.ask("AttachNetworkServiceToL3Network", services);
    l3
}

fn nic_on(bench: &Bench, vm: &str, l3: &str) -> (String, Ipv4Addr) {
    bench.must(|bench| {
        let vm = bench.api.one("QueryVmInstance", vm)?;
        let nics = vm["vmNics"].as_array().cloned().unwrap_or_default();
        let nic = nics.iter().find(|nic| nic["l3NetworkUuid"] == l3);
        let nic = nic.ok_or_else(|| anyhow::anyhow!("expected a nic on {l3}, got {vm}"))?;
        Ok((nic["uuid"].as_str().unwrap_or_default().to_string(), nic["ip"].as_str().unwrap_or_default().parse()?))
    })
}

/// Waits until the kernel of the VM has exactly these addresses.
fn has(bench: &Bench, vm: &str, wanted: &[Ipv4Addr]) {
    bench.must(|bench| {
        poll(&format!("the VM to have {wanted:?}"), Deadline::seconds(20), || {
            let seen = check::ip_addr(&bench.lab, vm)?;
            Ok(if seen == wanted { Ok(()) } else { Err(format!("{seen:?}")) })
        })
    });
}

fn pings(bench: &Bench, vm: &str, ip: Ipv4Addr) {
    bench.must(|bench| {
        let (ok, text) = bench.lab.run_in(vm, &["ping", "-c", "2", "-i", "0.2", "-W", "2", &ip.to_string()])?;
        ensure!(ok, "expected {ip} to answer, got {text}");
        Ok(())
    });
}

#[test]
fn nics_come_change_and_go_while_the_vm_talks() {
    let bench = Bench::new("nics", Topology::Separate);
    let second = second_network(&bench);
    let (one, other) = (bench.vm("one", 0), bench.vm("other", 1));
    let gateway = bench.router().guest_ip.to_string();
    let machine = bench.must(|bench| check::machine(&bench.lab, &one.uuid));
    let ping = ["ping", "-q", "-i", "0.05", "-c", "300", "-W", "2", &gateway];
    std::thread::scope(|scope| {
        let talk = scope.spawn(|| bench.lab.run_in(&one.uuid, &ping));
        bench.ask("AttachL3NetworkToVm", json!({"vmInstanceUuid": one.uuid, "l3NetworkUuid": second}));
        let (nic, ip) = nic_on(&bench, &one.uuid, &second);
        has(&bench, &one.uuid, &[one.ip, ip]);
        let router = bench.must(|bench| check::router_connected(&bench.api, &second));
        pings(&bench, &one.uuid, router.guest_ip);
        // Its name is known there, too.
        bench.must(|bench| {
            let ask = || dns_a(router.guest_ip, "one.second.test", Duration::from_secs(2));
            let answer = bench.lab.within_machine(&machine, ask)?;
            ensure!(answer.as_ref().is_ok_and(|found| *found == Some(ip)), "expected {ip}, got {answer:?}");
            Ok(())
        });
        let wanted = Ipv4Addr::new(10, 20, 0, if ip.octets()[3] == 77 { 78 } else { 77 });
        let set = json!({"vmInstanceUuid": one.uuid, "l3NetworkUuid": second, "ip": wanted});
        bench.ask("SetVmStaticIp", set);
        has(&bench, &one.uuid, &[one.ip, wanted]);
        pings(&bench, &one.uuid, router.guest_ip);
        bench.ask("DetachL3NetworkFromVm", json!({"vmNicUuid": nic}));
        has(&bench, &one.uuid, &[one.ip]);
        let (_, said) = talk.join().unwrap().unwrap();
        assert!(said.contains(" 0% packet loss"), "the first network did not go on: {said}");
    });
    let now = bench.must(|bench| check::machine(&bench.lab, &one.uuid));
    assert_eq!(now.pid, machine.pid, "the VM was not started again");

    bench.ask("SetVmHostname", json!({"uuid": one.uuid, "hostname": "db"}));
    bench.must(|bench| check::resolves(&bench.lab, &other.uuid, "db.guest.test", one.ip));
    bench.must(|bench| {
        poll("the VM to call itself db", Deadline::seconds(5), || {
            let (_, name) = bench.lab.run_in(&one.uuid, &["cat", "/proc/sys/kernel/hostname"])?;
            Ok(if name.trim() == "db" { Ok(()) } else { Err(name) })
        })
    });
    has(&bench, &one.uuid, &[one.ip]);

    // A nic that is disabled, and a VM that is paused, carry nothing; then they do again.
    let (nic, _) = nic_on(&bench, &one.uuid, &bench.site.guest.l3);
    let state = |state: &str| json!({"vmNicUuid": nic, "state": state});
    let of = json!({"uuid": one.uuid});
    for (off, on, parameters) in [
        ("ChangeVmNicState", "ChangeVmNicState", [state("disable"), state("enable")]),
        ("PauseVmInstance", "ResumeVmInstance", [of.clone(), of]),
    ] {
        bench.ask(off, parameters[0].clone());
        bench.must(|bench| {
            let (answered, text) = bench.lab.run_in(&one.uuid, &["ping", "-c", "1", "-W", "1", &gateway])?;
            ensure!(!answered, "{off}: expected no answer, got {text}");
            Ok(())
        });
        bench.ask(on, parameters[1].clone());
        bench.must(|bench| {
            poll(&format!("{gateway} to answer again after {on}"), Deadline::seconds(10), || {
                let (ok, text) = bench.lab.run_in(&one.uuid, &["ping", "-c", "1", "-W", "1", &gateway])?;
                Ok(if ok { Ok(()) } else { Err(text) })
            })
        });
    }
}

#[test]
fn a_router_that_runs_takes_another_public_network() {
    let bench = Bench::new("publics", Topology::Separate);
    let vm = bench.vm("one", 0);
    let router = bench.router();
    let made = |name: &str, parameters: Value| bench.must(|bench| bench.ask(name, parameters.clone()).uuid());
    let l2 = json!({"name": "more", "zoneUuid": bench.site.zone, "physicalInterface": "eth2", "vlan": 12});
    let l2 = made("CreateL2VlanNetwork", l2);
    bench.ask("AttachL2NetworkToCluster", json!({"l2NetworkUuid": l2, "clusterUuid": bench.site.cluster}));
    let l3 = made("CreateL3Network", json!({"name": "more", "l2NetworkUuid": l2, "category": "Public"}));
    bench.ask("AddIpRangeByNetworkCidr", json!({"l3NetworkUuid": l3, "name": "r", "networkCidr": "198.18.7.0/24"}));
    bench.ask("AttachL3NetworkToVm", json!({"vmInstanceUuid": router.uuid, "l3NetworkUuid": l3}));
    let addresses = || {
        let namespace = bench.lab.router_namespace(&router.uuid)?;
        let shown = std::process::Command::new("ip").args(["-n", &namespace, "-4", "-o", "addr"]).output()?;
        Ok::<_, anyhow::Error>(String::from_utf8_lossy(&shown.stdout).into_owned())
    };
    bench.must(|_| {
        poll("the router to have an address there", Deadline::seconds(10), || {
            let text = addresses()?;
            Ok(if text.contains("eth3    inet 198.18.7.") { Ok(()) } else { Err(text) })
        })
    });
    bench.must(|bench| {
        let drift = check::drift(&bench.api, &router.uuid)?;
        ensure!(drift.is_empty(), "expected no drift, got {drift:?}");
        Ok(())
    });
    bench.everything_serves(std::slice::from_ref(&vm));
    let found = bench.must(|bench| bench.api.one("QueryVirtualRouterVm", &router.uuid));
    let nics = found["vmNics"].as_array().cloned().unwrap_or_default();
    let nic = nics.iter().find(|nic| nic["l3NetworkUuid"] == l3.as_str()).expect("a nic on the network");
    bench.ask("DetachL3NetworkFromVm", json!({"vmNicUuid": nic["uuid"]}));
    bench.must(|_| {
        let text = addresses()?;
        ensure!(!text.contains("198.18.7."), "expected the nic to be gone, got {text}");
        Ok(())
    });
    bench.everything_serves(std::slice::from_ref(&vm));
}
