//! What becomes of a packet, as the interface tells it: by which records, who put them there, then and now, and to whom.

use crate::{
    harness::{Site, World, admin, text, uuid},
    ownership::{Tenant, share},
};
use serde_json::{Value, json};
use switchback_bus::Bus;
use switchback_events::Id;

const EXPLAIN: &str = "GetVirtualRouterExplanation";
const SERVICES: &[&str] = &["DHCP", "DNS", "SNAT", "Eip", "PortForwarding"];

struct Scene {
    world: World,
    site: Site,
    guest: String,
    router: String,
    vm: Value,
    nic: String,
    ip: String,
}

impl Scene {
    async fn new() -> Scene {
        let world = World::new();
        let site = Site::new(&world).await;
        let guest = site.guest("guest", SERVICES).await;
        let vm = site.vm("web", &guest).await;
        let router = uuid(&world.router_of(&guest).await);
        let (nic, ip) = (uuid(&vm["vmNics"][0]), text(&vm["vmNics"][0], "ip"));
        Scene { world, site, guest, router, vm, nic, ip }
    }

    async fn vip(&self) -> Value {
        self.world.make("CreateVip", json!({"name": "vip", "l3NetworkUuid": self.site.public})).await
    }

    async fn explain(&self, packet: Value) -> Value {
        self.world.read(EXPLAIN, with(json!({"uuid": self.router, "proto": "tcp", "dport": 80}), packet)).await
    }
}

fn with(mut parameters: Value, more: Value) -> Value {
    parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    parameters
}

/// The records of a kind, wherever they decided.
fn records(reply: &Value, kind: &str) -> Vec<Value> {
    let steps = reply["steps"].as_array().unwrap().iter();
    let all = steps.flat_map(|step| step["records"].as_array().unwrap());
    all.filter(|record| record["type"] == kind).cloned().collect()
}

#[actix_rt::test]
async fn each_record_that_decides_is_told_with_who_put_it_there_and_when() {
    let scene = Scene::new().await;
    let (world, vip) = (&scene.world, scene.vip().await);
    let public = text(&vip, "ip");
    let inward = json!({"dst": public, "src": "198.51.100.7", "from": scene.site.public});
    let before = world.head();
    // Without any service the address is nobody's.
    let said = scene.explain(inward.clone()).await;
    assert_eq!(said["verdict"]["kind"], "dropped", "{said}");

    let eip = json!({"name": "door", "vipUuid": uuid(&vip), "vmNicUuid": scene.nic});
    let attached = world.done("CreateEip", eip).await;
    let said = scene.explain(inward.clone()).await;
    assert_eq!(said["verdict"], json!({"kind": "delivered", "vm": uuid(&scene.vm), "nic": scene.nic}));
    assert_eq!((&said["ends"]["destination"], &said["ends"]["source"]), (&json!(scene.ip), &json!("198.51.100.7")));
    assert_eq!(said["answer"]["seenFrom"], json!(public));
    let door = &records(&said, "Eip")[0];
    let event = attached.events.iter().find(|event| event.kind == "eip.Attached").unwrap();
    assert_eq!((&door["name"], &door["since"]["position"]), (&json!("door"), &json!(event.position)), "{door}");
    assert_eq!((&door["since"]["principal"], &door["since"]["command"]), (&json!("admin"), &json!("CreateEip")));
    assert!(door["since"]["time"].is_string(), "{door}");
    let nic = &records(&said, "VmNic")[0];
    assert_eq!((&nic["name"], &nic["since"]["kind"]), (&json!("web"), &json!("vm_instance.Created")), "{nic}");

    // As of before it, as it was then.
    let then = scene.explain(with(inward.clone(), json!({"at": before.to_string()}))).await;
    assert_eq!((&then["verdict"]["kind"], &then["position"]), (&json!("dropped"), &json!(before)), "{then}");

    // Out it goes by its EIP, and its neighbour by the router's address.
    let neighbour = scene.site.vm("db", &scene.guest).await;
    let out = |nic: &Value| json!({"dst": "192.0.2.9", "from": uuid(nic)});
    let said = scene.explain(out(&scene.vm["vmNics"][0])).await;
    assert_eq!((&said["verdict"]["interface"], &said["ends"]["source"]), (&json!("eth1"), &json!(public)), "{said}");
    let said = scene.explain(out(&neighbour["vmNics"][0])).await;
    let snat = records(&said, "NetworkService");
    assert!(snat.iter().any(|record| record["service"] == "SNAT" && record["name"] == "guest"), "{said}");
    assert_eq!(snat[0]["since"]["kind"], "l3_network.ServicesAttached", "{said}");
    // By ways that do not lead to the router.
    let said = scene.explain(json!({"dst": scene.ip, "from": uuid(&neighbour["vmNics"][0])})).await;
    assert_eq!(said["verdict"]["kind"], "delivered", "{said}");
    assert!(said["steps"].as_array().unwrap().iter().all(|step| step["place"] != "router"), "{said}");

    // The hairpin: its neighbour is known by the router's address. Without a source it is the nic's own.
    let said = scene.explain(json!({"dst": public, "from": uuid(&neighbour["vmNics"][0])})).await;
    let gateway = text(&scene.vm["vmNics"][0], "gateway");
    assert_eq!((&said["verdict"]["kind"], &said["ends"]["source"]), (&json!("delivered"), &json!(gateway)), "{said}");
    // From the router, and where it begins by its source alone.
    let said = scene.explain(json!({"dst": public, "from": "router"})).await;
    assert_eq!(said["verdict"]["kind"], "delivered", "{said}");
    let said = scene.explain(json!({"dst": gateway, "src": scene.ip, "dport": 53})).await;
    assert_eq!(
        (&said["verdict"], &said["from"]["nic"]),
        (&json!({"kind": "answered", "service": "dns"}), &json!(scene.nic))
    );
    let said = scene.explain(json!({"dst": "172.20.0.1", "src": "10.250.0.9", "from": "eth2"})).await;
    assert_eq!(said["verdict"]["kind"], "dropped", "a source that may not come from there: {said}");

    // A disabled nic carries nothing.
    world.done("ChangeVmNicState", json!({"vmNicUuid": scene.nic, "state": "disable"})).await;
    let said = scene.explain(inward).await;
    assert_eq!(said["verdict"]["kind"], "dropped", "{said}");
    assert_eq!(records(&said, "VmNic")[0]["since"]["kind"], "vm_instance.NicStateChanged", "{said}");
}

#[actix_rt::test]
async fn a_listener_and_each_of_its_servers_are_told_with_who_put_them_there() {
    let world = World::new();
    let site = Site::new(&world).await;
    let services: Vec<&str> = SERVICES.iter().copied().chain(["LoadBalancer"]).collect();
    let guest = site.guest("guest", &services).await;
    let (one, two) = (site.vm("one", &guest).await, site.vm("two", &guest).await);
    let router = uuid(&world.router_of(&guest).await);
    let vip = world.make("CreateVip", json!({"name": "vip", "l3NetworkUuid": site.public})).await;
    let lb = uuid(&world.make("CreateLoadBalancer", json!({"name": "lb", "vipUuid": uuid(&vip)})).await);
    let listener = |name: &str, port: u16, protocol: &str| json!({"loadBalancerUuid": lb, "name": name, "loadBalancerPort": port, "protocol": protocol, "instancePort": 8080});
    let (ip, lb) = (text(&vip, "ip"), lb.clone());
    for (name, port, protocol) in [("web", 80, "tcp"), ("names", 53, "udp")] {
        let made = uuid(&world.make("CreateLoadBalancerListener", listener(name, port, protocol)).await);
        let group = |vm: &Value| json!({"listenerUuid": made, "vmNicUuids": [uuid(&vm["vmNics"][0])]});
        let first = world.done("AddVmNicToLoadBalancer", group(&one)).await;
        let second = world.done("AddVmNicToLoadBalancer", group(&two)).await;
        let asked =
            json!({"uuid": router, "proto": protocol, "dport": port, "dst": ip, "src": "198.51.100.7", "from": "eth1"});
        let said = world.read(EXPLAIN, asked.clone()).await;
        let told = records(&said, "LoadBalancerListener");
        assert!(!told.is_empty(), "{said}");
        for record in told {
            assert_eq!((&record["uuid"], &record["loadBalancerUuid"]), (&json!(made), &json!(lb)));
            assert_eq!(
                (&record["name"], &record["since"]["kind"]),
                (&json!(name), &json!("load_balancer.ListenerCreated"))
            );
            assert_eq!(record["since"]["principal"], "admin");
        }
        let candidates = said["candidates"].as_array().unwrap();
        assert_eq!(candidates.len(), 2, "{said}");
        for (vm, put) in [(&one, &first), (&two, &second)] {
            let ip = &vm["vmNics"][0]["ip"];
            let candidate = candidates.iter().find(|candidate| candidate["ip"] == *ip).unwrap();
            let server = &records(candidate, "LoadBalancerServer")[0];
            assert_eq!((&server["uuid"], &server["name"]), (&vm["vmNics"][0]["uuid"], &vm["name"]), "{server}");
            let since = put.events.iter().find(|event| event.kind == "load_balancer.MembersPut").unwrap().position;
            assert_eq!(server["since"]["position"], json!(since), "{server}");
            assert_eq!(candidate["verdict"]["vm"], vm["uuid"], "{candidate}");
        }
        // What it was told last counts, and a new name is its name.
        let changed = world.done("ChangeLoadBalancerListener", json!({"uuid": made, "maxConnection": 7})).await;
        world.done("UpdateLoadBalancerListener", json!({"uuid": made, "name": "other"})).await;
        let said = world.read(EXPLAIN, asked.clone()).await;
        let told = &records(&said, "LoadBalancerListener")[0];
        let since = (&told["name"], &told["since"]["position"]);
        assert_eq!(since, (&json!("other"), &json!(changed.events[0].position)), "{told}");
        // Nobody to hand on to.
        for vm in [&one, &two] {
            world.done("StopVmInstance", json!({"uuid": uuid(vm)})).await;
        }
        let said = world.read(EXPLAIN, asked).await;
        assert_eq!((&said["verdict"]["kind"], &said["candidates"]), (&json!("rejected"), &Value::Null), "{said}");
        for vm in [&one, &two] {
            world.done("StartVmInstance", json!({"uuid": uuid(vm)})).await;
        }
    }
    // The balancer is called as it is, and not as its last port is.
    let events = world.read("GetEvents", json!({"resource": lb, "limit": 100})).await;
    let events = events["events"].as_array().unwrap().iter();
    let named: Vec<&Value> =
        events.filter(|event| event["streamType"] == "load_balancer").map(|event| &event["name"]).collect();
    assert!(named.len() > 4 && named.iter().all(|name| **name == json!("lb")), "{named:?}");
}

#[actix_rt::test]
async fn groups_decide_by_their_rules_and_foreign_ones_are_not_named() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let filtered = json!({"l3NetworkUuid": scene.guest, "networkServices": {"SecurityGroup": ["SecurityGroup"]}});
    world.done("AttachNetworkServiceToL3Network", filtered).await;
    let group = |name: &str| world.make("CreateSecurityGroup", json!({"name": name}));
    let (web, clients) = (uuid(&group("web").await), uuid(&group("clients").await));
    let rule = json!({"type": "Ingress", "protocol": "TCP", "dstPortRange": "80", "remoteSecurityGroupUuid": clients});
    world.done("AddSecurityGroupRule", json!({"securityGroupUuid": web, "rules": [rule]})).await;
    let join = |group: &str, nic: &str| json!({"securityGroupUuid": group, "vmNicUuids": [nic]});
    world.done("AddVmNicToSecurityGroup", join(&web, &scene.nic)).await;
    let client = scene.site.vm("client", &scene.guest).await;
    let from = uuid(&client["vmNics"][0]);
    let packet = json!({"dst": scene.ip, "from": from});
    let said = scene.explain(packet.clone()).await;
    assert_eq!(said["verdict"]["kind"], "dropped", "{said}");
    assert_eq!(records(&said, "VmNicSecurity")[0]["since"]["kind"], "vm_instance.NicSecurityChanged", "{said}");

    world.done("AddVmNicToSecurityGroup", join(&clients, &from)).await;
    let said = scene.explain(packet.clone()).await;
    assert_eq!(said["verdict"]["kind"], "delivered", "{said}");
    let rules = records(&said, "SecurityGroupRule");
    let by_rule = rules.iter().find(|rule| rule["securityGroupUuid"] == json!(web)).unwrap();
    assert_eq!((&by_rule["name"], &by_rule["since"]["command"]), (&json!("web"), &json!("AddSecurityGroupRule")));

    // Nobody speaks in another's name, unless that is switched off.
    let spoofed = with(packet, json!({"src": "192.0.2.9"}));
    assert_eq!(scene.explain(spoofed.clone()).await["verdict"]["kind"], "dropped");
    let clean = json!({"category": "vm", "name": "cleanTraffic", "value": "false", "resourceUuid": uuid(&client)});
    world.done("UpdateResourceConfig", clean).await;
    let said = scene.explain(spoofed).await;
    assert_eq!(said["steps"][0]["packet"]["source"], "192.0.2.9");
    assert!(records(&said, "Config").is_empty(), "it is not that which decides any more: {said}");
}

#[actix_rt::test]
async fn an_account_is_told_of_what_is_its_own() {
    let world = World::new();
    let site = Site::new(&world).await;
    let (bob, eve) = (Tenant::new(&world, "bob").await, Tenant::new(&world, "eve").await);
    let l2 = site.l2("tenants").await;
    share(&world, &[&l2], &[&bob, &eve]).await;
    let l3 = bob.network(&l2, "10.50.0.0/24").await;
    let own = bob.vm(&l3).await;
    share(&world, &[&l3], &[&eve]).await;
    let foreign = eve.vm(&l3).await;
    let router = uuid(&world.router_of(&l3).await);
    let packet = |uuid: &str| json!({"uuid": uuid, "proto": "udp", "dport": 9, "src": "198.51.100.7", "from": "eth1"});
    let to = |vm: &Value| {
        with(
            packet(&router),
            json!({"dst": vm["vmNics"][0]["ip"], "from": own["vmNics"][0]["uuid"], "src": own["vmNics"][0]["ip"]}),
        )
    };
    let said = bob.read(EXPLAIN, to(&foreign)).await.unwrap();
    assert_eq!(said["verdict"], json!({"kind": "delivered", "vm": null, "nic": null}), "{said}");
    let nics = records(&said, "VmNic");
    assert!(nics.iter().any(|nic| *nic == json!({"type": "VmNic", "foreign": true})), "{said}");
    let told = said.to_string();
    assert!(!told.contains(&uuid(&foreign)) && told.contains(&uuid(&own["vmNics"][0])), "{told}");
    assert!(world.read(EXPLAIN, to(&foreign)).await["verdict"]["vm"].is_string());

    // Of a router that is not its own it hears as of one that there is not.
    let nothing = Id::of_name("nothing").to_string();
    let mut refused = vec![];
    for uuid in [&router, &nothing] {
        let packet = with(packet(uuid), json!({"dst": "10.50.0.9"}));
        let refusal = eve.read(EXPLAIN, packet).await.unwrap_err();
        refused.push((refusal.code, refusal.detail.replace(uuid.as_str(), "…")));
    }
    assert_eq!(refused[0], refused[1]);
}

#[actix_rt::test]
async fn a_packet_that_cannot_be_is_refused_by_field() {
    let scene = Scene::new().await;
    let (argument, nobody) = ("SYS.1007", Id::of_name("nobody").to_string());
    let six = scene.nic.clone();
    for (packet, code, field, value) in [
        (json!({"uuid": nobody, "dst": "192.0.2.9", "src": "10.0.0.9"}), "SYS.1003", "uuid", nobody.as_str()),
        (json!({"dst": "224.0.0.1", "src": "10.0.0.9"}), argument, "dst", "224.0.0.1"),
        (json!({"dst": "fe80::1", "src": "fd00::9"}), argument, "dst", "fe80::1"),
        (json!({"dst": "192.0.2.9", "src": "fd00::9"}), argument, "src", "fd00::9"),
        (json!({"dst": "192.0.2.9", "src": "127.0.0.1"}), argument, "src", "127.0.0.1"),
        (json!({"dst": "192.0.2.9"}), argument, "src", "from"),
        (json!({"dst": "192.0.2.9", "from": "eth1"}), argument, "src", "eth1"),
        (json!({"dst": "fd00::9", "from": six}), argument, "src", &scene.nic),
        (json!({"dst": "192.0.2.9", "src": "10.0.0.9", "from": "eth9"}), argument, "from", "eth9"),
        (json!({"dst": "fd00::9", "src": "fd00::8"}), argument, "from", "no way"),
        (json!({"dst": "192.0.2.9", "src": "10.0.0.9", "dport": null}), argument, "dport", "tcp"),
        (json!({"dst": "192.0.2.9", "src": "10.0.0.9", "proto": "icmp"}), argument, "dport", "80"),
        (
            json!({"dst": "192.0.2.9", "src": "10.0.0.9", "proto": "icmp", "dport": null, "sport": 7}),
            argument,
            "sport",
            "7",
        ),
        (json!({"dst": "192.0.2.9", "src": "10.0.0.9", "proto": "gre"}), argument, "proto", "gre"),
        (json!({"dst": "192.0.2.9", "src": "10.0.0.9", "at": "soon"}), argument, "at", "soon"),
        (json!({"dst": "192.0.2.9", "src": "10.0.0.9", "live": true}), "SYS.1104", "", "live"),
    ] {
        let asked = with(json!({"uuid": scene.router, "proto": "tcp", "dport": 80}), packet.clone());
        let refusal = scene.world.node.read(&admin(), EXPLAIN, asked).await.unwrap_err();
        let named = refusal.field.as_deref().unwrap_or_default() == field && refusal.detail.contains(value);
        assert!(refusal.code == code && named, "{packet}: want {code} {field} {value}, got {refusal:?}");
    }
    // Who has no address yet asks everybody.
    let asks = json!({"dst": "255.255.255.255", "src": "0.0.0.0", "from": scene.nic, "proto": "udp", "sport": 68, "dport": 67});
    assert_eq!(scene.explain(asks).await["verdict"], json!({"kind": "answered", "service": "dhcp"}));
}
