//! The one dnsmasq of a router, which [`super::dhcp`] and [`super::dns`] are parts of.
//!
//! Clients and names are in files that SIGHUP makes it read again; anything else is in its configuration
//! file and needs a restart. Every set of files carries a **canary**: a name whose IPv6 address is a digest
//! of all of them, and an option of DHCP with the same for a client that only the agent is. When dnsmasq answers with
//! it, dnsmasq serves exactly these files; nothing waits by guess.
//!
//! **Invariant:** the old process is gone before a new one starts; a new configuration passed `--test` before
//! it replaced the old one.

use super::{dhcp, dns};
use crate::kernel::{Kernel, KernelError, ProcessId, Spawn, Tell};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use switchback_appliance::{DhcpConfig, DriftItem, RouterNic, Sections, digest};

/// The name that tells which files dnsmasq serves.
pub const CANARY: &str = "revision.switchback.internal";
const CANARY_FILE: &str = "canary";
const CONFIGURATION: &str = "dnsmasq.conf";
const LOG: &str = "dnsmasq.log";
const PROCESS: &str = "dnsmasq.process";
const PATIENCE: Duration = Duration::from_secs(5);
/// What does not answer the agent for so long serves nobody.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

/// All that dnsmasq should be given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The configuration file.
    pub configuration: String,
    /// The files that it reads again on SIGHUP, by name.
    pub files: BTreeMap<String, String>,
    /// The address of [`CANARY`].
    pub canary: Ipv6Addr,
    /// Where it can be asked.
    pub server: IpAddr,
}

/// An interface that is served, and how it can be seen that it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    /// The interface.
    pub interface: String,
    /// Where its name server is asked.
    pub server: IpAddr,
    /// Where its DHCP server is asked, where it has one of IPv4.
    pub dhcp: Option<Ipv4Addr>,
}

/// A dnsmasq that was started, and what it was given last.
#[derive(Clone, Debug)]
pub struct Running {
    /// The process.
    pub process: ProcessId,
    /// What it serves.
    pub serves: Wanted,
}

/// What is there.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Observed {
    /// The process runs.
    pub alive: bool,
    /// Files by name, as far as they are there.
    pub files: BTreeMap<String, String>,
}

/// What to do with the process.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[allow(missing_docs)]
pub enum Step {
    #[default]
    Nothing,
    Start,
    Restart,
    Reload,
    Stop,
}

/// What has to change.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Plan {
    /// Names of files to write.
    pub write: BTreeSet<String>,
    /// Names of files to remove.
    pub remove: BTreeSet<String>,
    /// The process.
    pub step: Step,
    /// Lines for the section `dhcp`.
    pub dhcp: Vec<String>,
    /// Lines for the section `dns`.
    pub dns: Vec<String>,
    /// What is not as it was left.
    pub drift: Vec<DriftItem>,
}

impl Plan {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.step == Step::Nothing && self.write.is_empty() && self.remove.is_empty()
    }
}

/// The interfaces with DHCP, and all that are served.
fn interfaces(sections: &Sections) -> (BTreeSet<&String>, BTreeSet<&String>) {
    let of_ipv4 = sections.dhcp.networks.iter().map(|network| &network.interface);
    let of_ipv6 = sections.dhcp.networks6.iter().map(|network| &network.interface);
    let with_dhcp: BTreeSet<&String> = of_ipv4.chain(of_ipv6).collect();
    let all = with_dhcp.iter().copied().chain(&sections.dns.interfaces).collect();
    (with_dhcp, all)
}

/// How it can be seen that dnsmasq serves; empty where it serves nobody.
pub fn probes(sections: &Sections) -> Vec<Probe> {
    let (_, served) = interfaces(sections);
    let probe = |nic: &RouterNic| {
        let server = nic.addresses.first()?.addr();
        let network = sections.dhcp.networks.iter().find(|network| network.interface == nic.name);
        Some(Probe { interface: nic.name.clone(), server, dhcp: network.map(|network| network.server) })
    };
    sections.interfaces.nics.iter().filter(|nic| served.contains(&nic.name)).filter_map(probe).collect()
}

/// Asks as a guest would, at every interface: does it answer, and for what it was given last? The first thing that is
/// wrong, in words.
pub fn ask(kernel: &dyn Kernel, probes: &[Probe], canary: Ipv6Addr) -> Result<(), String> {
    for Probe { interface, server, dhcp } in probes {
        let question = format!("the DNS question for {CANARY} at {server} ({interface})");
        match kernel.ask_dns(*server, CANARY, PROBE_PATIENCE) {
            Ok(Some(found)) if found == canary => {}
            Ok(_) => return Err(format!("{question} is answered for another configuration")),
            Err(error) => return Err(format!("{question} is not answered: {}", error.detail)),
        }
        let Some(server) = dhcp else { continue };
        let question = format!("the DHCP question at {server} ({interface})");
        match kernel.ask_dhcp(interface, *server, dhcp::PROBE, dhcp::PROBE_OPTION, PROBE_PATIENCE) {
            Ok(Some(told)) if told == told_by_dhcp(canary) => {}
            Ok(_) => return Err(format!("{question} is answered for another configuration")),
            Err(error) => return Err(format!("{question} is not answered: {}", error.detail)),
        }
    }
    Ok(())
}

/// The canary as the option of DHCP has it.
fn told_by_dhcp(canary: Ipv6Addr) -> String {
    format!("{:032x}", u128::from(canary))
}

/// What dnsmasq should be given; nothing where no interface is served.
pub fn render(sections: &Sections, directory: &Path) -> Option<Wanted> {
    let (dhcp_interfaces, interfaces) = interfaces(sections);
    let served = || sections.interfaces.nics.iter().filter(|nic| interfaces.contains(&nic.name));
    let server = served().find_map(|nic| nic.addresses.first())?.addr();
    let mut text = String::from("port=53\nuser=root\nlog-facility=-\nbind-dynamic\nexcept-interface=lo\n");
    let _ = writeln!(text, "pid-file={}", directory.join("dnsmasq.pid").display());
    for nic in served() {
        // The addresses are there so that others mean another configuration, and so a restart.
        let interface = &nic.name;
        let addresses: Vec<String> = nic.addresses.iter().map(|net| net.addr().to_string()).collect();
        let _ = writeln!(text, "interface={interface}\n# {interface} has {}", addresses.join(" and "));
        if !dhcp_interfaces.contains(interface) {
            let _ = writeln!(text, "no-dhcp-interface={interface}");
        }
    }
    let _ = writeln!(text, "local=/switchback.internal/\naddn-hosts={}", directory.join(CANARY_FILE).display());
    text.push_str(&dns::render(&sections.dns, &sections.dhcp, directory));
    text.push_str(&dhcp::render(&sections.dhcp, directory));
    let mut files = dhcp::files(&sections.dhcp);
    files.insert(dns::NAMES.to_string(), dns::names(&sections.dns));
    let canary = canary(&text, &files);
    files.insert(CANARY_FILE.to_string(), format!("{canary} {CANARY}\n"));
    if !sections.dhcp.networks.is_empty() {
        files.insert(dhcp::PROBE_FILE.to_string(), dhcp::probe(&told_by_dhcp(canary)));
    }
    Some(Wanted { configuration: text, files, canary, server })
}

/// A unique local address made of a digest.
fn canary(configuration: &str, files: &BTreeMap<String, String>) -> Ipv6Addr {
    let digest = u128::from_str_radix(&digest(&(configuration, files))[..16], 16).unwrap_or_default();
    Ipv6Addr::from(0xfd73_7762_u128 << 96 | digest)
}

/// Looks at the process and the files.
pub fn observe(
    kernel: &dyn Kernel,
    directory: &Path,
    running: Option<&Running>,
    wanted: Option<&Wanted>,
) -> Result<Observed, KernelError> {
    let mut files = BTreeMap::new();
    let names = wanted.map(|wanted| wanted.files.keys()).into_iter().flatten().map(String::as_str);
    for name in names.chain([CONFIGURATION]) {
        if let Some(text) = kernel.read(&directory.join(name))? {
            files.insert(name.to_string(), text);
        }
    }
    Ok(Observed { alive: running.is_some_and(|running| kernel.alive(&running.process)), files })
}

/// The difference between what should be, what was given to the process, and what is.
pub fn plan(wanted: Option<&Wanted>, running: Option<&Running>, observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    let Some(wanted) = wanted else {
        if running.is_some() {
            plan.step = Step::Stop;
            plan.dhcp.push("stop dnsmasq".to_string());
            plan.dns.push("stop dnsmasq".to_string());
        }
        return plan;
    };
    let serves = running.map(|running| &running.serves);
    for (name, text) in &wanted.files {
        let held = observed.files.get(name);
        let given = serves.and_then(|serves| serves.files.get(name));
        if held == Some(text) && given == Some(text) {
            continue;
        }
        plan.write.insert(name.clone());
        let section = if name.starts_with(dhcp::HOSTS_PREFIX) { "dhcp" } else { "dns" };
        if given == Some(text) {
            let expected = format!("{} lines", text.lines().count());
            let observed = held.map_or("absent".to_string(), |held| format!("{} lines", held.lines().count()));
            plan.drift.push(drift(section, "hosts file content", &expected, &format!("other content, {observed}")));
        }
        if name != CANARY_FILE && name != dhcp::PROBE_FILE {
            let lines = if section == "dhcp" { &mut plan.dhcp } else { &mut plan.dns };
            lines.push(format!("write {name}: {} entries", text.lines().count()));
        }
    }
    if let Some(serves) = serves {
        plan.remove = serves.files.keys().filter(|name| !wanted.files.contains_key(*name)).cloned().collect();
    }
    let same_configuration = serves.is_some_and(|serves| serves.configuration == wanted.configuration);
    let configuration_held = observed.files.get(CONFIGURATION) == Some(&wanted.configuration);
    if !same_configuration || !configuration_held {
        plan.write.insert(CONFIGURATION.to_string());
    }
    if same_configuration && !configuration_held {
        plan.drift.push(drift("dns", "dnsmasq.conf content", "as rendered", "other content"));
    }
    plan.step = match (observed.alive, running.is_some()) {
        (false, _) => Step::Start,
        _ if !same_configuration => Step::Restart,
        _ if !plan.write.is_empty() => Step::Reload,
        _ => Step::Nothing,
    };
    if running.is_some() && !observed.alive {
        for section in ["dhcp", "dns"] {
            plan.drift.push(drift(section, "dnsmasq process", "running", "gone"));
        }
    }
    let process = match plan.step {
        Step::Start => "start dnsmasq",
        Step::Restart => "restart dnsmasq",
        _ => return plan,
    };
    plan.dhcp.push(process.to_string());
    plan.dns.push(process.to_string());
    plan
}

fn drift(section: &str, item: &str, expected: &str, observed: &str) -> DriftItem {
    let [section, item, expected, observed] = [section, item, expected, observed].map(str::to_string);
    DriftItem { section, item, expected, observed }
}

/// Whether dnsmasq would take the configuration. Leaves nothing behind.
pub fn check(kernel: &dyn Kernel, directory: &Path, wanted: &Wanted) -> Result<(), KernelError> {
    let candidate = directory.join("candidate.conf");
    kernel.write(&candidate, wanted.configuration.as_bytes(), 0o600)?;
    let tested = kernel.run("dnsmasq", &["--test", &format!("--conf-file={}", candidate.display())]);
    kernel.remove(&candidate)?;
    tested
}

/// Carries the plan out; on success dnsmasq serves what is wanted, or is stopped where nothing is. Without
/// anything to do it is asked all the same: one that does not answer is started again.
pub fn apply(
    kernel: &dyn Kernel,
    directory: &Path,
    plan: &Plan,
    wanted: Option<&Wanted>,
    clients: &DhcpConfig,
    running: &mut Option<Running>,
) -> Result<(), KernelError> {
    let Some(wanted) = wanted else {
        return stop(kernel, directory, running);
    };
    if let (true, Some(running)) = (plan.is_empty(), running.as_ref())
        && wait_for_canary(kernel, directory, running, Duration::from_secs(1)).is_ok()
    {
        return Ok(());
    }
    if plan.write.contains(CONFIGURATION) {
        check(kernel, directory, wanted)?;
    }
    for name in &plan.write {
        let text = if name == CONFIGURATION { &wanted.configuration } else { &wanted.files[name] };
        kernel.write(&directory.join(name), text.as_bytes(), 0o600)?;
    }
    let reloaded = match (&mut *running, plan.step) {
        (Some(running), Step::Reload) => {
            running.serves = wanted.clone();
            reload(kernel, directory, clients, running)?
        }
        _ => false,
    };
    if !reloaded {
        stop(kernel, directory, running)?;
        *running = Some(start(kernel, directory, clients, wanted)?);
    }
    plan.remove.iter().try_for_each(|name| kernel.remove(&directory.join(name)))
}

/// `false` where only a restart gets rid of stale leases.
fn reload(kernel: &dyn Kernel, directory: &Path, clients: &DhcpConfig, running: &Running) -> Result<bool, KernelError> {
    kernel.tell(&running.process, Tell::Reload)?;
    wait_for_canary(kernel, directory, running, PATIENCE)?;
    let file = directory.join(dhcp::LEASES);
    let stale = || Ok(dhcp::stale(clients, dhcp::leases(&kernel.read(&file)?.unwrap_or_default())));
    for lease in stale()? {
        let (IpAddr::V4(ip), Some(mac)) = (lease.ip, lease.mac) else { return Ok(false) };
        let Some(network) = dhcp::network_of(clients, ip) else { return Ok(false) };
        kernel.release_lease(&network.interface, network.server, ip, mac)?;
    }
    let deadline = Instant::now() + Duration::from_millis(500);
    while !stale()?.is_empty() {
        if Instant::now() > deadline {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(true)
}

fn start(kernel: &dyn Kernel, directory: &Path, clients: &DhcpConfig, wanted: &Wanted) -> Result<Running, KernelError> {
    let leases = directory.join(dhcp::LEASES);
    if let Some(text) = kernel.read(&leases)? {
        kernel.write(&leases, dhcp::prune(clients, &text).as_bytes(), 0o600)?;
    }
    let log = directory.join(LOG);
    kernel.remove(&log)?;
    let configuration = directory.join(CONFIGURATION);
    let spawn = Spawn {
        program: PathBuf::from("dnsmasq"),
        args: vec!["--keep-in-foreground".to_string(), format!("--conf-file={}", configuration.display())],
        log,
        ..Spawn::default()
    };
    let process = kernel.spawn(&spawn)?;
    let note = serde_json::to_vec(&process).map_err(|error| KernelError::new("note dnsmasq's process", error))?;
    kernel.write(&directory.join(PROCESS), &note, 0o600)?;
    let running = Running { process, serves: wanted.clone() };
    match wait_for_canary(kernel, directory, &running, PATIENCE) {
        Ok(()) => Ok(running),
        Err(error) => {
            kernel.tell(&process, Tell::Kill)?;
            kernel.wait_gone(&process, PATIENCE);
            Err(error)
        }
    }
}

/// Stops dnsmasq, also one that an agent before this one has left, and waits for it to be gone.
pub fn stop(kernel: &dyn Kernel, directory: &Path, running: &mut Option<Running>) -> Result<(), KernelError> {
    let note = directory.join(PROCESS);
    let noted = kernel.read(&note)?.and_then(|text| serde_json::from_str::<ProcessId>(&text).ok());
    for process in running.take().map(|running| running.process).into_iter().chain(noted) {
        kernel.tell(&process, Tell::Stop)?;
        if !kernel.wait_gone(&process, Duration::from_secs(2)) {
            kernel.tell(&process, Tell::Kill)?;
            if !kernel.wait_gone(&process, PATIENCE) {
                return Err(KernelError::new("stop dnsmasq", "it does not die"));
            }
        }
    }
    kernel.remove(&note)
}

fn wait_for_canary(
    kernel: &dyn Kernel,
    directory: &Path,
    running: &Running,
    patience: Duration,
) -> Result<(), KernelError> {
    let deadline = Instant::now() + patience;
    loop {
        let answer = kernel.ask_dns(running.serves.server, CANARY, Duration::from_millis(300));
        if answer.as_ref().is_ok_and(|answer| *answer == Some(running.serves.canary)) {
            return Ok(());
        }
        if !kernel.alive(&running.process) {
            let log = kernel.read(&directory.join(LOG))?.unwrap_or_default();
            let last = log.lines().last().unwrap_or("it ended without a word").to_string();
            return Err(KernelError::new("run dnsmasq", last));
        }
        if Instant::now() > deadline {
            return Err(KernelError::new("wait for dnsmasq to serve the new files", format!("{answer:?}")));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
