//! The listening server.

use crate::{Certificate, Gateway, events::Connection};
use actix_web::{App, HttpServer, dev::Server};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};

/// How to listen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Address and port; port 0 for any free one.
    pub listen: SocketAddr,
    /// Threads that serve requests.
    pub workers: usize,
    /// The most connections at a time.
    pub connections: usize,
    /// The time for a client to send the head of its request.
    pub head: Duration,
    /// The time for requests in flight when the server is told to stop.
    pub stop: Duration,
    /// For TLS; plain HTTP without.
    pub tls: Option<Arc<Certificate>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            workers: 2,
            connections: 10_000,
            head: Duration::from_secs(10),
            stop: Duration::from_secs(10),
            tls: None,
        }
    }
}

/// A server that is bound and takes connections.
pub struct Listening {
    /// Where, with the real port.
    pub addresses: Vec<SocketAddr>,
    /// Await it to serve until stopped; `server.handle().stop(true)` ends it when its requests are answered.
    pub server: Server,
}

/// Binds and begins to serve. Signals are left to the caller.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(options: Options, gateway: Gateway) -> io::Result<Listening> {
    let workers = options.workers.max(1);
    let server = HttpServer::new(move || App::new().configure(|config| gateway.configure(config)))
        .workers(workers)
        .max_connections(options.connections.div_ceil(workers))
        .client_request_timeout(options.head)
        .shutdown_timeout(options.stop.as_secs())
        .on_connect(|accepted, extensions| {
            if let Some(connection) = Connection::of(accepted) {
                extensions.insert(connection);
            }
        })
        .disable_signals();
    let server = match &options.tls {
        Some(certificate) => {
            server.bind_rustls_0_23(options.listen, certificate.config().map_err(io::Error::other)?)?
        }
        None => server.bind(options.listen)?,
    };
    let addresses = server.addrs();
    Ok(Listening { addresses, server: server.run() })
}
