//! Who asks, as every way in says it to the bus; and whether such a one may send a message at all.

use crate::{Access, Message, Refusal, RefusalKind, code, in_scopes};
use std::sync::Arc;
use switchback_events::{ADMIN_ACCOUNT, AccountId, Id};

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// The name that stands in the log.
    pub name: String,
    /// The account; none where nobody has logged in.
    pub account: Option<AccountId>,
    /// It may do everything.
    pub admin: bool,
    /// The access key or API token that it came in by.
    pub credential: Option<Id>,
    /// The messages that it may send, where that is less than what its account may.
    pub scopes: Option<Arc<[String]>>,
    /// No limit of requests holds it up.
    pub unlimited: bool,
}

impl Caller {
    /// An account.
    pub fn new(name: impl Into<String>, account: AccountId, admin: bool) -> Caller {
        let (name, account) = (name.into(), Some(account));
        Caller { name, account, admin, credential: None, scopes: None, unlimited: false }
    }

    /// Somebody who has not logged in.
    pub fn nobody() -> Caller {
        Caller { account: None, ..Caller::new("system:log-in", AccountId::default(), false) }
    }

    /// Why nobody comes in, of a token or session that nobody knows.
    pub fn unknown() -> Refusal {
        let detail = "the token or session is not known, or has expired";
        Refusal::new(RefusalKind::Unauthenticated, code::INVALID_SESSION, detail)
    }

    /// The administrator, under this name.
    pub fn administrator(name: impl Into<String>) -> Caller {
        Caller::new(name, ADMIN_ACCOUNT, true)
    }

    /// The account whose eyes a reply is for; none for an administrator, who sees everything.
    pub fn limited_to(&self) -> Option<AccountId> {
        if self.admin { None } else { Some(self.account.unwrap_or_default()) }
    }

    /// Refuses a message that such a caller may not send, whatever its parameters.
    ///
    /// # Errors
    /// ID.1002 for who has not logged in, else ID.1001.
    pub fn may_send(&self, message: &Message) -> Result<(), Refusal> {
        self.in_scope(message)?;
        match message.access {
            Access::Anyone => Ok(()),
            Access::Account if self.admin || self.account.is_some() => Ok(()),
            Access::Account | Access::Administrator | Access::System => self.must_be_admin(message.name),
        }
    }

    /// Refuses `what` to all but administrators.
    ///
    /// # Errors
    /// ID.1002 for who has not logged in, else ID.1001.
    pub fn must_be_admin(&self, what: &str) -> Result<(), Refusal> {
        if self.admin {
            return Ok(());
        }
        if self.account.is_none() {
            let detail = format!("{what} needs an account");
            return Err(Refusal::new(RefusalKind::Unauthenticated, code::INVALID_SESSION, detail)
                .hint("send the header Authorization: Bearer <token>"));
        }
        let name = &self.name;
        let detail = format!("account `{name}` may not use {what}: only an account of type SystemAdmin may");
        Err(Refusal::new(RefusalKind::Forbidden, code::PERMISSION_DENIED, detail))
    }

    /// Refuses a message that the API token it came in by is not for.
    fn in_scope(&self, message: &Message) -> Result<(), Refusal> {
        let Some(scopes) = self.scopes.as_ref().filter(|scopes| !in_scopes(scopes, message.name, message.kind)) else {
            return Ok(());
        };
        let (token, scopes) = (self.credential.unwrap_or_default(), scopes.join(", "));
        let detail = format!("the API token {token} may not send {}: its scopes are {scopes}", message.name);
        let refusal = Refusal::new(RefusalKind::Forbidden, code::PERMISSION_DENIED, detail);
        Err(refusal.hint("CreateApiToken makes one with other scopes"))
    }

    /// Refuses `what`, which is no message, to a token that is not for everything.
    ///
    /// # Errors
    /// ID.1001.
    pub fn in_every_scope(&self, what: &str) -> Result<(), Refusal> {
        if self.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(|scope| scope == "*")) {
            return Ok(());
        }
        let detail = format!("an API token may not have {what} unless `*` is among its scopes");
        Err(Refusal::new(RefusalKind::Forbidden, code::PERMISSION_DENIED, detail))
    }
}
