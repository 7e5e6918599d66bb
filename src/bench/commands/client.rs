//! Who sends the commands, and the ways in: the bus of this process, HTTP over loopback, and NATS over loopback.

use crate::{bench::nats_server::NatsServer, node::Node};
use anyhow::Context;
use serde_json::{Value, json};
use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};
use switchback_bus::{Bus, Caller, CommandRequest, QueryRequest, RefusalKind, Wait};
use switchback_events::Origin;
use switchback_gateway::{Asked, FixedTokens, Gateway, Options, Rates};
use switchback_nats::{Fill, JetStream, ListenerOptions, Listening, Login, Remote, RemoteOptions, Service};

/// How clients come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// Over the bus, in this process.
    Process,
    /// Through the gateway, over loopback, with kept connections.
    Http,
    /// Through the embedded listener, over loopback, with a connection for each client.
    Listener,
    /// Through a NATS server of its own, likewise.
    NatsServer,
}

impl Way {
    /// In the figures.
    pub(super) fn key(self) -> &'static str {
        match self {
            Way::Process => "inProcess",
            Way::Http => "http",
            Way::Listener => "listener",
            Way::NatsServer => "natsServer",
        }
    }

    /// In words.
    pub(super) fn word(self) -> &'static str {
        match self {
            Way::Process => "in process",
            Way::Http => "over HTTP",
            Way::Listener => "through the embedded listener",
            Way::NatsServer => "through nats-server",
        }
    }
}

/// Who asks.
#[derive(Clone)]
pub(super) enum Client {
    Process(Arc<Node>),
    Http {
        http: reqwest::Client,
        server: SocketAddr,
    },
    /// One connection of several.
    Nats {
        connections: Arc<Vec<async_nats::Client>>,
        own: usize,
    },
}

/// A command that was carried out.
pub(super) struct Done {
    /// Of what it made or changed.
    pub uuid: Option<String>,
    /// Hosts and routers have it.
    pub applied: bool,
}

/// A command that was not.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// What is asked for is under way: send it later.
    #[error("it conflicts with another")]
    Conflict,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// What opens the gateway of a benchmark.
const TOKEN: &str = "bench";
/// So long a command may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

impl Client {
    pub fn in_process(node: Arc<Node>) -> Client {
        Client::Process(node)
    }

    /// The same for the client of this number, which has a connection of its own where that matters.
    pub fn numbered(&self, number: usize) -> Client {
        match self {
            Client::Nats { connections, .. } => {
                Client::Nats { connections: connections.clone(), own: number % connections.len().max(1) }
            }
            other => other.clone(),
        }
    }

    /// Sends a command and waits for its answer.
    pub async fn send(&self, name: &str, parameters: Value, wait: Wait) -> Result<Done, Failed> {
        match self {
            Client::Process(node) => {
                let request = CommandRequest::new(name, parameters, Caller::administrator("admin"), Origin::Bus);
                match node.command(CommandRequest { wait, ..request }).await {
                    Ok(reply) => Ok(Done { uuid: reply.inventory.as_ref().and_then(uuid_of), applied: reply.applied }),
                    Err(refusal) if refusal.kind == RefusalKind::Conflict => Err(Failed::Conflict),
                    Err(refusal) => Err(Failed::Other(refusal.to_string())),
                }
            }
            Client::Http { http, server } => {
                let wait = if wait == Wait::Durable { "durable" } else { "applied" };
                let request = http.post(format!("http://{server}/v1/commands/{name}?wait={wait}"));
                let failed = |error: reqwest::Error| Failed::Other(error.to_string());
                let reply = request.bearer_auth(TOKEN).json(&parameters).send().await.map_err(failed)?;
                let status = reply.status();
                let body = reply.bytes().await.map_err(failed)?;
                let body: Value =
                    serde_json::from_slice(&body).map_err(|error| Failed::Other(format!("a reply: {error}")))?;
                match status.as_u16() {
                    200 => Ok(Done { uuid: uuid_of(&body["inventory"]), applied: body["applied"] == true }),
                    409 => Err(Failed::Conflict),
                    _ => Err(Failed::Other(body["detail"].to_string())),
                }
            }
            Client::Nats { connections, own } => {
                let wait = if wait == Wait::Durable { "durable" } else { "applied" };
                let headers = [("X-Wait", wait)];
                let subject = format!("switchback.cmd.{name}");
                let body = asked(&connections[*own], &subject, &headers, &parameters).await;
                let body = body.map_err(|error| Failed::Other(format!("{error:#}")))?;
                match body["status"].as_u64() {
                    None => Ok(Done { uuid: uuid_of(&body["inventory"]), applied: body["applied"] == true }),
                    Some(409) => Err(Failed::Conflict),
                    Some(_) => Err(Failed::Other(body["detail"].to_string())),
                }
            }
        }
    }

    /// Sends a command that must be carried out and applied, and gives the uuid of what it made.
    pub async fn make(&self, name: &str, parameters: Value) -> anyhow::Result<String> {
        let done = self.send(name, parameters, Wait::Applied).await.with_context(|| name.to_string())?;
        anyhow::ensure!(done.applied, "{name} was not applied");
        Ok(done.uuid.unwrap_or_default())
    }

    /// How many inventories match.
    pub async fn count(&self, name: &str, conditions: &[&str]) -> anyhow::Result<u64> {
        match self {
            Client::Process(node) => {
                let q = conditions.iter().map(ToString::to_string).collect();
                let request = QueryRequest { name: name.to_string(), q, count: true, ..QueryRequest::default() };
                let reply = node
                    .query(&Caller::administrator("admin"), request)
                    .await
                    .map_err(|refusal| anyhow::anyhow!("{name}: {refusal}"))?;
                reply.total.context("a count without a total")
            }
            Client::Http { http, server } => {
                let conditions = conditions.iter().map(|condition| ("q", *condition));
                let parameters = std::iter::once(("count", "true")).chain(conditions);
                let url = reqwest::Url::parse_with_params(&format!("http://{server}/v1/queries/{name}"), parameters)?;
                let reply: Value = http.get(url).bearer_auth(TOKEN).send().await?.json().await?;
                reply["total"].as_u64().with_context(|| format!("a count without a total: {reply}"))
            }
            Client::Nats { connections, own } => {
                let body = json!({"q": conditions, "count": true});
                let reply = asked(&connections[*own], &format!("switchback.query.{name}"), &[], &body).await?;
                reply["total"].as_u64().with_context(|| format!("a count without a total: {reply}"))
            }
        }
    }
}

/// What a request is answered.
async fn asked(
    client: &async_nats::Client,
    subject: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> anyhow::Result<Value> {
    let mut map = async_nats::HeaderMap::new();
    map.insert("Authorization", format!("Bearer {TOKEN}"));
    headers.iter().for_each(|(name, value)| map.insert(*name, *value));
    let request = async_nats::Request::new().headers(map).payload(body.to_string().into()).timeout(Some(PATIENCE));
    let reply = client.send_request(subject.to_string(), request).await.context("ask")?;
    serde_json::from_slice(&reply.payload).context("read a reply")
}

fn uuid_of(inventory: &Value) -> Option<String> {
    inventory["uuid"].as_str().map(str::to_string)
}

/// The gateway in front of a node, on a free port of the loopback.
pub(super) struct Listener {
    server: SocketAddr,
    handle: actix_web::dev::ServerHandle,
    thread: thread::JoinHandle<anyhow::Result<()>>,
}

impl Listener {
    pub fn start(node: Arc<Node>) -> anyhow::Result<Listener> {
        let (started, starts) = mpsc::channel();
        let serve = move || {
            actix_web::rt::System::new().block_on(async move {
                let gateway = Gateway::new(node, Arc::new(FixedTokens::new([(TOKEN, "admin")])));
                let options = Options { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Options::default() };
                let listening = switchback_gateway::serve(options, gateway).await.context("listen on loopback")?;
                let _ = started.send((listening.addresses[0], listening.server.handle()));
                listening.server.await.context("serve")
            })
        };
        let thread = thread::Builder::new().name("bench-gateway".to_string()).spawn(serve).context("start a thread")?;
        match starts.recv() {
            Ok((server, handle)) => Ok(Listener { server, handle, thread }),
            Err(_) => match thread.join() {
                Ok(Err(error)) => Err(error),
                _ => anyhow::bail!("the gateway did not start"),
            },
        }
    }

    /// Somebody who asks it.
    pub fn client(&self) -> anyhow::Result<Client> {
        switchback_agent::install_provider();
        // No proxy of the environment stands between here and here.
        let http = reqwest::Client::builder().no_proxy().build().context("make a client")?;
        Ok(Client::Http { http, server: self.server })
    }

    pub fn stop(self) -> anyhow::Result<()> {
        drop(self.handle.stop(true));
        self.thread.join().map_err(|_| anyhow::anyhow!("the gateway panicked"))?
    }
}

/// A node behind a NATS server of its own, which gets its events, too.
pub(super) struct Behind {
    server: NatsServer,
    remote: Remote,
}

impl Behind {
    /// Starts the server, with the file of what was published in `directory`.
    pub fn start(node: &Arc<Node>, directory: &Path) -> anyhow::Result<Behind> {
        let server = NatsServer::start(&[])?;
        let cursor: PathBuf = directory.join("published.json");
        let fill = Fill { jetstream: JetStream::Off, max_bytes: 0, max_age: None, replicas: 1, cursor };
        let (servers, login) = (vec![format!("nats://{}", server.address)], Login::Nobody);
        let options = RemoteOptions { servers, login, authority: None, fill };
        let remote = Remote::start(options, service(node))?;
        let beside = remote.beside();
        let began = Instant::now();
        // By its metrics: 1 for each of the two connections.
        let up =
            || beside.metrics().iter().take(2).all(|sample| sample.figures == switchback_bus::Figures::Number(1.0));
        while !up() {
            anyhow::ensure!(began.elapsed() < PATIENCE, "nothing came to nats-server: {:?}", beside.ready());
            thread::sleep(Duration::from_millis(5));
        }
        Ok(Behind { server, remote })
    }

    /// Where clients come in.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Ends the node's connections first.
    pub fn stop(self) {
        self.remote.stop();
    }
}

fn service(node: &Arc<Node>) -> Arc<Service> {
    let (tokens, asked) = (FixedTokens::new([(TOKEN, "admin")]), Asked::new(Rates::default()));
    Arc::new(Service::new(node.clone(), Arc::new(tokens), Arc::new(asked)))
}

/// The embedded listener in front of a node, on a free port.
pub(super) fn listen(node: &Arc<Node>) -> anyhow::Result<Listening> {
    let options = ListenerOptions { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..ListenerOptions::default() };
    let head = node.journal().clone();
    let listening = switchback_nats::listen(options, service(node), Arc::new(move || head.durable()));
    listening.context("listen for clients of NATS")
}

/// Clients, each with a connection.
pub(super) async fn connected(address: SocketAddr, clients: usize) -> anyhow::Result<Client> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(
            async_nats::ConnectOptions::with_token(TOKEN.to_string())
                .connect(format!("nats://{address}"))
                .await
                .context("connect a client")?,
        );
    }
    Ok(Client::Nats { connections: Arc::new(connections), own: 0 })
}

/// A connection that wants all events and is never read from.
pub(super) fn silent(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).context("connect a silent client")?;
    let said = format!("CONNECT {{\"verbose\":false,\"auth_token\":\"{TOKEN}\"}}\r\nSUB switchback.evt.> 1\r\n");
    stream.write_all(said.as_bytes()).context("subscribe a silent client")?;
    Ok(stream)
}
