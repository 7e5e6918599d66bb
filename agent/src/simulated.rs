//! Hosts and routers in memory: the same engines over a [`SimulatedKernel`], the same rules, the same reports,
//! and no root. Hosts are there when first addressed; a router is there while a host's document has it.

use crate::{
    agents::{AgentAt, AgentOf, Agents},
    document::problem,
    host::{HostEngine, HostSettings},
    kernel::{FailKind, Kernel, Link, SimulatedKernel},
    router::{RouterEngine, RouterSettings},
    version::Build,
};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use switchback_appliance::{
    AgentProblem, AgentProblemCode, AgentRestart, ApplianceConfig, ApplyReport, ArpProbe, Drift, Health, Held,
    Identity, InterfaceCheck, Observed, PlugConfig, Push, ServiceCounters, Succession, SuccessionReport,
};
use switchback_events::{HostId, HypervisorType, Id, Mac, RouterId};

/// How a fleet behaves.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// The digest of agents' binaries before any upgrade.
    pub agent_digest: String,
    /// The interfaces of every host.
    pub interfaces: Vec<String>,
    /// How long each change to a kernel takes.
    pub latency: Duration,
    /// How long a caller waits for an agent that hangs.
    pub patience: Duration,
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self {
            agent_digest: "simulated".to_string(),
            interfaces: ["eth0", "eth1", "eth2", "eth3"].map(str::to_string).to_vec(),
            latency: Duration::ZERO,
            patience: Duration::from_secs(2),
        }
    }
}

/// A fleet of simulated hosts and routers.
pub struct SimulatedFleet {
    options: FleetOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    hosts: BTreeMap<HostId, SimulatedHost>,
    routers: BTreeMap<RouterId, SimulatedRouter>,
    unreachable: BTreeSet<Id>,
    hanging: BTreeSet<Id>,
    /// Hosts that do not keep what appliances start with.
    careless: BTreeSet<Id>,
    failures: BTreeMap<Id, BTreeSet<FailKind>>,
    /// Agents that say that they are another router's, until they are restarted: the process, and whose.
    impostors: BTreeMap<RouterId, (crate::kernel::ProcessId, Id)>,
    starts: u64,
}

struct SimulatedHost {
    kernel: Arc<SimulatedKernel>,
    engine: Arc<HostEngine>,
}

struct SimulatedRouter {
    host: HostId,
    config: ApplianceConfig,
    process: crate::kernel::ProcessId,
    kernel: Arc<SimulatedKernel>,
    engine: Arc<RouterEngine>,
}

impl SimulatedFleet {
    /// A fleet without hosts yet.
    pub fn new(options: FleetOptions) -> Self {
        Self { options, state: Mutex::default() }
    }

    /// The next call of this kind on the kernel of a host or router fails, once; also where it is not there yet.
    pub fn fail_next(&self, id: Id, kind: FailKind) {
        let mut state = self.state.lock();
        match state.kernel(id) {
            Some(kernel) => kernel.fail_next(kind),
            None => {
                state.failures.entry(id).or_default().insert(kind);
            }
        }
    }

    /// Cuts the way to an agent, or mends it.
    pub fn unreachable(&self, id: Id, cut: bool) {
        set(&mut self.state.lock().unreachable, id, cut);
    }

    /// Makes an agent take questions and not answer, or answer again.
    pub fn hang(&self, id: Id, hangs: bool) {
        set(&mut self.state.lock().hanging, id, hangs);
    }

    /// Makes a host refuse what appliances start with, or take it again.
    pub fn refuse_identities(&self, host: HostId, refuses: bool) {
        set(&mut self.state.lock().careless, host.into(), refuses);
    }

    /// Makes a router's agent answer for another router until it is restarted.
    pub fn impersonate(&self, router: RouterId, other: Id) {
        let mut state = self.state.lock();
        if let Some(held) = state.routers.get(&router) {
            let process = held.process;
            state.impostors.insert(router, (process, other));
        }
    }

    /// Removes a router's table and kills its dnsmasq behind its agent's back.
    pub fn drift(&self, router: RouterId) {
        if let Some(router) = self.state.lock().routers.get(&router) {
            router.kernel.wipe();
        }
    }

    /// Takes an element out of a router's sets and maps behind its agent's back.
    pub fn lose_element(&self, router: RouterId, element: &str) {
        if let Some(router) = self.state.lock().routers.get(&router) {
            router.kernel.lose_element(element);
        }
    }

    /// Makes a router's name server answer nobody, or answer again.
    pub fn deafen(&self, router: RouterId, deaf: bool) {
        if let Some(router) = self.state.lock().routers.get(&router) {
            router.kernel.deafen(deaf);
        }
    }

    /// Packets and their bytes went through an EIP: in, and out.
    pub fn pass(&self, router: RouterId, address: &str, counts: [(u64, u64); 2]) {
        if let Some(router) = self.state.lock().routers.get(&router) {
            for (set, count) in crate::services::eip::COUNTERS.iter().zip(counts) {
                router.kernel.pass(set, address, count);
            }
        }
    }

    /// Somebody with this hardware address says something to a router of the password of the VM that has this address; what
    /// is answered. Nothing to strangers.
    pub fn ask_password(&self, router: RouterId, ip: Ipv4Addr, mac: Mac, request: &[u8]) -> Option<Vec<u8>> {
        let (kernel, engine) = {
            let state = self.state.lock();
            let held = state.routers.get(&router)?;
            (held.kernel.clone(), held.engine.clone())
        };
        let neighbours = format!("IP address HW type Flags HW address Mask Device\n{ip} 0x1 0x2 {mac} * eth2\n");
        let written = kernel.write(Path::new(crate::services::metadata::NEIGHBOURS), neighbours.as_bytes(), 0o444);
        match written.map(|()| engine.password(ip, request)) {
            Ok(crate::services::metadata::Answer::Body(body)) => Some(body),
            _ => None,
        }
    }

    /// Somebody removes what filters at the nics of a host's VMs.
    pub fn lose_filters(&self, host: HostId) {
        if let Some(host) = self.state.lock().hosts.get(&host) {
            host.kernel.lose_filters();
        }
    }

    /// Somebody kills what serves VMs from a host itself, and removes its tables.
    pub fn wipe_rooms(&self, host: HostId) {
        if let Some(host) = self.state.lock().hosts.get(&host) {
            host.kernel.wipe_rooms();
        }
    }

    /// Kills a router's agent; its host starts it again.
    pub fn crash(&self, router: RouterId) {
        let mut state = self.state.lock();
        let Some(host) = state.routers.get(&router).map(|held| held.host) else { return };
        let Some(host) = state.hosts.get(&host) else { return };
        let process = host.engine.appliances().into_iter().find(|(held, _)| *held == router);
        if let Some((_, held)) = process {
            let _ = Kernel::tell(host.kernel.as_ref(), &held.process, crate::kernel::Tell::Kill);
        }
        let engine = host.engine.clone();
        engine.supervise();
        state.settle(&self.options);
    }

    /// The engines behind the agents of hosts.
    pub fn host_engines(&self) -> Vec<(HostId, Arc<HostEngine>)> {
        self.state.lock().hosts.iter().map(|(host, held)| (*host, held.engine.clone())).collect()
    }

    /// The engines behind the agents of routers, and where those would listen: to be served over a network.
    pub fn router_engines(&self) -> Vec<(RouterId, SocketAddr, Arc<RouterEngine>)> {
        let state = self.state.lock();
        state.routers.iter().map(|(router, held)| (*router, address(&held.config), held.engine.clone())).collect()
    }

    /// The bridges that a host has, in the order in which they were made.
    pub fn bridges(&self, host: HostId) -> Vec<String> {
        let Some(kernel) = self.state.lock().hosts.get(&host).map(|held| held.kernel.clone()) else { return vec![] };
        let links = Kernel::links(kernel.as_ref()).unwrap_or_default();
        let log = kernel.log();
        let made = |name: &str| log.iter().rposition(|line| line.strip_prefix("create ") == Some(name));
        let mut bridges: Vec<String> =
            links.into_iter().map(|link| link.name).filter(|name| name.starts_with("br_")).collect();
        bridges.sort_by_key(|name| made(name));
        bridges
    }

    /// The sections that the agent of a host holds.
    pub fn host_sections(&self, host: HostId) -> serde_json::Value {
        let engine = self.state.lock().hosts.get(&host).map(|held| held.engine.clone());
        engine.map(|engine| engine.held().sections).unwrap_or_default()
    }

    /// All that the kernels of hosts and routers were told in words, by whose it is and what.
    pub fn texts(&self) -> BTreeMap<(Id, String), String> {
        let state = self.state.lock();
        let hosts = state.hosts.iter().map(|(id, host)| (id.0, host.kernel.clone()));
        let routers = state.routers.iter().map(|(id, router)| (id.0, router.kernel.clone()));
        let kernels: Vec<(Id, Arc<SimulatedKernel>)> = hosts.chain(routers).collect();
        drop(state);
        let all = |(id, kernel): (Id, Arc<SimulatedKernel>)| {
            kernel.texts().into_iter().map(move |(name, text)| ((id, name), text))
        };
        kernels.into_iter().flat_map(all).collect()
    }

    /// Takes an interface out of a host.
    pub fn unplug(&self, host: HostId, interface: &str) {
        let mut state = self.state.lock();
        if state.host(host, &self.options).is_ok() {
            state.hosts[&host].kernel.unplug(interface);
        }
    }

    /// Somebody answers by ARP for an address that a host asks for.
    pub fn neighbour(&self, host: HostId, ip: Ipv4Addr, mac: Mac) {
        let mut state = self.state.lock();
        if state.host(host, &self.options).is_ok() {
            state.hosts[&host].kernel.neighbour(ip, mac);
        }
    }

    /// Waits where the agent hangs, and fails where it cannot be reached.
    async fn reach(&self, agent: AgentAt) -> Result<(), AgentProblem> {
        let (unreachable, hanging) = {
            let state = self.state.lock();
            (state.unreachable.contains(&agent.id()), state.hanging.contains(&agent.id()))
        };
        if hanging {
            tokio::time::sleep(self.options.patience).await;
            let detail = format!("{agent}: no answer within {:?}", self.options.patience);
            return Err(problem(AgentProblemCode::Unreachable, detail));
        }
        if unreachable {
            return Err(problem(AgentProblemCode::Unreachable, format!("{agent}: cannot connect: no route to host")));
        }
        Ok(())
    }

    fn host(&self, agent: AgentAt) -> Result<Arc<HostEngine>, AgentProblem> {
        match agent.of {
            AgentOf::Host(host) => self.state.lock().host(host, &self.options),
            AgentOf::Router(router) => {
                Err(problem(AgentProblemCode::NotSupported, format!("router {router} is not a host")))
            }
        }
    }

    fn router(&self, agent: AgentAt) -> Result<Arc<RouterEngine>, AgentProblem> {
        let AgentOf::Router(router) = agent.of else {
            return Err(problem(AgentProblemCode::NotSupported, format!("{agent} is not a router")));
        };
        let state = self.state.lock();
        let found = state.routers.get(&router).filter(|held| address(&held.config) == agent.address);
        let detail = || format!("{agent}: cannot connect: connection refused");
        found.map(|held| held.engine.clone()).ok_or_else(|| problem(AgentProblemCode::Unreachable, detail()))
    }

    async fn put(&self, agent: AgentAt, push: Push, dry_run: bool) -> Result<ApplyReport, AgentProblem> {
        self.reach(agent).await?;
        match agent.of {
            AgentOf::Router(_) => {
                let engine = self.router(agent)?;
                blocking(move || engine.put(push, dry_run)).await
            }
            AgentOf::Host(_) => {
                let engine = self.host(agent)?;
                let report = blocking(move || engine.put(push, dry_run)).await;
                self.state.lock().settle(&self.options);
                report
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AgentProblem> + Send + 'static,
) -> Result<T, AgentProblem> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(problem(AgentProblemCode::Failed, error.to_string())))
}

fn set(ids: &mut BTreeSet<Id>, id: Id, on: bool) {
    if on {
        ids.insert(id);
    } else {
        ids.remove(&id);
    }
}

fn address(config: &ApplianceConfig) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(config.management.ip), config.management.agent_port)
}

/// The end of a plug that is inside.
fn inside(plug: &PlugConfig) -> Link {
    Link {
        name: plug.name.clone(),
        mac: Some(plug.mac),
        mtu: u32::from(plug.mtu),
        kind: Some("veth".to_string()),
        ..Link::default()
    }
}

/// Plugs what came into a router that runs, and pulls out what went.
fn replug(kernel: &SimulatedKernel, before: &[PlugConfig], after: &[PlugConfig]) {
    let other = |plugs: &[PlugConfig], plug: &PlugConfig| !plugs.iter().any(|known| known.mac == plug.mac);
    before.iter().filter(|plug| other(after, plug)).for_each(|plug| kernel.unplug(&plug.name));
    after.iter().filter(|plug| other(before, plug)).for_each(|plug| kernel.plug(inside(plug)));
}

impl State {
    fn kernel(&self, id: Id) -> Option<&SimulatedKernel> {
        let host = self.hosts.get(&HostId(id)).map(|host| host.kernel.as_ref());
        host.or_else(|| self.routers.get(&RouterId(id)).map(|router| router.kernel.as_ref()))
    }

    fn new_kernel(&mut self, id: Id, links: Vec<Link>, options: &FleetOptions) -> Arc<SimulatedKernel> {
        let kernel = SimulatedKernel::new(links);
        kernel.slow_down(options.latency);
        for kind in self.failures.remove(&id).unwrap_or_default() {
            kernel.fail_next(kind);
        }
        Arc::new(kernel)
    }

    /// The engine of a host, which appears when it is first asked for.
    fn host(&mut self, host: HostId, options: &FleetOptions) -> Result<Arc<HostEngine>, AgentProblem> {
        if let Some(held) = self.hosts.get(&host) {
            return Ok(held.engine.clone());
        }
        let link = |name: &String| Link { name: name.clone(), mtu: 1500, ..Link::default() };
        let kernel = self.new_kernel(host.into(), options.interfaces.iter().map(link).collect(), options);
        let settings = HostSettings {
            state_dir: PathBuf::from("/simulated"),
            prefix: "sim".to_string(),
            program: PathBuf::from("switchback"),
            arguments: Vec::new(),
            hypervisor: HypervisorType::Simulator,
        };
        let build = Arc::new(self.build(&options.agent_digest));
        let engine = HostEngine::open(kernel.clone(), settings, build)
            .map_err(|error| problem(AgentProblemCode::Unreachable, error.to_string()))?;
        let engine = Arc::new(engine);
        self.hosts.insert(host, SimulatedHost { kernel, engine: engine.clone() });
        Ok(engine)
    }

    fn build(&mut self, digest: &str) -> Build {
        self.starts += 1;
        Build::of(digest, &format!("{:032x}", self.starts))
    }

    /// Starts and ends routers as the hosts have them now: what a process starting in a namespace would do.
    fn settle(&mut self, options: &FleetOptions) {
        let mut wanted = BTreeMap::new();
        for (host, held) in &self.hosts {
            for (router, made) in held.engine.appliances() {
                wanted.insert(router, (*host, made));
            }
        }
        self.routers.retain(|router, _| wanted.contains_key(router));
        for (router, (host, made)) in wanted {
            let held = self.routers.get_mut(&router).filter(|held| held.process == made.process && held.host == host);
            if let Some(held) = held {
                replug(&held.kernel, &held.config.plugs, &made.config.plugs);
                held.config = made.config;
                continue;
            }
            let held = self.routers.get(&router);
            let same = held.filter(|held| held.host == host && held.config.generation == made.config.generation);
            let kernel = same.map(|held| held.kernel.clone());
            let kernel = kernel.unwrap_or_else(|| {
                self.new_kernel(router.into(), made.config.plugs.iter().map(inside).collect(), options)
            });
            kernel.kill("dnsmasq");
            let digest = made.binary.as_deref().unwrap_or(&options.agent_digest);
            let build = Arc::new(self.build(digest));
            let settings = RouterSettings {
                router,
                listen: Some(address(&made.config)),
                state_dir: PathBuf::from("/simulated"),
                restart_after: Duration::from_secs(10),
            };
            let Ok(engine) = RouterEngine::open(kernel.clone(), settings, build) else { continue };
            if let Err(error) = engine.restore() {
                tracing::warn!(%router, %error, "the simulated router does not come back as it was");
            }
            let (config, process, engine) = (made.config, made.process, Arc::new(engine));
            self.routers.insert(router, SimulatedRouter { host, config, process, kernel, engine });
        }
    }
}

#[async_trait]
impl Agents for SimulatedFleet {
    async fn put_config(&self, agent: AgentAt, push: Push) -> Result<ApplyReport, AgentProblem> {
        self.put(agent, push, false).await
    }

    async fn dry_run(&self, agent: AgentAt, push: Push) -> Result<ApplyReport, AgentProblem> {
        self.put(agent, push, true).await
    }

    async fn health(&self, agent: AgentAt) -> Result<Health, AgentProblem> {
        self.reach(agent).await?;
        match agent.of {
            AgentOf::Router(router) => {
                let mut health = self.router(agent)?.health();
                let state = self.state.lock();
                if let (Some(held), Some((process, other))) = (state.routers.get(&router), state.impostors.get(&router))
                    && held.process == *process
                {
                    health.id = *other;
                }
                Ok(health)
            }
            AgentOf::Host(_) => Ok(self.host(agent)?.health()),
        }
    }

    async fn held(&self, agent: AgentAt) -> Result<Held, AgentProblem> {
        self.reach(agent).await?;
        match agent.of {
            AgentOf::Router(_) => Ok(self.router(agent)?.held()),
            AgentOf::Host(_) => Ok(self.host(agent)?.held()),
        }
    }

    async fn observed(&self, router: AgentAt) -> Result<Observed, AgentProblem> {
        self.reach(router).await?;
        self.router(router)?.observed()
    }

    async fn drift(&self, agent: AgentAt) -> Result<Drift, AgentProblem> {
        self.reach(agent).await?;
        match agent.of {
            AgentOf::Router(_) => self.router(agent)?.drift(),
            AgentOf::Host(_) => self.host(agent)?.drift(),
        }
    }

    async fn counters(&self, router: AgentAt) -> Result<ServiceCounters, AgentProblem> {
        self.reach(router).await?;
        self.router(router)?.counters()
    }

    async fn check_interface(&self, host: AgentAt, check: InterfaceCheck) -> Result<(), AgentProblem> {
        self.reach(host).await?;
        self.host(host)?.check(&check)
    }

    async fn probe_arp(&self, host: AgentAt, probe: ArpProbe) -> Result<Option<Mac>, AgentProblem> {
        self.reach(host).await?;
        let engine = self.host(host)?;
        blocking(move || engine.probe(&probe)).await
    }

    async fn put_agent_binary(&self, host: AgentAt, digest: String, bytes: Arc<Vec<u8>>) -> Result<(), AgentProblem> {
        self.reach(host).await?;
        let engine = self.host(host)?;
        blocking(move || engine.put_binary(&digest, &bytes)).await
    }

    async fn set_identity(&self, host: AgentAt, router: RouterId, identity: Identity) -> Result<(), AgentProblem> {
        self.reach(host).await?;
        if self.state.lock().careless.contains(&host.id()) {
            return Err(problem(
                AgentProblemCode::Failed,
                format!("{host}: keep the identity: no space left on device"),
            ));
        }
        self.host(host)?.put_identity(router, &identity)
    }

    async fn succeed(
        &self,
        host: AgentAt,
        router: RouterId,
        order: Succession,
    ) -> Result<SuccessionReport, AgentProblem> {
        self.reach(host).await?;
        let engine = self.host(host)?;
        let report = blocking(move || engine.succeed(router, &order)).await;
        self.state.lock().settle(&self.options);
        report
    }

    async fn restart_router_agent(
        &self,
        host: AgentAt,
        router: RouterId,
        restart: AgentRestart,
    ) -> Result<(), AgentProblem> {
        self.reach(host).await?;
        let engine = self.host(host)?;
        let restarted = blocking(move || engine.restart_agent(router, &restart)).await;
        self.state.lock().settle(&self.options);
        restarted
    }
}
