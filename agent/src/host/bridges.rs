//! Bridges: one for each L2 network, with the host's interface or a VLAN of it as the port to the outside.
//!
//! A kernel without 802.1Q cannot make VLAN devices. There an interface named `<interface>.<vlan>`, made by
//! whoever set up the host, stands in, and the item says so.

use super::{Made, Outcome, record::MadeBridge};
use crate::{
    check::is_interface,
    kernel::{Kernel, Link, LinkChange},
};
use std::collections::{BTreeMap, BTreeSet};
use switchback_appliance::{BridgeConfig, HostSections};
use switchback_events::{DEFAULT_MTU, L2NetworkId};

type Links = BTreeMap<String, Link>;

/// The port of a bridge.
#[derive(Debug)]
pub struct Port {
    name: String,
    /// It has to be made: parent and VLAN.
    vlan: Option<(String, u16)>,
    note: Option<String>,
}

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

/// The port that a bridge on this interface would have, or why it cannot have one.
pub fn check(has_vlan: bool, links: &Links, interface: &str, vlan: Option<u16>) -> Result<Port, String> {
    if !is_interface(interface) {
        return Err(format!("`{interface}` is not a name of an interface"));
    }
    if !links.contains_key(interface) {
        return Err(format!("the host has no interface `{interface}`"));
    }
    let Some(id) = vlan else {
        return Ok(Port { name: interface.to_string(), vlan: None, note: None });
    };
    let name = format!("{interface}.{id}");
    let there = links.contains_key(&name);
    match (has_vlan, there) {
        (true, true) => Ok(Port { name, vlan: None, note: None }),
        (true, false) if name.len() <= 15 => Ok(Port { name, vlan: Some((interface.to_string(), id)), note: None }),
        (true, false) => Err(format!("`{name}` is longer than the 15 bytes that Linux allows")),
        (false, true) => {
            let note = Some(format!("kernel has no 802.1Q: using interface {name}"));
            Ok(Port { name, vlan: None, note })
        }
        (false, false) => Err(format!("kernel has no 802.1Q, and the host has no interface `{name}` to stand in")),
    }
}

/// Notes the bridges that are about to be made: those that are there already are not the agent's own.
pub fn plan_record(made: &mut Made, sections: &HostSections, links: &Links) {
    for bridge in sections.bridges.values().filter(|bridge| !links.contains_key(&bridge.name)) {
        let (port, made_port) = match bridge.vlan {
            Some(id) => {
                let port = format!("{}.{id}", bridge.physical_interface);
                let held = made.bridges.get(&bridge.name);
                let made_port = !links.contains_key(&port) || held.is_some_and(|held| held.made_port);
                (port, made_port)
            }
            None => (bridge.physical_interface.clone(), false),
        };
        made.bridges.insert(bridge.name.clone(), MadeBridge { port, made_port });
    }
}

/// Makes what is missing, bridges without VLAN first.
pub fn ensure_all(
    kernel: &dyn Kernel,
    has_vlan: bool,
    sections: &HostSections,
    links: &Links,
) -> Vec<(L2NetworkId, Outcome<()>)> {
    let mut bridges: Vec<(&L2NetworkId, &BridgeConfig)> = sections.bridges.iter().collect();
    bridges.sort_by_key(|(_, bridge)| bridge.vlan);
    let outcome = |(network, bridge): (&L2NetworkId, &BridgeConfig)| {
        let mut actions = Vec::new();
        let result = ensure(kernel, has_vlan, bridge, links, &mut actions);
        (*network, Outcome { made: None, result, actions })
    };
    bridges.into_iter().map(outcome).collect()
}

fn ensure(
    kernel: &dyn Kernel,
    has_vlan: bool,
    bridge: &BridgeConfig,
    links: &Links,
    actions: &mut Vec<String>,
) -> Result<Option<String>, String> {
    let name = &bridge.name;
    if !is_interface(name) {
        return Err(format!("`{name}` is not a name of a bridge"));
    }
    let port = check(has_vlan, links, &bridge.physical_interface, bridge.vlan)?;
    let mut changes = Vec::new();
    match links.get(name) {
        None => changes.push(LinkChange::CreateBridge(name.clone())),
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
    if let Some((parent, id)) = &port.vlan {
        changes.push(LinkChange::CreateVlan { parent: parent.clone(), id: *id, name: port.name.clone() });
        changes.push(LinkChange::Up(port.name.clone()));
    }
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
    if !changes.is_empty() {
        kernel.change_links(None, &changes).map_err(|error| error.to_string())?;
        actions.push(format!("make bridge {name} on {}", port.name));
    }
    Ok(port.note)
}

/// Removes the bridges that the agent made and that the document does not name.
pub fn remove_others(kernel: &dyn Kernel, made: &mut Made, sections: &HostSections, links: &Links) -> Vec<String> {
    let wanted: BTreeSet<&String> = sections.bridges.values().map(|bridge| &bridge.name).collect();
    let mut actions = Vec::new();
    made.bridges.retain(|name, bridge| {
        if wanted.contains(name) {
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
