//! Nics and the life of a VM: what changes while it runs, and who is told of it.

use crate::harness::{Site, World, text, uuid};
use serde_json::{Value, json};

const ATTACH: &str = "AttachL3NetworkToVm";

/// Two networks with routers, and a VM on the first.
struct Scene {
    world: World,
    site: Site,
    first: String,
    second: String,
    vm: String,
}

async fn scene() -> Scene {
    let world = World::new();
    let site = Site::new(&world).await;
    let first = site.guest("first", &["DHCP", "DNS"]).await;
    let second = site.guest("second", &["DHCP", "DNS"]).await;
    let vm = uuid(&site.vm("vm", &first).await);
    Scene { world, site, first, second, vm }
}

impl Scene {
    async fn attach(&self) -> Value {
        let attached = self.world.make(ATTACH, json!({"vmInstanceUuid": self.vm, "l3NetworkUuid": self.second})).await;
        nic_of(&attached, &self.second)
    }

    /// Names and addresses that the router of a network gives.
    async fn served(&self, l3: &str) -> Vec<(String, String)> {
        let routers = self.world.routers_of(l3).await;
        let Some(router) = routers.first() else { return vec![] };
        let hosts = self.world.sections(&uuid(router)).await["dhcp"]["hosts"].clone();
        hosts.as_array().unwrap().iter().map(|host| (text(host, "hostname"), text(host, "ip"))).collect()
    }

    async fn tags(&self) -> Vec<String> {
        let tags = self.world.query("QuerySystemTag", &[&format!("resourceUuid={}", self.vm)]).await;
        let mut tags: Vec<String> = tags.iter().map(|tag| text(tag, "tag")).collect();
        tags.sort();
        tags
    }

    async fn free_ip(&self, l3: &str) -> String {
        let free = self.world.read("GetFreeIp", json!({"l3NetworkUuid": l3, "limit": 1})).await;
        text(&free["inventories"][0], "ip")
    }
}

fn nic_of(vm: &Value, l3: &str) -> Value {
    let nics = vm["vmNics"].as_array().unwrap();
    nics.iter().find(|nic| nic["l3NetworkUuid"] == l3).unwrap_or_else(|| panic!("no nic on {l3}: {vm}")).clone()
}

#[actix_rt::test]
async fn a_nic_comes_and_goes_while_the_vm_runs() {
    let scene = scene().await;
    let (world, vm) = (&scene.world, &scene.vm);
    let candidates = world.read("GetVmAttachableL3Network", json!({"vmInstanceUuid": vm})).await;
    let candidates: Vec<String> = candidates["inventories"].as_array().unwrap().iter().map(uuid).collect();
    assert!(candidates.contains(&scene.second) && !candidates.contains(&scene.first), "{candidates:?}");

    let before = world.head();
    let nic = scene.attach().await;
    let kinds = world.kinds_after(before).await;
    assert!(kinds.contains(&"vm_instance.NicAttached".to_string()), "{kinds:?}");
    assert!(!kinds.iter().any(|kind| kind == "vm_instance.Started"), "it was not started again: {kinds:?}");
    let ip = text(&nic, "ip");
    assert_eq!(scene.served(&scene.second).await, [("vm".to_string(), ip)]);
    assert_eq!(text(&nic, "state"), "enable");
    // With its default network goes its default route.
    let first = nic_of(&world.get("QueryVmInstance", vm).await, &scene.first);
    let detached = world.make("DetachL3NetworkFromVm", json!({"vmNicUuid": uuid(&first)})).await;
    assert_eq!(text(&detached, "defaultL3NetworkUuid"), scene.second);
    assert!(scene.served(&scene.first).await.is_empty());
    // The lowest free place is taken again.
    let again = world.make(ATTACH, json!({"vmInstanceUuid": vm, "l3NetworkUuid": scene.first})).await;
    assert_eq!(nic_of(&again, &scene.first)["deviceId"], 0);
    assert_eq!(text(&again, "defaultL3NetworkUuid"), scene.second);
    world.one_holder_each().await;
}

#[actix_rt::test]
async fn what_is_asked_for_a_nic_is_a_tag_and_goes_with_it() {
    let scene = scene().await;
    let (world, vm, l3) = (&scene.world, &scene.vm, &scene.second);
    let ip = scene.free_ip(l3).await;
    let asked = json!({"vmInstanceUuid": vm, "l3NetworkUuid": l3, "staticIp": ip, "customMac": "fa:01:02:03:04:05"});
    let nic = nic_of(&world.make(ATTACH, asked).await, l3);
    assert_eq!((text(&nic, "ip"), text(&nic, "mac")), (ip.clone(), "fa:01:02:03:04:05".to_string()));
    let tags = [format!("customMac::{l3}::fa:01:02:03:04:05"), format!("staticIp::{l3}::{ip}")];
    assert_eq!(scene.tags().await, tags);
    world.done("DetachL3NetworkFromVm", json!({"vmNicUuid": uuid(&nic)})).await;
    assert!(scene.tags().await.is_empty());
}

#[actix_rt::test]
async fn a_static_address_takes_the_place_of_the_one_before() {
    let scene = scene().await;
    let (world, vm, l3) = (&scene.world, &scene.vm, &scene.first);
    let before = text(&nic_of(&world.get("QueryVmInstance", vm).await, l3), "ip");
    let ip = scene.free_ip(l3).await;
    let set = |ip: &str| json!({"vmInstanceUuid": vm, "l3NetworkUuid": l3, "ip": ip});
    let changed = world.make("SetVmStaticIp", set(&ip)).await;
    assert_eq!(text(&nic_of(&changed, l3), "ip"), ip);
    assert_eq!(scene.served(l3).await, [("vm".to_string(), ip.clone())]);
    assert_eq!(scene.tags().await, [format!("staticIp::{l3}::{ip}")]);
    let free = world.read("CheckIpAvailability", json!({"l3NetworkUuid": l3, "ip": before})).await;
    assert_eq!(free["available"], true);
    // The same again changes nothing; another one replaces the tag.
    let head = world.head();
    world.done("SetVmStaticIp", set(&ip)).await;
    assert_eq!(world.asked_since(head).await, [""; 0]);
    world.done("SetVmStaticIp", set(&before)).await;
    assert_eq!(scene.tags().await, [format!("staticIp::{l3}::{before}")]);
    world.done("DeleteVmStaticIp", json!({"vmInstanceUuid": vm, "l3NetworkUuid": l3})).await;
    assert!(scene.tags().await.is_empty());
    assert_eq!(scene.served(l3).await, [("vm".to_string(), before)]);
    world.one_holder_each().await;
}

#[actix_rt::test]
async fn a_nic_moves_to_another_network_with_its_hardware_address() {
    let scene = scene().await;
    let (world, vm) = (&scene.world, &scene.vm);
    let nic = nic_of(&world.get("QueryVmInstance", vm).await, &scene.first);
    let to = json!({"vmNicUuid": uuid(&nic), "destL3NetworkUuid": scene.second});
    for stopped in [false, true] {
        if stopped {
            world.done("StopVmInstance", json!({"uuid": vm, "type": "cold"})).await;
        }
        let to = if stopped { json!({"vmNicUuid": uuid(&nic), "destL3NetworkUuid": scene.first}) } else { to.clone() };
        let l3 = text(&to, "destL3NetworkUuid");
        let moved = world.make("ChangeVmNicNetwork", to).await;
        let now = nic_of(&moved, &l3);
        assert_eq!((uuid(&now), text(&now, "mac")), (uuid(&nic), text(&nic, "mac")));
        assert_eq!(text(&moved, "defaultL3NetworkUuid"), l3);
        let other = if stopped { &scene.second } else { &scene.first };
        assert!(scene.served(other).await.is_empty());
        let expected = if stopped { vec![] } else { vec![("vm".to_string(), text(&now, "ip"))] };
        assert_eq!(scene.served(&l3).await, expected);
    }
    world.done("StartVmInstance", json!({"uuid": vm})).await;
    assert_eq!(scene.served(&scene.first).await.len(), 1);
    world.one_holder_each().await;
}

#[actix_rt::test]
async fn a_host_name_is_what_dns_and_dhcp_say() {
    let scene = scene().await;
    let (world, vm) = (&scene.world, &scene.vm);
    scene.attach().await;
    world.done("SetVmHostname", json!({"uuid": vm, "hostname": "db-1"})).await;
    for l3 in [&scene.first, &scene.second] {
        assert_eq!(scene.served(l3).await[0].0, "db-1");
    }
    let name = world.read("GetVmHostname", json!({"uuid": vm})).await;
    assert_eq!((name, scene.tags().await), (json!({"hostname": "db-1"}), vec!["hostname::db-1".to_string()]));
    let other = uuid(&scene.site.vm("other", &scene.second).await);
    let refusal = world.refused("SetVmHostname", json!({"uuid": other, "hostname": "DB-1"})).await;
    assert!(refusal.code == "SYS.1007" && refusal.detail.contains(vm.as_str()), "{refusal}");
    world.done("DeleteVmHostname", json!({"uuid": vm})).await;
    assert_eq!(scene.served(&scene.first).await[0].0, "vm");
    assert!(scene.tags().await.is_empty());
}

#[actix_rt::test]
async fn a_disabled_nic_keeps_its_address() {
    let scene = scene().await;
    let (world, vm) = (&scene.world, &scene.vm);
    let nic = nic_of(&world.get("QueryVmInstance", vm).await, &scene.first);
    for (word, state) in [("disable", "disable"), ("disable", "disable"), ("enable", "enable")] {
        let changed = world.make("ChangeVmNicState", json!({"vmNicUuid": uuid(&nic), "state": word})).await;
        assert_eq!((text(&changed, "state"), text(&changed, "ip")), (state.to_string(), text(&nic, "ip")));
    }
    assert_eq!(scene.served(&scene.first).await.len(), 1);
}

#[actix_rt::test]
async fn a_paused_vm_goes_on_where_it_was() {
    let scene = scene().await;
    let (world, vm) = (&scene.world, &scene.vm);
    let of = json!({"uuid": vm});
    assert_eq!(text(&world.make("PauseVmInstance", of.clone()).await, "state"), "Paused");
    assert_eq!(world.refused("RebootVmInstance", of.clone()).await.code, "VM.1010");
    assert_eq!(world.refused("StartVmInstance", of.clone()).await.code, "VM.1010");
    let head = world.head();
    world.done("PauseVmInstance", of.clone()).await;
    assert_eq!(world.asked_since(head).await, [""; 0]);
    assert_eq!(scene.served(&scene.first).await.len(), 1);
    assert_eq!(text(&world.make("ResumeVmInstance", of.clone()).await, "state"), "Running");
    world.done("PauseVmInstance", of.clone()).await;
    assert_eq!(text(&world.make("StopVmInstance", of.clone()).await, "state"), "Stopped");
    assert_eq!(world.refused("PauseVmInstance", of.clone()).await.code, "VM.1010");
    assert_eq!(text(&world.make("StartVmInstance", of).await, "state"), "Running");
}

#[actix_rt::test]
async fn a_destroyed_vm_is_recovered_with_its_addresses_or_not_at_all() {
    let scene = scene().await;
    let (world, vm, l3) = (&scene.world, &scene.vm, &scene.first);
    let of = json!({"uuid": vm});
    world.configure("vm", "deletionPolicy", "Delay").await;
    let nic = nic_of(&world.get("QueryVmInstance", vm).await, l3);
    let free = scene.site.free(l3).await;
    world.done("DestroyVmInstance", of.clone()).await;
    assert_eq!(text(&world.get("QueryVmInstance", vm).await, "state"), "Destroyed");
    assert_eq!(scene.site.free(l3).await, free + 1);
    for name in ["StartVmInstance", "UpdateVmInstance", "PauseVmInstance"] {
        assert_eq!(world.fails(name, of.clone()).await.code, "SYS.1003", "{name}");
    }
    // Somebody else has the address: all or nothing.
    let tag = format!("staticIp::{l3}::{}", text(&nic, "ip"));
    let other = json!({"name": "other", "l3NetworkUuids": [l3], "systemTags": [tag]});
    let other = uuid(&world.make("CreateVmInstance", other).await);
    let refusal = world.fails("RecoverVmInstance", of.clone()).await;
    assert!(refusal.code == "L3.1000" && refusal.detail.contains(&text(&nic, "ip")), "{refusal}");
    assert_eq!(refusal.field.as_deref(), Some("uuid"));
    world.done("DestroyVmInstance", json!({"uuid": other})).await;
    let back = world.make("RecoverVmInstance", of.clone()).await;
    assert_eq!(text(&back, "state"), "Stopped");
    let again = nic_of(&back, l3);
    for field in ["uuid", "mac", "ip"] {
        assert_eq!(again[field], nic[field], "{field}");
    }
    assert_eq!(world.fails("RecoverVmInstance", of.clone()).await.code, "VM.1010");
    assert_eq!(world.fails("ExpungeVmInstance", of.clone()).await.code, "VM.1010");
    world.done("StartVmInstance", of.clone()).await;
    assert_eq!(scene.served(l3).await, [("vm".to_string(), text(&nic, "ip"))]);
    world.one_holder_each().await;

    world.done("DestroyVmInstance", of.clone()).await;
    world.done("ExpungeVmInstance", of.clone()).await;
    assert!(world.query("QueryVmInstance", &[&format!("uuid={vm}")]).await.is_empty());
    assert_eq!(world.fails("RecoverVmInstance", of.clone()).await.code, "SYS.1003");
    let head = world.head();
    world.done("ExpungeVmInstance", of).await;
    let since = world.kinds_after(head).await;
    assert!(!since.iter().any(|kind| kind.starts_with("vm_instance")), "{since:?}");
}

#[actix_rt::test]
async fn a_destroyed_vm_is_expunged_in_time() {
    let scene = scene().await;
    let (world, vm) = (&scene.world, &scene.vm);
    world.configure("vm", "deletionPolicy", "Delay").await;
    world.configure("vm", "expungePeriod", "1").await;
    world.done("DestroyVmInstance", json!({"uuid": vm})).await;
    assert_eq!(world.query("QueryVmInstance", &[]).await.len(), 1);
    world.configure("vm", "expungeInterval", "1").await;
    let gone = || async { world.query("QueryVmInstance", &[]).await.is_empty().then_some(()) };
    world.until("the VM is expunged", gone).await;
}
