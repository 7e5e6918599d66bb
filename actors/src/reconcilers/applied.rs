//! What a command's reply may wait for: that the operation it began has come to an end, and that every host and
//! router it touches is up to it.

use super::{Reconcilers, service_worker};
use crate::{l2_network::L2Attachment, rules::Exists, *};
use std::{collections::BTreeSet, time::Duration};
use switchback_bus::{Refusal, RefusalKind, code};
use switchback_events::*;

/// How the wait ended.
#[derive(Clone, PartialEq, Debug)]
pub enum Settled {
    /// All that the commit touches is up to it.
    Applied,
    /// Not within the time, or something that it touches does not answer.
    Pending,
    /// The operation came to nothing.
    Failed(Refusal),
}

/// How far one thing is.
enum Progress {
    Done,
    Waiting,
    /// It will not be done by waiting.
    Hopeless,
    Failed(Refusal),
}

/// Whether routers are to know of it before the VM's host does.
fn changes_nics(event: &Event) -> bool {
    use VmInstanceEvent::{HostnameChanged, NicAddressesChanged, NicAttached, NicChanged, UserdataChanged};
    let Event::VmInstance(event) = event else { return false };
    matches!(
        event,
        NicAttached { .. }
            | NicChanged { .. }
            | NicAddressesChanged { .. }
            | HostnameChanged { .. }
            | UserdataChanged { .. }
    )
}

/// Whether hosts may filter otherwise because of it, also those that it is not about.
fn changes_filters(event: &Event) -> bool {
    matches!(event, Event::SecurityGroup(_) | Event::VmInstance(VmInstanceEvent::NicSecurityChanged { .. }))
}

impl Reconcilers {
    /// Waits until the work that `commit` began is done, for at most `limit`.
    pub async fn settle(&self, commit: &Commit, limit: Duration) -> Settled {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            match self.progress(commit) {
                Progress::Done => return Settled::Applied,
                Progress::Hopeless => return Settled::Pending,
                Progress::Failed(refusal) => return Settled::Failed(refusal),
                Progress::Waiting => {}
            }
            // What moves a state without moving a fold is looked for now and then.
            let next = tokio::time::Instant::now() + Duration::from_millis(200);
            if tokio::time::timeout_at(deadline.min(next), moved).await.is_err()
                && tokio::time::Instant::now() >= deadline
            {
                return Settled::Pending;
            }
        }
    }

    fn progress(&self, commit: &Commit) -> Progress {
        let position = commit.last_position();
        let mut late = false;
        let mut waiting = false;
        let mut hopeless = false;
        let mut take = |progress: Progress| match progress {
            Progress::Done => None,
            Progress::Waiting => {
                waiting = true;
                None
            }
            Progress::Hopeless => {
                hopeless = true;
                None
            }
            Progress::Failed(refusal) => Some(refusal),
        };
        for event in &commit.events {
            if let Some(refusal) = take(self.operation(event)) {
                return Progress::Failed(refusal);
            }
        }
        let (hosts, routers) = {
            let world = self.world.lock();
            if world.fold.position() < position {
                return Progress::Waiting;
            }
            let mut hosts = BTreeSet::new();
            let mut routers = BTreeSet::new();
            for event in &commit.events {
                // A VM that runs is told when its routers know.
                if changes_nics(&event.event)
                    && let Some((host, told)) = world.fold.told(VmInstanceId(event.stream.id))
                {
                    let done = told.is_some_and(|told| world.converged.get(&host.0).is_some_and(|at| *at >= told));
                    late |= !done;
                }
                match &event.event {
                    // Hosts that are away are passed over, and realise it when they are back.
                    Event::L2Network(
                        L2NetworkEvent::AttachRequested { hosts: asked, .. }
                        | L2NetworkEvent::VlanChangeRequested { hosts: asked, .. },
                    ) => hosts.extend(asked),
                    other => hosts.extend(world.fold.touched(other, event.stream)),
                }
                routers.extend(self.routers_touched(event));
            }
            if commit.events.iter().any(|event| changes_filters(&event.event)) {
                hosts.extend(world.fold.stirred_since(commit.events.first().map_or(0, |event| event.position)));
            }
            (hosts, routers)
        };
        for host in hosts {
            let Some(state) = self.state::<Host>(host).filter(|state| state.exists()) else { continue };
            // It is told when it is taken back.
            if state.state == HostState::Maintenance {
                continue;
            }
            let connected = state.connected();
            let connecting = state.status == Some(HostStatus::Connecting);
            take(self.converged(host.0, position, connected, connecting));
        }
        for router in routers {
            let Some(state) = self.state::<Router>(router).filter(|state| state.exists()) else { continue };
            if matches!(state.state, VmState::Stopped | VmState::Stopping) {
                continue;
            }
            let connected = state.status == crate::router::RouterStatus::Connected;
            let connecting = state.status == crate::router::RouterStatus::Connecting;
            take(self.converged(router.0, position, connected, connecting));
        }
        let posts: BTreeSet<_> = commit.events.iter().flat_map(|event| self.posts_touched(event)).collect();
        for post in posts {
            take(self.converged(service_worker::key(post), position, true, false));
        }
        match (hopeless, waiting || late) {
            (true, _) => Progress::Hopeless,
            (_, true) => Progress::Waiting,
            _ => Progress::Done,
        }
    }

    fn converged(&self, id: Id, position: Position, connected: bool, connecting: bool) -> Progress {
        let world = self.world.lock();
        match world.converged.get(&id) {
            Some(converged) if *converged >= position => Progress::Done,
            _ if connected || connecting => Progress::Waiting,
            _ => Progress::Hopeless,
        }
    }

    /// Whether the operation that an event began has come to an end.
    fn operation(&self, event: &Recorded) -> Progress {
        let id = event.stream.id;
        let outcome = |settled: bool, failed: &Option<(Version, String, String)>| match failed {
            Some((version, code, detail)) if *version > event.version => {
                Progress::Failed(Refusal::new(RefusalKind::Backend, code, detail.clone()))
            }
            _ if settled => Progress::Done,
            _ => Progress::Waiting,
        };
        match &event.event {
            Event::VmInstance(
                VmInstanceEvent::Created { .. }
                | VmInstanceEvent::StartRequested { .. }
                | VmInstanceEvent::StopRequested { .. }
                | VmInstanceEvent::RebootRequested { .. }
                | VmInstanceEvent::DestroyRequested { .. },
            ) => match self.state::<VmInstance>(id) {
                Some(vm) => outcome(vm.settled(), &vm.failed),
                None => Progress::Waiting,
            },
            Event::Router(
                RouterEvent::Created { .. }
                | RouterEvent::StartRequested { .. }
                | RouterEvent::StopRequested {}
                | RouterEvent::RebootRequested {}
                | RouterEvent::ReconnectRequested {}
                | RouterEvent::ProvisionRequested {}
                | RouterEvent::ReplaceRequested {}
                | RouterEvent::MoveRequested { .. }
                | RouterEvent::DestroyRequested { .. },
            ) => match self.state::<Router>(id) {
                Some(router) => outcome(router.settled(), &router.failed),
                None => Progress::Waiting,
            },
            Event::L2Network(L2NetworkEvent::AttachRequested { cluster, .. }) => match self.state::<L2Network>(id) {
                Some(l2) => match (l2.clusters.get(cluster), &l2.failed) {
                    (Some(L2Attachment::Requested), _) => Progress::Waiting,
                    (None, Some((other, version, detail))) if other == cluster && *version > event.version => {
                        Progress::Failed(Refusal::new(RefusalKind::Backend, code::L2_ATTACH, detail.clone()))
                    }
                    _ => Progress::Done,
                },
                None => Progress::Waiting,
            },
            Event::L2Network(L2NetworkEvent::VlanChangeRequested { .. }) => match self.state::<L2Network>(id) {
                Some(l2) => match (l2.changing, &l2.change_failed) {
                    (Some(_), _) => Progress::Waiting,
                    (None, Some((version, detail))) if *version > event.version => {
                        Progress::Failed(Refusal::new(RefusalKind::Backend, code::L2_ATTACH, detail.clone()))
                    }
                    _ => Progress::Done,
                },
                None => Progress::Waiting,
            },
            Event::Host(HostEvent::Added { .. } | HostEvent::ReconnectRequested {}) => match self.state::<Host>(id) {
                Some(host) if host.status == Some(HostStatus::Connecting) => Progress::Waiting,
                _ => Progress::Done,
            },
            Event::Host(HostEvent::StateChanged { state: HostState::PreMaintenance }) => {
                match self.state::<Host>(id).map(|host| host.state) {
                    Some(HostState::PreMaintenance) => Progress::Waiting,
                    Some(HostState::Disabled) => {
                        let detail = format!("host {id} could not be emptied: a VM or router on it did not stop");
                        Progress::Failed(Refusal::new(RefusalKind::Backend, code::OPERATION, detail))
                    }
                    _ => Progress::Done,
                }
            }
            _ => Progress::Done,
        }
    }
}
