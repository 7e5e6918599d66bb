//! Limits of VIPs: what is refused, what belongs to whom, what routers are told, and what is shown, now and then.

use crate::harness::{Site, World, admin, text, uuid};
use serde_json::{Value, json};
use switchback_bus::Bus;
use switchback_events::Id;

const SERVICES: &[&str] = &["DHCP", "DNS", "SNAT", "Eip", "PortForwarding"];
const MBIT: u64 = 1_000_000;

struct Scene {
    world: World,
    site: Site,
    guest: String,
    nic: String,
    vm: String,
}

impl Scene {
    async fn new() -> Scene {
        let world = World::new();
        let site = Site::new(&world).await;
        let guest = site.guest("guest", SERVICES).await;
        let vm = site.vm("vm", &guest).await;
        Scene { nic: uuid(&vm["vmNics"][0]), vm: uuid(&vm), world, site, guest }
    }

    async fn vip(&self) -> String {
        uuid(&self.world.make("CreateVip", json!({"name": "vip", "l3NetworkUuid": self.site.public})).await)
    }

    async fn limit(&self, vip: &str, more: Value) -> Value {
        let mut limit = json!({"uuid": vip});
        limit.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.world.make("SetVipQos", limit).await
    }

    /// Port, inbound and outbound of each limit that a VIP has.
    async fn limits(&self, vip: &str) -> Vec<[Value; 3]> {
        let found = self.world.read("GetVipQos", json!({"uuid": vip})).await;
        triples(&found["inventories"], ["port", "inboundBandwidth", "outboundBandwidth"])
    }

    /// The same of what the router is told.
    async fn told(&self) -> Vec<[Value; 3]> {
        let router = uuid(&self.world.router_of(&self.guest).await);
        let sections = self.world.sections(&router).await;
        triples(&sections["qos"]["limits"], ["port", "inbound", "outbound"])
    }
}

fn triples(list: &Value, fields: [&str; 3]) -> Vec<[Value; 3]> {
    let list = list.as_array().cloned().unwrap_or_default();
    list.iter().map(|one| fields.map(|field| one[field].clone())).collect()
}

#[actix_rt::test]
async fn limits_are_kept_by_the_vip_and_told_to_the_router_that_serves_it() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let vip = scene.vip().await;
    let made = scene.limit(&vip, json!({"inboundBandwidth": 20 * MBIT})).await;
    assert_eq!(
        (&made["vipUuid"], &made["port"], &made["outboundBandwidth"]),
        (&json!(vip), &Value::Null, &Value::Null)
    );
    // The other direction comes to it; the same again is nothing new.
    let both = scene.limit(&vip, json!({"outboundBandwidth": 10 * MBIT})).await;
    assert_eq!((&both["uuid"], &both["inboundBandwidth"]), (&made["uuid"], &json!(20 * MBIT)));
    let head = world.head();
    scene.limit(&vip, json!({"outboundBandwidth": 10 * MBIT})).await;
    assert_eq!(world.head(), head);
    scene.limit(&vip, json!({"port": 80, "inboundBandwidth": 5 * MBIT})).await;
    let whole = [Value::Null, json!(20 * MBIT), json!(10 * MBIT)];
    let port = [json!(80), json!(5 * MBIT), Value::Null];
    assert_eq!(scene.limits(&vip).await, [whole.clone(), port.clone()]);
    // Nobody serves it yet; a service that comes later finds them.
    assert!(scene.told().await.is_empty());
    let eip = json!({"name": "eip", "vipUuid": vip, "vmNicUuid": scene.nic});
    let eip = uuid(&world.make("CreateEip", eip).await);
    assert_eq!(scene.told().await, [whole.clone(), port.clone()]);
    scene.limit(&vip, json!({"inboundBandwidth": 40 * MBIT})).await;
    assert_eq!(scene.told().await[0][1], json!(40 * MBIT));
    // They go with the router's part in it, and come again.
    world.done("StopVmInstance", json!({"uuid": scene.vm})).await;
    assert!(scene.told().await.is_empty());
    world.done("StartVmInstance", json!({"uuid": scene.vm})).await;
    assert_eq!(scene.told().await.len(), 2);
    let shown = world.get("QueryVip", &vip).await;
    assert_eq!(triples(&shown["qos"], ["port", "inboundBandwidth", "outboundBandwidth"]).len(), 2, "{shown}");
    // Each goes by itself, and twice without harm.
    for _ in 0..2 {
        world.done("DeleteVipQos", json!({"uuid": vip})).await;
        assert_eq!(scene.limits(&vip).await, std::slice::from_ref(&port));
    }
    assert_eq!(scene.told().await, std::slice::from_ref(&port));
    world.done("DeleteVipQos", json!({"uuid": vip, "port": 80})).await;
    assert!(scene.told().await.is_empty() && scene.limits(&vip).await.is_empty());
    scene.limit(&vip, json!({"port": 80, "inboundBandwidth": 5 * MBIT})).await;
    let then = world.head();
    world.done("DeleteVip", json!({"uuid": vip, "deleteMode": "Enforcing"})).await;
    assert!(world.query("QueryEip", &[&format!("uuid={eip}")]).await.is_empty() && scene.told().await.is_empty());
    let before = &world.query_at("QueryVip", &[&format!("uuid={vip}")], Some(then)).await[0];
    assert_eq!(triples(&before["qos"], ["port", "inboundBandwidth", "outboundBandwidth"]), [port]);
    world.done("DeleteVipQos", json!({"uuid": vip})).await;
    let replayed = world.read("ReplayInventories", json!({})).await;
    for kind in replayed["inventories"].as_array().unwrap() {
        assert_eq!(kind["same"], true, "{kind}");
    }
}

#[actix_rt::test]
async fn limits_that_cannot_be_are_refused_and_change_nothing() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let vip = scene.vip().await;
    for port in 1..=64 {
        scene.limit(&vip, json!({"port": port, "outboundBandwidth": MBIT})).await;
    }
    let head = world.head();
    let more = world.refused("SetVipQos", json!({"uuid": vip, "port": 65, "outboundBandwidth": MBIT})).await;
    assert!(more.code == "SYS.1007" && more.detail.contains("port = `65`") && more.detail.contains("64"), "{more}");
    assert_eq!(world.head(), head);
    // One that is there, and the whole, are no more ports.
    scene.limit(&vip, json!({"port": 64, "outboundBandwidth": 2 * MBIT})).await;
    scene.limit(&vip, json!({"outboundBandwidth": MBIT})).await;
    let both = scene.site.network("both", "198.18.9.0/24").await;
    let six =
        json!({"l3NetworkUuid": both, "name": "six", "networkCidr": "fd00:9::/64", "addressMode": "Stateful-DHCP"});
    world.done("AddIpv6RangeByNetworkCidr", six).await;
    let six = world.make("CreateVip", json!({"name": "vip", "l3NetworkUuid": both, "ipVersion": 6})).await;
    let refusal = world.refused("SetVipQos", json!({"uuid": six["uuid"], "inboundBandwidth": MBIT})).await;
    assert!(refusal.code == "SYS.1104" && refusal.detail.contains(&text(&six, "ip")), "{refusal}");
    let nobody = Id::of_name("nobody").to_string();
    let refusal = world.node.read(&admin(), "GetVipQos", json!({"uuid": nobody})).await.unwrap_err();
    assert!(refusal.code == "SYS.1003" && refusal.detail.contains(&nobody), "{refusal}");
    let system = uuid(&world.one("QueryVip", &["system=true"]).await);
    assert!(scene.limits(&system).await.is_empty());
}

#[actix_rt::test]
async fn a_limit_is_waited_for_where_its_vip_is_served_and_nowhere_else() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let other = scene.site.guest("other", SERVICES).await;
    scene.site.vm("other", &other).await;
    let (served, other) = (uuid(&world.router_of(&scene.guest).await), uuid(&world.router_of(&other).await));
    let vip = scene.vip().await;
    world.make("CreateEip", json!({"name": "eip", "vipUuid": vip, "vmNicUuid": scene.nic})).await;
    let revision = async |router: &str| {
        world.read("GetVirtualRouterConfig", json!({"uuid": router})).await["config"]["revision"].clone()
    };
    let before = [revision(&served).await, revision(&other).await];
    scene.limit(&vip, json!({"inboundBandwidth": MBIT})).await;
    assert_ne!(revision(&served).await, before[0]);
    assert_eq!(revision(&other).await, before[1]);
}
