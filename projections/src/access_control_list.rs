//! The rows of access control lists and of their entries. What goes by them is in the rows of load balancers.

use crate::catalogue::{ACCESS_LIST, ACCESS_LIST_ENTRY};
use crate::fold::{RowChange, Rows};
use crate::store::StoreError;
use switchback_events::{AccessControlEntryId, AccessControlListEvent, Id};

pub(crate) fn changes(id: Id, event: &AccessControlListEvent, rows: &dyn Rows) -> Result<Vec<RowChange>, StoreError> {
    let entry_of = |entry: &AccessControlEntryId| RowChange::insert(&ACCESS_LIST_ENTRY, entry.0).put("aclUuid", id);
    Ok(vec![match event {
        AccessControlListEvent::Created { name, description } => RowChange::insert(&ACCESS_LIST, id)
            .put("name", name)
            .put("description", description.as_deref())
            .put("ipVersion", 4u8),
        AccessControlListEvent::Deleted {} => {
            let entries = rows.find(&ACCESS_LIST_ENTRY, "aclUuid", &id.to_string())?;
            let entries = entries.into_iter().map(|entry| RowChange::delete(&ACCESS_LIST_ENTRY, entry));
            return Ok(std::iter::once(RowChange::delete(&ACCESS_LIST, id)).chain(entries).collect());
        }
        AccessControlListEvent::EntryAdded { entry, entries, sources: _, description } => {
            entry_of(entry).put("type", "IpEntry").put("ipEntries", entries).put("description", description.as_deref())
        }
        AccessControlListEvent::RuleAdded { entry, name, description, rule } => entry_of(entry)
            .put("type", "RedirectRule")
            .put("name", name.as_deref())
            .put("description", description.as_deref())
            .put("domain", rule.domain.as_deref())
            .put("url", rule.url.as_deref()),
        AccessControlListEvent::RuleRenamed { entry, name } => {
            RowChange::set(&ACCESS_LIST_ENTRY, entry.0).put("name", name)
        }
        AccessControlListEvent::EntryRemoved { entry } => RowChange::delete(&ACCESS_LIST_ENTRY, entry.0),
    }])
}
