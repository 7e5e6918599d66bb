//! Measures what the read side promises, on a log of a realistic mix: for `switchback bench`, not for use.
//!
//! Rates are to be read against [`Replay::decode`], the yardstick of the same run: what the log gives without folding.

mod log;
mod query;

pub use log::{write_data_set, write_log};
pub use query::{Question, Rows, measure_queries};

use crate::catalogue::{L3, NIC, ROUTER, VM};
use crate::projections::{BATCH_COMMITS, QUERY_TIME_MAX};
use crate::query::{Query, QueryError};
use crate::readers::Readers;
use crate::rebuild::{self, RebuildError, Step};
use crate::store::{Store, StoreError};
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, Instant};
use switchback_events::Position;
use switchback_journal::{Journal, ReadError};

/// How often each query is asked.
const QUESTIONS: usize = 60;
/// How many rows the questions are about.
const SAMPLES: u64 = 1000;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The log could not be read.
    #[error("read the log")]
    Read(#[from] ReadError),
    /// The database failed.
    #[error("fold the log")]
    Fold(#[from] StoreError),
    /// A query did.
    #[error("ask the projections")]
    Query(#[from] QueryError),
}

impl From<RebuildError> for BenchError {
    fn from(error: RebuildError) -> BenchError {
        match error {
            RebuildError::Store(error) => BenchError::Fold(error),
            RebuildError::Journal(error) => BenchError::Read(error),
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// How long the log is.
    pub events: u64,
    /// Reading and decoding every commit, and no more: the yardstick.
    pub decode: Rate,
    /// Making all inventories with their history from the log, in bulk.
    pub rebuild: Rate,
    /// Of that, until the log was folded: the rest is loading and indexing.
    pub rebuild_folded_seconds: f64,
    /// The rows of now.
    pub rows: u64,
    /// The closed versions of rows.
    pub versions: u64,
    /// The size of the database that was made.
    pub database_bytes: u64,
    /// How much the process grew while it was made, at most.
    pub rebuild_memory_bytes: u64,
    /// Folding commit by commit as the follower does, with history, from the first event to the last.
    pub live_fold: Rate,
    /// Of that, the last quarter of the log.
    pub live_fold_last_quarter: Rate,
    /// Queries at random positions of the log, by what they ask.
    pub at: Vec<Asked>,
    /// All of those together.
    pub at_all: Latency,
    /// One VM by its uuid at random positions.
    pub at_by_uuid: Latency,
}

/// Events in a time.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// The time.
    pub seconds: f64,
    /// Events in one second.
    pub events_per_second: f64,
}

/// How long answers took.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Latency {
    pub samples: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

/// How long the answers to one sort of query took.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// What was asked.
    pub query: &'static str,
    /// How long it took.
    pub latency: Latency,
}

impl Rate {
    fn of(events: u64, time: Duration) -> Rate {
        let seconds = time.as_secs_f64();
        Rate { seconds, events_per_second: events as f64 / seconds }
    }
}

impl Latency {
    fn of(mut times: Vec<Duration>) -> Latency {
        times.sort_unstable();
        let ms = |part: f64| {
            let place = ((times.len() as f64 * part).ceil() as usize).clamp(1, times.len().max(1)) - 1;
            times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
        };
        Latency { samples: times.len(), p50_ms: ms(0.5), p99_ms: ms(0.99), max_ms: ms(1.0) }
    }
}

/// Measures with the log that `journal` holds; `directory` takes the databases, and `progress` hears what is done.
///
/// # Errors
/// A log that cannot be read, or a database that fails.
pub fn measure(
    journal: &Journal,
    directory: &Path,
    seed: u64,
    progress: &mut dyn FnMut(&str),
) -> Result<Replay, BenchError> {
    let events = journal.durable();
    progress("decoding the log");
    let decode = decode(journal)?;
    progress("rebuilding the inventories");
    let path = directory.join("rebuilt");
    let (rss, began) = (resident(), Instant::now());
    let (mut folded, mut grown) = (Duration::ZERO, 0);
    let built = rebuild::build_from(&path, journal, events, &[], &mut |step| {
        if let Step::Folded(_) = step {
            folded = began.elapsed();
        }
        grown = grown.max(resident().saturating_sub(rss));
        true
    })?;
    rebuild::swap(&path, &mut |_| true)?;
    let rebuild = Rate::of(events, began.elapsed());
    let (rows, versions) = built.map_or((0, 0), |built| (built.rows, built.versions));
    let database_bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
    progress("asking for the past");
    let (at, at_all, at_by_uuid) = ask(journal, &path, seed)?;
    progress("folding the log commit by commit");
    let (live_fold, live_fold_last_quarter) = live(journal, &directory.join("live"))?;
    Ok(Replay {
        events,
        decode,
        rebuild,
        rebuild_folded_seconds: folded.as_secs_f64(),
        rows,
        versions,
        database_bytes,
        rebuild_memory_bytes: grown,
        live_fold,
        live_fold_last_quarter,
        at,
        at_all,
        at_by_uuid,
    })
}

/// The time to read and decode the log from its beginning to its end.
pub fn decode(journal: &Journal) -> Result<Rate, BenchError> {
    let began = Instant::now();
    let mut position = 0;
    while let Some(last) = journal.read(position, BATCH_COMMITS)?.last() {
        position = last.last_position();
    }
    Ok(Rate::of(position, began.elapsed()))
}

/// The time to fold the log into a new database at `path` as the follower does, and of its last quarter alone.
pub fn live(journal: &Journal, path: &Path) -> Result<(Rate, Rate), BenchError> {
    let mut store = Store::create(path, &[])?;
    let (began, end) = (Instant::now(), journal.durable());
    let mut quarter = None;
    while store.position() < end {
        if store.position() >= end / 4 * 3 {
            quarter.get_or_insert_with(|| (Instant::now(), store.position()));
        }
        let commits = journal.read(store.position(), BATCH_COMMITS)?;
        store.fold(&commits)?;
    }
    let (began_last, from) = quarter.unwrap_or((began, 0));
    Ok((Rate::of(end, began.elapsed()), Rate::of(end - from, began_last.elapsed())))
}

/// Asks the database at `path` at random positions.
fn ask(journal: &Journal, path: &Path, seed: u64) -> Result<(Vec<Asked>, Latency, Latency), BenchError> {
    let command_at = |position| Some(journal.commit_at(position).ok()??.provenance.command_id);
    let store = Store::open(path, &[], &command_at)?;
    let end = store.position();
    let readers = Readers::new(path, QUERY_TIME_MAX);
    let mut random = seed;
    let mut next = || {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        random >> 33
    };
    // From the middle of the log, so that some of them are gone or another by its end.
    let sample = Query { limit: Some(SAMPLES), sort: Some("uuid".into()), ..Query::new(&VM) };
    let vms = readers.answer(&sample.at(end / 2))?.rows();
    let nics = readers.answer(&Query { limit: Some(SAMPLES), ..Query::new(&NIC) }.at(end / 2))?.rows();
    let value = |rows: &[serde_json::Value], field: &str, n: u64| {
        let row = &rows[n as usize % rows.len().max(1)];
        row[field].as_str().unwrap_or_default().to_string()
    };
    let mut time = |query: &dyn Fn(u64) -> Query, times: usize| -> Result<Vec<Duration>, BenchError> {
        let mut taken = Vec::with_capacity(times);
        for _ in 0..times {
            let (n, at): (u64, Position) = (next(), next() % end.max(1) + 1);
            let query = query(n).at(at);
            let began = Instant::now();
            readers.answer(&query)?;
            taken.push(began.elapsed());
        }
        Ok(taken)
    };
    let (mut at, mut all) = (Vec::new(), Vec::new());
    if !vms.is_empty() && !nics.is_empty() {
        let page = |query: Query| Query { limit: Some(100), ..query };
        let questions: [(&'static str, &dyn Fn(u64) -> Query); 9] = [
            ("VMs, first 1000", &|_| Query::new(&VM)),
            ("VM by name", &|n| Query::new(&VM).with(format!("name={}", value(&vms, "name", n)))),
            ("VMs of a host", &|n| page(Query::new(&VM).with(format!("hostUuid={}", value(&vms, "hostUuid", n))))),
            ("VMs sorted by name, 100 after 1000", &|_| Query {
                start: 1000,
                sort: Some("name".into()),
                ..page(Query::new(&VM))
            }),
            ("VMs by address", &|n| Query::new(&VM).with(format!("vmNics.ip={}", value(&nics, "ip", n)))),
            ("running VMs, counted", &|_| Query { count: true, ..Query::new(&VM).with("state=Running") }),
            ("nic by address", &|n| Query::new(&NIC).with(format!("ip={}", value(&nics, "ip", n)))),
            ("L3 networks, all", &|_| Query::new(&L3)),
            ("routers, all", &|_| Query::new(&ROUTER)),
        ];
        for (query, question) in questions {
            let times = time(question, QUESTIONS)?;
            all.extend_from_slice(&times);
            at.push(Asked { query, latency: Latency::of(times) });
        }
    }
    let by_uuid = match vms.is_empty() {
        true => Vec::new(),
        false => time(&|n| Query::new(&VM).with(format!("uuid={}", value(&vms, "uuid", n))), QUESTIONS * 10)?,
    };
    Ok((at, Latency::of(all), Latency::of(by_uuid)))
}

/// The memory that the process holds now, bytes, where that can be known.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use switchback_journal::{Options, SledStore};

    #[test]
    fn everything_is_measured_on_a_log_of_the_length_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let store = SledStore::open(directory.path().join("log")).unwrap();
        let journal = Journal::open(Arc::new(store), Options::default()).unwrap();
        write_log(&journal, 5_000, 1).unwrap();
        let replay = measure(&journal, directory.path(), 1, &mut |_| {}).unwrap();
        assert_eq!(replay.events, 5_000);
        assert!(replay.rows > 500 && replay.versions > 1_000, "{replay:?}");
        assert!(replay.at.len() == 9 && replay.at_by_uuid.samples > 0);
        let dump = |name: &str| Store::open(&directory.path().join(name), &[], &|_| None).unwrap().position();
        // Both are of this log, so a store that trusts no log starts them anew.
        assert_eq!((dump("rebuilt"), dump("live")), (0, 0));
    }
}
