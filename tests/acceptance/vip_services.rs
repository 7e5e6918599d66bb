//! Sections H and I, and what of G, L and M is about VIPs: EIPs, port forwarding and limits by virtual routers.

use crate::harness::{Site, World, id, text, uuid};
use serde_json::{Value, json};

const SERVICES: &[&str] = &["DHCP", "DNS", "SNAT", "Eip", "PortForwarding"];

/// A data centre with a guest network whose router serves VIPs, and one VM there.
struct Scene {
    world: World,
    site: Site,
    guest: String,
    vm: String,
    nic: String,
    ip: String,
}

impl Scene {
    async fn new() -> Scene {
        let world = World::new();
        let site = Site::new(&world).await;
        let guest = site.guest("guest", SERVICES).await;
        let vm = site.vm("vm", &guest).await;
        let (nic, ip) = (uuid(&vm["vmNics"][0]), text(&vm["vmNics"][0], "ip"));
        Scene { world, site, guest, vm: uuid(&vm), nic, ip }
    }

    async fn vip(&self) -> Value {
        self.world.make("CreateVip", json!({"name": "vip", "l3NetworkUuid": self.site.public})).await
    }

    /// An EIP with a VIP of its own, attached where a nic is given.
    async fn eip(&self, nic: Option<&str>) -> Value {
        let vip = uuid(&self.vip().await);
        self.world.make("CreateEip", json!({"name": "eip", "vipUuid": vip, "vmNicUuid": nic})).await
    }

    /// The parameters of a TCP rule for one port.
    fn rule(&self, vip: &str, port: u16, more: Value) -> Value {
        let mut rule = json!({"name": "rule", "vipUuid": vip, "vipPortStart": port, "protocolType": "TCP"});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rule
    }

    async fn router(&self) -> String {
        uuid(&self.world.router_of(&self.guest).await)
    }

    /// What the router's configuration says of VIPs: the addresses, the EIPs as pairs, and the rules as triples.
    async fn served(&self) -> (Vec<String>, Vec<(String, String)>, Vec<(u64, String, u64)>) {
        let sections = self.world.sections(&self.router().await).await;
        let list = |section: &str, name: &str| sections[section][name].as_array().cloned().unwrap_or_default();
        let vips = list("vips", "addresses").iter().map(|one| text(one, "address").replace("/24", "")).collect();
        let eips =
            list("eips", "eips").iter().map(|one| (text(one, "vipAddress"), text(one, "guestAddress"))).collect();
        let rule = |one: &Value| {
            let port = |name: &str| one[name].as_u64().unwrap();
            (port("vipPortStart"), text(one, "guestAddress"), port("privatePortStart"))
        };
        (vips, eips, list("portForwarding", "rules").iter().map(rule).collect())
    }

    async fn done(&self, name: &str, uuid: &str) {
        self.world.done(name, json!({"uuid": uuid})).await;
    }

    async fn conflicts(&self, name: &str, parameters: Value, words: &str) {
        let refusal = self.world.refused(name, parameters).await;
        assert!(refusal.code == "SYS.1006" && refusal.detail.contains(words), "{words}: {refusal}");
    }
}

#[actix_rt::test]
async fn h1_a_new_router_gets_the_eips_of_the_old_one() {
    let scene = Scene::new().await;
    let eip = scene.eip(Some(&scene.nic)).await;
    let pair = (text(&eip, "vipIp"), scene.ip.clone());
    assert_eq!(scene.served().await, (vec![pair.0.clone()], vec![pair.clone()], vec![]));
    let first = scene.router().await;
    scene.done("DestroyVmInstance", &first).await;
    assert_eq!(scene.world.get("QueryEip", &uuid(&eip)).await["guestIp"], json!(scene.ip));
    scene.done("RebootVmInstance", &scene.vm).await;
    let second = scene.router().await;
    assert_ne!(first, second);
    assert_eq!(scene.served().await.1, [pair]);
    assert_eq!(scene.world.found_through("QueryVirtualRouterVm", &format!("eip.uuid={}", uuid(&eip))).await, [second]);
}

#[actix_rt::test]
async fn h2_with_the_public_network_its_vips_and_eips_go() {
    let scene = Scene::new().await;
    scene.eip(Some(&scene.nic)).await;
    scene.eip(None).await;
    let public = json!({"uuid": scene.site.public});
    assert!(scene.world.refused("DeleteL3Network", public).await.detail.contains("vip"));
    let enforcing = json!({"uuid": scene.site.public, "deleteMode": "Enforcing"});
    scene.world.done("DeleteL3Network", enforcing).await;
    assert!(scene.world.query("QueryVip", &[]).await.is_empty() && scene.world.query("QueryEip", &[]).await.is_empty());
    assert_eq!(scene.world.get("QueryVmInstance", &scene.vm).await["state"], "Running");
}

#[actix_rt::test]
async fn h4_an_eip_whose_vip_lies_in_the_guest_subnet_is_refused() {
    let scene = Scene::new().await;
    let inside = scene.ip.rsplit_once('.').unwrap().0.to_string();
    let wide = scene.site.network("wide", &format!("{inside}.0/24")).await;
    let vip = scene.world.make("CreateVip", json!({"name": "vip", "l3NetworkUuid": wide})).await;
    let eip = json!({"name": "eip", "vipUuid": uuid(&vip), "vmNicUuid": scene.nic});
    scene.conflicts("CreateEip", eip, "guest subnet").await;
}

#[actix_rt::test]
async fn h5_an_eip_stays_without_its_nic() {
    let scene = Scene::new().await;
    let eip = uuid(&scene.eip(Some(&scene.nic)).await);
    scene.world.done("DetachL3NetworkFromVm", json!({"vmNicUuid": scene.nic})).await;
    let left = scene.world.get("QueryEip", &eip).await;
    assert_eq!((&left["vmNicUuid"], &left["guestIp"]), (&Value::Null, &Value::Null));
    assert_eq!(scene.served().await, (vec![], vec![], vec![]));
    // The same where the guest network goes.
    let vm = scene.site.vm("other", &scene.guest).await;
    let attach = json!({"eipUuid": eip, "vmNicUuid": uuid(&vm["vmNics"][0])});
    let attached = scene.world.make("AttachEip", attach).await;
    assert_eq!(attached["guestIp"], vm["vmNics"][0]["ip"]);
    scene.world.done("DeleteL3Network", json!({"uuid": scene.guest, "deleteMode": "Enforcing"})).await;
    let left = scene.world.get("QueryEip", &eip).await;
    assert_eq!((&left["vmNicUuid"], &left["guestIp"], &left["state"]), (&Value::Null, &Value::Null, &json!("Enabled")));
}

#[actix_rt::test]
async fn h7_a_vip_carries_one_eip() {
    let scene = Scene::new().await;
    let eip = scene.eip(Some(&scene.nic)).await;
    let second = json!({"name": "second", "vipUuid": eip["vipUuid"]});
    scene.conflicts("CreateEip", second, "occupied by Eip").await;
}

#[actix_rt::test]
async fn h8_the_backend_is_asked_only_for_vms_that_run() {
    let scene = Scene::new().await;
    for (command, state, asked) in [
        (None, "Running", true),
        (Some("PauseVmInstance"), "Paused", true),
        (Some("ResumeVmInstance"), "Running", true),
        (Some("StopVmInstance"), "Stopped", false),
    ] {
        if let Some(command) = command {
            scene.done(command, &scene.vm).await;
        }
        assert_eq!(scene.world.get("QueryVmInstance", &scene.vm).await["state"], state);
        let eip = scene.eip(None).await;
        let attach = json!({"eipUuid": uuid(&eip), "vmNicUuid": scene.nic});
        assert_eq!(scene.world.make("AttachEip", attach).await["guestIp"], json!(scene.ip));
        assert_eq!(scene.served().await.1.len(), usize::from(asked), "{state}");
        scene.done("DeleteEip", &uuid(&eip)).await;
        assert_eq!(scene.served().await.0, [""; 0]);
    }
}

#[actix_rt::test]
async fn h11_an_eip_of_a_stopped_vm_is_detached() {
    let scene = Scene::new().await;
    let eip = uuid(&scene.eip(Some(&scene.nic)).await);
    scene.done("StopVmInstance", &scene.vm).await;
    scene.done("DetachEip", &eip).await;
    scene.conflicts("DetachEip", json!({"uuid": eip}), "no nic").await;
    scene.done("StartVmInstance", &scene.vm).await;
    assert_eq!(scene.served().await, (vec![], vec![], vec![]));
}

#[actix_rt::test]
async fn h16_an_eip_has_its_vip_alone_other_services_may_share_one() {
    let scene = Scene::new().await;
    let vip = text(&scene.eip(None).await, "vipUuid");
    let rule = scene.rule(&vip, 80, json!({}));
    scene.conflicts("CreatePortForwardingRule", rule, "occupied by Eip").await;
    let other = uuid(&scene.vip().await);
    for port in [80, 81] {
        scene.world.done("CreatePortForwardingRule", scene.rule(&other, port, json!({}))).await;
    }
    let eip = json!({"name": "eip", "vipUuid": other});
    scene.conflicts("CreateEip", eip, "occupied by PortForwarding").await;
    assert_eq!(scene.world.get("QueryVip", &other).await["useFor"], "PortForwarding");
}

#[actix_rt::test]
async fn g16_a_reconnected_router_gets_all_vips() {
    let scene = Scene::new().await;
    let eip = scene.eip(Some(&scene.nic)).await;
    let vip = uuid(&scene.vip().await);
    let other = scene.site.vm("other", &scene.guest).await;
    let rule = scene.rule(&vip, 80, json!({"vmNicUuid": uuid(&other["vmNics"][0])}));
    scene.world.done("CreatePortForwardingRule", rule).await;
    let before = scene.served().await;
    assert_eq!(before.0.len(), 2);
    let router = scene.router().await;
    scene.world.done("ReconnectVirtualRouter", json!({"vmInstanceUuid": router})).await;
    assert_eq!(scene.served().await, before);
    let drift = scene.world.read("GetVirtualRouterDrift", json!({"uuid": router})).await;
    assert!(!drift.to_string().contains(&text(&eip, "vipIp")), "{drift}");
}

#[actix_rt::test]
async fn g17_vips_on_the_router_follow_vm_and_eips() {
    let scene = Scene::new().await;
    let own = scene.world.query("QueryVip", &["system=true"]).await.len();
    let vips = async || own + scene.served().await.0.len();
    scene.eip(Some(&scene.nic)).await;
    assert_eq!(vips().await, 2);
    scene.done("StopVmInstance", &scene.vm).await;
    assert_eq!(vips().await, 1);
    scene.eip(Some(&scene.nic)).await;
    assert_eq!(vips().await, 1);
    scene.done("StartVmInstance", &scene.vm).await;
    assert_eq!(vips().await, 3);
}

#[actix_rt::test]
async fn i1_private_ports_that_overlap_and_allowed_cidrs_exclude_each_other() {
    let scene = Scene::new().await;
    let vip = uuid(&scene.vip().await);
    let attached = |port: u16, more: Value| {
        let mut rule = scene.rule(&vip, port, json!({"vmNicUuid": scene.nic}));
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rule
    };
    let guarded = || json!({"vipPortEnd": 109, "privatePortStart": 10, "allowedCidr": "198.51.100.0/24"});
    let open = || json!({"vipPortEnd": 209, "privatePortStart": 15});
    for (first, second) in [((100, guarded()), (200, open())), ((200, open()), (100, guarded()))] {
        let rule = uuid(&scene.world.make("CreatePortForwardingRule", attached(first.0, first.1)).await);
        scene.conflicts("CreatePortForwardingRule", attached(second.0, second.1), "allowedCidr").await;
        scene.done("DeletePortForwardingRule", &rule).await;
    }
    // Open ones may lead to the same port, and other protocols are others.
    scene.world.done("CreatePortForwardingRule", attached(200, open())).await;
    scene.world.done("CreatePortForwardingRule", attached(300, json!({"privatePortStart": 15}))).await;
    let mut udp = attached(100, guarded());
    udp["protocolType"] = json!("UDP");
    scene.world.done("CreatePortForwardingRule", udp).await;
}

#[actix_rt::test]
async fn i2_an_eip_and_a_rule_with_an_allowed_cidr_exclude_each_other() {
    let scene = Scene::new().await;
    let vip = uuid(&scene.vip().await);
    let guarded = scene.rule(&vip, 80, json!({"allowedCidr": "198.51.100.0/24"}));
    let rule = uuid(&scene.world.make("CreatePortForwardingRule", guarded).await);
    let attach = json!({"ruleUuid": rule, "vmNicUuid": scene.nic});
    let eip = uuid(&scene.eip(Some(&scene.nic)).await);
    scene.conflicts("AttachPortForwardingRule", attach.clone(), "EIP").await;
    scene.done("DetachEip", &eip).await;
    scene.world.done("AttachPortForwardingRule", attach).await;
    let attach = json!({"eipUuid": eip, "vmNicUuid": scene.nic});
    scene.conflicts("AttachEip", attach, "allowedCidr").await;
}

#[actix_rt::test]
async fn i4_the_vip_is_on_the_router_as_long_as_a_rule_is_attached() {
    let scene = Scene::new().await;
    let vip = scene.vip().await;
    let rule = uuid(&scene.world.make("CreatePortForwardingRule", scene.rule(&uuid(&vip), 80, json!({}))).await);
    let provider = async || scene.world.get("QueryVip", &uuid(&vip)).await["serviceProvider"].clone();
    assert_eq!((scene.served().await.0.len(), provider().await), (0, Value::Null));
    scene.world.done("AttachPortForwardingRule", json!({"ruleUuid": rule, "vmNicUuid": scene.nic})).await;
    assert_eq!(scene.served().await, (vec![text(&vip, "ip")], vec![], vec![(80, scene.ip.clone(), 80)]));
    assert_eq!(provider().await, "VirtualRouter");
    scene.done("DeletePortForwardingRule", &rule).await;
    assert_eq!((scene.served().await, provider().await), ((vec![], vec![], vec![]), Value::Null));
}

#[actix_rt::test]
async fn i5_a_rule_whose_backend_failed_leaves_no_trace() {
    let scene = Scene::new().await;
    scene.world.configure("virtualRouter", "ping.interval", "1").await;
    let vip = uuid(&scene.vip().await);
    let router = scene.router().await;
    scene.world.fleet().unreachable(id(&router), true);
    scene.world.until_is("QueryVirtualRouterVm", &router, "status", "Disconnected").await;
    let rule = scene.rule(&vip, 80, json!({"vmNicUuid": scene.nic}));
    assert_eq!(scene.world.refused("CreatePortForwardingRule", rule).await.code, "VR.1000");
    let eip = json!({"name": "eip", "vipUuid": vip, "vmNicUuid": scene.nic});
    assert_eq!(scene.world.refused("CreateEip", eip).await.code, "VR.1000");
    assert!(scene.world.query("QueryPortForwardingRule", &[]).await.is_empty());
    assert_eq!(scene.world.get("QueryVip", &vip).await["useFor"], Value::Null);
    scene.world.fleet().unreachable(id(&router), false);
}

#[actix_rt::test]
async fn i7_a_rule_stays_without_its_nic() {
    let scene = Scene::new().await;
    let vip = uuid(&scene.vip().await);
    let rule = scene.rule(&vip, 80, json!({"vmNicUuid": scene.nic}));
    let rule = uuid(&scene.world.make("CreatePortForwardingRule", rule).await);
    scene.world.done("DetachL3NetworkFromVm", json!({"vmNicUuid": scene.nic})).await;
    let left = scene.world.get("QueryPortForwardingRule", &rule).await;
    assert_eq!((&left["vmNicUuid"], &left["guestIp"]), (&Value::Null, &Value::Null));
    // The same where the router loses its nic on the VIP's network.
    let more = scene.site.network("more", "198.18.0.0/24").await;
    scene.world.done("UpdateL3Network", json!({"uuid": more, "category": "Public", "system": false})).await;
    let router = scene.router().await;
    let attach = json!({"vmInstanceUuid": router, "l3NetworkUuid": more});
    let nics = scene.world.make("AttachL3NetworkToVm", attach).await["vmNics"].clone();
    let vm = scene.site.vm("other", &scene.guest).await;
    let other = scene.world.make("CreateVip", json!({"name": "vip", "l3NetworkUuid": more})).await;
    let rule = scene.rule(&uuid(&other), 80, json!({"vmNicUuid": uuid(&vm["vmNics"][0])}));
    let rule = uuid(&scene.world.make("CreatePortForwardingRule", rule).await);
    assert_eq!(scene.served().await.0, [text(&other, "ip")]);
    scene.world.done("DetachL3NetworkFromVm", json!({"vmNicUuid": uuid(&nics[3])})).await;
    let left = scene.world.get("QueryPortForwardingRule", &rule).await;
    assert_eq!((&left["vmNicUuid"], &left["guestIp"]), (&Value::Null, &Value::Null));
    assert_eq!(scene.served().await, (vec![], vec![], vec![]));
}

#[actix_rt::test]
async fn i8_a_rule_follows_the_vms_address() {
    let scene = Scene::new().await;
    let vip = uuid(&scene.vip().await);
    let rule = scene.rule(&vip, 80, json!({"vmNicUuid": scene.nic}));
    let rule = uuid(&scene.world.make("CreatePortForwardingRule", rule).await);
    let eip = uuid(&scene.eip(Some(&scene.nic)).await);
    let ip = scene.ip.rsplit_once('.').unwrap().0.to_string() + ".200";
    let other = json!({"vmInstanceUuid": scene.vm, "l3NetworkUuid": scene.guest, "ip": ip});
    scene.world.done("SetVmStaticIp", other).await;
    assert_eq!(scene.world.get("QueryPortForwardingRule", &rule).await["guestIp"], json!(ip));
    assert_eq!(scene.world.get("QueryEip", &eip).await["guestIp"], json!(ip));
    let (_, eips, rules) = scene.served().await;
    assert_eq!((&eips[0].1, &rules[0].1), (&ip, &ip));
}

#[actix_rt::test]
async fn i10_two_vms_share_a_vip_by_ports() {
    let scene = Scene::new().await;
    let vip = uuid(&scene.vip().await);
    let other = scene.site.vm("other", &scene.guest).await;
    for (port, nic) in [(80, scene.nic.clone()), (81, uuid(&other["vmNics"][0]))] {
        let rule = scene.rule(&vip, port, json!({"vmNicUuid": nic, "privatePortStart": 8080}));
        scene.world.done("CreatePortForwardingRule", rule).await;
    }
    let ip = text(&other["vmNics"][0], "ip");
    let (vips, _, rules) = scene.served().await;
    assert_eq!((vips.len(), rules), (1, vec![(80, scene.ip.clone(), 8080), (81, ip, 8080)]));
    // Ports that overlap are refused, by true intersection.
    let overlapping = scene.rule(&vip, 70, json!({"vipPortEnd": 80}));
    let refusal = scene.world.refused("CreatePortForwardingRule", overlapping).await;
    assert_eq!((refusal.code.as_str(), refusal.field.as_deref()), ("SYS.1007", Some("vipPortStart")));
    let port = |port: u16, protocol: &str| json!({"vipUuid": vip, "port": port, "protocolType": protocol});
    for (asked, free) in [(port(80, "TCP"), false), (port(80, "UDP"), true), (port(82, "TCP"), true)] {
        assert_eq!(scene.world.read("CheckVipPortAvailability", asked).await["available"], json!(free));
    }
    // A VM of another network has another router.
    let away = scene.site.guest("away", SERVICES).await;
    let there = scene.site.vm("there", &away).await;
    let rule = scene.rule(&vip, 90, json!({"vmNicUuid": uuid(&there["vmNics"][0])}));
    scene.conflicts("CreatePortForwardingRule", rule, "one router").await;
}

#[actix_rt::test]
async fn i11_a_vms_rules_are_of_one_vip() {
    let scene = Scene::new().await;
    let vips = [uuid(&scene.vip().await), uuid(&scene.vip().await)];
    let on = |vip: &str| scene.rule(vip, 80, json!({"vmNicUuid": scene.nic}));
    scene.world.done("CreatePortForwardingRule", on(&vips[0])).await;
    scene.conflicts("CreatePortForwardingRule", on(&vips[1]), "one VIP only").await;
}

#[actix_rt::test]
async fn i13_a_rule_of_a_stopped_vm_is_applied_at_its_start() {
    let scene = Scene::new().await;
    let vip = uuid(&scene.vip().await);
    scene.done("StopVmInstance", &scene.vm).await;
    let rule = scene.rule(&vip, 80, json!({"vmNicUuid": scene.nic}));
    scene.world.done("CreatePortForwardingRule", rule).await;
    let shown = scene.world.get("QueryVip", &vip).await;
    assert_eq!((&shown["useFor"], &shown["peerL3NetworkUuids"]), (&json!("PortForwarding"), &json!([scene.guest])));
    assert!(scene.served().await.2.is_empty());
    scene.done("StartVmInstance", &scene.vm).await;
    assert_eq!(scene.served().await.2, [(80, scene.ip.clone(), 80)]);
}

#[actix_rt::test]
async fn i14_a_rule_is_revoked_twice_without_harm() {
    let scene = Scene::new().await;
    let vip = uuid(&scene.vip().await);
    let rule = scene.rule(&vip, 80, json!({"vmNicUuid": scene.nic}));
    let rule = uuid(&scene.world.make("CreatePortForwardingRule", rule).await);
    for _ in 0..2 {
        scene.done("DeletePortForwardingRule", &rule).await;
    }
    assert!(scene.served().await.2.is_empty());
}

#[actix_rt::test]
async fn m7_a_vip_stays_on_the_router_until_its_last_service_is_gone() {
    let scene = Scene::new().await;
    let vip = scene.vip().await;
    let mut rules = Vec::new();
    for port in [80, 90] {
        let rule = scene.rule(&uuid(&vip), port, json!({"vmNicUuid": scene.nic}));
        rules.push(uuid(&scene.world.make("CreatePortForwardingRule", rule).await));
    }
    for (rule, left) in rules.iter().zip([vec![text(&vip, "ip")], vec![]]) {
        scene.done("DeletePortForwardingRule", rule).await;
        assert_eq!(scene.served().await.0, left);
    }
    assert_eq!(scene.world.get("QueryVip", &uuid(&vip)).await["useFor"], Value::Null);
}

#[actix_rt::test]
async fn m8_public_and_private_port_ranges_have_one_size() {
    let scene = Scene::new().await;
    let vip = uuid(&scene.vip().await);
    let rule = |start: u16, end: u16| {
        scene.rule(&vip, 100, json!({"vipPortEnd": 200, "privatePortStart": start, "privatePortEnd": end}))
    };
    let refusal = scene.world.refused("CreatePortForwardingRule", rule(300, 300)).await;
    assert!(refusal.code == "SYS.1007" && refusal.detail.contains("size must match"), "{refusal}");
    scene.world.done("CreatePortForwardingRule", rule(300, 400)).await;
}

#[actix_rt::test]
async fn l2_a_vips_bandwidth_is_limited_both_ways() {
    let scene = Scene::new().await;
    let eip = scene.eip(Some(&scene.nic)).await;
    let limit = 8 * 1_000_000;
    let limits = json!({"uuid": eip["vipUuid"], "inboundBandwidth": limit, "outboundBandwidth": limit});
    scene.world.make("SetVipQos", limits).await;
    let told = &scene.world.sections(&scene.router().await).await["qos"]["limits"][0];
    let expected = (&eip["vipIp"], &json!(limit), &json!(limit));
    assert_eq!((&told["vipAddress"], &told["inbound"], &told["outbound"]), expected);
    // The packets are in `tests/lab` and in the tests of the agent.
    scene.done("DeleteVipQos", &text(&eip, "vipUuid")).await;
    assert!(scene.world.sections(&scene.router().await).await["qos"].is_null());
}
