//! The bytes of a frame: what is stored for ever, and read by every later version.
//!
//! ```text
//!  frame  = format (u8 = 2) | record | record | …
//!  record = length of body (u32) | CRC32 of chain and body (u32) | chain (32) | body     little endian
//!  chain  = SHA-256(chain of the record before, or zeros | body)
//!  body   = MessagePack map with keys of one letter, `Body` below
//! ```
//!
//! What follows from something else in the commit is left out. Format 1, which has the keys in full, is read
//! for ever too (`CommitRecord` is its map).
//!
//! **Invariant:** a record whose CRC and chain hold was written by us, after exactly the records before it. One
//! that then cannot be read was written by a later version of this program.

use crate::store::Frame;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::{
    borrow::Cow,
    ops::{Range, RangeInclusive},
};
use switchback_events::{
    CodecError, CommandId, Commit, Event, Id, Micros, Origin, Position, Provenance, Recorded, StreamKey, StreamKind,
    Version, upcast,
};

/// SHA-256 over the log up to a commit.
pub type Hash = [u8; 32];
/// The chain before the first commit.
pub(crate) const GENESIS: Hash = [0; 32];
/// A frame takes commits up to this size. A larger commit has a frame of its own.
pub const FRAME_BYTES_MAX: usize = 60 * 1024;
/// The payloads of one commit have at most this size together.
pub const COMMIT_BYTES_MAX: usize = 16 * 1024 * 1024;

const FORMAT: u8 = 2;
const FORMAT_OF_LONG_KEYS: u8 = 1;
const HEADER_BYTES: usize = 40;
/// What a commit, and each of its events beside the payload, often take: the room that is made for them.
const COMMIT_BYTES: usize = 160;
const EVENT_BYTES: usize = 64;

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

/// The body of a record in format 2.
#[derive(Serialize, Deserialize)]
struct Body<'a> {
    #[serde(rename = "p")]
    first: Position,
    #[serde(rename = "t")]
    at: Micros,
    #[serde(rename = "i")]
    command_id: CommandId,
    #[serde(rename = "n")]
    command: &'a str,
    #[serde(rename = "b")]
    body: Id,
    #[serde(rename = "u")]
    principal: &'a str,
    #[serde(rename = "y", default, skip_serializing_if = "Option::is_none")]
    credential: Option<Id>,
    #[serde(rename = "o")]
    origin: Origin,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    causation: Option<Id>,
    /// Left out when it is the command's own id.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    correlation: Option<Id>,
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// The first reads, those of streams that the commit also writes: the number of an event, and the version.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    own_reads: Vec<(u32, Version)>,
    /// The reads from the first of another stream on.
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    reads: Vec<(StreamKind, Id, Version)>,
    #[serde(rename = "e", borrow)]
    events: Vec<BodyEvent<'a>>,
}

/// Of a body, what says what happened.
#[derive(Deserialize)]
struct BodyEvents<'a> {
    #[serde(rename = "p")]
    first: Position,
    #[serde(rename = "e", borrow)]
    events: Vec<BodyEvent<'a>>,
}

#[derive(Serialize, Deserialize)]
struct BodyEvent<'a> {
    #[serde(rename = "s")]
    stream: (StreamKind, Id),
    #[serde(rename = "v")]
    version: Version,
    #[serde(rename = "z")]
    schema: u16,
    /// All but the first when that is the stream's own id, as it always is.
    #[serde(rename = "g", default, skip_serializing_if = "<[Id]>::is_empty")]
    touches: Cow<'a, [Id]>,
    /// All of them, should the first be another.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    tags: Option<Cow<'a, [Id]>>,
    #[serde(rename = "d", borrow, serialize_with = "as_bytes")]
    payload: &'a [u8],
}

impl<'a> Body<'a> {
    fn of(record: &'a CommitRecord) -> Body<'a> {
        let number = |stream: &StreamKey| record.events.iter().position(|event| event.stream == *stream);
        let own = record.reads.iter().map_while(|(stream, version)| Some((number(stream)? as u32, *version)));
        let own_reads: Vec<_> = own.collect();
        let others = record.reads[own_reads.len()..].iter();
        let provenance = &*record.provenance;
        let correlation = (provenance.correlation != provenance.command_id.0).then_some(provenance.correlation);
        Body {
            first: record.first,
            at: record.at,
            command_id: provenance.command_id,
            command: &provenance.command,
            body: provenance.body,
            principal: &provenance.principal,
            credential: provenance.credential,
            origin: provenance.origin,
            causation: provenance.causation,
            correlation,
            reason: provenance.reason.as_deref(),
            own_reads,
            reads: others.map(|(stream, version)| (stream.kind, stream.id, *version)).collect(),
            events: record.events.iter().map(BodyEvent::of).collect(),
        }
    }

    fn into_record(self) -> Result<CommitRecord<'a>, Defect> {
        let events: Vec<EventRecord> = self.events.into_iter().map(BodyEvent::into_record).collect();
        let mut reads = Vec::with_capacity(self.own_reads.len() + self.reads.len());
        for (number, version) in self.own_reads {
            let missing = || Defect::Unreadable(format!("it has no event number {number}"));
            reads.push((events.get(number as usize).ok_or_else(missing)?.stream, version));
        }
        reads.extend(self.reads.into_iter().map(|(kind, id, version)| (StreamKey { kind, id }, version)));
        let provenance = Provenance {
            command_id: self.command_id,
            command: self.command.to_string(),
            body: self.body,
            principal: self.principal.to_string(),
            credential: self.credential,
            origin: self.origin,
            causation: self.causation,
            correlation: self.correlation.unwrap_or(self.command_id.0),
            reason: self.reason.map(str::to_string),
        };
        let (provenance, reads) = (Cow::Owned(provenance), Cow::Owned(reads));
        Ok(CommitRecord { first: self.first, at: self.at, provenance, reads, events })
    }
}

impl<'a> BodyEvent<'a> {
    fn of(event: &'a EventRecord<'a>) -> BodyEvent<'a> {
        let (touches, tags) = match event.tags.split_first() {
            Some((first, touches)) if *first == event.stream.id => (touches, None),
            _ => (&[][..], Some(Cow::Borrowed(&*event.tags))),
        };
        let touches = Cow::Borrowed(touches);
        let (stream, version, schema) = ((event.stream.kind, event.stream.id), event.version, event.schema);
        BodyEvent { stream, version, schema, touches, tags, payload: event.payload }
    }

    /// The event's name, the key of the payload's one entry; nothing where the payload is not of today's schema.
    fn name(&self) -> Option<&'a str> {
        const MAP_OF_ONE: u8 = 0x81;
        const SHORT_TEXT: u8 = 0xa0;
        match self.payload {
            [MAP_OF_ONE, text, rest @ ..]
                if text & 0xe0 == SHORT_TEXT && self.schema == upcast::current(self.stream.0) =>
            {
                std::str::from_utf8(rest.get(..usize::from(text & 0x1f))?).ok()
            }
            _ => None,
        }
    }

    fn into_record(self) -> EventRecord<'a> {
        let (kind, id) = self.stream;
        let tags = match self.tags {
            Some(tags) => tags.into_owned(),
            None => std::iter::once(id).chain(self.touches.iter().copied()).collect(),
        };
        EventRecord {
            stream: StreamKey { kind, id },
            version: self.version,
            schema: self.schema,
            tags: Cow::Owned(tags),
            payload: self.payload,
        }
    }
}

pub(crate) fn as_bytes<S: Serializer>(payload: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(payload)
}

/// What is known of an event before it is decoded.
#[derive(Clone, Copy, Debug)]
pub struct EventHead<'a> {
    /// The stream that it belongs to.
    pub stream: StreamKey,
    /// Its place in the stream, from 1.
    pub version: Version,
    /// Its name within the concept: `Created`.
    pub name: &'a str,
}

/// Which events a replay asks for.
pub(crate) struct Wanted<'a> {
    /// Any of these; of any where there are none.
    pub tags: Option<&'a [Id]>,
    /// At one of these positions.
    pub positions: RangeInclusive<Position>,
    /// Such ones. One of an earlier schema is asked for whatever it was called.
    pub heads: &'a (dyn Fn(&EventHead<'_>) -> bool + Sync),
}

impl Wanted<'_> {
    /// Whether a decoded event is asked for. Its head is not looked at.
    pub fn has(&self, event: &Recorded) -> bool {
        self.positions.contains(&event.position)
            && self.tags.is_none_or(|tags| event.tags.iter().any(|tag| tags.contains(tag)))
    }

    fn has_stored(&self, position: Position, event: &BodyEvent<'_>) -> bool {
        let stream = StreamKey { kind: event.stream.0, id: event.stream.1 };
        let tagged = |tags: &[Id]| match &event.tags {
            Some(own) => own.iter().any(|tag| tags.contains(tag)),
            None => tags.contains(&stream.id) || event.touches.iter().any(|tag| tags.contains(tag)),
        };
        let head = |name| EventHead { stream, version: event.version, name };
        self.positions.contains(&position)
            && self.tags.is_none_or(tagged)
            && event.name().is_none_or(|name| (self.heads)(&head(name)))
    }
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
    pub format: u8,
    crc: u32,
    pub chain: Hash,
    pub body: &'a [u8],
}

impl<'a> Record<'a> {
    /// Takes the record at the start of `bytes` apart; also gives its whole length.
    fn split(format: u8, bytes: &'a [u8]) -> Result<(Record<'a>, usize), Defect> {
        let damaged = || Defect::Damaged("is cut short".to_string());
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or_else(damaged)?;
        let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let length = number(0) as usize;
        let body = rest.get(..length).ok_or_else(damaged)?;
        let mut chain = GENESIS;
        chain.copy_from_slice(&header[8..]);
        Ok((Record { format, crc: number(4), chain, body }, HEADER_BYTES + length))
    }

    /// The record at `range` of a frame, as [`records`] gave it.
    pub fn at(frame: &'a [u8], range: Range<usize>) -> Result<Record<'a>, Defect> {
        let short = || Defect::Damaged("is cut short".to_string());
        let (bytes, format) = frame.get(range).zip(frame.first()).ok_or_else(short)?;
        Record::split(*format, bytes).map(|(record, _)| record)
    }

    /// A record that is in no frame: `chain` is the one after it.
    pub fn after(format: u8, chain: Hash, body: &'a [u8]) -> Record<'a> {
        Record { format, crc: 0, chain, body }
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

    /// Reads the body.
    pub fn parse(&self) -> Result<CommitRecord<'a>, Defect> {
        match self.format {
            FORMAT_OF_LONG_KEYS => rmp_serde::from_slice(self.body).map_err(unreadable),
            _ => rmp_serde::from_slice::<Body>(self.body).map_err(unreadable)?.into_record(),
        }
    }

    /// Checks the CRC, then adds the events that are `wanted` to `found`, decoded, and leaves all else as it is.
    pub fn read_events(&self, wanted: &Wanted<'_>, found: &mut Vec<Recorded>) -> Result<(), Defect> {
        if self.format == FORMAT_OF_LONG_KEYS {
            let commit = self.read()?.decode()?;
            found.extend(commit.events.into_iter().filter(|event| wanted.has(event)));
            return Ok(());
        }
        self.check_crc()?;
        let body: BodyEvents = rmp_serde::from_slice(self.body).map_err(unreadable)?;
        for (position, event) in (body.first..).zip(body.events) {
            if wanted.has_stored(position, &event) {
                found.push(event.into_record().decode(position)?);
            }
        }
        Ok(())
    }

    fn check_crc(&self) -> Result<(), Defect> {
        if crc(&self.chain, self.body) == self.crc {
            return Ok(());
        }
        Err(Defect::Damaged("has a wrong CRC".to_string()))
    }
}

fn unreadable(error: rmp_serde::decode::Error) -> Defect {
    Defect::Unreadable(error.to_string())
}

/// The places of the records of a frame. Every byte of the frame belongs to one; a place that reaches past the
/// end is a damaged record.
pub(crate) fn records(frame: &[u8]) -> Result<Vec<Range<usize>>, Defect> {
    match frame.first() {
        Some(&(FORMAT | FORMAT_OF_LONG_KEYS)) => {}
        None => return Err(Defect::Damaged("is in an empty frame".to_string())),
        Some(format) => {
            let why = format!("is in a frame of format {format}, this program knows formats up to {FORMAT}");
            return Err(Defect::Unreadable(why));
        }
    }
    let mut places = Vec::new();
    let mut start = 1;
    while start < frame.len() {
        let length = match Record::split(FORMAT, &frame[start..]) {
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

/// The chain after the last record of a frame, as it is stored.
pub(crate) fn last_chain(frame: &[u8]) -> Option<Hash> {
    let last = records(frame).ok()?.pop()?;
    Some(Record::at(frame, last).ok()?.chain)
}

impl CommitRecord<'_> {
    /// The position of the last event.
    pub fn last(&self) -> Position {
        self.first + (self.events.len() as u64).saturating_sub(1)
    }

    fn encode(&self) -> Result<Vec<u8>, rmp_serde::encode::Error> {
        let payloads: usize = self.events.iter().map(|event| EVENT_BYTES + event.payload.len()).sum();
        let mut body = Vec::with_capacity(COMMIT_BYTES + payloads);
        Body::of(self).serialize(&mut rmp_serde::Serializer::new(&mut body).with_struct_map())?;
        Ok(body)
    }

    /// Checks that this program knows all the schema versions, without reading the payloads.
    pub fn check_schemas(&self) -> Result<(), CodecError> {
        for event in &self.events {
            upcast::check(event.stream.kind, event.schema)?;
        }
        Ok(())
    }

    /// Decodes the payloads, brought to today's shape.
    pub fn decode(self) -> Result<Commit, Defect> {
        let mut events = Vec::with_capacity(self.events.len());
        for (position, event) in (self.first..).zip(self.events) {
            events.push(event.decode(position)?);
        }
        let (provenance, reads) = (self.provenance.into_owned(), self.reads.into_owned());
        Ok(Commit { at: self.at, provenance, reads, events })
    }
}

impl EventRecord<'_> {
    /// Decodes the payload, brought to today's shape.
    fn decode(self, position: Position) -> Result<Recorded, Defect> {
        let event = Event::decode(self.stream.kind, self.schema, self.payload)
            .map_err(|error| Defect::Unreadable(error.to_string()))?;
        let (stream, version, tags) = (self.stream, self.version, self.tags.into_owned());
        Ok(Recorded { position, stream, version, event, tags })
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

    /// Adds the commit with events from `first` to `last`, of which [`encode`] made `body`.
    pub fn add_commit(&mut self, first: Position, last: Position, body: &[u8]) {
        self.add_body(FORMAT, first, last, body);
    }

    /// Adds a commit in the form in which it is stored.
    #[cfg(test)]
    pub fn add_record(&mut self, record: &CommitRecord) -> Result<(), rmp_serde::encode::Error> {
        self.add_body(FORMAT, record.first, record.last(), &record.encode()?);
        Ok(())
    }

    /// Adds a commit as it was stored before, in a frame of its format.
    pub fn add_body(&mut self, format: u8, first: Position, last: Position, body: &[u8]) {
        self.chain = chain(&self.chain, body);
        let room = self.frames.last().map_or(0, |frame| FRAME_BYTES_MAX.saturating_sub(frame.bytes.len()));
        let other = self.frames.last().is_some_and(|frame| frame.bytes.first() != Some(&format));
        if room < HEADER_BYTES + body.len() || other {
            let mut bytes = Vec::with_capacity(1 + HEADER_BYTES + body.len());
            bytes.push(format);
            self.frames.push(Frame { first, last, bytes });
            self.counts.push(0);
        }
        if let (Some(frame), Some(count)) = (self.frames.last_mut(), self.counts.last_mut()) {
            frame.last = last;
            frame.bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
            frame.bytes.extend_from_slice(&crc(&self.chain, body).to_le_bytes());
            frame.bytes.extend_from_slice(&self.chain);
            frame.bytes.extend_from_slice(body);
            *count += 1;
        }
    }
}

/// The body of the record of `commit`, whose events have the encoded `payloads`: what [`Packer::add_commit`] takes.
pub(crate) fn encode(commit: &Commit, payloads: &[Vec<u8>]) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let events = commit.events.iter().zip(payloads);
    let record = CommitRecord {
        first: commit.events.first().map_or(0, |event| event.position),
        at: commit.at,
        provenance: Cow::Borrowed(&commit.provenance),
        reads: Cow::Borrowed(&commit.reads),
        events: events.map(|(event, payload)| event_record(event, payload)).collect(),
    };
    record.encode()
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

#[cfg(test)]
mod tests {
    use super::*;
    use switchback_events::ZoneEvent;

    fn provenance() -> Provenance {
        Provenance {
            command_id: CommandId(Id([1; 16])),
            command: "DeleteZone".to_string(),
            body: Id([2; 16]),
            principal: "admin".to_string(),
            credential: Some(Id([4; 16])),
            origin: Origin::Cli,
            causation: Some(Id([3; 16])),
            correlation: Id([4; 16]),
            reason: Some("a test".to_string()),
        }
    }

    fn stream(number: u8) -> StreamKey {
        StreamKey::new(StreamKind::Zone, Id([number; 16]))
    }

    /// Own reads, a foreign one, an own one again; tags that begin with the stream and tags that do not.
    fn record(payload: &[u8]) -> CommitRecord<'_> {
        let event = |number, tags| EventRecord { stream: stream(number), version: 1, schema: 1, tags, payload };
        let events = vec![
            event(1, Cow::Owned(vec![stream(1).id, stream(9).id])),
            event(2, Cow::Owned(vec![stream(9).id])),
            event(3, Cow::Owned(vec![])),
        ];
        let reads = vec![(stream(2), 0), (stream(7), 5), (stream(1), 0)];
        CommitRecord { first: 1, at: -5, provenance: Cow::Owned(provenance()), reads: Cow::Owned(reads), events }
    }

    #[test]
    fn both_formats_give_the_same_commit() {
        let payload = Event::from(ZoneEvent::Deleted {}).encode().unwrap();
        let wanted = record(&payload).decode().unwrap();
        let mut packer = Packer::new(GENESIS);
        packer.add_record(&record(&payload)).unwrap();
        let mut long = Packer::new(GENESIS);
        long.add_body(FORMAT_OF_LONG_KEYS, 1, 3, &rmp_serde::to_vec_named(&record(&payload)).unwrap());
        for packed in [packer, long] {
            let bytes = &packed.frames[0].bytes;
            let place = records(bytes).unwrap().remove(0);
            let read = Record::at(bytes, place).unwrap().read_after(&GENESIS).unwrap();
            assert_eq!(read.decode().unwrap(), wanted);
        }
    }
}
