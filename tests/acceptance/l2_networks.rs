//! Section D: L2 networks, and what sections A and M say of them and of places.

use crate::harness::{Site, World, id, uuid};
use serde_json::{Value, json};
use switchback_agent::kernel::FailKind;
use switchback_events::HostId;

const ATTACH: &str = "AttachL2NetworkToCluster";
const DETACH: &str = "DetachL2NetworkFromCluster";

/// An L2 network on `eth2`; the name of its bridge besides its uuid.
async fn l2(site: &Site, vlan: Option<u16>) -> (String, String) {
    let mut l2 = json!({"zoneUuid": site.zone, "name": "l2", "physicalInterface": "eth2"});
    match vlan {
        Some(vlan) => {
            l2["vlan"] = json!(vlan);
            (uuid(&site.world.make("CreateL2VlanNetwork", l2).await), format!("br_eth2_{vlan}"))
        }
        None => (uuid(&site.world.make("CreateL2NoVlanNetwork", l2).await), "br_eth2".to_string()),
    }
}

fn pair(l2: &str, cluster: &str) -> Value {
    json!({"l2NetworkUuid": l2, "clusterUuid": cluster})
}

/// Another cluster of the site with one host: both uuids.
async fn second_cluster(site: &Site) -> (String, String) {
    let cluster = json!({"zoneUuid": site.zone, "name": "second", "hypervisorType": "Simulator"});
    let cluster = uuid(&site.world.make("CreateCluster", cluster).await);
    let host = json!({"clusterUuid": cluster, "name": "far", "managementIp": "10.1.1.1"});
    let host = uuid(&site.world.make("AddSimulatorHost", host).await);
    (cluster, host)
}

/// An L3 network with a range on an L2 network.
async fn l3(world: &World, l2: &str, cidr: &str) -> String {
    let l3 = uuid(&world.make("CreateL3Network", json!({"name": "l3", "l2NetworkUuid": l2})).await);
    world.done("AddIpRangeByNetworkCidr", json!({"l3NetworkUuid": l3, "name": "r", "networkCidr": cidr})).await;
    l3
}

fn has_bridge(world: &World, host: &str, bridge: &str) -> bool {
    world.fleet().bridges(HostId(id(host))).iter().any(|name| name == bridge)
}

async fn nics_of(world: &World, vm: &str) -> Vec<Value> {
    world.query("QueryVmNic", &[&format!("vmInstanceUuid={vm}")]).await
}

#[actix_rt::test]
async fn a29_a_probe_by_arp_makes_an_address_unavailable_that_somebody_answers_for() {
    let world = World::new();
    let site = Site::bare(&world, 2).await;
    let (l2, _) = l2(&site, Some(10)).await;
    world.done(ATTACH, pair(&l2, &site.cluster)).await;
    let l3 = l3(&world, &l2, "10.60.0.0/24").await;
    let mac = "52:54:00:00:00:07";
    let (stranger, nobody) = ("10.60.0.70", "10.60.0.71");
    world.fleet().neighbour(HostId(id(&site.hosts[1])), stranger.parse().unwrap(), mac.parse().unwrap());
    let ask = |ip: &str, arp: bool| json!({"l3NetworkUuid": l3, "ip": ip, "arpCheck": arp});
    let answer = |ip: &'static str, arp: bool| world.read("CheckIpAvailability", ask(ip, arp));
    assert_eq!(answer(stranger, false).await["available"], json!(true));
    let found = answer(stranger, true).await;
    assert_eq!((&found["available"], &found["reason"], &found["mac"]), (&json!(false), &json!("used"), &json!(mac)));
    assert_eq!(answer(nobody, true).await, json!({"available": true, "reason": null}));
    // Agents that cannot be asked say nothing.
    for host in &site.hosts {
        world.fleet().unreachable(id(host), true);
    }
    assert_eq!(answer(stranger, true).await, json!({"available": true, "reason": null}));
    assert_eq!(answer("10.60.0.1", true).await["reason"], json!("gateway"));
}

#[actix_rt::test]
async fn a31_a_range_goes_though_a_host_is_disconnected_and_the_host_follows() {
    let world = World::new();
    world.configure("host", "ping.interval", "1").await;
    let site = Site::bare(&world, 1).await;
    let (l2, _) = l2(&site, None).await;
    world.done(ATTACH, pair(&l2, &site.cluster)).await;
    let l3 = l3(&world, &l2, "10.60.0.0/24").await;
    let vm = uuid(&site.vm("vm", &l3).await);
    let range = uuid(&world.one("QueryIpRange", &[&format!("l3NetworkUuid={l3}")]).await);
    world.fleet().unreachable(id(&site.hosts[0]), true);
    world.until_is("QueryHost", &site.hosts[0], "status", "Disconnected").await;
    world.refused("DeleteIpRange", json!({"uuid": range})).await;
    let reply = world.send("DeleteIpRange", json!({"uuid": range, "deleteMode": "Enforcing"})).await.unwrap();
    assert!(!reply.applied, "the host has not heard of it");
    assert_eq!(nics_of(&world, &vm).await.len(), 0);
    assert!(world.query("QueryIpAddress", &[&format!("l3NetworkUuid={l3}")]).await.is_empty());
    world.fleet().unreachable(id(&site.hosts[0]), false);
    world.until_is("QueryHost", &site.hosts[0], "status", "Connected").await;
    world.done("StopVmInstance", json!({"uuid": vm})).await;
}

#[actix_rt::test]
async fn d1_a_second_untagged_network_on_an_interface_is_refused() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let (first, _) = l2(&site, None).await;
    let (second, _) = l2(&site, None).await;
    world.done(ATTACH, pair(&first, &site.cluster)).await;
    assert_eq!(world.refused(ATTACH, pair(&second, &site.cluster)).await.code, "SYS.1007");
    let (cluster, _) = second_cluster(&site).await;
    world.done(ATTACH, pair(&second, &cluster)).await;
}

#[actix_rt::test]
async fn d2_a_second_network_with_the_same_vlan_is_refused() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let (first, _) = l2(&site, Some(10)).await;
    let (second, _) = l2(&site, Some(10)).await;
    let (other, _) = l2(&site, Some(11)).await;
    world.done(ATTACH, pair(&first, &site.cluster)).await;
    assert_eq!(world.refused(ATTACH, pair(&second, &site.cluster)).await.code, "SYS.1007");
    world.done(ATTACH, pair(&other, &site.cluster)).await;
}

#[actix_rt::test]
async fn d4_a_new_host_gets_the_untagged_bridge_before_those_of_vlans() {
    let world = World::new();
    let mut site = Site::bare(&world, 1).await;
    for vlan in (1..=50).map(Some).chain([None]).chain((51..=100).map(Some)) {
        let (l2, _) = l2(&site, vlan).await;
        world.done(ATTACH, pair(&l2, &site.cluster)).await;
    }
    site.add_host().await;
    let bridges = world.fleet().bridges(HostId(id(&site.hosts[1])));
    assert_eq!(bridges[0], "br_eth2");
    assert_eq!(bridges.iter().filter(|name| name.starts_with("br_eth2_")).count(), 100);
}

#[actix_rt::test]
async fn d5_a_detach_takes_bridge_and_nics_from_its_cluster_only() {
    for vlan in [None, Some(10)] {
        let world = World::new();
        let site = Site::bare(&world, 1).await;
        let (cluster, host) = second_cluster(&site).await;
        let (l2, bridge) = l2(&site, vlan).await;
        for cluster in [&site.cluster, &cluster] {
            world.done(ATTACH, pair(&l2, cluster)).await;
        }
        let l3 = l3(&world, &l2, "10.60.0.0/24").await;
        let mut vms = Vec::new();
        for cluster in [&site.cluster, &cluster] {
            let vm = json!({"name": "vm", "l3NetworkUuids": [l3], "clusterUuid": cluster});
            vms.push(uuid(&world.make("CreateVmInstance", vm).await));
        }
        let free = site.free(&l3).await;
        let refusal = world.refused(DETACH, pair(&l2, &site.cluster)).await;
        assert_eq!(refusal.blockers[0].uuid, id(&vms[0]), "{refusal}");
        let mut enforcing = pair(&l2, &site.cluster);
        enforcing["deleteMode"] = json!("Enforcing");
        let detached = world.make(DETACH, enforcing).await;
        assert_eq!(detached["attachedClusterUuids"], json!([cluster]));
        assert!(!has_bridge(&world, &site.hosts[0], &bridge) && has_bridge(&world, &host, &bridge));
        assert_eq!((nics_of(&world, &vms[0]).await.len(), nics_of(&world, &vms[1]).await.len()), (0, 1));
        let vm = world.get("QueryVmInstance", &vms[0]).await;
        assert_eq!((&vm["state"], &vm["defaultL3NetworkUuid"]), (&json!("Running"), &Value::Null));
        assert_eq!(site.free(&l3).await, free + 1);
        world.one_holder_each().await;
        world.done("DestroyVmInstance", json!({"uuid": vms[0]})).await;
    }
}

#[actix_rt::test]
async fn d7_a_delete_takes_the_bridge_from_each_host() {
    for vlan in [None, Some(10)] {
        let world = World::new();
        let site = Site::bare(&world, 2).await;
        let (l2, bridge) = l2(&site, vlan).await;
        world.done(ATTACH, pair(&l2, &site.cluster)).await;
        assert!(site.hosts.iter().all(|host| has_bridge(&world, host, &bridge)));
        world.done("DeleteL2Network", json!({"uuid": l2})).await;
        assert!(!site.hosts.iter().any(|host| has_bridge(&world, host, &bridge)));
    }
}

#[actix_rt::test]
async fn d8_a_delete_succeeds_though_an_agent_cannot_remove_the_bridge() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let (l2, bridge) = l2(&site, None).await;
    world.done(ATTACH, pair(&l2, &site.cluster)).await;
    world.fleet().fail_next(id(&site.hosts[0]), FailKind::Links);
    world.send("DeleteL2Network", json!({"uuid": l2})).await.unwrap();
    assert!(world.query("QueryL2Network", &[&format!("uuid={l2}")]).await.is_empty());
    world.send("ReconnectHost", json!({"uuid": site.hosts[0]})).await.unwrap();
    world.until("the bridge is gone", || async { (!has_bridge(&world, &site.hosts[0], &bridge)).then_some(()) }).await;
}

#[actix_rt::test]
async fn d10_a_host_in_maintenance_gets_the_bridge_when_it_is_back() {
    let world = World::new();
    let site = Site::bare(&world, 2).await;
    let (l2, bridge) = l2(&site, None).await;
    let state = |event: &str| json!({"uuid": site.hosts[0], "stateEvent": event});
    world.done("ChangeHostState", state("maintain")).await;
    world.done(ATTACH, pair(&l2, &site.cluster)).await;
    assert!(!has_bridge(&world, &site.hosts[0], &bridge) && has_bridge(&world, &site.hosts[1], &bridge));
    world.done("ChangeHostState", state("enable")).await;
    assert!(has_bridge(&world, &site.hosts[0], &bridge));
}

#[actix_rt::test]
async fn d11_with_an_l2_network_its_l3_networks_ranges_and_nics_go() {
    let world = World::new();
    let site = Site::new(&world).await;
    let guest = site.guest("guest", &["DHCP", "DNS", "SNAT"]).await;
    let kept = site.network("kept", "10.60.0.0/24").await;
    let both = json!({"name": "vm", "l3NetworkUuids": [guest, kept]});
    let vm = uuid(&world.make("CreateVmInstance", both).await);
    let router = uuid(&world.router_of(&guest).await);
    let before = (site.free(&site.management).await, site.free(&site.public).await);
    let l2 = world.get("QueryL3Network", &guest).await["l2NetworkUuid"].clone();
    let refusal = world.refused("DeleteL2Network", json!({"uuid": l2})).await;
    assert_eq!(refusal.blockers[0].uuid, id(&guest), "{refusal}");
    world.done("DeleteL2Network", json!({"uuid": l2, "deleteMode": "Enforcing"})).await;
    for (query, field, value) in [
        ("QueryL2Network", "uuid", l2.as_str().unwrap()),
        ("QueryL3Network", "uuid", &guest),
        ("QueryIpRange", "l3NetworkUuid", &guest),
        ("QueryVmNic", "l3NetworkUuid", &guest),
        ("QueryVirtualRouterVm", "uuid", &router),
    ] {
        assert!(world.query(query, &[&format!("{field}={value}")]).await.is_empty(), "{query}");
    }
    let vm = world.get("QueryVmInstance", &vm).await;
    assert_eq!((&vm["state"], &vm["defaultL3NetworkUuid"]), (&json!("Running"), &json!(kept)));
    assert_eq!(vm["vmNics"].as_array().unwrap().len(), 1);
    assert_eq!((site.free(&site.management).await, site.free(&site.public).await), (before.0 + 1, before.1 + 1));
    world.one_holder_each().await;
}

#[actix_rt::test]
async fn d13_what_is_not_attached_cannot_be_detached() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let (l2, _) = l2(&site, None).await;
    world.done(ATTACH, pair(&l2, &site.cluster)).await;
    world.done(DETACH, pair(&l2, &site.cluster)).await;
    for mode in ["Permissive", "Enforcing"] {
        let mut again = pair(&l2, &site.cluster);
        again["deleteMode"] = json!(mode);
        let refusal = world.refused(DETACH, again).await;
        assert!(refusal.code == "SYS.1006" && refusal.detail.contains("has not been attached"), "{refusal}");
    }
}

#[actix_rt::test]
async fn m1_a_network_that_one_host_cannot_realise_is_not_attached() {
    let world = World::new();
    let site = Site::bare(&world, 2).await;
    let (l2, bridge) = l2(&site, None).await;
    world.fleet().unplug(HostId(id(&site.hosts[1])), "eth2");
    let refusal = world.fails(ATTACH, pair(&l2, &site.cluster)).await;
    assert!(refusal.code == "L2.1000" && refusal.detail.contains(&site.hosts[1]), "{refusal}");
    assert_eq!(world.get("QueryL2Network", &l2).await["attachedClusterUuids"], json!([]));
    world.until("nobody has it", || async { (!has_bridge(&world, &site.hosts[0], &bridge)).then_some(()) }).await;
}

#[actix_rt::test]
async fn m2_what_is_not_there_is_deleted_already() {
    let world = World::new();
    let site = Site::new(&world).await;
    let guest = site.guest("guest", &["DHCP"]).await;
    let vm = uuid(&site.vm("vm", &guest).await);
    let router = uuid(&world.router_of(&guest).await);
    let range = uuid(&world.one("QueryIpRange", &[&format!("l3NetworkUuid={guest}")]).await);
    let l2 = world.get("QueryL3Network", &guest).await["l2NetworkUuid"].as_str().unwrap().to_string();
    // With the zone all goes that is in it, and what is told again has nothing to do.
    world.done("DeleteZone", json!({"uuid": site.zone, "deleteMode": "Enforcing"})).await;
    let after = world.head();
    for (name, uuid) in [
        ("DestroyVmInstance", &vm),
        ("DestroyVmInstance", &router),
        ("DeleteIpRange", &range),
        ("DeleteL3Network", &guest),
        ("DeleteL2Network", &l2),
        ("DeleteInstanceOffering", &site.offering),
        ("DeleteHost", &site.hosts[0]),
        ("DeleteCluster", &site.cluster),
        ("DeleteZone", &site.zone),
    ] {
        world.done(name, json!({"uuid": uuid})).await;
    }
    assert_eq!(world.asked_since(after).await, [""; 0], "nothing was left to delete");
    for query in [
        "QueryZone",
        "QueryCluster",
        "QueryHost",
        "QueryL2Network",
        "QueryL3Network",
        "QueryIpRange",
        "QueryVmInstance",
        "QueryVmNic",
        "QueryVirtualRouterVm",
        "QueryVirtualRouterOffering",
        "QueryIpAddress",
    ] {
        assert_eq!(world.query(query, &[]).await, Vec::<Value>::new(), "{query}");
    }
}
