//! The edge between the agent and the machine: links, the packet filter, files, processes, and the few
//! questions that are asked over the network. Everything above it is the same on a real kernel and in memory.
//!
//! **Invariant:** nothing outside this folder runs a program or touches the network stack.

mod arp;
mod connections;
mod linux;
mod namespace;
mod netlink;
mod probe;
mod process;
mod simulated;
mod simulated_haproxy;

pub use linux::LinuxKernel;
pub use namespace::enter as enter_namespace;
pub use simulated::{FailKind, SimulatedKernel};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use switchback_appliance::{Counter, Neighbour, Protocol};
use switchback_events::{Mac, Micros};

/// What the kernel, or a tool that speaks to it, refused.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{action}: {detail}")]
pub struct KernelError {
    /// What we were doing.
    pub action: String,
    /// What was said.
    pub detail: String,
}

impl KernelError {
    /// An error while doing `action`.
    pub fn new(action: impl Into<String>, detail: impl std::fmt::Display) -> Self {
        Self { action: action.into(), detail: detail.to_string() }
    }
}

/// The outcome of a call to the kernel.
pub type Result<T> = std::result::Result<T, KernelError>;

/// A link as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its hardware address, where it has one.
    pub mac: Option<Mac>,
    /// Bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// The bridge it is in.
    pub master: Option<String>,
    /// `bridge`, `veth`, `vlan`, or nothing for hardware.
    pub kind: Option<String>,
    /// Of both families, with the prefix length of the subnet.
    pub addresses: Vec<IpNet>,
}

/// A route by way of a gateway; those that come with an address are not listed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Where to; 0.0.0.0/0 and ::/0 are the default routes.
    pub destination: IpNet,
    /// The next hop, of the same family.
    pub gateway: IpAddr,
    /// The link it leaves by.
    pub interface: String,
}

/// One change to links, addresses and routes. A list of changes is carried out in order, up to the first failure.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum LinkChange {
    Up(String),
    Down(String),
    Mtu(String, u32),
    /// The link is down for a moment.
    Rename(String, String),
    /// The same while it is up; older kernels refuse that.
    RenameUp(String, String),
    AddAddress(String, IpNet),
    DeleteAddress(String, IpNet),
    /// Adds the route, or replaces the one to the same destination.
    SetRoute(Route),
    DeleteRoute(Route),
    /// Packets from this address leave by this gateway, whatever the other routes say.
    RouteFrom(Ipv4Addr, Route),
    CreateBridge(String),
    CreateVlan {
        parent: String,
        id: u16,
        name: String,
    },
    /// A pair of links: one end here, the other one in a namespace.
    CreatePair {
        name: String,
        mtu: u32,
        namespace: String,
        inside: String,
        mac: Mac,
    },
    /// No such link: nothing to do.
    Delete(String),
    Enslave(String, String),
    Release(String),
    /// A link that packets take a detour by on their way in, so that what it sends can be shaped.
    CreateDetour(String),
    /// What a bridge forwards passes the connection tracking of IP, or passes it no more.
    FilterBridged(String, bool),
}

/// How a link shapes what it sends: by classes, one in another.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shaper {
    /// The number that the classes are of.
    pub handle: u16,
    /// By their numbers.
    pub classes: BTreeMap<u16, ObservedClass>,
}

/// A class of a [`Shaper`]. One with classes in it carries nothing itself, and what they send counts for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Class {
    /// The class that it is in.
    pub parent: Option<u16>,
    /// So much it may send in any case, bytes per second.
    pub rate: u64,
    /// So much at the most, of what the class that it is in has left, bytes per second.
    pub ceil: u64,
    /// So many bytes wait at the most; none for one with classes in it.
    pub queue: Option<u32>,
}

/// A class, and what it did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedClass {
    /// What it is.
    #[serde(flatten)]
    pub class: Class,
    /// What it sent.
    pub sent: Counter,
    /// Packets for which there was no room.
    pub dropped: u64,
}

/// One change to how links shape what they send.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ShapingChange {
    /// From now on the link has classes; what is of none passes as before.
    Shape {
        link: String,
        handle: u16,
    },
    /// It has none any more.
    Unshape {
        link: String,
    },
    Add {
        link: String,
        handle: u16,
        number: u16,
        class: Class,
    },
    /// Its parent stays.
    Change {
        link: String,
        handle: u16,
        number: u16,
        class: Class,
    },
    Delete {
        link: String,
        handle: u16,
        number: u16,
    },
}

/// A process to start.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Spawn {
    /// The program, looked up in the usual places.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables of its environment, beside `PATH`.
    pub env: BTreeMap<String, String>,
    /// Where stdout and stderr are appended.
    pub log: PathBuf,
    /// Nothing: a child that dies with the agent. Otherwise it lives in its own session and survives the agent.
    pub house: Option<House>,
    /// Without a house of its own it survives the agent all the same.
    pub survives: bool,
}

/// The namespaces that a surviving process lives in: those of a router or of a VM.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct House {
    /// The network namespace.
    pub namespace: String,
    /// A private, empty `/run`.
    pub private_run: bool,
    /// Files of its own, mounted over those of the machine.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// A host name of its own.
    pub hostname: Option<String>,
}

/// A process, told from a later one with the same number by the time it was started.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessId {
    /// Its number.
    pub pid: u32,
    /// When it was started, in clock ticks since the machine was.
    pub started: u64,
}

/// What to tell a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tell {
    /// Read your files again (SIGHUP).
    Reload,
    /// Make room for a new one of your kind, which takes over (SIGUSR2).
    Renew,
    /// Stop (SIGTERM).
    Stop,
    /// SIGKILL.
    Kill,
}

/// A socket that is open, by which questions are answered one after the other.
pub trait Talk {
    /// Asks, and gives the answer.
    fn ask(&mut self, line: &str) -> Result<String>;
}

/// One change to the elements of a set or map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ElementChange {
    /// `key` or `key : value`.
    Add {
        /// The set or map.
        set: String,
        /// As nft reads it.
        element: String,
    },
    /// By its key.
    Delete {
        /// The set or map.
        set: String,
        /// As nft reads it.
        key: String,
    },
    /// By its key, of one that may not be there.
    Forget {
        /// The set.
        set: String,
        /// As nft reads it.
        key: String,
    },
}

impl std::fmt::Display for ElementChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ElementChange::Add { set, element } => write!(f, "add element {set} {{ {element} }}"),
            ElementChange::Delete { set, key } => write!(f, "delete element {set} {{ {key} }}"),
            ElementChange::Forget { set, key } => write!(f, "forget element {set} {{ {key} }}"),
        }
    }
}

/// Changes to a table that stays. A packet is under the rules of before or under those of after, all of them, and what
/// either looks up is there: the elements of a set or map are there for both where neither goes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TableChange {
    /// Chains whose rules go; those of `text` get others.
    pub emptied: Vec<String>,
    /// Chains that go then.
    pub chains_gone: Vec<String>,
    /// Sets and maps whose elements go: `set <name>` or `map <name>`.
    pub flushed: Vec<String>,
    /// Sets and maps that go.
    pub sets_gone: Vec<String>,
    /// Elements of those that stay.
    pub elements: Vec<ElementChange>,
    /// Sets and maps with elements, and chains with rules, as nft reads them within a table.
    pub text: String,
}

impl TableChange {
    /// Nothing is changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A connection that the kernel tracks, of IPv4.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connection {
    /// As its first packet came.
    pub original: Tuple,
    /// As its answers come, before addresses are turned back.
    pub reply: Tuple,
}

/// One direction of a [`Connection`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Tuple {
    pub protocol: u8,
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub source_port: u16,
    pub destination_port: u16,
}

/// A connection: its first packet as the kernel tells of it, and the order that makes another kernel track it.
pub type Tracked = (Vec<u8>, Vec<u8>);

/// Connections that were copied, as their first packets came.
pub type Known = std::collections::BTreeSet<Vec<u8>>;

/// What the agent asks of a machine. One instance belongs to one network namespace: the one the agent runs in.
pub trait Kernel: Send + Sync + 'static {
    /// The links of this namespace.
    fn links(&self) -> Result<Vec<Link>>;
    /// The routes by way of gateways.
    fn routes(&self) -> Result<Vec<Route>>;
    /// Changes links, addresses and routes, here or in the namespace `inside`.
    fn change_links(&self, inside: Option<&str>, changes: &[LinkChange]) -> Result<()>;
    /// How links shape what they send, by the link's name: those that do.
    fn shaping(&self) -> Result<BTreeMap<String, Shaper>>;
    /// Changes how links shape what they send, in order, up to the first failure.
    fn change_shaping(&self, changes: &[ShapingChange]) -> Result<()>;
    /// The value of a kernel variable such as `net/ipv4/ip_forward`, where the kernel has it.
    fn sysctl(&self, key: &str) -> Result<Option<String>>;
    /// Sets a kernel variable.
    fn set_sysctl(&self, key: &str, value: &str) -> Result<()>;

    /// Names of all named network namespaces.
    fn namespaces(&self) -> Result<Vec<String>>;
    /// Makes a named network namespace.
    fn add_namespace(&self, name: &str) -> Result<()>;
    /// Kills every process in a namespace, waits for them and removes it. No such namespace: nothing to do.
    fn remove_namespace(&self, name: &str) -> Result<()>;

    /// Moves the calling thread into a namespace for good, and gives the kernel as it is seen from there.
    fn enter(&self, name: &str) -> Result<Arc<dyn Kernel>>;

    /// Puts the namespace `from` in the place of `to`: whatever runs in that is killed. Asked again after it was cut
    /// off, it goes on.
    fn rename_namespace(&self, from: &str, to: &str) -> Result<()>;
    /// The connections that a namespace tracks, each as another one is to be told of it: with translation, state and timeout.
    fn connections(&self, inside: &str) -> Result<Vec<Tracked>>;
    /// Gives a namespace connections, as far as they are not among the `known`, and says how many. Those that it has already
    /// stay as they are.
    fn add_connections(&self, inside: &str, connections: &[Tracked], known: &mut Known) -> Result<usize>;
    /// The neighbours that a namespace knows.
    fn neighbours(&self, inside: &str) -> Result<Vec<Neighbour>>;
    /// Gives a namespace the hardware addresses of neighbours: it need not ask for them.
    fn add_neighbours(&self, inside: &str, neighbours: &[Neighbour]) -> Result<()>;
    /// Gives a namespace the connections of another one.
    fn copy_connections(&self, from: &str, to: &str, known: &mut Known) -> Result<usize> {
        self.add_connections(to, &self.connections(from)?, known)
    }
    /// Gives a namespace the neighbours of another one.
    fn copy_neighbours(&self, from: &str, to: &str) -> Result<()> {
        self.add_neighbours(to, &self.neighbours(from)?)
    }
    /// Tells the neighbours on all links of a namespace which addresses are behind them.
    fn announce_all(&self, inside: &str) -> Result<()>;

    /// Whether the kernel would accept this table (`table inet <name> { <text> }`).
    fn check_table(&self, name: &str, text: &str) -> Result<()>;
    /// Replaces the table in one transaction; no other table is touched.
    fn replace_table(&self, name: &str, text: &str) -> Result<()>;
    /// Removes the table, if it is there.
    fn delete_table(&self, name: &str) -> Result<()>;
    /// The objects of a table, in the form of `nft -j list table`.
    fn table(&self, name: &str) -> Result<Option<Vec<serde_json::Value>>>;
    /// The same without the elements of its sets and maps.
    fn table_outline(&self, name: &str) -> Result<Option<Vec<serde_json::Value>>>;
    /// One set or map of a table, in the form of `nft -j list set`.
    fn set_of_table(&self, name: &str, set: &str) -> Result<Option<serde_json::Value>>;
    /// Changes the table in one transaction.
    fn change_table(&self, name: &str, change: &TableChange) -> Result<()>;
    /// A number that any change to the packet filter of this namespace raises by one.
    fn generation(&self) -> Result<u32>;
    /// Forgets the tracked connections that are `stale`, and says how many: their next packet is a new one's first.
    fn forget_connections(&self, stale: &dyn Fn(&Connection) -> bool) -> Result<usize>;

    /// The content of a file, if it is there.
    fn read(&self, path: &Path) -> Result<Option<String>>;
    /// Whether there is a file or directory.
    fn exists(&self, path: &Path) -> bool;
    /// Puts a file in place in one step, with its directories.
    fn write(&self, path: &Path, content: &[u8], mode: u32) -> Result<()>;
    /// Adds to the end of a file, which is made where it is not there.
    fn append(&self, path: &Path, content: &[u8], mode: u32) -> Result<()>;
    /// Removes a file or a directory with all in it. Not there: nothing to do.
    fn remove(&self, path: &Path) -> Result<()>;

    /// What the clock on the wall says, in microseconds since 1970.
    fn wall_clock(&self) -> Micros;

    /// Runs a tool to its end; its words are the error if it fails.
    fn run(&self, program: &str, args: &[&str]) -> Result<()>;
    /// Starts a process.
    fn spawn(&self, spawn: &Spawn) -> Result<ProcessId>;
    /// Whether it runs.
    fn alive(&self, process: &ProcessId) -> bool;
    /// Sends a signal; gone already is fine.
    fn tell(&self, process: &ProcessId, what: Tell) -> Result<()>;
    /// Waits for the process to be gone; `false` when it still was there at the end.
    fn wait_gone(&self, process: &ProcessId, patience: Duration) -> bool;

    /// Waits until something accepts TCP connections at `address` in a namespace, or `process` is gone.
    fn wait_accepting(
        &self,
        namespace: &str,
        address: SocketAddr,
        process: &ProcessId,
        patience: Duration,
    ) -> Result<()>;
    /// Waits until `process` has left a file, or is gone, and gives what is in it.
    fn word(&self, file: &Path, process: &ProcessId, patience: Duration) -> Result<String>;
    /// Asks a DNS server for the IPv6 address of a name, once, waiting at most `patience`.
    fn ask_dns(&self, server: IpAddr, name: &str, patience: Duration) -> Result<Option<Ipv6Addr>>;
    /// Asks a DHCP server of this machine, as `mac` on a link, what it would tell (DHCPINFORM: nobody gets a lease), and
    /// gives the text of one option.
    fn ask_dhcp(
        &self,
        interface: &str,
        server: Ipv4Addr,
        mac: Mac,
        option: u8,
        patience: Duration,
    ) -> Result<Option<String>>;
    /// Says one line to a process by its socket, and gives all that it answers until it closes.
    fn ask_socket(&self, socket: &Path, line: &str, patience: Duration) -> Result<String>;
    /// Opens such a socket for several lines: whoever is at its other end is not gone before it is closed again.
    fn talk(&self, socket: &Path, patience: Duration) -> Result<Box<dyn Talk>>;
    /// Whether a server is well: it takes a TCP connection, or nobody says that its UDP port is closed while `patience`
    /// lasts.
    fn knock(&self, protocol: Protocol, server: SocketAddr, patience: Duration) -> Result<()>;
    /// Tells the neighbours on a link, by gratuitous ARP, that this hardware address has these addresses now.
    fn announce(&self, interface: &str, mac: Mac, ips: &[Ipv4Addr]) -> Result<()>;
    /// Tells the neighbours on a link that this hardware address has an IPv6 address now.
    fn advertise(&self, interface: &str, mac: Mac, ip: Ipv6Addr) -> Result<()>;
    /// Asks by ARP on a link who has an address, again and again until somebody answers or `patience` ends. The question
    /// comes from nobody, so it changes no neighbour's mind.
    fn ask_arp(&self, interface: &str, ip: Ipv4Addr, patience: Duration) -> Result<Option<Mac>>;
    /// Tells the DHCP server at `server` that the client gives its address back.
    fn release_lease(&self, interface: &str, server: Ipv4Addr, ip: Ipv4Addr, mac: Mac) -> Result<()>;

    /// Carries out a transaction of the packet filter, or says whether the kernel would.
    fn nft(&self, text: &str, only_check: bool) -> Result<()>;
    /// The objects of a table of any family, in the form of `nft -j list table`.
    fn nft_table(&self, family: &str, name: &str) -> Result<Option<Vec<serde_json::Value>>>;
}
