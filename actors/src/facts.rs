//! What a decision is shown of the world: states at their last sequenced version, and sets of the directory. All
//! that it was shown is remembered, and the commit stands only if none of it has moved. What was shown twice, and moved
//! in between, is remembered as it was first: such a decision never stands.

use crate::{
    directory::{Relation, SetKey},
    state::Aggregate,
    states::States,
    *,
};
use std::{cell::RefCell, collections::BTreeMap, sync::Arc};
use switchback_bus::Refusal;
use switchback_events::*;

/// What a decision was shown: versions of streams, and generations of sets.
pub type Shown = (Vec<(StreamKey, Version)>, Vec<(SetKey, u64)>);

/// A view of the world for one decision.
pub struct Facts<'a> {
    states: &'a States,
    reads: RefCell<BTreeMap<StreamKey, Version>>,
    sets: RefCell<BTreeMap<SetKey, u64>>,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(states: &'a States) -> Facts<'a> {
        Facts { states, reads: RefCell::default(), sets: RefCell::default() }
    }

    /// The state of `id`; the decision rests on it.
    pub fn get<A: Aggregate>(&self, id: impl Into<Id>) -> Result<Arc<A>, Refusal> {
        let id = id.into();
        let (version, state) = self.states.get::<A>(id)?;
        self.reads.borrow_mut().entry(StreamKey::new(A::KIND, id)).or_insert(version);
        Ok(state)
    }

    /// The same, for a decision that rests on what was shown before, too.
    pub(crate) fn resting_on(self, (reads, sets): Shown) -> Facts<'a> {
        self.reads.borrow_mut().extend(reads);
        self.sets.borrow_mut().extend(sets);
        self
    }

    /// The state of `id` without resting on it: for what never changes, and for what may be a little old.
    pub fn peek<A: Aggregate>(&self, id: impl Into<Id>) -> Result<Arc<A>, Refusal> {
        Ok(self.states.get::<A>(id)?.1)
    }

    /// The members of a set; the decision rests on it.
    pub fn members(&self, relation: Relation, owner: impl Into<Id>) -> Vec<Id> {
        let key = (relation, owner.into());
        let (generation, members) = self.states.set(key);
        self.sets.borrow_mut().entry(key).or_insert(generation);
        members
    }

    /// The members of a set, also where they are hidden: an id that was given once is not given again.
    pub(crate) fn known_members(&self, relation: Relation, owner: impl Into<Id>) -> Vec<Id> {
        let key = (relation, owner.into());
        let (generation, members) = self.states.known_set(key);
        self.sets.borrow_mut().entry(key).or_insert(generation);
        members
    }

    /// The size of a set without resting on it.
    pub fn peek_count(&self, relation: Relation, owner: impl Into<Id>) -> usize {
        self.states.count((relation, owner.into()))
    }

    /// The members of a set without resting on it.
    pub fn peek_members(&self, relation: Relation, owner: impl Into<Id>) -> Vec<Id> {
        self.states.members((relation, owner.into()))
    }

    /// The tags of a resource; the decision rests on them.
    pub fn tags(&self, resource: impl Into<Id>) -> Result<Arc<TagSet>, Refusal> {
        self.get::<TagSet>(resource)
    }

    /// Whether there is a backend of this provider for the service.
    pub fn gives(&self, provider_type: &str, service: NetworkServiceType) -> bool {
        self.states.providers().give(provider_type, service)
    }

    /// The value of a global configuration entry.
    pub fn config(&self, category: &str, name: &str) -> Result<String, Refusal> {
        Ok(self.peek::<GlobalConfig>(global_config_id())?.value(category, name))
    }

    /// The version of a stream, also where it is hidden; the decision rests on it.
    pub(crate) fn known_version(&self, stream: StreamKey) -> Version {
        let version = self.states.journal().version(stream);
        self.reads.borrow_mut().entry(stream).or_insert(version);
        version
    }

    /// The version of a stream, without resting on it.
    pub(crate) fn version(&self, stream: StreamKey) -> Version {
        self.states.version(stream)
    }

    /// What was shown: the versions and the generations.
    pub fn shown(self) -> Shown {
        (self.reads.into_inner().into_iter().collect(), self.sets.into_inner().into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::Given;

    #[test]
    fn what_moves_between_two_looks_is_remembered_as_it_was_first() {
        let zone = Id::of_name("zone");
        let created = || ZoneEvent::Created { name: "z".to_string(), description: None, is_default: false };
        let given = Given::nothing().event("zone", created());
        let facts = given.states.facts();
        let look = || {
            facts.members(Relation::All(StreamKind::Zone), Id::NIL);
            facts.get::<Zone>(zone).unwrap()
        };
        assert_eq!(look().name, "z");
        let renamed = ZoneEvent::Updated { name: Some("y".to_string()), description: None, is_default: None };
        let other = Given { states: given.states.clone() }.event("zone", renamed).event("other", created());
        assert_eq!(look().name, "y");
        let (reads, sets) = facts.shown();
        let stream = StreamKey::new(StreamKind::Zone, zone);
        assert_eq!(reads, [(stream, 1)]);
        assert_eq!(other.states.journal().version(stream), 2);
        assert_ne!(sets[0].1, other.states.set(sets[0].0).0);
    }
}
