//! What a decision may know of the world besides facts: the time, and a source of ids and choices. All of it
//! follows from the command's id and the moment, so the same command decided again makes the same ids.

use sha2::{Digest, Sha256};
use std::cell::Cell;
use switchback_bus::Common;
use switchback_events::{CommandId, Id, Micros};

/// Time, ids and choices for one decision.
pub struct Context {
    /// When the command is decided.
    pub now: Micros,
    /// The command.
    pub command_id: CommandId,
    /// What a new resource carries besides its parameters.
    pub common: Common,
    drawn: Cell<u64>,
}

impl Context {
    /// The context of the command `command_id` at `now`.
    pub fn new(now: Micros, command_id: CommandId, common: Common) -> Context {
        Context { now, command_id, common, drawn: Cell::new(0) }
    }

    fn draw(&self) -> [u8; 32] {
        let drawn = self.drawn.get();
        self.drawn.set(drawn + 1);
        let mut hash = Sha256::new();
        hash.update(self.command_id.0.0);
        hash.update(drawn.to_be_bytes());
        hash.finalize().into()
    }

    /// A new id in the order of time, laid out as a UUID version 7.
    pub fn id(&self) -> Id {
        let random = self.draw();
        let millis = (self.now / 1000) as u64;
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random[..10]);
        bytes[6] = 0x70 | bytes[6] & 0x0f;
        bytes[8] = 0x80 | bytes[8] & 0x3f;
        Id(bytes)
    }

    /// The id of the resource that the command makes: the sender's choice, else a new one.
    pub fn resource_id(&self) -> Id {
        self.common.resource_uuid.unwrap_or_else(|| self.id())
    }

    /// A number to choose by.
    pub fn choice(&self) -> u64 {
        let random = self.draw();
        u64::from_be_bytes(random[..8].try_into().unwrap_or_default())
    }
}
