//! `switchback audit …`: what happened, who asked for it, and whether the log is still what was written.

use crate::{
    client::{Client, ClientArguments, Environment, parameter},
    commands::router,
    failure::Failure,
    output::Output,
    views,
};
use clap::{Args, Subcommand};
use serde_json::Value;
use std::path::PathBuf;

/// `switchback audit`.
#[derive(Args)]
pub struct AuditArguments {
    #[command(flatten)]
    client: ClientArguments,
    /// Read a data directory without a server (not supported yet).
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Events: who did what and when, in the order of the log.
    Log(LogArguments),
    /// One event whole, with the others of its commit.
    Show {
        /// Its position in the log.
        position: u64,
    },
    /// A router's configuration at two moments compared, with the events between.
    Diff {
        /// Name, uuid or the beginning of it.
        #[arg(long)]
        router: String,
        /// A position of the log or an RFC 3339 time.
        #[arg(long)]
        from: String,
        /// The same; now when not given.
        #[arg(long)]
        to: Option<String>,
    },
    /// A router's configuration rebuilt from the log as of `--at`.
    Replay {
        /// Name, uuid or the beginning of it.
        #[arg(long)]
        router: Option<String>,
        /// Any other resource (not supported yet).
        resource: Option<String>,
    },
    /// Read the whole log and check its chain. A broken chain is exit code 1.
    Verify,
    /// The last position and its hash.
    Head,
    /// The log as JSON lines (not supported yet).
    Export {
        /// Where to.
        arguments: Vec<String>,
    },
    /// A log from JSON lines (not supported yet).
    Import {
        /// Where from.
        arguments: Vec<String>,
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
    /// Only from this RFC 3339 time.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only up to this RFC 3339 time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only after this position.
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// How many at most.
    #[arg(long, default_value_t = 100)]
    limit: u64,
    /// The last ones, newest first.
    #[arg(long)]
    newest: bool,
}

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
    if !matches!(arguments.command, AuditCommand::Replay { .. }) {
        flags.refuse_at("this command")?;
    }
    if arguments.data.is_some() {
        return Err(Failure::not_supported("audit --data").hint("ask a running server instead"));
    }
    let client = Client::new(&flags, environment)?;
    match arguments.command {
        AuditCommand::Log(log) => show_log(&client, log, output),
        AuditCommand::Show { position } => {
            let reply = client.read("GetEvent", &[parameter("position", position)])?;
            views::read("GetEvent", &reply, output)
        }
        AuditCommand::Diff { router, from, to } => router::diff(&client, &router, &from, to.as_deref(), output),
        AuditCommand::Replay { router: Some(router), resource: None } => {
            router::config(&client, &router, flags.at.as_deref(), output)
        }
        AuditCommand::Replay { router: None, resource: Some(_) } => {
            Err(Failure::not_supported("audit replay of anything but a router").hint("audit replay --router NAME"))
        }
        AuditCommand::Replay { .. } => Err(Failure::usage("audit replay needs --router NAME")),
        AuditCommand::Verify => views::verified(&client.read("VerifyAudit", &[])?, output),
        AuditCommand::Head => views::read("GetAuditHead", &client.read("GetAuditHead", &[])?, output),
        AuditCommand::Export { .. } => {
            Err(Failure::not_supported("audit export").hint("audit log -o json shows pages of the log"))
        }
        AuditCommand::Import { .. } => Err(Failure::not_supported("audit import")),
    }
}

fn show_log(client: &Client, log: LogArguments, output: &mut Output) -> Result<(), Failure> {
    let texts = [
        ("resource", log.resource),
        ("principal", log.principal),
        ("kind", log.kind),
        ("since", log.since),
        ("until", log.until),
        ("after", log.after.map(|after| after.to_string())),
    ];
    let mut parameters: Vec<(String, String)> =
        texts.into_iter().filter_map(|(name, text)| Some(parameter(name, text?))).collect();
    parameters.push(parameter("limit", log.limit));
    if log.newest {
        parameters.push(parameter("newest", true));
    }
    let reply = client.read("GetEvents", &parameters)?;
    views::read("GetEvents", &reply, output)?;
    let events = reply["events"].as_array().map_or(&[][..], Vec::as_slice);
    if !log.newest
        && events.len() as u64 >= log.limit
        && let Some(last) = events.last().and_then(|event: &Value| event["position"].as_u64())
    {
        output.note(&format!("hint: more with --after {last}, or the last ones with --newest"));
    }
    Ok(())
}
