//! What changed between two moments: the inventories at both compared field by field, with the events between.

use super::{
    diff,
    events::shown,
    history::{History, blocking, refusal_of, unreadable},
};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use switchback_bus::{GetAuditDiff, Refusal};
use switchback_events::{Commit, Id, Position};
use switchback_projections::{
    LIMIT_MAX, MEMBERS_MAX, Projections, Query,
    catalogue::{KINDS, Kind, TAG},
};

/// The most events that are told as the makers of a difference.
const EVENTS_MAX: usize = 1000;
/// The most events between the moments where everything is compared.
const SPAN_MAX: Position = 1_000_000;
/// How many commits are read at a time.
const BATCH: usize = 1024;
/// Fields that say only that something else changed.
const NOISE: &[&str] = &["lastOpDate"];

/// What lies between the two moments.
#[derive(Default)]
struct Between {
    events: Vec<Value>,
    more: u64,
    /// Everything that an event names.
    named: BTreeSet<Id>,
    /// The positions of the events that are about a resource or name it.
    makers: BTreeMap<Id, Vec<Position>>,
}

/// Whether all that changed between two moments can be looked at.
fn short(from: Position, to: Position) -> Result<(), Refusal> {
    if to - from <= SPAN_MAX {
        return Ok(());
    }
    let refusal = Refusal::argument("from", from, format!("at most {SPAN_MAX} events before to = {to}"));
    Err(refusal.hint("name a resource"))
}

impl History {
    /// The difference of everything, or of one resource and what belongs to it.
    pub(super) async fn changes(&self, request: &GetAuditDiff) -> Result<Value, Refusal> {
        let (from, to) = self.span(&request.from, request.to.as_ref())?;
        let resource = request.resource;
        if resource.is_none() {
            short(from, to)?;
        }
        let projections = self.inventories(to).await?;
        let history = self.clone();
        blocking("compare two moments", move || history.compare(&projections, resource, from, to)).await
    }

    fn compare(
        &self,
        projections: &Projections,
        resource: Option<Id>,
        from: Position,
        to: Position,
    ) -> Result<Value, Refusal> {
        let between = self.between(resource, from, to)?;
        let mut resources = Vec::new();
        // Every tag is among those of its kind already.
        for kind in KINDS.iter().copied().filter(|kind| *kind != &TAG) {
            for conditions in conditions(kind, resource, &between) {
                let rows = |at| rows(projections, kind, &conditions, resource.is_some(), at);
                let (before, after) = (rows(from)?, rows(to)?);
                let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
                for key in keys {
                    resources.extend(changed(kind, key, before.get(key), after.get(key), &between));
                }
            }
        }
        if let Some(id) = resource
            && resources.is_empty()
            && self.journal().tagged_positions(id).is_empty()
        {
            return Err(Refusal::not_found("resource", "resource", id));
        }
        Ok(json!({
            "from": from, "to": to, "resources": resources, "events": between.events, "moreEvents": between.more,
        }))
    }

    fn between(&self, resource: Option<Id>, from: Position, to: Position) -> Result<Between, Refusal> {
        let mut between = Between::default();
        let mut take = |commit: &Arc<Commit>| {
            for (around, event) in
                commit.envelopes().filter(|(around, _)| around.position > from && around.position <= to)
            {
                if resource.is_some_and(|id| !around.tags.contains(&id)) {
                    continue;
                }
                let mut about = BTreeSet::from([around.stream_id]);
                ids(&event.to_json(), &mut about);
                for id in &about {
                    between.makers.entry(*id).or_default().push(around.position);
                }
                between.named.extend(about);
                between.named.extend(around.tags.iter().copied());
                if between.events.len() < EVENTS_MAX {
                    between.events.push(shown(&around, event));
                } else {
                    between.more += 1;
                }
            }
        };
        if let Some(id) = resource {
            self.journal().read_tagged(&[id], from, to, &mut take).map_err(unreadable)?;
            return Ok(between);
        }
        let mut after = from;
        while after < to {
            let commits = self.journal().read(after, BATCH).map_err(unreadable)?;
            let Some(last) = commits.last() else { break };
            after = last.last_position();
            commits.iter().for_each(&mut take);
        }
        Ok(between)
    }
}

/// The ids that stand anywhere in an event.
fn ids(value: &Value, found: &mut BTreeSet<Id>) {
    match value {
        Value::String(text) => found.extend(text.parse::<Id>().ok()),
        Value::Array(items) => items.iter().for_each(|item| ids(item, found)),
        Value::Object(map) => map.values().for_each(|item| ids(item, found)),
        _ => {}
    }
}

/// By which conditions the rows of a kind are found that can have changed; each is a query of its own.
fn conditions(kind: &Kind, resource: Option<Id>, between: &Between) -> Vec<Vec<String>> {
    let owner = ["resourceUuid", "l3NetworkUuid"].into_iter().find(|field| kind.field(field).is_some());
    let by = match (kind.field("uuid"), resource) {
        (Some(_), None) => "uuid",
        (Some(_), Some(id)) => {
            let own = vec![format!("uuid={id}")];
            let tags = kind.name.ends_with("Tag").then(|| vec![format!("resourceUuid={id}")]);
            return std::iter::once(own).chain(tags).collect();
        }
        (None, Some(id)) => return owner.map(|field| vec![format!("{field}={id}")]).into_iter().collect(),
        (None, None) => match owner {
            Some(field) => field,
            // Small enough to be compared whole.
            None => return vec![vec![]],
        },
    };
    let named: Vec<String> = between.named.iter().map(Id::to_string).collect();
    named.chunks(MEMBERS_MAX).map(|some| vec![format!("{by}?={}", some.join(","))]).collect()
}

/// Rows by what they are known by. Of everything only their own fields: what is embedded is there by itself.
fn rows(
    projections: &Projections,
    kind: &'static Kind,
    conditions: &[String],
    whole: bool,
    at: Position,
) -> Result<BTreeMap<String, Value>, Refusal> {
    let mut query = Query::new(kind).at(at);
    query.conditions = conditions.to_vec();
    query.limit = Some(LIMIT_MAX);
    if !whole {
        query.fields = own_fields(kind);
    }
    let reply = projections.query(&query).map_err(refusal_of)?;
    Ok(reply.rows().into_iter().map(|row| (key(&row), row)).collect())
}

/// The names of a kind's own fields.
pub(super) fn own_fields(kind: &Kind) -> Vec<String> {
    kind.fields.iter().filter(|field| !field.hidden).map(|field| field.name.to_string()).collect()
}

fn key(row: &Value) -> String {
    let text = |name: &str| row[name].as_str();
    match (text("uuid"), text("category")) {
        (Some(uuid), _) => uuid.to_string(),
        (None, Some(category)) => format!("{category}/{}", text("name").unwrap_or_default()),
        (None, None) => ["l3NetworkUuid", "networkServiceProviderUuid", "networkServiceType"]
            .map(|name| text(name).unwrap_or_default())
            .join("/"),
    }
}

/// How one row differs, if it does.
fn changed(kind: &Kind, key: &str, before: Option<&Value>, after: Option<&Value>, between: &Between) -> Option<Value> {
    let quiet = |row: Option<&Value>| {
        let mut row = row?.as_object()?.clone();
        NOISE.iter().for_each(|name| drop(row.remove(*name)));
        Some(Value::Object(row))
    };
    let (before, after) = (quiet(before), quiet(after));
    if before == after {
        return None;
    }
    let change = match (&before, &after) {
        (None, _) => "added",
        (_, None) => "removed",
        _ => "changed",
    };
    let empty = Value::Object(Map::new());
    let fields = diff::fields(before.as_ref().unwrap_or(&empty), after.as_ref().unwrap_or(&empty));
    let shown = after.as_ref().or(before.as_ref())?;
    let name = ["name", "tag", "ip", "networkServiceType"].iter().find_map(|field| shown[*field].as_str());
    let makers = key.get(..32).and_then(|id| id.parse::<Id>().ok()).and_then(|id| between.makers.get(&id));
    Some(json!({
        "kind": kind.name, "uuid": key, "name": name, "change": change, "fields": fields,
        "positions": makers.map_or(&[][..], Vec::as_slice),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_of_everything_is_not_over_a_whole_log() {
        assert!(short(7, 7 + SPAN_MAX).is_ok());
        let refusal = short(7, 8 + SPAN_MAX).unwrap_err();
        assert!(refusal.field.as_deref() == Some("from") && refusal.detail.contains("1000008"), "{refusal}");
    }
}
