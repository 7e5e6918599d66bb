//! Access keys and API tokens: how they are made, and from one to its account.
//!
//! Both are drawn here, outside of any decision. Of a token the log has a digest; of a key's secret, which is needed again
//! to verify what was signed with it, the log has it sealed.
//!
//! **Invariant:** what was drawn is answered once, to the command that made it. The log is asked each time whether a key
//! or token is there and good.

use super::Node;
use serde_json::json;
use std::sync::Arc;
use switchback_actors::{AccessKey, Account, ApiToken, directory::Relation};
use switchback_bus::*;
use switchback_events::{
    AccessKeyId, AccountEvent, AccountId, ApiTokenId, Commit, Enabled, Event, Id, Micros, SealedSecret,
    api_token_digest,
};

/// How far a signed request's time may be from the server's.
const WINDOW: Micros = 15 * 60 * 1_000_000;

/// What a command has made and its reply shows.
pub(super) struct Made {
    /// As the inventory names it.
    field: &'static str,
    secret: String,
    /// The command brought it along.
    given: bool,
    kept: Kept,
}

/// What the log has of it.
enum Kept {
    Sealed(SealedSecret),
    Digest(Id),
}

impl Kept {
    fn is_in(&self, commit: &Commit) -> bool {
        commit.events.iter().any(|event| match (&event.event, self) {
            (Event::Account(AccountEvent::AccessKeyCreated { secret, .. }), Kept::Sealed(own)) => secret == own,
            (Event::Account(AccountEvent::ApiTokenCreated { digest, .. }), Kept::Digest(own)) => digest == own,
            _ => false,
        })
    }
}

impl Made {
    /// Puts what was made into the reply of the commit that made it.
    ///
    /// # Errors
    /// It was answered before, and nobody knows it any more.
    pub fn reveal(&self, commit: &Commit, reply: &mut CommandReply) -> Result<(), Refusal> {
        if !self.given && !self.kept.is_in(commit) {
            let detail = format!("this command was answered before, and {} is shown only once", self.field);
            return Err(
                Refusal::operation(detail).hint("delete what it made, and make another with another Idempotency-Key")
            );
        }
        if let Some(inventory) = &mut reply.inventory {
            inventory[self.field] = json!(self.secret);
        }
        Ok(())
    }
}

/// A signature of a request, and what it is of.
pub struct Signed<'a> {
    /// The id of the key.
    pub key_id: &'a str,
    /// The HMAC-SHA1, in base64.
    pub signature: &'a str,
    /// The method.
    pub method: &'a str,
    /// The header `Date`, as it was sent.
    pub date: &'a str,
    /// The path below the context path, as it was sent.
    pub path: &'a str,
}

impl Node {
    /// Puts the node's report, with what it has drawn, in the place of a command that makes a key or token; and lets a
    /// command about another account's come to nothing.
    pub(super) fn credential(
        &self,
        command: &mut Command,
        common: &mut Common,
        caller: &Caller,
    ) -> Result<Option<Made>, Refusal> {
        match command {
            Command::CreateAccessKey(asked) => {
                let uuid = account_for(asked.account_uuid, caller)?;
                if let Some(user) = asked.user_uuid.filter(|user| *user != uuid) {
                    return Err(Refusal::not_found("userUuid", "user", user).hint("an account is its only user"));
                }
                let given = asked.access_key_secret.take();
                let (secret, given) = match given {
                    Some(Secret::Sent(sent)) => (sent, true),
                    _ => (self.secrets.letters(KEY_SECRET), false),
                };
                let key_id = asked.access_key_id.take().unwrap_or_else(|| self.secrets.letters(KEY_ID));
                let sealed = self.secrets.seal(&about(uuid, &key_id), &secret)?;
                common.resource_uuid = asked.resource_uuid.map(|uuid| uuid.0);
                let description = asked.description.take();
                *command = ReportAccessKey { uuid, key_id, secret: sealed.clone(), description }.into();
                Ok(Some(Made { field: "AccessKeySecret", secret, given, kept: Kept::Sealed(sealed) }))
            }
            Command::CreateApiToken(asked) => {
                let uuid = account_for(asked.account_uuid, caller)?;
                let secret = self.secrets.api_token();
                let digest = api_token_digest(&secret);
                common.resource_uuid = asked.resource_uuid.map(|uuid| uuid.0);
                let report = ReportApiToken {
                    uuid,
                    name: std::mem::take(&mut asked.name),
                    scopes: std::mem::take(&mut asked.scopes),
                    expires_in: asked.expires_in.unwrap_or(TOKEN_SECONDS),
                    digest,
                    description: asked.description.take(),
                };
                *command = report.into();
                Ok(Some(Made { field: "token", secret, given: false, kept: Kept::Digest(digest) }))
            }
            Command::ChangeAccessKeyState(asked) if self.is_anothers(asked.uuid.0, caller) => {
                Err(Refusal::not_found("uuid", "access key", asked.uuid))
            }
            Command::DeleteAccessKey(asked) if self.is_anothers(asked.uuid.0, caller) => {
                asked.uuid = AccessKeyId::default();
                Ok(None)
            }
            Command::DeleteApiToken(asked) if self.is_anothers(asked.uuid.0, caller) => {
                asked.uuid = ApiTokenId::default();
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Whether a key or token is of an account whose things `caller` does not see: then it is as if it were not there.
    fn is_anothers(&self, credential: Id, caller: &Caller) -> bool {
        let account = self.member(Relation::AccountOfCredential, credential).map(AccountId);
        !caller.admin && account.is_some() && account != caller.account
    }

    /// The account of an API token, and the token.
    ///
    /// # Errors
    /// There is none, or it has expired.
    pub fn api_token(&self, token: &str) -> Result<(AccountId, Arc<Account>, ApiTokenId, ApiToken), Refusal> {
        let digest = api_token_digest(token);
        let found = || {
            let uuid = self.member(Relation::TokensWithDigest, digest)?;
            let (account, state) = self.account_of(uuid)?;
            let token = state.api_tokens.get(&ApiTokenId(uuid))?.clone();
            Some((account, state, ApiTokenId(uuid), token))
        };
        let (account, state, uuid, token) = found().ok_or_else(|| unknown("there is no such API token"))?;
        if token.expires <= self.registry.clock().now() {
            let detail = format!("the API token `{}` ({uuid}) expired at {}", token.name, time(token.expires));
            return Err(unknown(&detail).hint("CreateApiToken makes another"));
        }
        Ok((account, state, uuid, token))
    }

    /// The account of the key that a request was signed with.
    ///
    /// # Errors
    /// What is wrong with the key, the time or the signature.
    pub fn signed(&self, signed: &Signed<'_>) -> Result<(AccountId, Arc<Account>, AccessKeyId), Refusal> {
        let key_id: String = signed.key_id.chars().take(64).collect();
        let found = || {
            let uuid = self.member(Relation::KeysWithId, key_owner(signed.key_id))?;
            let (account, state) = self.account_of(uuid)?;
            let key = state.access_keys.get(&AccessKeyId(uuid))?.clone();
            Some((account, state, AccessKeyId(uuid), key))
        };
        let none = || unknown(&format!("access key id `{key_id}`: there is no such key"));
        let (account, state, uuid, key) = found().ok_or_else(none)?;
        let text = format!("{}\n{}\n{}", signed.method, signed.date, signed.path);
        self.verify_signature(account, &key, &text, signed.signature)?;
        if key.state != Enabled::Enabled {
            return Err(unknown(&format!("access key id `{key_id}`: the key is disabled")));
        }
        let now = self.registry.clock().now();
        let right = "the time of the request, such as `Sat, 21 Nov 2026 17:54:12 GMT`";
        let Some(far) = super::signed_date::distance(signed.date, now) else {
            return Err(unknown(&format!("Date = `{}`: is not {right}", shown(signed.date))));
        };
        if far > WINDOW {
            let detail = format!(
                "Date = `{}`: is {} seconds from the server's time, {}; a signed request is good for {} seconds",
                shown(signed.date),
                far / 1_000_000,
                time(now),
                WINDOW / 1_000_000
            );
            return Err(unknown(&detail).hint("set the clock"));
        }
        Ok((account, state, uuid))
    }

    fn verify_signature(&self, account: AccountId, key: &AccessKey, text: &str, given: &str) -> Result<(), Refusal> {
        let Some(secret) = self.secrets.unseal(&about(account, &key.key_id), &key.secret) else {
            let detail = format!(
                "access key id `{}`: its secret was sealed with another secrets.key than this server has",
                key.key_id
            );
            return Err(unknown(&detail).hint("put back the secrets.key that it was made with, or make another key"));
        };
        if !super::secrets::signature_is(&secret, text, given) {
            // Its clients know these words.
            return Err(unknown("wrong accessKey signature").hint(
                "sign METHOD, the header Date and the path below the context path, with a newline between them",
            ));
        }
        Ok(())
    }

    /// How many access keys there are whose secrets cannot be read.
    pub(super) fn sealed_elsewhere(&self) -> Result<usize, Refusal> {
        let mut lost = 0;
        for id in self.states().members((Relation::All(switchback_events::StreamKind::Account), Id::NIL)) {
            let (_, account) = self.states().get::<Account>(id)?;
            let unreadable =
                |key: &&AccessKey| self.secrets.unseal(&about(AccountId(id), &key.key_id), &key.secret).is_none();
            lost += account.access_keys.values().filter(unreadable).count();
        }
        Ok(lost)
    }

    fn member(&self, relation: Relation, owner: Id) -> Option<Id> {
        self.states().members((relation, owner)).first().copied()
    }

    fn account_of(&self, credential: Id) -> Option<(AccountId, Arc<Account>)> {
        let account = self.member(Relation::AccountOfCredential, credential)?;
        Some((AccountId(account), self.states().get::<Account>(account).ok()?.1))
    }
}

/// The account that a key or token shall be of: the one that asks where none is named. To who is no administrator others
/// are as if they were not there.
fn account_for(named: Option<AccountId>, caller: &Caller) -> Result<AccountId, Refusal> {
    let Some(account) = named.or(caller.account) else {
        return Err(Refusal::missing("accountUuid", "the account that it shall be of"));
    };
    if caller.admin || caller.account == Some(account) {
        return Ok(account);
    }
    Err(Refusal::not_found("accountUuid", "account", account))
}

/// What a sealed secret is bound to: put elsewhere in the log, it opens nothing.
fn about(account: AccountId, key_id: &str) -> String {
    format!("{account}/{key_id}")
}

fn unknown(detail: &str) -> Refusal {
    Refusal::new(RefusalKind::Unauthenticated, code::INVALID_SESSION, detail)
}

fn shown(text: &str) -> String {
    text.chars().take(64).filter(|c| !c.is_control()).collect()
}

fn time(at: Micros) -> String {
    jiff::Timestamp::from_microsecond(at).map(|time| time.to_string()).unwrap_or_default()
}
