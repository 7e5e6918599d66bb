//! Power loss: a child appends under load on a disk that keeps only what was synced, and at random a part of what was
//! not; it is killed, and the log is opened on what is left, again and again. Nothing that was acknowledged is lost.
//! Sealing, index checkpoints and signed heads happen all the while. A store that does not sync, and one that does
//! not sync directories, are found out by the same disk. `SWITCHBACK_FULL=1` takes the power 100 times.

mod common;

use common::{
    disk::{Disk, Unsynced},
    load::*,
    *,
};
use std::time::Duration;
use switchback_journal::verify_dir;

/// As many at once.
const LANES: usize = 2;
/// As often on the same directory.
const LOSSES: usize = 5;

/// Not a test of its own: the child of the tests below, which does nothing when it is run without them.
#[test]
fn child_appends_until_it_is_killed() {
    load::child();
}

#[test]
fn a_power_loss_takes_no_acknowledged_commit() {
    let losses = rounds(10, 100);
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            scope.spawn(move || {
                for at in (lane * LOSSES..losses).step_by(LANES * LOSSES) {
                    lose_power_again_and_again(at as u64);
                }
            });
        }
    });
}

fn lose_power_again_and_again(seed: u64) {
    let disk = Disk::new();
    let mut random = Random::new(seed);
    let mut history = History::default();
    for loss in 0..LOSSES {
        let mut child = history.child(&disk.dir());
        disk.under(&mut child);
        let when = if loss == 0 { Kill::AfterAcknowledged(300, Duration::ZERO) } else { Kill::at_random(&mut random) };
        history.run(child, when);
        let unsynced = if loss == 0 { Unsynced::Lost } else { Unsynced::Torn(random.below(101)) };
        disk.lose_power(unsynced, &mut random);
        if let Err(wrong) = history.check(&disk.dir()) {
            panic!("seed {seed}, loss {loss}, {when:?}, {unsynced:?}: {wrong}");
        }
    }
    history.assert_much_happened();
    verify_dir(&disk.dir()).unwrap();
    eprintln!("seed {seed}: {}", history.summary());
}

/// Runs until a power loss takes what was acknowledged from a disk that ignores `call`. Says what was found.
fn loss_without(call: &str) -> String {
    for seed in 0..10 {
        let disk = Disk::new();
        let mut random = Random::new(seed);
        let mut history = History::default();
        let mut child = history.child(&disk.dir());
        disk.under(&mut child);
        child.env("DISK_IGNORE", call);
        history.run(child, Kill::AfterAcknowledged(300, Duration::ZERO));
        disk.lose_power(Unsynced::Lost, &mut random);
        if history.acknowledged() > 0
            && let Err(wrong) = history.check(&disk.dir())
        {
            return wrong;
        }
    }
    panic!("nothing is lost when {call} does nothing");
}

#[test]
fn without_fdatasync_acknowledged_commits_are_lost() {
    let wrong = loss_without("fdatasync");
    assert!(wrong.contains("was acknowledged") || wrong.contains("is missing"), "{wrong}");
}

#[test]
fn without_syncs_of_directories_sealed_commits_are_lost() {
    let wrong = loss_without("fsync-dir");
    assert!(wrong.contains("was acknowledged") || wrong.contains("is missing"), "{wrong}");
}
