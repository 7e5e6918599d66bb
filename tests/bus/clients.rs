//! NATS' own clients for Python and Go find in the embedded listener what they expect of a NATS server: every way in,
//! requests, headers, wildcards, queue groups, draining, coming back, and errors as they know them.

use super::harness::{Site, Way, go, python};
use std::process::Command;

fn python_client() -> Option<Command> {
    python("tests/bus/behaviour.py")
}

fn go_client(folder: &tempfile::TempDir) -> Option<Command> {
    go("tests/bus/go", &["build"], folder.path())
}

/// What it finds in plain text, with the server killed and started again when it asks for that.
fn behaves(command: Command, checks: usize) {
    let mut site = Site::start(Way::Listener);
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
