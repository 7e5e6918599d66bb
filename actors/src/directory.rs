//! The directory: which resources hang on which, folded from the log beside the states. A decision may rest on such
//! a set; every set has a generation that moves with it, and a commit is sequenced only while the generations that
//! its decision saw still stand. So "the only router of this network" holds without a lock.

use crate::{account::name_owner, decide::deletes, vip::VipUse};
use std::collections::{BTreeSet, HashMap};
use switchback_bus::key_owner;
use switchback_events::*;
use switchback_journal::EventHead;

/// How the members of a set hang on its owner.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)]
pub enum Relation {
    /// All resources of a kind; the owner is [`Id::NIL`].
    All(StreamKind),
    ClustersOfZone,
    L2sOfZone,
    RouterOfferingsOfZone,
    HostsOfCluster,
    /// Attached, or about to be.
    L2sOfCluster,
    /// Hosts with a management address; the owner is [`address_owner`].
    HostsAtAddress,
    L3sOfL2,
    RangesOfL3,
    OfferingsOnL3,
    OfferingsOfImage,
    VmsOnL3,
    VmsOnHost,
    VmsOfOffering,
    VmsOfImage,
    /// The VM or router that has a nic.
    OwnerOfNic,
    /// Routers with any nic on the network.
    RoutersOnL3,
    /// Routers that serve the network as their guest network.
    RoutersOfGuest,
    RoutersOnHost,
    VipsOnL3,
    /// The load balancer that a listener or a server group is of.
    LoadBalancerOfPart,
    PartsOfLoadBalancer,
    /// Those that a nic is in.
    ServerGroupsOfNic,
    /// Those that show it.
    ListenersOfCertificate,
    AccessListOfEntry,
    /// Those that go by it.
    ListenersOfAccessList,
    /// The router whose own address a system VIP is.
    RouterOfSystemVip,
    ServicesOfVip(VipUse),
    /// Those that lead to a nic.
    ServicesOfNic(VipUse),
    /// The L3 network that a reserved range is of.
    L3OfReservedRange,
    /// Nics in a security group.
    NicsOfGroup,
    /// The security group of a rule.
    GroupOfRule,
    /// Security groups with rules that name another one.
    GroupsNaming,
    /// Security groups attached to an L3 network.
    GroupsOfL3,
    /// The resource that a tag is on.
    ResourceOfTag,
    /// Accounts with a name; the owner is [`crate::account::name_owner`].
    AccountsNamed,
    /// The account of an access key or API token.
    AccountOfCredential,
    /// Access keys with an id; the owner is [`switchback_bus::key_owner`].
    KeysWithId,
    /// The API token that a digest stands for.
    TokensWithDigest,
    /// Roles that are attached to an account.
    RolesOfAccount,
    /// Roles that have a policy.
    RolesWithPolicy,
    /// The tags whose text names a resource.
    TagsNaming,
    /// Resources of a kind that an account has; what is destroyed and may be recovered is not among them.
    OwnedBy(StreamKind),
    /// Resources of a kind that an account may use; [`Id::NIL`] is everybody.
    SharedWith(StreamKind),
}

/// One set.
pub type SetKey = (Relation, Id);

/// The owner of the set of hosts at a management address.
pub fn address_owner(ip: std::net::Ipv4Addr) -> Id {
    Id::of_name(&format!("host-address:{ip}"))
}

/// All sets.
#[derive(Default, Clone, PartialEq, Debug)]
pub struct Directory {
    sets: HashMap<SetKey, (u64, BTreeSet<Id>)>,
    memberships: HashMap<Id, BTreeSet<SetKey>>,
}

impl Directory {
    /// The members of a set, in the order of their ids.
    pub fn members(&self, key: SetKey) -> impl Iterator<Item = Id> + '_ {
        self.sets.get(&key).into_iter().flat_map(|(_, members)| members.iter().copied())
    }

    /// How many members a set has.
    pub fn count(&self, key: SetKey) -> usize {
        self.sets.get(&key).map_or(0, |(_, members)| members.len())
    }

    /// How often the set has changed.
    pub fn generation(&self, key: SetKey) -> u64 {
        self.sets.get(&key).map_or(0, |(generation, _)| *generation)
    }

    fn add(&mut self, relation: Relation, owner: impl Into<Id>, member: Id) {
        let key = (relation, owner.into());
        let set = self.sets.entry(key).or_default();
        if set.1.insert(member) {
            set.0 += 1;
            self.memberships.entry(member).or_default().insert(key);
        }
    }

    fn remove(&mut self, key: SetKey, member: Id) {
        if let Some(set) = self.sets.get_mut(&key)
            && set.1.remove(&member)
        {
            set.0 += 1;
        }
        if let Some(keys) = self.memberships.get_mut(&member) {
            keys.remove(&key);
        }
    }

    fn forget(&mut self, member: Id) {
        for key in self.memberships.remove(&member).unwrap_or_default() {
            if let Some(set) = self.sets.get_mut(&key) {
                set.1.remove(&member);
                set.0 += 1;
            }
        }
    }

    fn move_to(&mut self, relation: Relation, owner: impl Into<Id>, member: Id) {
        let before = self.memberships.get(&member).into_iter().flatten();
        let before: Vec<SetKey> = before.filter(|key| key.0 == relation).copied().collect();
        let owner = owner.into();
        for key in before.into_iter().filter(|key| key.1 != owner) {
            self.remove(key, member);
        }
        self.add(relation, owner, member);
    }

    fn remove_where(&mut self, member: Id, which: impl Fn(&SetKey) -> bool) {
        let keys = self.memberships.get(&member).into_iter().flatten();
        for key in keys.filter(|key| which(key)).copied().collect::<Vec<_>>() {
            self.remove(key, member);
        }
    }

    fn ownership(&mut self, id: Id, event: &OwnershipEvent) {
        use Relation::{OwnedBy, SharedWith};
        match event {
            OwnershipEvent::Owned { resource, account } => self.move_to(OwnedBy(*resource), *account, id),
            OwnershipEvent::Shared { resource, accounts } => {
                accounts.iter().for_each(|account| self.add(SharedWith(*resource), *account, id));
            }
            OwnershipEvent::Published { resource } => self.add(SharedWith(*resource), Id::NIL, id),
            OwnershipEvent::Unshared { accounts } => {
                let gone = |with: Id| accounts.iter().any(|account| account.0 == with);
                self.remove_where(id, |key| matches!(key.0, SharedWith(_)) && gone(key.1));
            }
            OwnershipEvent::Unpublished {} => {
                self.remove_where(id, |key| matches!(key.0, SharedWith(_)) && key.1 == Id::NIL);
            }
            OwnershipEvent::Ended {} => self.remove_where(id, |key| matches!(key.0, OwnedBy(_) | SharedWith(_))),
            OwnershipEvent::QuotaChanged { .. } => {}
        }
    }

    fn security_group(&mut self, id: Id, event: &SecurityGroupEvent) {
        use Relation::{GroupOfRule, GroupsNaming, GroupsOfL3};
        match event {
            SecurityGroupEvent::Created { rules, .. } => {
                rules.iter().for_each(|rule| self.add(GroupOfRule, rule.rule, id));
                rules.iter().filter_map(|rule| rule.remote_group).for_each(|of| self.add(GroupsNaming, of, id));
            }
            SecurityGroupEvent::RulesChanged { rules, deleted, remotes } => {
                rules.iter().for_each(|rule| self.add(GroupOfRule, rule.rule, id));
                deleted.iter().for_each(|rule| self.remove((GroupOfRule, rule.0), id));
                let held = |of: Id| remotes.iter().any(|remote| remote.0 == of);
                self.remove_where(id, |key| key.0 == GroupsNaming && !held(key.1));
                remotes.iter().for_each(|remote| self.add(GroupsNaming, *remote, id));
            }
            SecurityGroupEvent::AttachedToL3Network { l3_network } => self.add(GroupsOfL3, *l3_network, id),
            SecurityGroupEvent::DetachedFromL3Network { l3_network } => self.remove((GroupsOfL3, l3_network.0), id),
            _ => {}
        }
    }

    fn load_balancer(&mut self, id: Id, event: &LoadBalancerEvent) {
        use Relation::{ListenersOfAccessList, ListenersOfCertificate, ServerGroupsOfNic};
        use Relation::{LoadBalancerOfPart, PartsOfLoadBalancer};
        let mut made = |part: Id| {
            self.add(LoadBalancerOfPart, part, id);
            self.add(PartsOfLoadBalancer, id, part);
        };
        match event {
            LoadBalancerEvent::ListenerCreated { listener, group, .. } => {
                made(listener.0);
                made(group.0);
            }
            LoadBalancerEvent::GroupCreated { group, .. } => made(group.0),
            LoadBalancerEvent::ListenerDeleted { listener, group, .. } => {
                self.part_gone(listener.0, id);
                self.part_gone(group.0, id);
            }
            LoadBalancerEvent::CertificateAdded { listener, certificate, .. } => {
                self.move_to(ListenersOfCertificate, *certificate, listener.0);
            }
            LoadBalancerEvent::CertificateRemoved { listener, certificate, .. } => {
                self.remove((ListenersOfCertificate, certificate.0), listener.0);
            }
            LoadBalancerEvent::GroupDeleted { group } => self.part_gone(group.0, id),
            LoadBalancerEvent::MembersPut { group, members, .. } => {
                members.iter().for_each(|member| self.add(ServerGroupsOfNic, member.to.nic, group.0));
            }
            LoadBalancerEvent::MembersRemoved { group, nics, .. } => {
                nics.iter().for_each(|nic| self.remove((ServerGroupsOfNic, nic.0), group.0));
            }
            LoadBalancerEvent::AccessListPut { listener, list, .. } => {
                self.add(ListenersOfAccessList, *list, listener.0);
            }
            LoadBalancerEvent::AccessListRemoved { listener, list, .. } => {
                self.remove((ListenersOfAccessList, list.0), listener.0);
            }
            _ => {}
        }
    }

    fn part_gone(&mut self, part: Id, id: Id) {
        self.remove((Relation::LoadBalancerOfPart, part), id);
        self.forget(part);
    }

    fn vm(&mut self, id: Id, nics: &[Nic], image: Option<ImageId>, offering: Option<OfferingId>) {
        for nic in nics {
            self.add(Relation::VmsOnL3, nic.l3_network, id);
            self.add(Relation::OwnerOfNic, nic.nic, id);
        }
        if let Some(image) = image {
            self.add(Relation::VmsOfImage, image, id);
        }
        if let Some(offering) = offering {
            self.add(Relation::VmsOfOffering, offering, id);
        }
    }

    fn router_nic(&mut self, id: Id, nic: &Nic) {
        self.add(Relation::RoutersOnL3, nic.l3_network, id);
        self.add(Relation::OwnerOfNic, nic.nic, id);
        if nic.is(Nic::PUBLIC) {
            self.add(Relation::RouterOfSystemVip, system_vip_id(nic.nic), id);
        }
        if nic.is(Nic::GUEST) {
            self.add(Relation::RoutersOfGuest, nic.l3_network, id);
        }
    }

    /// Whether such an event can change a set. The others need not be read.
    pub fn may_bear(head: &EventHead<'_>) -> bool {
        head.version == 1
            || match head.stream.kind {
                StreamKind::L2Network
                | StreamKind::LoadBalancer
                | StreamKind::AccessControlList
                | StreamKind::TagSet
                | StreamKind::Ownership
                | StreamKind::Role
                | StreamKind::SecurityGroup => true,
                StreamKind::L3Network if matches!(head.name, "RangeReserved" | "RangeUnreserved") => true,
                StreamKind::Eip | StreamKind::PortForwarding if matches!(head.name, "Attached" | "Detached") => true,
                StreamKind::Offering | StreamKind::Account if head.name == "Updated" => true,
                StreamKind::Account if head.name.starts_with("AccessKey") || head.name.starts_with("ApiToken") => true,
                StreamKind::VmInstance | StreamKind::Router if head.name == "StartRequested" => true,
                StreamKind::VmInstance if matches!(head.name, "NicChanged" | "Recovered") => true,
                StreamKind::VmInstance | StreamKind::Router if head.name.starts_with("Nic") => true,
                _ => matches!(head.name, "Created" | "Added" | "Deleted" | "Destroyed"),
            }
    }

    /// Takes the next event of the log.
    pub fn apply(&mut self, recorded: &Recorded) {
        use Relation::*;
        let id = recorded.stream.id;
        let beside = [StreamKind::TagSet, StreamKind::ResourceConfig, StreamKind::Ownership];
        if recorded.version == 1 && !beside.contains(&recorded.stream.kind) {
            self.add(All(recorded.stream.kind), Id::NIL, id);
        }
        match &recorded.event {
            Event::Account(AccountEvent::Deleted {}) => {
                let keys = self.memberships.get(&id).into_iter().flatten();
                let keys: Vec<Id> = keys.filter(|key| key.0 == AccountOfCredential).map(|key| key.1).collect();
                keys.into_iter().for_each(|key| self.forget(key));
                self.forget(id);
            }
            Event::LoadBalancer(LoadBalancerEvent::Deleted { .. }) => {
                let own: Vec<Id> = self.members((PartsOfLoadBalancer, id)).collect();
                own.into_iter().for_each(|part| self.part_gone(part, id));
                self.forget(id);
            }
            event if deletes(event) => self.forget(id),
            Event::VmInstance(VmInstanceEvent::Destroyed { .. }) | Event::Router(RouterEvent::Destroyed { .. }) => {
                let keys = self.memberships.get(&id).into_iter().flatten();
                let nics: Vec<Id> = keys.filter(|key| key.0 == OwnerOfNic).map(|key| key.1).collect();
                nics.into_iter().for_each(|nic| self.forget(nic));
                self.forget(id);
            }
            Event::Cluster(ClusterEvent::Created { zone, .. }) => self.add(ClustersOfZone, *zone, id),
            Event::Host(HostEvent::Added { cluster, management_ip, .. }) => {
                self.add(HostsOfCluster, *cluster, id);
                self.add(HostsAtAddress, address_owner(*management_ip), id);
            }
            Event::L2Network(L2NetworkEvent::Created { zone, .. }) => self.add(L2sOfZone, *zone, id),
            Event::L2Network(
                L2NetworkEvent::AttachRequested { cluster, .. } | L2NetworkEvent::Attached { cluster },
            ) => self.add(L2sOfCluster, *cluster, id),
            Event::L2Network(L2NetworkEvent::AttachFailed { cluster, .. } | L2NetworkEvent::Detached { cluster }) => {
                self.remove((L2sOfCluster, cluster.0), id)
            }
            Event::L3Network(L3NetworkEvent::Created { l2_network, .. }) => self.add(L3sOfL2, *l2_network, id),
            Event::L3Network(L3NetworkEvent::RangeReserved { reserved_range, .. }) => {
                self.add(L3OfReservedRange, *reserved_range, id);
            }
            Event::L3Network(L3NetworkEvent::RangeUnreserved { reserved_range }) => {
                self.remove((L3OfReservedRange, *reserved_range), id);
            }
            Event::IpRange(IpRangeEvent::Created { l3_network, .. } | IpRangeEvent::Ipv6Created { l3_network, .. }) => {
                self.add(RangesOfL3, *l3_network, id)
            }
            Event::Offering(OfferingEvent::Created { router: Some(terms), .. }) => {
                self.add(RouterOfferingsOfZone, terms.zone, id);
                self.add(OfferingsOnL3, terms.management_network, id);
                self.add(OfferingsOnL3, terms.public_network, id);
                self.add(OfferingsOfImage, terms.image, id);
            }
            Event::Offering(OfferingEvent::Updated { image: Some(image), .. }) => {
                self.move_to(OfferingsOfImage, *image, id);
            }
            Event::VmInstance(VmInstanceEvent::Created { host, nics, image, offering, .. }) => {
                self.add(VmsOnHost, *host, id);
                self.vm(id, nics, *image, *offering);
            }
            Event::VmInstance(VmInstanceEvent::Recovered { host, nics, image, offering, .. }) => {
                self.add(All(StreamKind::VmInstance), Id::NIL, id);
                self.add(VmsOnHost, *host, id);
                self.vm(id, nics, *image, *offering);
            }
            Event::VmInstance(VmInstanceEvent::StartRequested { host, .. }) => self.move_to(VmsOnHost, *host, id),
            Event::VmInstance(VmInstanceEvent::NicDetached { nic, l3_network, .. }) => {
                self.remove((VmsOnL3, l3_network.0), id);
                self.remove((OwnerOfNic, nic.0), id);
                self.forget(nic.0);
            }
            Event::VmInstance(VmInstanceEvent::NicSecurityChanged { nic, groups, .. }) => {
                self.remove_where(nic.0, |key| key.0 == NicsOfGroup);
                groups.iter().for_each(|group| self.add(NicsOfGroup, *group, nic.0));
            }
            Event::VmInstance(VmInstanceEvent::NicAttached { nic, .. }) => {
                self.add(VmsOnL3, nic.l3_network, id);
                self.add(OwnerOfNic, nic.nic, id);
            }
            Event::VmInstance(VmInstanceEvent::NicChanged { nic, from, .. }) => {
                self.remove((VmsOnL3, from.0), id);
                self.add(VmsOnL3, nic.l3_network, id);
            }
            Event::Router(RouterEvent::Created { host, nics, .. }) => {
                self.add(RoutersOnHost, *host, id);
                for nic in nics {
                    self.router_nic(id, nic);
                }
            }
            Event::Router(RouterEvent::NicAttached { nic }) => self.router_nic(id, nic),
            Event::Router(RouterEvent::NicDetached { nic, l3_network }) => {
                self.remove((RoutersOnL3, l3_network.0), id);
                self.remove((RoutersOfGuest, l3_network.0), id);
                self.remove((OwnerOfNic, nic.0), id);
            }
            Event::Router(RouterEvent::StartRequested { host, .. } | RouterEvent::Moved { host, .. }) => {
                self.move_to(RoutersOnHost, *host, id)
            }
            Event::LoadBalancer(LoadBalancerEvent::Created { at, .. }) => {
                self.add(ServicesOfVip(VipUse::LoadBalancer), at.vip, id);
            }
            Event::LoadBalancer(event) => self.load_balancer(id, event),
            Event::AccessControlList(
                AccessControlListEvent::EntryAdded { entry, .. } | AccessControlListEvent::RuleAdded { entry, .. },
            ) => self.add(AccessListOfEntry, *entry, id),
            Event::AccessControlList(AccessControlListEvent::EntryRemoved { entry }) => {
                self.remove((AccessListOfEntry, entry.0), id);
            }
            Event::Vip(VipEvent::Created { l3_network, .. }) => self.add(VipsOnL3, *l3_network, id),
            Event::Eip(EipEvent::Created { at, .. }) => self.add(ServicesOfVip(VipUse::Eip), at.vip, id),
            Event::Eip(EipEvent::Attached { to, .. }) => self.add(ServicesOfNic(VipUse::Eip), to.nic, id),
            Event::Eip(EipEvent::Detached { from, .. }) => {
                self.remove((ServicesOfNic(VipUse::Eip), from.nic.0), id);
            }
            Event::PortForwarding(PortForwardingEvent::Created { at, .. }) => {
                self.add(ServicesOfVip(VipUse::PortForwarding), at.vip, id);
            }
            Event::PortForwarding(PortForwardingEvent::Attached { to, .. }) => {
                self.add(ServicesOfNic(VipUse::PortForwarding), to.nic, id);
            }
            Event::PortForwarding(PortForwardingEvent::Detached { from, .. }) => {
                self.remove((ServicesOfNic(VipUse::PortForwarding), from.nic.0), id);
            }
            Event::Account(AccountEvent::Created { name, .. }) => self.add(AccountsNamed, name_owner(name), id),
            Event::Account(AccountEvent::Updated { name: Some(name), .. }) => {
                self.move_to(AccountsNamed, name_owner(name), id);
            }
            Event::Account(AccountEvent::AccessKeyCreated { access_key, key_id, .. }) => {
                self.add(AccountOfCredential, *access_key, id);
                self.add(KeysWithId, key_owner(key_id), access_key.0);
            }
            Event::Account(AccountEvent::AccessKeyDeleted { access_key }) => {
                self.remove((AccountOfCredential, access_key.0), id);
                self.forget(access_key.0);
            }
            Event::Account(AccountEvent::ApiTokenCreated { api_token, digest, .. }) => {
                self.add(AccountOfCredential, *api_token, id);
                self.add(TokensWithDigest, *digest, api_token.0);
            }
            Event::Account(AccountEvent::ApiTokenDeleted { api_token }) => {
                self.remove((AccountOfCredential, api_token.0), id);
                self.forget(api_token.0);
            }
            Event::Role(RoleEvent::Created { policies, .. }) => {
                policies.iter().for_each(|policy| self.add(RolesWithPolicy, *policy, id));
            }
            Event::Role(RoleEvent::PolicyAttached { policy }) => self.add(RolesWithPolicy, *policy, id),
            Event::Role(RoleEvent::PolicyDetached { policy }) => self.remove((RolesWithPolicy, policy.0), id),
            Event::Role(RoleEvent::AccountAttached { account }) => self.add(RolesOfAccount, *account, id),
            Event::Role(RoleEvent::AccountDetached { account }) => self.remove((RolesOfAccount, account.0), id),
            Event::SecurityGroup(event) => self.security_group(id, event),
            Event::Ownership(event) => self.ownership(id, event),
            Event::TagSet(TagSetEvent::Created { tag, refers_to, .. }) => {
                self.add(ResourceOfTag, *tag, id);
                refers_to.iter().for_each(|named| self.add(TagsNaming, *named, tag.0));
            }
            Event::TagSet(TagSetEvent::Updated { tag, refers_to, .. }) => {
                self.forget(tag.0);
                refers_to.iter().for_each(|named| self.add(TagsNaming, *named, tag.0));
            }
            Event::TagSet(TagSetEvent::Deleted { tag }) => {
                self.remove((ResourceOfTag, tag.0), id);
                self.forget(tag.0);
            }
            _ => {}
        }
    }
}
