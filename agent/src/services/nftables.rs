//! The router's one table of the packet filter: `inet vr_<tail of the router's id>`, made of the parts of
//! [`super::firewall`], [`super::snat`], [`super::eip`], [`super::port_forwarding`] and [`super::udp_balancer`].
//!
//! Only what differs is changed, in one transaction: elements of sets and maps, the rules of chains, sets and chains. Where
//! it is not known what the kernel has, all chains and sets of the table are filled anew, in one transaction too, and its
//! counters are carried over. The table, and what stays in it, is not replaced: a packet that is among the old rules when
//! the new ones become valid would find nothing in the maps of the old table, which are gone by then.
//!
//! What the kernel prints differs from what it was given (handles, order, spelling). Its rules are compared with what it
//! printed right after they were put in place; elements are read and compared one by one, so that drift names them. None of
//! that is done while nobody has changed the packet filter since: the kernel counts that.

mod differences;
mod items;

pub use items::{apply_items, plan_items, render_items};

use super::{
    eip, firewall, metadata, port_forwarding, snat,
    udp_balancer::{self, Unwell},
    vip_qos,
};
use crate::kernel::{Kernel, KernelError, TableChange};
use differences::chains;
use ipnet::Ipv4Net;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt::Write,
    net::SocketAddr,
    sync::Arc,
};
use switchback_appliance::{Counter, DriftItem, LoadBalancerConfig, MetadataConfig, QosConfig, Sections, digest};

/// More elements than these are not changed one by one.
const ELEMENTS_CHANGED_MAX: usize = 4096;
/// More lines than these are not listed for one section.
const LINES_MAX: usize = 100;

/// The table that should be.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Table {
    /// In the order of the services.
    pub parts: Vec<Part>,
}

/// What one service has in the table.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Part {
    /// The section that it is made of.
    pub section: &'static str,
    /// What its rules look things up in.
    pub sets: Vec<NftSet>,
    /// Its chains, as nft reads them.
    pub chains: String,
}

/// A set or map.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct NftSet {
    /// `set` or `map`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Its type and flags.
    pub declaration: String,
    /// So many of the first columns of its keys are names of interfaces.
    pub names: usize,
    /// The kernel adds its elements, when packets come that are theirs: any of these may be there, or not.
    pub by_packets: bool,
    /// By key, as nft prints them.
    pub elements: BTreeMap<String, Element>,
    /// So many were left out because another has their key.
    pub left_out: usize,
}

/// An element of a set or map, beside its key.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Element {
    /// What a map gives for the key.
    pub value: Option<String>,
    /// Whom it belongs to, for people: `eip <uuid>`; empty: to nobody in particular.
    pub item: Arc<str>,
}

impl NftSet {
    /// A set without elements.
    pub fn set(name: &str, declaration: &str) -> Self {
        Self { kind: "set", name: name.to_string(), declaration: declaration.to_string(), ..Self::default() }
    }

    /// A map without elements.
    pub fn map(name: &str, declaration: &str) -> Self {
        Self { kind: "map", ..Self::set(name, declaration) }
    }

    /// A set whose elements the kernel adds.
    pub fn by_packets(name: &str, declaration: &str) -> Self {
        Self { by_packets: true, ..Self::set(name, declaration) }
    }

    /// Adds an element; the first of several with one key stays.
    pub fn add(&mut self, key: impl ToString, value: Option<String>, item: &Arc<str>) {
        match self.elements.entry(key.to_string()) {
            Entry::Vacant(free) => drop(free.insert(Element { value, item: item.clone() })),
            Entry::Occupied(_) => self.left_out += 1,
        }
    }

    /// Whether its elements count packets.
    pub fn counts(&self) -> bool {
        self.declaration.contains(" counter;")
    }

    /// The key as nft reads it.
    fn key(&self, key: &str) -> String {
        if self.names == 0 {
            return key.to_string();
        }
        let column = |(at, column): (usize, &str)| {
            if at < self.names { format!("\"{column}\"") } else { column.to_string() }
        };
        key.split(" . ").enumerate().map(column).collect::<Vec<_>>().join(" . ")
    }

    fn element(&self, key: &str, element: &Element) -> String {
        match &element.value {
            Some(value) => format!("{} : {value}", self.key(key)),
            None => self.key(key),
        }
    }

    /// Writes it as nft reads it.
    pub fn write(&self, text: &mut String, counters: &Counters) {
        let _ = write!(text, "  {} {} {{\n    {}\n", self.kind, self.name, self.declaration);
        let counters = counters.get(&self.name);
        let (first, mut separator) = ("    elements = { ", "    elements = { ");
        for (key, element) in &self.elements {
            let count = counters.and_then(|counters| counters.get(key));
            if self.by_packets && count.is_none() {
                continue;
            }
            text.push_str(separator);
            separator = ", ";
            text.push_str(&self.element(key, element));
            if let Some(count) = count {
                let _ = write!(text, " counter packets {} bytes {}", count.packets, count.bytes);
            }
        }
        text.push_str(if separator == first { "  }\n" } else { " }\n  }\n" });
    }
}

impl Part {
    /// As nft reads it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.sets.iter().for_each(|set| set.write(&mut text, &Counters::new()));
        text + &self.chains
    }

    /// Whether nothing but elements of sets and maps differs.
    fn same_outline(&self, other: &Part) -> bool {
        let mut pairs = self.sets.iter().zip(&other.sets);
        self.chains == other.chains && self.sets.len() == other.sets.len() && pairs.all(|(a, b)| a.same_outline(b))
    }
}

/// Whom an element belongs to that is nobody's in particular.
pub fn nobody() -> Arc<str> {
    Arc::from("")
}

/// A subnet as nft prints it.
pub fn subnet(net: Ipv4Net) -> String {
    if net.prefix_len() == 32 { net.addr().to_string() } else { net.trunc().to_string() }
}

/// Counters by set and key.
pub type Counters = BTreeMap<String, BTreeMap<String, Counter>>;

/// The table that the kernel has.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ObservedTable {
    /// For each section a digest of its chains and of what its sets are.
    pub outlines: BTreeMap<String, String>,
    /// Elements with their values, by set and key.
    pub elements: BTreeMap<String, BTreeMap<String, Option<String>>>,
    /// Everything in it, as nft names it: `chain input`, `map eip_guests`.
    pub objects: BTreeSet<String>,
}

/// What was seen of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// Nobody has changed anything since it was put in place.
    Unchanged,
    /// There is none.
    Absent,
    /// This.
    Table(ObservedTable),
}

/// A table that was put in place, and how the kernel printed it then.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct AppliedTable {
    /// What was asked for.
    pub table: Arc<Table>,
    /// For each section, the outline that was seen.
    pub outlines: BTreeMap<String, String>,
    /// The number of the packet filter's state, where nobody else has changed it in between.
    pub generation: Option<u32>,
}

/// How the table becomes what it should be.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Change {
    /// It is.
    #[default]
    Nothing,
    /// What differs is.
    Parts(TableChange),
    /// All that is in it is filled anew: these chains, sets and maps. Where the kernel does not take that, because one of
    /// them is not what it should be, the table is replaced.
    Refill(BTreeSet<String>),
    /// It is put in place.
    Whole,
}

/// What has to change.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct TablePlan {
    /// Lines, by section.
    pub actions: BTreeMap<&'static str, Vec<String>>,
    /// How.
    pub change: Change,
    /// The kernel has no table at all.
    pub absent: bool,
    /// The number of the packet filter's state when it was looked at.
    pub generation: u32,
    /// The kernel's table is not the one that was put in place.
    pub drift: Vec<DriftItem>,
}

impl TablePlan {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.change == Change::Nothing
    }

    /// The section to name where the change fails: the first that has anything to change.
    pub fn section(&self) -> &'static str {
        let first = ["firewall", "snat"].into_iter().find(|section| self.actions.contains_key(section));
        first.or_else(|| self.actions.keys().next().copied()).unwrap_or("firewall")
    }
}

/// The table for a configuration.
pub fn render(sections: &Sections, listen: Option<SocketAddr>, unwell: &Unwell) -> Table {
    let mut balanced = udp_balancer::render(&sections.load_balancer, &sections.interfaces, unwell);
    let mut parts = vec![firewall::render(sections, listen, &balanced), snat::render(&sections.snat)];
    parts.extend(eip::render(sections));
    parts.extend(port_forwarding::render(sections));
    parts.extend(vip_qos::render(&sections.qos));
    parts.extend(metadata::render(&sections.metadata, &sections.interfaces));
    parts.extend(balanced.part.take());
    Table { parts }
}

/// Looks at the table, if anybody may have changed it since it was `applied`, and says at which state of the packet filter.
pub fn observe(kernel: &dyn Kernel, name: &str, applied: Option<&AppliedTable>) -> Result<(Seen, u32), KernelError> {
    let generation = kernel.generation()?;
    if applied.and_then(|applied| applied.generation) == Some(generation) {
        return Ok((Seen::Unchanged, generation));
    }
    let Some(objects) = kernel.table(name)? else { return Ok((Seen::Absent, generation)) };
    let elements = objects.iter().filter_map(|object| {
        let inner = inner(object)?;
        let elements = inner.get("elem")?.as_array()?.iter().filter_map(read_element);
        let elements = elements.map(|(key, value, _)| (key, value)).collect();
        Some((inner.get("name")?.as_str()?.to_string(), elements))
    });
    let elements = elements.collect();
    let name_of = |object: &Value| {
        let (kind, fields) = object.as_object()?.iter().next()?;
        // Rules are those of their chains.
        let own = !matches!(kind.as_str(), "metainfo" | "table" | "rule");
        own.then(|| Some(format!("{kind} {}", fields.get("name")?.as_str()?)))?
    };
    let present = objects.iter().filter_map(name_of).collect();
    Ok((Seen::Table(ObservedTable { elements, objects: present, outlines: outlines(objects) }), generation))
}

/// A digest for each section of what it has in the table, but for elements of sets and maps.
fn outlines(objects: Vec<Value>) -> BTreeMap<String, String> {
    let mut by_section: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for mut object in objects.into_iter().filter(|object| object.get("metainfo").is_none()) {
        if let Some(inner) = object.as_object_mut().and_then(|fields| fields.values_mut().next())
            && let Some(fields) = inner.as_object_mut()
        {
            fields.remove("elem");
        }
        by_section.entry(section_of(&object).to_string()).or_default().push(normalise(object));
    }
    by_section.into_iter().map(|(section, objects)| (section, digest(&objects))).collect()
}

fn inner(object: &Value) -> Option<&Value> {
    object.as_object()?.values().next()
}

/// The key, the value of a map, and the counter of an element as nft prints it.
fn read_element(element: &Value) -> Option<(String, Option<String>, Option<Counter>)> {
    let (key, value) = match element {
        Value::Array(pair) => (pair.first()?, Some(read_expression(pair.get(1)?)?)),
        single => (single, None),
    };
    let Some(wrapped) = key.get("elem") else {
        let text = read_expression(key)?;
        return Some(match text.split_once(" : ") {
            Some((key, value)) => (key.to_string(), Some(value.to_string()), None),
            None => (text, value, None),
        });
    };
    let count = wrapped.get("counter").and_then(|counter| serde_json::from_value(counter.clone()).ok());
    Some((read_expression(wrapped.get("val")?)?, value, count))
}

/// An expression of an element, as it is written in a key or value.
fn read_expression(expression: &Value) -> Option<String> {
    Some(match expression {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        other => {
            let (kind, inner) = other.as_object()?.iter().next()?;
            match kind.as_str() {
                "concat" => {
                    let columns: Option<Vec<String>> = inner.as_array()?.iter().map(read_expression).collect();
                    columns?.join(" . ")
                }
                "range" => {
                    let ends = inner.as_array()?;
                    format!("{}-{}", read_expression(ends.first()?)?, read_expression(ends.get(1)?)?)
                }
                "prefix" => format!("{}/{}", read_expression(inner.get("addr")?)?, inner.get("len")?),
                _ => return None,
            }
        }
    })
}

/// Without handles and counters, and with the elements of sets in one order: the kernel's is by chance.
pub fn normalise(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let keep = |key: &str| !matches!(key, "handle" | "packets" | "bytes");
            let fields = fields.into_iter().filter(|(key, _)| keep(key)).map(|(key, value)| {
                let value = normalise(value);
                match (key.as_str(), value) {
                    ("elem" | "set", Value::Array(mut list)) => {
                        list.sort_by_cached_key(Value::to_string);
                        (key, Value::Array(list))
                    }
                    (_, value) => (key, value),
                }
            });
            Value::Object(fields.collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(normalise).collect()),
        other => other,
    }
}

/// The section that an object of the table is made of, by its name or that of its chain.
fn section_of(object: &Value) -> &'static str {
    let Some(inner) = inner(object) else { return "firewall" };
    let name = ["chain", "name"].into_iter().find_map(|field| inner.get(field)?.as_str()).unwrap_or_default();
    section_of_name(name)
}

fn section_of_name(name: &str) -> &'static str {
    let begins = |prefix: &str| name.starts_with(prefix);
    match name {
        _ if begins(eip::PREFIX) => eip::SECTION,
        _ if begins(port_forwarding::PREFIX) => port_forwarding::SECTION,
        _ if begins(vip_qos::PREFIX) => QosConfig::SECTION,
        _ if begins(metadata::PREFIX) => MetadataConfig::SECTION,
        _ if begins(udp_balancer::PREFIX) => LoadBalancerConfig::SECTION,
        _ if begins(snat::MAP_PREFIX) || name == snat::CHAIN => "snat",
        _ => "firewall",
    }
}

/// The difference between what should be, what was put in place, and what is.
pub fn plan(wanted: &Table, applied: Option<&AppliedTable>, (seen, generation): &(Seen, u32)) -> TablePlan {
    let mut plan = TablePlan { absent: *seen == Seen::Absent, generation: *generation, ..TablePlan::default() };
    let (mut change, mut rules) = (TableChange::default(), String::new());
    if let Some(applied) = applied {
        plan.drift = drift(applied, seen);
        for item in &plan.drift {
            let lines = plan.actions.entry(section_named(&item.section)).or_default();
            if lines.is_empty() {
                lines.push("restore nftables table".to_string());
            }
        }
    }
    let nothing = Part::default();
    let before: BTreeMap<&str, &Part> =
        applied.into_iter().flat_map(|applied| &applied.table.parts).map(|part| (part.section, part)).collect();
    let after: BTreeMap<&str, &Part> = wanted.parts.iter().map(|part| (part.section, part)).collect();
    for section in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        if applied.is_none() {
            plan.actions.entry(after[section].section).or_default().push("replace nftables table".to_string());
            continue;
        }
        let held_part = before.get(section).copied().unwrap_or(&nothing);
        let wanted_part = after.get(section).copied().unwrap_or(&nothing);
        let differences = wanted_part.differences(held_part, &mut change, &mut rules);
        if differences.is_empty() {
            continue;
        }
        let name = before.get(section).or(after.get(section)).map_or("firewall", |part| part.section);
        let lines = plan.actions.entry(name).or_default();
        let more = differences.len().saturating_sub(LINES_MAX);
        for (line, item) in differences.into_iter().take(LINES_MAX) {
            lines.push(if item.is_empty() { line } else { format!("{item}: {line}") });
        }
        if more > 0 {
            lines.push(format!("and {more} more elements"));
        }
    }
    // Chains look things up in the sets of other parts, too.
    change.text.push_str(&rules);
    let known = applied.filter(|_| plan.drift.is_empty());
    plan.change = match (seen, known) {
        (Seen::Absent, _) => Change::Whole,
        (_, Some(_)) if change.is_empty() => Change::Nothing,
        (_, Some(_)) if change.elements.len() <= ELEMENTS_CHANGED_MAX => Change::Parts(change),
        (Seen::Unchanged, _) => Change::Refill(applied.map(|applied| objects(&applied.table)).unwrap_or_default()),
        (Seen::Table(observed), _) => Change::Refill(observed.objects.clone()),
    };
    plan
}

/// Everything in a table, as nft names it.
fn objects(table: &Table) -> BTreeSet<String> {
    let mut objects = BTreeSet::new();
    for part in &table.parts {
        objects.extend(part.sets.iter().map(|set| format!("{} {}", set.kind, set.name)));
        objects.extend(chains(&part.chains).iter().map(|chain| format!("chain {}", chain.name)));
    }
    objects
}

/// What makes a table of which only the names of what is `present` are known the one that is wanted.
fn refill(table: &Table, present: &BTreeSet<String>, counters: &Counters) -> TableChange {
    let wanted = objects(table);
    let mut change = TableChange { text: text(table, counters), ..TableChange::default() };
    for object in present {
        let stays = wanted.contains(object);
        match object.split_once(' ') {
            Some(("chain", name)) => {
                change.emptied.push(name.to_string());
                if !stays {
                    change.chains_gone.push(name.to_string());
                }
            }
            _ if stays => change.flushed.push(object.clone()),
            _ => change.sets_gone.push(object.clone()),
        }
    }
    change
}

fn section_named(section: &str) -> &'static str {
    let known = ["snat", eip::SECTION, port_forwarding::SECTION, LoadBalancerConfig::SECTION, QosConfig::SECTION];
    known.into_iter().find(|known| *known == section).unwrap_or("firewall")
}

/// Where the table differs from the one that was put in place.
pub fn drift(applied: &AppliedTable, seen: &Seen) -> Vec<DriftItem> {
    let differs = |section: &str, item: String, expected: &str, observed: &str| DriftItem {
        section: section.to_string(),
        item,
        expected: expected.to_string(),
        observed: observed.to_string(),
    };
    let observed = match seen {
        Seen::Unchanged => return Vec::new(),
        Seen::Absent => &ObservedTable::default(),
        Seen::Table(observed) => observed,
    };
    let mut items = Vec::new();
    for part in &applied.table.parts {
        let expected = applied.outlines.get(part.section).map_or("absent", String::as_str);
        let found = observed.outlines.get(part.section).map_or("absent", String::as_str);
        if expected != found || *seen == Seen::Absent {
            items.push(differs(part.section, "nftables table".to_string(), expected, found));
            continue;
        }
        let none = BTreeMap::new();
        let begin = items.len();
        for set in part.sets.iter().filter(|set| !set.by_packets) {
            let found = observed.elements.get(&set.name).unwrap_or(&none);
            let name = |item: &str, key: &str| {
                let element = format!("element {} {{ {key} }}", set.name);
                if item.is_empty() { element } else { format!("{item}: {element}") }
            };
            let text = |value: &Option<String>| value.clone().unwrap_or("present".to_string());
            for (key, element) in &set.elements {
                let found = found.get(key);
                if found != Some(&element.value) {
                    let found = found.map_or("absent".to_string(), text);
                    items.push(differs(part.section, name(&element.item, key), &text(&element.value), &found));
                }
            }
            for (key, value) in found.iter().filter(|(key, _)| !set.elements.contains_key(*key)) {
                items.push(differs(part.section, name("", key), "absent", &text(value)));
            }
        }
        let more = items.len().saturating_sub(begin + LINES_MAX);
        if more > 0 {
            items.truncate(begin + LINES_MAX);
            items.push(differs(part.section, format!("{more} more elements"), "as they were put in place", "changed"));
        }
    }
    items
}

/// Puts the table in place and notes how the kernel prints it.
pub fn apply(
    kernel: &dyn Kernel,
    name: &str,
    table: &Arc<Table>,
    plan: &TablePlan,
    applied: Option<&AppliedTable>,
) -> Result<AppliedTable, KernelError> {
    match &plan.change {
        Change::Nothing => {}
        Change::Parts(change) => kernel.change_table(name, change)?,
        Change::Whole => kernel.replace_table(name, &text(table, &Counters::new()))?,
        Change::Refill(present) => {
            let carried = carried_over(kernel, name, table, applied)?;
            if let Err(error) = kernel.change_table(name, &refill(table, present, &carried)) {
                tracing::info!(%error, "the table is replaced, as it cannot be filled anew");
                kernel.replace_table(name, &text(table, &carried))?;
            }
        }
    }
    let after = kernel.generation()?;
    // Somebody else since it was looked at: then it is looked at again before it is relied upon.
    let generation = (after == plan.generation.wrapping_add(1)).then_some(after);
    let same = |applied: &&AppliedTable| {
        let pairs = applied.table.parts.iter().zip(&table.parts);
        applied.table.parts.len() == table.parts.len() && pairs.into_iter().all(|(old, new)| old.same_outline(new))
    };
    let outlines = match applied.filter(same) {
        Some(applied) => applied.outlines.clone(),
        None => outlines(
            kernel.table_outline(name)?.ok_or_else(|| KernelError::new("look at the table", "it is not there"))?,
        ),
    };
    Ok(AppliedTable { table: table.clone(), outlines, generation })
}

/// The counters of elements that stay with whom they belong to.
fn carried_over(
    kernel: &dyn Kernel,
    name: &str,
    table: &Table,
    applied: Option<&AppliedTable>,
) -> Result<Counters, KernelError> {
    let mut counters = counters(kernel, name, table)?;
    let held = applied.into_iter().flat_map(|applied| &applied.table.parts).flat_map(|part| &part.sets);
    let held: BTreeMap<&String, &NftSet> = held.map(|set| (&set.name, set)).collect();
    for set in table.parts.iter().flat_map(|part| &part.sets) {
        let (Some(counts), Some(before)) = (counters.get_mut(&set.name), held.get(&set.name)) else { continue };
        let item = |set: &NftSet, key: &String| set.elements.get(key).map(|element| element.item.clone());
        counts.retain(|key, _| item(before, key) == item(set, key));
    }
    Ok(counters)
}

/// The counters of the table, of all sets whose elements count.
pub fn counters(kernel: &dyn Kernel, name: &str, table: &Table) -> Result<Counters, KernelError> {
    let mut counters = Counters::new();
    for set in table.parts.iter().flat_map(|part| &part.sets).filter(|set| set.counts() && !set.elements.is_empty()) {
        let Some(object) = kernel.set_of_table(name, &set.name)? else { continue };
        let elements = inner(&object).and_then(|inner| inner.get("elem")?.as_array());
        let counts = elements.into_iter().flatten().filter_map(read_element);
        let counts =
            counts.filter_map(|(key, _, count)| Some((key, count.filter(|count| *count != Counter::default())?)));
        counters.insert(set.name.clone(), counts.collect());
    }
    Ok(counters)
}

/// Whether the kernel would take the table.
pub fn check(kernel: &dyn Kernel, name: &str, table: &Table) -> Result<(), KernelError> {
    kernel.check_table(name, &text(table, &Counters::new()))
}

/// As nft reads it: sets before the chains that look things up in them.
fn text(table: &Table, counters: &Counters) -> String {
    let mut text = String::new();
    table.parts.iter().flat_map(|part| &part.sets).for_each(|set| set.write(&mut text, counters));
    table.parts.iter().for_each(|part| text.push_str(&part.chains));
    text
}

#[cfg(test)]
mod tests;
