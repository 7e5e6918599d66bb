//! `switchback agent host`, `switchback agent router`, and the token by which a host's agent joins.

use crate::{
    client::{Client, ClientArguments, Environment, parameter},
    failure::Failure,
    output::Output,
};
use anyhow::Context;
use clap::Subcommand;
use std::path::PathBuf;
use switchback_agent::{HostOptions, RouterOptions};

/// The agents.
#[derive(Subcommand)]
pub enum AgentCommand {
    /// The agent of a host: bridges, appliances, VMs of the lab.
    Host {
        /// Address and port to listen on.
        #[arg(long)]
        listen: std::net::SocketAddr,
        /// The token that `switchback agent token` printed for this host's address.
        #[arg(long)]
        token_file: PathBuf,
        /// Where the agent keeps its state.
        #[arg(long)]
        state_dir: PathBuf,
        /// Prefix of the names of everything that the agent makes.
        #[arg(long, default_value = "sb")]
        prefix: String,
        /// The network namespace to run in, for hosts that are namespaces themselves.
        #[arg(long)]
        netns: Option<String>,
    },
    /// Print the token by which the agent of the host at an address joins. A secret: keep it in a file of mode 0600.
    Token {
        /// Where the agent will listen.
        #[arg(long)]
        address: std::net::Ipv4Addr,
        #[command(flatten)]
        client: ClientArguments,
    },
    /// The agent of a router; started by the host's agent.
    Router {
        /// Where the host's agent put `bootstrap.json`.
        #[arg(long)]
        state_dir: PathBuf,
    },
}

/// Runs the agent until it is told to stop, or prints the token.
pub fn run(
    command: AgentCommand,
    outer: &ClientArguments,
    environment: &Environment,
    output: &mut Output,
) -> Result<(), Failure> {
    match command {
        AgentCommand::Token { address, client } => {
            let client = Client::new(&client.over(outer), environment)?;
            let reply = client.read("GetAgentToken", &[parameter("address", address)])?;
            output.text(&format!("{}\n", reply["token"].as_str().unwrap_or_default())).context("print the token")?;
            Ok(())
        }
        agent => Ok(serve(agent)?),
    }
}

fn serve(command: AgentCommand) -> anyhow::Result<()> {
    log_to_stderr();
    switchback_agent::install_provider();
    let system = actix_web::rt::System::new();
    match command {
        AgentCommand::Token { .. } => {}
        AgentCommand::Host { listen, token_file, state_dir, prefix, netns } => {
            let token = std::fs::read_to_string(&token_file)
                .with_context(|| format!("read the token in `{}`", token_file.display()))?;
            let identity = switchback_agent::identity_of_token(&token)?;
            let options = HostOptions::new(listen, identity, state_dir, prefix);
            system.block_on(switchback_agent::run_host(HostOptions { namespace: netns, ..options }))?;
        }
        AgentCommand::Router { state_dir } => {
            system.block_on(switchback_agent::run_router(RouterOptions { state_dir }))?;
        }
    }
    Ok(())
}

/// Agents log to stderr: their parent decides where that goes.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_env_filter(filter);
    // A command that logs already keeps its own way.
    let _ = subscriber.try_init();
}
