//! Tests of the crate as a whole.

mod follower;
mod inventories;
mod language;
mod parser;
mod properties;
mod rebuild;
mod store;

use crate::catalogue::kind;
use crate::global_config::ConfigDefault;
use crate::query::{Query, QueryError, QueryReply, answer};
use crate::samples::Log;
use crate::store::Store;
use rusqlite::Connection;
use serde_json::Value;
use switchback_events::{CommandId, Id, Position};

pub(crate) const DEFAULTS: &[ConfigDefault] = &[
    ConfigDefault { category: "virtualRouter", name: "agent.deployOnStart", value: "false", description: "Deploy." },
    ConfigDefault { category: "web", name: "db", value: "1", description: "" },
];

/// Every commit of the samples is of one command.
fn sample_log(_: Position) -> Option<CommandId> {
    Some(CommandId(Id::NIL))
}

/// A database with a log folded into it.
pub(crate) struct Folded {
    connection: Connection,
    _store: Store,
    _directory: tempfile::TempDir,
}

impl Folded {
    pub fn of(log: &Log) -> Folded {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let mut store = Store::open(&path, DEFAULTS, &sample_log).unwrap();
        store.fold(&log.commits).unwrap();
        Folded { connection: Connection::open(&path).unwrap(), _store: store, _directory: directory }
    }

    pub fn answer(&mut self, query: &Query) -> Result<QueryReply, QueryError> {
        answer(&mut self.connection, query)
    }

    /// The values of `field` of the rows of `kind` that meet `conditions`.
    pub fn values(&mut self, of: &str, field: &str, conditions: &[&str]) -> Vec<Value> {
        let conditions = conditions.iter().map(ToString::to_string).collect();
        let query = Query { conditions, ..Query::new(kind(of).unwrap()) };
        let reply = self.answer(&query).unwrap_or_else(|error| panic!("{query:?}: {error:?}"));
        reply.rows().into_iter().map(|inventory| inventory[field].clone()).collect()
    }

    /// All rows of `kind` at `position`.
    pub fn all_at(&mut self, of: &str, position: u64) -> Vec<Value> {
        self.answer(&Query::new(kind(of).unwrap()).at(position)).unwrap().rows()
    }

    /// All rows of `kind` now.
    pub fn all(&mut self, of: &str) -> Vec<Value> {
        self.answer(&Query::new(kind(of).unwrap())).unwrap().rows()
    }

    /// The refusal of a condition.
    pub fn refusal(&mut self, of: &str, condition: &str) -> crate::BadQuery {
        match self.answer(&Query::new(kind(of).unwrap()).with(condition)) {
            Err(QueryError::Bad(bad)) => bad,
            other => panic!("{condition}: {other:?}"),
        }
    }
}
