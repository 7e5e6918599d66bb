//! The data directory: where things are in it, and what is made at first start.
//!
//! ```text
//!  journal/  snapshots/  inventories.db  pki/  epoch  published.json
//!  admin.token  admin.password  secrets.key (mode 0600)
//! ```
//! `snapshots`, `inventories.db` and `epoch` can be deleted; they are made again. Without `published.json` a NATS server that
//! keeps nothing gets the events from then on. `admin.password` is what the administrator's
//! account began with: whoever has read it, or changed the password, may delete it.

use anyhow::Context;
use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// A data directory that exists.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// Opens the directory, or makes it with mode 0700.
    ///
    /// # Errors
    /// A directory that cannot be made.
    pub fn open(path: &Path) -> anyhow::Result<DataDir> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(path).with_context(|| format!("make the data directory `{}`", path.display()))?;
        Ok(DataDir(path.to_path_buf()))
    }

    /// The directory as it is, for a look.
    pub(super) fn at(path: &Path) -> DataDir {
        DataDir(path.to_path_buf())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The log.
    pub fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    /// Snapshots of states.
    pub fn snapshots(&self) -> PathBuf {
        self.0.join("snapshots")
    }

    /// The inventories' database.
    pub fn inventories(&self) -> PathBuf {
        self.0.join("inventories.db")
    }

    /// The last event that a NATS server has confirmed.
    pub fn published(&self) -> PathBuf {
        self.0.join("published.json")
    }

    /// The certificate authority of the agents.
    pub fn pki(&self) -> PathBuf {
        self.0.join("pki")
    }

    /// Puts a log in place that `make` makes in the directory it is given: whole, or not at all.
    ///
    /// # Errors
    /// There is a log already; `make` failed; files that cannot be put in place.
    pub fn put_log<T>(&self, make: impl FnOnce(&Path) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let (log, draft) = (self.journal(), self.0.join("journal.draft"));
        anyhow::ensure!(!log.exists(), "`{}` holds a log already: name a directory without one", self.0.display());
        let put = || {
            if draft.exists() {
                fs::remove_dir_all(&draft).with_context(|| format!("remove `{}`", draft.display()))?;
            }
            let made = make(&draft)?;
            let renamed = fs::rename(&draft, &log).and_then(|()| fs::File::open(&self.0)?.sync_all());
            renamed.with_context(|| format!("put the log in place as `{}`", log.display()))?;
            Ok(made)
        };
        put().inspect_err(|_| drop(fs::remove_dir_all(&draft)))
    }

    /// The administrator's bearer token, made at first start.
    ///
    /// # Errors
    /// A file that cannot be read or made.
    pub fn admin_token(&self) -> anyhow::Result<String> {
        let path = self.0.join("admin.token");
        match fs::read_to_string(&path) {
            Ok(text) if text.trim().len() >= 32 => return Ok(text.trim().to_string()),
            Ok(_) => {
                anyhow::bail!("`{}` holds no token of 32 bytes or more: delete it to get a new one", path.display())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("read `{}`", path.display())),
        }
        let token = switchback_appliance::hex(&random()?);
        self.put("admin.token", format!("{token}\n"))?;
        Ok(token)
    }

    /// The password that the administrator's account begins with, made when it is first asked for.
    ///
    /// # Errors
    /// A file that cannot be read or made.
    pub fn admin_password(&self) -> anyhow::Result<String> {
        let path = self.0.join("admin.password");
        match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_string()),
            Ok(_) => anyhow::bail!("`{}` holds no password: delete it to get a new one", path.display()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("read `{}`", path.display())),
        }
        let password = switchback_appliance::hex(&random()?[..12]);
        self.put("admin.password", format!("{password}\n"))?;
        Ok(password)
    }

    /// The key of what this directory keeps of secrets, made when it is first asked for.
    ///
    /// # Errors
    /// A file that cannot be read or made.
    pub fn secrets_key(&self) -> anyhow::Result<[u8; 32]> {
        let path = self.0.join("secrets.key");
        match fs::read(&path) {
            Ok(bytes) => match bytes.try_into() {
                Ok(key) => return Ok(key),
                Err(_) => anyhow::bail!("`{}` holds no key of 32 bytes", path.display()),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("read `{}`", path.display())),
        }
        let key = random()?;
        self.put("secrets.key", key)?;
        Ok(key)
    }

    /// The number of this run of the server, one more than the last. Agents refuse an earlier one.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub fn next_epoch(&self) -> anyhow::Result<u64> {
        let path = self.0.join("epoch");
        let last: u64 = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().with_context(|| format!("`{}` holds no number", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error).with_context(|| format!("read `{}`", path.display())),
        };
        // Should the file be lost, time still goes up from run to run.
        let seconds = uuid::Timestamp::now(uuid::NoContext).to_unix().0;
        let next = (last + 1).max(seconds);
        self.put("epoch", next.to_string())?;
        Ok(next)
    }

    /// Puts a file in place whole or not at all, with mode 0600.
    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
        let (path, fresh) = (self.0.join(name), self.0.join(format!("{name}.new")));
        let _ = fs::remove_file(&fresh);
        write_new(&fresh, bytes.as_ref())
            .and_then(|()| fs::rename(&fresh, &path))
            .and_then(|()| fs::File::open(&self.0)?.sync_all())
            .with_context(|| format!("write `{}`", path.display()))
    }
}

fn random() -> anyhow::Result<[u8; 32]> {
    let mut random = [0; 32];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .context("read /dev/urandom")?;
    Ok(random)
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
