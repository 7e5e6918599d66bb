//! Section A, reserved ranges.

use crate::harness::{text, uuid};
use crate::scene::{Scene, range};
use serde_json::{Value, json};

/// A network of the CIDR 10.0.0.0/8 with the range 10.0.0.2 to 10.0.0.254.
async fn wide() -> (Scene, String) {
    let scene = Scene::new().await;
    scene.strategy("FirstAvailable").await;
    let l3 = scene.l3("Private").await;
    scene.world.done("AddIpRange", in_eight(&l3, "10.0.0.2", "10.0.0.254")).await;
    (scene, l3)
}

fn in_eight(l3: &str, start: &str, end: &str) -> Value {
    let mut range = range(l3, start, end);
    range["netmask"] = json!("255.0.0.0");
    range["gateway"] = json!("10.0.0.1");
    range
}

fn reserve(l3: &str, start: &str, end: &str) -> Value {
    json!({"l3NetworkUuid": l3, "startIp": start, "endIp": end})
}

async fn reserved(scene: &Scene, l3: &str) -> Vec<Value> {
    scene.world.query("QueryIpAddress", &[&format!("l3NetworkUuid={l3}"), "usedFor=Reserved"]).await
}

async fn free(scene: &Scene, l3: &str) -> usize {
    scene.free(json!({"l3NetworkUuid": l3, "limit": -1})).await.len()
}

/// The whole range is reserved.
async fn all_reserved() -> (Scene, String, String) {
    let (scene, l3) = wide().await;
    let made = scene.world.make("AddReservedIpRange", reserve(&l3, "10.0.0.0", "10.0.0.255")).await;
    assert_eq!((text(&made, "startIp"), text(&made, "endIp")), ("10.0.0.0".to_string(), "10.0.0.255".to_string()));
    assert_eq!((reserved(&scene, &l3).await.len(), free(&scene, &l3).await), (253, 0));
    let shown = scene.world.get("QueryL3Network", &l3).await["reservedIpRanges"].clone();
    assert_eq!(shown[0]["uuid"], made["uuid"]);
    (scene, l3, uuid(&made))
}

#[actix_rt::test]
async fn a17_a_reserved_range_outside_of_the_cidr_is_refused() {
    let (scene, l3) = wide().await;
    scene.bad("AddReservedIpRange", reserve(&l3, "193.0.0.2", "193.0.0.20"), "CIDR 10.0.0.0/8").await;
    scene.bad("AddReservedIpRange", reserve(&l3, "10.0.0.9", "10.0.0.2"), "behind").await;
    scene.bad("AddReservedIpRange", reserve(&l3, "10.0.0.2", "fd00::1"), "IPv4").await;
    scene.bad("AddReservedIpRange", reserve(&l3, "10.0.0.0", "10.1.0.0"), "at most 65536").await;
    scene.world.done("AddReservedIpRange", reserve(&l3, "10.0.0.10", "10.0.0.20")).await;
    scene.bad("AddReservedIpRange", reserve(&l3, "10.0.0.20", "10.0.0.30"), "overlap").await;
    let empty = scene.l3("Private").await;
    let refusal = scene.world.refused("AddReservedIpRange", reserve(&empty, "10.0.0.2", "10.0.0.3")).await;
    assert_eq!(refusal.code, "SYS.1006");
}

#[actix_rt::test]
async fn a19_reserved_addresses_are_given_up_one_by_one() {
    let (scene, l3, _) = all_reserved().await;
    let some: Vec<Value> = reserved(&scene, &l3).await.iter().take(100).map(|one| one["uuid"].clone()).collect();
    scene.world.done("DeleteIpAddress", json!({"l3NetworkUuid": l3, "usedIpUuids": some})).await;
    assert_eq!((reserved(&scene, &l3).await.len(), free(&scene, &l3).await), (153, 100));
    let (_, ip) = scene.vm(&l3).await;
    let held = scene.world.one("QueryIpAddress", &[&format!("ip={ip}")]).await;
    let refusal =
        scene.world.refused("DeleteIpAddress", json!({"l3NetworkUuid": l3, "usedIpUuids": [held["uuid"]]})).await;
    assert!(refusal.code == "SYS.1006" && refusal.detail.contains("a nic has it"), "{refusal}");
}

#[actix_rt::test]
async fn a20_a_reserved_range_that_is_deleted_leaves_nothing_reserved() {
    let (scene, l3, range) = all_reserved().await;
    let vm = json!({"name": "vm", "l3NetworkUuids": [l3]});
    assert_eq!(scene.world.refused("CreateVmInstance", vm).await.code, "L3.1000");
    let before = scene.world.head();
    for _ in 0..2 {
        scene.world.done("DeleteReservedIpRange", json!({"uuid": range})).await;
        assert_eq!((reserved(&scene, &l3).await.len(), free(&scene, &l3).await), (0, 253));
    }
    assert_eq!(scene.world.get("QueryL3Network", &l3).await["reservedIpRanges"], json!([]));
    let then = scene.world.query_at("QueryIpAddress", &["usedFor=Reserved"], Some(before)).await;
    assert_eq!(then.len(), 253, "as it was before");
    assert_eq!(scene.vm(&l3).await.1, "10.0.0.2");
}

#[actix_rt::test]
async fn a22_a_reserved_range_without_an_ip_range_reserves_nothing_yet() {
    let (scene, l3) = wide().await;
    scene.world.done("AddReservedIpRange", reserve(&l3, "10.0.1.0", "10.0.1.10")).await;
    assert_eq!((reserved(&scene, &l3).await.len(), free(&scene, &l3).await), (0, 253));
}

#[actix_rt::test]
async fn a23_an_ip_range_added_under_a_reserved_range_is_reserved_at_once() {
    let (scene, l3) = wide().await;
    let (vm, ip) = scene.vm(&l3).await;
    assert_eq!(ip, "10.0.0.2");
    scene.world.done("AddReservedIpRange", reserve(&l3, "10.0.1.0", "10.0.1.10")).await;
    scene.world.done("AddReservedIpRange", reserve(&l3, "10.0.0.2", "10.0.0.2")).await;
    scene.world.done("AddIpRange", in_eight(&l3, "10.0.1.5", "10.0.1.20")).await;
    let ips: Vec<String> = reserved(&scene, &l3).await.iter().map(|one| text(one, "ip")).collect();
    assert_eq!(ips, (5..=10).map(|last| format!("10.0.1.{last}")).collect::<Vec<_>>());
    let capacity = scene.world.read("GetIpAddressCapacity", json!({"l3NetworkUuids": [l3]})).await;
    let counts = ["total", "available"].map(|word| capacity[format!("{word}Capacity")].clone());
    assert_eq!(counts, [json!(253 + 16), json!(253 + 16 - 6 - 1)]);
    let check = json!({"l3NetworkUuid": l3, "ip": "10.0.1.5"});
    assert_eq!(scene.world.read("CheckIpAvailability", check).await["reason"], json!("used"));
    let named = json!({"name": "vm", "l3NetworkUuids": [l3], "systemTags": [format!("staticIp::{l3}::10.0.1.5")]});
    assert_eq!(scene.world.refused("CreateVmInstance", named).await.code, "L3.1000");
    // An address that a VM gives back becomes reserved if it lies there.
    scene.destroy(&vm).await;
    assert_eq!(reserved(&scene, &l3).await.len(), 7);
    assert_eq!(scene.vm(&l3).await.1, "10.0.0.3");
}
