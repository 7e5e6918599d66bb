//! What happens to the configuration of one resource. The stream's id is the resource's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Events of the configuration of one resource.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum ResourceConfigEvent {
    /// The resource has this value of its own.
    Changed { resource_type: String, category: String, name: String, value: String },
    /// It has none any more: what holds for its surroundings holds for it.
    Deleted { category: String, name: String },
}
