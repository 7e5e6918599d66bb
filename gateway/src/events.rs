//! `GET /v1/events`: one page as JSON, all that is asked as lines, or a stream of server-sent events.
//!
//! ```text
//!  Bus::events ──► pump ──► channel of one chunk ──► response body ──► socket
//!                   │ heartbeats                        │ polled only when the socket takes more
//!                   └─ cut off: nothing was taken for too long, so the connection is shut down
//! ```
//! Nothing is read from the log that a reader has no room for, and a heartbeat carries the position that was
//! examined: a reader for whom nothing matches still moves on.

use crate::{Caller, Gateway, Problem, message, parameters::Parameters, query};
use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    rt::{net::TcpStream, time},
    web,
};
use futures_util::{StreamExt, stream};
use serde_json::{Map, Value, json};
use std::{any::Any, fmt::Write, net::Shutdown, os::fd::AsFd, sync::Arc, time::Duration};
use switchback_bus::{EventBatch, EventStream, EventsRequest, GetEvents, MessageKind, Read, Refusal, ShownEvent, read};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

const NDJSON: &str = "application/x-ndjson";
const SSE: &str = "text/event-stream";
/// How soon a reader that was cut off should come again.
const RETRY_MS: u64 = 1000;

/// How event streams keep time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamTimes {
    /// A reader that gets nothing hears at least so often how far the log was looked at.
    pub heartbeat: Duration,
    /// A reader that takes nothing for so long is cut off.
    pub cut_off: Duration,
}

impl Default for StreamTimes {
    fn default() -> StreamTimes {
        StreamTimes { heartbeat: Duration::from_secs(5), cut_off: Duration::from_secs(30) }
    }
}

/// Events in the form that `Accept` asks for.
pub(crate) async fn get(
    gateway: web::Data<Gateway>,
    caller: web::ReqData<Caller>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let accept = accept(&request);
    let form = match () {
        () if accept.contains(SSE) => Form::Sse,
        () if accept.contains(NDJSON) => Form::Lines,
        () => {
            let message = message::find("GetEvents", &[MessageKind::Read])?;
            let reply = query::read(&gateway, &caller, message, Parameters::of(&request)?, Map::new()).await?;
            return Ok(query::response(&reply));
        }
    };
    let mut filter = filter(&request)?;
    if form == Form::Sse
        && let Some(last) = last_event_id(&request)?
    {
        // A browser that comes again asks with the address of its first time.
        filter.after = Some(last);
    }
    let after = filter.after.unwrap_or(0);
    let events = gateway.bus.events(&caller, EventsRequest { filter, follow: form == Form::Sse }).await?;
    let (sender, mut receiver) = mpsc::channel(1);
    let pump = Pump {
        form,
        sender,
        examined: after,
        times: gateway.times,
        ending: gateway.ending.subscribe(),
        connection: request.conn_data::<Connection>().cloned(),
    };
    actix_web::rt::spawn(pump.run(events));
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, form.media_type())).insert_header(("X-Accel-Buffering", "no"));
    Ok(response.streaming(stream::poll_fn(move |context| receiver.poll_recv(context))))
}

fn filter(request: &HttpRequest) -> Result<GetEvents, Problem> {
    let message = message::find("GetEvents", &[MessageKind::Read])?;
    let mut parameters = Parameters::of(request)?;
    parameters.number("minPosition")?;
    let parameters = message::coerce(message, parameters.rest())?;
    match read(message.name, &Value::Object(parameters))? {
        Read::GetEvents(filter) => Ok(filter),
        _ => Err(Refusal::internal("the read of events is another one").into()),
    }
}

fn last_event_id(request: &HttpRequest) -> Result<Option<u64>, Problem> {
    let Some(given) = request.headers().get("Last-Event-ID") else { return Ok(None) };
    let text = given.to_str().unwrap_or_default();
    match text.parse::<u64>() {
        Ok(position) if position <= i64::MAX as u64 => Ok(Some(position)),
        _ => Err(Refusal::argument("Last-Event-ID", text, "the id of an event of this stream: a position").into()),
    }
}

fn accept(request: &HttpRequest) -> String {
    let given = request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    given.collect::<Vec<_>>().join(",").to_ascii_lowercase()
}

/// The connection that a request came on: the way to end it when its reader takes nothing any more.
#[derive(Clone)]
pub(crate) struct Connection(Arc<std::net::TcpStream>);

impl Connection {
    /// Of what actix-web accepted.
    pub(crate) fn of(accepted: &dyn Any) -> Option<Connection> {
        let plain = accepted.downcast_ref::<TcpStream>();
        let accepted = plain.or_else(|| Some(accepted.downcast_ref::<TlsStream<TcpStream>>()?.get_ref().0))?;
        let descriptor = accepted.as_fd().try_clone_to_owned().ok()?;
        Some(Connection(Arc::new(descriptor.into())))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Lines,
    Sse,
}

impl Form {
    fn media_type(self) -> &'static str {
        match self {
            Form::Lines => NDJSON,
            Form::Sse => SSE,
        }
    }

    fn batch(self, events: &[ShownEvent]) -> String {
        let mut text = String::new();
        for ShownEvent { position, kind, text: event, .. } in events {
            // Writing to a String cannot fail.
            let _ = match self {
                Form::Lines => writeln!(text, "{event}"),
                Form::Sse => write!(text, "id: {position}\nevent: {kind}\ndata: {event}\n\n"),
            };
        }
        text
    }
}

/// An event of the stream itself, by which a reader's cursor moves, too.
fn own(event: &str, position: u64) -> String {
    format!("id: {position}\nevent: {event}\ndata: {}\n\n", json!({"position": position}))
}

/// The reader has gone, or takes nothing.
struct Gone;

/// Waits until event streams are to end.
async fn stopping(ending: &mut watch::Receiver<bool>) {
    let _ = ending.wait_for(|ending| *ending).await;
}

type Chunk = Result<web::Bytes, Problem>;

/// Moves events from the bus to one reader.
struct Pump {
    form: Form,
    sender: mpsc::Sender<Chunk>,
    examined: u64,
    times: StreamTimes,
    ending: watch::Receiver<bool>,
    connection: Option<Connection>,
}

impl Pump {
    async fn run(mut self, events: EventStream) {
        // Whoever it was that ended it, there is nobody left to tell.
        let _: Result<(), Gone> = self.pump(events).await;
    }

    async fn pump(&mut self, mut events: EventStream) -> Result<(), Gone> {
        if self.form == Form::Sse {
            self.send(Ok(format!("retry: {RETRY_MS}\n\n"))).await?;
        }
        let mut beat = Instant::now() + self.times.heartbeat;
        let (reader, mut ending) = (self.sender.clone(), self.ending.clone());
        loop {
            let next = tokio::select! {
                next = events.next() => next,
                () = time::sleep_until(beat), if self.form == Form::Sse => {
                    self.send(Ok(own("heartbeat", self.examined))).await?;
                    beat = Instant::now() + self.times.heartbeat;
                    continue;
                }
                () = reader.closed() => return Err(Gone),
                // The server stops: the reader comes again, to the next one.
                () = stopping(&mut ending) => return Ok(()),
            };
            match next {
                Some(Ok(batch)) => {
                    if self.give(&batch).await? {
                        beat = Instant::now() + self.times.heartbeat;
                    }
                }
                Some(Err(refusal)) => return self.refuse(refusal).await,
                None => return self.end().await,
            }
        }
    }

    /// Whether there was anything to send.
    async fn give(&mut self, batch: &EventBatch) -> Result<bool, Gone> {
        self.examined = self.examined.max(batch.examined);
        if batch.events.is_empty() {
            return Ok(false);
        }
        self.send(Ok(self.form.batch(&batch.events))).await?;
        Ok(true)
    }

    /// All that was asked for was given.
    async fn end(&mut self) -> Result<(), Gone> {
        match self.form {
            Form::Lines => Ok(()),
            Form::Sse => self.send(Ok(own("end", self.examined))).await,
        }
    }

    /// Lines have no room for an error, so their body ends without its end, and no reader takes it for the whole.
    async fn refuse(&mut self, refusal: Refusal) -> Result<(), Gone> {
        tracing::error!(code = %refusal.code, detail = %refusal.detail, "an event stream failed");
        match self.form {
            Form::Lines => self.send(Err(refusal.into())).await,
            Form::Sse => {
                let said = json!({"code": refusal.code, "detail": refusal.detail});
                self.send(Ok(format!("event: error\ndata: {said}\n\n"))).await
            }
        }
    }

    async fn send(&mut self, chunk: Result<String, Problem>) -> Result<(), Gone> {
        match self.sender.send_timeout(chunk.map(web::Bytes::from), self.times.cut_off).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(Gone),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
                tracing::info!(examined = self.examined, "a reader of events takes nothing: cut off");
                if let Some(connection) = &self.connection {
                    // One that is gone already needs no shutdown.
                    let _ = connection.0.shutdown(Shutdown::Both);
                }
                Err(Gone)
            }
        }
    }
}
