//! The agents of the hosts and routers. A router's is the real engine over a kernel in memory; a host's keeps the rules
//! of the protocol and carries whatever it is told. Each may be slow, dead, or a liar.

use crate::invariants::{Checked, Violation, revisions_go_up};
use fastrand::Rng;
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use switchback_agent::{
    document::{admit, host_sections, problem},
    kernel::{FailKind, Link, SimulatedKernel},
    router::{RouterEngine, RouterSettings},
    version::Build,
};
use switchback_appliance::{
    AgentProblem, AgentProblemCode, ApplianceConfig, ApplyReport, Held, HostSections, ItemReport, Push,
};
use switchback_events::{HostId, Id, Position, RouterId};

/// Whose agent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AgentOf {
    Host(HostId),
    Router(RouterId),
}

impl AgentOf {
    pub fn id(self) -> Id {
        match self {
            AgentOf::Host(host) => host.0,
            AgentOf::Router(router) => router.0,
        }
    }
}

/// How an agent behaves.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Mood {
    #[default]
    Well,
    Slow,
    /// It hears nothing and says nothing.
    Dead,
    /// It says that it did what it did not, and the other way round.
    Lying,
}

#[derive(Default)]
struct HostAgent {
    revision: Position,
    epoch: u64,
    sections: HostSections,
}

struct RouterAgent {
    host: HostId,
    generation: Position,
    settings: RouterSettings,
    kernel: Arc<SimulatedKernel>,
    engine: RouterEngine,
}

/// What an agent answers; nothing when it is dead.
pub type Answer = Result<ApplyReport, AgentProblem>;

/// All agents.
pub struct Agents {
    hosts: BTreeMap<HostId, HostAgent>,
    routers: BTreeMap<RouterId, RouterAgent>,
    moods: BTreeMap<Id, Mood>,
    build: Arc<Build>,
}

impl Agents {
    pub fn new() -> Agents {
        let build = Arc::new(Build::of("simulated", "boot"));
        Agents { hosts: BTreeMap::new(), routers: BTreeMap::new(), moods: BTreeMap::new(), build }
    }

    pub fn mood(&self, id: Id) -> Mood {
        self.moods.get(&id).copied().unwrap_or_default()
    }

    pub fn set_mood(&mut self, id: Id, mood: Mood) {
        self.moods.insert(id, mood);
    }

    /// Everybody is well, but for `dead`.
    pub fn heal(&mut self, dead: Option<Id>) {
        self.moods = dead.into_iter().map(|id| (id, Mood::Dead)).collect();
    }

    /// All who could be asked.
    pub fn ids(&self) -> Vec<Id> {
        self.hosts.keys().map(|host| host.0).chain(self.routers.keys().map(|router| router.0)).collect()
    }

    /// What each router's agent has in force.
    pub fn held(&self) -> impl Iterator<Item = (RouterId, HostId, Held)> + '_ {
        self.routers.iter().map(|(router, agent)| (*router, agent.host, agent.engine.held()))
    }

    /// Breaks something in a router, or starts its agent again.
    pub fn disturb(&mut self, rng: &mut Rng) -> Checked {
        let Some(router) = rng.choice(self.routers.keys().copied().collect::<Vec<_>>()) else { return Ok(()) };
        let build = self.build.clone();
        let Some(agent) = self.routers.get_mut(&router) else { return Ok(()) };
        match rng.u8(0..4) {
            0 => agent.kernel.fail_next(FailKind::Table),
            1 => agent.kernel.fail_next(FailKind::Spawn),
            2 => agent.kernel.wipe(),
            _ => {
                let before = agent.engine.held();
                if let Some(engine) = open(&agent.kernel, &agent.settings, &build) {
                    agent.engine = engine;
                }
                revisions_go_up(router, &before, &agent.engine.held())?;
            }
        }
        Ok(())
    }

    /// A document arrives. `None`: there is nobody to answer.
    pub fn put(&mut self, of: AgentOf, push: Push, rng: &mut Rng) -> Result<Option<Answer>, Violation> {
        let mood = self.mood(of.id());
        if mood == Mood::Dead {
            return Ok(None);
        }
        let lies = mood == Mood::Lying && rng.bool();
        match of {
            AgentOf::Host(host) => {
                let answer = self.put_host(host, push);
                Ok(Some(if lies { answer.map(|report| lie(report, rng)) } else { answer }))
            }
            AgentOf::Router(router) => {
                let Some(agent) = self.routers.get(&router) else { return Ok(None) };
                if lies && rng.bool() {
                    let revision = rng.u64(0..1_000_000);
                    return Ok(Some(Ok(ApplyReport { revision, ..ApplyReport::default() })));
                }
                let before = agent.engine.held();
                let answer = agent.engine.put(push, false);
                revisions_go_up(router, &before, &agent.engine.held())?;
                let denied = || Err(problem(AgentProblemCode::Failed, "it says that it could not"));
                Ok(Some(if lies { denied() } else { answer }))
            }
        }
    }

    fn put_host(&mut self, id: HostId, push: Push) -> Answer {
        let host = self.hosts.entry(id).or_default();
        admit(&push, id.0, host.revision, host.epoch)?;
        let (revision, epoch) = (push.revision, push.epoch);
        let sections = host_sections(push, &host.sections)?;
        *host = HostAgent { revision, epoch, sections: sections.clone() };
        self.settle(id, &sections);
        let done = |generation| ItemReport { ok: true, generation, ..ItemReport::default() };
        let bridges = sections.bridges.keys().map(|l2| (l2.0, done(0)));
        let appliances = sections.appliances.iter().map(|(router, config)| (router.0, done(config.generation)));
        let vms = sections.vms.iter().map(|(vm, config)| (vm.0, done(config.generation)));
        let services = sections.services.keys().map(|id| (*id, done(0)));
        let items = bridges.chain(appliances).chain(vms).chain(services).collect();
        Ok(ApplyReport { revision, items, ..ApplyReport::default() })
    }

    /// Starts and ends the routers of a host as its document says.
    fn settle(&mut self, host: HostId, sections: &HostSections) {
        self.routers.retain(|router, agent| agent.host != host || sections.appliances.contains_key(router));
        for (router, config) in &sections.appliances {
            let held = self.routers.get(router);
            if held.is_some_and(|held| held.host == host && held.generation == config.generation) {
                continue;
            }
            let kernel = Arc::new(SimulatedKernel::new(links(config)));
            let settings = RouterSettings {
                router: *router,
                listen: Some(SocketAddr::from((config.management.ip, config.management.agent_port))),
                state_dir: PathBuf::from("/simulated"),
                restart_after: Duration::MAX,
            };
            let Some(engine) = open(&kernel, &settings, &self.build) else { continue };
            let agent = RouterAgent { host, generation: config.generation, settings, kernel, engine };
            self.routers.insert(*router, agent);
        }
    }
}

fn links(config: &ApplianceConfig) -> impl Iterator<Item = Link> {
    config.plugs.iter().map(|plug| Link {
        name: plug.name.clone(),
        mac: Some(plug.mac),
        mtu: u32::from(plug.mtu),
        kind: Some("veth".to_string()),
        ..Link::default()
    })
}

fn open(kernel: &Arc<SimulatedKernel>, settings: &RouterSettings, build: &Arc<Build>) -> Option<RouterEngine> {
    let engine = RouterEngine::open(kernel.clone(), settings.clone(), build.clone()).ok()?;
    // One that does not come back as it was is told again.
    let _ = engine.restore();
    Some(engine)
}

/// Some of what was done was not, and of some the host says another thing.
fn lie(mut report: ApplyReport, rng: &mut Rng) -> ApplyReport {
    report.revision = rng.u64(0..1_000_000);
    for item in report.items.values_mut() {
        match rng.u8(0..4) {
            0 => item.generation = rng.u64(0..1_000_000),
            1 => (item.ok, item.error) = (false, Some("it says that it cannot".to_string())),
            _ => {}
        }
    }
    if rng.bool() {
        report.items.pop_first();
    }
    report
}
