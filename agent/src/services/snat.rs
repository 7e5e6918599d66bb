//! Source NAT: for each way out a map from guest subnet to public address, and one rule that looks it up.

use super::nftables::{NftSet, Part, nobody, subnet};
use std::{collections::BTreeMap, fmt::Write};
use switchback_appliance::SnatConfig;

/// The chain of this service.
pub const CHAIN: &str = "postrouting";
/// What the names of its maps begin with.
pub const MAP_PREFIX: &str = "snat_";

/// Its part of the router's table.
pub fn render(config: &SnatConfig) -> Part {
    let mut maps: BTreeMap<&str, NftSet> = BTreeMap::new();
    for rule in &config.rules {
        let name = || format!("{MAP_PREFIX}{}", of_interface(&rule.interface));
        let map = maps
            .entry(&rule.interface)
            .or_insert_with(|| NftSet::map(&name(), "type ipv4_addr : ipv4_addr; flags interval;"));
        map.add(subnet(rule.source), Some(rule.public_ip.to_string()), &nobody());
    }
    let mut chains = format!("  chain {CHAIN} {{\n    type nat hook postrouting priority srcnat; policy accept;\n");
    for (interface, map) in &maps {
        let _ = writeln!(chains, "    oifname \"{interface}\" snat ip to ip saddr map @{}", map.name);
    }
    chains.push_str("  }\n");
    Part { section: "snat", sets: maps.into_values().collect(), chains }
}

/// Names of maps do not take every character that names of interfaces do.
pub fn of_interface(name: &str) -> String {
    name.replace(['.', '-'], "_")
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
        assert_eq!(render(&config).text(), expected);
        assert!(render(&SnatConfig::default()).text().starts_with("  chain postrouting"));
    }
}
