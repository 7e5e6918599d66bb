//! The rows of VIPs. A router's own public address is a system VIP: its row follows the router's public nic. What the
//! rows of VIPs and of the services on them show of each other, of nics and of routers follows here, after each event.

use crate::catalogue::{EIP, Kind, LOAD_BALANCER, NIC, PORT_FORWARDING, ROUTER, VIP, VIP_QOS};
use crate::fold::{Action, Row, RowChange, Rows, row_of};
use crate::store::StoreError;
use crate::value::Val;
use std::collections::BTreeSet;
use switchback_events::{
    EipEvent, Event, Id, L3NetworkId, LoadBalancerEvent, Nic, NicAddress, PortForwardingEvent, Recorded, RouterEvent,
    ServedNic, VipEvent, VipId, VmInstanceEvent, ip_version, system_vip_id, vip_qos_id,
};

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
        VipEvent::QosSet { port, limits, .. } => {
            // Where there are some already the row stays, with its date, and takes the values.
            let limited = vip_qos_id(VipId(id), *port);
            let values = |row: RowChange| {
                row.put("vipUuid", id)
                    .put("port", *port)
                    .put("inboundBandwidth", limits.inbound)
                    .put("outboundBandwidth", limits.outbound)
            };
            return vec![values(RowChange::insert(&VIP_QOS, limited)), values(RowChange::set(&VIP_QOS, limited))];
        }
        VipEvent::QosDeleted { port, .. } => RowChange::delete(&VIP_QOS, vip_qos_id(VipId(id), *port)),
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

/// Where a service leads to.
pub(crate) fn lead(row: RowChange, to: Option<&ServedNic>) -> RowChange {
    row.put("vmNicUuid", to.map(|to| to.nic)).put("guestNetworkUuid", to.map(|to| to.l3_network))
}

/// The kinds of services that use VIPs, with ZStack's words for them.
const SERVICES: [(&Kind, &str); 3] =
    [(&EIP, "Eip"), (&PORT_FORWARDING, "PortForwarding"), (&LOAD_BALANCER, "LoadBalancer")];

/// Whether a service of the kind leads to one nic.
fn of_one_nic(kind: &Kind) -> bool {
    kind.name != LOAD_BALANCER.name
}

/// The rows as they are after an event whose changes are known.
pub(crate) struct After<'a> {
    pub rows: &'a dyn Rows,
    pub changes: &'a [RowChange],
}

impl Rows for After<'_> {
    fn get(&self, kind: &'static Kind, uuid: &str) -> Result<Option<Row>, StoreError> {
        let mut row = self.rows.get(kind, uuid)?;
        for change in self.changes.iter().filter(|change| change.kind == kind && change.uuid == uuid) {
            match (change.action, &mut row) {
                (Action::Insert, None) => row = Some(row_of(change)),
                (Action::Set, Some(row)) => {
                    change.values.iter().for_each(|(column, value)| row.values[*column] = value.clone());
                }
                (Action::Delete, _) => row = None,
                _ => {}
            }
        }
        Ok(row)
    }

    fn find(&self, kind: &'static Kind, field: &'static str, value: &str) -> Result<Vec<String>, StoreError> {
        let mut found = self.rows.find(kind, field, value)?;
        for change in self.changes.iter().filter(|change| change.kind == kind) {
            found.retain(|uuid| *uuid != change.uuid);
            if self.get(kind, &change.uuid)?.is_some_and(|row| row.value(kind, field).text() == Some(value)) {
                found.push(change.uuid.clone());
            }
        }
        Ok(found)
    }
}

/// What of services and VIPs follows from others, after an event: the guest's address from the nic, the router from the
/// guest network, and all that a VIP shows of its use from the services on it.
pub(crate) fn follow(recorded: &Recorded, rows: &After<'_>) -> Result<Vec<RowChange>, StoreError> {
    let id = recorded.stream.id.to_string();
    let mut services: Vec<(&'static Kind, String)> = Vec::new();
    let mut vips: BTreeSet<String> = BTreeSet::new();
    let mut with = |field: &'static str, value: &str| -> Result<(), StoreError> {
        for (kind, _) in SERVICES.into_iter().filter(|(kind, _)| field != "vmNicUuid" || of_one_nic(kind)) {
            services.extend(rows.find(kind, field, value)?.into_iter().map(|uuid| (kind, uuid)));
        }
        Ok(())
    };
    match &recorded.event {
        Event::Eip(event) => match event {
            EipEvent::Updated { .. } | EipEvent::StateChanged { .. } => return Ok(vec![]),
            EipEvent::Created { at, .. }
            | EipEvent::Attached { at, .. }
            | EipEvent::Detached { at, .. }
            | EipEvent::Deleted { at, .. } => {
                vips.insert(at.vip.to_string());
                services.push((&EIP, id));
            }
        },
        Event::PortForwarding(event) => match event {
            PortForwardingEvent::Updated { .. } | PortForwardingEvent::StateChanged { .. } => return Ok(vec![]),
            PortForwardingEvent::Created { at, .. }
            | PortForwardingEvent::Attached { at, .. }
            | PortForwardingEvent::Detached { at, .. }
            | PortForwardingEvent::Deleted { at, .. } => {
                vips.insert(at.vip.to_string());
                services.push((&PORT_FORWARDING, id));
            }
        },
        Event::LoadBalancer(event) => {
            let vip = match event {
                LoadBalancerEvent::Created { at, .. } => Some(at.vip.to_string()),
                LoadBalancerEvent::Deleted { vip, .. } => Some(vip.to_string()),
                _ => None,
            };
            vips.extend(vip);
            services.push((&LOAD_BALANCER, id));
        }
        Event::VmInstance(VmInstanceEvent::NicChanged { nic, .. }) => with("vmNicUuid", &nic.nic.to_string())?,
        Event::VmInstance(VmInstanceEvent::NicAddressesChanged { nic, .. }) => with("vmNicUuid", &nic.to_string())?,
        Event::Router(
            RouterEvent::Created { .. } | RouterEvent::NicAttached { .. } | RouterEvent::NicDetached { .. },
        ) => {
            let guest = rows.get(&ROUTER, &id)?.map(|row| row.value(&ROUTER, GUEST_NETWORK).clone());
            if let Some(guest) = guest.as_ref().and_then(Val::text) {
                with(GUEST_NETWORK, guest)?;
            }
        }
        Event::Router(RouterEvent::Destroyed { .. }) => with("virtualRouterUuid", &id)?,
        _ => return Ok(vec![]),
    }
    let mut derived: Vec<RowChange> = Vec::new();
    for (kind, service) in services {
        let Some(row) = rows.get(kind, &service)? else { continue };
        let vip = row.value(kind, "vipUuid").clone();
        let one = of_one_nic(kind).then(|| row.value(kind, "vmNicUuid").text().map(str::to_string)).flatten();
        let nic = match one.as_deref() {
            Some(nic) => rows.get(&NIC, nic)?,
            None => None,
        };
        let guest_ip = nic.map_or(Val::Null, |nic| nic.value(&NIC, "ip").clone());
        let router = router_of(row.value(kind, GUEST_NETWORK).text(), vip.text(), rows)?;
        let change = RowChange::set(kind, &service);
        let change = if of_one_nic(kind) { put_new(change, &row, "guestIp", guest_ip) } else { change };
        derived.push(put_new(change, &row, "virtualRouterUuid", router.map_or(Val::Null, Val::from)));
        vips.extend(vip.text().map(str::to_string));
    }
    let mut changes = rows.changes.to_vec();
    changes.extend(derived.iter().cloned());
    let rows = After { rows: rows.rows, changes: &changes };
    for vip in vips {
        if let Some(row) = rows.get(&VIP, &vip)? {
            derived.push(used(&vip, &row, &rows)?);
        }
    }
    derived.retain(|change| !change.values.is_empty());
    Ok(derived)
}

/// The field that has a router's, or a service's, guest network.
const GUEST_NETWORK: &str = "guestNetworkUuid";

/// With `value` in the field, if that is another one.
fn put_new(change: RowChange, row: &Row, field: &str, value: Val) -> RowChange {
    let same = *row.value(change.kind, field) == value;
    if same { change } else { change.put(field, value) }
}

/// The router of a guest network that is on the network of the VIP, too.
fn router_of(guest: Option<&str>, vip: Option<&str>, rows: &dyn Rows) -> Result<Option<String>, StoreError> {
    let (Some(guest), Some(vip)) = (guest, vip) else { return Ok(None) };
    let Some(vip) = rows.get(&VIP, vip)? else { return Ok(None) };
    for router in rows.find(&ROUTER, GUEST_NETWORK, guest)? {
        for nic in rows.find(&NIC, "vmInstanceUuid", &router)? {
            let nic = rows.get(&NIC, &nic)?;
            let public = vip.value(&VIP, "l3NetworkUuid");
            if nic.is_some_and(|nic| nic.value(&NIC, "l3NetworkUuid") == public) {
                return Ok(Some(router));
            }
        }
    }
    Ok(None)
}

/// What a VIP shows of the services on it.
fn used(vip: &str, row: &Row, rows: &dyn Rows) -> Result<RowChange, StoreError> {
    let (mut words, mut peers, mut router) = (Vec::new(), BTreeSet::new(), Val::Null);
    for (kind, word) in SERVICES {
        let services = rows.find(kind, "vipUuid", vip)?;
        words.extend((!services.is_empty()).then_some(word));
        for service in services {
            let Some(service) = rows.get(kind, &service)? else { continue };
            peers.extend(service.value(kind, GUEST_NETWORK).text().map(str::to_string));
            if *service.value(kind, "virtualRouterUuid") != Val::Null {
                router = service.value(kind, "virtualRouterUuid").clone();
            }
        }
    }
    let use_for = (!words.is_empty()).then(|| words.join(","));
    let provider = (!peers.is_empty()).then_some("VirtualRouter");
    let peers: Vec<String> = peers.into_iter().collect();
    let change = put_new(RowChange::set(&VIP, vip), row, "useFor", use_for.into());
    let change = put_new(change, row, "serviceProvider", provider.into());
    let change = put_new(change, row, "peerL3NetworkUuids", peers.into());
    Ok(put_new(change, row, "virtualRouterUuid", router))
}
