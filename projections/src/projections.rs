//! The handle on the projections, and the thread that follows the log.
//!
//! ```text
//!  Journal::subscribe ──► follower: take what is there, fold, commit ──► waiters up to the position
//!                                          │
//!                                          ▼ WAL
//!                          reader connections ◄── query, get
//! ```
//! There is no linger: batches grow by themselves when commits come faster than they are folded.

use crate::catalogue::Kind;
use crate::global_config::ConfigDefault;
use crate::query::{Query, QueryError, QueryReply};
use crate::readers::Readers;
use crate::store::{Store, StoreError};
use crate::waiters::Waiters;
use parking_lot::Mutex;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use switchback_events::Position;
use switchback_journal::{Journal, ReadError};

/// The most commits folded in one transaction.
const BATCH_COMMITS: usize = 10_000;
/// How long the follower sleeps at most before it looks whether it is to stop.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long the follower waits after a failure before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long one query may run.
pub const QUERY_TIME_MAX: Duration = Duration::from_secs(10);

/// Why the projections could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database could not be made or read.
    #[error("open the projections")]
    Store(#[from] StoreError),
    /// No thread could be started.
    #[error("start the thread that follows the log")]
    Thread(#[source] std::io::Error),
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
}

impl Projections {
    /// Opens the database file at `path`, or makes it, and follows `journal` from the position it has reached. The
    /// configuration `defaults` are rows from the start; other defaults than last time mean a rebuild.
    pub fn open(path: &Path, journal: Journal, defaults: &[ConfigDefault]) -> Result<Projections, OpenError> {
        Projections::open_with(path, journal, defaults, QUERY_TIME_MAX)
    }

    pub(crate) fn open_with(
        path: &Path,
        journal: Journal,
        defaults: &[ConfigDefault],
        time_max: Duration,
    ) -> Result<Projections, OpenError> {
        // A log that cannot be read there is another one for our purpose: the follower meets the error itself.
        let command_at = |position| Some(journal.commit_at(position).ok()??.provenance.command_id);
        let store = Store::open(path, defaults, &command_at)?;
        let shared = Arc::new(Shared {
            readers: Readers::new(path, time_max),
            waiters: Waiters::default(),
            stopping: AtomicBool::new(false),
            failure: Mutex::new(None),
        });
        shared.waiters.reach(store.position());
        let follower = Follower { shared: shared.clone(), journal, path: path.into(), defaults: defaults.to_vec() };
        let thread = std::thread::Builder::new().name("projections".to_string());
        let thread = thread.spawn(move || follower.run(store)).map_err(OpenError::Thread)?;
        Ok(Projections { handle: Arc::new(Handle { shared, follower: Mutex::new(Some(thread)) }) })
    }

    /// The position of the last event whose changes can be read. What the journal is ahead of it is the lag.
    pub fn position(&self) -> Position {
        self.handle.shared.waiters.reached()
    }

    /// Waits until `position` can be read, at most for `timeout`, and tells the position reached.
    pub async fn wait_for(&self, position: Position, timeout: Duration) -> Position {
        self.handle.shared.waiters.wait_for(position, timeout).await
    }

    /// Answers a query. Blocks: call it where blocking is allowed.
    pub fn query(&self, query: &Query) -> Result<QueryReply, QueryError> {
        self.handle.shared.readers.answer(query)
    }

    /// The inventory `uuid` of `kind`, now or at a position. Blocks.
    pub fn get(&self, kind: &'static Kind, uuid: &str, at: Option<Position>) -> Result<Option<Value>, QueryError> {
        let query = Query { at, limit: Some(1), ..Query::new(kind).with(format!("uuid={uuid}")) };
        Ok(self.query(&query)?.inventories.pop())
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
        let mut store = Some(store);
        while let Some(current) = &mut store {
            match self.follow(current) {
                Halt::Ended => break,
                Halt::Journal(error) => self.failed(&error),
                Halt::Store(error) => {
                    self.failed(&error);
                    if error.is_corruption() {
                        store = self.rebuild(store);
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

    /// Says so and waits a while.
    fn failed(&self, error: &dyn std::error::Error) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
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
    fn rebuild(&self, damaged: Option<Store>) -> Option<Store> {
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
