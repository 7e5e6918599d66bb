//! What differs between two tables: chains by their text, sets by what they are, elements by their keys.

use super::{Counters, NftSet, Part, nobody};
use crate::kernel::{ElementChange, TableChange};
use std::{cmp::Ordering, sync::Arc};

impl Part {
    /// What makes `before` this part, with a line for each thing that changes.
    /// Chains with other rules come into `rules`.
    pub(super) fn differences(
        &self,
        before: &Part,
        change: &mut TableChange,
        rules: &mut String,
    ) -> Vec<(String, Arc<str>)> {
        let mut lines = Vec::new();
        let mut say = |line: String| lines.push((line, nobody()));
        let (old, new) = (chains(&before.chains), chains(&self.chains));
        let named = |chains: &[Chain], name: &str| chains.iter().position(|chain| chain.name == name);
        for chain in &old {
            let other = named(&new, chain.name).map(|at| &new[at]);
            match other {
                Some(other) if other == chain => continue,
                Some(_) => say(format!("replace chain {}", chain.name)),
                None => say(format!("remove chain {}", chain.name)),
            }
            change.emptied.push(chain.name.to_string());
            if other.is_none_or(|other| other.hook != chain.hook) {
                change.chains_gone.push(chain.name.to_string());
            }
        }
        let held = |parts: &Part, set: &NftSet| parts.sets.iter().position(|other| other.same_outline(set));
        for set in before.sets.iter().filter(|set| held(self, set).is_none()) {
            say(format!("remove {} {}", set.kind, set.name));
            change.sets_gone.push(format!("{} {}", set.kind, set.name));
        }
        for set in self.sets.iter().filter(|set| held(before, set).is_none()) {
            say(format!("add {} {}", set.kind, set.name));
            set.write(&mut change.text, &Counters::new());
        }
        for chain in new.iter().filter(|chain| !old.contains(chain)) {
            if named(&old, chain.name).is_none() {
                say(format!("add chain {}", chain.name));
            }
            rules.push_str(chain.text);
        }
        for set in &self.sets {
            let Some(before) = held(before, set).map(|at| &before.sets[at]) else { continue };
            for (element, item) in set.changes(before) {
                lines.push((element.to_string(), item));
                change.elements.push(element);
            }
        }
        lines
    }
}

impl NftSet {
    /// The same set without elements.
    pub(super) fn clone_outline(&self) -> Self {
        let (name, declaration) = (self.name.clone(), self.declaration.clone());
        Self { kind: self.kind, name, declaration, names: self.names, by_packets: self.by_packets, ..Self::default() }
    }

    pub(super) fn same_outline(&self, other: &NftSet) -> bool {
        (self.kind, &self.name, &self.declaration, self.names)
            == (other.kind, &other.name, &other.declaration, other.names)
    }

    /// What makes the elements of `before` those of this set: first those go that go, since no interval may overlap another
    /// that is there still.
    pub(super) fn changes(&self, before: &NftSet) -> Vec<(ElementChange, Arc<str>)> {
        let (mut changes, mut additions) = (Vec::new(), Vec::new());
        let name = || self.name.clone();
        let (mut old, mut new) = (before.elements.iter().peekable(), self.elements.iter().peekable());
        // Both are in the order of their keys.
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some((old, _)), Some((new, _))) => old.cmp(new),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            let old = if order.is_le() { old.next() } else { None };
            let new = if order.is_ge() { new.next() } else { None };
            if old == new {
                continue;
            }
            if let Some((key, element)) = old {
                let (set, key) = (name(), self.key(key));
                let deleted = match self.by_packets {
                    true => ElementChange::Forget { set, key },
                    false => ElementChange::Delete { set, key },
                };
                changes.push((deleted, element.item.clone()));
            }
            if let Some((key, element)) = new.filter(|_| !self.by_packets) {
                let added = ElementChange::Add { set: name(), element: self.element(key, element) };
                additions.push((added, element.item.clone()));
            }
        }
        changes.append(&mut additions);
        changes
    }
}

/// A chain in the text of a part.
#[derive(PartialEq, Eq)]
pub(super) struct Chain<'a> {
    pub(super) name: &'a str,
    /// Where it hooks in; empty: it is jumped to.
    hook: &'a str,
    /// The whole of it.
    text: &'a str,
}

/// The chains of a part's text, in order: one that is jumped to comes before the jump.
pub(super) fn chains(text: &str) -> Vec<Chain<'_>> {
    let chain = |text| {
        let mut lines = str::lines(text).map(str::trim);
        let name = lines.next()?.strip_prefix("chain ")?.strip_suffix(" {")?;
        let hook = lines.next().filter(|line| line.starts_with("type ")).unwrap_or_default();
        Some(Chain { name, hook, text })
    };
    text.split_inclusive("\n  }\n").filter_map(chain).collect()
}
