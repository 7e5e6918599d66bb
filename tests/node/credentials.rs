//! Access keys and API tokens: who comes in by them, until when, and that nothing gives them away.

use crate::accounts::{holding, sent};
use crate::harness::{World, command_id, request, text, uuid};
use base64::Engine;
use ring::hmac;
use serde_json::{Value, json};
use std::{fs, sync::Arc};
use switchback::node::{Doors, Signed};
use switchback_bus::{Bus, Caller, EventsRequest, GetEvents, LogForm, QueryRequest, Refusal, RefusalKind};
use switchback_events::{ADMIN_ACCOUNT, Id};
use switchback_gateway::{Credentials, FixedTokens, Tokens};

/// A signature as ZStack's clients make it.
pub fn signature(secret: &str, method: &str, date: &str, path: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let signed = hmac::sign(&key, format!("{method}\n{date}\n{path}").as_bytes());
    base64::engine::general_purpose::STANDARD.encode(signed)
}

/// The time as they write it in China, so many seconds from now.
fn date(seconds: i64) -> String {
    let then = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds + 8 * 3600);
    then.strftime("%a, %d %b %Y %H:%M:%S PRC").to_string()
}

/// Asks for the zones, signed at `date`; the account's name.
fn ask(world: &World, key: &Value, date: &str) -> Result<String, Refusal> {
    let (key_id, secret) = (text(key, "AccessKeyID"), text(key, "AccessKeySecret"));
    let signature = signature(&secret, "GET", date, "/v1/zones");
    let signed = Signed { key_id: &key_id, signature: &signature, method: "GET", date, path: "/v1/zones" };
    world.node.signed(&signed).map(|(_, account, _)| account.name.clone())
}

async fn with_bob(world: &World) -> String {
    uuid(&world.make("CreateAccount", json!({"name": "bob", "password": sent("b")})).await)
}

#[actix_rt::test]
async fn what_is_signed_with_an_access_key_comes_in_as_its_account() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path());
    let bob = with_bob(&world).await;
    let reply = world.done("CreateAccessKey", json!({"accountUuid": bob, "userUuid": bob, "description": "ci"})).await;
    let key = reply.inventory.unwrap();
    let (id, secret) = (text(&key, "AccessKeyID"), text(&key, "AccessKeySecret"));
    assert_eq!((id.len(), secret.len(), text(&key, "state")), (20, 40, "Enabled".to_string()));
    assert_eq!((text(&key, "accountUuid"), text(&key, "userUuid")), (bob.clone(), bob.clone()));
    assert_eq!(ask(&world, &key, &date(0)).as_deref(), Ok("bob"));

    let own = world.make("CreateAccessKey", json!({})).await;
    assert_eq!(
        (text(&own, "accountUuid"), ask(&world, &own, &date(0))),
        (ADMIN_ACCOUNT.to_string(), Ok("admin".into()))
    );
    let shown = world.query("QueryAccessKey", &["account.name=bob"]).await;
    assert!(shown.len() == 1 && shown[0]["AccessKeyID"] == json!(id), "{shown:?}");
    let events = world.read("GetEvents", json!({"resource": uuid(&key)})).await;
    assert_eq!(events["events"][0]["kind"], "account.AccessKeyCreated");
    for place in [json!(shown), events, json!(world.get("QueryAccessKey", &uuid(&key)).await)] {
        assert!(!place.to_string().contains(&secret) && place.get("AccessKeySecret").is_none(), "{place}");
    }
    world.close();

    assert_eq!(holding(directory.path(), &secret), Vec::<String>::new());
    let world = World::open(directory.path());
    assert_eq!(ask(&world, &key, &date(0)).as_deref(), Ok("bob"));
    world.done("DeleteAccount", json!({"uuid": bob})).await;
    assert!(ask(&world, &key, &date(0)).unwrap_err().detail.contains("no such key"));
    assert_eq!(world.query("QueryAccessKey", &[]).await.len(), 1, "only the administrator's");
    world.close();
}

#[actix_rt::test]
async fn a_signature_is_good_for_its_request_and_minutes_and_while_the_key_is_enabled() {
    let world = World::new();
    let key = world.make("CreateAccessKey", json!({})).await;
    let refused = |key: &Value, date: &str| {
        let refusal = ask(&world, key, date).unwrap_err();
        assert_eq!((refusal.kind, refusal.code.as_str()), (RefusalKind::Unauthenticated, "ID.1002"), "{refusal}");
        refusal.detail
    };
    for seconds in [-600, 600] {
        assert!(ask(&world, &key, &date(seconds)).is_ok(), "{seconds}");
    }
    for seconds in [-1200, 1200] {
        let detail = refused(&key, &date(seconds));
        assert!(detail.contains("PRC") && detail.contains("from the server's time"), "{detail}");
    }
    assert!(refused(&key, "yesterday").contains("Date = `yesterday`"));
    let mut other = key.clone();
    other["AccessKeySecret"] = json!("0".repeat(40));
    assert_eq!(refused(&other, &date(0)), "wrong accessKey signature");
    other["AccessKeyID"] = json!("0".repeat(20));
    assert!(refused(&other, &date(0)).contains("access key id"));
    let (id, secret, at) = (text(&key, "AccessKeyID"), text(&key, "AccessKeySecret"), date(0));
    let good = signature(&secret, "GET", &at, "/v1/zones");
    let signed = |signature: &str, method: &str, path: &str| {
        let signed = Signed { key_id: &id, signature, method, date: &at, path };
        world.node.signed(&signed).is_ok()
    };
    assert!(signed(&good, "GET", "/v1/zones"));
    assert!(
        !signed(&good, "DELETE", "/v1/zones")
            && !signed(&good, "GET", "/v1/zones/x")
            && !signed("", "GET", "/v1/zones")
    );

    let change = |word: &str| json!({"uuid": uuid(&key), "stateEvent": word});
    let disabled = world.make("ChangeAccessKeyState", change("disable")).await;
    assert!(disabled["state"] == "Disabled" && disabled.get("AccessKeySecret").is_none(), "{disabled}");
    assert!(refused(&key, &date(0)).contains("disabled"));
    world.make("ChangeAccessKeyState", change("enable")).await;
    assert!(ask(&world, &key, &date(0)).is_ok());
    world.done("DeleteAccessKey", json!({"uuid": uuid(&key)})).await;
    world.done("DeleteAccessKey", json!({"uuid": uuid(&key)})).await;
    assert!(refused(&key, &date(0)).contains("no such key"));
}

#[actix_rt::test]
async fn a_secret_is_shown_once_and_one_that_was_brought_along_each_time() {
    let world = World::new();
    let named = |id: &str, name: &str, body: Value| {
        let mut request = request(name, &body);
        request.command_id = Some(command_id(id));
        world.node.command(request)
    };
    for (id, name, body) in
        [("key", "CreateAccessKey", json!({})), ("token", "CreateApiToken", json!({"name": "ci", "scopes": ["read"]}))]
    {
        named(id, name, body.clone()).await.unwrap();
        let again = named(id, name, body).await.unwrap_err();
        assert_eq!(again.kind, RefusalKind::Conflict);
        assert!(again.detail.contains("only once") && again.hint.unwrap().contains("Idempotency-Key"));
    }
    let brought = json!({"AccessKeyID": "a".repeat(20), "AccessKeySecret": "b".repeat(40)});
    let first = named("own", "CreateAccessKey", brought.clone()).await.unwrap().inventory.unwrap();
    assert_eq!(first["AccessKeySecret"], brought["AccessKeySecret"]);
    assert_eq!(ask(&world, &first, &date(0)).as_deref(), Ok("admin"));
    let again = named("own", "CreateAccessKey", brought.clone()).await.unwrap().inventory.unwrap();
    assert_eq!(again, first);
    let mut other = brought.clone();
    other["AccessKeySecret"] = json!("c".repeat(40));
    assert_eq!(named("own", "CreateAccessKey", other).await.unwrap_err().kind, RefusalKind::OtherBody);
    let taken = world.refused("CreateAccessKey", brought).await;
    assert!(taken.detail.contains("AccessKeyID"), "{taken}");
    for (name, more) in [("CreateAccessKey", json!({})), ("CreateApiToken", json!({"name": "x", "scopes": ["*"]}))] {
        let mut twice = more;
        twice["resourceUuid"] = json!(uuid(&first));
        assert!(world.refused(name, twice).await.detail.contains("resourceUuid"));
    }
    let mut dry = request("CreateAccessKey", &json!({}));
    dry.dry_run = true;
    let dry = json!(world.node.command(dry).await.unwrap());
    assert!(dry["inventory"].is_null() && dry.to_string().contains("(sealed)"), "{dry}");
    let mut nobody = request("CreateAccessKey", &json!({}));
    nobody.caller = Caller { admin: true, ..Caller::nobody() };
    assert_eq!(world.node.command(nobody).await.unwrap_err().field.as_deref(), Some("accountUuid"));
}

#[actix_rt::test]
async fn a_log_without_its_key_says_so_of_each_access_key() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path());
    let key = world.make("CreateAccessKey", json!({})).await;
    world.close();
    let file = directory.path().join("secrets.key");
    let kept = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let world = World::open(directory.path());
    let refusal = ask(&world, &key, &date(0)).unwrap_err();
    assert!(refusal.detail.contains("another secrets.key") && refusal.hint.is_some(), "{refusal:?}");
    assert!(ask(&world, &world.make("CreateAccessKey", json!({})).await, &date(0)).is_ok());
    world.close();
    fs::write(&file, kept).unwrap();
    let world = World::open(directory.path());
    assert!(ask(&world, &key, &date(0)).is_ok());
    world.close();
}

#[actix_rt::test]
async fn an_api_token_is_for_its_messages_and_its_time_and_goes_with_its_account() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path());
    let bob = with_bob(&world).await;
    let create = json!({"name": "ci", "scopes": ["read", "Create*"], "accountUuid": bob, "description": "d"});
    let made = world.make("CreateApiToken", create).await;
    let token = text(&made, "token");
    assert!(token.starts_with("sbt_") && token.len() == 68, "{token}");
    assert_eq!((&made["scopes"], text(&made, "accountUuid")), (&json!(["read", "Create*"]), bob.clone()));
    assert!(text(&made, "expirationDate") > text(&made, "createDate"), "{made}");
    let shown = world.one("QueryApiToken", &["name=ci"]).await;
    assert!(shown.get("token").is_none() && shown["expirationDate"] == made["expirationDate"], "{shown}");
    let events = world.read("GetEvents", json!({"resource": bob})).await;
    let last = events["events"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((text(&last, "kind"), text(&last, "name")), ("account.ApiTokenCreated".into(), "bob".into()));
    world.close();

    assert_eq!(holding(directory.path(), &token), Vec::<String>::new());
    assert_eq!(holding(directory.path(), token.trim_start_matches("sbt_")), Vec::<String>::new());
    let world = World::open(directory.path());
    {
        let doors = Doors::new(FixedTokens::new([("root", "admin")]), world.node.clone());
        let caller = doors.caller(&Credentials::Token(&token)).unwrap();
        assert_eq!((caller.name.as_str(), caller.admin), ("bob", false));
        assert_eq!(caller.credential.map(|id| id.to_string()), Some(uuid(&made)));
        assert_eq!(caller.scopes.as_deref(), Some(&["read".to_string(), "Create*".to_string()][..]));
        assert!(doors.caller(&Credentials::Token("root")).unwrap().unlimited);
        for wrong in ["sbt_", "sbt_0", &token[..67], "0".repeat(32).as_str()] {
            assert_eq!(doors.caller(&Credentials::Token(wrong)).unwrap_err().kind, RefusalKind::Unauthenticated);
        }
        let key = world.make("CreateAccessKey", json!({})).await;
        let (key_id, at) = (text(&key, "AccessKeyID"), date(0));
        let signature = signature(&text(&key, "AccessKeySecret"), "GET", &at, "/v1/zones");
        let signed = Credentials::Signature {
            key_id: &key_id,
            signature: &signature,
            method: "GET",
            date: &at,
            path: "/v1/zones",
        };
        let caller = doors.caller(&signed).unwrap();
        assert_eq!((caller.admin, caller.credential.map(|id| id.to_string())), (true, Some(uuid(&key))));
        let short = json!({"name": "short", "scopes": ["*"], "expiresIn": 1});
        let short = world.make("CreateApiToken", short).await;
        let expired = || async {
            let refusal = doors.caller(&Credentials::Token(&text(&short, "token"))).err()?;
            Some(refusal.detail)
        };
        let detail = world.until("the token expires", expired).await;
        assert!(detail.contains("`short`") && detail.contains("expired at"), "{detail}");
        world.done("DeleteApiToken", json!({"uuid": uuid(&short)})).await;
        world.done("DeleteApiToken", json!({"uuid": uuid(&short)})).await;
        assert!(expired().await.unwrap().contains("no such"));
        world.done("DeleteAccount", json!({"uuid": bob})).await;
        assert!(doors.caller(&Credentials::Token(&token)).is_err());
        assert_eq!(world.query("QueryApiToken", &[]).await.len(), 0);
    }
    Arc::into_inner(world.node).unwrap().close();
}

#[actix_rt::test]
async fn an_account_has_keys_of_its_own_and_does_not_see_others() {
    let world = World::new();
    let bob = with_bob(&world).await;
    let caller = Caller::new("bob", bob.parse().unwrap(), false);
    let send = |name: &str, body: Value| {
        let mut request = request(name, &body);
        request.caller = caller.clone();
        world.node.command(request)
    };
    let own = send("CreateAccessKey", json!({})).await.unwrap().inventory.unwrap();
    assert_eq!((text(&own, "accountUuid"), ask(&world, &own, &date(0))), (bob, Ok("bob".to_string())));
    let token = json!({"name": "ci", "scopes": ["read"]});
    let own_token = send("CreateApiToken", token.clone()).await.unwrap().inventory.unwrap();
    let key = world.make("CreateAccessKey", json!({})).await;
    let foreign_token = world.make("CreateApiToken", token).await;

    let absent = send("CreateAccessKey", json!({"accountUuid": ADMIN_ACCOUNT.to_string()})).await.unwrap_err();
    assert_eq!((absent.kind, absent.field.as_deref()), (RefusalKind::NotFound, Some("accountUuid")));
    let change = |key: &Value| json!({"uuid": uuid(key), "stateEvent": "disable"});
    assert_eq!(send("ChangeAccessKeyState", change(&key)).await.unwrap_err().kind, RefusalKind::NotFound);
    send("DeleteAccessKey", json!({"uuid": uuid(&key)})).await.unwrap();
    send("DeleteApiToken", json!({"uuid": uuid(&foreign_token)})).await.unwrap();
    assert!(ask(&world, &key, &date(0)).is_ok() && world.query("QueryApiToken", &[]).await.len() == 2);
    send("ChangeAccessKeyState", change(&own)).await.unwrap();
    assert!(ask(&world, &own, &date(0)).unwrap_err().detail.contains("disabled"));
    send("DeleteAccessKey", json!({"uuid": uuid(&own)})).await.unwrap();
    send("DeleteApiToken", json!({"uuid": uuid(&own_token)})).await.unwrap();
    assert_eq!(world.query("QueryAccessKey", &[]).await.len(), 1);
    assert_eq!(world.query("QueryApiToken", &[]).await.len(), 1);
}

#[actix_rt::test]
async fn a_token_sends_the_messages_of_its_scopes_and_reads_what_they_read() {
    let world = World::new();
    let with = |scopes: &str| Caller {
        scopes: Some(scopes.split(',').map(str::to_string).collect()),
        credential: Some(Id::of_name("token")),
        ..Caller::administrator("admin")
    };
    let reader = with("read,UpdateZone");
    let mut create = request("CreateZone", &json!({"name": "z"}));
    create.caller = reader.clone();
    let refusal = world.node.command(create.clone()).await.unwrap_err();
    assert_eq!((refusal.kind, refusal.code.as_str()), (RefusalKind::Forbidden, "ID.1001"));
    assert!(refusal.detail.contains("CreateZone") && refusal.detail.contains("read, UpdateZone"), "{refusal}");
    create.caller = with("Create*");
    let made = world.node.command(create).await.unwrap().inventory.unwrap();
    let events = world.read("GetEvents", json!({"resource": uuid(&made)})).await;
    let event = &events["events"][0];
    assert_eq!((&event["principal"], &event["credential"]), (&json!("admin"), &json!(Id::of_name("token"))));
    let events = world.read("GetEvents", json!({"kind": "account.Created"})).await;
    assert!(events["events"][0].get("credential").is_none(), "{events}");
    let query = || QueryRequest { name: "QueryZone".to_string(), ..QueryRequest::default() };
    assert!(world.node.query(&reader, query()).await.is_ok());
    assert!(world.node.query(&with("Create*"), query()).await.is_err());
    assert!(world.node.read(&reader, "GetAuditHead", json!({})).await.is_ok());
    assert!(world.node.read(&reader, "GetAgentToken", json!({"address": "10.0.0.1"})).await.is_err());
    let filter = || serde_json::from_value::<GetEvents>(json!({})).unwrap();
    let follow = |filter| EventsRequest { filter, follow: false };
    assert!(world.node.events(&reader, follow(filter())).await.is_ok());
    assert!(world.node.events(&with("Create*"), follow(filter())).await.is_err());
    for (scopes, may) in [("read", false), ("Get*", false), ("*", true)] {
        assert_eq!(world.node.log(&with(scopes), LogForm::Frames, 0).await.is_ok(), may, "{scopes}");
    }
}
