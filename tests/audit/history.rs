//! The past, asked of a running node and of its data directory at rest: the same answers.

use crate::harness::{ALL_SERVICES, Site, World, admin, text, uuid};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc};
use switchback::node::AtRest;
use switchback_bus::Bus;

async fn at_rest(directory: &Path, name: &str, parameters: Value) -> Value {
    let reader = AtRest::open(directory, Arc::new(|_, _| {})).unwrap();
    reader.read(&admin(), name, parameters).await.unwrap()
}

fn fields(diff: &Value, uuid: &str) -> Vec<(String, Value, Value)> {
    let resource = diff["resources"].as_array().unwrap().iter().find(|resource| resource["uuid"] == uuid);
    let resource = resource.unwrap_or_else(|| panic!("{uuid} is not in {diff}"));
    let field = |field: &Value| (text(field, "path"), field["from"].clone(), field["to"].clone());
    resource["fields"].as_array().unwrap().iter().map(field).collect()
}

/// The files of a folder with their bytes.
pub fn files(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), std::fs::read(path).unwrap()));
        }
    }
    found.sort();
    found
}

#[actix_rt::test]
async fn a_difference_names_what_changed_and_who_asked() {
    let world = World::new();
    let zone = world.make("CreateZone", json!({"name": "before", "description": "same"})).await;
    let from = world.head();
    let update = world.done("UpdateZone", json!({"uuid": uuid(&zone), "name": "after"})).await;
    let tag = json!({"resourceUuid": uuid(&zone), "resourceType": "ZoneVO", "tag": "blue"});
    world.make("CreateUserTag", tag).await;
    let to = world.head();
    world.make("CreateZone", json!({"name": "later"})).await;

    let everything = world.read("GetAuditDiff", json!({"from": from.to_string(), "to": to.to_string()})).await;
    let one = json!({"from": from.to_string(), "to": to.to_string(), "resource": uuid(&zone)});
    let one = world.read("GetAuditDiff", one).await;
    for diff in [&everything, &one] {
        assert_eq!(fields(diff, &uuid(&zone)), [("name".to_string(), json!("before"), json!("after"))]);
        let kinds: Vec<&Value> = diff["resources"].as_array().unwrap().iter().map(|one| &one["kind"]).collect();
        assert_eq!(kinds, ["zone", "userTag"], "{diff}");
        assert_eq!(diff["resources"][0]["positions"][0], update.position);
        let events = diff["events"].as_array().unwrap();
        assert_eq!((events.len(), text(&events[0], "principal")), (2, "admin".to_string()));
    }
    let nothing = world.read("GetAuditDiff", json!({"from": to.to_string(), "to": to.to_string()})).await;
    assert_eq!((&nothing["resources"], &nothing["events"]), (&json!([]), &json!([])));
}

#[actix_rt::test]
async fn an_address_has_its_holders_one_after_the_other() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let vm = site.vm("web-1", &l3).await;
    let ip = text(&vm["vmNics"][0], "ip");
    let while_first = world.head();
    world.done("UpdateVmInstance", json!({"uuid": uuid(&vm), "name": "web-renamed"})).await;
    world.done("DestroyVmInstance", json!({"uuid": uuid(&vm)})).await;
    let while_free = world.head();
    let second = world
        .make(
            "CreateVmInstance",
            json!({"name": "web-2", "l3NetworkUuids": [l3], "systemTags": [format!("staticIp::{l3}::{ip}")]}),
        )
        .await;
    assert_eq!(text(&second["vmNics"][0], "ip"), ip);

    let names = |reply: &Value| -> Vec<(String, bool)> {
        let holders = reply["holders"].as_array().unwrap().iter();
        holders.map(|held| (text(held, "ownerName"), held["until"].is_null())).collect()
    };
    let ever = world.read("GetAddressHolder", json!({"ip": ip})).await;
    assert_eq!(names(&ever), [("web-renamed".to_string(), false), ("web-2".to_string(), true)]);
    assert_eq!(ever["holders"][0]["since"]["command"], "CreateVmInstance");
    assert_eq!(ever["holders"][0]["since"]["principal"], "admin");
    let at = |at: u64| world.read("GetAddressHolder", json!({"ip": ip, "at": at.to_string()}));
    assert_eq!(names(&at(while_first).await), [("web-1".to_string(), true)]);
    assert_eq!(names(&at(while_free).await), []);

    // The guest network's gateway is the router's, and no range holds it.
    let gateway = text(&vm["vmNics"][0], "gateway");
    let holders = world.read("GetAddressHolder", json!({"ip": gateway, "l3NetworkUuid": l3})).await;
    let router = world.router_of(&l3).await;
    assert_eq!(holders["holders"][0]["ownerUuid"], router["uuid"]);
    assert_eq!(holders["holders"][0]["ownerKind"], "router");
}

#[actix_rt::test]
async fn what_is_folded_again_is_what_the_node_lives_by() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let early = world.head();
    let vm = site.vm("web-1", &l3).await;
    world.done("UpdateVmInstance", json!({"uuid": uuid(&vm), "description": "a web server"})).await;
    let router = uuid(&world.router_of(&l3).await);
    for resource in [&uuid(&vm), &l3, &site.public, &site.zone, &router, &site.hosts[0], &site.offering] {
        let reply = world.read("ReplayResource", json!({"uuid": resource})).await;
        for state in reply["states"].as_array().unwrap() {
            assert_eq!(state["same"], true, "{state}");
        }
    }
    let inventories = world.read("ReplayInventories", json!({})).await;
    for kind in inventories["inventories"].as_array().unwrap() {
        assert_eq!(kind["same"], true, "{kind}");
    }
    let then = world.read("ReplayInventories", json!({"at": early.to_string()})).await;
    let rows = |reply: &Value, kind: &str| {
        let kinds = reply["inventories"].as_array().unwrap();
        kinds.iter().find(|one| one["kind"] == kind).unwrap()["rows"].as_u64().unwrap()
    };
    assert_eq!((rows(&then, "vm"), rows(&inventories, "vm")), (0, 1));
    assert!(then["inventories"].as_array().unwrap().iter().all(|kind| kind["same"] == true), "{then}");
    let refusal =
        world.node.read(&admin(), "ReplayResource", json!({"uuid": uuid(&vm), "at": early.to_string()})).await;
    assert_eq!(refusal.unwrap_err().field.as_deref(), Some("uuid"));
}

#[actix_rt::test]
async fn a_directory_at_rest_answers_as_the_server_did_and_stays_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path());
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let from = world.head();
    let vm = site.vm("web-1", &l3).await;
    let (router, ip) = (uuid(&world.router_of(&l3).await), text(&vm["vmNics"][0], "ip"));
    let busy = AtRest::open(directory.path(), Arc::new(|_, _| {})).err().unwrap();
    assert!(busy.to_string().contains("is in use"), "{busy:#}");
    world.node.journal().wait_durable(world.head()).await.unwrap();
    let at = world.node.journal().durable();
    let questions = [
        ("GetEvents", json!({"resource": uuid(&vm), "until": at.to_string()})),
        ("GetEvent", json!({"position": 5})),
        ("GetAuditDiff", json!({"from": from.to_string(), "to": at.to_string()})),
        ("GetVirtualRouterConfig", json!({"uuid": router, "at": at.to_string()})),
        ("GetVirtualRouterDiff", json!({"uuid": router, "from": from.to_string(), "to": at.to_string()})),
        ("GetAddressHolder", json!({"ip": ip, "at": at.to_string()})),
    ];
    let mut answers = vec![];
    for (name, parameters) in &questions {
        answers.push(world.read(name, parameters.clone()).await);
    }
    let digests = |reply: Value| -> Vec<Value> {
        reply["inventories"].as_array().unwrap().iter().map(|kind| kind["digest"].clone()).collect()
    };
    let replayed = digests(world.read("ReplayInventories", json!({"at": at.to_string()})).await);
    drop(site);
    world.close();

    let before = files(directory.path());
    for ((name, parameters), answer) in questions.iter().zip(answers) {
        assert_eq!(at_rest(directory.path(), name, parameters.clone()).await, answer, "{name} {parameters}");
    }
    let again = at_rest(directory.path(), "ReplayInventories", json!({"at": at.to_string()})).await;
    assert_eq!(digests(again), replayed);
    let nothing: switchback::node::Progress = Arc::new(|_, _| {});
    let verified = AtRest::verify(directory.path(), None, &nothing).unwrap();
    assert_eq!(verified["ok"], true, "{verified}");
    assert!(before == files(directory.path()), "the directory was changed");

    let empty = tempfile::tempdir().unwrap();
    let error = AtRest::open(empty.path(), Arc::new(|_, _| {})).err().unwrap();
    assert!(error.to_string().contains("is no data directory"), "{error:#}");
    assert_eq!(files(empty.path()), []);
}
