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
    let Bench::Router { entries, rounds, name, json: _ } = arguments.bench;
    let binary = std::env::current_exe().context("find this program")?;
    let bench = RouterBench { entries, rounds, lab: name, binary };
    let figures = run_router(&bench, &mut |done| output.note(done))?;
    output.text(&format!("{}\n", serde_json::to_string_pretty(&figures)?))?;
    Ok(())
}
