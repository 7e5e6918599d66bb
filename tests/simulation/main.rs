//! The deterministic simulation: whole lives of a node – journal, decisions, snapshots, folds, agents – in one thread, on
//! a clock, a disk, a bus and agents that one seed drives, and that fail. After every crash and at the end the invariants
//! of `tests/invariants` are asked. See `docs/concepts/simulation.md`.
//!
//! `SIMULATION_SEED=42 cargo test --test simulation one_seed -- --nocapture` runs one seed and tells what happens.

mod agents;
mod commands;
mod disk;
#[path = "../invariants/mod.rs"]
mod invariants;
mod node;
mod reconcile;
mod world;

use invariants::{Invariant, Violation};
use std::{
    collections::BTreeMap,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};
use world::{Plant, Summary, World};

/// The seed of the site; no run has it.
const SITE_SEED: u64 = u64::MAX;

/// The commands of one run.
const COMMANDS: Range<usize> = 10..60;

/// What happens only when agents fail.
const OUT_OF_THE_ORDINARY: &[&str] = &[
    "l2_network.AttachFailed",
    "router.ConfigFailed",
    "router.Disconnected",
    "router.StartFailed",
    "vm_instance.OperationFailed",
];

/// The log of the site that every run begins with.
fn site() -> &'static [u8] {
    static SITE: OnceLock<Vec<u8>> = OnceLock::new();
    SITE.get_or_init(|| {
        let mut world = World::new(SITE_SEED, Vec::new(), None, false);
        world.build_site().unwrap_or_else(|violation| panic!("the site: {violation}"));
        world.content()
    })
}

/// The run of a seed.
fn run(seed: u64, plant: Option<Plant>, told: bool) -> Result<Summary, Violation> {
    let mut world = World::new(seed, site().to_vec(), plant, told);
    world.asked_for.extend(site_commands());
    // What a disk that lies has lost is not lost beside it, so a log would not even be opened.
    if seed.is_multiple_of(16) && plant != Some(Plant::SyncLies) {
        world.dir = Some(tempfile::tempdir().expect("a directory for the index checkpoint"));
    }
    let commands = world.rng.usize(COMMANDS);
    world.live(commands)
}

/// Whose commands made the site.
fn site_commands() -> Vec<(switchback_events::CommandId, String)> {
    static COMMANDS: OnceLock<Vec<(switchback_events::CommandId, String)>> = OnceLock::new();
    let asked_for = COMMANDS.get_or_init(|| {
        let mut world = World::new(SITE_SEED, site().to_vec(), None, false);
        world.read_site()
    });
    asked_for.clone()
}

/// What all runs came to.
#[derive(Default, Debug)]
struct Totals {
    runs: u64,
    starts: u64,
    acknowledged: usize,
    conflicts: u64,
    happened: u64,
    kinds: BTreeMap<String, usize>,
}

/// What the first seed that fails has broken; no invariant where it panicked.
#[derive(PartialEq, Debug)]
struct Failure {
    seed: u64,
    invariant: Option<Invariant>,
    what: String,
}

/// Runs the seeds on all processors until one fails. A panic counts, too.
fn run_all(seeds: Range<u64>, plant: Option<Plant>) -> Result<Totals, Failure> {
    let next = AtomicU64::new(seeds.start);
    let failures = parking_lot::Mutex::new(Vec::new());
    let totals = parking_lot::Mutex::new(Totals::default());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while failures.lock().is_empty() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let failure = match catch_unwind(AssertUnwindSafe(|| run(seed, plant, false))) {
                        Ok(Ok(summary)) => {
                            totals.lock().add(&summary);
                            continue;
                        }
                        Ok(Err(violation)) => {
                            Failure { seed, what: violation.to_string(), invariant: Some(violation.invariant) }
                        }
                        Err(_) => Failure { seed, what: "a panic, see above".to_string(), invariant: None },
                    };
                    failures.lock().push(failure);
                }
            });
        }
    });
    match failures.into_inner().into_iter().min_by_key(|failure| failure.seed) {
        Some(failure) => Err(failure),
        None => Ok(totals.into_inner()),
    }
}

impl Totals {
    fn add(&mut self, summary: &Summary) {
        self.runs += 1;
        self.starts += summary.starts;
        self.acknowledged += summary.acknowledged;
        self.conflicts += summary.conflicts;
        self.happened += summary.happened;
        for (kind, count) in &summary.kinds {
            *self.kinds.entry(kind.clone()).or_default() += count;
        }
    }
}

fn alone(seed: u64) -> String {
    format!("run it alone: SIMULATION_SEED={seed} cargo test --test simulation one_seed -- --nocapture")
}

#[test]
fn every_seed_keeps_every_promise() {
    let seeds = if std::env::var_os("SWITCHBACK_FULL").is_some() { 0..20_000 } else { 0..500 };
    let totals = match run_all(seeds, None) {
        Ok(totals) => totals,
        Err(Failure { seed, what, .. }) => panic!("seed {seed}: {what}\n{}", alone(seed)),
    };
    println!("{totals:#?}");
    // A simulation in which nothing happens would find nothing.
    let Totals { runs, starts, acknowledged, conflicts, kinds, .. } = &totals;
    assert!(
        *starts > 2 * runs && *acknowledged as u64 > 5 * runs && conflicts > runs,
        "too little happens: {totals:?}"
    );
    for kind in OUT_OF_THE_ORDINARY {
        assert!(kinds.contains_key(*kind), "{kind} never happens");
    }
}

#[test]
fn one_seed() {
    let Ok(seed) = std::env::var("SIMULATION_SEED") else { return };
    let seed = seed.parse().expect("SIMULATION_SEED is a number");
    match run(seed, None, true) {
        Ok(summary) => println!("seed {seed}: {summary:?}"),
        Err(violation) => panic!("seed {seed}: {violation}"),
    }
}

#[test]
fn the_same_seed_makes_the_same_log() {
    for seed in 0..12 {
        assert_eq!(run(seed, None, false), run(seed, None, false), "seed {seed}");
    }
}

/// The planted fault is found within `most` seeds as a breach of one of `promises`; without it the same seeds keep all.
fn is_found(plant: Plant, most: u64, promises: &[Invariant]) {
    let failure = match run_all(0..most, Some(plant)) {
        Ok(totals) => panic!("{plant:?} is not found in {most} seeds: {totals:?}"),
        Err(failure) => failure,
    };
    println!("{plant:?}: {failure:?}");
    assert!(failure.invariant.is_some_and(|found| promises.contains(&found)), "{plant:?} is found as {failure:?}");
    if let Err(failure) = run_all(0..failure.seed + 1, None) {
        panic!("also without {plant:?}: {failure:?}");
    }
}

#[test]
fn a_reply_before_the_sync_is_found() {
    is_found(Plant::ReplyBeforeSync, 50, &[Invariant::AcknowledgedIsDurable]);
}

#[test]
fn a_disk_that_only_says_that_it_synced_is_found() {
    is_found(Plant::SyncLies, 50, &[Invariant::AcknowledgedIsDurable, Invariant::AgentsHoldTheLog]);
}

#[test]
fn versions_compared_with_the_durable_heads_are_found() {
    is_found(Plant::DurableHead, 50, &[Invariant::DecisionsStand]);
}

#[test]
fn a_snapshot_of_what_is_only_sequenced_is_found() {
    is_found(Plant::SequencedSnapshot, 200, &[Invariant::SnapshotsChangeNothing, Invariant::ReplayIsLive]);
}
