//! Access keys: what an account's programs sign their requests with. They are of their account and go with it.

use crate::{account::Account, context::Context, decision::Decision, directory::Relation, facts::Facts, rules};
use serde::{Deserialize, Serialize};
use switchback_bus::{ChangeAccessKeyState, DeleteAccessKey, Refusal, ReportAccessKey, key_owner};
use switchback_events::*;

/// The most that an account has: its state stays small.
const MOST: usize = 100;

/// An access key.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AccessKey {
    /// What requests name it by.
    pub key_id: String,
    /// What they are signed with.
    pub secret: SealedSecret,
    /// Whether they come in.
    pub state: Enabled,
}

/// The account of a key or token, and its state, where there are both.
pub(crate) fn owner(facts: &Facts, uuid: Id) -> Result<Option<(Id, std::sync::Arc<Account>)>, Refusal> {
    match facts.members(Relation::AccountOfCredential, uuid).first() {
        Some(account) => Ok(Some((*account, facts.get::<Account>(*account)?))),
        None => Ok(None),
    }
}

pub(crate) fn create(command: &ReportAccessKey, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let account = rules::existing::<Account>(facts, "accountUuid", command.uuid)?;
    let id = context.resource_id();
    if !facts.members(Relation::KeysWithId, key_owner(&command.key_id)).is_empty() {
        return Err(Refusal::operation(format!("AccessKeyID = `{}`: another access key has this id", command.key_id)));
    }
    if account.access_keys.len() >= MOST {
        let detail =
            format!("accountUuid = `{}`: the account has {MOST} access keys, and may have no more", command.uuid);
        return Err(Refusal::operation(detail).hint("delete those that nobody signs with"));
    }
    Ok(Decision::about(StreamKind::Account, command.uuid).show_other("accessKey", id).event(
        AccountEvent::AccessKeyCreated {
            access_key: AccessKeyId(id),
            key_id: command.key_id.clone(),
            secret: command.secret.clone(),
            description: command.description.clone(),
        },
    ))
}

pub(crate) fn change_state(command: &ChangeAccessKeyState, facts: &Facts) -> Result<Decision, Refusal> {
    let owner = owner(facts, command.uuid.0)?;
    let found = owner.as_ref().and_then(|(id, account)| Some((*id, account.access_keys.get(&command.uuid)?)));
    let Some((account, key)) = found else { return Err(Refusal::not_found("uuid", "access key", command.uuid)) };
    let decision = Decision::about(StreamKind::Account, account).show_other("accessKey", command.uuid);
    let state = rules::state_event(&command.state_event);
    if key.state == state {
        return Ok(decision);
    }
    Ok(decision.event(AccountEvent::AccessKeyStateChanged { access_key: command.uuid, state }))
}

pub(crate) fn delete(command: &DeleteAccessKey, facts: &Facts) -> Result<Decision, Refusal> {
    Ok(match owner(facts, command.uuid.0)? {
        Some((id, account)) if account.access_keys.contains_key(&command.uuid) => {
            Decision::about(StreamKind::Account, id).event(AccountEvent::AccessKeyDeleted { access_key: command.uuid })
        }
        _ => Decision::about(StreamKind::Account, command.uuid),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{Given, id};

    fn account(name: &str) -> AccountEvent {
        let (name, account_type) = (name.to_string(), AccountType::Normal);
        AccountEvent::Created { name, description: None, account_type, password: None }
    }

    fn report(account: &str, key_id: &str) -> ReportAccessKey {
        let secret = SealedSecret::new(*b"sealed");
        ReportAccessKey { uuid: id(account), key_id: key_id.to_string(), secret, description: None }
    }

    fn created(key: &str) -> AccountEvent {
        let secret = SealedSecret::new(*b"sealed");
        AccountEvent::AccessKeyCreated { access_key: id(key), key_id: key.to_string(), secret, description: None }
    }

    #[test]
    fn an_id_is_of_one_key_until_the_key_or_its_account_goes() {
        let given =
            Given::nothing().event("bob", account("bob")).event("eve", account("eve")).event("bob", created("k"));
        assert!(given.when(report("eve", "k")).unwrap_err().detail.contains("another access key"));
        assert!(given.when(report("eve", "l")).is_ok());
        let gone = given.event("bob", AccountEvent::AccessKeyDeleted { access_key: id("k") });
        assert!(gone.when(report("eve", "k")).is_ok());
        let again = gone.event("bob", created("k"));
        assert!(again.when(report("eve", "k")).is_err());
        let deleted = again.event("bob", AccountEvent::Deleted {});
        assert!(deleted.when(report("eve", "k")).is_ok());
        assert_eq!(deleted.when(DeleteAccessKey { uuid: id("k") }).unwrap(), []);
        let change = ChangeAccessKeyState { uuid: id("k"), state_event: "disable".to_string() };
        assert!(deleted.when(change).is_err());
    }

    #[test]
    fn a_key_is_disabled_enabled_and_nothing_where_it_is_so_already() {
        let given = Given::nothing().event("bob", account("bob")).event("bob", created("k"));
        let change = |word: &str| ChangeAccessKeyState { uuid: id("k"), state_event: word.to_string() };
        assert_eq!(given.when(change("enable")).unwrap(), []);
        let disabled = AccountEvent::AccessKeyStateChanged { access_key: id("k"), state: Enabled::Disabled };
        assert_eq!(given.when(change("disable")).unwrap(), [Event::from(disabled.clone())]);
        assert_eq!(given.event("bob", disabled).when(change("disable")).unwrap(), []);
    }

    #[test]
    fn an_account_has_so_many_keys() {
        let mut given = Given::nothing().event("bob", account("bob"));
        for number in 0..MOST {
            given = given.event("bob", created(&number.to_string()));
        }
        assert!(given.when(report("bob", "one more")).unwrap_err().detail.contains("no more"));
    }
}
