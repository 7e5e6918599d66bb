//! Running an agent from start to SIGTERM: engine, supervision, server. Called inside an actix system.

use crate::{
    bootstrap::{Bootstrap, Started},
    host::{HostEngine, HostSettings},
    kernel::{Kernel, KernelError, LinuxKernel, enter_namespace},
    router::{RouterEngine, RouterSettings},
    server::{self, ServeError},
    version::Build,
};
use actix_web::web::Data;
use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};
use switchback_appliance::{Identity, METADATA_PORT};
use switchback_events::HypervisorType;
use tokio::signal::unix::{SignalKind, signal};

/// How often the agents look after what they have started.
const TICK: Duration = Duration::from_millis(100);
/// How long a dnsmasq that died stays dead, so that it can be seen.
const RESTART_AFTER: Duration = Duration::from_secs(10);

/// How a host's agent is run.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Certificate, key and authority.
    pub identity: Identity,
    /// Where its files are.
    pub state_dir: PathBuf,
    /// The prefix of the names of namespaces.
    pub prefix: String,
    /// The network namespace to run in: of hosts that are namespaces themselves. To be entered here and not by
    /// `ip netns exec`, which hides the namespaces that the agent makes from the rest of the machine.
    pub namespace: Option<String>,
    /// The binary of routers' agents; none: this one.
    pub program: Option<PathBuf>,
    /// Its first arguments.
    pub arguments: Vec<String>,
}

impl HostOptions {
    /// Options with the defaults of the product: this binary's `agent router`.
    pub fn new(listen: SocketAddr, identity: Identity, state_dir: PathBuf, prefix: String) -> Self {
        let arguments = ["agent", "router"].map(str::to_string).to_vec();
        Self { listen, identity, state_dir, prefix, namespace: None, program: None, arguments }
    }
}

/// How a router's agent is run.
#[derive(Clone, Debug)]
pub struct RouterOptions {
    /// Where the host's agent put `bootstrap.json`.
    pub state_dir: PathBuf,
}

/// Why an agent ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file that it needs.
    #[error("read `{0}`")]
    File(PathBuf, #[source] io::Error),
    /// The machine.
    #[error("start the agent")]
    Kernel(#[from] KernelError),
    /// Its address or certificate.
    #[error("serve")]
    Serve(#[from] ServeError),
    /// While it served.
    #[error("serve")]
    Server(#[source] io::Error),
}

/// Runs the agent of a host until it is told to stop. Routers and VMs go on without it.
pub async fn run_host(options: HostOptions) -> Result<(), RunError> {
    if let Some(namespace) = &options.namespace {
        // Threads inherit it, and none has been started yet that matters here.
        enter_namespace(namespace)?;
    }
    let own = || std::env::current_exe().map_err(|error| RunError::File(PathBuf::from("/proc/self/exe"), error));
    let program = options.program.clone().map_or_else(own, Ok)?;
    let state_dir = absolute(&options.state_dir)?;
    let (prefix, arguments) = (options.prefix, options.arguments);
    let settings = HostSettings { state_dir, prefix, program, arguments, hypervisor: HypervisorType::KVM };
    let kernel: Arc<dyn Kernel> = Arc::new(LinuxKernel::new());
    let engine = HostEngine::open(kernel, settings, Arc::new(Build::own()))?;
    engine.restore();
    let engine = Data::new(engine);
    supervise(Arc::downgrade(&engine.clone().into_inner()), HostEngine::supervise);
    let server = server::host(options.listen, &options.identity, engine)?;
    tracing::info!(listen = %options.listen, "the host's agent serves");
    server.await.map_err(RunError::Server)
}

/// Runs the agent of a router until it is told to stop. Packets go on passing without it.
pub async fn run_router(options: RouterOptions) -> Result<(), RunError> {
    let state_dir = absolute(&options.state_dir)?;
    let bootstrap: Bootstrap = read(&state_dir.join(Bootstrap::FILE))?;
    let identity: Identity = read(&state_dir.join(&bootstrap.identity))?;
    let settings = RouterSettings {
        router: bootstrap.router,
        listen: Some(bootstrap.listen),
        state_dir: state_dir.clone(),
        restart_after: RESTART_AFTER,
    };
    let kernel: Arc<dyn Kernel> = Arc::new(LinuxKernel::new());
    let engine = Data::new(RouterEngine::open(kernel, settings, Arc::new(Build::own()))?);
    let restored = engine.restore();
    if let Err(error) = &restored {
        tracing::error!(%error, "the last good configuration cannot be applied; waiting for a new one");
    }
    supervise(Arc::downgrade(&engine.clone().into_inner()), RouterEngine::supervise);
    let server = server::router(bootstrap.listen, &identity, engine.clone())?;
    tracing::info!(listen = %bootstrap.listen, router = %bootstrap.router, "the router's agent serves");
    say(&engine, &state_dir, restored.err().map(|error| error.to_string()))?;
    // Without it packets pass, and names and addresses are given: VMs that ask get no answer.
    match server::metadata(METADATA_PORT, engine.clone()) {
        Ok(metadata) => drop(actix_web::rt::spawn(metadata)),
        Err(error) => tracing::error!(%error, "VMs cannot be told of themselves"),
    }
    let served = tokio::select! {
        served = server => served,
        told = told_to_stop() => told,
    };
    engine.stop();
    served.map_err(RunError::Server)
}

/// Leaves word of how the agent came up: whoever starts a second appliance of a router waits for it.
fn say(engine: &RouterEngine, state_dir: &Path, error: Option<String>) -> Result<(), RunError> {
    let found = engine.found();
    let started = Started { unwell: error.into_iter().chain(found.unwell).collect(), ..found };
    let path = state_dir.join(Started::FILE);
    let failed = |error| RunError::File(path.clone(), error);
    let fresh = path.with_extension("fresh");
    let text = serde_json::to_vec(&started).map_err(|error| failed(error.into()))?;
    fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &path)).map_err(failed)
}

/// Waits for SIGTERM or SIGINT.
async fn told_to_stop() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// Calls `look` every tick for as long as the engine lives.
fn supervise<E: Send + Sync + 'static>(engine: Weak<E>, look: fn(&E)) {
    std::thread::spawn(move || {
        while let Some(engine) = engine.upgrade() {
            look(&engine);
            drop(engine);
            std::thread::sleep(TICK);
        }
    });
}

fn absolute(path: &Path) -> Result<PathBuf, RunError> {
    let failed = |error| RunError::File(path.to_path_buf(), error);
    fs::create_dir_all(path).and_then(|()| path.canonicalize()).map_err(failed)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, RunError> {
    let failed = |error| RunError::File(path.to_path_buf(), error);
    serde_json::from_slice(&fs::read(path).map_err(failed)?).map_err(|error| failed(error.into()))
}
