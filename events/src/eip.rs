//! What happens to an elastic IP: one-to-one NAT between a VIP and a nic. It stays when its nic goes, and is a fact about
//! nic and VIP, not about a router.

use crate::{Enabled, L3NetworkId, ServedNic, VipPlace};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Events of an EIP. Those that bear on a router name the guest network that it serves.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum EipEvent {
    Created {
        name: String,
        description: Option<String>,
        at: VipPlace,
    },
    Updated {
        name: Option<String>,
        description: Option<String>,
    },
    StateChanged {
        state: Enabled,
        /// The network of its nic, where it has one.
        guest_network: Option<L3NetworkId>,
    },
    /// It leads to this nic from now on. Only an enabled one is attached.
    Attached {
        at: VipPlace,
        to: ServedNic,
    },
    /// It leads to no nic.
    Detached {
        at: VipPlace,
        from: ServedNic,
    },
    Deleted {
        at: VipPlace,
        from: Option<ServedNic>,
    },
}
