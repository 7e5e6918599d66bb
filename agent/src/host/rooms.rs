//! Rooms: namespaces from which the host serves its VMs itself, with what a router's agent would have there. Each has a
//! thread that lives in it and runs a [`RouterEngine`]; there is no second way to configure dnsmasq or the packet filter.
//!
//! ```text
//!   document ──► guard on the bridge ──► namespace, plug ──► thread in it ──► RouterEngine::put
//!                                            ▲                    │
//!                                            └── gone: all anew ──┘ ended: another thread, same namespace
//! ```
//!
//! The same room, with the same addresses, is on many hosts of a network: a guard drops what is from it or for it at the
//! bridge's port to the others.
//!
//! **Invariant:** a room is guarded before it is plugged in, and until it is gone.

use super::{HostSettings, Outcome, Site, plugs, record::MadeRoom};
use crate::{
    check,
    document::push_of_router,
    kernel::{Kernel, KernelError, LinkChange},
    router::{RouterEngine, RouterSettings},
    services::nftables::normalise,
    version::Build,
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};
use switchback_appliance::{DriftItem, Guard, HostSections, HostServiceConfig, RouterConfig, ServiceHealth, digest};
use switchback_events::{HypervisorType, Id, Mac, Position, RouterId};

/// A daemon of a room that died is started again after so long.
const RESTART_AFTER: Duration = Duration::from_secs(5);

/// The table of guards.
const GUARDS: (&str, &str) = ("bridge", "switchback_rooms");

/// What a room's thread is to do.
type Order = Box<dyn FnOnce(&RouterEngine) + Send>;

/// A room with its thread.
struct Room {
    orders: mpsc::Sender<Order>,
    thread: JoinHandle<()>,
}

impl Room {
    /// Starts a thread in a namespace.
    fn open(
        kernel: Arc<dyn Kernel>,
        namespace: String,
        settings: RouterSettings,
        build: Arc<Build>,
    ) -> Result<Room, KernelError> {
        let (orders, inbox) = mpsc::channel::<Order>();
        let (say, said) = mpsc::channel();
        let work = move || {
            let opened = kernel.enter(&namespace).and_then(|inside| RouterEngine::open(inside, settings, build));
            let engine = match opened {
                Ok(engine) => engine,
                Err(error) => return drop(say.send(Err(error))),
            };
            if let Err(error) = engine.restore() {
                tracing::warn!(namespace, %error, "a room does not come back as it was");
            }
            drop(say.send(Ok(())));
            for order in inbox {
                order(&engine);
            }
            engine.stop();
        };
        let failed = |error: &dyn std::fmt::Display| KernelError::new("start the thread of a room", error);
        let thread =
            std::thread::Builder::new().name("room".to_string()).spawn(work).map_err(|error| failed(&error))?;
        match said.recv() {
            Ok(Ok(())) => Ok(Room { orders, thread }),
            Ok(Err(error)) => Err(error),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Asks the engine, and waits for the answer; nothing where the thread has ended.
    fn ask<T: Send + 'static>(&self, ask: impl FnOnce(&RouterEngine) -> T + Send + 'static) -> Option<T> {
        let (say, said) = mpsc::channel();
        self.orders.send(Box::new(move |engine| drop(say.send(ask(engine))))).ok()?;
        said.recv().ok()
    }

    /// Ends the thread, and with it what it serves.
    fn close(self) {
        drop(self.orders);
        if self.thread.join().is_err() {
            tracing::error!("the thread of a room had ended by a fault");
        }
    }
}

/// The rooms of a host, and the guards that were put in place.
pub struct Rooms {
    kernel: Arc<dyn Kernel>,
    build: Arc<Build>,
    open: Mutex<BTreeMap<Id, Room>>,
    guards: Guards,
}

/// Whose document is applied, and under which revision and epoch.
#[derive(Clone, Copy)]
pub struct Version {
    /// The host.
    pub host: Id,
    /// Of the host's document.
    pub revision: Position,
    /// Of the server.
    pub epoch: u64,
}

/// The namespace of a room: others of the same network may be on this machine, of other hosts of a lab.
fn namespace(settings: &HostSettings, id: Id, host: Id) -> String {
    format!("{}-fl-{}-{}", settings.prefix, id.tail(), host.tail())
}

/// Where its files are.
fn directory(state_dir: &Path, id: Id) -> PathBuf {
    state_dir.join("rooms").join(id.to_string())
}

impl Rooms {
    /// No rooms.
    pub fn new(kernel: Arc<dyn Kernel>, build: Arc<Build>) -> Rooms {
        Rooms { kernel, build, open: Mutex::default(), guards: Guards::default() }
    }

    /// Puts the guards of a document in place, and of no other rooms; what was done.
    pub fn guard(&mut self, sections: &HostSections, hypervisor: HypervisorType) -> Result<Vec<String>, String> {
        self.guards.apply(self.kernel.as_ref(), sections, hypervisor).map_err(|error| error.to_string())
    }

    /// Makes a room what it should be.
    pub fn ensure(
        &self,
        site: &Site<'_>,
        id: Id,
        config: &HostServiceConfig,
        mut made: Option<MadeRoom>,
        version: Version,
    ) -> Outcome<MadeRoom> {
        let mut actions = Vec::new();
        let result = self.bring_up(site, id, config, &mut made, version, &mut actions).map(|()| None);
        Outcome { made, result, actions }
    }

    fn bring_up(
        &self,
        site: &Site<'_>,
        id: Id,
        config: &HostServiceConfig,
        made: &mut Option<MadeRoom>,
        version: Version,
        actions: &mut Vec<String>,
    ) -> Result<(), String> {
        let kernel = site.kernel;
        let text = |error: KernelError| error.to_string();
        check::plugs(&config.plugs)?;
        let name = namespace(site.settings, id, version.host);
        let plugged = config.plugs.iter().all(|plug| site.links.contains_key(&plug.internal_name));
        let fresh = made.is_none() || !plugged || !site.namespaces.contains(&name);
        if fresh {
            if let Some(made) = made.as_ref() {
                self.clear(site, id, made).map_err(text)?;
            }
            kernel.remove_namespace(&name).map_err(text)?;
            kernel.add_namespace(&name).map_err(text)?;
            kernel.change_links(Some(&name), &[LinkChange::Up("lo".to_string())]).map_err(text)?;
            actions.push(format!("make room {name}"));
        }
        *made = Some(MadeRoom { namespace: name.clone(), plugs: config.plugs.clone() });
        plugs::ensure(site, &name, &config.plugs, fresh)?;
        let held = self.open.lock().remove(&id);
        let room = match held {
            Some(room) => room,
            None => {
                let settings = RouterSettings {
                    router: RouterId(id),
                    listen: None,
                    state_dir: directory(&site.settings.state_dir, id),
                    restart_after: RESTART_AFTER,
                };
                Room::open(self.kernel.clone(), name.clone(), settings, self.build.clone()).map_err(text)?
            }
        };
        let sections = config.sections.clone();
        let told = room.ask(move |engine| {
            let held = engine.held();
            // What is as it was keeps its revision, and is only looked after.
            let same = held.revision > 0 && held.digests == sections.digests();
            let revision = if same { held.revision } else { version.revision.max(held.revision) };
            let config = RouterConfig { router: RouterId(id), revision, sections };
            engine.put(push_of_router(&config, version.epoch), false)
        });
        let Some(told) = told else {
            room.close();
            return Err(format!("the thread of room {name} has ended"));
        };
        self.open.lock().insert(id, room);
        let report = told.map_err(|problem| problem.to_string())?;
        let done = report.sections.into_values().flat_map(|section| section.actions);
        actions.extend(done.map(|action| format!("{name}: {action}")));
        Ok(())
    }

    /// Removes a room and its files.
    pub fn remove(&self, site: &Site<'_>, id: Id, made: &MadeRoom) -> Result<String, KernelError> {
        self.clear(site, id, made)?;
        Ok(format!("remove room {}", made.namespace))
    }

    fn clear(&self, site: &Site<'_>, id: Id, made: &MadeRoom) -> Result<(), KernelError> {
        let room = self.open.lock().remove(&id);
        if let Some(room) = room {
            room.close();
        }
        plugs::remove(site, &made.plugs)?;
        site.kernel.remove_namespace(&made.namespace)?;
        site.kernel.remove(&directory(&site.settings.state_dir, id))
    }

    /// Starts daemons again that have died.
    pub fn supervise(&self) {
        for room in self.open.lock().values() {
            // One that is at work looks after itself.
            let _ = room.orders.send(Box::new(RouterEngine::supervise));
        }
    }

    /// Whether the rooms serve as they should.
    pub fn health(&self, wanted: &BTreeMap<Id, HostServiceConfig>) -> ServiceHealth {
        let open = self.open.lock();
        let well = |id: &Id| {
            let health = open.get(id).and_then(|room| room.ask(RouterEngine::health));
            health.is_some_and(|health| health.healthy)
        };
        let serving = wanted.keys().filter(|id| well(id)).count();
        let guarded = self.guards.intact(self.kernel.as_ref());
        let detail = match guarded {
            true => format!("{serving} of {}", wanted.len()),
            false => "the table of guards is not the one that was put in place".to_string(),
        };
        ServiceHealth { healthy: guarded && serving == wanted.len(), detail }
    }

    /// What is otherwise than it was put in place.
    pub fn drift(&self) -> Vec<DriftItem> {
        let mut items = Vec::new();
        for (id, room) in &*self.open.lock() {
            if let Some(Ok(drift)) = room.ask(RouterEngine::drift) {
                items.extend(
                    drift.items.into_iter().map(|item| DriftItem { item: format!("{id}: {}", item.item), ..item }),
                );
            }
        }
        if !self.guards.intact(self.kernel.as_ref()) {
            let [section, item, expected, observed] =
                [HostSections::SERVICES, "guards", "as they were put in place", "something else"].map(str::to_string);
            items.push(DriftItem { section, item, expected, observed });
        }
        items
    }
}

/// What keeps rooms from each other.
#[derive(Default)]
struct Guards {
    text: String,
    /// How the kernel printed it.
    seen: Option<String>,
}

impl Guards {
    fn apply(
        &mut self,
        kernel: &dyn Kernel,
        sections: &HostSections,
        hypervisor: HypervisorType,
    ) -> Result<Vec<String>, KernelError> {
        let wanted = render(sections, hypervisor);
        let seen = observe(kernel)?;
        if wanted == self.text && seen == self.seen {
            return Ok(vec![]);
        }
        let (family, name) = GUARDS;
        let mut text = format!("table {family} {name}\ndelete table {family} {name}\n");
        if wanted.is_empty() && seen.is_none() {
            *self = Guards::default();
            return Ok(vec![]);
        }
        text.push_str(&wanted);
        kernel.nft(&text, false)?;
        *self = Guards { text: wanted, seen: observe(kernel)? };
        Ok(vec![format!("guard {} rooms", sections.services.len())])
    }

    fn intact(&self, kernel: &dyn Kernel) -> bool {
        observe(kernel).is_ok_and(|seen| seen == self.seen)
    }
}

/// A digest of the table as the kernel prints it.
fn observe(kernel: &dyn Kernel) -> Result<Option<String>, KernelError> {
    Ok(kernel.nft_table(GUARDS.0, GUARDS.1)?.map(|objects| digest(&normalise(objects.into()))))
}

/// The table for the rooms of a document; empty where there are none.
fn render(sections: &HostSections, hypervisor: HypervisorType) -> String {
    if sections.services.is_empty() {
        return String::new();
    }
    let mut rules = String::new();
    for service in sections.services.values() {
        match &service.guard {
            Guard::Network { plug, mac, ip } => {
                if let Some(port) = port_of(sections, hypervisor, service, plug) {
                    apart(&mut rules, &port, (*mac, *ip), service);
                }
            }
            Guard::Nic { plug, nic, gateway } => {
                if ![plug, nic].into_iter().all(|name| check::is_interface(name)) {
                    continue;
                }
                let _ = writeln!(rules, "    iifname != \"{nic}\" oifname \"{plug}\" drop");
                let _ = writeln!(rules, "    iifname \"{plug}\" oifname != \"{nic}\" drop");
                let _ = writeln!(rules, "    iifname \"{nic}\" oifname != \"{plug}\" arp daddr ip {gateway} drop");
                let _ = writeln!(rules, "    iifname != \"{plug}\" oifname \"{nic}\" arp saddr ip {gateway} drop");
            }
        }
    }
    let (family, name) = GUARDS;
    format!(
        "table {family} {name} {{\n  chain wire {{\n    type filter hook forward priority -20; policy accept;\n{rules}  }}\n}}\n"
    )
}

/// The port to the other hosts of the bridge that a plug of a service is in.
fn port_of(
    sections: &HostSections,
    hypervisor: HypervisorType,
    service: &HostServiceConfig,
    plug: &str,
) -> Option<String> {
    let plug = service.plugs.iter().find(|one| one.internal_name == plug)?;
    let bridge = sections.bridges.values().find(|bridge| bridge.name == plug.bridge)?;
    let interface = Some(&bridge.physical_interface).filter(|interface| check::is_interface(interface))?;
    let realisation = super::realisation::realisation(bridge.network_type(), hypervisor);
    Some(realisation.port_name(interface, bridge.vlan))
}

/// Nothing of these addresses passes the port.
fn apart(rules: &mut String, port: &str, (mac, ip): (Mac, Ipv4Addr), service: &HostServiceConfig) {
    for way in ["iifname", "oifname"] {
        let _ = writeln!(rules, "    {way} \"{port}\" ether saddr {mac} drop");
        let _ = writeln!(rules, "    {way} \"{port}\" arp daddr ip {ip} drop");
    }
    let _ = writeln!(rules, "    oifname \"{port}\" ether daddr {mac} drop");
    let clients: BTreeSet<Mac> = service.sections.dhcp.hosts.iter().map(|host| host.mac).collect();
    if !clients.is_empty() {
        // Nobody else is asked for the addresses of those that the host serves.
        let clients: Vec<String> = clients.iter().map(ToString::to_string).collect();
        let clients = clients.join(", ");
        let _ = writeln!(rules, "    oifname \"{port}\" ether saddr {{ {clients} }} udp dport 67 drop");
    }
}

/// Removes the guards, whoever put them in place.
pub fn remove_guards(kernel: &dyn Kernel) -> Result<(), KernelError> {
    match observe(kernel)? {
        Some(_) => kernel.nft(&format!("delete table {} {}\n", GUARDS.0, GUARDS.1), false),
        None => Ok(()),
    }
}
