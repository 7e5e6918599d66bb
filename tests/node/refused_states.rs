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
    for (name, parameters) in [
        ("DeleteL2Network", json!({"uuid": l2})),
        ("ChangeL2NetworkVlanId", json!({"uuid": l2, "type": "L2VlanNetwork", "vlan": 7})),
    ] {
        says(&world.fails(name, parameters).await, "SYS.1006", &[&l2, "is being attached"]);
    }
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

/// A VM with its router, and a public network that the router may be given.
struct Machines {
    site: Site,
    vm: String,
    router: String,
    public: String,
}

const ATTACH: &str = "AttachL3NetworkToVm";

impl Machines {
    async fn new(world: &World) -> Machines {
        let site = Site::new(world).await;
        let guest = site.guest("guest", &["DHCP"]).await;
        let vm = uuid(&site.vm("vm", &guest).await);
        let router = uuid(&world.router_of(&guest).await);
        let public = public(&site, 99).await;
        Machines { site, vm, router, public }
    }

    async fn refuses(&self, machine: &str, l3: &str, code: &str, words: &[&str]) {
        let attach = json!({"vmInstanceUuid": machine, "l3NetworkUuid": l3});
        says(&self.site.world.refused(ATTACH, attach).await, code, words);
    }
}

/// A public network of its own addresses.
async fn public(site: &Site, number: usize) -> String {
    let l3 = json!({"name": "public", "l2NetworkUuid": site.l2("public").await, "category": "Public"});
    let l3 = uuid(&site.world.make("CreateL3Network", l3).await);
    let range = json!({"l3NetworkUuid": l3, "name": "r", "networkCidr": format!("198.51.{number}.0/24")});
    site.world.done("AddIpRangeByNetworkCidr", range).await;
    l3
}

#[actix_rt::test]
async fn a_machine_gets_no_nic_on_a_network_that_is_not_there_for_it() {
    let world = World::new();
    let machines = Machines::new(&world).await;
    let Machines { site, vm, router, public } = &machines;
    let l2 = text(&world.get("QueryL3Network", public).await, "l2NetworkUuid");
    let disable = |event: &str| json!({"uuid": public, "stateEvent": event});
    world.done("ChangeL3NetworkState", disable("disable")).await;
    for machine in [vm, router] {
        machines.refuses(machine, public, "SYS.1006", &["l3NetworkUuid", public, "disabled"]).await;
    }
    world.done("ChangeL3NetworkState", disable("enable")).await;
    world.done("DetachL2NetworkFromCluster", json!({"l2NetworkUuid": l2, "clusterUuid": site.cluster})).await;
    for machine in [vm, router] {
        machines.refuses(machine, public, "HOST_ALLOCATION.1001", &["l3NetworkUuid", public, &l2, &site.cluster]).await;
    }
    let other = uuid(&world.make("CreateZone", json!({"name": "other"})).await);
    let l2 = json!({"zoneUuid": other, "name": "l2", "physicalInterface": "eth0"});
    let l2 = uuid(&world.make("CreateL2NoVlanNetwork", l2).await);
    let far = json!({"name": "far", "l2NetworkUuid": l2, "category": "Public"});
    let far = uuid(&world.make("CreateL3Network", far).await);
    for machine in [vm, router] {
        machines.refuses(machine, &far, "SYS.1007", &["l3NetworkUuid", &far, &site.zone]).await;
    }
}

#[actix_rt::test]
async fn a_machine_has_at_most_sixteen_nics() {
    let world = World::new();
    let machines = Machines::new(&world).await;
    let Machines { site, vm, router, .. } = &machines;
    let nics = world.get("QueryVirtualRouterVm", router).await["vmNics"].as_array().unwrap().len();
    for number in 1..16 {
        let l3 = public(site, number).await;
        world.durable(ATTACH, json!({"vmInstanceUuid": vm, "l3NetworkUuid": l3})).await;
        if number + nics <= 16 {
            world.durable(ATTACH, json!({"vmInstanceUuid": router, "l3NetworkUuid": l3})).await;
        }
    }
    for machine in [vm, router] {
        machines.refuses(machine, &machines.public, "SYS.1006", &["vmInstanceUuid", machine, "16 nics"]).await;
    }
}

#[actix_rt::test]
async fn a_machine_on_a_host_that_is_away_is_left_as_it_is() {
    let world = World::new();
    world.configure("host", "ping.interval", "1").await;
    let machines = Machines::new(&world).await;
    let Machines { vm, router, public, .. } = &machines;
    for (query, machine) in [("QueryVmInstance", vm), ("QueryVirtualRouterVm", router)] {
        let host = text(&world.get(query, machine).await, "hostUuid");
        world.fleet().unreachable(id(&host), true);
        world.until_is("QueryHost", &host, "status", "Disconnected").await;
        machines.refuses(machine, public, "SYS.1006", &[&host, machine, "not Connected"]).await;
        if machine == vm {
            let refusal = world.refused("PauseVmInstance", json!({"uuid": vm})).await;
            says(&refusal, "SYS.1006", &[&host, vm, "not Connected"]);
        }
    }
}
