//! VIP: `Enabled ⇄ Disabled → deleted`, an address of an L3 network for services to answer at. Its range holds the
//! address for it, so it has one holder.
//!
//! The IPv4 address of a router's public nic is a **system VIP**: it is shown beside the others and derived from the nic,
//! so no event is about it and nothing can be done to it. It takes no services: it goes with the router, and services do
//! not.

use crate::{
    context::Context,
    decision::Decision,
    directory::Relation,
    facts::Facts,
    ip_range,
    rules::{self, Exists},
    *,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use switchback_bus::*;
use switchback_events::*;

/// A VIP.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Vip {
    pub name: String,
    pub l3_network: L3NetworkId,
    /// There is one from the beginning on.
    pub address: Option<NicAddress>,
    pub disabled: bool,
    pub deleted: bool,
}

rules::exists!(Vip, "VIP");

impl Vip {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &VipEvent, _version: Version) {
        match event {
            VipEvent::Created { name, l3_network, address, .. } => {
                (self.name, self.l3_network, self.address) = (name.clone(), *l3_network, Some(*address));
            }
            VipEvent::Updated { name, .. } => self.name = name.clone().unwrap_or_else(|| self.name.clone()),
            VipEvent::StateChanged { state } => self.disabled = *state == Enabled::Disabled,
            VipEvent::Deleted { .. } => self.deleted = true,
        }
    }
}

/// The VIP that the parameter `field` names. The system's are no one's to change or use.
pub(crate) fn existing(facts: &Facts, field: &str, id: VipId) -> Result<Arc<Vip>, Refusal> {
    if let Some(router) = router_of_system_vip(facts, id) {
        let detail = format!("{field} = `{id}`: it is the system VIP of virtual router {router}, and goes with it");
        return Err(Refusal::operation(detail));
    }
    rules::existing::<Vip>(facts, field, id)
}

/// The router whose own address a system VIP is.
fn router_of_system_vip(facts: &Facts, id: VipId) -> Option<Id> {
    facts.members(Relation::RouterOfSystemVip, id).first().copied()
}

pub(crate) fn create(command: &CreateVip, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    ip_range::vip_network(facts, command.l3_network_uuid)?;
    let id = VipId(context.resource_id());
    rules::absent::<Vip>(facts, id.0)?;
    let mut decision = Decision::about(StreamKind::Vip, id).show("vip");
    let address = ip_range::hold_for_vip(&mut decision, facts, context, command, id)?;
    let (name, description) = (command.name.clone(), command.description.clone());
    Ok(decision.first(VipEvent::Created { name, description, l3_network: command.l3_network_uuid, address }))
}

pub(crate) fn update(command: &UpdateVip, facts: &Facts) -> Result<Decision, Refusal> {
    existing(facts, "uuid", command.uuid)?;
    let event = VipEvent::Updated { name: command.name.clone(), description: command.description.clone() };
    Ok(Decision::about(StreamKind::Vip, command.uuid).show("vip").event(event))
}

pub(crate) fn change_state(command: &ChangeVipState, facts: &Facts) -> Result<Decision, Refusal> {
    let vip = existing(facts, "uuid", command.uuid)?;
    let state = rules::state_event(&command.state_event);
    let decision = Decision::about(StreamKind::Vip, command.uuid).show("vip");
    let same = vip.disabled == (state == Enabled::Disabled);
    Ok(if same { decision } else { decision.event(VipEvent::StateChanged { state }) })
}

pub(crate) fn delete(command: &DeleteVip, facts: &Facts) -> Result<Decision, Refusal> {
    let id = command.uuid;
    let mut decision = Decision::about(StreamKind::Vip, id);
    deletable(facts, id)?;
    let vip = facts.get::<Vip>(id)?;
    if vip.exists() {
        deleted(&mut decision, facts, id.0)?;
    }
    Ok(decision)
}

/// Refuses what would delete a system VIP.
pub(crate) fn deletable(facts: &Facts, id: VipId) -> Result<(), Refusal> {
    match router_of_system_vip(facts, id) {
        Some(_) => existing(facts, "uuid", id).map(drop),
        None => Ok(()),
    }
}

/// Ends a VIP: its address is free again.
pub(crate) fn deleted(decision: &mut Decision, facts: &Facts, id: Id) -> Result<(), Refusal> {
    let vip = facts.get::<Vip>(id)?;
    decision.add(id, VipEvent::Deleted { l3_network: vip.l3_network });
    ip_range::give_back(decision, facts, id, &vip)
}

/// The ports of a VIP that a service has, as first and last port.
///
/// # Errors
/// There is no such VIP.
pub fn ports_in_use(states: &States, vip: VipId, protocol: &str) -> Result<Vec<(u16, u16)>, Refusal> {
    let facts = states.facts();
    let _ = protocol;
    if router_of_system_vip(&facts, vip).is_some() {
        return Ok(vec![(1, u16::MAX)]);
    }
    rules::existing::<Vip>(&facts, "vipUuid", vip)?;
    Ok(vec![])
}
