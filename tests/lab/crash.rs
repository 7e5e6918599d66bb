//! The server is killed with SIGKILL at random moments, and nothing that it acknowledged is lost.

use crate::harness::Bench;
use anyhow::ensure;
use serde_json::json;
use std::time::Duration;
use switchback::lab::{Churn, Deadline, Dice, Topology, check, poll};

/// `SWITCHBACK_FULL=1` asks for a long run.
fn rounds() -> u64 {
    if std::env::var_os("SWITCHBACK_FULL").is_some() { 150 } else { 30 }
}

#[test]
fn nothing_acknowledged_is_lost_over_thirty_kills() {
    let mut bench = Bench::new("crash", Topology::Separate);
    let vms = [bench.vm("one", 0), bench.vm("two", 1)];
    bench.everything_serves(&vms);
    let restarted = [vms[1].uuid.clone()];
    let seed = std::process::id().into();
    let mut dice = Dice::new(seed);
    let mut acknowledged = 0;
    for round in 0..rounds() {
        let label = format!("seed {seed} round {round}");
        let churn = Churn::start(&bench.api, &label, 2, &restarted);
        // A random moment: so many commands on, and so far into the next one.
        let due = dice.below(40) as usize;
        bench.must(|_| {
            poll(&format!("{due} commands to be acknowledged"), Deadline::seconds(60), || {
                let count = churn.acknowledged();
                Ok(if count >= due { Ok(()) } else { Err(format!("{label}: {count}")) })
            })
        });
        std::thread::sleep(Duration::from_micros(dice.below(20_000)));
        bench.lab.kill_server().unwrap();
        let record = churn.finish().unwrap();
        bench.lab.start_server().map_err(|error| bench.lab.explain(error.context(label.clone()))).unwrap();
        bench.must(|bench| {
            let lost = record.verify(&bench.api)?;
            ensure!(lost.is_empty(), "{label}: expected nothing to be lost, found {lost:#?}");
            Ok(())
        });
        acknowledged += record.acknowledged.len();
    }
    println!("{acknowledged} acknowledged commands, seed {seed}");

    // The reconcilers end where the log stands, whatever the kills cut off.
    bench.must(|bench| {
        poll("the restarted VM to come to rest", Deadline::seconds(60), || {
            let vm = bench.api.one("QueryVmInstance", &vms[1].uuid)?;
            Ok(match vm["state"].as_str() {
                Some("Running" | "Stopped") => Ok(()),
                state => Err(format!("{state:?}")),
            })
        })?;
        let vm = bench.api.one("QueryVmInstance", &vms[1].uuid)?;
        if vm["state"] == "Stopped" {
            bench.ask("StartVmInstance", Bench::uuid_of(&vms[1].uuid));
        }
        check::vm_running(&bench.api, &vms[1].uuid)
    });
    bench.everything_serves(&vms);
    bench.must(|bench| {
        let verified = bench.api.get("/v1/audit/verify", &[])?;
        ensure!(verified["ok"] == true, "expected a log that is whole, got {verified}");
        let routers = check::routers_of(&bench.api, &bench.site.guest.l3)?;
        ensure!(routers.len() == 1, "expected one router, got {}", json!(routers));
        Ok(())
    });
}
