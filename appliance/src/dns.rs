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
        for (hostname, client) in router.served(nic.l3_network) {
            let name = |ip| DnsName { ip, hostname: hostname.clone(), domain: network.domain.clone() };
            config.names.extend(client.addresses.iter().map(|own| name(own.ip)));
        }
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
