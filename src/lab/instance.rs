//! One running lab: starts it, knows its parts, removes it.

use super::{
    Api, fabric,
    name::*,
    netns,
    poll::{Deadline, poll},
    process::{self, Started},
};
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

/// What the name of a router's namespace has before the end of its uuid.
const ROUTER: &str = "-vr-";

/// The programs that a lab needs, each with its Debian package.
const PROGRAMS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("dnsmasq", "dnsmasq-base"),
    ("busybox", "busybox"),
    ("udhcpc", "udhcpc"),
    ("rdisc6", "ndisc6"),
    ("dhclient", "isc-dhcp-client"),
    ("nsenter", "util-linux"),
    ("setsid", "util-linux"),
    ("timeout", "coreutils"),
];

/// What a lab should be.
#[derive(Clone, Debug)]
pub struct LabOptions {
    /// Its name.
    pub name: LabName,
    /// How many hosts, 1 to [`HOSTS_MAX`].
    pub hosts: u8,
    /// The port of the server's API on 127.0.0.1; 8080 or, where that is taken, any when not given.
    pub port: Option<u16>,
    /// The `switchback` binary.
    pub binary: PathBuf,
}

/// What a lab writes down of itself, for the commands that come later.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Record {
    name: String,
    hosts: u8,
    port: u16,
    binary: PathBuf,
    /// The lab is complete, and nobody else's to remove.
    ready: bool,
    /// The process that builds it or tests with it.
    owner: Started,
    processes: Vec<Started>,
}

/// A running lab. It is removed when this is dropped, unless it was [kept](Lab::keep).
pub struct Lab {
    name: LabName,
    record: Record,
    children: BTreeMap<i32, Child>,
    api: Option<Api>,
    keep: bool,
}

/// A VM of the lab, as its host's agent wrote it down.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Machine {
    /// The VM's name.
    pub name: String,
    /// Its uuid.
    pub uuid: String,
    /// A process inside.
    pub pid: i32,
    /// The host that it is on, counted from 1.
    #[serde(skip)]
    pub host: u8,
}

impl Lab {
    /// Builds the wires, starts the server and the hosts' agents. There is no zone yet, nor anything else.
    ///
    /// # Errors
    /// A lab of that name that is in use, a program that is missing, or anything that did not start: with the end
    /// of its log. What was made is removed again.
    pub fn up(options: &LabOptions) -> anyhow::Result<Lab> {
        requirements()?;
        if !(1..=HOSTS_MAX).contains(&options.hosts) {
            bail!("hosts = `{}`: a lab has 1 to {HOSTS_MAX}", options.hosts);
        }
        if let Ok(lab) = Lab::open(&options.name)
            && (lab.record.ready && lab.process("server").is_some_and(Started::runs) || lab.record.owner.runs())
        {
            bail!(
                "the lab `{}` runs already\nhint: `switchback lab down --name {}`, or another --name",
                lab.name,
                lab.name
            );
        }
        Lab::sweep(&options.name)?;
        let record = Record {
            name: options.name.to_string(),
            hosts: options.hosts,
            port: free_port(options.port)?,
            binary: options.binary.clone(),
            ready: false,
            owner: Started::this(),
            processes: vec![],
        };
        let mut lab = Lab { name: options.name.clone(), record, children: BTreeMap::new(), api: None, keep: false };
        lab.build().map_err(|error| lab.explain(error))?;
        Ok(lab)
    }

    fn build(&mut self) -> anyhow::Result<()> {
        let state = self.name.state_dir();
        for dir in [state.clone(), state.join("logs"), state.join("data")] {
            poll(&format!("`{}` to be made", dir.display()), Deadline::seconds(1), || {
                // Another lab that ends takes the common directory with it when that is empty.
                let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
                Ok(made.map_err(|error| error.to_string()))
            })?;
        }
        self.save()?;
        fabric::build(&self.name, self.record.hosts)?;
        self.start_internet()?;
        self.start_server()?;
        for host in 1..=self.record.hosts {
            self.start_host(host)?;
        }
        for host in 1..=self.record.hosts {
            self.wait_for_agent(host)?;
        }
        Ok(())
    }

    /// The lab that another process started. Dropping it leaves it as it is.
    pub fn open(name: &LabName) -> anyhow::Result<Lab> {
        let file = name.state_dir().join("lab.json");
        let text =
            std::fs::read(&file).with_context(|| format!("there is no lab `{name}`: read `{}`", file.display()))?;
        let record: Record = serde_json::from_slice(&text).with_context(|| format!("read `{}`", file.display()))?;
        Ok(Lab { name: name.clone(), record, children: BTreeMap::new(), api: None, keep: true })
    }

    /// The lab goes on when this process ends.
    pub fn keep(mut self) -> anyhow::Result<()> {
        self.record.ready = true;
        self.record.owner.start_time = 0;
        self.save()?;
        self.keep = true;
        Ok(())
    }

    /// Removes the lab, and says what would not go.
    pub fn down(mut self) -> anyhow::Result<()> {
        self.keep = true;
        self.remove()
    }

    fn remove(&mut self) -> anyhow::Result<()> {
        let done = Lab::sweep(&self.name);
        for (_, mut child) in std::mem::take(&mut self.children) {
            // Killed above; taken from the process table here.
            let _ = child.wait();
        }
        done
    }

    /// Removes all that a lab of this name left: processes, namespaces, files. Nothing there is a success.
    pub fn sweep(name: &LabName) -> anyhow::Result<()> {
        let recorded = Lab::open(name).map(|lab| lab.record.processes.clone()).unwrap_or_default();
        // Agents start processes and make namespaces until they are gone, so look again until there is nothing.
        poll(&format!("the lab `{name}` to be gone"), Deadline::seconds(20), || {
            let pids = process::of_lab(name, &recorded);
            for pid in &pids {
                process::kill_hard(*pid);
            }
            if !pids.is_empty() {
                return Ok(Err(format!("the processes {pids:?}")));
            }
            let namespaces = netns::of_lab(name);
            for namespace in &namespaces {
                netns::remove(namespace)?;
            }
            if !namespaces.is_empty() {
                return Ok(Err(format!("the namespaces {namespaces:?}")));
            }
            match std::fs::remove_dir_all(name.state_dir()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Ok(Err(error.to_string())),
                _ => Ok(Ok(())),
            }
        })?;
        // Only the last lab takes the common directory with it.
        let _ = std::fs::remove_dir(STATE_ROOT);
        Ok(())
    }

    /// What there is of a lab of this name: nothing, after [`Lab::sweep`].
    pub fn leftovers(name: &LabName) -> Vec<String> {
        let mut left = netns::of_lab(name);
        left.extend(process::of_lab(name, &[]).iter().map(|pid| format!("process {pid}: {}", command_line(*pid))));
        if name.state_dir().exists() {
            left.push(name.state_dir().display().to_string());
        }
        left
    }

    /// Its name.
    pub fn name(&self) -> &LabName {
        &self.name
    }

    /// How many hosts.
    pub fn hosts(&self) -> u8 {
        self.record.hosts
    }

    /// The server's data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.name.state_dir().join("data")
    }

    /// The state directory of the agent of a host.
    pub fn host_dir(&self, host: u8) -> PathBuf {
        self.name.state_dir().join(format!("host{host}"))
    }

    /// Where the server's API is.
    pub fn server_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.record.port)
    }

    /// The server's API.
    pub fn api(&mut self) -> anyhow::Result<Api> {
        if let Some(api) = &self.api {
            return Ok(api.clone());
        }
        let file = self.data_dir().join("admin.token");
        let token = std::fs::read_to_string(&file).with_context(|| format!("read `{}`", file.display()))?;
        // The server makes the file before it writes to it.
        anyhow::ensure!(!token.trim().is_empty(), "`{}` is empty", file.display());
        let api = Api::new(self.server_url(), token)?;
        self.api = Some(api.clone());
        Ok(api)
    }

    fn process(&self, what: &str) -> Option<&Started> {
        self.record.processes.iter().find(|started| started.what == what)
    }

    /// What the lab started, and whether it still runs.
    pub fn processes(&self) -> Vec<(String, i32, bool)> {
        let shown = |started: &Started| (started.what.clone(), started.pid, started.runs());
        self.record.processes.iter().map(shown).collect()
    }

    /// Its namespaces.
    pub fn namespaces(&self) -> Vec<String> {
        netns::of_lab(&self.name)
    }

    fn start_internet(&mut self) -> anyhow::Result<()> {
        let inet = self.name.namespace("inet");
        let pid_file = self.name.state_dir().join("internet-dns.pid");
        let dns = [
            "--keep-in-foreground".to_string(),
            "--conf-file=/dev/null".to_string(),
            "--no-resolv".to_string(),
            "--no-hosts".to_string(),
            "--bind-interfaces".to_string(),
            format!("--listen-address={INTERNET_DNS}"),
            format!("--host-record={INTERNET_NAME},{INTERNET_WEB}"),
            "--user=root".to_string(),
            "--group=root".to_string(),
            "--log-facility=-".to_string(),
            format!("--pid-file={}", pid_file.display()),
        ];
        self.start("internet-dns", Some(&inet), Path::new("dnsmasq"), &dns)?;
        let web = ["lab".to_string(), "internet".to_string(), format!("{INTERNET_WEB}:80")];
        let binary = self.record.binary.clone();
        self.start("internet-web", Some(&inet), &binary, &web)
    }

    /// Starts the server, and waits until it is ready.
    pub fn start_server(&mut self) -> anyhow::Result<()> {
        let arguments = [
            "serve".to_string(),
            "--data".to_string(),
            self.data_dir().display().to_string(),
            "--listen".to_string(),
            format!("127.0.0.1:{}", self.record.port),
            "--agent-netns".to_string(),
            self.name.namespace("ctl"),
        ];
        let binary = self.record.binary.clone();
        self.start("server", None, &binary, &arguments)?;
        poll("the server to be ready", Deadline::seconds(30), || {
            if !self.process("server").is_some_and(Started::runs) {
                bail!("expected the server to run, but it ended");
            }
            let asked = self.api().map_err(|error| format!("{error:#}"));
            Ok(asked.and_then(|api| api.get("/readyz", &[]).map_err(|error| error.to_string())).map(|_| ()))
        })
    }

    /// From now on what is started is this binary.
    pub fn set_binary(&mut self, binary: &Path) {
        self.record.binary = binary.to_path_buf();
    }

    /// Kills the server with SIGKILL, and waits until it is gone.
    pub fn kill_server(&mut self) -> anyhow::Result<()> {
        self.kill("server")
    }

    /// Kills a process that the lab started, and waits until it is gone.
    pub fn kill(&mut self, what: &str) -> anyhow::Result<()> {
        let started = self.process(what).with_context(|| format!("the lab has no process `{what}`"))?.clone();
        process::kill_hard(started.pid);
        if let Some(mut child) = self.children.remove(&started.pid) {
            child.wait().with_context(|| format!("wait for `{what}`"))?;
        }
        let gone = || Ok(if started.runs() { Err("it runs".to_string()) } else { Ok(()) });
        poll(&format!("`{what}` to be gone"), Deadline::seconds(5), gone)
    }

    fn start_host(&mut self, host: u8) -> anyhow::Result<()> {
        let address = host_address(host);
        let token = self.api()?.agent_token(address)?;
        let dir = self.host_dir(host);
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.with_context(|| format!("make `{}`", dir.display()))?;
        let token_file = self.name.state_dir().join(format!("host{host}.token"));
        std::fs::write(&token_file, token).with_context(|| format!("write `{}`", token_file.display()))?;
        std::fs::set_permissions(&token_file, std::fs::Permissions::from_mode(0o600))?;
        let arguments = [
            "agent".to_string(),
            "host".to_string(),
            "--listen".to_string(),
            format!("{address}:{HOST_AGENT_PORT}"),
            "--token-file".to_string(),
            token_file.display().to_string(),
            "--state-dir".to_string(),
            dir.display().to_string(),
            "--prefix".to_string(),
            // Hosts of the lab share one kernel, and a router may be on two of them for a moment.
            self.name.namespace(&format!("h{host}")),
        ];
        let what = format!("host{host}");
        let binary = self.record.binary.clone();
        self.start(&what, Some(&self.name.namespace(&what)), &binary, &arguments)
    }

    /// Kills the agent of a host with SIGKILL and starts it again. What it runs goes on meanwhile.
    pub fn restart_host(&mut self, host: u8) -> anyhow::Result<()> {
        self.kill(&format!("host{host}"))?;
        self.start_host(host)?;
        self.wait_for_agent(host)
    }

    fn wait_for_agent(&self, host: u8) -> anyhow::Result<()> {
        let what = format!("host{host}");
        let address = SocketAddr::from((host_address(host), HOST_AGENT_PORT));
        poll(&format!("the agent of {what} to listen on {address}"), Deadline::seconds(20), || {
            if !self.process(&what).is_some_and(Started::runs) {
                bail!("expected the agent of {what} to run, but it ended");
            }
            let control = netns::path(&self.name.namespace("ctl"));
            let reached = netns::within(&control, || TcpStream::connect_timeout(&address, Duration::from_secs(1)))?;
            Ok(reached.map(|_| ()).map_err(|error| error.to_string()))
        })
    }

    fn start(
        &mut self,
        what: &str,
        namespace: Option<&str>,
        program: &Path,
        arguments: &[String],
    ) -> anyhow::Result<()> {
        let log = self.log(what);
        let (started, child) = process::start(&self.name, what, namespace, program, arguments, &log)?;
        self.children.insert(started.pid, child);
        self.record.processes.retain(|other| other.what != what);
        self.record.processes.push(started);
        self.save()
    }

    fn save(&self) -> anyhow::Result<()> {
        let file = self.name.state_dir().join("lab.json");
        let new = file.with_extension("new");
        let text = serde_json::to_vec_pretty(&self.record).context("write down the lab")?;
        std::fs::write(&new, text).with_context(|| format!("write `{}`", new.display()))?;
        std::fs::rename(&new, &file).with_context(|| format!("rename to `{}`", file.display()))
    }

    /// The log of a process.
    pub fn log(&self, what: &str) -> PathBuf {
        self.name.state_dir().join("logs").join(format!("{what}.log"))
    }

    /// The error with the ends of the logs.
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let mut text = format!("{error:#}");
        for started in &self.record.processes {
            let tail = process::tail(&started.log, 15);
            let runs = if started.runs() { "runs" } else { "has ended" };
            text.push_str(&format!("\n--- {} ({runs}), the end of its log:\n{tail}", started.what));
        }
        anyhow::anyhow!(text)
    }

    /// The VMs that the hosts' agents run.
    pub fn machines(&self) -> Vec<Machine> {
        let mut machines = vec![];
        for host in 1..=self.record.hosts {
            let Ok(entries) = std::fs::read_dir(self.host_dir(host).join("vms")) else { continue };
            for entry in entries.flatten() {
                let Ok(text) = std::fs::read(entry.path().join("vm.json")) else { continue };
                let Ok(mut machine) = serde_json::from_slice::<Machine>(&text) else { continue };
                machine.host = host;
                if Path::new(&format!("/proc/{}/ns/net", machine.pid)).exists() {
                    machines.push(machine);
                }
            }
        }
        machines
    }

    /// The VM with this name or uuid.
    pub fn machine(&self, which: &str) -> anyhow::Result<Machine> {
        let machines = self.machines();
        let found = machines.iter().find(|machine| machine.uuid == which || machine.name == which);
        let names: Vec<&str> = machines.iter().map(|machine| machine.name.as_str()).collect();
        found.cloned().with_context(|| format!("no host of the lab runs a VM `{which}`; there are {names:?}"))
    }

    /// The namespace of a router, by its uuid.
    pub fn router_namespace(&self, uuid: &str) -> anyhow::Result<String> {
        let of_router = |name: &String| name.split_once(ROUTER).is_some_and(|(_, rest)| uuid.ends_with(rest));
        let found = netns::of_lab(&self.name).into_iter().find(of_router);
        found.with_context(|| format!("no host of the lab has a namespace `…{ROUTER}…` for the router {uuid}"))
    }

    /// The command that runs `line` in a part of the lab: a VM by name or uuid, `host1`, `inet`, `ctl`, `fabric`,
    /// `router` (the only one) or a router's uuid.
    pub fn command_in(&self, place: &str, line: &[String]) -> anyhow::Result<Command> {
        let mut command = Command::new("nsenter");
        if let Ok(machine) = self.machine(place) {
            command.args(["-t", &machine.pid.to_string(), "-n", "-m", "-u"]);
        } else {
            let namespaces = netns::of_lab(&self.name);
            let routers = namespaces.iter().filter(|name| name.contains(ROUTER));
            let routers: Vec<&String> = routers.collect();
            let namespace = match (place, routers.as_slice()) {
                ("router", [router]) => router.to_string(),
                ("router", []) => bail!("the lab has no router yet"),
                ("router", many) => bail!("the lab has {} routers: name one by its uuid", many.len()),
                _ if namespaces.contains(&self.name.namespace(place)) => self.name.namespace(place),
                _ => self.router_namespace(place).map_err(|_| {
                    let names: Vec<String> = self.machines().into_iter().map(|machine| machine.name).collect();
                    anyhow::anyhow!("the lab has no `{place}`; it has the VMs {names:?} and {namespaces:?}")
                })?,
            };
            command.arg(format!("--net={}", netns::path(&namespace).display()));
        }
        command.arg("--").args(line);
        Ok(command)
    }

    /// Runs a command in a part of the lab; answers whether it succeeded, and its output.
    pub fn run_in(&self, place: &str, line: &[&str]) -> anyhow::Result<(bool, String)> {
        let line: Vec<String> = line.iter().map(ToString::to_string).collect();
        process::run(self.command_in(place, &line)?, Duration::from_secs(20))
    }

    /// Does `work` on a thread inside the namespace of a VM.
    pub fn within_machine<T: Send>(&self, machine: &Machine, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        netns::within(Path::new(&format!("/proc/{}/ns/net", machine.pid)), work)
    }

    /// Does `work` on a thread inside a namespace of the lab.
    pub fn within<T: Send>(&self, namespace: &str, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        netns::within(&netns::path(namespace), work)
    }

    /// The IPv4 addresses that a VM's kernel has, loopback left out; read without starting a process.
    pub fn addresses(&self, machine: &Machine) -> Vec<Ipv4Addr> {
        let table = std::fs::read_to_string(format!("/proc/{}/net/fib_trie", machine.pid)).unwrap_or_default();
        local_addresses(&table)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = self.remove()
        {
            eprintln!("warning: the lab `{}` was not removed whole: {error:#}", self.name);
        }
    }
}

/// The addresses that `fib_trie` lists as local to the machine: a leaf line, then a line `/32 host LOCAL`.
fn local_addresses(table: &str) -> Vec<Ipv4Addr> {
    let mut found = vec![];
    let mut leaf = None;
    for line in table.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
        } else if line.starts_with("/32 host LOCAL")
            && let Some(address) = leaf.take()
            && !address.is_loopback()
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

fn command_line(pid: i32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// Whether this machine can run a lab.
///
/// # Errors
/// Not root, or the first program that is missing with its package.
pub fn requirements() -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("a lab makes network namespaces, which only root may do\nhint: run it with sudo");
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    for (program, package) in PROGRAMS {
        if !std::env::split_paths(&path).any(|dir| dir.join(program).is_file()) {
            bail!("`{program}` is not installed\nhint: `apt-get install {package}`, or run .ci/install.sh");
        }
    }
    Ok(())
}

fn free_port(wanted: Option<u16>) -> anyhow::Result<u16> {
    let bind = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    let bound = match wanted {
        Some(port) => bind(port).with_context(|| format!("port {port} of 127.0.0.1 is taken\nhint: another --port"))?,
        None => bind(8080).or_else(|_| bind(0)).context("find a free port of 127.0.0.1")?,
    };
    Ok(bound.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_read_from_the_routing_table() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.10.0.0\n        /24 link UNICAST\n     \
                     |-- 10.10.0.7\n        /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n     \
                     |-- 10.10.0.255\n        /32 link BROADCAST\nLocal:\n     |-- 10.10.0.7\n        /32 host LOCAL\n";
        assert_eq!(local_addresses(table), [Ipv4Addr::new(10, 10, 0, 7)]);
    }
}
