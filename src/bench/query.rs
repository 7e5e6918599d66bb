//! `bench query`: questions about many rows, now and at earlier positions; and how soon a write is seen by who made it.
//! The yardstick is maps in memory that answer some of the same questions.

use super::spread;
use anyhow::Context;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use switchback_events::{CommandId, Id, Origin, Provenance, StreamKey, StreamKind, VmInstanceEvent};
use switchback_journal::{Journal, Options, Proposal, SledStore};
use switchback_projections::{
    Projections, Query,
    bench::{Question, measure_queries, write_data_set},
    catalogue::{self, Kind},
};

/// What to measure.
#[derive(Clone, Debug)]
pub struct QueryBench {
    /// Nics in the data set: half as many VMs, and so on.
    pub rows: u64,
    /// Events after the data set is complete: the past that is asked for.
    pub events: u64,
    /// How long each number of clients writes and looks for what it wrote.
    pub seconds: f64,
    /// Only the questions of this class, or with this in their words.
    pub only: Option<String>,
    /// The seed of the log.
    pub seed: u64,
    /// Where to write.
    pub directory: PathBuf,
}

/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(600);
/// The clients that look for their own writes.
const CLIENTS: [usize; 2] = [1, 64];

/// What is promised, in milliseconds at p99, on the data set of 1,000,000 nics.
const GOALS: &[(&str, f64)] = &[
    ("byUuid", 2.0),
    ("byName", 2.0),
    ("nested", 2.0),
    ("pageByReference", 5.0),
    ("firstPage", 10.0),
    ("scan", 250.0),
];
const GOAL_AT_MS: f64 = 1000.0;

/// Runs the benchmark; `progress` hears what is done.
///
/// # Errors
/// A log or a database that cannot be written or read.
pub fn run(options: &QueryBench, progress: &mut dyn FnMut(&str)) -> anyhow::Result<Value> {
    progress("writing the log");
    let began = Instant::now();
    let journal = open(&options.directory)?;
    let complete =
        write_data_set(&journal, options.rows, options.events, options.seed).context("write the data set")?;
    journal.close();
    let written = began.elapsed();
    // Opened again, so that everything is made as after a start.
    let journal = open(&options.directory)?;
    progress("making the inventories");
    let began = Instant::now();
    let path = options.directory.join("inventories");
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    let projections = Projections::open(&path, journal.clone(), &[]).context("open the inventories")?;
    let end = journal.durable();
    anyhow::ensure!(
        runtime.block_on(projections.wait_for(end, PATIENCE)) >= end,
        "the inventories did not come up to the log"
    );
    let made = began.elapsed();
    let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
    let (rows, questions) =
        measure_queries(&projections, &path, complete, options.seed, options.only.as_deref(), progress)?;
    anyhow::ensure!(
        !questions.is_empty(),
        "no question is of the class, or has the words, `{}`",
        options.only.as_deref().unwrap_or_default()
    );
    let vms = vms(&projections)?;
    let mut own_write = Vec::new();
    for clients in CLIENTS.into_iter().filter(|_| options.only.is_none()) {
        progress(&format!("looking for own writes, {clients} at once"));
        own_write.push(runtime.block_on(own_writes(&journal, &projections, &vms, clients, options.seconds))?);
    }
    let goals = goals(&questions);
    projections.stop();
    journal.close();
    Ok(json!({
        "bench": "query",
        "rows": rows,
        "events": end,
        "eventsSinceComplete": end - complete,
        "writeSeconds": super::round(written.as_secs_f64()),
        "rebuildSeconds": super::round(made.as_secs_f64()),
        "databaseBytes": bytes,
        "questions": questions,
        "ownWrite": own_write,
        "goals": goals,
    }))
}

fn open(directory: &Path) -> anyhow::Result<Journal> {
    let store = SledStore::open(directory.join("log")).context("open the log's store")?;
    Journal::open(Arc::new(store), Options::default()).context("open the log")
}

/// The slowest of each class at p99, and what is promised of it.
fn goals(questions: &[Question]) -> Value {
    let worst = |class: &str, of: &dyn Fn(&Question) -> f64| {
        let times = questions.iter().filter(|question| question.class == class).map(of);
        super::round(times.fold(0.0, f64::max))
    };
    let goal = |(class, goal): &(&str, f64)| {
        let (now, at) = (worst(class, &|q| q.now.p99_ms), worst(class, &|q| q.at.p99_ms));
        json!({"query": class, "p99Ms": now, "goalMs": goal, "atP99Ms": at, "atGoalMs": GOAL_AT_MS})
    };
    let asked = |(class, _): &&(&str, f64)| questions.iter().any(|question| question.class == *class);
    GOALS.iter().filter(asked).map(goal).collect()
}

fn kind(name: &str) -> anyhow::Result<&'static Kind> {
    catalogue::kind(name).with_context(|| format!("there is no kind {name}"))
}

/// Some VMs that there are.
fn vms(projections: &Projections) -> anyhow::Result<Vec<Id>> {
    let query = Query { limit: Some(10_000), fields: vec!["uuid".to_string()], ..Query::new(kind("vm")?) };
    let rows = projections.query(&query)?.rows();
    rows.iter().map(|row| row["uuid"].as_str().unwrap_or_default().parse().context("read a uuid")).collect()
}

/// Clients that each rename a VM, wait until that is on disk, then until the inventories have it, and ask for the VM.
async fn own_writes(
    journal: &Journal,
    projections: &Projections,
    vms: &[Id],
    clients: usize,
    seconds: f64,
) -> anyhow::Result<Value> {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let work = (0..clients).map(|client| {
        let (journal, projections) = (journal.clone(), projections.clone());
        let own: Vec<Id> = vms.iter().copied().skip(client).step_by(clients).collect();
        tokio::spawn(async move {
            let mut times = Vec::new();
            let mut round = 0;
            while Instant::now() < end {
                round += 1;
                let id = own[round % own.len()];
                times.push(write_and_look(&journal, &projections, id, format!("own-{client}-{round}")).await?);
            }
            anyhow::Ok(times)
        })
    });
    let work: Vec<_> = work.collect();
    let (mut visible, mut answered, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for client in work {
        for times in client.await.context("a client panicked")?? {
            visible.push(times[0]);
            answered.push(times[1]);
            whole.push(times[2]);
        }
    }
    Ok(json!({
        "query": format!("{clients} clients"),
        "clients": clients,
        "writesPerSecond": (whole.len() as f64 / seconds).round(),
        "visibleMs": spread(visible),
        "visibleAndAnsweredMs": spread(answered),
        "fromAppendMs": spread(whole),
    }))
}

/// From on disk until visible, until answered, and from the beginning until answered.
async fn write_and_look(
    journal: &Journal,
    projections: &Projections,
    id: Id,
    name: String,
) -> anyhow::Result<[Duration; 3]> {
    let began = Instant::now();
    let stream = StreamKey::new(StreamKind::VmInstance, id);
    let mut version = 0;
    journal.sequenced(|heads| version = heads.version(stream));
    let command = Id(*uuid::Uuid::now_v7().as_bytes());
    let provenance = Provenance {
        command_id: CommandId(command),
        command: "UpdateVmInstance".to_string(),
        body: command,
        principal: "admin".to_string(),
        origin: Origin::Api,
        causation: None,
        correlation: command,
        reason: None,
        credential: None,
    };
    let event = VmInstanceEvent::Updated { name: Some(name.clone()), description: None };
    // The log's own time is good enough, and no clock.
    let at = journal.commit_at(journal.durable())?.map_or(0, |commit| commit.at);
    let proposal = Proposal { at, provenance, reads: vec![(stream, version)], events: vec![(stream, event.into())] };
    let commit = journal.append(proposal, || true, |_| {})?.durable().await?;
    let durable = Instant::now();
    let position = commit.last_position();
    let reached = projections.wait_for(position, PATIENCE).await;
    anyhow::ensure!(reached >= position, "the inventories did not come up to the log");
    let visible = durable.elapsed();
    let reader = projections.clone();
    let query = Query::new(kind("vm")?).with(format!("uuid={id}"));
    let reply = tokio::task::spawn_blocking(move || reader.query(&query)).await.context("the query panicked")??;
    let answered = durable.elapsed();
    anyhow::ensure!(reply.rows().first().is_some_and(|vm| vm["name"] == name.as_str()), "own write not seen");
    Ok([visible, answered, began.elapsed()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_is_asked_and_own_writes_are_seen() {
        let directory = tempfile::tempdir().unwrap();
        let options = QueryBench {
            rows: 400,
            events: 600,
            seconds: 0.05,
            only: None,
            seed: 1,
            directory: directory.path().to_path_buf(),
        };
        let figures = run(&options, &mut |_| {}).unwrap();
        assert_eq!(figures["rows"]["l3Networks"], 8, "{figures:#}");
        assert!(figures["rows"]["nics"].as_u64().unwrap() > 300, "{figures:#}");
        assert_eq!(figures["rows"]["eips"], 40, "{figures:#}");
        assert_eq!(figures["eventsSinceComplete"], 600);
        let questions = figures["questions"].as_array().unwrap();
        assert!(questions.len() > 30 && questions.iter().all(|asked| asked["at"]["samples"].as_u64() > Some(9)));
        assert!(figures["goals"].as_array().unwrap().iter().all(|goal| goal["p99Ms"].as_f64() > Some(0.0)));
        assert!(figures["ownWrite"][1]["fromAppendMs"]["samples"].as_u64() >= Some(64), "{figures:#}");
    }
}
