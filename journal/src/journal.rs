//! The handle on the log: opening, closing, and where the log stands. Appending is in `append.rs`, reading in
//! `read.rs`.

use crate::checkpoint::{self, Checkpoint, Loaded};
use crate::durability::Durability;
use crate::frame_cache::FrameCache;
use crate::index::Window;
use crate::progress::{Progress, ReadOnly};
use crate::record::{Defect, Hash};
use crate::signed_heads::HeadBook;
use crate::state::{Heads, Shared, State};
use crate::store::{FrameStore, StoreError};
use crate::verify::{Broken, Fault, Start, Verified, scan};
use crate::writer::{self, Stepper};
use parking_lot::{Condvar, Mutex};
use std::{
    sync::{Arc, atomic::AtomicBool},
    thread::JoinHandle,
    time::Duration,
};
use switchback_events::{Id, Micros, Position, StreamKey, StreamKind, Version};
use tokio::sync::watch;

/// The limits of a journal.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many commits may wait for the disk before appends are refused as busy.
    pub max_pending: usize,
    /// How many of the last commits are kept decoded, for live readers.
    pub recent: usize,
    /// How old, by the log's own time, a command may be to be known again.
    pub dedup_age: Duration,
    /// How many of the last commands are known again.
    pub dedup_commands: usize,
    /// When so many bytes of frames have come together, they are sealed into a segment.
    pub segment_bytes: u64,
    /// A head is signed when so many commits came since the last one,
    pub head_commits: u32,
    /// or when the oldest of them came so long ago.
    pub head_age: Duration,
    /// The index checkpoint is written on when so many events came since the last time,
    pub checkpoint_events: u64,
    /// or after so long.
    pub checkpoint_age: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            max_pending: 4096,
            recent: 1024,
            dedup_age: Duration::from_secs(24 * 3600),
            dedup_commands: 1_000_000,
            segment_bytes: 32 * 1024 * 1024,
            head_commits: 1_000,
            head_age: Duration::from_secs(60),
            checkpoint_events: 100_000,
            checkpoint_age: Duration::from_secs(30),
        }
    }
}

/// Why a journal could not be opened. Nothing is repaired silently.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log was changed.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The log is whole, but was written by a later version of this program.
    #[error("commit at position {position} cannot be read by this program: {why}")]
    Unreadable {
        /// The position of its first event.
        position: Position,
        /// What it is that this program does not know.
        why: String,
    },
    /// No thread could be started.
    #[error("start the journal's writer: {0}")]
    Thread(#[source] std::io::Error),
    /// The signed heads beside the log cannot be used.
    #[error("open the signed heads: {0}")]
    Heads(#[source] std::io::Error),
}

/// A cheap handle on the log. The writer thread ends when the last handle is dropped or one is closed.
#[derive(Clone)]
pub struct Journal {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Reads the log from the index checkpoint on, or all of it; checks CRCs, chain, positions and versions of what
    /// it reads; completes the indexes; starts the writer.
    pub fn open(store: Arc<dyn FrameStore>, options: Options) -> Result<Journal, OpenError> {
        let (shared, checkpoint) = Journal::prepare(store, options)?;
        let writer = std::thread::Builder::new().name("journal-writer".to_string());
        let writer = writer.spawn({
            let shared = shared.clone();
            move || writer::run(&shared, checkpoint)
        });
        let writer = Mutex::new(Some(writer.map_err(OpenError::Thread)?));
        Ok(Journal { handle: Arc::new(Handle { shared, writer }) })
    }

    /// As [`Journal::open`], but the writer has no thread: it writes when it is told to. Closing the journal does not
    /// write what waits.
    pub fn open_stepped(store: Arc<dyn FrameStore>, options: Options) -> Result<(Journal, Stepper), OpenError> {
        let (shared, checkpoint) = Journal::prepare(store, options)?;
        let stepper = Stepper::new(shared.clone(), checkpoint);
        Ok((Journal { handle: Arc::new(Handle { shared, writer: Mutex::new(None) }) }, stepper))
    }

    fn prepare(store: Arc<dyn FrameStore>, options: Options) -> Result<(Arc<Shared>, Option<Checkpoint>), OpenError> {
        let (state, checkpoint) = load(&*store, &options)?;
        let durable = state.durable_position();
        let heads = store.dir().map(|dir| HeadBook::open(dir, durable, &options)).transpose();
        let heads = heads.map_err(OpenError::Heads)?;
        if let Some(head) = heads.as_ref().and_then(HeadBook::last)
            && head.position > durable
        {
            return Err(head.missing(durable).into());
        }
        let progress = Progress { durable, ..Progress::default() };
        let durability = Arc::new(Durability::new(durable));
        let shared = Arc::new(Shared {
            store,
            options,
            state: Mutex::new(state),
            work: Condvar::new(),
            advanced: Condvar::new(),
            progress: watch::Sender::new(progress),
            durability,
            cache: FrameCache::default(),
            heads: heads.map(Mutex::new),
            sealing: AtomicBool::new(false),
        });
        Ok((shared, checkpoint))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// Runs `f` on the sequenced heads, holding the sequencing mutex: it must be short and must not use the
    /// journal.
    pub fn sequenced<R>(&self, f: impl FnOnce(&Heads) -> R) -> R {
        let state = self.shared().state.lock();
        f(&Heads { state: &state })
    }

    /// The number of sequenced events in `stream`.
    pub fn version(&self, stream: StreamKey) -> Version {
        self.sequenced(|heads| heads.version(stream))
    }

    /// The last sequenced position.
    pub fn head(&self) -> Position {
        self.sequenced(|heads| heads.head())
    }

    /// The last durable position.
    pub fn durable(&self) -> Position {
        self.shared().durability.position()
    }

    /// The sequenced streams of `kind`, in the order of their first events.
    pub fn streams(&self, kind: StreamKind) -> Vec<Id> {
        self.shared().state.lock().index.streams(kind)
    }

    /// Waits until `position` is on disk.
    pub fn wait_durable(&self, position: Position) -> impl Future<Output = Result<(), ReadOnly>> + Send + use<> {
        self.shared().durability.clone().wait(position)
    }

    /// Why nothing can be appended any more, if so. What was sequenced and not durable at that moment is gone:
    /// whoever evolved state from it must start again from the log.
    pub fn read_only(&self) -> Option<String> {
        self.shared().state.lock().read_only.as_ref().map(|why| why.to_string())
    }

    /// The last durable position and the hash chain there: what a signature over the log signs.
    pub fn chain_head(&self) -> (Position, Hash) {
        let state = self.shared().state.lock();
        (state.durable_position(), state.chain)
    }

    /// Seals the durable frames up to `upto` into a segment now. Gives the last sealed position.
    pub fn seal(&self, upto: Position) -> Result<Position, StoreError> {
        self.shared().store.seal(upto.min(self.durable()))
    }

    /// Writes what waits, then ends the writer, for all handles. Reading goes on.
    pub fn close(self) {
        self.handle.stop();
    }
}

impl Handle {
    fn stop(&self) {
        {
            let mut state = self.shared.state.lock();
            state.closing = true;
            state.read_only.get_or_insert_with(|| "the journal was closed".into());
            self.shared.work.notify_one();
        }
        if let Some(writer) = self.writer.lock().take()
            && writer.join().is_err()
        {
            tracing::error!("the journal's writer panicked");
        }
        // Under the mutex, so that no blocking subscriber misses it between looking and waiting.
        let _state = self.shared.state.lock();
        self.shared.durability.end(&"the journal was closed".into());
        self.shared.progress.send_modify(|progress| {
            progress.ended.get_or_insert_with(|| "the journal was closed".into());
            progress.closed = true;
        });
        self.shared.advanced.notify_all();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Builds the state from the checkpoint and the log after it.
fn load(store: &dyn FrameStore, options: &Options) -> Result<(State, Option<Checkpoint>), OpenError> {
    let age = Micros::try_from(options.dedup_age.as_micros()).unwrap_or(Micros::MAX);
    let Loaded { mut state, mut checkpoint } =
        checkpoint::load(store, Window { age, commands: options.dedup_commands }, options);
    let mut frame = None;
    let start = Start {
        reached: Verified { commits: u64::from(state.index.len()), head: state.index.head(), chain: state.chain },
        time: state.index.time(),
        versions: state.index.versions().collect(),
    };
    let scanned = scan(store, start, Position::MAX, &mut |first, commit, chain| {
        commit.check_schemas().map_err(|error| Defect::Unreadable(error.to_string()))?;
        let begins_frame = frame != Some(first);
        if begins_frame {
            frame = Some(first);
            state.add_frame(first, state.index.len());
        }
        let events = || commit.events.iter().map(|event| (event.stream, &event.tags[..]));
        if let Some(checkpoint) = &mut checkpoint {
            if begins_frame {
                checkpoint.write_if_due(state.chain);
            }
            checkpoint.add(begins_frame, commit.at, commit.provenance.command_id, events());
        }
        state.chain = *chain;
        state.index.add(commit.last(), commit.at, commit.provenance.command_id, events());
        Ok(())
    });
    let scanned = scanned.map_err(|(position, fault)| match fault {
        Fault::Store(error) => OpenError::Store(error),
        Fault::Defect(Defect::Damaged(why)) => OpenError::Broken(Broken { position, why }),
        Fault::Defect(Defect::Unreadable(why)) => OpenError::Unreadable { position, why },
    })?;
    let head = store.head()?;
    if head != scanned.head {
        let why = format!("is missing, though the store says that the log ends at {head}");
        return Err(Broken { position: scanned.head + 1, why }.into());
    }
    state.durable = state.index.len();
    state.chain = scanned.chain;
    if let Some(checkpoint) = &mut checkpoint {
        checkpoint.write_if_due(state.chain);
    }
    Ok((state, checkpoint))
}
