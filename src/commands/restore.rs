//! `switchback restore`: a new data directory from backups, as of their end, a position or a time.

use crate::{
    client::ClientArguments,
    commands::copies::{file_failure, show_made},
    failure::Failure,
    moment,
    output::Output,
    progress::{bar, moves},
};
use clap::Args;
use std::path::{Path, PathBuf};
use switchback::node::{DataDir, KEYS, put_keys};
use switchback_journal::{Upto, restore_with};

/// What and where to.
#[derive(Args)]
pub struct RestoreArguments {
    #[command(flatten)]
    client: ClientArguments,
    /// The directories of the backup: the full one and those that continue it, in any order.
    #[arg(required = true)]
    backups: Vec<PathBuf>,
    /// The data directory to make.
    #[arg(long, value_name = "NEWDIR")]
    data: PathBuf,
    /// Only up to this moment, with all that was committed at it: a position, or a time: RFC 3339, `14:32`, `2h ago`.
    #[arg(long, value_name = "MOMENT", value_parser = moment::parse)]
    to: Option<String>,
}

/// Runs it.
pub fn run(arguments: RestoreArguments, outer: &ClientArguments, output: &mut Output) -> Result<(), Failure> {
    let flags = arguments.client.over(outer);
    output.format = flags.format();
    flags.refuse_command_flags("restore")?;
    flags.refuse_at("restore (which has --to)")?;
    let upto = arguments.to.as_deref().map_or(Ok(Upto::End), upto)?;
    let backups: Vec<&Path> = arguments.backups.iter().map(PathBuf::as_path).collect();
    for backup in &backups {
        std::fs::read_dir(backup).map_err(|error| file_failure("read the backup", backup, error))?;
    }
    let keys: Vec<PathBuf> = backups.iter().map(|backup| backup.join(KEYS)).filter(|keys| keys.is_dir()).collect();
    let bar = bar("restoring");
    let progress = moves(&bar);
    let data = DataDir::open(&arguments.data)?;
    let made = data.put_log(|log| {
        let made = restore_with(&backups, log, upto, |reached, upto| progress(reached, upto))?;
        anyhow::ensure!(made.head > 0, "restore: the backups hold nothing up to that moment");
        for keys in &keys {
            put_keys(keys, &data, log)?;
        }
        Ok(made)
    });
    bar.finish_and_clear();
    let made = made?;
    show_made(&made, &arguments.data, output)?;
    if keys.is_empty() {
        output.note("keys, certificates and tokens are not in the backup: the server makes new ones when it starts");
        output.note("hint: hosts must be given new tokens then; `switchback backup --keys` keeps the keys, too");
    }
    Ok(())
}

fn upto(text: &str) -> Result<Upto, Failure> {
    if let Ok(position) = text.parse() {
        return Ok(Upto::Position(position));
    }
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => Ok(Upto::Time(time.as_microsecond())),
        Err(error) => {
            Err(Failure::usage(format!("--to = `{text}`: a position, or a time such as 2026-11-20T14:32:00Z: {error}")))
        }
    }
}
