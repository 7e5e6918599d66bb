//! SQLite with a write-ahead log that is synced at every commit.

use super::{Outcome, Request, Rival};
use rusqlite::{Connection, OptionalExtension, params};
use std::path::Path;

/// An open database.
pub struct Sqlite {
    connection: Connection,
    position: i64,
}

impl Sqlite {
    /// Makes a database in `directory`.
    pub fn open(directory: &Path) -> anyhow::Result<Sqlite> {
        let connection = Connection::open(directory.join("log.db"))?;
        let mode: String = connection.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
        anyhow::ensure!(mode == "wal", "SQLite writes no write-ahead log here but `{mode}`");
        connection.execute_batch(
            "PRAGMA synchronous=FULL; PRAGMA cache_size=-65536;
             CREATE TABLE log(position INTEGER PRIMARY KEY, record BLOB NOT NULL);
             CREATE TABLE command(id BLOB PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
             CREATE TABLE stream(id BLOB PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;",
        )?;
        Ok(Sqlite { connection, position: 0 })
    }
}

impl Rival for Sqlite {
    fn commit(&mut self, group: &[Request]) -> anyhow::Result<Vec<Outcome>> {
        let transaction = self.connection.transaction()?;
        let mut outcomes = Vec::with_capacity(group.len());
        {
            let mut command = transaction
                .prepare_cached("INSERT INTO command(id, position) VALUES(?1, ?2) ON CONFLICT DO NOTHING")?;
            let mut forget = transaction.prepare_cached("DELETE FROM command WHERE id=?1")?;
            let mut version = transaction.prepare_cached("SELECT version FROM stream WHERE id=?1")?;
            let mut raise = transaction.prepare_cached("INSERT OR REPLACE INTO stream(id, version) VALUES(?1, ?2)")?;
            let mut log = transaction.prepare_cached("INSERT INTO log(position, record) VALUES(?1, ?2)")?;
            for request in group {
                let next = self.position + 1;
                if command.execute(params![request.command, next])? == 0 {
                    outcomes.push(Outcome::Repeated);
                    continue;
                }
                let found: Option<i64> = version.query_row(params![request.stream], |row| row.get(0)).optional()?;
                if found.unwrap_or(0) as u64 != request.version {
                    forget.execute(params![request.command])?;
                    outcomes.push(Outcome::Conflict);
                    continue;
                }
                raise.execute(params![request.stream, request.version as i64 + 1])?;
                log.execute(params![next, request.record])?;
                self.position = next;
                outcomes.push(Outcome::Durable);
            }
        }
        transaction.commit()?;
        Ok(outcomes)
    }
}
