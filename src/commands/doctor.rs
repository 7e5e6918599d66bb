//! `switchback doctor`: what a data directory holds and whether it is sound; `--rebuild` makes again what can be made
//! from the log.

use crate::{
    client::ClientArguments,
    failure::{Exit, Failure},
    output::Output,
    progress::{bar, moves},
    views::count,
};
use clap::Args;
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use switchback::node::{Progress, rebuild, unused_log};
use switchback_journal::{Inspection, inspect_dir};

/// Which directory, and what to do with it.
#[derive(Args)]
pub struct DoctorArguments {
    #[command(flatten)]
    client: ClientArguments,
    /// The data directory.
    #[arg(long, value_name = "DIR", default_value = "switchback-data", env = "SWITCHBACK_DATA")]
    data: PathBuf,
    /// Delete index checkpoint, snapshots and inventories, and make them again from the log.
    #[arg(long)]
    rebuild: bool,
}

/// Less free space than this is worth a warning.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// How a finding stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Ok,
    Warning,
    Bad,
}

/// What was found.
struct Findings(Vec<(Mark, &'static str, String)>);

impl Findings {
    fn add(&mut self, mark: Mark, check: &'static str, detail: impl Into<String>) {
        self.0.push((mark, check, detail.into()));
    }

    fn rows(&self) -> Vec<Value> {
        let row = |(mark, check, detail): &(Mark, &str, String)| {
            let mark = match mark {
                Mark::Ok => "ok",
                Mark::Warning => "warning",
                Mark::Bad => "BAD",
            };
            json!({"check": check, "result": mark, "found": detail})
        };
        self.0.iter().map(row).collect()
    }

    fn bad(&self) -> usize {
        self.0.iter().filter(|(mark, ..)| *mark == Mark::Bad).count()
    }
}

/// Runs it.
pub fn run(arguments: DoctorArguments, outer: &ClientArguments, output: &mut Output) -> Result<(), Failure> {
    let flags = arguments.client.over(outer);
    output.format = flags.format();
    flags.refuse_command_flags("doctor")?;
    flags.refuse_at("doctor")?;
    let data = &arguments.data;
    if arguments.rebuild {
        let bar = bar("folding");
        let rebuilt = rebuild(data, &moves(&bar));
        bar.finish_and_clear();
        output.note(&format!("index checkpoint and inventories made again, up to position {}", rebuilt?));
    }
    let bar = bar("verifying");
    let findings = examine(data, &moves(&bar));
    bar.finish_and_clear();
    let rows = findings.rows();
    let reply = json!({"data": data, "ok": findings.bad() == 0, "checks": rows});
    output.data(&reply, |output| output.rows(&rows, &["check", "result", "found"]))?;
    match findings.bad() {
        0 => Ok(()),
        bad => Err(Failure::new(Exit::Other, format!("`{}`: {} bad", data.display(), count_are(bad)))),
    }
}

fn count_are(bad: usize) -> String {
    if bad == 1 { "1 finding is".to_string() } else { format!("{bad} findings are") }
}

fn examine(data: &Path, progress: &Progress) -> Findings {
    let mut findings = Findings(vec![]);
    if !data.is_dir() {
        findings.add(Mark::Bad, "directory", format!("`{}` is no directory", data.display()));
        return findings;
    }
    open_to_others(&mut findings, "directory", data);
    match unused_log(data) {
        Ok((log, _lock)) => match inspect_dir(&log, |reached, upto| progress(reached, upto)) {
            Ok(inspection) => log_findings(&mut findings, &inspection),
            Err(broken) => findings.add(Mark::Bad, "log", broken.to_string()),
        },
        Err(error) if data.join("journal/db").is_file() => {
            findings.add(Mark::Warning, "log", format!("not read: {error}"));
        }
        Err(error) => findings.add(Mark::Bad, "log", error.to_string()),
    }
    for (check, file) in [
        ("token", "admin.token"),
        ("secrets key", "secrets.key"),
        ("head key", "journal/head.key"),
        ("authority", "pki/authority.key"),
    ] {
        let path = data.join(file);
        match path.exists() {
            true => open_to_others(&mut findings, check, &path),
            false => findings.add(Mark::Warning, check, format!("`{file}` is not there: the server makes a new one")),
        }
    }
    for (check, name) in [("snapshots", "snapshots"), ("inventories", "inventories.db")] {
        let bytes = size(&data.join(name));
        let found = if bytes == 0 { "none: made from the log".to_string() } else { format!("{} cached", short(bytes)) };
        findings.add(Mark::Ok, check, found);
    }
    if data.join("journal.draft").exists() {
        findings.add(Mark::Warning, "leftover", "`journal.draft` of a restore or import that did not end");
    }
    free_space(&mut findings, data);
    findings
}

fn log_findings(findings: &mut Findings, found: &Inspection) {
    let verified = &found.verified;
    let (events, commits) = (count(verified.head as usize, "event"), count(verified.commits as usize, "commit"));
    findings.add(Mark::Ok, "log", format!("{events} in {commits}; CRCs, chain, positions and versions hold"));
    findings.add(Mark::Ok, "head", switchback_appliance::hex(&verified.chain));
    let formats: Vec<String> =
        found.formats.iter().map(|(format, frames)| format!("{frames} of format {format}")).collect();
    findings.add(Mark::Ok, "frames", if formats.is_empty() { "none".to_string() } else { formats.join(", ") });
    let sealed = match found.segments.last() {
        None => "nothing is sealed".to_string(),
        Some(last) => {
            let bytes = found.segments.iter().map(|segment| segment.bytes).sum();
            format!("{}, {}, up to position {}", count(found.segments.len(), "segment"), short(bytes), last.last)
        }
    };
    findings.add(Mark::Ok, "sealed", sealed);
    match found.checkpoint {
        Some(position) => findings.add(Mark::Ok, "checkpoint", format!("indexes up to position {position}")),
        None if verified.head == 0 => findings.add(Mark::Ok, "checkpoint", "none of an empty log"),
        None => {
            findings.add(Mark::Warning, "checkpoint", "none of this log: the next start reads all of it");
        }
    }
    let heads = match found.heads.last() {
        None => "none".to_string(),
        Some(last) => format!("{}, the last at position {last}", found.heads.len()),
    };
    findings.add(Mark::Ok, "signed heads", heads);
}

/// Whether anybody but the owner may read what is secret.
fn open_to_others(findings: &mut Findings, check: &'static str, path: &Path) {
    match fs::metadata(path) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 == 0 => {
            findings.add(Mark::Ok, check, format!("`{}`, for its owner only", path.display()));
        }
        Ok(metadata) => {
            let (mode, of) = (metadata.permissions().mode() & 0o777, if metadata.is_dir() { "700" } else { "600" });
            let path = path.display();
            findings.add(Mark::Bad, check, format!("`{path}` has mode {mode:o}, others may look: chmod {of}"));
        }
        Err(error) => findings.add(Mark::Bad, check, format!("`{}`: {error}", path.display())),
    }
}

fn free_space(findings: &mut Findings, data: &Path) {
    match nix::sys::statvfs::statvfs(data) {
        Ok(space) => {
            #[allow(clippy::useless_conversion, reason = "the types differ between platforms")]
            let bytes = u64::from(space.blocks_available()) * u64::from(space.fragment_size());
            let mark = if bytes < FREE_BYTES_MIN { Mark::Warning } else { Mark::Ok };
            findings.add(mark, "free space", short(bytes));
        }
        Err(error) => findings.add(Mark::Warning, "free space", format!("not known: {error}")),
    }
}

/// The bytes of a file, or of all in a folder.
fn size(path: &Path) -> u64 {
    let Ok(metadata) = fs::metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    fs::read_dir(path).into_iter().flatten().flatten().map(|entry| size(&entry.path())).sum()
}

/// A number of bytes for people.
fn short(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
