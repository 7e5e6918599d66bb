//! How far the log is durable, for those who wait for a position of their own: each is woken once, when its
//! position is on disk or never will be. (Subscriptions, which want to hear of every step, use `progress.rs`.)

use crate::ReadOnly;
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};
use switchback_events::Position;

/// The durable position, and who waits for a later one.
pub(crate) struct Durability {
    durable: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// By position, then by the order of coming.
    wakers: BTreeMap<(Position, u64), Waker>,
    /// The number of those who came.
    came: u64,
    /// Why nothing more will be durable.
    ended: Option<Arc<str>>,
}

impl Durability {
    pub fn new(durable: Position) -> Durability {
        Durability { durable: AtomicU64::new(durable), waiting: Mutex::default() }
    }

    /// The last durable position.
    pub fn position(&self) -> Position {
        self.durable.load(Ordering::Acquire)
    }

    /// Everything up to `position` is on disk.
    pub fn advance(&self, position: Position) {
        let woken = {
            let mut waiting = self.waiting.lock();
            self.durable.store(position, Ordering::Release);
            let rest = waiting.wakers.split_off(&(position + 1, 0));
            std::mem::replace(&mut waiting.wakers, rest)
        };
        woken.into_values().for_each(Waker::wake);
    }

    /// Nothing more will be durable.
    pub fn end(&self, why: &Arc<str>) {
        let woken = {
            let mut waiting = self.waiting.lock();
            waiting.ended.get_or_insert_with(|| why.clone());
            std::mem::take(&mut waiting.wakers)
        };
        woken.into_values().for_each(Waker::wake);
    }

    /// Waits until `position` is on disk.
    pub fn wait(self: Arc<Self>, position: Position) -> WaitDurable {
        WaitDurable { durability: self, position, place: None }
    }
}

/// Ready when its position is on disk, or never will be.
pub(crate) struct WaitDurable {
    durability: Arc<Durability>,
    position: Position,
    /// Where its waker is.
    place: Option<u64>,
}

impl Future for WaitDurable {
    type Output = Result<(), ReadOnly>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.durability.position() >= this.position {
            return Poll::Ready(Ok(()));
        }
        let mut waiting = this.durability.waiting.lock();
        // Again, under the lock: the writer may have come in between.
        if this.durability.position() >= this.position {
            return Poll::Ready(Ok(()));
        }
        if let Some(why) = &waiting.ended {
            return Poll::Ready(Err(ReadOnly(why.to_string())));
        }
        let came = waiting.came;
        let place = *this.place.get_or_insert(came);
        waiting.came = came.max(place + 1);
        waiting.wakers.insert((this.position, place), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for WaitDurable {
    fn drop(&mut self) {
        if let Some(place) = self.place
            && self.durability.position() < self.position
        {
            self.durability.waiting.lock().wakers.remove(&(self.position, place));
        }
    }
}
