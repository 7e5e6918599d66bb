//! `switchback config`, and what a server is not started with.

use super::switchback;
use crate::client::Environment;
use serde_json::json;
use std::fs;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    let variables = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Environment { variables, ..Environment::default() }
}

#[test]
fn the_defaults_are_a_file_that_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("switchback.toml");
    let done = switchback(&environment(&[]), &["config", "default"]);
    assert!(done.stdout.contains("\n#address = \"127.0.0.1:8080\"\n"), "{}", done.stdout);
    fs::write(&file, &done.stdout).unwrap();
    let file = file.to_str().unwrap();
    let done = switchback(&environment(&[]), &["config", "check", "--config", file]);
    assert_eq!((done.code.as_str(), done.stdout.as_str()), ("0", ""), "{}", done.stderr);
}

#[test]
fn what_is_wrong_is_named_and_no_server_starts_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("switchback.toml");
    fs::write(&file, "[listen]\naddres = 1\n").unwrap();
    let file = file.to_str().unwrap();
    let environment = environment(&[("SWITCHBACK__LISTEN__WORKERS", "many")]);
    for line in [
        &["config", "check", "--config", file][..],
        &["config", "show", "--config", file],
        &["serve", "--config", file],
    ] {
        let done = switchback(&environment, line);
        assert_eq!((done.code.as_str(), done.stdout.as_str()), ("2", ""), "{line:?}");
        for expected in [
            &format!("{file}:2: there is no `listen.addres`; did you mean listen.address?")[..],
            "SWITCHBACK__LISTEN__WORKERS: listen.workers = `many`: a whole number from 1 to 256",
            "hint: `switchback config default`",
        ] {
            assert!(done.stderr.contains(expected), "{expected}\n{}", done.stderr);
        }
    }
    for (text, expected) in [
        ("[listen]\naddress = \"0.0.0.0:1\"\n", "in clear"),
        ("[tls]\ncertificate = \"/nowhere/c\"\nkey = \"/nowhere/k\"\n", "tls.certificate: read the file `/nowhere/c`"),
    ] {
        fs::write(file, text).unwrap();
        let done =
            switchback(&Environment { config: Some(file.into()), ..Environment::default() }, &["config", "check"]);
        assert!(done.code == "2" && done.stderr.contains(expected), "{}", done.stderr);
    }
}

#[test]
fn every_value_is_shown_with_where_it_comes_from() {
    let done = switchback(&environment(&[("SWITCHBACK__LOG__FORMAT", "json")]), &["config", "show", "-o", "json"]);
    let rows = done.json();
    let row = |key: &str| rows.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap().clone();
    assert_eq!(row("log.format"), json!({"key": "log.format", "value": "json", "from": "SWITCHBACK__LOG__FORMAT"}));
    assert_eq!(row("limits.requests"), json!({"key": "limits.requests", "value": "1000", "from": "default"}));
    let done = switchback(&environment(&[]), &["config", "show"]);
    assert!(done.stdout.contains("listen.address") && done.stdout.contains("127.0.0.1:8080"), "{}", done.stdout);
}

#[test]
fn what_a_server_would_log_in_to_nats_with_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let [file, secrets] = ["switchback.toml", "nats"].map(|name| folder.path().join(name));
    let nats = format!("[bus]\nnats = \"nats://127.0.0.1:4222\"\nnats_credentials = {:?}\n", secrets.to_str().unwrap());
    std::fs::write(&file, nats).unwrap();
    let check = || switchback(&environment(&[]), &["config", "check", "--config", file.to_str().unwrap()]);
    let done = check();
    assert!(done.code == "2" && done.stderr.contains("bus.nats_credentials"), "{}", done.stderr);
    std::fs::write(&secrets, "token = t\n").unwrap();
    std::fs::set_permissions(&secrets, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let done = check();
    assert!(done.code == "2" && done.stderr.contains("chmod 600"), "{}", done.stderr);
    std::fs::set_permissions(&secrets, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(check().code, "0");
}
