//! Tags: what carries them, how many, and when they go.

use crate::harness::{ALL_SERVICES, Site, World, text, uuid};
use serde_json::{Value, json};

fn tag(resource_type: &str, resource: &str, tag: impl ToString) -> Value {
    json!({"resourceType": resource_type, "resourceUuid": resource, "tag": tag.to_string()})
}

/// The texts of the tags that a query finds, in order.
async fn texts(world: &World, query: &str, resource: &str) -> Vec<String> {
    let found = world.query(query, &[&format!("resourceUuid={resource}")]).await;
    let mut texts: Vec<String> = found.iter().map(|tag| text(tag, "tag")).collect();
    texts.sort();
    texts
}

#[actix_rt::test]
async fn tags_of_both_sorts_are_asked_for_together_and_apart() {
    let world = World::new();
    let site = Site::new(&world).await;
    let first = world.make("CreateUserTag", tag("InstanceOfferingVO", &site.offering, "gold")).await;
    let again = world.make("CreateUserTag", tag("VirtualRouterOfferingVO", &site.offering, "gold")).await;
    assert_eq!(first, again, "the same tag twice is one");
    let wide = "commandsParallelismDegree::7";
    let system = world.make("CreateSystemTag", tag("InstanceOfferingVO", &site.offering, wide)).await;
    assert_eq!((&system["type"], &system["inherent"]), (&json!("System"), &json!(false)));
    assert_eq!(texts(&world, "QueryTag", &site.offering).await, [wide, "gold"]);
    assert_eq!(texts(&world, "QuerySystemTag", &site.offering).await, [wide]);
    assert_eq!(texts(&world, "QueryUserTag", &site.offering).await, ["gold"]);
    for one in [&first, &system] {
        world.done("DeleteTag", json!({"uuid": uuid(one)})).await;
    }
    assert!(texts(&world, "QueryTag", &site.offering).await.is_empty());
}

#[actix_rt::test]
async fn a_changed_tag_keeps_its_uuid_and_another_may_be_what_it_was() {
    let world = World::new();
    let site = Site::new(&world).await;
    let (a, b) = (site.guest("a", ALL_SERVICES).await, site.guest("b", ALL_SERVICES).await);
    let [for_a, for_b] = [&a, &b].map(|l3| format!("guestL3Network::{l3}"));
    let of = |text: &str| tag("InstanceOfferingVO", &site.offering, text);
    let first = uuid(&world.make("CreateSystemTag", of(&for_a)).await);
    let changed = world.make("UpdateSystemTag", json!({"uuid": first, "tag": for_b})).await;
    assert_eq!((uuid(&changed), text(&changed, "tag")), (first.clone(), for_b.clone()));
    let head = world.head();
    world.done("UpdateSystemTag", json!({"uuid": first, "tag": for_b})).await;
    assert_eq!(world.asked_since(head).await, [""; 0], "nothing to change");
    let second = uuid(&world.make("CreateSystemTag", of(&for_a)).await);
    assert_ne!(second, first);
    let mut both = [for_a.clone(), for_b.clone()];
    both.sort();
    assert_eq!(texts(&world, "QuerySystemTag", &site.offering).await, both);
    let refusal = world.refused("UpdateSystemTag", json!({"uuid": first, "tag": for_a})).await;
    assert!(refusal.code == "SYS.1006" && refusal.detail.contains(&for_a), "{refusal}");
    let other = json!({"uuid": first, "tag": "commandsParallelismDegree::7"});
    let refusal = world.refused("UpdateSystemTag", other).await;
    assert!(refusal.code == "SYS.1007" && refusal.detail.contains("commandsParallelismDegree::7"), "{refusal}");
    // What it was is forgotten: only what it names now takes it along.
    world.done("DeleteL3Network", json!({"uuid": a})).await;
    assert_eq!(texts(&world, "QuerySystemTag", &site.offering).await, [for_b]);
    world.done("DeleteL3Network", json!({"uuid": b})).await;
    assert!(texts(&world, "QueryTag", &site.offering).await.is_empty());
}

#[actix_rt::test]
async fn several_tags_are_made_all_or_none() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let of = |tags: &[&str]| json!({"resourceType": "InstanceOfferingVO", "resourceUuid": site.offering, "tags": tags});
    let for_guest = format!("guestL3Network::{l3}");
    let wide = "commandsParallelismDegree::7";
    let refusal = world.refused("CreateSystemTags", of(&[&for_guest, wide, "commandsParallelismDegree::8"])).await;
    assert!(refusal.code == "SYS.1006" && refusal.detail.contains("::7"), "{refusal}");
    let reply = world.done("CreateSystemTags", of(&[&for_guest, wide])).await;
    assert_eq!(reply.inventories.unwrap().len(), 2);
    assert_eq!(texts(&world, "QuerySystemTag", &site.offering).await, [wide.to_string(), for_guest]);
}

#[actix_rt::test]
async fn tags_come_with_every_resource_and_go_with_it_by_whatever_way() {
    let world = World::new();

    let tagged = |mut parameters: Value| {
        parameters["userTags"] = json!(["mine"]);
        parameters
    };
    let zone = uuid(&world.make("CreateZone", tagged(json!({"name": "z"}))).await);
    let cluster = json!({"zoneUuid": zone, "name": "c", "hypervisorType": "Simulator"});
    let cluster = uuid(&world.make("CreateCluster", tagged(cluster)).await);
    let host = json!({"clusterUuid": cluster, "name": "h", "managementIp": "10.77.0.1"});
    let host = uuid(&world.make("AddSimulatorHost", tagged(host)).await);
    let image = uuid(&world.make("AddImage", tagged(json!({"name": "i", "url": "file:///i"}))).await);
    let l2 = json!({"zoneUuid": zone, "name": "l2", "physicalInterface": "eth0"});
    let l2 = uuid(&world.make("CreateL2NoVlanNetwork", tagged(l2)).await);
    world.done("AttachL2NetworkToCluster", json!({"l2NetworkUuid": l2, "clusterUuid": cluster})).await;
    let l3 = uuid(&world.make("CreateL3Network", tagged(json!({"name": "l3", "l2NetworkUuid": l2}))).await);
    let range = json!({"l3NetworkUuid": l3, "name": "r", "networkCidr": "10.78.0.0/24"});
    let range = uuid(&world.make("AddIpRangeByNetworkCidr", tagged(range)).await);
    let offering = json!({"name": "o", "cpuNum": 1, "memorySize": 1024});
    let offering = uuid(&world.make("CreateInstanceOffering", tagged(offering)).await);
    let mut vm = tagged(json!({"name": "vm", "l3NetworkUuids": [l3]}));
    vm["systemTags"] = json!(["hostname::web", format!("staticIp::{l3}::10.78.0.9")]);
    let vm = uuid(&world.make("CreateVmInstance", vm).await);
    let all = [&zone, &cluster, &host, &image, &l2, &l3, &range, &offering, &vm];
    for resource in all {
        assert_eq!(texts(&world, "QueryUserTag", resource).await, ["mine"]);
    }
    assert_eq!(texts(&world, "QuerySystemTag", &vm).await.len(), 2);
    world.done("DeleteImage", json!({"uuid": image})).await;
    world.done("DeleteInstanceOffering", json!({"uuid": offering})).await;
    // The rest goes as one.
    world.send("DeleteZone", json!({"uuid": zone, "deleteMode": "Enforcing"})).await.unwrap();
    for resource in all {
        assert!(texts(&world, "QueryTag", resource).await.is_empty(), "{resource}");
    }
    assert!(world.query("QueryTag", &["tag=mine"]).await.is_empty());
}

#[actix_rt::test]
async fn the_tags_of_a_nic_go_with_the_nic_and_others_stay() {
    let world = World::new();
    let site = Site::new(&world).await;
    let (a, b) = (site.network("a", "10.81.0.0/24").await, site.network("b", "10.82.0.0/24").await);
    let tags = [format!("staticIp::{a}::10.81.0.9"), format!("staticIp::{b}::10.82.0.9"), "hostname::web".to_string()];
    let vm = json!({"name": "vm", "l3NetworkUuids": [a, b], "systemTags": tags});
    let vm = uuid(&world.make("CreateVmInstance", vm).await);
    world.done("DeleteL3Network", json!({"uuid": b, "deleteMode": "Enforcing"})).await;
    assert_eq!(texts(&world, "QuerySystemTag", &vm).await, ["hostname::web".to_string(), tags[0].clone()]);
    // What says how the VM was made is not to be changed by itself.
    let system = world.query("QuerySystemTag", &[&format!("resourceUuid={vm}")]).await;
    for tag in &system {
        let refusal = world.refused("DeleteTag", json!({"uuid": uuid(tag)})).await;
        assert!(refusal.code == "SYS.1006" && refusal.detail.contains(&text(tag, "tag")), "{refusal}");
    }
    let hostname = uuid(system.iter().find(|tag| text(tag, "tag") == "hostname::web").unwrap());
    let refusal = world.refused("UpdateSystemTag", json!({"uuid": hostname, "tag": "hostname::other"})).await;
    assert!(refusal.code == "SYS.1006" && refusal.detail.contains("hostname::other"), "{refusal}");
}

#[actix_rt::test]
async fn an_inherent_tag_is_changed_and_not_deleted() {
    let world = World::new();
    let site = Site::new(&world).await;
    let wide = tag("InstanceOfferingVO", &site.offering, "commandsParallelismDegree::7");
    world.done("CreateSystemTag", wide).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    site.vm("vm", &l3).await;
    let router = uuid(&world.router_of(&l3).await);
    let inherited = world.one("QuerySystemTag", &[&format!("resourceUuid={router}")]).await;
    let refusal = world.refused("DeleteTag", json!({"uuid": uuid(&inherited)})).await;
    assert!(refusal.code == "SYS.1006" && refusal.detail.contains("inherent"), "{refusal}");
    let second = tag("VmInstanceVO", &router, "commandsParallelismDegree::8");
    assert_eq!(world.refused("CreateSystemTag", second).await.code, "SYS.1006");
    let changed = json!({"uuid": uuid(&inherited), "tag": "commandsParallelismDegree::8"});
    let changed = world.make("UpdateSystemTag", changed).await;
    assert_eq!((text(&changed, "tag").as_str(), &changed["inherent"]), ("commandsParallelismDegree::8", &json!(true)));
    assert_eq!(texts(&world, "QuerySystemTag", &site.offering).await, ["commandsParallelismDegree::7"]);
}
