//! Where to find the commits of a stream, a tag, a command, a position or a time; rebuilt at every open.
//!
//! Commits are numbered from 0 ([`Ordinal`]), and the lists hold these small numbers.
//!
//! **Invariant:** every list is in the order of the log.

use foldhash::{HashMap, HashMapExt};
use std::collections::{BTreeMap, VecDeque};
use switchback_events::{CommandId, Commit, Id, Micros, Position, StreamKey, StreamKind, Version};

/// The number of a commit in the log, from 0.
pub(crate) type Ordinal = u32;

/// What is kept of each commit.
#[derive(Clone, Copy)]
struct Entry {
    last: Position,
    at: Micros,
}

/// A commit of a stream, and the version that the stream has after it.
#[derive(Clone, Copy)]
struct Step {
    commit: Ordinal,
    version: u32,
}

/// How long commands are remembered: as long as both hold. Measured in the log itself, its times and its
/// commits, so that it is the same after every reopen.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub age: Micros,
    pub commands: usize,
}

pub(crate) struct Index {
    window: Window,
    commits: Vec<Entry>,
    streams: HashMap<StreamKey, Vec<Step>>,
    created: BTreeMap<StreamKind, Vec<Id>>,
    tags: HashMap<Id, Vec<Ordinal>>,
    commands: HashMap<CommandId, Ordinal>,
    /// The commands of the last commits, those of the window.
    remembered: VecDeque<CommandId>,
}

impl Index {
    pub fn new(window: Window) -> Index {
        Index {
            window,
            commits: Vec::new(),
            streams: HashMap::new(),
            created: BTreeMap::new(),
            tags: HashMap::new(),
            commands: HashMap::new(),
            remembered: VecDeque::new(),
        }
    }

    /// The number of commits.
    pub fn len(&self) -> Ordinal {
        Ordinal::try_from(self.commits.len()).expect("a log has fewer than 2^32 commits")
    }

    /// The last position.
    pub fn head(&self) -> Position {
        self.commits.last().map_or(0, |entry| entry.last)
    }

    /// The time of the last commit.
    pub fn time(&self) -> Micros {
        self.commits.last().map_or(Micros::MIN, |entry| entry.at)
    }

    pub fn version(&self, stream: StreamKey) -> Version {
        self.streams.get(&stream).and_then(|steps| steps.last()).map_or(0, |step| Version::from(step.version))
    }

    pub fn command(&self, id: CommandId) -> Option<Ordinal> {
        self.commands.get(&id).copied()
    }

    /// Every stream and its version.
    pub fn versions(&self) -> impl Iterator<Item = (StreamKey, Version)> + '_ {
        self.streams.keys().map(|stream| (*stream, self.version(*stream)))
    }

    /// The time of a commit.
    pub fn time_of(&self, commit: Ordinal) -> Micros {
        self.commits[commit as usize].at
    }

    /// The streams of `kind`, in the order of their first events.
    pub fn streams(&self, kind: StreamKind) -> Vec<Id> {
        self.created.get(&kind).cloned().unwrap_or_default()
    }

    /// Adds the next commit. Each event is the next version of its stream. Commands that are now out of the window
    /// are forgotten.
    pub fn add<'e>(
        &mut self,
        last: Position,
        at: Micros,
        command: CommandId,
        events: impl Iterator<Item = (StreamKey, &'e [Id])>,
    ) {
        let commit = self.len();
        self.commits.push(Entry { last, at });
        self.commands.insert(command, commit);
        self.remembered.push_back(command);
        self.forget();
        for (stream, tags) in events {
            let steps = self.streams.entry(stream).or_default();
            if steps.is_empty() {
                self.created.entry(stream.kind).or_default().push(stream.id);
            }
            match steps.last_mut() {
                Some(step) if step.commit == commit => step.version += 1,
                last => {
                    let version = last.map_or(0, |step| step.version) + 1;
                    steps.push(Step { commit, version });
                }
            }
            for tag in tags {
                let commits = self.tags.entry(*tag).or_default();
                if commits.last() != Some(&commit) {
                    commits.push(commit);
                }
            }
        }
    }

    fn forget(&mut self) {
        while let Some(oldest) = self.remembered.front() {
            let commit = self.len() - self.remembered.len() as Ordinal;
            let age = self.time().saturating_sub(self.time_of(commit));
            if self.remembered.len() <= self.window.commands && age <= self.window.age {
                return;
            }
            // The id may have been used again since, outside of the window.
            if self.commands.get(oldest) == Some(&commit) {
                self.commands.remove(oldest);
            }
            self.remembered.pop_front();
        }
    }

    /// Takes the last commit out again: it never became durable.
    pub fn remove_last(&mut self, commit: &Commit) {
        self.commits.pop();
        let removed = self.len();
        if self.remembered.pop_back().is_some() {
            self.commands.remove(&commit.provenance.command_id);
        }
        for event in commit.events.iter().rev() {
            if let Some(steps) = self.streams.get_mut(&event.stream) {
                steps.pop_if(|step| step.commit == removed);
                if steps.is_empty() {
                    self.streams.remove(&event.stream);
                    let created = self.created.entry(event.stream.kind).or_default();
                    if let Some(at) = created.iter().rposition(|id| *id == event.stream.id) {
                        created.remove(at);
                    }
                }
            }
            for tag in &event.tags {
                if let Some(commits) = self.tags.get_mut(tag) {
                    commits.pop_if(|commit| *commit == removed);
                    if commits.is_empty() {
                        self.tags.remove(tag);
                    }
                }
            }
        }
    }

    /// The first commit that holds a position above `after`; [`Index::len`] when there is none.
    pub fn commit_after(&self, after: Position) -> Ordinal {
        self.commits.partition_point(|entry| entry.last <= after) as Ordinal
    }

    /// The last position of a commit.
    pub fn last_position(&self, commit: Ordinal) -> Position {
        self.commits[commit as usize].last
    }

    /// The number of commits at or before `time`.
    pub fn commits_until(&self, time: Micros) -> Ordinal {
        self.commits.partition_point(|entry| entry.at <= time) as Ordinal
    }

    /// The commits of `stream` that hold a version above `after`.
    pub fn commits_of(&self, stream: StreamKey, after: Version) -> impl Iterator<Item = Ordinal> + '_ {
        let steps = self.streams.get(&stream).map_or(&[][..], |steps| steps);
        let start = steps.partition_point(|step| Version::from(step.version) <= after);
        steps[start..].iter().map(|step| step.commit)
    }

    /// The commits from `from` on that have `tag`.
    pub fn commits_tagged(&self, tag: Id, from: Ordinal) -> &[Ordinal] {
        let commits = self.tags.get(&tag).map_or(&[][..], |commits| commits);
        &commits[commits.partition_point(|commit| *commit < from)..]
    }
}
