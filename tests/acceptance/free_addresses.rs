//! Section B: free addresses, capacity, address pools.

use crate::harness::{text, uuid};
use crate::scene::{Scene, cidr, range};
use serde_json::{Value, json};

/// A network with the range .10 to .20, and the uuids of both.
async fn eleven() -> (Scene, String, String) {
    let scene = Scene::new().await;
    let (l3, range) = scene.l3_with("10.223.110.10", "10.223.110.20").await;
    (scene, l3, range)
}

#[actix_rt::test]
async fn b1_all_addresses_of_an_unused_range_are_free() {
    let (scene, l3, _) = eleven().await;
    let free = scene.free(json!({"l3NetworkUuid": l3, "start": "10.223.110.10", "limit": 11})).await;
    assert_eq!(free, (10..=20).map(|last| format!("10.223.110.{last}")).collect::<Vec<_>>());
}

#[actix_rt::test]
async fn b2_nothing_is_free_behind_the_end() {
    let (scene, l3, range) = eleven().await;
    assert!(scene.free(json!({"l3NetworkUuid": l3, "start": "10.223.110.21"})).await.is_empty());
    assert!(scene.free(json!({"ipRangeUuid": range, "start": "10.223.110.21", "limit": -1})).await.is_empty());
    // Neither network nor range, one that is not there, another family: no answer at all.
    for (parameters, code) in [
        (json!({}), "SYS.1007"),
        (json!({"l3NetworkUuid": range}), "SYS.1003"),
        (json!({"ipRangeUuid": l3}), "SYS.1003"),
        (json!({"l3NetworkUuid": l3, "start": "fd00::1"}), "SYS.1007"),
    ] {
        assert_eq!(scene.refused_read("GetFreeIp", parameters).await.code, code);
    }
}

#[actix_rt::test]
async fn b4_from_a_start_on_only_the_rest_is_listed() {
    let (scene, l3, _) = eleven().await;
    let free = scene.free(json!({"l3NetworkUuid": l3, "start": "10.223.110.19"})).await;
    assert_eq!(free, ["10.223.110.19", "10.223.110.20"]);
}

#[actix_rt::test]
async fn b5_a_start_in_front_lists_up_to_the_limit() {
    let (scene, l3, range) = eleven().await;
    for parameters in [json!({"l3NetworkUuid": l3}), json!({"ipRangeUuid": range})] {
        let mut parameters = parameters;
        parameters["start"] = json!("10.223.110.9");
        parameters["limit"] = json!(4);
        let free = scene.free(parameters).await;
        assert_eq!(free, ["10.223.110.10", "10.223.110.11", "10.223.110.12", "10.223.110.13"]);
    }
}

#[actix_rt::test]
async fn b7_a_whole_subnet_is_listed_in_order() {
    let scene = Scene::new().await;
    let l3 = scene.l3("Private").await;
    let mut whole = range(&l3, "10.223.110.1", "10.223.110.254");
    whole["netmask"] = json!("255.255.0.0");
    whole["gateway"] = json!("10.223.0.1");
    scene.world.done("AddIpRange", whole).await;
    let free = scene.free(json!({"l3NetworkUuid": l3, "limit": 1000})).await;
    assert_eq!((free.len(), free[0].as_str()), (254, "10.223.110.1"));
    assert_eq!(scene.free(json!({"l3NetworkUuid": l3})).await.len(), 100, "without a limit a hundred");
}

#[actix_rt::test]
async fn b8_capacity_is_the_same_by_network_by_range_and_by_zone() {
    let scene = Scene::new().await;
    let l3 = scene.l3("Private").await;
    let mut whole = range(&l3, "10.223.110.1", "10.223.110.254");
    whole["netmask"] = json!("255.255.0.0");
    whole["gateway"] = json!("10.223.0.1");
    let range = uuid(&scene.world.make("AddIpRange", whole).await);
    let (vm, _) = scene.vm(&l3).await;
    let zone = text(&scene.world.get("QueryL3Network", &l3).await, "zoneUuid");
    // The networks of management and the public have 253 addresses each; they are of the zone, too.
    let views = [
        (json!({"l3NetworkUuids": [l3]}), "L3NetworkVO", &l3, 0),
        (json!({"ipRangeUuids": [range], "zoneUuids": [zone]}), "IpRangeVO", &range, 0),
        (json!({"zoneUuids": [zone]}), "ZoneVO", &zone, 2 * 253),
        (json!({"all": true}), "ZoneVO", &zone, 2 * 253),
    ];
    for used in [1, 0] {
        for (parameters, kind, id, others) in &views {
            let found = scene.world.read("GetIpAddressCapacity", parameters.clone()).await;
            let counts = |of: &Value| ["total", "available"].map(|word| of[format!("{word}Capacity")].clone());
            let wanted = [json!(254 + others), json!(254 - used + others)];
            assert_eq!(counts(&found), wanted, "{parameters}");
            assert_eq!((&found["resourceType"], &found["usedIpAddressNumber"]), (&json!(kind), &json!(used)));
            let parts = found["capacityData"].as_array().unwrap();
            assert_eq!((parts.len(), text(&parts[0], "resourceUuid"), counts(&parts[0])), (1, id.to_string(), wanted));
        }
        if used == 1 {
            scene.destroy(&vm).await;
        }
    }
    assert_eq!(scene.refused_read("GetIpAddressCapacity", json!({"zoneUuids": []})).await.code, "SYS.1007");
    assert_eq!(scene.refused_read("GetIpAddressCapacity", json!({"ipRangeUuids": [l3]})).await.code, "SYS.1003");
}

#[actix_rt::test]
async fn b10_a_pool_holds_no_network_or_broadcast_address() {
    let scene = Scene::new().await;
    let l3 = scene.l3("Public").await;
    for (start, end) in [("10.0.0.0", "10.0.0.9"), ("10.0.0.1", "10.0.0.255")] {
        scene.bad("AddIpRange", pool(range(&l3, start, end)), "address of 10.0.0").await;
    }
}

#[actix_rt::test]
async fn b11_a_pool_lists_its_free_addresses() {
    let scene = Scene::new().await;
    let l3 = scene.l3("Public").await;
    scene.world.done("AddIpRange", range(&l3, "10.0.1.10", "10.0.1.20")).await;
    let pool = uuid(&scene.world.make("AddIpRangeByNetworkCidr", pool(cidr(&l3, "10.0.0.0/24", None))).await);
    let free = scene.free(json!({"ipRangeUuid": pool, "limit": -1})).await;
    assert_eq!((free.len(), free[0].as_str()), (254, "10.0.0.1"), "a pool has no gateway to spare");
    for (kind, number) in [("AddressPool", 254), ("Normal", 11)] {
        let of_kind = json!({"l3NetworkUuid": l3, "ipRangeType": kind, "limit": -1});
        assert_eq!(scene.free(of_kind).await.len(), number, "{kind}");
    }
}

fn pool(mut parameters: Value) -> Value {
    parameters["ipRangeType"] = json!("AddressPool");
    parameters
}

/// A public network of two addresses with a pool, and the pool.
async fn with_pool() -> (Scene, String, String) {
    let scene = Scene::new().await;
    let l3 = scene.l3("Public").await;
    scene.world.done("AddIpRange", range(&l3, "10.223.110.10", "10.223.110.11")).await;
    let pool = json!({
        "l3NetworkUuid": l3, "name": "pool", "networkCidr": "198.51.100.0/29", "ipRangeType": "AddressPool",
    });
    let pool = uuid(&scene.world.make("AddIpRangeByNetworkCidr", pool).await);
    (scene, l3, pool)
}

#[actix_rt::test]
async fn b13_a_vip_takes_from_a_pool_only_when_the_pool_is_named() {
    let (scene, l3, pool) = with_pool().await;
    scene.strategy("FirstAvailable").await;
    let of_pool = json!({"name": "v", "l3NetworkUuid": l3, "ipRangeUuid": pool});
    assert_eq!(text(&scene.world.make("CreateVip", of_pool).await, "ip"), "198.51.100.1");
    let normal = json!({"name": "v", "l3NetworkUuid": l3});
    assert_eq!(text(&scene.world.make("CreateVip", normal).await, "ip"), "10.223.110.10");
}

#[actix_rt::test]
async fn b14_a_full_network_refuses_a_vip_though_its_pool_has_room() {
    let (scene, l3, pool) = with_pool().await;
    let (made, refused) = scene.vms_at_once(&l3, 3).await;
    assert_eq!((made.len(), refused.len()), (2, 1));
    let refusal = scene.world.refused("CreateVip", json!({"name": "v", "l3NetworkUuid": l3})).await;
    assert_eq!(refusal.code, "L3.1000");
    scene.world.make("CreateVip", json!({"name": "v", "l3NetworkUuid": l3, "ipRangeUuid": pool})).await;
}

#[actix_rt::test]
async fn b17_a_vip_of_a_dual_stack_network_is_ipv4_unless_asked_otherwise() {
    let scene = Scene::new().await;
    let (l3, _) = scene.l3_with("10.223.110.10", "10.223.110.20").await;
    let six = json!({"l3NetworkUuid": l3, "name": "six", "networkCidr": "fd00:9::/64", "addressMode": "Stateful-DHCP"});
    scene.world.done("AddIpv6RangeByNetworkCidr", six).await;
    for (version, start) in [(None, "10.223.110."), (Some(4), "10.223.110."), (Some(6), "fd00:9::")] {
        let vip = json!({"name": "v", "l3NetworkUuid": l3, "ipVersion": version});
        let ip = text(&scene.world.make("CreateVip", vip).await, "ip");
        assert!(ip.starts_with(start), "{version:?}: {ip}");
    }
}
