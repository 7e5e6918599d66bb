//! What is measured of a node: its commands, its log and its agents, for `/metrics`.

use super::Node;
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use switchback_bus::{Bus, Caller, CommandReply, Histogram, QueryRequest, Refusal, Sample, message, metric};
use switchback_events::Position;
use switchback_journal::{Frame, FrameStore, StoreError};

/// The commands that were carried out, by name.
#[derive(Default)]
pub(super) struct Commands {
    by_name: Mutex<BTreeMap<&'static str, Ended>>,
}

/// Of one command.
#[derive(Default)]
struct Ended {
    outcomes: BTreeMap<String, u64>,
    took: Histogram,
}

impl Commands {
    /// One more ended. What is no message is none of them: nobody makes up names here.
    pub(super) fn note(&self, name: &str, ended: &Result<CommandReply, Refusal>, took: Duration) {
        let Ok(message) = message(name) else { return };
        let outcome = ended.as_ref().map_or_else(|refusal| refusal.code.to_string(), |_| "done".to_string());
        let mut commands = self.by_name.lock();
        let command = commands.entry(message.name).or_default();
        *command.outcomes.entry(outcome).or_default() += 1;
        command.took.observe(took);
    }

    fn samples(&self, samples: &mut Vec<Sample>) {
        for (name, ended) in self.by_name.lock().iter() {
            for (outcome, count) in &ended.outcomes {
                samples.push(Sample::of(metric::COMMANDS, &[name, outcome], *count));
            }
            samples.push(Sample::times(metric::COMMAND_DURATION, &[name], &ended.took));
        }
    }
}

/// How long writes took, and how much was written.
#[derive(Default)]
pub(super) struct Writes {
    took: Histogram,
    bytes: AtomicU64,
}

/// A frame store whose writes are measured.
pub(super) struct Measured {
    store: Arc<dyn FrameStore>,
    writes: Arc<Writes>,
}

impl Measured {
    pub(super) fn new(store: Arc<dyn FrameStore>, writes: Arc<Writes>) -> Measured {
        Measured { store, writes }
    }
}

impl FrameStore for Measured {
    fn append(&self, expected_head: Position, frames: &[Frame]) -> Result<(), StoreError> {
        let begin = Instant::now();
        let done = self.store.append(expected_head, frames);
        self.writes.took.observe(begin.elapsed());
        let bytes = frames.iter().map(|frame| frame.bytes.len() as u64).sum();
        self.writes.bytes.fetch_add(bytes, Ordering::Relaxed);
        done
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

    fn seal(&self, upto: Position) -> Result<Position, StoreError> {
        self.store.seal(upto)
    }

    fn unsealed_bytes(&self) -> u64 {
        self.store.unsealed_bytes()
    }

    fn check(&self) -> Result<(), StoreError> {
        self.store.check()
    }

    fn dir(&self) -> Option<&Path> {
        self.store.dir()
    }
}

impl Node {
    pub(super) async fn measured(&self) -> Vec<Sample> {
        let mut samples = vec![];
        self.commands.samples(&mut samples);
        let (durable, shown) = (self.journal.durable(), self.projections.position());
        let writable = u64::from(self.journal.read_only().is_none());
        samples.extend([
            Sample::number(metric::JOURNAL_HEAD, self.journal.head()),
            Sample::number(metric::JOURNAL_DURABLE, durable),
            Sample::number(metric::JOURNAL_WRITABLE, writable),
            Sample::times(metric::JOURNAL_SYNC, &[], &self.writes.took),
            Sample::number(metric::JOURNAL_BYTES, self.writes.bytes.load(Ordering::Relaxed)),
            Sample::number(metric::INVENTORIES_POSITION, shown),
            Sample::number(metric::INVENTORIES_LAG, durable.saturating_sub(shown)),
            Sample::number(metric::SESSIONS, self.live_sessions()),
            Sample::number(metric::STATES, self.states().loaded() as u64),
            Sample::number(metric::RESTARTS, self.registry.restarts()),
        ]);
        let itself = Caller::administrator("system:metrics");
        for (role, query) in [("host", "QueryHost"), ("router", "QueryVirtualRouterVm")] {
            for status in ["Connecting", "Connected", "Disconnected"] {
                let count = QueryRequest {
                    name: query.to_string(),
                    q: vec![format!("status={status}")],
                    count: true,
                    ..QueryRequest::default()
                };
                if let Ok(found) = self.query(&itself, count).await {
                    samples.push(Sample::of(metric::AGENTS, &[role, status], found.total.unwrap_or_default()));
                }
            }
        }
        self.service_traffic(&mut samples).await;
        samples.extend(self.beside.lock().iter().flat_map(|part| part.metrics()));
        samples
    }
}
