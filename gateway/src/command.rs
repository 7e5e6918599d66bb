//! `POST /v1/commands/{Name}`, the routes that are a command by their path, and `GET /v1/jobs/{id}` for who did not wait.

use crate::{Caller, Gateway, Problem, jobs, message, parameters::Parameters};
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde_json::{Map, Value, json};
use std::time::Duration;
use switchback_bus::{CommandReply, CommandRequest, Message, MessageKind, Refusal, Wait};
use switchback_events::{CommandId, Id, Origin, Version};

/// How the command line names itself in `User-Agent`; a user may claim it, it says the way in and gives no right.
const CLI_AGENT: &str = "switchback-cli/";
/// The command that `/v1/routers/{uuid}/replace` is, and its parameter that the path has.
pub(crate) const REPLACE_ROUTER: (&str, &str) = ("ReplaceVirtualRouter", "vmInstanceUuid");

/// Takes a command to the bus and answers its reply.
pub(crate) async fn post(
    gateway: web::Data<Gateway>,
    caller: web::ReqData<Caller>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let message = message::find(request.match_info().query("name"), &[MessageKind::Command])?;
    let body = object(&gateway, &request, payload).await?;
    send(&gateway, caller.into_inner(), &request, message, body).await
}

/// `POST /v1/routers/{uuid}/replace`: the same as the command, of the router that the path names.
pub(crate) async fn replace_router(
    gateway: web::Data<Gateway>,
    caller: web::ReqData<Caller>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (name, router) = REPLACE_ROUTER;
    let message = message::find(name, &[MessageKind::Command])?;
    let mut body = object(&gateway, &request, payload).await?;
    if let Some(given) = body.insert(router.to_string(), json!(request.match_info().query("uuid"))) {
        return Err(Refusal::argument(router, given, "the path names the router already").into());
    }
    send(&gateway, caller.into_inner(), &request, message, body).await
}

/// Takes a command with its parameters to the bus, as the headers and the URL say.
async fn send(
    gateway: &Gateway,
    caller: Caller,
    request: &HttpRequest,
    message: &Message,
    body: Map<String, Value>,
) -> Result<HttpResponse, Problem> {
    let mut command = CommandRequest::new(message.name, Value::Object(body), caller, origin(request));
    command.command_id = command_id(request)?;
    command.reason = reason(request)?;
    command.if_match = if_match(request)?;

    let mut parameters = Parameters::of(request)?;
    command.dry_run = parameters.flag("dryRun")?;
    let asynchronous = prefers_async(request);
    command.wait = match parameters.one("wait")?.as_deref() {
        Some("durable") => Wait::Durable,
        Some("applied") => Wait::Applied,
        Some(other) => return Err(Refusal::argument("wait", other, "durable or applied").into()),
        None => Wait::Applied,
    };
    parameters.finish(Some("a command's own parameters go into the body, as JSON"))?;

    if asynchronous && command.command_id.is_none() {
        command.command_id = Some(CommandId(Id(*uuid::Uuid::now_v7().as_bytes())));
    }
    let (id, patience) = (command.command_id, asynchronous.then_some(Duration::ZERO));
    match (jobs::carry_out(gateway, command, patience).await, id) {
        (Some(ended), _) => Ok(response(&ended?)),
        (None, id) => Ok(accepted(id.unwrap_or_default().0)),
    }
}

/// What became of a command that nobody waited for.
pub(crate) async fn job(
    gateway: web::Data<Gateway>,
    caller: web::ReqData<Caller>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    Parameters::of(&request)?.finish(None)?;
    let id = request.match_info().query("uuid");
    match jobs::ask(&gateway, &caller, id)? {
        None => Ok(accepted(id.parse().unwrap_or_default())),
        Some(ended) => Ok(response(&ended?)),
    }
}

/// Where the answer will be.
fn accepted(id: Id) -> HttpResponse {
    let location = format!("/v1/jobs/{id}");
    let mut response = HttpResponse::Accepted();
    response.insert_header((header::LOCATION, location.as_str()));
    response.insert_header(("Preference-Applied", "respond-async"));
    response.insert_header((header::RETRY_AFTER, "1"));
    response.json(json!({"commandId": id, "location": location}))
}

fn response(reply: &CommandReply) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header(("X-Switchback-Position", reply.position.to_string()));
    response.insert_header((header::ETAG, format!("\"{}\"", reply.version)));
    response.json(reply)
}

/// The task that carried a command out failed.
pub(crate) fn without_answer() -> Refusal {
    Refusal::internal("the command ended without an answer; send it again with the same Idempotency-Key")
}

/// The body: a JSON object, empty where there is none.
pub(crate) async fn object(
    gateway: &Gateway,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<Map<String, Value>, Problem> {
    let limits = &gateway.limits;
    let bytes = match tokio::time::timeout(limits.body_time, payload.to_bytes_limited(limits.body)).await {
        Err(_) => return Err(Problem::slow_body(limits.body_time.as_secs())),
        Ok(Err(_)) => return Err(Problem::too_large(limits.body)),
        Ok(Ok(Err(error))) => return Err(Refusal::argument("body", "", error).into()),
        Ok(Ok(Ok(bytes))) => bytes,
    };
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    if let Some(given) = text(request, "Content-Type")? {
        let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if essence != "application/json" && !essence.ends_with("+json") {
            return Err(Problem::media_type(given));
        }
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(body)) => Ok(body),
        Ok(_) => Err(Refusal::argument("body", "not an object", "one flat JSON object with the parameters").into()),
        Err(error) => Err(Refusal::argument("body", "not JSON", error).into()),
    }
}

pub(crate) fn origin(request: &HttpRequest) -> Origin {
    match text(request, "User-Agent") {
        Ok(Some(agent)) if agent.starts_with(CLI_AGENT) => Origin::Cli,
        _ => Origin::Api,
    }
}

pub(crate) fn command_id(request: &HttpRequest) -> Result<Option<CommandId>, Problem> {
    let key = text(request, "Idempotency-Key")?;
    Ok(key.map(|key| switchback_bus::command_id("Idempotency-Key", key)).transpose()?)
}

pub(crate) fn reason(request: &HttpRequest) -> Result<Option<String>, Problem> {
    Ok(switchback_bus::reason("X-Reason", text(request, "X-Reason")?.unwrap_or_default())?)
}

pub(crate) fn if_match(request: &HttpRequest) -> Result<Option<Version>, Problem> {
    let given = text(request, "If-Match")?;
    Ok(given.map(|given| switchback_bus::version("If-Match", given)).transpose()?)
}

pub(crate) fn prefers_async(request: &HttpRequest) -> bool {
    let given = request.headers().get_all("Prefer").filter_map(|value| value.to_str().ok());
    given.flat_map(|value| value.split(',')).any(|preference| {
        preference.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("respond-async"))
    })
}

/// The header `name` once, as UTF-8.
fn text<'a>(request: &'a HttpRequest, name: &'static str) -> Result<Option<&'a str>, Problem> {
    let mut values = request.headers().get_all(name);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::argument(name, "", "is given more than once").into());
    }
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Ok(Some(text.trim())),
        Err(_) => Err(Refusal::argument(name, "", "is not UTF-8").into()),
    }
}
