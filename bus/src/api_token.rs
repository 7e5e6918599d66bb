//! What can be asked of API tokens: by what machines come in, for some messages and some time.

use crate::{Check::*, MessageKind, Refusal, messages, nearest};
use switchback_events::{AccountId, ApiTokenId, Id};

messages! {
    /// Creates a token by which a machine comes in as an account (`Authorization: Bearer`), for some messages and some time.
    /// The token is in this command's reply, and never again.
    Command CreateApiToken "POST" "/api-tokens" => "apiToken" for Account {
        /// What it is for.
        name: String = Text(255),
        /// The messages that it may send: `read` (whatever changes nothing), names such as `CreateVmInstance`, patterns such as
        /// `Query*`, or `*` for all.
        scopes: Vec<String> = List(&Text(255)),
        /// For so many seconds; 90 days when not given.
        expires_in: Option<u64> = Int(1, 315_360_000),
        /// Whose it is: the account that asks unless said otherwise.
        account_uuid: Option<AccountId> = Uuid,
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The uuid that it shall have.
        resource_uuid: Option<ApiTokenId> = Uuid,
    }
    /// Deletes an API token. One that is not there is a success.
    Command DeleteApiToken "DELETE" "/api-tokens/{uuid}" => "" for Account {
        /// The token.
        uuid: ApiTokenId = Uuid,
    }
    /// The node's word on a new API token.
    Command ReportApiToken "" "" => "apiToken" [internal] {
        /// The account.
        uuid: AccountId = Uuid,
        /// What it is for.
        name: String = Text(255),
        /// The messages that it may send.
        scopes: Vec<String> = List(&Text(255)),
        /// For so many seconds.
        expires_in: u64 = Int(1, 315_360_000),
        /// What stands for it where it is kept.
        digest: Id = Uuid,
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
}

/// For how many seconds a token is good when nobody says.
pub const TOKEN_SECONDS: u64 = 90 * 24 * 3600;

/// What begins every API token: so are they known, also by programs that look for secrets where none should be.
pub const TOKEN_PREFIX: &str = "sbt_";

/// What gives more rights than the token has, so that no pattern but `*` takes it along: it must be named.
const NAMED_ONLY: &[&str] = &[
    "CreateAccount",
    "UpdateAccount",
    "CreateAccessKey",
    "ChangeAccessKeyState",
    "CreateApiToken",
    "GetAgentToken",
    "ShareResource",
    "ChangeResourceOwner",
    "UpdateQuota",
];

/// Whether one of `scopes` has the message `name`.
pub fn in_scopes(scopes: &[String], name: &str, kind: MessageKind) -> bool {
    scopes.iter().any(|scope| in_scope(scope, name, kind))
}

/// Whether a scope has the message `name`, and does not take it along by chance.
pub(crate) fn in_scope(scope: &str, name: &str, kind: MessageKind) -> bool {
    has(scope, name, kind) && (scope == "*" || scope == name || !NAMED_ONLY.contains(&name))
}

/// Whether the message `name` is as `scope` says.
pub(crate) fn has(scope: &str, name: &str, kind: MessageKind) -> bool {
    match scope {
        "read" => kind != MessageKind::Command,
        scope => scope == name || fits(scope, name),
    }
}

/// Whether `name` is as `pattern` says, whose one `*` is for any letters.
fn fits(pattern: &str, name: &str) -> bool {
    pattern.split_once('*').is_some_and(|(before, after)| {
        name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
    })
}

/// Refuses scopes that no message is in.
///
/// # Errors
/// SYS.1007 that names the scope, and the nearest.
pub fn accept_scopes(scopes: &[String]) -> Result<(), Refusal> {
    if scopes.is_empty() {
        return Err(Refusal::argument(
            "scopes",
            "[]",
            "at least one: `read`, a message, a pattern such as `Query*`, or `*`",
        ));
    }
    scopes.iter().enumerate().try_for_each(|(at, scope)| accept_scope(&format!("scopes[{at}]"), scope, scope))
}

/// Refuses the text of `field`, by which `scope` is meant, if no message is in that.
pub(crate) fn accept_scope(field: &str, text: &str, scope: &str) -> Result<(), Refusal> {
    let known = || messages().filter(|message| !message.internal);
    if scope == "read" || known().any(|message| message.name == scope || fits(scope, message.name)) {
        return Ok(());
    }
    let refusal = Refusal::argument(field, text, "`read`, a message, a pattern such as `Query*`, or `*`");
    Err(match nearest(scope, known().map(|message| message.name)) {
        Some(near) => refusal.hint(format!("did you mean {near}?")),
        None => refusal,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_has_what_it_says_and_no_key_to_more() {
        let has = |scope: &str, name: &str, kind| in_scopes(&[scope.to_string()], name, kind);
        use MessageKind::*;
        for (scope, name, kind) in [
            ("*", "CreateAccessKey", Command),
            ("CreateAccessKey", "CreateAccessKey", Command),
            ("Create*", "CreateZone", Command),
            ("*Zone", "CreateZone", Command),
            ("Create*Network", "CreateL3Network", Command),
            ("read", "QueryZone", Query),
            ("read", "GetFreeIp", Read),
        ] {
            assert!(has(scope, name, kind), "{scope} {name}");
        }
        for (scope, name, kind) in [
            ("Create*", "CreateAccessKey", Command),
            ("Create*", "DeleteZone", Command),
            ("read", "CreateZone", Command),
            ("Change*", "ChangeResourceOwner", Command),
            ("*Resource", "ShareResource", Command),
            ("Update*", "UpdateQuota", Command),
            ("read", "GetAgentToken", Read),
            ("Get*", "GetAgentToken", Read),
            ("CreateZone*Zone", "CreateZone", Command),
            ("createZone", "CreateZone", Command),
            ("Create", "CreateZone", Command),
        ] {
            assert!(!has(scope, name, kind), "{scope} {name}");
        }
        assert!(!in_scopes(&[], "QueryZone", Query));
    }
}
