//! Frames in sled 0.34.7, with the two repairs that durability needs:
//!
//! * `flush()` writes but does not fsync on Linux, so each append ends with `fdatasync` on a second descriptor
//!   of sled's file; only then is it durable.
//! * sled rewrites whole leaves of up to 17 values. A leaf above 128 KiB becomes a file in `blobs/` that sled
//!   *never* syncs, so that a power loss would take frames which were durable before. Frames are therefore
//!   stored in chunks of [`CHUNK_BYTES`], which keep every leaf below that limit; or whole, in `lanes.rs`, which
//!   spares the rewriting too, when they are larger than a chunk and fit there.
//!
//! ```text
//!  key   = first position (u64) | chunk (u32)          big endian, so keys are in log order
//!  value = chunk 0: last position (u64) | length of the frame (u32) | bytes …    then: bytes …
//! ```
//!
//! Old frames are sealed into segment files (`segments.rs`) and then removed from sled.
//!
//! **Invariant:** frames are only ever added, at the end; they are removed only when a segment on disk has them; a failed append is never tried again.

use crate::lanes::{Lane, Lanes};
use crate::segments::Segments;
use crate::sled_files;
use crate::store::{Frame, FrameStore, StoreError, check_order};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::BTreeMap,
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
pub(crate) const SEGMENTS: &str = "segments";
/// So few chunks are changed before that is written: sled stops for ever when its file is to shrink while each of its few
/// threads has something to write, and a change can rewrite a leaf.
const CHANGED_AT_ONCE: usize = 32;
const HEADER_BYTES: usize = 12;

/// A frame store in one sled database.
pub struct SledStore {
    frames: sled::Tree,
    lanes: Lanes,
    /// Where the frames in sled begin, and the lane that has them, if any.
    places: RwLock<BTreeMap<Position, Option<Lane>>>,
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
        let lanes = Lanes::open(db.clone()).map_err(|error| failed(error.to_string()))?;
        let store = SledStore {
            frames,
            lanes,
            places: RwLock::default(),
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
        store.unsealed.store(store.find_places(store.segments.last())?, Ordering::Release);
        let last = store.places.read().last_key_value().map(|(first, lane)| (*first, *lane));
        let head = match last {
            Some((first, lane)) => store.read_at(first, lane)?.last,
            None => 0,
        };
        let head = head.max(store.segments.last());
        store.head.store(head, Ordering::Release);
        Ok(store)
    }

    /// Notes where the frames are, and gives the bytes of those after `sealed`.
    fn find_places(&self, sealed: Position) -> Result<u64, StoreError> {
        let mut places = self.places.write();
        let mut bytes = 0;
        let lanes = self.lanes.trees().into_iter().map(|(lane, tree)| (Some(lane), tree));
        for (lane, tree) in std::iter::once((None, self.frames.clone())).chain(lanes) {
            for entry in tree.iter() {
                let (key, value) = entry.map_err(|error| StoreError::io("read a frame", error))?;
                let (first, chunk) = split_key(&key)?;
                places.insert(first, lane);
                let header = if chunk == 0 { HEADER_BYTES } else { 0 };
                bytes += if first > sealed { value.len().saturating_sub(header) as u64 } else { 0 };
            }
        }
        Ok(bytes - self.remove_unfinished(&mut places)?)
    }

    /// Removes what an append left that did not come to the first chunk of its frame, the last of all. Gives its bytes.
    fn remove_unfinished(&self, places: &mut BTreeMap<Position, Option<Lane>>) -> Result<u64, StoreError> {
        let failed = |error: sled::Error| StoreError::io("remove an unfinished frame", error);
        let Some((&first, None)) = places.last_key_value() else { return Ok(0) };
        if self.frames.contains_key(key(first, 0)).map_err(failed)? {
            return Ok(0);
        }
        let mut bytes = 0;
        for (removed, entry) in self.frames.range(key(first, 0)..).enumerate() {
            let (key, value) = entry.map_err(failed)?;
            bytes += value.len() as u64;
            self.frames.remove(key).map_err(failed)?;
            if removed % CHANGED_AT_ONCE == 0 {
                self.frames.flush().map_err(failed)?;
            }
        }
        places.remove(&first);
        Ok(bytes)
    }

    /// Removes the frames that begin at or before `position` from sled.
    fn remove_up_to(&self, position: Position) -> Result<(), StoreError> {
        let removed = {
            let mut places = self.places.write();
            let rest = places.split_off(&position.saturating_add(1));
            std::mem::replace(&mut *places, rest)
        };
        let mut lanes: BTreeMap<Lane, Vec<[u8; 12]>> = BTreeMap::new();
        for (first, lane) in removed {
            if let Some(lane) = lane {
                lanes.entry(lane).or_default().push(key(first, 0));
            }
        }
        for (lane, keys) in lanes {
            self.lanes.remove(lane, &keys)?;
        }
        let failed = |error: sled::Error| StoreError::io("remove sealed frames", error);
        loop {
            let mut batch = sled::Batch::default();
            let mut count = 0;
            for key in self.frames.range(..=key(position, u32::MAX)).keys().take(CHANGED_AT_ONCE) {
                batch.remove(key.map_err(failed)?);
                count += 1;
            }
            if count == 0 {
                return Ok(());
            }
            self.frames.apply_batch(batch).and_then(|()| self.frames.flush()).map_err(failed)?;
        }
    }

    /// The frames in sled, from the one on that holds the position after `after`.
    fn read_unsealed(&self, after: Position, max_frames: usize) -> Result<Vec<Frame>, StoreError> {
        let places: Vec<(Position, Option<Lane>)> = {
            let places = self.places.read();
            let start = places.range(..=after.saturating_add(1)).next_back().map_or(0, |(first, _)| *first);
            let places = places.range(start..).map(|(first, lane)| (*first, *lane));
            places.take(max_frames.saturating_add(1)).collect()
        };
        let mut found: Vec<Frame> = Vec::new();
        for (first, lane) in places {
            if found.len() >= max_frames {
                break;
            }
            let frame = self.read_at(first, lane)?;
            if frame.last > after {
                found.push(frame);
            }
        }
        Ok(found)
    }

    fn read_at(&self, first: Position, lane: Option<Lane>) -> Result<Frame, StoreError> {
        let keys = key(first, 0)..=key(first, u32::MAX);
        let frame = match lane {
            Some(lane) => frame_of(self.lanes.tree(lane)?.range(keys)),
            None => frame_of(self.frames.range(keys)),
        };
        frame.map_err(|why| StoreError::Damaged { first, why })
    }

    fn write(&self, frames: &[Frame]) -> Result<(), StoreError> {
        let mut places = Vec::with_capacity(frames.len());
        for frame in frames {
            places.push((frame.first, self.write_one(frame)?));
        }
        self.frames.flush().map_err(|error| StoreError::io("flush frames", error))?;
        self.sync.sync_data().map_err(|error| StoreError::io("sync frames", error))?;
        self.places.write().extend(places);
        Ok(())
    }

    fn write_one(&self, frame: &Frame) -> Result<Option<Lane>, StoreError> {
        let failed = |error: sled::Error| StoreError::io("write frames", error);
        let value = value_of(frame)?;
        if value.len() <= CHUNK_BYTES {
            // One chunk is whole by itself; a batch costs a write of its own.
            self.frames.insert(key(frame.first, 0), value).map_err(failed)?;
            return Ok(None);
        }
        if let Some(lane) = self.lanes.take(value.len()).map_err(failed)? {
            self.lanes.tree(lane)?.insert(key(frame.first, 0), value).map_err(failed)?;
            return Ok(Some(lane));
        }
        // The first chunk, without which the others count for nothing, goes last; and no more at once than sled can
        // take, see `CHANGED_AT_ONCE`.
        let chunks: Vec<(u32, &[u8])> = (0..).zip(value.chunks(CHUNK_BYTES)).collect();
        let (first, rest) = chunks.split_at(1);
        for chunks in rest.chunks(CHANGED_AT_ONCE).chain([first]) {
            let mut batch = sled::Batch::default();
            for (chunk, bytes) in chunks {
                batch.insert(&key(frame.first, *chunk), *bytes);
            }
            self.frames.apply_batch(batch).and_then(|()| self.frames.flush()).map_err(failed)?;
        }
        Ok(None)
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
                Ok(found.into_iter().next().filter(|frame| frame.first == first))
            } else {
                let place = self.places.read().get(&first).copied();
                place.map(|lane| self.read_at(first, lane)).transpose()
            };
            if matches!(frame, Ok(Some(_))) || self.segments.last() == sealed {
                return frame;
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
        let places = self.places.read().range(sealed + 1..).map(|(first, lane)| (*first, *lane)).collect::<Vec<_>>();
        let mut places = places.into_iter();
        let mut bytes = 0;
        let mut frames = std::iter::from_fn(|| {
            let (first, lane) = places.next()?;
            match self.read_at(first, lane) {
                Ok(frame) if frame.last > upto => None,
                Ok(frame) => {
                    bytes += frame.bytes.len() as u64;
                    Some(Ok(frame))
                }
                Err(error) => Some(Err(error)),
            }
        });
        let last = self.segments.seal(&mut frames)?;
        self.remove_up_to(last)?;
        self.unsealed.fetch_sub(bytes, Ordering::AcqRel);
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

/// Copies sled's own files out of `dir`.
fn copy_of(dir: &Path) -> std::io::Result<Copy> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let copy = Copy(std::env::temp_dir().join(format!("switchback-at-rest-{}-{number}", std::process::id())));
    std::fs::create_dir_all(copy.0.join("blobs"))?;
    let (database, deadline) = (File::open(dir.join("db"))?, Instant::now() + CLOSING);
    while database.try_lock_shared().is_err() {
        if Instant::now() >= deadline {
            return Err(std::io::Error::other("another process has it open"));
        }
        std::thread::sleep(CLOSING_POLL);
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
/// How often it is tried meanwhile.
const CLOSING_POLL: Duration = Duration::from_millis(10);

/// sled can panic on files that it did not write; that, too, is only a store that cannot be opened.
fn open_sled(dir: &Path) -> Result<sled::Db, String> {
    let config_of =
        |dir: &Path| sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(Some(FLUSH_EVERY_MS));
    let config = config_of(dir);
    let deadline = Instant::now() + CLOSING;
    sled_files::prepare(dir, config_of).map_err(|error| error.to_string())?;
    loop {
        let why = match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(error)) => error.to_string(),
            Err(_) => return Err("sled does not understand what it finds there".to_string()),
        };
        if !why.contains("could not acquire lock") || Instant::now() >= deadline {
            return Err(why);
        }
        std::thread::sleep(CLOSING_POLL);
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

/// What is stored for a frame, before it is cut into chunks.
fn value_of(frame: &Frame) -> Result<Vec<u8>, StoreError> {
    let length = u32::try_from(frame.bytes.len()).map_err(|error| StoreError::io("write a frame", error))?;
    let mut value = Vec::with_capacity(HEADER_BYTES + frame.bytes.len());
    value.extend_from_slice(&frame.last.to_be_bytes());
    value.extend_from_slice(&length.to_be_bytes());
    value.extend_from_slice(&frame.bytes);
    Ok(value)
}

/// Puts the chunks of a frame together again; or says what is wrong with them.
fn frame_of(chunks: sled::Iter) -> Result<Frame, String> {
    let mut frame: Option<(Frame, usize)> = None;
    for (number, entry) in (0..).zip(chunks) {
        let (key, value) = entry.map_err(|error| error.to_string())?;
        let (first, chunk) = split_key(&key).map_err(|error| error.to_string())?;
        if chunk != number {
            return Err(format!("its chunk {number} is missing"));
        }
        match &mut frame {
            Some((frame, _)) => frame.bytes.extend_from_slice(&value),
            None => {
                let (Some(last), Some(length)) = (value.first_chunk::<8>(), value.get(8..HEADER_BYTES)) else {
                    return Err("its header is cut short".to_string());
                };
                let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                let mut bytes = Vec::with_capacity(length.min(crate::FRAME_BYTES_MAX));
                bytes.extend_from_slice(&value[HEADER_BYTES..]);
                frame = Some((Frame { first, last: u64::from_be_bytes(*last), bytes }, length));
            }
        }
    }
    match frame {
        Some((frame, length)) if frame.bytes.len() == length => Ok(frame),
        Some(_) => Err("its chunks do not add up to its length".to_string()),
        None => Err("it is missing".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::LANE_BYTES;

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
    fn frames_of_all_sizes_are_read_as_they_were_appended_and_lanes_are_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let sizes = [1, 500, CHUNK_BYTES, 9_000, 30_000, crate::FRAME_BYTES_MAX, LANE_BYTES, 2 * LANE_BYTES];
        let wanted: Vec<_> = (1..=600).map(|at| frame(at, sizes[(at * at % 31 % 8) as usize])).collect();
        let mut lanes = 0;
        for (round, frames) in wanted.chunks(100).enumerate() {
            let store = SledStore::open(dir.path()).unwrap();
            let head = round as u64 * 100;
            for (at, pair) in (head..).step_by(2).zip(frames.chunks(2)) {
                store.append(at, pair).unwrap();
            }
            assert_eq!(store.read_from(0, usize::MAX).unwrap(), wanted[..head as usize + 100]);
            // All but the last ten, in the midst of a lane.
            assert_eq!(store.seal(head + 90).unwrap(), head + 90);
            assert_eq!(store.read_from(0, usize::MAX).unwrap(), wanted[..head as usize + 100]);
            let left = &wanted[head as usize + 90..head as usize + 100];
            assert_eq!(store.unsealed_bytes(), left.iter().map(|frame| frame.bytes.len() as u64).sum::<u64>());
            if round == 1 {
                lanes = store.lanes.trees().len();
            }
            assert!(lanes == 0 || store.lanes.trees().len() <= lanes + 1);
        }
        assert!(lanes > 10);
        assert_eq!(std::fs::read_dir(dir.path().join("blobs")).unwrap().count(), 0);
    }

    #[test]
    fn what_an_append_left_unfinished_is_nothing_and_a_frame_of_many_megabytes_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let large = frame(2, crate::record::COMMIT_BYTES_MAX);
        let store = SledStore::open(dir.path()).unwrap();
        store.append(0, &[frame(1, 10), large.clone()]).unwrap();
        assert_eq!(store.frame_at(2).unwrap(), Some(large));
        // As if the power had gone before the last step of the append.
        store.frames.remove(key(2, 0)).unwrap();
        drop(store);
        let store = SledStore::open(dir.path()).unwrap();
        assert_eq!((store.head().unwrap(), store.unsealed_bytes()), (1, 10));
        store.append(1, &[frame(2, LANE_BYTES + 1)]).unwrap();
        drop(store);
        let store = SledStore::open(dir.path()).unwrap();
        assert_eq!(store.read_from(0, 9).unwrap(), [frame(1, 10), frame(2, LANE_BYTES + 1)]);
        assert_eq!(std::fs::read_dir(dir.path().join("blobs")).unwrap().count(), 0);
    }

    #[test]
    fn a_changed_header_or_a_lost_chunk_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let store = SledStore::open(dir.path()).unwrap();
        store.append(0, &[frame(1, LANE_BYTES + 1), frame(2, 10)]).unwrap();
        store.frames.remove(key(1, 1)).unwrap();
        assert!(matches!(store.read_from(0, 9), Err(StoreError::Damaged { first: 1, .. })));
        assert_eq!(store.frame_at(2).unwrap(), Some(frame(2, 10)));
        store.frames.remove(key(1, 0)).unwrap();
        assert!(matches!(store.frame_at(1), Err(StoreError::Damaged { first: 1, .. })));
        drop(store);
        let store = SledStore::open(dir.path()).unwrap();
        assert!(matches!(store.read_from(0, 9), Err(StoreError::Damaged { first: 1, .. })), "not taken for unfinished");
        store.frames.insert(key(2, 0), b"short").unwrap();
        assert!(matches!(store.frame_at(2), Err(StoreError::Damaged { first: 2, .. })));
    }
}
