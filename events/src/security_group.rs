//! What happens to a security group: the rules by which the nics in it are filtered at their hosts.

use crate::{Enabled, Id, L3NetworkId, NicId, SecurityGroupId, SecurityGroupRuleId};
use ipnet::{IpNet, Ipv4Net};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

/// Which way packets go, as the nic sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum Direction {
    Ingress,
    Egress,
}

/// What a rule does with a packet that it fits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum RuleAction {
    ACCEPT,
    DROP,
}

/// The protocols that a rule may be about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum RuleProtocol {
    ALL,
    TCP,
    UDP,
    ICMP,
}

/// What becomes of a packet that no rule of a nic's groups fits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum NicPolicy {
    ALLOW,
    DENY,
}

/// Addresses that a rule names: one, from one to another, or a prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)]
pub enum AddressSpan {
    One(IpAddr),
    Range(Ipv4Addr, Ipv4Addr),
    Net(IpNet),
}

/// Ports that a rule names: from one to another, both included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PortSpan {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// A text that is none of a rule's values.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not {1}")]
pub struct NotASpan(pub String, pub &'static str);

const ADDRESSES: &str =
    "an address, a prefix such as 10.0.0.0/24, or an ascending range of IPv4 addresses such as 10.0.0.1-10.0.0.9";
const PORTS: &str = "a port from 1 to 65535, or an ascending range such as 8000-8080";

impl AddressSpan {
    /// Whether it is of IPv4.
    pub fn is_ipv4(&self) -> bool {
        match self {
            AddressSpan::One(ip) => ip.is_ipv4(),
            AddressSpan::Range(..) => true,
            AddressSpan::Net(net) => net.addr().is_ipv4(),
        }
    }

    /// Whether the address is one of these.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self, ip) {
            (AddressSpan::One(own), ip) => *own == ip,
            (AddressSpan::Range(first, last), IpAddr::V4(ip)) => (*first..=*last).contains(&ip),
            (AddressSpan::Range(..), IpAddr::V6(_)) => false,
            (AddressSpan::Net(net), ip) => net.contains(&ip),
        }
    }
}

impl PortSpan {
    /// Whether the port is one of these.
    pub fn contains(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl fmt::Display for AddressSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressSpan::One(ip) => write!(f, "{ip}"),
            AddressSpan::Range(first, last) => write!(f, "{first}-{last}"),
            AddressSpan::Net(net) => write!(f, "{net}"),
        }
    }
}

impl FromStr for AddressSpan {
    type Err = NotASpan;
    fn from_str(text: &str) -> Result<AddressSpan, NotASpan> {
        let bad = || NotASpan(text.to_string(), ADDRESSES);
        if let Some((first, last)) = text.split_once('-') {
            let (first, last): (Ipv4Addr, Ipv4Addr) =
                (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
            return if first < last { Ok(AddressSpan::Range(first, last)) } else { Err(bad()) };
        }
        match text.contains('/') {
            true => text.parse().map(|net: IpNet| AddressSpan::Net(net.trunc())).map_err(|_| bad()),
            false => text.parse().map(AddressSpan::One).map_err(|_| bad()),
        }
    }
}

impl fmt::Display for PortSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl FromStr for PortSpan {
    type Err = NotASpan;
    fn from_str(text: &str) -> Result<PortSpan, NotASpan> {
        let bad = || NotASpan(text.to_string(), PORTS);
        let port = |text: &str| match text.bytes().all(|c| c.is_ascii_digit()) {
            true => text.parse().ok().filter(|port| *port > 0).ok_or_else(bad),
            false => Err(bad()),
        };
        match text.split_once('-') {
            None => port(text).map(|port| PortSpan { first: port, last: port }),
            Some((first, last)) => {
                let (first, last) = (port(first)?, port(last)?);
                if first < last { Ok(PortSpan { first, last }) } else { Err(bad()) }
            }
        }
    }
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                std::borrow::Cow::<'_, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

as_text!(AddressSpan, PortSpan);

/// One rule. All that it names must fit a packet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecurityGroupRule {
    /// Which one.
    pub rule: SecurityGroupRuleId,
    /// For packets to the nic, or from it.
    pub direction: Direction,
    /// Its place among the group's rules of this direction, from 1; 0 for those that every group has.
    pub priority: u16,
    /// One that is disabled fits nothing.
    pub state: Enabled,
    /// A long description.
    pub description: Option<String>,
    /// 4 or 6.
    pub ip_version: u8,
    /// The protocol.
    pub protocol: RuleProtocol,
    /// The other end is in this group.
    pub remote_group: Option<SecurityGroupId>,
    /// The other end has one of these addresses; empty: any.
    pub addresses: Vec<AddressSpan>,
    /// To one of these ports; empty: any.
    pub ports: Vec<PortSpan>,
    /// What then.
    pub action: RuleAction,
    /// It was said by `allowedCidr`, `startPort` and `endPort`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub legacy: bool,
}

impl SecurityGroupRule {
    /// Whether it fits the same packets, and does the same with them.
    pub fn says_the_same(&self, other: &SecurityGroupRule) -> bool {
        let sorted = |rule: &SecurityGroupRule| {
            let world = AddressSpan::Net(IpNet::V4(Ipv4Net::default()));
            let world6 = AddressSpan::Net(IpNet::V6(ipnet::Ipv6Net::default()));
            let mut addresses = rule.addresses.clone();
            addresses.sort();
            if addresses == [world] || addresses == [world6] {
                addresses.clear();
            }
            let mut ports = rule.ports.clone();
            ports.sort();
            (rule.direction, rule.ip_version, rule.protocol, rule.remote_group, addresses, ports, rule.action)
        };
        sorted(self) == sorted(other)
    }
}

/// Events of a security group.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum SecurityGroupEvent {
    /// With the rules that let its members speak with each other.
    Created {
        name: String,
        description: Option<String>,
        ip_version: u8,
        rules: Vec<SecurityGroupRule>,
    },
    Updated {
        name: Option<String>,
        description: Option<String>,
    },
    StateChanged {
        state: Enabled,
    },
    /// The rules that are new or other than before, moved ones included, and those that are gone. What rules name of
    /// other groups is `remotes`.
    RulesChanged {
        rules: Vec<SecurityGroupRule>,
        deleted: Vec<SecurityGroupRuleId>,
        remotes: Vec<SecurityGroupId>,
    },
    /// Nics of the network may be in it.
    AttachedToL3Network {
        l3_network: L3NetworkId,
    },
    DetachedFromL3Network {
        l3_network: L3NetworkId,
    },
    Deleted {},
}

/// The uuid of the row that says that a nic is in a group.
pub fn nic_security_row(nic: NicId, group: SecurityGroupId) -> Id {
    Id::of_name(&format!("nic-security:{nic}:{group}"))
}

/// The uuid of the row of a nic's policies.
pub fn nic_policy_row(nic: NicId) -> Id {
    Id::of_name(&format!("nic-policy:{nic}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_they_are_printed_and_nothing_else_is() {
        for good in ["10.0.0.1", "10.0.0.0/24", "10.0.0.1-10.0.0.9", "2001:db8::1", "2001:db8::/64"] {
            assert_eq!(good.parse::<AddressSpan>().unwrap().to_string(), good);
        }
        assert_eq!("10.0.0.7/24".parse::<AddressSpan>().unwrap().to_string(), "10.0.0.0/24");
        let bad = ["", "10.0.0.9-10.0.0.1", "10.0.0.1-10.0.0.1", "::1-::2", "10.0.0.0/33", "10.0.0.1 ", "a", "1-2"];
        for bad in bad {
            assert!(bad.parse::<AddressSpan>().is_err(), "{bad}");
        }
        for good in ["1", "65535", "80-443"] {
            assert_eq!(good.parse::<PortSpan>().unwrap().to_string(), good);
        }
        for bad in ["", "0", "65536", "2-2", "3-2", "+1", " 1", "1-", "-1", "a"] {
            assert!(bad.parse::<PortSpan>().is_err(), "{bad}");
        }
    }
}
