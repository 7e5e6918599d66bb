//! kill -9: a child appends under load from several threads and reports what was acknowledged; it is killed at
//! random moments, again and again on the same directory. Every acknowledged commit is found again.

mod common;

use common::*;
use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};
use switchback_events::*;
use switchback_journal::*;

const DIR: &str = "SWITCHBACK_CRASH_DIR";
const ROUND: &str = "SWITCHBACK_CRASH_ROUND";
const ROUNDS: usize = 10;
const THREADS: usize = 6;

/// Not a test of its own: the child of the test below, which does nothing when it is run without it.
#[test]
fn child_appends_until_it_is_killed() {
    let (Ok(dir), Ok(round)) = (std::env::var(DIR), std::env::var(ROUND)) else { return };
    let journal = open(Arc::new(SledStore::open(dir).unwrap()));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (journal, round) = (&journal, &round);
            scope.spawn(move || {
                for at in 0.. {
                    let command = format!("{round}/{thread}/{at}");
                    append_and_report(journal, thread, at, &command);
                }
            });
        }
    });
}

fn append_and_report(journal: &Journal, thread: usize, at: usize, command: &str) {
    let own = zone(&format!("zone {thread}"));
    let size = if at % 50 == 49 { 70_000 } else { at % 7 * 100 };
    let mut events = vec![(own, created(&"x".repeat(size)))];
    events.extend((0..at % 3).map(|_| (zone("shared"), created(command))));
    let mut next = proposal(command, events);
    next.reads = vec![(own, journal.version(own))];
    let commit = wait(append(journal, next).unwrap().durable()).unwrap();
    let line = format!("ack {} {} {command}\n", commit.events[0].position, commit.last_position());
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

#[test]
fn kill_9_at_any_moment_loses_no_acknowledged_commit() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: BTreeMap<Position, (Position, String)> = BTreeMap::new();
    for round in 0..ROUNDS {
        let acks = run_and_kill(dir.path(), round);
        assert!(!acks.is_empty(), "round {round} got nothing done");
        acknowledged.extend(acks);
        check(dir.path(), &acknowledged);
    }
    verify_dir(dir.path()).unwrap();
}

fn run_and_kill(dir: &Path, round: usize) -> Vec<(Position, (Position, String))> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_appends_until_it_is_killed", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut acks = Vec::new();
    let mut line = String::new();
    while acks.is_empty() && lines.read_line(&mut line).unwrap() > 0 {
        acks.extend(parse(&line));
        line.clear();
    }
    let killer = std::thread::spawn(move || {
        let random = RandomState::new().hash_one(0);
        std::thread::sleep(Duration::from_micros(random % 250_000));
        child.kill().unwrap();
        child.wait().unwrap();
    });
    while lines.read_line(&mut line).unwrap() > 0 {
        acks.extend(parse(&line));
        line.clear();
    }
    killer.join().unwrap();
    acks
}

/// A whole line of the child's report. The harness may put its own words before the first.
fn parse(line: &str) -> Option<(Position, (Position, String))> {
    let line = &line[line.find("ack ")?..];
    let mut words = line.strip_suffix('\n')?.split(' ').skip(1);
    Some((words.next()?.parse().ok()?, (words.next()?.parse().ok()?, words.next()?.to_string())))
}

fn check(dir: &Path, acknowledged: &BTreeMap<Position, (Position, String)>) {
    // Opening checks CRCs, chain, positions and versions.
    let journal = open(Arc::new(SledStore::open(dir).unwrap()));
    let verified = journal.verify(|_| {}).unwrap();
    assert_eq!(verified.head, journal.head());
    for (first, (last, command)) in acknowledged {
        let commit = journal.commit_at(*first).unwrap().unwrap_or_else(|| panic!("commit at {first} was lost"));
        assert_eq!(commit.provenance.command_id, CommandId(Id::of_name(command)));
        assert_eq!((commit.events[0].position, commit.last_position()), (*first, *last));
    }
    let shared = journal.read_stream(zone("shared"), 0).unwrap();
    for (version, (_, event)) in (1..).zip(&shared) {
        assert_eq!(event.version, version);
    }
    assert_eq!(shared.len() as Version, journal.version(zone("shared")));
    journal.close();
}
