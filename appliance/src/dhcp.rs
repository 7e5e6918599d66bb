//! The DHCP section: on each guest network with the service, every VM that runs gets its fixed address. Of IPv6 the
//! router says by advertisements whether hosts make or ask for it.

use crate::{
    config::{Dhcp6Network, DhcpConfig, DhcpHost, DhcpNetwork, interface_name},
    router::{Network, RouterFold},
};
use ipnet::{Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use switchback_events::{AddressMode, NetworkServiceType, Nic};

/// Seconds.
pub const LEASE_TIME: u32 = 3600;

/// The section for what is known of a router, or of another place.
pub fn fold(router: &RouterFold) -> DhcpConfig {
    let mut config = DhcpConfig::default();
    for (nic, network) in router.guests() {
        if !network.services.contains(&NetworkServiceType::DHCP) {
            continue;
        }
        if let Some(own) = nic.ipv4()
            && let Ok(subnet) = Ipv4Net::new(own.ip, own.prefix_length)
        {
            config.networks.push(DhcpNetwork {
                interface: interface_name(nic),
                l3_network: nic.l3_network,
                subnet: subnet.trunc(),
                gateway: own.gateway,
                server: own.ip,
                dns_servers: of_ipv4(name_servers(network, nic, own.ip.into())),
                routes: network.routes.clone(),
                domain: network.domain.clone(),
                mtu: network.mtu(),
                lease_time: LEASE_TIME,
            });
        }
        let mode = nic.ipv6().and(network.address_mode);
        if let Some(own) = nic.ipv6()
            && let Some(mode) = mode
            && let Ok(subnet) = Ipv6Net::new(own.ip, own.prefix_length)
        {
            config.networks6.push(Dhcp6Network {
                interface: interface_name(nic),
                l3_network: nic.l3_network,
                subnet: subnet.trunc(),
                mode,
                gateway: network.services.contains(&NetworkServiceType::SNAT),
                dns_servers: of_ipv6(name_servers(network, nic, own.ip.into())),
                domain: network.domain.clone(),
                mtu: network.mtu(),
                lease_time: LEASE_TIME,
            });
        }
        // Who makes its address and asks for nothing else is no client.
        let asks = mode.is_some_and(|mode| mode != AddressMode::Slaac);
        for (hostname, client) in router.served(nic.l3_network) {
            let ip = client.ipv4().filter(|_| nic.ipv4().is_some()).map(|own| own.ip);
            let ip6 = client.ipv6().filter(|_| asks).map(|own| own.ip);
            if ip.is_some() || ip6.is_some() {
                config.hosts.push(DhcpHost { ip, ip6, mac: client.mac, hostname, l3_network: client.l3_network });
            }
        }
    }
    config.hosts.sort();
    config
}

/// Whom clients ask for names: the router, where it gives DNS, else the network's own name servers. Where there are
/// none that they reach it is the router still, for the names of the VMs.
fn name_servers(network: &Network, nic: &Nic, router: IpAddr) -> Vec<IpAddr> {
    let asked = !network.services.contains(&NetworkServiceType::DNS);
    let reached = |server: &IpAddr| nic.addresses.iter().any(|own| own.ip.is_ipv4() == server.is_ipv4());
    let own: Vec<IpAddr> = network.dns.iter().copied().filter(|server| asked && reached(server)).collect();
    // Of one family there may be none: the router would not answer for all that those of the other one know.
    if own.is_empty() { vec![router] } else { own }
}

fn of_ipv4(servers: Vec<IpAddr>) -> Vec<Ipv4Addr> {
    servers.into_iter().filter_map(|server| if let IpAddr::V4(server) = server { Some(server) } else { None }).collect()
}

fn of_ipv6(servers: Vec<IpAddr>) -> Vec<Ipv6Addr> {
    servers.into_iter().filter_map(|server| if let IpAddr::V6(server) = server { Some(server) } else { None }).collect()
}
