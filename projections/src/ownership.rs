//! The rows of ownership: who has what, what is shared with whom, and how much an account may have. The stream is the
//! resource's, or the account's. What is the administrator's and shared with nobody has no row.

use crate::catalogue::{ACCOUNT_RESOURCE_REF, QUOTA, SHARED_RESOURCE};
use crate::fold::{RowChange, Rows};
use crate::store::StoreError;
use switchback_events::{ADMIN_ACCOUNT, AccountId, Id, OwnershipEvent, QUOTAS, StreamKind, ownership_row, quota_row};

pub(crate) fn changes(id: Id, event: &OwnershipEvent, rows: &dyn Rows) -> Result<Vec<RowChange>, StoreError> {
    let own = ownership_row(id);
    let shares = || rows.find(&SHARED_RESOURCE, "resourceUuid", &id.to_string());
    let owner = || -> Result<String, StoreError> {
        let row = rows.get(&ACCOUNT_RESOURCE_REF, &own.to_string())?;
        let owner = row.and_then(|row| row.value(&ACCOUNT_RESOURCE_REF, "ownerAccountUuid").text().map(str::to_string));
        Ok(owner.unwrap_or_else(|| ADMIN_ACCOUNT.to_string()))
    };
    let shared = |resource: StreamKind, owner: &str, with: Option<AccountId>| {
        RowChange::insert(&SHARED_RESOURCE, share(id, with))
            .put("ownerAccountUuid", owner)
            .put_some("receiverAccountUuid", with.map(|account| account.0))
            .put("toPublic", with.is_none())
            .put("resourceType", resource_type(resource))
            .put("resourceUuid", id)
    };
    Ok(match event {
        OwnershipEvent::Owned { resource, account } => {
            let new = RowChange::insert(&ACCOUNT_RESOURCE_REF, own)
                .put("resourceUuid", id)
                .put("resourceType", resource_type(*resource));
            let whose = |kind, row: String, field: &str| RowChange::set(kind, row).put(field, account.0);
            let set = whose(&ACCOUNT_RESOURCE_REF, own.to_string(), "accountUuid").put("ownerAccountUuid", account.0);
            let shares = shares()?.into_iter().map(|row| whose(&SHARED_RESOURCE, row, "ownerAccountUuid"));
            [new, set].into_iter().chain(shares).collect()
        }
        OwnershipEvent::Shared { resource, accounts } => {
            let owner = owner()?;
            accounts.iter().map(|account| shared(*resource, &owner, Some(*account))).collect()
        }
        OwnershipEvent::Published { resource } => vec![shared(*resource, &owner()?, None)],
        OwnershipEvent::Unshared { accounts } => {
            accounts.iter().map(|account| RowChange::delete(&SHARED_RESOURCE, share(id, Some(*account)))).collect()
        }
        OwnershipEvent::Unpublished {} => vec![RowChange::delete(&SHARED_RESOURCE, share(id, None))],
        OwnershipEvent::Ended {} => {
            let shares = shares()?.into_iter().map(|row| RowChange::delete(&SHARED_RESOURCE, row));
            std::iter::once(RowChange::delete(&ACCOUNT_RESOURCE_REF, own)).chain(shares).collect()
        }
        OwnershipEvent::QuotaChanged { name, value } => {
            vec![RowChange::set(&QUOTA, quota_row(AccountId(id), name)).put("value", *value)]
        }
    })
}

/// The quotas that a new account has.
pub(crate) fn quotas(account: Id) -> impl Iterator<Item = RowChange> {
    QUOTAS.iter().map(move |(name, usual)| {
        RowChange::insert(&QUOTA, quota_row(AccountId(account), name))
            .put("name", *name)
            .put("identityUuid", account)
            .put("identityType", "AccountVO")
            .put("value", *usual)
    })
}

/// Those that go with an account.
pub(crate) fn no_quotas(account: Id) -> impl Iterator<Item = RowChange> {
    QUOTAS.iter().map(move |(name, _)| RowChange::delete(&QUOTA, quota_row(AccountId(account), name)))
}

fn share(resource: Id, with: Option<AccountId>) -> Id {
    let with = with.map_or_else(|| "all".to_string(), |account| account.to_string());
    Id::of_name(&format!("share:{resource}:{with}"))
}

/// The kind by ZStack's name.
fn resource_type(kind: StreamKind) -> &'static str {
    match kind {
        StreamKind::Image => "ImageVO",
        StreamKind::L2Network => "L2NetworkVO",
        StreamKind::L3Network => "L3NetworkVO",
        StreamKind::Offering => "InstanceOfferingVO",
        StreamKind::Router => "ApplianceVmVO",
        StreamKind::SecurityGroup => "SecurityGroupVO",
        StreamKind::VmInstance => "VmInstanceVO",
        StreamKind::LoadBalancer => "LoadBalancerVO",
        StreamKind::Certificate => "CertificateVO",
        StreamKind::AccessControlList => "AccessControlListVO",
        StreamKind::Vip => "VipVO",
        StreamKind::Eip => "EipVO",
        StreamKind::PortForwarding => "PortForwardingRuleVO",
        kind => kind.stem(),
    }
}
