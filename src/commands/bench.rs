//! `switchback bench`: see [`switchback::bench`].

use crate::output::Output;
use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use switchback::{
    bench::{
        allocate::{self, AllocateBench},
        commands::{self, CommandsBench, DoorBench},
        compare::{self, CompareBench},
        fleet::{self, FleetBench},
        query::{self, QueryBench},
        recover::{self, RecoverBench},
        replay::{self, ReplayBench},
        router::{self, RouterBench},
    },
    lab::LabName,
};

/// Which benchmark, and how.
#[derive(Args)]
pub struct BenchArguments {
    #[command(subcommand)]
    bench: Bench,
}

/// The benchmarks.
#[derive(Subcommand)]
enum Bench {
    /// Durable commits through the whole journal, beside raw writes of the same bytes with the same group commit.
    Journal {
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        place: Place,
    },
    /// The journal's workload on other stores: SQLite and redb, with group commit.
    Compare {
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        place: Place,
    },
    /// Addresses taken and given back inside the actor, in a /8 with many addresses used, beside the same with none.
    Allocate {
        /// Addresses in use before anything is measured.
        #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=8_000_000))]
        used: u32,
        /// How often an address is taken and given back.
        #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
        rounds: u32,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Commands end to end in one process, with simulated hosts and routers, beside the journal alone: a mix, and many
    /// VMs created.
    Commands {
        #[command(flatten)]
        load: Load,
        /// VMs that are created, each time.
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
        vms: u32,
        /// Only this measurement, beside the journal.
        #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(commands::MEASUREMENTS))]
        only: Option<String>,
        #[command(flatten)]
        place: Place,
    },
    /// A mix of commands through the gateway, over loopback, beside the same in one process.
    Http {
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        place: Place,
    },
    /// The same mix over NATS, over loopback: through the embedded listener and through a NATS server, beside the same in
    /// one process; and what a client that never reads takes from the others.
    Bus {
        #[command(flatten)]
        load: Load,
        /// Only this way in, beside the same in one process.
        #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(commands::WAYS_OF_BUS))]
        only: Option<String>,
        #[command(flatten)]
        place: Place,
    },
    /// The log folded from disk into inventories with their history and into a router's configuration, beside decoding
    /// it only.
    Replay {
        #[command(flatten)]
        log: Log,
        #[command(flatten)]
        place: Place,
    },
    /// Questions about many rows, now and at earlier positions, and how soon a write is seen by who made it, beside maps
    /// in memory.
    Query {
        /// Nics; there are half as many VMs, and so on.
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(400..=2_000_000))]
        rows: u64,
        /// Events after all of them are there; as many as rows, if not given.
        #[arg(long, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
        events: Option<u64>,
        /// How long one client, and then 64, write and look for it.
        #[arg(long, default_value_t = 5.0, value_parser = seconds)]
        seconds: f64,
        /// Only the questions of this class, such as `firstPage`, or with this in their words; no own writes.
        #[arg(long)]
        only: Option<String>,
        /// The seed of the log.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        #[command(flatten)]
        place: Place,
    },
    /// From the start of a process until it would answer, with all that is kept beside the log and without it.
    Recover {
        #[command(flatten)]
        log: Log,
        #[command(flatten)]
        place: Place,
    },
    /// From a command to the router that does it, in a real namespace. Needs root.
    Router {
        /// DHCP entries of the router.
        #[arg(long, visible_alias = "dhcp-hosts", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
        entries: u32,
        /// EIPs of the router.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=60_000))]
        eips: u32,
        /// How often each single thing is measured.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        rounds: u32,
        /// The name of the lab that it makes and removes.
        #[arg(long, default_value = "bench")]
        name: LabName,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// From a restart of the server until all routers were told by it and found as they should be; and what one agent
    /// that hangs takes from the others. Agents over a kernel in memory, behind the real wire.
    Fleet {
        /// Routers, each with a guest network of its own.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=1000))]
        routers: u32,
        /// How often the server is restarted.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
        rounds: u32,
        /// How long routers are changed, twice without and twice beside an agent that hangs; 0 for not at all.
        #[arg(long, default_value_t = 5.0, value_parser = seconds_or_none)]
        seconds: f64,
        #[command(flatten)]
        place: Place,
    },
    /// Opens the log of `bench recover`, in a process of its own.
    #[command(hide = true)]
    Open {
        /// Where everything is.
        directory: PathBuf,
    },
}

/// What the clients do.
#[derive(Args)]
struct Load {
    /// Clients that each wait for their last commit.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    clients: u16,
    /// How long to measure, for each store.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
}

/// The log that is made for it.
#[derive(Args)]
struct Log {
    /// Events in the log.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    events: u64,
    /// The seed of the log.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Where it writes, and how it prints.
#[derive(Args)]
struct Place {
    /// A directory on the disk that is to be measured. What is written there is removed at the end.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    match seconds > 0.0 && seconds <= 3600.0 {
        true => Ok(seconds),
        false => Err("must be more than 0 and at most 3600".to_string()),
    }
}

fn seconds_or_none(text: &str) -> Result<f64, String> {
    if text.parse() == Ok(0.0) { Ok(0.0) } else { seconds(text) }
}

/// Runs the benchmark and prints its one object.
pub fn run(arguments: BenchArguments, output: &mut Output) -> anyhow::Result<()> {
    let mut note = |done: &str| output.note(done);
    let (figures, json) = match arguments.bench {
        Bench::Router { entries, eips, rounds, name, json } => {
            (router::run(&RouterBench { entries, eips, rounds, lab: name, binary: this_program()? }, &mut note)?, json)
        }
        Bench::Journal { load: Load { clients, seconds }, place } => {
            note("measuring the journal and a plain file");
            let scratch = Scratch::new(&place.dir)?;
            let measured = switchback_journal::bench::bench(usize::from(clients), seconds, &scratch.0)?;
            (serde_json::to_value(measured).context("write the figures")?, place.json)
        }
        Bench::Compare { load: Load { clients, seconds }, place } => {
            let scratch = Scratch::new(&place.dir)?;
            let bench = CompareBench { clients: usize::from(clients), seconds, directory: scratch.0.clone() };
            (compare::run(&bench, &mut note)?, place.json)
        }
        Bench::Allocate { used, rounds, json } => (allocate::run(&AllocateBench { used, rounds }, &mut note)?, json),
        Bench::Commands { load: Load { clients, seconds }, vms, only, place } => {
            let scratch = Scratch::new(&place.dir)?;
            let (clients, vms) = (usize::from(clients), vms as usize);
            let bench = CommandsBench { clients, seconds, vms, only, directory: scratch.0.clone() };
            (commands::run(&bench, &mut note)?, place.json)
        }
        Bench::Http { load: Load { clients, seconds }, place } => {
            let scratch = Scratch::new(&place.dir)?;
            let bench = DoorBench { clients: usize::from(clients), seconds, only: None, directory: scratch.0.clone() };
            (commands::http(&bench, &mut note)?, place.json)
        }
        Bench::Bus { load: Load { clients, seconds }, only, place } => {
            let scratch = Scratch::new(&place.dir)?;
            let bench = DoorBench { clients: usize::from(clients), seconds, only, directory: scratch.0.clone() };
            (commands::bus(&bench, &mut note)?, place.json)
        }
        Bench::Replay { log: Log { events, seed }, place } => {
            let scratch = Scratch::new(&place.dir)?;
            (replay::run(&ReplayBench { events, seed, directory: scratch.0.clone() }, &mut note)?, place.json)
        }
        Bench::Query { rows, events, seconds, only, seed, place } => {
            let scratch = Scratch::new(&place.dir)?;
            let events = events.unwrap_or(rows);
            let bench = QueryBench { rows, events, seconds, only, seed, directory: scratch.0.clone() };
            (query::run(&bench, &mut note)?, place.json)
        }
        Bench::Recover { log: Log { events, seed }, place } => {
            let scratch = Scratch::new(&place.dir)?;
            let bench = RecoverBench { events, seed, directory: scratch.0.clone(), binary: this_program()? };
            (recover::run(&bench, &mut note)?, place.json)
        }
        Bench::Fleet { routers, rounds, seconds, place } => {
            let scratch = Scratch::new(&place.dir)?;
            let bench = FleetBench { routers, rounds, seconds, directory: scratch.0.clone() };
            (fleet::run(&bench, &mut note)?, place.json)
        }
        Bench::Open { directory } => (recover::open(&directory)?, true),
    };
    if json {
        output.text(&format!("{figures:#}\n"))?;
    } else {
        let mut rows = Vec::new();
        add_rows("", &figures, &mut rows);
        output.rows(&rows, &["figure", "value"])?;
    }
    Ok(())
}

fn this_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("find this program")
}

/// A directory that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(parent: &Path) -> anyhow::Result<Scratch> {
        let directory = parent.join(format!("switchback-bench-{}", std::process::id()));
        std::fs::create_dir_all(&directory).with_context(|| format!("make `{}`", directory.display()))?;
        Ok(Scratch(directory))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A row for each figure, or for each group of figures that has no further groups in it.
fn add_rows(name: &str, value: &Value, rows: &mut Vec<Value>) {
    let is_single = |value: &Value| !value.is_object() && !value.is_array();
    match value {
        Value::Object(map) if name.is_empty() || !map.values().all(is_single) => {
            for (key, value) in map {
                // What a group is of names it.
                match value {
                    Value::String(_) if !name.is_empty() => {}
                    _ => add_rows(format!("{name} {}", words(key)).trim(), value, rows),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                let of = item["store"].as_str().or(item["query"].as_str()).unwrap_or_default();
                add_rows(&format!("{name}: {of}"), item, rows);
            }
        }
        Value::Object(map) => {
            let figures = map.iter().filter(|(_, value)| !value.is_string() || map.len() <= 2);
            let figures: Vec<String> = figures.map(|(key, value)| format!("{} {}", words(key), plain(value))).collect();
            rows.push(json!({"figure": name, "value": figures.join(", ")}));
        }
        value => rows.push(json!({"figure": name, "value": plain(value)})),
    }
}

/// A figure as people read it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(figure) if figure.abs() >= 100.0 => format!("{figure:.0}"),
            Some(figure) if figure.fract() != 0.0 => format!("{figure:.3}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// `eventsPerSecond` and `events_per_second` as `events per second`.
fn words(key: &str) -> String {
    let mut words = String::new();
    for letter in key.chars() {
        match letter {
            '_' => words.push(' '),
            letter if letter.is_ascii_uppercase() => {
                words.push(' ');
                words.push(letter.to_ascii_lowercase());
            }
            letter => words.push(letter),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_become_rows() {
        let figures = json!({
            "bench": "compare",
            "rawCommitsPerSecond": 2000.4,
            "rebuild": {"seconds": 7.75, "eventsPerSecond": 129013},
            "stores": [{"store": "SQLite", "rate": 5, "latencyMs": {"p50": 0.5}}, {"store": "JetStream", "note": "none"}],
        });
        let mut rows = Vec::new();
        add_rows("", &figures, &mut rows);
        let text = |row: &Value| format!("{} = {}", row["figure"].as_str().unwrap(), row["value"].as_str().unwrap());
        let expected = [
            "bench = compare",
            "raw commits per second = 2000",
            "rebuild = events per second 129013, seconds 7.750",
            "stores: SQLite latency ms = p50 0.500",
            "stores: SQLite rate = 5",
            "stores: JetStream = note none, store JetStream",
        ];
        assert_eq!(rows.iter().map(text).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_a_benchmark_writes_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(parent.path()).unwrap();
        std::fs::write(scratch.0.join("file"), "x").unwrap();
        drop(scratch);
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
