//! Public networks that a router is given besides its own. Management, public and guest networks come and go with the
//! router.

use super::*;

/// At most so many nics.
const MAX_NICS: usize = 16;

pub(crate) fn attach(command: &AttachL3NetworkToVm, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let (id, network) = (command.vm_instance_uuid, command.l3_network_uuid);
    let router = rules::existing::<Router>(facts, "vmInstanceUuid", id)?;
    for (field, given) in [
        ("staticIp", command.static_ip.is_some()),
        ("customMac", command.custom_mac.is_some()),
        ("vmNicParams", command.vm_nic_params.is_some()),
    ] {
        if given {
            return Err(Refusal::not_supported(format!("{field} for a nic of a router")));
        }
    }
    serving(&router, id, facts)?;
    let l3 = attachable(facts, network, &router)?;
    let device_id = vm_instance::nics::free_device(&router.nics).filter(|_| router.nics.len() < MAX_NICS);
    let device_id = device_id.ok_or_else(|| {
        Refusal::operation(format!("vmInstanceUuid = `{id}`: it has {} nics, and may have no more", router.nics.len()))
    })?;
    let mut decision = about(id);
    let role = (network, Nic::ADDITIONAL_PUBLIC);
    let nic = router_nic(&mut decision, facts, context, role, device_id, (id, false))?;
    debug_assert_eq!(nic.l2_network, l3.l2_network);
    Ok(decision.first(RouterEvent::NicAttached { nic }))
}

/// Its agent can be told.
fn serving(router: &Router, id: Id, facts: &Facts) -> Result<(), Refusal> {
    if router.state != VmState::Running || router.status != RouterStatus::Connected {
        return Err(wrong_state(router, id, "Running and Connected"));
    }
    if !facts.get::<Host>(router.host)?.connected() {
        return Err(Refusal::operation(format!("host {} of router {id} is not Connected", router.host)));
    }
    Ok(())
}

/// Why a router cannot have the network as an additional public one, or the network where it can.
fn attachable(facts: &Facts, id: L3NetworkId, router: &Router) -> Result<std::sync::Arc<L3Network>, Refusal> {
    let field = "l3NetworkUuid";
    let l3 = rules::existing::<L3Network>(facts, field, id)?;
    if l3.category != Some(L3NetworkCategory::Public) {
        return Err(Refusal::argument(field, id, "an L3 network of category Public"));
    }
    if l3.zone != router.zone {
        return Err(Refusal::argument(field, id, format!("an L3 network of the router's zone {}", router.zone)));
    }
    if l3.disabled {
        return Err(Refusal::operation(format!("{field} = `{id}`: the L3 network is disabled")));
    }
    if router.nics.iter().any(|nic| nic.l3_network == id) {
        return Err(Refusal::operation(format!("{field} = `{id}`: the router has a nic on it already")));
    }
    for other in router.l3_networks() {
        if networks_overlap(facts, id, other)? {
            let right = format!("a network whose CIDR does not overlap that of L3 network {other} of the router");
            return Err(Refusal::argument(field, id, right));
        }
    }
    if !facts.get::<L2Network>(l3.l2_network)?.attached_to(router.cluster) {
        let detail = format!(
            "{field} = `{id}`: its L2 network {} is not attached to the router's cluster {}",
            l3.l2_network, router.cluster
        );
        return Err(Refusal::conflict(code::NO_HOST_WITH_L2, detail).hint("attach it with AttachL2NetworkToCluster"));
    }
    Ok(l3)
}

/// The public networks that a router could be given.
pub fn attachable_public_networks(states: &States, id: RouterId) -> Result<Vec<Id>, Refusal> {
    let facts = states.facts();
    let router = rules::existing::<Router>(&facts, "vmInstanceUuid", id)?;
    let mut found = Vec::new();
    for l2 in facts.members(Relation::L2sOfCluster, router.cluster) {
        for l3 in facts.members(Relation::L3sOfL2, l2) {
            if attachable(&facts, L3NetworkId(l3), &router).is_ok() {
                found.push(l3);
            }
        }
    }
    Ok(found)
}

pub(crate) fn detach(id: Id, command: &DetachL3NetworkFromVm, facts: &Facts) -> Result<Decision, Refusal> {
    let router = rules::existing::<Router>(facts, "vmNicUuid", id)?;
    let Some(own) = router.nics.iter().find(|nic| nic.nic == command.vm_nic_uuid) else {
        return Err(Refusal::not_found("vmNicUuid", "nic", command.vm_nic_uuid));
    };
    if !additional(own) {
        let detail = format!("vmNicUuid = `{}`: management, public and guest nics stay with their router", own.nic);
        return Err(Refusal::operation(detail).hint("only a public network that was attached later can be detached"));
    }
    serving(&router, id, facts)?;
    let mut decision = about(id);
    take_nic(&mut decision, facts, id, own)?;
    vip::unserved(&mut decision, facts, &router, own.l3_network)?;
    Ok(decision)
}

/// A router goes on without such a nic.
pub(crate) fn additional(nic: &Nic) -> bool {
    nic.meta_data == Nic::ADDITIONAL_PUBLIC
}

/// A router goes on without a nic: its addresses are free again.
pub(crate) fn take_nic(decision: &mut Decision, facts: &Facts, id: Id, own: &Nic) -> Result<(), Refusal> {
    decision.add(id, RouterEvent::NicDetached { nic: own.nic, l3_network: own.l3_network });
    ip_range::release(decision, facts, std::slice::from_ref(own), id)
}
