//! Rows of security groups: one of each command. What rules may say is in `tests/acceptance/security_groups.rs`, the rest
//! in `tests/node/security_groups.rs`.

use super::{ARGUMENT, NOT_FOUND, Row, Scene, nobody, row};
use serde_json::{Value, json};

pub fn rows(s: &Scene) -> Vec<Row> {
    let nobody = nobody().to_string();
    let of = |extra: Value| {
        let mut all = json!({"securityGroupUuid": nobody});
        all.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        all
    };
    let rule = json!({"type": "Ingress", "protocol": "ALL"});
    let group = "securityGroupUuid";
    vec![
        row("CreateSecurityGroup", json!({"name": "sg", "ipVersion": 5}), ARGUMENT, "ipVersion", "5"),
        row("UpdateSecurityGroup", json!({"uuid": nobody}), NOT_FOUND, "uuid", &nobody),
        row("ChangeSecurityGroupState", json!({"uuid": nobody, "stateEvent": "enable"}), NOT_FOUND, "uuid", &nobody),
        row("DeleteSecurityGroup", json!({"uuid": "x"}), ARGUMENT, "uuid", "x"),
        row("AddSecurityGroupRule", of(json!({"rules": [rule]})), NOT_FOUND, group, &nobody),
        row("DeleteSecurityGroupRule", json!({"ruleUuids": ["x"]}), ARGUMENT, "ruleUuids[0]", "x"),
        row("ChangeSecurityGroupRule", json!({"uuid": nobody}), NOT_FOUND, "uuid", &nobody),
        row(
            "ChangeSecurityGroupRuleState",
            of(json!({"ruleUuids": [], "state": "Enabled"})),
            NOT_FOUND,
            group,
            &nobody,
        ),
        row("UpdateSecurityGroupRulePriority", of(json!({"type": "Egress", "rules": []})), NOT_FOUND, group, &nobody),
        row("AddVmNicToSecurityGroup", of(json!({"vmNicUuids": [s.running_nic]})), NOT_FOUND, group, &nobody),
        row("DeleteVmNicFromSecurityGroup", of(json!({"vmNicUuids": [s.running_nic]})), NOT_FOUND, group, &nobody),
        row(
            "SetVmNicSecurityGroup",
            json!({"vmNicUuid": s.router_nic, "refs": []}),
            NOT_FOUND,
            "vmNicUuid",
            &s.router_nic,
        ),
        row("ChangeVmNicSecurityPolicy", json!({"vmNicUuid": s.running_nic}), ARGUMENT, "ingressPolicy", "missing"),
        row("AttachSecurityGroupToL3Network", of(json!({"l3NetworkUuid": s.guest})), NOT_FOUND, group, &nobody),
        row("DetachSecurityGroupFromL3Network", of(json!({"l3NetworkUuid": s.guest})), NOT_FOUND, group, &nobody),
    ]
}
