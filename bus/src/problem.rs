//! How a refusal looks outside, whatever way it goes: a problem of RFC 9457, with its status.

use crate::{Refusal, RefusalKind};
use serde_json::{Map, Value, json};

/// The title of a problem.
pub fn title(kind: RefusalKind) -> &'static str {
    match kind {
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
    }
}

/// The status of a problem, one of HTTP's.
pub fn status(kind: RefusalKind) -> u16 {
    match kind {
        RefusalKind::Invalid => 400,
        RefusalKind::NotFound => 404,
        RefusalKind::Conflict => 409,
        RefusalKind::Unauthenticated => 401,
        RefusalKind::Forbidden => 403,
        RefusalKind::StaleVersion => 412,
        RefusalKind::OtherBody => 422,
        RefusalKind::Busy => 429,
        RefusalKind::Timeout => 504,
        RefusalKind::Backend => 502,
        RefusalKind::ReadOnly => 503,
        RefusalKind::NotSupported => 501,
        RefusalKind::Internal => 500,
    }
}

/// The problem, as JSON.
pub fn problem(refusal: &Refusal, status: u16, title: &str) -> Value {
    let mut body = Map::new();
    body.insert("type".into(), json!(format!("urn:switchback:error:{}", refusal.code)));
    body.insert("title".into(), json!(title));
    body.insert("status".into(), json!(status));
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
