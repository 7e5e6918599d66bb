//! Limits of VIPs on the real kernel, with packets that really wait. The site of `kernel.rs`. Needs root.
//!
//! What comes in is asked of the class itself: that is what the limit is about. A machine with other things to do sends less in
//! some while, or reads at once what came before, so such a while is tried again, longer.

mod common;
mod site;

use serde_json::Value;
use site::{
    Site,
    talk::{fetched, flooded, pump, serve, tcp},
};
use std::time::{Duration, Instant};
use switchback_agent::Agents;
use switchback_agent::kernel::{Kernel, LinuxKernel, enter_namespace};
use switchback_appliance::{Eip, PortForwardingRule, Protocol, VipAddress, VipLimits};
use switchback_events::{EipId, Id, PortForwardingRuleId, VipId};

const MBIT: u64 = 1_000_000;

fn vip(last: u8) -> VipAddress {
    let address = format!("203.0.113.{last}/24").parse().unwrap();
    VipAddress { vip: VipId(Id::of_name(&last.to_string())), interface: "eth0".to_string(), address }
}

fn eip(last: u8, vm: u8) -> Eip {
    Eip {
        eip: EipId(Id::of_name(&last.to_string())),
        vip_address: [203, 0, 113, last].into(),
        public_interface: "eth0".to_string(),
        guest_address: [10, 0, 0, 10 + vm].into(),
        guest_interface: "eth1".to_string(),
        snat_inbound_traffic: false,
    }
}

fn rule(last: u8, port: u16, vm: u8, private: u16) -> PortForwardingRule {
    PortForwardingRule {
        rule: PortForwardingRuleId(Id::of_name(&format!("{last} {port}"))),
        vip_address: [203, 0, 113, last].into(),
        public_interface: "eth0".to_string(),
        protocol: Protocol::Tcp,
        vip_port_start: port,
        vip_port_end: port,
        guest_address: [10, 0, 0, 10 + vm].into(),
        guest_interface: "eth1".to_string(),
        private_port_start: private,
        private_port_end: private,
        allowed_cidr: None,
        snat_inbound_traffic: false,
    }
}

fn limits(last: u8, port: Option<u16>, inbound: Option<u64>, outbound: Option<u64>) -> VipLimits {
    let (vip, vip_address) = (vip(last).vip, [203, 0, 113, last].into());
    VipLimits { vip, vip_address, interface: "eth0".to_string(), port, inbound, outbound }
}

async fn push(site: &mut Site) -> Vec<String> {
    site.router.revision += 1;
    let report = site.push_router().await.unwrap();
    let drift = site.client.drift(site.router_at()).await.unwrap();
    assert!(drift.items.is_empty(), "{drift:?}");
    report.sections.get("qos").map(|section| section.actions.clone()).unwrap_or_default()
}

/// The classes of a link, by whom they are for: bytes that they sent.
async fn sent(site: &Site, link: &str) -> Vec<(String, u64)> {
    let observed = site.client.observed(site.router_at()).await.unwrap();
    let classes = observed.sections["qos"][link].as_array().cloned().unwrap_or_default();
    let of =
        |class: &Value| (class["of"].as_str().unwrap().to_string(), class["is"]["sent"]["bytes"].as_u64().unwrap());
    classes.iter().map(of).collect()
}

/// The class of a VIP, or of a port of it.
fn named(last: u8, port: Option<u16>) -> String {
    let vip = vip(last).vip;
    port.map_or_else(|| format!("vip {vip} rest"), |port| format!("vip {vip} port {port}"))
}

/// Bits per second that a class sends while something is under way.
async fn rate(site: &Site, link: &str, class: &str, length: Duration) -> f64 {
    let bytes = async || sent(site, link).await.into_iter().find(|(of, _)| of == class).unwrap().1;
    tokio::time::sleep(Duration::from_millis(400)).await;
    let (at, before) = (Instant::now(), bytes().await);
    tokio::time::sleep(length).await;
    (bytes().await - before) as f64 * 8.0 / at.elapsed().as_secs_f64()
}

/// Tries in ever longer whiles until what is measured is within a tenth of the limit.
macro_rules! within_a_tenth {
    ($what:expr, $limit:expr, $measure:expr) => {{
        let (limit, mut measured) = ($limit as f64, Vec::new());
        let is_so = |rate: f64| 0.9 * limit < rate && rate < 1.1 * limit;
        for length in [1500, 3000, 6000, 12_000] {
            let rate: f64 = $measure(Duration::from_millis(length)).await;
            println!("RATE {} {:.2} of {:.2} Mbit/s", $what, rate / 1e6, limit / 1e6);
            measured.push(rate);
            if is_so(rate) {
                break;
            }
        }
        assert!(measured.last().is_some_and(|rate| is_so(*rate)), "{}: {measured:?} of {limit}", $what);
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_keeps_to_the_limits_of_its_vip_and_port_each_way() {
    let mut site = Site::start("lim");
    site.bring_up(2).await;
    site.wait_for_lease(1, "10.0.0.11/16");
    site.wait_for_lease(2, "10.0.0.12/16");
    let (net, vms) = (site.place("net"), [site.vm_place(1), site.vm_place(2)]);
    for vm in &vms {
        [5001, 5002].into_iter().for_each(|port| pump(vm, port));
    }
    site.router.sections.vips.addresses = vec![vip(50), vip(60), vip(70)];
    site.router.sections.eips.eips = vec![eip(50, 1)];
    site.router.sections.port_forwarding.rules =
        vec![rule(60, 7000, 2, 5001), rule(60, 7001, 2, 5002), rule(70, 7000, 2, 5001)];
    site.router.sections.qos.limits = vec![
        limits(50, None, Some(16 * MBIT), Some(8 * MBIT)),
        limits(50, Some(5002), Some(4 * MBIT), None),
        limits(60, Some(7000), None, Some(6 * MBIT)),
    ];
    let lines = push(&mut site).await;
    assert!(lines.iter().any(|line| line.contains("link qos-eth0")), "{lines:?}");

    // An EIP, inbound: the whole, and a port within it; both together are the whole.
    let at = |last: u8, port: u16| format!("203.0.113.{last}:{port}");
    let whole = flooded(&net, &at(50, 5001));
    within_a_tenth!("eip in", 16 * MBIT, async |length| rate(&site, "qos-eth0", &named(50, None), length).await);
    let port = flooded(&net, &at(50, 5002));
    let (of_port, of_vip) = (named(50, Some(5002)), format!("vip {}", vip(50).vip));
    within_a_tenth!("eip port in", 4 * MBIT, async |length| rate(&site, "qos-eth0", &of_port, length).await);
    within_a_tenth!("eip and its port in", 16 * MBIT, async |length| rate(&site, "qos-eth0", &of_vip, length).await);
    drop((whole.shutdown(std::net::Shutdown::Both), port.shutdown(std::net::Shutdown::Both)));

    // Outbound, as the other end sees it: the port has no limit of its own there.
    for port in [5001, 5002] {
        // What arrives is without the headers: 1,448 of 1,514 bytes.
        let limit = 8 * MBIT * 1448 / 1514;
        within_a_tenth!("eip out", limit, async |length| fetched(&net, &at(50, port), length));
    }
    let limit = 6 * MBIT * 1448 / 1514;
    within_a_tenth!("forwarded port out", limit, async |length| fetched(&net, &at(60, 7000), length));
    // What has no limit has none: another port of the VIP, and another VIP.
    for (last, port) in [(60, 7001), (70, 7000)] {
        let rate = fetched(&net, &at(last, port), Duration::from_millis(300));
        assert!(rate > 50e6, "203.0.113.{last}:{port} has no limit, and came with {rate} bit/s");
    }

    // A limit that changes touches its class, and none of another loses its count.
    let before = sent(&site, "eth0").await;
    site.router.sections.qos.limits[2].outbound = Some(12 * MBIT);
    let lines = push(&mut site).await;
    assert!(lines.len() == 1 && lines[0].contains(&named(60, Some(7000))), "{lines:?}");
    let after = sent(&site, "eth0").await;
    assert!(before.iter().zip(&after).all(|(before, after)| before.0 == after.0 && before.1 <= after.1), "{after:?}");
    let limit = 12 * MBIT * 1448 / 1514;
    within_a_tenth!("changed", limit, async |length| fetched(&net, &at(60, 7000), length));
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_come_back_after_somebody_took_them_and_leave_nothing_where_they_go() {
    let mut site = Site::start("back");
    site.bring_up(1).await;
    site.wait_for_lease(1, "10.0.0.11/16");
    let (net, vm) = (site.place("net"), site.vm_place(1));
    serve(vm, "vm1", 22);
    site.router.sections.vips.addresses = vec![vip(50)];
    site.router.sections.eips.eips = vec![eip(50, 1)];
    // The least and the most, every port: the kernel has exactly these.
    let (least, most) = (Some(131_072), Some(32_212_254_720));
    let ports = (1..=64).map(|port| limits(50, Some(port * 1000), least, most));
    site.router.sections.qos.limits = std::iter::once(limits(50, None, most, least)).chain(ports).collect();
    assert!(!push(&mut site).await.is_empty());
    assert!(push(&mut site).await.is_empty());
    assert!(tcp(&net, "203.0.113.50:22").is_some());
    let namespace = site.router_place().file_name().unwrap().to_string_lossy().into_owned();
    let shaping = std::thread::spawn(move || {
        enter_namespace(&namespace).unwrap();
        LinuxKernel::new().shaping().unwrap()
    });
    let shaping = shaping.join().unwrap();
    assert_eq!(shaping.keys().map(String::as_str).collect::<Vec<_>>(), ["eth0", "qos-eth0"]);
    for (link, whole, port) in [("eth0", least, most), ("qos-eth0", most, least)] {
        let ceils: Vec<u64> = shaping[link].classes.values().map(|held| held.class.ceil * 8).collect();
        let count = |wanted: Option<u64>| ceils.iter().filter(|ceil| Some(**ceil) == wanted).count();
        // The VIP's, that of the rest, and one a port.
        assert_eq!((ceils.len(), count(whole), count(port)), (66, 2, 64), "{link}: {ceils:?}");
    }

    for (what, told) in [
        ("tc qdisc del dev eth0 root", "htb eth0"),
        ("tc qdisc del dev qos-eth0 root", "htb qos-eth0"),
        ("ip link del qos-eth0", "link qos-eth0"),
        ("nft delete table netdev $(nft list tables | grep netdev | cut -d' ' -f3)", "nftables table of what comes in"),
        ("nft flush map inet $(nft list tables | grep inet | cut -d' ' -f3) qos_out", "element qos_out"),
    ] {
        let said = site.in_router(what);
        let drift = site.client.drift(site.router_at()).await.unwrap().items;
        assert!(drift.iter().any(|item| item.section == "qos" && item.item.contains(told)), "{what}: {said} {drift:?}");
        assert!(!push(&mut site).await.is_empty());
    }
    assert!(tcp(&net, "203.0.113.50:22").is_some());
    site.router.sections.qos.limits.clear();
    assert!(!push(&mut site).await.is_empty());
    let left = site.in_router("tc qdisc show; ip link; nft list ruleset");
    assert!(!left.contains("htb") && !left.contains("qos"), "{left}");
    assert!(tcp(&net, "203.0.113.50:22").is_some());
    site.finish().await;
}
