//! EIP: one VIP for one nic. It leads to a nic or to none, and is a fact about both: the router that serves it follows from
//! the nic's network, and where hosts give EIPs there ([`crate::vip::by_host`]) the host is that of the VM.
//!
//! ```text
//!  Created ─► unattached ──AttachEip──► attached: Enabled ⇄ Disabled
//!                 ▲                        │
//!                 └─ DetachEip, or the nic goes, moves to another network or loses its address ─┘
//! ```

use crate::{
    context::Context,
    decision::Decision,
    directory::Relation,
    facts::Facts,
    rules,
    vip::{self, VipUse},
    *,
};
use serde::{Deserialize, Serialize};
use switchback_bus::*;
use switchback_events::*;

/// An EIP.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Eip {
    pub name: String,
    pub at: VipPlace,
    pub to: Option<ServedNic>,
    pub disabled: bool,
    pub deleted: bool,
}

rules::exists!(Eip, "EIP");

impl Eip {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &EipEvent, _version: Version) {
        match event {
            EipEvent::Created { name, at, .. } => (self.name, self.at) = (name.clone(), *at),
            EipEvent::Updated { name, .. } => self.name = name.clone().unwrap_or_else(|| self.name.clone()),
            EipEvent::StateChanged { state, .. } => self.disabled = *state == Enabled::Disabled,
            EipEvent::Attached { to, .. } => self.to = Some(*to),
            EipEvent::Detached { .. } => self.to = None,
            EipEvent::Deleted { .. } => (self.to, self.deleted) = (None, true),
        }
    }
}

pub(crate) fn create(command: &CreateEip, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let at = vip::may_join(facts, command.vip_uuid, VipUse::Eip)?;
    if command.vm_nic_uuid.is_none()
        && let Some(other) = command.used_ip_uuid
    {
        return Err(Refusal::argument("usedIpUuid", other, "nothing, as there is no vmNicUuid"));
    }
    let id = EipId(context.resource_id());
    let (name, description) = (command.name.clone(), command.description.clone());
    let mut decision =
        Decision::about(StreamKind::Eip, id).show("eip").event(EipEvent::Created { name, description, at });
    if let Some(nic) = command.vm_nic_uuid {
        let to = may_lead(facts, &at, nic, command.used_ip_uuid)?;
        decision.add(id, EipEvent::Attached { at, to });
        served(&mut decision, facts, context, &to)?;
    }
    Ok(decision)
}

/// The EIP that a command changes, and its VIP.
fn existing(facts: &Facts, field: &str, id: EipId) -> Result<(std::sync::Arc<Eip>, VipPlace), Refusal> {
    let eip = rules::existing::<Eip>(facts, field, id)?;
    let at = eip.at;
    Ok((eip, at))
}

pub(crate) fn attach(command: &AttachEip, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let id = command.eip_uuid;
    let (eip, at) = existing(facts, "eipUuid", id)?;
    unattached(&eip, id)?;
    let to = may_lead(facts, &at, command.vm_nic_uuid, command.used_ip_uuid)?;
    let mut decision = Decision::about(StreamKind::Eip, id).show("eip").event(EipEvent::Attached { at, to });
    served(&mut decision, facts, context, &to)?;
    Ok(decision)
}

/// Sees to it that there is who serves it: a router, where it is not the VM's host.
fn served(decision: &mut Decision, facts: &Facts, context: &Context, to: &ServedNic) -> Result<(), Refusal> {
    match vip::by_host::serves(facts, to.l3_network)? {
        true => Ok(()),
        false => vip::routed(decision, facts, context, to),
    }
}

/// Whether it can be attached at all.
fn unattached(eip: &Eip, id: EipId) -> Result<(), Refusal> {
    if let Some(to) = eip.to {
        return Err(Refusal::operation(format!("eipUuid = `{id}`: the EIP is attached to nic {} already", to.nic)));
    }
    match eip.disabled {
        true => Err(Refusal::operation(format!("eipUuid = `{id}`: the EIP is Disabled"))),
        false => Ok(()),
    }
}

/// Where an EIP leads that is given this nic, or why it cannot.
fn may_lead(facts: &Facts, at: &VipPlace, nic: NicId, used_ip: Option<Id>) -> Result<ServedNic, Refusal> {
    let (to, own) = vip::may_serve(facts, at, nic, VipUse::Eip)?;
    if let Some(other) = used_ip
        && !own.addresses.iter().any(|address| address.used_ip == other && address.ip.is_ipv4() == at.ip.is_ipv4())
    {
        let right = format!("the IPv{} address of nic {nic}", ip_version(at.ip));
        return Err(Refusal::argument("usedIpUuid", other, right));
    }
    for rule in facts.members(Relation::ServicesOfNic(VipUse::PortForwarding), nic) {
        if facts.get::<PortForwarding>(rule)?.ports.allowed_cidr.is_some() {
            let detail = format!("vmNicUuid = `{nic}`: the nic has port forwarding rule {rule} with an allowedCidr");
            return Err(Refusal::operation(detail).hint("an EIP would let everybody in"));
        }
    }
    Ok(to)
}

pub(crate) fn detach(command: &DetachEip, facts: &Facts) -> Result<Decision, Refusal> {
    let (eip, at) = existing(facts, "uuid", command.uuid)?;
    let Some(from) = eip.to else {
        return Err(Refusal::operation(format!("uuid = `{}`: the EIP is attached to no nic", command.uuid)));
    };
    Ok(Decision::about(StreamKind::Eip, command.uuid).show("eip").event(EipEvent::Detached { at, from }))
}

pub(crate) fn update(command: &UpdateEip, facts: &Facts) -> Result<Decision, Refusal> {
    existing(facts, "uuid", command.uuid)?;
    let event = EipEvent::Updated { name: command.name.clone(), description: command.description.clone() };
    Ok(Decision::about(StreamKind::Eip, command.uuid).show("eip").event(event))
}

pub(crate) fn change_state(command: &ChangeEipState, facts: &Facts) -> Result<Decision, Refusal> {
    let (eip, _) = existing(facts, "uuid", command.uuid)?;
    let state = rules::state_event(&command.state_event);
    let decision = Decision::about(StreamKind::Eip, command.uuid).show("eip");
    if eip.disabled == (state == Enabled::Disabled) {
        return Ok(decision);
    }
    let guest_network = eip.to.map(|to| to.l3_network);
    Ok(decision.event(EipEvent::StateChanged { state, guest_network }))
}

pub(crate) fn delete(command: &DeleteEip, facts: &Facts) -> Result<Decision, Refusal> {
    let mut decision = Decision::about(StreamKind::Eip, command.uuid);
    vip::end_service(&mut decision, facts, (VipUse::Eip, command.uuid.0))?;
    Ok(decision)
}

/// The nics that an EIP, or an EIP of a VIP, could lead to.
///
/// # Errors
/// Neither is named, or there is no such one.
pub fn attachable_nics(states: &States, request: &GetEipAttachableVmNics) -> Result<Vec<Id>, Refusal> {
    let facts = states.facts();
    let at = match (request.eip_uuid, request.vip_uuid) {
        (Some(id), _) => {
            let (eip, at) = existing(&facts, "eipUuid", id)?;
            if unattached(&eip, id).is_err() {
                return Ok(vec![]);
            }
            at
        }
        (None, Some(id)) => {
            vip::existing(&facts, "vipUuid", id)?;
            let Ok(at) = vip::may_join(&facts, id, VipUse::Eip) else { return Ok(vec![]) };
            at
        }
        (None, None) => return Err(Refusal::missing("eipUuid", "the EIP, or vipUuid")),
    };
    let provider = request.network_service_provider.as_deref();
    vip::candidates(&facts, VipUse::Eip, provider, |vm, name, nic| {
        request.vm_uuid.is_none_or(|asked| asked == vm)
            && request.vm_name.as_ref().is_none_or(|asked| asked == name)
            && may_lead(&facts, &at, nic, None).is_ok()
    })
}

/// The EIPs that could lead to a nic.
///
/// # Errors
/// There is no such nic of a VM.
pub fn attachable_eips(states: &States, request: &GetVmNicAttachableEips) -> Result<Vec<Id>, Refusal> {
    let facts = states.facts();
    vm_instance::nics::vm_of(&facts, "vmNicUuid", request.vm_nic_uuid)?;
    let mut found = Vec::new();
    for id in facts.peek_members(Relation::All(StreamKind::Eip), Id::NIL) {
        let eip = facts.peek::<Eip>(id)?;
        if request.ip_version.is_none_or(|version| version == ip_version(eip.at.ip))
            && unattached(&eip, EipId(id)).is_ok()
            && may_lead(&facts, &eip.at, request.vm_nic_uuid, None).is_ok()
        {
            found.push(id);
        }
    }
    Ok(found)
}
