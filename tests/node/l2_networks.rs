//! L2 networks on their hosts: changes of the VLAN, bridges that stay, hosts that are away.

use crate::harness::{ALL_SERVICES, Site, World, id, text, uuid};
use serde_json::{Value, json};
use std::time::Instant;
use switchback_agent::kernel::FailKind;
use switchback_events::HostId;

const CHANGE: &str = "ChangeL2NetworkVlanId";
const ATTACH: &str = "AttachL2NetworkToCluster";
const DETACH: &str = "DetachL2NetworkFromCluster";

fn bridges(world: &World, host: &str) -> Vec<String> {
    world.fleet().bridges(HostId(id(host)))
}

fn has(world: &World, host: &str, bridge: &str) -> bool {
    bridges(world, host).iter().any(|name| name == bridge)
}

fn pair(l2: &str, cluster: &str) -> Value {
    json!({"l2NetworkUuid": l2, "clusterUuid": cluster})
}

fn to_vlan(l2: &str, vlan: u16) -> Value {
    json!({"uuid": l2, "vlan": vlan, "type": "L2VlanNetwork"})
}

fn to_untagged(l2: &str) -> Value {
    json!({"uuid": l2, "type": "L2NoVlanNetwork"})
}

/// An L2 network of VLAN 10 on `eth2`, attached.
async fn attached(site: &Site) -> String {
    let l2 = json!({"zoneUuid": site.zone, "name": "l2", "physicalInterface": "eth2", "vlan": 10});
    let l2 = uuid(&site.world.make("CreateL2VlanNetwork", l2).await);
    site.world.done(ATTACH, pair(&l2, &site.cluster)).await;
    l2
}

#[actix_rt::test]
async fn a_network_that_changes_its_vlan_goes_on_with_all_that_is_on_it() {
    let world = World::new();
    let site = Site::new(&world).await;
    let guest = site.guest("guest", ALL_SERVICES).await;
    let vm = uuid(&site.vm("vm", &guest).await);
    let router = uuid(&world.router_of(&guest).await);
    let l2 = text(&world.get("QueryL3Network", &guest).await, "l2NetworkUuid");
    let before = world.get("QueryL2Network", &l2).await["vlan"].clone();
    let head = world.head();
    let changed = world.make(CHANGE, to_vlan(&l2, 900)).await;
    assert_eq!((&changed["vlan"], &changed["virtualNetworkId"]), (&json!(900), &json!(900)));
    for host in &site.hosts {
        assert!(has(&world, host, "br_eth0_900") && !has(&world, host, &format!("br_eth0_{before}")));
    }
    let events = world.kinds_after(head).await;
    assert_eq!(events, ["l2_network.VlanChangeRequested", "l2_network.VlanChanged"], "nothing else was touched");
    assert_eq!(world.get("QueryVmInstance", &vm).await["state"], "Running");
    assert_eq!(world.get("QueryVirtualRouterVm", &router).await["status"], "Connected");

    assert_eq!(world.done(CHANGE, json!({"uuid": l2, "vlan": 900})).await.events.len(), 0, "it has that VLAN already");
    // eth0 carries untagged frames of nobody else.
    let untagged = world.make(CHANGE, to_untagged(&l2)).await;
    assert_eq!((text(&untagged, "type").as_str(), &untagged["vlan"]), ("L2NoVlanNetwork", &Value::Null));
    assert!(has(&world, &site.hosts[0], "br_eth0") && !has(&world, &site.hosts[0], "br_eth0_900"));
    assert_eq!(world.done(CHANGE, json!({"uuid": l2})).await.events.len(), 0, "it is untagged already");
    let tagged = world.make(CHANGE, to_vlan(&l2, 901)).await;
    assert_eq!((text(&tagged, "type").as_str(), &tagged["virtualNetworkId"]), ("L2VlanNetwork", &json!(901)));
    assert!(has(&world, &site.hosts[0], "br_eth0_901") && !has(&world, &site.hosts[0], "br_eth0"));
    world.done("RebootVmInstance", json!({"uuid": vm})).await;
}

#[actix_rt::test]
async fn a_change_that_one_host_cannot_make_is_taken_back_on_all() {
    let world = World::new();
    let site = Site::bare(&world, 12).await;
    let l2 = attached(&site).await;
    let l3 = uuid(&world.make("CreateL3Network", json!({"name": "l3", "l2NetworkUuid": l2})).await);
    let range = json!({"l3NetworkUuid": l3, "name": "r", "networkCidr": "10.70.0.0/24"});
    world.done("AddIpRangeByNetworkCidr", range).await;
    let vm = site.vm("vm", &l3).await;
    let broken = site.hosts.iter().find(|host| **host != text(&vm, "hostUuid")).unwrap();
    for unplugged in [false, true] {
        match unplugged {
            false => world.fleet().fail_next(id(broken), FailKind::Links),
            true => world.fleet().unplug(HostId(id(broken)), "eth2"),
        }
        let refusal = world.fails(CHANGE, to_vlan(&l2, 20)).await;
        assert!(refusal.code == "L2.1000" && refusal.detail.contains(broken.as_str()), "{refusal}");
        assert_eq!(world.get("QueryL2Network", &l2).await["vlan"], json!(10));
        let back = || async {
            let good = |host: &&String| has(&world, host, "br_eth2_10") && !has(&world, host, "br_eth2_20");
            site.hosts.iter().all(|host| good(&host)).then_some(())
        };
        world.until("every host is as before", back).await;
    }
    assert_eq!(world.get("QueryVmInstance", &uuid(&vm)).await["state"], "Running");
}

#[actix_rt::test]
async fn a_vlan_changes_only_where_all_hosts_take_part() {
    let world = World::new();
    world.configure("host", "ping.interval", "1").await;
    let site = Site::bare(&world, 2).await;
    let l2 = attached(&site).await;
    let other = json!({"zoneUuid": site.zone, "name": "other", "physicalInterface": "eth2", "vlan": 11});
    let other = uuid(&world.make("CreateL2VlanNetwork", other).await);
    // What is attached nowhere changes at once.
    assert_eq!(world.make(CHANGE, to_vlan(&other, 12)).await["vlan"], json!(12));
    world.done(ATTACH, pair(&other, &site.cluster)).await;
    let refusal = world.refused(CHANGE, to_vlan(&l2, 12)).await;
    assert!(refusal.code == "SYS.1007" && refusal.detail.contains("vlan = `12`") && refusal.detail.contains(&other));
    world.done(CHANGE, to_untagged(&other)).await;
    let refusal = world.refused(CHANGE, to_untagged(&l2)).await;
    assert!(refusal.code == "SYS.1007" && refusal.detail.contains("untagged frames"), "{refusal}");

    world.fleet().unreachable(id(&site.hosts[1]), true);
    world.until_is("QueryHost", &site.hosts[1], "status", "Disconnected").await;
    let refusal = world.refused(CHANGE, to_vlan(&l2, 20)).await;
    assert!(refusal.code == "SYS.1006" && refusal.detail.contains(&site.hosts[1]), "{refusal}");
    // One in maintenance is told when it is back.
    let state = |event: &str| json!({"uuid": site.hosts[1], "stateEvent": event});
    world.send("ChangeHostState", state("maintain")).await.unwrap();
    world.done(CHANGE, to_vlan(&l2, 20)).await;
    world.fleet().unreachable(id(&site.hosts[1]), false);
    assert!(has(&world, &site.hosts[1], "br_eth2_10"));
    world.done("ChangeHostState", state("enable")).await;
    assert!(has(&world, &site.hosts[1], "br_eth2_20") && !has(&world, &site.hosts[1], "br_eth2_10"));
}

#[actix_rt::test]
async fn nothing_else_happens_to_a_network_while_its_vlan_changes() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let l2 = attached(&site).await;
    let cluster = json!({"zoneUuid": site.zone, "name": "second", "hypervisorType": "Simulator"});
    let cluster = uuid(&world.make("CreateCluster", cluster).await);
    let twin = json!({"zoneUuid": site.zone, "name": "twin", "physicalInterface": "eth2", "vlan": 20});
    let twin = uuid(&world.make("CreateL2VlanNetwork", twin).await);
    world.fleet().hang(id(&site.hosts[0]), true);
    world.durable(CHANGE, to_vlan(&l2, 20)).await;
    for (name, parameters) in [
        (CHANGE, to_vlan(&l2, 30)),
        (ATTACH, pair(&l2, &cluster)),
        (DETACH, pair(&l2, &site.cluster)),
        ("DeleteL2Network", json!({"uuid": l2})),
    ] {
        let refusal = world.refused(name, parameters).await;
        assert!(refusal.code == "SYS.1006" && refusal.detail.contains("is being changed"), "{name}: {refusal}");
    }
    // It has the new frames already, and the old ones until it is done.
    assert_eq!(world.refused(ATTACH, pair(&twin, &site.cluster)).await.code, "SYS.1007");
    let delete = json!({"uuid": l2, "deleteMode": "Enforcing"});
    world.send("DeleteL2Network", delete).await.unwrap();
    world.fleet().hang(id(&site.hosts[0]), false);
    let gone = || async { (!bridges(&world, &site.hosts[0]).iter().any(|name| name.contains("eth2"))).then_some(()) };
    world.until("its bridges are gone", gone).await;
}

#[actix_rt::test]
async fn a_host_that_is_deleted_holds_up_no_attachment() {
    let world = World::new();
    let site = Site::bare(&world, 2).await;
    let l2 = json!({"zoneUuid": site.zone, "name": "l2", "physicalInterface": "eth2"});
    let l2 = uuid(&world.make("CreateL2NoVlanNetwork", l2).await);
    world.fleet().hang(id(&site.hosts[1]), true);
    world.durable(ATTACH, pair(&l2, &site.cluster)).await;
    world.send("DeleteHost", json!({"uuid": site.hosts[1]})).await.unwrap();
    let ended = || async {
        let refused = world.send(ATTACH, pair(&l2, &site.cluster)).await.err()?;
        (!refused.detail.contains("is being attached")).then_some(())
    };
    world.until("the attachment has ended", ended).await;
}

#[actix_rt::test]
async fn a_bridge_stays_where_it_is_configured_to() {
    let world = World::new();
    let mut site = Site::bare(&world, 1).await;
    world.configure("l2Network", "deleteL2.bridge", "false").await;
    let l2 = attached(&site).await;
    world.done(DETACH, pair(&l2, &site.cluster)).await;
    assert!(has(&world, &site.hosts[0], "br_eth2_10"));
    world.done("DeleteL2Network", json!({"uuid": l2})).await;
    world.configure("l2Network", "deleteL2.bridge", "true").await;
    world.done("ReconnectHost", json!({"uuid": site.hosts[0]})).await;
    assert!(has(&world, &site.hosts[0], "br_eth2_10"), "what was kept stays");
    // A host that comes later has nothing to keep.
    site.add_host().await;
    assert!(!has(&world, &site.hosts[1], "br_eth2_10"));
    // Until somebody has these frames again.
    let again = attached(&site).await;
    world.done(DETACH, pair(&again, &site.cluster)).await;
    assert!(!site.hosts.iter().any(|host| has(&world, host, "br_eth2_10")));
}

#[actix_rt::test]
async fn nobody_waits_for_a_dead_host_and_it_is_cleaned_up_when_it_is_back() {
    let world = World::new();
    world.configure("host", "ping.interval", "1").await;
    let site = Site::bare(&world, 2).await;
    let l2 = attached(&site).await;
    let dead = &site.hosts[1];
    world.fleet().unreachable(id(dead), true);
    world.until_is("QueryHost", dead, "status", "Disconnected").await;
    let started = Instant::now();
    assert!(!world.send(DETACH, pair(&l2, &site.cluster)).await.unwrap().applied, "one host has not heard of it");
    world.send("DeleteL2Network", json!({"uuid": l2})).await.unwrap();
    assert!(started.elapsed().as_secs() < 2, "{:?}", started.elapsed());
    let gone = || async { (!has(&world, &site.hosts[0], "br_eth2_10")).then_some(()) };
    world.until("the bridge is gone where somebody hears", gone).await;
    assert!(has(&world, dead, "br_eth2_10"));
    world.fleet().unreachable(id(dead), false);
    world.until_is("QueryHost", dead, "status", "Connected").await;
    assert!(!has(&world, dead, "br_eth2_10"));
}

#[actix_rt::test]
async fn a_vm_is_placed_only_where_all_its_networks_are() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let cluster = json!({"zoneUuid": site.zone, "name": "second", "hypervisorType": "Simulator"});
    let cluster = uuid(&world.make("CreateCluster", cluster).await);
    let host = json!({"clusterUuid": cluster, "name": "far", "managementIp": "10.1.1.1"});
    let far = uuid(&world.make("AddSimulatorHost", host).await);
    let one = site.network("one", "10.61.0.0/24").await;
    let two = site.network("two", "10.62.0.0/24").await;
    let l2 = |l3: Value| text(&l3, "l2NetworkUuid");
    let (l2_one, l2_two) = (l2(world.get("QueryL3Network", &one).await), l2(world.get("QueryL3Network", &two).await));
    world.done(ATTACH, pair(&l2_two, &cluster)).await;
    world.done(DETACH, pair(&l2_two, &site.cluster)).await;
    let both = json!({"name": "vm", "l3NetworkUuids": [one, two]});
    let refusal = world.refused("CreateVmInstance", both.clone()).await;
    assert!(refusal.code == "HOST_ALLOCATION.1001" && refusal.detail.contains(&l2_one), "{refusal}");
    world.done(ATTACH, pair(&l2_one, &cluster)).await;
    assert_eq!(text(&world.make("CreateVmInstance", both).await, "hostUuid"), far);
    let there = json!({"name": "vm", "l3NetworkUuids": [two], "hostUuid": site.hosts[0]});
    assert_eq!(world.refused("CreateVmInstance", there).await.code, "HOST_ALLOCATION.1000");
}

#[actix_rt::test]
async fn candidates_are_what_an_attachment_would_not_refuse() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let other_zone = uuid(&world.make("CreateZone", json!({"name": "other"})).await);
    let cluster = |zone: &str| json!({"zoneUuid": zone, "name": "more", "hypervisorType": "Simulator"});
    let second = uuid(&world.make("CreateCluster", cluster(&site.zone)).await);
    let elsewhere = uuid(&world.make("CreateCluster", cluster(&other_zone)).await);
    let first = attached(&site).await;
    let l2 = json!({"zoneUuid": site.zone, "name": "l2", "physicalInterface": "eth2", "vlan": 10});
    let twin = uuid(&world.make("CreateL2VlanNetwork", l2).await);
    let uuids = |reply: Value| reply["inventories"].as_array().unwrap().iter().map(uuid).collect::<Vec<_>>();
    for (l2, types, wanted) in [
        (&first, json!([]), vec![second.clone()]),
        (&twin, json!(["zstack"]), vec![second.clone()]),
        (&twin, json!(["baremetal"]), vec![]),
    ] {
        let ask = json!({"l2NetworkUuid": l2, "clusterTypes": types});
        assert_eq!(uuids(world.read("GetCandidateClustersForAttachingL2Network", ask).await), wanted);
    }
    let candidates = |cluster: String| {
        let world = world.clone();
        async move { uuids(world.read("GetCandidateL2NetworksForAttachingCluster", json!({"clusterUuid": cluster})).await) }
    };
    assert!(candidates(site.cluster.clone()).await.is_empty() && candidates(elsewhere).await.is_empty());
    let all = candidates(second).await;
    assert!(all.contains(&first) && all.contains(&twin), "{all:?}");
    assert_eq!(world.read("GetVSwitchTypes", json!({})).await["types"], json!(["LinuxBridge"]));
}
