//! The node behind the bus: a command's way from its words to its reply.

use super::{Node, history::CATCH_UP, inventory::shown};
use async_trait::async_trait;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use switchback_actors::{
    entity::{Decided, Execute, refusal_of},
    reconcilers::Settled,
};
use switchback_bus::*;
use switchback_events::{CommandId, Commit, Id, Position, Provenance};
use tracing::Instrument;

/// How long a reply waits for hosts and routers.
const APPLIED: Duration = Duration::from_secs(30);

/// The digest of a command's words: maps are ordered, so equal words have equal digests.
fn body_of(name: &str, parameters: &Value) -> Id {
    Id::of_name(&format!("{name} {parameters}"))
}

#[async_trait]
impl Bus for Node {
    async fn command(&self, request: CommandRequest) -> Result<CommandReply, Refusal> {
        let id = request.command_id.unwrap_or_else(|| CommandId(Id(*uuid::Uuid::now_v7().as_bytes())));
        let span = tracing::info_span!("command", name = %request.name, id = %id, principal = %request.principal);
        let result = self.carry_out(id, request).instrument(span.clone()).await;
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

    async fn query(&self, request: QueryRequest) -> Result<QueryReply, Refusal> {
        self.history().query(request).await
    }

    async fn events(&self, request: EventsRequest) -> Result<EventStream, Refusal> {
        self.history().stream(&request)
    }

    async fn log(&self, form: LogForm, after: Position) -> Result<LogCopy, Refusal> {
        self.history().copy(form, after)
    }

    async fn read(&self, name: &str, parameters: Value) -> Result<Value, Refusal> {
        self.look_up(name, &parameters).await
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
        vec![("journal".to_string(), log), ("inventories".to_string(), inventories)]
    }
}

impl Node {
    async fn carry_out(&self, id: CommandId, request: CommandRequest) -> Result<CommandReply, Refusal> {
        let message = message(&request.name)?;
        if message.internal {
            return Err(Refusal::argument("message", &request.name, "there is no such message"));
        }
        let (command, common) = command(&request.name, &request.parameters)?;
        let body = body_of(&request.name, &request.parameters);
        if !request.dry_run
            && let Some(appended) = self.journal.lookup(id, body).map_err(refusal_of)?
        {
            let commit = appended.durable().await.map_err(|lost| refusal_of(read_only(lost.0)))?;
            return self.reply(id, message, &commit, request.wait).await;
        }
        let execute = Execute {
            command: Arc::new(command),
            common,
            provenance: Provenance {
                command_id: id,
                command: request.name,
                body,
                principal: request.principal,
                origin: request.origin,
                causation: None,
                correlation: id.0,
                reason: request.reason,
            },
            if_match: request.if_match,
            dry_run: request.dry_run,
        };
        match self.registry.execute(execute).await? {
            Decided::Appended(appended) => {
                let commit = appended.durable().await.map_err(|lost| refusal_of(read_only(lost.0)))?;
                self.reply(id, message, &commit, request.wait).await
            }
            Decided::Unchanged(decision) => {
                // What there is already must be on disk too before it is answered.
                let head = self.journal.head();
                self.journal.wait_durable(head).await.map_err(|lost| refusal_of(read_only(lost.0)))?;
                let inventories = self.inventories(&decision.inventories).await;
                let version = self.journal.version(decision.target);
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
                let version = self.journal.version(decision.target);
                Ok(reply(id, self.journal.durable(), version, false, vec![], events))
            }
        }
    }

    async fn reply(
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
        // What was waited for may have been seen before it was on disk.
        let head = self.journal.head();
        self.journal.wait_durable(head).await.map_err(|lost| refusal_of(read_only(lost.0)))?;
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

fn read_only(why: String) -> switchback_journal::AppendError {
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
    CommandReply { command_id, position, version, applied, inventory, inventories: several, events }
}
