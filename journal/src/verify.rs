//! Checking the log from its first byte: CRC of every record, the hash chain over the bytes as stored, contiguous
//! positions and versions. Opening a journal goes the same way.

use crate::record::{CommitRecord, Defect, GENESIS, Hash, Record, records};
use crate::segments::manifests;
use crate::signed_heads::{SignedHead, read_heads};
use crate::sled_store::SEGMENTS;
use crate::store::{Frame, FrameStore, StoreError};
use crate::{Journal, Manifest, SledStore, checkpoint};
use foldhash::{HashMap, HashMapExt};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::mpsc,
};
use switchback_events::{Micros, Position, StreamKey, Version};

const FRAMES_AT_ONCE: usize = 64;

/// What was found to be whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified {
    /// The number of commits.
    pub commits: u64,
    /// The last position: the number of events.
    pub head: Position,
    /// The hash chain there.
    pub chain: Hash,
}

/// The first place where the log is not what was written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("commit at position {position} {why}")]
pub struct Broken {
    /// The position of the first event that is not sound.
    pub position: Position,
    /// What is wrong with it, after "commit at position N".
    pub why: String,
}

impl Broken {
    pub(crate) fn of(position: Position, defect: Defect) -> Broken {
        let why = match defect {
            Defect::Damaged(why) => why,
            Defect::Unreadable(why) => format!("cannot be read by this program: {why}"),
        };
        Broken { position, why }
    }
}

impl Journal {
    /// Reads the durable log again from the store, and checks all of it. `progress` is told the position reached.
    pub fn verify(&self, progress: impl FnMut(Position)) -> Result<Verified, Broken> {
        self.verify_against(None, progress)
    }

    /// [`Journal::verify`], and that the log holds what `anchor` tells of: a signed head that was kept outside.
    pub fn verify_against(
        &self,
        anchor: Option<&SignedHead>,
        progress: impl FnMut(Position),
    ) -> Result<Verified, Broken> {
        let (head, chain) = self.chain_head();
        let store = &*self.shared().store;
        let verified = verify_up_to(store, head, &heads(store.dir(), anchor)?, progress)?;
        if (verified.head, verified.chain) != (head, chain) {
            let position = verified.head.min(head);
            return Err(Broken { position, why: "is not the one that was written: the log was exchanged".to_string() });
        }
        Ok(verified)
    }
}

/// Checks all that `store` holds.
pub fn verify_store(store: &dyn FrameStore, progress: impl FnMut(Position)) -> Result<Verified, Broken> {
    verify_up_to(store, Position::MAX, &heads(store.dir(), None)?, progress)
}

/// Checks the log in the directory of a [`SledStore`] that no process has open.
pub fn verify_dir(dir: &Path) -> Result<Verified, Broken> {
    verify_dir_against(dir, None)
}

/// [`verify_dir`], which never writes to the directory, and that the log holds what `anchor` tells of.
pub fn verify_dir_against(dir: &Path, anchor: Option<&SignedHead>) -> Result<Verified, Broken> {
    verify_dir_with(dir, anchor, |_, _| {})
}

/// [`verify_dir_against`]; `progress` is told the position reached and the last one.
pub fn verify_dir_with(
    dir: &Path,
    anchor: Option<&SignedHead>,
    mut progress: impl FnMut(Position, Position),
) -> Result<Verified, Broken> {
    at_rest(dir, |store, reached| {
        let head = store.head().unwrap_or_default();
        verify_up_to(store, Position::MAX, &heads(store.dir(), anchor)?, |position| {
            *reached = position;
            progress(position, head);
        })
    })
}

/// Looks at the log in a directory that no process has open. Looking gets a place for the position that it reached.
fn at_rest<T>(dir: &Path, look: impl FnOnce(&SledStore, &mut Position) -> Result<T, Broken>) -> Result<T, Broken> {
    let broken = |why: String| Broken { position: 0, why };
    if !dir.join("db").is_file() {
        return Err(broken(format!("cannot be looked for: `{}` holds no log", dir.display())));
    }
    // sled can panic on files that it did not write; that, too, is only a log that is not sound.
    let mut reached = 0;
    let checked = catch_unwind(AssertUnwindSafe(|| {
        let store = SledStore::open_at_rest(dir).map_err(|error| match error {
            StoreError::Damaged { first, why } => Broken { position: first, why },
            error => broken(format!("cannot be looked for: {error}")),
        })?;
        look(&store, &mut reached)
    }));
    let why = || "cannot be read: sled does not understand what it finds there".to_string();
    checked.unwrap_or_else(|_| Err(Broken { position: reached + 1, why: why() }))
}

/// What there is of a sound log, and beside it.
#[derive(Clone, PartialEq, Debug)]
pub struct Inspection {
    /// The log.
    pub verified: Verified,
    /// How many frames there are of each format.
    pub formats: BTreeMap<u8, u64>,
    /// What is sealed.
    pub segments: Vec<Manifest>,
    /// How far the index checkpoint reaches; `None` where there is none that the log holds.
    pub checkpoint: Option<Position>,
    /// The positions of the signed heads that are kept.
    pub heads: Vec<Position>,
}

/// Verifies and describes the log in the directory of a [`SledStore`] that no process has open. `progress` is told
/// the position reached and the last one.
///
/// # Errors
/// The first place where it is not sound.
pub fn inspect_dir(dir: &Path, mut progress: impl FnMut(Position, Position)) -> Result<Inspection, Broken> {
    at_rest(dir, |store, reached| {
        let head = store.head().unwrap_or_default();
        let heads = heads(store.dir(), None)?;
        let verified = verify_up_to(store, Position::MAX, &heads, |position| {
            *reached = position;
            progress(position, head);
        })?;
        let unread = |error: StoreError| Broken { position: 0, why: format!("cannot be read: {error}") };
        let (mut formats, mut after) = (BTreeMap::new(), 0);
        while after < verified.head {
            let frames = store.read_from(after, FRAMES_AT_ONCE).map_err(unread)?;
            let Some(last) = frames.last() else { break };
            after = last.last;
            for format in frames.iter().filter_map(|frame| frame.bytes.first()) {
                *formats.entry(*format).or_default() += 1;
            }
        }
        let segments = manifests(&dir.join(SEGMENTS)).map_err(unread)?;
        let checkpoint = checkpoint::reached(store);
        Ok(Inspection {
            verified,
            formats,
            segments,
            checkpoint,
            heads: heads.iter().map(|head| head.position).collect(),
        })
    })
}

/// The signed heads that the log must hold, in order.
fn heads(dir: Option<&Path>, anchor: Option<&SignedHead>) -> Result<Vec<SignedHead>, Broken> {
    let unsound = |why: String| Broken { position: 0, why };
    let mut heads = dir.map(read_heads).transpose().map_err(|error| unsound(format!("is not attested: {error}")))?;
    if let Some(anchor) = anchor {
        if !anchor.is_signed() {
            return Err(unsound("is not attested: the anchor's signature does not hold".to_string()));
        }
        heads.get_or_insert_default().push(anchor.clone());
    }
    let mut heads = heads.unwrap_or_default();
    heads.sort_by_key(|head| head.position);
    Ok(heads)
}

fn verify_up_to(
    store: &dyn FrameStore,
    head: Position,
    heads: &[SignedHead],
    mut progress: impl FnMut(Position),
) -> Result<Verified, Broken> {
    let mut mismatch = None;
    let mut heads = heads.iter().peekable();
    let verified = scan(store, Start::default(), head, &mut |_, commit, chain| {
        let last = commit.last();
        commit.decode()?;
        while let Some(signed) = heads.next_if(|signed| signed.position <= last) {
            let found = if signed.position == last { signed.check(chain) } else { signed.check(&GENESIS) };
            mismatch = mismatch.take().or(found.err());
        }
        progress(last);
        Ok(())
    });
    let verified = verified.map_err(|(position, fault)| match fault {
        Fault::Store(error) => Broken { position, why: format!("cannot be read: {error}") },
        Fault::Defect(defect) => Broken::of(position, defect),
    })?;
    if let Some(mismatch) = mismatch {
        return Err(mismatch);
    }
    match store.check() {
        Ok(()) => {}
        Err(StoreError::Damaged { first, why }) => return Err(Broken { position: first, why }),
        Err(error) => return Err(Broken { position: 0, why: format!("cannot be read: {error}") }),
    }
    match heads.next() {
        // What is signed while this runs is past the head that was asked for.
        Some(signed) if head == Position::MAX => Err(signed.missing(verified.head)),
        _ => Ok(verified),
    }
}

/// Why a scan ended early.
pub(crate) enum Fault {
    Store(StoreError),
    Defect(Defect),
}

impl From<Defect> for Fault {
    fn from(defect: Defect) -> Fault {
        Fault::Defect(defect)
    }
}

/// Gets the position where the frame begins, a commit in it, and the chain after the commit.
type Visit<'v> = &'v mut dyn FnMut(Position, CommitRecord, &Hash) -> Result<(), Defect>;

/// Where a scan begins: what is known of the log before.
pub(crate) struct Start {
    pub reached: Verified,
    pub time: Micros,
    pub versions: HashMap<StreamKey, Version>,
}

impl Default for Start {
    fn default() -> Start {
        let reached = Verified { commits: 0, head: 0, chain: GENESIS };
        Start { reached, time: Micros::MIN, versions: HashMap::new() }
    }
}

/// Reads the frames from `start` up to `head` in order, and gives every commit that is sound to `visit`. An error comes with
/// the position of the first event that is not.
pub(crate) fn scan(
    store: &dyn FrameStore,
    start: Start,
    head: Position,
    visit: Visit,
) -> Result<Verified, (Position, Fault)> {
    let Start { reached, time, versions } = start;
    let mut scan = Scan { reached, time, versions, visit };
    let begin = scan.reached.head;
    // While one batch is checked the next is read.
    std::thread::scope(|threads| {
        let (send, batches) = mpsc::sync_channel(1);
        threads.spawn(move || {
            let mut next = begin + 1;
            while next <= head {
                let batch = read(store, next);
                let last = batch.as_ref().ok().and_then(|frames| frames.last()).map(|frame| frame.last);
                let gone = send.send(batch).is_err();
                match last {
                    // A frame that ends before it begins is found to be damaged by whoever checks it.
                    Some(last) if last >= next && last < head && !gone => next = last + 1,
                    _ => return,
                }
            }
        });
        for batch in batches {
            for frame in batch?.iter().take_while(|frame| frame.first <= head) {
                scan.frame(frame).map_err(|defect| (scan.reached.head + 1, Fault::Defect(defect)))?;
            }
        }
        Ok(scan.reached)
    })
}

/// The frames from position `next` on. A frame that the store itself finds damaged does not hide the place of
/// an earlier fault: the sound ones before it come first.
fn read(store: &dyn FrameStore, next: Position) -> Result<Vec<Frame>, (Position, Fault)> {
    let read = match store.read_from(next - 1, FRAMES_AT_ONCE) {
        Err(StoreError::Damaged { .. }) => store.read_from(next - 1, 1),
        other => other,
    };
    read.map_err(|error| match error {
        StoreError::Damaged { first, why } => (first.max(next), Fault::Defect(Defect::Damaged(why))),
        error => (next, Fault::Store(error)),
    })
}

struct Scan<'v> {
    reached: Verified,
    time: Micros,
    versions: HashMap<StreamKey, Version>,
    visit: Visit<'v>,
}

impl Scan<'_> {
    fn frame(&mut self, frame: &Frame) -> Result<(), Defect> {
        let damaged = |why: String| Err(Defect::Damaged(why));
        let next = self.reached.head + 1;
        if frame.first != next {
            return damaged(format!("is missing: the next frame begins at position {}", frame.first));
        }
        for place in records(&frame.bytes)? {
            let record = Record::at(&frame.bytes, place)?;
            let commit = record.read_after(&self.reached.chain)?;
            self.check(&commit)?;
            let (last, at) = (commit.last(), commit.at);
            (self.visit)(frame.first, commit, &record.chain)?;
            let commits = self.reached.commits + 1;
            self.reached = Verified { commits, head: last, chain: record.chain };
            self.time = at;
        }
        if self.reached.head != frame.last {
            let last = frame.last;
            return damaged(format!("does not fit its frame, which says that it ends at position {last}"));
        }
        Ok(())
    }

    fn check(&mut self, commit: &CommitRecord) -> Result<(), Defect> {
        let damaged = |why: &str| Err(Defect::Damaged(why.to_string()));
        if commit.first != self.reached.head + 1 {
            return damaged("says that it has another position");
        }
        if commit.events.is_empty() {
            return damaged("has no events");
        }
        if commit.at < self.time {
            return damaged("has an earlier time than the commit before it");
        }
        for event in &commit.events {
            let version = self.versions.entry(event.stream).or_insert(0);
            if event.version != *version + 1 {
                let (stream, found) = (event.stream, event.version);
                return Err(Defect::Damaged(format!("has version {found} of {stream} after version {version}")));
            }
            *version = event.version;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{EventRecord, Packer};
    use crate::{MemoryStore, OpenError, Options};
    use std::{borrow::Cow, sync::Arc};
    use switchback_events::{CommandId, Event, Id, Origin, Provenance, StreamKind, ZoneEvent};

    fn provenance(principal: &str) -> Provenance {
        Provenance {
            command_id: CommandId(Id::NIL),
            command: "DeleteZone".to_string(),
            body: Id::NIL,
            principal: principal.to_string(),
            credential: None,
            origin: Origin::Api,
            causation: None,
            correlation: Id::NIL,
            reason: None,
        }
    }

    /// The frames of three commits of one event each, the second one as `change` makes it.
    fn frames(change: impl Fn(&mut CommitRecord)) -> Vec<Frame> {
        let payload = Event::from(ZoneEvent::Deleted {}).encode().unwrap();
        let mut packer = Packer::new(GENESIS);
        for at in 1..=3 {
            let stream = StreamKey::new(StreamKind::Zone, Id::NIL);
            let event =
                EventRecord { stream, version: at, schema: 1, tags: Cow::Owned(vec![stream.id]), payload: &payload };
            let provenance = Cow::Owned(provenance("admin"));
            let (reads, events) = (Cow::Borrowed(&[][..]), vec![event]);
            let mut record = CommitRecord { first: at, at: 100, provenance, reads, events };
            if at == 2 {
                change(&mut record);
            }
            packer.add_record(&record).unwrap();
        }
        packer.frames
    }

    fn open(frames: &[Frame]) -> Result<Journal, OpenError> {
        let store = MemoryStore::default();
        store.append(0, frames).unwrap();
        Journal::open(Arc::new(store), Options::default())
    }

    #[test]
    fn an_event_of_a_later_schema_is_not_opened_and_says_so() {
        let frames = frames(|record| record.events[0].schema = 9);
        let error = open(&frames).map(|_| ()).unwrap_err();
        assert!(matches!(error, OpenError::Unreadable { position: 2, .. }), "{error}");
        assert!(error.to_string().contains("schema version 9"), "{error}");
    }

    #[test]
    fn gaps_in_positions_versions_and_time_are_found() {
        let changes: [fn(&mut CommitRecord); 5] = [
            |record| record.first = 3,
            |record| record.events[0].version = 3,
            |record| record.events[0].version = 1,
            |record| record.events.clear(),
            |record| record.at = 99,
        ];
        for change in changes {
            let mut frames = frames(change);
            frames[0].last = 3;
            let error = open(&frames).map(|_| ()).unwrap_err();
            assert!(matches!(error, OpenError::Broken(Broken { position: 2, .. })), "{error}");
        }
    }

    /// Someone edits a commit, and makes its own CRC and chain right again.
    #[test]
    fn an_edit_with_a_new_crc_and_hash_is_found_at_the_next_commit() {
        let (written, forged) = (frames(|_| {}), frames(|record| record.provenance.to_mut().principal = "nobo".into()));
        let (written, forged) = (&written[0].bytes, &forged[0].bytes);
        let places = records(written).unwrap();
        let mut bytes = forged[..records(forged).unwrap()[1].end].to_vec();
        bytes.extend_from_slice(&written[places[2].clone()]);
        let error = open(&[Frame { first: 1, last: 3, bytes }]).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "commit at position 3 does not continue the hash chain");
    }
}
