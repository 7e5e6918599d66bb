//! Ids: 128-bit, printed as 32 lower-case hexadecimal digits without dashes, one newtype a concept.
//!
//! In JSON an id is its text; in the log (MessagePack) it is 16 bytes.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// Any resource's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id(pub [u8; 16]);

/// A text that is not an id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a uuid of 32 lower-case hexadecimal digits")]
pub struct NotAnId(pub String);

impl Id {
    /// The id that no resource has.
    pub const NIL: Id = Id([0; 16]);

    /// A fixed id from a name, the same on every machine: the first 16 bytes of SHA-256.
    pub fn of_name(name: &str) -> Id {
        use sha2::Digest;
        let hash = sha2::Sha256::digest(name.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        Id(bytes)
    }

    /// The first eight hexadecimal digits: for names of namespaces and files.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_string()
    }

    /// The last eight hexadecimal digits: random where [`Id::short`] is mostly time.
    pub fn tail(&self) -> String {
        self.to_string()[24..].to_string()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0u8; 32];
        for (at, byte) in self.0.iter().enumerate() {
            text[at * 2] = HEX[usize::from(byte >> 4)];
            text[at * 2 + 1] = HEX[usize::from(byte & 15)];
        }
        f.pad(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Id {
    type Err = NotAnId;
    fn from_str(text: &str) -> Result<Id, NotAnId> {
        let digits = text.as_bytes();
        if digits.len() != 32 {
            return Err(NotAnId(text.to_string()));
        }
        let digit = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            match (digit(pair[0]), digit(pair[1])) {
                (Some(high), Some(low)) => *byte = high << 4 | low,
                _ => return Err(NotAnId(text.to_string())),
            }
        }
        Ok(Id(bytes))
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Id;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a uuid")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Id, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Id, E> {
                Ok(Id(bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &"16 bytes"))?))
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Visitor)
        } else {
            deserializer.deserialize_bytes(Visitor)
        }
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Id);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> { text.parse().map(Self) }
        }
        impl From<Id> for $name { fn from(id: Id) -> Self { Self(id) } }
        impl From<$name> for Id { fn from(id: $name) -> Id { id.0 } }
    )*};
}

ids! {
    /// A zone: the ancestor of everything else in one place.
    ZoneId;
    /// A cluster: hosts that carry the same L2 networks.
    ClusterId;
    /// A host that runs VMs and appliances.
    HostId;
    /// An image record.
    ImageId;
    /// A layer 2 broadcast domain.
    L2NetworkId;
    /// A layer 3 network: subnets and services on an L2 network.
    L3NetworkId;
    /// A range of addresses of an L3 network.
    IpRangeId;
    /// A provider of network services.
    NetworkServiceProviderId;
    /// An instance offering, virtual router offerings included.
    OfferingId;
    /// A VM instance of a user.
    VmInstanceId;
    /// A network interface of a VM or of a router.
    NicId;
    /// A virtual router.
    RouterId;
    /// A virtual IP: an address of an L3 network for services.
    VipId;
    /// An elastic IP: one-to-one NAT between a VIP and a nic.
    EipId;
    /// A rule that forwards ports of a VIP to a nic.
    PortForwardingRuleId;
    /// A tag on a resource.
    TagId;
    /// An account: who may ask.
    AccountId;
    /// A key that an account signs requests with.
    AccessKeyId;
    /// A token by which a machine comes in as an account.
    ApiTokenId;
    /// A load balancer: listeners on a VIP.
    LoadBalancerId;
    /// A port of a load balancer.
    LoadBalancerListenerId;
    /// Servers that listeners hand on to.
    ServerGroupId;
    /// A certificate with its key, which listeners show.
    CertificateId;
    /// A list of who may come to listeners, or of requests that go elsewhere.
    AccessControlListId;
    /// An entry of an access control list.
    AccessControlEntryId;
    /// Statements that roles share.
    PolicyId;
    /// What accounts may send.
    RoleId;
    /// One command, chosen by its sender: the key of idempotence.
    CommandId;
    /// A security group.
    SecurityGroupId;
    /// A rule of a security group.
    SecurityGroupRuleId;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_text_in_json_and_sixteen_bytes_in_the_log() {
        let id = Id::of_name("x");
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json.len(), 34);
        assert_eq!(serde_json::from_str::<Id>(&json).unwrap(), id);
        let bytes = rmp_serde::to_vec_named(&id).unwrap();
        assert_eq!(bytes.len(), 18);
        assert_eq!(rmp_serde::from_slice::<Id>(&bytes).unwrap(), id);
    }

    #[test]
    fn only_thirty_two_lower_case_digits_are_an_id() {
        for bad in [
            "",
            "0",
            "F0000000000000000000000000000000",
            "g0000000000000000000000000000000",
            "00000000-0000-0000-0000-000000000000",
        ] {
            assert_eq!(bad.parse::<Id>(), Err(NotAnId(bad.to_string())));
        }
    }
}
