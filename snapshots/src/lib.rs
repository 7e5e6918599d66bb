//! State at a position: a versioned cache of what aggregates fold to, so that an actor need not read its whole
//! stream. It may be deleted at any time.
//!
//! ```text
//!  key   = stem of the kind | 0 | id (16) | chunk (u32, big endian)
//!  value = a chunk of: CRC32 of the rest (u32) | schema (16) | version (u64) | position (u64) | bytes      little endian
//! ```
//!
//! **Invariant:** a snapshot is what was put, for that stream and that schema, or there is none. Nothing that goes
//! wrong here is an error to the caller: there is a log to fold instead. So nothing is synced to disk either.
//!
//! The schema is a hash over the shape of the state: one that has changed makes its old snapshots invisible.
//! Whether a snapshot is not ahead of the log is for the reader to check, who knows the log.

#![forbid(unsafe_code)]

use parking_lot::{Mutex, RwLock};
use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};
use switchback_events::{Id, Position, StreamKey, Version};

const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// A larger state is folded again. The addresses of a /8 take 4 MiB at most.
const SNAPSHOT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// sled writes a leaf of many large values to a file of its own each time one of them changes; small chunks do
/// not come to that.
const CHUNK_BYTES: usize = 6 * 1024;
/// So much is put before it is waited for. sled 0.34.7 stops for ever when its file is to shrink while each of its
/// seven threads, which all databases of a process share, has a segment of 512 KiB to write; and each change can
/// rewrite a leaf of 100 KB.
const UNFLUSHED_BYTES_MAX: usize = 32 * 1024;
const CHANGES_AT_ONCE: usize = 8;

/// The state of an aggregate at a moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The version of its stream.
    pub version: Version,
    /// The position in the log of the stream's last event.
    pub position: Position,
    /// The state, encoded by its owner.
    pub bytes: Vec<u8>,
}

/// The cache: the last snapshot of each stream.
pub struct Snapshots {
    kept: Kept,
}

enum Kept {
    Memory(RwLock<HashMap<StreamKey, Vec<u8>>>),
    Sled {
        db: sled::Db,
        /// How many bytes were put since the last flush.
        unflushed: Mutex<usize>,
    },
}

impl Kept {
    fn sled(db: sled::Db) -> Kept {
        Kept::Sled { db, unflushed: Mutex::default() }
    }
}

impl Snapshots {
    /// A cache that lasts as long as the process.
    pub fn memory() -> Snapshots {
        Snapshots { kept: Kept::Memory(RwLock::default()) }
    }

    /// The cache in the directory `dir`, which is its own. A directory that cannot be opened is deleted and made
    /// anew; if that fails too, or another process uses it, the cache is in memory.
    pub fn open(dir: impl AsRef<Path>) -> Snapshots {
        let dir = dir.as_ref();
        let why = match open_sled(dir) {
            Ok(db) => return Snapshots { kept: Kept::sled(db) },
            Err(why) => why,
        };
        let path = dir.display();
        if in_use(&why) {
            tracing::warn!(%path, why, "snapshots are in use by another process, keep them in memory");
            return Snapshots::memory();
        }
        tracing::warn!(%path, why, "snapshots cannot be opened, begin with none");
        match remove(dir).map_err(|error| error.to_string()).and_then(|()| open_sled(dir)) {
            Ok(db) => Snapshots { kept: Kept::sled(db) },
            Err(why) => {
                tracing::warn!(%path, why, "snapshots cannot be created, keep them in memory");
                Snapshots::memory()
            }
        }
    }

    /// The snapshot of `stream`, if there is a sound one of this `schema`.
    pub fn get(&self, stream: StreamKey, schema: Id) -> Option<Snapshot> {
        match &self.kept {
            Kept::Memory(kept) => unpack(kept.read().get(&stream)?, schema),
            Kept::Sled { db, .. } => match get_chunks(db, stream) {
                Ok(value) => unpack(&value, schema),
                Err(error) => {
                    tracing::warn!(%stream, %error, "a snapshot cannot be read");
                    None
                }
            },
        }
    }

    /// Keeps `snapshot` as the one of `stream`, in place of any other.
    pub fn put(&self, stream: StreamKey, schema: Id, snapshot: Snapshot) {
        if snapshot.bytes.len() > SNAPSHOT_BYTES_MAX {
            return;
        }
        let value = pack(schema, &snapshot);
        match &self.kept {
            Kept::Memory(kept) => {
                kept.write().insert(stream, value);
            }
            Kept::Sled { db, unflushed } => {
                // One after the other, so that no more than one is added to what is unflushed.
                if let Err(error) = put_chunks(db, &mut unflushed.lock(), stream, &value) {
                    tracing::warn!(%stream, %error, "a snapshot cannot be written");
                }
            }
        }
    }

    /// Deletes all snapshots.
    pub fn clear(&self) {
        match &self.kept {
            Kept::Memory(kept) => kept.write().clear(),
            Kept::Sled { db, .. } => {
                if let Err(error) = db.clear() {
                    tracing::warn!(%error, "snapshots cannot be deleted");
                }
            }
        }
    }
}

/// sled can panic on files that it did not write; that, too, is only a directory that cannot be opened.
fn open_sled(dir: &Path) -> Result<sled::Db, String> {
    let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES);
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(opened) => opened.map_err(|error| error.to_string()),
        Err(_) => Err("sled does not understand what it finds there".to_string()),
    }
}

/// sled has no error kind of its own for this.
fn in_use(why: &str) -> bool {
    why.contains("could not acquire lock")
}

fn remove(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() { std::fs::remove_dir_all(dir) } else { std::fs::remove_file(dir) }
}

fn key(stream: StreamKey) -> Vec<u8> {
    [stream.kind.stem().as_bytes(), &[0], &stream.id.0].concat()
}

/// A reader that meets a writer may get chunks of both; the CRC tells.
fn get_chunks(db: &sled::Db, stream: StreamKey) -> sled::Result<Vec<u8>> {
    let mut value = Vec::new();
    for chunk in db.scan_prefix(key(stream)).values() {
        value.extend_from_slice(&chunk?);
    }
    Ok(value)
}

/// Puts the chunks of `value` in place of all earlier ones.
fn put_chunks(db: &sled::Db, unflushed: &mut usize, stream: StreamKey, value: &[u8]) -> sled::Result<()> {
    let chunk_key = |chunk: u32| [&key(stream)[..], &chunk.to_be_bytes()].concat();
    let count = value.len().div_ceil(CHUNK_BYTES) as u32;
    let removed = db.scan_prefix(key(stream)).keys().filter(|old| !matches!(old, Ok(old) if **old < *chunk_key(count)));
    let mut changes: Vec<(Vec<u8>, Option<&[u8]>)> =
        removed.map(|old| Ok((old?.to_vec(), None))).collect::<sled::Result<_>>()?;
    changes.extend((0..).zip(value.chunks(CHUNK_BYTES)).map(|(chunk, bytes)| (chunk_key(chunk), Some(bytes))));
    for changes in changes.chunks(CHANGES_AT_ONCE) {
        let mut batch = sled::Batch::default();
        for (key, bytes) in changes {
            *unflushed += bytes.map_or(0, <[u8]>::len);
            match bytes {
                Some(bytes) => batch.insert(&key[..], *bytes),
                None => batch.remove(&key[..]),
            }
        }
        db.apply_batch(batch)?;
        if *unflushed >= UNFLUSHED_BYTES_MAX || changes.len() == CHANGES_AT_ONCE {
            db.flush()?;
            *unflushed = 0;
        }
    }
    Ok(())
}

fn pack(schema: Id, snapshot: &Snapshot) -> Vec<u8> {
    let mut value = vec![0; 4];
    value.extend_from_slice(&schema.0);
    value.extend_from_slice(&snapshot.version.to_le_bytes());
    value.extend_from_slice(&snapshot.position.to_le_bytes());
    value.extend_from_slice(&snapshot.bytes);
    let crc = crc32fast::hash(&value[4..]);
    value[..4].copy_from_slice(&crc.to_le_bytes());
    value
}

fn unpack(value: &[u8], schema: Id) -> Option<Snapshot> {
    let (crc, rest) = value.split_first_chunk::<4>()?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (found, rest) = rest.split_first_chunk::<16>()?;
    if *found != schema.0 {
        return None;
    }
    let (version, rest) = rest.split_first_chunk::<8>()?;
    let (position, bytes) = rest.split_first_chunk::<8>()?;
    let (version, position) = (u64::from_le_bytes(*version), u64::from_le_bytes(*position));
    Some(Snapshot { version, position, bytes: bytes.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchback_events::StreamKind;

    fn stream(name: &str) -> StreamKey {
        StreamKey::new(StreamKind::Router, Id::of_name(name))
    }

    fn snapshot(version: Version) -> Snapshot {
        Snapshot { version, position: version * 10, bytes: b"state".repeat(version as usize) }
    }

    fn each(test: impl Fn(Snapshots)) {
        let dir = tempfile::tempdir().unwrap();
        test(Snapshots::memory());
        test(Snapshots::open(dir.path().join("snapshots")));
    }

    const SHAPE: Id = Id([1; 16]);
    const OTHER: Id = Id([2; 16]);

    #[test]
    fn the_last_snapshot_of_a_stream_is_got_by_its_schema_only() {
        each(|snapshots| {
            assert_eq!(snapshots.get(stream("a"), SHAPE), None);
            snapshots.put(stream("a"), SHAPE, snapshot(3));
            snapshots.put(stream("b"), SHAPE, snapshot(0));
            assert_eq!(snapshots.get(stream("a"), SHAPE), Some(snapshot(3)));
            assert_eq!(snapshots.get(stream("b"), SHAPE), Some(snapshot(0)));
            assert_eq!(snapshots.get(stream("a"), OTHER), None);
            snapshots.put(stream("a"), OTHER, snapshot(4));
            assert_eq!(snapshots.get(stream("a"), SHAPE), None);
            assert_eq!(snapshots.get(stream("a"), OTHER), Some(snapshot(4)));
        });
    }

    #[test]
    fn clearing_leaves_nothing() {
        each(|snapshots| {
            snapshots.put(stream("a"), SHAPE, snapshot(3));
            snapshots.clear();
            assert_eq!(snapshots.get(stream("a"), SHAPE), None);
        });
    }

    #[test]
    fn a_snapshot_of_any_size_replaces_a_longer_or_shorter_one() {
        each(|snapshots| {
            for version in [0, 1, 100_000, 3, 50_000, 2] {
                snapshots.put(stream("a"), SHAPE, snapshot(version));
                assert_eq!(snapshots.get(stream("a"), SHAPE), Some(snapshot(version)));
            }
        });
    }

    #[test]
    fn a_very_large_state_is_not_kept() {
        each(|snapshots| {
            let bytes = vec![0; SNAPSHOT_BYTES_MAX + 1];
            snapshots.put(stream("a"), SHAPE, Snapshot { version: 1, position: 1, bytes });
            assert_eq!(snapshots.get(stream("a"), SHAPE), None);
        });
    }

    #[test]
    fn snapshots_are_there_after_a_reopen() {
        let dir = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::open(dir.path());
        snapshots.put(stream("a"), SHAPE, snapshot(3));
        drop(snapshots);
        assert_eq!(Snapshots::open(dir.path()).get(stream("a"), SHAPE), Some(snapshot(3)));
    }

    #[test]
    fn any_changed_or_missing_byte_makes_a_snapshot_invisible() {
        let value = pack(SHAPE, &snapshot(2));
        for at in 0..value.len() {
            let mut changed = value.clone();
            changed[at] ^= 0x10;
            assert_eq!(unpack(&changed, SHAPE), None, "byte {at}");
            assert_eq!(unpack(&value[..at], SHAPE), None, "cut at {at}");
        }
        let snapshots = Snapshots::memory();
        let Kept::Memory(kept) = &snapshots.kept else { unreachable!() };
        kept.write().insert(stream("a"), value[1..].to_vec());
        assert_eq!(snapshots.get(stream("a"), SHAPE), None);
    }

    #[test]
    fn a_directory_that_cannot_be_opened_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshots");
        let usable = || {
            let snapshots = Snapshots::open(&path);
            assert!(matches!(snapshots.kept, Kept::Sled { .. }));
            assert_eq!(snapshots.get(stream("a"), SHAPE), None);
            snapshots.put(stream("a"), SHAPE, snapshot(1));
            assert_eq!(snapshots.get(stream("a"), SHAPE), Some(snapshot(1)));
        };
        std::fs::write(&path, b"a file").unwrap();
        usable();
        std::fs::remove_file(path.join("db")).unwrap();
        std::fs::create_dir(path.join("db")).unwrap();
        usable();
    }

    #[test]
    fn garbage_in_the_directory_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["db", "conf", "snap.00000000000000FF"] {
            for garbage in [&b"garbage"[..], &[0xff; 4096], &[0; 600_000]] {
                std::fs::write(dir.path().join(file), garbage).unwrap();
                let snapshots = Snapshots::open(dir.path());
                snapshots.put(stream("a"), SHAPE, snapshot(1));
                assert_eq!(snapshots.get(stream("a"), SHAPE), Some(snapshot(1)));
            }
        }
    }

    #[test]
    fn a_directory_in_use_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = Snapshots::open(dir.path());
        first.put(stream("a"), SHAPE, snapshot(3));
        let second = Snapshots::open(dir.path());
        assert_eq!(second.get(stream("a"), SHAPE), None);
        second.put(stream("a"), SHAPE, snapshot(4));
        assert_eq!(second.get(stream("a"), SHAPE), Some(snapshot(4)));
        assert_eq!(first.get(stream("a"), SHAPE), Some(snapshot(3)));
    }
}
