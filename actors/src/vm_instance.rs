//! VM instance:
//!
//! ```text
//!  Created ─► Starting ──Started──► Running ──StopRequested──► Stopping ──Stopped──► Stopped
//!               │  ▲                 │ ▲ ▲                                           │  ▲
//!       failed, │  └─StartRequested──┼─┼─┼───────────────────────────────────────────┘  │ Recovered
//!       rolled  │             Paused ▼ │ ▼                                              │
//!       back    │                 Paused Rebooting     any ──DestroyRequested──► Destroying ──► Destroyed ──► Expunged
//!               ▼
//!           Destroyed
//! ```
//!
//! Create, start and reboot also see to it that the routers of its networks are there ([`crate::router::ensure`]).
//! A destroyed VM has given its addresses back; as long as it is not expunged it can have them again, where they are
//! still free.

pub(crate) mod nics;

pub use nics::{attachable_networks, change_candidates, hostname};

use crate::{
    context::Context,
    decision::Decision,
    directory::Relation,
    facts::Facts,
    ip_range::{self, Holder},
    mac_block,
    placement::{self, Wish},
    router, rules, *,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use switchback_bus::*;
use switchback_events::*;

/// The life of a VM.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum VmState {
    #[default]
    Absent,
    Starting,
    Running,
    Stopping,
    Stopped,
    Rebooting,
    Destroying,
    Destroyed,
    Paused,
}

/// The security groups of a nic, the first decides first, and what becomes of packets that none of their rules fits.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct NicSecurity {
    pub groups: Vec<SecurityGroupId>,
    pub ingress_policy: NicPolicy,
    pub egress_policy: NicPolicy,
}

impl Default for NicSecurity {
    fn default() -> NicSecurity {
        NicSecurity { groups: vec![], ingress_policy: NicPolicy::DENY, egress_policy: NicPolicy::ALLOW }
    }
}

/// A VM instance.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct VmInstance {
    pub name: String,
    pub hostname: String,
    pub state: VmState,
    /// The operation under way is its first start.
    pub creating: bool,
    pub zone: ZoneId,
    pub cluster: ClusterId,
    pub host: HostId,
    pub nics: Vec<Nic>,
    pub default_l3_network: L3NetworkId,
    pub image: Option<ImageId>,
    pub offering: Option<OfferingId>,
    /// The nics that carry nothing.
    pub disabled: BTreeSet<NicId>,
    /// Of the nics of which something was said.
    pub security: BTreeMap<NicId, NicSecurity>,
    /// The password that it is to take from its router, and has not taken yet.
    pub password: Option<SealedSecret>,
    /// It is Destroyed, and can be recovered.
    pub recoverable: bool,
    /// The last operation that failed: version of the event, code, why.
    pub failed: Option<(Version, String, String)>,
}

impl rules::Exists for VmInstance {
    const WHAT: &'static str = "VM instance";
    fn exists(&self) -> bool {
        !matches!(self.state, VmState::Absent | VmState::Destroyed)
    }
    fn name(&self) -> &str {
        &self.name
    }
}

impl VmInstance {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &VmInstanceEvent, version: Version) {
        match event {
            VmInstanceEvent::Created {
                zone,
                cluster,
                host,
                name,
                hostname,
                nics,
                default_l3_network,
                image,
                offering,
                ..
            } => {
                (self.image, self.offering) = (*image, *offering);
                self.default_l3_network = *default_l3_network;
                (self.zone, self.cluster, self.host) = (*zone, *cluster, *host);
                (self.name, self.hostname, self.nics) = (name.clone(), hostname.clone(), nics.clone());
                (self.state, self.creating) = (VmState::Starting, true);
            }
            VmInstanceEvent::Updated { name, .. } => self.name = name.clone().unwrap_or_else(|| self.name.clone()),
            VmInstanceEvent::StartRequested { host, cluster, .. } => {
                (self.host, self.cluster, self.state) = (*host, *cluster, VmState::Starting);
            }
            VmInstanceEvent::StopRequested { .. } => self.state = VmState::Stopping,
            VmInstanceEvent::RebootRequested { .. } => self.state = VmState::Rebooting,
            VmInstanceEvent::DestroyRequested { .. } => self.state = VmState::Destroying,
            VmInstanceEvent::Started { .. } => (self.state, self.creating) = (VmState::Running, false),
            VmInstanceEvent::Stopped { .. } => self.state = VmState::Stopped,
            VmInstanceEvent::Destroyed { recoverable, .. } => {
                (self.state, self.recoverable) = (VmState::Destroyed, *recoverable);
                self.password = None;
            }
            VmInstanceEvent::Recovered { hostname, image, offering, default_l3_network, nics, .. } => {
                (self.state, self.recoverable) = (VmState::Stopped, false);
                (self.hostname, self.nics) = (hostname.clone(), nics.clone());
                self.security.retain(|id, _| nics.iter().any(|nic| nic.nic == *id));
                (self.image, self.offering) = (*image, *offering);
                self.default_l3_network = default_l3_network.unwrap_or_default();
            }
            VmInstanceEvent::Expunged {} => self.recoverable = false,
            VmInstanceEvent::Paused {} => self.state = VmState::Paused,
            VmInstanceEvent::Resumed {} => self.state = VmState::Running,
            VmInstanceEvent::NicAttached { nic, default_l3_network, .. } => {
                self.nics.push(nic.clone());
                self.nics.sort_by_key(|own| own.device_id);
                self.default_l3_network = *default_l3_network;
            }
            VmInstanceEvent::NicChanged { nic, default_l3_network, .. } => {
                self.nics.iter_mut().filter(|own| own.nic == nic.nic).for_each(|own| *own = nic.clone());
                self.default_l3_network = *default_l3_network;
            }
            VmInstanceEvent::NicStateChanged { nic, state } => {
                match state {
                    Enabled::Enabled => self.disabled.remove(nic),
                    Enabled::Disabled => self.disabled.insert(*nic),
                };
            }
            // Its tag says it.
            VmInstanceEvent::UserdataChanged { .. } => {}
            VmInstanceEvent::PasswordChanged { password, .. } => self.password = password.clone(),
            VmInstanceEvent::NicSecurityChanged { nic, groups, ingress_policy, egress_policy } => {
                let (ingress_policy, egress_policy) = (*ingress_policy, *egress_policy);
                let security = NicSecurity { groups: groups.clone(), ingress_policy, egress_policy };
                self.security.insert(*nic, security);
            }
            VmInstanceEvent::HostnameChanged { hostname, .. } => self.hostname = hostname.clone(),
            VmInstanceEvent::NicDetached { nic, default_l3_network, .. } => {
                self.nics.retain(|own| own.nic != *nic);
                self.disabled.remove(nic);
                self.security.remove(nic);
                self.default_l3_network = default_l3_network.unwrap_or_default();
            }
            VmInstanceEvent::NicAddressesChanged { nic, addresses, .. } => {
                if let Some(own) = self.nics.iter_mut().find(|own| own.nic == *nic) {
                    own.addresses = addresses.clone();
                }
            }
            VmInstanceEvent::OperationFailed { operation, code, detail, .. } => {
                self.failed = Some((version, code.clone(), detail.clone()));
                self.state = match operation {
                    VmOperation::Create | VmOperation::Start => VmState::Stopped,
                    VmOperation::Stop | VmOperation::Reboot | VmOperation::Destroy => VmState::Running,
                };
            }
        }
    }

    /// The networks of its nics.
    pub fn l3_networks(&self) -> Vec<L3NetworkId> {
        self.nics.iter().map(|nic| nic.l3_network).collect()
    }

    /// Nothing is under way.
    pub fn settled(&self) -> bool {
        use VmState::{Absent, Destroyed, Paused, Running, Stopped};
        matches!(self.state, Running | Paused | Stopped | Destroyed | Absent)
    }
}

/// What the tags of a new VM ask for.
#[derive(Default)]
struct TagWishes {
    hostname: Option<String>,
    static_ips: Vec<(L3NetworkId, std::net::IpAddr)>,
    custom_macs: Vec<(L3NetworkId, Mac)>,
}

fn tag_wishes(tags: &[String], l3s: &[L3NetworkId]) -> Result<TagWishes, Refusal> {
    let mut wishes = TagWishes::default();
    let own = |l3: L3NetworkId, tag: &str| match l3s.contains(&l3) {
        true => Ok(()),
        false => Err(Refusal::argument("systemTags", tag, "a tag for one of l3NetworkUuids")),
    };
    for tag in tags {
        match tag.split("::").next() {
            Some("hostname") => {
                let name = tag.trim_start_matches("hostname::");
                rules::hostname("systemTags", name)?;
                wishes.hostname = Some(name.to_string());
            }
            Some("staticIp") => {
                let (l3, ip) = tag_set::static_ip(tag)?;
                own(l3, tag)?;
                wishes.static_ips.push((l3, ip));
            }
            Some("customMac") => {
                let (l3, mac) = tag_set::custom_mac(tag)?;
                own(l3, tag)?;
                wishes.custom_macs.push((l3, mac));
            }
            _ => {}
        }
    }
    Ok(wishes)
}

/// The most nics of a VM.
const MAX_NICS: usize = 16;

pub(crate) fn create(command: &CreateVmInstance, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let l3s = &command.l3_network_uuids;
    if l3s.is_empty() || l3s.len() > MAX_NICS {
        let right = format!("1 to {MAX_NICS} L3 networks");
        return Err(Refusal::argument("l3NetworkUuids", format!("{} networks", l3s.len()), right));
    }
    let mut seen = BTreeSet::new();
    let mut l2s = Vec::new();
    let mut zone = None;
    for id in l3s {
        let l3 = rules::existing::<L3Network>(facts, "l3NetworkUuids", *id)?;
        if !seen.insert(*id) {
            return Err(Refusal::argument("l3NetworkUuids", id, "each L3 network once"));
        }
        if l3.system {
            return Err(Refusal::argument("l3NetworkUuids", id, "an L3 network that is not a system network"));
        }
        if l3.disabled {
            return Err(Refusal::operation(format!("l3NetworkUuids = `{id}`: the L3 network is disabled")));
        }
        if *zone.get_or_insert(l3.zone) != l3.zone {
            return Err(Refusal::argument("l3NetworkUuids", id, "L3 networks of one zone"));
        }
        l2s.push(l3.l2_network);
    }
    let zone = zone.unwrap_or_default();
    let default_l3_network = command.default_l3_network_uuid.unwrap_or(l3s[0]);
    if !l3s.contains(&default_l3_network) {
        return Err(Refusal::argument("defaultL3NetworkUuid", default_l3_network, "one of l3NetworkUuids"));
    }
    if let Some(image) = command.image_uuid {
        let state = rules::existing::<Image>(facts, "imageUuid", image)?;
        if state.system {
            return Err(Refusal::argument("imageUuid", image, "an image that is not a system image"));
        }
    }
    if let Some(id) = command.instance_offering_uuid {
        let offering = rules::existing::<Offering>(facts, "instanceOfferingUuid", id)?;
        if offering.disabled || offering.router.is_some() {
            return Err(Refusal::argument("instanceOfferingUuid", id, "an enabled offering for user VMs"));
        }
    }
    let wishes = tag_wishes(&context.common.system_tags, l3s)?;
    let wish = Wish { zone: command.zone_uuid, cluster: command.cluster_uuid, host: command.host_uuid, last: None };
    let place = placement::choose(facts, zone, &l2s, &wish)?;
    let id = context.resource_id();
    let mut decision = Decision::about(StreamKind::VmInstance, id).show("vm");

    let mut nics = Vec::new();
    for (at, (l3, l2)) in l3s.iter().zip(&l2s).enumerate() {
        let device_id = at as u8;
        let nic = NicId(context.id());
        let custom = wishes.custom_macs.iter().find(|(wanted, _)| wanted == l3).map(|(_, mac)| *mac);
        let mac = mac_block::allocate(&mut decision, facts, context, nic, device_id, custom)?;
        let required = wishes.static_ips.iter().filter(|(wanted, _)| wanted == l3).map(|(_, ip)| *ip);
        let required: Vec<_> = required.collect();
        let holder = Holder { nic, mac, owner: id };
        let addresses = ip_range::allocate(&mut decision, facts, context, *l3, &required, holder)?;
        nics.push(Nic {
            nic,
            l3_network: *l3,
            l2_network: *l2,
            mac,
            addresses,
            device_id,
            internal_name: internal_name(nic, device_id),
            meta_data: 0,
        });
    }
    let own_name = command.name.to_ascii_lowercase();
    let hostname = match wishes.hostname {
        Some(name) => {
            name_is_free(facts, l3s, &name)?;
            name
        }
        None if rules::is_label(&own_name) => own_name,
        None => switchback_appliance::address_name(&nics[0]),
    };
    router::ensure(&mut decision, facts, context, l3s)?;
    decision.events.insert(
        0,
        (
            decision.target,
            VmInstanceEvent::Created {
                zone,
                cluster: place.cluster,
                host: place.host,
                hypervisor_type: place.hypervisor_type,
                name: command.name.clone(),
                description: command.description.clone(),
                hostname,
                image: command.image_uuid,
                offering: command.instance_offering_uuid,
                default_l3_network,
                nics,
            }
            .into(),
        ),
    );
    Ok(decision)
}

/// The host's end of a nic: at most 15 bytes, unique by the random end of the nic's id.
pub(crate) fn internal_name(nic: NicId, device_id: u8) -> String {
    format!("vnic{}.{device_id}", nic.0.tail())
}

/// A name that was asked for belongs to one VM of a network only.
fn name_is_free(facts: &Facts, l3s: &[L3NetworkId], name: &str) -> Result<(), Refusal> {
    for l3 in l3s {
        for vm in facts.members(Relation::VmsOnL3, *l3) {
            if facts.peek::<VmInstance>(vm)?.hostname.eq_ignore_ascii_case(name) {
                let right = format!("a host name that no other VM of L3 network {l3} has: VM {vm} has it");
                return Err(Refusal::argument("systemTags", format!("hostname::{name}"), right));
            }
        }
    }
    Ok(())
}

fn wrong_state(vm: &VmInstance, id: Id, wanted: &str) -> Refusal {
    Refusal::conflict(code::VM_STATE, format!("VM {id} is {:?}, and must be {wanted}", vm.state))
}

fn place_again(vm: &VmInstance, facts: &Facts) -> Result<placement::Place, Refusal> {
    let mut l2s: Vec<L2NetworkId> = vm.nics.iter().map(|nic| nic.l2_network).collect();
    l2s.extend(vip::by_host::networks(facts, vm)?);
    let wish = Wish { last: Some(vm.host), ..Wish::default() };
    placement::choose(facts, vm.zone, &l2s, &wish)
}

pub(crate) fn start(id: Id, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let vm = rules::existing::<VmInstance>(facts, "uuid", id)?;
    let decision = Decision::about(StreamKind::VmInstance, id).show("vm");
    match vm.state {
        VmState::Running | VmState::Starting => return Ok(decision),
        VmState::Stopped => {}
        _ => return Err(wrong_state(&vm, id, "Stopped")),
    }
    let place = place_again(&vm, facts)?;
    let l3_networks = vm.l3_networks();
    let mut decision = decision.event(VmInstanceEvent::StartRequested {
        host: place.host,
        cluster: place.cluster,
        l3_networks: l3_networks.clone(),
    });
    router::ensure(&mut decision, facts, context, &l3_networks)?;
    Ok(decision)
}

pub(crate) fn stop(id: Id, facts: &Facts) -> Result<Decision, Refusal> {
    let vm = rules::existing::<VmInstance>(facts, "uuid", id)?;
    let decision = Decision::about(StreamKind::VmInstance, id).show("vm");
    match vm.state {
        VmState::Stopped | VmState::Stopping => return Ok(decision),
        VmState::Running | VmState::Paused => {}
        _ => return Err(wrong_state(&vm, id, "Running or Paused")),
    }
    if !facts.get::<Host>(vm.host)?.connected() {
        return Err(Refusal::operation(format!("host {} of VM {id} is not Connected", vm.host)));
    }
    Ok(decision.event(VmInstanceEvent::StopRequested { l3_networks: vm.l3_networks() }))
}

pub(crate) fn reboot(id: Id, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let vm = rules::existing::<VmInstance>(facts, "uuid", id)?;
    let decision = Decision::about(StreamKind::VmInstance, id).show("vm");
    if vm.state != VmState::Running {
        return Err(wrong_state(&vm, id, "Running"));
    }
    if !facts.get::<Host>(vm.host)?.connected() {
        return Err(Refusal::operation(format!("host {} of VM {id} is not Connected", vm.host)));
    }
    let l3_networks = vm.l3_networks();
    let mut decision = decision.event(VmInstanceEvent::RebootRequested { l3_networks: l3_networks.clone() });
    router::ensure(&mut decision, facts, context, &l3_networks)?;
    Ok(decision)
}

/// A VM that stands still keeps its addresses, and its routers go on serving it.
pub(crate) fn pause(id: Id, facts: &Facts) -> Result<Decision, Refusal> {
    stand_still(id, facts, (VmState::Running, VmState::Paused), VmInstanceEvent::Paused {})
}

pub(crate) fn resume(id: Id, facts: &Facts) -> Result<Decision, Refusal> {
    stand_still(id, facts, (VmState::Paused, VmState::Running), VmInstanceEvent::Resumed {})
}

fn stand_still(
    id: Id,
    facts: &Facts,
    (from, to): (VmState, VmState),
    event: VmInstanceEvent,
) -> Result<Decision, Refusal> {
    let vm = rules::existing::<VmInstance>(facts, "uuid", id)?;
    let decision = Decision::about(StreamKind::VmInstance, id).show("vm");
    if vm.state == to {
        return Ok(decision);
    }
    if vm.state != from {
        return Err(wrong_state(&vm, id, &format!("{from:?}")));
    }
    if !facts.get::<Host>(vm.host)?.connected() {
        return Err(Refusal::operation(format!("host {} of VM {id} is not Connected", vm.host)));
    }
    Ok(decision.event(event))
}

/// Ends a VM: its addresses are free again. Its tags go, unless it can be recovered.
pub(crate) fn destroyed(
    decision: &mut Decision,
    facts: &Facts,
    vm: &VmInstance,
    id: Id,
    recoverable: bool,
) -> Result<(), Refusal> {
    decision.add(id, VmInstanceEvent::Destroyed { l3_networks: vm.l3_networks(), recoverable });
    ip_range::release(decision, facts, &vm.nics, id)?;
    for nic in &vm.nics {
        vip::nic_gone(decision, facts, nic.nic)?;
    }
    if !recoverable {
        forget_tags(decision, facts, id)?;
    }
    Ok(())
}

fn forget_tags(decision: &mut Decision, facts: &Facts, id: Id) -> Result<(), Refusal> {
    for tag in facts.tags(id)?.tags.keys() {
        decision.add(id, TagSetEvent::Deleted { tag: *tag });
    }
    Ok(())
}

/// Whether a VM that a user destroys is remembered.
fn delays(facts: &Facts) -> Result<bool, Refusal> {
    Ok(facts.config("vm", "deletionPolicy")? == "Delay")
}

/// A destroyed VM that nobody can recover any more.
pub(crate) fn expunge(id: Id, facts: &Facts) -> Result<Decision, Refusal> {
    let vm = facts.get::<VmInstance>(id)?;
    let mut decision = Decision::about(StreamKind::VmInstance, id);
    match vm.state {
        VmState::Destroyed if vm.recoverable => {}
        VmState::Absent | VmState::Destroyed => return Ok(decision),
        _ => return Err(wrong_state(&vm, id, "Destroyed")),
    }
    decision.add(id, VmInstanceEvent::Expunged {});
    forget_tags(&mut decision, facts, id)?;
    Ok(decision)
}

/// A destroyed VM is Stopped again, with the addresses that it had: all of them, or it is refused. Nics of networks
/// that were deleted meanwhile stay away.
pub(crate) fn recover(id: Id, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let vm = facts.get::<VmInstance>(id)?;
    match vm.state {
        VmState::Destroyed if vm.recoverable => {}
        VmState::Absent | VmState::Destroyed => return Err(Refusal::not_found("uuid", "destroyed VM instance", id)),
        _ => return Err(wrong_state(&vm, id, "Destroyed")),
    }
    rules::existing::<Zone>(facts, "uuid", vm.zone)?;
    let mut decision = Decision::about(StreamKind::VmInstance, id).show("vm");
    let mut nics = Vec::new();
    for own in &vm.nics {
        if !rules::Exists::exists(&*facts.get::<L3Network>(own.l3_network)?) {
            continue;
        }
        let mac = mac_block::allocate(&mut decision, facts, context, own.nic, own.device_id, Some(own.mac))?;
        let before: Vec<_> = own.addresses.iter().map(|address| address.ip).collect();
        let holder = Holder { nic: own.nic, mac, owner: id };
        let addresses = ip_range::allocate(&mut decision, facts, context, own.l3_network, &before, holder);
        let addresses = addresses.map_err(|refusal| {
            let detail = format!("uuid = `{id}`: its addresses cannot be given back to it: {}", refusal.detail);
            Refusal { detail, field: Some("uuid".to_string()), ..refusal }
                .hint("see to it that the address is free, or create another VM")
        })?;
        nics.push(Nic { addresses, ..own.clone() });
    }
    let image = match vm.image {
        Some(image) if rules::Exists::exists(&*facts.get::<Image>(image)?) => Some(image),
        _ => None,
    };
    let offering = match vm.offering {
        Some(offering) if rules::Exists::exists(&*facts.get::<Offering>(offering)?) => Some(offering),
        _ => None,
    };
    let of_default = |nic: &&Nic| nic.l3_network == vm.default_l3_network;
    let default_l3_network = nics.iter().find(of_default).or(nics.first()).map(|nic| nic.l3_network);
    let (host, name, hostname) = (vm.host, vm.name.clone(), vm.hostname.clone());
    let back: Vec<NicId> = nics.iter().map(|nic| nic.nic).collect();
    let event = VmInstanceEvent::Recovered { host, name, hostname, image, offering, default_l3_network, nics };
    for (nic, security) in vm.security.iter().filter(|(nic, _)| back.contains(nic)) {
        decision.add(id, security_group::in_groups(facts, security, *nic)?);
    }
    Ok(decision.first(event))
}

pub(crate) fn destroy(id: Id, facts: &Facts) -> Result<Decision, Refusal> {
    let vm = facts.get::<VmInstance>(id)?;
    let mut decision = Decision::about(StreamKind::VmInstance, id);
    match vm.state {
        VmState::Absent | VmState::Destroyed | VmState::Destroying => return Ok(decision),
        _ => {}
    }
    let l3_networks = vm.l3_networks();
    decision = decision.event(VmInstanceEvent::DestroyRequested { l3_networks });
    // A host that does not answer is not waited for: it drops the VM when it comes back.
    if vm.state == VmState::Stopped || !facts.get::<Host>(vm.host)?.connected() {
        destroyed(&mut decision, facts, &vm, id, delays(facts)?)?;
    }
    Ok(decision)
}

pub(crate) fn update(command: &UpdateVmInstance, facts: &Facts) -> Result<Decision, Refusal> {
    rules::existing::<VmInstance>(facts, "uuid", command.uuid)?;
    let event = VmInstanceEvent::Updated { name: command.name.clone(), description: command.description.clone() };
    Ok(Decision::about(StreamKind::VmInstance, command.uuid).show("vm").event(event))
}

pub(crate) fn change_password(command: &ChangeVmPassword, facts: &Facts) -> Result<Decision, Refusal> {
    let vm = rules::existing::<VmInstance>(facts, "uuid", command.uuid)?;
    let Some(password) = command.password.closed().cloned() else {
        return Err(Refusal::internal("keep a password that is not sealed"));
    };
    let event = VmInstanceEvent::PasswordChanged { password: Some(password), l3_networks: vm.l3_networks() };
    Ok(Decision::about(StreamKind::VmInstance, command.uuid).show("vm").event(event))
}

/// Takes back what an operation under way has begun: a creation leaves nothing behind.
pub(crate) fn fail(decision: &mut Decision, facts: &Facts, id: Id, detail: &str) -> Result<(), Refusal> {
    let vm = facts.get::<VmInstance>(id)?;
    let (operation, code) = match vm.state {
        VmState::Starting if vm.creating => (VmOperation::Create, code::VM_CREATE),
        VmState::Starting => (VmOperation::Start, code::VM_START),
        VmState::Rebooting => (VmOperation::Reboot, code::VM_REBOOT),
        VmState::Stopping => (VmOperation::Stop, code::VM_STOP),
        _ => return Ok(()),
    };
    let (code, detail, l3_networks) = (code.to_string(), detail.to_string(), vm.l3_networks());
    decision.add(id, VmInstanceEvent::OperationFailed { operation, code, detail, l3_networks });
    match operation {
        VmOperation::Create => destroyed(decision, facts, &vm, id, false),
        VmOperation::Stop => host::not_emptied(decision, facts, vm.host),
        _ => Ok(()),
    }
}

pub(crate) fn report(command: &ReportVmStatus, facts: &Facts) -> Result<Decision, Refusal> {
    let id = command.uuid.0;
    let vm = facts.get::<VmInstance>(id)?;
    let mut decision = Decision::about(StreamKind::VmInstance, id);
    match (command.status.as_str(), vm.state) {
        ("Running", VmState::Starting | VmState::Rebooting) => {
            decision.add(id, VmInstanceEvent::Started { host: vm.host });
        }
        ("Stopped", VmState::Stopping) => {
            decision.add(id, VmInstanceEvent::Stopped { l3_networks: vm.l3_networks() });
        }
        ("Stopped", VmState::Destroying) => destroyed(&mut decision, facts, &vm, id, delays(facts)?)?,
        // Another one that was set meanwhile is still to be taken.
        ("PasswordSaved", _)
            if vm.password.as_ref().map(switchback_appliance::password_digest) == command.detail
                && vm.password.is_some() =>
        {
            decision.add(id, VmInstanceEvent::PasswordChanged { password: None, l3_networks: vm.l3_networks() });
        }
        ("Failed", _) => fail(&mut decision, facts, id, command.detail.as_deref().unwrap_or("the host could not"))?,
        _ => {}
    }
    Ok(decision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{Given, id};

    fn vm() -> Event {
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
        .into()
    }

    #[test]
    fn a_password_is_kept_sealed_until_the_vm_has_that_one() {
        let change = |password| ChangeVmPassword { uuid: id("vm"), password, account: None };
        let given = Given::nothing().event("vm", vm());
        let refusal = given.when(change(Secret::Sent("sesame".to_string()))).unwrap_err();
        assert!(!format!("{refusal:?}").contains("sesame"), "{refusal:?}");
        let changed = |password| VmInstanceEvent::PasswordChanged { password, l3_networks: vec![] };
        let (first, second) = (SealedSecret::new([1]), SealedSecret::new([2]));
        let waits = given.when(change(Secret::Closed(first.clone()))).unwrap();
        assert_eq!(waits, [changed(Some(first.clone())).into()]);

        let saved = |sealed: Option<&SealedSecret>| ReportVmStatus {
            uuid: id("vm"),
            status: "PasswordSaved".to_string(),
            detail: sealed.map(switchback_appliance::password_digest),
        };
        assert_eq!(given.when(saved(None)).unwrap(), []);
        let given = given.event("vm", changed(Some(first.clone()))).event("vm", changed(Some(second.clone())));
        assert_eq!((given.when(saved(Some(&first))).unwrap(), given.when(saved(None)).unwrap()), (vec![], vec![]));
        assert_eq!(given.when(saved(Some(&second))).unwrap(), [changed(None).into()]);
        let destroyed = VmInstanceEvent::Destroyed { l3_networks: vec![], recoverable: true };
        assert_eq!(given.event("vm", destroyed).when(saved(Some(&second))).unwrap(), []);
    }
}
