//! L2 network: created, attached to clusters, deleted. An attachment goes
//! `none → Requested → Attached → none`, or from `Requested` back to `none` when a host cannot realise it.

use crate::{context::Context, decision::Decision, directory::Relation, facts::Facts, rules, *};
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
            L2NetworkEvent::Deleted {} => self.deleted = true,
        }
    }

    /// Whether the cluster's hosts carry it.
    pub fn attached_to(&self, cluster: ClusterId) -> bool {
        self.clusters.get(&cluster) == Some(&L2Attachment::Attached)
    }
}

struct NewL2<'a> {
    zone: ZoneId,
    name: &'a str,
    description: &'a Option<String>,
    physical_interface: &'a str,
    vlan: Option<u16>,
    r#type: &'a Option<String>,
    v_switch_type: &'a Option<String>,
}

fn create(new: NewL2, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    rules::interface("physicalInterface", new.physical_interface)?;
    let network_type = if new.vlan.is_some() { L2NetworkType::L2VlanNetwork } else { L2NetworkType::L2NoVlanNetwork };
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
    rules::existing::<Zone>(facts, "zoneUuid", new.zone)?;
    let id = context.resource_id();
    rules::absent::<L2Network>(facts, id)?;
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
    };
    create(new, facts, context)
}

pub(crate) fn update(command: &UpdateL2Network, facts: &Facts) -> Result<Decision, Refusal> {
    rules::existing::<L2Network>(facts, "uuid", command.uuid)?;
    let event = L2NetworkEvent::Updated { name: command.name.clone(), description: command.description.clone() };
    Ok(Decision::about(StreamKind::L2Network, command.uuid).show("l2").event(event))
}

pub(crate) fn attach(command: &AttachL2NetworkToCluster, facts: &Facts) -> Result<Decision, Refusal> {
    let (id, cluster_id) = (command.l2_network_uuid, command.cluster_uuid);
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
    for other_id in facts.members(Relation::L2sOfCluster, cluster_id) {
        let other = facts.get::<L2Network>(other_id)?;
        if other.physical_interface != l2.physical_interface {
            continue;
        }
        if other.v_switch_type != l2.v_switch_type {
            let right = format!("L2 network {other_id} uses the interface with vSwitchType {}", other.v_switch_type);
            return Err(Refusal::argument("physicalInterface", &l2.physical_interface, right));
        }
        if other.vlan == l2.vlan {
            let which = l2.vlan.map_or("untagged frames".to_string(), |vlan| format!("VLAN {vlan}"));
            let right = format!("L2 network {other_id} has {which} of the interface in this cluster already");
            return Err(Refusal::argument("physicalInterface", &l2.physical_interface, right));
        }
    }
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
        Some(L2Attachment::Attached) => Ok(()),
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
        AttachL2NetworkToCluster { l2_network_uuid: id("new"), cluster_uuid: id("cluster") }
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
