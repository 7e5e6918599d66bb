//! How the audit's replies look as tables.

use crate::{
    failure::{Exit, Failure},
    output::{Format, Output},
    table::{cell, clean},
    views::{LOG, count, items, log_rows},
    yaml,
};
use serde_json::{Value, json};

/// One event whole, with what stands around it.
pub fn event(reply: &Value, output: &mut Output) -> Result<(), Failure> {
    output.data(reply, |output| {
        let mut event = reply["event"].clone();
        event["at"] = reply["event"]["time"].clone();
        // A field of the event's own stands on its own line.
        if let (Some(event), Some(payload)) = (event.as_object_mut(), reply["event"]["payload"].as_object()) {
            event.remove("payload");
            event.remove("time");
            event.extend(payload.iter().map(|(field, value)| (format!("payload.{field}"), value.clone())));
        }
        output.pairs(&event)?;
        let others: Vec<Value> = items(&reply["commit"]["events"])
            .iter()
            .filter(|other| other["position"] != reply["event"]["position"])
            .cloned()
            .collect();
        for (title, events, columns) in [
            ("of the same commit", &others[..], &["position", "event", "name", "resource"][..]),
            ("caused by", items(&reply["causes"]), LOG),
            ("led to", items(&reply["effects"]), LOG),
        ] {
            if !events.is_empty() {
                output.text(&format!("\n{title}:\n"))?;
                output.rows(&log_rows(events, output), columns)?;
            }
        }
        Ok(())
    })
}

/// What changed, resource by resource, and the events that made it.
pub fn changes(reply: &Value, output: &mut Output) -> Result<(), Failure> {
    let resources = items(&reply["resources"]);
    let events = items(&reply["events"]);
    output.data(reply, |output| {
        for resource in resources {
            let sign = match resource["change"].as_str() {
                Some("added") => "+",
                Some("removed") => "-",
                _ => "~",
            };
            let [kind, name, uuid] = ["kind", "name", "uuid"].map(|member| cell(&resource[member]));
            let by: Vec<String> = items(&resource["positions"]).iter().map(Value::to_string).collect();
            let by = if by.is_empty() { String::new() } else { format!("  (by {})", by.join(", ")) };
            output.signed(sign, &format!("{sign} {kind} {name} {uuid}{by}"))?;
            let fields = items(&resource["fields"]);
            let widest = fields.iter().map(|field| cell(&field["path"]).len()).max().unwrap_or(0);
            for field in fields {
                let [path, from, to] = ["path", "from", "to"].map(|member| brief(&cell(&field[member])));
                let said = match resource["change"].as_str() {
                    Some("added") if to == "-" => continue,
                    Some("removed") if from == "-" => continue,
                    Some("added") => to,
                    Some("removed") => from,
                    _ => format!("{from} → {to}"),
                };
                output.line(&format!("    {path:widest$}  {said}"))?;
            }
        }
        if !events.is_empty() {
            output.text(if resources.is_empty() { "made no difference:\n" } else { "\nmade by:\n" })?;
            output.rows(&log_rows(events, output), LOG)?;
        }
        Ok(())
    })?;
    let [from, to] = ["from", "to"].map(|member| cell(&reply[member]));
    let more = reply["moreEvents"].as_u64().unwrap_or(0);
    let made_by = count(events.len() + usize::try_from(more).unwrap_or(0), "event");
    output.note(&format!("{} changed between {from} and {to}, {made_by}", count(resources.len(), "resource")));
    if more > 0 {
        output.note(&format!("hint: {more} more events: audit log --after {from} --until {to}"));
    }
    Ok(())
}

/// The states of a resource folded again.
pub fn states(reply: &Value, output: &mut Output) -> Result<(), Failure> {
    let states = items(&reply["states"]);
    output.data(reply, |output| {
        for state in states {
            output.text(&format!("# {} at version {}\n", cell(&state["stream"]), state["version"]))?;
            output.text(&yaml::document(&state["state"]))?;
        }
        Ok(())
    })?;
    for state in states {
        let [stream, digest] = ["stream", "digest"].map(|member| cell(&state[member]));
        output.note(&format!("{stream}: digest {digest}{}", compared(state)));
    }
    output.note(&format!("folded up to position {}", reply["position"]));
    differs(states.iter())
}

fn compared(replayed: &Value) -> &'static str {
    match replayed["same"].as_bool() {
        Some(true) => ", as the server has it",
        Some(false) => ", NOT what the server has",
        None => "",
    }
}

/// The inventories folded again, and where all was asked for the routers.
pub fn inventories(reply: &Value, output: &mut Output) -> Result<(), Failure> {
    let kinds = items(&reply["inventories"]);
    let routers = items(&reply["routers"]);
    output.data(reply, |output| {
        let row = |kind: &Value| {
            let live = match kind["same"].as_bool() {
                Some(true) => json!("same"),
                Some(false) => json!("DIFFERS"),
                None => Value::Null,
            };
            json!({"inventory": kind["kind"], "rows": kind["rows"], "digest": short(&kind["digest"]), "server": live})
        };
        output.rows(&kinds.iter().map(row).collect::<Vec<_>>(), &["inventory", "rows", "digest", "server"])?;
        if !routers.is_empty() {
            output.text("\n")?;
            let row = |router: &Value| {
                json!({
                    "router": router["name"], "revision": router["revision"], "digest": short(&router["digest"]),
                    "uuid": router["uuid"],
                })
            };
            output.rows(&routers.iter().map(row).collect::<Vec<_>>(), &["router", "revision", "digest", "uuid"])?;
        }
        Ok(())
    })?;
    output.note(&format!("folded up to position {}; -o json shows the digests whole", reply["position"]));
    differs(kinds.iter())
}

/// On one line, and of a digest as much as an eye compares.
fn brief(text: &str) -> String {
    let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest { format!("{}…", &text[..DIGEST_SHOWN]) } else { text.replace('\n', " ") }
}

/// Enough of a digest to compare by eye.
const DIGEST_SHOWN: usize = 16;

fn short(digest: &Value) -> Value {
    json!(digest.as_str().unwrap_or("?").chars().take(DIGEST_SHOWN).collect::<String>())
}

/// A server that lives by something else than its log says is a failure.
fn differs<'a>(mut replayed: impl Iterator<Item = &'a Value>) -> Result<(), Failure> {
    if replayed.any(|replayed| replayed["same"] == false) {
        return Err(Failure::new(Exit::Other, "the server has something else than its log says").hint(
            "stop it and start it again with snapshots/ and inventories.db deleted: both are made from the log",
        ));
    }
    Ok(())
}

/// Who held an address.
pub fn holders(reply: &Value, output: &mut Output) -> Result<(), Failure> {
    let holders = items(&reply["holders"]);
    let row = |held: &Value| {
        let by = |moment: &Value| match moment {
            Value::Null => Value::Null,
            moment => json!(format!(
                "{} by {} ({}, {})",
                cell(&output.time(&moment["at"])),
                cell(&moment["principal"]),
                cell(&moment["command"]),
                moment["position"],
            )),
        };
        json!({
            "holder": held["ownerName"], "kind": held["ownerKind"], "since": by(&held["since"]),
            "until": by(&held["until"]), "uuid": held["ownerUuid"], "l3NetworkUuid": held["l3NetworkUuid"],
        })
    };
    let rows: Vec<Value> = holders.iter().map(row).collect();
    output.data(reply, |output| {
        for row in &rows {
            output.pairs(row)?;
            output.text("\n")?;
        }
        Ok(())
    })?;
    output.note(&format!("{}, log looked at up to {}", count(holders.len(), "holder"), reply["position"]));
    Ok(())
}

/// The widths of the columns of a log that is followed: what comes is not known yet.
const WIDTHS: &[(&str, usize)] = &[
    ("position", 8),
    // As wide as the first.
    ("time", 0),
    ("principal", 24),
    ("event", 26),
    ("resource", 32),
    ("command", 24),
    ("reason", 0),
];

/// Rows of events as they come.
pub struct Following {
    header: bool,
    time_width: usize,
}

impl Following {
    /// For the output's format.
    pub fn new(output: &Output) -> Following {
        Following { header: output.format == Format::Table, time_width: 0 }
    }

    /// Writes one event.
    pub fn row(&mut self, event: &Value, output: &mut Output) -> Result<(), Failure> {
        if output.format != Format::Table {
            // A document has an end and this has none, so each event is a line of its own.
            return Ok(output.text(&format!("{event}\n"))?);
        }
        let row = &log_rows(std::slice::from_ref(event), output)[0];
        if std::mem::take(&mut self.header) {
            self.time_width = cell(&row["time"]).len();
            let names = WIDTHS.iter().map(|(name, width)| self.padded(name, name, *width));
            output.line(names.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        let cells = WIDTHS.iter().map(|(name, width)| self.padded(name, &clean(&cell(&row[*name])), *width));
        Ok(output.line(cells.collect::<Vec<_>>().join("  ").trim_end())?)
    }

    fn padded(&self, column: &str, text: &str, width: usize) -> String {
        let width = if column == "time" { self.time_width } else { width };
        format!("{text:width$}")
    }
}
