//! `bench commands`: commands end to end in one process (bus, actor, log, disk, reply) on a data centre of simulated
//! hosts and routers, with all that a server does meanwhile: inventories, reconcilers, pushes. The yardstick is what
//! the journal alone takes, measured in the same run.
//!
//! `bench http`: the same through the gateway over loopback, with that in process as its yardstick; `bench bus`: the same
//! over NATS.

mod client;
mod create;
mod mix;
mod site;

use super::{round, spread};
use anyhow::Context;
use client::{NatsServer, Way};
use serde_json::{Value, json};
use site::{Shape, Site};
use std::{path::PathBuf, time::Duration};
use switchback_bus::Wait;

/// What to measure.
#[derive(Clone, Debug)]
pub struct CommandsBench {
    /// Clients that each wait for their last command.
    pub clients: usize,
    /// How long the mix is measured.
    pub seconds: f64,
    /// How many VMs are created.
    pub vms: usize,
    /// Only this measurement, beside the journal.
    pub only: Option<String>,
    /// Where to write.
    pub directory: PathBuf,
}

/// The measurements, by their names in the figures.
pub const MEASUREMENTS: [&str; 6] =
    ["mix", "mixApplied", "create", "createApplied", "createOneNetwork", "createOneNetworkApplied"];

/// VMs that each client has before the mix begins.
const OWN_VMS: usize = 8;
/// What the reference publishes: this many VMs on simulated hosts, in so many seconds.
const REFERENCE: (u32, u32) = (10_000, 23 * 60);

/// Runs the benchmark; `progress` hears what is done.
///
/// # Errors
/// A node that cannot be opened; a command that was not carried out.
pub fn run(options: &CommandsBench, progress: &mut dyn FnMut(&str)) -> anyhow::Result<Value> {
    progress("measuring the journal alone");
    let yardstick = options.directory.join("journal");
    std::fs::create_dir_all(&yardstick).context("make the yardstick's directory")?;
    let journal = switchback_journal::bench::bench(options.clients, options.seconds.min(3.0), &yardstick)?;
    let mut figures = json!({
        "bench": "commands",
        "clients": options.clients,
        "journal": {
            "commitsPerSecond": journal.commits_per_s.round(),
            "p50Ms": round(journal.p50_us / 1e3),
            "p99Ms": round(journal.p99_us / 1e3),
        },
    });
    let wide = Shape { clusters: 10, hosts: 10, networks: 20 };
    // One network over all the hosts: the hard case, since each VM touches the one router's document.
    let single = Shape { networks: 1, ..wide };
    let wanted = |name: &str| options.only.as_deref().is_none_or(|only| only == name);
    for (name, shape, wait) in [("mix", wide, Wait::Durable), ("mixApplied", wide, Wait::Applied)] {
        if !wanted(name) {
            continue;
        }
        progress(&format!("{} clients, a mix of commands, wait={}", options.clients, word(wait)));
        let site = Site::build(&options.directory.join(name), shape, Way::Process, 1)?;
        let measured = site.block_on(mix::run(&site, options.clients, options.seconds, OWN_VMS, wait))?;
        site.close()?;
        figures[name] = measured.figures();
        figures[name]["ratio"] = json!(round(measured.per_second() / journal.commits_per_s));
    }
    for (name, shape, wait) in [
        ("create", wide, Wait::Durable),
        ("createApplied", wide, Wait::Applied),
        ("createOneNetwork", single, Wait::Durable),
        ("createOneNetworkApplied", single, Wait::Applied),
    ] {
        if !wanted(name) {
            continue;
        }
        let (vms, networks) = (options.vms, shape.networks);
        progress(&format!("{vms} VMs on {} hosts, networks: {networks}, wait={}", shape.host_count(), word(wait)));
        let site = Site::build(&options.directory.join(name), shape, Way::Process, 1)?;
        figures[name] = site.block_on(create::run(&site, options.clients, vms, wait))?;
        site.close()?;
    }
    let (vms, seconds) = REFERENCE;
    figures["reference"] = json!({"what": "10,000 VMs on simulated hosts, as published", "vmsPerSecond": round(f64::from(vms) / f64::from(seconds))});
    Ok(figures)
}

fn word(wait: Wait) -> &'static str {
    match wait {
        Wait::Durable => "durable",
        Wait::Applied => "applied",
    }
}

/// What to measure through a door, beside the same in process.
#[derive(Clone, Debug)]
pub struct DoorBench {
    /// Clients that each wait for their last command.
    pub clients: usize,
    /// How long each mix is measured.
    pub seconds: f64,
    /// Where to write.
    pub directory: PathBuf,
}

/// The site of a door's benchmark.
const BEHIND_DOORS: Shape = Shape { clusters: 10, hosts: 10, networks: 20 };
/// How often each way is measured, in turns: a machine that gets slower or faster meanwhile favours none.
const TURNS: usize = 2;
/// Clients that want all events and take none, where their effect on others is measured.
const SILENT: usize = 16;
const MIXES: [(&str, Wait); 2] = [("mix", Wait::Durable), ("mixApplied", Wait::Applied)];

/// Runs the mix of commands in process and over HTTP; `progress` hears what is done.
///
/// # Errors
/// A node that cannot be opened; a gateway that does not listen; a command that was not carried out.
pub fn http(options: &DoorBench, progress: &mut dyn FnMut(&str)) -> anyhow::Result<Value> {
    let mut figures = json!({"bench": "http", "clients": options.clients});
    for (name, wait) in MIXES {
        let ways = [(Way::Process, 0), (Way::Http, 0)];
        let [process, http] = in_turns(options, BEHIND_DOORS, (wait, TURNS), ways, progress)?;
        figures[name] = http.figures();
        figures[name]["inProcess"] = process.figures();
        figures[name]["ratio"] = json!(round(http.per_second() / process.per_second()));
    }
    Ok(figures)
}

/// The same over NATS: through the embedded listener, and through a server of NATS' own where its program is found; and what clients that never read take from
/// the others.
///
/// # Errors
/// As [`http`].
pub fn bus(options: &DoorBench, progress: &mut dyn FnMut(&str)) -> anyhow::Result<Value> {
    let mut figures = json!({"bench": "bus", "clients": options.clients});
    let mut ways = vec![Way::Listener];
    match NatsServer::is_there() {
        true => ways.push(Way::NatsServer),
        false => progress("there is no nats-server on the PATH: not measured through one"),
    }
    for way in ways {
        let mut rows = json!({});
        for (name, wait) in MIXES {
            let both = [(Way::Process, 0), (way, 0)];
            let [process, nats] = in_turns(options, BEHIND_DOORS, (wait, TURNS), both, progress)?;
            rows[name] = nats.figures();
            rows[name]["inProcess"] = process.figures();
            rows[name]["ratio"] = json!(round(nats.per_second() / process.per_second()));
        }
        let both = [(way, 0), (way, SILENT)];
        let [alone, beside] = in_turns(options, BEHIND_DOORS, (Wait::Durable, TURNS), both, progress)?;
        let p99 = |measured: &Measured| measured.figures()["ms"]["p99"].as_f64().unwrap_or_default();
        rows["silent"] = json!({
            "clients": SILENT, "ms": beside.figures()["ms"], "aloneMs": alone.figures()["ms"],
            "p99Ratio": round(p99(&beside) / p99(&alone)),
        });
        figures[way.key()] = rows;
    }
    Ok(figures)
}

/// The mix by each of `ways`, beside so many silent clients, in turns.
fn in_turns<const N: usize>(
    options: &DoorBench,
    shape: Shape,
    (wait, turns): (Wait, usize),
    ways: [(Way, usize); N],
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<[Measured; N]> {
    let mut sums = [(); N].map(|()| Measured::default());
    for turn in 0..turns {
        for (number, ((way, silent), sum)) in ways.into_iter().zip(&mut sums).enumerate() {
            let clients = options.clients;
            let beside = if silent > 0 { format!(", beside {silent} that never read") } else { String::new() };
            progress(&format!("{clients} clients, a mix of commands, {}, wait={}{beside}", way.word(), word(wait)));
            let directory = options.directory.join(format!("{}-{turn}-{number}", word(wait)));
            let site = Site::build(&directory, shape, way, clients)?;
            let silent = site.silent(silent)?;
            sum.add(site.block_on(mix::run(&site, clients, options.seconds, OWN_VMS, wait))?);
            drop(silent);
            site.close()?;
            std::fs::remove_dir_all(&directory).context("remove what was measured")?;
        }
    }
    Ok(sums)
}

/// How many times something was done, and how long each took.
#[derive(Default)]
struct Measured {
    times: Vec<Duration>,
    took: Duration,
    refused: usize,
}

impl Measured {
    fn add(&mut self, more: Measured) {
        self.times.extend(more.times);
        self.took += more.took;
        self.refused += more.refused;
    }

    fn per_second(&self) -> f64 {
        self.times.len() as f64 / self.took.as_secs_f64()
    }

    fn figures(&self) -> Value {
        json!({
            "commandsPerSecond": self.per_second().round(),
            "ms": spread(self.times.clone()),
            "refused": self.refused,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_measured_on_a_small_site() {
        let directory = tempfile::tempdir().unwrap();
        let shape = Shape { clusters: 2, hosts: 2, networks: 2 };
        let site = Site::build(directory.path(), shape, Way::Process, 1).unwrap();
        let mix = site.block_on(mix::run(&site, 4, 0.2, 2, Wait::Applied)).unwrap();
        assert!(!mix.times.is_empty());
        let created = site.block_on(create::run(&site, 4, 40, Wait::Durable)).unwrap();
        assert_eq!(created["vms"], 40, "{created:#}");
        assert!(created["vmsPerSecond"].as_f64().unwrap() > 10.0, "{created:#}");
        site.close().unwrap();
    }

    #[test]
    fn the_doors_are_measured_beside_the_process() {
        let shape = Shape { clusters: 2, hosts: 2, networks: 2 };
        let ways = [(Way::Process, 0), (Way::Http, 0), (Way::Listener, 3), (Way::NatsServer, 3)];
        let directory = tempfile::tempdir().unwrap();
        let options = DoorBench { clients: 4, seconds: 0.2, directory: directory.path().to_path_buf() };
        for (mix, wait) in MIXES {
            let measured = in_turns(&options, shape, (wait, 1), ways, &mut |_| ()).unwrap();
            let samples = measured.map(|measured| measured.times.len());
            assert!(samples.into_iter().all(|samples| samples > 0), "{mix}: {samples:?}");
        }
    }
}
