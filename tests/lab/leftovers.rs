//! A lab leaves nothing behind, and touches nothing of the machine's own.

use crate::harness::{Bench, Permit, name};
use std::{
    process::{Command, Stdio},
    time::Duration,
};
use switchback::lab::{Dice, Lab, Topology};

/// What there is of the machine's own network.
fn machine() -> String {
    let show = |program: &str, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).output().unwrap();
        assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    let links = std::fs::read_dir("/sys/class/net").unwrap().flatten();
    let mut links: Vec<_> = links.map(|link| link.file_name()).collect();
    links.sort();
    let forward = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    let (routes, rules) = (show("ip", &["route", "show", "table", "all"]), show("nft", &["list", "ruleset"]));
    format!("{links:?}\n{forward}\n{routes}\n{rules}")
}

#[test]
fn a_lab_that_was_used_leaves_nothing() {
    let before = machine();
    let bench = Bench::new("left", Topology::Separate);
    let vm = bench.vm("one", 0);
    bench.everything_serves(std::slice::from_ref(&vm));
    assert_eq!(machine(), before);
    assert!(!Lab::leftovers(bench.lab.name()).is_empty());
    drop(bench);
    assert_eq!(Lab::leftovers(&name("left")), Vec::<String>::new());
    assert_eq!(machine(), before);
}

#[test]
fn a_lab_that_was_killed_while_it_came_up_is_removed() {
    let _permit = Permit::take();
    let binary = env!("CARGO_BIN_EXE_switchback");
    let mut dice = Dice::new(std::process::id().into());
    for round in 0..5 {
        let lab = name("killed");
        let mut up = Command::new(binary)
            .args(["lab", "up", "--name", "killed", "--port", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Not a wait for something: the moment of the crash is what varies.
        std::thread::sleep(Duration::from_millis(dice.below(1500)));
        up.kill().unwrap();
        up.wait().unwrap();
        let down = Command::new(binary).args(["lab", "down", "--name", "killed"]).output().unwrap();
        assert!(down.status.success(), "round {round}: {}", String::from_utf8_lossy(&down.stderr));
        assert_eq!(Lab::leftovers(&lab), Vec::<String>::new(), "round {round}");
    }
}
