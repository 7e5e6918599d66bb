//! The DNS section. The router is always the name server of its guest networks; with the DNS service the networks'
//! own name servers are its upstreams, without it only the VMs' names are answered.

use crate::{
    config::{DnsConfig, DnsName, interface_name},
    router::RouterFold,
};
use switchback_events::NetworkServiceType;

/// The section for what is known of a router, or of another place.
pub fn fold(router: &RouterFold) -> DnsConfig {
    let mut config = DnsConfig::default();
    for (nic, network) in router.guests() {
        config.interfaces.push(interface_name(nic));
        config.names.extend(router.served(nic.l3_network).into_iter().filter_map(|(hostname, client)| {
            Some(DnsName { ip: client.ipv4()?.ip, hostname, domain: network.domain.clone() })
        }));
        if network.services.contains(&NetworkServiceType::DNS) {
            for server in &network.dns {
                if !config.upstreams.contains(server) {
                    config.upstreams.push(*server);
                }
            }
        }
    }
    config.names.sort();
    config
}
