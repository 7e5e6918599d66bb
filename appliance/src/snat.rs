//! The SNAT section: what leaves a guest network with the service carries the router's public address.

use crate::{
    config::{SnatConfig, SnatRule, interface_name},
    router::RouterFold,
};
use ipnet::Ipv4Net;
use switchback_events::{NetworkServiceType, Nic};

/// The section for what is known of a router, or of another place.
pub fn fold(router: &RouterFold) -> SnatConfig {
    let Some(public) = router.nics.iter().find(|nic| nic.is(Nic::PUBLIC)) else { return SnatConfig::default() };
    let mut rules: Vec<SnatRule> = router
        .guests()
        .filter(|(nic, network)| !nic.is(Nic::PUBLIC) && network.services.contains(&NetworkServiceType::SNAT))
        .filter_map(|(nic, _)| {
            let own = nic.ipv4()?;
            let source = Ipv4Net::new(own.ip, own.prefix_length).ok()?.trunc();
            Some(SnatRule { source, interface: interface_name(public), public_ip: public.ipv4()?.ip })
        })
        .collect();
    rules.sort();
    SnatConfig { rules }
}
