//! Frames in sled 0.34.7, with the two repairs that durability needs:
//!
//! * `flush()` writes but does not fsync on Linux, so each append ends with `fdatasync` on a second descriptor
//!   of sled's file; only then is it durable.
//! * sled rewrites whole leaves of up to 17 values. A leaf above 128 KiB becomes a file in `blobs/` that sled
//!   *never* syncs, so that a power loss would take frames which were durable before. Frames are therefore
//!   stored in chunks of [`CHUNK_BYTES`], which keep every leaf below that limit.
//!
//! ```text
//!  key   = first position (u64) | chunk (u32)          big endian, so keys are in log order
//!  value = chunk 0: last position (u64) | length of the frame (u32) | bytes …    then: bytes …
//! ```
//!
//! **Invariant:** frames are only ever added, at the end; a failed append is never tried again.

use crate::store::{Frame, FrameStore, StoreError, check_order};
use parking_lot::Mutex;
use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};
use switchback_events::Position;

/// The largest value given to sled: 17 of them are below its blob limit of 128 KiB.
const CHUNK_BYTES: usize = 6 * 1024;
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// Only a backstop: appends flush for themselves.
const FLUSH_EVERY_MS: u64 = 500;
const TREE: &str = "frames";
const HEADER_BYTES: usize = 12;

/// A frame store in one sled database.
pub struct SledStore {
    frames: sled::Tree,
    // Kept open: dropping the last handle closes the database.
    _db: sled::Db,
    sync: File,
    head: AtomicU64,
    failed: AtomicBool,
    appending: Mutex<()>,
}

impl SledStore {
    /// Opens the store in `dir`, or makes an empty one. One process may have it open at a time.
    pub fn open(dir: impl AsRef<Path>) -> Result<SledStore, StoreError> {
        let dir = dir.as_ref();
        let failed = |why: String| StoreError::Open { path: dir.to_path_buf(), why };
        let db = open_sled(dir).map_err(failed)?;
        let frames = db.open_tree(TREE).map_err(|error| failed(error.to_string()))?;
        db.flush().map_err(|error| failed(error.to_string()))?;
        let sync = sync_new_files(dir).map_err(|error| failed(error.to_string()))?;
        let store = SledStore {
            frames,
            _db: db,
            sync,
            head: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            appending: Mutex::new(()),
        };
        let head = match store.last_frame_up_to(Position::MAX)? {
            Some(first) => store.frame_at(first)?.map_or(0, |frame| frame.last),
            None => 0,
        };
        store.head.store(head, Ordering::Release);
        Ok(store)
    }

    /// Where the frame begins that begins last at or before `position`.
    fn last_frame_up_to(&self, position: Position) -> Result<Option<Position>, StoreError> {
        let entry = self.frames.range(..=key(position, u32::MAX)).next_back();
        let Some((found, _)) = entry.transpose().map_err(|error| StoreError::io("find a frame", error))? else {
            return Ok(None);
        };
        Ok(Some(split_key(&found)?.0))
    }

    fn write(&self, frames: &[Frame]) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for frame in frames {
            add_chunks(&mut batch, frame)?;
        }
        self.frames.apply_batch(batch).map_err(|error| StoreError::io("write frames", error))?;
        self.frames.flush().map_err(|error| StoreError::io("flush frames", error))?;
        self.sync.sync_data().map_err(|error| StoreError::io("sync frames", error))
    }
}

impl FrameStore for SledStore {
    fn append(&self, expected_head: Position, frames: &[Frame]) -> Result<(), StoreError> {
        let _alone = self.appending.lock();
        if self.failed.load(Ordering::Acquire) {
            return Err(StoreError::Failed);
        }
        let head = check_order(expected_head, self.head.load(Ordering::Acquire), frames)?;
        if let Err(error) = self.write(frames) {
            self.failed.store(true, Ordering::Release);
            return Err(error);
        }
        self.head.store(head, Ordering::Release);
        Ok(())
    }

    fn read_from(&self, after: Position, max_frames: usize) -> Result<Vec<Frame>, StoreError> {
        let start = self.last_frame_up_to(after.saturating_add(1))?.unwrap_or(0);
        let mut chunks = Chunks::new(self.frames.range(key(start, 0)..));
        let mut found = Vec::new();
        while found.len() < max_frames {
            let Some(frame) = chunks.next_frame()? else { break };
            if frame.last > after {
                found.push(frame);
            }
        }
        Ok(found)
    }

    fn frame_at(&self, first: Position) -> Result<Option<Frame>, StoreError> {
        Chunks::new(self.frames.range(key(first, 0)..=key(first, u32::MAX))).next_frame()
    }

    fn head(&self) -> Result<Position, StoreError> {
        Ok(self.head.load(Ordering::Acquire))
    }
}

/// sled can panic on files that it did not write; that, too, is only a store that cannot be opened.
fn open_sled(dir: &Path) -> Result<sled::Db, String> {
    let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(Some(FLUSH_EVERY_MS));
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(opened) => opened.map_err(|error| error.to_string()),
        Err(_) => Err("sled does not understand what it finds there".to_string()),
    }
}

/// Makes the names of new files durable, and gives the second descriptor of sled's file.
fn sync_new_files(dir: &Path) -> std::io::Result<File> {
    let data = File::open(dir.join("db"))?;
    data.sync_all()?;
    File::open(dir)?.sync_all()?;
    if let Some(parent) = dir.canonicalize()?.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(data)
}

fn key(first: Position, chunk: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&first.to_be_bytes());
    key[8..].copy_from_slice(&chunk.to_be_bytes());
    key
}

fn split_key(key: &[u8]) -> Result<(Position, u32), StoreError> {
    match (key.first_chunk::<8>(), key.last_chunk::<4>()) {
        (Some(first), Some(chunk)) if key.len() == 12 => Ok((u64::from_be_bytes(*first), u32::from_be_bytes(*chunk))),
        _ => Err(StoreError::io("read a frame", format!("key of {} bytes", key.len()))),
    }
}

fn add_chunks(batch: &mut sled::Batch, frame: &Frame) -> Result<(), StoreError> {
    let length = u32::try_from(frame.bytes.len()).map_err(|error| StoreError::io("write a frame", error))?;
    let mut value = Vec::with_capacity(HEADER_BYTES + frame.bytes.len());
    value.extend_from_slice(&frame.last.to_be_bytes());
    value.extend_from_slice(&length.to_be_bytes());
    value.extend_from_slice(&frame.bytes);
    for (chunk, bytes) in (0..).zip(value.chunks(CHUNK_BYTES)) {
        batch.insert(&key(frame.first, chunk), bytes);
    }
    Ok(())
}

/// Puts the chunks of a range of keys together again.
struct Chunks {
    entries: std::iter::Peekable<sled::Iter>,
}

impl Chunks {
    fn new(entries: sled::Iter) -> Chunks {
        Chunks { entries: entries.peekable() }
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, StoreError> {
        let Some((first, start)) = self.next_chunk(None)? else { return Ok(None) };
        let damaged = |why: &str| StoreError::Damaged { first, why: why.to_string() };
        let (Some(last), Some(length)) = (start.first_chunk::<8>(), start.get(8..HEADER_BYTES)) else {
            return Err(damaged("its header is cut short"));
        };
        let last = u64::from_be_bytes(*last);
        let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let mut bytes = start[HEADER_BYTES..].to_vec();
        while let Some((_, more)) = self.next_chunk(Some(first))? {
            bytes.extend_from_slice(&more);
        }
        if bytes.len() != length {
            return Err(damaged("its chunks do not add up to its length"));
        }
        Ok(Some(Frame { first, last, bytes }))
    }

    /// The next chunk: of the frame `of`, or else the first of any frame.
    fn next_chunk(&mut self, of: Option<Position>) -> Result<Option<(Position, sled::IVec)>, StoreError> {
        if let (Some(of), Some(Ok((next, _)))) = (of, self.entries.peek())
            && split_key(next)?.0 != of
        {
            return Ok(None);
        }
        let entry = self.entries.next().transpose();
        let Some((found, value)) = entry.map_err(|error| StoreError::io("read a frame", error))? else {
            return Ok(None);
        };
        let (first, chunk) = split_key(&found)?;
        if of.is_none() && chunk != 0 {
            return Err(StoreError::Damaged { first, why: "its first chunk is missing".to_string() });
        }
        Ok(Some((first, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: Position, bytes: usize) -> Frame {
        Frame { first, last: first, bytes: vec![first as u8; bytes] }
    }

    #[test]
    fn frames_of_full_size_make_no_blob_files() {
        let dir = tempfile::tempdir().unwrap();
        let store = SledStore::open(dir.path()).unwrap();
        for at in 1..=300 {
            store.append(at - 1, &[frame(at, crate::FRAME_BYTES_MAX)]).unwrap();
        }
        assert_eq!(std::fs::read_dir(dir.path().join("blobs")).unwrap().count(), 0);
    }

    #[test]
    fn a_changed_header_or_a_lost_chunk_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let store = SledStore::open(dir.path()).unwrap();
        store.append(0, &[frame(1, 3 * CHUNK_BYTES), frame(2, 10)]).unwrap();
        store.frames.remove(key(1, 1)).unwrap();
        assert!(matches!(store.read_from(0, 9), Err(StoreError::Damaged { first: 1, .. })));
        assert_eq!(store.frame_at(2).unwrap(), Some(frame(2, 10)));
        store.frames.remove(key(1, 0)).unwrap();
        assert!(matches!(store.frame_at(1), Err(StoreError::Damaged { first: 1, .. })));
        store.frames.insert(key(2, 0), b"short").unwrap();
        assert!(matches!(store.frame_at(2), Err(StoreError::Damaged { first: 2, .. })));
    }
}
