//! The services of a router. Each has a pure renderer, what is observed of it, a plan as the difference, and
//! the steps that carry the plan out. `dhcp` and `dns` share one dnsmasq; `snat`, `firewall`,
//! `eip` and `port_forwarding` one table; `load_balancer` is haproxy's and, for UDP, the table's;
//! `vip_qos` is classes of the kernel's queues, with chains that lead to them;
//! `metadata` is the agent's own, with a chain in the table that leads to it.

pub mod dhcp;
pub mod dns;
pub mod dnsmasq;
pub mod eip;
pub mod firewall;
pub mod haproxy;
pub mod interfaces;
pub mod load_balancer;
pub mod metadata;
pub mod nftables;
pub mod port_forwarding;
pub mod snat;
pub mod translations;
pub mod udp_balancer;
pub mod vip;
pub mod vip_qos;
