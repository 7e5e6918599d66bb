//! Networks that hosts serve themselves, by the provider Flat: what is in the documents of hosts, and what their kernels
//! were told.

use crate::harness::{Site, World, id, text, uuid};
use serde_json::{Value, json};
use switchback_events::HostId;

const ATTACH: &str = "AttachNetworkServiceToL3Network";
const DETACH: &str = "DetachNetworkServiceFromL3Network";
const CHANGE: &str = "ChangeL3NetworkDhcpIpAddress";

fn of(l3: &str, services: &[&str]) -> Value {
    json!({"l3NetworkUuid": l3, "networkServices": {"Flat": services}})
}

/// Two hosts, no offering of routers, and a network that hosts serve.
struct Flat {
    world: World,
    site: Site,
    l3: String,
}

impl Flat {
    async fn new() -> Flat {
        let world = World::new();
        let site = Site::bare(&world, 2).await;
        let l3 = site.network("flat", "10.7.0.0/24").await;
        world.done(ATTACH, of(&l3, &["DHCP", "DNS", "HostRoute"])).await;
        Flat { world, site, l3 }
    }

    async fn vm(&self, name: &str, host: usize) -> Value {
        let vm = json!({"name": name, "l3NetworkUuids": [self.l3], "hostUuid": self.site.hosts[host]});
        self.world.make("CreateVmInstance", vm).await
    }

    /// What a host serves on the network.
    fn served(&self, host: usize) -> Value {
        self.sections(host)["services"][&self.l3].clone()
    }

    fn sections(&self, host: usize) -> Value {
        self.world.fleet().host_sections(HostId(id(&self.site.hosts[host])))
    }

    /// The clients of the network in a host's document.
    fn clients(&self, host: usize) -> Vec<String> {
        let hosts = self.served(host)["sections"]["dhcp"]["hosts"].clone();
        hosts.as_array().into_iter().flatten().map(|host| text(host, "ip")).collect()
    }

    /// What the name of a file, table or process of a host's kernel ends in, and its text.
    fn texts(&self, host: usize, part: &str) -> Vec<String> {
        let host = id(&self.site.hosts[host]);
        let texts = self.world.fleet().texts().into_iter();
        texts.filter(|((of, name), _)| *of == host && name.contains(part)).map(|(_, text)| text).collect()
    }

    /// The file of DHCP clients that a host's dnsmasq reads.
    fn hosts_file(&self, host: usize) -> Vec<String> {
        self.texts(host, &format!("hosts-{}", self.l3))
    }

    async fn server(&self) -> Value {
        self.world.read("GetL3NetworkDhcpIpAddress", json!({"l3NetworkUuid": self.l3})).await["ip"].clone()
    }
}

#[actix_rt::test]
async fn f10_dhcp_is_applied_at_a_start_and_released_at_a_stop() {
    let flat = Flat::new().await;
    let world = &flat.world;
    let server = flat.server().await;
    let record = world.one("QueryIpAddress", &[&format!("l3NetworkUuid={}", flat.l3), "usedFor=DHCP"]).await;
    assert_eq!((&record["ip"], &record["vmNicUuid"]), (&server, &Value::Null));
    assert_eq!(flat.served(0), Value::Null, "nobody is there yet");
    for dns in ["9.9.9.9", "8.8.8.8"] {
        world.done("AddDnsToL3Network", json!({"l3NetworkUuid": flat.l3, "dns": dns})).await;
    }
    let vm = flat.vm("web", 0).await;
    let ip = text(&vm["vmNics"][0], "ip");
    assert_eq!(flat.clients(0), std::slice::from_ref(&ip));
    let told = &flat.served(0)["sections"]["dhcp"]["networks"][0];
    assert_eq!((&told["server"], &told["gateway"]), (&server, &json!("10.7.0.1")));
    // The host first, which knows the VMs' names, and then the network's own: it asks nobody for them.
    assert_eq!(told["dnsServers"], json!([server, "9.9.9.9", "8.8.8.8"]));
    let dns = flat.served(0)["sections"]["dns"].clone();
    assert_eq!((&dns["names"][0]["hostname"], &dns["upstreams"]), (&json!("web"), &json!([])));
    let files = flat.hosts_file(0);
    assert_eq!(files, [format!("{},{ip},web\n", text(&vm["vmNics"][0], "mac"))]);
    assert_eq!(flat.texts(0, "process ").iter().filter(|line| line.starts_with("dnsmasq")).count(), 1);

    world.done("StopVmInstance", json!({"uuid": uuid(&vm)})).await;
    assert_eq!((flat.served(0), flat.hosts_file(0).len()), (Value::Null, 0));
    world.done("StartVmInstance", json!({"uuid": uuid(&vm)})).await;
    assert_eq!((flat.clients(0), flat.hosts_file(0)), (vec![ip], files));
    assert_eq!(flat.server().await, server);
    world.one_holder_each().await;
}

#[actix_rt::test]
async fn f10_each_host_serves_its_own_vms_at_the_same_address() {
    let flat = Flat::new().await;
    let (here, there) = (flat.vm("here", 0).await, flat.vm("there", 1).await);
    let ip = |vm: &Value| text(&vm["vmNics"][0], "ip");
    assert_eq!((flat.clients(0), flat.clients(1)), (vec![ip(&here)], vec![ip(&there)]));
    assert_eq!(flat.served(0)["plugs"], flat.served(1)["plugs"]);
    assert_eq!(flat.served(0)["guard"], flat.served(1)["guard"]);
    // What is from there or for there does not leave the host.
    let (mac, server) = (text(&flat.served(0)["guard"], "mac"), flat.server().await);
    let guards = flat.texts(0, "switchback_rooms").concat();
    for words in [format!("ether saddr {mac} drop"), format!("arp daddr ip {} drop", server.as_str().unwrap())] {
        assert_eq!(guards.matches(&words).count(), 2, "{guards}");
    }
    flat.world.done("DestroyVmInstance", json!({"uuid": uuid(&here)})).await;
    assert_eq!((flat.served(0), flat.texts(0, "switchback_rooms").len()), (Value::Null, 0));
    assert_eq!(flat.clients(1), [ip(&there)]);
}

#[actix_rt::test]
async fn f10_a_host_that_is_connected_again_is_told_of_all_at_once() {
    let flat = Flat::new().await;
    for name in ["a", "b", "c"] {
        flat.vm(name, 0).await;
    }
    let files = flat.hosts_file(0);
    assert_eq!(files[0].lines().count(), 3);
    let host = HostId(id(&flat.site.hosts[0]));
    flat.world.fleet().wipe_rooms(host);
    assert_eq!(flat.texts(0, "process ").iter().filter(|line| line.starts_with("dnsmasq")).count(), 0);
    flat.world.done("ReconnectHost", json!({"uuid": flat.site.hosts[0]})).await;
    assert_eq!(flat.texts(0, "process ").iter().filter(|line| line.starts_with("dnsmasq")).count(), 1);
    assert_eq!(flat.hosts_file(0), files);
}

#[actix_rt::test]
async fn f10_with_the_services_or_the_network_its_namespace_goes() {
    let flat = Flat::new().await;
    let world = &flat.world;
    let vm = flat.vm("web", 0).await;
    world.done(DETACH, of(&flat.l3, &["DHCP"])).await;
    assert_eq!(flat.clients(0), [""; 0]);
    assert_eq!(flat.served(0)["sections"]["dns"]["names"][0]["hostname"], "web");
    world.done(DETACH, of(&flat.l3, &["DNS"])).await;
    assert_eq!((flat.served(0), flat.hosts_file(0).len(), flat.server().await), (Value::Null, 0, Value::Null));
    assert!(world.query("QueryIpAddress", &["usedFor=DHCP"]).await.is_empty());
    world.done(ATTACH, of(&flat.l3, &["DHCP"])).await;
    assert_eq!(flat.clients(0).len(), 1);
    world.done("DestroyVmInstance", json!({"uuid": uuid(&vm)})).await;
    world.done("DeleteL3Network", json!({"uuid": flat.l3})).await;
    assert_eq!((flat.served(0), flat.texts(0, "-fl-").len()), (Value::Null, 0));
    assert!(world.query("QueryIpAddress", &["usedFor=DHCP"]).await.is_empty());
}

#[actix_rt::test]
async fn f10_the_address_of_the_dhcp_server_can_be_chosen() {
    let flat = Flat::new().await;
    let world = &flat.world;
    let vm = flat.vm("web", 0).await;
    let ip = text(&vm["vmNics"][0], "ip");
    let before = flat.server().await;
    let to = |l3: &str, ip: &str| json!({"l3NetworkUuid": l3, "dhcpServerIp": ip});
    world.done(CHANGE, to(&flat.l3, "10.7.0.200")).await;
    assert_eq!((flat.server().await, &flat.served(0)["guard"]["ip"]), (json!("10.7.0.200"), &json!("10.7.0.200")));
    let records = world.query("QueryIpAddress", &["usedFor=DHCP"]).await;
    assert_eq!(records.iter().map(|one| text(one, "ip")).collect::<Vec<_>>(), ["10.7.0.200"], "not {before} any more");
    world.done(CHANGE, to(&flat.l3, "10.7.0.200")).await;
    for (parameters, code, words) in [
        (to(&flat.l3, "10.8.0.9"), "SYS.1007", "10.8.0.9"),
        (to(&flat.l3, "10.7.0.1"), "SYS.1007", "10.7.0.1"),
        (to(&flat.l3, &ip), "SYS.1007", "in use"),
        (to(&flat.l3, "fd00::1"), "SYS.1007", "IPv4"),
        (json!({"l3NetworkUuid": flat.l3}), "SYS.1007", "dhcpServerIp"),
        (json!({"l3NetworkUuid": flat.l3, "dhcpv6ServerIp": "fd00::9"}), "SYS.1104", "dhcpv6ServerIp"),
        (to(&flat.site.public, "203.0.113.9"), "SYS.1006", "Flat"),
    ] {
        let refusal = world.refused(CHANGE, parameters).await;
        assert!(refusal.code == code && refusal.detail.contains(words), "{refusal}");
    }
    // With its range the address goes; the next VM brings another one.
    world.done("DestroyVmInstance", json!({"uuid": uuid(&vm)})).await;
    let range = uuid(&world.one("QueryIpRange", &[&format!("l3NetworkUuid={}", flat.l3)]).await);
    world.done("DeleteIpRange", json!({"uuid": range})).await;
    assert_eq!(flat.server().await, Value::Null);
    let range = json!({"l3NetworkUuid": flat.l3, "name": "r", "networkCidr": "10.9.0.0/24"});
    world.done("AddIpRangeByNetworkCidr", range).await;
    flat.vm("web", 0).await;
    assert!(flat.server().await.as_str().is_some_and(|ip| ip.starts_with("10.9.0.")));
}

#[actix_rt::test]
async fn c11_a_host_that_serves_and_one_vm_share_two_addresses() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let l2 = site.l2("flat").await;
    let l3 = uuid(&world.make("CreateL3Network", json!({"name": "flat", "l2NetworkUuid": l2})).await);
    world.done(ATTACH, of(&l3, &["DHCP"])).await;
    world.done("AddIpRange", crate::scene::range(&l3, "10.0.0.10", "10.0.0.11")).await;
    let vm = |n: usize| json!({"name": format!("vm-{n}"), "l3NetworkUuids": [l3]});
    let answers = world.at_once((0..3).map(|n| ("CreateVmInstance", vm(n))).collect()).await;
    let refused: Vec<String> =
        answers.iter().filter_map(|one| one.as_ref().err()).map(|one| one.code.to_string()).collect();
    assert_eq!(refused, ["L3.1000"; 2]);
    let used = world.query("QueryIpAddress", &[&format!("l3NetworkUuid={l3}")]).await;
    let mut of: Vec<&Value> = used.iter().map(|one| &one["usedFor"]).collect();
    of.sort_by_key(|word| word.is_null());
    assert_eq!(of, [&json!("DHCP"), &Value::Null]);
    world.one_holder_each().await;
}

#[actix_rt::test]
async fn f10_hosts_serve_ipv4_only() {
    let flat = Flat::new().await;
    let world = &flat.world;
    let six =
        |l3: &str| json!({"l3NetworkUuid": l3, "name": "r", "networkCidr": "fd00:1::/64", "addressMode": "SLAAC"});
    let refusal = world.refused("AddIpv6RangeByNetworkCidr", six(&flat.l3)).await;
    assert!(refusal.code == "SYS.1104" && refusal.detail.contains("Flat"), "{refusal}");
    let other = flat.site.network("other", "10.8.0.0/24").await;
    world.done("AddIpv6RangeByNetworkCidr", six(&other)).await;
    let refusal = world.refused(ATTACH, of(&other, &["DHCP"])).await;
    assert!(refusal.code == "SYS.1104" && refusal.detail.contains("IPv6"), "{refusal}");
    let refusal = world.refused(ATTACH, of(&flat.l3, &["Userdata"])).await;
    assert!(refusal.code == "SYS.1104" && refusal.detail.contains("Userdata"), "{refusal}");
}
