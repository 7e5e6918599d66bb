//! The addresses of VIPs: those with at least one service that is served now, on the interface of their network.

use crate::{
    config::{VipAddress, VipsConfig, interface_name},
    router::RouterFold,
};
use ipnet::IpNet;
use std::{collections::BTreeSet, net::Ipv4Addr};
use switchback_events::{NetworkServiceType, Nic, ServedNic, VipId, VipPlace};

/// What is known of a service of a VIP: where it is, where it leads to, and whether it carries anything.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub struct Served {
    pub at: VipPlace,
    pub to: ServedNic,
    pub disabled: bool,
}

/// A service as the router gives it: the interfaces, and the addresses on both sides.
pub(crate) struct Way {
    pub vip: VipAddress,
    pub vip_address: Ipv4Addr,
    pub public_interface: String,
    pub guest_address: Ipv4Addr,
    pub guest_interface: String,
}

/// How the router gives a service. Not at all where it is disabled, its VM does not run, the guest network does not have
/// the service, or the router is not on both networks.
pub(crate) fn way(router: &RouterFold, service: NetworkServiceType, served: &Served) -> Option<Way> {
    let Served { at, to, disabled } = served;
    let outward = |nic: &&Nic| nic.is(Nic::PUBLIC) || nic.is(Nic::ADDITIONAL_PUBLIC);
    let public = router.nics.iter().filter(outward).find(|nic| nic.l3_network == at.l3_network)?;
    let (guest, network) = router.guests().find(|(nic, _)| nic.l3_network == to.l3_network)?;
    let client = router.clients.get(&to.vm).filter(|client| client.served && !disabled)?;
    let nic = client.nics.iter().find(|nic| nic.nic == to.nic && nic.l3_network == to.l3_network)?;
    let std::net::IpAddr::V4(vip_address) = at.ip else { return None };
    let public_interface = interface_name(public);
    let address = IpNet::new(at.ip, at.prefix_length).ok().filter(|_| network.services.contains(&service))?;
    Some(Way {
        vip: VipAddress { vip: at.vip, interface: public_interface.clone(), address },
        vip_address,
        public_interface,
        guest_address: nic.ipv4()?.ip,
        guest_interface: interface_name(guest),
    })
}

/// The address of one VIP, where any service of it is given.
pub(crate) fn of(router: &RouterFold, vip: VipId) -> Option<VipAddress> {
    let eips = router.eips.values().filter(|eip| eip.at.vip == vip);
    let rules = router.rules.values().map(|(rule, _)| rule).filter(|rule| rule.at.vip == vip);
    let eips = eips.filter_map(|eip| way(router, NetworkServiceType::Eip, eip));
    let rules = rules.filter_map(|rule| way(router, NetworkServiceType::PortForwarding, rule));
    let balanced = router.balanced_vips().into_iter().filter(|balanced| balanced.vip == vip);
    eips.chain(rules).map(|way| way.vip).chain(balanced).next()
}

pub(crate) fn fold(router: &RouterFold) -> VipsConfig {
    let eips = router.eips.values().filter_map(|eip| way(router, NetworkServiceType::Eip, eip));
    let rules = router.rules.values().filter_map(|(rule, _)| way(router, NetworkServiceType::PortForwarding, rule));
    let balanced = router.balanced_vips();
    let addresses: BTreeSet<VipAddress> = eips.chain(rules).map(|way| way.vip).chain(balanced).collect();
    VipsConfig { addresses: addresses.into_iter().collect() }
}
