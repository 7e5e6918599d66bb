//! MAC block: the hardware addresses that share their first two bytes. It owns them, so that a MAC has one holder.
//! All begin with `fa`, and end with the nic's device id, as the reference's do.

use crate::{context::Context, decision::Decision, facts::Facts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use switchback_bus::{Refusal, code};
use switchback_events::*;

/// A block of hardware addresses.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct MacBlock {
    pub used: BTreeSet<Mac>,
}

impl MacBlock {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &MacBlockEvent, _version: Version) {
        match event {
            MacBlockEvent::Allocated { mac, .. } => self.used.insert(*mac),
            MacBlockEvent::Released { mac, .. } => self.used.remove(mac),
        };
    }
}

/// The block that a hardware address belongs to.
pub fn block_of(mac: Mac) -> Id {
    Id::of_name(&format!("mac-block:{:02x}:{:02x}", mac.0[0], mac.0[1]))
}

/// How often another address is tried before giving up.
const TRIES: usize = 16;

/// Takes a hardware address for `nic`, and adds the event.
pub(crate) fn allocate(
    decision: &mut Decision,
    facts: &Facts,
    context: &Context,
    nic: NicId,
    device_id: u8,
    custom: Option<Mac>,
) -> Result<Mac, Refusal> {
    for _ in 0..TRIES {
        let random = context.choice().to_be_bytes();
        let mac = custom.unwrap_or(Mac([0xfa, random[0], random[1], random[2], random[3], device_id]));
        let taken_now = decision.events.iter().any(
            |(_, event)| matches!(event, Event::MacBlock(MacBlockEvent::Allocated { mac: other, .. }) if *other == mac),
        );
        if !taken_now && !facts.get::<MacBlock>(block_of(mac))?.used.contains(&mac) {
            decision.add(block_of(mac), MacBlockEvent::Allocated { mac, nic });
            return Ok(mac);
        }
        if custom.is_some() {
            return Err(Refusal::conflict(code::VM_MAC, format!("MAC address {mac} is in use")));
        }
    }
    Err(Refusal::conflict(code::VM_MAC, "cannot find a free MAC address"))
}

/// Gives back the hardware address of a nic.
pub(crate) fn release(decision: &mut Decision, facts: &Facts, nic: &Nic) -> Result<(), Refusal> {
    if facts.get::<MacBlock>(block_of(nic.mac))?.used.contains(&nic.mac) {
        decision.add(block_of(nic.mac), MacBlockEvent::Released { mac: nic.mac, nic: nic.nic });
    }
    Ok(())
}
