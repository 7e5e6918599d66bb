//! The bus over NATS as a server's settings say.

use anyhow::Context;
use std::{path::PathBuf, time::Duration};
use switchback::config::Bus;
use switchback_nats::{Fill, JetStream, Limits, Login, RemoteOptions};

/// Seconds of a day.
const DAY: u64 = 86_400;

/// What one request may take, as over HTTP.
pub fn limits(http: &switchback_gateway::Limits) -> Limits {
    Limits { body: http.body, answer_time: http.answer_time, requests: http.requests }
}

/// The NATS server, where one is named; `cursor` is the file that remembers what it has confirmed.
pub fn remote(settings: &Bus, cursor: PathBuf) -> anyhow::Result<Option<RemoteOptions>> {
    let Some(servers) = &settings.nats else { return Ok(None) };
    let login = settings.nats_credentials.as_deref().map(Login::read).transpose().context("bus.nats_credentials")?;
    if let Some(authority) = &settings.nats_authority {
        std::fs::read(authority).with_context(|| format!("bus.nats_authority: read `{}`", authority.display()))?;
    }
    let jetstream = match settings.jetstream.as_str() {
        "off" => JetStream::Off,
        "auto" => JetStream::Auto,
        name => JetStream::Named(name.to_string()),
    };
    let fill = Fill {
        jetstream,
        max_bytes: settings.jetstream_bytes,
        max_age: Some(Duration::from_secs(settings.jetstream_days * DAY)).filter(|age| !age.is_zero()),
        replicas: settings.jetstream_replicas,
        cursor,
    };
    let servers = servers.split(',').map(str::to_string).collect();
    let login = login.unwrap_or_default();
    Ok(Some(RemoteOptions { servers, login, authority: settings.nats_authority.clone(), fill }))
}
