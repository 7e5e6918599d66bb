//! Account: who may ask. Its name is what it logs in with, so no two accounts have the same at the same time.

use crate::{
    access_key::AccessKey, api_token::ApiToken, context::Context, decision::Decision, directory::Relation,
    facts::Facts, ownership, role, rules,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use switchback_bus::{CreateAccount, DeleteAccount, Refusal, ReportLogIn, ReportLogOut, Secret, UpdateAccount};
use switchback_events::*;

/// An account.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Account {
    pub name: String,
    pub admin: bool,
    /// Nobody logs in as an account without one.
    pub password: Option<PasswordHash>,
    /// When each session expires, by the digest of its secret.
    pub sessions: BTreeMap<Id, Micros>,
    pub access_keys: BTreeMap<AccessKeyId, AccessKey>,
    pub api_tokens: BTreeMap<ApiTokenId, ApiToken>,
    pub deleted: bool,
}

rules::exists!(Account, "account");

impl Account {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &AccountEvent, _version: Version) {
        match event {
            AccountEvent::Created { name, account_type, password, .. } => {
                self.name.clone_from(name);
                self.admin = *account_type == AccountType::SystemAdmin;
                self.password.clone_from(password);
            }
            AccountEvent::Updated { name, .. } => self.name = name.clone().unwrap_or_else(|| self.name.clone()),
            // Whoever came in by the old password is out.
            AccountEvent::PasswordChanged { password } => {
                self.password = Some(password.clone());
                self.sessions.clear();
            }
            AccountEvent::Deleted {} => {
                (self.deleted, self.password) = (true, None);
                self.sessions.clear();
                self.access_keys.clear();
                self.api_tokens.clear();
            }
            AccountEvent::LoggedIn { session, expires, ended } => {
                self.sessions.retain(|session, _| !ended.contains(session));
                self.sessions.insert(*session, *expires);
            }
            AccountEvent::LogInRefused {} => {}
            AccountEvent::LoggedOut { session } => {
                self.sessions.remove(session);
            }
            AccountEvent::AccessKeyCreated { access_key, key_id, secret, description: _ } => {
                let (key_id, secret) = (key_id.clone(), secret.clone());
                self.access_keys.insert(*access_key, AccessKey { key_id, secret, state: Enabled::Enabled });
            }
            AccountEvent::AccessKeyStateChanged { access_key, state } => {
                if let Some(key) = self.access_keys.get_mut(access_key) {
                    key.state = *state;
                }
            }
            AccountEvent::AccessKeyDeleted { access_key } => {
                self.access_keys.remove(access_key);
            }
            AccountEvent::ApiTokenCreated { api_token, name, digest, scopes, expires, description: _ } => {
                let (name, scopes) = (name.clone(), scopes.clone());
                let token = ApiToken { name, digest: *digest, scopes, expires: *expires };
                self.api_tokens.insert(*api_token, token);
            }
            AccountEvent::ApiTokenDeleted { api_token } => {
                self.api_tokens.remove(api_token);
            }
        }
    }
}

/// Which password a hash is of, without the hash.
pub fn hash_id(hash: &PasswordHash) -> Id {
    Id::of_name(&format!("password-hash:{}", hash.phc()))
}

/// The owner of the set of accounts with a name.
pub fn name_owner(name: &str) -> Id {
    Id::of_name(&format!("account-name:{name}"))
}

/// The account that every installation begins with.
pub(crate) fn founding(password: Option<PasswordHash>) -> (StreamKey, Event) {
    let event = AccountEvent::Created {
        name: "admin".to_string(),
        description: None,
        account_type: AccountType::SystemAdmin,
        password,
    };
    (StreamKey::new(StreamKind::Account, ADMIN_ACCOUNT), event.into())
}

/// Refuses a name that another account has, or that could be taken for a component of the system in the log.
fn free_name(facts: &Facts, name: &str, own: Id) -> Result<(), Refusal> {
    if name.trim() != name || name.contains(':') {
        return Err(Refusal::argument("name", name, "a name without `:` and without blanks around it"));
    }
    match facts.members(Relation::AccountsNamed, name_owner(name)).into_iter().find(|other| *other != own) {
        Some(other) => Err(Refusal::operation(format!("name = `{name}`: account {other} has this name"))),
        None => Ok(()),
    }
}

pub(crate) fn create(command: &CreateAccount, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let id = context.resource_id();
    free_name(facts, &command.name, id)?;
    let admin = command.r#type.as_deref() == Some("SystemAdmin");
    Ok(Decision::about(StreamKind::Account, id).show("account").event(AccountEvent::Created {
        name: command.name.clone(),
        description: command.description.clone(),
        account_type: if admin { AccountType::SystemAdmin } else { AccountType::Normal },
        password: command.password.kept(),
    }))
}

pub(crate) fn update(command: &UpdateAccount, facts: &Facts) -> Result<Decision, Refusal> {
    let state = rules::existing::<Account>(facts, "uuid", command.uuid)?;
    let mut decision = Decision::about(StreamKind::Account, command.uuid).show("account");
    if let Some(name) = command.name.as_ref().filter(|name| **name != state.name) {
        if command.uuid == ADMIN_ACCOUNT {
            return Err(Refusal::argument("name", name, "the account admin keeps its name"));
        }
        free_name(facts, name, command.uuid.0)?;
    }
    if command.name.is_some() || command.description.is_some() {
        let event = AccountEvent::Updated { name: command.name.clone(), description: command.description.clone() };
        decision = decision.event(event);
    }
    if let Some(password) = command.password.as_ref().and_then(Secret::kept) {
        decision = decision.event(AccountEvent::PasswordChanged { password });
    }
    Ok(decision)
}

pub(crate) fn delete(command: &DeleteAccount, facts: &Facts) -> Result<Decision, Refusal> {
    let decision = Decision::about(StreamKind::Account, command.uuid);
    if command.uuid == ADMIN_ACCOUNT {
        return Err(Refusal::operation(format!("uuid = `{}`: the account admin stays", command.uuid)));
    }
    if !rules::Exists::exists(&*facts.get::<Account>(command.uuid)?) {
        return Ok(decision);
    }
    rules::unblocked("account", ownership::of_account(facts, command.uuid)?)?;
    let mut decision = decision.event(AccountEvent::Deleted {});
    ownership::forget(&mut decision, facts, command.uuid)?;
    role::forget(&mut decision, facts, command.uuid)?;
    Ok(decision)
}

/// A password was verified, or was wrong. One that was changed meanwhile is wrong.
pub(crate) fn log_in(command: &ReportLogIn, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let state = rules::existing::<Account>(facts, "uuid", command.uuid)?;
    let decision = Decision::about(StreamKind::Account, command.uuid);
    let same = state.password.as_ref().map(hash_id) == command.verified;
    let Some(session) = command.session.filter(|_| same) else {
        return Ok(decision.event(AccountEvent::LogInRefused {}));
    };
    let number = |name| facts.config("identity", name).map(|value| value.parse::<i64>().unwrap_or(1));
    let (seconds, most) = (number("session.timeout")?, number("session.maxConcurrent")?);
    let mut live: Vec<(Micros, Id)> = state.sessions.iter().map(|(session, expires)| (*expires, *session)).collect();
    live.sort_unstable();
    let expired = live.iter().filter(|(expires, _)| *expires <= context.now).count();
    let ending = expired.max((live.len() + 1).saturating_sub(most as usize));
    let ended = live.into_iter().take(ending).map(|(_, session)| session).collect();
    Ok(decision.event(AccountEvent::LoggedIn { session, expires: context.now + seconds * 1_000_000, ended }))
}

pub(crate) fn log_out(command: &ReportLogOut, facts: &Facts) -> Result<Decision, Refusal> {
    let state = facts.get::<Account>(command.uuid)?;
    let decision = Decision::about(StreamKind::Account, command.uuid);
    match state.sessions.contains_key(&command.session) {
        true => Ok(decision.event(AccountEvent::LoggedOut { session: command.session })),
        false => Ok(decision),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{Given, id};

    fn bob() -> AccountEvent {
        AccountEvent::Created {
            name: "bob".to_string(),
            description: None,
            account_type: AccountType::Normal,
            password: None,
        }
    }

    fn create(name: &str) -> CreateAccount {
        let password = Secret::Kept(PasswordHash::new("$x"));
        CreateAccount { name: name.to_string(), password, r#type: None, description: None }
    }

    #[test]
    fn a_name_is_free_again_when_its_account_goes_or_takes_another() {
        let taken = Given::nothing().event("bob", bob());
        assert!(taken.when(create("bob")).unwrap_err().detail.contains("has this name"));
        assert!(taken.when(create("admin")).is_err());
        let renamed = taken.event("bob", AccountEvent::Updated { name: Some("rob".to_string()), description: None });
        assert!(renamed.when(create("bob")).is_ok() && renamed.when(create("rob")).is_err());
        let gone = renamed.event("bob", AccountEvent::Deleted {});
        assert!(gone.when(create("rob")).is_ok());
    }

    #[test]
    fn what_was_not_made_a_hash_never_reaches_the_log() {
        let given = Given::nothing().event("bob", bob());
        let password = Secret::Sent("clear".to_string());
        let events = given.when(CreateAccount { password: password.clone(), ..create("eve") }).unwrap();
        assert!(matches!(&events[..], [Event::Account(AccountEvent::Created { password: None, .. })]));
        let update = UpdateAccount { uuid: id("bob"), name: None, description: None, password: Some(password) };
        assert_eq!(given.when(update).unwrap(), []);
    }

    #[test]
    fn sessions_expire_give_way_and_end_with_the_password() {
        let (one, two, three) = (Id::of_name("1"), Id::of_name("2"), Id::of_name("3"));
        let hash = PasswordHash::new("$old");
        let old = Some(hash_id(&hash));
        let report = |session, verified| ReportLogIn { uuid: id("bob"), session, verified };
        let began = |session, expires| AccountEvent::LoggedIn { session, expires, ended: vec![] };
        let given = Given::nothing().event("bob", bob()).event("bob", AccountEvent::PasswordChanged { password: hash });
        let refused = [Event::from(AccountEvent::LogInRefused {})];
        assert_eq!(given.when(report(None, old)).unwrap(), refused);
        assert_eq!(given.when(report(Some(one), None)).unwrap(), refused);
        let given = given.event("bob", began(one, 1)).event("bob", began(two, 9_000_000));
        let next = AccountEvent::LoggedIn { session: three, expires: 7_200_000_002, ended: vec![one] };
        assert_eq!(given.when(report(Some(three), old)).unwrap(), [Event::from(next)]);
        let most = ("identity".to_string(), "session.maxConcurrent".to_string(), "1".to_string());
        let given = given
            .event_at(global_config_id(), GlobalConfigEvent::Changed { category: most.0, name: most.1, value: most.2 });
        let next = AccountEvent::LoggedIn { session: three, expires: 7_200_000_002, ended: vec![one, two] };
        assert_eq!(given.when(report(Some(three), old)).unwrap(), [Event::from(next)]);
        let out = ReportLogOut { uuid: id("bob"), session: two };
        assert_eq!(given.when(out.clone()).unwrap(), [Event::from(AccountEvent::LoggedOut { session: two })]);
        let given = given.event("bob", AccountEvent::PasswordChanged { password: PasswordHash::new("$new") });
        assert_eq!(given.when(out).unwrap(), []);
        assert_eq!(given.when(report(Some(three), old)).unwrap(), refused);
    }
}
