//! Bad input for the commands of policies and roles.

use super::{ARGUMENT, NOT_FOUND, NOT_SUPPORTED, OPERATION, Row, Scene, nobody, row};
use serde_json::{Value, json};
use switchback_events::ADMIN_ACCOUNT;

pub(super) fn rows(scene: &Scene) -> Vec<Row> {
    let (admin, nobody) = (ADMIN_ACCOUNT.to_string(), nobody());
    let (policy, role) = (&scene.policy, &scene.role);
    let create = |statements: Value| json!({"name": "p", "statements": statements});
    let actions = |actions: Value| create(json!([{"effect": "Allow", "actions": actions}]));
    let more = |field: &str| {
        let mut statement = json!({"effect": "Allow", "actions": ["read"]});
        statement[field] = json!("x");
        create(json!([statement]))
    };
    let twice =
        |id: &str| json!({"name": "p", "statements": [{"effect": "Deny", "actions": ["*"]}], "resourceUuid": id});
    let pair = |policy: &str, role: &str| json!({"policyUuid": policy, "roleUuid": role});
    let held = |account: &str, role: &str| json!({"accountUuid": account, "roleUuid": role});
    let tagged = json!({"name": "r", "userTags": ["t"]});
    vec![
        row("CreatePolicy", create(json!([])), ARGUMENT, "statements", "[]"),
        row("CreatePolicy", create(json!([7])), ARGUMENT, "statements[0]", "7"),
        row("CreatePolicy", more("principals"), ARGUMENT, "statements[0].principals", "x"),
        row("CreatePolicy", more("effect"), ARGUMENT, "statements[0].effect", "x"),
        row("CreatePolicy", actions(json!([])), ARGUMENT, "statements[0].actions", "[]"),
        row("CreatePolicy", actions(json!(["CreateZon"])), ARGUMENT, "statements[0].actions[0]", "CreateZon"),
        row("CreatePolicy", actions(json!(["org.zstack.**"])), ARGUMENT, "actions[0]", "org.zstack.**"),
        row("CreatePolicy", actions(json!(vec!["read"; 201])), ARGUMENT, "statements", "201 actions"),
        row("CreatePolicy", twice(policy), OPERATION, "resourceUuid", policy),
        row("DeletePolicy", json!({"uuid": "x"}), ARGUMENT, "uuid", "x"),
        row("CreateRole", json!({"name": "r", "policyUuids": [nobody]}), NOT_FOUND, "policyUuids", &nobody),
        row("CreateRole", json!({"name": "r", "resourceUuid": role}), OPERATION, "resourceUuid", role),
        row("CreateRole", tagged, NOT_SUPPORTED, "userTags", "t"),
        row("UpdateRole", json!({"uuid": nobody, "name": "r"}), NOT_FOUND, "uuid", &nobody),
        row("AttachPolicyToRole", pair(&nobody, role), NOT_FOUND, "policyUuid", &nobody),
        row("AttachPolicyToRole", pair(policy, &nobody), NOT_FOUND, "roleUuid", &nobody),
        row("DetachPolicyFromRole", pair(policy, &nobody), NOT_FOUND, "roleUuid", &nobody),
        row("AttachRoleToAccount", held(&admin, &nobody), NOT_FOUND, "roleUuid", &nobody),
        row("AttachRoleToAccount", held(&nobody, role), NOT_FOUND, "accountUuid", &nobody),
        row("AttachRoleToAccount", held(&admin, role), ARGUMENT, "accountUuid", &admin),
        row("DetachRoleFromAccount", held(&admin, &nobody), NOT_FOUND, "roleUuid", &nobody),
        row("DeleteRole", json!({"uuid": "x"}), ARGUMENT, "uuid", "x"),
    ]
}
