//! The ports of VIPs that a router forwards to the nics of VMs that run.

use crate::{
    config::{PortForwardingConfig, PortForwardingRule, Protocol},
    router::RouterFold,
    vip,
};
use switchback_events::{NetworkServiceType, PortForwardingRuleId, PortProtocol};

/// The section for what is known of a router.
pub fn fold(router: &RouterFold) -> PortForwardingConfig {
    let mut rules: Vec<PortForwardingRule> = router.rules.keys().filter_map(|id| of(router, *id)).collect();
    rules.sort();
    PortForwardingConfig { rules }
}

/// One of them, where the router gives it.
pub(crate) fn of(router: &RouterFold, id: PortForwardingRuleId) -> Option<PortForwardingRule> {
    let (served, ports) = router.rules.get(&id)?;
    let way = vip::way(router, NetworkServiceType::PortForwarding, served)?;
    Some(PortForwardingRule {
        rule: id,
        vip_address: way.vip_address,
        public_interface: way.public_interface,
        protocol: match ports.protocol {
            PortProtocol::TCP => Protocol::Tcp,
            PortProtocol::UDP => Protocol::Udp,
        },
        vip_port_start: ports.vip_start,
        vip_port_end: ports.vip_end,
        guest_address: way.guest_address,
        guest_interface: way.guest_interface,
        private_port_start: ports.private_start,
        private_port_end: ports.private_end,
        allowed_cidr: ports.allowed_cidr.map(|cidr| cidr.trunc()),
        snat_inbound_traffic: router.snat_inbound.port_forwarding,
    })
}
