//! Who may come in where. What a message may do is asked behind the bus, of its entry in the catalogue; here is what is
//! asked of a path.
//!
//! **Invariant:** who has not logged in reaches nothing but messages that are for anyone; an account that is no
//! administrator reaches messages and what is listed here, so a new route is closed to it.

use crate::{Caller, Problem, zstack};
use actix_web::http::Method;
use switchback_bus::{Access, messages};

/// What an account reaches besides messages: what their answers are made of is asked of messages again.
const FOR_ACCOUNTS: [&str; 5] = ["/", "/v1/jobs/", "/v1/routers/", "/v1/events", "/v1/audit/"];

/// The message of a path of the native API.
fn named(path: &str) -> Option<&str> {
    path.strip_prefix("/v1/commands/").or_else(|| path.strip_prefix("/v1/queries/"))
}

/// Whether a request may come from somebody who has not logged in.
pub(crate) fn open(method: &Method, path: &str) -> bool {
    if zstack::owns(path) {
        return zstack::open(method, path);
    }
    named(path).is_some_and(|name| messages().any(|message| message.name == name && message.access == Access::Anyone))
}

/// The path without the secrets that stand in it, for the program's log.
pub(crate) fn shown(path: &str) -> &str {
    const SESSIONS: &str = "/zstack/v1/accounts/sessions/";
    if path.starts_with(SESSIONS) { SESSIONS } else { path }
}

/// Refuses a request to what `caller` may not reach, whatever it asks there.
pub(crate) fn allow(caller: &Caller, path: &str) -> Result<(), Problem> {
    let listed = FOR_ACCOUNTS.iter().any(|known| match known.len() {
        1 => path == *known,
        _ => path.starts_with(known),
    });
    if listed || named(path).is_some() || zstack::owns(path) {
        return Ok(());
    }
    let path: String = path.chars().take(120).collect();
    Ok(caller.must_be_admin(&path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_names_a_session_or_a_password_needs_none() {
        let session = format!("/zstack/v1/accounts/sessions/{}", "0a".repeat(16));
        for (method, path) in [
            (Method::DELETE, session.as_str()),
            (Method::GET, &format!("{session}/valid")),
            (Method::PUT, "/zstack/v1/accounts/login"),
            (Method::POST, "/v1/commands/LogInByAccount"),
            (Method::GET, "/v1/queries/ValidateSession"),
        ] {
            assert!(open(&method, path), "{method} {path}");
        }
        for (method, path) in [
            (Method::GET, session.as_str()),
            (Method::GET, &format!("{session}/other")),
            (Method::GET, "/zstack/v1/accounts"),
            (Method::POST, "/zstack/v1/accounts"),
            (Method::GET, "/zstack/v1/api-jobs/0a"),
            (Method::POST, "/v1/commands/CreateZone"),
            (Method::GET, "/v1/queries/QueryZone"),
            (Method::GET, "/v1/events"),
        ] {
            assert!(!open(&method, path), "{method} {path}");
        }
        assert!(!shown(&session).contains("0a"));
    }

    #[test]
    fn a_route_that_nobody_thought_of_is_closed_to_accounts() {
        let bob = Caller::new("bob", Default::default(), false);
        for path in ["/metrics", "/v1/new", "/docs"] {
            assert!(allow(&bob, path).is_err() && allow(&Caller::administrator("admin"), path).is_ok(), "{path}");
        }
        for path in ["/", "/v1/routers/x/config", "/v1/commands/CreateZone", "/zstack/v1/zones"] {
            assert!(allow(&bob, path).is_ok(), "{path}");
        }
    }
}
