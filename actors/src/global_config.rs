//! The global configuration: values that differ from the defaults of the catalogue.

use crate::{decision::Decision, facts::Facts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use switchback_bus::{ConfigEntry, GLOBAL_CONFIGS, Refusal, UpdateGlobalConfig, config_entry, nearest};
use switchback_events::*;

/// The values that were changed, by category and name.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct GlobalConfig {
    pub values: BTreeMap<(String, String), String>,
    /// The version at which each was last changed.
    pub changed: BTreeMap<(String, String), Version>,
}

impl GlobalConfig {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &GlobalConfigEvent, version: Version) {
        let GlobalConfigEvent::Changed { category, name, value } = event;
        self.values.insert((category.clone(), name.clone()), value.clone());
        self.changed.insert((category.clone(), name.clone()), version);
    }

    /// The version of the configuration at which the entry was last changed; 0 for never.
    pub fn changed_at(&self, category: &str, name: &str) -> Version {
        self.changed.get(&(category.to_string(), name.to_string())).copied().unwrap_or(0)
    }

    /// The value in force; empty for an entry that the catalogue does not have.
    pub fn value(&self, category: &str, name: &str) -> String {
        match self.values.get(&(category.to_string(), name.to_string())) {
            Some(value) => value.clone(),
            None => config_entry(category, name).map_or(String::new(), |entry| entry.default.to_string()),
        }
    }
}

/// The id of the row of an entry.
pub fn entry_id(category: &str, name: &str) -> Id {
    Id::of_name(&format!("global-config:{category}:{name}"))
}

/// The entry of the catalogue.
///
/// # Errors
/// SYS.1007 with the nearest name.
pub fn known(category: &str, name: &str) -> Result<&'static ConfigEntry, Refusal> {
    config_entry(category, name).ok_or_else(|| {
        let full = format!("{category}.{name}");
        let known: Vec<String> =
            GLOBAL_CONFIGS.iter().map(|entry| format!("{}.{}", entry.category, entry.name)).collect();
        let refusal = Refusal::argument("name", &full, "there is no such entry");
        match nearest(&full, known.iter().map(String::as_str)) {
            Some(near) => refusal.hint(format!("did you mean {near}?")),
            None => refusal.hint(format!("there are {}", known.join(", "))),
        }
    })
}

pub(crate) fn reset(facts: &Facts) -> Result<Decision, Refusal> {
    let config = facts.get::<GlobalConfig>(global_config_id())?;
    let mut decision = Decision::about(StreamKind::GlobalConfig, global_config_id());
    for entry in GLOBAL_CONFIGS {
        if config.value(entry.category, entry.name) != entry.default {
            decision = decision.event(GlobalConfigEvent::Changed {
                category: entry.category.to_string(),
                name: entry.name.to_string(),
                value: entry.default.to_string(),
            });
        }
    }
    Ok(decision)
}

pub(crate) fn update(command: &UpdateGlobalConfig, facts: &Facts) -> Result<Decision, Refusal> {
    let entry = known(&command.category, &command.name)?;
    entry.check.accept("value", &entry.check.read(&command.value))?;
    let mut decision = Decision::about(StreamKind::GlobalConfig, global_config_id());
    decision.inventories.push(("globalConfig", entry_id(entry.category, entry.name)));
    if facts.get::<GlobalConfig>(global_config_id())?.value(entry.category, entry.name) == command.value {
        return Ok(decision);
    }
    Ok(decision.event(GlobalConfigEvent::Changed {
        category: command.category.clone(),
        name: command.name.clone(),
        value: command.value.clone(),
    }))
}
