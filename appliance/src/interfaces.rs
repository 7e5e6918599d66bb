//! The interfaces section: links, addresses, the default route.

use crate::{
    config::{InterfacesConfig, RouterNic, interface_name},
    router::RouterFold,
};
use ipnet::IpNet;
use std::net::IpAddr;

pub(crate) fn fold(router: &RouterFold) -> InterfacesConfig {
    let nics = router
        .nics
        .iter()
        .map(|nic| RouterNic {
            name: interface_name(nic),
            mac: nic.mac,
            addresses: nic.addresses.iter().filter_map(|own| IpNet::new(own.ip, own.prefix_length).ok()).collect(),
            meta_data: nic.meta_data,
            l3_network: nic.l3_network,
            mtu: router.network(nic.l3_network).mtu(),
        })
        .collect();
    let outward = router.nics.iter().find(|nic| Some(nic.l3_network) == router.default_route_network);
    let own: Vec<IpAddr> = router.nics.iter().flat_map(|nic| &nic.addresses).map(|address| address.ip).collect();
    let default_gateway =
        outward.and_then(|nic| Some(nic.ipv4()?.gateway)).filter(|gateway| !own.contains(&IpAddr::V4(*gateway)));
    let default_gateway6 =
        outward.and_then(|nic| Some(nic.ipv6()?.gateway)).filter(|gateway| !own.contains(&IpAddr::V6(*gateway)));
    InterfacesConfig { nics, default_gateway, default_gateway6 }
}
