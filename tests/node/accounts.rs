//! Accounts: who may ask, and that nothing gives their passwords away.

use crate::harness::{World, admin, command_id, request, text, uuid};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};
use std::{fs, path::Path};
use switchback_bus::{Bus, RefusalKind};
use switchback_events::{ADMIN_ACCOUNT, Id};

/// A password as it travels.
pub fn sent(password: &str) -> String {
    Sha512::digest(password).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bob() -> Value {
    json!({"name": "bob", "password": sent("correct horse"), "description": "of the network team"})
}

/// The folder's files that hold `needle`.
pub fn holding(folder: &Path, needle: &str) -> Vec<String> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(holding(&entry.path(), needle));
        } else if fs::read(entry.path()).unwrap().windows(needle.len()).any(|part| part == needle.as_bytes()) {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

#[actix_rt::test]
async fn an_account_is_made_changed_and_deleted() {
    let world = World::new();
    let admin = world.get("QueryAccount", &ADMIN_ACCOUNT.to_string()).await;
    assert_eq!((text(&admin, "name"), text(&admin, "type")), ("admin".to_string(), "SystemAdmin".to_string()));
    let made = world.make("CreateAccount", bob()).await;
    assert_eq!((text(&made, "name"), text(&made, "type")), ("bob".to_string(), "Normal".to_string()));
    assert_eq!(text(&made, "description"), "of the network team");
    let other = world.make("CreateAccount", json!({"name": "eve", "password": sent("e"), "type": "SystemAdmin"})).await;
    assert_eq!(text(&other, "type"), "SystemAdmin");

    let taken = world.refused("UpdateAccount", json!({"uuid": uuid(&other), "name": "bob"})).await;
    assert!(taken.detail.contains(&uuid(&made)), "{taken}");
    let renamed = world.make("UpdateAccount", json!({"uuid": uuid(&made), "name": "rob"})).await;
    assert_eq!((text(&renamed, "name"), &renamed["description"]), ("rob".to_string(), &made["description"]));
    world.make("UpdateAccount", json!({"uuid": uuid(&other), "name": "bob"})).await;

    world.done("DeleteAccount", json!({"uuid": uuid(&made)})).await;
    world.done("DeleteAccount", json!({"uuid": uuid(&made)})).await;
    assert_eq!(world.query("QueryAccount", &[]).await.len(), 2);
}

#[actix_rt::test]
async fn a_password_is_nowhere_but_as_a_hash_in_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path());
    let reply = world.done("CreateAccount", bob()).await;
    let update = json!({"uuid": uuid(&reply.inventory.clone().unwrap()), "password": sent("battery staple")});
    let mut dry = request("UpdateAccount", &update);
    dry.dry_run = true;
    let dry = world.node.command(dry).await.unwrap();
    let changed = world.done("UpdateAccount", update).await;
    let events = world.node.read(&admin(), "GetEvents", json!({"resource": update_of(&changed)})).await.unwrap();
    let shown = [json!(reply), json!(changed), json!(dry), events].map(|value| value.to_string()).join("\n");
    assert!(shown.contains("account.PasswordChanged") && shown.contains("(hash)"), "{shown}");
    assert!(!shown.contains("argon2") && !shown.contains(&sent("correct horse")), "{shown}");
    let first = fs::read_to_string(directory.path().join("admin.password")).unwrap().trim().to_string();
    world.close();

    let log = directory.path().join("journal");
    for secret in ["correct horse", "battery staple", &first] {
        assert_eq!(holding(&log, secret), Vec::<String>::new());
        assert_eq!(holding(directory.path(), &sent(secret)), Vec::<String>::new());
        // What can be tried on the log without the key of the data directory.
        let parameters = json!({"name": "bob", "password": sent(secret), "description": "of the network team"});
        let digest = Id::of_name(&format!("CreateAccount {parameters}"));
        let bytes = |path: &Path| fs::read(path).unwrap();
        for file in fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
            assert!(!bytes(&file).windows(16).any(|part| part == digest.0), "{}", file.display());
        }
    }
}

fn update_of(reply: &switchback_bus::CommandReply) -> String {
    uuid(reply.inventory.as_ref().unwrap())
}

#[actix_rt::test]
async fn the_same_command_is_known_again_by_its_password_too() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path());
    let named = |body: &Value| {
        let mut request = request("CreateAccount", body);
        request.command_id = Some(command_id("once"));
        request
    };
    let first = world.node.command(named(&bob())).await.unwrap();
    world.close();

    let world = World::open(directory.path());
    assert_eq!(world.node.command(named(&bob())).await.unwrap().position, first.position);
    let mut other = bob();
    other["password"] = json!(sent("another"));
    assert_eq!(world.node.command(named(&other)).await.unwrap_err().kind, RefusalKind::OtherBody);
    world.close();
}

#[actix_rt::test]
async fn a_refusal_does_not_repeat_a_password() {
    let world = World::new();
    for (field, value) in [("password", "clear text"), ("passwort", &sent("x"))] {
        let mut body = bob();
        body[field] = json!(value);
        let refusal = world.refused("CreateAccount", body).await;
        assert_eq!(refusal.field.as_deref(), Some(field));
        assert!(!format!("{refusal:?}").contains(value), "{refusal:?}");
    }
}
