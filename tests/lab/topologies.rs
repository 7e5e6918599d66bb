//! The four topologies of the reference: addresses, names and the internet in each, from two hosts.

use crate::harness::Bench;
use serde_json::Value;
use switchback::lab::Topology;

/// Builds the data centre, two VMs on different hosts, and looks at the router's nics: their roles, one bit each
/// for public (1), management (2) and guest (4).
fn serves(lab: &str, topology: Topology, mut roles: Vec<u8>) {
    let bench = Bench::new(lab, topology);
    let vms = [bench.vm("one", 0), bench.vm("two", 1)];
    bench.everything_serves(&vms);
    let router = bench.router();
    let nics = router.inventory["vmNics"].as_array().expect("a router has nics");
    let bits = |nic: &Value| nic["metaData"].as_str().and_then(|text| text.parse::<u8>().ok());
    let mut seen: Vec<u8> = nics.iter().filter_map(bits).collect();
    seen.sort_unstable();
    roles.sort_unstable();
    assert_eq!(seen, roles, "{}", router.inventory);
    let (before, after) = (bench.lab.machine("one").unwrap(), bench.lab.machine("two").unwrap());
    assert_ne!(before.host, after.host);
}

#[test]
fn all_networks_apart() {
    serves("topa", Topology::Separate, vec![2, 1, 4]);
}

#[test]
fn public_and_management_combined() {
    serves("topb", Topology::PublicManagement, vec![3, 4]);
}

#[test]
fn public_and_guest_combined() {
    serves("topc", Topology::PublicGuest, vec![2, 5]);
}

#[test]
fn all_three_combined() {
    serves("topd", Topology::Combined, vec![7]);
}
