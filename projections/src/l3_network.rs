//! The rows of L3 networks and of the services on them.

use crate::catalogue::{HOST_ROUTE, L3, RESERVED_RANGE, SERVICE_REF};
use crate::fold::{RowChange, Rows};
use crate::store::StoreError;
use crate::value::Val;
use switchback_events::{DEFAULT_MTU, Id, L3NetworkEvent, NetworkServiceProviderId, NetworkServiceType, ip_version};

pub(crate) fn changes(id: Id, event: &L3NetworkEvent, rows: &dyn Rows) -> Result<Vec<RowChange>, StoreError> {
    Ok(vec![match event {
        L3NetworkEvent::Created { zone, l2_network, name, description, category, system, dns_domain } => {
            RowChange::insert(&L3, id)
                .put("zoneUuid", *zone)
                .put("l2NetworkUuid", *l2_network)
                .put("name", name)
                .put("description", description.as_deref())
                .put("category", Val::name_of(category))
                .put("system", *system)
                .put("dnsDomain", dns_domain.as_deref())
                .put("state", "Enabled")
                .put("type", "L3BasicNetwork")
                .put("ipVersion", 0_u8)
                .put("enableIPAM", true)
                .put("mtu", DEFAULT_MTU)
        }
        L3NetworkEvent::Updated { name, description, dns_domain, category, system } => RowChange::set(&L3, id)
            .put_some("name", name.as_ref())
            .put_some("description", description.as_ref())
            .put_some("dnsDomain", dns_domain.as_ref())
            .put_some("category", category.as_ref().map(Val::name_of))
            .put_some("system", *system),
        L3NetworkEvent::StateChanged { state } => RowChange::set(&L3, id).put("state", Val::name_of(state)),
        L3NetworkEvent::DnsAdded { dns } => name_servers(id, &dns.to_string(), true, rows)?,
        L3NetworkEvent::DnsRemoved { dns } => name_servers(id, &dns.to_string(), false, rows)?,
        L3NetworkEvent::HostRouteAdded { prefix, nexthop } => RowChange::insert(&HOST_ROUTE, route(id, prefix))
            .put("l3NetworkUuid", id)
            .put("prefix", prefix.to_string())
            .put("nexthop", *nexthop),
        L3NetworkEvent::HostRouteRemoved { prefix } => RowChange::delete(&HOST_ROUTE, route(id, prefix)),
        L3NetworkEvent::MtuChanged { mtu } => RowChange::set(&L3, id).put("mtu", *mtu),
        L3NetworkEvent::IpamDisabled {} => RowChange::set(&L3, id).put("enableIPAM", false),
        L3NetworkEvent::ServicesAttached { provider, services } => {
            let attach = |service: &NetworkServiceType| {
                RowChange::insert(&SERVICE_REF, reference(id, *provider, *service))
                    .put("l3NetworkUuid", id)
                    .put("networkServiceProviderUuid", *provider)
                    .put("networkServiceType", Val::name_of(service))
            };
            return Ok(services.iter().map(attach).collect());
        }
        L3NetworkEvent::ServicesDetached { provider, services } => {
            let detach =
                |service: &NetworkServiceType| RowChange::delete(&SERVICE_REF, reference(id, *provider, *service));
            return Ok(services.iter().map(detach).collect());
        }
        L3NetworkEvent::RangeReserved { reserved_range, start, end } => {
            RowChange::insert(&RESERVED_RANGE, reserved_range)
                .put("l3NetworkUuid", id)
                .put("startIp", *start)
                .put("endIp", *end)
                .put("ipVersion", ip_version(*start))
        }
        L3NetworkEvent::RangeUnreserved { reserved_range } => RowChange::delete(&RESERVED_RANGE, reserved_range),
        // The record of the address says it.
        L3NetworkEvent::DhcpServerChanged { .. } => return Ok(vec![]),
        L3NetworkEvent::Deleted {} => {
            let services = rows.find(&SERVICE_REF, "l3NetworkUuid", &id.to_string())?;
            let reserved = rows.find(&RESERVED_RANGE, "l3NetworkUuid", &id.to_string())?;
            let routes = rows.find(&HOST_ROUTE, "l3NetworkUuid", &id.to_string())?;
            let mut changes: Vec<_> =
                services.into_iter().map(|service| RowChange::delete(&SERVICE_REF, service)).collect();
            changes.extend(reserved.into_iter().map(|range| RowChange::delete(&RESERVED_RANGE, range)));
            changes.extend(routes.into_iter().map(|route| RowChange::delete(&HOST_ROUTE, route)));
            changes.push(RowChange::delete(&L3, id));
            return Ok(changes);
        }
    }])
}

/// The key of a row that has no uuid of its own.
fn reference(l3: Id, provider: NetworkServiceProviderId, service: NetworkServiceType) -> Id {
    Id::of_name(&format!("{l3}/{provider}/{service}"))
}

/// The key of a host route's row.
fn route(l3: Id, prefix: &impl std::fmt::Display) -> Id {
    Id::of_name(&format!("{l3}/route/{prefix}"))
}

/// An address that is added again goes last.
fn name_servers(id: Id, address: &str, member: bool, rows: &dyn Rows) -> Result<RowChange, StoreError> {
    let row = rows.get(&L3, &id.to_string())?;
    let mut dns = row.map_or_else(Vec::new, |row| row.value(&L3, "dns").members().to_vec());
    dns.retain(|other| other != address);
    if member {
        dns.push(address.to_string());
    }
    Ok(RowChange::set(&L3, id).put("dns", dns))
}
