//! The one haproxy of a router, which serves what [`super::load_balancer`] renders.
//!
//! ```text
//!   other structure ── -c ── SIGUSR2 ── a new worker takes over the sockets, the old one ends with its connections
//!   other servers ──────────────── told by the socket: nothing is started
//! ```
//!
//! The configuration's `description` is its **canary**: the digest of all but the servers, and of all. When haproxy
//! answers with it, haproxy serves exactly this; nothing waits by guess.
//!
//! **Invariants:** a configuration passed `-c` before it replaced the old one. The process outlives the agent, which finds
//! it again: connections do not end because an agent is renewed. What was counted is never counted down: what a process
//! had counted is added up when another takes over.

use super::load_balancer::{self, Backend, Rendered, Server};
use crate::kernel::{Kernel, KernelError, ProcessId, Spawn, Talk, Tell};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use switchback_appliance::{DriftItem, LoadBalancerConfig, Pem, digest};

/// The socket by which it is asked and told.
pub const SOCKET: &str = "admin.sock";
/// What one process leaves to the next about the health of servers.
pub const STATES: &str = "servers";
const CONFIGURATION: &str = "haproxy.cfg";
const LOG: &str = "haproxy.log";
const PROCESS: &str = "haproxy.process";
const TOTALS: &str = "totals.json";
/// What belongs to one process, and to none that comes after it elsewhere.
pub const OF_A_PROCESS: [&str; 4] = [SOCKET, PROCESS, CONFIGURATION, LOG];
const PATIENCE: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(1);

/// All that haproxy should be given.
#[derive(Clone, PartialEq, Debug)]
pub struct Wanted {
    rendered: Rendered,
    /// The files of certificates by name, with what goes into them where it is known.
    pems: BTreeMap<String, Option<Pem>>,
}

/// A haproxy that runs, and what was counted before it was started.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Running {
    process: Option<ProcessId>,
    before: Totals,
}

/// What was counted, by listener and by its servers.
pub type Totals = BTreeMap<String, Counted>;

/// What was counted of a frontend, or of a server of a backend.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counted {
    /// Connections, or requests handed to a server.
    pub sessions: u64,
    /// HTTP requests.
    pub requests: u64,
    /// From clients.
    pub bytes_in: u64,
    /// To clients.
    pub bytes_out: u64,
    /// Refused by the list of who may come.
    pub denied: u64,
}

/// A server as haproxy has it.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedServer {
    /// `UP`, `DOWN`, `MAINT`, …
    pub status: String,
    /// Its share.
    pub weight: u32,
    /// What the last check said.
    pub check: String,
}

/// What is there.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Observed {
    /// The process runs.
    pub alive: bool,
    /// What it says that it serves: the digests of structure and of all.
    pub serves: Option<(String, String)>,
    /// By backend and name.
    pub servers: BTreeMap<String, BTreeMap<String, ObservedServer>>,
    /// The configuration file.
    pub configuration: Option<String>,
    /// The certificates whose files are as they should be.
    pub pems: BTreeSet<String>,
}

/// What to do with the process.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Step {
    /// Nothing.
    #[default]
    Nothing,
    /// Start it.
    Start,
    /// Have a new one take over.
    Renew,
    /// Tell it these lines.
    Tell(Vec<String>),
    /// End it.
    Stop,
}

/// What has to change.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Plan {
    /// The configuration file is to be written.
    pub write: bool,
    /// Certificates to write.
    pub pems: BTreeSet<String>,
    /// The process.
    pub step: Step,
    /// Lines for the section.
    pub actions: Vec<String>,
    /// What is not as it was left.
    pub drift: Vec<DriftItem>,
}

impl Plan {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.step == Step::Nothing && !self.write && self.pems.is_empty()
    }
}

impl Wanted {
    /// The configuration file.
    fn configuration(&self) -> String {
        let text = self.rendered.text();
        let whole = digest(&text);
        // The first line of `global`.
        text.replacen('\n', &format!("\n  description {}-{}\n", self.rendered.structure(), &whole[..16]), 1)
    }

    fn canary(&self) -> (String, String) {
        (self.rendered.structure(), digest(&self.rendered.text())[..16].to_string())
    }
}

/// What haproxy should be given; nothing where there is nothing for it.
pub fn render(config: &LoadBalancerConfig, directory: &Path) -> Option<Wanted> {
    let rendered = load_balancer::render(config, directory)?;
    let certificates = config.certificates.iter();
    let pems = certificates.map(|held| (load_balancer::certificate_file(held), held.pem.clone())).collect();
    Some(Wanted { rendered, pems })
}

/// Looks at the process and the files.
pub fn observe(
    kernel: &dyn Kernel,
    directory: &Path,
    running: &Running,
    wanted: Option<&Wanted>,
) -> Result<Observed, KernelError> {
    let mut observed = Observed { configuration: kernel.read(&directory.join(CONFIGURATION))?, ..Observed::default() };
    for name in wanted.iter().flat_map(|wanted| wanted.pems.keys()) {
        let text = kernel.read(&directory.join(name))?;
        if text.is_some_and(|text| format!("{}.pem", Pem::new(text).digest()) == *name) {
            observed.pems.insert(name.clone());
        }
    }
    let Some(process) = running.process.filter(|process| kernel.alive(process)) else { return Ok(observed) };
    observed.alive = true;
    let Ok(information) = kernel.ask_socket(&directory.join(SOCKET), "show info", ANSWER) else { return Ok(observed) };
    observed.serves = description(&information);
    if let Ok(table) = kernel.ask_socket(&directory.join(SOCKET), "show stat", ANSWER) {
        observed.servers = servers(&table);
    }
    // It may have ended in between.
    observed.alive = kernel.alive(&process);
    Ok(observed)
}

fn description(information: &str) -> Option<(String, String)> {
    let text = information.lines().find_map(|line| line.strip_prefix("description: "))?;
    text.trim().split_once('-').map(|(structure, whole)| (structure.to_string(), whole.to_string()))
}

/// The rows of what `show stat` prints, as fields by name.
fn rows(table: &str) -> Vec<BTreeMap<&str, &str>> {
    let mut lines = table.lines().filter(|line| !line.is_empty());
    let Some(names) = lines.next().map(|line| line.trim_start_matches("# ").split(',').collect::<Vec<&str>>()) else {
        return Vec::new();
    };
    lines.map(|line| names.iter().copied().zip(line.split(',')).collect()).collect()
}

fn servers(table: &str) -> BTreeMap<String, BTreeMap<String, ObservedServer>> {
    let mut servers: BTreeMap<String, BTreeMap<String, ObservedServer>> = BTreeMap::new();
    for row in rows(table) {
        let field = |name: &str| row.get(name).copied().unwrap_or_default();
        let (backend, server) = (field("pxname"), field("svname"));
        if !matches!(server, "FRONTEND" | "BACKEND") {
            let observed = ObservedServer {
                status: field("status").to_string(),
                weight: field("uweight").parse().unwrap_or(0),
                check: [field("check_status"), field("last_chk")].join(" ").trim().to_string(),
            };
            servers.entry(backend.to_string()).or_default().insert(server.to_string(), observed);
        }
    }
    servers
}

/// What a process has counted, by `frontend` or `backend/server`.
fn counted(table: &str) -> Totals {
    let mut totals = Totals::new();
    for row in rows(table) {
        let number = |name: &str| row.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        let (proxy, server) = (row.get("pxname").copied().unwrap_or_default(), row.get("svname").copied());
        let name = match server {
            Some("FRONTEND") => proxy.to_string(),
            Some("BACKEND") | None => continue,
            Some(server) => format!("{proxy}/{server}"),
        };
        let counted = Counted {
            sessions: number("stot"),
            requests: number("req_tot"),
            bytes_in: number("bin"),
            bytes_out: number("bout"),
            denied: number("dreq") + number("dcon") + number("dses"),
        };
        totals.insert(name, counted);
    }
    totals
}

impl std::ops::AddAssign for Counted {
    fn add_assign(&mut self, more: Counted) {
        self.sessions += more.sessions;
        self.requests += more.requests;
        self.bytes_in += more.bytes_in;
        self.bytes_out += more.bytes_out;
        self.denied += more.denied;
    }
}

/// What was counted since the router is there, or as long as its state directory lasts. The bytes of what an old process
/// still had under way are not in it.
pub fn totals(kernel: &dyn Kernel, directory: &Path, running: &Running) -> Totals {
    let table = match alive(kernel, running) {
        true => kernel.ask_socket(&directory.join(SOCKET), "show stat", ANSWER).unwrap_or_default(),
        false => String::new(),
    };
    added(running.before.clone(), counted(&table))
}

/// The difference between what should be and what is. `given` is what was put in place last: what differs from it has
/// been changed by somebody else.
pub fn plan(wanted: Option<&Wanted>, given: Option<&Wanted>, running: &Running, observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    let Some(wanted) = wanted else {
        if running.process.is_some() {
            plan.step = Step::Stop;
            plan.actions.push("stop haproxy".to_string());
        }
        return plan;
    };
    let ours = given.is_some_and(|given| given.rendered == wanted.rendered);
    let drift = |plan: &mut Plan, item: String, expected: &str, observed: &str| {
        if ours {
            let [expected, observed] = [expected, observed].map(str::to_string);
            plan.drift.push(DriftItem { section: LoadBalancerConfig::SECTION.to_string(), item, expected, observed });
        }
    };
    for name in wanted.pems.keys().filter(|name| !observed.pems.contains(*name)) {
        plan.pems.insert(name.clone());
        plan.actions.push(format!("write certificate {name}"));
        drift(&mut plan, format!("certificate {name}"), "as it was written", "other content, or absent");
    }
    let held = observed.configuration.as_deref();
    if held != Some(&wanted.configuration()) {
        plan.write = true;
        drift(&mut plan, "haproxy.cfg content".to_string(), "as rendered", "other content");
    }
    let (structure, _) = wanted.canary();
    plan.step = match &observed.serves {
        _ if !observed.alive => {
            drift(&mut plan, "haproxy process".to_string(), "running", "gone");
            Step::Start
        }
        None => {
            drift(&mut plan, "haproxy process".to_string(), "answering", "silent");
            Step::Renew
        }
        Some((serves, _)) if *serves != structure => {
            drift(&mut plan, "haproxy configuration".to_string(), &structure, serves);
            Step::Renew
        }
        Some(_) => tell(wanted, observed, &mut plan, &drift),
    };
    match plan.step {
        Step::Start => plan.actions.push("start haproxy".to_string()),
        Step::Renew => plan.actions.push("reload haproxy".to_string()),
        _ => {}
    }
    plan
}

/// How haproxy's servers become those that are wanted.
fn tell(wanted: &Wanted, observed: &Observed, plan: &mut Plan, drift: &dyn Fn(&mut Plan, String, &str, &str)) -> Step {
    let mut lines = Vec::new();
    let mut renew = false;
    let nothing = BTreeMap::new();
    for (name, backend) in &wanted.rendered.backends {
        let there = observed.servers.get(name).unwrap_or(&nothing);
        for (server, Server { address, weight }) in &backend.servers {
            let item = || format!("server {name}/{server}");
            match there.get(server) {
                None => {
                    drift(plan, item(), "there", "absent");
                    renew |= backend.cookies;
                    plan.actions.push(format!("add server {address} to {name}"));
                    let options = &backend.options;
                    lines.push(format!(
                        "add server {name}/{server} {address} weight {weight}{options}; enable server {name}/{server}; enable health {name}/{server}"
                    ));
                }
                Some(seen) => {
                    if seen.status.starts_with("MAINT") || seen.status.starts_with("DRAIN") && *weight > 0 {
                        drift(plan, item(), "in service", &seen.status);
                        plan.actions.push(format!("bring server {address} of {name} back"));
                        lines.push(format!("set server {name}/{server} state ready; enable health {name}/{server}"));
                    }
                    if seen.weight != u32::from(*weight) {
                        drift(plan, format!("weight of {}", item()), &weight.to_string(), &seen.weight.to_string());
                        plan.actions.push(format!("weight {weight} for server {address} of {name}"));
                        lines.push(format!("set server {name}/{server} weight {weight}"));
                    }
                }
            }
        }
        for (server, seen) in there.iter().filter(|(server, _)| !backend.servers.contains_key(*server)) {
            if !seen.status.starts_with("MAINT") {
                drift(plan, format!("server {name}/{server}"), "absent", &seen.status);
                plan.actions.push(format!("take server {server} out of {name}"));
                lines.push(out(name, server));
            }
        }
    }
    match (renew, lines.is_empty()) {
        (true, _) => Step::Renew,
        (false, true) => Step::Nothing,
        (false, false) => Step::Tell(lines),
    }
}

/// Nothing new comes to it; what is under way ends by itself, and then it can be forgotten.
fn out(backend: &str, server: &str) -> String {
    format!("set server {backend}/{server} state maint; del server {backend}/{server}")
}

/// Whether haproxy would take the configuration. Leaves nothing behind.
pub fn check(kernel: &dyn Kernel, directory: &Path, wanted: &Wanted, plan: &Plan) -> Result<(), KernelError> {
    // Certificates are looked at too: those that are not there yet are there for the moment of the check.
    let fresh = write_certificates(kernel, directory, wanted, &plan.pems)?;
    let checked = check_file(kernel, directory, wanted);
    fresh.iter().try_for_each(|path| kernel.remove(path))?;
    checked
}

fn check_file(kernel: &dyn Kernel, directory: &Path, wanted: &Wanted) -> Result<(), KernelError> {
    let candidate = directory.join("candidate.cfg");
    kernel.write(&candidate, wanted.configuration().as_bytes(), 0o600)?;
    let tested = kernel.run("haproxy", &["-c", "-f", &candidate.display().to_string()]);
    kernel.remove(&candidate)?;
    tested.map_err(|error| KernelError::new("check haproxy's configuration", complaint(&error.detail)))
}

/// The lines of haproxy's words that say why not.
fn complaint(words: &str) -> String {
    let alerts: Vec<&str> = words.lines().filter(|line| line.contains("[ALERT]")).map(str::trim).collect();
    if alerts.is_empty() { words.trim().to_string() } else { alerts.join("; ") }
}

fn write_certificates(
    kernel: &dyn Kernel,
    directory: &Path,
    wanted: &Wanted,
    names: &BTreeSet<String>,
) -> Result<Vec<PathBuf>, KernelError> {
    let mut written = Vec::new();
    for name in names {
        let Some(Some(pem)) = wanted.pems.get(name) else {
            return Err(KernelError::new(format!("write certificate {name}"), "its text is not here"));
        };
        let path = directory.join(name);
        kernel.write(&path, pem.text().as_bytes(), 0o600)?;
        written.push(path);
    }
    Ok(written)
}

/// The certificates that could not be put in place: neither is their file there, nor their text.
pub fn missing(kernel: &dyn Kernel, directory: &Path, config: &LoadBalancerConfig) -> bool {
    let is_there = |held: &switchback_appliance::CertificateConfig| {
        held.pem.is_some() || kernel.exists(&directory.join(load_balancer::certificate_file(held)))
    };
    !config.certificates.iter().all(is_there)
}

/// Carries the plan out; on success haproxy serves what is wanted, or is stopped where nothing is.
pub fn apply(
    kernel: &dyn Kernel,
    directory: &Path,
    plan: &Plan,
    wanted: Option<&Wanted>,
    running: &mut Running,
) -> Result<(), KernelError> {
    let Some(wanted) = wanted else { return stop(kernel, directory, running) };
    write_certificates(kernel, directory, wanted, &plan.pems)?;
    if plan.write {
        check_file(kernel, directory, wanted)?;
        kernel.write(&directory.join(CONFIGURATION), wanted.configuration().as_bytes(), 0o600)?;
    }
    match &plan.step {
        Step::Nothing | Step::Stop => {}
        Step::Start => start(kernel, directory, wanted, running)?,
        Step::Renew => renew(kernel, directory, wanted, running)?,
        Step::Tell(lines) => {
            let told = lines.iter().try_for_each(|line| tell_line(kernel, directory, line));
            if told.is_err() || !settled(kernel, directory, wanted) {
                renew(kernel, directory, wanted, running)?;
            }
        }
    }
    Ok(())
}

/// After all else is in place: certificates that nothing shows any more.
pub fn forget(kernel: &dyn Kernel, directory: &Path, before: Option<&Wanted>, wanted: Option<&Wanted>) {
    let kept = |name: &&String| wanted.is_some_and(|wanted| wanted.pems.contains_key(*name));
    for name in before.iter().flat_map(|before| before.pems.keys()).filter(|name| !kept(name)) {
        if let Err(error) = kernel.remove(&directory.join(name)) {
            tracing::warn!(%error, "a certificate that is not needed any more stays");
        }
    }
}

fn tell_line(kernel: &dyn Kernel, directory: &Path, line: &str) -> Result<(), KernelError> {
    kernel.ask_socket(&directory.join(SOCKET), line, ANSWER).map(|_| ())
}

/// Whether haproxy's servers are those wanted.
fn settled(kernel: &dyn Kernel, directory: &Path, wanted: &Wanted) -> bool {
    let Ok(table) = kernel.ask_socket(&directory.join(SOCKET), "show stat", ANSWER) else { return false };
    let observed = Observed { servers: servers(&table), ..Observed::default() };
    tell(wanted, &observed, &mut Plan::default(), &|_, _, _, _| {}) == Step::Nothing
}

/// What the process has found out of its servers goes on to the next.
fn hand_over(kernel: &dyn Kernel, directory: &Path, wanted: &Wanted) -> Result<(), KernelError> {
    let socket = directory.join(SOCKET);
    let states = kernel.ask_socket(&socket, "show servers state", ANSWER).unwrap_or_default();
    kernel.write(&directory.join(STATES), states_for(&states, wanted).as_bytes(), 0o600)
}

fn keep_totals(kernel: &dyn Kernel, directory: &Path, totals: &Totals) -> Result<(), KernelError> {
    let text = serde_json::to_vec(totals).map_err(|error| KernelError::new("keep what was counted", error))?;
    kernel.write(&directory.join(TOTALS), &text, 0o600)
}

/// The states of servers that stay, with the weights that are wanted and none out of service: those are the
/// configuration's, health alone is the process's.
fn states_for(states: &str, wanted: &Wanted) -> String {
    const ADMIN_STATE: usize = 6;
    const WEIGHTS: [usize; 2] = [7, 8];
    let mut lines = states.lines();
    let mut text = String::new();
    for line in lines.by_ref().take(2) {
        let _ = writeln!(text, "{line}");
    }
    for line in lines {
        let mut fields: Vec<String> = line.split(' ').map(str::to_string).collect();
        let (Some(backend), Some(server)) = (fields.get(1), fields.get(3)) else { continue };
        let backend: Option<&Backend> = wanted.rendered.backends.get(backend);
        let Some(server) = backend.and_then(|backend| backend.servers.get(server)) else { continue };
        if fields.len() > WEIGHTS[1] {
            WEIGHTS.iter().for_each(|at| fields[*at] = server.weight.to_string());
            fields[ADMIN_STATE] = "0".to_string();
            let _ = writeln!(text, "{}", fields.join(" "));
        }
    }
    text
}

fn start(kernel: &dyn Kernel, directory: &Path, wanted: &Wanted, running: &mut Running) -> Result<(), KernelError> {
    end(kernel, directory, running)?;
    if !kernel.exists(&directory.join(STATES)) {
        kernel.write(&directory.join(STATES), b"1\n", 0o600)?;
    }
    let log = directory.join(LOG);
    kernel.remove(&log)?;
    let configuration = directory.join(CONFIGURATION).display().to_string();
    let spawn = Spawn {
        program: PathBuf::from("haproxy"),
        args: vec!["-W".to_string(), "-f".to_string(), configuration],
        log,
        survives: true,
        ..Spawn::default()
    };
    let process = kernel.spawn(&spawn)?;
    running.process = Some(process);
    let note = serde_json::to_vec(&process).map_err(|error| KernelError::new("note haproxy's process", error))?;
    kernel.write(&directory.join(PROCESS), &note, 0o600)?;
    let started = wait_for_canary(kernel, directory, wanted, process, 0);
    if started.is_err() {
        end(kernel, directory, running)?;
    }
    started
}

/// A new worker takes the sockets over from the old one, which goes on with the connections that it has.
fn renew(kernel: &dyn Kernel, directory: &Path, wanted: &Wanted, running: &mut Running) -> Result<(), KernelError> {
    let Some(process) = running.process.filter(|process| kernel.alive(process)) else {
        return start(kernel, directory, wanted, running);
    };
    hand_over(kernel, directory, wanted)?;
    // As long as somebody talks to the old worker it is there to be asked what it has counted.
    let mut old = kernel.talk(&directory.join(SOCKET), ANSWER).ok();
    let before = totals(kernel, directory, running);
    let said = kernel.read(&directory.join(LOG))?.unwrap_or_default().len();
    kernel.tell(&process, Tell::Renew)?;
    wait_for_canary(kernel, directory, wanted, process, said)?;
    running.before = match old.as_mut().and_then(last_count) {
        Some(last) => added(running.before.clone(), last),
        None => before,
    };
    keep_totals(kernel, directory, &running.before)
}

/// What an old worker has counted when nothing new comes to it any more.
fn last_count(old: &mut Box<dyn Talk>) -> Option<Totals> {
    let deadline = Instant::now() + ANSWER;
    while !old.ask("show info").ok()?.lines().any(|line| line == "Stopping: 1") && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    Some(counted(&old.ask("show stat").ok()?))
}

fn added(mut totals: Totals, more: Totals) -> Totals {
    more.into_iter().for_each(|(name, more)| *totals.entry(name).or_default() += more);
    totals
}

fn wait_for_canary(
    kernel: &dyn Kernel,
    directory: &Path,
    wanted: &Wanted,
    process: ProcessId,
    said: usize,
) -> Result<(), KernelError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let information = kernel.ask_socket(&directory.join(SOCKET), "show info", ANSWER);
        if information.is_ok_and(|information| description(&information) == Some(wanted.canary())) {
            return Ok(());
        }
        let gone = !kernel.alive(&process);
        let log = kernel.read(&directory.join(LOG))?.unwrap_or_default();
        let news = log.get(said..).unwrap_or_default();
        if gone || news.contains("Loading failure") {
            return Err(KernelError::new("run haproxy", complaint(news)));
        }
        if Instant::now() > deadline {
            return Err(KernelError::new("wait for haproxy to serve the new configuration", "the old one is served"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The haproxy that an agent before this one has left, if it still runs, and what was counted.
pub fn find(kernel: &dyn Kernel, directory: &Path) -> Result<Running, KernelError> {
    let noted = kernel.read(&directory.join(PROCESS))?.and_then(|text| serde_json::from_str::<ProcessId>(&text).ok());
    let before = kernel.read(&directory.join(TOTALS))?.and_then(|text| serde_json::from_str(&text).ok());
    Ok(Running { process: noted.filter(|process| kernel.alive(process)), before: before.unwrap_or_default() })
}

/// Stops haproxy and removes what is left of it but what was counted.
pub fn stop(kernel: &dyn Kernel, directory: &Path, running: &mut Running) -> Result<(), KernelError> {
    if running.process.is_some() {
        running.before = totals(kernel, directory, running);
        keep_totals(kernel, directory, &running.before)?;
    }
    end(kernel, directory, running)?;
    [CONFIGURATION, STATES].iter().try_for_each(|name| kernel.remove(&directory.join(name)))
}

fn end(kernel: &dyn Kernel, directory: &Path, running: &mut Running) -> Result<(), KernelError> {
    if let Some(process) = running.process.take() {
        kernel.tell(&process, Tell::Stop)?;
        if !kernel.wait_gone(&process, Duration::from_secs(2)) {
            kernel.tell(&process, Tell::Kill)?;
            if !kernel.wait_gone(&process, PATIENCE) {
                return Err(KernelError::new("stop haproxy", "it does not die"));
            }
        }
    }
    kernel.remove(&directory.join(PROCESS))
}

/// Whether the process runs.
pub fn alive(kernel: &dyn Kernel, running: &Running) -> bool {
    running.process.is_some_and(|process| kernel.alive(&process))
}

/// How many of the servers are well, by backend, for the report of health.
pub fn summary(observed: &Observed) -> String {
    let all: Vec<&ObservedServer> = observed.servers.values().flat_map(BTreeMap::values).collect();
    let up = all.iter().filter(|server| server.status.starts_with("UP") || server.status == "no check").count();
    format!("serves the configuration in force; {up} of {} servers are up", all.len())
}
