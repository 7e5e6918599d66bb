//! Zone: `Enabled ⇄ Disabled → deleted`. A change of state goes down to its clusters and hosts.

use crate::{context::Context, decision::Decision, directory::Relation, facts::Facts, rules, *};
use serde::{Deserialize, Serialize};
use switchback_bus::{ChangeZoneState, CreateZone, DeleteZone, Refusal, UpdateZone};
use switchback_events::*;

/// A zone.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Zone {
    pub name: String,
    pub is_default: bool,
    pub disabled: bool,
    pub deleted: bool,
}

rules::exists!(Zone, "zone");

impl Zone {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &ZoneEvent, _version: Version) {
        match event {
            ZoneEvent::Created { name, is_default, .. } => (self.name, self.is_default) = (name.clone(), *is_default),
            ZoneEvent::Updated { name, is_default, .. } => {
                self.name = name.clone().unwrap_or_else(|| self.name.clone());
                self.is_default = is_default.unwrap_or(self.is_default);
            }
            ZoneEvent::StateChanged { state } => self.disabled = *state == Enabled::Disabled,
            ZoneEvent::Deleted {} => self.deleted = true,
        }
    }
}

fn unset_other_default(decision: &mut Decision, facts: &Facts) -> Result<(), Refusal> {
    for other in facts.members(Relation::All(StreamKind::Zone), Id::NIL) {
        if other != decision.target.id && facts.get::<Zone>(other)?.is_default {
            decision.add(other, ZoneEvent::Updated { name: None, description: None, is_default: Some(false) });
        }
    }
    Ok(())
}

pub(crate) fn create(command: &CreateZone, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let id = context.resource_id();
    let is_default = command.is_default.unwrap_or(false);
    let mut decision = Decision::about(StreamKind::Zone, id).show("zone").event(ZoneEvent::Created {
        name: command.name.clone(),
        description: command.description.clone(),
        is_default,
    });
    if is_default {
        unset_other_default(&mut decision, facts)?;
    }
    Ok(decision)
}

pub(crate) fn update(command: &UpdateZone, facts: &Facts) -> Result<Decision, Refusal> {
    rules::existing::<Zone>(facts, "uuid", command.uuid)?;
    let mut decision = Decision::about(StreamKind::Zone, command.uuid).show("zone").event(ZoneEvent::Updated {
        name: command.name.clone(),
        description: command.description.clone(),
        is_default: command.is_default,
    });
    if command.is_default == Some(true) {
        unset_other_default(&mut decision, facts)?;
    }
    Ok(decision)
}

pub(crate) fn change_state(command: &ChangeZoneState, facts: &Facts) -> Result<Decision, Refusal> {
    let zone = rules::existing::<Zone>(facts, "uuid", command.uuid)?;
    let state = rules::state_event(&command.state_event);
    let mut decision = Decision::about(StreamKind::Zone, command.uuid).show("zone");
    if zone.disabled != (state == Enabled::Disabled) {
        decision = decision.event(ZoneEvent::StateChanged { state });
    }
    for id in facts.members(Relation::ClustersOfZone, command.uuid) {
        cluster::cascade_state(&mut decision, facts, id, state)?;
    }
    Ok(decision)
}

pub(crate) fn delete(command: &DeleteZone, facts: &Facts) -> Result<Decision, Refusal> {
    let decision = Decision::about(StreamKind::Zone, command.uuid);
    if !rules::Exists::exists(&*facts.get::<Zone>(command.uuid)?) {
        return Ok(decision);
    }
    let mut blockers = rules::blockers::<Cluster>(facts, facts.members(Relation::ClustersOfZone, command.uuid))?;
    blockers.extend(rules::blockers::<L2Network>(facts, facts.members(Relation::L2sOfZone, command.uuid))?);
    let offerings = facts.members(Relation::RouterOfferingsOfZone, command.uuid);
    blockers.extend(rules::blockers::<Offering>(facts, offerings)?);
    rules::unblocked("zone", blockers)?;
    Ok(decision.event(ZoneEvent::Deleted {}))
}
