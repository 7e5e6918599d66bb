//! The DHCP section: on each guest network with the service, every VM that runs gets its fixed address.

use crate::{
    config::{DhcpConfig, DhcpHost, DhcpNetwork, interface_name},
    interfaces::DEFAULT_MTU,
    router::RouterFold,
};
use ipnet::Ipv4Net;
use switchback_events::NetworkServiceType;

/// Seconds.
pub const LEASE_TIME: u32 = 3600;

pub(crate) fn fold(router: &RouterFold) -> DhcpConfig {
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
            dns_server: own.ip,
            domain: network.domain.clone(),
            mtu: DEFAULT_MTU,
            lease_time: LEASE_TIME,
        });
        config.hosts.extend(router.served(nic.l3_network).into_iter().filter_map(|(hostname, client)| {
            Some(DhcpHost { ip: client.ipv4()?.ip, mac: client.mac, hostname, l3_network: client.l3_network })
        }));
    }
    config.hosts.sort();
    config
}
