//! What a command may carry besides its parameters: an id, a version, dry run.

use crate::harness::{ALL_SERVICES, Site, World, admin, command_id, request, text, uuid};
use serde_json::json;
use switchback_bus::{Bus, Caller, CommandRequest};

#[actix_rt::test]
async fn the_same_command_id_gets_the_same_answer_and_happens_once() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let create = CommandRequest {
        command_id: Some(command_id("create")),
        ..request("CreateVmInstance", &json!({"name": "vm", "l3NetworkUuids": [l3]}))
    };
    let first = world.node.command(create.clone()).await.unwrap();
    let head = world.head();
    assert_eq!(world.node.command(create.clone()).await.unwrap(), first);
    assert_eq!(world.asked_since(head).await, [""; 0]);
    assert_eq!(world.query("QueryVmInstance", &[]).await.len(), 1);
    let other = json!({"name": "other", "l3NetworkUuids": [l3]});
    let refusal = world.node.command(CommandRequest { parameters: other, ..create }).await.unwrap_err();
    assert_eq!(refusal.code, "SYS.1102");
    assert_eq!(world.asked_since(head).await, [""; 0]);
}

#[actix_rt::test]
async fn a_command_id_sent_many_times_at_once_happens_once() {
    let world = World::new();
    let create = CommandRequest { command_id: Some(command_id("z")), ..request("CreateZone", &json!({"name": "z"})) };
    let sent: Vec<_> = (0..15)
        .map(|_| {
            let (world, create) = (world.clone(), create.clone());
            actix_rt::spawn(async move { world.node.command(create).await })
        })
        .collect();
    let mut answers = Vec::new();
    for answer in sent {
        answers.push(answer.await.unwrap().unwrap());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(world.query("QueryZone", &[]).await.len(), 1);
}

#[actix_rt::test]
async fn a_command_id_is_known_after_the_node_was_closed_and_opened() {
    let directory = tempfile::tempdir().unwrap();
    let create = CommandRequest { command_id: Some(command_id("z")), ..request("CreateZone", &json!({"name": "z"})) };
    let world = World::open(directory.path());
    let first = world.node.command(create.clone()).await.unwrap();
    world.close();
    let world = World::open(directory.path());
    let head = world.head();
    assert_eq!(world.node.command(create.clone()).await.unwrap(), first);
    let other = CommandRequest { parameters: json!({"name": "y"}), ..create };
    assert_eq!(world.node.command(other).await.unwrap_err().code, "SYS.1102");
    assert_eq!(world.asked_since(head).await, [""; 0]);
}

#[actix_rt::test]
async fn if_match_takes_the_version_of_the_last_reply_and_refuses_an_older_one() {
    let world = World::new();
    let created = world.done("CreateZone", json!({"name": "z"})).await;
    let zone = uuid(created.inventory.as_ref().unwrap());
    let rename = |name: &str, version| CommandRequest {
        if_match: Some(version),
        ..request("UpdateZone", &json!({"uuid": zone, "name": name}))
    };
    let renamed = world.node.command(rename("y", created.version)).await.unwrap();
    assert_eq!(renamed.version, created.version + 1);
    let head = world.head();
    let refusal = world.node.command(rename("x", created.version)).await.unwrap_err();
    assert_eq!((refusal.code.as_str(), refusal.current_version), ("SYS.1103", Some(renamed.version)));
    assert_eq!(world.asked_since(head).await, [""; 0]);
    assert_eq!(text(&world.get("QueryZone", &zone).await, "name"), "y");
}

#[actix_rt::test]
async fn the_version_of_a_reply_is_that_of_the_target_as_it_is_then() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let created = world.done("CreateVmInstance", json!({"name": "vm", "l3NetworkUuids": [l3]})).await;
    let vm = uuid(created.inventory.as_ref().unwrap());
    let rename = CommandRequest {
        if_match: Some(created.version),
        ..request("UpdateVmInstance", &json!({"uuid": vm, "name": "renamed"}))
    };
    world.node.command(rename).await.unwrap();
}

#[actix_rt::test]
async fn a_dry_run_says_what_would_happen_and_appends_nothing() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let head = world.head();
    let parameters = json!({"name": "vm", "l3NetworkUuids": [l3]});
    let dry = CommandRequest {
        dry_run: true,
        command_id: Some(command_id("dry")),
        ..request("CreateVmInstance", &parameters)
    };
    let reply = world.node.command(dry.clone()).await.unwrap();
    assert_eq!(world.asked_since(head).await, [""; 0]);
    let kinds: Vec<&str> = reply.events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!((kinds[0], kinds.contains(&"router.Created")), ("vm_instance.Created", true));
    assert!(reply.events.iter().all(|event| event.position == 0 && event.payload.is_some()));
    assert!(world.query("QueryVmInstance", &[]).await.is_empty());
    // A refusal is the same as without.
    let bad = CommandRequest { parameters: json!({"name": "", "l3NetworkUuids": [l3]}), ..dry.clone() };
    assert_eq!(world.node.command(bad).await.unwrap_err().code, "SYS.1007");
    // And the id is still free.
    world.node.command(CommandRequest { dry_run: false, ..dry }).await.unwrap();
    assert_eq!(world.query("QueryVmInstance", &[]).await.len(), 1);
}

#[actix_rt::test]
async fn who_asked_and_why_is_in_the_log() {
    let world = World::new();
    let asked = CommandRequest {
        reason: Some("ticket 7".to_string()),
        command_id: Some(command_id("z")),
        caller: Caller { name: "ada".to_string(), ..admin() },
        ..request("CreateZone", &json!({"name": "z"}))
    };
    world.node.command(asked).await.unwrap();
    let events = world.read("GetEvents", json!({"principal": "ada"})).await;
    let events = events["events"].as_array().unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(
        (text(&events[0], "command"), text(&events[0], "reason")),
        ("CreateZone".to_string(), "ticket 7".to_string())
    );
}
