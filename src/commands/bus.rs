//! The bus over NATS as a server's settings say.

use anyhow::Context;
use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc, time::Duration};
use switchback::{
    config::{Bus, Place, Settings},
    node::Node,
};
use switchback_gateway::Certificate;
use switchback_nats::{
    Fill, JetStream, Limits, ListenerLimits, ListenerOptions, Listening, Login, RemoteOptions, Service,
};

/// Seconds of a day.
const DAY: u64 = 86_400;

/// What one request may take, as over HTTP.
pub fn limits(http: &switchback_gateway::Limits) -> Limits {
    Limits { body: http.body, answer_time: http.answer_time }
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

/// Listens, if it is to. Where nobody has said the address (`given`), and it is taken, it does without.
pub fn listen(
    settings: &Settings,
    given: bool,
    node: &Arc<Node>,
    service: Arc<Service>,
    keys: BTreeMap<String, Arc<str>>,
    certificate: Option<&Certificate>,
) -> anyhow::Result<Option<Listening>> {
    let Place::At(address) = settings.bus.address else { return Ok(None) };
    let limits = ListenerLimits {
        connections: settings.bus.connections,
        subscriptions: settings.bus.subscriptions,
        payload: settings.limits.body_bytes,
        line: settings.bus.line_bytes,
        pending: settings.bus.pending_bytes,
        pending_all: settings.bus.pending_bytes_of_all,
        requests: settings.bus.requests,
        connect: Duration::from_secs(settings.bus.connect_seconds),
        say: Duration::from_secs(settings.limits.body_seconds),
        ping: Duration::from_secs(settings.bus.ping_seconds),
        stop: Duration::from_secs(settings.limits.stop_seconds),
    };
    let tls = certificate.map(Certificate::config).transpose().map_err(anyhow::Error::msg)?.map(Arc::new);
    let options = ListenerOptions { listen: address, limits, workers: settings.bus.workers, keys, tls };
    let head = node.clone();
    match switchback_nats::listen(options, service, Arc::new(move || head.journal().durable())) {
        Ok(listening) => {
            tracing::info!(address = %listening.address, tls = certificate.is_some(), "the bus listens");
            node.stand_beside(listening.beside());
            Ok(Some(listening))
        }
        Err(error) if !given && error.kind() == io::ErrorKind::AddrInUse => {
            tracing::warn!(%address, "another program listens there: no bus; say bus.address for another address, or `off`");
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| format!("bus.address = `{address}`: listen there")),
    }
}
