//! The tags of one resource. A system tag has a pattern ([`SYSTEM_TAGS`]); what it names must exist, and when that is
//! deleted the tag goes, too. Tags go with their resource, however it ends ([`follow`]).

use crate::{context::Context, decide::deletes, decision::Decision, directory::Relation, facts::Facts, rules, *};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};
use switchback_bus::*;
use switchback_events::*;

/// The tags of one resource.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct TagSet {
    pub tags: BTreeMap<TagId, Tag>,
}

/// One tag.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Tag {
    pub kind: TagKind,
    pub text: String,
    pub inherent: bool,
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
            TagSetEvent::Created { tag, tag_type, text, inherent, .. } => {
                let kind = if *tag_type == TagType::User { TagKind::User } else { TagKind::System };
                self.tags.insert(*tag, Tag { kind, text: text.clone(), inherent: *inherent });
            }
            TagSetEvent::Updated { tag, text, .. } => {
                if let Some(known) = self.tags.get_mut(tag) {
                    known.text = text.clone();
                }
            }
            TagSetEvent::Deleted { tag } => {
                self.tags.remove(tag);
            }
        }
    }

    /// The system tags.
    pub fn system(&self) -> impl Iterator<Item = &str> {
        self.tags.values().filter(|tag| tag.kind == TagKind::System).map(|tag| tag.text.as_str())
    }

    /// The values of the system tags `name::value`.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.tags.values().filter_map(move |tag| match tag.kind {
            TagKind::System => tag.text.strip_prefix(name)?.strip_prefix("::"),
            TagKind::User => None,
        })
    }
}

/// The kind of stream of a resource type, which ZStack has several names for.
pub(crate) fn stream_kind(field: &str, resource_type: &str) -> Result<(&'static str, StreamKind), Refusal> {
    let name = match resource_type {
        "KVMHostVO" => "HostVO",
        "L2VlanNetworkVO" => "L2NetworkVO",
        "VirtualRouterOfferingVO" => "InstanceOfferingVO",
        "ApplianceVmVO" | "VirtualRouterVmVO" => "VmInstanceVO",
        other => other,
    };
    RESOURCE_TYPES.iter().find(|(known, _)| *known == name).copied().ok_or_else(|| {
        let known: Vec<&str> = RESOURCE_TYPES.iter().map(|(known, _)| *known).collect();
        Refusal::argument(field, resource_type, format!("one of {}", known.join(", ")))
    })
}

/// The name of the type of resources of a kind; a router is a VM.
pub(crate) fn resource_type(kind: StreamKind) -> Option<&'static str> {
    let kind = if kind == StreamKind::Router { StreamKind::VmInstance } else { kind };
    RESOURCE_TYPES.iter().find(|(_, known)| *known == kind).map(|(name, _)| *name)
}

pub(crate) fn resource_exists(facts: &Facts, kind: StreamKind, id: Id) -> Result<bool, Refusal> {
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
        StreamKind::SecurityGroup => facts.get::<SecurityGroup>(id)?.exists(),
        StreamKind::VmInstance => facts.get::<VmInstance>(id)?.exists() || facts.get::<Router>(id)?.exists(),
        StreamKind::LoadBalancer => facts.get::<LoadBalancer>(id)?.exists(),
        StreamKind::Certificate => facts.get::<Certificate>(id)?.exists(),
        StreamKind::AccessControlList => facts.get::<AccessControlList>(id)?.exists(),
        StreamKind::Vip => facts.get::<Vip>(id)?.exists(),
        StreamKind::Eip => facts.get::<Eip>(id)?.exists(),
        StreamKind::PortForwarding => facts.get::<PortForwarding>(id)?.exists(),
        _ => false,
    })
}

/// What carries system tags: its role, and its zone where tags name things of it.
type Carrier = (Option<Bearer>, Option<ZoneId>);

fn carrier(facts: &Facts, kind: StreamKind, id: Id) -> Result<Carrier, Refusal> {
    use rules::Exists;
    Ok(match kind {
        StreamKind::L3Network => (Some(Bearer::L3Network), Some(facts.get::<L3Network>(id)?.zone)),
        StreamKind::Offering => match &facts.get::<Offering>(id)?.router {
            Some(terms) => (Some(Bearer::RouterOffering), Some(terms.zone)),
            None => (None, None),
        },
        StreamKind::VmInstance if facts.get::<Router>(id)?.exists() => (Some(Bearer::Router), None),
        StreamKind::VmInstance => (Some(Bearer::Vm), None),
        _ => (None, None),
    })
}

/// The same of what a decision makes.
fn carrier_made(decision: &Decision) -> Carrier {
    let made = decision.events.iter().find(|(stream, _)| *stream == decision.target);
    match made.map(|(_, event)| event) {
        Some(Event::L3Network(L3NetworkEvent::Created { zone, .. })) => (Some(Bearer::L3Network), Some(*zone)),
        Some(Event::Offering(OfferingEvent::Created { router: Some(terms), .. })) => {
            (Some(Bearer::RouterOffering), Some(terms.zone))
        }
        Some(Event::VmInstance(_)) => (Some(Bearer::Vm), None),
        _ => (None, None),
    }
}

/// The value of a word of a pattern.
#[derive(Clone, Debug)]
enum Value {
    L3Network(L3NetworkId),
    Offering(OfferingId),
    Address(IpAddr),
    Mac(Mac),
    Other,
}

/// A system tag that fits its pattern.
struct Parsed {
    tag: &'static SystemTag,
    values: Vec<Value>,
    /// Of several tags in one place a resource carries one.
    place: String,
}

fn value(word: TagWord, text: &str) -> Option<Value> {
    Some(match word {
        TagWord::L3Network => Value::L3Network(text.parse().ok()?),
        TagWord::RouterOffering => Value::Offering(text.parse().ok()?),
        TagWord::Number(min, max) => {
            let number: u32 = text.parse().ok()?;
            let right = (min..=max).contains(&number) && number.to_string() == text;
            right.then_some(Value::Other)?
        }
        TagWord::HostName => rules::is_label(text).then_some(Value::Other)?,
        TagWord::Address => Value::Address(address(text)?),
        TagWord::Base64 => (!text.is_empty() && STANDARD.decode(text).is_ok()).then_some(Value::Other)?,
        TagWord::Mac => {
            let mac: Mac = text.parse().ok()?;
            let unicast = mac.0[0] & 1 == 0 && mac.0 != [0; 6];
            unicast.then_some(Value::Mac(mac))?
        }
    })
}

/// An address as tags write it: `--` for `::`, which parts the words.
fn address(text: &str) -> Option<IpAddr> {
    text.replacen("--", "::", 1).parse().ok()
}

fn parse(field: &str, text: &str) -> Result<Parsed, Refusal> {
    let (name, rest) = text.split_once("::").unwrap_or((text, ""));
    let Some(tag) = system_tag(name) else {
        if LATER_TAGS.contains(&name) {
            return Err(Refusal::not_supported(format!("{field} = `{text}`: system tag {name}")));
        }
        let refusal = Refusal::argument(field, text, "there is no such system tag");
        let known: Vec<&str> = SYSTEM_TAGS.iter().map(|tag| tag.name).collect();
        return Err(match nearest(name, known.iter().copied()).and_then(system_tag) {
            Some(near) => refusal.hint(format!("did you mean {}?", near.pattern())),
            None => refusal.hint(format!("there are {}; any text is a user tag", known.join(", "))),
        });
    };
    let words: Vec<&str> = rest.split("::").collect();
    let values = tag.words.iter().zip(&words).map(|((_, word), text)| value(*word, text));
    let values: Option<Vec<Value>> = values.collect();
    let Some(values) = values.filter(|_| words.len() == tag.words.len()) else {
        return Err(Refusal::argument(field, text, tag.right()));
    };
    let first = words.first().copied().unwrap_or_default();
    let place = match tag.number {
        TagNumber::One => String::new(),
        TagNumber::OneEach => first.to_string(),
        TagNumber::OneEachFamily => {
            let v4 = values.iter().any(|value| matches!(value, Value::Address(IpAddr::V4(_))));
            format!("{first} {v4}")
        }
        TagNumber::Many => rest.to_string(),
    };
    Ok(Parsed { tag, values, place: format!("{name} {place}") })
}

impl Parsed {
    /// Whether the tag may be on this resource; answers what the tag names.
    fn fits(&self, field: &str, text: &str, (bearer, zone): Carrier, facts: &Facts) -> Result<Vec<Id>, Refusal> {
        if bearer.is_none_or(|bearer| !self.tag.on.contains(&bearer)) {
            let on: Vec<&str> = self.tag.on.iter().map(|bearer| bearer.words()).collect();
            return Err(Refusal::argument(field, text, format!("this tag is for a {}", on.join(" or a "))));
        }
        let mut named = Vec::new();
        for value in &self.values {
            match value {
                Value::L3Network(id) => {
                    let l3 = rules::existing::<L3Network>(facts, field, *id)?;
                    if let Some(zone) = zone.filter(|zone| *zone != l3.zone) {
                        return Err(Refusal::argument(field, text, format!("an L3 network of zone {zone}")));
                    }
                    named.push(id.0);
                }
                Value::Offering(id) => {
                    let offering = rules::existing::<Offering>(facts, field, *id)?;
                    let terms = offering.router.as_ref().filter(|terms| zone.is_none_or(|zone| zone == terms.zone));
                    if terms.is_none() {
                        let right = format!("a virtual router offering of zone {}", zone.unwrap_or_default());
                        return Err(Refusal::argument(field, text, right));
                    }
                    named.push(id.0);
                }
                Value::Address(_) | Value::Mac(_) | Value::Other => {}
            }
        }
        Ok(named)
    }

    /// Refuses what the commands for tags may not touch.
    fn free_to_change(&self, field: &str, text: &str) -> Result<(), Refusal> {
        match self.tag.origin {
            TagOrigin::Anyhow => Ok(()),
            TagOrigin::Creation(commands) => Err(Refusal::operation(format!(
                "{field} = `{text}`: this tag is given when the {} is created and stays as long as what it says",
                self.tag.on[0].words()
            ))
            .hint(format!("later it follows {commands}"))),
            TagOrigin::Commands(commands) => {
                Err(Refusal::operation(format!("{field} = `{text}`: this tag is the record of {commands}"))
                    .hint(format!("use {commands}")))
            }
        }
    }
}

/// `staticIp::{l3 uuid}::{address}`.
pub(crate) fn static_ip(text: &str) -> Result<(L3NetworkId, IpAddr), Refusal> {
    match parse("systemTags", text)?.values[..] {
        [Value::L3Network(l3), Value::Address(ip)] => Ok((l3, ip)),
        _ => Err(Refusal::argument("systemTags", text, "staticIp::{uuid of an L3 network}::{IP address}")),
    }
}

/// `customMac::{l3 uuid}::{mac}`.
pub(crate) fn custom_mac(text: &str) -> Result<(L3NetworkId, Mac), Refusal> {
    match parse("systemTags", text)?.values[..] {
        [Value::L3Network(l3), Value::Mac(mac)] => Ok((l3, mac)),
        _ => Err(Refusal::argument("systemTags", text, "customMac::{uuid of an L3 network}::{unicast MAC address}")),
    }
}

/// The tags of a resource as a decision has left them so far.
fn so_far(decision: &Decision, facts: &Facts, resource: Id) -> Result<TagSet, Refusal> {
    let mut set = (*facts.tags(resource)?).clone();
    for (stream, event) in &decision.events {
        if let Event::TagSet(event) = event
            && stream.id == resource
        {
            set.evolve(event, 0);
        }
    }
    Ok(set)
}

/// The system tag in the same place as this one.
fn rival<'a>(set: &'a TagSet, parsed: &Parsed, except: Option<TagId>) -> Option<(TagId, &'a str)> {
    let system = set.tags.iter().filter(|(id, tag)| tag.kind == TagKind::System && Some(**id) != except);
    let mut texts = system.map(|(id, tag)| (*id, tag.text.as_str()));
    texts.find(|(_, text)| parse("tag", text).is_ok_and(|other| other.place == parsed.place))
}

/// A tag about to be made.
struct New<'a> {
    resource: Id,
    resource_type: &'a str,
    kind: TagKind,
    text: &'a str,
    inherent: bool,
    refers_to: Vec<Id>,
}

/// Adds a tag, unless the resource has it; answers its id.
fn add(decision: &mut Decision, set: &TagSet, context: &Context, new: New) -> TagId {
    let same = set.tags.iter().find(|(_, tag)| tag.kind == new.kind && tag.text == new.text);
    if let Some((id, _)) = same {
        return *id;
    }
    let (tag_type, word) = match new.kind {
        TagKind::User => (TagType::User, "User"),
        TagKind::System => (TagType::System, "System"),
    };
    // One that was changed since keeps its id.
    let usual = tag_id(new.resource, word, new.text);
    let tag = if set.tags.contains_key(&usual) { TagId(context.id()) } else { usual };
    decision.add(
        new.resource,
        TagSetEvent::Created {
            tag,
            tag_type,
            resource_type: new.resource_type.to_string(),
            text: new.text.to_string(),
            inherent: new.inherent,
            refers_to: new.refers_to,
        },
    );
    tag
}

/// Adds a system tag of a user's choice.
fn add_system(
    decision: &mut Decision,
    (facts, context): (&Facts, &Context),
    (field, text): (&str, &str),
    (resource, resource_type, carrier): (Id, &str, Carrier),
) -> Result<TagId, Refusal> {
    let parsed = parse(field, text)?;
    let refers_to = parsed.fits(field, text, carrier, facts)?;
    let set = so_far(decision, facts, resource)?;
    if let Some((_, other)) = rival(&set, &parsed, None).filter(|(_, other)| *other != text) {
        let detail = format!("{field} = `{text}`: there is `{other}` on {resource_type} {resource} already");
        return Err(Refusal::operation(detail).hint("change that with UpdateSystemTag"));
    }
    let new = New { resource, resource_type, kind: TagKind::System, text, inherent: false, refers_to };
    Ok(add(decision, &set, context, new))
}

fn create(
    (resource, asked_type, texts): (Id, &str, &[String]),
    kind: TagKind,
    field: &str,
    (facts, context): (&Facts, &Context),
) -> Result<Decision, Refusal> {
    let (resource_type, stream) = stream_kind("resourceType", asked_type)?;
    if !resource_exists(facts, stream, resource)? {
        return Err(Refusal::not_found("resourceUuid", asked_type, resource));
    }
    let carrier = carrier(facts, stream, resource)?;
    let mut decision = Decision::about(StreamKind::TagSet, resource);
    for text in texts {
        let tag = if kind == TagKind::System {
            let parsed = parse(field, text)?;
            parsed.fits(field, text, carrier, facts)?;
            parsed.free_to_change(field, text)?;
            let whose = (resource, resource_type, carrier);
            add_system(&mut decision, (facts, context), (field, text), whose)?
        } else {
            let set = so_far(&decision, facts, resource)?;
            let new = New { resource, resource_type, kind, text, inherent: false, refers_to: vec![] };
            add(&mut decision, &set, context, new)
        };
        decision.inventories.push((if kind == TagKind::System { "systemTag" } else { "userTag" }, tag.0));
    }
    Ok(decision)
}

pub(crate) fn create_system(command: &CreateSystemTag, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let texts = std::slice::from_ref(&command.tag);
    create((command.resource_uuid, &command.resource_type, texts), TagKind::System, "tag", (facts, context))
}

pub(crate) fn create_several(
    command: &CreateSystemTags,
    facts: &Facts,
    context: &Context,
) -> Result<Decision, Refusal> {
    if command.tags.is_empty() {
        return Err(Refusal::argument("tags", "[]", "at least one tag"));
    }
    create((command.resource_uuid, &command.resource_type, &command.tags), TagKind::System, "tags", (facts, context))
}

pub(crate) fn create_user(command: &CreateUserTag, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let texts = std::slice::from_ref(&command.tag);
    create((command.resource_uuid, &command.resource_type, texts), TagKind::User, "tag", (facts, context))
}

/// The resource that a tag is on, with its kind.
fn bearer_of(facts: &Facts, tag: TagId) -> Result<Option<(Id, StreamKind)>, Refusal> {
    let Some(resource) = facts.members(Relation::ResourceOfTag, tag).first().copied() else { return Ok(None) };
    for (_, kind) in RESOURCE_TYPES {
        if resource_exists(facts, *kind, resource)? {
            return Ok(Some((resource, *kind)));
        }
    }
    Ok(None)
}

pub(crate) fn update(command: &UpdateSystemTag, facts: &Facts) -> Result<Decision, Refusal> {
    let (id, text) = (command.uuid, &command.tag);
    let none = || Refusal::not_found("uuid", "system tag", id);
    let (resource, kind) = bearer_of(facts, id)?.ok_or_else(none)?;
    let set = facts.tags(resource)?;
    let known = set.tags.get(&id).filter(|tag| tag.kind == TagKind::System).ok_or_else(none)?;
    let name = known.text.split("::").next().unwrap_or_default();
    let parsed = parse("tag", text)?;
    if parsed.tag.name != name {
        return Err(Refusal::argument("tag", text, format!("a tag {name}::…, as it is now")));
    }
    parsed.free_to_change("tag", text)?;
    let refers_to = parsed.fits("tag", text, carrier(facts, kind, resource)?, facts)?;
    if let Some((_, other)) = rival(&set, &parsed, Some(id)) {
        return Err(Refusal::operation(format!("tag = `{text}`: there is `{other}` on {resource} already")));
    }
    let mut decision = Decision::about(StreamKind::TagSet, resource);
    decision.inventories.push(("systemTag", id.0));
    if known.text == *text {
        return Ok(decision);
    }
    Ok(decision.event(TagSetEvent::Updated { tag: id, text: text.clone(), refers_to }))
}

pub(crate) fn delete(command: &DeleteTag, facts: &Facts) -> Result<Decision, Refusal> {
    let Some(resource) = facts.members(Relation::ResourceOfTag, command.uuid).first().copied() else {
        return Ok(Decision::about(StreamKind::TagSet, command.uuid));
    };
    let set = facts.tags(resource)?;
    let decision = Decision::about(StreamKind::TagSet, resource);
    let Some(tag) = set.tags.get(&command.uuid) else { return Ok(decision) };
    if tag.inherent {
        let detail = format!("uuid = `{}`: tag `{}` is inherent and goes with {resource} only", command.uuid, tag.text);
        return Err(Refusal::operation(detail));
    }
    if tag.kind == TagKind::System
        && let Ok(parsed) = parse("tag", &tag.text)
    {
        parsed.free_to_change("tag", &tag.text)?;
    }
    Ok(decision.event(TagSetEvent::Deleted { tag: command.uuid }))
}

/// Adds the tags that a new resource carries.
pub(crate) fn add_common(decision: &mut Decision, facts: &Facts, context: &Context) -> Result<(), Refusal> {
    let (target, common) = (decision.target, &context.common);
    let Some(resource_type) = resource_type(target.kind) else {
        let given = [("systemTags", &common.system_tags), ("userTags", &common.user_tags)];
        return match given.into_iter().find(|(_, tags)| !tags.is_empty()) {
            None => Ok(()),
            Some((field, tags)) => {
                let (tag, stem) = (&tags[0], target.kind.stem());
                Err(Refusal::not_supported(format!("{field} = `{tag}`: tags of the kind {stem}")))
            }
        };
    };
    let carrier = carrier_made(decision);
    for text in &common.system_tags {
        let whose = (target.id, resource_type, carrier);
        add_system(decision, (facts, context), ("systemTags", text), whose)?;
    }
    for text in &common.user_tags {
        let set = so_far(decision, facts, target.id)?;
        let kind = TagKind::User;
        let new = New { resource: target.id, resource_type, kind, text, inherent: false, refers_to: vec![] };
        add(decision, &set, context, new);
    }
    Ok(())
}

/// Adds a tag that the system itself puts on a resource of `kind`, and that only the system takes away.
pub(crate) fn inherit(
    decision: &mut Decision,
    facts: &Facts,
    context: &Context,
    resource: Id,
    text: &str,
) -> Result<(), Refusal> {
    let set = so_far(decision, facts, resource)?;
    let (resource_type, kind) = ("VmInstanceVO", TagKind::System);
    add(decision, &set, context, New { resource, resource_type, kind, text, inherent: true, refers_to: vec![] });
    Ok(())
}

/// Makes the record of a command that says what a system tag says: the tag in its place becomes `text`.
pub(crate) fn put(
    decision: &mut Decision,
    facts: &Facts,
    context: &Context,
    resource: Id,
    text: &str,
) -> Result<(), Refusal> {
    let parsed = parse("tag", text)?;
    let refers_to = parsed.values.iter().filter_map(|value| match value {
        Value::L3Network(id) => Some(id.0),
        Value::Offering(id) => Some(id.0),
        _ => None,
    });
    let refers_to = refers_to.collect();
    let set = so_far(decision, facts, resource)?;
    match rival(&set, &parsed, None) {
        Some((_, same)) if same == text => {}
        Some((tag, _)) => decision.add(resource, TagSetEvent::Updated { tag, text: text.to_string(), refers_to }),
        None => {
            let resource_type = match parsed.tag.on[0] {
                Bearer::L3Network => "L3NetworkVO",
                Bearer::RouterOffering => "InstanceOfferingVO",
                Bearer::Router | Bearer::Vm => "VmInstanceVO",
            };
            let new = New { resource, resource_type, kind: TagKind::System, text, inherent: false, refers_to };
            add(decision, &set, context, new);
        }
    }
    Ok(())
}

/// Takes the system tags away that are `start` or begin with it and `::`: `hostname`, `staticIp::{l3 uuid}`.
pub(crate) fn take(decision: &mut Decision, facts: &Facts, resource: Id, start: &str) -> Result<(), Refusal> {
    for (id, tag) in &so_far(decision, facts, resource)?.tags {
        let rest = tag.text.strip_prefix(start).filter(|_| tag.kind == TagKind::System);
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::")) {
            decision.add(resource, TagSetEvent::Deleted { tag: *id });
        }
    }
    Ok(())
}

/// Tags go with their resource and with what they name; those of a VM's nic go with the nic.
pub(crate) fn follow(decision: &mut Decision, facts: &Facts) -> Result<(), Refusal> {
    let mut gone: BTreeSet<TagId> = BTreeSet::new();
    let (mut ended, mut detached) = (Vec::new(), Vec::new());
    for (stream, event) in &decision.events {
        match event {
            Event::TagSet(TagSetEvent::Deleted { tag }) => drop(gone.insert(*tag)),
            Event::VmInstance(VmInstanceEvent::NicDetached { l3_network, .. }) => {
                detached.push((stream.id, *l3_network));
            }
            event if deletes(event) => ended.push(stream.id),
            _ => {}
        }
    }
    for id in ended {
        let named = facts.members(Relation::TagsNaming, id);
        let own = facts.tags(id)?.tags.keys().map(|tag| (id, *tag)).collect::<Vec<_>>();
        let others = named.into_iter().filter_map(|tag| {
            let resource = facts.members(Relation::ResourceOfTag, tag).first().copied()?;
            Some((resource, TagId(tag)))
        });
        for (resource, tag) in others.collect::<Vec<_>>().into_iter().chain(own) {
            if gone.insert(tag) {
                facts.tags(resource)?;
                decision.add(resource, TagSetEvent::Deleted { tag });
            }
        }
    }
    for (vm, l3) in detached {
        for start in [format!("staticIp::{l3}"), format!("customMac::{l3}")] {
            take(decision, facts, vm, &start)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_tag_fits_its_pattern_or_says_what_would() {
        let l3 = Id::of_name("l3");
        let right = [
            format!("guestL3Network::{l3}"),
            format!("virtualRouterOffering::{l3}"),
            "commandsParallelismDegree::10000".to_string(),
            "hostname::web-1".to_string(),
            format!("staticIp::{l3}::10.0.0.5"),
            format!("staticIp::{l3}::fd00--5"),
            format!("staticIp::{l3}::fd00:1:2:3:4:5:6:7"),
            format!("customMac::{l3}::fa:00:00:00:00:01"),
        ];
        for text in right {
            assert!(parse("tag", &text).is_ok(), "{text}");
        }
        let wrong = [
            "plain".to_string(),
            "guestL3Network".to_string(),
            "guestL3Network::x".to_string(),
            format!("guestL3Network::{l3}::{l3}"),
            "commandsParallelismDegree::0".to_string(),
            "commandsParallelismDegree::+5".to_string(),
            "commandsParallelismDegree::007".to_string(),
            "hostname::-a".to_string(),
            "hostname::a b".to_string(),
            format!("staticIp::{l3}"),
            format!("staticIp::{l3}::10.0.0"),
            format!("staticIp::{l3}::fd00::5"),
            format!("customMac::{l3}::03:00:00:00:00:01"),
            format!("customMac::{l3}::00:00:00:00:00:00"),
        ];
        for text in wrong {
            let refusal = parse("tag", &text).err().unwrap_or_else(|| panic!("{text}"));
            assert!(refusal.code == code::ARGUMENT && refusal.detail.contains(&text), "{refusal}");
        }
        let refusal = parse("tag", &format!("guestL3Netwrk::{l3}")).err().unwrap();
        assert_eq!(refusal.hint.as_deref(), Some("did you mean guestL3Network::{l3NetworkUuid}?"));
        assert_eq!(parse("tag", "role::DHCP").err().unwrap().code, code::NOT_SUPPORTED);
        for refusal in [static_ip("hostname::a").err(), custom_mac("hostname::a").err()] {
            assert!(refusal.unwrap().detail.contains("hostname::a"));
        }
    }

    #[test]
    fn tags_in_one_place_are_rivals() {
        let (a, b) = (Id::of_name("a"), Id::of_name("b"));
        let place = |text: &str| parse("tag", text).unwrap().place;
        assert_eq!(place("hostname::a"), place("hostname::b"));
        assert_ne!(place(&format!("guestL3Network::{a}")), place(&format!("guestL3Network::{b}")));
        assert_eq!(place(&format!("staticIp::{a}::10.0.0.5")), place(&format!("staticIp::{a}::10.0.0.6")));
        assert_ne!(place(&format!("staticIp::{a}::10.0.0.5")), place(&format!("staticIp::{b}::10.0.0.5")));
        assert_ne!(place(&format!("staticIp::{a}::10.0.0.5")), place(&format!("staticIp::{a}::fd00--5")));
    }
}
