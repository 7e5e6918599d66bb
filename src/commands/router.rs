//! `switchback router …`: one router, named by uuid, the beginning of it, or name.

use crate::{
    asking::Asked,
    client::{Client, ClientArguments, Environment, body, parameter},
    commands::message,
    failure::Failure,
    moment, naming,
    output::Output,
    views,
};
use clap::{Args, Subcommand};

/// `switchback router`.
#[derive(Args)]
pub struct RouterArguments {
    #[command(flatten)]
    client: ClientArguments,
    #[command(subcommand)]
    command: RouterCommand,
}

#[derive(Subcommand)]
enum RouterCommand {
    /// The routers, under conditions as in `switchback QueryVirtualRouterVm`.
    List {
        /// `state=Running`, `vmNics.ip=10.0.0.1`, `limit=10` …
        conditions: Vec<String>,
    },
    /// The configuration that the log implies, now or `--at` an earlier moment.
    Config {
        /// Name, uuid or the beginning of it.
        router: String,
    },
    /// The difference of its configuration between two moments, and the events that made it.
    Diff {
        /// Name, uuid or the beginning of it.
        router: String,
        /// A position of the log, or a time: RFC 3339, `14:32`, `2h ago`.
        #[arg(long, value_parser = moment::parse)]
        from: String,
        /// The same; now when not given.
        #[arg(long, value_parser = moment::parse)]
        to: Option<String>,
    },
    /// Where its kernel and daemons differ from its configuration.
    Drift {
        /// Name, uuid or the beginning of it.
        router: String,
    },
    /// How many packets and bytes went through each of its EIPs, forwarded ports and listeners.
    Counters {
        /// Name, uuid or the beginning of it.
        router: String,
    },
    /// Replay its history into its configuration and apply it.
    Reconnect {
        /// Name, uuid or the beginning of it.
        router: String,
    },
    /// Put another appliance in its place, without loss: made beside it, given its connections and leases, plugged in where
    /// it was.
    Replace {
        /// Name, uuid or the beginning of it.
        router: String,
        /// The host to place it on, by uuid; its own when not given.
        #[arg(long)]
        host: Option<String>,
    },
    /// What becomes of a packet, now or `--at` an earlier moment: every step, by which record, and who put it there.
    Explain(ExplainArguments),
    /// Its changes as they come (not supported yet).
    Watch {
        /// Name, uuid or the beginning of it.
        arguments: Vec<String>,
    },
}

/// A packet, and where it begins.
#[derive(Args)]
struct ExplainArguments {
    /// Name, uuid or the beginning of it.
    router: String,
    /// Where the packet is sent to.
    #[arg(long)]
    dst: String,
    /// Where it comes from; what a nic or the router sends has its address.
    #[arg(long)]
    src: Option<String>,
    /// What it is of: `tcp`, `udp` or `icmp`.
    #[arg(long, default_value = "tcp")]
    proto: String,
    /// The port that it is sent to.
    #[arg(long)]
    dport: Option<u16>,
    /// The port that it is sent from.
    #[arg(long)]
    sport: Option<u16>,
    /// Where it begins: the uuid of a nic or of an L3 network, an interface such as `eth1`, or `router`; else where `--src` is.
    #[arg(long)]
    from: Option<String>,
    /// Compare with what the router's kernel does (not supported yet).
    #[arg(long)]
    live: bool,
}

/// Runs it.
pub fn run(
    arguments: RouterArguments,
    outer: &ClientArguments,
    environment: &Environment,
    output: &mut Output,
) -> Result<(), Failure> {
    let flags = arguments.client.over(outer);
    output.format = flags.format();
    if !matches!(arguments.command, RouterCommand::Reconnect { .. } | RouterCommand::Replace { .. }) {
        flags.refuse_command_flags("this command")?;
    }
    let past = matches!(
        arguments.command,
        RouterCommand::List { .. } | RouterCommand::Config { .. } | RouterCommand::Explain(_)
    );
    if !past {
        flags.refuse_at("this command")?;
    }
    match arguments.command {
        RouterCommand::List { conditions } => {
            let message = message::find("QueryVirtualRouterVm", &[])?;
            message::query(message, &conditions, &flags, environment, output)
        }
        RouterCommand::Config { router } => {
            let client = Client::new(&flags, environment)?;
            config(&client, &router, flags.at.as_deref(), output)
        }
        RouterCommand::Diff { router, from, to } => {
            let client = Client::new(&flags, environment)?;
            diff(&client, &router, &from, to.as_deref(), output)
        }
        RouterCommand::Drift { router } => {
            let client = Client::new(&flags, environment)?;
            let uuid = resolve(&client, &router, None)?;
            let reply = client.read("GetVirtualRouterDrift", &[parameter("uuid", uuid)])?;
            views::read("GetVirtualRouterDrift", &reply, output)
        }
        RouterCommand::Counters { router } => {
            let client = Client::new(&flags, environment)?;
            let uuid = resolve(&client, &router, None)?;
            let reply = client.read("GetVirtualRouterCounters", &[parameter("uuid", uuid)])?;
            views::read("GetVirtualRouterCounters", &reply, output)
        }
        RouterCommand::Reconnect { router } => {
            let client = Client::new(&flags, environment)?;
            let message = message::find("ReconnectVirtualRouter", &[])?;
            let uuid = resolve(&client, &router, None)?;
            let reply = client.command(message.name, &body("vmInstanceUuid", &uuid), &flags)?;
            views::command(message, &reply, flags.dry_run, output)
        }
        RouterCommand::Replace { router, host } => {
            let client = Client::new(&flags, environment)?;
            let message = message::find("ReplaceVirtualRouter", &[])?;
            let mut parameters = body("vmInstanceUuid", &resolve(&client, &router, None)?);
            if let (Some(parameters), Some(host)) = (parameters.as_object_mut(), host) {
                parameters.insert("hostUuid".to_string(), host.into());
            }
            let reply = client.command(message.name, &parameters, &flags)?;
            views::command(message, &reply, flags.dry_run, output)
        }
        RouterCommand::Explain(packet) => {
            let client = Client::new(&flags, environment)?;
            explain(&client, packet, flags.at.as_deref(), output)
        }
        RouterCommand::Watch { .. } => Err(Failure::not_supported("router watch")),
    }
}

/// Shows a router's configuration at a moment.
pub fn config(client: &dyn Asked, router: &str, at: Option<&str>, output: &mut Output) -> Result<(), Failure> {
    let mut parameters = vec![parameter("uuid", resolve(client, router, at)?)];
    parameters.extend(at.map(|at| parameter("at", at)));
    views::read("GetVirtualRouterConfig", &client.read("GetVirtualRouterConfig", &parameters)?, output)
}

/// Shows the difference of a router's configuration between two moments.
pub fn diff(
    client: &dyn Asked,
    router: &str,
    from: &str,
    to: Option<&str>,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut parameters = vec![parameter("uuid", resolve(client, router, to)?), parameter("from", from)];
    parameters.extend(to.map(|to| parameter("to", to)));
    views::read("GetVirtualRouterDiff", &client.read("GetVirtualRouterDiff", &parameters)?, output)
}

fn explain(client: &dyn Asked, packet: ExplainArguments, at: Option<&str>, output: &mut Output) -> Result<(), Failure> {
    let uuid = resolve(client, &packet.router, at)?;
    let given = [
        ("uuid", Some(uuid)),
        ("dst", Some(packet.dst)),
        ("src", packet.src),
        ("proto", Some(packet.proto)),
        ("dport", packet.dport.map(|port| port.to_string())),
        ("sport", packet.sport.map(|port| port.to_string())),
        ("from", packet.from),
        ("at", at.map(str::to_string)),
        ("live", packet.live.then(|| "true".to_string())),
    ];
    let parameters: Vec<_> = given.into_iter().filter_map(|(name, value)| Some(parameter(name, value?))).collect();
    let name = "GetVirtualRouterExplanation";
    views::read(name, &client.read(name, &parameters)?, output)
}

/// The uuid of the one router that is meant, as routers were named at `at`.
fn resolve(client: &dyn Asked, router: &str, at: Option<&str>) -> Result<String, Failure> {
    naming::resolve_router(client, router, at)
}
