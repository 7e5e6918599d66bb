//! User data: from the tag of a VM to the documents of its routers, whatever way it comes and goes.

use crate::harness::{ALL_SERVICES, Site, World, text, uuid};
use serde_json::{Value, json};

/// What the router of a network tells of a VM, by its document; nothing where it tells nothing of it.
async fn told(world: &World, l3: &str, vm: &str) -> Option<Value> {
    let router = uuid(&world.router_of(l3).await);
    let config = world.read("GetVirtualRouterConfig", json!({"uuid": router})).await;
    let clients = config["config"]["sections"]["metadata"]["clients"].as_array().cloned().unwrap_or_default();
    clients.into_iter().find(|client| client["vm"] == vm)
}

async fn data(world: &World, l3: &str, vm: &str) -> Option<String> {
    told(world, l3, vm).await.and_then(|client| client["userdata"].as_str().map(str::to_string))
}

#[actix_rt::test]
async fn a_router_tells_each_vm_what_its_tag_says_until_it_goes() {
    let world = World::new();
    let site = Site::new(&world).await;
    let (a, b) = (site.guest("a", ALL_SERVICES).await, site.guest("b", ALL_SERVICES).await);
    let create = json!({"name": "web", "l3NetworkUuids": [a], "systemTags": ["userdata::eA=="]});
    let vm = world.make("CreateVmInstance", create).await;
    let other = uuid(&site.vm("db", &a).await);
    site.vm("there", &b).await;
    let web = uuid(&vm);
    let client = told(&world, &a, &web).await.unwrap();
    assert_eq!((text(&client, "userdata"), text(&client, "hostname")), ("eA==".to_string(), "web".to_string()));
    assert_eq!((&client["ip"], &client["mac"]), (&vm["vmNics"][0]["ip"], &vm["vmNics"][0]["mac"]));
    assert_eq!((told(&world, &a, &other).await.is_some(), data(&world, &a, &other).await), (true, None));

    // Later, changed, and gone.
    let tag = |resource: &str, tag: &str| json!({"resourceType": "VmInstanceVO", "resourceUuid": resource, "tag": tag});
    let made = uuid(&world.make("CreateSystemTag", tag(&other, "userdata::eQ==")).await);
    assert_eq!(data(&world, &a, &other).await.as_deref(), Some("eQ=="));
    world.done("UpdateSystemTag", json!({"uuid": made, "tag": "userdata::eg=="})).await;
    assert_eq!(data(&world, &a, &other).await.as_deref(), Some("eg=="));
    world.done("DeleteTag", json!({"uuid": made})).await;
    assert_eq!(data(&world, &a, &other).await, None);
    let twice = world.refused("CreateSystemTag", tag(&web, "userdata::eQ==")).await;
    assert!(twice.detail.contains("userdata"), "{twice}");

    // Another router learns it with the nic; who is told nothing else of it says nothing of it.
    let head = world.head();
    world.done("AttachL3NetworkToVm", json!({"vmInstanceUuid": web, "l3NetworkUuid": b})).await;
    assert_eq!(data(&world, &b, &web).await.as_deref(), Some("eA=="));
    world.done("AttachL3NetworkToVm", json!({"vmInstanceUuid": other, "l3NetworkUuid": b})).await;
    let events = world.read("GetEvents", json!({"after": head, "kind": "vm_instance.UserdataChanged"})).await;
    assert_eq!(events["events"].as_array().unwrap().len(), 1, "{events}");

    // While it does not run it is told nothing; then it is again.
    world.done("StopVmInstance", json!({"uuid": web})).await;
    assert_eq!(told(&world, &a, &web).await, None);
    world.done("StartVmInstance", json!({"uuid": web})).await;
    assert_eq!(data(&world, &a, &web).await.as_deref(), Some("eA=="));
    world.done("ReconnectVirtualRouter", json!({"vmInstanceUuid": uuid(&world.router_of(&a).await)})).await;
    assert_eq!(data(&world, &a, &web).await.as_deref(), Some("eA=="));
}
