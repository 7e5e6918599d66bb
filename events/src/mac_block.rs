//! What happens to a block of hardware addresses. The block owns them, so a MAC has at most one holder.

use crate::{Mac, NicId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Events of a MAC block (the addresses that share their first two bytes).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum MacBlockEvent {
    Allocated { mac: Mac, nic: NicId },
    Released { mac: Mac, nic: NicId },
}
