//! The rows of images.

use crate::catalogue::IMAGE;
use crate::fold::RowChange;
use crate::value::Val;
use switchback_events::{Id, ImageEvent};

pub(crate) fn changes(id: Id, event: &ImageEvent) -> Vec<RowChange> {
    vec![match event {
        ImageEvent::Added { name, description, media_type, format, url, system } => RowChange::insert(&IMAGE, id)
            .put("name", name)
            .put("description", description.as_deref())
            .put("mediaType", media_type)
            .put("format", format)
            .put("url", url)
            .put("system", *system)
            .put("state", "Enabled")
            .put("status", "Ready"),
        ImageEvent::Updated { name, description } => {
            RowChange::set(&IMAGE, id).put_some("name", name.as_ref()).put_some("description", description.as_ref())
        }
        ImageEvent::StateChanged { state } => RowChange::set(&IMAGE, id).put("state", Val::name_of(state)),
        ImageEvent::Deleted {} => RowChange::delete(&IMAGE, id),
    }]
}
