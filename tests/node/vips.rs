//! Virtual IP addresses: taken and given back, one holder under any concurrency, in the way of what holds them, and a
//! router's own address beside them.

use crate::harness::{ALL_SERVICES, Site, World, admin, text, uuid};
use crate::ownership::{Tenant, share};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use switchback_bus::Bus;

fn vip(l3: &str) -> Value {
    json!({"name": "vip", "l3NetworkUuid": l3})
}

fn with(mut parameters: Value, more: Value) -> Value {
    parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    parameters
}

#[actix_rt::test]
async fn a_vip_takes_an_address_and_gives_it_back() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let free = site.free(&site.public).await;
    let made = world.make("CreateVip", with(vip(&site.public), json!({"requiredIp": "203.0.113.9"}))).await;
    for (field, value) in [
        ("ip", json!("203.0.113.9")),
        ("gateway", json!("203.0.113.1")),
        ("netmask", json!("255.255.255.0")),
        ("prefixLen", json!(24)),
        ("state", json!("Enabled")),
        ("system", json!(false)),
        ("useFor", Value::Null),
        ("serviceProvider", Value::Null),
        ("peerL3NetworkUuids", json!([])),
        ("l3NetworkUuid", json!(site.public)),
    ] {
        assert_eq!(made[field], value, "{field} of {made}");
    }
    let id = uuid(&made);
    assert_eq!(site.free(&site.public).await, free - 1);
    let address = world.one("QueryIpAddress", &["ip=203.0.113.9"]).await;
    assert_eq!((&address["usedFor"], &address["vmNicUuid"]), (&json!("VIP"), &Value::Null));
    assert_eq!(address["uuid"], made["usedIpUuid"]);
    let refusal = world.refused("CreateVip", with(vip(&site.public), json!({"requiredIp": "203.0.113.9"}))).await;
    assert_eq!((refusal.code.as_str(), refusal.field.as_deref()), ("SYS.1007", Some("requiredIp")));
    let own = json!({"l3NetworkUuid": site.public, "usedIpUuids": [address["uuid"]]});
    assert!(world.refused("DeleteIpAddress", own).await.detail.contains("VIP"));

    world.done("UpdateVip", json!({"uuid": id, "name": "other", "description": "d"})).await;
    for (event, state) in [("disable", "Disabled"), ("disable", "Disabled"), ("enable", "Enabled")] {
        let changed = world.make("ChangeVipState", json!({"uuid": id, "stateEvent": event})).await;
        assert_eq!((&changed["state"], &changed["name"]), (&json!(state), &json!("other")));
    }
    let free_port = json!({"vipUuid": id, "port": 80, "protocolType": "TCP"});
    assert_eq!(world.read("CheckVipPortAvailability", free_port).await["available"], true);
    let ports = json!({"vipUuid": id, "protocolType": "UDP", "start": 10, "limit": 3});
    assert_eq!(world.read("GetVipAvailablePort", ports).await["availablePort"], json!([11, 12, 13]));

    let before = world.head();
    world.done("DeleteVip", json!({"uuid": id})).await;
    world.done("DeleteVip", json!({"uuid": id, "deleteMode": "Enforcing"})).await;
    assert_eq!(world.kinds_after(before).await, ["vip.Deleted", "ip_range.AddressReleased"]);
    assert_eq!(site.free(&site.public).await, free);
    assert!(world.query("QueryVip", &[]).await.is_empty());
    assert_eq!(world.query_at("QueryVip", &["l3Network.name=public"], Some(before)).await.len(), 1);
    let held = world.read("GetAddressHolder", json!({"ip": "203.0.113.9"})).await;
    let holder = &held["holders"][0];
    assert_eq!((&holder["ownerKind"], &holder["ownerName"]), (&json!("vip"), &json!("other")));
    assert_eq!(holder["vmNicUuid"], Value::Null);
}

#[actix_rt::test]
async fn an_address_is_chosen_as_the_command_says() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let (l3, first) = (&site.public, "FirstAvailableIpAllocatorStrategy");
    let ip = async |more: Value| text(&world.make("CreateVip", with(vip(l3), more)).await, "ip");
    assert_eq!(ip(json!({"allocatorStrategy": first})).await, "203.0.113.2");
    assert_eq!(ip(json!({"allocatorStrategy": first})).await, "203.0.113.3");
    let lowest = world.one("QueryVip", &["ip=203.0.113.2"]).await;
    world.done("DeleteVip", json!({"uuid": uuid(&lowest)})).await;
    assert_eq!(ip(json!({"allocatorStrategy": first})).await, "203.0.113.2");
    let rested = json!({"allocatorStrategy": "AscDelayRecycleIpAllocatorStrategy"});
    assert_eq!(ip(rested.clone()).await, "203.0.113.4");
    let last = world.one("QueryVip", &["ip=203.0.113.4"]).await;
    world.done("DeleteVip", json!({"uuid": uuid(&last)})).await;
    assert_eq!(ip(rested).await, "203.0.113.5");
    assert_ne!(ip(json!({"allocatorStrategy": "RandomIpAllocatorStrategy"})).await, "203.0.113.4");

    let six = json!({
        "l3NetworkUuid": l3, "name": "six", "networkCidr": "fd00:9::/64", "addressMode": "SLAAC",
    });
    let six = uuid(&world.make("AddIpv6RangeByNetworkCidr", six).await);
    let lowest = json!({"ipVersion": 6, "allocatorStrategy": "FirstAvailableIpv6AllocatorStrategy"});
    assert_eq!(ip(lowest).await, "fd00:9::2");
    assert!(ip(json!({"ipRangeUuid": six})).await.starts_with("fd00:9::"));
    assert_eq!(ip(json!({"requiredIp": "fd00:9::77"})).await, "fd00:9::77");
    assert!(ip(json!({})).await.starts_with("203.0.113."));
}

#[actix_rt::test]
async fn vips_stand_in_the_way_of_what_holds_them_and_go_with_it() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let range = uuid(&world.one("QueryIpRange", &[&format!("l3NetworkUuid={}", site.public)]).await);
    let other = json!({
        "l3NetworkUuid": site.management, "name": "pool", "startIp": "198.51.100.1", "endIp": "198.51.100.9",
        "netmask": "255.255.255.0", "ipRangeType": "AddressPool",
    });
    world.done("UpdateL3Network", json!({"uuid": site.management, "category": "Public", "system": false})).await;
    let pool = uuid(&world.make("AddIpRange", other).await);
    let of_pool = world.make("CreateVip", with(vip(&site.management), json!({"ipRangeUuid": pool}))).await;
    let one = uuid(&world.make("CreateVip", vip(&site.public)).await);
    for (name, id) in [("DeleteIpRange", &range), ("DeleteL3Network", &site.public), ("DeleteIpRange", &pool)] {
        let refusal = world.refused(name, json!({"uuid": id})).await;
        let blocker = &refusal.blockers[0];
        assert_eq!((blocker.resource_type.as_str(), blocker.name.as_str()), ("vip", "vip"), "{refusal}");
    }
    world.done("DeleteIpRange", json!({"uuid": pool, "deleteMode": "Enforcing"})).await;
    assert_eq!(world.query("QueryVip", &[&format!("uuid={}", uuid(&of_pool))]).await, Vec::<Value>::new());
    let tag = json!({"resourceType": "VipVO", "resourceUuid": one, "tag": "t"});
    world.done("CreateUserTag", tag).await;
    world.done("DeleteL3Network", json!({"uuid": site.public, "deleteMode": "Enforcing"})).await;
    assert!(world.query("QueryVip", &[]).await.is_empty() && world.query("QueryUserTag", &[]).await.is_empty());
    assert!(world.query("QueryIpAddress", &["usedFor=VIP"]).await.is_empty());
}

#[actix_rt::test]
async fn a_routers_own_address_is_a_system_vip_as_long_as_it_is_there() {
    let world = World::new();
    let site = Site::new(&world).await;
    let (bob, eve) = (Tenant::new(&world, "bob").await, Tenant::new(&world, "eve").await);
    let l2 = site.l2("tenants").await;
    share(&world, &[&l2], &[&bob]).await;
    let guest = bob.network(&l2, "10.60.0.0/24").await;
    bob.vm(&guest).await;
    let router = world.router_of(&guest).await;
    let own = world.one("QueryVip", &["system=true"]).await;
    let nic = world.one("QueryVmNic", &[&format!("l3NetworkUuid={}", site.public)]).await;
    assert_eq!((&own["ip"], &own["useFor"]), (&nic["ip"], &json!("SNAT")));
    assert_eq!((&own["peerL3NetworkUuids"], &own["serviceProvider"]), (&json!([guest]), &json!("VirtualRouter")));
    assert_eq!(world.found_through("QueryVirtualRouterVm", &format!("vip.uuid={}", uuid(&own))).await, [uuid(&router)]);
    assert_eq!(bob.query("QueryVip", &[]).await, std::slice::from_ref(&own));
    assert_eq!(eve.query("QueryVip", &[]).await, Vec::<Value>::new());
    let id = uuid(&own);
    for (name, parameters) in [
        ("DeleteVip", json!({"uuid": id})),
        ("DeleteVip", json!({"uuid": id, "deleteMode": "Enforcing"})),
        ("UpdateVip", json!({"uuid": id, "name": "x"})),
        ("ChangeVipState", json!({"uuid": id, "stateEvent": "disable"})),
    ] {
        let refusal = world.refused(name, parameters.clone()).await;
        assert!(refusal.code == "SYS.1006" && refusal.detail.contains("system VIP"), "{name}: {refusal}");
        assert_eq!(bob.refused(name, parameters.clone()).await.code, "SYS.1006");
        if name != "DeleteVip" {
            assert_eq!(eve.refused(name, parameters).await.code, "SYS.1003");
        }
    }
    let port = json!({"vipUuid": id, "port": 80, "protocolType": "TCP"});
    assert_eq!(world.read("CheckVipPortAvailability", port).await["available"], false);
    world.done("DestroyVmInstance", json!({"uuid": uuid(&router)})).await;
    assert!(world.query("QueryVip", &[]).await.is_empty());
}

#[actix_rt::test]
async fn many_clients_get_an_address_each_and_one_gets_the_one_that_all_want() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let wanted = with(vip(&site.public), json!({"requiredIp": "203.0.113.77"}));
    let commands = (0..64).map(|_| ("CreateVip", wanted.clone())).collect();
    let answers = world.at_once(commands).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let commands = (0..64).map(|_| ("CreateVip", vip(&site.public))).collect();
    let made: Vec<Value> =
        world.at_once(commands).await.into_iter().map(|reply| reply.unwrap().inventory.unwrap()).collect();
    let addresses: BTreeSet<String> = made.iter().map(|vip| text(vip, "ip")).collect();
    assert!(addresses.len() == 64 && !addresses.contains("203.0.113.77"), "{addresses:?}");
    assert_eq!(world.query("QueryIpAddress", &["usedFor=VIP"]).await.len(), 65);

    // Whose the addresses of a network are.
    let on = |whose: &str, more: Value| {
        let asked = json!({"l3NetworkUuid": site.public, "resourceType": whose, "replyWithCount": true});
        world.read_owned("GetL3NetworkIpStatistic", with(asked, more))
    };
    let found = on("VIP", json!({"ip": "203.0.113.77"})).await;
    let row = &found["ipStatistics"][0];
    assert_eq!((&row["resourceTypes"], &row["vipName"]), (&json!(["VIP"]), &json!("vip")));
    assert_eq!(found["total"], 1);
    let newest = on("VIP", json!({"sortBy": "CreateTime", "sortDirection": "desc", "limit": 2})).await;
    assert_eq!((newest["ipStatistics"].as_array().unwrap().len(), &newest["total"]), (2, &json!(65)));
    for by in ["Ip", "CreateTime"] {
        assert_eq!(on("VM", json!({"sortBy": by})).await["ipStatistics"], json!([]));
    }
    assert_eq!(on("All", json!({})).await["total"], 65);
}

#[actix_rt::test]
async fn an_account_has_vips_of_its_own_up_to_its_quota() {
    let world = World::new();
    let site = Site::new(&world).await;
    let (bob, eve) = (Tenant::new(&world, "bob").await, Tenant::new(&world, "eve").await);
    let refusal = bob.refused("CreateVip", vip(&site.public)).await;
    assert_eq!(refusal.code, "SYS.1003");
    share(&world, &[&site.public], &[&bob, &eve]).await;
    world.done("UpdateQuota", json!({"identityUuid": bob.uuid, "name": "vip.num", "value": 2})).await;
    let one = bob.make("CreateVip", vip(&site.public)).await;
    bob.make("CreateVip", vip(&site.public)).await;
    assert!(bob.refused("CreateVip", vip(&site.public)).await.detail.contains("vip.num"));
    let (id, port) = (uuid(&one), |id: &str| json!({"vipUuid": id, "port": 1, "protocolType": "TCP"}));
    assert_eq!((bob.query("QueryVip", &[]).await.len(), eve.query("QueryVip", &[]).await.len()), (2, 0));
    assert_eq!(bob.query("QueryIpAddress", &["usedFor=VIP"]).await.len(), 2);
    assert_eq!(eve.query("QueryIpAddress", &[]).await.len(), 0);
    assert_eq!(eve.refused("UpdateVip", json!({"uuid": id, "name": "x"})).await.code, "SYS.1003");
    assert_eq!(eve.read("CheckVipPortAvailability", port(&id)).await.unwrap_err().code, "SYS.1003");
    assert!(bob.read("CheckVipPortAvailability", port(&id)).await.is_ok());
    assert_eq!(world.refused("DeleteAccount", json!({"uuid": bob.uuid})).await.blockers.len(), 2);
    bob.done("DeleteVip", json!({"uuid": id})).await;
    bob.make("CreateVip", vip(&site.public)).await;
    world
        .done(
            "ChangeResourceOwner",
            json!({"accountUuid": eve.uuid, "resourceUuid": uuid(&eve.make("CreateVip", vip(&site.public)).await)}),
        )
        .await;
    let nobody = switchback_events::Id::of_name("nobody").to_string();
    assert_eq!(
        world.node.read(&admin(), "CheckVipPortAvailability", port(&nobody)).await.unwrap_err().code,
        "SYS.1003"
    );
}

#[actix_rt::test]
async fn a_network_without_address_management_has_no_vips() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let l3 = json!({"name": "free", "l2NetworkUuid": site.l2("free").await, "enableIPAM": false});
    let l3 = uuid(&world.make("CreateL3Network", l3).await);
    let refusal = world.refused("CreateVip", vip(&l3)).await;
    assert!(refusal.code == "SYS.1006" && refusal.detail.contains("enableIPAM"), "{refusal}");
}

#[actix_rt::test]
async fn services_of_a_router_do_not_notice_vips() {
    let world = World::new();
    let site = Site::new(&world).await;
    let guest = site.guest("guest", ALL_SERVICES).await;
    site.vm("vm", &guest).await;
    let router = uuid(&world.router_of(&guest).await);
    let before = world.sections(&router).await;
    world.done("CreateVip", vip(&site.public)).await;
    world.done("CreateVip", vip(&guest)).await;
    assert_eq!(world.sections(&router).await, before);
}
