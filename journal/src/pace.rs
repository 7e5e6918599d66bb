//! When a group of commits is large enough to be written.

use parking_lot::{Condvar, MutexGuard};
use std::time::{Duration, Instant};

/// The part of the time of the last group that is waited for the next to fill.
const LINGER: u32 = 2;
/// And never longer: a disk that once stood still must not hold up whoever comes after.
const LINGER_MAX: Duration = Duration::from_millis(2);

/// What waits to be written.
pub(crate) trait Waiting {
    /// The number of commits.
    fn commits(&self) -> usize;
    /// The number of commits below which the writer need not be woken.
    fn wanted(&mut self) -> &mut usize;
    /// Whether nothing more comes.
    fn is_closing(&self) -> bool;
}

/// How large the last group was, and how long it took to write.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pace {
    pub commits: usize,
    pub took: Duration,
}

impl Pace {
    /// Waits for as many commits as there were last time: whoever was just answered comes again at once, and two
    /// small groups take the disk twice as long as a large one. Never longer than a part of what that took.
    pub fn linger<W: Waiting>(&self, work: &Condvar, waiting: &mut MutexGuard<'_, W>) {
        let until = Instant::now() + (self.took / LINGER).min(LINGER_MAX);
        *waiting.wanted() = self.commits;
        while waiting.commits() < self.commits && !waiting.is_closing() && !work.wait_until(waiting, until).timed_out()
        {
        }
        *waiting.wanted() = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    struct One {
        wanted: usize,
    }

    impl Waiting for One {
        fn commits(&self) -> usize {
            1
        }

        fn wanted(&mut self) -> &mut usize {
            &mut self.wanted
        }

        fn is_closing(&self) -> bool {
            false
        }
    }

    /// Ends at all: half of an hour is no time to wait.
    #[test]
    fn after_a_write_that_took_an_hour_a_lone_commit_does_not_wait_for_as_many_as_it_had() {
        let waiting = Mutex::new(One { wanted: 0 });
        let pace = Pace { commits: 512, took: Duration::from_secs(3600) };
        pace.linger(&Condvar::new(), &mut waiting.lock());
        assert_eq!(waiting.lock().wanted, 0, "appends wake the writer again");
    }
}
