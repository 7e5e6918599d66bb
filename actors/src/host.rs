//! Host: a state ([`HostState`]), a status `Connecting → Connected ⇄ Disconnected`, then deleted.
//!
//! The host reconciler connects it and reports what it found. A host that is to be maintained is emptied first: what
//! runs on it is told to stop, and may start elsewhere. A host in maintenance is left alone; when it is taken back it
//! is connected anew, and told all that it missed.

use crate::{
    context::Context,
    decision::Decision,
    directory::{Relation, address_owner},
    facts::Facts,
    findings::{self, Findings},
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
    pub state: HostState,
    pub status: Option<HostStatus>,
    pub reason: Option<String>,
    pub notes: Vec<String>,
    /// What differs from what was put in place, as far as the log knows.
    pub drift: Findings,
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
            HostEvent::StateChanged { state } => self.state = *state,
            HostEvent::ReconnectRequested {} => self.status = Some(HostStatus::Connecting),
            HostEvent::StatusChanged { status, reason } => {
                (self.status, self.reason) = (Some(*status), reason.clone());
                self.drift = Findings::default();
            }
            HostEvent::NotesChanged { notes } => self.notes = notes.clone(),
            HostEvent::DriftChanged { items, more } => self.drift = Findings::of(items, *more),
            HostEvent::Deleted {} => self.deleted = true,
        }
    }

    /// Its agent answers, as far as the log knows.
    pub fn connected(&self) -> bool {
        self.status == Some(HostStatus::Connected)
    }

    /// It is in maintenance, or on the way there.
    pub fn maintained(&self) -> bool {
        matches!(self.state, HostState::PreMaintenance | HostState::Maintenance)
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
    let decision = Decision::about(StreamKind::Host, command.uuid).show("host");
    if command.state_event == "maintain" {
        return maintain(decision, facts, &host);
    }
    let state = HostState::from(rules::state_event(&command.state_event));
    if host.state == state {
        return Ok(decision);
    }
    let decision = decision.event(HostEvent::StateChanged { state });
    Ok(if host.maintained() { decision.event(HostEvent::ReconnectRequested {}) } else { decision })
}

fn maintain(mut decision: Decision, facts: &Facts, host: &Host) -> Result<Decision, Refusal> {
    if host.maintained() {
        return Ok(decision);
    }
    let id = decision.target.id;
    decision = decision.event(HostEvent::StateChanged { state: HostState::PreMaintenance });
    let busy = empty(&mut decision, facts, id)?;
    if !host.connected() {
        // Nobody would answer for what is told to stop.
        rules::unblocked("host, which is not Connected,", busy)?;
    }
    Ok(decision)
}

/// Stops what runs on a host that is to be maintained; where nothing does any more, it is in maintenance. Answers what
/// is still there.
fn empty(decision: &mut Decision, facts: &Facts, id: Id) -> Result<Vec<Blocker>, Refusal> {
    let mut busy = Vec::new();
    for vm_id in facts.members(Relation::VmsOnHost, id) {
        let vm = facts.get::<VmInstance>(vm_id)?;
        if matches!(vm.state, VmState::Running | VmState::Paused) {
            decision.add(vm_id, VmInstanceEvent::StopRequested { l3_networks: vm.l3_networks() });
        }
        if vm.state != VmState::Stopped {
            busy.extend(rules::blockers::<VmInstance>(facts, vec![vm_id])?);
        }
    }
    for router_id in facts.members(Relation::RoutersOnHost, id) {
        let router = facts.get::<Router>(router_id)?;
        if router.state == VmState::Running {
            decision.add(router_id, RouterEvent::StopRequested {});
        }
        if router.state != VmState::Stopped {
            busy.extend(rules::blockers::<Router>(facts, vec![router_id])?);
        }
    }
    if busy.is_empty() {
        decision.add(id, HostEvent::StateChanged { state: HostState::Maintenance });
    }
    Ok(busy)
}

/// A host that could not be emptied is not maintained: it stays Disabled.
pub(crate) fn not_emptied(decision: &mut Decision, facts: &Facts, id: HostId) -> Result<(), Refusal> {
    if facts.get::<Host>(id)?.state == HostState::PreMaintenance {
        decision.add(id, HostEvent::StateChanged { state: HostState::Disabled });
    }
    Ok(())
}

pub(crate) fn reconnect(command: &ReconnectHost, facts: &Facts) -> Result<Decision, Refusal> {
    let host = rules::existing::<Host>(facts, "uuid", command.uuid)?;
    if host.maintained() {
        let detail = format!("host {} is in {:?} and is not connected before it is enabled", command.uuid, host.state);
        return Err(Refusal::operation(detail));
    }
    Ok(Decision::about(StreamKind::Host, command.uuid).show("host").event(HostEvent::ReconnectRequested {}))
}

pub(crate) fn report(command: &ReportHostStatus, facts: &Facts) -> Result<Decision, Refusal> {
    let host = rules::existing::<Host>(facts, "uuid", command.uuid)?;
    let mut decision = Decision::about(StreamKind::Host, command.uuid);
    let status = match command.status.as_str() {
        "Idle" if host.state == HostState::PreMaintenance => {
            empty(&mut decision, facts, command.uuid.0)?;
            return Ok(decision);
        }
        "Idle" => return Ok(decision),
        "Connected" => HostStatus::Connected,
        _ => HostStatus::Disconnected,
    };
    if let Some(notes) = command.notes.clone().filter(|notes| *notes != host.notes) {
        decision = decision.event(HostEvent::NotesChanged { notes });
    }
    if host.status == Some(status) && host.reason == command.reason {
        return Ok(decision);
    }
    Ok(decision.event(HostEvent::StatusChanged { status, reason: command.reason.clone() }))
}

pub(crate) fn found(command: &ReportHostFindings, facts: &Facts) -> Result<Decision, Refusal> {
    let host = facts.get::<Host>(command.uuid)?;
    let decision = Decision::about(StreamKind::Host, command.uuid);
    let (items, more) = findings::bounded(&command.drift);
    if !rules::Exists::exists(&*host) || !host.connected() || Findings::of(&items, more) == host.drift {
        return Ok(decision);
    }
    Ok(decision.event(HostEvent::DriftChanged { items, more }))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{Given, id};

    fn host() -> HostEvent {
        HostEvent::Added {
            zone: id("zone"),
            cluster: id("cluster"),
            name: "host".to_string(),
            description: None,
            management_ip: [10, 0, 0, 1].into(),
            agent_port: 1,
            hypervisor_type: HypervisorType::Simulator,
        }
    }

    fn vm() -> VmInstanceEvent {
        VmInstanceEvent::Created {
            zone: id("zone"),
            cluster: id("cluster"),
            host: id("host"),
            hypervisor_type: HypervisorType::Simulator,
            name: "vm".to_string(),
            description: None,
            hostname: "vm".to_string(),
            image: None,
            offering: None,
            default_l3_network: id("l3"),
            nics: vec![],
        }
    }

    fn changed(state: HostState) -> Event {
        HostEvent::StateChanged { state }.into()
    }

    fn idle() -> ReportHostStatus {
        ReportHostStatus { uuid: id("host"), status: "Idle".to_string(), reason: None, notes: None }
    }

    #[test]
    fn a_host_is_in_maintenance_when_the_last_vm_has_stopped() {
        let stop = VmInstanceEvent::StopRequested { l3_networks: vec![] };
        let given = Given::nothing()
            .event("host", host())
            .event("host", HostEvent::StatusChanged { status: HostStatus::Connected, reason: None })
            .event("vm", vm());
        let maintain = ChangeHostState { uuid: id("host"), state_event: "maintain".to_string() };
        // A VM that is about to run is stopped when it does.
        assert_eq!(given.when(maintain.clone()).unwrap(), [changed(HostState::PreMaintenance)]);
        let given = given.event("vm", VmInstanceEvent::Started { host: id("host") });
        assert_eq!(given.when(maintain).unwrap(), [changed(HostState::PreMaintenance), stop.clone().into()]);
        assert_eq!(given.when(idle()).unwrap(), []);
        let given = given.event("host", HostEvent::StateChanged { state: HostState::PreMaintenance });
        assert_eq!(given.when(idle()).unwrap(), [stop.clone().into()]);
        let given = given.event("vm", stop);
        assert_eq!(given.when(idle()).unwrap(), []);
        let failed = ReportVmStatus { uuid: id("vm"), status: "Failed".to_string(), detail: None };
        let kept = given.when(failed).unwrap();
        assert_eq!(kept[1..], [changed(HostState::Disabled)], "a host that cannot be emptied is not maintained");
        let given = given.event("vm", VmInstanceEvent::Stopped { l3_networks: vec![] });
        assert_eq!(given.when(idle()).unwrap(), [changed(HostState::Maintenance)]);
    }
}
