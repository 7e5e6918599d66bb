//! Links, addresses, routes and the kernel variables that belong to them. Links are found by hardware address.
//!
//! **Invariant:** the address that the agent listens on is never taken away.

use crate::kernel::{Kernel, KernelError, Link, LinkChange, Route};
use ipnet::Ipv4Net;
use serde::Serialize;
use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};
use switchback_appliance::{DriftItem, InterfacesConfig, RouterNic};
use switchback_events::Nic;

/// Whether the kernel passes packets between interfaces.
pub const FORWARDING: &str = "net/ipv4/ip_forward";

/// What the kernel has.
#[derive(Clone, PartialEq, Default, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedInterfaces {
    /// All links but `lo`.
    pub links: Vec<Link>,
    /// Routes by way of gateways.
    pub routes: Vec<Route>,
    /// Kernel variables that matter, and their values.
    pub sysctls: Vec<(String, String)>,
}

/// What has to change.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct InterfacesPlan {
    /// Links, addresses and routes to add.
    pub additions: Vec<LinkChange>,
    /// Kernel variables to set.
    pub sysctls: Vec<(String, String)>,
    /// Addresses and routes to take away, when all else is in place.
    pub removals: Vec<LinkChange>,
    /// The same in the words of a user.
    pub drift: Vec<DriftItem>,
}

impl InterfacesPlan {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.additions.is_empty() && self.sysctls.is_empty() && self.removals.is_empty()
    }

    /// A line for each thing to do.
    pub fn actions(&self) -> Vec<String> {
        let line = |item: &DriftItem| format!("{}: {} -> {}", item.item, item.observed, item.expected);
        self.drift.iter().map(line).collect()
    }

    fn differs(&mut self, item: String, expected: impl ToString, observed: impl ToString) {
        let (expected, observed) = (expected.to_string(), observed.to_string());
        self.drift.push(DriftItem { section: "interfaces".to_string(), item, expected, observed });
    }
}

/// The kernel variables of a router. Guests are held to addresses of their subnet; the other sides may have
/// a way back that differs.
pub fn sysctls(config: &InterfacesConfig) -> Vec<(String, String)> {
    let mut wanted = vec![
        ("net/ipv4/conf/all/rp_filter".to_string(), "0".to_string()),
        ("net/ipv6/conf/all/disable_ipv6".to_string(), "1".to_string()),
        ("net/ipv4/conf/all/send_redirects".to_string(), "0".to_string()),
        // Or the kernel would drop a new address together with an old one of the same subnet.
        ("net/ipv4/conf/all/promote_secondaries".to_string(), "1".to_string()),
    ];
    for nic in &config.nics {
        let guests_only = nic.is(Nic::GUEST) && !nic.is(Nic::PUBLIC) && !nic.is(Nic::MANAGEMENT);
        let value = if guests_only { "1" } else { "2" };
        wanted.push((format!("net/ipv4/conf/{}/rp_filter", nic.name), value.to_string()));
    }
    wanted
}

/// The default route of a router: by the interface whose subnet holds the gateway.
pub fn default_route(config: &InterfacesConfig) -> Option<Route> {
    let gateway = config.default_gateway?;
    let reaches = |nic: &&RouterNic| nic.network().is_some_and(|net| net.contains(&gateway));
    let nic = config.nics.iter().find(reaches)?;
    Some(Route { destination: Ipv4Net::default(), gateway, interface: nic.name.clone() })
}

/// Looks at the links, the routes and the variables.
pub fn observe(kernel: &dyn Kernel, config: &InterfacesConfig) -> Result<ObservedInterfaces, KernelError> {
    let links = kernel.links()?.into_iter().filter(|link| link.name != "lo").collect();
    let mut values = Vec::new();
    for (key, _) in sysctls(config) {
        if let Some(value) = kernel.sysctl(&key)? {
            values.push((key, value));
        }
    }
    Ok(ObservedInterfaces { links, routes: kernel.routes()?, sysctls: values })
}

/// The difference. `keep` is the address that the agent listens on. Fails where a link is missing: no agent
/// can plug one in.
pub fn plan(
    config: &InterfacesConfig,
    observed: &ObservedInterfaces,
    keep: Option<Ipv4Addr>,
) -> Result<InterfacesPlan, String> {
    let mut plan = InterfacesPlan::default();
    let kept = |net: &Ipv4Net| Some(net.addr()) == keep;
    for nic in &config.nics {
        let found = observed.links.iter().find(|link| link.mac == Some(nic.mac));
        let link = found.ok_or_else(|| format!("no link has the MAC {} of {}", nic.mac, nic.name))?;
        plan_nic(&mut plan, nic, link)?;
        for extra in link.addresses.iter().filter(|held| !is_address_of(nic, held) && !kept(held)) {
            plan.removals.push(LinkChange::DeleteAddress(nic.name.clone(), *extra));
            plan.differs(format!("address {} {extra}", nic.name), "none", extra);
        }
    }
    let is_known = |link: &&Link| config.nics.iter().any(|nic| link.mac == Some(nic.mac));
    for link in observed.links.iter().filter(|link| !is_known(link)) {
        for extra in link.addresses.iter().filter(|held| !kept(held)) {
            plan.removals.push(LinkChange::DeleteAddress(link.name.clone(), *extra));
            plan.differs(format!("address {} {extra}", link.name), "none", extra);
        }
    }
    plan_routes(&mut plan, config, observed)?;
    for (key, wanted) in sysctls(config) {
        // A variable of a link that is still to be renamed is not there yet: set it all the same.
        let held = observed.sysctls.iter().find(|(held, _)| *held == key).map(|(_, value)| value.as_str());
        let of_nic = config.nics.iter().any(|nic| key.contains(&format!("/{}/", nic.name)));
        let absent = held.is_none() && !of_nic;
        if held != Some(wanted.as_str()) && !absent {
            plan.differs(format!("sysctl {key}"), &wanted, held.unwrap_or("none"));
            plan.sysctls.push((key, wanted));
        }
    }
    Ok(plan)
}

fn plan_nic(plan: &mut InterfacesPlan, nic: &RouterNic, link: &Link) -> Result<(), String> {
    if link.name != nic.name {
        plan.additions.push(LinkChange::Rename(link.name.clone(), nic.name.clone()));
        plan.differs(format!("link {}", nic.mac), &nic.name, &link.name);
    }
    if link.mtu != u32::from(nic.mtu) {
        plan.additions.push(LinkChange::Mtu(nic.name.clone(), u32::from(nic.mtu)));
        plan.differs(format!("mtu {}", nic.name), nic.mtu, link.mtu);
    }
    if !link.up || link.name != nic.name {
        plan.additions.push(LinkChange::Up(nic.name.clone()));
        plan.differs(format!("link {}", nic.name), "up", "down");
    }
    if !link.addresses.iter().any(|held| is_address_of(nic, held)) {
        let net = Ipv4Net::new(nic.ip, nic.prefix_length).map_err(|error| error.to_string())?;
        plan.additions.push(LinkChange::AddAddress(nic.name.clone(), net));
        plan.differs(format!("address {} {net}", nic.name), net, "none");
    }
    Ok(())
}

fn is_address_of(nic: &RouterNic, held: &Ipv4Net) -> bool {
    held.addr() == nic.ip && held.prefix_len() == nic.prefix_length
}

fn plan_routes(
    plan: &mut InterfacesPlan,
    config: &InterfacesConfig,
    observed: &ObservedInterfaces,
) -> Result<(), String> {
    let wanted = default_route(config);
    if let (Some(gateway), None) = (config.default_gateway, &wanted) {
        return Err(format!("no interface has the default gateway {gateway} in its subnet"));
    }
    let text = |route: &Route| format!("via {} dev {}", route.gateway, route.interface);
    if let Some(route) = wanted.iter().find(|route| !observed.routes.contains(route)) {
        let held = observed.routes.iter().find(|held| held.destination == route.destination);
        plan.differs("route default".to_string(), text(route), held.map_or("none".to_string(), text));
        plan.additions.push(LinkChange::SetRoute(route.clone()));
    }
    let replaced = |held: &Route| wanted.as_ref().is_some_and(|route| route.destination == held.destination);
    for extra in observed.routes.iter().filter(|held| wanted.as_ref() != Some(held) && !replaced(held)) {
        plan.differs(format!("route {}", extra.destination), "none", text(extra));
        plan.removals.push(LinkChange::DeleteRoute(extra.clone()));
    }
    Ok(())
}

/// Adds what is missing and sets the variables.
pub fn add(kernel: &dyn Kernel, plan: &InterfacesPlan) -> Result<(), KernelError> {
    kernel.change_links(None, &plan.additions)?;
    plan.sysctls.iter().try_for_each(|(key, value)| kernel.set_sysctl(key, value))
}

/// When new addresses are announced after they are in place: a bridge takes up to a second to open a port whose link
/// has come up, and what comes before is lost.
const ANNOUNCED_AFTER: [Duration; 4] =
    [Duration::from_millis(20), Duration::from_millis(150), Duration::from_millis(1000), Duration::from_millis(3000)];

/// Tells the neighbours of addresses that are new here (gratuitous ARP), so that those who knew the router of before
/// learn the new hardware address. In the background: nothing waits for it, and a lost one is no failure.
pub fn announce(kernel: &Arc<dyn Kernel>, plan: &InterfacesPlan) {
    let new = |change: &LinkChange| match change {
        LinkChange::AddAddress(name, net) => Some((name.clone(), net.addr().to_string())),
        _ => None,
    };
    let addresses: Vec<(String, String)> = plan.additions.iter().filter_map(new).collect();
    if addresses.is_empty() {
        return;
    }
    let kernel = kernel.clone();
    let tell = move || {
        let began = Instant::now();
        for after in ANNOUNCED_AFTER {
            std::thread::sleep(after.saturating_sub(began.elapsed()));
            for (name, ip) in &addresses {
                let sent = kernel.run("busybox", &["arping", "-q", "-U", "-c", "1", "-w", "1", "-I", name, ip]);
                if let Err(error) = sent {
                    tracing::debug!(%error, "an announcement was not answered");
                }
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("announce".to_string()).spawn(tell) {
        tracing::warn!(%error, "new addresses are not announced");
    }
}

/// Takes away what is too much.
pub fn remove(kernel: &dyn Kernel, plan: &InterfacesPlan) -> Result<(), KernelError> {
    kernel.change_links(None, &plan.removals)
}
