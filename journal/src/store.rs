//! The frame store: all that the journal asks of a disk. Small, so that every store is one short file and all
//! of them are held to one conformance suite (`tests/conformance.rs`).
//!
//! A store knows nothing of commits: a frame is bytes that hold the positions `first..=last`.

use std::path::{Path, PathBuf};
use switchback_events::Position;

/// The commits of one group commit, packed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The position of its first event.
    pub first: Position,
    /// The position of its last event.
    pub last: Position,
    /// The packed commits.
    pub bytes: Vec<u8>,
}

/// Keeps frames in order. Reading works while another thread appends.
pub trait FrameStore: Send + Sync {
    /// Appends `frames`, all or none, if the head is `expected_head`. They are durable when this returns.
    /// After an error that is not [`StoreError::Head`] or [`StoreError::Gap`], whether they are there is not
    /// known until the store is opened again, and the store refuses every later append.
    fn append(&self, expected_head: Position, frames: &[Frame]) -> Result<(), StoreError>;

    /// At most `max_frames` frames that hold positions above `after`, in order.
    fn read_from(&self, after: Position, max_frames: usize) -> Result<Vec<Frame>, StoreError>;

    /// The frame that begins at `first`.
    fn frame_at(&self, first: Position) -> Result<Option<Frame>, StoreError>;

    /// The last position of the last frame, 0 when there is none.
    fn head(&self) -> Result<Position, StoreError>;

    /// Moves the whole frames up to `upto` out of where frames are appended, when the store has a better place for
    /// old ones. Gives the last position that is there. They are read as before.
    fn seal(&self, upto: Position) -> Result<Position, StoreError> {
        let _ = upto;
        Ok(0)
    }

    /// How many bytes of frames wait to be sealed.
    fn unsealed_bytes(&self) -> u64 {
        0
    }

    /// Checks what reading does not: that nothing was added to or changed in what is sealed.
    fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// A directory for what is kept beside the frames: index checkpoint, signed heads.
    fn dir(&self) -> Option<&Path> {
        None
    }
}

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another writer was faster, or the caller is mistaken.
    #[error("append frames after position {expected}: the log ends at {actual}")]
    Head {
        /// What the caller expected.
        expected: Position,
        /// What is so.
        actual: Position,
    },
    /// The frames do not follow each other.
    #[error("append a frame that begins at position {found}: the next position is {expected}")]
    Gap {
        /// The position that had to be next.
        expected: Position,
        /// Where the frame begins.
        found: Position,
    },
    /// The store could not be opened.
    #[error("open frame store `{}`: {why}", path.display())]
    Open {
        /// Its directory.
        path: PathBuf,
        /// What the disk or the database said.
        why: String,
    },
    /// The disk or the database failed.
    #[error("{doing}: {why}")]
    Io {
        /// What we were doing.
        doing: &'static str,
        /// What the disk or the database said.
        why: String,
    },
    /// What the store holds is not what it wrote.
    #[error("frame at position {first} is damaged: {why}")]
    Damaged {
        /// The first position of the frame.
        first: Position,
        /// What is wrong with it.
        why: String,
    },
    /// An earlier append failed; what is on disk is not known, so nothing is added to it.
    #[error("append frames: an earlier append failed, so the store takes no more until it is opened again")]
    Failed,
}

impl StoreError {
    /// Wraps what a library said.
    pub(crate) fn io(doing: &'static str, why: impl std::fmt::Display) -> StoreError {
        StoreError::Io { doing, why: why.to_string() }
    }
}

/// Checks that `frames` continue a log that ends at `actual`; gives the new head.
pub(crate) fn check_order(expected: Position, actual: Position, frames: &[Frame]) -> Result<Position, StoreError> {
    if expected != actual {
        return Err(StoreError::Head { expected, actual });
    }
    let mut head = actual;
    for frame in frames {
        if frame.first != head + 1 || frame.last < frame.first {
            return Err(StoreError::Gap { expected: head + 1, found: frame.first });
        }
        head = frame.last;
    }
    Ok(head)
}
