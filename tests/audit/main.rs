//! The event stream and the audit: what they say of a node's log, of the past, and of a data directory at rest.

mod copies;
#[path = "../node/harness.rs"]
#[allow(dead_code)]
mod harness;
mod history;
mod incident;
mod program;
mod stream;
