//! Events to all who have subscribed to them: the log is followed once for all, and only while there is anybody.
//!
//! ```text
//!  Bus::events ──► follower ──► each event rendered once ──► patterns that match ──► outboxes of their subscribers
//! ```
//! **Invariants:** a subscriber gets what becomes durable after it has subscribed, in the order of the log, once for each
//! subscription; one of a queue group gets it. Nobody is waited for.

use super::subscriptions::{Delivered, Group, Peer, Rendered};
use crate::{published, subject};
use futures_util::StreamExt;
use parking_lot::Mutex;
use serde_json::json;
use std::{collections::HashMap, sync::Arc, time::Duration};
use switchback_bus::{Bus, Caller, EventsRequest, Read, Refusal, ShownEvent, read};
use switchback_events::Position;
use tokio::{runtime::Handle, sync::watch};

/// Who is told where the log ends: the last position that is on disk.
pub type Head = Arc<dyn Fn() -> Position + Send + Sync>;

/// After so long the log is tried again that could not be read.
const AGAIN: Duration = Duration::from_secs(1);

/// What is asked for to follow the log behind `after`.
pub(super) fn following(after: Position) -> Result<EventsRequest, Refusal> {
    match read("GetEvents", &json!({"after": after}))? {
        Read::GetEvents(filter) => Ok(EventsRequest { filter, follow: true }),
        _ => Err(Refusal::internal("the read of events is another one")),
    }
}

/// Who has subscribed to events.
pub(super) struct Hub {
    bus: Arc<dyn Bus>,
    head: Head,
    /// The name under which the log is read.
    reader: Caller,
    state: Mutex<State>,
    /// Tells the follower that the last one has gone.
    alone: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    patterns: HashMap<Box<str>, Vec<Subscriber>>,
    /// Whether somebody reads the log.
    follows: bool,
    /// How many events were given to queue groups: the members take turns.
    turn: usize,
}

struct Subscriber {
    peer: Arc<Peer>,
    sid: Box<str>,
    serial: u64,
    /// It gets what is behind this.
    after: Position,
    group: Option<Group>,
}

impl Hub {
    /// Nobody yet.
    pub fn new(bus: Arc<dyn Bus>, head: Head) -> Hub {
        let reader = Caller::administrator("system:bus");
        Hub { bus, head, reader, state: Mutex::default(), alone: watch::Sender::new(()) }
    }

    /// One more subscription, to what becomes durable from now on.
    pub fn subscribe(self: &Arc<Self>, peer: &Arc<Peer>, sid: &str, serial: u64, subject: &str, group: Option<Group>) {
        let mut state = self.state.lock();
        // Under the lock: nothing is given to the others meanwhile that this one would miss.
        let after = (self.head)();
        let subscriber = Subscriber { peer: peer.clone(), sid: sid.into(), serial, after, group };
        state.patterns.entry(subject.into()).or_default().push(subscriber);
        if !std::mem::replace(&mut state.follows, true)
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(self.clone().follow(after));
        }
    }

    /// One less.
    pub fn unsubscribe(&self, peer: u64, serial: u64) {
        self.retain(|one| (one.peer.id, one.serial) != (peer, serial));
    }

    /// None of a connection any more.
    pub fn leave(&self, peer: u64) {
        self.retain(|one| one.peer.id != peer);
    }

    fn retain(&self, keep: impl Fn(&Subscriber) -> bool) {
        let mut state = self.state.lock();
        state.patterns.retain(|_, subscribers| {
            subscribers.retain(&keep);
            !subscribers.is_empty()
        });
        if state.patterns.is_empty() {
            self.alone.send_replace(());
        }
    }

    async fn follow(self: Arc<Self>, mut after: Position) {
        let mut alone = self.alone.subscribe();
        loop {
            let events = match following(after) {
                Ok(request) => self.bus.events(&self.reader, request).await,
                Err(refusal) => Err(refusal),
            };
            let mut events = match events {
                Ok(events) => events,
                Err(refusal) => {
                    tracing::error!(code = %refusal.code, detail = %refusal.detail, "the events cannot be followed");
                    tokio::time::sleep(AGAIN).await;
                    if self.rests() {
                        return;
                    }
                    continue;
                }
            };
            loop {
                let batch = tokio::select! {
                    batch = events.next() => batch,
                    _ = alone.changed() => {
                        if self.rests() {
                            return;
                        }
                        continue;
                    }
                };
                match batch {
                    Some(Ok(batch)) => {
                        self.publish(&batch.events);
                        after = after.max(batch.examined);
                    }
                    Some(Err(refusal)) => {
                        tracing::error!(code = %refusal.code, detail = %refusal.detail, "the events were lost sight of");
                        break;
                    }
                    None => break,
                }
            }
            tokio::time::sleep(AGAIN).await;
            if self.rests() {
                return;
            }
        }
    }

    /// Whether there is nobody to follow for: then whoever comes next begins anew.
    fn rests(&self) -> bool {
        let mut state = self.state.lock();
        state.follows = !state.patterns.is_empty();
        !state.follows
    }

    /// Gives each event to its subscribers; what is for one connection goes out together.
    fn publish(&self, events: &[ShownEvent]) {
        let mut told: HashMap<u64, Arc<Peer>> = HashMap::new();
        for event in events {
            self.publish_one(event, &mut told);
        }
        told.values().for_each(|peer| peer.outbox.look());
    }

    fn publish_one(&self, event: &ShownEvent, told: &mut HashMap<u64, Arc<Peer>>) {
        let message = Rendered::new(published(event));
        let mut state = self.state.lock();
        let state = &mut *state;
        let mut groups: HashMap<&Group, Vec<&Subscriber>> = HashMap::new();
        let mut gone: Vec<(u64, u64)> = vec![];
        let mut give = |to: &Subscriber| {
            told.entry(to.peer.id).or_insert_with(|| to.peer.clone());
            to.give(&message, &mut gone)
        };
        let matching = state.patterns.iter().filter(|(pattern, _)| subject::matches(pattern, &message.subject));
        for subscriber in matching.flat_map(|(_, subscribers)| subscribers).filter(|one| one.after < event.position) {
            match &subscriber.group {
                Some(group) => groups.entry(group).or_default().push(subscriber),
                None => {
                    give(subscriber);
                }
            }
        }
        for members in groups.values() {
            let first = state.turn % members.len();
            // Who cannot take it leaves it to the next.
            let mut turns = members.iter().cycle().skip(first).take(members.len());
            let _ = turns.any(|member| give(member));
            state.turn = state.turn.wrapping_add(1);
        }
        if !gone.is_empty() {
            state.patterns.retain(|_, subscribers| {
                subscribers.retain(|one| !gone.contains(&(one.peer.id, one.serial)));
                !subscribers.is_empty()
            });
            if state.patterns.is_empty() {
                self.alone.send_replace(());
            }
        }
    }
}

impl Subscriber {
    /// Whether it took it.
    fn give(&self, message: &Rendered, gone: &mut Vec<(u64, u64)>) -> bool {
        let delivered = self.peer.deliver(&self.sid, self.serial, message);
        if delivered != Delivered::Yes {
            gone.push((self.peer.id, self.serial));
        }
        delivered != Delivered::No
    }
}
