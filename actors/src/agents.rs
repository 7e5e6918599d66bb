//! The edge towards hosts and routers: what the reconcilers ask of agents. Real agents answer over HTTP with mutual
//! TLS, simulated ones in process; the server wires one or both.

use async_trait::async_trait;
use std::net::{Ipv4Addr, SocketAddr};
use switchback_appliance::{
    AgentProblem, ApplyReport, ArpProbe, Baggage, Drift, Health, InterfaceCheck, Push, ServiceCounters,
    SuccessionReport, SuccessionStep,
};
use switchback_events::{HostId, HypervisorType, Mac, Position, RouterId};

/// Where a host's agent is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostTarget {
    /// The host.
    pub id: HostId,
    /// Its agent's address.
    pub address: SocketAddr,
    /// Real or simulated.
    pub hypervisor_type: HypervisorType,
}

/// Where a router's agent is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouterTarget {
    /// The router.
    pub id: RouterId,
    /// Its agent's address.
    pub address: SocketAddr,
    /// The host that it is placed on.
    pub host: HostTarget,
}

/// What can be asked of agents.
#[async_trait]
pub trait Agents: Send + Sync {
    /// Is the host's agent there?
    async fn host_health(&self, host: &HostTarget) -> Result<Health, AgentProblem>;
    /// Tells a host what it should carry.
    async fn put_host(&self, host: &HostTarget, push: Push) -> Result<ApplyReport, AgentProblem>;
    /// What filters at the nics of a host's VMs otherwise than it was put in place?
    async fn host_drift(&self, host: &HostTarget) -> Result<Drift, AgentProblem>;
    /// Could the host carry an L2 network on this interface?
    async fn check_interface(&self, host: &HostTarget, check: InterfaceCheck) -> Result<(), AgentProblem>;
    /// Who answers for an address on an L2 network that the host carries?
    async fn probe_arp(&self, host: &HostTarget, probe: ArpProbe) -> Result<Option<Mac>, AgentProblem>;
    /// Gives the agent of an appliance its certificate, before the appliance is told to the host.
    async fn prepare_appliance(
        &self,
        host: &HostTarget,
        router: RouterId,
        management_ip: Ipv4Addr,
    ) -> Result<(), AgentProblem>;
    /// Is the router's agent there?
    async fn router_health(&self, router: &RouterTarget) -> Result<Health, AgentProblem>;
    /// Tells a router what it should be.
    async fn put_router(&self, router: &RouterTarget, push: Push) -> Result<ApplyReport, AgentProblem>;
    /// What a router would do to become so.
    async fn plan_router(&self, router: &RouterTarget, push: Push) -> Result<ApplyReport, AgentProblem>;
    /// Where a router differs from what it should be.
    async fn router_drift(&self, router: &RouterTarget) -> Result<Drift, AgentProblem>;
    /// How much went through a router's services.
    async fn router_counters(&self, router: &RouterTarget) -> Result<ServiceCounters, AgentProblem>;
    /// The digest of the agent that this server would put in place.
    fn agent_digest(&self, router: &RouterTarget) -> String;
    /// One step of the replacement of a router's appliance by another one beside it; prepared with `upgrade`, its agent is
    /// this server's own. Where it is to be on another host, `router` names the one that the step is for.
    async fn succeed(
        &self,
        router: &RouterTarget,
        replacement: Position,
        step: SuccessionStep,
        upgrade: bool,
        baggage: Option<Baggage>,
    ) -> Result<SuccessionReport, AgentProblem>;
    /// Restarts a router's agent; with `upgrade`, as this server's own.
    async fn restart_agent(&self, router: &RouterTarget, upgrade: bool) -> Result<(), AgentProblem>;
}
