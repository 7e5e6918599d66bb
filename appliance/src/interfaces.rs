//! The interfaces section: links, addresses, the default route.

use crate::{
    config::{InterfacesConfig, RouterNic, interface_name},
    router::{RouterFold, prefix_length},
};

/// Bytes: what an L2 network without a tunnel carries.
pub const DEFAULT_MTU: u16 = 1500;

pub(crate) fn fold(router: &RouterFold) -> InterfacesConfig {
    let nics = router
        .nics
        .iter()
        .map(|nic| RouterNic {
            name: interface_name(nic),
            mac: nic.mac,
            ip: nic.ip,
            prefix_length: prefix_length(nic),
            meta_data: nic.meta_data,
            l3_network: nic.l3_network,
            mtu: DEFAULT_MTU,
        })
        .collect();
    let default_gateway = router
        .nics
        .iter()
        .find(|nic| Some(nic.l3_network) == router.default_route_network)
        .map(|nic| nic.gateway)
        .filter(|gateway| router.nics.iter().all(|nic| nic.ip != *gateway));
    InterfacesConfig { nics, default_gateway }
}
