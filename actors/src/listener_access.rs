//! By which access control lists a listener goes: white or black lists of who may come, and redirects of requests to some
//! of its server groups. They are parts of the load balancer's state, as all of its listeners.
//!
//! A group that a redirect names gets what fits the rule and nothing else.

use crate::{
    access_control_list::{self, AccessControlList},
    decision::Decision,
    facts::Facts,
    load_balancer::{Listener, about_listener, of_listener},
    rules::{self},
    *,
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use switchback_bus::*;
use switchback_events::*;

/// White or black lists of one listener at most, and redirects.
const LISTS_MAX: usize = 10;
const REDIRECTS_MAX: usize = 40;

/// What a listener has of a list; its addresses are the list's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Listed {
    White,
    Black,
    Redirect { rule: RedirectRule, groups: BTreeSet<ServerGroupId> },
}

impl Listed {
    /// What is kept of an event's.
    pub fn of(access: &ListenerAccess) -> Listed {
        match access {
            ListenerAccess::White { .. } => Listed::White,
            ListenerAccess::Black { .. } => Listed::Black,
            ListenerAccess::Redirect { rule, groups } => {
                Listed::Redirect { rule: rule.clone(), groups: groups.iter().copied().collect() }
            }
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Listed::White => "white",
            Listed::Black => "black",
            Listed::Redirect { .. } => "redirect",
        }
    }
}

pub(crate) fn add(command: &AddAccessControlListToLoadBalancer, facts: &Facts) -> Result<Decision, Refusal> {
    let listener = command.listener_uuid;
    let (id, balancer, held) = of_listener(facts, "listenerUuid", listener)?;
    let decision = about_listener(id, listener);
    let l3_networks = balancer.networks(&[]);
    let groups = command.server_group_uuids.as_deref().unwrap_or_default();
    if command.acl_type == "redirect" {
        return redirect(decision, facts, (listener, &held), &command.acl_uuids, groups, l3_networks);
    }
    if let Some(group) = groups.first() {
        return Err(Refusal::argument("serverGroupUuids", group, "given where aclType is redirect alone"));
    }
    admit(decision, facts, (listener, &held), (&command.acl_type, &command.acl_uuids), l3_networks)
}

/// Has a listener go by white or black lists too.
pub(crate) fn admit(
    mut decision: Decision,
    facts: &Facts,
    (listener, held): (LoadBalancerListenerId, &Listener),
    (kind, lists): (&str, &[AccessControlListId]),
    l3_networks: Vec<L3NetworkId>,
) -> Result<Decision, Refusal> {
    let mut own: Vec<(&AccessControlListId, &Listed)> = held.lists.iter().collect();
    own.retain(|(_, listed)| !matches!(listed, Listed::Redirect { .. }));
    if let Some((list, listed)) = own.iter().find(|(_, listed)| listed.word() != kind) {
        let right = format!("{}, as access control list {list} of the listener is", listed.word());
        return Err(Refusal::argument("aclType", kind, right));
    }
    if own.len() + lists.len() > LISTS_MAX {
        let right = format!("lists with which listener {listener} has no more than {LISTS_MAX}, white or black");
        return Err(Refusal::argument("aclUuids", format!("{} lists", lists.len()), right));
    }
    let mut added = BTreeSet::new();
    for list in lists {
        let state = rules::existing::<AccessControlList>(facts, "aclUuids", *list)?;
        if held.lists.contains_key(list) || !added.insert(*list) {
            return Err(Refusal::operation(format!("aclUuids = `{list}`: listener {listener} goes by it already")));
        }
        if state.rule().is_some() {
            let right = "a list of addresses: this one has a rule for requests, and is there to redirect";
            return Err(Refusal::argument("aclUuids", list, right));
        }
        let sources = state.sources();
        let access =
            if kind == "white" { ListenerAccess::White { sources } } else { ListenerAccess::Black { sources } };
        let (list, l3_networks) = (*list, l3_networks.clone());
        decision = decision.event(LoadBalancerEvent::AccessListPut { listener, list, access, l3_networks });
    }
    Ok(decision)
}

fn redirect(
    mut decision: Decision,
    facts: &Facts,
    (listener, held): (LoadBalancerListenerId, &Listener),
    lists: &[AccessControlListId],
    groups: &[ServerGroupId],
    l3_networks: Vec<L3NetworkId>,
) -> Result<Decision, Refusal> {
    if !matches!(held.options.protocol, ListenerProtocol::Http | ListenerProtocol::Https) {
        let right = "white or black: only listeners of http and https tell requests apart";
        return Err(Refusal::argument("aclType", "redirect", right));
    }
    let groups = theirs(listener, held, groups)?;
    let mut all = held.lists.clone();
    for list in lists {
        let state = rules::existing::<AccessControlList>(facts, "aclUuids", *list)?;
        let Some(rule) = state.rule().cloned() else {
            let right = "a list with a rule for requests, given to it by AddAccessControlListRedirectRule";
            return Err(Refusal::argument("aclUuids", list, right));
        };
        let same = |(other, listed): (&AccessControlListId, &Listed)| {
            let Listed::Redirect { rule: its, .. } = listed else { return false };
            other != list && *its == rule
        };
        if let Some((other, _)) = all.iter().find(|(other, listed)| same((other, listed))) {
            let right = format!("a list with another rule than {other}, by which the listener redirects already");
            return Err(Refusal::argument("aclUuids", list, right));
        }
        let mut wanted = groups.clone();
        if let Some(Listed::Redirect { groups, .. }) = all.get(list) {
            if wanted.is_subset(groups) {
                let detail =
                    format!("aclUuids = `{list}`: listener {listener} redirects by it to these server groups already");
                return Err(Refusal::operation(detail));
            }
            wanted.extend(groups);
        }
        all.insert(*list, Listed::Redirect { rule: rule.clone(), groups: wanted.clone() });
        let access = ListenerAccess::Redirect { rule, groups: wanted.into_iter().collect() };
        let (list, l3_networks) = (*list, l3_networks.clone());
        decision = decision.event(LoadBalancerEvent::AccessListPut { listener, list, access, l3_networks });
    }
    if all.values().filter(|listed| matches!(listed, Listed::Redirect { .. })).count() > REDIRECTS_MAX {
        let right = format!("lists with which listener {listener} has no more than {REDIRECTS_MAX} redirects");
        return Err(Refusal::argument("aclUuids", format!("{} lists", lists.len()), right));
    }
    Ok(decision)
}

/// Server groups to which a listener may redirect: its own gets what nothing else does.
fn theirs(
    listener: LoadBalancerListenerId,
    held: &Listener,
    groups: &[ServerGroupId],
) -> Result<BTreeSet<ServerGroupId>, Refusal> {
    if groups.is_empty() {
        return Err(Refusal::missing("serverGroupUuids", "the server groups to which redirected requests go"));
    }
    if let Some(group) = groups.iter().find(|group| !held.groups.contains(group) || **group == held.own) {
        let right = format!("a server group that listener {listener} was given, and not its own");
        return Err(Refusal::argument("serverGroupUuids", group, right).hint("AddServerGroupToLoadBalancerListener"));
    }
    Ok(groups.iter().copied().collect())
}

pub(crate) fn remove(command: &RemoveAccessControlListFromLoadBalancer, facts: &Facts) -> Result<Decision, Refusal> {
    let listener = command.listener_uuid;
    let (id, balancer, held) = of_listener(facts, "listenerUuid", listener)?;
    let mut decision = about_listener(id, listener);
    let lists: BTreeSet<&AccessControlListId> = command.acl_uuids.iter().collect();
    for (list, listed) in held.lists.iter().filter(|(list, _)| lists.contains(list)) {
        let (list, l3_networks) = (*list, balancer.networks(&[]));
        let rest = match (&command.server_group_uuids, listed) {
            (Some(gone), Listed::Redirect { rule, groups }) => {
                let rest: Vec<ServerGroupId> = groups.iter().copied().filter(|group| !gone.contains(group)).collect();
                if rest.len() == groups.len() {
                    continue;
                }
                Some((rule, rest)).filter(|(_, rest)| !rest.is_empty())
            }
            _ => None,
        };
        decision = decision.event(match rest {
            Some((rule, groups)) => {
                let access = ListenerAccess::Redirect { rule: rule.clone(), groups };
                LoadBalancerEvent::AccessListPut { listener, list, access, l3_networks }
            }
            None => LoadBalancerEvent::AccessListRemoved { listener, list, l3_networks },
        });
    }
    Ok(decision)
}

pub(crate) fn change_groups(command: &ChangeAccessControlListServerGroup, facts: &Facts) -> Result<Decision, Refusal> {
    let (listener, list) = (command.listener_uuid, command.acl_uuid);
    let (id, balancer, held) = of_listener(facts, "listenerUuid", listener)?;
    let decision = about_listener(id, listener);
    let Some(Listed::Redirect { rule, groups }) = held.lists.get(&list) else {
        return Err(Refusal::argument("aclUuid", list, format!("a list by which listener {listener} redirects")));
    };
    let wanted = theirs(listener, &held, &command.server_group_uuids)?;
    if wanted == *groups {
        return Ok(decision);
    }
    let access = ListenerAccess::Redirect { rule: rule.clone(), groups: wanted.into_iter().collect() };
    let l3_networks = balancer.networks(&[]);
    Ok(decision.event(LoadBalancerEvent::AccessListPut { listener, list, access, l3_networks }))
}

/// Refuses to take a server group from a listener that redirects to it.
pub(crate) fn no_redirect(
    listener: LoadBalancerListenerId,
    held: &Listener,
    group: ServerGroupId,
) -> Result<(), Refusal> {
    let named = |listed: &Listed| matches!(listed, Listed::Redirect { groups, .. } if groups.contains(&group));
    match held.lists.iter().find(|(_, listed)| named(listed)) {
        None => Ok(()),
        Some((list, _)) => {
            let detail = format!(
                "serverGroupUuid = `{group}`: listener {listener} redirects to it by access control list {list}"
            );
            Err(Refusal::operation(detail).hint("take the list off with RemoveAccessControlListFromLoadBalancer"))
        }
    }
}

/// Tells the load balancers of listeners that go by a list which addresses it has now.
pub(crate) fn changed(
    decision: &mut Decision,
    facts: &Facts,
    list: AccessControlListId,
    sources: &[IpNet],
) -> Result<(), Refusal> {
    for (id, listeners) in access_control_list::listeners(facts, list) {
        let balancer = facts.get::<LoadBalancer>(id)?;
        let (listeners, sources) = (listeners.into_iter().collect(), sources.to_vec());
        let l3_networks = balancer.networks(&[]);
        decision.add(id, LoadBalancerEvent::AccessListChanged { list, listeners, sources, l3_networks });
    }
    Ok(())
}
