//! One file for each command of the command line.

pub mod agent;
pub mod audit;
pub mod backup;
pub mod bench;
pub mod bus;
pub mod completions;
pub mod config;
pub mod copies;
pub mod doctor;
pub mod lab;
pub mod message;
pub mod restore;
pub mod router;
pub mod serve;
