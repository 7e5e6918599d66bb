//! VMs, created as fast as the clients get their answers, and then awaited until each of them runs.

use super::{Measured, Turn, client::Client, round, site::Site};
use anyhow::Context;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use switchback_bus::Wait;

/// All VMs run after so long, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(600);

/// Creates `vms` VMs, spread over the networks of the site.
pub(super) async fn run(site: &Site, clients: usize, vms: usize, wait: Wait) -> anyhow::Result<Value> {
    let running = ["state=Running"];
    let before = site.client.count("QueryVmInstance", &running).await?;
    let (next, networks) = (Arc::new(AtomicUsize::new(0)), Arc::new(site.networks.clone()));
    let began = Instant::now();
    let client = |_| {
        let (client, next, networks) = (site.client.clone(), next.clone(), networks.clone());
        tokio::spawn(async move { create(&client, &next, vms, &networks, wait).await })
    };
    let tasks: Vec<_> = (0..clients).map(client).collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let took = began.elapsed();
    let wanted = before + vms as u64;
    while site.client.count("QueryVmInstance", &running).await? < wanted {
        anyhow::ensure!(began.elapsed() < PATIENCE, "not all VMs run after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let all_run = began.elapsed();
    let measured = Measured(vec![Turn { times, took, refused: 0 }]);
    let figures = measured.figures();
    Ok(json!({
        "vms": vms,
        "networks": networks.len(),
        "seconds": round(took.as_secs_f64()),
        "vmsPerSecond": measured.per_second().round(),
        "ms": figures["ms"],
        "allRunningSeconds": round(all_run.as_secs_f64()),
        "runningPerSecond": (vms as f64 / all_run.as_secs_f64()).round(),
    }))
}

async fn create(
    client: &Client,
    next: &AtomicUsize,
    vms: usize,
    networks: &[String],
    wait: Wait,
) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    loop {
        let vm = next.fetch_add(1, Ordering::Relaxed);
        if vm >= vms {
            return Ok(times);
        }
        let parameters = json!({"name": format!("vm-{vm}"), "l3NetworkUuids": [networks[vm % networks.len()]]});
        let began = Instant::now();
        let done = client.send("CreateVmInstance", parameters, wait).await.with_context(|| format!("VM {vm}"))?;
        anyhow::ensure!(done.applied || wait == Wait::Durable, "VM {vm} does not run");
        times.push(began.elapsed());
    }
}
