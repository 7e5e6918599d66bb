//! The rows of values that resources have of their own. The stream is the resource's.

use crate::catalogue::RESOURCE_CONFIG;
use crate::fold::RowChange;
use switchback_events::{Id, ResourceConfigEvent};

pub(crate) fn changes(resource: Id, event: &ResourceConfigEvent) -> Vec<RowChange> {
    match event {
        ResourceConfigEvent::Changed { resource_type, category, name, value } => {
            let id = key(resource, category, name);
            let new = RowChange::insert(&RESOURCE_CONFIG, id)
                .put("resourceUuid", resource)
                .put("resourceType", resource_type)
                .put("category", category)
                .put("name", name);
            vec![new, RowChange::set(&RESOURCE_CONFIG, id).put("value", value)]
        }
        ResourceConfigEvent::Deleted { category, name } => {
            vec![RowChange::delete(&RESOURCE_CONFIG, key(resource, category, name))]
        }
    }
}

/// The uuid of the row of a value.
fn key(resource: Id, category: &str, name: &str) -> Id {
    Id::of_name(&format!("resource-config:{resource}:{category}:{name}"))
}
