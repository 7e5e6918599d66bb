//! The connections that queries read through: a few, read-only, each with a time limit for what it runs.

use crate::query::{Query, QueryError, QueryReply, answer};
use crate::store::StoreError;
use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How many queries run at once.
const READERS: usize = 2;
/// Of each reader. The nics of 1,000 virtual machines in an order of their own lie on some 40 MB of pages.
const PAGE_CACHE_KIB: u32 = 64 * 1024;
const STATEMENTS_MAX: usize = 256;
/// How many of SQLite's steps go between two looks at the clock: some tens of microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 4096;

/// The pool.
pub(crate) struct Readers {
    path: PathBuf,
    time_max: Duration,
    state: Mutex<State>,
    returned: Condvar,
}

struct State {
    /// How many more queries may run.
    permits: usize,
    idle: Vec<Connection>,
}

/// The right to run a query.
struct Permit<'a> {
    readers: &'a Readers,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.readers.state.lock().permits += 1;
        self.readers.returned.notify_all();
    }
}

impl Readers {
    pub fn new(path: &Path, time_max: Duration) -> Readers {
        let state = State { permits: READERS, idle: Vec::new() };
        Readers { path: path.to_owned(), time_max, state: Mutex::new(state), returned: Condvar::new() }
    }

    /// Answers `query`, when a connection is free. Blocks.
    pub fn answer(&self, query: &Query) -> Result<QueryReply, QueryError> {
        let taken = self.take();
        self.answer_with(taken, query)
    }

    /// The same if a connection is free.
    pub fn answer_at_once(&self, query: &Query) -> Option<Result<QueryReply, QueryError>> {
        let mut state = self.state.try_lock()?;
        state.permits = state.permits.checked_sub(1)?;
        let taken = (Permit { readers: self }, state.idle.pop());
        drop(state);
        Some(self.answer_with(taken, query))
    }

    fn answer_with(
        &self,
        (permit, idle): (Permit<'_>, Option<Connection>),
        query: &Query,
    ) -> Result<QueryReply, QueryError> {
        let mut connection = idle.map_or_else(|| connect(&self.path), Ok)?;
        let deadline = Instant::now() + self.time_max;
        connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || Instant::now() > deadline));
        let answer = answer(&mut connection, query);
        self.state.lock().idle.push(connection);
        drop(permit);
        answer.map_err(|error| match error {
            QueryError::Store(StoreError::Sql(error))
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) =>
            {
                QueryError::TimedOut(self.time_max)
            }
            error => error,
        })
    }

    fn take(&self) -> (Permit<'_>, Option<Connection>) {
        let mut state = self.state.lock();
        while state.permits == 0 {
            self.returned.wait(&mut state);
        }
        state.permits -= 1;
        (Permit { readers: self }, state.idle.pop())
    }

    /// Closes every connection, when the queries under way have ended, and runs `work` on the file before the next.
    pub fn without<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut state = self.state.lock();
        while state.permits < READERS {
            self.returned.wait(&mut state);
        }
        state.idle.clear();
        work()
    }
}

/// A connection that only reads.
pub(crate) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.execute_batch(&format!(
        "PRAGMA query_only=1; PRAGMA cache_size=-{PAGE_CACHE_KIB}; PRAGMA temp_store=MEMORY; PRAGMA mmap_size=0;"
    ))?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::GLOBAL_CONFIG;
    use crate::store::Store;
    use crate::tests::DEFAULTS;

    #[test]
    fn queries_go_on_with_the_file_that_took_the_place_of_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let first = Store::create(&path, &[]).unwrap();
        let readers = Readers::new(&path, Duration::from_secs(10));
        let count = || readers.answer(&Query::new(&GLOBAL_CONFIG)).unwrap().rows().len();
        assert_eq!(count(), 0);
        let _second = readers.without(|| {
            drop(first);
            Store::create(&path, DEFAULTS).unwrap()
        });
        assert_eq!(count(), DEFAULTS.len());
    }

    /// As `.cargo/config.toml` says: with these, all connections wait for each other at each page.
    #[test]
    fn connections_share_nothing() {
        let connection = Connection::open_in_memory().unwrap();
        let used = |option: &str| -> bool {
            connection.query_row("SELECT sqlite_compileoption_used(?1)", [option], |row| row.get(0)).unwrap()
        };
        assert!(!used("ENABLE_MEMORY_MANAGEMENT") && used("DEFAULT_MEMSTATUS=0"));
    }

    #[test]
    fn a_reader_cannot_write() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let _store = Store::create(&path, &[]).unwrap();
        assert!(connect(&path).unwrap().execute("UPDATE meta SET position=7", []).is_err());
    }
}
