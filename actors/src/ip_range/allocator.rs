//! How a free address is chosen: at random, the lowest, or ascending so that a freed one rests as long as it can.
//! Pure and deterministic: random numbers are the command's own.

use super::{IpRange, after};
use crate::{GlobalConfig, ResourceConfig, context::Context, facts::Facts};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};
use switchback_bus::Refusal;
use switchback_events::{IpRangeId, L3NetworkId, Version, global_config_id, ip_number, ip_of_number};

/// A way to choose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Strategy {
    /// The next free address from a random one of a random range on.
    Random,
    /// The lowest free address.
    FirstAvailable,
    /// The next free address behind the last one; from the lowest again when there is none. Chosen at this moment:
    /// cursors from before it do not count.
    AscDelayRecycle(Version),
}

/// The entry of the configuration that says how addresses of IPv4 are chosen.
const KEY: (&str, &str) = ("l3Network", "ipAllocateStrategy");

impl Strategy {
    /// The strategy for a family of an L3 network: its own, else the global one.
    pub fn in_force(facts: &Facts, l3: L3NetworkId, version: u8) -> Result<Strategy, Refusal> {
        let (own, global) = (facts.peek::<ResourceConfig>(l3)?, facts.peek::<GlobalConfig>(global_config_id())?);
        if version == 6 {
            const NAME: &str = "ipv6AllocateStrategy";
            let word = own.value(KEY.0, NAME).cloned().unwrap_or_else(|| global.value(KEY.0, NAME));
            return Ok(Strategy::named(facts, l3, version, &word)?.unwrap_or(Strategy::Random));
        }
        let word = own.value(KEY.0, KEY.1).cloned().unwrap_or_else(|| global.value(KEY.0, KEY.1));
        Ok(Strategy::named(facts, l3, version, &word)?.unwrap_or(Strategy::Random))
    }

    /// The strategy that is called so, if it is one of this family.
    pub fn named(facts: &Facts, l3: L3NetworkId, version: u8, word: &str) -> Result<Option<Strategy>, Refusal> {
        Ok(Some(match (version, word) {
            (4, "RandomIpAllocatorStrategy") | (6, "RandomIpv6AllocatorStrategy") => Strategy::Random,
            (4, "FirstAvailableIpAllocatorStrategy") | (6, "FirstAvailableIpv6AllocatorStrategy") => {
                Strategy::FirstAvailable
            }
            (4, "AscDelayRecycleIpAllocatorStrategy") => {
                let (own, global) =
                    (facts.peek::<ResourceConfig>(l3)?, facts.peek::<GlobalConfig>(global_config_id())?);
                // A moment is known by the version of the network's configuration, and where that leaves the choice to
                // the global one by that one's version too.
                let since = own.changed_at(KEY.0, KEY.1) << 32;
                Strategy::AscDelayRecycle(match own.value(KEY.0, KEY.1) {
                    Some(_) => since,
                    None => since | global.changed_at(KEY.0, KEY.1),
                })
            }
            _ => return Ok(None),
        }))
    }
}

/// Where the delayed recycler goes on in a range, and the version at which it was chosen.
pub(super) type Cursor = (IpAddr, Version);

/// A range as a decision sees it that has taken addresses already.
pub(super) struct View {
    pub range: Arc<IpRange>,
    pub taken: Vec<IpAddr>,
    pub cursor: Option<Cursor>,
}

impl View {
    /// The lowest free address from `from` on.
    fn next(&self, from: IpAddr) -> Option<IpAddr> {
        let mut next = self.range.free_from(from);
        // A decision takes few addresses of one range, so this loop is short.
        while let Some(ip) = next.filter(|ip| self.taken.contains(ip)) {
            next = after(ip).and_then(|ip| self.range.free_from(ip));
        }
        next
    }

    fn start(&self) -> IpAddr {
        self.range.bounds.map_or(Ipv4Addr::UNSPECIFIED.into(), |bounds| bounds.start)
    }

    /// The next free address in turn, without beginning again.
    fn in_turn(&self, since: Version) -> Option<IpAddr> {
        self.next(self.cursor.filter(|(_, of)| *of == since).map_or(self.start(), |(ip, _)| ip))
    }

    /// The cursor after `ip` was taken, if that moves it: if it was the next in turn, or the first of a new round.
    pub fn moved(&self, ip: IpAddr, since: Version) -> Option<Cursor> {
        let turn = self.in_turn(since).or_else(|| self.next(self.start()));
        (turn == Some(ip)).then(|| (after(ip).unwrap_or(ip), since))
    }
}

/// One of so many, at random.
fn one_of(size: u128, context: &Context) -> u128 {
    let low = u128::from(context.choice());
    let number = if size > u128::from(u64::MAX) { u128::from(context.choice()) << 64 | low } else { low };
    number % size
}

/// Chooses a free address of `ranges`, which come with their first addresses. Only ranges that are looked at can make
/// a difference.
pub(super) fn choose(
    strategy: Strategy,
    mut ranges: Vec<(IpAddr, IpRangeId)>,
    context: &Context,
    look: &mut dyn FnMut(IpRangeId) -> Result<View, Refusal>,
) -> Result<Option<(IpRangeId, IpAddr)>, Refusal> {
    ranges.sort_unstable();
    match strategy {
        Strategy::Random => {
            while !ranges.is_empty() {
                let (start, id) = ranges.swap_remove((context.choice() % ranges.len() as u64) as usize);
                let view = look(id)?;
                let end = view.range.bounds.map_or(start, |bounds| bounds.end);
                let size = ip_number(end).saturating_sub(ip_number(start)).saturating_add(1);
                let from = ip_of_number(ip_number(start) + one_of(size, context), start);
                if let Some(ip) = view.next(from).or_else(|| view.next(start)) {
                    return Ok(Some((id, ip)));
                }
            }
        }
        Strategy::FirstAvailable => {
            for (start, id) in ranges {
                if let Some(ip) = look(id)?.next(start) {
                    return Ok(Some((id, ip)));
                }
            }
        }
        Strategy::AscDelayRecycle(since) => {
            let mut seen = Vec::new();
            for (start, id) in ranges {
                let view = look(id)?;
                if let Some(ip) = view.in_turn(since) {
                    return Ok(Some((id, ip)));
                }
                seen.push((start, id, view));
            }
            // A new round: what was freed has rested.
            return Ok(seen.into_iter().find_map(|(start, id, view)| Some((id, view.next(start)?))));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ip_range::Bounds;
    use std::collections::BTreeSet;
    use switchback_bus::Common;
    use switchback_events::{CommandId, Id};

    const SINCE: Version = 7;

    /// Ranges, and how one command after the other sees them.
    struct Network {
        ranges: Vec<(IpRangeId, IpRange)>,
        commands: u64,
    }

    fn ip(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    impl Network {
        fn new(bounds: &[(u8, u8)]) -> Network {
            let range = |(first, last): &(u8, u8)| {
                let bounds = Bounds { start: ip(*first), end: ip(*last), prefix_length: 24, gateway: ip(1) };
                let id = IpRangeId(Id::of_name(&format!("range {first}")));
                (id, IpRange { bounds: Some(bounds), ..IpRange::default() })
            };
            Network { ranges: bounds.iter().map(range).collect(), commands: 0 }
        }

        fn view(&self, id: IpRangeId) -> View {
            let (_, range) = self.ranges.iter().find(|(own, _)| *own == id).unwrap();
            View { range: Arc::new(range.clone()), taken: vec![], cursor: range.cursor }
        }

        fn context(&mut self) -> Context {
            self.commands += 1;
            Context::new(1, CommandId(Id::of_name(&format!("command {}", self.commands))), Common::default())
        }

        fn put(&mut self, id: IpRangeId, ip: IpAddr) {
            let moved = self.view(id).moved(ip, SINCE);
            let range = self.ranges.iter_mut().find(|(own, _)| *own == id).unwrap();
            range.1.used.insert(ip);
            range.1.cursor = moved.or(range.1.cursor);
        }

        /// The last byte of the address that is taken.
        fn take(&mut self, strategy: Strategy) -> Option<u8> {
            let context = self.context();
            let ranges = self.ranges.iter().map(|(id, range)| (range.bounds.unwrap().start, *id)).collect();
            let (id, ip) = choose(strategy, ranges, &context, &mut |id| Ok(self.view(id))).unwrap()?;
            assert!(self.view(id).range.is_free(ip), "{ip} is not free");
            self.put(id, ip);
            Some(ip_number(ip) as u8)
        }

        fn of(&mut self, last: u8) -> &mut IpRange {
            let range = self.ranges.iter_mut().find(|(_, range)| range.bounds.unwrap().contains(ip(last)));
            &mut range.unwrap().1
        }

        fn take_static(&mut self, last: u8) {
            let (id, _) = *self
                .ranges
                .iter()
                .map(|(id, r)| (*id, r.bounds.unwrap()))
                .filter(|(_, b)| b.contains(ip(last)))
                .collect::<Vec<_>>()
                .first()
                .unwrap();
            self.put(id, ip(last));
        }

        fn free(&mut self, last: u8) {
            self.of(last).used.remove(ip(last));
        }
    }

    /// Takes, frees and takes named addresses at random, and asks what should have been taken.
    fn hold_to(strategy: Strategy, mut model: impl FnMut(&BTreeSet<u8>, Option<u8>)) {
        let mut network = Network::new(&[(10, 19), (40, 44), (30, 34)]);
        let mut free: BTreeSet<u8> = (10..=19).chain(30..=34).chain(40..=44).collect();
        let all = free.clone();
        for step in 0..3000_u64 {
            let dice = network.context().choice();
            let used: Vec<u8> = all.difference(&free).copied().collect();
            // Now rather full, now rather empty.
            let frees = if step / 300 % 2 == 0 { 2 } else { 6 };
            if dice % 10 < frees && !used.is_empty() {
                let last = used[(dice / 10) as usize % used.len()];
                network.free(last);
                free.insert(last);
                continue;
            }
            let taken = network.take(strategy);
            model(&free, taken);
            if let Some(taken) = taken {
                assert!(free.remove(&taken), "{taken} was not free");
            } else {
                assert!(free.is_empty(), "{free:?} are free");
            }
        }
    }

    #[test]
    fn the_first_available_is_the_lowest_of_all_ranges() {
        hold_to(Strategy::FirstAvailable, |free, taken| assert_eq!(taken, free.first().copied()));
    }

    #[test]
    fn the_delayed_recycler_goes_up_in_every_range_before_it_begins_again() {
        // A cursor for each range, as a model without bitmaps has it.
        let starts = [10, 30, 40];
        let mut cursors = starts;
        let of = |last: u8| match last {
            10..=19 => 0,
            30..=34 => 1,
            _ => 2,
        };
        hold_to(Strategy::AscDelayRecycle(SINCE), |free, taken| {
            let next = |range: usize, from: u8| free.range(from..).copied().find(|last| of(*last) == range);
            let turn = (0..3).find_map(|range| next(range, cursors[range]).filter(|last| of(*last) == range));
            let wanted = turn.or_else(|| (0..3).find_map(|range| next(range, starts[range])));
            assert_eq!(taken, wanted);
            if let Some(taken) = taken {
                cursors[of(taken)] = taken + 1;
            }
        });
    }

    #[test]
    fn the_random_choice_fills_the_network_in_no_order_and_repeats_with_its_command() {
        hold_to(Strategy::Random, |_, _| {});
        let order = |commands| {
            let mut network = Network::new(&[(10, 60), (100, 150)]);
            network.commands = commands;
            (0..102).map(|_| network.take(Strategy::Random).unwrap()).collect::<Vec<_>>()
        };
        let first = order(0);
        assert_eq!(first, order(0), "the same commands choose the same addresses");
        assert_ne!(first, order(1000), "others choose others");
        let rises = first.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((25..75).contains(&rises), "{rises} of 101 go up");
        assert_eq!(BTreeSet::from_iter(first).len(), 102);
    }

    #[test]
    fn a_named_address_moves_the_cursor_only_if_it_was_next() {
        let mut network = Network::new(&[(10, 14)]);
        let strategy = Strategy::AscDelayRecycle(SINCE);
        assert_eq!(network.take(strategy), Some(10));
        network.take_static(13);
        assert_eq!(network.take(strategy), Some(11), "13 was not next");
        network.take_static(12);
        network.free(12);
        assert_eq!(network.take(strategy), Some(14), "12 was next, and rests now");
        assert_eq!(network.take(strategy), Some(12), "a new round");
        network.free(10);
        assert_eq!(network.take(Strategy::AscDelayRecycle(SINCE + 1)), Some(10), "another choice begins anew");
    }

    #[test]
    fn what_the_decision_has_taken_already_is_passed_over_also_at_the_end() {
        let network = Network::new(&[(10, 12)]);
        let (id, range) = &network.ranges[0];
        for at in 0..50 {
            let context = Context::new(1, CommandId(Id::of_name(&format!("{at}"))), Common::default());
            let mut look = |_| Ok(View { range: Arc::new(range.clone()), taken: vec![ip(11), ip(12)], cursor: None });
            let chosen = choose(Strategy::Random, vec![(ip(10), *id)], &context, &mut look).unwrap();
            assert_eq!(chosen, Some((*id, ip(10))));
        }
    }

    #[test]
    fn a_subnet_of_ipv6_is_chosen_from_in_its_whole_width() {
        let bounds = Bounds {
            start: "fd00::2".parse().unwrap(),
            end: "fd00::ffff:ffff:ffff:ffff".parse().unwrap(),
            prefix_length: 64,
            gateway: "fd00::1".parse().unwrap(),
        };
        let id = IpRangeId(Id::of_name("range"));
        let mut range = IpRange { bounds: Some(bounds), ..IpRange::default() };
        let mut high = 0;
        for at in 0..200 {
            let context = Context::new(1, CommandId(Id::of_name(&format!("{at}"))), Common::default());
            let take = |strategy| {
                let mut look = |_| Ok(View { range: Arc::new(range.clone()), taken: vec![], cursor: None });
                choose(strategy, vec![(bounds.start, id)], &context, &mut look).unwrap().unwrap().1
            };
            assert_eq!(take(Strategy::FirstAvailable), bounds.start);
            let ip = take(Strategy::Random);
            assert!(range.is_free(ip), "{ip}");
            high += usize::from(ip_number(ip) >> 63 & 1 == 1);
            range.used.insert(ip);
        }
        assert_eq!(range.used.len(), 200);
        assert!((60..140).contains(&high), "{high} of 200 are in the upper half");
    }
}
