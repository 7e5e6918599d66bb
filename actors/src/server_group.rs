//! Server groups of a load balancer: nics with shares, which several of its listeners may hand on to. They are parts of
//! the load balancer's state, so that a nic is in one group of a listener under any concurrency.
//!
//! A listener's own group comes and goes with it.

use crate::{
    context::Context,
    decision::Decision,
    directory::Relation,
    facts::Facts,
    load_balancer::{MEMBERS_MAX, WEIGHT},
    vip::{self, VipUse},
    *,
};
use std::{collections::BTreeMap, sync::Arc};
use switchback_bus::*;
use switchback_events::*;

/// Server groups of one load balancer at most.
const GROUPS_MAX: usize = 100;

/// The load balancer that has a group, and the group.
fn of_group(facts: &Facts, field: &str, group: ServerGroupId) -> Result<(Id, Arc<LoadBalancer>, ServerGroup), Refusal> {
    for id in facts.members(Relation::LoadBalancerOfPart, group) {
        let balancer = facts.get::<LoadBalancer>(id)?;
        if let Some(held) = balancer.groups.get(&group).cloned() {
            return Ok((id, balancer, held));
        }
    }
    Err(Refusal::not_found(field, "server group of a load balancer", group))
}

fn about(id: Id, group: ServerGroupId) -> Decision {
    Decision::about(StreamKind::LoadBalancer, id).show_other("loadBalancerServerGroup", group)
}

pub(crate) fn create(
    command: &CreateLoadBalancerServerGroup,
    facts: &Facts,
    context: &Context,
) -> Result<Decision, Refusal> {
    let id = command.load_balancer_uuid;
    let balancer = rules::existing::<LoadBalancer>(facts, "loadBalancerUuid", id)?;
    if command.ip_version == Some(6) {
        return Err(Refusal::not_supported("ipVersion = `6`: a server group of IPv6"));
    }
    if balancer.groups.len() >= GROUPS_MAX {
        let right = format!("a load balancer with fewer than {GROUPS_MAX} server groups");
        return Err(Refusal::argument("loadBalancerUuid", id, right));
    }
    let group = ServerGroupId(context.id());
    let (name, description) = (command.name.clone(), command.description.clone());
    Ok(about(id.0, group).event(LoadBalancerEvent::GroupCreated { group, name, description }))
}

pub(crate) fn update(command: &UpdateLoadBalancerServerGroup, facts: &Facts) -> Result<Decision, Refusal> {
    let group = command.uuid;
    let (id, ..) = of_group(facts, "uuid", group)?;
    let (name, description) = (command.name.clone(), command.description.clone());
    Ok(about(id, group).event(LoadBalancerEvent::GroupUpdated { group, name, description }))
}

pub(crate) fn delete(command: &DeleteLoadBalancerServerGroup, facts: &Facts) -> Result<Decision, Refusal> {
    let group = command.uuid;
    let Ok((id, balancer, held)) = of_group(facts, "uuid", group) else {
        return Ok(Decision::about(StreamKind::LoadBalancer, group));
    };
    if let Some(listener) = held.own_of {
        let detail = format!("uuid = `{group}`: it is listener {listener}'s own server group, and goes with it");
        return Err(Refusal::operation(detail));
    }
    if let Some((listener, _)) = balancer.listeners.iter().find(|(_, listener)| listener.groups.contains(&group)) {
        let detail = format!("uuid = `{group}`: listener {listener} hands on to the server group");
        return Err(Refusal::operation(detail).hint("take it off with RemoveServerGroupFromLoadBalancerListener"));
    }
    let decision = Decision::about(StreamKind::LoadBalancer, id);
    let decision = take(decision, &balancer, group, &held.members.keys().copied().collect::<Vec<NicId>>());
    Ok(decision.event(LoadBalancerEvent::GroupDeleted { group }))
}

pub(crate) fn add_servers(
    command: &AddBackendServerToServerGroup,
    facts: &Facts,
    context: &Context,
) -> Result<Decision, Refusal> {
    let group = command.server_group_uuid;
    let (id, ..) = of_group(facts, "serverGroupUuid", group)?;
    by_nic_alone(command.servers.as_ref().map(Vec::len))?;
    let nics = asked(command.vm_nics.as_deref().unwrap_or_default())?;
    put(about(id, group), facts, context, (id, group), "vmNics", &nics)
}

pub(crate) fn change_servers(command: &ChangeLoadBalancerBackendServer, facts: &Facts) -> Result<Decision, Refusal> {
    let group = command.server_group_uuid;
    let (id, balancer, held) = of_group(facts, "serverGroupUuid", group)?;
    by_nic_alone(command.servers.as_ref().map(Vec::len))?;
    let mut members = Vec::new();
    for (nic, weight) in asked(command.vm_nics.as_deref().unwrap_or_default())? {
        let Some(member) = held.members.get(&nic) else {
            return Err(Refusal::argument("vmNics", nic, format!("a nic of server group {group}")));
        };
        if member.weight != weight {
            members.push(GroupMember { weight, ..*member });
        }
    }
    let decision = about(id, group);
    if members.is_empty() {
        return Ok(decision);
    }
    let (listener, l3_networks) = (held.own_of, balancer.networks(&[]));
    Ok(decision.event(LoadBalancerEvent::MembersPut { group, listener, members, l3_networks }))
}

pub(crate) fn remove_servers(command: &RemoveBackendServerFromServerGroup, facts: &Facts) -> Result<Decision, Refusal> {
    let group = command.server_group_uuid;
    let (id, balancer, _) = of_group(facts, "serverGroupUuid", group)?;
    by_nic_alone(command.server_ips.as_ref().map(Vec::len))?;
    Ok(take(about(id, group), &balancer, group, command.vm_nic_uuids.as_deref().unwrap_or_default()))
}

/// A virtual router hands on to nics of VMs: an address alone says nothing of where it is.
fn by_nic_alone(servers: Option<usize>) -> Result<(), Refusal> {
    match servers.unwrap_or(0) {
        0 => Ok(()),
        _ => Err(Refusal::not_supported("a server by its address in a load balancer of virtual routers")
            .hint("name the nic of its VM in vmNics")),
    }
}

/// The nics that are asked for, with their shares.
fn asked(nics: &[ServerGroupNic]) -> Result<Vec<(NicId, u8)>, Refusal> {
    let asked = |nic: &ServerGroupNic| {
        let Some(text) = &nic.weight else { return Ok((nic.uuid, WEIGHT)) };
        let weight = text.parse().ok().filter(|weight| *weight <= WEIGHT);
        Ok((nic.uuid, weight.ok_or_else(|| Refusal::argument("vmNics.weight", text, "a share of 0 to 100"))?))
    };
    nics.iter().map(asked).collect()
}

pub(crate) fn add_to_listener(
    command: &AddServerGroupToLoadBalancerListener,
    facts: &Facts,
) -> Result<Decision, Refusal> {
    let (listener, group) = (command.listener_uuid, command.server_group_uuid);
    let (id, balancer, held) = load_balancer::of_listener(facts, "listenerUuid", listener)?;
    let (other, _, servers) = of_group(facts, "serverGroupUuid", group)?;
    if other != id || servers.own_of.is_some() {
        let right = format!("a server group of load balancer {id} that is no listener's own");
        return Err(Refusal::argument("serverGroupUuid", group, right));
    }
    let decision = load_balancer::about_listener(id, listener);
    if held.groups.contains(&group) {
        let detail = format!("serverGroupUuid = `{group}`: listener {listener} hands on to it already");
        return Err(Refusal::operation(detail));
    }
    for nic in servers.members.keys() {
        in_no_other(&balancer, group, *nic, [(&listener, &held)].into_iter(), "serverGroupUuid")?;
    }
    let l3_networks = balancer.networks(&[]);
    Ok(decision.event(LoadBalancerEvent::GroupAdded { listener, group, l3_networks }))
}

pub(crate) fn remove_from_listener(
    command: &RemoveServerGroupFromLoadBalancerListener,
    facts: &Facts,
) -> Result<Decision, Refusal> {
    let (listener, group) = (command.listener_uuid, command.server_group_uuid);
    let (id, balancer, held) = load_balancer::of_listener(facts, "listenerUuid", listener)?;
    if held.own == group {
        let detail = format!("serverGroupUuid = `{group}`: it is listener {listener}'s own server group");
        return Err(Refusal::operation(detail).hint("take its nics out with RemoveVmNicFromLoadBalancer"));
    }
    let decision = load_balancer::about_listener(id, listener);
    if !held.groups.contains(&group) {
        return Ok(decision);
    }
    listener_access::no_redirect(listener, &held, group)?;
    let l3_networks = balancer.networks(&[]);
    Ok(decision.event(LoadBalancerEvent::GroupRemoved { listener, group, l3_networks }))
}

/// Refuses a nic that a listener of the group has by another group: it would be handed on to twice.
fn in_no_other<'a>(
    balancer: &LoadBalancer,
    group: ServerGroupId,
    nic: NicId,
    listeners: impl Iterator<Item = (&'a LoadBalancerListenerId, &'a Listener)>,
    field: &str,
) -> Result<(), Refusal> {
    for (listener, held) in listeners {
        for other in held.groups.iter().filter(|other| **other != group) {
            if balancer.groups.get(other).is_some_and(|other| other.members.contains_key(&nic)) {
                let detail = format!(
                    "{field}: nic `{nic}` is in server group {other} of listener {listener} already, and a nic is in one \
                     group of a listener"
                );
                return Err(Refusal::operation(detail));
            }
        }
    }
    Ok(())
}

/// Puts nics into a group of the load balancer `id`, all or none. They are all on one guest network.
pub(crate) fn put(
    mut decision: Decision,
    facts: &Facts,
    context: &Context,
    (id, group): (Id, ServerGroupId),
    field: &str,
    nics: &[(NicId, u8)],
) -> Result<Decision, Refusal> {
    let balancer = facts.get::<LoadBalancer>(id)?;
    let (Some(held), Some(at)) = (balancer.groups.get(&group), balancer.at) else { return Ok(decision) };
    if held.members.len() + nics.len() > MEMBERS_MAX {
        let right = format!("nics with which server group {group} has no more than {MEMBERS_MAX}");
        return Err(Refusal::argument(field, format!("{} nics", nics.len()), right));
    }
    let mut members: BTreeMap<NicId, GroupMember> = BTreeMap::new();
    for (nic, weight) in nics {
        if held.members.contains_key(nic) || members.contains_key(nic) {
            let detail = format!("{field} = `{nic}`: it is in server group {group} already");
            return Err(Refusal::operation(detail));
        }
        let with = balancer.listeners.iter().filter(|(_, listener)| listener.groups.contains(&group));
        in_no_other(&balancer, group, *nic, with, field)?;
        let named = |refusal: Refusal| Refusal {
            field: refusal.field.map(|_| field.to_string()),
            detail: refusal.detail.replace("vmNicUuid = ", &format!("{field} = ")),
            ..refusal
        };
        let (to, _) = vip::may_serve(facts, &at, *nic, VipUse::LoadBalancer).map_err(named)?;
        if let Some(other) = members.values().find(|other| other.to.l3_network != to.l3_network) {
            let right = format!("a nic on L3 network {}, as the others: one router serves a VIP", other.to.l3_network);
            return Err(Refusal::argument(field, nic, right));
        }
        members.insert(*nic, GroupMember { to, weight: *weight });
    }
    if members.is_empty() {
        return Ok(decision);
    }
    for member in members.values() {
        vip::routed(&mut decision, facts, context, &member.to)?;
    }
    let members: Vec<GroupMember> = members.into_values().collect();
    let (listener, l3_networks) = (held.own_of, balancer.networks(&members));
    // Before what a router is told: it is what the command is about.
    Ok(decision.first(LoadBalancerEvent::MembersPut { group, listener, members, l3_networks }))
}

/// Takes nics out of a group; those that are not in it are a success.
pub(crate) fn take(decision: Decision, balancer: &LoadBalancer, group: ServerGroupId, nics: &[NicId]) -> Decision {
    let Some(held) = balancer.groups.get(&group) else { return decision };
    let nics: Vec<NicId> = held.members.keys().copied().filter(|nic| nics.contains(nic)).collect();
    if nics.is_empty() {
        return decision;
    }
    let (listener, l3_networks) = (held.own_of, balancer.networks(&[]));
    decision.event(LoadBalancerEvent::MembersRemoved { group, listener, nics, l3_networks })
}
