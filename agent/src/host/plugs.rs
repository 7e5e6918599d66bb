//! Plugs: pairs of links, one end in the namespace of a router or VM, the other one in a bridge of the host.

use super::Site;
use crate::kernel::{KernelError, LinkChange};
use switchback_appliance::PlugConfig;

/// Makes the plugs that are missing and puts each into its bridge; with `fresh`, makes all of them anew. Answers the
/// names inside of those that were made: they are still down there.
pub fn ensure(site: &Site<'_>, namespace: &str, plugs: &[PlugConfig], fresh: bool) -> Result<Vec<String>, String> {
    let mut changes = Vec::new();
    let mut made = Vec::new();
    for plug in plugs {
        let end = plug.internal_name.clone();
        if site.links.get(&plug.bridge).is_none_or(|link| link.kind.as_deref() != Some("bridge")) {
            return Err(format!("the host has no bridge `{}`", plug.bridge));
        }
        let held = site.links.get(&end);
        if held.is_some_and(|link| link.kind.as_deref() != Some("veth")) {
            return Err(format!("`{end}` is there, but is not the end of a plug"));
        }
        let keep = held.filter(|_| !fresh);
        if keep.is_none() {
            made.push(plug.name.clone());
            changes.push(LinkChange::Delete(end.clone()));
            changes.push(LinkChange::CreatePair {
                name: end.clone(),
                mtu: u32::from(plug.mtu),
                namespace: namespace.to_string(),
                inside: plug.name.clone(),
                mac: plug.mac,
            });
        }
        if keep.is_some_and(|link| link.mtu != u32::from(plug.mtu)) {
            changes.push(LinkChange::Mtu(end.clone(), u32::from(plug.mtu)));
        }
        if keep.is_none_or(|link| link.master.as_ref() != Some(&plug.bridge)) {
            changes.push(LinkChange::Enslave(end.clone(), plug.bridge.clone()));
        }
        match (plug.up, keep.is_some_and(|link| link.up)) {
            (true, false) => changes.push(LinkChange::Up(end)),
            (false, true) => changes.push(LinkChange::Down(end)),
            _ => {}
        }
    }
    site.kernel.change_links(None, &changes).map_err(|error| error.to_string())?;
    Ok(made)
}

/// Removes plugs, as far as they are there. To be done before their namespace goes: that would take them with
/// it too, but at a moment of its own.
pub fn remove(site: &Site<'_>, plugs: &[PlugConfig]) -> Result<(), KernelError> {
    let changes: Vec<LinkChange> = plugs.iter().map(|plug| LinkChange::Delete(plug.internal_name.clone())).collect();
    site.kernel.change_links(None, &changes)
}
