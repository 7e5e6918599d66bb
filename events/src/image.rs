//! What happens to an image record. Images are referred to, not executed.

use crate::Enabled;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Events of an image.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum ImageEvent {
    Added { name: String, description: Option<String>, media_type: String, format: String, url: String, system: bool },
    Updated { name: Option<String>, description: Option<String> },
    StateChanged { state: Enabled },
    Deleted {},
}
