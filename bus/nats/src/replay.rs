//! Events of the past, at the reader's pace: each request grants a credit, and nothing is sent that was not asked for.
//!
//! ```text
//!  request {after: 7, credit: 2} ──► message 8 ──► message 11 ──► end {examined: 11, head: 40, events: 2}
//!  request {after: 11, credit: 2} ──► …
//!  request {after: 40, waitSeconds: 30} ──► the first commit that comes ──► end
//! ```
//! **Invariant:** whoever asks again after `examined` gets every event that matches once and in order, whatever is
//! appended meanwhile.

use crate::{Headers, Outgoing, published};
use futures_util::{StreamExt, stream, stream::BoxStream};
use serde_json::{Map, Value, json};
use std::{sync::Arc, time::Duration};
use switchback_bus::{Bus, Caller, EventStream, EventsRequest, GetEvents, Read, Refusal, ShownEvent, outside, read};
use switchback_events::Position;
use tokio::time::Instant;

/// The header that says what subject an event was published on: a reply's own is the reader's inbox.
const SUBJECT: &str = "Switchback-Subject";
/// The header of the last message.
const END: &str = "Switchback-Replay";
/// The most events that one request may ask for.
const MOST: u64 = 10_000;
/// As many as one asks for who does not say.
const USUAL: u64 = 1000;
/// The longest wait at the end of the log.
const LONGEST: u64 = 30;

/// What is asked for.
pub(crate) struct Wanted {
    filter: GetEvents,
    upto: Position,
    wait: Duration,
}

/// Reads the parameters of a request.
pub(crate) fn wanted(mut body: Map<String, Value>) -> Result<Wanted, Refusal> {
    let mut own = |name: &str, min: u64, max: u64, usual: u64| match body.remove(name) {
        None | Some(Value::Null) => Ok(usual),
        Some(given) => given
            .as_u64()
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| Refusal::argument(name, &given, format!("a whole number from {min} to {max}"))),
    };
    let upto = own("upto", 0, i64::MAX as u64, Position::MAX)?;
    let credit = own("credit", 1, MOST, USUAL)?;
    let wait = Duration::from_secs(own("waitSeconds", 0, LONGEST, 0)?);
    if let Some(given) = body.get("limit") {
        return Err(Refusal::argument("limit", given, "credit, which says how many"));
    }
    let message = outside("GetEvents")?;
    message.accept(&mut body)?;
    let Read::GetEvents(filter) = read(message.name, &Value::Object(body))? else {
        return Err(Refusal::internal("the read of events is another one"));
    };
    Ok(Wanted { filter: GetEvents { limit: Some(credit), ..filter }, upto, wait })
}

/// A replay on its way.
struct Running {
    bus: Arc<dyn Bus>,
    caller: Caller,
    wanted: Wanted,
    to: String,
    events: EventStream,
    /// The last durable position when it was asked.
    head: Position,
    examined: Position,
    sent: u64,
    /// Waits at the end of the log, until then.
    until: Option<Instant>,
    over: bool,
}

/// Reads for `caller` what is wanted and sends it to `to`, then how far the log was looked at.
pub(crate) async fn replay(
    bus: Arc<dyn Bus>,
    caller: Caller,
    wanted: Wanted,
    to: String,
) -> Result<BoxStream<'static, Outgoing>, Refusal> {
    let head = bus.head().await;
    let filter = wanted.filter.clone();
    let examined = filter.after.unwrap_or(0);
    let events = bus.events(&caller, EventsRequest { filter, follow: false }).await?;
    let running = Running { bus, caller, wanted, to, events, head, examined, sent: 0, until: None, over: false };
    Ok(stream::unfold(running, Running::step).flat_map(stream::iter).boxed())
}

impl Running {
    async fn step(mut self) -> Option<(Vec<Outgoing>, Running)> {
        if self.over {
            return None;
        }
        let next = match self.until {
            None => self.events.next().await,
            Some(until) => tokio::time::timeout_at(until, self.events.next()).await.unwrap_or(None),
        };
        let messages = match next {
            Some(Ok(batch)) => {
                self.examined = self.examined.max(batch.examined.min(self.wanted.upto));
                let upto = self.wanted.upto;
                let wanted: Vec<_> = batch.events.iter().filter(|event| event.position <= upto).collect();
                self.sent += wanted.len() as u64;
                let mut messages: Vec<_> = wanted.into_iter().map(|event| self.event(event)).collect();
                let waited = self.until.is_some() && !messages.is_empty();
                if waited || batch.examined >= upto {
                    messages.push(self.end());
                }
                messages
            }
            Some(Err(refusal)) => {
                tracing::error!(code = %refusal.code, detail = %refusal.detail, "a replay of events failed");
                self.over = true;
                vec![crate::service::refused(self.to.clone(), &refusal)]
            }
            None => match self.at_the_end().await {
                Ok(true) => vec![],
                Ok(false) => vec![self.end()],
                Err(refusal) => {
                    self.over = true;
                    vec![crate::service::refused(self.to.clone(), &refusal)]
                }
            },
        };
        Some((messages, self))
    }

    /// Goes on, where somebody wants to wait and has got nothing yet.
    async fn at_the_end(&mut self) -> Result<bool, Refusal> {
        if Some(self.sent) < self.wanted.filter.limit {
            // All of the log was looked at, also where its last events match nothing.
            self.examined = self.examined.max(self.head.min(self.wanted.upto));
        }
        let done = self.sent > 0 || self.examined >= self.wanted.upto;
        if done || self.until.is_some() || self.wanted.wait.is_zero() {
            return Ok(false);
        }
        let filter = GetEvents { after: Some(self.examined), ..self.wanted.filter.clone() };
        self.events = self.bus.events(&self.caller, EventsRequest { filter, follow: true }).await?;
        self.until = Some(Instant::now() + self.wanted.wait);
        Ok(true)
    }

    /// An event as it was published, to who asked.
    fn event(&self, event: &ShownEvent) -> Outgoing {
        let mut message = published(event);
        message.headers.push(SUBJECT, std::mem::replace(&mut message.subject, self.to.clone()));
        message
    }

    fn end(&mut self) -> Outgoing {
        self.over = true;
        let headers = Headers::new().with(END, "end").with("X-Switchback-Position", self.examined.to_string());
        let body = json!({"examined": self.examined, "head": self.head.max(self.examined), "events": self.sent});
        Outgoing { subject: self.to.clone(), headers, payload: body.to_string().into() }
    }
}
