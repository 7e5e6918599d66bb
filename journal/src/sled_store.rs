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
//! Old frames are sealed into segment files (`segments.rs`) and then removed from sled.
//!
//! **Invariant:** frames are only ever added, at the end; they are removed only when a segment on disk has them; a failed append is never tried again.

use crate::segments::Segments;
use crate::store::{Frame, FrameStore, StoreError, check_order};
use parking_lot::Mutex;
use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};
use switchback_events::Position;

/// The largest value given to sled: 17 of them are below its blob limit of 128 KiB.
const CHUNK_BYTES: usize = 6 * 1024;
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// Only a backstop: appends flush for themselves.
const FLUSH_EVERY_MS: u64 = 500;
const TREE: &str = "frames";
const SEGMENTS: &str = "segments";
const REMOVED_AT_ONCE: usize = 1_000;
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
    dir: PathBuf,
    segments: Segments,
    sealing: Mutex<()>,
    unsealed: AtomicU64,
    /// The copy that is read in place of what may not be written to.
    _copy: Option<Copy>,
}

/// A copy of sled's files, for as long as it is needed.
struct Copy(PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl SledStore {
    /// Opens the store in `dir`, or makes an empty one. One process may have it open at a time.
    pub fn open(dir: impl AsRef<Path>) -> Result<SledStore, StoreError> {
        let dir = dir.as_ref();
        let store = SledStore::open_files(dir, dir, None)?;
        // A crash may have come between sealing frames and removing them.
        store.remove_up_to(store.segments.last())?;
        Ok(store)
    }

    /// Opens the store in `dir` for reading, without ever writing to it: sled, which writes when it opens, gets a
    /// copy of its files in the directory for temporary files.
    pub fn open_at_rest(dir: impl AsRef<Path>) -> Result<SledStore, StoreError> {
        let dir = dir.as_ref();
        let failed = |error: std::io::Error| StoreError::Open { path: dir.to_path_buf(), why: error.to_string() };
        let copy = copy_of(dir).map_err(failed)?;
        let path = copy.0.clone();
        SledStore::open_files(dir, &path, Some(copy))
    }

    fn open_files(dir: &Path, files: &Path, copy: Option<Copy>) -> Result<SledStore, StoreError> {
        let failed = |why: String| StoreError::Open { path: dir.to_path_buf(), why };
        let db = open_sled(files).map_err(failed)?;
        let segments = Segments::open(dir.join(SEGMENTS))?;
        let frames = db.open_tree(TREE).map_err(|error| failed(error.to_string()))?;
        db.flush().map_err(|error| failed(error.to_string()))?;
        let sync = sync_new_files(files).map_err(|error| failed(error.to_string()))?;
        let store = SledStore {
            frames,
            _db: db,
            sync,
            head: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            appending: Mutex::new(()),
            dir: dir.to_path_buf(),
            segments,
            sealing: Mutex::new(()),
            unsealed: AtomicU64::new(0),
            _copy: copy,
        };
        let head = match store.last_frame_up_to(Position::MAX)? {
            Some(first) => store.frame_at(first)?.map_or(0, |frame| frame.last),
            None => 0,
        };
        let head = head.max(store.segments.last());
        store.unsealed.store(store.bytes_after(store.segments.last())?, Ordering::Release);
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

    fn bytes_after(&self, position: Position) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for entry in self.frames.range(key(position.saturating_add(1), 0)..) {
            bytes += entry.map_err(|error| StoreError::io("read a frame", error))?.1.len() as u64;
        }
        Ok(bytes)
    }

    /// Removes the frames that begin at or before `position` from sled.
    fn remove_up_to(&self, position: Position) -> Result<(), StoreError> {
        let failed = |error: sled::Error| StoreError::io("remove sealed frames", error);
        loop {
            let mut batch = sled::Batch::default();
            let mut count = 0;
            for key in self.frames.range(..=key(position, u32::MAX)).keys().take(REMOVED_AT_ONCE) {
                batch.remove(key.map_err(failed)?);
                count += 1;
            }
            if count == 0 {
                return Ok(());
            }
            self.frames.apply_batch(batch).map_err(failed)?;
        }
    }

    /// The frames in sled.
    fn read_unsealed(&self, after: Position, max_frames: usize) -> Result<Vec<Frame>, StoreError> {
        let start = self.last_frame_up_to(after.saturating_add(1))?.unwrap_or(0);
        let mut chunks = Chunks::new(self.frames.range(key(start, 0)..));
        let mut found: Vec<Frame> = Vec::new();
        while found.len() < max_frames {
            let Some(frame) = chunks.next_frame()? else { break };
            if frame.last > after {
                found.push(frame);
            }
        }
        Ok(found)
    }

    fn write(&self, frames: &[Frame]) -> Result<(), StoreError> {
        let mut chunks = Vec::new();
        for frame in frames {
            add_chunks(&mut chunks, frame)?;
        }
        // One chunk is whole by itself; a batch costs a write of its own.
        let written = match &chunks[..] {
            [(key, value)] => self.frames.insert(key, &value[..]).map(|_| ()),
            _ => self.frames.apply_batch(chunks.into_iter().fold(sled::Batch::default(), |mut batch, (key, value)| {
                batch.insert(&key, value);
                batch
            })),
        };
        written.map_err(|error| StoreError::io("write frames", error))?;
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
        let bytes: usize = frames.iter().map(|frame| frame.bytes.len()).sum();
        self.unsealed.fetch_add(bytes as u64, Ordering::AcqRel);
        self.head.store(head, Ordering::Release);
        Ok(())
    }

    fn read_from(&self, after: Position, max_frames: usize) -> Result<Vec<Frame>, StoreError> {
        loop {
            let sealed = self.segments.last();
            let mut found = Vec::new();
            let mut next = after;
            if after < sealed {
                found = self.segments.read_from(after, max_frames)?;
                next = found.last().map_or(after, |frame| frame.last);
                // More of the sealed ones come next, or a fault.
                if next < sealed {
                    return Ok(found);
                }
            }
            let unsealed = self.read_unsealed(next, max_frames - found.len());
            // Frames may have been sealed and removed under this.
            if self.segments.last() != sealed {
                continue;
            }
            match unsealed {
                Ok(frames) => found.extend(frames),
                Err(_) if !found.is_empty() => {}
                Err(error) => return Err(error),
            }
            return Ok(found);
        }
    }

    fn frame_at(&self, first: Position) -> Result<Option<Frame>, StoreError> {
        loop {
            let sealed = self.segments.last();
            let frame = if first <= sealed {
                let found = self.segments.read_from(first.saturating_sub(1), 1)?;
                found.into_iter().next().filter(|frame| frame.first == first)
            } else {
                self.unsealed_frame(first)?
            };
            if frame.is_some() || self.segments.last() == sealed {
                return Ok(frame);
            }
        }
    }

    fn head(&self) -> Result<Position, StoreError> {
        Ok(self.head.load(Ordering::Acquire))
    }

    fn seal(&self, upto: Position) -> Result<Position, StoreError> {
        let _alone = self.sealing.lock();
        let sealed = self.segments.last();
        let upto = upto.min(self.head.load(Ordering::Acquire));
        let mut chunks = Chunks::new(self.frames.range(key(sealed + 1, 0)..));
        let mut frames = std::iter::from_fn(|| match chunks.next_frame() {
            Ok(Some(frame)) if frame.last <= upto => Some(Ok(frame)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        });
        let last = self.segments.seal(&mut frames)?;
        self.remove_up_to(last)?;
        self.unsealed.store(self.bytes_after(last)?, Ordering::Release);
        Ok(last)
    }

    fn unsealed_bytes(&self) -> u64 {
        self.unsealed.load(Ordering::Acquire)
    }

    fn check(&self) -> Result<(), StoreError> {
        self.segments.check()
    }

    fn dir(&self) -> Option<&Path> {
        Some(&self.dir)
    }
}

impl SledStore {
    fn unsealed_frame(&self, first: Position) -> Result<Option<Frame>, StoreError> {
        Chunks::new(self.frames.range(key(first, 0)..=key(first, u32::MAX))).next_frame()
    }
}

/// Copies sled's own files out of `dir`.
fn copy_of(dir: &Path) -> std::io::Result<Copy> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let copy = Copy(std::env::temp_dir().join(format!("switchback-at-rest-{}-{number}", std::process::id())));
    std::fs::create_dir_all(copy.0.join("blobs"))?;
    if File::open(dir.join("db"))?.try_lock_shared().is_err() {
        return Err(std::io::Error::other("another process has it open"));
    }
    for folder in ["", "blobs"] {
        let Ok(entries) = std::fs::read_dir(dir.join(folder)) else { continue };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let ours = [".checkpoint", ".jsonl", ".key"].iter().any(|end| name.to_string_lossy().ends_with(end));
            if entry.file_type()?.is_file() && !ours {
                std::fs::copy(entry.path(), copy.0.join(folder).join(name))?;
            }
        }
    }
    Ok(copy)
}

/// How long a database that was just closed may still hold its lock: sled's last thread lets go of it by and by.
const CLOSING: Duration = Duration::from_secs(3);

/// sled can panic on files that it did not write; that, too, is only a store that cannot be opened.
fn open_sled(dir: &Path) -> Result<sled::Db, String> {
    let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(Some(FLUSH_EVERY_MS));
    let deadline = Instant::now() + CLOSING;
    loop {
        let why = match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(error)) => error.to_string(),
            Err(_) => return Err("sled does not understand what it finds there".to_string()),
        };
        if !why.contains("could not acquire lock") || Instant::now() >= deadline {
            return Err(why);
        }
        std::thread::sleep(Duration::from_millis(10));
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

fn add_chunks(chunks: &mut Vec<([u8; 12], Vec<u8>)>, frame: &Frame) -> Result<(), StoreError> {
    let length = u32::try_from(frame.bytes.len()).map_err(|error| StoreError::io("write a frame", error))?;
    let mut value = Vec::with_capacity(HEADER_BYTES + frame.bytes.len());
    value.extend_from_slice(&frame.last.to_be_bytes());
    value.extend_from_slice(&length.to_be_bytes());
    value.extend_from_slice(&frame.bytes);
    for (chunk, bytes) in (0..).zip(value.chunks(CHUNK_BYTES)) {
        chunks.push((key(frame.first, chunk), bytes.to_vec()));
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
