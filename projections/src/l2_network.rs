//! The rows of L2 networks.

use crate::catalogue::L2;
use crate::fold::{RowChange, Rows};
use crate::store::StoreError;
use crate::value::Val;
use switchback_events::{BUILT_IN_PROVIDERS, Id, L2NetworkEvent, built_in_provider};

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
                .put("networkServiceProviderUuids", built_in())
                .put("isolated", false)
        }
        L2NetworkEvent::Updated { name, description } => {
            RowChange::set(&L2, id).put_some("name", name.as_ref()).put_some("description", description.as_ref())
        }
        L2NetworkEvent::Attached { cluster } => member(id, "attachedClusterUuids", cluster.0, true, rows)?,
        L2NetworkEvent::Detached { cluster } => member(id, "attachedClusterUuids", cluster.0, false, rows)?,
        L2NetworkEvent::ProviderAttached { provider } => member(id, PROVIDERS, provider.0, true, rows)?,
        L2NetworkEvent::ProviderDetached { provider } => member(id, PROVIDERS, provider.0, false, rows)?,
        L2NetworkEvent::VlanChanged { network_type, vlan } => RowChange::set(&L2, id)
            .put("type", Val::name_of(network_type))
            .put("virtualNetworkId", vlan.unwrap_or(0))
            .put("vlan", *vlan),
        L2NetworkEvent::AttachRequested { .. }
        | L2NetworkEvent::AttachFailed { .. }
        | L2NetworkEvent::VlanChangeRequested { .. }
        | L2NetworkEvent::VlanChangeFailed { .. } => return Ok(vec![]),
        L2NetworkEvent::Deleted {} => RowChange::delete(&L2, id),
    }])
}

const PROVIDERS: &str = "networkServiceProviderUuids";

/// The providers that may serve every new L2 network.
fn built_in() -> Vec<String> {
    BUILT_IN_PROVIDERS.into_iter().map(|provider_type| built_in_provider(provider_type).to_string()).collect()
}

/// The list `field` of the row with `one` in it, or without.
fn member(id: Id, field: &'static str, one: Id, member: bool, rows: &dyn Rows) -> Result<RowChange, StoreError> {
    let one = one.to_string();
    let row = rows.get(&L2, &id.to_string())?;
    let mut list = row.map_or_else(Vec::new, |row| row.value(&L2, field).members().to_vec());
    list.retain(|other| *other != one);
    if member {
        list.push(one);
    }
    Ok(RowChange::set(&L2, id).put(field, list))
}
