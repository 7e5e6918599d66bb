//! From a refusal to an HTTP response: the one place where a status is chosen.
//!
//! Every response that is not a success is `application/problem+json` (RFC 9457), below `/zstack/v1` an `error` in ZStack's
//! form, with the statuses that its clients know: 400, 404 and 503.

use actix_web::{HttpResponse, ResponseError, http::StatusCode, http::header};
use serde_json::{Map, Value, json};
use std::fmt;
use switchback_bus::{Refusal, RefusalKind, code, problem, status, title};

/// A response that says why not.
#[derive(Debug)]
pub struct Problem {
    cause: Cause,
    form: Form,
    /// On the heap, so that a `Result` of a handler stays small.
    refusal: Box<Refusal>,
}

/// What a status is chosen by: a refusal's kind, or what only HTTP knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cause {
    Refused(RefusalKind),
    /// The path is known, the method is not; with what `Allow` says.
    Method(&'static str),
    MediaType,
    TooLarge,
    SlowBody,
    Overloaded,
}

/// Whose clients read it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Native,
    ZStack,
    /// In the answer to whoever polls: always 503, for the poll itself went well.
    ZStackJob,
}

/// Seconds after which a busy system may be asked again.
const BUSY_RETRY_SECONDS: u64 = 1;
/// Seconds after which a log that takes no writes may be asked again: somebody must look at its disk first.
const READ_ONLY_RETRY_SECONDS: &str = "30";

impl Problem {
    /// There is no such route.
    pub(crate) fn no_route(path: &str) -> Problem {
        let path: String = path.chars().take(120).collect();
        let refusal = Refusal::new(RefusalKind::NotFound, code::NOT_FOUND, format!("there is nothing at `{path}`"));
        refusal.hint("GET / lists the routes").into()
    }

    /// The route takes only the methods `allow`.
    pub(crate) fn method(allow: &'static str) -> Problem {
        Problem::http(Cause::Method(allow), format!("this route takes only {allow}"))
    }

    /// The route takes only other methods, where a status for that is not known.
    pub(crate) fn method_of(takes: &[&str]) -> Problem {
        let takes = takes.join(" and ");
        let refusal = Refusal::new(RefusalKind::NotFound, code::NOT_FOUND, format!("this route takes only {takes}"));
        refusal.into()
    }

    /// The body is not JSON by its own word.
    pub(crate) fn media_type(given: &str) -> Problem {
        let given: String = given.chars().take(120).collect();
        let mut problem =
            Problem::http(Cause::MediaType, format!("Content-Type = `{given}`: the body must be application/json"));
        problem.refusal.hint = Some("send the header Content-Type: application/json".to_string());
        problem
    }

    /// The body is over the limit.
    pub(crate) fn too_large(limit: usize) -> Problem {
        Problem::http(Cause::TooLarge, format!("the body is over {limit} bytes"))
    }

    /// The body did not come in time.
    pub(crate) fn slow_body(seconds: u64) -> Problem {
        Problem::http(Cause::SlowBody, format!("the body did not arrive within {seconds} seconds"))
    }

    /// There are too many requests already.
    pub(crate) fn overloaded(refusal: Refusal) -> Problem {
        Problem { cause: Cause::Overloaded, form: Form::Native, refusal: Box::new(refusal) }
    }

    /// The answer did not come in time.
    pub(crate) fn late(seconds: u64) -> Problem {
        let detail = format!("there was no answer within {seconds} seconds");
        let refusal = Refusal::new(RefusalKind::Timeout, code::TIMEOUT, detail);
        refusal
            .hint("a command goes on: send it again with the same Idempotency-Key, or with Prefer: respond-async")
            .into()
    }

    fn http(cause: Cause, detail: String) -> Problem {
        Problem {
            cause,
            form: Form::Native,
            refusal: Box::new(Refusal::new(RefusalKind::Invalid, code::ARGUMENT, detail)),
        }
    }

    /// The same in ZStack's form.
    pub(crate) fn in_zstack(mut self) -> Problem {
        if self.form == Form::Native {
            self.form = Form::ZStack;
        }
        self
    }

    /// The same as how a job ended.
    pub(crate) fn of_job(self) -> Problem {
        Problem { form: Form::ZStackJob, ..self }
    }

    fn title(&self) -> &'static str {
        match self.cause {
            Cause::Refused(kind) => title(kind),
            Cause::Method(_) => "Method not allowed",
            Cause::MediaType => "Unsupported media type",
            Cause::TooLarge => "Body too large",
            Cause::SlowBody => "Body too slow",
            Cause::Overloaded => "Overloaded",
        }
    }

    fn native_status(&self) -> StatusCode {
        match self.cause {
            Cause::Refused(kind) => StatusCode::from_u16(status(kind)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            Cause::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Cause::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Cause::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Cause::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Cause::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// As ZStack's clients read it: the code first.
    fn zstack_body(&self) -> Value {
        let refusal = &self.refusal;
        let mut error = Map::new();
        error.insert("code".into(), json!(refusal.code));
        error.insert("description".into(), json!(self.title()));
        error.insert("details".into(), json!(refusal.detail));
        if let Some(hint) = &refusal.hint {
            error.insert("elaboration".into(), json!(hint));
        }
        let mut more = Map::new();
        if !refusal.blockers.is_empty() {
            more.insert("blockers".into(), json!(refusal.blockers));
        }
        more.extend(refusal.field.iter().map(|field| ("field".into(), json!(field))));
        more.extend(refusal.command_id.iter().map(|id| ("commandId".into(), json!(id))));
        if !more.is_empty() {
            error.insert("opaque".into(), Value::Object(more));
        }
        json!({ "error": error })
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        Problem { cause: Cause::Refused(refusal.kind), form: Form::Native, refusal: Box::new(refusal) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refusal.fmt(f)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        match self.form {
            Form::Native => self.native_status(),
            Form::ZStackJob => StatusCode::SERVICE_UNAVAILABLE,
            Form::ZStack => match self.native_status().as_u16() {
                404 | 405 => StatusCode::NOT_FOUND,
                400 | 408 | 412 | 413 | 415 | 422 => StatusCode::BAD_REQUEST,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            },
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        let (form, body) = match self.form {
            Form::Native => {
                ("application/problem+json", problem(&self.refusal, self.status_code().as_u16(), self.title()))
            }
            Form::ZStack | Form::ZStackJob => ("application/json", self.zstack_body()),
        };
        response.insert_header((header::CONTENT_TYPE, form));
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        match self.cause {
            Cause::Overloaded => {
                response.insert_header((header::RETRY_AFTER, BUSY_RETRY_SECONDS));
            }
            Cause::Refused(RefusalKind::Busy) => {
                let seconds = self.refusal.retry_after_secs.unwrap_or(BUSY_RETRY_SECONDS);
                response.insert_header((header::RETRY_AFTER, seconds));
            }
            Cause::Refused(RefusalKind::ReadOnly) => {
                response.insert_header((header::RETRY_AFTER, READ_ONLY_RETRY_SECONDS));
            }
            Cause::Refused(RefusalKind::Unauthenticated) => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"switchback\""));
            }
            Cause::Method(allow) => {
                response.insert_header((header::ALLOW, allow));
            }
            _ => {}
        }
        response.body(body.to_string())
    }
}
