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
async fn f5_a_provider_that_does_not_serve_the_l2_network_is_refused() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let (l3, provider) = (scene.l3("Private").await, provider(world).await);
    let pair = json!({"networkServiceProviderUuid": provider, "l2NetworkUuid": scene.l2});
    // Every provider may serve a new L2 network.
    let of_l2 = || async { world.get("QueryL2Network", &scene.l2).await["networkServiceProviderUuids"].clone() };
    assert_eq!(of_l2().await.as_array().map(Vec::len), Some(4));
    let found = world.query("QueryNetworkServiceProvider", &[&format!("attachedL2Networks.uuid={}", scene.l2)]).await;
    assert_eq!(found.len(), 4);
    world.done("DetachNetworkServiceProviderFromL2Network", pair.clone()).await;
    assert_eq!(of_l2().await.as_array().map(Vec::len), Some(3));
    let refusal = world.refused(ATTACH, of(&l3, "VirtualRouter", &["DHCP"])).await;
    assert!(refusal.code == "SYS.1007" && refusal.detail.contains(&scene.l2), "{refusal}");
    assert_eq!(world.refused("DetachNetworkServiceProviderFromL2Network", pair.clone()).await.code, "NWS.1001");
    world.done("AttachNetworkServiceProviderToL2Network", pair.clone()).await;
    assert_eq!(world.refused("AttachNetworkServiceProviderToL2Network", pair.clone()).await.code, "NWS.1000");
    world.done(ATTACH, of(&l3, "VirtualRouter", &["DHCP"])).await;
    // What gives a service stays.
    let refusal = world.refused("DetachNetworkServiceProviderFromL2Network", pair).await;
    assert!(refusal.code == "NWS.1001" && refusal.blockers.len() == 1, "{refusal}");
}

/// What the DHCP of a network's router says, as its agent has it.
async fn dhcp(world: &World, l3: &str) -> Value {
    let router = uuid(&world.router_of(l3).await);
    let sections = world.sections(&router).await;
    sections["dhcp"]["networks"].as_array().unwrap().iter().find(|network| network["l3Network"] == *l3).unwrap().clone()
}

#[actix_rt::test]
async fn f7_dhcp_names_the_router_where_the_network_has_dns() {
    let world = World::new();
    let site = Site::new(&world).await;
    for (services, servers) in [
        (&["DHCP", "DNS", "SNAT"][..], None),
        // Without the service clients ask the network's own name servers.
        (&["DHCP", "SNAT"][..], Some(json!(["1.1.1.1"]))),
    ] {
        let l3 = site.guest("guest", services).await;
        world.done("AddDnsToL3Network", json!({"l3NetworkUuid": l3, "dns": "1.1.1.1"})).await;
        site.vm("vm", &l3).await;
        let told = dhcp(&world, &l3).await;
        let router = json!([told["server"]]);
        assert_eq!(told["dnsServers"], servers.unwrap_or(router), "{services:?}");
        let nics = world.router_of(&l3).await["vmNics"].clone();
        assert!(nics.as_array().unwrap().iter().any(|nic| nic["ip"] == told["server"]), "{nics}");
    }
}

#[actix_rt::test]
async fn f8_a_name_server_that_is_added_again_goes_last() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", &["DHCP", "SNAT"]).await;
    site.vm("vm", &l3).await;
    let of = |dns: &str| json!({"l3NetworkUuid": l3, "dns": dns});
    for dns in ["1.1.1.1", "1.1.1.2", "1.1.1.3"] {
        world.done("AddDnsToL3Network", of(dns)).await;
    }
    assert_eq!(dhcp(&world, &l3).await["dnsServers"], json!(["1.1.1.1", "1.1.1.2", "1.1.1.3"]));
    world.done("RemoveDnsFromL3Network", of("1.1.1.2")).await;
    world.done("AddDnsToL3Network", of("1.1.1.2")).await;
    assert_eq!(dhcp(&world, &l3).await["dnsServers"], json!(["1.1.1.1", "1.1.1.3", "1.1.1.2"]));
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
async fn m10_a_host_route_is_added_once_and_removed_once() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", &["DHCP", "DNS", "SNAT"]).await;
    site.vm("vm", &l3).await;
    let route = |prefix: &str| json!({"l3NetworkUuid": l3, "prefix": prefix, "nexthop": "10.12.0.77"});
    let gone = |prefix: &str| json!({"l3NetworkUuid": l3, "prefix": prefix});
    world.done("AddHostRouteToL3Network", route("10.200.0.0/16")).await;
    // The same subnet in other words.
    assert_eq!(world.refused("AddHostRouteToL3Network", route("10.200.7.9/16")).await.code, "SYS.1006");
    let shown = world.get("QueryL3Network", &l3).await["hostRoute"].clone();
    assert_eq!((&shown[0]["prefix"], &shown[0]["nexthop"]), (&json!("10.200.0.0/16"), &json!("10.12.0.77")));
    let told = dhcp(&world, &l3).await["routes"].clone();
    assert_eq!(told, json!([{"prefix": "10.200.0.0/16", "nexthop": "10.12.0.77"}]));
    world.done("RemoveHostRouteFromL3Network", gone("10.200.0.0/16")).await;
    assert_eq!(world.refused("RemoveHostRouteFromL3Network", gone("10.200.0.0/16")).await.code, "SYS.1006");
    assert_eq!(world.get("QueryL3Network", &l3).await["hostRoute"], json!([]));
    assert_eq!(dhcp(&world, &l3).await["routes"], json!([]));
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
    // IPv6 is compared as a number, and an IPv4 address in its clothes is the IPv4 address.
    assert_eq!(scene.world.refused("AddDnsToL3Network", of("::ffff:1.1.1.1")).await.code, "SYS.1006");
    scene.world.done("AddDnsToL3Network", of("2001:db8::1")).await;
    assert_eq!(scene.world.refused("AddDnsToL3Network", of("2001:0db8:0:0::0001")).await.code, "SYS.1006");
    scene.world.done("RemoveDnsFromL3Network", of("2001:DB8:0::1")).await;
    for _ in 0..2 {
        scene.world.done("RemoveDnsFromL3Network", of("1.1.1.2")).await;
    }
    // What is added again goes last.
    scene.world.done("AddDnsToL3Network", of("1.1.1.2")).await;
    let dns = scene.world.get("QueryL3Network", &l3).await["dns"].clone();
    assert_eq!(dns, json!(["1.1.1.1", "1.1.1.3", "1.1.1.2"]));
}
