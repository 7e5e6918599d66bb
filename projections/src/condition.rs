//! The query language: one condition `path op value`, checked against the catalogue and typed by it.
//!
//! Operators: `=`, `!=`, `>`, `>=`, `<`, `<=`, `?=` (one of `a,b`), `!?=` (none of), `~=` (like, with `%` and `_`,
//! `\` before either for itself), `!~=`, `=null`, `!=null`. What they mean where there are several or no values:
//! a condition over a relation or a list holds if some member meets it; a negative one on tags if no tag matches;
//! on null nothing holds but `=null`.

use crate::catalogue::{Field, Kind, Relation, SYSTEM_TAG, Ty, USER_TAG};
use crate::value::Val;

/// The most steps of one path.
pub const STEPS_MAX: usize = 8;
/// The most members of one `?=` or `!?=`.
pub const MEMBERS_MAX: usize = 1000;
/// The most bytes of one condition's value.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// The most bytes of a pattern.
pub const PATTERN_BYTES_MAX: usize = 4096;

/// A question that cannot be asked, and what to ask instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct BadQuery {
    /// The field or parameter at fault, as it was given.
    pub field: String,
    /// What is wrong with it.
    pub detail: String,
    /// What was probably meant.
    pub hint: Option<String>,
}

impl BadQuery {
    pub(crate) fn new(field: impl Into<String>, detail: impl Into<String>) -> BadQuery {
        BadQuery { field: field.into(), detail: detail.into(), hint: None }
    }
}

/// The last steps that stand for the tags of a resource.
const USER_TAG_STEP: &str = "__userTag__";
const SYSTEM_TAG_STEP: &str = "__systemTag__";

/// How a field and a value are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Op {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
    In,
    NotIn,
    Like,
    NotLike,
    Null,
    NotNull,
}

/// The last step of a path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Field(&'static Field),
    Relation(&'static Relation),
    /// The tags of this kind on the resource.
    Tags(&'static Kind),
}

/// One condition, checked.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub hops: Vec<&'static Relation>,
    pub end: End,
    pub op: Op,
    pub values: Vec<Val>,
}

/// The spellings, the longer before those that they begin or end with.
const OPERATORS: [(&str, Op); 10] = [
    ("!?=", Op::NotIn),
    ("!~=", Op::NotLike),
    ("!=", Op::Ne),
    ("?=", Op::In),
    ("~=", Op::Like),
    (">=", Op::Ge),
    ("<=", Op::Le),
    (">", Op::Gt),
    ("<", Op::Lt),
    ("=", Op::Eq),
];

impl Condition {
    /// Reads `text` as a condition on `kind`.
    pub fn parse(kind: &'static Kind, text: &str) -> Result<Condition, BadQuery> {
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).unwrap_or(text.len());
        let (path, rest) = text.split_at(end);
        let Some((op, value)) = OPERATORS.iter().find_map(|(sign, op)| Some((*op, rest.strip_prefix(sign)?))) else {
            let detail = format!("`{}` is no condition: it has no operator", shorten(text));
            let mut bad = BadQuery::new(shorten(path), detail);
            bad.hint = Some("write field=value, with one of = != > >= < <= ?= !?= ~= !~=".to_string());
            return Err(bad);
        };
        if value.len() > VALUE_BYTES_MAX {
            let path = shorten(path);
            return Err(BadQuery::new(&path, format!("the value of `{path}` is longer than {VALUE_BYTES_MAX} bytes")));
        }
        if value.contains('\0') {
            let path = shorten(path);
            return Err(BadQuery::new(&path, format!("the value of `{path}` has a character 0 in it")));
        }
        let op = match (op, value) {
            (Op::Eq, "null") => Op::Null,
            (Op::Ne, "null") => Op::NotNull,
            (op, _) => op,
        };
        let (hops, end) = resolve(kind, path)?;
        let values = match end {
            End::Field(field) => values(path, field.ty, op, value)?,
            End::Tags(_) => values(path, Ty::Text, op, value)?,
            End::Relation(_) if matches!(op, Op::Null | Op::NotNull) => Vec::new(),
            End::Relation(relation) => {
                let mut bad = BadQuery::new(path, format!("`{path}` is a relation: only =null and !=null apply to it"));
                bad.hint = Some(format!("name one of its fields: {path}.{}", relation.target().fields[1].name));
                return Err(bad);
            }
        };
        Ok(Condition { hops, end, op, values })
    }

    /// Whether an index finds what the last step asks for, so that the rows are better sought from the inside out.
    pub fn is_selective(&self) -> bool {
        match self.end {
            End::Tags(_) => true,
            End::Relation(_) => false,
            End::Field(field) if !field.indexed && field.name != "uuid" => false,
            End::Field(field) => match self.op {
                Op::Eq | Op::In => true,
                Op::Like => field.ty == Ty::Text && fixed_prefix(self.values[0].text().unwrap_or_default()) >= 5,
                _ => false,
            },
        }
    }
}

/// The number of characters before a pattern's first wildcard.
fn fixed_prefix(pattern: &str) -> usize {
    let mut count = 0;
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '%' | '_' => break,
            '\\' => drop(characters.next()),
            _ => {}
        }
        count += 1;
    }
    count
}

/// Follows `path` from `kind` through its relations to a field, a relation or the tags.
fn resolve(kind: &'static Kind, path: &str) -> Result<(Vec<&'static Relation>, End), BadQuery> {
    let steps: Vec<&str> = path.split('.').collect();
    if steps.len() > STEPS_MAX {
        let path = shorten(path);
        return Err(BadQuery::new(&path, format!("`{path}` has more than {STEPS_MAX} steps")));
    }
    let (last, before) = steps.split_last().expect("split gives at least one part");
    let mut at = kind;
    let mut hops = Vec::new();
    for (depth, step) in before.iter().enumerate() {
        let Some(relation) = at.relation(step) else { return Err(unknown(path, &steps[..=depth], at, true)) };
        hops.push(relation);
        at = relation.target();
    }
    let end = match *last {
        USER_TAG_STEP => Some(End::Tags(&USER_TAG)),
        SYSTEM_TAG_STEP => Some(End::Tags(&SYSTEM_TAG)),
        name => at.field(name).map(End::Field).or_else(|| at.relation(name).map(End::Relation)),
    };
    end.map(|end| (hops, end)).ok_or_else(|| unknown(path, &steps, at, false))
}

/// The refusal of the last of `steps`, which `kind` does not have.
fn unknown(path: &str, steps: &[&str], kind: &'static Kind, as_relation: bool) -> BadQuery {
    let (step, before) = steps.split_last().expect("a path has a step");
    let prefix = before.iter().map(|step| format!("{step}.")).collect::<String>();
    let detail = match (as_relation, kind.field(step)) {
        (true, Some(_)) => format!("`{step}` of {} is no relation: it has no fields of its own", kind.name),
        (true, None) => format!("{} has no relation `{}`", kind.name, shorten(step)),
        (false, _) => format!("{} has no field `{}`", kind.name, shorten(step)),
    };
    BadQuery { field: shorten(path), detail, hint: Some(suggest(&prefix, step, kind, as_relation)) }
}

/// The refusal of a field of `kind` itself, as a sort key or in the choice of fields.
pub(crate) fn unknown_field(kind: &'static Kind, name: &str) -> BadQuery {
    unknown(name, &[name], kind, false)
}

fn suggest(prefix: &str, step: &str, kind: &'static Kind, as_relation: bool) -> String {
    let relations = kind.relations.iter().map(|relation| relation.name);
    let fields = kind.fields.iter().filter(|field| !field.hidden).map(|field| field.name);
    let names: Vec<&str> = if as_relation { relations.collect() } else { fields.chain(relations).collect() };
    let tags = [USER_TAG_STEP, SYSTEM_TAG_STEP].into_iter().filter(|_| !as_relation);
    let nearest = names.iter().copied().chain(tags).map(|name| (distance(step, name), name)).min();
    let near = |bound: usize| nearest.filter(|(distance, name)| *distance <= bound && *distance < name.len());
    let related = || {
        let has_it = |relation: &&Relation| !as_relation && relation.target().field(step).is_some();
        kind.relations.iter().find(has_it).map(|relation| format!("did you mean `{prefix}{}.{step}`?", relation.name))
    };
    let named = |(_, name): (usize, &str)| format!("did you mean `{prefix}{name}`?");
    let begins = |long: &str, short: &str| {
        short.len() >= 3 && long.get(..short.len()).is_some_and(|start| start.eq_ignore_ascii_case(short))
    };
    let alike = || names.iter().find(|name| begins(step, name) || begins(name, step)).map(|name| named((0, name)));
    let hint = near(1).map(named).or_else(related).or_else(|| near((step.len() / 3).max(2)).map(named)).or_else(alike);
    if let Some(hint) = hint {
        return hint;
    }
    format!("{} has: {}", kind.name, names.join(", "))
}

/// The number of letters to add, drop, change or swap with the next, without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<u8> = a.bytes().take(64).map(|letter| letter.to_ascii_lowercase()).collect();
    let b: Vec<u8> = b.bytes().map(|letter| letter.to_ascii_lowercase()).collect();
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

fn values(path: &str, ty: Ty, op: Op, value: &str) -> Result<Vec<Val>, BadQuery> {
    match op {
        Op::Null | Op::NotNull => Ok(Vec::new()),
        Op::Like | Op::NotLike if matches!(ty, Ty::Bool | Ty::Time) => {
            Err(BadQuery::new(path, format!("`{path}` is no text: ~= does not apply to it")))
        }
        Op::Like | Op::NotLike if value.len() > PATTERN_BYTES_MAX => {
            Err(BadQuery::new(path, format!("the pattern of `{path}` is longer than {PATTERN_BYTES_MAX} bytes")))
        }
        Op::Like | Op::NotLike => Ok(vec![value.into()]),
        Op::In | Op::NotIn => {
            let members: Vec<&str> = value.split(',').collect();
            if members.len() > MEMBERS_MAX {
                return Err(BadQuery::new(path, format!("`{path}` is compared with more than {MEMBERS_MAX} values")));
            }
            members.into_iter().map(|member| typed(path, ty, member)).collect()
        }
        _ => Ok(vec![typed(path, ty, value)?]),
    }
}

fn typed(path: &str, ty: Ty, text: &str) -> Result<Val, BadQuery> {
    let not = |what: &str| BadQuery::new(path, format!("`{path}` is {what}, not `{}`", shorten(text)));
    match ty {
        Ty::Uuid | Ty::Uuids => Ok(text.to_ascii_lowercase().into()),
        Ty::Text | Ty::Texts => Ok(text.into()),
        Ty::Bool => match text {
            "true" | "1" => Ok(Val::Int(1)),
            "false" | "0" => Ok(Val::Int(0)),
            _ => Err(not("true or false")),
        },
        Ty::Int => text.parse().map(Val::Int).map_err(|_| not("a whole number")),
        Ty::Time => match (text.parse(), text.parse::<jiff::Timestamp>()) {
            (Ok(micros), _) => Ok(Val::Int(micros)),
            (_, Ok(time)) => Ok(Val::Int(time.as_microsecond())),
            _ => Err(not("a time such as 2026-01-31T12:00:00Z")),
        },
    }
}

/// User text for an error message: not more of it than helps.
fn shorten(text: &str) -> String {
    if text.chars().count() <= 80 { text.to_string() } else { text.chars().take(80).chain("…".chars()).collect() }
}
