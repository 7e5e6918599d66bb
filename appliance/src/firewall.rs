//! The firewall section, after the rules listing of the reference: all that is not named is refused. The agent's
//! port is open on the management network, DHCP and DNS on guest networks, and only a guest network with SNAT may
//! open connections to the public network: of IPv4 with the router's address, of IPv6 with its own.

use crate::{
    config::{FirewallConfig, ForwardRule, InputRule, Protocol, interface_name},
    metadata::METADATA_PORT,
    router::RouterFold,
};
use switchback_events::{NetworkServiceType, Nic};

/// TCP port of a router's agent, as in ZStack.
pub const AGENT_PORT: u16 = 7272;

pub(crate) fn fold(router: &RouterFold) -> FirewallConfig {
    let mut config = FirewallConfig::default();
    let mut open = |interface: String, protocol, port| config.input.push(InputRule { interface, protocol, port });
    for nic in router.nics.iter().filter(|nic| nic.is(Nic::MANAGEMENT)) {
        open(interface_name(nic), Protocol::Tcp, AGENT_PORT);
    }
    for (nic, network) in router.guests() {
        open(interface_name(nic), Protocol::Tcp, 53);
        open(interface_name(nic), Protocol::Udp, 53);
        if network.services.contains(&NetworkServiceType::DHCP) {
            if nic.ipv4().is_some() {
                open(interface_name(nic), Protocol::Udp, 67);
                open(interface_name(nic), Protocol::Tcp, METADATA_PORT);
            }
            if nic.ipv6().is_some() {
                open(interface_name(nic), Protocol::Udp, 547);
            }
        }
    }
    config.input.sort();
    if let Some(public) = router.nics.iter().find(|nic| nic.is(Nic::PUBLIC)) {
        config.forward = router
            .guests()
            .filter(|(nic, network)| !nic.is(Nic::PUBLIC) && network.services.contains(&NetworkServiceType::SNAT))
            .map(|(nic, _)| ForwardRule { from: interface_name(nic), to: interface_name(public) })
            .collect();
        config.forward.sort();
    }
    config
}
