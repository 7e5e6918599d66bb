//! The database against the naive evaluator, and the promises of the fold.

use super::{DEFAULTS, sample_log};
use crate::catalogue::{KINDS, Kind};
use crate::global_config::initial;
use crate::naive::{Memory, random_condition};
use crate::query::{Query, answer};
use crate::samples::{Random, random_log};
use crate::store::Store;
use proptest::prelude::*;
use rusqlite::Connection;
use std::path::Path;

fn initial_state() -> Memory {
    let mut state = Memory::default();
    DEFAULTS.iter().for_each(|default| state.apply(&initial(default)));
    state
}

fn file(directory: &tempfile::TempDir, name: &str) -> std::path::PathBuf {
    directory.path().join(name)
}

fn reader(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

/// A question about `kind` at one of `states`.
fn random_query(random: &mut Random, kind: &'static Kind, state: &Memory, at: Option<usize>) -> Query {
    let mut query = Query { at: at.map(|at| at as u64), reply_with_count: true, ..Query::new(kind) };
    for _ in 0..random.below(4) {
        query.conditions.push(random_condition(random, kind, state));
    }
    let visible: Vec<_> = kind.fields.iter().filter(|f| !f.hidden).collect();
    let single: Vec<_> = visible.iter().filter(|f| !f.ty.is_list()).collect();
    if random.below(2) == 0 {
        query.sort = Some(format!("{}{}", random.pick(&["+", "-", ""]), random.pick(&single).name));
    }
    if random.below(4) == 0 {
        query.group_by = Some(random.pick(&single).name.to_string());
    }
    if random.below(4) == 0 {
        query.start = random.below(3) as u64;
        query.limit = Some(random.below(4) as u64);
    }
    if random.below(6) == 0 {
        query.fields.extend((0..1 + random.below(3)).map(|_| random.pick(&visible).name.to_string()));
    }
    query
}

/// 10,000 questions with `SWITCHBACK_FULL=1`.
fn logs() -> u32 {
    if std::env::var_os("SWITCHBACK_FULL").is_some() { 84 } else { 20 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: logs(), ..ProptestConfig::default() })]

    #[test]
    fn the_database_answers_as_the_naive_evaluator_does_now_and_at_any_position(seed in any::<u64>()) {
        let mut random = Random(seed);
        let log = random_log(&mut random, 160);
        let states = Memory::at_each(initial_state(), &log);
        let directory = tempfile::tempdir().unwrap();
        let path = file(&directory, "db");
        let mut store = Store::open(&path, DEFAULTS, &sample_log).unwrap();
        store.fold(&log).unwrap();
        let mut connection = reader(&path);
        for round in 0..120 {
            let at = (round % 2 == 0).then(|| random.below(states.len()));
            let state = &states[at.unwrap_or(states.len() - 1)];
            let kind = *random.pick(KINDS);
            let query = random_query(&mut random, kind, state, at);
            let (total, inventories) = state.answer(&query);
            let reply = answer(&mut connection, &query).unwrap_or_else(|error| panic!("{query:?}: {error:?}"));
            prop_assert_eq!(reply.total, Some(total), "{:?}", query);
            prop_assert_eq!(reply.rows(), inventories, "{:?}", query);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_of_the_log_into_batches_gives_the_same_tables(seed in any::<u64>()) {
        let mut random = Random(seed);
        let log = random_log(&mut random, 160);
        let directory = tempfile::tempdir().unwrap();
        let mut whole = Store::open(&file(&directory, "whole"), DEFAULTS, &sample_log).unwrap();
        whole.fold(&log).unwrap();
        prop_assert_eq!(whole.versions_of_no_length(), 0);
        let path = file(&directory, "cut");
        let mut cut = Store::open(&path, DEFAULTS, &sample_log).unwrap();
        let mut rest = &log[..];
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(1 + random.below(rest.len().min(20)));
            cut.fold(batch).unwrap();
            rest = later;
            if random.below(4) == 0 {
                // Some stops are clean, some are not.
                if random.below(2) == 0 { cut.close().unwrap() } else { drop(cut) }
                cut = Store::open(&path, DEFAULTS, &sample_log).unwrap();
                prop_assert_eq!(cut.position(), batch.last().unwrap().last_position());
            }
        }
        // What comes again changes nothing.
        cut.fold(&log).unwrap();
        prop_assert_eq!(cut.dump(), whole.dump());
    }
}

/// A row's versions begin and end exactly where its events are, over every relation, too.
#[test]
fn every_relation_is_right_at_every_position() {
    let log = random_log(&mut Random(3), 120);
    let states = Memory::at_each(initial_state(), &log);
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, "db");
    let mut store = Store::open(&path, DEFAULTS, &sample_log).unwrap();
    store.fold(&log).unwrap();
    let mut connection = reader(&path);
    connection.set_prepared_statement_cache_capacity(1000);
    let times = log.iter().flat_map(|commit| commit.events.iter().map(|_| commit.at));
    for ((position, state), time) in states.iter().enumerate().zip(std::iter::once(0).chain(times)) {
        for kind in KINDS {
            for relation in kind.relations {
                let conditions = [format!("{}=null", relation.name), format!("{}.lastOpDate={time}", relation.name)];
                for condition in conditions {
                    let query = Query { count: true, at: Some(position as u64), ..Query::new(kind).with(condition) };
                    let reply = answer(&mut connection, &query).unwrap();
                    assert_eq!(reply.total, Some(state.answer(&query).0), "{query:?}");
                }
            }
        }
    }
}

#[test]
fn random_queries_match_some_rows_and_not_others() {
    let mut random = Random(7);
    let log = random_log(&mut random, 600);
    let state = Memory::at_each(initial_state(), &log).pop().unwrap();
    let telling = (0..1000).filter(|_| {
        let kind = *random.pick(KINDS);
        let condition = random_condition(&mut random, kind, &state);
        let (total, _) = state.answer(&Query::new(kind).with(condition));
        total > 0 && total < state.of(kind).len() as u64
    });
    assert!(telling.count() > 150, "the property test asks questions that tell little");
}

#[test]
fn every_kind_has_rows_in_the_random_logs() {
    let log = random_log(&mut Random(11), 4800);
    let states = Memory::at_each(initial_state(), &log);
    let without = ["networkServiceProvider", "volume", "vip", "eip", "portForwarding"];
    for kind in KINDS.iter().filter(|kind| !without.contains(&kind.name)) {
        assert!(states.iter().any(|state| !state.of(kind).is_empty()), "{}", kind.name);
    }
}
