//! Links, addresses, routes and the kernel variables that belong to them. Links are found by hardware address.
//!
//! **Invariant:** the address that the agent listens on is never taken away.

use super::vip;
use crate::kernel::{Kernel, KernelError, Link, LinkChange, Route};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};
use switchback_appliance::{DriftItem, InterfacesConfig, RouterNic};
use switchback_events::Mac;

/// Whether the kernel passes packets between interfaces.
pub const FORWARDING: &str = "net/ipv4/ip_forward";

/// The same of IPv6.
pub const FORWARDING6: &str = "net/ipv6/conf/all/forwarding";

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
    /// It knows IPv6.
    pub ipv6: bool,
}

/// What has to change.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct InterfacesPlan {
    /// Links, addresses and routes to add.
    pub additions: Vec<LinkChange>,
    /// Kernel variables to set, after links have their names.
    pub sysctls: Vec<(String, String)>,
    /// Addresses and routes of IPv6 to add, after their links take any.
    pub additions6: Vec<LinkChange>,
    /// Addresses and routes to take away, when all else is in place.
    pub removals: Vec<LinkChange>,
    /// Kernel variables to set after that: IPv6 takes its addresses along where it goes.
    pub ends: Vec<(String, String)>,
    /// The same in the words of a user.
    pub drift: Vec<DriftItem>,
}

impl InterfacesPlan {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        let changes = [&self.additions, &self.additions6, &self.removals];
        changes.iter().all(|changes| changes.is_empty()) && self.sysctls.is_empty() && self.ends.is_empty()
    }

    /// A line for each thing to do for a section.
    pub fn actions(&self, section: &str) -> Vec<String> {
        let line = |item: &DriftItem| format!("{}: {} -> {}", item.item, item.observed, item.expected);
        self.drift.iter().filter(|item| item.section == section).map(line).collect()
    }

    /// Something of the section of VIPs that is put in place without being looked at.
    pub fn says(&mut self, item: String, expected: &dyn ToString, observed: &dyn ToString) {
        self.differs_in(vip::SECTION, item, expected.to_string(), observed.to_string());
    }

    fn differs(&mut self, item: String, expected: impl ToString, observed: impl ToString) {
        self.differs_in("interfaces", item, expected, observed);
    }

    fn differs_in(&mut self, section: &str, item: String, expected: impl ToString, observed: impl ToString) {
        let (expected, observed) = (expected.to_string(), observed.to_string());
        self.drift.push(DriftItem { section: section.to_string(), item, expected, observed });
    }
}

/// The kernel variables of a router. Guests are held to addresses of their subnet (those of IPv6 by the firewall); the
/// other sides may have a way back that differs. IPv6 is on where an interface has an address of it, and nowhere else.
pub fn sysctls(config: &InterfacesConfig) -> Vec<(String, String)> {
    let mut wanted = vec![
        ("net/ipv4/conf/all/rp_filter".to_string(), "0".to_string()),
        ("net/ipv4/conf/all/send_redirects".to_string(), "0".to_string()),
        // Or the kernel would drop a new address together with an old one of the same subnet.
        ("net/ipv4/conf/all/promote_secondaries".to_string(), "1".to_string()),
    ];
    let mut set = |key: String, value: &str| wanted.push((key, value.to_string()));
    let ipv6 = config.nics.iter().any(|nic| nic.ipv6().is_some());
    if ipv6 {
        // What the router asks of itself goes by way of `lo`.
        set("net/ipv6/conf/lo/disable_ipv6".to_string(), "0");
        set(FORWARDING6.to_string(), "1");
    } else {
        set("net/ipv6/conf/all/disable_ipv6".to_string(), "1");
    }
    for nic in &config.nics {
        let of_nic = |name: &str| format!("net/ipv6/conf/{}/{name}", nic.name);
        if nic.ipv6().is_some() {
            set(of_nic("accept_ra"), "0");
            // Its addresses, the link-local one too, are good at once; neighbours hear of them.
            set(of_nic("accept_dad"), "0");
            set(of_nic("ndisc_notify"), "1");
            // The kernel makes none of its own.
            set(of_nic("addr_gen_mode"), if nic.link_local().is_some() { "1" } else { "0" });
        }
        set(of_nic("disable_ipv6"), if nic.ipv6().is_some() { "0" } else { "1" });
    }
    for nic in &config.nics {
        let value = if nic.is_guests_only() { "1" } else { "2" };
        wanted.push((format!("net/ipv4/conf/{}/rp_filter", nic.name), value.to_string()));
    }
    wanted
}

/// The default routes of a router, of either family: by the interface whose subnet holds the gateway.
pub fn default_routes(config: &InterfacesConfig) -> Result<Vec<Route>, String> {
    let ways = [
        (IpNet::V4(Ipv4Net::default()), config.default_gateway.map(IpAddr::V4)),
        (IpNet::V6(Ipv6Net::default()), config.default_gateway6.map(IpAddr::V6)),
    ];
    let mut routes = Vec::new();
    for (destination, gateway) in ways {
        let Some(gateway) = gateway else { continue };
        let reaches = |nic: &&RouterNic| nic.addresses.iter().any(|net| net.contains(&gateway));
        let nic = config.nics.iter().find(reaches);
        let nic = nic.ok_or_else(|| format!("no interface has the default gateway {gateway} in its subnet"))?;
        routes.push(Route { destination, gateway, interface: nic.name.clone() });
    }
    Ok(routes)
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
    let ipv6 = kernel.sysctl(FORWARDING6)?.is_some();
    Ok(ObservedInterfaces { links, routes: kernel.routes()?, sysctls: values, ipv6 })
}

/// The difference. `keep` is the address that the agent listens on. Fails where a link is missing: no agent
/// can plug one in.
pub fn plan(
    config: &InterfacesConfig,
    observed: &ObservedInterfaces,
    keep: Option<IpAddr>,
) -> Result<InterfacesPlan, String> {
    let mut plan = InterfacesPlan::default();
    let kept = |net: &IpNet| Some(net.addr()) == keep;
    for nic in &config.nics {
        let found = observed.links.iter().find(|link| link.mac == Some(nic.mac));
        let link = found.ok_or_else(|| format!("no link has the MAC {} of {}", nic.mac, nic.name))?;
        let fresh = makes_its_own(nic, observed);
        if fresh {
            // Off and on again: what the kernel made before it was told not to goes.
            plan.sysctls.push((format!("net/ipv6/conf/{}/disable_ipv6", nic.name), "1".to_string()));
        }
        plan_nic(&mut plan, nic, link, fresh);
        let wanted: BTreeSet<&IpNet> = nic.addresses.iter().collect();
        let other = |held: &&IpNet| !wanted.contains(held) && !is_link_local(held) && !kept(held);
        for extra in link.addresses.iter().filter(other) {
            plan.removals.push(LinkChange::DeleteAddress(nic.name.clone(), *extra));
            plan.differs_in(vip::section_of(extra), format!("address {} {extra}", nic.name), "none", extra);
        }
    }
    let is_known = |link: &&Link| config.nics.iter().any(|nic| link.mac == Some(nic.mac));
    for link in observed.links.iter().filter(|link| !is_known(link)) {
        for extra in link.addresses.iter().filter(|held| !is_link_local(held) && !kept(held)) {
            plan.removals.push(LinkChange::DeleteAddress(link.name.clone(), *extra));
            plan.differs(format!("address {} {extra}", link.name), "none", extra);
        }
    }
    plan_routes(&mut plan, config, observed)?;
    for (key, wanted) in sysctls(config) {
        // A variable of a link that is still to be renamed is not there yet: set it all the same.
        let held = observed.sysctls.iter().find(|(held, _)| *held == key).map(|(_, value)| value.as_str());
        let of_nic = config.nics.iter().any(|nic| key.contains(&format!("/{}/", nic.name)));
        let of_nic = of_nic && (observed.ipv6 || !key.starts_with("net/ipv6/"));
        let absent = held.is_none() && !of_nic;
        let again = plan.sysctls.iter().any(|(other, value)| *other == key && *value != wanted);
        if again {
            plan.sysctls.push((key, wanted));
        } else if held != Some(wanted.as_str()) && !absent {
            plan.differs(format!("sysctl {key}"), &wanted, held.unwrap_or("none"));
            let ends = key.ends_with("/disable_ipv6") && wanted == "1";
            if ends { &mut plan.ends } else { &mut plan.sysctls }.push((key, wanted));
        }
    }
    Ok(plan)
}

/// Whether the kernel makes link-local addresses where it should not.
fn makes_its_own(nic: &RouterNic, observed: &ObservedInterfaces) -> bool {
    let key = format!("net/ipv6/conf/{}/addr_gen_mode", nic.name);
    let told = observed.sysctls.iter().any(|(held, value)| *held == key && value == "1");
    nic.link_local().is_some() && !told
}

fn plan_nic(plan: &mut InterfacesPlan, nic: &RouterNic, link: &Link, fresh: bool) {
    let addresses: BTreeSet<&IpNet> = link.addresses.iter().collect();
    let held = |net: &IpNet| addresses.contains(net) && !(fresh && net.addr().is_ipv6());
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
    if let Some(own) = nic.link_local().map(IpNet::V6) {
        // Before anything is told by the other one.
        for extra in link.addresses.iter().filter(|held| !fresh && is_link_local(held) && **held != own) {
            plan.additions6.push(LinkChange::DeleteAddress(nic.name.clone(), *extra));
            plan.differs(format!("address {} {extra}", nic.name), "none", extra);
        }
        if !held(&own) {
            plan.additions6.push(LinkChange::AddAddress(nic.name.clone(), own));
            plan.differs(format!("address {} {own}", nic.name), own, "none");
        }
    }
    for net in nic.addresses.iter().filter(|net| !held(net)) {
        let change = LinkChange::AddAddress(nic.name.clone(), *net);
        if net.addr().is_ipv4() {
            plan.additions.push(change)
        } else {
            plan.additions6.push(change)
        }
        plan.differs_in(vip::section_of(net), format!("address {} {net}", nic.name), net, "none");
    }
}

fn is_link_local(net: &IpNet) -> bool {
    matches!(net, IpNet::V6(net) if net.addr().is_unicast_link_local())
}

fn plan_routes(
    plan: &mut InterfacesPlan,
    config: &InterfacesConfig,
    observed: &ObservedInterfaces,
) -> Result<(), String> {
    let wanted = default_routes(config)?;
    let text = |route: &Route| format!("via {} dev {}", route.gateway, route.interface);
    let name = |route: &Route| match route.destination {
        IpNet::V4(net) if net.prefix_len() == 0 => "route default".to_string(),
        net => format!("route {net}"),
    };
    for route in wanted.iter().filter(|route| !observed.routes.contains(route)) {
        let held = observed.routes.iter().find(|held| held.destination == route.destination);
        plan.differs(name(route), text(route), held.map_or("none".to_string(), text));
        let change = LinkChange::SetRoute(route.clone());
        if route.gateway.is_ipv4() { plan.additions.push(change) } else { plan.additions6.push(change) }
    }
    let replaced = |held: &Route| wanted.iter().any(|route| route.destination == held.destination);
    for extra in observed.routes.iter().filter(|held| !wanted.contains(held) && !replaced(held)) {
        plan.differs(format!("route {}", extra.destination), "none", text(extra));
        plan.removals.push(LinkChange::DeleteRoute(extra.clone()));
    }
    Ok(())
}

/// Adds what is missing and sets the variables.
pub fn add(kernel: &dyn Kernel, plan: &InterfacesPlan) -> Result<(), KernelError> {
    kernel.change_links(None, &plan.additions)?;
    plan.sysctls.iter().try_for_each(|(key, value)| kernel.set_sysctl(key, value))?;
    kernel.change_links(None, &plan.additions6)
}

/// When new addresses are announced after they are in place: a bridge takes up to a second to open a port whose link
/// has come up, and what comes before is lost.
const ANNOUNCED_AFTER: [Duration; 4] =
    [Duration::from_millis(20), Duration::from_millis(150), Duration::from_millis(1000), Duration::from_millis(3000)];

/// Tells the neighbours of addresses that are new here (gratuitous ARP, unsolicited advertisements), so that those who
/// knew the router of before learn the new hardware address. In the background: nothing waits for it, and a lost one is no failure.
pub fn announce(kernel: &Arc<dyn Kernel>, config: &InterfacesConfig, plan: &InterfacesPlan) {
    let new = |change: &LinkChange| match change {
        LinkChange::AddAddress(name, net) => {
            let nic = config.nics.iter().find(|nic| nic.name == *name)?;
            Some((name.clone(), nic.mac, net.addr()))
        }
        _ => None,
    };
    let mut fresh: BTreeMap<(String, Mac), (Vec<Ipv4Addr>, Vec<Ipv6Addr>)> = BTreeMap::new();
    for (name, mac, ip) in plan.additions.iter().chain(&plan.additions6).filter_map(new) {
        let (of_ipv4, of_ipv6) = fresh.entry((name, mac)).or_default();
        match ip {
            IpAddr::V4(ip) => of_ipv4.push(ip),
            IpAddr::V6(ip) => of_ipv6.push(ip),
        }
    }
    if fresh.is_empty() {
        return;
    }
    let kernel = kernel.clone();
    let tell = move || {
        let began = Instant::now();
        for after in ANNOUNCED_AFTER {
            std::thread::sleep(after.saturating_sub(began.elapsed()));
            for ((name, mac), (of_ipv4, of_ipv6)) in &fresh {
                let sent = kernel.announce(name, *mac, of_ipv4);
                let sent = sent.and_then(|()| of_ipv6.iter().try_for_each(|ip| kernel.advertise(name, *mac, *ip)));
                if let Err(error) = sent {
                    tracing::debug!(%error, "new addresses were not announced");
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
    kernel.change_links(None, &plan.removals)?;
    plan.ends.iter().try_for_each(|(key, value)| kernel.set_sysctl(key, value))
}
