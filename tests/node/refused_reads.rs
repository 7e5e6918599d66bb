//! Bad questions to a running node and to a data directory at rest: the code, and the field and value at fault.

use crate::harness::{Site, World, admin, request};
use serde_json::{Value, json};
use std::sync::Arc;
use switchback::node::AtRest;
use switchback_bus::{Bus, EventsRequest, LogForm, QueryRequest, Read, Refusal, read as read_of};
use switchback_events::Id;

const ARGUMENT: &str = "SYS.1007";
const NOT_FOUND: &str = "SYS.1003";
const OPERATION: &str = "SYS.1006";
const NOT_SUPPORTED: &str = "SYS.1104";

#[track_caller]
fn is<T>(answer: Result<T, Refusal>, code: &str, words: &[&str]) {
    let Err(refusal) = answer else { panic!("want {code} {words:?}, but it was answered") };
    let named = words.iter().all(|word| refusal.detail.contains(word));
    assert!(refusal.code == code && named, "want {code} {words:?}, got {refusal:?}");
}

#[actix_rt::test]
async fn every_bad_read_is_refused_by_name() {
    let world = World::new();
    let site = Site::bare(&world, 1).await;
    let nobody = Id::of_name("nobody").to_string();
    let read = |name: &'static str, parameters: Value| {
        let node = world.node.clone();
        async move { node.read(&admin(), name, parameters).await }
    };
    for (name, parameters, code, words) in [
        ("GetEvent", json!({"position": 1_000_000}), NOT_FOUND, ["position", "1000000"]),
        ("GetAuditDiff", json!({"resource": nobody, "from": "0"}), NOT_FOUND, ["resource", &nobody]),
        ("GetAuditDiff", json!({"from": "2", "to": "1"}), ARGUMENT, ["from", "2"]),
        ("GetAuditDiff", json!({"from": "1000000"}), ARGUMENT, ["from", "1000000"]),
        ("GetAuditDiff", json!({"from": "soon"}), ARGUMENT, ["from", "soon"]),
        ("GetVirtualRouterDiff", json!({"uuid": nobody, "from": "0"}), NOT_FOUND, ["uuid", &nobody]),
        ("GetVirtualRouterConfig", json!({"uuid": nobody}), NOT_FOUND, ["uuid", &nobody]),
        ("GetVirtualRouterDrift", json!({"uuid": nobody}), NOT_FOUND, ["uuid", &nobody]),
        ("GetVirtualRouterCounters", json!({"uuid": nobody}), NOT_FOUND, ["uuid", &nobody]),
        ("GetAgentToken", json!({"address": "10.1.0.1"}), OPERATION, ["simulates", "join"]),
        ("ReplayResource", json!({"uuid": nobody}), NOT_FOUND, ["uuid", &nobody]),
        ("GetVmHostname", json!({"uuid": nobody}), NOT_FOUND, ["uuid", &nobody]),
        (
            "CheckIpAvailability",
            json!({"l3NetworkUuid": site.public, "ip": "fd00::9", "ipRangeCheck": false, "arpCheck": true}),
            NOT_SUPPORTED,
            ["arpCheck", "fd00::9"],
        ),
        ("VerifyAudit", json!({"anchor": "{}"}), ARGUMENT, ["anchor", "position"]),
        ("CreateZone", json!({"name": "z"}), ARGUMENT, ["message", "CreateZone"]),
        ("GetFreeIp", json!({"l3NetworkUuid": site.public, "ipRangeType": 7}), ARGUMENT, ["ipRangeType", "7"]),
    ] {
        is(read(name, parameters).await, code, &words);
    }
    let many = json!({"l3NetworkUuids": vec![nobody.clone(); 1001]});
    is(read("GetIpAddressCapacity", many).await, ARGUMENT, &["l3NetworkUuids", "1001 items"]);

    let query = |name: &str, q: &str| QueryRequest {
        name: name.to_string(),
        q: vec![q.to_string()].into_iter().filter(|q| !q.is_empty()).collect(),
        ..QueryRequest::default()
    };
    is(world.node.query(&admin(), query("CreateZone", "")).await, ARGUMENT, &["message", "CreateZone"]);
    is(world.node.query(&admin(), query("QueryZone", "colour=red")).await, ARGUMENT, &["colour"]);
    let ahead = QueryRequest { min_position: Some(1_000_000), ..query("QueryZone", "") };
    is(world.node.query(&admin(), ahead).await, ARGUMENT, &["minPosition", "1000000"]);
    let late = QueryRequest { at: Some("1000000".to_string()), ..query("QueryZone", "") };
    is(world.node.query(&admin(), late).await, ARGUMENT, &["at", "1000000"]);
    let Ok(Read::GetEvents(filter)) = read_of("GetEvents", &json!({"newest": true})) else {
        panic!("a read of events")
    };
    is(
        world.node.events(&admin(), EventsRequest { filter, follow: true }).await.map(|_| ()),
        ARGUMENT,
        &["newest", "true"],
    );
    is(world.node.log(&admin(), LogForm::JsonLines, 1_000_000).await.map(|_| ()), ARGUMENT, &["after", "1000000"]);
}

#[actix_rt::test]
async fn a_directory_at_rest_answers_of_the_past_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path());
    let site = Site::bare(&world, 1).await;
    let public = site.public.clone();
    drop(site);
    world.close();
    let reader = AtRest::open(directory.path(), Arc::new(|_, _| {})).unwrap();
    let create = request("CreateZone", &json!({"name": "z"}));
    is(reader.command(create).await, NOT_SUPPORTED, &["without a server"]);
    is(
        reader.read(&admin(), "GetFreeIp", json!({"l3NetworkUuid": public})).await,
        NOT_SUPPORTED,
        &["without a server"],
    );
}
