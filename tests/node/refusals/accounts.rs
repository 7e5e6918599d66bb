//! Bad input for the commands of accounts.

use super::{ARGUMENT, NOT_FOUND, OPERATION, Row, Scene, nobody, row};
use serde_json::json;
use switchback_events::ADMIN_ACCOUNT;

pub(super) fn rows(_: &Scene) -> Vec<Row> {
    let (admin, nobody) = (ADMIN_ACCOUNT.to_string(), nobody());
    let password = "0".repeat(128);
    let create = |name: &str| json!({"name": name, "password": password});
    let token = |scopes: &[&str], account: &str| json!({"name": "t", "scopes": scopes, "accountUuid": account});
    let twice = json!({"name": "other", "password": password, "resourceUuid": admin});
    vec![
        row("CreateAccount", create("admin"), OPERATION, "name", &admin),
        row("CreateAccount", create("system:founding"), ARGUMENT, "name", "system:founding"),
        row("CreateAccount", create(" bob"), ARGUMENT, "name", " bob"),
        row("CreateAccount", twice, OPERATION, "resourceUuid", &admin),
        row("UpdateAccount", json!({"uuid": nobody, "name": "x"}), NOT_FOUND, "uuid", &nobody),
        row("UpdateAccount", json!({"uuid": admin, "name": "root"}), ARGUMENT, "name", "root"),
        row(
            "LogInByAccount",
            json!({"accountName": "nobody", "password": password}),
            "ID.1000",
            "accountName",
            "nobody",
        ),
        row("LogOut", json!({"sessionUuid": "x"}), ARGUMENT, "sessionUuid", "(secret)"),
        row("CreateAccessKey", json!({"accountUuid": nobody}), NOT_FOUND, "accountUuid", &nobody),
        row("CreateAccessKey", json!({"userUuid": nobody}), NOT_FOUND, "userUuid", &nobody),
        row("CreateAccessKey", json!({"AccessKeySecret": "short"}), ARGUMENT, "AccessKeySecret", "(secret)"),
        row("ChangeAccessKeyState", json!({"uuid": nobody, "stateEvent": "enable"}), NOT_FOUND, "uuid", &nobody),
        row("DeleteAccessKey", json!({"uuid": "x"}), ARGUMENT, "uuid", "x"),
        row("CreateApiToken", token(&["Creat"], &admin), ARGUMENT, "scopes[0]", "Creat"),
        row("CreateApiToken", token(&[], &admin), ARGUMENT, "scopes", "[]"),
        row("CreateApiToken", token(&["read"], &nobody), NOT_FOUND, "accountUuid", &nobody),
        row("DeleteApiToken", json!({"uuid": "x"}), ARGUMENT, "uuid", "x"),
        row("DeleteAccount", json!({"uuid": admin}), OPERATION, "uuid", &admin),
    ]
}
