//! Network value types that cannot be built wrong. Not here: addresses and prefixes (`std`, `ipnet`).

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A hardware address, printed as `fa:d9:af:a1:38:01`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// A text that is not a hardware address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a MAC address such as fa:d9:af:a1:38:01")]
pub struct NotAMac(pub String);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Mac {
    type Err = NotAMac;
    fn from_str(text: &str) -> Result<Mac, NotAMac> {
        let bad = || NotAMac(text.to_string());
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or_else(bad)?;
            if part.len() != 2 || !part.bytes().all(|c| c.is_ascii_hexdigit()) {
                return Err(bad());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() { Err(bad()) } else { Ok(Mac(bytes)) }
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Mac, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Mac;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a MAC address")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Mac, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// Bytes: what an L2 network without a tunnel carries.
pub const DEFAULT_MTU: u16 = 1500;

/// Bytes: what every link that carries IPv6 must pass whole (RFC 8200, 5).
pub const IPV6_MTU_MIN: u16 = 1280;

/// The length of a netmask's prefix, or `None` when the bits are not contiguous or all zero.
pub fn prefix_of(netmask: Ipv4Addr) -> Option<u8> {
    let bits = u32::from(netmask);
    (bits != 0 && bits.leading_ones() + bits.trailing_zeros() == 32).then_some(bits.leading_ones() as u8)
}

/// The address as a number; addresses of one family are in the order of their numbers.
pub fn ip_number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

/// The address with this number, of the family of `like`; of IPv4 the low bits count.
pub fn ip_of_number(number: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from(number as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from(number).into(),
    }
}

/// 4 or 6.
pub fn ip_version(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 4 } else { 6 }
}

/// The address that a host with this hardware address makes for itself in a /64 (modified EUI-64, RFC 4291).
pub fn eui64(network: Ipv6Addr, mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    let host = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Addr::from(u128::from(network) >> 64 << 64 | u128::from(host))
}

/// How an address of either family is written: IPv4 as it was when there was nothing else, four numbers, and IPv6 as
/// sixteen bytes. In JSON it is its text.
pub mod either_ip {
    use super::*;

    /// Writes it.
    pub fn serialize<S: Serializer>(ip: &IpAddr, serializer: S) -> Result<S::Ok, S::Error> {
        match ip {
            IpAddr::V4(ip) => ip.serialize(serializer),
            IpAddr::V6(ip) if serializer.is_human_readable() => ip.serialize(serializer),
            IpAddr::V6(ip) => serializer.serialize_bytes(&ip.octets()),
        }
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpAddr, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = IpAddr;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an IP address")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<IpAddr, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<IpAddr, E> {
                let octets: [u8; 16] = bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))?;
                Ok(Ipv6Addr::from(octets).into())
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<IpAddr, A::Error> {
                let mut octets = [0; 4];
                for (at, octet) in octets.iter_mut().enumerate() {
                    *octet = list.next_element()?.ok_or_else(|| serde::de::Error::invalid_length(at, &self))?;
                }
                Ok(Ipv4Addr::from(octets).into())
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Visitor)
        } else {
            deserializer.deserialize_any(Visitor)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_reads_as_it_prints_and_nothing_else() {
        assert_eq!("fa:d9:af:a1:38:01".parse::<Mac>().unwrap().to_string(), "fa:d9:af:a1:38:01");
        for bad in ["", "fa:d9:af:a1:38", "fa:d9:af:a1:38:01:02", "fa:d9:af:a1:38:1", "+a:d9:af:a1:38:01"] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_netmask_has_contiguous_ones() {
        assert_eq!(prefix_of(Ipv4Addr::new(255, 255, 255, 0)), Some(24));
        assert_eq!(prefix_of(Ipv4Addr::new(255, 255, 255, 255)), Some(32));
        assert_eq!(prefix_of(Ipv4Addr::new(255, 0, 255, 0)), None);
        assert_eq!(prefix_of(Ipv4Addr::new(0, 0, 0, 0)), None);
    }

    #[test]
    fn an_address_of_either_family_reads_what_was_written_for_ipv4_alone() {
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        struct Now(#[serde(with = "either_ip")] IpAddr);
        #[derive(Serialize)]
        struct Then(Ipv4Addr);
        for text in ["10.0.0.1", "255.255.255.255", "fd00::1", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
            let ip: IpAddr = text.parse().unwrap();
            let bytes = rmp_serde::to_vec_named(&Now(ip)).unwrap();
            assert_eq!(rmp_serde::from_slice::<Now>(&bytes).unwrap(), Now(ip), "{text}");
            let json = serde_json::to_string(&Now(ip)).unwrap();
            assert_eq!(json, format!("\"{ip}\""));
            assert_eq!(serde_json::from_str::<Now>(&json).unwrap(), Now(ip));
            if let IpAddr::V4(ip) = ip {
                assert_eq!(bytes, rmp_serde::to_vec_named(&Then(ip)).unwrap(), "{text}");
            }
        }
    }

    #[test]
    fn a_host_makes_its_address_from_its_mac() {
        let made = eui64("2001:db8:1:2::".parse().unwrap(), "fa:d9:af:a1:38:01".parse().unwrap());
        assert_eq!(made, "2001:db8:1:2:f8d9:afff:fea1:3801".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn numbers_and_addresses_belong_together() {
        for text in ["0.0.0.0", "10.1.2.3", "255.255.255.255", "::", "fd00::a", "2001:db8::1"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(ip_of_number(ip_number(ip), ip), ip);
        }
    }
}
