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
use crate::pace::Waiting;
use crate::progress::Progress;
use crate::record::{self, GENESIS, Hash};
use crate::signed_heads::HeadBook;
use crate::store::FrameStore;
use crate::{Options, frame_cache::FrameCache};
use parking_lot::{Condvar, Mutex};
use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::{Arc, OnceLock, atomic::AtomicBool},
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
    payloads: Vec<Vec<u8>>,
    /// The body of its record, once whoever appended it has made it.
    body: OnceLock<Vec<u8>>,
}

impl Queued {
    /// Makes the body of the record, so that the writer, which is one for all, need not.
    pub fn prepare(&self) {
        if let Ok(body) = record::encode(&self.commit, &self.payloads) {
            let _ = self.body.set(body);
        }
    }

    /// The body of the record; does not wait for one that is being made.
    pub fn body(&self) -> Result<Cow<'_, [u8]>, rmp_serde::encode::Error> {
        match self.body.get() {
            Some(body) => Ok(Cow::Borrowed(body)),
            None => record::encode(&self.commit, &self.payloads).map(Cow::Owned),
        }
    }

    /// The size of the encoded events.
    pub fn bytes(&self) -> usize {
        self.payloads.iter().map(Vec::len).sum()
    }
}

/// Where a frame begins.
struct FrameStart {
    first: Position,
    commit: Ordinal,
}

pub(crate) struct State {
    pub index: Index,
    pub queue: VecDeque<Arc<Queued>>,
    /// The writer need not be woken for fewer.
    pub wanted: usize,
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
            wanted: 0,
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

    /// Puts the next commit in its place. Gives up decoded commits beyond `keep`, but none that is not durable: to be
    /// dropped without the mutex.
    pub fn sequence(
        &mut self,
        commit: Arc<Commit>,
        payloads: Vec<Vec<u8>>,
        keep: usize,
    ) -> (Arc<Queued>, [Option<Arc<Commit>>; 2]) {
        let events = commit.events.iter().map(|event| (event.stream, &event.tags[..]));
        self.index.add(commit.last_position(), commit.at, commit.provenance.command_id, events);
        self.recent.push_back(commit.clone());
        let queued = Arc::new(Queued { commit, payloads, body: OnceLock::new() });
        self.queue.push_back(queued.clone());
        // One comes, two go: so there are never many more than `keep`, and nobody has to give up many at once.
        let keep = keep.max(self.pending());
        let mut give_up = || (self.recent.len() > keep).then(|| self.recent.pop_front()).flatten();
        (queued, [give_up(), give_up()])
    }

    /// Notes that a frame begins with commit number `commit`.
    pub fn add_frame(&mut self, first: Position, commit: Ordinal) {
        self.frames.push(FrameStart { first, commit });
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

impl Waiting for State {
    fn commits(&self) -> usize {
        self.queue.len()
    }

    fn wanted(&mut self) -> &mut usize {
        &mut self.wanted
    }

    fn is_closing(&self) -> bool {
        self.closing
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
