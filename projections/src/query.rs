//! A question about inventories, and its answer from one connection.
//!
//! **Invariant:** the answer and the position that it carries are of one read transaction.

use crate::catalogue::{Field, Kind, Link, Relation, Ty};
use crate::compile::{self, Owners, Page, Selection, Sql, View};
use crate::condition::{BadQuery, Condition, unknown_field};
use crate::store::StoreError;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serde_json::Value;
use std::io::Write;
use std::ops::Range;
use switchback_events::{Id, Position};

/// How many inventories a query gives that does not say.
pub const LIMIT_DEFAULT: u64 = 1000;
/// The most inventories of one reply.
pub const LIMIT_MAX: u64 = 100_000;
/// The most conditions of one query.
pub const CONDITIONS_MAX: usize = 64;

/// A question about the inventories of one kind.
#[derive(Clone, Debug)]
pub struct Query {
    /// What is asked for: [`crate::catalogue::kind_of_query`] knows it by the message.
    pub kind: &'static Kind,
    /// All must hold: `name=x`, `vmNics.mac=…`.
    pub conditions: Vec<String>,
    /// Only these fields and embedded lists; empty for all.
    pub fields: Vec<String>,
    /// `+field` or `-field`; by age if absent.
    pub sort: Option<String>,
    /// How many to pass over.
    pub start: u64,
    /// How many to give; [`LIMIT_DEFAULT`] if absent.
    pub limit: Option<u64>,
    /// Only count them.
    pub count: bool,
    /// Count them, too.
    pub reply_with_count: bool,
    /// Only the first of those that have the same value in this field, nulls among them.
    pub group_by: Option<String>,
    /// As they were at this position.
    pub at: Option<Position>,
    /// Only what this account may see.
    pub account: Option<Id>,
}

impl Query {
    /// All of `kind`, now.
    pub fn new(kind: &'static Kind) -> Query {
        Query {
            kind,
            conditions: Vec::new(),
            fields: Vec::new(),
            sort: None,
            start: 0,
            limit: None,
            count: false,
            reply_with_count: false,
            group_by: None,
            at: None,
            account: None,
        }
    }

    /// With one more condition.
    pub fn with(mut self, condition: impl Into<String>) -> Query {
        self.conditions.push(condition.into());
        self
    }

    /// As it was at `position`.
    pub fn at(mut self, position: Position) -> Query {
        self.at = Some(position);
        self
    }
}

/// The answer to a [`Query`].
#[derive(Clone, Debug, PartialEq)]
pub struct QueryReply {
    /// One page of inventories as a JSON array, empty where only a count was asked for. It is text because it is
    /// written straight from the rows: trees of values in between are most of what a large page costs.
    pub inventories: String,
    /// How many there are beyond the page, where that was asked for.
    pub total: Option<u64>,
    /// The position that the answer is of: `at`, or what the projections had reached.
    pub position: Position,
}

impl QueryReply {
    /// The inventories, for those who look into them.
    pub fn rows(&self) -> Vec<Value> {
        serde_json::from_str(&self.inventories).unwrap_or_default()
    }
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// It cannot be asked (SYS.1007).
    #[error(transparent)]
    Bad(#[from] BadQuery),
    /// It took too long and was stopped.
    #[error("answer the query within {0:?}: ask for less, or by an indexed field")]
    TimedOut(std::time::Duration),
    /// The position asked for is not folded yet: wait for it first.
    #[error("answer at position {at}: the projections have reached {reached}")]
    Ahead {
        /// The position asked for.
        at: Position,
        /// The position reached.
        reached: Position,
    },
    /// The database could not be read.
    #[error("read the projections")]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for QueryError {
    fn from(error: rusqlite::Error) -> QueryError {
        QueryError::Store(StoreError::Sql(error))
    }
}

/// A query checked against the catalogue.
pub(crate) struct Checked {
    kind: &'static Kind,
    pub conditions: Vec<Condition>,
    fields: Vec<&'static Field>,
    embedded: Vec<&'static Relation>,
    pub group: Option<&'static Field>,
    pub page: Page,
}

impl Checked {
    pub fn new(query: &Query) -> Result<Checked, BadQuery> {
        let kind = query.kind;
        if query.conditions.len() > CONDITIONS_MAX {
            return Err(BadQuery::new("q", format!("there are more than {CONDITIONS_MAX} conditions")));
        }
        let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
        if limit > LIMIT_MAX {
            return Err(BadQuery::new("limit", format!("a reply has at most {LIMIT_MAX} inventories")));
        }
        let conditions = query.conditions.iter().map(|text| Condition::parse(kind, text)).collect::<Result<_, _>>()?;
        let visible = kind.fields.iter().filter(|field| !field.hidden);
        let all_embedded = kind.relations.iter().filter(|relation| relation.embedded);
        let (mut fields, mut embedded) = (Vec::new(), Vec::new());
        if query.fields.is_empty() {
            fields.extend(visible);
            embedded.extend(all_embedded);
        } else {
            for name in &query.fields {
                match (kind.field(name), kind.relation(name).filter(|relation| relation.embedded)) {
                    (Some(field), _) => fields.push(field),
                    (None, Some(relation)) => embedded.push(relation),
                    (None, None) => return Err(unknown_field(kind, name)),
                }
            }
        }
        let sort = query.sort.as_deref().map(|sort| sort_key(kind, sort)).transpose()?;
        let group = query.group_by.as_deref().map(|name| single(kind, name, "grouped")).transpose()?;
        Ok(Checked { kind, conditions, fields, embedded, group, page: Page { sort, start: query.start, limit } })
    }
}

/// The field `name` of `kind`, which is no list.
fn single(kind: &'static Kind, name: &str, done: &str) -> Result<&'static Field, BadQuery> {
    let field = kind.field(name).ok_or_else(|| unknown_field(kind, name))?;
    if field.ty.is_list() {
        return Err(BadQuery::new(name, format!("`{name}` is a list: nothing is {done} by it")));
    }
    Ok(field)
}

/// `+name` or `-name`. A plus sign that came through a URL unescaped is a space.
fn sort_key(kind: &'static Kind, text: &str) -> Result<(&'static Field, bool), BadQuery> {
    let (name, descending) = match text.strip_prefix('-') {
        Some(name) => (name, true),
        None => (text.strip_prefix(['+', ' ']).unwrap_or(text), false),
    };
    Ok((single(kind, name, "sorted")?, descending))
}

/// Answers `query` from what `connection` sees.
pub(crate) fn answer(connection: &mut Connection, query: &Query) -> Result<QueryReply, QueryError> {
    let checked = Checked::new(query)?;
    let transaction = connection.transaction()?;
    let reached: Position = transaction.prepare_cached("SELECT position FROM meta")?.query_row([], |row| row.get(0))?;
    if let Some(at) = query.at.filter(|at| *at > reached) {
        return Err(QueryError::Ahead { at, reached });
    }
    let view = View { at: query.at, account: query.account };
    let selection = Selection::new(checked.kind, &checked.conditions, checked.group, view);
    let mut reply = QueryReply { inventories: "[]".to_string(), total: None, position: query.at.unwrap_or(reached) };
    if query.count || query.reply_with_count {
        let Sql { text, arguments } = selection.count();
        let mut statement = transaction.prepare_cached(&text)?;
        reply.total = Some(statement.query_row(rusqlite::params_from_iter(&arguments), |row| row.get(0))?);
    }
    if !query.count {
        reply.inventories = inventories(&transaction, &checked, &selection, view)?;
    }
    Ok(reply)
}

fn inventories(
    connection: &Connection,
    checked: &Checked,
    selection: &Selection,
    view: View,
) -> Result<String, QueryError> {
    // The uuid comes first, and what is not shown last, to find the embedded rows by.
    let uuid = &checked.kind.fields[0];
    let mut fields: Vec<&Field> = std::iter::once(uuid).chain(checked.fields.iter().copied()).collect();
    let mut column = |relation: &&Relation| {
        fields.push(&checked.kind.fields[checked.kind.column(relation.others?)?]);
        Some(fields.len() - 1)
    };
    let others: Vec<Option<usize>> = checked.embedded.iter().map(&mut column).collect();
    let entries = entries(&checked.fields, &checked.embedded);
    let (mut owners, mut page, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
    read(connection, selection.page(&fields, &checked.page), |row| {
        if !owners.is_empty() {
            page.push(b',');
        }
        write_object(row, &entries, &mut page, |at, relation| gaps.push((at, owners.len(), relation)))?;
        // Where there is such a field, and it was never set.
        let only_by_id = |at: &Option<usize>| Ok(at.map(|at| row.get(at)).transpose()? == Some(None::<bool>));
        let only_by_id = others.iter().map(only_by_id).collect::<rusqlite::Result<_>>()?;
        owners.push(Owner { uuid: text(row, 0)?, id: row.get(fields.len())?, only_by_id });
        Ok(())
    })?;
    let embedded: Vec<Members> = checked
        .embedded
        .iter()
        .enumerate()
        .map(|(at, relation)| Members::read(connection, relation, at, &owners, view))
        .collect::<Result<_, _>>()?;
    let mut array =
        Vec::with_capacity(page.len() + 2 + embedded.iter().map(|members| members.text.len()).sum::<usize>());
    array.push(b'[');
    let mut written = 0;
    for (at, owner, relation) in gaps {
        array.extend_from_slice(&page[written..at]);
        embedded[relation].write(owner, &mut array);
        written = at;
    }
    array.extend_from_slice(&page[written..]);
    array.push(b']');
    // Each piece was text before.
    Ok(String::from_utf8(array).unwrap_or_else(|bytes| String::from_utf8_lossy(bytes.as_bytes()).into_owned()))
}

/// A row of the page, for what belongs to it.
struct Owner {
    uuid: String,
    id: i64,
    /// By embedded relation: whether its event made all that there are.
    only_by_id: Box<[bool]>,
}

/// The inventories over an embedded relation, as text.
struct Members {
    /// One after the other, as they were found.
    text: Vec<u8>,
    /// Which row each belongs to, its age, and where it is in the text; in order.
    places: Vec<(usize, i64, Range<usize>)>,
}

impl Members {
    /// Those of the `owners`, over the embedded relation with the number `at`.
    fn read(
        connection: &Connection,
        relation: &Relation,
        at: usize,
        owners: &[Owner],
        view: View,
    ) -> Result<Members, QueryError> {
        let Link::Many(field) = relation.link else { unreachable!("the catalogue's own test checks what is embedded") };
        let (by_id, by_field): (Vec<usize>, Vec<usize>) = (0..owners.len()).partition(|n| owners[*n].only_by_id[at]);
        let ids = Owners::Ids(by_id.iter().map(|n| owners[*n].id).collect());
        let uuids = Owners::Uuids(field, by_field.iter().map(|n| owners[*n].uuid.as_str()).collect());
        let kind = relation.target();
        let fields: Vec<&Field> = kind.fields.iter().filter(|field| !field.hidden).collect();
        let entries = entries(&fields, &[]);
        let mut members = Members { text: Vec::new(), places: Vec::new() };
        for (found, sought) in [(by_id, ids), (by_field, uuids)] {
            if found.is_empty() {
                continue;
            }
            read(connection, compile::members(kind, &sought, &fields, view), |row| {
                let from = members.text.len();
                write_object(row, &entries, &mut members.text, |_, _| {})?;
                let owner = found[row.get::<_, usize>(0)?];
                members.places.push((owner, row.get(1 + fields.len())?, from..members.text.len()));
                Ok(())
            })?;
        }
        // Here, and not in SQL: it would carry whole rows through its sorter.
        members.places.sort_unstable_by_key(|(owner, id, _)| (*owner, *id));
        Ok(members)
    }

    /// Writes those of one row as an array, oldest first.
    fn write(&self, owner: usize, array: &mut Vec<u8>) {
        let first = self.places.partition_point(|(other, ..)| *other < owner);
        array.push(b'[');
        for (place, (_, _, range)) in self.places[first..].iter().take_while(|(other, ..)| *other == owner).enumerate()
        {
            if place > 0 {
                array.push(b',');
            }
            array.extend_from_slice(&self.text[range.clone()]);
        }
        array.push(b']');
    }
}

fn read(
    connection: &Connection,
    sql: Sql,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(&sql.text)?;
    let mut rows = statement.query(rusqlite::params_from_iter(&sql.arguments))?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

/// A member of a JSON object: what stands before its value (brace or comma, key, colon), and where that comes from.
struct Entry {
    before: String,
    source: Source,
}

enum Source {
    /// This column of the row.
    Column(usize, Ty),
    /// The embedded relation with this number.
    Embedded(usize),
}

/// What an inventory shows of a row with these `fields` after its first column, in the order of names.
fn entries(fields: &[&'static Field], embedded: &[&'static Relation]) -> Vec<Entry> {
    let columns = fields.iter().zip(1..).map(|(field, at)| (field.name, Source::Column(at, field.ty)));
    let embedded = embedded.iter().enumerate().map(|(at, relation)| (relation.name, Source::Embedded(at)));
    let mut sources: Vec<_> = columns.chain(embedded).collect();
    sources.sort_by_key(|(name, _)| *name);
    sources.dedup_by_key(|(name, _)| *name);
    let before = |place| if place == 0 { '{' } else { ',' };
    let entry = |(place, (name, source))| Entry { before: format!("{}{}:", before(place), Value::from(name)), source };
    sources.into_iter().enumerate().map(entry).collect()
}

/// Writes a row as a JSON object. Where an embedded relation belongs is told to `gap`, by place and number.
fn write_object(
    row: &Row<'_>,
    entries: &[Entry],
    text: &mut Vec<u8>,
    mut gap: impl FnMut(usize, usize),
) -> rusqlite::Result<()> {
    for Entry { before, source } in entries {
        text.extend_from_slice(before.as_bytes());
        match *source {
            Source::Column(at, ty) => write_value(ty, row.get_ref(at)?, text),
            Source::Embedded(relation) => gap(text.len(), relation),
        }
    }
    text.push(b'}');
    Ok(())
}

fn text(row: &Row<'_>, at: usize) -> rusqlite::Result<String> {
    Ok(row.get_ref(at)?.as_str().unwrap_or_default().to_string())
}

/// Writes a value as the API shows it. Nothing fails that writes into memory.
fn write_value(ty: Ty, value: ValueRef<'_>, text: &mut Vec<u8>) {
    let _ = match (ty, value) {
        (Ty::Bool, ValueRef::Integer(number)) => write!(text, "{}", number != 0),
        (Ty::Time, ValueRef::Integer(micros)) => match jiff::Timestamp::from_microsecond(micros) {
            Ok(time) => write!(text, "\"{time}\""),
            Err(_) => write!(text, "{micros}"),
        },
        (_, ValueRef::Integer(number)) => write!(text, "{number}"),
        // The fold wrote the list as JSON.
        (ty, ValueRef::Text(list)) if ty.is_list() => text.write_all(if list.is_empty() { b"[]" } else { list }),
        // Nearly every text: nothing in it is escaped.
        (_, ValueRef::Text(given)) if is_plain(given) => {
            text.push(b'"');
            text.extend_from_slice(given);
            text.write_all(b"\"")
        }
        (_, ValueRef::Text(given)) => match std::str::from_utf8(given) {
            Ok(given) => serde_json::to_writer(text, given).map_err(Into::into),
            Err(_) => serde_json::to_writer(text, &String::from_utf8_lossy(given)).map_err(Into::into),
        },
        _ => text.write_all(b"null"),
    };
}

/// Whether a text is in JSON what it is, between quotes. It looks at every byte: many at once, where stopping at the first
/// would have it look at one after the other.
fn is_plain(text: &[u8]) -> bool {
    text.iter().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~') & !matches!(byte, b'"' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalogue::kind, samples::Random, samples::random_log, store::Store, tests::DEFAULTS};
    use rusqlite::StatementStatus;

    /// SQLite plans a statement anew when an argument changes that its plan looks at.
    #[test]
    fn what_is_asked_again_and_again_is_planned_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let mut store = Store::create(&path, DEFAULTS).unwrap();
        store.fold(&random_log(&mut Random(3), 300)).unwrap();
        let connection = crate::readers::connect(&path).unwrap();
        let planned = |limit: u64, sort: Option<&str>| {
            let mut texts = std::collections::BTreeSet::new();
            for uuid in ["a", "b", "c", "d"] {
                let sort = sort.map(str::to_string);
                let query = Query { limit: Some(limit), sort, ..Query::new(kind("vm").unwrap()) };
                let checked = Checked::new(&query.with(format!("uuid={uuid}"))).unwrap();
                let view = View::default();
                let selection = Selection::new(checked.kind, &checked.conditions, checked.group, view);
                let sql = selection.page(&checked.fields, &checked.page);
                read(&connection, Sql { text: sql.text.clone(), arguments: sql.arguments }, |_| Ok(())).unwrap();
                texts.insert(sql.text);
            }
            let again = |text: &String| connection.prepare_cached(text).unwrap().get_status(StatementStatus::RePrepare);
            (texts.len(), texts.iter().map(again).sum::<i32>())
        };
        for limit in [1, 10, 100, LIMIT_DEFAULT] {
            assert_eq!(planned(limit, None), (1, 0), "{limit}");
            assert_eq!(planned(limit, Some("-name")), (1, 0), "{limit}");
        }
        let (texts, again) = planned(17, None);
        assert!(texts == 1 && again > 0, "a limit that is bound is planned by its value: so the test can fail");
    }
}
