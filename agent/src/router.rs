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

mod asked;
mod items;
pub(crate) mod last_good;
mod passwords;

use crate::{
    check, document,
    kernel::{Kernel, KernelError},
    services::{
        dnsmasq, eip, haproxy,
        interfaces::{self, FORWARDING, FORWARDING6},
        metadata, nftables, port_forwarding,
        translations::Translations,
        udp_balancer::{self, Unwell},
        vip, vip_qos,
    },
    version::Build,
};
use last_good::CHANGES_MAX;
use last_good::LastGood;
pub(crate) use last_good::{CHANGES, LAST_GOOD};
use parking_lot::{Mutex, RwLock};
pub(crate) use passwords::PASSWORDS;
use passwords::Passwords;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use switchback_appliance::{
    AgentProblem, AgentProblemCode, ApplyReport, LoadBalancerConfig, MetadataConfig, Push, QosConfig, SectionPush,
    SectionReport, Sections, changes::Texts, digest,
};
use switchback_events::RouterId;

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

/// The engine behind a router's agent.
pub struct RouterEngine {
    kernel: Arc<dyn Kernel>,
    settings: RouterSettings,
    build: Arc<Build>,
    table: String,
    checks: Arc<udp_balancer::Checks>,
    state: Mutex<State>,
    told: RwLock<Arc<MetadataConfig>>,
    passwords: Passwords,
}

#[derive(Default)]
struct State {
    /// In force; `None` before the first document.
    good: Option<Arc<LastGood>>,
    /// Of its sections that few changes make others.
    texts: Texts,
    /// So many changes are kept beside it. At first nobody knows: then it is written anew.
    changes: u32,
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
#[derive(Default)]
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
        let good = last_good::read(kernel.as_ref(), &settings.state_dir)?.map(Arc::new);
        let seen = kernel.read(&settings.state_dir.join(EPOCH))?.and_then(|text| text.parse().ok()).unwrap_or(0);
        let epoch = good.as_ref().map_or(0, |good| good.epoch).max(seen);
        let table = format!("vr_{}", settings.router.0.tail());
        // It may still run, and serve.
        let haproxy = haproxy::find(kernel.as_ref(), &settings.state_dir.join(HAPROXY))?;
        let applied = Applied { haproxy, ..Applied::default() };
        let state = Mutex::new(State { good, changes: last_good::CHANGES_MAX, epoch, applied, ..State::default() });
        let passwords = Passwords::open(kernel.as_ref(), &settings.state_dir)?;
        let told = RwLock::default();
        Ok(Self { kernel, settings, build, table, checks: Arc::default(), state, told, passwords })
    }

    /// Applies the last good document, as after a restart of the agent.
    pub fn restore(&self) -> Result<(), AgentProblem> {
        let mut state = self.state.lock();
        let kernel = self.kernel.as_ref();
        // A new namespace may have forwarding on, as the machine has: not before there is a firewall.
        let closed = || match kernel.table_outline(&self.table)? {
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

    /// Answers what a VM asks of its password, or says of it, from `ip`.
    pub fn password(&self, ip: Ipv4Addr, request: &[u8]) -> metadata::Answer {
        let config = self.told.read().clone();
        match metadata::client(self.kernel.as_ref(), &config, ip) {
            Some(client) => self.passwords.answer(self.kernel.as_ref(), client.vm, client.password.as_deref(), request),
            None => metadata::Answer::Stranger,
        }
    }

    /// Applies a document, or says what applying it would do.
    pub fn put(&self, mut push: Push, dry_run: bool) -> Result<ApplyReport, AgentProblem> {
        let started = Instant::now();
        // They are kept by themselves.
        let passwords = std::mem::take(&mut push.passwords);
        let state = &mut *self.state.lock();
        let nothing = LastGood::default();
        let held = state.good.as_deref().unwrap_or(&nothing);
        document::admit(&push, self.settings.router.into(), held.revision, state.epoch)?;
        if !dry_run && let Some(report) = self.put_few(state, &push, started) {
            return Ok(report);
        }
        let held = state.good.as_deref().unwrap_or(&nothing);
        let (revision, epoch) = (push.revision, push.epoch);
        // What came as changes is kept as changes.
        let whole = |section: &SectionPush| section.body.is_some();
        let changes = (!push.sections.values().any(whole) && !dry_run).then(|| push.clone());
        let mut digests = held.digests.clone();
        digests.extend(push.sections.iter().map(|(name, section)| (name.clone(), section.digest.clone())));
        let known = document::Known { digests: &held.digests, doubted: true };
        let sections = document::router_sections(push, &held.sections, known)?;
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
        let came = self.passwords.come(self.kernel.as_ref(), &sections.metadata, passwords);
        came.map_err(|error| failed(in_section(MetadataConfig::SECTION)(error), None))?;
        let good = LastGood { revision, epoch, sections, digests };
        let applied = self.apply(&mut state.applied, &good.sections, Removals::Last);
        let applied = applied.and_then(|plan| {
            if state.good.as_deref() != Some(&good) {
                self.persist(state, &good, changes.as_ref())?;
            }
            Ok(plan)
        });
        (state.dnsmasq_dead_since, state.haproxy_dead_since) = (None, None);
        match applied {
            Ok(plan) => {
                let report = report(&good, &plan, started);
                (state.good, state.texts) = (Some(Arc::new(good)), Texts::default());
                Ok(report)
            }
            Err(failure) => {
                tracing::warn!(section = failure.section, detail = failure.detail, revision, "apply failed");
                let rolled_back = self.roll_back(state);
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
        self.passwords.forget(self.kernel.as_ref(), config);
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

    fn persist(&self, state: &mut State, good: &LastGood, changes: Option<&Push>) -> Result<(), Failure> {
        match changes.filter(|_| state.good.is_some() && state.changes < CHANGES_MAX) {
            Some(changes) => self.persist_changes(state, changes),
            None => {
                let written = last_good::write(self.kernel.as_ref(), &self.settings.state_dir, good);
                written.map_err(in_section("interfaces"))?;
                state.changes = 0;
                Ok(())
            }
        }
    }

    fn persist_changes(&self, state: &mut State, changes: &Push) -> Result<(), Failure> {
        // One that may be cut off is the last.
        state.changes += CHANGES_MAX;
        last_good::add(self.kernel.as_ref(), &self.settings.state_dir, changes).map_err(in_section("interfaces"))?;
        state.changes -= CHANGES_MAX - 1;
        Ok(())
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
        state.applied.times += 1;
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
        let Some(good) = state.good.clone() else { return };
        self.checks.ask(&self.kernel, &good.sections.load_balancer, Instant::now());
        if state.applied.table.is_none() || self.checks.unwell() == state.applied.unwell {
            return;
        }
        state.applied.times += 1;
        let done =
            self.plan(&state.applied, &good.sections).and_then(|plan| self.apply_table(&mut state.applied, &plan));
        if let Err(failure) = done {
            tracing::error!(detail = failure.detail, "the servers that are well do not come into the table");
        }
    }

    fn supervise_dnsmasq(&self, state: &mut State) {
        let died = state.applied.dnsmasq.as_ref().is_some_and(|running| !self.kernel.alive(&running.process));
        if !self.to_be_started(died, &mut state.dnsmasq_dead_since) {
            return;
        }
        let Some(good) = state.good.clone() else { return };
        let wanted = dnsmasq::render(&good.sections, &self.directory());
        let observed = dnsmasq::Observed::default();
        let plan = dnsmasq::plan(wanted.as_ref(), state.applied.dnsmasq.as_ref(), &observed);
        state.applied.times += 1;
        let running = &mut state.applied.dnsmasq;
        let clients = &good.sections.dhcp;
        match dnsmasq::apply(self.kernel.as_ref(), &self.directory(), &plan, wanted.as_ref(), clients, running) {
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
