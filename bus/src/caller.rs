//! Who asks, as every way in says it to the bus; and whether such a one may send a message at all.

use crate::{Access, Message, Refusal, RefusalKind, code};
use switchback_events::{ADMIN_ACCOUNT, AccountId};

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// The name that stands in the log.
    pub name: String,
    /// The account; none where nobody has logged in.
    pub account: Option<AccountId>,
    /// It may do everything.
    pub admin: bool,
}

impl Caller {
    /// Somebody who has not logged in.
    pub fn nobody() -> Caller {
        Caller { name: "system:log-in".to_string(), account: None, admin: false }
    }

    /// The administrator, under this name.
    pub fn administrator(name: impl Into<String>) -> Caller {
        Caller { name: name.into(), account: Some(ADMIN_ACCOUNT), admin: true }
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
}
