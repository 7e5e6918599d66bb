//! What happens to an L2 network: a broadcast domain, attached to clusters and realised on their hosts.

use crate::{ClusterId, HostId, NetworkServiceProviderId, ZoneId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a broadcast domain is told apart on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum L2NetworkType {
    /// Untagged frames of the physical interface.
    L2NoVlanNetwork,
    /// Frames with an 802.1Q tag.
    L2VlanNetwork,
}

/// Events of an L2 network.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum L2NetworkEvent {
    Created {
        zone: ZoneId,
        name: String,
        description: Option<String>,
        physical_interface: String,
        network_type: L2NetworkType,
        /// 1 to 4094 for a VLAN network, absent otherwise.
        vlan: Option<u16>,
        v_switch_type: String,
    },
    Updated {
        name: Option<String>,
        description: Option<String>,
    },
    /// The attachment is wanted: check and realise it on these hosts.
    AttachRequested {
        cluster: ClusterId,
        hosts: Vec<HostId>,
    },
    /// Realised on every host that had to.
    Attached {
        cluster: ClusterId,
    },
    /// A host refused: nothing is attached.
    AttachFailed {
        cluster: ClusterId,
        code: String,
        detail: String,
    },
    Detached {
        cluster: ClusterId,
    },
    /// May give services to its L3 networks. The built-in providers may from the beginning.
    ProviderAttached {
        provider: NetworkServiceProviderId,
    },
    ProviderDetached {
        provider: NetworkServiceProviderId,
    },
    /// It is to carry other frames: check and realise that on these hosts.
    VlanChangeRequested {
        network_type: L2NetworkType,
        vlan: Option<u16>,
        hosts: Vec<HostId>,
    },
    /// Realised on every host that had to.
    VlanChanged {
        network_type: L2NetworkType,
        vlan: Option<u16>,
    },
    /// A host refused: it carries the frames that it did before.
    VlanChangeFailed {
        code: String,
        detail: String,
    },
    Deleted {},
}
