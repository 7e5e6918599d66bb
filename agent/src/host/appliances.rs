//! Appliances in their form `netns`: a network namespace, its plugs, and in it the router's own agent.
//!
//! ```text
//!   identity ──► namespace ──► plugs ──► management address ──► agent ──► accepts connections: ok
//!                    ▲                                            │
//!                    └── another generation: all anew             └── ended: started again, same namespace
//! ```

use super::{
    HostSettings, Outcome, Site, plugs,
    record::{MadeAppliance, TravelStage},
    succession,
};
use crate::{
    bootstrap::{Bootstrap, IDENTITY, Started},
    check,
    kernel::{House, Kernel, KernelError, LinkChange, ProcessId, Route, Spawn, Tell},
    router::{CHANGES, DNSMASQ, LAST_GOOD},
};
use ipnet::{IpNet, Ipv4Net};
use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};
use switchback_appliance::{ApplianceConfig, Identity, Journey, ManagementAddress};
use switchback_events::RouterId;

/// How long an agent may take until it accepts connections: before that it puts in place what it had, which may be
/// ten thousand EIPs. One that ends is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The namespace of a router.
pub fn namespace(settings: &HostSettings, router: RouterId) -> String {
    format!("{}-vr-{}", settings.prefix, router.0.tail())
}

/// Where the files of a router are.
pub fn directory(state_dir: &Path, router: RouterId) -> PathBuf {
    state_dir.join("routers").join(router.to_string())
}

/// Where an appliance lives: its namespace and its files.
#[derive(Clone, Debug)]
pub struct Home {
    /// The network namespace.
    pub namespace: String,
    /// The state directory of its agent. A router has two places: a successor is made in the one that is not in use.
    pub files: PathBuf,
}

impl Home {
    /// Of a router's appliance.
    pub fn of(settings: &HostSettings, router: RouterId, second: bool) -> Home {
        let first = directory(&settings.state_dir, router);
        let files = if second { first.with_file_name(format!("{router}b")) } else { first };
        Home { namespace: namespace(settings, router), files }
    }

    /// Where the one beside it lives until it has its place.
    pub fn of_successor(settings: &HostSettings, router: RouterId, second: bool) -> Home {
        let home = Home::of(settings, router, !second);
        Home { namespace: format!("{}n", home.namespace), ..home }
    }
}

/// Keeps the certificate of a router's agent.
pub fn put_identity(
    kernel: &dyn Kernel,
    state_dir: &Path,
    router: RouterId,
    identity: &Identity,
) -> Result<(), KernelError> {
    let text = serde_json::to_vec(identity).map_err(|error| KernelError::new("keep the identity", error))?;
    kernel.write(&directory(state_dir, router).join(IDENTITY), &text, 0o600)
}

/// Makes the appliance what it should be.
pub fn ensure(
    site: &Site<'_>,
    router: RouterId,
    config: &ApplianceConfig,
    mut made: Option<MadeAppliance>,
) -> Outcome<MadeAppliance> {
    let mut actions = Vec::new();
    let result = bring_up(site, router, config, &mut made, &mut actions).map(|()| None);
    Outcome { made, result, actions }
}

fn bring_up(
    site: &Site<'_>,
    router: RouterId,
    config: &ApplianceConfig,
    made: &mut Option<MadeAppliance>,
    actions: &mut Vec<String>,
) -> Result<(), String> {
    let kernel = site.kernel;
    check::plugs(&config.plugs)?;
    let journey = config.journey;
    let config = &config.at_rest();
    let travels = made.as_ref().and_then(|made| made.travel.as_ref()).map(|travel| travel.stage);
    match (journey, travels) {
        // The steps of its journey say what becomes of it.
        (Some(Journey::Here), _) | (Some(Journey::Away), Some(_)) => return Ok(()),
        _ => {}
    }
    let files = directory(&site.settings.state_dir, router);
    if !kernel.exists(&files.join(IDENTITY)) {
        return Err("no identity yet".to_string());
    }
    let name = namespace(site.settings, router);
    let same = made
        .as_ref()
        .is_some_and(|made| made.config.generation == config.generation && made.config.management == config.management);
    if let Some(held) = made.as_ref().filter(|made| same && succession::has_changed_places(made)) {
        // Both are there, and the one that serves does not have the usual names: nothing is changed until one is gone.
        return if held.config == *config { Ok(()) } else { Err("it is being replaced".to_string()) };
    }
    let reachable = management_end(config).is_some_and(|end| site.links.contains_key(end));
    // What came and never served is not known to be well.
    let stuck = matches!(travels, Some(TravelStage::Making | TravelStage::Prepared));
    let fresh = !same || stuck || !reachable || !site.namespaces.contains(&name);
    if fresh {
        plugs::remove(site, &config.plugs).map_err(|error| error.to_string())?;
        tear_down(site, router, made.as_ref()).map_err(|error| error.to_string())?;
        kernel.add_namespace(&name).map_err(|error| error.to_string())?;
        actions.push(format!("start appliance {name} at generation {}", config.generation));
    } else if let Some(made) = made.as_ref() {
        let left = |plug: &&switchback_appliance::PlugConfig| {
            !config.plugs.iter().any(|wanted| wanted.internal_name == plug.internal_name)
        };
        let left: Vec<_> = made.config.plugs.iter().filter(left).cloned().collect();
        plugs::remove(site, &left).map_err(|error| error.to_string())?;
    }
    plugs::ensure(site, &name, &config.plugs, fresh)?;
    if fresh {
        let inside = management_links(&config.management).map_err(|error| error.to_string())?;
        kernel.change_links(Some(&name), &inside).map_err(|error| error.to_string())?;
    }
    let held = made.take();
    let binary = held.as_ref().and_then(|held| held.binary.clone());
    let running = held.as_ref().map(|held| held.process).filter(|process| !fresh && kernel.alive(process));
    // What is made afresh has the first place, and nothing beside it.
    let (second, replacement, successor) =
        held.filter(|_| !fresh).map_or((false, 0, None), |held| (held.second, held.replacement, held.successor));
    let home = Home::of(site.settings, router, second);
    let process = match running {
        Some(process) => process,
        None => {
            actions.push(format!("start the agent of {name}"));
            start(site, router, &home, config, binary.as_deref())?
        }
    };
    *made =
        Some(MadeAppliance { config: config.clone(), process, binary, second, replacement, successor, travel: None });
    if travels == Some(TravelStage::Left) {
        succession::announce(site, &home);
    }
    wait(site, &home, config, &process)
}

/// The host's end of the plug that the agent is reached by.
fn management_end(config: &ApplianceConfig) -> Option<&String> {
    let plug = config.plugs.iter().find(|plug| plug.name == config.management.interface)?;
    Some(&plug.internal_name)
}

/// What the host gives an appliance, so that its agent can be reached.
pub(super) fn management_links(management: &ManagementAddress) -> Result<Vec<LinkChange>, ipnet::PrefixLenError> {
    let interface = management.interface.clone();
    let net = IpNet::new(management.ip.into(), management.prefix_length)?;
    let mut changes = vec![
        LinkChange::Up("lo".to_string()),
        LinkChange::Up(interface.clone()),
        LinkChange::AddAddress(interface.clone(), net),
    ];
    if let Some(gateway) = management.gateway {
        // Only for what comes from this address: the router's default route is another matter.
        let route = Route { destination: Ipv4Net::default().into(), gateway: gateway.into(), interface };
        changes.push(LinkChange::RouteFrom(management.ip, route));
    }
    Ok(changes)
}

/// Starts the agent of a router in its namespace.
pub fn start(
    site: &Site<'_>,
    router: RouterId,
    home: &Home,
    config: &ApplianceConfig,
    binary: Option<&str>,
) -> Result<ProcessId, String> {
    let settings = site.settings;
    let files = home.files.clone();
    // The certificate is kept in the first place only.
    let identity = match directory(&settings.state_dir, router) {
        first if first == files => PathBuf::from(IDENTITY),
        first => first.join(IDENTITY),
    };
    let bootstrap = Bootstrap { router, listen: address(&config.management), identity };
    let text = serde_json::to_vec(&bootstrap).map_err(|error| error.to_string())?;
    site.kernel.write(&files.join(Bootstrap::FILE), &text, 0o600).map_err(|error| error.to_string())?;
    site.kernel.remove(&files.join(Started::FILE)).map_err(|error| error.to_string())?;
    let program = match binary {
        Some(digest) => super::binaries::path(&settings.state_dir, digest),
        None => settings.program.clone(),
    };
    let mut args = settings.arguments.clone();
    args.extend(["--state-dir".to_string(), files.display().to_string()]);
    let needs_run = files.starts_with("/run") || program.starts_with("/run");
    let house = House {
        namespace: home.namespace.clone(),
        private_run: !needs_run,
        files: Vec::new(),
        hostname: Some(format!("vr-{}", router.0.tail())),
    };
    let log = files.join("agent.log");
    let spawn = Spawn { program, args, env: log_filter(), log, house: Some(house), survives: true };
    site.kernel.spawn(&spawn).map_err(|error| error.to_string())
}

/// Routers' agents log as much as the host's does.
fn log_filter() -> std::collections::BTreeMap<String, String> {
    std::env::var("RUST_LOG").map(|filter| ("RUST_LOG".to_string(), filter)).into_iter().collect()
}

/// Waits for an agent to accept connections; one that does not is ended, to be started again.
pub fn wait(site: &Site<'_>, home: &Home, config: &ApplianceConfig, process: &ProcessId) -> Result<(), String> {
    site.kernel.wait_accepting(&home.namespace, address(&config.management), process, PATIENCE).map_err(|error| {
        end(site.kernel, process);
        let log = home.files.join("agent.log");
        let log = site.kernel.read(&log).ok().flatten().unwrap_or_default();
        let last = log.lines().last().unwrap_or("it said nothing");
        format!("the router's agent does not come up: {error}; its last words: {last}")
    })
}

/// Ends an agent: first politely, so that it stops its daemons.
pub fn end(kernel: &dyn Kernel, process: &ProcessId) {
    let told = kernel.tell(process, Tell::Stop).is_ok();
    if !told || !kernel.wait_gone(process, Duration::from_secs(3)) {
        let _ = kernel.tell(process, Tell::Kill);
        kernel.wait_gone(process, Duration::from_secs(3));
    }
}

fn address(management: &ManagementAddress) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(management.ip), management.agent_port)
}

/// Ends what runs, and drops what the router's agent had kept; its identity stays.
pub(super) fn tear_down(site: &Site<'_>, router: RouterId, made: Option<&MadeAppliance>) -> Result<(), KernelError> {
    let kernel = site.kernel;
    if let Some(made) = made {
        plugs::remove(site, &made.config.plugs)?;
        succession::discard(site, router, made)?;
        if made.second {
            kernel.remove(&Home::of(site.settings, router, true).files)?;
        }
    }
    kernel.remove_namespace(&namespace(site.settings, router))?;
    let files = directory(&site.settings.state_dir, router);
    for name in [LAST_GOOD, CHANGES, DNSMASQ, "agent.log"] {
        kernel.remove(&files.join(name))?;
    }
    Ok(())
}

/// Removes an appliance and its files.
pub fn remove(site: &Site<'_>, router: RouterId, made: &MadeAppliance) -> Result<String, KernelError> {
    tear_down(site, router, Some(made))?;
    site.kernel.remove(&directory(&site.settings.state_dir, router))?;
    Ok(format!("remove appliance {}", namespace(site.settings, router)))
}
