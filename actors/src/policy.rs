//! Policy: statements that roles share. They are never changed, so what a role says changes only with the role.

use crate::{context::Context, decision::Decision, directory::Relation, facts::Facts, role::Role, rules};
use serde::{Deserialize, Serialize};
use switchback_bus::{CreatePolicy, DeletePolicy, Refusal};
use switchback_events::*;

/// A policy.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Policy {
    pub name: String,
    pub statements: Vec<PolicyStatement>,
    pub deleted: bool,
}

rules::exists!(Policy, "policy");

impl Policy {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &PolicyEvent, _version: Version) {
        match event {
            PolicyEvent::Created { name, statements, .. } => {
                (self.name, self.statements) = (name.clone(), statements.clone());
            }
            PolicyEvent::Deleted {} => self.deleted = true,
        }
    }
}

pub(crate) fn create(command: &CreatePolicy, context: &Context) -> Result<Decision, Refusal> {
    let id = context.resource_id();
    Ok(Decision::about(StreamKind::Policy, id).show("policy").event(PolicyEvent::Created {
        name: command.name.clone(),
        description: command.description.clone(),
        statements: command.statements.clone(),
    }))
}

pub(crate) fn delete(command: &DeletePolicy, facts: &Facts) -> Result<Decision, Refusal> {
    let decision = Decision::about(StreamKind::Policy, command.uuid);
    if !rules::Exists::exists(&*facts.get::<Policy>(command.uuid)?) {
        return Ok(decision);
    }
    // Taken from under a role it would allow more where it denies, and less where it allows.
    let roles = facts.members(Relation::RolesWithPolicy, command.uuid);
    rules::unblocked("policy", rules::blockers::<Role>(facts, roles)?)?;
    Ok(decision.event(PolicyEvent::Deleted {}))
}
