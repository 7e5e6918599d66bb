//! The EIPs that a router gives: one-to-one NAT between VIPs and the nics of VMs that run.

use crate::{
    config::{Eip, EipsConfig},
    router::RouterFold,
    vip,
};
use switchback_events::NetworkServiceType;

/// The section for what is known of a router.
pub fn fold(router: &RouterFold) -> EipsConfig {
    let eips = router.eips.iter().filter_map(|(id, served)| {
        let way = vip::way(router, NetworkServiceType::Eip, served)?;
        Some(Eip {
            eip: *id,
            vip_address: way.vip_address,
            public_interface: way.public_interface,
            guest_address: way.guest_address,
            guest_interface: way.guest_interface,
            snat_inbound_traffic: router.snat_inbound.eip,
        })
    });
    let mut eips: Vec<Eip> = eips.collect();
    eips.sort();
    EipsConfig { eips }
}
