//! What a router should be: one document with a section for each service. A section is the unit of change:
//! it has a digest, and only sections whose digest differs travel and are touched.
//!
//! **Invariant:** equal intent gives equal bytes. Lists are in a fixed order, maps are ordered, and neither
//! revision nor epoch is part of a digest.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};
use switchback_events::{AddressMode, L3NetworkId, Mac, Nic, Position, RouterId};

/// The whole configuration of a router, as the log implies it at `revision`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouterConfig {
    /// Which router.
    pub router: RouterId,
    /// The position of the last event that bears on the configuration.
    pub revision: Position,
    /// The services.
    pub sections: Sections,
}

/// The sections of a [`RouterConfig`].
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sections {
    /// Links, addresses and routes.
    pub interfaces: InterfacesConfig,
    /// Who gets which address.
    pub dhcp: DhcpConfig,
    /// Names and upstream servers.
    pub dns: DnsConfig,
    /// Source NAT.
    pub snat: SnatConfig,
    /// What may enter and pass.
    pub firewall: FirewallConfig,
}

/// Links, addresses and routes.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InterfacesConfig {
    /// In the order of the device ids.
    pub nics: Vec<RouterNic>,
    /// The next hop of the default route, where the router has one.
    pub default_gateway: Option<Ipv4Addr>,
    /// The same of IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_gateway6: Option<Ipv6Addr>,
}

/// One interface of a router.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouterNic {
    /// `eth<device id>`.
    pub name: String,
    /// Its hardware address, by which the agent finds the link.
    pub mac: Mac,
    /// Its addresses with the length of their subnet's prefix: at most one of each family, IPv4 first.
    pub addresses: Vec<IpNet>,
    /// The roles, as [`Nic::PUBLIC`], [`Nic::MANAGEMENT`] and [`Nic::GUEST`].
    pub meta_data: u8,
    /// The network behind it.
    pub l3_network: L3NetworkId,
    /// Bytes.
    pub mtu: u16,
}

impl RouterNic {
    /// Whether the nic plays the role `bit`.
    pub fn is(&self, bit: u8) -> bool {
        self.meta_data & bit != 0
    }

    /// Its IPv4 address.
    pub fn ipv4(&self) -> Option<Ipv4Net> {
        self.addresses.iter().find_map(|net| if let IpNet::V4(net) = net { Some(*net) } else { None })
    }

    /// Its IPv6 address.
    pub fn ipv6(&self) -> Option<Ipv6Net> {
        self.addresses.iter().find_map(|net| if let IpNet::V6(net) = net { Some(*net) } else { None })
    }

    /// The link-local address by which guests know their router, the same for all routers that the network ever has:
    /// their route by it outlives the one that told them. The other sides have one of their hardware address.
    pub fn link_local(&self) -> Option<Ipv6Net> {
        const LINK_LOCAL: u128 = 0xfe80 << 112;
        let network = u128::from_be_bytes(self.l3_network.0.0);
        let ip = Ipv6Addr::from(LINK_LOCAL | network & u128::from(u64::MAX));
        Ipv6Net::new(ip, 64).ok().filter(|_| self.is(Nic::GUEST) && self.ipv6().is_some())
    }
}

/// DHCP: every client is known, none gets an address by chance.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DhcpConfig {
    /// The networks served, by interface name.
    pub networks: Vec<DhcpNetwork>,
    /// Those served with IPv6.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks6: Vec<Dhcp6Network>,
    /// The clients, by address.
    pub hosts: Vec<DhcpHost>,
}

/// What the clients of one interface are told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DhcpNetwork {
    /// The interface it is served on.
    pub interface: String,
    /// The network.
    pub l3_network: L3NetworkId,
    /// Its subnet.
    pub subnet: Ipv4Net,
    /// Option 3.
    pub gateway: Ipv4Addr,
    /// The router's own address there, which DHCP comes from.
    pub server: Ipv4Addr,
    /// Option 6.
    pub dns_servers: Vec<Ipv4Addr>,
    /// Option 121, in order; the default route goes with them.
    pub routes: Vec<HostRoute>,
    /// Option 15.
    pub domain: Option<String>,
    /// Option 26, bytes.
    pub mtu: u16,
    /// Seconds.
    pub lease_time: u32,
}

/// A way that clients are told of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostRoute {
    /// Where to.
    pub prefix: Ipv4Net,
    /// By which router.
    pub nexthop: Ipv4Addr,
}

/// What the hosts of one interface are told of IPv6, by router advertisements and DHCP.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dhcp6Network {
    /// The interface it is served on.
    pub interface: String,
    /// The network.
    pub l3_network: L3NetworkId,
    /// Its subnet.
    pub subnet: Ipv6Net,
    /// How hosts come to their addresses.
    pub mode: AddressMode,
    /// Whether the router is the way to everywhere.
    pub gateway: bool,
    /// Whom to ask for names.
    pub dns_servers: Vec<Ipv6Addr>,
    /// Where names are looked for.
    pub domain: Option<String>,
    /// Bytes.
    pub mtu: u16,
    /// Seconds.
    pub lease_time: u32,
}

/// One client.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DhcpHost {
    /// The IPv4 address that it gets, always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Ipv4Addr>,
    /// The IPv6 address that it gets, or makes itself and asks about the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip6: Option<Ipv6Addr>,
    /// Its hardware address.
    pub mac: Mac,
    /// Option 12, a DNS label.
    pub hostname: String,
    /// The network that it is on.
    pub l3_network: L3NetworkId,
}

/// DNS: own names, and servers to ask for all others.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsConfig {
    /// The interfaces it answers on.
    pub interfaces: Vec<String>,
    /// Names of VMs, by address.
    pub names: Vec<DnsName>,
    /// Where to ask for all other names, in order. Empty: other names are refused.
    pub upstreams: Vec<IpAddr>,
}

/// One name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsName {
    /// What it stands for.
    pub ip: IpAddr,
    /// A DNS label.
    pub hostname: String,
    /// Answered as `hostname.domain` too.
    pub domain: Option<String>,
}

/// Source NAT.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnatConfig {
    /// By source subnet.
    pub rules: Vec<SnatRule>,
}

/// What leaves `source` by `interface` carries `public_ip`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnatRule {
    /// The guest subnet.
    pub source: Ipv4Net,
    /// The interface towards the public network.
    pub interface: String,
    /// The source address on it.
    pub public_ip: Ipv4Addr,
}

/// What may enter the router and pass through it: all else is refused.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FirewallConfig {
    /// Open ports of the router itself, in order.
    pub input: Vec<InputRule>,
    /// Pairs of interfaces between which new connections may be made.
    pub forward: Vec<ForwardRule>,
}

/// An open port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InputRule {
    /// The interface it is open on.
    pub interface: String,
    /// `tcp` or `udp`.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

/// A transport protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// New connections may go from one interface to the other.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForwardRule {
    /// From.
    pub from: String,
    /// To.
    pub to: String,
}

/// SHA-256 of the JSON of `value`, in hexadecimal.
pub fn digest<T: Serialize>(value: &T) -> String {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Sections {
    /// The digest of each section, by name.
    pub fn digests(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("interfaces".to_string(), digest(&self.interfaces)),
            ("dhcp".to_string(), digest(&self.dhcp)),
            ("dns".to_string(), digest(&self.dns)),
            ("snat".to_string(), digest(&self.snat)),
            ("firewall".to_string(), digest(&self.firewall)),
        ])
    }
}

impl RouterConfig {
    /// The digest of the whole: of the sections' digests, not of the revision.
    pub fn digest(&self) -> String {
        digest(&self.sections.digests())
    }

    /// The interface with the role `bit`, the first in the order of device ids.
    pub fn nic(&self, bit: u8) -> Option<&RouterNic> {
        self.sections.interfaces.nics.iter().find(|nic| nic.is(bit))
    }
}

/// The name of the interface `nic` inside its VM or router.
pub fn interface_name(nic: &Nic) -> String {
    format!("eth{}", nic.device_id)
}
