//! The sum of all events, with their names, schema versions, tags and codec.

use crate::*;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

macro_rules! events {
    ($($variant:ident($event:ty) = $stream:ident),* $(,)?) => {
        /// What happened, in any concept.
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
        #[serde(untagged)]
        #[allow(missing_docs)]
        pub enum Event { $($variant($event)),* }

        $(impl From<$event> for Event {
            fn from(event: $event) -> Event { Event::$variant(event) }
        })*

        /// The schema of each concept's events.
        pub(crate) fn schemas(generator: &mut SchemaGenerator) -> Vec<(StreamKind, Schema)> {
            vec![$((StreamKind::$stream, <$event>::json_schema(generator))),*]
        }

        impl Event {
            /// The kind of stream that the event belongs to.
            pub fn stream_kind(&self) -> StreamKind {
                match self { $(Event::$variant(_) => StreamKind::$stream),* }
            }

            /// The payload, a MessagePack map from the event's name to its named fields.
            pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
                match self { $(Event::$variant(event) => pack(event)),* }
            }

            /// Reads a payload of schema version `schema`, brought to today's shape by the upcasters.
            ///
            /// # Errors
            /// [`CodecError::Newer`] for a version that this program does not know, [`CodecError::Decode`] for
            /// bytes that are no such event.
            pub fn decode(stream: StreamKind, schema: u16, payload: &[u8]) -> Result<Event, CodecError> {
                let payload = upcast::to_current(stream, schema, payload)?;
                match stream { $(StreamKind::$stream => unpack::<$event>(&payload).map(Event::$variant)),* }
            }

            /// The name within the concept: `Created`.
            pub fn name(&self) -> &'static str {
                // Events are enums, whose variants always have a name.
                match self { $(Event::$variant(event) => serde_variant::to_variant_name(event).unwrap_or_default()),* }
            }

            fn text(&self) -> String {
                match self { $(Event::$variant(event) => serde_json::to_string(event).unwrap_or_default()),* }
            }

            fn value(&self) -> serde_json::Value {
                match self { $(Event::$variant(event) => serde_json::to_value(event).unwrap_or_default()),* }
            }
        }
    };
}

events! {
    Zone(ZoneEvent) = Zone,
    Cluster(ClusterEvent) = Cluster,
    Host(HostEvent) = Host,
    Image(ImageEvent) = Image,
    L2Network(L2NetworkEvent) = L2Network,
    L3Network(L3NetworkEvent) = L3Network,
    IpRange(IpRangeEvent) = IpRange,
    MacBlock(MacBlockEvent) = MacBlock,
    NetworkServiceProvider(NetworkServiceProviderEvent) = NetworkServiceProvider,
    Offering(OfferingEvent) = Offering,
    VmInstance(VmInstanceEvent) = VmInstance,
    Router(RouterEvent) = Router,
    LoadBalancer(LoadBalancerEvent) = LoadBalancer,
    Certificate(CertificateEvent) = Certificate,
    AccessControlList(AccessControlListEvent) = AccessControlList,
    Vip(VipEvent) = Vip,
    Eip(EipEvent) = Eip,
    PortForwarding(PortForwardingEvent) = PortForwarding,
    TagSet(TagSetEvent) = TagSet,
    GlobalConfig(GlobalConfigEvent) = GlobalConfig,
    ResourceConfig(ResourceConfigEvent) = ResourceConfig,
    Account(AccountEvent) = Account,
    Policy(PolicyEvent) = Policy,
    Role(RoleEvent) = Role,
    Ownership(OwnershipEvent) = Ownership,
    SecurityGroup(SecurityGroupEvent) = SecurityGroup,
}

/// Why an event could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The value has no MessagePack form.
    #[error("encode an event: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    /// The bytes are not the event that the envelope says.
    #[error("decode an event: {0}")]
    Decode(#[from] rmp_serde::decode::Error),
    /// The event was written by a later version of this program.
    #[error("event of {stream} has schema version {found}, this program knows versions up to {known}: use a newer one")]
    Newer {
        /// The stem of the concept.
        stream: &'static str,
        /// The version found.
        found: u16,
        /// The newest version known here.
        known: u16,
    },
}

fn pack<T: Serialize>(event: &T) -> Result<Vec<u8>, CodecError> {
    // Room for most of them.
    let mut payload = Vec::with_capacity(128);
    rmp_serde::encode::write_named(&mut payload, event)?;
    Ok(payload)
}

fn unpack<T: DeserializeOwned>(payload: &[u8]) -> Result<T, CodecError> {
    Ok(rmp_serde::from_slice(payload)?)
}

impl Event {
    /// What happened, as `<stem>.<Name>`: `zone.Created`.
    pub fn kind(&self) -> String {
        format!("{}.{}", self.stream_kind().stem(), self.name())
    }

    /// The event's own fields.
    pub fn to_json(&self) -> serde_json::Value {
        match self.value() {
            serde_json::Value::Object(map) => map.into_iter().next().map(|(_, fields)| fields).unwrap_or_default(),
            other => other,
        }
    }

    /// The same as JSON text, with no value of it in between.
    pub fn to_json_text(&self) -> String {
        let text = self.text();
        // What stands in it is `{"Created":…}`.
        let fields = text.strip_prefix("{\"").and_then(|text| text.strip_prefix(self.name())?.strip_prefix("\":"));
        fields.and_then(|text| text.strip_suffix('}')).map(str::to_string).unwrap_or(text)
    }

    /// The schema version that this program writes.
    pub fn schema(&self) -> u16 {
        upcast::current(self.stream_kind())
    }

    /// Every resource that the event touches besides its own stream's: what audit finds it by, and what a
    /// router's fold reads.
    pub fn touches(&self) -> Vec<Id> {
        let nics = |nics: &[Nic]| nics.iter().flat_map(|nic| [nic.nic.0, nic.l3_network.0]).collect::<Vec<_>>();
        let l3s = |l3s: &[L3NetworkId]| l3s.iter().map(|l3| l3.0).collect::<Vec<_>>();
        let served = |at: &VipPlace, nic: Option<&ServedNic>| {
            std::iter::once(at.vip.0).chain(nic.into_iter().flat_map(ServedNic::ids)).collect::<Vec<_>>()
        };
        let mut ids = match self {
            Event::Cluster(ClusterEvent::Created { zone, .. }) => vec![zone.0],
            Event::Host(HostEvent::Added { zone, cluster, .. }) => vec![zone.0, cluster.0],
            Event::L2Network(event) => match event {
                L2NetworkEvent::Created { zone, .. } => vec![zone.0],
                L2NetworkEvent::AttachRequested { cluster, .. }
                | L2NetworkEvent::Attached { cluster }
                | L2NetworkEvent::AttachFailed { cluster, .. }
                | L2NetworkEvent::Detached { cluster } => vec![cluster.0],
                L2NetworkEvent::ProviderAttached { provider } | L2NetworkEvent::ProviderDetached { provider } => {
                    vec![provider.0]
                }
                _ => vec![],
            },
            Event::L3Network(event) => match event {
                L3NetworkEvent::Created { zone, l2_network, .. } => vec![zone.0, l2_network.0],
                L3NetworkEvent::ServicesAttached { provider, .. }
                | L3NetworkEvent::ServicesDetached { provider, .. } => vec![provider.0],
                L3NetworkEvent::RangeReserved { reserved_range, .. }
                | L3NetworkEvent::RangeUnreserved { reserved_range } => vec![*reserved_range],
                _ => vec![],
            },
            Event::IpRange(event) => match event {
                IpRangeEvent::Created { l3_network, l2_network, .. }
                | IpRangeEvent::Ipv6Created { l3_network, l2_network, .. } => vec![l3_network.0, l2_network.0],
                IpRangeEvent::AddressAllocated { used_ip, nic, owner, .. }
                | IpRangeEvent::AddressReleased { used_ip, nic, owner, .. } => {
                    let held = [*used_ip, nic.0, *owner];
                    held.into_iter().filter(|id| *id != Id::NIL).collect()
                }
                IpRangeEvent::Deleted { l3_network } => vec![l3_network.0],
                IpRangeEvent::Updated { .. }
                | IpRangeEvent::AddressesReserved { .. }
                | IpRangeEvent::AddressesUnreserved { .. }
                | IpRangeEvent::CursorMoved { .. } => vec![],
            },
            Event::MacBlock(MacBlockEvent::Allocated { nic, .. } | MacBlockEvent::Released { nic, .. }) => vec![nic.0],
            Event::Offering(OfferingEvent::Created { router: Some(terms), .. }) => {
                vec![terms.zone.0, terms.management_network.0, terms.public_network.0, terms.image.0]
            }
            Event::VmInstance(event) => match event {
                VmInstanceEvent::Created { zone, cluster, host, image, offering, nics: own, .. } => {
                    let mut ids = vec![zone.0, cluster.0, host.0];
                    ids.extend(image.map(Id::from));
                    ids.extend(offering.map(Id::from));
                    ids.extend(nics(own));
                    ids
                }
                VmInstanceEvent::StartRequested { host, cluster, l3_networks } => {
                    let mut ids = vec![host.0, cluster.0];
                    ids.extend(l3s(l3_networks));
                    ids
                }
                VmInstanceEvent::StopRequested { l3_networks }
                | VmInstanceEvent::RebootRequested { l3_networks }
                | VmInstanceEvent::DestroyRequested { l3_networks }
                | VmInstanceEvent::Stopped { l3_networks }
                | VmInstanceEvent::OperationFailed { l3_networks, .. }
                | VmInstanceEvent::HostnameChanged { l3_networks, .. }
                | VmInstanceEvent::UserdataChanged { l3_networks, .. }
                | VmInstanceEvent::PasswordChanged { l3_networks, .. }
                | VmInstanceEvent::Destroyed { l3_networks, .. } => l3s(l3_networks),
                VmInstanceEvent::Started { host } => vec![host.0],
                VmInstanceEvent::NicDetached { nic, l3_network, .. }
                | VmInstanceEvent::NicAddressesChanged { nic, l3_network, .. } => vec![nic.0, l3_network.0],
                VmInstanceEvent::NicAttached { nic, .. } => nics(std::slice::from_ref(nic)),
                VmInstanceEvent::NicChanged { nic, from, .. } => {
                    let mut ids = nics(std::slice::from_ref(nic));
                    ids.push(from.0);
                    ids
                }
                VmInstanceEvent::NicStateChanged { nic, .. } => vec![nic.0],
                VmInstanceEvent::NicSecurityChanged { nic, groups, .. } => {
                    std::iter::once(nic.0).chain(groups.iter().map(|group| group.0)).collect()
                }
                VmInstanceEvent::Recovered { host, image, offering, nics: own, .. } => {
                    let mut ids = vec![host.0];
                    ids.extend(image.map(Id::from));
                    ids.extend(offering.map(Id::from));
                    ids.extend(nics(own));
                    ids
                }
                VmInstanceEvent::Updated { .. }
                | VmInstanceEvent::Expunged {}
                | VmInstanceEvent::Paused {}
                | VmInstanceEvent::Resumed {} => vec![],
            },
            Event::Router(event) => match event {
                RouterEvent::Created { zone, cluster, host, offering, image, nics: own, .. } => {
                    let mut ids = vec![zone.0, cluster.0, host.0, offering.0, image.0];
                    ids.extend(nics(own));
                    ids
                }
                RouterEvent::StartRequested { host, cluster } => vec![host.0, cluster.0],
                RouterEvent::NicAttached { nic } | RouterEvent::NicChanged { nic } => nics(std::slice::from_ref(nic)),
                RouterEvent::NicDetached { nic, l3_network } => vec![nic.0, l3_network.0],
                RouterEvent::DestroyRequested { l3_networks } | RouterEvent::Destroyed { l3_networks } => {
                    l3s(l3_networks)
                }
                _ => vec![],
            },
            Event::Certificate(_) => vec![],
            Event::AccessControlList(event) => match event {
                AccessControlListEvent::EntryAdded { entry, .. }
                | AccessControlListEvent::RuleAdded { entry, .. }
                | AccessControlListEvent::RuleRenamed { entry, .. }
                | AccessControlListEvent::EntryRemoved { entry } => vec![entry.0],
                AccessControlListEvent::Created { .. } | AccessControlListEvent::Deleted {} => vec![],
            },
            Event::LoadBalancer(event) => match event {
                LoadBalancerEvent::Created { at, .. } => vec![at.vip.0, at.l3_network.0],
                LoadBalancerEvent::Deleted { vip, l3_networks } => {
                    let mut ids = vec![vip.0];
                    ids.extend(l3s(l3_networks));
                    ids
                }
                LoadBalancerEvent::ListenerCreated { listener, group, l3_networks, .. }
                | LoadBalancerEvent::ListenerDeleted { listener, group, l3_networks }
                | LoadBalancerEvent::GroupAdded { listener, group, l3_networks }
                | LoadBalancerEvent::GroupRemoved { listener, group, l3_networks } => {
                    let mut ids = vec![listener.0, group.0];
                    ids.extend(l3s(l3_networks));
                    ids
                }
                LoadBalancerEvent::ListenerChanged { listener, l3_networks, .. } => {
                    let mut ids = vec![listener.0];
                    ids.extend(l3s(l3_networks));
                    ids
                }
                LoadBalancerEvent::ListenerUpdated { listener, .. } => vec![listener.0],
                LoadBalancerEvent::GroupCreated { group, .. }
                | LoadBalancerEvent::GroupUpdated { group, .. }
                | LoadBalancerEvent::GroupDeleted { group } => vec![group.0],
                LoadBalancerEvent::MembersPut { group, listener, members, l3_networks } => {
                    let mut ids = vec![group.0];
                    ids.extend(listener.map(|listener| listener.0));
                    ids.extend(members.iter().flat_map(|member| [member.to.nic.0, member.to.vm.0]));
                    ids.extend(l3s(l3_networks));
                    ids
                }
                LoadBalancerEvent::MembersRemoved { group, listener, nics, l3_networks } => {
                    let mut ids = vec![group.0];
                    ids.extend(listener.map(|listener| listener.0));
                    ids.extend(nics.iter().map(|nic| nic.0));
                    ids.extend(l3s(l3_networks));
                    ids
                }
                LoadBalancerEvent::CertificateAdded { listener, certificate, l3_networks, .. }
                | LoadBalancerEvent::CertificateRemoved { listener, certificate, l3_networks } => {
                    let mut ids = vec![listener.0, certificate.0];
                    ids.extend(l3s(l3_networks));
                    ids
                }
                LoadBalancerEvent::AccessListPut { listener, list, access, l3_networks } => {
                    let mut ids = vec![listener.0, list.0];
                    if let ListenerAccess::Redirect { groups, .. } = access {
                        ids.extend(groups.iter().map(|group| group.0));
                    }
                    ids.extend(l3s(l3_networks));
                    ids
                }
                LoadBalancerEvent::AccessListChanged { list, listeners, l3_networks, .. } => {
                    let mut ids = vec![list.0];
                    ids.extend(listeners.iter().map(|listener| listener.0));
                    ids.extend(l3s(l3_networks));
                    ids
                }
                LoadBalancerEvent::AccessListRemoved { listener, list, l3_networks } => {
                    let mut ids = vec![listener.0, list.0];
                    ids.extend(l3s(l3_networks));
                    ids
                }
                LoadBalancerEvent::Updated { .. } => vec![],
            },
            Event::Vip(VipEvent::Created { l3_network, address, .. }) => {
                vec![l3_network.0, address.ip_range.0, address.used_ip]
            }
            Event::Vip(VipEvent::Deleted { l3_network }) => vec![l3_network.0],
            // Which router will serve the VIP is not known yet.
            Event::Vip(VipEvent::QosSet { l3_network, .. } | VipEvent::QosDeleted { l3_network, .. }) => {
                vec![l3_network.0]
            }
            // Not the VIP's network: every router on it would read what concerns one.
            Event::Eip(event) => match event {
                EipEvent::Created { at, .. } => vec![at.vip.0, at.l3_network.0],
                EipEvent::Updated { .. } => vec![],
                EipEvent::StateChanged { guest_network, .. } => guest_network.iter().map(|l3| l3.0).collect(),
                EipEvent::Attached { at, to: nic } | EipEvent::Detached { at, from: nic } => served(at, Some(nic)),
                EipEvent::Deleted { at, from } => served(at, from.as_ref()),
            },
            Event::PortForwarding(event) => match event {
                PortForwardingEvent::Created { at, .. } => vec![at.vip.0, at.l3_network.0],
                PortForwardingEvent::Updated { .. } => vec![],
                PortForwardingEvent::StateChanged { guest_network, .. } => {
                    guest_network.iter().map(|l3| l3.0).collect()
                }
                PortForwardingEvent::Attached { at, to: nic, .. } | PortForwardingEvent::Detached { at, from: nic } => {
                    served(at, Some(nic))
                }
                PortForwardingEvent::Deleted { at, from } => served(at, from.as_ref()),
            },
            Event::TagSet(event) => match event {
                TagSetEvent::Created { tag, refers_to, .. } | TagSetEvent::Updated { tag, refers_to, .. } => {
                    let mut ids = vec![tag.0];
                    ids.extend(refers_to);
                    ids
                }
                TagSetEvent::Deleted { tag } => vec![tag.0],
            },
            Event::Account(event) => match event {
                AccountEvent::AccessKeyCreated { access_key, .. }
                | AccountEvent::AccessKeyStateChanged { access_key, .. }
                | AccountEvent::AccessKeyDeleted { access_key } => vec![access_key.0],
                AccountEvent::ApiTokenCreated { api_token, .. } | AccountEvent::ApiTokenDeleted { api_token } => {
                    vec![api_token.0]
                }
                _ => vec![],
            },
            Event::Role(event) => match event {
                RoleEvent::Created { policies, .. } => policies.iter().map(|policy| policy.0).collect(),
                RoleEvent::PolicyAttached { policy } | RoleEvent::PolicyDetached { policy } => vec![policy.0],
                RoleEvent::AccountAttached { account } | RoleEvent::AccountDetached { account } => vec![account.0],
                RoleEvent::Updated { .. } | RoleEvent::Deleted {} => vec![],
            },
            Event::SecurityGroup(event) => match event {
                SecurityGroupEvent::Created { rules, .. } => rules.iter().map(|rule| rule.rule.0).collect(),
                SecurityGroupEvent::RulesChanged { rules, deleted, remotes } => {
                    let rules = rules.iter().map(|rule| rule.rule.0).chain(deleted.iter().map(|rule| rule.0));
                    rules.chain(remotes.iter().map(|group| group.0)).collect()
                }
                SecurityGroupEvent::AttachedToL3Network { l3_network }
                | SecurityGroupEvent::DetachedFromL3Network { l3_network } => vec![l3_network.0],
                _ => vec![],
            },
            Event::Ownership(OwnershipEvent::Owned { account, .. }) => vec![account.0],
            Event::Ownership(OwnershipEvent::Shared { accounts, .. } | OwnershipEvent::Unshared { accounts }) => {
                accounts.iter().map(|account| account.0).collect()
            }
            _ => vec![],
        };
        let mut seen = std::collections::BTreeSet::new();
        ids.retain(|id| seen.insert(*id));
        ids
    }

    /// The tags of the event on the stream `stream`: the stream's own id, then what it touches.
    pub fn tags(&self, stream: StreamKey) -> Vec<Id> {
        let mut tags = vec![stream.id];
        tags.extend(self.touches().into_iter().filter(|id| *id != stream.id));
        tags
    }
}
