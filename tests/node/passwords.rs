//! Passwords of VMs: from the command, sealed, to the router that the VM takes its own from, and what is left of them then.

use crate::harness::{ALL_SERVICES, Site, World, command_id, id, request, text, uuid};
use serde_json::{Value, json};
use switchback_bus::{Bus, CommandRequest};
use switchback_events::RouterId;

const ASK: &str = "send_my_password";
const HAVE: &str = "saved_password";

/// What the routers of the VM's first nic, or of another, answer a nic; nothing where they do not know it.
fn said(world: &World, router: &str, nic: &Value, mac: &Value, request: &str) -> Option<String> {
    let (ip, mac) = (text(nic, "ip").parse().unwrap(), mac.as_str().unwrap().parse().unwrap());
    let answer = world.fleet().ask_password(RouterId(id(router)), ip, mac, request.as_bytes());
    answer.map(|body| String::from_utf8(body).unwrap())
}

fn own(world: &World, router: &str, nic: &Value, request: &str) -> Option<String> {
    said(world, router, nic, &nic["mac"], request)
}

/// Which password waits, by the document of the router.
async fn waits(world: &World, router: &str, vm: &str) -> Option<String> {
    let sections = world.sections(router).await;
    let clients = sections["metadata"]["clients"].as_array().cloned().unwrap_or_default();
    let client = clients.into_iter().find(|client| client["vm"] == vm)?;
    client["password"].as_str().map(str::to_string)
}

/// Waits until a router answers this.
async fn until_said(world: &World, router: &str, nic: &Value, expected: Option<&str>) {
    let said = async || (own(world, router, nic, ASK).as_deref() == expected).then_some(());
    world.until("the router to know", said).await;
}

#[actix_rt::test]
async fn a_password_goes_to_its_vm_and_nowhere_else_until_the_vm_has_saved_it() {
    let world = World::new();
    world.configure("virtualRouter", "ping.interval", "1").await;
    let site = Site::new(&world).await;
    let (a, b) = (site.guest("a", ALL_SERVICES).await, site.guest("b", ALL_SERVICES).await);
    let (web, db) = (site.vm("web", &a).await, site.vm("db", &a).await);
    site.vm("there", &b).await;
    let (vm, nic, others) = (uuid(&web), &web["vmNics"][0], &db["vmNics"][0]);
    let (router, second) = (uuid(&world.router_of(&a).await), uuid(&world.router_of(&b).await));
    assert_eq!(own(&world, &router, nic, ASK).as_deref(), Some(HAVE));

    let head = world.head();
    let change = json!({"uuid": vm, "password": "s3same!", "account": "root"});
    let reply = world.done("ChangeVmPassword", change.clone()).await;
    assert!(!format!("{reply:?}").contains("s3same"), "{reply:?}");
    assert_eq!(own(&world, &router, nic, ASK).as_deref(), Some("s3same!"));
    assert_eq!(own(&world, &router, others, ASK).as_deref(), Some(HAVE));
    // The VM's address alone, or its MAC alone, is somebody else's.
    assert_eq!(said(&world, &router, nic, &others["mac"], ASK), None);
    assert_eq!(said(&world, &router, others, &nic["mac"], ASK), None);
    assert_eq!(own(&world, &router, nic, "give_password").as_deref(), Some("bad_request"));
    let events = world.read("GetEvents", json!({"after": head})).await.to_string();
    assert!(events.contains("PasswordChanged") && !events.contains("s3same"), "{events}");
    let document = world.sections(&router).await.to_string();
    assert!(waits(&world, &router, &vm).await.is_some() && !document.contains("s3same"), "{document}");

    // The same request again is the same; with another password it is another one.
    let sent = async |password: &str| {
        let change = request("ChangeVmPassword", &json!({"uuid": uuid(&db), "password": password}));
        world.node.command(CommandRequest { command_id: Some(command_id("twice")), ..change }).await
    };
    let first = sent("s3same!").await.unwrap();
    assert_eq!(sent("s3same!").await.unwrap().position, first.position);
    let other = sent("mellon").await.unwrap_err();
    assert!(!format!("{other:?}").contains("mellon") && !format!("{other:?}").contains("s3same"), "{other:?}");

    // An agent that was killed has it still, another router learns it with a nic, and who asks for a new one gets that.
    world.fleet().crash(RouterId(id(&router)));
    assert_eq!(own(&world, &router, nic, ASK).as_deref(), Some("s3same!"));
    world.done("AttachL3NetworkToVm", json!({"vmInstanceUuid": vm, "l3NetworkUuid": b})).await;
    let there = world.get("QueryVmInstance", &vm).await["vmNics"][1].clone();
    assert_eq!(own(&world, &second, &there, ASK).as_deref(), Some("s3same!"));
    world.done("ChangeVmPassword", json!({"uuid": vm, "password": "mellon"})).await;
    // What was given is not what is saved then.
    assert_eq!(own(&world, &router, nic, HAVE).as_deref(), Some(HAVE));
    assert_eq!(own(&world, &router, nic, ASK).as_deref(), Some("mellon"));
    world.done("ReconnectVirtualRouter", json!({"vmInstanceUuid": router})).await;
    assert_eq!(own(&world, &router, nic, ASK).as_deref(), Some("mellon"));

    // What the VM has said travels by the next ping, and the other router forgets it too.
    assert_eq!(own(&world, &router, nic, HAVE).as_deref(), Some(HAVE));
    assert_eq!(own(&world, &router, nic, ASK).as_deref(), Some(HAVE));
    until_said(&world, &second, &there, Some(HAVE)).await;
    assert_eq!((waits(&world, &router, &vm).await, waits(&world, &second, &vm).await), (None, None));
    world.done("RebootVmInstance", json!({"uuid": router})).await;
    assert_eq!(own(&world, &router, nic, ASK).as_deref(), Some(HAVE));
    let texts = format!("{:?}", world.fleet().texts());
    assert!(!texts.contains("mellon"), "{texts}");
}

#[actix_rt::test]
async fn a_password_waits_while_its_vm_stands_still_and_goes_with_it() {
    let world = World::new();
    let site = Site::new(&world).await;
    let a = site.guest("a", ALL_SERVICES).await;
    let (web, db) = (site.vm("web", &a).await, site.vm("db", &a).await);
    let (vm, router) = (uuid(&web), uuid(&world.router_of(&a).await));
    world.done("StopVmInstance", json!({"uuid": vm})).await;
    world.done("ChangeVmPassword", json!({"uuid": vm, "password": "s3same!"})).await;
    assert_eq!(own(&world, &router, &web["vmNics"][0], ASK), None);
    world.done("StartVmInstance", json!({"uuid": vm})).await;
    assert_eq!(own(&world, &router, &web["vmNics"][0], ASK).as_deref(), Some("s3same!"));
    world.done("DestroyVmInstance", json!({"uuid": vm})).await;
    until_said(&world, &router, &web["vmNics"][0], None).await;
    let refusal = world.refused("ChangeVmPassword", json!({"uuid": vm, "password": "s3same!"})).await;
    assert!(refusal.code == "SYS.1003" && refusal.detail.contains(&vm), "{refusal}");
    assert_eq!(own(&world, &router, &db["vmNics"][0], ASK).as_deref(), Some(HAVE));
}
