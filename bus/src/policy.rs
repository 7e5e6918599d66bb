//! What can be asked of policies: statements that roles share, about messages that may or may not be sent.

use crate::{Check::*, MessageKind, Refusal, accept_scope, has, in_scope, messages};
use serde_json::{Map, Value};
use switchback_events::{PolicyEffect, PolicyId, PolicyStatement};

messages! {
    /// Creates a policy: statements that roles may take.
    Command CreatePolicy "POST" "/accounts/policies" => "policy" for Administrator {
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// What may be sent, and what may not.
        statements: Vec<PolicyStatement> = Statements,
    }
    /// Deletes a policy. One that is not there is a success; one that a role has names its blockers.
    Command DeletePolicy "DELETE" "/accounts/policies/{uuid}" => "" for Administrator {
        /// The policy.
        uuid: PolicyId = Uuid,
    }
}

/// The most statements that a role or policy has of its own.
pub const STATEMENTS: usize = 50;

/// The most actions that all of these have together: they are looked at for each message.
pub const ACTIONS: usize = 200;

/// The message, or the pattern of messages, that an action means: of ZStack's name for a message
/// (`org.zstack.header.vm.APICreateVmInstanceMsg`) it is ours (`CreateVmInstance`).
fn meant(action: &str) -> &str {
    let class = action.rsplit('.').next().and_then(|class| class.strip_prefix("API")?.strip_suffix("Msg"));
    class.unwrap_or(action)
}

/// Whether a statement speaks of a message. What gives more rights is allowed by its name or by `*` alone, as to an API
/// token, and denied by every pattern that has it.
pub fn speaks_of(statement: &PolicyStatement, name: &str, kind: MessageKind) -> bool {
    statement.actions.iter().any(|action| match statement.effect {
        PolicyEffect::Allow => in_scope(meant(action), name, kind),
        PolicyEffect::Deny => has(meant(action), name, kind),
    })
}

/// Refuses what is no list of statements, or speaks of no message.
///
/// # Errors
/// SYS.1007 that names the place within `field`.
pub(crate) fn accept_statements(field: &str, value: &Value) -> Result<(), Refusal> {
    let statements = value.as_array().filter(|list| !list.is_empty() && list.len() <= STATEMENTS);
    let Some(statements) = statements else { return Err(Refusal::argument(field, shown(value), Statements.right())) };
    let mut actions = 0;
    for (at, statement) in statements.iter().enumerate() {
        let field = format!("{field}[{at}]");
        let statement = statement.as_object();
        let statement = statement.ok_or_else(|| Refusal::argument(&field, shown(value), Statements.right()))?;
        actions += accept_statement(&field, statement)?;
    }
    if actions > ACTIONS {
        return Err(Refusal::argument(field, format!("{actions} actions"), format!("at most {ACTIONS} in all")));
    }
    Ok(())
}

/// How many actions it has.
fn accept_statement(field: &str, statement: &Map<String, Value>) -> Result<usize, Refusal> {
    let within = |name: &str| format!("{field}.{name}");
    if let Some((other, value)) =
        statement.iter().find(|(name, _)| !["name", "effect", "actions"].contains(&name.as_str()))
    {
        let refusal = Refusal::argument(&within(other), shown(value), "a statement has name, effect and actions");
        return Err(refusal.hint("it is of messages as a whole: whose resources they may name follows from ownership"));
    }
    if let Some(name) = statement.get("name").filter(|name| !name.is_null()) {
        Text(255).accept(&within("name"), name)?;
    }
    let effect = statement.get("effect").unwrap_or(&Value::Null);
    Enum(&["Allow", "Deny"]).accept(&within("effect"), effect)?;
    let actions = statement.get("actions").unwrap_or(&Value::Null);
    let right = "a list with at least one action: `read`, a message, a pattern such as `Query*`, or `*`";
    let Some(actions) = actions.as_array().filter(|actions| !actions.is_empty()) else {
        return Err(Refusal::argument(&within("actions"), shown(actions), right));
    };
    for (at, action) in actions.iter().enumerate() {
        let field = format!("{field}.actions[{at}]");
        Text(255).accept(&field, action)?;
        let action = action.as_str().unwrap_or_default();
        accept_scope(&field, action, meant(action)).map_err(|refusal| match refusal.hint {
            None if action.contains('.') => refusal.hint("name the message: packages of ZStack's are not known here"),
            _ => refusal,
        })?;
    }
    Ok(actions.len())
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MessageKind::{Command, Query};
    use serde_json::json;

    #[test]
    fn a_statement_speaks_of_messages_by_our_names_and_by_zstacks() {
        use PolicyEffect::{Allow, Deny};
        let speaks = |effect, action: &str, name: &str, kind| {
            speaks_of(
                &PolicyStatement { name: None, effect, actions: vec!["x".to_string(), action.to_string()] },
                name,
                kind,
            )
        };
        for (effect, action, name, kind) in [
            (Allow, "*", "CreateAccessKey", Command),
            (Allow, "Create*", "CreateVmInstance", Command),
            (Allow, "org.zstack.header.vm.APICreateVmInstanceMsg", "CreateVmInstance", Command),
            (Allow, ".header.vm.APIQueryVm*Msg", "QueryVmInstance", Query),
            (Allow, "APICreateVmInstanceMsg", "CreateVmInstance", Command),
            (Allow, "read", "QueryZone", Query),
            (Deny, "Create*", "CreateAccessKey", Command),
            (Deny, "read", "QueryZone", Query),
        ] {
            assert!(speaks(effect, action, name, kind), "{action} {name}");
        }
        for (effect, action, name, kind) in [
            (Allow, "Create*", "CreateAccessKey", Command),
            (Allow, "org.zstack.header.vm.APICreateVmInstanceMsg", "CreateZone", Command),
            (Allow, "read", "CreateZone", Command),
            (Deny, "Create*", "DeleteZone", Command),
        ] {
            assert!(!speaks(effect, action, name, kind), "{action} {name}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_statement_is_said_with_its_place() {
        let good =
            || json!({"name": "n", "effect": "Allow", "actions": ["org.zstack.header.zone.APICreateZoneMsg", "read"]});
        assert_eq!(accept_statements("statements", &json!([good(), good()])), Ok(()));
        let with = |field: &str, value: Value| {
            let mut statement = good();
            statement[field] = value;
            json!([good(), statement])
        };
        let many = |count: usize| Value::from(vec!["read"; count]);
        for (value, field) in [
            (json!([]), "statements"),
            (json!("x"), "statements"),
            (Value::from(vec![good(); STATEMENTS + 1]), "statements"),
            (json!([7]), "statements[0]"),
            (with("resources", json!(["x"])), "statements[1].resources"),
            (with("name", json!(7)), "statements[1].name"),
            (with("effect", json!("allow")), "statements[1].effect"),
            (json!([{"actions": ["read"]}]), "statements[0].effect"),
            (with("actions", json!([])), "statements[1].actions"),
            (with("actions", json!("read")), "statements[1].actions"),
            (with("actions", json!(["read", "CreateZon"])), "statements[1].actions[1]"),
            (with("actions", json!([7])), "statements[1].actions[0]"),
            (with("actions", json!(["ReportLogIn"])), "statements[1].actions[0]"),
            (with("actions", many(ACTIONS)), "statements"),
        ] {
            let refusal = accept_statements("statements", &value).unwrap_err();
            assert_eq!(refusal.field.as_deref(), Some(field), "{value}");
        }
        let hint = |action: &str| accept_statements("s", &with("actions", json!([action]))).unwrap_err().hint.unwrap();
        assert_eq!(hint("org.zstack.header.zone.APICreateZonMsg"), "did you mean CreateZone?");
        assert!(hint("org.zstack.header.vm.**").contains("packages"));
        assert_eq!(accept_statements("s", &json!([{"effect": "Deny", "actions": many(ACTIONS)}])), Ok(()));
    }
}
