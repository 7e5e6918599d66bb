//! The benchmarks of `switchback bench`. Each gives one object, and measures its yardstick in the same run on the
//! same machine: a figure alone says little.

pub mod allocate;
pub mod commands;
pub mod compare;
pub mod fleet;
mod nats_server;
pub mod query;
pub mod recover;
pub mod replay;
pub mod router;

use anyhow::Context;
use serde_json::{Value, json};
use std::time::Duration;
use switchback_journal::bench::disk_bytes;

/// The spread of some times, in milliseconds.
pub fn spread(mut times: Vec<Duration>) -> Value {
    times.sort();
    let at = |share: f64| {
        let index = ((times.len() as f64 - 1.0) * share).round() as usize;
        times.get(index).map_or(0.0, |time| millis(*time))
    };
    json!({"p50": at(0.5), "p99": at(0.99), "max": at(1.0), "samples": times.len()})
}

/// Milliseconds with three digits after the point.
pub fn millis(time: Duration) -> f64 {
    round(time.as_secs_f64() * 1e3)
}

/// Three digits after the point.
fn round(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}

/// The memory that this process holds, and the most that it ever held, bytes.
fn memory() -> anyhow::Result<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").context("read `/proc/self/status`")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    Ok((field("VmRSS:"), field("VmHWM:")))
}

/// The median over turns of a figure of each as a part of the yardstick's in the same turn: what a machine does in between
/// spoils one turn, not the figure.
fn median_ratio(figures: impl Iterator<Item = (f64, f64)>) -> f64 {
    let mut ratios: Vec<f64> = figures.map(|(own, yardstick)| own / yardstick.max(1e-9)).collect();
    ratios.sort_by(f64::total_cmp);
    round(ratios.get(ratios.len() / 2).copied().unwrap_or_default())
}
