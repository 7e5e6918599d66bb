//! `/healthz` and `/readyz`: for load balancers and supervisors, without a token.

use crate::{Gateway, Problem, parameters::Parameters};
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde_json::{Map, Value, json};
use std::{fmt::Write, time::Duration};

/// A component that has not answered by then is not ready.
const READY_SECONDS: u64 = 5;

/// The process answers: no more is said.
pub(crate) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// Whether commands and reads will be answered; `?verbose` says by which component not.
pub(crate) async fn readyz(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let mut parameters = Parameters::of(&request)?;
    let verbose = parameters.flag("verbose")?;
    parameters.finish(None)?;
    let late = vec![("bus".to_string(), Err(format!("did not answer within {READY_SECONDS} seconds")))];
    let asked = tokio::time::timeout(Duration::from_secs(READY_SECONDS), gateway.bus.ready()).await;
    let components = asked.unwrap_or(late);
    let ready = components.iter().all(|(_, found)| found.is_ok());
    let mut body = json!({"status": if ready { "ready" } else { "not ready" }});
    if verbose {
        body["components"] = components
            .into_iter()
            .map(|(component, found)| {
                let ready = found.is_ok();
                let detail = found.unwrap_or_else(|why| why);
                (component, json!({"ready": ready, "detail": detail}))
            })
            .collect::<Map<String, Value>>()
            .into();
    }
    let plain = request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    let plain = plain.collect::<Vec<_>>().join(",");
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    if !ready {
        response.insert_header((header::RETRY_AFTER, "1"));
    }
    if plain.trim_start().starts_with("text/plain") {
        return Ok(response.content_type("text/plain; charset=utf-8").body(lines(&body)));
    }
    Ok(response.json(body))
}

/// The same for people: a line for each component, then the whole.
fn lines(body: &Value) -> String {
    let mut text = String::new();
    for (component, found) in body["components"].as_object().into_iter().flatten() {
        let sign = if found["ready"] == true { "+" } else { "-" };
        let _ = writeln!(text, "[{sign}] {component}: {}", found["detail"].as_str().unwrap_or_default());
    }
    let _ = writeln!(text, "{}", body["status"].as_str().unwrap_or_default());
    text
}
