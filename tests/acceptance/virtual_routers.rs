//! Section G: the life of virtual routers; section M where it is about them.

use crate::harness::{ALL_SERVICES, Site, World, admin, id, text, uuid};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use switchback::node::NodeOptions;
use switchback_agent::{FleetOptions, kernel::FailKind};
use switchback_bus::{Bus, Caller, QueryRequest};
use switchback_events::{HostId, Id, RouterId};

/// One host, so that a test knows where things are placed.
async fn one_host(world: &World) -> Site {
    let mut site = Site::bare(world, 1).await;
    site.offering = site.offer("vr", &site.management, &site.public).await;
    site
}

async fn tag(world: &World, resource_type: &str, resource: &str, tag: String) -> Value {
    let tag = json!({"resourceType": resource_type, "resourceUuid": resource, "tag": tag});
    world.make("CreateSystemTag", tag).await
}

/// How many rows each of these queries finds.
async fn counts(world: &World, queries: &[&str]) -> Vec<usize> {
    let mut counts = Vec::new();
    for query in queries {
        counts.push(world.query(query, &[]).await.len());
    }
    counts
}

const MACHINES: &[&str] = &["QueryVmInstance", "QueryVirtualRouterVm", "QueryVmNic", "QueryIpAddress"];

/// What a router's kernel has otherwise than its configuration says.
async fn drift(world: &World, router: &str) -> usize {
    world.read("GetVirtualRouterDrift", json!({"uuid": router})).await["items"].as_array().unwrap().len()
}

#[actix_rt::test]
async fn g1_many_vms_at_once_on_a_network_make_one_router() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    site.vm("first", &l3).await;
    let vm = |n: usize| ("CreateVmInstance", json!({"name": format!("vm-{n}"), "l3NetworkUuids": [l3]}));
    let answers = world.at_once((0..15).map(vm).collect()).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|reply| reply.applied)), "{answers:?}");
    let router = uuid(&world.router_of(&l3).await);
    assert_eq!(counts(&world, MACHINES).await[..2], [16, 1]);
    assert_eq!(world.sections(&router).await["dhcp"]["hosts"].as_array().unwrap().len(), 16);
    world.one_holder_each().await;
}

#[actix_rt::test]
async fn g2_a_vm_whose_router_cannot_start_is_not_made_and_no_router_stays() {
    let world = World::new();
    let site = one_host(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let broken = world.break_appliances(&site.hosts[0]);
    let refusal = world.fails("CreateVmInstance", json!({"name": "vm", "l3NetworkUuids": [l3]})).await;
    drop(broken);
    assert!(refusal.code == "VM.1000" && refusal.detail.contains("virtual router"), "{refusal}");
    assert_eq!(counts(&world, MACHINES).await, [0, 0, 0, 0]);
}

#[actix_rt::test]
async fn g4_an_account_sees_the_offerings_shared_with_it() {
    let world = World::new();
    let site = Site::new(&world).await;
    let account = uuid(&world.make("CreateAccount", json!({"name": "b", "password": "0".repeat(128)})).await);
    let caller = Caller::new("b", id(&account).into(), false);
    let sees = async || {
        let request = QueryRequest { name: "QueryVirtualRouterOffering".to_string(), ..QueryRequest::default() };
        let found = world.node.query(&caller, request).await.unwrap().rows();
        found.iter().map(uuid).collect::<Vec<_>>()
    };
    assert_eq!(sees().await, Vec::<String>::new());
    world.done("ShareResource", json!({"resourceUuids": [site.offering], "accountUuids": [account]})).await;
    assert_eq!(sees().await, [site.offering.as_str()]);
}

#[actix_rt::test]
async fn g5_the_first_offering_of_a_zone_is_its_default_and_a_new_default_replaces_it() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let defaults = || async {
        let found = world.query("QueryVirtualRouterOffering", &["isDefault=true"]).await;
        found.iter().map(uuid).collect::<Vec<_>>().join(" ")
    };
    let first = site.offer("first", &site.management, &site.public).await;
    assert_eq!(defaults().await, first);
    let unset = json!({"uuid": first, "isDefault": false});
    let refusal = world.refused("UpdateVirtualRouterOffering", unset).await;
    assert!(refusal.code == "SYS.1006" && refusal.detail.contains(&first), "{refusal}");
    let second = site.offer("second", &site.management, &site.public).await;
    assert_eq!(defaults().await, first, "nobody asked for another");
    let mut third = site.offering("third", &site.management, &site.public);
    third["isDefault"] = json!(true);
    let third = uuid(&world.make("CreateVirtualRouterOffering", third).await);
    assert_eq!(defaults().await, third);
    world.done("UpdateVirtualRouterOffering", json!({"uuid": second, "isDefault": true})).await;
    assert_eq!(defaults().await, second);
    world.done("UpdateVirtualRouterOffering", json!({"uuid": second, "isDefault": false})).await;
    assert_eq!(defaults().await, first);
}

#[actix_rt::test]
async fn g7_without_an_enabled_default_another_enabled_offering_serves() {
    let world = World::new();
    let site = Site::new(&world).await;
    let other = site.offer("other", &site.management, &site.public).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let vm = uuid(&site.vm("vm", &l3).await);
    let before = world.router_of(&l3).await;
    assert_eq!(text(&before, "virtualRouterOfferingUuid"), site.offering);
    world.done("ChangeInstanceOfferingState", json!({"uuid": site.offering, "stateEvent": "disable"})).await;
    world.done("DestroyVmInstance", json!({"uuid": uuid(&before)})).await;
    world.done("RebootVmInstance", json!({"uuid": vm})).await;
    let after = world.router_of(&l3).await;
    assert_ne!(uuid(&after), uuid(&before));
    assert_eq!(text(&after, "virtualRouterOfferingUuid"), other);
    // None at all serves nobody.
    world.done("ChangeInstanceOfferingState", json!({"uuid": other, "stateEvent": "disable"})).await;
    world.done("DestroyVmInstance", json!({"uuid": uuid(&after)})).await;
    assert_eq!(world.refused("RebootVmInstance", json!({"uuid": vm})).await.code, "VR.1002");
}

#[actix_rt::test]
async fn g8_a_router_keeps_the_gateway_address_over_stop_and_start() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    site.vm("vm", &l3).await;
    let router = uuid(&world.router_of(&l3).await);
    let gateway = text(&world.one("QueryIpRange", &[&format!("l3NetworkUuid={l3}")]).await, "gateway");
    let guest = || async {
        let conditions = [format!("vmInstanceUuid={router}"), format!("l3NetworkUuid={l3}")];
        let nic = world.one("QueryVmNic", &[&conditions[0], &conditions[1]]).await;
        (text(&nic, "ip"), text(&nic, "mac"))
    };
    let before = guest().await;
    assert_eq!(before.0, gateway);
    world.done("StopVmInstance", json!({"uuid": router})).await;
    assert_eq!(guest().await, before);
    let started = world.make("StartVmInstance", json!({"uuid": router})).await;
    assert_eq!((text(&started, "state"), text(&started, "status")), ("Running".to_string(), "Connected".to_string()));
    assert_eq!(guest().await, before);
    assert_eq!(drift(&world, &router).await, 0);
}

#[actix_rt::test]
async fn g10_a_disconnected_router_whose_agent_is_well_is_connected_again_by_a_ping() {
    let world = World::new();
    world.configure("virtualRouter", "ping.interval", "1").await;
    let site = one_host(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    site.vm("vm", &l3).await;
    let router = uuid(&world.router_of(&l3).await);
    world.fleet().unreachable(id(&router), true);
    world.until_is("QueryVirtualRouterVm", &router, "status", "Disconnected").await;
    let head = world.head();
    world.fleet().unreachable(id(&router), false);
    world.until_is("QueryVirtualRouterVm", &router, "status", "Connected").await;
    assert!(world.kinds_after(head).await.contains(&"router.Connected".to_string()));
    assert_eq!(drift(&world, &router).await, 0);
}

#[actix_rt::test]
async fn g16_a_reconnected_router_gets_everything_and_so_does_one_with_another_identity() {
    let world = World::new();
    let site = one_host(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    site.vm("vm", &l3).await;
    let router = uuid(&world.router_of(&l3).await);
    let agent = RouterId(id(&router));
    world.fleet().drift(agent);
    assert_ne!(drift(&world, &router).await, 0);
    world.done("ReconnectVirtualRouter", json!({"vmInstanceUuid": router})).await;
    assert_eq!(drift(&world, &router).await, 0);
    // An agent that says that it is another router's is restarted and told everything.
    let interval = json!({"category": "virtualRouter", "name": "ping.interval", "resourceUuid": router, "value": "1"});
    world.done("UpdateResourceConfig", interval).await;
    let head = world.head();
    world.fleet().drift(agent);
    world.fleet().impersonate(agent, Id::of_name("another router"));
    // The interval counts from the next ping on; a reconnect is not asked for.
    world.done("AddDnsToL3Network", json!({"l3NetworkUuid": l3, "dns": "1.1.1.1"})).await;
    world
        .until("the router is told again", || async {
            let kinds = world.kinds_after(head).await;
            let lost = kinds.iter().position(|kind| kind == "router.Disconnected")?;
            kinds[lost..].contains(&"router.Connected".to_string()).then_some(())
        })
        .await;
    assert_eq!(drift(&world, &router).await, 0);
    assert!(world.sections(&router).await["dns"].to_string().contains("1.1.1.1"));
}

#[actix_rt::test]
async fn g19_a_router_inherits_the_parallelism_of_its_offering() {
    let patience = Duration::from_millis(300);
    let simulation = FleetOptions { patience, ..FleetOptions::default() };
    let world = World::with(NodeOptions { simulation, ..NodeOptions::default() });
    let site = Site::new(&world).await;
    tag(&world, "InstanceOfferingVO", &site.offering, "commandsParallelismDegree::2".to_string()).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    site.vm("vm", &l3).await;
    let router = uuid(&world.router_of(&l3).await);
    let inherited = world.one("QuerySystemTag", &[&format!("resourceUuid={router}")]).await;
    assert_eq!(text(&inherited, "tag"), "commandsParallelismDegree::2");
    // So many requests at a time reach its agent, which answers none of them.
    world.fleet().hang(id(&router), true);
    let six = || async {
        let began = Instant::now();
        let asked: Vec<_> = (0..6)
            .map(|_| {
                let (world, router) = (world.clone(), router.clone());
                actix_rt::spawn(async move {
                    world.node.read(&admin(), "GetVirtualRouterDrift", json!({"uuid": router})).await
                })
            })
            .collect();
        for answer in asked {
            assert_eq!(answer.await.unwrap().unwrap_err().code, "SYS.1015");
        }
        began.elapsed()
    };
    let narrow = six().await;
    assert!(narrow >= patience * 3, "six requests, two at a time, took {narrow:?}");
    let wide = json!({"uuid": uuid(&inherited), "tag": "commandsParallelismDegree::1000"});
    world.done("UpdateSystemTag", wide).await;
    let wide = six().await;
    assert!(wide < patience * 3, "six requests at a time took {wide:?}");
}

#[actix_rt::test]
async fn g20_guest_networks_with_different_offerings_have_different_routers() {
    let world = World::new();
    let site = Site::new(&world).await;
    let inner = site.guest("inner", ALL_SERVICES).await;
    let dmz = site.guest("dmz", &["DHCP", "DNS"]).await;
    let of_dmz = site.offer("dmz", &site.management, &dmz).await;
    tag(&world, "InstanceOfferingVO", &of_dmz, format!("guestL3Network::{dmz}")).await;
    for (name, l3) in [("inside", &inner), ("outside", &dmz)] {
        site.vm(name, l3).await;
    }
    let roles = |router: &Value| {
        let nics = router["vmNics"].as_array().unwrap().iter();
        let mut roles: Vec<(String, String)> =
            nics.map(|nic| (text(nic, "l3NetworkUuid"), text(nic, "metaData"))).collect();
        roles.sort_by(|a, b| a.1.cmp(&b.1));
        roles
    };
    let (router, outer) = (world.router_of(&inner).await, world.router_of(&dmz).await);
    let role = |l3: &String, role: &str| (l3.clone(), role.to_string());
    assert_eq!(roles(&router), [role(&site.public, "1"), role(&site.management, "2"), role(&inner, "4")]);
    assert_eq!(roles(&outer), [role(&site.management, "2"), role(&dmz, "5")]);
    assert_eq!(text(&outer, "virtualRouterOfferingUuid"), of_dmz);
    let snat = |sections: Value| sections["snat"]["rules"].as_array().unwrap().len();
    assert_eq!(snat(world.sections(&uuid(&router)).await), 1);
    assert_eq!(snat(world.sections(&uuid(&outer)).await), 0);
}

#[actix_rt::test]
async fn g22_a_vm_whose_dhcp_entry_or_start_is_refused_is_not_made() {
    let world = World::new();
    let site = one_host(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let create = |name: &str| json!({"name": name, "l3NetworkUuids": [l3]});
    // What its appliance starts with cannot be put in place.
    let host = HostId(id(&site.hosts[0]));
    world.fleet().refuse_identities(host, true);
    let refusal = world.fails("CreateVmInstance", create("vm")).await;
    assert!(refusal.code == "VM.1000" && refusal.detail.contains("identity"), "{refusal}");
    assert_eq!(counts(&world, MACHINES).await, [0, 0, 0, 0]);
    world.fleet().refuse_identities(host, false);
    world.done("CreateVmInstance", create("first")).await;
    // The agent of the running router takes no more entries.
    let router = uuid(&world.router_of(&l3).await);
    let before = (counts(&world, MACHINES).await, world.sections(&router).await);
    let broken = world.break_kernel(&router, &[FailKind::Write]);
    let refusal = world.fails("CreateVmInstance", create("second")).await;
    drop(broken);
    assert!(refusal.code == "VM.1000" && refusal.detail.contains(&router), "{refusal}");
    assert_eq!((counts(&world, MACHINES).await, world.sections(&router).await), before);
    world.in_the_end("CreateVmInstance", create("third")).await;
    world.until("the router has what it should", || async { (drift(&world, &router).await == 0).then_some(()) }).await;
}

#[actix_rt::test]
async fn g23_a_router_whose_networks_would_overlap_is_refused() {
    let world = World::new();
    let site = Site::new(&world).await;
    let guest = site.network("guest", "172.20.0.0/16").await;
    site.serve(&guest, ALL_SERVICES).await;
    let refusal = world.refused("CreateVmInstance", json!({"name": "vm", "l3NetworkUuids": [guest]})).await;
    assert!(refusal.code == "SYS.1007" && refusal.detail.contains("overlap"), "{refusal}");
    assert!(refusal.detail.contains(&guest) && refusal.detail.contains(&site.management), "{refusal}");
}

#[actix_rt::test]
async fn m5_a_disconnected_router_takes_no_service_commands() {
    let world = World::new();
    world.configure("virtualRouter", "ping.interval", "1").await;
    let site = one_host(&world).await;
    let l3 = site.guest("guest", &["DHCP"]).await;
    let dns = |dns: &str| json!({"l3NetworkUuid": l3, "dns": dns});
    world.done("AddDnsToL3Network", dns("1.1.1.1")).await;
    site.vm("vm", &l3).await;
    let router = uuid(&world.router_of(&l3).await);
    world.fleet().unreachable(id(&router), true);
    world.until_is("QueryVirtualRouterVm", &router, "status", "Disconnected").await;
    let service = json!({"l3NetworkUuid": l3, "networkServices": {"VirtualRouter": ["DNS"]}});
    for (command, parameters) in [
        ("AddDnsToL3Network", dns("9.9.9.9")),
        ("AttachNetworkServiceToL3Network", service.clone()),
        ("ProvisionVirtualRouterConfig", json!({"vmInstanceUuid": router})),
    ] {
        let refusal = world.refused(command, parameters).await;
        assert!(refusal.code == "VR.1000" && refusal.detail.contains(&router), "{command}: {refusal}");
        assert!(refusal.detail.contains("Disconnected"), "{command}: {refusal}");
    }
    // What is taken away does not wait for it.
    let reply = world.send("RemoveDnsFromL3Network", dns("1.1.1.1")).await.unwrap();
    assert!(!reply.applied);
    world.fleet().unreachable(id(&router), false);
    world.until_is("QueryVirtualRouterVm", &router, "status", "Connected").await;
    world.done("AttachNetworkServiceToL3Network", service).await;
    world.done("AddDnsToL3Network", dns("9.9.9.9")).await;
    let sections = world.sections(&router).await["dns"].to_string();
    assert!(sections.contains("9.9.9.9") && !sections.contains("1.1.1.1"), "{sections}");
}
