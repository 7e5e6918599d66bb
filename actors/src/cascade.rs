//! Deletes and detaches in the mode Enforcing: what stands on the resource goes with it, all in one commit.
//!
//! ```text
//!  zone ─► cluster ─► host ─► routers and VMs on it are Stopped (with their zone they are destroyed)
//!    └───► L2 ─► L3 ─► ranges, offerings of routers; routers with a nic there are destroyed,
//!                      VMs lose their nics there, VIPs of it go with their load balancers
//! ```
//!
//! Nothing waits for a host: what it carries goes when it is next told what it should carry. Tags go in
//! [`crate::decide`], as with any delete.

use crate::{
    decision::Decision,
    directory::Relation,
    facts::Facts,
    l2_network::{self, L2Attachment},
    rules::Exists,
    state::Aggregate,
    *,
};
use std::collections::BTreeSet;
use switchback_bus::{Command, Refusal, code};
use switchback_events::*;

/// Decides a command of the mode Enforcing; nothing for one that knows no modes.
pub(crate) fn decide(command: &Command, facts: &Facts) -> Result<Option<Decision>, Refusal> {
    Ok(Some(match command {
        Command::DeleteZone(c) => delete::<Zone>(c.uuid, facts, |cascade, id| cascade.zone(id))?,
        Command::DeleteCluster(c) => delete::<Cluster>(c.uuid, facts, |cascade, id| cascade.cluster(id))?,
        Command::DeleteHost(c) => delete::<Host>(c.uuid, facts, |cascade, id| cascade.host(id))?,
        Command::DeleteL2Network(c) => delete::<L2Network>(c.uuid, facts, |cascade, id| cascade.l2(id))?,
        Command::DeleteL3Network(c) => delete::<L3Network>(c.uuid, facts, |cascade, id| cascade.l3(id))?,
        Command::DeleteIpRange(c) => delete::<IpRange>(c.uuid, facts, |cascade, id| cascade.range(id))?,
        Command::DeleteVip(c) => {
            vip::deletable(facts, c.uuid)?;
            delete::<Vip>(c.uuid, facts, |cascade, id| cascade.vip(id))?
        }
        Command::DetachL2NetworkFromCluster(c) => {
            l2_network::detachable(c, facts)?;
            let decision = Decision::about(StreamKind::L2Network, c.l2_network_uuid).show("l2");
            let mut cascade = Cascade::new(decision, facts);
            cascade.detach(c.l2_network_uuid, c.cluster_uuid)?;
            cascade.end()?
        }
        _ => return Ok(None),
    }))
}

fn delete<A: Aggregate + Exists>(
    id: impl Into<Id>,
    facts: &Facts,
    take: impl FnOnce(&mut Cascade, Id) -> Result<(), Refusal>,
) -> Result<Decision, Refusal> {
    let id = id.into();
    let mut cascade = Cascade::new(Decision::about(A::KIND, id), facts);
    if facts.get::<A>(id)?.exists() {
        take(&mut cascade, id)?;
    }
    cascade.end()
}

struct Cascade<'a> {
    facts: &'a Facts<'a>,
    decision: Decision,
    /// What goes by this decision: resources and nics, each once, however many ways lead to it.
    gone: BTreeSet<Id>,
    /// Zones whose default offering goes.
    bereft: BTreeSet<ZoneId>,
}

impl<'a> Cascade<'a> {
    fn new(decision: Decision, facts: &'a Facts<'a>) -> Cascade<'a> {
        Cascade { facts, decision, gone: BTreeSet::new(), bereft: BTreeSet::new() }
    }

    /// The decision, what it is about first.
    fn end(mut self) -> Result<Decision, Refusal> {
        for zone in self.bereft {
            let mut others = self.facts.members(Relation::RouterOfferingsOfZone, zone);
            others.retain(|offering| !self.gone.contains(offering));
            if let Some(heir) = others.first().filter(|_| !self.gone.contains(&zone.0)) {
                self.facts.get::<Offering>(*heir)?;
                self.decision.add(*heir, offering::changed_default(true));
            }
        }
        let target = self.decision.target;
        self.decision.events.sort_by_key(|(stream, _)| *stream != target);
        Ok(self.decision)
    }

    fn zone(&mut self, id: Id) -> Result<(), Refusal> {
        self.gone.insert(id);
        let zone = ZoneId(id);
        for vm in self.facts.members(Relation::All(StreamKind::VmInstance), Id::NIL) {
            // What is in a zone stays there.
            if self.facts.peek::<VmInstance>(vm)?.zone == zone {
                self.destroy_vm(vm)?;
            }
        }
        for router in self.facts.members(Relation::All(StreamKind::Router), Id::NIL) {
            if self.facts.peek::<Router>(router)?.zone == zone {
                self.destroy_router(router)?;
            }
        }
        for l2 in self.facts.members(Relation::L2sOfZone, id) {
            self.l2(l2)?;
        }
        for cluster in self.facts.members(Relation::ClustersOfZone, id) {
            self.cluster(cluster)?;
        }
        for offering in self.facts.members(Relation::RouterOfferingsOfZone, id) {
            self.offering(offering)?;
        }
        self.decision.add(id, ZoneEvent::Deleted {});
        Ok(())
    }

    fn cluster(&mut self, id: Id) -> Result<(), Refusal> {
        self.facts.get::<Cluster>(id)?;
        for host in self.facts.members(Relation::HostsOfCluster, id) {
            self.host(host)?;
        }
        for l2 in self.facts.members(Relation::L2sOfCluster, id) {
            if !self.gone.contains(&l2) {
                self.unattach(l2, ClusterId(id))?;
            }
        }
        self.decision.add(id, ClusterEvent::Deleted {});
        Ok(())
    }

    fn host(&mut self, id: Id) -> Result<(), Refusal> {
        self.facts.get::<Host>(id)?;
        for vm in self.facts.members(Relation::VmsOnHost, id) {
            self.stop_vm(vm)?;
        }
        for router in self.facts.members(Relation::RoutersOnHost, id) {
            self.stop_router(router)?;
        }
        self.decision.add(id, HostEvent::Deleted {});
        Ok(())
    }

    fn l2(&mut self, id: Id) -> Result<(), Refusal> {
        self.gone.insert(id);
        let l2 = self.facts.get::<L2Network>(id)?;
        for l3 in self.facts.members(Relation::L3sOfL2, id) {
            self.l3(l3)?;
        }
        if l2.changing.is_some() {
            let (code, detail) = (code::L2_ATTACH.to_string(), format!("L2 network {id} was deleted meanwhile"));
            self.decision.add(id, L2NetworkEvent::VlanChangeFailed { code, detail });
        }
        for cluster in l2.clusters.keys() {
            self.unattach(id, *cluster)?;
        }
        self.decision.add(id, L2NetworkEvent::Deleted {});
        Ok(())
    }

    /// Ends an attachment, or one that is under way.
    fn unattach(&mut self, l2: Id, cluster: ClusterId) -> Result<(), Refusal> {
        let attachment = self.facts.get::<L2Network>(l2)?.clusters.get(&cluster).cloned();
        let event = match attachment {
            Some(L2Attachment::Requested) => L2NetworkEvent::AttachFailed {
                cluster,
                code: code::L2_ATTACH.to_string(),
                detail: format!("L2 network {l2} or cluster {cluster} was deleted meanwhile"),
            },
            _ => L2NetworkEvent::Detached { cluster },
        };
        self.decision.add(l2, event);
        Ok(())
    }

    /// Takes an L2 network, and with it nics and routers, out of one cluster.
    fn detach(&mut self, l2: L2NetworkId, cluster: ClusterId) -> Result<(), Refusal> {
        for l3 in self.facts.members(Relation::L3sOfL2, l2) {
            for router in self.facts.members(Relation::RoutersOnL3, l3) {
                if self.facts.get::<Router>(router)?.cluster == cluster {
                    self.detach_router(router, L3NetworkId(l3))?;
                }
            }
            for vm in self.facts.members(Relation::VmsOnL3, l3) {
                if self.facts.get::<VmInstance>(vm)?.cluster == cluster {
                    self.detach_nic(vm, L3NetworkId(l3))?;
                }
            }
        }
        self.unattach(l2.0, cluster)
    }

    fn l3(&mut self, id: Id) -> Result<(), Refusal> {
        self.facts.get::<L3Network>(id)?;
        for router in self.facts.members(Relation::RoutersOnL3, id) {
            self.detach_router(router, L3NetworkId(id))?;
        }
        for vm in self.facts.members(Relation::VmsOnL3, id) {
            self.detach_nic(vm, L3NetworkId(id))?;
        }
        for offering in self.facts.members(Relation::OfferingsOnL3, id) {
            self.offering(offering)?;
        }
        for vip in self.facts.members(Relation::VipsOnL3, id) {
            self.vip(vip)?;
        }
        for range in self.facts.members(Relation::RangesOfL3, id) {
            self.facts.get::<IpRange>(range)?;
            self.decision.add(range, IpRangeEvent::Deleted { l3_network: L3NetworkId(id) });
        }
        security_group::forget_l3(&mut self.decision, self.facts, L3NetworkId(id))?;
        self.decision.add(id, L3NetworkEvent::Deleted {});
        Ok(())
    }

    fn range(&mut self, id: Id) -> Result<(), Refusal> {
        let range = self.facts.get::<IpRange>(id)?;
        ip_range::dispensable(id, &range, self.facts)?;
        let l3 = range.l3_network;
        let others: Vec<NicAddress> = ip_range::gateways_besides(self.facts, l3, id)?;
        for router in self.facts.members(Relation::RoutersOnL3, l3) {
            let nics = self.facts.get::<Router>(router)?.nics.clone();
            for nic in nics.iter().filter(|nic| ip_range::in_range(nic, id.into())) {
                self.narrow_router(router, nic, id, &others)?;
            }
        }
        for vm in self.facts.members(Relation::VmsOnL3, l3) {
            let nics = self.facts.get::<VmInstance>(vm)?.nics.clone();
            for nic in nics.iter().filter(|nic| ip_range::in_range(nic, id.into())) {
                self.narrow_vm(vm, nic, id)?;
            }
        }
        for vip in self.facts.members(Relation::VipsOnL3, l3) {
            if ip_range::of_range(&*self.facts.get::<Vip>(vip)?, id) {
                self.vip(vip)?;
            }
        }
        self.decision.add(id, IpRangeEvent::Deleted { l3_network: l3 });
        Ok(())
    }

    fn vip(&mut self, id: Id) -> Result<(), Refusal> {
        vip::deleted(&mut self.decision, self.facts, id)
    }

    /// The nic of a VM loses its address of a range: with the address of the other family it goes on, without one it
    /// goes.
    fn narrow_vm(&mut self, vm: Id, nic: &Nic, range: Id) -> Result<(), Refusal> {
        let (lost, left): (Vec<NicAddress>, Vec<_>) =
            nic.addresses.iter().partition(|address| address.ip_range.0 == range);
        if left.is_empty() {
            return self.detach_nic(vm, nic.l3_network);
        }
        vip::narrowed(&mut self.decision, self.facts, nic.nic, &left)?;
        let (l3_network, addresses) = (nic.l3_network, left);
        self.decision.add(vm, VmInstanceEvent::NicAddressesChanged { nic: nic.nic, l3_network, addresses });
        let given_up = Nic { addresses: lost, ..nic.clone() };
        ip_range::release_addresses(&mut self.decision, self.facts, &given_up, vm)
    }

    /// The same for a router, which goes with its last address of a guest network, and without IPv4 towards the public
    /// or its managers. A gateway stays as long as a range has it: `others` are those of the ranges that stay.
    fn narrow_router(&mut self, id: Id, nic: &Nic, range: Id, others: &[NicAddress]) -> Result<(), Refusal> {
        let (lost, mut left): (Vec<NicAddress>, Vec<_>) =
            nic.addresses.iter().partition(|address| address.ip_range.0 == range);
        let stays = |address: &NicAddress| {
            others.iter().find(|other| address.used_ip == Id::NIL && other.ip == address.ip).copied()
        };
        left.extend(lost.iter().filter_map(stays));
        left.sort_by_key(|address| address.ip);
        let outward = nic.is(Nic::PUBLIC) || nic.is(Nic::MANAGEMENT);
        if left.is_empty() || outward && !left.iter().any(|address| address.ip.is_ipv4()) {
            return self.detach_router(id, nic.l3_network);
        }
        self.decision.add(id, RouterEvent::NicChanged { nic: Nic { addresses: left, ..nic.clone() } });
        let given_up = Nic { addresses: lost, ..nic.clone() };
        ip_range::release_addresses(&mut self.decision, self.facts, &given_up, id)
    }

    fn offering(&mut self, id: Id) -> Result<(), Refusal> {
        if !self.gone.insert(id) {
            return Ok(());
        }
        if let Some(terms) = self.facts.get::<Offering>(id)?.router.as_ref().filter(|terms| terms.is_default) {
            self.bereft.insert(terms.zone);
        }
        self.decision.add(id, OfferingEvent::Deleted {});
        Ok(())
    }

    /// A VM goes on without its nic on the network.
    fn detach_nic(&mut self, id: Id, l3: L3NetworkId) -> Result<(), Refusal> {
        if self.gone.contains(&id) {
            return Ok(());
        }
        let vm = self.facts.get::<VmInstance>(id)?;
        let Some(own) = vm.nics.iter().find(|nic| nic.l3_network == l3) else { return Ok(()) };
        self.gone.insert(own.nic.0);
        let mut left = vm.nics.iter().filter(|nic| !self.gone.contains(&nic.nic.0)).map(|nic| nic.l3_network);
        let first = left.clone().next();
        let default_l3_network = left.find(|l3| *l3 == vm.default_l3_network).or(first);
        vm_instance::nics::take_nic(&mut self.decision, self.facts, id, own, default_l3_network)
    }

    /// A router goes with its networks, but for the public ones that it was given later: it goes on without those.
    fn detach_router(&mut self, id: Id, l3: L3NetworkId) -> Result<(), Refusal> {
        if self.gone.contains(&id) {
            return Ok(());
        }
        let router = self.facts.get::<Router>(id)?;
        match router.nics.iter().find(|nic| nic.l3_network == l3).filter(|nic| router::nics::additional(nic)) {
            Some(own) if !self.gone.insert(own.nic.0) => Ok(()),
            Some(own) => {
                vip::unserved(&mut self.decision, self.facts, &router, own.l3_network)?;
                router::nics::take_nic(&mut self.decision, self.facts, id, own)
            }
            None => self.destroy_router(id),
        }
    }

    fn destroy_vm(&mut self, id: Id) -> Result<(), Refusal> {
        self.gone.insert(id);
        let vm = self.facts.get::<VmInstance>(id)?;
        if vm.state != VmState::Destroying {
            self.decision.add(id, VmInstanceEvent::DestroyRequested { l3_networks: vm.l3_networks() });
        }
        vm_instance::destroyed(&mut self.decision, self.facts, &vm, id, false)
    }

    fn destroy_router(&mut self, id: Id) -> Result<(), Refusal> {
        if !self.gone.insert(id) {
            return Ok(());
        }
        let router = self.facts.get::<Router>(id)?;
        if router.state != VmState::Destroying {
            self.decision.add(id, RouterEvent::DestroyRequested { l3_networks: router.l3_networks() });
        }
        router::destroyed(&mut self.decision, self.facts, &router, id)
    }

    /// The VM has lost its host: it can be started on another one.
    fn stop_vm(&mut self, id: Id) -> Result<(), Refusal> {
        if self.gone.contains(&id) {
            return Ok(());
        }
        let vm = self.facts.get::<VmInstance>(id)?;
        let l3_networks = vm.l3_networks();
        match vm.state {
            VmState::Absent | VmState::Stopped | VmState::Destroyed => return Ok(()),
            VmState::Destroying => return self.destroy_vm(id),
            VmState::Starting => {
                return vm_instance::fail(&mut self.decision, self.facts, id, "its host was deleted");
            }
            VmState::Stopping => {}
            VmState::Running | VmState::Paused | VmState::Rebooting => {
                self.decision.add(id, VmInstanceEvent::StopRequested { l3_networks: l3_networks.clone() });
            }
        }
        self.decision.add(id, VmInstanceEvent::Stopped { l3_networks });
        Ok(())
    }

    /// The router has lost its host: it starts on another one with the next VM that needs it.
    fn stop_router(&mut self, id: Id) -> Result<(), Refusal> {
        if self.gone.contains(&id) {
            return Ok(());
        }
        let router = self.facts.get::<Router>(id)?;
        match router.state {
            VmState::Absent | VmState::Stopped | VmState::Destroyed => return Ok(()),
            VmState::Destroying => return self.destroy_router(id),
            VmState::Starting => {
                let detail = format!("host {} was deleted", router.host);
                self.decision.add(id, RouterEvent::StartFailed { code: code::VR_STATE.to_string(), detail });
                return Ok(());
            }
            VmState::Stopping => {}
            VmState::Running | VmState::Paused | VmState::Rebooting => {
                self.decision.add(id, RouterEvent::StopRequested {});
            }
        }
        self.decision.add(id, RouterEvent::Stopped {});
        Ok(())
    }
}
