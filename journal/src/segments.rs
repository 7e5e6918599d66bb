//! Sealed segments: ranges of frames in immutable files, each with a manifest, so that sled stays small. A backup
//! is made of the same files.
//!
//! ```text
//!  000…1.segment  = "SBSEG1\n\0" | frame | frame | …
//!  frame          = first (u64) | last (u64) | length (u32) | CRC32 of bytes (u32) | bytes      little endian
//!  000…1.json     = Manifest
//! ```
//!
//! **Invariant:** a manifest is there only if its segment is whole and on disk; a frame leaves sled only after
//! that. So a crash at any step loses nothing, and the step is done again.

use crate::record::{GENESIS, Hash, last_chain};
use crate::signed_heads::hex;
use crate::store::{Frame, StoreError};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};
use switchback_events::Position;

const MAGIC: [u8; 8] = *b"SBSEG1\n\0";
const FRAME_HEADER_BYTES: usize = 24;
const FORMAT: u32 = 1;
const DRAFT: &str = "segment.draft";

/// What a segment holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// The format of the segment.
    pub format: u32,
    /// The position of its first event.
    pub first: Position,
    /// The position of its last event.
    pub last: Position,
    /// The number of frames.
    pub frames: u64,
    /// The size of the segment.
    pub bytes: u64,
    /// The hash chain before its first commit.
    #[serde(with = "hex")]
    pub chain_before: Hash,
    /// The hash chain after its last commit.
    #[serde(with = "hex")]
    pub chain_after: Hash,
    /// Over the whole segment.
    #[serde(with = "hex")]
    pub sha256: Hash,
}

fn name(first: Position, extension: &str) -> String {
    format!("{first:020}.{extension}")
}

/// Writes `frames` into a segment in `dir`, then its manifest, each whole and synced before it gets its name.
/// `None` when there are no frames.
pub(crate) fn write_segment(
    dir: &Path,
    chain_before: Hash,
    frames: &mut dyn Iterator<Item = Result<Frame, StoreError>>,
) -> Result<Option<Manifest>, StoreError> {
    let failed = |error: io::Error| StoreError::io("write a segment", error);
    fs::create_dir_all(dir).and_then(|()| sync_name(dir)).map_err(failed)?;
    let draft = dir.join(DRAFT);
    let file = Steady { file: File::create(&draft).map_err(failed)?, unsynced: 0 };
    let mut file = Hashing { to: BufWriter::new(file), hash: Sha256::new(), bytes: 0 };
    file.write_all(&MAGIC).map_err(failed)?;
    let mut manifest: Option<Manifest> = None;
    for frame in frames {
        let frame = frame?;
        file.write_all(&frame_header(&frame)).and_then(|()| file.write_all(&frame.bytes)).map_err(failed)?;
        let manifest = manifest.get_or_insert(Manifest {
            format: FORMAT,
            first: frame.first,
            last: frame.last,
            frames: 0,
            bytes: 0,
            chain_before,
            chain_after: chain_before,
            sha256: GENESIS,
        });
        manifest.last = frame.last;
        manifest.frames += 1;
        manifest.chain_after = last_chain(&frame.bytes).unwrap_or(GENESIS);
    }
    let Some(mut manifest) = manifest else {
        fs::remove_file(&draft).map_err(failed)?;
        return Ok(None);
    };
    (manifest.bytes, manifest.sha256) = (file.bytes, file.hash.finalize().into());
    let whole = file.to.into_inner().map_err(|error| failed(error.into_error()))?;
    whole.file.sync_all().map_err(failed)?;
    fs::rename(&draft, dir.join(name(manifest.first, "segment"))).map_err(failed)?;
    sync_dir(dir).map_err(failed)?;
    write_manifest(dir, &manifest).map_err(failed)?;
    Ok(Some(manifest))
}

fn write_manifest(dir: &Path, manifest: &Manifest) -> io::Result<()> {
    let draft = dir.join("manifest.draft");
    let mut file = File::create(&draft)?;
    file.write_all(serde_json::to_string_pretty(manifest)?.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, dir.join(name(manifest.first, "json")))?;
    sync_dir(dir)
}

pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes the name of a directory durable: what is in it is lost without its name.
fn sync_name(dir: &Path) -> io::Result<()> {
    dir.canonicalize()?.parent().map_or(Ok(()), sync_dir)
}

/// What stands before each frame.
pub(crate) fn frame_header(frame: &Frame) -> [u8; FRAME_HEADER_BYTES] {
    let mut header = [0; FRAME_HEADER_BYTES];
    header[..8].copy_from_slice(&frame.first.to_le_bytes());
    header[8..16].copy_from_slice(&frame.last.to_le_bytes());
    header[16..20].copy_from_slice(&(frame.bytes.len() as u32).to_le_bytes());
    header[20..].copy_from_slice(&crc32fast::hash(&frame.bytes).to_le_bytes());
    header
}

/// Reads one frame with its header, and checks its CRC.
pub(crate) fn read_frame(reader: &mut dyn Read) -> io::Result<Frame> {
    let mut header = [0; FRAME_HEADER_BYTES];
    reader.read_exact(&mut header)?;
    let place = place(&header, 0);
    let mut bytes = Vec::new();
    reader.take(u64::from(place.length)).read_to_end(&mut bytes)?;
    if bytes.len() != place.length as usize || crc32fast::hash(&bytes) != place.crc {
        return Err(io::Error::other(format!("the frame at position {} is not whole", place.first)));
    }
    Ok(Frame { first: place.first, last: place.last, bytes })
}

/// Removes what a failed [`write_segment`] left.
pub(crate) fn forget_draft(dir: &Path) {
    let _ = fs::remove_file(dir.join(DRAFT));
}

/// How much of a segment may wait for the disk. A sync of the log that comes meanwhile waits with it.
const UNSYNCED_BYTES_MAX: usize = 1024 * 1024;

/// A file that is synced as it grows.
struct Steady {
    file: File,
    unsynced: usize,
}

impl Write for Steady {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.unsynced += written;
        if self.unsynced >= UNSYNCED_BYTES_MAX {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

struct Hashing<W> {
    to: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Where a frame is in its segment.
#[derive(Clone, Copy)]
struct Place {
    first: Position,
    last: Position,
    offset: u64,
    length: u32,
    crc: u32,
}

/// One segment, open for reading.
pub(crate) struct Segment {
    pub manifest: Manifest,
    path: PathBuf,
    file: File,
    /// Found when they are first needed.
    places: OnceLock<Vec<Place>>,
}

impl Segment {
    fn open(dir: &Path, manifest: Manifest) -> Result<Segment, StoreError> {
        let path = dir.join(name(manifest.first, "segment"));
        let damaged =
            |error: io::Error| StoreError::Damaged { first: manifest.first, why: format!("its segment: {error}") };
        let file = File::open(&path).map_err(damaged)?;
        Ok(Segment { manifest, path, file, places: OnceLock::new() })
    }

    fn damaged(&self, first: Position, why: &str) -> StoreError {
        StoreError::Damaged { first, why: format!("{why} in `{}`", self.path.display()) }
    }

    fn places(&self) -> Result<&[Place], StoreError> {
        if let Some(places) = self.places.get() {
            return Ok(places);
        }
        let found = self.find_places()?;
        Ok(self.places.get_or_init(|| found))
    }

    fn find_places(&self) -> Result<Vec<Place>, StoreError> {
        let failed = |error: io::Error| StoreError::io("read a segment", error);
        let mut next = self.manifest.first;
        let mut reader = BufReader::with_capacity(1 << 16, File::open(&self.path).map_err(failed)?);
        let mut magic = [0; 8];
        if reader.read_exact(&mut magic).is_err() || magic != MAGIC {
            return Err(self.damaged(next, "the head of the segment is not one"));
        }
        let mut places = Vec::new();
        let mut offset = MAGIC.len() as u64;
        while next <= self.manifest.last {
            let mut header = [0; FRAME_HEADER_BYTES];
            if reader.read_exact(&mut header).is_err() {
                // What is before it is still read, so that the first fault is named.
                break;
            }
            offset += FRAME_HEADER_BYTES as u64;
            let place = place(&header, offset);
            if place.first != next || place.last < next || place.last > self.manifest.last {
                break;
            }
            places.push(place);
            next = place.last + 1;
            offset += u64::from(place.length);
            reader.seek_relative(i64::from(place.length)).map_err(failed)?;
        }
        Ok(places)
    }

    fn read(&self, place: &Place) -> Result<Frame, StoreError> {
        let mut bytes = Vec::new();
        let end = place.offset.checked_add(u64::from(place.length));
        if end.is_none_or(|end| end > self.manifest.bytes) {
            return Err(self.damaged(place.first, "the frame is cut short"));
        }
        bytes.resize(place.length as usize, 0);
        let read = self.file.read_exact_at(&mut bytes, place.offset);
        read.map_err(|_| self.damaged(place.first, "the frame is cut short"))?;
        if crc32fast::hash(&bytes) != place.crc {
            return Err(self.damaged(place.first, "the frame has a wrong CRC"));
        }
        Ok(Frame { first: place.first, last: place.last, bytes })
    }

    /// Adds the frames that hold positions above `after` to `found`, until there are `max`.
    fn read_from(&self, after: Position, max: usize, found: &mut Vec<Frame>) -> Result<(), StoreError> {
        let places = self.places()?;
        let start = places.partition_point(|place| place.last <= after);
        for place in &places[start..] {
            if found.len() >= max {
                return Ok(());
            }
            match self.read(place) {
                Ok(frame) => found.push(frame),
                // The sound ones before it come first.
                Err(_) if !found.is_empty() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        let end = places.last().map_or(self.manifest.first, |place| place.last + 1);
        if found.is_empty() && end <= self.manifest.last {
            return Err(self.damaged(end, "the frame is cut short"));
        }
        Ok(())
    }

    /// Compares the whole file with its manifest.
    pub fn check(&self) -> Result<(), StoreError> {
        let mut hash = Hashing { to: io::sink(), hash: Sha256::new(), bytes: 0 };
        let copied = File::open(&self.path).and_then(|mut file| io::copy(&mut file, &mut hash));
        copied.map_err(|error| StoreError::io("read a segment", error))?;
        let found: Hash = hash.hash.finalize().into();
        if (hash.bytes, found) != (self.manifest.bytes, self.manifest.sha256) {
            return Err(self.damaged(self.manifest.first, "the SHA-256 is not that of the manifest"));
        }
        let places = self.places()?;
        let last = places.last().map(|place| self.read(place)).transpose()?;
        let chain_after = last.and_then(|frame| last_chain(&frame.bytes)).unwrap_or(GENESIS);
        if (places.len() as u64, chain_after) != (self.manifest.frames, self.manifest.chain_after) {
            return Err(self.damaged(self.manifest.first, "the manifest tells of other frames"));
        }
        Ok(())
    }
}

fn place(header: &[u8; FRAME_HEADER_BYTES], offset: u64) -> Place {
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let long = |at: usize| u64::from(number(at)) | u64::from(number(at + 4)) << 32;
    Place { first: long(0), last: long(8), offset, length: number(16), crc: number(20) }
}

/// The segments of a directory, in order and without gaps.
pub(crate) struct Segments {
    dir: PathBuf,
    list: RwLock<Vec<Arc<Segment>>>,
}

impl Segments {
    /// Opens what is there. A directory that is not there is one without segments.
    pub fn open(dir: PathBuf) -> Result<Segments, StoreError> {
        let mut list: Vec<Arc<Segment>> = Vec::new();
        for manifest in manifests(&dir)? {
            let next = list.last().map_or(manifest.first, |segment| segment.manifest.last + 1);
            if manifest.first != next || manifest.last < manifest.first || manifest.format != FORMAT {
                let why = format!("its segment's manifest begins at {}", manifest.first);
                // Whichever of the two manifests is wrong, what is before this is not concerned.
                return Err(StoreError::Damaged { first: next.min(manifest.first), why });
            }
            list.push(Arc::new(Segment::open(&dir, manifest)?));
        }
        Ok(Segments { dir, list: RwLock::new(list) })
    }

    /// The last position that is sealed.
    pub fn last(&self) -> Position {
        self.list.read().last().map_or(0, |segment| segment.manifest.last)
    }

    fn chain(&self) -> Hash {
        self.list.read().last().map_or(GENESIS, |segment| segment.manifest.chain_after)
    }

    /// Seals `frames`, which come next. They are on disk when this returns.
    pub fn seal(&self, frames: &mut dyn Iterator<Item = Result<Frame, StoreError>>) -> Result<Position, StoreError> {
        if let Some(manifest) = write_segment(&self.dir, self.chain(), frames)? {
            let segment = Arc::new(Segment::open(&self.dir, manifest)?);
            self.list.write().push(segment);
        }
        Ok(self.last())
    }

    /// The sealed frames that hold positions above `after`, at most `max`.
    pub fn read_from(&self, after: Position, max: usize) -> Result<Vec<Frame>, StoreError> {
        let segments = {
            let list = self.list.read();
            list[list.partition_point(|segment| segment.manifest.last <= after)..].to_vec()
        };
        let mut found = Vec::new();
        for segment in segments {
            let before = found.len();
            if let Err(error) = segment.read_from(after, max, &mut found) {
                return if before > 0 { Ok(found) } else { Err(error) };
            }
            let complete = found.last().is_some_and(|frame| frame.last == segment.manifest.last);
            if found.len() >= max || !complete {
                break;
            }
        }
        Ok(found)
    }

    pub fn check(&self) -> Result<(), StoreError> {
        let segments = self.list.read().clone();
        let mut chain = GENESIS;
        for segment in segments {
            if segment.manifest.chain_before != chain {
                return Err(segment.damaged(segment.manifest.first, "the manifest tells of another chain before it"));
            }
            segment.check()?;
            chain = segment.manifest.chain_after;
        }
        Ok(())
    }
}

/// The manifests in `dir`, by their first positions.
pub(crate) fn manifests(dir: &Path) -> Result<Vec<Manifest>, StoreError> {
    let failed = |error: io::Error| StoreError::io("read a manifest", error);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let first = stem.and_then(|stem| stem.parse::<Position>().ok()).unwrap_or(0);
        let damaged = |why: String| StoreError::Damaged { first, why: format!("its manifest: {why}") };
        let text = fs::read(&path).map_err(failed)?;
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if manifest.first != first {
            return Err(damaged(format!("it says that it begins at {}", manifest.first)));
        }
        found.push(manifest);
    }
    found.sort_by_key(|manifest| manifest.first);
    Ok(found)
}
/// The frames of one segment, for a restore.
pub(crate) fn read_segment(
    dir: &Path,
    manifest: &Manifest,
) -> Result<impl Iterator<Item = Result<Frame, StoreError>>, StoreError> {
    let segment = Segment::open(dir, manifest.clone())?;
    segment.check()?;
    let places = segment.places()?.to_vec();
    Ok(places.into_iter().map(move |place| segment.read(&place)))
}
