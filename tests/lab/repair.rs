//! A router that was meddled with, and one that was destroyed, come back from the log as they were.

use crate::harness::Bench;
use anyhow::ensure;
use serde_json::json;
use switchback::lab::{Deadline, Topology, check, poll};

fn no_drift(bench: &Bench) {
    let uuid = bench.router().uuid;
    bench.must(|bench| {
        poll("no drift", Deadline::seconds(10), || {
            let drift = check::drift(&bench.api, &uuid)?;
            Ok(if drift.is_empty() { Ok(()) } else { Err(format!("{drift:?}")) })
        })
    });
}

#[test]
fn reconnect_restores_what_was_wiped() {
    let bench = Bench::new("wipe", Topology::Separate);
    let vms = [bench.vm("one", 0), bench.vm("two", 1)];
    bench.everything_serves(&vms);
    no_drift(&bench);
    let (router, digest) = (bench.router(), bench.digest());
    let namespace = bench.lab.router_namespace(&router.uuid).unwrap();
    for round in 0..2 {
        bench.must(|bench| check::wipe_router(&bench.lab, &namespace));
        bench.must(|bench| {
            poll("drift to name nftables and dnsmasq", Deadline::seconds(10), || {
                let drift = check::drift(&bench.api, &router.uuid)?;
                let names = |what: &str| drift.iter().any(|item| item.contains(what));
                Ok(if names("nftables") && names("dnsmasq") { Ok(()) } else { Err(format!("{round}: {drift:?}")) })
            })
        });
        let reply = bench.ask("ReconnectVirtualRouter", json!({"vmInstanceUuid": router.uuid}));
        assert!(reply.reply.applied, "{}", reply.body);
        no_drift(&bench);
        assert_eq!(bench.digest(), digest);
        bench.everything_serves(&vms);
    }
    assert_eq!(bench.router().uuid, router.uuid);
}

#[test]
fn a_destroyed_router_has_a_successor_that_serves_the_same() {
    let bench = Bench::new("again", Topology::Separate);
    let vms = [bench.vm("one", 0), bench.vm("two", 1)];
    bench.everything_serves(&vms);
    let old = bench.router();
    bench.ask("DestroyVmInstance", Bench::uuid_of(&old.uuid));
    bench.must(|bench| {
        poll("the router to be gone", Deadline::seconds(20), || {
            let namespace = bench.lab.router_namespace(&old.uuid);
            let left = check::routers_of(&bench.api, &bench.site.guest.l3)?;
            Ok(if namespace.is_err() && left.is_empty() { Ok(()) } else { Err(format!("{namespace:?} {left:?}")) })
        })
    });
    bench.ask("RebootVmInstance", Bench::uuid_of(&vms[0].uuid));
    let new = bench.router();
    assert_ne!(new.uuid, old.uuid);
    bench.everything_serves(&vms);
    bench.must(|bench| {
        let hosts = |uuid: &str, at: Option<String>| -> anyhow::Result<Vec<String>> {
            let path = format!("/v1/routers/{uuid}/config");
            let at = at.unwrap_or_default();
            let parameters: &[(&str, &str)] = if at.is_empty() { &[] } else { &[("at", &at)] };
            check::dhcp_addresses(&bench.api.get(&path, parameters)?)
        };
        let new_hosts = hosts(&new.uuid, None)?;
        ensure!(new_hosts.len() == 2, "expected two entries, got {new_hosts:?}");
        let events = bench.api.get("/v1/events", &[("resource", &old.uuid), ("kind", "router.DestroyRequested")])?;
        let destroyed = events["events"][0]["position"].as_u64().expect("the router was destroyed");
        let old_hosts = hosts(&old.uuid, Some((destroyed - 1).to_string()))?;
        ensure!(old_hosts == new_hosts, "expected the same entries, got {old_hosts:?} and {new_hosts:?}");
        Ok(())
    });
}

#[test]
fn a_router_whose_agent_was_killed_comes_back() {
    let mut bench = Bench::new("agent", Topology::Separate);
    let vm = bench.vm("one", 0);
    let digest = bench.digest();
    let host = bench.must(|bench| {
        let uuid = bench.router().uuid;
        let router = bench.api.one("QueryVirtualRouterVm", &uuid)?;
        let at = bench.site.hosts.iter().position(|host| router["hostUuid"] == host.as_str());
        Ok(at.expect("the router is on a host of the lab") + 1)
    });
    // The host's agent goes with a crash; VMs and routers on it go on, and it finds them again.
    bench.lab.restart_host(u8::try_from(host).unwrap()).unwrap();
    bench.must(|bench| {
        poll("the host to be Connected", Deadline::seconds(60), || {
            let inventory = bench.api.one("QueryHost", &bench.site.hosts[host - 1])?;
            Ok(if inventory["status"] == "Connected" { Ok(()) } else { Err(inventory.to_string()) })
        })
    });
    bench.everything_serves(std::slice::from_ref(&vm));
    let router = bench.router();
    bench.ask("ReconnectVirtualRouter", json!({"vmInstanceUuid": router.uuid}));
    assert_eq!(bench.digest(), digest);
    bench.everything_serves(std::slice::from_ref(&vm));
}
