//! The lines that the reference's chapter on virtual routers prints, as printed but for the uuids, and what it says of them.

use crate::harness::Server;
use serde_json::{Value, json};

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap_or_else(|| panic!("no {member} in {value}"))
}

/// As printed, with the uuids of this server; a line that goes on in the next one ends with a backslash, as in any shell.
fn run(server: &Server, printed: &str, uuids: &[&str]) -> Value {
    let mut line = printed.replace('\n', " \\\n");
    for uuid in uuids {
        line = line.replacen("{}", uuid, 1);
    }
    assert!(!line.contains("{}"), "{line}");
    server.json(&line)
}

const CREATE_OFFERING: &str =
    "CreateVirtualRouterOffering name=small cpuNum=1 cpuSpeed=1000 memorySize=1073741824 isDefault=true
managementNetworkUuid={} publicNetworkUuid={} zoneUuid={}
imageUuid={}";

#[test]
fn offerings_are_created_and_one_is_the_default_of_its_zone() {
    let server = Server::start().with_a_site();
    let [management, public] = ["systemL3Network", "public"].map(|name| server.uuid("QueryL3Network", name));
    let zone = server.uuid("QueryZone", "east");
    let image = server.uuid("QueryImage", "newVirtualRouterImage");
    let uuids: [&str; 4] = [&management, &public, &zone, &image];
    let offering = run(&server, CREATE_OFFERING, &uuids)["inventory"].take();
    for (field, value) in [
        ("name", json!("small")),
        ("cpuNum", json!(1)),
        ("cpuSpeed", json!(1000)),
        ("memorySize", json!(1_073_741_824)),
        ("isDefault", json!(true)),
        ("managementNetworkUuid", json!(management)),
        ("publicNetworkUuid", json!(public)),
        ("zoneUuid", json!(zone)),
        ("imageUuid", json!(image)),
        ("type", json!("VirtualRouter")),
        ("state", json!("Enabled")),
        ("sortKey", json!(0)),
        ("allocatorStrategy", json!("DefaultHostAllocatorStrategy")),
    ] {
        assert_eq!(offering[field], value, "{field} of {offering}");
    }
    let found =
        run(&server, "QueryVirtualRouterOffering managementNetworkUuid={} imageUuid={}", &[&management, &image]);
    assert_eq!(found["inventories"], json!([offering]));
    let line = "QueryVirtualRouterOffering managementL3Network.name=systemL3Network image.name=newVirtualRouterImage";
    assert_eq!(run(&server, line, &[])["inventories"], json!([offering]));
    for nested in ["image.uuid={}", "managementL3Network.uuid={}", "publicL3Network.uuid={}", "zone.uuid={}"] {
        let uuid = match nested.split('.').next() {
            Some("image") => &image,
            Some("managementL3Network") => &management,
            Some("publicL3Network") => &public,
            _ => &zone,
        };
        let found = run(&server, &format!("QueryVirtualRouterOffering {nested}"), &[uuid]);
        assert_eq!(found["inventories"], json!([offering]), "{nested}");
    }

    // The public network is that of management where none is given; of two defaults the later one is it.
    let line = CREATE_OFFERING.replace("name=small", "name=smaller").replace(" publicNetworkUuid={}", "");
    let later = run(&server, &line, &[&management, &zone, &image])["inventory"].take();
    assert_eq!(later["publicNetworkUuid"], json!(management));
    let defaults = server.rows("QueryVirtualRouterOffering isDefault=true");
    assert_eq!(defaults, [later]);
}

#[test]
fn a_router_comes_with_the_first_vm_from_the_offering_of_its_network_and_does_as_it_is_told() {
    let server = Server::start().with_a_site();
    let [management, public, guest] =
        ["systemL3Network", "public", "web"].map(|name| server.uuid("QueryL3Network", name));
    let zone = server.uuid("QueryZone", "east");
    let image = server.uuid("QueryImage", "newVirtualRouterImage");
    let uuids: [&str; 4] = [&management, &public, &zone, &image];
    run(&server, CREATE_OFFERING, &uuids);
    let of_guest = CREATE_OFFERING.replace("name=small", "name=forGuests").replace("isDefault=true", "isDefault=false");
    let offering = run(&server, &of_guest, &uuids)["inventory"].take();
    let offering = text(&offering, "uuid");
    let tag = "CreateSystemTag resourceType=InstanceOfferingVO resourceUuid={} tag=guestL3Network::{}";
    run(&server, tag, &[offering, &guest]);
    let tag = "CreateSystemTag resourceType=InstanceOfferingVO resourceUuid={} tag=commandsParallelismDegree::100";
    run(&server, tag, &[offering]);
    run(&server, "CreateUserTag resourceType=InstanceOfferingVO resourceUuid={} tag=small-ones", &[offering]);

    // There is no command that creates a router: the first VM on the network does.
    assert_eq!(server.json("QueryVirtualRouterVm count=true")["total"], 0);
    let vm = server.inventory("CreateVmInstance name=vm l3NetworkUuids=web");
    assert_eq!(vm["state"], "Running");
    let routers = server.rows("QueryVirtualRouterVm");
    let [router] = &routers[..] else { panic!("{routers:?}") };
    for (field, value) in [
        ("virtualRouterOfferingUuid", offering),
        ("applianceVmType", "VirtualRouter"),
        ("managementNetworkUuid", &management),
        ("defaultRouteL3NetworkUuid", &public),
        ("publicNetworkUuid", &public),
        ("imageUuid", &image),
        ("zoneUuid", &zone),
        ("status", "Connected"),
        ("state", "Running"),
        ("type", "ApplianceVm"),
    ] {
        assert_eq!(text(router, field), value, "{field}");
    }
    let uuid = text(router, "uuid");
    let inherited = server.rows(&format!("QuerySystemTag resourceUuid={uuid}"));
    assert_eq!(inherited.iter().map(|tag| text(tag, "tag")).collect::<Vec<_>>(), ["commandsParallelismDegree::100"]);

    let found = run(&server, "QueryVirtualRouterVm defaultRouteL3NetworkUuid={}", &[&public]);
    assert_eq!(text(&found["inventories"][0], "uuid"), uuid);
    for nic in router["vmNics"].as_array().unwrap() {
        let mac = text(nic, "mac");
        assert!(mac.starts_with("fa:"), "{mac}");
        let found = run(&server, "QueryVirtualRouterVm vmNics.mac={}", &[mac]);
        assert_eq!(text(&found["inventories"][0], "uuid"), uuid);
    }
    let nested = "vmNics.l3Network.name=web host.name=host-1 cluster.name=rack image.name=newVirtualRouterImage zone.name=east \
                  virtualRouterOffering.name=forGuests";
    assert_eq!(text(&server.rows(&format!("QueryVirtualRouterVm {nested}"))[0], "uuid"), uuid);
    for condition in nested.split_whitespace() {
        assert_eq!(server.rows(&format!("QueryVirtualRouterVm {condition}")).len(), 1, "{condition}");
        assert_eq!(server.rows(&format!("QueryVirtualRouterVm {condition}-")).len(), 0, "{condition}-");
    }

    // What is printed as nested, whether there is such a thing here or not yet.
    for nested in ["allVolumes", "rootVolume", "eip", "vip", "portForwarding"] {
        assert_eq!(server.rows(&format!("QueryVirtualRouterVm {nested}.uuid={uuid}")).len(), 0, "{nested}");
    }

    let state = || server.rows("QueryVirtualRouterVm")[0].clone();
    run(&server, "ReconnectVirtualRouter vmInstanceUuid={}", &[uuid]);
    assert_eq!((text(&state(), "state"), text(&state(), "status")), ("Running", "Connected"));
    run(&server, "StopVmInstance uuid={}", &[uuid]);
    assert_eq!(text(&state(), "state"), "Stopped");
    run(&server, "StartVmInstance uuid={}", &[uuid]);
    assert_eq!((text(&state(), "state"), text(&state(), "status")), ("Running", "Connected"));
    run(&server, "RebootVmInstance uuid={}", &[uuid]);
    assert_eq!((text(&state(), "state"), text(&state(), "status")), ("Running", "Connected"));

    // What it inherited is its own already, so the printed line changes nothing; another router has the number that it is told.
    run(
        &server,
        "CreateSystemTag resourceType=VmInstanceVO resourceUuid={} tag=commandsParallelismDegree::100",
        &[uuid],
    );
    run(&server, "CreateUserTag resourceType=VmInstanceVO resourceUuid={} tag=mine", &[uuid]);
    assert_eq!(server.rows(&format!("QueryTag resourceUuid={uuid}")).len(), 2);

    run(&server, "DestroyVmInstance uuid={}", &[uuid]);
    assert_eq!(server.rows("QueryVirtualRouterVm").len(), 0);
    assert_eq!(server.rows(&format!("QueryTag resourceUuid={uuid}")).len(), 0);
    // To start a VM brings another one, which has what the offering says.
    server.ends("switchback StopVmInstance uuid=vm && switchback StartVmInstance uuid=vm", 0);
    let successor = server.rows("QueryVirtualRouterVm");
    assert_eq!(text(&successor[0], "virtualRouterOfferingUuid"), offering);
    assert_ne!(text(&successor[0], "uuid"), uuid);
}

#[test]
fn the_global_configuration_has_the_printed_defaults_and_takes_the_printed_choices() {
    let server = Server::start();
    let entries = [
        ("virtualRouter", "agent.deployOnStart", "false", "true", "yes"),
        ("virtualRouter", "command.parallelismDegree", "100", "1", "0"),
        ("applianceVm", "connect.timeout", "300", "600", "0"),
        ("applianceVm", "agent.deployOnStart", "false", "true", "1"),
    ];
    for (category, name, default, other, wrong) in entries {
        let value = || {
            let found = server.rows(&format!("QueryGlobalConfig category={category} name={name}"));
            assert_eq!((found.len(), &found[0]["defaultValue"]), (1, &json!(default)), "{category} {name}");
            text(&found[0], "value").to_string()
        };
        assert_eq!(value(), default, "{category} {name}");
        server.inventory(&format!("UpdateGlobalConfig category={category} name={name} value={other}"));
        assert_eq!(value(), other, "{category} {name}");
        let line = format!("switchback UpdateGlobalConfig category={category} name={name} value={wrong}");
        let (_, said) = server.ends(&line, 3);
        assert!(
            said.contains(&format!("`{wrong}`")) && said.contains("\nusage: switchback UpdateGlobalConfig "),
            "{said}"
        );
        assert_eq!(value(), other, "{category} {name}");
    }
}

#[test]
fn the_same_goes_over_the_references_rest_api() {
    let server = Server::start().with_a_site();
    let [management, public, guest] =
        ["systemL3Network", "public", "web"].map(|name| server.uuid("QueryL3Network", name));
    let (zone, image) = (server.uuid("QueryZone", "east"), server.uuid("QueryImage", "newVirtualRouterImage"));
    let asked = |method: &str, path: &str, body: Value| {
        let script = format!(
            "curl -sS -X {method} -H \"Authorization: OAuth $SWITCHBACK_TOKEN\" -H 'Content-Type: application/json' \
             -d '{body}' --globoff \"http://$SWITCHBACK_SERVER/zstack/v1/{path}\""
        );
        serde_json::from_str::<Value>(&server.ends(&script, 0).0).unwrap()
    };
    let offering = asked(
        "POST",
        "instance-offerings/virtual-routers",
        json!({"params": {
            "name": "small", "cpuNum": 1, "cpuSpeed": 1000, "memorySize": 1_073_741_824, "isDefault": true,
            "managementNetworkUuid": management, "publicNetworkUuid": public, "zoneUuid": zone, "imageUuid": image,
        }}),
    );
    let offering = text(&offering["inventory"], "uuid");
    for tag in [format!("guestL3Network::{guest}"), "commandsParallelismDegree::100".to_string()] {
        let body = json!({"params": {"resourceType": "InstanceOfferingVO", "resourceUuid": offering, "tag": tag}});
        assert_eq!(text(&asked("POST", "system-tags", body)["inventory"], "tag"), tag);
    }
    let query = "managementL3Network.name=systemL3Network&q=image.name=newVirtualRouterImage";
    let found = asked("GET", &format!("instance-offerings/virtual-routers?q={query}"), json!({}));
    assert_eq!(text(&found["inventories"][0], "uuid"), offering);

    server.inventory("CreateVmInstance name=vm l3NetworkUuids=web");
    let router = &server.rows("QueryVirtualRouterVm")[0];
    let (uuid, mac) = (text(router, "uuid"), text(&router["vmNics"][0], "mac"));
    for condition in [format!("defaultRouteL3NetworkUuid={public}"), format!("vmNics.mac={mac}")] {
        let found = asked("GET", &format!("vm-instances/appliances/virtual-routers?q={condition}"), json!({}));
        assert_eq!(text(&found["inventories"][0], "uuid"), uuid, "{condition}");
    }
    let path = format!("vm-instances/appliances/virtual-routers/{uuid}/actions");
    assert_eq!(text(&asked("PUT", &path, json!({"reconnectVirtualRouter": {}}))["inventory"], "status"), "Connected");
    let path = format!("vm-instances/{uuid}/actions");
    for (action, state) in
        [("stopVmInstance", "Stopped"), ("startVmInstance", "Running"), ("rebootVmInstance", "Running")]
    {
        let answer = asked("PUT", &path, json!({action: {}}));
        assert!(answer.get("error").is_none(), "{answer}");
        assert_eq!(text(&server.rows("QueryVirtualRouterVm")[0], "state"), state, "{action}");
    }
    let path = "global-configurations/virtualRouter/command.parallelismDegree/actions";
    assert_eq!(asked("PUT", path, json!({"updateGlobalConfig": {"value": "7"}}))["inventory"]["value"], "7");
    assert_eq!(asked("DELETE", &format!("vm-instances/{uuid}"), json!({})), json!({}));
    assert_eq!(server.rows("QueryVirtualRouterVm").len(), 0);
}
