//! Who held an address, from when to when: from the events of ranges, and of routers, whose gateway addresses no
//! range holds.

use super::history::{History, blocking, unreadable};
use serde_json::{Value, json};
use std::{net::IpAddr, sync::Arc};
use switchback_bus::{GetAddressHolder, Refusal};
use switchback_events::{
    Commit, Event, Id, IpRangeEvent, L3NetworkId, Nic, NicId, Position, Recorded, RouterEvent, StreamKey, StreamKind,
    VipEvent, VmInstanceEvent,
};
use switchback_journal::Journal;

/// One holder's time with the address.
struct Held {
    l3: L3NetworkId,
    nic: NicId,
    owner: Id,
    /// Of a range; otherwise it is a router's gateway address.
    range: Option<Id>,
    since: Value,
    since_position: Position,
    until: Option<(Position, Value)>,
}

impl History {
    /// Those who held it at the moment asked for, or all there ever were.
    pub(super) async fn holders(&self, request: &GetAddressHolder) -> Result<Value, Refusal> {
        let upto = self.moment_or_now("at", request.at.as_ref())?;
        let (ip, l3, only_then) = (request.ip, request.l3_network_uuid, request.at.is_some());
        let journal = self.journal().clone();
        blocking("look for an address", move || {
            let mut found = held(&journal, ip, upto)?;
            found.retain(|held| l3.is_none_or(|l3| held.l3 == l3) && !(only_then && held.until.is_some()));
            let mut holders = Vec::new();
            for held in &found {
                let last = held.until.as_ref().map_or(upto, |(position, _)| *position);
                let (kind, name) = owner(&journal, held.owner, last)?;
                holders.push(json!({
                    "ip": ip, "l3NetworkUuid": held.l3, "ipRangeUuid": held.range,
                    "vmNicUuid": Some(held.nic).filter(|nic| nic.0 != Id::NIL),
                    "ownerUuid": held.owner, "ownerKind": kind, "ownerName": name,
                    "since": held.since, "until": held.until.as_ref().map(|(_, event)| event),
                }));
            }
            Ok(json!({"holders": holders, "position": upto}))
        })
        .await
    }
}

fn held(journal: &Journal, ip: IpAddr, upto: Position) -> Result<Vec<Held>, Refusal> {
    let mut tags = journal.streams(StreamKind::IpRange);
    tags.extend(journal.streams(StreamKind::Router));
    let mut found: Vec<Held> = Vec::new();
    let mut take = |commit: &Arc<Commit>| {
        for event in commit.events.iter().filter(|event| event.position <= upto) {
            match &event.event {
                Event::IpRange(range) => of_range(range, event, commit, ip, &mut found),
                Event::Router(router) => of_router(router, event, commit, ip, &mut found),
                _ => {}
            }
        }
    };
    journal.read_tagged(&tags, 0, upto, &mut take).map_err(unreadable)?;
    found.sort_by_key(|held| held.since_position);
    Ok(found)
}

fn of_range(event: &IpRangeEvent, at: &Recorded, commit: &Commit, wanted: IpAddr, found: &mut Vec<Held>) {
    match event {
        IpRangeEvent::AddressAllocated { l3_network, ip, nic, owner, .. } if *ip == wanted => found.push(Held {
            l3: *l3_network,
            nic: *nic,
            owner: *owner,
            range: Some(at.stream.id),
            since: moment(at, commit),
            since_position: at.position,
            until: None,
        }),
        IpRangeEvent::AddressReleased { ip, .. } if *ip == wanted => end(found, at, commit, |held| held.range),
        IpRangeEvent::Deleted { .. } => end(found, at, commit, |held| held.range),
        _ => {}
    }
}

fn of_router(event: &RouterEvent, at: &Recorded, commit: &Commit, wanted: IpAddr, found: &mut Vec<Held>) {
    match event {
        // What is allocated in a range has its own event there.
        RouterEvent::Created { nics, .. } => {
            let is_gateway = |nic: &&Nic| nic.addresses.iter().any(|own| own.ip == wanted && own.ip == own.gateway);
            for nic in nics.iter().filter(is_gateway) {
                found.push(Held {
                    l3: nic.l3_network,
                    nic: nic.nic,
                    owner: at.stream.id,
                    range: None,
                    since: moment(at, commit),
                    since_position: at.position,
                    until: None,
                });
            }
        }
        RouterEvent::Destroyed { .. } => end(found, at, commit, |held| held.range.is_none().then_some(held.owner)),
        _ => {}
    }
}

/// Ends what is held by the stream of the event.
fn end(found: &mut [Held], at: &Recorded, commit: &Commit, by: impl Fn(&Held) -> Option<Id>) {
    for held in found.iter_mut().filter(|held| held.until.is_none() && by(held) == Some(at.stream.id)) {
        held.until = Some((at.position, moment(at, commit)));
    }
}

/// When, by which event, who asked.
fn moment(event: &Recorded, commit: &Commit) -> Value {
    let time = jiff::Timestamp::from_microsecond(commit.at).map(|time| time.to_string()).ok();
    json!({
        "position": event.position, "at": commit.at, "time": time, "kind": event.event.kind(),
        "command": commit.provenance.command, "principal": commit.provenance.principal,
    })
}

/// What kind of thing it is, and its name at `upto`.
fn owner(journal: &Journal, id: Id, upto: Position) -> Result<(&'static str, Option<String>), Refusal> {
    for kind in [StreamKind::VmInstance, StreamKind::Router, StreamKind::Vip] {
        let events = journal.read_stream(StreamKey::new(kind, id), 0).map_err(unreadable)?;
        if events.is_empty() {
            continue;
        }
        let mut name = None;
        for (_, event) in events.iter().filter(|(_, event)| event.position <= upto) {
            match &event.event {
                Event::VmInstance(VmInstanceEvent::Created { name: given, .. })
                | Event::Vip(VipEvent::Created { name: given, .. } | VipEvent::Updated { name: Some(given), .. })
                | Event::Router(RouterEvent::Created { name: given, .. }) => name = Some(given.clone()),
                Event::VmInstance(VmInstanceEvent::Updated { name: Some(given), .. }) => name = Some(given.clone()),
                _ => {}
            }
        }
        return Ok((kind.stem(), name));
    }
    Ok(("unknown", None))
}
