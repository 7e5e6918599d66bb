//! An event of the log as a message: its subject, the attributes of CloudEvents 1.0 as headers, its position as id.

use crate::{Headers, Outgoing, subject::EVENTS};
use serde_json::Value;

/// Bytes of most events as JSON.
const ROOM: usize = 2048;

fn json(event: &Value) -> Vec<u8> {
    let mut text = Vec::with_capacity(ROOM);
    // Into memory, and of a value: nothing can go wrong.
    let _ = serde_json::to_writer(&mut text, event);
    text
}

/// The message of `event`, which is as the API shows it.
pub fn published(event: &Value) -> Outgoing {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let position = event["position"].to_string();
    // A kind is `<concept>.<EventKind>`.
    let kind = text("kind").rsplit('.').next().unwrap_or_default();
    let (concept, id) = (text("streamType"), text("streamId"));
    let headers = Headers::new()
        .with("Nats-Msg-Id", position.as_str())
        .with("ce-specversion", "1.0")
        .with("ce-id", position.as_str())
        .with("ce-source", "/switchback/journal")
        .with("ce-type", format!("switchback.{}.v{}", text("kind"), event["schema"]))
        .with("ce-subject", format!("{concept}/{id}"))
        .with("ce-time", text("time"))
        .with("ce-datacontenttype", "application/json");
    Outgoing { subject: format!("{EVENTS}{concept}.{id}.{kind}"), headers, payload: json(event).into() }
}
