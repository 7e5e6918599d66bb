//! VIP: `Enabled ⇄ Disabled → deleted`, an address of an L3 network for services to answer at. Its range holds the
//! address for it, so it has one holder; who uses it follows from the services' records, so it cannot disagree with them.
//!
//! ```text
//!  service ──► may_join    the VIP is there, Enabled, no router's own, and free or shared ──► its record
//!     │        may_serve   the nic is another network's, of a VM at rest, and its router is on the VIP's network
//!     └─ uses: the services on a VIP, from the directory ──► DeleteVip, ports, useFor
//! ```
//! The IPv4 address of a router's public nic is a **system VIP**: it is shown beside the others and derived from the nic,
//! so no event is about it and nothing can be done to it. It takes no services: it goes with the router, and services do
//! not.

pub(crate) mod by_host;
pub mod qos;

use crate::{
    context::Context,
    decision::Decision,
    directory::Relation,
    facts::Facts,
    ip_range,
    rules::{self, Exists},
    *,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use switchback_bus::*;
use switchback_events::*;

/// A VIP.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Vip {
    pub name: String,
    pub l3_network: L3NetworkId,
    /// There is one from the beginning on.
    pub address: Option<NicAddress>,
    pub disabled: bool,
    pub deleted: bool,
    /// By port; that of the whole VIP is at [`qos::WHOLE`].
    pub limits: BTreeMap<u16, QosLimits>,
}

rules::exists!(Vip, "VIP");

impl Vip {
    /// What its services note of it.
    pub fn place(&self, vip: VipId) -> VipPlace {
        let place = VipPlace { vip, l3_network: self.l3_network, ..VipPlace::default() };
        match self.address {
            Some(NicAddress { ip, prefix_length, .. }) => VipPlace { ip, prefix_length, ..place },
            None => place,
        }
    }

    /// Takes the next event.
    pub fn evolve(&mut self, event: &VipEvent, _version: Version) {
        match event {
            VipEvent::Created { name, l3_network, address, .. } => {
                (self.name, self.l3_network, self.address) = (name.clone(), *l3_network, Some(*address));
            }
            VipEvent::Updated { name, .. } => self.name = name.clone().unwrap_or_else(|| self.name.clone()),
            VipEvent::StateChanged { state } => self.disabled = *state == Enabled::Disabled,
            VipEvent::Deleted { .. } => self.deleted = true,
            VipEvent::QosSet { port, limits, .. } => drop(self.limits.insert(port.unwrap_or(qos::WHOLE), *limits)),
            VipEvent::QosDeleted { port, .. } => drop(self.limits.remove(&port.unwrap_or(qos::WHOLE))),
        }
    }
}

/// A kind of service that uses VIPs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)]
pub enum VipUse {
    Eip,
    PortForwarding,
    LoadBalancer,
}

impl VipUse {
    /// All of them.
    pub const ALL: [VipUse; 3] = [VipUse::Eip, VipUse::PortForwarding, VipUse::LoadBalancer];

    /// Whether it shares a VIP with nothing, not even with another of its kind.
    pub fn exclusive(self) -> bool {
        match self {
            VipUse::Eip => true,
            VipUse::PortForwarding | VipUse::LoadBalancer => false,
        }
    }

    /// The network service that a guest network must have for it.
    pub fn service(self) -> NetworkServiceType {
        match self {
            VipUse::Eip => NetworkServiceType::Eip,
            VipUse::PortForwarding => NetworkServiceType::PortForwarding,
            VipUse::LoadBalancer => NetworkServiceType::LoadBalancer,
        }
    }
}

/// The services on a VIP, attached or not. A decision rests on there being no others.
pub(crate) fn uses(facts: &Facts, vip: VipId) -> Vec<(VipUse, Id)> {
    let of = |service| facts.members(Relation::ServicesOfVip(service), vip).into_iter().map(move |id| (service, id));
    VipUse::ALL.into_iter().flat_map(of).collect()
}

/// Where services of a VIP lead to: the VIP's place and the nic, where the service has one.
fn leads(facts: &Facts, (service, id): (VipUse, Id)) -> Result<Option<(VipPlace, ServedNic)>, Refusal> {
    Ok(match service {
        VipUse::Eip => {
            let eip = facts.get::<Eip>(id)?;
            eip.to.map(|to| (eip.at, to))
        }
        VipUse::PortForwarding => {
            let rule = facts.get::<PortForwarding>(id)?;
            rule.to.map(|to| (rule.at, to))
        }
        VipUse::LoadBalancer => {
            let balancer = facts.get::<LoadBalancer>(id)?;
            load_balancer::leads(&balancer)
        }
    })
}

/// Whether a service of this kind may use the VIP besides those that do: it is there, Enabled, no router's own, of IPv4,
/// and neither it nor another shares it with nothing.
pub(crate) fn may_join(facts: &Facts, id: VipId, service: VipUse) -> Result<VipPlace, Refusal> {
    let vip = existing(facts, "vipUuid", id)?;
    if vip.disabled {
        return Err(Refusal::operation(format!("vipUuid = `{id}`: the VIP is Disabled")));
    }
    for (other, user) in uses(facts, id) {
        if other.exclusive() || service.exclusive() {
            let detail = format!("vipUuid = `{id}`: the VIP is occupied by {} {user}", other.service());
            return Err(Refusal::operation(detail).hint("an EIP has its VIP alone"));
        }
    }
    let at = vip.place(id);
    match at.ip.is_ipv6() {
        true => {
            Err(Refusal::not_supported(format!("vipUuid = `{id}`: {} of the IPv6 VIP {}", service.service(), at.ip)))
        }
        false => Ok(at),
    }
}

/// Whether a service may lead from a VIP to the nic, which the parameter vmNicUuid names; and if so, the nic.
pub(crate) fn may_serve(
    facts: &Facts,
    at: &VipPlace,
    nic: NicId,
    service: VipUse,
) -> Result<(ServedNic, Nic), Refusal> {
    const FIELD: &str = "vmNicUuid";
    let (vm_id, vm, own) = vm_instance::nics::vm_of(facts, FIELD, nic)?;
    let guest = own.l3_network;
    if guest == at.l3_network {
        return Err(Refusal::argument(FIELD, nic, format!("a nic of another network than the VIP's {guest}")));
    }
    if service == VipUse::Eip && vm.nics.iter().any(|other| other.l3_network == at.l3_network) {
        let right = format!("a nic of a VM that is not on the public network {} already", at.l3_network);
        return Err(Refusal::argument(FIELD, nic, right));
    }
    let Some(address) = own.addresses.iter().find(|address| address.ip.is_ipv4() == at.ip.is_ipv4()) else {
        let detail =
            format!("{FIELD} = `{nic}`: the nic has no IPv{} address, as the VIP {}", ip_version(at.ip), at.ip);
        return Err(Refusal::operation(detail));
    };
    let subnet = ipnet::IpNet::new(address.ip, address.prefix_length).map(|net| net.trunc());
    if let Ok(subnet) = subnet.as_ref()
        && subnet.contains(&at.ip)
    {
        let detail = format!("{FIELD} = `{nic}`: the VIP {} lies in the guest subnet {subnet}", at.ip);
        return Err(Refusal::operation(detail));
    }
    if !matches!(vm.state, VmState::Running | VmState::Paused | VmState::Stopped) {
        let detail = format!("{FIELD} = `{nic}`: VM {vm_id} is {:?}, and must be Running, Paused or Stopped", vm.state);
        return Err(Refusal::operation(detail));
    }
    let l3 = facts.get::<L3Network>(guest)?;
    let to = ServedNic { nic, vm: VmInstanceId(vm_id), l3_network: guest };
    if service == VipUse::Eip && by_host::serves(facts, guest)? {
        by_host::may_serve(facts, FIELD, at, (nic, address), (vm_id, &vm))?;
        return Ok((to, own));
    }
    if !l3.routed(service.service()) {
        let detail = format!(
            "{FIELD} = `{nic}`: L3 network {guest} of the nic has no {} by a virtual router",
            service.service()
        );
        return Err(Refusal::operation(detail).hint("attach the service with AttachNetworkServiceToL3Network"));
    }
    one_router(facts, at, &to, &l3)?;
    Ok((to, own))
}

/// All services of a VIP are on one router, and that one is on the VIP's network too.
fn one_router(facts: &Facts, at: &VipPlace, to: &ServedNic, l3: &L3Network) -> Result<(), Refusal> {
    for user in uses(facts, at.vip) {
        if let Some((_, other)) = leads(facts, user)?
            && other.l3_network != to.l3_network
        {
            let detail = format!(
                "vmNicUuid = `{}`: the VIP is used for L3 network {} by {} {}, and all its services are on one router",
                to.nic,
                other.l3_network,
                user.0.service(),
                user.1
            );
            return Err(Refusal::operation(detail));
        }
    }
    let elsewhere = |router: String| {
        let detail = format!(
            "vmNicUuid = `{}`: {router} of the nic's L3 network {} is not on the VIP's L3 network {}",
            to.nic, to.l3_network, at.l3_network
        );
        let hint = format!(
            "tag an offering whose public network that is with guestL3Network::{}, or attach it to the router with \
             AttachL3NetworkToVm",
            to.l3_network
        );
        Refusal::operation(detail).hint(hint)
    };
    let outward = |nic: &Nic| nic.is(Nic::PUBLIC) || nic.is(Nic::ADDITIONAL_PUBLIC);
    let mut served = false;
    for id in facts.members(Relation::RoutersOfGuest, to.l3_network) {
        let router = facts.get::<Router>(id)?;
        if router.state == VmState::Destroying {
            continue;
        }
        served = true;
        if !router.nics.iter().any(|nic| nic.l3_network == at.l3_network && outward(nic)) {
            return Err(elsewhere(format!("virtual router {id}")));
        }
    }
    // There is none yet: the one that will be made.
    match offering::choose(facts, to.l3_network, l3) {
        Ok((id, terms)) if !served && terms.public_network != at.l3_network => {
            Err(elsewhere(format!("a virtual router by offering {id}")))
        }
        _ => Ok(()),
    }
}

/// Sees to it that a VM that runs has the router that its new service needs, and that it can be told.
pub(crate) fn routed(decision: &mut Decision, facts: &Facts, context: &Context, to: &ServedNic) -> Result<(), Refusal> {
    if facts.get::<VmInstance>(to.vm)?.state == VmState::Stopped {
        return Ok(());
    }
    router::reachable(facts, "vmNicUuid", to.l3_network)?;
    router::ensure(decision, facts, context, &[to.l3_network])
}

/// The nics of VMs that pass, of networks that have the service, from this provider where one is named.
pub(crate) fn candidates(
    facts: &Facts,
    service: VipUse,
    provider: Option<&str>,
    pass: impl Fn(VmInstanceId, &str, NicId) -> bool,
) -> Result<Vec<Id>, Refusal> {
    let mut found = Vec::new();
    for l3 in facts.peek_members(Relation::All(StreamKind::L3Network), Id::NIL) {
        let network = facts.peek::<L3Network>(l3)?;
        let by_hosts = service == VipUse::Eip && network.by_hosts(service.service());
        let wanted = |provider: &str| match provider {
            "VirtualRouter" => network.routed(service.service()),
            "Flat" => by_hosts,
            _ => false,
        };
        if !provider.map_or(by_hosts || network.routed(service.service()), wanted) {
            continue;
        }
        for id in facts.peek_members(Relation::VmsOnL3, l3) {
            let vm = facts.peek::<VmInstance>(id)?;
            let on_it = vm.nics.iter().filter(|nic| nic.l3_network.0 == l3);
            found.extend(on_it.filter(|nic| pass(VmInstanceId(id), &vm.name, nic.nic)).map(|nic| nic.nic.0));
        }
    }
    Ok(found)
}

/// Whether a decision has ended what it is about to change.
fn ended(decision: &Decision, id: Id) -> bool {
    decision.events.iter().any(|(stream, event)| {
        use {EipEvent as E, PortForwardingEvent as P};
        let ends = matches!(
            event,
            Event::Eip(E::Detached { .. } | E::Deleted { .. })
                | Event::PortForwarding(P::Detached { .. } | P::Deleted { .. })
        );
        stream.id == id && ends
    })
}

/// A service stays, and leads to no nic any more.
fn detach(decision: &mut Decision, facts: &Facts, user: (VipUse, Id)) -> Result<(), Refusal> {
    if let Some((at, from)) = leads(facts, user)?.filter(|_| !ended(decision, user.1)) {
        match user.0 {
            VipUse::Eip => decision.add(user.1, EipEvent::Detached { at, from }),
            VipUse::PortForwarding => decision.add(user.1, PortForwardingEvent::Detached { at, from }),
            // Its nics go one by one.
            VipUse::LoadBalancer => {}
        }
    }
    Ok(())
}

/// The services of a nic lead nowhere any more: it is gone, or has moved to another network.
pub(crate) fn nic_gone(decision: &mut Decision, facts: &Facts, nic: NicId) -> Result<(), Refusal> {
    narrowed(decision, facts, nic, &[])
}

/// The same of those whose family the nic has no address of any more.
pub(crate) fn narrowed(decision: &mut Decision, facts: &Facts, nic: NicId, left: &[NicAddress]) -> Result<(), Refusal> {
    for service in VipUse::ALL {
        for id in facts.members(Relation::ServicesOfNic(service), nic) {
            let at = leads(facts, (service, id))?.map(|(at, _)| at);
            if at.is_some_and(|at| !left.iter().any(|address| address.ip.is_ipv4() == at.ip.is_ipv4())) {
                detach(decision, facts, (service, id))?;
            }
        }
    }
    Ok(())
}

/// A router goes on without a public nic: what was served at VIPs there leads nowhere any more.
pub(crate) fn unserved(
    decision: &mut Decision,
    facts: &Facts,
    router: &Router,
    public: L3NetworkId,
) -> Result<(), Refusal> {
    for guest in router.nics.iter().filter(|nic| nic.is(Nic::GUEST)) {
        for vm in facts.members(Relation::VmsOnL3, guest.l3_network) {
            let vm = facts.get::<VmInstance>(vm)?;
            for nic in vm.nics.iter().filter(|nic| nic.l3_network == guest.l3_network) {
                for service in VipUse::ALL {
                    if service == VipUse::Eip && by_host::serves(facts, nic.l3_network)? {
                        continue;
                    }
                    for id in facts.members(Relation::ServicesOfNic(service), nic.nic) {
                        let there = leads(facts, (service, id))?.is_some_and(|(at, _)| at.l3_network == public);
                        if there {
                            detach(decision, facts, (service, id))?;
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

/// The EIP by which a VM has an address of the network already, if there is one.
pub(crate) fn eip_on(facts: &Facts, vm: &VmInstance, network: L3NetworkId) -> Result<Option<Id>, Refusal> {
    for nic in &vm.nics {
        for id in facts.members(Relation::ServicesOfNic(VipUse::Eip), nic.nic) {
            if facts.get::<Eip>(id)?.at.l3_network == network {
                return Ok(Some(id));
            }
        }
    }
    Ok(None)
}

/// Ends a service, if it is there.
pub(crate) fn end_service(decision: &mut Decision, facts: &Facts, (service, id): (VipUse, Id)) -> Result<(), Refusal> {
    match service {
        VipUse::Eip => {
            let eip = facts.get::<Eip>(id)?;
            if eip.exists() {
                decision.add(id, EipEvent::Deleted { at: eip.at, from: eip.to });
            }
        }
        VipUse::PortForwarding => {
            let rule = facts.get::<PortForwarding>(id)?;
            if rule.exists() {
                decision.add(id, PortForwardingEvent::Deleted { at: rule.at, from: rule.to });
            }
        }
        VipUse::LoadBalancer if facts.get::<LoadBalancer>(id)?.exists() => load_balancer::deleted(decision, facts, id)?,
        VipUse::LoadBalancer => {}
    }
    Ok(())
}

/// What stands in the way of deleting a VIP.
fn users(facts: &Facts, vip: VipId) -> Result<Vec<Blocker>, Refusal> {
    let of = |service| facts.members(Relation::ServicesOfVip(service), vip);
    let mut blockers = rules::blockers::<Eip>(facts, of(VipUse::Eip))?;
    blockers.extend(rules::blockers::<PortForwarding>(facts, of(VipUse::PortForwarding))?);
    blockers.extend(rules::blockers::<LoadBalancer>(facts, of(VipUse::LoadBalancer))?);
    Ok(blockers)
}

/// The VIP that the parameter `field` names. The system's are no one's to change or use.
pub(crate) fn existing(facts: &Facts, field: &str, id: VipId) -> Result<Arc<Vip>, Refusal> {
    if let Some(router) = router_of_system_vip(facts, id) {
        let detail = format!("{field} = `{id}`: it is the system VIP of virtual router {router}, and goes with it");
        return Err(Refusal::operation(detail));
    }
    rules::existing::<Vip>(facts, field, id)
}

/// The router whose own address a system VIP is.
fn router_of_system_vip(facts: &Facts, id: VipId) -> Option<Id> {
    facts.members(Relation::RouterOfSystemVip, id).first().copied()
}

pub(crate) fn create(command: &CreateVip, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    ip_range::vip_network(facts, command.l3_network_uuid)?;
    let id = VipId(context.resource_id());
    let mut decision = Decision::about(StreamKind::Vip, id).show("vip");
    let address = ip_range::hold_for_vip(&mut decision, facts, context, command, id)?;
    let (name, description) = (command.name.clone(), command.description.clone());
    Ok(decision.first(VipEvent::Created { name, description, l3_network: command.l3_network_uuid, address }))
}

pub(crate) fn update(command: &UpdateVip, facts: &Facts) -> Result<Decision, Refusal> {
    existing(facts, "uuid", command.uuid)?;
    let event = VipEvent::Updated { name: command.name.clone(), description: command.description.clone() };
    Ok(Decision::about(StreamKind::Vip, command.uuid).show("vip").event(event))
}

pub(crate) fn change_state(command: &ChangeVipState, facts: &Facts) -> Result<Decision, Refusal> {
    let vip = existing(facts, "uuid", command.uuid)?;
    let state = rules::state_event(&command.state_event);
    let decision = Decision::about(StreamKind::Vip, command.uuid).show("vip");
    let same = vip.disabled == (state == Enabled::Disabled);
    Ok(if same { decision } else { decision.event(VipEvent::StateChanged { state }) })
}

pub(crate) fn delete(command: &DeleteVip, facts: &Facts) -> Result<Decision, Refusal> {
    let id = command.uuid;
    let mut decision = Decision::about(StreamKind::Vip, id);
    deletable(facts, id)?;
    let vip = facts.get::<Vip>(id)?;
    if vip.exists() {
        rules::unblocked("VIP", users(facts, id)?)?;
        deleted(&mut decision, facts, id.0)?;
    }
    Ok(decision)
}

/// Refuses what would delete a system VIP.
pub(crate) fn deletable(facts: &Facts, id: VipId) -> Result<(), Refusal> {
    match router_of_system_vip(facts, id) {
        Some(_) => existing(facts, "uuid", id).map(drop),
        None => Ok(()),
    }
}

/// Ends a VIP with the services on it: its address is free again.
pub(crate) fn deleted(decision: &mut Decision, facts: &Facts, id: Id) -> Result<(), Refusal> {
    let vip = facts.get::<Vip>(id)?;
    for user in uses(facts, VipId(id)) {
        end_service(decision, facts, user)?;
    }
    qos::end(decision, VipId(id), &vip);
    decision.add(id, VipEvent::Deleted { l3_network: vip.l3_network });
    ip_range::give_back(decision, facts, id, &vip)
}

/// The ports of a VIP that a service has, as first and last port.
///
/// # Errors
/// There is no such VIP.
pub fn ports_in_use(states: &States, vip: VipId, protocol: &str) -> Result<Vec<(u16, u16)>, Refusal> {
    let facts = states.facts();
    if router_of_system_vip(&facts, vip).is_some() {
        return Ok(vec![(1, u16::MAX)]);
    }
    rules::existing::<Vip>(&facts, "vipUuid", vip)?;
    let mut taken = Vec::new();
    for (service, id) in uses(&facts, vip) {
        match service {
            VipUse::Eip => taken.push((1, u16::MAX)),
            VipUse::LoadBalancer => {
                let balancer = facts.peek::<LoadBalancer>(id)?;
                taken.extend(load_balancer::ports(&balancer, protocol == "UDP"));
            }
            VipUse::PortForwarding => {
                let ports = facts.peek::<PortForwarding>(id)?.ports;
                if (ports.protocol == PortProtocol::UDP) == (protocol == "UDP") {
                    taken.push((ports.vip_start, ports.vip_end));
                }
            }
        }
    }
    Ok(taken)
}
