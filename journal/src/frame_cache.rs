//! The last few frames that were read, taken apart, so that neighbouring commits cost one read of the store.
//! A commit is checked and decoded when it is first asked for, and not again while its frame is here.

use crate::read::ReadError;
use crate::record::{Defect, Record, records};
use crate::store::{Frame, FrameStore};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, OnceLock},
};
use switchback_events::{Commit, Position};

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

    fn frame(&self, store: &dyn FrameStore, first: Position) -> Result<Arc<OpenFrame>, ReadError> {
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

struct OpenFrame {
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
        let missing = || ReadError::damaged(self.first, "is missing from its frame");
        let (range, decoded) = self.records.get(place).zip(self.decoded.get(place)).ok_or_else(missing)?;
        if let Some(commit) = decoded.get() {
            return Ok(commit.clone());
        }
        let commit = self.decode(range.clone()).map_err(|defect| ReadError::from_defect(self.first, defect))?;
        Ok(decoded.get_or_init(|| Arc::new(commit)).clone())
    }

    fn decode(&self, range: Range<usize>) -> Result<Commit, Defect> {
        Record::at(&self.bytes, range)?.read()?.decode()
    }
}
