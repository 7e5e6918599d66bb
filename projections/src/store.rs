//! The database's one writer: its tables, and how row changes become statements.
//!
//! Each kind has two tables: `<kind>` with the rows of now, each saying since which position (`vf`), and `<kind>_h`
//! with the closed versions, each in force in `[vf, vt)`. An event closes at most one version of a row, and no two
//! events share one: that is what makes every earlier position readable. A row's `id` follows from the position and
//! place of its insert, so it is the same however the log was cut into batches.
//!
//! **Invariant:** the position stored is that of the last event whose changes are in the tables; both are written in
//! one transaction. The file is a cache: whenever it cannot be trusted it is dropped and folded again.
//!
//! Not here: reading for users (`query.rs`), following the log (`projections.rs`), and making a whole database from a
//! long log, which is folded in memory (`rebuild.rs`).

use crate::catalogue::{Field, KINDS, Kind, Link, Relation, Ty};
use crate::fold::{self, Action, FOLD_VERSION, Row, RowChange, Rows};
use crate::global_config::{self, ConfigDefault};
use crate::value::Val;
use rusqlite::{Connection, OptionalExtension, ToSql, TransactionBehavior, params};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use switchback_events::{CommandId, Commit, Position};

/// Bits of a row's id below the position: the rows that one event can make of all kinds.
pub(crate) const ORDINAL_BITS: u32 = 16;
/// The size of a page of the file.
pub(crate) const PAGE_BYTES: u32 = 8192;
const PAGE_CACHE_KIB: u32 = 256 * 1024;
const STATEMENTS_MAX: usize = 512;
/// The indexed fields by which earlier versions are found, too.
const SOUGHT_IN_HISTORY: [&str; 2] = ["name", "ip"];

/// Why the database could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite refused or failed.
    #[error("use the projections' database")]
    Sql(#[from] rusqlite::Error),
    /// The file system did.
    #[error("use the projections' file `{path}`")]
    File {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The log was handed over with a hole.
    #[error("fold event {found}: the next event is {expected}")]
    Gap {
        /// The position that comes next.
        expected: Position,
        /// The position that came.
        found: Position,
    },
}

impl StoreError {
    /// Whether the file itself is broken, so that only a rebuild helps.
    pub(crate) fn is_corruption(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        matches!(self, StoreError::Sql(error)
            if matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase)))
    }
}

/// The command whose durable commit holds a position, if there is one: by it a log is told from another.
pub(crate) type CommandAt<'a> = dyn Fn(Position) -> Option<CommandId> + 'a;

/// The writer.
pub(crate) struct Store {
    connection: Connection,
    path: PathBuf,
    position: Position,
    /// By kind: the statements that do not depend on the fields changed.
    statements: HashMap<&'static str, Statements>,
    /// By kind and set of changed fields.
    updates: HashMap<(&'static str, u64), String>,
}

struct Statements {
    get: String,
    insert: String,
    archive: String,
    delete: String,
}

impl Store {
    /// Goes on with the database at `path`, or makes it anew where there is none that fits: another catalogue, other
    /// defaults, another log or one that is behind it, damage, or a machine that went down while it was open.
    /// `command_at` tells the command whose durable commit holds a position.
    pub fn open(path: &Path, defaults: &[ConfigDefault], command_at: &CommandAt<'_>) -> Result<Store, StoreError> {
        let schema = schema_hash(defaults);
        if path.exists() {
            match Store::resume(path, &schema, command_at) {
                Ok(Ok(store)) => return Ok(store),
                Ok(Err(reason)) => tracing::info!(path = %path.display(), reason, "rebuilding the projections"),
                Err(error) if error.is_corruption() => {
                    tracing::warn!(path = %path.display(), %error, "rebuilding the damaged projections");
                }
                Err(error) => return Err(error),
            }
        }
        Store::create(path, defaults)
    }

    /// The existing database, or the reason why it cannot be gone on with.
    fn resume(
        path: &Path,
        schema: &str,
        command_at: &CommandAt<'_>,
    ) -> Result<Result<Store, &'static str>, StoreError> {
        let connection = connect(path)?;
        let has_meta = connection
            .query_row("SELECT count(*) FROM sqlite_schema WHERE name='meta'", [], |row| row.get::<_, i64>(0))?;
        if has_meta == 0 {
            return Ok(Err("it was never finished"));
        }
        let meta = connection
            .query_row("SELECT position, schema, boot, clean, command FROM meta", [], |row| {
                Ok((
                    row.get::<_, u64>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, Option<String>>(2)?,
                    row.get::<_, bool>(3)?,
                    row.get::<_, Option<String>>(4)?,
                ))
            })
            .optional()?;
        let Some((position, found, boot, clean, command)) = meta else { return Ok(Err("it was never finished")) };
        if found != schema {
            return Ok(Err("its schema is another"));
        }
        if position > 0 && (command.is_none() || command != command_at(position).map(|id| id.to_string())) {
            return Ok(Err("it is of another log, or ahead of it"));
        }
        // Nothing is synced while it is open, so that it may be trusted after a crash of the process alone.
        if !clean && (boot.is_none() || boot != boot_id()) {
            return Ok(Err("the machine went down while it was open"));
        }
        connection.execute("UPDATE meta SET boot=?1, clean=0", params![boot_id()])?;
        Ok(Ok(Store::over(connection, path, position)))
    }

    /// A new database at position 0, in place of whatever is at `path`.
    pub fn create(path: &Path, defaults: &[ConfigDefault]) -> Result<Store, StoreError> {
        remove(path)?;
        let mut connection = connect(path)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(&ddl())?;
        insert_meta(&transaction, 0, None, defaults)?;
        transaction.commit()?;
        let mut store = Store::over(connection, path, 0);
        store.write(|store| {
            for (ordinal, default) in defaults.iter().enumerate() {
                store.insert(&global_config::initial(default), 0, ordinal)?;
            }
            Ok((0, None))
        })?;
        Ok(store)
    }

    fn over(connection: Connection, path: &Path, position: Position) -> Store {
        let statements = KINDS.iter().map(|kind| (kind.name, Statements::of(kind))).collect();
        Store { connection, path: path.to_owned(), position, statements, updates: HashMap::new() }
    }

    /// The position of the last event folded.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Folds commits in one transaction. Events that were folded before are passed over.
    pub fn fold(&mut self, commits: &[Arc<Commit>]) -> Result<Position, StoreError> {
        self.write(|store| {
            let folded = store.position;
            let (mut position, mut command) = (folded, None);
            for commit in commits {
                for recorded in commit.events.iter().filter(|recorded| recorded.position > folded) {
                    if recorded.position != position + 1 {
                        return Err(StoreError::Gap { expected: position + 1, found: recorded.position });
                    }
                    position = recorded.position;
                    let changes = fold::changes(recorded, commit.at, store)?;
                    store.apply(&changes, position)?;
                    command = Some(commit.provenance.command_id);
                }
            }
            Ok((position, command))
        })
    }

    /// Says that what is in the file is complete, and gives it to the disk.
    pub fn close(self) -> Result<(), StoreError> {
        let sync = |store: &Store| {
            store.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            std::fs::File::open(&store.path)
                .and_then(|file| file.sync_all())
                .map_err(|source| StoreError::File { path: store.path.clone(), source })
        };
        sync(&self)?;
        self.connection.execute("UPDATE meta SET clean=1", [])?;
        sync(&self)
    }

    /// Runs `work` in a transaction that ends with the position that it returns, and the command that made it.
    fn write(
        &mut self,
        work: impl FnOnce(&mut Store) -> Result<(Position, Option<CommandId>), StoreError>,
    ) -> Result<Position, StoreError> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let done = work(self).and_then(|(position, command)| {
            let mut checkpoint =
                self.connection.prepare_cached("UPDATE meta SET position=?1, command=coalesce(?2, command)")?;
            checkpoint.execute(params![position, command.map(|id| id.to_string())])?;
            self.connection.execute_batch("COMMIT")?;
            Ok(position)
        });
        match done {
            Ok(position) => self.position = position,
            // Where even the rollback fails the connection is of no more use, and the first error says why.
            Err(_) => drop(self.connection.execute_batch("ROLLBACK")),
        }
        done
    }

    fn apply(&mut self, changes: &[RowChange], position: Position) -> Result<(), StoreError> {
        for (ordinal, change) in changes.iter().enumerate() {
            match change.action {
                Action::Insert => self.insert(change, position, ordinal)?,
                Action::Set => self.set(change, position)?,
                Action::Delete => self.delete(change, position)?,
            }
        }
        Ok(())
    }

    fn insert(&mut self, change: &RowChange, position: Position, ordinal: usize) -> Result<(), StoreError> {
        let id = row_id(position, ordinal);
        let row = fold::row_of(change);
        let mut statement = self.connection.prepare_cached(&self.statements[change.kind.name].insert)?;
        let position = position as i64;
        let values = row.values.iter().map(|value| value as &dyn ToSql);
        let parameters: Vec<&dyn ToSql> = [&id as &dyn ToSql, &position].into_iter().chain(values).collect();
        statement.execute(&*parameters)?;
        Ok(())
    }

    fn set(&mut self, change: &RowChange, position: Position) -> Result<(), StoreError> {
        self.archive(change, position)?;
        let mut fields = 0_u64;
        let mut values: Vec<&(usize, Val)> = change.values.iter().collect();
        values.sort_by_key(|(column, _)| *column);
        for (column, _) in &values {
            assert!(fields & 1 << column == 0, "{}: one change sets a field twice", change.kind.name);
            fields |= 1 << column;
        }
        let sql = self.updates.entry((change.kind.name, fields)).or_insert_with(|| update(change.kind, fields));
        let position = position as i64;
        let values = values.into_iter().map(|(_, value)| value as &dyn ToSql);
        let parameters: Vec<&dyn ToSql> = [&change.uuid as &dyn ToSql, &position].into_iter().chain(values).collect();
        self.connection.prepare_cached(sql)?.execute(&*parameters)?;
        Ok(())
    }

    fn delete(&mut self, change: &RowChange, position: Position) -> Result<(), StoreError> {
        self.archive(change, position)?;
        let sql = &self.statements[change.kind.name].delete;
        self.connection.prepare_cached(sql)?.execute(params![change.uuid])?;
        Ok(())
    }

    /// Closes the row's version, unless it is this event that made it.
    fn archive(&self, change: &RowChange, position: Position) -> Result<(), StoreError> {
        let sql = &self.statements[change.kind.name].archive;
        self.connection.prepare_cached(sql)?.execute(params![change.uuid, position])?;
        Ok(())
    }

    /// How many closed versions were never in force: there must be none.
    #[cfg(test)]
    pub fn versions_of_no_length(&self) -> i64 {
        let count = |kind: &&Kind| {
            let sql = format!("SELECT count(*) FROM \"{}_h\" WHERE vf>=vt", kind.name);
            self.connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        KINDS.iter().map(count).sum()
    }

    /// The indexes that there are.
    #[cfg(test)]
    pub fn indexes(&self) -> Vec<String> {
        let sql = "SELECT sql FROM sqlite_schema WHERE type='index' ORDER BY name";
        let mut statement = self.connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// All rows of all tables as text, history included: what tests compare.
    #[cfg(test)]
    pub fn dump(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for kind in KINDS {
            for (table, from_to) in [(String::from(kind.name), "vf, NULL"), (format!("{}_h", kind.name), "vf, vt")] {
                let sql = format!("SELECT id, {from_to}, {} FROM \"{table}\" ORDER BY id, vf", columns(kind));
                let mut statement = self.connection.prepare(&sql).unwrap();
                let width = statement.column_count();
                let mut rows = statement.query([]).unwrap();
                while let Some(row) = rows.next().unwrap() {
                    let values: Vec<_> = (0..width).map(|at| format!("{:?}", row.get_ref_unwrap(at))).collect();
                    lines.push(format!("{table}: {}", values.join(" ")));
                }
            }
        }
        lines
    }
}

impl Rows for Store {
    fn get(&self, kind: &'static Kind, uuid: &str) -> Result<Option<Row>, StoreError> {
        let mut statement = self.connection.prepare_cached(&self.statements[kind.name].get)?;
        let row = statement.query_row(params![uuid], |row| {
            let value = |(at, field): (usize, &Field)| Ok(Val::from_sql(row.get_ref(at)?, field.ty.is_list()));
            Ok(Row { values: kind.fields.iter().enumerate().map(value).collect::<rusqlite::Result<_>>()? })
        });
        Ok(row.optional()?)
    }

    fn find(&self, kind: &'static Kind, field: &'static str, value: &str) -> Result<Vec<String>, StoreError> {
        let sql = format!("SELECT t.\"uuid\" FROM \"{}\" t WHERE t.\"{field}\"=?1 ORDER BY t.id", kind.name);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let uuids = statement.query_map(params![value], |row| row.get(0))?;
        Ok(uuids.collect::<rusqlite::Result<_>>()?)
    }
}

impl Statements {
    fn of(kind: &Kind) -> Statements {
        let (name, columns) = (kind.name, columns(kind));
        let places: Vec<String> = (1..=kind.fields.len() + 2).map(|place| format!("?{place}")).collect();
        Statements {
            get: format!("SELECT {columns} FROM \"{name}\" WHERE \"uuid\"=?1"),
            insert: format!(
                "INSERT INTO \"{name}\"(id,vf,{columns}) VALUES({}) ON CONFLICT(\"uuid\") DO NOTHING",
                places.join(",")
            ),
            archive: format!(
                "INSERT INTO \"{name}_h\"(id,vf,vt,{columns}) SELECT id,vf,?2,{columns} FROM \"{name}\" \
                 WHERE \"uuid\"=?1 AND vf<?2"
            ),
            delete: format!("DELETE FROM \"{name}\" WHERE \"uuid\"=?1"),
        }
    }
}

fn update(kind: &Kind, fields: u64) -> String {
    let mut sql = format!("UPDATE \"{}\" SET vf=?2", kind.name);
    let changed = kind.fields.iter().enumerate().filter(|(column, _)| fields >> column & 1 == 1);
    for (place, (_, field)) in changed.enumerate() {
        write!(sql, ",\"{}\"=?{}", field.name, place + 3).expect("a string takes everything");
    }
    sql + " WHERE \"uuid\"=?1"
}

/// The columns of the kind's fields, in order.
pub(crate) fn columns(kind: &Kind) -> String {
    let columns: Vec<String> = kind.fields.iter().map(|field| format!("\"{}\"", field.name)).collect();
    columns.join(",")
}

fn ddl() -> String {
    tables_ddl() + &indexes_ddl()
}

/// The empty tables.
pub(crate) fn tables_ddl() -> String {
    let mut sql = String::from(
        "CREATE TABLE meta(one INTEGER PRIMARY KEY DEFAULT 1 CHECK(one=1), position INTEGER NOT NULL, \
         schema TEXT NOT NULL, boot TEXT, clean INTEGER NOT NULL, command TEXT);\n",
    );
    for kind in KINDS {
        let name = kind.name;
        let column = |field: &Field| {
            let ty = match field.ty {
                Ty::Uuid | Ty::Uuids | Ty::Texts => "TEXT",
                Ty::Text => "TEXT COLLATE NOCASE",
                Ty::Int | Ty::Bool | Ty::Time => "INTEGER",
            };
            format!("\"{}\" {ty}", field.name)
        };
        let columns = kind.fields.iter().map(column).collect::<Vec<_>>().join(", ");
        sql += &format!(
            "CREATE TABLE \"{name}\"(id INTEGER PRIMARY KEY, vf INTEGER NOT NULL, {columns});\n\
             CREATE TABLE \"{name}_h\"(rid INTEGER PRIMARY KEY, id INTEGER NOT NULL, vf INTEGER NOT NULL, \
             vt INTEGER NOT NULL, {columns});\n"
        );
    }
    sql
}

/// Their indexes. Those of history have both ends of a version, so that the versions in force at a position are told
/// from the others without a look at the rows.
pub(crate) fn indexes_ddl() -> String {
    let mut sql = String::new();
    for kind in KINDS {
        let name = kind.name;
        sql += &format!(
            "CREATE UNIQUE INDEX \"{name}.uuid\" ON \"{name}\"(\"uuid\");\n\
             CREATE INDEX \"{name}_h.uuid\" ON \"{name}_h\"(\"uuid\", vt, vf);\n\
             CREATE INDEX \"{name}_h.id\" ON \"{name}_h\"(id, vt, vf);\n"
        );
        for field in kind.fields.iter().filter(|field| field.indexed) {
            sql += &format!("CREATE INDEX \"{name}.{0}\" ON \"{name}\"(\"{0}\");\n", field.name);
        }
        for field in kind.fields.iter().filter(|field| is_sought_in_history(kind, field)) {
            sql += &format!("CREATE INDEX \"{name}_h.{0}\" ON \"{name}_h\"(\"{0}\", vt, vf);\n", field.name);
        }
    }
    sql
}

/// Whether closed versions are found by `field`: who was called so, who had this address, and what an inventory of
/// then shows in full. Every such index costs the fold a page a version, so there are no others.
fn is_sought_in_history(kind: &Kind, field: &Field) -> bool {
    let shows =
        |relation: &Relation| relation.embedded && relation.to == kind.name && relation.link == Link::Many(field.name);
    let is_embedded = || KINDS.iter().any(|other| other.relations.iter().any(shows));
    field.indexed && (SOUGHT_IN_HISTORY.contains(&field.name) || is_embedded())
}

/// Says in a new database what it holds.
pub(crate) fn insert_meta(
    connection: &Connection,
    position: Position,
    command: Option<CommandId>,
    defaults: &[ConfigDefault],
) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO meta(position, schema, boot, clean, command) VALUES(?1, ?2, ?3, 0, ?4)",
        params![position, schema_hash(defaults), boot_id(), command.map(|id| id.to_string())],
    )?;
    Ok(())
}

/// The id of the row that the change `ordinal` of the event at `position` makes.
pub(crate) fn row_id(position: Position, ordinal: usize) -> i64 {
    (position as i64) << ORDINAL_BITS | ordinal as i64
}

/// Removes a database, the file itself first: what is left of one without it means nothing.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        match std::fs::remove_file(&file) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::File { path: file.into(), source });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Says whether a database was made by this program's catalogue and fold, from these defaults.
pub(crate) fn schema_hash(defaults: &[ConfigDefault]) -> String {
    use sha2::Digest;
    let hash = sha2::Sha256::digest(format!("{FOLD_VERSION}\n{}\n{defaults:?}", ddl()));
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.execute_batch(&format!(
        "PRAGMA page_size={PAGE_BYTES}; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-{PAGE_CACHE_KIB};
         PRAGMA temp_store=MEMORY; PRAGMA wal_autocheckpoint=4000; PRAGMA mmap_size=0;"
    ))?;
    Ok(connection)
}

/// What changes when the machine starts again.
fn boot_id() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_string())
}
