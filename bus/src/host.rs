//! What can be asked of hosts.

use crate::{
    Check::{self, *},
    Parameter, messages,
};
use std::net::Ipv4Addr;
use switchback_events::{ClusterId, Deviation, HostId};

/// A [`Deviation`], which only the server's own parts report.
pub(crate) const DEVIATION: &[Parameter] = &[
    found("section", "The section of the configuration."),
    found("item", "What."),
    found("expected", "What should be."),
    found("observed", "What is."),
];

const fn found(field: &'static str, doc: &'static str) -> Parameter {
    Parameter { field, doc, required: true, check: Check::Any, of: &[] }
}

messages! {
    /// Registers a Linux host that runs our host agent.
    Command AddKVMHost "POST" "/hosts/kvm" => "host" for Administrator {
        /// The cluster that it joins.
        cluster_uuid: ClusterId = Uuid,
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// Where its agent listens.
        management_ip: Ipv4Addr = Ipv4,
        /// TCP port of its agent.
        agent_port: Option<u16> = Int(1, 65535),
        /// Accepted for the reference's clients and never kept.
        username: Option<String> = FreeText(255),
        /// Accepted for the reference's clients and never kept.
        password: Option<String> = FreeText(255),
        /// Accepted for the reference's clients and never kept.
        ssh_port: Option<u16> = Int(1, 65535),
    }
    /// Registers a simulated host.
    Command AddSimulatorHost "POST" "/hosts/simulators" => "host" for Administrator {
        /// The cluster that it joins.
        cluster_uuid: ClusterId = Uuid,
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// An address, unique among hosts.
        management_ip: Ipv4Addr = Ipv4,
    }
    /// Changes a host's name or description.
    Command UpdateHost "PUT" "/hosts/{uuid}/actions" => "host" for Administrator {
        /// The host.
        uuid: HostId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Enables or disables a host, or empties it for maintenance: what runs on it is stopped, then it is left alone.
    Command ChangeHostState "PUT" "/hosts/{uuid}/actions" => "host" for Administrator {
        /// The host.
        uuid: HostId = Uuid,
        /// `enable`, `disable` or `maintain`.
        state_event: String = Enum(&["enable", "disable", "maintain"]),
    }
    /// Connects a host again: its agent is asked for its state and told the whole configuration.
    Command ReconnectHost "PUT" "/hosts/{uuid}/actions" => "host" for Administrator {
        /// The host.
        uuid: HostId = Uuid,
    }
    /// Deletes a host. One that is not there is a success; one that is in use names its blockers.
    Command DeleteHost "DELETE" "/hosts/{uuid}" => "" for Administrator {
        /// The host.
        uuid: HostId = Uuid,
    }
    /// What filters at the nics of a host and differs from what was put in place.
    Command ReportHostFindings "" "" => "" [internal] {
        /// The host.
        uuid: HostId = Uuid,
        /// What differs.
        drift: Vec<Deviation> = Objects(DEVIATION),
    }
    /// A host's agent was found to answer, or not to; or the host has nothing under way while it is being emptied.
    Command ReportHostStatus "" "" => "" [internal] {
        /// The host.
        uuid: HostId = Uuid,
        /// What was found.
        status: String = Enum(&["Connected", "Disconnected", "Idle"]),
        /// Why.
        reason: Option<String> = FreeText(2048),
        /// What users should know of it, where it was asked.
        notes: Option<Vec<String>> = List(&FreeText(2048)),
    }
}
