//! The rows of load balancers, of their listeners and server groups, and what VIPs are used for by them.

use crate::catalogue::{Kind, LISTENER, LISTENER_ACCESS, LOAD_BALANCER, SERVER_GROUP, SERVER_GROUP_NIC, VIP_SERVICE};
use crate::fold::{RowChange, Rows};
use crate::store::StoreError;
use crate::value::Val;
use switchback_events::*;

pub(crate) fn changes(id: Id, event: &LoadBalancerEvent, rows: &dyn Rows) -> Result<Vec<RowChange>, StoreError> {
    Ok(vec![match event {
        LoadBalancerEvent::Created { name, description, at } => {
            let row = RowChange::insert(&LOAD_BALANCER, id)
                .put("name", name)
                .put("description", description.as_deref())
                .put("vipUuid", at.vip)
                .put("type", "Shared")
                .put("state", "Enabled");
            let service = RowChange::insert(&VIP_SERVICE, id).put("vipUuid", at.vip).put("serviceType", "LoadBalancer");
            return Ok(vec![row, service]);
        }
        LoadBalancerEvent::Updated { name, description } => RowChange::set(&LOAD_BALANCER, id)
            .put_some("name", name.as_ref())
            .put_some("description", description.as_ref()),
        LoadBalancerEvent::Deleted { .. } => {
            let own = id.to_string();
            let listeners = rows.find(&LISTENER, "loadBalancerUuid", &own)?;
            let mut changes = Vec::new();
            for listener in listeners {
                changes.extend(access_gone(&listener, |_, _| true, rows)?);
                changes.push(RowChange::delete(&LISTENER, listener));
            }
            for group in rows.find(&SERVER_GROUP, "loadBalancerUuid", &own)? {
                changes.extend(group_gone(&group, rows)?);
            }
            changes.push(RowChange::delete(&LOAD_BALANCER, id));
            changes.push(RowChange::delete(&VIP_SERVICE, id));
            return Ok(changes);
        }
        LoadBalancerEvent::ListenerCreated { listener, name, description, options, group, .. } => {
            let row = RowChange::insert(&LISTENER, listener)
                .put("loadBalancerUuid", id)
                .put("name", name)
                .put("description", description.as_deref())
                .put("serverGroupUuid", *group)
                .put("serverGroupUuids", vec![group.to_string()])
                .put("vmNicUuids", Vec::<String>::new());
            return Ok(vec![with(row, options), group_made(id, *group, name, None)]);
        }
        LoadBalancerEvent::ListenerUpdated { listener, name, description } => RowChange::set(&LISTENER, listener)
            .put_some("name", name.as_ref())
            .put_some("description", description.as_ref()),
        LoadBalancerEvent::ListenerChanged { listener, options, .. } => {
            with(RowChange::set(&LISTENER, listener), options)
        }
        LoadBalancerEvent::ListenerDeleted { listener, group, .. } => {
            let mut changes = access_gone(&listener.to_string(), |_, _| true, rows)?;
            changes.push(RowChange::delete(&LISTENER, listener));
            changes.extend(group_gone(&group.to_string(), rows)?);
            changes.extend(leads_nowhere(id, *group, rows)?);
            return Ok(changes);
        }
        LoadBalancerEvent::CertificateAdded { listener, certificate, .. } => {
            RowChange::set(&LISTENER, listener).put("certificateUuid", *certificate)
        }
        LoadBalancerEvent::CertificateRemoved { listener, .. } => {
            RowChange::set(&LISTENER, listener).put("certificateUuid", None::<&str>)
        }
        LoadBalancerEvent::GroupCreated { group, name, description } => {
            group_made(id, *group, name, description.as_deref())
        }
        LoadBalancerEvent::GroupUpdated { group, name, description } => RowChange::set(&SERVER_GROUP, group)
            .put_some("name", name.as_ref())
            .put_some("description", description.as_ref()),
        LoadBalancerEvent::GroupDeleted { group } => return group_gone(&group.to_string(), rows),
        LoadBalancerEvent::GroupAdded { listener, group, .. } => {
            let mut groups = list(rows, &LISTENER, &listener.to_string(), "serverGroupUuids")?;
            groups.push(group.to_string());
            return Ok(vec![hands_on(rows, &listener.to_string(), groups, None)?]);
        }
        LoadBalancerEvent::GroupRemoved { listener, group, .. } => {
            let mut groups = list(rows, &LISTENER, &listener.to_string(), "serverGroupUuids")?;
            groups.retain(|other| *other != group.to_string());
            return Ok(vec![hands_on(rows, &listener.to_string(), groups, None)?]);
        }
        LoadBalancerEvent::MembersPut { group, members, .. } => {
            let mut nics = list(rows, &SERVER_GROUP, &group.to_string(), "vmNicUuids")?;
            nics.extend(members.iter().map(|member| member.to.nic.to_string()));
            let mut changes = members_are(rows, id, *group, nics)?;
            for GroupMember { to, weight } in members {
                let row = group_member_row(*group, to.nic);
                changes.push(match rows.get(&SERVER_GROUP_NIC, &row.to_string())?.is_some() {
                    true => RowChange::set(&SERVER_GROUP_NIC, row).put("weight", *weight),
                    false => RowChange::insert(&SERVER_GROUP_NIC, row)
                        .put("serverGroupUuid", *group)
                        .put("loadBalancerUuid", id)
                        .put("vmNicUuid", to.nic)
                        .put("weight", *weight),
                });
            }
            let guest = members.first().map(|member| member.to.l3_network);
            changes.push(RowChange::set(&LOAD_BALANCER, id).put_some("guestNetworkUuid", guest));
            return Ok(changes);
        }
        LoadBalancerEvent::MembersRemoved { group, nics: gone, .. } => {
            let mut nics = list(rows, &SERVER_GROUP, &group.to_string(), "vmNicUuids")?;
            nics.retain(|nic| !gone.iter().any(|gone| gone.to_string() == *nic));
            let mut changes = match nics.is_empty() {
                true => leads_nowhere(id, *group, rows)?.into_iter().collect(),
                false => vec![],
            };
            changes.extend(members_are(rows, id, *group, nics)?);
            changes.extend(gone.iter().map(|nic| RowChange::delete(&SERVER_GROUP_NIC, group_member_row(*group, *nic))));
            return Ok(changes);
        }
        LoadBalancerEvent::AccessListPut { listener, list, access, .. } => {
            let (kind, groups) = match access {
                ListenerAccess::White { .. } => ("white", vec![None]),
                ListenerAccess::Black { .. } => ("black", vec![None]),
                ListenerAccess::Redirect { groups, .. } => ("redirect", groups.iter().copied().map(Some).collect()),
            };
            let row = |group: &Option<ServerGroupId>| {
                RowChange::insert(&LISTENER_ACCESS, listener_access_row(*listener, *list, *group))
                    .put("listenerUuid", *listener)
                    .put("loadBalancerUuid", id)
                    .put("aclUuid", *list)
                    .put("type", kind)
                    .put("serverGroupUuid", *group)
            };
            let wanted: Vec<RowChange> = groups.iter().map(row).collect();
            let goes = |of: &str, row: &str| of == list.to_string() && wanted.iter().all(|wanted| wanted.uuid != row);
            let mut changes = access_gone(&listener.to_string(), goes, rows)?;
            changes.extend(wanted);
            return Ok(changes);
        }
        // Which addresses they are, the list shows.
        LoadBalancerEvent::AccessListChanged { .. } => return Ok(vec![]),
        LoadBalancerEvent::AccessListRemoved { listener, list, .. } => {
            return access_gone(&listener.to_string(), |of, _| of == list.to_string(), rows);
        }
    }])
}

/// The rows of what a listener goes by that are `goes`, by list and uuid.
fn access_gone(
    listener: &str,
    goes: impl Fn(&str, &str) -> bool,
    rows: &dyn Rows,
) -> Result<Vec<RowChange>, StoreError> {
    let mut changes = Vec::new();
    for uuid in rows.find(&LISTENER_ACCESS, "listenerUuid", listener)? {
        let Some(row) = rows.get(&LISTENER_ACCESS, &uuid)? else { continue };
        if matches!(row.value(&LISTENER_ACCESS, "aclUuid"), Val::Text(list) if goes(list, &uuid)) {
            changes.push(RowChange::delete(&LISTENER_ACCESS, uuid));
        }
    }
    Ok(changes)
}

fn group_made(balancer: Id, group: ServerGroupId, name: &str, description: Option<&str>) -> RowChange {
    RowChange::insert(&SERVER_GROUP, group)
        .put("loadBalancerUuid", balancer)
        .put("name", name)
        .put("description", description)
        .put("vmNicUuids", Vec::<String>::new())
}

fn group_gone(group: &str, rows: &dyn Rows) -> Result<Vec<RowChange>, StoreError> {
    let members = rows.find(&SERVER_GROUP_NIC, "serverGroupUuid", group)?;
    let members = members.into_iter().map(|row| RowChange::delete(&SERVER_GROUP_NIC, row));
    Ok(members.chain([RowChange::delete(&SERVER_GROUP, group)]).collect())
}

/// What a list of a row has.
fn list(rows: &dyn Rows, kind: &'static Kind, uuid: &str, field: &str) -> Result<Vec<String>, StoreError> {
    Ok(rows.get(kind, uuid)?.map_or_else(Vec::new, |row| row.value(kind, field).members().to_vec()))
}

/// Where no other group has a nic, the load balancer leads to no network any more.
fn leads_nowhere(id: Id, but: ServerGroupId, rows: &dyn Rows) -> Result<Option<RowChange>, StoreError> {
    for group in rows.find(&SERVER_GROUP, "loadBalancerUuid", &id.to_string())? {
        if group != but.to_string() && !list(rows, &SERVER_GROUP, &group, "vmNicUuids")?.is_empty() {
            return Ok(None);
        }
    }
    Ok(Some(RowChange::set(&LOAD_BALANCER, id).put("guestNetworkUuid", None::<&str>)))
}

/// A listener with these groups and all their nics; `changed` has those of one of them after the event.
fn hands_on(
    rows: &dyn Rows,
    listener: &str,
    mut groups: Vec<String>,
    changed: Option<(&str, &[String])>,
) -> Result<RowChange, StoreError> {
    groups.sort();
    groups.dedup();
    let mut nics = Vec::new();
    for group in &groups {
        match changed.filter(|(other, _)| other == group) {
            Some((_, now)) => nics.extend_from_slice(now),
            None => nics.extend(list(rows, &SERVER_GROUP, group, "vmNicUuids")?),
        }
    }
    nics.sort();
    nics.dedup();
    Ok(RowChange::set(&LISTENER, listener).put("serverGroupUuids", groups).put("vmNicUuids", nics))
}

/// A group with these nics, and the listeners that hand on to it.
fn members_are(
    rows: &dyn Rows,
    balancer: Id,
    group: ServerGroupId,
    mut nics: Vec<String>,
) -> Result<Vec<RowChange>, StoreError> {
    nics.sort();
    nics.dedup();
    let own = group.to_string();
    let mut changes = Vec::new();
    for listener in rows.find(&LISTENER, "loadBalancerUuid", &balancer.to_string())? {
        let groups = list(rows, &LISTENER, &listener, "serverGroupUuids")?;
        if groups.contains(&own) {
            changes.push(hands_on(rows, &listener, groups, Some((&own, &nics)))?);
        }
    }
    changes.push(RowChange::set(&SERVER_GROUP, group).put("vmNicUuids", nics));
    Ok(changes)
}

/// The row with what the listener is told, in the words of the commands.
fn with(row: RowChange, options: &ListenerOptions) -> RowChange {
    let health = &options.health;
    let (asked, method, uri, codes) = match &health.target {
        HealthTarget::Tcp => ("tcp", None, None, None),
        HealthTarget::Udp => ("udp", None, None, None),
        HealthTarget::Http { method, uri, codes } => {
            let codes: Vec<String> = codes.iter().map(|code| format!("http_{code}xx")).collect();
            ("http", Some(Val::name_of(method)), Some(uri.clone()), Some(codes.join(",")))
        }
    };
    let target = format!("{asked}:{}", health.port.map_or("default".to_string(), |port| port.to_string()));
    let (persistence, idle, cookie) = match &options.persistence {
        Persistence::Off => ("disable", None, None),
        Persistence::Source { idle } => ("iphash", Some(*idle), None),
        Persistence::Insert { cookie, idle } => ("insert", Some(*idle), Some(cookie.clone())),
        Persistence::Rewrite { cookie } => ("rewrite", None, Some(cookie.clone())),
    };
    let https = options.protocol == ListenerProtocol::Https;
    let http = https || options.protocol == ListenerProtocol::Http;
    let policy = match options.tls {
        TlsPolicy::Default => "tls_cipher_policy_default",
        TlsPolicy::From10 => "tls_cipher_policy_1_0",
        TlsPolicy::From11 => "tls_cipher_policy_1_1",
        TlsPolicy::Only12 => "tls_cipher_policy_1_2",
        TlsPolicy::Strict12 => "tls_cipher_policy_1_2_strict",
        TlsPolicy::Strict12And13 => "tls_cipher_policy_1_2_strict_with_1_3",
    };
    let versions: &[&str] = match (https, options.h2) {
        (false, _) => &[],
        (true, false) => &["h1"],
        (true, true) => &["h1", "h2"],
    };
    let mode = match options.connections {
        HttpConnections::KeepAlive => "http-keep-alive",
        HttpConnections::ServerClose => "http-server-close",
        HttpConnections::Close => "httpclose",
    };
    let packers = options.compression.iter().map(|algorithm| match algorithm {
        Compression::Gzip => "gzip",
        Compression::Deflate => "deflate",
        Compression::RawDeflate => "raw-deflate",
        Compression::Identity => "identity",
    });
    let proxy = options.proxy_protocol.map(|version| match version {
        ProxyProtocol::V1 => "v1",
        ProxyProtocol::V2 => "v2",
    });
    row.put("loadBalancerPort", options.port)
        .put("instancePort", options.instance_port)
        .put("protocol", format!("{:?}", options.protocol).to_lowercase().as_str())
        .put("balancerAlgorithm", format!("{:?}", options.algorithm).to_lowercase().as_str())
        .put("connectionIdleTimeout", options.idle_timeout)
        .put("maxConnection", options.max_connections)
        .put("nbprocess", options.processes)
        .put("healthCheckProtocol", asked)
        .put("healthCheckMethod", method.unwrap_or(Val::Null))
        .put("healthCheckURI", uri)
        .put("healthCheckHttpCode", codes)
        .put("healthCheckTarget", target.as_str())
        .put("healthCheckInterval", health.interval)
        .put("healthCheckTimeout", health.timeout)
        .put("healthyThreshold", health.healthy)
        .put("unhealthyThreshold", health.unhealthy)
        .put("sessionPersistence", persistence)
        .put("sessionIdleTimeout", idle)
        .put("cookieName", cookie)
        .put("httpMode", http.then_some(mode))
        .put("httpCompressAlgos", packers.map(str::to_string).collect::<Vec<String>>())
        .put(
            "httpRedirectHttps",
            (http && !https).then_some(if options.to_https.is_some() { "enable" } else { "disable" }),
        )
        .put("redirectPort", options.to_https.map(|to| to.port))
        .put("statusCode", options.to_https.map(|to| to.status))
        .put("tcpProxyProtocol", proxy)
        .put("securityPolicyType", https.then_some(policy))
        .put("aclStatus", if options.lists_off { "disable" } else { "enable" })
        .put("httpVersions", versions.iter().map(ToString::to_string).collect::<Vec<String>>())
}
