//! What goes over the wire between the server and the agents (HTTP with mutual TLS, JSON bodies).
//!
//! | route | who | body → reply |
//! |---|---|---|
//! | `PUT /v1/config[?dryRun=1]` | router, host | [`Push`] → [`ApplyReport`] |
//! | `GET /v1/config` | router, host | → [`Held`] |
//! | `GET /v1/health` | router, host | → [`Health`] |
//! | `GET /v1/observed` | router | → [`Observed`] |
//! | `GET /v1/drift` | router, host | → [`Drift`]; of a host what filters at the nics of its VMs |
//! | `GET /v1/counters` | router | → [`ServiceCounters`] |
//! | `POST /v1/trace` | router | 501, not supported yet |
//! | `POST /v1/check` | host | [`InterfaceCheck`] → 200 or an [`AgentProblem`] |
//! | `POST /v1/arp` | host | [`ArpProbe`] → the MAC that answered, or `null` |
//! | `PUT /v1/agents/{digest}` | host | the bytes of an agent binary |
//! | `POST /v1/appliances/{router}/identity` | host | [`Identity`]: the certificate of the router's agent |
//! | `POST /v1/appliances/{router}/successor` | host | [`Succession`] → [`SuccessionReport`] |
//! | `POST /v1/appliances/{router}/agent` | host | [`AgentRestart`] → [`Health`] of the new agent process is up to the caller |
//!
//! A problem is any status from 400 with an [`AgentProblem`].

use crate::{changes::SectionChanges, config::digest, metadata::Password};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};
use switchback_events::{
    EipId, Id, L2NetworkId, LoadBalancerListenerId, Mac, Micros, PortForwardingRuleId, Position, VmInstanceId,
};

/// One revisioned document. A section without a body is one that the agent should hold already, by its digest, or comes of
/// the one that it holds by changes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Push {
    /// The router or host.
    pub id: Id,
    /// Which state of the log it stands for. Never goes down.
    pub revision: Position,
    /// Which run of the server sends it. Never goes down.
    pub epoch: u64,
    /// By name.
    pub sections: BTreeMap<String, SectionPush>,
    /// Of the VMs whose metadata says that one waits for them; beside the sections, since those are shown and compared.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub passwords: BTreeMap<VmInstanceId, Password>,
}

/// One section of a [`Push`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SectionPush {
    /// SHA-256 of the body's JSON, in hexadecimal.
    pub digest: String,
    /// The section, or nothing where the agent holds it, or something near to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<serde_json::Value>,
    /// What makes the section that the agent holds this one, in place of a body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<SectionChanges>,
}

impl SectionPush {
    /// The whole section.
    pub fn whole<T: Serialize>(section: &T) -> Self {
        Self { digest: digest(section), body: serde_json::to_value(section).ok(), changes: None }
    }
}

/// What came of a push.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplyReport {
    /// The revision in force now.
    pub revision: Position,
    /// The digest of the whole configuration in force now.
    pub config_digest: String,
    /// What was done to each section.
    pub sections: BTreeMap<String, SectionReport>,
    /// For hosts: the state of each item (L2 network, router, VM) by its uuid.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub items: BTreeMap<Id, ItemReport>,
    /// Milliseconds that applying took.
    pub millis: u64,
}

/// What was, or in a dry run would be, done to one section.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SectionReport {
    /// Whether anything had to change.
    pub changed: bool,
    /// What, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
}

/// The state of one item of a host.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemReport {
    /// It is there and runs.
    pub ok: bool,
    /// For appliances and VMs: the generation that runs.
    #[serde(default)]
    pub generation: Position,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What a user should know, such as a fall-back that was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What an agent holds.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The revision in force, 0 for none.
    pub revision: Position,
    /// The highest epoch seen.
    pub epoch: u64,
    /// The digest of each section.
    pub digests: BTreeMap<String, String>,
    /// The document in force, secrets left out.
    pub sections: serde_json::Value,
}

/// Whether an agent is well.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The router or host that it serves.
    pub id: Id,
    /// `router` or `host`.
    pub role: String,
    /// SHA-256 of the agent's binary, in hexadecimal.
    pub agent_digest: String,
    /// The agent's release.
    pub agent_version: String,
    /// Chosen when the agent starts: another one means that it was restarted.
    pub boot_id: String,
    /// The revision in force, 0 for none.
    pub revision: Position,
    /// The highest epoch seen.
    pub epoch: u64,
    /// Everything that should run does.
    pub healthy: bool,
    /// For each service, how it is.
    pub services: BTreeMap<String, ServiceHealth>,
    /// For hosts: what the kernel can do (`vlan`: 802.1Q devices).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capabilities: BTreeMap<String, bool>,
    /// For routers: the passwords that VMs have taken, by their digests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub saved_passwords: BTreeMap<VmInstanceId, String>,
}

/// How one service is.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceHealth {
    /// It answers.
    pub healthy: bool,
    /// What was found.
    pub detail: String,
}

/// What the kernel and the daemons have, in the words of the configuration.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    /// By section.
    pub sections: serde_json::Value,
}

/// Where the kernel and the daemons differ from the configuration in force.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// The revision compared with.
    pub revision: Position,
    /// Empty when all is as it should be.
    pub items: Vec<DriftItem>,
}

/// One difference.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DriftItem {
    /// The section.
    pub section: String,
    /// What: `nftables table`, `dnsmasq process`, `address eth1 10.0.0.1/24`.
    pub item: String,
    /// What should be.
    pub expected: String,
    /// What is.
    pub observed: String,
}

/// How much went through the services of a router since they were set up there, however often their rules were replaced.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceCounters {
    /// Since when, in microseconds since 1970 by the clock of the machine: since the appliance has its table of rules. A
    /// table that somebody removed counts anew. 0: nothing counts yet.
    #[serde(default)]
    pub since: Micros,
    /// By EIP: what came for its address, and what left with it.
    pub eips: BTreeMap<EipId, Traffic>,
    /// By rule: what came for its ports, and what went back.
    pub port_forwarding: BTreeMap<PortForwardingRuleId, Traffic>,
    /// By listener of TCP, HTTP or HTTPS: what its clients did. What a haproxy that was killed had counted since its last
    /// reload is lost.
    #[serde(default)]
    pub listeners: BTreeMap<LoadBalancerListenerId, ListenerCounters>,
}

/// What came to a listener of a load balancer.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerCounters {
    /// Connections.
    pub connections: u64,
    /// HTTP requests.
    pub requests: u64,
    /// Refused by the list of who may come.
    pub denied: u64,
    /// Bytes from clients, without headers of TCP and IP.
    pub inbound_bytes: u64,
    /// Bytes to clients, without headers of TCP and IP.
    pub outbound_bytes: u64,
}

/// Packets of both directions.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// To the VM.
    pub inbound: Counter,
    /// From the VM.
    pub outbound: Counter,
}

/// Packets and their bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes, with the headers of IP.
    pub bytes: u64,
}

/// Can the host carry an L2 network on this interface?
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InterfaceCheck {
    /// The host's interface.
    pub physical_interface: String,
    /// 1 to 4094, or none.
    #[serde(default)]
    pub vlan: Option<u16>,
}

/// Who has this address? Asked by ARP on the bridge of an L2 network.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArpProbe {
    /// The L2 network.
    pub l2_network: L2NetworkId,
    /// The address.
    pub ip: Ipv4Addr,
}

/// The certificate and key of an agent, and the authority that it trusts; PEM. Secret.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Identity {
    /// The authority's certificate.
    pub authority: String,
    /// The agent's own certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(secret)")
    }
}

/// Restart the agent of an appliance, with another binary where a digest is given.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentRestart {
    /// A binary put in place before by `PUT /v1/agents/{digest}`; none: the one that runs.
    #[serde(default)]
    pub digest: Option<String>,
}

/// One step of the replacement of an appliance by another one beside it. Every step may be asked for again.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Succession {
    /// Which replacement: the position of the event that asked for it.
    pub replacement: Position,
    /// What to do.
    pub step: SuccessionStep,
    /// With [`SuccessionStep::Prepare`]: the binary of the agent, where it is to be another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// With [`SuccessionStep::Arrive`] and [`SuccessionStep::Settle`]: what it brings along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baggage: Option<Baggage>,
}

/// What goes with a router to another host. Secret: its document may hold keys.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Baggage {
    /// Files of its agent, by name: the last good document, and what came after it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// The leases, as its name server keeps them.
    #[serde(default)]
    pub leases: String,
    /// Connections that the other host was not told of before: the first packet of each, and what its kernel is to be told. Base64.
    #[serde(default)]
    pub connections: Vec<(String, String)>,
    /// Whom it knows next to it.
    #[serde(default)]
    pub neighbours: Vec<Neighbour>,
}

impl std::fmt::Debug for Baggage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Baggage(secret)")
    }
}

/// One whom a router knows next to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Neighbour {
    /// The router's interface.
    pub interface: String,
    /// The address.
    pub ip: IpAddr,
    /// The hardware address.
    pub mac: Mac,
}

/// Steps of a [`Succession`], in their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SuccessionStep {
    /// Make a second appliance beside the first, with the same document, plugged in nowhere, and see whether it is well.
    Prepare,
    /// Give it the connections, and plug it in where the first was.
    TakeOver,
    /// It is well there: remove the first.
    Finish,
    /// Plug the first in again, and remove the second. Where the two are on different hosts each does its part.
    GoBack,
    /// Of a router that goes to another host: say what it needs there. It serves on.
    Pack,
    /// Of a router that comes from another host: make the appliance, plugged in nowhere, and see whether it is well; where it
    /// is, give it what came meanwhile.
    Arrive,
    /// Unplug the one that goes, and say what came since it was packed last.
    Leave,
    /// Give the one that comes the rest, and plug it in.
    Settle,
}

/// How far a replacement is.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SuccessionReport {
    /// Which of the two serves, and whether the other one is there still.
    pub stage: SuccessionStage,
    /// Connections that the second was given.
    #[serde(default)]
    pub connections: u64,
    /// Leases that it was given.
    #[serde(default)]
    pub leases: u64,
    /// Microseconds that plugging it in took.
    #[serde(default)]
    pub switch_micros: u64,
    /// With [`SuccessionStep::Pack`] and [`SuccessionStep::Leave`]: what is to be brought to the other host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baggage: Option<Baggage>,
}

/// Stages of a replacement.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SuccessionStage {
    /// There is no second appliance.
    #[default]
    Alone,
    /// The first serves; the second is well, and plugged in nowhere.
    Prepared,
    /// The second serves; the first is there, and plugged in nowhere.
    Serving,
    /// The second serves, and is the only one.
    Finished,
}

/// Why an agent did not do as asked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{code}: {detail}")]
pub struct AgentProblem {
    /// What kind.
    pub code: AgentProblemCode,
    /// The section at fault, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// For people.
    pub detail: String,
}

/// Kinds of [`AgentProblem`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AgentProblemCode {
    /// A later revision is in force (409).
    StaleRevision,
    /// A later run of the server is in charge (409).
    StaleEpoch,
    /// A section came without body and the agent does not hold it (428): send it whole.
    MissingSection,
    /// The document is for another router or host (421).
    WrongRouter,
    /// The document is not valid (400).
    Invalid,
    /// Applying failed; the last good configuration is in force (500).
    Failed,
    /// The agent cannot be reached, or did not answer in time. Never sent by an agent.
    Unreachable,
    /// Not supported by this agent (501).
    NotSupported,
}

impl std::fmt::Display for AgentProblemCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self {
            AgentProblemCode::StaleRevision => "stale revision",
            AgentProblemCode::StaleEpoch => "stale epoch",
            AgentProblemCode::MissingSection => "missing section",
            AgentProblemCode::WrongRouter => "wrong router",
            AgentProblemCode::Invalid => "invalid document",
            AgentProblemCode::Failed => "apply failed",
            AgentProblemCode::Unreachable => "unreachable",
            AgentProblemCode::NotSupported => "not supported",
        };
        f.write_str(text)
    }
}
