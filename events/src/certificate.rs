//! What happens to a certificate: it comes with its key, and goes.

use crate::SealedSecret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Events of a certificate. What it is never changes: a listener is given another one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum CertificateEvent {
    Created {
        name: String,
        description: Option<String>,
        /// The certificates in PEM, its own first. They are public.
        chain: String,
        /// SHA-256 of chain and key in PEM, in hexadecimal.
        digest: String,
        /// The private key in PEM, sealed.
        key: SealedSecret,
    },
    Updated {
        name: Option<String>,
        description: Option<String>,
    },
    Deleted {},
}
