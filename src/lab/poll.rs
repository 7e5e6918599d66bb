//! Waiting for something to become true, with a deadline. The only place where the lab sleeps.

use anyhow::bail;
use std::time::{Duration, Instant};

/// A moment by which something must have happened.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant, Duration);

impl Deadline {
    /// So long from now.
    pub fn after(time: Duration) -> Deadline {
        Deadline(Instant::now() + time, time)
    }

    /// So many seconds from now.
    pub fn seconds(seconds: u64) -> Deadline {
        Deadline::after(Duration::from_secs(seconds))
    }
}

/// Asks `look` again and again until it answers with a value.
///
/// `look` answers `Ok(Err(seen))` while it is not so yet; its own errors end the waiting.
///
/// # Errors
/// After the deadline: what was waited for, and what was seen last.
pub fn poll<T>(
    what: &str,
    deadline: Deadline,
    look: impl FnMut() -> anyhow::Result<Result<T, String>>,
) -> anyhow::Result<T> {
    wait(what, deadline, Duration::from_millis(20), look)
}

/// The same, at most two milliseconds late: for what is measured.
///
/// # Errors
/// As [`poll`].
pub fn poll_closely<T>(
    what: &str,
    deadline: Deadline,
    look: impl FnMut() -> anyhow::Result<Result<T, String>>,
) -> anyhow::Result<T> {
    wait(what, deadline, Duration::from_millis(2), look)
}

fn wait<T>(
    what: &str,
    deadline: Deadline,
    pause_max: Duration,
    mut look: impl FnMut() -> anyhow::Result<Result<T, String>>,
) -> anyhow::Result<T> {
    let mut pause = Duration::from_millis(1);
    loop {
        let seen = match look()? {
            Ok(value) => return Ok(value),
            Err(seen) => seen,
        };
        if Instant::now() >= deadline.0 {
            bail!("expected {what} within {:?}, last seen: {seen}", deadline.1);
        }
        std::thread::sleep(pause);
        pause = (pause * 3 / 2).min(pause_max);
    }
}
