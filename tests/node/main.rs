//! The node through its bus: an in-memory log, simulated hosts, no sleeps. A command's reply with `wait=applied` says
//! when the world is settled; what comes without a command is polled for with a deadline.

mod access_control_lists;
mod accounts;
mod creation;
mod credentials;
mod documents;
mod explain;
mod failures;
mod flow;
mod fuzz;
mod harness;
mod hosts;
#[allow(dead_code, reason = "other tests ask the rest")]
#[path = "../invariants/mod.rs"]
mod invariants;
mod ip_ranges;
mod l2_networks;
mod l3_settings;
mod load_balancers;
mod matrix;
mod measures;
mod metacharacters;
mod nics;
mod offerings;
mod one_holder;
mod overload;
mod ownership;
mod passwords;
mod refusals;
mod refused_reads;
mod refused_states;
mod replacement;
mod replay;
mod requests;
mod resource_configs;
mod restart;
mod roles;
mod rules;
mod security_groups;
mod sessions;
mod tags;
mod topologies;
mod userdata;
mod vip_qos;
mod vip_services;
mod vips;
mod watching;
