//! How fast the journal is, against a plain file that gets the same bytes by the same group commit: closed-loop
//! clients on one runtime, each waiting until its commit is on disk. Only the ratio of the two means anything on
//! another machine.
//!
//! Not here: any other store; `switchback bench compare` has those.

use crate::durability::Durability;
use crate::pace::{Pace, Waiting};
use crate::store::{Frame, FrameStore, StoreError};
use crate::{AppendError, Journal, MemoryStore, OpenError, Options, Proposal, ReadOnly, SledStore};
use parking_lot::{Condvar, Mutex};
use std::{
    fs::File,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use switchback_events::{
    CommandId, Event, HostId, Id, Micros, Origin, Position, Provenance, StreamKey, StreamKind, VmInstanceEvent,
};

/// What was measured.
#[derive(Clone, Copy, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BenchResult {
    /// How many clients there were.
    pub clients: usize,
    /// Commits of one event, acknowledged as durable, a second.
    #[serde(rename = "commitsPerSecond")]
    pub commits_per_s: f64,
    /// The same bytes, appended to a plain file.
    #[serde(rename = "rawCommitsPerSecond")]
    pub raw_commits_per_s: f64,
    /// The journal's rate divided by the file's.
    pub ratio: f64,
    /// Half of the commits were durable within this.
    pub p50_us: f64,
    /// All but one of a hundred were.
    pub p99_us: f64,
    /// The journal's directory on disk, divided by the commits.
    pub bytes_per_commit: f64,
    /// What the commits themselves take.
    pub record_bytes: f64,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A file or a thread failed.
    #[error("measure: {0}")]
    Io(#[from] std::io::Error),
    /// The journal does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal refused a commit.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The disk refused a commit.
    #[error(transparent)]
    ReadOnly(#[from] ReadOnly),
}

/// Runs `clients` closed-loop clients for `seconds` against the file, the journal, and the file again, in `dir`.
pub fn bench(clients: usize, seconds: f64, dir: &Path) -> Result<BenchResult, BenchError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    let record = record_bytes()?;
    let span = Duration::from_secs_f64(seconds);
    let raw_before = raw(&runtime, clients, span / 2, record, &dir.join("raw-1"))?;
    let path = dir.join("journal");
    let journal = Journal::open(Arc::new(SledStore::open(&path)?), Options::default())?;
    let (commits_per_s, mut waits) = journal_rate(&runtime, clients, span, &journal)?;
    journal.close();
    let raw_after = raw(&runtime, clients, span / 2, record, &dir.join("raw-2"))?;
    waits.sort_unstable();
    let percentile = |share: usize| waits.get(waits.len() * share / 100).map_or(0.0, |nanos| *nanos as f64 / 1_000.0);
    let raw_commits_per_s = (raw_before + raw_after) / 2.0;
    Ok(BenchResult {
        clients,
        commits_per_s,
        raw_commits_per_s,
        ratio: commits_per_s / raw_commits_per_s,
        p50_us: percentile(50),
        p99_us: percentile(99),
        bytes_per_commit: disk_bytes(&path)? as f64 / waits.len().max(1) as f64,
        record_bytes: record as f64,
    })
}

/// Appends `commits` commits of one event over `streams` streams, 512 at a time: a log to measure opening with.
pub fn fill(journal: &Journal, commits: u64, streams: u64) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for at in 0..commits {
        let appended = journal.append(proposal(journal, at % streams, at, 1), || true, |_| {})?;
        if at % 512 == 511 || at + 1 == commits {
            runtime.block_on(appended.durable())?;
        }
    }
    Ok(())
}

/// What the files below `path` take on the disk.
pub fn disk_bytes(path: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let data = entry.metadata()?;
        bytes += if data.is_dir() { disk_bytes(&entry.path())? } else { data.blocks() * 512 };
    }
    Ok(bytes)
}

fn id(kind: u64, number: u64) -> Id {
    // Spread like random ids, and different for every number.
    let spread = (number ^ kind << 56).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&spread.to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    Id(bytes)
}

fn proposal(journal: &Journal, client: u64, at: u64, round: u64) -> Proposal {
    let stream = StreamKey::new(StreamKind::VmInstance, id(1, client));
    let command_id = CommandId(id(2 + round, at));
    let provenance = Provenance {
        command_id,
        command: "StartVmInstance".to_string(),
        body: id(3, at),
        principal: "account:operations".to_string(),
        credential: None,
        origin: Origin::Bus,
        causation: None,
        correlation: command_id.0,
        reason: None,
    };
    let event = Event::VmInstance(VmInstanceEvent::Started { host: HostId(id(4, client % 100)) });
    let reads = vec![(stream, journal.version(stream))];
    Proposal { at: at as Micros, provenance, reads, events: vec![(stream, event)] }
}

fn record_bytes() -> Result<usize, BenchError> {
    let store = Arc::new(MemoryStore::default());
    let journal = Journal::open(store.clone(), Options::default())?;
    fill(&journal, 1024, 64)?;
    journal.close();
    Ok(store.read_from(0, usize::MAX)?.iter().map(|frame: &Frame| frame.bytes.len()).sum::<usize>() / 1024)
}

type Measured = (f64, Vec<u64>);

fn journal_rate(
    runtime: &tokio::runtime::Runtime,
    clients: usize,
    span: Duration,
    journal: &Journal,
) -> Result<Measured, BenchError> {
    let begin = Instant::now();
    let client = |number: usize| {
        let journal = journal.clone();
        async move {
            let mut waits = Vec::new();
            while begin.elapsed() < span {
                let sent = Instant::now();
                let at = (number as u64) << 32 | waits.len() as u64;
                journal.append(proposal(&journal, number as u64, at, 1), || true, |_| {})?.durable().await?;
                waits.push(sent.elapsed().as_nanos() as u64);
            }
            Ok::<_, BenchError>(waits)
        }
    };
    runtime.block_on(async {
        let tasks: Vec<_> = (0..clients).map(|number| tokio::spawn(client(number))).collect();
        let mut waits = Vec::new();
        for task in tasks {
            waits.extend(task.await.map_err(std::io::Error::other)??);
        }
        Ok((waits.len() as f64 / begin.elapsed().as_secs_f64(), waits))
    })
}

/// The plain file: what waits is written at once, synced, and announced, as the journal does it.
struct RawLog {
    waiting: Mutex<RawWaiting>,
    work: Condvar,
    durability: Arc<Durability>,
}

#[derive(Default)]
struct RawWaiting {
    bytes: Vec<u8>,
    commits: usize,
    last: Position,
    wanted: usize,
    closing: bool,
}

impl Waiting for RawWaiting {
    fn commits(&self) -> usize {
        self.commits
    }

    fn wanted(&mut self) -> &mut usize {
        &mut self.wanted
    }

    fn is_closing(&self) -> bool {
        self.closing
    }
}

impl RawLog {
    fn run(&self, file: &File) -> std::io::Result<()> {
        let mut end = 0;
        let mut bytes = Vec::new();
        let mut pace = Pace::default();
        loop {
            let (commits, last) = {
                let mut waiting = self.waiting.lock();
                while waiting.commits == 0 {
                    if waiting.closing {
                        return Ok(());
                    }
                    self.work.wait(&mut waiting);
                }
                pace.linger(&self.work, &mut waiting);
                bytes.clear();
                std::mem::swap(&mut bytes, &mut waiting.bytes);
                (std::mem::take(&mut waiting.commits), waiting.last)
            };
            let begin = Instant::now();
            file.write_all_at(&bytes, end)?;
            file.sync_data()?;
            end += bytes.len() as u64;
            self.durability.advance(last);
            pace = Pace { commits, took: begin.elapsed() };
        }
    }
}

fn raw(
    runtime: &tokio::runtime::Runtime,
    clients: usize,
    span: Duration,
    record: usize,
    path: &Path,
) -> Result<f64, BenchError> {
    let file = File::create(path)?;
    let log =
        Arc::new(RawLog { waiting: Mutex::default(), work: Condvar::new(), durability: Arc::new(Durability::new(0)) });
    let writer = std::thread::spawn({
        let log = log.clone();
        move || log.run(&file)
    });
    let done = Arc::new(AtomicU64::new(0));
    let begin = Instant::now();
    let client = || {
        let (log, done) = (log.clone(), done.clone());
        async move {
            let bytes = vec![7; record];
            while begin.elapsed() < span {
                let position = {
                    let mut waiting = log.waiting.lock();
                    waiting.bytes.extend_from_slice(&bytes);
                    waiting.commits += 1;
                    waiting.last += 1;
                    if waiting.commits >= waiting.wanted {
                        log.work.notify_one();
                    }
                    waiting.last
                };
                log.durability.clone().wait(position).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, ReadOnly>(())
        }
    };
    runtime.block_on(async {
        let tasks: Vec<_> = (0..clients).map(|_| tokio::spawn(client())).collect();
        for task in tasks {
            task.await.map_err(std::io::Error::other)??;
        }
        Ok::<_, BenchError>(())
    })?;
    let rate = done.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64();
    log.waiting.lock().closing = true;
    log.work.notify_one();
    writer.join().map_err(|_| std::io::Error::other("the writer of the plain file panicked"))??;
    Ok(rate)
}
