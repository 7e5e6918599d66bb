//! `switchback serve`: the server.

use super::bus;
use crate::{client::Environment, failure::Failure};
use anyhow::Context;
use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::{io::IsTerminal, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use switchback::{
    config::{Flags, Settings, Source},
    node::{DataDir, Doors, Node, NodeOptions},
};
use switchback_bus::InFlight;
use switchback_gateway::{Asked, Certificate, FixedTokens, Gateway, Limits, Options, Rates, Tokens};
use switchback_nats::{Remote, Service};

/// How to serve. What is not said here, the environment or the file says, or it is the default.
#[derive(Args, Default)]
pub struct ServeArguments {
    /// The configuration file; `switchback config default` prints one [env: SWITCHBACK_CONFIG].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything is kept; made if it is not there [env: SWITCHBACK_DATA] [default: switchback-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address and port of the HTTP interface [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Address and port for clients of NATS, or `off` [default: 127.0.0.1:4222].
    #[arg(long, value_name = "ADDRESS")]
    bus: Option<String>,
    /// Simulate all hosts and appliances in this process: no root needed.
    #[arg(long)]
    simulate: bool,
    /// Take commands and reads from this NATS server, too, and publish the events there.
    #[arg(long, value_name = "ADDRESS")]
    nats: Option<String>,
    /// The network namespace that connections to agents start from.
    #[arg(long, value_name = "NAME")]
    agent_netns: Option<String>,
    /// Log as JSON lines.
    #[arg(long)]
    log_json: bool,
}

impl ServeArguments {
    /// The settings that these flags say.
    fn flags(&self) -> Flags {
        let path = |path: &PathBuf| path.display().to_string();
        let said = [
            ("data", "directory", self.data.as_ref().map(path), "--data"),
            ("listen", "address", self.listen.map(|address| address.to_string()), "--listen"),
            ("bus", "address", self.bus.clone(), "--bus"),
            ("agents", "simulate", self.simulate.then(|| "true".to_string()), "--simulate"),
            ("bus", "nats", self.nats.clone(), "--nats"),
            ("agents", "netns", self.agent_netns.clone(), "--agent-netns"),
            ("log", "format", self.log_json.then(|| "json".to_string()), "--log-json"),
        ];
        said.into_iter().filter_map(|(section, key, value, flag)| Some((section, key, value?, flag))).collect()
    }
}

/// Serves until SIGTERM or SIGINT.
pub fn run(arguments: &ServeArguments, environment: &Environment) -> Result<(), Failure> {
    let configuration = super::config::load(arguments.config.as_deref(), environment, &arguments.flags())?;
    let settings = configuration.settings().map_err(super::config::failure)?;
    let given =
        configuration.rows().any(|(setting, _, source)| setting.name() == "bus.address" && *source != Source::Default);
    let certificate = super::config::certificate(&settings)?;
    let filter = tracing_subscriber::EnvFilter::new(&settings.log.filter);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(std::io::stderr().is_terminal());
    let log = log.with_writer(std::io::stderr);
    if settings.log.format == "json" {
        log.json().init();
    } else {
        log.init();
    }
    let files = open_files();
    tracing::debug!(files, "the most files and connections of this process");
    Ok(actix_web::rt::System::new().block_on(serve(&settings, given, certificate))?)
}

async fn serve(settings: &Settings, bus_given: bool, certificate: Option<Arc<Certificate>>) -> anyhow::Result<()> {
    let directory = DataDir::open(&settings.data.directory)?;
    let token = directory.admin_token()?;
    let options = NodeOptions {
        simulate: settings.agents.simulate,
        agent_netns: settings.agents.netns.clone(),
        ..NodeOptions::default()
    };
    let remote = bus::remote(&settings.bus, directory.published())?;
    let node = Arc::new(Node::open(&directory, &options)?);
    let mut doors = Doors::new(FixedTokens::new([(token, "admin")]), node.clone());
    let keys = doors.keys(&settings.bus.nkeys.0)?;
    let doors: Arc<dyn Tokens> = Arc::new(doors);
    let limits = Limits {
        body: settings.limits.body_bytes,
        body_time: Duration::from_secs(settings.limits.body_seconds),
        answer_time: Duration::from_secs(settings.limits.answer_seconds),
    };
    let rates = Rates {
        account_per_second: settings.limits.account_per_second,
        account_burst: settings.limits.account_burst,
        address_per_second: settings.limits.address_per_second,
        address_burst: settings.limits.address_burst,
    };
    let asked = Arc::new(Asked::new(rates));
    let in_flight = InFlight::new(settings.limits.requests);
    let service = Service::new(node.clone(), doors.clone(), asked.clone()).with_limits(bus::limits(&limits));
    let service = service.with_in_flight(in_flight.beside());
    let service = Arc::new(service);
    let gateway = Gateway::new(node.clone(), doors).with_limits(limits);
    let gateway = gateway.with_open_metrics(settings.metrics.open).with_asked(asked).with_in_flight(in_flight);
    let bus = bus::listen(settings, bus_given, &node, service.clone(), keys, certificate.as_deref())?;
    let listen = Options {
        listen: settings.listen.address,
        workers: settings.listen.workers,
        connections: settings.limits.connections,
        head: Duration::from_secs(settings.limits.head_seconds),
        stop: Duration::from_secs(settings.limits.stop_seconds),
        tls: certificate.clone(),
    };
    let listening = switchback_gateway::serve(listen, gateway.clone())
        .await
        .with_context(|| format!("listen on {}", settings.listen.address))?;
    for address in &listening.addresses {
        let (data, tls) = (settings.data.directory.display(), certificate.is_some());
        tracing::info!(%address, %data, tls, position = node.journal().durable(), "ready");
    }
    let remote = remote.map(|options| Remote::start(options, service.clone())).transpose()?;
    if let Some(remote) = &remote {
        node.stand_beside(remote.beside());
    }
    drop(service);
    let renewal = certificate.map(|certificate| actix_web::rt::spawn(renew(certificate)));
    let handle = listening.server.handle();
    let stop = async {
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            _ = term.recv() => {}
            interrupted = tokio::signal::ctrl_c() => interrupted?,
        }
        gateway.end_streams();
        let bus = async {
            if let Some(bus) = bus {
                bus.stop().await;
            }
        };
        // What is in flight needs this thread: nobody waits on it.
        let remote = async {
            if let Some(remote) = remote
                && tokio::task::spawn_blocking(|| remote.stop()).await.is_err()
            {
                tracing::error!("the bus did not stop in order");
            }
        };
        tokio::join!(handle.stop(true), bus, remote);
        Ok::<(), std::io::Error>(())
    };
    let (served, stopped) = tokio::join!(listening.server, stop);
    served.and(stopped).context("serve")?;
    if let Some(renewal) = renewal {
        renewal.abort();
    }
    if let Some(node) = Arc::into_inner(node) {
        node.close();
    }
    tracing::info!("stopped");
    Ok(())
}

/// Lets this process have as many files and connections open as the system allows it: shells begin with 1,024. The number.
fn open_files() -> u64 {
    let files = Resource::RLIMIT_NOFILE;
    match getrlimit(files) {
        Ok((soft, hard)) if soft < hard && setrlimit(files, hard, hard).is_ok() => hard,
        Ok((soft, _)) => soft,
        Err(_) => 0,
    }
}

/// How often the files of the certificate are looked at.
const LOOK_SECONDS: u64 = 10;

/// Takes over a new certificate, on SIGHUP and when its files have changed. One that is not right changes nothing.
async fn renew(certificate: Arc<Certificate>) {
    let Ok(mut hangup) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) else { return };
    loop {
        let told = tokio::time::timeout(Duration::from_secs(LOOK_SECONDS), hangup.recv()).await.is_ok();
        match certificate.renew(told) {
            Ok(true) => tracing::info!("the certificate was read again"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the certificate stays what it was"),
        }
    }
}
