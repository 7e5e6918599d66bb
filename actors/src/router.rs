//! Virtual router: made with the first VM on a network that needs one, in the same commit as the VM.
//!
//! ```text
//!  Created ─► Starting/Connecting ──Connected──► Running/Connected ──► Stopping ──► Stopped/Disconnected
//!                 │       ▲                        │        ▲                          │
//!      StartFailed│       └─ start, reboot, ◄──────┘        └── Connecting ◄───────────┘ start
//!      (rolled    ▼          reconnect        Disconnected (stop, pings fail)
//!       back) Destroyed  ◄── Destroying ◄── any
//!
//! No state lasts: a start, stop or reboot has failed after `applianceVm.connect.timeout`, and what is to be destroyed
//! is gone after `applianceVm.deletion.timeout`.
//! ```

pub(crate) mod nics;

pub use nics::attachable_public_networks;

use crate::{
    context::Context,
    decision::Decision,
    directory::Relation,
    facts::Facts,
    findings::{self, Findings},
    host,
    ip_range::{self, Holder},
    mac_block,
    offering::{choose, networks_overlap},
    placement::{self, Wish},
    rules, vm_instance, *,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use switchback_bus::*;
use switchback_events::*;

/// Whether a router's agent answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum RouterStatus {
    #[default]
    Connecting,
    Connected,
    Disconnected,
}

/// A virtual router.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Router {
    pub name: String,
    pub state: VmState,
    pub status: RouterStatus,
    /// It has never been Connected.
    pub creating: bool,
    /// Another appliance is to take its place.
    pub replacing: bool,
    /// Where that one is to be, where not on the same host.
    pub heading: Option<(HostId, ClusterId)>,
    pub zone: ZoneId,
    pub cluster: ClusterId,
    pub host: HostId,
    pub offering: OfferingId,
    pub nics: Vec<Nic>,
    pub agent_digest: Option<String>,
    pub revision: Position,
    pub config_digest: Option<String>,
    /// The last operation that failed: version of the event, code, why.
    pub failed: Option<(Version, String, String)>,
    /// What differs from its configuration, as far as the log knows.
    pub drift: Findings,
    /// The services that do not answer as they should.
    pub unhealthy: BTreeSet<String>,
}

impl rules::Exists for Router {
    const WHAT: &'static str = "virtual router";
    fn exists(&self) -> bool {
        !matches!(self.state, VmState::Absent | VmState::Destroyed)
    }
    fn name(&self) -> &str {
        &self.name
    }
}

impl Router {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &RouterEvent, version: Version) {
        if matches!(
            event,
            RouterEvent::Connected { .. }
                | RouterEvent::Disconnected { .. }
                | RouterEvent::Stopped {}
                | RouterEvent::StopFailed { .. }
                | RouterEvent::StartFailed { .. }
        ) {
            // What was found before is not known to be so still.
            (self.drift, self.unhealthy) = (Findings::default(), BTreeSet::new());
        }
        match event {
            RouterEvent::Created { zone, cluster, host, name, offering, nics, .. } => {
                (self.zone, self.cluster, self.host) = (*zone, *cluster, *host);
                (self.name, self.offering, self.nics) = (name.clone(), *offering, nics.clone());
                (self.state, self.status, self.creating) = (VmState::Starting, RouterStatus::Connecting, true);
            }
            RouterEvent::StartRequested { host, cluster } => {
                (self.host, self.cluster) = (*host, *cluster);
                (self.state, self.status, self.replacing) = (VmState::Starting, RouterStatus::Connecting, false);
            }
            RouterEvent::RebootRequested {} => {
                self.replacing = false;
                (self.state, self.status) = (VmState::Rebooting, RouterStatus::Connecting);
            }
            RouterEvent::ReconnectRequested {} => self.status = RouterStatus::Connecting,
            RouterEvent::ProvisionRequested {}
            | RouterEvent::SuccessorPrepared {}
            | RouterEvent::SuccessorServes { .. } => {}
            RouterEvent::ReplaceRequested {} => (self.replacing, self.heading) = (true, None),
            RouterEvent::MoveRequested { host, cluster } => {
                (self.replacing, self.heading) = (true, Some((*host, *cluster)));
            }
            RouterEvent::Moved { host, cluster } => {
                (self.host, self.cluster) = (*host, *cluster);
                (self.status, self.replacing) = (RouterStatus::Connecting, false);
            }
            // The same router, with another agent that is to be found.
            RouterEvent::Replaced {} => (self.status, self.replacing) = (RouterStatus::Connecting, false),
            RouterEvent::ReplaceFailed { code, detail } => {
                self.replacing = false;
                self.failed = Some((version, code.clone(), detail.clone()));
            }
            RouterEvent::NicChanged { nic } => {
                self.nics.iter_mut().filter(|own| own.nic == nic.nic).for_each(|own| *own = nic.clone());
            }
            RouterEvent::StopRequested {} => (self.state, self.replacing) = (VmState::Stopping, false),
            RouterEvent::DestroyRequested { .. } => (self.state, self.replacing) = (VmState::Destroying, false),
            RouterEvent::AgentUpgraded { to, .. } => self.agent_digest = Some(to.clone()),
            RouterEvent::Connected { agent_digest, revision, config_digest } => {
                (self.state, self.status, self.creating) = (VmState::Running, RouterStatus::Connected, false);
                self.agent_digest = Some(agent_digest.clone());
                (self.revision, self.config_digest) = (*revision, Some(config_digest.clone()));
            }
            RouterEvent::Disconnected { reason } => {
                self.status = RouterStatus::Disconnected;
                self.failed = Some((version, code::VR_STATE.to_string(), reason.clone()));
            }
            RouterEvent::ConfigApplied { revision, config_digest } => {
                (self.revision, self.config_digest) = (*revision, Some(config_digest.clone()));
                // What is applied is applied whole.
                self.drift = Findings::default();
            }
            RouterEvent::ConfigFailed { section, detail, .. } => {
                let detail = format!("section {section}: {detail}");
                self.failed = Some((version, code::BACKEND.to_string(), detail));
            }
            RouterEvent::DriftChanged { items, more } => self.drift = Findings::of(items, *more),
            RouterEvent::HealthChanged { unhealthy } => self.unhealthy = unhealthy.keys().cloned().collect(),
            RouterEvent::NicAttached { nic } => {
                self.nics.push(nic.clone());
                self.nics.sort_by_key(|own| own.device_id);
            }
            RouterEvent::NicDetached { nic, .. } => self.nics.retain(|own| own.nic != *nic),
            RouterEvent::Stopped {} => (self.state, self.status) = (VmState::Stopped, RouterStatus::Disconnected),
            RouterEvent::StopFailed { code, detail } => {
                (self.state, self.status) = (VmState::Running, RouterStatus::Disconnected);
                self.failed = Some((version, code.clone(), detail.clone()));
            }
            RouterEvent::StartFailed { code, detail } => {
                (self.state, self.status) = (VmState::Stopped, RouterStatus::Disconnected);
                self.failed = Some((version, code.clone(), detail.clone()));
            }
            RouterEvent::Destroyed { .. } => {
                (self.state, self.status) = (VmState::Destroyed, RouterStatus::Disconnected);
            }
        }
    }

    /// The networks of its nics.
    pub fn l3_networks(&self) -> Vec<L3NetworkId> {
        self.nics.iter().map(|nic| nic.l3_network).collect()
    }

    /// Nothing is under way.
    pub fn settled(&self) -> bool {
        match self.state {
            VmState::Running => self.status != RouterStatus::Connecting && !self.replacing,
            VmState::Stopped | VmState::Destroyed | VmState::Absent => true,
            _ => false,
        }
    }
}

/// Sees to it that each of the networks that needs a router has one that runs or is about to: makes or starts it as a
/// part of `decision`. Under any number of concurrent decisions exactly one comes of it, since all rest on the set of
/// the network's routers.
pub(crate) fn ensure(
    decision: &mut Decision,
    facts: &Facts,
    context: &Context,
    l3s: &[L3NetworkId],
) -> Result<(), Refusal> {
    for id in l3s {
        l3_network::dhcp_server::ensure(decision, facts, context, *id)?;
        let l3 = facts.get::<L3Network>(*id)?;
        if !l3.needs_router() {
            continue;
        }
        let mut served = false;
        let mut going = None;
        for router_id in facts.members(Relation::RoutersOfGuest, *id) {
            let router = facts.get::<Router>(router_id)?;
            match router.state {
                VmState::Destroying => going = Some(router_id),
                VmState::Stopping => {
                    return Err(Refusal::conflict(
                        code::VR_STATE,
                        format!("virtual router {router_id} of L3 network {id} is Stopping"),
                    )
                    .hint("try again when it has stopped"));
                }
                VmState::Stopped => {
                    restart(decision, facts, router_id, &router)?;
                    served = true;
                }
                _ => served = true,
            }
        }
        if served {
            continue;
        }
        if let Some(router) = going {
            let detail = format!("virtual router {router} of L3 network {id} is being destroyed");
            return Err(Refusal::conflict(code::VR_STATE, detail).hint("try again when it is gone"));
        }
        make(decision, facts, context, *id, &l3)?;
    }
    Ok(())
}

/// Refuses what a network's router could not be told: it runs, and its agent does not answer. What is taken away is
/// taken away all the same, and told when it is back.
pub(crate) fn reachable(facts: &Facts, field: &str, l3: L3NetworkId) -> Result<(), Refusal> {
    for id in facts.members(Relation::RoutersOfGuest, l3) {
        let router = facts.get::<Router>(id)?;
        if router.state == VmState::Running && router.status == RouterStatus::Disconnected {
            let detail = format!("{field} = `{l3}`: virtual router {id} of the L3 network is Disconnected");
            return Err(Refusal::conflict(code::VR_STATE, detail).hint("reconnect it with ReconnectVirtualRouter"));
        }
    }
    Ok(())
}

fn restart(decision: &mut Decision, facts: &Facts, id: Id, router: &Router) -> Result<(), Refusal> {
    let l2s: Vec<L2NetworkId> = router.nics.iter().map(|nic| nic.l2_network).collect();
    let wish = Wish { last: Some(router.host), ..Wish::default() };
    let place = placement::choose(facts, router.zone, &l2s, &wish)?;
    decision.add(id, RouterEvent::StartRequested { host: place.host, cluster: place.cluster });
    Ok(())
}

/// Makes a router for the guest network: nics for management, public and guest, one for each different network.
fn make(
    decision: &mut Decision,
    facts: &Facts,
    context: &Context,
    guest: L3NetworkId,
    l3: &L3Network,
) -> Result<(), Refusal> {
    let (offering, terms) = choose(facts, guest, l3)?;
    let (management, public) = (terms.management_network, terms.public_network);
    let snat = l3.routed(NetworkServiceType::SNAT);
    for other in [management, public] {
        if networks_overlap(facts, guest, other)? {
            let right = format!("a network whose CIDR does not overlap that of L3 network {other} of the router");
            return Err(Refusal::argument("l3NetworkUuids", guest, right));
        }
    }
    let mut roles: Vec<(L3NetworkId, u8)> = Vec::new();
    for (network, role) in [(management, Nic::MANAGEMENT), (public, Nic::PUBLIC), (guest, Nic::GUEST)] {
        match roles.iter_mut().find(|(other, _)| *other == network) {
            Some((_, roles)) => *roles |= role,
            None => roles.push((network, role)),
        }
    }
    let id = context.id();
    let mut nics = Vec::new();
    for (at, (network, meta_data)) in roles.into_iter().enumerate() {
        nics.push(router_nic(decision, facts, context, (network, meta_data), at as u8, (id, snat))?);
    }
    let l2s: Vec<L2NetworkId> = nics.iter().map(|nic| nic.l2_network).collect();
    let place = placement::choose(facts, l3.zone, &l2s, &Wish::default())?;
    let degree = facts.tags(offering)?;
    decision.add(
        id,
        RouterEvent::Created {
            zone: l3.zone,
            cluster: place.cluster,
            host: place.host,
            hypervisor_type: place.hypervisor_type,
            name: format!("vrouter.l3.{}.{}", l3.name, &id.tail()[..6]),
            offering,
            image: terms.image,
            management_network: management,
            public_network: public,
            default_route_network: public,
            nics,
        },
    );
    // Routers inherit this tag from their offering.
    for value in degree.values("commandsParallelismDegree") {
        tag_set::inherit(decision, facts, context, id, &format!("commandsParallelismDegree::{value}"))?;
    }
    Ok(())
}

fn router_nic(
    decision: &mut Decision,
    facts: &Facts,
    context: &Context,
    (network, meta_data): (L3NetworkId, u8),
    device_id: u8,
    (router, snat): (Id, bool),
) -> Result<Nic, Refusal> {
    let l3 = facts.get::<L3Network>(network)?;
    let nic = NicId(context.id());
    let mac = mac_block::allocate(decision, facts, context, nic, device_id, None)?;
    let guest = meta_data & Nic::GUEST != 0;
    let of_router = l3_network::router_interface_ip(&*facts.tags(network)?).filter(|_| guest);
    // With SNAT the router is the gateway of the guest network, in IPv4 unless it was given an address of its own. No
    // range holds either.
    let mut addresses = if guest { ip_range::gateways(facts, network)? } else { vec![] };
    addresses.retain(|gateway| snat || of_router.is_some() && gateway.ip.is_ipv4());
    if let (Some(ip), Some(first)) = (of_router, addresses.first_mut().filter(|first| first.ip.is_ipv4())) {
        first.ip = ip.into();
    }
    let held: Vec<u8> = addresses.iter().map(|own| ip_version(own.ip)).collect();
    let holder = Holder { nic, mac, owner: router };
    addresses.extend(ip_range::allocate_besides(decision, facts, context, network, &held, holder)?);
    Ok(Nic {
        nic,
        l3_network: network,
        l2_network: l3.l2_network,
        mac,
        addresses,
        device_id,
        internal_name: vm_instance::internal_name(nic, device_id),
        meta_data,
    })
}

/// With SNAT a router is the gateway of its guest network: one that is there already takes the gateway's address,
/// which no range holds, and gives back its own. One whose public network this is cannot.
pub(crate) fn become_gateway(decision: &mut Decision, facts: &Facts, l3: L3NetworkId) -> Result<(), Refusal> {
    let chosen = facts.tags(l3)?.values("routerInterfaceIp").any(|_| true);
    for id in facts.members(Relation::RoutersOfGuest, l3) {
        let router = facts.get::<Router>(id)?;
        for nic in router.nics.iter().filter(|nic| nic.l3_network == l3 && nic.is(Nic::GUEST)) {
            if nic.is(Nic::PUBLIC) {
                let detail = format!("SNAT on L3 network {l3} needs another public network than that of router {id}");
                return Err(Refusal::conflict(code::VR_NO_PUBLIC_NETWORK, detail));
            }
            if nic.is(Nic::MANAGEMENT) {
                return Err(Refusal::operation(format!("L3 network {l3} is the management network of router {id}")));
            }
            let elsewhere = |address: &NicAddress| address.ip != address.gateway && !(chosen && address.ip.is_ipv4());
            if router.state == VmState::Destroying || !nic.addresses.iter().any(elsewhere) {
                continue;
            }
            let mut changed = nic.clone();
            for address in changed.addresses.iter_mut().filter(|address| elsewhere(address)) {
                (address.ip, address.used_ip) = (address.gateway, Id::NIL);
            }
            let mut given_up = nic.clone();
            given_up.addresses.retain(elsewhere);
            decision.add(id, RouterEvent::NicChanged { nic: changed });
            ip_range::release_addresses(decision, facts, &given_up, id)?;
        }
    }
    Ok(())
}

fn wrong_state(router: &Router, id: Id, wanted: &str) -> Refusal {
    let detail = format!("virtual router {id} is {:?} and {:?}, and must be {wanted}", router.state, router.status);
    Refusal::conflict(code::VR_STATE, detail)
}

fn about(id: Id) -> Decision {
    Decision::about(StreamKind::Router, id).show("virtualRouter")
}

pub(crate) fn start(id: Id, facts: &Facts) -> Result<Decision, Refusal> {
    let router = rules::existing::<Router>(facts, "uuid", id)?;
    let mut decision = about(id);
    match router.state {
        VmState::Running | VmState::Starting => {}
        VmState::Stopped => restart(&mut decision, facts, id, &router)?,
        _ => return Err(wrong_state(&router, id, "Stopped")),
    }
    Ok(decision)
}

pub(crate) fn stop(id: Id, facts: &Facts) -> Result<Decision, Refusal> {
    let router = rules::existing::<Router>(facts, "uuid", id)?;
    match router.state {
        VmState::Stopped | VmState::Stopping => Ok(about(id)),
        VmState::Running if facts.get::<Host>(router.host)?.connected() => {
            Ok(about(id).event(RouterEvent::StopRequested {}))
        }
        VmState::Running => Err(Refusal::operation(format!("host {} of router {id} is not Connected", router.host))),
        _ => Err(wrong_state(&router, id, "Running")),
    }
}

pub(crate) fn reboot(id: Id, facts: &Facts) -> Result<Decision, Refusal> {
    let router = rules::existing::<Router>(facts, "uuid", id)?;
    match router.state {
        VmState::Running if facts.get::<Host>(router.host)?.connected() => {
            Ok(about(id).event(RouterEvent::RebootRequested {}))
        }
        VmState::Running => Err(Refusal::operation(format!("host {} of router {id} is not Connected", router.host))),
        _ => Err(wrong_state(&router, id, "Running")),
    }
}

/// Ends a router: its addresses are free again, and its tags go.
pub(crate) fn destroyed(decision: &mut Decision, facts: &Facts, router: &Router, id: Id) -> Result<(), Refusal> {
    decision.add(id, RouterEvent::Destroyed { l3_networks: router.l3_networks() });
    ip_range::release(decision, facts, &router.nics, id)?;
    for tag in facts.tags(id)?.tags.keys() {
        decision.add(id, TagSetEvent::Deleted { tag: *tag });
    }
    Ok(())
}

pub(crate) fn destroy(id: Id, facts: &Facts) -> Result<Decision, Refusal> {
    let router = facts.get::<Router>(id)?;
    let mut decision = Decision::about(StreamKind::Router, id);
    if matches!(router.state, VmState::Absent | VmState::Destroyed | VmState::Destroying) {
        return Ok(decision);
    }
    decision = decision.event(RouterEvent::DestroyRequested { l3_networks: router.l3_networks() });
    // A host that does not answer is not waited for: it drops the appliance when it comes back.
    if router.state == VmState::Stopped || !facts.get::<Host>(router.host)?.connected() {
        destroyed(&mut decision, facts, &router, id)?;
    }
    Ok(decision)
}

pub(crate) fn reconnect(command: &ReconnectVirtualRouter, facts: &Facts) -> Result<Decision, Refusal> {
    let id = command.vm_instance_uuid.0;
    let router = rules::existing::<Router>(facts, "vmInstanceUuid", id)?;
    if router.state != VmState::Running {
        return Err(wrong_state(&router, id, "Running"));
    }
    Ok(about(id).event(RouterEvent::ReconnectRequested {}))
}

pub(crate) fn replace(command: &ReplaceVirtualRouter, facts: &Facts) -> Result<Decision, Refusal> {
    let id = command.vm_instance_uuid.0;
    let router = rules::existing::<Router>(facts, "vmInstanceUuid", id)?;
    let other = match command.host_uuid.filter(|host| *host != router.host) {
        Some(host) => Some((host, cluster_for(facts, &router, host)?)),
        None => None,
    };
    match router.state {
        VmState::Running if router.replacing => match command.host_uuid {
            Some(asked) if asked != router.heading.map_or(router.host, |(host, _)| host) => {
                let detail = format!("hostUuid = `{asked}`: router {id} is being replaced on another host already");
                Err(Refusal::conflict(code::VR_STATE, detail).hint("ask again when that has ended"))
            }
            _ => Ok(about(id)),
        },
        VmState::Running if facts.get::<Host>(router.host)?.connected() => Ok(about(id).event(match other {
            Some((host, cluster)) => RouterEvent::MoveRequested { host, cluster },
            None => RouterEvent::ReplaceRequested {},
        })),
        VmState::Running => Err(Refusal::operation(format!("host {} of router {id} is not Connected", router.host))),
        _ => Err(wrong_state(&router, id, "Running")),
    }
}

/// The cluster of a host that can carry the router as well as its own does.
fn cluster_for(facts: &Facts, router: &Router, id: HostId) -> Result<ClusterId, Refusal> {
    let host = rules::existing::<Host>(facts, "hostUuid", id.0)?;
    let wrong = |right: &str| Err(Refusal::argument("hostUuid", id, right));
    if host.state != HostState::Enabled || !host.connected() {
        return wrong("a host that is Enabled and Connected");
    }
    let kind = |cluster: ClusterId| Ok(facts.get::<Cluster>(cluster)?.hypervisor_type());
    let own: HypervisorType = kind(router.cluster)?;
    if kind(host.cluster)? != own {
        return wrong(&format!("a host of the hypervisor type {own:?}"));
    }
    for nic in &router.nics {
        if !facts.get::<L2Network>(nic.l2_network)?.attached_to(host.cluster) {
            let l2 = nic.l2_network;
            return wrong(&format!("a host of a cluster that L2 network {l2} of the router is attached to"));
        }
    }
    Ok(host.cluster)
}

pub(crate) fn provision(command: &ProvisionVirtualRouterConfig, facts: &Facts) -> Result<Decision, Refusal> {
    let id = command.vm_instance_uuid.0;
    let router = rules::existing::<Router>(facts, "vmInstanceUuid", id)?;
    if router.state != VmState::Running || router.status != RouterStatus::Connected {
        return Err(wrong_state(&router, id, "Running and Connected"));
    }
    Ok(about(id).event(RouterEvent::ProvisionRequested {}))
}

pub(crate) fn report(command: &ReportApplianceStatus, facts: &Facts) -> Result<Decision, Refusal> {
    let id = command.uuid.0;
    let router = facts.get::<Router>(id)?;
    let mut decision = Decision::about(StreamKind::Router, id);
    if !rules::Exists::exists(&*router) {
        return Ok(decision);
    }
    let detail = command.detail.clone().unwrap_or_default();
    let revision = command.revision.unwrap_or(0);
    let config_digest = command.config_digest.clone().unwrap_or_default();
    let up = matches!(router.state, VmState::Starting | VmState::Running | VmState::Rebooting);
    match command.status.as_str() {
        "Connected" if up => {
            let agent_digest = command.agent_digest.clone().unwrap_or_default();
            decision.add(id, RouterEvent::Connected { agent_digest, revision, config_digest });
        }
        "Disconnected" if up && router.status != RouterStatus::Disconnected => {
            decision.add(id, RouterEvent::Disconnected { reason: detail });
        }
        "Applied" if up && (revision, Some(&config_digest)) != (router.revision, router.config_digest.as_ref()) => {
            decision.add(id, RouterEvent::ConfigApplied { revision, config_digest });
        }
        "ApplyFailed" => {
            let section = command.section.clone().unwrap_or_default();
            decision.add(id, RouterEvent::ConfigFailed { revision, section, detail });
        }
        "AgentUpgraded" => {
            let from = command.agent_digest_before.clone().unwrap_or_default();
            let to = command.agent_digest.clone().unwrap_or_default();
            decision.add(id, RouterEvent::AgentUpgraded { from, to });
        }
        "SuccessorPrepared" if router.replacing => decision.add(id, RouterEvent::SuccessorPrepared {}),
        "SuccessorServes" if router.replacing => {
            let [connections, leases, switch_micros] =
                [command.connections, command.leases, command.switch_micros].map(Option::unwrap_or_default);
            decision.add(id, RouterEvent::SuccessorServes { connections, leases, switch_micros });
        }
        "Replaced" if router.replacing => match router.heading {
            Some((host, cluster)) if rules::Exists::exists(&*facts.get::<Host>(host)?) => {
                decision.add(id, RouterEvent::Moved { host, cluster });
            }
            Some((host, _)) => {
                let detail = format!("host {host} was deleted meanwhile");
                decision.add(id, RouterEvent::ReplaceFailed { code: code::VR_STATE.to_string(), detail });
            }
            None => decision.add(id, RouterEvent::Replaced {}),
        },
        "ReplaceFailed" if router.replacing => {
            decision.add(id, RouterEvent::ReplaceFailed { code: code::VR_STATE.to_string(), detail });
        }
        "Stopped" => match router.state {
            VmState::Stopping => decision.add(id, RouterEvent::Stopped {}),
            VmState::Destroying => destroyed(&mut decision, facts, &router, id)?,
            _ => {}
        },
        "StopFailed" => match router.state {
            VmState::Stopping => {
                decision.add(id, RouterEvent::StopFailed { code: code::VM_STOP.to_string(), detail });
                host::not_emptied(&mut decision, facts, router.host)?;
            }
            // What cannot be told is not waited for for ever: its host drops it when it is back.
            VmState::Destroying => destroyed(&mut decision, facts, &router, id)?,
            _ => {}
        },
        "StartFailed" if up => start_failed(&mut decision, facts, &router, id, detail)?,
        _ => {}
    }
    Ok(decision)
}

pub(crate) fn found(command: &ReportApplianceFindings, facts: &Facts) -> Result<Decision, Refusal> {
    let id = command.uuid.0;
    let router = facts.get::<Router>(id)?;
    let mut decision = Decision::about(StreamKind::Router, id);
    if router.state != VmState::Running || router.status != RouterStatus::Connected {
        return Ok(decision);
    }
    if let Some(unhealthy) = &command.unhealthy
        && !unhealthy.keys().eq(router.unhealthy.iter())
    {
        let unhealthy = unhealthy.iter().map(|(name, detail)| (name.clone(), findings::bounded_text(detail))).collect();
        decision.add(id, RouterEvent::HealthChanged { unhealthy });
    }
    if let Some(drift) = &command.drift {
        let (items, more) = findings::bounded(drift);
        if Findings::of(&items, more) != router.drift {
            decision.add(id, RouterEvent::DriftChanged { items, more });
        }
    }
    Ok(decision)
}

/// A router that could not be made takes the VMs that wait for it with it, all in one commit.
fn start_failed(
    decision: &mut Decision,
    facts: &Facts,
    router: &Router,
    id: Id,
    detail: String,
) -> Result<(), Refusal> {
    let why = format!("virtual router {id} could not be started: {detail}");
    decision.add(id, RouterEvent::StartFailed { code: code::VR_STATE.to_string(), detail });
    if router.creating && facts.config("applianceVm", "auto.rollback")? == "true" {
        destroyed(decision, facts, router, id)?;
    }
    for nic in router.nics.iter().filter(|nic| nic.is(Nic::GUEST)) {
        for vm in facts.members(Relation::VmsOnL3, nic.l3_network) {
            if !facts.get::<VmInstance>(vm)?.settled() {
                vm_instance::fail(decision, facts, vm, &why)?;
            }
        }
    }
    Ok(())
}
