//! Section C: how addresses are chosen, and many who take them at once.

use crate::{harness::text, scene::Scene};
use serde_json::json;
use std::collections::BTreeSet;

fn addresses(range: std::ops::RangeInclusive<u8>) -> Vec<String> {
    range.map(|last| format!("10.0.0.{last}")).collect()
}

/// The delayed recycler on .2 to .11, of which somebody has .2.
async fn recycling() -> (Scene, String) {
    let scene = Scene::new().await;
    scene.strategy("AscDelayRecycle").await;
    let (l3, _) = scene.l3_with("10.0.0.2", "10.0.0.11").await;
    assert_eq!(scene.vm(&l3).await.1, "10.0.0.2");
    (scene, l3)
}

#[actix_rt::test]
async fn c1_the_delayed_recycler_gives_ascending_addresses() {
    let (scene, l3) = recycling().await;
    for wanted in addresses(3..=6) {
        assert_eq!(scene.vm(&l3).await.1, wanted);
    }
}

#[actix_rt::test]
async fn c2_the_delayed_recycler_does_not_give_what_was_just_freed() {
    let (scene, l3) = recycling().await;
    let (vm, ip) = scene.vm(&l3).await;
    assert_eq!(ip, "10.0.0.3");
    scene.destroy(&vm).await;
    assert_eq!(scene.vm(&l3).await.1, "10.0.0.4");
    // Another choice forgets where it was.
    scene.strategy("FirstAvailable").await;
    assert_eq!(scene.vm(&l3).await.1, "10.0.0.3");
    scene.strategy("AscDelayRecycle").await;
    assert_eq!(scene.vm(&l3).await.1, "10.0.0.5");
}

#[actix_rt::test]
async fn c4_the_delayed_recycler_honours_static_addresses_and_begins_again() {
    let (scene, l3) = recycling().await;
    let mut vms = Vec::new();
    for wanted in addresses(3..=8) {
        let (vm, ip) = scene.vm(&l3).await;
        assert_eq!(ip, wanted);
        vms.push(vm);
    }
    // .4 and .6.
    scene.destroy(&vms[1]).await;
    scene.destroy(&vms[3]).await;
    assert_eq!(scene.vm_with(&l3, &[format!("staticIp::{l3}::10.0.0.10")]).await.1, "10.0.0.10");
    for wanted in ["10.0.0.9", "10.0.0.11", "10.0.0.4", "10.0.0.6"] {
        assert_eq!(scene.vm(&l3).await.1, wanted);
    }
}

#[actix_rt::test]
async fn c5_ten_vms_at_once_get_ten_addresses_in_a_row() {
    let scene = Scene::new().await;
    scene.strategy("AscDelayRecycle").await;
    let (l3, _) = scene.l3_with("10.0.0.2", "10.0.0.40").await;
    assert_eq!(scene.vm(&l3).await.1, "10.0.0.2");
    let (made, refused) = scene.vms_at_once(&l3, 10).await;
    assert_eq!((made, refused.len()), (addresses(3..=12), 0));
}

#[actix_rt::test]
async fn c7_the_lowest_address_that_was_freed_is_given_again() {
    let scene = Scene::new().await;
    scene.strategy("FirstAvailable").await;
    let (l3, _) = scene.l3_with("10.0.0.10", "10.0.0.20").await;
    let (first, ip) = scene.vm(&l3).await;
    assert_eq!(ip, "10.0.0.10");
    let (second, ip) = scene.vm(&l3).await;
    assert_eq!(ip, "10.0.0.11");
    scene.destroy(&second).await;
    scene.destroy(&first).await;
    assert_eq!(
        scene.world.query("QueryIpAddress", &[&format!("l3NetworkUuid={l3}")]).await,
        Vec::<serde_json::Value>::new()
    );
    assert_eq!(scene.vm(&l3).await.1, "10.0.0.10");
}

#[actix_rt::test]
async fn c8_many_who_take_and_give_back_leave_nothing() {
    let scene = Scene::new().await;
    scene.strategy("FirstAvailable").await;
    let (l3, range) = scene.l3_with("10.0.0.10", "10.0.0.200").await;
    for _ in 0..2 {
        let (made, refused) = scene.vms_at_once(&l3, 20).await;
        assert_eq!((made, refused.len()), (addresses(10..=29), 0), "the lowest twenty, each once");
        let vms = scene.world.query("QueryVmInstance", &["state=Running"]).await;
        let destroy = vms.iter().map(|vm| ("DestroyVmInstance", json!({"uuid": vm["uuid"]}))).collect();
        assert!(scene.world.at_once(destroy).await.iter().all(Result::is_ok));
    }
    let of_range = format!("ipRangeUuid={range}");
    assert_eq!(scene.world.query("QueryIpAddress", &[&of_range]).await.len(), 0);
    assert_eq!(scene.free(json!({"ipRangeUuid": range, "limit": -1})).await, addresses(10..=200));
}

#[actix_rt::test]
async fn c10_the_random_choice_gives_every_address_once() {
    let scene = Scene::new().await;
    scene.strategy("Random").await;
    let (l3, _) = scene.l3_with("10.0.0.10", "10.0.0.20").await;
    let mut order = Vec::new();
    for _ in 0..11 {
        order.push(scene.vm(&l3).await.1);
    }
    assert_eq!(BTreeSet::from_iter(order), BTreeSet::from_iter(addresses(10..=20)));
    let another = json!({"name": "another", "l3NetworkUuids": [l3]});
    assert_eq!(scene.world.refused("CreateVmInstance", another).await.code, "L3.1000");
}

#[actix_rt::test]
async fn c11_a_server_and_one_vm_share_two_addresses() {
    let scene = Scene::new().await;
    scene.site.offer("vr", &scene.site.management, &scene.site.public).await;
    let (l3, range) = scene.l3_with("10.0.0.10", "10.0.0.11").await;
    // Without SNAT the router that serves the network has an address of it, like a VM.
    scene.site.serve(&l3, &["DHCP"]).await;
    let (made, refused) = scene.vms_at_once(&l3, 3).await;
    assert_eq!((made.len(), refused.len()), (1, 2));
    assert!(refused.iter().all(|refusal| refusal.code == "L3.1000"), "{refused:?}");
    let used = scene.world.query("QueryIpAddress", &[&format!("ipRangeUuid={range}")]).await;
    let holders: BTreeSet<String> = used.iter().map(|used| text(used, "vmNicUuid")).collect();
    assert_eq!((used.len(), holders.len()), (2, 2));
    scene.world.one_holder_each().await;
}

#[actix_rt::test]
async fn c13_category_and_system_change_together() {
    let scene = Scene::new().await;
    let l3 = scene.l3("Private").await;
    let updated = scene.world.make("UpdateL3Network", json!({"uuid": l3, "category": "Public", "system": false})).await;
    assert_eq!((&updated["category"], &updated["system"]), (&json!("Public"), &json!(false)));
    scene.bad("UpdateL3Network", json!({"uuid": l3, "system": true}), "together").await;
    scene.bad("UpdateL3Network", json!({"uuid": l3, "category": "Private"}), "together").await;
    scene.bad("UpdateL3Network", json!({"uuid": l3, "category": "Private", "system": true}), "system=true").await;
    scene.bad("UpdateL3Network", json!({"uuid": l3, "category": "System", "system": false}), "system=false").await;
    let system = scene.world.make("UpdateL3Network", json!({"uuid": l3, "category": "System", "system": true})).await;
    assert_eq!((&system["category"], &system["system"]), (&json!("System"), &json!(true)));
}
