//! A disk that keeps what was synced and may keep or lose, whole or in part and in any order, what was not; and a frame
//! store on it. It fails when it is told to.

use fastrand::Rng;
use parking_lot::Mutex;
use std::{collections::BTreeSet, path::PathBuf, sync::Arc};
use switchback_events::Position;
use switchback_journal::{Frame, FrameStore, StoreError};

const SECTOR: usize = 512;
const MAGIC: u32 = 0x5b10_c0de;
const HEADER: usize = 12;

/// What the disk does to the next write or sync.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The write fails, and some of it is there.
    WriteError,
    /// There is no space.
    Full,
    /// The sync fails.
    SyncError,
    /// The power goes during the write.
    PowerInWrite,
    /// The power goes during the sync.
    PowerInSync,
}

/// One file on a disk, as the machine sees it and as it is on the platter.
pub struct Disk {
    cached: Vec<u8>,
    platter: Vec<u8>,
    dirty: BTreeSet<usize>,
    rng: Rng,
    fault: Option<Fault>,
    /// The power has gone in the midst of a write: the process does not get to see how it ended.
    pub power_lost: bool,
    /// Planted: a sync says yes and does nothing.
    pub sync_lies: bool,
}

impl Disk {
    pub fn new(seed: u64, content: Vec<u8>) -> Disk {
        Disk {
            cached: content.clone(),
            platter: content,
            dirty: BTreeSet::new(),
            rng: Rng::with_seed(seed),
            fault: None,
            power_lost: false,
            sync_lies: false,
        }
    }

    pub fn content(&self) -> Vec<u8> {
        self.platter.clone()
    }

    /// What happens to the next write, or not any more.
    pub fn set_fault(&mut self, fault: Option<Fault>) {
        self.fault = fault;
    }

    /// What is not synced is lost, kept, or torn, each sector for itself.
    pub fn lose_power(&mut self) {
        let fate = self.rng.u8(0..4);
        for sector in std::mem::take(&mut self.dirty) {
            let begin = sector * SECTOR;
            let end = self.cached.len().min(begin + SECTOR);
            let kept = match (fate, self.rng.u8(0..3)) {
                (0, _) | (2.., 0) => continue,
                (1, _) | (2.., 1) => end,
                _ => self.rng.usize(begin..=end.max(begin)),
            };
            self.put_on_platter(begin, kept);
        }
        self.cached = self.platter.clone();
        self.power_lost = false;
        self.fault = None;
    }

    fn put_on_platter(&mut self, begin: usize, end: usize) {
        if begin < end {
            if self.platter.len() < end {
                self.platter.resize(end, 0);
            }
            self.platter[begin..end].copy_from_slice(&self.cached[begin..end]);
        }
    }

    fn write(&mut self, at: usize, bytes: &[u8]) -> Result<(), StoreError> {
        let fault = self.fault.filter(|fault| !matches!(fault, Fault::SyncError | Fault::PowerInSync));
        let written = if fault.is_some() { self.rng.usize(0..=bytes.len()) } else { bytes.len() };
        let end = at + written;
        if self.cached.len() < end {
            self.cached.resize(end, 0);
        }
        self.cached[at..end].copy_from_slice(&bytes[..written]);
        self.dirty.extend(at / SECTOR..end.div_ceil(SECTOR));
        self.end(fault)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let fault = self.fault.filter(|fault| matches!(fault, Fault::SyncError | Fault::PowerInSync));
        if fault.is_none() && !self.sync_lies {
            for sector in std::mem::take(&mut self.dirty) {
                let begin = sector * SECTOR;
                self.put_on_platter(begin, self.cached.len().min(begin + SECTOR));
            }
        }
        self.end(fault)
    }

    fn end(&mut self, fault: Option<Fault>) -> Result<(), StoreError> {
        let Some(fault) = fault else { return Ok(()) };
        self.power_lost = matches!(fault, Fault::PowerInWrite | Fault::PowerInSync);
        // No space stays so until somebody makes some.
        self.fault = Some(fault).filter(|fault| *fault == Fault::Full);
        let why = format!("{fault:?}");
        Err(StoreError::Io { doing: "write to the simulated disk", why })
    }
}

/// Frames on a [`Disk`]: what is appended at once is one record with a checksum, so all of it is there or nothing.
pub struct DiskStore {
    disk: Arc<Mutex<Disk>>,
    state: Mutex<State>,
    dir: Option<PathBuf>,
}

struct State {
    frames: Vec<Frame>,
    end: usize,
    failed: bool,
}

impl DiskStore {
    /// Reads what is on the disk, and cuts off what was not written to its end.
    pub fn open(disk: Arc<Mutex<Disk>>, dir: Option<PathBuf>) -> DiskStore {
        let (mut frames, mut end) = (Vec::new(), 0);
        {
            let mut disk = disk.lock();
            while let Some((more, length)) = read_record(&disk.cached[end..], head_of(&frames)) {
                frames.extend(more);
                end += length;
            }
            disk.cached.truncate(end);
            disk.platter.truncate(end);
            // Whoever starts the node has seen to the disk; what the machine saw of a file that it could not sync is
            // written anew.
            disk.fault = None;
            disk.dirty = (0..end.div_ceil(SECTOR)).collect();
            let lies = std::mem::take(&mut disk.sync_lies);
            disk.sync().expect("there is no fault before the store is open");
            disk.sync_lies = lies;
        }
        DiskStore { disk, state: Mutex::new(State { frames, end, failed: false }), dir }
    }
}

fn head_of(frames: &[Frame]) -> Position {
    frames.last().map_or(0, |frame| frame.last)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// FNV-1a, over words of whatever is left; enough to tell a torn record.
fn checksum(bytes: &[u8]) -> u32 {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    (hash ^ (hash >> 32)) as u32
}

/// The frames of the record at the beginning of `bytes`, which come after `head`, and its length.
fn read_record(bytes: &[u8], mut head: Position) -> Option<(Vec<Frame>, usize)> {
    let length = u32_at(bytes, 4)? as usize;
    let body = bytes.get(HEADER..HEADER.checked_add(length)?)?;
    if u32_at(bytes, 0)? != MAGIC || u32_at(bytes, 8)? != checksum(body) {
        return None;
    }
    let (mut frames, mut at) = (Vec::new(), 0);
    while at < body.len() {
        let (first, last) = (u64_at(body, at)?, u64_at(body, at + 8)?);
        let end = at + 20 + u32_at(body, at + 16)? as usize;
        if first != head + 1 {
            return None;
        }
        frames.push(Frame { first, last, bytes: body.get(at + 20..end)?.to_vec() });
        (head, at) = (last, end);
    }
    Some((frames, HEADER + length))
}

fn record_of(frames: &[Frame]) -> Vec<u8> {
    let mut body = Vec::new();
    for frame in frames {
        body.extend_from_slice(&frame.first.to_le_bytes());
        body.extend_from_slice(&frame.last.to_le_bytes());
        body.extend_from_slice(&(frame.bytes.len() as u32).to_le_bytes());
        body.extend_from_slice(&frame.bytes);
    }
    let mut record = Vec::with_capacity(HEADER + body.len());
    record.extend_from_slice(&MAGIC.to_le_bytes());
    record.extend_from_slice(&(body.len() as u32).to_le_bytes());
    record.extend_from_slice(&checksum(&body).to_le_bytes());
    record.extend_from_slice(&body);
    record
}

impl FrameStore for DiskStore {
    fn append(&self, expected_head: Position, frames: &[Frame]) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if state.failed {
            return Err(StoreError::Failed);
        }
        let mut head = head_of(&state.frames);
        if expected_head != head {
            return Err(StoreError::Head { expected: expected_head, actual: head });
        }
        for frame in frames {
            if frame.first != head + 1 || frame.last < frame.first {
                return Err(StoreError::Gap { expected: head + 1, found: frame.first });
            }
            head = frame.last;
        }
        let record = record_of(frames);
        let mut disk = self.disk.lock();
        let written = disk.write(state.end, &record).and_then(|()| disk.sync());
        if written.is_err() {
            state.failed = true;
            return written;
        }
        state.end += record.len();
        state.frames.extend_from_slice(frames);
        Ok(())
    }

    fn read_from(&self, after: Position, max_frames: usize) -> Result<Vec<Frame>, StoreError> {
        let state = self.state.lock();
        let start = state.frames.partition_point(|frame| frame.last <= after);
        Ok(state.frames[start..].iter().take(max_frames).cloned().collect())
    }

    fn frame_at(&self, first: Position) -> Result<Option<Frame>, StoreError> {
        let state = self.state.lock();
        Ok(state.frames.binary_search_by_key(&first, |frame| frame.first).ok().map(|at| state.frames[at].clone()))
    }

    fn head(&self) -> Result<Position, StoreError> {
        Ok(head_of(&self.state.lock().frames))
    }

    fn dir(&self) -> Option<&std::path::Path> {
        self.dir.as_deref()
    }
}
