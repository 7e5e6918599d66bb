//! The processes of a lab: started in a session of their own with a log file, and found again after a crash by
//! the mark in their environment.

use super::{name::LabName, netns};
use anyhow::Context;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// The variable in the environment of each process of a lab.
pub const MARK: &str = "SWITCHBACK_LAB";

/// A process that the lab started.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Started {
    /// What it is: `server`, `host1`.
    pub what: String,
    /// Its id.
    pub pid: i32,
    /// When it started, in the kernel's ticks: another process may have the same id later.
    pub start_time: u64,
    /// Where its output goes.
    pub log: PathBuf,
}

impl Started {
    /// This process.
    pub fn this() -> Started {
        let pid = Pid::this().as_raw();
        let start_time = stat(pid).map_or(0, |(_, start)| start);
        Started { what: "owner".to_string(), pid, start_time, log: PathBuf::new() }
    }

    /// Whether it still runs.
    pub fn runs(&self) -> bool {
        stat(self.pid).is_some_and(|(state, start)| start == self.start_time && alive(state))
    }
}

/// Starts a program of the lab.
pub fn start(
    lab: &LabName,
    what: &str,
    namespace: Option<&str>,
    program: &Path,
    arguments: &[String],
    log: &Path,
) -> anyhow::Result<(Started, Child)> {
    let output = OpenOptions::new().create(true).append(true).mode(0o600).open(log);
    let output = output.with_context(|| format!("open the log `{}`", log.display()))?;
    // The child leads no process group yet, so `setsid` becomes the program without another fork.
    let mut command = Command::new("setsid");
    command.arg(program).args(arguments).env(MARK, lab.to_string()).env("NO_COLOR", "1").current_dir("/");
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let spawned = match namespace {
        Some(namespace) => netns::within(&netns::path(namespace), || command.spawn())?,
        None => command.spawn(),
    };
    let child = spawned.with_context(|| format!("start `setsid {}`", program.display()))?;
    let pid = i32::try_from(child.id()).expect("process ids are below 2^22");
    let start_time = stat(pid).map_or(0, |(_, start)| start);
    Ok((Started { what: what.to_string(), pid, start_time, log: log.to_path_buf() }, child))
}

/// Every process of the machine.
pub fn all() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return vec![] };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The processes of the lab that run now, this one excluded: all in its namespaces, all with its mark, and those
/// of `recorded` that still are who they were.
pub fn of_lab(lab: &LabName, recorded: &[Started]) -> BTreeSet<i32> {
    let mark = format!("{MARK}={lab}");
    let marked = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
    };
    let mut pids: BTreeSet<i32> = all().into_iter().filter(marked).collect();
    pids.extend(netns::processes(&netns::of_lab(lab)));
    pids.extend(recorded.iter().filter(|started| started.runs()).map(|started| started.pid));
    pids.remove(&Pid::this().as_raw());
    pids.retain(|pid| stat(*pid).is_some_and(|(state, _)| alive(state)));
    pids
}

/// Kills a process, and says whether there was one.
pub fn kill_hard(pid: i32) -> bool {
    kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok()
}

/// Its state and start time.
fn stat(pid: i32) -> Option<(char, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and brackets; what follows the last bracket does not.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// A zombie waits for its parent and does nothing more.
fn alive(state: char) -> bool {
    !matches!(state, 'Z' | 'X')
}

/// The last lines of a log.
pub fn tail(log: &Path, lines: usize) -> String {
    let text = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Runs a command to its end, or kills it after `limit`; answers its output as text.
pub fn run(mut command: Command, limit: Duration) -> anyhow::Result<(bool, String)> {
    let shown = format!("{command:?}");
    let mut wrapped = Command::new("timeout");
    wrapped.args(["-s", "KILL"]).arg(format!("{}s", limit.as_secs_f64())).arg(command.get_program());
    wrapped.args(command.get_args()).stdin(Stdio::null());
    command = wrapped;
    let done = command.output().with_context(|| format!("run {shown}"))?;
    let mut text = String::from_utf8_lossy(&done.stdout).into_owned();
    if !done.status.success() {
        text.push_str(&String::from_utf8_lossy(&done.stderr));
    }
    Ok((done.status.success(), text))
}
