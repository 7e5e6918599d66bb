//! The rows of clusters.

use crate::catalogue::CLUSTER;
use crate::fold::RowChange;
use crate::value::Val;
use switchback_events::{ClusterEvent, Id};

pub(crate) fn changes(id: Id, event: &ClusterEvent) -> Vec<RowChange> {
    vec![match event {
        ClusterEvent::Created { zone, name, description, hypervisor_type } => RowChange::insert(&CLUSTER, id)
            .put("zoneUuid", *zone)
            .put("name", name)
            .put("description", description.as_deref())
            .put("hypervisorType", Val::name_of(hypervisor_type))
            .put("state", "Enabled")
            .put("type", "zstack"),
        ClusterEvent::Updated { name, description } => {
            RowChange::set(&CLUSTER, id).put_some("name", name.as_ref()).put_some("description", description.as_ref())
        }
        ClusterEvent::StateChanged { state } => RowChange::set(&CLUSTER, id).put("state", Val::name_of(state)),
        ClusterEvent::Deleted {} => RowChange::delete(&CLUSTER, id),
    }]
}
