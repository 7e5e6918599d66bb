//! Bridges: one for each L2 network, with a port to the outside that its [`super::realisation`] gives.
//!
//! What is there already is completed. A bridge is named after its interface and VLAN: an L2 network that changes its
//! VLAN gets another bridge, the plugs on it move over, and the bridge that is left without any goes.

use super::{Made, Outcome, realisation::*, record::MadeBridge};
use crate::{
    check::is_interface,
    kernel::{Kernel, KernelError, Link, LinkChange},
};
use std::collections::{BTreeMap, BTreeSet};
use switchback_appliance::{BridgeConfig, HostSections};
use switchback_events::{DEFAULT_MTU, HypervisorType, L2NetworkId};

/// The links of the host, by name.
pub type Links = BTreeMap<String, Link>;

/// Whether the kernel makes VLAN devices: tried on a bridge that is removed at once.
pub fn kernel_has_vlan(kernel: &dyn Kernel) -> bool {
    let bridge = format!("sbp{}", std::process::id());
    let name = format!("{bridge}.1");
    if kernel.change_links(None, &[LinkChange::CreateBridge(bridge.clone())]).is_err() {
        return false;
    }
    let vlan = LinkChange::CreateVlan { parent: bridge.clone(), id: 1, name };
    let has = kernel.change_links(None, &[vlan]).is_ok();
    // The VLAN device goes with its parent.
    let _ = kernel.change_links(None, &[LinkChange::Delete(bridge)]);
    has
}

/// The port that a bridge would have, or why it cannot have one.
pub fn check(
    ground: &Ground<'_>,
    hypervisor: HypervisorType,
    interface: &str,
    vlan: Option<u16>,
) -> Result<Port, String> {
    port_of(ground, realisation(switchback_appliance::network_type(vlan), hypervisor), interface, vlan)
}

/// The bridges that are asked for: the others are only to be left alone.
fn wanted(sections: &HostSections) -> impl Iterator<Item = (&L2NetworkId, &BridgeConfig)> {
    sections.bridges.iter().filter(|(_, bridge)| !bridge.kept)
}

/// Notes the bridges that are about to be made: those that are there already are not the agent's own.
pub fn plan_record(made: &mut Made, hypervisor: HypervisorType, sections: &HostSections, links: &Links) {
    for (_, bridge) in wanted(sections).filter(|(_, bridge)| !links.contains_key(&bridge.name)) {
        let interface = &bridge.physical_interface;
        let port = realisation(bridge.network_type(), hypervisor).port_name(interface, bridge.vlan);
        let held = made.bridges.get(&bridge.name);
        let made_port = !links.contains_key(&port) || held.is_some_and(|held| held.made_port);
        let made_port = made_port && port != *interface;
        made.bridges.insert(bridge.name.clone(), MadeBridge { port, made_port });
    }
}

/// Makes what is missing, bridges without VLAN first.
pub fn ensure_all(
    kernel: &dyn Kernel,
    ground: &Ground<'_>,
    hypervisor: HypervisorType,
    sections: &HostSections,
) -> Vec<(L2NetworkId, Outcome<()>)> {
    let mut bridges: Vec<(&L2NetworkId, &BridgeConfig)> = wanted(sections).collect();
    bridges.sort_by_key(|(_, bridge)| bridge.vlan);
    let outcome = |(network, bridge): (&L2NetworkId, &BridgeConfig)| {
        let mut actions = Vec::new();
        let result = ensure(kernel, ground, hypervisor, bridge, &mut actions);
        (*network, Outcome { made: None, result, actions })
    };
    bridges.into_iter().map(outcome).collect()
}

fn ensure(
    kernel: &dyn Kernel,
    ground: &Ground<'_>,
    hypervisor: HypervisorType,
    bridge: &BridgeConfig,
    actions: &mut Vec<String>,
) -> Result<Option<String>, String> {
    let links = ground.links;
    let name = &bridge.name;
    if !is_interface(name) {
        return Err(format!("`{name}` is not a name of a bridge"));
    }
    let port = check(ground, hypervisor, &bridge.physical_interface, bridge.vlan)?;
    let mut changes = Vec::new();
    match links.get(name) {
        None => make(kernel, name).map_err(|error| error.to_string())?,
        Some(link) if link.kind.as_deref() != Some("bridge") => {
            return Err(format!("`{name}` is there, but is not a bridge"));
        }
        Some(_) => {}
    }
    if !links.get(name).is_some_and(|link| link.up) {
        changes.push(LinkChange::Up(name.clone()));
    }
    for interface in [&bridge.physical_interface, &port.name] {
        if links.get(interface).is_some_and(|link| !link.up) {
            changes.push(LinkChange::Up(interface.clone()));
        }
    }
    changes.extend(port.make.iter().cloned());
    match links.get(&port.name).and_then(|link| link.master.as_ref()) {
        Some(master) if master == name => {}
        Some(master) => return Err(format!("interface `{}` is in `{master}` already", port.name)),
        None => changes.push(LinkChange::Enslave(port.name.clone(), name.clone())),
    }
    // What is on the wire first: a bridge takes no more than its ports.
    let mtu = u32::from(bridge.mtu);
    for interface in [&bridge.physical_interface, &port.name, name] {
        let held = links.get(interface).map_or(u32::from(DEFAULT_MTU), |link| link.mtu);
        if held < mtu && !changes.contains(&LinkChange::Mtu(interface.clone(), mtu)) {
            changes.push(LinkChange::Mtu(interface.clone(), mtu));
        }
    }
    if !changes.is_empty() || !links.contains_key(name) {
        kernel.change_links(None, &changes).map_err(|error| error.to_string())?;
        actions.push(format!("make bridge {name} on {}", port.name));
    }
    Ok(port.note)
}

/// Makes a bridge on which the host itself is not: what a guest network's router advertises is not for it.
fn make(kernel: &dyn Kernel, name: &str) -> Result<(), KernelError> {
    kernel.change_links(None, &[LinkChange::CreateBridge(name.to_string())])?;
    let ipv6 = format!("net/ipv6/conf/{name}/disable_ipv6");
    match kernel.sysctl(&ipv6)? {
        Some(_) => kernel.set_sysctl(&ipv6, "1"),
        None => Ok(()),
    }
}

/// Removes the bridges that the agent made and that the document does not name, and that nothing is plugged into.
pub fn remove_others(kernel: &dyn Kernel, made: &mut Made, sections: &HostSections, links: &Links) -> Vec<String> {
    let wanted: BTreeSet<&String> = sections.bridges.values().map(|bridge| &bridge.name).collect();
    let mut actions = Vec::new();
    made.bridges.retain(|name, bridge| {
        if wanted.contains(name) {
            return true;
        }
        let inside = |link: &&Link| link.master.as_ref() == Some(name) && link.name != bridge.port;
        if let Some(plugged) = links.values().find(inside) {
            // What could not move over goes on where it is.
            actions.push(format!("failed: bridge {name} is not removed: {} is in it", plugged.name));
            return true;
        }
        let mut changes = Vec::new();
        if links.get(&bridge.port).is_some_and(|link| link.master.as_ref() == Some(name)) {
            changes.push(LinkChange::Release(bridge.port.clone()));
        }
        if links.contains_key(name) {
            changes.push(LinkChange::Delete(name.clone()));
        }
        if bridge.made_port && links.contains_key(&bridge.port) {
            changes.push(LinkChange::Delete(bridge.port.clone()));
        }
        match kernel.change_links(None, &changes) {
            Ok(()) => {
                actions.push(format!("remove bridge {name}"));
                false
            }
            Err(error) => {
                actions.push(format!("failed: {error}"));
                true
            }
        }
    });
    actions
}
