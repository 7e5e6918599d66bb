//! The router role: one document in force, carried out by the services, with the last good one to fall back on.
//!
//! ```text
//!            push                      failure
//!   last good ────► validate ► plan ► apply ────► apply last good, answer Failed
//!       ▲                               │ success
//!       └───────────── persist ◄────────┘
//! ```
//!
//! **Invariant:** at no instant is the firewall open: the table is in place before the first address and before
//! packets are passed on, and whatever changes it is one transaction.

use crate::{
    bootstrap::Started,
    check,
    document::{self, problem},
    kernel::{Kernel, KernelError, ProcessId},
    services::{
        dnsmasq, eip, haproxy,
        interfaces::{self, FORWARDING, FORWARDING6},
        load_balancer, metadata, nftables, port_forwarding,
        translations::Translations,
        udp_balancer::{self, Unwell},
        vip, vip_qos,
    },
    version::Build,
};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use switchback_appliance::{
    AgentProblem, AgentProblemCode, ApplyReport, Drift, DriftItem, Health, Held, ListenerConfig, ListenerCounters,
    ListenerProtocol, LoadBalancerConfig, MetadataConfig, Observed, Push, QosConfig, SectionReport, Sections,
    ServiceCounters, ServiceHealth, Traffic, digest,
};
use switchback_events::{Position, RouterId};

pub(crate) const LAST_GOOD: &str = "last-good.json";
/// What changes while it is asked is asked again so many times.
const ASKED_AGAIN: usize = 2;
/// Since when its table counts.
const COUNTING: &str = "counting-since";
/// The highest epoch seen, also where its document could not be applied.
pub(crate) const EPOCH: &str = "epoch";

/// What a router's agent is told once.
#[derive(Clone, Debug)]
pub struct RouterSettings {
    /// Which router.
    pub router: RouterId,
    /// Where it listens.
    pub listen: Option<SocketAddr>,
    /// Where its files are.
    pub state_dir: PathBuf,
    /// A dnsmasq or haproxy that died by itself is started again after this long: time enough to see that it did.
    pub restart_after: Duration,
}

/// The folders of daemons below the agent's.
pub(crate) const DNSMASQ: &str = "dnsmasq";
pub(crate) const HAPROXY: &str = "haproxy";

/// A document in force, as it is kept on disk.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LastGood {
    revision: Position,
    epoch: u64,
    sections: Sections,
    /// Those of the sections.
    #[serde(skip)]
    digests: BTreeMap<String, String>,
}

/// The engine behind a router's agent.
pub struct RouterEngine {
    kernel: Arc<dyn Kernel>,
    settings: RouterSettings,
    build: Arc<Build>,
    table: String,
    checks: Arc<udp_balancer::Checks>,
    state: Mutex<State>,
    told: RwLock<Arc<MetadataConfig>>,
}

#[derive(Default)]
struct State {
    /// In force; `None` before the first document.
    good: Option<LastGood>,
    epoch: u64,
    applied: Applied,
    dnsmasq_dead_since: Option<Instant>,
    haproxy_dead_since: Option<Instant>,
}

/// What was put in place, as far as the kernel cannot be asked for it.
#[derive(Default)]
struct Applied {
    /// How many times anything was put in place.
    times: u64,
    table: Option<nftables::AppliedTable>,
    dnsmasq: Option<dnsmasq::Running>,
    haproxy: haproxy::Running,
    qos: vip_qos::Applied,
    /// What haproxy was given last.
    balancing: Option<haproxy::Wanted>,
    /// The servers of UDP that the table leaves out.
    unwell: Unwell,
    /// What connections were let in by; `None` before the first table of this agent.
    translations: Option<Translations>,
}

/// All that has to change for a configuration.
struct Plan {
    interfaces: interfaces::InterfacesPlan,
    table: nftables::TablePlan,
    dnsmasq: dnsmasq::Plan,
    haproxy: haproxy::Plan,
    qos: vip_qos::Plan,
    forwarding: bool,
    wanted_table: Arc<nftables::Table>,
    wanted_dnsmasq: Option<dnsmasq::Wanted>,
    wanted_haproxy: Option<haproxy::Wanted>,
    unwell: Unwell,
}

/// When addresses and routes that are too much go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Removals {
    /// When all else is in place: make before break.
    Last,
    /// Before the services: going back, they are what the failed document has left, and may be why it failed.
    First,
}

/// What went wrong, and in which section.
struct Failure {
    section: &'static str,
    detail: String,
}

fn in_section(section: &'static str) -> impl Fn(KernelError) -> Failure {
    move |error| Failure { section, detail: error.to_string() }
}

impl RouterEngine {
    /// An engine that has the last good document of its state directory, but has not applied it yet.
    pub fn open(kernel: Arc<dyn Kernel>, settings: RouterSettings, build: Arc<Build>) -> Result<Self, KernelError> {
        let text = kernel.read(&settings.state_dir.join(LAST_GOOD))?;
        let mut good: Option<LastGood> = match text {
            // One of an earlier agent may have another form: the server sends a whole one anyhow.
            Some(text) => serde_json::from_str(&text)
                .inspect_err(|error| tracing::warn!(%error, "the last good configuration cannot be read"))
                .ok(),
            None => None,
        };
        if let Some(good) = &mut good {
            good.digests = good.sections.digests();
        }
        let seen = kernel.read(&settings.state_dir.join(EPOCH))?.and_then(|text| text.parse().ok()).unwrap_or(0);
        let epoch = good.as_ref().map_or(0, |good| good.epoch).max(seen);
        let table = format!("vr_{}", settings.router.0.tail());
        // It may still run, and serve.
        let haproxy = haproxy::find(kernel.as_ref(), &settings.state_dir.join(HAPROXY))?;
        let applied = Applied { haproxy, ..Applied::default() };
        let state = Mutex::new(State { good, epoch, applied, ..State::default() });
        Ok(Self { kernel, settings, build, table, checks: Arc::default(), state, told: RwLock::default() })
    }

    /// Applies the last good document, as after a restart of the agent.
    pub fn restore(&self) -> Result<(), AgentProblem> {
        let mut state = self.state.lock();
        let kernel = self.kernel.as_ref();
        // A new namespace may have forwarding on, as the machine has: not before there is a firewall.
        let closed = || match kernel.table(&self.table)? {
            Some(_) => Ok(()),
            None => close(kernel),
        };
        closed().map_err(|error| failed(in_section("firewall")(error), None))?;
        let Some(good) = state.good.clone() else { return Ok(()) };
        self.apply(&mut state.applied, &good.sections, Removals::Last).map_err(|failure| failed(failure, None))?;
        Ok(())
    }

    /// Answers a question for metadata that came from `ip`, as the document in force says.
    pub fn metadata(&self, ip: Ipv4Addr, path: &str) -> metadata::Answer {
        let config = self.told.read().clone();
        metadata::answer(self.kernel.as_ref(), &config, ip, path)
    }

    /// Applies a document, or says what applying it would do.
    pub fn put(&self, push: Push, dry_run: bool) -> Result<ApplyReport, AgentProblem> {
        let started = Instant::now();
        let mut state = self.state.lock();
        let nothing = LastGood::default();
        let held = state.good.as_ref().unwrap_or(&nothing);
        document::admit(&push, self.settings.router.into(), held.revision, state.epoch)?;
        let (revision, epoch) = (push.revision, push.epoch);
        let mut digests = held.digests.clone();
        digests.extend(push.sections.iter().map(|(name, section)| (name.clone(), section.digest.clone())));
        let sections = document::router_sections(push, &held.sections)?;
        let digests = sections.digests_from(&digests);
        check::router(&sections)?;
        if haproxy::missing(self.kernel.as_ref(), &self.balancer(), &sections.load_balancer) {
            let detail = "a certificate came without its text, and no file here has it".to_string();
            let section = Some(LoadBalancerConfig::SECTION.to_string());
            return Err(AgentProblem { code: AgentProblemCode::MissingSection, section, detail });
        }
        if dry_run {
            let plan = self.dry_run(&state.applied, &sections).map_err(|failure| failed(failure, None))?;
            return Ok(report(held, &plan, started));
        }
        if epoch > state.epoch {
            self.remember_epoch(epoch).map_err(|failure| failed(failure, None))?;
            state.epoch = epoch;
        }
        let good = LastGood { revision, epoch, sections, digests };
        let applied = self.apply(&mut state.applied, &good.sections, Removals::Last).and_then(|plan| {
            if state.good.as_ref() != Some(&good) {
                self.persist(&good)?;
            }
            Ok(plan)
        });
        (state.dnsmasq_dead_since, state.haproxy_dead_since) = (None, None);
        match applied {
            Ok(plan) => {
                let report = report(&good, &plan, started);
                state.good = Some(good);
                Ok(report)
            }
            Err(failure) => {
                tracing::warn!(section = failure.section, detail = failure.detail, revision, "apply failed");
                let rolled_back = self.roll_back(&mut state);
                Err(failed(failure, rolled_back.err()))
            }
        }
    }

    fn roll_back(&self, state: &mut State) -> Result<(), Failure> {
        match state.good.clone() {
            Some(good) => self.apply(&mut state.applied, &good.sections, Removals::First).map(|_| ()),
            None => self.clear(&mut state.applied).map_err(in_section("interfaces")),
        }
    }

    /// The state before the first document: nothing passes and nothing is served.
    fn clear(&self, applied: &mut Applied) -> Result<(), KernelError> {
        let kernel = self.kernel.as_ref();
        close(kernel)?;
        dnsmasq::stop(kernel, &self.directory(), &mut applied.dnsmasq)?;
        haproxy::stop(kernel, &self.balancer(), &mut applied.haproxy)?;
        applied.balancing = None;
        vip_qos::clear(kernel, &self.table, &mut applied.qos)?;
        let nothing = Sections::default().interfaces;
        let observed = interfaces::observe(kernel, &nothing)?;
        let plan = interfaces::plan(&nothing, &observed, self.keep())
            .map_err(|detail| KernelError::new("plan the links", detail))?;
        interfaces::remove(kernel, &plan)?;
        applied.table = None;
        applied.translations = None;
        self.tell(&MetadataConfig::default());
        kernel.delete_table(&self.table)
    }

    fn plan(&self, applied: &Applied, sections: &Sections) -> Result<Plan, Failure> {
        let kernel = self.kernel.as_ref();
        let wanted = vip::interfaces(sections);
        let observed = interfaces::observe(kernel, &wanted).map_err(in_section("interfaces"))?;
        let interfaces = interfaces::plan(&wanted, &observed, self.keep())
            .map_err(|detail| Failure { section: "interfaces", detail })?;
        let unwell = self.checks.unwell();
        let wanted_table = Arc::new(nftables::render(sections, self.settings.listen, &unwell));
        let before = applied.table.as_ref();
        let seen = nftables::observe(kernel, &self.table, before).map_err(in_section("firewall"))?;
        let table = nftables::plan(&wanted_table, before, &seen);
        let unchanged = seen.0 == nftables::Seen::Unchanged;
        let qos = vip_qos::plan(kernel, &self.table, &sections.qos, &observed.links, &applied.qos, unchanged)
            .map_err(in_section(QosConfig::SECTION))?;
        let wanted_dnsmasq = dnsmasq::render(sections, &self.directory());
        let running = applied.dnsmasq.as_ref();
        let served = dnsmasq::observe(kernel, &self.directory(), running, wanted_dnsmasq.as_ref())
            .map_err(in_section("dhcp"))?;
        let dnsmasq = dnsmasq::plan(wanted_dnsmasq.as_ref(), running, &served);
        let wanted_haproxy = haproxy::render(&sections.load_balancer, &self.balancer());
        let given = applied.balancing.as_ref();
        let balanced = haproxy::observe(kernel, &self.balancer(), &applied.haproxy, wanted_haproxy.as_ref())
            .map_err(in_section(LoadBalancerConfig::SECTION))?;
        let haproxy = haproxy::plan(wanted_haproxy.as_ref(), given, &applied.haproxy, &balanced);
        let forwarding = kernel.sysctl(FORWARDING).map_err(in_section("interfaces"))?.as_deref() != Some("1");
        Ok(Plan {
            interfaces,
            table,
            dnsmasq,
            haproxy,
            qos,
            forwarding,
            wanted_table,
            wanted_dnsmasq,
            wanted_haproxy,
            unwell,
        })
    }

    /// Plans, and asks the tools whether they would take it.
    fn dry_run(&self, applied: &Applied, sections: &Sections) -> Result<Plan, Failure> {
        let plan = self.plan(applied, sections)?;
        let kernel = self.kernel.as_ref();
        if !plan.table.is_empty() {
            nftables::check(kernel, &self.table, &plan.wanted_table).map_err(in_section("firewall"))?;
        }
        vip_qos::check(kernel, &self.table, &plan.qos).map_err(in_section(QosConfig::SECTION))?;
        if let (Some(wanted), false) = (&plan.wanted_dnsmasq, plan.dnsmasq.is_empty()) {
            dnsmasq::check(kernel, &self.directory(), wanted).map_err(in_section("dns"))?;
        }
        if let (Some(wanted), false) = (&plan.wanted_haproxy, plan.haproxy.is_empty()) {
            haproxy::check(kernel, &self.balancer(), wanted, &plan.haproxy)
                .map_err(in_section(LoadBalancerConfig::SECTION))?;
        }
        Ok(plan)
    }

    /// Makes before it breaks: additions, services, then removals. A table that is missing comes first of all.
    fn apply(&self, applied: &mut Applied, sections: &Sections, removals: Removals) -> Result<Plan, Failure> {
        applied.times += 1;
        let mut plan = self.plan(applied, sections)?;
        let kernel = self.kernel.as_ref();
        if plan.table.absent {
            self.apply_table(applied, &plan)?;
        }
        interfaces::add(kernel, &plan.interfaces).map_err(in_section("interfaces"))?;
        let filtered = vip_qos::make(kernel, &self.table, &plan.qos, &mut applied.qos);
        if filtered.map_err(in_section(QosConfig::SECTION))? {
            // That was this agent, and nobody else.
            plan.table.generation = plan.table.generation.wrapping_add(1);
            let known = applied.table.as_mut().and_then(|table| table.generation.as_mut());
            known.into_iter().for_each(|generation| *generation = generation.wrapping_add(1));
        }
        if !plan.table.absent {
            self.apply_table(applied, &plan)?;
        }
        if removals == Removals::First {
            interfaces::remove(kernel, &plan.interfaces).map_err(in_section("interfaces"))?;
        }
        let section = if plan.dnsmasq.dhcp.is_empty() { "dns" } else { "dhcp" };
        let (wanted, running) = (plan.wanted_dnsmasq.as_ref(), &mut applied.dnsmasq);
        dnsmasq::apply(kernel, &self.directory(), &plan.dnsmasq, wanted, &sections.dhcp, running)
            .map_err(in_section(section))?;
        let (wanted, running) = (plan.wanted_haproxy.as_ref(), &mut applied.haproxy);
        haproxy::apply(kernel, &self.balancer(), &plan.haproxy, wanted, running)
            .map_err(in_section(LoadBalancerConfig::SECTION))?;
        haproxy::forget(kernel, &self.balancer(), applied.balancing.as_ref(), wanted);
        applied.balancing = plan.wanted_haproxy.clone();
        if plan.forwarding {
            kernel.set_sysctl(FORWARDING, "1").map_err(in_section("interfaces"))?;
        }
        vip_qos::remove(kernel, &plan.qos, &applied.qos).map_err(in_section(QosConfig::SECTION))?;
        if removals == Removals::Last {
            interfaces::remove(kernel, &plan.interfaces).map_err(in_section("interfaces"))?;
        }
        self.forget_stale(applied, sections)?;
        self.tell(&sections.metadata);
        interfaces::announce(&self.kernel, &sections.interfaces, &plan.interfaces);
        Ok(plan)
    }

    fn apply_table(&self, applied: &mut Applied, plan: &Plan) -> Result<(), Failure> {
        if plan.table.is_empty() {
            // It was looked at and found right.
            if let Some(table) = &mut applied.table {
                table.generation = Some(plan.table.generation);
            }
            applied.unwell = plan.unwell.clone();
            return Ok(());
        }
        let kernel = self.kernel.as_ref();
        let done = nftables::apply(kernel, &self.table, &plan.wanted_table, &plan.table, applied.table.as_ref());
        applied.table = Some(done.map_err(in_section(plan.table.section()))?);
        if plan.table.absent {
            let (path, since) = (self.settings.state_dir.join(COUNTING), kernel.wall_clock().to_string());
            kernel.write(&path, since.as_bytes(), 0o600).map_err(in_section("firewall"))?;
        }
        applied.unwell = plan.unwell.clone();
        Ok(())
    }

    /// From now on VMs are told this. It is not a part of the state, which is held for as long as an apply takes.
    fn tell(&self, config: &MetadataConfig) {
        if **self.told.read() != *config {
            *self.told.write() = Arc::new(config.clone());
        }
    }

    /// Connections that were let in by what holds no more end with it.
    fn forget_stale(&self, applied: &mut Applied, sections: &Sections) -> Result<(), Failure> {
        let now = Translations::of(sections);
        // The agent before this one may have ended before it came to this.
        let before = applied.translations.as_ref().unwrap_or(&now);
        let stood = applied.translations.as_ref() == Some(&now) || now.is_empty() && before.is_empty();
        if !stood {
            let forgotten = self.kernel.forget_connections(&now.stale(before)).map_err(in_section(eip::SECTION))?;
            tracing::debug!(forgotten, "connections whose translation is gone");
        }
        applied.translations = Some(now);
        Ok(())
    }

    /// Before its document is applied: a restart must not open the door again to an earlier run of the server.
    fn remember_epoch(&self, epoch: u64) -> Result<(), Failure> {
        let path = self.settings.state_dir.join(EPOCH);
        self.kernel.write(&path, epoch.to_string().as_bytes(), 0o600).map_err(in_section("interfaces"))
    }

    fn persist(&self, good: &LastGood) -> Result<(), Failure> {
        let failed = in_section("interfaces");
        let text = serde_json::to_vec(good)
            .map_err(|error| failed(KernelError::new("write the last good configuration", error)))?;
        self.kernel.write(&self.settings.state_dir.join(LAST_GOOD), &text, 0o600).map_err(failed)
    }

    /// What is held.
    pub fn held(&self) -> Held {
        let state = self.state.lock();
        let good = state.good.clone().unwrap_or_default();
        let digests = good.digests;
        let sections = serde_json::to_value(&good.sections).unwrap_or_default();
        Held { revision: good.revision, epoch: state.epoch, digests, sections }
    }

    /// How it came up, to be said before anybody asks.
    pub fn found(&self) -> Started {
        let (health, _) = self.ask_services();
        let unwell = health.services.into_iter().filter(|(_, service)| !service.healthy);
        let unwell = unwell.map(|(name, service)| format!("{name}: {}", service.detail)).collect();
        Started { revision: health.revision, unwell }
    }

    /// Whether the services answer, and for what is in force. dnsmasq is asked without holding up changes: those ask again.
    pub fn health(&self) -> Health {
        let mut asked = self.ask_services();
        for _ in 0..ASKED_AGAIN {
            if asked.0.healthy || self.state.lock().applied.times == asked.1 {
                break;
            }
            asked = self.ask_services();
        }
        asked.0
    }

    /// How the services are, and after how many changes.
    fn ask_services(&self) -> (Health, u64) {
        let state = self.state.lock();
        let mut services = BTreeMap::new();
        let mut probes = Vec::new();
        if let Some(good) = &state.good {
            probes = dnsmasq::probes(&good.sections);
            if let Some(wanted) = haproxy::render(&good.sections.load_balancer, &self.balancer()) {
                services.insert("haproxy".to_string(), self.haproxy_health(&state.applied, &wanted));
            }
            if !good.sections.qos.is_empty() {
                services.insert(QosConfig::SECTION.to_string(), self.qos_health(&state.applied, &good.sections));
            }
            services.insert("nftables".to_string(), self.table_health(&state.applied));
        }
        let (revision, epoch) = (state.good.as_ref().map_or(0, |good| good.revision), state.epoch);
        let served = state.applied.dnsmasq.as_ref().map(|running| (running.process, running.serves.canary));
        let times = state.applied.times;
        drop(state);
        if !probes.is_empty() {
            services.insert("dnsmasq".to_string(), self.dnsmasq_health(served, &probes));
        }
        let health = Health {
            id: self.settings.router.into(),
            role: "router".to_string(),
            agent_digest: self.build.digest().to_string(),
            agent_version: self.build.version.to_string(),
            boot_id: self.build.boot_id.clone(),
            revision,
            epoch,
            healthy: services.values().all(|service: &ServiceHealth| service.healthy),
            services,
            capabilities: BTreeMap::new(),
        };
        (health, times)
    }

    fn dnsmasq_health(&self, served: Option<(ProcessId, Ipv6Addr)>, probes: &[dnsmasq::Probe]) -> ServiceHealth {
        let kernel = self.kernel.as_ref();
        let Some((_, canary)) = served.filter(|(process, _)| kernel.alive(process)) else {
            return ServiceHealth { healthy: false, detail: "the process is gone".to_string() };
        };
        match dnsmasq::ask(kernel, probes, canary) {
            Ok(()) => ServiceHealth { healthy: true, detail: "answers for the configuration in force".to_string() },
            Err(detail) => ServiceHealth { healthy: false, detail },
        }
    }

    fn haproxy_health(&self, applied: &Applied, wanted: &haproxy::Wanted) -> ServiceHealth {
        let kernel = self.kernel.as_ref();
        let observed = match haproxy::observe(kernel, &self.balancer(), &applied.haproxy, Some(wanted)) {
            Ok(observed) => observed,
            Err(error) => return ServiceHealth { healthy: false, detail: error.to_string() },
        };
        let plan = haproxy::plan(Some(wanted), applied.balancing.as_ref(), &applied.haproxy, &observed);
        match plan.drift.first() {
            _ if plan.is_empty() => ServiceHealth { healthy: true, detail: haproxy::summary(&observed) },
            Some(item) => ServiceHealth { healthy: false, detail: format!("{} is {}", item.item, item.observed) },
            None => ServiceHealth { healthy: false, detail: "serves another configuration".to_string() },
        }
    }

    fn qos_health(&self, applied: &Applied, sections: &Sections) -> ServiceHealth {
        let healthy = |healthy, detail: String| ServiceHealth { healthy, detail };
        if let Some(detail) = &applied.qos.refused {
            return healthy(false, format!("the kernel does not shape: {detail}"));
        }
        let kernel = self.kernel.as_ref();
        let plan = || vip_qos::plan(kernel, &self.table, &sections.qos, &kernel.links()?, &applied.qos, false);
        match plan() {
            Ok(plan) => match plan.drift.first() {
                None => healthy(true, "limits as they were put in place".to_string()),
                Some(item) => healthy(false, format!("{} is {}", item.item, item.observed)),
            },
            Err(error) => healthy(false, error.to_string()),
        }
    }

    fn table_health(&self, applied: &Applied) -> ServiceHealth {
        let healthy = |healthy, detail: &str| ServiceHealth { healthy, detail: detail.to_string() };
        let Some(table) = &applied.table else { return healthy(false, "there is no table") };
        match nftables::observe(self.kernel.as_ref(), &self.table, Some(table)) {
            Ok((nftables::Seen::Absent, _)) => healthy(false, "the table is gone"),
            Ok(seen) => match nftables::plan(&table.table, Some(table), &seen).drift.first() {
                None => healthy(true, "as it was put in place"),
                Some(item) => healthy(false, &format!("the table was changed: {} is {}", item.item, item.observed)),
            },
            Err(error) => healthy(false, &error.to_string()),
        }
    }

    /// How much went through its services.
    pub fn counters(&self) -> Result<ServiceCounters, AgentProblem> {
        let state = self.state.lock();
        let (Some(good), Some(applied)) = (&state.good, &state.applied.table) else {
            return Ok(ServiceCounters::default());
        };
        let (eips, rules) = (good.sections.eips.eips.clone(), good.sections.port_forwarding.rules.clone());
        let listeners = good.sections.load_balancer.listeners.clone();
        let (table, running) = (applied.table.clone(), state.applied.haproxy.clone());
        // Listing large sets takes a while, and no change waits for that.
        drop(state);
        let kernel = self.kernel.as_ref();
        let failed = |error: KernelError| problem(AgentProblemCode::Failed, error.to_string());
        let counters = nftables::counters(kernel, &self.table, &table).map_err(failed)?;
        let proxied = listeners.iter().any(|listener| listener.protocol != ListenerProtocol::Udp);
        let totals = if proxied { haproxy::totals(kernel, &self.balancer(), &running) } else { haproxy::Totals::new() };
        let since = kernel.read(&self.settings.state_dir.join(COUNTING)).map_err(failed)?;
        let count = |set: &str, key: &str| counters.get(set).and_then(|set| set.get(key)).copied().unwrap_or_default();
        let traffic =
            |sets: [&str; 2], key: &str| Traffic { inbound: count(sets[0], key), outbound: count(sets[1], key) };
        let of_listener = |listener: &ListenerConfig| {
            let counted = totals.get(&load_balancer::frontend_name(listener)).copied().unwrap_or_default();
            let counters = ListenerCounters {
                connections: counted.sessions,
                requests: counted.requests,
                denied: counted.denied,
                inbound_bytes: counted.bytes_in,
                outbound_bytes: counted.bytes_out,
            };
            (listener.listener, counters)
        };
        let of_proxy = listeners.iter().filter(|listener| listener.protocol != ListenerProtocol::Udp);
        Ok(ServiceCounters {
            since: since.and_then(|text| text.trim().parse().ok()).unwrap_or(0),
            eips: eips.iter().map(|eip| (eip.eip, traffic(eip::COUNTERS, &eip.vip_address.to_string()))).collect(),
            port_forwarding: rules
                .iter()
                .map(|rule| (rule.rule, traffic(port_forwarding::COUNTERS, &port_forwarding::key(rule))))
                .collect(),
            listeners: of_proxy.map(of_listener).collect(),
        })
    }

    /// Where the kernel and the daemons differ from the document in force.
    pub fn drift(&self) -> Result<Drift, AgentProblem> {
        let state = self.state.lock();
        let Some(good) = &state.good else { return Ok(Drift::default()) };
        let items = match self.plan(&state.applied, &good.sections) {
            Ok(plan) => {
                let mut items = plan.interfaces.drift;
                items.extend(plan.dnsmasq.drift);
                items.extend(plan.haproxy.drift);
                items.extend(plan.table.drift);
                items.extend(plan.qos.drift);
                if plan.forwarding {
                    items.push(difference("interfaces", "sysctl net/ipv4/ip_forward", "1", "0"));
                }
                items
            }
            Err(failure) => vec![difference(failure.section, "links", "present", &failure.detail)],
        };
        Ok(Drift { revision: good.revision, items })
    }

    /// What the kernel and the daemons have.
    pub fn observed(&self) -> Result<Observed, AgentProblem> {
        let state = self.state.lock();
        let sections = state.good.as_ref().map(|good| good.sections.clone()).unwrap_or_default();
        let kernel = self.kernel.as_ref();
        let look = || {
            let links = interfaces::observe(kernel, &vip::interfaces(&sections))?;
            let table = kernel.table(&self.table)?.map(|objects| nftables::normalise(objects.into()));
            let wanted = dnsmasq::render(&sections, &self.directory());
            let served = dnsmasq::observe(kernel, &self.directory(), state.applied.dnsmasq.as_ref(), wanted.as_ref())?;
            let wanted = haproxy::render(&sections.load_balancer, &self.balancer());
            let running = &state.applied.haproxy;
            let balanced = haproxy::observe(kernel, &self.balancer(), running, wanted.as_ref())?;
            let unwell: Vec<String> = self.checks.unwell().iter().map(|(_, server)| server.to_string()).collect();
            let leases = kernel.read(&self.directory().join(crate::services::dhcp::LEASES))?.unwrap_or_default();
            let leases: Vec<&str> = leases.lines().collect();
            Ok(json!({
                "interfaces": links,
                "dhcp": { "dnsmasqRuns": served.alive, "leases": leases },
                "dns": { "dnsmasqRuns": served.alive, "files": served.files },
                "snat": { "table": self.table, "present": table.is_some() },
                "loadBalancer": {
                    "haproxyRuns": balanced.alive,
                    "servers": balanced.servers,
                    "udpServersThatAreNotWell": unwell,
                    "counted": haproxy::totals(kernel, &self.balancer(), running),
                },
                "firewall": { "table": self.table, "objects": table },
                "qos": vip_qos::observed(kernel, &sections.qos)?,
            }))
        };
        let sections = look().map_err(|error: KernelError| problem(AgentProblemCode::Failed, error.to_string()))?;
        Ok(Observed { sections })
    }

    /// Starts daemons again that have been dead for a while, and asks servers whether they are well. Called every now
    /// and then.
    pub fn supervise(&self) {
        let Some(mut state) = self.state.try_lock() else { return };
        self.supervise_dnsmasq(&mut state);
        self.supervise_haproxy(&mut state);
        self.look_after_servers(&mut state);
    }

    /// Whether a daemon has been dead for long enough.
    fn to_be_started(&self, died: bool, dead_since: &mut Option<Instant>) -> bool {
        if !died {
            *dead_since = None;
            return false;
        }
        let since = *dead_since.get_or_insert_with(Instant::now);
        let due = since.elapsed() >= self.settings.restart_after;
        if due {
            *dead_since = None;
        }
        due
    }

    fn supervise_haproxy(&self, state: &mut State) {
        let died = state.applied.balancing.is_some() && !haproxy::alive(self.kernel.as_ref(), &state.applied.haproxy);
        if !self.to_be_started(died, &mut state.haproxy_dead_since) {
            return;
        }
        let (kernel, wanted) = (self.kernel.as_ref(), state.applied.balancing.clone());
        let observed = haproxy::observe(kernel, &self.balancer(), &state.applied.haproxy, wanted.as_ref());
        let started = observed.and_then(|observed| {
            let running = &mut state.applied.haproxy;
            let plan = haproxy::plan(wanted.as_ref(), wanted.as_ref(), running, &observed);
            haproxy::apply(kernel, &self.balancer(), &plan, wanted.as_ref(), running)
        });
        match started {
            Ok(()) => tracing::warn!("haproxy had died and was started again"),
            Err(error) => tracing::error!(%error, "haproxy died and does not start"),
        }
    }

    /// Servers of UDP that are no longer well, or well again, are a matter of the table.
    fn look_after_servers(&self, state: &mut State) {
        let Some(good) = &state.good else { return };
        self.checks.ask(&self.kernel, &good.sections.load_balancer, Instant::now());
        if state.applied.table.is_none() || self.checks.unwell() == state.applied.unwell {
            return;
        }
        let sections = good.sections.clone();
        let done = self.plan(&state.applied, &sections).and_then(|plan| self.apply_table(&mut state.applied, &plan));
        if let Err(failure) = done {
            tracing::error!(detail = failure.detail, "the servers that are well do not come into the table");
        }
    }

    fn supervise_dnsmasq(&self, state: &mut State) {
        let died = state.applied.dnsmasq.as_ref().is_some_and(|running| !self.kernel.alive(&running.process));
        if !self.to_be_started(died, &mut state.dnsmasq_dead_since) {
            return;
        }
        let Some(sections) = state.good.as_ref().map(|good| good.sections.clone()) else { return };
        let wanted = dnsmasq::render(&sections, &self.directory());
        let observed = dnsmasq::Observed::default();
        let plan = dnsmasq::plan(wanted.as_ref(), state.applied.dnsmasq.as_ref(), &observed);
        state.applied.times += 1;
        let running = &mut state.applied.dnsmasq;
        match dnsmasq::apply(self.kernel.as_ref(), &self.directory(), &plan, wanted.as_ref(), &sections.dhcp, running) {
            Ok(()) => tracing::warn!("dnsmasq had died and was started again"),
            Err(error) => tracing::error!(%error, "dnsmasq died and does not start"),
        }
    }

    /// Stops dnsmasq; addresses, the table and haproxy stay, so that packets go on passing.
    pub fn stop(&self) {
        let mut state = self.state.lock();
        if let Err(error) = dnsmasq::stop(self.kernel.as_ref(), &self.directory(), &mut state.applied.dnsmasq) {
            tracing::warn!(%error, "dnsmasq does not stop");
        }
    }

    fn directory(&self) -> PathBuf {
        self.settings.state_dir.join(DNSMASQ)
    }

    fn balancer(&self) -> PathBuf {
        self.settings.state_dir.join(HAPROXY)
    }

    fn keep(&self) -> Option<IpAddr> {
        Some(self.settings.listen?.ip())
    }
}

/// Nothing is passed on between interfaces any more.
fn close(kernel: &dyn Kernel) -> Result<(), KernelError> {
    kernel.set_sysctl(FORWARDING, "0")?;
    match kernel.sysctl(FORWARDING6)? {
        // A kernel without IPv6 passes none on.
        None => Ok(()),
        Some(_) => kernel.set_sysctl(FORWARDING6, "0"),
    }
}

fn difference(section: &str, item: &str, expected: &str, observed: &str) -> DriftItem {
    let [section, item, expected, observed] = [section, item, expected, observed].map(str::to_string);
    DriftItem { section, item, expected, observed }
}

fn failed(failure: Failure, roll_back: Option<Failure>) -> AgentProblem {
    let mut detail = failure.detail;
    if let Some(second) = roll_back {
        detail = format!("{detail}; going back to the last good configuration failed too: {}", second.detail);
    }
    AgentProblem { code: AgentProblemCode::Failed, section: Some(failure.section.to_string()), detail }
}

fn report(in_force: &LastGood, plan: &Plan, started: Instant) -> ApplyReport {
    let mut interfaces = plan.interfaces.actions("interfaces");
    if plan.forwarding {
        interfaces.push("pass packets on".to_string());
    }
    let of_table = |section: &str| plan.table.actions.get(section).cloned().unwrap_or_default();
    let mut balancer = of_table(LoadBalancerConfig::SECTION);
    balancer.extend(plan.haproxy.actions.iter().cloned());
    let mut qos = plan.qos.actions();
    qos.extend(of_table(QosConfig::SECTION));
    let sections = [
        ("interfaces", interfaces),
        ("dhcp", plan.dnsmasq.dhcp.clone()),
        ("dns", plan.dnsmasq.dns.clone()),
        ("snat", of_table("snat")),
        ("firewall", of_table("firewall")),
    ];
    // These are there where there is anything in them, or was.
    let held = &in_force.digests;
    let later = [
        (vip::SECTION, plan.interfaces.actions(vip::SECTION)),
        (eip::SECTION, of_table(eip::SECTION)),
        (port_forwarding::SECTION, of_table(port_forwarding::SECTION)),
        (QosConfig::SECTION, qos),
        (LoadBalancerConfig::SECTION, balancer),
        (MetadataConfig::SECTION, of_table(MetadataConfig::SECTION)),
    ];
    let later = later.into_iter().filter(|(name, actions)| !actions.is_empty() || held.contains_key(*name));
    let report = |(name, actions): (&str, Vec<String>)| {
        (name.to_string(), SectionReport { changed: !actions.is_empty(), actions })
    };
    ApplyReport {
        revision: in_force.revision,
        config_digest: digest(held),
        sections: sections.into_iter().chain(later).map(report).collect(),
        items: BTreeMap::new(),
        millis: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}
