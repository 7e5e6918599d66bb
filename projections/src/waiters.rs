//! Who waits for which position. A commit of the fold wakes only those whose position it reached.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;
use switchback_events::Position;
use tokio::sync::oneshot;

/// The waiters, ordered by position.
#[derive(Default)]
pub(crate) struct Waiters {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    reached: Position,
    ended: bool,
    tickets: u64,
    waiting: BTreeMap<(Position, u64), oneshot::Sender<()>>,
}

/// Takes a waiter that gave up out of the queue.
struct Ticket<'a> {
    waiters: &'a Waiters,
    key: (Position, u64),
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.waiters.state.lock().waiting.remove(&self.key);
    }
}

impl Waiters {
    /// The position reached.
    pub fn reached(&self) -> Position {
        self.state.lock().reached
    }

    /// Everything up to `position` can be read now.
    pub fn reach(&self, position: Position) {
        let due = {
            let mut state = self.state.lock();
            state.reached = position;
            let later = state.waiting.split_off(&(position + 1, 0));
            std::mem::replace(&mut state.waiting, later)
        };
        for (_, waiter) in due {
            // One that gave up a moment ago has nobody to tell.
            let _ = waiter.send(());
        }
    }

    /// Nothing more will be reached.
    pub fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        state.waiting.clear();
    }

    /// Waits until `position` is reached, at most for `timeout`, and tells the position reached.
    pub async fn wait_for(&self, position: Position, timeout: Duration) -> Position {
        let (ticket, woken) = {
            let mut state = self.state.lock();
            if state.reached >= position || state.ended {
                return state.reached;
            }
            state.tickets += 1;
            let key = (position, state.tickets);
            let (wake, woken) = oneshot::channel();
            state.waiting.insert(key, wake);
            (Ticket { waiters: self, key }, woken)
        };
        // In time, too late or ended: the position tells.
        let _ = tokio::time::timeout(timeout, woken).await;
        drop(ticket);
        self.reached()
    }
}
