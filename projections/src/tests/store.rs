//! When the database is gone on with, and when it is made anew.

use super::{DEFAULTS, sample_log};
use crate::samples::{Random, random_log};
use crate::store::{CommandAt, Store};
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use switchback_events::{CommandId, Commit, Id};

fn with_log() -> (tempfile::TempDir, std::path::PathBuf, Vec<Arc<Commit>>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let log = random_log(&mut Random(5), 100);
    let mut store = Store::open(&path, DEFAULTS, &sample_log).unwrap();
    store.fold(&log).unwrap();
    let dump = store.dump();
    store.close().unwrap();
    (directory, path, log, dump)
}

fn change(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_reopened_database_goes_on_where_it_stopped() {
    let (_directory, path, _, dump) = with_log();
    let store = Store::open(&path, DEFAULTS, &sample_log).unwrap();
    assert_eq!(store.position(), 100);
    assert_eq!(store.dump(), dump);
    drop(store);
    // It was not closed this time, but the machine is still up.
    assert_eq!(Store::open(&path, DEFAULTS, &sample_log).unwrap().position(), 100);
}

/// Opens the database after `spoil`, expects it to be empty, and folds it again to the same tables.
fn rebuilt_after(spoil: impl FnOnce(&Path), defaults: &[crate::ConfigDefault], command_at: &CommandAt<'_>) {
    let (_directory, path, log, dump) = with_log();
    spoil(&path);
    let mut store = Store::open(&path, defaults, command_at).unwrap();
    assert_eq!(store.position(), 0);
    store.fold(&log).unwrap();
    if defaults == DEFAULTS {
        assert_eq!(store.dump(), dump);
    }
}

#[test]
fn another_schema_means_a_rebuild() {
    rebuilt_after(|path| change(path, "UPDATE meta SET schema='of before'"), DEFAULTS, &sample_log);
}

#[test]
fn other_defaults_mean_a_rebuild() {
    rebuilt_after(|_| {}, &DEFAULTS[..1], &sample_log);
}

#[test]
fn a_database_ahead_of_the_log_or_of_another_log_is_rebuilt() {
    rebuilt_after(|_| {}, DEFAULTS, &|_| None);
    rebuilt_after(|_| {}, DEFAULTS, &|position| Some(CommandId(Id::of_name(&position.to_string()))));
}

#[test]
fn a_machine_that_went_down_means_a_rebuild() {
    rebuilt_after(|path| change(path, "UPDATE meta SET clean=0, boot='of before'"), DEFAULTS, &sample_log);
}

#[test]
fn a_damaged_file_is_rebuilt() {
    rebuilt_after(|path| std::fs::write(path, b"this is no database at all").unwrap(), DEFAULTS, &sample_log);
    rebuilt_after(|path| std::fs::write(path, b"").unwrap(), DEFAULTS, &sample_log);
}

#[test]
fn a_hole_in_the_log_is_refused_and_changes_nothing() {
    let (_directory, path, _, dump) = with_log();
    let mut store = Store::open(&path, DEFAULTS, &sample_log).unwrap();
    let later = random_log(&mut Random(6), 110);
    assert!(store.fold(&later[later.len() - 1..]).is_err());
    assert_eq!(store.dump(), dump);
    assert_eq!(store.position(), 100);
}
