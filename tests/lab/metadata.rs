//! What real VMs are told of themselves, from the tag to the answer, also by another router.

use crate::harness::Bench;
use anyhow::ensure;
use serde_json::json;
use switchback::lab::{Deadline, Topology, check, poll};

/// Asks by HTTP from inside of a VM; the whole answer.
fn asked(bench: &Bench, vm: &str, path: &str) -> anyhow::Result<String> {
    let ask = format!("GET {path} HTTP/1.1\\r\\nHost: m\\r\\nConnection: close\\r\\n\\r\\n");
    let line = format!("exec 3<>/dev/tcp/169.254.169.254/80; printf '{ask}' >&3; timeout 5 cat <&3");
    Ok(bench.lab.run_in(vm, &["timeout", "8", "bash", "-c", &line])?.1)
}

#[test]
fn a_vm_gets_its_user_data_and_nobody_else_does() {
    let bench = Bench::new("meta", Topology::Separate);
    let (first, second) = (bench.vm("first", 0), bench.vm("second", 1));
    let tag =
        json!({"resourceType": "VmInstanceVO", "resourceUuid": first.uuid, "tag": "userdata::IyEvYmluL3NoIGZpcnN0"});
    bench.ask("CreateSystemTag", tag);
    let told = |bench: &Bench| {
        let own = asked(bench, &first.uuid, "/latest/user-data")?;
        ensure!(own.contains(" 200 OK") && own.ends_with("#!/bin/sh first"), "expected its user data, got {own}");
        for vm in [&first, &second] {
            let id = asked(bench, &vm.uuid, "/latest/meta-data/instance-id")?;
            ensure!(id.ends_with(&vm.uuid.to_string()), "expected the uuid of {}, got {id}", vm.name);
        }
        let other = asked(bench, &second.uuid, "/latest/user-data")?;
        ensure!(other.contains(" 404 ") && !other.contains("first"), "expected nothing, got {other}");
        Ok(())
    };
    bench.must(told);
    let router = bench.router();
    let drift = bench.must(|bench| check::drift(&bench.api, &router.uuid));
    assert!(drift.is_empty(), "{drift:?}");
    bench.ask("RebootVmInstance", Bench::uuid_of(&router.uuid));
    bench.must(|bench| {
        poll("the router to tell them again", Deadline::seconds(30), || Ok(told(bench).map_err(|why| why.to_string())))
    });
}

/// Says something of its password from inside of a VM, as CloudStack's images do; what is answered.
fn of_password(bench: &Bench, vm: &str, request: &str) -> anyhow::Result<String> {
    let ask = format!("GET / HTTP/1.0\\r\\nDomU_Request: {request}\\r\\n\\r\\n");
    let router = "$(ip -4 route show default | cut -d' ' -f3)";
    let line = format!("exec 3<>/dev/tcp/{router}/8080; printf '{ask}' >&3; timeout 5 cat <&3");
    let answer = bench.lab.run_in(vm, &["timeout", "8", "bash", "-c", &line])?.1;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer.as_str(), ""));
    ensure!(head.starts_with("HTTP/1.0 200 "), "expected an answer, got {answer}");
    Ok(body.to_string())
}

#[test]
fn a_vm_gets_its_password_until_it_has_saved_it_and_nobody_else_does() {
    let bench = Bench::new("pass", Topology::Separate);
    let (first, second) = (bench.vm("first", 0), bench.vm("second", 1));
    let said = |vm: &str, request: &str| bench.must(|bench| of_password(bench, vm, request));
    assert_eq!(said(&first.uuid, "send_my_password"), "saved_password");
    bench.ask("ChangeVmPassword", json!({"uuid": first.uuid, "password": "s3same-$(id)"}));
    assert_eq!(said(&second.uuid, "send_my_password"), "saved_password");
    assert_eq!(said(&second.uuid, "saved_password"), "saved_password");
    // An answer may be lost: it is given until the VM says that it has it.
    for _ in 0..2 {
        assert_eq!(said(&first.uuid, "send_my_password"), "s3same-$(id)");
    }
    assert_eq!(said(&first.uuid, "save_password"), "bad_request");
    let router = bench.router().uuid;
    let drift = bench.must(|bench| check::drift(&bench.api, &router));
    assert!(drift.is_empty(), "{drift:?}");

    // It stays with the VM when another appliance takes the router's place; what the VM has saved nobody gets any more.
    bench.ask("ReplaceVirtualRouter", json!({"vmInstanceUuid": router}));
    assert_eq!(said(&first.uuid, "send_my_password"), "s3same-$(id)");
    assert_eq!(said(&first.uuid, "saved_password"), "saved_password");
    assert_eq!(said(&first.uuid, "send_my_password"), "saved_password");
    bench.ask("ReplaceVirtualRouter", json!({"vmInstanceUuid": router}));
    for vm in [&first, &second] {
        assert_eq!(said(&vm.uuid, "send_my_password"), "saved_password", "{}", vm.name);
    }
    bench.ask("UpdateGlobalConfig", json!({"category": "virtualRouter", "name": "ping.interval", "value": "1"}));
    bench.must(|bench| {
        poll("the log to know that the VM has it", Deadline::seconds(60), || {
            let config = bench.api.get("/v1/queries/GetVirtualRouterConfig", &[("uuid", &router)])?.to_string();
            Ok(if config.contains("\"password\"") { Err(config) } else { Ok(()) })
        })
    });
}
