//! Network namespaces by name, as `ip netns` keeps them.

use super::name::LabName;
use anyhow::{Context, bail};
use nix::{
    mount::{MntFlags, umount2},
    sched::{CloneFlags, setns},
};
use std::{
    collections::BTreeSet,
    fs::File,
    io::{ErrorKind, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const DIRECTORY: &str = "/run/netns";

/// The file that stands for a namespace.
pub fn path(namespace: &str) -> PathBuf {
    Path::new(DIRECTORY).join(namespace)
}

/// The namespaces of a lab that there are now.
pub fn of_lab(lab: &LabName) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(DIRECTORY) else { return vec![] };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| lab.owns(name)).collect();
    names.sort();
    names
}

/// What tells a namespace from all others: device and inode of its file.
pub fn identity(file: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(file).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// The processes that run in any of these namespaces.
pub fn processes(namespaces: &[String]) -> Vec<i32> {
    let wanted: BTreeSet<_> = namespaces.iter().filter_map(|name| identity(&path(name))).collect();
    if wanted.is_empty() {
        return vec![];
    }
    let inside = |pid: &i32| {
        identity(Path::new(&format!("/proc/{pid}/ns/net"))).is_some_and(|identity| wanted.contains(&identity))
    };
    super::process::all().into_iter().filter(inside).collect()
}

/// Removes the name of a namespace. The namespace itself goes with its last process.
pub fn remove(namespace: &str) -> anyhow::Result<()> {
    let file = path(namespace);
    let deadline = Instant::now() + MOUNTING;
    loop {
        // Not a mount where `ip netns add` died half-way.
        let _ = umount2(&file, MntFlags::MNT_DETACH);
        match std::fs::remove_file(&file) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            // Busy: an `ip netns add` whose parent was killed has mounted it in between.
            Err(error) if error.kind() == ErrorKind::ResourceBusy && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error).with_context(|| format!("remove the namespace `{namespace}`")),
        }
    }
}

/// How long something may still be mounting a namespace that is to go.
const MOUNTING: Duration = Duration::from_secs(2);

/// Does `work` on a thread of its own inside the namespace whose file is `file`.
pub fn within<T: Send>(file: &Path, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
    let namespace = File::open(file).with_context(|| format!("open the namespace `{}`", file.display()))?;
    std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            setns(&namespace, CloneFlags::CLONE_NEWNET)?;
            Ok::<T, nix::Error>(work())
        });
        match worker.join() {
            Ok(done) => done.with_context(|| format!("enter the namespace `{}`", file.display())),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Runs lines of `ip` in one process, inside `namespace` where one is given.
pub fn ip_batch(namespace: Option<&str>, lines: &str) -> anyhow::Result<()> {
    let mut command = Command::new("ip");
    if let Some(namespace) = namespace {
        command.args(["-n", namespace]);
    }
    command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("start `ip`: is the package iproute2 installed?")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(lines.as_bytes()).context("write to `ip -batch`")?;
    }
    let done = child.wait_with_output().context("wait for `ip -batch`")?;
    if !done.status.success() {
        let problem = String::from_utf8_lossy(&done.stderr);
        bail!("`ip -batch` in {}: {}; its lines were:\n{lines}", namespace.unwrap_or("no namespace"), problem.trim());
    }
    Ok(())
}
