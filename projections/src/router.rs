//! The rows of virtual routers. `state` is the VM's; `status` says whether its agent answers:
//!
//! ```text
//! create, start, reboot, reconnect ─> Connecting ─> Connected ─> Disconnected ─> Connecting …
//!                                         └─────────────────────────^
//! ```

use crate::catalogue::{NIC, ROUTER};
use crate::fold::{RowChange, Rows};
use crate::store::StoreError;
use crate::value::Val;
use crate::vip;
use crate::vm_instance::{delete_nics, hypervisor, moved, nic, nic_row};
use switchback_events::{Id, Nic, RouterEvent};

/// The TCP port of the router agent.
const AGENT_PORT: u16 = 7272;

pub(crate) fn changes(id: Id, event: &RouterEvent, rows: &dyn Rows) -> Result<Vec<RowChange>, StoreError> {
    let set = || RowChange::set(&ROUTER, id);
    Ok(vec![match event {
        RouterEvent::Created {
            zone,
            cluster,
            host,
            hypervisor_type,
            name,
            offering,
            image,
            management_network,
            public_network,
            default_route_network,
            nics,
        } => {
            let guest = nics.iter().find(|nic| nic.is(Nic::GUEST));
            let router = RowChange::insert(&ROUTER, id)
                .put("name", name)
                .put("type", "ApplianceVm")
                .put("applianceVmType", "VirtualRouter")
                .put("zoneUuid", *zone)
                .put("clusterUuid", *cluster)
                .put("lastHostUuid", *host)
                .put("imageUuid", *image)
                .put("instanceOfferingUuid", *offering)
                .put("virtualRouterOfferingUuid", *offering)
                .put("managementNetworkUuid", *management_network)
                .put_some("guestNetworkUuid", guest.map(|nic| nic.l3_network))
                .put("publicNetworkUuid", *public_network)
                .put("defaultRouteL3NetworkUuid", *default_route_network)
                .put("defaultL3NetworkUuid", *default_route_network)
                .put("hypervisorType", Val::name_of(hypervisor_type))
                .put("state", "Starting")
                .put("status", "Connecting")
                .put("haStatus", "NoHa")
                .put("agentPort", AGENT_PORT)
                .put("configRevision", 0_u8);
            let nics_of = nics;
            let nics = nics.iter().map(|n| nic(id, *hypervisor_type, n, true));
            return Ok(std::iter::once(router).chain(nics).chain(vip::of_router(id, name, nics_of)).collect());
        }
        RouterEvent::StartRequested { host, cluster } => set()
            .put("state", "Starting")
            .put("status", "Connecting")
            .put("statusReason", Val::Null)
            .put("clusterUuid", *cluster)
            .put("lastHostUuid", *host),
        RouterEvent::NicChanged { nic } => {
            return Ok(std::iter::once(moved(nic)).chain(vip::of_nic(nic)).collect());
        }
        RouterEvent::StopRequested {} => set().put("state", "Stopping"),
        RouterEvent::RebootRequested {} => {
            set().put("state", "Rebooting").put("status", "Connecting").put("statusReason", Val::Null)
        }
        RouterEvent::ReconnectRequested {} => set().put("status", "Connecting").put("statusReason", Val::Null),
        RouterEvent::ProvisionRequested {}
        | RouterEvent::ReplaceRequested {}
        | RouterEvent::SuccessorPrepared {}
        | RouterEvent::SuccessorServes { .. } => return Ok(vec![]),
        RouterEvent::Replaced {} => set().put("status", "Connecting").put("statusReason", Val::Null),
        RouterEvent::ReplaceFailed { code: _, detail } => set().put("lastError", detail),
        RouterEvent::DestroyRequested { .. } => set().put("state", "Destroying"),
        RouterEvent::AgentUpgraded { from: _, to } => set().put("agentDigest", to),
        RouterEvent::Connected { agent_digest, revision, config_digest } => {
            // It runs where it was last placed.
            let row = rows.get(&ROUTER, &id.to_string())?;
            let host = row.map_or(Val::Null, |row| row.value(&ROUTER, "lastHostUuid").clone());
            set()
                .put("state", "Running")
                .put("status", "Connected")
                .put("statusReason", Val::Null)
                .put("lastError", Val::Null)
                .put("hostUuid", host)
                .put("agentDigest", agent_digest)
                .put("configRevision", *revision)
                .put("configDigest", config_digest)
        }
        RouterEvent::Disconnected { reason } => set().put("status", "Disconnected").put("statusReason", reason),
        RouterEvent::ConfigApplied { revision, config_digest } => {
            set().put("configRevision", *revision).put("configDigest", config_digest).put("lastError", Val::Null)
        }
        RouterEvent::ConfigFailed { revision, section, detail } => {
            set().put("lastError", format!("configuration {revision}, {section}: {detail}"))
        }
        RouterEvent::NicAttached { nic } => return Ok(vec![nic_row(id, hypervisor(id, &ROUTER, rows)?, nic, true)]),
        RouterEvent::NicDetached { nic, l3_network: _ } => RowChange::delete(&NIC, *nic),
        RouterEvent::Stopped {} => set()
            .put("state", "Stopped")
            .put("status", "Disconnected")
            .put("statusReason", Val::Null)
            .put("hostUuid", Val::Null),
        RouterEvent::StopFailed { code: _, detail } => set()
            .put("state", "Running")
            .put("status", "Disconnected")
            .put("statusReason", detail)
            .put("lastError", detail),
        RouterEvent::Destroyed { .. } => {
            let mut changes = vip::without(id, rows)?;
            changes.extend(delete_nics(id, rows)?);
            changes.push(RowChange::delete(&ROUTER, id));
            return Ok(changes);
        }
        RouterEvent::StartFailed { code: _, detail } => set()
            .put("state", "Stopped")
            .put("status", "Disconnected")
            .put("statusReason", detail)
            .put("lastError", detail)
            .put("hostUuid", Val::Null),
    }])
}
