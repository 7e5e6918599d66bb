//! Sections G and M, as far as they are about nics: what VMs and routers are given and give up while they run.

use crate::harness::{ALL_SERVICES, Site, World, id, text, uuid};
use serde_json::{Value, json};

const ATTACH: &str = "AttachL3NetworkToVm";
const DETACH: &str = "DetachL3NetworkFromVm";

fn pair(vm: &str, l3: &str) -> Value {
    json!({"vmInstanceUuid": vm, "l3NetworkUuid": l3})
}

/// A public network with a range.
async fn public(site: &Site, name: &str, cidr: &str) -> String {
    let l2 = site.l2(name).await;
    let l3 = json!({"name": name, "l2NetworkUuid": l2, "category": "Public"});
    let l3 = uuid(&site.world.make("CreateL3Network", l3).await);
    let range = json!({"l3NetworkUuid": l3, "name": name, "networkCidr": cidr});
    site.world.done("AddIpRangeByNetworkCidr", range).await;
    l3
}

async fn nics_of(world: &World, vm: &str) -> Vec<Value> {
    world.query("QueryVmNic", &[&format!("vmInstanceUuid={vm}")]).await
}

/// The uuid of the nic that a VM or router has on a network.
async fn nic_on(world: &World, vm: &str, l3: &str) -> String {
    let conditions = [format!("vmInstanceUuid={vm}"), format!("l3NetworkUuid={l3}")];
    uuid(&world.one("QueryVmNic", &[&conditions[0], &conditions[1]]).await)
}

/// The names of the interfaces that a router's configuration has.
async fn interfaces(world: &World, router: &str) -> Vec<String> {
    let sections = world.sections(router).await;
    sections["interfaces"]["nics"].as_array().unwrap().iter().map(|nic| text(nic, "name")).collect()
}

#[actix_rt::test]
async fn g11_a_deleted_additional_public_network_takes_one_nic_from_the_router() {
    let world = World::new();
    let site = Site::new(&world).await;
    let guest = site.guest("guest", ALL_SERVICES).await;
    site.vm("vm", &guest).await;
    let router = uuid(&world.router_of(&guest).await);
    for (round, delete) in ["DeleteL3Network", "DeleteIpRange"].into_iter().enumerate() {
        let l3 = public(&site, "more", &format!("198.18.{round}.0/24")).await;
        world.done(ATTACH, pair(&router, &l3)).await;
        assert_eq!(nics_of(&world, &router).await.len(), 4);
        let gone = match delete {
            "DeleteIpRange" => uuid(&world.one("QueryIpRange", &[&format!("l3NetworkUuid={l3}")]).await),
            _ => l3.clone(),
        };
        world.done(delete, json!({"uuid": gone, "deleteMode": "Enforcing"})).await;
        assert_eq!(nics_of(&world, &router).await.len(), 3, "{delete}");
        assert_eq!(interfaces(&world, &router).await, ["eth0", "eth1", "eth2"]);
        let found = world.get("QueryVirtualRouterVm", &router).await;
        assert_eq!((text(&found, "state"), text(&found, "status")), ("Running".to_string(), "Connected".to_string()));
    }
    world.one_holder_each().await;
}

#[actix_rt::test]
async fn g13_a_nic_is_attached_only_in_the_right_state_and_with_a_right_address() {
    let world = World::new();
    let site = Site::new(&world).await;
    let first = site.network("first", "10.80.0.0/24").await;
    let second = site.guest("second", &["DHCP", "DNS"]).await;
    let vm = uuid(&site.vm("vm", &first).await);
    world.done("PauseVmInstance", json!({"uuid": vm})).await;
    assert_eq!(world.refused(ATTACH, pair(&vm, &second)).await.code, "VM.1010");
    world.done("ResumeVmInstance", json!({"uuid": vm})).await;

    let state = |event: &str| json!({"uuid": second, "stateEvent": event});
    world.done("ChangeL3NetworkState", state("disable")).await;
    let refusal = world.refused(ATTACH, pair(&vm, &second)).await;
    assert!(refusal.code == "SYS.1006" && refusal.detail.contains("disabled"), "{refusal}");
    world.done("ChangeL3NetworkState", state("enable")).await;

    let with = |ip: &str| json!({"vmInstanceUuid": vm, "l3NetworkUuid": second, "staticIp": ip});
    for ip in ["192.0.2.1", "10.80.0.9"] {
        let refusal = world.refused(ATTACH, with(ip)).await;
        assert!(refusal.code == "L3.1000" && refusal.field.as_deref() == Some("staticIp"), "{refusal}");
    }
    let free = world.read("GetFreeIp", json!({"l3NetworkUuid": second, "limit": 1})).await;
    let ip = text(&free["inventories"][0], "ip");
    let attached = world.make(ATTACH, with(&ip)).await;
    let nics = attached["vmNics"].as_array().unwrap();
    let nic = nics.iter().find(|nic| nic["l3NetworkUuid"] == second.as_str()).unwrap();
    assert_eq!((text(nic, "ip"), nic["deviceId"].as_u64()), (ip.clone(), Some(1)));
    assert!(text(nic, "mac").starts_with("fa:") && text(nic, "mac").ends_with(":01"), "{nic}");
    // Its router was made for it, and serves it.
    let router = uuid(&world.router_of(&second).await);
    let hosts = world.sections(&router).await["dhcp"]["hosts"].clone();
    assert_eq!((&hosts[0]["ip"], &hosts[0]["hostname"]), (&json!(ip), &json!("vm")), "{hosts}");
    assert_eq!(world.refused(ATTACH, pair(&vm, &second)).await.code, "SYS.1006", "not twice");
    world.one_holder_each().await;
}

#[actix_rt::test]
async fn g14_a_router_takes_and_gives_up_public_nics_and_none_that_overlaps() {
    let world = World::new();
    let site = Site::new(&world).await;
    let guest = site.guest("guest", ALL_SERVICES).await;
    site.vm("vm", &guest).await;
    let router = uuid(&world.router_of(&guest).await);
    let (more, overlapping) =
        (public(&site, "more", "198.18.0.0/24").await, public(&site, "over", "203.0.113.128/25").await);
    let free = site.free(&more).await;

    let attached = world.make(ATTACH, pair(&router, &more)).await;
    let nic = attached["vmNics"].as_array().unwrap().iter().find(|nic| nic["l3NetworkUuid"] == more.as_str()).unwrap();
    assert_eq!((text(nic, "metaData"), nic["deviceId"].as_u64()), ("8".to_string(), Some(3)));
    assert_eq!(interfaces(&world, &router).await, ["eth0", "eth1", "eth2", "eth3"]);
    assert_eq!(site.free(&more).await, free - 1);
    let refusal = world.refused(ATTACH, pair(&router, &overlapping)).await;
    assert!(refusal.code == "SYS.1007" && refusal.detail.contains("overlap"), "{refusal}");
    assert_eq!(world.refused(ATTACH, pair(&router, &more)).await.code, "SYS.1006", "not twice");

    for l3 in [&site.management, &site.public, &guest] {
        let own = nic_on(&world, &router, l3).await;
        assert_eq!(world.refused(DETACH, json!({"vmNicUuid": own})).await.code, "SYS.1006", "it stays");
    }
    world.done(DETACH, json!({"vmNicUuid": uuid(nic)})).await;
    assert_eq!(interfaces(&world, &router).await, ["eth0", "eth1", "eth2"]);
    assert_eq!(site.free(&more).await, free);
    // What it was stays in the log: the router as it was with the nic, and a later one at the same place.
    world.done(ATTACH, pair(&router, &more)).await;
    world.done("RebootVmInstance", json!({"uuid": router})).await;
    assert_eq!(interfaces(&world, &router).await, ["eth0", "eth1", "eth2", "eth3"]);
    world.one_holder_each().await;
}

#[actix_rt::test]
async fn m5_a_disconnected_router_takes_no_service_commands() {
    let world = World::new();
    world.configure("virtualRouter", "ping.interval", "1").await;
    let site = Site::new(&world).await;
    let guest = site.guest("guest", ALL_SERVICES).await;
    site.vm("vm", &guest).await;
    let router = uuid(&world.router_of(&guest).await);
    let more = public(&site, "more", "198.18.0.0/24").await;
    let nic = world.make(ATTACH, pair(&router, &more)).await["vmNics"][3].clone();
    let others = public(&site, "others", "198.18.1.0/24").await;
    world.fleet().unreachable(id(&router), true);
    world.until_is("QueryVirtualRouterVm", &router, "status", "Disconnected").await;
    assert_eq!(world.refused(ATTACH, pair(&router, &others)).await.code, "VR.1000");
    assert_eq!(world.refused(DETACH, json!({"vmNicUuid": uuid(&nic)})).await.code, "VR.1000");
    let provision = json!({"vmInstanceUuid": router});
    assert_eq!(world.refused("ProvisionVirtualRouterConfig", provision).await.code, "VR.1000");
    world.fleet().unreachable(id(&router), false);
}
