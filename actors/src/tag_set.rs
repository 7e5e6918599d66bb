//! The tags of one resource. System tags have patterns; what they name must exist.

use crate::{context::Context, decision::Decision, directory::Relation, facts::Facts, rules, *};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use switchback_bus::{CreateSystemTag, CreateUserTag, DeleteTag, Refusal, tag_id};
use switchback_events::*;

/// The tags of one resource.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct TagSet {
    pub tags: BTreeMap<TagId, (TagKind, String)>,
}

/// Whose tag it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum TagKind {
    User,
    System,
}

impl TagSet {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &TagSetEvent, _version: Version) {
        match event {
            TagSetEvent::Created { tag, tag_type, text, .. } => {
                let kind = if *tag_type == TagType::User { TagKind::User } else { TagKind::System };
                self.tags.insert(*tag, (kind, text.clone()));
            }
            TagSetEvent::Deleted { tag } => {
                self.tags.remove(tag);
            }
        }
    }

    /// The values of the system tags `name::value`.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.tags.values().filter_map(move |(kind, text)| match kind {
            TagKind::System => text.strip_prefix(name)?.strip_prefix("::"),
            TagKind::User => None,
        })
    }
}

/// The kinds of resource that a tag may be on, by the reference's names.
fn stream_kind(resource_type: &str) -> Option<StreamKind> {
    Some(match resource_type {
        "ZoneVO" => StreamKind::Zone,
        "ClusterVO" => StreamKind::Cluster,
        "HostVO" => StreamKind::Host,
        "ImageVO" => StreamKind::Image,
        "L2NetworkVO" => StreamKind::L2Network,
        "L3NetworkVO" => StreamKind::L3Network,
        "IpRangeVO" => StreamKind::IpRange,
        "InstanceOfferingVO" => StreamKind::Offering,
        "VmInstanceVO" => StreamKind::VmInstance,
        _ => return None,
    })
}

const RESOURCE_TYPES: &str =
    "one of ZoneVO, ClusterVO, HostVO, ImageVO, L2NetworkVO, L3NetworkVO, IpRangeVO, InstanceOfferingVO, VmInstanceVO";

fn resource_exists(facts: &Facts, kind: StreamKind, id: Id) -> Result<bool, Refusal> {
    use rules::Exists;
    Ok(match kind {
        StreamKind::Zone => facts.get::<Zone>(id)?.exists(),
        StreamKind::Cluster => facts.get::<Cluster>(id)?.exists(),
        StreamKind::Host => facts.get::<Host>(id)?.exists(),
        StreamKind::Image => facts.get::<Image>(id)?.exists(),
        StreamKind::L2Network => facts.get::<L2Network>(id)?.exists(),
        StreamKind::L3Network => facts.get::<L3Network>(id)?.exists(),
        StreamKind::IpRange => facts.get::<IpRange>(id)?.exists(),
        StreamKind::Offering => facts.get::<Offering>(id)?.exists(),
        StreamKind::VmInstance => facts.get::<VmInstance>(id)?.exists() || facts.get::<Router>(id)?.exists(),
        _ => false,
    })
}

/// Checks a system tag against its pattern, and answers the resources that it names.
fn system_tag(facts: &Facts, kind: StreamKind, text: &str) -> Result<Vec<Id>, Refusal> {
    let bad = |right: &str| Refusal::argument("tag", text, right);
    let (name, value) = text.split_once("::").ok_or_else(|| bad("a system tag such as guestL3Network::{uuid}"))?;
    match (name, kind) {
        ("guestL3Network", StreamKind::Offering) => {
            let id: Id = value.parse().map_err(|_| bad("guestL3Network::{uuid of an L3 network}"))?;
            rules::existing::<L3Network>(facts, "tag", id)?;
            Ok(vec![id])
        }
        ("virtualRouterOffering", StreamKind::L3Network) => {
            let id: Id = value.parse().map_err(|_| bad("virtualRouterOffering::{uuid of an offering}"))?;
            rules::existing::<Offering>(facts, "tag", id)?;
            Ok(vec![id])
        }
        ("commandsParallelismDegree", StreamKind::Offering | StreamKind::VmInstance) => match value.parse::<u32>() {
            Ok(1..=10_000) => Ok(vec![]),
            _ => Err(bad("commandsParallelismDegree::{a number from 1 to 10000}")),
        },
        ("hostname", StreamKind::VmInstance) => rules::hostname("tag", value).map(|()| vec![]),
        ("staticIp", StreamKind::VmInstance) => static_ip(text).map(|(l3, _)| vec![l3.0]),
        ("customMac", StreamKind::VmInstance) => custom_mac(text).map(|(l3, _)| vec![l3.0]),
        _ => Err(bad(
            "a system tag that this resource may carry: guestL3Network, virtualRouterOffering, commandsParallelismDegree, hostname, staticIp, customMac",
        )),
    }
}

/// `staticIp::{l3 uuid}::{address}`.
pub(crate) fn static_ip(text: &str) -> Result<(L3NetworkId, std::net::Ipv4Addr), Refusal> {
    let bad = || Refusal::argument("systemTags", text, "staticIp::{uuid of an L3 network}::{IPv4 address}");
    let mut parts = text.split("::").skip(1);
    let (Some(l3), Some(ip), None) = (parts.next(), parts.next(), parts.next()) else { return Err(bad()) };
    Ok((l3.parse().map_err(|_| bad())?, ip.parse().map_err(|_| bad())?))
}

/// `customMac::{l3 uuid}::{mac}`.
pub(crate) fn custom_mac(text: &str) -> Result<(L3NetworkId, Mac), Refusal> {
    let bad = || Refusal::argument("systemTags", text, "customMac::{uuid of an L3 network}::{unicast MAC address}");
    let mut parts = text.split("::").skip(1);
    let (Some(l3), Some(mac), None) = (parts.next(), parts.next(), parts.next()) else { return Err(bad()) };
    let mac: Mac = mac.parse().map_err(|_| bad())?;
    if mac.0[0] & 1 == 1 || mac.0 == [0; 6] {
        return Err(bad());
    }
    Ok((l3.parse().map_err(|_| bad())?, mac))
}

fn created(resource: Id, resource_type: &str, kind: TagType, text: &str, refers_to: Vec<Id>) -> TagSetEvent {
    TagSetEvent::Created {
        tag: tag_id(resource, if kind == TagType::User { "User" } else { "System" }, text),
        tag_type: kind,
        resource_type: resource_type.to_string(),
        text: text.to_string(),
        inherent: false,
        refers_to,
    }
}

fn create(
    (resource, resource_type, text): (Id, &str, &str),
    tag_type: TagType,
    facts: &Facts,
) -> Result<Decision, Refusal> {
    let kind =
        stream_kind(resource_type).ok_or_else(|| Refusal::argument("resourceType", resource_type, RESOURCE_TYPES))?;
    if !resource_exists(facts, kind, resource)? {
        return Err(Refusal::not_found("resourceUuid", resource_type, resource));
    }
    let refers_to = if tag_type == TagType::System { system_tag(facts, kind, text)? } else { vec![] };
    let event = created(resource, resource_type, tag_type, text, refers_to);
    let TagSetEvent::Created { tag, .. } = &event else { return Err(Refusal::internal("a tag that is none")) };
    let mut decision = Decision::about(StreamKind::TagSet, resource);
    decision.inventories.push((if tag_type == TagType::System { "systemTag" } else { "userTag" }, tag.0));
    if facts.tags(resource)?.tags.contains_key(tag) {
        return Ok(decision);
    }
    Ok(decision.event(event))
}

pub(crate) fn create_system(command: &CreateSystemTag, facts: &Facts) -> Result<Decision, Refusal> {
    create((command.resource_uuid, &command.resource_type, &command.tag), TagType::System, facts)
}

pub(crate) fn create_user(command: &CreateUserTag, facts: &Facts) -> Result<Decision, Refusal> {
    create((command.resource_uuid, &command.resource_type, &command.tag), TagType::User, facts)
}

pub(crate) fn delete(command: &DeleteTag, facts: &Facts) -> Result<Decision, Refusal> {
    match facts.members(Relation::ResourceOfTag, command.uuid).first() {
        Some(resource) => {
            facts.tags(*resource)?;
            Ok(Decision::about(StreamKind::TagSet, *resource).event(TagSetEvent::Deleted { tag: command.uuid }))
        }
        None => Ok(Decision::about(StreamKind::TagSet, command.uuid)),
    }
}

/// Adds the tags that a new resource carries.
pub(crate) fn add_common(decision: &mut Decision, facts: &Facts, context: &Context) -> Result<(), Refusal> {
    let (target, common) = (decision.target, &context.common);
    let resource_type = match target.kind {
        StreamKind::Zone => "ZoneVO",
        StreamKind::Cluster => "ClusterVO",
        StreamKind::Host => "HostVO",
        StreamKind::Image => "ImageVO",
        StreamKind::L2Network => "L2NetworkVO",
        StreamKind::L3Network => "L3NetworkVO",
        StreamKind::IpRange => "IpRangeVO",
        StreamKind::Offering => "InstanceOfferingVO",
        StreamKind::VmInstance => "VmInstanceVO",
        _ => return Ok(()),
    };
    for text in &common.system_tags {
        let refers_to = system_tag(facts, target.kind, text).map_err(|mut refusal| {
            if refusal.field.as_deref() == Some("tag") {
                refusal.field = Some("systemTags".to_string());
                refusal.detail = refusal.detail.replacen("tag =", "systemTags =", 1);
            }
            refusal
        })?;
        decision.add_tag(created(target.id, resource_type, TagType::System, text, refers_to));
    }
    for text in &common.user_tags {
        decision.add_tag(created(target.id, resource_type, TagType::User, text, vec![]));
    }
    Ok(())
}

impl Decision {
    fn add_tag(&mut self, event: TagSetEvent) {
        let event: Event = event.into();
        let target = self.target.id;
        if !self.events.iter().any(|(_, other)| *other == event) {
            self.add(target, event);
        }
    }
}
