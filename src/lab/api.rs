//! A small blocking client of the HTTP API: what the lab needs to ask, as any user would.

use anyhow::Context;
use serde_json::{Map, Value};
use std::{fmt::Write, net::Ipv4Addr, sync::Arc, time::Duration};
use switchback_bus::{CommandReply, Wait};
use switchback_events::CommandId;

/// The server's HTTP API, as `admin`.
#[derive(Clone)]
pub struct Api {
    base: String,
    token: String,
    http: reqwest::Client,
    runtime: Arc<tokio::runtime::Runtime>,
}

/// What a command may carry besides its parameters.
#[derive(Clone, Default, Debug)]
pub struct Options {
    /// What the reply waits for.
    pub wait: Wait,
    /// The sender's id for the command.
    pub key: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// What came of a command: its reply read, and as it came.
#[derive(Clone, PartialEq, Debug)]
pub struct Reply {
    /// Read.
    pub reply: CommandReply,
    /// As it came.
    pub body: Value,
}

impl Reply {
    /// The reply to a command that was refused where that is no fault.
    pub(super) fn nothing() -> Reply {
        let reply = CommandReply {
            command_id: CommandId::default(),
            position: 0,
            version: 0,
            applied: false,
            inventory: None,
            inventories: None,
            events: vec![],
            routers: vec![],
        };
        Reply { reply, body: Value::Null }
    }

    /// The uuid of the resource that the command made or changed.
    pub fn uuid(&self) -> anyhow::Result<String> {
        let uuid = self.reply.inventory.as_ref().and_then(|inventory| inventory["uuid"].as_str());
        uuid.map(str::to_string).with_context(|| format!("expected an inventory with a uuid, got {}", self.body))
    }
}

/// An answer with a status from 400.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("{status}: {body}")]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The problem document.
    pub body: Value,
}

/// Why a call has no reply.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server said no.
    #[error("{0} was refused: {1}")]
    Refused(String, Problem),
    /// No answer: whether the server did it is not known.
    #[error("{0} was not answered: {1}")]
    Unanswered(String, String),
}

impl Api {
    /// A client of the server at `base`, such as `http://127.0.0.1:8080`.
    pub fn new(base: String, token: String) -> anyhow::Result<Api> {
        switchback_agent::install_provider();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("start the client's runtime")?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .context("build the HTTP client")?;
        Ok(Api { base, token: token.trim().to_string(), http, runtime: Arc::new(runtime) })
    }

    /// Where the server is.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends a command.
    ///
    /// # Errors
    /// [`CallError::Refused`] with the problem, or [`CallError::Unanswered`].
    pub fn command(&self, name: &str, parameters: &Value, options: &Options) -> Result<Reply, CallError> {
        let wait = if options.wait == Wait::Durable { "durable" } else { "applied" };
        let mut request = self.http.post(format!("{}/v1/commands/{name}?wait={wait}", self.base)).json(parameters);
        if let Some(key) = &options.key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(reason) = &options.reason {
            request = request.header("X-Reason", reason);
        }
        let body = self.send(name, request)?;
        let reply = serde_json::from_value(body.clone())
            .map_err(|error| CallError::Unanswered(name.to_string(), format!("{error} in the reply {body}")))?;
        Ok(Reply { reply, body })
    }

    /// The inventories that a query answers, under `field=value` conditions.
    pub fn query(&self, name: &str, conditions: &[String]) -> anyhow::Result<Vec<Value>> {
        let parameters: Vec<_> = conditions.iter().map(|condition| ("q", condition.as_str())).collect();
        let reply = self.get(&format!("/v1/queries/{name}"), &parameters)?;
        match reply {
            Value::Object(mut map) => match map.remove("inventories") {
                Some(Value::Array(inventories)) => Ok(inventories),
                _ => anyhow::bail!("{name}: expected inventories, got {}", Value::Object(map)),
            },
            other => anyhow::bail!("{name}: expected inventories, got {other}"),
        }
    }

    /// The one inventory with this uuid.
    pub fn one(&self, query: &str, uuid: &str) -> anyhow::Result<Value> {
        let mut found = self.query(query, &[format!("uuid={uuid}")])?;
        anyhow::ensure!(found.len() == 1, "{query} uuid={uuid}: expected one, got {}", found.len());
        Ok(found.remove(0))
    }

    /// Any other read by its route.
    pub fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, CallError> {
        let mut url = format!("{}{path}", self.base);
        for (at, (name, value)) in parameters.iter().enumerate() {
            let _ = write!(url, "{}{name}={}", if at == 0 { '?' } else { '&' }, escape(value));
        }
        self.send(path, self.http.get(url))
    }

    /// The token by which the host agent at `address` joins.
    pub fn agent_token(&self, address: Ipv4Addr) -> anyhow::Result<String> {
        let reply = self.get("/v1/queries/GetAgentToken", &[("address", &address.to_string())])?;
        let token = reply["token"].as_str().with_context(|| format!("GetAgentToken: no token in {reply}"))?;
        Ok(token.to_string())
    }

    fn send(&self, what: &str, request: reqwest::RequestBuilder) -> Result<Value, CallError> {
        let unanswered = |error: reqwest::Error| CallError::Unanswered(what.to_string(), chain(&error));
        let request = request.bearer_auth(&self.token);
        let (status, text) = self.runtime.block_on(async {
            let response = request.send().await.map_err(unanswered)?;
            let status = response.status().as_u16();
            Ok((status, response.text().await.map_err(unanswered)?))
        })?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        if status >= 400 {
            return Err(CallError::Refused(what.to_string(), Problem { status, body }));
        }
        Ok(body)
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// The line of the command line that sends the same command.
pub fn cli_line(name: &str, parameters: &Value) -> String {
    let mut line = format!("switchback {name}");
    for (field, value) in parameters.as_object().unwrap_or(&Map::new()) {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Array(items) if items.iter().all(Value::is_string) => {
                items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
            }
            other => other.to_string(),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,@".contains(c);
        if text.chars().all(plain) {
            let _ = write!(line, " {field}={text}");
        } else {
            let _ = write!(line, " {field}='{}'", text.replace('\'', "'\\''"));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_can_be_pasted_into_a_shell() {
        let parameters = json!({"name": "it's", "l3NetworkUuids": ["a", "b"], "isDefault": true, "x": {"y": ["z"]}});
        let line = cli_line("CreateX", &parameters);
        for part in
            ["switchback CreateX", "name='it'\\''s'", "l3NetworkUuids=a,b", "isDefault=true", "x='{\"y\":[\"z\"]}'"]
        {
            assert!(line.contains(part), "{line}");
        }
    }

    #[test]
    fn a_condition_is_escaped() {
        assert_eq!(escape("name~=a b%"), "name~%3Da%20b%25");
    }
}
