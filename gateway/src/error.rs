//! From a refusal to an HTTP response: the one place where a status is chosen.
//!
//! Every response that is not a success is `application/problem+json` (RFC 9457) .

use actix_web::{HttpResponse, ResponseError, http::StatusCode, http::header};
use serde_json::{Map, Value, json};
use std::fmt;
use switchback_bus::{Refusal, RefusalKind, code};

/// A response that says why not.
#[derive(Debug)]
pub struct Problem {
    cause: Cause,
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
}

/// Seconds after which a busy system may be asked again.
const BUSY_RETRY_SECONDS: &str = "1";
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

    fn http(cause: Cause, detail: String) -> Problem {
        Problem { cause, refusal: Box::new(Refusal::new(RefusalKind::Invalid, code::ARGUMENT, detail)) }
    }

    /// The same, naming the command that was refused.
    pub(crate) fn of_command(mut self, id: switchback_events::CommandId) -> Problem {
        self.refusal.command_id.get_or_insert(id);
        self
    }

    fn title(&self) -> &'static str {
        match self.cause {
            Cause::Refused(kind) => match kind {
                RefusalKind::Invalid => "Invalid argument",
                RefusalKind::NotFound => "Not found",
                RefusalKind::Conflict => "Wrong state or conflict",
                RefusalKind::Unauthenticated => "Not authenticated",
                RefusalKind::Forbidden => "Not allowed",
                RefusalKind::StaleVersion => "Stale version",
                RefusalKind::OtherBody => "Idempotency key used with another body",
                RefusalKind::Busy => "Busy",
                RefusalKind::Timeout => "Timeout",
                RefusalKind::Backend => "Agent or backend failed",
                RefusalKind::ReadOnly => "The log takes no writes",
                RefusalKind::NotSupported => "Not supported yet",
                RefusalKind::Internal => "Internal error",
            },
            Cause::Method(_) => "Method not allowed",
            Cause::MediaType => "Unsupported media type",
            Cause::TooLarge => "Body too large",
            Cause::SlowBody => "Body too slow",
        }
    }

    fn body(&self) -> Value {
        let refusal = &self.refusal;
        let mut body = Map::new();
        body.insert("type".into(), json!(format!("urn:switchback:error:{}", refusal.code)));
        body.insert("title".into(), json!(self.title()));
        body.insert("status".into(), json!(self.status_code().as_u16()));
        body.insert("detail".into(), json!(refusal.detail));
        body.insert("code".into(), json!(refusal.code));
        if let Some(field) = &refusal.field {
            let error = json!({"pointer": pointer(field), "field": field, "detail": refusal.detail});
            body.insert("errors".into(), json!([error]));
        }
        if !refusal.blockers.is_empty() {
            body.insert("blockers".into(), json!(refusal.blockers));
        }
        if let Some(hint) = &refusal.hint {
            body.insert("hint".into(), json!(hint));
        }
        if let Some(id) = &refusal.command_id {
            body.insert("commandId".into(), json!(id));
        }
        if let Some(version) = &refusal.current_version {
            body.insert("currentVersion".into(), json!(version));
        }
        Value::Object(body)
    }
}

/// The JSON pointer (RFC 6901) of a field: `networkServices.a/b[2]` → `/networkServices/a~1b/2`.
fn pointer(field: &str) -> String {
    let mut pointer = String::from("/");
    for c in field.chars() {
        match c {
            '.' | '[' => pointer.push('/'),
            ']' => {}
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
    pointer
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        Problem { cause: Cause::Refused(refusal.kind), refusal: Box::new(refusal) }
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
        match self.cause {
            Cause::Refused(kind) => match kind {
                RefusalKind::Invalid => StatusCode::BAD_REQUEST,
                RefusalKind::NotFound => StatusCode::NOT_FOUND,
                RefusalKind::Conflict => StatusCode::CONFLICT,
                RefusalKind::Unauthenticated => StatusCode::UNAUTHORIZED,
                RefusalKind::Forbidden => StatusCode::FORBIDDEN,
                RefusalKind::StaleVersion => StatusCode::PRECONDITION_FAILED,
                RefusalKind::OtherBody => StatusCode::UNPROCESSABLE_ENTITY,
                RefusalKind::Busy => StatusCode::TOO_MANY_REQUESTS,
                RefusalKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
                RefusalKind::Backend => StatusCode::BAD_GATEWAY,
                RefusalKind::ReadOnly => StatusCode::SERVICE_UNAVAILABLE,
                RefusalKind::NotSupported => StatusCode::NOT_IMPLEMENTED,
                RefusalKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            },
            Cause::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Cause::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Cause::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Cause::SlowBody => StatusCode::REQUEST_TIMEOUT,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        match self.cause {
            Cause::Refused(RefusalKind::Busy) => {
                response.insert_header((header::RETRY_AFTER, BUSY_RETRY_SECONDS));
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
        response.body(self.body().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_a_json_pointer() {
        let cases = [
            ("name", "/name"),
            ("l3NetworkUuids[2]", "/l3NetworkUuids/2"),
            ("networkServices.a/b~c", "/networkServices/a~1b~0c"),
        ];
        for (field, expected) in cases {
            assert_eq!(pointer(field), expected);
        }
    }
}
