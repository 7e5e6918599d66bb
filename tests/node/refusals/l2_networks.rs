//! What commands of L2 networks refuse.

use super::*;

pub(super) fn rows(s: &Scene) -> Vec<Row> {
    let (nobody, site) = (nobody(), &s.site);
    let l2 = json!({"zoneUuid": site.zone, "name": "l2", "physicalInterface": "eth0"});
    let vlan = with(&l2, "vlan", json!(7));
    let attach = |l2: &str, cluster: &str| json!({"l2NetworkUuid": l2, "clusterUuid": cluster});
    let mut rows = vec![
        row("CreateL2NoVlanNetwork", with(&l2, "zoneUuid", json!(nobody)), NOT_FOUND, "zoneUuid", &nobody),
        row("CreateL2NoVlanNetwork", with(&l2, "type", json!("L2VlanNetwork")), ARGUMENT, "type", "L2VlanNetwork"),
        row("CreateL2NoVlanNetwork", with(&l2, "vSwitchType", json!("Foo")), ARGUMENT, "vSwitchType", "Foo"),
        row(
            "CreateL2NoVlanNetwork",
            with(&l2, "vSwitchType", json!("MacVlan")),
            NOT_SUPPORTED,
            "vSwitchType",
            "MacVlan",
        ),
        row("CreateL2VlanNetwork", with(&vlan, "zoneUuid", json!(nobody)), NOT_FOUND, "zoneUuid", &nobody),
        row("CreateL2VlanNetwork", with(&vlan, "vlan", json!(4095)), ARGUMENT, "vlan", "4095"),
        row("CreateL2VlanNetwork", with(&vlan, "vlan", json!(0)), ARGUMENT, "vlan", "0"),
        row("UpdateL2Network", json!({"uuid": nobody, "name": "x"}), NOT_FOUND, "uuid", &nobody),
        row("AttachL2NetworkToCluster", attach(&nobody, &site.cluster), NOT_FOUND, "l2NetworkUuid", &nobody),
        row("AttachL2NetworkToCluster", attach(&s.guest_l2, &nobody), NOT_FOUND, "clusterUuid", &nobody),
        row("AttachL2NetworkToCluster", attach(&s.guest_l2, &site.cluster), OPERATION, "", &s.guest_l2),
        row("AttachL2NetworkToCluster", attach(&s.twin_l2, &site.cluster), ARGUMENT, "physicalInterface", "eth0"),
        row("AttachL2NetworkToCluster", attach(&s.untagged_twin, &site.cluster), ARGUMENT, "physicalInterface", "eth3"),
        row(
            "AttachL2NetworkToCluster",
            attach(&s.guest_l2, &s.other_cluster),
            ARGUMENT,
            "clusterUuid",
            &s.other_cluster,
        ),
        row("CreateL2VlanNetwork", with(&vlan, "isolated", json!(true)), "SYS.1104", "isolated", "true"),
        row(
            "CreateL2NoVlanNetwork",
            with(&l2, "pvlan", json!("isolated-10-20")),
            "SYS.1104",
            "pvlan",
            "isolated-10-20",
        ),
        row(
            "AttachL2NetworkToCluster",
            with(&attach(&s.twin_l2, &site.cluster), "l2ProviderType", json!("Ovs")),
            ARGUMENT,
            "l2ProviderType",
            "Ovs",
        ),
        row("ChangeL2NetworkVlanId", json!({"uuid": nobody, "vlan": 7}), NOT_FOUND, "uuid", &nobody),
        row("ChangeL2NetworkVlanId", json!({"uuid": s.twin_l2}), ARGUMENT, "vlan", "missing"),
        row("ChangeL2NetworkVlanId", json!({"uuid": s.twin_l2, "vlan": 4095}), ARGUMENT, "vlan", "4095"),
        row("ChangeL2NetworkVlanId", json!({"uuid": s.untagged_twin, "vlan": 7}), ARGUMENT, "vlan", "7"),
        row(
            "ChangeL2NetworkVlanId",
            json!({"uuid": s.twin_l2, "type": "L2NoVlanNetwork", "vlan": 7}),
            ARGUMENT,
            "vlan",
            "7",
        ),
        row(
            "ChangeL2NetworkVlanId",
            json!({"uuid": s.twin_l2, "type": "VxlanNetwork", "vlan": 7}),
            ARGUMENT,
            "type",
            "VxlanNetwork",
        ),
        row("DetachL2NetworkFromCluster", attach(&s.twin_l2, &site.cluster), OPERATION, "", &s.twin_l2),
        row("DetachL2NetworkFromCluster", attach(&nobody, &site.cluster), NOT_FOUND, "l2NetworkUuid", &nobody),
        row("DetachL2NetworkFromCluster", attach(&s.twin_l2, &nobody), NOT_FOUND, "clusterUuid", &nobody),
        row("DetachL2NetworkFromCluster", attach(&s.guest_l2, &site.cluster), OPERATION, "", "running"),
        row("DeleteL2Network", json!({"uuid": s.other_l2}), OPERATION, "", "l3"),
    ];
    for bad in ["eth 0", "../x", ".x", "eth0;reboot", "é"] {
        rows.push(row(
            "CreateL2NoVlanNetwork",
            with(&l2, "physicalInterface", json!(bad)),
            ARGUMENT,
            "physicalInterface",
            bad,
        ));
    }
    rows
}
