//! One file for each command of the command line.

pub mod agent;
pub mod lab;
