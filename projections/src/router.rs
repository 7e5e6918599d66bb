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
use switchback_events::{Deviation, Id, Nic, RouterEvent};

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
        | RouterEvent::MoveRequested { .. }
        | RouterEvent::SuccessorPrepared {}
        | RouterEvent::SuccessorServes { .. } => return Ok(vec![]),
        RouterEvent::Moved { host, cluster } => set()
            .put("status", "Connecting")
            .put("statusReason", Val::Null)
            .put("clusterUuid", *cluster)
            .put("hostUuid", *host)
            .put("lastHostUuid", *host),
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
                .put("healthReason", Val::Null)
                .put("driftCount", 0_u8)
                .put("driftReason", Val::Null)
                .put("lastError", Val::Null)
                .put("hostUuid", host)
                .put("agentDigest", agent_digest)
                .put("configRevision", *revision)
                .put("configDigest", config_digest)
        }
        RouterEvent::Disconnected { reason } => {
            unknown(set()).put("status", "Disconnected").put("statusReason", reason)
        }
        RouterEvent::ConfigApplied { revision, config_digest } => {
            let health = held(rows, id, "healthReason")?;
            set()
                .put("configRevision", *revision)
                .put("configDigest", config_digest)
                .put("lastError", Val::Null)
                .put("driftCount", 0_u8)
                .put("driftReason", Val::Null)
                .put("statusReason", health.as_deref())
        }
        RouterEvent::DriftChanged { items, more } => {
            let (count, reason) = deviations(items, *more);
            let health = held(rows, id, "healthReason")?;
            set()
                .put("driftCount", count)
                .put("driftReason", reason.as_deref())
                .put("statusReason", joined(health.as_deref(), reason.as_deref()).as_deref())
        }
        RouterEvent::HealthChanged { unhealthy } => {
            let words = |(service, detail): (&String, &String)| format!("{service}: {detail}");
            let reason = (!unhealthy.is_empty()).then(|| unhealthy.iter().map(words).collect::<Vec<_>>().join("; "));
            let drift = held(rows, id, "driftReason")?;
            set()
                .put("healthReason", reason.as_deref())
                .put("statusReason", joined(reason.as_deref(), drift.as_deref()).as_deref())
        }
        RouterEvent::ConfigFailed { revision, section, detail } => {
            set().put("lastError", format!("configuration {revision}, {section}: {detail}"))
        }
        RouterEvent::NicAttached { nic } => {
            let hypervisor = hypervisor(id, &ROUTER, rows)?;
            return Ok(hypervisor.map(|hypervisor| nic_row(id, hypervisor, nic, true)).into_iter().collect());
        }
        RouterEvent::NicDetached { nic, l3_network: _ } => RowChange::delete(&NIC, *nic),
        RouterEvent::Stopped {} => unknown(set())
            .put("state", "Stopped")
            .put("status", "Disconnected")
            .put("statusReason", Val::Null)
            .put("hostUuid", Val::Null),
        RouterEvent::StopFailed { code: _, detail } => unknown(set())
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
        RouterEvent::StartFailed { code: _, detail } => unknown(set())
            .put("state", "Stopped")
            .put("status", "Disconnected")
            .put("statusReason", detail)
            .put("lastError", detail)
            .put("hostUuid", Val::Null),
    }])
}

/// What was found before is not known to be so still.
fn unknown(change: RowChange) -> RowChange {
    change.put("healthReason", Val::Null).put("driftCount", Val::Null).put("driftReason", Val::Null)
}

/// A text that the router's row has.
fn held(rows: &dyn Rows, id: Id, field: &'static str) -> Result<Option<String>, StoreError> {
    let row = rows.get(&ROUTER, &id.to_string())?;
    Ok(row.and_then(|row| row.value(&ROUTER, field).text().map(str::to_string)))
}

fn joined(first: Option<&str>, second: Option<&str>) -> Option<String> {
    let both: Vec<&str> = first.into_iter().chain(second).collect();
    (!both.is_empty()).then(|| both.join("; "))
}

/// Items that a reason names; of the others it has the number.
const NAMED: usize = 3;

/// How many things differ, and which in words.
pub(crate) fn deviations(items: &[Deviation], more: u64) -> (u64, Option<String>) {
    let count = items.len() as u64 + more;
    let mut words: Vec<String> = items
        .iter()
        .take(NAMED)
        .map(|found| format!("{} ({}) is {}", found.item, found.section, found.observed))
        .collect();
    let others = count.saturating_sub(words.len() as u64);
    if others > 0 {
        words.push(format!("{others} more"));
    }
    (count, (count > 0).then(|| format!("differs from its configuration: {}", words.join(", "))))
}
