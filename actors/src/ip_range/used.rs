//! Sets of addresses: of IPv4 a bitmap, which stays small for a million of them; of IPv6 runs, since a subnet has more
//! addresses than any bitmap.

use roaring::RoaringBitmap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// A set of addresses.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Used {
    v4: Bitmap,
    /// First to last address; runs neither overlap nor touch.
    v6: BTreeMap<Ipv6Addr, Ipv6Addr>,
}

#[derive(Clone, PartialEq, Debug, Default)]
struct Bitmap(RoaringBitmap);

impl Serialize for Bitmap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(self.0.serialized_size());
        self.0.serialize_into(&mut bytes).map_err(serde::ser::Error::custom)?;
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for Bitmap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bitmap, D::Error> {
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = Bitmap;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a bitmap")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bitmap, E> {
                RoaringBitmap::deserialize_from(bytes).map(Bitmap).map_err(E::custom)
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

fn before(ip: Ipv6Addr) -> Option<Ipv6Addr> {
    u128::from(ip).checked_sub(1).map(Ipv6Addr::from)
}

fn behind(ip: Ipv6Addr) -> Option<Ipv6Addr> {
    u128::from(ip).checked_add(1).map(Ipv6Addr::from)
}

impl Used {
    /// Whether the address is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.v4.0.contains(ip.into()),
            IpAddr::V6(ip) => self.run_of(ip).is_some(),
        }
    }

    fn run_of(&self, ip: Ipv6Addr) -> Option<(Ipv6Addr, Ipv6Addr)> {
        let (first, last) = self.v6.range(..=ip).next_back()?;
        (ip <= *last).then_some((*first, *last))
    }

    /// The last address of the unbroken run that the address is in.
    pub fn run_end(&self, ip: IpAddr) -> Option<IpAddr> {
        match ip {
            IpAddr::V4(ip) => {
                let at = u32::from(ip);
                if !self.v4.0.contains(at) {
                    return None;
                }
                let mut run = self.v4.0.iter();
                run.advance_to(at);
                run.next_range().map(|range| Ipv4Addr::from(*range.end()).into())
            }
            IpAddr::V6(ip) => self.run_of(ip).map(|(_, last)| last.into()),
        }
    }

    /// Puts an address in.
    pub fn insert(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => drop(self.v4.0.insert(ip.into())),
            IpAddr::V6(_) => self.insert_range(ip, ip),
        }
    }

    /// Takes an address out.
    pub fn remove(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => drop(self.v4.0.remove(ip.into())),
            IpAddr::V6(_) => self.remove_range(ip, ip),
        }
    }

    /// Puts all addresses from first to last in. Nothing for ends of two families.
    pub fn insert_range(&mut self, first: IpAddr, last: IpAddr) {
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                self.v4.0.insert_range(u32::from(first)..=u32::from(last));
            }
            (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => {
                let run = |ip: Option<Ipv6Addr>| ip.and_then(|ip| self.run_of(ip));
                // A run that ends right in front, or that begins right behind, becomes one with it.
                let start = run(before(first)).or(self.run_of(first)).map_or(first, |(start, _)| start.min(first));
                let end = run(behind(last)).or(self.run_of(last)).map_or(last, |(_, end)| end.max(last));
                self.cut(start, end);
                self.v6.insert(start, end);
            }
            _ => {}
        }
    }

    /// Takes all addresses from first to last out. Nothing for ends of two families.
    pub fn remove_range(&mut self, first: IpAddr, last: IpAddr) {
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                self.v4.0.remove_range(u32::from(first)..=u32::from(last));
            }
            (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => self.cut(first, last),
            _ => {}
        }
    }

    fn cut(&mut self, first: Ipv6Addr, last: Ipv6Addr) {
        let mut within: Vec<(Ipv6Addr, Ipv6Addr)> = self.run_of(first).into_iter().collect();
        within.extend(self.v6.range(first..=last).map(|(start, end)| (*start, *end)));
        for (start, end) in within {
            self.v6.remove(&start);
            if let Some(left) = before(first).filter(|left| start <= *left) {
                self.v6.insert(start, left);
            }
            if let Some(right) = behind(last).filter(|right| *right <= end) {
                self.v6.insert(right, end);
            }
        }
    }

    /// Takes all addresses of the other set out.
    pub fn subtract(&mut self, other: &Used) {
        self.v4.0 -= &other.v4.0;
        for (first, last) in &other.v6 {
            self.cut(*first, *last);
        }
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        let run = |(first, last): (&Ipv6Addr, &Ipv6Addr)| {
            u64::try_from(u128::from(*last) - u128::from(*first)).unwrap_or(u64::MAX).saturating_add(1)
        };
        self.v6.iter().map(run).fold(self.v4.0.len(), u64::saturating_add)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.v4.0.is_empty() && self.v6.is_empty()
    }

    /// In order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = IpAddr> + '_ {
        let v4 = self.v4.0.iter().map(|ip| IpAddr::from(Ipv4Addr::from(ip)));
        let run = |(first, last): (&Ipv6Addr, &Ipv6Addr)| u128::from(*first)..=u128::from(*last);
        v4.chain(self.v6.iter().flat_map(run).map(|ip| Ipv6Addr::from(ip).into()))
    }
}

impl FromIterator<IpAddr> for Used {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(ips: I) -> Used {
        let mut used = Used::default();
        ips.into_iter().for_each(|ip| used.insert(ip));
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn ip(family: u8, last: u8) -> IpAddr {
        match family {
            4 => Ipv4Addr::new(10, 0, 0, last).into(),
            _ => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last.into()).into(),
        }
    }

    #[test]
    fn a_set_of_addresses_is_what_a_plain_set_would_be() {
        for family in [4, 6] {
            let mut used = Used::default();
            let mut model = BTreeSet::new();
            let mut seed = 7_u64;
            for step in 0..4000 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let first = (seed >> 33) as u8 % 40;
                let last = first + (seed >> 45) as u8 % 6;
                let ends = (ip(family, first), ip(family, last));
                match seed >> 60 {
                    0..=5 => {
                        used.insert_range(ends.0, ends.1);
                        model.extend((first..=last).map(|last| ip(family, last)));
                    }
                    6..=11 => {
                        used.remove_range(ends.0, ends.1);
                        model.retain(|held| *held < ends.0 || ends.1 < *held);
                    }
                    12 => {
                        used.subtract(&[ends.0, ends.1].into_iter().collect());
                        model.retain(|held| *held != ends.0 && *held != ends.1);
                    }
                    13 | 14 => {
                        used.insert(ends.0);
                        model.insert(ends.0);
                    }
                    _ => {
                        used.remove(ends.0);
                        model.remove(&ends.0);
                    }
                }
                assert_eq!(used.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>(), "step {step}");
                assert_eq!(used.iter().next_back(), model.last().copied());
                assert_eq!((used.len(), used.is_empty()), (model.len() as u64, model.is_empty()));
                let probe = ip(family, first);
                assert_eq!(used.contains(probe), model.contains(&probe));
                let run = (first..=255).take_while(|last| model.contains(&ip(family, *last))).last();
                assert_eq!(used.run_end(probe), run.map(|last| ip(family, last)));
                for pair in used.v6.iter().collect::<Vec<_>>().windows(2) {
                    assert!(behind(*pair[0].1) < Some(*pair[1].0), "{:?} touches", pair);
                }
            }
            let bytes = rmp_serde::to_vec_named(&used).unwrap();
            assert_eq!(rmp_serde::from_slice::<Used>(&bytes).unwrap(), used);
        }
    }

    #[test]
    fn the_last_addresses_of_all_are_ordinary_ones() {
        let mut used = Used::default();
        let last = Ipv6Addr::from(u128::MAX).into();
        used.insert_range(Ipv6Addr::UNSPECIFIED.into(), last);
        assert_eq!((used.len(), used.run_end(ip(6, 1))), (u64::MAX, Some(last)));
        used.remove(last);
        assert!(!used.contains(last) && used.contains(ip(6, 9)));
    }
}
