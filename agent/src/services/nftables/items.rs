//! The table where a few EIPs or rules differ: their elements, and nothing else.

use super::{AppliedTable, Change, ELEMENTS_CHANGED_MAX, Element, NftSet, Table, TablePlan, eip, port_forwarding};
use crate::kernel::{Kernel, KernelError, TableChange};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use switchback_appliance::Sections;

/// What a few EIPs and rules have in the table, the same as in one with others.
pub fn render_items(sections: &Sections) -> Table {
    let parts = eip::render(sections).into_iter().chain(port_forwarding::render(sections));
    Table { parts: parts.collect() }
}

/// The change by which the elements of `gone` go from the table that was put in place, and those of `come` come: what two
/// tables of a few items have. Nothing where that is not all that would change: where one of the sets is not there or
/// would be empty, or an element is another's. Nobody has touched the table since.
pub fn plan_items(applied: &AppliedTable, gone: &Table, come: &Table, generation: u32) -> Option<TablePlan> {
    let held: BTreeMap<&str, &NftSet> =
        applied.table.parts.iter().flat_map(|part| &part.sets).map(|set| (set.name.as_str(), set)).collect();
    let mut plan = TablePlan { generation, ..TablePlan::default() };
    let mut change = TableChange::default();
    let sections: BTreeSet<&'static str> = gone.parts.iter().chain(&come.parts).map(|part| part.section).collect();
    for section in sections {
        let sets = |table: &'_ Table| -> BTreeMap<String, NftSet> {
            let parts = table.parts.iter().filter(|part| part.section == section);
            parts.flat_map(|part| &part.sets).map(|set| (set.name.clone(), set.clone())).collect()
        };
        let (gone, come) = (sets(gone), sets(come));
        let names: BTreeSet<&String> = gone.keys().chain(come.keys()).collect();
        for name in names {
            let held = *held.get(name.as_str())?;
            let empty = held.clone_outline();
            let (gone, come) = (gone.get(name).unwrap_or(&empty), come.get(name).unwrap_or(&empty));
            if [gone, come].iter().any(|set| !set.same_outline(held) || set.left_out > 0) || held.left_out > 0 {
                return None;
            }
            let is_held = |(key, element): (&String, &Element)| held.elements.get(key) == Some(element);
            let is_free = |key: &String| gone.elements.contains_key(key) || !held.elements.contains_key(key);
            if !gone.elements.iter().all(is_held) || !come.elements.keys().all(is_free) {
                return None;
            }
            let changes = come.changes(gone);
            if changes.is_empty() {
                continue;
            }
            if held.elements.len() + come.elements.len() <= gone.elements.len() {
                return None;
            }
            let lines = plan.actions.entry(section).or_default();
            for (element, item) in changes {
                lines.push(format!("{item}: {element}"));
                change.elements.push(element);
            }
        }
    }
    if change.elements.len() > ELEMENTS_CHANGED_MAX {
        return None;
    }
    if !change.is_empty() {
        plan.change = Change::Parts(change);
    }
    Some(plan)
}

/// Carries out what [`plan_items`] has planned.
pub fn apply_items(
    kernel: &dyn Kernel,
    name: &str,
    applied: &mut AppliedTable,
    plan: &TablePlan,
    gone: Table,
    come: Table,
) -> Result<(), KernelError> {
    let Change::Parts(change) = &plan.change else { return Ok(()) };
    // Until it is known what came of it, nothing is.
    applied.generation = None;
    kernel.change_table(name, change)?;
    let after = kernel.generation()?;
    applied.generation = (after == plan.generation.wrapping_add(1)).then_some(after);
    let table = Arc::make_mut(&mut applied.table);
    let mut held: BTreeMap<String, &mut NftSet> =
        table.parts.iter_mut().flat_map(|part| &mut part.sets).map(|set| (set.name.clone(), set)).collect();
    for set in gone.parts.into_iter().flat_map(|part| part.sets) {
        let Some(held) = held.get_mut(&set.name) else { continue };
        set.elements.keys().for_each(|key| drop(held.elements.remove(key)));
    }
    for set in come.parts.into_iter().flat_map(|part| part.sets) {
        let Some(held) = held.get_mut(&set.name) else { continue };
        held.elements.extend(set.elements);
    }
    Ok(())
}
