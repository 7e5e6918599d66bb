//! What a request is answered, whatever carries it: the same as over HTTP.

use crate::{Headers, Outgoing, subject::Asked};
use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{net::IpAddr, sync::Arc};
use switchback_bus::{
    Bus, Caller, CommandRequest, Credentials, MessageKind, QueryRequest, Refusal, RefusalKind, Tokens, Wait, code,
    command_id, outside, problem, reason, status, title, version,
};
use switchback_events::{Origin, Position};

/// The headers by which a command's id may come, the first that is there.
const KEYS: [&str; 2] = ["Nats-Msg-Id", "Idempotency-Key"];

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
}

impl Service {
    /// In front of `bus`, for those whom `tokens` knows, as often as `asked` lets them.
    pub fn new(bus: Arc<dyn Bus>, tokens: Arc<dyn Tokens>, asked: Arc<switchback_bus::Asked>) -> Service {
        Service { bus, tokens, asked }
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

    /// The replies to `request`, in order; each is made when it is polled. A command that nobody polls is not carried out.
    pub fn answer(self: Arc<Self>, request: Request) -> BoxStream<'static, Outgoing> {
        stream::once(async move {
            let to = request.reply.clone().unwrap_or_default();
            match self.one(request).await {
                Ok((headers, payload)) => Outgoing { subject: to, headers, payload },
                Err(refusal) => refused(to, &refusal),
            }
        })
        .boxed()
    }

    async fn one(&self, request: Request) -> Result<(Headers, Bytes), Refusal> {
        let caller = self.known(&request)?;
        match Asked::of(&request.subject) {
            Some(Asked::Command(name)) => self.command(name, &request, caller).await,
            Some(Asked::Query(name)) => self.query(name, &request, &caller).await,
            Some(Asked::Replay) => Err(Refusal::not_supported("replay")),
            None => {
                let detail = format!("nothing answers at `{}`", shown(&request.subject));
                Err(Refusal::new(RefusalKind::NotFound, code::NOT_FOUND, detail)
                    .hint("switchback.cmd.<Name>, switchback.query.<Name> and switchback.events.replay are answered"))
            }
        }
    }

    /// Who asks, counted.
    fn known(&self, request: &Request) -> Result<Caller, Refusal> {
        let caller = self.caller_of(request);
        self.asked.count(caller.as_ref().ok(), request.peer)?;
        caller
    }

    fn caller_of(&self, request: &Request) -> Result<Caller, Refusal> {
        let refuse = |detail: &str| Refusal::new(RefusalKind::Unauthenticated, code::INVALID_SESSION, detail);
        match (one(&request.headers, "Authorization")?, &request.token) {
            (Some(given), _) => match given.split_once(' ') {
                Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => self.caller(token.trim()),
                _ => Err(refuse("no token").hint("send the header Authorization: Bearer <token>")),
            },
            (None, Some(token)) => self.caller(token),
            (None, None) => Ok(Caller::nobody()),
        }
    }

    async fn command(&self, name: &str, request: &Request, caller: Caller) -> Result<(Headers, Bytes), Refusal> {
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
        let reply = self.bus.command(command).await?;
        let payload =
            serde_json::to_vec(&reply).map_err(|error| Refusal::internal(format!("write a reply: {error}")))?;
        Ok((at(reply.position), payload.into()))
    }

    async fn query(&self, name: &str, request: &Request, caller: &Caller) -> Result<(Headers, Bytes), Refusal> {
        let message = expect(name, &[MessageKind::Query, MessageKind::Read])?;
        let mut body = object(&request.payload)?;
        if message.kind == MessageKind::Query {
            let reply = self.bus.query(caller, conditions(message.name, body)?).await?;
            return Ok((at(reply.position), reply.into_json().into()));
        }
        message.accept(&mut body)?;
        let reply = self.bus.read(caller, message.name, Value::Object(body)).await?;
        let headers = reply["position"].as_u64().map_or_else(Headers::new, at);
        Ok((headers, reply.to_string().into()))
    }
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

fn at(position: Position) -> Headers {
    Headers::new().with("X-Switchback-Position", position.to_string())
}

/// The message `name`, where it is of these kinds.
fn expect(name: &str, kinds: &[MessageKind]) -> Result<&'static switchback_bus::Message, Refusal> {
    let message = outside(name)?;
    if kinds.contains(&message.kind) {
        return Ok(message);
    }
    let (is, subject) = match message.kind {
        MessageKind::Command => ("a command", "switchback.cmd."),
        MessageKind::Query | MessageKind::Read => ("a read", "switchback.query."),
    };
    let refusal = Refusal::new(RefusalKind::NotFound, code::NOT_FOUND, format!("`{name}` is {is}"));
    Err(refusal.hint(format!("{subject}{name}")))
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
