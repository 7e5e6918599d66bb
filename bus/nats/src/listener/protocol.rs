//! What a client says, from bytes to operations.
//!
//! No crate reads the server's side of this protocol, so it is read here: a line, and after some lines a payload.
//!
//! ```text
//!  bytes ──► line ──► CONNECT PING PONG SUB UNSUB ──► Op
//!              └────► PUB HPUB ──► payload ──► Op
//! ```
//! **Invariants:** the same operations come out however the bytes are cut; of what is not whole, at most a line's or a
//! payload's limit is kept; no input panics. Not here: what an operation means, whether it is allowed, any socket.

use crate::Headers;
use bytes::{Bytes, BytesMut};
use serde::Deserialize;

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Op {
    /// Who it is and what it can do.
    Connect(Box<Hello>),
    /// It wants to hear `PONG`.
    Ping,
    /// It is there.
    Pong,
    /// It wants what comes on a subject.
    Sub {
        /// The subject, with wildcards or without.
        subject: Box<str>,
        /// Its queue group.
        queue: Option<Box<str>>,
        /// What it calls the subscription.
        sid: Box<str>,
    },
    /// It wants no more of a subscription.
    Unsub {
        /// What it calls the subscription.
        sid: Box<str>,
        /// After so many messages.
        max: Option<u64>,
    },
    /// A message.
    Pub(Message),
    /// What is said to be nothing: `INFO`, `+OK`, `-ERR`.
    Nothing,
}

/// A message that a client sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Message {
    /// Where to.
    pub subject: Box<str>,
    /// Where the answer goes.
    pub reply: Option<Box<str>>,
    /// How long the headers are that stand before the payload; 0 for a message without.
    pub headers: usize,
    /// Headers and payload.
    pub body: Bytes,
}

impl Message {
    /// Headers and payload; nothing where the headers are not what headers look like.
    pub fn parts(&self) -> Option<(Headers, Bytes)> {
        if self.headers == 0 {
            return Some((Headers::new(), self.body.clone()));
        }
        let headers = Headers::parse(self.body.get(..self.headers)?)?;
        Some((headers, self.body.slice(self.headers..)))
    }
}

/// What `CONNECT` says.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Hello {
    /// Each operation is to be answered `+OK`.
    pub verbose: bool,
    /// Subjects are to be looked at closely.
    pub pedantic: bool,
    /// It reads `HMSG`.
    pub headers: bool,
    /// It wants to hear that nobody answers.
    pub no_responders: bool,
    /// A name.
    pub user: Option<String>,
    /// The password of that.
    pub pass: Option<String>,
    /// A token.
    pub auth_token: Option<String>,
    /// A public key.
    pub nkey: Option<String>,
    /// The nonce signed with that.
    pub sig: Option<String>,
    /// An account's word on a user, which is for servers with accounts of their own.
    pub jwt: Option<String>,
}

impl Default for Hello {
    fn default() -> Hello {
        Hello {
            verbose: true,
            pedantic: false,
            headers: false,
            no_responders: false,
            user: None,
            pass: None,
            auth_token: None,
            nkey: None,
            sig: None,
            jwt: None,
        }
    }
}

/// What it comes in by is not shown.
impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hello {{ verbose: {}, headers: {} }}", self.verbose, self.headers)
    }
}

/// Why nothing more can be read. The connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// It begins like nothing that a client says.
    Unknown,
    /// It begins like an operation, and goes on otherwise.
    Malformed,
    /// A line is too long.
    Line,
    /// A payload is too long.
    Payload,
}

impl Fault {
    /// The words that the well-known server has for it.
    pub fn words(self) -> &'static str {
        match self {
            Fault::Unknown => "Unknown Protocol Operation",
            Fault::Malformed => "Parser Error",
            Fault::Line => "maximum control line exceeded",
            Fault::Payload => "Maximum Payload Violation",
        }
    }
}

/// How long a line and a payload may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    /// Bytes of a line, its end not among them.
    pub line: usize,
    /// Bytes of headers and payload.
    pub payload: usize,
}

/// Reads on where it was.
#[derive(Default)]
pub(super) struct Parser {
    /// So much of the line was looked at for its end.
    looked: usize,
    /// A message of which the line was read.
    message: Option<Head>,
}

/// The line of a message.
struct Head {
    subject: Box<str>,
    reply: Option<Box<str>>,
    headers: usize,
    length: usize,
}

impl Parser {
    /// Whether it is within an operation.
    pub fn is_within(&self, bytes: &BytesMut) -> bool {
        !bytes.is_empty() || self.message.is_some()
    }

    /// The next operation, which is taken out of `bytes`; none where they do not hold all of it.
    ///
    /// # Errors
    /// Why nothing more can be read.
    pub fn next(&mut self, bytes: &mut BytesMut, lengths: Lengths) -> Result<Option<Op>, Fault> {
        if self.message.is_none() {
            let rest = bytes.get(self.looked..).unwrap_or_default();
            let Some(end) = rest.iter().position(|byte| *byte == b'\n').map(|at| at + self.looked) else {
                self.looked = bytes.len();
                // The end of the line has two bytes, of which one may be there.
                return match () {
                    () if !may_begin(bytes) => Err(Fault::Unknown),
                    () if bytes.len() > lengths.line + 1 => Err(Fault::Line),
                    () => Ok(None),
                };
            };
            self.looked = 0;
            let line = bytes.split_to(end + 1);
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !may_begin(line) {
                return Err(Fault::Unknown);
            }
            if line.len() > lengths.line {
                return Err(Fault::Line);
            }
            match operation(line)? {
                Line::Whole(op) => return Ok(Some(op)),
                Line::Message(head) if head.length > lengths.payload => return Err(Fault::Payload),
                Line::Message(head) => self.message = Some(head),
            }
        }
        let Some(head) = self.message.take_if(|head| bytes.len() >= head.length + 2) else { return Ok(None) };
        let body = bytes.split_to(head.length).freeze();
        if bytes.split_to(2) != b"\r\n"[..] {
            return Err(Fault::Unknown);
        }
        let Head { subject, reply, headers, .. } = head;
        Ok(Some(Op::Pub(Message { subject, reply, headers, body })))
    }
}

/// The operations, by how their lines begin.
const NAMES: [&[u8]; 10] = [b"CONNECT", b"PING", b"PONG", b"SUB", b"UNSUB", b"PUB", b"HPUB", b"INFO", b"+OK", b"-ERR"];

/// Whether a line may begin so.
fn may_begin(bytes: &[u8]) -> bool {
    let known = |name: &&[u8]| bytes.iter().zip(name.iter()).all(|(a, b)| a.eq_ignore_ascii_case(b));
    matches!(bytes, [b'\r'] | []) || NAMES.iter().any(known)
}

enum Line {
    Whole(Op),
    Message(Head),
}

fn operation(line: &[u8]) -> Result<Line, Fault> {
    let line = std::str::from_utf8(line).map_err(|_| Fault::Malformed)?;
    let end = line.find([' ', '\t']).unwrap_or(line.len());
    let (name, rest) = line.split_at_checked(end).unwrap_or((line, ""));
    let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty());
    let mut next = || words.next();
    let words = [next(), next(), next(), next(), next()];
    let op = match name.to_ascii_uppercase().as_str() {
        "CONNECT" => Op::Connect(serde_json::from_str(rest).map_err(|_| Fault::Malformed)?),
        "PING" => Op::Ping,
        "PONG" => Op::Pong,
        "INFO" | "+OK" | "-ERR" => Op::Nothing,
        "SUB" => match words {
            [Some(subject), Some(sid), None, ..] => Op::Sub { subject: subject.into(), queue: None, sid: sid.into() },
            [Some(subject), Some(queue), Some(sid), None, _] => {
                Op::Sub { subject: subject.into(), queue: Some(queue.into()), sid: sid.into() }
            }
            _ => return Err(Fault::Malformed),
        },
        "UNSUB" => match words {
            [Some(sid), None, ..] => Op::Unsub { sid: sid.into(), max: None },
            [Some(sid), Some(max), None, ..] => Op::Unsub { sid: sid.into(), max: Some(number(max)? as u64) },
            _ => return Err(Fault::Malformed),
        },
        "PUB" => {
            let (subject, reply, length) = match words {
                [Some(subject), Some(length), None, ..] => (subject, None, length),
                [Some(subject), Some(reply), Some(length), None, _] => (subject, Some(reply.into()), length),
                _ => return Err(Fault::Malformed),
            };
            return Ok(Line::Message(Head { subject: subject.into(), reply, headers: 0, length: number(length)? }));
        }
        "HPUB" => {
            let (subject, reply, headers, length) = match words {
                [Some(subject), Some(headers), Some(length), None, _] => (subject, None, headers, length),
                [Some(subject), Some(reply), Some(headers), Some(length), None] => {
                    (subject, Some(reply.into()), headers, length)
                }
                _ => return Err(Fault::Malformed),
            };
            let (headers, length) = (number(headers)?, number(length)?);
            if headers == 0 || headers > length {
                return Err(Fault::Malformed);
            }
            return Ok(Line::Message(Head { subject: subject.into(), reply, headers, length }));
        }
        _ => return Err(Fault::Unknown),
    };
    Ok(Line::Whole(op))
}

/// A number of at most nine digits: longer than that is nothing that there is.
fn number(text: &str) -> Result<usize, Fault> {
    let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && text.len() <= 9 => Ok(number),
        _ if digits => Err(Fault::Payload),
        _ => Err(Fault::Malformed),
    }
}

#[cfg(test)]
#[path = "protocol/tests.rs"]
mod tests;
