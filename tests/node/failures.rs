//! Hosts and routers that do not do as told.

use crate::harness::{ALL_SERVICES, Site, World, id, text, uuid};
use serde_json::json;
use std::time::{Duration, Instant};
use switchback::node::NodeOptions;
use switchback_agent::{FleetOptions, kernel::FailKind};
use switchback_events::HostId;

/// One host, so that a test knows where things are placed.
async fn one_host(world: &World) -> Site {
    let mut site = Site::bare(world, 1).await;
    site.offering = site.offer("vr", &site.management, &site.public).await;
    site
}

#[actix_rt::test]
async fn a_router_that_cannot_start_takes_its_vms_with_it_and_leaves_nothing() {
    let world = World::new();
    let site = one_host(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let networks = [&l3, &site.management, &site.public];
    let mut before = Vec::new();
    for network in networks {
        before.push(site.free(network).await);
    }
    let broken = world.break_appliances(&site.hosts[0]);
    let refusal = world.fails("CreateVmInstance", json!({"name": "vm", "l3NetworkUuids": [l3]})).await;
    drop(broken);
    assert_eq!(refusal.code, "VM.1000");
    assert!(refusal.detail.contains("virtual router"), "{refusal}");
    assert!(world.query("QueryVmInstance", &[]).await.is_empty());
    assert!(world.query("QueryVirtualRouterVm", &[]).await.is_empty());
    assert!(world.query("QueryVmNic", &[]).await.is_empty());
    for (network, free) in networks.iter().zip(before) {
        assert_eq!(site.free(network).await, free);
    }
    // What was broken is not remembered.
    world.in_the_end("CreateVmInstance", json!({"name": "vm", "l3NetworkUuids": [l3]})).await;
    assert_eq!(text(&world.router_of(&l3).await, "status"), "Connected");
}

#[actix_rt::test]
async fn many_vms_that_wait_for_a_router_that_cannot_start_all_fail() {
    let world = World::new();
    let site = one_host(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let free = site.free(&l3).await;
    let broken = world.break_appliances(&site.hosts[0]);
    let creates: Vec<_> =
        (0..5).map(|n| ("CreateVmInstance", json!({"name": format!("vm-{n}"), "l3NetworkUuids": [l3]}))).collect();
    let answers = world.at_once(creates).await;
    drop(broken);
    assert!(
        answers.iter().all(|answer| answer.as_ref().is_err_and(|refusal| refusal.code == "VM.1000")),
        "{answers:?}"
    );
    assert!(world.query("QueryVmInstance", &[]).await.is_empty());
    assert_eq!(site.free(&l3).await, free);
}

#[actix_rt::test]
async fn without_rollback_a_router_that_could_not_start_stays_and_starts_with_the_next_vm() {
    let world = World::new();
    let site = one_host(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    world.configure("applianceVm", "auto.rollback", "false").await;
    let broken = world.break_appliances(&site.hosts[0]);
    world.fails("CreateVmInstance", json!({"name": "vm", "l3NetworkUuids": [l3]})).await;
    drop(broken);
    assert!(world.query("QueryVmInstance", &[]).await.is_empty());
    let router = world.router_of(&l3).await;
    assert_eq!((text(&router, "state"), text(&router, "status")), ("Stopped".to_string(), "Disconnected".to_string()));
    world.in_the_end("CreateVmInstance", json!({"name": "vm", "l3NetworkUuids": [l3]})).await;
    let again = world.router_of(&l3).await;
    assert_eq!((uuid(&again), text(&again, "status")), (uuid(&router), "Connected".to_string()));
}

#[actix_rt::test]
async fn a_router_that_cannot_start_again_stays_stopped() {
    let world = World::new();
    let site = one_host(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let vm = uuid(&site.vm("vm", &l3).await);
    let router = uuid(&world.router_of(&l3).await);
    world.done("StopVmInstance", json!({"uuid": router})).await;
    world.done("StopVmInstance", json!({"uuid": vm})).await;
    let broken = world.break_appliances(&site.hosts[0]);
    let refusal = world.fails("StartVmInstance", json!({"uuid": vm})).await;
    drop(broken);
    assert_eq!(refusal.code, "VM.1001");
    assert_eq!(text(&world.get("QueryVmInstance", &vm).await, "state"), "Stopped");
    assert_eq!(text(&world.get("QueryVirtualRouterVm", &router).await, "state"), "Stopped");
    world.in_the_end("StartVmInstance", json!({"uuid": vm})).await;
    assert_eq!(text(&world.get("QueryVirtualRouterVm", &router).await, "status"), "Connected");
}

#[actix_rt::test]
async fn an_l2_network_is_attached_on_every_host_or_not_at_all() {
    let world = World::new();
    let site = Site::bare(&world, 3).await;
    let l2 = json!({"zoneUuid": site.zone, "name": "l2", "physicalInterface": "eth2"});
    let l2 = uuid(&world.make("CreateL2NoVlanNetwork", l2).await);
    let attach = json!({"l2NetworkUuid": l2, "clusterUuid": site.cluster});
    world.fleet().unplug(HostId(id(&site.hosts[1])), "eth2");
    let refusal = world.fails("AttachL2NetworkToCluster", attach.clone()).await;
    assert_eq!(refusal.code, "L2.1000");
    assert!(refusal.detail.contains(&site.hosts[1]) && refusal.detail.contains("eth2"), "{refusal}");
    assert_eq!(world.get("QueryL2Network", &l2).await["attachedClusterUuids"], json!([]));
    assert_eq!(world.refused("DetachL2NetworkFromCluster", attach.clone()).await.code, "SYS.1006");
    world.done("DeleteL2Network", json!({"uuid": l2})).await;
}

#[actix_rt::test]
async fn what_hosts_said_of_an_attachment_that_failed_does_not_count_for_the_next() {
    let world = World::new();
    let site = Site::bare(&world, 3).await;
    let l2 = json!({"zoneUuid": site.zone, "name": "l2", "physicalInterface": "eth2"});
    let l2 = uuid(&world.make("CreateL2NoVlanNetwork", l2).await);
    let both = json!({"l2NetworkUuid": l2, "clusterUuid": site.cluster});
    for _ in 0..10 {
        for host in &site.hosts {
            world.fleet().fail_next(id(host), FailKind::Links);
        }
        assert_eq!(world.fails("AttachL2NetworkToCluster", both.clone()).await.code, "L2.1000");
        // A host that was slow may not have failed yet.
        let attached = world
            .until("the L2 network is attached", || async {
                world.send("AttachL2NetworkToCluster", both.clone()).await.ok()
            })
            .await;
        assert_eq!(attached.inventory.unwrap()["attachedClusterUuids"], json!([site.cluster]));
        world.done("DetachL2NetworkFromCluster", both.clone()).await;
    }
}

#[actix_rt::test]
async fn an_attachment_does_not_wait_for_a_host_that_went_away() {
    let world = World::new();
    world.configure("host", "ping.interval", "1").await;
    let site = Site::bare(&world, 2).await;
    let l2 = json!({"zoneUuid": site.zone, "name": "l2", "physicalInterface": "eth2"});
    let l2 = uuid(&world.make("CreateL2NoVlanNetwork", l2).await);
    let attach = json!({"l2NetworkUuid": l2, "clusterUuid": site.cluster});
    world.fleet().unreachable(id(&site.hosts[1]), true);
    let refusal = world.fails("AttachL2NetworkToCluster", attach.clone()).await;
    assert_eq!(refusal.code, "L2.1000");
    assert!(refusal.detail.contains(&site.hosts[1]), "{refusal}");
    world.until_is("QueryHost", &site.hosts[1], "status", "Disconnected").await;
    // A host that is known to be away is passed over, and realises it when it is back.
    world.done("AttachL2NetworkToCluster", attach).await;
    world.fleet().unreachable(id(&site.hosts[1]), false);
    world.until_is("QueryHost", &site.hosts[1], "status", "Connected").await;
}

#[actix_rt::test]
async fn a_vm_that_its_host_cannot_start_leaves_nothing_or_stays_as_it_was() {
    let world = World::new();
    let site = one_host(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let vm = uuid(&site.vm("good", &l3).await);
    let free = site.free(&l3).await;
    let host = id(&site.hosts[0]);
    world.fleet().fail_next(host, FailKind::Namespace);
    let refusal = world.fails("CreateVmInstance", json!({"name": "bad", "l3NetworkUuids": [l3]})).await;
    assert_eq!(refusal.code, "VM.1000");
    assert!(refusal.detail.contains(&site.hosts[0]), "{refusal}");
    assert_eq!((world.query("QueryVmInstance", &[]).await.len(), site.free(&l3).await), (1, free));

    world.done("StopVmInstance", json!({"uuid": vm})).await;
    world.fleet().fail_next(host, FailKind::Namespace);
    assert_eq!(world.fails("StartVmInstance", json!({"uuid": vm})).await.code, "VM.1001");
    let now = world.get("QueryVmInstance", &vm).await;
    assert_eq!(text(&now, "state"), "Stopped");
    assert!(text(&now, "lastError").contains(&site.hosts[0]), "{now}");
    let router = uuid(&world.router_of(&l3).await);
    assert_eq!(world.sections(&router).await["dhcp"]["hosts"], json!([]), "a VM that did not start is not served");
    world.done("StartVmInstance", json!({"uuid": vm})).await;
    assert_eq!(world.sections(&router).await["dhcp"]["hosts"].as_array().unwrap().len(), 1);
    world.one_holder_each().await;
}

#[actix_rt::test]
async fn a_router_whose_agent_does_not_answer_is_disconnected_until_it_does() {
    let world = World::new();
    world.configure("virtualRouter", "ping.interval", "1").await;
    let site = one_host(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    site.vm("vm", &l3).await;
    let router = uuid(&world.router_of(&l3).await);
    world.fleet().unreachable(id(&router), true);
    world.until_is("QueryVirtualRouterVm", &router, "status", "Disconnected").await;
    let refusal = world.refused("ProvisionVirtualRouterConfig", json!({"vmInstanceUuid": router})).await;
    assert_eq!(refusal.code, "VR.1000");
    assert!(refusal.detail.contains(&router) && refusal.detail.contains("Disconnected"), "{refusal}");
    // What is asked for meanwhile is kept and done later.
    let waiting = world.send("CreateVmInstance", json!({"name": "later", "l3NetworkUuids": [l3]})).await.unwrap();
    assert!(!waiting.applied);
    let waiting = uuid(&waiting.inventory.unwrap());
    assert_eq!(text(&world.get("QueryVmInstance", &waiting).await, "state"), "Starting");
    world.fleet().unreachable(id(&router), false);
    world.until_is("QueryVirtualRouterVm", &router, "status", "Connected").await;
    world.until_is("QueryVmInstance", &waiting, "state", "Running").await;
}

#[actix_rt::test]
async fn an_agent_that_hangs_holds_up_its_own_router_only() {
    let patience = Duration::from_secs(15);
    let simulation = FleetOptions { patience, ..FleetOptions::default() };
    let world = World::with(NodeOptions { simulation, ..NodeOptions::default() });
    let site = Site::new(&world).await;
    let (stuck, well) = (site.guest("stuck", ALL_SERVICES).await, site.guest("well", ALL_SERVICES).await);
    site.vm("a", &stuck).await;
    let router = uuid(&world.router_of(&stuck).await);
    world.fleet().hang(id(&router), true);
    world.durable("CreateVmInstance", json!({"name": "held up", "l3NetworkUuids": [stuck]})).await;
    world.durable("ReconnectVirtualRouter", json!({"vmInstanceUuid": router})).await;
    let began = Instant::now();
    site.vm("b", &well).await;
    let other = uuid(&world.router_of(&well).await);
    world.done("ReconnectVirtualRouter", json!({"vmInstanceUuid": other})).await;
    assert!(began.elapsed() < patience / 2, "took {:?}", began.elapsed());
    // It can be destroyed although it does not answer.
    world.done("DestroyVmInstance", json!({"uuid": router})).await;
    assert!(began.elapsed() < patience, "took {:?}", began.elapsed());
}

#[actix_rt::test]
async fn one_agent_of_twenty_hangs_and_the_others_do_not_notice() {
    let world = World::new();
    let site = Site::new(&world).await;
    let mut networks = Vec::new();
    for number in 0..20 {
        let l3 = site.guest(&format!("net-{number}"), ALL_SERVICES).await;
        site.vm(&format!("first-{number}"), &l3).await;
        networks.push(l3);
    }
    let stuck = networks.remove(7);
    let router = uuid(&world.router_of(&stuck).await);
    let applied = world.router_of(&stuck).await["configRevision"].clone();
    world.fleet().hang(id(&router), true);
    let waiting = world.durable("CreateVmInstance", json!({"name": "waits", "l3NetworkUuids": [stuck]})).await;
    let waiting = uuid(&waiting.inventory.unwrap());
    let creates = networks.iter().map(|l3| ("CreateVmInstance", json!({"name": "next", "l3NetworkUuids": [l3]})));
    for answer in world.at_once(creates.collect()).await {
        assert!(answer.as_ref().is_ok_and(|reply| reply.applied), "{answer:?}");
    }
    // All that while it hung, and hangs still.
    assert_eq!(text(&world.get("QueryVmInstance", &waiting).await, "state"), "Starting");
    assert_eq!(world.router_of(&stuck).await["configRevision"], applied);
    world.until_is("QueryVirtualRouterVm", &router, "status", "Disconnected").await;
    let reason = text(&world.router_of(&stuck).await, "statusReason");
    assert!(reason.contains("no answer within") && reason.contains(&router), "{reason}");
    for l3 in &networks {
        assert_eq!(text(&world.router_of(l3).await, "status"), "Connected");
    }
    // It is caught up by itself when it answers again.
    world.fleet().hang(id(&router), false);
    world.until_is("QueryVirtualRouterVm", &router, "status", "Connected").await;
    world.until_is("QueryVmInstance", &waiting, "state", "Running").await;
}

#[actix_rt::test]
async fn a_configuration_that_an_agent_refuses_is_in_the_log_and_tried_again() {
    let world = World::new();
    let site = one_host(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    site.vm("a", &l3).await;
    let router = uuid(&world.router_of(&l3).await);
    world.fleet().fail_next(id(&router), FailKind::Write);
    let head = world.head();
    let vm = site.vm("b", &l3).await;
    assert_eq!(text(&vm, "state"), "Running");
    assert!(world.kinds_after(head).await.contains(&"router.ConfigFailed".to_string()));
}

#[actix_rt::test]
async fn a_host_that_does_not_answer_gets_no_vms_until_it_does() {
    let world = World::new();
    world.configure("host", "ping.interval", "1").await;
    let site = one_host(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let vm = uuid(&site.vm("vm", &l3).await);
    let host = &site.hosts[0];
    world.fleet().unreachable(id(host), true);
    world.until_is("QueryHost", host, "status", "Disconnected").await;
    let create = json!({"name": "next", "l3NetworkUuids": [l3]});
    assert_eq!(world.refused("CreateVmInstance", create.clone()).await.code, "HOST_ALLOCATION.1000");
    let refusal = world.refused("StopVmInstance", json!({"uuid": vm})).await;
    assert!(refusal.code == "SYS.1006" && refusal.detail.contains(host.as_str()), "{refusal}");
    // A destroy does not wait: the host drops the VM when it is back.
    world.send("DestroyVmInstance", json!({"uuid": vm})).await.unwrap();
    assert!(world.query("QueryVmInstance", &[]).await.is_empty());
    world.fleet().unreachable(id(host), false);
    world.until_is("QueryHost", host, "status", "Connected").await;
    world.done("CreateVmInstance", create).await;
}

#[actix_rt::test]
async fn a_router_that_is_not_stopped_in_time_runs_on_and_one_to_be_destroyed_goes_without_its_host() {
    let simulation = FleetOptions { patience: Duration::from_secs(30), ..FleetOptions::default() };
    let world = World::with(NodeOptions { simulation, ..NodeOptions::default() });
    let site = one_host(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    site.vm("vm", &l3).await;
    let free = site.free(&site.management).await;
    let router = uuid(&world.router_of(&l3).await);
    for name in ["connect.timeout", "deletion.timeout"] {
        let config = json!({"category": "applianceVm", "name": name, "resourceUuid": router, "value": "1"});
        world.done("UpdateResourceConfig", config).await;
    }
    world.fleet().hang(id(&site.hosts[0]), true);
    let refusal = world.fails("StopVmInstance", json!({"uuid": router})).await;
    assert!(refusal.code == "VM.1002" && refusal.detail.contains(&site.hosts[0]), "{refusal}");
    world.until_is("QueryVirtualRouterVm", &router, "state", "Running").await;
    world.until_is("QueryVirtualRouterVm", &router, "status", "Connected").await;
    // Neither its addresses nor its tags wait for a host that says nothing.
    let asked = world.durable("DestroyVmInstance", json!({"uuid": router})).await;
    world
        .until("the router is gone", || async {
            world.query("QueryVirtualRouterVm", &[]).await.is_empty().then_some(())
        })
        .await;
    assert!(world.kinds_after(asked.position).await.contains(&"router.Destroyed".to_string()));
    assert_eq!(site.free(&site.management).await, free + 1);
    world.one_holder_each().await;
}

#[actix_rt::test]
async fn a_router_does_not_stay_starting_on_a_host_that_hangs() {
    let simulation = FleetOptions { patience: Duration::from_secs(30), ..FleetOptions::default() };
    let world = World::with(NodeOptions { simulation, ..NodeOptions::default() });
    world.configure("applianceVm", "connect.timeout", "1").await;
    let site = one_host(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    world.fleet().hang(id(&site.hosts[0]), true);
    let refusal = world.fails("CreateVmInstance", json!({"name": "vm", "l3NetworkUuids": [l3]})).await;
    assert!(refusal.code == "VM.1000" && refusal.detail.contains(&site.hosts[0]), "{refusal}");
    assert!(world.query("QueryVirtualRouterVm", &[]).await.is_empty());
    assert!(world.query("QueryVmInstance", &[]).await.is_empty());
}

#[actix_rt::test]
async fn a_vm_that_is_to_be_destroyed_goes_without_a_host_that_hangs() {
    let simulation = FleetOptions { patience: Duration::from_secs(3), ..FleetOptions::default() };
    let world = World::with(NodeOptions { simulation, ..NodeOptions::default() });
    world.configure("applianceVm", "connect.timeout", "1").await;
    world.configure("host", "ping.interval", "1").await;
    let site = one_host(&world).await;
    let l3 = site.network("plain", "10.90.0.0/24").await;
    let free = site.free(&l3).await;
    let vm = uuid(&site.vm("vm", &l3).await);
    // Whoever tells the host waits for its answer, and then looks what is late.
    world.fleet().hang(id(&site.hosts[0]), true);
    world.durable("DestroyVmInstance", json!({"uuid": vm})).await;
    world.until("the VM is gone", || async { (site.free(&l3).await == free).then_some(()) }).await;
    assert!(world.query("QueryVmInstance", &["state=Destroying"]).await.is_empty());
}
