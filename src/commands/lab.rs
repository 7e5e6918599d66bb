//! `switchback lab`: see [`crate::lab`].

use clap::Subcommand;

/// The lab.
#[derive(Subcommand)]
pub enum LabCommand {
    /// Remove everything that a lab made.
    Down {},
}

/// Runs the command.
pub fn run(_command: LabCommand) -> anyhow::Result<()> {
    anyhow::bail!("not supported yet")
}
