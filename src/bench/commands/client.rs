//! Who sends the commands, and the two ways in: the bus of this process, and HTTP over loopback.

use crate::node::Node;
use anyhow::Context;
use serde_json::Value;
use std::{
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread,
};
use switchback_bus::{Bus, Caller, CommandRequest, QueryRequest, RefusalKind, Wait};
use switchback_events::Origin;
use switchback_gateway::{FixedTokens, Gateway, Options};

/// How clients come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// Over the bus, in this process.
    Process,
    /// Through the gateway, over loopback, with kept connections.
    Http,
}

impl Way {
    /// In words.
    pub(super) fn word(self) -> &'static str {
        match self {
            Way::Process => "in process",
            Way::Http => "over HTTP",
        }
    }
}

/// Who asks.
#[derive(Clone)]
pub(super) enum Client {
    Process(Arc<Node>),
    Http { http: reqwest::Client, server: SocketAddr },
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

impl Client {
    pub fn in_process(node: Arc<Node>) -> Client {
        Client::Process(node)
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
        }
    }
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
