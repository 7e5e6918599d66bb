//! The `switchback` binary: parses the command line and calls the room that does the work.
//! Data goes to stdout, everything else to stderr; the exit code says what kind of failure it was.

mod commands;

use clap::{Parser, Subcommand};

/// A control plane for virtual networks that remembers everything.
#[derive(Parser)]
#[command(name = "switchback", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent of a host or of a router.
    #[command(subcommand)]
    Agent(commands::agent::AgentCommand),
    /// A data centre out of network namespaces on this machine.
    #[command(subcommand)]
    Lab(commands::lab::LabCommand),
}

fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Agent(command) => commands::agent::run(command),
        Command::Lab(command) => commands::lab::run(command),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
