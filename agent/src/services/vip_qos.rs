//! How fast the traffic of VIPs may be: classes of HTB at the interface that has the address, and for what comes in at a
//! detour, a link that such packets take before anything else sees them.
//!
//! ```text
//!  out:  … ─► snat ─► qos_postrouting: address, port ─► class ─► HTB of eth0 ─► the wire
//!  in:   the wire ─► eth0 ─► qos_eth0: address, port ─► class ─► HTB of qos-eth0 ─► eth0 again ─► dnat ─► …
//! ```
//! A VIP is a class with others in it: one for each port that has limits of its own, and one for the rest. The filter says
//! to which one a packet belongs, by its priority; packets of other addresses meet neither detour nor class. The class of a
//! limit has the same number as long as it is there, whoever looks (but for two names that want one number), so a limit
//! that changes touches its own class and no packet of another waits for it.
//!
//! **Not here:** what VMs send to each other by a VIP without leaving the router by its interface.

use super::nftables::{NftSet, Part, normalise};
use crate::kernel::{Class, Kernel, KernelError, Link, LinkChange, Shaper, ShapingChange};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    net::Ipv4Addr,
    sync::Arc,
};
use switchback_appliance::{DriftItem, QosConfig, VipLimits, digest};
use switchback_events::{Id, VipId};

/// What the names of its sets, maps and chains begin with.
pub const PREFIX: &str = "qos_";
/// So many limits at most: each has a number of 16 bits, and so has each VIP.
pub const LIMITS_MAX: usize = 20_000;
/// What the names of detours begin with.
const DETOUR: &str = "qos-";
/// The numbers that the classes of interfaces and of detours are of.
const OUT: u16 = 1;
const IN: u16 = 2;
/// A class that only holds others: more than any limit, bytes per second.
const UNLIMITED: u64 = 12_500_000_000;
/// What a class has of its own; all else it takes of what its VIP has left, bytes per second.
const OWN: u64 = 125;
/// So much of a limit waits at the most, milliseconds, and no less than so many bytes: two of the largest packets.
const QUEUE_MILLIS: u64 = 100;
const QUEUE_MIN: u64 = 128 << 10;

/// A class of a VIP.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Slot {
    /// The VIP, with the others in it.
    Whole,
    /// What is no port's.
    Rest,
    Port(u16),
}

/// The numbers of the classes.
type Numbers = BTreeMap<(VipId, Slot), u16>;

/// The detour of an interface.
pub fn detour(interface: &str) -> String {
    format!("{DETOUR}{interface}")
}

/// Whether a link is one.
fn is_detour(link: &Link) -> bool {
    link.kind.as_deref() == Some("ifb") && link.name.starts_with(DETOUR)
}

/// The number of a class follows from its name. Where two want one the older VIP has it, and the other the next.
fn numbers(config: &QosConfig) -> Numbers {
    const FIRST: u16 = 1;
    const LAST: u16 = 0xfffe;
    let mut slots = BTreeSet::new();
    for limits in &config.limits {
        slots.insert((limits.vip, Slot::Whole));
        slots.insert((limits.vip, limits.port.map_or(Slot::Rest, Slot::Port)));
    }
    let (mut numbers, mut taken) = (Numbers::new(), BTreeSet::new());
    for (vip, slot) in slots {
        let Id(name) = Id::of_name(&format!("{vip} {slot:?}"));
        let mut number = u16::from_be_bytes([name[0], name[1]]).clamp(FIRST, LAST);
        while !taken.insert(number) {
            number = if number == LAST { FIRST } else { number + 1 };
        }
        numbers.insert((vip, slot), number);
    }
    numbers
}

/// Towards a VIP, or from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    In,
    Out,
}

impl Direction {
    fn of(self, limits: &VipLimits) -> Option<u64> {
        // No class can have less than a byte per second.
        let bits = if self == Direction::In { limits.inbound } else { limits.outbound };
        bits.map(|bits| (bits / 8).max(1))
    }

    fn handle(self) -> u16 {
        if self == Direction::In { IN } else { OUT }
    }

    fn link(self, interface: &str) -> String {
        if self == Direction::In { detour(interface) } else { interface.to_string() }
    }
}

/// A class with the name of whom it is for.
type Named = (Class, String);

/// The classes that a link should have, by number.
fn classes(config: &QosConfig, numbers: &Numbers, interface: &str, direction: Direction) -> BTreeMap<u16, Named> {
    let mut classes = BTreeMap::new();
    let limited = config.limits.iter().filter(|limits| limits.interface == interface);
    for limits in limited {
        let Some(ceil) = direction.of(limits) else { continue };
        let slot = limits.port.map_or(Slot::Rest, Slot::Port);
        let (Some(whole), Some(number)) = (numbers.get(&(limits.vip, Slot::Whole)), numbers.get(&(limits.vip, slot)))
        else {
            continue;
        };
        let rate = if slot == Slot::Rest { ceil } else { UNLIMITED };
        let outer = Class { parent: None, rate, ceil: rate, queue: None };
        let name = || format!("vip {}", limits.vip);
        let held = classes.entry(*whole).or_insert_with(|| (outer, name()));
        if slot == Slot::Rest {
            held.0 = outer;
        }
        let queue = u32::try_from((ceil / 1000 * QUEUE_MILLIS).max(QUEUE_MIN)).unwrap_or(u32::MAX);
        let class = Class { parent: Some(*whole), rate: OWN, ceil, queue: Some(queue) };
        let name = limits.port.map_or_else(|| format!("{} rest", name()), |port| format!("{} port {port}", name()));
        classes.insert(*number, (class, name));
    }
    classes
}

/// The classes of addresses and of ports, as maps.
fn maps(config: &QosConfig, numbers: &Numbers, direction: Direction) -> [NftSet; 2] {
    let name = if direction == Direction::In { "qos_in" } else { "qos_out" };
    let mut wholes = NftSet::map(name, "type ipv4_addr : classid;");
    let mut ports = NftSet::map(&format!("{name}_ports"), "type ipv4_addr . inet_service : classid;");
    for limits in config.limits.iter().filter(|limits| direction.of(limits).is_some()) {
        let slot = limits.port.map_or(Slot::Rest, Slot::Port);
        let Some(number) = numbers.get(&(limits.vip, slot)) else { continue };
        let class = Some(format!("{:x}:{number:x}", direction.handle()));
        let item: Arc<str> = format!("vip {}", limits.vip).into();
        match limits.port {
            Some(port) => ports.add(format!("{} . {port}", limits.vip_address), class, &item),
            None => wholes.add(limits.vip_address, class, &item),
        }
    }
    [wholes, ports]
}

/// Its part of the router's table: what leaves with an address gets its class. None without limits.
pub fn render(config: &QosConfig) -> Option<Part> {
    if config.is_empty() {
        return None;
    }
    let sets = maps(config, &numbers(config), Direction::Out).into();
    let chains = "  chain qos_postrouting {
    type filter hook postrouting priority srcnat + 60; policy accept;
    meta priority set ip saddr map @qos_out
    meta l4proto { tcp, udp } meta priority set ip saddr . th sport map @qos_out_ports
  }
"
    .to_string();
    Some(Part { section: QosConfig::SECTION, sets, chains })
}

/// The table that sends what comes for an address to its class, by way of the detour; empty without limits of that
/// direction.
pub fn ingress(config: &QosConfig) -> String {
    let mut addresses: BTreeMap<&str, BTreeSet<Ipv4Addr>> = BTreeMap::new();
    for limits in config.limits.iter().filter(|limits| Direction::In.of(limits).is_some()) {
        addresses.entry(&limits.interface).or_default().insert(limits.vip_address);
    }
    if addresses.is_empty() {
        return String::new();
    }
    let mut text = String::new();
    for map in maps(config, &numbers(config), Direction::In) {
        map.write(&mut text, &BTreeMap::new());
    }
    for (interface, addresses) in addresses {
        let addresses: Vec<String> = addresses.iter().map(Ipv4Addr::to_string).collect();
        let detour = detour(interface);
        let _ = write!(
            text,
            "  chain qos_{} {{
    type filter hook ingress device \"{interface}\" priority 0; policy accept;
    meta priority set ip daddr map @qos_in
    meta l4proto {{ tcp, udp }} meta priority set ip daddr . th dport map @qos_in_ports
    ip daddr {{ {} }} fwd to \"{detour}\"
  }}
",
            super::snat::of_interface(interface),
            addresses.join(", ")
        );
    }
    text
}

/// What was put in place.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Applied {
    /// The table of what comes in.
    text: String,
    /// How the kernel printed it.
    seen: String,
    /// Why the kernel does not shape.
    pub refused: Option<String>,
}

/// What has to change.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Plan {
    /// What differs, in the words of a user.
    pub drift: Vec<DriftItem>,
    links: Vec<LinkChange>,
    shapes: Vec<ShapingChange>,
    classes: Vec<ShapingChange>,
    /// The table to put in place of the one that is there.
    table: Option<String>,
    removals: Vec<ShapingChange>,
    ends: Vec<LinkChange>,
}

impl Plan {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.drift.is_empty() && self.table.is_none()
    }

    /// A line for each thing to do.
    pub fn actions(&self) -> Vec<String> {
        self.drift.iter().map(|item| format!("{}: {} -> {}", item.item, item.observed, item.expected)).collect()
    }

    fn differs(&mut self, item: String, expected: impl ToString, observed: impl ToString) {
        let (section, expected, observed) =
            (QosConfig::SECTION.to_string(), expected.to_string(), observed.to_string());
        self.drift.push(DriftItem { section, item, expected, observed });
    }
}

fn shown(class: &Class) -> String {
    let bits = |bytes: u64| if bytes >= UNLIMITED { "unlimited".to_string() } else { format!("{} bit/s", bytes * 8) };
    bits(class.ceil)
}

/// The difference between what should be and what is. `links` are those of the router; `unchanged` is whether nobody has
/// touched the packet filter since it was put in place.
pub fn plan(
    kernel: &dyn Kernel,
    name: &str,
    config: &QosConfig,
    links: &[Link],
    applied: &Applied,
    unchanged: bool,
) -> Result<Plan, KernelError> {
    let mut plan = Plan::default();
    let wanted: BTreeSet<&str> = config.limits.iter().map(|limits| limits.interface.as_str()).collect();
    let detours: BTreeMap<&str, &Link> =
        links.iter().filter(|link| is_detour(link)).map(|link| (link.name.as_str(), link)).collect();
    if wanted.is_empty() && detours.is_empty() && applied.text.is_empty() {
        return Ok(plan);
    }
    let (shapers, numbers) = (kernel.shaping()?, numbers(config));
    for interface in &wanted {
        let name = detour(interface);
        match detours.get(name.as_str()) {
            None => {
                plan.links.push(LinkChange::CreateDetour(name.clone()));
                plan.differs(format!("link {name}"), "up", "none");
            }
            Some(link) if !link.up => {
                plan.links.push(LinkChange::Up(name.clone()));
                plan.differs(format!("link {name}"), "up", "down");
            }
            Some(_) => {}
        }
        for direction in [Direction::Out, Direction::In] {
            let link = direction.link(interface);
            plan_link(&mut plan, &shapers, link, direction, classes(config, &numbers, interface, direction));
        }
    }
    for name in detours.keys() {
        let interface = name.strip_prefix(DETOUR).unwrap_or(name);
        if wanted.contains(interface) {
            continue;
        }
        plan.differs(format!("link {name}"), "none", "up");
        if shapers.contains_key(interface) {
            plan.removals.push(ShapingChange::Unshape { link: interface.to_string() });
        }
        plan.ends.push(LinkChange::Delete(name.to_string()));
    }
    let text = ingress(config);
    let seen = if unchanged { applied.seen.clone() } else { observe(kernel, name)? };
    if text != applied.text || seen != applied.seen {
        if !(text.is_empty() && seen.is_empty()) {
            let words = |text: &str| if text.is_empty() { "absent".to_string() } else { digest(&text) };
            let expected = if text == applied.text { applied.seen.clone() } else { words(&text) };
            plan.differs("nftables table of what comes in".to_string(), expected, words(&seen));
        }
        plan.table = Some(text);
    }
    Ok(plan)
}

fn plan_link(
    plan: &mut Plan,
    shapers: &BTreeMap<String, Shaper>,
    link: String,
    direction: Direction,
    wanted: BTreeMap<u16, Named>,
) {
    let handle = direction.handle();
    let none = BTreeMap::new();
    let ours = shapers.get(&link).filter(|shaper| shaper.handle == handle);
    if wanted.is_empty() {
        if ours.is_some() {
            plan.differs(format!("htb {link}"), "none", "present");
            plan.removals.push(ShapingChange::Unshape { link });
        }
        return;
    }
    let held = match ours {
        Some(shaper) => &shaper.classes,
        None => {
            plan.shapes.push(ShapingChange::Shape { link: link.clone(), handle });
            plan.differs(format!("htb {link}"), "present", "none");
            &none
        }
    };
    let stays = |number: &u16| {
        let (class, held) = (wanted.get(number)?.0, held.get(number)?.class);
        // One that holds others is in none, and the other way round: neither becomes the other.
        (class.parent == held.parent).then_some((class, held))
    };
    // Those in others first.
    let gone: Vec<u16> = held.keys().filter(|number| stays(number).is_none()).copied().collect();
    let is_outer = |number: &u16| held.get(number).is_some_and(|class| class.class.parent.is_none());
    let (outer, inner): (Vec<u16>, Vec<u16>) = gone.into_iter().partition(is_outer);
    let again = inner.iter().chain(&outer).any(|number| wanted.contains_key(number));
    for number in inner.into_iter().chain(outer) {
        let class = ShapingChange::Delete { link: link.clone(), handle, number };
        // Where its number is another's now it must go first.
        if again {
            plan.classes.push(class)
        } else {
            plan.removals.push(class)
        }
        if !wanted.contains_key(&number) {
            plan.differs(format!("class {link} {handle:x}:{number:x}"), "none", "present");
        }
    }
    let rank = |class: &Class| class.parent.is_some();
    let mut ordered: Vec<(&u16, &Named)> = wanted.iter().collect();
    ordered.sort_by_key(|(number, (class, _))| (rank(class), **number));
    for (number, (class, name)) in ordered {
        let item = || format!("{name}: class {link} {handle:x}:{number:x}");
        let (link, number, class) = (link.clone(), *number, *class);
        match stays(&number) {
            Some((wanted, held)) if wanted == held => {}
            Some((_, held)) => {
                plan.differs(item(), shown(&class), shown(&held));
                plan.classes.push(ShapingChange::Change { link, handle, number, class });
            }
            None => {
                plan.differs(item(), shown(&class), "none");
                plan.classes.push(ShapingChange::Add { link, handle, number, class });
            }
        }
    }
}

/// The digest of the table of what comes in; empty: there is none.
fn observe(kernel: &dyn Kernel, name: &str) -> Result<String, KernelError> {
    let Some(objects) = kernel.nft_table("netdev", name)? else { return Ok(String::new()) };
    let objects = objects.into_iter().filter(|object| object.get("metainfo").is_none());
    Ok(digest(&objects.map(normalise).collect::<Vec<Value>>()))
}

/// Makes detours, classes and what leads to them. A kernel that does not shape is said to in the health: the services are
/// given all the same.
/// Answers whether the packet filter was changed by that.
pub fn make(kernel: &dyn Kernel, name: &str, plan: &Plan, applied: &mut Applied) -> Result<bool, KernelError> {
    let shaped = kernel.change_links(None, &plan.links).and_then(|()| kernel.change_shaping(&plan.shapes));
    applied.refused = shaped.err().map(|error| error.to_string());
    if let Some(detail) = &applied.refused {
        tracing::warn!(detail, "limits of VIPs are not kept: the kernel does not shape");
        return Ok(false);
    }
    kernel.change_shaping(&plan.classes)?;
    if let Some(text) = &plan.table {
        let mut whole = format!("table netdev {name}\ndelete table netdev {name}\n");
        if !text.is_empty() {
            let _ = write!(whole, "table netdev {name} {{\n{text}}}\n");
        }
        kernel.nft(&whole, false)?;
        (applied.text, applied.seen) = (text.clone(), observe(kernel, name)?);
    }
    Ok(plan.table.is_some())
}

/// Makes links send as they come again, and nothing take a detour.
pub fn clear(kernel: &dyn Kernel, name: &str, applied: &mut Applied) -> Result<(), KernelError> {
    let links = kernel.links()?;
    let plan = plan(kernel, name, &QosConfig::default(), &links, applied, false)?;
    make(kernel, name, &plan, applied)?;
    remove(kernel, &plan, applied)
}

/// Takes away what is too much, when nothing leads there any more.
pub fn remove(kernel: &dyn Kernel, plan: &Plan, applied: &Applied) -> Result<(), KernelError> {
    if applied.refused.is_some() {
        return Ok(());
    }
    kernel.change_shaping(&plan.removals)?;
    kernel.change_links(None, &plan.ends)
}

/// Whether the kernel would take the table of what comes in.
pub fn check(kernel: &dyn Kernel, name: &str, plan: &Plan) -> Result<(), KernelError> {
    // It names detours: where they are not there yet nothing can be asked.
    match plan.table.as_deref().filter(|text| !text.is_empty() && plan.links.is_empty()) {
        Some(text) => kernel.nft(&format!("table netdev {name} {{\n{text}}}\n"), true),
        None => Ok(()),
    }
}

/// What the classes are and what they did, by link.
pub fn observed(kernel: &dyn Kernel, config: &QosConfig) -> Result<Value, KernelError> {
    if config.is_empty() {
        return Ok(json!({}));
    }
    let (shapers, numbers) = (kernel.shaping()?, numbers(config));
    let mut links = serde_json::Map::new();
    let interfaces: BTreeSet<&str> = config.limits.iter().map(|limits| limits.interface.as_str()).collect();
    for interface in interfaces {
        for direction in [Direction::Out, Direction::In] {
            let link = direction.link(interface);
            let Some(shaper) = shapers.get(&link) else { continue };
            let names = classes(config, &numbers, interface, direction);
            let class = |(number, class)| {
                let name = names.get(number).map_or("", |(_, name)| name.as_str());
                let number = format!("{:x}:{number:x}", shaper.handle);
                json!({ "class": number, "of": name, "is": class })
            };
            links.insert(link, shaper.classes.iter().map(class).collect());
        }
    }
    Ok(links.into())
}
