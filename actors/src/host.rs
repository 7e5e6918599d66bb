//! Host: state `Enabled ⇄ Disabled`, status `Connecting → Connected ⇄ Disconnected`, then deleted.
//!
//! The host reconciler connects it and reports what it found.

use crate::{
    context::Context,
    decision::Decision,
    directory::{Relation, address_owner},
    facts::Facts,
    rules, *,
};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use switchback_bus::*;
use switchback_events::*;

/// TCP port of a host's agent, unless another is given.
pub const HOST_AGENT_PORT: u16 = 7271;

/// A host.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Host {
    pub name: String,
    pub zone: ZoneId,
    pub cluster: ClusterId,
    pub management_ip: Option<Ipv4Addr>,
    pub agent_port: u16,
    pub disabled: bool,
    pub status: Option<HostStatus>,
    pub reason: Option<String>,
    pub deleted: bool,
}

rules::exists!(Host, "host");

impl Host {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &HostEvent, _version: Version) {
        match event {
            HostEvent::Added { zone, cluster, name, management_ip, agent_port, .. } => {
                (self.zone, self.cluster, self.name) = (*zone, *cluster, name.clone());
                (self.management_ip, self.agent_port) = (Some(*management_ip), *agent_port);
                self.status = Some(HostStatus::Connecting);
            }
            HostEvent::Updated { name, .. } => self.name = name.clone().unwrap_or_else(|| self.name.clone()),
            HostEvent::StateChanged { state } => self.disabled = *state == Enabled::Disabled,
            HostEvent::ReconnectRequested {} => self.status = Some(HostStatus::Connecting),
            HostEvent::StatusChanged { status, reason } => {
                (self.status, self.reason) = (Some(*status), reason.clone());
            }
            HostEvent::Deleted {} => self.deleted = true,
        }
    }

    /// Its agent answers, as far as the log knows.
    pub fn connected(&self) -> bool {
        self.status == Some(HostStatus::Connected)
    }
}

struct NewHost<'a> {
    cluster: ClusterId,
    name: &'a str,
    description: &'a Option<String>,
    management_ip: Ipv4Addr,
    agent_port: u16,
    simulated: bool,
}

fn add(new: NewHost, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let cluster = rules::existing::<Cluster>(facts, "clusterUuid", new.cluster)?;
    if cluster.simulated != new.simulated {
        let right =
            if new.simulated { "a cluster of hypervisorType Simulator" } else { "a cluster of hypervisorType KVM" };
        return Err(Refusal::argument("clusterUuid", new.cluster, right));
    }
    if new.management_ip.is_unspecified() || new.management_ip.is_multicast() || new.management_ip.is_broadcast() {
        return Err(Refusal::argument("managementIp", new.management_ip, "a unicast address"));
    }
    let there = facts.members(Relation::HostsAtAddress, address_owner(new.management_ip));
    if let Some(other) = there.first() {
        return Err(Refusal::argument("managementIp", new.management_ip, format!("host {other} has this address")));
    }
    let id = context.resource_id();
    rules::absent::<Host>(facts, id)?;
    Ok(Decision::about(StreamKind::Host, id).show("host").event(HostEvent::Added {
        zone: cluster.zone,
        cluster: new.cluster,
        name: new.name.to_string(),
        description: new.description.clone(),
        management_ip: new.management_ip,
        agent_port: new.agent_port,
        hypervisor_type: cluster.hypervisor_type(),
    }))
}

pub(crate) fn add_kvm(command: &AddKVMHost, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let new = NewHost {
        cluster: command.cluster_uuid,
        name: &command.name,
        description: &command.description,
        management_ip: command.management_ip,
        agent_port: command.agent_port.unwrap_or(HOST_AGENT_PORT),
        simulated: false,
    };
    add(new, facts, context)
}

pub(crate) fn add_simulator(command: &AddSimulatorHost, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let new = NewHost {
        cluster: command.cluster_uuid,
        name: &command.name,
        description: &command.description,
        management_ip: command.management_ip,
        agent_port: HOST_AGENT_PORT,
        simulated: true,
    };
    add(new, facts, context)
}

pub(crate) fn update(command: &UpdateHost, facts: &Facts) -> Result<Decision, Refusal> {
    rules::existing::<Host>(facts, "uuid", command.uuid)?;
    let event = HostEvent::Updated { name: command.name.clone(), description: command.description.clone() };
    Ok(Decision::about(StreamKind::Host, command.uuid).show("host").event(event))
}

pub(crate) fn change_state(command: &ChangeHostState, facts: &Facts) -> Result<Decision, Refusal> {
    let host = rules::existing::<Host>(facts, "uuid", command.uuid)?;
    if command.state_event == "maintain" {
        return Err(Refusal::not_supported("stateEvent maintain"));
    }
    let state = rules::state_event(&command.state_event);
    let decision = Decision::about(StreamKind::Host, command.uuid).show("host");
    if host.disabled == (state == Enabled::Disabled) {
        return Ok(decision);
    }
    Ok(decision.event(HostEvent::StateChanged { state }))
}

pub(crate) fn reconnect(command: &ReconnectHost, facts: &Facts) -> Result<Decision, Refusal> {
    rules::existing::<Host>(facts, "uuid", command.uuid)?;
    Ok(Decision::about(StreamKind::Host, command.uuid).show("host").event(HostEvent::ReconnectRequested {}))
}

pub(crate) fn report(command: &ReportHostStatus, facts: &Facts) -> Result<Decision, Refusal> {
    let host = rules::existing::<Host>(facts, "uuid", command.uuid)?;
    let status = if command.status == "Connected" { HostStatus::Connected } else { HostStatus::Disconnected };
    let decision = Decision::about(StreamKind::Host, command.uuid);
    if host.status == Some(status) && host.reason == command.reason {
        return Ok(decision);
    }
    Ok(decision.event(HostEvent::StatusChanged { status, reason: command.reason.clone() }))
}

pub(crate) fn delete(command: &DeleteHost, facts: &Facts) -> Result<Decision, Refusal> {
    let decision = Decision::about(StreamKind::Host, command.uuid);
    if !rules::Exists::exists(&*facts.get::<Host>(command.uuid)?) {
        return Ok(decision);
    }
    let mut blockers = rules::blockers::<VmInstance>(facts, facts.members(Relation::VmsOnHost, command.uuid))?;
    blockers.extend(rules::blockers::<Router>(facts, facts.members(Relation::RoutersOnHost, command.uuid))?);
    rules::unblocked("host", blockers)?;
    Ok(decision.event(HostEvent::Deleted {}))
}
