//! The `switchback` binary: parses the command line and calls the room that does the work.
//! Data goes to stdout, everything else to stderr; the exit code says what kind of failure it was.

mod asking;
mod audit_views;
mod client;
mod commands;
mod completion;
mod explain_view;
mod failure;
mod manual;
mod moment;
mod naming;
mod output;
mod progress;
mod table;
#[cfg(test)]
mod tests;
mod views;
mod yaml;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use client::{ClientArguments, Environment};
use failure::Failure;
use output::Output;
use std::{ffi::OsString, process::ExitCode};

/// Commits are made on one thread and freed on another, which costs the system's allocator most of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A control plane for virtual networks that remembers everything.
#[derive(Parser)]
#[command(name = "switchback", version, after_help = AFTER_HELP, disable_help_subcommand = true)]
struct Arguments {
    #[command(flatten)]
    client: ClientArguments,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Messages: switchback <MessageName> key=value …
  switchback CreateZone name=lab
  switchback QueryVirtualRouterVm vmNics.ip=10.0.0.1 -o json
  switchback CreateL3Network name=web l2NetworkUuid=lan --dry-run
  `switchback messages` lists them, `switchback help NAME` shows one's parameters. A name will do for a uuid where one thing has it.

Exit codes: 0 done, 2 usage, 3 refused, 4 conflict, 5 not found, 6 not allowed, 7 timeout, 1 anything else.";

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve(commands::serve::ServeArguments),
    /// The server's configuration: its defaults, its values, what is wrong with it.
    #[command(subcommand)]
    Config(commands::config::ConfigCommand),
    /// Run the agent of a host or of a router.
    #[command(subcommand)]
    Agent(commands::agent::AgentCommand),
    /// A data centre out of network namespaces on this machine.
    #[command(subcommand)]
    Lab(commands::lab::LabCommand),
    /// Benchmarks, each with its yardstick.
    Bench(commands::bench::BenchArguments),
    /// What happened and who asked for it; whether the log is still what was written.
    Audit(commands::audit::AuditArguments),
    /// The log into a directory, while the server runs: full, and then what came since.
    Backup(commands::backup::BackupArguments),
    /// A new data directory from backups, as of their end, a position or a time.
    Restore(commands::restore::RestoreArguments),
    /// What a data directory holds and whether it is sound; caches made again.
    Doctor(commands::doctor::DoctorArguments),
    /// One virtual router: its configuration at any moment, its drift.
    Router(commands::router::RouterArguments),
    /// The messages that can be sent, and their parameters.
    Messages(commands::message::MessagesArguments),
    /// A completion script for a shell.
    Completions(commands::completions::CompletionsArguments),
    /// Manual pages.
    Man(commands::completions::ManArguments),
    /// How a command or a message is written.
    Help(commands::completions::HelpArguments),
    /// What a line may go on with, for the shells' scripts.
    #[command(hide = true)]
    Complete(commands::completions::CompleteArguments),
    /// Any message of the catalogue.
    #[command(external_subcommand)]
    Message(Vec<OsString>),
}

fn main() -> ExitCode {
    let (mut stdout, mut stderr) = (std::io::stdout(), std::io::stderr());
    let terminal = comfy_table::Table::new().width();
    // A pipe has all the room there is, unless somebody says otherwise.
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok().filter(|columns| *columns > 0);
    let mut output = Output::new(&mut stdout, &mut stderr, terminal.or_else(columns));
    if terminal.is_some() {
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        output = output.for_a_person(jiff::Zoned::now(), colours);
    }
    run(std::env::args_os().collect(), &Environment::of_process(), &mut output)
}

/// The flags that mean nothing where no server is asked.
const NO_SERVER: &[&str] = &["at", "server", "token", "ca_file", "dry_run", "reason", "idempotency_key", "no_wait"];

/// The command line as clap knows it. The client's flags may stand before the command or after it, but only where
/// something talks to a server: an agent has no `--dry-run`.
fn line() -> clap::Command {
    let hide = |names: &'static [&'static str]| {
        move |command: clap::Command| {
            names.iter().fold(command, |command, name| command.mut_arg(name, |argument| argument.hide(true)))
        }
    };
    Arguments::command()
        .mut_args(|argument| argument.global(false))
        .mut_subcommand("audit", hide(&["dry_run", "reason", "idempotency_key", "no_wait"]))
        .mut_subcommand("backup", hide(&["at", "dry_run", "reason", "idempotency_key", "no_wait"]))
        .mut_subcommand("restore", hide(NO_SERVER))
        .mut_subcommand("doctor", hide(NO_SERVER))
        .mut_subcommand("messages", hide(NO_SERVER))
        .mut_subcommand("help", hide(NO_SERVER))
        .mut_subcommand("config", |config| config.mut_subcommand("show", hide(NO_SERVER)))
}

fn run(words: Vec<OsString>, environment: &Environment, output: &mut Output) -> ExitCode {
    let parsed = line().try_get_matches_from(words).and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => return explain(&error, output),
    };
    match dispatch(arguments, environment, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn dispatch(arguments: Arguments, environment: &Environment, output: &mut Output) -> Result<(), Failure> {
    let outer = &arguments.client;
    match arguments.command {
        Command::Serve(arguments) => commands::serve::run(&arguments, environment),
        Command::Config(command) => commands::config::run(&command, outer, environment, output),
        Command::Agent(command) => commands::agent::run(command, outer, environment, output),
        Command::Lab(command) => Ok(commands::lab::run(command)?),
        Command::Bench(arguments) => Ok(commands::bench::run(arguments, output)?),
        Command::Audit(arguments) => commands::audit::run(arguments, outer, environment, output),
        Command::Backup(arguments) => commands::backup::run(arguments, outer, environment, output),
        Command::Restore(arguments) => commands::restore::run(arguments, outer, output),
        Command::Doctor(arguments) => commands::doctor::run(arguments, outer, output),
        Command::Router(arguments) => commands::router::run(arguments, outer, environment, output),
        Command::Messages(arguments) => commands::message::list(arguments, outer, output),
        Command::Help(arguments) => commands::completions::help(arguments, outer, line(), output),
        Command::Completions(arguments) => commands::completions::completions(arguments, output),
        Command::Complete(arguments) => commands::completions::complete(arguments, line(), environment, output),
        Command::Man(arguments) => commands::completions::man(arguments, line(), output),
        Command::Message(words) => {
            let known: Vec<String> = line().get_subcommands().map(|command| command.get_name().to_string()).collect();
            commands::message::run(words, outer, environment, &known, output)
        }
    }
}

/// What clap says: help and version are data, everything else is a wrong line.
fn explain(error: &clap::Error, output: &mut Output) -> ExitCode {
    let code = u8::try_from(error.exit_code()).unwrap_or(failure::Exit::Usage as u8);
    if error.use_stderr() {
        output.note(&error.to_string());
    } else if output.text(&error.to_string()).is_err() {
        return ExitCode::FAILURE;
    }
    ExitCode::from(code)
}
