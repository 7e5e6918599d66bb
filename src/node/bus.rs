//! The node behind the bus: a command's way from its words to its reply.

use super::{Node, history::CATCH_UP, inventory::shown};
use async_trait::async_trait;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};
use switchback_actors::{
    decision::Decision,
    entity::{Decided, Execute, refusal_of},
    ownership,
    reconcilers::Settled,
    role,
};
use switchback_bus::*;
use switchback_events::{CommandId, Commit, Id, Position, Provenance, StreamKey, Version};
use tracing::Instrument;

/// How long a reply waits for hosts and routers.
const APPLIED: Duration = Duration::from_secs(30);

#[async_trait]
impl Bus for Node {
    async fn command(&self, request: CommandRequest) -> Result<CommandReply, Refusal> {
        let id = request.command_id.unwrap_or_else(|| CommandId(Id(*uuid::Uuid::now_v7().as_bytes())));
        let span = tracing::info_span!("command", name = %request.name, id = %id, principal = %request.caller.name);
        let (begin, name) = (Instant::now(), request.name.clone());
        let result = self.carry_out(id, request).instrument(span.clone()).await;
        self.commands.note(&name, &result, begin.elapsed());
        let _inside = span.enter();
        match result {
            Ok(reply) => {
                tracing::info!(position = reply.position, events = reply.events.len(), applied = reply.applied, "done");
                Ok(reply)
            }
            Err(refusal) => {
                tracing::info!(code = %refusal.code, detail = %refusal.detail, "refused");
                Err(Refusal { command_id: Some(id), ..refusal })
            }
        }
    }

    async fn query(&self, caller: &Caller, request: QueryRequest) -> Result<QueryReply, Refusal> {
        self.may_ask(caller, message(&request.name)?, &Value::Null).await?;
        self.history().query(request, caller.limited_to()).await
    }

    async fn events(&self, caller: &Caller, request: EventsRequest) -> Result<EventStream, Refusal> {
        caller.may_send(message("GetEvents")?)?;
        caller.must_be_admin("the events")?;
        self.history().stream(&request)
    }

    async fn head(&self) -> Position {
        self.journal.durable()
    }

    async fn log(&self, caller: &Caller, form: LogForm, after: Position) -> Result<LogCopy, Refusal> {
        caller.in_every_scope("a copy of the log")?;
        caller.must_be_admin("the log")?;
        self.history().copy(form, after)
    }

    async fn read(&self, caller: &Caller, name: &str, parameters: Value) -> Result<Value, Refusal> {
        self.may_ask(caller, message(name)?, &parameters).await?;
        self.look_up(name, &parameters, caller.limited_to()).await
    }

    async fn metrics(&self) -> Vec<Sample> {
        self.measured().await
    }

    async fn ready(&self) -> Vec<(String, Result<String, String>)> {
        let head = self.journal.durable();
        let log = match self.journal.read_only() {
            Some(why) => Err(format!("read-only: {why}")),
            None => Ok(format!("writable, at position {head}")),
        };
        let at = self.projections.position();
        let inventories = match self.projections.failure() {
            Some(why) => Err(why),
            None => Ok(format!("at position {at}, {} behind", head.saturating_sub(at))),
        };
        let mut parts = vec![("journal".to_string(), log), ("inventories".to_string(), inventories)];
        parts.extend(self.beside.lock().iter().flat_map(|part| part.ready()));
        parts
    }
}

impl Node {
    async fn carry_out(&self, id: CommandId, request: CommandRequest) -> Result<CommandReply, Refusal> {
        let message = message(&request.name)?;
        if message.internal {
            return Err(Refusal::argument("message", &request.name, "there is no such message"));
        }
        request.caller.may_send(message)?;
        let (mut command, mut common) = command(&request.name, &request.parameters)?;
        let mut body = self.secrets.body_of(message, &request.parameters);
        if let Some(account) = request.caller.limited_to().filter(|_| message.access != Access::Anyone) {
            let asking = Asking::of(account, message, &request.parameters);
            self.permitted(&asking).await?;
            common.asking = Some(asking);
            // The same id and words of another account are another command.
            body = Id::of_name(&format!("{account} {body}"));
        }
        if let Command::LogInByAccount(asked) = &command {
            return self.log_in(id, body, request, asked).await;
        }
        // Made before it is looked whether the command was answered before: what it made then nobody knows any more.
        let made = self.credential(&mut command, &mut common, &request.caller)?;
        let reveal = |commit: &Commit, mut reply: CommandReply| match &made {
            Some(made) => made.reveal(commit, &mut reply).map(|()| reply),
            None => Ok(reply),
        };
        if !request.dry_run
            && let Some(appended) = self.journal.lookup(id, body).map_err(refusal_of)?
        {
            let commit = appended.durable().await.map_err(|lost| refusal_of(read_only(lost.0)))?;
            return reveal(&commit, self.reply(id, message, &commit, request.wait).await?);
        }
        self.secrets.keep(&mut command).await?;
        let mut principal = request.caller.name;
        if let Command::LogOut(asked) = &command
            && let Some((report, name)) = self.log_out(asked)
        {
            (command, principal) = (report.into(), name);
        }
        let execute = Execute {
            command: Arc::new(command),
            common,
            provenance: Provenance {
                command_id: id,
                command: request.name,
                body,
                principal,
                credential: request.caller.credential,
                origin: request.origin,
                causation: None,
                correlation: id.0,
                reason: request.reason,
            },
            if_match: request.if_match,
            dry_run: request.dry_run,
        };
        let asking = execute.common.asking.clone();
        let decided = match self.registry.execute(execute).await {
            Ok(decided) => decided,
            Err(refusal) => {
                if refusal.kind != RefusalKind::Busy {
                    self.all_durable().await?;
                }
                return Err(refusal);
            }
        };
        match decided {
            Decided::Appended(appended) => {
                let commit = appended.durable().await.map_err(|lost| refusal_of(read_only(lost.0)))?;
                reveal(&commit, self.reply(id, message, &commit, request.wait).await?)
            }
            Decided::Unchanged(decision) => {
                let head = self.all_durable().await?;
                let inventories = self.inventories(&decision.inventories).await;
                let version = self.version_for(asking.as_ref(), decision.target)?;
                Ok(reply(id, head, version, true, inventories, vec![]))
            }
            Decided::Dry(decision) => {
                let mut events = Vec::new();
                for (at, (stream, event)) in decision.events.iter().enumerate() {
                    let before = decision.events[..at].iter().filter(|(other, _)| other == stream).count() as u64;
                    events.push(ReplyEvent {
                        position: 0,
                        stream: stream.to_string(),
                        version: self.journal.version(*stream) + before + 1,
                        kind: event.kind(),
                        payload: Some(event.to_json()),
                    });
                }
                let version = self.version_for(asking.as_ref(), decision.target)?;
                let routers = self.plans(&decision, asking.as_ref()).await?;
                let reply = reply(id, self.journal.durable(), version, false, vec![], events);
                Ok(CommandReply { routers, ..reply })
            }
        }
    }

    /// Refuses a read or query that the caller, or the roles of its account, may not send.
    async fn may_ask(&self, caller: &Caller, message: &Message, parameters: &Value) -> Result<(), Refusal> {
        caller.may_send(message)?;
        match caller.limited_to().filter(|_| message.access != Access::Anyone) {
            Some(account) => self.permitted(&Asking::of(account, message, parameters)).await,
            None => Ok(()),
        }
    }

    /// Refuses what the roles of an account do not let it send. A decision is held to them again.
    async fn permitted(&self, asking: &Asking) -> Result<(), Refusal> {
        let permitted = role::permits(self.states(), asking);
        if permitted.is_err() {
            self.all_durable().await?;
        }
        permitted
    }

    /// What the routers that a decision touches would do, of those that who asks may know of.
    async fn plans(&self, decision: &Decision, asking: Option<&Asking>) -> Result<Vec<RouterPlan>, Refusal> {
        let hidden = match asking {
            None => BTreeSet::new(),
            Some(asking) => ownership::hidden_from(asking, &[], self.states())?,
        };
        let mut plans = self.reconcilers.plans(decision).await;
        plans.retain(|plan| !hidden.contains(&plan.uuid.0));
        Ok(plans)
    }

    /// The version of a stream, as far as who asks may know of it.
    fn version_for(&self, asking: Option<&Asking>, stream: StreamKey) -> Result<Version, Refusal> {
        let states = match asking {
            None => return Ok(self.journal.version(stream)),
            Some(asking) => self.states().hiding(ownership::hidden_from(asking, &[], self.states())?),
        };
        Ok(states.version(stream))
    }

    pub(super) async fn reply(
        &self,
        id: CommandId,
        message: &Message,
        commit: &Commit,
        wait: Wait,
    ) -> Result<CommandReply, Refusal> {
        let settled = match wait {
            Wait::Durable => Settled::Pending,
            Wait::Applied => self.reconcilers.settle(commit, APPLIED).await,
        };
        self.all_durable().await?;
        let applied = match settled {
            Settled::Applied => true,
            Settled::Pending => false,
            Settled::Failed(refusal) => return Err(refusal),
        };
        let inventories = self.inventories(&shown(message, commit)).await;
        let events: Vec<ReplyEvent> = commit
            .events
            .iter()
            .map(|event| ReplyEvent {
                position: event.position,
                stream: event.stream.to_string(),
                version: event.version,
                kind: event.event.kind(),
                payload: None,
            })
            .collect();
        // Of the target as it is now, as its inventory is: what `If-Match` may name next.
        let version = commit.events.first().map_or(0, |event| self.journal.version(event.stream));
        Ok(reply(id, commit.last_position(), version, applied, inventories, events))
    }

    /// Waits until all that an answer may stand on is on disk: also a "no", or that there is nothing to change, is said
    /// of what was seen sequenced only. Gives the head.
    async fn all_durable(&self) -> Result<Position, Refusal> {
        let head = self.journal.head();
        self.journal.wait_durable(head).await.map_err(|lost| refusal_of(read_only(lost.0)))?;
        Ok(head)
    }

    async fn inventories(&self, shown: &[(&'static str, Id)]) -> Vec<Value> {
        if shown.is_empty() {
            return vec![];
        }
        self.projections.wait_for(self.journal.durable(), CATCH_UP).await;
        let mut inventories = Vec::new();
        for (kind, id) in shown {
            inventories.extend(self.inventory(kind, *id).await);
        }
        inventories
    }
}

pub(super) fn read_only(why: String) -> switchback_journal::AppendError {
    switchback_journal::AppendError::ReadOnly(why)
}

fn reply(
    command_id: CommandId,
    position: u64,
    version: u64,
    applied: bool,
    inventories: Vec<Value>,
    events: Vec<ReplyEvent>,
) -> CommandReply {
    let inventory = inventories.first().cloned();
    let several = (inventories.len() > 1).then_some(inventories);
    CommandReply { command_id, position, version, applied, inventory, inventories: several, events, routers: vec![] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Fleet, NodeOptions, Scratch, secrets::Secrets};
    use parking_lot::{Condvar, Mutex};
    use serde_json::json;
    use std::time::Duration;
    use switchback_actors::entity::SystemClock;
    use switchback_journal::{Frame, FrameStore, MemoryStore, StoreError};
    use switchback_snapshots::Snapshots;

    /// How a write ends.
    #[derive(Clone, Copy, PartialEq)]
    enum Gate {
        Open,
        Closed,
        Broken,
    }

    /// A store whose writes do not end before somebody says how.
    struct Gated {
        frames: MemoryStore,
        gate: Mutex<Gate>,
        moved: Condvar,
    }

    impl Gated {
        fn set(&self, gate: Gate) {
            *self.gate.lock() = gate;
            self.moved.notify_all();
        }
    }

    impl FrameStore for Gated {
        fn append(&self, expected_head: Position, frames: &[Frame]) -> Result<(), StoreError> {
            let mut gate = self.gate.lock();
            self.moved.wait_while(&mut gate, |gate| *gate == Gate::Closed);
            if *gate == Gate::Broken {
                return Err(StoreError::Io { doing: "write", why: "broken".to_string() });
            }
            self.frames.append(expected_head, frames)
        }

        fn read_from(&self, after: Position, max_frames: usize) -> Result<Vec<Frame>, StoreError> {
            self.frames.read_from(after, max_frames)
        }

        fn frame_at(&self, first: Position) -> Result<Option<Frame>, StoreError> {
            self.frames.frame_at(first)
        }

        fn head(&self) -> Result<Position, StoreError> {
            self.frames.head()
        }
    }

    fn send(node: &Arc<Node>) -> actix_rt::task::JoinHandle<Result<CommandReply, Refusal>> {
        let zone = json!({"name": "zone", "resourceUuid": Id::of_name("zone").to_string()});
        let request =
            CommandRequest::new("CreateZone", zone, Caller::administrator("admin"), switchback_events::Origin::Api);
        let node = node.clone();
        actix_rt::spawn(async move { node.command(request).await })
    }

    #[test]
    fn a_refusal_is_given_only_when_what_it_stands_on_is_on_disk() {
        actix_rt::System::new().block_on(async {
            let store = Gated { frames: MemoryStore::default(), gate: Mutex::new(Gate::Open), moved: Condvar::new() };
            let (store, scratch, clock) = (Arc::new(store), Scratch::new().unwrap(), Arc::new(SystemClock));
            let (inventories, fleet) = (scratch.0.join("inventories.db"), Fleet::simulated(&NodeOptions::default()));
            let snapshots = Snapshots::memory();
            let node = Node::start(
                store.clone(),
                snapshots,
                &inventories,
                (fleet, Default::default(), Secrets::in_memory().unwrap()),
                1,
                clock,
                Some(scratch),
            );
            let node = Arc::new(node.unwrap());
            node.all_durable().await.unwrap();
            store.set(Gate::Closed);
            let head = node.journal.head();
            let first = send(&node);
            while node.journal.head() == head {
                actix_rt::task::yield_now().await;
            }
            let mut second = send(&node);
            let early = actix_rt::time::timeout(Duration::from_millis(300), &mut second).await;
            assert!(early.is_err(), "there is a zone, says the answer, and the zone is not on disk: {early:?}");
            store.set(Gate::Broken);
            for answer in [first.await.unwrap(), second.await.unwrap()] {
                assert_eq!(answer.unwrap_err().kind, RefusalKind::ReadOnly);
            }
        });
    }
}
