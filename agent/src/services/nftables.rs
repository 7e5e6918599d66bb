//! The router's one table of the packet filter: `inet vr_<tail of the router's id>`, made of the parts of
//! [`super::snat`], [`super::firewall`] and [`super::udp_balancer`], replaced as a whole in one transaction.
//!
//! What the kernel prints differs from what it was given (handles, order, spelling), so drift is found by
//! comparing what it prints now with what it printed right after the table was put in place.

use super::{
    firewall, snat,
    udp_balancer::{self, Unwell},
};
use crate::kernel::{Kernel, KernelError};
use serde_json::Value;
use std::net::SocketAddr;
use switchback_appliance::{DriftItem, LoadBalancerConfig, Sections, digest};

/// The table that should be, in its parts.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Table {
    /// Of the section `snat`.
    pub snat: String,
    /// Of the section `firewall`.
    pub firewall: String,
    /// Of the section `loadBalancer`.
    pub load_balancer: String,
}

/// The table that the kernel has: a digest for each part.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ObservedTable {
    /// Of the section `snat`.
    pub snat: String,
    /// Of the section `firewall`.
    pub firewall: String,
    /// Of the section `loadBalancer`.
    pub load_balancer: String,
}

/// A table that was put in place, and how the kernel printed it then.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct AppliedTable {
    /// What was asked for.
    pub table: Table,
    /// What was seen.
    pub seen: ObservedTable,
}

/// What has to change; empty: nothing.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct TablePlan {
    /// Lines for the section `snat`.
    pub snat: Vec<String>,
    /// Lines for the section `firewall`.
    pub firewall: Vec<String>,
    /// Lines for the section `loadBalancer`.
    pub load_balancer: Vec<String>,
    /// The kernel has no table at all.
    pub absent: bool,
    /// The kernel's table is not the one that was put in place.
    pub drift: Vec<DriftItem>,
}

impl TablePlan {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.snat.is_empty() && self.firewall.is_empty() && self.load_balancer.is_empty()
    }
}

/// The table for a configuration.
pub fn render(sections: &Sections, listen: Option<SocketAddr>, unwell: &Unwell) -> Table {
    let balanced = udp_balancer::render(&sections.load_balancer, &sections.interfaces, unwell);
    Table {
        snat: snat::render(&sections.snat),
        firewall: firewall::render(&sections.firewall, &sections.interfaces, listen, &balanced),
        load_balancer: balanced.objects,
    }
}

/// Looks at the table.
pub fn observe(kernel: &dyn Kernel, name: &str) -> Result<Option<ObservedTable>, KernelError> {
    let Some(objects) = kernel.table(name)? else { return Ok(None) };
    let (mut of_snat, mut of_firewall, mut of_balancer) = (Vec::new(), Vec::new(), Vec::new());
    for object in objects.into_iter().filter(|object| object.get("metainfo").is_none()) {
        let object = normalise(object);
        if belongs_to_snat(&object) {
            of_snat.push(object);
        } else if belongs_to_balancer(&object) {
            of_balancer.push(object);
        } else {
            of_firewall.push(object);
        }
    }
    let load_balancer = digest(&of_balancer);
    Ok(Some(ObservedTable { snat: digest(&of_snat), firewall: digest(&of_firewall), load_balancer }))
}

/// Without handles and counters, and with the elements of sets in one order: the kernel's is by chance.
pub fn normalise(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let keep = |key: &str| !matches!(key, "handle" | "packets" | "bytes");
            let fields = fields.into_iter().filter(|(key, _)| keep(key)).map(|(key, value)| {
                let value = normalise(value);
                match (key.as_str(), value) {
                    ("elem" | "set", Value::Array(mut list)) => {
                        list.sort_by_cached_key(Value::to_string);
                        (key, Value::Array(list))
                    }
                    (_, value) => (key, value),
                }
            });
            Value::Object(fields.collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(normalise).collect()),
        other => other,
    }
}

fn belongs_to_snat(object: &Value) -> bool {
    let Some(inner) = object.as_object().and_then(|fields| fields.values().next()) else { return false };
    let is = |field: &str, wanted: &str| inner.get(field).and_then(Value::as_str) == Some(wanted);
    let named = inner.get("name").and_then(Value::as_str).is_some_and(|name| name.starts_with(snat::MAP_PREFIX));
    named || is("name", snat::CHAIN) || is("chain", snat::CHAIN)
}

fn belongs_to_balancer(object: &Value) -> bool {
    let Some(inner) = object.as_object().and_then(|fields| fields.values().next()) else { return false };
    let is = |field: &str| {
        inner.get(field).and_then(Value::as_str).is_some_and(|name| name.starts_with(udp_balancer::PREFIX))
    };
    is("name") || is("chain")
}

/// The difference between what should be, what was put in place, and what is.
pub fn plan(wanted: &Table, applied: Option<&AppliedTable>, observed: Option<&ObservedTable>) -> TablePlan {
    let mut plan = TablePlan { absent: observed.is_none(), ..TablePlan::default() };
    let parts = [
        (
            "snat",
            &wanted.snat,
            applied.map(|a| &a.table.snat),
            applied.map(|a| &a.seen.snat),
            observed.map(|o| &o.snat),
        ),
        (
            "firewall",
            &wanted.firewall,
            applied.map(|a| &a.table.firewall),
            applied.map(|a| &a.seen.firewall),
            observed.map(|o| &o.firewall),
        ),
        (
            LoadBalancerConfig::SECTION,
            &wanted.load_balancer,
            applied.map(|a| &a.table.load_balancer),
            applied.map(|a| &a.seen.load_balancer),
            observed.map(|o| &o.load_balancer),
        ),
    ];
    for (section, wanted, applied, seen, observed) in parts {
        let mut lines = Vec::new();
        if wanted.is_empty() && applied.is_none_or(String::is_empty) {
            // Nothing of it is in the table, and nothing was.
        } else if applied != Some(wanted) {
            lines.push("replace nftables table".to_string());
        } else if seen != observed {
            lines.push("restore nftables table".to_string());
            plan.drift.push(DriftItem {
                section: section.to_string(),
                item: "nftables table".to_string(),
                expected: seen.cloned().unwrap_or_default(),
                observed: observed.cloned().unwrap_or("absent".to_string()),
            });
        }
        match section {
            "snat" => plan.snat = lines,
            LoadBalancerConfig::SECTION => plan.load_balancer = lines,
            _ => plan.firewall = lines,
        }
    }
    plan
}

/// Puts the table in place and notes how the kernel prints it.
pub fn apply(kernel: &dyn Kernel, name: &str, table: &Table) -> Result<AppliedTable, KernelError> {
    kernel.replace_table(name, &text(table))?;
    let seen = observe(kernel, name)?.ok_or_else(|| KernelError::new("look at the table", "it is not there"))?;
    Ok(AppliedTable { table: table.clone(), seen })
}

/// Whether the kernel would take the table.
pub fn check(kernel: &dyn Kernel, name: &str, table: &Table) -> Result<(), KernelError> {
    kernel.check_table(name, &text(table))
}

fn text(table: &Table) -> String {
    format!("{}{}{}", table.load_balancer, table.firewall, table.snat)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn order_and_handles_do_not_count() {
        let one =
            json!({"set": {"name": "open", "handle": 3, "elem": [{"concat": ["eth1", 53]}, {"concat": ["eth0", 22]}]}});
        let two =
            json!({"set": {"name": "open", "handle": 9, "elem": [{"concat": ["eth0", 22]}, {"concat": ["eth1", 53]}]}});
        assert_eq!(normalise(one.clone()), normalise(two));
        assert_ne!(normalise(one), normalise(json!({"set": {"name": "open", "elem": []}})));
    }

    #[test]
    fn a_missing_table_is_drift_of_both_sections() {
        let table = Table { snat: "a".to_string(), firewall: "b".to_string(), ..Table::default() };
        let seen = ObservedTable { snat: "1".to_string(), firewall: "2".to_string(), ..ObservedTable::default() };
        let applied = AppliedTable { table: table.clone(), seen: seen.clone() };
        assert!(plan(&table, Some(&applied), Some(&seen)).is_empty());
        let wiped = plan(&table, Some(&applied), None);
        assert!(wiped.absent);
        let sections: Vec<&str> = wiped.drift.iter().map(|item| item.section.as_str()).collect();
        assert_eq!(sections, ["snat", "firewall"]);
    }
}
