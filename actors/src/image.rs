//! Image: a record, referred to by VMs and virtual router offerings.

use crate::{context::Context, decision::Decision, directory::Relation, facts::Facts, rules, *};
use serde::{Deserialize, Serialize};
use switchback_bus::{AddImage, DeleteImage, Refusal, UpdateImage};
use switchback_events::*;

/// An image.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Image {
    pub name: String,
    pub media_type: String,
    pub system: bool,
    pub disabled: bool,
    pub deleted: bool,
}

rules::exists!(Image, "image");

impl Image {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &ImageEvent, _version: Version) {
        match event {
            ImageEvent::Added { name, media_type, system, .. } => {
                (self.name, self.media_type, self.system) = (name.clone(), media_type.clone(), *system);
            }
            ImageEvent::Updated { name, .. } => self.name = name.clone().unwrap_or_else(|| self.name.clone()),
            ImageEvent::StateChanged { state } => self.disabled = *state == Enabled::Disabled,
            ImageEvent::Deleted {} => self.deleted = true,
        }
    }
}

pub(crate) fn add(command: &AddImage, context: &Context) -> Result<Decision, Refusal> {
    let id = context.resource_id();
    Ok(Decision::about(StreamKind::Image, id).show("image").event(ImageEvent::Added {
        name: command.name.clone(),
        description: command.description.clone(),
        media_type: command.media_type.clone().unwrap_or_else(|| "RootVolumeTemplate".to_string()),
        format: command.format.clone().unwrap_or_else(|| "qcow2".to_string()),
        url: command.url.clone(),
        system: command.system.unwrap_or(false),
    }))
}

pub(crate) fn update(command: &UpdateImage, facts: &Facts) -> Result<Decision, Refusal> {
    rules::existing::<Image>(facts, "uuid", command.uuid)?;
    let event = ImageEvent::Updated { name: command.name.clone(), description: command.description.clone() };
    Ok(Decision::about(StreamKind::Image, command.uuid).show("image").event(event))
}

pub(crate) fn delete(command: &DeleteImage, facts: &Facts) -> Result<Decision, Refusal> {
    let decision = Decision::about(StreamKind::Image, command.uuid);
    if !rules::Exists::exists(&*facts.get::<Image>(command.uuid)?) {
        return Ok(decision);
    }
    let mut blockers = rules::blockers::<Offering>(facts, facts.members(Relation::OfferingsOfImage, command.uuid))?;
    blockers.extend(rules::blockers::<VmInstance>(facts, facts.members(Relation::VmsOfImage, command.uuid))?);
    rules::unblocked("image", blockers)?;
    Ok(decision.event(ImageEvent::Deleted {}))
}
