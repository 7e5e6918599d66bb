//! What one request may take.

use std::time::Duration;

/// The limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The most bytes of a body.
    pub body: usize,
    /// The time for a client to send a body.
    pub body_time: Duration,
    /// The time for an answer to begin.
    pub answer_time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { body: 1 << 20, body_time: Duration::from_secs(30), answer_time: Duration::from_secs(120) }
    }
}

/// Whether the whole log is read for it, which takes as long as it takes.
pub(crate) fn takes_its_time(path: &str) -> bool {
    let read = path.strip_prefix("/v1/queries/");
    path.starts_with("/v1/audit/") || read.is_some_and(|name| name == "VerifyAudit" || name.starts_with("Replay"))
}
