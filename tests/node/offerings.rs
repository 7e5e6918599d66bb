//! Which offering a router is made of.

use crate::harness::{ALL_SERVICES, Site, World, text, uuid};
use serde_json::{Value, json};

async fn offering_of(site: &Site, l3: &str) -> String {
    site.vm("vm", l3).await;
    text(&site.world.router_of(l3).await, "virtualRouterOfferingUuid")
}

async fn tag(world: &World, resource_type: &str, resource: &str, tag: String) -> Value {
    let tag = json!({"resourceType": resource_type, "resourceUuid": resource, "tag": tag});
    world.make("CreateSystemTag", tag).await
}

/// Whether this is the default offering, and the only one.
async fn is_default(world: &World, wanted: &str) -> bool {
    let found = world.query("QueryVirtualRouterOffering", &["isDefault=true"]).await;
    found.iter().map(uuid).collect::<Vec<_>>().join(" ") == wanted
}

#[actix_rt::test]
async fn the_first_of_a_zone_is_its_default_and_there_is_always_one() {
    let world = World::new();
    let site = Site::new(&world).await;
    assert!(is_default(&world, &site.offering).await);
    let second = site.offer("second", &site.management, &site.public).await;
    assert!(is_default(&world, &site.offering).await);
    let mut third = site.offering("third", &site.management, &site.public);
    third["isDefault"] = json!(true);
    let third = uuid(&world.make("CreateVirtualRouterOffering", third).await);
    assert!(is_default(&world, &third).await);
    world.done("UpdateVirtualRouterOffering", json!({"uuid": second, "isDefault": true})).await;
    assert!(is_default(&world, &second).await);
    // Unset, another one becomes it, an enabled one first.
    world.done("ChangeInstanceOfferingState", json!({"uuid": site.offering, "stateEvent": "disable"})).await;
    world.done("UpdateVirtualRouterOffering", json!({"uuid": second, "isDefault": false})).await;
    assert!(is_default(&world, &third).await);
    world.done("DeleteInstanceOffering", json!({"uuid": third})).await;
    assert!(is_default(&world, &second).await);
    world.done("DeleteInstanceOffering", json!({"uuid": second})).await;
    assert!(is_default(&world, &site.offering).await, "though it is disabled");
    let unset = json!({"uuid": site.offering, "isDefault": false});
    assert_eq!(world.refused("UpdateVirtualRouterOffering", unset).await.code, "SYS.1006");
    let renamed = json!({"uuid": site.offering, "name": "renamed"});
    assert_eq!(text(&world.make("UpdateInstanceOffering", renamed).await, "name"), "renamed");
    assert_eq!(text(&world.get("QueryVirtualRouterOffering", &site.offering).await, "name"), "renamed");
}

#[actix_rt::test]
async fn tags_choose_before_the_default() {
    let world = World::new();
    let site = Site::new(&world).await;
    let for_guest = site.offer("for-guest", &site.management, &site.public).await;
    let named = site.offer("named", &site.management, &site.public).await;
    let (a, b, c) =
        (site.guest("a", ALL_SERVICES).await, site.guest("b", ALL_SERVICES).await, site.guest("c", ALL_SERVICES).await);
    tag(&world, "InstanceOfferingVO", &for_guest, format!("guestL3Network::{a}")).await;
    tag(&world, "L3NetworkVO", &a, format!("virtualRouterOffering::{named}")).await;
    let on_b = tag(&world, "L3NetworkVO", &b, format!("virtualRouterOffering::{named}")).await;
    assert_eq!(offering_of(&site, &a).await, for_guest, "guestL3Network goes before virtualRouterOffering");
    assert_eq!(offering_of(&site, &b).await, named);
    assert_eq!(offering_of(&site, &c).await, site.offering);
    // The next router is chosen anew.
    world.done("DeleteTag", json!({"uuid": uuid(&on_b)})).await;
    world.done("DestroyVmInstance", json!({"uuid": uuid(&world.router_of(&b).await)})).await;
    assert_eq!(offering_of(&site, &b).await, site.offering);
}

#[actix_rt::test]
async fn a_disabled_offering_makes_no_routers() {
    let world = World::new();
    let site = Site::new(&world).await;
    let other = site.offer("other", &site.management, &site.public).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    assert_eq!(offering_of(&site, &l3).await, site.offering);
    world.done("ChangeInstanceOfferingState", json!({"uuid": site.offering, "stateEvent": "disable"})).await;
    world.done("DestroyVmInstance", json!({"uuid": uuid(&world.router_of(&l3).await)})).await;
    let vm = world.one("QueryVmInstance", &[]).await;
    world.done("RebootVmInstance", json!({"uuid": uuid(&vm)})).await;
    assert_eq!(text(&world.router_of(&l3).await, "virtualRouterOfferingUuid"), other);
}

#[actix_rt::test]
async fn without_an_offering_or_a_public_network_there_is_no_router() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let vm = json!({"name": "vm", "l3NetworkUuids": [l3]});
    let refusal = world.refused("CreateVmInstance", vm.clone()).await;
    assert_eq!(refusal.code, "VR.1002");
    assert!(refusal.detail.contains(&l3) && refusal.detail.contains(&site.zone), "{refusal}");
    // The guest network as its own public network cannot have SNAT.
    let flat = site.guest("flat", &["DHCP"]).await;
    site.offer("flat", &site.management, &flat).await;
    site.world
        .done(
            "CreateSystemTag",
            json!({
                "resourceType": "L3NetworkVO", "resourceUuid": flat, "tag": "virtualRouterOffering::".to_string()
                    + &uuid(&world.one("QueryVirtualRouterOffering", &[]).await),
            }),
        )
        .await;
    let snat = json!({"l3NetworkUuid": flat, "networkServices": {"VirtualRouter": ["SNAT"]}});
    let refusal = world.refused("AttachNetworkServiceToL3Network", snat).await;
    assert_eq!(refusal.code, "SYS.1007", "routers stand on it: {refusal}");
}

#[actix_rt::test]
async fn a_guest_network_may_not_overlap_the_routers_other_networks() {
    let world = World::new();
    let site = Site::new(&world).await;
    let guest = site.network("guest", "172.20.0.0/16").await;
    site.serve(&guest, ALL_SERVICES).await;
    let refusal = world.refused("CreateVmInstance", json!({"name": "vm", "l3NetworkUuids": [guest]})).await;
    assert_eq!(refusal.code, "SYS.1007");
    assert!(refusal.detail.contains("overlap") && refusal.detail.contains(&guest), "{refusal}");
}

#[actix_rt::test]
async fn a_router_inherits_the_number_of_parallel_commands() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    tag(&world, "InstanceOfferingVO", &site.offering, "commandsParallelismDegree::7".to_string()).await;
    site.vm("vm", &l3).await;
    let router = uuid(&world.router_of(&l3).await);
    let tags = world.query("QuerySystemTag", &[&format!("resourceUuid={router}")]).await;
    assert_eq!(tags.len(), 1);
    assert_eq!(
        (text(&tags[0], "tag"), &tags[0]["inherent"]),
        ("commandsParallelismDegree::7".to_string(), &json!(true))
    );
    world.done("ReconnectVirtualRouter", json!({"vmInstanceUuid": router})).await;
    world.done("DestroyVmInstance", json!({"uuid": router})).await;
    assert!(world.query("QuerySystemTag", &[&format!("resourceUuid={router}")]).await.is_empty());
}
