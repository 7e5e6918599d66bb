//! Whom the audit asks: a server, or a data directory without one. Both answer through the same functions.

use crate::{client::Client, failure::Failure};
use actix_web::{ResponseError, body::MessageBody};
use futures_util::StreamExt;
use serde_json::{Map, Value};
use std::{
    io::{self, Cursor, Read},
    path::Path,
};
use switchback::node::{AtRest, Progress};
use switchback_bus::{Bus, Caller, LogForm, MessageKind, QueryRequest, Refusal, message};
use switchback_events::Position;
use switchback_gateway::Problem;

/// Answers queries and other reads.
pub trait Asked {
    /// Asks the read or query `name`.
    fn read(&self, name: &str, parameters: &[(String, String)]) -> Result<Value, Failure>;
    /// The durable log after a position, as bytes.
    fn log(&self, form: LogForm, after: Position) -> Result<LogBytes<'_>, Failure>;
}

/// The log as it arrives. An end without an error is the whole.
pub struct LogBytes<'a> {
    /// The last position in it.
    pub upto: Position,
    /// The bytes.
    pub reader: Box<dyn Read + 'a>,
}

/// Reads chunks that come one after the other.
pub struct Chunks<N> {
    next: N,
    chunk: Cursor<Vec<u8>>,
}

impl<N: FnMut() -> io::Result<Option<Vec<u8>>>> Chunks<N> {
    /// What `next` gives until it gives nothing.
    pub fn new(next: N) -> Chunks<N> {
        Chunks { next, chunk: Cursor::default() }
    }
}

impl<N: FnMut() -> io::Result<Option<Vec<u8>>>> Read for Chunks<N> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.chunk.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match (self.next)()? {
                Some(chunk) => self.chunk = Cursor::new(chunk),
                None => return Ok(0),
            }
        }
    }
}

impl Asked for Client {
    fn read(&self, name: &str, parameters: &[(String, String)]) -> Result<Value, Failure> {
        Client::read(self, name, parameters)
    }

    fn log(&self, form: LogForm, after: Position) -> Result<LogBytes<'_>, Failure> {
        let path = match form {
            LogForm::JsonLines => "v1/audit/export",
            LogForm::Frames => "v1/audit/backup",
        };
        Client::log(self, path, after)
    }
}

/// Who reads a data directory has all that is in it.
fn whoever() -> Caller {
    Caller::administrator("whoever has the files")
}

/// A data directory, read from a copy.
pub struct Directory {
    runtime: tokio::runtime::Runtime,
    at_rest: AtRest,
}

impl Directory {
    /// Copies and opens it.
    pub fn open(path: &Path, progress: Progress) -> Result<Directory, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Directory { runtime, at_rest: AtRest::open(path, progress)? })
    }
}

impl Asked for Directory {
    fn read(&self, name: &str, parameters: &[(String, String)]) -> Result<Value, Failure> {
        let message = message(name).map_err(failure)?;
        let answer = if message.kind == MessageKind::Query {
            let mut request = QueryRequest { name: name.to_string(), ..QueryRequest::default() };
            for (name, value) in parameters {
                match name.as_str() {
                    "q" => request.q.push(value.clone()),
                    "fields" => request.fields = value.split(',').map(String::from).collect(),
                    "limit" => request.limit = value.parse().ok(),
                    "groupBy" => request.group_by = Some(value.clone()),
                    "at" => request.at = Some(value.clone()),
                    _ => {}
                }
            }
            let reply = self.runtime.block_on(self.at_rest.query(&whoever(), request));
            reply.map(|reply| serde_json::from_str(&reply.into_json()).unwrap_or_default())
        } else {
            let mut map = Map::new();
            for (name, text) in parameters {
                let text = text.clone();
                let value =
                    message.parameter(name).map_or(Value::String(text.clone()), |known| known.check.read(&text));
                map.insert(name.clone(), value);
            }
            self.runtime.block_on(self.at_rest.read(&whoever(), name, Value::Object(map)))
        };
        answer.map_err(failure)
    }

    fn log(&self, form: LogForm, after: Position) -> Result<LogBytes<'_>, Failure> {
        let mut copy = self.runtime.block_on(self.at_rest.log(&whoever(), form, after)).map_err(failure)?;
        let next = move || {
            let chunk = self.runtime.block_on(copy.chunks.next()).transpose();
            chunk.map_err(|refusal| io::Error::other(refusal.detail))
        };
        Ok(LogBytes { upto: copy.upto, reader: Box::new(Chunks::new(next)) })
    }
}

/// A refusal with the exit code that it would have over HTTP.
fn failure(refusal: Refusal) -> Failure {
    let problem = Problem::from(refusal);
    let status = problem.status_code().as_u16();
    let body = problem.error_response().into_body().try_into_bytes().unwrap_or_default();
    Failure::of_answer(status, &body)
}
