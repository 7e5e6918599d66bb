//! `switchback lab demo`: the main job with real packets, from an empty machine to the audit. Each step is shown
//! with its time and with the command line that does the same; the first thing that is not as it should be ends it.

mod audit;
mod build;
mod crash;
mod repair;
mod services;
mod show;

pub use show::{DemoOptions, demo};
