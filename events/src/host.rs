//! What happens to a host.

use crate::{ClusterId, Deviation, Enabled, HypervisorType, ZoneId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// Whether the host's agent answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum HostStatus {
    Connecting,
    Connected,
    Disconnected,
}

/// What a host is there for.
///
/// ```text
/// Enabled ⇄ Disabled ──► PreMaintenance ──nothing runs any more──► Maintenance ──► Enabled or Disabled
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum HostState {
    /// New VMs and routers are placed on it.
    #[default]
    Enabled,
    /// What is there goes on; nothing new comes.
    Disabled,
    /// It is being emptied.
    PreMaintenance,
    /// It is left alone: its agent is neither asked nor told anything.
    Maintenance,
}

impl From<Enabled> for HostState {
    fn from(state: Enabled) -> HostState {
        match state {
            Enabled::Enabled => HostState::Enabled,
            Enabled::Disabled => HostState::Disabled,
        }
    }
}

/// Events of a host.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum HostEvent {
    Added {
        zone: ZoneId,
        cluster: ClusterId,
        name: String,
        description: Option<String>,
        management_ip: Ipv4Addr,
        /// TCP port of the host agent.
        agent_port: u16,
        hypervisor_type: HypervisorType,
    },
    Updated {
        name: Option<String>,
        description: Option<String>,
    },
    StateChanged {
        state: HostState,
    },
    /// An operator asked for a new connection.
    ReconnectRequested {},
    StatusChanged {
        status: HostStatus,
        reason: Option<String>,
    },
    /// What users should know of it, such as what its kernel lacks.
    NotesChanged {
        notes: Vec<String>,
    },
    /// What filters its nics differs from what was put in place in other things than before; empty: in nothing any more.
    /// `more` differ besides those that are named.
    DriftChanged {
        items: Vec<Deviation>,
        more: u64,
    },
    Deleted {},
}
