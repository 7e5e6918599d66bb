//! The rows of EIPs. The guest's address and the router follow in [`crate::vip`].

use crate::catalogue::{EIP, VIP_SERVICE};
use crate::fold::RowChange;
use crate::value::Val;
use crate::vip::lead;
use switchback_events::{EipEvent, Id};

pub(crate) fn changes(id: Id, event: &EipEvent) -> Vec<RowChange> {
    let set = || RowChange::set(&EIP, id);
    vec![match event {
        EipEvent::Created { name, description, at } => {
            let eip = RowChange::insert(&EIP, id)
                .put("name", name)
                .put("description", description.as_deref())
                .put("vipUuid", at.vip)
                .put("vipIp", at.ip)
                .put("state", "Enabled");
            let used = RowChange::insert(&VIP_SERVICE, id).put("serviceType", "Eip").put("vipUuid", at.vip);
            return vec![eip, used];
        }
        EipEvent::Updated { name, description } => {
            set().put_some("name", name.as_ref()).put_some("description", description.as_ref())
        }
        EipEvent::StateChanged { state, .. } => set().put("state", Val::name_of(state)),
        EipEvent::Attached { to, .. } => lead(set(), Some(to)),
        EipEvent::Detached { .. } => lead(set(), None),
        EipEvent::Deleted { .. } => {
            return vec![RowChange::delete(&EIP, id), RowChange::delete(&VIP_SERVICE, id)];
        }
    }]
}
