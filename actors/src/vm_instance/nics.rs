//! The nics of a VM: they come, go and change while it runs or is stopped. A VM that runs is told of it when the routers
//! of the network know, as at its start.

use super::*;
use std::net::IpAddr;

/// The resource that has a nic, as far as there is one: a VM or a router.
pub(crate) fn owner(facts: &Facts, nic: NicId) -> Option<Id> {
    facts.members(Relation::OwnerOfNic, nic).first().copied()
}

/// The VM that has the nic, which the parameter `field` names.
pub(crate) fn vm_of(facts: &Facts, field: &str, nic: NicId) -> Result<(Id, std::sync::Arc<VmInstance>, Nic), Refusal> {
    let unknown = || Refusal::not_found(field, "nic of a VM instance", nic);
    let id = owner(facts, nic).ok_or_else(unknown)?;
    let vm = facts.get::<VmInstance>(id)?;
    let own = vm.nics.iter().find(|own| own.nic == nic).cloned().ok_or_else(unknown)?;
    Ok((id, vm, own))
}

/// Nics change while nothing is under way: Running, on a host that can be told, or Stopped. Answers whether it runs.
fn at_rest(vm: &VmInstance, id: Id, facts: &Facts) -> Result<bool, Refusal> {
    match vm.state {
        VmState::Stopped => Ok(false),
        VmState::Running if facts.get::<Host>(vm.host)?.connected() => Ok(true),
        VmState::Running => Err(Refusal::operation(format!("host {} of VM {id} is not Connected", vm.host))),
        _ => Err(wrong_state(vm, id, "Running or Stopped")),
    }
}

/// Why a VM cannot have a nic on the network, or the network where it can.
fn attachable(
    facts: &Facts,
    field: &str,
    id: L3NetworkId,
    vm: &VmInstance,
) -> Result<std::sync::Arc<L3Network>, Refusal> {
    let l3 = rules::existing::<L3Network>(facts, field, id)?;
    if l3.system {
        return Err(Refusal::argument(field, id, "an L3 network that is not a system network"));
    }
    if l3.zone != vm.zone {
        return Err(Refusal::argument(field, id, format!("an L3 network of the VM's zone {}", vm.zone)));
    }
    if l3.disabled {
        return Err(Refusal::operation(format!("{field} = `{id}`: the L3 network is disabled")));
    }
    if vm.nics.iter().any(|nic| nic.l3_network == id) {
        return Err(Refusal::operation(format!("{field} = `{id}`: the VM has a nic on it already")));
    }
    if let Some(eip) = vip::eip_on(facts, vm, id)? {
        return Err(Refusal::operation(format!("{field} = `{id}`: the VM has EIP {eip} on it")));
    }
    if !facts.get::<L2Network>(l3.l2_network)?.attached_to(vm.cluster) {
        let detail = format!(
            "{field} = `{id}`: its L2 network {} is not attached to the VM's cluster {}",
            l3.l2_network, vm.cluster
        );
        return Err(Refusal::conflict(code::NO_HOST_WITH_L2, detail).hint("attach it with AttachL2NetworkToCluster"));
    }
    Ok(l3)
}

/// The tag that records that a VM is to have the address on a network.
fn static_tag(l3: L3NetworkId, ip: IpAddr) -> String {
    format!("staticIp::{l3}::{}", ip.to_string().replace("::", "--"))
}

/// The hardware address that a parameter asks for.
fn unicast(field: &str, text: &str) -> Result<Mac, Refusal> {
    let mac = text.parse().ok().filter(|mac: &Mac| mac.0[0] & 1 == 0 && mac.0 != [0; 6]);
    mac.ok_or_else(|| Refusal::argument(field, text, "a unicast MAC address such as fa:00:00:00:00:01"))
}

/// The same refusal; where it names no parameter, of this one.
fn named(refusal: Refusal, field: &str) -> Refusal {
    Refusal { field: refusal.field.or(Some(field.to_string())), ..refusal }
}

/// The networks that a VM could have another nic on.
pub fn attachable_networks(states: &States, id: VmInstanceId) -> Result<Vec<Id>, Refusal> {
    let facts = states.facts();
    let vm = rules::existing::<VmInstance>(&facts, "vmInstanceUuid", id)?;
    candidates(&facts, &vm)
}

/// The networks that a nic could go to.
pub fn change_candidates(states: &States, nic: NicId) -> Result<Vec<Id>, Refusal> {
    let facts = states.facts();
    let (_, vm, _) = vm_of(&facts, "vmNicUuid", nic)?;
    candidates(&facts, &vm)
}

fn candidates(facts: &Facts, vm: &VmInstance) -> Result<Vec<Id>, Refusal> {
    let mut found = Vec::new();
    for l2 in facts.members(Relation::L2sOfCluster, vm.cluster) {
        for l3 in facts.members(Relation::L3sOfL2, l2) {
            if attachable(facts, "l3NetworkUuid", L3NetworkId(l3), vm).is_ok() {
                found.push(l3);
            }
        }
    }
    Ok(found)
}

pub(crate) fn attach(command: &AttachL3NetworkToVm, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let (id, l3_network) = (command.vm_instance_uuid, command.l3_network_uuid);
    let vm = rules::existing::<VmInstance>(facts, "vmInstanceUuid", id)?;
    if command.vm_nic_params.is_some() {
        return Err(Refusal::not_supported("vmNicParams"));
    }
    let running = at_rest(&vm, id, facts)?;
    let l3 = attachable(facts, "l3NetworkUuid", l3_network, &vm)?;
    let device_id = free_device(&vm.nics).ok_or_else(|| {
        Refusal::operation(format!("vmInstanceUuid = `{id}`: it has {} nics, and may have no more", vm.nics.len()))
    })?;
    let tags = facts.tags(id)?;
    let asked = command.static_ip;
    let tagged = tags.system().filter_map(|text| tag_set::static_ip(text).ok());
    let tagged =
        tagged.filter(|(l3, ip)| *l3 == l3_network && asked.is_none_or(|asked| asked.is_ipv4() != ip.is_ipv4()));
    let required: Vec<IpAddr> = asked.into_iter().chain(tagged.map(|(_, ip)| ip)).collect();
    let custom = match &command.custom_mac {
        Some(text) => Some(unicast("customMac", text)?),
        None => None,
    };
    let tagged_mac = tags.system().filter_map(|text| tag_set::custom_mac(text).ok());
    let tagged_mac = tagged_mac.filter(|(l3, _)| *l3 == l3_network).map(|(_, mac)| mac).next();

    let mut decision = Decision::about(StreamKind::VmInstance, id).show("vm");
    let nic = NicId(context.id());
    let mac = mac_block::allocate(&mut decision, facts, context, nic, device_id, custom.or(tagged_mac))?;
    let holder = Holder { nic, mac, owner: id };
    let addresses = ip_range::allocate(&mut decision, facts, context, l3_network, &required, holder);
    let addresses = addresses.map_err(|refusal| if asked.is_some() { named(refusal, "staticIp") } else { refusal })?;
    let nic = Nic {
        nic,
        l3_network,
        l2_network: l3.l2_network,
        mac,
        addresses,
        device_id,
        internal_name: internal_name(nic, device_id),
        meta_data: 0,
    };
    if let Some(ip) = asked {
        tag_set::put(&mut decision, facts, context, id, &static_tag(l3_network, ip))?;
    }
    if let Some(mac) = custom {
        tag_set::put(&mut decision, facts, context, id, &format!("customMac::{l3_network}::{mac}"))?;
    }
    if running {
        router::ensure(&mut decision, facts, context, &[l3_network])?;
    }
    // The first nic of a VM without any is the way out.
    let default_l3_network = if vm.nics.is_empty() { l3_network } else { vm.default_l3_network };
    let hostname = vm.hostname.clone();
    Ok(decision.first(VmInstanceEvent::NicAttached { nic, hostname, running, default_l3_network }))
}

/// The lowest device id that no nic has.
pub(crate) fn free_device(nics: &[Nic]) -> Option<u8> {
    let free = |device: &u8| !nics.iter().any(|nic| nic.device_id == *device);
    (0..MAX_NICS as u8).find(free)
}

pub(crate) fn detach(command: &DetachL3NetworkFromVm, facts: &Facts) -> Result<Decision, Refusal> {
    let (id, vm, own) = vm_of(facts, "vmNicUuid", command.vm_nic_uuid)?;
    at_rest(&vm, id, facts)?;
    let mut decision = Decision::about(StreamKind::VmInstance, id).show("vm");
    let mut left = vm.nics.iter().filter(|nic| nic.nic != own.nic).map(|nic| nic.l3_network);
    let first = left.clone().next();
    let default_l3_network = left.find(|l3| *l3 == vm.default_l3_network).or(first);
    take_nic(&mut decision, facts, id, &own, default_l3_network)?;
    Ok(decision)
}

/// A VM goes on without a nic: its addresses are free again. The tags that are about it follow.
pub(crate) fn take_nic(
    decision: &mut Decision,
    facts: &Facts,
    id: Id,
    own: &Nic,
    default_l3_network: Option<L3NetworkId>,
) -> Result<(), Refusal> {
    let (nic, l3_network) = (own.nic, own.l3_network);
    decision.add(id, VmInstanceEvent::NicDetached { nic, l3_network, default_l3_network });
    vip::nic_gone(decision, facts, nic)?;
    ip_range::release(decision, facts, std::slice::from_ref(own), id)
}

pub(crate) fn change_network(
    command: &ChangeVmNicNetwork,
    facts: &Facts,
    context: &Context,
) -> Result<Decision, Refusal> {
    let (id, vm, own) = vm_of(facts, "vmNicUuid", command.vm_nic_uuid)?;
    let running = at_rest(&vm, id, facts)?;
    let to = command.dest_l3_network_uuid;
    let l3 = attachable(facts, "destL3NetworkUuid", to, &vm)?;
    let asked = command.static_ip;
    let mut decision = Decision::about(StreamKind::VmInstance, id).show("vm");
    let holder = Holder { nic: own.nic, mac: own.mac, owner: id };
    let addresses = ip_range::allocate(&mut decision, facts, context, to, asked.as_slice(), holder);
    let addresses = addresses.map_err(|refusal| if asked.is_some() { named(refusal, "staticIp") } else { refusal })?;
    ip_range::release_addresses(&mut decision, facts, &own, id)?;
    vip::nic_gone(&mut decision, facts, own.nic)?;
    let from = own.l3_network;
    for name in ["staticIp", "customMac"] {
        tag_set::take(&mut decision, facts, id, &format!("{name}::{from}"))?;
    }
    if let Some(ip) = asked {
        tag_set::put(&mut decision, facts, context, id, &static_tag(to, ip))?;
    }
    if running {
        router::ensure(&mut decision, facts, context, &[to])?;
    }
    let nic = Nic { l3_network: to, l2_network: l3.l2_network, addresses, ..own };
    let default_l3_network = if vm.default_l3_network == from { to } else { vm.default_l3_network };
    let hostname = vm.hostname.clone();
    Ok(decision.first(VmInstanceEvent::NicChanged { nic, from, hostname, running, default_l3_network }))
}

/// The VM's nic on a network, which a command is about.
fn nic_on(vm: &VmInstance, l3: L3NetworkId) -> Result<&Nic, Refusal> {
    let right = || Refusal::argument("l3NetworkUuid", l3, "an L3 network that the VM has a nic on");
    vm.nics.iter().find(|nic| nic.l3_network == l3).ok_or_else(right)
}

pub(crate) fn set_static_ip(command: &SetVmStaticIp, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let (id, l3) = (command.vm_instance_uuid.0, command.l3_network_uuid);
    let vm = rules::existing::<VmInstance>(facts, "vmInstanceUuid", id)?;
    let own = nic_on(&vm, l3)?.clone();
    let asked = [("ip", command.ip.map(IpAddr::V4)), ("ip6", command.ip6)];
    if let Some(IpAddr::V4(other)) = command.ip6 {
        return Err(Refusal::argument("ip6", other, "an IPv6 address"));
    }
    if asked.iter().all(|(_, ip)| ip.is_none()) {
        return Err(Refusal::missing("ip", "the address that the nic shall have, or ip6"));
    }
    let running = at_rest(&vm, id, facts)?;
    let mut decision = Decision::about(StreamKind::VmInstance, id).show("vm");
    let mut addresses = own.addresses.clone();
    let holder = Holder { nic: own.nic, mac: own.mac, owner: id };
    for (field, ip) in asked.iter().filter_map(|(field, ip)| Some((*field, (*ip)?))) {
        tag_set::put(&mut decision, facts, context, id, &static_tag(l3, ip))?;
        if addresses.iter().any(|held| held.ip == ip) {
            continue;
        }
        let taken = ip_range::allocate_instead(&mut decision, facts, context, l3, ip, holder);
        let taken = taken.map_err(|refusal| Refusal { field: Some(field.to_string()), ..refusal })?;
        addresses.retain(|held| held.ip.is_ipv4() != ip.is_ipv4());
        addresses.extend(taken);
    }
    addresses.sort_by_key(|address| address.ip);
    let of = |v4: bool| addresses.iter().find(|address| address.ip.is_ipv4() == v4);
    let shape =
        |address: Option<&NicAddress>| address.map(|of| (of.netmask(), of.prefix_length.to_string(), of.gateway));
    let ((v4, v6), text) = ((shape(of(true)), shape(of(false))), |ip: Option<IpAddr>| ip.map(|ip| ip.to_string()));
    for (field, asked, right) in [
        ("netmask", text(command.netmask.map(IpAddr::V4)), v4.as_ref().map(|(netmask, ..)| netmask.to_string())),
        ("gateway", text(command.gateway.map(IpAddr::V4)), v4.as_ref().map(|(.., gateway)| gateway.to_string())),
        ("ipv6Prefix", command.ipv6_prefix.clone(), v6.as_ref().map(|(_, length, _)| length.clone())),
        ("ipv6Gateway", text(command.ipv6_gateway), v6.as_ref().map(|(.., gateway)| gateway.to_string())),
    ] {
        let Some(asked) = asked else { continue };
        let Some(right) = right else {
            return Err(Refusal::argument(field, asked, "nothing: the nic has no address of this family"));
        };
        if asked != right {
            return Err(Refusal::argument(field, asked, format!("{right}, as of the address's range")));
        }
    }
    if addresses == own.addresses {
        return Ok(decision);
    }
    let mut given_up = own.clone();
    given_up.addresses.retain(|held| !addresses.contains(held));
    ip_range::release_addresses(&mut decision, facts, &given_up, id)?;
    let nic = Nic { addresses, ..own };
    let (hostname, default_l3_network) = (vm.hostname.clone(), vm.default_l3_network);
    Ok(decision.first(VmInstanceEvent::NicChanged { nic, from: l3, hostname, running, default_l3_network }))
}

/// The nic keeps the address that it has; it is no longer asked for.
pub(crate) fn delete_static_ip(command: &DeleteVmStaticIp, facts: &Facts) -> Result<Decision, Refusal> {
    let id = command.vm_instance_uuid.0;
    rules::existing::<VmInstance>(facts, "vmInstanceUuid", id)?;
    let mut decision = Decision::about(StreamKind::VmInstance, id).show("vm");
    let of_network = format!("staticIp::{}", command.l3_network_uuid);
    let start = match command.static_ip {
        Some(ip) => static_tag(command.l3_network_uuid, ip),
        None => of_network,
    };
    tag_set::take(&mut decision, facts, id, &start)?;
    Ok(decision)
}

pub(crate) fn set_hostname(command: &SetVmHostname, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let id = command.uuid.0;
    let vm = rules::existing::<VmInstance>(facts, "uuid", id)?;
    rules::hostname("hostname", &command.hostname)?;
    for l3 in vm.l3_networks() {
        for other in facts.members(Relation::VmsOnL3, l3).into_iter().filter(|other| *other != id) {
            if facts.peek::<VmInstance>(other)?.hostname.eq_ignore_ascii_case(&command.hostname) {
                let right = format!("a host name that no other VM of L3 network {l3} has: VM {other} has it");
                return Err(Refusal::argument("hostname", &command.hostname, right));
            }
        }
    }
    let mut decision = Decision::about(StreamKind::VmInstance, id).show("vm");
    tag_set::put(&mut decision, facts, context, id, &format!("hostname::{}", command.hostname))?;
    Ok(renamed(decision, &vm, command.hostname.clone()))
}

/// The VM is called after its own name again, or after its address.
pub(crate) fn delete_hostname(command: &DeleteVmHostname, facts: &Facts) -> Result<Decision, Refusal> {
    let id = command.uuid.0;
    let vm = rules::existing::<VmInstance>(facts, "uuid", id)?;
    let mut decision = Decision::about(StreamKind::VmInstance, id);
    tag_set::take(&mut decision, facts, id, "hostname")?;
    let own = vm.name.to_ascii_lowercase();
    let hostname = match vm.nics.first() {
        _ if rules::is_label(&own) => own,
        Some(nic) => switchback_appliance::address_name(nic),
        None => vm.hostname.clone(),
    };
    Ok(renamed(decision, &vm, hostname))
}

fn renamed(decision: Decision, vm: &VmInstance, hostname: String) -> Decision {
    if vm.hostname == hostname {
        return decision;
    }
    decision.first(VmInstanceEvent::HostnameChanged { hostname, l3_networks: vm.l3_networks() })
}

/// The name that a VM has in DNS and DHCP.
pub fn hostname(states: &States, id: VmInstanceId) -> Result<String, Refusal> {
    let facts = states.facts();
    Ok(rules::existing::<VmInstance>(&facts, "uuid", id)?.hostname.clone())
}

pub(crate) fn change_state(command: &ChangeVmNicState, facts: &Facts) -> Result<Decision, Refusal> {
    let (id, vm, own) = vm_of(facts, "vmNicUuid", command.vm_nic_uuid)?;
    let mut decision = Decision::about(StreamKind::VmInstance, id);
    decision.inventories.push(("nic", own.nic.0));
    let state = rules::state_event(&command.state);
    if vm.disabled.contains(&own.nic) == (state == Enabled::Disabled) {
        return Ok(decision);
    }
    Ok(decision.first(VmInstanceEvent::NicStateChanged { nic: own.nic, state }))
}
