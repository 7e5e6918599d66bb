//! `bench replay`: a log folded from disk: all of it into inventories with their history, and one router's history into
//! its configuration. The yardstick is reading and decoding the log, and no more.

use super::{round, spread};
use anyhow::Context;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use switchback_actors::reconcilers::{config_at, replay_router};
use switchback_events::{Position, RouterId, StreamKind};
use switchback_journal::{Journal, Options, SledStore};
use switchback_projections::bench::{measure, write_log};

/// What to measure.
#[derive(Clone, Debug)]
pub struct ReplayBench {
    /// Events in the log.
    pub events: u64,
    /// The seed of the log.
    pub seed: u64,
    /// Where to write.
    pub directory: PathBuf,
}

/// How often the busiest router is replayed.
const REPLAYS: usize = 5;
/// How often a configuration of then is asked for.
const QUESTIONS: u64 = 200;

/// Runs the benchmark; `progress` hears what is done.
///
/// # Errors
/// A log or a database that cannot be written or read.
pub fn run(options: &ReplayBench, progress: &mut dyn FnMut(&str)) -> anyhow::Result<Value> {
    progress("writing the log");
    let journal = open(&options.directory)?;
    write_log(&journal, options.events, options.seed).context("write the log")?;
    // Opened again, so that everything is read as after a start.
    journal.close();
    let journal = open(&options.directory)?;
    progress("replaying routers");
    let router = routers(&journal, options.seed)?;
    let read_side = measure(&journal, &options.directory, options.seed, progress)?;
    let mut figures = serde_json::to_value(&read_side).context("write the figures")?;
    figures["bench"] = "replay".into();
    figures["router"] = router;
    let decode = read_side.decode.events_per_second;
    figures["ratioToDecode"] = json!({
        "router": round(figures["router"]["eventsPerSecond"].as_f64().unwrap_or_default() / decode),
        "rebuild": round(read_side.rebuild.events_per_second / decode),
        "liveFold": round(read_side.live_fold.events_per_second / decode),
    });
    Ok(figures)
}

fn open(directory: &Path) -> anyhow::Result<Journal> {
    let store = SledStore::open(directory.join("log")).context("open the log's store")?;
    Journal::open(Arc::new(store), Options::default()).context("open the log")
}

/// The busiest router's whole history, and any router's configuration at any position.
fn routers(journal: &Journal, seed: u64) -> anyhow::Result<Value> {
    let routers = journal.streams(StreamKind::Router);
    // The log's first network is its busiest, and so is its router.
    let busiest = RouterId(*routers.first().context("the log is too short for a router")?);
    let (mut times, mut entries, mut events) = (Vec::new(), 0, 0);
    for _ in 0..REPLAYS {
        let began = Instant::now();
        let fold = replay_router(journal, busiest, None)?;
        let config = fold.config().context("the busiest router has no configuration")?;
        times.push(began.elapsed());
        entries = config.sections.dhcp.hosts.len();
        let tags: Vec<_> = std::iter::once(busiest.0).chain(fold.own_networks().into_iter().map(Into::into)).collect();
        events = touching(journal, &tags)?;
    }
    times.sort_unstable();
    let seconds = times[REPLAYS / 2].as_secs_f64();
    let asked = at(journal, &routers, seed)?;
    Ok(json!({
        "events": events,
        "dhcpEntries": entries,
        "seconds": seconds,
        "eventsPerSecond": (events as f64 / seconds).round(),
        "configAtMs": spread(asked),
    }))
}

/// How many events touch any of `tags`.
fn touching(journal: &Journal, tags: &[switchback_events::Id]) -> anyhow::Result<u64> {
    let mut events = 0;
    journal.replay(Some(tags), 0, Position::MAX, &|_| true, &mut |_| {
        events += 1;
        std::ops::ControlFlow::Continue(())
    })?;
    Ok(events)
}

/// How long the configuration of one of `routers` at some position takes.
fn at(journal: &Journal, routers: &[switchback_events::Id], seed: u64) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    let (mut random, end) = (seed | 1, journal.durable());
    let mut next = |bound: u64| {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (random >> 33) % bound.max(1)
    };
    for _ in 0..QUESTIONS {
        let (router, position) = (routers[next(routers.len() as u64) as usize], next(end) + 1);
        let began = Instant::now();
        config_at(journal, RouterId(router), Some(position))?;
        times.push(began.elapsed());
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routers_and_inventories_are_measured() {
        let directory = tempfile::tempdir().unwrap();
        let options = ReplayBench { events: 5_000, seed: 1, directory: directory.path().to_path_buf() };
        let figures = run(&options, &mut |_| {}).unwrap();
        assert_eq!(figures["events"], 5_000, "{figures:#}");
        assert!(figures["router"]["events"].as_u64().unwrap() > 100, "{figures:#}");
        assert!(figures["router"]["dhcpEntries"].as_u64().unwrap() > 10, "{figures:#}");
        assert!(figures["ratioToDecode"]["rebuild"].as_f64().unwrap() > 0.0, "{figures:#}");
    }
}
