//! The envelope: what stands around every event. A commit is the unit of atomicity: all the events of one
//! command, with the versions that the decision rested on. What one commit's events share (time, command,
//! principal …) is stored once, with the commit; [`Envelope`] shows each event with all of it.

use crate::{CommandId, Event, Id};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The position of an event in the whole log, from 1, without gaps. 0 means "before the first".
pub type Position = u64;
/// The version of a stream: the number of events in it. 0 means "does not exist".
pub type Version = u64;
/// Microseconds since 1970-01-01 00:00 UTC. Informational: the order is the position's.
pub type Micros = i64;

/// The kinds of streams, one for each aggregate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum StreamKind {
    Zone,
    Cluster,
    Host,
    Image,
    L2Network,
    L3Network,
    IpRange,
    MacBlock,
    NetworkServiceProvider,
    Offering,
    VmInstance,
    Router,
    LoadBalancer,
    Certificate,
    AccessControlList,
    Vip,
    Eip,
    PortForwarding,
    TagSet,
    GlobalConfig,
    ResourceConfig,
    Account,
    Policy,
    Role,
    Ownership,
    SecurityGroup,
}

impl StreamKind {
    /// The stem of the concept, as it is in file names, JSON and event kinds.
    pub const fn stem(self) -> &'static str {
        match self {
            StreamKind::Zone => "zone",
            StreamKind::Cluster => "cluster",
            StreamKind::Host => "host",
            StreamKind::Image => "image",
            StreamKind::L2Network => "l2_network",
            StreamKind::L3Network => "l3_network",
            StreamKind::IpRange => "ip_range",
            StreamKind::MacBlock => "mac_block",
            StreamKind::NetworkServiceProvider => "network_service_provider",
            StreamKind::Offering => "offering",
            StreamKind::VmInstance => "vm_instance",
            StreamKind::Router => "router",
            StreamKind::LoadBalancer => "load_balancer",
            StreamKind::Certificate => "certificate",
            StreamKind::AccessControlList => "access_control_list",
            StreamKind::Vip => "vip",
            StreamKind::Eip => "eip",
            StreamKind::PortForwarding => "port_forwarding",
            StreamKind::TagSet => "tag_set",
            StreamKind::GlobalConfig => "global_config",
            StreamKind::ResourceConfig => "resource_config",
            StreamKind::Account => "account",
            StreamKind::Policy => "policy",
            StreamKind::Role => "role",
            StreamKind::Ownership => "ownership",
            StreamKind::SecurityGroup => "security_group",
        }
    }
}

/// One stream: the events of one aggregate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamKey {
    /// What kind of aggregate.
    pub kind: StreamKind,
    /// Which one.
    pub id: Id,
}

impl StreamKey {
    /// The stream of the aggregate `id` of `kind`.
    pub fn new(kind: StreamKind, id: impl Into<Id>) -> StreamKey {
        StreamKey { kind, id: id.into() }
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.stem(), self.id)
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The way by which a command came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Origin {
    Api,
    Cli,
    Bus,
    Agent,
    System,
}

/// Who asked, why, and as a part of what. Principal and origin cannot be left out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Provenance {
    /// The command's id, chosen by its sender.
    pub command_id: CommandId,
    /// The name of the command, as in the catalogue: `CreateL3Network`.
    pub command: String,
    /// SHA-256 of the command's canonical parameters (first 16 bytes): the same id with another body is refused.
    pub body: Id,
    /// The account or the component that asked: `admin`, `system:router-reconciler`.
    pub principal: String,
    /// The access key or API token that it came in by, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Id>,
    /// The way in.
    pub origin: Origin,
    /// The command or event that caused this command, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<Id>,
    /// What all the commands of one piece of work share: the first command's id.
    pub correlation: Id,
    /// Free text from the user: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One event in its place in the log.
#[derive(Clone, PartialEq, Debug)]
pub struct Recorded {
    /// Its place in the whole log.
    pub position: Position,
    /// The stream that it belongs to.
    pub stream: StreamKey,
    /// Its place in the stream, from 1.
    pub version: Version,
    /// What happened.
    pub event: Event,
    /// Every resource id that the event touches, the stream's own first.
    pub tags: Vec<Id>,
}

/// All the events of one command, decoded.
#[derive(Clone, PartialEq, Debug)]
pub struct Commit {
    /// When it was decided.
    pub at: Micros,
    /// Who, why, as a part of what.
    pub provenance: Provenance,
    /// The versions that the decision rested on.
    pub reads: Vec<(StreamKey, Version)>,
    /// The events, in order, with contiguous positions; at least one.
    pub events: Vec<Recorded>,
}

impl Commit {
    /// The position of the last event.
    pub fn last_position(&self) -> Position {
        self.events.last().map_or(0, |event| event.position)
    }

    /// Each event with all that the commit knows of it.
    pub fn envelopes(&self) -> impl Iterator<Item = (Envelope<'_>, &Event)> {
        self.events.iter().map(|event| {
            let envelope = Envelope {
                position: event.position,
                stream_type: event.stream.kind.stem(),
                stream_id: event.stream.id,
                version: event.version,
                kind: event.event.kind(),
                schema: event.event.schema(),
                at: self.at,
                provenance: &self.provenance,
                tags: &event.tags,
            };
            (envelope, &event.event)
        })
    }
}

/// All that is known of an event but its own fields, as audit and the event stream show it.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Envelope<'a> {
    /// Its place in the whole log.
    pub position: Position,
    /// The stem of its concept.
    pub stream_type: &'static str,
    /// The resource.
    pub stream_id: Id,
    /// Its place in the stream.
    pub version: Version,
    /// What happened, as `<stem>.<Name>`.
    pub kind: String,
    /// The schema version of the payload.
    pub schema: u16,
    /// When, in microseconds since 1970.
    pub at: Micros,
    /// Who, why, as a part of what.
    #[serde(flatten, serialize_with = "shown")]
    #[schemars(with = "Shown<'static>")]
    pub provenance: &'a Provenance,
    /// Every resource that it touches.
    pub tags: &'a [Id],
}

/// A provenance with the names that the API uses; in the log it has its own.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    /// The command that it is of.
    command_id: CommandId,
    /// Its name, as in the catalogue.
    command: &'a str,
    /// The account or the component that asked.
    principal: &'a str,
    /// The access key or API token that it came in by, where it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<Id>,
    /// The way in.
    origin: Origin,
    /// The command or event that caused this command, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    causation: Option<Id>,
    /// What all the commands of one piece of work share.
    correlation: Id,
    /// Why, by the word of who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

fn shown<S: serde::Serializer>(provenance: &Provenance, serializer: S) -> Result<S::Ok, S::Error> {
    let Provenance { command_id, command, principal, credential, origin, causation, correlation, reason, body: _ } =
        provenance;
    let shown = Shown {
        command_id: *command_id,
        command,
        principal,
        credential: *credential,
        origin: *origin,
        causation: *causation,
        correlation: *correlation,
        reason: reason.as_deref(),
    };
    shown.serialize(serializer)
}
