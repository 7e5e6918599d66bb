//! What stands around every request: who asks, and that a panic is an answer.

use crate::{Caller, Credentials, Gateway, Limits, Problem, limits, rules, viewer, zstack};
use actix_web::{
    Error, HttpMessage,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header,
    middleware::Next,
    web,
};
use futures_util::FutureExt;
use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};
use switchback_bus::{Refusal, RefusalKind, code};

/// What is answered without a token.
const OPEN: [&str; 6] = ["/healthz", "/readyz", "/openapi.json", "/asyncapi.json", "/docs", viewer::SCRIPT_PATH];

/// What is answered without a token where the configuration says so.
const METRICS: &str = "/metrics";

/// Lets a request through with who asks, turns a panic behind it into a problem, and measures how it went.
pub(crate) async fn guard<B: MessageBody + 'static>(
    gateway: web::Data<Gateway>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let begin = Instant::now();
    let (path, method) = (request.path().to_string(), request.method().clone());
    let theirs = zstack::owns(&path);
    let done = answer(&gateway, request, next).await;
    let done = done.map_err(|error| match error {
        Failure::Problem(problem) if theirs => problem.in_zstack().into(),
        Failure::Problem(problem) => problem.into(),
        Failure::Behind(error) => error,
    });
    let status = done.as_ref().map_or_else(|error| error.as_response_error().status_code(), |done| done.status());
    let took = begin.elapsed();
    gateway.requests.note(&path, &method, status, took);
    let path = rules::shown(&path);
    tracing::debug!(%method, path, status = status.as_u16(), micros = took.as_micros() as u64);
    done
}

/// Why there is no answer: what the guard says, or what is behind it.
enum Failure {
    Problem(Problem),
    Behind(Error),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        Failure::Problem(problem)
    }
}

async fn answer<B: MessageBody + 'static>(
    gateway: &Gateway,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Failure> {
    let path = request.path();
    let open = OPEN.contains(&path) || (gateway.open_metrics && path == METRICS);
    if !open {
        let caller = known(gateway, &request)?;
        if caller.account.is_some() {
            rules::allow(&caller, path)?;
        }
        request.extensions_mut().insert(caller);
    }
    let Limits { answer_time, .. } = gateway.limits;
    // Whoever looks after an overloaded system must be answered.
    let unlimited = open || path == METRICS;
    let place = (!unlimited).then(|| gateway.in_flight.enter()).transpose();
    let _place = place.map_err(Problem::overloaded)?;
    let answer_time = if unlimited || limits::takes_its_time(path) { Duration::MAX } else { answer_time };
    let asked = format!("{} {}", request.method(), rules::shown(path));
    let answer = tokio::time::timeout(answer_time, next.call(request));
    match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(Ok(done)) => done.map_err(Failure::Behind),
        Ok(Err(_)) => Err(Problem::late(answer_time.as_secs()).into()),
        Err(_) => {
            tracing::error!(asked, "a request panicked");
            Err(Problem::from(Refusal::internal("the request failed by a fault of the server")).into())
        }
    }
}

/// Who asks, counted: who has logged in as an account, anybody else by the address.
fn known(gateway: &Gateway, request: &ServiceRequest) -> Result<Caller, Problem> {
    let caller = match caller(gateway, request) {
        Err(_) if rules::open(request.method(), request.path()) => Ok(Caller::nobody()),
        caller => caller,
    };
    gateway.asked.count(caller.as_ref().ok(), request.peer_addr().map(|peer| peer.ip()))?;
    caller
}

fn caller(gateway: &Gateway, request: &ServiceRequest) -> Result<Caller, Problem> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let given = header(header::AUTHORIZATION).and_then(|value| value.split_once(' '));
    let refuse = |detail: &str| Refusal::new(RefusalKind::Unauthenticated, code::INVALID_SESSION, detail);
    let credentials = match given {
        // ZStack's clients send what they logged in with as `OAuth`.
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("oauth") => {
            Credentials::Token(token.trim())
        }
        Some((scheme, signed)) if scheme.eq_ignore_ascii_case("zstack") => {
            let parts = signed.trim().split_once(':').zip(header(header::DATE));
            let Some(((key_id, signature), date)) = parts else {
                return Err(refuse("no signature that could be verified")
                    .hint("send Authorization: ZStack <access key id>:<signature>, and the header Date that was signed")
                    .into());
            };
            let path = request.uri().path();
            let path = if zstack::owns(path) { path.strip_prefix(zstack::CONTEXT).unwrap_or(path) } else { path };
            Credentials::Signature { key_id, signature, method: request.method().as_str(), date, path }
        }
        _ => return Err(refuse("no token").hint("send the header Authorization: Bearer <token>").into()),
    };
    gateway.tokens.caller(&credentials).map_err(Problem::from)
}
