//! What one request may take.

use std::time::Duration;

/// The limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The most bytes of a request's payload.
    pub body: usize,
    /// The time for an answer.
    pub answer_time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { body: 1 << 20, answer_time: Duration::from_secs(120) }
    }
}
