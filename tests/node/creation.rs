//! Many VMs at once on a network that has no router yet: exactly one router comes of it.

use crate::harness::{ALL_SERVICES, Site, World, text};
use serde_json::json;
use std::collections::BTreeSet;

async fn many_at_once(site: &Site, l3: &str, prefix: &str, count: usize) {
    let world = &site.world;
    let creates = (0..count)
        .map(|n| ("CreateVmInstance", json!({"name": format!("{prefix}-{n}"), "l3NetworkUuids": [l3]})))
        .collect();
    for answer in world.at_once(creates).await {
        let reply = answer.unwrap();
        assert!(reply.applied, "{reply:?}");
        assert_eq!(reply.inventory.unwrap()["state"], "Running");
    }
}

async fn one_router_serves_all(site: &Site, l3: &str, count: usize) {
    let world = &site.world;
    let router = world.router_of(l3).await;
    assert_eq!(text(&router, "status"), "Connected");
    let sections = world.sections(&text(&router, "uuid")).await;
    let hosts = sections["dhcp"]["hosts"].as_array().unwrap();
    assert_eq!(hosts.len(), count);
    let distinct = |field: &str| hosts.iter().map(|host| text(host, field)).collect::<BTreeSet<_>>().len();
    assert_eq!((distinct("ip"), distinct("mac"), distinct("hostname")), (count, count, count));
    world.one_holder_each().await;
}

#[actix_rt::test]
async fn one_vm_and_then_fifteen_at_once_share_one_router() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    site.vm("first", &l3).await;
    many_at_once(&site, &l3, "vm", 15).await;
    one_router_serves_all(&site, &l3, 16).await;
}

#[actix_rt::test]
async fn fifteen_vms_at_once_make_one_router_every_time() {
    let world = World::new();
    let site = Site::new(&world).await;
    for round in 0..20 {
        let l3 = site.guest(&format!("guest-{round}"), ALL_SERVICES).await;
        many_at_once(&site, &l3, &format!("vm-{round}"), 15).await;
        one_router_serves_all(&site, &l3, 15).await;
    }
    assert_eq!(world.query("QueryVirtualRouterVm", &[]).await.len(), 20);
}

#[actix_rt::test]
async fn as_many_vms_start_as_there_are_addresses() {
    let world = World::new();
    let site = Site::new(&world).await;
    // 8 addresses less network, broadcast and gateway.
    let l3 = site.network("small", "10.99.0.0/29").await;
    site.serve(&l3, ALL_SERVICES).await;
    let creates: Vec<_> =
        (0..12).map(|n| ("CreateVmInstance", json!({"name": format!("vm-{n}"), "l3NetworkUuids": [l3]}))).collect();
    let answers = world.at_once(creates).await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (5, 7));
    assert!(refused.iter().all(|answer| answer.as_ref().unwrap_err().code == "L3.1000"), "{refused:?}");
    assert_eq!(site.free(&l3).await, 0);
    one_router_serves_all(&site, &l3, 5).await;
}

#[actix_rt::test]
async fn creating_and_destroying_at_once_leaks_nothing() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let free = site.free(&l3).await;
    for round in 0..3 {
        many_at_once(&site, &l3, &format!("vm-{round}"), 8).await;
        let vms = world.query("QueryVmInstance", &[]).await;
        let mut work: Vec<_> = vms.iter().map(|vm| ("DestroyVmInstance", json!({"uuid": text(vm, "uuid")}))).collect();
        work.push(("DestroyVmInstance", json!({"uuid": text(&world.router_of(&l3).await, "uuid")})));
        for answer in world.at_once(work).await {
            answer.unwrap();
        }
    }
    assert!(world.query("QueryVmInstance", &[]).await.is_empty());
    assert!(world.query("QueryVmNic", &[]).await.is_empty());
    assert_eq!(site.free(&l3).await, free);
}
