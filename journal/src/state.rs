//! What the sequencing mutex guards: versions and indexes up to the last sequenced commit, the commits that wait
//! for the writer, and the recent ones, decoded.
//!
//! ```text
//!  commits   0 ········ durable ········ len          (ordinals)
//!            │ on disk │ sequenced only │
//!                 └──── recent ─────────┘             (always reaches back to `durable`)
//! ```

use crate::durability::Durability;
use crate::index::{Index, Ordinal};
use crate::progress::Progress;
use crate::record::{GENESIS, Hash};
use crate::signed_heads::HeadBook;
use crate::store::FrameStore;
use crate::{Options, frame_cache::FrameCache};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicBool},
};
use switchback_events::{Commit, Micros, Position, StreamKey, Version};
use tokio::sync::watch;

/// What the handles and the writer share.
pub(crate) struct Shared {
    pub store: Arc<dyn FrameStore>,
    pub options: Options,
    pub state: Mutex<State>,
    /// Wakes the writer.
    pub work: Condvar,
    /// Wakes blocking subscribers.
    pub advanced: Condvar,
    /// Wakes subscribers.
    pub progress: watch::Sender<Progress>,
    /// Wakes those who wait for a position.
    pub durability: Arc<Durability>,
    pub cache: FrameCache,
    /// The signed heads, where there is a directory to keep them in.
    pub heads: Option<Mutex<HeadBook>>,
    /// Frames are being sealed, or could not be.
    pub sealing: AtomicBool,
}

/// A commit on its way to the writer.
pub(crate) struct Queued {
    pub commit: Arc<Commit>,
    /// The encoded events.
    pub payloads: Vec<Vec<u8>>,
}

/// Where a frame begins.
struct FrameStart {
    first: Position,
    commit: Ordinal,
}

pub(crate) struct State {
    pub index: Index,
    pub queue: VecDeque<Queued>,
    /// The number of durable commits.
    pub durable: Ordinal,
    /// The chain at the last durable commit.
    pub chain: Hash,
    /// Why nothing can be appended any more.
    pub read_only: Option<Arc<str>>,
    pub closing: bool,
    frames: Vec<FrameStart>,
    recent: VecDeque<Arc<Commit>>,
}

/// Where a commit is.
pub(crate) enum Source {
    Recent(Arc<Commit>),
    Stored {
        /// Where its frame begins.
        frame: Position,
        /// Its place in the frame.
        place: usize,
    },
}

impl State {
    pub fn new(index: Index) -> State {
        State {
            index,
            queue: VecDeque::new(),
            durable: 0,
            chain: GENESIS,
            read_only: None,
            closing: false,
            frames: Vec::new(),
            recent: VecDeque::new(),
        }
    }

    /// The number of commits that are sequenced and not yet durable.
    pub fn pending(&self) -> usize {
        (self.index.len() - self.durable) as usize
    }

    /// The last durable position.
    pub fn durable_position(&self) -> Position {
        match self.durable {
            0 => 0,
            commits => self.index.last_position(commits - 1),
        }
    }

    /// The time of the last durable commit.
    pub fn durable_time(&self) -> Micros {
        self.durable.checked_sub(1).map_or(Micros::MIN, |commit| self.index.time_of(commit))
    }

    /// Puts the next commit in its place.
    pub fn sequence(&mut self, commit: Arc<Commit>, payloads: Vec<Vec<u8>>) {
        let events = commit.events.iter().map(|event| (event.stream, &event.tags[..]));
        self.index.add(commit.last_position(), commit.at, commit.provenance.command_id, events);
        self.recent.push_back(commit.clone());
        self.queue.push_back(Queued { commit, payloads });
    }

    /// Notes that a frame begins with commit number `commit`.
    pub fn add_frame(&mut self, first: Position, commit: Ordinal) {
        self.frames.push(FrameStart { first, commit });
    }

    /// Gives up decoded commits beyond `keep`, but none that is not durable: to be dropped without the mutex.
    #[must_use]
    pub fn trim(&mut self, keep: usize) -> Vec<Arc<Commit>> {
        let beyond = self.recent.len().saturating_sub(keep.max(self.pending()));
        self.recent.drain(..beyond).collect()
    }

    /// Forgets all that was sequenced and is not durable.
    pub fn roll_back(&mut self) {
        self.queue.clear();
        while self.index.len() > self.durable {
            let Some(commit) = self.recent.pop_back() else { break };
            self.index.remove_last(&commit);
        }
    }

    pub fn find(&self, commit: Ordinal) -> Source {
        let oldest = self.index.len() as usize - self.recent.len();
        if let Some(recent) = (commit as usize).checked_sub(oldest) {
            return Source::Recent(self.recent[recent].clone());
        }
        let after = self.frames.partition_point(|frame| frame.commit <= commit);
        let frame = &self.frames[after - 1];
        Source::Stored { frame: frame.first, place: (commit - frame.commit) as usize }
    }
}

/// The sequenced heads: what deciders decide on.
pub struct Heads<'a> {
    pub(crate) state: &'a State,
}

impl Heads<'_> {
    /// The number of events in `stream`.
    pub fn version(&self, stream: StreamKey) -> Version {
        self.state.index.version(stream)
    }

    /// The last position.
    pub fn head(&self) -> Position {
        self.state.index.head()
    }
}
