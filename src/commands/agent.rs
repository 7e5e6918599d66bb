//! `switchback agent host` and `switchback agent router`.

use clap::Subcommand;
use std::path::PathBuf;

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
    },
    /// The agent of a router; started by the host's agent.
    Router {
        /// Where the host's agent put `bootstrap.json`.
        #[arg(long)]
        state_dir: PathBuf,
    },
}

/// Runs the agent until it is told to stop.
pub fn run(_command: AgentCommand) -> anyhow::Result<()> {
    anyhow::bail!("not supported yet")
}
