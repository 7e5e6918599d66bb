//! `GET /v1/queries/{Name}`, and the routes that are reads with a path of their own.

use crate::{Caller, Gateway, Problem, message, parameters::Parameters};
use actix_web::{HttpRequest, HttpResponse, http::header::ContentType, web};
use serde_json::{Map, Value, json};
use switchback_bus::{Message, MessageKind, QueryRequest, Refusal};

/// Takes a query or any other read to the bus and answers its reply.
pub(crate) async fn get(
    gateway: web::Data<Gateway>,
    caller: web::ReqData<Caller>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let name = request.match_info().query("name");
    let message = message::find(name, &[MessageKind::Query, MessageKind::Read])?;
    let parameters = Parameters::of(&request)?;
    if message.kind == MessageKind::Read {
        return Ok(response(&read(&gateway, &caller, message, parameters, Map::new()).await?));
    }
    let reply = gateway.bus.query(&caller, query(message.name, parameters)?).await?;
    let mut response = HttpResponse::Ok();
    response.insert_header(("X-Switchback-Position", reply.position.to_string()));
    Ok(response.content_type(ContentType::json()).body(reply.into_json()))
}

pub(crate) fn query(name: &str, mut parameters: Parameters) -> Result<QueryRequest, Problem> {
    let fields = parameters.all("fields");
    let request = QueryRequest {
        name: name.to_string(),
        q: parameters.all("q"),
        fields: fields.iter().flat_map(|list| list.split(',')).filter(|f| !f.is_empty()).map(String::from).collect(),
        sort: order(&mut parameters)?,
        group_by: parameters.one("groupBy")?,
        start: parameters.number("start")?.unwrap_or(0),
        limit: parameters.number("limit")?,
        count: parameters.flag("count")?,
        reply_with_count: parameters.flag("replyWithCount")?,
        at: parameters.moment("at")?,
        min_position: parameters.number("minPosition")?,
    };
    parameters.finish(Some("a condition is given as q=name=x"))?;
    Ok(request)
}

/// `sort=+field`, or ZStack's `sortBy=field&sortDirection=asc`.
fn order(parameters: &mut Parameters) -> Result<Option<String>, Problem> {
    let sort = parameters.one("sort")?.map(sort);
    let (by, direction) = (parameters.one("sortBy")?, parameters.one("sortDirection")?);
    let sign = match direction.as_deref() {
        None | Some("asc") => '+',
        Some("desc") => '-',
        Some(other) => return Err(Refusal::argument("sortDirection", other, "asc or desc").into()),
    };
    let right = match (&sort, &by) {
        (Some(_), Some(_)) => "without sort: one of the two says the order",
        (Some(sort), None) if direction.is_some() && sort.starts_with(['+', '-']) => "without a sign before the field",
        (None, None) if sign == '-' => "with sortBy, the field",
        _ => return Ok(sort.or(by).map(|field| if direction.is_some() { format!("{sign}{field}") } else { field })),
    };
    let (name, given) =
        if let Some(by) = by { ("sortBy", by) } else { ("sortDirection", direction.unwrap_or_default()) };
    Err(Refusal::argument(name, given, right).into())
}

/// In a URL `+` means a blank, and `sort=+name` is how everybody writes it.
fn sort(given: String) -> String {
    match given.strip_prefix(' ') {
        Some(field) => format!("+{field}"),
        None => given,
    }
}

/// Asks the read `message` with the URL's parameters and those that the path gave.
///
/// `minPosition` is taken and needs no waiting: these reads are folded from the log itself, which had the position
/// before any client heard of it.
pub(crate) async fn read(
    gateway: &Gateway,
    caller: &Caller,
    message: &'static Message,
    mut parameters: Parameters,
    path: Map<String, Value>,
) -> Result<Value, Problem> {
    parameters.number("minPosition")?;
    let mut pairs = parameters.rest();
    for (name, value) in path {
        if pairs.iter().any(|(key, _)| *key == name) {
            return Err(Refusal::argument(&name, value, "is given by the path already").into());
        }
        pairs.push((name, value.as_str().unwrap_or_default().to_string()));
    }
    let parameters = message::coerce(message, pairs)?;
    Ok(gateway.bus.read(caller, message.name, Value::Object(parameters)).await?)
}

/// A read's reply, with its position in the header too.
pub(crate) fn response(reply: &Value) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    if let Some(position) = reply.get("position").and_then(Value::as_u64) {
        response.insert_header(("X-Switchback-Position", position.to_string()));
    }
    response.json(reply)
}

async fn of_router(
    name: &str,
    (gateway, caller): (&Gateway, &Caller),
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let message = message::find(name, &[MessageKind::Read])?;
    let path = Map::from_iter([("uuid".to_string(), json!(request.match_info().query("uuid")))]);
    Ok(response(&read(gateway, caller, message, Parameters::of(request)?, path).await?))
}

async fn without_path(
    name: &str,
    (gateway, caller): (&Gateway, &Caller),
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let message = message::find(name, &[MessageKind::Read])?;
    Ok(response(&read(gateway, caller, message, Parameters::of(request)?, Map::new()).await?))
}

/// `GET /v1/routers/{uuid}/config`.
pub(crate) async fn router_config(
    gateway: web::Data<Gateway>,
    caller: web::ReqData<Caller>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    of_router("GetVirtualRouterConfig", (&gateway, &caller), &request).await
}

/// `GET /v1/routers/{uuid}/diff`.
pub(crate) async fn router_diff(
    gateway: web::Data<Gateway>,
    caller: web::ReqData<Caller>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    of_router("GetVirtualRouterDiff", (&gateway, &caller), &request).await
}

/// `GET /v1/routers/{uuid}/explain`.
pub(crate) async fn router_explain(
    gateway: web::Data<Gateway>,
    caller: web::ReqData<Caller>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    of_router("GetVirtualRouterExplanation", (&gateway, &caller), &request).await
}

/// `GET /v1/routers/{uuid}/drift`.
pub(crate) async fn router_drift(
    gateway: web::Data<Gateway>,
    caller: web::ReqData<Caller>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    of_router("GetVirtualRouterDrift", (&gateway, &caller), &request).await
}

/// `GET /v1/routers/{uuid}/counters`.
pub(crate) async fn router_counters(
    gateway: web::Data<Gateway>,
    caller: web::ReqData<Caller>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    of_router("GetVirtualRouterCounters", (&gateway, &caller), &request).await
}

/// `GET /v1/audit/head`.
pub(crate) async fn audit_head(
    gateway: web::Data<Gateway>,
    caller: web::ReqData<Caller>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    without_path("GetAuditHead", (&gateway, &caller), &request).await
}

/// `GET /v1/audit/verify`. A broken chain is an answer, not an error of the request.
pub(crate) async fn audit_verify(
    gateway: web::Data<Gateway>,
    caller: web::ReqData<Caller>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    without_path("VerifyAudit", (&gateway, &caller), &request).await
}
