//! Section A: IP ranges.

use crate::{
    harness::{ALL_SERVICES, Site, World, text},
    scene::{Scene, cidr, range},
};
use serde_json::{Value, json};

const BY_CIDR: &str = "AddIpRangeByNetworkCidr";

#[actix_rt::test]
async fn a1_a_cidr_that_overlaps_a_sibling_is_refused() {
    let scene = Scene::new().await;
    scene.l3_with("192.168.100.10", "192.168.100.100").await;
    let sibling = scene.l3("Private").await;
    scene.bad(BY_CIDR, cidr(&sibling, "192.168.100.0/24", None), "overlap").await;
}

#[actix_rt::test]
async fn a2_a_cidr_that_contains_a_sibling_is_refused() {
    let scene = Scene::new().await;
    scene.l3_with("192.168.100.10", "192.168.100.100").await;
    let sibling = scene.l3("Private").await;
    scene.bad(BY_CIDR, cidr(&sibling, "192.168.0.0/16", None), "overlap").await;
}

#[actix_rt::test]
async fn a4_a_range_beside_a_sibling_is_accepted() {
    let scene = Scene::new().await;
    scene.l3_with("192.168.100.10", "192.168.100.100").await;
    let sibling = scene.l3("Private").await;
    scene.world.done("AddIpRange", range(&sibling, "192.168.100.101", "192.168.100.200")).await;
}

#[actix_rt::test]
async fn a5_an_empty_network_takes_another_subnet() {
    let scene = Scene::new().await;
    scene.l3_with("192.168.100.10", "192.168.100.100").await;
    scene.l3_with("192.168.101.101", "192.168.101.200").await;
}

#[actix_rt::test]
async fn a7_normal_ranges_of_a_network_have_one_cidr() {
    let scene = Scene::new().await;
    let (l3, _) = scene.l3_with("192.168.100.10", "192.168.100.100").await;
    scene.bad("AddIpRange", range(&l3, "192.168.101.10", "192.168.101.20"), "one CIDR per L3 network").await;
}

#[actix_rt::test]
async fn a8_cidr_with_the_last_address_as_gateway_gives_one_range() {
    let scene = Scene::new().await;
    let l3 = scene.l3("Private").await;
    let ranges = scene.by_cidr(&l3, "192.168.211.0/24", Some("192.168.211.254")).await;
    assert_eq!(ranges, [["192.168.211.1", "192.168.211.253", "192.168.211.254"]]);
}

#[actix_rt::test]
async fn a10_cidr_without_a_gateway_takes_the_first_address() {
    let scene = Scene::new().await;
    let l3 = scene.l3("Private").await;
    let ranges = scene.by_cidr(&l3, "192.168.213.0/24", None).await;
    assert_eq!(ranges, [["192.168.213.2", "192.168.213.254", "192.168.213.1"]]);
}

#[actix_rt::test]
async fn a11_cidr_with_gateway_in_the_middle_gives_two_ranges() {
    let scene = Scene::new().await;
    let l3 = scene.l3("Private").await;
    let ranges = scene.by_cidr(&l3, "192.168.214.0/24", Some("192.168.214.100")).await;
    let wanted = [
        ["192.168.214.1", "192.168.214.99", "192.168.214.100"],
        ["192.168.214.101", "192.168.214.254", "192.168.214.100"],
    ];
    assert_eq!(ranges, wanted);
}

#[actix_rt::test]
async fn a13_a_range_that_overlaps_one_of_its_network_is_refused() {
    let scene = Scene::new().await;
    let (l3, _) = scene.l3_with("10.0.0.100", "10.0.0.200").await;
    scene.bad("AddIpRange", range(&l3, "10.0.0.100", "10.0.0.150"), "overlap").await;
}

#[actix_rt::test]
async fn a14_a_range_that_ends_outside_of_its_subnet_is_refused() {
    let scene = Scene::new().await;
    let l3 = scene.l3("Private").await;
    scene.bad("AddIpRange", range(&l3, "10.0.0.100", "10.0.1.20"), "subnet").await;
}

#[actix_rt::test]
async fn a16_an_address_says_why_it_is_not_available() {
    let scene = Scene::new().await;
    scene.strategy("FirstAvailable").await;
    let (l3, _) = scene.l3_with("10.0.0.10", "10.0.0.20").await;
    let (_, used) = scene.vm(&l3).await;
    for (ip, reason) in [
        ("10.0.0.1", json!("gateway")),
        ("10.0.0.30", json!("not in this range")),
        ("10.0.0.11", Value::Null),
        (&used, json!("used")),
    ] {
        let answer = scene.world.read("CheckIpAvailability", json!({"l3NetworkUuid": l3, "ip": ip})).await;
        assert_eq!((&answer["available"], &answer["reason"]), (&json!(reason.is_null()), &reason), "{ip}");
    }
}

#[actix_rt::test]
async fn a25_a_range_of_one_address_serves_one_vm() {
    let scene = Scene::new().await;
    let (l3, _) = scene.l3_with("10.0.0.10", "10.0.0.10").await;
    assert_eq!(scene.vm(&l3).await.1, "10.0.0.10");
    let another = json!({"name": "another", "l3NetworkUuids": [l3]});
    assert_eq!(scene.world.refused("CreateVmInstance", another).await.code, "L3.1000");
}

#[actix_rt::test]
async fn a26_three_more_ranges_of_one_address_serve_three_more() {
    let scene = Scene::new().await;
    let (l3, _) = scene.l3_with("10.0.0.10", "10.0.0.10").await;
    scene.vm(&l3).await;
    let more = ["10.0.0.11", "10.0.0.12", "10.0.0.13"];
    for ip in more {
        scene.world.done("AddIpRange", range(&l3, ip, ip)).await;
    }
    let (made, refused) = scene.vms_at_once(&l3, 4).await;
    assert_eq!(made, more);
    assert_eq!(refused.iter().map(|refusal| refusal.code.as_str()).collect::<Vec<_>>(), ["L3.1000"]);
}

#[actix_rt::test]
async fn m4_multicast_reserved_and_link_local_addresses_make_no_range() {
    let scene = Scene::new().await;
    let l3 = scene.l3("Private").await;
    for (net, words) in [("224.0.0.0/4", "class D"), ("240.0.0.0/4", "class E"), ("169.254.0.0/16", "link-local")] {
        scene.bad(BY_CIDR, cidr(&l3, net, None), words).await;
    }
    for (start, end, words) in [
        ("224.0.0.2", "224.0.0.9", "class D"),
        ("240.0.0.2", "240.0.0.9", "class E"),
        ("169.254.1.2", "169.254.1.9", "link-local"),
        ("169.254.254.2", "169.254.254.9", "link-local"),
    ] {
        scene.bad("AddIpRange", range(&l3, start, end), words).await;
    }
}

#[actix_rt::test]
async fn a28_a_router_interface_ip_lies_outside_of_the_ranges_and_the_router_uses_it() {
    const SET: &str = "SetL3NetworkRouterInterfaceIp";
    let world = World::new();
    let site = Site::new(&world).await;
    let l2 = site.l2("l2").await;
    let l3 = json!({"name": "guest", "l2NetworkUuid": l2});
    let l3 = text(&world.make("CreateL3Network", l3).await, "uuid");
    let ip = |ip: &str| json!({"l3NetworkUuid": l3, "routerInterfaceIp": ip});
    let held = || async { world.read("GetL3NetworkRouterInterfaceIp", json!({"l3NetworkUuid": l3})).await };
    // There is nothing to lie in yet.
    assert_eq!(world.refused(SET, ip("192.168.7.200")).await.code, "SYS.1006");
    assert_eq!(held().await["routerInterfaceIp"], Value::Null);
    world.done("AddIpRange", range(&l3, "192.168.7.10", "192.168.7.100")).await;
    assert_eq!(held().await["routerInterfaceIp"], "192.168.7.1");
    for bad in ["192.168.7.50", "192.168.8.5", "192.168.7.0", "192.168.7.255"] {
        let refusal = world.refused(SET, ip(bad)).await;
        assert!(refusal.code == "SYS.1007" && refusal.detail.contains(bad), "{refusal}");
    }
    assert_eq!(text(&world.make(SET, ip("192.168.7.201")).await, "uuid"), l3);
    world.done(SET, ip("192.168.7.200")).await;
    assert_eq!(held().await["routerInterfaceIp"], "192.168.7.200");
    let tags = world.query("QuerySystemTag", &[&format!("resourceUuid={l3}")]).await;
    assert_eq!(tags.iter().map(|tag| text(tag, "tag")).collect::<Vec<_>>(), ["routerInterfaceIp::192.168.7.200"]);
    // No range may take it away.
    let refusal = world.refused("AddIpRange", range(&l3, "192.168.7.150", "192.168.7.220")).await;
    assert!(refusal.code == "SYS.1007" && refusal.detail.contains("192.168.7.200"), "{refusal}");
    site.serve(&l3, ALL_SERVICES).await;
    site.vm("vm", &l3).await;
    let router = world.router_of(&l3).await;
    let nic = router["vmNics"].as_array().unwrap().iter().find(|nic| nic["l3NetworkUuid"] == *l3).unwrap().clone();
    assert_eq!((text(&nic, "ip"), text(&nic, "gateway")), ("192.168.7.200".to_string(), "192.168.7.1".to_string()));
    let dhcp = world.sections(&text(&router, "uuid")).await["dhcp"]["networks"][0].clone();
    assert_eq!((text(&dhcp, "server"), text(&dhcp, "gateway")), (text(&nic, "ip"), text(&nic, "gateway")));
}
