//! What the network model must do, through the public bus with simulated hosts: one test a row of [`rows`], named
//! after it. `docs/reference/acceptance.md` shows which rows have one.

mod allocation;
mod flat;
mod free_addresses;
#[allow(dead_code, reason = "other tests ask the rest")]
#[path = "../node/harness.rs"]
mod harness;
mod ip_ranges;
mod ipv6;
mod l2_networks;
mod load_balancers;
mod network_services;
mod nics;
mod reserved_ranges;
#[allow(dead_code, reason = "tests/tidy.rs makes the page of it")]
mod rows;
mod scene;
mod security_groups;
mod vip_services;
mod virtual_routers;
