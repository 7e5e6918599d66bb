//! Backup and restore. A backup is a directory of segments: a full one and, later, others that begin where the
//! one before ended. It is taken while the journal runs, of what is durable. A restore checks CRCs and chain as
//! it goes, and can stop at a position or a time.

use crate::record::{GENESIS, Hash, Record, last_chain, records};
use crate::segments::{Manifest, manifests, read_segment, write_segment};
use crate::store::{Frame, FrameStore, StoreError};
use crate::verify::{Broken, Verified, verify_store};
use crate::{Journal, SledStore};
use std::path::Path;
use switchback_events::{Micros, Position};

const FRAMES_AT_ONCE: usize = 64;

/// Where a restore ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Upto {
    /// With the last commit of the backups.
    End,
    /// With the last commit that ends at or before this position.
    Position(Position),
    /// With the last commit at or before this time.
    Time(Micros),
}

/// Why a backup or a restore did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store or the files failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The backups hold another log than was written.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The target is in use.
    #[error("restore into `{0}`: there is a log already")]
    NotEmpty(std::path::PathBuf),
    /// A backup between two others is not there.
    #[error("restore: the events from {next} on are in none of the backups, the next begins at {found}")]
    Gap {
        /// The position that has to be next.
        next: Position,
        /// Where the next backup begins.
        found: Position,
    },
}

impl Journal {
    /// Writes a backup of the durable commits after position `since` into `dir`: 0 for a full one, the `last` of
    /// the backup before for an incremental one. `None` when there are no such commits.
    pub fn backup(&self, dir: &Path, since: Position) -> Result<Option<Manifest>, BackupError> {
        let store = &*self.shared().store;
        let durable = self.durable();
        let mut frames = Frames { store, after: since, upto: durable, read: Vec::new().into_iter() }.peekable();
        let chain_before = match frames.peek() {
            Some(Ok(frame)) => chain_at(store, frame.first - 1)?,
            _ => GENESIS,
        };
        Ok(write_segment(dir, chain_before, &mut frames)?)
    }
}

/// The chain after the frame that ends at `position`.
fn chain_at(store: &dyn FrameStore, position: Position) -> Result<Hash, StoreError> {
    let Some(after) = position.checked_sub(1) else { return Ok(GENESIS) };
    let frame = store.read_from(after, 1)?.into_iter().next();
    let damaged = || StoreError::Damaged { first: position, why: "its chain cannot be read".to_string() };
    frame.and_then(|frame| last_chain(&frame.bytes)).ok_or_else(damaged)
}

/// The whole frames after `after`, up to `upto`.
struct Frames<'s> {
    store: &'s dyn FrameStore,
    after: Position,
    upto: Position,
    read: std::vec::IntoIter<Frame>,
}

impl Iterator for Frames<'_> {
    type Item = Result<Frame, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.read.len() == 0 {
            match self.store.read_from(self.after, FRAMES_AT_ONCE) {
                Ok(frames) => self.read = frames.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
        let frame = self.read.next().filter(|frame| frame.last <= self.upto)?;
        self.after = frame.last;
        Some(Ok(frame))
    }
}

/// Makes a log in `target` of the backups in `dirs`, given in any order. What more than one of them holds is taken
/// once. The target is checked as a whole before this returns.
pub fn restore(dirs: &[&Path], target: &Path, upto: Upto) -> Result<Verified, BackupError> {
    let mut found = Vec::new();
    for dir in dirs {
        found.extend(manifests(dir)?.into_iter().map(|manifest| (*dir, manifest)));
    }
    found.sort_by_key(|(_, manifest)| (manifest.first, manifest.last));
    let store = SledStore::open(target)?;
    if store.head()? != 0 {
        return Err(BackupError::NotEmpty(target.to_path_buf()));
    }
    let mut complete = false;
    for (dir, manifest) in &found {
        if manifest.last <= store.head()? || complete {
            continue;
        }
        for frame in read_segment(dir, manifest)? {
            let frame = frame?;
            let head = store.head()?;
            if frame.last <= head {
                continue;
            }
            if frame.first != head + 1 {
                return Err(BackupError::Gap { next: head + 1, found: frame.first });
            }
            let (first, last) = (frame.first, frame.last);
            let cut = cut(frame, upto).map_err(|why| Broken { position: first, why })?;
            complete = cut.as_ref().is_none_or(|frame| frame.last < last);
            if let Some(frame) = cut {
                store.append(head, &[frame])?;
            }
            if complete {
                break;
            }
        }
    }
    Ok(verify_store(&store, |_| {})?)
}

/// The commits of `frame` that a restore up to `upto` wants; `None` when it wants none.
fn cut(frame: Frame, upto: Upto) -> Result<Option<Frame>, String> {
    if upto == Upto::End {
        return Ok(Some(frame));
    }
    let defect = |defect| format!("{defect:?}");
    let (mut end, mut last) = (0, 0);
    for place in records(&frame.bytes).map_err(defect)? {
        let commit = Record::at(&frame.bytes, place.clone()).and_then(|record| record.read()).map_err(defect)?;
        let wanted = match upto {
            Upto::End => true,
            Upto::Position(position) => commit.last() <= position,
            Upto::Time(time) => commit.at <= time,
        };
        if !wanted {
            break;
        }
        (end, last) = (place.end, commit.last());
    }
    if end == 0 {
        return Ok(None);
    }
    let mut bytes = frame.bytes;
    bytes.truncate(end);
    Ok(Some(Frame { first: frame.first, last, bytes }))
}
