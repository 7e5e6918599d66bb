//! Placement: only hosts that are enabled and connected, and whose cluster carries every L2 network of the VM; of
//! those the one with the fewest VMs and routers.

use crate::{directory::Relation, facts::Facts, rules, *};
use switchback_bus::{Refusal, code};
use switchback_events::*;

/// Where something may be placed.
#[derive(Default)]
pub(crate) struct Wish {
    pub zone: Option<ZoneId>,
    pub cluster: Option<ClusterId>,
    pub host: Option<HostId>,
    /// The host to prefer when it will do.
    pub last: Option<HostId>,
}

/// A place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub cluster: ClusterId,
    pub host: HostId,
    pub hypervisor_type: HypervisorType,
}

/// Chooses a host for something with nics on these L2 networks.
pub(crate) fn choose(facts: &Facts, zone: ZoneId, l2s: &[L2NetworkId], wish: &Wish) -> Result<Place, Refusal> {
    if let Some(asked) = wish.zone.filter(|asked| *asked != zone) {
        rules::existing::<Zone>(facts, "zoneUuid", asked)?;
        return Err(Refusal::argument("zoneUuid", asked, format!("{zone}, the zone of the L3 networks")));
    }
    if let Some(cluster) = wish.cluster {
        rules::existing::<Cluster>(facts, "clusterUuid", cluster)?;
    }
    if let Some(host) = wish.host {
        rules::existing::<Host>(facts, "hostUuid", host)?;
    }
    if facts.get::<Zone>(zone)?.disabled {
        return Err(Refusal::conflict(code::NO_HOST, format!("zone {zone} is disabled")));
    }
    let mut carrying = false;
    let mut best: Option<(usize, Place)> = None;
    'clusters: for id in facts.peek_members(Relation::ClustersOfZone, zone) {
        let cluster_id = ClusterId(id);
        if wish.cluster.is_some_and(|asked| asked != cluster_id) {
            continue;
        }
        let cluster = facts.get::<Cluster>(id)?;
        for l2 in l2s {
            if !facts.get::<L2Network>(*l2)?.attached_to(cluster_id) {
                continue 'clusters;
            }
        }
        carrying = true;
        for id in facts.peek_members(Relation::HostsOfCluster, id) {
            let host_id = HostId(id);
            let host = facts.peek::<Host>(id)?;
            if wish.host.is_some_and(|asked| asked != host_id) || host.state != HostState::Enabled || !host.connected()
            {
                continue;
            }
            let load = facts.peek_count(Relation::VmsOnHost, id) + facts.peek_count(Relation::RoutersOnHost, id);
            let load = if wish.last == Some(host_id) { 0 } else { load + 1 };
            if best.is_none_or(|(least, _)| load < least) {
                let place = Place { cluster: cluster_id, host: host_id, hypervisor_type: cluster.hypervisor_type() };
                best = Some((load, place));
            }
        }
    }
    if let Some((_, place)) = best {
        // The choice rests on the chosen host only.
        facts.get::<Host>(place.host)?;
        return Ok(place);
    }
    if !carrying {
        let names: Vec<String> = l2s.iter().map(ToString::to_string).collect();
        let detail =
            format!("no cluster that was asked for has all of these L2 networks attached: {}", names.join(", "));
        return Err(Refusal::conflict(code::NO_HOST_WITH_L2, detail).hint("attach them with AttachL2NetworkToCluster"));
    }
    Err(Refusal::conflict(code::NO_HOST, "no host that was asked for is Enabled and Connected"))
}
