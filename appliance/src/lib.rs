//! What a router and a host should be: pure folds of events into their configurations, and the protocol by
//! which agents are told.
//!
//! **Invariant:** a configuration is a function of the log and of nothing else.

#![forbid(unsafe_code)]

pub mod config;
pub mod host_config;
pub mod protocol;

pub use config::*;
pub use host_config::*;
pub use protocol::*;
