//! `switchback audit …`: what happened, who asked for it, and whether the log is still what was written.

use crate::{
    asking::{Asked, Directory},
    audit_views as shown,
    client::{Client, ClientArguments, Environment, inventories, parameter},
    commands::{copies, router},
    failure::{Exit, Failure},
    moment,
    output::{Format, Output},
    progress::{bar, moves, spinner},
    views,
};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};
use switchback::node::AtRest;

/// `switchback audit`.
#[derive(Args)]
pub struct AuditArguments {
    #[command(flatten)]
    client: ClientArguments,
    /// Read a data directory without a server; nothing in it is changed.
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Events: who did what and when, in the order of the log.
    Log(LogArguments),
    /// One event whole, with the others of its commit, its causes and its effects.
    Show {
        /// Its position in the log.
        position: u64,
    },
    /// What changed between two moments, which events made it, and who asked.
    Diff {
        /// A router's configuration: name, uuid or the beginning of it.
        #[arg(long, conflicts_with = "resource")]
        router: Option<String>,
        /// One resource and what belongs to it; everything when neither is given.
        #[arg(long, value_name = "UUID")]
        resource: Option<String>,
        /// A position of the log, or a time: RFC 3339, `14:32`, `2h ago`.
        #[arg(long, value_parser = moment::parse)]
        from: String,
        /// The same; now when not given.
        #[arg(long, value_parser = moment::parse)]
        to: Option<String>,
    },
    /// Fold the log again, up to `--at`: a router, a resource, the inventories, or all, each with its digest.
    Replay {
        /// A router's configuration: name, uuid or the beginning of it.
        #[arg(long, group = "what")]
        router: Option<String>,
        /// A resource's state, as decisions are made from it.
        #[arg(long, value_name = "UUID", group = "what")]
        resource: Option<String>,
        /// The inventories, in a fresh database.
        #[arg(long, group = "what")]
        inventories: bool,
    },
    /// Who held an address: at `--at`, or ever.
    Holder {
        /// The address.
        ip: Ipv4Addr,
        /// Only on this L3 network.
        #[arg(long, value_name = "UUID")]
        l3: Option<String>,
    },
    /// Read the whole log and check its chain. A broken chain is exit code 1.
    Verify {
        /// A head that was kept outside, by `switchback audit head --json > FILE`: the log must still hold it.
        #[arg(long, value_name = "FILE")]
        anchor: Option<PathBuf>,
    },
    /// The last position and its hash, signed.
    Head,
    /// The whole log as JSON lines, one event each, with the attributes of CloudEvents.
    Export {
        /// Where to; `-` is stdout.
        #[arg(default_value = "-")]
        file: PathBuf,
    },
    /// A new data directory (`--data`) from an export: the same log, to the same hash.
    Import {
        /// The export; `-` is stdin.
        file: PathBuf,
    },
}

#[derive(Args)]
struct LogArguments {
    /// Only what touches this resource.
    #[arg(long, value_name = "UUID")]
    resource: Option<String>,
    /// Only what this principal asked for.
    #[arg(long)]
    principal: Option<String>,
    /// Only this kind of event, or all of a concept: `zone.Created`, `zone`.
    #[arg(long)]
    kind: Option<String>,
    /// Only what this command did: its name or its id.
    #[arg(long, value_name = "NAME")]
    command: Option<String>,
    /// Only what belongs to this piece of work.
    #[arg(long, value_name = "ID")]
    correlation: Option<String>,
    /// Only from this time: RFC 3339, `14:32`, `2h ago`.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    since: Option<String>,
    /// Only up to this time.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    until: Option<String>,
    /// Only after this position.
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// How many at most [default: 100; with --follow: no limit].
    #[arg(long)]
    limit: Option<u64>,
    /// The last ones, newest first.
    #[arg(long)]
    newest: bool,
    /// Go on with what comes, until interrupted.
    #[arg(long, conflicts_with = "newest")]
    follow: bool,
}

/// How many events a page has.
const PAGE: u64 = 100;
/// How many of the last events are shown before those that come.
const TAIL: u64 = 10;

/// Runs it.
pub fn run(
    arguments: AuditArguments,
    outer: &ClientArguments,
    environment: &Environment,
    output: &mut Output,
) -> Result<(), Failure> {
    let flags = arguments.client.over(outer);
    output.format = flags.format();
    flags.refuse_command_flags("this command")?;
    if !matches!(arguments.command, AuditCommand::Replay { .. } | AuditCommand::Holder { .. }) {
        flags.refuse_at("this command")?;
    }
    if let AuditCommand::Import { file } = &arguments.command {
        return copies::import(file, arguments.data.as_deref(), output);
    }
    let Some(directory) = &arguments.data else {
        let client = Client::new(&flags, environment)?;
        if let AuditCommand::Log(log) = &arguments.command
            && log.follow
        {
            return follow(&client, log, output);
        }
        return answer(arguments.command, &client, &flags, output, &spinner());
    };
    if flags.server.is_some() {
        return Err(Failure::usage("--data and --server: one of them answers"));
    }
    if let AuditCommand::Log(LogArguments { follow: true, .. }) = arguments.command {
        return Err(Failure::usage("--follow needs a server: a directory at rest does not move"));
    }
    let bar = bar(if matches!(arguments.command, AuditCommand::Verify { .. }) { "verifying" } else { "folding" });
    let progress = moves(&bar);
    if let AuditCommand::Verify { anchor } = &arguments.command {
        // A broken log cannot be opened, only checked.
        let anchor = anchor.as_deref().map(read_anchor).transpose()?;
        let verified = AtRest::verify(directory, anchor.as_deref(), &progress);
        bar.finish_and_clear();
        return views::verified(&verified?, output);
    }
    let asked = Directory::open(directory, progress)?;
    answer(arguments.command, &asked, &flags, output, &bar)
}

/// A head that was kept outside.
fn read_anchor(file: &Path) -> Result<String, Failure> {
    let failed = |error| Failure::new(Exit::Other, format!("read `{}`: {error}", file.display()));
    let text = std::fs::read_to_string(file).map_err(failed)?;
    // Without what an editor or a shell added around it.
    let head: Value = serde_json::from_str(&text).map_err(|error| {
        Failure::usage(format!("--anchor = `{}`: {error}", file.display())).hint("switchback audit head --json > FILE")
    })?;
    Ok(head.to_string())
}

fn answer(
    command: AuditCommand,
    asked: &dyn Asked,
    flags: &ClientArguments,
    output: &mut Output,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let at = flags.at.as_deref();
    // Whatever is drawn on stderr goes before anything is said.
    let long = |name: &str, parameters: &[(String, String)]| {
        bar.enable_steady_tick(Duration::from_millis(100));
        let reply = asked.read(name, parameters);
        bar.finish_and_clear();
        reply
    };
    let with_at = |mut parameters: Vec<(String, String)>| {
        parameters.extend(at.map(|at| parameter("at", at)));
        parameters
    };
    match command {
        AuditCommand::Log(log) => show_log(asked, &log, output),
        AuditCommand::Show { position } => {
            shown::event(&asked.read("GetEvent", &[parameter("position", position)])?, output)
        }
        AuditCommand::Diff { router: Some(router), from, to, .. } => {
            router::diff(asked, &router, &from, to.as_deref(), output)
        }
        AuditCommand::Diff { router: None, resource, from, to } => {
            let mut parameters = vec![parameter("from", from)];
            parameters.extend(to.map(|to| parameter("to", to)));
            parameters.extend(resource.map(|resource| parameter("resource", resource)));
            shown::changes(&long("GetAuditDiff", &parameters)?, output)
        }
        AuditCommand::Replay { router: Some(router), .. } => router::config(asked, &router, at, output),
        AuditCommand::Replay { resource: Some(resource), .. } => {
            shown::states(&long("ReplayResource", &with_at(vec![parameter("uuid", resource)]))?, output)
        }
        AuditCommand::Replay { inventories: true, .. } => {
            shown::inventories(&long("ReplayInventories", &with_at(vec![]))?, output)
        }
        AuditCommand::Replay { .. } => {
            let mut reply = long("ReplayInventories", &with_at(vec![]))?;
            let at = reply["position"].to_string();
            reply["routers"] = routers(asked, &at)?;
            shown::inventories(&reply, output)
        }
        AuditCommand::Holder { ip, l3 } => {
            let mut parameters = with_at(vec![parameter("ip", ip)]);
            parameters.extend(l3.map(|l3| parameter("l3NetworkUuid", l3)));
            shown::holders(&asked.read("GetAddressHolder", &parameters)?, output)
        }
        AuditCommand::Verify { anchor } => {
            let anchor = anchor.as_deref().map(read_anchor).transpose()?;
            let parameters: Vec<_> = anchor.map(|anchor| parameter("anchor", anchor)).into_iter().collect();
            views::verified(&long("VerifyAudit", &parameters)?, output)
        }
        AuditCommand::Head => views::read("GetAuditHead", &asked.read("GetAuditHead", &[])?, output),
        AuditCommand::Export { file } => copies::export(asked, &file, output),
        AuditCommand::Import { .. } => Err(Failure::new(Exit::Other, "an import asks nobody")),
    }
}

/// Every router's configuration at a position, by its digest.
fn routers(asked: &dyn Asked, at: &str) -> Result<Value, Failure> {
    let parameters = [parameter("fields", "uuid,name"), parameter("limit", 100_000), parameter("at", at)];
    let mut routers = vec![];
    for router in inventories(&asked.read("QueryVirtualRouterVm", &parameters)?) {
        let uuid = router["uuid"].as_str().unwrap_or_default();
        let config = asked.read("GetVirtualRouterConfig", &[parameter("uuid", uuid), parameter("at", at)])?;
        routers.push(json!({
            "uuid": uuid, "name": router["name"], "revision": config["config"]["revision"],
            "digest": config["digest"],
        }));
    }
    Ok(Value::Array(routers))
}

/// The parameters of the log's filters.
fn filters(log: &LogArguments) -> Vec<(String, String)> {
    let texts = [
        ("resource", log.resource.clone()),
        ("principal", log.principal.clone()),
        ("kind", log.kind.clone()),
        ("command", log.command.clone()),
        ("correlation", log.correlation.clone()),
        ("since", log.since.clone()),
        ("until", log.until.clone()),
        ("after", log.after.map(|after| after.to_string())),
    ];
    texts.into_iter().filter_map(|(name, text)| Some(parameter(name, text?))).collect()
}

fn show_log(asked: &dyn Asked, log: &LogArguments, output: &mut Output) -> Result<(), Failure> {
    let mut parameters = filters(log);
    let limit = log.limit.unwrap_or(PAGE);
    parameters.push(parameter("limit", limit));
    if log.newest {
        parameters.push(parameter("newest", true));
    }
    let reply = asked.read("GetEvents", &parameters)?;
    views::read("GetEvents", &reply, output)?;
    let events = reply["events"].as_array().map_or(&[][..], Vec::as_slice);
    if !log.newest
        && events.len() as u64 >= limit
        && let Some(last) = events.last().and_then(|event: &Value| event["position"].as_u64())
    {
        output.note(&format!("hint: more with --after {last}, or the last ones with --newest"));
    }
    Ok(())
}

/// The last events, or those after a given place, and then what comes.
fn follow(client: &Client, log: &LogArguments, output: &mut Output) -> Result<(), Failure> {
    let mut parameters = filters(log);
    let mut after = log.after;
    let mut rows = shown::Following::new(output);
    if log.after.is_none() && log.since.is_none() {
        let mut last = parameters.clone();
        last.extend([parameter("newest", true), parameter("limit", log.limit.unwrap_or(TAIL).min(TAIL))]);
        let reply = client.read("GetEvents", &last)?;
        for event in reply["events"].as_array().into_iter().flatten().rev() {
            rows.row(event, output)?;
        }
        after = reply["position"].as_u64();
    }
    parameters.retain(|(name, _)| name != "after");
    parameters.extend(log.limit.map(|limit| parameter("limit", limit)));
    if output.format == Format::Table {
        output.note("following; Ctrl-C ends it");
    }
    client.follow(&parameters, after, &mut |event| rows.row(event, output))
}
