//! DHCP: dnsmasq's lines for each network, one file of clients for each network, and the leases that must go.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};
use switchback_appliance::{Dhcp6Network, DhcpConfig, DhcpNetwork};
use switchback_events::{AddressMode, L3NetworkId, Mac};

/// The name of the lease file.
pub const LEASES: &str = "leases";

/// The client that the agent asks as: a group's address, which nobody's nic may have. It is known, so that it is
/// answered, and no address is for it, so that it never has a lease.
pub const PROBE: Mac = Mac([0x03, 0x73, 0x77, 0x62, 0x00, 0x01]);
/// The file with what that client alone is told.
pub const PROBE_FILE: &str = "probe";
/// Its option: one of those that are left to each site (RFC 3942).
pub const PROBE_OPTION: u8 = 224;

/// What the names of the files of clients begin with.
pub const HOSTS_PREFIX: &str = "hosts-";

/// A lease as dnsmasq keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Whose; of IPv6 only where the client's identifier tells.
    pub mac: Option<Mac>,
    /// Which address.
    pub ip: IpAddr,
    /// The line of the file.
    pub line: String,
}

/// The lines of the configuration file; files are in `directory`.
pub fn render(config: &DhcpConfig, directory: &Path) -> String {
    let mut text = String::new();
    if config.networks.is_empty() && config.networks6.is_empty() {
        return text;
    }
    let _ = writeln!(text, "dhcp-authoritative\ndhcp-ignore=tag:!known\nquiet-dhcp\nno-ping\ndhcp-lease-max=100000");
    let _ = writeln!(text, "dhcp-leasefile={}", directory.join(LEASES).display());
    for network in &config.networks {
        let tag = tag(network.l3_network);
        let (subnet, mask) = (network.subnet.network(), network.subnet.netmask());
        let _ = writeln!(text, "dhcp-range=set:{tag},{subnet},static,{mask},{}", network.lease_time);
        let _ = writeln!(text, "dhcp-option=tag:{tag},option:router,{}", network.gateway);
        // Without a value none is told; without the line it would be the router.
        let servers: String = network.dns_servers.iter().map(|server| format!(",{server}")).collect();
        let _ = writeln!(text, "dhcp-option=tag:{tag},option:dns-server{servers}");
        if !network.routes.is_empty() {
            let _ = writeln!(text, "dhcp-option=tag:{tag},option:classless-static-route,{}", routes(network));
        }
        if let Some(domain) = &network.domain {
            let _ = writeln!(text, "dhcp-option=tag:{tag},option:domain-name,{domain}");
            let _ = writeln!(text, "domain={domain},{}", network.subnet.trunc());
        }
        let _ = writeln!(text, "dhcp-option=tag:{tag},option:mtu,{}", network.mtu);
    }
    if !config.networks.is_empty() {
        // Not in a file that is read again: dnsmasq 2.90 dies of a tag there that was used before.
        let _ = writeln!(text, "dhcp-host={PROBE},set:switchback");
        let _ = writeln!(text, "dhcp-optsfile={}", directory.join(PROBE_FILE).display());
    }
    if !config.networks6.is_empty() {
        text.push_str("enable-ra\n");
    }
    config.networks6.iter().for_each(|network| render6(&mut text, network));
    for network in with_clients(config) {
        let _ = writeln!(text, "dhcp-hostsfile={}", directory.join(hosts_file(network)).display());
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

/// Seconds between advertisements that nobody asked for, and how long the router counts as one after the last.
const ADVERTISED: (u32, u32) = (600, 1800);

/// The lines for a network of IPv6: what is advertised, and what is answered.
fn render6(text: &mut String, network: &Dhcp6Network) {
    let Dhcp6Network { interface, subnet, mtu, lease_time, .. } = network;
    let servers: String = network.dns_servers.iter().map(|server| format!(",[{server}]")).collect();
    let tag = tag(network.l3_network);
    let (prefix, length) = (subnet.network(), subnet.prefix_len());
    let mode = match network.mode {
        AddressMode::Slaac => "ra-only",
        AddressMode::Stateless => "ra-stateless",
        AddressMode::Stateful => "static",
    };
    let _ = writeln!(text, "dhcp-range=set:{tag},{prefix},{mode},{length},{lease_time}");
    let (every, lifetime) = ADVERTISED;
    let lifetime = if network.gateway { lifetime } else { 0 };
    let _ = writeln!(text, "ra-param={interface},mtu:{mtu},{every},{lifetime}");
    let _ = writeln!(text, "dhcp-option=tag:{tag},option6:dns-server{servers}");
    if let Some(domain) = &network.domain {
        let _ = writeln!(text, "dhcp-option=tag:{tag},option6:domain-search,{domain}");
        let _ = writeln!(text, "domain={domain},{prefix}/{length}");
    }
}

fn tag(network: L3NetworkId) -> String {
    format!("n{}", network.0.tail())
}

/// The networks that have clients, of either family, each once.
fn with_clients(config: &DhcpConfig) -> BTreeSet<L3NetworkId> {
    let asked = config.networks6.iter().filter(|network| network.mode != AddressMode::Slaac);
    config.networks.iter().map(|network| network.l3_network).chain(asked.map(|network| network.l3_network)).collect()
}

fn hosts_file(network: L3NetworkId) -> String {
    format!("{HOSTS_PREFIX}{network}")
}

/// The files of clients, by name: one for each network, also where it has no clients.
pub fn files(config: &DhcpConfig) -> BTreeMap<String, String> {
    let mut files: BTreeMap<String, String> =
        with_clients(config).into_iter().map(|network| (hosts_file(network), String::new())).collect();
    for host in &config.hosts {
        if let Some(text) = files.get_mut(&hosts_file(host.l3_network)) {
            // One line for both families: of two, dnsmasq takes the first that has the MAC.
            let ip = host.ip.map(|ip| format!("{ip},")).unwrap_or_default();
            let ip6 = host.ip6.map(|ip| format!("[{ip}],")).unwrap_or_default();
            let _ = writeln!(text, "{},{ip}{ip6}{}", host.mac, host.hostname);
        }
    }
    files
}

/// The file that tells the agent, and no other client, which files dnsmasq serves.
pub fn probe(told: &str) -> String {
    format!("tag:switchback,{PROBE_OPTION},\"{told}\"\n")
}

/// The leases in the text of a lease file. Lines of another kind are left out.
pub fn leases(text: &str) -> Vec<Lease> {
    let lease = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, whose, ip, _, identifier] = fields[..] else { return None };
        let ip: IpAddr = ip.parse().ok()?;
        let mac = if ip.is_ipv4() { Some(whose.parse().ok()?) } else { mac_of(identifier) };
        Some(Lease { mac, ip, line: line.to_string() })
    };
    text.lines().filter_map(lease).collect()
}

/// The hardware address at the end of a DHCPv6 client's identifier, where it is made of one (DUID-LLT, DUID-LL).
fn mac_of(identifier: &str) -> Option<Mac> {
    let of_mac = (identifier.starts_with("00:01:00:01:") && identifier.len() == 41)
        || (identifier.starts_with("00:03:00:01:") && identifier.len() == 29);
    identifier.get(identifier.len().checked_sub(17)?..)?.parse().ok().filter(|_| of_mac)
}

/// The leases of clients that are no longer there: while they last, the name server would answer for them, and who has
/// the address next would not get it.
pub fn stale(config: &DhcpConfig, leases: Vec<Lease>) -> Vec<Lease> {
    let mut known: BTreeMap<IpAddr, Mac> = BTreeMap::new();
    for host in &config.hosts {
        known.extend(host.ip.map(|ip| (ip.into(), host.mac)));
        known.extend(host.ip6.map(|ip| (ip.into(), host.mac)));
    }
    let is_known = |lease: &Lease| known.get(&lease.ip).is_some_and(|mac| lease.mac.is_none_or(|own| own == *mac));
    leases.into_iter().filter(|lease| !is_known(lease)).collect()
}

/// The text of a lease file without its stale leases.
pub fn prune(config: &DhcpConfig, text: &str) -> String {
    let stale: BTreeSet<String> = stale(config, leases(text)).into_iter().map(|lease| lease.line).collect();
    text.lines().filter(|line| !stale.contains(*line)).map(|line| format!("{line}\n")).collect()
}

/// The network that an IPv4 address is on.
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
            networks6: vec![],
            hosts: vec![DhcpHost {
                ip: Some("10.0.1.11".parse().unwrap()),
                ip6: None,
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
dhcp-host=03:73:77:62:00:01,set:switchback
dhcp-optsfile=/d/probe
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

    fn dual(mode: AddressMode) -> DhcpConfig {
        let mut config = config();
        config.networks6 = vec![Dhcp6Network {
            interface: "eth1".to_string(),
            l3_network: config.networks[0].l3_network,
            subnet: "fd00:1::/64".parse().unwrap(),
            mode,
            gateway: mode != AddressMode::Stateless,
            dns_servers: vec!["fd00:1::1".parse().unwrap()],
            domain: Some("vpc.local".to_string()),
            mtu: 1450,
            lease_time: 3600,
        }];
        config.hosts[0].ip6 = Some("fd00:1::11".parse().unwrap());
        config
    }

    #[test]
    fn an_ipv6_network_is_advertised_by_its_mode() {
        let (id, tail) = (Id::of_name("n"), Id::of_name("n").tail());
        for (mode, word, lifetime) in [
            (AddressMode::Slaac, "ra-only", 1800),
            (AddressMode::Stateless, "ra-stateless", 0),
            (AddressMode::Stateful, "static", 1800),
        ] {
            let config = dual(mode);
            let text = render(&config, Path::new("/d"));
            let expected = format!(
                "enable-ra
dhcp-range=set:n{tail},fd00:1::,{word},64,3600
ra-param=eth1,mtu:1450,600,{lifetime}
dhcp-option=tag:n{tail},option6:dns-server,[fd00:1::1]
dhcp-option=tag:n{tail},option6:domain-search,vpc.local
domain=vpc.local,fd00:1::/64
dhcp-hostsfile=/d/hosts-{id}
"
            );
            assert!(text.ends_with(&expected), "{text}");
            assert_eq!(files(&config)[&format!("hosts-{id}")], "fa:00:00:00:01:00,10.0.1.11,[fd00:1::11],vm1\n");
        }
        let mut silent = dual(AddressMode::Stateful);
        silent.networks[0].dns_servers.clear();
        silent.networks6[0].dns_servers.clear();
        let text = render(&silent, Path::new("/d"));
        for option in ["option:dns-server", "option6:dns-server"] {
            assert!(text.contains(&format!("dhcp-option=tag:n{tail},{option}\n")), "{text}");
        }
        let mut only6 = dual(AddressMode::Stateful);
        only6.networks.clear();
        only6.hosts[0].ip = None;
        assert!(render(&only6, Path::new("/d")).starts_with("dhcp-authoritative\n"));
        assert_eq!(files(&only6)[&format!("hosts-{id}")], "fa:00:00:00:01:00,[fd00:1::11],vm1\n");
        only6.networks6[0].mode = AddressMode::Slaac;
        assert!(files(&only6).is_empty(), "nobody asks");
    }

    #[test]
    fn a_lease_of_ipv6_belongs_to_who_can_be_seen_in_its_identifier() {
        let lease = |ip: &str, identifier: &str| format!("1700000000 1234 {ip} vm1 {identifier}\n");
        let own = lease("fd00:1::11", "00:03:00:01:fa:00:00:00:01:00");
        let timed = lease("fd00:1::11", "00:01:00:01:2f:00:00:00:fa:00:00:00:01:00");
        let unknown = lease("fd00:1::11", "00:04:11:22");
        let other = lease("fd00:1::11", "00:03:00:01:fa:00:00:00:09:00");
        let gone = lease("fd00:1::12", "00:04:11:22");
        let text = format!("duid 00:01\n{own}{timed}{unknown}{other}{gone}");
        let config = dual(AddressMode::Stateful);
        assert_eq!(leases(&text).len(), 5);
        assert_eq!(prune(&config, &text), format!("duid 00:01\n{own}{timed}{unknown}"));
    }
}
