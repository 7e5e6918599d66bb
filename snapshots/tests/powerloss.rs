//! Snapshots and a power loss: a child puts snapshots on a disk that keeps only what was synced, and at random a part
//! of what was not. Whatever is left, each snapshot is one that was put, or there is none; and new ones are kept.

#[path = "../../journal/tests/common/disk.rs"]
#[allow(dead_code)]
mod disk;
#[path = "../../journal/tests/common/random.rs"]
mod random;

use disk::{Disk, Unsynced};
use random::Random;
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};
use switchback_events::{Id, StreamKey, StreamKind, Version};
use switchback_snapshots::{Snapshot, Snapshots};

const DIR: &str = "SNAPSHOTS_DIR";
const SCHEMA: Id = Id([1; 16]);
const STREAMS: u64 = 8;
const LOSSES: u64 = 6;

fn stream(number: u64) -> StreamKey {
    StreamKey::new(StreamKind::Router, Id::of_name(&number.to_string()))
}

/// The state of a stream at a version: of a size and with bytes that follow from both.
fn snapshot(number: u64, version: Version) -> Snapshot {
    let mut random = Random::new(number * 1_000_003 + version);
    let bytes = (0..random.below(20_000)).map(|_| random.below(256) as u8).collect();
    Snapshot { version, position: version * 10 + number, bytes }
}

/// Not a test of its own: the child of the test below, which does nothing when it is run without it.
#[test]
fn child_puts_snapshots_until_it_is_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let snapshots = Snapshots::open(dir);
    for version in 1.. {
        for number in 0..STREAMS {
            snapshots.put(stream(number), SCHEMA, snapshot(number, version));
        }
        std::io::stdout().lock().write_all(b"@\n").unwrap();
    }
}

/// Runs the child until it has put each stream's snapshot `versions` times.
fn put_until_killed(disk: &Disk, dir: &Path, versions: usize) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child_puts_snapshots_until_it_is_killed", "--nocapture"]).env(DIR, dir);
    disk.under(&mut child);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let put = lines.map_while(Result::ok).filter(|line| line.contains('@')).take(versions).count();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(put, versions);
}

#[test]
fn a_power_loss_leaves_snapshots_that_were_put_or_none() {
    let mut random = Random::new(5);
    let (mut found, mut none) = (0, 0);
    for loss in 0..LOSSES {
        let disk = Disk::new();
        let dir = disk.dir().join("snapshots");
        for again in 0..2 {
            put_until_killed(&disk, &dir, 20 + random.below(80));
            let unsynced = if (loss, again) == (0, 0) { Unsynced::Lost } else { Unsynced::Torn(random.below(101)) };
            disk.lose_power(unsynced, &mut random);
        }
        let snapshots = Snapshots::open(&dir);
        for number in 0..STREAMS {
            match snapshots.get(stream(number), SCHEMA) {
                Some(left) => {
                    found += 1;
                    assert_eq!(left, snapshot(number, left.version), "loss {loss}");
                }
                None => none += 1,
            }
            snapshots.put(stream(number), SCHEMA, snapshot(number, 7));
            assert_eq!(snapshots.get(stream(number), SCHEMA), Some(snapshot(number, 7)));
        }
    }
    eprintln!("{found} snapshots were left, {none} were not");
}
