//! The rows of tags. The stream is the resource's. A tag has a row of its own kind and one among all tags.

use crate::catalogue::{SYSTEM_TAG, TAG, USER_TAG};
use crate::fold::RowChange;
use crate::value::Val;
use switchback_events::{Id, TagSetEvent, TagType};

pub(crate) fn changes(resource: Id, event: &TagSetEvent) -> Vec<RowChange> {
    match event {
        TagSetEvent::Created { tag, tag_type, resource_type, text, inherent, refers_to: _ } => {
            let own = match tag_type {
                TagType::User => &USER_TAG,
                TagType::System => &SYSTEM_TAG,
            };
            let row = |kind| {
                RowChange::insert(kind, tag)
                    .put("resourceUuid", resource)
                    .put("resourceType", resource_type)
                    .put("tag", text)
                    .put("inherent", *inherent)
                    .put("type", Val::name_of(tag_type))
            };
            vec![row(own), row(&TAG)]
        }
        // The other events do not say whose it was; it is of one kind only.
        TagSetEvent::Updated { tag, text, refers_to: _ } => {
            [&USER_TAG, &SYSTEM_TAG, &TAG].map(|kind| RowChange::set(kind, tag).put("tag", text)).into()
        }
        TagSetEvent::Deleted { tag } => [&USER_TAG, &SYSTEM_TAG, &TAG].map(|kind| RowChange::delete(kind, tag)).into(),
    }
}
