//! The handle on the log: opening, closing, and where the log stands. Appending is in `append.rs`, reading in
//! `read.rs`.

use crate::frame_cache::FrameCache;
use crate::progress::{Progress, ReadOnly, wait_durable};
use crate::record::{Defect, Hash};
use crate::state::{Heads, Shared, State};
use crate::store::{FrameStore, StoreError};
use crate::verify::{Broken, Fault, scan};
use crate::writer;
use parking_lot::{Condvar, Mutex};
use std::{sync::Arc, thread::JoinHandle};
use switchback_events::{Id, Position, StreamKey, StreamKind, Version};
use tokio::sync::watch;

/// The limits of a journal.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many commits may wait for the disk before appends are refused as busy.
    pub max_pending: usize,
    /// How many of the last commits are kept decoded, for live readers.
    pub recent: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { max_pending: 4096, recent: 4096 }
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
    /// Reads the whole log, checks CRCs, chain, positions and versions, builds the indexes, starts the writer.
    pub fn open(store: Arc<dyn FrameStore>, options: Options) -> Result<Journal, OpenError> {
        let state = load(&*store)?;
        let progress = Progress { durable: state.durable_position(), ..Progress::default() };
        let shared = Arc::new(Shared {
            store,
            options,
            state: Mutex::new(state),
            work: Condvar::new(),
            advanced: Condvar::new(),
            progress: watch::Sender::new(progress),
            cache: FrameCache::default(),
        });
        let writer = std::thread::Builder::new().name("journal-writer".to_string());
        let writer = writer.spawn({
            let shared = shared.clone();
            move || writer::run(&shared)
        });
        let writer = Mutex::new(Some(writer.map_err(OpenError::Thread)?));
        Ok(Journal { handle: Arc::new(Handle { shared, writer }) })
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
        self.shared().progress.borrow().durable
    }

    /// The sequenced streams of `kind`, in the order of their first events.
    pub fn streams(&self, kind: StreamKind) -> Vec<Id> {
        self.shared().state.lock().index.streams(kind)
    }

    /// Waits until `position` is on disk.
    pub fn wait_durable(&self, position: Position) -> impl Future<Output = Result<(), ReadOnly>> + Send + use<> {
        wait_durable(self.shared().progress.subscribe(), position)
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

/// Builds the state from the log.
fn load(store: &dyn FrameStore) -> Result<State, OpenError> {
    let mut state = State::new();
    let mut frame = None;
    let scanned = scan(store, Position::MAX, &mut |first, commit| {
        commit.check_schemas().map_err(|error| Defect::Unreadable(error.to_string()))?;
        if frame != Some(first) {
            frame = Some(first);
            state.add_frame(first, state.index.len());
        }
        let events = commit.events.iter().map(|event| (event.stream, event.version, &event.tags[..]));
        state.index.add(commit.last(), commit.at, commit.provenance.command_id, events);
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
    Ok(state)
}
