//! What happens to a policy: statements that roles share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a statement says of its messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum PolicyEffect {
    Allow,
    /// Whatever else allows them.
    Deny,
}

/// One statement: what may, or may not, be sent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub struct PolicyStatement {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub effect: PolicyEffect,
    /// Messages and patterns of them, as they were given.
    pub actions: Vec<String>,
}

/// Events of a policy. Its statements are never changed: roles take another policy.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum PolicyEvent {
    Created { name: String, description: Option<String>, statements: Vec<PolicyStatement> },
    Deleted {},
}
