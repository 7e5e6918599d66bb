//! Frames in memory: for tests and for nodes that keep nothing.

use crate::store::{Frame, FrameStore, StoreError, check_order};
use parking_lot::RwLock;
use switchback_events::Position;

/// A frame store that lasts as long as the process. "Durable" means "in memory" here.
#[derive(Default)]
pub struct MemoryStore {
    frames: RwLock<Vec<Frame>>,
}

fn head_of(frames: &[Frame]) -> Position {
    frames.last().map_or(0, |frame| frame.last)
}

impl FrameStore for MemoryStore {
    fn append(&self, expected_head: Position, frames: &[Frame]) -> Result<(), StoreError> {
        let mut kept = self.frames.write();
        check_order(expected_head, head_of(&kept), frames)?;
        kept.extend_from_slice(frames);
        Ok(())
    }

    fn read_from(&self, after: Position, max_frames: usize) -> Result<Vec<Frame>, StoreError> {
        let kept = self.frames.read();
        let start = kept.partition_point(|frame| frame.last <= after);
        Ok(kept[start..].iter().take(max_frames).cloned().collect())
    }

    fn frame_at(&self, first: Position) -> Result<Option<Frame>, StoreError> {
        let kept = self.frames.read();
        Ok(kept.binary_search_by_key(&first, |frame| frame.first).ok().map(|at| kept[at].clone()))
    }

    fn head(&self) -> Result<Position, StoreError> {
        Ok(head_of(&self.frames.read()))
    }
}
