//! API tokens: by what machines come in as an account, for some messages and some time. They go with their account.

use crate::{access_key::owner, account::Account, context::Context, decision::Decision, facts::Facts, rules};
use serde::{Deserialize, Serialize};
use switchback_bus::{DeleteApiToken, Refusal, ReportApiToken, accept_scopes};
use switchback_events::*;

/// The most that an account has: its state stays small.
const MOST: usize = 100;

/// An API token.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ApiToken {
    /// What it is for.
    pub name: String,
    /// What stands for it.
    pub digest: Id,
    /// The messages that it may send.
    pub scopes: Vec<String>,
    /// Until when.
    pub expires: Micros,
}

pub(crate) fn create(command: &ReportApiToken, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let account = rules::existing::<Account>(facts, "accountUuid", command.uuid)?;
    accept_scopes(&command.scopes)?;
    let id = context.resource_id();
    if account.api_tokens.len() >= MOST {
        let detail =
            format!("accountUuid = `{}`: the account has {MOST} API tokens, and may have no more", command.uuid);
        return Err(Refusal::operation(detail).hint("delete those that have expired, or that nobody uses"));
    }
    Ok(Decision::about(StreamKind::Account, command.uuid).show_other("apiToken", id).event(
        AccountEvent::ApiTokenCreated {
            api_token: ApiTokenId(id),
            name: command.name.clone(),
            description: command.description.clone(),
            digest: command.digest,
            scopes: command.scopes.clone(),
            expires: context.now + command.expires_in as Micros * 1_000_000,
        },
    ))
}

pub(crate) fn delete(command: &DeleteApiToken, facts: &Facts) -> Result<Decision, Refusal> {
    Ok(match owner(facts, command.uuid.0)? {
        Some((id, account)) if account.api_tokens.contains_key(&command.uuid) => {
            Decision::about(StreamKind::Account, id).event(AccountEvent::ApiTokenDeleted { api_token: command.uuid })
        }
        _ => Decision::about(StreamKind::Account, command.uuid),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{Given, id};

    fn report(scopes: &[&str]) -> ReportApiToken {
        ReportApiToken {
            uuid: id("bob"),
            name: "ci".to_string(),
            scopes: scopes.iter().map(|scope| scope.to_string()).collect(),
            expires_in: 3,
            digest: Id::of_name("digest"),
            description: None,
        }
    }

    fn bob() -> Given {
        let (name, account_type) = ("bob".to_string(), AccountType::Normal);
        Given::nothing().event("bob", AccountEvent::Created { name, description: None, account_type, password: None })
    }

    #[test]
    fn a_token_expires_after_so_many_seconds_and_is_for_messages_that_there_are() {
        let made = bob().when(report(&["read", "CreateZone", "Delete*"])).unwrap();
        assert!(matches!(&made[..], [Event::Account(AccountEvent::ApiTokenCreated { expires: 3_000_002, .. })]));
        assert_eq!(bob().when(report(&[])).unwrap_err().field.as_deref(), Some("scopes"));
        let wrong = bob().when(report(&["read", "CreateZon"])).unwrap_err();
        assert_eq!(
            (wrong.field.as_deref(), wrong.hint.as_deref()),
            (Some("scopes[1]"), Some("did you mean CreateZone?"))
        );
        for bad in ["", "Creat", "X*", "*e*", "ReportLogIn"] {
            assert!(bob().when(report(&[bad])).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_account_has_so_many_tokens_until_some_are_deleted() {
        let token = |number: usize| AccountEvent::ApiTokenCreated {
            api_token: id(&number.to_string()),
            name: "ci".to_string(),
            description: None,
            digest: Id::of_name(&format!("digest {number}")),
            scopes: vec![],
            expires: 7,
        };
        let given = (0..MOST).fold(bob(), |given, number| given.event("bob", token(number)));
        assert!(given.when(report(&["read"])).unwrap_err().detail.contains("no more"));
        let deleted = AccountEvent::ApiTokenDeleted { api_token: id("7") };
        assert_eq!(given.when(DeleteApiToken { uuid: id("7") }).unwrap(), [Event::from(deleted.clone())]);
        let given = given.event("bob", deleted);
        assert_eq!(given.when(DeleteApiToken { uuid: id("7") }).unwrap(), []);
        assert!(given.when(report(&["read"])).is_ok());
    }
}
