//! The node: one process with the log, the actors, the inventories and the reconcilers, wired together and put behind
//! the [`Bus`](switchback_bus::Bus).
//!
//! ```text
//!  gateway ──► Node (bus) ──► registry ──► journal ──► projections ──► Node (queries)
//!                                             └──────► reconcilers ──► Fleet ──► agents
//! ```

mod at_rest;
mod bus;
mod changes;
mod counters;
mod credentials;
mod data_dir;
mod diff;
mod doors;
mod events;
mod explain;
mod fleet;
mod history;
mod holders;
mod inventory;
mod keys;
mod measures;
mod reads;
mod rebuild;
mod replay;
mod secrets;
mod sessions;
mod signed_date;

pub use at_rest::{AtRest, Progress, locked as unused_log};
pub use credentials::Signed;
pub use data_dir::DataDir;
pub use doors::Doors;
pub use fleet::Fleet;
pub use keys::{KEYS, copy_keys, put_keys};
pub use rebuild::rebuild;

use anyhow::Context;
use history::{History, Inventories};
use secrets::Secrets;
use sessions::Sessions;
use std::{os::unix::fs::DirBuilderExt, path::Path, sync::Arc, time::Duration};
use switchback_actors::{
    States,
    entity::{Clock, SystemClock},
    reconcilers::Reconcilers,
    registry::Registry,
};
use switchback_agent::simulated::FleetOptions;
use switchback_appliance::Providers;
use switchback_bus::{Beside, ConfigEntry, GLOBAL_CONFIGS};
use switchback_events::{ADMIN_ACCOUNT, StreamKey, StreamKind};
use switchback_journal::{FrameStore, Journal, MemoryStore, Options, SledStore};
use switchback_projections::{ConfigDefault, Projections};
use switchback_snapshots::Snapshots;

/// How a node is started.
#[derive(Clone, Debug, Default)]
pub struct NodeOptions {
    /// All hosts and appliances are simulated in this process, real ones of the log included.
    pub simulate: bool,
    /// The network namespace that connections to agents start from; none: this process's own.
    pub agent_netns: Option<String>,
    /// How simulated hosts behave.
    pub simulation: FleetOptions,
    /// The backends of network services.
    pub providers: Providers,
}

/// A running node.
pub struct Node {
    journal: Journal,
    registry: Registry,
    projections: Projections,
    reconcilers: Arc<Reconcilers>,
    fleet: Arc<Fleet>,
    secrets: Arc<Secrets>,
    sessions: Sessions,
    commands: measures::Commands,
    writes: Arc<measures::Writes>,
    traffic: counters::Sums,
    /// What serves beside it.
    beside: parking_lot::Mutex<Vec<Arc<dyn Beside>>>,
    /// Where the reconcilers run.
    runtime: Option<tokio::runtime::Runtime>,
    /// Dropped last: the inventories of a node in memory are in a temporary folder.
    _scratch: Option<Scratch>,
}

/// A folder that goes with the node.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Scratch> {
        let folder = std::env::temp_dir().join(format!("switchback-{}", uuid::Uuid::now_v7().simple()));
        // Whatever is in it is as secret as the log.
        std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Scratch(folder))
    }
}

/// The values that every configuration begins with, as rows of the inventories.
fn config_defaults() -> Vec<ConfigDefault> {
    let default = |entry: &ConfigEntry| ConfigDefault {
        category: entry.category,
        name: entry.name,
        value: entry.default,
        description: entry.description,
    };
    GLOBAL_CONFIGS.iter().map(default).collect()
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Node {
    /// Opens the data directory and starts everything. Needs a current actix system.
    ///
    /// # Errors
    /// What could not be opened; the log is never repaired silently.
    pub fn open(directory: &DataDir, options: &NodeOptions) -> anyhow::Result<Node> {
        let store = SledStore::open(directory.journal())
            .with_context(|| format!("open the log in `{}`", directory.journal().display()))?;
        let snapshots = Snapshots::open(directory.snapshots());
        let fleet = Fleet::open(directory, options)?;
        let epoch = directory.next_epoch()?;
        let world = (fleet, options.providers.clone(), Secrets::open(directory)?);
        Node::start(Arc::new(store), snapshots, &directory.inventories(), world, epoch, Arc::new(SystemClock), None)
    }

    /// A node whose log is in memory, with simulated hosts: for tests and for a look. Needs a current actix system.
    ///
    /// # Errors
    /// A temporary folder or thread that cannot be made.
    pub fn in_memory(options: &NodeOptions) -> anyhow::Result<Node> {
        let scratch = Scratch::new()?;
        let fleet = Fleet::simulated(options);
        let store = Arc::new(MemoryStore::default());
        let inventories = scratch.0.join("inventories.db");
        let world = (fleet, options.providers.clone(), Secrets::in_memory()?);
        Node::start(store, Snapshots::memory(), &inventories, world, 1, Arc::new(SystemClock), Some(scratch))
    }

    fn start(
        store: Arc<dyn FrameStore>,
        snapshots: Snapshots,
        inventories: &Path,
        (fleet, providers, secrets): (Fleet, Providers, Secrets),
        epoch: u64,
        clock: Arc<dyn Clock>,
        scratch: Option<Scratch>,
    ) -> anyhow::Result<Node> {
        let writes: Arc<measures::Writes> = Arc::default();
        let store = Arc::new(measures::Measured::new(store, writes.clone()));
        let journal = Journal::open(store, Options::default()).context("open the log")?;
        let mut states = States::open(journal.clone(), snapshots).context("read the log")?.with_providers(providers);
        if journal.version(StreamKey::new(StreamKind::Account, ADMIN_ACCOUNT)) == 0 {
            states = states.with_admin_password(secrets.founding()?);
        }
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let registry = Registry::new(states.clone(), clock.clone(), threads);
        states.found(clock.now()).map_err(|error| anyhow::anyhow!("write the first events: {error}"))?;
        let sessions = Sessions::open(&states).context("read the sessions")?;
        let projections =
            Projections::open(inventories, journal.clone(), &config_defaults()).context("open the inventories")?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("reconcilers")
            .enable_all()
            .build()
            .context("start the reconcilers")?;
        let (fleet, secrets) = (Arc::new(fleet), Arc::new(secrets));
        let (sealed, known) = (secrets.clone(), states.clone());
        fleet.enclose(move |id| sealed.certificate(&known.get::<switchback_actors::Certificate>(id.0).ok()?.1));
        let (sealed, known) = (secrets.clone(), states.clone());
        fleet.enclose_passwords(move |vm, digest| {
            sealed.vm_password(vm, digest, &known.get::<switchback_actors::VmInstance>(vm.0).ok()?.1)
        });
        let reconcilers = {
            let _inside = runtime.enter();
            Reconcilers::start(registry.clone(), fleet.clone(), epoch)
        };
        let node = Node {
            journal,
            registry,
            projections,
            reconcilers,
            fleet,
            secrets,
            sessions,
            commands: measures::Commands::default(),
            writes,
            traffic: counters::Sums::default(),
            beside: parking_lot::Mutex::default(),
            runtime: Some(runtime),
            _scratch: scratch,
        };
        let lost = node.sealed_elsewhere().context("read the access keys")?;
        if lost > 0 {
            tracing::warn!(keys = lost, "access keys were sealed with another secrets.key: nobody comes in by them");
        }
        Ok(node)
    }

    /// From now on `part` is asked, too, whether the system is ready and what is measured.
    pub fn stand_beside(&self, part: Arc<dyn Beside>) {
        self.beside.lock().push(part);
    }

    /// The log.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The states that decisions stand on.
    pub fn states(&self) -> &States {
        self.registry.states()
    }

    /// The inventories.
    pub fn projections(&self) -> &Projections {
        &self.projections
    }

    /// The agents, as the node reaches them.
    pub fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    /// The past of this node.
    fn history(&self) -> History {
        History::new(self.journal.clone(), Inventories::Live(self.projections.clone()))
    }

    /// Stops the reconcilers, folds what is durable, and closes the log.
    pub fn close(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            self.reconcilers.stop();
            // A runtime may not be shut down on a thread that drives another one, and this may be one.
            let shutdown = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_millis(500)));
            let _ = shutdown.join();
            self.projections.stop();
            self.journal.clone().close();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}
