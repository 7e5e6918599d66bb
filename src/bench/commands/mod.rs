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

use super::{median_ratio, nats_server::NatsServer, round, spread};
use anyhow::Context;
use client::Way;
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

/// Ways in that `bench bus` measures, by their names in the figures.
pub const WAYS_OF_BUS: [&str; 2] = ["listener", "natsServer"];

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
        let measured =
            Measured(vec![site.block_on(mix::run(&site, options.clients, options.seconds, OWN_VMS, wait))?]);
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
    /// How long each mix is measured in each turn: as long as `bench commands` does, since commands get slower while all that
    /// follows from them catches up.
    pub seconds: f64,
    /// Only this way in.
    pub only: Option<String>,
    /// Where to write.
    pub directory: PathBuf,
}

/// The site of a door's benchmark.
const BEHIND_DOORS: Shape = Shape { clusters: 10, hosts: 10, networks: 20 };
/// How often each way is measured, in turns: a machine that gets slower or faster meanwhile favours none. What stands
/// beside the others is the median of the turns.
const TURNS: u32 = 5;
/// Clients that want all events and take none, where their effect on others is measured.
const SILENT: usize = 1;
const MIXES: [(&str, Wait); 2] = [("mix", Wait::Durable), ("mixApplied", Wait::Applied)];

/// A way in, and so many clients beside it that never read.
type Beside = (Way, usize);

/// Runs the mix of commands in process and over HTTP; `progress` hears what is done.
///
/// # Errors
/// A node that cannot be opened; a gateway that does not listen; a command that was not carried out.
pub fn http(options: &DoorBench, progress: &mut dyn FnMut(&str)) -> anyhow::Result<Value> {
    let mut figures = json!({"bench": "http", "clients": options.clients});
    for (name, wait) in MIXES {
        let measured = in_turns(options, BEHIND_DOORS, wait, &[(Way::Process, 0), (Way::Http, 0)], progress)?;
        let [process, http] = measured.as_slice() else { anyhow::bail!("two ways were measured") };
        figures[name] = http.beside(process);
    }
    Ok(figures)
}

/// The same over NATS: through the embedded listener, and through a server of NATS' own where its program is found; and
/// what a client that never reads takes from the others.
///
/// # Errors
/// As [`http`].
pub fn bus(options: &DoorBench, progress: &mut dyn FnMut(&str)) -> anyhow::Result<Value> {
    let mut figures = json!({"bench": "bus", "clients": options.clients});
    let wanted = |way: Way| options.only.as_deref().is_none_or(|only| only == way.key());
    let mut ways: Vec<Way> = [Way::Listener, Way::NatsServer].into_iter().filter(|way| wanted(*way)).collect();
    if !NatsServer::is_there() {
        progress("there is no nats-server on the PATH: not measured through one");
        ways.retain(|way| *way != Way::NatsServer);
    }
    for (name, wait) in MIXES {
        let silent = |way: &Way| (wait == Wait::Durable).then_some((*way, SILENT));
        let each = |way: &Way| [Some((*way, 0)), silent(way)].into_iter().flatten();
        let all: Vec<Beside> = std::iter::once((Way::Process, 0)).chain(ways.iter().flat_map(each)).collect();
        let measured = in_turns(options, BEHIND_DOORS, wait, &all, progress)?;
        let of = |wanted: Beside| all.iter().zip(&measured).find(|(way, _)| **way == wanted).map(|(_, found)| found);
        let process = of((Way::Process, 0)).context("a yardstick")?;
        for way in &ways {
            let alone = of((*way, 0)).context("a way in")?;
            figures[way.key()][name] = alone.beside(process);
            if let Some(silent) = of((*way, SILENT)) {
                let p99 = |turn: &Turn| spread(turn.times.clone())["p99"].as_f64().unwrap_or_default();
                figures[way.key()]["silent"] = json!({
                    "clients": SILENT,
                    "ms": silent.figures()["ms"],
                    "aloneMs": alone.figures()["ms"],
                    "p99Ratio": silent.ratio(alone, p99),
                });
            }
        }
    }
    Ok(figures)
}

/// The mix by each of `ways`, in turns.
fn in_turns(
    options: &DoorBench,
    shape: Shape,
    wait: Wait,
    ways: &[Beside],
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<Vec<Measured>> {
    let (clients, seconds) = (options.clients, options.seconds);
    let mut measured: Vec<Measured> = ways.iter().map(|_| Measured::default()).collect();
    for turn in 1..=TURNS {
        progress(&format!("{clients} clients, a mix of commands, wait={}: turn {turn} of {TURNS}", word(wait)));
        for (number, ((way, silent), measured)) in ways.iter().zip(&mut measured).enumerate() {
            let beside = if *silent > 0 { format!(", beside {silent} that never read") } else { String::new() };
            progress(&format!("  {}{beside}", way.word()));
            let directory = options.directory.join(format!("{}-{turn}-{number}", word(wait)));
            let site = Site::build(&directory, shape, *way, clients)?;
            let silent = site.silent(*silent)?;
            measured.add(site.block_on(mix::run(&site, clients, seconds, OWN_VMS, wait))?);
            drop(silent);
            site.close()?;
            std::fs::remove_dir_all(&directory).context("remove what was measured")?;
        }
    }
    Ok(measured)
}

/// What was done in one go.
#[derive(Default)]
struct Turn {
    /// How long each command took.
    times: Vec<Duration>,
    took: Duration,
    refused: usize,
}

impl Turn {
    fn per_second(&self) -> f64 {
        self.times.len() as f64 / self.took.as_secs_f64()
    }
}

/// What was done in all turns.
#[derive(Default)]
struct Measured(Vec<Turn>);

impl Measured {
    fn add(&mut self, turn: Turn) {
        self.0.push(turn);
    }

    fn per_second(&self) -> f64 {
        let took: Duration = self.0.iter().map(|turn| turn.took).sum();
        self.0.iter().map(|turn| turn.times.len()).sum::<usize>() as f64 / took.as_secs_f64()
    }

    fn figures(&self) -> Value {
        json!({
            "commandsPerSecond": self.per_second().round(),
            "ms": spread(self.0.iter().flat_map(|turn| turn.times.iter().copied()).collect()),
            "refused": self.0.iter().map(|turn| turn.refused).sum::<usize>(),
        })
    }

    /// The same with those of a yardstick.
    fn beside(&self, yardstick: &Measured) -> Value {
        let mut figures = self.figures();
        figures["inProcess"] = yardstick.figures();
        figures["ratio"] = json!(self.ratio(yardstick, Turn::per_second));
        figures
    }

    /// The median over the turns of a figure of each as a part of the yardstick's in the same turn.
    fn ratio(&self, yardstick: &Measured, figure: impl Fn(&Turn) -> f64) -> f64 {
        median_ratio(self.0.iter().zip(&yardstick.0).map(|(own, other)| (figure(own), figure(other))))
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
        let options = DoorBench { clients: 4, seconds: 0.1, only: None, directory: directory.path().to_path_buf() };
        for (mix, wait) in MIXES {
            let measured = in_turns(&options, shape, wait, &ways, &mut |_| ()).unwrap();
            let samples: Vec<usize> =
                measured.iter().flat_map(|way| way.0.iter().map(|turn| turn.times.len())).collect();
            assert!(
                samples.len() == 4 * TURNS as usize && samples.iter().all(|samples| *samples > 0),
                "{mix}: {samples:?}"
            );
        }
    }

    #[test]
    fn a_ratio_is_the_median_of_the_turns() {
        let turn = |millis| Turn {
            times: vec![Duration::from_millis(1); 10],
            took: Duration::from_millis(millis),
            refused: 0,
        };
        let [own, other] = [[20, 900, 40], [10, 10, 10]].map(|turns| Measured(turns.map(turn).into()));
        assert_eq!(own.ratio(&other, Turn::per_second), 0.25);
    }
}
