//! The rows of now in memory, packed: what the bulk rebuild folds into. Versions that an event closes are handed
//! over at once and not kept, so memory grows with the rows that there are and not with the log.
//!
//! **Invariant:** ids, `vf` and `vt` are those that folding row by row would give.

use crate::catalogue::{KINDS, Kind};
use crate::fold::{Action, Row, RowChange, Rows, row_of};
use crate::packed::{Packed, key};
use crate::store::{StoreError, row_id};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use switchback_events::{Id, Position};

/// One version of a row.
#[derive(Debug)]
pub(crate) struct Version {
    pub id: i64,
    pub from: Position,
    pub values: Packed,
}

/// The rows of now.
pub(crate) struct Current {
    /// In the order of [`KINDS`].
    tables: Vec<Table>,
}

struct Table {
    kind: &'static Kind,
    rows: HashMap<Id, Version>,
    /// For each column that the fold has asked [`Rows::find`] for, from its first question on.
    found_by: RefCell<Vec<FoundBy>>,
}

/// The rows by the value of a column, oldest first.
struct FoundBy {
    column: usize,
    rows: BTreeMap<(Id, i64), Id>,
}

impl FoundBy {
    fn new(column: usize, rows: &HashMap<Id, Version>) -> FoundBy {
        let keyed = rows.iter().filter_map(|(uuid, row)| Some(((row.values.key(column)?, row.id), *uuid)));
        FoundBy { column, rows: keyed.collect() }
    }

    fn of(&self, value: Id) -> impl Iterator<Item = Id> {
        self.rows.range((value, i64::MIN)..=(value, i64::MAX)).map(|(_, uuid)| *uuid)
    }
}

/// The place of `kind` in [`KINDS`].
fn place(kind: &'static Kind) -> usize {
    let found = KINDS.iter().position(|other| std::ptr::eq(*other, kind));
    found.or_else(|| KINDS.iter().position(|other| *other == kind)).expect("every kind is in the catalogue's list")
}

impl Current {
    /// No rows.
    pub fn new() -> Current {
        let table = |kind: &&'static Kind| Table { kind, rows: HashMap::new(), found_by: RefCell::default() };
        Current { tables: KINDS.iter().map(table).collect() }
    }

    /// Makes the change `ordinal` of the event at `position`. Gives the kind's place and the version that it closes.
    pub fn apply(&mut self, change: &RowChange, position: Position, ordinal: usize) -> Option<(usize, Version)> {
        let place = place(change.kind);
        let table = &mut self.tables[place];
        let uuid = key(&change.uuid);
        let closed = match change.action {
            Action::Insert => {
                if !table.rows.contains_key(&uuid) {
                    let values = Packed::of(&row_of(change));
                    table.add(uuid, Version { id: row_id(position, ordinal), from: position, values });
                }
                None
            }
            Action::Set => {
                let id = table.rows.get(&uuid)?.id;
                let values = table.rows[&uuid].values.with(&change.values);
                let is_found_by =
                    |(column, _): &(usize, _)| table.found_by.get_mut().iter().any(|by| by.column == *column);
                if change.values.iter().any(is_found_by) {
                    let old = table.remove(uuid);
                    table.add(uuid, Version { id, from: position, values });
                    old
                } else {
                    table.rows.insert(uuid, Version { id, from: position, values })
                }
            }
            Action::Delete => table.remove(uuid),
        };
        // A version that this very event made was never in force.
        closed.filter(|version| version.from < position).map(|version| (place, version))
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.tables.iter().map(|table| table.rows.len()).sum()
    }

    /// All rows, kind by kind, each kind's oldest first.
    pub fn into_tables(self) -> impl Iterator<Item = Vec<Version>> {
        self.tables.into_iter().map(|table| {
            drop(table.found_by);
            let mut rows: Vec<Version> = table.rows.into_values().collect();
            rows.sort_unstable_by_key(|row| row.id);
            rows
        })
    }
}

impl Table {
    fn add(&mut self, uuid: Id, version: Version) {
        for by in self.found_by.get_mut() {
            if let Some(value) = version.values.key(by.column) {
                by.rows.insert((value, version.id), uuid);
            }
        }
        self.rows.insert(uuid, version);
    }

    fn remove(&mut self, uuid: Id) -> Option<Version> {
        let version = self.rows.remove(&uuid)?;
        for by in self.found_by.get_mut() {
            if let Some(value) = version.values.key(by.column) {
                by.rows.remove(&(value, version.id));
            }
        }
        Some(version)
    }

    fn uuid(&self, uuid: Id) -> Option<String> {
        self.rows.get(&uuid)?.values.row().values[0].text().map(str::to_string)
    }
}

impl Rows for Current {
    fn get(&self, kind: &'static Kind, uuid: &str) -> Result<Option<Row>, StoreError> {
        Ok(self.tables[place(kind)].rows.get(&key(uuid)).map(|version| version.values.row()))
    }

    fn find(&self, kind: &'static Kind, field: &'static str, value: &str) -> Result<Vec<String>, StoreError> {
        let table = &self.tables[place(kind)];
        let value = key(value);
        let Some(column) = table.kind.column(field) else { return Ok(Vec::new()) };
        debug_assert!(kind.fields[column].indexed, "{}.{field} is asked for and has no index in the store", kind.name);
        let mut found_by = table.found_by.borrow_mut();
        if !found_by.iter().any(|by| by.column == column) {
            found_by.push(FoundBy::new(column, &table.rows));
        }
        let uuids = found_by.iter().filter(|by| by.column == column).flat_map(|by| by.of(value));
        Ok(uuids.filter_map(|uuid| table.uuid(uuid)).collect())
    }
}
