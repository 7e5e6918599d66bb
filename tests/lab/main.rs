//! Real packets: labs out of network namespaces with the real server, agents, dnsmasq and nftables. They need
//! root and never skip themselves. Each test has a lab of its own name; few run at once.

mod crash;
mod flat;
mod harness;
mod incident;
mod ipv6;
mod l2;
mod leftovers;
mod listener_access;
mod load_balancers;
mod metadata;
mod nics;
mod repair;
mod replacement;
mod router;
mod security_groups;
mod services;
mod settings;
mod topologies;
mod vip_qos;
mod watching;
