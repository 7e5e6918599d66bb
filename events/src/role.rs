//! What happens to a role: what the accounts that it is attached to may send.

use crate::{AccountId, PolicyId, PolicyStatement};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Events of a role.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum RoleEvent {
    /// It says what its own statements say, and those of its policies.
    Created {
        name: String,
        description: Option<String>,
        statements: Vec<PolicyStatement>,
        policies: Vec<PolicyId>,
    },
    Updated {
        name: Option<String>,
        description: Option<String>,
    },
    PolicyAttached {
        policy: PolicyId,
    },
    PolicyDetached {
        policy: PolicyId,
    },
    /// The account may send no more than its roles allow.
    AccountAttached {
        account: AccountId,
    },
    AccountDetached {
        account: AccountId,
    },
    Deleted {},
}
