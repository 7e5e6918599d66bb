//! The embedded listener: NATS clients, with no server between.
//!
//! It serves our subjects only: requests are answered, events are heard. What clients send to each other is for a server.
//!
//! ```text
//!  accept ──► Connection (a task each) ──► Service
//!                 ▲
//!                Hub ◄── Bus::events
//! ```
//! It has threads of its own, so that a flood here does not hold up HTTP, and the other way round.
//!
//! **Invariants:** a connection gets replies to its own requests only; everything has a limit; nobody waits for a reader.

mod connection;
mod hub;
mod login;
mod options;
mod outbox;
mod protocol;
mod subscriptions;

pub use hub::Head;
pub use login::public_key;
pub use options::{ListenerLimits, ListenerOptions};

use crate::Service;
use connection::Connection;
use hub::Hub;
use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
    sync::watch,
};

/// After so long a connection is accepted again, when there was no room for another.
const AGAIN: Duration = Duration::from_millis(100);

/// What is counted.
#[derive(Default)]
pub(crate) struct Figures {
    connections: AtomicUsize,
    slow: AtomicU64,
    messages_in: AtomicU64,
    messages_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: Arc<AtomicU64>,
}

/// What all connections share.
pub(crate) struct Shared {
    service: Arc<Service>,
    options: ListenerOptions,
    address: SocketAddr,
    /// The name of this run.
    server: String,
    head: Head,
    hub: Arc<Hub>,
    figures: Arc<Figures>,
    stopping: watch::Receiver<bool>,
}

/// A listener that is bound and takes connections.
pub struct Listening {
    /// Where, with the real port.
    pub address: SocketAddr,
    figures: Arc<Figures>,
    stopping: watch::Sender<bool>,
    stop: Duration,
    runtime: Option<Runtime>,
}

impl Listening {
    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.figures.connections.load(Ordering::Acquire)
    }

    /// Takes no more connections, has the requests in flight answered, and ends.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        let late = tokio::time::Instant::now() + self.stop + Duration::from_secs(1);
        while self.connections() > 0 && tokio::time::Instant::now() < late {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if let Some(runtime) = self.runtime.take() {
            // What is left is dropped before whoever stops it goes on.
            let ended = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(1)));
            let _ = ended.await;
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Binds and begins to serve.
///
/// # Errors
/// When the address cannot be bound, or threads cannot be had.
pub fn listen(options: ListenerOptions, service: Arc<Service>, head: Head) -> io::Result<Listening> {
    let listener = TcpListener::bind(options.listen)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime =
        Builder::new_multi_thread().worker_threads(options.workers.max(1)).thread_name("bus").enable_all().build()?;
    let (stopping, stops) = watch::channel(false);
    let figures = Arc::<Figures>::default();
    let stop = options.limits.stop;
    let hub = Arc::new(Hub::new(service.bus().clone(), head.clone()));
    let (server, figures_of_all) = (login::nonce(), figures.clone());
    let shared =
        Arc::new(Shared { service, options, address, server, head, hub, figures: figures_of_all, stopping: stops });
    let _within = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener)?;
    runtime.spawn(accept(listener, shared));
    drop(_within);
    Ok(Listening { address, figures, stopping, stop, runtime: Some(runtime) })
}

async fn accept(listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    let mut stopping = shared.stopping.clone();
    let mut id = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        match accepted {
            Ok((stream, from)) => {
                id += 1;
                tokio::spawn(serve(shared.clone(), stream, from, id));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the bus could not be accepted");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// One of the connections; it is none any more when this is dropped.
struct Place(Arc<Figures>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream, from: SocketAddr, id: u64) {
    let before = shared.figures.connections.fetch_add(1, Ordering::AcqRel);
    let _place = Place(shared.figures.clone());
    // A reply that waits for more to go with it helps nobody.
    let _ = stream.set_nodelay(true);
    let most = shared.options.limits.connections;
    let connection = Connection::new(shared, from, id);
    let peer = connection.peer().clone();
    peer.outbox.push([connection.info(&[]).into()]);
    if before >= most {
        peer.outbox.end("maximum connections exceeded");
    }
    connection.serve(stream).await;
}
