//! What happens to an account: who may ask, and by what it comes in.

use crate::{AccessKeyId, ApiTokenId, Enabled, Id, Micros};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The account that every installation begins with, by the reference's uuid.
pub const ADMIN_ACCOUNT: crate::AccountId =
    crate::AccountId(crate::Id(0x36c27e8f_f05c_4780_bf6d_2fa65700f22e_u128.to_be_bytes()));

/// What an account may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum AccountType {
    /// Everything.
    SystemAdmin,
    /// What is its own.
    Normal,
}

/// An argon2id hash of a password, with its salt and parameters (a PHC string). It is in the log, where it must be, and
/// in nothing that people see: in JSON and for debugging it is a word.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// What stands for it in JSON.
    pub const SHOWN: &str = "(hash)";

    /// Of a PHC string.
    pub fn new(phc: impl Into<String>) -> PasswordHash {
        PasswordHash(phc.into())
    }

    /// The PHC string, for who verifies.
    pub fn phc(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PasswordHash::SHOWN)
    }
}

impl Serialize for PasswordHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = if serializer.is_human_readable() { PasswordHash::SHOWN } else { &self.0 };
        serializer.serialize_str(text)
    }
}

impl<'de> Deserialize<'de> for PasswordHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PasswordHash, D::Error> {
        String::deserialize(deserializer).map(PasswordHash)
    }
}

/// The secret of an access key, sealed under a key that is not in the log. In JSON and for debugging it is a word.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret(Vec<u8>);

impl SealedSecret {
    /// What stands for it in JSON.
    pub const SHOWN: &str = "(sealed)";

    /// Of the sealed bytes.
    pub fn new(sealed: impl Into<Vec<u8>>) -> SealedSecret {
        SealedSecret(sealed.into())
    }

    /// The sealed bytes, for who has the key.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SealedSecret::SHOWN)
    }
}

impl Serialize for SealedSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(SealedSecret::SHOWN)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for SealedSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SealedSecret, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = SealedSecret;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("sealed bytes")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SealedSecret, E> {
                Ok(SealedSecret(text.into()))
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<SealedSecret, E> {
                Ok(SealedSecret(bytes.into()))
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Visitor)
        } else {
            deserializer.deserialize_bytes(Visitor)
        }
    }
}

/// Events of an account.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum AccountEvent {
    /// Without a password nobody logs in as it.
    Created {
        name: String,
        description: Option<String>,
        account_type: AccountType,
        password: Option<PasswordHash>,
    },
    Updated {
        name: Option<String>,
        description: Option<String>,
    },
    PasswordChanged {
        password: PasswordHash,
    },
    Deleted {},
    /// A session began; those of `ended` had expired, or gave way to it.
    LoggedIn {
        session: Id,
        expires: Micros,
        ended: Vec<Id>,
    },
    /// Somebody gave a wrong password.
    LogInRefused {},
    LoggedOut {
        session: Id,
    },
    /// It may sign requests. `key_id` names the key there; it is no secret.
    AccessKeyCreated {
        access_key: AccessKeyId,
        key_id: String,
        secret: SealedSecret,
        description: Option<String>,
    },
    AccessKeyStateChanged {
        access_key: AccessKeyId,
        state: Enabled,
    },
    AccessKeyDeleted {
        access_key: AccessKeyId,
    },
    /// Who knows the token that `digest` is of comes in as the account, for the messages of `scopes`.
    ApiTokenCreated {
        api_token: ApiTokenId,
        name: String,
        description: Option<String>,
        digest: Id,
        scopes: Vec<String>,
        expires: Micros,
    },
    ApiTokenDeleted {
        api_token: ApiTokenId,
    },
}

/// What stands for a session where it is kept: its uuid itself is its secret.
pub fn session_id(secret: &str) -> Id {
    Id::of_name(&format!("session:{secret}"))
}

/// What stands for an API token where it is kept.
pub fn api_token_digest(token: &str) -> Id {
    Id::of_name(&format!("api-token:{token}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, StreamKind};

    #[test]
    fn a_password_is_in_the_log_as_a_hash_and_in_nothing_that_is_shown() {
        assert_eq!(ADMIN_ACCOUNT.to_string(), "36c27e8ff05c4780bf6d2fa65700f22e");
        let event = Event::from(AccountEvent::PasswordChanged { password: PasswordHash::new("$argon2id$secret") });
        let bytes = event.encode().unwrap();
        assert_eq!(Event::decode(StreamKind::Account, 1, &bytes).unwrap(), event);
        for shown in [event.to_json().to_string(), format!("{event:?}")] {
            assert!(shown.contains("(hash)") && !shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn a_sealed_secret_is_in_the_log_byte_for_byte_and_in_nothing_that_is_shown() {
        let event = Event::from(AccountEvent::AccessKeyCreated {
            access_key: AccessKeyId(Id::of_name("k")),
            key_id: "K".to_string(),
            secret: SealedSecret::new([0, 255, 7]),
            description: None,
        });
        let bytes = event.encode().unwrap();
        assert_eq!(Event::decode(StreamKind::Account, 2, &bytes).unwrap(), event);
        for shown in [event.to_json().to_string(), format!("{event:?}")] {
            assert!(shown.contains("(sealed)") && !shown.contains("255"), "{shown}");
        }
    }
}
