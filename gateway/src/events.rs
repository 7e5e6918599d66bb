//! `GET /v1/events`: pages of the log, as one JSON object or as lines.

use crate::{Gateway, Problem, message, parameters::Parameters, query};
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde_json::{Map, Value};
use switchback_bus::{MessageKind, Refusal};

const NDJSON: &str = "application/x-ndjson";

/// A page of events in the form that `Accept` asks for.
pub(crate) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let accept = accept(&request);
    if accept.contains("text/event-stream") {
        let refusal = Refusal::not_supported("the event stream (text/event-stream)");
        return Err(refusal.hint("ask for pages: after=<the last position>").into());
    }
    let message = message::find("GetEvents", &[MessageKind::Read])?;
    let reply = query::read(&gateway, message, Parameters::of(&request)?, Map::new()).await?;
    if accept.contains(NDJSON) { Ok(lines(&reply)) } else { Ok(query::response(&reply)) }
}

fn accept(request: &HttpRequest) -> String {
    let given = request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    given.collect::<Vec<_>>().join(",").to_ascii_lowercase()
}

fn lines(reply: &Value) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, NDJSON));
    if let Some(position) = reply.get("position").and_then(Value::as_u64) {
        response.insert_header(("X-Switchback-Position", position.to_string()));
    }
    let events = reply.get("events").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    response.body(events.iter().map(|event| format!("{event}\n")).collect::<String>())
}
