//! The rows of zones.

use crate::catalogue::ZONE;
use crate::fold::RowChange;
use crate::value::Val;
use switchback_events::{Id, ZoneEvent};

pub(crate) fn changes(id: Id, event: &ZoneEvent) -> Vec<RowChange> {
    vec![match event {
        ZoneEvent::Created { name, description, is_default } => RowChange::insert(&ZONE, id)
            .put("name", name)
            .put("description", description.as_deref())
            .put("state", "Enabled")
            .put("type", "zstack")
            .put("isDefault", *is_default),
        ZoneEvent::Updated { name, description, is_default } => RowChange::set(&ZONE, id)
            .put_some("name", name.as_ref())
            .put_some("description", description.as_ref())
            .put_some("isDefault", *is_default),
        ZoneEvent::StateChanged { state } => RowChange::set(&ZONE, id).put("state", Val::name_of(state)),
        ZoneEvent::Deleted {} => RowChange::delete(&ZONE, id),
    }]
}
