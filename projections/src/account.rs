//! The rows of accounts, their access keys and API tokens. No password and no secret is in them, nor a hash of one.

use crate::catalogue::{ACCESS_KEY, ACCOUNT, API_TOKEN};
use crate::fold::{RowChange, Rows};
use crate::ownership;
use crate::store::StoreError;
use crate::value::Val;
use switchback_events::{AccountEvent, AccountType, Enabled, Id};

pub(crate) fn changes(id: Id, event: &AccountEvent, rows: &dyn Rows) -> Result<Vec<RowChange>, StoreError> {
    let mut changes = vec![match event {
        AccountEvent::Created { name, description, account_type, password: _ } => RowChange::insert(&ACCOUNT, id)
            .put("name", name)
            .put("description", description.as_deref())
            .put("type", Val::name_of(account_type)),
        AccountEvent::Updated { name, description } => {
            RowChange::set(&ACCOUNT, id).put_some("name", name.as_ref()).put_some("description", description.as_ref())
        }
        AccountEvent::PasswordChanged { .. } => RowChange::set(&ACCOUNT, id),
        AccountEvent::LoggedIn { .. } | AccountEvent::LogInRefused {} | AccountEvent::LoggedOut { .. } => {
            return Ok(vec![]);
        }
        // What comes in as it goes with it.
        AccountEvent::Deleted {} => {
            let mut gone = vec![RowChange::delete(&ACCOUNT, id)];
            for kind in [&ACCESS_KEY, &API_TOKEN] {
                let theirs = rows.find(kind, "accountUuid", &id.to_string())?;
                gone.extend(theirs.into_iter().map(|uuid| RowChange::delete(kind, uuid)));
            }
            gone.extend(ownership::no_quotas(id));
            return Ok(gone);
        }
        AccountEvent::AccessKeyCreated { access_key, key_id, secret: _, description } => {
            RowChange::insert(&ACCESS_KEY, access_key)
                .put("description", description.as_deref())
                .put("accountUuid", id)
                .put("userUuid", id)
                .put("AccessKeyID", key_id)
                .put("state", Val::name_of(&Enabled::Enabled))
        }
        AccountEvent::AccessKeyStateChanged { access_key, state } => {
            RowChange::set(&ACCESS_KEY, access_key).put("state", Val::name_of(state))
        }
        AccountEvent::AccessKeyDeleted { access_key } => RowChange::delete(&ACCESS_KEY, access_key),
        AccountEvent::ApiTokenCreated { api_token, name, description, digest: _, scopes, expires } => {
            RowChange::insert(&API_TOKEN, api_token)
                .put("name", name)
                .put("description", description.as_deref())
                .put("accountUuid", id)
                .put("scopes", Val::List(scopes.clone()))
                .put("expirationDate", Val::Int(*expires))
        }
        AccountEvent::ApiTokenDeleted { api_token } => RowChange::delete(&API_TOKEN, api_token),
    }];
    if matches!(event, AccountEvent::Created { account_type: AccountType::Normal, .. }) {
        changes.extend(ownership::quotas(id));
    }
    Ok(changes)
}
