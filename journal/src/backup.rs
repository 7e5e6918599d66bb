//! Backup and restore. A backup is a directory of segments: a full one and, later, others that begin where the
//! one before ended. It is taken while the journal runs, of what is durable, and travels as bytes:
//!
//! ```text
//!  backup = head (56 bytes) | frame | frame | …        frame = header (24 bytes, `segments.rs`) | bytes
//!  head   = "SBBAK1\n\0" | after (u64) | upto (u64) | chain at `after` (32)                little endian
//! ```
//!
//! CRCs and chain are checked when a backup is received and when it is restored, which can stop at a position or a
//! time.

use crate::record::{Defect, GENESIS, Hash, Record, last_chain, records};
use crate::segments::{Manifest, forget_draft, frame_header, manifests, read_frame, read_segment, write_segment};
use crate::store::{Frame, FrameStore, StoreError};
use crate::verify::{Broken, Verified, verify_store};
use crate::{Journal, SledStore};
use std::{
    io::Read,
    path::{Path, PathBuf},
};
use switchback_events::{Micros, Position};

const FRAMES_AT_ONCE: usize = 64;
const MAGIC: [u8; 8] = *b"SBBAK1\n\0";
const HEAD_BYTES: usize = 56;

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
    NotEmpty(PathBuf),
    /// There is nothing to restore.
    #[error("restore: there is no backup in {}", paths(.0))]
    Empty(Vec<PathBuf>),
    /// A backup that is to be continued is of another log.
    #[error("continue a backup that ends at position {0}: the log has other events up to there")]
    OtherLog(Position),
    /// What arrived is not a whole backup.
    #[error("receive a backup: {0}")]
    Received(String),
    /// A backup between two others is not there.
    #[error("restore: the events from {next} on are in none of the backups, the next begins at {found}")]
    Gap {
        /// The position that has to be next.
        next: Position,
        /// Where the next backup begins.
        found: Position,
    },
}

fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
}

impl Journal {
    /// The head of a backup of the durable commits after position `after`, and the position where it will end.
    pub fn backup_head(&self, after: Position) -> Result<(Vec<u8>, Position), StoreError> {
        let store = &*self.shared().store;
        // What the store holds is durable, and ends with a frame.
        let upto = store.head()?;
        // A position that no frame ends at has none; whoever is to continue there finds that out.
        let chain = chain_at(store, after)?.unwrap_or(GENESIS);
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&after.to_le_bytes());
        head.extend_from_slice(&upto.to_le_bytes());
        head.extend_from_slice(&chain);
        Ok((head, upto))
    }

    /// The next frames of a backup, after `after` and up to `upto`, and the last position in them. Nothing after the
    /// last ones.
    pub fn backup_frames(&self, after: Position, upto: Position) -> Result<Option<(Vec<u8>, Position)>, StoreError> {
        let frames = self.shared().store.read_from(after, FRAMES_AT_ONCE)?;
        let mut bytes = Vec::new();
        let mut reached = None;
        for frame in frames.iter().take_while(|frame| frame.last <= upto) {
            bytes.extend_from_slice(&frame_header(frame));
            bytes.extend_from_slice(&frame.bytes);
            reached = Some(frame.last);
        }
        Ok(reached.map(|reached| (bytes, reached)))
    }

    /// Writes a backup of the durable commits after position `since` into `dir`: 0 for a full one, the `last` of
    /// the backup before for an incremental one. `None` when there are no such commits.
    pub fn backup(&self, dir: &Path, since: Position) -> Result<Option<Manifest>, BackupError> {
        let (head, upto) = self.backup_head(since)?;
        let mut sent = Sent { journal: self, after: since, upto, bytes: std::io::Cursor::new(head) };
        receive_backup(&mut sent, dir, None, |_| {})
    }
}

/// A backup as it travels.
struct Sent<'j> {
    journal: &'j Journal,
    after: Position,
    upto: Position,
    bytes: std::io::Cursor<Vec<u8>>,
}

impl Read for Sent<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        if read > 0 || buffer.is_empty() {
            return Ok(read);
        }
        let next = self.journal.backup_frames(self.after, self.upto).map_err(std::io::Error::other)?;
        let Some((bytes, reached)) = next else { return Ok(0) };
        self.after = reached;
        self.bytes = std::io::Cursor::new(bytes);
        self.bytes.read(buffer)
    }
}

/// The last backup in `dir`, to be continued after its `last`.
pub fn last_backup(dir: &Path) -> Result<Option<Manifest>, StoreError> {
    Ok(manifests(dir)?.pop())
}

/// Writes the backup that `reader` gives into `dir`, and checks CRCs, chain and positions of it. It must continue
/// `base` where there is one, else whatever was asked for. `None` when there is nothing after that; `progress` is
/// told the position reached.
pub fn receive_backup(
    reader: &mut dyn Read,
    dir: &Path,
    base: Option<&Manifest>,
    progress: impl FnMut(Position),
) -> Result<Option<Manifest>, BackupError> {
    let mut head = [0; HEAD_BYTES];
    reader.read_exact(&mut head).map_err(|error| BackupError::Received(error.to_string()))?;
    if head[..8] != MAGIC {
        return Err(BackupError::Received("it does not begin as one".to_string()));
    }
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
    let (after, upto) = (number(8), number(16));
    let chain: Hash = std::array::from_fn(|byte| head[24 + byte]);
    if let Some(base) = base
        && (base.last, base.chain_after) != (after, chain)
    {
        return Err(BackupError::OtherLog(base.last));
    }
    let mut frames = Received { reader, chain, reached: after, upto, progress, broken: None };
    let written = write_segment(dir, chain, &mut frames);
    let broken = frames.broken.take();
    if broken.is_some() || written.is_err() {
        forget_draft(dir);
    }
    match broken {
        Some(broken) => Err(broken.into()),
        None => Ok(written?),
    }
}

/// The frames of a backup that arrives, each checked against what came before.
struct Received<'r, P> {
    reader: &'r mut dyn Read,
    chain: Hash,
    reached: Position,
    upto: Position,
    progress: P,
    /// Why the frames ended early.
    broken: Option<Broken>,
}

impl<P: FnMut(Position)> Received<'_, P> {
    fn check(&mut self, frame: &Frame) -> Result<(), Broken> {
        if frame.first != self.reached + 1 {
            let why = format!("is missing: the next frame begins at position {}", frame.first);
            return Err(Broken { position: self.reached + 1, why });
        }
        for place in records(&frame.bytes).map_err(|defect| Broken::of(frame.first, defect))? {
            let next = self.reached + 1;
            let record = Record::at(&frame.bytes, place).map_err(|defect| Broken::of(next, defect))?;
            let commit = record.read_after(&self.chain).map_err(|defect| Broken::of(next, defect))?;
            if commit.first != next {
                return Err(Broken { position: next, why: "says that it has another position".to_string() });
            }
            (self.chain, self.reached) = (record.chain, commit.last());
        }
        if self.reached != frame.last {
            return Err(Broken { position: frame.first, why: "does not fit its frame".to_string() });
        }
        Ok(())
    }
}

impl<P: FnMut(Position)> Iterator for Received<'_, P> {
    type Item = Result<Frame, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reached >= self.upto || self.broken.is_some() {
            return None;
        }
        let frame = match read_frame(self.reader) {
            Ok(frame) => frame,
            Err(error) => return Some(Err(StoreError::io("receive a backup", error))),
        };
        if let Err(broken) = self.check(&frame) {
            let failed = StoreError::io("receive a backup", &broken);
            self.broken = Some(broken);
            return Some(Err(failed));
        }
        (self.progress)(self.reached);
        Some(Ok(frame))
    }
}

/// The chain after the frame that ends at `position`.
fn chain_at(store: &dyn FrameStore, position: Position) -> Result<Option<Hash>, StoreError> {
    let Some(after) = position.checked_sub(1) else { return Ok(Some(GENESIS)) };
    let frame = store.read_from(after, 1)?.into_iter().next().filter(|frame| frame.last == position);
    Ok(frame.and_then(|frame| last_chain(&frame.bytes)))
}

/// Makes a log in `target` of the backups in `dirs`, given in any order. What more than one of them holds is taken
/// once. The target is checked as a whole before this returns.
pub fn restore(dirs: &[&Path], target: &Path, upto: Upto) -> Result<Verified, BackupError> {
    restore_with(dirs, target, upto, |_, _| {})
}

/// [`restore`]; `progress` is told the position reached and the last one in the backups.
pub fn restore_with(
    dirs: &[&Path],
    target: &Path,
    upto: Upto,
    mut progress: impl FnMut(Position, Position),
) -> Result<Verified, BackupError> {
    let mut found = Vec::new();
    for dir in dirs {
        found.extend(manifests(dir)?.into_iter().map(|manifest| (*dir, manifest)));
    }
    found.sort_by_key(|(_, manifest)| (manifest.first, manifest.last));
    let Some(end) = found.iter().map(|(_, manifest)| manifest.last).max() else {
        return Err(BackupError::Empty(dirs.iter().map(|dir| dir.to_path_buf()).collect()));
    };
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
            let cut = cut(frame, upto).map_err(|defect| Broken::of(first, defect))?;
            complete = cut.as_ref().is_none_or(|frame| frame.last < last);
            if let Some(frame) = cut {
                store.append(head, &[frame])?;
                progress(last, end);
            }
            if complete {
                break;
            }
        }
    }
    Ok(verify_store(&store, |_| {})?)
}

/// The commits of `frame` that a restore up to `upto` wants; `None` when it wants none.
fn cut(frame: Frame, upto: Upto) -> Result<Option<Frame>, Defect> {
    if upto == Upto::End {
        return Ok(Some(frame));
    }
    let (mut end, mut last) = (0, 0);
    for place in records(&frame.bytes)? {
        let commit = Record::at(&frame.bytes, place.clone())?.read()?;
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
