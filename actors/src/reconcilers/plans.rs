//! What a decision that is not carried out would do on routers: their configurations are folded with its events at the end,
//! and their agents are asked for the plan (`dryRun=1`). Nothing is appended and nothing is applied.

use super::{Reconcilers, RouterReplay, routers_touched};
use crate::{Router, decision::Decision};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use switchback_appliance::{Push, RouterConfig};
use switchback_bus::RouterPlan;
use switchback_events::{Event, Recorded, RouterEvent, RouterId};

/// So many routers are asked at most: of a change to all of them the first are told.
const ROUTERS_MAX: usize = 16;
/// A plan that takes longer is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

impl Reconcilers {
    /// The plans of the routers that `decision` touches, in the order of their ids. Those that would stay as they are do
    /// not appear.
    pub async fn plans(self: &Arc<Self>, decision: &Decision) -> Vec<RouterPlan> {
        let events = self.supposed(decision);
        let touched: BTreeSet<RouterId> =
            events.iter().flat_map(|event| routers_touched(self.states(), event)).collect();
        let made = |event: &Recorded| matches!(event.event, Event::Router(RouterEvent::Created { .. }));
        let new: BTreeSet<RouterId> =
            events.iter().filter(|event| made(event)).map(|event| RouterId(event.stream.id)).collect();
        let asked = touched.into_iter().chain(new.clone()).collect::<BTreeSet<_>>().into_iter().take(ROUTERS_MAX);
        let plans = asked.map(|router| self.plan(router, new.contains(&router), &events));
        futures_util::future::join_all(plans).await.into_iter().flatten().collect()
    }

    /// The events of a decision as the log would have them, if nothing came before.
    fn supposed(&self, decision: &Decision) -> Vec<Recorded> {
        let durable = self.states().journal().durable();
        let number = |(at, (stream, event)): (usize, &(_, Event))| {
            let position = durable + 1 + at as u64;
            Recorded { position, stream: *stream, version: position, tags: event.tags(*stream), event: event.clone() }
        };
        decision.events.iter().enumerate().map(number).collect()
    }

    async fn plan(self: &Arc<Self>, router: RouterId, new: bool, events: &[Recorded]) -> Option<RouterPlan> {
        let unknown = |name: String, why: String| RouterPlan {
            uuid: router,
            name,
            sections: BTreeMap::new(),
            unknown: Some(why),
        };
        if new {
            let name = events.iter().find_map(|event| match &event.event {
                Event::Router(RouterEvent::Created { name, .. }) if event.stream.id == router.0 => Some(name.clone()),
                _ => None,
            });
            return Some(unknown(name?, "it would be made by this".to_string()));
        }
        let state = self.state::<Router>(router)?;
        let config = match self.supposed_config(router, events).await {
            Ok(config) => config?,
            Err(why) => return Some(unknown(state.name.clone(), why)),
        };
        let target = self.router_target(router).filter(|_| self.router_record(router).is_some_and(|it| it.connected));
        let Some(target) = target else {
            let why = format!("it is {:?} and {:?}: nobody can be asked", state.state, state.status);
            return Some(unknown(state.name.clone(), why));
        };
        let (revision, sections) = (config.revision, config.sections.parts());
        let push = Push { id: router.0, revision, epoch: self.epoch, sections, passwords: BTreeMap::new() };
        let _permit = self.router_permit(router).await;
        let answer = tokio::time::timeout(PATIENCE, self.agents.plan_router(&target, push)).await;
        Some(match answer {
            Ok(Ok(report)) => RouterPlan {
                uuid: router,
                name: state.name.clone(),
                sections: report
                    .sections
                    .into_iter()
                    .filter(|(_, section)| section.changed)
                    .map(|(name, section)| (name, section.actions))
                    .collect(),
                unknown: None,
            },
            Ok(Err(problem)) => unknown(state.name.clone(), problem.to_string()),
            Err(_) => unknown(state.name.clone(), format!("its agent did not answer within {PATIENCE:?}")),
        })
    }

    /// The configuration with the events, where they bear on it.
    async fn supposed_config(
        self: &Arc<Self>,
        router: RouterId,
        events: &[Recorded],
    ) -> Result<Option<RouterConfig>, String> {
        let journal = self.states().journal().clone();
        let events = events.to_vec();
        let fold = move || {
            let mut replay = RouterReplay::new(router);
            replay.advance(&journal, events.first().map_or(0, |first| first.position - 1))?;
            let before = replay.fold.revision;
            replay.suppose(&journal, &events)?;
            Ok(if replay.fold.revision == before { None } else { replay.fold.config() })
        };
        let folded: Result<Result<_, switchback_journal::ReadError>, _> = tokio::task::spawn_blocking(fold).await;
        folded.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}
