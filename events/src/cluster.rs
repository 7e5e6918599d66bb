//! What happens to a cluster.

use crate::{Enabled, ZoneId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What runs the VMs of a cluster's hosts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum HypervisorType {
    /// Real Linux hosts with our host agent.
    KVM,
    /// Hosts simulated in the server's process.
    Simulator,
}

/// Events of a cluster.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum ClusterEvent {
    Created { zone: ZoneId, name: String, description: Option<String>, hypervisor_type: HypervisorType },
    Updated { name: Option<String>, description: Option<String> },
    StateChanged { state: Enabled },
    Deleted {},
}
