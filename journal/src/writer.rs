//! The writer: a thread that takes all commits that wait, packs them into frames, appends these to the store in one
//! durable step, announces how far the log is durable, and begins again.
//!
//! **Invariant:** after the first error nothing is written any more, and a sync is never tried again: what the
//! disk did with the failed write cannot be known until the log is opened anew.
//!
//! A [`Stepper`] does the same without a thread, when its owner says so.

use crate::checkpoint::Checkpoint;
use crate::pace::Pace;
use crate::record::{Hash, Packer};
use crate::state::{Queued, Shared, State};
use crate::store::StoreError;
use std::{
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};
use switchback_events::Position;

const GROUP_COMMITS_MAX: usize = 512;
const GROUP_BYTES_MAX: usize = 1024 * 1024;

/// Why a group could not be written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("encode a commit: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
}

/// Commits to be written in one step, and what they come after.
struct Group {
    head: Position,
    chain: Hash,
    commits: Vec<Arc<Queued>>,
}

/// Runs until the journal is closed or a write fails.
pub(crate) fn run(shared: &Arc<Shared>, checkpoint: Option<Checkpoint>) {
    let _on_panic = OnPanic { shared };
    let mut beside = Beside { shared: shared.clone(), checkpoint, sealer: None };
    let mut pace = Pace::default();
    loop {
        match next_group(shared, beside.due_in(), &pace) {
            Next::Group(group) => {
                let begin = Instant::now();
                if !write_durably(&mut beside, &group) {
                    return;
                }
                pace = Pace { commits: group.commits.len(), took: begin.elapsed() };
            }
            Next::Nothing => {}
            Next::Closing => return beside.finish(),
        }
        beside.keep();
    }
}

/// The writer of a journal that has no writer thread: nothing gets to the disk but by [`Stepper::step`]. For whoever
/// must decide himself when that is, such as a simulation that is to go the same way twice.
pub struct Stepper {
    beside: Beside,
}

impl Stepper {
    pub(crate) fn new(shared: Arc<Shared>, checkpoint: Option<Checkpoint>) -> Stepper {
        Stepper { beside: Beside { shared, checkpoint, sealer: None } }
    }

    /// Writes the commits that wait, as many as go into one group, as the thread would do it. Says whether there is
    /// nothing more to write: nothing waits, or the journal takes no more writes.
    pub fn step(&mut self) -> bool {
        let group = take_group(&mut self.beside.shared.state.lock());
        if let Some(group) = group
            && write_durably(&mut self.beside, &group)
        {
            self.beside.keep();
        }
        self.beside.shared.state.lock().queue.is_empty()
    }

    /// Writes all that waits, and what is kept beside the log, as closing a journal with a thread does.
    pub fn finish(mut self) {
        while !self.step() {}
        if self.beside.shared.state.lock().read_only.is_none() {
            self.beside.finish();
        }
    }
}

enum Next {
    Group(Group),
    /// Nothing came for as long as was asked.
    Nothing,
    Closing,
}

/// What is kept beside the log: the index checkpoint and the signed heads. Never in the way of a commit.
struct Beside {
    shared: Arc<Shared>,
    checkpoint: Option<Checkpoint>,
    sealer: Option<JoinHandle<()>>,
}

impl Drop for Beside {
    /// The store is let go of only when nobody uses it.
    fn drop(&mut self) {
        if self.sealer.take().is_some_and(|sealer| sealer.join().is_err()) {
            tracing::error!("the sealer panicked");
        }
    }
}

impl Beside {
    /// When something is next due, from now.
    fn due_in(&self) -> Option<Duration> {
        let checkpoint = self.checkpoint.as_ref().and_then(Checkpoint::due_in);
        let heads = self.shared.heads.as_ref().and_then(|heads| heads.lock().due_in());
        [checkpoint, heads].into_iter().flatten().min()
    }

    fn note(&mut self, group: &Group, packed: &Packer) {
        if let Some(heads) = &self.shared.heads {
            heads.lock().note(group.commits.len() as u32);
        }
        let Some(checkpoint) = &mut self.checkpoint else { return };
        let firsts = packed.frames.iter().map(|frame| frame.first);
        let mut firsts = firsts.peekable();
        for queued in &group.commits {
            let commit = &queued.commit;
            let first = commit.events.first().map_or(0, |event| event.position);
            let begins_frame = firsts.next_if_eq(&first).is_some();
            let events = commit.events.iter().map(|event| (event.stream, &event.tags[..]));
            checkpoint.add(begins_frame, commit.at, commit.provenance.command_id, events);
        }
    }

    fn keep(&mut self) {
        let shared = self.shared.clone();
        let head = || {
            let state = shared.state.lock();
            (state.durable_position(), state.durable_time(), state.chain)
        };
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.write_if_due(head().2);
        }
        self.seal(head().0);
        if let Some(heads) = &self.shared.heads {
            let mut heads = heads.lock();
            if heads.is_due() {
                let (position, at, chain) = head();
                heads.sign(position, at, chain);
            }
        }
    }

    /// Seals what came together, on a thread of its own. What fails is not tried again before the next open.
    fn seal(&mut self, upto: Position) {
        let shared = &self.shared;
        if shared.store.unsealed_bytes() < shared.options.segment_bytes || shared.sealing.swap(true, Ordering::AcqRel) {
            return;
        }
        let sealer = std::thread::Builder::new().name("journal-sealer".to_string());
        let spawned = sealer.spawn({
            let shared = shared.clone();
            move || match shared.store.seal(upto) {
                Ok(_) => shared.sealing.store(false, Ordering::Release),
                Err(error) => tracing::warn!(%error, "frames cannot be sealed"),
            }
        });
        match spawned {
            Ok(sealer) => self.sealer = Some(sealer),
            Err(error) => tracing::warn!(%error, "start the sealer"),
        }
    }

    fn finish(mut self) {
        let (position, at, chain) = {
            let state = self.shared.state.lock();
            (state.durable_position(), state.durable_time(), state.chain)
        };
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.write(chain);
        }
        if let Some(heads) = &self.shared.heads
            && position > 0
        {
            heads.lock().sign(position, at, chain);
        }
    }
}

/// Waits for commits, at most for `timeout`; for ever when there is none.
fn next_group(shared: &Shared, timeout: Option<Duration>, pace: &Pace) -> Next {
    let mut state = shared.state.lock();
    while state.queue.is_empty() {
        if state.closing {
            return Next::Closing;
        }
        match timeout {
            None => shared.work.wait(&mut state),
            Some(timeout) if shared.work.wait_for(&mut state, timeout).timed_out() => return Next::Nothing,
            Some(_) => {}
        }
    }
    pace.linger(&shared.work, &mut state);
    take_group(&mut state).map_or(Next::Nothing, Next::Group)
}

/// The first of the commits that wait.
fn take_group(state: &mut State) -> Option<Group> {
    let mut commits = Vec::new();
    let mut bytes = 0;
    while commits.len() < GROUP_COMMITS_MAX && bytes < GROUP_BYTES_MAX {
        let Some(queued) = state.queue.pop_front() else { break };
        bytes += queued.bytes();
        commits.push(queued);
    }
    (!commits.is_empty()).then(|| Group { head: state.durable_position(), chain: state.chain, commits })
}

/// Writes a group and tells everybody, or makes the journal read-only. Says whether the log is writable still.
fn write_durably(beside: &mut Beside, group: &Group) -> bool {
    match write(&beside.shared, group) {
        Ok(packed) => {
            // The clients first; what is beside the log can wait.
            advance(&beside.shared, &packed);
            beside.note(group, &packed);
            true
        }
        Err(error) => {
            fail(&beside.shared, &error.to_string());
            false
        }
    }
}

fn write(shared: &Shared, group: &Group) -> Result<Packer, WriteError> {
    let mut packer = Packer::new(group.chain);
    for queued in &group.commits {
        let first = queued.commit.events.first().map_or(0, |event| event.position);
        packer.add_commit(first, queued.commit.last_position(), &queued.body()?);
    }
    shared.store.append(group.head, &packer.frames)?;
    Ok(packer)
}

fn advance(shared: &Shared, packed: &Packer) {
    let mut state = shared.state.lock();
    for (frame, count) in packed.frames.iter().zip(&packed.counts) {
        let begin = state.durable;
        state.add_frame(frame.first, begin);
        state.durable += count;
    }
    state.chain = packed.chain;
    let durable = state.durable_position();
    drop(state);
    shared.durability.advance(durable);
    shared.progress.send_modify(|progress| progress.durable = durable);
    shared.advanced.notify_all();
}

fn fail(shared: &Shared, why: &str) {
    tracing::error!(why, "the journal is read-only from now on");
    let mut state = shared.state.lock();
    let why: Arc<str> = why.into();
    state.read_only = Some(why.clone());
    state.roll_back();
    drop(state);
    shared.durability.end(&why);
    shared.progress.send_modify(|progress| progress.ended = Some(why));
    shared.advanced.notify_all();
}

/// Makes the journal read-only when the writer panics.
struct OnPanic<'s> {
    shared: &'s Shared,
}

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            fail(self.shared, "the writer panicked");
        }
    }
}
