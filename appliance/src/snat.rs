//! The SNAT section: what leaves a guest network with the service carries the router's public address.

use crate::{
    config::{SnatConfig, SnatRule, interface_name},
    router::{RouterFold, prefix_length},
};
use ipnet::Ipv4Net;
use switchback_events::{NetworkServiceType, Nic};

pub(crate) fn fold(router: &RouterFold) -> SnatConfig {
    let Some(public) = router.nics.iter().find(|nic| nic.is(Nic::PUBLIC)) else { return SnatConfig::default() };
    let mut rules: Vec<SnatRule> = router
        .guests()
        .filter(|(nic, network)| !nic.is(Nic::PUBLIC) && network.services.contains(&NetworkServiceType::SNAT))
        .filter_map(|(nic, _)| {
            let source = Ipv4Net::new(nic.ip, prefix_length(nic)).ok()?.trunc();
            Some(SnatRule { source, interface: interface_name(public), public_ip: public.ip })
        })
        .collect();
    rules.sort();
    SnatConfig { rules }
}
