//! The DHCP section: on each guest network with the service, every VM that runs gets its fixed address.

use crate::{
    config::{DhcpConfig, DhcpHost, DhcpNetwork, interface_name},
    router::{Network, RouterFold},
};
use ipnet::Ipv4Net;
use std::net::{IpAddr, Ipv4Addr};
use switchback_events::NetworkServiceType;

/// Seconds.
pub const LEASE_TIME: u32 = 3600;

/// The section for what is known of a router, or of another place.
pub fn fold(router: &RouterFold) -> DhcpConfig {
    let mut config = DhcpConfig::default();
    for (nic, network) in router.guests() {
        if !network.services.contains(&NetworkServiceType::DHCP) {
            continue;
        }
        let Some(own) = nic.ipv4() else { continue };
        let Ok(subnet) = Ipv4Net::new(own.ip, own.prefix_length) else { continue };
        config.networks.push(DhcpNetwork {
            interface: interface_name(nic),
            l3_network: nic.l3_network,
            subnet: subnet.trunc(),
            gateway: own.gateway,
            server: own.ip,
            dns_servers: name_servers(network, own.ip),
            routes: network.routes.clone(),
            domain: network.domain.clone(),
            mtu: network.mtu(),
            lease_time: LEASE_TIME,
        });
        config.hosts.extend(router.served(nic.l3_network).into_iter().filter_map(|(hostname, client)| {
            Some(DhcpHost { ip: client.ipv4()?.ip, mac: client.mac, hostname, l3_network: client.l3_network })
        }));
    }
    config.hosts.sort();
    config
}

/// Whom clients ask for names: the router, where it gives DNS, else the network's own name servers. Where there are
/// none it is the router still, for the names of the VMs.
fn name_servers(network: &Network, router: Ipv4Addr) -> Vec<Ipv4Addr> {
    let own = network.dns.iter().filter_map(|server| match server {
        IpAddr::V4(server) => Some(*server),
        IpAddr::V6(_) => None,
    });
    let servers: Vec<Ipv4Addr> = own.filter(|_| !network.services.contains(&NetworkServiceType::DNS)).collect();
    if servers.is_empty() { vec![router] } else { servers }
}
