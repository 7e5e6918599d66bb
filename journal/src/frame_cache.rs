//! The last few frames that were read, taken apart, so that neighbouring commits cost one read of the store.
//! A commit is checked and decoded when it is first asked for, and not again while its frame is here.

use crate::read::ReadError;
use crate::record::{Defect, Record, Wanted, records};
use crate::store::{Frame, FrameStore};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, OnceLock},
};
use switchback_events::{Commit, Position, Recorded};

const FRAMES_KEPT: usize = 16;

#[derive(Default)]
pub(crate) struct FrameCache {
    /// The frame used last is at the end.
    frames: Mutex<VecDeque<Arc<OpenFrame>>>,
}

impl FrameCache {
    /// The commit at `place` in the frame that begins at `first`.
    pub fn commit(&self, store: &dyn FrameStore, first: Position, place: usize) -> Result<Arc<Commit>, ReadError> {
        self.frame(store, first)?.commit(place)
    }

    /// The frame that begins at `first`.
    pub fn frame(&self, store: &dyn FrameStore, first: Position) -> Result<Arc<OpenFrame>, ReadError> {
        if let Some(frame) = self.cached(first) {
            return Ok(frame);
        }
        let missing = || ReadError::damaged(first, "is missing");
        let frame = store.frame_at(first)?.ok_or_else(missing)?;
        let frame = Arc::new(OpenFrame::new(frame)?);
        let mut frames = self.frames.lock();
        if frames.len() >= FRAMES_KEPT {
            frames.pop_front();
        }
        frames.push_back(frame.clone());
        Ok(frame)
    }

    fn cached(&self, first: Position) -> Option<Arc<OpenFrame>> {
        let mut frames = self.frames.lock();
        let at = frames.iter().rposition(|frame| frame.first == first)?;
        let frame = frames.remove(at)?;
        frames.push_back(frame.clone());
        Some(frame)
    }
}

/// A frame, taken apart.
pub(crate) struct OpenFrame {
    first: Position,
    bytes: Vec<u8>,
    records: Vec<Range<usize>>,
    decoded: Vec<OnceLock<Arc<Commit>>>,
}

impl OpenFrame {
    fn new(frame: Frame) -> Result<OpenFrame, ReadError> {
        let records = records(&frame.bytes).map_err(|defect| ReadError::from_defect(frame.first, defect))?;
        let decoded = records.iter().map(|_| OnceLock::new()).collect();
        Ok(OpenFrame { first: frame.first, bytes: frame.bytes, records, decoded })
    }

    fn commit(&self, place: usize) -> Result<Arc<Commit>, ReadError> {
        let (range, decoded) = self.place(place)?;
        if let Some(commit) = decoded.get() {
            return Ok(commit.clone());
        }
        let decode = || Record::at(&self.bytes, range)?.read()?.decode();
        let commit = decode().map_err(|defect: Defect| ReadError::from_defect(self.first, defect))?;
        Ok(decoded.get_or_init(|| Arc::new(commit)).clone())
    }

    /// Adds the events of the commit at `place` that are `wanted` to `found`. Decodes no other.
    pub fn events(&self, place: usize, wanted: &Wanted<'_>, found: &mut Vec<Recorded>) -> Result<(), ReadError> {
        let (range, decoded) = self.place(place)?;
        if let Some(commit) = decoded.get() {
            found.extend(commit.events.iter().filter(|event| wanted.has(event)).cloned());
            return Ok(());
        }
        let read = || Record::at(&self.bytes, range)?.read_events(wanted, found);
        read().map_err(|defect| ReadError::from_defect(self.first, defect))
    }

    fn place(&self, place: usize) -> Result<(Range<usize>, &OnceLock<Arc<Commit>>), ReadError> {
        let found = self.records.get(place).cloned().zip(self.decoded.get(place));
        found.ok_or_else(|| ReadError::damaged(self.first, "is missing from its frame"))
    }
}
