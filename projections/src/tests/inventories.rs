//! What users see of a small data centre, whole.

use super::Folded;
use crate::samples::{Log, id, nic};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use switchback_events::*;

fn data_centre() -> Log {
    let mut log = Log::default();
    let zone = ZoneId(id("zone", 0));
    let cluster = ClusterId(id("cluster", 0));
    let l2_network = L2NetworkId(id("l2", 0));
    let l3_network = L3NetworkId(id("l3", 0));
    let hypervisor_type = HypervisorType::KVM;
    log.event(zone.0, ZoneEvent::Created { name: "z".into(), description: None, is_default: true });
    log.event(cluster.0, ClusterEvent::Created { zone, name: "c".into(), description: None, hypervisor_type });
    log.event(
        l2_network.0,
        L2NetworkEvent::Created {
            zone,
            name: "l2".into(),
            description: None,
            physical_interface: "eth1".into(),
            network_type: L2NetworkType::L2VlanNetwork,
            vlan: Some(12),
            v_switch_type: "LinuxBridge".into(),
        },
    );
    log.event(l2_network.0, L2NetworkEvent::AttachRequested { cluster, hosts: vec![] });
    log.event(l2_network.0, L2NetworkEvent::Attached { cluster });
    log.event(
        l3_network.0,
        L3NetworkEvent::Created {
            zone,
            l2_network,
            name: "l3".into(),
            description: None,
            category: L3NetworkCategory::Private,
            system: false,
            dns_domain: Some("x.org".into()),
        },
    );
    log.event(
        id("range", 0),
        IpRangeEvent::Created {
            l3_network,
            l2_network,
            name: "r".into(),
            description: None,
            range_type: IpRangeType::Normal,
            start: Ipv4Addr::new(10, 1, 2, 10),
            end: Ipv4Addr::new(10, 1, 2, 99),
            netmask: Ipv4Addr::new(255, 255, 255, 0),
            gateway: Ipv4Addr::new(10, 1, 2, 1),
        },
    );
    log.event(
        l3_network.0,
        L3NetworkEvent::ServicesAttached {
            provider: NetworkServiceProviderId(id("provider", 0)),
            services: vec![NetworkServiceType::DHCP, NetworkServiceType::SNAT],
        },
    );
    log
}

/// Without what is the same everywhere.
fn without_dates(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            map.remove("createDate");
            map.remove("lastOpDate");
            map.values_mut().for_each(|value| *value = without_dates(value.take()));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| *value = without_dates(value.take())),
        _ => {}
    }
    value
}

#[test]
fn networks_look_as_in_the_reference() {
    let built_in = BUILT_IN_PROVIDERS.map(|provider_type| built_in_provider(provider_type).to_string());
    let mut folded = Folded::of(&data_centre());
    let uuid = |kind| id(kind, 0).to_string();
    assert_eq!(
        without_dates(folded.all("l2")[0].clone()),
        json!({
            "uuid": uuid("l2"), "name": "l2", "description": null, "zoneUuid": uuid("zone"),
            "physicalInterface": "eth1", "type": "L2VlanNetwork", "vSwitchType": "LinuxBridge",
            "virtualNetworkId": 12, "vlan": 12, "isolated": false, "pvlan": null,
            "attachedClusterUuids": [uuid("cluster")], "networkServiceProviderUuids": built_in,
        })
    );
    let range = json!({
        "uuid": uuid("range"), "l3NetworkUuid": uuid("l3"), "name": "r", "description": null,
        "startIp": "10.1.2.10", "endIp": "10.1.2.99", "netmask": "255.255.255.0", "gateway": "10.1.2.1",
        "networkCidr": "10.1.2.0/24", "prefixLen": 24, "ipVersion": 4, "addressMode": null, "ipRangeType": "Normal",
    });
    let service = |name| {
        json!({
            "l3NetworkUuid": uuid("l3"), "networkServiceProviderUuid": uuid("provider"), "networkServiceType": name,
        })
    };
    assert_eq!(
        without_dates(folded.all("l3")[0].clone()),
        json!({
            "uuid": uuid("l3"), "name": "l3", "description": null, "zoneUuid": uuid("zone"),
            "l2NetworkUuid": uuid("l2"), "state": "Enabled", "type": "L3BasicNetwork", "dnsDomain": "x.org",
            "system": false, "category": "Private", "ipVersion": 4, "enableIPAM": true, "dns": [],
            "hostRoute": [], "mtu": 1500,
            "reservedIpRanges": [], "ipRanges": [range], "networkServices": [service("DHCP"), service("SNAT")],
        })
    );
    assert_eq!(folded.all("l3")[0]["createDate"], "2023-11-14T22:13:25.000005Z");
    assert_eq!(folded.all("l3")[0]["lastOpDate"], "2023-11-14T22:13:26.000006Z");
    // As it was before its range and its services.
    let before = &folded.all_at("l3", 6)[0];
    assert_eq!((&before["ipVersion"], &before["ipRanges"]), (&json!(0), &json!([])));
    assert_eq!(folded.all_at("l2", 4)[0]["attachedClusterUuids"], json!([]));
}

#[test]
fn the_networks_version_follows_its_ranges_and_its_services_go_with_it() {
    let mut log = data_centre();
    let l3_network = L3NetworkId(id("l3", 0));
    log.event(
        id("range", 0),
        IpRangeEvent::AddressAllocated {
            l3_network,
            ip: Ipv4Addr::new(10, 1, 2, 10).into(),
            used_ip: id("ip", 0),
            nic: NicId(id("nic", 0)),
            owner: id("vm", 0),
        },
    );
    let allocated = log.commits.last().unwrap().last_position();
    log.event(id("range", 0), IpRangeEvent::Deleted { l3_network });
    log.event(l3_network.0, L3NetworkEvent::Deleted {});
    let mut folded = Folded::of(&log);
    let address = &folded.all_at("usedIp", allocated)[0];
    assert_eq!((&address["netmask"], &address["gateway"]), (&json!("255.255.255.0"), &json!("10.1.2.1")));
    assert_eq!((&address["ip"], &address["usedFor"]), (&json!("10.1.2.10"), &Value::Null));
    assert_eq!(folded.all_at("l3", allocated + 1)[0]["ipVersion"], 0);
    assert_eq!(folded.all_at("usedIp", allocated + 1), Vec::<Value>::new());
    assert_eq!(folded.all_at("networkServiceL3NetworkRef", allocated + 1).len(), 2);
    assert_eq!(folded.all("networkServiceL3NetworkRef"), Vec::<Value>::new());
}

#[test]
fn a_vm_goes_through_its_life() {
    let mut log = Log::default();
    let vm = id("vm", 0);
    let host = HostId(id("host", 3));
    let l3_networks = Vec::new;
    log.event(
        vm,
        VmInstanceEvent::Created {
            zone: ZoneId(id("zone", 0)),
            cluster: ClusterId(id("cluster", 0)),
            host,
            hypervisor_type: HypervisorType::KVM,
            name: "web".into(),
            description: None,
            hostname: "web".into(),
            image: None,
            offering: None,
            default_l3_network: L3NetworkId(id("l3", 0)),
            nics: vec![nic(1, 0), nic(2, 0)],
        },
    );
    let failed = |operation| VmInstanceEvent::OperationFailed {
        operation,
        code: "C".into(),
        detail: "why".into(),
        l3_networks: vec![],
    };
    let on = json!(host.to_string());
    let none = Value::Null;
    let l3 = l3_networks;
    let steps: Vec<(VmInstanceEvent, &str, &Value, Value)> = vec![
        (failed(VmOperation::Create), "Stopped", &none, json!("why")),
        (
            VmInstanceEvent::StartRequested { host, cluster: ClusterId(id("cluster", 1)), l3_networks: l3() },
            "Starting",
            &none,
            json!("why"),
        ),
        (VmInstanceEvent::Started { host }, "Running", &on, Value::Null),
        (VmInstanceEvent::RebootRequested { l3_networks: l3() }, "Rebooting", &on, Value::Null),
        (failed(VmOperation::Reboot), "Running", &on, json!("why")),
        (VmInstanceEvent::DestroyRequested { l3_networks: l3() }, "Destroying", &on, json!("why")),
        (failed(VmOperation::Destroy), "Running", &on, json!("why")),
        (VmInstanceEvent::StopRequested { l3_networks: l3() }, "Stopping", &on, json!("why")),
        (VmInstanceEvent::Stopped { l3_networks: vec![] }, "Stopped", &none, Value::Null),
        (VmInstanceEvent::DestroyRequested { l3_networks: l3() }, "Destroying", &none, Value::Null),
        (failed(VmOperation::Destroy), "Stopped", &none, json!("why")),
    ];
    for (event, ..) in &steps {
        log.event(vm, event.clone());
    }
    log.event(vm, VmInstanceEvent::Destroyed { l3_networks: l3(), recoverable: false });
    let mut folded = Folded::of(&log);
    for (at, (event, state, host, error)) in (2..).zip(&steps) {
        let row = &folded.all_at("vm", at)[0];
        assert_eq!((&row["state"], &row["hostUuid"], &row["lastError"]), (&json!(state), *host, error), "{event:?}");
        assert_eq!(row["vmNics"].as_array().unwrap().len(), 2);
    }
    let last = &folded.all_at("vm", 12)[0];
    assert_eq!((&last["lastHostUuid"], &last["type"]), (&on, &json!("UserVm")));
    assert_eq!(last["clusterUuid"], json!(id("cluster", 1).to_string()));
    assert_eq!(last["vmNics"][0]["metaData"], Value::Null);
    assert_eq!((folded.all("vm").len(), folded.all("nic").len()), (0, 0));
    assert_eq!(folded.all_at("nic", 12).len(), 2);
}

#[test]
fn a_router_looks_as_in_the_reference_and_goes_through_its_life() {
    let mut log = Log::default();
    let router = id("router", 0);
    let (host, cluster) = (HostId(id("host", 3)), ClusterId(id("cluster", 0)));
    let l3 = |n| L3NetworkId(id("l3", n));
    log.event(
        router,
        RouterEvent::Created {
            zone: ZoneId(id("zone", 0)),
            cluster,
            host,
            hypervisor_type: HypervisorType::KVM,
            name: "vrouter".into(),
            offering: OfferingId(id("offering", 0)),
            image: ImageId(id("image", 0)),
            management_network: l3(1),
            public_network: l3(2),
            default_route_network: l3(2),
            nics: vec![Nic { meta_data: 3, ..nic(1, 1) }, Nic { meta_data: 4, ..nic(2, 3) }],
        },
    );
    let connected =
        |revision| RouterEvent::Connected { agent_digest: "aa".into(), revision, config_digest: "bb".into() };
    let steps: Vec<(RouterEvent, &str, &str, bool, Value)> = vec![
        (
            RouterEvent::StartFailed { code: "C".into(), detail: "no".into() },
            "Stopped",
            "Disconnected",
            false,
            json!("no"),
        ),
        (RouterEvent::StartRequested { host, cluster }, "Starting", "Connecting", false, Value::Null),
        (connected(3), "Running", "Connected", true, Value::Null),
        (RouterEvent::ProvisionRequested {}, "Running", "Connected", true, Value::Null),
        (RouterEvent::Disconnected { reason: "ping".into() }, "Running", "Disconnected", true, json!("ping")),
        (RouterEvent::ReconnectRequested {}, "Running", "Connecting", true, Value::Null),
        (RouterEvent::AgentUpgraded { from: "aa".into(), to: "cc".into() }, "Running", "Connecting", true, Value::Null),
        (connected(4), "Running", "Connected", true, Value::Null),
        (RouterEvent::ReplaceRequested {}, "Running", "Connected", true, Value::Null),
        (RouterEvent::SuccessorPrepared {}, "Running", "Connected", true, Value::Null),
        (
            RouterEvent::SuccessorServes { connections: 7, leases: 2, switch_micros: 900 },
            "Running",
            "Connected",
            true,
            Value::Null,
        ),
        (RouterEvent::Replaced {}, "Running", "Connecting", true, Value::Null),
        (RouterEvent::MoveRequested { host, cluster }, "Running", "Connecting", true, Value::Null),
        (RouterEvent::Moved { host, cluster }, "Running", "Connecting", true, Value::Null),
        (connected(4), "Running", "Connected", true, Value::Null),
        (RouterEvent::RebootRequested {}, "Rebooting", "Connecting", true, Value::Null),
        (connected(5), "Running", "Connected", true, Value::Null),
        (
            RouterEvent::ConfigApplied { revision: 6, config_digest: "dd".into() },
            "Running",
            "Connected",
            true,
            Value::Null,
        ),
        (RouterEvent::StopRequested {}, "Stopping", "Connected", true, Value::Null),
        (RouterEvent::Stopped {}, "Stopped", "Disconnected", false, Value::Null),
        (RouterEvent::DestroyRequested { l3_networks: vec![] }, "Destroying", "Disconnected", false, Value::Null),
    ];
    for (event, ..) in &steps {
        log.event(router, event.clone());
    }
    let applied = steps.iter().position(|(event, ..)| matches!(event, RouterEvent::ConfigApplied { .. }));
    let applied = 2 + applied.unwrap() as u64;
    log.event(router, RouterEvent::Destroyed { l3_networks: vec![] });
    let mut folded = Folded::of(&log);
    for (at, (event, state, status, placed, reason)) in (2..).zip(&steps) {
        let row = &folded.all_at("virtualRouter", at)[0];
        let host = if *placed { json!(host.to_string()) } else { Value::Null };
        let found = (&row["state"], &row["status"], &row["hostUuid"], &row["statusReason"]);
        assert_eq!(found, (&json!(state), &json!(status), &host, reason), "{event:?}");
    }
    let mut row = without_dates(folded.all_at("virtualRouter", applied)[0].clone());
    let nics = row["vmNics"].take();
    let uuid = |kind, n| id(kind, n).to_string();
    assert_eq!(
        row,
        json!({
            "uuid": router.to_string(), "name": "vrouter", "description": null, "type": "ApplianceVm",
            "applianceVmType": "VirtualRouter", "zoneUuid": uuid("zone", 0), "clusterUuid": uuid("cluster", 0),
            "hostUuid": uuid("host", 3), "lastHostUuid": uuid("host", 3), "imageUuid": uuid("image", 0),
            "instanceOfferingUuid": uuid("offering", 0), "virtualRouterOfferingUuid": uuid("offering", 0),
            "managementNetworkUuid": uuid("l3", 1), "publicNetworkUuid": uuid("l3", 2),
            "defaultRouteL3NetworkUuid": uuid("l3", 2), "defaultL3NetworkUuid": uuid("l3", 2),
            "hypervisorType": "KVM", "state": "Running", "status": "Connected", "statusReason": null,
            "hostname": null, "lastError": null, "haStatus": "NoHa", "agentPort": 7272, "agentDigest": "aa",
            "configRevision": 6, "configDigest": "dd", "vmNics": null, "allVolumes": [], "rootVolumeUuid": null,
            "driftCount": 0, "driftReason": null, "healthReason": null,
        })
    );
    assert_eq!((&nics[0]["metaData"], &nics[1]["metaData"]), (&json!("3"), &json!("4")));
    assert_eq!(
        without_dates(nics[1].clone()),
        json!({
            "uuid": uuid("nic", 2), "vmInstanceUuid": router.to_string(), "l3NetworkUuid": uuid("l3", 3),
            "mac": "fa:00:00:00:02:00", "ip": "10.0.0.2", "netmask": "255.255.255.0", "gateway": "10.0.0.1",
            "deviceId": 0, "internalName": "vnic2.0", "hypervisorType": "KVM", "metaData": "4",
            "usedIpUuid": uuid("ip", 2), "state": "enable",
        })
    );
    assert_eq!((folded.all("virtualRouter").len(), folded.all("nic").len()), (0, 0));
}

#[test]
fn an_offering_for_routers_is_an_instance_offering_too() {
    let mut log = Log::default();
    let terms = RouterTerms {
        zone: ZoneId(id("zone", 0)),
        management_network: L3NetworkId(id("l3", 0)),
        public_network: L3NetworkId(id("l3", 1)),
        image: ImageId(id("image", 0)),
        is_default: true,
    };
    for (n, router) in [None, Some(terms)].into_iter().enumerate() {
        let event = OfferingEvent::Created {
            name: format!("o{n}"),
            description: None,
            cpu_num: 1,
            cpu_speed: 2,
            memory_size: 3,
            allocator_strategy: "A".into(),
            router,
        };
        log.event(id("offering", n), event);
    }
    log.event(
        id("offering", 1),
        OfferingEvent::Updated { name: Some("n".into()), description: None, is_default: Some(false), image: None },
    );
    log.event(id("offering", 0), OfferingEvent::StateChanged { state: Enabled::Disabled });
    let mut folded = Folded::of(&log);
    assert_eq!(folded.values("instanceOffering", "name", &[]), ["o0", "n"]);
    assert_eq!(folded.values("instanceOffering", "type", &[]), ["UserVm", "VirtualRouter"]);
    assert_eq!(folded.values("instanceOffering", "state", &[]), ["Disabled", "Enabled"]);
    let offering = &folded.all("virtualRouterOffering")[0];
    assert_eq!((&offering["name"], &offering["isDefault"]), (&json!("n"), &json!(false)));
    assert_eq!(offering["publicNetworkUuid"], json!(id("l3", 1).to_string()));
}

#[test]
fn defaults_of_the_configuration_are_there_before_anything_happens() {
    let mut log = Log::default();
    let changed = |name: &str| GlobalConfigEvent::Changed {
        category: "virtualRouter".into(),
        name: name.into(),
        value: "true".into(),
    };
    log.event(global_config_id(), changed("agent.deployOnStart"));
    log.event(global_config_id(), changed("unheard.of"));
    let mut folded = Folded::of(&log);
    assert_eq!(
        folded.all_at("globalConfig", 0)[0],
        json!({
            "category": "virtualRouter", "name": "agent.deployOnStart", "value": "false", "defaultValue": "false",
            "description": "Deploy.", "createDate": null, "lastOpDate": null,
        })
    );
    let now = folded.all("globalConfig");
    assert_eq!((&now[0]["value"], &now[0]["defaultValue"]), (&json!("true"), &json!("false")));
    assert_eq!((&now[2]["value"], &now[2]["defaultValue"]), (&json!("true"), &Value::Null));
}
