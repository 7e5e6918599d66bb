//! What can be asked of accounts. A password travels as the lower-case hexadecimal SHA-512 of its text, as ZStack's
//! clients send it.

use crate::{Check::*, Secret, messages};
use switchback_events::AccountId;

messages! {
    /// Creates an account.
    Command CreateAccount "POST" "/accounts" => "account" {
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
    Command UpdateAccount "PUT" "/accounts/{uuid}" => "account" {
        /// The account.
        uuid: AccountId = Uuid,
        /// The name that it logs in with.
        name: Option<String> = Text(255),
        /// The SHA-512 of the new password, as 128 lower-case hexadecimal digits.
        password: Option<Secret> = Password,
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Deletes an account. One that is not there is a success; `admin` stays.
    Command DeleteAccount "DELETE" "/accounts/{uuid}" => "" {
        /// The account.
        uuid: AccountId = Uuid,
    }
}
