//! The composition of Switchback: the node that wires the crates together, its configuration, and the lab. The binary's commands
//! and the integration tests stand on it.

pub mod bench;
pub mod config;
pub mod lab;
pub mod node;
