//! The rows of the global configuration. Those with a default are there from the start.

use crate::catalogue::GLOBAL_CONFIG;
use crate::fold::RowChange;
use switchback_events::{GlobalConfigEvent, Id};

/// A value of the global configuration that exists before anyone sets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfigDefault {
    /// The group: `virtualRouter`.
    pub category: &'static str,
    /// The name in the group: `agent.deployOnStart`.
    pub name: &'static str,
    /// The value until it is changed.
    pub value: &'static str,
    /// What it does.
    pub description: &'static str,
}

pub(crate) fn changes(event: &GlobalConfigEvent) -> Vec<RowChange> {
    match event {
        GlobalConfigEvent::Changed { category, name, value } => {
            let id = key(category, name);
            let unknown = RowChange::insert(&GLOBAL_CONFIG, id).put("category", category).put("name", name);
            vec![unknown, RowChange::set(&GLOBAL_CONFIG, id).put("value", value)]
        }
    }
}

/// The row of a default, at position 0.
pub(crate) fn initial(default: &ConfigDefault) -> RowChange {
    RowChange::insert(&GLOBAL_CONFIG, key(default.category, default.name))
        .put("category", default.category)
        .put("name", default.name)
        .put("value", default.value)
        .put("defaultValue", default.value)
        .put("description", default.description)
}

/// The key of a row that has no uuid of its own.
fn key(category: &str, name: &str) -> Id {
    Id::of_name(&format!("{category}/{name}"))
}
