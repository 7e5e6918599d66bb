//! The configuration of one resource: values of its own for entries of the global configuration. What a resource has
//! not, that holds for it which is around it: a host is in a cluster, that in a zone; then the global value holds.

use crate::{
    decide::deletes, decision::Decision, facts::Facts, global_config::known, rules::Exists, tag_set::resource_exists, *,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use switchback_bus::*;
use switchback_events::*;

/// The values that a resource has of its own, by category and name.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ResourceConfig {
    pub values: BTreeMap<(String, String), String>,
    /// The version at which each was last changed or taken away.
    pub changed: BTreeMap<(String, String), Version>,
}

impl ResourceConfig {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &ResourceConfigEvent, version: Version) {
        match event {
            ResourceConfigEvent::Changed { category, name, value, .. } => {
                self.values.insert((category.clone(), name.clone()), value.clone());
                self.changed.insert((category.clone(), name.clone()), version);
            }
            ResourceConfigEvent::Deleted { category, name } => {
                self.values.remove(&(category.clone(), name.clone()));
                self.changed.insert((category.clone(), name.clone()), version);
            }
        }
    }

    /// Its own value.
    pub fn value(&self, category: &str, name: &str) -> Option<&String> {
        self.values.get(&(category.to_string(), name.to_string()))
    }

    /// The version at which the entry was last changed or taken away; 0 for never.
    pub fn changed_at(&self, category: &str, name: &str) -> Version {
        self.changed.get(&(category.to_string(), name.to_string())).copied().unwrap_or(0)
    }
}

/// The id of the row of a value.
pub fn row_id(resource: Id, category: &str, name: &str) -> Id {
    Id::of_name(&format!("resource-config:{resource}:{category}:{name}"))
}

/// Whether the resource is there and of the type.
fn is_of(facts: &Facts, resource_type: &str, id: Id) -> Result<bool, Refusal> {
    if resource_type == "VirtualRouterVmVO" {
        return Ok(facts.get::<Router>(id)?.exists());
    }
    match RESOURCE_TYPES.iter().find(|(name, _)| *name == resource_type) {
        Some((_, kind)) => resource_exists(facts, *kind, id),
        None => Ok(false),
    }
}

/// The type of a resource, of those that may have a value of their own for the entry.
fn type_of(facts: &Facts, entry: &ConfigEntry, id: Id) -> Result<&'static str, Refusal> {
    for resource_type in entry.bindable {
        if is_of(facts, resource_type, id)? {
            return Ok(resource_type);
        }
    }
    if entry.bindable.is_empty() {
        let full = format!("{}.{}", entry.category, entry.name);
        let can = GLOBAL_CONFIGS.iter().filter(|entry| !entry.bindable.is_empty());
        let can: Vec<String> = can.map(|entry| format!("{}.{}", entry.category, entry.name)).collect();
        let right = "an entry that resources may have a value of their own for";
        return Err(Refusal::argument("name", full, right).hint(format!("these are {}", can.join(", "))));
    }
    let right = entry.bindable.join(" or ");
    for (_, kind) in RESOURCE_TYPES {
        if resource_exists(facts, *kind, id)? {
            return Err(Refusal::argument("resourceUuid", id, format!("the uuid of a {right}")));
        }
    }
    Err(Refusal::not_found("resourceUuid", &right, id))
}

/// A resource and what it is in, the nearest first, as far as they may have values of their own.
fn around(facts: &Facts, entry: &ConfigEntry, resource_type: &str, id: Id) -> Result<Vec<Id>, Refusal> {
    let mut chain = vec![(resource_type, id)];
    match resource_type {
        "HostVO" => {
            let host = facts.peek::<Host>(id)?;
            chain.extend([("ClusterVO", host.cluster.0), ("ZoneVO", host.zone.0)]);
        }
        "ClusterVO" => chain.push(("ZoneVO", facts.peek::<Cluster>(id)?.zone.0)),
        _ => {}
    }
    Ok(chain.into_iter().filter(|(of, _)| entry.bindable.contains(of)).map(|(_, id)| id).collect())
}

/// The value that holds for a resource of the type. For what may be a little old.
pub fn in_force(facts: &Facts, (category, name): (&str, &str), resource_type: &str, id: Id) -> Result<String, Refusal> {
    if let Some(entry) = config_entry(category, name) {
        for id in around(facts, entry, resource_type, id)? {
            if let Some(value) = facts.peek::<ResourceConfig>(id)?.value(category, name) {
                return Ok(value.clone());
            }
        }
    }
    facts.config(category, name)
}

/// The value that holds for a resource, and the resources around it, itself first, that have one of their own.
///
/// # Errors
/// An entry that is not there or that resources have no values of their own for, and a resource that is not there.
pub fn effective(facts: &Facts, category: &str, name: &str, id: Id) -> Result<(String, Vec<Id>), Refusal> {
    let entry = known(category, name)?;
    let resource_type = type_of(facts, entry, id)?;
    let mut holders = Vec::new();
    for id in around(facts, entry, resource_type, id)? {
        if facts.get::<ResourceConfig>(id)?.value(category, name).is_some() {
            holders.push(id);
        }
    }
    Ok((in_force(facts, (category, name), resource_type, id)?, holders))
}

pub(crate) fn update(command: &UpdateResourceConfig, facts: &Facts) -> Result<Decision, Refusal> {
    let (category, name, id) = (&command.category, &command.name, command.resource_uuid);
    let entry = known(category, name)?;
    let resource_type = type_of(facts, entry, id)?;
    entry.check.accept("value", &entry.check.read(&command.value))?;
    let mut decision = Decision::about(StreamKind::ResourceConfig, id);
    decision.inventories.push(("resourceConfig", row_id(id, category, name)));
    if facts.get::<ResourceConfig>(id)?.value(category, name) == Some(&command.value) {
        return Ok(decision);
    }
    Ok(decision.event(ResourceConfigEvent::Changed {
        resource_type: resource_type.to_string(),
        category: category.clone(),
        name: name.clone(),
        value: command.value.clone(),
    }))
}

pub(crate) fn delete(command: &DeleteResourceConfig, facts: &Facts) -> Result<Decision, Refusal> {
    let (category, name, id) = (&command.category, &command.name, command.resource_uuid);
    known(category, name)?;
    let decision = Decision::about(StreamKind::ResourceConfig, id);
    if facts.get::<ResourceConfig>(id)?.value(category, name).is_none() {
        return Ok(decision);
    }
    Ok(decision.event(ResourceConfigEvent::Deleted { category: category.clone(), name: name.clone() }))
}

/// What a resource has of its own goes with it, however it ends.
pub(crate) fn follow(decision: &mut Decision, facts: &Facts) -> Result<(), Refusal> {
    let ended = decision.events.iter().filter(|(_, event)| {
        // VMs of users have none.
        deletes(event) || matches!(event, Event::Router(RouterEvent::Destroyed { .. }))
    });
    for id in ended.map(|(stream, _)| stream.id).collect::<Vec<_>>() {
        for (category, name) in facts.get::<ResourceConfig>(id)?.values.keys() {
            decision.add(id, ResourceConfigEvent::Deleted { category: category.clone(), name: name.clone() });
        }
    }
    Ok(())
}
