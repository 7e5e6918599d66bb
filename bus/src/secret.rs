//! What a user sends and nobody may see: it is not shown in JSON, in refusals or for debugging.

use crate::SealedCertificate;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use switchback_events::{PasswordHash, SealedSecret};

/// A password, or a certificate with its key, on its way.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum Secret {
    /// As it was sent.
    Sent(String),
    /// As it may be kept: the node puts this in the place of what was sent before anything is decided.
    Kept(PasswordHash),
    /// As a certificate may be kept.
    Sealed(Box<SealedCertificate>),
    /// As a VM's password may be kept.
    Closed(SealedSecret),
}

impl Secret {
    /// What may be kept. Of what is as it was sent: nothing.
    pub fn kept(&self) -> Option<PasswordHash> {
        match self {
            Secret::Sent(_) | Secret::Sealed(_) | Secret::Closed(_) => None,
            Secret::Kept(hash) => Some(hash.clone()),
        }
    }

    /// The certificate that may be kept. Of what is as it was sent: nothing.
    pub fn sealed(&self) -> Option<&SealedCertificate> {
        match self {
            Secret::Sealed(sealed) => Some(sealed),
            Secret::Sent(_) | Secret::Kept(_) | Secret::Closed(_) => None,
        }
    }

    /// The password of a VM that may be kept. Of what is as it was sent: nothing.
    pub fn closed(&self) -> Option<&SealedSecret> {
        match self {
            Secret::Closed(sealed) => Some(sealed),
            Secret::Sent(_) | Secret::Kept(_) | Secret::Sealed(_) => None,
        }
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret::Sent(text)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(secret)")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Whether the reply of the command `name` shows a secret, once: it is given to who waits for it, and kept for nobody.
pub fn shows_secret(name: &str) -> bool {
    matches!(name, "LogInByAccount" | "CreateAccessKey" | "CreateApiToken")
}
