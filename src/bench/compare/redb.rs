//! redb, each transaction durable when its commit returns.

use super::{Outcome, Request, Rival};
use ::redb::{Database, Durability, ReadableTable, TableDefinition};
use std::path::Path;

const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const COMMANDS: TableDefinition<&[u8; 16], u64> = TableDefinition::new("commands");
const STREAMS: TableDefinition<&[u8; 16], u64> = TableDefinition::new("streams");
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// An open database.
pub struct Redb {
    database: Database,
    position: u64,
}

impl Redb {
    /// Makes a database in `directory`.
    pub fn open(directory: &Path) -> anyhow::Result<Redb> {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(directory.join("log.redb"))?;
        Ok(Redb { database, position: 0 })
    }
}

impl Rival for Redb {
    fn commit(&mut self, group: &[Request]) -> anyhow::Result<Vec<Outcome>> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let mut outcomes = Vec::with_capacity(group.len());
        {
            let mut log = transaction.open_table(LOG)?;
            let mut commands = transaction.open_table(COMMANDS)?;
            let mut streams = transaction.open_table(STREAMS)?;
            for request in group {
                if commands.get(&request.command)?.is_some() {
                    outcomes.push(Outcome::Repeated);
                    continue;
                }
                let version = streams.get(&request.stream)?.map_or(0, |version| version.value());
                if version != request.version {
                    outcomes.push(Outcome::Conflict);
                    continue;
                }
                self.position += 1;
                commands.insert(&request.command, self.position)?;
                streams.insert(&request.stream, version + 1)?;
                log.insert(self.position, &request.record[..])?;
                outcomes.push(Outcome::Durable);
            }
        }
        transaction.commit()?;
        Ok(outcomes)
    }
}
