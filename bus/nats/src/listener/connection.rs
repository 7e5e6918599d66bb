//! One connection: one task that reads and writes.
//!
//! ```text
//!  socket ──► parser ──► operation ──► request ──► a task of its own ──► Service ──► reply ─┐
//!    ▲                        └──────► subscription ──► hub ──► event ────────────────┐     │
//!    └──────────────────────────────── outbox ◄───────────────────────────────────────┴─────┘
//! ```
//! **Invariant:** while it says nothing it has no buffer. Nobody waits for its reader.

use super::{
    Shared,
    hub::following,
    login::{self, Entry},
    outbox::{Chunks, Outbox, State},
    protocol::{Hello, Lengths, Message, Op, Parser},
    subscriptions::{Peer, Rendered},
};
use crate::{
    Request,
    service::refused,
    subject::{self, ALL_EVENTS, Asked},
};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use std::{
    future::poll_fn,
    io::{self, IoSlice},
    mem::MaybeUninit,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use switchback_bus::{Refusal, RefusalKind, code};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::Instant,
};

/// What is read at a time.
const READ: usize = 16 << 10;
/// So many chunks are written at a time.
const WRITE: usize = 64;
/// The time for a last word.
const LAST: Duration = Duration::from_secs(2);
/// How often it is looked at whether a connection still may what it does.
const LOOK: Duration = Duration::from_secs(1);
/// So many questions whether it is there may be without an answer.
const UNANSWERED: u32 = 2;
/// A client that is one too many in flight may try again after so long.
const RETRY_SECONDS: u64 = 1;

/// What a connection reads and writes.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// One connection.
pub(super) struct Connection {
    shared: Arc<Shared>,
    from: SocketAddr,
    nonce: String,
    peer: Arc<Peer>,
    hello: Option<Box<Hello>>,
    entry: Entry,
    /// It hears events, or has a session: it is looked at from time to time whether it still may.
    looked_at: Option<Instant>,
    /// It hears events.
    hears: bool,
    /// Requests that are being answered.
    in_flight: Arc<AtomicUsize>,
    unanswered: u32,
}

/// The connection ends, and this is its last word.
struct End(String);

impl From<&str> for End {
    fn from(word: &str) -> End {
        End(word.to_string())
    }
}

impl Connection {
    /// From this address, with this number.
    pub fn new(shared: Arc<Shared>, from: SocketAddr, id: u64) -> Connection {
        let outbox = Outbox::new(shared.options.limits.pending, shared.figures.held.clone());
        let counts = [shared.figures.subscriptions.clone(), shared.figures.messages_out.clone()];
        Connection {
            shared,
            from,
            nonce: login::nonce(),
            peer: Arc::new(Peer::new(id, outbox, counts)),
            hello: None,
            entry: Entry::default(),
            looked_at: None,
            hears: false,
            in_flight: Arc::default(),
            unanswered: 0,
        }
    }

    /// What it is as others see it.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// What the server says of itself.
    pub fn info(&self, more: &[(&str, Value)]) -> String {
        let Shared { options, address, server, .. } = &*self.shared;
        let mut info = Map::new();
        let mut say = |name: &str, value: Value| drop(info.insert(name.to_string(), value));
        say("server_id", json!(server));
        say("server_name", json!("switchback"));
        say("version", json!(VERSION));
        say("proto", json!(1));
        say("host", json!(address.ip()));
        say("port", json!(address.port()));
        say("headers", json!(true));
        say("auth_required", json!(true));
        if options.tls.is_some() {
            say("tls_required", json!(true));
            say("tls_available", json!(true));
        }
        say("max_payload", json!(options.limits.payload));
        say("client_id", json!(self.peer.id));
        say("client_ip", json!(self.from.ip()));
        say("nonce", json!(self.nonce));
        for (name, value) in more {
            say(name, value.clone());
        }
        format!("INFO {}\r\n", Value::from(info))
    }

    /// Serves until either side ends it.
    pub async fn serve(mut self, mut wire: impl Wire) {
        let (mut parser, mut read, mut chunks) = (Parser::default(), BytesMut::new(), Chunks::default());
        if let Err(End(word)) = self.talk(&mut wire, &mut parser, &mut read, &mut chunks).await {
            self.peer.outbox.end(&word);
        }
        self.shared.hub.leave(self.peer.id);
        // Where the client has gone: whoever still has something for it need not wait.
        self.peer.outbox.end("");
        if self.peer.outbox.state() == State::Slow {
            self.shared.figures.slow.fetch_add(1, Ordering::Relaxed);
            tracing::info!(from = %self.from, "a client of the bus reads too slowly: cut off");
        }
        self.peer.outbox.take(&mut chunks);
        let _ = tokio::time::timeout(LAST, async {
            wire.write_all_buf(&mut chunks).await?;
            wire.shutdown().await
        })
        .await;
        drop(wire);
        login::leave(self.entry, &self.shared.service).await;
    }

    async fn talk(
        &mut self,
        wire: &mut impl Wire,
        parser: &mut Parser,
        read: &mut BytesMut,
        chunks: &mut Chunks,
    ) -> Result<(), End> {
        let limits = self.shared.options.limits;
        let lengths = Lengths { line: limits.line, payload: limits.payload };
        let mut stopping = self.shared.stopping.clone();
        let mut told = false;
        // It must have said who it is by then; later: it is asked whether it is there.
        let mut due = Instant::now() + limits.connect;
        let mut begun: Option<Instant> = None;
        let (mut unflushed, mut stops, mut turn) = (false, None, false);
        let mut ends: Option<Instant> = None;
        loop {
            let state = self.peer.outbox.take(chunks);
            if state == State::Slow || (state == State::Ending && !chunks.has_remaining()) {
                return Ok(());
            }
            if state == State::Ending && *ends.get_or_insert_with(|| Instant::now() + LAST) <= Instant::now() {
                return Ok(());
            }
            let next = begun.map_or(due, |begun| due.min(begun + limits.say));
            let next = ends.map_or(next, |ends| next.min(ends));
            let next = stops.filter(|_| ends.is_none()).map_or(next, |stops: Instant| next.min(stops));
            let next = self.looked_at.map_or(next, |look| next.min(look));
            tokio::select! {
                moved = exchange(wire, (state == State::Open).then_some(&mut *read), chunks, unflushed, turn) => match moved {
                    Moved::Read(Ok(0)) | Moved::Written(Ok(0)) => return Ok(()),
                    Moved::Read(Err(_)) | Moved::Written(Err(_)) | Moved::Flushed(Err(_)) => return Ok(()),
                    Moved::Written(Ok(count)) => {
                        self.peer.outbox.out(count);
                        (unflushed, turn) = (true, true);
                    }
                    Moved::Flushed(Ok(())) => unflushed = false,
                    Moved::Read(Ok(count)) => {
                        turn = false;
                        self.shared.figures.bytes_in.fetch_add(count as u64, Ordering::Relaxed);
                        while let Some(op) = parser.next(read, lengths).map_err(|fault| End::from(fault.words()))? {
                            begun = None;
                            let known = self.hello.is_some();
                            self.carry_out(op).await?;
                            if !known && self.hello.is_some() {
                                due = Instant::now() + limits.ping;
                            }
                        }
                        begun = parser.is_within(read).then(|| begun.unwrap_or_else(Instant::now));
                        if read.is_empty() {
                            *read = BytesMut::new();
                        }
                    }
                },
                () = self.peer.outbox.filled() => {}
                () = async { drop(stopping.wait_for(|stopping| *stopping).await) }, if !told => {
                    told = true;
                    stops = Some(Instant::now() + limits.stop);
                    self.say(self.info(&[("ldm", json!(true))]));
                }
                () = tokio::time::sleep_until(next) => {}
            }
            let now = Instant::now();
            if told && (self.in_flight.load(Ordering::Acquire) == 0 || stops.is_some_and(|stops| stops <= now)) {
                self.peer.outbox.end("");
            }
            if begun.is_some_and(|begun| begun + limits.say <= now) {
                return Err("Stale Connection".into());
            }
            if self.looked_at.is_some_and(|look| look <= now) {
                self.still_may().await?;
            }
            if due <= now {
                match self.hello {
                    None => return Err("Authentication Timeout".into()),
                    Some(_) if self.unanswered >= UNANSWERED => return Err("Stale Connection".into()),
                    Some(_) => {
                        self.unanswered += 1;
                        self.say("PING\r\n");
                        due = now + limits.ping;
                    }
                }
            }
        }
    }

    fn say(&self, text: impl Into<Bytes>) {
        self.peer.outbox.push([text.into()]);
    }

    /// A word of what is wrong that does not end the connection.
    fn err(&self, word: &str) {
        self.say(format!("-ERR '{word}'\r\n"));
    }

    async fn carry_out(&mut self, op: Op) -> Result<(), End> {
        let Some(hello) = self.hello.as_deref() else {
            return match op {
                Op::Connect(hello) => self.connect(hello).await,
                Op::Ping => {
                    self.say("PONG\r\n");
                    Ok(())
                }
                Op::Pong | Op::Nothing => Ok(()),
                _ => Err("Authorization Violation".into()),
            };
        };
        let (verbose, pedantic) = (hello.verbose, hello.pedantic);
        match op {
            Op::Ping => {
                self.say("PONG\r\n");
                return Ok(());
            }
            Op::Pong => {
                self.unanswered = 0;
                return Ok(());
            }
            Op::Nothing => return Ok(()),
            // Whoever has come in stays who it is.
            Op::Connect(_) => {}
            Op::Sub { subject, queue, sid } => {
                if !self.subscribe(&subject, queue.as_deref(), &sid).await {
                    return Ok(());
                }
            }
            Op::Unsub { sid, max } => {
                if let Some(serial) = self.peer.unsubscribe(&sid, max) {
                    self.shared.hub.unsubscribe(self.peer.id, serial);
                }
            }
            Op::Pub(message) => {
                self.shared.figures.messages_in.fetch_add(1, Ordering::Relaxed);
                if pedantic && !subject::is_literal(&message.subject) {
                    self.err("Invalid Publish Subject");
                }
                return self.publish(message);
            }
        }
        if verbose {
            self.say("+OK\r\n");
        }
        Ok(())
    }

    async fn connect(&mut self, hello: Box<Hello>) -> Result<(), End> {
        if hello.no_responders && !hello.headers {
            return Err("no responders requires headers support".into());
        }
        let Shared { options, service, .. } = &*self.shared;
        if hello.jwt.as_deref().is_some_and(|jwt| !jwt.is_empty()) {
            // Whoever sends one finds out what would be right.
            self.err("JWT is not known here: come in by a token, a user with a password, or an nkey");
        }
        let entry = login::enter(&hello, &self.nonce, self.from.ip(), options, service).await;
        self.entry = entry.ok_or(End::from("Authorization Violation"))?;
        if self.entry.session {
            self.looked_at = Some(Instant::now() + LOOK);
        }
        self.peer.reads_headers(hello.headers);
        if hello.verbose {
            self.say("+OK\r\n");
        }
        self.hello = Some(hello);
        Ok(())
    }

    /// Whether it did.
    async fn subscribe(&mut self, subject: &str, queue: Option<&str>, sid: &str) -> bool {
        let limits = &self.shared.options.limits;
        if !subject::is_pattern(subject) {
            self.err("Invalid Subject");
            return false;
        }
        let events = subject::overlap(subject, ALL_EVENTS);
        let refused = match events {
            true => self.may_follow().await.err().map(|refusal| refusal.detail),
            // Whatever else is below these is nothing that anybody says here.
            false => (subject.starts_with("switchback.") || subject.starts_with('$') || subject == "switchback")
                .then(|| format!("only events can be heard, on {ALL_EVENTS}, and replies, on an inbox")),
        };
        if let Some(why) = refused {
            let using = queue.map(|queue| format!(" using queue \"{queue}\"")).unwrap_or_default();
            self.err(&format!("Permissions Violation for Subscription to \"{subject}\"{using}: {}", plain(&why)));
            return false;
        }
        if self.peer.count() >= limits.subscriptions {
            self.err("maximum subscriptions exceeded");
            return false;
        }
        let Some(serial) = self.peer.subscribe(sid, subject, queue) else { return true };
        if events {
            let account = self.entry.token.as_deref().and_then(|token| self.shared.service.caller(token).ok());
            let account = account.and_then(|caller| caller.account);
            let group = queue.map(|queue| (account, queue.into()));
            self.hears = true;
            self.looked_at.get_or_insert_with(|| Instant::now() + LOOK);
            self.shared.hub.subscribe(&self.peer, sid, serial, subject, group);
        }
        true
    }

    /// Ends the connection when it may not any more what it has begun.
    async fn still_may(&mut self) -> Result<(), End> {
        let token = self.entry.token.as_deref();
        let known = token.is_none_or(|token| self.shared.service.caller(token).is_ok());
        if !known || (self.hears && self.may_follow().await.is_err()) {
            return Err("User Authentication Revoked".into());
        }
        self.looked_at = Some(Instant::now() + LOOK);
        Ok(())
    }

    /// Whether it may follow the events over HTTP.
    async fn may_follow(&self) -> Result<(), Refusal> {
        let Shared { service, head, .. } = &*self.shared;
        let token = self.entry.token.as_deref().ok_or_else(|| {
            Refusal::new(RefusalKind::Unauthenticated, code::INVALID_SESSION, "the events need an account")
        })?;
        let caller = service.caller(token)?;
        // What nobody polls reads nothing.
        service.bus().events(&caller, following(head())?).await.map(drop)
    }

    fn publish(&mut self, message: Message) -> Result<(), End> {
        let limits = &self.shared.options.limits;
        let hello = self.hello.as_deref();
        if hello.is_some_and(|hello| !hello.headers) && message.headers > 0 {
            return Err("message headers not supported".into());
        }
        if Asked::of(&message.subject).is_none() {
            let subject = &message.subject;
            let right = "requests go to switchback.cmd.<Name>, switchback.query.<Name> and switchback.events.replay";
            self.err(&format!("Permissions Violation for Publish to \"{subject}\": {right}"));
            if let Some(reply) = message.reply.filter(|_| hello.is_some_and(|hello| hello.no_responders)) {
                self.peer.answer(&Rendered::no_responders(&reply, subject));
            }
            return Ok(());
        }
        if hello.is_some_and(|hello| hello.verbose) {
            self.say("+OK\r\n");
        }
        let reply = message.reply.as_deref().unwrap_or_default().to_string();
        if self.in_flight.load(Ordering::Acquire) >= limits.requests {
            self.peer.answer(&Rendered::new(refused(reply, &too_many(limits.requests))));
            return Ok(());
        }
        let Some((headers, payload)) = message.parts() else {
            let right = "lines of `name: value` behind NATS/1.0, each ended by CR and LF, and an empty one";
            self.peer.answer(&Rendered::new(refused(reply, &Refusal::argument("headers", "", right))));
            return Ok(());
        };
        let request = Request {
            subject: message.subject.into(),
            reply: message.reply.map(String::from),
            headers,
            payload,
            token: self.entry.token.clone(),
            peer: Some(self.from.ip()),
        };
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        let place = Place { in_flight: self.in_flight.clone(), peer: self.peer.clone() };
        let mut replies = self.shared.service.clone().answer(request);
        tokio::spawn(async move {
            while let Some(reply) = replies.next().await {
                place.peer.answer(&Rendered::new(reply));
                // A replay has many, and its reader is not to blame for how fast the log is read.
                if !place.peer.outbox.room().await {
                    break;
                }
            }
            drop(place);
        });
        Ok(())
    }
}

/// What is said to clients: the version of the well-known server whose protocol this is, and ours.
const VERSION: &str = concat!("2.10.0-switchback.", env!("CARGO_PKG_VERSION"));

/// A request that is being answered, while this lives.
struct Place {
    in_flight: Arc<AtomicUsize>,
    peer: Arc<Peer>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.peer.outbox.look();
    }
}

fn too_many(most: usize) -> Refusal {
    let detail = format!("more than {most} requests of one connection are being answered");
    let refusal = Refusal::new(RefusalKind::Busy, code::BUSY, detail).hint("wait for replies before asking for more");
    Refusal { retry_after_secs: Some(RETRY_SECONDS), ..refusal }
}

/// A text as it may stand in an error: it ends at an apostrophe.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).map(|c| if matches!(c, '\'' | '"') { '`' } else { c }).collect()
}

/// What was moved between a socket and what is kept for it.
enum Moved {
    Read(io::Result<usize>),
    Written(io::Result<usize>),
    Flushed(io::Result<()>),
}

/// Reads to the end of `to`, which is not asked for room before there is something, or writes of `chunks`: whichever can be,
/// and of both the one whose `turn` it is.
async fn exchange(
    wire: &mut impl Wire,
    mut to: Option<&mut BytesMut>,
    chunks: &mut Chunks,
    unflushed: bool,
    turn: bool,
) -> Moved {
    poll_fn(|context| {
        for reads in [turn, !turn] {
            let polled = match (reads, to.as_deref_mut()) {
                (true, Some(to)) => poll_read(wire, to, context).map(Moved::Read),
                (true, None) => Poll::Pending,
                (false, _) if chunks.has_remaining() => {
                    let mut slices = [IoSlice::new(&[]); WRITE];
                    let count = chunks.chunks_vectored(&mut slices);
                    let slices = slices.get(..count).unwrap_or_default();
                    let written = Pin::new(&mut *wire).poll_write_vectored(context, slices);
                    if let Poll::Ready(Ok(count)) = &written {
                        chunks.advance(*count);
                    }
                    written.map(Moved::Written)
                }
                (false, _) if unflushed => Pin::new(&mut *wire).poll_flush(context).map(Moved::Flushed),
                (false, _) => Poll::Pending,
            };
            if polled.is_ready() {
                return polled;
            }
        }
        Poll::Pending
    })
    .await
}

fn poll_read(wire: &mut impl Wire, to: &mut BytesMut, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut room = [MaybeUninit::uninit(); READ];
    let mut room = ReadBuf::uninit(&mut room);
    Pin::new(wire).poll_read(context, &mut room).map_ok(|()| {
        to.extend_from_slice(room.filled());
        room.filled().len()
    })
}
