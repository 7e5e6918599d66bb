//! Log in: by name and password to a session, how it ends, and what is refused.

use crate::accounts::{holding, sent};
use crate::harness::{World, admin, command_id, request, text, uuid};
use serde_json::{Value, json};
use switchback_bus::{Bus, RefusalKind};
use switchback_events::ADMIN_ACCOUNT;

fn log_in(name: &str, password: &str) -> Value {
    json!({"accountName": name, "password": sent(password)})
}

/// A world with the account `bob`, and its uuid.
async fn with_bob(world: &World) -> String {
    uuid(&world.make("CreateAccount", json!({"name": "bob", "password": sent("b")})).await)
}

async fn valid(world: &World, session: &str) -> bool {
    let read = world.node.read(&admin(), "ValidateSession", json!({"sessionUuid": session})).await.unwrap();
    read["valid"] == true
}

/// The kinds of the events of an account, and who asked.
async fn trail(world: &World, account: &str) -> Vec<(String, String)> {
    let page = world.node.read(&admin(), "GetEvents", json!({"resource": account})).await.unwrap();
    let events = page["events"].as_array().unwrap().clone();
    events.iter().map(|event| (text(event, "kind"), text(event, "principal"))).collect()
}

#[actix_rt::test]
async fn a_session_lasts_over_a_restart_until_it_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path());
    let bob = with_bob(&world).await;
    let reply = world.make("LogInByAccount", log_in("bob", "b")).await;
    assert_eq!((text(&reply, "accountUuid"), text(&reply, "userUuid")), (bob.clone(), bob.clone()));
    assert!(text(&reply, "expiredDate") > text(&reply, "createDate"), "{reply}");
    let session = uuid(&reply);
    assert_eq!(world.node.session(&session).unwrap().1.name, "bob");
    let first = std::fs::read_to_string(directory.path().join("admin.password")).unwrap();
    let admin = world.make("LogInByAccount", log_in("admin", first.trim())).await;
    assert_eq!(text(&admin, "accountUuid"), ADMIN_ACCOUNT.to_string());
    world.close();

    assert_eq!(holding(directory.path(), &session), Vec::<String>::new());
    let world = World::open(directory.path());
    assert!(valid(&world, &session).await && valid(&world, &uuid(&admin)).await);
    world.done("LogOut", json!({"sessionUuid": session})).await;
    assert!(!valid(&world, &session).await && valid(&world, &uuid(&admin)).await);
    world.done("LogOut", json!({"sessionUuid": session})).await;
    let log_in = ("account.LoggedIn".to_string(), "bob".to_string());
    assert_eq!(trail(&world, &bob).await[1..], [log_in, ("account.LoggedOut".to_string(), "bob".to_string())]);
    world.close();
}

#[actix_rt::test]
async fn a_new_password_and_a_deleted_account_end_sessions() {
    let world = World::new();
    let bob = with_bob(&world).await;
    let session = uuid(&world.make("LogInByAccount", log_in("bob", "b")).await);
    world.done("UpdateAccount", json!({"uuid": bob, "description": "d"})).await;
    assert!(valid(&world, &session).await);
    world.done("UpdateAccount", json!({"uuid": bob, "password": sent("c")})).await;
    assert!(!valid(&world, &session).await);
    let session = uuid(&world.make("LogInByAccount", log_in("bob", "c")).await);
    world.done("DeleteAccount", json!({"uuid": bob})).await;
    assert!(!valid(&world, &session).await);
    assert_eq!(world.refused("LogInByAccount", log_in("bob", "c")).await.code, "ID.1000");
}

#[actix_rt::test]
async fn a_session_expires_and_an_account_has_so_many() {
    let world = World::new();
    with_bob(&world).await;
    let set = |name: &str, value: &str| json!({"category": "identity", "name": name, "value": value});
    world.done("UpdateGlobalConfig", set("session.maxConcurrent", "1")).await;
    let first = uuid(&world.make("LogInByAccount", log_in("bob", "b")).await);
    let second = uuid(&world.make("LogInByAccount", log_in("bob", "b")).await);
    assert!(!valid(&world, &first).await && valid(&world, &second).await);
    world.done("UpdateGlobalConfig", set("session.timeout", "1")).await;
    let third = uuid(&world.make("LogInByAccount", log_in("bob", "b")).await);
    let expired = || async { (!valid(&world, &third).await).then_some(()) };
    world.until("the session expires", expired).await;
}

#[actix_rt::test]
async fn wrong_passwords_are_in_the_trail_and_soon_not_even_verified() {
    let world = World::new();
    let bob = with_bob(&world).await;
    for _ in 0..5 {
        let refusal = world.send("LogInByAccount", log_in("bob", "wrong")).await.unwrap_err();
        assert_eq!((refusal.kind, refusal.code.as_str()), (RefusalKind::Unauthenticated, "ID.1000"));
        assert!(!refusal.detail.contains(&sent("wrong")), "{refusal}");
    }
    let busy = world.refused("LogInByAccount", log_in("bob", "b")).await;
    assert_eq!((busy.kind, busy.field.as_deref()), (RefusalKind::Busy, Some("accountName")));
    assert!(busy.retry_after_secs.is_some_and(|seconds| (1..=60).contains(&seconds)), "{busy:?}");
    let trail = trail(&world, &bob).await;
    assert_eq!(trail.iter().filter(|(kind, _)| kind == "account.LogInRefused").count(), 5);
}

#[actix_rt::test]
async fn a_session_is_shown_once_and_a_log_in_is_not_tried_out() {
    let world = World::new();
    with_bob(&world).await;
    let named = || {
        let mut request = request("LogInByAccount", &log_in("bob", "b"));
        request.command_id = Some(command_id("once"));
        request
    };
    world.node.command(named()).await.unwrap();
    let again = world.node.command(named()).await.unwrap_err();
    assert!(again.kind == RefusalKind::Conflict && again.hint.unwrap().contains("Idempotency-Key"));
    let mut dry = request("LogInByAccount", &log_in("bob", "b"));
    dry.dry_run = true;
    assert_eq!(world.node.command(dry).await.unwrap_err().field.as_deref(), Some("dryRun"));
}
