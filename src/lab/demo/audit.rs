//! The log is asked what happened.

use super::show::{Demo, chapter};
use crate::lab::{
    check,
    churn::{command_of, events_after},
};
use anyhow::{Context, ensure};
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) fn look_back(demo: &mut Demo) -> anyhow::Result<()> {
    chapter("The audit: who did what, what was, what changed, and whether the log is whole");
    who_did_what(demo)?;
    before_the_second_vm(demo)?;
    verify(demo)
}

fn who_did_what(demo: &mut Demo) -> anyhow::Result<()> {
    let rows = demo.check(
        |rows: &Vec<[String; 6]>| format!("who did what: the {} commands on the routers and VMs", rows.len()),
        "switchback audit log",
        |demo| {
            let mut touched: Vec<String> = demo.vms.iter().map(|vm| vm.uuid.clone()).collect();
            touched.extend([demo.first_router.clone(), demo.router().uuid.clone()]);
            let mut commands: BTreeMap<u64, [String; 6]> = BTreeMap::new();
            let mut seen = BTreeMap::new();
            for (position, event) in events_after(&demo.api, 0)? {
                let text = |field: &str| event[field].as_str().unwrap_or_default().to_string();
                ensure!(!text("principal").is_empty(), "expected a principal in every event, found {event}");
                ensure!(!text("origin").is_empty(), "expected an origin in every event, found {event}");
                if !touched.contains(&text("streamId")) {
                    continue;
                }
                let first = *seen.entry(command_of(&event)).or_insert(position);
                let row = commands.entry(first).or_insert_with(|| {
                    [
                        first.to_string(),
                        text("principal"),
                        text("origin"),
                        text("command"),
                        text("reason"),
                        String::new(),
                    ]
                });
                let kind = text("kind");
                row[5] = if row[5].is_empty() { kind } else { format!("{} {kind}", row[5]) };
            }
            Ok(commands.into_values().collect())
        },
    )?;
    println!("             {:>5}  {:<26} {:<7} {:<26} {:<10} events", "at", "principal", "origin", "command", "reason");
    for [at, principal, origin, command, reason, events] in &rows {
        println!("             {at:>5}  {principal:<26} {origin:<7} {command:<26} {reason:<10} {events}");
    }
    let asked = |name: &str| rows.iter().any(|row| row[1] == "admin" && row[3] == name);
    for name in [
        "CreateVmInstance",
        "StopVmInstance",
        "StartVmInstance",
        "ReconnectVirtualRouter",
        "DestroyVmInstance",
        "RebootVmInstance",
    ] {
        ensure!(asked(name), "expected `{name}` of admin in the log, found {rows:#?}");
    }
    Ok(())
}

fn before_the_second_vm(demo: &mut Demo) -> anyhow::Result<()> {
    let (uuid, at) = (demo.first_router.clone(), demo.before_second_vm.to_string());
    let (first, second) = (demo.vms[0].clone(), demo.vms[1].clone());
    let (first_ip, second_ip) = (first.ip.to_string(), second.ip.to_string());
    demo.check(
        |_| format!("before {} existed, the first router knew {} only", second.name, first.name),
        &format!("switchback router config {uuid} --at {at}"),
        |demo| {
            let config = demo.api.get(&format!("/v1/routers/{uuid}/config"), &[("at", &at)])?;
            let hosts = check::dhcp_addresses(&config)?;
            ensure!(
                hosts == [first_ip.clone()],
                "expected the DHCP entry of {first_ip} only, got {hosts:?} in {config}"
            );
            Ok(())
        },
    )?;
    demo.check(
        |events: &Vec<String>| {
            format!("the difference since is {} ({second_ip}), made by {}", second.name, events.join(", "))
        },
        &format!("switchback router diff {uuid} --from {at}"),
        |demo| {
            // Up to the moment before the router was destroyed: afterwards it has no configuration.
            let destroyed = events_after(&demo.api, demo.before_second_vm)?
                .into_iter()
                .find(|(_, event)| event["streamId"] == uuid.as_str() && event["kind"] == "router.DestroyRequested");
            let destroyed = destroyed.context("expected router.DestroyRequested in the log")?.0;
            let (path, to) = (format!("/v1/routers/{uuid}/diff"), (destroyed - 1).to_string());
            let diff = demo.api.get(&path, &[("from", &at), ("to", &to)])?;
            let text = diff.to_string();
            ensure!(text.contains(&second_ip), "expected {second_ip} in the difference, got {diff}");
            let events = diff["events"].as_array().with_context(|| format!("expected events in {diff}"))?;
            ensure!(!events.is_empty(), "expected the events that made the difference, got {diff}");
            let word = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_string();
            Ok(events.iter().map(|event| format!("{} of {}", word(event, "kind"), word(event, "principal"))).collect())
        },
    )?;
    demo.check(
        |_| "the new router's configuration knows both".to_string(),
        &format!("switchback router config {}", demo.router().uuid),
        |demo| {
            let config = demo.api.get(&format!("/v1/routers/{}/config", demo.router().uuid), &[])?;
            let mut hosts = check::dhcp_addresses(&config)?;
            hosts.sort();
            let mut expected = [first_ip, second_ip];
            expected.sort();
            ensure!(hosts == expected, "expected the DHCP entries {expected:?}, got {hosts:?}");
            Ok(())
        },
    )
}

fn verify(demo: &mut Demo) -> anyhow::Result<()> {
    let head = demo.check(
        |head: &Value| format!("the whole log is read again and its chain verified: {head}"),
        "switchback audit verify",
        |demo| {
            let verified = demo.api.get("/v1/audit/verify", &[])?;
            ensure!(verified["ok"] == true, "expected a log that is whole, got {verified}");
            Ok(verified)
        },
    )?;
    let head = head["position"].as_u64().or_else(|| head["head"]["position"].as_u64());
    ensure!(
        head.is_some_and(|position| position > demo.before_second_vm),
        "expected the head's position, got {head:?}"
    );
    Ok(())
}
