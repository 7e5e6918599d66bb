//! The incident of the guide, with real packets: a VM loses the internet, the audit says who took it and what changed,
//! and the opposite command brings it back.

use crate::harness::Bench;
use anyhow::ensure;
use serde_json::{Value, json};
use std::process::Command;
use switchback::lab::{Deadline, Topology, poll};

/// What the program answers when it asks the lab's server.
fn audit(bench: &Bench, line: &[&str]) -> anyhow::Result<Value> {
    let token = std::fs::read_to_string(bench.lab.data_dir().join("admin.token"))?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchback"));
    command.arg("audit").args(line).args(["--json", "--server", &bench.lab.server_url(), "--token", token.trim()]);
    let done = command.output()?;
    ensure!(done.status.success(), "{line:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(serde_json::from_slice(&done.stdout)?)
}

#[test]
fn a_vm_that_lost_the_internet_gets_it_back() {
    let bench = Bench::new("incid", Topology::Separate);
    let vm = [bench.vm("web-1", 0)];
    bench.everything_serves(&vm);
    let (router, digest) = (bench.router().uuid, bench.digest());
    let provider = bench.must(|bench| {
        let providers = bench.api.query("QueryNetworkServiceProvider", &["type=VirtualRouter".to_string()])?;
        Ok(providers[0]["uuid"].as_str().unwrap_or_default().to_string())
    });
    let services = json!({"l3NetworkUuid": bench.site.guest.l3, "networkServices": {provider: ["SNAT"]}});
    let well = bench.must(|bench| Ok(audit(bench, &["head"])?["position"].to_string()));
    bench.ask("DetachNetworkServiceFromL3Network", services.clone());
    bench.must(|bench| {
        poll("the VM to lose the internet", Deadline::seconds(20), || {
            let url = format!("http://{}/", switchback::lab::INTERNET_WEB);
            let (ok, text) =
                bench.lab.run_in(&vm[0].uuid, &["timeout", "1", "busybox", "wget", "-q", "-O", "-", &url])?;
            Ok(if ok { Err(text) } else { Ok(()) })
        })
    });

    bench.must(|bench| {
        let log =
            audit(bench, &["log", "--since", "10 min ago", "--after", &well, "--resource", &bench.site.guest.l3])?;
        let event = &log["events"][0];
        ensure!(event["kind"] == "l3_network.ServicesDetached" && event["principal"] == "admin", "{log}");
        let diff = audit(bench, &["diff", "--router", &router, "--from", &well])?;
        ensure!(diff["sections"]["snat"]["removed"].is_array(), "{diff}");
        ensure!(diff["events"][0]["position"] == event["position"], "{diff}");
        let changes = audit(bench, &["diff", "--from", &well])?;
        let applied =
            changes["events"].as_array().into_iter().flatten().find(|event| event["kind"] == "router.ConfigApplied");
        let applied = applied.map(|event| event["position"].to_string()).unwrap_or_default();
        let shown = audit(bench, &["show", &applied])?;
        ensure!(shown["causes"][0]["position"] == event["position"], "{shown}");
        Ok(())
    });

    bench.ask("AttachNetworkServiceToL3Network", services);
    bench.everything_serves(&vm);
    bench.must(|bench| {
        let diff = audit(bench, &["diff", "--router", &router, "--from", &well])?;
        ensure!(diff["sections"] == json!({}), "{diff}");
        audit(bench, &["verify"])?;
        Ok(())
    });
    assert_eq!(bench.digest(), digest);
}
