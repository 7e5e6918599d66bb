//! Reading: of streams including what is only sequenced, for deciders; of everything else only what is durable.
//!
//! The mutex is held to look up places, never to read the store.

use crate::Journal;
use crate::index::Ordinal;
use crate::record::Defect;
use crate::state::Source;
use crate::store::StoreError;
use std::{ops::Range, sync::Arc};
use switchback_events::{Commit, Id, Micros, Position, Recorded, StreamKey, Version};

/// How many places are looked up at a time.
const PLACES_AT_ONCE: usize = 1024;

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A frame is not what was written.
    #[error("a commit in the frame at position {frame} {why}")]
    Damaged {
        /// The first position of the frame.
        frame: Position,
        /// What is wrong.
        why: String,
    },
    /// A frame was written by a later version of this program.
    #[error("a commit in the frame at position {frame} cannot be read by this program: {why}")]
    Unreadable {
        /// The first position of the frame.
        frame: Position,
        /// What it is that this program does not know.
        why: String,
    },
    /// The journal was closed, so nothing more will come.
    #[error("the journal was closed")]
    Closed,
}

impl ReadError {
    pub(crate) fn damaged(frame: Position, why: &str) -> ReadError {
        ReadError::Damaged { frame, why: why.to_string() }
    }

    pub(crate) fn from_defect(frame: Position, defect: Defect) -> ReadError {
        match defect {
            Defect::Damaged(why) => ReadError::Damaged { frame, why },
            Defect::Unreadable(why) => ReadError::Unreadable { frame, why },
        }
    }
}

impl Journal {
    /// The events of `stream` above version `after`, with their commits' times, **including** those that are
    /// sequenced and not yet durable.
    pub fn read_stream(&self, stream: StreamKey, after: Version) -> Result<Vec<(Micros, Recorded)>, ReadError> {
        let sources: Vec<Source> = {
            let state = self.shared().state.lock();
            state.index.commits_of(stream, after).map(|commit| state.find(commit)).collect()
        };
        let mut found = Vec::new();
        for source in sources {
            let commit = self.load(source)?;
            let events = commit.events.iter().filter(|event| event.stream == stream && event.version > after);
            found.extend(events.map(|event| (commit.at, event.clone())));
        }
        Ok(found)
    }

    /// The first event of `stream`, once it is durable.
    pub fn first_event(&self, stream: StreamKey) -> Result<Option<Recorded>, ReadError> {
        let source = {
            let state = self.shared().state.lock();
            let first = state.index.commits_of(stream, 0).next().filter(|commit| *commit < state.durable);
            first.map(|commit| state.find(commit))
        };
        let Some(source) = source else { return Ok(None) };
        Ok(self.load(source)?.events.iter().find(|event| event.stream == stream).cloned())
    }

    /// At most `max_commits` durable commits that hold positions above `after`, in order.
    pub fn read(&self, after: Position, max_commits: usize) -> Result<Vec<Arc<Commit>>, ReadError> {
        let sources: Vec<Source> = {
            let state = self.shared().state.lock();
            let from = state.index.commit_after(after);
            (from..state.durable).take(max_commits).map(|commit| state.find(commit)).collect()
        };
        sources.into_iter().map(|source| self.load(source)).collect()
    }

    /// Gives `f` the durable commits that have an event with any of `tags` and hold a position in
    /// `after + 1 ..= upto`: each once, whole, in order.
    pub fn read_tagged(
        &self,
        tags: &[Id],
        after: Position,
        upto: Position,
        f: &mut dyn FnMut(&Arc<Commit>),
    ) -> Result<(), ReadError> {
        for commits in self.tagged(tags, after, upto).chunks(PLACES_AT_ONCE) {
            for source in self.sources(commits) {
                f(&self.load(source)?);
            }
        }
        Ok(())
    }

    /// The durable commits that have an event with any of `tags` and hold a position in `after + 1 ..= upto`.
    pub(crate) fn tagged(&self, tags: &[Id], after: Position, upto: Position) -> Vec<Ordinal> {
        let durable = self.between(after, upto);
        let mut commits = Vec::new();
        {
            let state = self.shared().state.lock();
            for tag in tags {
                let tagged = state.index.commits_tagged(*tag, durable.start);
                commits.extend_from_slice(&tagged[..tagged.partition_point(|commit| *commit < durable.end)]);
            }
        }
        // They are runs in order, which this sort only merges.
        commits.sort();
        commits.dedup();
        commits
    }

    /// The durable commits that hold a position in `after + 1 ..= upto`.
    pub(crate) fn between(&self, after: Position, upto: Position) -> Range<Ordinal> {
        let state = self.shared().state.lock();
        let end = match upto.checked_sub(1) {
            Some(before) => state.durable.min(state.index.commit_after(before).saturating_add(1)),
            None => 0,
        };
        state.index.commit_after(after)..end
    }

    pub(crate) fn sources(&self, commits: &[Ordinal]) -> Vec<Source> {
        let state = self.shared().state.lock();
        commits.iter().map(|commit| state.find(*commit)).collect()
    }

    /// The durable commit that holds `position`.
    pub fn commit_at(&self, position: Position) -> Result<Option<Arc<Commit>>, ReadError> {
        let source = {
            let state = self.shared().state.lock();
            if position == 0 || position > state.durable_position() {
                return Ok(None);
            }
            state.find(state.index.commit_after(position - 1))
        };
        self.load(source).map(Some)
    }

    /// The last durable position that was committed at or before `time`.
    pub fn position_at(&self, time: Micros) -> Position {
        let state = self.shared().state.lock();
        match state.index.commits_until(time).min(state.durable) {
            0 => 0,
            commits => state.index.last_position(commits - 1),
        }
    }

    /// The last positions of the durable commits that have an event with `tag`.
    pub fn tagged_positions(&self, tag: Id) -> Vec<Position> {
        let state = self.shared().state.lock();
        let commits = state.index.commits_tagged(tag, 0).iter();
        commits.take_while(|commit| **commit < state.durable).map(|commit| state.index.last_position(*commit)).collect()
    }

    pub(crate) fn load(&self, source: Source) -> Result<Arc<Commit>, ReadError> {
        match source {
            Source::Recent(commit) => Ok(commit),
            Source::Stored { frame, place } => {
                let shared = self.shared();
                shared.cache.commit(&*shared.store, frame, place)
            }
        }
    }
}
