//! Conditions become parameterised SQL.
//!
//! A path becomes nested sub-queries, one a hop: `IN (SELECT …)`, sought from the inside out, where an index finds
//! the last step, and `EXISTS` otherwise. At an earlier position a kind is the union of its rows of now and of
//! history; at the top level the whole query is distributed over the two, so that SQLite merges two ordered streams
//! and stops at the limit.
//!
//! **Invariant:** nothing of the user's text is in the SQL: names come from the catalogue, values are bound, or are one of
//! the usual limits.

use crate::catalogue::{Field, Kind, Link, Relation, Ty};
use crate::condition::{Condition, End, Op};
use crate::query::LIMIT_DEFAULT;
use crate::store::{ORDINAL_BITS, columns};
use crate::value::Val;
use crate::visible;
use switchback_events::{Id, Position};

/// Whose eyes, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct View {
    /// At this position; none: now.
    pub at: Option<Position>,
    /// Only what this account may see; none: everything.
    pub account: Option<Id>,
}

/// Limits that are asked for again and again: they stand in the statement, for each of which one is kept.
const LIMITS: [u64; 4] = [1, 10, 100, LIMIT_DEFAULT];

/// The alias of the rows asked for.
const TOP: &str = "t0";

/// A statement and what to bind to it.
#[derive(Debug)]
pub(crate) struct Sql {
    pub text: String,
    pub arguments: Vec<Val>,
}

/// The part of a query that says which rows.
pub(crate) struct Selection {
    kind: &'static Kind,
    at: bool,
    /// Of those with one value here only the oldest.
    group: Option<&'static Field>,
    predicate: String,
    arguments: Vec<Val>,
}

/// In what order rows are given, and which part of them.
pub(crate) struct Page {
    pub sort: Option<(&'static Field, bool)>,
    pub start: u64,
    pub limit: u64,
}

impl Selection {
    /// The rows of `kind` that meet all `conditions`, in a view.
    pub fn new(kind: &'static Kind, conditions: &[Condition], group: Option<&'static Field>, view: View) -> Selection {
        let mut compiler = Compiler::new(view);
        let mut predicate = compiler.seen(kind, TOP).unwrap_or_else(|| String::from("1"));
        for condition in conditions {
            predicate += " AND ";
            predicate += &compiler.condition(TOP, &condition.hops, condition, condition.is_selective());
        }
        Selection { kind, at: compiler.at, group, predicate, arguments: compiler.arguments }
    }

    /// The arms of the top level: table and condition.
    fn arms(&self, predicate: &str) -> Vec<String> {
        let name = self.kind.name;
        if self.at {
            vec![
                format!("\"{name}\" {TOP} WHERE {TOP}.vf<=?1 AND {predicate}"),
                format!("\"{name}_h\" {TOP} WHERE {TOP}.vf<=?1 AND {TOP}.vt>?1 AND {predicate}"),
            ]
        } else {
            vec![format!("\"{name}\" {TOP} WHERE {predicate}")]
        }
    }

    /// The ids of the oldest of each group. At a position there is one version of a row, so the id says which.
    fn oldest(&self, group: &Field) -> String {
        let collation = if group.ty == Ty::Text { " COLLATE NOCASE" } else { "" };
        let arms = self.arms(&self.predicate).into_iter();
        let arms: Vec<_> =
            arms.map(|arm| format!("SELECT {TOP}.id AS i,{TOP}.\"{}\" AS g FROM {arm}", group.name)).collect();
        format!("SELECT min(i) FROM ({}) GROUP BY g{collation}", arms.join(" UNION ALL "))
    }

    /// How many there are.
    pub fn count(&self) -> Sql {
        let text = match self.group {
            Some(group) => format!("SELECT count(*) FROM ({})", self.oldest(group)),
            None => {
                let arms = self.arms(&self.predicate).into_iter();
                let counts: Vec<String> = arms.map(|arm| format!("(SELECT count(*) FROM {arm})")).collect();
                format!("SELECT {}", counts.join("+"))
            }
        };
        Sql { text, arguments: self.arguments.clone() }
    }

    /// The `fields` of one page of them. The order is always total: it ends with the rows' age.
    pub fn page(&self, fields: &[&Field], page: &Page) -> Sql {
        let mut select: Vec<String> = fields.iter().map(|field| format!("{TOP}.\"{}\"", field.name)).collect();
        select.push(format!("{TOP}.id AS _id"));
        let order = match page.sort {
            Some((field, descending)) => {
                select.push(format!("{TOP}.\"{}\" AS _sort", field.name));
                let direction = if descending { " DESC" } else { "" };
                format!("_sort{direction},_id{direction}")
            }
            None => "_id".to_string(),
        };
        let select = select.join(",");
        let arms = match self.group {
            Some(group) => self.arms(&format!("{TOP}.id IN ({})", self.oldest(group))),
            None => self.arms(&self.predicate),
        };
        let arms: Vec<String> = arms.iter().map(|arm| format!("SELECT {select} FROM {arm}")).collect();
        let mut arguments = self.arguments.clone();
        let place = arguments.len();
        arguments.push(Val::from(page.start));
        // A limit that is bound has SQLite plan the statement anew each time, by its value.
        let limit = match LIMITS.contains(&page.limit) {
            true => page.limit.to_string(),
            false => {
                arguments.push(Val::from(page.limit));
                format!("?{}", place + 2)
            }
        };
        let text = format!("{} ORDER BY {order} LIMIT {limit} OFFSET ?{}", arms.join(" UNION ALL "), place + 1);
        Sql { text, arguments }
    }
}

/// How the rows of an embedded relation are found.
pub(crate) enum Owners<'a> {
    /// By this field of theirs, which is one of the uuids.
    Uuids(&'static str, Vec<&'a str>),
    /// By their own ids: the event that made one of the rows with these ids made them.
    Ids(Vec<i64>),
}

/// The rows of `kind` that an embedded relation shows of `owners`. First which of the owners, from 0, then the `fields`, then
/// the id of the row; in no order.
pub(crate) fn members(kind: &'static Kind, owners: &Owners, fields: &[&Field], view: View) -> Sql {
    let mut compiler = Compiler::new(view);
    let (values, found) = match owners {
        Owners::Uuids(field, uuids) => {
            (serde_json::Value::from(uuids.as_slice()), format!("{TOP}.\"{field}\"=owner.value"))
        }
        Owners::Ids(ids) => {
            let last = (1 << ORDINAL_BITS) - 1;
            (ids.as_slice().into(), format!("{TOP}.id BETWEEN owner.value AND owner.value|{last}"))
        }
    };
    let members = compiler.bind(values.to_string().into());
    let seen = compiler.seen(kind, TOP).map(|seen| format!(" AND {seen}")).unwrap_or_default();
    let predicate = format!("{found}{seen}");
    let selection = Selection { kind, at: compiler.at, group: None, predicate, arguments: compiler.arguments };
    let select: String = fields.iter().map(|field| format!("{TOP}.\"{}\",", field.name)).collect();
    // A cross join is sought in the order written: the values first, the rows by index.
    let from = format!("json_each({members}) owner CROSS JOIN");
    let arms = selection.arms(&selection.predicate).into_iter();
    let arms = arms.map(|arm| format!("SELECT owner.key,{select}{TOP}.id FROM {from} {arm}"));
    let text = arms.collect::<Vec<_>>().join(" UNION ALL ");
    Sql { text, arguments: selection.arguments }
}

struct Compiler {
    at: bool,
    /// The first is the position, if there is one.
    arguments: Vec<Val>,
    aliases: usize,
    /// The argument that the account is bound to, if there is one.
    account: Option<String>,
}

impl Compiler {
    fn new(view: View) -> Compiler {
        let arguments = view.at.map(Val::from).into_iter().collect();
        let mut compiler = Compiler { at: view.at.is_some(), arguments, aliases: 0, account: None };
        compiler.account = view.account.map(|account| compiler.bind(account.into()));
        compiler
    }

    /// The condition that the account sees the row `alias`, if not everything is seen.
    fn seen(&self, kind: &Kind, alias: &str) -> Option<String> {
        let account = self.account.as_ref()?;
        Some(visible::condition(kind, alias, account, &|kind, alias| self.rows(kind, alias)))
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases)
    }

    fn bind(&mut self, value: Val) -> String {
        self.arguments.push(value);
        format!("?{}", self.arguments.len())
    }

    /// The rows of a kind below the top level, of those that are seen.
    fn source(&self, kind: &Kind, alias: &str) -> String {
        match self.seen(kind, "v") {
            Some(seen) => format!("(SELECT * FROM {} WHERE {seen}) {alias}", self.rows(kind, "v")),
            None => self.rows(kind, alias),
        }
    }

    fn rows(&self, kind: &Kind, alias: &str) -> String {
        let (name, columns) = (kind.name, columns(kind));
        if self.at {
            format!(
                "(SELECT id,{columns} FROM \"{name}\" WHERE vf<=?1 UNION ALL \
                 SELECT id,{columns} FROM \"{name}_h\" WHERE vf<=?1 AND vt>?1) {alias}"
            )
        } else {
            format!("\"{name}\" {alias}")
        }
    }

    /// What says whether the row `alias` meets the condition from the first of `hops` on.
    fn condition(
        &mut self,
        alias: &str,
        hops: &[&'static Relation],
        condition: &Condition,
        inside_out: bool,
    ) -> String {
        if let Some((hop, rest)) = hops.split_first() {
            let inner = self.alias();
            let predicate = self.condition(&inner, rest, condition, inside_out);
            return self.hop(alias, hop, &inner, &predicate, inside_out);
        }
        match condition.end {
            End::Field(field) if field.ty.is_list() => self.list(alias, field, condition),
            End::Field(field) => self.test(&format!("{alias}.\"{}\"", field.name), condition.op, &condition.values),
            End::Relation(relation) => {
                let inner = self.alias();
                let some = self.hop(alias, relation, &inner, "1", false);
                if condition.op == Op::Null { format!("NOT {some}") } else { some }
            }
            End::Tags(tags) => self.tags(alias, tags, condition),
        }
    }

    /// Whether some row `inner` over `relation` from the row `alias` meets `predicate`.
    fn hop(&mut self, alias: &str, relation: &Relation, inner: &str, predicate: &str, inside_out: bool) -> String {
        let source = self.source(relation.target(), inner);
        match relation.link {
            Link::One(field) if inside_out => {
                format!("{alias}.\"{field}\" IN (SELECT {inner}.\"uuid\" FROM {source} WHERE {predicate})")
            }
            Link::Many(field) if inside_out => format!(
                "{alias}.\"uuid\" IN (SELECT {inner}.\"{field}\" FROM {source} \
                 WHERE {inner}.\"{field}\" IS NOT NULL AND {predicate})"
            ),
            Link::Listed(list) if inside_out => {
                let member = self.alias();
                format!(
                    "{alias}.\"uuid\" IN (SELECT {member}.value FROM {source} \
                     CROSS JOIN json_each({inner}.\"{list}\") {member} WHERE {predicate})"
                )
            }
            Link::One(field) => {
                format!("EXISTS(SELECT 1 FROM {source} WHERE {inner}.\"uuid\"={alias}.\"{field}\" AND {predicate})")
            }
            Link::Many(field) => {
                format!("EXISTS(SELECT 1 FROM {source} WHERE {inner}.\"{field}\"={alias}.\"uuid\" AND {predicate})")
            }
            Link::Each(list) => {
                let member = self.alias();
                format!(
                    "EXISTS(SELECT 1 FROM json_each({alias}.\"{list}\") {member} CROSS JOIN {source} \
                     WHERE {inner}.\"uuid\"={member}.value AND {predicate})"
                )
            }
            Link::Listed(list) => {
                let member = self.alias();
                format!(
                    "EXISTS(SELECT 1 FROM {source} CROSS JOIN json_each({inner}.\"{list}\") {member} \
                     WHERE {member}.value={alias}.\"uuid\" AND {predicate})"
                )
            }
        }
    }

    fn list(&mut self, alias: &str, field: &Field, condition: &Condition) -> String {
        let member = self.alias();
        let source = format!("json_each({alias}.\"{}\") {member}", field.name);
        let collation = if field.ty == Ty::Texts { " COLLATE NOCASE" } else { "" };
        match condition.op {
            Op::Null => format!("NOT EXISTS(SELECT 1 FROM {source})"),
            Op::NotNull => format!("EXISTS(SELECT 1 FROM {source})"),
            op => {
                let test = self.test(&format!("{member}.value{collation}"), op, &condition.values);
                format!("EXISTS(SELECT 1 FROM {source} WHERE {test})")
            }
        }
    }

    /// A negative condition on tags holds where no tag matches, so where there is none at all, too.
    fn tags(&mut self, alias: &str, tags: &Kind, condition: &Condition) -> String {
        let (not, op) = match condition.op {
            Op::Ne => ("NOT ", Op::Eq),
            Op::NotIn => ("NOT ", Op::In),
            Op::NotLike => ("NOT ", Op::Like),
            Op::Null => ("NOT ", Op::NotNull),
            op => ("", op),
        };
        let tag = self.alias();
        let source = self.source(tags, &tag);
        let test = self.test(&format!("{tag}.\"tag\""), op, &condition.values);
        format!(
            "{alias}.\"uuid\" {not}IN (SELECT {tag}.\"resourceUuid\" FROM {source} \
             WHERE {tag}.\"resourceUuid\" IS NOT NULL AND {test})"
        )
    }

    fn test(&mut self, operand: &str, op: Op, values: &[Val]) -> String {
        let sign = match op {
            Op::Null => return format!("{operand} IS NULL"),
            Op::NotNull => return format!("{operand} IS NOT NULL"),
            Op::In | Op::NotIn => {
                // One argument however many members, so that statements are shared.
                let members = self.bind(json_values(values).into());
                let not = if op == Op::NotIn { "NOT " } else { "" };
                return format!("{operand} {not}IN (SELECT value FROM json_each({members}))");
            }
            Op::Like | Op::NotLike => {
                let pattern = self.bind(values[0].clone());
                let not = if op == Op::NotLike { "NOT " } else { "" };
                return format!("{operand} {not}LIKE {pattern} ESCAPE '\\'");
            }
            Op::Eq => "=",
            Op::Ne => "<>",
            Op::Gt => ">",
            Op::Ge => ">=",
            Op::Lt => "<",
            Op::Le => "<=",
        };
        let value = self.bind(values[0].clone());
        format!("{operand} {sign} {value}")
    }
}

fn json_values(values: &[Val]) -> String {
    let json = |value: &Val| match value {
        Val::Int(number) => serde_json::Value::from(*number),
        value => serde_json::Value::from(value.text().unwrap_or_default()),
    };
    serde_json::Value::Array(values.iter().map(json).collect()).to_string()
}
