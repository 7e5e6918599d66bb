//! Replay of one router's history from the log, by the tag index: what [`switchback_appliance::RouterFold`] needs and
//! no more. The push, the reconnect, `at=` and the audit all go through here.

use std::collections::BTreeSet;
use switchback_appliance::{RouterConfig, RouterFold};
use switchback_events::{Event, Id, Position, RouterEvent, RouterId};
use switchback_journal::{Journal, ReadError};

/// The fold of a router up to and with position `at`, or of its whole durable history.
///
/// # Errors
/// A log that cannot be read.
pub fn replay_router(journal: &Journal, router: RouterId, at: Option<Position>) -> Result<RouterFold, ReadError> {
    let upto = at.unwrap_or(Position::MAX).min(journal.durable());
    // First the router's own events say which networks it stands on.
    let mut tags: BTreeSet<Id> = BTreeSet::from([router.0]);
    journal.read_tagged(&[router.0], 0, upto, &mut |commit| {
        for event in commit.events.iter().filter(|event| event.position <= upto) {
            if let Event::Router(RouterEvent::Created { nics, .. }) = &event.event
                && event.stream.id == router.0
            {
                tags.extend(nics.iter().map(|nic| nic.l3_network.0));
            }
        }
    })?;
    let mut fold = RouterFold::default();
    let wanted: Vec<Id> = tags.iter().copied().collect();
    journal.read_tagged(&wanted, 0, upto, &mut |commit| {
        for event in commit.events.iter().filter(|event| event.position <= upto) {
            let other_router = matches!(event.event, Event::Router(_)) && event.stream.id != router.0;
            if !other_router && event.tags.iter().any(|tag| tags.contains(tag)) {
                fold.apply(event);
            }
        }
    })?;
    Ok(fold)
}

/// The configuration of a router at a position, or now; nothing where there is no such router then.
///
/// # Errors
/// A log that cannot be read.
pub fn config_at(journal: &Journal, router: RouterId, at: Option<Position>) -> Result<Option<RouterConfig>, ReadError> {
    Ok(replay_router(journal, router, at)?.config())
}
