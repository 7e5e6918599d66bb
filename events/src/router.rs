//! What happens to a virtual router.

use crate::{ClusterId, HostId, HypervisorType, ImageId, L3NetworkId, Nic, NicId, OfferingId, ZoneId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One thing that was found other than the configuration in force has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deviation {
    /// The section of the configuration.
    pub section: String,
    /// What.
    pub item: String,
    /// What should be.
    pub expected: String,
    /// What is.
    pub observed: String,
}

/// Events of a virtual router.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum RouterEvent {
    /// Wanted, and to be started. The nics are in the order of their device ids.
    Created {
        zone: ZoneId,
        cluster: ClusterId,
        host: HostId,
        hypervisor_type: HypervisorType,
        name: String,
        offering: OfferingId,
        image: ImageId,
        management_network: L3NetworkId,
        public_network: L3NetworkId,
        default_route_network: L3NetworkId,
        nics: Vec<Nic>,
    },
    StartRequested {
        host: HostId,
        cluster: ClusterId,
    },
    StopRequested {},
    RebootRequested {},
    /// Check the agent, restart it, replay the history and apply it whole.
    ReconnectRequested {},
    /// Apply the services again, without touching the agent.
    ProvisionRequested {},
    /// Another appliance is to take the place of the one that serves.
    ReplaceRequested {},
    /// The same, on another host.
    MoveRequested {
        host: HostId,
        cluster: ClusterId,
    },
    /// It is there, beside the one that serves, and is well.
    SuccessorPrepared {},
    /// It serves, with the connections and leases that it was given; the one before it waits.
    SuccessorServes {
        connections: u64,
        leases: u64,
        /// How long plugging it in took.
        switch_micros: u64,
    },
    /// It was found where the one before it was, and that one is gone.
    Replaced {},
    /// It was found, and it is on this host; what was on the one before goes.
    Moved {
        host: HostId,
        cluster: ClusterId,
    },
    /// The one that served before serves on.
    ReplaceFailed {
        code: String,
        detail: String,
    },
    DestroyRequested {
        l3_networks: Vec<L3NetworkId>,
    },
    /// A nic has other addresses; those that it had are free again.
    NicChanged {
        nic: Nic,
    },
    /// Another agent binary was put in place. Digests are SHA-256 in hexadecimal.
    AgentUpgraded {
        from: String,
        to: String,
    },
    /// The agent answers and has applied the configuration of `revision`.
    Connected {
        agent_digest: String,
        revision: u64,
        config_digest: String,
    },
    Disconnected {
        reason: String,
    },
    /// A later configuration is in force.
    ConfigApplied {
        revision: u64,
        config_digest: String,
    },
    /// The agent refused a configuration and went back to its last good one.
    ConfigFailed {
        revision: u64,
        section: String,
        detail: String,
    },
    Stopped {},
    /// It did not stop in time: it should run again.
    StopFailed {
        code: String,
        detail: String,
    },
    /// It has one nic more.
    NicAttached {
        nic: Nic,
    },
    /// It goes on without this nic, whose addresses are free again.
    NicDetached {
        nic: NicId,
        l3_network: L3NetworkId,
    },
    /// It is gone; its addresses are free again. The records of its services stay with their networks.
    Destroyed {
        l3_networks: Vec<L3NetworkId>,
    },
    /// Creation or start came to nothing.
    StartFailed {
        code: String,
        detail: String,
    },
    /// What differs from the configuration in force is not what differed before; empty: nothing does any more. `more`
    /// do besides those that are named.
    DriftChanged {
        items: Vec<Deviation>,
        more: u64,
    },
    /// Other services than before do not answer as they should: by name, what was found. Empty: all do.
    HealthChanged {
        unhealthy: BTreeMap<String, String>,
    },
}
