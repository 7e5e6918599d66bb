//! Section F: network services and name servers; section M where it is about them.

use crate::{
    harness::{Site, World, text, uuid},
    scene::Scene,
};
use serde_json::{Value, json};

const ATTACH: &str = "AttachNetworkServiceToL3Network";
const DETACH: &str = "DetachNetworkServiceFromL3Network";

async fn services(world: &World, l3: &str) -> Vec<String> {
    let found = world.query("QueryNetworkServiceL3NetworkRef", &[&format!("l3NetworkUuid={l3}")]).await;
    let mut names: Vec<String> = found.iter().map(|one| text(one, "networkServiceType")).collect();
    names.sort();
    names
}

fn of(l3: &str, provider: &str, services: &[&str]) -> Value {
    json!({"l3NetworkUuid": l3, "networkServices": {provider: services}})
}

async fn provider(world: &World) -> String {
    uuid(&world.one("QueryNetworkServiceProvider", &["type=VirtualRouter"]).await)
}

#[actix_rt::test]
async fn f1_services_are_detached_by_the_uuid_and_by_the_type() {
    let scene = Scene::new().await;
    let world = &scene.world;
    for named in [provider(world).await, "VirtualRouter".to_string()] {
        let (l3, all) = (scene.l3("Private").await, ["DHCP", "DNS", "SNAT"]);
        world.done(ATTACH, of(&l3, "VirtualRouter", &all)).await;
        assert_eq!(services(world, &l3).await, all);
        world.done(DETACH, of(&l3, &named, &["DNS"])).await;
        assert_eq!(services(world, &l3).await, ["DHCP", "SNAT"]);
        world.done(DETACH, of(&l3, &named, &all)).await;
        assert!(services(world, &l3).await.is_empty());
    }
}

#[actix_rt::test]
async fn f2_services_are_attached_by_the_type() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let l3 = scene.l3("Private").await;
    world.done(ATTACH, of(&l3, "VirtualRouter", &["DHCP", "DNS"])).await;
    assert_eq!(services(world, &l3).await, ["DHCP", "DNS"]);
    let shown = world.get("QueryL3Network", &l3).await["networkServices"].clone();
    assert_eq!(shown[0]["networkServiceProviderUuid"], json!(provider(world).await));
    // One provider a service, and all that is asked or nothing.
    let refusal = world.refused(ATTACH, of(&l3, "VirtualRouter", &["SNAT", "DNS"])).await;
    assert_eq!(refusal.code, "SYS.1006");
    assert_eq!(services(world, &l3).await, ["DHCP", "DNS"]);
}

#[actix_rt::test]
async fn f4_eip_and_port_forwarding_need_snat() {
    let scene = Scene::new().await;
    let l3 = scene.l3("Private").await;
    for service in ["Eip", "PortForwarding"] {
        let refusal = scene.world.refused(ATTACH, of(&l3, "VirtualRouter", &[service])).await;
        assert!(refusal.code == "SYS.1006" && refusal.detail.contains("needs SNAT"), "{refusal}");
    }
}

#[actix_rt::test]
async fn f11_name_servers_reach_a_running_router_and_leave_it() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", &["DHCP", "DNS", "SNAT"]).await;
    site.vm("vm", &l3).await;
    let router = uuid(&world.router_of(&l3).await);
    let dns = json!({"l3NetworkUuid": l3, "dns": "1.1.1.1"});
    let applied = || async { world.sections(&router).await["dns"].to_string().contains("1.1.1.1") };
    assert!(!applied().await);
    for (command, there) in [("AddDnsToL3Network", true), ("RemoveDnsFromL3Network", false)] {
        // The reply comes when the router's agent has it.
        world.done(command, dns.clone()).await;
        assert_eq!(applied().await, there, "{command}");
        let drift = world.read("GetVirtualRouterDrift", json!({"uuid": router})).await;
        assert_eq!(drift["items"].as_array().map(Vec::len), Some(0), "{command}: {drift}");
    }
}

#[actix_rt::test]
async fn m11_a_name_server_is_added_once_and_removing_none_is_no_error() {
    let scene = Scene::new().await;
    let l3 = scene.l3("Private").await;
    let of = |dns: &str| json!({"l3NetworkUuid": l3, "dns": dns});
    for dns in ["1.1.1.1", "1.1.1.2", "1.1.1.3"] {
        scene.world.done("AddDnsToL3Network", of(dns)).await;
    }
    assert_eq!(scene.world.refused("AddDnsToL3Network", of("1.1.1.1")).await.code, "SYS.1006");
    for _ in 0..2 {
        scene.world.done("RemoveDnsFromL3Network", of("1.1.1.2")).await;
    }
    // What is added again goes last.
    scene.world.done("AddDnsToL3Network", of("1.1.1.2")).await;
    let dns = scene.world.get("QueryL3Network", &l3).await["dns"].clone();
    assert_eq!(dns, json!(["1.1.1.1", "1.1.1.3", "1.1.1.2"]));
}
