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
pub use login::is_user_key;
pub use options::{ListenerLimits, ListenerOptions};

use crate::Service;
use connection::Connection;
use hub::Hub;
use outbox::Held;
use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use switchback_bus::{Beside, Sample, metric};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    runtime::{Builder, Runtime},
    sync::watch,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

/// After so long a connection is accepted again, when there was no room for another.
const AGAIN: Duration = Duration::from_millis(100);

/// The time for a client that begins with its handshake, before it has heard anything, to do so.
const FIRST: Duration = Duration::from_millis(50);
/// What the kernel takes to send for one connection.
const SEND: usize = 128 << 10;
/// How a handshake begins.
const HANDSHAKE: u8 = 0x16;

/// What is counted.
pub(crate) struct Figures {
    address: String,
    connections: AtomicUsize,
    subscriptions: Arc<AtomicU64>,
    slow: AtomicU64,
    messages_in: AtomicU64,
    messages_out: Arc<AtomicU64>,
    bytes_in: AtomicU64,
    held: Arc<Held>,
}

impl Figures {
    fn new(address: SocketAddr, limits: &ListenerLimits) -> Figures {
        let (connections, subscriptions, slow, messages_in, messages_out, bytes_in) = Default::default();
        let held = Arc::new(Held::new(limits.pending_all));
        let address = address.to_string();
        Figures { address, connections, subscriptions, slow, messages_in, messages_out, bytes_in, held }
    }
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

impl Beside for Figures {
    fn ready(&self) -> Vec<(String, Result<String, String>)> {
        let connections = self.connections.load(Ordering::Relaxed);
        vec![("bus listener".to_string(), Ok(format!("at {}, {connections} connections", self.address)))]
    }

    fn metrics(&self) -> Vec<Sample> {
        let number = |name, labels: &[&str], value: &AtomicU64| Sample::of(name, labels, value.load(Ordering::Relaxed));
        vec![
            Sample::number(metric::BUS_CONNECTIONS, self.connections.load(Ordering::Relaxed) as u64),
            number(metric::BUS_SUBSCRIPTIONS, &[], &self.subscriptions),
            number(metric::BUS_MESSAGES, &["in"], &self.messages_in),
            number(metric::BUS_MESSAGES, &["out"], &self.messages_out),
            number(metric::BUS_BYTES, &["in"], &self.bytes_in),
            number(metric::BUS_BYTES, &["out"], &self.held.total),
            Sample::number(metric::BUS_PENDING, self.held.bytes.load(Ordering::Relaxed) as u64),
            number(metric::BUS_SLOW, &[], &self.slow),
        ]
    }
}

impl Listening {
    /// What is asked whether it is ready, and what it has counted.
    pub fn beside(&self) -> Arc<dyn Beside> {
        self.figures.clone()
    }

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
    // Connections have it from here. What one that never reads holds is in our outbox, where no call is made for it.
    socket2::SockRef::from(&listener).set_send_buffer_size(SEND)?;
    let address = listener.local_addr()?;
    let runtime =
        Builder::new_multi_thread().worker_threads(options.workers.max(1)).thread_name("bus").enable_all().build()?;
    let (stopping, stops) = watch::channel(false);
    let figures = Arc::new(Figures::new(address, &options.limits));
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

async fn serve(shared: Arc<Shared>, mut stream: TcpStream, from: SocketAddr, id: u64) {
    let before = shared.figures.connections.fetch_add(1, Ordering::AcqRel);
    let _place = Place(shared.figures.clone());
    // A reply that waits for more to go with it helps nobody.
    let _ = stream.set_nodelay(true);
    let limits = shared.options.limits;
    let tls = shared.options.tls.clone();
    let connection = Connection::new(shared, from, id);
    let info = connection.info(&[]);
    if before >= limits.connections {
        let word = format!("{info}-ERR 'maximum connections exceeded'\r\n");
        let _ = timeout(limits.connect, stream.write_all(word.as_bytes())).await;
        return;
    }
    let Some(tls) = tls else {
        connection.peer().outbox.push([info.into()]);
        return connection.serve(stream).await;
    };
    let early = timeout(FIRST, begins(&stream)).await == Ok(Some(true));
    if !early {
        let said = timeout(limits.connect, async {
            stream.write_all(info.as_bytes()).await.ok()?;
            begins(&stream).await
        });
        match said.await {
            Ok(Some(true)) => {}
            Ok(Some(false)) => {
                let _ = stream.write_all(b"-ERR 'Secure Connection - TLS Required'\r\n").await;
                return;
            }
            Ok(None) | Err(_) => return,
        }
    }
    match timeout(limits.connect, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => {
            if early {
                connection.peer().outbox.push([info.into()]);
            }
            connection.serve(stream).await;
        }
        Ok(Err(error)) => tracing::debug!(%from, %error, "a client of the bus did not shake hands"),
        Err(_) => tracing::debug!(%from, "a client of the bus did not shake hands in time"),
    }
}

/// Whether the client begins with a handshake; none where it says nothing any more.
async fn begins(stream: &TcpStream) -> Option<bool> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) => Some(first == [HANDSHAKE]),
        _ => None,
    }
}
