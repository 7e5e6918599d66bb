//! The rows of accounts. No password and no hash of one is in them.

use crate::catalogue::ACCOUNT;
use crate::fold::RowChange;
use crate::value::Val;
use switchback_events::{AccountEvent, Id};

pub(crate) fn changes(id: Id, event: &AccountEvent) -> Vec<RowChange> {
    vec![match event {
        AccountEvent::Created { name, description, account_type, password: _ } => RowChange::insert(&ACCOUNT, id)
            .put("name", name)
            .put("description", description.as_deref())
            .put("type", Val::name_of(account_type)),
        AccountEvent::Updated { name, description } => {
            RowChange::set(&ACCOUNT, id).put_some("name", name.as_ref()).put_some("description", description.as_ref())
        }
        AccountEvent::PasswordChanged { .. } => RowChange::set(&ACCOUNT, id),
        AccountEvent::LoggedIn { .. } | AccountEvent::LogInRefused {} | AccountEvent::LoggedOut { .. } => return vec![],
        AccountEvent::Deleted {} => RowChange::delete(&ACCOUNT, id),
    }]
}
