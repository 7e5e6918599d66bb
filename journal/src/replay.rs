//! Replay of what a fold asks for: only such events are decoded, and on several cores where they are many.
//!
//! ```text
//!  commits by tag ──► groups ──► thread 0: groups 0, n, 2n …     ──► one channel each ──► asked in turn, in order
//!                           └──► thread 1: groups 1, n+1, 2n+1 … ──►
//! ```

use crate::frame_cache::OpenFrame;
use crate::index::Ordinal;
use crate::record::{EventHead, Wanted};
use crate::state::Source;
use crate::{Journal, ReadError};
use std::ops::ControlFlow;
use std::sync::{Arc, mpsc::sync_channel};
use switchback_events::{Id, Position, Recorded};

/// How many commits are decoded at a time.
const GROUP_COMMITS: usize = 512;
/// How many decoded groups of each thread wait to be taken.
const GROUPS_AHEAD: usize = 2;
const THREADS_MAX: usize = 4;

impl Journal {
    /// Gives `f`, in order and until it breaks, the durable events at positions in `after + 1 ..= upto`: those with any
    /// of `tags`, or all. It may leave out any that are not `wanted`, which saves decoding them.
    ///
    /// # Errors
    /// A log that cannot be read, after the events before that place were given.
    pub fn replay(
        &self,
        tags: Option<&[Id]>,
        after: Position,
        upto: Position,
        wanted: &(dyn Fn(&EventHead<'_>) -> bool + Sync),
        f: &mut dyn FnMut(Recorded) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let commits = match tags {
            Some(tags) => self.tagged(tags, after, upto),
            None => self.between(after, upto).collect(),
        };
        let groups: Vec<&[Ordinal]> = commits.chunks(GROUP_COMMITS).collect();
        let wanted = Wanted { tags, positions: after.saturating_add(1)..=upto, heads: wanted };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = groups.len().min(cores).min(THREADS_MAX);
        if threads < 2 {
            for group in groups {
                if self.events_of(group, &wanted)?.into_iter().try_for_each(&mut *f).is_break() {
                    break;
                }
            }
            Ok(())
        } else {
            self.replay_on(threads, &groups, &wanted, f)
        }
    }

    fn replay_on(
        &self,
        threads: usize,
        groups: &[&[Ordinal]],
        wanted: &Wanted<'_>,
        f: &mut dyn FnMut(Recorded) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        std::thread::scope(|scope| {
            let decoder = |thread: usize| {
                let (sender, decoded) = sync_channel(GROUPS_AHEAD);
                scope.spawn(move || {
                    // It ends when nobody takes what it decodes any more, or with the first failure.
                    groups.iter().skip(thread).step_by(threads).try_for_each(|group| {
                        let events = self.events_of(group, wanted);
                        let failed = events.is_err();
                        sender.send(events).ok().filter(|()| !failed)
                    })
                });
                decoded
            };
            let decoders: Vec<_> = (0..threads).map(decoder).collect();
            for (_, decoded) in groups.iter().zip(decoders.iter().cycle()) {
                let Ok(events) = decoded.recv() else { break };
                if events?.into_iter().try_for_each(&mut *f).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// The events of `commits` that are `wanted`.
    fn events_of(&self, commits: &[Ordinal], wanted: &Wanted<'_>) -> Result<Vec<Recorded>, ReadError> {
        let shared = self.shared();
        let mut found = Vec::with_capacity(commits.len());
        let mut open: Option<(Position, Arc<OpenFrame>)> = None;
        for source in self.sources(commits) {
            match source {
                Source::Recent(commit) => {
                    found.extend(commit.events.iter().filter(|event| wanted.has(event)).cloned());
                }
                Source::Stored { frame: first, place } => {
                    let frame = match open.take() {
                        Some((at, frame)) if at == first => frame,
                        _ => shared.cache.frame(&*shared.store, first)?,
                    };
                    frame.events(place, wanted, &mut found)?;
                    open = Some((first, frame));
                }
            }
        }
        Ok(found)
    }
}
