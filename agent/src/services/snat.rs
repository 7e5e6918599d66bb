//! Source NAT: for each way out a map from guest subnet to public address, and one rule that looks it up.

use std::{collections::BTreeMap, fmt::Write};
use switchback_appliance::SnatConfig;

/// The chain of this service.
pub const CHAIN: &str = "postrouting";
/// What the names of its maps begin with.
pub const MAP_PREFIX: &str = "snat_";

/// Its part of the router's table.
pub fn render(config: &SnatConfig) -> String {
    let mut by_interface: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for rule in &config.rules {
        by_interface.entry(&rule.interface).or_default().push(format!("{} : {}", rule.source, rule.public_ip));
    }
    let mut maps = String::new();
    let mut chain = format!("  chain {CHAIN} {{\n    type nat hook postrouting priority srcnat; policy accept;\n");
    for (interface, elements) in by_interface {
        // Names of maps do not take every character that names of interfaces do.
        let map = format!("{MAP_PREFIX}{}", interface.replace(['.', '-'], "_"));
        let _ = write!(maps, "  map {map} {{\n    type ipv4_addr : ipv4_addr; flags interval;\n");
        let _ = write!(maps, "    elements = {{ {} }}\n  }}\n", elements.join(", "));
        let _ = writeln!(chain, "    oifname \"{interface}\" snat ip to ip saddr map @{map}");
    }
    maps + &chain + "  }\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchback_appliance::SnatRule;

    #[test]
    fn one_map_for_each_way_out() {
        let rule = |source: &str| SnatRule {
            source: source.parse().unwrap(),
            interface: "eth0".to_string(),
            public_ip: "203.0.113.1".parse().unwrap(),
        };
        let config = SnatConfig { rules: vec![rule("10.0.1.0/24"), rule("10.0.2.0/24")] };
        let expected = "  map snat_eth0 {
    type ipv4_addr : ipv4_addr; flags interval;
    elements = { 10.0.1.0/24 : 203.0.113.1, 10.0.2.0/24 : 203.0.113.1 }
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    oifname \"eth0\" snat ip to ip saddr map @snat_eth0
  }
";
        assert_eq!(render(&config), expected);
        assert!(render(&SnatConfig::default()).starts_with("  chain postrouting"));
    }
}
