//! Bad input for the commands of ownership.

use super::{ARGUMENT, NOT_FOUND, Row, Scene, nobody, row};
use serde_json::{Value, json};
use switchback_events::ADMIN_ACCOUNT;

pub(super) fn rows(scene: &Scene) -> Vec<Row> {
    let (admin, nobody, l3) = (ADMIN_ACCOUNT.to_string(), nobody(), &scene.guest);
    let share = |resource: &str, more: Value| {
        let mut parameters = json!({"resourceUuids": [resource]});
        parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        parameters
    };
    let public = || json!({"toPublic": true});
    let owner = |account: &str, resource: &str| json!({"accountUuid": account, "resourceUuid": resource});
    let quota = |account: &str, name: &str| json!({"identityUuid": account, "name": name, "value": 1});
    vec![
        row("ShareResource", share(l3, json!({})), ARGUMENT, "accountUuids", "toPublic"),
        row("ShareResource", json!({"resourceUuids": [], "toPublic": true}), ARGUMENT, "resourceUuids", "[]"),
        row("ShareResource", share(&scene.running, public()), ARGUMENT, "resourceUuids", &scene.running),
        row("ShareResource", share(&scene.site.zone, public()), NOT_FOUND, "resourceUuids", &scene.site.zone),
        row("ShareResource", share(l3, json!({"accountUuids": [nobody]})), NOT_FOUND, "accountUuids", &nobody),
        row("RevokeResourceSharing", share(l3, json!({})), ARGUMENT, "accountUuids", "toPublic"),
        row("RevokeResourceSharing", share(&nobody, public()), NOT_FOUND, "resourceUuids", &nobody),
        row("ChangeResourceOwner", owner(&nobody, l3), NOT_FOUND, "accountUuid", &nobody),
        row("ChangeResourceOwner", owner(&admin, &nobody), NOT_FOUND, "resourceUuid", &nobody),
        row("UpdateQuota", quota(&nobody, "l3.num"), NOT_FOUND, "identityUuid", &nobody),
        row("UpdateQuota", quota(&admin, "l3.num"), ARGUMENT, "identityUuid", &admin),
        row("UpdateQuota", quota(&admin, "sky.num"), ARGUMENT, "name", "sky.num"),
    ]
}
