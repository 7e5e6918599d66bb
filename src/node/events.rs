//! The events of the log, filtered, and one event whole.

use super::Node;
use serde_json::{Value, json};
use switchback_bus::{GetEvents, Refusal};
use switchback_events::{Commit, Envelope, Position};
use switchback_journal::ReadError;

/// How many events a page has unless asked otherwise.
const PAGE: u64 = 100;
/// How many commits are read at a time.
const BATCH: usize = 1024;

pub(super) fn unreadable(error: ReadError) -> Refusal {
    Refusal::internal(format!("read the log: {error}"))
}

/// An event as the API shows it: with its time as text, too.
pub(super) fn envelope(envelope: &Envelope) -> Value {
    let mut value = serde_json::to_value(envelope).unwrap_or_default();
    if let (Some(map), Ok(time)) = (value.as_object_mut(), jiff::Timestamp::from_microsecond(envelope.at)) {
        map.insert("time".to_string(), json!(time.to_string()));
    }
    value
}

impl Node {
    pub(super) fn events(&self, request: &GetEvents) -> Result<Value, Refusal> {
        let limit = request.limit.unwrap_or(PAGE) as usize;
        let mut after = request.after.unwrap_or(0);
        let mut upto = self.journal.durable();
        if let Some(since) = &request.since {
            // A position counts as itself; of a time, all that was committed at it counts.
            let time = |text: &str| text.parse::<jiff::Timestamp>().map(|time| time.as_microsecond());
            let before = match time(since) {
                Ok(time) => self.journal.position_at(time - 1),
                Err(_) => self.moment("since", since)?.saturating_sub(1),
            };
            after = after.max(before);
        }
        if let Some(until) = &request.until {
            upto = upto.min(self.moment("until", until)?);
        }
        let wanted = |envelope: &Envelope| {
            envelope.position > after
                && envelope.position <= upto
                && request.resource.is_none_or(|id| envelope.tags.contains(&id))
                && request.principal.as_ref().is_none_or(|name| envelope.provenance.principal == *name)
                && request.kind.as_ref().is_none_or(|kind| envelope.kind == *kind || envelope.stream_type == *kind)
        };
        let mut found: Vec<Envelope> = Vec::new();
        let newest = request.newest == Some(true);
        let full = |found: &Vec<Envelope>| !newest && found.len() >= limit;
        let mut examined = after;
        let mut take = |commit: &Commit, found: &mut Vec<Envelope>| {
            for envelope in commit.envelopes() {
                if full(found) {
                    return;
                }
                examined = envelope.position.min(upto);
                if wanted(&envelope) {
                    found.push(envelope);
                }
                if newest && found.len() > 2 * limit {
                    found.drain(..found.len() - limit);
                }
            }
        };
        match request.resource {
            Some(id) => {
                self.journal
                    .read_tagged(&[id], after, upto, &mut |commit| take(commit, &mut found))
                    .map_err(unreadable)?;
            }
            None => {
                let mut from = after;
                while from < upto && !full(&found) {
                    let commits = self.journal.read(from, BATCH).map_err(unreadable)?;
                    let Some(last) = commits.last() else { break };
                    from = last.last_position();
                    for commit in &commits {
                        take(commit, &mut found);
                    }
                }
            }
        }
        if newest {
            found.reverse();
            found.truncate(limit);
        }
        if newest || found.len() < limit {
            examined = upto;
        }
        let events: Vec<Value> = found.iter().map(envelope).collect();
        Ok(json!({"events": events, "position": examined}))
    }

    pub(super) fn event(&self, position: Position) -> Result<Value, Refusal> {
        let commit = self.journal.commit_at(position).map_err(unreadable)?;
        let commit = commit.ok_or_else(|| Refusal::not_found("position", "event", position))?;
        let all: Vec<Value> = commit.envelopes().map(|event| envelope(&event)).collect();
        let one = all.iter().find(|event| event["position"] == json!(position)).cloned();
        let reads: Vec<Value> = commit
            .reads
            .iter()
            .map(|(stream, version)| json!({"stream": stream.to_string(), "version": version}))
            .collect();
        Ok(json!({
            "event": one,
            "commit": {"at": commit.at, "provenance": commit.provenance, "reads": reads, "events": all},
        }))
    }
}
