//! How replies look as tables: what a person wants to see first of each kind of reply.

use crate::{audit_views, client::inventories, explain_view, failure::Failure, output::Output, table, yaml};
use serde_json::{Value, json};
use std::io;
use switchback_bus::{Message, creates, message};

/// A command's reply: what it made or changed; what happened is said on stderr.
pub fn command(message: &Message, reply: &Value, dry_run: bool, output: &mut Output) -> Result<(), Failure> {
    output.data(reply, |output| {
        if dry_run {
            output.rows(items(&reply["events"]), &["kind", "stream", "version", "payload"])?;
            return plans(items(&reply["routers"]), output);
        }
        match (&reply["inventory"], items(&reply["inventories"])) {
            (Value::Object(_), _) => output.pairs(&reply["inventory"]),
            (_, []) => output.pairs(&json!({
                "commandId": reply["commandId"], "position": reply["position"], "version": reply["version"],
                "applied": reply["applied"],
            })),
            (_, inventories) => output.rows(inventories, table::columns(message.inventory)),
        }
    })?;
    let events = items(&reply["events"]);
    if dry_run {
        output.note(&format!("dry run: {} would happen, nothing was changed", count(events.len(), "event")));
        return Ok(());
    }
    for event in events {
        let text = |member: &str| event[member].as_str().unwrap_or("?");
        output.note(&format!("{} {} {}", event["position"], text("kind"), text("stream")));
    }
    if events.is_empty() {
        output.note("nothing had to be changed");
    } else if reply["applied"] == false {
        output.note("on disk; hosts and routers do not report it yet");
    }
    if creates(message)
        && let Some(uuid) = reply["inventory"]["uuid"].as_str()
    {
        output.note(&format!("hint: switchback audit log --resource {uuid}"));
    }
    Ok(())
}

/// What routers would do, a line for each thing that would change.
fn plans(routers: &[Value], output: &mut Output) -> io::Result<()> {
    for router in routers {
        let name = table::cell(&router["name"]);
        output.text(&format!("\nrouter {name}\n"))?;
        if let Some(why) = router["unknown"].as_str() {
            output.text(&format!("  its plan is not known: {}\n", table::clean(why)))?;
            continue;
        }
        let sections = router["sections"].as_object();
        if sections.is_none_or(serde_json::Map::is_empty) {
            output.text("  nothing to do\n")?;
        }
        let widest = sections.into_iter().flatten().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (section, actions) in sections.into_iter().flatten() {
            for action in items(actions) {
                output.signed("~", &format!("  {section:widest$}  {}", table::cell(action)))?;
            }
        }
    }
    Ok(())
}

/// What a query was asked for, as far as its reply looks different for it.
#[derive(Default)]
pub struct Asked {
    /// Only these fields.
    pub fields: Vec<String>,
    /// How many were passed over.
    pub start: u64,
    /// How many at most.
    pub limit: Option<u64>,
    /// Only the number.
    pub count: bool,
}

/// The server's limit where none is given.
const DEFAULT_LIMIT: u64 = 1000;

/// A query's reply.
pub fn query(message: &Message, reply: &Value, asked: &Asked, output: &mut Output) -> Result<(), Failure> {
    let rows = inventories(reply);
    let total = reply["total"].as_u64();
    output.data(reply, |output| match (asked.count, total) {
        (true, Some(total)) => output.text(&format!("{total}\n")),
        _ if asked.fields.is_empty() => output.rows(rows, table::columns(message.inventory)),
        _ => output.rows(rows, &asked.fields),
    })?;
    if asked.count {
        return Ok(());
    }
    let of_all = total.map_or(String::new(), |total| format!(" of {total}"));
    output.note(&format!("{}{of_all}", count(rows.len(), "row")));
    let seen = asked.start + rows.len() as u64;
    let full = rows.len() as u64 == asked.limit.unwrap_or(DEFAULT_LIMIT);
    if total.map_or(full && !rows.is_empty(), |total| seen < total) {
        output.note(&format!("hint: more with start={seen}"));
    }
    Ok(())
}

/// The reply of a read that is no query.
pub fn read(name: &str, reply: &Value, output: &mut Output) -> Result<(), Failure> {
    match name {
        "GetEvents" => events(reply, output),
        "GetEvent" => audit_views::event(reply, output),
        "GetAuditDiff" => audit_views::changes(reply, output),
        "ReplayResource" => audit_views::states(reply, output),
        "ReplayInventories" => audit_views::inventories(reply, output),
        "GetAddressHolder" => audit_views::holders(reply, output),
        "GetVirtualRouterConfig" => config(reply, output),
        "GetVirtualRouterDiff" => diff(reply, output),
        "GetVirtualRouterDrift" => drift(reply, output),
        "GetVirtualRouterExplanation" => explain_view::explanation(reply, output),
        "GetVirtualRouterCounters" => counters(reply, output),
        _ => match reply["inventories"].as_array() {
            Some(rows) => listed(name, reply, rows, output),
            None => output.data(reply, |output| output.pairs(reply)),
        },
    }
}

/// A read's rows: as those of a query where they are of a kind, else with every member that they have.
fn listed(name: &str, reply: &Value, rows: &[Value], output: &mut Output) -> Result<(), Failure> {
    let inventory = message(name).map_or("", |message| message.inventory);
    let mut columns: Vec<&str> = match inventory {
        "" => rows.iter().filter_map(Value::as_object).flat_map(|row| row.keys().map(String::as_str)).collect(),
        inventory => table::columns(inventory).to_vec(),
    };
    if inventory.is_empty() {
        let rank = |name: &str| ["uuid", "name", "ip"].iter().position(|first| *first == name).unwrap_or(usize::MAX);
        columns.sort_by_key(|name| (rank(name), *name));
        columns.dedup();
    }
    output.data(reply, |output| output.rows(rows, &columns))?;
    output.note(&count(rows.len(), "row"));
    Ok(())
}

fn events(reply: &Value, output: &mut Output) -> Result<(), Failure> {
    let events = items(&reply["events"]);
    output.data(reply, |output| output.rows(&log_rows(events, output), LOG))?;
    output.note(&format!("{}, log looked at up to {}", count(events.len(), "event"), reply["position"]));
    Ok(())
}

/// The columns of events: when, who, what and why first, for terminals that have no room for all.
pub const LOG: &[&str] = &["position", "time", "principal", "event", "name", "reason", "command", "resource"];

/// Events as rows of [`LOG`].
pub fn log_rows(events: &[Value], output: &Output) -> Vec<Value> {
    let row = |event: &Value| {
        json!({
            "position": event["position"], "time": output.time(&event["at"]),
            "principal": output.principal(&event["principal"]),
            "event": event["kind"], "name": event["name"], "reason": event["reason"], "command": event["command"],
            "resource": event["streamId"],
        })
    };
    events.iter().map(row).collect()
}

fn config(reply: &Value, output: &mut Output) -> Result<(), Failure> {
    output.data(reply, |output| output.text(&yaml::document(&reply["config"])))?;
    let digest = reply["digest"].as_str().unwrap_or("?");
    output.note(&format!("digest {digest}, at position {}", reply["position"]));
    Ok(())
}

fn diff(reply: &Value, output: &mut Output) -> Result<(), Failure> {
    let mut lines = vec![];
    for (section, change) in reply["sections"].as_object().into_iter().flatten() {
        let mut line = |sign: &'static str, item: String| lines.push((section.as_str(), sign, item));
        for (sign, items_of) in [("-", "removed"), ("+", "added")] {
            items(&change[items_of]).iter().for_each(|removed| line(sign, item(removed)));
        }
        for changed in items(&change["changed"]) {
            let [path, from, to] = ["path", "from", "to"].map(|member| table::cell(&changed[member]));
            line("~", format!("{path}: {from} → {to}"));
        }
    }
    let events = items(&reply["events"]);
    let widest = lines.iter().map(|(section, ..)| section.len()).max().unwrap_or(0);
    output.data(reply, |output| {
        for (section, sign, item) in &lines {
            output.signed(sign, &format!("{section:widest$}  {sign} {item}"))?;
        }
        if !events.is_empty() {
            output.text(if lines.is_empty() { "made no difference:\n" } else { "\nmade by:\n" })?;
            output.rows(&log_rows(events, output), LOG)?;
        }
        Ok(())
    })?;
    let [from, to] = ["from", "to"].map(|member| table::cell(&reply[member]));
    let events = count(events.len(), "event");
    output.note(&format!("{} between {from} and {to}, made by {events}", count(lines.len(), "difference")));
    Ok(())
}

/// An item of a configuration on one line: where it stands, and its fields.
fn item(item: &Value) -> String {
    let fields = match &item["item"] {
        Value::Null => item,
        inner => inner,
    };
    let text = match fields.as_object() {
        Some(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{name} {}", table::cell(value));
            fields.iter().filter(|(name, _)| *name != "path").map(field).collect::<Vec<_>>().join(", ")
        }
        None => table::cell(fields),
    };
    match item["path"].as_str() {
        Some(path) => format!("{}: {text}", table::clean(path)),
        None => text,
    }
}

fn drift(reply: &Value, output: &mut Output) -> Result<(), Failure> {
    let found = items(&reply["items"]);
    output.data(reply, |output| output.rows(found, &["section", "item", "expected", "observed"]))?;
    let said = match found.len() {
        0 => "no drift".to_string(),
        drifted => format!(
            "{} as the configuration says",
            match drifted {
                1 => "1 item is not".to_string(),
                more => format!("{more} items are not"),
            }
        ),
    };
    output.note(&format!("{said} (revision {})", reply["revision"]));
    if let (Some(policy), false) = (reply["policy"].as_str(), found.is_empty()) {
        output.note(&format!(
            "hint: the policy is `{}`; to put it in order: switchback router reconnect, or the policy `heal`",
            table::clean(policy)
        ));
    }
    Ok(())
}

/// What a person wants to see first of what was counted.
const COUNTERS: &[&str] = &[
    "type",
    "name",
    "inboundPackets",
    "inboundBytes",
    "outboundPackets",
    "outboundBytes",
    "connections",
    "requests",
    "denied",
    "uuid",
];

fn counters(reply: &Value, output: &mut Output) -> Result<(), Failure> {
    let counted = items(&reply["counters"]);
    output.data(reply, |output| output.rows(counted, COUNTERS))?;
    let since = output.time(&reply["since"]);
    let counts = match since.as_str() {
        Some(since) => format!("counted since {since}"),
        None => "nothing counts yet".to_string(),
    };
    output.note(&format!("{}, {counts}", count(counted.len(), "service")));
    Ok(())
}

/// The items of a list.
pub fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A number of things in words.
pub fn count(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Writes nothing but the error of a broken chain.
pub fn verified(reply: &Value, output: &mut Output) -> Result<(), Failure> {
    output.data(reply, |output: &mut Output| -> io::Result<()> { output.pairs(reply) })?;
    if reply["ok"] == true {
        return Ok(());
    }
    let [at, why] = ["brokenAt", "why"].map(|member| table::cell(&reply[member]));
    Err(Failure::new(crate::failure::Exit::Other, format!("the log is not what was written: position {at}: {why}")))
}
