//! Cluster: `Enabled ⇄ Disabled → deleted`. L2 networks attach here.

use crate::{context::Context, decision::Decision, directory::Relation, facts::Facts, rules, *};
use serde::{Deserialize, Serialize};
use switchback_bus::{ChangeClusterState, CreateCluster, DeleteCluster, Refusal, UpdateCluster};
use switchback_events::*;

/// A cluster.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Cluster {
    pub name: String,
    pub zone: ZoneId,
    pub simulated: bool,
    pub disabled: bool,
    pub deleted: bool,
}

rules::exists!(Cluster, "cluster");

impl Cluster {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &ClusterEvent, _version: Version) {
        match event {
            ClusterEvent::Created { zone, name, hypervisor_type, .. } => {
                (self.zone, self.name) = (*zone, name.clone());
                self.simulated = *hypervisor_type == HypervisorType::Simulator;
            }
            ClusterEvent::Updated { name, .. } => self.name = name.clone().unwrap_or_else(|| self.name.clone()),
            ClusterEvent::StateChanged { state } => self.disabled = *state == Enabled::Disabled,
            ClusterEvent::Deleted {} => self.deleted = true,
        }
    }

    /// What runs the VMs of its hosts.
    pub fn hypervisor_type(&self) -> HypervisorType {
        if self.simulated { HypervisorType::Simulator } else { HypervisorType::KVM }
    }
}

pub(crate) fn create(command: &CreateCluster, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    rules::existing::<Zone>(facts, "zoneUuid", command.zone_uuid)?;
    let id = context.resource_id();
    let simulated = command.hypervisor_type == "Simulator";
    Ok(Decision::about(StreamKind::Cluster, id).show("cluster").event(ClusterEvent::Created {
        zone: command.zone_uuid,
        name: command.name.clone(),
        description: command.description.clone(),
        hypervisor_type: if simulated { HypervisorType::Simulator } else { HypervisorType::KVM },
    }))
}

pub(crate) fn update(command: &UpdateCluster, facts: &Facts) -> Result<Decision, Refusal> {
    rules::existing::<Cluster>(facts, "uuid", command.uuid)?;
    let event = ClusterEvent::Updated { name: command.name.clone(), description: command.description.clone() };
    Ok(Decision::about(StreamKind::Cluster, command.uuid).show("cluster").event(event))
}

pub(crate) fn change_state(command: &ChangeClusterState, facts: &Facts) -> Result<Decision, Refusal> {
    rules::existing::<Cluster>(facts, "uuid", command.uuid)?;
    let mut decision = Decision::about(StreamKind::Cluster, command.uuid).show("cluster");
    cascade_state(&mut decision, facts, command.uuid.0, rules::state_event(&command.state_event))?;
    Ok(decision)
}

/// Changes the state of a cluster and of its hosts.
pub(crate) fn cascade_state(decision: &mut Decision, facts: &Facts, id: Id, state: Enabled) -> Result<(), Refusal> {
    let disabled = state == Enabled::Disabled;
    if facts.get::<Cluster>(id)?.disabled != disabled {
        decision.add(id, ClusterEvent::StateChanged { state });
    }
    for id in facts.members(Relation::HostsOfCluster, id) {
        let host = facts.get::<Host>(id)?;
        // Who works on a host has taken it out himself, and gives it back himself.
        if host.state != HostState::from(state) && !host.maintained() {
            decision.add(id, HostEvent::StateChanged { state: state.into() });
        }
    }
    Ok(())
}

pub(crate) fn delete(command: &DeleteCluster, facts: &Facts) -> Result<Decision, Refusal> {
    let decision = Decision::about(StreamKind::Cluster, command.uuid);
    if !rules::Exists::exists(&*facts.get::<Cluster>(command.uuid)?) {
        return Ok(decision);
    }
    let mut blockers = rules::blockers::<Host>(facts, facts.members(Relation::HostsOfCluster, command.uuid))?;
    blockers.extend(rules::blockers::<L2Network>(facts, facts.members(Relation::L2sOfCluster, command.uuid))?);
    rules::unblocked("cluster", blockers)?;
    Ok(decision.event(ClusterEvent::Deleted {}))
}
