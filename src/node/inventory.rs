//! Inventories for replies: of queries, and of what a command made.

use super::Node;
use switchback_bus::Message;
use switchback_events::{
    AccessControlListEvent, AccountEvent, AccountId, Commit, Event, GlobalConfigEvent, Id, IpRangeEvent,
    L3NetworkEvent, LoadBalancerEvent, OwnershipEvent, Recorded, ResourceConfigEvent, SecurityGroupEvent, StreamKind,
    TagSetEvent, TagType, VipEvent, VipId, VmInstanceEvent, nic_policy_row, nic_security_row, ownership_row, quota_row,
    vip_qos_id,
};
use switchback_projections::{Query, catalogue};

/// The listener, or the server group, that an event of a load balancer is about.
fn part(inventory: &'static str, event: &Recorded) -> Option<(&'static str, Id)> {
    use LoadBalancerEvent::*;
    let Event::LoadBalancer(event) = &event.event else { return None };
    let part = match (inventory, event) {
        (
            "loadBalancerListener",
            ListenerCreated { listener, .. }
            | ListenerUpdated { listener, .. }
            | ListenerChanged { listener, .. }
            | CertificateAdded { listener, .. }
            | CertificateRemoved { listener, .. }
            | GroupAdded { listener, .. }
            | GroupRemoved { listener, .. }
            | AccessListPut { listener, .. }
            | AccessListRemoved { listener, .. },
        ) => Some(listener.0),
        ("loadBalancerListener", MembersPut { listener, .. } | MembersRemoved { listener, .. }) => {
            listener.map(|listener| listener.0)
        }
        (
            "loadBalancerServerGroup",
            GroupCreated { group, .. }
            | GroupUpdated { group, .. }
            | MembersPut { group, .. }
            | MembersRemoved { group, .. },
        ) => Some(group.0),
        _ => None,
    };
    part.map(|part| (inventory, part))
}

/// The inventories that a commit is about, by kind: what the reply of its command shows.
pub(super) fn shown(message: &Message, commit: &Commit) -> Vec<(&'static str, Id)> {
    if message.inventory.is_empty() {
        return vec![];
    }
    if matches!(message.inventory, "loadBalancerListener" | "loadBalancerServerGroup") {
        return commit.events.iter().find_map(|event| part(message.inventory, event)).into_iter().collect();
    }
    let Some(first) = commit.events.first() else { return vec![] };
    let id = first.stream.id;
    if let ("nic", Event::VmInstance(VmInstanceEvent::NicStateChanged { nic, .. })) = (message.inventory, &first.event)
    {
        return vec![("nic", nic.0)];
    }
    if let Event::VmInstance(VmInstanceEvent::NicSecurityChanged { nic, groups, .. }) =
        commit.events.iter().map(|event| &event.event).find(|event| secures(event)).unwrap_or(&first.event)
        && message.inventory.starts_with("vmNic")
    {
        return match message.inventory {
            "vmNicSecurityPolicy" => vec![("vmNicSecurityPolicy", nic_policy_row(*nic))],
            _ => groups.iter().map(|group| ("vmNicInSecurityGroup", nic_security_row(*nic, *group))).collect(),
        };
    }
    if let ("securityGroupRule", Event::SecurityGroup(SecurityGroupEvent::RulesChanged { rules, .. })) =
        (message.inventory, &first.event)
    {
        return rules.iter().take(1).map(|rule| ("securityGroupRule", rule.rule.0)).collect();
    }
    if let (
        "accessControlListEntry",
        Event::AccessControlList(
            AccessControlListEvent::EntryAdded { entry, .. }
            | AccessControlListEvent::RuleAdded { entry, .. }
            | AccessControlListEvent::RuleRenamed { entry, .. },
        ),
    ) = (message.inventory, &first.event)
    {
        return vec![("accessControlListEntry", entry.0)];
    }
    if matches!(first.event, Event::TagSet(_)) && message.inventory.ends_with("Tag") {
        let tags = commit.events.iter().filter_map(|event| match &event.event {
            Event::TagSet(TagSetEvent::Created { tag, tag_type: TagType::User, .. }) => Some(("userTag", tag.0)),
            Event::TagSet(TagSetEvent::Created { tag, .. } | TagSetEvent::Updated { tag, .. }) => {
                Some(("systemTag", tag.0))
            }
            _ => None,
        });
        return tags.collect();
    }
    if let Event::L3Network(L3NetworkEvent::RangeReserved { reserved_range, .. }) = &first.event {
        return vec![("reservedIpRange", *reserved_range)];
    }
    if let Event::Vip(VipEvent::QosSet { port, .. }) = &first.event {
        return vec![("vipQos", vip_qos_id(VipId(id), *port))];
    }
    if let Event::Ownership(event) = &first.event {
        return match event {
            OwnershipEvent::Owned { .. } => vec![("accountResourceRef", ownership_row(id))],
            OwnershipEvent::QuotaChanged { name, .. } => vec![("quota", quota_row(AccountId(id), name))],
            _ => vec![],
        };
    }
    if let Event::GlobalConfig(GlobalConfigEvent::Changed { category, name, .. }) = &first.event {
        return vec![("globalConfig", switchback_actors::global_config::entry_id(category, name))];
    }
    if let Event::ResourceConfig(ResourceConfigEvent::Changed { category, name, .. }) = &first.event {
        return vec![("resourceConfig", switchback_actors::resource_config::row_id(id, category, name))];
    }
    match &first.event {
        Event::Account(
            AccountEvent::AccessKeyCreated { access_key, .. } | AccountEvent::AccessKeyStateChanged { access_key, .. },
        ) => return vec![("accessKey", access_key.0)],
        Event::Account(AccountEvent::ApiTokenCreated { api_token, .. }) => return vec![("apiToken", api_token.0)],
        _ => {}
    }
    let ranges: Vec<_> = commit
        .events
        .iter()
        .filter(|event| matches!(event.event, Event::IpRange(IpRangeEvent::Created { .. })))
        .map(|event| ("ipRange", event.stream.id))
        .collect();
    if !ranges.is_empty() {
        return ranges;
    }
    let kind = match first.stream.kind {
        StreamKind::Router => "virtualRouter",
        _ => message.inventory,
    };
    vec![(kind, id)]
}

fn secures(event: &Event) -> bool {
    matches!(event, Event::VmInstance(VmInstanceEvent::NicSecurityChanged { .. }))
}

impl Node {
    /// The inventory `id` of `kind` as the inventories know it now.
    pub(super) async fn inventory(&self, kind: &str, id: Id) -> Option<serde_json::Value> {
        let kind = catalogue::kind(kind)?;
        let condition = if kind.name == "globalConfig" {
            let entry = switchback_bus::GLOBAL_CONFIGS
                .iter()
                .find(|entry| switchback_actors::global_config::entry_id(entry.category, entry.name) == id)?;
            vec![format!("category={}", entry.category), format!("name={}", entry.name)]
        } else {
            vec![format!("uuid={id}")]
        };
        let query = Query { conditions: condition, limit: Some(1), ..Query::new(kind) };
        if let Some(answer) = self.projections.query_at_once(&query) {
            return answer.ok()?.rows().pop();
        }
        let projections = self.projections.clone();
        tokio::task::spawn_blocking(move || projections.query(&query)).await.ok()?.ok()?.rows().pop()
    }
}
