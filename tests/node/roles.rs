//! Roles: what an account may send that has some, by whatever it has come in, and at once when they change.

use crate::accounts::sent;
use crate::credentials::signature;
use crate::harness::{World, command_id, request, text, uuid};
use crate::ownership::Tenant;
use serde_json::{Value, json};
use switchback::node::Doors;
use switchback_bus::{Bus, Caller, CommandRequest, QueryRequest, Refusal, RefusalKind, code};
use switchback_events::Origin;
use switchback_gateway::{Credentials, FixedTokens, Tokens};

fn statement(effect: &str, actions: &[&str]) -> Value {
    json!({"effect": effect, "actions": actions})
}

async fn role(world: &World, name: &str, statements: &[Value]) -> String {
    let parameters = match statements.is_empty() {
        true => json!({"name": name}),
        false => json!({"name": name, "statements": statements}),
    };
    uuid(&world.make("CreateRole", parameters).await)
}

async fn attach(world: &World, role: &str, account: &str) {
    world.done("AttachRoleToAccount", json!({"roleUuid": role, "accountUuid": account})).await;
}

fn denied<T: std::fmt::Debug>(answer: Result<T, Refusal>) -> String {
    let refusal = answer.unwrap_err();
    assert_eq!((refusal.kind, refusal.code.as_str()), (RefusalKind::Forbidden, code::PERMISSION_DENIED), "{refusal}");
    refusal.detail
}

#[actix_rt::test]
async fn a_role_holds_sessions_keys_and_tokens_that_there_are_and_lets_go_at_once() {
    let world = World::new();
    let bob = uuid(&world.make("CreateAccount", json!({"name": "bob", "password": sent("b")})).await);
    let log_in = json!({"accountName": "bob", "password": sent("b")});
    let session = uuid(&world.make("LogInByAccount", log_in).await);
    let key = world.make("CreateAccessKey", json!({"accountUuid": bob})).await;
    let token = json!({"name": "ci", "scopes": ["*"], "accountUuid": bob});
    let token = text(&world.make("CreateApiToken", token).await, "token");
    let doors = Doors::new(FixedTokens::new([("root", "admin")]), world.node.clone());
    let key_id = text(&key, "AccessKeyID");
    let at = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S UTC").to_string();
    let signature = signature(&text(&key, "AccessKeySecret"), "GET", &at, "/v1/zones");
    let signed =
        Credentials::Signature { key_id: &key_id, signature: &signature, method: "GET", date: &at, path: "/v1/zones" };
    let ways = [Credentials::Token(&session), Credentials::Token(&token), signed];
    let callers: Vec<Caller> = ways.iter().map(|way| doors.caller(way).unwrap()).collect();
    let query = |caller: &Caller| {
        let (node, caller) = (world.node.clone(), caller.clone());
        async move { node.query(&caller, QueryRequest { name: "QueryL3Network".into(), ..Default::default() }).await }
    };
    let update = |caller: &Caller, parameters: Value| {
        world.node.command(CommandRequest::new("UpdateAccount", parameters, caller.clone(), Origin::Api))
    };
    let named = || json!({"uuid": bob, "description": "d"});
    for caller in &callers {
        assert!(query(caller).await.is_ok() && update(caller, named()).await.is_ok());
    }
    let nothing = role(&world, "nothing", &[]).await;
    attach(&world, &nothing, &bob).await;
    for caller in &callers {
        assert!(denied(query(caller).await).contains("none of its roles allows it: `nothing`"));
        denied(update(caller, named()).await);
        denied(world.node.read(caller, "GetL3NetworkTypes", json!({})).await);
        assert!(update(caller, json!({"uuid": bob, "password": sent("b")})).await.is_ok());
    }
    // The password is another one now, so the session is over.
    let log_in = json!({"accountName": "bob", "password": sent("b")});
    let again = |body: &Value| {
        world.node.command(CommandRequest::new("LogInByAccount", body.clone(), Caller::nobody(), Origin::Api))
    };
    let session = uuid(&again(&log_in).await.unwrap().inventory.unwrap());
    let bobs = doors.caller(&Credentials::Token(&session)).unwrap();
    let valid = world.node.read(&bobs, "ValidateSession", json!({"sessionUuid": session})).await.unwrap();
    assert_eq!(valid["valid"], true);
    let reader = role(&world, "reader", &[statement("Allow", &["read"])]).await;
    attach(&world, &reader, &bob).await;
    assert!(query(&bobs).await.is_ok() && update(&bobs, named()).await.is_err());
    let detach = |role: &str| json!({"roleUuid": role, "accountUuid": bob});
    world.done("DetachRoleFromAccount", detach(&reader)).await;
    denied(query(&bobs).await);
    world.done("DetachRoleFromAccount", detach(&nothing)).await;
    world.done("DetachRoleFromAccount", detach(&nothing)).await;
    assert!(query(&bobs).await.is_ok() && update(&bobs, named()).await.is_ok());
    let out = CommandRequest::new("LogOut", json!({"sessionUuid": session}), bobs.clone(), Origin::Api);
    attach(&world, &nothing, &bob).await;
    assert!(world.node.command(out).await.is_ok());
    assert!(doors.caller(&Credentials::Token(&session)).is_err());
    // What was asked before the role was there is not answered again.
    world.done("DetachRoleFromAccount", detach(&nothing)).await;
    let mut once = CommandRequest::new("UpdateAccount", json!({"uuid": bob, "name": "rob"}), bobs, Origin::Api);
    once.command_id = Some(command_id("once"));
    world.node.command(once.clone()).await.unwrap();
    attach(&world, &nothing, &bob).await;
    denied(world.node.command(once).await);
}

#[actix_rt::test]
async fn an_account_sees_its_own_roles_with_what_they_say_and_no_others() {
    let world = World::new();
    let (bob, eve) = (Tenant::new(&world, "bob").await, Tenant::new(&world, "eve").await);
    let policy = |name: &str, statements: Value| json!({"name": name, "statements": statements});
    let look = json!([{"name": "look", "effect": "Allow", "actions": ["org.zstack.header.identity.role.api.APIQueryRoleMsg", "Query*"]}]);
    let look = world.make("CreatePolicy", policy("look", look)).await;
    assert_eq!(look["statements"][0]["name"], "look");
    let other = uuid(&world.make("CreatePolicy", policy("other", json!([statement("Allow", &["*"])]))).await);
    let create = json!({"name": "ops", "description": "d", "policyUuids": [uuid(&look), uuid(&look)], "statements": [statement("Deny", &["QueryZone"])]});
    let ops = world.make("CreateRole", create).await;
    assert_eq!((text(&ops, "type"), text(&ops, "state")), ("Customized".into(), "Enabled".into()));
    assert_eq!(ops["policies"].as_array().unwrap().len(), 1);
    assert_eq!(ops["policies"][0]["policyUuid"], look["uuid"]);
    let ops = uuid(&ops);
    let all = role(&world, "all", &[statement("Allow", &["*"])]).await;
    attach(&world, &ops, &bob.uuid).await;
    attach(&world, &all, &eve.uuid).await;
    assert_eq!(bob.found("QueryRole", &[]).await, std::slice::from_ref(&ops));
    assert_eq!(bob.found("QueryPolicy", &[]).await, [uuid(&look)]);
    assert_eq!(eve.found("QueryRole", &[]).await, std::slice::from_ref(&all));
    assert_eq!(eve.found("QueryPolicy", &[]).await, [""; 0]);
    let seen = &bob.query("QueryRole", &[]).await[0];
    assert_eq!(seen["statements"][0]["actions"], json!(["QueryZone"]));
    let count = |names: &[Value]| names.len();
    assert_eq!(count(&world.query("QueryRole", &["accountRefs.account.name=bob"]).await), 1);
    assert_eq!(count(&world.query("QueryAccount", &["roleRefs.role.name=all"]).await), 1);
    assert_eq!(count(&world.query("QueryPolicy", &["roleRefs.role.name=ops", "name=look"]).await), 1);

    // An account is told of no role that it does not have, however it asks.
    assert_eq!(count(&bob.query("QueryAccount", &["roleRefs.role.name=all"]).await), 0);
    assert_eq!(count(&bob.query("QueryRole", &["policies.policy.roleRefs.role.name=all"]).await), 0);

    let pair = |policy: &str| json!({"roleUuid": ops, "policyUuid": policy});
    let with = world.make("AttachPolicyToRole", pair(&other)).await;
    assert_eq!(with["policies"].as_array().unwrap().len(), 2);
    bob.done("UpdateAccount", json!({"uuid": bob.uuid, "description": "d"})).await;
    world.done("DetachPolicyFromRole", pair(&other)).await;
    world.done("DetachPolicyFromRole", pair(&other)).await;
    denied(bob.send("UpdateAccount", json!({"uuid": bob.uuid, "description": "e"})).await);
    let renamed = world.make("UpdateRole", json!({"uuid": ops, "name": "operators"})).await;
    assert_eq!((text(&renamed, "name"), text(&renamed, "description")), ("operators".into(), "d".into()));

    let in_use = world.refused("DeletePolicy", json!({"uuid": uuid(&look)})).await;
    assert_eq!((in_use.blockers[0].resource_type.as_str(), in_use.blockers[0].name.as_str()), ("role", "operators"));
    let in_use = world.refused("DeleteRole", json!({"uuid": ops})).await;
    assert_eq!((in_use.blockers[0].resource_type.as_str(), in_use.blockers[0].name.as_str()), ("account", "bob"));
    world.done("DeleteAccount", json!({"uuid": bob.uuid})).await;
    assert_eq!(count(&world.query("QueryRole", &["accountRefs.accountUuid!=x", "name=operators"]).await), 0);
    for _ in 0..2 {
        world.done("DeleteRole", json!({"uuid": ops})).await;
        world.done("DeletePolicy", json!({"uuid": uuid(&look)})).await;
    }
    assert_eq!(count(&world.query("QueryPolicy", &[]).await), 1);
    let past = world.read("ReplayResource", json!({"uuid": ops})).await;
    assert!(past.to_string().contains("operators"), "{past}");
}

#[actix_rt::test]
async fn limits_of_roles_are_said() {
    let world = World::new();
    let bob = Tenant::new(&world, "bob").await;
    let mut policies = Vec::new();
    for number in 0..11 {
        let policy = json!({"name": format!("p{number}"), "statements": [statement("Allow", &["read"])]});
        policies.push(uuid(&world.make("CreatePolicy", policy).await));
    }
    let refusal = world.refused("CreateRole", json!({"name": "r", "policyUuids": policies})).await;
    assert!(refusal.detail.contains("policyUuids") && refusal.detail.contains("11 policies"), "{refusal}");
    for number in 0..10 {
        attach(&world, &role(&world, &format!("r{number}"), &[]).await, &bob.uuid).await;
    }
    let more = json!({"roleUuid": role(&world, "more", &[]).await, "accountUuid": bob.uuid});
    let refusal = world.refused("AttachRoleToAccount", more).await;
    assert!(refusal.detail.contains("accountUuid") && refusal.detail.contains("10 roles"), "{refusal}");
    let mut dry = request("CreateRole", &json!({"name": "dry", "policyUuids": [policies[0]]}));
    dry.dry_run = true;
    assert_eq!(world.node.command(dry).await.unwrap().events[0].kind, "role.Created");
}
