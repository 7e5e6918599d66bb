//! NATS' own clients for Python and Go find in the embedded listener what they expect of a NATS server: every way in,
//! requests, headers, wildcards, queue groups, draining, coming back, TLS, and errors as they know them.

use super::harness::{Site, Way, go, python};
use std::{fs, process::Command};

/// A user's key, made for this.
const SEED: &str = "SUAMKXURAWHPXLC5CDQYLZQYM23OTUED6WL4PLNJGBTN3CC2JESUW53OAQ";
const KEY: &str = "UCNTXAEEN5YABATVBNJQVBNPE2TVBNWGXXQWVF3Y425PNZ7DSOFFLRXY";

fn python_client() -> Option<Command> {
    python("tests/bus/behaviour.py")
}

fn go_client(folder: &tempfile::TempDir) -> Option<Command> {
    go("tests/bus/go", &["build"], folder.path())
}

/// What it finds in plain text, with the server killed and started again when it asks for that.
fn behaves(mut command: Command, checks: usize) {
    let mut site = Site::with(Way::Listener, vec![("SWITCHBACK__BUS__NKEYS", format!("{KEY}=admin"))]);
    command.env("SWITCHBACK_NKEY", SEED);
    let mut client = site.client(command);
    client.until("`restart`", |line| line == "restart");
    site.kill();
    site.begin();
    client.tell("back");
    let said = client.end();
    let well = said.iter().filter(|line| line.starts_with("ok ")).count();
    assert_eq!(well, checks, "{said:?}");
}

#[test]
fn the_client_for_python_finds_what_it_expects() {
    if let Some(command) = python_client() {
        behaves(command, 12);
    }
}

#[test]
fn the_client_for_go_finds_what_it_expects() {
    let folder = tempfile::tempdir().unwrap();
    if let Some(command) = go_client(&folder) {
        behaves(command, 11);
    }
}

#[test]
fn both_come_in_by_tls() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_string()]).unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let certificate = file("certificate.pem", made.cert.pem());
    let key = file("key.pem", made.signing_key.serialize_pem());
    let settings = vec![("SWITCHBACK__TLS__CERTIFICATE", certificate.clone()), ("SWITCHBACK__TLS__KEY", key)];
    let site = Site::with(Way::Listener, settings);
    for mut command in python_client().into_iter().chain(go_client(&folder)) {
        command.env("SWITCHBACK_CA", &certificate);
        assert_eq!(site.client(command).end(), ["ok over_tls"]);
    }
}
