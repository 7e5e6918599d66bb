//! What real DHCP clients are told of their network: MTU and host routes.

use crate::harness::Bench;
use anyhow::ensure;
use serde_json::json;
use switchback::lab::{Deadline, Topology, check, poll};

#[test]
fn clients_take_mtu_and_host_routes() {
    let bench = Bench::new("told", Topology::Separate);
    let first = bench.vm("first", 0);
    let l3 = bench.site.guest.l3.clone();
    let via = first.ip.to_string();
    bench.ask("SetL3NetworkMtu", json!({"l3NetworkUuid": l3, "mtu": 1400}));
    bench.ask("AddHostRouteToL3Network", json!({"l3NetworkUuid": l3, "prefix": "10.99.0.0/16", "nexthop": via}));
    let router = bench.router();
    let gateway = router.guest_ip.to_string();
    // One on each host.
    let seconds = [bench.vm("second", 0), bench.vm("third", 1)];
    bench.must(|bench| {
        for vm in &seconds {
            let run = |line: &[&str]| bench.lab.run_in(&vm.uuid, line);
            let (_, link) = run(&["ip", "link", "show", "dev", "eth0"])?;
            ensure!(link.contains("mtu 1400 "), "expected {} to have an MTU of 1400, got {link}", vm.name);
            let (_, routes) = run(&["ip", "-4", "route", "show"])?;
            for way in [format!("10.99.0.0/16 via {via} dev eth0"), format!("default via {gateway} dev eth0")] {
                ensure!(routes.contains(&way), "expected {} to have `{way}`, got {routes}", vm.name);
            }
            // What fills the link passes whole.
            for (bytes, passes) in [("1372", true), ("1373", false)] {
                let (ok, said) = run(&["ping", "-c", "1", "-W", "2", "-M", "do", "-s", bytes, &gateway])?;
                ensure!(ok == passes, "ping of {bytes} bytes from {}: {said}", vm.name);
            }
        }
        let namespace = bench.lab.router_namespace(&router.uuid)?;
        let (_, links) = bench.lab.run_in(&namespace, &["ip", "-o", "link"])?;
        ensure!(links.matches("mtu 1400 ").count() == 1, "expected one nic of the router at 1400, got {links}");
        let drift = check::drift(&bench.api, &router.uuid)?;
        ensure!(drift.is_empty(), "expected no drift, got {drift:?}");
        Ok(())
    });
    bench.everything_serves(&seconds);
    // A route that is gone is not given again.
    bench.ask("RemoveHostRouteFromL3Network", json!({"l3NetworkUuid": l3, "prefix": "10.99.0.0/16"}));
    let last = &seconds[1];
    bench.ask("RebootVmInstance", Bench::uuid_of(&last.uuid));
    bench.must(|bench| {
        check::vm_running(&bench.api, &last.uuid)?;
        poll("the VM to have its default route only", Deadline::seconds(20), || {
            let (_, routes) = bench.lab.run_in(&last.uuid, &["ip", "-4", "route", "show"])?;
            let good = routes.contains(&format!("default via {gateway}")) && !routes.contains("10.99.0.0");
            Ok(if good { Ok(()) } else { Err(routes) })
        })
    });
}
