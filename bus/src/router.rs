//! What can be asked of virtual routers besides what can be asked of every VM.

use crate::{Check::*, host::DEVIATION, messages};
use std::collections::BTreeMap;
use switchback_events::{Deviation, HostId, RouterId};

messages! {
    /// Connects a router again: upgrades its agent where the digest differs, restarts it, replays the whole history
    /// into the configuration and applies it.
    Command ReconnectVirtualRouter "PUT" "/vm-instances/appliances/virtual-routers/{vmInstanceUuid}/actions" => "virtualRouter" for Account {
        /// The router.
        vm_instance_uuid: RouterId = Uuid,
    }
    /// Puts another appliance in the place of a running router's, without loss: the other one is made beside it, or on another
    /// host, is given its connections and leases, and is plugged in where it was. Its agent is this server's own. Where the other
    /// one is not well, the router serves on as it is.
    Command ReplaceVirtualRouter "" "" => "virtualRouter" for Account {
        /// The router.
        vm_instance_uuid: RouterId = Uuid,
        /// The host to place it on; its own when not given.
        host_uuid: Option<HostId> = Uuid,
    }
    /// Applies a running router's services again.
    Command ProvisionVirtualRouterConfig "PUT" "/vm-instances/appliances/virtual-routers/{vmInstanceUuid}/provision" => "virtualRouter" for Account {
        /// The router.
        vm_instance_uuid: RouterId = Uuid,
    }
    /// What of a router differs from its configuration, and which of its services do not answer as they should.
    Command ReportApplianceFindings "" "" => "" [internal] {
        /// The router.
        uuid: RouterId = Uuid,
        /// What differs; not looked at when not given.
        drift: Option<Vec<Deviation>> = Objects(DEVIATION),
        /// By service, what is wrong; not asked when not given.
        unhealthy: Option<BTreeMap<String, String>> = Any,
    }
    /// What was found of a router.
    Command ReportApplianceStatus "" "" => "" [internal] {
        /// The router.
        uuid: RouterId = Uuid,
        /// What was found.
        status: String = Enum(&["Connected", "Disconnected", "Applied", "ApplyFailed", "Stopped", "StopFailed", "StartFailed", "AgentUpgraded", "SuccessorPrepared", "SuccessorServes", "Replaced", "ReplaceFailed"]),
        /// With `Connected`: the digest of its agent.
        agent_digest: Option<String> = Text(64),
        /// With `AgentUpgraded`: the digest of the agent before.
        agent_digest_before: Option<String> = FreeText(64),
        /// The revision that is in force, or failed.
        revision: Option<u64> = Int(0, i64::MAX),
        /// The digest of the configuration in force.
        config_digest: Option<String> = Text(64),
        /// With `SuccessorServes`: how many connections it was given.
        connections: Option<u64> = Int(0, i64::MAX),
        /// With `SuccessorServes`: how many leases it was given.
        leases: Option<u64> = Int(0, i64::MAX),
        /// With `SuccessorServes`: the microseconds that plugging it in took.
        switch_micros: Option<u64> = Int(0, i64::MAX),
        /// With `ApplyFailed`: the section.
        section: Option<String> = FreeText(255),
        /// Why.
        detail: Option<String> = FreeText(4096),
    }
}
