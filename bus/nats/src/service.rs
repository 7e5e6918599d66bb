//! What a request is answered, whatever carries it: the same as over HTTP.

use crate::{Headers, Limits, Outgoing, replay, subject::Asked};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream, stream::BoxStream};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{any::Any, net::IpAddr, panic::AssertUnwindSafe, sync::Arc};
use switchback_bus::{
    Access, Bus, Caller, CommandRequest, Credentials, InFlight, MessageKind, QueryRequest, Refusal, RefusalKind,
    Tokens, Wait, code, command_id, messages, outside_of, problem, reason, status, title, version,
};
use switchback_events::{Origin, Position};

/// The headers by which a command's id may come, the first that is there.
const KEYS: [&str; 2] = ["Nats-Msg-Id", "Idempotency-Key"];

/// Requests that are answered at a time unless told otherwise.
const REQUESTS: usize = 1000;

/// How subjects begin that no answer goes to.
const OWN: [&str; 2] = ["switchback.", "$"];

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it asks.
    pub subject: String,
    /// Where the answer goes; without, nobody hears it.
    pub reply: Option<String>,
    /// What stands beside the payload.
    pub headers: Headers,
    /// The parameters, as JSON; nothing for none.
    pub payload: Bytes,
    /// The token that its connection came in by. A header `Authorization` is heard before it.
    pub token: Option<Arc<str>>,
    /// The address that it came from, where that is known.
    pub peer: Option<IpAddr>,
}

/// Answers requests.
pub struct Service {
    bus: Arc<dyn Bus>,
    tokens: Arc<dyn Tokens>,
    asked: Arc<switchback_bus::Asked>,
    limits: Limits,
    in_flight: InFlight,
}

impl Service {
    /// In front of `bus`, for those whom `tokens` knows, as often as `asked` lets them.
    pub fn new(bus: Arc<dyn Bus>, tokens: Arc<dyn Tokens>, asked: Arc<switchback_bus::Asked>) -> Service {
        Service { bus, tokens, asked, limits: Limits::default(), in_flight: InFlight::new(REQUESTS) }
    }

    /// The same with other limits.
    pub fn with_limits(self, limits: Limits) -> Service {
        Service { limits, ..self }
    }

    /// The same, counting what is being answered here: with the other ways in, so that two of them do not answer twice as many.
    pub fn with_in_flight(self, in_flight: InFlight) -> Service {
        Service { in_flight, ..self }
    }

    /// How many requests are being answered.
    pub fn in_flight(&self) -> usize {
        self.in_flight.count()
    }

    /// The bus behind it.
    pub fn bus(&self) -> &Arc<dyn Bus> {
        &self.bus
    }

    /// Who comes in by this token.
    ///
    /// # Errors
    /// Nobody does.
    pub fn caller(&self, token: &str) -> Result<Caller, Refusal> {
        self.tokens.caller(&Credentials::Token(token))
    }

    /// Who comes in by this token, counted as a request of his, or of the address `peer`.
    ///
    /// # Errors
    /// Nobody does, or it is one too many.
    pub fn admit(&self, token: &str, peer: IpAddr) -> Result<Caller, Refusal> {
        let caller = self.caller(token);
        self.count(caller.as_ref().ok(), peer)?;
        caller
    }

    /// Counts a request of who asks: who has logged in as an account, anybody else by the address `peer`.
    ///
    /// # Errors
    /// It is one too many.
    pub fn count(&self, caller: Option<&Caller>, peer: IpAddr) -> Result<(), Refusal> {
        self.asked.count(caller, Some(peer))
    }

    /// The replies to `request`, in order; each is made when it is polled. A command that nobody polls is not carried
    /// out; one that has begun goes on, whoever stays to hear of it.
    pub fn answer(self: Arc<Self>, request: Request) -> BoxStream<'static, Outgoing> {
        let to = request.reply.clone().unwrap_or_default();
        if OWN.iter().any(|own| to.starts_with(own)) {
            // We may publish where who asks may not: nobody makes an event, or a call of the server's own API, of our answer.
            tracing::warn!(reply = shown(&to), "a request that wants its answer on a subject of ours was dropped");
            return stream::empty().boxed();
        }
        stream::once(async move {
            let answered = match self.in_flight.enter() {
                // The place is kept as long as there is something to answer.
                Ok(place) => {
                    self.replies(request).await.map(|replies| replies.map(move |reply| (&place, reply).1).boxed())
                }
                Err(refusal) => Err(refusal),
            };
            answered.unwrap_or_else(|refusal| stream::iter([refused(to, &refusal)]).boxed())
        })
        .flatten()
        .boxed()
    }

    async fn replies(&self, request: Request) -> Result<BoxStream<'static, Outgoing>, Refusal> {
        let to = request.reply.clone().unwrap_or_default();
        let answer = AssertUnwindSafe(self.one(request)).catch_unwind().await;
        match answer.unwrap_or_else(|panic| Err(panicked(panic.as_ref())))? {
            Answer::One(headers, payload) => Ok(stream::iter([Outgoing { subject: to, headers, payload }]).boxed()),
            Answer::Several(replies) => {
                // What comes of a panic in the middle of a stream is the same as of any other.
                let end = to.clone();
                let replies = AssertUnwindSafe(replies).catch_unwind();
                Ok(replies
                    .map(move |reply| reply.unwrap_or_else(|panic| refused(end.clone(), &panicked(panic.as_ref()))))
                    .boxed())
            }
        }
    }

    async fn one(&self, request: Request) -> Result<Answer, Refusal> {
        let asked = Asked::of(&request.subject);
        let caller = self.known(&request, asked)?;
        let most = self.limits.body;
        if request.payload.len() > most {
            let right = format!("at most {most} bytes");
            return Err(Refusal::argument("body", format!("{} bytes", request.payload.len()), right));
        }
        match asked {
            Some(Asked::Command(name)) => self.in_time(self.command(name, &request, caller)).await,
            Some(Asked::Query(name)) if takes_its_time(name) => self.query(name, &request, &caller).await,
            Some(Asked::Query(name)) => self.in_time(self.query(name, &request, &caller)).await,
            Some(Asked::Replay) => {
                let wanted = replay::wanted(object(&request.payload)?)?;
                let to = request.reply.unwrap_or_default();
                let answer = replay::replay(self.bus.clone(), caller, wanted, to);
                Ok(Answer::Several(answer.await?))
            }
            None => {
                let detail = format!("nothing answers at `{}`", shown(&request.subject));
                Err(Refusal::new(RefusalKind::NotFound, code::NOT_FOUND, detail)
                    .hint("switchback.cmd.<Name>, switchback.query.<Name> and switchback.events.replay are answered"))
            }
        }
    }

    /// What `answer` says, or that it did not say it in time.
    async fn in_time(&self, answer: impl Future<Output = Result<Answer, Refusal>>) -> Result<Answer, Refusal> {
        let within = self.limits.answer_time;
        tokio::time::timeout(within, answer).await.unwrap_or_else(|_| {
            let detail = format!("there was no answer within {} seconds", within.as_secs());
            let refusal = Refusal::new(RefusalKind::Timeout, code::TIMEOUT, detail);
            Err(refusal.hint("a command goes on: send it again with the same Nats-Msg-Id"))
        })
    }

    /// Who asks, counted.
    fn known(&self, request: &Request, asked: Option<Asked>) -> Result<Caller, Refusal> {
        let caller = match self.caller_of(request) {
            Err(_) if asked.is_some_and(open) => Ok(Caller::nobody()),
            caller => caller,
        };
        self.asked.count(caller.as_ref().ok(), request.peer)?;
        caller
    }

    fn caller_of(&self, request: &Request) -> Result<Caller, Refusal> {
        let refuse = || {
            let refusal = Refusal::new(RefusalKind::Unauthenticated, code::INVALID_SESSION, "no token");
            refusal.hint("send the header Authorization: Bearer <token>")
        };
        match (one(&request.headers, "Authorization")?, &request.token) {
            (Some(given), _) => match given.split_once(' ') {
                Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => self.caller(token.trim()),
                _ => Err(refuse()),
            },
            (None, Some(token)) => self.caller(token),
            (None, None) => Err(refuse()),
        }
    }

    async fn command(&self, name: &str, request: &Request, caller: Caller) -> Result<Answer, Refusal> {
        let message = expect(name, &[MessageKind::Command])?;
        let body = Value::Object(object(&request.payload)?);
        let mut command = CommandRequest::new(message.name, body, caller, Origin::Bus);
        command.command_id = key(&request.headers)?;
        command.reason = reason("X-Reason", one(&request.headers, "X-Reason")?.unwrap_or_default())?;
        let if_match = one(&request.headers, "If-Match")?;
        command.if_match = if_match.map(|given| version("If-Match", given)).transpose()?;
        command.dry_run = match one(&request.headers, "X-Dry-Run")? {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => return Err(Refusal::argument("X-Dry-Run", other, "true or false")),
        };
        command.wait = match one(&request.headers, "X-Wait")? {
            Some("durable") => Wait::Durable,
            None | Some("applied") => Wait::Applied,
            Some(other) => return Err(Refusal::argument("X-Wait", other, "durable or applied")),
        };
        // In a task of its own: a command that has begun goes on, whether or not somebody stays for its answer.
        let bus = self.bus.clone();
        let carried_out = tokio::spawn(async move { bus.command(command).await });
        let reply = carried_out.await.unwrap_or_else(|ended| Err(failed(&ended)))?;
        // Names and values of JSON can always be written.
        let payload = serde_json::to_vec(&reply).unwrap_or_default();
        Ok(Answer::One(at(reply.position), payload.into()))
    }

    async fn query(&self, name: &str, request: &Request, caller: &Caller) -> Result<Answer, Refusal> {
        let message = expect(name, &[MessageKind::Query, MessageKind::Read])?;
        let mut body = object(&request.payload)?;
        if message.kind == MessageKind::Query {
            let reply = self.bus.query(caller, conditions(message.name, body)?).await?;
            return Ok(Answer::One(at(reply.position), reply.into_json().into()));
        }
        message.accept(&mut body)?;
        let reply = self.bus.read(caller, message.name, Value::Object(body)).await?;
        let headers = reply["position"].as_u64().map_or_else(Headers::new, at);
        Ok(Answer::One(headers, reply.to_string().into()))
    }
}

/// What a request is answered.
enum Answer {
    One(Headers, Bytes),
    Several(BoxStream<'static, Outgoing>),
}

/// Whether a message is for anyone: what a token that is none would have been is not asked then.
fn open(asked: Asked) -> bool {
    let (Asked::Command(name) | Asked::Query(name)) = asked else { return false };
    messages().any(|message| message.name == name && message.access == Access::Anyone)
}

/// Whether the whole log is read for it, which takes as long as it takes.
fn takes_its_time(name: &str) -> bool {
    name == "VerifyAudit" || name.starts_with("Replay")
}

/// A panic is an answer, too.
fn panicked(panic: &(dyn Any + Send)) -> Refusal {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    failed(&said.unwrap_or_default())
}

fn failed(why: &dyn std::fmt::Display) -> Refusal {
    tracing::error!(%why, "a request panicked");
    Refusal::internal("the request failed by a fault of the server")
}

/// A refusal as a reply: the problem that HTTP answers, with its status as NATS' services say it.
pub(crate) fn refused(subject: String, refusal: &Refusal) -> Outgoing {
    let (status, title) = (status(refusal.kind), title(refusal.kind));
    let mut headers = Headers::new()
        .with("Nats-Service-Error-Code", status.to_string())
        .with("Nats-Service-Error", title)
        .with("Content-Type", "application/problem+json");
    if let Some(seconds) = refusal.retry_after_secs {
        headers.push("Retry-After", seconds.to_string());
    }
    Outgoing { subject, headers, payload: problem(refusal, status, title).to_string().into() }
}

/// A reply that is more than whoever carries it takes.
pub(crate) fn too_large(reply: Outgoing, most: usize) -> Outgoing {
    let right = format!("a reply of at most {most} bytes, max_payload of the NATS server: ask with limit or fields");
    refused(reply.subject, &Refusal::argument("reply", format!("{} bytes", reply.payload.len()), right))
}

fn at(position: Position) -> Headers {
    Headers::new().with("X-Switchback-Position", position.to_string())
}

/// The message `name`, where it is of these kinds.
fn expect(name: &str, kinds: &[MessageKind]) -> Result<&'static switchback_bus::Message, Refusal> {
    outside_of(name, kinds, "switchback.cmd.", "switchback.query.")
}

/// The payload: a JSON object, empty where there is none.
fn object(payload: &[u8]) -> Result<Map<String, Value>, Refusal> {
    if payload.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(payload) {
        Ok(Value::Object(body)) => Ok(body),
        Ok(_) => Err(Refusal::argument("body", "not an object", "one flat JSON object with the parameters")),
        Err(error) => Err(Refusal::argument("body", "not JSON", error)),
    }
}

/// The command's id, by either of the two headers; by both only if they say the same.
fn key(headers: &Headers) -> Result<Option<switchback_events::CommandId>, Refusal> {
    let [by_nats, by_http] = KEYS.map(|name| one(headers, name));
    match (by_nats?, by_http?) {
        (Some(nats), Some(http)) if nats != http => {
            Err(Refusal::argument(KEYS[1], http, format!("the same as {} = `{nats}`, or only one of them", KEYS[0])))
        }
        (Some(key), _) => command_id(KEYS[0], key).map(Some),
        (None, Some(key)) => command_id(KEYS[1], key).map(Some),
        (None, None) => Ok(None),
    }
}

/// The header `name` once.
fn one<'a>(headers: &'a Headers, name: &'a str) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.all(name);
    let value = values.next();
    match values.next() {
        Some(_) => Err(Refusal::argument(name, "", "is given more than once")),
        None => Ok(value.map(str::trim)),
    }
}

/// What a query's payload says.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Conditions {
    q: Words,
    fields: Words,
    sort: Option<String>,
    group_by: Option<String>,
    start: u64,
    limit: Option<u64>,
    count: bool,
    reply_with_count: bool,
    at: Option<Moment>,
    min_position: Option<Position>,
}

/// One text, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    Several(Vec<String>),
}

impl Default for Words {
    fn default() -> Words {
        Words::Several(vec![])
    }
}

/// A position as a number, or anything as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Moment {
    Position(Position),
    Text(String),
}

fn conditions(name: &str, body: Map<String, Value>) -> Result<QueryRequest, Refusal> {
    let given: Conditions = serde_json::from_value(Value::Object(body))
        .map_err(|error| Refusal::argument("body", "not as a query's", error))?;
    let fields = match given.fields {
        Words::One(list) => list.split(',').filter(|field| !field.is_empty()).map(String::from).collect(),
        Words::Several(list) => list,
    };
    Ok(QueryRequest {
        name: name.to_string(),
        q: match given.q {
            Words::One(one) => vec![one],
            Words::Several(list) => list,
        },
        fields,
        sort: given.sort,
        group_by: given.group_by,
        start: given.start,
        limit: given.limit,
        count: given.count,
        reply_with_count: given.reply_with_count,
        at: given.at.map(|at| match at {
            Moment::Position(position) => position.to_string(),
            Moment::Text(text) => text,
        }),
        min_position: given.min_position,
    })
}

fn shown(subject: &str) -> String {
    subject.chars().take(120).collect()
}
