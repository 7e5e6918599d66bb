//! Ownership: whose a resource is, who else may use it, and how much an account may have. What no event says is the
//! administrator's.
//!
//! ```text
//!  named in a command ──► root: a nic's VM, a range's network, a tag's resource, else itself
//!                          │
//!                 own ─────┼───── may be changed
//!                 shared ──┼───── may be used; to change it is refused
//!                 else ────┴───── is hidden: the decision is made as if it were absent
//! ```
//! **Invariant:** a decision for an account rests on the ownership of all that its command names, and is shown nothing
//! that it names and may not see. So what is foreign is refused in the very words of what does not exist.

use crate::{
    context::Context, decide, decision::Decision, directory::Relation, facts::Facts, rules, rules::Exists, tag_set, *,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use switchback_bus::*;
use switchback_events::*;

/// The ownership of one resource, or how much one account may have.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Ownership {
    /// None: the administrator.
    pub owner: Option<AccountId>,
    pub shared: BTreeSet<AccountId>,
    pub public: bool,
    /// What was said of an account.
    pub quotas: BTreeMap<String, u64>,
}

impl Ownership {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &OwnershipEvent, _version: Version) {
        match event {
            OwnershipEvent::Owned { account, .. } => {
                self.owner = Some(*account).filter(|owner| *owner != ADMIN_ACCOUNT)
            }
            OwnershipEvent::Shared { accounts, .. } => self.shared.extend(accounts),
            OwnershipEvent::Published { .. } => self.public = true,
            OwnershipEvent::Unshared { accounts } => self.shared.retain(|account| !accounts.contains(account)),
            OwnershipEvent::Unpublished {} => self.public = false,
            OwnershipEvent::Ended {} => *self = Ownership::default(),
            OwnershipEvent::QuotaChanged { name, value } => drop(self.quotas.insert(name.clone(), *value)),
        }
    }

    fn quota(&self, name: &str) -> u64 {
        let usual = QUOTAS.iter().find(|(known, _)| *known == name).map_or(0, |(_, usual)| *usual);
        self.quotas.get(name).copied().unwrap_or(usual)
    }
}

/// What belongs to accounts, by kind.
const OWNED: [StreamKind; 13] = [
    StreamKind::L3Network,
    StreamKind::VmInstance,
    StreamKind::Router,
    StreamKind::LoadBalancer,
    StreamKind::Certificate,
    StreamKind::AccessControlList,
    StreamKind::Vip,
    StreamKind::Eip,
    StreamKind::PortForwarding,
    StreamKind::Offering,
    StreamKind::Image,
    StreamKind::SecurityGroup,
    StreamKind::L2Network,
];
/// The kinds of what has a uuid of somebody's choice.
const NAMED: [StreamKind; 21] = [
    StreamKind::Zone,
    StreamKind::Cluster,
    StreamKind::Host,
    StreamKind::Image,
    StreamKind::L2Network,
    StreamKind::L3Network,
    StreamKind::IpRange,
    StreamKind::NetworkServiceProvider,
    StreamKind::Offering,
    StreamKind::VmInstance,
    StreamKind::Router,
    StreamKind::LoadBalancer,
    StreamKind::Certificate,
    StreamKind::AccessControlList,
    StreamKind::Vip,
    StreamKind::Eip,
    StreamKind::PortForwarding,
    StreamKind::Account,
    StreamKind::Policy,
    StreamKind::Role,
    StreamKind::SecurityGroup,
];
/// What others may be let use.
const SHARED: [StreamKind; 5] =
    [StreamKind::L3Network, StreamKind::Offering, StreamKind::Image, StreamKind::L2Network, StreamKind::SecurityGroup];

/// The quotas that count what an account has of a kind.
const COUNTED: &[(&str, StreamKind)] = &[
    ("l3.num", StreamKind::L3Network),
    ("vm.totalNum", StreamKind::VmInstance),
    ("vip.num", StreamKind::Vip),
    ("eip.num", StreamKind::Eip),
    ("portForwarding.num", StreamKind::PortForwarding),
    ("securityGroup.num", StreamKind::SecurityGroup),
    ("loadBalancer.num", StreamKind::LoadBalancer),
];

/// What an account may do with a resource.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Right {
    Change,
    Use,
    Nothing,
}

/// The resource that decides whose something is.
fn root(facts: &Facts, id: Id) -> Result<Id, Refusal> {
    let within = |relation| facts.members(relation, id).first().copied();
    let around = within(Relation::OwnerOfNic).or_else(|| within(Relation::L3OfReservedRange));
    let around = around.or_else(|| within(Relation::ResourceOfTag)).or_else(|| within(Relation::AccountOfCredential));
    let around = around.or_else(|| within(Relation::RouterOfSystemVip)).or_else(|| within(Relation::GroupOfRule));
    let around = around.or_else(|| within(Relation::LoadBalancerOfPart));
    let around = around.or_else(|| within(Relation::AccessListOfEntry));
    let id = around.unwrap_or(id);
    let range = facts.get::<IpRange>(id)?;
    Ok(if range.exists() { range.l3_network.0 } else { id })
}

fn right(facts: &Facts, account: AccountId, root: Id) -> Result<Right, Refusal> {
    let ownership = facts.get::<Ownership>(root)?;
    if root == account.0 || ownership.owner == Some(account) {
        return Ok(Right::Change);
    }
    let shared = ownership.public || ownership.shared.contains(&account);
    // Providers of services are there for all.
    if shared || facts.get::<NetworkServiceProvider>(root)?.exists() {
        return Ok(Right::Use);
    }
    Ok(Right::Nothing)
}

/// What a command changes of what it names; the rest it uses.
fn changed(command: &Command) -> Vec<Id> {
    match command {
        Command::ShareResource(c) => c.resource_uuids.clone(),
        Command::RevokeResourceSharing(c) => c.resource_uuids.clone(),
        Command::DeleteSecurityGroupRule(c) => c.rule_uuids.iter().map(|rule| rule.0).collect(),
        // Who may use a group may put nics of his own into it.
        Command::AddVmNicToSecurityGroup(c) => c.vm_nic_uuids.iter().map(|nic| nic.0).collect(),
        Command::DeleteVmNicFromSecurityGroup(c) => c.vm_nic_uuids.iter().map(|nic| nic.0).collect(),
        command => vec![decide::target(command, None, Id::NIL).id],
    }
}

/// What of that which is asked about is to be hidden from a decision.
///
/// # Errors
/// ID.1001 where what is only shared would be changed.
pub(crate) fn hidden(asking: &Asking, command: &Command, facts: &Facts) -> Result<BTreeSet<Id>, Refusal> {
    unseen(asking, &changed(command), facts)
}

/// The same for a read, which names in `owners` what only the owner reads of.
///
/// # Errors
/// ID.1001 where that is only shared.
pub fn hidden_from(asking: &Asking, owners: &[Id], states: &States) -> Result<BTreeSet<Id>, Refusal> {
    unseen(asking, owners, &states.facts())
}

fn unseen(asking: &Asking, owners: &[Id], facts: &Facts) -> Result<BTreeSet<Id>, Refusal> {
    let mut hidden = BTreeSet::new();
    for (field, id) in &asking.named {
        let root = root(facts, *id)?;
        match right(facts, asking.account, root)? {
            Right::Change => {}
            Right::Use if !owners.contains(id) => {}
            Right::Use => {
                let detail =
                    format!("{field} = `{id}`: it is shared with this account to be used, and its owner's alone");
                let refusal = Refusal::new(RefusalKind::Forbidden, code::PERMISSION_DENIED, detail);
                return Err(Refusal { field: Some(field.clone()), ..refusal });
            }
            Right::Nothing => drop(hidden.insert(*id)),
        }
    }
    Ok(hidden)
}

/// Those of some resources that an account may not see.
///
/// # Errors
/// What cannot be read of them.
pub fn foreign(states: &States, account: AccountId, ids: &BTreeSet<Id>) -> Result<BTreeSet<Id>, Refusal> {
    let named = ids.iter().map(|id| (String::new(), *id)).collect();
    hidden_from(&Asking { account, named, sends: None }, &[], states)
}

/// A refusal as an account may read it: what of others stands in the way is counted, not named.
pub(crate) fn veiled(asking: &Asking, mut refusal: Refusal, facts: &Facts) -> Refusal {
    let seen = |blocker: &Blocker| {
        let right = root(facts, blocker.uuid).and_then(|root| right(facts, asking.account, root));
        right.is_ok_and(|right| right != Right::Nothing)
    };
    let all = refusal.blockers.len();
    refusal.blockers.retain(seen);
    let foreign = all - refusal.blockers.len();
    if let Some((what, _)) = refusal.detail.split_once(" is in use by ").filter(|_| foreign > 0) {
        let own = refusal.blockers.iter().take(5).map(|blocker| format!("{} {}", blocker.resource_type, blocker.name));
        let names: Vec<String> = own.chain([format!("{foreign} of other accounts")]).collect();
        refusal.detail = format!("{what} is in use by {}", names.join(", "));
    }
    refusal
}

/// The resources that an account may name, of a kind that is shared.
pub fn seen_by(states: &States, account: AccountId, kind: StreamKind) -> Vec<Id> {
    let own = states.members((Relation::OwnedBy(kind), account.0));
    let shared = [account.0, Id::NIL].into_iter().flat_map(|with| states.members((Relation::SharedWith(kind), with)));
    let all: BTreeSet<Id> = own.into_iter().chain(shared).collect();
    all.into_iter().collect()
}

/// Refuses the uuid of anything that there is or was: whoever makes something has what has its uuid, and what goes takes
/// along what is known by it.
pub(crate) fn unused(facts: &Facts, context: &Context) -> Result<(), Refusal> {
    use Relation::{AccessListOfEntry, AccountOfCredential, GroupOfRule, L3OfReservedRange, LoadBalancerOfPart};
    use Relation::{OwnerOfNic, ResourceOfTag, RouterOfSystemVip};
    let Some(id) = context.common.resource_uuid else { return Ok(()) };
    let streams = NAMED.iter().any(|kind| facts.known_version(StreamKey::new(*kind, id)) > 0);
    let found = [
        AccessListOfEntry,
        AccountOfCredential,
        GroupOfRule,
        L3OfReservedRange,
        LoadBalancerOfPart,
        OwnerOfNic,
        ResourceOfTag,
        RouterOfSystemVip,
    ];
    if !streams && found.into_iter().all(|relation| facts.known_members(relation, id).is_empty()) {
        return Ok(());
    }
    Err(Refusal::operation(format!("resourceUuid = `{id}`: there is or was something with this uuid")))
}

/// Gives what a decision makes its owner, and ends the ownership of what it ends.
pub(crate) fn follow(decision: &mut Decision, facts: &Facts, context: &Context) -> Result<(), Refusal> {
    let account = context.common.asking.as_ref().map(|asking| asking.account);
    let (mut made, mut ended, mut starting) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (stream, event) in &decision.events {
        let mut own = |account: Option<AccountId>| made.extend(account.map(|account| (*stream, account)));
        match event {
            Event::L3Network(L3NetworkEvent::Created { .. })
            | Event::Vip(VipEvent::Created { .. })
            | Event::Eip(EipEvent::Created { .. })
            | Event::PortForwarding(PortForwardingEvent::Created { .. })
            | Event::LoadBalancer(LoadBalancerEvent::Created { .. })
            | Event::Certificate(CertificateEvent::Created { .. })
            | Event::AccessControlList(AccessControlListEvent::Created { .. })
            | Event::SecurityGroup(SecurityGroupEvent::Created { .. }) => own(account),
            Event::VmInstance(VmInstanceEvent::Created { .. }) => {
                own(account);
                starting.insert(stream.id);
            }
            // Being destroyed it counted for nothing.
            Event::VmInstance(VmInstanceEvent::Recovered { .. }) => own(facts.get::<Ownership>(stream.id)?.owner),
            Event::VmInstance(VmInstanceEvent::StartRequested { .. }) => drop(starting.insert(stream.id)),
            // It serves the network that it is made for.
            Event::Router(RouterEvent::Created { nics, .. }) => {
                let guest = nics.iter().find(|nic| nic.is(Nic::GUEST)).map(|nic| nic.l3_network);
                if let Some(guest) = guest {
                    own(facts.get::<Ownership>(guest)?.owner);
                }
            }
            Event::VmInstance(VmInstanceEvent::Destroyed { recoverable: false, .. } | VmInstanceEvent::Expunged {})
            | Event::Router(RouterEvent::Destroyed { .. }) => ended.push(stream.id),
            event if decide::deletes(event) => ended.push(stream.id),
            _ => {}
        }
    }
    if let Some(account) = account {
        let more = |kind| made.iter().filter(|(stream, owner)| stream.kind == kind && *owner == account).count();
        within_quota(facts, account, more, &starting)?;
    }
    for (stream, account) in made {
        decision.add(stream.id, OwnershipEvent::Owned { resource: stream.kind, account });
    }
    for id in ended {
        if *facts.get::<Ownership>(id)? != Ownership::default() {
            decision.add(id, OwnershipEvent::Ended {});
        }
    }
    Ok(())
}

/// Refuses what would be more than an account may have.
fn within_quota(
    facts: &Facts,
    account: AccountId,
    more: impl Fn(StreamKind) -> usize,
    starting: &BTreeSet<Id>,
) -> Result<(), Refusal> {
    for (name, kind) in COUNTED.iter().copied() {
        let more = more(kind);
        if more > 0 {
            allow(facts, account, name, facts.members(Relation::OwnedBy(kind), account).len(), more)?;
        }
    }
    if starting.is_empty() {
        return Ok(());
    }
    let mut others = facts.members(Relation::OwnedBy(StreamKind::VmInstance), account);
    others.retain(|vm| !starting.contains(vm));
    // Where all may run at once, a decision need not rest on the state of each.
    if (others.len() + starting.len()) as u64 <= facts.get::<Ownership>(account)?.quota("vm.num") {
        return Ok(());
    }
    let mut running = 0;
    for vm in others {
        running += usize::from(runs(facts.get::<VmInstance>(vm)?.state));
    }
    allow(facts, account, "vm.num", running, starting.len())
}

fn runs(state: VmState) -> bool {
    matches!(state, VmState::Starting | VmState::Running | VmState::Rebooting | VmState::Paused)
}

pub(crate) fn allow(facts: &Facts, account: AccountId, name: &str, used: usize, more: usize) -> Result<(), Refusal> {
    let most = facts.get::<Ownership>(account)?.quota(name);
    if (used + more) as u64 <= most {
        return Ok(());
    }
    let detail =
        format!("quota exceeded: {name} of account {account} is {most}, it has {used}, and {more} more is asked for");
    let refusal = Refusal::new(RefusalKind::Forbidden, code::PERMISSION_DENIED, detail);
    Err(refusal.hint("delete what is not needed, or let an administrator raise it with UpdateQuota"))
}

/// How much an account has, and may have: the name of the quota, both numbers.
///
/// # Errors
/// There is no such account.
pub fn usage(states: &States, account: AccountId) -> Result<Vec<(&'static str, u64, u64)>, Refusal> {
    let facts = states.facts();
    rules::existing::<Account>(&facts, "uuid", account)?;
    let ownership = facts.get::<Ownership>(account)?;
    let of = |kind| facts.peek_members(Relation::OwnedBy(kind), account);
    let vms = of(StreamKind::VmInstance);
    let mut running = 0;
    for vm in &vms {
        running += usize::from(runs(facts.peek::<VmInstance>(*vm)?.state));
    }
    let mut listeners = 0;
    for balancer in of(StreamKind::LoadBalancer) {
        listeners += facts.peek::<LoadBalancer>(balancer)?.listeners.len();
    }
    let used = |name: &str| match name {
        "loadBalancerListener.num" => listeners,
        "vm.num" => running,
        counted => COUNTED.iter().find(|(name, _)| *name == counted).map_or(0, |(_, kind)| of(*kind).len()),
    };
    Ok(QUOTAS.iter().map(|(name, _)| (*name, ownership.quota(name), used(name) as u64)).collect())
}

/// What stands in the way of deleting an account: what it has.
pub(crate) fn of_account(facts: &Facts, account: AccountId) -> Result<Vec<Blocker>, Refusal> {
    let mut blockers = Vec::new();
    for kind in OWNED {
        let ids = facts.members(Relation::OwnedBy(kind), account);
        blockers.extend(match kind {
            StreamKind::L3Network => rules::blockers::<L3Network>(facts, ids)?,
            StreamKind::VmInstance => rules::blockers::<VmInstance>(facts, ids)?,
            StreamKind::Router => rules::blockers::<Router>(facts, ids)?,
            StreamKind::LoadBalancer => rules::blockers::<LoadBalancer>(facts, ids)?,
            StreamKind::Certificate => rules::blockers::<Certificate>(facts, ids)?,
            StreamKind::AccessControlList => rules::blockers::<AccessControlList>(facts, ids)?,
            StreamKind::Vip => rules::blockers::<Vip>(facts, ids)?,
            StreamKind::Eip => rules::blockers::<Eip>(facts, ids)?,
            StreamKind::PortForwarding => rules::blockers::<PortForwarding>(facts, ids)?,
            StreamKind::Offering => rules::blockers::<Offering>(facts, ids)?,
            StreamKind::Image => rules::blockers::<Image>(facts, ids)?,
            StreamKind::SecurityGroup => rules::blockers::<SecurityGroup>(facts, ids)?,
            _ => rules::blockers::<L2Network>(facts, ids)?,
        });
    }
    Ok(blockers)
}

/// Takes an account that goes out of what was shared with it.
pub(crate) fn forget(decision: &mut Decision, facts: &Facts, account: AccountId) -> Result<(), Refusal> {
    for kind in SHARED {
        for resource in facts.members(Relation::SharedWith(kind), account) {
            facts.get::<Ownership>(resource)?;
            decision.add(resource, OwnershipEvent::Unshared { accounts: vec![account] });
        }
    }
    Ok(())
}

/// The kind of a resource that may have an owner.
fn kind_of(facts: &Facts, field: &str, id: Id) -> Result<StreamKind, Refusal> {
    for kind in OWNED {
        let there = match kind {
            StreamKind::VmInstance => facts.get::<VmInstance>(id)?.exists(),
            StreamKind::Router => facts.get::<Router>(id)?.exists(),
            kind => tag_set::resource_exists(facts, kind, id)?,
        };
        if there {
            return Ok(kind);
        }
    }
    const RIGHT: &str = "L3 network, VM, router, VIP, EIP, port forwarding rule, load balancer, certificate, access control list, offering, image, \
                         security group or L2 network";
    Err(Refusal::not_found(field, RIGHT, id))
}

fn accounts(facts: &Facts, asked: Option<&Vec<AccountId>>) -> Result<BTreeSet<AccountId>, Refusal> {
    let asked: BTreeSet<AccountId> = asked.into_iter().flatten().copied().collect();
    for account in &asked {
        rules::existing::<Account>(facts, "accountUuids", *account)?;
    }
    Ok(asked)
}

fn resources(facts: &Facts, asked: &[Id]) -> Result<Vec<(Id, StreamKind)>, Refusal> {
    let mut resources = Vec::new();
    for id in asked.iter().copied().collect::<BTreeSet<Id>>() {
        let kind = kind_of(facts, "resourceUuids", id)?;
        if !SHARED.contains(&kind) {
            return Err(Refusal::argument("resourceUuids", id, "the uuid of an image, offering, L2 or L3 network"));
        }
        resources.push((id, kind));
    }
    match resources.is_empty() {
        true => Err(Refusal::argument("resourceUuids", "[]", "at least one resource")),
        false => Ok(resources),
    }
}

pub(crate) fn share(command: &ShareResource, facts: &Facts) -> Result<Decision, Refusal> {
    let (asked, public) = (accounts(facts, command.account_uuids.as_ref())?, command.to_public == Some(true));
    if asked.is_empty() && !public {
        return Err(Refusal::missing("accountUuids", "accounts to share with; or toPublic, for all"));
    }
    let resources = resources(facts, &command.resource_uuids)?;
    let mut decision = Decision::about(StreamKind::Ownership, resources[0].0);
    for (id, resource) in resources {
        let state = facts.get::<Ownership>(id)?;
        let accounts: Vec<AccountId> = asked.difference(&state.shared).copied().collect();
        if !accounts.is_empty() {
            decision.add(id, OwnershipEvent::Shared { resource, accounts });
        }
        if public && !state.public {
            decision.add(id, OwnershipEvent::Published { resource });
        }
    }
    Ok(decision)
}

pub(crate) fn revoke(command: &RevokeResourceSharing, facts: &Facts) -> Result<Decision, Refusal> {
    let all = command.all == Some(true);
    let asked: BTreeSet<AccountId> = command.account_uuids.iter().flatten().copied().collect();
    let public = all || command.to_public == Some(true);
    if asked.is_empty() && !public {
        return Err(Refusal::missing("accountUuids", "accounts not to share with any more; or toPublic, or all"));
    }
    let resources = resources(facts, &command.resource_uuids)?;
    let mut decision = Decision::about(StreamKind::Ownership, resources[0].0);
    for (id, _) in resources {
        let state = facts.get::<Ownership>(id)?;
        let accounts: Vec<AccountId> =
            state.shared.iter().filter(|account| all || asked.contains(account)).copied().collect();
        if !accounts.is_empty() {
            decision.add(id, OwnershipEvent::Unshared { accounts });
        }
        if public && state.public {
            decision.add(id, OwnershipEvent::Unpublished {});
        }
    }
    Ok(decision)
}

pub(crate) fn change_owner(command: &ChangeResourceOwner, facts: &Facts) -> Result<Decision, Refusal> {
    let account = command.account_uuid;
    rules::existing::<Account>(facts, "accountUuid", account)?;
    let id = command.resource_uuid;
    let resource = kind_of(facts, "resourceUuid", id)?;
    let decision = Decision::about(StreamKind::Ownership, id);
    let owner = facts.get::<Ownership>(id)?.owner.unwrap_or(ADMIN_ACCOUNT);
    Ok(if owner == account { decision } else { decision.event(OwnershipEvent::Owned { resource, account }) })
}

pub(crate) fn update_quota(command: &UpdateQuota, facts: &Facts) -> Result<Decision, Refusal> {
    let account = command.identity_uuid;
    if rules::existing::<Account>(facts, "identityUuid", account)?.admin {
        return Err(Refusal::argument("identityUuid", account, "an account of type Normal: no other has quotas"));
    }
    let decision = Decision::about(StreamKind::Ownership, account);
    let (name, value) = (command.name.clone(), command.value);
    let same = facts.get::<Ownership>(account)?.quota(&name) == value;
    Ok(if same { decision } else { decision.event(OwnershipEvent::QuotaChanged { name, value }) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        entity::{Execute, Prepared, Step, SystemClock, prepare},
        given::{Given, id},
    };
    use std::sync::Arc;
    use switchback_journal::AppendError;

    fn given() -> Given {
        let l2 = L2NetworkEvent::Created {
            zone: id("zone"),
            name: "l2".to_string(),
            description: None,
            physical_interface: "eth0".to_string(),
            network_type: L2NetworkType::L2NoVlanNetwork,
            vlan: None,
            v_switch_type: "LinuxBridge".to_string(),
        };
        let resource = StreamKind::L2Network;
        Given::nothing().event("l2", l2).event("l2", OwnershipEvent::Shared { resource, accounts: vec![id("bob")] })
    }

    /// A network of bob's on the L2 network that is shared with him.
    fn asked(given: &Given) -> Prepared {
        let parameters = serde_json::json!({"name": "l3", "l2NetworkUuid": Id::of_name("l2")});
        let (command, mut common) = command("CreateL3Network", &parameters).unwrap();
        common.asking = Some(Asking::of(id("bob"), command.message(), &parameters));
        let provenance = Provenance {
            command_id: CommandId(Id::of_name("asked")),
            command: "CreateL3Network".to_string(),
            body: Id::NIL,
            principal: "bob".to_string(),
            origin: Origin::Api,
            credential: None,
            causation: None,
            correlation: Id::NIL,
            reason: None,
        };
        let execute = Execute { command: Arc::new(command), common, provenance, if_match: None, dry_run: false };
        match prepare(&given.states, &SystemClock, &execute).unwrap() {
            Step::Prepared(prepared) => prepared,
            Step::Done(_) => panic!("there is something to do"),
        }
    }

    #[test]
    fn what_ends_between_a_decision_and_its_place_in_the_log_undoes_it() {
        let undisturbed = given();
        let prepared = asked(&undisturbed);
        let owned = |event: &Event| matches!(event, Event::Ownership(OwnershipEvent::Owned { .. }));
        assert!(prepared.proposal.events.iter().any(|(_, event)| owned(event)));
        assert!(prepared.sequence(&undisturbed.states).is_ok());

        let shared = given();
        let prepared = asked(&shared);
        let ended = shared.event("l2", OwnershipEvent::Unshared { accounts: vec![id("bob")] });
        assert!(matches!(prepared.sequence(&ended.states), Err(AppendError::Conflict { .. })));

        let empty = given();
        let prepared = asked(&empty);
        let other = OwnershipEvent::Owned { resource: StreamKind::L3Network, account: id("bob") };
        let fuller = empty.event("another", other);
        assert!(matches!(prepared.sequence(&fuller.states), Err(AppendError::Stale)), "his quota may be used up");
    }
}
