//! The real kernel: `ip`, `nft`, `/proc/sys`, files and processes.

use super::{
    Class, Connection, ElementChange, Kernel, KernelError, Known, Link, LinkChange, ProcessId, Result, Route, Shaper,
    ShapingChange, Spawn, TableChange, Talk, Tell, Tracked, arp, connections, namespace, netlink, probe,
    process::{self, Nursery},
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use nix::net::if_::if_nametoindex;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fmt::Write,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use switchback_appliance::{Neighbour, Protocol};
use switchback_events::{Mac, Micros};

/// So many packets that no class is for wait at a link that shapes.
const QUEUE: u32 = 1000;

/// The table of routes that [`LinkChange::RouteFrom`] uses.
const FROM_TABLE: u32 = 100;

/// The machine that the agent runs on.
pub struct LinuxKernel {
    nursery: Nursery,
    files_written: AtomicU64,
}

impl Default for LinuxKernel {
    fn default() -> Self {
        Self { nursery: Nursery::open(), files_written: AtomicU64::new(0) }
    }
}

impl LinuxKernel {
    /// The kernel under this process.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Kernel for LinuxKernel {
    fn links(&self) -> Result<Vec<Link>> {
        netlink::links()
    }

    fn routes(&self) -> Result<Vec<Route>> {
        let mut routes = Vec::new();
        for family in ["-4", "-6"] {
            routes.extend(parse_routes(&process::run("ip", &["-j", family, "route", "show", "table", "main"], None)?)?);
        }
        Ok(routes)
    }

    fn change_links(&self, inside: Option<&str>, changes: &[LinkChange]) -> Result<()> {
        // Addresses of VIPs come and go in thousands, and one of them while somebody waits: they need no tool.
        let own = |change| if inside.is_none() { own_address(change) } else { None };
        let mut rest = changes;
        while let Some(first) = rest.first() {
            let alike = match own(first) {
                Some(_) => {
                    let addresses: Vec<_> = rest.iter().map_while(own).collect();
                    netlink::change_addresses(&addresses)?;
                    addresses.len()
                }
                None => {
                    let others = rest.iter().take_while(|change| own(change).is_none()).count();
                    change_by_tool(inside, rest.get(..others).unwrap_or_default())?;
                    others
                }
            };
            rest = rest.get(alike..).unwrap_or_default();
        }
        Ok(())
    }

    fn shaping(&self) -> Result<BTreeMap<String, Shaper>> {
        netlink::shaping()
    }

    fn change_shaping(&self, changes: &[ShapingChange]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let text: String = changes.iter().flat_map(shaping_lines).map(|line| line + "\n").collect();
        process::run("tc", &["-batch", "-"], Some(&text)).map_err(|error| name_the_line("tc", error, &text))?;
        Ok(())
    }

    fn sysctl(&self, key: &str) -> Result<Option<String>> {
        match fs::read_to_string(Path::new("/proc/sys").join(key)) {
            Ok(text) => Ok(Some(text.trim().to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(KernelError::new(format!("read {key}"), error)),
        }
    }

    fn set_sysctl(&self, key: &str, value: &str) -> Result<()> {
        fs::write(Path::new("/proc/sys").join(key), value)
            .map_err(|error| KernelError::new(format!("set {key} to {value}"), error))
    }

    fn namespaces(&self) -> Result<Vec<String>> {
        namespace::list()
    }

    fn add_namespace(&self, name: &str) -> Result<()> {
        namespace::add(name)
    }

    fn remove_namespace(&self, name: &str) -> Result<()> {
        namespace::remove(name)
    }

    fn enter(&self, name: &str) -> Result<Arc<dyn Kernel>> {
        namespace::enter(name)?;
        // Its children are started by a thread of its own, which is where this one is.
        Ok(Arc::new(LinuxKernel::new()))
    }

    fn rename_namespace(&self, from: &str, to: &str) -> Result<()> {
        namespace::rename(from, to)
    }

    fn connections(&self, inside: &str) -> Result<Vec<Tracked>> {
        namespace::within(inside, connections::all)
    }

    fn add_connections(&self, inside: &str, connections: &[Tracked], known: &mut Known) -> Result<usize> {
        namespace::within(inside, || connections::add(connections, known))
    }

    fn neighbours(&self, inside: &str) -> Result<Vec<Neighbour>> {
        parse_neighbours(&process::run("ip", &["-n", inside, "-j", "neigh", "show"], None)?)
    }

    fn add_neighbours(&self, inside: &str, neighbours: &[Neighbour]) -> Result<()> {
        let line = |known: &Neighbour| {
            format!("neigh replace {} lladdr {} dev {} nud stale\n", known.ip, known.mac, known.interface)
        };
        let text: String = neighbours.iter().map(line).collect();
        process::run("ip", &["-n", inside, "-force", "-batch", "-"], Some(&text)).map(|_| ())
    }

    fn announce_all(&self, inside: &str) -> Result<()> {
        namespace::within(inside, || {
            for link in netlink::links()? {
                let Some(mac) = link.mac.filter(|mac| *mac != Mac([0; 6])) else { continue };
                let ips = |net: &IpNet| match net {
                    IpNet::V4(net) => Some(net.addr()),
                    IpNet::V6(_) => None,
                };
                arp::announce(&link.name, mac, &link.addresses.iter().filter_map(ips).collect::<Vec<_>>())?;
                for net in &link.addresses {
                    if let IpNet::V6(net) = net
                        && let Err(error) = probe::advertise(&link.name, mac, net.addr())
                    {
                        tracing::warn!(%error, "neighbours are not told of an address");
                    }
                }
            }
            Ok(())
        })
    }

    fn check_table(&self, name: &str, text: &str) -> Result<()> {
        process::run("nft", &["-c", "-f", "-"], Some(&transaction(name, text))).map(|_| ())
    }

    fn replace_table(&self, name: &str, text: &str) -> Result<()> {
        process::run("nft", &["-f", "-"], Some(&transaction(name, text))).map(|_| ())
    }

    fn delete_table(&self, name: &str) -> Result<()> {
        let text = format!("table inet {name}\ndelete table inet {name}\n");
        process::run("nft", &["-f", "-"], Some(&text)).map(|_| ())
    }

    fn table(&self, name: &str) -> Result<Option<Vec<serde_json::Value>>> {
        list(&["-j", "list", "table", "inet", name])
    }

    fn table_outline(&self, name: &str) -> Result<Option<Vec<serde_json::Value>>> {
        list(&["-j", "-t", "list", "table", "inet", name])
    }

    fn set_of_table(&self, name: &str, set: &str) -> Result<Option<serde_json::Value>> {
        let found = list(&["-j", "list", "set", "inet", name, set])?;
        Ok(found.into_iter().flatten().find(|object| object.get("set").is_some()))
    }

    fn change_table(&self, name: &str, change: &TableChange) -> Result<()> {
        process::run("nft", &["-f", "-"], Some(&changes(name, change))).map(|_| ())
    }

    fn generation(&self) -> Result<u32> {
        netlink::generation()
    }

    fn forget_connections(&self, stale: &dyn Fn(&Connection) -> bool) -> Result<usize> {
        netlink::forget_connections(stale)
    }

    fn read(&self, path: &Path) -> Result<Option<String>> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(KernelError::new(format!("read `{}`", path.display()), error)),
        }
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn write(&self, path: &Path, content: &[u8], mode: u32) -> Result<()> {
        let failed = |error: io::Error| KernelError::new(format!("write `{}`", path.display()), error);
        let directory = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(directory).map_err(failed)?;
        let unique = self.files_written.fetch_add(1, Ordering::Relaxed);
        let fresh = directory.join(format!(".fresh-{}-{unique}", std::process::id()));
        let written = (|| {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
            io::Write::write_all(&mut file, content)?;
            fs::rename(&fresh, path)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&fresh);
        }
        written.map_err(failed)
    }

    fn append(&self, path: &Path, content: &[u8], mode: u32) -> Result<()> {
        let opened = fs::OpenOptions::new().append(true).create(true).mode(mode).open(path);
        opened
            .and_then(|mut file| io::Write::write_all(&mut file, content))
            .map_err(|error| KernelError::new(format!("add to `{}`", path.display()), error))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(KernelError::new(format!("remove `{}`", path.display()), error))
            }
            _ => Ok(()),
        }
    }

    fn run(&self, program: &str, args: &[&str]) -> Result<()> {
        process::run(program, args, None).map(|_| ())
    }

    fn spawn(&self, spawn: &Spawn) -> Result<ProcessId> {
        self.nursery.spawn(spawn)
    }

    fn alive(&self, process: &ProcessId) -> bool {
        process::alive(process)
    }

    fn tell(&self, process: &ProcessId, what: Tell) -> Result<()> {
        process::tell(process, what)
    }

    fn wait_gone(&self, process: &ProcessId, patience: Duration) -> bool {
        process::wait_gone(process, patience)
    }

    fn wait_accepting(
        &self,
        namespace: &str,
        address: SocketAddr,
        process: &ProcessId,
        patience: Duration,
    ) -> Result<()> {
        probe::wait_accepting(namespace, address, process, patience)
    }

    fn word(&self, file: &Path, process: &ProcessId, patience: Duration) -> Result<String> {
        let failed = |detail: &str| KernelError::new(format!("wait for `{}`", file.display()), detail);
        let deadline = std::time::Instant::now() + patience;
        loop {
            let lives = process::alive(process);
            if let Some(text) = self.read(file)? {
                return Ok(text);
            }
            if !lives {
                return Err(failed("the process ended"));
            }
            if std::time::Instant::now() > deadline {
                return Err(failed("nothing in time"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn announce(&self, interface: &str, mac: Mac, ips: &[Ipv4Addr]) -> Result<()> {
        arp::announce(interface, mac, ips)
    }

    fn advertise(&self, interface: &str, mac: Mac, ip: Ipv6Addr) -> Result<()> {
        probe::advertise(interface, mac, ip)
    }

    fn ask_dns(&self, server: IpAddr, name: &str, patience: Duration) -> Result<Option<Ipv6Addr>> {
        probe::ask_dns(server, name, patience)
    }

    fn ask_socket(&self, socket: &Path, line: &str, patience: Duration) -> Result<String> {
        probe::ask_socket(socket, line, patience)
    }

    fn talk(&self, socket: &Path, patience: Duration) -> Result<Box<dyn Talk>> {
        Ok(Box::new(probe::Prompt::open(socket, patience)?))
    }

    fn knock(&self, protocol: Protocol, server: SocketAddr, patience: Duration) -> Result<()> {
        probe::knock(protocol, server, patience)
    }

    fn ask_arp(&self, interface: &str, ip: Ipv4Addr, patience: Duration) -> Result<Option<Mac>> {
        arp::ask(interface, ip, patience)
    }

    fn ask_dhcp(
        &self,
        interface: &str,
        server: Ipv4Addr,
        mac: Mac,
        option: u8,
        patience: Duration,
    ) -> Result<Option<String>> {
        probe::ask_dhcp(interface, server, mac, option, patience)
    }

    #[expect(clippy::disallowed_methods, reason = "it is for people to read; nothing is decided on it")]
    fn wall_clock(&self) -> Micros {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Micros::try_from(since.as_micros()).unwrap_or_default()
    }

    fn release_lease(&self, interface: &str, server: Ipv4Addr, ip: Ipv4Addr, mac: Mac) -> Result<()> {
        probe::release_lease(interface, server, ip, mac)
    }

    fn nft(&self, text: &str, only_check: bool) -> Result<()> {
        let args: &[&str] = if only_check { &["-c", "-f", "-"] } else { &["-f", "-"] };
        process::run("nft", args, Some(text)).map(|_| ())
    }

    fn nft_table(&self, family: &str, name: &str) -> Result<Option<Vec<serde_json::Value>>> {
        list(&["-j", "list", "table", family, name])
    }
}

/// What nft lists; nothing where there is no such thing.
fn list(args: &[&str]) -> Result<Option<Vec<serde_json::Value>>> {
    let printed = match process::run("nft", args, None) {
        Ok(printed) => printed,
        Err(error) if error.detail.contains("No such file") => return Ok(None),
        Err(error) => return Err(error),
    };
    #[derive(Deserialize)]
    struct Listing {
        nftables: Vec<serde_json::Value>,
    }
    let listing: Listing =
        serde_json::from_slice(&printed).map_err(|error| KernelError::new("read the table", error))?;
    Ok(Some(listing.nftables))
}

/// Replaces a table: made first so that the deletion cannot fail, all in one transaction.
fn transaction(name: &str, text: &str) -> String {
    format!("table inet {name}\ndelete table inet {name}\ntable inet {name} {{\n{text}}}\n")
}

/// Changes a table: what goes is empty before it goes, and gone before anything of its name comes.
fn changes(name: &str, change: &TableChange) -> String {
    let mut text = String::new();
    for (verb, things) in [
        ("flush chain", &change.emptied),
        ("delete chain", &change.chains_gone),
        ("flush", &change.flushed),
        ("delete", &change.sets_gone),
    ] {
        for thing in things {
            let (kind, thing) = thing.split_once(' ').map_or(("", thing.as_str()), |(kind, thing)| (kind, thing));
            let space = if kind.is_empty() { "" } else { " " };
            let _ = writeln!(text, "{verb}{space}{kind} inet {name} {thing}");
        }
    }
    for element in &change.elements {
        let _ = match element {
            ElementChange::Add { set, element } => writeln!(text, "add element inet {name} {set} {{ {element} }}"),
            ElementChange::Delete { set, key } => writeln!(text, "delete element inet {name} {set} {{ {key} }}"),
            // One that is there already stays as it is; what is not there cannot be deleted.
            ElementChange::Forget { set, key } => writeln!(
                text,
                "add element inet {name} {set} {{ {key} }}\ndelete element inet {name} {set} {{ {key} }}"
            ),
        };
    }
    if !change.text.is_empty() {
        let _ = write!(text, "table inet {name} {{\n{}}}\n", change.text);
    }
    text
}

/// The line of `ip -batch` that failed, instead of its number.
fn name_the_line(tool: &str, error: KernelError, text: &str) -> KernelError {
    let number = error.detail.rsplit_once("Command failed -:").and_then(|(_, tail)| tail.trim().parse::<usize>().ok());
    let line = number.and_then(|number| text.lines().nth(number.saturating_sub(1)));
    match line {
        Some(line) => {
            let said = error.detail.lines().next().unwrap_or_default();
            KernelError::new(format!("{tool} {line}"), said)
        }
        None => error,
    }
}

/// Carries changes out by `ip`.
fn change_by_tool(inside: Option<&str>, changes: &[LinkChange]) -> Result<()> {
    let there = |change: &&LinkChange| match change {
        LinkChange::Delete(name) => inside.is_some() || if_nametoindex(name.as_str()).is_ok(),
        _ => true,
    };
    let text: String = changes.iter().filter(there).flat_map(batch_lines).map(|line| line + "\n").collect();
    let args: &[&str] = match inside {
        Some(name) => &["-n", name, "-batch", "-"],
        None => &["-batch", "-"],
    };
    process::run("ip", args, Some(&text)).map_err(|error| name_the_line("ip", error, &text))?;
    Ok(())
}

/// An address of IPv4 that is a subnet of its own.
fn own_address(change: &LinkChange) -> Option<netlink::OwnAddress<'_>> {
    let (add, link, net) = match change {
        LinkChange::AddAddress(link, IpNet::V4(net)) => (true, link, net),
        LinkChange::DeleteAddress(link, IpNet::V4(net)) => (false, link, net),
        _ => return None,
    };
    (net.prefix_len() == 32).then(|| netlink::OwnAddress { add, link, ip: net.addr() })
}

fn batch_lines(change: &LinkChange) -> Vec<String> {
    let destination = |net: &IpNet| match net {
        // The word stands for IPv4 where no family is given.
        IpNet::V4(net) if net.prefix_len() == 0 => "default".to_string(),
        net => net.to_string(),
    };
    let one = match change {
        LinkChange::Up(name) => format!("link set {name} up"),
        LinkChange::Down(name) => format!("link set {name} down"),
        LinkChange::Mtu(name, mtu) => format!("link set {name} mtu {mtu}"),
        LinkChange::Rename(from, to) => {
            return vec![format!("link set {from} down"), format!("link set {from} name {to}")];
        }
        LinkChange::RenameUp(from, to) => format!("link set {from} name {to}"),
        LinkChange::AddAddress(name, IpNet::V4(net)) => format!("addr add {net} broadcast + dev {name}"),
        // It has one holder, which the log says: nobody else need be asked first.
        LinkChange::AddAddress(name, net) => format!("addr add {net} dev {name} nodad"),
        LinkChange::DeleteAddress(name, net) => format!("addr del {net} dev {name}"),
        LinkChange::SetRoute(route) => {
            format!("route replace {} via {} dev {}", destination(&route.destination), route.gateway, route.interface)
        }
        LinkChange::DeleteRoute(route) => {
            format!("route del {} via {} dev {}", destination(&route.destination), route.gateway, route.interface)
        }
        LinkChange::RouteFrom(source, route) => {
            let to = destination(&route.destination);
            return vec![
                // Neighbours stay neighbours: only what a default route would carry goes by the table.
                format!("rule add from {source} lookup main suppress_prefixlength 0 pref 1000"),
                format!("rule add from {source} lookup {FROM_TABLE} pref 1001"),
                format!("route replace {to} via {} dev {} table {FROM_TABLE}", route.gateway, route.interface),
            ];
        }
        LinkChange::CreateBridge(name) => format!("link add name {name} type bridge"),
        LinkChange::CreateVlan { parent, id, name } => format!("link add link {parent} name {name} type vlan id {id}"),
        LinkChange::CreatePair { name, mtu, namespace, inside, mac } => format!(
            "link add name {name} mtu {mtu} type veth peer name {inside} address {mac} mtu {mtu} netns {namespace}"
        ),
        LinkChange::Delete(name) => format!("link del {name}"),
        LinkChange::Enslave(name, bridge) => format!("link set {name} master {bridge}"),
        LinkChange::Release(name) => format!("link set {name} nomaster"),
        LinkChange::CreateDetour(name) => {
            return vec![format!("link add name {name} type ifb"), format!("link set {name} txqueuelen {QUEUE} up")];
        }
        LinkChange::FilterBridged(name, on) => {
            let on = u8::from(*on);
            format!("link set {name} type bridge nf_call_iptables {on} nf_call_ip6tables {on}")
        }
    };
    vec![one]
}

/// Neighbours whose hardware address is known, as `ip neigh` takes them.
fn parse_neighbours(printed: &[u8]) -> Result<Vec<Neighbour>> {
    #[derive(Deserialize)]
    struct Printed {
        dst: IpAddr,
        dev: String,
        lladdr: Option<String>,
    }
    if printed.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let all: Vec<Printed> =
        serde_json::from_slice(printed).map_err(|error| KernelError::new("read the neighbours", error))?;
    let known = |found: Printed| {
        let mac: Mac = found.lladdr?.parse().ok()?;
        Some(Neighbour { interface: found.dev, ip: found.dst, mac })
    };
    Ok(all.into_iter().filter_map(known).collect())
}

fn shaping_lines(change: &ShapingChange) -> Vec<String> {
    /// So long a class may send at once: longer than a timer is late, or another's packet on its way.
    const BURST_MILLIS: u64 = 10;
    /// And so much at the least: the largest packet.
    const BURST_MIN: u64 = 1 << 16;
    /// Of what it has of its own there is no more than a packet.
    const BURST_OWN: u64 = 1600;
    /// What one of several gets at a time.
    const QUANTUM: u64 = 15_140;
    let burst = |rate: u64| (rate / 1000 * BURST_MILLIS).max(BURST_MIN);
    let of_class = |verb: &str, link: &str, handle: u16, number: u16, class: &Class| {
        let parent = class.parent.map_or(String::new(), |parent| format!("{parent:x}"));
        // Bits, as tc divides them by 8 again.
        let (rate, ceil) = (class.rate * 8, class.ceil * 8);
        let one = format!(
            "class {verb} dev {link} parent {handle:x}:{parent} classid {handle:x}:{number:x} htb rate {rate}bit ceil \
             {ceil}bit burst {} cburst {} quantum {QUANTUM}",
            class.parent.map_or(burst(class.rate), |_| BURST_OWN),
            burst(class.ceil)
        );
        let queue = class.queue;
        let queue =
            queue.map(|queue| format!("qdisc replace dev {link} parent {handle:x}:{number:x} bfifo limit {queue}"));
        std::iter::once(one).chain(queue).collect()
    };
    match change {
        ShapingChange::Shape { link, handle } => {
            vec![format!("qdisc replace dev {link} root handle {handle:x}: htb default 0 direct_qlen {QUEUE}")]
        }
        ShapingChange::Unshape { link } => vec![format!("qdisc del dev {link} root")],
        ShapingChange::Add { link, handle, number, class } => of_class("add", link, *handle, *number, class),
        ShapingChange::Change { link, handle, number, class } => of_class("change", link, *handle, *number, class),
        ShapingChange::Delete { link, handle, number } => {
            vec![format!("class del dev {link} classid {handle:x}:{number:x}")]
        }
    }
}

fn parse_routes(printed: &[u8]) -> Result<Vec<Route>> {
    #[derive(Deserialize)]
    struct Printed {
        dst: String,
        gateway: Option<IpAddr>,
        dev: Option<String>,
    }
    let routes: Vec<Printed> = if printed.trim_ascii().is_empty() {
        Vec::new()
    } else {
        serde_json::from_slice(printed).map_err(|error| KernelError::new("read the routes", error))?
    };
    let route = |printed: Printed| {
        let gateway = printed.gateway?;
        let destination = match (printed.dst.as_str(), gateway) {
            ("default", IpAddr::V4(_)) => Ipv4Net::default().into(),
            ("default", IpAddr::V6(_)) => Ipv6Net::default().into(),
            (text, _) => text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?,
        };
        Some(Route { destination, gateway, interface: printed.dev? })
    };
    Ok(routes.into_iter().filter_map(route).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_from_what_ip_prints() {
        let routes = parse_routes(
            br#"[{"dst":"default","gateway":"10.0.0.254","dev":"eth0"},{"dst":"10.0.0.0/24","dev":"eth0"}]"#,
        )
        .unwrap();
        assert_eq!(routes.len(), 1);
        assert_eq!(routes[0].destination, Ipv4Net::default().into());
        let routes =
            parse_routes(br#"[{"dst":"fd00::/64","dev":"eth0"},{"dst":"default","gateway":"fd00::1","dev":"eth0"}]"#);
        assert_eq!(routes.unwrap()[0].destination, Ipv6Net::default().into());
    }

    #[test]
    fn neighbours_that_have_not_answered_are_not_known() {
        let printed = br#"[{"dst":"10.0.0.7","dev":"eth1","lladdr":"fa:00:00:00:00:01","state":["REACHABLE"]},
            {"dst":"10.0.0.8","dev":"eth1","state":["FAILED"]},{"dst":"fe80::1","dev":"eth1","lladdr":"fa:00:00:00:00:02"}]"#;
        let known = parse_neighbours(printed).unwrap();
        let neighbour = |ip: &str, mac: &str| Neighbour {
            interface: "eth1".to_string(),
            ip: ip.parse().unwrap(),
            mac: mac.parse().unwrap(),
        };
        assert_eq!(known, [neighbour("10.0.0.7", "fa:00:00:00:00:01"), neighbour("fe80::1", "fa:00:00:00:00:02")]);
        assert!(parse_neighbours(b" \n").unwrap().is_empty());
    }

    #[test]
    fn a_failing_line_is_named() {
        let error = KernelError::new("run", "RTNETLINK answers: File exists\nCommand failed -:2");
        assert_eq!(
            name_the_line("ip", error, "a\nlink add x\n").to_string(),
            "ip link add x: RTNETLINK answers: File exists"
        );
    }
}
