//! Which nics are in which security groups, in which order. A nic that was never in one, and had no policy said, is not
//! filtered at all.

use super::{SecurityGroup, unserved};
use crate::{decision::Decision, directory::Relation, facts::Facts, rules, vm_instance::NicSecurity, *};
use std::{collections::BTreeMap, sync::Arc};
use switchback_bus::*;
use switchback_events::*;

/// The most groups that a nic may be in.
pub const MAX_GROUPS: usize = 10;

/// The VM that has the nic, which the parameter `field` names, and the network that it is on.
fn vm_of(facts: &Facts, field: &str, nic: NicId) -> Result<(Id, Arc<VmInstance>, L3NetworkId), Refusal> {
    let unknown = || Refusal::not_found(field, "nic of a VM instance", nic);
    let id = vm_instance::nics::owner(facts, nic).ok_or_else(unknown)?;
    let vm = facts.get::<VmInstance>(id)?;
    let own = vm.nics.iter().find(|own| own.nic == nic).ok_or_else(unknown)?.l3_network;
    Ok((id, vm, own))
}

/// The event that makes a nic's security this.
fn secured(nic: NicId, security: &NicSecurity) -> VmInstanceEvent {
    VmInstanceEvent::NicSecurityChanged {
        nic,
        groups: security.groups.clone(),
        ingress_policy: security.ingress_policy,
        egress_policy: security.egress_policy,
    }
}

/// Puts into a decision what a nic's security is from now on, once for each nic.
fn put(decision: &mut Decision, vm: Id, nic: NicId, security: &NicSecurity) {
    let same = |event: &Event| matches!(event, Event::VmInstance(VmInstanceEvent::NicSecurityChanged { nic: other, .. }) if *other == nic);
    decision.events.retain(|(_, event)| !same(event));
    decision.add(vm, secured(nic, security));
}

/// A nic leaves a group, where it is in it.
pub(crate) fn left(decision: &mut Decision, facts: &Facts, nic: NicId, group: SecurityGroupId) -> Result<(), Refusal> {
    let id = vm_instance::nics::owner(facts, nic).unwrap_or_default();
    let Some(mut security) = facts.get::<VmInstance>(id)?.security.get(&nic).cloned() else { return Ok(()) };
    security.groups.retain(|other| *other != group);
    put(decision, id, nic, &security);
    Ok(())
}

/// What a nic that comes back is in: of the groups of before those that are still there.
pub(crate) fn in_groups(facts: &Facts, security: &NicSecurity, nic: NicId) -> Result<VmInstanceEvent, Refusal> {
    let mut groups = Vec::new();
    for group in &security.groups {
        if rules::Exists::exists(&*facts.get::<SecurityGroup>(*group)?) {
            groups.push(*group);
        }
    }
    Ok(secured(nic, &NicSecurity { groups, ..security.clone() }))
}

/// A nic on this network is in a group: the group is attached to it.
fn attach(decision: &mut Decision, group: SecurityGroupId, state: &SecurityGroup, l3_network: L3NetworkId) {
    let event = Event::from(SecurityGroupEvent::AttachedToL3Network { l3_network });
    let said = decision.events.iter().any(|(stream, other)| stream.id == group.0 && *other == event);
    if !said && !state.l3_networks.contains(&l3_network) {
        decision.add(group, event);
    }
}

fn served(facts: &Facts, field: &str, nic: NicId, l3: L3NetworkId) -> Result<(), Refusal> {
    match facts.get::<L3Network>(l3)?.services.contains_key(&NetworkServiceType::SecurityGroup) {
        true => Ok(()),
        false => Err(unserved(field, nic.0, l3)),
    }
}

pub(crate) fn add_nics(command: &AddVmNicToSecurityGroup, facts: &Facts) -> Result<Decision, Refusal> {
    let id = command.security_group_uuid;
    let group = rules::existing::<SecurityGroup>(facts, "securityGroupUuid", id)?;
    let mut decision = Decision::about(StreamKind::SecurityGroup, id);
    for nic in &command.vm_nic_uuids {
        let (vm, state, l3) = vm_of(facts, "vmNicUuids", *nic)?;
        served(facts, "vmNicUuids", *nic, l3)?;
        let mut security = state.security.get(nic).cloned().unwrap_or_default();
        if security.groups.contains(&id) {
            continue;
        }
        if security.groups.len() >= MAX_GROUPS {
            let right = format!("a nic in fewer than {MAX_GROUPS} security groups");
            return Err(Refusal::argument("vmNicUuids", nic, right));
        }
        security.groups.push(id);
        attach(&mut decision, id, &group, l3);
        put(&mut decision, vm, *nic, &security);
    }
    Ok(decision)
}

pub(crate) fn remove_nics(command: &DeleteVmNicFromSecurityGroup, facts: &Facts) -> Result<Decision, Refusal> {
    let id = command.security_group_uuid;
    rules::existing::<SecurityGroup>(facts, "securityGroupUuid", id)?;
    let mut decision = Decision::about(StreamKind::SecurityGroup, id);
    let members = facts.members(Relation::NicsOfGroup, id);
    for nic in command.vm_nic_uuids.iter().filter(|nic| members.contains(&nic.0)) {
        left(&mut decision, facts, *nic, id)?;
    }
    Ok(decision)
}

pub(crate) fn set_groups(command: &SetVmNicSecurityGroup, facts: &Facts) -> Result<Decision, Refusal> {
    let nic = command.vm_nic_uuid;
    let (vm, state, l3) = vm_of(facts, "vmNicUuid", nic)?;
    if !command.refs.is_empty() {
        served(facts, "vmNicUuid", nic, l3)?;
    }
    let mut decision = Decision::about(StreamKind::VmInstance, vm);
    let number = command.refs.len();
    if number > MAX_GROUPS {
        return Err(Refusal::argument("refs", format!("{number} groups"), format!("at most {MAX_GROUPS}")));
    }
    let mut places: BTreeMap<i64, SecurityGroupId> = BTreeMap::new();
    for (at, place) in command.refs.iter().enumerate() {
        let field = format!("refs[{at}].securityGroupUuid");
        let id = place.security_group_uuid;
        let group = rules::existing::<SecurityGroup>(facts, &field, id)?;
        if places.values().any(|other| *other == id) {
            return Err(Refusal::argument(&field, id, "each security group once"));
        }
        if places.insert(place.priority, id).is_some() || place.priority > number as i64 {
            let right = format!("each of the places 1 to {number} once");
            return Err(Refusal::argument(&format!("refs[{at}].priority"), place.priority, right));
        }
        attach(&mut decision, id, &group, l3);
    }
    let held = state.security.get(&nic).cloned().unwrap_or_default();
    let security = NicSecurity { groups: places.into_values().collect(), ..held.clone() };
    for group in &security.groups {
        decision.inventories.push(("vmNicInSecurityGroup", nic_security_row(nic, *group)));
    }
    if security != held {
        put(&mut decision, vm, nic, &security);
    }
    Ok(decision)
}

pub(crate) fn change_policy(command: &ChangeVmNicSecurityPolicy, facts: &Facts) -> Result<Decision, Refusal> {
    let nic = command.vm_nic_uuid;
    let (vm, state, _) = vm_of(facts, "vmNicUuid", nic)?;
    if (&command.ingress_policy, &command.egress_policy) == (&None, &None) {
        return Err(Refusal::missing("ingressPolicy", "DENY or ALLOW, or egressPolicy"));
    }
    let policy = |word: &Option<String>, held: NicPolicy| match word.as_deref() {
        Some("ALLOW") => NicPolicy::ALLOW,
        Some(_) => NicPolicy::DENY,
        None => held,
    };
    let held = state.security.get(&nic).cloned();
    let mut security = held.clone().unwrap_or_default();
    security.ingress_policy = policy(&command.ingress_policy, security.ingress_policy);
    security.egress_policy = policy(&command.egress_policy, security.egress_policy);
    let mut decision = Decision::about(StreamKind::VmInstance, vm);
    decision.inventories.push(("vmNicSecurityPolicy", nic_policy_row(nic)));
    if held.as_ref() != Some(&security) {
        put(&mut decision, vm, nic, &security);
    }
    Ok(decision)
}

/// The nics that could be put into a group: those of its networks, of any network with the service where it is attached
/// to none, that are not in it.
///
/// # Errors
/// There is no such group.
pub fn candidates(states: &States, id: SecurityGroupId) -> Result<Vec<Id>, Refusal> {
    let facts = states.facts();
    let group = rules::existing::<SecurityGroup>(&facts, "securityGroupUuid", id)?;
    let attached: Vec<Id> = match group.l3_networks.is_empty() {
        true => facts.peek_members(Relation::All(StreamKind::L3Network), Id::NIL),
        false => group.l3_networks.iter().map(|l3| l3.0).collect(),
    };
    let mut found = Vec::new();
    for l3 in attached {
        if !facts.peek::<L3Network>(l3)?.services.contains_key(&NetworkServiceType::SecurityGroup) {
            continue;
        }
        for vm in facts.peek_members(Relation::VmsOnL3, l3) {
            let vm = facts.peek::<VmInstance>(vm)?;
            let inside = |nic: &Nic| vm.security.get(&nic.nic).is_some_and(|own| own.groups.contains(&id));
            let nics = vm.nics.iter().filter(|nic| nic.l3_network.0 == l3 && !inside(nic));
            found.extend(nics.map(|nic| nic.nic.0));
        }
    }
    Ok(found)
}
