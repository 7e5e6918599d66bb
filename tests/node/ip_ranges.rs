//! IP ranges: their rules in order, ranges by CIDR, and what is taken from them.

use crate::harness::{Site, World, admin, text, uuid};
use serde_json::{Value, json};
use switchback_bus::Bus;

/// An L2 network with L3 networks on it.
struct Scene {
    world: World,
    l2: String,
    private: String,
    public: String,
}

impl Scene {
    async fn new() -> Scene {
        let world = World::new();
        let site = Site::bare(&world, 1).await;
        let l2 = site.l2("l2").await;
        let mut scene = Scene { world, l2, private: String::new(), public: String::new() };
        scene.private = scene.l3("private", "Private").await;
        scene.public = scene.l3("public", "Public").await;
        scene
    }

    async fn l3(&self, name: &str, category: &str) -> String {
        let l3 = json!({"name": name, "l2NetworkUuid": self.l2, "category": category});
        uuid(&self.world.make("CreateL3Network", l3).await)
    }

    async fn add(&self, l3: &str, start: &str, end: &str, gateway: &str) -> Value {
        self.world.make("AddIpRange", range(l3, start, end, "255.255.255.0", gateway)).await
    }

    /// First and last address of the ranges that a CIDR gives.
    async fn by_cidr(&self, parameters: Value) -> Vec<(String, String, String)> {
        let reply = self.world.done("AddIpRangeByNetworkCidr", parameters).await;
        let first = reply.inventory.unwrap();
        let all = reply.inventories.unwrap_or_else(|| vec![first.clone()]);
        assert_eq!(all[0], first);
        all.iter().map(|range| (text(range, "startIp"), text(range, "endIp"), text(range, "gateway"))).collect()
    }
}

fn range(l3: &str, start: &str, end: &str, netmask: &str, gateway: &str) -> Value {
    json!({"l3NetworkUuid": l3, "name": "r", "startIp": start, "endIp": end, "netmask": netmask, "gateway": gateway})
}

fn cidr(l3: &str, cidr: &str) -> Value {
    json!({"l3NetworkUuid": l3, "name": "r", "networkCidr": cidr})
}

fn part(start: &str, end: &str, gateway: &str) -> (String, String, String) {
    (start.to_string(), end.to_string(), gateway.to_string())
}

fn pool(mut parameters: Value) -> Value {
    parameters["ipRangeType"] = json!("AddressPool");
    parameters
}

/// Each request breaks its rule and, where that can be, later ones too: the first rule that is broken is named.
#[actix_rt::test]
async fn the_rules_are_checked_in_their_order() {
    let scene = Scene::new().await;
    let (world, l3, public) = (&scene.world, scene.private.as_str(), scene.public.as_str());
    let full = "255.255.255.0";
    let sibling = scene.l3("sibling", "Private").await;
    scene.add(&sibling, "10.0.9.10", "10.0.9.20", "10.0.9.1").await;
    scene.add(l3, "10.0.0.10", "10.0.0.20", "10.0.0.1").await;
    let mut no_gateway = range(l3, "224.0.0.1", "10.0.0.1", "0.0.0.0", "");
    no_gateway.as_object_mut().unwrap().remove("gateway");
    let rows = [
        (0, no_gateway, "gateway", "missing"),
        (1, pool(range(l3, "224.0.0.1", "224.0.0.9", full, "10.0.0.1")), "ipRangeType", "not a public network"),
        (2, range(l3, "224.0.0.0", "241.0.0.9", full, "10.0.0.1"), "startIp", "multicast"),
        (2, range(l3, "223.0.0.1", "224.0.0.1", "255.0.0.0", "223.0.0.2"), "startIp", "multicast"),
        (3, range(l3, "240.0.0.0", "240.0.0.9", full, "10.0.0.1"), "startIp", "class E"),
        (3, range(l3, "255.255.255.250", "255.255.255.255", full, "10.0.0.1"), "startIp", "class E"),
        (4, range(l3, "169.254.1.0", "169.254.1.9", full, "10.0.0.1"), "startIp", "link-local"),
        (4, range(l3, "169.254.0.1", "169.254.1.0", "255.255.0.0", "169.254.0.2"), "startIp", "link-local"),
        (5, range(l3, "10.0.1.0", "10.0.1.9", full, "10.0.2.1"), "gateway", "subnet"),
        (6, range(l3, "10.0.1.0", "10.0.1.255", full, "10.0.1.1"), "startIp", "network address"),
        (6, range(l3, "10.0.1.9", "10.0.1.255", full, "10.0.1.1"), "endIp", "broadcast address"),
        (7, range(l3, "10.0.1", "10.0.1.9", full, "10.0.1.1"), "startIp", "IPv4 address"),
        (7, range(l3, "10.0.1.2", "fd00::9", full, "10.0.1.1"), "endIp", "IPv4 address"),
        (7, range(l3, "10.0.1.2", "10.0.1.9", full, "gate"), "gateway", "IPv4 address"),
        (8, range(l3, "10.0.1.2", "10.0.1.9", "255.0.255.0", "10.0.1.1"), "netmask", "netmask"),
        (8, range(l3, "10.0.1.2", "10.0.1.9", "0.0.0.0", "10.0.1.1"), "netmask", "netmask"),
        (8, range(l3, "10.0.1.2", "10.0.1.9", "24", "10.0.1.1"), "netmask", "netmask"),
        (9, range(l3, "10.0.1.9", "10.0.1.2", full, "10.0.1.1"), "startIp", "behind"),
        (10, range(l3, "10.0.9.20", "10.0.9.30", full, "10.0.9.20"), "startIp", "overlap"),
        (11, range(l3, "10.0.1.2", "10.0.2.9", full, "10.0.1.2"), "netmask", "one CIDR"),
        (12, range(public, "10.0.1.2", "10.0.2.9", full, "10.0.1.2"), "endIp", "subnet"),
        (13, range(public, "10.0.1.2", "10.0.1.9", full, "10.0.1.5"), "gateway", "outside"),
        (14, range(l3, "10.0.0.30", "10.0.0.40", full, "10.0.0.2"), "gateway", "other ranges"),
    ];
    for (number, parameters, field, words) in rows {
        let refusal = world.refused("AddIpRange", parameters.clone()).await;
        let told = format!("rule {number}, {parameters}: {refusal:?}");
        assert_eq!((refusal.code.as_str(), refusal.field.as_deref()), ("SYS.1007", Some(field)), "{told}");
        assert!(refusal.detail.contains(words) && refusal.detail.contains(field), "{told}");
        let value = parameters.get(field).and_then(Value::as_str).unwrap_or_default();
        assert!(refusal.detail.contains(value), "{told}");
    }
    // Next to the reserved addresses is allowed.
    scene.add(public, "169.254.0.2", "169.254.0.9", "169.254.0.1").await;
}

#[actix_rt::test]
async fn a_pool_may_have_another_cidr_but_overlaps_nothing() {
    let scene = Scene::new().await;
    let (world, l3) = (&scene.world, &scene.public);
    scene.add(l3, "10.0.0.10", "10.0.0.20", "10.0.0.1").await;
    let normal = world.one("QueryIpRange", &["ipRangeType=Normal", &format!("l3NetworkUuid={l3}")]).await;
    let other = pool(range(l3, "10.0.1.1", "10.0.1.254", "255.255.255.0", "10.0.1.77"));
    let added = world.make("AddIpRange", other).await;
    assert_eq!(text(&added, "gateway"), "10.0.1.1", "the gateway of a pool is its first address");
    let first = pool(range(l3, "10.0.2.0", "10.0.2.9", "255.255.255.0", ""));
    assert_eq!(world.refused("AddIpRange", first).await.field.as_deref(), Some("startIp"));
    let last = pool(range(l3, "10.0.2.1", "10.0.2.255", "255.255.255.0", ""));
    assert_eq!(world.refused("AddIpRange", last).await.field.as_deref(), Some("endIp"));
    for (start, end) in [("10.0.0.15", "10.0.0.30"), ("10.0.1.200", "10.0.1.210")] {
        let overlapping = pool(range(l3, start, end, "255.255.255.0", ""));
        let refusal = world.refused("AddIpRange", overlapping).await;
        assert!(refusal.code == "SYS.1007" && refusal.detail.contains("overlap"), "{refusal}");
    }
    let whole = scene.by_cidr(pool(cidr(l3, "10.0.3.0/24"))).await;
    assert_eq!(whole, [part("10.0.3.1", "10.0.3.254", "10.0.3.1")]);
    let refusal = world.refused("DeleteIpRange", json!({"uuid": uuid(&normal)})).await;
    assert_eq!(refusal.code, "SYS.1006", "the last Normal range stays while there is a pool: {refusal}");
}

#[actix_rt::test]
async fn ranges_are_added_by_cidr() {
    let scene = Scene::new().await;
    let (world, l3) = (&scene.world, &scene.private);
    scene.add(l3, "192.168.100.10", "192.168.100.100", "192.168.100.1").await;
    let sibling = scene.l3("sibling", "Private").await;
    for overlapping in ["192.168.100.0/24", "192.168.0.0/16"] {
        let refusal = world.refused("AddIpRangeByNetworkCidr", cidr(&sibling, overlapping)).await;
        assert!(refusal.code == "SYS.1007" && refusal.detail.contains("overlap"), "{refusal}");
    }
    scene.add(&sibling, "192.168.100.101", "192.168.100.200", "192.168.100.1").await;
    let third = scene.l3("third", "Private").await;
    scene.add(&third, "192.168.101.101", "192.168.101.200", "192.168.101.1").await;
    let refusal = world.refused("AddIpRangeByNetworkCidr", cidr(l3, "192.168.102.0/24")).await;
    assert!(refusal.detail.contains("one CIDR per L3 network"), "{refusal}");

    for (number, net, gateway, wanted) in [
        (
            8,
            "192.168.211.0/24",
            Some("192.168.211.254"),
            vec![part("192.168.211.1", "192.168.211.253", "192.168.211.254")],
        ),
        (9, "192.168.212.0/24", Some("192.168.212.1"), vec![part("192.168.212.2", "192.168.212.254", "192.168.212.1")]),
        (10, "192.168.213.0/24", None, vec![part("192.168.213.2", "192.168.213.254", "192.168.213.1")]),
        (
            11,
            "192.168.214.0/24",
            Some("192.168.214.100"),
            vec![
                part("192.168.214.1", "192.168.214.99", "192.168.214.100"),
                part("192.168.214.101", "192.168.214.254", "192.168.214.100"),
            ],
        ),
        (12, "192.168.215.77/24", None, vec![part("192.168.215.2", "192.168.215.254", "192.168.215.1")]),
        (13, "192.168.216.0/29", None, vec![part("192.168.216.2", "192.168.216.6", "192.168.216.1")]),
    ] {
        let l3 = scene.l3(&format!("l3-{number}"), "Private").await;
        let mut parameters = cidr(&l3, net);
        parameters["gateway"] = json!(gateway);
        assert_eq!(scene.by_cidr(parameters).await, wanted, "{net}");
    }
    let empty = scene.l3("empty", "Private").await;
    for (net, gateway, field) in [
        ("192.168.220.0/24", "192.168.221.1", "gateway"),
        ("192.168.220.0/24", "192.168.220.0", "gateway"),
        ("192.168.220.0/24", "192.168.220.255", "gateway"),
        ("192.168.220.0/24", "gate", "gateway"),
        ("192.168.220.0/31", "192.168.220.1", "networkCidr"),
        ("192.168.220.1/32", "192.168.220.1", "networkCidr"),
        ("192.168.220.0", "192.168.220.1", "networkCidr"),
        ("192.168.220.0/33", "192.168.220.1", "networkCidr"),
        ("0.0.0.0/0", "10.0.0.1", "networkCidr"),
        ("fd00::/64", "fd00::1", "networkCidr"),
    ] {
        let mut parameters = cidr(&empty, net);
        parameters["gateway"] = json!(gateway);
        let refusal = world.refused("AddIpRangeByNetworkCidr", parameters).await;
        assert_eq!((refusal.code.as_str(), refusal.field.as_deref()), ("SYS.1007", Some(field)), "{net}: {refusal}");
        let value = if field == "gateway" { gateway } else { net };
        assert!(refusal.detail.contains(value), "{refusal}");
    }
    for net in ["224.0.0.0/4", "240.0.0.0/4", "169.254.0.0/16"] {
        let refusal = world.refused("AddIpRangeByNetworkCidr", cidr(&empty, net)).await;
        assert_eq!(refusal.code, "SYS.1007", "{refusal}");
    }
    let again = range(l3, "192.168.100.50", "192.168.100.60", "255.255.255.0", "192.168.100.1");
    assert!(world.refused("AddIpRange", again).await.detail.contains("overlap"));
    let outside = range(&empty, "192.168.222.2", "192.168.223.9", "255.255.255.0", "192.168.222.1");
    assert_eq!(world.refused("AddIpRange", outside).await.field.as_deref(), Some("endIp"));
}

#[actix_rt::test]
async fn ranges_of_one_address_hold_one_vm_each() {
    let scene = Scene::new().await;
    let (world, l3) = (&scene.world, &scene.private);
    let create = |n: u32| json!({"name": format!("vm-{n}"), "l3NetworkUuids": [l3]});
    scene.add(l3, "10.0.0.10", "10.0.0.10", "10.0.0.1").await;
    let vm = world.make("CreateVmInstance", create(0)).await;
    assert_eq!(text(&vm["vmNics"][0], "ip"), "10.0.0.10");
    let refusal = world.refused("CreateVmInstance", create(1)).await;
    assert!(refusal.code == "L3.1000" && refusal.detail.contains(l3.as_str()), "{refusal}");
    for last in 11..14 {
        let ip = format!("10.0.0.{last}");
        scene.add(l3, &ip, &ip, "10.0.0.1").await;
        world.done("CreateVmInstance", create(last)).await;
    }
    assert_eq!(world.refused("CreateVmInstance", create(99)).await.code, "L3.1000");
}

#[actix_rt::test]
async fn free_addresses_are_listed_and_an_address_says_why_it_is_not() {
    let scene = Scene::new().await;
    let (world, l3) = (&scene.world, &scene.private);
    let range = uuid(&scene.add(l3, "10.0.0.10", "10.0.0.20", "10.0.0.1").await);
    let free = |extra: Value| {
        let mut parameters = json!({"l3NetworkUuid": l3});
        parameters.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        async move {
            let found = world.read("GetFreeIp", parameters).await;
            found["inventories"].as_array().unwrap().iter().map(|one| text(one, "ip")).collect::<Vec<_>>()
        }
    };
    assert_eq!(free(json!({"start": "10.0.0.10", "limit": 11})).await.len(), 11);
    assert_eq!(free(json!({"start": "10.0.0.21"})).await.len(), 0);
    assert_eq!(free(json!({"start": "10.0.0.19"})).await, ["10.0.0.19", "10.0.0.20"]);
    assert_eq!(free(json!({"start": "10.0.0.9", "limit": 4})).await.len(), 4);
    assert_eq!(free(json!({"l3NetworkUuid": null, "ipRangeUuid": range, "limit": -1})).await.len(), 11);
    world.configure("l3Network", "ipAllocateStrategy", "FirstAvailableIpAllocatorStrategy").await;
    let vm = world.make("CreateVmInstance", json!({"name": "vm", "l3NetworkUuids": [l3]})).await;
    assert_eq!(text(&vm["vmNics"][0], "ip"), "10.0.0.10");
    assert_eq!(free(json!({})).await[0], "10.0.0.11");
    for (ip, reason) in [
        ("10.0.0.1", json!("gateway")),
        ("10.0.0.10", json!("used")),
        ("10.0.0.30", json!("not in this range")),
        ("10.0.0.11", Value::Null),
    ] {
        let answer = world.read("CheckIpAvailability", json!({"l3NetworkUuid": l3, "ip": ip})).await;
        assert_eq!((&answer["reason"], &answer["available"]), (&reason, &json!(reason.is_null())), "{ip}");
    }
    world.done("DestroyVmInstance", json!({"uuid": uuid(&vm)})).await;
    assert_eq!(free(json!({})).await[0], "10.0.0.10", "what was given back is the lowest free address again");
}

#[actix_rt::test]
async fn the_used_addresses_are_listed_with_their_holders() {
    let scene = Scene::new().await;
    let (world, l3) = (&scene.world, &scene.private);
    scene.add(l3, "10.0.0.8", "10.0.0.20", "10.0.0.1").await;
    // Not in the order of the addresses, and not in the order of their texts.
    for (name, ip) in [("c", "10.0.0.10"), ("a", "10.0.0.8"), ("d", "10.0.0.20"), ("b", "10.0.0.9")] {
        let tag = format!("staticIp::{l3}::{ip}");
        world.done("CreateVmInstance", json!({"name": name, "l3NetworkUuids": [l3], "systemTags": [tag]})).await;
    }
    let page = |extra: Value| {
        let mut parameters = json!({"l3NetworkUuid": l3});
        parameters.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        async move {
            let found = world.read("GetL3NetworkIpStatistic", parameters).await;
            let rows = found["ipStatistics"].as_array().unwrap().clone();
            let names = rows.iter().map(|row| text(row, "vmInstanceName")).collect::<Vec<_>>().join("");
            (names, found["total"].as_u64(), rows)
        }
    };
    let (names, total, rows) = page(json!({})).await;
    assert_eq!((names.as_str(), total), ("abcd", None));
    assert_eq!((&rows[0]["ip"], &rows[0]["resourceTypes"]), (&json!("10.0.0.8"), &json!(["VM"])));
    assert_eq!((&rows[0]["vmInstanceType"], &rows[0]["state"]), (&json!("UserVm"), &json!("Running")));
    for (asked, wanted) in [
        (json!({"sortDirection": "desc"}), ("dcba", 4)),
        (json!({"sortBy": "CreateTime"}), ("cadb", 4)),
        (json!({"sortBy": "CreateTime", "sortDirection": "desc", "start": 1, "limit": 2}), ("da", 4)),
        (json!({"start": 1, "limit": 2}), ("bc", 4)),
        (json!({"ip": ".0.2"}), ("d", 1)),
        (json!({"ip": "10.0.0.1", "sortBy": "CreateTime"}), ("c", 1)),
        (json!({"resourceType": "VM"}), ("abcd", 4)),
        (json!({"resourceType": "VIP"}), ("", 0)),
        (json!({"limit": 0}), ("", 4)),
    ] {
        let mut counted = asked.clone();
        counted["replyWithCount"] = json!(true);
        let (names, total, _) = page(counted).await;
        assert_eq!((names.as_str(), total.unwrap()), wanted, "{asked}");
    }
    for (parameters, field) in
        [(json!({"l3NetworkUuid": scene.l2}), "l3NetworkUuid"), (json!({"l3NetworkUuid": l3, "ip": "%"}), "ip")]
    {
        let refusal = world.node.read(&admin(), "GetL3NetworkIpStatistic", parameters).await.unwrap_err();
        assert_eq!(refusal.field.as_deref(), Some(field), "{refusal}");
    }
}
