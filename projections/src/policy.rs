//! The rows of policies, and of statements, which roles have, too.

use crate::catalogue::{POLICY, POLICY_STATEMENT};
use crate::fold::{RowChange, Rows};
use crate::store::StoreError;
use crate::value::Val;
use switchback_events::{ADMIN_ACCOUNT, Id, PolicyEvent, PolicyStatement};

pub(crate) fn changes(id: Id, event: &PolicyEvent, rows: &dyn Rows) -> Result<Vec<RowChange>, StoreError> {
    Ok(match event {
        PolicyEvent::Created { name, description, statements: own } => {
            let policy = RowChange::insert(&POLICY, id)
                .put("name", name)
                .put("description", description.as_deref())
                .put("accountUuid", ADMIN_ACCOUNT.0);
            std::iter::once(policy).chain(statements(id, own)).collect()
        }
        PolicyEvent::Deleted {} => {
            std::iter::once(RowChange::delete(&POLICY, id)).chain(no_statements(id, rows)?).collect()
        }
    })
}

/// The statements that something new has.
pub(crate) fn statements(owner: Id, statements: &[PolicyStatement]) -> impl Iterator<Item = RowChange> {
    statements.iter().enumerate().map(move |(at, statement)| {
        RowChange::insert(&POLICY_STATEMENT, Id::of_name(&format!("statement:{owner}:{at}")))
            .put("name", statement.name.as_deref())
            .put("ownerUuid", owner)
            .put("effect", Val::name_of(&statement.effect))
            .put("actions", Val::List(statement.actions.clone()))
    })
}

/// Those that go with what had them.
pub(crate) fn no_statements(owner: Id, rows: &dyn Rows) -> Result<impl Iterator<Item = RowChange>, StoreError> {
    let theirs = rows.find(&POLICY_STATEMENT, "ownerUuid", &owner.to_string())?;
    Ok(theirs.into_iter().map(|row| RowChange::delete(&POLICY_STATEMENT, row)))
}
