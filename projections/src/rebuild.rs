//! A whole database from a long log: folded in memory, loaded in bulk, and put in the place of the old one.
//!
//! ```text
//!  a thread: read ──► a thread: fold ──► versions closed ──► this thread: tables without indexes
//!                                │                                               │
//!                                └── rows of now, in memory ──────────► loaded last ──► indexes ──► rename
//! ```
//! It is a file of its own until it is complete, so whoever stops or falls on the way leaves the old database as it
//! was, or, in the last moment, none. Memory grows with the rows that there are now, not with the log.
//!
//! **Invariant:** the outcome is, table by table and row by row, what folding commit by commit gives.

use crate::catalogue::{KINDS, Kind};
use crate::current::{Current, Version};
use crate::fold;
use crate::global_config::{self, ConfigDefault};
use crate::store::{self, PAGE_BYTES, StoreError, columns};
use rusqlite::{Connection, Statement};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use switchback_events::{CommandId, Commit, Position};
use switchback_journal::{Journal, ReadError};

/// Also the most that an index is sorted in before it goes to a file.
const PAGE_CACHE_KIB: u32 = 96 * 1024;
/// How many rows one statement inserts.
const ROWS_AT_ONCE: usize = 8;
/// How many commits are read at once, and how many such reads wait to be folded, or to be loaded once they are.
const READ_COMMITS: usize = 1024;
const READS_AHEAD: usize = 8;

/// How far a rebuild is. Whoever watches may stop it at each of these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// The log is folded up to here, in memory.
    Folded(Position),
    /// The rows of one more kind are loaded, or one more index is made.
    Loading,
    /// The new database is complete, beside the old one.
    Finished,
    /// The old one is removed.
    Removed,
}

/// Why a rebuild failed. The old database is as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RebuildError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Journal(#[from] ReadError),
}

impl From<rusqlite::Error> for RebuildError {
    fn from(error: rusqlite::Error) -> RebuildError {
        RebuildError::Store(error.into())
    }
}

/// What was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rebuilt {
    pub position: Position,
    pub rows: u64,
    pub versions: u64,
}

/// Where the new database is until it is complete.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut file = path.as_os_str().to_owned();
    file.push(".rebuild");
    file.into()
}

/// Makes a database of `journal` up to `target`, beside the one at `path`. Nothing if `watch` said no.
pub(crate) fn build_from(
    path: &Path,
    journal: &Journal,
    target: Position,
    defaults: &[ConfigDefault],
    watch: &mut dyn FnMut(Step) -> bool,
) -> Result<Option<Rebuilt>, RebuildError> {
    std::thread::scope(|scope| {
        let (give, reads) = sync_channel(READS_AHEAD);
        let reader = std::thread::Builder::new().name("projections-read".to_string());
        let reader = reader.spawn_scoped(scope, move || {
            let mut position = 0;
            while position < target {
                let commits = journal.read(position, READ_COMMITS);
                let last = commits.as_ref().ok().and_then(|commits| Some(commits.last()?.last_position()));
                // It ends with the log, with the first failure, or when nobody takes what it reads any more.
                position = last.unwrap_or(target);
                if give.send(commits).is_err() {
                    return;
                }
            }
        });
        reader.map_err(|source| StoreError::File { path: beside(path), source })?;
        build(path, &mut move || reads.recv().unwrap_or_else(|_| Ok(Vec::new())), defaults, watch)
    })
}

/// Gives the next commits of a log, from its beginning on, and none at its end.
pub(crate) type Read<'a> = dyn FnMut() -> Result<Vec<Arc<Commit>>, ReadError> + Send + 'a;

/// Makes a database of the commits that `read` gives.
pub(crate) fn build(
    path: &Path,
    read: &mut Read<'_>,
    defaults: &[ConfigDefault],
    watch: &mut dyn FnMut(Step) -> bool,
) -> Result<Option<Rebuilt>, RebuildError> {
    let file = beside(path);
    store::remove(&file)?;
    let connection = connect(&file)?;
    connection.execute_batch(&store::tables_ddl())?;
    connection.execute_batch("BEGIN")?;
    let loaded = std::thread::scope(|scope| {
        let (give, closed) = sync_channel(READS_AHEAD);
        let folder = std::thread::Builder::new().name("projections-fold".to_string());
        // It ends with the log, or when nobody takes what it closes any more.
        let folder = folder.spawn_scoped(scope, move || fold_all(read, defaults, &give));
        let folder = folder.map_err(|source| StoreError::File { path: file, source })?;
        let whole = load_history(&connection, closed, watch)?;
        let folded = folder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok::<_, RebuildError>(whole.map(|versions| (folded, versions)))
    })?;
    let Some((Folded { current, position, command }, versions)) = loaded else { return Ok(None) };
    let rows = current.len() as u64;
    if !load_rows(&connection, current, watch)? {
        return Ok(None);
    }
    store::insert_meta(&connection, position, command, defaults)?;
    connection.execute_batch("COMMIT; PRAGMA optimize;")?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(watch(Step::Finished).then_some(Rebuilt { position, rows, versions }))
}

/// A part of the log folded: up to where, and the versions that it closed, each with its kind's place and its end.
struct Closed {
    position: Position,
    versions: Vec<(usize, Version, Position)>,
}

/// The log folded.
struct Folded {
    current: Current,
    position: Position,
    command: Option<CommandId>,
}

fn fold_all(
    read: &mut Read<'_>,
    defaults: &[ConfigDefault],
    give: &SyncSender<Closed>,
) -> Result<Folded, RebuildError> {
    let mut folded = Folded { current: Current::new(), position: 0, command: None };
    for (ordinal, default) in defaults.iter().enumerate() {
        folded.current.apply(&global_config::initial(default), 0, ordinal);
    }
    loop {
        let commits = read()?;
        if commits.is_empty() {
            return Ok(folded);
        }
        let mut versions = Vec::with_capacity(commits.len());
        for commit in commits {
            fold_commit(&commit, &mut folded, &mut versions)?;
        }
        if give.send(Closed { position: folded.position, versions }).is_err() {
            return Ok(folded);
        }
    }
}

fn fold_commit(
    commit: &Commit,
    folded: &mut Folded,
    versions: &mut Vec<(usize, Version, Position)>,
) -> Result<(), StoreError> {
    for recorded in &commit.events {
        let expected = folded.position + 1;
        if recorded.position != expected {
            return Err(StoreError::Gap { expected, found: recorded.position });
        }
        folded.position = expected;
        let changes = fold::changes(recorded, commit.at, &folded.current)?;
        for (ordinal, change) in changes.iter().enumerate() {
            let closed = folded.current.apply(change, expected, ordinal);
            versions.extend(closed.map(|(place, version)| (place, version, expected)));
        }
        folded.command = Some(commit.provenance.command_id);
    }
    Ok(())
}

/// Inserts the closed versions as they come, and tells how many they were. Nothing if `watch` said no.
fn load_history(
    connection: &Connection,
    closed: Receiver<Closed>,
    watch: &mut dyn FnMut(Step) -> bool,
) -> Result<Option<u64>, StoreError> {
    let mut history = Loader::of_history(connection)?;
    for Closed { position, versions } in closed {
        for (place, version, to) in versions {
            history.add(place, version, Some(to))?;
        }
        if !watch(Step::Folded(position)) {
            return Ok(None);
        }
    }
    history.finish().map(Some)
}

/// Inserts the rows of now and makes the indexes. False if `watch` said no.
fn load_rows(
    connection: &Connection,
    current: Current,
    watch: &mut dyn FnMut(Step) -> bool,
) -> Result<bool, StoreError> {
    let mut rows = Loader::of_rows(connection)?;
    for (place, versions) in current.into_tables().enumerate() {
        for version in versions {
            rows.add(place, version, None)?;
        }
        if !watch(Step::Loading) {
            return Ok(false);
        }
    }
    rows.finish()?;
    for statement in store::indexes_ddl().lines() {
        connection.execute_batch(statement)?;
        if !watch(Step::Loading) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Puts the new database in the place of the one at `path`, which nobody may have open. False if `watch` said no.
pub(crate) fn swap(path: &Path, watch: &mut dyn FnMut(Step) -> bool) -> Result<bool, StoreError> {
    // The old one goes first: its write-ahead log must never meet the new file.
    store::remove(path)?;
    if !watch(Step::Removed) {
        return Ok(false);
    }
    std::fs::rename(beside(path), path).map_err(|source| StoreError::File { path: path.to_owned(), source })?;
    Ok(true)
}

/// Removes what a rebuild left that did not come to its end.
pub(crate) fn discard(path: &Path) -> Result<(), StoreError> {
    store::remove(&beside(path))
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    // Sorting spills to a file, so that memory does not grow with the history. A file half written is removed.
    connection.execute_batch(&format!(
        "PRAGMA page_size={PAGE_BYTES}; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE;
         PRAGMA cache_size=-{PAGE_CACHE_KIB}; PRAGMA temp_store=FILE; PRAGMA threads=2; PRAGMA mmap_size=0;"
    ))?;
    Ok(connection)
}

/// Inserts rows, some at a time, into the tables of all kinds.
struct Loader<'c> {
    /// In the order of [`KINDS`].
    tables: Vec<TableLoader<'c>>,
    rows: u64,
}

struct TableLoader<'c> {
    many: Statement<'c>,
    one: Statement<'c>,
    waiting: Vec<(Version, Option<Position>)>,
}

impl<'c> Loader<'c> {
    fn of_history(connection: &'c Connection) -> Result<Loader<'c>, StoreError> {
        Loader::new(connection, "_h", "id,vf,vt", 3)
    }

    fn of_rows(connection: &'c Connection) -> Result<Loader<'c>, StoreError> {
        Loader::new(connection, "", "id,vf", 2)
    }

    fn new(connection: &'c Connection, suffix: &str, keys: &str, width: usize) -> Result<Loader<'c>, StoreError> {
        let table = |kind: &&'static Kind| {
            let row = format!("({})", vec!["?"; width + kind.fields.len()].join(","));
            let insert = |rows: usize| {
                let (name, columns) = (kind.name, columns(kind));
                let rows = vec![row.as_str(); rows].join(",");
                connection.prepare(&format!("INSERT INTO \"{name}{suffix}\"({keys},{columns}) VALUES{rows}"))
            };
            Ok(TableLoader { many: insert(ROWS_AT_ONCE)?, one: insert(1)?, waiting: Vec::new() })
        };
        Ok(Loader { tables: KINDS.iter().map(table).collect::<Result<_, StoreError>>()?, rows: 0 })
    }

    /// Inserts a row, closed at `to` if it is of history.
    fn add(&mut self, place: usize, version: Version, to: Option<Position>) -> Result<(), StoreError> {
        let TableLoader { many, waiting, .. } = &mut self.tables[place];
        self.rows += 1;
        waiting.push((version, to));
        if waiting.len() == ROWS_AT_ONCE {
            insert(many, waiting)?;
        }
        Ok(())
    }

    /// Inserts what waits, and tells how many rows there were.
    fn finish(mut self) -> Result<u64, StoreError> {
        for TableLoader { one, waiting, .. } in &mut self.tables {
            for version in waiting.drain(..) {
                insert(one, &mut vec![version])?;
            }
        }
        Ok(self.rows)
    }
}

fn insert(statement: &mut Statement<'_>, rows: &mut Vec<(Version, Option<Position>)>) -> Result<(), StoreError> {
    let mut parameter = 1;
    for (version, to) in rows.drain(..) {
        statement.raw_bind_parameter(parameter, version.id)?;
        statement.raw_bind_parameter(parameter + 1, version.from)?;
        parameter += 2;
        if let Some(to) = to {
            statement.raw_bind_parameter(parameter, to)?;
            parameter += 1;
        }
        parameter = version.values.bind(statement, parameter)?;
    }
    statement.raw_execute()?;
    Ok(())
}
