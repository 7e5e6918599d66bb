//! What happens to an L3 network: its settings, name servers and services. Its ranges are streams of their own.

use crate::{
    Enabled, Id, L2NetworkId, NetworkServiceProviderId, NetworkServiceType, NicAddress, ZoneId, net::either_ip,
    schema::Prefix,
};
use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// Whom the network is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum L3NetworkCategory {
    Public,
    Private,
    System,
}

/// Events of an L3 network.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum L3NetworkEvent {
    Created {
        zone: ZoneId,
        l2_network: L2NetworkId,
        name: String,
        description: Option<String>,
        category: L3NetworkCategory,
        system: bool,
        dns_domain: Option<String>,
    },
    Updated {
        name: Option<String>,
        description: Option<String>,
        dns_domain: Option<String>,
        category: Option<L3NetworkCategory>,
        system: Option<bool>,
    },
    StateChanged {
        state: Enabled,
    },
    DnsAdded {
        dns: IpAddr,
    },
    DnsRemoved {
        dns: IpAddr,
    },
    /// Clients are told a way to `prefix`.
    HostRouteAdded {
        #[schemars(with = "Prefix")]
        prefix: Ipv4Net,
        nexthop: Ipv4Addr,
    },
    HostRouteRemoved {
        #[schemars(with = "Prefix")]
        prefix: Ipv4Net,
    },
    /// Bytes; what the L2 network carries until then.
    MtuChanged {
        mtu: u16,
    },
    /// No address is given or checked here; said at its creation.
    IpamDisabled {},
    ServicesAttached {
        provider: NetworkServiceProviderId,
        services: Vec<NetworkServiceType>,
    },
    ServicesDetached {
        provider: NetworkServiceProviderId,
        services: Vec<NetworkServiceType>,
    },
    /// Addresses that no nic takes, also where no IP range is yet.
    RangeReserved {
        reserved_range: Id,
        #[serde(with = "either_ip")]
        #[schemars(with = "IpAddr")]
        start: IpAddr,
        #[serde(with = "either_ip")]
        #[schemars(with = "IpAddr")]
        end: IpAddr,
    },
    RangeUnreserved {
        reserved_range: Id,
    },
    /// The address at which the hosts of VMs serve the network, where they do. The range that it is of holds it, with
    /// the network as its owner; one outside of all ranges has no record.
    DhcpServerChanged {
        address: Option<NicAddress>,
    },
    Deleted {},
}
