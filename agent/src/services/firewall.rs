//! What may enter the router and pass through it: everything else is refused, from the first moment on.
//!
//! **Invariant:** the last rule of a chain refuses; no packet comes to the chain's policy. While a table is replaced the
//! kernel has both chains for a moment: the old one without its rules, which must let pass what the new one lets pass, and
//! the new one with its rules and not yet its policy, which must not be needed.
//!
//! **Invariant:** no rule looks anything up in a map that is written in the rule itself. Its elements go at the moment that
//! the next rules become valid, and a packet that was among the old ones finds nothing in it. Sets in rules keep theirs.

use super::{
    nftables::{NftSet, Part, nobody},
    udp_balancer::Pieces,
};
use std::{fmt::Write, net::SocketAddr};
use switchback_appliance::{Protocol, Sections};
use switchback_events::Nic;

/// Its part of the router's table. The agent's own port stays open on the interface that it listens on, so
/// that no document can lock the server out. `balanced` are the rules for what load balancers listen for.
pub fn render(sections: &Sections, listen: Option<SocketAddr>, balanced: &Pieces) -> Part {
    let (config, interfaces) = (&sections.firewall, &sections.interfaces);
    let mut open = NftSet { names: 1, ..NftSet::set("open", "type ifname . inet_proto . inet_service;") };
    for rule in &config.input {
        let protocol = protocol(rule.protocol);
        open.add(format!("{} . {protocol} . {}", rule.interface, rule.port), None, &nobody());
    }
    if let Some(listen) = listen
        && let Some(nic) = interfaces.nics.iter().find(|nic| nic.addresses.iter().any(|net| net.addr() == listen.ip()))
    {
        open.add(format!("{} . tcp . {}", nic.name, listen.port()), None, &nobody());
    }
    let mut passages = NftSet { names: 2, ..NftSet::set("passages", "type ifname . ifname;") };
    for rule in &config.forward {
        passages.add(format!("{} . {}", rule.from, rule.to), None, &nobody());
    }
    let mut chains = "  chain input {
    type filter hook input priority filter; policy accept;
    ct state established,related accept
    ct state invalid drop
    iifname \"lo\" accept
    meta l4proto { icmp, ipv6-icmp } accept
    iifname . meta l4proto . th dport @open accept
"
    .to_string();
    chains.push_str(&balanced.input);
    chains.push_str(
        "    reject with icmpx admin-prohibited
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    ct state established,related accept
    ct state invalid drop
",
    );
    let guests =
        interfaces.nics.iter().filter(|nic| nic.is(Nic::GUEST) && !nic.is(Nic::PUBLIC) && nic.ipv6().is_some());
    let guests: Vec<String> = guests.map(|nic| format!("\"{}\"", nic.name)).collect();
    if !guests.is_empty() {
        // What `rp_filter` does for IPv4.
        let guests = guests.join(", ");
        let _ = writeln!(chains, "    iifname {{ {guests} }} meta nfproto ipv6 fib saddr . iif oif missing drop");
    }
    chains.push_str(&balanced.forward);
    chains.push_str("    iifname . oifname @passages ct state new accept\n");
    if !sections.eips.is_empty() {
        let _ = writeln!(chains, "    iifname . oifname . ip saddr @{} ct state new accept", super::eip::PASSAGES);
    }
    if !sections.eips.is_empty() || !sections.port_forwarding.is_empty() {
        // Only what an EIP or a rule lets in is translated.
        chains.push_str("    ct status dnat ct state new accept\n");
    }
    chains.push_str("    drop\n  }\n");
    Part { section: "firewall", sets: vec![open, passages], chains }
}

/// As nft reads it.
pub fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchback_appliance::{FirewallConfig, ForwardRule, InputRule};

    #[test]
    fn ports_and_passages_are_sets_and_all_else_is_refused() {
        let config = FirewallConfig {
            input: vec![InputRule { interface: "eth1".to_string(), protocol: Protocol::Udp, port: 53 }],
            forward: vec![ForwardRule { from: "eth1".to_string(), to: "eth0".to_string() }],
        };
        let text = render(&Sections { firewall: config, ..Sections::default() }, None, &Pieces::default()).text();
        assert!(text.starts_with("  set open {\n    type ifname . inet_proto . inet_service;\n    elements = { \"eth1\" . udp . 53 }\n  }\n  set passages {\n    type ifname . ifname;\n    elements = { \"eth1\" . \"eth0\" }\n  }\n"));
        assert!(text.contains("    reject with icmpx admin-prohibited\n  }\n"));
        assert!(text.ends_with("    drop\n  }\n"));
        let closed = render(&Sections::default(), None, &Pieces::default()).text();
        assert!(!closed.contains("elements"));
    }
}
