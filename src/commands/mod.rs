//! One file for each command of the command line.

pub mod agent;
pub mod audit;
pub mod bench;
pub mod completions;
pub mod lab;
pub mod message;
pub mod router;
pub mod serve;
