//! `switchback backup`: the log, and where asked the keys, into a directory, full the first time and then what came
//! since.

use crate::{
    asking::{Asked, Directory},
    client::{Client, ClientArguments, Environment},
    commands::copies::file_failure,
    failure::{Exit, Failure},
    output::Output,
    progress::{bar, moves},
    views::count,
};
use clap::Args;
use serde_json::{Value, json};
use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};
use switchback::node::{KEYS, copy_keys};
use switchback_bus::LogForm;
use switchback_journal::{Manifest, last_backup, receive_backup};

/// Where from and where to.
#[derive(Args)]
pub struct BackupArguments {
    #[command(flatten)]
    client: ClientArguments,
    /// The directory of the backup. One that has a backup is continued: only what came since is added.
    target: PathBuf,
    /// An earlier backup elsewhere, to be continued in TARGET.
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
    /// Back up a data directory that no server has open, instead of asking a server.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Also copy the keys of this data directory: they are secret, and in no backup otherwise.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
}

/// Runs it.
pub fn run(
    arguments: BackupArguments,
    outer: &ClientArguments,
    environment: &Environment,
    output: &mut Output,
) -> Result<(), Failure> {
    let flags = arguments.client.over(outer);
    output.format = flags.format();
    flags.refuse_command_flags("backup")?;
    flags.refuse_at("backup")?;
    let asked: Box<dyn Asked> = match &arguments.data {
        Some(_) if flags.server.is_some() => {
            return Err(Failure::usage("--data and --server: one of them is backed up"));
        }
        Some(data) => Box::new(Directory::open(data, moves(&bar("reading")))?),
        None => Box::new(Client::new(&flags, environment)?),
    };
    let target = &arguments.target;
    let last = |dir: &Path| last_backup(dir).map_err(|error| file_failure("read the backup", dir, error));
    let base = match (&arguments.base, last(target)?) {
        (Some(_), Some(_)) => {
            let failure = Failure::usage(format!("`{}` has a backup, which --base is not", target.display()));
            return Err(failure.hint("without --base it is continued; with --base name a new directory"));
        }
        (Some(base), None) => match last(base)? {
            None => return Err(Failure::usage(format!("--base = `{}`: there is no backup", base.display()))),
            last => last,
        },
        (None, last) => last,
    };
    let written = receive(&*asked, target, base.as_ref())?;
    if let Some(data) = &arguments.keys {
        copy_keys(data, &target.join(KEYS)).map_err(Failure::from)?;
    }
    show(written.as_ref(), base.as_ref(), target, output)?;
    if arguments.keys.is_none() && !target.join(KEYS).is_dir() {
        output.note("hint: keys, certificates and tokens are not in it; --keys DIR adds those of a data directory");
    }
    Ok(())
}

fn receive(asked: &dyn Asked, target: &Path, base: Option<&Manifest>) -> Result<Option<Manifest>, Failure> {
    let after = base.map_or(0, |base| base.last);
    let mut log = asked.log(LogForm::Frames, after)?;
    // Whatever is in it is as secret as the log.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(target);
    made.map_err(|error| file_failure("make", target, error))?;
    let bar = bar("backing up");
    bar.set_length(log.upto.saturating_sub(after));
    let received = receive_backup(&mut log.reader, target, base, |reached| bar.set_position(reached - after));
    bar.finish_and_clear();
    received.map_err(|error| file_failure("back up into", target, error))
}

fn show(
    written: Option<&Manifest>,
    base: Option<&Manifest>,
    target: &Path,
    output: &mut Output,
) -> Result<(), Failure> {
    let last = written.or(base);
    let Some(last) = last else {
        return Err(Failure::new(Exit::Other, "the log is empty: there is nothing to back up"));
    };
    let mut reply = json!({
        "target": target, "kind": if base.is_some() { "incremental" } else { "full" },
        "position": last.last, "hash": switchback_appliance::hex(&last.chain_after),
        "events": written.map_or(0, |written| written.last + 1 - written.first),
    });
    if let Some(written) = written {
        reply["bytes"] = json!(written.bytes);
    }
    output.data(&reply, |output| output.pairs(&reply))?;
    let events = reply["events"].as_u64().and_then(|events| usize::try_from(events).ok()).unwrap_or_default();
    output.note(&match (written, &reply["kind"]) {
        (None, _) => "nothing came since the last backup".to_string(),
        (Some(_), Value::String(kind)) => format!("{kind} backup of {}", count(events, "event")),
        _ => String::new(),
    });
    Ok(())
}
