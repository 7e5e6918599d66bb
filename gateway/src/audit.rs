//! `GET /v1/audit/export` and `GET /v1/audit/backup`: the durable log as a stream of bytes, to be kept elsewhere.
//!
//! **Invariant:** a body that ends without an error is whole: a failure under way, or the end of the server, breaks it
//! off.

use crate::{Caller, Gateway, Problem, parameters::Parameters};
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use futures_util::{StreamExt, future::Either, stream};
use switchback_bus::{LogForm, Refusal};

/// JSON lines, one event each.
pub(crate) async fn export(
    gateway: web::Data<Gateway>,
    caller: web::ReqData<Caller>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    copy(&gateway, &caller, &request, LogForm::JsonLines, "application/x-ndjson").await
}

/// Frames as they are stored, for a backup.
pub(crate) async fn backup(
    gateway: web::Data<Gateway>,
    caller: web::ReqData<Caller>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    copy(&gateway, &caller, &request, LogForm::Frames, "application/octet-stream").await
}

async fn copy(
    gateway: &Gateway,
    caller: &Caller,
    request: &HttpRequest,
    form: LogForm,
    media_type: &'static str,
) -> Result<HttpResponse, Problem> {
    let mut parameters = Parameters::of(request)?;
    let after = parameters.number("after")?.unwrap_or(0);
    parameters.finish(None)?;
    let copy = gateway.bus.log(caller, form, after).await?;
    let mut ending = gateway.ending.subscribe();
    let stopped = async move {
        // Nobody is left who could say so: the gateway is gone.
        let _ = ending.wait_for(|ending| *ending).await;
    };
    let chunks = copy.chunks.map(|chunk| chunk.map(web::Bytes::from).map_err(Problem::from));
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, media_type));
    response.insert_header(("X-Switchback-Position", copy.upto.to_string()));
    let body = stream::unfold(Some((chunks, Box::pin(stopped))), |state| async move {
        let (mut chunks, stopped) = state?;
        match futures_util::future::select(chunks.next(), stopped).await {
            Either::Left((chunk, stopped)) => chunk.map(|chunk| (chunk, Some((chunks, stopped)))),
            Either::Right(_) => Some((Err(Refusal::internal("the server stops").into()), None)),
        }
    });
    Ok(response.streaming(body))
}
