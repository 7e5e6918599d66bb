//! The handle on the projections, and the thread that follows the log.
//!
//! ```text
//!  Journal::subscribe ──► follower: take what is there, fold, commit ──► waiters up to the position
//!                                          │
//!                                          ▼ WAL
//!                          reader connections ◄── query, get
//! ```
//! There is no linger: batches grow by themselves when commits come faster than they are folded. A follower that
//! starts far behind makes a whole database beside the old one first (`rebuild.rs`); queries are answered from the
//! old one, with its position, until then.

use crate::catalogue::Kind;
use crate::global_config::ConfigDefault;
use crate::query::{Query, QueryError, QueryReply};
use crate::readers::Readers;
use crate::rebuild::{self, RebuildError, Rebuilt, Step};
use crate::store::{Store, StoreError};
use crate::waiters::Waiters;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use switchback_events::{CommandId, Position};
use switchback_journal::{Journal, ReadError};

/// The most commits folded in one transaction.
pub(crate) const BATCH_COMMITS: usize = 10_000;
/// How long the follower sleeps at most before it looks whether it is to stop.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long the follower waits after a failure before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Fewer events than this are always folded commit by commit.
const REBUILD_EVENTS_MIN: Position = 50_000;
/// A rebuild of the whole log takes about as long as this part of it, folded commit by commit.
const REBUILD_SPEEDUP: u64 = 4;
/// How often a rebuild says how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// How long one query may run.
pub const QUERY_TIME_MAX: Duration = Duration::from_secs(10);

/// Why the projections could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database could not be made or read.
    #[error("open the projections")]
    Store(#[from] StoreError),
    /// The log could not be read.
    #[error("read the log")]
    Log(#[from] ReadError),
    /// No thread could be started.
    #[error("start the thread that follows the log")]
    Thread(#[source] std::io::Error),
}

/// How far the projections are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// What can be read. What the journal is ahead of it is the lag.
    pub position: Position,
    /// A rebuild under way.
    pub rebuild: Option<RebuildProgress>,
}

/// How far a rebuild is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RebuildProgress {
    /// The position up to which the log is folded.
    pub folded: Position,
    /// The position that will be readable in the end.
    pub target: Position,
    /// Whether all is folded, and the rows are being loaded and indexed: about as long again.
    pub loading: bool,
}

/// A cheap handle on the projections. The follower ends when the last handle is dropped or one is stopped.
#[derive(Clone)]
pub struct Projections {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    follower: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    readers: Readers,
    waiters: Waiters,
    stopping: AtomicBool,
    failure: Mutex<Option<String>>,
    rebuild: Mutex<Option<RebuildProgress>>,
}

/// What tests choose otherwise.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub query_time_max: Duration,
    pub rebuild_events_min: Position,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { query_time_max: QUERY_TIME_MAX, rebuild_events_min: REBUILD_EVENTS_MIN }
    }
}

impl Projections {
    /// Opens the database file at `path`, or makes it, and follows `journal` from the position it has reached. The
    /// configuration `defaults` are rows from the start; other defaults than last time mean a rebuild.
    pub fn open(path: &Path, journal: Journal, defaults: &[ConfigDefault]) -> Result<Projections, OpenError> {
        Projections::open_with(path, journal, defaults, Limits::default())
    }

    pub(crate) fn open_with(
        path: &Path,
        journal: Journal,
        defaults: &[ConfigDefault],
        limits: Limits,
    ) -> Result<Projections, OpenError> {
        rebuild::discard(path)?;
        let store = Store::open(path, defaults, &|position| command_at(&journal, position))?;
        let shared = Arc::new(Shared {
            readers: Readers::new(path, limits.query_time_max),
            waiters: Waiters::default(),
            stopping: AtomicBool::new(false),
            failure: Mutex::new(None),
            rebuild: Mutex::new(None),
        });
        shared.waiters.reach(store.position());
        let follower =
            Follower { shared: shared.clone(), journal, path: path.into(), defaults: defaults.to_vec(), limits };
        let thread = std::thread::Builder::new().name("projections".to_string());
        let thread = thread.spawn(move || follower.run(store)).map_err(OpenError::Thread)?;
        Ok(Projections { handle: Arc::new(Handle { shared, follower: Mutex::new(Some(thread)) }) })
    }

    /// Folds `journal` up to and with the commit that ends at `upto` into a new database file at `path`, and follows
    /// nothing: for looks at the past. `progress` is told each position reached.
    ///
    /// # Errors
    /// A log that cannot be read, or a database that cannot be made.
    pub fn replay(
        path: &Path,
        journal: &Journal,
        upto: Position,
        defaults: &[ConfigDefault],
        progress: &mut dyn FnMut(Position),
    ) -> Result<Projections, OpenError> {
        let mut store = Store::create(path, defaults)?;
        while store.position() < upto {
            let mut commits = journal.read(store.position(), BATCH_COMMITS)?;
            commits.retain(|commit| commit.last_position() <= upto);
            if commits.is_empty() {
                break;
            }
            store.fold(&commits)?;
            progress(store.position());
        }
        let shared = Arc::new(Shared {
            readers: Readers::new(path, QUERY_TIME_MAX),
            waiters: Waiters::default(),
            stopping: AtomicBool::new(true),
            rebuild: Mutex::new(None),
            failure: Mutex::new(None),
        });
        shared.waiters.reach(store.position());
        store.close()?;
        Ok(Projections { handle: Arc::new(Handle { shared, follower: Mutex::new(None) }) })
    }

    /// The position of the last event whose changes can be read. What the journal is ahead of it is the lag.
    pub fn position(&self) -> Position {
        self.handle.shared.waiters.reached()
    }

    /// How far the projections are, and a rebuild if there is one.
    pub fn progress(&self) -> Progress {
        Progress { position: self.position(), rebuild: *self.handle.shared.rebuild.lock() }
    }

    /// Waits until `position` can be read, at most for `timeout`, and tells the position reached.
    pub async fn wait_for(&self, position: Position, timeout: Duration) -> Position {
        self.handle.shared.waiters.wait_for(position, timeout).await
    }

    /// Answers a query. Blocks: call it where blocking is allowed.
    pub fn query(&self, query: &Query) -> Result<QueryReply, QueryError> {
        self.handle.shared.readers.answer(query)
    }

    /// The same where it need not wait for its turn; nothing where it would. For what is found by uuid, in some tens of
    /// microseconds.
    pub fn query_at_once(&self, query: &Query) -> Option<Result<QueryReply, QueryError>> {
        self.handle.shared.readers.answer_at_once(query)
    }

    /// The inventory `uuid` of `kind`, now or at a position. Blocks.
    pub fn get(&self, kind: &'static Kind, uuid: &str, at: Option<Position>) -> Result<Option<Value>, QueryError> {
        let query = Query { at, limit: Some(1), ..Query::new(kind).with(format!("uuid={uuid}")) };
        Ok(self.query(&query)?.rows().pop())
    }

    /// Why the fold does not get on, if so. It keeps trying.
    pub fn failure(&self) -> Option<String> {
        self.handle.shared.failure.lock().clone()
    }

    /// Ends the follower, for all handles, and leaves a database that the next start goes on with. Reading goes on.
    pub fn stop(&self) {
        self.handle.stop();
    }
}

impl Handle {
    fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        if let Some(follower) = self.follower.lock().take()
            && follower.join().is_err()
        {
            tracing::error!("the thread that folds the projections panicked");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Follower {
    shared: Arc<Shared>,
    journal: Journal,
    path: std::path::PathBuf,
    defaults: Vec<ConfigDefault>,
    limits: Limits,
}

/// The command whose durable commit holds `position`. A log that cannot be read there is another one for our
/// purpose: the follower meets the error itself.
fn command_at(journal: &Journal, position: Position) -> Option<CommandId> {
    Some(journal.commit_at(position).ok()??.provenance.command_id)
}

/// Why the follower stopped following.
enum Halt {
    /// It was told to, or the journal was closed.
    Ended,
    Journal(ReadError),
    Store(StoreError),
}

impl Follower {
    fn run(self, store: Store) {
        let mut store = self.caught_up_in_bulk(store);
        while let Some(current) = &mut store {
            match self.follow(current) {
                Halt::Ended => break,
                Halt::Journal(error) => self.failed(&error),
                Halt::Store(error) => {
                    self.failed(&error);
                    if error.is_corruption() {
                        store = self.start_over(store).and_then(|empty| self.caught_up_in_bulk(empty));
                    }
                }
            }
        }
        if let Some(Err(error)) = store.map(Store::close) {
            tracing::warn!(%error, "the projections could not be closed; they may be rebuilt at the next start");
        }
        self.shared.waiters.end();
    }

    fn follow(&self, store: &mut Store) -> Halt {
        let mut subscription = self.journal.subscribe(store.position());
        while !self.shared.stopping.load(Ordering::Acquire) {
            let commits = match subscription.next_blocking(BATCH_COMMITS, LOOK_AGAIN) {
                Ok(commits) if commits.is_empty() => continue,
                Ok(commits) => commits,
                Err(ReadError::Closed) => return Halt::Ended,
                Err(error) => return Halt::Journal(error),
            };
            match store.fold(&commits) {
                Ok(position) => {
                    self.shared.waiters.reach(position);
                    *self.shared.failure.lock() = None;
                }
                Err(error) => return Halt::Store(error),
            }
        }
        Halt::Ended
    }

    /// The store, or, where that is faster than to follow, a new one made from the whole log. None if it was told to
    /// stop when there was none.
    fn caught_up_in_bulk(&self, store: Store) -> Option<Store> {
        let (position, target) = (store.position(), self.journal.durable());
        let lag = target.saturating_sub(position);
        if lag < self.limits.rebuild_events_min || lag < target / REBUILD_SPEEDUP {
            return Some(store);
        }
        tracing::info!(path = %self.path.display(), position, target, "rebuilding the projections in bulk");
        let began = Instant::now();
        let built = self.build(target);
        *self.shared.rebuild.lock() = None;
        let why = match built {
            Ok(Some(Rebuilt { position, rows, versions })) => {
                let seconds = began.elapsed().as_secs_f64();
                tracing::info!(position, rows, versions, seconds, "the projections are rebuilt");
                match self.take_the_place(store) {
                    Ok(store) => return Some(store),
                    Err(error) => {
                        self.failed(&error);
                        return self.start_over(None);
                    }
                }
            }
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if let Some(error) = why {
            tracing::warn!(error = %chain(&error), "failed to rebuild in bulk: folding commit by commit");
        }
        if let Err(error) = rebuild::discard(&self.path) {
            tracing::warn!(error = %chain(&error), "an unfinished rebuild is left over");
        }
        Some(store)
    }

    fn build(&self, target: Position) -> Result<Option<Rebuilt>, RebuildError> {
        let mut progress = RebuildProgress { folded: 0, target, loading: false };
        let mut reported = Instant::now();
        rebuild::build_from(&self.path, &self.journal, target, &self.defaults, &mut |step| {
            match step {
                Step::Folded(folded) => progress.folded = folded,
                Step::Loading | Step::Finished | Step::Removed => progress.loading = true,
            }
            *self.shared.rebuild.lock() = Some(progress);
            if reported.elapsed() >= REPORT_EVERY {
                reported = Instant::now();
                let RebuildProgress { folded, target, loading } = progress;
                tracing::info!(folded, target, loading, "rebuilding the projections");
            }
            !self.shared.stopping.load(Ordering::Acquire)
        })
    }

    /// Goes on with the database that was made, in place of the `old` one.
    fn take_the_place(&self, old: Store) -> Result<Store, StoreError> {
        let store = self.shared.readers.without(|| {
            drop(old);
            rebuild::swap(&self.path, &mut |_| true)?;
            Store::open(&self.path, &self.defaults, &|position| command_at(&self.journal, position))
        })?;
        self.shared.waiters.reach(store.position());
        Ok(store)
    }

    /// Says so and waits a while.
    fn failed(&self, error: &dyn std::error::Error) {
        let text = chain(error);
        tracing::error!(error = text, "failed to fold the log into the projections");
        *self.shared.failure.lock() = Some(text);
        let mut left = RETRY_AFTER;
        while !left.is_zero() && !self.shared.stopping.load(Ordering::Acquire) {
            let nap = left.min(LOOK_AGAIN);
            std::thread::sleep(nap);
            left -= nap;
        }
    }

    /// An empty database in place of the damaged one; none if it was told to stop before that could be done.
    fn start_over(&self, damaged: Option<Store>) -> Option<Store> {
        tracing::warn!(path = %self.path.display(), "rebuilding the damaged projections");
        let mut damaged = damaged;
        while !self.shared.stopping.load(Ordering::Acquire) {
            let renewed = self.shared.readers.without(|| {
                drop(damaged.take());
                Store::create(&self.path, &self.defaults)
            });
            match renewed {
                Ok(store) => {
                    self.shared.waiters.reach(0);
                    return Some(store);
                }
                Err(error) => self.failed(&error),
            }
        }
        None
    }
}

/// The error and what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
