//! Filters at the nics of VMs: by the rules of their security groups, and against what is sent in another's name.
//!
//! All of it is one table of the bridge family, replaced in one transaction, so a nic is filtered by its old rules or
//! by its new ones. Whether a packet belongs to a connection is not known there on every kernel: where it is not, bridged
//! packets pass the connection tracking of IP, and a mark says what that knows.
//!
//! **Invariant:** a plug is filtered before it carries anything, and until it is gone.

use crate::{
    check::is_interface,
    kernel::{Kernel, KernelError, Link, LinkChange},
    services::nftables::normalise,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};
use switchback_appliance::{DriftItem, GroupRules, NicFilter, RuleConfig, SecurityConfig, digest, link_local};
use switchback_events::{AddressSpan, Direction, Id, NicPolicy, PortSpan, RuleAction, RuleProtocol, SecurityGroupId};

/// The table with the filters.
const FILTERS: (&str, &str) = ("bridge", "switchback_guests");
/// The table that marks packets of connections.
const STATES: &str = "switchback_connections";
/// The answers of a connection, and what belongs to one.
const ANSWER: &str = "0x5b01";
/// What fits into no connection.
const INVALID: &str = "0x5b02";

/// How a kernel knows the connections of bridged packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tracking {
    /// By itself.
    Bridge,
    /// By those of IP, which bridged packets pass (br_netfilter).
    Ip,
    /// Not at all: nics in security groups cannot be filtered.
    None,
}

/// Tries which one this kernel has.
pub fn tracking(kernel: &dyn Kernel) -> Tracking {
    let probe = "table bridge switchback_probe {\n  chain probe {\n    type filter hook prerouting priority -300;\n    \
                 meta ibrname \"br\" ct zone set 1\n    ct state established accept\n  }\n}\n";
    if kernel.nft(probe, true).is_ok() {
        return Tracking::Bridge;
    }
    let key = "net/bridge/bridge-nf-call-iptables";
    let has = || kernel.sysctl(key).is_ok_and(|value| value.is_some());
    // It is a module on many machines, which nothing loads by itself.
    if has() || kernel.run("modprobe", &["br_netfilter"]).is_ok() && has() { Tracking::Ip } else { Tracking::None }
}

/// The filters as text.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Rendered {
    /// The table with the states, empty where none is needed.
    states: String,
    /// The chains.
    chains: String,
    /// The sets of addresses: type and elements.
    sets: BTreeMap<String, (&'static str, BTreeSet<String>)>,
    /// The bridges whose packets pass the connection tracking of IP.
    bridges: BTreeSet<String>,
}

/// What was put in place.
#[derive(Default)]
pub struct Applied {
    config: SecurityConfig,
    rendered: Rendered,
    /// How the kernel printed it: the digest of each chain and set.
    seen: BTreeMap<String, String>,
    /// What went wrong the last time.
    pub error: Option<String>,
}

impl Applied {
    /// How many nics are filtered.
    pub fn nics(&self) -> usize {
        self.config.nics.len()
    }

    /// Puts the filters in place that `wanted` asks for. With `links`, the filters of plugs that are there still, and
    /// that it does not name any more, stay.
    pub fn apply(
        &mut self,
        kernel: &dyn Kernel,
        tracking: Tracking,
        wanted: &SecurityConfig,
        links: Option<&BTreeMap<String, Link>>,
    ) -> Result<Vec<String>, String> {
        let done = self.put(kernel, tracking, wanted, links);
        self.error = done.as_ref().err().cloned();
        done
    }

    fn put(
        &mut self,
        kernel: &dyn Kernel,
        tracking: Tracking,
        wanted: &SecurityConfig,
        links: Option<&BTreeMap<String, Link>>,
    ) -> Result<Vec<String>, String> {
        let mut config = wanted.clone();
        let stays = |nic: &str| links.is_some_and(|links| links.contains_key(nic)) && !wanted.nics.contains_key(nic);
        for (nic, filter) in self.config.nics.iter().filter(|(nic, _)| stays(nic)) {
            config.nics.insert(nic.clone(), filter.clone());
            for group in &filter.groups {
                if let Some(rules) = self.config.groups.get(group) {
                    config.groups.entry(*group).or_insert_with(|| rules.clone());
                }
            }
        }
        if config.nics.len() > wanted.nics.len() {
            for (group, members) in &self.config.members {
                config.members.entry(*group).or_insert_with(|| members.clone());
            }
        }
        check(&config)?;
        let grouped = config.nics.values().any(|nic| !nic.groups.is_empty());
        if grouped && tracking == Tracking::None {
            return Err("security groups: the kernel does not track connections of bridged packets, neither by \
                        nf_conntrack_bridge nor by br_netfilter"
                .to_string());
        }
        let rendered = render(&config, tracking);
        let failed = |error: KernelError| error.to_string();
        let mut actions = Vec::new();
        let seen = observe(kernel, tracking).map_err(failed)?;
        if rendered != self.rendered || seen != self.seen && !wanted.as_found {
            let only_sets = Rendered { sets: BTreeMap::new(), ..rendered.clone() }
                == Rendered { sets: BTreeMap::new(), ..self.rendered.clone() };
            let elements = element_changes(&self.rendered.sets, &rendered.sets)
                .filter(|_| only_sets && seen == self.seen && !config.is_empty());
            match elements {
                Some(text) => {
                    kernel.nft(&text, false).map_err(failed)?;
                    actions.push(format!("change {} addresses of security groups", text.lines().count()));
                }
                None => {
                    let calls = |called: bool| move |bridge: &String| LinkChange::FilterBridged(bridge.clone(), called);
                    let on: Vec<LinkChange> = rendered.bridges.iter().map(calls(true)).collect();
                    kernel.change_links(None, &on).map_err(failed)?;
                    kernel.nft(&whole(&rendered, tracking), false).map_err(failed)?;
                    let left = self.rendered.bridges.difference(&rendered.bridges);
                    let off: Vec<LinkChange> = left.map(calls(false)).collect();
                    // A bridge that is gone needs nothing.
                    let _ = kernel.change_links(None, &off);
                    actions.push(format!("filter {} nics", config.nics.len()));
                }
            }
            self.seen = observe(kernel, tracking).map_err(failed)?;
        }
        (self.config, self.rendered) = (config, rendered);
        Ok(actions)
    }

    /// Whether the kernel has what was put in place.
    pub fn intact(&self, kernel: &dyn Kernel, tracking: Tracking) -> bool {
        self.error.is_none() && observe(kernel, tracking).is_ok_and(|seen| seen == self.seen)
    }

    /// What differs from what was put in place, by chain and set.
    pub fn drift(&self, kernel: &dyn Kernel, tracking: Tracking) -> Result<Vec<DriftItem>, KernelError> {
        let seen = observe(kernel, tracking)?;
        let names: BTreeSet<&String> = self.seen.keys().chain(seen.keys()).collect();
        let differs = |name: &String| {
            let (expected, observed) = match (self.seen.get(name), seen.get(name)) {
                (held, found) if held == found => return None,
                (Some(_), None) => ("as it was put in place", "absent"),
                (None, _) => ("absent", "present"),
                (Some(_), Some(_)) => ("as it was put in place", "changed"),
            };
            let [section, item, expected, observed] = ["security", name, expected, observed].map(str::to_string);
            Some(DriftItem { section, item, expected, observed })
        };
        Ok(names.into_iter().filter_map(differs).collect())
    }
}

/// Removes the filters.
pub fn remove(kernel: &dyn Kernel) -> Result<(), KernelError> {
    kernel.nft(&whole(&Rendered::default(), Tracking::Ip), false)
}

/// The digests of what the kernel has, of each table, chain and set; empty: nothing.
fn observe(kernel: &dyn Kernel, tracking: Tracking) -> Result<BTreeMap<String, String>, KernelError> {
    let (family, name) = FILTERS;
    let mut found = vec![(name, kernel.nft_table(family, name)?)];
    if tracking == Tracking::Ip {
        found.push((STATES, kernel.nft_table("inet", STATES)?));
    }
    let mut parts: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (table, objects) in found {
        for object in objects.into_iter().flatten().filter(|object| object.get("metainfo").is_none()) {
            parts.entry(part_of(table, &object)).or_default().push(normalise(object));
        }
    }
    Ok(parts.into_iter().map(|(part, objects)| (part, digest(&objects))).collect())
}

/// What an object of a table belongs to: a rule to its chain.
fn part_of(table: &str, object: &Value) -> String {
    let (kind, inner) = match object.as_object().and_then(|object| object.iter().next()) {
        Some((kind, inner)) => (kind.as_str(), inner),
        None => ("table", object),
    };
    let named = |member: &str| inner.get(member).and_then(Value::as_str);
    match (kind, named("chain"), named("name")) {
        ("table", ..) => format!("nftables table {table}"),
        (_, Some(chain), _) => format!("chain {chain}"),
        (kind, None, name) => format!("{kind} {}", name.unwrap_or(table)),
    }
}

/// The transaction that puts everything in place, or removes it where there is nothing.
fn whole(rendered: &Rendered, tracking: Tracking) -> String {
    let (family, name) = FILTERS;
    let mut text = String::new();
    if tracking != Tracking::Bridge {
        let _ = write!(text, "table inet {STATES}\ndelete table inet {STATES}\n");
        if !rendered.states.is_empty() {
            let _ = write!(text, "table inet {STATES} {{\n{}}}\n", rendered.states);
        }
    }
    let _ = write!(text, "table {family} {name}\ndelete table {family} {name}\n");
    if rendered.chains.is_empty() {
        return text;
    }
    let _ = writeln!(text, "table {family} {name} {{");
    if tracking == Tracking::Bridge {
        text.push_str(&rendered.states);
    }
    for (set, (kind, elements)) in &rendered.sets {
        let _ = write!(text, "  set {set} {{\n    type {kind};\n");
        if !elements.is_empty() {
            let elements: Vec<&str> = elements.iter().map(String::as_str).collect();
            let _ = writeln!(text, "    elements = {{ {} }}", elements.join(", "));
        }
        text.push_str("  }\n");
    }
    text.push_str(&rendered.chains);
    text.push_str("}\n");
    text
}

type Sets = BTreeMap<String, (&'static str, BTreeSet<String>)>;

/// The lines that make some sets others of the same names; nothing where the names differ, or nothing changes.
fn element_changes(from: &Sets, to: &Sets) -> Option<String> {
    let (family, name) = FILTERS;
    if !from.keys().eq(to.keys()) {
        return None;
    }
    let mut text = String::new();
    for (set, (_, wanted)) in to {
        let (_, held) = &from[set];
        for (verb, elements) in [("delete", held.difference(wanted)), ("add", wanted.difference(held))] {
            let elements: Vec<&str> = elements.map(String::as_str).collect();
            if !elements.is_empty() {
                let _ = writeln!(text, "{verb} element {family} {name} {set} {{ {} }}", elements.join(", "));
            }
        }
    }
    Some(text).filter(|text| !text.is_empty())
}

/// What a document may say: all else that is rendered has a type of its own.
fn check(config: &SecurityConfig) -> Result<(), String> {
    let names = config.nics.iter().flat_map(|(nic, filter)| [nic, &filter.bridge]);
    match names.into_iter().find(|name| !is_interface(name)) {
        Some(name) => Err(format!("`{name}` is not a name of an interface")),
        None => Ok(()),
    }
}

fn set_name(group: SecurityGroupId, v4: bool) -> String {
    format!("m{}_{group}", if v4 { 4 } else { 6 })
}

fn rules_name(group: SecurityGroupId, direction: Direction) -> String {
    format!("{}_{group}", if direction == Direction::Ingress { "to" } else { "from" })
}

/// Connections of one network are none of another's, though both may have the same addresses.
fn zone(bridge: &str) -> u16 {
    let Id(bytes) = Id::of_name(&format!("zone:{bridge}"));
    u16::from_be_bytes([bytes[0], bytes[1]]).max(1)
}

fn render(config: &SecurityConfig, tracking: Tracking) -> Rendered {
    let mut rendered = Rendered::default();
    if config.is_empty() {
        return rendered;
    }
    let grouped: BTreeMap<&String, &NicFilter> = config.nics.iter().filter(|(_, nic)| !nic.groups.is_empty()).collect();
    let bridges: BTreeSet<&String> = grouped.values().map(|nic| &nic.bridge).collect();
    if !bridges.is_empty() {
        rendered.states = states(&bridges, tracking);
    }
    if tracking == Tracking::Ip {
        rendered.bridges = bridges.into_iter().cloned().collect();
    }
    for (group, members) in &config.members {
        for (v4, kind) in [(true, "ipv4_addr"), (false, "ipv6_addr")] {
            let own = members.iter().filter(|ip| ip.is_ipv4() == v4).map(ToString::to_string);
            rendered.sets.insert(set_name(*group, v4), (kind, own.collect()));
        }
    }
    let text = &mut rendered.chains;
    for (group, rules) in &config.groups {
        group_chains(text, *group, rules);
    }
    let clean: BTreeMap<&String, &NicFilter> = config.nics.iter().filter(|(_, nic)| nic.clean).collect();
    for (nic, filter) in &clean {
        clean_chain(text, nic, filter);
    }
    for (nic, filter) in &grouped {
        for direction in [Direction::Egress, Direction::Ingress] {
            nic_chain(text, nic, filter, direction);
        }
    }
    // Before any connection is tracked, and before a bridge learns where an address is.
    base_chain(text, ("clean", "prerouting", -300), "iifname", "own", clean.keys());
    // Behind br_netfilter, which forwards at 0. What may leave must be let in besides.
    base_chain(text, ("egress", "forward", 100), "iifname", "from", grouped.keys());
    base_chain(text, ("ingress", "forward", 101), "oifname", "to", grouped.keys());
    rendered
}

fn states(bridges: &BTreeSet<&String>, tracking: Tracking) -> String {
    let interface = if tracking == Tracking::Bridge { "meta ibrname" } else { "iifname" };
    let mut text = "  chain zones {\n    type filter hook prerouting priority -300;\n".to_string();
    for bridge in bridges {
        let _ = writeln!(text, "    {interface} \"{bridge}\" ct zone set {}", zone(bridge));
    }
    text.push_str("  }\n  chain states {\n    type filter hook prerouting priority -150;\n");
    for bridge in bridges {
        let _ = writeln!(text, "    {interface} \"{bridge}\" jump state");
    }
    let _ = write!(
        text,
        "  }}\n  chain state {{\n    ct state invalid meta mark set {INVALID}\n    ct state related meta mark set \
         {ANSWER}\n    ct state established ct direction reply meta mark set {ANSWER}\n  }}\n"
    );
    // A chain is known before it is jumped to.
    let (before, state) = text.split_at(text.find("  chain state {").unwrap_or(0));
    format!("{state}{before}")
}

/// A packet that is in this chain at the moment when another one takes its place finds nothing in the map: a map of a rule
/// is gone with it. It must not pass for that. A set of a rule stays for as long as anybody is in the chain.
fn base_chain<'a>(
    text: &mut String,
    (name, hook, priority): (&str, &str, i32),
    interface: &str,
    chain: &str,
    nics: impl Iterator<Item = &'a &'a String>,
) {
    let nics: Vec<&String> = nics.copied().collect();
    if nics.is_empty() {
        return;
    }
    let ways: Vec<String> = nics.iter().map(|nic| format!("\"{nic}\" : goto {chain}_{nic}")).collect();
    let names: Vec<String> = nics.iter().map(|nic| format!("\"{nic}\"")).collect();
    let _ = write!(
        text,
        "  chain {name} {{\n    type filter hook {hook} priority {priority}; policy accept;\n    {interface} vmap {{ {} }}\n    \
         {interface} {{ {} }} drop\n  }}\n",
        ways.join(", "),
        names.join(", ")
    );
}

/// What a nic may send in its own name. One that was given no address by us may have any.
fn clean_chain(text: &mut String, nic: &str, filter: &NicFilter) {
    let mac = filter.mac;
    let _ = write!(
        text,
        "  chain own_{nic} {{\n    ether saddr != {mac} drop\n    ether type arp arp saddr ether != {mac} drop\n"
    );
    let v4 = filter.addresses.iter().filter(|ip| ip.is_ipv4());
    let mut v4: Vec<String> = v4.map(ToString::to_string).collect();
    let any = filter.addresses.is_empty();
    if !any {
        v4.push(Ipv4Addr::UNSPECIFIED.to_string());
        let _ = writeln!(text, "    ether type arp arp saddr ip != {{ {} }} drop", v4.join(", "));
        v4.pop();
    }
    text.push_str(
        "    ether type arp accept
    ether type != { ip, ip6 } drop
    udp sport { 67, 547 } drop
    icmpv6 type { nd-router-advert, nd-redirect } drop
",
    );
    if any {
        text.push_str("  }\n");
        return;
    }
    text.push_str("    ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept\n");
    let _ = match v4.is_empty() {
        true => writeln!(text, "    ether type ip drop"),
        false => writeln!(text, "    ip saddr != {{ {} }} drop", v4.join(", ")),
    };
    let own = filter.addresses.iter().filter_map(|ip| match ip {
        IpAddr::V6(ip) => Some(*ip),
        IpAddr::V4(_) => None,
    });
    let own: Vec<Ipv6Addr> = own.chain([link_local(filter.mac)]).collect();
    // Nobody has an address yet while he asks whether it is another's.
    let sources: Vec<String> = own.iter().chain([&Ipv6Addr::UNSPECIFIED]).map(ToString::to_string).collect();
    let _ = writeln!(text, "    ip6 saddr != {{ {} }} drop", sources.join(", "));
    for ip in own {
        // The address that it says it has.
        let _ = writeln!(text, "    icmpv6 type nd-neighbor-advert @th,64,128 {:#x} return", u128::from(ip));
    }
    text.push_str("    icmpv6 type nd-neighbor-advert drop\n  }\n");
}

fn nic_chain(text: &mut String, nic: &str, filter: &NicFilter, direction: Direction) {
    let ingress = direction == Direction::Ingress;
    let _ = write!(
        text,
        "  chain {}_{nic} {{
    ether type arp accept
    ether type != {{ ip, ip6 }} drop
    meta mark {INVALID} drop
    meta mark {ANSWER} accept
",
        if ingress { "to" } else { "from" },
    );
    text.push_str(match ingress {
        true => {
            "    icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query } accept
    udp sport 67 udp dport 68 accept
    udp sport 547 udp dport 546 accept
"
        }
        false => {
            "    icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-report, mld2-listener-report } accept
    udp sport 68 udp dport 67 accept
    udp sport 546 udp dport 547 accept
"
        }
    });
    for group in &filter.groups {
        let _ = writeln!(text, "    jump {}", rules_name(*group, direction));
    }
    let policy = if ingress { filter.ingress } else { filter.egress };
    let _ = writeln!(text, "    counter {}\n  }}", if policy == NicPolicy::ALLOW { "accept" } else { "drop" });
}

fn group_chains(text: &mut String, group: SecurityGroupId, rules: &GroupRules) {
    for (direction, rules) in [(Direction::Ingress, &rules.ingress), (Direction::Egress, &rules.egress)] {
        let _ = writeln!(text, "  chain {} {{", rules_name(group, direction));
        for rule in rules {
            let _ = writeln!(text, "    {}", rule_line(rule, direction));
        }
        text.push_str("  }\n");
    }
}

fn rule_line(rule: &RuleConfig, direction: Direction) -> String {
    let v4 = rule.ip_version == 4;
    let end = if direction == Direction::Ingress { "saddr" } else { "daddr" };
    let family = if v4 { "ip" } else { "ip6" };
    let mut words = vec![format!("meta protocol {family}")];
    if let Some(remote) = rule.remote_group {
        words.push(format!("{family} {end} @{}", set_name(remote, v4)));
    }
    if !rule.addresses.is_empty() {
        words.push(format!("{family} {end} {{ {} }}", merged_addresses(&rule.addresses).join(", ")));
    }
    match rule.protocol {
        RuleProtocol::ALL => {}
        RuleProtocol::TCP => words.push("meta l4proto tcp".to_string()),
        RuleProtocol::UDP => words.push("meta l4proto udp".to_string()),
        RuleProtocol::ICMP if v4 => words.push("meta l4proto icmp".to_string()),
        RuleProtocol::ICMP => words.push("meta l4proto ipv6-icmp".to_string()),
    }
    if !rule.ports.is_empty() {
        words.push(format!("th dport {{ {} }}", merged_ports(&rule.ports).join(", ")));
    }
    let verdict = if rule.action == RuleAction::ACCEPT { "accept" } else { "drop" };
    words.push(format!("counter {verdict} comment \"{}\"", rule.rule));
    words.join(" ")
}

/// Intervals without those that others hold: a set of intervals takes no two that overlap.
fn merged(mut spans: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    spans.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::new();
    for (first, last) in spans {
        match merged.last_mut() {
            Some(held) if first <= held.1.saturating_add(1) => held.1 = held.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn merged_ports(ports: &[PortSpan]) -> Vec<String> {
    let spans = ports.iter().map(|span| (u128::from(span.first), u128::from(span.last))).collect();
    let text = |(first, last): (u128, u128)| if first == last { format!("{first}") } else { format!("{first}-{last}") };
    merged(spans).into_iter().map(text).collect()
}

fn merged_addresses(spans: &[AddressSpan]) -> Vec<String> {
    let number = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    };
    let v4 = spans.iter().all(AddressSpan::is_ipv4);
    let bounds = spans.iter().map(|span| match span {
        AddressSpan::One(ip) => (number(*ip), number(*ip)),
        AddressSpan::Range(first, last) => (number((*first).into()), number((*last).into())),
        AddressSpan::Net(net) => (number(net.network()), number(net.broadcast())),
    });
    let ip = |number: u128| match u32::try_from(number) {
        Ok(number) if v4 => Ipv4Addr::from(number).to_string(),
        _ => Ipv6Addr::from(number).to_string(),
    };
    let text =
        |(first, last): (u128, u128)| if first == last { ip(first) } else { format!("{}-{}", ip(first), ip(last)) };
    merged(bounds.collect()).into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_touch_are_one() {
        let ports: Vec<PortSpan> = ["80-90", "85", "91", "100"].map(|text| text.parse().unwrap()).into();
        assert_eq!(merged_ports(&ports), ["80-91", "100"]);
        let spans: Vec<AddressSpan> =
            ["10.0.0.0/24", "10.0.0.7", "10.0.1.0-10.0.1.9", "10.9.0.1"].map(|text| text.parse().unwrap()).into();
        assert_eq!(merged_addresses(&spans), ["10.0.0.0-10.0.1.9", "10.9.0.1"]);
        let all: Vec<AddressSpan> = vec!["::/0".parse().unwrap()];
        assert_eq!(merged_addresses(&all), ["::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]);
    }

    #[test]
    fn of_other_members_only_the_elements_travel() {
        let sets = |elements: &[&str]| -> Sets {
            let elements = elements.iter().map(ToString::to_string).collect();
            [("m4_a".to_string(), ("ipv4_addr", elements))].into()
        };
        let text = element_changes(&sets(&["10.0.0.1", "10.0.0.2"]), &sets(&["10.0.0.2", "10.0.0.3"])).unwrap();
        assert_eq!(
            text,
            "delete element bridge switchback_guests m4_a { 10.0.0.1 }\nadd element bridge switchback_guests m4_a { 10.0.0.3 }\n"
        );
        assert_eq!(element_changes(&sets(&["10.0.0.1"]), &sets(&["10.0.0.1"])), None);
        assert_eq!(element_changes(&sets(&["10.0.0.1"]), &Sets::new()), None);
    }
}
