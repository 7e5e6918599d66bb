//! A node that was closed in the middle of something ends what was begun when it is opened again. The simulated hosts
//! are new then, so they are told everything again.

use crate::harness::{ALL_SERVICES, Site, World, text, uuid};
use serde_json::json;

/// All operations have come to an end.
async fn settled(world: &World) {
    world
        .until("every VM and router is settled", || async {
            let vms = world.query("QueryVmInstance", &[]).await;
            let routers = world.query("QueryVirtualRouterVm", &[]).await;
            let states = |all: &[serde_json::Value], wanted: &[&str]| {
                all.iter().all(|one| wanted.contains(&text(one, "state").as_str()))
            };
            // The new hosts do not have a router at first: it may be Disconnected for a moment.
            let done = states(&vms, &["Running", "Stopped"])
                && states(&routers, &["Running"])
                && routers.iter().all(|router| text(router, "status") == "Connected");
            done.then_some(())
        })
        .await;
}

#[actix_rt::test]
async fn a_node_opened_again_knows_and_serves_everything() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path());
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let vm = site.vm("vm", &l3).await;
    let router = world.router_of(&l3).await;
    let sections = world.sections(&uuid(&router)).await;
    drop(site);
    world.close();

    let world = World::open(directory.path());
    assert_eq!(world.get("QueryVmInstance", &uuid(&vm)).await, vm);
    assert_eq!(world.sections(&uuid(&router)).await, sections);
    // The new hosts do not have the router yet, so the first attempt may find nobody.
    let after = world
        .until("the router is connected again", || async {
            world.send("ReconnectVirtualRouter", json!({"vmInstanceUuid": uuid(&router)})).await.ok()
        })
        .await;
    assert_eq!(text(&after.inventory.unwrap(), "configDigest"), text(&router, "configDigest"));
    world.make("CreateVmInstance", json!({"name": "second", "l3NetworkUuids": [l3]})).await;
    assert_eq!(world.router_of(&l3).await["uuid"], router["uuid"]);
    world.close();
}

#[actix_rt::test]
async fn operations_that_were_under_way_come_to_their_end() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path());
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let mut vms = Vec::new();
    for name in ["a", "b", "c"] {
        vms.push(uuid(&site.vm(name, &l3).await));
    }
    let router = uuid(&world.router_of(&l3).await);
    let fresh = site.guest("fresh", ALL_SERVICES).await;
    world.durable("CreateVmInstance", json!({"name": "new", "l3NetworkUuids": [fresh]})).await;
    world.durable("StopVmInstance", json!({"uuid": vms[0]})).await;
    world.durable("RebootVmInstance", json!({"uuid": vms[1]})).await;
    world.durable("DestroyVmInstance", json!({"uuid": vms[2]})).await;
    world.durable("ReconnectVirtualRouter", json!({"vmInstanceUuid": router})).await;
    drop(site);
    world.close();

    let world = World::open(directory.path());
    settled(&world).await;
    let state = |uuid: String| {
        let world = &world;
        async move {
            let found = world.query("QueryVmInstance", &[&format!("uuid={uuid}")]).await;
            found.first().map(|vm| text(vm, "state"))
        }
    };
    assert_eq!(state(vms[0].clone()).await.as_deref(), Some("Stopped"));
    assert_eq!(state(vms[1].clone()).await.as_deref(), Some("Running"));
    assert_eq!(state(vms[2].clone()).await, None);
    assert_eq!(text(&world.one("QueryVmInstance", &["name=new"]).await, "state"), "Running");
    world.until_is("QueryVirtualRouterVm", &uuid(&world.router_of(&fresh).await), "status", "Connected").await;
    world.until_is("QueryVirtualRouterVm", &uuid(&world.router_of(&l3).await), "status", "Connected").await;
    world.one_holder_each().await;
    world.close();
}

#[actix_rt::test]
async fn an_attachment_that_was_under_way_comes_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path());
    let site = Site::bare(&world, 2).await;
    let l2 = json!({"zoneUuid": site.zone, "name": "l2", "physicalInterface": "eth1"});
    let l2 = uuid(&world.make("CreateL2NoVlanNetwork", l2).await);
    world.durable("AttachL2NetworkToCluster", json!({"l2NetworkUuid": l2, "clusterUuid": site.cluster})).await;
    let cluster = site.cluster.clone();
    drop(site);
    world.close();
    let world = World::open(directory.path());
    world
        .until("the L2 network is attached", || async {
            (world.get("QueryL2Network", &l2).await["attachedClusterUuids"] == json!([cluster])).then_some(())
        })
        .await;
    world.close();
}
