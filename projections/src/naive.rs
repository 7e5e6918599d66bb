//! What the projections mean, said as plainly as possible: rows in memory, and a query by looking at every one.
//! Tests compare the database with it.

use crate::catalogue::{Kind, Link, Relation, SYSTEM_TAG, Ty, USER_TAG};
use crate::condition::{Condition, End, Op};
use crate::fold::{self, Action, Row, RowChange, Rows};
use crate::query::{Checked, Query};
use crate::store::StoreError;
use crate::value::Val;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use serde_json::{Map, Value};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use switchback_events::Commit;

/// The rows of each kind, oldest first.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Memory {
    rows: BTreeMap<&'static str, Vec<Row>>,
}

impl Rows for Memory {
    fn get(&self, kind: &'static Kind, uuid: &str) -> Result<Option<Row>, StoreError> {
        Ok(self.of(kind).iter().find(|row| row.values[0].text() == Some(uuid)).cloned())
    }

    fn find(&self, kind: &'static Kind, field: &'static str, value: &str) -> Result<Vec<String>, StoreError> {
        let found = self.of(kind).iter().filter(|row| row.value(kind, field).text() == Some(value));
        Ok(found.map(uuid).collect())
    }
}

fn uuid(row: &Row) -> String {
    row.values[0].text().unwrap_or_default().to_string()
}

impl Memory {
    pub fn of(&self, kind: &Kind) -> &[Row] {
        self.rows.get(kind.name).map_or(&[], Vec::as_slice)
    }

    pub fn apply(&mut self, change: &RowChange) {
        let rows = self.rows.entry(change.kind.name).or_default();
        let place = rows.iter().position(|row| uuid(row) == change.uuid);
        match (change.action, place) {
            (Action::Insert, None) => rows.push(fold::row_of(change)),
            (Action::Set, Some(place)) => {
                for (column, value) in &change.values {
                    rows[place].values[*column] = value.clone();
                }
            }
            (Action::Delete, Some(place)) => drop(rows.remove(place)),
            _ => {}
        }
    }

    /// The state at every position of `commits`, from 0.
    pub fn at_each(initial: Memory, commits: &[std::sync::Arc<Commit>]) -> Vec<Memory> {
        let mut states = vec![initial];
        for commit in commits {
            for recorded in &commit.events {
                let mut next = states.last().unwrap().clone();
                for change in fold::changes(recorded, commit.at, &next.clone()).unwrap() {
                    next.apply(&change);
                }
                states.push(next);
            }
        }
        states
    }

    /// How many rows meet the query, and its page of inventories.
    pub fn answer(&self, query: &Query) -> (u64, Vec<Value>) {
        let checked = Checked::new(query).unwrap();
        let kind = query.kind;
        let mut hits: Vec<(usize, &Row)> = self.of(kind).iter().enumerate().collect();
        hits.retain(|(_, row)| checked.conditions.iter().all(|c| self.holds(kind, row, &c.hops, c)));
        if let Some(field) = checked.group {
            let column = kind.column(field.name).unwrap();
            let mut seen: Vec<&Val> = Vec::new();
            hits.retain(|(_, row)| {
                let value = &row.values[column];
                let is_new = !seen.iter().any(|other| compare(field.ty, value, other).is_eq());
                seen.extend(is_new.then_some(value));
                is_new
            });
        }
        if let Some((field, descending)) = checked.page.sort {
            let column = kind.column(field.name).unwrap();
            hits.sort_by(|(i, a), (j, b)| {
                let order = compare(field.ty, &a.values[column], &b.values[column]).then(i.cmp(j));
                if descending { order.reverse() } else { order }
            });
        }
        let total = hits.len() as u64;
        let page = hits.into_iter().skip(checked.page.start as usize).take(checked.page.limit as usize);
        let shown = |inventory: &mut Value| {
            let chosen = |name: &String| query.fields.is_empty() || query.fields.contains(name);
            inventory.as_object_mut().unwrap().retain(|name, _| chosen(name));
        };
        let mut inventories: Vec<Value> = page.map(|(_, row)| self.inventory(kind, row, true)).collect();
        inventories.iter_mut().for_each(shown);
        (total, inventories)
    }

    fn inventory(&self, kind: &'static Kind, row: &Row, whole: bool) -> Value {
        let values = kind.fields.iter().zip(&row.values).filter(|(field, _)| !field.hidden);
        let shown = values.map(|(field, value)| {
            let value = match value.to_sql().unwrap() {
                ToSqlOutput::Borrowed(value) => json(field.ty, value),
                ToSqlOutput::Owned(value) => json(field.ty, (&value).into()),
                other => panic!("{other:?}"),
            };
            (field.name.to_string(), value)
        });
        let mut inventory: Map<String, Value> = shown.collect();
        for relation in kind.relations.iter().filter(|relation| relation.embedded && whole) {
            let members = self.members(kind, row, relation);
            let members = members.into_iter().map(|member| self.inventory(relation.target(), member, false));
            inventory.insert(relation.name.to_string(), members.collect());
        }
        Value::Object(inventory)
    }

    fn members(&self, kind: &Kind, row: &Row, relation: &Relation) -> Vec<&Row> {
        let target = relation.target();
        let theirs = self.of(target).iter();
        match relation.link {
            Link::One(field) => {
                let held = row.value(kind, field);
                theirs.filter(|other| *held != Val::Null && other.values[0] == *held).collect()
            }
            Link::Many(field) => theirs.filter(|other| *other.value(target, field) == row.values[0]).collect(),
            Link::Each(list) => {
                let held = row.value(kind, list).members();
                theirs.filter(|other| held.contains(&uuid(other))).collect()
            }
            Link::Listed(list) => {
                theirs.filter(|other| other.value(target, list).members().contains(&uuid(row))).collect()
            }
        }
    }

    fn holds(&self, kind: &'static Kind, row: &Row, hops: &[&'static Relation], condition: &Condition) -> bool {
        if let Some((hop, rest)) = hops.split_first() {
            let members = self.members(kind, row, hop);
            return members.into_iter().any(|member| self.holds(hop.target(), member, rest, condition));
        }
        let Condition { op, values, .. } = condition;
        match condition.end {
            End::Field(field) if field.ty.is_list() => {
                let members = row.value(kind, field.name).members();
                match op {
                    Op::Null => members.is_empty(),
                    Op::NotNull => !members.is_empty(),
                    op => members.iter().any(|member| meets(field.ty, &member.into(), *op, values)),
                }
            }
            End::Field(field) => meets(field.ty, row.value(kind, field.name), *op, values),
            End::Relation(relation) => self.members(kind, row, relation).is_empty() == (*op == Op::Null),
            End::Tags(tags) => {
                let some = |op: Op| {
                    let own = self.of(tags).iter().filter(|tag| *tag.value(tags, "resourceUuid") == row.values[0]);
                    own.into_iter().any(|tag| meets(Ty::Text, tag.value(tags, "tag"), op, values))
                };
                match op {
                    Op::Ne => !some(Op::Eq),
                    Op::NotIn => !some(Op::In),
                    Op::NotLike => !some(Op::Like),
                    Op::Null => !some(Op::NotNull),
                    op => some(*op),
                }
            }
        }
    }
}

/// Nulls come first; text is compared without regard to ASCII case.
fn compare(ty: Ty, a: &Val, b: &Val) -> Ordering {
    match (a, b) {
        (Val::Null, Val::Null) => Ordering::Equal,
        (Val::Null, _) => Ordering::Less,
        (_, Val::Null) => Ordering::Greater,
        (Val::Int(a), Val::Int(b)) => a.cmp(b),
        (a, b) => {
            let fold = |value: &Val| match ty {
                Ty::Text | Ty::Texts => value.text().unwrap().to_ascii_lowercase(),
                _ => value.text().unwrap().to_string(),
            };
            fold(a).cmp(&fold(b))
        }
    }
}

fn meets(ty: Ty, value: &Val, op: Op, with: &[Val]) -> bool {
    if *value == Val::Null {
        return op == Op::Null;
    }
    let text = || match value {
        Val::Int(number) => number.to_string(),
        value => value.text().unwrap().to_string(),
    };
    let is_like = || {
        let pattern: Vec<char> = with[0].text().unwrap().chars().collect();
        like(&pattern, &text().chars().collect::<Vec<_>>())
    };
    let order = || compare(ty, value, &with[0]);
    match op {
        Op::Null => false,
        Op::NotNull => true,
        Op::In => with.iter().any(|other| compare(ty, value, other).is_eq()),
        Op::NotIn => !with.iter().any(|other| compare(ty, value, other).is_eq()),
        Op::Like => is_like(),
        Op::NotLike => !is_like(),
        Op::Eq => order().is_eq(),
        Op::Ne => order().is_ne(),
        Op::Gt => order().is_gt(),
        Op::Ge => order().is_ge(),
        Op::Lt => order().is_lt(),
        Op::Le => order().is_le(),
    }
}

fn like(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|at| like(rest, &text[at..])),
        ['_', rest @ ..] => !text.is_empty() && like(rest, &text[1..]),
        ['\\'] => false,
        ['\\', character, rest @ ..] | [character, rest @ ..] => {
            text.first().is_some_and(|first| first.eq_ignore_ascii_case(character)) && like(rest, &text[1..])
        }
    }
}

/// Random conditions on `kind`, about values that are there more often than not.
pub(crate) fn random_condition(random: &mut crate::samples::Random, kind: &'static Kind, state: &Memory) -> String {
    let mut at = kind;
    let mut path = String::new();
    let hops = if random.below(20) == 0 { 7 } else { random.below(4) };
    for _ in 0..hops {
        if at.relations.is_empty() {
            break;
        }
        let relation = random.pick(at.relations);
        path += &format!("{}.", relation.name);
        at = relation.target();
    }
    if random.below(8) == 0 && !at.relations.is_empty() {
        return format!("{path}{}{}", random.pick(at.relations).name, random.pick(&["=null", "!=null"]));
    }
    let (name, ty, sample) = if random.below(8) == 0 {
        let (name, tags) = *random.pick(&[("__userTag__", &USER_TAG), ("__systemTag__", &SYSTEM_TAG)]);
        (name, Ty::Text, sample(random, state, tags, 3))
    } else {
        let column = random.below(at.fields.len());
        let field = &at.fields[column];
        if field.hidden {
            return random_condition(random, kind, state);
        }
        (field.name, field.ty, sample(random, state, at, column))
    };
    let operators: &[&str] = match ty {
        Ty::Bool | Ty::Time => &["=", "!=", ">", ">=", "<", "<=", "?=", "!?="],
        _ => &["=", "!=", ">", ">=", "<", "<=", "?=", "!?=", "~=", "!~="],
    };
    let operator = *random.pick(operators);
    let other = match ty {
        Ty::Bool => *random.pick(&["0", "1", "true", "false"]),
        Ty::Int => *random.pick(&["1", "0", "-1", "10", "9", "9223372036854775807"]),
        Ty::Time => *random.pick(&["1", "2023-11-14T22:13:25Z", "2023-11-14T23:13:25.000007+01:00"]),
        _ => *random.pick(&["web", "ÜNÏ", "null", "10.0.0.1", "'"]),
    };
    let value = match operator {
        _ if random.below(10) == 0 => return format!("{path}{name}{}", random.pick(&["=null", "!=null"])),
        "?=" | "!?=" => match random.below(8) {
            0 => (0..1 + random.below(300)).map(|n| format!("{n},")).collect::<String>() + &sample,
            _ => format!("{sample},{other}"),
        },
        "~=" | "!~=" => pattern(random, &sample),
        _ if ty == Ty::Bool || random.below(6) > 0 => sample,
        _ => other.to_string(),
    };
    match operator {
        // Only numbers fit among numbers.
        "?=" | "!?=" if ty == Ty::Bool => format!("{path}{name}{operator}1,0"),
        _ => format!("{path}{name}{operator}{value}"),
    }
}

/// A pattern that `sample` matches more often than not, with its own wildcards escaped or not.
fn pattern(random: &mut crate::samples::Random, sample: &str) -> String {
    let mut pattern = random.pick(&["", "", "%", "_"]).to_string();
    for character in sample.chars().take(random.below(12)) {
        match random.below(14) {
            0 => pattern.push('_'),
            1 => pattern.push('%'),
            2 => {}
            3 => pattern.extend(['\\', character]),
            _ if matches!(character, '%' | '_') && random.below(2) == 0 => pattern.extend(['\\', character]),
            _ => pattern.push(character),
        }
    }
    pattern.push_str(random.pick::<&str>(&["", "%", "%", "%", "_", "\\", "\\%"]));
    pattern
}

fn sample(random: &mut crate::samples::Random, state: &Memory, kind: &'static Kind, column: usize) -> String {
    let rows = state.of(kind);
    let value = if rows.is_empty() { Val::Null } else { random.pick(rows).values[column].clone() };
    match value {
        Val::Int(number) => number.to_string(),
        Val::Text(text) if kind.fields[column].ty == Ty::Text => {
            if random.below(3) == 0 {
                text.to_uppercase()
            } else {
                text.to_string()
            }
        }
        Val::Text(text) => text.to_string(),
        Val::List(members) if !members.is_empty() => random.pick(&members).clone(),
        _ => "0".to_string(),
    }
}

/// A value as the API shows it.
fn json(ty: Ty, value: ValueRef<'_>) -> Value {
    match (ty, value) {
        (Ty::Bool, ValueRef::Integer(number)) => Value::Bool(number != 0),
        (Ty::Time, ValueRef::Integer(micros)) => {
            jiff::Timestamp::from_microsecond(micros).map_or(Value::from(micros), |time| Value::from(time.to_string()))
        }
        (_, ValueRef::Integer(number)) => Value::from(number),
        (ty, ValueRef::Text(text)) if ty.is_list() => {
            serde_json::from_slice(text).unwrap_or_else(|_| Value::from([""; 0]))
        }
        (_, ValueRef::Text(text)) => Value::from(String::from_utf8_lossy(text)),
        _ => Value::Null,
    }
}
