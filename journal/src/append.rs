//! Appending: a proposal is checked against the sequenced heads and given its place, in microseconds and under
//! one mutex; the writer thread makes it durable later.
//!
//! **Invariant:** checks and sequencing are one step, so no commit rests on a version that has moved.

use crate::Journal;
use crate::durability::Durability;
use crate::progress::ReadOnly;
use crate::read::ReadError;
use crate::record::COMMIT_BYTES_MAX;
use crate::state::State;
use std::{fmt, sync::Arc};
use switchback_events::{
    CodecError, CommandId, Commit, Event, Id, Micros, Provenance, Recorded, StreamKey, StreamKind, Version,
};

/// All the events of one command, on one or several streams, to be appended as one.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// When it was decided. The commit's time is this, or the previous commit's if that is later.
    pub at: Micros,
    /// Who, why, as a part of what.
    pub provenance: Provenance,
    /// The versions that the decision rests on: appended only if they are still so.
    pub reads: Vec<(StreamKey, Version)>,
    /// What happens to which stream, in order.
    pub events: Vec<(StreamKey, Event)>,
}

/// A commit that has its place in the log, and may not be durable yet.
#[derive(Clone)]
pub struct Appended {
    /// The commit.
    pub commit: Arc<Commit>,
    /// Whether the command had been done before, and this is what came of it then.
    pub repeated: bool,
    durability: Arc<Durability>,
}

impl fmt::Debug for Appended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appended").field("commit", &self.commit).field("repeated", &self.repeated).finish()
    }
}

impl Appended {
    /// Waits until the commit is on disk.
    pub async fn durable(self) -> Result<Arc<Commit>, ReadOnly> {
        self.durability.wait(self.commit.last_position()).await?;
        Ok(self.commit)
    }
}

/// Why a proposal was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// A stream that the decision rests on has moved: decide again.
    #[error("{stream} is at version {actual}, not {expected}")]
    Conflict {
        /// The first such stream.
        stream: StreamKey,
        /// The version that was read.
        expected: Version,
        /// The version that it has.
        actual: Version,
    },
    /// The caller's own validation said no: decide again.
    #[error("the decision rests on facts that have changed")]
    Stale,
    /// Too many commits wait for the disk: try later.
    #[error("the journal is busy: too many commits wait for the disk")]
    Busy,
    /// Nothing can be appended any more.
    #[error("the journal is read-only: {0}")]
    ReadOnly(String),
    /// The command's id was used before, with another body.
    #[error("command {0} was sent before with other parameters")]
    OtherBody(CommandId),
    /// There are no events.
    #[error("a commit needs at least one event")]
    Empty,
    /// The events cannot be stored.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// What came of the command the first time could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why events cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// An event has no encoding.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The event is of another kind than the stream.
    #[error("an event of {} does not belong to stream {stream}", event.stem())]
    Stream {
        /// The stream.
        stream: StreamKey,
        /// What the event is of.
        event: StreamKind,
    },
    /// The commit is too large.
    #[error("a commit of {bytes} bytes is larger than {COMMIT_BYTES_MAX}")]
    TooLarge {
        /// The size of its events.
        bytes: usize,
    },
}

impl Journal {
    /// Gives `proposal` its place in the log. Microseconds; never waits for the disk.
    ///
    /// In this order: a command that was done before gives its first outcome; a read-only and then a busy
    /// journal refuse; every version in `reads` must be the sequenced one; `validate` must say yes. Then the
    /// events get positions and versions, and `sequenced` runs, where the caller evolves what it decides on.
    /// `validate` and `sequenced` run under the sequencing mutex: they must be short and must not use the journal.
    pub fn append(
        &self,
        proposal: Proposal,
        validate: impl FnOnce() -> bool,
        sequenced: impl FnOnce(&Arc<Commit>),
    ) -> Result<Appended, AppendError> {
        let (id, body) = (proposal.provenance.command_id, proposal.provenance.body);
        let payloads = encode(&proposal.events);
        let shared = self.shared();
        let mut state = shared.state.lock();
        if state.index.command(id).is_some() {
            drop(state);
            return self.lookup(id, body)?.ok_or_else(|| AppendError::ReadOnly("its outcome was lost".to_string()));
        }
        let payloads = payloads?;
        check(&state, &proposal, shared.options.max_pending)?;
        if !validate() {
            return Err(AppendError::Stale);
        }
        let commit = Arc::new(place(&state, proposal));
        let (queued, _dropped_last) = state.sequence(commit.clone(), payloads, shared.options.recent);
        // Queued and announced first, so that the log is whole even if `sequenced` panics.
        if state.queue.len() >= state.wanted {
            shared.work.notify_one();
        }
        sequenced(&commit);
        drop(state);
        queued.prepare();
        Ok(Appended { commit, repeated: false, durability: shared.durability.clone() })
    }

    /// The outcome of an earlier command with this id, which may not be durable yet.
    ///
    /// # Errors
    /// [`AppendError::OtherBody`] when that command had another body.
    pub fn lookup(&self, id: CommandId, body: Id) -> Result<Option<Appended>, AppendError> {
        let source = {
            let state = self.shared().state.lock();
            state.index.command(id).map(|commit| state.find(commit))
        };
        let Some(source) = source else { return Ok(None) };
        let commit = self.load(source)?;
        if commit.provenance.body != body {
            return Err(AppendError::OtherBody(id));
        }
        Ok(Some(Appended { commit, repeated: true, durability: self.shared().durability.clone() }))
    }
}

fn encode(events: &[(StreamKey, Event)]) -> Result<Vec<Vec<u8>>, AppendError> {
    if events.is_empty() {
        return Err(AppendError::Empty);
    }
    let mut payloads = Vec::with_capacity(events.len());
    for (stream, event) in events {
        if stream.kind != event.stream_kind() {
            return Err(EncodeError::Stream { stream: *stream, event: event.stream_kind() }.into());
        }
        payloads.push(event.encode().map_err(EncodeError::Codec)?);
    }
    let bytes = payloads.iter().map(Vec::len).sum();
    if bytes > COMMIT_BYTES_MAX {
        return Err(EncodeError::TooLarge { bytes }.into());
    }
    Ok(payloads)
}

fn check(state: &State, proposal: &Proposal, max_pending: usize) -> Result<(), AppendError> {
    if let Some(why) = &state.read_only {
        return Err(AppendError::ReadOnly(why.to_string()));
    }
    if state.pending() >= max_pending {
        return Err(AppendError::Busy);
    }
    for (stream, expected) in &proposal.reads {
        let actual = state.index.version(*stream);
        if actual != *expected {
            return Err(AppendError::Conflict { stream: *stream, expected: *expected, actual });
        }
    }
    Ok(())
}

/// The commit that `proposal` becomes: contiguous positions, contiguous versions in every stream.
fn place(state: &State, proposal: Proposal) -> Commit {
    let mut events: Vec<Recorded> = Vec::with_capacity(proposal.events.len());
    for (position, (stream, event)) in (state.index.head() + 1..).zip(proposal.events) {
        let earlier = events.iter().rev().find(|earlier| earlier.stream == stream);
        let version = earlier.map_or_else(|| state.index.version(stream), |earlier| earlier.version) + 1;
        let tags = event.tags(stream);
        events.push(Recorded { position, stream, version, event, tags });
    }
    let at = proposal.at.max(state.index.time());
    Commit { at, provenance: proposal.provenance, reads: proposal.reads, events }
}
