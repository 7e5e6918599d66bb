//! How the listener listens, and what one client may cost.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use tokio_rustls::rustls::ServerConfig;

/// What one connection, and all together, may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListenerLimits {
    /// Connections at a time.
    pub connections: usize,
    /// Subscriptions of one connection.
    pub subscriptions: usize,
    /// Bytes of headers and payload of one message.
    pub payload: usize,
    /// Bytes of a line.
    pub line: usize,
    /// Bytes that wait to be read by one client.
    pub pending: usize,
    /// Bytes that wait to be read by all clients together; where it is more, one may have 64 KiB.
    pub pending_all: usize,
    /// Requests of one connection that are answered at a time.
    pub requests: usize,
    /// The time for a client to say who it is.
    pub connect: Duration,
    /// The time for what a client has begun to say.
    pub say: Duration,
    /// How often a client is asked whether it is there.
    pub ping: Duration,
    /// The time for requests in flight when the listener is told to stop.
    pub stop: Duration,
}

impl Default for ListenerLimits {
    fn default() -> ListenerLimits {
        ListenerLimits {
            connections: 10_000,
            subscriptions: 1000,
            payload: 1 << 20,
            line: 4096,
            pending: 8 << 20,
            pending_all: 256 << 20,
            requests: 256,
            connect: Duration::from_secs(10),
            say: Duration::from_secs(30),
            ping: Duration::from_secs(120),
            stop: Duration::from_secs(10),
        }
    }
}

/// How to listen.
#[derive(Clone)]
pub struct ListenerOptions {
    /// Address and port; port 0 for any free one.
    pub listen: SocketAddr,
    /// What it may cost.
    pub limits: ListenerLimits,
    /// Threads that serve.
    pub workers: usize,
    /// By public key the token that its holder comes in by.
    pub keys: BTreeMap<String, Arc<str>>,
    /// For TLS; plain text without.
    pub tls: Option<Arc<ServerConfig>>,
}

impl Default for ListenerOptions {
    fn default() -> ListenerOptions {
        let listen = SocketAddr::from(([127, 0, 0, 1], 4222));
        ListenerOptions { listen, limits: ListenerLimits::default(), workers: 2, keys: BTreeMap::new(), tls: None }
    }
}

/// Nobody sees tokens.
impl std::fmt::Debug for ListenerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ListenerOptions { listen, limits, workers, keys, tls } = self;
        write!(
            f,
            "ListenerOptions {{ listen: {listen}, workers: {workers}, keys: {}, tls: {}, {limits:?} }}",
            keys.len(),
            tls.is_some()
        )
    }
}
