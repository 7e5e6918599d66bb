//! The server's side of the wire.
//!
//! ```text
//!   caller ──► order ──► one thread, in the management network's namespace ──► a task for each order ──► agent
//!      ▲                                                                                       │
//!      └───────────────────────────── answer or AgentProblem ◄─────────────────────────────────┘
//! ```
//!
//! A namespace belongs to a thread, so all connections are made from one that has entered it; the rest of the
//! process stays where it is. Orders do not wait for one another.

use crate::{
    agents::{AgentAt, Agents},
    document::problem,
    kernel::enter_namespace,
    pki::{self, PkiError},
};
use async_trait::async_trait;
use parking_lot::Mutex;
use reqwest::{Client, Method, RequestBuilder};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use switchback_appliance::{
    AgentProblem, AgentProblemCode, AgentRestart, ApplyReport, ArpProbe, Drift, Health, Held, Identity, InterfaceCheck,
    Observed, Push, ServiceCounters, Succession, SuccessionReport,
};
use switchback_events::{Mac, RouterId};
use tokio::sync::{mpsc, oneshot};

/// How long to wait for agents.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until a connection is there.
    pub connect: Duration,
    /// Until a document is applied, or an agent is upgraded.
    pub config: Duration,
    /// Until anything else is answered.
    pub other: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), config: Duration::from_secs(60), other: Duration::from_secs(10) }
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server's certificate.
    #[error("use the server's identity")]
    Identity(#[from] PkiError),
    /// The thread, its namespace or its runtime.
    #[error("start the agents' client: {0}")]
    Start(String),
}

/// The digests that agents were seen to hold, by address.
type Known = Mutex<HashMap<SocketAddr, BTreeMap<String, String>>>;

/// The client of all agents.
pub struct AgentClient {
    orders: mpsc::UnboundedSender<Order>,
    timeouts: Timeouts,
    known: Known,
}

struct Order {
    method: Method,
    url: String,
    body: Arc<Vec<u8>>,
    timeout: Duration,
    reply: oneshot::Sender<Result<Vec<u8>, AgentProblem>>,
}

impl AgentClient {
    /// A client with the server's identity, which dials from the named network namespace if one is given.
    pub fn new(identity: &Identity, namespace: Option<String>, timeouts: Timeouts) -> Result<Self, ClientError> {
        let tls = pki::client_config(identity)?;
        let (orders, inbox) = mpsc::unbounded_channel();
        let (ready, started) = std::sync::mpsc::channel::<Result<(), ClientError>>();
        let dial = move || {
            let failed = |error: &dyn std::fmt::Display| ClientError::Start(error.to_string());
            if let Some(namespace) = namespace {
                enter_namespace(&namespace).map_err(|error| failed(&error))?;
            }
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
            let client = Client::builder()
                .no_proxy()
                .tcp_nodelay(true)
                .connect_timeout(timeouts.connect)
                .tls_backend_preconfigured(tls)
                .build()
                .map_err(|error| failed(&error))?;
            Ok((runtime, client))
        };
        std::thread::spawn(move || match dial() {
            Ok((runtime, client)) => {
                let _ = ready.send(Ok(()));
                runtime.block_on(tokio::task::LocalSet::new().run_until(serve(client, inbox)));
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        });
        started.recv().map_err(|error| ClientError::Start(error.to_string()))??;
        Ok(Self { orders, timeouts, known: Known::default() })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        agent: AgentAt,
        method: Method,
        path: &str,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<T, AgentProblem> {
        self.send(agent, method, path, Arc::new(body), timeout).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        agent: AgentAt,
        method: Method,
        path: &str,
        body: Arc<Vec<u8>>,
        timeout: Duration,
    ) -> Result<T, AgentProblem> {
        let gone = |_| problem(AgentProblemCode::Unreachable, "the agents' client has stopped");
        let (reply, answer) = oneshot::channel();
        let url = format!("https://{}{path}", agent.address);
        let order = Order { method, url, body, timeout, reply };
        self.orders
            .send(order)
            .map_err(|_| problem(AgentProblemCode::Unreachable, "the agents' client has stopped"))?;
        let bytes = answer.await.map_err(gone)?.map_err(|mut found| {
            if found.code == AgentProblemCode::Unreachable {
                found.detail = format!("{agent}: {}", found.detail);
            }
            found
        })?;
        serde_json::from_slice(&bytes).map_err(|error| unreadable(agent, &error))
    }

    async fn get<T: DeserializeOwned>(&self, agent: AgentAt, path: &str) -> Result<T, AgentProblem> {
        self.ask(agent, Method::GET, path, Vec::new(), self.timeouts.other).await
    }

    async fn push(&self, agent: AgentAt, path: &str, push: &Push) -> Result<ApplyReport, AgentProblem> {
        self.ask(agent, Method::PUT, path, body(push)?, self.timeouts.config).await
    }
}

fn unreadable(agent: AgentAt, error: &dyn std::fmt::Display) -> AgentProblem {
    problem(AgentProblemCode::Unreachable, format!("{agent}: the answer is unreadable: {error}"))
}

fn body<T: Serialize>(value: &T) -> Result<Vec<u8>, AgentProblem> {
    serde_json::to_vec(value).map_err(|error| problem(AgentProblemCode::Invalid, error.to_string()))
}

async fn serve(client: Client, mut inbox: mpsc::UnboundedReceiver<Order>) {
    while let Some(order) = inbox.recv().await {
        let client = client.clone();
        tokio::task::spawn_local(async move {
            let answer = carry_out(&client, &order).await;
            // Whoever asked may have given up; then nobody wants to know.
            let _ = order.reply.send(answer);
        });
    }
}

async fn carry_out(client: &Client, order: &Order) -> Result<Vec<u8>, AgentProblem> {
    let attempt = || async { request(client, order).send().await };
    let mut answer = attempt().await;
    // A kept connection may have died with the agent's process. Every request may be made twice.
    if answer.as_ref().is_err_and(|error| error.is_request() && !error.is_connect() && !error.is_timeout()) {
        answer = attempt().await;
    }
    let answer = answer.map_err(|error| unreachable(&error, order.timeout))?;
    let status = answer.status();
    let bytes = answer.bytes().await.map_err(|error| unreachable(&error, order.timeout))?;
    if status.is_success() {
        return Ok(bytes.to_vec());
    }
    Err(serde_json::from_slice(&bytes).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(&bytes);
        problem(AgentProblemCode::Failed, format!("status {status}: {}", text.trim()))
    }))
}

fn request(client: &Client, order: &Order) -> RequestBuilder {
    let request = client.request(order.method.clone(), &order.url).timeout(order.timeout);
    if order.body.is_empty() {
        return request;
    }
    request.header("content-type", "application/json").body(order.body.as_ref().clone())
}

fn unreachable(error: &reqwest::Error, timeout: Duration) -> AgentProblem {
    if error.is_timeout() && !error.is_connect() {
        return problem(AgentProblemCode::Unreachable, format!("no answer within {timeout:?}"));
    }
    // The chain ends with what matters: `connection refused`, `invalid peer certificate`.
    let mut source: &dyn std::error::Error = error;
    while let Some(next) = source.source() {
        source = next;
    }
    let what = if error.is_connect() { "cannot connect" } else { "the connection broke" };
    problem(AgentProblemCode::Unreachable, format!("{what}: {source}"))
}

/// Takes out the bodies of the sections that the agent holds.
fn thin(push: &Push, known: &BTreeMap<String, String>) -> Push {
    let mut thin = push.clone();
    for (name, section) in &mut thin.sections {
        if known.get(name) == Some(&section.digest) {
            (section.body, section.changes) = (None, None);
        }
    }
    thin
}

#[async_trait]
impl Agents for AgentClient {
    async fn put_config(&self, agent: AgentAt, push: Push) -> Result<ApplyReport, AgentProblem> {
        let known = self.known.lock().remove(&agent.address).unwrap_or_default();
        let thin = thin(&push, &known);
        let mut answer = self.push(agent, "/v1/config", &thin).await;
        if thin != push && answer.as_ref().is_err_and(|found| found.code == AgentProblemCode::MissingSection) {
            answer = self.push(agent, "/v1/config", &push).await;
        }
        if answer.is_ok() {
            let digests = push.sections.into_iter().map(|(name, section)| (name, section.digest)).collect();
            self.known.lock().insert(agent.address, digests);
        }
        answer
    }

    async fn dry_run(&self, agent: AgentAt, push: Push) -> Result<ApplyReport, AgentProblem> {
        self.push(agent, "/v1/config?dryRun=1", &push).await
    }

    async fn health(&self, agent: AgentAt) -> Result<Health, AgentProblem> {
        self.get(agent, "/v1/health").await
    }

    async fn held(&self, agent: AgentAt) -> Result<Held, AgentProblem> {
        self.get(agent, "/v1/config").await
    }

    async fn observed(&self, router: AgentAt) -> Result<Observed, AgentProblem> {
        self.get(router, "/v1/observed").await
    }

    async fn drift(&self, agent: AgentAt) -> Result<Drift, AgentProblem> {
        self.get(agent, "/v1/drift").await
    }

    async fn counters(&self, router: AgentAt) -> Result<ServiceCounters, AgentProblem> {
        self.get(router, "/v1/counters").await
    }

    async fn check_interface(&self, host: AgentAt, check: InterfaceCheck) -> Result<(), AgentProblem> {
        self.ask(host, Method::POST, "/v1/check", body(&check)?, self.timeouts.other).await
    }

    async fn probe_arp(&self, host: AgentAt, probe: ArpProbe) -> Result<Option<Mac>, AgentProblem> {
        self.ask(host, Method::POST, "/v1/arp", body(&probe)?, self.timeouts.other).await
    }

    async fn put_agent_binary(&self, host: AgentAt, digest: String, bytes: Arc<Vec<u8>>) -> Result<(), AgentProblem> {
        self.send(host, Method::PUT, &format!("/v1/agents/{digest}"), bytes, self.timeouts.config).await
    }

    async fn set_identity(&self, host: AgentAt, router: RouterId, identity: Identity) -> Result<(), AgentProblem> {
        let path = format!("/v1/appliances/{router}/identity");
        self.ask(host, Method::POST, &path, body(&identity)?, self.timeouts.other).await
    }

    async fn succeed(
        &self,
        host: AgentAt,
        router: RouterId,
        order: Succession,
    ) -> Result<SuccessionReport, AgentProblem> {
        let path = format!("/v1/appliances/{router}/successor");
        self.ask(host, Method::POST, &path, body(&order)?, self.timeouts.config).await
    }

    async fn restart_router_agent(
        &self,
        host: AgentAt,
        router: RouterId,
        restart: AgentRestart,
    ) -> Result<(), AgentProblem> {
        let path = format!("/v1/appliances/{router}/agent");
        self.ask(host, Method::POST, &path, body(&restart)?, self.timeouts.config).await
    }
}
