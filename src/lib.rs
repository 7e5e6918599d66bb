//! The composition of Switchback: the node that wires the crates together, and the lab. The binary's commands
//! and the integration tests stand on it.

pub mod bench;
pub mod lab;
pub mod node;
