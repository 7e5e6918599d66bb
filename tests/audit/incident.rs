//! The incident of the guide, by the guide's own commands: someone took SNAT from a network, and it is found by time,
//! understood, put back and shown to be back; and what followed names what it followed from.

use crate::harness::{ALL_SERVICES, Site, World, text, uuid};
use crate::program::{Program, Served};
use serde_json::{Value, json};
use std::path::Path;

struct Network {
    l3: String,
    router: String,
    vm: String,
}

/// A VM behind a router, and the server that has them.
async fn network(directory: &Path) -> Network {
    let world = World::open(directory);
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let vm = uuid(&site.vm("web-1", &l3).await);
    let router = text(&world.router_of(&l3).await, "name");
    drop(site);
    world.close();
    Network { l3, router, vm }
}

fn events(reply: &Value) -> &[Value] {
    reply["events"].as_array().unwrap()
}

fn of_kind<'e>(events: &'e [Value], kind: &str) -> &'e Value {
    let found = events.iter().find(|event| event["kind"] == kind);
    found.unwrap_or_else(|| panic!("there is no {kind} in {events:#?}"))
}

#[actix_rt::test]
async fn who_took_the_internet_from_a_vm_is_found_and_it_is_put_back() {
    let home = tempfile::tempdir().unwrap();
    let Network { l3, router, vm } = network(&home.path().join("data")).await;
    let program = Program::in_directory(home.path());
    let served = Served::start(&program, "data");
    let well = served.json(&["audit", "head"])["position"].to_string();
    let services = r#"networkServices={"VirtualRouter":["SNAT"]}"#;
    let network = format!("l3NetworkUuid={l3}");
    let detach = ["DetachNetworkServiceFromL3Network", &network, services, "--reason", "clean up"];
    let detached = served.json(&detach)["position"].to_string();

    // Who and what, by time and by place.
    let log = served.json(&["audit", "log", "--since", "1h ago", "--resource", &l3, "--after", &well]);
    let event = of_kind(events(&log), "l3_network.ServicesDetached");
    assert_eq!(
        (&event["principal"], &event["reason"], &event["name"]),
        (&json!("admin"), &json!("clean up"), &json!("guest"))
    );
    let shown = served.ok(&["audit", "log", "--since", "1h ago", "--after", &well]);
    assert!(shown.contains("clean up") && shown.contains("guest"), "{shown}");
    let diff = served.ok(&["audit", "diff", "--router", &router, "--from", &well, "--to", &detached]);
    assert!(diff.contains("snat      - rules: ") && diff.contains("clean up"), "{diff}");
    let everything = served.json(&["audit", "diff", "--from", &well]);
    assert!(!everything["resources"].as_array().unwrap().is_empty());

    // What followed names what it followed from.
    let report = of_kind(events(&everything), "router.ConfigApplied")["position"].to_string();
    let report = served.json(&["audit", "show", &report]);
    assert_eq!(report["causes"][0]["position"].to_string(), detached);
    assert_eq!(report["event"]["causation"], event["commandId"]);
    let effects = served.json(&["audit", "show", &detached]);
    of_kind(effects["effects"].as_array().unwrap(), "router.ConfigApplied");
    let log = served.json(&["audit", "log", "--resource", &vm, "--kind", "vm_instance.Created"]);
    let created = &events(&log)[0];
    let correlation = created["correlation"].as_str().unwrap();
    let work = served.json(&["audit", "log", "--correlation", correlation]);
    let positions = ["vm_instance.Created", "router.Created", "router.Connected", "vm_instance.Started"]
        .map(|kind| of_kind(events(&work), kind)["position"].as_u64().unwrap());
    assert!(positions.is_sorted(), "{positions:?}");
    of_kind(
        served.json(&["audit", "show", &created["position"].to_string()])["effects"].as_array().unwrap(),
        "vm_instance.Started",
    );

    // Back as it was, and that is shown.
    let attach = ["AttachNetworkServiceToL3Network", &network, services, "--reason", "put SNAT back"];
    served.ok(&attach);
    let diff = served.json(&["audit", "diff", "--router", &router, "--from", &well]);
    assert_eq!(diff["sections"], json!({}), "{diff}");
    assert_eq!(diff["fromDigest"], diff["toDigest"]);
    served.ok(&["audit", "replay"]);
    served.ok(&["audit", "verify"]);
    let online = served.ok(&["audit", "diff", "--router", &router, "--from", &well, "--to", &detached]);
    drop(served);
    assert_eq!(
        program.ok(&["audit", "diff", "--router", &router, "--from", &well, "--to", &detached, "--data", "data"]),
        online
    );
}
