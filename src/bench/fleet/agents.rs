//! The agents of a simulated fleet, served over the network as real ones are.

use anyhow::Context;
use parking_lot::Mutex;
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use switchback_agent::{AgentAt, Authority, SimulatedFleet, host::HostEngine, router::RouterEngine, server};
use switchback_appliance::Identity;
use switchback_events::RouterId;

/// Hosts are at the addresses after this one. All of 127.0.0.0/8 is this machine.
pub const HOSTS: Ipv4Addr = Ipv4Addr::new(127, 88, 0, 0);
/// Routers' agents are in this network of 16 bits.
pub const ROUTERS: Ipv4Addr = Ipv4Addr::new(127, 89, 0, 0);
/// Where hosts' agents listen.
const HOST_PORT: u16 = 7271;
/// So long may a port take until it is free again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Agents that listen until they are stopped.
pub struct Served {
    pub routers: Vec<RouterAgent>,
    orders: tokio::sync::mpsc::UnboundedSender<Order>,
    thread: JoinHandle<()>,
}

/// The agent of a router.
pub struct RouterAgent {
    pub id: RouterId,
    pub engine: Arc<RouterEngine>,
    address: SocketAddr,
    identity: Identity,
    /// Who takes its connections and says nothing.
    silent: Mutex<Option<Silent>>,
}

impl RouterAgent {
    pub fn at(&self) -> AgentAt {
        AgentAt::router(self.id, self.address)
    }
}

enum Of {
    Host(Arc<HostEngine>),
    Router(Arc<RouterEngine>),
}

type Answer = mpsc::Sender<anyhow::Result<()>>;

enum Order {
    Serve(SocketAddr, Identity, Of, Answer),
    Stop(SocketAddr, Answer),
    End,
}

impl Served {
    /// Serves all that the fleet has.
    pub fn start(fleet: &SimulatedFleet, authority: &Authority, hosts: &[super::Host]) -> anyhow::Result<Served> {
        let (orders, inbox) = tokio::sync::mpsc::unbounded_channel();
        let thread = thread::spawn(move || actix_rt::System::new().block_on(obey(inbox)));
        let mut served = Served { routers: Vec::new(), orders, thread };
        let issue = |name: String, address: SocketAddr| {
            authority.issue(&name, &[address.ip()]).with_context(|| format!("make the certificate of {name}"))
        };
        for (id, engine) in fleet.host_engines() {
            let host = hosts.iter().find(|host| host.uuid == id.to_string()).context("a host that was not added")?;
            let address = SocketAddr::from((host.ip, HOST_PORT));
            let identity = issue(format!("host-{}", host.ip), address)?;
            served.order(|answer| Order::Serve(address, identity, Of::Host(engine), answer))?;
        }
        for (id, address, engine) in fleet.router_engines() {
            let identity = issue(format!("router-{id}"), address)?;
            let agent = RouterAgent { id, engine, address, identity, silent: Mutex::default() };
            served.serve(&agent)?;
            served.routers.push(agent);
        }
        Ok(served)
    }

    /// The run of the server that each router's agent heard of last.
    pub fn epochs(&self) -> Vec<u64> {
        self.routers.iter().map(|router| router.engine.health().epoch).collect()
    }

    /// From now on the agent takes connections and says nothing.
    pub fn hang(&self, at: usize) -> anyhow::Result<()> {
        let agent = &self.routers[at];
        self.order(|answer| Order::Stop(agent.address, answer))?;
        *agent.silent.lock() = Some(Silent::listen(agent.address)?);
        Ok(())
    }

    /// It answers again.
    pub fn answer(&self, at: usize) -> anyhow::Result<()> {
        let agent = &self.routers[at];
        if let Some(silent) = agent.silent.lock().take() {
            silent.end();
        }
        self.serve(agent)
    }

    fn serve(&self, agent: &RouterAgent) -> anyhow::Result<()> {
        let (identity, engine) = (agent.identity.clone(), agent.engine.clone());
        self.order(|answer| Order::Serve(agent.address, identity, Of::Router(engine), answer))
    }

    fn order(&self, order: impl FnOnce(Answer) -> Order) -> anyhow::Result<()> {
        let (answer, answered) = mpsc::channel();
        self.orders.send(order(answer)).ok().context("the agents have ended")?;
        answered.recv().context("the agents have ended")?
    }

    /// Ends all of them.
    pub fn stop(self) {
        let _ = self.orders.send(Order::End);
        let _ = self.thread.join();
    }
}

/// Starts and stops servers, on the thread of all of them.
async fn obey(mut inbox: tokio::sync::mpsc::UnboundedReceiver<Order>) {
    let mut handles = std::collections::BTreeMap::new();
    while let Some(order) = inbox.recv().await {
        match order {
            Order::Serve(address, identity, of, answer) => {
                let server = match of {
                    Of::Host(engine) => server::host(address, &identity, engine.into()),
                    Of::Router(engine) => server::router(address, &identity, engine.into()),
                };
                let started = server.map(|server| {
                    handles.insert(address, server.handle());
                    actix_rt::spawn(server);
                });
                let _ = answer.send(started.with_context(|| format!("serve an agent at {address}")));
            }
            Order::Stop(address, answer) => {
                if let Some(handle) = handles.remove(&address) {
                    handle.stop(false).await;
                }
                let _ = answer.send(Ok(()));
            }
            Order::End => break,
        }
    }
    futures_util::future::join_all(handles.into_values().map(|handle| handle.stop(false))).await;
}

/// Takes connections and says nothing, as a process that hangs does.
struct Silent {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Silent {
    fn listen(address: SocketAddr) -> anyhow::Result<Silent> {
        let deadline = Instant::now() + PATIENCE;
        let listener = loop {
            match TcpListener::bind(address) {
                Ok(listener) => break listener,
                Err(error) if Instant::now() > deadline => {
                    return Err(error).with_context(|| format!("listen at {address}"));
                }
                Err(_) => thread::sleep(Duration::from_millis(2)),
            }
        };
        listener.set_nonblocking(true).context("listen without waiting")?;
        let ends = Arc::new(AtomicBool::new(false));
        let told = ends.clone();
        let thread = thread::spawn(move || {
            let mut taken = Vec::new();
            while !told.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((connection, _)) => taken.push(connection),
                    Err(_) => thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Ok(Silent { ends, thread })
    }

    fn end(self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
    }
}
