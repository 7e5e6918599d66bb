//! Following the log. Catching up and following live are one code path: read what is durable; when there is
//! nothing, wait until the writer announces more; read again. So there is no hand-over that could lose a commit.

use crate::progress::Progress;
use crate::{Journal, read::ReadError};
use std::{sync::Arc, time::Duration};
use switchback_events::{Commit, Position};
use tokio::sync::watch;

/// A reader of durable commits from a position on.
pub struct Subscription {
    journal: Journal,
    progress: watch::Receiver<Progress>,
    position: Position,
}

impl Journal {
    /// Follows the log after position `after`.
    pub fn subscribe(&self, after: Position) -> Subscription {
        let progress = self.shared().progress.subscribe();
        Subscription { journal: self.clone(), progress, position: after }
    }
}

impl Subscription {
    /// The last position that was given out, or the one to start after.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The next commits, at least one and at most `max_commits`; waits for one. It can be dropped while it waits
    /// and called again.
    ///
    /// # Errors
    /// [`ReadError::Closed`] when the journal was closed and all is read. A read-only journal just has no more.
    pub async fn next(&mut self, max_commits: usize) -> Result<Vec<Arc<Commit>>, ReadError> {
        loop {
            let closed = self.progress.borrow_and_update().closed;
            let commits = self.read(max_commits)?;
            if !commits.is_empty() {
                return Ok(commits);
            }
            if closed || self.progress.changed().await.is_err() {
                return Err(ReadError::Closed);
            }
        }
    }

    /// As [`Subscription::next`], without a runtime; nothing when none came within `timeout`.
    pub fn next_blocking(&mut self, max_commits: usize, timeout: Duration) -> Result<Vec<Arc<Commit>>, ReadError> {
        let commits = self.read(max_commits)?;
        if !commits.is_empty() {
            return Ok(commits);
        }
        let position = self.position;
        let shared = self.journal.shared();
        let mut state = shared.state.lock();
        let closed = || shared.progress.borrow().closed;
        shared.advanced.wait_while_for(&mut state, |state| state.durable_position() <= position && !closed(), timeout);
        drop(state);
        let closed = closed();
        let commits = self.read(max_commits)?;
        if commits.is_empty() && closed { Err(ReadError::Closed) } else { Ok(commits) }
    }

    fn read(&mut self, max_commits: usize) -> Result<Vec<Arc<Commit>>, ReadError> {
        let commits = self.journal.read(self.position, max_commits.max(1))?;
        if let Some(last) = commits.last() {
            self.position = last.last_position();
        }
        Ok(commits)
    }
}
