//! User data: what the tag `userdata::…` of a VM says, on its way to the routers of its networks.
//!
//! **Invariant:** whatever changes the tag, or lets a router know the VM, says in the same commit what the VM's programs
//! are to be told, and which password waits for them.

use crate::{decision::Decision, facts::Facts, rules::Exists, *};
use std::collections::BTreeSet;
use switchback_bus::Refusal;
use switchback_events::*;

/// The name of the tag.
const NAME: &str = "userdata";

/// Adds the events that follow from what a decision does to VMs and their tags.
pub(crate) fn follow(decision: &mut Decision, facts: &Facts) -> Result<(), Refusal> {
    use VmInstanceEvent::{Created, NicAttached, NicChanged, Recovered};
    let (mut vms, mut learnt) = (BTreeSet::new(), BTreeSet::new());
    for (stream, event) in &decision.events {
        match event {
            Event::TagSet(_) => drop(vms.insert(stream.id)),
            Event::VmInstance(Created { .. } | NicAttached { .. } | NicChanged { .. } | Recovered { .. }) => {
                vms.insert(stream.id);
                learnt.insert(stream.id);
            }
            _ => {}
        }
    }
    for id in vms {
        let tags = facts.tags(id)?;
        let mut told = (*tags).clone();
        let mut vm = (*facts.get::<VmInstance>(id)?).clone();
        for (_, event) in decision.events.iter().filter(|(stream, _)| stream.id == id) {
            match event {
                Event::TagSet(event) => told.evolve(event, 0),
                Event::VmInstance(event) => vm.evolve(event, 0),
                _ => {}
            }
        }
        let (before, userdata) = (of(&tags), of(&told));
        if vm.exists() && (before != userdata || learnt.contains(&id) && userdata.is_some()) {
            decision.add(id, VmInstanceEvent::UserdataChanged { userdata, l3_networks: vm.l3_networks() });
        }
        if vm.exists() && learnt.contains(&id) && vm.password.is_some() {
            let (password, l3_networks) = (vm.password.clone(), vm.l3_networks());
            decision.add(id, VmInstanceEvent::PasswordChanged { password, l3_networks });
        }
    }
    Ok(())
}

fn of(tags: &TagSet) -> Option<String> {
    tags.values(NAME).next().map(|text| text.to_string())
}
