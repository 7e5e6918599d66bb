//! What happens to an instance offering; a virtual router offering is one with networks and an image.

use crate::{Enabled, ImageId, L3NetworkId, ZoneId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a virtual router offering adds to an instance offering.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct RouterTerms {
    pub zone: ZoneId,
    pub management_network: L3NetworkId,
    pub public_network: L3NetworkId,
    pub image: ImageId,
    pub is_default: bool,
}

/// Events of an offering.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum OfferingEvent {
    Created {
        name: String,
        description: Option<String>,
        cpu_num: u32,
        /// MHz.
        cpu_speed: u32,
        /// Bytes.
        memory_size: u64,
        allocator_strategy: String,
        /// Present for a virtual router offering.
        router: Option<RouterTerms>,
    },
    Updated {
        name: Option<String>,
        description: Option<String>,
        is_default: Option<bool>,
        image: Option<ImageId>,
    },
    StateChanged {
        state: Enabled,
    },
    Deleted {},
}
