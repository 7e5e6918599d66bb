//! Named network namespaces as `ip netns` keeps them: files under `/run/netns` that a namespace is mounted on.

use super::{KernelError, ProcessId, Result, Tell, process};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const DIRECTORY: &str = "/run/netns";
const NOTHING: Option<&str> = None;

/// The file of a namespace.
pub fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// The names of all namespaces.
pub fn list() -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(DIRECTORY) else { return Ok(Vec::new()) };
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// Makes a namespace.
pub fn add(name: &str) -> Result<()> {
    let failed = |detail: &dyn std::fmt::Display| KernelError::new(format!("add namespace {name}"), detail);
    share_directory().map_err(|error| failed(&error))?;
    let file = path(name);
    fs::OpenOptions::new().write(true).create_new(true).open(&file).map_err(|error| failed(&error))?;
    let made = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            mount(Some("/proc/thread-self/ns/net"), &file, NOTHING, MsFlags::MS_BIND, NOTHING)
        });
        thread.join().unwrap_or(Err(nix::Error::EIO))
    });
    if let Err(error) = made {
        let _ = fs::remove_file(&file);
        return Err(failed(&error));
    }
    Ok(())
}

/// Mount points under `/run/netns` must be shared, or a namespace removed here would live on in the mount
/// namespaces of the routers and VMs started before.
fn share_directory() -> nix::Result<()> {
    fs::create_dir_all(DIRECTORY).map_err(|_| nix::Error::EIO)?;
    let share = || mount(NOTHING, DIRECTORY, NOTHING, MsFlags::MS_SHARED | MsFlags::MS_REC, NOTHING);
    if share().is_ok() {
        return Ok(());
    }
    mount(Some(DIRECTORY), DIRECTORY, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)?;
    share()
}

/// Kills everything in a namespace, waits for it to be gone, and removes the namespace.
pub fn remove(name: &str) -> Result<()> {
    let file = path(name);
    if !file.exists() {
        return Ok(());
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let inhabitants = inhabitants(&file);
        if inhabitants.is_empty() {
            break;
        }
        for process in &inhabitants {
            let _ = process::tell(process, Tell::Kill);
        }
        if Instant::now() > deadline {
            return Err(KernelError::new(format!("remove namespace {name}"), "its processes do not die"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = umount2(&file, MntFlags::MNT_DETACH);
    fs::remove_file(&file).map_err(|error| KernelError::new(format!("remove namespace {name}"), error))
}

/// The processes whose network namespace is mounted on `file`.
fn inhabitants(file: &Path) -> Vec<ProcessId> {
    let Ok(wanted) = fs::metadata(file) else { return Vec::new() };
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let own = std::process::id();
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            let found = fs::metadata(format!("/proc/{pid}/ns/net"));
            found.is_ok_and(|found| found.ino() == wanted.ino() && found.dev() == wanted.dev())
        })
        .filter_map(process::identify)
        .collect()
}

/// Puts the namespace `from` in the place of `to`, and kills whatever runs in that.
pub fn rename(from: &str, to: &str) -> Result<()> {
    let (before, after) = (path(from), path(to));
    let failed = |detail: &dyn std::fmt::Display| KernelError::new(format!("rename namespace {from}"), detail);
    let number = |file: &Path| fs::metadata(file).map(|found| (found.dev(), found.ino())).ok();
    // Cut off after the second step, both names are of one namespace.
    if number(&before) != number(&after) {
        remove(to)?;
        fs::OpenOptions::new().write(true).create_new(true).open(&after).map_err(|error| failed(&error))?;
        if let Err(error) = mount(Some(&before), &after, NOTHING, MsFlags::MS_BIND, NOTHING) {
            let _ = fs::remove_file(&after);
            return Err(failed(&error));
        }
    }
    let _ = umount2(&before, MntFlags::MNT_DETACH);
    fs::remove_file(&before).map_err(|error| failed(&error))
}

/// Does something in a namespace, on a thread of its own.
pub fn within<T: Send>(name: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let inside = || {
        enter(name)?;
        work()
    };
    let failed = || KernelError::new(format!("work in namespace {name}"), "a panic");
    std::thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|_| Err(failed()))
}

/// Moves the calling thread, and sockets that it opens from now on, into a namespace.
pub fn enter(name: &str) -> Result<()> {
    let failed = |detail: &dyn std::fmt::Display| KernelError::new(format!("enter namespace {name}"), detail);
    let file = fs::File::open(path(name)).map_err(|error| failed(&error))?;
    setns(file, CloneFlags::CLONE_NEWNET).map_err(|error| failed(&error))
}
