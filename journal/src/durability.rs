//! How far the log is durable, for those who wait for a position of their own: each is woken once, when its
//! position is on disk or never will be. (Subscriptions, which want to hear of every step, use `progress.rs`.)

use crate::ReadOnly;
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
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
    /// In the order of positions; mostly they come in it.
    wakers: VecDeque<(Position, u64, Waker)>,
    /// The number of those who came.
    came: u64,
    /// Why nothing more will be durable.
    ended: Option<Arc<str>>,
}

impl Waiting {
    fn find(&self, position: Position, place: u64) -> Result<usize, usize> {
        self.wakers.binary_search_by_key(&(position, place), |(position, place, _)| (*position, *place))
    }

    fn insert(&mut self, position: Position, place: u64, waker: Waker) {
        match self.find(position, place) {
            Ok(at) => self.wakers[at].2 = waker,
            Err(at) => self.wakers.insert(at, (position, place, waker)),
        }
    }
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
            let count = waiting.wakers.partition_point(|(waits_for, ..)| *waits_for <= position);
            waiting.wakers.drain(..count).collect::<Vec<_>>()
        };
        woken.into_iter().for_each(|(.., waker)| waker.wake());
    }

    /// Nothing more will be durable.
    pub fn end(&self, why: &Arc<str>) {
        let woken = {
            let mut waiting = self.waiting.lock();
            waiting.ended.get_or_insert_with(|| why.clone());
            std::mem::take(&mut waiting.wakers)
        };
        woken.into_iter().for_each(|(.., waker)| waker.wake());
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
        waiting.insert(this.position, place, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for WaitDurable {
    fn drop(&mut self) {
        if let Some(place) = self.place
            && self.durability.position() < self.position
        {
            let mut waiting = self.durability.waiting.lock();
            if let Ok(at) = waiting.find(self.position, place) {
                waiting.wakers.remove(at);
            }
        }
    }
}
