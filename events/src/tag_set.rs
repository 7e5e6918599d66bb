//! What happens to the tags of one resource. The stream's id is the resource's.

use crate::{Id, TagId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose tag it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum TagType {
    /// A user's, with any text.
    User,
    /// One that the system reads, with a pattern.
    System,
}

/// Events of the tags of one resource.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum TagSetEvent {
    /// `refers_to` are the resources that the tag's text names.
    Created {
        tag: TagId,
        tag_type: TagType,
        resource_type: String,
        text: String,
        inherent: bool,
        refers_to: Vec<Id>,
    },
    /// Its text is another one, which names `refers_to`.
    Updated {
        tag: TagId,
        text: String,
        refers_to: Vec<Id>,
    },
    Deleted {
        tag: TagId,
    },
}
