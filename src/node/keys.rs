//! The keys of a data directory, in a backup and back.
//!
//! **Invariant:** nobody but the owner can read a copy.

use super::DataDir;
use anyhow::Context;
use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// The folder of keys in a backup.
pub const KEYS: &str = "keys";
/// What signs the heads of the log; it is beside the log.
const HEAD_KEY: &str = "head.key";
/// What is at the top of a data directory.
const AT_TOP: [&str; 4] = ["admin.token", "admin.password", "secrets.key", "pki"];

/// Copies the keys of a data directory, which a server may have open: they are put in place whole.
///
/// # Errors
/// No data directory; files that cannot be read or written.
pub fn copy_keys(data: &Path, to: &Path) -> anyhow::Result<()> {
    let log = DataDir::at(data).journal();
    anyhow::ensure!(log.is_dir(), "`{}` is no data directory: it holds no log", data.display());
    make(to)?;
    for name in AT_TOP {
        copy(&data.join(name), &to.join(name))?;
    }
    copy(&log.join(HEAD_KEY), &to.join(HEAD_KEY))
}

/// Puts the keys of a backup into a new data directory, whose log is in `log`.
///
/// # Errors
/// Files that cannot be read or written.
pub fn put_keys(keys: &Path, data: &DataDir, log: &Path) -> anyhow::Result<()> {
    for name in AT_TOP {
        copy(&keys.join(name), &data.path().join(name))?;
    }
    copy(&keys.join(HEAD_KEY), &log.join(HEAD_KEY))
}

/// Copies a file or a folder; what is not there is left out.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let said = || format!("copy `{}` to `{}`", from.display(), to.display());
    if from.is_dir() {
        make(to)?;
        for entry in fs::read_dir(from).with_context(said)? {
            let name = entry.with_context(said)?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    let bytes = match fs::read(from) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        read => read.with_context(said)?,
    };
    let _ = fs::remove_file(to);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).with_context(said)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).with_context(said)
}

fn make(folder: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("make `{}`", folder.display()))
}
