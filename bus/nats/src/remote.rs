//! Through a real NATS server: requests come from it, and events go to it.
//!
//! ```text
//!  thread "bus-requests": nats-server ──► queue group `switchback` ──► Service ──► reply
//!  thread "bus-events":   Bus: durable events ──► fill (fill.rs) ──► nats-server, its JetStream
//! ```
//! Each has a connection of its own. That of requests comes back by itself; that of events is made anew, since what a
//! library still holds of the old one must not go out after what is sent again.

use crate::{Fill, Headers, Login, Request, Service, fill, service::too_large};
use async_nats::{Client, ConnectOptions, Event, HeaderMap, HeaderName, ServerAddr, Subscriber};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::{
    borrow::Cow,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use switchback_bus::{Beside, Sample, metric};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

/// What is asked of us, and by whom it is taken where several serve.
const SUBJECTS: [&str; 3] = ["switchback.cmd.*", "switchback.query.*", "switchback.events.replay"];
const GROUP: &str = "switchback";
/// How we are called in the server's list of connections.
const NAME: &str = "switchback";
/// Where the server answers us: below what others may not listen to.
const INBOX: &str = "_INBOX.switchback";
/// From one try to connect to the next, at most.
const PAUSE_MOST: Duration = Duration::from_secs(5);
/// So long requests in flight may take when we stop.
const STOP: Duration = Duration::from_secs(10);
/// Threads that serve requests.
const WORKERS: usize = 2;

/// Where the server is, and how to come in.
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    /// Addresses, `nats://host:port` or `tls://host:port`: of one server or of one cluster.
    pub servers: Vec<String>,
    /// What to log in with.
    pub login: Login,
    /// The authorities of its certificate, as PEM; with it, it must have one.
    pub authority: Option<PathBuf>,
    /// How events are published.
    pub fill: Fill,
}

/// How something is doing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// It does what it should.
    Up(String),
    /// Not now; it tries again by itself.
    Waiting(String),
    /// Not until somebody does something.
    Stopped(String),
}

/// What is known of the two connections, without them: whoever asks for it keeps nothing alive.
pub(crate) struct Shared {
    requests: Mutex<State>,
    events: Mutex<State>,
    connections: AtomicU64,
    answered: AtomicU64,
    /// The last event that the server has confirmed.
    pub position: AtomicU64,
}

impl Shared {
    fn new() -> Shared {
        let begins = || Mutex::new(State::Waiting("connecting".to_string()));
        let (connections, answered, position) = Default::default();
        Shared { requests: begins(), events: begins(), connections, answered, position }
    }

    /// How the events are doing now; said once where it is news.
    pub fn events(&self, state: State) {
        note("events", &self.events, state);
    }

    fn requests(&self, state: State) {
        note("requests", &self.requests, state);
    }

    /// One more connection was made.
    pub fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }
}

fn note(part: &str, known: &Mutex<State>, state: State) {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if *known == state {
        return;
    }
    match &state {
        State::Up(how) => tracing::info!(part, "NATS: {how}"),
        State::Waiting(why) => tracing::warn!(part, "NATS: {why}; trying again"),
        State::Stopped(why) => tracing::error!(part, "NATS: {why}"),
    }
    *known = state;
}

impl Beside for Shared {
    /// A server that is away makes nobody else wait, so that is no reason not to be ready.
    fn ready(&self) -> Vec<(String, Result<String, String>)> {
        let state = |name: &str, known: &Mutex<State>| {
            let known = known.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let found = match known {
                State::Up(how) => Ok(how),
                State::Waiting(why) => Ok(format!("{why}; trying again")),
                State::Stopped(why) => Err(why),
            };
            (name.to_string(), found)
        };
        vec![state("nats requests", &self.requests), state("nats events", &self.events)]
    }

    fn metrics(&self) -> Vec<Sample> {
        let up = |part: &str, known: &Mutex<State>| {
            let known = known.lock().unwrap_or_else(PoisonError::into_inner);
            Sample::of(metric::NATS_UP, &[part], u64::from(matches!(*known, State::Up(_))))
        };
        let number = |name, value: &AtomicU64| Sample::number(name, value.load(Ordering::Relaxed));
        vec![
            up("requests", &self.requests),
            up("events", &self.events),
            number(metric::NATS_CONNECTIONS, &self.connections),
            number(metric::NATS_REQUESTS, &self.answered),
            number(metric::NATS_POSITION, &self.position),
        ]
    }
}

/// The two connections at work.
pub struct Remote {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// Why it was not begun.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// An address or the credentials are wrong.
    #[error("take the NATS server's address and credentials")]
    Options(#[source] io::Error),
    /// No thread.
    #[error("start a thread for the NATS server")]
    Thread(#[source] io::Error),
}

impl Remote {
    /// Begins; whether the server is there shows later, in [`Remote::beside`].
    ///
    /// # Errors
    /// Options that can never do, or no threads.
    pub fn start(options: RemoteOptions, service: Arc<Service>) -> Result<Remote, RemoteError> {
        options.connection().map_err(RemoteError::Options)?;
        options.addresses().map_err(RemoteError::Options)?;
        let (stop, stopping) = watch::channel(false);
        let shared = Arc::new(Shared::new());
        let begin = |name: &str, work: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.to_string()).spawn(work).map_err(RemoteError::Thread)
        };
        let bus = service.bus().clone();
        let requests = (options.clone(), service, shared.clone(), stopping.clone());
        let events = (options, bus, shared.clone(), stopping);
        let threads = vec![
            begin("bus-requests", Box::new(move || serve(&requests.0, requests.1, &requests.2, requests.3)))?,
            begin("bus-events", Box::new(move || fill::run(&events.0, &events.1, &events.2, events.3)))?,
        ];
        Ok(Remote { shared, stop, threads })
    }

    /// How it is doing, for who asks about the system.
    pub fn beside(&self) -> Arc<dyn Beside> {
        self.shared.clone()
    }

    /// Takes no more requests, answers those in flight, and ends. Blocks meanwhile.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the bus panicked");
            }
        }
    }
}

impl RemoteOptions {
    /// How to come in.
    pub(crate) fn connection(&self) -> io::Result<ConnectOptions> {
        let options = self.login.put(ConnectOptions::new())?.name(NAME).custom_inbox_prefix(INBOX);
        Ok(match &self.authority {
            Some(file) => options.add_root_certificates(file.clone()).require_tls(true),
            None => options,
        })
    }

    pub(crate) fn addresses(&self) -> io::Result<Vec<ServerAddr>> {
        self.servers.iter().map(|server| server.parse()).collect()
    }

    /// In words: where it is.
    pub(crate) fn shown(&self) -> String {
        self.servers.join(", ")
    }
}

/// Longer and longer, and some by chance less, so that not all come back at once.
pub(crate) fn pause(attempts: usize) -> Duration {
    let longest = Duration::from_millis(25).saturating_mul(1 << attempts.min(10)).min(PAUSE_MOST);
    let chance = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), attempts) % 256;
    longest.mul_f64(0.5 + chance as f64 / 512.0)
}

/// Waits until it is time to end.
pub(crate) async fn ending(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

fn serve(options: &RemoteOptions, service: Arc<Service>, shared: &Arc<Shared>, stopping: watch::Receiver<bool>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = match runtime.worker_threads(WORKERS).thread_name("bus-requests").enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return shared.requests(State::Stopped(format!("start threads for requests: {error}"))),
    };
    let failed = runtime.block_on(requests(options, &service, shared, stopping));
    if let Err(why) = failed {
        shared.requests(State::Stopped(why));
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
}

async fn requests(
    options: &RemoteOptions,
    service: &Arc<Service>,
    shared: &Arc<Shared>,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), String> {
    let (at, known) = (options.shown(), shared.clone());
    let connected = Arc::new(Notify::new());
    let comes = connected.clone();
    let connection = options.connection().map_err(|error| error.to_string())?;
    let connection =
        connection.retry_on_initial_connect().reconnect_delay_callback(pause).event_callback(move |event| {
            let (at, known, came) = (at.clone(), known.clone(), comes.clone());
            async move {
                match event {
                    Event::Connected => {
                        known.connected();
                        came.notify_one();
                    }
                    Event::Disconnected => known.requests(State::Waiting(format!("no connection to {at}"))),
                    Event::ClientError(error) => known.requests(State::Waiting(format!("connect to {at}: {error}"))),
                    Event::ServerError(error) => tracing::warn!("NATS: {at} says: {error}"),
                    Event::SlowConsumer(_) => tracing::warn!("NATS: more requests than can be taken were dropped"),
                    _ => {}
                }
            }
        });
    let addresses = options.addresses().map_err(|error| error.to_string())?;
    let client = connection.connect(addresses.as_slice()).await.map_err(|error| error.to_string())?;
    let mut subscribers = Vec::new();
    for subject in SUBJECTS {
        let subscriber = client.queue_subscribe(subject, GROUP.to_string()).await;
        subscribers.push(subscriber.map_err(|error| error.to_string())?);
    }
    let mut requests = stream::select_all(subscribers);
    loop {
        let message = tokio::select! {
            message = requests.next() => message,
            () = connected.notified() => {
                tokio::spawn(stands(client.clone(), shared.clone(), options.shown()));
                continue;
            }
            () = ending(&mut stopping) => break,
        };
        let Some(message) = message else { break };
        tokio::spawn(answer(client.clone(), service.clone(), shared.clone(), message));
    }
    // What the server has sent already is still answered.
    for subscriber in requests.iter_mut() {
        let _: Result<(), _> = Subscriber::drain(subscriber).await;
    }
    let _ = timeout(STOP, async {
        while let Some(message) = requests.next().await {
            tokio::spawn(answer(client.clone(), service.clone(), shared.clone(), message));
        }
        while service.in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        client.flush().await
    })
    .await;
    Ok(())
}

/// Says that a connection is up when what it has subscribed to is: the server answers behind that.
async fn stands(client: Client, shared: Arc<Shared>, at: String) {
    let inbox = client.new_inbox();
    let answered = async {
        let mut answer = client.subscribe(inbox.clone()).await.ok()?;
        client.publish(inbox, Bytes::new()).await.ok()?;
        answer.next().await
    };
    // Where the connection goes meanwhile, the next one says so.
    if timeout(STOP, answered).await.is_ok_and(|answer| answer.is_some()) {
        shared.requests(State::Up(format!("connected to {at}")));
    }
}

async fn answer(client: Client, service: Arc<Service>, shared: Arc<Shared>, message: async_nats::Message) {
    let mut headers = Headers::new();
    for (name, values) in message.headers.iter().flat_map(HeaderMap::iter) {
        values.iter().for_each(|value| headers.push(name.to_string(), value.as_str()));
    }
    let request = Request {
        subject: message.subject.into_string(),
        reply: message.reply.map(async_nats::Subject::into_string),
        headers,
        payload: message.payload,
        token: None,
        peer: None,
    };
    let heard = request.reply.is_some();
    let mut replies = service.answer(request);
    while let Some(mut reply) = replies.next().await {
        if !heard {
            continue;
        }
        let most = client.max_payload();
        if most > 0 && reply.payload.len() + reply.headers.bytes() > most {
            reply = too_large(reply, most);
        }
        let sent = client.publish_with_headers(reply.subject, map(reply.headers), reply.payload).await;
        if let Err(error) = sent {
            tracing::debug!(%error, "a reply was not sent");
        }
    }
    shared.answered.fetch_add(1, Ordering::Relaxed);
}

/// The headers as the library has them.
pub(crate) fn map(headers: Headers) -> HeaderMap {
    let mut map = HeaderMap::new();
    // No name or value of ours has a line break.
    for (name, value) in headers {
        match name {
            Cow::Borrowed(name) => map.append(HeaderName::from_static(name), value),
            Cow::Owned(name) => map.append(name, value),
        }
    }
    map
}
