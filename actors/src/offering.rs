//! Instance offerings; a virtual router offering is one with networks and an image. Each zone that has any has one
//! default.

use crate::{context::Context, decision::Decision, directory::Relation, facts::Facts, rules, *};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use switchback_bus::*;
use switchback_events::*;

/// An offering.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Offering {
    pub name: String,
    pub router: Option<RouterTerms>,
    pub disabled: bool,
    pub deleted: bool,
}

rules::exists!(Offering, "instance offering");

impl Offering {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &OfferingEvent, _version: Version) {
        match event {
            OfferingEvent::Created { name, router, .. } => (self.name, self.router) = (name.clone(), router.clone()),
            OfferingEvent::Updated { name, is_default, image, .. } => {
                self.name = name.clone().unwrap_or_else(|| self.name.clone());
                if let Some(terms) = &mut self.router {
                    terms.is_default = is_default.unwrap_or(terms.is_default);
                    terms.image = image.unwrap_or(terms.image);
                }
            }
            OfferingEvent::StateChanged { state } => self.disabled = *state == Enabled::Disabled,
            OfferingEvent::Deleted {} => self.deleted = true,
        }
    }

    /// Routers may be made of it.
    pub fn usable(&self) -> bool {
        self.router.is_some() && !self.disabled && !self.deleted
    }
}

const STRATEGY: &str = "DefaultHostAllocatorStrategy";

pub(crate) fn create(command: &CreateInstanceOffering, context: &Context) -> Result<Decision, Refusal> {
    let id = context.resource_id();
    Ok(Decision::about(StreamKind::Offering, id).show("instanceOffering").event(OfferingEvent::Created {
        name: command.name.clone(),
        description: command.description.clone(),
        cpu_num: command.cpu_num,
        cpu_speed: command.cpu_speed.unwrap_or(0),
        memory_size: command.memory_size,
        allocator_strategy: command.allocator_strategy.clone().unwrap_or_else(|| STRATEGY.to_string()),
        router: None,
    }))
}

/// The subnets of an L3 network's Normal ranges: at most one of each family.
pub(crate) fn subnets_of(facts: &Facts, l3: L3NetworkId) -> Result<BTreeSet<ipnet::IpNet>, Refusal> {
    let mut subnets = BTreeSet::new();
    for id in facts.members(Relation::RangesOfL3, l3) {
        let range = facts.peek::<IpRange>(id)?;
        subnets.extend(range.bounds.filter(|_| !range.pool).and_then(|bounds| bounds.subnet()));
    }
    Ok(subnets)
}

/// Whether the subnets of two L3 networks overlap.
pub(crate) fn networks_overlap(facts: &Facts, a: L3NetworkId, b: L3NetworkId) -> Result<bool, Refusal> {
    if a == b {
        return Ok(false);
    }
    let theirs = subnets_of(facts, b)?;
    let overlaps = |own: &ipnet::IpNet| theirs.iter().any(|other| own.contains(other) || other.contains(own));
    Ok(subnets_of(facts, a)?.iter().any(overlaps))
}

fn router_network(facts: &Facts, field: &str, id: L3NetworkId, zone: ZoneId) -> Result<(), Refusal> {
    let l3 = rules::existing::<L3Network>(facts, field, id)?;
    if l3.zone != zone {
        return Err(Refusal::argument(field, id, format!("an L3 network of zone {zone}")));
    }
    if l3.services.contains_key(&NetworkServiceType::SNAT) {
        return Err(Refusal::argument(field, id, "an L3 network without the SNAT service: routers stand on it"));
    }
    if !subnets_of(facts, id)?.iter().any(|net| net.addr().is_ipv4()) {
        return Err(Refusal::argument(field, id, "an L3 network with a Normal IPv4 range"));
    }
    Ok(())
}

fn root_image(facts: &Facts, id: ImageId) -> Result<(), Refusal> {
    let image = rules::existing::<Image>(facts, "imageUuid", id)?;
    if !matches!(image.media_type.as_str(), "RootVolumeTemplate" | "ISO") {
        return Err(Refusal::argument("imageUuid", id, "an image of mediaType RootVolumeTemplate or ISO"));
    }
    Ok(())
}

/// The other virtual router offerings of a zone that are default.
fn defaults_of(facts: &Facts, zone: ZoneId, except: Id) -> Result<Vec<Id>, Refusal> {
    let mut defaults = Vec::new();
    for id in facts.members(Relation::RouterOfferingsOfZone, zone) {
        let terms = facts.get::<Offering>(id)?.router.clone();
        if id != except && terms.is_some_and(|terms| terms.is_default) {
            defaults.push(id);
        }
    }
    Ok(defaults)
}

pub(crate) fn changed_default(is_default: bool) -> OfferingEvent {
    OfferingEvent::Updated { name: None, description: None, is_default: Some(is_default), image: None }
}

pub(crate) fn create_router(
    command: &CreateVirtualRouterOffering,
    facts: &Facts,
    context: &Context,
) -> Result<Decision, Refusal> {
    let zone = command.zone_uuid;
    rules::existing::<Zone>(facts, "zoneUuid", zone)?;
    let management = command.management_network_uuid;
    let public = command.public_network_uuid.unwrap_or(management);
    router_network(facts, "managementNetworkUuid", management, zone)?;
    router_network(facts, "publicNetworkUuid", public, zone)?;
    root_image(facts, command.image_uuid)?;
    if networks_overlap(facts, management, public)? {
        let right = "a network whose CIDR does not overlap that of the management network";
        return Err(Refusal::argument("publicNetworkUuid", public, right));
    }
    let id = context.resource_id();
    let others = defaults_of(facts, zone, id)?;
    let is_default = command.is_default == Some(true) || others.is_empty();
    let mut decision =
        Decision::about(StreamKind::Offering, id).show("virtualRouterOffering").event(OfferingEvent::Created {
            name: command.name.clone(),
            description: command.description.clone(),
            cpu_num: command.cpu_num,
            cpu_speed: command.cpu_speed.unwrap_or(0),
            memory_size: command.memory_size,
            allocator_strategy: command.allocator_strategy.clone().unwrap_or_else(|| STRATEGY.to_string()),
            router: Some(RouterTerms {
                zone,
                management_network: management,
                public_network: public,
                image: command.image_uuid,
                is_default,
            }),
        });
    if is_default {
        for other in others {
            decision.add(other, changed_default(false));
        }
    }
    Ok(decision)
}

pub(crate) fn update_router(command: &UpdateVirtualRouterOffering, facts: &Facts) -> Result<Decision, Refusal> {
    let offering = rules::existing::<Offering>(facts, "uuid", command.uuid)?;
    let Some(terms) = &offering.router else {
        return Err(Refusal::argument("uuid", command.uuid, "a virtual router offering"));
    };
    if let Some(image) = command.image_uuid {
        root_image(facts, image)?;
    }
    let others = defaults_of(facts, terms.zone, command.uuid.0)?;
    let unset = command.is_default == Some(false) && terms.is_default;
    let heir = if unset { heir(facts, terms.zone, command.uuid.0)? } else { None };
    if unset && heir.is_none() {
        let detail = format!("offering {} is the only one of its zone, and so its default", command.uuid);
        return Err(Refusal::operation(detail).hint("create another one first"));
    }
    let mut decision = Decision::about(StreamKind::Offering, command.uuid).show("virtualRouterOffering").event(
        OfferingEvent::Updated {
            name: command.name.clone(),
            description: command.description.clone(),
            is_default: command.is_default,
            image: command.image_uuid,
        },
    );
    if command.is_default == Some(true) {
        for other in others {
            decision.add(other, changed_default(false));
        }
    }
    if let Some(heir) = heir {
        decision.add(heir, changed_default(true));
    }
    Ok(decision)
}

/// The offering of a zone that becomes its default when this one is not any more: the oldest that is enabled, else
/// the oldest.
fn heir(facts: &Facts, zone: ZoneId, except: Id) -> Result<Option<Id>, Refusal> {
    let mut others = facts.members(Relation::RouterOfferingsOfZone, zone);
    others.retain(|id| *id != except);
    for id in &others {
        if facts.get::<Offering>(*id)?.usable() {
            return Ok(Some(*id));
        }
    }
    Ok(others.first().copied())
}

pub(crate) fn update(command: &UpdateInstanceOffering, facts: &Facts) -> Result<Decision, Refusal> {
    rules::existing::<Offering>(facts, "uuid", command.uuid)?;
    let event = OfferingEvent::Updated {
        name: command.name.clone(),
        description: command.description.clone(),
        is_default: None,
        image: None,
    };
    Ok(Decision::about(StreamKind::Offering, command.uuid).show("instanceOffering").event(event))
}

pub(crate) fn change_state(command: &ChangeInstanceOfferingState, facts: &Facts) -> Result<Decision, Refusal> {
    let offering = rules::existing::<Offering>(facts, "uuid", command.uuid)?;
    let state = rules::state_event(&command.state_event);
    let decision = Decision::about(StreamKind::Offering, command.uuid).show("instanceOffering");
    if offering.disabled == (state == Enabled::Disabled) {
        return Ok(decision);
    }
    Ok(decision.event(OfferingEvent::StateChanged { state }))
}

pub(crate) fn delete(command: &DeleteInstanceOffering, facts: &Facts) -> Result<Decision, Refusal> {
    let decision = Decision::about(StreamKind::Offering, command.uuid);
    let offering = facts.get::<Offering>(command.uuid)?;
    if !rules::Exists::exists(&*offering) {
        return Ok(decision);
    }
    let mut decision = decision.event(OfferingEvent::Deleted {});
    // A zone that has offerings has a default: the oldest of the others becomes it.
    if let Some(terms) = offering.router.as_ref().filter(|terms| terms.is_default)
        && let Some(heir) = heir(facts, terms.zone, command.uuid.0)?
    {
        decision.add(heir, changed_default(true));
    }
    Ok(decision)
}

/// The offering for a router of a guest network , in ZStack's order: tagged for it, named by its tag, the default, any.
pub(crate) fn choose(facts: &Facts, l3_id: L3NetworkId, l3: &L3Network) -> Result<(OfferingId, RouterTerms), Refusal> {
    let mut usable = Vec::new();
    for id in facts.members(Relation::RouterOfferingsOfZone, l3.zone) {
        let offering = facts.get::<Offering>(id)?;
        if let Some(terms) = offering.router.clone().filter(|_| offering.usable()) {
            usable.push((OfferingId(id), terms));
        }
    }
    for (id, terms) in &usable {
        if facts.tags(*id)?.values("guestL3Network").any(|value| value == l3_id.to_string()) {
            return Ok((*id, terms.clone()));
        }
    }
    let named = facts.tags(l3_id)?;
    for (id, terms) in &usable {
        if named.values("virtualRouterOffering").any(|value| value == id.to_string()) {
            return Ok((*id, terms.clone()));
        }
    }
    let chosen = usable.iter().find(|(_, terms)| terms.is_default).or(usable.first()).cloned();
    chosen.ok_or_else(|| {
        let detail = format!("zone {} has no enabled virtual router offering for L3 network {l3_id}", l3.zone);
        Refusal::conflict(code::VR_NO_DEFAULT_OFFERING, detail).hint("create one with CreateVirtualRouterOffering")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{Given, id};

    fn created(zone: &str, is_default: bool) -> OfferingEvent {
        OfferingEvent::Created {
            name: "offering".to_string(),
            description: None,
            cpu_num: 1,
            cpu_speed: 0,
            memory_size: 1,
            allocator_strategy: STRATEGY.to_string(),
            router: Some(RouterTerms {
                zone: id(zone),
                management_network: id("management"),
                public_network: id("public"),
                image: id("image"),
                is_default,
            }),
        }
    }

    fn tag(text: String) -> TagSetEvent {
        TagSetEvent::Created {
            tag: id(&text),
            tag_type: TagType::System,
            resource_type: String::new(),
            text,
            inherent: false,
            refers_to: vec![],
        }
    }

    fn chosen(given: &Given) -> Result<OfferingId, Refusal> {
        let l3 = L3Network { name: "guest".to_string(), zone: id("zone"), ..L3Network::default() };
        choose(&given.states.facts(), id("guest"), &l3).map(|(offering, _)| offering)
    }

    #[test]
    fn an_offering_is_chosen_by_its_tag_then_the_networks_then_as_the_default_then_any() {
        let guest = Id::of_name("guest");
        let disabled = || OfferingEvent::StateChanged { state: Enabled::Disabled };
        let nothing = Given::nothing().event("elsewhere", created("other zone", true));
        let refusal = chosen(&nothing).unwrap_err();
        assert_eq!(refusal.code, code::VR_NO_DEFAULT_OFFERING);
        assert!(refusal.detail.contains(&guest.to_string()), "{refusal}");

        let given = nothing.event("any", created("zone", false));
        assert_eq!(chosen(&given).unwrap(), id("any"));
        let given = given.event("default", created("zone", true));
        assert_eq!(chosen(&given).unwrap(), id("default"));
        let given = given
            .event("named", created("zone", false))
            .event("guest", tag(format!("virtualRouterOffering::{}", Id::of_name("named"))));
        assert_eq!(chosen(&given).unwrap(), id("named"));
        let given = given
            .event("tagged", created("zone", false))
            .event("tagged", tag(format!("guestL3Network::{}", Id::of_name("other"))));
        assert_eq!(chosen(&given).unwrap(), id("named"), "the tag is for another network");
        let given = given.event("tagged", tag(format!("guestL3Network::{guest}")));
        assert_eq!(chosen(&given).unwrap(), id("tagged"));
        // What is disabled or deleted is passed over.
        let given = given.event("tagged", disabled());
        assert_eq!(chosen(&given).unwrap(), id("named"));
        let given = given.event("named", OfferingEvent::Deleted {});
        assert_eq!(chosen(&given).unwrap(), id("default"));
        let given = given.event("default", disabled());
        assert_eq!(chosen(&given).unwrap(), id("any"));
        let given = given.event("any", disabled());
        assert_eq!(chosen(&given).unwrap_err().code, code::VR_NO_DEFAULT_OFFERING);
    }
}
