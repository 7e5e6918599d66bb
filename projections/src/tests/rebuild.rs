//! The bulk rebuild: the same tables as folding commit by commit, and what is left when it does not come to its end.

use super::{DEFAULTS, sample_log};
use crate::catalogue::{self, ZONE};
use crate::packed::key;
use crate::projections::{Limits, Projections};
use crate::query::Query;
use crate::rebuild::{RebuildError, Rebuilt, Step, beside, build, discard, swap};
use crate::samples::{Random, id, random_log};
use crate::store::{Store, StoreError};
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use switchback_events::{Commit, Id};
use switchback_journal::{Journal, MemoryStore, Options};

/// Builds from `log` in batches of `size` commits.
fn build_of(
    path: &Path,
    log: &[Arc<Commit>],
    size: usize,
    watch: &mut dyn FnMut(Step) -> bool,
) -> Result<Option<Rebuilt>, RebuildError> {
    let mut batches = log.chunks(size);
    build(path, &mut || Ok(batches.next().unwrap_or_default().to_vec()), DEFAULTS, watch)
}

fn folded(path: &Path, log: &[Arc<Commit>]) -> Store {
    let mut store = Store::open(path, DEFAULTS, &sample_log).unwrap();
    store.fold(log).unwrap();
    store
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_rebuild_gives_the_tables_that_folding_gives_and_goes_on_like_them(seed in any::<u64>()) {
        let mut random = Random(seed);
        let count = random.below(400);
        let log = random_log(&mut random, count);
        let (first, later) = log.split_at(random.below(log.len() + 1));
        let directory = tempfile::tempdir().unwrap();
        let mut by_commit = folded(&directory.path().join("folded"), first);
        let path = directory.path().join("rebuilt");
        let rebuilt = build_of(&path, first, 1 + random.below(50), &mut |_| true).unwrap().unwrap();
        prop_assert_eq!(rebuilt.position, by_commit.position());
        prop_assert!(swap(&path, &mut |_| true).unwrap());
        let mut in_bulk = Store::open(&path, DEFAULTS, &sample_log).unwrap();
        prop_assert_eq!(in_bulk.position(), by_commit.position());
        let dump = in_bulk.dump();
        prop_assert_eq!(rebuilt.rows + rebuilt.versions, dump.len() as u64);
        prop_assert_eq!(&dump, &by_commit.dump());
        prop_assert_eq!(in_bulk.indexes(), by_commit.indexes());
        in_bulk.fold(later).unwrap();
        by_commit.fold(later).unwrap();
        prop_assert_eq!(in_bulk.dump(), by_commit.dump());
        prop_assert_eq!(in_bulk.versions_of_no_length(), 0);
    }

    /// Wherever it falls, the old database is there as it was, or none; the next start makes it good.
    #[test]
    fn a_rebuild_that_falls_leaves_the_old_database_or_none(seed in any::<u64>()) {
        let mut random = Random(seed);
        let log = random_log(&mut random, 200);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let old = &log[..random.below(log.len())];
        let store = folded(&path, old);
        let (position, dump) = (store.position(), store.dump());
        // What the old one has in its write-ahead log is there, too, when nobody closed it.
        if random.below(2) == 0 { store.close().unwrap() } else { std::mem::forget(store) }
        let mut left = random.below(70);
        let mut removed = false;
        let mut watch = |step: Step| {
            removed = step == Step::Removed;
            left = left.saturating_sub(1);
            left > 0
        };
        let built = build_of(&path, &log, 10, &mut watch).unwrap();
        let swapped = built.is_some() && swap(&path, &mut watch).unwrap();
        prop_assert_eq!(path.exists(), swapped || !removed);
        // The next start.
        discard(&path).unwrap();
        prop_assert!(!beside(&path).exists());
        let mut store = Store::open(&path, DEFAULTS, &sample_log).unwrap();
        if !removed {
            prop_assert_eq!(store.position(), position);
            prop_assert_eq!(store.dump(), dump);
        }
        store.fold(&log).unwrap();
        prop_assert_eq!(store.dump(), folded(&directory.path().join("other"), &log).dump());
    }
}

#[test]
fn a_hole_in_the_log_is_refused_and_the_old_database_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let log = random_log(&mut Random(5), 100);
    let dump = folded(&path, &log).dump();
    let mut holed = log.clone();
    holed.remove(7);
    let built = build_of(&path, &holed, 10, &mut |_| true);
    assert!(matches!(built, Err(RebuildError::Store(StoreError::Gap { .. }))));
    assert_eq!(Store::open(&path, DEFAULTS, &sample_log).unwrap().dump(), dump);
}

#[test]
fn what_is_no_uuid_has_a_key_too() {
    assert_eq!(key(&id("vm", 1).to_string()), id("vm", 1));
    assert_eq!(key("web"), Id::of_name("web"));
}

/// Journals of the same seed are the same log.
fn journal(events: u64) -> Journal {
    let journal = Journal::open(Arc::new(MemoryStore::default()), Options::default()).unwrap();
    crate::bench::write_log(&journal, events, 1).unwrap();
    journal
}

#[tokio::test]
async fn projections_far_behind_are_rebuilt_and_then_follow() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let limits = Limits { rebuild_events_min: 1000, ..Limits::default() };
    let journal = journal(3000);
    std::fs::write(beside(&path), "left over by a start before").unwrap();
    let projections = Projections::open_with(&path, journal.clone(), DEFAULTS, limits).unwrap();
    // The old database answers meanwhile, with its position.
    assert!(projections.query(&Query::new(&catalogue::GLOBAL_CONFIG)).is_ok());
    assert_eq!(projections.wait_for(3000, Duration::from_secs(60)).await, 3000);
    assert_eq!(projections.progress().rebuild, None);
    assert_eq!(projections.query(&Query::new(&ZONE)).unwrap().rows().len(), 1);
    crate::bench::write_log(&journal, 500, 2).unwrap();
    assert_eq!(projections.wait_for(3500, Duration::from_secs(60)).await, 3500);
    assert_eq!(projections.query(&Query::new(&ZONE)).unwrap().rows().len(), 2);
    assert_eq!(projections.failure(), None);
    drop(projections);
    assert!(!beside(&path).exists());
    let command_at = |position| Some(journal.commit_at(position).unwrap()?.provenance.command_id);
    let in_bulk = Store::open(&path, DEFAULTS, &command_at).unwrap();
    assert_eq!(in_bulk.position(), 3500);
    let by_commit = folded(&directory.path().join("other"), &journal.read(0, usize::MAX).unwrap());
    assert_eq!(in_bulk.dump(), by_commit.dump());
}

#[test]
fn projections_that_are_stopped_during_a_rebuild_leave_what_there_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let limits = Limits { rebuild_events_min: 1000, ..Limits::default() };
    let journal = journal(20_000);
    for _ in 0..5 {
        drop(Projections::open_with(&path, journal.clone(), DEFAULTS, limits).unwrap());
        assert!(!beside(&path).exists());
        assert!(path.exists());
    }
}
