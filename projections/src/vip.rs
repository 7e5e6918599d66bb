//! The rows of VIPs. A router's own public address is a system VIP: its row follows the router's public nic.

use crate::catalogue::VIP;
use crate::fold::{RowChange, Rows};
use crate::store::StoreError;
use crate::value::Val;
use switchback_events::{Id, L3NetworkId, Nic, NicAddress, VipEvent, ip_version, system_vip_id};

pub(crate) fn changes(id: Id, event: &VipEvent) -> Vec<RowChange> {
    vec![match event {
        VipEvent::Created { name, description, l3_network, address } => {
            held(RowChange::insert(&VIP, id), *l3_network, address)
                .put("name", name)
                .put("description", description.as_deref())
                .put("ipRangeUuid", address.ip_range)
                .put("state", "Enabled")
                .put("system", false)
        }
        VipEvent::Updated { name, description } => {
            RowChange::set(&VIP, id).put_some("name", name.as_ref()).put_some("description", description.as_ref())
        }
        VipEvent::StateChanged { state } => RowChange::set(&VIP, id).put("state", Val::name_of(state)),
        VipEvent::Deleted { .. } => RowChange::delete(&VIP, id),
    }]
}

fn held(row: RowChange, l3_network: L3NetworkId, address: &NicAddress) -> RowChange {
    let used_ip = Some(address.used_ip).filter(|used_ip| *used_ip != Id::NIL);
    row.put("l3NetworkUuid", l3_network)
        .put("ip", address.ip)
        .put("ipVersion", ip_version(address.ip))
        .put("gateway", address.gateway)
        .put("netmask", address.netmask())
        .put("prefixLen", address.prefix_length)
        .put_some("usedIpUuid", used_ip)
}

/// The system VIPs that a new router has.
pub(crate) fn of_router(router: Id, name: &str, nics: &[Nic]) -> Vec<RowChange> {
    let guests: Vec<String> =
        nics.iter().filter(|nic| nic.is(Nic::GUEST)).map(|nic| nic.l3_network.to_string()).collect();
    let row = |nic: &Nic| {
        let address = nic.addresses.iter().find(|address| address.ip.is_ipv4())?;
        let row = RowChange::insert(&VIP, system_vip_id(nic.nic));
        Some(
            held(row, nic.l3_network, address)
                .put("name", format!("vip-for-{name}"))
                .put("state", "Enabled")
                .put("system", true)
                .put("useFor", "SNAT")
                .put("serviceProvider", "VirtualRouter")
                .put("peerL3NetworkUuids", guests.clone())
                .put("virtualRouterUuid", router),
        )
    };
    nics.iter().filter(|nic| nic.is(Nic::PUBLIC)).filter_map(row).collect()
}

/// The system VIP of a router's nic that has other addresses now.
pub(crate) fn of_nic(nic: &Nic) -> Option<RowChange> {
    let address = nic.addresses.iter().find(|address| address.ip.is_ipv4()).filter(|_| nic.is(Nic::PUBLIC))?;
    Some(held(RowChange::set(&VIP, system_vip_id(nic.nic)), nic.l3_network, address))
}

/// The removal of a router's system VIPs.
pub(crate) fn without(router: Id, rows: &dyn Rows) -> Result<Vec<RowChange>, StoreError> {
    let own = rows.find(&VIP, "virtualRouterUuid", &router.to_string())?;
    let mut changes = Vec::new();
    for vip in own {
        let row = rows.get(&VIP, &vip)?;
        if row.is_some_and(|row| *row.value(&VIP, "system") == Val::from(true)) {
            changes.push(RowChange::delete(&VIP, vip));
        }
    }
    Ok(changes)
}
