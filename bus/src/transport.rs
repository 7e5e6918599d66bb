//! The bus: how messages travel from who asks to who decides. In process now; over NATS later, by the same trait.

use crate::{Caller, GetEvents, Refusal, Sample};
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use switchback_events::{CommandId, Origin, Position, RouterId, StreamKey, Version};

/// How long a command's reply waits.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Wait {
    /// Until the decision is on disk.
    Durable,
    /// Also until the touched hosts and routers have it, for at most 30 seconds.
    #[default]
    Applied,
}

/// A command as it travels.
#[derive(Clone, PartialEq, Debug)]
pub struct CommandRequest {
    /// The message's name.
    pub name: String,
    /// Its parameters, one flat object.
    pub parameters: Value,
    /// The sender's id for it; made up when not given.
    pub command_id: Option<CommandId>,
    /// Who asks: the gateway's word, never the body's.
    pub caller: Caller,
    /// The way in.
    pub origin: Origin,
    /// Why.
    pub reason: Option<String>,
    /// The version that the target must have.
    pub if_match: Option<Version>,
    /// Decide and answer the events, append nothing.
    pub dry_run: bool,
    /// What the reply waits for.
    pub wait: Wait,
}

impl CommandRequest {
    /// A command of `caller` by `origin`, with everything else as usual.
    pub fn new(name: &str, parameters: Value, caller: Caller, origin: Origin) -> CommandRequest {
        CommandRequest {
            name: name.to_string(),
            parameters,
            command_id: None,
            caller,
            origin,
            reason: None,
            if_match: None,
            dry_run: false,
            wait: Wait::Applied,
        }
    }
}

/// One event of a command's reply.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplyEvent {
    /// Its place in the log; 0 in a dry run.
    pub position: Position,
    /// Its stream, as `<stem>/<uuid>`.
    pub stream: String,
    /// Its place in the stream.
    pub version: Version,
    /// What happened.
    pub kind: String,
    /// In a dry run: the event's fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
}

/// What came of a command.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandReply {
    /// The command's id: send it again to get the same answer.
    pub command_id: CommandId,
    /// The position of its last event; the head of the log where it changed nothing.
    pub position: Position,
    /// The version of the target.
    pub version: Version,
    /// The touched hosts and routers have it.
    pub applied: bool,
    /// The target as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Value>,
    /// Where a command makes several things.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventories: Option<Vec<Value>>,
    /// What happened.
    pub events: Vec<ReplyEvent>,
    /// In a dry run: what each router that it touches would do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routers: Vec<RouterPlan>,
}

/// What a router would do, by its agent's word.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouterPlan {
    /// The router.
    pub uuid: RouterId,
    /// Its name.
    pub name: String,
    /// By section, a line for each thing that would change: elements and tables of nftables, addresses, files, daemons.
    /// Sections that stay as they are do not appear.
    pub sections: BTreeMap<String, Vec<String>>,
    /// Why nobody can say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// Inventories under conditions.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryRequest {
    /// The message's name: `QueryZone`.
    pub name: String,
    /// Conditions, all of which must hold: `name=x`.
    pub q: Vec<String>,
    /// Only these fields.
    pub fields: Vec<String>,
    /// `+field` or `-field`.
    pub sort: Option<String>,
    /// How many to pass over.
    pub start: u64,
    /// How many at most, 1000 when not given.
    pub limit: Option<u64>,
    /// Only the number of them.
    pub count: bool,
    /// The number of all that match, too.
    pub reply_with_count: bool,
    /// Only the first of those that have the same value in this field.
    pub group_by: Option<String>,
    /// A position or an RFC 3339 time.
    pub at: Option<String>,
    /// Wait until the inventories stand at this position.
    pub min_position: Option<Position>,
}

/// The inventories that matched.
#[derive(Clone, PartialEq, Debug)]
pub struct QueryReply {
    /// In order, as a JSON array: a page may have a hundred thousand, and most who carry it do not look into it.
    pub inventories: String,
    /// With `count` or `replyWithCount`: how many match in all.
    pub total: Option<u64>,
    /// What the inventories stand at.
    pub position: Position,
}

impl QueryReply {
    /// The inventories, for those who look into them.
    pub fn rows(&self) -> Vec<Value> {
        serde_json::from_str(&self.inventories).unwrap_or_default()
    }

    /// The reply as JSON.
    pub fn into_json(self) -> String {
        let total = self.total.map_or_else(String::new, |total| format!("\"total\":{total},"));
        format!("{{\"inventories\":{},{total}\"position\":{}}}", self.inventories, self.position)
    }
}

/// A wish to follow the log.
#[derive(Clone, PartialEq, Debug)]
pub struct EventsRequest {
    /// Which events. `newest` has no meaning here and is refused.
    pub filter: GetEvents,
    /// Wait for more at the end of the log; otherwise the stream ends where the log ended when it was asked.
    pub follow: bool,
}

/// An event as the API shows it to who follows: made into text once, for all ways in which it goes out.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownEvent {
    /// Its place in the whole log.
    pub position: Position,
    /// The stem of its concept: `zone`.
    #[serde(default)]
    pub stream_type: String,
    /// The resource.
    #[serde(default)]
    pub stream_id: String,
    /// What happened, as `<stem>.<Name>`.
    pub kind: String,
    /// The schema version of its fields.
    #[serde(default)]
    pub schema: u16,
    /// When, in RFC 3339.
    #[serde(default)]
    pub time: String,
    /// All of it as a JSON object.
    #[serde(skip)]
    pub text: String,
}

impl ShownEvent {
    /// The event that a JSON object is; nothing if it is none.
    pub fn of(event: &Value) -> Option<ShownEvent> {
        let heading = ShownEvent::deserialize(event).ok()?;
        Some(ShownEvent { text: event.to_string(), ..heading })
    }
}

/// A step of a stream of events. It may hold no event: then only `examined` moved.
#[derive(Clone, PartialEq, Debug)]
pub struct EventBatch {
    /// Those that match, in order.
    pub events: Vec<ShownEvent>,
    /// The position up to which the log was looked at: resume after it.
    pub examined: Position,
}

/// Events as they are read. It reads only when polled, so a slow reader slows nobody else.
pub type EventStream = BoxStream<'static, Result<EventBatch, Refusal>>;

/// The form in which the log is copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogForm {
    /// JSON lines, one event each, with CloudEvents attributes.
    JsonLines,
    /// Frames as they are stored: a backup.
    Frames,
}

/// The log as bytes, from where it was asked for to where it ends.
pub struct LogCopy {
    /// The last position in it.
    pub upto: Position,
    /// The bytes as they are read: only when polled.
    pub chunks: BoxStream<'static, Result<Vec<u8>, Refusal>>,
}

/// From who asks to who decides or knows. Whether the caller may, and what of it he sees, is decided behind this, so that
/// it holds for every way in.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Asks for a change. When it answers, the change is on disk.
    async fn command(&self, request: CommandRequest) -> Result<CommandReply, Refusal>;
    /// Asks for inventories.
    async fn query(&self, caller: &Caller, request: QueryRequest) -> Result<QueryReply, Refusal>;
    /// Asks for anything else: the reads of the catalogue.
    async fn read(&self, caller: &Caller, name: &str, parameters: Value) -> Result<Value, Refusal>;
    /// The events that match, as a stream.
    async fn events(&self, caller: &Caller, request: EventsRequest) -> Result<EventStream, Refusal>;
    /// The last durable position.
    async fn head(&self) -> Position;
    /// The durable log after a position, to be kept elsewhere.
    async fn log(&self, caller: &Caller, form: LogForm, after: Position) -> Result<LogCopy, Refusal>;
    /// Whether the system is ready, by component, each with what was found.
    async fn ready(&self) -> Vec<(String, Result<String, String>)>;
    /// What is measured behind the bus.
    async fn metrics(&self) -> Vec<Sample> {
        vec![]
    }
}

/// What serves beside the bus: it is asked how it is when the system is, and measured with it.
pub trait Beside: Send + Sync {
    /// Whether it is ready, by part, each with what was found.
    fn ready(&self) -> Vec<(String, Result<String, String>)>;
    /// What is measured of it.
    fn metrics(&self) -> Vec<Sample>;
}

/// The reply's form of a stream.
pub fn stream_text(stream: StreamKey) -> String {
    stream.to_string()
}
