//! The MTU of networks, networks without address management, and providers of services.

use crate::harness::{Site, World, text, uuid};
use serde_json::{Value, json};

fn mtu(l3: &str, mtu: u16) -> Value {
    json!({"l3NetworkUuid": l3, "mtu": mtu})
}

async fn mtu_of(world: &World, l3: &str) -> Value {
    world.read("GetL3NetworkMtu", json!({"l3NetworkUuid": l3})).await["mtu"].clone()
}

#[actix_rt::test]
async fn an_mtu_reaches_routers_clients_and_bridges() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", &["DHCP", "DNS", "SNAT"]).await;
    let vm = site.vm("vm", &l3).await;
    let router = uuid(&world.router_of(&l3).await);
    assert_eq!(mtu_of(&world, &l3).await, 1500);
    for bytes in [1400, 9000] {
        world.done("SetL3NetworkMtu", mtu(&l3, bytes)).await;
        assert_eq!(mtu_of(&world, &l3).await, bytes);
        assert_eq!(world.get("QueryL3Network", &l3).await["mtu"], bytes);
        let sections = world.sections(&router).await;
        assert_eq!(sections["dhcp"]["networks"][0]["mtu"], bytes);
        let nics = sections["interfaces"]["nics"].as_array().unwrap();
        let of: Vec<&Value> = nics.iter().filter(|nic| nic["mtu"] == bytes).map(|nic| &nic["l3Network"]).collect();
        assert_eq!(of, [&json!(l3)]);
        let drift = world.read("GetVirtualRouterDrift", json!({"uuid": router})).await;
        assert_eq!(drift["items"], json!([]), "{bytes}");
    }
    // What it was set to is no change.
    let head = world.head();
    world.done("SetL3NetworkMtu", mtu(&l3, 9000)).await;
    assert_eq!(world.asked_since(head).await, [""; 0]);
    assert_eq!(world.get("QueryVmInstance", &uuid(&vm)).await["state"], "Running");
}

#[actix_rt::test]
async fn a_vlan_network_has_no_larger_mtu_than_the_untagged_network_below_it() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let tagged = site.network("tagged", "10.50.0.0/24").await;
    // Nothing is below it yet.
    world.done("SetL3NetworkMtu", mtu(&tagged, 2000)).await;
    let l2 = json!({"zoneUuid": site.zone, "name": "untagged", "physicalInterface": "eth0"});
    let l2 = uuid(&world.make("CreateL2NoVlanNetwork", l2).await);
    let untagged = uuid(&world.make("CreateL3Network", json!({"name": "untagged", "l2NetworkUuid": l2})).await);
    world.done("SetL3NetworkMtu", mtu(&untagged, 4000)).await;
    let refusal = world.refused("SetL3NetworkMtu", mtu(&tagged, 4001)).await;
    assert!(refusal.code == "SYS.1007" && refusal.detail.contains("at most 4000"), "{refusal}");
    let refusal = world.refused("SetL3NetworkMtu", mtu(&untagged, 1999)).await;
    assert!(refusal.code == "SYS.1007" && refusal.detail.contains("at least 2000"), "{refusal}");
    world.done("SetL3NetworkMtu", mtu(&tagged, 4000)).await;
}

#[actix_rt::test]
async fn a_network_without_address_management_gives_and_checks_no_address() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l2 = site.l2("l2").await;
    let l3 = json!({"name": "plain", "l2NetworkUuid": l2, "enableIPAM": false});
    let l3 = world.make("CreateL3Network", l3).await;
    assert_eq!(l3["enableIPAM"], false);
    let l3 = uuid(&l3);
    let range = json!({"l3NetworkUuid": l3, "name": "r", "networkCidr": "10.51.0.0/24"});
    let refusal = world.refused("AddIpRangeByNetworkCidr", range).await;
    assert!(refusal.code == "SYS.1006" && refusal.detail.contains(&l3), "{refusal}");
    let services = json!({"l3NetworkUuid": l3, "networkServices": {"VirtualRouter": ["DHCP"]}});
    let refusal = world.refused("AttachNetworkServiceToL3Network", services).await;
    assert!(refusal.code == "SYS.1006" && refusal.detail.contains(&l3), "{refusal}");
    // A nic has the addresses that were asked for, whatever they are.
    let vm = |name: &str, tags: &[String]| json!({"name": name, "l3NetworkUuids": [l3], "systemTags": tags});
    let plain = world.make("CreateVmInstance", vm("No Name!", &[])).await;
    assert_eq!((&plain["state"], &plain["vmNics"][0]["ip"]), (&json!("Running"), &Value::Null));
    let given = world.make("CreateVmInstance", vm("given", &[format!("staticIp::{l3}::198.51.100.7")])).await;
    assert_eq!(given["vmNics"][0]["ip"], "198.51.100.7");
    for vm in [plain, given] {
        world.done("DestroyVmInstance", json!({"uuid": uuid(&vm)})).await;
    }
    world.done("DeleteL3Network", json!({"uuid": l3})).await;
}

#[actix_rt::test]
async fn dhcp_is_not_attached_where_vms_have_left_no_address() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l2 = site.l2("l2").await;
    let l3 = uuid(&world.make("CreateL3Network", json!({"name": "full", "l2NetworkUuid": l2})).await);
    let range = |ip: &str| {
        json!({
            "l3NetworkUuid": l3, "name": "one", "startIp": ip, "endIp": ip, "netmask": "255.255.255.0",
            "gateway": "10.52.0.1",
        })
    };
    world.done("AddIpRange", range("10.52.0.9")).await;
    site.vm("vm", &l3).await;
    let services = json!({"l3NetworkUuid": l3, "networkServices": {"VirtualRouter": ["DHCP"]}});
    let refusal = world.refused("AttachNetworkServiceToL3Network", services.clone()).await;
    assert!(refusal.code == "SYS.1006" && refusal.detail.contains("free address"), "{refusal}");
    world.done("AddIpRange", range("10.52.0.10")).await;
    world.done("AttachNetworkServiceToL3Network", services).await;
    // By its type alone, whoever gives it.
    world.done("DetachNetworkServiceFromL3Network", json!({"l3NetworkUuid": l3, "service": "DHCP"})).await;
    assert_eq!(world.get("QueryL3Network", &l3).await["networkServices"], json!([]));
    world.done("DetachNetworkServiceFromL3Network", json!({"l3NetworkUuid": l3, "service": "DHCP"})).await;
}

#[actix_rt::test]
async fn a_new_provider_serves_l2_networks_that_are_made_after_it() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let before = site.l2("before").await;
    let types = || async { world.read("GetNetworkServiceTypes", json!({})).await["types"].clone() };
    assert_eq!(types().await["vrouter"].as_array().map(Vec::len), Some(10));
    let provider = json!({
        "name": "box", "description": "a box", "type": "Box", "networkServiceTypes": ["DHCP", "DNS", "DHCP"],
    });
    let provider = uuid(&world.make("AddNetworkServiceProvider", provider).await);
    assert_eq!(types().await["Box"], json!(["DHCP", "DNS"]));
    let after = site.l2("after").await;
    let serves = |l2: Value| l2["networkServiceProviderUuids"].as_array().unwrap().contains(&json!(provider));
    assert!(!serves(world.get("QueryL2Network", &before).await));
    assert!(serves(world.get("QueryL2Network", &after).await));
    let pair = json!({"networkServiceProviderUuid": provider, "l2NetworkUuid": before});
    assert!(serves(world.make("AttachNetworkServiceProviderToL2Network", pair).await));
    // There is a record, and nobody behind it.
    let l3 = uuid(&world.make("CreateL3Network", json!({"name": "l3", "l2NetworkUuid": after})).await);
    let services = json!({"l3NetworkUuid": l3, "networkServices": {"Box": ["DHCP"]}});
    let refusal = world.refused("AttachNetworkServiceToL3Network", services).await;
    assert_eq!(refusal.code, "SYS.1104");
    assert_eq!(text(&world.get("QueryNetworkServiceProvider", &provider).await, "type"), "Box");
}
