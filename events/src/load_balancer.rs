//! What happens to a load balancer: listeners on a VIP, and the server groups with the nics that they hand on to. All of
//! one is on one stream, so a port of it has one holder.

use crate::{
    AccessControlListId, CertificateId, Id, L3NetworkId, LoadBalancerListenerId, NicId, RedirectRule, ServedNic,
    ServerGroupId, VipId, VipPlace, schema::Prefix,
};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Events of a load balancer. `l3_networks` are those of its VIP and of the nics concerned: their routers serve it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum LoadBalancerEvent {
    /// Its address is that of the VIP, which keeps it as long as it is there.
    Created {
        name: String,
        description: Option<String>,
        at: VipPlace,
    },
    Updated {
        name: Option<String>,
        description: Option<String>,
    },
    Deleted {
        vip: VipId,
        l3_networks: Vec<L3NetworkId>,
    },
    ListenerCreated {
        listener: LoadBalancerListenerId,
        name: String,
        description: Option<String>,
        options: ListenerOptions,
        /// Its own group, which is there as long as it is.
        group: ServerGroupId,
        l3_networks: Vec<L3NetworkId>,
    },
    ListenerUpdated {
        listener: LoadBalancerListenerId,
        name: Option<String>,
        description: Option<String>,
    },
    ListenerChanged {
        listener: LoadBalancerListenerId,
        options: ListenerOptions,
        l3_networks: Vec<L3NetworkId>,
    },
    ListenerDeleted {
        listener: LoadBalancerListenerId,
        group: ServerGroupId,
        l3_networks: Vec<L3NetworkId>,
    },
    /// What a listener of https shows from now on, in the place of what it showed.
    CertificateAdded {
        listener: LoadBalancerListenerId,
        certificate: CertificateId,
        /// The certificate's, by which an agent knows it.
        digest: String,
        l3_networks: Vec<L3NetworkId>,
    },
    /// It shows none: nobody is served there.
    CertificateRemoved {
        listener: LoadBalancerListenerId,
        certificate: CertificateId,
        l3_networks: Vec<L3NetworkId>,
    },
    GroupCreated {
        group: ServerGroupId,
        name: String,
        description: Option<String>,
    },
    GroupUpdated {
        group: ServerGroupId,
        name: Option<String>,
        description: Option<String>,
    },
    /// No listener hands on to it.
    GroupDeleted {
        group: ServerGroupId,
    },
    /// A listener hands on to a group too.
    GroupAdded {
        listener: LoadBalancerListenerId,
        group: ServerGroupId,
        l3_networks: Vec<L3NetworkId>,
    },
    GroupRemoved {
        listener: LoadBalancerListenerId,
        group: ServerGroupId,
        l3_networks: Vec<L3NetworkId>,
    },
    /// Nics that are in a group from now on, or have another weight there.
    MembersPut {
        group: ServerGroupId,
        /// Whose own group it is.
        listener: Option<LoadBalancerListenerId>,
        members: Vec<GroupMember>,
        l3_networks: Vec<L3NetworkId>,
    },
    /// They were taken out, or are gone.
    MembersRemoved {
        group: ServerGroupId,
        listener: Option<LoadBalancerListenerId>,
        nics: Vec<NicId>,
        l3_networks: Vec<L3NetworkId>,
    },
    /// A listener goes by an access control list, or by it otherwise than before.
    AccessListPut {
        listener: LoadBalancerListenerId,
        list: AccessControlListId,
        access: ListenerAccess,
        l3_networks: Vec<L3NetworkId>,
    },
    /// Listeners go by a list whose addresses are others now.
    AccessListChanged {
        list: AccessControlListId,
        listeners: Vec<LoadBalancerListenerId>,
        #[schemars(with = "Vec<Prefix>")]
        sources: Vec<IpNet>,
        l3_networks: Vec<L3NetworkId>,
    },
    AccessListRemoved {
        listener: LoadBalancerListenerId,
        list: AccessControlListId,
        l3_networks: Vec<L3NetworkId>,
    },
}

/// What a listener has of an access control list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ListenerAccess {
    /// These may come, and those of other white lists; nobody else.
    White {
        /// The list's.
        #[schemars(with = "Vec<Prefix>")]
        sources: Vec<IpNet>,
    },
    /// These may not come.
    Black {
        /// The list's.
        #[schemars(with = "Vec<Prefix>")]
        sources: Vec<IpNet>,
    },
    /// Requests that go to some of the listener's server groups; nothing else goes there.
    Redirect {
        /// The list's.
        rule: RedirectRule,
        /// There is at least one.
        groups: Vec<ServerGroupId>,
    },
}

/// The uuid of the row that says that a listener goes by a list; of a redirect, to which group.
pub fn listener_access_row(
    listener: LoadBalancerListenerId,
    list: AccessControlListId,
    group: Option<ServerGroupId>,
) -> Id {
    let group = group.map(|group| format!(":{group}")).unwrap_or_default();
    Id::of_name(&format!("listener-access-list:{listener}:{list}{group}"))
}

/// A nic in a server group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupMember {
    /// The nic.
    pub to: ServedNic,
    /// Its share, 0 to 100, where a listener goes by weights.
    pub weight: u8,
}

/// The uuid of the row that says that a nic is in a server group.
pub fn group_member_row(group: ServerGroupId, nic: NicId) -> Id {
    Id::of_name(&format!("server-group-nic:{group}:{nic}"))
}

/// What a listener is told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerOptions {
    /// The port of the VIP.
    pub port: u16,
    /// The port of the nics.
    pub instance_port: u16,
    /// What is spoken.
    pub protocol: ListenerProtocol,
    /// Who is next.
    pub algorithm: BalancerAlgorithm,
    /// Whether who came before goes to the same nic.
    pub persistence: Persistence,
    /// Connections at a time.
    pub max_connections: u32,
    /// Threads.
    pub processes: u8,
    /// Seconds after which a silent connection is closed.
    pub idle_timeout: u32,
    /// Whether a nic's server is well.
    pub health: HealthCheck,
    /// How servers of TCP are told who came.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// What becomes of a connection after an answer of HTTP.
    pub connections: HttpConnections,
    /// What answers of HTTP may be packed with, in order.
    pub compression: Vec<Compression>,
    /// Every request of HTTP is sent on to https.
    pub to_https: Option<ToHttps>,
    /// Versions and ciphers of https.
    pub tls: TlsPolicy,
    /// HTTP/2 is spoken too, by https.
    pub h2: bool,
    /// Everybody may come, whatever its white and black lists say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lists_off: bool,
}

/// Versions and ciphers of TLS.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TlsPolicy {
    /// TLS 1.2 and later, with the ciphers of the library.
    #[default]
    Default,
    /// TLS 1.0 to 1.2.
    From10,
    /// TLS 1.1 and 1.2.
    From11,
    /// TLS 1.2.
    Only12,
    /// TLS 1.2 with ephemeral keys alone.
    Strict12,
    /// TLS 1.2 and 1.3 with ephemeral keys alone.
    Strict12And13,
}

/// What a listener speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum ListenerProtocol {
    Tcp,
    Udp,
    Http,
    Https,
}

/// Which server is next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BalancerAlgorithm {
    /// One after the other.
    RoundRobin,
    /// The one with the fewest connections.
    LeastConn,
    /// Always the same for one source.
    Source,
    /// One after the other, as often as the weights say.
    WeightRoundRobin,
}

/// Whether who came before goes to the same server again.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, tag = "kind")]
pub enum Persistence {
    /// Not more than the algorithm has it.
    #[default]
    Off,
    /// By the source's address.
    Source {
        /// Seconds after which it is forgotten.
        idle: u32,
    },
    /// By a cookie that the load balancer adds.
    Insert {
        /// Its name.
        cookie: String,
        /// Seconds after which it is forgotten.
        idle: u32,
    },
    /// By a cookie that the server sets, which the load balancer changes.
    Rewrite {
        /// Its name.
        cookie: String,
    },
}

/// When a server is well.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthCheck {
    /// What is asked.
    pub target: HealthTarget,
    /// The port asked; none: the one that is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Seconds between two questions.
    pub interval: u32,
    /// Seconds until an answer comes too late.
    pub timeout: u32,
    /// So many answers in a row make it well.
    pub healthy: u8,
    /// So many failures in a row make it unwell.
    pub unhealthy: u8,
}

/// What a health check asks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, tag = "kind")]
pub enum HealthTarget {
    /// Whether it takes a connection.
    Tcp,
    /// Whether nobody says that the port is closed.
    Udp,
    /// Whether it answers a request.
    Http {
        /// `GET` or `HEAD`.
        method: HttpMethod,
        /// The path, with its first `/`.
        uri: String,
        /// First digits of the statuses that are good.
        codes: Vec<u8>,
    },
}

/// How a health check asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, clippy::upper_case_acronyms)]
pub enum HttpMethod {
    GET,
    HEAD,
}

/// Versions of the proxy protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum ProxyProtocol {
    V1,
    V2,
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HttpConnections {
    /// Both sides stay.
    #[default]
    KeepAlive,
    /// The server's is closed.
    ServerClose,
    /// Both are closed.
    Close,
}

/// What answers may be packed with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Compression {
    Gzip,
    Deflate,
    #[serde(rename = "raw-deflate")]
    RawDeflate,
    Identity,
}

/// Where https is, and with which status requests are sent there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToHttps {
    /// Its port.
    pub port: u16,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

impl Persistence {
    /// Whether it is off.
    pub fn is_off(&self) -> bool {
        *self == Persistence::Off
    }
}
