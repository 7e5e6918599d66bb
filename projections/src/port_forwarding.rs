//! The rows of port forwarding rules. The guest's address and the router follow in [`crate::vip`].

use crate::catalogue::{PORT_FORWARDING, VIP_SERVICE};
use crate::fold::RowChange;
use crate::value::Val;
use crate::vip::lead;
use switchback_events::{Id, PortForwardingEvent};

pub(crate) fn changes(id: Id, event: &PortForwardingEvent) -> Vec<RowChange> {
    let set = || RowChange::set(&PORT_FORWARDING, id);
    vec![match event {
        PortForwardingEvent::Created { name, description, at, ports } => {
            let rule = RowChange::insert(&PORT_FORWARDING, id)
                .put("name", name)
                .put("description", description.as_deref())
                .put("vipUuid", at.vip)
                .put("vipIp", at.ip)
                .put("vipPortStart", ports.vip_start)
                .put("vipPortEnd", ports.vip_end)
                .put("privatePortStart", ports.private_start)
                .put("privatePortEnd", ports.private_end)
                .put("protocolType", Val::name_of(&ports.protocol))
                .put("allowedCidr", ports.allowed_cidr.map(|cidr| cidr.to_string()))
                .put("state", "Enabled");
            let used = RowChange::insert(&VIP_SERVICE, id);
            return vec![rule, used.put("serviceType", "PortForwarding").put("vipUuid", at.vip)];
        }
        PortForwardingEvent::Updated { name, description } => {
            set().put_some("name", name.as_ref()).put_some("description", description.as_ref())
        }
        PortForwardingEvent::StateChanged { state, .. } => set().put("state", Val::name_of(state)),
        PortForwardingEvent::Attached { to, .. } => lead(set(), Some(to)),
        PortForwardingEvent::Detached { .. } => lead(set(), None),
        PortForwardingEvent::Deleted { .. } => {
            return vec![RowChange::delete(&PORT_FORWARDING, id), RowChange::delete(&VIP_SERVICE, id)];
        }
    }]
}
