//! Reconcilers: they compare what the log says should be with what agents report, and act. What changed only wakes
//! them; each step looks at the whole again. What they find comes back as commands, so that it is in the log too.
//!
//! ```text
//!  journal ──► follower ──► HostFold ──wake──► one worker for each host   ──► host agent
//!                                ├──────wake──► one worker for each router ──► router agent
//!                                └──────wake──► one worker for each network and provider outside ──► its driver
//!                                                   │
//!                     Report… commands ◄────────────┘
//! ```
//!
//! A worker has one push in flight, and the latest state wins. A hung agent holds up its own worker only.

mod applied;
mod arp;
mod findings;
mod host_worker;
mod plans;
mod replacement;
mod replay;
mod router_worker;
mod service_worker;
mod told;

pub use applied::Settled;
pub use replay::{RouterReplay, config_at, replay_router, routers_touched};

use crate::{
    agents::{Agents, HostTarget, RouterTarget},
    entity::{Decided, Execute},
    registry::Registry,
    state::Aggregate,
    *,
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use switchback_appliance::{HostFold, HostRecord, Realisation, RouterRecord};
use switchback_bus::{Command, Common, ExpungeVmInstance};
use switchback_events::*;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Everything that the workers share.
pub struct Reconcilers {
    registry: Registry,
    agents: Arc<dyn Agents>,
    epoch: u64,
    world: Mutex<World>,
    /// Moves whenever anything did that someone may wait for.
    moved: Notify,
    /// Bounded numbers of requests at a time, by what they are for.
    limits: Mutex<HashMap<Id, (usize, Arc<Semaphore>)>>,
    started: Micros,
    reports: AtomicU64,
    stopping: AtomicBool,
}

#[derive(Default)]
struct World {
    fold: HostFold,
    host_wakes: HashMap<HostId, Arc<Notify>>,
    router_wakes: HashMap<RouterId, Arc<Notify>>,
    post_wakes: HashMap<service_worker::Post, Arc<Notify>>,
    /// The position of the log that a host or router is known to be up to.
    converged: HashMap<Id, Position>,
    /// For what hosts are asked to realise: what each answered.
    realisations: BTreeMap<Realisation, BTreeMap<HostId, Result<(), String>>>,
    /// The last event of each resource that asked for something, or said that its agent is away: what a report of it
    /// follows from.
    requests: HashMap<Id, Position>,
    /// The generation of a router's appliance that its host carries.
    appliances: HashMap<RouterId, Position>,
    /// What a host said of an appliance that it could not carry.
    appliance_errors: HashMap<RouterId, String>,
    /// VMs that can be recovered, and when they were destroyed.
    destroyed: BTreeMap<VmInstanceId, Micros>,
}

impl World {
    fn remember(&mut self, event: &Recorded, at: Micros) {
        let vm = VmInstanceId(event.stream.id);
        match &event.event {
            Event::VmInstance(VmInstanceEvent::Destroyed { recoverable: true, .. }) => {
                self.destroyed.insert(vm, at);
            }
            Event::VmInstance(VmInstanceEvent::Recovered { .. } | VmInstanceEvent::Expunged {}) => {
                self.destroyed.remove(&vm);
            }
            _ => {}
        }
    }
}

impl Reconcilers {
    /// Starts the follower and the workers on the current tokio runtime. `epoch` is the number of this run of the
    /// server: agents refuse an earlier one.
    pub fn start(registry: Registry, agents: Arc<dyn Agents>, epoch: u64) -> Arc<Reconcilers> {
        let reconcilers = Arc::new(Reconcilers {
            started: registry.clock().now(),
            registry,
            agents,
            epoch,
            world: Mutex::default(),
            moved: Notify::new(),
            limits: Mutex::default(),
            reports: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        });
        tokio::spawn(reconcilers.clone().follow());
        tokio::spawn(reconcilers.clone().expunge());
        reconcilers
    }

    /// From now on nothing is reported.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The agents.
    pub fn agents(&self) -> &Arc<dyn Agents> {
        &self.agents
    }

    fn states(&self) -> &States {
        self.registry.states()
    }

    /// Follows the log: folds it, and wakes whom it concerns.
    async fn follow(self: Arc<Self>) {
        let mut subscription = self.states().journal().subscribe(0);
        let head = self.states().journal().durable();
        let mut begun = false;
        loop {
            let commits = match subscription.next(1024).await {
                Ok(commits) => commits,
                Err(error) => {
                    tracing::warn!(%error, "the reconcilers stop following the log");
                    return;
                }
            };
            let mut hosts = BTreeSet::new();
            let mut routers = BTreeSet::new();
            let mut posts = BTreeSet::new();
            {
                let mut world = self.world.lock();
                for commit in &commits {
                    for event in &commit.events {
                        world.fold.apply(commit.at, event);
                        world.remember(event, commit.at);
                        if asks(&event.event) {
                            world.requests.insert(event.stream.id, event.position);
                        } else if ends(&event.event) {
                            world.requests.remove(&event.stream.id);
                        }
                        hosts.extend(world.fold.touched(&event.event, event.stream));
                        routers.extend(self.routers_touched(event));
                        posts.extend(self.posts_touched(event));
                    }
                    hosts.extend(world.fold.settle());
                }
            }
            // A large state takes a while to be written, and nobody waits for that.
            for commit in &commits {
                self.states().snapshot_after(commit);
            }
            // Until the log of before the start is read, nobody acts on a part of it.
            if self.world.lock().fold.position() < head {
                continue;
            }
            if self.world.lock().host_wakes.is_empty() {
                let world = self.world.lock();
                hosts.extend(world.fold.hosts().keys());
                routers.extend(world.fold.routers().keys());
            }
            if !std::mem::replace(&mut begun, true) {
                // A driver that does not answer holds up nobody.
                let all = self.clone();
                tokio::spawn(async move {
                    for post in all.posts_at_start().await {
                        all.clone().wake_post(post);
                    }
                });
            }
            for post in posts {
                self.clone().wake_post(post);
            }
            for host in hosts {
                self.clone().wake_host(host);
            }
            for router in routers {
                self.clone().wake_router(router);
            }
            self.moved.notify_waiters();
        }
    }

    /// Expunges VMs that were destroyed long ago.
    async fn expunge(self: Arc<Self>) {
        let second = Duration::from_secs(1);
        let mut waited = Duration::ZERO;
        loop {
            // A second at a time: the interval may be changed meanwhile.
            tokio::time::sleep(second).await;
            waited += second;
            if waited < self.seconds("vm", "expungeInterval") {
                continue;
            }
            waited = Duration::ZERO;
            let before = now(&self) - self.seconds("vm", "expungePeriod").as_micros() as Micros;
            let late: Vec<VmInstanceId> = {
                let world = self.world.lock();
                world.destroyed.iter().filter(|(_, at)| **at <= before).map(|(vm, _)| *vm).collect()
            };
            for uuid in late {
                self.report("expunger", None, ExpungeVmInstance { uuid }).await;
            }
        }
    }

    fn routers_touched(&self, event: &Recorded) -> Vec<RouterId> {
        routers_touched(self.states(), event)
    }

    fn wake_host(self: Arc<Self>, host: HostId) {
        let wake = {
            let mut world = self.world.lock();
            if let Some(wake) = world.host_wakes.get(&host) {
                wake.notify_one();
                return;
            }
            if !world.fold.hosts().contains_key(&host) {
                return;
            }
            let wake = Arc::new(Notify::new());
            world.host_wakes.insert(host, wake.clone());
            wake
        };
        tokio::spawn(host_worker::work(self, host, wake));
    }

    fn wake_router(self: Arc<Self>, router: RouterId) {
        let wake = {
            let mut world = self.world.lock();
            if let Some(wake) = world.router_wakes.get(&router) {
                wake.notify_one();
                return;
            }
            if !world.fold.routers().contains_key(&router) {
                return;
            }
            let wake = Arc::new(Notify::new());
            world.router_wakes.insert(router, wake.clone());
            wake
        };
        tokio::spawn(router_worker::work(self, router, wake));
    }

    /// What was found, as a command of the system. Answers the position of what came of it, 0 for nothing new; `None`
    /// where it was refused, and when the server stops: what is cut off by its end is no failure of an agent.
    ///
    /// `cause` is the position of the last event that the finding follows from: of several requests that one push
    /// carried out, the latest. The report names the command that made it as its cause, and belongs to the same
    /// piece of work. `None` for what came by itself.
    async fn report(&self, component: &str, cause: Option<Position>, command: impl Into<Command>) -> Option<Position> {
        if self.stopping.load(Ordering::Acquire) {
            return None;
        }
        let command = command.into();
        let number = self.reports.fetch_add(1, Ordering::Relaxed);
        let command_id = CommandId(Id::of_name(&format!("report:{}:{}:{number}", self.epoch, self.started)));
        let cause = cause.and_then(|cause| self.states().journal().commit_at(cause).ok()?);
        let cause = cause.map(|commit| (commit.provenance.command_id.0, commit.provenance.correlation));
        let execute = Execute {
            provenance: Provenance {
                command_id,
                command: command.message().name.to_string(),
                body: Id::of_name(&format!("{command:?}")),
                principal: format!("system:{component}"),
                credential: None,
                origin: Origin::System,
                causation: cause.map(|(command, _)| command),
                correlation: cause.map_or(command_id.0, |(_, correlation)| correlation),
                reason: None,
            },
            command: Arc::new(command),
            common: Common::default(),
            if_match: None,
            dry_run: false,
        };
        let name = execute.provenance.command.clone();
        match self.registry.execute(execute).await {
            Ok(Decided::Appended(appended)) => Some(appended.commit.last_position()),
            Ok(_) => Some(0),
            Err(refusal) => {
                tracing::warn!(command = name, %refusal, "a report was refused");
                None
            }
        }
    }

    /// The last event of a resource that asked for something.
    fn request(&self, id: impl Into<Id>) -> Option<Position> {
        self.world.lock().requests.get(&id.into()).copied()
    }

    fn converge(&self, id: Id, position: Position) {
        self.world.lock().converged.insert(id, position);
        self.moved.notify_waiters();
    }

    fn host_target(&self, id: HostId, record: &HostRecord) -> HostTarget {
        HostTarget {
            id,
            address: SocketAddr::from((record.management_ip, record.agent_port)),
            hypervisor_type: record.hypervisor_type,
        }
    }

    /// Where the agent of a router is.
    pub fn router_target(&self, id: RouterId) -> Option<RouterTarget> {
        let world = self.world.lock();
        let router = world.fold.routers().get(&id)?;
        let host = world.fold.hosts().get(&router.host)?;
        Some(RouterTarget { id, address: SocketAddr::from(router.agent()?), host: self.host_target(router.host, host) })
    }

    fn router_record(&self, id: RouterId) -> Option<RouterRecord> {
        self.world.lock().fold.routers().get(&id).cloned()
    }

    /// Waits for a place among `degree` requests at a time for `id`.
    async fn permit(&self, id: Id, degree: usize) -> Option<OwnedSemaphorePermit> {
        let semaphore = {
            let mut limits = self.limits.lock();
            let entry = limits.entry(id).or_insert_with(|| (degree, Arc::new(Semaphore::new(degree))));
            if entry.0 != degree {
                *entry = (degree, Arc::new(Semaphore::new(degree)));
            }
            entry.1.clone()
        };
        semaphore.acquire_owned().await.ok()
    }

    /// Waits for a place among the requests to a router's agent: its tag `commandsParallelismDegree`, else the
    /// global configuration, says how many there may be at a time.
    pub async fn router_permit(&self, router: RouterId) -> Option<OwnedSemaphorePermit> {
        let tags = self.state::<TagSet>(router);
        let tagged = tags.and_then(|tags| tags.values("commandsParallelismDegree").find_map(|n| n.parse().ok()));
        let configured = || self.config_of(router, ("virtualRouter", "command.parallelismDegree")).parse();
        let degree = tagged.unwrap_or_else(|| configured().unwrap_or(100));
        self.permit(router.0, degree).await
    }

    async fn ping_permit(&self) -> Option<OwnedSemaphorePermit> {
        let degree = self.config("virtualRouter", "ping.parallelismDegree").parse().unwrap_or(60);
        self.permit(Id::NIL, degree).await
    }

    async fn host_ping_permit(&self) -> Option<OwnedSemaphorePermit> {
        let degree = self.config("host", "ping.parallelismDegree").parse().unwrap_or(100);
        self.permit(Id::of_name("host-pings"), degree).await
    }

    /// A global configuration value that is a number of seconds.
    fn seconds(&self, category: &str, name: &str) -> Duration {
        let text = self.config(category, name);
        Duration::from_secs(text.parse().unwrap_or(60))
    }

    /// The same as it holds for a router or host.
    fn seconds_of(&self, id: impl Into<Configured>, entry: (&str, &str)) -> Duration {
        Duration::from_secs(self.config_of(id, entry).parse().unwrap_or(60))
    }

    fn config_of(&self, id: impl Into<Configured>, entry: (&str, &str)) -> String {
        let Configured(resource_type, id) = id.into();
        let value = resource_config::in_force(&self.states().facts(), entry, resource_type, id);
        value.unwrap_or_else(|_| self.config(entry.0, entry.1))
    }

    fn config(&self, category: &str, name: &str) -> String {
        match self.states().get::<GlobalConfig>(global_config_id()) {
            Ok((_, config)) => config.value(category, name),
            Err(_) => GlobalConfig::default().value(category, name),
        }
    }

    fn state<A: Aggregate>(&self, id: impl Into<Id>) -> Option<Arc<A>> {
        self.states().get::<A>(id).ok().map(|(_, state)| state)
    }
}

/// A resource that may have configuration of its own: its type and id.
struct Configured(&'static str, Id);

impl From<RouterId> for Configured {
    fn from(id: RouterId) -> Configured {
        Configured("VirtualRouterVmVO", id.0)
    }
}

impl From<HostId> for Configured {
    fn from(id: HostId) -> Configured {
        Configured("HostVO", id.0)
    }
}

/// Whether an event asks for something to be done outside, or says that an agent is to be found again.
fn asks(event: &Event) -> bool {
    match event {
        Event::Host(event) => {
            let lost = matches!(event, HostEvent::StatusChanged { status: HostStatus::Disconnected, .. });
            let emptied = HostEvent::StateChanged { state: HostState::PreMaintenance };
            lost || *event == emptied || matches!(event, HostEvent::Added { .. } | HostEvent::ReconnectRequested {})
        }
        Event::L2Network(event) => {
            matches!(event, L2NetworkEvent::AttachRequested { .. } | L2NetworkEvent::VlanChangeRequested { .. })
        }
        Event::Router(event) => matches!(
            event,
            RouterEvent::Created { .. }
                | RouterEvent::StartRequested { .. }
                | RouterEvent::StopRequested {}
                | RouterEvent::RebootRequested {}
                | RouterEvent::ReconnectRequested {}
                | RouterEvent::ProvisionRequested {}
                | RouterEvent::ReplaceRequested {}
                | RouterEvent::MoveRequested { .. }
                | RouterEvent::DestroyRequested { .. }
                | RouterEvent::Disconnected { .. }
        ),
        Event::VmInstance(event) => matches!(
            event,
            VmInstanceEvent::Created { .. }
                | VmInstanceEvent::StartRequested { .. }
                | VmInstanceEvent::StopRequested { .. }
                | VmInstanceEvent::RebootRequested { .. }
                | VmInstanceEvent::DestroyRequested { .. }
        ),
        _ => false,
    }
}

/// Whether nothing more is reported of a resource.
fn ends(event: &Event) -> bool {
    matches!(
        event,
        Event::Host(HostEvent::Deleted {})
            | Event::L2Network(L2NetworkEvent::Deleted {})
            | Event::Router(RouterEvent::Destroyed { .. })
            | Event::VmInstance(VmInstanceEvent::Destroyed { .. })
    )
}

/// The time, for deadlines that the log has begun.
fn now(reconcilers: &Reconcilers) -> Micros {
    reconcilers.registry.clock().now()
}
