//! What of a router's configuration a few events may have changed, where they are of EIPs and forwarded ports alone: those are
//! looked at again, and not the ten thousand others.
//!
//! **Invariant:** what comes of a configuration by its changes is what the fold makes of everything. Whatever is not known to
//! touch single items touches all.

use crate::{
    changes::{ItemChanges, Listed},
    config::{Eip, EipsConfig, PortForwardingConfig, PortForwardingRule, Sections, VipAddress, VipsConfig},
    eip, port_forwarding,
    router::RouterFold,
    vip,
};
use std::collections::BTreeSet;
use switchback_events::*;

/// What events may have changed since a configuration was made.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Touched {
    all: bool,
    eips: BTreeSet<EipId>,
    rules: BTreeSet<PortForwardingRuleId>,
    /// Those that these are on, or were.
    vips: BTreeSet<VipId>,
}

/// What changes in the sections that few events can touch.
#[derive(Clone, PartialEq, Default, Debug)]
#[allow(missing_docs)]
pub struct FewChanges {
    pub vips: ItemChanges<VipAddress>,
    pub eips: ItemChanges<Eip>,
    pub rules: ItemChanges<PortForwardingRule>,
}

impl FewChanges {
    /// Makes the sections others.
    pub fn make(self, sections: &mut Sections) {
        self.vips.make(&mut sections.vips.addresses);
        self.eips.make(&mut sections.eips.eips);
        self.rules.make(&mut sections.port_forwarding.rules);
    }
}

impl Touched {
    /// Everything.
    pub fn all() -> Touched {
        Touched { all: true, ..Touched::default() }
    }

    /// Has `fold` take the next event, and notes what that touches.
    pub fn apply(&mut self, fold: &mut RouterFold, recorded: &Recorded) {
        let before = fold.revision;
        self.note_vips(fold, recorded);
        fold.apply(recorded);
        if fold.revision == before {
            return;
        }
        match recorded.event {
            Event::Eip(_) => drop(self.eips.insert(EipId(recorded.stream.id))),
            Event::PortForwarding(_) => drop(self.rules.insert(PortForwardingRuleId(recorded.stream.id))),
            _ => self.all = true,
        }
        self.note_vips(fold, recorded);
    }

    fn note_vips(&mut self, fold: &RouterFold, recorded: &Recorded) {
        let id = recorded.stream.id;
        let served = match recorded.event {
            Event::Eip(_) => fold.eips.get(&EipId(id)),
            Event::PortForwarding(_) => fold.rules.get(&PortForwardingRuleId(id)).map(|(rule, _)| rule),
            _ => None,
        };
        self.vips.extend(served.map(|served| served.at.vip));
    }

    /// What makes `before`, which was the configuration when nothing was touched, the one of `fold`. Nothing where that is
    /// to be made of everything.
    pub fn changes(&self, fold: &RouterFold, before: &Sections) -> Option<FewChanges> {
        // Limits go with VIPs.
        if self.all || !fold.limits.is_empty() {
            return None;
        }
        let changes = FewChanges {
            vips: items(&before.vips.addresses, &self.vips, |item| item.vip, |vip| vip::of(fold, vip)),
            eips: items(&before.eips.eips, &self.eips, |item| item.eip, |id| eip::of(fold, id)),
            rules: items(
                &before.port_forwarding.rules,
                &self.rules,
                |item| item.rule,
                |id| port_forwarding::of(fold, id),
            ),
        };
        // A section with nothing in it does not travel, and comes and goes as a whole.
        let stays = stays::<VipsConfig>(&before.vips, &changes.vips)
            && stays::<EipsConfig>(&before.eips, &changes.eips)
            && stays::<PortForwardingConfig>(&before.port_forwarding, &changes.rules);
        stays.then_some(changes)
    }
}

/// What changes among items that are in the order of their ids, each of which is there once at most.
fn items<T: Ord, K: Ord + Copy>(
    held: &[T],
    touched: &BTreeSet<K>,
    id_of: impl Fn(&T) -> K,
    now: impl Fn(K) -> Option<T>,
) -> ItemChanges<T> {
    let (mut gone, mut come) = (BTreeSet::new(), BTreeSet::new());
    for id in touched {
        let place = held.binary_search_by_key(id, &id_of).ok();
        let now = now(*id);
        if place.and_then(|place| held.get(place)) == now.as_ref() {
            continue;
        }
        gone.extend(place);
        come.extend(now);
    }
    ItemChanges::in_order(held, gone, come)
}

fn stays<T: Listed>(before: &T, changes: &ItemChanges<T::Item>) -> bool {
    let held = before.items().len();
    changes.is_empty() || held > 0 && held + changes.added.len() > changes.removed.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        changes::{Texts, few_of, parts_of_few},
        samples::{Log, id, network, nic, router, vm},
    };
    use NetworkServiceType::{DHCP, DNS, Eip as EIP, PortForwarding, SNAT};
    use std::collections::BTreeMap;

    /// A random number below `limit`, the same in every run.
    fn dice(seed: &mut u64, limit: u64) -> u64 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 33) % limit
    }

    fn guest(last: u64) -> ServedNic {
        let nic: NicId = id(&format!("nic guest 10.0.0.{last}"));
        ServedNic { nic, vm: id(&format!("vm-{last}")), l3_network: id("guest") }
    }

    fn place(name: &str, last: u64) -> VipPlace {
        let ip = std::net::Ipv4Addr::new(203, 0, 113, 100 + last as u8);
        VipPlace { vip: id(name), l3_network: id("public"), ip: ip.into(), prefix_length: 24 }
    }

    /// Something that happens to an EIP, a rule, a VM or a network.
    fn happens(log: &mut Log, seed: &mut u64) {
        let (which, to) = (dice(seed, 6), guest(10 + dice(seed, 4)));
        let state = if dice(seed, 2) == 0 { Enabled::Enabled } else { Enabled::Disabled };
        let ports = ForwardedPorts {
            protocol: PortProtocol::TCP,
            vip_start: 1000,
            vip_end: 1000,
            private_start: 22,
            private_end: 22,
            allowed_cidr: None,
        };
        // Two rules share a VIP.
        let (eip, rule) =
            (place(&format!("vip-{which}"), which), place(&format!("shared-{}", which / 2), 50 + which / 2));
        let (of_eip, of_rule) = (format!("eip-{which}"), format!("rule-{which}"));
        let guest_network = Some(to.l3_network);
        let machine = format!("vm-{}", 10 + dice(seed, 4));
        match dice(seed, 22) {
            0..=5 => drop(log.add(&of_eip, EipEvent::Attached { at: eip, to })),
            6..=7 => drop(log.add(&of_eip, EipEvent::Detached { at: eip, from: to })),
            8 => drop(log.add(&of_eip, EipEvent::Deleted { at: eip, from: Some(to) })),
            9..=10 => drop(log.add(&of_eip, EipEvent::StateChanged { state, guest_network })),
            11..=14 => drop(log.add(&of_rule, PortForwardingEvent::Attached { at: rule, to, ports })),
            15 => drop(log.add(&of_rule, PortForwardingEvent::Detached { at: rule, from: to })),
            16 => drop(log.add(&of_rule, PortForwardingEvent::StateChanged { state, guest_network })),
            17 => drop(log.add(&machine, VmInstanceEvent::Stopped { l3_networks: vec![id("guest")] })),
            18 => {
                let (host, cluster) = (id("host"), id("cluster"));
                log.add(&machine, VmInstanceEvent::StartRequested { host, cluster, l3_networks: vec![id("guest")] });
            }
            19 => drop(log.add("guest", L3NetworkEvent::MtuChanged { mtu: 1400 + dice(seed, 50) as u16 })),
            _ => drop(log.add(&of_eip, EipEvent::Updated { name: Some("other".to_string()), description: None })),
        }
    }

    #[test]
    fn a_configuration_by_its_changes_is_the_one_of_everything() {
        let mut few = 0;
        for run in 1..=40 {
            let mut seed = run;
            let mut log = Log::default();
            network(&mut log, "public", &[]);
            network(&mut log, "guest", &[DHCP, DNS, SNAT, EIP, PortForwarding]);
            let nics =
                vec![nic("public", [203, 0, 113, 9], 0, Nic::PUBLIC), nic("guest", [10, 0, 0, 1], 1, Nic::GUEST)];
            log.add("router", router(nics));
            for last in 10..14 {
                log.add(&format!("vm-{last}"), vm(&format!("vm-{last}"), vec![nic("guest", [10, 0, 0, last], 0, 0)]));
            }
            let mut fold = RouterFold::default();
            log.events.iter().for_each(|event| fold.apply(event));
            let (mut held, mut texts, mut touched) =
                (fold.config().unwrap().sections, Texts::default(), Touched::default());
            let mut digests = held.digests();
            for _ in 0..120 {
                let begin = log.events.len();
                (0..=dice(&mut seed, 3)).for_each(|_| happens(&mut log, &mut seed));
                log.events[begin..].iter().for_each(|event| touched.apply(&mut fold, event));
                let whole = fold.config().unwrap().sections;
                match std::mem::take(&mut touched).changes(&fold, &held) {
                    Some(changes) => {
                        let (before, of_before) = (held.clone(), digests.clone());
                        let back = texts.change(&mut held, &mut digests, changes.clone());
                        few += usize::from(!changes.eips.is_empty());
                        // Who holds the one of before reads these changes out of what travels.
                        let parts = parts_of_few(&held, &changes, &of_before, &digests).unwrap();
                        assert_eq!(few_of(&parts, &before, &of_before), Some(changes), "run {run}");
                        let other: BTreeMap<String, String> =
                            of_before.keys().map(|name| (name.clone(), String::new())).collect();
                        assert_eq!(few_of(&parts, &before, &other), None, "made for another one");
                        let mut again = held.clone();
                        back.make(&mut again);
                        assert_eq!(again, before, "run {run}");
                    }
                    None => (held, digests, texts) = (whole.clone(), whole.digests(), Texts::default()),
                }
                assert_eq!(held, whole, "run {run} after {:?}", &log.events[begin..]);
                assert_eq!(digests, whole.digests(), "run {run}");
            }
        }
        assert!(few > 1000, "{few}");
    }

    #[test]
    fn limits_and_all_that_is_no_eip_or_rule_are_looked_at_with_everything() {
        let mut fold = RouterFold::default();
        assert_eq!(Touched::all().changes(&fold, &Sections::default()), None);
        assert_eq!(Touched::default().changes(&fold, &Sections::default()), Some(FewChanges::default()));
        fold.limits.insert(id("vip"), BTreeMap::new());
        assert_eq!(Touched::default().changes(&fold, &Sections::default()), None);
    }
}
