//! Security group: rules by which nics of VMs are filtered at their hosts. A nic says itself which groups it is in, and
//! in which order: their members are folded from the VMs.
//!
//! ```text
//!  Created ◄──► Disabled (its rules fit nothing) ──► Deleted: its nics leave it, rules elsewhere that name it go
//! ```
//! **Invariant:** the rules of one direction have the priorities 1 to n; those that every group has have 0.

mod nics;
mod rule;

pub use nics::candidates;
pub(crate) use nics::{in_groups, left};
pub use rule::validate;

use crate::{context::Context, decision::Decision, directory::Relation, facts::Facts, rules, *};
use rule::{Fault, Wish};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, collections::BTreeSet, sync::Arc};
use switchback_bus::*;
use switchback_events::*;

/// The most rules of one direction in a group.
pub const MAX_RULES: usize = 100;

/// A security group.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SecurityGroup {
    pub name: String,
    pub ip_version: u8,
    pub disabled: bool,
    pub deleted: bool,
    pub rules: BTreeMap<SecurityGroupRuleId, SecurityGroupRule>,
    pub l3_networks: BTreeSet<L3NetworkId>,
}

rules::exists!(SecurityGroup, "security group");

impl SecurityGroup {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &SecurityGroupEvent, _version: Version) {
        let mut put = |rules: &[SecurityGroupRule]| {
            self.rules.extend(rules.iter().map(|rule| (rule.rule, rule.clone())));
        };
        match event {
            SecurityGroupEvent::Created { name, ip_version, rules, .. } => {
                put(rules);
                (self.name, self.ip_version) = (name.clone(), *ip_version);
            }
            SecurityGroupEvent::Updated { name, .. } => self.name = name.clone().unwrap_or_else(|| self.name.clone()),
            SecurityGroupEvent::StateChanged { state } => self.disabled = *state == Enabled::Disabled,
            SecurityGroupEvent::RulesChanged { rules, deleted, .. } => {
                put(rules);
                self.rules.retain(|rule, _| !deleted.contains(rule));
            }
            SecurityGroupEvent::AttachedToL3Network { l3_network } => drop(self.l3_networks.insert(*l3_network)),
            SecurityGroupEvent::DetachedFromL3Network { l3_network } => drop(self.l3_networks.remove(l3_network)),
            SecurityGroupEvent::Deleted {} => self.deleted = true,
        }
    }

    /// The rules of one direction in their order, without those that every group has.
    fn ordered(&self, direction: Direction) -> Vec<SecurityGroupRule> {
        let own = self.rules.values().filter(|rule| rule.direction == direction && rule.priority > 0);
        let mut rules: Vec<SecurityGroupRule> = own.cloned().collect();
        rules.sort_by_key(|rule| rule.priority);
        rules
    }
}

/// Counts the rules of one direction up from 1.
fn numbered(rules: &mut [SecurityGroupRule]) {
    for (at, rule) in rules.iter_mut().enumerate() {
        rule.priority = u16::try_from(at + 1).unwrap_or(u16::MAX);
    }
}

/// The event that makes a group's rules these, where they are others: all of one direction in their order, and those
/// that every group has.
fn changed(group: &SecurityGroup, wanted: Vec<SecurityGroupRule>) -> Option<SecurityGroupEvent> {
    let ids: BTreeSet<SecurityGroupRuleId> = wanted.iter().map(|rule| rule.rule).collect();
    let deleted: Vec<_> = group.rules.keys().filter(|rule| !ids.contains(rule)).copied().collect();
    let remotes: BTreeSet<SecurityGroupId> = wanted.iter().filter_map(|rule| rule.remote_group).collect();
    let rules: Vec<_> = wanted.into_iter().filter(|rule| group.rules.get(&rule.rule) != Some(rule)).collect();
    if rules.is_empty() && deleted.is_empty() {
        return None;
    }
    Some(SecurityGroupEvent::RulesChanged { rules, deleted, remotes: remotes.into_iter().collect() })
}

const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// The rules that every group has: its members speak with each other, by either family.
fn usual(group: SecurityGroupId, context: &Context) -> Vec<SecurityGroupRule> {
    let mut rules = Vec::new();
    for direction in DIRECTIONS {
        for ip_version in [4, 6] {
            rules.push(SecurityGroupRule {
                rule: SecurityGroupRuleId(context.id()),
                direction,
                priority: 0,
                state: Enabled::Enabled,
                description: None,
                ip_version,
                protocol: RuleProtocol::ALL,
                remote_group: Some(group),
                addresses: vec![],
                ports: vec![],
                action: RuleAction::ACCEPT,
                legacy: false,
            });
        }
    }
    rules
}

pub(crate) fn create(command: &CreateSecurityGroup, context: &Context) -> Result<Decision, Refusal> {
    let id = context.resource_id();
    Ok(Decision::about(StreamKind::SecurityGroup, id).show("securityGroup").event(SecurityGroupEvent::Created {
        name: command.name.clone(),
        description: command.description.clone(),
        ip_version: family("ipVersion", command.ip_version)?.unwrap_or(4),
        rules: usual(SecurityGroupId(id), context),
    }))
}

/// 4 or 6, and not what is between.
fn family(field: &str, version: Option<u8>) -> Result<Option<u8>, Refusal> {
    match version {
        Some(5) => Err(Refusal::argument(field, 5, "4 or 6")),
        other => Ok(other),
    }
}

pub(crate) fn update(command: &UpdateSecurityGroup, facts: &Facts) -> Result<Decision, Refusal> {
    rules::existing::<SecurityGroup>(facts, "uuid", command.uuid)?;
    let event = SecurityGroupEvent::Updated { name: command.name.clone(), description: command.description.clone() };
    Ok(about(command.uuid).event(event))
}

fn about(id: SecurityGroupId) -> Decision {
    Decision::about(StreamKind::SecurityGroup, id).show("securityGroup")
}

pub(crate) fn change_state(command: &ChangeSecurityGroupState, facts: &Facts) -> Result<Decision, Refusal> {
    let group = rules::existing::<SecurityGroup>(facts, "uuid", command.uuid)?;
    let state = rules::state_event(&command.state_event);
    let same = group.disabled == (state == Enabled::Disabled);
    let decision = about(command.uuid);
    Ok(if same { decision } else { decision.event(SecurityGroupEvent::StateChanged { state }) })
}

pub(crate) fn delete(command: &DeleteSecurityGroup, facts: &Facts) -> Result<Decision, Refusal> {
    let id = command.uuid;
    let mut decision = Decision::about(StreamKind::SecurityGroup, id);
    if !rules::Exists::exists(&*facts.get::<SecurityGroup>(id)?) {
        return Ok(decision);
    }
    for nic in facts.members(Relation::NicsOfGroup, id) {
        left(&mut decision, facts, NicId(nic), id)?;
    }
    for naming in facts.members(Relation::GroupsNaming, id).into_iter().filter(|naming| *naming != id.0) {
        let group = facts.get::<SecurityGroup>(naming)?;
        let event = without(&group, |rule| rule.remote_group == Some(id));
        event.into_iter().for_each(|event| decision.add(naming, event));
    }
    Ok(decision.first(SecurityGroupEvent::Deleted {}))
}

/// The event that takes rules from a group; those behind them move up.
fn without(group: &SecurityGroup, gone: impl Fn(&SecurityGroupRule) -> bool) -> Option<SecurityGroupEvent> {
    let mut wanted: Vec<_> = group.rules.values().filter(|rule| rule.priority == 0).cloned().collect();
    for direction in DIRECTIONS {
        let mut rules = group.ordered(direction);
        rules.retain(|rule| !gone(rule));
        numbered(&mut rules);
        wanted.extend(rules);
    }
    changed(group, wanted)
}

pub(crate) fn add_rules(command: &AddSecurityGroupRule, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let id = command.security_group_uuid;
    let group = rules::existing::<SecurityGroup>(facts, "securityGroupUuid", id)?;
    let remotes = command.remote_security_group_uuids.as_deref().unwrap_or_default();
    for remote in remotes {
        rules::existing::<SecurityGroup>(facts, "remoteSecurityGroupUuids", *remote)?;
    }
    let mut new: Vec<(String, SecurityGroupRule)> = Vec::new();
    for (at, request) in command.rules.iter().enumerate() {
        let field = format!("rules[{at}]");
        if let Some(remote) = request.remote_security_group_uuid {
            rules::existing::<SecurityGroup>(facts, &format!("{field}.remoteSecurityGroupUuid"), remote)?;
        }
        let wish = Wish::of(request);
        if let (Some(remote), false) = (request.remote_security_group_uuid, remotes.is_empty()) {
            let fault =
                Fault::new(CONFLICT, "remoteSecurityGroupUuid", remote, "nothing beside remoteSecurityGroupUuids");
            return Err(fault.refusal(&field));
        }
        let each: Vec<Option<SecurityGroupId>> = match remotes.is_empty() {
            true => vec![request.remote_security_group_uuid],
            false => remotes.iter().copied().map(Some).collect(),
        };
        for remote in each {
            let wish = Wish { remote, ..wish.clone() };
            let rule = wish.rule(group.ip_version, SecurityGroupRuleId(context.id()));
            let rule = rule.map_err(|fault| fault.refusal(&field))?;
            let old = group.rules.values().chain(new.iter().map(|(_, rule)| rule));
            rule::unlike(&rule, old).map_err(|fault| fault.refusal(&field))?;
            new.push((field.clone(), rule));
        }
    }
    let asked = command.priority.unwrap_or(-1);
    let mut wanted: Vec<_> = group.rules.values().filter(|rule| rule.priority == 0).cloned().collect();
    for direction in DIRECTIONS {
        let mut rules = group.ordered(direction);
        let added: Vec<_> = new.iter().filter(|(_, rule)| rule.direction == direction).cloned().collect();
        if let Some((field, _)) = added.first() {
            if rules.len() + added.len() > MAX_RULES {
                let right = format!("at most {MAX_RULES} {direction:?} rules in a group, which has {}", rules.len());
                return Err(Refusal::argument(field, format!("{} rules more", added.len()), right));
            }
            let at = place("priority", asked, rules.len() + 1)?;
            rules.splice(at..at, added.into_iter().map(|(_, rule)| rule));
            numbered(&mut rules);
        }
        wanted.extend(rules);
    }
    let event = changed(&group, wanted);
    Ok(event.into_iter().fold(about(id), Decision::event))
}

/// Where a rule of this priority stands among the others: -1 is the last place of `places`.
fn place(field: &str, priority: i64, places: usize) -> Result<usize, Refusal> {
    let at = match usize::try_from(priority) {
        Ok(priority) => priority,
        Err(_) => places,
    };
    match at {
        1.. if at <= places => Ok(at - 1),
        _ => Err(Refusal::argument(field, priority, format!("-1 for the last place, or 1 to {places}"))),
    }
}

/// The group that a rule is of, and the rule.
fn rule_of(
    facts: &Facts,
    field: &str,
    id: SecurityGroupRuleId,
) -> Result<(SecurityGroupId, Arc<SecurityGroup>, SecurityGroupRule), Refusal> {
    let unknown = || Refusal::not_found(field, "rule of a security group", id);
    let group = facts.members(Relation::GroupOfRule, id).first().copied().ok_or_else(unknown)?;
    let state = facts.get::<SecurityGroup>(group)?;
    let rule = state.rules.get(&id).cloned().ok_or_else(unknown)?;
    Ok((SecurityGroupId(group), state, rule))
}

pub(crate) fn delete_rules(command: &DeleteSecurityGroupRule, facts: &Facts) -> Result<Decision, Refusal> {
    let mut of: BTreeMap<Id, BTreeSet<SecurityGroupRuleId>> = BTreeMap::new();
    for rule in &command.rule_uuids {
        for group in facts.members(Relation::GroupOfRule, *rule) {
            of.entry(group).or_default().insert(*rule);
        }
    }
    let first = of.keys().next().copied().unwrap_or_default();
    let mut decision = Decision::about(StreamKind::SecurityGroup, first);
    for (id, gone) in of {
        let group = facts.get::<SecurityGroup>(id)?;
        let fixed = gone.iter().find(|rule| group.rules.get(rule).is_some_and(|rule| rule.priority == 0));
        if let Some(rule) = fixed {
            let right = "a rule that was added: those of priority 0 belong to every group, and may be disabled";
            return Err(Refusal::argument("ruleUuids", rule, right));
        }
        let event = without(&group, |rule| gone.contains(&rule.rule));
        event.into_iter().for_each(|event| decision.add(id, event));
    }
    Ok(decision)
}

pub(crate) fn change_rule(command: &ChangeSecurityGroupRule, facts: &Facts) -> Result<Decision, Refusal> {
    let (id, group, old) = rule_of(facts, "uuid", command.uuid)?;
    if let Some(remote) = command.remote_security_group_uuid {
        rules::existing::<SecurityGroup>(facts, "remoteSecurityGroupUuid", remote)?;
    }
    let named = [
        ("remoteSecurityGroupUuid", command.remote_security_group_uuid.is_some()),
        ("action", command.action.is_some()),
        ("priority", command.priority.is_some()),
        ("protocol", command.protocol.is_some()),
        ("srcIpRange", command.src_ip_range.is_some()),
        ("dstIpRange", command.dst_ip_range.is_some()),
        ("dstPortRange", command.dst_port_range.is_some()),
    ];
    if let Some((field, _)) = named.iter().find(|(_, given)| *given && old.priority == 0) {
        let right = "a rule that was added: those of priority 0 belong to every group, and may be disabled";
        return Err(Refusal::argument("uuid", command.uuid, right).hint(format!("leave {field} out")));
    }
    let mut rule = Wish::change(&old, command).rule(group.ip_version, old.rule).map_err(|fault| fault.refusal(""))?;
    (rule.priority, rule.direction) = (old.priority, old.direction);
    rule.legacy = old.legacy && (&rule.addresses, &rule.ports) == (&old.addresses, &old.ports);
    let others = group.rules.values().filter(|other| other.rule != rule.rule);
    rule::unlike(&rule, others).map_err(|fault| fault.refusal(""))?;
    let mut wanted: Vec<_> = group
        .rules
        .values()
        .filter(|other| other.priority == 0 || other.direction != rule.direction)
        .cloned()
        .collect();
    if rule.priority == 0 {
        wanted.retain(|other| other.rule != rule.rule);
        wanted.extend(group.ordered(rule.direction));
        wanted.push(rule);
    } else {
        let mut rules = group.ordered(rule.direction);
        let at = place("priority", command.priority.unwrap_or(i64::from(old.priority)), rules.len())?;
        rules.retain(|other| other.rule != rule.rule);
        rules.insert(at, rule);
        numbered(&mut rules);
        // What the command is about stands first in the event.
        rules.sort_by_key(|rule| rule.rule != command.uuid);
        wanted.extend(rules);
    }
    let decision = Decision::about(StreamKind::SecurityGroup, id).show_other("securityGroupRule", command.uuid);
    Ok(changed(&group, wanted).into_iter().fold(decision, Decision::event))
}

/// A rule of a group that a command about the group names.
fn own<'a>(
    group: &'a SecurityGroup,
    id: SecurityGroupId,
    field: &str,
    rule: SecurityGroupRuleId,
) -> Result<&'a SecurityGroupRule, Refusal> {
    let foreign = || Refusal::argument(field, rule, format!("a rule of security group {id}"));
    group.rules.get(&rule).ok_or_else(foreign)
}

pub(crate) fn change_rule_state(command: &ChangeSecurityGroupRuleState, facts: &Facts) -> Result<Decision, Refusal> {
    let id = command.security_group_uuid;
    let group = rules::existing::<SecurityGroup>(facts, "securityGroupUuid", id)?;
    let state = if command.state == "Enabled" { Enabled::Enabled } else { Enabled::Disabled };
    let mut wanted = group.rules.clone();
    for rule in &command.rule_uuids {
        let rule = own(&group, id, "ruleUuids", *rule)?;
        wanted.insert(rule.rule, SecurityGroupRule { state, ..rule.clone() });
    }
    let event = changed(&group, wanted.into_values().collect());
    Ok(event.into_iter().fold(about(id), Decision::event))
}

pub(crate) fn order_rules(command: &UpdateSecurityGroupRulePriority, facts: &Facts) -> Result<Decision, Refusal> {
    let id = command.security_group_uuid;
    let group = rules::existing::<SecurityGroup>(facts, "securityGroupUuid", id)?;
    let direction = rule::direction_of(&command.r#type);
    let held = group.ordered(direction);
    let mut places: BTreeMap<i64, SecurityGroupRule> = BTreeMap::new();
    for (at, place) in command.rules.iter().enumerate() {
        let field = format!("rules[{at}]");
        let uuid = format!("{field}.ruleUuid");
        let rule = own(&group, id, &uuid, place.rule_uuid)?;
        if rule.direction != direction || rule.priority == 0 {
            let right = format!("a rule of type {direction:?} that was added");
            return Err(Refusal::argument(&uuid, place.rule_uuid, right));
        }
        if places.values().any(|other| other.rule == rule.rule) {
            return Err(Refusal::argument(&uuid, place.rule_uuid, "each rule once"));
        }
        let right = format!("each of the places 1 to {} once", held.len());
        let other = places.insert(place.priority, rule.clone());
        if other.is_some() || place.priority > held.len() as i64 {
            return Err(Refusal::argument(&format!("{field}.priority"), place.priority, right));
        }
    }
    if places.len() != held.len() {
        let right = format!("all {} rules of type {direction:?} of the group", held.len());
        return Err(Refusal::argument("rules", format!("{} rules", places.len()), right));
    }
    let mut rules: Vec<SecurityGroupRule> = places.into_values().collect();
    numbered(&mut rules);
    let others = group.rules.values().filter(|rule| rule.priority == 0 || rule.direction != direction);
    rules.extend(others.cloned());
    let event = changed(&group, rules);
    Ok(event.into_iter().fold(about(id), Decision::event))
}

/// Whether a provider filters at the nics of a network.
fn serves(facts: &Facts, field: &str, l3: L3NetworkId) -> Result<(), Refusal> {
    match rules::existing::<L3Network>(facts, field, l3)?.services.contains_key(&NetworkServiceType::SecurityGroup) {
        true => Ok(()),
        false => Err(unserved(field, l3.0, l3)),
    }
}

fn unserved(field: &str, value: Id, l3: L3NetworkId) -> Refusal {
    let right = format!("one where a provider gives the service SecurityGroup: L3 network {l3} has none");
    Refusal::argument(field, value, right)
        .hint("attach it with AttachNetworkServiceToL3Network: {\"SecurityGroup\": [\"SecurityGroup\"]}")
}

pub(crate) fn attach(command: &AttachSecurityGroupToL3Network, facts: &Facts) -> Result<Decision, Refusal> {
    let (id, l3_network) = (command.security_group_uuid, command.l3_network_uuid);
    let group = rules::existing::<SecurityGroup>(facts, "securityGroupUuid", id)?;
    serves(facts, "l3NetworkUuid", l3_network)?;
    if group.l3_networks.contains(&l3_network) {
        let detail = format!("l3NetworkUuid = `{l3_network}`: security group {id} is attached to it already");
        return Err(Refusal::operation(detail));
    }
    Ok(about(id).event(SecurityGroupEvent::AttachedToL3Network { l3_network }))
}

pub(crate) fn detach(command: &DetachSecurityGroupFromL3Network, facts: &Facts) -> Result<Decision, Refusal> {
    let (id, l3_network) = (command.security_group_uuid, command.l3_network_uuid);
    let group = rules::existing::<SecurityGroup>(facts, "securityGroupUuid", id)?;
    if !group.l3_networks.contains(&l3_network) {
        let detail = format!("l3NetworkUuid = `{l3_network}`: security group {id} is not attached to it");
        return Err(Refusal::operation(detail));
    }
    let mut decision = about(id).event(SecurityGroupEvent::DetachedFromL3Network { l3_network });
    for nic in facts.members(Relation::NicsOfGroup, id) {
        let vm = vm_instance::nics::owner(facts, NicId(nic)).unwrap_or_default();
        let vm = facts.get::<VmInstance>(vm)?;
        if vm.nics.iter().any(|own| own.nic.0 == nic && own.l3_network == l3_network) {
            left(&mut decision, facts, NicId(nic), id)?;
        }
    }
    Ok(decision)
}

/// An L3 network goes: no group is attached to it any more. Its nics have gone before.
pub(crate) fn forget_l3(decision: &mut Decision, facts: &Facts, l3_network: L3NetworkId) -> Result<(), Refusal> {
    for group in facts.members(Relation::GroupsOfL3, l3_network) {
        facts.get::<SecurityGroup>(group)?;
        decision.add(group, SecurityGroupEvent::DetachedFromL3Network { l3_network });
    }
    Ok(())
}

pub(crate) use nics::{add_nics, change_policy, remove_nics, set_groups};

/// Two values that exclude each other, in the words of the reference.
pub(crate) const CONFLICT: &str = "SG.1003";

#[cfg(test)]
mod tests;
