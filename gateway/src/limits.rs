//! What one request, and all of them together, may take.

use crate::Problem;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// The limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The most bytes of a body.
    pub body: usize,
    /// The time for a client to send a body.
    pub body_time: Duration,
    /// The time for an answer to begin.
    pub answer_time: Duration,
    /// The most requests that are answered at a time.
    pub requests: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body: 1 << 20,
            body_time: Duration::from_secs(30),
            answer_time: Duration::from_secs(120),
            requests: 1000,
        }
    }
}

/// How many requests are being answered.
#[derive(Clone, Default)]
pub(crate) struct InFlight(Arc<AtomicUsize>);

/// One of them; it is answered when this is dropped.
pub(crate) struct Place(Arc<AtomicUsize>);

impl InFlight {
    /// A place for one more.
    pub(crate) fn enter(&self, most: usize) -> Result<Place, Problem> {
        let place = Place(self.0.clone());
        match self.0.fetch_add(1, Ordering::AcqRel) < most {
            true => Ok(place),
            false => Err(Problem::overloaded(most)),
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether the whole log is read for it, which takes as long as it takes.
pub(crate) fn takes_its_time(path: &str) -> bool {
    let read = path.strip_prefix("/v1/queries/");
    path.starts_with("/v1/audit/") || read.is_some_and(|name| name == "VerifyAudit" || name.starts_with("Replay"))
}
