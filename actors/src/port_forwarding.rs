//! Port forwarding: ports of a VIP lead to as many ports of a nic, or to none. Several rules share a VIP by their ports;
//! all of them on one VM are of one VIP.

use crate::{
    context::Context,
    decision::Decision,
    directory::Relation,
    facts::Facts,
    rules,
    vip::{self, VipUse},
    *,
};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use switchback_bus::*;
use switchback_events::*;

/// A port forwarding rule.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct PortForwarding {
    pub name: String,
    pub at: VipPlace,
    pub ports: ForwardedPorts,
    pub to: Option<ServedNic>,
    pub disabled: bool,
    pub deleted: bool,
}

rules::exists!(PortForwarding, "port forwarding rule");

impl PortForwarding {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &PortForwardingEvent, _version: Version) {
        match event {
            PortForwardingEvent::Created { name, at, ports, .. } => {
                (self.name, self.at, self.ports) = (name.clone(), *at, *ports);
            }
            PortForwardingEvent::Updated { name, .. } => self.name = name.clone().unwrap_or_else(|| self.name.clone()),
            PortForwardingEvent::StateChanged { state, .. } => self.disabled = *state == Enabled::Disabled,
            PortForwardingEvent::Attached { to, .. } => self.to = Some(*to),
            PortForwardingEvent::Detached { .. } => self.to = None,
            PortForwardingEvent::Deleted { .. } => (self.to, self.deleted) = (None, true),
        }
    }
}

/// Whether two ranges of ports have one in common.
fn meet(a: (u16, u16), b: (u16, u16)) -> bool {
    a.0 <= b.1 && b.0 <= a.1
}

/// The ports that a command asks for, each range in order, both of one size.
fn ports(command: &CreatePortForwardingRule) -> Result<ForwardedPorts, Refusal> {
    let vip_start = command.vip_port_start;
    let vip_end = command.vip_port_end.unwrap_or(vip_start);
    if vip_end < vip_start {
        return Err(Refusal::argument("vipPortEnd", vip_end, format!("not in front of vipPortStart {vip_start}")));
    }
    let private_start = command.private_port_start.unwrap_or(vip_start);
    let size = vip_end - vip_start;
    let Some(private_end) = command.private_port_end.or(private_start.checked_add(size)) else {
        let right = format!("at most {}, as there are {} ports", u16::MAX - size, u32::from(size) + 1);
        return Err(Refusal::argument("privatePortStart", private_start, right));
    };
    if private_end < private_start {
        let right = format!("not in front of privatePortStart {private_start}");
        return Err(Refusal::argument("privatePortEnd", private_end, right));
    }
    if private_end - private_start != size {
        let right = format!(
            "range size must match: {} private ports, as many as vipPortStart {vip_start} to vipPortEnd {vip_end}",
            u32::from(size) + 1
        );
        return Err(Refusal::argument("privatePortEnd", private_end, right));
    }
    let allowed_cidr = match &command.allowed_cidr {
        None => None,
        Some(text) => Some(
            text.parse::<Ipv4Net>()
                .map_err(|_| Refusal::argument("allowedCidr", text, "an IPv4 CIDR such as 198.51.100.0/24"))?,
        ),
    };
    let protocol = if command.protocol_type == "UDP" { PortProtocol::UDP } else { PortProtocol::TCP };
    Ok(ForwardedPorts { protocol, vip_start, vip_end, private_start, private_end, allowed_cidr })
}

pub(crate) fn create(
    command: &CreatePortForwardingRule,
    facts: &Facts,
    context: &Context,
) -> Result<Decision, Refusal> {
    let at = vip::may_join(facts, command.vip_uuid, VipUse::PortForwarding)?;
    let ports = ports(command)?;
    for other in facts.members(Relation::ServicesOfVip(VipUse::PortForwarding), at.vip) {
        let theirs = facts.get::<PortForwarding>(other)?.ports;
        if theirs.protocol == ports.protocol
            && meet((theirs.vip_start, theirs.vip_end), (ports.vip_start, ports.vip_end))
        {
            let right = format!(
                "ports that no rule of the VIP has: rule {other} has {} to {} of {:?}",
                theirs.vip_start, theirs.vip_end, theirs.protocol
            );
            return Err(Refusal::argument("vipPortStart", ports.vip_start, right));
        }
    }
    for other in facts.members(Relation::ServicesOfVip(VipUse::LoadBalancer), at.vip) {
        let balancer = facts.get::<LoadBalancer>(other)?;
        let mut theirs = load_balancer::ports(&balancer, ports.protocol == PortProtocol::UDP);
        if let Some((port, _)) = theirs.find(|theirs| meet(*theirs, (ports.vip_start, ports.vip_end))) {
            let right = format!("ports that no listener of the VIP has: load balancer {other} has {port}");
            return Err(Refusal::argument("vipPortStart", ports.vip_start, right));
        }
    }
    let id = PortForwardingRuleId(context.resource_id());
    let (name, description) = (command.name.clone(), command.description.clone());
    let created = PortForwardingEvent::Created { name, description, at, ports };
    let mut decision = Decision::about(StreamKind::PortForwarding, id).show("portForwarding").event(created);
    if let Some(nic) = command.vm_nic_uuid {
        let to = may_lead(facts, &at, &ports, nic)?;
        decision.add(id, PortForwardingEvent::Attached { at, to, ports });
        vip::routed(&mut decision, facts, context, &to)?;
    }
    Ok(decision)
}

/// The rule that a command changes, with its VIP and its ports.
fn existing(
    facts: &Facts,
    field: &str,
    id: PortForwardingRuleId,
) -> Result<(Arc<PortForwarding>, VipPlace, ForwardedPorts), Refusal> {
    let rule = rules::existing::<PortForwarding>(facts, field, id)?;
    let (at, ports) = (rule.at, rule.ports);
    Ok((rule, at, ports))
}

pub(crate) fn attach(
    command: &AttachPortForwardingRule,
    facts: &Facts,
    context: &Context,
) -> Result<Decision, Refusal> {
    let id = command.rule_uuid;
    let (rule, at, ports) = existing(facts, "ruleUuid", id)?;
    unattached(&rule, id)?;
    let to = may_lead(facts, &at, &ports, command.vm_nic_uuid)?;
    let attached = PortForwardingEvent::Attached { at, to, ports };
    let mut decision = Decision::about(StreamKind::PortForwarding, id).show("portForwarding").event(attached);
    vip::routed(&mut decision, facts, context, &to)?;
    Ok(decision)
}

/// Whether it can be attached at all.
fn unattached(rule: &PortForwarding, id: PortForwardingRuleId) -> Result<(), Refusal> {
    if let Some(to) = rule.to {
        let detail = format!("ruleUuid = `{id}`: the port forwarding rule is attached to nic {} already", to.nic);
        return Err(Refusal::operation(detail));
    }
    match rule.disabled {
        true => Err(Refusal::operation(format!("ruleUuid = `{id}`: the port forwarding rule is Disabled"))),
        false => Ok(()),
    }
}

/// Where a rule leads that is given this nic, or why it cannot.
fn may_lead(facts: &Facts, at: &VipPlace, ports: &ForwardedPorts, nic: NicId) -> Result<ServedNic, Refusal> {
    let (to, _) = vip::may_serve(facts, at, nic, VipUse::PortForwarding)?;
    let eips = facts.members(Relation::ServicesOfNic(VipUse::Eip), nic);
    if let (Some(eip), Some(allowed)) = (eips.first(), ports.allowed_cidr) {
        let detail = format!("vmNicUuid = `{nic}`: the nic has EIP {eip}, and allowedCidr {allowed} would not hold");
        return Err(Refusal::operation(detail));
    }
    let vm = facts.get::<VmInstance>(to.vm)?;
    for own in &vm.nics {
        for other in facts.members(Relation::ServicesOfNic(VipUse::PortForwarding), own.nic) {
            let rule = facts.get::<PortForwarding>(other)?;
            let (theirs, there) = (rule.ports, rule.at);
            if there.vip != at.vip {
                let detail = format!(
                    "vmNicUuid = `{nic}`: VM {} has port forwarding rule {other} of VIP {}, and may have rules of one VIP only",
                    to.vm, there.vip
                );
                return Err(Refusal::operation(detail));
            }
            let private = |ports: &ForwardedPorts| (ports.private_start, ports.private_end);
            let guarded = ports.allowed_cidr.is_some() || theirs.allowed_cidr.is_some();
            if own.nic == nic && guarded && theirs.protocol == ports.protocol && meet(private(&theirs), private(ports))
            {
                let detail = format!(
                    "vmNicUuid = `{nic}`: port forwarding rule {other} leads to private ports {} to {} of {:?} too, and \
                     one of the two has an allowedCidr",
                    theirs.private_start, theirs.private_end, theirs.protocol
                );
                return Err(Refusal::operation(detail));
            }
        }
    }
    Ok(to)
}

pub(crate) fn detach(command: &DetachPortForwardingRule, facts: &Facts) -> Result<Decision, Refusal> {
    let (rule, at, _) = existing(facts, "uuid", command.uuid)?;
    let Some(from) = rule.to else {
        let detail = format!("uuid = `{}`: the port forwarding rule is attached to no nic", command.uuid);
        return Err(Refusal::operation(detail));
    };
    let decision = Decision::about(StreamKind::PortForwarding, command.uuid).show("portForwarding");
    Ok(decision.event(PortForwardingEvent::Detached { at, from }))
}

pub(crate) fn update(command: &UpdatePortForwardingRule, facts: &Facts) -> Result<Decision, Refusal> {
    existing(facts, "uuid", command.uuid)?;
    let event = PortForwardingEvent::Updated { name: command.name.clone(), description: command.description.clone() };
    Ok(Decision::about(StreamKind::PortForwarding, command.uuid).show("portForwarding").event(event))
}

pub(crate) fn change_state(command: &ChangePortForwardingRuleState, facts: &Facts) -> Result<Decision, Refusal> {
    let (rule, ..) = existing(facts, "uuid", command.uuid)?;
    let state = rules::state_event(&command.state_event);
    let decision = Decision::about(StreamKind::PortForwarding, command.uuid).show("portForwarding");
    if rule.disabled == (state == Enabled::Disabled) {
        return Ok(decision);
    }
    let guest_network = rule.to.map(|to| to.l3_network);
    Ok(decision.event(PortForwardingEvent::StateChanged { state, guest_network }))
}

pub(crate) fn delete(command: &DeletePortForwardingRule, facts: &Facts) -> Result<Decision, Refusal> {
    let mut decision = Decision::about(StreamKind::PortForwarding, command.uuid);
    vip::end_service(&mut decision, facts, (VipUse::PortForwarding, command.uuid.0))?;
    Ok(decision)
}

/// The nics that a rule could lead to.
///
/// # Errors
/// There is no such rule.
pub fn attachable_nics(states: &States, id: PortForwardingRuleId) -> Result<Vec<Id>, Refusal> {
    let facts = states.facts();
    let (rule, at, ports) = existing(&facts, "ruleUuid", id)?;
    if unattached(&rule, id).is_err() {
        return Ok(vec![]);
    }
    vip::candidates(&facts, VipUse::PortForwarding, None, |_, _, nic| may_lead(&facts, &at, &ports, nic).is_ok())
}
