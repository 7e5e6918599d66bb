//! The host role: bridges, appliances and VMs of the lab, item by item.
//!
//! Routers and VMs live in sessions of their own: they survive the host's agent, which finds them again by the
//! record that it keeps. What dies is started again; what the document no longer names is removed, but only
//! if this agent made it.
//!
//! **Invariant:** everything made here carries the prefix in its name or is in the record before it is made.

mod appliances;
mod binaries;
mod bridges;
mod plugs;
mod realisation;
mod record;
mod rooms;
mod security_group;
mod succession;
mod travel;
mod vms;

pub use record::Made;

use crate::{
    document::{self, problem},
    kernel::{Kernel, KernelError, Known, Link, Tell},
    version::Build,
};
use parking_lot::Mutex;
use realisation::Ground;
use record::Record;
use rooms::{Rooms, Version};
use security_group::{Applied, Tracking};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use switchback_appliance::{
    AgentProblem, AgentProblemCode, ApplyReport, ArpProbe, Drift, Health, Held, HostSections, Identity, InterfaceCheck,
    ItemReport, Push, SectionReport, ServiceHealth, digest,
};
use switchback_events::{HypervisorType, Id, Mac, Position, RouterId};

/// How many appliances and VMs are worked on at a time: most of it is waiting.
const WORKERS: usize = 8;
/// So long an apply works alone before it begins threads.
const ALONE: Duration = Duration::from_millis(2);

/// How long a question for the health waits for a document that is being applied.
const HEALTH_PATIENCE: Duration = Duration::from_secs(2);

/// How long an answer to an ARP probe is waited for.
const ARP_PATIENCE: Duration = Duration::from_millis(900);

/// What a host's agent is told once.
#[derive(Clone, Debug)]
pub struct HostSettings {
    /// Where its files are.
    pub state_dir: PathBuf,
    /// The prefix of the names of namespaces.
    pub prefix: String,
    /// The binary of a router's agent.
    pub program: PathBuf,
    /// Its first arguments; `--state-dir DIR` follows.
    pub arguments: Vec<String>,
    /// What kind of host it is.
    pub hypervisor: HypervisorType,
}

/// The engine behind a host's agent.
pub struct HostEngine {
    kernel: Arc<dyn Kernel>,
    settings: HostSettings,
    build: Arc<Build>,
    vlan: bool,
    tracking: Tracking,
    state: Mutex<State>,
    /// The last answer to [`HostEngine::health`], for those who ask while a long document is applied.
    health: Mutex<Health>,
}

struct State {
    record: Record,
    items: BTreeMap<Id, ItemReport>,
    security: Applied,
    rooms: Rooms,
    /// The connections that routers on their way to another host were packed with.
    packed: BTreeMap<RouterId, Known>,
}

/// What the workers share.
pub(crate) struct Site<'a> {
    kernel: &'a dyn Kernel,
    settings: &'a HostSettings,
    links: BTreeMap<String, Link>,
    namespaces: BTreeSet<String>,
}

/// The outcome of an item: what is there now, and a note or an error.
pub(crate) struct Outcome<M> {
    made: Option<M>,
    result: Result<Option<String>, String>,
    actions: Vec<String>,
}

impl HostEngine {
    /// An engine that knows what the agent before it has made.
    pub fn open(kernel: Arc<dyn Kernel>, settings: HostSettings, build: Arc<Build>) -> Result<Self, KernelError> {
        let record = Record::read(kernel.as_ref(), &settings.state_dir)?;
        let vlan = bridges::kernel_has_vlan(kernel.as_ref());
        if !vlan {
            tracing::warn!("the kernel has no 802.1Q: an interface <interface>.<vlan> stands in for each VLAN");
        }
        let tracking = security_group::tracking(kernel.as_ref());
        let key = "net/bridge/bridge-nf-call-iptables";
        // Bridged packets are none of the host's packet filter's business, but where nics are in security groups.
        if kernel.sysctl(key)?.is_some_and(|value| value != "0")
            && let Err(error) = kernel.set_sysctl(key, "0")
        {
            tracing::warn!(%error, "bridged packets pass the host's packet filter");
        }
        vms::write_scripts(kernel.as_ref(), &settings)?;
        let rooms = Rooms::new(kernel.clone(), build.clone());
        let state = Mutex::new(State {
            record,
            items: BTreeMap::new(),
            security: Applied::default(),
            rooms,
            packed: BTreeMap::new(),
        });
        let engine = Self { kernel, settings, build, vlan, tracking, state, health: Mutex::default() };
        // So that there is an answer from the start.
        let health = engine.health_of(&engine.state.lock());
        *engine.health.lock() = Health { healthy: false, ..health };
        Ok(engine)
    }

    /// Brings back what the last document asks for, as after a restart of the agent or of the machine.
    pub fn restore(&self) {
        self.resume_successions();
        let mut state = self.state.lock();
        if state.record.host.is_some() {
            let sections = state.record.sections.clone();
            if let Err(error) = self.apply(&mut state, &sections) {
                tracing::error!(%error, "cannot bring back what the last document asks for");
            }
        }
    }

    /// Applies a document, or says what applying it would do.
    pub fn put(&self, push: Push, dry_run: bool) -> Result<ApplyReport, AgentProblem> {
        let started = Instant::now();
        let mut state = self.state.lock();
        let record = &state.record;
        // A host without anything on it may be given to another server, or be added again.
        let bound = record
            .host
            .filter(|_| {
                !record.sections.bridges.is_empty()
                    || !record.sections.appliances.is_empty()
                    || !record.sections.vms.is_empty()
            })
            .unwrap_or(push.id);
        let (revision, epoch) =
            if bound == push.id && record.host == Some(push.id) { (record.revision, record.epoch) } else { (0, 0) };
        document::admit(&push, bound, revision, epoch)?;
        let (id, revision, epoch) = (push.id, push.revision, push.epoch);
        let sections = document::host_sections(push, &record.sections)?;
        if dry_run {
            return Ok(self.dry_run(&state, &sections, started));
        }
        state.record.host = Some(id);
        state.record.revision = revision;
        state.record.epoch = epoch;
        state.record.sections = sections.clone();
        let actions =
            self.apply(&mut state, &sections).map_err(|error| problem(AgentProblemCode::Failed, error.to_string()))?;
        Ok(ApplyReport {
            revision,
            config_digest: digest(&sections.digests()),
            sections: actions,
            items: state.items.clone(),
            millis: millis(started),
        })
    }

    fn dry_run(&self, state: &State, sections: &HostSections, started: Instant) -> ApplyReport {
        let held = &state.record.sections;
        let section = |changed: bool| SectionReport { changed, actions: Vec::new() };
        let none = held.services.is_empty() && sections.services.is_empty();
        let services = Some(held.services != sections.services).filter(|_| !none);
        ApplyReport {
            revision: state.record.revision,
            config_digest: digest(&held.digests()),
            sections: BTreeMap::from([
                ("bridges".to_string(), section(held.bridges != sections.bridges)),
                ("appliances".to_string(), section(held.appliances != sections.appliances)),
                ("vms".to_string(), section(held.vms != sections.vms)),
                ("security".to_string(), section(held.security != sections.security)),
            ])
            .into_iter()
            .chain(services.map(|changed| (HostSections::SERVICES.to_string(), section(changed))))
            .collect(),
            items: BTreeMap::new(),
            millis: millis(started),
        }
    }

    /// Carries a document out. Items fail alone; an error here is one of the agent itself.
    fn apply(
        &self,
        state: &mut State,
        sections: &HostSections,
    ) -> Result<BTreeMap<String, SectionReport>, KernelError> {
        let kernel = self.kernel.as_ref();
        let mut actions: BTreeMap<&str, Vec<String>> =
            ["bridges", "appliances", "vms", "security", HostSections::SERVICES].map(|name| (name, Vec::new())).into();
        let mut items = BTreeMap::new();

        let links = self.links()?;
        let hypervisor = self.settings.hypervisor;
        bridges::plan_record(&mut state.record.made, hypervisor, sections, &links);
        state.record.write(kernel, &self.settings.state_dir)?;
        let ground = Ground { links: &links, has_vlan: self.vlan };
        for (network, outcome) in bridges::ensure_all(kernel, &ground, hypervisor, sections) {
            actions.entry("bridges").or_default().extend(outcome.actions);
            items.insert(network.0, item(0, outcome.result));
        }

        let mut site = self.site()?;
        let made = &mut state.record.made;
        made.appliances.retain(|router, held| {
            sections.appliances.contains_key(router)
                || !gone("appliances", &mut actions, appliances::remove(&site, *router, held))
        });
        made.vms.retain(|vm, held| {
            sections.vms.contains_key(vm) || !gone("vms", &mut actions, vms::remove(&site, *vm, held))
        });
        let rooms = &mut state.rooms;
        made.rooms.retain(|id, held| {
            sections.services.contains_key(id)
                || !gone(HostSections::SERVICES, &mut actions, rooms.remove(&site, *id, held))
        });
        site.links = self.links()?;
        // What filters a nic is there before it carries anything.
        let filtered = state.security.apply(kernel, self.tracking, &sections.security, Some(&site.links));
        let unfiltered = filtered.as_ref().err().cloned();
        actions
            .entry("security")
            .or_default()
            .extend(filtered.unwrap_or_else(|error| vec![format!("failed: {error}")]));

        let outcomes = in_parallel(&sections.appliances, |router, config| {
            appliances::ensure(&site, *router, config, made.appliances.get(router).cloned())
        });
        for (router, outcome) in outcomes {
            let generation = outcome.made.as_ref().map_or(0, |made| made.config.generation);
            actions.entry("appliances").or_default().extend(outcome.actions);
            items.insert(router.0, item(generation, outcome.result));
            set(&mut made.appliances, router, outcome.made);
        }
        let Record { revision, epoch, .. } = state.record;
        let version = Version { host: state.record.host.unwrap_or_default(), revision, epoch };
        let guarded = state.rooms.guard(sections, hypervisor);
        let served = in_parallel(&sections.services, |id, config| {
            let held = made.rooms.get(id).cloned();
            match &guarded {
                Ok(_) => state.rooms.ensure(&site, *id, config, held, version),
                Err(error) => Outcome { made: held, result: Err(error.clone()), actions: vec![] },
            }
        });
        actions.entry(HostSections::SERVICES).or_default().extend(guarded.unwrap_or_default());
        // What is not served does not start, and goes on as it is where it runs.
        let mut unserved: BTreeMap<Mac, String> = BTreeMap::new();
        for (id, outcome) in served {
            actions.entry(HostSections::SERVICES).or_default().extend(outcome.actions);
            if let (Err(error), Some(service)) = (&outcome.result, sections.services.get(&id)) {
                unserved.extend(service.sections.dhcp.hosts.iter().map(|host| (host.mac, error.clone())));
            }
            items.insert(id, item(0, outcome.result));
            set(&mut made.rooms, id, outcome.made);
        }
        let outcomes = in_parallel(&sections.vms, |vm, config| {
            let held = made.vms.get(vm).cloned();
            let secured = config.plugs.iter().any(|plug| sections.security.nics.contains_key(&plug.internal_name));
            let unserved = config.plugs.iter().find_map(|plug| unserved.get(&plug.mac));
            match unfiltered.as_ref().filter(|_| secured).or(unserved) {
                // What cannot be filtered goes on as it is, or does not start.
                Some(error) => Outcome { made: held, result: Err(error.clone()), actions: vec![] },
                _ => vms::ensure(&site, *vm, config, held),
            }
        });
        for (vm, outcome) in outcomes {
            let generation = outcome.made.as_ref().map_or(0, |made| made.config.generation);
            actions.entry("vms").or_default().extend(outcome.actions);
            items.insert(vm.0, item(generation, outcome.result));
            set(&mut made.vms, vm, outcome.made);
        }

        if unfiltered.is_none() {
            let left = state.security.apply(kernel, self.tracking, &sections.security, None);
            actions
                .entry("security")
                .or_default()
                .extend(left.unwrap_or_else(|error| vec![format!("failed: {error}")]));
        }
        let removed = bridges::remove_others(kernel, made, sections, &self.links()?);
        actions.entry("bridges").or_default().extend(removed);
        state.record.write(kernel, &self.settings.state_dir)?;
        state.items = items;
        actions.retain(|name, lines| {
            *name != HostSections::SERVICES || !lines.is_empty() || !sections.services.is_empty()
        });
        let report = |(name, actions): (&str, Vec<String>)| {
            (name.to_string(), SectionReport { changed: !actions.is_empty(), actions })
        };
        Ok(actions.into_iter().map(report).collect())
    }

    fn links(&self) -> Result<BTreeMap<String, Link>, KernelError> {
        Ok(self.kernel.links()?.into_iter().map(|link| (link.name.clone(), link)).collect())
    }

    fn site(&self) -> Result<Site<'_>, KernelError> {
        Ok(Site {
            kernel: self.kernel.as_ref(),
            settings: &self.settings,
            links: self.links()?,
            namespaces: self.kernel.namespaces()?.into_iter().collect(),
        })
    }

    /// What is held.
    pub fn held(&self) -> Held {
        let state = self.state.lock();
        let record = &state.record;
        let digests = if record.host.is_some() { record.sections.digests() } else { BTreeMap::new() };
        let sections = serde_json::to_value(&record.sections).unwrap_or_default();
        Held { revision: record.revision, epoch: record.epoch, digests, sections }
    }

    /// Whether what should run runs. While a document is applied for longer, what was so before it.
    pub fn health(&self) -> Health {
        let health = match self.state.try_lock_for(HEALTH_PATIENCE) {
            Some(state) => self.health_of(&state),
            None => self.health.lock().clone(),
        };
        *self.health.lock() = health.clone();
        // The digest is read from the binary when it is first asked for: not before the agent serves.
        Health { agent_digest: self.build.digest().to_string(), ..health }
    }

    fn health_of(&self, state: &State) -> Health {
        let made = &state.record.made;
        let sections = &state.record.sections;
        let ok = |id: &Id| state.items.get(id).is_some_and(|item| item.ok);
        let lives = |process| self.kernel.alive(process);
        let asked: Vec<_> = sections.bridges.iter().filter(|(_, bridge)| !bridge.kept).collect();
        let bridges = asked.iter().filter(|(network, _)| ok(&network.0)).count();
        let appliances = made.appliances.values().filter(|held| lives(&held.process)).count();
        let vms = made.vms.values().filter(|held| lives(&held.process)).count();
        let counted = |running: usize, wanted: usize| ServiceHealth {
            healthy: running == wanted,
            detail: format!("{running} of {wanted}"),
        };
        let services = BTreeMap::from([
            ("bridges".to_string(), counted(bridges, asked.len())),
            ("appliances".to_string(), counted(appliances, sections.appliances.len())),
            ("vms".to_string(), counted(vms, sections.vms.len())),
            ("security".to_string(), self.security_health(state)),
        ]);
        let mut services: BTreeMap<String, ServiceHealth> = services;
        if !sections.services.is_empty() {
            services.insert(HostSections::SERVICES.to_string(), state.rooms.health(&sections.services));
        }
        Health {
            saved_passwords: BTreeMap::new(),
            id: state.record.host.unwrap_or_default(),
            role: "host".to_string(),
            agent_digest: String::new(),
            agent_version: self.build.version.clone(),
            boot_id: self.build.boot_id.clone(),
            revision: state.record.revision,
            epoch: state.record.epoch,
            healthy: services.values().all(|service| service.healthy),
            services,
            capabilities: BTreeMap::from([
                ("vlan".to_string(), self.vlan),
                ("bridgeConntrack".to_string(), self.tracking == Tracking::Bridge),
                ("securityGroups".to_string(), self.tracking != Tracking::None),
            ]),
        }
    }

    fn security_health(&self, state: &State) -> ServiceHealth {
        let (held, wanted) = (state.security.nics(), state.record.sections.security.nics.len());
        let intact = wanted == 0 || state.security.intact(self.kernel.as_ref(), self.tracking);
        let detail = match &state.security.error {
            Some(error) => error.clone(),
            None if !intact => "the tables are not those that were put in place".to_string(),
            None => format!("{held} of {wanted}"),
        };
        ServiceHealth { healthy: intact && held == wanted && state.security.error.is_none(), detail }
    }

    /// What filters at the nics of VMs otherwise than it was put in place.
    pub fn drift(&self) -> Result<Drift, AgentProblem> {
        let state = self.state.lock();
        let mut items = match state.record.sections.security.nics.is_empty() {
            true => Vec::new(),
            false => state
                .security
                .drift(self.kernel.as_ref(), self.tracking)
                .map_err(|error| problem(AgentProblemCode::Failed, error.to_string()))?,
        };
        items.extend(state.rooms.drift());
        Ok(Drift { revision: state.record.revision, items })
    }

    /// Whether the host can carry an L2 network on an interface.
    pub fn check(&self, check: &InterfaceCheck) -> Result<(), AgentProblem> {
        let links = self.links().map_err(|error| problem(AgentProblemCode::Failed, error.to_string()))?;
        let ground = Ground { links: &links, has_vlan: self.vlan };
        bridges::check(&ground, self.settings.hypervisor, &check.physical_interface, check.vlan)
            .map(|_| ())
            .map_err(|detail| problem(AgentProblemCode::Invalid, detail))
    }

    /// Who answers for an address on an L2 network, asked by ARP.
    pub fn probe(&self, probe: &ArpProbe) -> Result<Option<Mac>, AgentProblem> {
        let bridge = {
            let state = self.state.lock();
            let held = state.record.sections.bridges.get(&probe.l2_network).filter(|bridge| !bridge.kept);
            let missing = || format!("the host does not carry L2 network {}", probe.l2_network);
            held.ok_or_else(|| problem(AgentProblemCode::Invalid, missing()))?.name.clone()
        };
        let asked = self.kernel.ask_arp(&bridge, probe.ip, ARP_PATIENCE);
        asked.map_err(|error| problem(AgentProblemCode::Failed, error.to_string()))
    }

    /// Keeps the certificate of a router's agent.
    pub fn put_identity(&self, router: RouterId, identity: &Identity) -> Result<(), AgentProblem> {
        appliances::put_identity(self.kernel.as_ref(), &self.settings.state_dir, router, identity)
            .map_err(|error| problem(AgentProblemCode::Failed, error.to_string()))
    }

    /// Starts routers' agents again that ended by themselves, and notes the addresses that VMs were given.
    pub fn supervise(&self) {
        let Some(mut state) = self.state.try_lock() else { return };
        let dead: Vec<RouterId> = state
            .record
            .made
            .appliances
            .iter()
            .filter(|(_, held)| !self.kernel.alive(&held.process) && !succession::has_changed_places(held))
            .map(|(router, _)| *router)
            .collect();
        for router in dead {
            self.revive(&mut state, router);
        }
        state.rooms.supervise();
        for (vm, held) in &mut state.record.made.vms {
            vms::note_addresses(self.kernel.as_ref(), &self.settings, *vm, held);
        }
    }

    fn revive(&self, state: &mut State, router: RouterId) {
        let Some(config) = state.record.sections.appliances.get(&router).cloned() else { return };
        let held = state.record.made.appliances.get(&router).cloned();
        let done = self.site().and_then(|site| {
            let outcome = appliances::ensure(&site, router, &config, held);
            let generation = outcome.made.as_ref().map_or(0, |made| made.config.generation);
            tracing::warn!(%router, result = ?outcome.result, "the router's agent ended and was started again");
            set(&mut state.record.made.appliances, router, outcome.made);
            state.items.insert(router.0, item(generation, outcome.result));
            state.record.write(self.kernel.as_ref(), &self.settings.state_dir)
        });
        if let Err(error) = done {
            tracing::error!(%router, %error, "cannot start the router's agent");
        }
    }

    /// The appliances that are in their places: router, generation, and process of its agent.
    pub fn appliances(&self) -> Vec<(RouterId, record::MadeAppliance)> {
        let state = self.state.lock();
        let placed = state.record.made.appliances.iter().filter(|(_, held)| !held.is_between());
        placed.map(|(router, held)| (*router, held.clone())).collect()
    }
}

fn item(generation: Position, result: Result<Option<String>, String>) -> ItemReport {
    match result {
        Ok(note) => ItemReport { ok: true, generation, error: None, note },
        Err(error) => ItemReport { ok: false, generation, error: Some(error), note: None },
    }
}

fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

/// Notes a removal; `false` where it failed, so that it is tried again with the next document.
fn gone(
    section: &'static str,
    actions: &mut BTreeMap<&str, Vec<String>>,
    removed: Result<String, KernelError>,
) -> bool {
    let lines = actions.entry(section).or_default();
    match removed {
        Ok(action) => {
            lines.push(action);
            true
        }
        Err(error) => {
            tracing::warn!(%error, "cannot remove what is no longer wanted");
            lines.push(format!("failed: {error}"));
            false
        }
    }
}

/// Runs `work` for each item and gives the outcomes in the order of the keys. What takes its time is done several at a
/// time: most often nothing is to be done, and no thread is begun for that.
fn in_parallel<K: Ord + Copy + Send + Sync, C: Sync, R: Send>(
    items: &BTreeMap<K, C>,
    work: impl Fn(&K, &C) -> R + Sync,
) -> Vec<(K, R)> {
    let queue: Mutex<Vec<(&K, &C)>> = Mutex::new(items.iter().rev().collect());
    let done: Mutex<BTreeMap<K, R>> = Mutex::new(BTreeMap::new());
    let next = || {
        let Some((key, config)) = queue.lock().pop() else { return false };
        let outcome = work(key, config);
        done.lock().insert(*key, outcome);
        true
    };
    let began = Instant::now();
    while began.elapsed() < ALONE {
        if !next() {
            return done.into_inner().into_iter().collect();
        }
    }
    std::thread::scope(|scope| {
        for _ in 0..WORKERS.min(queue.lock().len()) {
            scope.spawn(|| while next() {});
        }
    });
    done.into_inner().into_iter().collect()
}

fn millis(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Removes every namespace with this prefix, all that runs in them, and the agent's files: what is left after
/// a crash. Bridges that are not in such a namespace stay; an empty document removes those.
pub fn clean_up(kernel: &dyn Kernel, prefix: &str, state_dir: &Path) -> Result<(), Vec<KernelError>> {
    let mut errors = Vec::new();
    let start = format!("{prefix}-");
    let made = Record::read(kernel, state_dir).map(|record| record.made).unwrap_or_default();
    let of_appliances = made.appliances.values().map(|held| held.process);
    for process in of_appliances.chain(made.vms.values().map(|held| held.process)) {
        errors.extend(kernel.tell(&process, Tell::Kill).err());
        kernel.wait_gone(&process, Duration::from_secs(2));
    }
    for name in kernel.namespaces().unwrap_or_default() {
        if name.starts_with(&start)
            && let Err(error) = kernel.remove_namespace(&name)
        {
            errors.push(error);
        }
    }
    errors.extend(security_group::remove(kernel).err());
    errors.extend(rooms::remove_guards(kernel).err());
    errors.extend(kernel.remove(state_dir).err());
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}
