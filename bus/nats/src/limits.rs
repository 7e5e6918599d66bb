//! What one request, and all of them together, may take.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use switchback_bus::{Refusal, RefusalKind, code};

/// The limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The most bytes of a request's payload.
    pub body: usize,
    /// The time for an answer.
    pub answer_time: Duration,
    /// The most requests that are answered at a time.
    pub requests: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { body: 1 << 20, answer_time: Duration::from_secs(120), requests: 1000 }
    }
}

/// Seconds after which a busy system may be asked again.
const BUSY_RETRY_SECONDS: u64 = 1;

/// How many requests are being answered.
#[derive(Clone, Default)]
pub(crate) struct InFlight(Arc<AtomicUsize>);

/// One of them; it is answered when this is dropped.
pub(crate) struct Place(Arc<AtomicUsize>);

impl InFlight {
    /// A place for one more.
    pub fn enter(&self, most: usize) -> Result<Place, Refusal> {
        let place = Place(self.0.clone());
        if self.0.fetch_add(1, Ordering::AcqRel) < most {
            return Ok(place);
        }
        let detail = format!("{most} requests are being answered, which is the limit");
        let refusal = Refusal::new(RefusalKind::Busy, code::BUSY, detail);
        Err(Refusal { retry_after_secs: Some(BUSY_RETRY_SECONDS), ..refusal })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
