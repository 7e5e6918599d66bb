//! The lab: a data centre out of network namespaces on one machine, with the real server and the real agents.
//!
//! ```text
//!              <lab>-ctl                <lab>-inet: web server, DNS
//!             172.30.0.1              203.0.113.1   172.30.0.2
//!                 │                        │             │
//!   ┌─────────────┴────────────────────────┴─────────────┴───┐
//!   │ <lab>-fabric: bridges mgmt, public, guest, vlan10 … 13 │
//!   └──┬─────────┬─────────┬──────────┬──────────────────────┘
//!    mgmt0     eth0      eth1    eth2, eth2.10 … 13      of <lab>-host1, -host2 …
//!  172.30.0.11  └ mgmt    └ public   └ guest               (each runs a host agent)
//! ```
//!
//! **Invariant:** nothing of the machine's own network is touched: no link, address, rule or sysctl outside the
//! lab's namespaces. All that a lab makes is found again by its name, so that [`Lab::sweep`] removes it after
//! any crash.
//!
//! Not here: what hosts, routers and VMs do. The lab starts the same binary that users run.

mod api;
pub mod check;
mod churn;
mod demo;
mod fabric;
mod instance;
mod internet;
mod name;
mod netns;
mod poll;
mod probe;
mod process;
mod site;

pub use api::{Api, CallError, Options, Problem, Reply, cli_line};
pub use churn::{Acknowledged, Churn, Dice, Lost};
pub use demo::{DemoOptions, demo};
pub use instance::{Lab, LabOptions, Machine, requirements};
pub use internet::serve as serve_internet;
pub use name::{
    HOST_AGENT_PORT, INTERNET_DNS, INTERNET_NAME, INTERNET_WEB, LabName, MANAGEMENT_GATEWAY, PUBLIC_GATEWAY,
    host_address,
};
pub use poll::{Deadline, poll};
pub use probe::dns_a;
pub use site::{Guest, Site, Topology};
