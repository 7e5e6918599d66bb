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

/// The same network with EIPs by hosts.
struct WithEips {
    flat: Flat,
    world: World,
}

impl WithEips {
    async fn new() -> WithEips {
        let flat = Flat::new().await;
        let world = flat.world.clone();
        world.done(ATTACH, of(&flat.l3, &["Eip"])).await;
        WithEips { flat, world }
    }

    async fn vip(&self, l3: &str) -> Value {
        self.world.make("CreateVip", json!({"name": "vip", "l3NetworkUuid": l3})).await
    }

    /// An EIP that leads nowhere yet, and its address.
    async fn eip(&self, l3: &str) -> (String, String) {
        let vip = self.vip(l3).await;
        let eip = self.world.make("CreateEip", json!({"name": "eip", "vipUuid": vip["uuid"]})).await;
        (uuid(&eip), text(&vip, "ip"))
    }

    async fn refused(&self, name: &str, parameters: Value, code: &str, words: &str) {
        let refusal = self.world.refused(name, parameters).await;
        assert!(refusal.code == code && refusal.detail.contains(words), "{words}: {refusal}");
    }

    /// What a host serves an EIP with.
    fn served(&self, host: usize, eip: &str) -> Value {
        self.flat.sections(host)["services"][eip].clone()
    }
}

fn lead(eip: &str, vm: &Value) -> Value {
    json!({"eipUuid": eip, "vmNicUuid": vm["vmNics"][0]["uuid"]})
}

#[actix_rt::test]
async fn h10_the_subnets_of_an_eip_of_a_host_do_not_overlap() {
    let with = WithEips::new().await;
    let (public, world) = (with.flat.site.public.clone(), &with.world);
    for (net, words) in [("203.0.113.128/26", "overlaps"), ("203.0.0.0/16", "lies in the guest subnet")] {
        let guest = with.flat.site.network("guest", net).await;
        world.done(ATTACH, of(&guest, &["Eip"])).await;
        let vm = world.make("CreateVmInstance", json!({"name": "vm", "l3NetworkUuids": [guest]})).await;
        let vip = json!({"name": "vip", "l3NetworkUuid": public, "requiredIp": "203.0.113.9"});
        let vip = uuid(&world.make("CreateVip", vip).await);
        let eip = json!({"name": "eip", "vipUuid": vip, "vmNicUuid": vm["vmNics"][0]["uuid"]});
        with.refused("CreateEip", eip, "SYS.1006", words).await;
        world.done("DeleteVip", json!({"uuid": vip})).await;
    }
}

#[actix_rt::test]
async fn h11_an_eip_of_a_host_follows_its_vm_and_is_detached_while_that_is_stopped() {
    let with = WithEips::new().await;
    let (flat, world) = (&with.flat, &with.world);
    let vm = flat.vm("web", 0).await;
    let (eip, vip) = with.eip(&flat.site.public).await;
    world.done("AttachEip", lead(&eip, &vm)).await;
    let ip = text(&vm["vmNics"][0], "ip");
    let served = with.served(0, &eip);
    let (config, nics) = (&served["sections"]["eips"]["eips"][0], &served["sections"]["interfaces"]["nics"]);
    assert_eq!((&config["vipAddress"], &config["guestAddress"]), (&json!(vip), &json!(ip)));
    assert_eq!(
        (&nics[0]["addresses"], &nics[1]["addresses"]),
        (&json!(["10.7.0.1/24"]), &json!([format!("{vip}/24")]))
    );
    assert_eq!(served["sections"]["interfaces"]["defaultGateway"], "203.0.113.1");
    assert_eq!(with.served(1, &eip), Value::Null);
    // It is between this nic and its gateway only.
    let guards = flat.texts(0, "switchback_rooms").concat();
    let nic = text(&served["guard"], "nic");
    assert!(guards.contains(&format!("iifname \"{nic}\" oifname != ")), "{guards}");
    let tables = flat.texts(0, "table inet").concat();
    assert!(tables.contains(&vip) && tables.contains(&ip), "{tables}");

    world.done("ChangeEipState", json!({"uuid": eip, "stateEvent": "disable"})).await;
    assert_eq!(with.served(0, &eip), Value::Null);
    world.done("ChangeEipState", json!({"uuid": eip, "stateEvent": "enable"})).await;
    assert_eq!(with.served(0, &eip), served);
    world.configure("eip", "snatInboundTraffic", "true").await;
    world
        .until("what comes in to carry the gateway's address", async || {
            let said = &with.served(0, &eip)["sections"]["eips"]["eips"][0]["snatInboundTraffic"];
            (*said == json!(true)).then_some(())
        })
        .await;
    world.configure("eip", "snatInboundTraffic", "false").await;
    world.done("StopVmInstance", json!({"uuid": uuid(&vm)})).await;
    assert_eq!(with.served(0, &eip), Value::Null);
    world.done("StartVmInstance", json!({"uuid": uuid(&vm)})).await;
    assert_eq!(with.served(0, &eip), served);
    world.done("StopVmInstance", json!({"uuid": uuid(&vm)})).await;
    world.done("DetachEip", json!({"uuid": eip})).await;
    world.done("StartVmInstance", json!({"uuid": uuid(&vm)})).await;
    assert_eq!(with.served(0, &eip), Value::Null);
    world.done("AttachEip", lead(&eip, &vm)).await;
    world.done("DeleteEip", json!({"uuid": eip})).await;
    assert_eq!((with.served(0, &eip), flat.clients(0)), (Value::Null, vec![ip]));
}

#[actix_rt::test]
async fn h13_an_eip_of_a_host_needs_its_network_in_the_vms_cluster() {
    let with = WithEips::new().await;
    let (flat, world) = (&with.flat, &with.world);
    let vm = flat.vm("web", 0).await;
    let l2 = json!({"zoneUuid": flat.site.zone, "name": "far", "physicalInterface": "eth1", "vlan": 900});
    let l2 = uuid(&world.make("CreateL2VlanNetwork", l2).await);
    let l3 = json!({"name": "far", "l2NetworkUuid": l2, "category": "Public"});
    let l3 = uuid(&world.make("CreateL3Network", l3).await);
    let range = json!({"l3NetworkUuid": l3, "name": "r", "networkCidr": "198.51.100.0/24"});
    world.done("AddIpRangeByNetworkCidr", range).await;
    let (eip, _) = with.eip(&l3).await;
    with.refused("AttachEip", lead(&eip, &vm), "SYS.1006", "is not attached to cluster").await;
    world.done("AttachL2NetworkToCluster", json!({"l2NetworkUuid": l2, "clusterUuid": flat.site.cluster})).await;
    let nics = |provider: &str| json!({"eipUuid": eip, "networkServiceProvider": provider});
    let found = async |provider: &str| {
        world.read("GetEipAttachableVmNics", nics(provider)).await["inventories"].as_array().map_or(0, Vec::len)
    };
    assert_eq!((found("Flat").await, found("VirtualRouter").await, found("vrouter").await), (1, 0, 0));
    world.done("AttachEip", lead(&eip, &vm)).await;
    assert_ne!(with.served(0, &eip), Value::Null);
    // What a host does not do is not taken silently.
    let vip = text(&world.get("QueryEip", &eip).await, "vipUuid");
    with.refused("SetVipQos", json!({"uuid": vip, "inboundBandwidth": 8_000_000}), "SYS.1104", "limits").await;
    let limited = with.vip(&l3).await;
    world.done("SetVipQos", json!({"uuid": limited["uuid"], "inboundBandwidth": 8_000_000})).await;
    let other = flat.vm("other", 0).await;
    let nic = &other["vmNics"][0]["uuid"];
    let create = |vip: &Value| json!({"name": "eip", "vipUuid": vip["uuid"], "vmNicUuid": nic});
    with.refused("CreateEip", create(&limited), "SYS.1104", "limits").await;
    let pool = json!({
        "l3NetworkUuid": l3, "name": "pool", "networkCidr": "192.0.2.0/24", "ipRangeType": "AddressPool",
    });
    let pool = uuid(&world.make("AddIpRangeByNetworkCidr", pool).await);
    let pooled = json!({"name": "vip", "l3NetworkUuid": l3, "ipRangeUuid": pool});
    let pooled = world.make("CreateVip", pooled).await;
    with.refused("CreateEip", create(&pooled), "SYS.1104", "AddressPool").await;
}

#[actix_rt::test]
async fn h14_a_nic_has_one_eip_of_a_host() {
    let with = WithEips::new().await;
    let (flat, world) = (&with.flat, &with.world);
    let vm = flat.vm("web", 0).await;
    let (first, _) = with.eip(&flat.site.public).await;
    world.done("AttachEip", lead(&first, &vm)).await;
    let other = flat.site.network("other", "198.51.100.0/24").await;
    let (second, _) = with.eip(&other).await;
    with.refused("AttachEip", lead(&second, &vm), "SYS.1006", "already").await;
    // One of IPv6 beside it nobody gives yet.
    let six =
        json!({"l3NetworkUuid": other, "name": "r", "networkCidr": "2001:db8::/64", "addressMode": "Stateful-DHCP"});
    world.done("AddIpv6RangeByNetworkCidr", six).await;
    let vip = json!({"name": "vip", "l3NetworkUuid": other, "ipVersion": 6});
    let vip = uuid(&world.make("CreateVip", vip).await);
    let eip = json!({"name": "eip", "vipUuid": vip, "vmNicUuid": vm["vmNics"][0]["uuid"]});
    with.refused("CreateEip", eip, "SYS.1104", "IPv6").await;
    world.done("DetachEip", json!({"uuid": first})).await;
    world.done("AttachEip", lead(&second, &vm)).await;
    assert_ne!(with.served(0, &second), Value::Null);
}
