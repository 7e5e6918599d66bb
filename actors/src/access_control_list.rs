//! Access control list: `there → deleted`, with entries of addresses or with one rule for requests. Listeners of load
//! balancers go by it; what they have of it is in the events of their load balancers, whose routers follow those alone.
//!
//! One that a listener goes by stays, and so does its rule.

use crate::{
    context::Context,
    decision::Decision,
    directory::Relation,
    facts::Facts,
    listener_access,
    rules::{self, Exists},
};
use ipnet::{IpNet, Ipv4Net, Ipv4Subnets};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};
use switchback_bus::*;
use switchback_events::*;

/// Entries of one list at most.
const ENTRIES_MAX: usize = 50;
/// Prefixes of one list at most, those that its ranges are made of among them.
const SOURCES_MAX: usize = 1000;
/// Bytes of a rule's path at most.
const URL_MAX: usize = 80;

/// An access control list.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct AccessControlList {
    pub name: String,
    pub entries: BTreeMap<AccessControlEntryId, ListEntry>,
    pub deleted: bool,
}

/// What a list has.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ListEntry {
    /// Addresses; none is another entry's too.
    Sources(Vec<IpNet>),
    /// Its one rule.
    Rule {
        /// A short name.
        name: Option<String>,
        /// What fits it.
        rule: RedirectRule,
    },
}

rules::exists!(AccessControlList, "access control list");

impl AccessControlList {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &AccessControlListEvent, _version: Version) {
        match event {
            AccessControlListEvent::Created { name, .. } => self.name = name.clone(),
            AccessControlListEvent::Deleted {} => {
                self.deleted = true;
                self.entries.clear();
            }
            AccessControlListEvent::EntryAdded { entry, sources, .. } => {
                self.entries.insert(*entry, ListEntry::Sources(sources.clone()));
            }
            AccessControlListEvent::RuleAdded { entry, name, rule, .. } => {
                self.entries.insert(*entry, ListEntry::Rule { name: name.clone(), rule: rule.clone() });
            }
            AccessControlListEvent::RuleRenamed { entry, name: new } => {
                if let Some(ListEntry::Rule { name, .. }) = self.entries.get_mut(entry) {
                    *name = Some(new.clone());
                }
            }
            AccessControlListEvent::EntryRemoved { entry } => drop(self.entries.remove(entry)),
        }
    }

    /// The rule, where it has one.
    pub(crate) fn rule(&self) -> Option<&RedirectRule> {
        self.entries.values().find_map(|entry| match entry {
            ListEntry::Rule { rule, .. } => Some(rule),
            ListEntry::Sources(_) => None,
        })
    }

    /// All its addresses, in order.
    pub(crate) fn sources(&self) -> Vec<IpNet> {
        let entries = self.entries.values().filter_map(|entry| match entry {
            ListEntry::Sources(sources) => Some(sources),
            ListEntry::Rule { .. } => None,
        });
        let mut sources: Vec<IpNet> = entries.flatten().copied().collect();
        sources.sort();
        sources
    }
}

fn about(list: AccessControlListId) -> Decision {
    Decision::about(StreamKind::AccessControlList, list)
}

fn entry_of(list: AccessControlListId, entry: AccessControlEntryId) -> Decision {
    about(list).show_other("accessControlListEntry", entry)
}

pub(crate) fn create(command: &CreateAccessControlList, context: &Context) -> Result<Decision, Refusal> {
    let id = context.resource_id();
    match command.ip_version {
        None | Some(4) => {}
        Some(6) => return Err(Refusal::not_supported("ipVersion = `6`: an access control list of IPv6")),
        Some(other) => return Err(Refusal::argument("ipVersion", other, "4")),
    }
    let (name, description) = (command.name.clone(), command.description.clone());
    let created = AccessControlListEvent::Created { name, description };
    Ok(about(AccessControlListId(id)).show("accessControlList").event(created))
}

pub(crate) fn delete(command: &DeleteAccessControlList, facts: &Facts) -> Result<Decision, Refusal> {
    let decision = about(command.uuid);
    if !facts.get::<AccessControlList>(command.uuid)?.exists() {
        return Ok(decision);
    }
    unused(facts, "uuid", command.uuid, command.uuid.0)?;
    Ok(decision.event(AccessControlListEvent::Deleted {}))
}

/// Refuses where a listener goes by the list.
fn unused(facts: &Facts, field: &str, list: AccessControlListId, value: Id) -> Result<(), Refusal> {
    match facts.members(Relation::ListenersOfAccessList, list).first() {
        None => Ok(()),
        Some(listener) => {
            let detail = format!("{field} = `{value}`: listener {listener} goes by the access control list");
            Err(Refusal::operation(detail).hint("take it off with RemoveAccessControlListFromLoadBalancer"))
        }
    }
}

pub(crate) fn add_entry(
    command: &AddAccessControlListEntry,
    facts: &Facts,
    context: &Context,
) -> Result<Decision, Refusal> {
    let list = command.acl_uuid;
    let held = rules::existing::<AccessControlList>(facts, "aclUuid", list)?;
    if held.rule().is_some() {
        let detail =
            format!("aclUuid = `{list}`: the access control list has a rule, and a list has that or addresses");
        return Err(Refusal::operation(detail).hint("make another list for addresses"));
    }
    if held.entries.len() >= ENTRIES_MAX {
        let right = format!("an access control list with fewer than {ENTRIES_MAX} entries");
        return Err(Refusal::argument("aclUuid", list, right));
    }
    let added = addresses(&command.entries)?;
    let mut sources = held.sources();
    for source in &added {
        if let Some(other) = sources.iter().find(|other| overlap(other, source)) {
            let right = format!("addresses that are not in the list yet, as {source} of {other} is");
            return Err(Refusal::argument("entries", &command.entries, right));
        }
    }
    sources.extend(&added);
    if sources.len() > SOURCES_MAX {
        let right =
            format!("addresses with which the list has no more than {SOURCES_MAX} prefixes, of {}", sources.len());
        return Err(Refusal::argument("entries", &command.entries, right));
    }
    sources.sort();
    let entry = AccessControlEntryId(context.id());
    let mut decision = entry_of(list, entry).event(AccessControlListEvent::EntryAdded {
        entry,
        entries: command.entries.clone(),
        sources: added,
        description: command.description.clone(),
    });
    listener_access::changed(&mut decision, facts, list, &sources)?;
    Ok(decision)
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// Addresses, prefixes and ranges as prefixes, in order; none has an address of another.
fn addresses(text: &str) -> Result<Vec<IpNet>, Refusal> {
    let refused = |right: &str| Refusal::argument("entries", text, right);
    let mut all: Vec<IpNet> = Vec::new();
    for word in text.split(',').map(str::trim) {
        let Some(own) = prefixes(word) else {
            let right = format!(
                "IPv4 addresses, prefixes and ranges with commas, such as 192.0.2.7,198.51.100.0/24,203.0.113.10-203.0.113.20, \
                 which `{word}` is not"
            );
            return Err(refused(&right));
        };
        if own.iter().any(|own| own.prefix_len() == 0) {
            return Err(refused("less than all addresses: without a list everybody may come"));
        }
        if let Some(other) = all.iter().find(|other| own.iter().any(|own| overlap(own, other))) {
            return Err(refused(&format!("addresses each named once: `{word}` has some of {other}")));
        }
        if all.len() + own.len() > SOURCES_MAX {
            return Err(refused(&format!("at most {SOURCES_MAX} prefixes, those that ranges are made of among them")));
        }
        all.extend(own);
    }
    all.sort();
    Ok(all)
}

fn prefixes(word: &str) -> Option<Vec<IpNet>> {
    let nets: Vec<Ipv4Net> = match (word.split_once('-'), word.contains('/')) {
        (Some((first, last)), _) => {
            let (first, last): (Ipv4Addr, Ipv4Addr) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            Ipv4Subnets::new(first, last, 0).collect()
        }
        (None, true) => vec![word.parse::<Ipv4Net>().ok()?.trunc()],
        (None, false) => vec![Ipv4Net::from(word.parse::<Ipv4Addr>().ok()?)],
    };
    // Of a range that goes down there is nothing.
    (!nets.is_empty()).then(|| nets.into_iter().map(IpNet::V4).collect())
}

pub(crate) fn remove_entry(command: &RemoveAccessControlListEntry, facts: &Facts) -> Result<Decision, Refusal> {
    let (list, entry) = (command.acl_uuid, command.uuid);
    let mut decision = about(list);
    let held = facts.get::<AccessControlList>(list)?;
    match held.entries.get(&entry) {
        None => Ok(decision),
        Some(ListEntry::Rule { .. }) => {
            unused(facts, "uuid", list, entry.0)?;
            Ok(decision.event(AccessControlListEvent::EntryRemoved { entry }))
        }
        Some(ListEntry::Sources(_)) => {
            decision = decision.event(AccessControlListEvent::EntryRemoved { entry });
            let mut rest = AccessControlList::clone(&held);
            rest.entries.remove(&entry);
            listener_access::changed(&mut decision, facts, list, &rest.sources())?;
            Ok(decision)
        }
    }
}

pub(crate) fn add_rule(
    command: &AddAccessControlListRedirectRule,
    facts: &Facts,
    context: &Context,
) -> Result<Decision, Refusal> {
    let list = command.acl_uuid;
    let held = rules::existing::<AccessControlList>(facts, "aclUuid", list)?;
    if !held.entries.is_empty() {
        let what =
            if held.rule().is_some() { "its one rule already" } else { "addresses, and a list has those or a rule" };
        let detail = format!("aclUuid = `{list}`: the access control list has {what}");
        return Err(Refusal::operation(detail).hint("make another list for the rule"));
    }
    // It has nothing yet, so it is somebody's white or black list.
    unused(facts, "aclUuid", list, list.0)?;
    let rule = RedirectRule { domain: domain(command.domain.as_deref())?, url: url(command.url.as_deref())? };
    if rule.domain.is_none() && rule.url.is_none() {
        return Err(Refusal::missing("domain", "a domain, a url, or both"));
    }
    let entry = AccessControlEntryId(context.id());
    let (name, description) = (command.name.clone(), command.description.clone());
    Ok(entry_of(list, entry).event(AccessControlListEvent::RuleAdded { entry, name, description, rule }))
}

/// The domain as it reaches haproxy.
fn domain(text: Option<&str>) -> Result<Option<String>, Refusal> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let name = text.strip_prefix("*.").unwrap_or(text);
    if name.len() > 253 || !name.split('.').all(rules::is_label) {
        let right = "a name such as www.example.com, or *.example.com for all under it: letters, digits, inner hyphens and dots";
        return Err(Refusal::argument("domain", text, right));
    }
    Ok(Some(text.to_ascii_lowercase()))
}

/// The path as it reaches haproxy.
fn url(text: Option<&str>) -> Result<Option<String>, Refusal> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let inner = |c: u8| c.is_ascii_alphanumeric() || b"/-_.~%+".contains(&c);
    let escape = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|c| c.is_ascii_hexdigit());
    let good = text.starts_with('/') && text.bytes().all(inner) && text.split('%').skip(1).all(escape);
    if text.len() > URL_MAX || !good {
        let right = "a path such as /shop: up to 80 letters, digits, `/-_.~+` and escapes such as %20, the first a `/`";
        return Err(Refusal::argument("url", text, right));
    }
    Ok(Some(text.to_string()))
}

pub(crate) fn change_rule(command: &ChangeAccessControlListRedirectRule, facts: &Facts) -> Result<Decision, Refusal> {
    let entry = command.uuid;
    let (list, held) = of_entry(facts, entry)?;
    let Some(ListEntry::Rule { name, .. }) = held.entries.get(&entry) else {
        return Err(Refusal::argument("uuid", entry, "the rule of an access control list, not an entry of addresses"));
    };
    let decision = entry_of(list, entry);
    Ok(match command.name.clone().filter(|new| Some(new) != name.as_ref()) {
        Some(name) => decision.event(AccessControlListEvent::RuleRenamed { entry, name }),
        None => decision,
    })
}

fn of_entry(
    facts: &Facts,
    entry: AccessControlEntryId,
) -> Result<(AccessControlListId, Arc<AccessControlList>), Refusal> {
    match facts.members(Relation::AccessListOfEntry, entry).first() {
        Some(list) => Ok((AccessControlListId(*list), facts.get::<AccessControlList>(*list)?)),
        None => Err(Refusal::not_found("uuid", "rule of an access control list", entry)),
    }
}

/// The listeners that go by a list, by the load balancers that they are of.
pub(crate) fn listeners(facts: &Facts, list: AccessControlListId) -> BTreeMap<Id, BTreeSet<LoadBalancerListenerId>> {
    let mut of: BTreeMap<Id, BTreeSet<LoadBalancerListenerId>> = BTreeMap::new();
    for listener in facts.members(Relation::ListenersOfAccessList, list) {
        for balancer in facts.members(Relation::LoadBalancerOfPart, listener) {
            of.entry(balancer).or_default().insert(LoadBalancerListenerId(listener));
        }
    }
    of
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        match addresses(text) {
            Ok(nets) => nets.iter().map(ToString::to_string).collect::<Vec<String>>().join(" "),
            Err(refusal) => refusal.detail,
        }
    }

    #[test]
    fn addresses_prefixes_and_ranges_are_prefixes() {
        for (text, expected) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("198.51.100.9/24, 192.0.2.7", "192.0.2.7/32 198.51.100.0/24"),
            ("192.0.2.8-192.0.2.13", "192.0.2.8/30 192.0.2.12/31"),
            ("192.0.2.0-192.0.2.255", "192.0.2.0/24"),
            ("192.0.2.7-192.0.2.7", "192.0.2.7/32"),
        ] {
            assert_eq!(written(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_list_of_addresses_is_refused() {
        for (text, why) in [
            ("", "IPv4 addresses"),
            ("192.0.2.7,", "IPv4 addresses"),
            ("192.0.2.256", "IPv4 addresses"),
            ("192.0.2.7/33", "IPv4 addresses"),
            ("192.0.2.9-192.0.2.7", "IPv4 addresses"),
            ("fd00::1", "IPv4 addresses"),
            ("192.0.2.7 192.0.2.8", "IPv4 addresses"),
            ("192.0.2.7\n", "192.0.2.7/32"),
            ("0.0.0.0/0", "less than all"),
            ("0.0.0.0-255.255.255.255", "less than all"),
            ("192.0.2.0/24,192.0.2.7", "`192.0.2.7` has some of 192.0.2.0/24"),
            ("192.0.2.7,192.0.2.0/24", "`192.0.2.0/24` has some of 192.0.2.7/32"),
        ] {
            assert!(written(text).contains(why), "{text}: {}", written(text));
        }
        let odd: Vec<String> = (1..31).map(|n| format!("{n}.0.0.1-{n}.255.255.254")).collect();
        assert!(written(&odd[..1].join(",")).split(' ').count() > 40);
        assert!(written(&odd.join(",")).contains("at most 1000 prefixes"));
    }
}
