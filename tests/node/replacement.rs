//! A router's appliance is replaced: the steps in the log, what goes wrong, who is away meanwhile.

use crate::harness::{ALL_SERVICES, Site, World, id, text, uuid};
use serde_json::json;
use switchback_agent::kernel::FailKind;

const STEPS: [&str; 5] = [
    "router.ReplaceRequested",
    "router.SuccessorPrepared",
    "router.SuccessorServes",
    "router.Replaced",
    "router.Connected",
];

/// A world with one router on one host: its uuid, and that of the host.
async fn scene(world: &World) -> (Site, String, String) {
    let mut site = Site::bare(world, 1).await;
    site.offering = site.offer("vr", &site.management, &site.public).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    site.vm("vm", &l3).await;
    let router = uuid(&world.router_of(&l3).await);
    let host = site.hosts[0].clone();
    (site, router, host)
}

#[actix_rt::test]
async fn every_step_of_a_replacement_is_in_the_log_and_the_router_is_the_same() {
    let world = World::new();
    let (_site, router, host) = scene(&world).await;
    let before = world.get("QueryVirtualRouterVm", &router).await;
    // There and back: a router has two places for its files.
    for _ in 0..3 {
        let head = world.head();
        let parameters = json!({"vmInstanceUuid": router, "hostUuid": host});
        let after = world.make("ReplaceVirtualRouter", parameters).await;
        assert_eq!(world.kinds_after(head).await, STEPS);
        for field in ["uuid", "state", "status", "configDigest", "agentDigest", "vmNics", "hostUuid", "lastError"] {
            assert_eq!(after[field], before[field], "{field}");
        }
        let drift = world.read("GetVirtualRouterDrift", json!({"uuid": router})).await;
        assert_eq!(drift["items"], json!([]));
    }
}

#[actix_rt::test]
async fn a_successor_has_the_agent_of_this_server() {
    let world = World::new();
    let (_site, router, _host) = scene(&world).await;
    let before = text(&world.get("QueryVirtualRouterVm", &router).await, "agentDigest");
    world.node.fleet().offer_simulated_agent(b"a newer agent".to_vec());
    let head = world.head();
    let after = world.make("ReplaceVirtualRouter", json!({"vmInstanceUuid": router})).await;
    assert_ne!(text(&after, "agentDigest"), before);
    assert!(world.kinds_after(head).await.contains(&"router.AgentUpgraded".to_string()));
}

#[actix_rt::test]
async fn a_router_serves_on_where_its_successor_is_not_well() {
    let world = World::new();
    let (site, router, host) = scene(&world).await;
    for kind in [FailKind::Namespace, FailKind::Spawn, FailKind::Word, FailKind::Connections] {
        world.fleet().fail_next(id(&host), kind);
        let head = world.head();
        let refusal = world.fails("ReplaceVirtualRouter", json!({"vmInstanceUuid": router})).await;
        assert!(refusal.code == "VR.1000" && refusal.detail.contains("a failure that was asked for"), "{refusal}");
        let kinds = world.kinds_after(head).await;
        assert!(kinds.contains(&"router.ReplaceFailed".to_string()), "{kinds:?}");
        assert!(!kinds.contains(&"router.SuccessorServes".to_string()), "{kinds:?}");
        let after = world.get("QueryVirtualRouterVm", &router).await;
        assert_eq!((text(&after, "state"), text(&after, "status")), ("Running".to_string(), "Connected".to_string()));
        assert!(text(&after, "lastError").contains("a failure that was asked for"));
    }
    // Nothing is left of those that were not well.
    let l3 = site.guest("next", ALL_SERVICES).await;
    site.vm("next", &l3).await;
    let after = world.make("ReplaceVirtualRouter", json!({"vmInstanceUuid": router})).await;
    assert_eq!(after["lastError"], json!(null));
}

#[actix_rt::test]
async fn a_replacement_waits_for_a_host_that_hangs() {
    let world = World::new();
    let (_site, router, host) = scene(&world).await;
    let head = world.head();
    world.fleet().hang(id(&host), true);
    world.durable("ReplaceVirtualRouter", json!({"vmInstanceUuid": router})).await;
    // It is asked for once only.
    world.durable("ReplaceVirtualRouter", json!({"vmInstanceUuid": router})).await;
    world.fleet().hang(id(&host), false);
    let replaced = || async { world.kinds_after(head).await.contains(&"router.Replaced".to_string()).then_some(()) };
    world.until("the router is replaced", replaced).await;
    world.until_is("QueryVirtualRouterVm", &router, "status", "Connected").await;
    let kinds = world.kinds_after(head).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "router.ReplaceRequested").count(), 1, "{kinds:?}");
}

#[actix_rt::test]
async fn a_server_that_is_started_again_goes_on_with_a_replacement() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path());
    let (site, router, host) = scene(&world).await;
    drop(site);
    let head = world.head();
    world.fleet().hang(id(&host), true);
    world.durable("ReplaceVirtualRouter", json!({"vmInstanceUuid": router})).await;
    world.close();
    let world = World::open(directory.path());
    let replaced = || async { world.kinds_after(head).await.contains(&"router.Replaced".to_string()).then_some(()) };
    world.until("the router is replaced", replaced).await;
    world.until_is("QueryVirtualRouterVm", &router, "status", "Connected").await;
    world.close();
}

#[actix_rt::test]
async fn a_router_that_stops_meanwhile_is_not_replaced() {
    let world = World::new();
    let (_site, router, host) = scene(&world).await;
    world.fleet().hang(id(&host), true);
    let head = world.head();
    world.durable("ReplaceVirtualRouter", json!({"vmInstanceUuid": router})).await;
    world.durable("StopVmInstance", json!({"uuid": router})).await;
    world.fleet().hang(id(&host), false);
    world.until_is("QueryVirtualRouterVm", &router, "state", "Stopped").await;
    assert!(!world.kinds_after(head).await.contains(&"router.Replaced".to_string()));
    let started = world.make("StartVmInstance", json!({"uuid": router})).await;
    assert_eq!(text(&started, "status"), "Connected");
}

#[actix_rt::test]
async fn a_router_whose_host_is_away_is_not_replaced() {
    let world = World::new();
    world.configure("host", "ping.interval", "1").await;
    let (_site, router, host) = scene(&world).await;
    world.fleet().unreachable(id(&host), true);
    world.until_is("QueryHost", &host, "status", "Disconnected").await;
    let refusal = world.refused("ReplaceVirtualRouter", json!({"vmInstanceUuid": router})).await;
    assert!(refusal.code == "SYS.1006" && refusal.detail.contains(&host), "{refusal}");
}

/// The hosts whose agents have an appliance in its place.
fn places(world: &World) -> Vec<String> {
    let engines = world.fleet().host_engines();
    engines
        .into_iter()
        .filter(|(_, engine)| !engine.appliances().is_empty())
        .map(|(host, _)| host.to_string())
        .collect()
}

#[actix_rt::test]
async fn a_router_goes_to_another_host_and_back_with_every_step_in_the_log() {
    let world = World::new();
    let (mut site, router, first) = scene(&world).await;
    site.add_host().await;
    let second = site.hosts[1].clone();
    let before = world.get("QueryVirtualRouterVm", &router).await;
    for host in [&second, &first, &second] {
        let head = world.head();
        let after = world.make("ReplaceVirtualRouter", json!({"vmInstanceUuid": router, "hostUuid": host})).await;
        let kinds = world.kinds_after(head).await;
        let steps = ["MoveRequested", "SuccessorPrepared", "SuccessorServes", "Moved", "Connected"];
        assert_eq!(kinds, steps.map(|step| format!("router.{step}")));
        for field in ["hostUuid", "lastHostUuid"] {
            assert_eq!(after[field], json!(host), "{field}");
        }
        for field in ["uuid", "state", "status", "configDigest", "agentDigest", "vmNics", "clusterUuid", "lastError"] {
            assert_eq!(after[field], before[field], "{field}");
        }
        let drift = world.read("GetVirtualRouterDrift", json!({"uuid": router})).await;
        assert_eq!(drift["items"], json!([]));
        let alone = || async { (places(&world) == [host.clone()]).then_some(()) };
        world.until("the host before has nothing of it", alone).await;
    }
    // It serves from there, and its first host can go.
    let l3 = text(&before["vmNics"][2], "l3NetworkUuid");
    site.hosts.swap(0, 1);
    site.vm("after", &l3).await;
    world.refused("DeleteHost", json!({"uuid": second})).await;
}

#[actix_rt::test]
async fn a_router_stays_where_it_is_when_it_is_not_well_on_the_other_host() {
    let world = World::new();
    let (mut site, router, first) = scene(&world).await;
    site.add_host().await;
    let second = site.hosts[1].clone();
    let there = json!({"vmInstanceUuid": router, "hostUuid": second});
    for kind in [FailKind::Namespace, FailKind::Spawn, FailKind::Word, FailKind::Connections] {
        world.fleet().fail_next(id(&second), kind);
        let head = world.head();
        let refusal = world.fails("ReplaceVirtualRouter", there.clone()).await;
        assert!(refusal.code == "VR.1000" && refusal.detail.contains("a failure that was asked for"), "{refusal}");
        let kinds = world.kinds_after(head).await;
        assert!(kinds.contains(&"router.ReplaceFailed".to_string()), "{kinds:?}");
        let after = world.get("QueryVirtualRouterVm", &router).await;
        assert_eq!((text(&after, "status"), text(&after, "hostUuid")), ("Connected".to_string(), first.clone()));
        assert_eq!(places(&world), std::slice::from_ref(&first));
    }
    let after = world.make("ReplaceVirtualRouter", there).await;
    assert_eq!((&after["lastError"], text(&after, "hostUuid")), (&json!(null), second));
}

#[actix_rt::test]
async fn a_server_that_is_started_again_goes_on_with_a_journey() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path());
    let (mut site, router, host) = scene(&world).await;
    site.add_host().await;
    let second = site.hosts[1].clone();
    drop(site);
    world.fleet().hang(id(&host), true);
    world.durable("ReplaceVirtualRouter", json!({"vmInstanceUuid": router, "hostUuid": second})).await;
    world.close();
    let world = World::open(directory.path());
    world.until_is("QueryVirtualRouterVm", &router, "hostUuid", &second).await;
    world.until_is("QueryVirtualRouterVm", &router, "status", "Connected").await;
    world.close();
}

#[actix_rt::test]
async fn what_cannot_be_replaced_is_named() {
    let world = World::new();
    let (mut site, router, host) = scene(&world).await;
    for _ in 0..3 {
        site.add_host().await;
    }
    let nobody = "0123456789abcdef0123456789abcdef".to_string();
    let [other, third, disabled] = [1, 2, 3].map(|number: usize| site.hosts[number].clone());
    world.done("ChangeHostState", json!({"uuid": disabled, "stateEvent": "disable"})).await;
    let apart = json!({"zoneUuid": site.zone, "name": "apart", "hypervisorType": "Simulator"});
    let apart = uuid(&world.make("CreateCluster", apart).await);
    let apart = json!({"clusterUuid": apart, "name": "apart", "managementIp": "10.1.0.99"});
    let apart = uuid(&world.make("AddSimulatorHost", apart).await);
    let on = |host: &String| json!({"vmInstanceUuid": router, "hostUuid": host});
    let plain = |router: &String| json!({"vmInstanceUuid": router});
    for (parameters, code, words) in [
        (plain(&nobody), "SYS.1003", ["vmInstanceUuid", &nobody]),
        (on(&nobody), "SYS.1003", ["hostUuid", &nobody]),
        (on(&disabled), "SYS.1007", ["hostUuid", "Enabled and Connected"]),
        (on(&apart), "SYS.1007", ["hostUuid", "is attached to"]),
    ] {
        let refusal = world.refused("ReplaceVirtualRouter", parameters).await;
        assert!(refusal.code == code && words.iter().all(|word| refusal.detail.contains(*word)), "{code}: {refusal}");
    }
    // While it goes to one host it does not go to another one.
    world.fleet().hang(id(&host), true);
    world.durable("ReplaceVirtualRouter", on(&other)).await;
    world.durable("ReplaceVirtualRouter", on(&other)).await;
    let refusal = world.refused("ReplaceVirtualRouter", on(&third)).await;
    assert!(refusal.code == "VR.1000" && refusal.detail.contains(&third), "{refusal}");
    world.fleet().hang(id(&host), false);
    world.until_is("QueryVirtualRouterVm", &router, "hostUuid", &other).await;
    world.until_is("QueryVirtualRouterVm", &router, "status", "Connected").await;

    world.done("StopVmInstance", json!({"uuid": router})).await;
    let refusal = world.refused("ReplaceVirtualRouter", plain(&router)).await;
    assert!(refusal.code == "VR.1000" && refusal.detail.contains(&router), "{refusal}");
}
