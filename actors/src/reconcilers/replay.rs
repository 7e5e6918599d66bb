//! Replay of one router's history from the log, by the tag index: what [`switchback_appliance::RouterFold`] needs and
//! no more. The push, the reconnect, `at=` and the audit all go through here.

use crate::{States, directory::Relation, vip};
use std::{collections::BTreeSet, ops::ControlFlow};
use switchback_appliance::{RouterConfig, RouterFold, SNAT_INBOUND_TRAFFIC, touched::Touched};
use switchback_events::*;
use switchback_journal::{EventHead, Journal, ReadError};

/// A router's history, read so far.
pub struct RouterReplay {
    router: RouterId,
    /// What the history up to `position` has come to.
    pub fold: RouterFold,
    /// What was touched since somebody took it.
    pub touched: Touched,
    /// The router, the networks it stands on, and the global configuration.
    tags: BTreeSet<Id>,
    position: Position,
}

impl RouterReplay {
    /// The history of `router` before its first event.
    pub fn new(router: RouterId) -> RouterReplay {
        RouterReplay {
            router,
            fold: RouterFold::default(),
            touched: Touched::all(),
            tags: BTreeSet::from([router.0, global_config_id()]),
            position: 0,
        }
    }

    /// Reads on up to and with position `upto`.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub fn advance(&mut self, journal: &Journal, upto: Position) -> Result<(), ReadError> {
        if upto <= self.position {
            return Ok(());
        }
        if self.fold.router.is_none() {
            // The router's own first event says which networks it stands on; their history is older than it is.
            self.learn_networks(journal, upto)?;
            self.position = 0;
        }
        while self.read(journal, upto)? {}
        if self.fold.router.is_some() {
            self.position = upto;
        } else {
            self.fold = RouterFold::default();
        }
        Ok(())
    }

    /// Takes events as if they came next, at the positions that they name: what the router would then be.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub fn suppose(&mut self, journal: &Journal, events: &[Recorded]) -> Result<(), ReadError> {
        let own = |event: &&Recorded| event.stream == StreamKey::new(StreamKind::Router, self.router.0);
        let new: Vec<Id> = events
            .iter()
            .filter(own)
            .filter_map(|event| match &event.event {
                Event::Router(RouterEvent::NicAttached { nic }) => Some(nic.l3_network.0),
                _ => None,
            })
            .collect();
        let upto = self.position;
        let known = self.tags.len();
        self.tags.extend(new);
        if self.tags.len() > known {
            (self.fold, self.position) = (RouterFold::default(), 0);
            while self.read(journal, upto)? {}
            self.position = upto;
        }
        for event in events.iter().filter(|event| event.tags.iter().any(|tag| self.tags.contains(tag))) {
            if event.stream.kind != StreamKind::Router || event.stream.id == self.router.0 {
                self.fold.apply(event);
            }
        }
        Ok(())
    }

    /// Reads on; answers whether the router came to stand on a network that was not known before. Then all is to be
    /// read again with it: its history is older than the router's nic there.
    fn read(&mut self, journal: &Journal, upto: Position) -> Result<bool, ReadError> {
        let (router, fold, tags, touched) = (self.router.0, &mut self.fold, &mut self.tags, &mut self.touched);
        let wanted: Vec<Id> = tags.iter().copied().collect();
        let bears = |head: &EventHead<'_>| RouterFold::may_bear(head.stream.kind, head.name);
        let mut new = false;
        journal.replay(Some(&wanted), self.position, upto, &bears, &mut |event| {
            match &event.event {
                Event::Router(_) if event.stream.id != router => {}
                Event::Router(RouterEvent::NicAttached { nic }) if tags.insert(nic.l3_network.0) => new = true,
                _ => touched.apply(fold, &event),
            }
            ControlFlow::Continue(())
        })?;
        if new {
            (self.fold, self.touched, self.position) = (RouterFold::default(), Touched::all(), 0);
        }
        Ok(new)
    }

    fn learn_networks(&mut self, journal: &Journal, upto: Position) -> Result<(), ReadError> {
        let first = journal.first_event(StreamKey::new(StreamKind::Router, self.router.0))?;
        if let Some(Recorded { position, event: Event::Router(RouterEvent::Created { nics, .. }), .. }) = first
            && position <= upto
        {
            self.tags.extend(nics.iter().map(|nic| nic.l3_network.0));
        }
        Ok(())
    }
}

/// The fold of a router up to and with position `at`, or of its whole durable history.
///
/// # Errors
/// A log that cannot be read.
pub fn replay_router(journal: &Journal, router: RouterId, at: Option<Position>) -> Result<RouterFold, ReadError> {
    let upto = at.unwrap_or(Position::MAX).min(journal.durable());
    let mut replay = RouterReplay::new(router);
    replay.advance(journal, upto)?;
    Ok(replay.fold)
}

/// The configuration of a router at a position, or now; nothing where there is no such router then.
///
/// # Errors
/// A log that cannot be read.
pub fn config_at(journal: &Journal, router: RouterId, at: Option<Position>) -> Result<Option<RouterConfig>, ReadError> {
    Ok(replay_router(journal, router, at)?.config())
}

/// The routers whose configuration an event may change: those of the L3 networks that it touches.
pub fn routers_touched(states: &States, event: &Recorded) -> Vec<RouterId> {
    let on = |tag: &Id| states.members((Relation::RoutersOnL3, *tag));
    match &event.event {
        Event::Router(_) => vec![RouterId(event.stream.id)],
        Event::Eip(EipEvent::Created { .. }) | Event::PortForwarding(PortForwardingEvent::Created { .. }) => vec![],
        Event::GlobalConfig(GlobalConfigEvent::Changed { name, .. }) if name == SNAT_INBOUND_TRAFFIC => {
            states.members((Relation::All(StreamKind::Router), Id::NIL)).into_iter().map(RouterId).collect()
        }
        // Those of the network that it is on read it, and only those that serve the VIP have anything to do.
        Event::Vip(VipEvent::QosSet { .. } | VipEvent::QosDeleted { .. }) => {
            let guests = vip::qos::guests(states, VipId(event.stream.id));
            guests.iter().flat_map(|guest| on(&guest.0)).map(RouterId).collect()
        }
        Event::L3Network(_)
        | Event::VmInstance(_)
        | Event::Eip(_)
        | Event::PortForwarding(_)
        | Event::LoadBalancer(_)
        | Event::IpRange(IpRangeEvent::Ipv6Created { .. }) => event.tags.iter().flat_map(on).map(RouterId).collect(),
        _ => vec![],
    }
}
