//! Commits a second of the journal against a plain file, for 1, 64 and 512 clients.
//!   cargo run --release -p switchback-journal --example bench [--json] [--seconds N] [--clients N] [--dir DIR]
//!   … --recover COMMITS     fills a log, then opens it in processes of their own, with and without a checkpoint

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use switchback_journal::{
    Journal, Options, SledStore,
    bench::{bench, disk_bytes, fill},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut json, mut seconds, mut clients) = (false, 4.0, vec![1, 64, 512]);
    let mut dir = std::env::temp_dir().join(format!("switchback-bench-{}", std::process::id()));
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--json" => json = true,
            "--seconds" => seconds = value()?.parse()?,
            "--clients" => clients = vec![value()?.parse()?],
            "--recover" => return recover(value()?.parse()?, &dir.join("recover")),
            "--open" => return open(Path::new(&value()?)),
            "--dir" => dir = PathBuf::from(value()?),
            other => return Err(format!("unknown argument `{other}`").into()),
        }
    }
    for clients in clients {
        let own = dir.join(clients.to_string());
        std::fs::create_dir_all(&own)?;
        let result = bench(clients, seconds, &own)?;
        std::fs::remove_dir_all(&own)?;
        if json {
            println!("{}", serde_json::to_string(&result)?);
        } else {
            println!(
                "{clients:>4} clients: {:>9.0} commits/s, file {:>9.0}/s, ratio {:.2}, p50 {:.0} us, p99 {:.0} us, {:.0} B of {:.0} B a commit",
                result.commits_per_s,
                result.raw_commits_per_s,
                result.ratio,
                result.p50_us,
                result.p99_us,
                result.bytes_per_commit,
                result.record_bytes
            );
        }
    }
    Ok(())
}

fn recover(commits: u64, dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let journal = Journal::open(Arc::new(SledStore::open(dir)?), Options::default())?;
    let begin = Instant::now();
    fill(&journal, commits, 10_000)?;
    let rate = commits as f64 / begin.elapsed().as_secs_f64();
    journal.close();
    let disk = disk_bytes(dir)? as f64 / commits as f64;
    println!("{commits} commits, {rate:.0}/s in groups of 512, {disk:.0} B on disk each");
    for (name, remove) in [("with a checkpoint", false), ("without", true)] {
        if remove {
            std::fs::remove_file(dir.join("index.checkpoint"))?;
        }
        let child = std::process::Command::new(std::env::current_exe()?).arg("--open").arg(dir).output()?;
        print!("{name}: {}", String::from_utf8_lossy(&child.stdout));
    }
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

fn open(dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let begin = Instant::now();
    let journal = Journal::open(Arc::new(SledStore::open(dir)?), Options::default())?;
    let ready = begin.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let resident = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    println!(
        "ready at {} in {ready:.2} s, {}",
        journal.head(),
        resident.split_whitespace().collect::<Vec<_>>().join(" ")
    );
    Ok(())
}
