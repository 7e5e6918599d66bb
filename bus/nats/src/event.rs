//! An event of the log as a message: its subject, the attributes of CloudEvents 1.0 as headers, its position as id.

use crate::{Headers, Outgoing, subject::EVENTS};
use switchback_bus::ShownEvent;

/// The message of an event.
pub fn published(event: &ShownEvent) -> Outgoing {
    let ShownEvent { stream_type, stream_id, kind, schema, time, text, position } = event;
    let position = position.to_string();
    // A kind is `<concept>.<EventKind>`.
    let name = kind.rsplit('.').next().unwrap_or_default();
    let headers = Headers::new()
        .with("Nats-Msg-Id", position.as_str())
        .with("ce-specversion", "1.0")
        .with("ce-id", position)
        .with("ce-source", "/switchback/journal")
        .with("ce-type", format!("switchback.{kind}.v{schema}"))
        .with("ce-subject", format!("{stream_type}/{stream_id}"))
        .with("ce-time", time.as_str())
        .with("ce-datacontenttype", "application/json");
    Outgoing { subject: format!("{EVENTS}{stream_type}.{stream_id}.{name}"), headers, payload: text.clone().into() }
}
