//! What can be asked of accounts. A password travels as the lower-case hexadecimal SHA-512 of its text, as ZStack's
//! clients send it.

use crate::{Check::*, Secret, messages};
use switchback_events::{AccountId, Id};

messages! {
    /// Creates an account.
    Command CreateAccount "POST" "/accounts" => "account" for Administrator {
        /// The name that it logs in with; no two accounts have the same.
        name: String = Text(255),
        /// The SHA-512 of the password, as 128 lower-case hexadecimal digits.
        password: Secret = Password,
        /// What it may do: `Normal` unless said otherwise.
        r#type: Option<String> = Enum(&["SystemAdmin", "Normal"]),
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Changes an account's name, description or password.
    Command UpdateAccount "PUT" "/accounts/{uuid}" => "account" for Account {
        /// The account.
        uuid: AccountId = Uuid,
        /// The name that it logs in with.
        name: Option<String> = Text(255),
        /// The SHA-512 of the new password, as 128 lower-case hexadecimal digits.
        password: Option<Secret> = Password,
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Logs in: answers a session, whose uuid is given as `Authorization: OAuth <uuid>` (or `Bearer`) from then on. It is
    /// shown this once.
    Command LogInByAccount "PUT" "/accounts/login" => "" for Anyone {
        /// The account's name.
        account_name: String = Text(255),
        /// The SHA-512 of the password, as 128 lower-case hexadecimal digits.
        password: Secret = Password,
    }
    /// Ends a session. One that is not there is a success.
    Command LogOut "DELETE" "/accounts/sessions/{sessionUuid}" => "" for Anyone {
        /// The session.
        session_uuid: Secret = Session,
    }
    /// Whether a session is there and has not expired.
    Read ValidateSession "GET" "/accounts/sessions/{sessionUuid}/valid" => "" for Anyone {
        /// The session.
        session_uuid: Secret = Session,
    }
    /// The node's word on a log-in.
    Command ReportLogIn "" "" => "" [internal] {
        /// The account.
        uuid: AccountId = Uuid,
        /// The digest of the session that it shall have; none: the password was wrong.
        session: Option<Id> = Uuid,
        /// Which password it was verified with.
        verified: Option<Id> = Uuid,
    }
    /// The node's word on a session that ends.
    Command ReportLogOut "" "" => "" [internal] {
        /// The account.
        uuid: AccountId = Uuid,
        /// The digest of the session.
        session: Id = Uuid,
    }
    /// Deletes an account. One that is not there is a success; `admin` stays.
    Command DeleteAccount "DELETE" "/accounts/{uuid}" => "" for Administrator {
        /// The account.
        uuid: AccountId = Uuid,
    }
}
