//! The listening server.

use crate::{Gateway, events::Connection};
use actix_web::{App, HttpServer, dev::Server};
use std::{io, net::SocketAddr, time::Duration};

/// How to listen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Address and port; port 0 for any free one.
    pub listen: SocketAddr,
    /// Threads that serve requests.
    pub workers: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { listen: SocketAddr::from(([127, 0, 0, 1], 8080)), workers: 2 }
    }
}

/// A server that is bound and takes connections.
pub struct Listening {
    /// Where, with the real port.
    pub addresses: Vec<SocketAddr>,
    /// Await it to serve until stopped; `server.handle().stop(true)` ends it when its requests are answered.
    pub server: Server,
}

/// The time for a client to send the head of its request.
const HEAD_SECONDS: u64 = 10;
/// The time for requests in flight when the server is told to stop.
const STOP_SECONDS: u64 = 10;

/// Binds and begins to serve. Signals are left to the caller.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(options: Options, gateway: Gateway) -> io::Result<Listening> {
    let server = HttpServer::new(move || App::new().configure(|config| gateway.configure(config)))
        .workers(options.workers.max(1))
        .client_request_timeout(Duration::from_secs(HEAD_SECONDS))
        .shutdown_timeout(STOP_SECONDS)
        .on_connect(|accepted, extensions| {
            if let Some(connection) = Connection::of(accepted) {
                extensions.insert(connection);
            }
        })
        .disable_signals()
        .bind(options.listen)?;
    let addresses = server.addrs();
    Ok(Listening { addresses, server: server.run() })
}
