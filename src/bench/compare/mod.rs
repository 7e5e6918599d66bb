//! `bench compare`: the journal's workload on other stores, with everything done for them that the journal does for
//! itself: one thread writes, and what waits goes into one transaction that is durable before anyone is answered.
//!
//! A commit looks its command id up, checks and raises its stream's version, and adds a record of as many bytes as
//! the journal writes. The others need not keep the journal's hash chain or its index of tags, so they have less to do.
//! JetStream is asked over loopback, has no transactions, and is sent the whole group at once.

mod jetstream;
mod redb;
mod sqlite;

use super::{nats_server::NatsServer, round, spread};
use anyhow::Context;
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use switchback_journal::bench::{BenchResult, bench, disk_bytes};
use tokio::sync::{mpsc, oneshot};

/// What to measure.
#[derive(Clone, Debug)]
pub struct CompareBench {
    /// Clients that each wait for their last commit.
    pub clients: usize,
    /// How long to measure each store, seconds.
    pub seconds: f64,
    /// Where to write.
    pub directory: PathBuf,
}

/// The most commits of one transaction: as many as the journal writes at once.
const GROUP_MAX: usize = 512;
/// The commits that may wait: more than there are clients.
const WAITING_MAX: usize = 4096;

/// A commit of one event.
struct Request {
    command: [u8; 16],
    stream: [u8; 16],
    /// The version that the stream has before it.
    version: u64,
    record: Vec<u8>,
}

/// What became of a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Durable,
    /// The command was there before.
    Repeated,
    /// The stream has another version.
    Conflict,
}

/// A store that takes the journal's place.
trait Rival {
    /// Adds the commits in one transaction, which is durable when this returns.
    fn commit(&mut self, group: &[Request]) -> anyhow::Result<Vec<Outcome>>;
}

/// Runs the benchmark; `progress` hears what is done.
///
/// # Errors
/// A store that fails, or that does not take a commit.
pub fn run(options: &CompareBench, progress: &mut dyn FnMut(&str)) -> anyhow::Result<Value> {
    let directory = |name: &str| {
        let path = options.directory.join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("make `{}`", path.display())).map(|()| path)
    };
    progress("the journal, and a plain file");
    let journal = bench(options.clients, options.seconds, &directory("journal")?)?;
    let record = journal.record_bytes.round() as usize;
    progress("SQLite");
    let path = directory("sqlite")?;
    let sqlite = measure(options, record, sqlite::Sqlite::open(&path)?, &path)?;
    progress("redb");
    let path = directory("redb")?;
    let redb = measure(options, record, redb::Redb::open(&path)?, &path)?;
    let times = |rival: &Measured| round(journal.commits_per_s / rival.rate);
    let mut ratio = json!({
        "journalToSqlite": times(&sqlite),
        "journalToRedb": times(&redb),
        "journalToFile": round(journal.ratio),
    });
    let jetstream = if NatsServer::is_there() {
        progress("JetStream");
        let path = directory("jetstream")?;
        let jetstream = measure(options, record, jetstream::JetStream::open(&path)?, &path)?;
        ratio["journalToJetStream"] = json!(times(&jetstream));
        figures("JetStream, sync_interval: always", jetstream)
    } else {
        json!({"store": "JetStream", "note": "not measured: there is no nats-server on the PATH"})
    };
    Ok(json!({
        "bench": "compare",
        "clients": options.clients,
        "recordBytes": record,
        "stores": [
            of_journal(&journal),
            figures("SQLite, WAL, synchronous=FULL", sqlite),
            figures("redb, Durability::Immediate", redb),
            jetstream,
        ],
        "ratio": ratio,
    }))
}

/// What was measured of one store.
struct Measured {
    rate: f64,
    waits: Vec<Duration>,
    bytes_per_commit: f64,
}

fn figures(store: &str, measured: Measured) -> Value {
    json!({
        "store": store,
        "commitsPerSecond": measured.rate.round(),
        "latencyMs": spread(measured.waits),
        "diskBytesPerCommit": measured.bytes_per_commit.round(),
    })
}

fn of_journal(measured: &BenchResult) -> Value {
    json!({
        "store": "journal",
        "commitsPerSecond": measured.commits_per_s.round(),
        "latencyMs": {"p50": round(measured.p50_us / 1e3), "p99": round(measured.p99_us / 1e3)},
        "diskBytesPerCommit": measured.bytes_per_commit.round(),
    })
}

type Waiting = (Request, oneshot::Sender<Outcome>);

fn measure(
    options: &CompareBench,
    record: usize,
    rival: impl Rival + Send + 'static,
    path: &std::path::Path,
) -> anyhow::Result<Measured> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().context("start the clients")?;
    let (sender, waiting) = mpsc::channel::<Waiting>(WAITING_MAX);
    let writer = std::thread::Builder::new().name("rival-writer".to_string());
    let writer = writer.spawn(move || write(rival, waiting)).context("start the writer")?;
    let begin = Instant::now();
    let span = Duration::from_secs_f64(options.seconds);
    let waits = runtime.block_on(async {
        let client = |number: usize| tokio::spawn(client(number as u64, record, begin, span, sender.clone()));
        let clients: Vec<_> = (0..options.clients).map(client).collect();
        let mut waits = Vec::new();
        for client in clients {
            waits.extend(client.await??);
        }
        Ok::<_, anyhow::Error>(waits)
    });
    let taken = begin.elapsed();
    drop(sender);
    let written = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?;
    // A store that failed says more than the clients that got no answer.
    written?;
    let waits = waits?;
    let bytes = disk_bytes(path)?;
    Ok(Measured {
        rate: waits.len() as f64 / taken.as_secs_f64(),
        bytes_per_commit: bytes as f64 / waits.len().max(1) as f64,
        waits,
    })
}

/// Commits one after the other until the time is over, each when the last is durable. Gives how long each took.
async fn client(
    number: u64,
    record: usize,
    begin: Instant,
    span: Duration,
    sender: mpsc::Sender<Waiting>,
) -> anyhow::Result<Vec<Duration>> {
    let mut waits = Vec::new();
    while begin.elapsed() < span {
        let sent = Instant::now();
        let version = waits.len() as u64;
        let request =
            Request { command: id(1, number << 32 | version), stream: id(2, number), version, record: vec![7; record] };
        let (done, outcome) = oneshot::channel();
        sender.send((request, done)).await.map_err(|_| anyhow::anyhow!("the writer has ended"))?;
        let outcome = outcome.await.context("the writer has ended")?;
        anyhow::ensure!(outcome == Outcome::Durable, "a new commit was taken as {outcome:?}");
        waits.push(sent.elapsed());
    }
    Ok(waits)
}

fn write(mut rival: impl Rival, mut waiting: mpsc::Receiver<Waiting>) -> anyhow::Result<()> {
    while let Some(first) = waiting.blocking_recv() {
        let (mut group, mut clients) = (vec![first.0], vec![first.1]);
        while group.len() < GROUP_MAX
            && let Ok((request, client)) = waiting.try_recv()
        {
            group.push(request);
            clients.push(client);
        }
        for (client, outcome) in clients.into_iter().zip(rival.commit(&group)?) {
            let _ = client.send(outcome);
        }
    }
    Ok(())
}

/// An id as the journal's workload has them: spread like random ones, and different for every number.
fn id(kind: u64, number: u64) -> [u8; 16] {
    let spread = (number ^ kind << 56).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&spread.to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(command: u64, stream: u64, version: u64) -> Request {
        Request { command: id(1, command), stream: id(2, stream), version, record: vec![1; 200] }
    }

    fn keeps_commands_and_versions(mut rival: impl Rival) {
        use Outcome::*;
        let first = [request(1, 1, 0), request(2, 1, 1), request(1, 1, 2), request(3, 1, 0), request(4, 2, 0)];
        assert_eq!(rival.commit(&first).unwrap(), [Durable, Durable, Repeated, Conflict, Durable]);
        let second = [request(3, 1, 2), request(4, 2, 1), request(5, 2, 2)];
        assert_eq!(rival.commit(&second).unwrap(), [Durable, Repeated, Conflict]);
    }

    #[test]
    fn the_rivals_keep_commands_and_versions_as_the_journal_does() {
        let directory = tempfile::tempdir().unwrap();
        keeps_commands_and_versions(sqlite::Sqlite::open(directory.path()).unwrap());
        keeps_commands_and_versions(redb::Redb::open(directory.path()).unwrap());
        keeps_commands_and_versions(jetstream::JetStream::open(directory.path()).unwrap());
    }

    #[test]
    fn every_store_is_measured() {
        let directory = tempfile::tempdir().unwrap();
        let options = CompareBench { clients: 8, seconds: 0.2, directory: directory.path().to_path_buf() };
        let figures = run(&options, &mut |_| {}).unwrap();
        let stores = figures["stores"].as_array().unwrap();
        let rates: Vec<f64> = stores.iter().filter_map(|store| store["commitsPerSecond"].as_f64()).collect();
        assert!(rates.len() == 4 && rates.iter().all(|rate| *rate > 0.0), "{figures:#}");
        let bytes = |at: usize| stores[at]["diskBytesPerCommit"].as_f64().unwrap();
        assert!((0..4).all(|at| bytes(at) > figures["recordBytes"].as_f64().unwrap() / 2.0), "{figures:#}");
    }
}
