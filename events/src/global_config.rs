//! What happens to the global configuration: one stream for all of it.

use crate::Id;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Events of the global configuration.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum GlobalConfigEvent {
    Changed { category: String, name: String, value: String },
}

/// The id of the one stream.
pub fn global_config_id() -> Id {
    Id::of_name("switchback.global-config")
}
