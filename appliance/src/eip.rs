//! The EIPs that a router gives: one-to-one NAT between VIPs and the nics of VMs that run.

use crate::{
    config::{Eip, EipsConfig},
    router::RouterFold,
    vip,
};
use switchback_events::{EipId, NetworkServiceType};

/// The section for what is known of a router.
pub fn fold(router: &RouterFold) -> EipsConfig {
    let mut eips: Vec<Eip> = router.eips.keys().filter_map(|id| of(router, *id)).collect();
    eips.sort();
    EipsConfig { eips }
}

/// One of them, where the router gives it.
pub(crate) fn of(router: &RouterFold, id: EipId) -> Option<Eip> {
    let way = vip::way(router, NetworkServiceType::Eip, router.eips.get(&id)?)?;
    Some(Eip {
        eip: id,
        vip_address: way.vip_address,
        public_interface: way.public_interface,
        guest_address: way.guest_address,
        guest_interface: way.guest_interface,
        snat_inbound_traffic: router.snat_inbound.eip,
    })
}
