//! The rows of L2 networks.

use crate::catalogue::L2;
use crate::fold::{RowChange, Rows};
use crate::store::StoreError;
use crate::value::Val;
use switchback_events::{ClusterId, Id, L2NetworkEvent};

pub(crate) fn changes(id: Id, event: &L2NetworkEvent, rows: &dyn Rows) -> Result<Vec<RowChange>, StoreError> {
    Ok(vec![match event {
        L2NetworkEvent::Created { zone, name, description, physical_interface, network_type, vlan, v_switch_type } => {
            RowChange::insert(&L2, id)
                .put("zoneUuid", *zone)
                .put("name", name)
                .put("description", description.as_deref())
                .put("physicalInterface", physical_interface)
                .put("type", Val::name_of(network_type))
                .put("vSwitchType", v_switch_type)
                .put("virtualNetworkId", vlan.unwrap_or(0))
                .put("vlan", *vlan)
        }
        L2NetworkEvent::Updated { name, description } => {
            RowChange::set(&L2, id).put_some("name", name.as_ref()).put_some("description", description.as_ref())
        }
        L2NetworkEvent::Attached { cluster } => attached(id, *cluster, true, rows)?,
        L2NetworkEvent::Detached { cluster } => attached(id, *cluster, false, rows)?,
        L2NetworkEvent::AttachRequested { .. } | L2NetworkEvent::AttachFailed { .. } => return Ok(vec![]),
        L2NetworkEvent::Deleted {} => RowChange::delete(&L2, id),
    }])
}

fn attached(id: Id, cluster: ClusterId, member: bool, rows: &dyn Rows) -> Result<RowChange, StoreError> {
    let cluster = cluster.to_string();
    let row = rows.get(&L2, &id.to_string())?;
    let mut clusters = row.map_or_else(Vec::new, |row| row.value(&L2, "attachedClusterUuids").members().to_vec());
    clusters.retain(|other| *other != cluster);
    if member {
        clusters.push(cluster);
    }
    Ok(RowChange::set(&L2, id).put("attachedClusterUuids", clusters))
}
