//! What travels of a section with thousands of items when a few of them change: which of those that the agent holds go, and
//! which come, by their places.
//!
//! **Invariant:** what comes of it has the digest that the whole section has; who finds another one asks for the whole.

use crate::{LoadBalancerConfig, config::*, metadata::*, protocol::SectionPush, touched::FewChanges};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

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
    /// The field that has them.
    const FIELD: &str;

    /// All of them.
    fn items(&self) -> &[Self::Item];
    /// The same, to be changed.
    fn items_mut(&mut self) -> &mut Vec<Self::Item>;
    /// The section with other items.
    fn with_items(&self, items: Vec<Self::Item>) -> Self;
}

macro_rules! listed {
    ($section:ty, $item:ty, $field:ident $(, $rest:ident)*) => {
        impl Listed for $section {
            type Item = $item;
            const FIELD: &str = stringify!($field);
            fn items(&self) -> &[$item] {
                &self.$field
            }
            fn items_mut(&mut self) -> &mut Vec<$item> {
                &mut self.$field
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

/// A document as it travels where few changes make another one of the one held, which has these digests; `after` has those of
/// what comes of it.
pub fn parts_of_few(
    held: &Sections,
    changes: &FewChanges,
    digests: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Option<BTreeMap<String, SectionPush>> {
    let mut parts: BTreeMap<String, SectionPush> = after
        .iter()
        .map(|(name, digest)| (name.clone(), SectionPush { digest: digest.clone(), body: None, changes: None }))
        .collect();
    let mut travels = |name: &str, changes: Option<SectionChanges>| {
        parts.get_mut(name)?.changes = Some(changes?);
        Some(())
    };
    if !changes.vips.is_empty() {
        travels("vips", changes.vips.travelling(&held.vips, digests.get("vips")?))?;
    }
    if !changes.eips.is_empty() {
        travels("eips", changes.eips.travelling(&held.eips, digests.get("eips")?))?;
    }
    if !changes.rules.is_empty() {
        let name = "portForwarding";
        travels(name, changes.rules.travelling(&held.port_forwarding, digests.get(name)?))?;
    }
    Some(parts)
}

/// The few changes that such a document makes to the one held, which has these digests. Nothing where it is not of that kind,
/// or not made for the one held.
pub fn few_of(
    parts: &BTreeMap<String, SectionPush>,
    held: &Sections,
    digests: &BTreeMap<String, String>,
) -> Option<FewChanges> {
    let mut few = FewChanges::default();
    if !parts.keys().eq(digests.keys()) {
        return None;
    }
    for (name, part) in parts {
        let of_held = digests.get(name)?;
        match (&part.body, part.changes.clone(), name.as_str()) {
            (None, None, _) if part.digest == *of_held => {}
            (None, Some(changes), "vips") => few.vips = fitting(changes, &held.vips, of_held)?,
            (None, Some(changes), "eips") => few.eips = fitting(changes, &held.eips, of_held)?,
            (None, Some(changes), "portForwarding") => few.rules = fitting(changes, &held.port_forwarding, of_held)?,
            _ => return None,
        }
    }
    Some(few)
}

fn fitting<T: Listed>(changes: SectionChanges, held: &T, digest: &str) -> Option<ItemChanges<T::Item>> {
    let same = changes.from == digest && serde_json::to_value(held.with_items(Vec::new())).ok()? == changes.rest;
    let changes = changes.of_items(held).ok().filter(|_| same)?;
    // One that empties a section, or fills an empty one, changes more than items.
    let left = held.items().len() + changes.added.len() > changes.removed.len();
    (left && !held.items().is_empty()).then_some(changes)
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

/// The texts of sections that few events change, by name: each is written when it first changes, and kept from then on.
#[derive(Clone, Default, Debug)]
pub struct Texts(BTreeMap<&'static str, Written>);

impl Texts {
    /// Makes the sections others, and their digests, and says what would change them back.
    pub fn change(
        &mut self,
        sections: &mut Sections,
        digests: &mut BTreeMap<String, String>,
        changes: FewChanges,
    ) -> FewChanges {
        FewChanges {
            vips: self.change_one("vips", &mut sections.vips, digests, changes.vips),
            eips: self.change_one("eips", &mut sections.eips, digests, changes.eips),
            rules: self.change_one("portForwarding", &mut sections.port_forwarding, digests, changes.rules),
        }
    }

    fn change_one<T: Listed>(
        &mut self,
        name: &'static str,
        section: &mut T,
        digests: &mut BTreeMap<String, String>,
        changes: ItemChanges<T::Item>,
    ) -> ItemChanges<T::Item> {
        if changes.is_empty() {
            return changes;
        }
        let before = self.0.remove(name).or_else(|| Written::of(section));
        let after = before.and_then(|before| before.change(&changes));
        let back = changes.make(section.items_mut());
        let digest = after.as_ref().map_or_else(|| digest(section), Written::digest);
        digests.insert(name.to_string(), digest);
        self.0.extend(after.map(|after| (name, after)));
        back
    }
}

impl SectionChanges {
    /// The section that comes of `held`. Whether it is the right one its digest says.
    ///
    /// # Errors
    /// What cannot be: places that are not there or not in order, items of another kind.
    pub fn apply<T: Listed>(self, held: &T) -> Result<T, String> {
        let mut section: T = serde_json::from_value(self.rest.clone()).map_err(|error| error.to_string())?;
        let changes = self.of_items(held)?;
        *section.items_mut() = held.items().to_vec();
        changes.make(section.items_mut());
        Ok(section)
    }

    /// What changes among the items of `held`.
    ///
    /// # Errors
    /// What cannot be: places that are not there or not in order, items of another kind.
    pub fn of_items<T: Listed>(self, held: &T) -> Result<ItemChanges<T::Item>, String> {
        let mut places = self.removed.windows(2).all(|pair| pair[0] < pair[1]);
        places &= self.added.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let old = held.items().len();
        places &= self.removed.last().is_none_or(|last| *last < old);
        let length = (old + self.added.len()).saturating_sub(self.removed.len());
        places &= self.added.last().is_none_or(|(last, _)| *last < length);
        if !places {
            return Err("the places of its changes are not there, or not in order".to_string());
        }
        let item = |(place, value)| Ok((place, serde_json::from_value(value)?));
        let added: Result<_, serde_json::Error> = self.added.into_iter().map(item).collect();
        Ok(ItemChanges { removed: self.removed, added: added.map_err(|error| error.to_string())? })
    }
}

/// What changes in a list: places of those that go, and those that come by their places in what comes of it, both in order.
#[derive(Clone, PartialEq, Debug)]
pub struct ItemChanges<T> {
    /// Places there that go.
    pub removed: Vec<usize>,
    /// What comes.
    pub added: Vec<(usize, T)>,
}

impl<T> Default for ItemChanges<T> {
    fn default() -> Self {
        Self { removed: Vec::new(), added: Vec::new() }
    }
}

impl<T> ItemChanges<T> {
    /// Nothing changes.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty()
    }

    /// Changes the list, and says what would change it back.
    pub fn make(self, items: &mut Vec<T>) -> ItemChanges<T> {
        let mut back = ItemChanges { removed: self.added.iter().map(|(place, _)| *place).collect(), added: Vec::new() };
        let length = (items.len() + self.added.len()).saturating_sub(self.removed.len());
        let mut removed = self.removed.into_iter().peekable();
        let mut changed = Vec::with_capacity(length);
        let mut added = self.added.into_iter().peekable();
        for (at, item) in mem::take(items).into_iter().enumerate() {
            if removed.next_if_eq(&at).is_some() {
                back.added.push((at, item));
                continue;
            }
            while let Some((_, item)) = added.next_if(|(place, _)| *place == changed.len()) {
                changed.push(item);
            }
            changed.push(item);
        }
        changed.extend(added.map(|(_, item)| item));
        *items = changed;
        back
    }
}

impl<T: Ord> ItemChanges<T> {
    /// What makes a list that is in order one without the items at the places `gone`, and with those of `come`, in order.
    pub fn in_order(items: &[T], gone: BTreeSet<usize>, come: BTreeSet<T>) -> Self {
        let removed: Vec<usize> = gone.into_iter().collect();
        let place = |(before, item): (usize, T)| {
            let at = items.partition_point(|held| *held < item);
            let without = removed.partition_point(|place| *place < at);
            (at - without + before, item)
        };
        Self { added: come.into_iter().enumerate().map(place).collect(), removed }
    }
}

impl<T: Serialize> ItemChanges<T> {
    /// As they travel to who holds the section with the digest `from`.
    pub fn travelling<S: Listed<Item = T>>(&self, section: &S, from: &str) -> Option<SectionChanges> {
        let added: Option<Vec<_>> =
            self.added.iter().map(|(at, item)| Some((*at, serde_json::to_value(item).ok()?))).collect();
        let rest = serde_json::to_value(section.with_items(Vec::new())).ok()?;
        Some(SectionChanges { from: from.to_string(), rest, removed: self.removed.clone(), added: added? })
    }
}

/// The JSON of a section, kept with the places of its items: where a few of them change nobody need write the others
/// again for its digest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    head: Vec<u8>,
    /// Each after a comma.
    items: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    tail: Vec<u8>,
}

impl Written {
    /// Writes a section. Nothing where it does not have the form that one with items has.
    pub fn of<T: Listed>(section: &T) -> Option<Written> {
        let rest = serde_json::to_vec(&section.with_items(Vec::new())).ok()?;
        let place = format!("\"{}\":[", T::FIELD);
        let at = rest.windows(place.len()).position(|part| part == place.as_bytes())? + place.len();
        let tail = rest.get(at..)?.to_vec();
        let mut written = Written { head: rest.get(..at)?.to_vec(), items: Vec::new(), ends: Vec::new(), tail };
        section.items().iter().try_for_each(|item| written.push(item))?;
        Some(written)
    }

    fn push<T: Serialize>(&mut self, item: &T) -> Option<()> {
        self.items.push(b',');
        serde_json::to_writer(&mut self.items, item).ok()?;
        self.ends.push(self.items.len());
        Some(())
    }

    /// The same of the section after the changes.
    pub fn change<T: Serialize>(&self, changes: &ItemChanges<T>) -> Option<Written> {
        let mut next = Written {
            head: self.head.clone(),
            items: Vec::with_capacity(self.items.len()),
            ends: Vec::with_capacity(self.ends.len() + changes.added.len()),
            tail: self.tail.clone(),
        };
        let mut removed = changes.removed.iter().peekable();
        let mut added = changes.added.iter().peekable();
        let mut start = 0;
        for (at, end) in self.ends.iter().enumerate() {
            let text = self.items.get(start..*end)?;
            start = *end;
            if removed.next_if_eq(&&at).is_some() {
                continue;
            }
            while let Some((_, item)) = added.next_if(|(place, _)| *place == next.ends.len()) {
                next.push(item)?;
            }
            next.items.extend_from_slice(text);
            next.ends.push(next.items.len());
        }
        added.try_for_each(|(_, item)| next.push(item))?;
        Some(next)
    }

    /// The digest of the section.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(&self.head);
        hash.update(self.items.get(1..).unwrap_or_default());
        hash.update(&self.tail);
        hex(&hash.finalize())
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
    fn a_digest_of_the_text_kept_is_the_one_of_the_section() {
        fn same<T: Listed>(section: &T) {
            assert_eq!(Written::of(section).unwrap().digest(), digest(section));
        }
        let text = r#"a","names":[],"hosts":[]\\"#.to_string();
        let name = DnsName { ip: "10.0.0.1".parse().unwrap(), hostname: text.clone(), domain: Some(text.clone()) };
        for names in [vec![], vec![name.clone()], vec![name.clone(), name]] {
            same(&DnsConfig { interfaces: vec![text.clone()], names, upstreams: vec!["9.9.9.9".parse().unwrap()] });
        }
        same(&DhcpConfig::default());
        same(&EipsConfig::default());
        let (held, none) = (section(&[1, 2, 3]), section(&[]));
        for (removed, added) in [
            (vec![], vec![(0, 9)]),
            (vec![], vec![(3, 9), (4, 10)]),
            (vec![0, 2], vec![(0, 9), (2, 10)]),
            (vec![0, 1, 2], vec![]),
        ] {
            let item = |(place, end): (usize, u8)| (place, section(&[end]).addresses[0].clone());
            let changes = ItemChanges { removed, added: added.into_iter().map(item).collect() };
            let mut after = held.clone();
            let back = changes.clone().make(&mut after.addresses);
            assert_eq!(Written::of(&held).unwrap().change(&changes).unwrap().digest(), digest(&after));
            assert_eq!(Written::of(&after).unwrap().change(&back).unwrap().digest(), digest(&held));
        }
        same(&none);
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
