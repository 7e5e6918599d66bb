//! The short way for a document in which a few EIPs, rules or addresses of VIPs differ from those of the one in force: what
//! differs is planned, put in place and acknowledged by the kernel, and nothing else is looked at but the number of the
//! packet filter's state and whether the daemons run.
//!
//! **Invariant:** whatever is not just that goes the long way, which looks at everything; so does every so many-th document.

use super::{Applied, CHANGES_MAX, Failure, LastGood, Plan, RouterEngine, State, in_section, report};
use crate::{
    check,
    kernel::{KernelError, LinkChange},
    services::{
        eip, haproxy,
        interfaces::{self, FORWARDING, InterfacesPlan},
        nftables,
        translations::Translations,
        vip,
    },
};
use ipnet::IpNet;
use std::{collections::BTreeSet, sync::Arc, time::Instant};
use switchback_appliance::{
    ApplyReport, EipsConfig, PortForwardingConfig, Push, Sections, VipAddress,
    changes::{ItemChanges, Texts, few_of},
    touched::FewChanges,
};

impl RouterEngine {
    /// Puts a document in force the short way, where that is possible. Otherwise the one in force still is, and nothing was
    /// done, or something that the long way makes good.
    pub(super) fn put_few(&self, state: &mut State, push: &Push, started: Instant) -> Option<ApplyReport> {
        let held = state.good.as_ref()?;
        // Limits lead packets by the same packet filter, and are looked at with it.
        if push.epoch != state.epoch || state.changes >= CHANGES_MAX || !held.sections.qos.is_empty() {
            return None;
        }
        let few = few_of(&push.sections, &held.sections, &held.digests)?;
        if few == FewChanges::default() {
            return None;
        }
        // Nobody else holds it but who was asked how things are a moment ago.
        let mut good = Arc::unwrap_or_clone(state.good.take()?);
        let before = (good.digests.clone(), good.revision);
        let back = state.texts.change(&mut good.sections, &mut good.digests, few.clone());
        good.revision = push.revision;
        let plan = self.few(state, push, &good, &few, &back);
        if plan.is_none() {
            back.make(&mut good.sections);
            (good.digests, good.revision) = before;
            state.texts = Texts::default();
        }
        let report = plan.map(|plan| report(&good, &plan, started));
        state.good = Some(Arc::new(good));
        report
    }

    /// Carries out the changes that have made the document this one, if it is the one that was meant, and keeps them.
    fn few(
        &self,
        state: &mut State,
        push: &Push,
        good: &LastGood,
        few: &FewChanges,
        back: &FewChanges,
    ) -> Option<Plan> {
        let meant = push.sections.iter().all(|(name, part)| good.digests.get(name) == Some(&part.digest));
        if !meant || check::translated(&good.sections).is_err() {
            return None;
        }
        let items = self.plan_items(&state.applied, &good.sections, few, back)?;
        state.applied.times += 1;
        let done = self.carry_out_items(&mut state.applied, items, &good.sections);
        let done = done.and_then(|plan| self.persist_changes(state, push).map(|()| plan));
        done.inspect_err(|failure| tracing::info!(failure.section, failure.detail, "all is looked at instead")).ok()
    }

    fn plan_items(&self, applied: &Applied, after: &Sections, few: &FewChanges, back: &FewChanges) -> Option<Items> {
        let kernel = self.kernel.as_ref();
        let table = applied.table.as_ref()?;
        let generation = kernel.generation().ok().filter(|now| table.generation == Some(*now))?;
        let served = applied.dnsmasq.as_ref().is_none_or(|running| kernel.alive(&running.process))
            && (applied.balancing.is_none() || haproxy::alive(kernel, &applied.haproxy));
        let forwards = kernel.sysctl(FORWARDING).ok()?.as_deref() == Some("1");
        if !served || !forwards || self.checks.unwell() != applied.unwell {
            return None;
        }
        let (gone, come) = (some(after, back), some(after, few));
        let rendered = [&gone, &come].map(nftables::render_items);
        let [gone_elements, come_elements] = &rendered;
        let table = nftables::plan_items(table, gone_elements, come_elements, generation)?;
        let interfaces = addresses(after, &back.vips, &few.vips)?;
        Some(Items { interfaces, table, rendered, translated: [gone, come].map(|some| Translations::of(&some)) })
    }

    fn carry_out_items(&self, applied: &mut Applied, items: Items, after: &Sections) -> Result<Plan, Failure> {
        let Items { interfaces, table, rendered: [gone, come], translated } = items;
        let (Some(held), Some(now)) = (&mut applied.table, &mut applied.translations) else {
            let error = KernelError::new("change the table", "nothing is known of it");
            return Err(in_section(eip::SECTION)(error));
        };
        let kernel = self.kernel.as_ref();
        interfaces::add(kernel, &interfaces).map_err(in_section(vip::SECTION))?;
        nftables::apply_items(kernel, &self.table, held, &table, gone, come).map_err(in_section(table.section()))?;
        interfaces::remove(kernel, &interfaces).map_err(in_section(vip::SECTION))?;
        let [gone, come] = &translated;
        now.change(gone, come);
        // What comes makes no translation stale that was there: an address or port that another one had goes first.
        if !gone.is_empty() {
            let forgotten = kernel.forget_connections(&now.stale_among([gone, come]));
            if forgotten.is_err() {
                // Or the long way would take them for forgotten.
                now.change(come, gone);
            }
            let forgotten = forgotten.map_err(in_section(eip::SECTION))?;
            tracing::debug!(forgotten, "connections whose translation is gone");
        }
        interfaces::announce(&self.kernel, &after.interfaces, &interfaces);
        Ok(Plan { interfaces, table, ..Plan::default() })
    }
}

/// What differs, and how the kernel comes to have it.
struct Items {
    interfaces: InterfacesPlan,
    table: nftables::TablePlan,
    /// What goes, and what comes.
    rendered: [nftables::Table; 2],
    translated: [Translations; 2],
}

/// The EIPs and rules that come by changes, in a document with the interfaces and passages of all.
fn some(of: &Sections, changes: &FewChanges) -> Sections {
    Sections {
        interfaces: of.interfaces.clone(),
        firewall: of.firewall.clone(),
        eips: EipsConfig { eips: items(&changes.eips).cloned().collect() },
        port_forwarding: PortForwardingConfig { rules: items(&changes.rules).cloned().collect() },
        ..Sections::default()
    }
}

fn items<T>(changes: &ItemChanges<T>) -> impl Iterator<Item = &T> {
    changes.added.iter().map(|(_, item)| item)
}

/// Addresses that go by the changes back, and those that come. Nothing where an address only changes its owner, or is one of
/// an interface's own.
fn addresses(
    after: &Sections,
    back: &ItemChanges<VipAddress>,
    few: &ItemChanges<VipAddress>,
) -> Option<InterfacesPlan> {
    let (gone, come): (Vec<_>, Vec<_>) = (items(back).collect(), items(few).collect());
    let mut plan = InterfacesPlan::default();
    let own = |vip: &VipAddress| {
        after.interfaces.nics.iter().any(|nic| nic.addresses.iter().any(|net| net.addr() == vip.address.addr()))
    };
    if gone.iter().chain(&come).any(|vip| own(vip)) {
        return None;
    }
    let ends = |list: &[&VipAddress]| -> BTreeSet<(String, IpNet)> {
        list.iter().map(|vip| (vip.interface.clone(), IpNet::from(vip.address.addr()))).collect()
    };
    let (gone, come) = (ends(&gone), ends(&come));
    // An address that another VIP has, too, does not go.
    let others = |end: &(String, IpNet)| {
        let same = |vip: &&VipAddress| vip.interface == end.0 && vip.address.addr() == end.1.addr();
        after.vips.addresses.iter().any(|vip| same(&vip))
    };
    for (interface, net) in gone.difference(&come) {
        if others(&(interface.clone(), *net)) {
            return None;
        }
        plan.removals.push(LinkChange::DeleteAddress(interface.clone(), *net));
        plan.says(format!("address {interface} {net}"), &"none", net);
    }
    for (interface, net) in come.difference(&gone) {
        let change = LinkChange::AddAddress(interface.clone(), *net);
        if net.addr().is_ipv4() {
            plan.additions.push(change)
        } else {
            plan.additions6.push(change)
        }
        plan.says(format!("address {interface} {net}"), net, &"none");
    }
    Some(plan)
}
