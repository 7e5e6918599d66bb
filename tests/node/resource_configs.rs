//! Configuration: global values, and values that resources have of their own.

use crate::harness::{ALL_SERVICES, Site, World, admin, text, uuid};
use serde_json::{Value, json};
use switchback_bus::{Bus, Check, GLOBAL_CONFIGS};

fn of(resource: &str, category: &str, name: &str) -> Value {
    json!({"resourceUuid": resource, "category": category, "name": name})
}

async fn set(world: &World, resource: &str, (category, name): (&str, &str), value: &str) -> Value {
    let mut config = of(resource, category, name);
    config["value"] = json!(value);
    world.make("UpdateResourceConfig", config).await
}

/// The value that holds for a resource, and the resources that say so.
async fn holds(world: &World, resource: &str, (category, name): (&str, &str)) -> (String, Vec<String>) {
    let reply = world.read("GetResourceConfig", of(resource, category, name)).await;
    let holders = reply["effectiveConfigs"].as_array().unwrap().iter().map(|config| text(config, "resourceUuid"));
    (text(&reply, "value"), holders.collect())
}

#[actix_rt::test]
async fn what_a_host_has_not_its_cluster_may_have_and_then_its_zone() {
    let world = World::new();
    let site = Site::bare(&world, 2).await;
    let (host, entry) = (&site.hosts[0], ("host", "ping.interval"));
    assert_eq!(holds(&world, host, entry).await, ("60".to_string(), vec![]));
    for (resource, value) in [(&site.zone, "50"), (&site.cluster, "40"), (host, "30")] {
        let shown = set(&world, resource, entry, value).await;
        assert_eq!((text(&shown, "value"), text(&shown, "resourceUuid")), (value.to_string(), resource.clone()));
        assert_eq!(holds(&world, host, entry).await.0, value);
    }
    let all = vec![host.clone(), site.cluster.clone(), site.zone.clone()];
    assert_eq!(holds(&world, host, entry).await, ("30".to_string(), all));
    assert_eq!(holds(&world, &site.hosts[1], entry).await.0, "40", "the other host has the cluster's");
    assert_eq!(holds(&world, &site.zone, entry).await.0, "50");
    let head = world.head();
    set(&world, host, entry, "30").await;
    assert_eq!(world.asked_since(head).await, [""; 0], "nothing to change");
    world.done("DeleteResourceConfig", of(host, "host", "ping.interval")).await;
    world.done("DeleteResourceConfig", of(host, "host", "ping.interval")).await;
    assert_eq!(holds(&world, host, entry).await.0, "40");
    // The global value stands behind all of them.
    world.configure("host", "ping.interval", "20").await;
    for resource in [&site.cluster, &site.zone] {
        world.done("DeleteResourceConfig", of(resource, "host", "ping.interval")).await;
    }
    assert_eq!(holds(&world, host, entry).await, ("20".to_string(), vec![]));
}

#[actix_rt::test]
async fn a_resources_configuration_goes_with_it() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    site.vm("vm", &l3).await;
    let router = uuid(&world.router_of(&l3).await);
    set(&world, &router, ("virtualRouter", "ping.interval"), "7").await;
    set(&world, &l3, ("l3Network", "ipAllocateStrategy"), "FirstAvailableIpAllocatorStrategy").await;
    for resource in [&site.zone, &site.cluster, &site.hosts[0]] {
        set(&world, resource, ("host", "ping.interval"), "7").await;
    }
    assert_eq!(world.query("QueryResourceConfig", &["value=7"]).await.len(), 4);
    world.done("DestroyVmInstance", json!({"uuid": router})).await;
    assert_eq!(world.query("QueryResourceConfig", &["value=7"]).await.len(), 3);
    world.send("DeleteZone", json!({"uuid": site.zone, "deleteMode": "Enforcing"})).await.unwrap();
    assert!(world.query("QueryResourceConfig", &[]).await.is_empty());
}

#[actix_rt::test]
async fn a_network_allocates_by_its_own_strategy_and_the_cursor_goes_with_each_change() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let (a, b) = (site.network("a", "10.83.0.0/24").await, site.network("b", "10.84.0.0/24").await);
    let entry = ("l3Network", "ipAllocateStrategy");
    let (first, delayed) = ("FirstAvailableIpAllocatorStrategy", "AscDelayRecycleIpAllocatorStrategy");
    let take = |l3: String| {
        let site = site.clone();
        async move {
            let vm = site.vm("vm", &l3).await;
            let ip = text(&vm["vmNics"][0], "ip");
            site.world.done("DestroyVmInstance", json!({"uuid": uuid(&vm)})).await;
            ip
        }
    };
    world.configure(entry.0, entry.1, first).await;
    set(&world, &a, entry, delayed).await;
    for last in 2..5 {
        assert_eq!(take(a.clone()).await, format!("10.83.0.{last}"), "freed addresses rest");
        assert_eq!(take(b.clone()).await, "10.84.0.2", "the other network keeps the global choice");
    }
    // Another choice and back: the cursor of before is forgotten.
    set(&world, &a, entry, first).await;
    assert_eq!(take(a.clone()).await, "10.83.0.2");
    set(&world, &a, entry, delayed).await;
    assert_eq!(take(a.clone()).await, "10.83.0.2");
    assert_eq!(take(a.clone()).await, "10.83.0.3");
    // So it is where its own choice is taken away and the global one is the same.
    world.configure(entry.0, entry.1, delayed).await;
    assert_eq!(take(a.clone()).await, "10.83.0.4", "the global choice does not touch the network's own");
    world.done("DeleteResourceConfig", of(&a, entry.0, entry.1)).await;
    assert_eq!(take(a.clone()).await, "10.83.0.2");
    assert_eq!(take(a.clone()).await, "10.83.0.3");
}

#[actix_rt::test]
async fn every_entry_says_what_it_may_be_and_holds_to_it() {
    let world = World::new();
    let rows = world.query("QueryGlobalConfig", &[]).await;
    assert_eq!(rows.len(), GLOBAL_CONFIGS.len());
    for entry in GLOBAL_CONFIGS {
        entry.check.accept("value", &entry.check.read(entry.default)).unwrap();
        let asked = json!({"category": entry.category, "name": entry.name});
        let options = world.read("GetGlobalConfigOptions", asked).await["options"].clone();
        let row = world
            .one("QueryGlobalConfig", &[&format!("category={}", entry.category), &format!("name={}", entry.name)])
            .await;
        assert_eq!((&row["value"], &row["defaultValue"]), (&json!(entry.default), &json!(entry.default)));
        let (good, bad) = match entry.check {
            Check::Int(min, max) => {
                let bounds = json!({"numberGreaterThan": min - 1, "numberLessThan": max + 1});
                assert_eq!(options, bounds, "{entry:?}");
                ([min, max].map(|n| n.to_string()).to_vec(), [min - 1, max + 1].map(|n| n.to_string()).to_vec())
            }
            _ => {
                let words = options["validValue"].as_array().unwrap().iter();
                (words.map(|word| word.as_str().unwrap().to_string()).collect(), vec!["no such word".to_string()])
            }
        };
        for value in good {
            world.configure(entry.category, entry.name, &value).await;
        }
        for value in bad {
            let config = json!({"category": entry.category, "name": entry.name, "value": value});
            let refusal = world.refused("UpdateGlobalConfig", config).await;
            assert!(refusal.code == "SYS.1007" && refusal.detail.contains(&value), "{refusal}");
        }
    }
    world.done("ResetGlobalConfig", json!({})).await;
    let mut after = world.query("QueryGlobalConfig", &[]).await;
    after.retain(|row| row["value"] != row["defaultValue"]);
    assert_eq!(after, Vec::<Value>::new());
    let head = world.head();
    world.done("ResetGlobalConfig", json!({})).await;
    assert_eq!(world.asked_since(head).await, [""; 0]);
}

#[actix_rt::test]
async fn what_may_be_bound_is_listed_and_read_for_several_names_at_once() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let all = world.read("GetResourceBindableConfig", json!({})).await["bindableConfigs"].clone();
    let bindable = GLOBAL_CONFIGS.iter().filter(|entry| !entry.bindable.is_empty()).count();
    assert_eq!(all.as_array().unwrap().len(), bindable);
    let hosts = world.read("GetResourceBindableConfig", json!({"category": "host"})).await["bindableConfigs"].clone();
    assert!(
        hosts
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["bindResourceTypes"] == json!(["HostVO", "ClusterVO", "ZoneVO"]))
    );
    set(&world, &site.hosts[0], ("host", "ping.maxFailure"), "9").await;
    let names = json!(["ping.interval", "ping.maxFailure"]);
    let several = json!({"resourceUuid": site.hosts[0], "category": "host", "names": names});
    let configs = world.read("GetResourceConfigs", several).await["configs"].clone();
    let values: Vec<String> = configs.as_array().unwrap().iter().map(|one| text(one, "value")).collect();
    assert_eq!(values, ["60", "9"]);
    let nobody = switchback_events::Id::of_name("nobody").to_string();
    for (read, asked, code, shown) in [
        ("GetResourceConfig", of(&site.image, "host", "ping.interval"), "SYS.1007", &site.image),
        ("GetResourceConfig", of(&nobody, "host", "ping.interval"), "SYS.1003", &nobody),
        ("GetResourceConfig", of(&site.zone, "host", "ping.often"), "SYS.1007", &"host.ping.often".to_string()),
        ("GetResourceConfig", of(&site.zone, "applianceVm", "auto.rollback"), "SYS.1007", &"auto.rollback".to_string()),
        ("GetGlobalConfigOptions", json!({"category": "a", "name": "b"}), "SYS.1007", &"a.b".to_string()),
    ] {
        let refusal = world.node.read(&admin(), read, asked).await.unwrap_err();
        assert!(refusal.code == code && refusal.detail.contains(shown), "{refusal}");
    }
}
