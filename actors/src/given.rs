//! For tables of decisions: given events, when a command, then events or a refusal.

use crate::{context::Context, decide::decide, states::States};
use std::sync::Arc;
use switchback_bus::{Command, Common, Refusal};
use switchback_events::*;
use switchback_journal::{Journal, MemoryStore, Options, Proposal};
use switchback_snapshots::Snapshots;

/// A log in memory, and what decisions see of it.
pub(crate) struct Given {
    pub states: States,
}

pub(crate) fn id<T: From<Id>>(name: &str) -> T {
    T::from(Id::of_name(name))
}

impl Given {
    pub fn nothing() -> Given {
        // What a table gives waits for no disk, however much it is.
        let options = Options { max_pending: usize::MAX, ..Options::default() };
        let journal = Journal::open(Arc::new(MemoryStore::default()), options).unwrap();
        let states = States::open(journal, Snapshots::memory()).unwrap();
        states.found(1).unwrap();
        Given { states }
    }

    /// An event on the stream of the resource `name`.
    pub fn event(self, name: &str, event: impl Into<Event>) -> Given {
        self.event_at(Id::of_name(name), event)
    }

    /// An event on the stream of the resource `id`.
    pub fn event_at(self, id: Id, event: impl Into<Event>) -> Given {
        let event = event.into();
        let stream = StreamKey::new(event.stream_kind(), id);
        let journal = self.states.journal();
        let command_id = CommandId(Id::of_name(&format!("given {}", journal.head())));
        let provenance = Provenance {
            command_id,
            command: "Given".to_string(),
            body: Id::NIL,
            principal: "test".to_string(),
            credential: None,
            origin: Origin::System,
            causation: None,
            correlation: command_id.0,
            reason: None,
        };
        let reads = vec![(stream, journal.version(stream))];
        self.states.append(Proposal { at: 1, provenance, reads, events: vec![(stream, event)] }, &[]).unwrap();
        self
    }

    /// What is decided of a command.
    pub fn when(&self, command: impl Into<Command>) -> Result<Vec<Event>, Refusal> {
        let context = Context::new(2, CommandId(Id::of_name("when")), Common::default());
        let decision = decide(&command.into(), &self.states.facts(), &context)?;
        Ok(decision.events.into_iter().map(|(_, event)| event).collect())
    }
}
