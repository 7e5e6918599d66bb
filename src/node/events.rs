//! The events of the log, filtered: pages, streams, and one event whole.
//!
//! A stream reads the log by itself, through the journal's subscription, and only when it is polled: what is far
//! behind and what follows live go the same way, and nobody waits for a slow reader.

use super::{
    history::{History, blocking, unreadable},
    replay::STREAMS,
};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::{collections::HashMap, sync::Arc};
use switchback_bus::{EventBatch, EventStream, EventsRequest, GetEvents, LogCopy, LogForm, Refusal, ShownEvent};
use switchback_events::{
    AccountEvent, Commit, Envelope, Event, Id, LoadBalancerEvent, Micros, Position, Recorded, StreamKey, StreamKind,
    Version,
};
use switchback_journal::{Journal, ReadError, Subscription};

/// How many events a page has unless asked otherwise.
const PAGE: u64 = 100;
/// How many commits are read at a time for a page.
const BATCH: usize = 1024;
/// How many commits a stream reads at a time: what it holds in memory for its reader.
const STREAM_BATCH: usize = 64;
/// How many commits are shown that one command caused.
const EFFECTS: usize = 100;
/// How far from a commit its causes and effects are looked for, whatever they touch.
const NEAR: Position = 10_000;

/// An event as the API shows it: with its own fields, and its time as text, too.
pub(super) fn shown(envelope: &Envelope, event: &Event) -> Value {
    let mut value = serde_json::to_value(envelope).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        map.insert("payload".to_string(), event.to_json());
        map.insert("time".to_string(), json!(shown_time(envelope)));
    }
    value
}

/// The event of a commit that has this number.
fn shown_at(commit: &Commit, number: usize) -> Option<Value> {
    commit.envelopes().nth(number).map(|(envelope, event)| shown(&envelope, event))
}

/// The same, as it goes to those who follow.
fn followed(envelope: &Envelope, event: &Event) -> ShownEvent {
    let time = shown_time(envelope);
    let around = serde_json::to_string(envelope).unwrap_or_default();
    let around = around.strip_suffix('}').unwrap_or_default();
    ShownEvent {
        position: envelope.position,
        stream_type: envelope.stream_type.to_string(),
        stream_id: envelope.stream_id.to_string(),
        kind: envelope.kind.clone(),
        schema: envelope.schema,
        text: format!("{around},\"time\":\"{time}\",\"payload\":{}}}", event.to_json_text()),
        time,
    }
}

/// No moment that a log can have is beyond what there are texts for.
fn shown_time(envelope: &Envelope) -> String {
    jiff::Timestamp::from_microsecond(envelope.at).map(|time| time.to_string()).unwrap_or_default()
}

/// Which events are wanted.
struct Filter {
    after: Position,
    upto: Position,
    /// Where a time was given that is still to come, and may come.
    until: Option<Micros>,
    asked: GetEvents,
}

impl Filter {
    /// Up to the last durable position; with `follow` without end, unless one was asked for.
    fn new(history: &History, asked: &GetEvents, follow: bool) -> Result<Filter, Refusal> {
        let durable = history.journal().durable();
        let mut after = asked.after.unwrap_or(0);
        if let Some(since) = &asked.since {
            // A position counts as itself; of a time, all that was committed at it counts.
            let before = match time(since) {
                Some(time) => history.journal().position_at(time - 1),
                None => history.moment("since", since)?.saturating_sub(1),
            };
            after = after.max(before);
        }
        let mut upto = if follow { Position::MAX } else { durable };
        let mut until = None;
        if let Some(text) = &asked.until {
            let position = history.moment("until", text)?;
            match time(text) {
                // What is committed until then is still to come.
                Some(time) if follow && position == durable => until = Some(time),
                _ => upto = upto.min(position),
            }
        }
        Ok(Filter { after, upto, until, asked: asked.clone() })
    }

    fn wants(&self, envelope: &Envelope) -> bool {
        let asked = &self.asked;
        let made_by = envelope.provenance;
        envelope.position > self.after
            && envelope.position <= self.upto
            && asked.resource.is_none_or(|id| envelope.tags.contains(&id))
            && asked.principal.as_ref().is_none_or(|name| made_by.principal == *name)
            && asked.kind.as_ref().is_none_or(|kind| envelope.kind == *kind || envelope.stream_type == *kind)
            && asked
                .command
                .as_ref()
                .is_none_or(|command| made_by.command == *command || made_by.command_id.0.to_string() == *command)
            && asked.correlation.is_none_or(|id| made_by.correlation == id)
    }

    /// Whether nothing of the commit, or of any later one, is wanted.
    fn is_over(&self, commit: &Commit) -> bool {
        self.until.is_some_and(|until| commit.at > until)
    }
}

fn time(text: &str) -> Option<Micros> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
}

impl History {
    /// A page of events.
    pub(super) fn events(&self, request: &GetEvents) -> Result<Value, Refusal> {
        let filter = Filter::new(self, request, false)?;
        let (after, upto) = (filter.after, filter.upto);
        let limit = request.limit.unwrap_or(PAGE) as usize;
        let mut found: Vec<(Arc<Commit>, usize)> = Vec::new();
        let newest = request.newest == Some(true);
        let full = |found: &Vec<_>| !newest && found.len() >= limit;
        let mut examined = after;
        let mut take = |commit: &Arc<Commit>, found: &mut Vec<(Arc<Commit>, usize)>| {
            for (number, (envelope, _)) in commit.envelopes().enumerate() {
                if full(found) {
                    return;
                }
                examined = envelope.position.min(upto);
                if filter.wants(&envelope) {
                    found.push((commit.clone(), number));
                }
                if newest && found.len() > 2 * limit {
                    found.drain(..found.len() - limit);
                }
            }
        };
        match request.resource {
            Some(id) => {
                let mut take = |commit: &Arc<Commit>| take(commit, &mut found);
                self.journal().read_tagged(&[id], after, upto, &mut take).map_err(unreadable)?;
            }
            None => {
                let mut from = after;
                while from < upto && !full(&found) {
                    let commits = self.journal().read(from, BATCH).map_err(unreadable)?;
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
            // A cursor never goes back, wherever it came from.
            examined = upto.max(after);
        }
        let one = |(commit, number): &(Arc<Commit>, usize)| shown_at(commit, *number);
        let events: Vec<Value> = found.iter().filter_map(one).collect();
        Ok(json!({"events": events, "position": examined}))
    }

    /// The events as a stream.
    pub(super) fn stream(&self, request: &EventsRequest) -> Result<EventStream, Refusal> {
        if request.filter.newest == Some(true) {
            return Err(Refusal::argument("newest", true, "a stream goes forward: ask for a page"));
        }
        let durable = self.journal().durable();
        if let Some(after) = request.filter.after.filter(|after| *after > durable) {
            // Such a cursor is of another log, or of one that was restored to an earlier moment.
            return Err(Refusal::argument("after", after, format!("at most {durable}, the head of the log")));
        }
        let filter = Filter::new(self, &request.filter, request.follow)?;
        let subscription = self.journal().subscribe(filter.after);
        let following = Following { subscription, left: request.filter.limit, over: false, filter };
        Ok(stream::unfold(following, Following::step).boxed())
    }

    /// The log itself, read when it is polled.
    pub(super) fn copy(&self, form: LogForm, after: Position) -> Result<LogCopy, Refusal> {
        let journal = self.journal().clone();
        let durable = journal.durable();
        if after > durable {
            return Err(Refusal::argument("after", after, format!("at most {durable}, the head of the log")));
        }
        let failed = |error: &dyn std::fmt::Display| Refusal::internal(format!("copy the log: {error}"));
        let (head, upto) = match form {
            LogForm::JsonLines => (None, durable),
            LogForm::Frames => {
                let (head, upto) = journal.backup_head(after).map_err(|error| failed(&error))?;
                (Some(head), upto)
            }
        };
        let next = move |journal: &Journal, reached| match form {
            LogForm::JsonLines => {
                let lines = journal.export_lines(reached, upto).map_err(|error| failed(&error))?;
                Ok(lines.map(|lines| (lines.text, lines.reached)))
            }
            LogForm::Frames => journal.backup_frames(reached, upto).map_err(|error| failed(&error)),
        };
        let rest = stream::unfold(Some((journal, after)), move |state| async move {
            let (journal, reached) = state?;
            let read = blocking("copy the log", move || Ok(next(&journal, reached)?.map(|found| (found, journal))));
            match read.await {
                Ok(None) => None,
                Ok(Some(((bytes, reached), journal))) => Some((Ok(bytes), Some((journal, reached)))),
                Err(refusal) => Some((Err(refusal), None)),
            }
        });
        Ok(LogCopy { upto, chunks: stream::iter(head.map(Ok)).chain(rest).boxed() })
    }

    /// One event whole: with the others of its commit, what caused it, and what it caused.
    pub(super) fn event(&self, position: Position) -> Result<Value, Refusal> {
        let commit = self.journal().commit_at(position).map_err(unreadable)?;
        let commit = commit.ok_or_else(|| Refusal::not_found("position", "event", position))?;
        let all: Vec<Value> = commit.envelopes().map(|(around, event)| shown(&around, event)).collect();
        let one = all.iter().find(|event| event["position"] == json!(position)).cloned();
        let reads: Vec<Value> = commit
            .reads
            .iter()
            .map(|(stream, version)| json!({"stream": stream.to_string(), "version": version}))
            .collect();
        let causes: Vec<Value> = causes(self.journal(), &commit)?.iter().map(|cause| heading(cause)).collect();
        Ok(json!({
            "event": one,
            "commit": {"at": commit.at, "provenance": commit.provenance, "reads": reads, "events": all},
            "causes": causes,
            "effects": effects(self.journal(), &commit)?,
        }))
    }
}

/// More events than these of one resource are not read for its name.
const NAMED_WITHIN: Version = 200;

/// Gives each event of a reply the name that its resource had then, where it has one.
pub(super) fn name_resources(journal: &Journal, reply: &mut Value) {
    let mut known = HashMap::new();
    for place in ["/event", "/events", "/commit/events", "/causes", "/effects"] {
        let events = match reply.pointer_mut(place) {
            Some(Value::Array(events)) => &mut events[..],
            Some(event) => std::slice::from_mut(event),
            None => continue,
        };
        for event in events {
            let kind = STREAMS.iter().find(|kind| event["streamType"] == kind.stem());
            let id = event["streamId"].as_str().and_then(|id| id.parse::<Id>().ok());
            let (Some(kind), Some(id), Some(version)) = (kind, id, event["version"].as_u64()) else { continue };
            let stream = StreamKey::new(*kind, id);
            let names = known.entry(stream).or_insert_with(|| names(journal, stream));
            if let Some((_, name)) = names.iter().rfind(|(since, _)| *since <= version) {
                event["name"] = json!(name);
            }
        }
    }
}

/// The name that a resource had at a version, where it had one.
pub(super) fn name_of(journal: &Journal, stream: StreamKey, version: Version) -> Option<String> {
    names(journal, stream).into_iter().rfind(|(since, _)| *since <= version).map(|(_, name)| name)
}

/// The names of a resource, each with the version since when it has it. That they cannot be read is said elsewhere.
fn names(journal: &Journal, stream: StreamKey) -> Vec<(Version, String)> {
    let recorded: Vec<Recorded> = match stream.kind {
        StreamKind::MacBlock => vec![],
        _ if journal.version(stream) <= NAMED_WITHIN => {
            let events = journal.read_stream(stream, 0).unwrap_or_default();
            events.into_iter().map(|(_, recorded)| recorded).collect()
        }
        _ => {
            let first = journal.tagged_positions(stream.id).into_iter().next();
            let commit = first.and_then(|first| journal.commit_at(first).ok()?);
            commit.map(|commit| commit.events.clone()).unwrap_or_default()
        }
    };
    // An account's token has a name of its own, and so has what belongs to a load balancer.
    let own = |event: &Event| match event {
        Event::Account(event) => !matches!(event, AccountEvent::ApiTokenCreated { .. }),
        Event::LoadBalancer(event) => {
            matches!(event, LoadBalancerEvent::Created { .. } | LoadBalancerEvent::Updated { .. })
        }
        _ => true,
    };
    let named = recorded.iter().filter(|recorded| recorded.stream == stream && own(&recorded.event));
    named.filter_map(|event| Some((event.version, event.event.to_json()["name"].as_str()?.to_string()))).collect()
}

/// A commit by its first event.
fn heading(commit: &Commit) -> Value {
    shown_at(commit, 0).unwrap_or_default()
}

/// What led to `commit`, the nearest first.
fn causes(journal: &Journal, commit: &Commit) -> Result<Vec<Arc<Commit>>, Refusal> {
    let mut causes: Vec<Arc<Commit>> = Vec::new();
    let mut next = (commit.provenance.causation, first_of(commit), tags_of(commit));
    while let (Some(id), before, tags) = next {
        let is_it = |commit: &&Arc<Commit>| commit.provenance.command_id.0 == id;
        // A cause comes a little earlier, or else touches the same things.
        let near = between(journal, before.saturating_sub(NEAR), before)?;
        let mut found = near.iter().rfind(is_it).cloned();
        if found.is_none() {
            let mut look = |commit: &Arc<Commit>| found = Some(commit).filter(is_it).cloned().or(found.take());
            journal.read_tagged(&tags, 0, before.saturating_sub(1), &mut look).map_err(unreadable)?;
        }
        let Some(cause) = found else { break };
        next = (cause.provenance.causation, first_of(&cause), tags_of(&cause));
        causes.push(cause);
    }
    Ok(causes)
}

/// The commits of the same piece of work that `commit` led to, each by its first event.
fn effects(journal: &Journal, commit: &Commit) -> Result<Vec<Value>, Refusal> {
    let id = commit.provenance.command_id.0;
    let last = commit.last_position();
    let later = between(journal, last, last.saturating_add(NEAR))?;
    let led_to = later.iter().filter(|later| {
        let made_by = &later.provenance;
        made_by.causation == Some(id) || made_by.correlation == id
    });
    Ok(led_to.take(EFFECTS).map(|effect| heading(effect)).collect())
}

/// The durable commits after `after` that begin before `before`.
fn between(journal: &Journal, after: Position, before: Position) -> Result<Vec<Arc<Commit>>, Refusal> {
    let (mut found, mut reached) = (Vec::new(), after);
    while reached < before {
        let commits = journal.read(reached, BATCH).map_err(unreadable)?;
        let Some(last) = commits.last() else { break };
        reached = last.last_position();
        found.extend(commits.into_iter().filter(|commit| first_of(commit) < before));
    }
    Ok(found)
}

fn first_of(commit: &Commit) -> Position {
    commit.events.first().map_or(0, |event| event.position)
}

fn tags_of(commit: &Commit) -> Vec<Id> {
    let mut tags: Vec<Id> = commit.events.iter().flat_map(|event| event.tags.iter().copied()).collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// A reader of the log on its way.
struct Following {
    subscription: Subscription,
    filter: Filter,
    /// How many events may still be given.
    left: Option<u64>,
    over: bool,
}

impl Following {
    async fn step(mut self) -> Option<(Result<EventBatch, Refusal>, Following)> {
        if self.over || self.left == Some(0) || self.subscription.position() >= self.filter.upto {
            return None;
        }
        let batch = match self.subscription.next(STREAM_BATCH).await {
            Ok(commits) => Ok(self.take(&commits)),
            Err(ReadError::Closed) => return None,
            Err(error) => {
                self.over = true;
                Err(unreadable(error))
            }
        };
        Some((batch, self))
    }

    fn take(&mut self, commits: &[Arc<Commit>]) -> EventBatch {
        let mut batch = EventBatch { events: vec![], examined: self.filter.after };
        for commit in commits {
            if self.filter.is_over(commit) {
                self.over = true;
                return batch;
            }
            for (around, event) in commit.envelopes().take_while(|(around, _)| around.position <= self.filter.upto) {
                batch.examined = batch.examined.max(around.position);
                if self.filter.wants(&around) {
                    batch.events.push(followed(&around, event));
                    self.left = self.left.map(|left| left - 1);
                }
                if self.left == Some(0) {
                    return batch;
                }
            }
        }
        batch
    }
}
