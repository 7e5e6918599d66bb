//! The index checkpoint: a file of what [`Index::add`] was given for every commit, so that opening replays only
//! the tail of the log. Blocks are only ever added, every so often (`Options`) and at close; one
//! that is torn or does not fit ends the checkpoint, and what follows is read from the log.
//!
//! ```text
//!  file  = block | block | …        block = "SBX1" | length (u32) | CRC32 (u32) | body      little endian
//!  body  = MessagePack array: `Body`;  rows = commits, as variable-length numbers into the tables of the block
//! ```
//!
//! **Invariant:** a checkpoint is believed only if the log holds its last position with its chain. Deleting it
//! changes nothing but time.

use crate::Options;
use crate::index::{Index, Window};
use crate::record::{Hash, last_chain};
use crate::state::State;
use crate::store::FrameStore;
use foldhash::HashMap;
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::Path,
    time::{Duration, Instant},
};
use switchback_events::{CommandId, Id, Micros, Position, StreamKey, StreamKind};

const FILE: &str = "index.checkpoint";
const MAGIC: [u8; 4] = *b"SBX1";
const HEADER_BYTES: usize = 12;

/// Writes the checkpoint on.
pub(crate) struct Checkpoint {
    file: File,
    block: Block,
    written: Instant,
    failed: bool,
    events_max: u64,
    age_max: Duration,
}

/// What waits to be written.
#[derive(Default)]
struct Block {
    begin: Position,
    events: u64,
    time: Micros,
    numbers: HashMap<Id, u32>,
    ids: Vec<Id>,
    stream_numbers: HashMap<StreamKey, u32>,
    streams: Vec<(StreamKind, u32)>,
    rows: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    /// The last position before the block.
    begin: Position,
    /// The last position of the block.
    end: Position,
    chain: Hash,
    ids: Vec<Id>,
    streams: Vec<(StreamKind, u32)>,
    #[serde(borrow, serialize_with = "crate::record::as_bytes")]
    rows: &'a [u8],
}

/// What the checkpoint knew, and the way to write it on.
pub(crate) struct Loaded {
    pub state: State,
    pub checkpoint: Option<Checkpoint>,
}

/// Reads the checkpoint beside `store`. Whatever is wrong with it only costs time.
pub(crate) fn load(store: &dyn FrameStore, window: Window, options: &Options) -> Loaded {
    let empty = || State::new(Index::new(window));
    let Some(dir) = store.dir() else { return Loaded { state: empty(), checkpoint: None } };
    let path = dir.join(FILE);
    let bytes = std::fs::read(&path).unwrap_or_default();
    let mut state = empty();
    let mut length = read_blocks(&bytes, &mut state).unwrap_or(0);
    if length == 0 || !fits(store, &state) {
        (state, length) = (empty(), 0);
    }
    let checkpoint = Checkpoint::open(&path, length as u64, state.index.head(), options);
    let checkpoint = checkpoint.inspect_err(|error| tracing::warn!(%error, "no index checkpoint is kept")).ok();
    Loaded { state, checkpoint }
}

/// How far the checkpoint beside `store` reaches, if it is one of this log.
pub(crate) fn reached(store: &dyn FrameStore) -> Option<Position> {
    let bytes = std::fs::read(store.dir()?.join(FILE)).ok()?;
    let mut state = State::new(Index::new(Window { age: Micros::MAX, commands: 0 }));
    let length = read_blocks(&bytes, &mut state)?;
    (length > 0 && fits(store, &state)).then(|| state.index.head())
}

/// Whether the log holds the state's last position with the state's chain.
fn fits(store: &dyn FrameStore, state: &State) -> bool {
    let head = state.index.head();
    let Ok(frames) = store.read_from(head.saturating_sub(1), 1) else { return false };
    frames.first().is_some_and(|frame| frame.last == head && last_chain(&frame.bytes) == Some(state.chain))
}

/// Applies the blocks that are whole; gives their length. `None` when a block was whole and made no sense.
fn read_blocks(bytes: &[u8], state: &mut State) -> Option<usize> {
    let mut at = 0;
    while let Some((body, length)) = split(&bytes[at..]) {
        let Ok(block) = rmp_serde::from_slice::<Body>(body) else { break };
        if block.begin != state.index.head() {
            break;
        }
        apply(&block, state)?;
        at += length;
    }
    Some(at)
}

fn split(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let header = bytes.get(..HEADER_BYTES)?;
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let end = HEADER_BYTES.checked_add(number(4) as usize)?;
    let body = bytes.get(HEADER_BYTES..end)?;
    (header[..4] == MAGIC && crc32fast::hash(body) == number(8)).then_some((body, end))
}

fn apply(block: &Body, state: &mut State) -> Option<()> {
    let ids = |number: u64| block.ids.get(usize::try_from(number).ok()?).copied();
    let mut rows = block.rows;
    let mut time: Micros = 0;
    while !rows.is_empty() {
        let begins_frame = number(&mut rows)? == 1;
        let change = number(&mut rows)?;
        time = time.wrapping_add((change >> 1) as i64 ^ -((change & 1) as i64));
        let (command, rest) = rows.split_first_chunk::<16>()?;
        rows = rest;
        let count = number(&mut rows)?;
        let mut events = Vec::new();
        for _ in 0..count {
            let (kind, id) = *block.streams.get(usize::try_from(number(&mut rows)?).ok()?)?;
            let stream = StreamKey { kind, id: ids(u64::from(id))? };
            let mut tags = Vec::new();
            for _ in 0..number(&mut rows)? {
                tags.push(ids(number(&mut rows)?)?);
            }
            events.push((stream, tags));
        }
        let head = state.index.head();
        if begins_frame {
            state.add_frame(head + 1, state.index.len());
        }
        let events = events.iter().map(|(stream, tags)| (*stream, &tags[..]));
        state.index.add(head + count, time, CommandId(Id(*command)), events);
    }
    state.durable = state.index.len();
    state.chain = block.chain;
    (state.index.head() == block.end).then_some(())
}

fn number(rows: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = rows.split_first()?;
        *rows = rest;
        value |= u64::from(byte & 127) << shift;
        if byte & 128 == 0 {
            return Some(value);
        }
    }
    None
}

fn put(rows: &mut Vec<u8>, mut value: u64) {
    while value > 127 {
        rows.push(value as u8 | 128);
        value >>= 7;
    }
    rows.push(value as u8);
}

impl Checkpoint {
    fn open(path: &Path, length: u64, head: Position, options: &Options) -> io::Result<Checkpoint> {
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        file.set_len(length)?;
        file.seek(SeekFrom::End(0))?;
        let block = Block { begin: head, ..Block::default() };
        let (events_max, age_max) = (options.checkpoint_events, options.checkpoint_age);
        Ok(Checkpoint { file, block, written: Instant::now(), failed: false, events_max, age_max })
    }

    /// Notes the next durable commit.
    pub fn add<'e>(
        &mut self,
        begins_frame: bool,
        at: Micros,
        command: CommandId,
        events: impl ExactSizeIterator<Item = (StreamKey, &'e [Id])>,
    ) {
        let block = &mut self.block;
        let change = at.wrapping_sub(block.time);
        block.time = at;
        block.events += events.len() as u64;
        put(&mut block.rows, u64::from(begins_frame));
        put(&mut block.rows, ((change << 1) ^ (change >> 63)) as u64);
        block.rows.extend_from_slice(&command.0.0);
        put(&mut block.rows, events.len() as u64);
        for (stream, tags) in events {
            let number = block.stream(stream);
            put(&mut block.rows, u64::from(number));
            put(&mut block.rows, tags.len() as u64);
            for tag in tags {
                let number = block.id(*tag);
                put(&mut block.rows, u64::from(number));
            }
        }
    }

    /// When a block is next due, from now; `None` when nothing waits.
    pub fn due_in(&self) -> Option<Duration> {
        (self.block.events > 0 && !self.failed).then(|| self.age_max.saturating_sub(self.written.elapsed()))
    }

    /// Writes the block if it is large or old enough. `chain` is that of the last commit that was added.
    pub fn write_if_due(&mut self, chain: Hash) {
        if self.block.events >= self.events_max || self.due_in().is_some_and(|due| due.is_zero()) {
            self.write(chain);
        }
    }

    /// Writes what waits. A checkpoint that cannot be written is not kept on: it would have a hole.
    pub fn write(&mut self, chain: Hash) {
        if self.block.events == 0 || self.failed {
            return;
        }
        let end = self.block.begin + self.block.events;
        let block = std::mem::replace(&mut self.block, Block { begin: end, ..Block::default() });
        self.written = Instant::now();
        if let Err(error) = self.write_block(block, end, chain) {
            tracing::warn!(%error, "the index checkpoint cannot be written");
            self.failed = true;
        }
    }

    fn write_block(&mut self, block: Block, end: Position, chain: Hash) -> io::Result<()> {
        let body = Body { begin: block.begin, end, chain, ids: block.ids, streams: block.streams, rows: &block.rows };
        let body = rmp_serde::to_vec(&body).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        self.file.write_all(&bytes)
    }
}

impl Block {
    fn id(&mut self, id: Id) -> u32 {
        let next = self.ids.len() as u32;
        *self.numbers.entry(id).or_insert_with(|| {
            self.ids.push(id);
            next
        })
    }

    fn stream(&mut self, stream: StreamKey) -> u32 {
        if let Some(number) = self.stream_numbers.get(&stream) {
            return *number;
        }
        let id = self.id(stream.id);
        let next = self.streams.len() as u32;
        self.streams.push((stream.kind, id));
        self.stream_numbers.insert(stream, next);
        next
    }
}
