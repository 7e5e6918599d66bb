//! L2 network: created, attached to clusters, deleted. An attachment goes
//! `none → Requested → Attached → none`, or from `Requested` back to `none` when a host cannot realise it.
//!
//! A change of its VLAN goes the same way: while it is under way its hosts are told the new one, and when one of them
//! cannot realise it all are told the old one again. Nothing else is attached, detached or deleted meanwhile.

use crate::{context::Context, decision::Decision, directory::Relation, facts::Facts, rules, states::States, *};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use switchback_bus::*;
use switchback_events::*;

/// How far an attachment is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum L2Attachment {
    Requested,
    Attached,
}

/// An L2 network.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct L2Network {
    pub name: String,
    pub zone: ZoneId,
    pub physical_interface: String,
    pub vlan: Option<u16>,
    pub v_switch_type: String,
    pub clusters: BTreeMap<ClusterId, L2Attachment>,
    /// Who may give services to its L3 networks.
    pub providers: BTreeSet<NetworkServiceProviderId>,
    /// The last attachment that failed: cluster, version of the event, why.
    pub failed: Option<(ClusterId, Version, String)>,
    /// The VLAN that its hosts change over to.
    pub changing: Option<Option<u16>>,
    /// The last change of its VLAN that failed: version of the event, why.
    pub change_failed: Option<(Version, String)>,
    pub deleted: bool,
}

rules::exists!(L2Network, "L2 network");

impl L2Network {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &L2NetworkEvent, version: Version) {
        match event {
            L2NetworkEvent::Created { zone, name, physical_interface, vlan, v_switch_type, .. } => {
                (self.zone, self.name, self.vlan) = (*zone, name.clone(), *vlan);
                self.physical_interface = physical_interface.clone();
                self.v_switch_type = v_switch_type.clone();
                self.providers = network_service_provider::built_in();
            }
            L2NetworkEvent::Updated { name, .. } => self.name = name.clone().unwrap_or_else(|| self.name.clone()),
            L2NetworkEvent::AttachRequested { cluster, .. } => {
                self.clusters.insert(*cluster, L2Attachment::Requested);
            }
            L2NetworkEvent::Attached { cluster } => {
                self.clusters.insert(*cluster, L2Attachment::Attached);
            }
            L2NetworkEvent::AttachFailed { cluster, detail, .. } => {
                self.clusters.remove(cluster);
                self.failed = Some((*cluster, version, detail.clone()));
            }
            L2NetworkEvent::Detached { cluster } => {
                self.clusters.remove(cluster);
            }
            L2NetworkEvent::ProviderAttached { provider } => {
                self.providers.insert(*provider);
            }
            L2NetworkEvent::ProviderDetached { provider } => {
                self.providers.remove(provider);
            }
            L2NetworkEvent::VlanChangeRequested { vlan, .. } => self.changing = Some(*vlan),
            L2NetworkEvent::VlanChanged { vlan, .. } => (self.vlan, self.changing) = (*vlan, None),
            L2NetworkEvent::VlanChangeFailed { detail, .. } => {
                (self.changing, self.change_failed) = (None, Some((version, detail.clone())));
            }
            L2NetworkEvent::Deleted {} => self.deleted = true,
        }
    }

    /// Whether it has the frames of a VLAN, or is about to have them or to give them up.
    fn carries(&self, vlan: Option<u16>) -> bool {
        self.vlan == vlan || self.changing == Some(vlan)
    }

    /// Whether the cluster's hosts carry it.
    pub fn attached_to(&self, cluster: ClusterId) -> bool {
        self.clusters.get(&cluster) == Some(&L2Attachment::Attached)
    }
}

/// What is under way ends before anything else begins.
fn settled(id: L2NetworkId, l2: &L2Network) -> Result<(), Refusal> {
    match l2.changing {
        Some(_) => Err(Refusal::operation(format!("the VLAN of L2 network {id} is being changed"))),
        None => Ok(()),
    }
}

fn type_of(vlan: Option<u16>) -> L2NetworkType {
    if vlan.is_some() { L2NetworkType::L2VlanNetwork } else { L2NetworkType::L2NoVlanNetwork }
}

struct NewL2<'a> {
    zone: ZoneId,
    name: &'a str,
    description: &'a Option<String>,
    physical_interface: &'a str,
    vlan: Option<u16>,
    r#type: &'a Option<String>,
    v_switch_type: &'a Option<String>,
    isolated: Option<bool>,
    pvlan: &'a Option<String>,
}

fn create(new: NewL2, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    rules::interface("physicalInterface", new.physical_interface)?;
    let network_type = type_of(new.vlan);
    if let Some(asked) = new.r#type
        && *asked != format!("{network_type:?}")
    {
        return Err(Refusal::argument("type", asked, format!("{network_type:?}")));
    }
    let v_switch_type = new.v_switch_type.as_deref().unwrap_or("LinuxBridge");
    match v_switch_type {
        "LinuxBridge" => {}
        "OvsDpdk" | "MacVlan" => return Err(Refusal::not_supported(format!("vSwitchType {v_switch_type}"))),
        other => return Err(Refusal::argument("vSwitchType", other, "LinuxBridge")),
    }
    if new.isolated == Some(true) {
        return Err(Refusal::not_supported("isolated = `true`, an L2 network that keeps its VMs from each other,"));
    }
    if let Some(pvlan) = new.pvlan {
        return Err(Refusal::not_supported(format!("pvlan = `{pvlan}`, a private VLAN,")));
    }
    rules::existing::<Zone>(facts, "zoneUuid", new.zone)?;
    let id = context.resource_id();
    let decision = Decision::about(StreamKind::L2Network, id).show("l2").event(L2NetworkEvent::Created {
        zone: new.zone,
        name: new.name.to_string(),
        description: new.description.clone(),
        physical_interface: new.physical_interface.to_string(),
        network_type,
        vlan: new.vlan,
        v_switch_type: v_switch_type.to_string(),
    });
    Ok(network_service_provider::associate(decision, facts))
}

pub(crate) fn create_no_vlan(
    command: &CreateL2NoVlanNetwork,
    facts: &Facts,
    context: &Context,
) -> Result<Decision, Refusal> {
    let new = NewL2 {
        zone: command.zone_uuid,
        name: &command.name,
        description: &command.description,
        physical_interface: &command.physical_interface,
        vlan: None,
        r#type: &command.r#type,
        v_switch_type: &command.v_switch_type,
        isolated: command.isolated,
        pvlan: &command.pvlan,
    };
    create(new, facts, context)
}

pub(crate) fn create_vlan(
    command: &CreateL2VlanNetwork,
    facts: &Facts,
    context: &Context,
) -> Result<Decision, Refusal> {
    let new = NewL2 {
        zone: command.zone_uuid,
        name: &command.name,
        description: &command.description,
        physical_interface: &command.physical_interface,
        vlan: Some(command.vlan),
        r#type: &command.r#type,
        v_switch_type: &command.v_switch_type,
        isolated: command.isolated,
        pvlan: &command.pvlan,
    };
    create(new, facts, context)
}

pub(crate) fn update(command: &UpdateL2Network, facts: &Facts) -> Result<Decision, Refusal> {
    rules::existing::<L2Network>(facts, "uuid", command.uuid)?;
    let event = L2NetworkEvent::Updated { name: command.name.clone(), description: command.description.clone() };
    Ok(Decision::about(StreamKind::L2Network, command.uuid).show("l2").event(event))
}

/// Whether an L2 network may be attached to a cluster.
fn attachable(facts: &Facts, id: L2NetworkId, cluster_id: ClusterId) -> Result<(), Refusal> {
    let l2 = rules::existing::<L2Network>(facts, "l2NetworkUuid", id)?;
    let cluster = rules::existing::<Cluster>(facts, "clusterUuid", cluster_id)?;
    if l2.zone != cluster.zone {
        return Err(Refusal::argument("clusterUuid", cluster_id, "a cluster of the L2 network's zone"));
    }
    match l2.clusters.get(&cluster_id) {
        Some(L2Attachment::Attached) => {
            return Err(Refusal::operation(format!("L2 network {id} is already attached to cluster {cluster_id}")));
        }
        Some(L2Attachment::Requested) => {
            return Err(Refusal::operation(format!("L2 network {id} is being attached to cluster {cluster_id}")));
        }
        None => {}
    }
    settled(id, &l2)?;
    for other_id in facts.members(Relation::L2sOfCluster, cluster_id) {
        let other = facts.get::<L2Network>(other_id)?;
        if other.physical_interface != l2.physical_interface {
            continue;
        }
        if other.v_switch_type != l2.v_switch_type {
            let right = format!("L2 network {other_id} uses the interface with vSwitchType {}", other.v_switch_type);
            return Err(Refusal::argument("physicalInterface", &l2.physical_interface, right));
        }
        if other.carries(l2.vlan) {
            let right = taken(other_id, l2.vlan, cluster_id);
            return Err(Refusal::argument("physicalInterface", &l2.physical_interface, right));
        }
    }
    Ok(())
}

/// The clusters that an L2 network may be attached to.
///
/// # Errors
/// There is no such L2 network.
pub fn candidate_clusters(states: &States, id: L2NetworkId) -> Result<Vec<Id>, Refusal> {
    let facts = states.facts();
    let zone = rules::existing::<L2Network>(&facts, "l2NetworkUuid", id)?.zone;
    let mut clusters = facts.members(Relation::ClustersOfZone, zone);
    clusters.retain(|cluster| attachable(&facts, id, ClusterId(*cluster)).is_ok());
    Ok(clusters)
}

/// The L2 networks that may be attached to a cluster.
///
/// # Errors
/// There is no such cluster.
pub fn candidates_for(states: &States, id: ClusterId) -> Result<Vec<Id>, Refusal> {
    let facts = states.facts();
    let zone = rules::existing::<Cluster>(&facts, "clusterUuid", id)?.zone;
    let mut l2s = facts.members(Relation::L2sOfZone, zone);
    l2s.retain(|l2| attachable(&facts, L2NetworkId(*l2), id).is_ok());
    Ok(l2s)
}

pub(crate) fn attach(command: &AttachL2NetworkToCluster, facts: &Facts) -> Result<Decision, Refusal> {
    let (id, cluster_id) = (command.l2_network_uuid, command.cluster_uuid);
    attachable(facts, id, cluster_id)?;
    let mut hosts = Vec::new();
    for host in facts.members(Relation::HostsOfCluster, cluster_id) {
        let state = facts.get::<Host>(host)?;
        if state.connected() && !state.maintained() {
            hosts.push(HostId(host));
        }
    }
    let alone = hosts.is_empty();
    let mut decision = Decision::about(StreamKind::L2Network, id)
        .show("l2")
        .event(L2NetworkEvent::AttachRequested { cluster: cluster_id, hosts });
    if alone {
        decision = decision.event(L2NetworkEvent::Attached { cluster: cluster_id });
    }
    Ok(decision)
}

fn taken(other: Id, vlan: Option<u16>, cluster: ClusterId) -> String {
    let which = vlan.map_or("untagged frames".to_string(), |vlan| format!("VLAN {vlan}"));
    format!("L2 network {other} has {which} of the interface in cluster {cluster} already")
}

pub(crate) fn change_vlan(command: &ChangeL2NetworkVlanId, facts: &Facts) -> Result<Decision, Refusal> {
    let id = command.uuid;
    let l2 = rules::existing::<L2Network>(facts, "uuid", id)?;
    let decision = Decision::about(StreamKind::L2Network, id).show("l2");
    let network_type = match command.r#type.as_deref() {
        Some("L2VlanNetwork") => L2NetworkType::L2VlanNetwork,
        Some(_) => L2NetworkType::L2NoVlanNetwork,
        None => type_of(l2.vlan),
    };
    let vlan = command.vlan;
    match (network_type, vlan) {
        (L2NetworkType::L2VlanNetwork, None) => {
            return Err(Refusal::missing("vlan", "an L2VlanNetwork needs one from 1 to 4094"));
        }
        (L2NetworkType::L2NoVlanNetwork, Some(vlan)) => {
            let refusal = Refusal::argument("vlan", vlan, "an L2NoVlanNetwork has none");
            return Err(refusal.hint("type = `L2VlanNetwork` gives it one"));
        }
        _ => {}
    }
    settled(id, &l2)?;
    if vlan == l2.vlan {
        return Ok(decision);
    }
    let mut hosts = Vec::new();
    for (cluster, attachment) in &l2.clusters {
        if *attachment == L2Attachment::Requested {
            return Err(Refusal::operation(format!("L2 network {id} is being attached to cluster {cluster}")));
        }
        for other_id in facts.members(Relation::L2sOfCluster, *cluster) {
            let other = facts.get::<L2Network>(other_id)?;
            if other_id != id.0 && other.physical_interface == l2.physical_interface && other.carries(vlan) {
                let (field, value) =
                    vlan.map_or(("type", "L2NoVlanNetwork".to_string()), |vlan| ("vlan", vlan.to_string()));
                return Err(Refusal::argument(field, value, taken(other_id, vlan, *cluster)));
            }
        }
        for host_id in facts.members(Relation::HostsOfCluster, *cluster) {
            let host = facts.get::<Host>(host_id)?;
            // Nothing runs there; it is told when it is taken back.
            if host.state == HostState::Maintenance {
                continue;
            }
            if !host.connected() {
                let detail = format!(
                    "host {host_id} of cluster {cluster} is not Connected: the VLAN changes on all hosts or on none"
                );
                return Err(Refusal::operation(detail).hint("connect it with ReconnectHost, or maintain it"));
            }
            hosts.push(HostId(host_id));
        }
    }
    let alone = hosts.is_empty();
    let decision = decision.event(L2NetworkEvent::VlanChangeRequested { network_type, vlan, hosts });
    Ok(if alone { decision.event(L2NetworkEvent::VlanChanged { network_type, vlan }) } else { decision })
}

pub(crate) fn report_change(command: &ReportL2VlanChange, facts: &Facts) -> Result<Decision, Refusal> {
    let l2 = rules::existing::<L2Network>(facts, "l2NetworkUuid", command.l2_network_uuid)?;
    let decision = Decision::about(StreamKind::L2Network, command.l2_network_uuid);
    let Some(vlan) = l2.changing else { return Ok(decision) };
    Ok(decision.event(match &command.error {
        None => L2NetworkEvent::VlanChanged { network_type: type_of(vlan), vlan },
        Some(error) => L2NetworkEvent::VlanChangeFailed { code: code::L2_ATTACH.to_string(), detail: error.clone() },
    }))
}

pub(crate) fn report(command: &ReportL2Attachment, facts: &Facts) -> Result<Decision, Refusal> {
    let l2 = rules::existing::<L2Network>(facts, "l2NetworkUuid", command.l2_network_uuid)?;
    let decision = Decision::about(StreamKind::L2Network, command.l2_network_uuid);
    if l2.clusters.get(&command.cluster_uuid) != Some(&L2Attachment::Requested) {
        return Ok(decision);
    }
    let cluster = command.cluster_uuid;
    Ok(decision.event(match &command.error {
        None => L2NetworkEvent::Attached { cluster },
        Some(error) => {
            L2NetworkEvent::AttachFailed { cluster, code: code::L2_ATTACH.to_string(), detail: error.clone() }
        }
    }))
}

/// Whether there is an attachment to end.
pub(crate) fn detachable(command: &DetachL2NetworkFromCluster, facts: &Facts) -> Result<(), Refusal> {
    let (id, cluster) = (command.l2_network_uuid, command.cluster_uuid);
    let l2 = rules::existing::<L2Network>(facts, "l2NetworkUuid", id)?;
    rules::existing::<Cluster>(facts, "clusterUuid", cluster)?;
    match l2.clusters.get(&cluster) {
        None => Err(Refusal::operation(format!("L2 network {id} has not been attached to cluster {cluster}"))),
        Some(L2Attachment::Requested) => {
            Err(Refusal::operation(format!("L2 network {id} is being attached to cluster {cluster}")))
        }
        Some(L2Attachment::Attached) => settled(id, &l2),
    }
}

pub(crate) fn detach(command: &DetachL2NetworkFromCluster, facts: &Facts) -> Result<Decision, Refusal> {
    let (id, cluster) = (command.l2_network_uuid, command.cluster_uuid);
    detachable(command, facts)?;
    // The reference takes the nics away without asking; we name what stands in the way.
    let mut blockers = Vec::new();
    for l3 in facts.members(Relation::L3sOfL2, id) {
        for vm in facts.members(Relation::VmsOnL3, l3) {
            if facts.get::<VmInstance>(vm)?.cluster == cluster {
                blockers.extend(rules::blockers::<VmInstance>(facts, vec![vm])?);
            }
        }
        for router in facts.members(Relation::RoutersOnL3, l3) {
            if facts.get::<Router>(router)?.cluster == cluster {
                blockers.extend(rules::blockers::<Router>(facts, vec![router])?);
            }
        }
    }
    rules::unblocked("L2 network in this cluster", blockers)?;
    Ok(Decision::about(StreamKind::L2Network, id).show("l2").event(L2NetworkEvent::Detached { cluster }))
}

pub(crate) fn delete(command: &DeleteL2Network, facts: &Facts) -> Result<Decision, Refusal> {
    let decision = Decision::about(StreamKind::L2Network, command.uuid);
    let l2 = facts.get::<L2Network>(command.uuid)?;
    if !rules::Exists::exists(&*l2) {
        return Ok(decision);
    }
    rules::unblocked(
        "L2 network",
        rules::blockers::<L3Network>(facts, facts.members(Relation::L3sOfL2, command.uuid))?,
    )?;
    settled(command.uuid, &l2)?;
    let mut decision = decision;
    for (cluster, attachment) in &l2.clusters {
        if *attachment == L2Attachment::Requested {
            return Err(Refusal::operation(format!(
                "L2 network {} is being attached to cluster {cluster}",
                command.uuid
            )));
        }
        decision = decision.event(L2NetworkEvent::Detached { cluster: *cluster });
    }
    Ok(decision.event(L2NetworkEvent::Deleted {}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{Given, id};

    fn created(interface: &str, vlan: Option<u16>, v_switch_type: &str) -> L2NetworkEvent {
        L2NetworkEvent::Created {
            zone: id("zone"),
            name: "l2".to_string(),
            description: None,
            physical_interface: interface.to_string(),
            network_type: if vlan.is_some() { L2NetworkType::L2VlanNetwork } else { L2NetworkType::L2NoVlanNetwork },
            vlan,
            v_switch_type: v_switch_type.to_string(),
        }
    }

    fn cluster() -> ClusterEvent {
        ClusterEvent::Created {
            zone: id("zone"),
            name: "cluster".to_string(),
            description: None,
            hypervisor_type: HypervisorType::Simulator,
        }
    }

    fn attach() -> AttachL2NetworkToCluster {
        AttachL2NetworkToCluster { l2_network_uuid: id("new"), cluster_uuid: id("cluster"), l2_provider_type: None }
    }

    #[test]
    fn two_networks_of_a_cluster_may_not_carry_the_same_frames() {
        let bridge = "LinuxBridge";
        for (there, new, conflict) in [
            (("eth0", None, bridge), ("eth0", None, bridge), Some("untagged frames")),
            (("eth0", Some(10), bridge), ("eth0", Some(10), bridge), Some("VLAN 10")),
            (("eth0", Some(10), bridge), ("eth0", None, "MacVlan"), Some("vSwitchType LinuxBridge")),
            (("eth0", Some(10), bridge), ("eth0", Some(11), bridge), None),
            (("eth0", None, bridge), ("eth0", Some(10), bridge), None),
            (("eth0", None, bridge), ("eth1", None, bridge), None),
            (("eth0", Some(10), bridge), ("eth1", Some(10), "MacVlan"), None),
        ] {
            for attached in [false, true] {
                let requested = L2NetworkEvent::AttachRequested { cluster: id("cluster"), hosts: vec![id("host")] };
                let mut given = Given::nothing()
                    .event("cluster", cluster())
                    .event("there", created(there.0, there.1, there.2))
                    .event("there", requested)
                    .event("new", created(new.0, new.1, new.2));
                if attached {
                    given = given.event("there", L2NetworkEvent::Attached { cluster: id("cluster") });
                }
                match (given.when(attach()), conflict) {
                    (Err(refusal), Some(words)) => {
                        assert_eq!(refusal.code, code::ARGUMENT);
                        assert!(refusal.detail.contains(words) && refusal.detail.contains(new.0), "{refusal}");
                    }
                    (Ok(events), None) => assert_eq!(events.len(), 2, "a cluster without hosts is done at once"),
                    (other, _) => panic!("{there:?} and {new:?}: {other:?}"),
                }
            }
            // What failed or was detached is not in the way.
            for gone in [
                L2NetworkEvent::Detached { cluster: id("cluster") },
                L2NetworkEvent::AttachFailed { cluster: id("cluster"), code: String::new(), detail: String::new() },
            ] {
                let given = Given::nothing()
                    .event("cluster", cluster())
                    .event("there", created(there.0, there.1, there.2))
                    .event("there", L2NetworkEvent::AttachRequested { cluster: id("cluster"), hosts: vec![] })
                    .event("there", gone)
                    .event("new", created(new.0, new.1, new.2));
                assert!(given.when(attach()).is_ok());
            }
        }
    }

    #[test]
    fn an_attachment_waits_for_the_hosts_that_are_connected() {
        let host = |name: &str, status| {
            let added = HostEvent::Added {
                zone: id("zone"),
                cluster: id("cluster"),
                name: name.to_string(),
                description: None,
                management_ip: [10, 0, 0, name.len() as u8].into(),
                agent_port: 1,
                hypervisor_type: HypervisorType::Simulator,
            };
            (added, HostEvent::StatusChanged { status, reason: None })
        };
        let (up, up_status) = host("up", HostStatus::Connected);
        let (down, down_status) = host("down", HostStatus::Disconnected);
        let given = Given::nothing()
            .event("cluster", cluster())
            .event("up", up)
            .event("up", up_status)
            .event("down", down)
            .event("down", down_status)
            .event("new", created("eth0", None, "LinuxBridge"));
        let wanted = L2NetworkEvent::AttachRequested { cluster: id("cluster"), hosts: vec![id("up")] };
        assert_eq!(given.when(attach()).unwrap(), [wanted.into()]);
    }
}
