//! Somebody meddles with a router and with a host while nobody asks: it is found, told, and mended where that is wanted.
//! What went through services is counted.

use crate::harness::Bench;
use anyhow::Context;
use serde_json::{Value, json};
use std::net::TcpStream;
use switchback::lab::{Deadline, Topology, check, poll};

impl Bench {
    fn configured(&self, category: &str, name: &str, value: &str) {
        self.ask("UpdateGlobalConfig", json!({"category": category, "name": name, "value": value}));
    }

    /// Waits until a row is as it should be.
    fn row(&self, query: &str, uuid: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.must(|bench| {
            poll(what, Deadline::seconds(30), || {
                let row = bench.api.one(query, uuid)?;
                Ok(if is(&row) { Ok(row) } else { Err(row.to_string()) })
            })
        })
    }

    /// Runs a line of the shell somewhere.
    fn run(&self, namespace: &str, line: &str) -> String {
        let output = std::process::Command::new("ip")
            .args(["netns", "exec", namespace, "sh", "-c", line])
            .output()
            .expect("run a shell");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }
}

#[test]
fn what_is_deleted_by_hand_is_found_by_pings_and_mended_by_policy() {
    let bench = Bench::new("watch", Topology::Separate);
    let services = json!({"l3NetworkUuid": bench.site.guest.l3, "networkServices": {"VirtualRouter": ["Eip"]}});
    bench.ask("AttachNetworkServiceToL3Network", services);
    let vm = bench.vm("one", 0);
    bench.everything_serves(std::slice::from_ref(&vm));
    let vip = bench.must(|bench| {
        let made = bench.ask("CreateVip", json!({"name": "vip", "l3NetworkUuid": bench.site.public}));
        bench.api.one("QueryVip", &made.uuid()?)
    });
    let ip = vip["ip"].as_str().unwrap().to_string();
    let row = bench.must(|bench| bench.api.one("QueryVmInstance", &vm.uuid));
    bench.ask("CreateEip", json!({"name": "web", "vipUuid": vip["uuid"], "vmNicUuid": row["vmNics"][0]["uuid"]}));
    let router = bench.router().uuid;
    let namespace = bench.lab.router_namespace(&router).unwrap();
    let table = bench.run(&namespace, "nft list tables").trim().trim_start_matches("table ").to_string();
    assert!(table.starts_with("inet vr_"), "{table}");
    bench.configured("virtualRouter", "ping.interval", "1");
    bench.configured("host", "ping.interval", "1");

    // An element goes: it is named, and stays away.
    bench.run(&namespace, &format!("nft delete element {table} eip_guests '{{ {ip} }}'"));
    let found =
        bench.row("QueryVirtualRouterVm", &router, "the drift to be known", |row| row["driftCount"].as_u64() > Some(0));
    assert!(
        found["statusReason"].as_str().unwrap().contains(&format!("eip_guests {{ {ip} }} (eips) is absent")),
        "{found}"
    );
    assert_eq!(found["status"], "Connected");
    assert!(!bench.run(&namespace, &format!("nft list map {table} eip_guests")).contains(&ip));
    // With the policy it comes back.
    bench.configured("virtualRouter", "drift.policy", "heal");
    bench.row("QueryVirtualRouterVm", &router, "it to be mended", |row| {
        row["driftCount"] == 0 && row["statusReason"].is_null()
    });
    assert!(bench.run(&namespace, &format!("nft list map {table} eip_guests")).contains(&ip));

    // A name server that stands still is started again.
    let still =
        format!("for p in $(ip netns pids {namespace}); do grep -q dnsmasq /proc/$p/comm && kill -STOP $p; done");
    bench.run(&namespace, &still);
    bench.must(|bench| {
        poll("its silence to be told", Deadline::seconds(30), || {
            let events = bench.api.get("/v1/events", &[("kind", "router.HealthChanged"), ("resource", &router)])?;
            let told = events["events"].to_string();
            Ok(if told.contains("the DNS question for revision.switchback.internal") { Ok(()) } else { Err(told) })
        })
    });
    bench.row("QueryVirtualRouterVm", &router, "it to answer", |row| row["healthReason"].is_null());
    bench.must(|bench| check::resolves(&bench.lab, &vm.uuid, &format!("{}.guest.test", vm.name), vm.ip));

    // What filters at the nics of the VM's host.
    let host = row["hostUuid"].as_str().context("the VM runs").unwrap().to_string();
    let number = bench.site.hosts.iter().position(|held| *held == host).unwrap() + 1;
    let on_host = bench.lab.name().namespace(&format!("host{number}"));
    bench.configured("host", "drift.policy", "notify");
    let before = bench.run(&on_host, "nft list table bridge switchback_guests");
    assert!(before.contains("chain clean"), "{before}");
    bench.run(&on_host, "nft flush chain bridge switchback_guests clean");
    let found =
        bench.row("QueryHost", &host, "the drift of the host to be known", |row| row["driftCount"].as_u64() > Some(0));
    assert!(found["statusReason"].as_str().unwrap().contains("chain clean (security) is changed"), "{found}");
    assert_ne!(bench.run(&on_host, "nft list table bridge switchback_guests"), before);
    bench.configured("host", "drift.policy", "heal");
    bench.row("QueryHost", &host, "the host to be mended", |row| {
        row["driftCount"] == 0 && row["statusReason"].is_null()
    });
    assert_eq!(bench.run(&on_host, "nft list table bridge switchback_guests").lines().count(), before.lines().count());

    // Packets are counted, in and out. Nobody listens: a question and a refusal each.
    let counted = || {
        let counters = bench.must(|bench| Ok(bench.api.get(&format!("/v1/routers/{router}/counters"), &[])?));
        assert!(counters["since"].as_i64() > Some(1_700_000_000_000_000), "{counters}");
        let line = counters["counters"][0].clone();
        assert_eq!((&line["type"], &line["name"]), (&json!("EIP"), &json!("web")), "{counters}");
        (line["inboundPackets"].as_u64().unwrap(), line["outboundPackets"].as_u64().unwrap())
    };
    let before = counted();
    bench.must(|bench| {
        bench.lab.within(&bench.lab.name().namespace("inet"), || {
            let server = format!("{ip}:9").parse().unwrap();
            let _ = TcpStream::connect_timeout(&server, std::time::Duration::from_secs(2));
        })
    });
    let after = counted();
    assert!(after.0 > before.0 && after.1 > before.1, "{before:?} {after:?}");
}
