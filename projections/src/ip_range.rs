//! The rows of IP ranges and of the addresses in use; an L3 network's `ipVersion` follows its ranges.

use crate::catalogue::{IP_RANGE, L3, USED_IP};
use crate::fold::{Row, RowChange, Rows};
use crate::store::StoreError;
use crate::value::Val;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use switchback_events::{
    Id, IpRangeEvent, IpRangeId, L3NetworkId, NicId, ip_number, ip_of_number, ip_version, prefix_of, used_ip_id,
};

/// What a reserved address is used for.
const RESERVED: &str = "Reserved";
/// What the address of a VIP is used for.
const VIP: &str = "VIP";
/// And that of an address at which hosts serve their VMs.
const DHCP: &str = "DHCP";

/// The record of an address, with what it has of its range.
fn record((id, range): (Id, Option<&Row>), l3: L3NetworkId, used_ip: Id, ip: IpAddr) -> RowChange {
    let of_range = |name: &str| range.map_or(Val::Null, |range| range.value(&IP_RANGE, name).clone());
    RowChange::insert(&USED_IP, used_ip)
        .put("ipRangeUuid", id)
        .put("l3NetworkUuid", l3)
        .put("ip", ip)
        .put("ipVersion", ip_version(ip))
        .put("netmask", of_range("netmask"))
        .put("gateway", of_range("gateway"))
}

fn each(first: IpAddr, last: IpAddr) -> impl Iterator<Item = IpAddr> {
    (ip_number(first)..=ip_number(last)).map(move |number| ip_of_number(number, first))
}

/// What a network's `ipVersion` is by those of its ranges: 0 for none, 46 for both families.
fn families(l3: L3NetworkId, besides: Id, added: Option<i64>, rows: &dyn Rows) -> Result<RowChange, StoreError> {
    let mut versions: Vec<i64> = added.into_iter().collect();
    for range in rows.find(&IP_RANGE, "l3NetworkUuid", &l3.to_string())? {
        if range != besides.to_string()
            && let Some(row) = rows.get(&IP_RANGE, &range)?
            && let Val::Int(version) = row.value(&IP_RANGE, "ipVersion")
        {
            versions.push(*version);
        }
    }
    let version = match (versions.contains(&4), versions.contains(&6)) {
        (true, true) => 46_i64,
        (true, false) => 4,
        (false, true) => 6,
        (false, false) => 0,
    };
    Ok(RowChange::set(&L3, l3).put("ipVersion", version))
}

pub(crate) fn changes(id: Id, event: &IpRangeEvent, rows: &dyn Rows) -> Result<Vec<RowChange>, StoreError> {
    Ok(match event {
        IpRangeEvent::Created {
            l3_network,
            l2_network: _,
            name,
            description,
            range_type,
            start,
            end,
            netmask,
            gateway,
        } => {
            let prefix = prefix_of(*netmask).unwrap_or(0);
            let network = Ipv4Addr::from(u32::from(*start) & u32::from(*netmask));
            let range = RowChange::insert(&IP_RANGE, id)
                .put("l3NetworkUuid", *l3_network)
                .put("name", name)
                .put("description", description.as_deref())
                .put("startIp", *start)
                .put("endIp", *end)
                .put("netmask", *netmask)
                .put("gateway", *gateway)
                .put("networkCidr", format!("{network}/{prefix}"))
                .put("prefixLen", prefix)
                .put("ipVersion", 4_u8)
                .put("ipRangeType", Val::name_of(range_type));
            vec![range, families(*l3_network, id, Some(4), rows)?]
        }
        IpRangeEvent::Ipv6Created {
            l3_network,
            l2_network: _,
            name,
            description,
            range_type,
            start,
            end,
            prefix_length,
            gateway,
            address_mode,
        } => {
            let netmask = u128::MAX.checked_shl(128 - u32::from(*prefix_length)).unwrap_or(0);
            let network = Ipv6Addr::from(u128::from(*start) & netmask);
            let range = RowChange::insert(&IP_RANGE, id)
                .put("l3NetworkUuid", *l3_network)
                .put("name", name)
                .put("description", description.as_deref())
                .put("startIp", IpAddr::from(*start))
                .put("endIp", IpAddr::from(*end))
                .put("netmask", IpAddr::from(Ipv6Addr::from(netmask)))
                .put("gateway", IpAddr::from(*gateway))
                .put("networkCidr", format!("{network}/{prefix_length}"))
                .put("prefixLen", *prefix_length)
                .put("ipVersion", 6_u8)
                .put("addressMode", address_mode.word())
                .put("ipRangeType", Val::name_of(range_type));
            vec![range, families(*l3_network, id, Some(6), rows)?]
        }
        IpRangeEvent::Updated { name, description } => vec![
            RowChange::set(&IP_RANGE, id).put_some("name", name.as_ref()).put_some("description", description.as_ref()),
        ],
        IpRangeEvent::AddressAllocated { l3_network, ip, used_ip, nic, owner } => {
            let range = rows.get(&IP_RANGE, &id.to_string())?;
            let record = record((id, range.as_ref()), *l3_network, *used_ip, *ip);
            vec![match *nic {
                // The network's own, at which its hosts serve it.
                NicId(Id::NIL) if *owner == l3_network.0 => record.put("usedFor", DHCP),
                NicId(Id::NIL) => record.put("usedFor", VIP),
                nic => record.put("vmNicUuid", nic),
            }]
        }
        IpRangeEvent::AddressesReserved { l3_network, first, last } => {
            let range = rows.get(&IP_RANGE, &id.to_string())?;
            let mut changes = Vec::new();
            for ip in each(*first, *last) {
                let used_ip = used_ip_id(IpRangeId(id), ip);
                if rows.get(&USED_IP, &used_ip.to_string())?.is_none() {
                    let record = record((id, range.as_ref()), *l3_network, used_ip, ip);
                    changes.push(record.put("usedFor", RESERVED));
                }
            }
            changes
        }
        IpRangeEvent::AddressesUnreserved { first, last, .. } => {
            let mut changes = Vec::new();
            for ip in each(*first, *last) {
                let used_ip = used_ip_id(IpRangeId(id), ip);
                let row = rows.get(&USED_IP, &used_ip.to_string())?;
                if row.is_some_and(|row| row.value(&USED_IP, "usedFor").text() == Some(RESERVED)) {
                    changes.push(RowChange::delete(&USED_IP, used_ip));
                }
            }
            changes
        }
        IpRangeEvent::AddressReleased { used_ip, .. } => vec![RowChange::delete(&USED_IP, used_ip)],
        IpRangeEvent::CursorMoved { .. } => vec![],
        IpRangeEvent::Deleted { l3_network } => {
            let own = id.to_string();
            let addresses = rows.find(&USED_IP, "ipRangeUuid", &own)?;
            let mut changes: Vec<_> = addresses.into_iter().map(|ip| RowChange::delete(&USED_IP, ip)).collect();
            changes.push(RowChange::delete(&IP_RANGE, id));
            changes.push(families(*l3_network, id, None, rows)?);
            changes
        }
    })
}
