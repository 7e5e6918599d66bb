//! How the way of a packet looks: a line for each step, under it the records that decided, and who put them there.

use crate::{
    failure::Failure,
    output::Output,
    table::{cell, clean},
    views::items,
};
use serde_json::Value;
use std::io;

/// The way of a packet.
pub fn explanation(reply: &Value, output: &mut Output) -> Result<(), Failure> {
    output.data(reply, |output| {
        output.line(&packet(&reply["packet"]))?;
        steps(&reply["steps"], "", output)?;
        output.line(&verdict(&reply["verdict"], &reply["ends"]))?;
        for candidate in items(&reply["candidates"]) {
            let [ip, port] = ["ip", "port"].map(|member| cell(&candidate[member]));
            output.line(&format!(
                "  server {ip} port {port}: {}",
                verdict(&candidate["verdict"], &candidate["packet"])
            ))?;
            steps(&candidate["steps"], "    ", output)?;
        }
        answer(&reply["answer"], output)
    })?;
    output.note(&format!("as of position {}", reply["position"]));
    Ok(())
}

fn steps(found: &Value, indent: &str, output: &mut Output) -> io::Result<()> {
    for (at, step) in items(found).iter().enumerate() {
        let [place, hook, what] = ["place", "hook", "what"].map(|member| cell(&step[member]));
        output.line(&format!("{indent}{:>3}  {place} {hook}: {what}", at + 1))?;
        for record in items(&step["records"]) {
            output.line(&format!("{indent}       {}", self::record(record, output)))?;
        }
    }
    Ok(())
}

/// A packet in a line.
fn packet(packet: &Value) -> String {
    let end = |ip: &str, port: &str| match packet[port].as_u64() {
        Some(0) | None => cell(&packet[ip]),
        Some(port) if cell(&packet[ip]).contains(':') => format!("[{}]:{port}", cell(&packet[ip])),
        Some(port) => format!("{}:{port}", cell(&packet[ip])),
    };
    let (from, to) = (end("source", "sourcePort"), end("destination", "destinationPort"));
    format!("{} {from} → {to}", cell(&packet["protocol"]))
}

/// A record with its name, and who put it there.
fn record(record: &Value, output: &Output) -> String {
    let text = |member: &str| record[member].as_str().map(clean);
    let mut said = cell(&record["type"]);
    if record["foreign"] == true {
        return format!("{said} of another account");
    }
    let parts = ["name", "interface", "service", "uuid"].into_iter().filter_map(text);
    parts.for_each(|part| said = format!("{said} {part}"));
    if let (Some(category), Some(entry)) = (text("category"), text("name")) {
        said = format!("Config {category}.{entry}");
    }
    let since = &record["since"];
    if since.is_object() {
        let [kind, position] = ["kind", "position"].map(|member| cell(&since[member]));
        let (time, principal) = (cell(&output.time(&since["at"])), cell(&output.principal(&since["principal"])));
        said = format!("{said}: {kind} at position {position}, {time}, by {principal}");
        if let Some(reason) = since["reason"].as_str() {
            said = format!("{said} ({})", clean(reason));
        }
    }
    said
}

fn verdict(verdict: &Value, ends: &Value) -> String {
    let text = |member: &str| verdict[member].as_str().map(clean);
    let packet = packet(ends);
    match verdict["kind"].as_str() {
        Some("delivered") => match text("vm") {
            Some(vm) => format!("delivered to VM {vm}: {packet}"),
            None => format!("delivered to a VM of another account: {packet}"),
        },
        Some("forwarded") => match text("interface") {
            Some(interface) => {
                format!("forwarded by {interface} to {}: {packet}", text("nextHop").unwrap_or_default())
            }
            None => format!("goes to {}, not by the router: {packet}", text("nextHop").unwrap_or_default()),
        },
        Some("answered") => match text("service").as_deref() {
            Some("closed") => format!("refused by the router, whose port is closed: {packet}"),
            service => format!("answered by the router ({}): {packet}", service.unwrap_or("?")),
        },
        Some(other) => clean(other),
        None => "?".to_string(),
    }
}

fn answer(answer: &Value, output: &mut Output) -> io::Result<()> {
    if !answer.is_object() {
        return Ok(());
    }
    let [to, from] = ["to", "seenFrom"].map(|member| cell(&answer[member]));
    output.line(&format!("the answer: to {to}, and the sender sees it come from {from}"))?;
    for step in items(&answer["steps"]) {
        output.line(&format!("     {}", cell(step)))?;
    }
    match answer["lost"].as_str() {
        Some(why) => output.line(&format!("     it is lost: {}", clean(why))),
        None => Ok(()),
    }
}
