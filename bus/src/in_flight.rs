//! How many requests are being answered, by whatever way they came in.

use crate::{Refusal, RefusalKind, code};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Seconds after which a busy system may be asked again.
const RETRY_SECONDS: u64 = 1;

/// The requests of one way in, and their limit together with those of the others.
#[derive(Clone, Debug)]
pub struct InFlight {
    most: usize,
    all: Arc<AtomicUsize>,
    own: Arc<AtomicUsize>,
}

/// One of them; it is answered when this is dropped.
#[derive(Debug)]
pub struct InFlightPlace([Arc<AtomicUsize>; 2]);

impl InFlight {
    /// None yet, of at most `most` at a time.
    pub fn new(most: usize) -> InFlight {
        InFlight { most, all: Arc::default(), own: Arc::default() }
    }

    /// For another way in, which counts its own and has the limit with this one.
    pub fn beside(&self) -> InFlight {
        InFlight { own: Arc::default(), ..self.clone() }
    }

    /// A place for one more.
    ///
    /// # Errors
    /// SYS.1100: there are as many as may be.
    pub fn enter(&self) -> Result<InFlightPlace, Refusal> {
        let places = [self.all.clone(), self.own.clone()];
        let [before, _] = places.each_ref().map(|count| count.fetch_add(1, Ordering::AcqRel));
        let place = InFlightPlace(places);
        if before < self.most {
            return Ok(place);
        }
        let detail = format!("{} requests are being answered, which is the limit", self.most);
        let refusal = Refusal::new(RefusalKind::Busy, code::BUSY, detail);
        Err(Refusal { retry_after_secs: Some(RETRY_SECONDS), ..refusal })
    }

    /// How many came in this way.
    pub fn count(&self) -> usize {
        self.own.load(Ordering::Acquire)
    }
}

impl Drop for InFlightPlace {
    fn drop(&mut self) {
        for count in &self.0 {
            count.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ways_in_have_one_limit_and_each_counts_its_own() {
        let one = InFlight::new(2);
        let other = one.beside();
        let (first, second) = (one.enter().unwrap(), other.enter().unwrap());
        let refusal = one.enter().unwrap_err();
        assert_eq!((refusal.kind, refusal.retry_after_secs), (RefusalKind::Busy, Some(1)));
        assert_eq!((one.count(), other.count()), (1, 1));
        drop(first);
        assert_eq!((one.count(), other.count()), (0, 1));
        let third = other.enter().unwrap();
        assert!(other.enter().is_err() && other.count() == 2);
        drop((second, third));
        assert_eq!(other.count(), 0);
    }
}
