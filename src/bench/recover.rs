//! `bench recover`: from the start of a process to a server that would answer, with a log of some length: with all
//! that is kept beside the log, and without any of it.
//!
//! Each opening is a process of its own, so that nothing of the one before it is in memory. Counted are the log, the
//! states that decisions stand on, and the inventories, until they have caught up with the log. Not counted are
//! the agents and the reconcilers, which begin their work when the server answers.

use super::{disk_bytes, memory, round};
use crate::node::DataDir;
use anyhow::Context;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};
use switchback_actors::States;
use switchback_journal::{Journal, Options, SledStore};
use switchback_projections::{Projections, bench::write_log};
use switchback_snapshots::Snapshots;

/// What to measure.
#[derive(Clone, Debug)]
pub struct RecoverBench {
    /// Events in the log.
    pub events: u64,
    /// The seed of the log.
    pub seed: u64,
    /// Where to write.
    pub directory: PathBuf,
    /// The `switchback` binary, whose `bench open DIR` opens what is there and says how long it took.
    pub binary: PathBuf,
}

/// How long the inventories may take.
const CAUGHT_UP_MAX: Duration = Duration::from_secs(3600);

/// Runs the benchmark; `progress` hears what is done.
///
/// # Errors
/// A log that cannot be written, a process that does not open it.
pub fn run(options: &RecoverBench, progress: &mut dyn FnMut(&str)) -> anyhow::Result<Value> {
    let data = DataDir::open(&options.directory)?;
    progress("writing the log");
    let journal = open_log(&data)?;
    write_log(&journal, options.events, options.seed).context("write the log")?;
    journal.close();
    progress("opening it without anything beside it");
    remove_caches(&data)?;
    let deleted = in_a_process(options)?;
    progress("opening it with all that the last opening left");
    let present = in_a_process(options)?;
    let log_bytes = disk_bytes(&data.journal())?;
    Ok(json!({
        "bench": "recover",
        "events": options.events,
        "checkpointPresent": present,
        "cachesDeleted": deleted,
        "logBytesPerEvent": round(log_bytes as f64 / options.events as f64),
        "inventoriesBytes": std::fs::metadata(data.inventories()).map_or(0, |file| file.len()),
        "ready": "log open, states folded, inventories caught up",
    }))
}

/// Opens what is in `directory` as a server does, and tells how long that took and the memory that it takes.
///
/// # Errors
/// What cannot be opened.
pub fn open(directory: &Path) -> anyhow::Result<Value> {
    let began = Instant::now();
    let data = DataDir::open(directory)?;
    let journal = open_log(&data)?;
    let log = began.elapsed();
    let states = States::open(journal.clone(), Snapshots::open(data.snapshots())).context("read the log")?;
    let folded = began.elapsed();
    let projections = Projections::open(&data.inventories(), journal.clone(), &[]).context("open the inventories")?;
    let end = journal.durable();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().context("start a runtime")?;
    let reached = runtime.block_on(projections.wait_for(end, CAUGHT_UP_MAX));
    anyhow::ensure!(reached >= end, "the inventories have reached {reached} of {end}: {:?}", projections.failure());
    let ready = began.elapsed();
    let (resident, peak) = memory()?;
    drop(states);
    projections.stop();
    journal.close();
    let seconds = |time: Duration| round(time.as_secs_f64());
    Ok(json!({
        "readySeconds": seconds(ready),
        "logSeconds": seconds(log),
        "statesSeconds": seconds(folded - log),
        "inventoriesSeconds": seconds(ready - folded),
        "residentMegabytes": resident / 1_000_000,
        "peakResidentMegabytes": peak / 1_000_000,
        "position": end,
    }))
}

fn open_log(data: &DataDir) -> anyhow::Result<Journal> {
    let store = SledStore::open(data.journal()).context("open the log's store")?;
    Journal::open(Arc::new(store), Options::default()).context("open the log")
}

fn in_a_process(options: &RecoverBench) -> anyhow::Result<Value> {
    let mut command = Command::new(&options.binary);
    let output = command.args(["bench", "open"]).arg(&options.directory).output();
    let output = output.with_context(|| format!("run `{}`", options.binary.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "the process that opens the log failed: {}", said.trim());
    let opened: Value = serde_json::from_slice(&output.stdout).context("read what the process said")?;
    anyhow::ensure!(opened["position"] == options.events, "the process opened another log: {opened}");
    Ok(opened)
}

/// Removes all that is made again from the log.
fn remove_caches(data: &DataDir) -> anyhow::Result<()> {
    let mut caches = vec![data.journal().join("index.checkpoint"), data.snapshots()];
    caches.extend(["", "-wal", "-shm"].map(|end| {
        let mut file = data.inventories().into_os_string();
        file.push(end);
        PathBuf::from(file)
    }));
    for cache in caches {
        let removed = if cache.is_dir() { std::fs::remove_dir_all(&cache) } else { std::fs::remove_file(&cache) };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove `{}`", cache.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_opened_with_what_is_beside_it_and_without() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let journal = open_log(&data).unwrap();
        write_log(&journal, 2_000, 1).unwrap();
        journal.close();
        for round in 0..3 {
            if round == 2 {
                remove_caches(&data).unwrap();
                assert!(!data.inventories().exists() && !data.journal().join("index.checkpoint").exists());
            }
            let opened = open(directory.path()).unwrap();
            assert_eq!(opened["position"], 2_000, "{opened:#}");
            assert!(opened["residentMegabytes"].as_u64().unwrap() > 0 && data.inventories().exists());
        }
    }
}
