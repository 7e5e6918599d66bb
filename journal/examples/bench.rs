//! Commits a second of the journal against a plain file, for 1, 64 and 512 clients.
//!   cargo run --release -p switchback-journal --example bench [--json] [--seconds N] [--clients N] [--dir DIR]

use std::path::PathBuf;
use switchback_journal::bench::bench;

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
