//! What the journal's tests share: proposals, a store that fails on demand, a way to wait.
#![allow(dead_code)]

pub mod disk;
pub mod load;
pub mod random;

pub use random::Random;

use parking_lot::{Mutex, MutexGuard};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use switchback_events::*;
use switchback_journal::*;

pub fn zone(name: &str) -> StreamKey {
    StreamKey::new(StreamKind::Zone, Id::of_name(name))
}

pub fn created(name: &str) -> Event {
    Event::Zone(ZoneEvent::Created { name: name.to_string(), description: None, is_default: false })
}

pub fn deleted() -> Event {
    Event::Zone(ZoneEvent::Deleted {})
}

pub fn cluster_in(zone: StreamKey) -> Event {
    let (description, hypervisor_type) = (None, HypervisorType::Simulator);
    Event::Cluster(ClusterEvent::Created { zone: ZoneId(zone.id), name: "c".into(), description, hypervisor_type })
}

pub fn proposal(command: &str, events: Vec<(StreamKey, Event)>) -> Proposal {
    let command_id = CommandId(Id::of_name(command));
    let provenance = Provenance {
        command_id,
        command: "CreateZone".to_string(),
        body: Id::of_name("body"),
        principal: "admin".to_string(),
        credential: None,
        origin: Origin::Api,
        causation: None,
        correlation: command_id.0,
        reason: Some("a test".to_string()),
    };
    Proposal { at: 1_000, provenance, reads: Vec::new(), events }
}

pub fn append(journal: &Journal, proposal: Proposal) -> Result<Appended, AppendError> {
    journal.append(proposal, || true, |_| {})
}

/// Appends one event to `stream` by a command of a name of its own, and waits for the disk.
pub fn add(journal: &Journal, command: &str, stream: StreamKey) -> Arc<Commit> {
    let appended = append(journal, proposal(command, vec![(stream, created(command))])).unwrap();
    wait(appended.durable()).unwrap()
}

pub fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// The usual number of rounds of a test, or with `SWITCHBACK_FULL=1` the full one.
pub fn rounds(usual: usize, full: usize) -> usize {
    if std::env::var_os("SWITCHBACK_FULL").is_some() { full } else { usual }
}

pub fn memory() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::default())
}

pub fn open(store: Arc<dyn FrameStore>) -> Journal {
    Journal::open(store, Options::default()).unwrap()
}

/// A memory store whose appends can be held back, and can fail.
#[derive(Default)]
pub struct Faulty {
    pub store: MemoryStore,
    pub fail: AtomicBool,
    gate: Mutex<()>,
}

impl Faulty {
    /// Holds back appends while the guard lives.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        self.gate.lock()
    }
}

impl FrameStore for Faulty {
    fn append(&self, expected_head: Position, frames: &[Frame]) -> Result<(), StoreError> {
        let _open = self.gate.lock();
        if self.fail.load(Ordering::SeqCst) {
            return Err(StoreError::Io { doing: "sync frames", why: "No space left on device".to_string() });
        }
        self.store.append(expected_head, frames)
    }
    fn read_from(&self, after: Position, max_frames: usize) -> Result<Vec<Frame>, StoreError> {
        self.store.read_from(after, max_frames)
    }
    fn frame_at(&self, first: Position) -> Result<Option<Frame>, StoreError> {
        self.store.frame_at(first)
    }
    fn head(&self) -> Result<Position, StoreError> {
        self.store.head()
    }
}
