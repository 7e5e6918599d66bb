//! A kernel in memory: no root, no packets, failures and slowness on demand. It keeps what it was told and
//! shows it again; it does not judge whether a real kernel would take it.

mod shaping;

use super::{
    Connection, ElementChange, Kernel, KernelError, Known, Link, LinkChange, ProcessId, Result, Route, Shaper,
    ShapingChange, Spawn, TableChange, Talk, Tell, Tracked, simulated_haproxy::Haproxy,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use switchback_appliance::{Neighbour, Protocol};
use switchback_events::{Mac, Micros};

/// What can be made to fail.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FailKind {
    /// Changing links, addresses and routes.
    Links,
    /// Setting a kernel variable.
    Sysctl,
    /// Making a link shape what it sends, and changing how.
    Shaping,
    /// Replacing or checking a table.
    Table,
    /// Writing a file.
    Write,
    /// Running a tool to its end.
    Run,
    /// Starting a process.
    Spawn,
    /// Making a namespace.
    Namespace,
    /// Waiting for an agent to accept connections.
    Accepting,
    /// Waiting for what an agent says when it has started.
    Word,
    /// Copying connections.
    Connections,
}

/// The machine that is not there.
#[derive(Default)]
pub struct SimulatedKernel {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    links: BTreeMap<String, Link>,
    routes: Vec<Route>,
    sysctls: BTreeMap<String, String>,
    shapers: BTreeMap<String, Shaper>,
    tables: BTreeMap<String, String>,
    generation: u32,
    connections: Vec<Connection>,
    /// Tables of the host, by family and name.
    filters: BTreeMap<String, String>,
    files: BTreeMap<PathBuf, String>,
    processes: BTreeMap<u32, Process>,
    namespaces: BTreeSet<String>,
    /// Links in those that nobody has entered.
    inside: BTreeMap<String, Vec<Link>>,
    /// What is seen from within the others.
    rooms: BTreeMap<String, Arc<SimulatedKernel>>,
    failures: BTreeSet<FailKind>,
    neighbours: BTreeMap<Ipv4Addr, Mac>,
    closed: BTreeSet<SocketAddr>,
    latency: Duration,
    calls: u64,
    log: Vec<String>,
}

struct Process {
    spawn: Spawn,
    names: BTreeMap<String, Ipv6Addr>,
    /// What the client that an agent is gets by DHCP.
    told: Option<String>,
    /// It is there and answers nobody.
    deaf: bool,
    haproxy: Haproxy,
}

impl SimulatedKernel {
    /// A machine with these links.
    pub fn new(links: impl IntoIterator<Item = Link>) -> Self {
        let kernel = Self::default();
        kernel.state.lock().links = links.into_iter().map(|link| (link.name.clone(), link)).collect();
        kernel
    }

    /// The next call of this kind fails, once.
    pub fn fail_next(&self, kind: FailKind) {
        self.state.lock().failures.insert(kind);
    }

    /// Every call that changes something takes this long.
    pub fn slow_down(&self, latency: Duration) {
        self.state.lock().latency = latency;
    }

    /// Plugs a link in, as a host does.
    pub fn plug(&self, link: Link) {
        self.state.lock().links.insert(link.name.clone(), link);
    }

    /// From now on somebody answers by ARP for an address.
    pub fn neighbour(&self, ip: Ipv4Addr, mac: Mac) {
        self.state.lock().neighbours.insert(ip, mac);
    }

    /// From now on nobody listens there, or somebody does again.
    pub fn close(&self, server: SocketAddr, closed: bool) {
        let mut state = self.state.lock();
        if closed {
            state.closed.insert(server)
        } else {
            state.closed.remove(&server)
        };
    }

    /// A connection that is tracked from now on.
    pub fn track(&self, connection: Connection) {
        self.state.lock().connections.push(connection);
    }

    /// The connections that are tracked.
    pub fn connections(&self) -> Vec<Connection> {
        self.state.lock().connections.clone()
    }

    /// Takes an element out of a set or map behind the agent's back.
    pub fn lose_element(&self, element: &str) {
        let mut state = self.state.lock();
        state.generation += 1;
        for text in state.tables.values_mut() {
            *text = text.replace(&format!("{element}, "), "").replace(&format!(", {element}"), "");
            *text = text.replace(&format!("{ELEMENTS}{element} }}\n"), "");
        }
    }

    /// Packets and their bytes went by an element of a set that counts.
    pub fn pass(&self, set: &str, key: &str, (packets, bytes): (u64, u64)) {
        let mut state = self.state.lock();
        for text in state.tables.values_mut() {
            let head = format!("  set {set} {{");
            let Some(begin) = text.find(&head) else { continue };
            let end = text[begin..].find("\n  }").map_or(text.len(), |end| begin + end);
            let block = &text[begin..end];
            let others = elements(block).filter(|element| element.split(' ').next() != Some(key)).map(str::to_string);
            let counted = format!("{key} counter packets {packets} bytes {bytes}");
            let all: Vec<String> = others.chain([counted]).collect();
            let outline: Vec<&str> = block.lines().filter(|line| !line.starts_with(ELEMENTS)).collect();
            let block = format!("{}\n{ELEMENTS}{} }}", outline.join("\n"), all.join(", "));
            text.replace_range(begin..end, &block);
        }
    }

    /// Somebody removes what filters at nics.
    pub fn lose_filters(&self) {
        self.state.lock().filters.clear();
    }

    /// Pulls a link out.
    pub fn unplug(&self, name: &str) {
        self.state.lock().links.remove(name);
    }

    /// What an intruder would do: removes every table and kills every process.
    pub fn wipe(&self) {
        let mut state = self.state.lock();
        state.tables.clear();
        state.generation += 1;
        state.filters.clear();
        state.processes.clear();
    }

    /// The same in its namespaces.
    pub fn wipe_rooms(&self) {
        self.state.lock().rooms.values().for_each(|room| room.wipe());
    }

    /// All that it was told in words: files by their paths, tables, and command lines.
    pub fn texts(&self) -> BTreeMap<String, String> {
        let state = self.state.lock();
        let files = state.files.iter().map(|(path, text)| (path.display().to_string(), text.clone()));
        let tables = state.tables.iter().map(|(name, text)| (format!("table inet {name}"), text.clone()));
        let filters = state.filters.iter().map(|(name, text)| (format!("table {name}"), text.clone()));
        let command = |(pid, process): (&u32, &Process)| {
            let Spawn { program, args, env, .. } = &process.spawn;
            (format!("process {pid}"), format!("{} {args:?} {env:?}", program.display()))
        };
        let rooms = state.rooms.iter().flat_map(|(namespace, room)| {
            room.texts().into_iter().map(move |(name, text)| (format!("{namespace}: {name}"), text))
        });
        files.chain(tables).chain(filters).chain(state.processes.iter().map(command)).chain(rooms).collect()
    }

    /// Makes processes read their files again, by the name of their program.
    pub fn reload(&self, program: &str) {
        let mut state = self.state.lock();
        let named = |held: &Process| held.spawn.program.ends_with(program);
        let found: Vec<u32> = state.processes.iter().filter(|(_, held)| named(held)).map(|(pid, _)| *pid).collect();
        found.into_iter().for_each(|pid| state.reload(pid));
    }

    /// From now on the name server that runs answers nobody, or does again.
    pub fn deafen(&self, deaf: bool) {
        self.state.lock().processes.values_mut().for_each(|process| process.deaf = deaf);
    }

    /// Kills processes by the name of their program.
    pub fn kill(&self, program: &str) {
        self.state.lock().processes.retain(|_, process| !process.spawn.program.ends_with(program));
    }

    /// What was changed, in order: kinds of changes, and kernel variables with their values.
    pub fn log(&self) -> Vec<String> {
        self.state.lock().log.clone()
    }

    /// How many calls changed something, or would have.
    pub fn changes_made(&self) -> u64 {
        self.state.lock().calls
    }

    fn change<T>(&self, kind: FailKind, change: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut state = self.state.lock();
        state.calls += 1;
        if state.failures.remove(&kind) {
            return Err(KernelError::new(format!("{kind:?}"), "a failure that was asked for"));
        }
        state.log.push(format!("{kind:?}"));
        let latency = state.latency;
        let done = change(&mut state);
        drop(state);
        if !latency.is_zero() {
            std::thread::sleep(latency);
        }
        done
    }
}

impl State {
    fn link(&mut self, name: &str) -> Result<&mut Link> {
        self.links.get_mut(name).ok_or_else(|| KernelError::new(format!("find link {name}"), "no such link"))
    }

    fn change_link(&mut self, change: &LinkChange) -> Result<()> {
        match change {
            LinkChange::Up(name) => self.link(name)?.up = true,
            LinkChange::Down(name) => self.link(name)?.up = false,
            LinkChange::Mtu(name, mtu) => self.link(name)?.mtu = *mtu,
            LinkChange::Rename(from, to) | LinkChange::RenameUp(from, to) => {
                let mut link = self.link(from)?.clone();
                self.links.remove(from);
                link.name = to.clone();
                self.links.insert(to.clone(), link);
            }
            LinkChange::AddAddress(name, net) => self.link(name)?.addresses.push(*net),
            LinkChange::DeleteAddress(name, net) => self.link(name)?.addresses.retain(|held| held != net),
            LinkChange::SetRoute(route) => {
                self.routes.retain(|held| held.destination != route.destination);
                self.routes.push(route.clone());
            }
            LinkChange::DeleteRoute(route) => self.routes.retain(|held| held != route),
            LinkChange::RouteFrom(..) => {}
            LinkChange::CreateBridge(name) => self.create(name, "bridge")?,
            LinkChange::CreateDetour(name) => {
                self.create(name, "ifb")?;
                self.link(name)?.up = true;
            }
            LinkChange::CreateVlan { parent, name, .. } => {
                self.link(parent)?;
                self.create(name, "vlan")?;
            }
            LinkChange::CreatePair { name, mtu, namespace, inside, mac } => {
                self.create(name, "veth")?;
                self.link(name)?.mtu = *mtu;
                let (name, mac, kind) = (inside.clone(), Some(*mac), Some("veth".to_string()));
                let link = Link { name, mac, mtu: *mtu, kind, ..Link::default() };
                match self.rooms.get(namespace) {
                    Some(room) => room.plug(link),
                    None => self.inside.entry(namespace.clone()).or_default().push(link),
                }
            }
            LinkChange::Delete(name) => {
                self.shapers.remove(name);
                self.links.remove(name);
            }
            LinkChange::Enslave(name, bridge) => {
                self.link(bridge)?;
                self.link(name)?.master = Some(bridge.clone());
            }
            LinkChange::Release(name) => self.link(name)?.master = None,
            LinkChange::FilterBridged(name, _) => drop(self.link(name)?),
        }
        Ok(())
    }

    fn create(&mut self, name: &str, kind: &str) -> Result<()> {
        if self.links.contains_key(name) {
            return Err(KernelError::new(format!("create link {name}"), "file exists"));
        }
        let link = Link { name: name.to_string(), mtu: 1500, kind: Some(kind.to_string()), ..Link::default() };
        self.links.insert(name.to_string(), link);
        self.log.push(format!("create {name}"));
        Ok(())
    }

    /// What a haproxy with this command line has read.
    fn haproxy_for(&self, spawn: &Spawn) -> Haproxy {
        let after = spawn.args.iter().skip_while(|arg| *arg != "-f").nth(1);
        after.and_then(|path| self.files.get(Path::new(path))).map(|text| Haproxy::of(text)).unwrap_or_default()
    }

    /// Has a process read its files again.
    fn reload(&mut self, pid: u32) {
        let Some(spawn) = self.processes.get(&pid).map(|held| held.spawn.clone()) else { return };
        let read = self.read_by(&spawn);
        if let Some(held) = self.processes.get_mut(&pid) {
            *held = Process { deaf: held.deaf, ..read };
        }
    }

    /// What a process with this command line knows when it has read its files.
    fn read_by(&self, spawn: &Spawn) -> Process {
        let configuration = spawn.args.iter().find_map(|arg| arg.strip_prefix("--conf-file="));
        let text = configuration.and_then(|path| self.files.get(Path::new(path))).map_or("", String::as_str);
        let lines_of = |entry: &'static str| {
            let files = text.lines().filter_map(move |line| line.strip_prefix(entry));
            files.filter_map(|path| self.files.get(Path::new(path))).flat_map(|text| text.lines())
        };
        let name = |line: &str| {
            let (ip, name) = line.split_once(' ')?;
            Some((name.to_string(), ip.parse().ok()?))
        };
        Process {
            spawn: spawn.clone(),
            names: lines_of("addn-hosts=").filter_map(name).collect(),
            told: lines_of("dhcp-optsfile=").find_map(|line| line.split('"').nth(1).map(str::to_string)),
            deaf: false,
            haproxy: self.haproxy_for(spawn),
        }
    }
}

/// How the line of a set begins that names its elements.
const ELEMENTS: &str = "    elements = { ";

/// The sets, maps and chains of a table's text.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive("\n  }\n")
}

fn elements(block: &str) -> impl Iterator<Item = &str> {
    let line = block.lines().find_map(|line| line.strip_prefix(ELEMENTS)?.strip_suffix(" }"));
    line.into_iter().flat_map(|line| line.split(", "))
}

fn object(block: &str, whole: bool) -> Option<Value> {
    let mut words = block.split_whitespace();
    let (kind, name) = (words.next()?, words.next()?);
    let outline: String = block.split_inclusive('\n').filter(|line| !line.starts_with(ELEMENTS)).collect();
    let mut object = json!({ "name": name, "text": outline });
    if whole && kind != "chain" {
        // As nft prints the names of interfaces in elements: without quotes.
        let printed = |element: &str| match element.split_once(" counter ") {
            Some((key, rest)) if rest.contains(" : ") => {
                json!(format!("{key}{}", rest.find(" : ").map_or("", |at| &rest[at..])))
            }
            Some((key, rest)) => {
                let numbers: Vec<u64> = rest.split(' ').filter_map(|word| word.parse().ok()).collect();
                let count = |at: usize| numbers.get(at).copied().unwrap_or(0);
                json!({"elem": {"val": key, "counter": {"packets": count(0), "bytes": count(1)}}})
            }
            None => json!(element.replace('"', "")),
        };
        object["elem"] = elements(block).map(printed).collect();
    }
    Some(json!({ kind: object }))
}

/// The name of a set, map or chain.
fn name_of(block: &str) -> &str {
    block.split_whitespace().nth(1).unwrap_or_default()
}

/// Changes what a set holds by those of the changes that are about it.
fn change_elements(held: &mut Vec<String>, set: &str, changes: &[ElementChange]) {
    for change in changes {
        match change {
            ElementChange::Add { set: of, element } if of == set => held.push(element.clone()),
            ElementChange::Delete { set: of, key } | ElementChange::Forget { set: of, key } if of == set => {
                let key_of = |element: &String| {
                    let key = element.split(" : ").next()?;
                    key.split(" counter ").next().map(str::to_string)
                };
                held.retain(|element| key_of(element).as_ref() != Some(key));
            }
            _ => {}
        }
    }
}

impl Kernel for SimulatedKernel {
    fn links(&self) -> Result<Vec<Link>> {
        Ok(self.state.lock().links.values().cloned().collect())
    }

    fn routes(&self) -> Result<Vec<Route>> {
        Ok(self.state.lock().routes.clone())
    }

    fn change_links(&self, inside: Option<&str>, changes: &[LinkChange]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        self.change(FailKind::Links, |state| match inside {
            Some(_) => Ok(()),
            None => changes.iter().try_for_each(|change| state.change_link(change)),
        })
    }

    fn shaping(&self) -> Result<BTreeMap<String, Shaper>> {
        Ok(self.state.lock().shapers.clone())
    }

    fn change_shaping(&self, changes: &[ShapingChange]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        self.change(FailKind::Shaping, |state| changes.iter().try_for_each(|change| state.change_shaping(change)))
    }

    fn sysctl(&self, key: &str) -> Result<Option<String>> {
        let value = self.state.lock().sysctls.get(key).cloned();
        Ok(Some(value.unwrap_or_else(|| "0".to_string())))
    }

    fn set_sysctl(&self, key: &str, value: &str) -> Result<()> {
        self.change(FailKind::Sysctl, |state| {
            state.log.push(format!("{key}={value}"));
            state.sysctls.insert(key.to_string(), value.to_string());
            Ok(())
        })
    }

    fn namespaces(&self) -> Result<Vec<String>> {
        Ok(self.state.lock().namespaces.iter().cloned().collect())
    }

    fn add_namespace(&self, name: &str) -> Result<()> {
        self.change(FailKind::Namespace, |state| {
            state.namespaces.insert(name.to_string());
            Ok(())
        })
    }

    fn remove_namespace(&self, name: &str) -> Result<()> {
        let mut state = self.state.lock();
        state.namespaces.remove(name);
        state.rooms.remove(name);
        state.inside.remove(name);
        state.processes.retain(|_, process| process.spawn.house.as_ref().is_none_or(|house| house.namespace != name));
        Ok(())
    }

    fn enter(&self, name: &str) -> Result<Arc<dyn Kernel>> {
        let mut state = self.state.lock();
        if !state.namespaces.contains(name) {
            return Err(KernelError::new(format!("enter namespace {name}"), "no such file or directory"));
        }
        let links = state.inside.remove(name).unwrap_or_default();
        let room = state.rooms.entry(name.to_string()).or_default().clone();
        links.into_iter().for_each(|link| room.plug(link));
        Ok(room)
    }

    fn rename_namespace(&self, from: &str, to: &str) -> Result<()> {
        self.remove_namespace(to)?;
        let mut state = self.state.lock();
        state.namespaces.remove(from);
        state.namespaces.insert(to.to_string());
        if let Some(links) = state.inside.remove(from) {
            state.inside.insert(to.to_string(), links);
        }
        for house in state.processes.values_mut().filter_map(|process| process.spawn.house.as_mut()) {
            if house.namespace == from {
                house.namespace = to.to_string();
            }
        }
        Ok(())
    }

    fn connections(&self, _inside: &str) -> Result<Vec<Tracked>> {
        Ok(vec![])
    }

    fn add_connections(&self, _inside: &str, _connections: &[Tracked], _known: &mut Known) -> Result<usize> {
        self.change(FailKind::Connections, |_| Ok(0))
    }

    fn neighbours(&self, _inside: &str) -> Result<Vec<Neighbour>> {
        Ok(vec![])
    }

    fn add_neighbours(&self, _inside: &str, _neighbours: &[Neighbour]) -> Result<()> {
        Ok(())
    }

    fn announce_all(&self, _inside: &str) -> Result<()> {
        Ok(())
    }

    fn check_table(&self, _name: &str, _text: &str) -> Result<()> {
        self.change(FailKind::Table, |_| Ok(()))
    }

    fn replace_table(&self, name: &str, text: &str) -> Result<()> {
        self.change(FailKind::Table, |state| {
            state.tables.insert(name.to_string(), text.to_string());
            state.generation += 1;
            Ok(())
        })
    }

    fn delete_table(&self, name: &str) -> Result<()> {
        let mut state = self.state.lock();
        state.tables.remove(name);
        state.generation += 1;
        Ok(())
    }

    fn table(&self, name: &str) -> Result<Option<Vec<Value>>> {
        let state = self.state.lock();
        let Some(text) = state.tables.get(name) else { return Ok(None) };
        Ok(Some(blocks(text).filter_map(|block| object(block, true)).collect()))
    }

    fn table_outline(&self, name: &str) -> Result<Option<Vec<Value>>> {
        let state = self.state.lock();
        let Some(text) = state.tables.get(name) else { return Ok(None) };
        Ok(Some(blocks(text).filter_map(|block| object(block, false)).collect()))
    }

    fn set_of_table(&self, name: &str, set: &str) -> Result<Option<Value>> {
        let state = self.state.lock();
        let Some(text) = state.tables.get(name) else { return Ok(None) };
        let block = blocks(text).find(|block| name_of(block) == set);
        Ok(block.and_then(|block| object(block, true)))
    }

    fn change_table(&self, name: &str, change: &TableChange) -> Result<()> {
        self.change(FailKind::Table, |state| {
            let missing = || KernelError::new(format!("change table {name}"), "no such file or directory");
            let text = state.tables.get(name).ok_or_else(missing)?;
            let mut fresh: Vec<&str> = blocks(&change.text).collect();
            let mut changed = String::new();
            for block in blocks(text) {
                let thing = name_of(block);
                let names = |list: &[String]| list.iter().any(|listed| listed.rsplit(' ').next() == Some(thing));
                if names(&change.chains_gone) || names(&change.sets_gone) {
                    continue;
                }
                if let Some(at) = fresh.iter().position(|fresh| name_of(fresh) == thing) {
                    changed += fresh.remove(at);
                    continue;
                }
                let (emptied, flushed) = (names(&change.emptied), names(&change.flushed));
                let mut held: Vec<String> = elements(block).map(str::to_string).collect();
                held.retain(|_| !flushed);
                change_elements(&mut held, thing, &change.elements);
                let stays = |line: &&str| !emptied || line.starts_with("  chain ") || line.starts_with("    type ");
                let lines = block.lines().filter(|line| !line.starts_with(ELEMENTS) && *line != "  }");
                lines.filter(stays).for_each(|line| changed += &format!("{line}\n"));
                if !held.is_empty() {
                    changed += &format!("{ELEMENTS}{} }}\n", held.join(", "));
                }
                changed += "  }\n";
            }
            fresh.into_iter().for_each(|block| changed += block);
            state.tables.insert(name.to_string(), changed);
            state.generation += 1;
            Ok(())
        })
    }

    fn generation(&self) -> Result<u32> {
        Ok(self.state.lock().generation)
    }

    fn forget_connections(&self, stale: &dyn Fn(&Connection) -> bool) -> Result<usize> {
        let mut state = self.state.lock();
        let before = state.connections.len();
        state.connections.retain(|connection| !stale(connection));
        Ok(before - state.connections.len())
    }

    fn read(&self, path: &Path) -> Result<Option<String>> {
        Ok(self.state.lock().files.get(path).cloned())
    }

    fn exists(&self, path: &Path) -> bool {
        self.state.lock().files.keys().any(|held| held.starts_with(path))
    }

    fn write(&self, path: &Path, content: &[u8], _mode: u32) -> Result<()> {
        self.change(FailKind::Write, |state| {
            state.files.insert(path.to_path_buf(), String::from_utf8_lossy(content).into_owned());
            Ok(())
        })
    }

    fn append(&self, path: &Path, content: &[u8], _mode: u32) -> Result<()> {
        self.change(FailKind::Write, |state| {
            let held = state.files.entry(path.to_path_buf()).or_default();
            held.push_str(&String::from_utf8_lossy(content));
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.state.lock().files.retain(|held, _| !held.starts_with(path));
        Ok(())
    }

    fn run(&self, _program: &str, _args: &[&str]) -> Result<()> {
        self.change(FailKind::Run, |_| Ok(()))
    }

    fn spawn(&self, spawn: &Spawn) -> Result<ProcessId> {
        self.change(FailKind::Spawn, |state| {
            let pid = 100 + u32::try_from(state.calls).unwrap_or(u32::MAX - 100);
            let process = state.read_by(spawn);
            state.processes.insert(pid, process);
            Ok(ProcessId { pid, started: state.calls })
        })
    }

    fn alive(&self, process: &ProcessId) -> bool {
        self.state.lock().processes.contains_key(&process.pid)
    }

    fn tell(&self, process: &ProcessId, what: Tell) -> Result<()> {
        let mut state = self.state.lock();
        if !matches!(what, Tell::Reload | Tell::Renew) {
            state.processes.remove(&process.pid);
            return Ok(());
        }
        state.reload(process.pid);
        Ok(())
    }

    fn wait_gone(&self, process: &ProcessId, _patience: Duration) -> bool {
        !self.alive(process)
    }

    fn wait_accepting(
        &self,
        _namespace: &str,
        address: SocketAddr,
        process: &ProcessId,
        _patience: Duration,
    ) -> Result<()> {
        let alive = self.alive(process);
        self.change(FailKind::Accepting, |_| {
            if alive { Ok(()) } else { Err(KernelError::new(format!("wait for {address}"), "the process ended")) }
        })
    }

    fn word(&self, file: &Path, process: &ProcessId, _patience: Duration) -> Result<String> {
        let alive = self.alive(process);
        self.change(FailKind::Word, |_| match alive {
            true => Ok("{}".to_string()),
            false => Err(KernelError::new(format!("wait for `{}`", file.display()), "the process ended")),
        })
    }

    fn announce(&self, _interface: &str, _mac: Mac, _ips: &[Ipv4Addr]) -> Result<()> {
        Ok(())
    }

    fn advertise(&self, _interface: &str, _mac: Mac, _ip: Ipv6Addr) -> Result<()> {
        self.change(FailKind::Run, |_| Ok(()))
    }

    fn ask_dns(&self, server: IpAddr, name: &str, _patience: Duration) -> Result<Option<Ipv6Addr>> {
        let state = self.state.lock();
        let server_runs = state.processes.values().find(|process| process.spawn.program.ends_with("dnsmasq"));
        let failed = |detail| KernelError::new(format!("ask {server} for {name}"), detail);
        let process = server_runs.ok_or_else(|| failed("connection refused"))?;
        if process.deaf {
            return Err(failed("silence"));
        }
        Ok(process.names.get(name).copied())
    }

    fn ask_socket(&self, socket: &Path, line: &str, _patience: Duration) -> Result<String> {
        let mut state = self.state.lock();
        let asked = state.processes.values_mut().find(|process| process.spawn.program.ends_with("haproxy"));
        match asked {
            Some(process) => Ok(process.haproxy.ask(line)),
            None => Err(KernelError::new(format!("ask by `{}`", socket.display()), "connection refused")),
        }
    }

    fn talk(&self, socket: &Path, _patience: Duration) -> Result<Box<dyn Talk>> {
        Err(KernelError::new(format!("talk by `{}`", socket.display()), "nothing is counted here"))
    }

    fn knock(&self, _protocol: Protocol, server: SocketAddr, _patience: Duration) -> Result<()> {
        match self.state.lock().closed.contains(&server) {
            true => Err(KernelError::new(format!("knock at {server}"), "connection refused")),
            false => Ok(()),
        }
    }

    fn ask_arp(&self, interface: &str, ip: Ipv4Addr, _patience: Duration) -> Result<Option<Mac>> {
        let mut state = self.state.lock();
        state.link(interface)?;
        Ok(state.neighbours.get(&ip).copied())
    }

    fn nft(&self, text: &str, only_check: bool) -> Result<()> {
        if only_check {
            return Ok(());
        }
        self.change(FailKind::Table, |state| {
            let mut open: Option<String> = None;
            for line in text.lines() {
                match (line.strip_prefix("table ").and_then(|line| line.strip_suffix(" {")), &open) {
                    (Some(name), _) => {
                        state.filters.insert(name.to_string(), String::new());
                        open = Some(name.to_string());
                    }
                    (None, Some(name)) => {
                        let held = state.filters.entry(name.clone()).or_default();
                        held.push_str(line);
                        held.push('\n');
                        if line == "}" {
                            open = None;
                        }
                    }
                    (None, None) => match line.strip_prefix("delete table ") {
                        Some(name) => drop(state.filters.remove(name)),
                        None if line.contains(" element ") => {
                            state.filters.values_mut().for_each(|held| held.push_str(line));
                        }
                        None => {}
                    },
                }
            }
            Ok(())
        })
    }

    fn nft_table(&self, family: &str, name: &str) -> Result<Option<Vec<Value>>> {
        let state = self.state.lock();
        Ok(state.filters.get(&format!("{family} {name}")).map(|text| vec![json!({ "table": { "text": text } })]))
    }

    fn ask_dhcp(
        &self,
        _interface: &str,
        server: Ipv4Addr,
        _mac: Mac,
        _option: u8,
        _patience: Duration,
    ) -> Result<Option<String>> {
        let state = self.state.lock();
        let failed = |detail| KernelError::new(format!("ask {server} by DHCP"), detail);
        match state.processes.values().find(|process| process.spawn.program.ends_with("dnsmasq")) {
            None => Err(failed("connection refused")),
            Some(process) if process.deaf => Err(failed("silence")),
            Some(process) => Ok(process.told.clone()),
        }
    }

    fn wall_clock(&self) -> Micros {
        // It goes on with what is done.
        Micros::try_from(self.state.lock().calls).unwrap_or_default() + 1
    }

    fn release_lease(&self, _interface: &str, _server: Ipv4Addr, _ip: Ipv4Addr, _mac: Mac) -> Result<()> {
        Ok(())
    }
}
