//! ZStack's Go SDK itself against the program: `tests/compat/go/`, a Go module with its pinned version.
//!
//! It needs Go. `.ci/install.sh` installs it; where it is missing all the same and this is not CI, the test says so
//! and passes.

use super::client::Client;
use serde_json::json;
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output},
};

#[test]
fn the_go_sdk_does_its_work() {
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path();
    for entry in fs::read_dir("tests/compat/go").unwrap() {
        let file = entry.unwrap().path();
        fs::copy(&file, module.join(file.file_name().unwrap())).unwrap();
    }
    if Command::new("go").arg("version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "there is no `go`: .ci/install.sh installs it");
        // Past the test harness, which shows nothing of a test that passes.
        writeln!(std::io::stderr(), "SKIPPED: ZStack's Go SDK against the gateway: there is no `go`").unwrap();
        return;
    }
    let client = Client::start();
    let made = |resource: &str, body| super::uuid(&client.post(resource, body).unwrap());
    let zone = made("v1/zones", json!({"name": "east"}));
    let cluster = made("v1/clusters", json!({"zoneUuid": zone, "name": "c", "hypervisorType": "Simulator"}));
    made("v1/hosts/simulators", json!({"name": "h", "managementIp": "192.168.0.10", "clusterUuid": cluster}));
    let key = client.post("v1/accesskeys", json!({"description": "sdk"})).unwrap();
    let mut tests = go(module, &["test", "-count=1", "-v", "./..."]);
    tests.env("SWITCHBACK_COMPAT_PORT", client.port()).env("SWITCHBACK_COMPAT_PASSWORD", client.password());
    tests.env("SWITCHBACK_COMPAT_ZONE", zone).env("SWITCHBACK_COMPAT_CLUSTER", cluster);
    tests.env("SWITCHBACK_COMPAT_KEY_ID", key["AccessKeyID"].as_str().unwrap());
    tests.env("SWITCHBACK_COMPAT_KEY_SECRET", key["AccessKeySecret"].as_str().unwrap());
    succeed(tests);
}

fn go(module: &Path, arguments: &[&str]) -> Command {
    let mut go = Command::new("go");
    go.current_dir(module).args(arguments).env_remove("GOFLAGS");
    go
}

fn succeed(mut command: Command) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{said}\n{complained}");
}
