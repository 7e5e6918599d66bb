//! What a decision answers: events on one or several streams, as one atom.

use switchback_events::{Event, Id, StreamKey, StreamKind};

/// The events of one command.
#[derive(Clone, PartialEq, Debug)]
pub struct Decision {
    /// The aggregate that the command is about.
    pub target: StreamKey,
    /// What shall have happened; nothing where all is as asked for already.
    pub events: Vec<(StreamKey, Event)>,
    /// The inventories to show in the reply, as projections name their kinds; several where the command makes several.
    pub inventories: Vec<(&'static str, Id)>,
}

impl Decision {
    /// A decision about `id` that changes nothing yet.
    pub fn about(kind: StreamKind, id: impl Into<Id>) -> Decision {
        Decision { target: StreamKey::new(kind, id), events: vec![], inventories: vec![] }
    }

    /// The same with an event on the target's stream.
    pub fn event(mut self, event: impl Into<Event>) -> Decision {
        self.events.push((self.target, event.into()));
        self
    }

    /// The same with an event on the target's stream, before all others.
    pub fn first(mut self, event: impl Into<Event>) -> Decision {
        self.events.insert(0, (self.target, event.into()));
        self
    }

    /// Adds an event on the stream of `id`.
    pub fn add(&mut self, id: impl Into<Id>, event: impl Into<Event>) {
        let event = event.into();
        self.events.push((StreamKey::new(event.stream_kind(), id), event));
    }

    /// The same with an inventory in the reply.
    pub fn show(self, kind: &'static str) -> Decision {
        let id = self.target.id;
        self.show_other(kind, id)
    }

    /// The same with the inventory of something in the target.
    pub fn show_other(mut self, kind: &'static str, id: impl Into<Id>) -> Decision {
        self.inventories.push((kind, id.into()));
        self
    }
}
