//! The bytes of a frame: what is stored for ever, and read by every later version.
//!
//! ```text
//!  frame  = format (u8 = 1) | record | record | …
//!  record = length of body (u32) | CRC32 of chain and body (u32) | chain (32) | body     little endian
//!  chain  = SHA-256(chain of the record before, or zeros | body)
//!  body   = MessagePack map: first, at, provenance, reads, events[{stream, version, schema, tags, payload}]
//! ```
//!
//! **Invariant:** a record whose CRC and chain hold was written by us, after exactly the records before it. One
//! that then cannot be read was written by a later version of this program.

use crate::store::Frame;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::{borrow::Cow, ops::Range};
use switchback_events::{CodecError, Commit, Event, Id, Micros, Position, Provenance, Recorded, StreamKey, Version};

/// SHA-256 over the log up to a commit.
pub type Hash = [u8; 32];
/// The chain before the first commit.
pub(crate) const GENESIS: Hash = [0; 32];
/// A frame takes commits up to this size. A larger commit has a frame of its own.
pub const FRAME_BYTES_MAX: usize = 60 * 1024;
/// The payloads of one commit have at most this size together.
pub const COMMIT_BYTES_MAX: usize = 16 * 1024 * 1024;

const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 40;

/// A commit as it is stored. What all its events share is there once.
#[derive(Serialize, Deserialize)]
pub(crate) struct CommitRecord<'a> {
    /// The position of the first event.
    pub first: Position,
    pub at: Micros,
    pub provenance: Cow<'a, Provenance>,
    pub reads: Cow<'a, [(StreamKey, Version)]>,
    #[serde(borrow)]
    pub events: Vec<EventRecord<'a>>,
}

/// An event as it is stored; its position follows from its place in the commit.
#[derive(Serialize, Deserialize)]
pub(crate) struct EventRecord<'a> {
    pub stream: StreamKey,
    pub version: Version,
    pub schema: u16,
    pub tags: Cow<'a, [Id]>,
    #[serde(borrow, serialize_with = "as_bytes")]
    pub payload: &'a [u8],
}

fn as_bytes<S: Serializer>(payload: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(payload)
}

/// Why a record was not accepted. Fits after "commit at position 7 ".
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Defect {
    /// The bytes are not those that were written.
    Damaged(String),
    /// The bytes are those that were written, but this program cannot read them.
    Unreadable(String),
}

/// One record in a frame, not yet checked.
pub(crate) struct Record<'a> {
    crc: u32,
    pub chain: Hash,
    pub body: &'a [u8],
}

impl<'a> Record<'a> {
    /// Takes the record at the start of `bytes` apart; also gives its whole length.
    fn split(bytes: &'a [u8]) -> Result<(Record<'a>, usize), Defect> {
        let damaged = || Defect::Damaged("is cut short".to_string());
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or_else(damaged)?;
        let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let length = number(0) as usize;
        let body = rest.get(..length).ok_or_else(damaged)?;
        let mut chain = GENESIS;
        chain.copy_from_slice(&header[8..]);
        Ok((Record { crc: number(4), chain, body }, HEADER_BYTES + length))
    }

    /// The record at `range` of a frame, as [`records`] gave it.
    pub fn at(frame: &'a [u8], range: Range<usize>) -> Result<Record<'a>, Defect> {
        let bytes = frame.get(range).ok_or_else(|| Defect::Damaged("is cut short".to_string()))?;
        Record::split(bytes).map(|(record, _)| record)
    }

    /// Checks the CRC, then reads the body.
    pub fn read(&self) -> Result<CommitRecord<'a>, Defect> {
        self.check_crc()?;
        self.parse()
    }

    /// Checks the CRC, and that this record comes after the one whose chain is `previous`; then reads the body.
    pub fn read_after(&self, previous: &Hash) -> Result<CommitRecord<'a>, Defect> {
        self.check_crc()?;
        if chain(previous, self.body) != self.chain {
            return Err(Defect::Damaged("does not continue the hash chain".to_string()));
        }
        self.parse()
    }

    fn parse(&self) -> Result<CommitRecord<'a>, Defect> {
        rmp_serde::from_slice(self.body).map_err(|error| Defect::Unreadable(error.to_string()))
    }

    fn check_crc(&self) -> Result<(), Defect> {
        if crc(&self.chain, self.body) == self.crc {
            return Ok(());
        }
        Err(Defect::Damaged("has a wrong CRC".to_string()))
    }
}

/// The places of the records of a frame. Every byte of the frame belongs to one; a place that reaches past the
/// end is a damaged record.
pub(crate) fn records(frame: &[u8]) -> Result<Vec<Range<usize>>, Defect> {
    match frame.first() {
        Some(&FORMAT) => {}
        None => return Err(Defect::Damaged("is in an empty frame".to_string())),
        Some(format) => {
            let why = format!("is in a frame of format {format}, this program knows format {FORMAT}");
            return Err(Defect::Unreadable(why));
        }
    }
    let mut places = Vec::new();
    let mut start = 1;
    while start < frame.len() {
        let length = match Record::split(&frame[start..]) {
            Ok((_, length)) => length,
            Err(_) => frame.len() - start,
        };
        places.push(start..start + length);
        start += length;
    }
    if places.is_empty() {
        return Err(Defect::Damaged("is in an empty frame".to_string()));
    }
    Ok(places)
}

impl CommitRecord<'_> {
    /// The position of the last event.
    pub fn last(&self) -> Position {
        self.first + (self.events.len() as u64).saturating_sub(1)
    }

    /// Checks that this program knows all the schema versions, without reading the payloads.
    pub fn check_schemas(&self) -> Result<(), CodecError> {
        for event in &self.events {
            switchback_events::upcast::to_current(event.stream.kind, event.schema, &[])?;
        }
        Ok(())
    }

    /// Decodes the payloads, brought to today's shape.
    pub fn decode(self) -> Result<Commit, Defect> {
        let mut events = Vec::with_capacity(self.events.len());
        for (position, event) in (self.first..).zip(self.events) {
            let decoded = Event::decode(event.stream.kind, event.schema, event.payload)
                .map_err(|error| Defect::Unreadable(error.to_string()))?;
            events.push(Recorded {
                position,
                stream: event.stream,
                version: event.version,
                event: decoded,
                tags: event.tags.into_owned(),
            });
        }
        let (provenance, reads) = (self.provenance.into_owned(), self.reads.into_owned());
        Ok(Commit { at: self.at, provenance, reads, events })
    }
}

/// Appends commits to frames, continuing a chain.
pub(crate) struct Packer {
    pub chain: Hash,
    pub frames: Vec<Frame>,
    /// The number of commits in each frame.
    pub counts: Vec<u32>,
}

impl Packer {
    pub fn new(chain: Hash) -> Packer {
        Packer { chain, frames: Vec::new(), counts: Vec::new() }
    }

    /// Adds `commit`, whose events have the encoded `payloads`.
    pub fn add(&mut self, commit: &Commit, payloads: &[Vec<u8>]) -> Result<(), rmp_serde::encode::Error> {
        let first = commit.events.first().map_or(0, |event| event.position);
        let events = commit.events.iter().zip(payloads);
        let record = CommitRecord {
            first,
            at: commit.at,
            provenance: Cow::Borrowed(&commit.provenance),
            reads: Cow::Borrowed(&commit.reads),
            events: events.map(|(event, payload)| event_record(event, payload)).collect(),
        };
        self.add_record(&record)
    }

    /// Adds a commit in the form in which it is stored.
    pub fn add_record(&mut self, record: &CommitRecord) -> Result<(), rmp_serde::encode::Error> {
        let body = rmp_serde::to_vec_named(record)?;
        self.chain = chain(&self.chain, &body);
        let room = self.frames.last().map_or(0, |frame| FRAME_BYTES_MAX.saturating_sub(frame.bytes.len()));
        if room < HEADER_BYTES + body.len() {
            self.frames.push(Frame { first: record.first, last: record.first, bytes: vec![FORMAT] });
            self.counts.push(0);
        }
        if let (Some(frame), Some(count)) = (self.frames.last_mut(), self.counts.last_mut()) {
            frame.last = record.last();
            frame.bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
            frame.bytes.extend_from_slice(&crc(&self.chain, &body).to_le_bytes());
            frame.bytes.extend_from_slice(&self.chain);
            frame.bytes.extend_from_slice(&body);
            *count += 1;
        }
        Ok(())
    }
}

fn event_record<'a>(event: &'a Recorded, payload: &'a [u8]) -> EventRecord<'a> {
    EventRecord {
        stream: event.stream,
        version: event.version,
        schema: event.event.schema(),
        tags: Cow::Borrowed(&event.tags),
        payload,
    }
}

fn crc(chain: &Hash, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(chain);
    hasher.update(body);
    hasher.finalize()
}

fn chain(previous: &Hash, body: &[u8]) -> Hash {
    Sha256::new().chain_update(previous).chain_update(body).finalize().into()
}
