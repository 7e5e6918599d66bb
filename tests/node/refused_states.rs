//! Refusals for which something must first be under way, full, or stuck.

use crate::harness::{ALL_SERVICES, Site, World, id, text, uuid};
use serde_json::json;
use std::time::Duration;
use switchback::node::NodeOptions;
use switchback_agent::FleetOptions;
use switchback_bus::Refusal;

#[track_caller]
fn says(refusal: &Refusal, code: &str, words: &[&str]) {
    assert!(refusal.code == code && words.iter().all(|word| refusal.detail.contains(word)), "{code}: {refusal}");
}

#[actix_rt::test]
async fn an_attachment_that_is_under_way_is_left_alone() {
    let world = World::new();
    world.configure("host", "ping.interval", "1").await;
    let site = Site::bare(&world, 1).await;
    let host = id(&site.hosts[0]);
    let l2 = json!({"zoneUuid": site.zone, "name": "l2", "physicalInterface": "eth2"});
    let l2 = uuid(&world.make("CreateL2NoVlanNetwork", l2).await);
    let pair = json!({"l2NetworkUuid": l2, "clusterUuid": site.cluster});
    world.fleet().hang(host, true);
    world.durable("AttachL2NetworkToCluster", pair.clone()).await;
    for name in ["AttachL2NetworkToCluster", "DetachL2NetworkFromCluster"] {
        says(&world.fails(name, pair.clone()).await, "SYS.1006", &[&l2, "is being attached", &site.cluster]);
    }
    says(&world.fails("DeleteL2Network", json!({"uuid": l2})).await, "SYS.1006", &[&l2, "is being attached"]);
    world.fleet().hang(host, false);
}

#[actix_rt::test]
async fn a_host_whose_router_does_not_stop_is_not_maintained() {
    let simulation = FleetOptions { patience: Duration::from_secs(30), ..FleetOptions::default() };
    let world = World::with(NodeOptions { simulation, ..NodeOptions::default() });
    world.configure("applianceVm", "connect.timeout", "1").await;
    let mut site = Site::bare(&world, 1).await;
    site.offering = site.offer("vr", &site.management, &site.public).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    site.vm("vm", &l3).await;
    let host = site.hosts[0].clone();
    world.fleet().hang(id(&host), true);
    let refusal = world.fails("ChangeHostState", json!({"uuid": host, "stateEvent": "maintain"})).await;
    says(&refusal, "SYS.1006", &[&host, "could not be emptied"]);
    assert_eq!(text(&world.get("QueryHost", &host).await, "state"), "Disabled");
    world.fleet().hang(id(&host), false);
}

#[actix_rt::test]
async fn a_network_takes_so_many_host_routes_and_no_more() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let route = |number: usize| json!({"l3NetworkUuid": site.public, "prefix": format!("10.{number}.0.0/16"), "nexthop": "203.0.113.9"});
    for number in 0..24 {
        world.done("AddHostRouteToL3Network", route(number)).await;
    }
    let refusal = world.refused("AddHostRouteToL3Network", route(24)).await;
    says(&refusal, "SYS.1006", &["prefix", "10.24.0.0/16", "24 host routes"]);
}

#[actix_rt::test]
async fn a_network_without_address_management_takes_no_range() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let l3 = json!({"name": "plain", "l2NetworkUuid": site.l2("plain").await, "enableIPAM": false});
    let l3 = uuid(&world.make("CreateL3Network", l3).await);
    let range = json!({
        "l3NetworkUuid": l3, "name": "r", "networkCidr": "fd00:7::/64", "addressMode": "Stateful-DHCP",
    });
    let refusal = world.refused("AddIpv6RangeByNetworkCidr", range).await;
    says(&refusal, "SYS.1006", &["l3NetworkUuid", &l3, "enableIPAM"]);
}
