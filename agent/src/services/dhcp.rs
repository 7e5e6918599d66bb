//! DHCP: dnsmasq's lines for each network, one file of clients for each network, and the leases that must go.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    net::Ipv4Addr,
    path::Path,
};
use switchback_appliance::{DhcpConfig, DhcpNetwork};
use switchback_events::{L3NetworkId, Mac};

/// The name of the lease file.
pub const LEASES: &str = "leases";

/// What the names of the files of clients begin with.
pub const HOSTS_PREFIX: &str = "hosts-";

/// A lease as dnsmasq keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Whose.
    pub mac: Mac,
    /// Which address.
    pub ip: Ipv4Addr,
    /// The line of the file.
    pub line: String,
}

/// The lines of the configuration file; files are in `directory`.
pub fn render(config: &DhcpConfig, directory: &Path) -> String {
    let mut text = String::new();
    if config.networks.is_empty() {
        return text;
    }
    let _ = writeln!(text, "dhcp-authoritative\ndhcp-ignore=tag:!known\nquiet-dhcp\nno-ping\ndhcp-lease-max=100000");
    let _ = writeln!(text, "dhcp-leasefile={}", directory.join(LEASES).display());
    for network in &config.networks {
        let tag = tag(network);
        let (subnet, mask) = (network.subnet.network(), network.subnet.netmask());
        let _ = writeln!(text, "dhcp-range=set:{tag},{subnet},static,{mask},{}", network.lease_time);
        let _ = writeln!(text, "dhcp-option=tag:{tag},option:router,{}", network.gateway);
        let servers: Vec<String> = network.dns_servers.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "dhcp-option=tag:{tag},option:dns-server,{}", servers.join(","));
        if !network.routes.is_empty() {
            let _ = writeln!(text, "dhcp-option=tag:{tag},option:classless-static-route,{}", routes(network));
        }
        if let Some(domain) = &network.domain {
            let _ = writeln!(text, "dhcp-option=tag:{tag},option:domain-name,{domain}");
            let _ = writeln!(text, "domain={domain},{}", network.subnet.trunc());
        }
        let _ = writeln!(text, "dhcp-option=tag:{tag},option:mtu,{}", network.mtu);
        let _ = writeln!(text, "dhcp-hostsfile={}", directory.join(hosts_file(network.l3_network)).display());
    }
    text
}

/// The routes with the default route among them: a client that takes this option passes over the one for the router
/// (RFC 3442).
fn routes(network: &DhcpNetwork) -> String {
    let mut ways: Vec<String> =
        network.routes.iter().map(|route| format!("{},{}", route.prefix, route.nexthop)).collect();
    if !network.routes.iter().any(|route| route.prefix.prefix_len() == 0) {
        ways.push(format!("0.0.0.0/0,{}", network.gateway));
    }
    ways.join(",")
}

fn tag(network: &DhcpNetwork) -> String {
    format!("n{}", network.l3_network.0.tail())
}

fn hosts_file(network: L3NetworkId) -> String {
    format!("{HOSTS_PREFIX}{network}")
}

/// The files of clients, by name: one for each network, also where it has no clients.
pub fn files(config: &DhcpConfig) -> BTreeMap<String, String> {
    let mut files: BTreeMap<String, String> =
        config.networks.iter().map(|network| (hosts_file(network.l3_network), String::new())).collect();
    for host in &config.hosts {
        if let Some(text) = files.get_mut(&hosts_file(host.l3_network)) {
            let _ = writeln!(text, "{},{},{}", host.mac, host.ip, host.hostname);
        }
    }
    files
}

/// The leases in the text of a lease file. Lines of another kind are left out.
pub fn leases(text: &str) -> Vec<Lease> {
    let lease = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        let (mac, ip) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Lease { mac, ip, line: line.to_string() })
    };
    text.lines().filter_map(lease).collect()
}

/// The leases of clients that are no longer there: while they last, the name server would answer for them.
pub fn stale(config: &DhcpConfig, leases: Vec<Lease>) -> Vec<Lease> {
    let known: BTreeSet<(Mac, Ipv4Addr)> = config.hosts.iter().map(|host| (host.mac, host.ip)).collect();
    leases.into_iter().filter(|lease| !known.contains(&(lease.mac, lease.ip))).collect()
}

/// The text of a lease file without its stale leases.
pub fn prune(config: &DhcpConfig, text: &str) -> String {
    let stale: BTreeSet<String> = stale(config, leases(text)).into_iter().map(|lease| lease.line).collect();
    text.lines().filter(|line| !stale.contains(*line)).map(|line| format!("{line}\n")).collect()
}

/// The network that an address is on.
pub fn network_of(config: &DhcpConfig, ip: Ipv4Addr) -> Option<&DhcpNetwork> {
    config.networks.iter().find(|network| network.subnet.contains(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchback_appliance::{DhcpHost, HostRoute};
    use switchback_events::Id;

    fn config() -> DhcpConfig {
        let l3_network = L3NetworkId(Id::of_name("n"));
        DhcpConfig {
            networks: vec![DhcpNetwork {
                interface: "eth1".to_string(),
                l3_network,
                subnet: "10.0.1.0/24".parse().unwrap(),
                gateway: "10.0.1.1".parse().unwrap(),
                server: "10.0.1.1".parse().unwrap(),
                dns_servers: vec!["10.0.1.1".parse().unwrap(), "9.9.9.9".parse().unwrap()],
                routes: vec![HostRoute {
                    prefix: "10.9.0.0/16".parse().unwrap(),
                    nexthop: "10.0.1.254".parse().unwrap(),
                }],
                domain: Some("vpc.local".to_string()),
                mtu: 1450,
                lease_time: 3600,
            }],
            hosts: vec![DhcpHost {
                ip: "10.0.1.11".parse().unwrap(),
                mac: "fa:00:00:00:01:00".parse().unwrap(),
                hostname: "vm1".to_string(),
                l3_network,
            }],
        }
    }

    #[test]
    fn a_network_is_a_static_range_with_its_options() {
        let id = Id::of_name("n");
        let expected = format!(
            "dhcp-authoritative
dhcp-ignore=tag:!known
quiet-dhcp
no-ping
dhcp-lease-max=100000
dhcp-leasefile=/d/leases
dhcp-range=set:n{tail},10.0.1.0,static,255.255.255.0,3600
dhcp-option=tag:n{tail},option:router,10.0.1.1
dhcp-option=tag:n{tail},option:dns-server,10.0.1.1,9.9.9.9
dhcp-option=tag:n{tail},option:classless-static-route,10.9.0.0/16,10.0.1.254,0.0.0.0/0,10.0.1.1
dhcp-option=tag:n{tail},option:domain-name,vpc.local
domain=vpc.local,10.0.1.0/24
dhcp-option=tag:n{tail},option:mtu,1450
dhcp-hostsfile=/d/hosts-{id}
",
            tail = id.tail()
        );
        assert_eq!(render(&config(), Path::new("/d")), expected);
        let files = files(&config());
        assert_eq!(files[&format!("hosts-{id}")], "fa:00:00:00:01:00,10.0.1.11,vm1\n");
    }

    #[test]
    fn only_leases_of_known_clients_stay() {
        let text = "1700000000 fa:00:00:00:01:00 10.0.1.11 vm1 01:fa\n1700000000 fa:00:00:00:02:00 10.0.1.12 vm2 *\nduid 00:01\n";
        let stale = stale(&config(), leases(text));
        assert_eq!(stale.len(), 1);
        assert_eq!(stale[0].ip, Ipv4Addr::new(10, 0, 1, 12));
        assert_eq!(prune(&config(), text), "1700000000 fa:00:00:00:01:00 10.0.1.11 vm1 01:fa\nduid 00:01\n");
    }
}
