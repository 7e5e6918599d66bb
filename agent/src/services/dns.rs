//! DNS: dnsmasq's lines, and the file of names. A name is answered alone and with its domain, and back.

use std::{collections::BTreeSet, fmt::Write, path::Path};
use switchback_appliance::{DhcpConfig, DnsConfig};

/// The name of the file of names.
pub const NAMES: &str = "names";

/// The lines of the configuration file; files are in `directory`. The domains of the DHCP networks are
/// local too: nobody outside knows them.
pub fn render(config: &DnsConfig, dhcp: &DhcpConfig, directory: &Path) -> String {
    let mut text = String::from("domain-needed\nbogus-priv\nno-hosts\nno-resolv\ncache-size=1000\n");
    let _ = writeln!(text, "addn-hosts={}", directory.join(NAMES).display());
    let of_names = config.names.iter().filter_map(|name| name.domain.as_deref());
    let of_networks = dhcp.networks.iter().filter_map(|network| network.domain.as_deref());
    let of_networks6 = dhcp.networks6.iter().filter_map(|network| network.domain.as_deref());
    let domains: BTreeSet<&str> = of_names.chain(of_networks).chain(of_networks6).collect();
    for domain in domains {
        let _ = writeln!(text, "local=/{domain}/");
    }
    for upstream in &config.upstreams {
        let _ = writeln!(text, "server={upstream}");
    }
    text
}

/// The file of names. The first name of a line is the one that the address is resolved back to.
pub fn names(config: &DnsConfig) -> String {
    let mut text = String::new();
    for name in &config.names {
        let _ = match &name.domain {
            Some(domain) => writeln!(text, "{} {}.{domain} {}", name.ip, name.hostname, name.hostname),
            None => writeln!(text, "{} {}", name.ip, name.hostname),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchback_appliance::DnsName;

    #[test]
    fn names_are_answered_with_and_without_their_domain() {
        let name = |host: &str, domain: Option<&str>| DnsName {
            ip: "10.0.1.11".parse().unwrap(),
            hostname: host.to_string(),
            domain: domain.map(str::to_string),
        };
        let config = DnsConfig {
            interfaces: vec!["eth1".to_string()],
            names: vec![name("vm1", Some("vpc.local")), name("vm2", None)],
            upstreams: vec!["192.0.2.53".parse().unwrap()],
        };
        assert_eq!(names(&config), "10.0.1.11 vm1.vpc.local vm1\n10.0.1.11 vm2\n");
        assert_eq!(
            render(&config, &DhcpConfig::default(), Path::new("/d")),
            "domain-needed\nbogus-priv\nno-hosts\nno-resolv\ncache-size=1000\naddn-hosts=/d/names\n\
             local=/vpc.local/\nserver=192.0.2.53\n"
        );
    }
}
