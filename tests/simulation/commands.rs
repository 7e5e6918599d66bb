//! What the clients ask for: random commands on what there is, and the site that every run begins with.

use fastrand::Rng;
use serde_json::{Value, json};
use switchback_actors::{States, VmInstance, directory::Relation};
use switchback_events::{Id, StreamKind};

const INTERFACES: [&str; 2] = ["eth0", "eth1"];
const SERVICES: [&str; 3] = ["DHCP", "DNS", "SNAT"];

/// The id of a resource of the site.
pub fn id(name: &str) -> Id {
    Id::of_name(name)
}

/// The guest networks of the site.
pub const GUESTS: [&str; 3] = ["guest-a", "guest-b", "guest-c"];

/// The commands that make the site, to be done one after the other.
pub fn site() -> Vec<(&'static str, Value)> {
    let own = |name: &str| id(name).to_string();
    let (zone, cluster) = (own("zone"), own("cluster"));
    let mut commands = vec![
        ("CreateZone", json!({"name": "zone", "resourceUuid": zone})),
        (
            "CreateCluster",
            json!({"name": "c", "zoneUuid": zone, "hypervisorType": "Simulator", "resourceUuid": cluster}),
        ),
        ("AddImage", json!({"name": "vr", "url": "file:///vr", "system": true, "resourceUuid": own("image")})),
    ];
    for number in 1..=2 {
        let (name, ip) = (format!("host-{number}"), format!("10.1.0.{number}"));
        let host = json!({"clusterUuid": cluster, "name": name, "managementIp": ip, "resourceUuid": own(&name)});
        commands.push(("AddSimulatorHost", host));
    }
    for (number, name) in ["management", "public"].iter().chain(&GUESTS).enumerate() {
        let (l2, l3) = (own(&format!("l2-{name}")), own(name));
        let wire = json!({
            "zoneUuid": zone, "name": name, "physicalInterface": "eth0", "vlan": 100 + number, "resourceUuid": l2,
        });
        let cidr = format!("10.9.{number}.0/27");
        commands.push(("CreateL2VlanNetwork", wire));
        commands.push(("AttachL2NetworkToCluster", json!({"l2NetworkUuid": l2, "clusterUuid": cluster})));
        commands.push(("CreateL3Network", json!({"name": name, "l2NetworkUuid": l2, "resourceUuid": l3})));
        let range = json!({"l3NetworkUuid": l3, "name": name, "networkCidr": cidr});
        commands.push(("AddIpRangeByNetworkCidr", range));
        if GUESTS.contains(name) {
            let services = json!({"l3NetworkUuid": l3, "networkServices": {"VirtualRouter": SERVICES}});
            commands.push(("AttachNetworkServiceToL3Network", services));
            let services =
                json!({"l3NetworkUuid": l3, "networkServices": {"VirtualRouter": ["Eip", "PortForwarding"]}});
            commands.push(("AttachNetworkServiceToL3Network", services));
        }
    }
    let offering = json!({
        "name": "vr", "cpuNum": 1, "memorySize": 1 << 29, "zoneUuid": zone, "imageUuid": own("image"),
        "managementNetworkUuid": own("management"), "publicNetworkUuid": own("public"),
        "resourceUuid": own("offering"),
    });
    commands.push(("CreateVirtualRouterOffering", offering));
    for name in ["vip-a", "vip-b", "vip-c"] {
        let vip = json!({"name": name, "l3NetworkUuid": own("public"), "resourceUuid": own(name)});
        commands.push(("CreateVip", vip));
    }
    commands.push(("CreateEip", json!({"name": "eip", "vipUuid": own("vip-a"), "resourceUuid": own("eip")})));
    let rule = json!({"name": "rule", "vipUuid": own("vip-b"), "vipPortStart": 22, "protocolType": "TCP"});
    commands.push(("CreatePortForwardingRule", rule));
    commands
}

/// A command on one of the things that there are, or on one of nobody.
pub fn random(states: &States, rng: &mut Rng, number: usize) -> (&'static str, Value) {
    let one_of = |rng: &mut Rng, kinds: &[StreamKind]| {
        let all = kinds.iter().flat_map(|kind| states.members((Relation::All(*kind), Id::NIL)));
        let nobody = rng.u8(0..20) == 0;
        let found = rng.choice(all.collect::<Vec<_>>()).filter(|_| !nobody);
        found.unwrap_or_else(|| id("nobody")).to_string()
    };
    let machine = &[StreamKind::VmInstance, StreamKind::VmInstance, StreamKind::Router];
    let guest = id(rng.choice(GUESTS).unwrap_or("guest-a")).to_string();
    let (few, on_off) = (rng.u8(0..4), if rng.bool() { "enable" } else { "disable" });
    let (zone, cluster) = (id("zone").to_string(), id("cluster").to_string());
    let service = SERVICES[usize::from(few) % 3];
    match rng.u8(0..50) {
        40..=49 => of_vips(states, rng, few, on_off),
        0..=9 => {
            let mut networks = vec![guest];
            if few == 0 {
                networks.push(id(GUESTS[0]).to_string());
                networks.dedup();
            }
            let mut vm = json!({"name": format!("vm-{few}"), "l3NetworkUuids": networks});
            if rng.bool() {
                vm["systemTags"] = json!([format!("hostname::h{number}")]);
            }
            ("CreateVmInstance", vm)
        }
        10 | 11 => ("StartVmInstance", json!({"uuid": one_of(rng, machine)})),
        12..=14 => ("StopVmInstance", json!({"uuid": one_of(rng, machine)})),
        15 => ("RebootVmInstance", json!({"uuid": one_of(rng, machine)})),
        16..=18 => ("DestroyVmInstance", json!({"uuid": one_of(rng, machine)})),
        19 | 20 => ("ReconnectVirtualRouter", json!({"vmInstanceUuid": one_of(rng, &[StreamKind::Router])})),
        21 => ("ProvisionVirtualRouterConfig", json!({"vmInstanceUuid": one_of(rng, &[StreamKind::Router])})),
        22 | 23 => ("AddDnsToL3Network", json!({"l3NetworkUuid": guest, "dns": format!("9.9.9.{few}")})),
        24 => ("RemoveDnsFromL3Network", json!({"l3NetworkUuid": guest, "dns": format!("9.9.9.{few}")})),
        25 => ("UpdateL3Network", json!({"uuid": guest, "name": "l3", "dnsDomain": format!("d{few}.example")})),
        26 => (
            "AttachNetworkServiceToL3Network",
            json!({"l3NetworkUuid": guest, "networkServices": {"VirtualRouter": [service]}}),
        ),
        27 => (
            "DetachNetworkServiceFromL3Network",
            json!({"l3NetworkUuid": guest, "networkServices": {"VirtualRouter": [service]}}),
        ),
        28 => (
            "AddIpRangeByNetworkCidr",
            json!({"l3NetworkUuid": guest, "name": "r", "networkCidr": format!("10.77.{few}.0/29")}),
        ),
        29 => ("DeleteIpRange", json!({"uuid": one_of(rng, &[StreamKind::IpRange])})),
        30 => {
            let interface = INTERFACES[usize::from(few) % 2];
            let l2 = json!({
                "zoneUuid": zone, "name": "l2", "physicalInterface": interface, "vlan": 100 + u16::from(rng.u8(0..6)),
            });
            ("CreateL2VlanNetwork", l2)
        }
        31..=33 => (
            "AttachL2NetworkToCluster",
            json!({"l2NetworkUuid": one_of(rng, &[StreamKind::L2Network]), "clusterUuid": cluster}),
        ),
        34 => (
            "DetachL2NetworkFromCluster",
            json!({"l2NetworkUuid": one_of(rng, &[StreamKind::L2Network]), "clusterUuid": cluster}),
        ),
        35 => ("DeleteL2Network", json!({"uuid": one_of(rng, &[StreamKind::L2Network])})),
        36 => ("ReconnectHost", json!({"uuid": one_of(rng, &[StreamKind::Host])})),
        37 => ("ChangeHostState", json!({"uuid": one_of(rng, &[StreamKind::Host]), "stateEvent": on_off})),
        38 => {
            ("CreateUserTag", json!({"resourceType": "L3NetworkVO", "resourceUuid": guest, "tag": format!("t{few}")}))
        }
        _ => ("UpdateVmInstance", json!({"uuid": one_of(rng, machine), "name": format!("n{few}")})),
    }
}

/// A command about VIPs and the services on them.
fn of_vips(states: &States, rng: &mut Rng, few: u8, on_off: &str) -> (&'static str, Value) {
    let one_of = |rng: &mut Rng, kind: StreamKind| {
        let found = rng.choice(states.members((Relation::All(kind), Id::NIL)));
        found.unwrap_or_else(|| id("nobody")).to_string()
    };
    let vm = rng.choice(states.members((Relation::All(StreamKind::VmInstance), Id::NIL)));
    let nics = vm.and_then(|vm| states.facts().peek::<VmInstance>(vm).ok()).map_or(vec![], |vm| vm.nics.clone());
    let nic = nics.first().map_or_else(|| id("nobody"), |nic| nic.nic.0).to_string();
    let led = rng.bool().then_some(&nic);
    let (vip, eip) = (one_of(rng, StreamKind::Vip), one_of(rng, StreamKind::Eip));
    let rule = one_of(rng, StreamKind::PortForwarding);
    match rng.u8(0..12) {
        0..=2 => ("CreateVip", json!({"name": "vip", "l3NetworkUuid": id("public").to_string()})),
        3 | 4 => ("CreateEip", json!({"name": "eip", "vipUuid": vip, "vmNicUuid": led})),
        5 => ("AttachEip", json!({"eipUuid": eip, "vmNicUuid": nic})),
        6 if few == 0 => ("DetachEip", json!({"uuid": eip})),
        6 => ("ChangeEipState", json!({"uuid": eip, "stateEvent": on_off})),
        7 | 8 => {
            let ports = json!({
                "name": "rule", "vipUuid": vip, "vipPortStart": 80 + few, "vipPortEnd": 82, "protocolType": "TCP",
                "vmNicUuid": led,
            });
            ("CreatePortForwardingRule", ports)
        }
        9 => ("AttachPortForwardingRule", json!({"ruleUuid": rule, "vmNicUuid": nic})),
        10 if few == 0 => ("DeleteEip", json!({"uuid": eip})),
        10 => ("DeletePortForwardingRule", json!({"uuid": rule})),
        _ => ("DeleteVip", json!({"uuid": vip, "deleteMode": if few == 0 { "Enforcing" } else { "Permissive" }})),
    }
}
