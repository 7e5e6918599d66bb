//! Section B where it is about IPv6: ranges, dual stack, how hosts come to their addresses.

use crate::harness::{ALL_SERVICES, Site, World, text, uuid};
use crate::scene::{Scene, range};
use serde_json::{Value, json};
use std::{collections::BTreeSet, net::Ipv6Addr};
use switchback_events::{Mac, eui64};

const STATEFUL: &str = "Stateful-DHCP";

fn range6(l3: &str, start: &str, end: &str, mode: &str) -> Value {
    json!({
        "l3NetworkUuid": l3, "name": "r6", "startIp": start, "endIp": end, "gateway": "fd00:1::1", "prefixLen": 64,
        "addressMode": mode,
    })
}

fn cidr6(l3: &str, net: &str, mode: &str) -> Value {
    json!({"l3NetworkUuid": l3, "name": "r6", "networkCidr": net, "addressMode": mode})
}

fn with(mut parameters: Value, field: &str, value: Value) -> Value {
    parameters[field] = value;
    parameters
}

/// The addresses of a VM's nics, by family, as the records of addresses in use have them.
async fn addresses(world: &World, vm: &Value) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    for nic in vm["vmNics"].as_array().unwrap() {
        for used in world.query("QueryIpAddress", &[&format!("vmNicUuid={}", uuid(nic))]).await {
            found.push((used["ipVersion"].as_i64().unwrap(), text(&used, "ip")));
        }
    }
    found.sort();
    found
}

async fn make_vm(world: &World, l3s: &[&str]) -> Value {
    world.make("CreateVmInstance", json!({"name": "vm", "l3NetworkUuids": l3s})).await
}

#[actix_rt::test]
async fn b16_a_dual_stack_network_counts_both_families() {
    let scene = Scene::new().await;
    let (l3, _) = scene.l3_with("10.0.0.10", "10.0.0.20").await;
    let version = || async { scene.world.get("QueryL3Network", &l3).await["ipVersion"].clone() };
    assert_eq!(version().await, 4);
    let six = scene.world.make("AddIpv6Range", range6(&l3, "fd00:1::10", "fd00:1::20", STATEFUL)).await;
    for (field, value) in [
        ("ipVersion", json!(6)),
        ("prefixLen", json!(64)),
        ("addressMode", json!(STATEFUL)),
        ("networkCidr", json!("fd00:1::/64")),
        ("netmask", json!("ffff:ffff:ffff:ffff::")),
        ("startIp", json!("fd00:1::10")),
        ("gateway", json!("fd00:1::1")),
    ] {
        assert_eq!(six[field], value, "{field} of {six}");
    }
    assert_eq!(version().await, 46);
    let six = uuid(&six);
    assert_eq!(scene.free(json!({"ipRangeUuid": six})).await.len(), 17);
    let both = scene.free(json!({"l3NetworkUuid": l3})).await;
    assert_eq!((both.len(), both[0].as_str(), both[11].as_str()), (28, "10.0.0.10", "fd00:1::10"));
    for (version, number) in [(4, 11), (6, 17)] {
        assert_eq!(scene.free(json!({"l3NetworkUuid": l3, "ipVersion": version})).await.len(), number);
    }
    let rest = scene.free(json!({"l3NetworkUuid": l3, "ipVersion": 6, "start": "fd00:1::1f"})).await;
    assert_eq!(rest, ["fd00:1::1f", "fd00:1::20"]);
    // A start is of one family, and so must be what is asked for.
    for (start, version) in [("fd00:1::10", None), ("10.0.0.10", None), ("10.0.0.10", Some(6)), ("fd00:1::10", Some(4))]
    {
        let refusal =
            scene.refused_read("GetFreeIp", json!({"l3NetworkUuid": l3, "start": start, "ipVersion": version})).await;
        assert!(refusal.code == "SYS.1007" && refusal.detail.contains(start), "{refusal}");
    }
    let refusal = scene.refused_read("GetFreeIp", json!({"ipRangeUuid": six, "start": "10.0.0.10"})).await;
    assert!(refusal.detail.contains("10.0.0.10"), "{refusal}");

    // A VM has one of each, and capacity tells them apart.
    let vm = make_vm(&scene.world, &[&l3]).await;
    let held = addresses(&scene.world, &vm).await;
    assert_eq!(held.iter().map(|(version, _)| *version).collect::<Vec<_>>(), [4, 6]);
    let capacity = scene.world.read("GetIpAddressCapacity", json!({"l3NetworkUuids": [l3]})).await;
    for (word, v4, v6) in [("TotalCapacity", 11, 17), ("AvailableCapacity", 10, 16), ("UsedIpAddressNumber", 1, 1)] {
        assert_eq!(capacity[format!("ipv4{word}")], v4, "{word}");
        assert_eq!(capacity[format!("ipv6{word}")], v6, "{word}");
        let sum = format!("{}{}", word[..1].to_ascii_lowercase(), &word[1..]);
        assert_eq!(capacity[sum], v4 + v6, "{word}");
    }
    let six = &held[1].1;
    for (ip, reason) in [
        (six.as_str(), json!("used")),
        ("fd00:1::1", json!("gateway")),
        ("fd00:1::21", json!("not in this range")),
        ("10.0.0.21", json!("not in this range")),
    ] {
        let found = scene.world.read("CheckIpAvailability", json!({"l3NetworkUuid": l3, "ip": ip})).await;
        assert_eq!((&found["reason"], &found["available"]), (&reason, &json!(false)), "{ip}");
    }
    let found = scene.world.read("GetL3NetworkIpStatistic", json!({"l3NetworkUuid": l3})).await;
    let listed: Vec<String> = found["ipStatistics"].as_array().unwrap().iter().map(|one| text(one, "ip")).collect();
    assert_eq!(listed, held.iter().map(|(_, ip)| ip.clone()).collect::<Vec<_>>());
    let part = scene.world.read("GetL3NetworkIpStatistic", json!({"l3NetworkUuid": l3, "ip": "FD00:1:"})).await;
    assert_eq!(
        (part["ipStatistics"].as_array().unwrap().len(), text(&part["ipStatistics"][0], "ip")),
        (1, six.clone())
    );
    let holders = scene.world.read("GetAddressHolder", json!({"ip": six})).await;
    assert_eq!(holders["holders"][0]["ownerUuid"], vm["uuid"]);
}

#[actix_rt::test]
async fn b19_ipv6_ranges_of_two_networks_on_one_l2_network_do_not_overlap() {
    let scene = Scene::new().await;
    let (first, second) = (scene.l3("Private").await, scene.l3("Private").await);
    scene.world.done("AddIpv6Range", range6(&first, "fd00:1::10", "fd00:1::20", STATEFUL)).await;
    let overlapping = range6(&second, "fd00:1::20", "fd00:1::30", STATEFUL);
    scene.bad("AddIpv6Range", overlapping, "no overlap with range").await;
    scene.bad("AddIpv6RangeByNetworkCidr", cidr6(&second, "fd00:1::/64", STATEFUL), "no overlap with range").await;
    // Beside it there is room, and a range of IPv4 is never in the way.
    scene.world.done("AddIpv6Range", range6(&second, "fd00:1::21", "fd00:1::30", STATEFUL)).await;
    scene.world.done("AddIpRange", range(&second, "10.0.0.10", "10.0.0.20")).await;
}

#[actix_rt::test]
async fn b20_an_ipv6_range_has_a_sane_prefix_order_gateway_and_mode() {
    let scene = Scene::new().await;
    let l3 = scene.l3("Private").await;
    let good = range6(&l3, "fd00:1::10", "fd00:1::20", STATEFUL);
    for (field, value, words) in [
        ("prefixLen", json!(127), "127"),
        ("prefixLen", json!(7), "7"),
        ("endIp", json!("fd00:1::f"), "not behind endIp"),
        ("gateway", json!("fd00:1::10"), "outside of the range"),
        ("gateway", json!("fd00:1::20"), "outside of the range"),
        ("gateway", json!("fd00:1::15"), "outside of the range"),
        ("gateway", json!("fd00:2::1"), "an address of the range's subnet fd00:1::/64"),
        ("endIp", json!("fd00:1:0:1::20"), "an address of the range's subnet fd00:1::/64"),
        ("startIp", json!("fd00:1::"), "not the first address of fd00:1::/64"),
        ("startIp", json!("10.0.0.10"), "a unicast IPv6 address"),
        ("startIp", json!("ff02::1"), "a unicast IPv6 address"),
        ("startIp", json!("fe80::1"), "a unicast IPv6 address"),
        ("startIp", json!("::ffff:10.0.0.1"), "a unicast IPv6 address"),
        ("endIp", json!("::1"), "a unicast IPv6 address"),
        ("gateway", json!("::"), "a unicast IPv6 address"),
        ("addressMode", json!("DHCP"), "Stateful-DHCP"),
        ("ipRangeType", json!("AddressPool"), "an AddressPool range has IPv4 addresses"),
    ] {
        scene.bad("AddIpv6Range", with(good.clone(), field, value), words).await;
    }
    // Hosts that make their own addresses need 64 bits for that.
    for mode in ["SLAAC", "Stateless-DHCP"] {
        for prefix in [63, 80] {
            let parameters = with(with(good.clone(), "prefixLen", json!(prefix)), "addressMode", json!(mode));
            scene.bad("AddIpv6Range", parameters, &format!("64, with which addressMode {mode} works")).await;
        }
        scene.bad("AddIpv6RangeByNetworkCidr", cidr6(&l3, "fd00:1::/80", mode), "64, with which").await;
    }
    for net in ["fd00::/7", "fd00::/127", "fe80::/64", "ff00::/64", "10.0.0.0/24", "fd00:1::", "x"] {
        scene.bad("AddIpv6RangeByNetworkCidr", cidr6(&l3, net, STATEFUL), "a unicast subnet").await;
    }
    let system = json!({"name": "s", "l2NetworkUuid": scene.l2, "category": "System", "system": true});
    let system = uuid(&scene.world.make("CreateL3Network", system).await);
    scene.bad("AddIpv6Range", with(good.clone(), "l3NetworkUuid", json!(system)), "not a system network").await;

    // A link that carries IPv6 passes 1280 bytes whole, whichever comes first.
    let mtu = |l3: &str, mtu: u16| json!({"l3NetworkUuid": l3, "mtu": mtu});
    let narrow = scene.l3("Private").await;
    scene.world.done("SetL3NetworkMtu", mtu(&narrow, 1279)).await;
    scene.bad("AddIpv6Range", with(good.clone(), "l3NetworkUuid", json!(narrow)), "an MTU of 1280 at least").await;
    scene.world.done("SetL3NetworkMtu", mtu(&narrow, 1280)).await;
    scene.world.done("AddIpv6RangeByNetworkCidr", cidr6(&narrow, "fd00:4::/64", STATEFUL)).await;
    scene.bad("SetL3NetworkMtu", mtu(&narrow, 1279), "at least 1280").await;

    // All ranges of a network agree on subnet, gateway and mode.
    scene.world.done("AddIpv6Range", good.clone()).await;
    let second = range6(&l3, "fd00:1::30", "fd00:1::40", STATEFUL);
    scene
        .bad("AddIpv6Range", with(second.clone(), "addressMode", json!("SLAAC")), "Stateful-DHCP, as the network")
        .await;
    scene.bad("AddIpv6Range", with(second.clone(), "prefixLen", json!(80)), "one CIDR per L3 network").await;
    scene
        .bad("AddIpv6Range", with(second.clone(), "gateway", json!("fd00:1::2")), "the gateway of the network's")
        .await;
    scene.world.done("AddIpv6Range", second).await;

    // No DHCP server serves a prefix shorter than 64, whichever comes first.
    let dhcp = |l3: &str| json!({"l3NetworkUuid": l3, "networkServices": {"VirtualRouter": ["DHCP"]}});
    let wide = scene.l3("Private").await;
    scene.world.done("AddIpv6RangeByNetworkCidr", cidr6(&wide, "fd00:2::/60", STATEFUL)).await;
    scene.bad("AttachNetworkServiceToL3Network", dhcp(&wide), "shorter than 64").await;
    let served = scene.l3("Private").await;
    scene.world.done("AttachNetworkServiceToL3Network", dhcp(&served)).await;
    scene.bad("AddIpv6RangeByNetworkCidr", cidr6(&served, "fd00:3::/60", STATEFUL), "64 to 126").await;
    scene.world.done("AddIpv6RangeByNetworkCidr", cidr6(&served, "fd00:3::/112", STATEFUL)).await;
}

#[actix_rt::test]
async fn b22_an_ipv6_cidr_that_overlaps_a_range_is_refused() {
    let scene = Scene::new().await;
    let (l3, other) = (scene.l3("Private").await, scene.l3("Private").await);
    let made = scene.world.make("AddIpv6RangeByNetworkCidr", cidr6(&l3, "fd00:1::5/64", STATEFUL)).await;
    let shown = ["gateway", "startIp", "endIp", "networkCidr"].map(|field| text(&made, field));
    assert_eq!(shown, ["fd00:1::1", "fd00:1::2", "fd00:1::ffff:ffff:ffff:ffff", "fd00:1::/64"]);
    for net in ["fd00:1::/65", "fd00:1::/63"] {
        for l3 in [&l3, &other] {
            scene.bad("AddIpv6RangeByNetworkCidr", cidr6(l3, net, STATEFUL), "no overlap with range").await;
        }
    }
    let capacity = scene.world.read("GetIpAddressCapacity", json!({"ipRangeUuids": [uuid(&made)]})).await;
    assert_eq!(capacity["ipv6TotalCapacity"], i64::MAX, "more than clients can count");
    assert_eq!(scene.free(json!({"ipRangeUuid": uuid(&made), "limit": 3})).await[2], "fd00:1::4");
}

#[actix_rt::test]
async fn b23_without_stateful_dhcp_a_nics_address_is_made_from_its_mac() {
    let scene = Scene::new().await;
    for (at, mode) in ["SLAAC", "Stateless-DHCP"].into_iter().enumerate() {
        let l3 = scene.l3("Private").await;
        let net = format!("fd00:{}::/64", at + 1);
        let made = scene.world.make("AddIpv6RangeByNetworkCidr", cidr6(&l3, &net, mode)).await;
        let vm = make_vm(&scene.world, &[&l3]).await;
        let mac: Mac = text(&vm["vmNics"][0], "mac").parse().unwrap();
        let own = eui64(format!("fd00:{}::", at + 1).parse::<Ipv6Addr>().unwrap(), mac).to_string();
        assert_eq!(addresses(&scene.world, &vm).await, [(6, own.clone())]);
        assert_eq!(text(&vm["vmNics"][0], "ip"), own);
        let used = scene.world.one("QueryIpAddress", &[&format!("ip={own}")]).await;
        assert_eq!(used["ipRangeUuid"], made["uuid"]);
        // Another address cannot be asked for; the own one can.
        let other = format!("staticIp::{l3}::fd00:{}--5", at + 1);
        let create = |tags: Value| json!({"name": "vm", "l3NetworkUuids": [l3], "systemTags": tags});
        scene.bad("CreateVmInstance", create(json!([other])), "which the nic makes from its MAC").await;
        let mac: Mac = format!("fa:00:00:00:0{at}:00").parse().unwrap();
        let own = eui64(format!("fd00:{}::", at + 1).parse::<Ipv6Addr>().unwrap(), mac).to_string();
        let tags = json!([format!("customMac::{l3}::{mac}"), format!("staticIp::{l3}::{}", own.replace("::", "--"))]);
        let vm = scene.world.make("CreateVmInstance", create(tags)).await;
        assert_eq!(text(&vm["vmNics"][0], "ip"), own);
    }
}

/// A site whose `guest` network has services and is of both families.
async fn dual(services: &[&str], mode: &str) -> (World, Site, String) {
    let world = World::new();
    let site = Site::new(&world).await;
    let guest = site.guest("guest", services).await;
    world.done("AddIpv6Range", range6(&guest, "fd00:1::10", "fd00:1::1f", mode)).await;
    (world, site, guest)
}

#[actix_rt::test]
async fn b25_the_dhcp_server_holds_one_address_of_a_stateful_range() {
    let (world, _site, guest) = dual(&["DHCP", "DNS"], STATEFUL).await;
    let mut held = BTreeSet::new();
    for _ in 0..15 {
        let vm = make_vm(&world, &[&guest]).await;
        let of_vm = addresses(&world, &vm).await;
        assert!(of_vm.len() == 2 && held.insert(of_vm[1].1.clone()), "{of_vm:?}");
    }
    let refusal = world.fails("CreateVmInstance", json!({"name": "vm", "l3NetworkUuids": [guest]})).await;
    assert!(refusal.code == "L3.1000" && refusal.detail.contains("IPv6"), "{refusal}");
    // The sixteenth is the router's, which answers the clients there.
    let router = world.router_of(&guest).await;
    let of_router = addresses(&world, &router).await;
    let six: Vec<&String> = of_router.iter().filter(|(version, _)| *version == 6).map(|(_, ip)| ip).collect();
    assert!(six.len() == 1 && held.insert(six[0].clone()), "{of_router:?}");
    assert_eq!(
        world.read("GetFreeIp", json!({"l3NetworkUuid": guest, "ipVersion": 6})).await["inventories"],
        json!([])
    );
}

#[actix_rt::test]
async fn b25_the_lowest_address_of_a_stateful_range_and_a_static_one_can_be_had() {
    let (world, _site, guest) = dual(ALL_SERVICES, STATEFUL).await;
    world.configure("l3Network", "ipv6AllocateStrategy", "FirstAvailableIpv6AllocatorStrategy").await;
    let vm = |tags: Value| json!({"name": "vm", "l3NetworkUuids": [guest], "systemTags": tags});
    // The router is the gateway of both families, and takes no address of a range.
    let made = world.make("CreateVmInstance", vm(json!([format!("staticIp::{guest}::fd00:1--1f")]))).await;
    assert_eq!(addresses(&world, &made).await[1].1, "fd00:1::1f");
    let made = world.make("CreateVmInstance", vm(json!([]))).await;
    assert_eq!(addresses(&world, &made).await[1].1, "fd00:1::10");
    for (ip, words) in [("fd00:1--1f", "not available"), ("fd00:1--20", "cannot find an IP range")] {
        let refusal = world.refused("CreateVmInstance", vm(json!([format!("staticIp::{guest}::{ip}")]))).await;
        assert!(refusal.code == "L3.1000" && refusal.detail.contains(words), "{refusal}");
    }
    let refusal = world.refused("CreateVmInstance", vm(json!([format!("staticIp::{guest}::fd00:1--x")]))).await;
    assert!(refusal.code == "SYS.1007" && refusal.detail.contains("fd00:1--x"), "{refusal}");
}

#[actix_rt::test]
async fn b26_with_a_range_its_nics_go() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let (four, six) = (scene.l3("Private").await, scene.l3("Private").await);
    let range4 = uuid(&world.make("AddIpRange", range(&four, "10.0.0.10", "10.0.0.20")).await);
    let range6 = uuid(&world.make("AddIpv6Range", range6(&six, "fd00:1::10", "fd00:1::20", STATEFUL)).await);
    let keeps = scene.l3("Private").await;
    world.done("AddIpRange", range(&keeps, "10.0.1.10", "10.0.1.20")).await;
    let vm = uuid(&make_vm(world, &[&four, &six, &keeps]).await);
    let networks = || async {
        let vm = world.get("QueryVmInstance", &vm).await;
        vm["vmNics"].as_array().unwrap().iter().map(|nic| text(nic, "l3NetworkUuid")).collect::<BTreeSet<_>>()
    };
    let delete = |range: &str| json!({"uuid": range, "deleteMode": "Enforcing"});
    world.done("DeleteIpRange", delete(&range4)).await;
    assert_eq!(networks().await, [six.clone(), keeps.clone()].into());
    assert_eq!(world.get("QueryL3Network", &four).await["ipVersion"], 0);
    world.done("DeleteIpRange", delete(&range6)).await;
    assert_eq!(networks().await, [keeps].into());
}

#[actix_rt::test]
async fn b26_a_nic_of_both_families_keeps_the_other_one() {
    for gone in [4, 6] {
        let (world, _site, guest) = dual(ALL_SERVICES, STATEFUL).await;
        let vm = make_vm(&world, &[&guest]).await;
        let before = addresses(&world, &vm).await;
        let router = uuid(&world.router_of(&guest).await);
        let of_guest = format!("l3NetworkUuid={guest}");
        let range = uuid(&world.one("QueryIpRange", &[&of_guest, &format!("ipVersion={gone}")]).await);
        world.refused("DeleteIpRange", json!({"uuid": range})).await;
        world.done("DeleteIpRange", json!({"uuid": range, "deleteMode": "Enforcing"})).await;
        let left: Vec<_> = before.iter().filter(|(version, _)| *version != gone).cloned().collect();
        let vm = world.get("QueryVmInstance", &uuid(&vm)).await;
        assert_eq!(addresses(&world, &vm).await, left, "without IPv{gone}");
        assert_eq!(text(&vm["vmNics"][0], "ip"), left[0].1);
        assert_eq!(world.get("QueryL3Network", &guest).await["ipVersion"], 10 - gone);
        // So does its router, and with the other family the nics go.
        assert_eq!(uuid(&world.router_of(&guest).await), router);
        let range = uuid(&world.one("QueryIpRange", &[&of_guest]).await);
        world.done("DeleteIpRange", json!({"uuid": range, "deleteMode": "Enforcing"})).await;
        assert_eq!(world.get("QueryVmInstance", &uuid(&vm)).await["vmNics"], json!([]));
    }
}

#[actix_rt::test]
async fn b16_ipv6_addresses_are_reserved_and_given_up_like_the_others() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let l3 = scene.l3("Private").await;
    let reserve = |start: &str, end: &str| json!({"l3NetworkUuid": l3, "startIp": start, "endIp": end});
    world.done("AddIpRange", range(&l3, "10.0.0.10", "10.0.0.20")).await;
    let refusal = world.refused("AddReservedIpRange", reserve("fd00:1::10", "fd00:1::12")).await;
    assert!(refusal.detail.contains("no Normal IPv6 range"), "{refusal}");
    world.done("AddIpv6Range", range6(&l3, "fd00:1::10", "fd00:1::20", STATEFUL)).await;
    scene.bad("AddReservedIpRange", reserve("10.0.0.10", "fd00:1::12"), "an IPv4 address, as startIp").await;
    scene.bad("AddReservedIpRange", reserve("fd00:2::10", "fd00:2::12"), "the network's CIDR fd00:1::/64").await;
    scene.bad("AddReservedIpRange", reserve("fd00:1::", "fd00:1::ffff:ffff"), "at most 65536 addresses").await;
    let made = world.make("AddReservedIpRange", reserve("fd00:1::e", "fd00:1::12")).await;
    assert_eq!(made["ipVersion"], 6);
    let free = || async { scene.free(json!({"l3NetworkUuid": l3, "ipVersion": 6})).await };
    assert_eq!((free().await.len(), free().await[0].as_str()), (14, "fd00:1::13"));
    let held = world.query("QueryIpAddress", &[&format!("l3NetworkUuid={l3}"), "usedFor=Reserved"]).await;
    assert_eq!(held.len(), 3);
    let one = held.iter().find(|used| used["ip"] == "fd00:1::11").unwrap();
    world.done("DeleteIpAddress", json!({"l3NetworkUuid": l3, "usedIpUuids": [uuid(one)]})).await;
    assert_eq!(free().await[0], "fd00:1::11");
    world.done("DeleteReservedIpRange", json!({"uuid": uuid(&made)})).await;
    assert_eq!(free().await.len(), 17);
}
