//! A data directory without a server: the same answers about the past, from a copy of the log.
//!
//! **Invariant:** nothing in the directory is changed. The log's database has no mode for reading only, so its
//! files are copied to a temporary folder, which goes with the reader, and what is sealed is linked there; a lock,
//! held meanwhile, keeps a server from starting, and says so where one is running.

use super::{
    DataDir, Scratch,
    history::{self, History, Inventories, blocking, verified},
};
use anyhow::Context;
use async_trait::async_trait;
use serde_json::Value;
use std::{
    fs::{self, File, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};
use switchback_bus::*;
use switchback_events::Position;
use switchback_journal::{Journal, Options, SledStore, verify_dir_with};
use switchback_projections::Projections;

/// The folder of what is sealed, in the log.
const SEGMENTS: &str = "segments";

/// Is told how far a long fold is: the position reached, and the one to reach.
pub type Progress = Arc<dyn Fn(Position, Position) + Send + Sync>;

/// A reader of a copy.
pub struct AtRest {
    history: History,
    /// Dropped last.
    _scratch: Arc<Scratch>,
}

/// Inventories that are folded when they are first asked for.
pub(super) struct Folded {
    scratch: Arc<Scratch>,
    progress: Progress,
    projections: OnceLock<Projections>,
}

impl AtRest {
    /// Copies the log of the data directory, and reads the copy.
    ///
    /// # Errors
    /// No data directory; a server that has it open; a log that is not what was written.
    pub fn open(directory: &Path, progress: Progress) -> anyhow::Result<AtRest> {
        let scratch = Arc::new(copy(directory)?);
        let log = scratch.0.join("journal");
        let store = SledStore::open(&log).context("open a copy of the log")?;
        // What is sealed is not in the copy, so nothing more is sealed.
        let options = Options { segment_bytes: u64::MAX, ..Options::default() };
        let journal = Journal::open(Arc::new(store), options).context("read the log")?;
        let folded = Folded { scratch: scratch.clone(), progress, projections: OnceLock::new() };
        let history = History::new(journal, Inventories::Folded(Arc::new(folded)));
        Ok(AtRest { history, _scratch: scratch })
    }

    /// Checks the log of a data directory from its first byte, as `VerifyAudit` answers; with `anchor`, a reply of
    /// `GetAuditHead` that was kept outside, also that the log still holds it.
    ///
    /// # Errors
    /// No data directory, a server that has it open, or an anchor that is none. A broken log is an answer.
    pub fn verify(directory: &Path, anchor: Option<&str>, progress: &Progress) -> anyhow::Result<Value> {
        let anchor = anchor.map(history::anchor).transpose().map_err(|refusal| anyhow::anyhow!(refusal.detail))?;
        let (log, _lock) = locked(directory)?;
        Ok(verified(verify_dir_with(&log, anchor.as_ref(), |reached, upto| progress(reached, upto))))
    }
}

impl Drop for AtRest {
    fn drop(&mut self) {
        self.history.journal().clone().close();
    }
}

impl Folded {
    /// The inventories of the whole log.
    pub(super) fn get(&self, journal: &Journal) -> Result<Projections, Refusal> {
        if let Some(projections) = self.projections.get() {
            return Ok(projections.clone());
        }
        let (path, upto) = (self.scratch.0.join("inventories.db"), journal.durable());
        let mut progress = |reached: Position| (self.progress)(reached, upto);
        let folded = Projections::replay(&path, journal, upto, &super::config_defaults(), &mut progress)
            .map_err(|error| Refusal::internal(format!("fold the log: {error}")))?;
        Ok(self.projections.get_or_init(|| folded).clone())
    }

    pub(super) fn progress(&self, reached: Position, upto: Position) {
        (self.progress)(reached, upto);
    }
}

#[async_trait]
impl Bus for AtRest {
    async fn command(&self, _request: CommandRequest) -> Result<CommandReply, Refusal> {
        Err(Refusal::not_supported("a command without a server").hint("a data directory at rest is only read"))
    }

    async fn query(&self, _: &Caller, request: QueryRequest) -> Result<QueryReply, Refusal> {
        self.history.query(request, None).await
    }

    async fn read(&self, _: &Caller, name: &str, parameters: Value) -> Result<Value, Refusal> {
        self.history.read(read(name, &parameters)?).await
    }

    async fn events(&self, _: &Caller, request: EventsRequest) -> Result<EventStream, Refusal> {
        self.history.stream(&request)
    }

    async fn head(&self) -> Position {
        self.history.journal().durable()
    }

    async fn log(&self, _: &Caller, form: LogForm, after: Position) -> Result<LogCopy, Refusal> {
        self.history.copy(form, after)
    }

    async fn ready(&self) -> Vec<(String, Result<String, String>)> {
        let head = self.history.journal().durable();
        vec![("journal".to_string(), Ok(format!("a copy, at position {head}")))]
    }
}

impl Inventories {
    pub(super) async fn folded(folded: &Arc<Folded>, journal: &Journal) -> Result<Projections, Refusal> {
        let (folded, journal) = (folded.clone(), journal.clone());
        blocking("fold the log", move || folded.get(&journal)).await
    }
}

/// The log of a data directory that no server has open, with the lock that keeps one from starting.
///
/// # Errors
/// No data directory, or a server that has it open.
pub fn locked(directory: &Path) -> anyhow::Result<(PathBuf, File)> {
    let log = DataDir::at(directory).journal();
    let database = log.join("db");
    let lock = match File::open(&database) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            anyhow::bail!("`{}` is no data directory: it holds no log (journal/db)", directory.display())
        }
        Err(error) => return Err(error).with_context(|| format!("read `{}`", database.display())),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok((log, lock)),
        Err(TryLockError::WouldBlock) => {
            anyhow::bail!("`{}` is in use: ask its server, without --data, or stop it first", directory.display())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("lock `{}`", database.display())),
    }
}

/// A copy of the log in a temporary folder.
fn copy(directory: &Path) -> anyhow::Result<Scratch> {
    let (log, _lock) = locked(directory)?;
    let scratch = Scratch::new().context("make a temporary folder")?;
    let copied = log.canonicalize().and_then(|log| copy_folder(&log, &scratch.0.join("journal"), false));
    copied.with_context(|| format!("copy `{}`", log.display()))?;
    Ok(scratch)
}

/// What is sealed never changes, and is most of a long log: it is linked.
fn copy_folder(from: &Path, to: &Path, sealed: bool) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&path, &copy, entry.file_name() == SEGMENTS)?;
        } else if sealed {
            std::os::unix::fs::symlink(path, copy)?;
        } else {
            fs::copy(path, copy)?;
        }
    }
    Ok(())
}
