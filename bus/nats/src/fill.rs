//! Events to a NATS server: each published once, in the order of the log, after it is durable.
//!
//! ```text
//!  session: connect ──► where does the server stand? ──► Bus::events after it ──► publish, a window ahead
//!     ▲                                                                              │ confirmed, in order
//!     └── pause ◄── anything went wrong ◄────────────────────────────────────────────┘──► position
//! ```
//! With JetStream, the stream's last message says where it stands. Each message is taken only behind the one that was
//! there before it (`Nats-Expected-Last-Sequence`), so a lost confirmation or a second filler neither doubles one nor
//! leaves one out. Without, the position of a file is where the server stands, and what was confirmed after it was
//! written comes again: its position says that it is the same.
//!
//! **Invariants:** nothing is published that is not durable; nothing that is sent again overtakes, or is overtaken by,
//! what was sent before, since a session's runtime takes its connection with it; a stream of another log is left alone.

use crate::{
    Outgoing, published,
    remote::{RemoteOptions, Shared, State, ending, map, pause},
    subject::EVENTS,
};
use async_nats::{
    Client, Event, Message, StatusCode, Subscriber,
    jetstream::{
        self, ErrorCode,
        context::{CreateStreamErrorKind, RequestErrorKind},
        stream::{Config, StorageType, Stream},
    },
};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use switchback_bus::{Bus, Caller, EventStream, EventsRequest, GetEvents, ShownEvent};
use switchback_events::Position;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// So many may be on their way to the server.
const WINDOW: usize = 1024;
/// A server that confirms nothing for so long has lost it.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(10);
/// The name that a stream has unless another was given.
pub const STREAM: &str = "SWITCHBACK";
/// So often is looked whether a stream that was left alone may be filled again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// A position is written to the file after at most so long, and when the session ends.
const KEEP_WITHIN: Duration = Duration::from_millis(100);

/// Whether the server keeps the events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JetStream {
    /// It only passes them on.
    Off,
    /// In the stream [`STREAM`], where it can.
    Auto,
    /// In this stream, and nothing is published before it can.
    Named(String),
}

/// How events are published.
#[derive(Clone, Debug)]
pub struct Fill {
    /// Whether the server keeps them.
    pub jetstream: JetStream,
    /// The most bytes that a stream that we make keeps; 0 for no bound.
    pub max_bytes: u64,
    /// How long such a stream keeps an event; nothing for ever.
    pub max_age: Option<Duration>,
    /// On how many servers it is kept.
    pub replicas: usize,
    /// The file that remembers the last position that the server has confirmed.
    pub cursor: PathBuf,
}

/// Why a session ended.
enum End {
    /// We stop.
    Told,
    /// It may be better next time.
    Again(String),
    /// Only if somebody does something.
    Stopped(String),
}

impl End {
    fn again(doing: &str, why: impl std::fmt::Display) -> End {
        End::Again(format!("{doing}: {why}"))
    }
}

/// Publishes until it is told to end.
pub(crate) fn run(options: &RemoteOptions, bus: &Arc<dyn Bus>, shared: &Arc<Shared>, stopping: watch::Receiver<bool>) {
    let mut failures = 0;
    loop {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return shared.events(State::Stopped(format!("start a thread for events: {error}"))),
        };
        let before = shared.position.load(Ordering::Relaxed);
        let end = runtime.block_on(session(options, bus, shared, stopping.clone()));
        // The connection ends here, with all that it still held.
        runtime.shutdown_timeout(Duration::from_secs(1));
        if shared.position.load(Ordering::Relaxed) > before {
            failures = 0;
        }
        failures += 1;
        let wait = match end {
            End::Told => return,
            End::Again(why) => {
                shared.events(State::Waiting(why));
                pause(failures)
            }
            End::Stopped(why) => {
                shared.events(State::Stopped(why));
                LOOK_AGAIN
            }
        };
        let mut stopping = stopping.clone();
        let waiting = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let told =
            waiting.is_ok_and(|runtime| runtime.block_on(async { timeout(wait, ending(&mut stopping)).await }).is_ok());
        if told {
            return;
        }
    }
}

async fn session(
    options: &RemoteOptions,
    bus: &Arc<dyn Bus>,
    shared: &Arc<Shared>,
    mut stopping: watch::Receiver<bool>,
) -> End {
    tokio::select! {
        end = publish(options, bus, shared) => match end {
            Ok(never) => match never {},
            Err(end) => end,
        },
        () = ending(&mut stopping) => End::Told,
    }
}

async fn publish(
    options: &RemoteOptions,
    bus: &Arc<dyn Bus>,
    shared: &Arc<Shared>,
) -> Result<std::convert::Infallible, End> {
    let at = options.shown();
    let (client, mut broken) = connect(options, &at).await?;
    shared.connected();
    let inbox = client.new_inbox();
    let confirmations = client.subscribe(inbox.clone()).await.map_err(|error| End::again("subscribe", error))?;
    let mut session = Session::begin(&client, options, bus, inbox, confirmations).await?;
    let how = match &session.mode {
        Mode::Passing => format!("published to {at}"),
        Mode::Keeping { stream, .. } => format!("published to {at}, kept in the stream {stream}"),
    };
    shared.position.store(session.confirmed, Ordering::Relaxed);
    shared.events(State::Up(how));
    let filter = after(session.confirmed, None);
    let request = EventsRequest { filter, follow: true };
    let itself = Caller::administrator("system:bus");
    let mut events = bus.events(&itself, request).await.map_err(|refusal| End::Again(refusal.to_string()))?;
    loop {
        let room = session.pending.len() < WINDOW;
        let waits = !session.pending.is_empty();
        tokio::select! {
            biased;
            why = broken.recv() => return Err(End::Again(why.unwrap_or_else(|| format!("no connection to {at}")))),
            confirmed = session.confirmations.next(), if waits => {
                session.confirm(confirmed)?;
                shared.position.store(session.confirmed, Ordering::Relaxed);
            }
            batch = events.next(), if room => match batch {
                Some(Ok(batch)) => session.send(&batch.events).await?,
                Some(Err(refusal)) => return Err(End::Again(refusal.to_string())),
                None => return Err(End::Again("the log was closed".to_string())),
            },
            () = tokio::time::sleep_until(session.kept_at + KEEP_WITHIN), if session.kept < session.confirmed => {
                session.keep()?;
            }
            () = tokio::time::sleep(CONFIRMED_WITHIN), if waits => {
                return Err(End::Again(format!("{at} confirms nothing: is the stream there, and may we publish to it?")));
            }
        }
    }
}

/// A connection that does not come back by itself, and how it ends.
async fn connect(options: &RemoteOptions, at: &str) -> Result<(Client, tokio::sync::mpsc::Receiver<String>), End> {
    let (breaks, broken) = tokio::sync::mpsc::channel(4);
    let (connected, shown) = (Arc::new(AtomicBool::new(false)), at.to_string());
    let was = connected.clone();
    let connection = options.connection().map_err(|error| End::Stopped(error.to_string()))?;
    let connection = connection
        // Once it was there, the next try never comes.
        .reconnect_delay_callback(move |_| match was.load(Ordering::Relaxed) {
            true => Duration::from_secs(86_400),
            false => Duration::ZERO,
        })
        .event_callback(move |event| {
            let (breaks, shown) = (breaks.clone(), shown.clone());
            async move {
                let why = match event {
                    Event::Disconnected | Event::Closed => format!("no connection to {shown}"),
                    Event::ServerError(error) => format!("{shown} says: {error}"),
                    _ => return,
                };
                // Whoever listens has enough with the first.
                let _ = breaks.try_send(why);
            }
        });
    let addresses = options.addresses().map_err(|error| End::Stopped(error.to_string()))?;
    let client = connection.connect(addresses.as_slice()).await;
    let client = client.map_err(|error| End::Again(format!("connect to {at}: {error}")))?;
    connected.store(true, Ordering::Relaxed);
    Ok((client, broken))
}

/// What the server does with events.
enum Mode {
    Passing,
    /// Each is the next of a stream whose last message had this sequence when the session began.
    Keeping {
        stream: String,
        created: String,
        begin: u64,
    },
}

/// What the file remembers.
#[derive(Serialize, Deserialize, Default, PartialEq, Debug)]
struct Cursor {
    position: Position,
    /// Of the stream that has it, when that was made, and its number there.
    #[serde(default)]
    stream: Option<(String, String, u64)>,
}

struct Session {
    client: Client,
    mode: Mode,
    inbox: String,
    confirmations: Subscriber,
    /// Sent and not confirmed, in order: the positions that a confirmation is awaited of.
    pending: VecDeque<Position>,
    /// Sent in this session.
    sent: u64,
    /// Confirmed in this session.
    taken: u64,
    confirmed: Position,
    kept: Position,
    kept_at: Instant,
    cursor: PathBuf,
}

impl Session {
    /// Finds out where the server stands.
    async fn begin(
        client: &Client,
        options: &RemoteOptions,
        bus: &Arc<dyn Bus>,
        inbox: String,
        confirmations: Subscriber,
    ) -> Result<Session, End> {
        let fill = &options.fill;
        let known =
            read(&fill.cursor).map_err(|error| End::Stopped(format!("read `{}`: {error}", fill.cursor.display())))?;
        let stream = provide(client, fill).await?;
        let head = bus.head().await;
        let (mode, position) = match stream {
            None => (Mode::Passing, passed(known.as_ref(), head)),
            Some(stream) => stands(&stream, known.as_ref(), bus, head).await?,
        };
        let mut session = Session {
            client: client.clone(),
            mode,
            inbox,
            confirmations,
            pending: VecDeque::new(),
            sent: 0,
            taken: 0,
            confirmed: position,
            kept: position,
            kept_at: Instant::now(),
            cursor: fill.cursor.clone(),
        };
        session.keep()?;
        Ok(session)
    }

    /// Publishes a batch.
    async fn send(&mut self, events: &[ShownEvent]) -> Result<(), End> {
        for event in events {
            let Outgoing { subject, headers, payload } = published(event);
            let mut headers = map(headers);
            let sent = match &self.mode {
                Mode::Passing => self.client.publish_with_headers(subject, headers, payload).await,
                Mode::Keeping { stream, begin, .. } => {
                    headers.insert("Nats-Expected-Stream", stream.as_str());
                    headers.insert("Nats-Expected-Last-Sequence", (begin + self.sent).to_string().as_str());
                    self.pending.push_back(event.position);
                    let reply = self.inbox.clone();
                    self.client.publish_with_reply_and_headers(subject, reply, headers, payload).await
                }
            };
            sent.map_err(|error| End::again("publish an event", error))?;
            self.sent += 1;
        }
        let last = events.last().map(|event| event.position);
        if let (Mode::Passing, Some(position)) = (&self.mode, last) {
            // Behind all of them, and back to us: when it is here, they have gone through the server.
            self.pending.push_back(position);
            let sent = self.client.publish(self.inbox.clone(), position.to_string().into()).await;
            sent.map_err(|error| End::again("publish an event", error))?;
        }
        Ok(())
    }

    /// The server says something of the first that is pending.
    fn confirm(&mut self, message: Option<Message>) -> Result<(), End> {
        let Some(message) = message else { return Err(End::Again("the connection was closed".to_string())) };
        let Some(position) = self.pending.pop_front() else {
            return Err(End::Again("a confirmation of nothing".to_string()));
        };
        if let Mode::Keeping { stream, begin, .. } = &self.mode {
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                return Err(End::Again(format!("the stream {stream} is gone")));
            }
            let said: Confirmation = serde_json::from_slice(&message.payload).unwrap_or_default();
            let expected = begin + self.taken + 1;
            if let Some(error) = said.error {
                return Err(End::Again(format!("the stream {stream} takes no event: {}", error.description)));
            }
            if said.seq != expected || said.duplicate {
                let why = format!("event {position} is message {} of the stream {stream}, not {expected}", said.seq);
                return Err(End::Again(why));
            }
        }
        self.taken += 1;
        self.confirmed = position;
        Ok(())
    }

    /// Remembers where the server stands.
    fn keep(&mut self) -> Result<(), End> {
        let stream = match &self.mode {
            Mode::Passing => None,
            Mode::Keeping { stream, created, begin } => Some((stream.clone(), created.clone(), begin + self.taken)),
        };
        let cursor = Cursor { position: self.confirmed, stream };
        (self.kept, self.kept_at) = (self.confirmed, Instant::now());
        write(&self.cursor, &cursor).map_err(|error| End::Again(format!("write `{}`: {error}", self.cursor.display())))
    }
}

impl Drop for Session {
    /// Nothing comes again after an orderly end.
    fn drop(&mut self) {
        if self.kept < self.confirmed
            && let Err(End::Again(why)) = self.keep()
        {
            tracing::warn!("NATS: {why}");
        }
    }
}

/// What a stream answers a message.
#[derive(Deserialize, Default)]
struct Confirmation {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    error: Option<Said>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    description: String,
}

/// The stream, made where there is none; nothing where events are only passed on.
async fn provide(client: &Client, fill: &Fill) -> Result<Option<Stream>, End> {
    let name = match &fill.jetstream {
        JetStream::Off => return Ok(None),
        JetStream::Auto => STREAM,
        JetStream::Named(name) => name,
    };
    let context = jetstream::new(client.clone());
    let config = Config {
        name: name.to_string(),
        subjects: vec![format!("{EVENTS}>")],
        storage: StorageType::File,
        max_bytes: i64::try_from(fill.max_bytes).ok().filter(|bytes| *bytes > 0).unwrap_or(-1),
        max_age: fill.max_age.unwrap_or_default(),
        num_replicas: fill.replicas,
        description: Some("The events of Switchback, in the order of its log".to_string()),
        ..Config::default()
    };
    let failed = match context.get_or_create_stream(config).await {
        Ok(stream) => return Ok(Some(stream)),
        Err(failed) => failed,
    };
    let absent = match failed.kind() {
        CreateStreamErrorKind::JetStreamUnavailable => true,
        CreateStreamErrorKind::JetStream(error) => {
            matches!(
                error.error_code(),
                ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT
            )
        }
        CreateStreamErrorKind::Response => matches!(no_responders(&failed), Some(RequestErrorKind::NoResponders)),
        _ => false,
    };
    match &fill.jetstream {
        JetStream::Auto if absent => Ok(None),
        _ => Err(End::Again(format!("provide the stream {name}: {failed}"))),
    }
}

fn no_responders(error: &jetstream::context::CreateStreamError) -> Option<RequestErrorKind> {
    let source = std::error::Error::source(error)?;
    source.downcast_ref::<jetstream::context::RequestError>().map(|error| error.kind())
}

/// Where a server stands that only passes events on: where the file says; without one, at the end of the log.
fn passed(known: Option<&Cursor>, head: Position) -> Position {
    match known {
        Some(known) if known.position > head => {
            tracing::warn!(position = known.position, head, "NATS: the log was set back: events go on from its end");
            head
        }
        Some(known) => known.position,
        None => head,
    }
}

/// Where a stream stands.
async fn stands(
    stream: &Stream,
    known: Option<&Cursor>,
    bus: &Arc<dyn Bus>,
    head: Position,
) -> Result<(Mode, Position), End> {
    let info = stream.cached_info();
    let (name, last) = (info.config.name.clone(), info.state.last_sequence);
    let created = info.created.unix_timestamp_nanos().to_string();
    let subjects = format!("{EVENTS}>");
    if !info.config.subjects.contains(&subjects) {
        return Err(End::Stopped(format!(
            "the stream {name} has the subjects {}: it must have {subjects}",
            info.config.subjects.join(", ")
        )));
    }
    let mode = Mode::Keeping { stream: name.clone(), created: created.clone(), begin: last };
    if last == 0 {
        return Ok((mode, 0));
    }
    let message = match stream.get_raw_message(last).await {
        Ok(message) => message,
        Err(error) if error.kind() == jetstream::stream::LastRawMessageErrorKind::NoMessageFound => {
            // Its limits or somebody took it away: then only we know what it was.
            return match known.map(|known| (known.position, &known.stream)) {
                Some((position, Some((at, made, number)))) if (at, made, *number) == (&name, &created, last) => {
                    Ok((mode, position))
                }
                _ => Err(End::Stopped(format!(
                    "the last message of the stream {name}, {last}, is no longer in it, so nobody knows where it \
                     stands: delete the stream, and it is filled from the begin of the log"
                ))),
            };
        }
        Err(error) => return Err(End::again("read the last message of the stream", error)),
    };
    let said = message.headers.get("Nats-Msg-Id").and_then(|id| id.as_str().parse::<Position>().ok());
    let Some(position) = said.filter(|position| *position > 0) else {
        return Err(End::Stopped(format!(
            "message {last} of the stream {name}, on {}, is no event of ours: delete the stream, or let nobody else \
             publish to {subjects}",
            message.subject
        )));
    };
    let other = || {
        End::Stopped(format!(
            "the stream {name} is of another log: its last message is event {position}, and ours ends at {head} or has \
             another there; name another stream, or delete this one and it is filled from the begin of the log"
        ))
    };
    if position > head {
        return Err(other());
    }
    let ours = event_at(bus, position).await?;
    let time = message.headers.get("ce-time").map(|time| time.as_str().to_string());
    let known_by = |ours: &Outgoing| (ours.subject.clone(), ours.headers.all("ce-time").next().map(str::to_string));
    if ours.as_ref().map(known_by) != Some((message.subject.to_string(), time)) {
        return Err(other());
    }
    Ok((mode, position))
}

/// What we publish of a position.
async fn event_at(bus: &Arc<dyn Bus>, position: Position) -> Result<Option<Outgoing>, End> {
    let filter = after(position - 1, Some(1));
    let itself = Caller::administrator("system:bus");
    let events = bus.events(&itself, EventsRequest { filter, follow: false }).await;
    let mut events: EventStream = events.map_err(|refusal| End::Again(refusal.to_string()))?;
    while let Some(batch) = events.next().await {
        let batch = batch.map_err(|refusal| End::Again(refusal.to_string()))?;
        if let Some(event) = batch.events.first() {
            return Ok(Some(published(event)).filter(|_| event.position == position));
        }
    }
    Ok(None)
}

fn after(position: Position, limit: Option<u64>) -> GetEvents {
    GetEvents {
        after: Some(position),
        limit,
        resource: None,
        kind: None,
        principal: None,
        command: None,
        correlation: None,
        since: None,
        until: None,
        newest: None,
    }
}

fn read(path: &Path) -> io::Result<Option<Cursor>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whole or not at all, as far as the process may be killed; not synced: after a power loss some events come again.
fn write(path: &Path, cursor: &Cursor) -> io::Result<()> {
    let draft = path.with_extension("draft");
    fs::write(&draft, serde_json::to_vec(cursor)?)?;
    fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_remembers_and_one_that_is_broken_is_said_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("published");
        assert_eq!(read(&path).unwrap(), None);
        let cursor = Cursor { position: 7, stream: Some(("S".to_string(), "1".to_string(), 3)) };
        write(&path, &cursor).unwrap();
        assert_eq!(read(&path).unwrap(), Some(cursor));
        fs::write(&path, "7").unwrap();
        assert!(read(&path).is_err());
    }

    #[test]
    fn what_is_only_passed_on_begins_at_the_end_and_goes_on_where_it_was() {
        let at = |position| Cursor { position, stream: None };
        assert_eq!(passed(None, 9), 9);
        assert_eq!(passed(Some(&at(4)), 9), 4);
        assert_eq!(passed(Some(&at(12)), 9), 9, "the log was restored to an earlier moment");
    }
}
