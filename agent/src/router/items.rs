//! The short way for a document in which a few EIPs, rules or addresses of VIPs differ from those of the one in force: what
//! differs is planned, put in place and acknowledged by the kernel, and nothing else is looked at but the number of the
//! packet filter's state and whether the daemons run.
//!
//! **Invariant:** whatever is not just that goes the long way, which looks at everything; so does every so many-th document.

use super::{Applied, Failure, LastGood, Plan, RouterEngine, in_section};
use crate::{
    kernel::{KernelError, LinkChange},
    services::{
        eip, haproxy,
        interfaces::{self, FORWARDING, InterfacesPlan},
        nftables, port_forwarding,
        translations::Translations,
        vip,
    },
};
use ipnet::IpNet;
use std::collections::BTreeSet;
use switchback_appliance::{EipsConfig, PortForwardingConfig, Sections, VipAddress, changes::difference};

/// The sections that may differ.
const SECTIONS: [&str; 3] = [vip::SECTION, eip::SECTION, port_forwarding::SECTION];

impl RouterEngine {
    /// Makes the document in force the `next` one the short way, where that is possible. Otherwise nothing was done, or
    /// something that the long way makes good.
    pub(super) fn apply_items(&self, applied: &mut Applied, held: &LastGood, next: &LastGood) -> Option<Plan> {
        let names: BTreeSet<&String> = held.digests.keys().chain(next.digests.keys()).collect();
        let mut differing =
            names.into_iter().filter(|name| held.digests.get(*name) != next.digests.get(*name)).peekable();
        differing.peek()?;
        // Limits lead packets by the same packet filter, and are looked at with it.
        if !differing.all(|name| SECTIONS.contains(&name.as_str())) || !next.sections.qos.is_empty() {
            return None;
        }
        let plan = self.plan_items(applied, &held.sections, &next.sections)?;
        applied.times += 1;
        self.carry_out_items(applied, plan, &next.sections)
            .inspect_err(|failure| tracing::info!(failure.section, failure.detail, "all is looked at instead"))
            .ok()
    }

    fn plan_items(&self, applied: &Applied, before: &Sections, after: &Sections) -> Option<Items> {
        let kernel = self.kernel.as_ref();
        let table = applied.table.as_ref()?;
        let generation = kernel.generation().ok().filter(|now| table.generation == Some(*now))?;
        let served = applied.dnsmasq.as_ref().is_none_or(|running| kernel.alive(&running.process))
            && (applied.balancing.is_none() || haproxy::alive(kernel, &applied.haproxy));
        let forwards = kernel.sysctl(FORWARDING).ok()?.as_deref() == Some("1");
        if !served || !forwards || self.checks.unwell() != applied.unwell {
            return None;
        }
        let (gone, come) = split(before, after);
        let rendered = [&gone, &come].map(nftables::render_items);
        let [gone_elements, come_elements] = &rendered;
        let table = nftables::plan_items(table, gone_elements, come_elements, generation)?;
        let interfaces = addresses(before, after)?;
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
        if !gone.is_empty() || !come.is_empty() {
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

/// The EIPs and rules that go, and those that come, each in a document with the interfaces and passages of all.
fn split(before: &Sections, after: &Sections) -> (Sections, Sections) {
    let (gone_eips, eips) = difference(&before.eips.eips, &after.eips.eips);
    let (gone_rules, rules) = difference(&before.port_forwarding.rules, &after.port_forwarding.rules);
    let some =
        |eips: Vec<&switchback_appliance::Eip>, rules: Vec<&switchback_appliance::PortForwardingRule>| Sections {
            interfaces: after.interfaces.clone(),
            firewall: after.firewall.clone(),
            eips: EipsConfig { eips: eips.into_iter().cloned().collect() },
            port_forwarding: PortForwardingConfig { rules: rules.into_iter().cloned().collect() },
            ..Sections::default()
        };
    (some(gone_eips, gone_rules), some(eips, rules))
}

/// Addresses that come and go. Nothing where an address only changes its owner, or is one of an interface's own.
fn addresses(before: &Sections, after: &Sections) -> Option<InterfacesPlan> {
    let (gone, come) = difference(&before.vips.addresses, &after.vips.addresses);
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
