//! The interfaces section: links, addresses, the default route.

use crate::{
    config::{InterfacesConfig, RouterNic, interface_name},
    router::RouterFold,
};

pub(crate) fn fold(router: &RouterFold) -> InterfacesConfig {
    let nics = router
        .nics
        .iter()
        .filter_map(|nic| {
            let address = nic.ipv4()?;
            Some(RouterNic {
                name: interface_name(nic),
                mac: nic.mac,
                ip: address.ip,
                prefix_length: address.prefix_length,
                meta_data: nic.meta_data,
                l3_network: nic.l3_network,
                mtu: router.network(nic.l3_network).mtu(),
            })
        })
        .collect();
    let default_gateway = router
        .nics
        .iter()
        .find(|nic| Some(nic.l3_network) == router.default_route_network)
        .and_then(|nic| Some(nic.ipv4()?.gateway))
        .filter(|gateway| router.nics.iter().flat_map(|nic| nic.ipv4()).all(|address| address.ip != *gateway));
    InterfacesConfig { nics, default_gateway }
}
