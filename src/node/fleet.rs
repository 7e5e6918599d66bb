//! The agents as the node reaches them: those of real hosts over the network, those of simulated hosts in process.

use super::{DataDir, NodeOptions};
use anyhow::Context;
use async_trait::async_trait;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, OnceLock},
};
use switchback_actors::agents::{Agents, HostTarget, RouterTarget};
use switchback_agent::{
    agents::{AgentAt, Agents as AgentCalls},
    client::{AgentClient, Timeouts},
    pki::Authority,
    simulated::SimulatedFleet,
};
use switchback_appliance::*;
use switchback_events::{CertificateId, HypervisorType, Mac, Position, RouterId, VmInstanceId};

/// Real and simulated agents.
pub struct Fleet {
    simulated: Arc<SimulatedFleet>,
    /// What would be put in place of simulated agents: digest and bytes.
    simulated_program: Mutex<Program>,
    real: Option<Real>,
    certificates: OnceLock<TextOf>,
    passwords: OnceLock<PasswordOf>,
}

/// What gives the text of a certificate with its key.
type TextOf = Box<dyn Fn(CertificateId) -> Option<Pem> + Send + Sync>;

/// What gives the password of a VM, by its digest, that the VM has not taken yet.
type PasswordOf = Box<dyn Fn(VmInstanceId, &str) -> Option<Password> + Send + Sync>;

/// The digest and the bytes of an agent's binary.
type Program = (String, Arc<Vec<u8>>);

/// What it takes to reach real agents.
struct Real {
    client: AgentClient,
    authority: Authority,
    /// This program, which is the agent too.
    program: OnceLock<Program>,
}

impl Fleet {
    /// Real hosts by the authority of the data directory, unless all are to be simulated.
    pub(super) fn open(directory: &DataDir, options: &NodeOptions) -> anyhow::Result<Fleet> {
        if options.simulate {
            return Ok(Fleet::simulated(options));
        }
        let authority = Authority::open_or_create(&directory.pki()).context("open the agents' authority")?;
        let identity = authority.server_identity().context("make the server's certificate")?;
        let client = AgentClient::new(&identity, options.agent_netns.clone(), Timeouts::default())
            .context("start the agents' client")?;
        let real = Real { client, authority, program: OnceLock::new() };
        Ok(Fleet { real: Some(real), ..Fleet::simulated(options) })
    }

    /// Simulated hosts only.
    pub(super) fn simulated(options: &NodeOptions) -> Fleet {
        let program = (options.simulation.agent_digest.clone(), Arc::default());
        let simulated = Arc::new(SimulatedFleet::new(options.simulation.clone()));
        Fleet {
            simulated,
            simulated_program: Mutex::new(program),
            real: None,
            certificates: OnceLock::new(),
            passwords: OnceLock::new(),
        }
    }

    /// The simulated hosts, for tests that make them fail.
    pub fn simulation(&self) -> &Arc<SimulatedFleet> {
        &self.simulated
    }

    /// From now on certificates that routers show go to them with their keys.
    pub(super) fn enclose(&self, text_of: impl Fn(CertificateId) -> Option<Pem> + Send + Sync + 'static) {
        let _ = self.certificates.set(Box::new(text_of));
    }

    /// From now on routers get the passwords that wait for VMs.
    pub(super) fn enclose_passwords(
        &self,
        password_of: impl Fn(VmInstanceId, &str) -> Option<Password> + Send + Sync + 'static,
    ) {
        let _ = self.passwords.set(Box::new(password_of));
    }

    /// From now on simulated agents are upgraded to this binary.
    pub fn offer_simulated_agent(&self, bytes: Vec<u8>) {
        *self.simulated_program.lock() = (hex(&Sha256::digest(&bytes)), Arc::new(bytes));
    }

    /// A token by which the agent of a host at `address` joins. A secret.
    ///
    /// # Errors
    /// A node without real hosts, or a certificate that cannot be made.
    pub(super) fn token(&self, address: Ipv4Addr) -> anyhow::Result<String> {
        let real = self.real.as_ref().context("this server simulates all hosts: there is nothing to join")?;
        Ok(real.authority.token(&format!("host-{address}"), IpAddr::V4(address))?)
    }

    fn calls(&self, host: &HostTarget) -> &dyn AgentCalls {
        match &self.real {
            Some(real) if host.hypervisor_type == HypervisorType::KVM => &real.client,
            _ => self.simulated.as_ref(),
        }
    }

    /// Gives a host this server's own agent, and tells its digest.
    async fn put_program(&self, host: &HostTarget) -> Result<String, AgentProblem> {
        let (digest, bytes) = match self.real_for(host) {
            Some(real) => real.program().clone(),
            None => self.simulated_program.lock().clone(),
        };
        self.calls(host).put_agent_binary(host_at(host), digest.clone(), bytes).await?;
        Ok(digest)
    }

    fn real_for(&self, host: &HostTarget) -> Option<&Real> {
        self.real.as_ref().filter(|_| host.hypervisor_type == HypervisorType::KVM)
    }
}

impl Real {
    /// The digest and the bytes of this program.
    fn program(&self) -> &Program {
        self.program.get_or_init(|| {
            let bytes = std::fs::read("/proc/self/exe").unwrap_or_default();
            (hex(&Sha256::digest(&bytes)), Arc::new(bytes))
        })
    }
}

fn host_at(host: &HostTarget) -> AgentAt {
    AgentAt::host(host.id, host.address)
}

fn router_at(router: &RouterTarget) -> AgentAt {
    AgentAt::router(router.id, router.address)
}

#[async_trait]
impl Agents for Fleet {
    async fn host_health(&self, host: &HostTarget) -> Result<Health, AgentProblem> {
        self.calls(host).health(host_at(host)).await
    }

    async fn put_host(&self, host: &HostTarget, push: Push) -> Result<ApplyReport, AgentProblem> {
        self.calls(host).put_config(host_at(host), push).await
    }

    async fn host_drift(&self, host: &HostTarget) -> Result<Drift, AgentProblem> {
        self.calls(host).drift(host_at(host)).await
    }

    async fn check_interface(&self, host: &HostTarget, check: InterfaceCheck) -> Result<(), AgentProblem> {
        self.calls(host).check_interface(host_at(host), check).await
    }

    async fn probe_arp(&self, host: &HostTarget, probe: ArpProbe) -> Result<Option<Mac>, AgentProblem> {
        self.calls(host).probe_arp(host_at(host), probe).await
    }

    async fn prepare_appliance(
        &self,
        host: &HostTarget,
        router: RouterId,
        management_ip: Ipv4Addr,
    ) -> Result<(), AgentProblem> {
        let identity = match self.real_for(host) {
            None => Identity { authority: String::new(), certificate: String::new(), key: String::new() },
            Some(real) => real
                .authority
                .issue(&format!("router-{router}"), &[IpAddr::V4(management_ip)])
                .map_err(|error| failed(format!("make the certificate of router {router}: {error}")))?,
        };
        self.calls(host).set_identity(host_at(host), router, identity).await
    }

    async fn router_health(&self, router: &RouterTarget) -> Result<Health, AgentProblem> {
        self.calls(&router.host).health(router_at(router)).await
    }

    async fn put_router(&self, router: &RouterTarget, mut push: Push) -> Result<ApplyReport, AgentProblem> {
        if let Some(text_of) = self.certificates.get() {
            enclose_certificates(&mut push, text_of);
        }
        if let Some(password_of) = self.passwords.get() {
            enclose_passwords(&mut push, password_of);
        }
        self.calls(&router.host).put_config(router_at(router), push).await
    }

    async fn plan_router(&self, router: &RouterTarget, push: Push) -> Result<ApplyReport, AgentProblem> {
        self.calls(&router.host).dry_run(router_at(router), push).await
    }

    async fn router_drift(&self, router: &RouterTarget) -> Result<Drift, AgentProblem> {
        self.calls(&router.host).drift(router_at(router)).await
    }

    async fn router_counters(&self, router: &RouterTarget) -> Result<ServiceCounters, AgentProblem> {
        self.calls(&router.host).counters(router_at(router)).await
    }

    fn agent_digest(&self, router: &RouterTarget) -> String {
        match self.real_for(&router.host) {
            Some(real) => real.program().0.clone(),
            None => self.simulated_program.lock().0.clone(),
        }
    }

    async fn succeed(
        &self,
        router: &RouterTarget,
        replacement: Position,
        step: SuccessionStep,
        upgrade: bool,
        baggage: Option<Baggage>,
    ) -> Result<SuccessionReport, AgentProblem> {
        let upgrade = upgrade && matches!(step, SuccessionStep::Prepare | SuccessionStep::Arrive);
        let digest = if upgrade { Some(self.put_program(&router.host).await?) } else { None };
        let order = Succession { replacement, step, digest, baggage };
        self.calls(&router.host).succeed(host_at(&router.host), router.id, order).await
    }

    async fn restart_agent(&self, router: &RouterTarget, upgrade: bool) -> Result<(), AgentProblem> {
        let digest = if upgrade { Some(self.put_program(&router.host).await?) } else { None };
        let restart = AgentRestart { digest };
        self.calls(&router.host).restart_router_agent(host_at(&router.host), router.id, restart).await
    }
}

fn failed(detail: String) -> AgentProblem {
    AgentProblem { code: AgentProblemCode::Failed, section: None, detail }
}
