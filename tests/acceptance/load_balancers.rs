//! Section J: load balancers by virtual routers.

use crate::harness::{ALL_SERVICES, Site, World, id, uuid};
use serde_json::{Value, json};
use switchback_bus::{Bus, Caller, CommandRequest};
use switchback_events::Origin;

/// A network whose routers balance load.
async fn guest(site: &Site, name: &str) -> String {
    let services: Vec<&str> = ALL_SERVICES.iter().copied().chain(["LoadBalancer"]).collect();
    site.guest(name, &services).await
}

async fn balancer(world: &World, site: &Site) -> (String, String) {
    let vip = uuid(&world.make("CreateVip", json!({"name": "vip", "l3NetworkUuid": site.public})).await);
    let made = world.make("CreateLoadBalancer", json!({"name": "lb", "vipUuid": vip})).await;
    assert_eq!((&made["vipUuid"], &made["state"], &made["type"]), (&json!(vip), &json!("Enabled"), &json!("Shared")));
    (vip, uuid(&made))
}

fn listener(balancer: &str, port: u16, protocol: &str) -> Value {
    json!({"loadBalancerUuid": balancer, "name": "web", "loadBalancerPort": port, "protocol": protocol})
}

fn nics(listener: &str, nics: &[&str]) -> Value {
    json!({"listenerUuid": listener, "vmNicUuids": nics})
}

/// The section that the router's configuration has.
async fn section(world: &World, l3: &str) -> Value {
    let router = uuid(&world.router_of(l3).await);
    world.sections(&router).await["loadBalancer"].clone()
}

#[actix_rt::test]
async fn j1_of_many_listeners_on_one_port_one_is_made() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let (_, lb) = balancer(&world, &site).await;
    let asked = (0..11).map(|_| ("CreateLoadBalancerListener", listener(&lb, 80, "tcp"))).collect();
    let answers = world.at_once(asked).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert_eq!(world.query("QueryLoadBalancerListener", &[]).await.len(), 1);
}

#[actix_rt::test]
async fn j2_the_number_of_load_balancers_of_an_account_is_limited() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let bob = uuid(&world.make("CreateAccount", json!({"name": "bob", "password": "0".repeat(128)})).await);
    world.done("ShareResource", json!({"resourceUuids": [site.public], "accountUuids": [bob]})).await;
    world.done("UpdateQuota", json!({"identityUuid": bob, "name": "loadBalancer.num", "value": 5})).await;
    let send = async |name: &str, parameters: Value| {
        let caller = Caller::new("bob", id(&bob).into(), false);
        world.node.command(CommandRequest::new(name, parameters, caller, Origin::Api)).await
    };
    let vip = send("CreateVip", json!({"name": "vip", "l3NetworkUuid": site.public})).await.unwrap();
    let balancer = json!({"name": "lb", "vipUuid": uuid(&vip.inventory.unwrap())});
    for _ in 0..5 {
        send("CreateLoadBalancer", balancer.clone()).await.unwrap();
    }
    let refusal = send("CreateLoadBalancer", balancer).await.unwrap_err();
    assert!(refusal.detail.contains("loadBalancer.num"), "{refusal}");
}

#[actix_rt::test]
async fn j5_limits_of_a_listener_are_checked() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let (_, lb) = balancer(&world, &site).await;
    let made = uuid(&world.make("CreateLoadBalancerListener", listener(&lb, 80, "tcp")).await);
    for (field, bad, good) in [("maxConnection", 10_000_001, 10_000_000), ("nbprocess", 65, 64), ("nbprocess", 0, 1)] {
        let change = |value: i64| json!({"uuid": made, field: value});
        assert_eq!(world.refused("ChangeLoadBalancerListener", change(bad)).await.code, "SYS.1007");
        assert_eq!(world.make("ChangeLoadBalancerListener", change(good)).await[field], good);
    }
    // The same as tags of a new one.
    let tagged = |port: u16, tag: &str| {
        let mut asked = listener(&lb, port, "tcp");
        asked["systemTags"] = json!([tag]);
        asked
    };
    for bad in ["maxConnection::10000001", "maxConnection::many", "Nbprocess::65", "Nbprocess::-1"] {
        assert_eq!(world.refused("CreateLoadBalancerListener", tagged(81, bad)).await.code, "SYS.1007", "{bad}");
    }
    let made = world.make("CreateLoadBalancerListener", tagged(82, "maxConnection::10000000")).await;
    assert_eq!(made["maxConnection"], 10_000_000);
    let made = world.make("CreateLoadBalancerListener", tagged(83, "Nbprocess::64")).await;
    assert_eq!(made["nbprocess"], 64);
}

#[actix_rt::test]
async fn j4_a_new_router_gets_the_load_balancers_of_the_old_one() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = guest(&site, "guest").await;
    let (one, two) = (site.vm("one", &l3).await, site.vm("two", &l3).await);
    let (first, second) = (uuid(&one["vmNics"][0]), uuid(&two["vmNics"][0]));
    let (_, lb) = balancer(&world, &site).await;
    let mut listeners = Vec::new();
    for (port, protocol) in [(80, "tcp"), (81, "http"), (53, "udp")] {
        let made = uuid(&world.make("CreateLoadBalancerListener", listener(&lb, port, protocol)).await);
        world.done("AddVmNicToLoadBalancer", nics(&made, &[&first, &second])).await;
        listeners.push(made);
    }
    let before = section(&world, &l3).await;
    assert_eq!(before["listeners"].as_array().unwrap().len(), 3);
    // The router is destroyed; the next start makes another one, which is told the same.
    let router = uuid(&world.router_of(&l3).await);
    world.done("DestroyVmInstance", json!({"uuid": router})).await;
    world.done("RebootVmInstance", json!({"uuid": one["uuid"]})).await;
    assert_ne!(uuid(&world.router_of(&l3).await), router);
    assert_eq!(section(&world, &l3).await, before);
}

#[actix_rt::test]
async fn j7_a_nic_is_in_one_server_group_of_a_listener() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = guest(&site, "guest").await;
    let nic = uuid(&site.vm("vm", &l3).await["vmNics"][0]);
    let (_, lb) = balancer(&world, &site).await;
    let web = uuid(&world.make("CreateLoadBalancerListener", listener(&lb, 80, "tcp")).await);
    let mut groups = Vec::new();
    for name in ["blue", "green"] {
        let asked = json!({"loadBalancerUuid": lb, "name": name});
        let group = uuid(&world.make("CreateLoadBalancerServerGroup", asked).await);
        let on = json!({"listenerUuid": web, "serverGroupUuid": group});
        world.done("AddServerGroupToLoadBalancerListener", on).await;
        groups.push(group);
    }
    let into = |group: &str| json!({"serverGroupUuid": group, "vmNics": [{"uuid": nic}]});
    world.done("AddBackendServerToServerGroup", into(&groups[0])).await;
    let refusal = world.refused("AddBackendServerToServerGroup", into(&groups[1])).await;
    assert!(refusal.code == "SYS.1006" && refusal.detail.contains(&nic), "{refusal:?}");
    assert_eq!(world.get("QueryLoadBalancerListener", &web).await["vmNicUuids"], json!([nic]));
}

#[actix_rt::test]
async fn j8_listeners_outlive_their_backends() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = guest(&site, "guest").await;
    let (one, two) = (site.vm("one", &l3).await, site.vm("two", &l3).await);
    let (first, second) = (uuid(&one["vmNics"][0]), uuid(&two["vmNics"][0]));
    let (vip, lb) = balancer(&world, &site).await;
    let mut listeners = Vec::new();
    for (port, protocol) in [(80, "tcp"), (81, "http"), (53, "udp")] {
        let made = uuid(&world.make("CreateLoadBalancerListener", listener(&lb, port, protocol)).await);
        world.done("AddVmNicToLoadBalancer", nics(&made, &[&first, &second])).await;
        listeners.push(made);
    }
    // A VM that is destroyed leaves all listeners.
    world.done("DestroyVmInstance", json!({"uuid": one["uuid"]})).await;
    for made in &listeners {
        assert_eq!(world.get("QueryLoadBalancerListener", made).await["vmNicUuids"], json!([second]));
    }
    world.done("DetachL3NetworkFromVm", json!({"vmNicUuid": second})).await;
    for made in &listeners {
        assert_eq!(world.get("QueryLoadBalancerListener", made).await["vmNicUuids"], json!([]));
    }
    // With the VIP all goes.
    world.done("DeleteVip", json!({"uuid": vip, "deleteMode": "Enforcing"})).await;
    assert!(world.query("QueryLoadBalancer", &[]).await.is_empty());
    assert!(world.query("QueryLoadBalancerListener", &[]).await.is_empty());
}

#[actix_rt::test]
async fn j10_redirect_rules_match_host_and_path() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = guest(&site, "guest").await;
    let (one, two) = (site.vm("one", &l3).await, site.vm("two", &l3).await);
    let (first, second) = (uuid(&one["vmNics"][0]), uuid(&two["vmNics"][0]));
    let (_, lb) = balancer(&world, &site).await;
    let group = uuid(&world.make("CreateLoadBalancerServerGroup", json!({"loadBalancerUuid": lb, "name": "sg"})).await);
    let into = json!({"serverGroupUuid": group, "vmNics": [{"uuid": second, "weight": "10"}]});
    world.done("AddBackendServerToServerGroup", into).await;
    let rules = [
        ("both", json!({"domain": "zstack.io", "url": "/test"})),
        ("domain", json!({"domain": "zstack.io"})),
        ("url", json!({"url": "/test"})),
    ];
    let mut lists = Vec::new();
    for (name, rule) in rules {
        let list = uuid(&world.make("CreateAccessControlList", json!({"name": name})).await);
        let mut asked = json!({"name": "redirect rule", "aclUuid": list});
        asked.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
        let made = world.make("AddAccessControlListRedirectRule", asked.clone()).await;
        assert_eq!((&made["type"], &made["aclUuid"]), (&json!("RedirectRule"), &json!(list)));
        // A list has one rule.
        asked["url"] = json!("/other");
        assert_eq!(world.refused("AddAccessControlListRedirectRule", asked).await.code, "SYS.1006");
        lists.push(list);
    }
    let server = |vm: &Value, port: u16| json!([{"ip": vm["vmNics"][0]["ip"], "port": port, "weight": 100}]);
    for (port, host) in [(80, "zstack.io"), (8903, "zstack.io:8903")] {
        let web = uuid(&world.make("CreateLoadBalancerListener", listener(&lb, port, "http")).await);
        world.done("AddVmNicToLoadBalancer", nics(&web, &[&first])).await;
        let on = json!({"listenerUuid": web, "serverGroupUuid": group});
        world.done("AddServerGroupToLoadBalancerListener", on).await;
        let asked = json!({"listenerUuid": web, "aclUuids": lists, "aclType": "redirect", "serverGroupUuids": [group]});
        let shown = world.make("AddAccessControlListToLoadBalancer", asked).await;
        assert_eq!(shown["aclRefs"].as_array().unwrap().len(), 3, "{shown}");
        // The router is told each rule once, with the header and the path that requests have.
        let section = section(&world, &l3).await;
        let told = section["listeners"].as_array().unwrap().iter().find(|told| told["listener"] == json!(web)).unwrap();
        let mut weighed = server(&two, port);
        weighed[0]["weight"] = json!(10);
        assert_eq!((&told["servers"], told["redirects"].as_array().unwrap().len()), (&server(&one, port), 3));
        for (list, (host, path)) in
            lists.iter().zip([(Some(host), Some("/test")), (Some(host), None), (None, Some("/test"))])
        {
            let of = |redirect: &&Value| redirect["list"] == json!(list);
            let redirect = told["redirects"].as_array().unwrap().iter().find(of).unwrap();
            assert_eq!((redirect["host"].as_str(), redirect["path"].as_str()), (host, path));
            assert_eq!(redirect["servers"], weighed);
        }
        // And haproxy by the router.
        let written = world.fleet().texts();
        let haproxy =
            written.iter().find(|((_, name), text)| name.ends_with("haproxy.cfg") && text.contains(&web)).unwrap().1;
        let rule = |list: &str, of: &str| format!("  use_backend servers-{web}-{list} if {of}\n");
        for (list, of) in lists.iter().zip([
            format!("{{ hdr(host) -i {host} }} {{ path_beg /test }}"),
            format!("{{ hdr(host) -i {host} }}"),
            "{ path_beg /test }".to_string(),
        ]) {
            assert_eq!(haproxy.matches(&rule(list, &of)).count(), 1, "{haproxy}");
        }
    }
    // With the load balancer goes what listeners go by; then lists can be deleted.
    assert_eq!(world.refused("DeleteAccessControlList", json!({"uuid": lists[0]})).await.code, "SYS.1006");
    world.done("DeleteLoadBalancer", json!({"uuid": lb})).await;
    for list in &lists {
        world.done("DeleteAccessControlList", json!({"uuid": list})).await;
    }
    assert!(world.query("QueryAccessControlList", &[]).await.is_empty());
}
