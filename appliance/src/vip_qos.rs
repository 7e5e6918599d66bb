//! How fast the traffic of VIPs may be: the limits of those VIPs that the router has the address of.

use crate::{
    config::{QosConfig, VipLimits, VipsConfig},
    router::RouterFold,
};
use std::net::IpAddr;

pub(crate) fn fold(router: &RouterFold, vips: &VipsConfig) -> QosConfig {
    let mut limits = Vec::new();
    for at in &vips.addresses {
        let IpAddr::V4(vip_address) = at.address.addr() else { continue };
        for (port, held) in router.limits.get(&at.vip).into_iter().flatten() {
            limits.push(VipLimits {
                vip: at.vip,
                vip_address,
                interface: at.interface.clone(),
                port: *port,
                inbound: held.inbound,
                outbound: held.outbound,
            });
        }
    }
    limits.sort();
    QosConfig { limits }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Log, id, network, nic, router, vm};
    use switchback_events::*;

    #[test]
    fn limits_wait_for_a_service_of_their_vip_and_bear_from_then_on() {
        use NetworkServiceType::{Eip, SNAT};
        let l3_network = id("public");
        let set = |port, inbound| VipEvent::QosSet {
            l3_network,
            port,
            limits: QosLimits { inbound: Some(inbound), outbound: None },
        };
        let mut log = Log::default();
        network(&mut log, "public", &[]);
        network(&mut log, "guest", &[SNAT, Eip]);
        let nics = vec![nic("public", [203, 0, 113, 9], 0, Nic::PUBLIC), nic("guest", [10, 0, 0, 1], 1, Nic::GUEST)];
        log.add("router", router(nics));
        let own = nic("guest", [10, 0, 0, 7], 0, 0);
        log.add("vm", vm("vm", vec![own.clone()]));
        log.add("vip", set(None, 1_000_000));
        log.add("other", set(None, 2_000_000));
        let at = VipPlace { vip: id("vip"), l3_network, ip: [203, 0, 113, 50].into(), prefix_length: 24 };
        let to = ServedNic { nic: own.nic, vm: id("vm"), l3_network: id("guest") };
        let attached = log.add("eip", EipEvent::Attached { at, to });
        let mut fold = RouterFold::default();
        let mut seen = Vec::new();
        let later = [set(Some(80), 500_000), VipEvent::QosDeleted { l3_network, port: None }];
        let later: Vec<Position> = later.map(|event| log.add("vip", event)).into();
        let foreign = log.add("other", VipEvent::QosDeleted { l3_network, port: None });
        let gone = log.add("vip", VipEvent::QosDeleted { l3_network, port: Some(80) });
        for event in &log.events {
            fold.apply(event);
            assert!(event.tags.contains(&l3_network.0) || !matches!(event.event, Event::Vip(_)), "{event:?}");
            let Some(config) = fold.config() else { continue };
            let limits = config.sections.qos.limits.iter();
            let limits: Vec<_> = limits.map(|limit| (limit.port, limit.inbound.unwrap_or(0))).collect();
            seen.push((event.position, config.revision == event.position, limits));
        }
        let (whole, port) = ((None, 1_000_000), (Some(80), 500_000));
        let expected = [
            (attached - 2, false, vec![]),
            (attached - 1, false, vec![]),
            (attached, true, vec![whole]),
            (later[0], true, vec![whole, port]),
            (later[1], true, vec![port]),
            (foreign, false, vec![port]),
            (gone, true, vec![]),
        ];
        assert_eq!(seen[seen.len() - expected.len()..], expected);
        assert_eq!(fold.limits.len(), 0);
    }
}
