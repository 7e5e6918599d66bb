//! What is to go out on one connection.
//!
//! **Invariants:** whoever puts something in never waits; what is put in at once goes out at once, with nothing between; no
//! more is kept than the limit of one connection, and what would make it more ends the connection, and no other. Where all
//! of them together hold more than they may, that limit is [`SHARE`].

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    io::IoSlice,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::sync::Notify;

/// Chunks in order, as a writer takes them.
#[derive(Default, Debug)]
pub(super) struct Chunks(VecDeque<Bytes>);

impl Buf for Chunks {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn has_remaining(&self) -> bool {
        !self.0.is_empty()
    }

    fn chunk(&self) -> &[u8] {
        self.0.front().map(Bytes::as_ref).unwrap_or_default()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.0) {
            *slice = IoSlice::new(chunk);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(first) = self.0.front_mut() {
            if first.len() > count {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.0.pop_front();
        }
    }
}

/// How the connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// It takes what is put in.
    Open,
    /// It ends when what was put in is out; nothing more is taken.
    Ending,
    /// It ends: it reads too slowly.
    Slow,
}

struct Inner {
    chunks: VecDeque<Bytes>,
    /// Bytes that are in it, or taken and not out yet.
    bytes: usize,
    state: State,
}

/// What a connection may hold in any case.
pub(super) const SHARE: usize = 64 << 10;

/// What all connections together hold.
#[derive(Debug)]
pub(super) struct Held {
    /// Bytes that are in their outboxes, or taken and not out yet.
    pub bytes: AtomicUsize,
    /// From so many on, each may hold its share only.
    limit: usize,
    /// All that came in.
    pub total: AtomicU64,
}

impl Held {
    /// Nothing, of at most `limit` bytes.
    pub fn new(limit: usize) -> Held {
        Held { bytes: AtomicUsize::new(0), limit, total: AtomicU64::new(0) }
    }
}

/// What is to go out.
pub(super) struct Outbox {
    inner: Mutex<Inner>,
    wake: Notify,
    /// Tells who waits that half of the limit is free, or that the connection ends.
    drained: Notify,
    limit: usize,
    /// With the others.
    held: Arc<Held>,
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.held.bytes.fetch_sub(self.inner.get_mut().bytes, Ordering::Relaxed);
    }
}

impl Outbox {
    /// Of at most `limit` bytes, counted with those of the others in `held`.
    pub fn new(limit: usize, held: Arc<Held>) -> Outbox {
        let inner = Inner { chunks: VecDeque::new(), bytes: 0, state: State::Open };
        Outbox { inner: Mutex::new(inner), wake: Notify::new(), drained: Notify::new(), limit, held }
    }

    /// Puts something in, and has it go out. Whether it was taken.
    pub fn push<const N: usize>(&self, chunks: [Bytes; N]) -> bool {
        let taken = self.put(chunks);
        self.look();
        taken
    }

    /// Puts something in, which goes out when the connection is next told to look ([`Outbox::look`]). Whether it was taken.
    pub fn put<const N: usize>(&self, chunks: [Bytes; N]) -> bool {
        let length: usize = chunks.iter().map(Bytes::len).sum();
        let mut inner = self.inner.lock();
        if inner.state != State::Open {
            return false;
        }
        let crowded = self.held.bytes.load(Ordering::Relaxed) + length > self.held.limit;
        let limit = if crowded { self.limit.min(SHARE.max(length)) } else { self.limit };
        let taken = inner.bytes + length <= limit;
        if taken {
            inner.bytes += length;
            inner.chunks.extend(chunks.into_iter().filter(|chunk| !chunk.is_empty()));
            self.held.bytes.fetch_add(length, Ordering::Relaxed);
            self.held.total.fetch_add(length as u64, Ordering::Relaxed);
        } else {
            // What the writer has taken ends with a whole message.
            inner.chunks = VecDeque::from([Bytes::from_static(b"-ERR 'Slow Consumer'\r\n")]);
            inner.state = State::Slow;
        }
        drop(inner);
        if !taken {
            self.drained.notify_waiters();
            self.look();
        }
        taken
    }

    /// Says a last word, and ends the connection when all is out.
    pub fn end(&self, word: &str) {
        let mut inner = self.inner.lock();
        if inner.state == State::Open {
            inner.chunks.extend((!word.is_empty()).then(|| Bytes::from(format!("-ERR '{word}'\r\n"))));
            inner.state = State::Ending;
        }
        drop(inner);
        self.drained.notify_waiters();
        self.wake.notify_one();
    }

    /// Has the connection look how things stand.
    pub fn look(&self) {
        self.wake.notify_one();
    }

    /// How the connection stands.
    pub fn state(&self) -> State {
        self.inner.lock().state
    }

    /// Moves what is in it to the end of `chunks`.
    pub fn take(&self, chunks: &mut Chunks) -> State {
        let mut inner = self.inner.lock();
        if chunks.0.is_empty() {
            chunks.0 = std::mem::take(&mut inner.chunks);
        } else {
            chunks.0.append(&mut inner.chunks);
        }
        inner.state
    }

    /// So much is out.
    pub fn out(&self, count: usize) {
        let mut inner = self.inner.lock();
        // The last word of a connection that ends was not counted.
        let count = count.min(inner.bytes);
        inner.bytes -= count;
        self.held.bytes.fetch_sub(count, Ordering::Relaxed);
        if inner.bytes <= self.limit / 2 {
            drop(inner);
            self.drained.notify_waiters();
        }
    }

    /// Waits until half of the limit is free, for who has much to say and can wait. Whether there is anybody to say it to.
    pub async fn room(&self) -> bool {
        loop {
            let drained = self.drained.notified();
            {
                let inner = self.inner.lock();
                if inner.state != State::Open {
                    return false;
                }
                if inner.bytes <= self.limit / 2 {
                    return true;
                }
            }
            drained.await;
        }
    }

    /// Waits until something was put in since it was last waited for.
    pub async fn filled(&self) {
        self.wake.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(limit: usize) -> Outbox {
        Outbox::new(limit, Arc::new(Held::new(usize::MAX)))
    }

    #[test]
    fn where_all_hold_too_much_each_has_its_share() {
        let held = Arc::new(Held::new(4 * SHARE));
        let [large, small] = [(); 2].map(|()| Outbox::new(8 * SHARE, held.clone()));
        let some = |length| [Bytes::from(vec![0; length])];
        assert!(large.push(some(3 * SHARE)) && small.push(some(SHARE / 2)));
        assert!(small.push(some(SHARE / 2)), "there is room");
        assert!(!small.push(some(1)) && !large.push(some(1)), "and now there is none but for who has less");
        assert_eq!((large.state(), small.state()), (State::Slow, State::Slow));
        let other = Outbox::new(8 * SHARE, held.clone());
        assert!(other.push(some(SHARE)) && !other.push(some(1)));
        drop((large, small));
        assert_eq!(held.bytes.load(Ordering::Relaxed), SHARE, "what is gone with a connection counts no more");
        other.out(SHARE);
        assert_eq!(held.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn who_takes_nothing_is_given_no_more_than_the_limit() {
        let outbox = outbox(10);
        let mut chunks = Chunks::default();
        assert!(outbox.push([Bytes::from_static(b"12345"), Bytes::from_static(b"67")]));
        assert_eq!(outbox.take(&mut chunks), State::Open);
        assert!(outbox.push([Bytes::from_static(b"890")]));
        assert!(!outbox.push([Bytes::from_static(b"x")]), "what was taken and is not out counts");
        assert!(!outbox.push([Bytes::new()]));
        assert_eq!(outbox.take(&mut chunks), State::Slow);
        assert_eq!(chunks.copy_to_bytes(chunks.remaining()), "1234567-ERR 'Slow Consumer'\r\n");
    }

    #[test]
    fn what_is_out_makes_room_and_the_last_word_is_the_last() {
        let outbox = outbox(4);
        let mut chunks = Chunks::default();
        assert!(outbox.push([Bytes::from_static(b"1234")]));
        outbox.take(&mut chunks);
        chunks.advance(3);
        outbox.out(3);
        assert_eq!(chunks.chunk(), b"4");
        assert!(outbox.push([Bytes::from_static(b"56")]));
        outbox.end("Stale Connection");
        outbox.end("again");
        assert!(!outbox.push([Bytes::from_static(b"7")]));
        assert_eq!(outbox.take(&mut chunks), State::Ending);
        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(chunks.chunks_vectored(&mut slices), 3);
        assert_eq!(chunks.copy_to_bytes(chunks.remaining()), "456-ERR 'Stale Connection'\r\n");
        assert!(!chunks.has_remaining());
    }
}
