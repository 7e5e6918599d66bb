//! The four ways in which a router can stand on its networks, and what its nics are for.

use crate::harness::{ALL_SERVICES, Site, World, text, uuid};
use serde_json::Value;

/// The nics of the router of `l3`: network and role bits, in the order of device ids.
async fn nics(world: &World, l3: &str) -> Vec<(String, String)> {
    let router = world.router_of(l3).await;
    assert_eq!((text(&router, "state"), text(&router, "status")), ("Running".to_string(), "Connected".to_string()));
    let mut nics: Vec<Value> = router["vmNics"].as_array().unwrap().clone();
    nics.sort_by_key(|nic| nic["deviceId"].as_u64());
    nics.iter().map(|nic| (text(nic, "l3NetworkUuid"), text(nic, "metaData"))).collect()
}

fn role(l3: &str, bits: &str) -> (String, String) {
    (l3.to_string(), bits.to_string())
}

#[actix_rt::test]
async fn separate_networks_give_three_nics() {
    let world = World::new();
    let site = Site::new(&world).await;
    let guest = site.guest("guest", ALL_SERVICES).await;
    site.vm("vm", &guest).await;
    assert_eq!(nics(&world, &guest).await, [role(&site.management, "2"), role(&site.public, "1"), role(&guest, "4")]);
}

#[actix_rt::test]
async fn public_and_guest_on_one_network_give_two_nics_and_no_nat() {
    let world = World::new();
    let site = Site::bare(&world, 2).await;
    let guest = site.guest("flat", &["DHCP", "DNS"]).await;
    site.offer("vr", &site.management, &guest).await;
    let free = site.free(&guest).await;
    let vm = site.vm("vm", &guest).await;
    assert_eq!(nics(&world, &guest).await, [role(&site.management, "2"), role(&guest, "5")]);
    assert_eq!(site.free(&guest).await, free - 2, "without SNAT the router is not the gateway and takes an address");
    let router = uuid(&world.router_of(&guest).await);
    let sections = world.sections(&router).await;
    assert_eq!(sections["snat"]["rules"].as_array().unwrap().len(), 0);
    assert_eq!(sections["firewall"]["forward"].as_array().unwrap().len(), 0);
    assert_eq!(sections["dhcp"]["hosts"][0]["ip"], vm["vmNics"][0]["ip"]);
    let served = &sections["dhcp"]["networks"][0];
    assert_eq!(served["gateway"], vm["vmNics"][0]["gateway"]);
    let own = sections["interfaces"]["nics"][1]["addresses"][0].as_str().unwrap();
    assert_eq!(served["server"].as_str(), own.split('/').next());
    world.one_holder_each().await;
}

#[actix_rt::test]
async fn all_on_one_network_give_one_nic() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let guest = site.guest("flat", &["DHCP", "DNS"]).await;
    site.offer("vr", &guest, &guest).await;
    site.vm("vm", &guest).await;
    assert_eq!(nics(&world, &guest).await, [role(&guest, "7")]);
    world.one_holder_each().await;
}

#[actix_rt::test]
async fn public_and_management_on_one_network_give_two_nics() {
    let world = World::new();
    let site = Site::bare(&world, 2).await;
    let mut offering = site.offering("vr", &site.public, "");
    offering.as_object_mut().unwrap().remove("publicNetworkUuid");
    let offering = world.make("CreateVirtualRouterOffering", offering).await;
    assert_eq!(text(&offering, "publicNetworkUuid"), site.public, "the management network is the public one, too");
    let guest = site.guest("guest", ALL_SERVICES).await;
    site.vm("vm", &guest).await;
    assert_eq!(nics(&world, &guest).await, [role(&site.public, "3"), role(&guest, "4")]);
    let sections = world.sections(&uuid(&world.router_of(&guest).await)).await;
    assert_eq!(sections["snat"]["rules"][0]["interface"], "eth0");
}

#[actix_rt::test]
async fn two_guest_networks_of_different_offerings_have_different_routers() {
    let world = World::new();
    let site = Site::new(&world).await;
    let routed = site.guest("routed", ALL_SERVICES).await;
    let flat = site.guest("flat", &["DHCP", "DNS"]).await;
    let offering = site.offer("flat", &site.management, &flat).await;
    let tag = serde_json::json!({
        "resourceType": "InstanceOfferingVO", "resourceUuid": offering, "tag": format!("guestL3Network::{flat}"),
    });
    world.done("CreateSystemTag", tag).await;
    let both = serde_json::json!({"name": "vm", "l3NetworkUuids": [routed, flat]});
    world.done("CreateVmInstance", both).await;
    assert_eq!(nics(&world, &routed).await.len(), 3);
    assert_eq!(nics(&world, &flat).await, [role(&site.management, "2"), role(&flat, "5")]);
}

#[actix_rt::test]
async fn a_router_that_runs_becomes_the_gateway_with_snat() {
    let world = World::new();
    let site = Site::new(&world).await;
    let guest = site.guest("guest", &["DHCP", "DNS"]).await;
    let vm = site.vm("vm", &guest).await;
    let router = uuid(&world.router_of(&guest).await);
    let gateway = text(&vm["vmNics"][0], "gateway");
    let nic = || async {
        let nics = world.router_of(&guest).await["vmNics"].as_array().unwrap().clone();
        nics.into_iter().find(|nic| text(nic, "l3NetworkUuid") == guest).unwrap()
    };
    let before = nic().await;
    assert_ne!(text(&before, "ip"), gateway);
    let free = site.free(&guest).await;
    let head = world.head();
    site.serve(&guest, &["SNAT"]).await;
    let after = nic().await;
    assert_eq!((text(&after, "ip"), text(&after, "uuid")), (gateway.clone(), text(&before, "uuid")));
    assert!(after["usedIpUuid"].is_null());
    assert_eq!(site.free(&guest).await, free + 1, "its own address is free again");
    let sections = world.sections(&router).await;
    assert_eq!(sections["snat"]["rules"].as_array().unwrap().len(), 1);
    assert_eq!(sections["interfaces"]["nics"][2]["addresses"], serde_json::json!([format!("{gateway}/24")]));
    let drift = world.read("GetVirtualRouterDrift", serde_json::json!({"uuid": router})).await;
    assert_eq!(drift["items"].as_array().map(Vec::len), Some(0), "{drift}");
    world.one_holder_each().await;
    // What was before is still known.
    let then = world.query_at("QueryVmNic", &[&format!("uuid={}", uuid(&after))], Some(head)).await;
    assert_eq!(then[0]["ip"], before["ip"]);
    world.done("DestroyVmInstance", serde_json::json!({"uuid": router})).await;
    assert_eq!(site.free(&guest).await, free + 1);
}

#[actix_rt::test]
async fn a_router_whose_guest_network_is_another_of_its_own_does_not_become_the_gateway() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    for (management_too, code) in [(false, "VR.1001"), (true, "SYS.1006")] {
        let guest = site.guest("both", &["DHCP"]).await;
        let networks = if management_too { (&guest, &site.public) } else { (&site.management, &guest) };
        let offering = site.offer("vr", networks.0, networks.1).await;
        site.vm("vm", &guest).await;
        // Its offering no longer stands in the way; the router does.
        world.done("DeleteInstanceOffering", serde_json::json!({"uuid": offering})).await;
        let snat = serde_json::json!({"l3NetworkUuid": guest, "networkServices": {"VirtualRouter": ["SNAT"]}});
        let refusal = world.refused("AttachNetworkServiceToL3Network", snat).await;
        assert!(refusal.code == code && refusal.detail.contains(&guest), "{refusal}");
    }
}
