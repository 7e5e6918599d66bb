//! What travels of a section with thousands of items when a few of them change: which of those that the agent holds go, and
//! which come, by their places.
//!
//! **Invariant:** what comes of it has the digest that the whole section has; who finds another one asks for the whole.

use crate::{LoadBalancerConfig, config::*, metadata::*, protocol::SectionPush};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Where more of the items change than one of so many, the whole section travels.
const FEW: usize = 4;

/// What makes the section that the agent holds another one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SectionChanges {
    /// The digest of the one that it holds.
    pub from: String,
    /// The section without its items.
    pub rest: Value,
    /// Places of items there that go, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<usize>,
    /// Items that come, by their places in what comes of it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<(usize, Value)>,
}

/// A section that is a list of many things, and little else.
pub trait Listed: Serialize + DeserializeOwned + PartialEq {
    /// One of them.
    type Item: Serialize + DeserializeOwned + Clone + Ord;

    /// All of them.
    fn items(&self) -> &[Self::Item];
    /// The section with other items.
    fn with_items(&self, items: Vec<Self::Item>) -> Self;
}

macro_rules! listed {
    ($section:ty, $item:ty, $field:ident $(, $rest:ident)*) => {
        impl Listed for $section {
            type Item = $item;
            fn items(&self) -> &[$item] {
                &self.$field
            }
            fn with_items(&self, $field: Vec<$item>) -> Self {
                Self { $field $(, $rest: self.$rest.clone())* }
            }
        }
    };
}

listed!(DhcpConfig, DhcpHost, hosts, networks, networks6);
listed!(DnsConfig, DnsName, names, interfaces, upstreams);
listed!(VipsConfig, VipAddress, addresses);
listed!(EipsConfig, Eip, eips);
listed!(PortForwardingConfig, PortForwardingRule, rules);
listed!(MetadataConfig, MetadataClient, clients);

/// The items that go, and those that come.
pub fn difference<'a, T: Ord>(old: &'a [T], new: &'a [T]) -> (Vec<&'a T>, Vec<&'a T>) {
    let same = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let (old, new) = (old.get(same..).unwrap_or_default(), new.get(same..).unwrap_or_default());
    let (held, wanted): (BTreeSet<&T>, BTreeSet<&T>) = (old.iter().collect(), new.iter().collect());
    (held.difference(&wanted).copied().collect(), wanted.difference(&held).copied().collect())
}

/// What makes `before`, whose digest is `from`, the section `after`; none where the whole travels as well.
pub fn between<T: Listed>(before: &T, from: &str, after: &T) -> Option<SectionChanges> {
    let (old, new) = (before.items(), after.items());
    let same = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let (old_rest, new_rest) = (old.get(same..)?, new.get(same..)?);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(old, new)| old == new).count();
    let (old_rest, new_rest) = (old_rest.get(..old_rest.len() - tail)?, new_rest.get(..new_rest.len() - tail)?);
    let (held, wanted): (BTreeSet<&T::Item>, BTreeSet<&T::Item>) =
        (old_rest.iter().collect(), new_rest.iter().collect());
    // Items that stay must do so in their order, and none may be there twice.
    let staying = old_rest.iter().filter(|item| wanted.contains(item));
    let ordered = staying.eq(new_rest.iter().filter(|item| held.contains(item)));
    if !ordered || held.len() != old_rest.len() || wanted.len() != new_rest.len() {
        return None;
    }
    let places = |items: &[T::Item], others: &BTreeSet<&T::Item>| -> Vec<usize> {
        items.iter().enumerate().filter(|(_, item)| !others.contains(item)).map(|(at, _)| same + at).collect()
    };
    let (removed, added) = (places(old_rest, &wanted), places(new_rest, &held));
    if (removed.len() + added.len()) * FEW > new.len() {
        return None;
    }
    let value = |at: usize| Some((at, serde_json::to_value(new.get(at)?).ok()?));
    let added: Option<Vec<_>> = added.into_iter().map(value).collect();
    let rest = serde_json::to_value(after.with_items(Vec::new())).ok()?;
    Some(SectionChanges { from: from.to_string(), rest, removed, added: added? })
}

/// A document as it travels to an agent that holds the one of `before`, with these digests.
pub fn parts_since(
    now: &Sections,
    before: &Sections,
    digests: &BTreeMap<String, String>,
) -> BTreeMap<String, SectionPush> {
    // A new section does not compile before it has a line below: one that does not travel is taken for empty.
    let Sections {
        interfaces: _,
        dhcp: _,
        dns: _,
        snat: _,
        firewall: _,
        vips: _,
        eips: _,
        port_forwarding: _,
        qos: _,
        load_balancer: _,
        metadata: _,
    } = now;
    let plain = |name| (name, digests.get(name));
    let mut parts = BTreeMap::from([
        part(plain("interfaces"), &now.interfaces, &before.interfaces),
        items(plain("dhcp"), &now.dhcp, &before.dhcp),
        items(plain("dns"), &now.dns, &before.dns),
        part(plain("snat"), &now.snat, &before.snat),
        part(plain("firewall"), &now.firewall, &before.firewall),
    ]);
    let filled = [
        (!now.vips.is_empty()).then(|| items(plain("vips"), &now.vips, &before.vips)),
        (!now.eips.is_empty()).then(|| items(plain("eips"), &now.eips, &before.eips)),
        (!now.port_forwarding.is_empty())
            .then(|| items(plain("portForwarding"), &now.port_forwarding, &before.port_forwarding)),
        (!now.qos.is_empty()).then(|| part(plain(QosConfig::SECTION), &now.qos, &before.qos)),
        (!now.load_balancer.is_empty())
            .then(|| part(plain(LoadBalancerConfig::SECTION), &now.load_balancer, &before.load_balancer)),
        (!now.metadata.is_empty()).then(|| items(plain(MetadataConfig::SECTION), &now.metadata, &before.metadata)),
    ];
    parts.extend(filled.into_iter().flatten());
    parts
}

fn part<T: Serialize + PartialEq>((name, held): (&str, Option<&String>), now: &T, before: &T) -> (String, SectionPush) {
    let push = match held {
        Some(digest) if now == before => SectionPush { digest: digest.clone(), body: None, changes: None },
        _ => SectionPush::whole(now),
    };
    (name.to_string(), push)
}

fn items<T: Listed>((name, held): (&str, Option<&String>), now: &T, before: &T) -> (String, SectionPush) {
    if now != before
        && let Some(changes) = held.and_then(|digest| between(before, digest, now))
    {
        return (name.to_string(), SectionPush { digest: digest(now), body: None, changes: Some(changes) });
    }
    part((name, held), now, before)
}

impl SectionChanges {
    /// The section that comes of `held`. Whether it is the right one its digest says.
    ///
    /// # Errors
    /// What cannot be: places that are not there or not in order, items of another kind.
    pub fn apply<T: Listed>(self, held: &T) -> Result<T, String> {
        let mut places = self.removed.windows(2).all(|pair| pair[0] < pair[1]);
        places &= self.added.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let old = held.items();
        places &= self.removed.last().is_none_or(|last| *last < old.len());
        let length = (old.len() + self.added.len()).saturating_sub(self.removed.len());
        places &= self.added.last().is_none_or(|(last, _)| *last < length);
        if !places {
            return Err("the places of its changes are not there, or not in order".to_string());
        }
        let mut removed = self.removed.into_iter().peekable();
        let mut staying = old.iter().enumerate().filter(|(at, _)| removed.next_if_eq(at).is_none());
        let mut items = Vec::with_capacity(length);
        for (place, value) in self.added {
            items.extend(staying.by_ref().take(place - items.len()).map(|(_, item)| item.clone()));
            items.push(serde_json::from_value(value).map_err(|error| error.to_string())?);
        }
        items.extend(staying.map(|(_, item)| item.clone()));
        let rest: T = serde_json::from_value(self.rest).map_err(|error| error.to_string())?;
        Ok(rest.with_items(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(ends: &[u8]) -> VipsConfig {
        let vip = |end: &u8| VipAddress {
            vip: Default::default(),
            interface: "eth0".to_string(),
            address: format!("203.0.113.{end}/24").parse().unwrap(),
        };
        VipsConfig { addresses: ends.iter().map(vip).collect() }
    }

    #[test]
    fn what_changed_makes_the_one_the_other() {
        let before: Vec<u8> = (10..60).collect();
        let of = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut list = before.clone();
            change(&mut list);
            section(&list)
        };
        for (after, removed, added) in [
            (of(&|_| ()), 0, 0),
            (of(&|list| list.push(99)), 0, 1),
            (of(&|list| list.insert(0, 9)), 0, 1),
            (of(&|list| list.retain(|end| *end != 30)), 1, 0),
            (of(&|list| drop(list.drain(45..))), 5, 0),
            (of(&|list| (list[3], list[30], list[49]) = (200, 201, 202)), 3, 3),
        ] {
            let held = section(&before);
            let changes = between(&held, "held", &after).unwrap();
            assert_eq!((changes.removed.len(), changes.added.len()), (removed, added));
            let text = serde_json::to_string(&changes).unwrap();
            let changes: SectionChanges = serde_json::from_str(&text).unwrap();
            assert_eq!(changes.apply(&held).unwrap(), after);
        }
        let many = of(&|list| list.iter_mut().take(30).for_each(|end| *end += 100));
        assert_eq!(between(&section(&before), "held", &many), None);
        assert_eq!(between(&section(&before), "held", &of(&|list| list.swap(3, 30))), None);
    }

    #[test]
    fn what_cannot_be_is_said() {
        let held = section(&[1, 2, 3]);
        let item = |end: u8| serde_json::to_value(&section(&[end]).addresses[0]).unwrap();
        let rest = serde_json::to_value(section(&[])).unwrap();
        for (removed, added) in [
            (vec![3], vec![]),
            (vec![1, 1], vec![]),
            (vec![2, 0], vec![]),
            (vec![], vec![(4, item(9))]),
            (vec![0], vec![(3, item(9))]),
            (vec![], vec![(1, item(9)), (1, item(8))]),
            (vec![], vec![(0, Value::Null)]),
        ] {
            let changes = SectionChanges { from: String::new(), rest: rest.clone(), removed, added };
            assert!(changes.clone().apply(&held).is_err(), "{changes:?}");
        }
        let changes = SectionChanges { from: String::new(), rest: Value::Null, removed: vec![], added: vec![] };
        assert!(changes.apply(&held).is_err());
    }
}
