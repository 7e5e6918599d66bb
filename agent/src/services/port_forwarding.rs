//! Forwarded ports, by maps: single ports and ranges that shift have an element for each port, other ranges one.
//!
//! A rule with an `allowedCidr` is in two sets more: who is not in the second is not translated, and so is refused by the
//! firewall like any other stranger.

use super::{
    eip::{hairpins, strangers},
    firewall::protocol,
    nftables::{NftSet, Part, subnet},
};
use std::{fmt::Write, sync::Arc};
use switchback_appliance::{PortForwardingRule, Sections};

/// The section.
pub const SECTION: &str = "portForwarding";
/// What the names of its sets, maps and chains begin with.
pub const PREFIX: &str = "pf_";
/// The counters of what comes for a rule's ports, and of what goes back from them.
pub const COUNTERS: [&str; 2] = ["pf_in", "pf_out"];
/// The bit of a packet's mark that says that it shall carry the router's address.
const MASQUERADE: &str = "0x40000000";

/// Its part of the router's table; none without rules.
pub fn render(sections: &Sections) -> Option<Part> {
    let rules = &sections.port_forwarding.rules;
    if rules.is_empty() {
        return None;
    }
    const KEY: &str = "type ipv4_addr . inet_proto . inet_service";
    let mut ports = NftSet::map("pf_ports", &format!("{KEY} : ipv4_addr . inet_service;"));
    let mut ranges = NftSet::map("pf_ranges", &format!("{KEY} : ipv4_addr; flags interval;"));
    let interval = |name: &str| NftSet::set(name, &format!("{KEY}; flags interval;"));
    let (mut restricted, mut masquerade) = (interval("pf_restricted"), interval("pf_masquerade"));
    let mut allowed =
        NftSet::set("pf_allowed", "type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags interval;");
    let mut counters = COUNTERS.map(|name| NftSet::set(name, &format!("{KEY}; flags interval; counter;")));
    for rule in rules {
        let item: Arc<str> = format!("port forwarding rule {}", rule.rule).into();
        let (start, end) = (rule.vip_port_start, rule.vip_port_end);
        let side = format!("{} . {}", rule.vip_address, protocol(rule.protocol));
        let key = key(rule);
        if start != end && start == rule.private_port_start {
            ranges.add(&key, Some(rule.guest_address.to_string()), &item);
        } else {
            for (port, private) in (start..=end).zip(rule.private_port_start..=rule.private_port_end) {
                ports.add(format!("{side} . {port}"), Some(format!("{} . {private}", rule.guest_address)), &item);
            }
        }
        if let Some(cidr) = rule.allowed_cidr {
            allowed.add(format!("{} . {key}", subnet(cidr)), None, &item);
            restricted.add(&key, None, &item);
        }
        if rule.snat_inbound_traffic {
            masquerade.add(&key, None, &item);
        }
        counters.iter_mut().for_each(|counter| counter.add(&key, None, &item));
    }
    let strangers = strangers(&sections.interfaces);
    let mut chains = format!(
        "  chain pf_translate {{
    ip daddr . ip protocol . th dport @pf_restricted ip saddr . ip daddr . ip protocol . th dport != @pf_allowed accept
    ip daddr . ip protocol . th dport @pf_in
    ip daddr . ip protocol . th dport @pf_masquerade meta mark set meta mark | {MASQUERADE}
    dnat ip to ip daddr . ip protocol . th dport map @pf_ports
    dnat ip to ip daddr . ip protocol . th dport map @pf_ranges
  }}
  chain pf_prerouting {{
    type nat hook prerouting priority dstnat - 1; policy accept;
{strangers}    jump pf_translate
  }}
  chain pf_output {{
    type nat hook output priority -101; policy accept;
    jump pf_translate
  }}
  chain pf_postrouting {{
    type nat hook postrouting priority srcnat - 1; policy accept;
"
    );
    for back in hairpins(&sections.interfaces) {
        let _ = writeln!(chains, "    {back} masquerade");
    }
    let _ = write!(
        chains,
        "    ct status dnat meta mark & {MASQUERADE} == {MASQUERADE} masquerade
  }}
  chain pf_count_in {{
    type filter hook prerouting priority dstnat - 10; policy accept;
    ct direction original ct status dnat ip daddr . ip protocol . th dport @pf_in
  }}
  chain pf_count_out {{
    type filter hook postrouting priority srcnat + 50; policy accept;
    ct direction reply ct status dnat ip saddr . ip protocol . th sport @pf_out
  }}
"
    );
    let mut sets = vec![ports, ranges, restricted, allowed, masquerade];
    sets.extend(counters);
    Some(Part { section: SECTION, sets, chains })
}

/// The key of a rule in the sets that have one element for each.
pub fn key(rule: &PortForwardingRule) -> String {
    let side = format!("{} . {}", rule.vip_address, protocol(rule.protocol));
    match (rule.vip_port_start, rule.vip_port_end) {
        (start, end) if start == end => format!("{side} . {start}"),
        (start, end) => format!("{side} . {start}-{end}"),
    }
}
