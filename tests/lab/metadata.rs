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
