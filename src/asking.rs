//! Whom the audit asks: a server, or a data directory without one. Both answer through the same functions.

use crate::{client::Client, failure::Failure};
use actix_web::{ResponseError, body::MessageBody};
use serde_json::{Map, Value, json};
use std::path::Path;
use switchback::node::{AtRest, Progress};
use switchback_bus::{Bus, MessageKind, QueryRequest, Refusal, message};
use switchback_gateway::Problem;

/// Answers queries and other reads.
pub trait Asked {
    /// Asks the read or query `name`.
    fn read(&self, name: &str, parameters: &[(String, String)]) -> Result<Value, Failure>;
}

impl Asked for Client {
    fn read(&self, name: &str, parameters: &[(String, String)]) -> Result<Value, Failure> {
        Client::read(self, name, parameters)
    }
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
                    "at" => request.at = Some(value.clone()),
                    _ => {}
                }
            }
            self.runtime.block_on(self.at_rest.query(request)).map(|reply| json!(reply))
        } else {
            let mut map = Map::new();
            for (name, text) in parameters {
                let text = text.clone();
                let value =
                    message.parameter(name).map_or(Value::String(text.clone()), |known| known.check.read(&text));
                map.insert(name.clone(), value);
            }
            self.runtime.block_on(self.at_rest.read(name, Value::Object(map)))
        };
        answer.map_err(failure)
    }
}

/// A refusal with the exit code that it would have over HTTP.
fn failure(refusal: Refusal) -> Failure {
    let problem = Problem::from(refusal);
    let status = problem.status_code().as_u16();
    let body = problem.error_response().into_body().try_into_bytes().unwrap_or_default();
    Failure::of_answer(status, &body)
}
