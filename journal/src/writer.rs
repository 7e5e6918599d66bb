//! The writer thread: takes all commits that wait, packs them into frames, appends these to the store in one
//! durable step, announces how far the log is durable, and begins again.
//!
//! **Invariant:** after the first error nothing is written any more, and a sync is never tried again: what the
//! disk did with the failed write cannot be known until the log is opened anew.

use crate::record::{Hash, Packer};
use crate::state::{Queued, Shared};
use crate::store::StoreError;
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
    commits: Vec<Queued>,
}

/// Runs until the journal is closed or a write fails.
pub(crate) fn run(shared: &Shared) {
    let _on_panic = OnPanic { shared };
    while let Some(group) = next_group(shared) {
        match write(shared, &group) {
            Ok(packed) => advance(shared, packed),
            Err(error) => return fail(shared, &error.to_string()),
        }
    }
}

/// Waits for commits. `None` when the journal is closing and all are written.
fn next_group(shared: &Shared) -> Option<Group> {
    let mut state = shared.state.lock();
    while state.queue.is_empty() {
        if state.closing {
            return None;
        }
        shared.work.wait(&mut state);
    }
    let mut commits = Vec::new();
    let mut bytes = 0;
    while commits.len() < GROUP_COMMITS_MAX && bytes < GROUP_BYTES_MAX {
        let Some(queued) = state.queue.pop_front() else { break };
        bytes += queued.payloads.iter().map(Vec::len).sum::<usize>();
        commits.push(queued);
    }
    Some(Group { head: state.durable_position(), chain: state.chain, commits })
}

fn write(shared: &Shared, group: &Group) -> Result<Packer, WriteError> {
    let mut packer = Packer::new(group.chain);
    for queued in &group.commits {
        packer.add(&queued.commit, &queued.payloads)?;
    }
    shared.store.append(group.head, &packer.frames)?;
    Ok(packer)
}

fn advance(shared: &Shared, packed: Packer) {
    let mut state = shared.state.lock();
    for (frame, count) in packed.frames.iter().zip(&packed.counts) {
        let begin = state.durable;
        state.add_frame(frame.first, begin);
        state.durable += count;
    }
    state.chain = packed.chain;
    state.trim(shared.options.recent);
    let durable = state.durable_position();
    drop(state);
    shared.progress.send_modify(|progress| progress.durable = durable);
    shared.advanced.notify_all();
}

fn fail(shared: &Shared, why: &str) {
    tracing::error!(why, "the journal is read-only from now on");
    let mut state = shared.state.lock();
    state.read_only = Some(why.into());
    state.roll_back();
    drop(state);
    shared.progress.send_modify(|progress| progress.ended = Some(why.into()));
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
