//! Who may send what.
//!
//! **Invariant:** an account that is no administrator may send what is listed here and nothing else, so a new route or
//! message is closed to it.

use crate::{Caller, Problem};
use serde_json::Value;
use switchback_bus::{Refusal, RefusalKind, code};

/// What needs no more than what is in it: a name and a password, or a session.
pub(crate) fn open(path: &str) -> bool {
    const PATHS: [&str; 4] = [
        "/v1/commands/LogInByAccount",
        "/v1/commands/LogOut",
        "/v1/queries/ValidateSession",
        "/zstack/v1/accounts/login",
    ];
    let session =
        path.strip_prefix("/zstack/v1/accounts/sessions/").map(|rest| rest.strip_suffix("/valid").unwrap_or(rest));
    PATHS.contains(&path)
        || session.is_some_and(|session| session.len() == 32 && session.bytes().all(|c| c.is_ascii_hexdigit()))
}

/// The path without the secrets that stand in it, for the program's log.
pub(crate) fn shown(path: &str) -> &str {
    const SESSIONS: &str = "/zstack/v1/accounts/sessions/";
    if path.starts_with(SESSIONS) { SESSIONS } else { path }
}

/// Refuses a request to what `caller` may not use.
pub(crate) fn allow(caller: &Caller, path: &str) -> Result<(), Problem> {
    // What UpdateAccount may change is asked when its words are read.
    if caller.admin || open(path) || matches!(path, "/" | "/v1/commands/UpdateAccount") {
        return Ok(());
    }
    let path: String = path.chars().take(120).collect();
    Err(denied(caller, &path))
}

/// Refuses a command that `caller` may not send with these words.
pub(crate) fn allow_command(caller: &Caller, name: &str, parameters: &Value) -> Result<(), Problem> {
    let own = caller.account.is_some_and(|account| parameters["uuid"] == account.to_string());
    if caller.admin || name != "UpdateAccount" || own {
        return Ok(());
    }
    Err(denied(caller, "UpdateAccount of another account"))
}

fn denied(caller: &Caller, what: &str) -> Problem {
    let detail = format!("account `{}` may not use {what}: only an account of type SystemAdmin may", caller.name);
    Refusal::new(RefusalKind::Forbidden, code::PERMISSION_DENIED, detail).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_names_a_session_needs_none() {
        let session = format!("/zstack/v1/accounts/sessions/{}", "0a".repeat(16));
        assert!(open(&session) && open(&format!("{session}/valid")) && open("/zstack/v1/accounts/login"));
        for path in
            [&session[..session.len() - 1], &format!("{session}/other"), "/zstack/v1/accounts", "/zstack/v1/zones"]
        {
            assert!(!open(path), "{path}");
        }
        assert!(!shown(&session).contains("0a"));
    }
}
