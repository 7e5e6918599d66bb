//! `switchback bench`: see [`switchback::bench`].

use crate::output::Output;
use anyhow::Context;
use clap::{Args, Subcommand};
use switchback::{
    bench::router::{RouterBench, run as run_router},
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
        /// Clients that each wait for their last commit.
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
        clients: u16,
        /// How long to measure, for each of the two.
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
        /// Where to write; removed at the end. The disk of this directory is what is measured.
        #[arg(long, default_value = "switchback-bench")]
        dir: std::path::PathBuf,
        /// Print one JSON object: what is printed anyway.
        #[arg(long)]
        json: bool,
    },
    /// The log folded from disk into inventories with their history, beside decoding it only.
    Replay {
        /// Events in the log that is made for it.
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
        events: u64,
        /// The seed of the log.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Where to write; removed at the end.
        #[arg(long, default_value = "switchback-bench")]
        dir: std::path::PathBuf,
        /// Print one JSON object: what is printed anyway.
        #[arg(long)]
        json: bool,
    },
    /// From a command to the router that does it, in a real namespace. Needs root.
    Router {
        /// DHCP entries of the router.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
        entries: u32,
        /// How often each single thing is measured.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        rounds: u32,
        /// The name of the lab that it makes and removes.
        #[arg(long, default_value = "bench")]
        name: LabName,
        /// Print one JSON object: what is printed anyway.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the benchmark and prints its one object.
pub fn run(arguments: BenchArguments, output: &mut Output) -> anyhow::Result<()> {
    let figures = match arguments.bench {
        Bench::Router { entries, rounds, name, json: _ } => {
            let binary = std::env::current_exe().context("find this program")?;
            let bench = RouterBench { entries, rounds, lab: name, binary };
            run_router(&bench, &mut |done| output.note(done))?
        }
        Bench::Journal { clients, seconds, dir, json: _ } => within(&dir, || {
            anyhow::ensure!(
                seconds > 0.0 && seconds <= 3600.0,
                "--seconds {seconds}: must be more than 0 and at most 3600"
            );
            Ok(serde_json::to_value(switchback_journal::bench::bench(usize::from(clients), seconds, &dir)?)?)
        })?,
        Bench::Replay { events, seed, dir, json: _ } => within(&dir, || {
            output.note("writing the log, then measuring: minutes for a million events");
            Ok(serde_json::to_value(switchback_projections::bench::replay(&dir, events, seed)?)?)
        })?,
    };
    output.text(&format!("{}\n", serde_json::to_string_pretty(&figures)?))?;
    Ok(())
}

/// Makes a directory that was not there, and removes it after the work.
fn within<T>(dir: &std::path::Path, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    std::fs::create_dir(dir).with_context(|| format!("make `{}`, which must not be there yet", dir.display()))?;
    let done = work();
    std::fs::remove_dir_all(dir).with_context(|| format!("remove `{}`", dir.display()))?;
    done
}
