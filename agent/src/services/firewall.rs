//! What may enter the router and pass through it: everything else is refused, from the first moment on.

use super::udp_balancer::Pieces;
use std::{collections::BTreeSet, fmt::Write, net::SocketAddr};
use switchback_appliance::{FirewallConfig, InterfacesConfig, Protocol};
use switchback_events::Nic;

/// Its part of the router's table. The agent's own port stays open on the interface that it listens on, so
/// that no document can lock the server out. `balanced` are the rules for what load balancers listen for.
pub fn render(
    config: &FirewallConfig,
    interfaces: &InterfacesConfig,
    listen: Option<SocketAddr>,
    balanced: &Pieces,
) -> String {
    let mut open: BTreeSet<String> = BTreeSet::new();
    for rule in &config.input {
        let protocol = match rule.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        open.insert(format!("\"{}\" . {protocol} . {}", rule.interface, rule.port));
    }
    if let Some(listen) = listen
        && let Some(nic) = interfaces.nics.iter().find(|nic| nic.addresses.iter().any(|net| net.addr() == listen.ip()))
    {
        open.insert(format!("\"{}\" . tcp . {}", nic.name, listen.port()));
    }
    let passages: BTreeSet<String> =
        config.forward.iter().map(|rule| format!("\"{}\" . \"{}\"", rule.from, rule.to)).collect();
    let mut text = String::new();
    set(&mut text, "open", "ifname . inet_proto . inet_service", &open);
    set(&mut text, "passages", "ifname . ifname", &passages);
    text.push_str(
        "  chain input {
    type filter hook input priority filter; policy drop;
    ct state vmap { established : accept, related : accept, invalid : drop }
    iifname \"lo\" accept
    meta l4proto { icmp, ipv6-icmp } accept
    iifname . meta l4proto . th dport @open accept
",
    );
    text.push_str(&balanced.input);
    text.push_str(
        "    reject with icmpx admin-prohibited
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state vmap { established : accept, related : accept, invalid : drop }
",
    );
    let guests =
        interfaces.nics.iter().filter(|nic| nic.is(Nic::GUEST) && !nic.is(Nic::PUBLIC) && nic.ipv6().is_some());
    let guests: Vec<String> = guests.map(|nic| format!("\"{}\"", nic.name)).collect();
    if !guests.is_empty() {
        // What `rp_filter` does for IPv4.
        let guests = guests.join(", ");
        let _ = writeln!(text, "    iifname {{ {guests} }} meta nfproto ipv6 fib saddr . iif oif missing drop");
    }
    text.push_str(&balanced.forward);
    text.push_str("    iifname . oifname @passages ct state new accept\n  }\n");
    text
}

fn set(text: &mut String, name: &str, kind: &str, elements: &BTreeSet<String>) {
    let _ = write!(text, "  set {name} {{\n    type {kind};\n");
    if !elements.is_empty() {
        let elements: Vec<&str> = elements.iter().map(String::as_str).collect();
        let _ = writeln!(text, "    elements = {{ {} }}", elements.join(", "));
    }
    text.push_str("  }\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchback_appliance::{ForwardRule, InputRule};

    #[test]
    fn ports_and_passages_are_sets_and_all_else_is_refused() {
        let config = FirewallConfig {
            input: vec![InputRule { interface: "eth1".to_string(), protocol: Protocol::Udp, port: 53 }],
            forward: vec![ForwardRule { from: "eth1".to_string(), to: "eth0".to_string() }],
        };
        let text = render(&config, &InterfacesConfig::default(), None, &Pieces::default());
        assert!(text.starts_with("  set open {\n    type ifname . inet_proto . inet_service;\n    elements = { \"eth1\" . udp . 53 }\n  }\n  set passages {\n    type ifname . ifname;\n    elements = { \"eth1\" . \"eth0\" }\n  }\n"));
        assert_eq!(text.matches("policy drop;").count(), 2);
        assert!(text.contains("reject with icmpx admin-prohibited"));
        let closed = render(&FirewallConfig::default(), &InterfacesConfig::default(), None, &Pieces::default());
        assert!(!closed.contains("elements"));
    }
}
