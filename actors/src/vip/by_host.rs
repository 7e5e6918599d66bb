//! EIPs that the host of a VM serves itself (provider Flat): no router is on both networks, so what matters is that the
//! VIP's network comes to the host, and that nothing on the guest network is like it.

use crate::{directory::Relation, facts::Facts, vip::VipUse, *};
use ipnet::IpNet;
use switchback_bus::*;
use switchback_events::*;

/// Whether hosts give EIPs to the VMs of a network.
pub(crate) fn serves(facts: &Facts, l3: L3NetworkId) -> Result<bool, Refusal> {
    Ok(facts.get::<L3Network>(l3)?.by_hosts(NetworkServiceType::Eip))
}

/// Whether the host of a VM may serve an EIP that leads to its nic, by this address of it.
pub(super) fn may_serve(
    facts: &Facts,
    field: &str,
    at: &VipPlace,
    (nic, address): (NicId, &NicAddress),
    (id, vm): (Id, &VmInstance),
) -> Result<(), Refusal> {
    let nets = (IpNet::new(at.ip, at.prefix_length), IpNet::new(address.ip, address.prefix_length));
    if let (Ok(public), Ok(guest)) = nets
        && (public.contains(&guest.network()) || guest.contains(&public.network()))
    {
        let (public, guest) = (public.trunc(), guest.trunc());
        let detail =
            format!("{field} = `{nic}`: the subnet {public} of VIP {} overlaps the guest subnet {guest}", at.ip);
        return Err(Refusal::operation(detail));
    }
    if let Some(other) = facts.members(Relation::ServicesOfNic(VipUse::Eip), nic).first() {
        let detail = format!("{field} = `{nic}`: the nic has EIP {other} already, and its host serves one of IPv4");
        return Err(Refusal::operation(detail));
    }
    let vip = facts.get::<Vip>(at.vip)?;
    if let Some(held) = vip.address
        // What a range is never changes.
        && facts.peek::<IpRange>(held.ip_range)?.pool
    {
        let what =
            format!("{field} = `{nic}`: an EIP by the provider Flat of VIP {}, which is of an AddressPool,", at.ip);
        return Err(Refusal::not_supported(what));
    }
    if !vip.limits.is_empty() {
        let what = format!("{field} = `{nic}`: an EIP by the provider Flat of VIP {}, which has limits,", at.ip);
        return Err(Refusal::not_supported(what));
    }
    let l2 = facts.get::<L3Network>(at.l3_network)?.l2_network;
    if !facts.get::<L2Network>(l2)?.attached_to(vm.cluster) {
        let detail = format!(
            "{field} = `{nic}`: L2 network {l2} of the VIP's L3 network {} is not attached to cluster {} of VM {id}",
            at.l3_network, vm.cluster
        );
        return Err(Refusal::operation(detail).hint("attach it with AttachL2NetworkToCluster"));
    }
    Ok(())
}

/// The L2 networks that the host of a VM needs for the EIPs that it serves.
pub(crate) fn networks(facts: &Facts, vm: &VmInstance) -> Result<Vec<L2NetworkId>, Refusal> {
    let mut networks = Vec::new();
    for nic in &vm.nics {
        for eip in facts.members(Relation::ServicesOfNic(VipUse::Eip), nic.nic) {
            if serves(facts, nic.l3_network)? {
                networks.push(facts.get::<L3Network>(facts.get::<Eip>(eip)?.at.l3_network)?.l2_network);
            }
        }
    }
    Ok(networks)
}

/// Refuses limits of a VIP whose EIP a host serves.
pub(super) fn unlimited(facts: &Facts, id: VipId) -> Result<(), Refusal> {
    for eip in facts.members(Relation::ServicesOfVip(VipUse::Eip), id) {
        if let Some(to) = facts.get::<Eip>(eip)?.to
            && serves(facts, to.l3_network)?
        {
            return Err(Refusal::not_supported(format!("uuid = `{id}`: limits of EIP {eip} by the provider Flat")));
        }
    }
    Ok(())
}
