//! What becomes of a packet: where a router's configuration and the filters at the nics of VMs send it, step by step.
//!
//! ```text
//!  VM ─► filter of its nic ─► network ─► prerouting ─► route ─┬─► input ─► the router's services
//!                                │                            └─► forward ─► postrouting ─► network ─► filter of a nic ─► VM
//!                                └─► straight to another nic            ▲
//!                                            the router itself ─► output ┘
//! ```
//!
//! **Invariant:** it is a pure function of documents, and says of the first packet of a connection what the kernel does with
//! it: `agent/tests/explain.rs` sends random packets through random documents and compares. **Not here:** state: which
//! connections there are, which servers of a load balancer are well, what nobody's configuration says of other machines.

mod record;
mod scene;
mod translate;
mod walk;

pub use record::*;
pub use scene::*;
pub use walk::explain;

use serde::Serialize;
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};
use switchback_events::{NicId, VmInstanceId};

/// What a packet is of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum PacketProtocol {
    Tcp,
    Udp,
    /// A question by `ping`, of either family.
    Icmp,
}

/// The first packet of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Packet {
    /// What it is of.
    pub protocol: PacketProtocol,
    /// From where.
    pub source: IpAddr,
    /// The port that it is sent from; 0 where there are none.
    pub source_port: u16,
    /// To where.
    pub destination: IpAddr,
    /// The port that it is sent to; 0 where there are none.
    pub destination_port: u16,
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.protocol == PacketProtocol::Icmp {
            return write!(f, "icmp {} > {}", self.source, self.destination);
        }
        let name = if self.protocol == PacketProtocol::Tcp { "tcp" } else { "udp" };
        let (from, to) = ((self.source, self.source_port), (self.destination, self.destination_port));
        write!(f, "{name} {} > {}", SocketAddr::from(from), SocketAddr::from(to))
    }
}

/// Where a packet begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Beginning {
    /// A nic of a VM sends it.
    Nic(NicId),
    /// It comes to this interface of the router.
    Interface(String),
    /// The router sends it.
    Router,
}

/// Where a packet ends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum Verdict {
    /// This nic gets it.
    Delivered {
        /// Of this VM.
        vm: VmInstanceId,
        /// The nic.
        nic: NicId,
    },
    /// It leaves for a machine that is none of the VMs.
    Forwarded {
        /// By this interface of the router; none: it never came to the router.
        interface: Option<String>,
        /// Whose hardware address it carries.
        next_hop: IpAddr,
    },
    /// The router takes it.
    Answered {
        /// What answers there.
        service: Service,
    },
    /// The sender is told that it is refused.
    Rejected,
    /// It is gone, and nobody is told.
    Dropped,
    /// There is no way to its destination, and the sender is told so where it can be.
    Unreachable,
}

/// What answers at the router.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Service {
    /// The name server.
    Dns,
    /// The server of addresses, of either family.
    Dhcp,
    /// What VMs are told of themselves.
    Metadata,
    /// The load balancer, which asks one of its servers.
    LoadBalancer,
    /// The router's agent.
    Agent,
    /// The kernel, to a `ping`.
    Echo,
    /// Nothing that the configuration knows of: a closed port says so.
    Closed,
}

/// Where a step happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// At a nic of a VM, on its host.
    Host,
    /// Between machines.
    Network,
    /// In the router.
    Router,
}

/// What happens to the packet at one place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Where.
    pub place: Place,
    /// At which point of the kernel's way.
    pub hook: &'static str,
    /// The section of the configuration that decides.
    pub section: &'static str,
    /// The chain of the packet filter, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// What happens, for people.
    pub what: String,
    /// By which records.
    pub records: Vec<Record>,
    /// The packet afterwards.
    pub packet: Packet,
}

/// A server that a load balancer may choose.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// Its address.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// What becomes of what goes there.
    pub verdict: Verdict,
    /// The packet as it gets there.
    pub packet: Packet,
    /// The steps after the choice.
    pub steps: Vec<Step>,
}

/// What becomes of the answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Whom the one at the end answers: the source that it sees.
    pub to: IpAddr,
    /// From where the answer comes for the one at the beginning.
    pub seen_from: IpAddr,
    /// Why it does not come to it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
    /// How it goes, for people.
    pub steps: Vec<String>,
}

/// What becomes of a packet, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// As it began.
    pub packet: Packet,
    /// Where it ends. Of several servers, that of the first.
    pub verdict: Verdict,
    /// In order; the last one decided.
    pub steps: Vec<Step>,
    /// As it ends.
    pub ends: Packet,
    /// The servers that a load balancer chooses from; which one, it says only when it does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
    /// Of the answer, where the packet got to somebody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}
