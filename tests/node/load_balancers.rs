//! Load balancers: what a listener may be told, and how many there may be.

use crate::accounts::holding;
use crate::harness::{ALL_SERVICES, Site, World, text, uuid};
use crate::ownership::Tenant;
use serde_json::{Value, json};
use switchback_events::Id;

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

fn with(mut parameters: Value, more: Value) -> Value {
    parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    parameters
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
async fn a_listener_is_told_how_to_work_and_the_router_is_told_so() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = guest(&site, "guest").await;
    let vm = site.vm("vm", &l3).await;
    let nic = uuid(&vm["vmNics"][0]);
    let (vip, lb) = balancer(&world, &site).await;
    let made =
        world.make("CreateLoadBalancerListener", with(listener(&lb, 80, "http"), json!({"instancePort": 8080}))).await;
    for (field, value) in [
        ("connectionIdleTimeout", json!(60)),
        ("maxConnection", json!(200_000)),
        ("nbprocess", json!(1)),
        ("balancerAlgorithm", json!("roundrobin")),
        ("healthCheckTarget", json!("tcp:default")),
        ("healthCheckInterval", json!(5)),
        ("healthCheckTimeout", json!(2)),
        ("healthyThreshold", json!(2)),
        ("unhealthyThreshold", json!(6)),
        ("sessionPersistence", json!("disable")),
        ("instancePort", json!(8080)),
        ("vmNicUuids", json!([])),
    ] {
        assert_eq!(made[field], value, "{field} of {made}");
    }
    let web = uuid(&made);
    assert_eq!(section(&world, &l3).await, Value::Null, "nobody to hand on to yet");
    let added = world.make("AddVmNicToLoadBalancer", nics(&web, &[&nic])).await;
    assert_eq!(added["vmNicUuids"], json!([nic]));
    let told = json!({
        "uuid": web, "connectionIdleTimeout": 90, "maxConnection": 5000, "balancerAlgorithm": "leastconn", "nbprocess": 2,
        "healthCheckProtocol": "http", "healthCheckURI": "/health", "healthCheckMethod": "GET",
        "healthCheckHttpCode": "http_2xx,http_3xx", "healthCheckTarget": "http:8081", "healthyThreshold": 3,
        "unhealthyThreshold": 4, "healthCheckInterval": 7, "httpMode": "http-server-close",
        "sessionPersistence": "insert", "sessionIdleTimeout": 300, "cookieName": "SRV",
        "httpRedirectHttps": "enable", "redirectPort": 8443, "statusCode": 307, "tcpProxyProtocol": "v2",
        "httpCompressAlgos": ["gzip", "deflate", "raw-deflate", "identity"],
    });
    let changed = world.make("ChangeLoadBalancerListener", told.clone()).await;
    for (field, value) in told.as_object().unwrap() {
        assert_eq!(changed[field], *value, "{field}");
    }
    let router = uuid(&world.router_of(&l3).await);
    let sections = world.sections(&router).await;
    let address = text(&world.get("QueryVip", &vip).await, "ip");
    let one = &sections["loadBalancer"]["listeners"][0];
    assert_eq!(one["addresses"], json!([address]));
    assert_eq!(one["servers"], json!([{"ip": vm["vmNics"][0]["ip"], "port": 8080, "weight": 100}]));
    assert_eq!(one["persistence"], json!({"kind": "insert", "cookie": "SRV", "idle": 300}));
    assert_eq!((&one["algorithm"], &one["health"]["port"]), (&json!("leastconn"), &json!(8081)));
    assert!(sections["vips"].to_string().contains(&address), "{sections}");
    // The same again is nothing.
    let before = world.head();
    world.done("ChangeLoadBalancerListener", told).await;
    assert_eq!(world.kinds_after(before).await, Vec::<String>::new());
    // What else it may be told.
    for more in [
        json!({"sessionPersistence": "rewrite", "cookieName": "JSESSIONID"}),
        json!({"sessionPersistence": "iphash", "sessionIdleTimeout": 30}),
        json!({"sessionPersistence": "disable", "tcpProxyProtocol": "disable", "httpRedirectHttps": "disable"}),
        json!({"httpMode": "forceclose", "tcpProxyProtocol": "v1", "balancerAlgorithm": "source"}),
        json!({"httpMode": "http-keep-alive", "healthCheckProtocol": "tcp", "healthCheckTarget": "tcp:default"}),
    ] {
        let changed = world.make("ChangeLoadBalancerListener", with(json!({"uuid": web}), more.clone())).await;
        for (field, value) in more.as_object().unwrap().iter().filter(|(_, value)| **value != json!("disable")) {
            let value = if *value == json!("forceclose") { &json!("httpclose") } else { value };
            assert_eq!(changed[field], *value, "{field}");
        }
    }
    // What the VIP shows of its use.
    let shown = world.get("QueryVip", &vip).await;
    assert_eq!((&shown["useFor"], &shown["serviceProvider"]), (&json!("LoadBalancer"), &json!("VirtualRouter")));
    assert_eq!(shown["peerL3NetworkUuids"], json!([l3]));
    let free = json!({"vipUuid": vip, "port": 80, "protocolType": "TCP"});
    assert_eq!(world.read("CheckVipPortAvailability", free).await["available"], false);
    let free = json!({"vipUuid": vip, "port": 80, "protocolType": "UDP"});
    assert_eq!(world.read("CheckVipPortAvailability", free).await["available"], true);
    assert_eq!(world.query("QueryLoadBalancer", &["listeners.vmNics.l3Network.name=guest"]).await.len(), 1);
    // Stopped, running again, gone: the listener stays.
    let server = async || section(&world, &l3).await["listeners"][0]["servers"].clone();
    world.done("StopVmInstance", json!({"uuid": vm["uuid"]})).await;
    assert_eq!(server().await, json!([]));
    world.done("StartVmInstance", json!({"uuid": vm["uuid"]})).await;
    assert_eq!(server().await[0]["port"], 8080);
    world.done("UpdateLoadBalancer", json!({"uuid": lb, "name": "other"})).await;
    world.done("UpdateLoadBalancerListener", json!({"uuid": web, "name": "site", "description": "d"})).await;
    let shown = world.get("QueryLoadBalancer", &lb).await;
    assert_eq!((&shown["name"], &shown["listeners"][0]["name"]), (&json!("other"), &json!("site")));
    // A VIP that is in use stays.
    let refusal = world.refused("DeleteVip", json!({"uuid": vip})).await;
    assert_eq!(refusal.blockers[0].resource_type, "load_balancer", "{refusal}");
    world.done("RemoveVmNicFromLoadBalancer", nics(&web, &[&nic])).await;
    world.done("RemoveVmNicFromLoadBalancer", nics(&web, &[&nic])).await;
    assert_eq!(section(&world, &l3).await, Value::Null);
    assert_eq!(world.get("QueryVip", &vip).await["peerL3NetworkUuids"], json!([]));
    world.done("DeleteLoadBalancerListener", json!({"uuid": web})).await;
    world.done("DeleteLoadBalancerListener", json!({"uuid": web})).await;
    world.done("DeleteLoadBalancer", json!({"uuid": lb})).await;
    world.done("DeleteLoadBalancer", json!({"uuid": lb})).await;
    assert_eq!(world.get("QueryVip", &vip).await["useFor"], Value::Null);
    world.done("DeleteVip", json!({"uuid": vip})).await;
}

#[actix_rt::test]
async fn what_does_not_fit_a_listener_is_refused() {
    let world = World::new();
    let site = Site::new(&world).await;
    let (l3, other) = (guest(&site, "guest").await, guest(&site, "other").await);
    let bare = site.guest("bare", ALL_SERVICES).await;
    let nic_on = async |name: &str, l3: &str| uuid(&site.vm(name, l3).await["vmNics"][0]);
    let (nic, foreign, unserved) =
        (nic_on("vm", &l3).await, nic_on("foreign", &other).await, nic_on("unserved", &bare).await);
    let (vip, lb) = balancer(&world, &site).await;
    let made = async |port: u16, protocol: &str| {
        uuid(&world.make("CreateLoadBalancerListener", listener(&lb, port, protocol)).await)
    };
    let (tcp, udp, http) = (made(80, "tcp").await, made(80, "udp").await, made(81, "http").await);
    let refused = async |name: &str, parameters: Value, code: &str, field: &str, value: &str| {
        let before = world.head();
        let refusal = world.refused(name, parameters).await;
        let named = refusal.detail.contains(field) && refusal.detail.contains(value);
        assert!(refusal.code == code && named, "want {code}, `{field}` and `{value}`, got {refusal:?}");
        assert_eq!(world.kinds_after(before).await, Vec::<String>::new());
    };
    let create = |port: u16, protocol: &str, more: Value| with(listener(&lb, port, protocol), more);
    let name = "CreateLoadBalancerListener";
    refused(name, create(80, "http", json!({})), "SYS.1007", "loadBalancerPort", "80").await;
    refused(name, create(80, "udp", json!({})), "SYS.1007", "loadBalancerPort", "80").await;
    let second = uuid(&world.make("CreateLoadBalancer", json!({"name": "second", "vipUuid": vip})).await);
    refused(name, listener(&second, 81, "tcp"), "SYS.1007", "loadBalancerPort", "81").await;
    let name = "ChangeLoadBalancerListener";
    for (listener, more, field, value) in [
        (&tcp, json!({"maxConnection": 10_000_001}), "maxConnection", "10000001"),
        (&tcp, json!({"maxConnection": 0}), "maxConnection", "0"),
        (&tcp, json!({"nbprocess": 65}), "nbprocess", "65"),
        (&tcp, json!({"nbprocess": "two"}), "nbprocess", "two"),
        (&tcp, json!({"securityPolicyType": "tls_cipher_policy_1_2"}), "securityPolicyType", "tls_cipher_policy_1_2"),
        (&http, json!({"httpVersions": ["h1", "h2"]}), "httpVersions", "h1,h2"),
        (&tcp, json!({"httpMode": "httpclose"}), "httpMode", "httpclose"),
        (&tcp, json!({"httpCompressAlgos": ["gzip"]}), "httpCompressAlgos", "gzip"),
        (&tcp, json!({"httpRedirectHttps": "enable"}), "httpRedirectHttps", "enable"),
        (&tcp, json!({"redirectPort": 443}), "redirectPort", "443"),
        (&tcp, json!({"healthCheckProtocol": "udp"}), "healthCheckProtocol", "udp"),
        (&tcp, json!({"healthCheckProtocol": "http"}), "healthCheckProtocol", "healthCheckURI"),
        (&tcp, json!({"healthCheckURI": "/x"}), "healthCheckURI", "/x"),
        (&tcp, json!({"healthCheckTarget": "http:80"}), "healthCheckTarget", "http:80"),
        (&tcp, json!({"healthCheckTarget": "tcp:0"}), "healthCheckTarget", "tcp:0"),
        (&tcp, json!({"healthCheckTarget": "tcp:80\nserver x"}), "healthCheckTarget", "tcp:80"),
        (&tcp, json!({"sessionPersistence": "insert"}), "sessionPersistence", "insert"),
        (&tcp, json!({"sessionIdleTimeout": 60}), "sessionIdleTimeout", "60"),
        (&tcp, json!({"cookieName": "SRV"}), "cookieName", "SRV"),
        (&udp, json!({"balancerAlgorithm": "leastconn"}), "balancerAlgorithm", "leastconn"),
        (&udp, json!({"tcpProxyProtocol": "v1"}), "tcpProxyProtocol", "v1"),
        (&udp, json!({"healthCheckProtocol": "http", "healthCheckURI": "/x"}), "healthCheckProtocol", "http"),
        (&http, json!({"healthCheckProtocol": "http", "healthCheckURI": "/a b"}), "healthCheckURI", "/a b"),
        (&http, json!({"healthCheckProtocol": "http", "healthCheckURI": "x"}), "healthCheckURI", "x"),
        (
            &http,
            json!({"healthCheckProtocol": "http", "healthCheckURI": "/", "healthCheckHttpCode": "http_6xx"}),
            "healthCheckHttpCode",
            "http_6xx",
        ),
        (&http, json!({"httpCompressAlgos": ["gzip", "gzip"]}), "httpCompressAlgos", "gzip"),
        (&http, json!({"httpRedirectHttps": "enable", "statusCode": 304}), "statusCode", "304"),
        (&http, json!({"sessionPersistence": "rewrite"}), "sessionPersistence", "rewrite"),
        (&http, json!({"sessionPersistence": "insert", "cookieName": "a;b"}), "cookieName", "a;b"),
    ] {
        refused(name, with(json!({"uuid": listener}), more), "SYS.1007", field, value).await;
    }
    let name = "AddVmNicToLoadBalancer";
    let many: Vec<String> = (0..1001).map(|n| Id::of_name(&n.to_string()).to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    refused(name, nics(&tcp, &many), "SYS.1007", "vmNicUuids", "1001").await;
    refused(name, nics(&tcp, &many[..1]), "SYS.1003", "vmNicUuids", many[0]).await;
    refused(name, nics(&tcp, &[&unserved]), "SYS.1006", "vmNicUuids", &unserved).await;
    refused(name, nics(&tcp, &[&nic, &foreign]), "SYS.1007", "vmNicUuids", &foreign).await;
    world.done(name, nics(&tcp, &[&nic])).await;
    refused(name, nics(&tcp, &[&nic]), "SYS.1006", "vmNicUuids", &nic).await;
    refused(name, nics(&tcp, &many[..1000]), "SYS.1007", "vmNicUuids", "no more than 1000").await;
    refused(name, nics(&http, &[&foreign]), "SYS.1006", "vmNicUuids", &foreign).await;
    world.done(name, nics(&http, &[&nic])).await;
    for tag in
        ["x", "balancerWeight::x::20", &format!("balancerWeight::{nic}::101"), &format!("balancerWeight::{vip}::20")]
    {
        let asked = with(nics(&udp, &[&nic]), json!({"systemTags": [tag]}));
        refused(name, asked, "SYS.1007", "systemTags", tag).await;
    }
    let name = "CreateLoadBalancerListener";
    for tag in ["x", "x::y", "healthCheckTarget::tcp", "healthCheckParameter::GET:/"] {
        refused(name, create(90, "http", json!({"systemTags": [tag]})), "SYS.1007", "systemTags", tag).await;
    }
    for (tag, field) in [
        ("balancerAlgorithm::best", "balancerAlgorithm"),
        ("sessionIdleTimeout::29", "sessionIdleTimeout"),
        ("healthCheckTarget::icmp:default", "healthCheckProtocol"),
        ("httpCompressAlgos::zip", "httpCompressAlgos"),
    ] {
        let value = tag.split("::").last().and_then(|value| value.split(':').next()).unwrap();
        refused(name, create(90, "http", json!({"systemTags": [tag]})), "SYS.1007", field, value).await;
    }
    // A port of a listener is no other service's.
    let rule = json!({"vipUuid": vip, "name": "pf", "protocolType": "TCP", "vipPortStart": 79, "vipPortEnd": 80});
    refused("CreatePortForwardingRule", rule, "SYS.1007", "vipPortStart", "79").await;
    let rule = json!({"vipUuid": vip, "name": "pf", "protocolType": "TCP", "vipPortStart": 8000, "vipPortEnd": 8100});
    world.done("CreatePortForwardingRule", rule).await;
    refused(name, create(8050, "http", json!({})), "SYS.1007", "loadBalancerPort", "8050").await;
    refused_groups(&world, (&lb, &second), (&tcp, &http), (&nic, &foreign)).await;
}

/// What does not fit a server group; `tcp` has `nic` by its own group.
async fn refused_groups(
    world: &World,
    (lb, second): (&str, &str),
    (tcp, http): (&str, &str),
    (nic, foreign): (&str, &str),
) {
    let refused = async |name: &str, parameters: Value, code: &str, field: &str, value: &str| {
        let before = world.head();
        let refusal = world.refused(name, parameters).await;
        let named = refusal.detail.contains(field) && refusal.detail.contains(value);
        assert!(refusal.code == code && named, "want {code}, `{field}` and `{value}`, got {refusal:?}");
        assert_eq!(world.kinds_after(before).await, Vec::<String>::new());
    };
    let group = async |lb: &str| {
        uuid(&world.make("CreateLoadBalancerServerGroup", json!({"loadBalancerUuid": lb, "name": "g"})).await)
    };
    let (blue, elsewhere) = (group(lb).await, group(second).await);
    let six = json!({"loadBalancerUuid": lb, "name": "g", "ipVersion": 6});
    refused("CreateLoadBalancerServerGroup", six, "SYS.1104", "ipVersion", "6").await;
    let into = |group: &str, nic: &str, weight: &str| json!({"serverGroupUuid": group, "vmNics": [{"uuid": nic, "weight": weight}]});
    let by_ip = json!({"serverGroupUuid": blue, "servers": [{"ipAddress": "10.0.0.9"}]});
    refused("AddBackendServerToServerGroup", by_ip.clone(), "SYS.1104", "server by its address", "").await;
    refused("ChangeLoadBalancerBackendServer", by_ip, "SYS.1104", "server by its address", "").await;
    let by_ip = json!({"serverGroupUuid": blue, "serverIps": ["10.0.0.9"]});
    refused("RemoveBackendServerFromServerGroup", by_ip, "SYS.1104", "server by its address", "").await;
    for weight in ["101", "-1", "much"] {
        refused("AddBackendServerToServerGroup", into(&blue, nic, weight), "SYS.1007", "vmNics.weight", weight).await;
    }
    refused("AddBackendServerToServerGroup", into(&blue, foreign, "1"), "SYS.1006", "vmNics", foreign).await;
    refused("ChangeLoadBalancerBackendServer", into(&blue, nic, "1"), "SYS.1007", "vmNics", nic).await;
    let on = |listener: &str, group: &str| json!({"listenerUuid": listener, "serverGroupUuid": group});
    let own = text(&world.get("QueryLoadBalancerListener", http).await, "serverGroupUuid");
    let name = "AddServerGroupToLoadBalancerListener";
    refused(name, on(tcp, &elsewhere), "SYS.1007", "serverGroupUuid", &elsewhere).await;
    refused(name, on(tcp, &own), "SYS.1007", "serverGroupUuid", &own).await;
    refused(name, on(tcp, nic), "SYS.1003", "serverGroupUuid", nic).await;
    // The nic is in the listener's own group already.
    world.done("AddBackendServerToServerGroup", into(&blue, nic, "1")).await;
    let many = (0..1000).map(|n| json!({"uuid": Id::of_name(&n.to_string()).to_string()})).collect::<Vec<_>>();
    let many = json!({"serverGroupUuid": blue, "vmNics": many});
    refused("AddBackendServerToServerGroup", many, "SYS.1007", "vmNics", "no more than 1000").await;
    refused(name, on(tcp, &blue), "SYS.1006", "serverGroupUuid", nic).await;
    world.done("RemoveVmNicFromLoadBalancer", nics(tcp, &[nic])).await;
    world.done(name, on(tcp, &blue)).await;
    refused(name, on(tcp, &blue), "SYS.1006", "serverGroupUuid", &blue).await;
    refused("AddVmNicToLoadBalancer", nics(tcp, &[nic]), "SYS.1006", "vmNicUuids", nic).await;
    refused("DeleteLoadBalancerServerGroup", json!({"uuid": blue}), "SYS.1006", "uuid", tcp).await;
    refused("DeleteLoadBalancerServerGroup", json!({"uuid": own}), "SYS.1006", "uuid", http).await;
    refused("RemoveServerGroupFromLoadBalancerListener", on(http, &own), "SYS.1006", "serverGroupUuid", &own).await;
    let many = json!({"loadBalancerUuid": second, "name": "g"});
    let held = world.query("QueryLoadBalancerServerGroup", &[&format!("loadBalancerUuid={second}")]).await.len();
    for _ in held..100 {
        group(second).await;
    }
    refused("CreateLoadBalancerServerGroup", many, "SYS.1007", "loadBalancerUuid", second).await;
}

#[actix_rt::test]
async fn listeners_hand_on_to_server_groups_by_weight() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = guest(&site, "guest").await;
    let (one, two) = (site.vm("one", &l3).await, site.vm("two", &l3).await);
    let (first, second) = (uuid(&one["vmNics"][0]), uuid(&two["vmNics"][0]));
    let (_, lb) = balancer(&world, &site).await;
    let by_weight = json!({"systemTags": [
        "balancerAlgorithm::weightroundrobin", "connectionIdleTimeout::90", "healthCheckTarget::http:8081",
        "healthCheckParameter::GET:/health:http_2xx,http_3xx", "httpCompressAlgos::gzip deflate",
        "sessionPersistence::insert", "cookieName::SRV", "Nbprocess::2",
    ]});
    let made = world.make("CreateLoadBalancerListener", with(listener(&lb, 80, "http"), by_weight)).await;
    for (field, value) in [
        ("balancerAlgorithm", json!("weightroundrobin")),
        ("connectionIdleTimeout", json!(90)),
        ("healthCheckTarget", json!("http:8081")),
        ("healthCheckMethod", json!("GET")),
        ("healthCheckURI", json!("/health")),
        ("healthCheckHttpCode", json!("http_2xx,http_3xx")),
        ("httpCompressAlgos", json!(["gzip", "deflate"])),
        ("sessionPersistence", json!("insert")),
        ("cookieName", json!("SRV")),
        ("nbprocess", json!(2)),
    ] {
        assert_eq!(made[field], value, "{field} of {made}");
    }
    let (web, own) = (uuid(&made), text(&made, "serverGroupUuid"));
    let weighted = with(nics(&web, &[&first]), json!({"systemTags": [format!("balancerWeight::{first}::20")]}));
    world.done("AddVmNicToLoadBalancer", weighted).await;
    let asked = json!({"loadBalancerUuid": lb, "name": "blue", "description": "d"});
    let blue = world.make("CreateLoadBalancerServerGroup", asked).await;
    let blue = uuid(&blue);
    let on = json!({"listenerUuid": web, "serverGroupUuid": blue});
    let into = json!({"serverGroupUuid": blue, "vmNics": [{"uuid": second, "weight": "30"}]});
    let put = world.make("AddBackendServerToServerGroup", into).await;
    assert_eq!((&put["vmNicUuids"], &put["vmNicRefs"][0]["weight"]), (&json!([second]), &json!(30)));
    let weights = async || {
        let section = section(&world, &l3).await;
        let servers = section["listeners"][0]["servers"].as_array().unwrap().clone();
        let mut weights: Vec<i64> = servers.iter().map(|server| server["weight"].as_i64().unwrap()).collect();
        weights.sort_unstable();
        weights
    };
    assert_eq!(weights().await, [20], "no listener has the group yet");
    let listener = world.make("AddServerGroupToLoadBalancerListener", on.clone()).await;
    let both = |one: &str, two: &str| {
        let mut both = [one.to_string(), two.to_string()];
        both.sort();
        json!(both)
    };
    assert_eq!(listener["vmNicUuids"], both(&first, &second));
    assert_eq!(listener["serverGroupUuids"], both(&own, &blue));
    assert_eq!(weights().await, [20, 30]);
    let change = json!({"serverGroupUuid": blue, "vmNics": [{"uuid": second, "weight": "0"}]});
    assert_eq!(world.make("ChangeLoadBalancerBackendServer", change.clone()).await["vmNicRefs"][0]["weight"], 0);
    assert_eq!(weights().await, [0, 20]);
    // The same again is nothing.
    let before = world.head();
    world.done("ChangeLoadBalancerBackendServer", change).await;
    assert_eq!(world.kinds_after(before).await, Vec::<String>::new());
    world.done("UpdateLoadBalancerServerGroup", json!({"uuid": blue, "name": "green"})).await;
    let shown = world.get("QueryLoadBalancerServerGroup", &blue).await;
    assert_eq!((&shown["name"], &shown["loadBalancerUuid"]), (&json!("green"), &json!(lb)));
    // A VM that is destroyed leaves the group.
    world.done("DestroyVmInstance", json!({"uuid": two["uuid"]})).await;
    assert_eq!(world.get("QueryLoadBalancerServerGroup", &blue).await["vmNicUuids"], json!([]));
    assert_eq!(weights().await, [20]);
    let out = json!({"serverGroupUuid": own, "vmNicUuids": [first, second]});
    assert_eq!(world.make("RemoveBackendServerFromServerGroup", out.clone()).await["vmNicRefs"], json!([]));
    world.done("RemoveBackendServerFromServerGroup", out).await;
    assert_eq!(section(&world, &l3).await, Value::Null);
    for _ in 0..2 {
        world.done("RemoveServerGroupFromLoadBalancerListener", on.clone()).await;
    }
    assert_eq!(world.get("QueryLoadBalancerListener", &web).await["serverGroupUuids"], json!([own]));
    for _ in 0..2 {
        world.done("DeleteLoadBalancerServerGroup", json!({"uuid": blue})).await;
    }
    world.done("DeleteLoadBalancerListener", json!({"uuid": web})).await;
    assert!(world.query("QueryLoadBalancerServerGroup", &[]).await.is_empty());
}

#[actix_rt::test]
async fn quotas_count_load_balancers_and_listeners() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let bob = Tenant::new(&world, "bob").await;
    world.done("ShareResource", json!({"resourceUuids": [site.public], "accountUuids": [bob.uuid]})).await;
    for name in ["loadBalancer.num", "loadBalancerListener.num"] {
        world.done("UpdateQuota", json!({"identityUuid": bob.uuid, "name": name, "value": 2})).await;
    }
    let vip = uuid(&bob.make("CreateVip", json!({"name": "vip", "l3NetworkUuid": site.public})).await);
    let lb = json!({"name": "lb", "vipUuid": vip});
    let first = uuid(&bob.make("CreateLoadBalancer", lb.clone()).await);
    let second = uuid(&bob.make("CreateLoadBalancer", lb.clone()).await);
    assert!(bob.refused("CreateLoadBalancer", lb).await.detail.contains("loadBalancer.num"));
    bob.make("CreateLoadBalancerListener", listener(&first, 80, "tcp")).await;
    bob.make("CreateLoadBalancerListener", listener(&second, 81, "tcp")).await;
    let refusal = bob.refused("CreateLoadBalancerListener", listener(&first, 82, "tcp")).await;
    assert!(refusal.detail.contains("loadBalancerListener.num"), "{refusal}");
}

fn pem(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_string()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[actix_rt::test]
async fn certificates_are_shown_by_listeners_of_https_and_their_keys_by_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path());
    let site = Site::new(&world).await;
    let l3 = guest(&site, "guest").await;
    let nic = uuid(&site.vm("vm", &l3).await["vmNics"][0]);
    let (_, lb) = balancer(&world, &site).await;
    let (chain, key) = pem("one.test");
    let begun = world.head();
    let asked = json!({"name": "web", "description": "d", "certificate": format!("{key}{chain}")});
    let certificate = world.make("CreateCertificate", asked).await;
    assert_eq!(certificate["certificate"].as_str().unwrap().replace("\r\n", "\n"), chain.replace("\r\n", "\n"));
    let one = uuid(&certificate);
    let two = {
        let (chain, key) = pem("two.test");
        uuid(&world.make("CreateCertificate", json!({"name": "two", "certificate": chain + &key})).await)
    };
    let secret = key.lines().nth(1).unwrap();
    let events = world.read("GetEvents", json!({"after": begun, "limit": 10_000})).await.to_string();
    assert!(!events.contains(secret) && events.contains("(sealed)"), "{events}");
    let https = with(listener(&lb, 443, "https"), json!({"instancePort": 80}));
    let made = world.make("CreateLoadBalancerListener", https).await;
    assert_eq!((&made["certificateUuid"], &made["httpVersions"]), (&Value::Null, &json!(["h1"])));
    let web = uuid(&made);
    world.done("AddVmNicToLoadBalancer", nics(&web, &[&nic])).await;
    assert_eq!(section(&world, &l3).await, Value::Null, "nobody speaks https without a certificate");
    let on = |certificate: &str| json!({"listenerUuid": web, "certificateUuid": certificate});
    let added = world.make("AddCertificateToLoadBalancerListener", on(&one)).await;
    assert_eq!(added["certificateUuid"], json!(one));
    let told = section(&world, &l3).await;
    assert_eq!(told["listeners"][0]["tls"]["certificate"], json!(one));
    assert_eq!(told["certificates"][0]["certificate"], json!(one));
    assert!(!told.to_string().contains("PRIVATE"), "{told}");
    // Another in its place, as one event.
    let before = world.head();
    world.done("AddCertificateToLoadBalancerListener", on(&two)).await;
    world.done("AddCertificateToLoadBalancerListener", on(&two)).await;
    let kinds = world.kinds_after(before).await;
    let own: Vec<&String> = kinds.iter().filter(|kind| kind.starts_with("load_balancer.")).collect();
    assert_eq!(own, ["load_balancer.CertificateAdded"]);
    let told = section(&world, &l3).await;
    assert_eq!(told["certificates"].as_array().unwrap().len(), 1);
    assert_eq!(told["listeners"][0]["tls"]["certificate"], json!(two));
    let policies = ["default", "1_0", "1_1", "1_2", "1_2_strict", "1_2_strict_with_1_3"];
    for policy in policies.map(|policy| format!("tls_cipher_policy_{policy}")) {
        let changed = json!({"uuid": web, "securityPolicyType": policy, "httpVersions": ["h1", "h2"]});
        let changed = world.make("ChangeLoadBalancerListener", changed).await;
        assert_eq!((&changed["securityPolicyType"], &changed["httpVersions"]), (&json!(policy), &json!(["h1", "h2"])));
    }
    world.done("DeleteCertificate", json!({"uuid": one})).await;
    world.done("DeleteCertificate", json!({"uuid": one})).await;
    let refusal = world.refused("DeleteCertificate", json!({"uuid": two})).await;
    assert!(refusal.code == "SYS.1006" && refusal.detail.contains(&web), "{refusal:?}");
    let update = json!({"uuid": two, "name": "second", "description": "d"});
    assert_eq!(world.make("UpdateCertificate", update).await["name"], "second");
    assert_eq!(world.query("QueryCertificate", &["listeners.name=web"]).await.len(), 1);
    for _ in 0..2 {
        world.done("RemoveCertificateFromLoadBalancerListener", on(&two)).await;
    }
    assert_eq!(section(&world, &l3).await, Value::Null);
    world.done("DeleteCertificate", json!({"uuid": two})).await;
    // With the listener, and gone with it.
    let (chain, key) = pem("three.test");
    let three = uuid(&world.make("CreateCertificate", json!({"name": "three", "certificate": chain + &key})).await);
    let more = json!({"certificateUuid": three, "httpVersions": ["h2"], "systemTags": ["securityPolicyType::tls_cipher_policy_1_2"]});
    let made = world.make("CreateLoadBalancerListener", with(listener(&lb, 444, "https"), more)).await;
    assert_eq!(
        (&made["certificateUuid"], &made["securityPolicyType"]),
        (&json!(three), &json!("tls_cipher_policy_1_2"))
    );
    world.done("DeleteLoadBalancer", json!({"uuid": lb})).await;
    world.done("DeleteCertificate", json!({"uuid": three})).await;
    drop(site);
    world.close();
    assert_eq!(holding(directory.path(), secret), Vec::<String>::new());
}

#[actix_rt::test]
async fn what_is_no_certificate_with_its_key_is_refused_and_not_shown() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let (_, lb) = balancer(&world, &site).await;
    let ((chain, key), (_, foreign)) = (pem("one.test"), pem("two.test"));
    let before = world.head();
    let refused = async |text: String, right: &str| {
        let refusal = world.refused("CreateCertificate", json!({"name": "web", "certificate": text})).await;
        assert!(refusal.code == "SYS.1007" && refusal.detail.contains(right), "{right}: {refusal:?}");
        let said = format!("{refusal:?}");
        let lines = text.lines().filter(|line| line.len() > 20 && !line.starts_with("---"));
        assert!(lines.into_iter().all(|line| !said.contains(line)), "{said}");
    };
    refused(String::new(), "60000").await;
    refused("x".repeat(60_001), "60000").await;
    refused("sesame sesame sesame sesame".to_string(), "a certificate in PEM").await;
    refused(chain.clone(), "one private key").await;
    refused(format!("{chain}{foreign}"), "belongs to the first").await;
    refused(format!("{chain}{}", key.replace('\n', "\n*")), "cannot be read").await;
    refused(format!("{chain}{key}{}", chain.replace("CERTIFICATE", "CERTIFICATE REQUEST")), "nothing else").await;
    let short = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    refused(format!("{short}{key}"), "can be read").await;
    assert_eq!(world.kinds_after(before).await, Vec::<String>::new());
    let certificate = uuid(&world.make("CreateCertificate", json!({"name": "web", "certificate": chain + &key})).await);
    let tcp = with(listener(&lb, 80, "tcp"), json!({"certificateUuid": certificate}));
    let refusal = world.refused("CreateLoadBalancerListener", tcp).await;
    assert!(refusal.detail.contains("certificateUuid") && refusal.detail.contains(&certificate), "{refusal:?}");
    let https = with(listener(&lb, 443, "https"), json!({"certificateUuid": lb}));
    assert_eq!(world.refused("CreateLoadBalancerListener", https).await.code, "SYS.1003");
    let redirect = json!({"systemTags": ["httpRedirectHttps::enable"]});
    let refusal = world.refused("CreateLoadBalancerListener", with(listener(&lb, 443, "https"), redirect)).await;
    assert!(refusal.detail.contains("httpRedirectHttps"), "{refusal:?}");
}
