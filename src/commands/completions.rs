//! `switchback completions SHELL` and `switchback man`: made from the command line itself and the catalogue.

use crate::{failure::Failure, output::Output};
use clap::{Args, Command, ValueEnum};
use std::path::PathBuf;
use switchback_bus::messages;

/// `switchback completions`.
#[derive(Args)]
pub struct CompletionsArguments {
    /// For which shell.
    shell: Shell,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// `switchback man`.
#[derive(Args)]
pub struct ManArguments {
    /// Write a page for each command into this directory instead of the main page to stdout.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Writes the shell's script, which knows every command and every message.
pub fn completions(arguments: CompletionsArguments, line: Command, output: &mut Output) -> Result<(), Failure> {
    let outside = messages().filter(|message| !message.internal);
    let mut line = line.subcommands(outside.map(|message| Command::new(message.name).about(message.doc.trim())));
    let shell = match arguments.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = vec![];
    clap_complete::generate(shell, &mut line, "switchback", &mut script);
    Ok(output.text(&String::from_utf8_lossy(&script))?)
}

/// Writes manual pages.
pub fn man(arguments: ManArguments, line: Command, output: &mut Output) -> Result<(), Failure> {
    if let Some(directory) = arguments.directory {
        std::fs::create_dir_all(&directory)?;
        clap_mangen::generate_to(line, &directory)?;
        output.note(&format!("wrote the pages into `{}`", directory.display()));
        return Ok(());
    }
    let mut page = vec![];
    clap_mangen::Man::new(line).render(&mut page)?;
    Ok(output.text(&String::from_utf8_lossy(&page))?)
}
