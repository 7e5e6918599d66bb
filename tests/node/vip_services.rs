//! EIPs and port forwarding: what is refused, one holder under any concurrency, what follows nics, VMs and routers, and what
//! is shown of it, now and then.

use crate::harness::{Site, World, admin, id, text, uuid};
use crate::ownership::{Tenant, share};
use serde_json::{Value, json};
use switchback_agent::push_of_router;
use switchback_appliance::{RouterConfig, Sections};
use switchback_bus::Bus;
use switchback_events::Id;

const SERVICES: &[&str] = &["DHCP", "DNS", "SNAT", "Eip", "PortForwarding"];

struct Scene {
    world: World,
    site: Site,
    guest: String,
    vm: String,
    nic: Value,
}

impl Scene {
    async fn new() -> Scene {
        let world = World::new();
        let site = Site::new(&world).await;
        let guest = site.guest("guest", SERVICES).await;
        let vm = site.vm("vm", &guest).await;
        Scene { nic: vm["vmNics"][0].clone(), vm: uuid(&vm), world, site, guest }
    }

    async fn vip_of(&self, l3: &str) -> Value {
        self.world.make("CreateVip", json!({"name": "vip", "l3NetworkUuid": l3})).await
    }

    async fn vip(&self) -> String {
        uuid(&self.vip_of(&self.site.public).await)
    }

    async fn eip(&self, more: Value) -> Value {
        let eip = with(json!({"name": "eip", "vipUuid": self.vip().await}), more);
        self.world.make("CreateEip", eip).await
    }

    async fn rule(&self, vip: &str, port: u16, more: Value) -> Value {
        self.world.make("CreatePortForwardingRule", with(rule(vip, port), more)).await
    }

    async fn public(&self, name: &str, cidr: &str) -> String {
        let l3 = self.site.network(name, cidr).await;
        self.world.done("UpdateL3Network", json!({"uuid": l3, "category": "Public", "system": false})).await;
        l3
    }

    async fn refused(&self, name: &str, parameters: Value, code: &str, words: &[&str]) {
        let refusal = self.world.refused(name, parameters.clone()).await;
        let told = words.iter().all(|word| refusal.detail.contains(word));
        assert!(refusal.code == code && told, "{name} {parameters}: want {code} {words:?}, not {refusal}");
    }
}

fn rule(vip: &str, port: u16) -> Value {
    json!({"name": "rule", "vipUuid": vip, "vipPortStart": port, "protocolType": "TCP"})
}

fn with(mut parameters: Value, more: Value) -> Value {
    parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    parameters
}

const ARGUMENT: &str = "SYS.1007";
const OPERATION: &str = "SYS.1006";
const NOT_FOUND: &str = "SYS.1003";

#[actix_rt::test]
async fn what_a_vip_is_not_for_is_refused() {
    let scene = Scene::new().await;
    let nobody = Id::of_name("nobody").to_string();
    let both = scene.public("both", "198.18.9.0/24").await;
    let six =
        json!({"l3NetworkUuid": both, "name": "six", "networkCidr": "fd00:9::/64", "addressMode": "Stateful-DHCP"});
    scene.world.done("AddIpv6RangeByNetworkCidr", six).await;
    let six = json!({"name": "vip", "l3NetworkUuid": both, "ipVersion": 6});
    let six = uuid(&scene.world.make("CreateVip", six).await);
    let disabled = scene.vip().await;
    scene.world.done("ChangeVipState", json!({"uuid": disabled, "stateEvent": "disable"})).await;
    let system = uuid(&scene.world.one("QueryVip", &["system=true"]).await);
    for (vip, code, words) in [
        (&nobody, NOT_FOUND, "no such VIP"),
        (&system, OPERATION, "system VIP"),
        (&disabled, OPERATION, "Disabled"),
        (&six, "SYS.1104", "IPv6"),
    ] {
        scene.refused("CreateEip", json!({"name": "eip", "vipUuid": vip}), code, &["vipUuid", vip, words]).await;
        scene.refused("CreatePortForwardingRule", rule(vip, 80), code, &["vipUuid", vip, words]).await;
    }
    let (vip, used) = (scene.vip().await, scene.eip(json!({})).await);
    let asked = |more: Value| with(json!({"name": "eip", "vipUuid": vip}), more);
    scene.refused("CreateEip", asked(json!({"usedIpUuid": nobody})), ARGUMENT, &["usedIpUuid", &nobody]).await;
    let own = asked(json!({"resourceUuid": uuid(&used)}));
    scene.refused("CreateEip", own, OPERATION, &["resourceUuid", &uuid(&used)]).await;
    let wrong = asked(json!({"vmNicUuid": scene.nic["uuid"], "usedIpUuid": nobody}));
    scene.refused("CreateEip", wrong, ARGUMENT, &["usedIpUuid", &nobody]).await;
    let right = asked(json!({"vmNicUuid": scene.nic["uuid"], "usedIpUuid": scene.nic["usedIpUuid"]}));
    scene.world.done("CreateEip", right).await;

    let vip = scene.vip().await;
    for (more, field, value) in [
        (json!({"vipPortEnd": 79}), "vipPortEnd", "79"),
        (json!({"vipPortEnd": 90, "privatePortStart": 65_530}), "privatePortStart", "65530"),
        (json!({"privatePortStart": 9, "privatePortEnd": 8}), "privatePortEnd", "8"),
        (json!({"privatePortStart": 9, "privatePortEnd": 10}), "privatePortEnd", "10"),
        (json!({"allowedCidr": "10.0.0.0/33"}), "allowedCidr", "10.0.0.0/33"),
        (json!({"allowedCidr": "fd00::/64"}), "allowedCidr", "fd00::/64"),
        (json!({"allowedCidr": "10.0.0.0/8; drop"}), "allowedCidr", "drop"),
        (json!({"protocolType": "ICMP"}), "protocolType", "ICMP"),
        (json!({"vipPortStart": 0}), "vipPortStart", "0"),
    ] {
        scene.refused("CreatePortForwardingRule", with(rule(&vip, 80), more), ARGUMENT, &[field, value]).await;
    }
    for (name, field) in [
        ("DetachEip", "uuid"),
        ("UpdateEip", "uuid"),
        ("DetachPortForwardingRule", "uuid"),
        ("UpdatePortForwardingRule", "uuid"),
    ] {
        scene.refused(name, json!({field: nobody}), NOT_FOUND, &[field, &nobody]).await;
    }
    for name in ["ChangeEipState", "ChangePortForwardingRuleState"] {
        scene.refused(name, json!({"uuid": nobody, "stateEvent": "enable"}), NOT_FOUND, &["uuid", &nobody]).await;
    }
    let read = scene.world.node.read(&admin(), "GetEipAttachableVmNics", json!({})).await.unwrap_err();
    assert_eq!((read.code.as_str(), read.field.as_deref()), (ARGUMENT, Some("eipUuid")));
}

#[actix_rt::test]
async fn a_nic_that_cannot_be_served_is_refused() {
    let scene = Scene::new().await;
    let (world, site) = (&scene.world, &scene.site);
    let nobody = Id::of_name("nobody").to_string();
    let (vip, eip) = (scene.vip().await, uuid(&scene.eip(json!({})).await));
    let router = world.router_of(&scene.guest).await;
    let plain = site.guest("plain", &["DHCP"]).await;
    let on_plain = site.vm("plain", &plain).await;
    let outside = json!({"name": "outside", "l3NetworkUuids": [site.public, plain]});
    let outside = world.make("CreateVmInstance", outside).await;
    let l2 = site.l2("six").await;
    let only_six = uuid(&world.make("CreateL3Network", json!({"name": "six", "l2NetworkUuid": l2})).await);
    let range = json!({"l3NetworkUuid": only_six, "name": "six", "networkCidr": "fd00:8::/64", "addressMode": "SLAAC"});
    world.done("AddIpv6RangeByNetworkCidr", range).await;
    let six = site.vm("six", &only_six).await;
    for (nic, code, words) in [
        (nobody, NOT_FOUND, "no such nic"),
        (uuid(&router["vmNics"][0]), NOT_FOUND, "no such nic"),
        (uuid(&outside["vmNics"][0]), ARGUMENT, "another network"),
        (uuid(&six["vmNics"][0]), OPERATION, "no IPv4 address"),
        (uuid(&on_plain["vmNics"][0]), OPERATION, "by a virtual router"),
    ] {
        let attach = json!({"eipUuid": eip, "vmNicUuid": nic});
        scene.refused("AttachEip", attach, code, &["vmNicUuid", &nic, words]).await;
        let rule = with(rule(&vip, 80), json!({"vmNicUuid": nic}));
        scene.refused("CreatePortForwardingRule", rule, code, &["vmNicUuid", &nic, words]).await;
    }
    let second = json!({"eipUuid": eip, "vmNicUuid": outside["vmNics"][1]["uuid"]});
    scene.refused("AttachEip", second, ARGUMENT, &["public network", &site.public]).await;

    // Its router is not on the VIP's network: one that there is, and one that would be made.
    let elsewhere = scene.public("elsewhere", "198.18.0.0/24").await;
    let away = uuid(&scene.vip_of(&elsewhere).await);
    let attach = json!({"name": "eip", "vipUuid": away, "vmNicUuid": scene.nic["uuid"]});
    let refusal = world.refused("CreateEip", attach.clone()).await;
    assert!(refusal.detail.contains(&uuid(&router)) && refusal.code == OPERATION, "{refusal}");
    assert!(refusal.hint.unwrap().contains(&format!("guestL3Network::{}", scene.guest)));
    world.done("StopVmInstance", json!({"uuid": scene.vm})).await;
    world.done("DestroyVmInstance", json!({"uuid": uuid(&router)})).await;
    scene.refused("CreateEip", attach.clone(), OPERATION, &["offering", &elsewhere]).await;
    world.done("StartVmInstance", json!({"uuid": scene.vm})).await;
    let router = uuid(&world.router_of(&scene.guest).await);
    world.done("AttachL3NetworkToVm", json!({"vmInstanceUuid": router, "l3NetworkUuid": elsewhere})).await;
    let served = world.make("CreateEip", attach).await;
    let sections = world.sections(&router).await;
    assert_eq!(sections["eips"]["eips"][0]["vipAddress"], served["vipIp"]);
    assert_eq!(sections["eips"]["eips"][0]["publicInterface"], "eth3");
    // The VM has an address there, and gets no nic besides.
    let nic = json!({"vmInstanceUuid": scene.vm, "l3NetworkUuid": elsewhere});
    scene.refused("AttachL3NetworkToVm", nic, OPERATION, &["l3NetworkUuid", &elsewhere, &uuid(&served)]).await;
    scene
        .refused(
            "AttachEip",
            json!({"eipUuid": uuid(&served), "vmNicUuid": scene.nic["uuid"]}),
            OPERATION,
            &["eipUuid", "already"],
        )
        .await;

    // What is disabled is not attached, and what is attached is not attached again.
    world.done("ChangeEipState", json!({"uuid": eip, "stateEvent": "disable"})).await;
    let attach = json!({"eipUuid": eip, "vmNicUuid": scene.nic["uuid"]});
    scene.refused("AttachEip", attach, OPERATION, &["eipUuid", &eip, "Disabled"]).await;
    let rule = uuid(&scene.rule(&vip, 80, json!({})).await);
    let attach = json!({"ruleUuid": rule, "vmNicUuid": scene.nic["uuid"]});
    scene.refused("DetachPortForwardingRule", json!({"uuid": rule}), OPERATION, &["uuid", &rule]).await;
    let state = |event: &str| json!({"uuid": rule, "stateEvent": event});
    world.done("ChangePortForwardingRuleState", state("disable")).await;
    scene.refused("AttachPortForwardingRule", attach.clone(), OPERATION, &["ruleUuid", &rule, "Disabled"]).await;
    world.done("ChangePortForwardingRuleState", state("enable")).await;
    world.done("AttachPortForwardingRule", attach.clone()).await;
    scene.refused("AttachPortForwardingRule", attach, OPERATION, &["ruleUuid", &rule, "already"]).await;

    // Nor while something is under way.
    let host = text(&world.get("QueryVmInstance", &scene.vm).await, "hostUuid");
    world.fleet().hang(id(&host), true);
    world.durable("StopVmInstance", json!({"uuid": scene.vm})).await;
    let more = with(self::rule(&vip, 90), json!({"vmNicUuid": scene.nic["uuid"]}));
    scene.refused("CreatePortForwardingRule", more, OPERATION, &["vmNicUuid", "Stopping"]).await;
    world.fleet().hang(id(&host), false);
}

#[actix_rt::test]
async fn of_many_clients_one_gets_the_vip_or_the_port() {
    const CLIENTS: usize = 64;
    let scene = Scene::new().await;
    let (alone, shared) = (scene.vip().await, scene.vip().await);
    let made = async |name: &'static str, parameters: Vec<Value>| {
        let commands = parameters.into_iter().map(|parameters| (name, parameters)).collect();
        let answers = scene.world.at_once(commands).await;
        for refusal in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            assert!(matches!(refusal.code.as_str(), ARGUMENT | OPERATION), "{refusal}");
        }
        answers.iter().filter(|answer| answer.is_ok()).count()
    };
    let eips = (0..CLIENTS).map(|_| json!({"name": "eip", "vipUuid": alone, "vmNicUuid": scene.nic["uuid"]}));
    assert_eq!(made("CreateEip", eips.collect()).await, 1);
    let ports = (0..CLIENTS as u16).map(|n| with(rule(&shared, 100 - n % 8), json!({"vipPortEnd": 100 + n % 8})));
    assert_eq!(made("CreatePortForwardingRule", ports.collect()).await, 1);
    let either = (0..CLIENTS).map(|n| {
        let cidr = (n % 2 == 0).then_some("198.51.100.0/24");
        let port = 200 + n as u16;
        with(rule(&shared, port), json!({"privatePortStart": 80, "vmNicUuid": scene.nic["uuid"], "allowedCidr": cidr}))
    });
    // With an EIP on the nic there is none with an allowed CIDR; the others share the private port.
    assert_eq!(made("CreatePortForwardingRule", either.collect()).await, CLIENTS / 2);
    let delete = scene.world.at_once(vec![
        ("DeleteVip", json!({"uuid": shared, "deleteMode": "Enforcing"})),
        ("CreatePortForwardingRule", rule(&shared, 9)),
        ("DeleteVip", json!({"uuid": shared, "deleteMode": "Enforcing"})),
    ]);
    delete.await;
    scene.world.done("DeleteVip", json!({"uuid": shared, "deleteMode": "Enforcing"})).await;
    assert!(scene.world.query("QueryPortForwardingRule", &[]).await.is_empty());
    assert_eq!(scene.world.query("QueryEip", &[]).await.len(), 1);
    scene.world.one_holder_each().await;
}

#[actix_rt::test]
async fn a_router_is_told_what_differs_and_all_where_it_holds_something_else() {
    let scene = Scene::new().await;
    let (vip, nic) = (scene.vip().await, json!({"vmNicUuid": scene.nic["uuid"]}));
    for port in 80..88 {
        scene.rule(&vip, port, nic.clone()).await;
    }
    let fleet = scene.world.fleet();
    let (router, _, engine) = fleet.router_engines().remove(0);
    let told = || {
        let texts = fleet.texts();
        let changes = texts.into_iter().find(|((of, name), _)| *of == router.0 && name.ends_with("last-good.changes"));
        changes.map_or(0, |(_, text)| text.lines().count())
    };
    assert!((1..8).contains(&told()), "{} differences", told());
    let sections = || serde_json::from_value::<Sections>(engine.held().sections).unwrap();
    // Somebody else tells it something.
    let held = engine.held();
    let mut other = RouterConfig { router, revision: held.revision, sections: sections() };
    other.sections.port_forwarding.rules.remove(0);
    engine.put(push_of_router(&other, held.epoch), false).unwrap();
    assert_eq!(told(), 0);
    scene.rule(&vip, 88, nic).await;
    // In the order of their ids, which have the millisecond of their making and then chance.
    let mut ports: Vec<u16> = sections().port_forwarding.rules.iter().map(|rule| rule.vip_port_start).collect();
    ports.sort_unstable();
    assert_eq!((ports, told()), ((80..=88).collect(), 0));
}

#[actix_rt::test]
async fn what_uses_a_vip_is_shown_and_found_now_and_then() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let nic = json!({"vmNicUuid": scene.nic["uuid"]});
    let eip = scene.eip(nic.clone()).await;
    let vip = scene.vip().await;
    let rules = [
        scene.rule(&vip, 80, nic.clone()).await,
        scene.rule(&vip, 81, json!({"protocolType": "UDP", "vipPortEnd": 89, "allowedCidr": "0.0.0.0/0"})).await,
    ];
    let router = uuid(&world.router_of(&scene.guest).await);
    for (field, value) in [
        ("guestIp", &scene.nic["ip"]),
        ("state", &json!("Enabled")),
        ("vmNicUuid", &scene.nic["uuid"]),
        ("vipUuid", &world.one("QueryVip", &["useFor=Eip"]).await["uuid"]),
    ] {
        assert_eq!(eip[field], *value, "{field}");
    }
    for (field, value) in [
        ("vipPortStart", json!(81)),
        ("vipPortEnd", json!(89)),
        ("privatePortStart", json!(81)),
        ("privatePortEnd", json!(89)),
        ("protocolType", json!("UDP")),
        ("allowedCidr", json!("0.0.0.0/0")),
        ("guestIp", Value::Null),
    ] {
        assert_eq!(rules[1][field], value, "{field}");
    }
    let used = world.get("QueryVip", &vip).await;
    assert_eq!(used["useFor"], "PortForwarding");
    let mut refs: Vec<String> = used["servicesRefs"].as_array().unwrap().iter().map(uuid).collect();
    refs.sort();
    let mut both = rules.each_ref().map(uuid);
    both.sort();
    assert_eq!(refs, both);
    let conditions = |name: &'static str| match name {
        "QueryVmInstance" => {
            vec![format!("vmNics.eip.vip.ip={}", text(&eip, "vipIp")), format!("vmNics.portForwarding.vip.uuid={vip}")]
        }
        "QueryVip" => {
            vec![format!("portForwarding.vmNic.vmInstanceUuid={}", scene.vm), format!("virtualRouter.uuid={router}")]
        }
        _ => vec![
            format!("eip.vipIp={}", text(&eip, "vipIp")),
            format!("vip.uuid={vip}"),
            format!("portForwarding.uuid={}", uuid(&rules[0])),
        ],
    };
    let then = world.head();
    for at in [None, Some(then)] {
        for (name, count) in [("QueryVmInstance", 1), ("QueryVirtualRouterVm", 1), ("QueryVip", 1)] {
            for condition in conditions(name) {
                let found = world.query_at(name, &[&condition, "uuid!=0", "name!=vip-for-x"], at).await;
                let found = found.iter().filter(|row| row["system"] != true).count();
                let many = if condition.starts_with("virtualRouter") { 2 } else { count };
                assert_eq!(found, many, "{name} {condition} at {at:?}");
            }
        }
        if at.is_none() {
            world.refused("DeleteVip", json!({"uuid": vip})).await;
            let blockers = world.refused("DeleteVip", json!({"uuid": eip["vipUuid"]})).await.blockers;
            assert_eq!(blockers[0].resource_type, "eip");
            for vip in [&json!(vip), &eip["vipUuid"]] {
                world.done("DeleteVip", json!({"uuid": vip, "deleteMode": "Enforcing"})).await;
            }
            assert!(world.query("QueryVip", &["system=false"]).await.is_empty());
            assert!(world.query("QueryVmInstance", &["vmNics.eip.uuid!=null"]).await.is_empty());
        }
    }
    let replayed = world.read("ReplayInventories", json!({})).await;
    for kind in replayed["inventories"].as_array().unwrap() {
        assert_eq!(kind["same"], true, "{kind}");
    }
}

#[actix_rt::test]
async fn services_lead_nowhere_when_their_nic_goes_moves_or_loses_its_address() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let six =
        json!({"l3NetworkUuid": scene.guest, "name": "six", "networkCidr": "fd00:7::/64", "addressMode": "SLAAC"});
    world.done("AddIpv6RangeByNetworkCidr", six).await;
    let other = scene.site.guest("other", SERVICES).await;
    let range = world.one("QueryIpRange", &[&format!("l3NetworkUuid={}", scene.guest), "ipVersion=4"]).await;
    let (vip, eip) = (scene.vip().await, uuid(&scene.eip(json!({})).await));
    let rule = uuid(&scene.rule(&vip, 80, json!({})).await);
    for end in ["ChangeVmNicNetwork", "DestroyVmInstance", "DeleteIpRange"] {
        let vm = scene.site.vm("vm", &scene.guest).await;
        let nic = uuid(&vm["vmNics"][0]);
        world.done("AttachEip", json!({"eipUuid": eip, "vmNicUuid": nic})).await;
        world.done("AttachPortForwardingRule", json!({"ruleUuid": rule, "vmNicUuid": nic})).await;
        assert_eq!(
            world
                .query("QueryVip", &["peerL3NetworkUuids!=null", "system=false", "serviceProvider=VirtualRouter"])
                .await
                .len(),
            2
        );
        world
            .done(
                end,
                match end {
                    "ChangeVmNicNetwork" => json!({"vmNicUuid": nic, "destL3NetworkUuid": other}),
                    "DestroyVmInstance" => json!({"uuid": uuid(&vm)}),
                    _ => json!({"uuid": uuid(&range), "deleteMode": "Enforcing"}),
                },
            )
            .await;
        for (name, id) in [("QueryEip", &eip), ("QueryPortForwardingRule", &rule)] {
            let left = world.get(name, id).await;
            assert_eq!((&left["vmNicUuid"], &left["guestIp"]), (&Value::Null, &Value::Null), "{end}: {left}");
        }
        assert!(world.query("QueryVip", &["system=false", "serviceProvider=VirtualRouter"]).await.is_empty(), "{end}");
    }
}

#[actix_rt::test]
async fn a_disabled_service_is_on_no_router_and_keeps_its_nic() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let nic = json!({"vmNicUuid": scene.nic["uuid"]});
    let eip = uuid(&scene.eip(nic.clone()).await);
    let vip = scene.vip().await;
    let rule = uuid(&scene.rule(&vip, 80, with(nic, json!({"vipPortEnd": 81}))).await);
    let router = uuid(&world.router_of(&scene.guest).await);
    let sections = async || world.sections(&router).await;
    let whole = sections().await;
    assert_eq!(whole["portForwarding"]["rules"][0]["protocol"], "tcp");
    for (name, id, section) in
        [("ChangeEipState", &eip, "eips"), ("ChangePortForwardingRuleState", &rule, "portForwarding")]
    {
        for (event, there) in [("disable", false), ("disable", false), ("enable", true), ("enable", true)] {
            world.done(name, json!({"uuid": id, "stateEvent": event})).await;
            assert_eq!(sections().await[section].is_object(), there, "{name} {event}");
        }
    }
    assert_eq!(sections().await, whole);
    // The network's services count too, and so does the configuration.
    for service in ["Eip", "PortForwarding"] {
        let services = json!({"l3NetworkUuid": scene.guest, "networkServices": {"VirtualRouter": [service]}});
        world.done("DetachNetworkServiceFromL3Network", services.clone()).await;
        assert_ne!(sections().await, whole);
        world.done("AttachNetworkServiceToL3Network", services).await;
        assert_eq!(sections().await, whole);
    }
    let before = world.head();
    for (category, section, list) in [("eip", "eips", "eips"), ("portForwarding", "portForwarding", "rules")] {
        world.configure(category, "snatInboundTraffic", "true").await;
        assert_eq!(sections().await[section][list][0]["snatInboundTraffic"], true, "{category}");
    }
    let then = world.read("GetVirtualRouterConfig", json!({"uuid": router, "at": before.to_string()})).await;
    assert_eq!(then["config"]["sections"], whole);
    for (name, id) in [("UpdateEip", &eip), ("UpdatePortForwardingRule", &rule)] {
        let changed = world.make(name, json!({"uuid": id, "name": "other", "description": "d"})).await;
        assert_eq!((&changed["name"], &changed["description"]), (&json!("other"), &json!("d")));
    }
}

#[actix_rt::test]
async fn candidates_are_what_would_not_be_refused() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let plain = scene.site.guest("plain", &["DHCP"]).await;
    let unserved = scene.site.vm("unserved", &plain).await;
    let second = scene.site.vm("second", &scene.guest).await;
    let (vip, eip) = (scene.vip().await, uuid(&scene.eip(json!({})).await));
    let rule = uuid(&scene.rule(&vip, 80, json!({})).await);
    let uuids = async |name: &str, parameters: Value| -> Vec<String> {
        let found = world.read(name, parameters).await;
        let mut found: Vec<String> = found["inventories"].as_array().unwrap().iter().map(uuid).collect();
        found.sort();
        found
    };
    let mut both = vec![text(&scene.nic, "uuid"), uuid(&second["vmNics"][0])];
    both.sort();
    let free = scene.vip().await;
    assert_eq!(uuids("GetEipAttachableVmNics", json!({"eipUuid": eip})).await, both);
    assert_eq!(uuids("GetEipAttachableVmNics", json!({"vipUuid": free})).await, both);
    assert_eq!(uuids("GetPortForwardingAttachableVmNics", json!({"ruleUuid": rule})).await, both);
    for (more, count) in [
        (json!({"vmUuid": scene.vm}), 1),
        (json!({"vmName": "second"}), 1),
        (json!({"networkServiceProvider": "VirtualRouter"}), 2),
        (json!({"networkServiceProvider": "Flat"}), 0),
    ] {
        let found = uuids("GetEipAttachableVmNics", with(json!({"eipUuid": eip}), more.clone())).await;
        assert_eq!(found.len(), count, "{more}");
    }
    assert_eq!(uuids("GetEipAttachableVmNics", json!({"vipUuid": vip})).await, [""; 0]);
    let on = |nic: &Value, version: Option<u8>| json!({"vmNicUuid": nic["uuid"], "ipVersion": version});
    assert_eq!(uuids("GetVmNicAttachableEips", on(&scene.nic, None)).await, std::slice::from_ref(&eip));
    assert_eq!(uuids("GetVmNicAttachableEips", on(&scene.nic, Some(6))).await, [""; 0]);
    assert_eq!(uuids("GetVmNicAttachableEips", on(&unserved["vmNics"][0], None)).await, [""; 0]);
    world.done("AttachEip", json!({"eipUuid": eip, "vmNicUuid": scene.nic["uuid"]})).await;
    world.done("AttachPortForwardingRule", json!({"ruleUuid": rule, "vmNicUuid": scene.nic["uuid"]})).await;
    assert_eq!(uuids("GetEipAttachableVmNics", json!({"eipUuid": eip})).await, [""; 0]);
    assert_eq!(uuids("GetPortForwardingAttachableVmNics", json!({"ruleUuid": rule})).await, [""; 0]);
    assert_eq!(uuids("GetVmNicAttachableEips", on(&second["vmNics"][0], Some(4))).await, [""; 0]);
}

#[actix_rt::test]
async fn an_account_has_services_of_its_own_up_to_its_quotas() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let (bob, eve) = (Tenant::new(world, "bob").await, Tenant::new(world, "eve").await);
    let l2 = scene.site.l2("tenants").await;
    share(world, &[&l2, &scene.site.public], &[&bob]).await;
    let l3 = bob.network(&l2, "10.61.0.0/24").await;
    let services = json!({"l3NetworkUuid": l3, "networkServices": {"VirtualRouter": ["Eip", "PortForwarding"]}});
    bob.done("AttachNetworkServiceToL3Network", services).await;
    let nic = bob.vm(&l3).await["vmNics"][0]["uuid"].clone();
    let vip = async || uuid(&bob.make("CreateVip", json!({"name": "v", "l3NetworkUuid": scene.site.public})).await);
    for name in ["eip.num", "portForwarding.num"] {
        world.done("UpdateQuota", json!({"identityUuid": bob.uuid, "name": name, "value": 1})).await;
    }
    let foreign = json!({"name": "e", "vipUuid": vip().await, "vmNicUuid": scene.nic["uuid"]});
    assert_eq!(bob.refused("CreateEip", foreign).await.code, NOT_FOUND);
    let eip = bob.make("CreateEip", json!({"name": "e", "vipUuid": vip().await, "vmNicUuid": nic})).await;
    let refusal = bob.refused("CreateEip", json!({"name": "e", "vipUuid": vip().await})).await;
    assert!(refusal.detail.contains("eip.num"), "{refusal}");
    let shared = vip().await;
    bob.make("CreatePortForwardingRule", with(rule(&shared, 80), json!({"vmNicUuid": nic}))).await;
    let refusal = bob.refused("CreatePortForwardingRule", rule(&shared, 81)).await;
    assert!(refusal.detail.contains("portForwarding.num"), "{refusal}");
    assert_eq!((bob.query("QueryEip", &[]).await.len(), eve.query("QueryEip", &[]).await.len()), (1, 0));
    assert_eq!(eve.query("QueryPortForwardingRule", &[]).await.len(), 0);
    assert_eq!(eve.refused("DetachEip", json!({"uuid": uuid(&eip)})).await.code, NOT_FOUND);
    assert_eq!(bob.query("QueryVip", &["useFor=Eip"]).await[0]["servicesRefs"][0]["uuid"], eip["uuid"]);
    let blockers = world.refused("DeleteAccount", json!({"uuid": bob.uuid})).await.blockers;
    assert!(blockers.iter().any(|one| one.resource_type == "port_forwarding"), "{blockers:?}");
    bob.done("DetachEip", json!({"uuid": uuid(&eip)})).await;
    bob.done("DeleteEip", json!({"uuid": uuid(&eip), "deleteMode": "Enforcing"})).await;
}
