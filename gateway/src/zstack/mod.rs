//! ZStack's REST API below `/zstack/v1`, so that its existing clients work unchanged.
//!
//! Every message of the catalogue that names a method and a path is here, and so is every message that will be: nothing
//! but what existing clients send besides (`request.rs`) and second paths (`routes.rs`) is written down for one message.
//! What ZStack knows and this system does not do answers that it is not supported, with the message's name.
//!
//! **Invariant:** whatever is answered below the prefix is ZStack's: `inventory`, `inventories`, `error`.

mod reply;
mod request;
mod routes;

use crate::{Caller, Gateway, Problem, command, jobs, message, parameters::Parameters, query};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, StatusCode},
    web,
};
use routes::{Found, Meaning, Target};
use serde_json::{Map, Value, json};
use std::time::Duration;
use switchback_bus::{CommandRequest, MessageKind, QueryRequest, Refusal};
use switchback_events::{CommandId, Id};

/// Where it begins.
pub(crate) const PREFIX: &str = "/zstack/v1";
/// What its clients are told as context path: they sign what is below it.
pub(crate) const CONTEXT: &str = "/zstack";
/// A command that takes longer becomes a job.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Whether a request is one of these: its errors look like ZStack's then, also those of the guard.
pub(crate) fn owns(path: &str) -> bool {
    path.strip_prefix(PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether it is a message that is for anyone.
pub(crate) fn open(method: &Method, path: &str) -> bool {
    let segments = routes::segments(path.strip_prefix(PREFIX).unwrap_or_default());
    let found = routes::table().find(method, &segments);
    found.is_some_and(|found| found.targets.iter().any(|target| target.is_open()))
}

/// Any request below the prefix.
pub(crate) async fn handle(
    gateway: web::Data<Gateway>,
    caller: web::ReqData<Caller>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    answer(&gateway, &caller, &request, payload).await.map_err(Problem::in_zstack)
}

async fn answer(
    gateway: &Gateway,
    caller: &Caller,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let segments = routes::segments(request.uri().path().strip_prefix(PREFIX).unwrap_or_default());
    match routes::table().find(request.method(), &segments) {
        Some(Found { targets, values }) if *request.method() == Method::GET => {
            let Some(target) = targets.first() else { return Err(Problem::no_route(request.path())) };
            read(gateway, caller, request, target, &values).await
        }
        Some(Found { targets, values }) => change(gateway, caller, request, payload, targets, &values).await,
        None => {
            let takes = routes::table().methods(&segments);
            Err(if takes.is_empty() { Problem::no_route(request.path()) } else { Problem::method_of(&takes) })
        }
    }
}

async fn read(
    gateway: &Gateway,
    caller: &Caller,
    request: &HttpRequest,
    target: &Target,
    values: &[String],
) -> Result<HttpResponse, Problem> {
    let mut parameters = Parameters::of(request)?;
    match target.meaning {
        Meaning::NotSupported(name) => Err(Refusal::not_supported(name).into()),
        Meaning::Job => {
            parameters.finish(None)?;
            job(gateway, caller, &values[0])
        }
        Meaning::ManagementNodes => Ok(HttpResponse::Ok().json(management_nodes(request))),
        Meaning::Version => Err(Problem::no_route(request.path())),
        Meaning::Message(message) if message.kind == MessageKind::Read => {
            let path = target.named(values).map(|(name, value)| (name.to_string(), json!(value)));
            let mut reply = query::read(gateway, caller, message, parameters, path.collect()).await?;
            reply::shape(&mut reply);
            Ok(HttpResponse::Ok().json(reply))
        }
        Meaning::Message(message) | Meaning::One(message) => {
            if let Some(given) = parameters.one("filterName")? {
                return Err(Refusal::not_supported(format!("filterName = `{given}` of {}", message.name)).into());
            }
            // The Go SDK keeps the total of a page among the parameters of the next.
            parameters.all("total");
            let mut asked = query::query(message.name, parameters)?;
            if matches!(target.meaning, Meaning::One(_)) {
                asked.q.push(format!("uuid={}", values[0]));
            }
            inventories(gateway, caller, asked).await
        }
    }
}

async fn inventories(gateway: &Gateway, caller: &Caller, asked: QueryRequest) -> Result<HttpResponse, Problem> {
    let found = gateway.bus.query(caller, asked).await?;
    let mut body = json!({"inventories": found.rows()});
    if let Some(total) = found.total {
        body["total"] = json!(total);
    }
    reply::shape(&mut body);
    Ok(HttpResponse::Ok().json(body))
}

async fn change(
    gateway: &Gateway,
    caller: &Caller,
    request: &HttpRequest,
    payload: web::Payload,
    targets: &[Target],
    values: &[String],
) -> Result<HttpResponse, Problem> {
    let mut body = command::object(gateway, request, payload).await?;
    let mut pairs = Parameters::of(request)?;
    let mut delete_mode = None;
    let (target, mut given) = if *request.method() == Method::DELETE {
        if let Some((key, value)) = body.iter().next() {
            return Err(Refusal::argument(
                key,
                request::shown(value),
                "DELETE takes its parameters from the URL, not from a body",
            )
            .into());
        }
        delete_mode = pairs.one("deleteMode")?;
        let Some(target) = targets.first() else { return Err(Problem::no_route(request.path())) };
        match target.meaning {
            Meaning::Message(message) => (target, message::gather(message, pairs.rest())?),
            _ => (target, Map::new()),
        }
    } else {
        pairs.finish(Some("the parameters go into the body, as JSON"))?;
        request::section(&mut body, targets)?
    };
    let message = match target.meaning {
        Meaning::Message(message) => message,
        Meaning::Version => return Ok(HttpResponse::Ok().json(json!({"version": env!("CARGO_PKG_VERSION")}))),
        Meaning::NotSupported(name) => return Err(Refusal::not_supported(name).into()),
        Meaning::One(_) | Meaning::Job | Meaning::ManagementNodes => return Err(Problem::no_route(request.path())),
    };
    request::complete(message, &mut given, target.named(values), &mut body)?;
    given.extend(delete_mode.map(|mode| ("deleteMode".to_string(), json!(mode))));

    let mut asked = CommandRequest::new(message.name, Value::Object(given), caller.clone(), command::origin(request));
    let id = command::command_id(request)?.unwrap_or_else(|| CommandId(Id(*uuid::Uuid::now_v7().as_bytes())));
    asked.command_id = Some(id);
    asked.reason = command::reason(request)?;
    asked.if_match = command::if_match(request)?;
    run(gateway, request, asked, id).await
}

/// Sends the command, and answers its reply, or where its reply will be.
async fn run(
    gateway: &Gateway,
    request: &HttpRequest,
    asked: CommandRequest,
    id: CommandId,
) -> Result<HttpResponse, Problem> {
    let patience = if command::prefers_async(request) { Duration::ZERO } else { AT_ONCE };
    match jobs::carry_out(gateway, asked, Some(patience)).await {
        Some(ended) => Ok(HttpResponse::Ok().json(reply::of_command(ended?))),
        None => Ok(HttpResponse::Accepted().json(json!({"location": location(request, id.0)}))),
    }
}

fn job(gateway: &Gateway, caller: &Caller, id: &str) -> Result<HttpResponse, Problem> {
    match jobs::ask(gateway, caller, id)? {
        None => Ok(HttpResponse::build(StatusCode::ACCEPTED).json(json!({}))),
        Some(Ok(reply)) => Ok(HttpResponse::Ok().json(reply::of_command(reply))),
        Some(Err(refusal)) => Err(Problem::from(refusal).of_job()),
    }
}

fn location(request: &HttpRequest, id: Id) -> String {
    let connection = request.connection_info();
    format!("{}://{}{PREFIX}/api-jobs/{id}", connection.scheme(), connection.host())
}

/// This process, under the name by which the client reached it.
fn management_nodes(request: &HttpRequest) -> Value {
    let connection = request.connection_info();
    let host = connection.host().rsplit_once(':').map_or(connection.host(), |(host, _)| host);
    json!({"inventories": [{"uuid": Id::of_name(&format!("management-node/{host}")), "hostName": host}]})
}
