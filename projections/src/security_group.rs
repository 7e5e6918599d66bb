//! The rows of security groups and their rules, and of what nics are in and what becomes of their other packets.

use crate::catalogue::{NIC_GROUP_REF, NIC_POLICY, SECURITY_GROUP, SECURITY_GROUP_RULE};
use crate::fold::{RowChange, Rows};
use crate::store::StoreError;
use crate::value::Val;
use std::fmt::Display;
use switchback_events::{
    Direction, Id, NicId, NicPolicy, SecurityGroupEvent, SecurityGroupId, SecurityGroupRule, nic_policy_row,
    nic_security_row,
};

pub(crate) fn changes(id: Id, event: &SecurityGroupEvent, rows: &dyn Rows) -> Result<Vec<RowChange>, StoreError> {
    Ok(vec![match event {
        SecurityGroupEvent::Created { name, description, ip_version, rules } => {
            let group = RowChange::insert(&SECURITY_GROUP, id)
                .put("name", name)
                .put("description", description.as_deref())
                .put("ipVersion", *ip_version)
                .put("state", "Enabled");
            return Ok(std::iter::once(group).chain(rules.iter().map(|own| made(id, own))).collect());
        }
        SecurityGroupEvent::Updated { name, description } => RowChange::set(&SECURITY_GROUP, id)
            .put_some("name", name.as_ref())
            .put_some("description", description.as_ref()),
        SecurityGroupEvent::StateChanged { state } => {
            RowChange::set(&SECURITY_GROUP, id).put("state", Val::name_of(state))
        }
        SecurityGroupEvent::RulesChanged { rules, deleted, remotes: _ } => {
            let mut changes: Vec<_> =
                deleted.iter().map(|rule| RowChange::delete(&SECURITY_GROUP_RULE, rule.0)).collect();
            for own in rules {
                let held = rows.get(&SECURITY_GROUP_RULE, &own.rule.to_string())?.is_some();
                changes.push(match held {
                    true => said(RowChange::set(&SECURITY_GROUP_RULE, own.rule.0), own),
                    false => made(id, own),
                });
            }
            return Ok(changes);
        }
        SecurityGroupEvent::AttachedToL3Network { l3_network } => {
            let mut attached = networks(id, rows)?;
            attached.push(l3_network.to_string());
            RowChange::set(&SECURITY_GROUP, id).put("attachedL3NetworkUuids", attached)
        }
        SecurityGroupEvent::DetachedFromL3Network { l3_network } => {
            let mut attached = networks(id, rows)?;
            attached.retain(|other| *other != l3_network.to_string());
            RowChange::set(&SECURITY_GROUP, id).put("attachedL3NetworkUuids", attached)
        }
        SecurityGroupEvent::Deleted {} => {
            let rules = rows.find(&SECURITY_GROUP_RULE, "securityGroupUuid", &id.to_string())?;
            let rules = rules.into_iter().map(|rule| RowChange::delete(&SECURITY_GROUP_RULE, rule));
            return Ok(std::iter::once(RowChange::delete(&SECURITY_GROUP, id)).chain(rules).collect());
        }
    }])
}

/// The networks that a group is attached to.
fn networks(id: Id, rows: &dyn Rows) -> Result<Vec<String>, StoreError> {
    let row = rows.get(&SECURITY_GROUP, &id.to_string())?;
    Ok(match row.map(|row| row.value(&SECURITY_GROUP, "attachedL3NetworkUuids").clone()) {
        Some(Val::List(attached)) => attached,
        _ => vec![],
    })
}

fn made(group: Id, own: &SecurityGroupRule) -> RowChange {
    let row = RowChange::insert(&SECURITY_GROUP_RULE, own.rule.0)
        .put("securityGroupUuid", group)
        .put("type", Val::name_of(&own.direction))
        .put("ipVersion", own.ip_version);
    said(row, own)
}

fn joined<T: Display>(items: &[T]) -> Option<String> {
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    Some(texts.join(",")).filter(|text| !text.is_empty())
}

/// What a rule says; what clients of before read of it stands beside it.
fn said(row: RowChange, own: &SecurityGroupRule) -> RowChange {
    let range = joined(&own.addresses);
    let (src, dst) = match own.direction {
        Direction::Ingress => (range.clone(), None),
        Direction::Egress => (None, range.clone()),
    };
    let world = if own.ip_version == 4 { "0.0.0.0/0" } else { "::/0" };
    let ports = own.ports.first().filter(|_| own.legacy);
    row.put("priority", own.priority)
        .put("state", Val::name_of(&own.state))
        .put("description", own.description.as_deref())
        .put("protocol", Val::name_of(&own.protocol))
        .put("remoteSecurityGroupUuid", own.remote_group.map(|group| group.to_string()))
        .put("srcIpRange", src)
        .put("dstIpRange", dst)
        .put("dstPortRange", joined(&own.ports))
        .put("action", Val::name_of(&own.action))
        .put("allowedCidr", range.filter(|_| own.legacy).unwrap_or_else(|| world.to_string()))
        .put("startPort", ports.map_or(-1, |span| i64::from(span.first)))
        .put("endPort", ports.map_or(-1, |span| i64::from(span.last)))
}

/// What a nic of the VM `vm` is in from now on.
pub(crate) fn secured(
    vm: Id,
    nic: NicId,
    groups: &[SecurityGroupId],
    (ingress, egress): (NicPolicy, NicPolicy),
    rows: &dyn Rows,
) -> Result<Vec<RowChange>, StoreError> {
    let wanted: Vec<String> = groups.iter().map(|group| nic_security_row(nic, *group).to_string()).collect();
    let held = rows.find(&NIC_GROUP_REF, "vmNicUuid", &nic.to_string())?;
    let gone = held.iter().filter(|row| !wanted.contains(row));
    let mut changes: Vec<RowChange> = gone.map(|row| RowChange::delete(&NIC_GROUP_REF, row)).collect();
    for ((at, group), row) in groups.iter().enumerate().zip(&wanted) {
        let priority = at as i64 + 1;
        changes.push(match held.contains(row) {
            true => RowChange::set(&NIC_GROUP_REF, row).put("priority", priority),
            false => RowChange::insert(&NIC_GROUP_REF, row)
                .put("vmNicUuid", nic)
                .put("securityGroupUuid", group.0)
                .put("vmInstanceUuid", vm)
                .put("priority", priority),
        });
    }
    let row = nic_policy_row(nic);
    let policy = match rows.get(&NIC_POLICY, &row.to_string())? {
        Some(_) => RowChange::set(&NIC_POLICY, row),
        None => RowChange::insert(&NIC_POLICY, row).put("vmNicUuid", nic).put("vmInstanceUuid", vm),
    };
    changes.push(policy.put("ingressPolicy", Val::name_of(&ingress)).put("egressPolicy", Val::name_of(&egress)));
    Ok(changes)
}

/// The removal of what is said of the nics whose `field` is `value`.
pub(crate) fn forget(field: &'static str, value: &str, rows: &dyn Rows) -> Result<Vec<RowChange>, StoreError> {
    let mut changes = Vec::new();
    for kind in [&NIC_GROUP_REF, &NIC_POLICY] {
        changes.extend(rows.find(kind, field, value)?.into_iter().map(|row| RowChange::delete(kind, row)));
    }
    Ok(changes)
}
