//! Hosts that are taken out of use and back.

use crate::harness::{ALL_SERVICES, Site, World, id, text, uuid};
use serde_json::json;
use switchback_events::HostId;

fn state(uuid: &str, event: &str) -> serde_json::Value {
    json!({"uuid": uuid, "stateEvent": event})
}

#[actix_rt::test]
async fn a_host_that_is_to_be_maintained_is_emptied_and_left_alone_until_it_is_taken_back() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let vm = site.vm("vm", &l3).await;
    let host = text(&vm, "hostUuid");
    let other = site.hosts.iter().find(|other| **other != host).unwrap();
    let before = world.head();
    let maintained = world.make("ChangeHostState", state(&host, "maintain")).await;
    assert_eq!(text(&maintained, "state"), "Maintenance");
    assert_eq!(text(&world.get("QueryVmInstance", &uuid(&vm)).await, "state"), "Stopped");
    let changes = world.kinds_after(before).await;
    assert_eq!(changes.iter().filter(|kind| *kind == "host.StateChanged").count(), 2, "{changes:?}");
    assert_eq!(world.done("ChangeHostState", state(&host, "maintain")).await.events.len(), 0);

    // Nobody asks it for anything, and it holds up nothing.
    world.fleet().unplug(HostId(id(&host)), "eth2");
    let l2 = json!({"zoneUuid": site.zone, "name": "l2", "physicalInterface": "eth2"});
    let l2 = uuid(&world.make("CreateL2NoVlanNetwork", l2).await);
    world.done("AttachL2NetworkToCluster", json!({"l2NetworkUuid": l2, "clusterUuid": site.cluster})).await;
    assert!(!world.fleet().bridges(HostId(id(&host))).contains(&"br_eth2".to_string()));
    assert!(world.fleet().bridges(HostId(id(other))).contains(&"br_eth2".to_string()));
    world.done("DetachL2NetworkFromCluster", json!({"l2NetworkUuid": l2, "clusterUuid": site.cluster})).await;
    let started = world.make("StartVmInstance", json!({"uuid": uuid(&vm)})).await;
    assert_eq!(text(&started, "hostUuid"), *other);
    assert_eq!(world.refused("ReconnectHost", json!({"uuid": host})).await.code, "SYS.1006");

    // A state that comes from above does not end the work on it.
    for event in ["disable", "enable"] {
        world.done("ChangeZoneState", state(&site.zone, event)).await;
        assert_eq!(text(&world.get("QueryHost", &host).await, "state"), "Maintenance");
    }
    let back = world.make("ChangeHostState", state(&host, "enable")).await;
    assert_eq!((text(&back, "state").as_str(), text(&back, "status").as_str()), ("Enabled", "Connected"));
    world.done("ChangeHostState", state(other, "disable")).await;
    assert_eq!(text(&site.vm("next", &l3).await, "hostUuid"), host);
}

#[actix_rt::test]
async fn a_host_that_does_not_answer_is_maintained_only_when_nothing_runs_on_it() {
    let world = World::new();
    world.configure("host", "ping.interval", "1").await;
    let site = Site::bare(&world, 2).await;
    let l3 = site.network("quiet", "10.50.0.0/24").await;
    let vm = site.vm("vm", &l3).await;
    let host = text(&vm, "hostUuid");
    for host in &site.hosts {
        world.fleet().unreachable(id(host), true);
        world.until_is("QueryHost", host, "status", "Disconnected").await;
    }
    let refusal = world.refused("ChangeHostState", state(&host, "maintain")).await;
    assert_eq!(refusal.code, "SYS.1006");
    assert_eq!(refusal.blockers[0].uuid, id(&uuid(&vm)), "{refusal}");
    let other = site.hosts.iter().find(|other| **other != host).unwrap();
    let maintained = world.send("ChangeHostState", state(other, "maintain")).await.unwrap();
    assert_eq!(text(&maintained.inventory.unwrap(), "state"), "Maintenance");
}

#[actix_rt::test]
async fn a_state_goes_down_in_one_commit_and_children_change_alone_afterwards() {
    let world = World::new();
    let site = Site::bare(&world, 2).await;
    let l3 = site.network("quiet", "10.50.0.0/24").await;
    let before = world.head();
    let reply = world.done("ChangeZoneState", state(&site.zone, "disable")).await;
    assert_eq!(reply.events.len(), 4, "the zone, its cluster and its hosts: {:?}", reply.events);
    assert_eq!(world.head(), before + 4);
    assert_eq!(text(&world.get("QueryCluster", &site.cluster).await, "state"), "Disabled");
    let create = json!({"name": "vm", "l3NetworkUuids": [l3]});
    assert_eq!(world.refused("CreateVmInstance", create.clone()).await.code, "HOST_ALLOCATION.1000");
    world.done("ChangeHostState", state(&site.hosts[1], "enable")).await;
    assert_eq!(text(&world.get("QueryHost", &site.hosts[0]).await, "state"), "Disabled");
    assert_eq!(world.refused("CreateVmInstance", create.clone()).await.code, "HOST_ALLOCATION.1000");
    world.done("ChangeZoneState", state(&site.zone, "enable")).await;
    world.done("ChangeHostState", state(&site.hosts[0], "disable")).await;
    assert_eq!(text(&world.make("CreateVmInstance", create.clone()).await, "hostUuid"), site.hosts[1]);
    world.done("ChangeClusterState", state(&site.cluster, "disable")).await;
    assert_eq!(world.refused("CreateVmInstance", create).await.code, "HOST_ALLOCATION.1000");
}

#[actix_rt::test]
async fn the_vms_of_a_host_that_is_deleted_start_on_another_one() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let vm = site.vm("vm", &l3).await;
    let router = uuid(&world.router_of(&l3).await);
    let deleted = |uuid: &str| json!({"uuid": uuid, "deleteMode": "Enforcing"});
    let host = text(&vm, "hostUuid");
    world.refused("DeleteHost", json!({"uuid": host})).await;
    world.done("DeleteHost", deleted(&host)).await;
    assert_eq!(text(&world.get("QueryVmInstance", &uuid(&vm)).await, "state"), "Stopped");
    let gone = || async { world.fleet().bridges(HostId(id(&host))).is_empty().then_some(()) };
    world.until("a deleted host carries nothing", gone).await;
    let other = site.hosts.iter().find(|other| **other != host).unwrap();
    let started = world.make("StartVmInstance", json!({"uuid": uuid(&vm)})).await;
    assert_eq!(text(&started, "hostUuid"), *other);
    assert_eq!(text(&world.get("QueryVirtualRouterVm", &router).await, "hostUuid"), *other);

    // With the cluster the L2 networks lose an attachment, and nothing else.
    world.done("DeleteCluster", deleted(&site.cluster)).await;
    assert!(world.query("QueryHost", &[]).await.is_empty());
    for l2 in world.query("QueryL2Network", &[]).await {
        assert_eq!(l2["attachedClusterUuids"], json!([]), "{l2}");
    }
    assert_eq!(text(&world.get("QueryVirtualRouterVm", &router).await, "state"), "Stopped");
    assert_eq!(world.get("QueryVmInstance", &uuid(&vm)).await["vmNics"].as_array().unwrap().len(), 1);
    world.one_holder_each().await;
}

#[actix_rt::test]
async fn with_an_l3_network_its_offering_goes_and_another_becomes_the_default() {
    let world = World::new();
    let site = Site::new(&world).await;
    let spare = site.network("spare", "203.0.114.0/24").await;
    let other = site.offer("other", &site.management, &spare).await;
    let default = || async { world.get("QueryVirtualRouterOffering", &other).await["isDefault"].clone() };
    assert_eq!(default().await, json!(false));
    world.refused("DeleteL3Network", json!({"uuid": site.public})).await;
    world.done("DeleteL3Network", json!({"uuid": site.public, "deleteMode": "Enforcing"})).await;
    assert_eq!(world.query("QueryVirtualRouterOffering", &[]).await.len(), 1);
    assert_eq!(default().await, json!(true));
}

#[actix_rt::test]
async fn a_host_that_was_lost_comes_back_by_itself_unless_told_otherwise() {
    let world = World::new();
    world.configure("host", "ping.interval", "1").await;
    let site = Site::bare(&world, 1).await;
    let host = id(&site.hosts[0]);
    let status = |status: &'static str| world.until_is("QueryHost", &site.hosts[0], "status", status);
    world.fleet().unreachable(host, true);
    status("Disconnected").await;
    world.fleet().unreachable(host, false);
    status("Connected").await;

    world.configure("host", "connection.autoReconnectOnError", "false").await;
    world.fleet().unreachable(host, true);
    status("Disconnected").await;
    world.fleet().unreachable(host, false);
    let head = world.head();
    actix_rt::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert_eq!(world.head(), head, "nobody has tried");
    // Nor does it hold up an attachment.
    let l2 = json!({"zoneUuid": site.zone, "name": "l2", "physicalInterface": "eth2"});
    let l2 = uuid(&world.make("CreateL2NoVlanNetwork", l2).await);
    let attach = json!({"l2NetworkUuid": l2, "clusterUuid": site.cluster});
    world.send("AttachL2NetworkToCluster", attach).await.unwrap();
    world.done("ReconnectHost", json!({"uuid": site.hosts[0]})).await;
    status("Connected").await;
    assert!(world.fleet().bridges(HostId(host)).contains(&"br_eth2".to_string()));
}

#[actix_rt::test]
async fn a_host_that_hangs_is_lost_after_so_many_pings() {
    let world = World::new();
    for (name, value) in [("ping.interval", "1"), ("ping.timeout", "1"), ("ping.maxFailure", "2")] {
        world.configure("host", name, value).await;
    }
    let site = Site::bare(&world, 1).await;
    world.fleet().hang(id(&site.hosts[0]), true);
    world.until_is("QueryHost", &site.hosts[0], "status", "Disconnected").await;
    let reason = text(&world.get("QueryHost", &site.hosts[0]).await, "statusReason");
    assert!(reason.contains("no answer"), "{reason}");
    world.fleet().hang(id(&site.hosts[0]), false);
    world.until_is("QueryHost", &site.hosts[0], "status", "Connected").await;
}

#[actix_rt::test]
async fn a_host_whose_kernel_has_no_vlans_says_so() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    assert_eq!(world.get("QueryHost", &site.hosts[0]).await["notes"], json!([]));
    let chosen = switchback_events::Id::of_name("without VLANs");
    // What its agent tries at the start does not work.
    world.fleet().fail_next(chosen, switchback_agent::kernel::FailKind::Links);
    let cluster = json!({"zoneUuid": site.zone, "name": "plain", "hypervisorType": "Simulator"});
    let cluster = uuid(&world.make("CreateCluster", cluster).await);
    let host = json!({
        "clusterUuid": cluster, "name": "plain", "managementIp": "10.1.2.1", "resourceUuid": chosen.to_string(),
    });
    let host = uuid(&world.make("AddSimulatorHost", host).await);
    let notes = world.get("QueryHost", &host).await["notes"].to_string();
    assert!(notes.contains("no 802.1Q"), "{notes}");
    let l2 = json!({"zoneUuid": site.zone, "name": "l2", "physicalInterface": "eth2", "vlan": 10});
    let l2 = uuid(&world.make("CreateL2VlanNetwork", l2).await);
    let attach = json!({"l2NetworkUuid": l2, "clusterUuid": cluster});
    let refusal = world.fails("AttachL2NetworkToCluster", attach).await;
    assert!(refusal.code == "L2.1000" && refusal.detail.contains("no interface `eth2.10` to stand in"), "{refusal}");
}
