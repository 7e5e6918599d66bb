//! What stands around every request: who asks, and that a panic is an answer.

use crate::{Caller, Gateway, Limits, Problem, limits, rules, zstack};
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
const OPEN: [&str; 3] = ["/healthz", "/readyz", "/openapi.json"];

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
        let caller = match caller(gateway, &request) {
            Err(_) if rules::open(request.method(), path) => Caller::nobody(),
            caller => caller?,
        };
        if caller.account.is_some() {
            rules::allow(&caller, path)?;
        }
        request.extensions_mut().insert(caller);
    }
    let Limits { answer_time, requests, .. } = gateway.limits;
    // Whoever looks after an overloaded system must be answered.
    let unlimited = open || path == METRICS;
    let _place = if unlimited { None } else { Some(gateway.in_flight.enter(requests)?) };
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

fn caller(gateway: &Gateway, request: &ServiceRequest) -> Result<Caller, Problem> {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = given.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        // ZStack's clients send what they logged in with as `OAuth`.
        let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("oauth");
        known.then(|| token.trim())
    });
    let refuse = |detail: &str| Refusal::new(RefusalKind::Unauthenticated, code::INVALID_SESSION, detail);
    let Some(token) = token else {
        return Err(refuse("no token").hint("send the header Authorization: Bearer <token>").into());
    };
    let refused = || refuse("the token or session is not known, or has expired").into();
    gateway.tokens.caller(token).ok_or_else(refused)
}
