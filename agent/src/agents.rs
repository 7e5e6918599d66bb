//! What the server asks of agents. Implemented over the network by [`crate::client::AgentClient`], and in
//! memory by [`crate::simulated::SimulatedFleet`].

use async_trait::async_trait;
use std::{fmt, net::SocketAddr, sync::Arc};
use switchback_appliance::{
    AgentProblem, AgentRestart, ApplyReport, ArpProbe, Drift, Health, Held, Identity, InterfaceCheck, Observed, Push,
    ServiceCounters, Succession, SuccessionReport,
};
use switchback_events::{HostId, Id, Mac, RouterId};

/// Whose agent it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AgentOf {
    /// A host's.
    Host(HostId),
    /// A router's.
    Router(RouterId),
}

/// An agent, and where it listens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AgentAt {
    /// Whose.
    pub of: AgentOf,
    /// Where.
    pub address: SocketAddr,
}

impl AgentAt {
    /// The agent of a host.
    pub fn host(host: HostId, address: SocketAddr) -> Self {
        Self { of: AgentOf::Host(host), address }
    }

    /// The agent of a router.
    pub fn router(router: RouterId, address: SocketAddr) -> Self {
        Self { of: AgentOf::Router(router), address }
    }

    /// The id of the host or router.
    pub fn id(&self) -> Id {
        match self.of {
            AgentOf::Host(host) => host.into(),
            AgentOf::Router(router) => router.into(),
        }
    }
}

impl fmt::Display for AgentAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            AgentOf::Host(host) => write!(f, "host {host} at {}", self.address),
            AgentOf::Router(router) => write!(f, "router {router} at {}", self.address),
        }
    }
}

/// The agents of all hosts and routers. A slow or dead agent delays only who asks it.
#[async_trait]
pub trait Agents: Send + Sync + 'static {
    /// Applies a document, given with all bodies; only sections that the agent does not hold travel.
    async fn put_config(&self, agent: AgentAt, push: Push) -> Result<ApplyReport, AgentProblem>;
    /// What applying a document would do.
    async fn dry_run(&self, agent: AgentAt, push: Push) -> Result<ApplyReport, AgentProblem>;
    /// Whether the agent is well.
    async fn health(&self, agent: AgentAt) -> Result<Health, AgentProblem>;
    /// What the agent holds.
    async fn held(&self, agent: AgentAt) -> Result<Held, AgentProblem>;
    /// What a router's kernel and daemons have.
    async fn observed(&self, router: AgentAt) -> Result<Observed, AgentProblem>;
    /// Where a router differs from the document in force; where what filters at a host's nics does.
    async fn drift(&self, agent: AgentAt) -> Result<Drift, AgentProblem>;
    /// How much went through a router's services.
    async fn counters(&self, router: AgentAt) -> Result<ServiceCounters, AgentProblem>;
    /// Whether a host can carry an L2 network on an interface.
    async fn check_interface(&self, host: AgentAt, check: InterfaceCheck) -> Result<(), AgentProblem>;
    /// Who answers for an address on an L2 network that the host carries.
    async fn probe_arp(&self, host: AgentAt, probe: ArpProbe) -> Result<Option<Mac>, AgentProblem>;
    /// Puts a binary of routers' agents on a host.
    async fn put_agent_binary(&self, host: AgentAt, digest: String, bytes: Arc<Vec<u8>>) -> Result<(), AgentProblem>;
    /// Gives a host the certificate of a router's agent.
    async fn set_identity(&self, host: AgentAt, router: RouterId, identity: Identity) -> Result<(), AgentProblem>;
    /// One step of the replacement of a router's appliance.
    async fn succeed(
        &self,
        host: AgentAt,
        router: RouterId,
        order: Succession,
    ) -> Result<SuccessionReport, AgentProblem>;
    /// Starts a router's agent again, with another binary where one is named.
    async fn restart_router_agent(
        &self,
        host: AgentAt,
        router: RouterId,
        restart: AgentRestart,
    ) -> Result<(), AgentProblem>;
}
