//! What a router should be: one document with a section for each service. A section is the unit of change:
//! it has a digest, and only sections whose digest differs travel and are touched.
//!
//! **Invariant:** equal intent gives equal bytes. Lists are in a fixed order, maps are ordered, and neither
//! revision nor epoch is part of a digest.

use crate::{load_balancer_config::LoadBalancerConfig, metadata::MetadataConfig, protocol::SectionPush};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};
use switchback_events::{AddressMode, EipId, L3NetworkId, Mac, Nic, PortForwardingRuleId, Position, RouterId, VipId};

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
    /// Addresses for the services below. This section and those after it do not travel and have no digest while they are
    /// empty: such a document is that of a router which does not know them.
    #[serde(default, skip_serializing_if = "VipsConfig::is_empty")]
    pub vips: VipsConfig,
    /// One-to-one NAT.
    #[serde(default, skip_serializing_if = "EipsConfig::is_empty")]
    pub eips: EipsConfig,
    /// Forwarded ports.
    #[serde(default, skip_serializing_if = "PortForwardingConfig::is_empty")]
    pub port_forwarding: PortForwardingConfig,
    /// How fast the traffic of VIPs may be.
    #[serde(default, skip_serializing_if = "QosConfig::is_empty")]
    pub qos: QosConfig,
    /// Load balancing.
    #[serde(default, skip_serializing_if = "LoadBalancerConfig::is_empty")]
    pub load_balancer: LoadBalancerConfig,
    /// What VMs are told of themselves.
    #[serde(default, skip_serializing_if = "MetadataConfig::is_empty")]
    pub metadata: MetadataConfig,
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

/// The addresses that a router answers for besides those of its nics.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VipsConfig {
    /// In order.
    pub addresses: Vec<VipAddress>,
}

/// An address with at least one service.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VipAddress {
    /// Whose it is.
    pub vip: VipId,
    /// The interface on its network.
    pub interface: String,
    /// The address, with the length of its subnet's prefix; the router holds it alone.
    pub address: IpNet,
}

/// One-to-one NAT.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EipsConfig {
    /// In order.
    pub eips: Vec<Eip>,
}

/// What comes for `vip_address` goes to `guest_address`; what leaves `guest_address` by `public_interface` carries
/// `vip_address`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Eip {
    /// Which EIP.
    pub eip: EipId,
    /// One of the addresses of `vips`.
    pub vip_address: Ipv4Addr,
    /// The interface that has it.
    pub public_interface: String,
    /// The address of the VM's nic.
    pub guest_address: Ipv4Addr,
    /// The interface towards the VM.
    pub guest_interface: String,
    /// What comes in carries the router's address on `guest_interface`: for VMs whose way out is another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub snat_inbound_traffic: bool,
}

/// Forwarded ports.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortForwardingConfig {
    /// In order.
    pub rules: Vec<PortForwardingRule>,
}

/// What comes for a port of the address goes to the port of the guest at the same place in its range.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortForwardingRule {
    /// Which rule.
    pub rule: PortForwardingRuleId,
    /// One of the addresses of `vips`, or the router's own on `public_interface`.
    pub vip_address: Ipv4Addr,
    /// The interface that has it.
    pub public_interface: String,
    /// `tcp` or `udp`.
    pub protocol: Protocol,
    /// The first port.
    pub vip_port_start: u16,
    /// The last port.
    pub vip_port_end: u16,
    /// The address of the VM's nic.
    pub guest_address: Ipv4Addr,
    /// The interface towards the VM.
    pub guest_interface: String,
    /// The first port there. There are as many as of the address.
    pub private_port_start: u16,
    /// The last port there.
    pub private_port_end: u16,
    /// Who may come; none: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_cidr: Option<Ipv4Net>,
    /// What comes in carries the router's address on `guest_interface`: for VMs whose way out is another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub snat_inbound_traffic: bool,
}

/// How fast the traffic of VIPs may be.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QosConfig {
    /// In order.
    pub limits: Vec<VipLimits>,
}

/// How fast what comes for an address and leaves with it may be, or what comes for one of its ports and leaves by it: then
/// within the limits of the address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VipLimits {
    /// Whose it is.
    pub vip: VipId,
    /// One of the addresses of `vips`.
    pub vip_address: Ipv4Addr,
    /// The interface that has it.
    pub interface: String,
    /// The port, of TCP and UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Towards the address, bits per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound: Option<u64>,
    /// From the address, bits per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound: Option<u64>,
}

impl QosConfig {
    /// The name of the section.
    pub const SECTION: &str = "qos";

    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }
}

impl VipsConfig {
    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }
}

impl EipsConfig {
    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.eips.is_empty()
    }
}

impl PortForwardingConfig {
    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
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
        self.each(|_, section| section.digest())
    }

    /// The same where some of them are known already.
    pub fn digests_from(&self, known: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        self.each(|name, section| known.get(name).cloned().unwrap_or_else(|| section.digest()))
    }

    /// The sections as they travel, with their digests.
    pub fn parts(&self) -> BTreeMap<String, SectionPush> {
        self.each(|_, section| SectionPush { digest: section.digest(), body: section.body(), changes: None })
    }

    fn each<T>(&self, of: impl Fn(&str, &dyn Section) -> T) -> BTreeMap<String, T> {
        let always: [(&str, &dyn Section); 5] = [
            ("interfaces", &self.interfaces),
            ("dhcp", &self.dhcp),
            ("dns", &self.dns),
            ("snat", &self.snat),
            ("firewall", &self.firewall),
        ];
        let where_filled: [(&str, &dyn Section, bool); 6] = [
            ("vips", &self.vips, self.vips.is_empty()),
            ("eips", &self.eips, self.eips.is_empty()),
            ("portForwarding", &self.port_forwarding, self.port_forwarding.is_empty()),
            (QosConfig::SECTION, &self.qos, self.qos.is_empty()),
            (LoadBalancerConfig::SECTION, &self.load_balancer, self.load_balancer.is_empty()),
            (MetadataConfig::SECTION, &self.metadata, self.metadata.is_empty()),
        ];
        let filled = where_filled.into_iter().filter(|(_, _, empty)| !empty).map(|(name, section, _)| (name, section));
        always.into_iter().chain(filled).map(|(name, section)| (name.to_string(), of(name, section))).collect()
    }
}

/// Any section.
trait Section {
    fn digest(&self) -> String;
    fn body(&self) -> Option<serde_json::Value>;
}

impl<T: Serialize> Section for T {
    fn digest(&self) -> String {
        digest(self)
    }
    fn body(&self) -> Option<serde_json::Value> {
        serde_json::to_value(self).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_that_came_later_is_not_there_while_it_is_empty() {
        let mut sections = Sections::default();
        let names: Vec<String> = sections.parts().into_keys().collect();
        assert_eq!(names, ["dhcp", "dns", "firewall", "interfaces", "snat"]);
        let printed = serde_json::to_string(&sections).unwrap();
        assert!(printed.ends_with(r#""firewall":{"input":[],"forward":[]}}"#), "{printed}");
        assert_eq!(serde_json::from_str::<Sections>(&printed).unwrap(), sections);
        let address = "203.0.113.50/24".parse().unwrap();
        sections.vips.addresses = vec![VipAddress { vip: VipId::default(), interface: "eth0".to_string(), address }];
        let digests = sections.digests();
        assert_eq!(digests["vips"], digest(&sections.vips));
        assert_eq!(sections.parts().into_keys().collect::<Vec<_>>(), digests.into_keys().collect::<Vec<_>>());
    }
}
