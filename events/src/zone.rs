//! What happens to a zone.

use crate::Enabled;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Events of a zone.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum ZoneEvent {
    Created { name: String, description: Option<String>, is_default: bool },
    Updated { name: Option<String>, description: Option<String>, is_default: Option<bool> },
    StateChanged { state: Enabled },
    Deleted {},
}
