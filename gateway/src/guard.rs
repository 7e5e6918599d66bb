//! What stands around every request: who asks, and that a panic is an answer.

use crate::{Caller, Gateway, Problem, rules, zstack};
use actix_web::{
    Error, HttpMessage,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header,
    middleware::Next,
    web,
};
use futures_util::FutureExt;
use std::{panic::AssertUnwindSafe, time::Instant};
use switchback_bus::{Refusal, RefusalKind, code};

/// What is answered without a token.
const OPEN: [&str; 3] = ["/healthz", "/readyz", "/openapi.json"];

/// Lets a request through with who asks, and turns a panic behind it into a problem.
pub(crate) async fn guard<B: MessageBody + 'static>(
    gateway: web::Data<Gateway>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let begin = Instant::now();
    let theirs = zstack::owns(request.path());
    let in_their_words = |problem: Problem| if theirs { problem.in_zstack() } else { problem };
    let asked = format!("{} {}", request.method(), rules::shown(request.path()));
    if !OPEN.contains(&request.path()) {
        let caller = match caller(&gateway, &request) {
            Err(_) if rules::open(request.method(), request.path()) => Caller::nobody(),
            caller => caller.map_err(in_their_words)?,
        };
        if caller.account.is_some() {
            rules::allow(&caller, request.path()).map_err(in_their_words)?;
        }
        request.extensions_mut().insert(caller);
    }
    match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(done) => {
            let status =
                done.as_ref().map_or_else(|error| error.as_response_error().status_code(), |done| done.status());
            tracing::debug!(asked, status = status.as_u16(), micros = begin.elapsed().as_micros() as u64);
            done
        }
        Err(_) => {
            tracing::error!(asked, "a request panicked");
            let problem = Problem::from(Refusal::internal("the request failed by a fault of the server"));
            Err(if theirs { problem.in_zstack() } else { problem }.into())
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
