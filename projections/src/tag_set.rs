//! The rows of tags. The stream is the resource's.

use crate::catalogue::{SYSTEM_TAG, USER_TAG};
use crate::fold::RowChange;
use crate::value::Val;
use switchback_events::{Id, TagSetEvent, TagType};

pub(crate) fn changes(resource: Id, event: &TagSetEvent) -> Vec<RowChange> {
    match event {
        TagSetEvent::Created { tag, tag_type, resource_type, text, inherent, refers_to: _ } => {
            let kind = match tag_type {
                TagType::User => &USER_TAG,
                TagType::System => &SYSTEM_TAG,
            };
            vec![
                RowChange::insert(kind, tag)
                    .put("resourceUuid", resource)
                    .put("resourceType", resource_type)
                    .put("tag", text)
                    .put("inherent", *inherent)
                    .put("type", Val::name_of(tag_type)),
            ]
        }
        // The event does not say whose it was; it is of one kind only.
        TagSetEvent::Deleted { tag } => vec![RowChange::delete(&USER_TAG, tag), RowChange::delete(&SYSTEM_TAG, tag)],
    }
}
