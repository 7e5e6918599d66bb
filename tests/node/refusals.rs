//! Bad input for every command: the code of MODEL.md, a message that names field and value, and nothing in the log.

mod accounts;
mod l2_networks;
mod load_balancers;
mod nics;
mod objects;
mod ownership;
mod roles;
mod security_groups;
mod vips;

use crate::harness::{ALL_SERVICES, Site, World, text, uuid};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use switchback_bus::{COMMANDS, Check, KEY_SECRET, creates};
use switchback_events::{Id, built_in_provider};

/// A data centre with something in every state that commands refuse.
struct Scene {
    site: Site,
    world: World,
    other_zone: String,
    other_cluster: String,
    other_l2: String,
    other_l3: String,
    kvm_cluster: String,
    disabled_host: String,
    data_image: String,
    offering_of_vms: String,
    guest: String,
    guest_l2: String,
    guest_range: String,
    twin_l2: String,
    untagged_twin: String,
    rangeless: String,
    system_l3: String,
    disabled_l3: String,
    overlapping: String,
    running: String,
    stopped: String,
    router: String,
    router_nic: String,
    running_nic: String,
    stopped_router: String,
    taken_ip: String,
    vip: String,
    vip_ip: String,
    system_vip: String,
    public_range: String,
    policy: String,
    role: String,
}

async fn l3(world: &World, l2: &str, extra: Value) -> String {
    let mut l3 = json!({"name": "l3", "l2NetworkUuid": l2});
    l3.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    uuid(&world.make("CreateL3Network", l3).await)
}

async fn no_vlan(world: &World, zone: &str, name: &str) -> String {
    let l2 = json!({"zoneUuid": zone, "name": name, "physicalInterface": "eth3"});
    uuid(&world.make("CreateL2NoVlanNetwork", l2).await)
}

async fn scene() -> Scene {
    let world = World::new();
    let mut site = Site::new(&world).await;
    site.add_host().await;
    let disabled_host = site.hosts[2].clone();
    world.done("ChangeHostState", json!({"uuid": disabled_host, "stateEvent": "disable"})).await;
    let other_zone = uuid(&world.make("CreateZone", json!({"name": "other"})).await);
    let cluster = |zone: &str, hypervisor: &str| json!({"zoneUuid": zone, "name": "c", "hypervisorType": hypervisor});
    let other_cluster = uuid(&world.make("CreateCluster", cluster(&other_zone, "Simulator")).await);
    let kvm_cluster = uuid(&world.make("CreateCluster", cluster(&site.zone, "KVM")).await);
    let other_l2 = no_vlan(&world, &other_zone, "other").await;
    let other_l3 = l3(&world, &other_l2, json!({})).await;
    let image = json!({"name": "data", "url": "file:///d", "mediaType": "DataVolumeTemplate"});
    let data_image = uuid(&world.make("AddImage", image).await);
    let offering = json!({"name": "small", "cpuNum": 1, "memorySize": 1024});
    let offering_of_vms = uuid(&world.make("CreateInstanceOffering", offering).await);
    let guest = site.guest("guest", ALL_SERVICES).await;
    world.done("AddDnsToL3Network", json!({"l3NetworkUuid": guest, "dns": "1.1.1.1"})).await;
    let route = json!({"l3NetworkUuid": guest, "prefix": "10.8.0.0/16", "nexthop": "10.0.0.9"});
    world.done("AddHostRouteToL3Network", route).await;
    let running = site.vm("running", &guest).await;
    let stopped = uuid(&site.vm("stopped", &guest).await);
    world.done("StopVmInstance", json!({"uuid": stopped})).await;
    let router = uuid(&world.router_of(&guest).await);
    let quiet = site.guest("quiet", ALL_SERVICES).await;
    site.vm("quiet", &quiet).await;
    let stopped_router = uuid(&world.router_of(&quiet).await);
    world.done("StopVmInstance", json!({"uuid": stopped_router})).await;
    let guest_l2 =
        world.get("QueryL2Network", &text(&world.get("QueryL3Network", &guest).await, "l2NetworkUuid")).await;
    let twin = json!({
        "zoneUuid": site.zone, "name": "twin", "physicalInterface": "eth0", "vlan": guest_l2["vlan"],
    });
    let twin_l2 = uuid(&world.make("CreateL2VlanNetwork", twin).await);
    let untagged = no_vlan(&world, &site.zone, "untagged").await;
    let attach = json!({"l2NetworkUuid": untagged, "clusterUuid": site.cluster});
    world.done("AttachL2NetworkToCluster", attach).await;
    let untagged_twin = no_vlan(&world, &site.zone, "untagged twin").await;
    let rangeless = l3(&world, &untagged, json!({})).await;
    let system_l3 = l3(&world, &untagged, json!({"system": true, "category": "System"})).await;
    let disabled_l3 = l3(&world, &untagged, json!({})).await;
    world.done("ChangeL3NetworkState", json!({"uuid": disabled_l3, "stateEvent": "disable"})).await;
    let overlapping = site.network("overlapping", "172.20.0.0/25").await;
    let policy = json!({"name": "p", "statements": [{"effect": "Allow", "actions": ["read"]}]});
    let policy = uuid(&world.make("CreatePolicy", policy).await);
    let role = uuid(&world.make("CreateRole", json!({"name": "r"})).await);
    let guest_range = uuid(&world.one("QueryIpRange", &[&format!("l3NetworkUuid={guest}")]).await);
    let vip = world.make("CreateVip", json!({"name": "vip", "l3NetworkUuid": site.public})).await;
    let system = world.query("QueryVip", &["system=true"]).await;
    let public_range = uuid(&world.one("QueryIpRange", &[&format!("l3NetworkUuid={}", site.public)]).await);
    Scene {
        other_zone,
        other_cluster,
        other_l2,
        other_l3,
        kvm_cluster,
        disabled_host,
        data_image,
        offering_of_vms,
        guest,
        guest_l2: uuid(&guest_l2),
        guest_range,
        twin_l2,
        untagged_twin,
        rangeless,
        system_l3,
        disabled_l3,
        overlapping,
        vip_ip: text(&vip, "ip"),
        vip: uuid(&vip),
        system_vip: uuid(&system[0]),
        public_range,
        taken_ip: text(&running["vmNics"][0], "ip"),
        policy,
        role,
        router_nic: uuid(&world.get("QueryVirtualRouterVm", &router).await["vmNics"][0]),
        running_nic: uuid(&running["vmNics"][0]),
        running: uuid(&running),
        stopped,
        router,
        stopped_router,
        site,
        world,
    }
}

/// Command, parameters, code, field, value. An empty field: the message is about a state and names only the value.
type Row = (&'static str, Value, &'static str, &'static str, String);

const ARGUMENT: &str = "SYS.1007";
const NOT_FOUND: &str = "SYS.1003";
const OPERATION: &str = "SYS.1006";
const NOT_SUPPORTED: &str = "SYS.1104";

fn nobody() -> String {
    Id::of_name("nobody").to_string()
}

fn row(command: &'static str, parameters: Value, code: &'static str, field: &'static str, value: &str) -> Row {
    (command, parameters, code, field, value.to_string())
}

/// The same parameters with one changed.
fn with(parameters: &Value, field: &str, value: Value) -> Value {
    let mut parameters = parameters.clone();
    parameters[field] = value;
    parameters
}

fn places(s: &Scene) -> Vec<Row> {
    let (nobody, site) = (nobody(), &s.site);
    let cluster = json!({"zoneUuid": site.zone, "name": "c", "hypervisorType": "KVM"});
    let host = json!({"clusterUuid": site.cluster, "name": "h", "managementIp": "10.9.9.9"});
    let named = json!({"uuid": nobody, "name": "x"});
    let enable = json!({"uuid": nobody, "stateEvent": "enable"});
    let image = json!({"name": "i", "url": "file:///i"});
    vec![
        row("CreateZone", json!({"name": "z", "resourceUuid": site.zone}), OPERATION, "resourceUuid", &site.zone),
        row("CreateZone", json!({"name": "z", "systemTags": ["nonsense"]}), ARGUMENT, "systemTags", "nonsense"),
        row("CreateZone", json!({"name": "z", "systemTags": ["hostname::a"]}), ARGUMENT, "systemTags", "hostname::a"),
        row("UpdateZone", named.clone(), NOT_FOUND, "uuid", &nobody),
        row("ChangeZoneState", enable.clone(), NOT_FOUND, "uuid", &nobody),
        row(
            "ChangeZoneState",
            json!({"uuid": site.zone, "stateEvent": "maintain"}),
            ARGUMENT,
            "stateEvent",
            "maintain",
        ),
        row("DeleteZone", json!({"uuid": site.zone}), OPERATION, "", "cluster"),
        row(
            "DeleteImage",
            json!({"uuid": site.image, "deleteMode": "Enforcing"}),
            NOT_SUPPORTED,
            "deleteMode",
            "Enforcing",
        ),
        row("DeleteZone", json!({"uuid": site.zone, "deleteMode": "Soft"}), ARGUMENT, "deleteMode", "Soft"),
        row("CreateCluster", with(&cluster, "zoneUuid", json!(nobody)), NOT_FOUND, "zoneUuid", &nobody),
        row("CreateCluster", with(&cluster, "type", json!("baremetal")), ARGUMENT, "type", "baremetal"),
        row("UpdateCluster", named.clone(), NOT_FOUND, "uuid", &nobody),
        row("ChangeClusterState", enable.clone(), NOT_FOUND, "uuid", &nobody),
        row("DeleteCluster", json!({"uuid": site.cluster}), OPERATION, "", "host-1"),
        row("AddKVMHost", with(&host, "clusterUuid", json!(nobody)), NOT_FOUND, "clusterUuid", &nobody),
        row("AddKVMHost", host.clone(), ARGUMENT, "clusterUuid", &site.cluster),
        row(
            "AddSimulatorHost",
            with(&host, "clusterUuid", json!(s.kvm_cluster)),
            ARGUMENT,
            "clusterUuid",
            &s.kvm_cluster,
        ),
        row("AddSimulatorHost", with(&host, "clusterUuid", json!(nobody)), NOT_FOUND, "clusterUuid", &nobody),
        row("AddSimulatorHost", with(&host, "managementIp", json!("10.1.0.1")), ARGUMENT, "managementIp", "10.1.0.1"),
        row("AddSimulatorHost", with(&host, "managementIp", json!("224.0.0.1")), ARGUMENT, "managementIp", "224.0.0.1"),
        row("AddSimulatorHost", with(&host, "managementIp", json!("0.0.0.0")), ARGUMENT, "managementIp", "0.0.0.0"),
        row("UpdateHost", named.clone(), NOT_FOUND, "uuid", &nobody),
        row("ChangeHostState", enable.clone(), NOT_FOUND, "uuid", &nobody),
        row("ChangeHostState", json!({"uuid": site.hosts[0], "stateEvent": "empty"}), ARGUMENT, "stateEvent", "empty"),
        row("ReconnectHost", json!({"uuid": nobody}), NOT_FOUND, "uuid", &nobody),
        row("DeleteHost", json!({"uuid": "x"}), ARGUMENT, "uuid", "x"),
        row("AddImage", with(&image, "mediaType", json!("Floppy")), ARGUMENT, "mediaType", "Floppy"),
        row("AddImage", with(&image, "resourceUuid", json!(site.image)), OPERATION, "resourceUuid", &site.image),
        row("UpdateImage", named, NOT_FOUND, "uuid", &nobody),
        row("DeleteImage", json!({"uuid": site.image}), OPERATION, "", "vr"),
    ]
}

fn l3_networks(s: &Scene) -> Vec<Row> {
    let (nobody, site) = (nobody(), &s.site);
    let l3 = json!({"name": "l3", "l2NetworkUuid": s.guest_l2});
    let create = |field: &str, value: Value| with(&l3, field, value);
    let update = |field: &str, value: Value| with(&json!({"uuid": s.guest}), field, value);
    let dns = |l3: &str, dns: &str| json!({"l3NetworkUuid": l3, "dns": dns});
    let services = |services: Value| json!({"l3NetworkUuid": s.guest, "networkServices": services});
    let of_nobody = json!({"l3NetworkUuid": nobody, "networkServices": {"VirtualRouter": ["DHCP"]}});
    let on = |l3: &str, service: &str| json!({"l3NetworkUuid": l3, "networkServices": {"VirtualRouter": [service]}});
    let reserved = |l3: &str, ip: &str| json!({"l3NetworkUuid": l3, "startIp": ip, "endIp": ip});
    let addresses = |l3: &str| json!({"l3NetworkUuid": l3, "usedIpUuids": [nobody]});
    let prefix = |l3: &str, prefix: &str| json!({"l3NetworkUuid": l3, "prefix": prefix});
    let route = |l3: &str, to: &str, nexthop: &str| with(&prefix(l3, to), "nexthop", json!(nexthop));
    let mtu = |l3: &str, mtu: u16| json!({"l3NetworkUuid": l3, "mtu": mtu});
    let own = |l3: &str, ip: &str| json!({"l3NetworkUuid": l3, "routerInterfaceIp": ip});
    let by_hosts = |l3: &str, ip: &str| json!({"l3NetworkUuid": l3, "dhcpServerIp": ip});
    let provider = |provider_type: &str, service: &str| json!({"name": "p", "description": "", "type": provider_type, "networkServiceTypes": [service]});
    let pair = |provider: &str, l2: &str| json!({"networkServiceProviderUuid": provider, "l2NetworkUuid": l2});
    let router = built_in_provider("VirtualRouter").to_string();
    let six = json!({
        "l3NetworkUuid": s.rangeless, "name": "r", "startIp": "fd00:4::2", "endIp": "fd00:4::9",
        "gateway": "fd00:4::1", "prefixLen": 64, "addressMode": "SLAAC",
    });
    const ATTACH: &str = "AttachNetworkServiceToL3Network";
    const DETACH: &str = "DetachNetworkServiceFromL3Network";
    vec![
        row("CreateL3Network", create("l2NetworkUuid", json!(nobody)), NOT_FOUND, "l2NetworkUuid", &nobody),
        row("CreateL3Network", create("type", json!("Foo")), ARGUMENT, "type", "Foo"),
        row("CreateL3Network", create("type", json!("L3VpcNetwork")), NOT_SUPPORTED, "type", "L3VpcNetwork"),
        row("CreateL3Network", create("ipVersion", json!(5)), ARGUMENT, "ipVersion", "5"),
        row("CreateL3Network", create("dnsDomain", json!("-x.example")), ARGUMENT, "dnsDomain", "-x.example"),
        row("CreateL3Network", create("dnsDomain", json!("a..b")), ARGUMENT, "dnsDomain", "a..b"),
        row(
            "CreateL3Network",
            with(&create("category", json!("Public")), "system", json!(true)),
            ARGUMENT,
            "category",
            "Public",
        ),
        row(
            "CreateL3Network",
            with(&create("category", json!("System")), "system", json!(false)),
            ARGUMENT,
            "category",
            "System",
        ),
        row("UpdateL3Network", json!({"uuid": nobody, "name": "x"}), NOT_FOUND, "uuid", &nobody),
        row("UpdateL3Network", update("category", json!("Public")), ARGUMENT, "category", "Public"),
        row("UpdateL3Network", update("system", json!(true)), ARGUMENT, "system", "true"),
        row(
            "UpdateL3Network",
            with(&update("system", json!(true)), "category", json!("Private")),
            ARGUMENT,
            "category",
            "Private",
        ),
        row("UpdateL3Network", update("dnsDomain", json!("a b")), ARGUMENT, "dnsDomain", "a b"),
        row("ChangeL3NetworkState", json!({"uuid": nobody, "stateEvent": "enable"}), NOT_FOUND, "uuid", &nobody),
        row("AddDnsToL3Network", dns(&nobody, "1.1.1.1"), NOT_FOUND, "l3NetworkUuid", &nobody),
        row("AddDnsToL3Network", dns(&s.guest, "1.1.1"), ARGUMENT, "dns", "1.1.1"),
        row("AddDnsToL3Network", dns(&s.guest, "1.1.1.1"), OPERATION, "dns", "1.1.1.1"),
        row("AddDnsToL3Network", dns(&s.guest, "0.0.0.0"), ARGUMENT, "dns", "0.0.0.0"),
        row("AddDnsToL3Network", dns(&s.guest, "ff02::1"), ARGUMENT, "dns", "ff02::1"),
        row("RemoveDnsFromL3Network", dns(&nobody, "1.1.1.1"), NOT_FOUND, "l3NetworkUuid", &nobody),
        row("RemoveDnsFromL3Network", dns(&s.guest, "one"), ARGUMENT, "dns", "one"),
        row("AddHostRouteToL3Network", route(&nobody, "10.9.0.0/16", "10.0.0.9"), NOT_FOUND, "l3NetworkUuid", &nobody),
        row("AddHostRouteToL3Network", route(&s.guest, "10.9.0.0", "10.0.0.9"), ARGUMENT, "prefix", "10.9.0.0"),
        row("AddHostRouteToL3Network", route(&s.guest, "fd00::/64", "10.0.0.9"), ARGUMENT, "prefix", "fd00::/64"),
        row("AddHostRouteToL3Network", route(&s.guest, "10.9.0.0/16", "fd00::1"), ARGUMENT, "nexthop", "fd00::1"),
        row("AddHostRouteToL3Network", route(&s.guest, "10.9.0.0/16", "224.0.0.1"), ARGUMENT, "nexthop", "224.0.0.1"),
        row("AddHostRouteToL3Network", route(&s.guest, "10.8.0.0/16", "10.0.0.9"), OPERATION, "prefix", "10.8.0.0/16"),
        row("RemoveHostRouteFromL3Network", prefix(&nobody, "10.9.0.0/16"), NOT_FOUND, "l3NetworkUuid", &nobody),
        row("RemoveHostRouteFromL3Network", prefix(&s.guest, "x"), ARGUMENT, "prefix", "x"),
        row("RemoveHostRouteFromL3Network", prefix(&s.guest, "10.9.0.0/16"), OPERATION, "prefix", "10.9.0.0/16"),
        row("SetL3NetworkMtu", mtu(&nobody, 1400), NOT_FOUND, "l3NetworkUuid", &nobody),
        row("SetL3NetworkMtu", mtu(&s.guest, 67), ARGUMENT, "mtu", "67"),
        row("SetL3NetworkMtu", mtu(&s.guest, 9217), ARGUMENT, "mtu", "9217"),
        row("SetL3NetworkRouterInterfaceIp", own(&nobody, "10.0.0.9"), NOT_FOUND, "l3NetworkUuid", &nobody),
        row("SetL3NetworkRouterInterfaceIp", own(&s.rangeless, "10.0.0.9"), OPERATION, "routerInterfaceIp", "10.0.0.9"),
        row("SetL3NetworkRouterInterfaceIp", own(&s.guest, "192.0.2.9"), ARGUMENT, "routerInterfaceIp", "192.0.2.9"),
        row("SetL3NetworkRouterInterfaceIp", own(&s.guest, &s.taken_ip), ARGUMENT, "routerInterfaceIp", &s.taken_ip),
        row("SetL3NetworkRouterInterfaceIp", own(&s.guest, "fd00::1"), ARGUMENT, "routerInterfaceIp", "fd00::1"),
        row("ChangeL3NetworkDhcpIpAddress", by_hosts(&nobody, "10.0.0.9"), NOT_FOUND, "l3NetworkUuid", &nobody),
        row("ChangeL3NetworkDhcpIpAddress", by_hosts(&s.guest, "x"), ARGUMENT, "dhcpServerIp", "x"),
        row("ChangeL3NetworkDhcpIpAddress", by_hosts(&s.guest, "10.0.0.9"), OPERATION, "", &s.guest),
        row("AddNetworkServiceProvider", provider("VirtualRouter", "DHCP"), ARGUMENT, "type", "VirtualRouter"),
        row("AddNetworkServiceProvider", provider("Box", "Foo"), ARGUMENT, "networkServiceTypes", "Foo"),
        row(
            "AddNetworkServiceProvider",
            with(&provider("Box", "DHCP"), "networkServiceTypes", json!([])),
            ARGUMENT,
            "networkServiceTypes",
            "[]",
        ),
        row(
            "AttachNetworkServiceProviderToL2Network",
            pair(&nobody, &s.guest_l2),
            NOT_FOUND,
            "networkServiceProviderUuid",
            &nobody,
        ),
        row("AttachNetworkServiceProviderToL2Network", pair(&router, &nobody), NOT_FOUND, "l2NetworkUuid", &nobody),
        row(
            "AttachNetworkServiceProviderToL2Network",
            pair(&router, &s.guest_l2),
            "NWS.1000",
            "networkServiceProviderUuid",
            &router,
        ),
        row(
            "DetachNetworkServiceProviderFromL2Network",
            pair(&nobody, &s.guest_l2),
            NOT_FOUND,
            "networkServiceProviderUuid",
            &nobody,
        ),
        row("DetachNetworkServiceProviderFromL2Network", pair(&router, &nobody), NOT_FOUND, "l2NetworkUuid", &nobody),
        row(
            "DetachNetworkServiceProviderFromL2Network",
            pair(&router, &s.guest_l2),
            "NWS.1001",
            "networkServiceProviderUuid",
            &router,
        ),
        row(DETACH, json!({"l3NetworkUuid": s.guest}), ARGUMENT, "networkServices", "missing"),
        row(DETACH, json!({"l3NetworkUuid": s.guest, "service": "Foo"}), ARGUMENT, "service", "Foo"),
        row(ATTACH, of_nobody.clone(), NOT_FOUND, "l3NetworkUuid", &nobody),
        row(ATTACH, services(json!({})), ARGUMENT, "networkServices", "{}"),
        row(ATTACH, services(json!({"VirtualRouter": []})), ARGUMENT, "networkServices.VirtualRouter", "[]"),
        row(ATTACH, services(json!({"Nobody": ["DHCP"]})), ARGUMENT, "networkServices", "Nobody"),
        row(ATTACH, services(json!({"VirtualRouter": ["Foo"]})), ARGUMENT, "networkServices.VirtualRouter", "Foo"),
        row(
            ATTACH,
            services(json!({"VirtualRouter": ["SecurityGroup"]})),
            ARGUMENT,
            "networkServices.VirtualRouter",
            "SecurityGroup",
        ),
        row(ATTACH, on(&s.guest, "DHCP"), OPERATION, "", "DHCP"),
        row(ATTACH, services(json!({"Flat": ["DHCP"]})), OPERATION, "", "DHCP"),
        row(
            ATTACH,
            json!({"l3NetworkUuid": s.rangeless, "networkServices": {"Flat": ["DHCP"], "VirtualRouter": ["DHCP"]}}),
            ARGUMENT,
            "networkServices",
            "DHCP",
        ),
        row(ATTACH, on(&s.rangeless, "Eip"), OPERATION, "", "Eip"),
        row(ATTACH, on(&s.rangeless, "PortForwarding"), OPERATION, "", "PortForwarding"),
        row(
            ATTACH,
            json!({"l3NetworkUuid": s.rangeless, "networkServices": {"Flat": ["Userdata"]}}),
            NOT_SUPPORTED,
            "",
            "Userdata",
        ),
        row(ATTACH, on(&site.public, "SNAT"), ARGUMENT, "l3NetworkUuid", &site.public),
        row(ATTACH, on(&site.management, "SNAT"), ARGUMENT, "l3NetworkUuid", &site.management),
        row(DETACH, of_nobody, NOT_FOUND, "l3NetworkUuid", &nobody),
        row(DETACH, services(json!({})), ARGUMENT, "networkServices", "{}"),
        row(DETACH, services(json!({"Nobody": ["DHCP"]})), ARGUMENT, "networkServices", "Nobody"),
        row("AddReservedIpRange", reserved(&nobody, "10.0.0.2"), NOT_FOUND, "l3NetworkUuid", &nobody),
        row("AddReservedIpRange", reserved(&s.guest, "193.0.0.2"), ARGUMENT, "startIp", "193.0.0.2"),
        row("AddReservedIpRange", reserved(&s.guest, "10.0.0"), ARGUMENT, "startIp", "10.0.0"),
        row("AddReservedIpRange", reserved(&s.rangeless, "10.0.0.2"), OPERATION, "", &s.rangeless),
        row("DeleteReservedIpRange", json!({"uuid": "x"}), ARGUMENT, "uuid", "x"),
        row("DeleteIpAddress", addresses(&nobody), NOT_FOUND, "l3NetworkUuid", &nobody),
        row("DeleteIpAddress", addresses(&s.guest), OPERATION, "", &nobody),
        row("DeleteL3Network", json!({"uuid": s.guest}), OPERATION, "", "running"),
        row(
            "AddIpRange",
            json!({"l3NetworkUuid": nobody, "name": "r", "startIp": "10.0.0.2", "endIp": "10.0.0.9", "netmask": "255.255.255.0", "gateway": "10.0.0.1"}),
            NOT_FOUND,
            "l3NetworkUuid",
            &nobody,
        ),
        row(
            "AddIpRangeByNetworkCidr",
            json!({"l3NetworkUuid": nobody, "name": "r", "networkCidr": "10.0.0.0/24"}),
            NOT_FOUND,
            "l3NetworkUuid",
            &nobody,
        ),
        row("AddIpv6Range", with(&six, "l3NetworkUuid", json!(nobody)), NOT_FOUND, "l3NetworkUuid", &nobody),
        row("AddIpv6Range", with(&six, "startIp", json!("10.0.0.2")), ARGUMENT, "startIp", "10.0.0.2"),
        row("AddIpv6Range", with(&six, "endIp", json!("fd00:5::1")), ARGUMENT, "endIp", "fd00:5::1"),
        row("AddIpv6Range", with(&six, "gateway", json!("ff02::1")), ARGUMENT, "gateway", "ff02::1"),
        row("AddIpv6Range", with(&six, "prefixLen", json!(48)), ARGUMENT, "prefixLen", "48"),
        row("AddIpv6Range", with(&six, "ipRangeType", json!("AddressPool")), ARGUMENT, "ipRangeType", "AddressPool"),
        row("AddIpv6Range", with(&six, "l3NetworkUuid", json!(s.system_l3)), ARGUMENT, "l3NetworkUuid", &s.system_l3),
        row(
            "AddIpv6RangeByNetworkCidr",
            json!({"l3NetworkUuid": nobody, "name": "r", "networkCidr": "fd00:4::/64", "addressMode": "SLAAC"}),
            NOT_FOUND,
            "l3NetworkUuid",
            &nobody,
        ),
        row(
            "AddIpv6RangeByNetworkCidr",
            json!({"l3NetworkUuid": s.rangeless, "name": "r", "networkCidr": "fd00:4::/7", "addressMode": "SLAAC"}),
            ARGUMENT,
            "networkCidr",
            "fd00:4::/7",
        ),
        row(
            "AddIpv6RangeByNetworkCidr",
            json!({"l3NetworkUuid": s.rangeless, "name": "r", "networkCidr": "fd00:4::/80", "addressMode": "SLAAC"}),
            ARGUMENT,
            "networkCidr",
            "fd00:4::/80",
        ),
        row("UpdateIpRange", json!({"uuid": nobody, "name": "x"}), NOT_FOUND, "uuid", &nobody),
        row("DeleteIpRange", json!({"uuid": s.guest_range}), OPERATION, "", "running"),
    ]
}

fn offerings(s: &Scene) -> Vec<Row> {
    let (nobody, site) = (nobody(), &s.site);
    let good = site.offering("o", &site.management, &site.public);
    let create = |field: &'static str, value: &str, code| {
        row("CreateVirtualRouterOffering", with(&good, field, json!(value)), code, field, value)
    };
    let update = |uuid: &str, field: &str, value: Value| with(&json!({"uuid": uuid}), field, value);
    vec![
        row("CreateInstanceOffering", json!({"name": "o", "cpuNum": 0, "memorySize": 1}), ARGUMENT, "cpuNum", "0"),
        row(
            "CreateInstanceOffering",
            json!({"name": "o", "cpuNum": 1, "memorySize": 1, "resourceUuid": s.offering_of_vms}),
            OPERATION,
            "resourceUuid",
            &s.offering_of_vms,
        ),
        create("zoneUuid", &nobody, NOT_FOUND),
        create("managementNetworkUuid", &nobody, NOT_FOUND),
        create("publicNetworkUuid", &nobody, NOT_FOUND),
        create("imageUuid", &nobody, NOT_FOUND),
        create("imageUuid", &s.data_image, ARGUMENT),
        create("managementNetworkUuid", &s.other_l3, ARGUMENT),
        create("managementNetworkUuid", &s.rangeless, ARGUMENT),
        create("managementNetworkUuid", &s.guest, ARGUMENT),
        create("publicNetworkUuid", &s.guest, ARGUMENT),
        create("publicNetworkUuid", &s.other_l3, ARGUMENT),
        create("publicNetworkUuid", &s.overlapping, ARGUMENT),
        row("UpdateVirtualRouterOffering", update(&nobody, "name", json!("x")), NOT_FOUND, "uuid", &nobody),
        row(
            "UpdateVirtualRouterOffering",
            update(&s.offering_of_vms, "name", json!("x")),
            ARGUMENT,
            "uuid",
            &s.offering_of_vms,
        ),
        row(
            "UpdateVirtualRouterOffering",
            update(&site.offering, "isDefault", json!(false)),
            OPERATION,
            "",
            &site.offering,
        ),
        row(
            "UpdateVirtualRouterOffering",
            update(&site.offering, "imageUuid", json!(nobody)),
            NOT_FOUND,
            "imageUuid",
            &nobody,
        ),
        row(
            "UpdateVirtualRouterOffering",
            update(&site.offering, "imageUuid", json!(s.data_image)),
            ARGUMENT,
            "imageUuid",
            &s.data_image,
        ),
        row("UpdateInstanceOffering", update(&nobody, "name", json!("x")), NOT_FOUND, "uuid", &nobody),
        row("ChangeInstanceOfferingState", json!({"uuid": nobody, "stateEvent": "enable"}), NOT_FOUND, "uuid", &nobody),
        row("DeleteInstanceOffering", json!({"uuid": "x"}), ARGUMENT, "uuid", "x"),
    ]
}

fn vms(s: &Scene) -> Vec<Row> {
    let (nobody, site) = (nobody(), &s.site);
    let good = json!({"name": "vm", "l3NetworkUuids": [s.guest]});
    let create = |field: &'static str, value: Value, code, shown: &str| {
        row("CreateVmInstance", with(&good, field, value), code, field, shown)
    };
    let tagged = |tag: String, code| {
        let shown = tag.clone();
        row("CreateVmInstance", with(&good, "systemTags", json!([tag])), code, "systemTags", &shown)
    };
    let addressed = |ip: &str| {
        let tags = json!([format!("staticIp::{}::{ip}", s.guest)]);
        row("CreateVmInstance", with(&good, "systemTags", tags), "L3.1000", "ip", ip)
    };
    let one = |uuid: &str| json!({"uuid": uuid});
    let router = |uuid: &str| json!({"vmInstanceUuid": uuid});
    vec![
        create("l3NetworkUuids", json!([]), ARGUMENT, "0 networks"),
        create("l3NetworkUuids", json!([nobody]), NOT_FOUND, &nobody),
        create("l3NetworkUuids", json!([s.guest, s.guest]), ARGUMENT, &s.guest),
        create("l3NetworkUuids", json!([s.system_l3]), ARGUMENT, &s.system_l3),
        create("l3NetworkUuids", json!([s.disabled_l3]), OPERATION, &s.disabled_l3),
        create("l3NetworkUuids", json!([s.guest, s.other_l3]), ARGUMENT, &s.other_l3),
        create("l3NetworkUuids", json!(vec![&s.guest; 17]), ARGUMENT, "17 networks"),
        create("defaultL3NetworkUuid", json!(site.public), ARGUMENT, &site.public),
        create("imageUuid", json!(nobody), NOT_FOUND, &nobody),
        create("imageUuid", json!(site.image), ARGUMENT, &site.image),
        create("instanceOfferingUuid", json!(nobody), NOT_FOUND, &nobody),
        create("instanceOfferingUuid", json!(site.offering), ARGUMENT, &site.offering),
        create("zoneUuid", json!(nobody), NOT_FOUND, &nobody),
        create("zoneUuid", json!(s.other_zone), ARGUMENT, &s.other_zone),
        create("clusterUuid", json!(nobody), NOT_FOUND, &nobody),
        create("hostUuid", json!(nobody), NOT_FOUND, &nobody),
        create("resourceUuid", json!(s.running), OPERATION, &s.running),
        create("resourceUuid", json!(s.router), OPERATION, &s.router),
        row(
            "CreateVmInstance",
            with(&good, "clusterUuid", json!(s.kvm_cluster)),
            "HOST_ALLOCATION.1001",
            "",
            &s.guest_l2,
        ),
        row("CreateVmInstance", with(&good, "hostUuid", json!(s.disabled_host)), "HOST_ALLOCATION.1000", "", "Enabled"),
        row("CreateVmInstance", with(&good, "l3NetworkUuids", json!([s.rangeless])), "L3.1000", "", &s.rangeless),
        addressed(&s.taken_ip),
        addressed("192.168.77.7"),
        tagged(format!("staticIp::{}::10.0.0", s.guest), ARGUMENT),
        tagged(format!("staticIp::{}::10.0.0.5", site.public), ARGUMENT),
        tagged(format!("customMac::{}::03:00:00:00:00:01", s.guest), ARGUMENT),
        tagged(format!("customMac::{}::02:00:00:00:00:01", site.public), ARGUMENT),
        row("CreateVmInstance", with(&good, "systemTags", json!(["hostname::-a"])), ARGUMENT, "systemTags", "-a"),
        tagged("hostname::running".to_string(), ARGUMENT),
        row("StartVmInstance", one(&nobody), NOT_FOUND, "uuid", &nobody),
        row("StopVmInstance", one(&nobody), NOT_FOUND, "uuid", &nobody),
        row("RebootVmInstance", one(&nobody), NOT_FOUND, "uuid", &nobody),
        row("RebootVmInstance", one(&s.stopped), "VM.1010", "", &s.stopped),
        row("RebootVmInstance", one(&s.stopped_router), "VR.1000", "", &s.stopped_router),
        row("DestroyVmInstance", one("x"), ARGUMENT, "uuid", "x"),
        row("UpdateVmInstance", json!({"uuid": nobody, "name": "x"}), NOT_FOUND, "uuid", &nobody),
        row("ChangeVmPassword", json!({"uuid": nobody, "password": "sesame"}), NOT_FOUND, "uuid", &nobody),
        row("ReconnectVirtualRouter", router(&nobody), NOT_FOUND, "vmInstanceUuid", &nobody),
        row("ReconnectVirtualRouter", router(&s.running), NOT_FOUND, "vmInstanceUuid", &s.running),
        row("ReconnectVirtualRouter", router(&s.stopped_router), "VR.1000", "", &s.stopped_router),
        row("ReplaceVirtualRouter", router(&nobody), NOT_FOUND, "vmInstanceUuid", &nobody),
        row("ProvisionVirtualRouterConfig", router(&nobody), NOT_FOUND, "vmInstanceUuid", &nobody),
        row("ProvisionVirtualRouterConfig", router(&s.stopped_router), "VR.1000", "", &s.stopped_router),
    ]
}

fn tags_and_configuration(s: &Scene) -> Vec<Row> {
    let (nobody, site) = (nobody(), &s.site);
    let tag = |resource_type: &str, resource: &str, tag: &str| json!({"resourceType": resource_type, "resourceUuid": resource, "tag": tag});
    let system = |kind: &str, resource: &str, text: &str, code, field, shown: &str| {
        row("CreateSystemTag", tag(kind, resource, text), code, field, shown)
    };
    let config = |category: &str, name: &str, value: &str| json!({"category": category, "name": name, "value": value});
    let own = |resource: &str, category: &str, name: &str, value: &str, code, field, shown: &str| {
        row(
            "UpdateResourceConfig",
            with(&config(category, name, value), "resourceUuid", json!(resource)),
            code,
            field,
            shown,
        )
    };
    let tags = |tags: Value| json!({"resourceType": "InstanceOfferingVO", "resourceUuid": site.offering, "tags": tags});
    let unknown = format!("guestL3Network::{nobody}");
    let for_other = format!("guestL3Network::{}", s.other_l3);
    let for_vms = format!("virtualRouterOffering::{}", s.offering_of_vms);
    vec![
        system("VmInstanceVO", &s.running, "userdata::x", ARGUMENT, "tag", "userdata::x"),
        system("FooVO", &site.zone, "a::b", ARGUMENT, "resourceType", "FooVO"),
        system("L3NetworkVO", &nobody, "a::b", NOT_FOUND, "resourceUuid", &nobody),
        system("ZoneVO", &s.guest, "a::b", NOT_FOUND, "resourceUuid", &s.guest),
        system("InstanceOfferingVO", &site.offering, "plain", ARGUMENT, "tag", "plain"),
        system("InstanceOfferingVO", &site.offering, "guestL3Network::x", ARGUMENT, "tag", "guestL3Network::x"),
        system("InstanceOfferingVO", &site.offering, &unknown, NOT_FOUND, "tag", &nobody),
        system("L3NetworkVO", &s.guest, &unknown, ARGUMENT, "tag", &unknown),
        system(
            "InstanceOfferingVO",
            &site.offering,
            "commandsParallelismDegree::0",
            ARGUMENT,
            "tag",
            "commandsParallelismDegree::0",
        ),
        system("InstanceOfferingVO", &site.offering, &for_other, ARGUMENT, "tag", &site.zone),
        system("L3NetworkVO", &s.guest, &for_vms, ARGUMENT, "tag", &for_vms),
        system("VmInstanceVO", &s.running, "hostname::other", OPERATION, "tag", "hostname::other"),
        system("VmInstanceVO", &s.router, "role::DHCP", NOT_SUPPORTED, "tag", "role"),
        system(
            "L3NetworkVO",
            &s.guest,
            "routerInterfaceIp::10.9.9.9",
            OPERATION,
            "tag",
            "SetL3NetworkRouterInterfaceIp",
        ),
        row("CreateSystemTags", tags(json!([])), ARGUMENT, "tags", "[]"),
        row("CreateSystemTags", tags(json!(["nonsense::x"])), ARGUMENT, "tags", "nonsense::x"),
        row("UpdateSystemTag", json!({"uuid": nobody, "tag": "hostname::a"}), NOT_FOUND, "uuid", &nobody),
        row("CreateUserTag", tag("FooVO", &site.zone, "t"), ARGUMENT, "resourceType", "FooVO"),
        row("CreateUserTag", tag("ZoneVO", &nobody, "t"), NOT_FOUND, "resourceUuid", &nobody),
        row("DeleteTag", json!({"uuid": "x"}), ARGUMENT, "uuid", "x"),
        row("UpdateGlobalConfig", config("virtualRouter", "nothing", "1"), ARGUMENT, "name", "virtualRouter.nothing"),
        row("UpdateGlobalConfig", config("virtualRouter", "ping.interval", "0"), ARGUMENT, "value", "0"),
        row("UpdateGlobalConfig", config("virtualRouter", "ping.interval", "soon"), ARGUMENT, "value", "soon"),
        row("UpdateGlobalConfig", config("applianceVm", "auto.rollback", "yes"), ARGUMENT, "value", "yes"),
        row("UpdateGlobalConfig", config("l3Network", "ipAllocateStrategy", "Best"), ARGUMENT, "value", "Best"),
        row("ResetGlobalConfig", json!({"name": "x"}), ARGUMENT, "name", "no such parameter"),
        own(&s.guest, "l3Network", "strategy", "x", ARGUMENT, "name", "l3Network.strategy"),
        own(&s.guest, "applianceVm", "auto.rollback", "false", ARGUMENT, "name", "applianceVm.auto.rollback"),
        own(&s.running, "virtualRouter", "ping.interval", "5", ARGUMENT, "resourceUuid", &s.running),
        own(&nobody, "host", "ping.interval", "5", NOT_FOUND, "resourceUuid", &nobody),
        own(&site.zone, "host", "ping.interval", "0", ARGUMENT, "value", "0"),
        row(
            "DeleteResourceConfig",
            json!({"resourceUuid": s.guest, "category": "l3Network", "name": "nothing"}),
            ARGUMENT,
            "name",
            "l3Network.nothing",
        ),
    ]
}

#[actix_rt::test]
async fn every_command_refuses_bad_input_and_leaves_no_trace() {
    let scene = scene().await;
    let tables = [
        accounts::rows,
        places,
        l2_networks::rows,
        load_balancers::rows,
        l3_networks,
        offerings,
        vms,
        nics::rows,
        ownership::rows,
        vips::rows,
        roles::rows,
        security_groups::rows,
        tags_and_configuration,
    ];
    let rows: Vec<Row> = tables.iter().flat_map(|table| table(&scene)).collect();
    let mut covered = BTreeSet::new();
    let mut wrong = Vec::new();
    for (command, parameters, code, field, value) in rows {
        covered.insert(command);
        let refusal = scene.world.refused(command, parameters.clone()).await;
        let named = refusal.detail.contains(field) && refusal.detail.contains(&value);
        if refusal.code != code || !named || refusal.command_id.is_none() {
            wrong.push(format!("{command} {parameters}: want {code}, `{field}` and `{value}`, got {refusal:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let all: BTreeSet<&str> = COMMANDS.iter().filter(|command| !command.internal).map(|command| command.name).collect();
    assert_eq!(all.difference(&covered).collect::<Vec<_>>(), Vec::<&&str>::new(), "commands without a row");
}

/// Values that do not.
fn bad_values(check: &Check) -> Vec<Value> {
    match check {
        Check::Text(max) => {
            vec![json!(""), json!("  "), json!(7), json!("a\nb"), json!("x".repeat(max + 1)), json!(["x"]), json!({})]
        }
        Check::FreeText(max) => vec![json!(7), json!("a\u{0}b"), json!("x".repeat(max + 1)), json!({})],
        Check::Int(min, max) => {
            let mut values = vec![json!("1"), json!(1.5), json!(true), json!(u64::MAX)];
            values.extend(min.checked_sub(1).map(Value::from));
            values.extend(max.checked_add(1).map(Value::from));
            values
        }
        Check::Enum(_) => vec![json!("nonsense"), json!(7), json!("")],
        Check::Password => vec![json!("x"), json!("F".repeat(128)), json!("0".repeat(127)), json!(7)],
        Check::Uuid | Check::Session => vec![json!("x"), json!(7), json!("F".repeat(32)), json!("0".repeat(31))],
        Check::Key(length) => vec![json!("0".repeat(length - 1)), json!("-".repeat(*length)), json!(7)],
        Check::Pem => vec![json!(""), json!("x".repeat(switchback_bus::PEM_MAX + 1)), json!(7)],
        Check::VmPassword => {
            ["", "ö", "a b", "saved_password", "bad_request", &"x".repeat(129)].map(Value::from).into()
        }
        Check::KeySecret => vec![json!("0".repeat(KEY_SECRET + 1)), json!("ö".repeat(KEY_SECRET / 2)), json!(7)],
        Check::Bool => vec![json!("yes"), json!(1)],
        Check::Ipv4 => vec![json!("10.0.0"), json!("10.0.0.256"), json!("fd00::1"), json!(7)],
        Check::Ip => vec![json!("10.0.0"), json!("fd00:::1"), json!(7)],
        Check::List(of) => {
            let mut values = vec![json!("x"), json!({})];
            values.extend(bad_values(of).into_iter().map(|bad| json!([bad])));
            values
        }
        Check::Objects(fields) => objects::bad(check, fields),
        Check::Services => vec![json!(7), json!(["DHCP"]), json!({"VirtualRouter": "DHCP"}), json!({"x": [7]})],
        Check::Statements => vec![
            json!([]),
            json!("x"),
            json!(["x"]),
            json!([{"effect": "Allow", "actions": []}]),
            json!([{"effect": "Maybe", "actions": ["read"]}]),
            json!([{"effect": "Deny", "actions": ["CreateZon"]}]),
            json!([{"effect": "Deny", "actions": ["read"], "resources": ["x"]}]),
            json!([{"effect": "Deny", "actions": vec!["read"; 201]}]),
        ],
        Check::Any => vec![json!(7), json!(["x"]), json!({})],
    }
}

/// How a message shows a value, as far as it can be looked for.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text.chars().any(char::is_control) => String::new(),
        Value::String(text) => text.chars().take(100).collect(),
        Value::Array(_) | Value::Object(_) => String::new(),
        other => other.to_string(),
    }
}

#[actix_rt::test]
async fn every_parameter_of_every_command_has_a_type_and_a_range() {
    let world = World::new();
    for command in COMMANDS.iter().filter(|command| !command.internal) {
        let good: Map<String, Value> = command
            .parameters
            .iter()
            .map(|known| (known.api_name(), known.check.example(&nobody().to_string())))
            .collect();
        for parameter in command.parameters {
            let name = parameter.api_name();
            for bad in bad_values(&parameter.check) {
                let parameters = with(&Value::Object(good.clone()), &name, bad.clone());
                let refusal = world.refused(command.name, parameters).await;
                let told = format!("{} {name} = {bad}: {refusal:?}", command.name);
                assert_eq!(refusal.code, ARGUMENT, "{told}");
                let shown = if parameter.check.is_secret() { "(secret)".to_string() } else { shown(&bad) };
                assert!(refusal.detail.contains(&name) && refusal.detail.contains(&shown), "{told}");
                assert!(refusal.field.as_ref().is_some_and(|field| field.starts_with(&name)), "{told}");
            }
            if parameter.required {
                let mut parameters = good.clone();
                parameters.remove(&name);
                let refusal = world.refused(command.name, Value::Object(parameters)).await;
                assert_eq!((refusal.code.as_str(), refusal.field.as_deref()), (ARGUMENT, Some(name.as_str())));
                assert!(refusal.detail.contains("missing"), "{refusal}");
            }
        }
        let parameters = with(&Value::Object(good.clone()), "noSuchThing", json!("x"));
        let refusal = world.refused(command.name, parameters).await;
        assert_eq!((refusal.code.as_str(), refusal.field.as_deref()), (ARGUMENT, Some("noSuchThing")), "{refusal}");
        if creates(command) && command.parameter("resourceUuid").is_none() {
            for (common, bad) in [("resourceUuid", json!("x")), ("systemTags", json!("x")), ("userTags", json!([""]))] {
                let refusal = world.refused(command.name, with(&Value::Object(good.clone()), common, bad)).await;
                assert!(refusal.code == ARGUMENT && refusal.detail.contains(common), "{}: {refusal}", command.name);
            }
        }
    }
}

#[actix_rt::test]
async fn what_only_the_system_may_say_cannot_be_said_by_a_user() {
    let world = World::new();
    for command in COMMANDS.iter().filter(|command| command.internal) {
        let refusal = world.refused(command.name, json!({})).await;
        assert_eq!(refusal.code, ARGUMENT);
        assert!(refusal.detail.contains(command.name), "{refusal}");
    }
    for bad in [json!([]), json!("x"), json!(7)] {
        assert_eq!(world.refused("CreateZone", bad).await.code, ARGUMENT);
    }
    assert_eq!(world.refused("QueryZone", json!({})).await.code, ARGUMENT);
    assert_eq!(world.refused("CreateNothing", json!({})).await.code, ARGUMENT);
}
