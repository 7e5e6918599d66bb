//! The main job: from one command to VMs that a router serves; and what becomes of both.

use crate::harness::{ALL_SERVICES, Site, World, admin, id, text, uuid};
use serde_json::{Value, json};
use switchback_events::RouterId;

/// The addresses of a VM or router, by network.
fn addresses(inventory: &Value) -> Vec<(String, String, String)> {
    let nics = inventory["vmNics"].as_array().unwrap();
    nics.iter().map(|nic| (text(nic, "l3NetworkUuid"), text(nic, "ip"), text(nic, "mac"))).collect()
}

#[actix_rt::test]
async fn the_first_vm_brings_a_router_that_serves_it() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    world.done("AddDnsToL3Network", json!({"l3NetworkUuid": l3, "dns": "9.9.9.9"})).await;
    world.done("AddDnsToL3Network", json!({"l3NetworkUuid": l3, "dns": "1.1.1.1"})).await;
    let vm = site.vm("Web-1", &l3).await;
    assert_eq!(
        (text(&vm, "state"), text(&vm, "type"), text(&vm, "hostname")),
        ("Running".to_string(), "UserVm".to_string(), "web-1".to_string())
    );

    let router = world.router_of(&l3).await;
    assert_eq!((text(&router, "state"), text(&router, "status")), ("Running".to_string(), "Connected".to_string()));
    assert!(text(&router, "name").starts_with("vrouter.l3.guest."), "{router}");
    assert_eq!(text(&router, "virtualRouterOfferingUuid"), site.offering);
    assert_eq!(router["agentPort"], json!(7272));

    let range = world.one("QueryIpRange", &[&format!("l3NetworkUuid={l3}")]).await;
    let sections = world.sections(&uuid(&router)).await;
    let nics = sections["interfaces"]["nics"].as_array().unwrap();
    let roles: Vec<(&str, u64)> =
        nics.iter().map(|nic| (nic["name"].as_str().unwrap(), nic["metaData"].as_u64().unwrap())).collect();
    assert_eq!(roles, [("eth0", 2), ("eth1", 1), ("eth2", 4)]);
    let gateway = text(&range, "gateway");
    assert_eq!(nics[2]["addresses"], json!([format!("{gateway}/24")]), "with SNAT the router is the gateway");
    let public = nics[1]["addresses"][0].as_str().unwrap().split('/').next().unwrap();
    assert_eq!(sections["interfaces"]["defaultGateway"], json!("203.0.113.1"));
    let (_, ip, mac) = addresses(&vm).remove(0);
    assert_eq!(sections["dhcp"]["hosts"], json!([{"ip": ip, "mac": mac, "hostname": "web-1", "l3Network": l3}]));
    let served = &sections["dhcp"]["networks"][0];
    assert_eq!((&served["gateway"], &served["server"]), (&range["gateway"], &range["gateway"]));
    assert_eq!(served["dnsServers"], json!([range["gateway"]]));
    assert_eq!((&served["interface"], &served["domain"]), (&json!("eth2"), &json!("cloud.example")));
    assert_eq!(sections["dns"]["upstreams"], json!(["9.9.9.9", "1.1.1.1"]));
    assert_eq!(sections["dns"]["names"], json!([{"ip": ip, "hostname": "web-1", "domain": "cloud.example"}]));
    let rule = json!({"source": range["networkCidr"], "interface": "eth1", "publicIp": public});
    assert_eq!(sections["snat"]["rules"], json!([rule]));
    assert_eq!(sections["firewall"]["forward"], json!([{"from": "eth2", "to": "eth1"}]));
    let open: Vec<(&str, u64)> = sections["firewall"]["input"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| (rule["interface"].as_str().unwrap(), rule["port"].as_u64().unwrap()))
        .collect();
    assert_eq!(open, [("eth0", 7272), ("eth2", 53), ("eth2", 8775), ("eth2", 53), ("eth2", 67)]);
    world.one_holder_each().await;
}

#[actix_rt::test]
async fn a_vm_keeps_its_address_over_stop_start_and_reboot_until_it_is_destroyed() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let free = site.free(&l3).await;
    let vm = site.vm("vm", &l3).await;
    let (uuid_of_vm, before) = (uuid(&vm), addresses(&vm));
    let router = uuid(&world.router_of(&l3).await);
    assert_eq!(site.free(&l3).await, free - 1, "the router's guest nic has the gateway, which no range holds");

    let stopped = world.make("StopVmInstance", json!({"uuid": uuid_of_vm})).await;
    assert_eq!(text(&stopped, "state"), "Stopped");
    assert_eq!(addresses(&stopped), before);
    assert_eq!(world.sections(&router).await["dhcp"]["hosts"], json!([]), "a stopped VM gets no address");
    let started = world.make("StartVmInstance", json!({"uuid": uuid_of_vm})).await;
    assert_eq!((text(&started, "state"), addresses(&started)), ("Running".to_string(), before.clone()));
    assert_eq!(world.sections(&router).await["dhcp"]["hosts"][0]["ip"], json!(before[0].1));
    let rebooted = world.make("RebootVmInstance", json!({"uuid": uuid_of_vm})).await;
    assert_eq!((text(&rebooted, "state"), addresses(&rebooted)), ("Running".to_string(), before));

    // What is so already is a success and changes nothing.
    let head = world.head();
    world.done("StartVmInstance", json!({"uuid": uuid_of_vm})).await;
    assert_eq!(world.asked_since(head).await, [""; 0]);

    world.done("DestroyVmInstance", json!({"uuid": uuid_of_vm})).await;
    assert!(world.query("QueryVmInstance", &[]).await.is_empty());
    assert_eq!(site.free(&l3).await, free);
    assert_eq!(world.query("QueryVmNic", &[&format!("l3NetworkUuid={l3}")]).await.len(), 1, "only the router's");
    assert_eq!(world.sections(&router).await["dhcp"]["hosts"], json!([]));
    let again = world.done("DestroyVmInstance", json!({"uuid": uuid_of_vm})).await;
    assert!(again.events.is_empty(), "to destroy what is gone is a success and changes nothing");
    world.one_holder_each().await;
}

/// What a router serves, without what is its own: names of nics, MACs and addresses towards other networks.
async fn services(world: &World, router: &str) -> Value {
    let mut sections = world.sections(router).await;
    sections["interfaces"] = json!(null);
    for rule in sections["snat"]["rules"].as_array_mut().unwrap() {
        rule["publicIp"] = json!(null);
    }
    sections
}

#[actix_rt::test]
async fn a_destroyed_router_comes_back_with_the_next_vm_and_serves_the_same() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let vms = [site.vm("a", &l3).await, site.vm("b", &l3).await];
    let free = (site.free(&site.management).await, site.free(&site.public).await);
    let first = uuid(&world.router_of(&l3).await);
    let before = services(&world, &first).await;

    world.done("DestroyVmInstance", json!({"uuid": first})).await;
    assert!(world.query("QueryVirtualRouterVm", &[]).await.is_empty());
    assert_eq!((site.free(&site.management).await, site.free(&site.public).await), (free.0 + 1, free.1 + 1));
    world.done("RebootVmInstance", json!({"uuid": uuid(&vms[0])})).await;
    let second = uuid(&world.router_of(&l3).await);
    assert_ne!(second, first);
    assert_eq!(services(&world, &second).await, before);

    world.done("DestroyVmInstance", json!({"uuid": second})).await;
    world.done("StopVmInstance", json!({"uuid": uuid(&vms[1])})).await;
    assert!(world.routers_of(&l3).await.is_empty(), "to stop a VM needs no router");
    world.done("StartVmInstance", json!({"uuid": uuid(&vms[1])})).await;
    let third = uuid(&world.router_of(&l3).await);
    assert_eq!(services(&world, &third).await, before);
    world.one_holder_each().await;
}

#[actix_rt::test]
async fn a_stopped_router_starts_with_the_next_vm_and_keeps_its_addresses() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let vm = uuid(&site.vm("a", &l3).await);
    let router = world.router_of(&l3).await;
    let before = addresses(&router);
    let router = uuid(&router);

    let stopped = world.make("StopVmInstance", json!({"uuid": router})).await;
    assert_eq!(
        (text(&stopped, "state"), text(&stopped, "status")),
        ("Stopped".to_string(), "Disconnected".to_string())
    );
    let refusal = world.refused("ProvisionVirtualRouterConfig", json!({"vmInstanceUuid": router})).await;
    assert_eq!(refusal.code, "VR.1000");
    let started = world.make("StartVmInstance", json!({"uuid": router})).await;
    assert_eq!((text(&started, "state"), text(&started, "status")), ("Running".to_string(), "Connected".to_string()));
    assert_eq!(addresses(&started), before);
    let rebooted = world.make("RebootVmInstance", json!({"uuid": router})).await;
    assert_eq!(text(&rebooted, "status"), "Connected");
    assert_eq!(addresses(&rebooted), before);

    world.done("StopVmInstance", json!({"uuid": router})).await;
    world.done("RebootVmInstance", json!({"uuid": vm})).await;
    let again = world.router_of(&l3).await;
    assert_eq!((uuid(&again), text(&again, "status")), (router.clone(), "Connected".to_string()));
    world.done("StopVmInstance", json!({"uuid": router})).await;
    site.vm("b", &l3).await;
    let again = world.router_of(&l3).await;
    assert_eq!((uuid(&again), text(&again, "status")), (router, "Connected".to_string()));
    assert_eq!(addresses(&again), before);
}

#[actix_rt::test]
async fn reconnect_replays_everything_and_upgrades_the_agent_only_where_its_digest_differs() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    site.vm("a", &l3).await;
    let router = world.router_of(&l3).await;
    let (digest, config) = (text(&router, "agentDigest"), text(&router, "configDigest"));
    let router = uuid(&router);

    world.fleet().drift(RouterId(id(&router)));
    let drift = world.read("GetVirtualRouterDrift", json!({"uuid": router})).await;
    assert!(!drift["items"].as_array().unwrap().is_empty(), "{drift}");
    let head = world.head();
    let after = world.make("ReconnectVirtualRouter", json!({"vmInstanceUuid": router})).await;
    assert_eq!((text(&after, "status"), text(&after, "configDigest")), ("Connected".to_string(), config.clone()));
    assert_eq!(text(&after, "agentDigest"), digest);
    assert_eq!(world.kinds_after(head).await, ["router.ReconnectRequested", "router.Connected"]);
    let drift = world.read("GetVirtualRouterDrift", json!({"uuid": router})).await;
    assert_eq!(drift["items"], json!([]));

    world.node.fleet().offer_simulated_agent(b"a newer agent".to_vec());
    let head = world.head();
    let after = world.make("ReconnectVirtualRouter", json!({"vmInstanceUuid": router})).await;
    assert_ne!(text(&after, "agentDigest"), digest);
    assert_eq!(text(&after, "configDigest"), config);
    let kinds = world.kinds_after(head).await;
    assert_eq!(kinds, ["router.ReconnectRequested", "router.AgentUpgraded", "router.Connected"]);

    let head = world.head();
    world.done("ReconnectVirtualRouter", json!({"vmInstanceUuid": router})).await;
    assert!(!world.kinds_after(head).await.contains(&"router.AgentUpgraded".to_string()));
}

#[actix_rt::test]
async fn provision_puts_the_services_back_without_touching_the_agent() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    site.vm("a", &l3).await;
    let router = uuid(&world.router_of(&l3).await);
    world.node.fleet().offer_simulated_agent(b"a newer agent".to_vec());
    world.fleet().drift(RouterId(id(&router)));
    let head = world.head();
    let after = world.make("ProvisionVirtualRouterConfig", json!({"vmInstanceUuid": router})).await;
    assert_eq!(text(&after, "status"), "Connected");
    let drift = world.read("GetVirtualRouterDrift", json!({"uuid": router})).await;
    assert_eq!(drift["items"], json!([]));
    assert_eq!(world.kinds_after(head).await, ["router.ProvisionRequested"]);
}

#[actix_rt::test]
async fn an_agent_is_put_in_place_on_start_only_where_the_configuration_says_so() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    site.vm("a", &l3).await;
    let router = uuid(&world.router_of(&l3).await);
    world.node.fleet().offer_simulated_agent(b"a newer agent".to_vec());
    let upgraded = |kinds: Vec<String>| kinds.contains(&"router.AgentUpgraded".to_string());
    let head = world.head();
    world.done("RebootVmInstance", json!({"uuid": router})).await;
    assert!(!upgraded(world.kinds_after(head).await));
    world.configure("virtualRouter", "agent.deployOnStart", "true").await;
    let head = world.head();
    world.done("RebootVmInstance", json!({"uuid": router})).await;
    assert!(upgraded(world.kinds_after(head).await));
}

#[actix_rt::test]
async fn a_state_goes_down_to_clusters_and_hosts_which_change_on_their_own_afterwards() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let states = || async {
        let mut states = vec![text(&world.get("QueryCluster", &site.cluster).await, "state")];
        for host in &site.hosts {
            states.push(text(&world.get("QueryHost", host).await, "state"));
        }
        states
    };
    let disabled = world.make("ChangeZoneState", json!({"uuid": site.zone, "stateEvent": "disable"})).await;
    assert_eq!(text(&disabled, "state"), "Disabled");
    assert_eq!(states().await, ["Disabled"; 3]);
    let refusal = world.refused("CreateVmInstance", json!({"name": "v", "l3NetworkUuids": [l3]})).await;
    assert_eq!(refusal.code, "HOST_ALLOCATION.1000");
    world.done("ChangeZoneState", json!({"uuid": site.zone, "stateEvent": "enable"})).await;
    assert_eq!(states().await, ["Enabled"; 3]);
    world.done("ChangeClusterState", json!({"uuid": site.cluster, "stateEvent": "disable"})).await;
    world.done("ChangeHostState", json!({"uuid": site.hosts[0], "stateEvent": "enable"})).await;
    assert_eq!(states().await, ["Disabled", "Enabled", "Disabled"]);
    let vm = site.vm("v", &l3).await;
    assert_eq!(text(&vm, "hostUuid"), site.hosts[0]);
}

#[actix_rt::test]
async fn a_disabled_network_takes_no_new_vm_and_leaves_the_others_alone() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let vm = uuid(&site.vm("a", &l3).await);
    world.done("ChangeL3NetworkState", json!({"uuid": l3, "stateEvent": "disable"})).await;
    let refusal = world.refused("CreateVmInstance", json!({"name": "b", "l3NetworkUuids": [l3]})).await;
    assert_eq!(refusal.code, "SYS.1006");
    assert!(refusal.detail.contains(&l3) && refusal.detail.contains("disabled"), "{refusal}");
    for command in ["StopVmInstance", "StartVmInstance", "RebootVmInstance"] {
        world.done(command, json!({"uuid": vm})).await;
    }
}

#[actix_rt::test]
async fn what_is_in_use_cannot_be_deleted_and_names_what_stands_in_the_way() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let vm = uuid(&site.vm("a", &l3).await);
    let router = uuid(&world.router_of(&l3).await);
    let l2 = text(&world.get("QueryL3Network", &l3).await, "l2NetworkUuid");
    let range = uuid(&world.one("QueryIpRange", &[&format!("l3NetworkUuid={l3}")]).await);
    let detach = json!({"l2NetworkUuid": l2, "clusterUuid": site.cluster});
    let host = text(&world.get("QueryVmInstance", &vm).await, "hostUuid");
    for (command, parameters, blocker) in [
        ("DeleteZone", json!({"uuid": site.zone}), &site.cluster),
        ("DeleteCluster", json!({"uuid": site.cluster}), &site.hosts[0]),
        ("DeleteHost", json!({"uuid": host}), &vm),
        ("DeleteImage", json!({"uuid": site.image}), &site.offering),
        ("DeleteL2Network", json!({"uuid": l2}), &l3),
        ("DetachL2NetworkFromCluster", detach.clone(), &vm),
        ("DeleteL3Network", json!({"uuid": l3}), &router),
        ("DeleteL3Network", json!({"uuid": site.public}), &site.offering),
        ("DeleteIpRange", json!({"uuid": range}), &vm),
    ] {
        let refusal = world.refused(command, parameters).await;
        assert_eq!(refusal.code, "SYS.1006", "{command}: {refusal}");
        assert!(refusal.blockers.iter().any(|b| b.uuid == id(blocker)), "{command}: {refusal:?}");
    }
    // Without them everything goes, and goes only once.
    world.done("DestroyVmInstance", json!({"uuid": vm})).await;
    world.done("DestroyVmInstance", json!({"uuid": router})).await;
    world.done("DetachL2NetworkFromCluster", detach).await;
    for (command, uuid) in [
        ("DeleteL3Network", &l3),
        ("DeleteL2Network", &l2),
        ("DeleteInstanceOffering", &site.offering),
        ("DeleteImage", &site.image),
        ("DeleteHost", &site.hosts[0]),
        ("DeleteHost", &site.hosts[1]),
    ] {
        world.done(command, json!({"uuid": uuid})).await;
        let head = world.head();
        world.done(command, json!({"uuid": uuid})).await;
        assert_eq!(world.asked_since(head).await, [""; 0], "{command} of what is gone changes nothing");
    }
    assert!(world.query("QueryIpRange", &[&format!("l3NetworkUuid={l3}")]).await.is_empty());
}

#[actix_rt::test]
async fn a_vm_has_a_nic_on_each_network_and_its_tags_choose_name_address_and_mac() {
    let world = World::new();
    let site = Site::new(&world).await;
    let (a, b) = (site.guest("a", ALL_SERVICES).await, site.guest("b", ALL_SERVICES).await);
    let range = world.one("QueryIpRange", &[&format!("l3NetworkUuid={b}")]).await;
    let ip = text(&range, "endIp");
    let tags = json!(["hostname::db", format!("staticIp::{b}::{ip}"), format!("customMac::{b}::02:00:00:00:00:07"),]);
    let wanted = json!({"name": "x y", "l3NetworkUuids": [a, b], "defaultL3NetworkUuid": b, "systemTags": tags, "userTags": ["u"]});
    let vm = world.make("CreateVmInstance", wanted).await;
    assert_eq!((text(&vm, "hostname"), text(&vm, "defaultL3NetworkUuid")), ("db".to_string(), b.clone()));
    assert_eq!(addresses(&vm)[1], (b.clone(), ip.clone(), "02:00:00:00:00:07".to_string()));
    let nics = vm["vmNics"].as_array().unwrap();
    assert!(text(&nics[0], "mac").starts_with("fa:") && text(&nics[0], "mac").ends_with(":00"), "{vm}");
    assert_eq!(world.query("QueryVirtualRouterVm", &[]).await.len(), 2, "one for each network");
    let resource = format!("resourceUuid={}", uuid(&vm));
    assert_eq!(world.query("QuerySystemTag", &[&resource]).await.len(), 3);
    assert_eq!(world.query("QueryUserTag", &[&resource]).await.len(), 1);
    // All of it is taken now.
    let address = json!({
        "name": "a", "l3NetworkUuids": [b], "systemTags": [format!("staticIp::{b}::{ip}")],
    });
    let refusal = world.refused("CreateVmInstance", address).await;
    assert_eq!(refusal.code, "L3.1000", "{refusal}");
    let tags = json!([format!("customMac::{b}::02:00:00:00:00:07")]);
    let mac = json!({"name": "m", "l3NetworkUuids": [b], "systemTags": tags});
    assert_eq!(world.refused("CreateVmInstance", mac).await.code, "VM.1009");
    let name = json!({"name": "n", "l3NetworkUuids": [b], "systemTags": ["hostname::DB"]});
    let refusal = world.refused("CreateVmInstance", name).await;
    assert_eq!((refusal.code.as_str(), refusal.field.as_deref()), ("SYS.1007", Some("systemTags")));
    world.done("DestroyVmInstance", json!({"uuid": uuid(&vm)})).await;
    assert!(world.query("QuerySystemTag", &[&resource]).await.is_empty(), "tags go with their resource");
    assert!(world.query("QueryUserTag", &[&resource]).await.is_empty());
}

#[actix_rt::test]
async fn two_vms_of_one_name_get_two_names() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let (first, second) = (site.vm("twin", &l3).await, site.vm("twin", &l3).await);
    let router = uuid(&world.router_of(&l3).await);
    let names = world.sections(&router).await["dns"]["names"].clone();
    let name_of = |vm: &Value| {
        let ip = &vm["vmNics"][0]["ip"];
        names.as_array().unwrap().iter().find(|name| name["ip"] == *ip).unwrap()["hostname"].clone()
    };
    assert_eq!(name_of(&first), json!("twin"), "the first created keeps the name");
    let address = text(&second["vmNics"][0], "ip").replace('.', "-");
    assert_eq!(name_of(&second), json!(format!("ip-{address}")));
}

#[actix_rt::test]
async fn name_servers_keep_their_order_and_one_added_again_goes_last() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    site.vm("vm", &l3).await;
    let router = uuid(&world.router_of(&l3).await);
    for dns in ["1.1.1.1", "2.2.2.2", "3.3.3.3", "fd00::53"] {
        world.done("AddDnsToL3Network", json!({"l3NetworkUuid": l3, "dns": dns})).await;
    }
    let refusal = world.refused("AddDnsToL3Network", json!({"l3NetworkUuid": l3, "dns": "fd00:0::53"})).await;
    assert_eq!(refusal.code, "SYS.1006", "IPv6 addresses are compared as numbers");
    world.done("RemoveDnsFromL3Network", json!({"l3NetworkUuid": l3, "dns": "2.2.2.2"})).await;
    let l3_now = world.make("AddDnsToL3Network", json!({"l3NetworkUuid": l3, "dns": "2.2.2.2"})).await;
    let wanted = json!(["1.1.1.1", "3.3.3.3", "fd00::53", "2.2.2.2"]);
    assert_eq!(l3_now["dns"], wanted);
    assert_eq!(world.sections(&router).await["dns"]["upstreams"], wanted);
    let head = world.head();
    world.done("RemoveDnsFromL3Network", json!({"l3NetworkUuid": l3, "dns": "4.4.4.4"})).await;
    assert_eq!(world.asked_since(head).await, [""; 0]);
}

#[actix_rt::test]
async fn services_are_detached_by_uuid_and_by_type() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let provider = uuid(&world.one("QueryNetworkServiceProvider", &["type=VirtualRouter"]).await);
    for name in [provider.as_str(), "VirtualRouter"] {
        let all = json!({"l3NetworkUuid": l3, "networkServices": {name: ALL_SERVICES}});
        let detached = world.make("DetachNetworkServiceFromL3Network", all.clone()).await;
        assert_eq!(detached["networkServices"], json!([]));
        let attached = world.make("AttachNetworkServiceToL3Network", all).await;
        assert_eq!(attached["networkServices"].as_array().unwrap().len(), 3);
    }
}

#[actix_rt::test]
async fn inventories_and_router_configurations_can_be_asked_of_earlier_positions() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let first = site.vm("a", &l3).await;
    let router = uuid(&world.router_of(&l3).await);
    let then = world.head();
    let sections = world.sections(&router).await;
    let l3_then = world.get("QueryL3Network", &l3).await;
    world.done("UpdateL3Network", json!({"uuid": l3, "name": "renamed", "dnsDomain": "other.example"})).await;
    site.vm("b", &l3).await;
    world.done("DestroyVmInstance", json!({"uuid": uuid(&first)})).await;
    assert_ne!(world.sections(&router).await, sections);
    assert_eq!(world.query_at("QueryVmInstance", &[], Some(then)).await, [first]);
    assert_eq!(world.query_at("QueryL3Network", &["name=guest"], Some(then)).await, [l3_then]);
    let at = json!({"uuid": router, "at": then.to_string()});
    assert_eq!(world.read("GetVirtualRouterConfig", at).await["config"]["sections"], sections);
    let before_any = json!({"uuid": router, "at": "1"});
    let refusal =
        switchback_bus::Bus::read(&*world.node, &admin(), "GetVirtualRouterConfig", before_any).await.unwrap_err();
    assert_eq!(refusal.code, "SYS.1003");
    let diff = json!({"uuid": router, "from": then.to_string()});
    let diff = world.read("GetVirtualRouterDiff", diff).await;
    assert!(diff["sections"]["dhcp"]["added"][0]["item"]["hostname"] == json!("b"), "{diff}");
    assert!(diff["sections"]["dhcp"]["removed"][0]["item"]["hostname"] == json!("a"), "{diff}");
}
