//! What pings find: drift and services that are unwell, told once and mended where the policy says so; what went through
//! services; and what routers would do.

use crate::harness::{Site, World, admin, id, request, text, uuid};
use serde_json::{Value, json};
use switchback_bus::{Bus, CommandReply, CommandRequest, Sample, metric};
use switchback_events::{HostId, RouterId};

const SERVICES: &[&str] = &["DHCP", "DNS", "SNAT", "Eip", "PortForwarding"];

/// A VM behind a router that is pinged each second.
struct Scene {
    world: World,
    site: Site,
    vm: Value,
    router: String,
}

impl Scene {
    async fn new() -> Scene {
        let world = World::new();
        for category in ["virtualRouter", "host"] {
            world.configure(category, "ping.interval", "1").await;
        }
        let site = Site::new(&world).await;
        let guest = site.guest("guest", SERVICES).await;
        let vm = site.vm("vm", &guest).await;
        let router = uuid(&world.router_of(&guest).await);
        Scene { world, site, vm, router }
    }

    fn router(&self) -> RouterId {
        RouterId(id(&self.router))
    }

    async fn row(&self) -> Value {
        self.world.get("QueryVirtualRouterVm", &self.router).await
    }

    async fn until_row(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.world
            .until(what, || async {
                let row = self.row().await;
                is(&row).then_some(row)
            })
            .await
    }

    async fn policy(&self, resource: &str, category: &str, value: &str) {
        let config = json!({"category": category, "name": "drift.policy", "value": value, "resourceUuid": resource});
        self.world.done("UpdateResourceConfig", config).await;
    }

    /// The events of a kind so far, their payloads.
    async fn told(&self, kind: &str) -> Vec<Value> {
        let events = self.world.read("GetEvents", json!({"kind": kind, "limit": 10_000})).await;
        events["events"].as_array().unwrap().iter().map(|event| event["payload"].clone()).collect()
    }

    async fn vip(&self) -> String {
        uuid(&self.world.make("CreateVip", json!({"name": "vip", "l3NetworkUuid": self.site.public})).await)
    }

    async fn eip(&self) -> Value {
        let eip = json!({"name": "web", "vipUuid": self.vip().await, "vmNicUuid": self.vm["vmNics"][0]["uuid"]});
        self.world.make("CreateEip", eip).await
    }

    async fn dry(&self, name: &str, parameters: Value) -> CommandReply {
        let dry = CommandRequest { dry_run: true, ..request(name, &parameters) };
        self.world.node.command(dry).await.unwrap()
    }
}

fn differs(row: &Value) -> bool {
    row["driftCount"].as_u64() > Some(0)
}

#[actix_rt::test]
async fn drift_is_told_once_and_mended_where_the_policy_is_to_heal() {
    let scene = Scene::new().await;
    assert_eq!(scene.row().await["driftCount"], json!(0));
    scene.world.fleet().drift(scene.router());
    let row = scene.until_row("the drift is known", differs).await;
    let reason = text(&row, "statusReason");
    assert!(reason.contains("differs from its configuration: ") && reason.contains("dnsmasq"), "{row}");
    assert_eq!((row["status"].as_str(), row["driftReason"].is_string()), (Some("Connected"), true), "{row}");
    // The process is gone, too, and both are told once, however many pings find them.
    let row = scene.until_row("its services are known to be unwell", |row| row["healthReason"].is_string()).await;
    assert!(text(&row, "healthReason").contains("nftables: the table is gone"), "{row}");
    actix_rt::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert_eq!(scene.told("router.DriftChanged").await.len(), 1);
    assert_eq!(scene.told("router.HealthChanged").await.len(), 1);
    let drift = scene.world.read("GetVirtualRouterDrift", json!({"uuid": scene.router})).await;
    assert_eq!((&drift["policy"], drift["items"].as_array().unwrap().is_empty()), (&json!("notify"), false), "{drift}");

    scene.policy(&scene.router, "virtualRouter", "heal").await;
    let healed = |row: &Value| row["driftCount"] == 0 && row["statusReason"].is_null() && row["healthReason"].is_null();
    scene.until_row("it is mended", healed).await;
    let drift = scene.world.read("GetVirtualRouterDrift", json!({"uuid": scene.router})).await;
    assert_eq!((&drift["policy"], &drift["items"]), (&json!("heal"), &json!([])));
    let told = scene.told("router.DriftChanged").await;
    assert_eq!((told.len(), &told[1]["items"], &told[1]["more"]), (2, &json!([]), &json!(0)));

    // Nobody looks: nothing is told, and what is different stays so.
    scene.policy(&scene.router, "virtualRouter", "off").await;
    scene.world.fleet().lose_element(scene.router(), "nothing");
    scene.world.fleet().drift(scene.router());
    scene.until_row("a service is unwell", |row| row["healthReason"].is_string()).await;
    assert_eq!(scene.told("router.DriftChanged").await.len(), 2);
    // A new connection puts all in order, and says so by itself.
    scene.world.done("ReconnectVirtualRouter", json!({"vmInstanceUuid": scene.router})).await;
    let row = scene.row().await;
    assert!(row["healthReason"].is_null() && row["statusReason"].is_null(), "{row}");
}

#[actix_rt::test]
async fn one_element_that_somebody_deletes_is_named_with_the_eip_that_it_belongs_to() {
    let scene = Scene::new().await;
    let eip = scene.eip().await;
    let (vip_ip, guest_ip) = (text(&eip, "vipIp"), text(&eip, "guestIp"));
    scene.world.fleet().lose_element(scene.router(), &format!("{vip_ip} : {guest_ip}"));
    scene.until_row("the drift is known", differs).await;
    let told = scene.told("router.DriftChanged").await;
    let items = told[0]["items"].as_array().unwrap();
    assert_eq!(
        (items.len(), &items[0]["section"], &items[0]["observed"]),
        (1, &json!("eips"), &json!("absent")),
        "{told:?}"
    );
    let item = items[0]["item"].as_str().unwrap();
    assert!(item.starts_with(&format!("eip {}", uuid(&eip))) && item.contains(&vip_ip), "{item}");
    // Any change that is applied puts it back.
    scene.eip_of_nobody().await;
    scene.until_row("it is as it should be", |row| row["driftCount"] == 0).await;
}

impl Scene {
    /// Something that changes the router's configuration.
    async fn eip_of_nobody(&self) {
        let rule = json!({
            "name": "rule", "vipUuid": self.vip().await, "vipPortStart": 80, "protocolType": "TCP",
            "vmNicUuid": self.vm["vmNics"][0]["uuid"],
        });
        self.world.done("CreatePortForwardingRule", rule).await;
    }
}

#[actix_rt::test]
async fn a_name_server_that_answers_nobody_is_named_and_well_again_when_it_answers_or_is_healed() {
    let scene = Scene::new().await;
    scene.world.fleet().deafen(scene.router(), true);
    let row = scene.until_row("it is unwell", |row| row["healthReason"].is_string()).await;
    let reason = text(&row, "statusReason");
    assert!(reason.starts_with("dnsmasq: the DNS question for revision.switchback.internal"), "{reason}");
    assert_eq!(row["driftCount"], json!(0));
    scene.world.fleet().deafen(scene.router(), false);
    scene.until_row("it is well", |row| row["healthReason"].is_null() && row["statusReason"].is_null()).await;
    assert_eq!(scene.told("router.HealthChanged").await[1], json!({"unhealthy": {}}));
    // With the policy it is started again.
    scene.world.configure("virtualRouter", "drift.policy", "heal").await;
    scene.world.fleet().deafen(scene.router(), true);
    scene
        .world
        .until("it is told and mended", || async {
            (scene.told("router.HealthChanged").await.len() == 4).then_some(())
        })
        .await;
    assert!(scene.row().await["healthReason"].is_null());
}

#[actix_rt::test]
async fn what_filters_at_the_nics_of_a_host_follows_the_policy_of_the_host() {
    let scene = Scene::new().await;
    let vm = scene.world.get("QueryVmInstance", &uuid(&scene.vm)).await;
    let host = text(&vm, "hostUuid");
    let key = HostId(id(&host));
    let row = || scene.world.get("QueryHost", &host);
    // It heals, unless it is told not to, and says that it did.
    scene.world.fleet().lose_filters(key);
    scene
        .world
        .until("it is told and mended", || async { (scene.told("host.DriftChanged").await.len() == 2).then_some(()) })
        .await;
    let told = scene.told("host.DriftChanged").await;
    assert_eq!((&told[0]["items"][0]["section"], &told[1]["items"]), (&json!("security"), &json!([])), "{told:?}");
    assert_eq!(row().await["driftCount"], json!(0));

    scene.policy(&host, "host", "notify").await;
    scene.world.fleet().lose_filters(key);
    let found = scene.world.until("the drift is known", || async { Some(row().await).filter(differs) }).await;
    assert!(text(&found, "statusReason").contains("nftables table switchback_guests (security) is absent"), "{found}");
    assert_eq!(found["status"], json!("Connected"));
    actix_rt::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!((scene.told("host.DriftChanged").await.len(), differs(&row().await)), (3, true));

    scene.policy(&host, "host", "heal").await;
    scene.world.until("it is mended", || async { (row().await["driftCount"] == 0).then_some(()) }).await;
    assert!(row().await["statusReason"].is_null());
}

#[actix_rt::test]
async fn what_went_through_is_told_by_name_and_summed_for_metrics() {
    let scene = Scene::new().await;
    let eip = scene.eip().await;
    scene.world.fleet().pass(scene.router(), &text(&eip, "vipIp"), [(3, 300), (2, 120)]);
    let counters = scene.world.read("GetVirtualRouterCounters", json!({"uuid": scene.router})).await;
    assert!(counters["since"].as_i64() > Some(0), "{counters}");
    let line = json!({
        "type": "EIP", "uuid": eip["uuid"], "name": "web", "inboundPackets": 3, "inboundBytes": 300,
        "outboundPackets": 2, "outboundBytes": 120,
    });
    assert_eq!(counters["counters"], json!([line]));
    for _ in 0..2 {
        let samples = scene.world.node.metrics().await;
        for (name, direction, count) in [
            (metric::SERVICE_PACKETS, "in", 3),
            (metric::SERVICE_BYTES, "out", 120),
            (metric::SERVICE_PACKETS, "out", 2),
        ] {
            assert!(samples.contains(&Sample::of(name, &["eip", direction], count)), "{name} {direction}");
        }
    }
    // It stays counted when the rules change, and when the agent is started again.
    scene.eip_of_nobody().await;
    scene.world.fleet().crash(scene.router());
    let again = scene.world.read("GetVirtualRouterCounters", json!({"uuid": scene.router})).await;
    assert_eq!((&again["since"], again["counters"].as_array().unwrap().len()), (&counters["since"], 2));
    assert!(again["counters"].as_array().unwrap().contains(&line), "{again}");
    let gone = scene.world.node.read(&admin(), "GetVirtualRouterCounters", json!({"uuid": uuid(&eip)})).await;
    assert_eq!(gone.unwrap_err().code, "SYS.1003");
    scene.world.fleet().unreachable(id(&scene.router), true);
    let away = scene.world.node.read(&admin(), "GetVirtualRouterCounters", json!({"uuid": scene.router})).await;
    assert!(away.unwrap_err().detail.contains("cannot connect"));
}

#[actix_rt::test]
async fn a_dry_run_tells_what_each_router_would_do() {
    let scene = Scene::new().await;
    let vip = scene.vip().await;
    let head = scene.world.head();
    let eip = json!({"name": "web", "vipUuid": vip, "vmNicUuid": scene.vm["vmNics"][0]["uuid"]});
    let reply = scene.dry("CreateEip", eip.clone()).await;
    assert_eq!(scene.world.asked_since(head).await, [""; 0]);
    let [plan] = &reply.routers[..] else { panic!("{:?}", reply.routers) };
    assert_eq!((plan.uuid, plan.unknown.as_deref()), (scene.router(), None));
    let sections: Vec<&str> = plan.sections.keys().map(String::as_str).collect();
    assert!(sections.contains(&"eips") && sections.contains(&"vips") && !sections.contains(&"dhcp"), "{plan:?}");
    assert!(plan.sections["vips"][0].starts_with("address eth") && !plan.sections["eips"].is_empty(), "{plan:?}");
    let drift = scene.world.read("GetVirtualRouterDrift", json!({"uuid": scene.router})).await;
    assert_eq!(drift["items"], json!([]), "nothing was changed");
    // What is done then is what was told.
    scene.world.make("CreateEip", eip.clone()).await;
    let rename = json!({"uuid": uuid(&scene.world.one("QueryEip", &[]).await), "name": "other"});
    assert_eq!(scene.dry("UpdateEip", rename).await.routers, [], "no router has anything to do with it");
    // A new network of the router brings its history along.
    let more = scene.site.network("more", "198.18.77.0/24").await;
    scene.world.done("UpdateL3Network", json!({"uuid": more, "category": "Public", "system": false})).await;
    let attach = json!({"vmInstanceUuid": scene.router, "l3NetworkUuid": more});
    let reply = scene.dry("AttachL3NetworkToVm", attach).await;
    assert!(reply.routers.len() == 1, "{reply:?}");

    // A VM with names and addresses: files and elements.
    let vm = json!({"name": "second", "l3NetworkUuids": [scene.vm["vmNics"][0]["l3NetworkUuid"]]});
    let reply = scene.dry("CreateVmInstance", vm.clone()).await;
    let lines = |section: &str| reply.routers[0].sections[section].join("\n");
    assert!(lines("dhcp").contains("write hosts-") && lines("dns").contains("write names"), "{reply:?}");

    // Nobody can be asked.
    scene.world.fleet().unreachable(id(&scene.router), true);
    let reply = scene.dry("CreateVmInstance", vm.clone()).await;
    let why = reply.routers[0].unknown.clone().unwrap();
    assert!(why.contains("cannot connect") || why.contains("nobody can be asked"), "{why}");
    let other = scene.site.guest("other", SERVICES).await;
    let reply = scene.dry("CreateVmInstance", json!({"name": "third", "l3NetworkUuids": [other]})).await;
    assert_eq!(reply.routers[0].unknown.as_deref(), Some("it would be made by this"));
}
