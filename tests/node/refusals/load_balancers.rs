//! Bad input for load balancers and their listeners; what depends on a listener that is there is refused in
//! `load_balancers.rs`.

use super::{ARGUMENT, NOT_FOUND, OPERATION, Row, Scene, nobody, row};
use serde_json::json;

pub(super) fn rows(scene: &Scene) -> Vec<Row> {
    let nobody = nobody();
    let balancer = |vip: &str| json!({"name": "lb", "vipUuid": vip});
    let listener = json!({"loadBalancerUuid": nobody, "name": "web", "loadBalancerPort": 80});
    let nics = json!({"listenerUuid": nobody, "vmNicUuids": [scene.running_nic]});
    let access = json!({"listenerUuid": nobody, "aclUuids": [nobody], "aclType": "white"});
    let grey = json!({"listenerUuid": nobody, "aclUuids": [nobody], "aclType": "grey"});
    let lists = json!({"listenerUuid": nobody, "aclUuids": [nobody]});
    let certificate = json!({"listenerUuid": nobody, "certificateUuid": nobody});
    let group = |more: serde_json::Value| {
        let mut asked = json!({"serverGroupUuid": nobody});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        asked
    };
    vec![
        row("CreateCertificate", json!({"name": "web", "certificate": "sesame"}), ARGUMENT, "certificate", "(secret)"),
        row("UpdateCertificate", json!({"uuid": nobody, "name": "x"}), NOT_FOUND, "uuid", &nobody),
        row("DeleteCertificate", json!({"uuid": "x"}), ARGUMENT, "uuid", "x"),
        row("AddCertificateToLoadBalancerListener", certificate.clone(), NOT_FOUND, "listenerUuid", &nobody),
        row("RemoveCertificateFromLoadBalancerListener", certificate, NOT_FOUND, "listenerUuid", &nobody),
        row(
            "CreateLoadBalancerServerGroup",
            json!({"loadBalancerUuid": nobody, "name": "g"}),
            NOT_FOUND,
            "loadBalancerUuid",
            &nobody,
        ),
        row("UpdateLoadBalancerServerGroup", json!({"uuid": nobody, "name": "x"}), NOT_FOUND, "uuid", &nobody),
        row("DeleteLoadBalancerServerGroup", json!({"uuid": "x"}), ARGUMENT, "uuid", "x"),
        row(
            "AddBackendServerToServerGroup",
            group(json!({"vmNics": [{"uuid": scene.running_nic}]})),
            NOT_FOUND,
            "serverGroupUuid",
            &nobody,
        ),
        row(
            "AddBackendServerToServerGroup",
            group(json!({"vmNics": [{"weight": "1"}]})),
            ARGUMENT,
            "vmNics[0].uuid",
            "",
        ),
        row("ChangeLoadBalancerBackendServer", group(json!({})), NOT_FOUND, "serverGroupUuid", &nobody),
        row("RemoveBackendServerFromServerGroup", group(json!({"serverIps": ["x"]})), ARGUMENT, "serverIps", "x"),
        row("RemoveBackendServerFromServerGroup", group(json!({})), NOT_FOUND, "serverGroupUuid", &nobody),
        row(
            "AddServerGroupToLoadBalancerListener",
            group(json!({"listenerUuid": nobody})),
            NOT_FOUND,
            "listenerUuid",
            &nobody,
        ),
        row(
            "RemoveServerGroupFromLoadBalancerListener",
            group(json!({"listenerUuid": nobody})),
            NOT_FOUND,
            "listenerUuid",
            &nobody,
        ),
        row("CreateAccessControlList", json!({"name": "x", "ipVersion": 5}), ARGUMENT, "ipVersion", "5"),
        row("DeleteAccessControlList", json!({"uuid": "x"}), ARGUMENT, "uuid", "x"),
        row("AddAccessControlListEntry", json!({"aclUuid": nobody, "entries": "x"}), NOT_FOUND, "aclUuid", &nobody),
        row("RemoveAccessControlListEntry", json!({"aclUuid": nobody, "uuid": "x"}), ARGUMENT, "uuid", "x"),
        row("AddAccessControlListRedirectRule", json!({"aclUuid": nobody, "url": "/"}), NOT_FOUND, "aclUuid", &nobody),
        row("ChangeAccessControlListRedirectRule", json!({"uuid": nobody, "name": "x"}), NOT_FOUND, "uuid", &nobody),
        row("AddAccessControlListToLoadBalancer", access.clone(), NOT_FOUND, "listenerUuid", &nobody),
        row("AddAccessControlListToLoadBalancer", grey, ARGUMENT, "aclType", "grey"),
        row("RemoveAccessControlListFromLoadBalancer", lists, NOT_FOUND, "listenerUuid", &nobody),
        row(
            "ChangeAccessControlListServerGroup",
            json!({"aclUuid": nobody, "listenerUuid": nobody, "serverGroupUuids": [nobody]}),
            NOT_FOUND,
            "listenerUuid",
            &nobody,
        ),
        row("CreateLoadBalancer", balancer(&nobody), NOT_FOUND, "vipUuid", &nobody),
        row("CreateLoadBalancer", balancer(&scene.system_vip), OPERATION, "vipUuid", &scene.system_vip),
        row("UpdateLoadBalancer", json!({"uuid": nobody, "name": "x"}), NOT_FOUND, "uuid", &nobody),
        row("DeleteLoadBalancer", json!({"uuid": "x"}), ARGUMENT, "uuid", "x"),
        row("CreateLoadBalancerListener", listener, NOT_FOUND, "loadBalancerUuid", &nobody),
        row("UpdateLoadBalancerListener", json!({"uuid": nobody, "name": "x"}), NOT_FOUND, "uuid", &nobody),
        row("ChangeLoadBalancerListener", json!({"uuid": nobody, "nbprocess": 2}), NOT_FOUND, "uuid", &nobody),
        row("DeleteLoadBalancerListener", json!({"uuid": "x"}), ARGUMENT, "uuid", "x"),
        row("AddVmNicToLoadBalancer", nics.clone(), NOT_FOUND, "listenerUuid", &nobody),
        row("RemoveVmNicFromLoadBalancer", nics, NOT_FOUND, "listenerUuid", &nobody),
    ]
}
