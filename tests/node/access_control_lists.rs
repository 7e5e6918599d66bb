//! Access control lists: what they take, how listeners go by them, and whose they are.

use crate::harness::{ALL_SERVICES, Site, World, text, uuid};
use crate::ownership::Tenant;
use serde_json::{Value, json};
use switchback_events::Id;

/// A network whose routers balance load, and a load balancer.
async fn balanced(world: &World, site: &Site) -> (String, String) {
    let services: Vec<&str> = ALL_SERVICES.iter().copied().chain(["LoadBalancer"]).collect();
    let l3 = site.guest("guest", &services).await;
    let vip = uuid(&world.make("CreateVip", json!({"name": "vip", "l3NetworkUuid": site.public})).await);
    (l3, uuid(&world.make("CreateLoadBalancer", json!({"name": "lb", "vipUuid": vip})).await))
}

async fn listener(world: &World, lb: &str, port: u16, protocol: &str, more: Value) -> Value {
    let mut asked = json!({"loadBalancerUuid": lb, "name": "web", "loadBalancerPort": port, "protocol": protocol});
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.make("CreateLoadBalancerListener", asked).await
}

async fn list(world: &World, name: &str) -> String {
    uuid(&world.make("CreateAccessControlList", json!({"name": name, "description": "d", "ipVersion": 4})).await)
}

async fn listed(world: &World, name: &str, entries: &str) -> String {
    let list = list(world, name).await;
    world.done("AddAccessControlListEntry", json!({"aclUuid": list, "entries": entries})).await;
    list
}

async fn ruled(world: &World, name: &str, domain: &str) -> String {
    let list = list(world, name).await;
    world.done("AddAccessControlListRedirectRule", json!({"aclUuid": list, "domain": domain})).await;
    list
}

fn on(listener: &str, kind: &str, lists: &[&str]) -> Value {
    json!({"listenerUuid": listener, "aclType": kind, "aclUuids": lists})
}

fn redirect(listener: &str, lists: &[&str], groups: &[&str]) -> Value {
    json!({"listenerUuid": listener, "aclType": "redirect", "aclUuids": lists, "serverGroupUuids": groups})
}

async fn group(world: &World, lb: &str, listener: Option<&str>) -> String {
    let asked = json!({"loadBalancerUuid": lb, "name": "g"});
    let group = uuid(&world.make("CreateLoadBalancerServerGroup", asked).await);
    if let Some(listener) = listener {
        let on = json!({"listenerUuid": listener, "serverGroupUuid": group});
        world.done("AddServerGroupToLoadBalancerListener", on).await;
    }
    group
}

/// What the router is told of a listener.
async fn told(world: &World, l3: &str, listener: &str) -> Value {
    let router = uuid(&world.router_of(l3).await);
    let section = world.sections(&router).await["loadBalancer"].clone();
    let listeners = section["listeners"].as_array().cloned().unwrap_or_default();
    listeners.into_iter().find(|told| told["listener"] == json!(listener)).unwrap_or_default()
}

#[actix_rt::test]
async fn listeners_go_by_white_and_black_lists_and_follow_them() {
    let world = World::new();
    let site = Site::new(&world).await;
    let (l3, lb) = balanced(&world, &site).await;
    let nic = uuid(&site.vm("vm", &l3).await["vmNics"][0]);
    let friends = listed(&world, "friends", "192.0.2.7,198.51.100.0/24").await;
    let shown = world.get("QueryAccessControlList", &friends).await;
    assert_eq!((&shown["name"], &shown["ipVersion"]), (&json!("friends"), &json!(4)));
    let entry = &shown["entries"][0];
    assert_eq!((&entry["type"], &entry["ipEntries"]), (&json!("IpEntry"), &json!("192.0.2.7,198.51.100.0/24")));
    let mut listeners = Vec::new();
    for (port, protocol) in [(80, "tcp"), (53, "udp")] {
        let made = uuid(&listener(&world, &lb, port, protocol, json!({})).await);
        world.done("AddVmNicToLoadBalancer", json!({"listenerUuid": made, "vmNicUuids": [nic]})).await;
        let shown = world.make("AddAccessControlListToLoadBalancer", on(&made, "white", &[&friends])).await;
        let of = &shown["aclRefs"][0];
        assert_eq!(
            (&of["aclUuid"], &of["type"], &of["serverGroupUuid"]),
            (&json!(friends), &json!("white"), &Value::Null)
        );
        assert_eq!(shown["aclStatus"], "enable");
        listeners.push(made);
    }
    let access = async |listener: &str| told(&world, &l3, listener).await["access"].clone();
    let (tcp, udp) = (&listeners[0], &listeners[1]);
    let expected = json!({"allow": true, "sources": ["192.0.2.7/32", "198.51.100.0/24"]});
    assert_eq!((access(tcp).await, access(udp).await), (expected.clone(), expected.clone()));
    // Another entry, and it is gone again: listeners follow, in one commit.
    let before = world.head();
    let asked = json!({"aclUuid": friends, "entries": "203.0.113.4-203.0.113.7", "description": "d"});
    let entry = uuid(&world.make("AddAccessControlListEntry", asked).await);
    let kinds = world.kinds_after(before).await;
    let own: Vec<&String> =
        kinds.iter().filter(|kind| kind.contains("AccessList") || kind.contains("access")).collect();
    assert_eq!(own, ["access_control_list.EntryAdded", "load_balancer.AccessListChanged"]);
    let more = json!({"allow": true, "sources": ["192.0.2.7/32", "198.51.100.0/24", "203.0.113.4/30"]});
    assert_eq!((access(tcp).await, access(udp).await), (more.clone(), more));
    for _ in 0..2 {
        world.done("RemoveAccessControlListEntry", json!({"aclUuid": friends, "uuid": entry})).await;
    }
    assert_eq!((access(tcp).await, access(udp).await), (expected.clone(), expected.clone()));
    // Lists that do not count for a while.
    for (status, counts) in [("disable", false), ("enable", true)] {
        let changed = world.make("ChangeLoadBalancerListener", json!({"uuid": tcp, "aclStatus": status})).await;
        assert_eq!(changed["aclStatus"], status);
        assert_eq!(access(tcp).await != Value::Null, counts);
    }
    let rows = world.query("QueryLoadBalancerListener", &["aclRefs.accessControlList.name=friends"]).await;
    assert_eq!(rows.len(), 2);
    for _ in 0..2 {
        let off = json!({"listenerUuid": tcp, "aclUuids": [friends]});
        let shown = world.make("RemoveAccessControlListFromLoadBalancer", off).await;
        assert_eq!(shown["aclRefs"], json!([]));
    }
    assert_eq!((access(tcp).await, access(udp).await), (Value::Null, expected));
    // A listener that is gone goes by nothing.
    assert!(world.refused("DeleteAccessControlList", json!({"uuid": friends})).await.detail.contains(udp));
    world.done("DeleteLoadBalancerListener", json!({"uuid": udp})).await;
    for _ in 0..2 {
        world.done("DeleteAccessControlList", json!({"uuid": friends})).await;
    }
    // From the beginning on, as ZStack's clients say it.
    let foes = listed(&world, "foes", "192.0.2.0/24").await;
    let more = json!({"aclUuids": [foes], "aclStatus": "enable"});
    let made = listener(&world, &lb, 82, "tcp", more).await;
    assert_eq!((&made["aclRefs"][0]["type"], &made["aclStatus"]), (&json!("black"), &json!("enable")));
    let made = listener(&world, &lb, 83, "tcp", json!({"systemTags": ["accessControlStatus::disable"]})).await;
    assert_eq!(made["aclStatus"], "disable");
    world.done("DeleteLoadBalancer", json!({"uuid": lb})).await;
    world.done("DeleteAccessControlList", json!({"uuid": foes})).await;
}

/// Lists and load balancers are decided apart; what of a list is in a load balancer's events is never of before.
#[actix_rt::test]
async fn a_list_that_changes_while_listeners_are_told_to_go_by_it_reaches_them_all() {
    let world = World::new();
    let site = Site::new(&world).await;
    let (l3, lb) = balanced(&world, &site).await;
    let nic = uuid(&site.vm("vm", &l3).await["vmNics"][0]);
    let friends = list(&world, "friends").await;
    let mut listeners = Vec::new();
    for port in 80..92 {
        let made = uuid(&listener(&world, &lb, port, "tcp", json!({})).await);
        world.done("AddVmNicToLoadBalancer", json!({"listenerUuid": made, "vmNicUuids": [nic]})).await;
        listeners.push(made);
    }
    let (world, friends) = (&world, &friends);
    let adding = (0..30).map(async |n| {
        let asked = json!({"aclUuid": friends, "entries": format!("192.0.2.{}", n * 2)});
        world.done("AddAccessControlListEntry", asked).await;
    });
    let admitting = listeners.iter().map(async |listener| {
        world.done("AddAccessControlListToLoadBalancer", on(listener, "white", &[friends])).await;
    });
    futures_util::future::join(futures_util::future::join_all(adding), futures_util::future::join_all(admitting)).await;
    let expected: Vec<String> = (0..30).map(|n| format!("192.0.2.{}/32", n * 2)).collect();
    for listener in &listeners {
        assert_eq!(told(world, &l3, listener).await["access"], json!({"allow": true, "sources": expected}));
    }
}

#[actix_rt::test]
async fn redirects_have_their_server_groups() {
    let world = World::new();
    let site = Site::new(&world).await;
    let (l3, lb) = balanced(&world, &site).await;
    let nic = async |name: &str| uuid(&site.vm(name, &l3).await["vmNics"][0]);
    let (first, second) = (nic("one").await, nic("two").await);
    let web = uuid(&listener(&world, &lb, 80, "http", json!({})).await);
    let (blue, green) = (group(&world, &lb, Some(&web)).await, group(&world, &lb, Some(&web)).await);
    for (group, nic) in [(&blue, &first), (&green, &second)] {
        let into = json!({"serverGroupUuid": group, "vmNics": [{"uuid": nic}]});
        world.done("AddBackendServerToServerGroup", into).await;
    }
    let shop = ruled(&world, "shop", "*.Shop.example").await;
    world.done("AddAccessControlListToLoadBalancer", redirect(&web, &[&shop], &[&blue])).await;
    let counts = async || {
        let told = told(&world, &l3, &web).await;
        let count = |value: &Value| value.as_array().map_or(0, Vec::len);
        (count(&told["servers"]), count(&told["redirects"][0]["servers"]))
    };
    assert_eq!(told(&world, &l3, &web).await["redirects"][0]["host"], "*.shop.example");
    assert_eq!(counts().await, (1, 1));
    let groups = |shown: &Value| {
        let refs = shown["aclRefs"].as_array().unwrap().iter();
        let mut groups: Vec<String> = refs.map(|of| self::text(of, "serverGroupUuid")).collect();
        groups.sort();
        groups
    };
    let both = |one: &str, two: &str| {
        let mut both = vec![one.to_string(), two.to_string()];
        both.sort();
        both
    };
    let shown = world.make("AddAccessControlListToLoadBalancer", redirect(&web, &[&shop], &[&green])).await;
    assert_eq!(groups(&shown), both(&blue, &green));
    assert_eq!(counts().await, (0, 2));
    let off = |groups: &[&str]| json!({"listenerUuid": web, "aclUuids": [shop], "serverGroupUuids": groups});
    for _ in 0..2 {
        let shown = world.make("RemoveAccessControlListFromLoadBalancer", off(&[&blue])).await;
        assert_eq!(groups(&shown), std::slice::from_ref(&green));
    }
    let change = json!({"listenerUuid": web, "aclUuid": shop, "serverGroupUuids": [blue]});
    assert_eq!(
        groups(&world.make("ChangeAccessControlListServerGroup", change.clone()).await),
        std::slice::from_ref(&blue)
    );
    let before = world.head();
    world.done("ChangeAccessControlListServerGroup", change).await;
    assert_eq!(world.kinds_after(before).await, Vec::<String>::new());
    assert_eq!(counts().await, (1, 1));
    let dual = json!({"aclUuid": list(&world, "space").await, "url": "/my%20shop"});
    assert_eq!(world.make("AddAccessControlListRedirectRule", dual).await["url"], "/my%20shop");
    // The rule has a name.
    let rule = text(&world.get("QueryAccessControlList", &shop).await["entries"][0], "uuid");
    let name = json!({"uuid": rule, "name": "shop"});
    assert_eq!(world.make("ChangeAccessControlListRedirectRule", name.clone()).await["name"], "shop");
    let before = world.head();
    world.done("ChangeAccessControlListRedirectRule", name).await;
    assert_eq!(world.kinds_after(before).await, Vec::<String>::new());
    // The last group takes the list along, and the groups get what all do.
    world.done("RemoveAccessControlListFromLoadBalancer", off(&[&blue])).await;
    assert_eq!(counts().await, (2, 0));
    world.done("RemoveAccessControlListEntry", json!({"aclUuid": shop, "uuid": rule})).await;
    world.done("AddAccessControlListEntry", json!({"aclUuid": shop, "entries": "192.0.2.7"})).await;
}

#[actix_rt::test]
async fn what_does_not_fit_a_list_or_a_listener_is_refused() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let (_, lb) = balanced(&world, &site).await;
    let made = async |port: u16, protocol: &str| uuid(&listener(&world, &lb, port, protocol, json!({})).await);
    let (tcp, udp, http) = (made(80, "tcp").await, made(80, "udp").await, made(81, "http").await);
    let (apart, theirs) = (group(&world, &lb, None).await, group(&world, &lb, Some(&http)).await);
    let own = text(&world.get("QueryLoadBalancerListener", &http).await, "serverGroupUuid");
    let (friends, foes) =
        (listed(&world, "friends", "192.0.2.0/24").await, listed(&world, "foes", "203.0.113.7").await);
    let (empty, shop) = (list(&world, "empty").await, ruled(&world, "shop", "shop.example").await);
    let rule = text(&world.get("QueryAccessControlList", &shop).await["entries"][0], "uuid");
    let entry = text(&world.get("QueryAccessControlList", &friends).await["entries"][0], "uuid");
    let refused = async |name: &str, parameters: Value, code: &str, field: &str, value: &str| {
        let before = world.head();
        let refusal = world.refused(name, parameters).await;
        let named = refusal.detail.contains(field) && refusal.detail.contains(value);
        assert!(refusal.code == code && named, "want {code}, `{field}` and `{value}`, got {refusal:?}");
        assert_eq!(world.kinds_after(before).await, Vec::<String>::new());
    };
    refused("CreateAccessControlList", json!({"name": "x", "ipVersion": 6}), "SYS.1104", "ipVersion", "6").await;
    let name = "AddAccessControlListEntry";
    let add = |list: &str, entries: &str| json!({"aclUuid": list, "entries": entries});
    refused(name, add(&shop, "192.0.2.7"), "SYS.1006", "aclUuid", &shop).await;
    refused(name, add(&friends, "192.0.2.7"), "SYS.1007", "entries", "192.0.2.0/24").await;
    for wrong in ["fd00::/8", "192.0.2.9-192.0.2.8", "192.0.2.0/24;x", "0.0.0.0/0", "10.0.0.1,10.0.0.1"] {
        refused(name, add(&friends, wrong), "SYS.1007", "entries", wrong).await;
    }
    let odd = |first: u8| {
        let ranges: Vec<String> = (first..first + 19).map(|n| format!("{n}.0.0.1-{n}.255.255.254")).collect();
        ranges.join(",")
    };
    let wide = listed(&world, "wide", &odd(20)).await;
    refused(name, add(&wide, &odd(60)), "SYS.1007", "entries", "no more than 1000").await;
    let more = (0..30).map(|n| format!("{n}.0.0.1-{n}.255.255.254")).collect::<Vec<_>>().join(",");
    refused(name, add(&empty, &more), "SYS.1007", "entries", "at most 1000").await;
    let long = listed(&world, "long", "10.0.0.0").await;
    for n in 1..50 {
        world.done(name, add(&long, &format!("10.0.0.{n}"))).await;
    }
    refused(name, add(&long, "10.0.0.50"), "SYS.1007", "aclUuid", &long).await;

    let name = "AddAccessControlListRedirectRule";
    let asked = |list: &str, domain: &str, url: &str| json!({"aclUuid": list, "domain": domain, "url": url});
    refused(name, asked(&shop, "a.example", ""), "SYS.1006", "aclUuid", &shop).await;
    refused(name, asked(&friends, "a.example", ""), "SYS.1006", "aclUuid", &friends).await;
    refused(name, asked(&empty, "", ""), "SYS.1007", "domain", "").await;
    let many = format!("{}example", "a.".repeat(130));
    for wrong in ["a b", "a.example }", "*", "a.*.example", "-a.example", "a.example:80", "a\n", "ä.example", &many] {
        refused(name, asked(&empty, wrong, ""), "SYS.1007", "domain", "letters").await;
    }
    let long = format!("/{}", "a".repeat(80));
    for wrong in ["shop", "/a b", "/a}", "/a\nserver", "/a\"", "/a#", "/%[src]", "/a%2", "/\\", &long] {
        refused(name, asked(&empty, "", wrong), "SYS.1007", "url", "letters").await;
    }

    let name = "AddAccessControlListToLoadBalancer";
    refused(name, on(&tcp, "white", &[&tcp]), "SYS.1003", "aclUuids", &tcp).await;
    refused(name, on(&tcp, "white", &[&shop]), "SYS.1007", "aclUuids", &shop).await;
    refused(name, on(&tcp, "white", &[&friends, &friends]), "SYS.1006", "aclUuids", &friends).await;
    world.done(name, on(&tcp, "white", &[&friends, &empty])).await;
    refused(name, on(&tcp, "white", &[&friends]), "SYS.1006", "aclUuids", &friends).await;
    refused(name, on(&tcp, "black", &[&foes]), "SYS.1007", "aclType", "black").await;
    refused(name, redirect(&tcp, &[&shop], &[&theirs]), "SYS.1007", "aclType", "redirect").await;
    refused(name, redirect(&udp, &[&shop], &[&theirs]), "SYS.1007", "aclType", "redirect").await;
    let with_groups =
        json!({"listenerUuid": http, "aclType": "white", "aclUuids": [foes], "serverGroupUuids": [theirs]});
    refused(name, with_groups, "SYS.1007", "serverGroupUuids", &theirs).await;
    refused(name, on(&http, "redirect", &[&shop]), "SYS.1007", "serverGroupUuids", "").await;
    refused(name, redirect(&http, &[&shop], &[&apart]), "SYS.1007", "serverGroupUuids", &apart).await;
    refused(name, redirect(&http, &[&shop], &[&own]), "SYS.1007", "serverGroupUuids", &own).await;
    refused(name, redirect(&http, &[&friends], &[&theirs]), "SYS.1007", "aclUuids", &friends).await;
    refused(name, redirect(&http, &[&theirs], &[&theirs]), "SYS.1003", "aclUuids", &theirs).await;
    world.done(name, redirect(&http, &[&shop], &[&theirs])).await;
    refused(name, redirect(&http, &[&shop], &[&theirs]), "SYS.1006", "aclUuids", &shop).await;
    let same = ruled(&world, "same", "SHOP.example").await;
    refused(name, redirect(&http, &[&same], &[&theirs]), "SYS.1007", "aclUuids", &shop).await;
    // What a listener goes by stays.
    refused("DeleteAccessControlList", json!({"uuid": shop}), "SYS.1006", "uuid", &http).await;
    let out = |list: &str, entry: &str| json!({"aclUuid": list, "uuid": entry});
    refused("RemoveAccessControlListEntry", out(&shop, &rule), "SYS.1006", "uuid", &http).await;
    let asked = json!({"aclUuid": empty, "url": "/"});
    refused("AddAccessControlListRedirectRule", asked, "SYS.1006", "aclUuid", &tcp).await;
    let name = "RemoveServerGroupFromLoadBalancerListener";
    let asked = json!({"listenerUuid": http, "serverGroupUuid": theirs});
    refused(name, asked, "SYS.1006", "serverGroupUuid", &shop).await;
    let name = "ChangeAccessControlListServerGroup";
    let change =
        |list: &str, groups: &[&str]| json!({"listenerUuid": http, "aclUuid": list, "serverGroupUuids": groups});
    refused(name, change(&same, &[&theirs]), "SYS.1007", "aclUuid", &same).await;
    refused(name, change(&shop, &[&apart]), "SYS.1007", "serverGroupUuids", &apart).await;
    refused(name, change(&shop, &[]), "SYS.1007", "serverGroupUuids", "").await;
    let renamed = json!({"uuid": entry, "name": "x"});
    refused("ChangeAccessControlListRedirectRule", renamed, "SYS.1007", "uuid", &entry).await;

    // So many and no more.
    let name = "AddAccessControlListToLoadBalancer";
    let nobody = Id::of_name("nobody").to_string();
    refused(name, on(&tcp, "white", &[nobody.as_str(); 9]), "SYS.1007", "aclUuids", "no more than 10").await;
    let mut rules = Vec::new();
    for n in 0..40 {
        rules.push(ruled(&world, "rule", &format!("r{n}.example")).await);
    }
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    refused(name, redirect(&http, &rules, &[&theirs]), "SYS.1007", "aclUuids", "no more than 40").await;
    world.done(name, redirect(&http, &rules[1..], &[&theirs])).await;
}

#[actix_rt::test]
async fn a_list_is_its_owners_alone() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let (bob, eve) = (Tenant::new(&world, "bob").await, Tenant::new(&world, "eve").await);
    let list = uuid(&bob.make("CreateAccessControlList", json!({"name": "friends"})).await);
    let add = json!({"aclUuid": list, "entries": "192.0.2.7"});
    let entry = uuid(&bob.make("AddAccessControlListEntry", add.clone()).await);
    assert_eq!(eve.refused("AddAccessControlListEntry", add).await.code, "SYS.1003");
    let remove = json!({"aclUuid": list, "uuid": entry});
    eve.done("RemoveAccessControlListEntry", remove).await;
    assert_eq!(world.get("QueryAccessControlList", &list).await["entries"][0]["uuid"], json!(entry));
    assert_eq!(bob.query("QueryAccessControlList", &[]).await.len(), 1);
    assert!(eve.query("QueryAccessControlList", &[]).await.is_empty());
    // Nobody else's listener goes by it.
    world.done("ShareResource", json!({"resourceUuids": [site.public], "accountUuids": [eve.uuid]})).await;
    let vip = uuid(&eve.make("CreateVip", json!({"name": "vip", "l3NetworkUuid": site.public})).await);
    let lb = uuid(&eve.make("CreateLoadBalancer", json!({"name": "lb", "vipUuid": vip})).await);
    let web = json!({"loadBalancerUuid": lb, "name": "web", "loadBalancerPort": 80});
    let web = uuid(&eve.make("CreateLoadBalancerListener", web).await);
    let refusal = eve.refused("AddAccessControlListToLoadBalancer", on(&web, "black", &[&list])).await;
    assert_eq!(refusal.code, "SYS.1003", "{refusal:?}");
}
