//! The rows of offerings. A virtual router offering is an instance offering too, as in the reference, so it has
//! a row of each kind.

use crate::catalogue::{INSTANCE_OFFERING, Kind, ROUTER_OFFERING};
use crate::fold::RowChange;
use crate::value::Val;
use switchback_events::{Id, OfferingEvent};

const BOTH: [&Kind; 2] = [&INSTANCE_OFFERING, &ROUTER_OFFERING];

pub(crate) fn changes(id: Id, event: &OfferingEvent) -> Vec<RowChange> {
    match event {
        OfferingEvent::Created { name, description, cpu_num, cpu_speed, memory_size, allocator_strategy, router } => {
            let offering = |kind| {
                RowChange::insert(kind, id)
                    .put("name", name)
                    .put("description", description.as_deref())
                    .put("cpuNum", *cpu_num)
                    .put("cpuSpeed", *cpu_speed)
                    .put("memorySize", *memory_size)
                    .put("allocatorStrategy", allocator_strategy)
                    .put("sortKey", 0_u8)
                    .put("state", "Enabled")
                    .put("type", if router.is_some() { "VirtualRouter" } else { "UserVm" })
            };
            let mut changes = vec![offering(&INSTANCE_OFFERING)];
            changes.extend(router.as_ref().map(|terms| {
                offering(&ROUTER_OFFERING)
                    .put("zoneUuid", terms.zone)
                    .put("managementNetworkUuid", terms.management_network)
                    .put("publicNetworkUuid", terms.public_network)
                    .put("imageUuid", terms.image)
                    .put("isDefault", terms.is_default)
            }));
            changes
        }
        OfferingEvent::Updated { name, description, is_default, image } => {
            let update = |kind| {
                RowChange::set(kind, id).put_some("name", name.as_ref()).put_some("description", description.as_ref())
            };
            let of_router = update(&ROUTER_OFFERING).put_some("isDefault", *is_default).put_some("imageUuid", *image);
            vec![update(&INSTANCE_OFFERING), of_router]
        }
        OfferingEvent::StateChanged { state } => {
            BOTH.map(|kind| RowChange::set(kind, id).put("state", Val::name_of(state))).into()
        }
        OfferingEvent::Deleted {} => BOTH.map(|kind| RowChange::delete(kind, id)).into(),
    }
}
