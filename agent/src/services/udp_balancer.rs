//! Load balancing of UDP, by the packet filter: every listener is a rule that sends each new flow to one of its servers.
//! Which of them are well the agent asks itself, and puts the rule in place again when that changes.
//!
//! The servers see where packets come from. Only what would go back to where it came from carries the router's address.

use super::nftables::{NftSet, Part, nobody};
use crate::kernel::Kernel;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};
use switchback_appliance::*;
use switchback_events::{LoadBalancerListenerId, Nic};

/// What the names of its sets and chains begin with.
pub const PREFIX: &str = "balanced";
/// An address that nobody has is known after this long.
const NOBODY: Duration = Duration::from_millis(3500);
/// Of the hash that sends a source to always the same server.
const SEED: u32 = 0x5b;
/// So many servers are asked at a time.
const QUESTIONS: usize = 64;

/// Servers that are not well, and of which listener.
pub type Unwell = BTreeSet<(LoadBalancerListenerId, SocketAddr)>;

/// Its part of the router's table.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Pieces {
    /// Sets and chains of its own, where a listener is there.
    pub part: Option<Part>,
    /// Rules of the chain `input`: the addresses and ports of the listeners of haproxy, and nothing else.
    pub input: String,
    /// Rules of the chain `forward`: what was translated here.
    pub forward: String,
}

/// Renders sets, chains, and the rules in the chains of [`super::firewall`].
pub fn render(config: &LoadBalancerConfig, interfaces: &InterfacesConfig, unwell: &Unwell) -> Pieces {
    let mut pieces = Pieces::default();
    let mut part = Part { section: LoadBalancerConfig::SECTION, ..Part::default() };
    let (of_udp, of_tcp): (Vec<_>, Vec<_>) =
        config.listeners.iter().partition(|listener| listener.protocol == ListenerProtocol::Udp);
    for (family, address_type, is_family) in [
        ("ip", "ipv4_addr", IpAddr::is_ipv4 as fn(&IpAddr) -> bool),
        ("ip6", "ipv6_addr", IpAddr::is_ipv6 as fn(&IpAddr) -> bool),
    ] {
        let elements = |listeners: &[&ListenerConfig]| {
            let ends = listeners.iter().flat_map(|listener| {
                let own = listener.addresses.iter().filter(|address| is_family(address));
                own.map(|address| format!("{address} . {}", listener.port))
            });
            ends.collect::<BTreeSet<String>>()
        };
        let mut set = |kind: &str, elements: BTreeSet<String>| {
            let name = format!("{PREFIX}_{kind}_{family}");
            if elements.is_empty() {
                return None;
            }
            let mut set = NftSet::set(&name, &format!("type {address_type} . inet_service;"));
            elements.iter().for_each(|element| set.add(element, None, &nobody()));
            part.sets.push(set);
            Some(name)
        };
        if let Some(name) = set("tcp", elements(&of_tcp)) {
            let _ = writeln!(pieces.input, "    meta l4proto tcp {family} daddr . tcp dport @{name} accept");
        }
        if let Some(name) = set("udp", elements(&of_udp)) {
            let _ = writeln!(
                pieces.forward,
                "    ct status dnat meta l4proto udp ct original {family} daddr . ct original proto-dst @{name} accept"
            );
        }
    }
    if of_udp.is_empty() {
        pieces.part = Some(part).filter(|part| !part.sets.is_empty());
        return pieces;
    }
    let _ = writeln!(
        part.chains,
        "  chain {PREFIX}_in {{\n    type nat hook prerouting priority dstnat + 1; policy accept;"
    );
    for listener in &of_udp {
        for address in &listener.addresses {
            rules(&mut part.chains, listener, *address, unwell);
        }
    }
    let _ = writeln!(
        part.chains,
        "  }}\n  chain {PREFIX}_back {{\n    type nat hook postrouting priority srcnat - 1; policy accept;"
    );
    for nic in interfaces.nics.iter().filter(|nic| nic.is(Nic::GUEST)) {
        for rule in pieces.forward.lines() {
            let translated = rule.trim_end_matches("accept").trim_start();
            let _ = writeln!(part.chains, "    iifname \"{0}\" oifname \"{0}\" {translated}masquerade", nic.name);
        }
    }
    part.chains.push_str("  }\n");
    pieces.part = Some(part);
    pieces
}

fn rules(text: &mut String, listener: &ListenerConfig, address: IpAddr, unwell: &Unwell) {
    let family = if address.is_ipv4() { "ip" } else { "ip6" };
    let what = format!("    {family} daddr {address} udp dport {}", listener.port);
    if let Some(access) = &listener.access {
        let own = access.sources.iter().filter(|source| source.addr().is_ipv4() == address.is_ipv4());
        let sources: Vec<String> = own.map(ToString::to_string).collect();
        let _ = match (sources.is_empty(), access.allow) {
            (true, true) => writeln!(text, "{what} return"),
            (true, false) => Ok(()),
            (false, allow) => {
                let not = if allow { "!= " } else { "" };
                writeln!(text, "{what} {family} saddr {not}{{ {} }} return", sources.join(", "))
            }
        };
    }
    let weighs = listener.algorithm == BalancerAlgorithm::WeightRoundRobin;
    let well = listener.servers.iter().filter(|server| {
        let end = SocketAddr::new(server.ip, server.port);
        server.ip.is_ipv4() == address.is_ipv4() && !unwell.contains(&(listener.listener, end))
    });
    let share = |server: &BackendServer| if weighs { u32::from(server.weight) } else { 1 };
    let servers: Vec<_> = well.filter(|server| share(server) > 0).collect();
    let all: u32 = servers.iter().map(|server| share(server)).sum();
    let by_source = listener.algorithm == BalancerAlgorithm::Source || !listener.persistence.is_off();
    // One rule a server and no map: a map's elements go while packets are still among the rules that look there.
    let mut before = 0;
    for server in servers {
        let own = share(server);
        let chosen = match (before + own == all, by_source) {
            (true, _) => String::new(),
            // The same number at each rule.
            (false, true) => format!("jhash {family} saddr mod {all} seed {SEED:#x} < {} ", before + own),
            // Those that come here were passed over by the rules before.
            (false, false) => format!("numgen inc mod {} < {own} ", all - before),
        };
        let _ = writeln!(text, "{what} {chosen}dnat {family} to {}", SocketAddr::new(server.ip, server.port));
        before += own;
    }
}

/// What the agent knows of the health of servers of UDP.
#[derive(Default)]
pub struct Checks {
    servers: Mutex<BTreeMap<(LoadBalancerListenerId, SocketAddr), Check>>,
}

#[derive(Clone, Copy, Default)]
struct Check {
    unwell: bool,
    /// Answers in a row that say otherwise.
    otherwise: u8,
    due: Option<Instant>,
    asking: bool,
}

impl Checks {
    /// Who is not well.
    pub fn unwell(&self) -> Unwell {
        self.servers.lock().iter().filter(|(_, check)| check.unwell).map(|(server, _)| *server).collect()
    }

    /// Asks the servers whose time has come, without waiting for them, and forgets those that are gone.
    pub fn ask(self: &Arc<Self>, kernel: &Arc<dyn Kernel>, config: &LoadBalancerConfig, now: Instant) {
        let mut servers = self.servers.lock();
        let mut wanted = BTreeMap::new();
        for listener in config.listeners.iter().filter(|listener| listener.protocol == ListenerProtocol::Udp) {
            for server in &listener.servers {
                wanted.insert((listener.listener, SocketAddr::new(server.ip, server.port)), &listener.health);
            }
        }
        servers.retain(|server, _| wanted.contains_key(server));
        let mut asking = servers.values().filter(|check| check.asking).count();
        for (server, health) in wanted {
            let check = servers.entry(server).or_default();
            if check.asking || check.due.is_some_and(|due| due > now) || asking >= QUESTIONS {
                continue;
            }
            (check.asking, asking) = (true, asking + 1);
            let (checks, kernel, health) = (self.clone(), kernel.clone(), health.clone());
            std::thread::spawn(move || {
                let protocol = if health.target == HealthTarget::Udp { Protocol::Udp } else { Protocol::Tcp };
                let timeout = Duration::from_secs(health.timeout.into());
                let patience = if protocol == Protocol::Udp { timeout.max(NOBODY) } else { timeout };
                let asked = SocketAddr::new(server.1.ip(), health.port.unwrap_or(server.1.port()));
                let well = kernel.knock(protocol, asked, patience).is_ok();
                checks.note(server, well, &health);
            });
        }
    }

    fn note(&self, server: (LoadBalancerListenerId, SocketAddr), well: bool, health: &HealthCheck) {
        let mut servers = self.servers.lock();
        let Some(check) = servers.get_mut(&server) else { return };
        check.asking = false;
        check.due = Some(Instant::now() + Duration::from_secs(health.interval.into()));
        if well != check.unwell {
            check.otherwise = 0;
            return;
        }
        check.otherwise = check.otherwise.saturating_add(1);
        if check.otherwise >= if well { health.healthy } else { health.unhealthy } {
            (check.unwell, check.otherwise) = (!well, 0);
        }
    }
}
