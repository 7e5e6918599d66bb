//! The rows of hosts.

use crate::catalogue::HOST;
use crate::fold::RowChange;
use crate::router::deviations;
use crate::value::Val;
use switchback_events::{HostEvent, HostStatus, Id};

pub(crate) fn changes(id: Id, event: &HostEvent) -> Vec<RowChange> {
    vec![match event {
        HostEvent::Added { zone, cluster, name, description, management_ip, agent_port: _, hypervisor_type } => {
            RowChange::insert(&HOST, id)
                .put("zoneUuid", *zone)
                .put("clusterUuid", *cluster)
                .put("name", name)
                .put("description", description.as_deref())
                .put("managementIp", *management_ip)
                .put("hypervisorType", Val::name_of(hypervisor_type))
                .put("state", "Enabled")
                .put("status", "Connecting")
        }
        HostEvent::Updated { name, description } => {
            RowChange::set(&HOST, id).put_some("name", name.as_ref()).put_some("description", description.as_ref())
        }
        HostEvent::StateChanged { state } => RowChange::set(&HOST, id).put("state", Val::name_of(state)),
        HostEvent::ReconnectRequested {} => {
            RowChange::set(&HOST, id).put("status", "Connecting").put("statusReason", Val::Null)
        }
        HostEvent::StatusChanged { status, reason } => {
            let connected = *status == HostStatus::Connected;
            RowChange::set(&HOST, id)
                .put("status", Val::name_of(status))
                .put("statusReason", reason.as_deref())
                .put("driftCount", if connected { Val::from(0_u8) } else { Val::Null })
                .put("driftReason", Val::Null)
        }
        HostEvent::DriftChanged { items, more } => {
            let (count, reason) = deviations(items, *more);
            RowChange::set(&HOST, id)
                .put("driftCount", count)
                .put("driftReason", reason.as_deref())
                .put("statusReason", reason.as_deref())
        }
        HostEvent::NotesChanged { notes } => RowChange::set(&HOST, id).put("notes", notes.clone()),
        HostEvent::Deleted {} => RowChange::delete(&HOST, id),
    }]
}
