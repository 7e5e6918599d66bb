//! The rows of roles: what they say, which policies they have, and which accounts have them.

use crate::catalogue::{ROLE, ROLE_ACCOUNT_REF, ROLE_POLICY_REF};
use crate::fold::{RowChange, Rows};
use crate::policy::{no_statements, statements};
use crate::store::StoreError;
use switchback_events::{AccountId, Id, PolicyId, RoleEvent};

pub(crate) fn changes(id: Id, event: &RoleEvent, rows: &dyn Rows) -> Result<Vec<RowChange>, StoreError> {
    Ok(vec![match event {
        RoleEvent::Created { name, description, statements: own, policies } => {
            let role = RowChange::insert(&ROLE, id)
                .put("name", name)
                .put("description", description.as_deref())
                .put("type", "Customized")
                .put("state", "Enabled");
            let policies = policies.iter().map(|policy| policy_ref(id, *policy));
            return Ok(std::iter::once(role).chain(statements(id, own)).chain(policies).collect());
        }
        RoleEvent::Updated { name, description } => {
            RowChange::set(&ROLE, id).put_some("name", name.as_ref()).put_some("description", description.as_ref())
        }
        RoleEvent::PolicyAttached { policy } => policy_ref(id, *policy),
        RoleEvent::PolicyDetached { policy } => RowChange::delete(&ROLE_POLICY_REF, pair(id, policy.0)),
        RoleEvent::AccountAttached { account } => account_ref(id, *account),
        RoleEvent::AccountDetached { account } => RowChange::delete(&ROLE_ACCOUNT_REF, pair(id, account.0)),
        RoleEvent::Deleted {} => {
            let mut gone = vec![RowChange::delete(&ROLE, id)];
            gone.extend(no_statements(id, rows)?);
            for kind in [&ROLE_POLICY_REF, &ROLE_ACCOUNT_REF] {
                let theirs = rows.find(kind, "roleUuid", &id.to_string())?;
                gone.extend(theirs.into_iter().map(|row| RowChange::delete(kind, row)));
            }
            return Ok(gone);
        }
    }])
}

fn policy_ref(role: Id, policy: PolicyId) -> RowChange {
    RowChange::insert(&ROLE_POLICY_REF, pair(role, policy.0)).put("roleUuid", role).put("policyUuid", policy.0)
}

fn account_ref(role: Id, account: AccountId) -> RowChange {
    RowChange::insert(&ROLE_ACCOUNT_REF, pair(role, account.0)).put("roleUuid", role).put("accountUuid", account.0)
}

/// The row of what a role has, or is attached to.
fn pair(role: Id, other: Id) -> Id {
    Id::of_name(&format!("role:{role}:{other}"))
}
