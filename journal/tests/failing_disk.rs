//! A disk that fails below the store: a write or a sync of the log that the kernel refuses makes the journal
//! read-only, with a clear word; reads go on, the sync is not tried again, and a new start takes commits. What fails
//! beside the log does not stop it. In no case is anything lost that was acknowledged, even if the power goes too.

mod common;

use common::{
    disk::{Disk, Unsynced},
    load::*,
    *,
};
use std::{path::Path, process::Command, time::Duration};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// Not a test of its own: the child of the tests below, which does nothing when it is run without them.
#[test]
fn child_appends_until_it_is_killed() {
    load::child();
}

/// Lets the `nth` call for `file` fail, `times` times, and logs it.
fn let_fail(disk: &Disk, child: &mut Command, call: &str, file: &str, nth: usize, errno: i32, times: usize) {
    child.env("DISK_FAIL", format!("{call} {file} {nth} {errno} {times}")).env("DISK_LOG", log_of(disk));
}

fn log_of(disk: &Disk) -> std::path::PathBuf {
    disk.dir().with_extension("log")
}

/// The lines of the disk's log so far; it begins anew.
fn take_log(disk: &Disk) -> Vec<String> {
    let text = std::fs::read_to_string(log_of(disk)).unwrap_or_default();
    let _ = std::fs::remove_file(log_of(disk));
    text.lines().map(str::to_string).collect()
}

/// Runs without faults until some more is acknowledged.
fn works_again(history: &mut History, dir: &Path) {
    let before = history.acknowledged();
    let child = history.child(dir);
    history.run(child, Kill::AfterAcknowledged(100, Duration::ZERO));
    assert!(history.acknowledged() >= before + 100);
    history.check(dir).unwrap();
}

/// Every client was told so, and the journal says why.
fn assert_read_only(end: &End, why: &str) {
    assert!(end.read_only.contains(why), "{end:?}");
    assert!(!end.refusals.is_empty() && end.refusals.iter().all(|refusal| refusal.contains("read-only")), "{end:?}");
}

#[test]
fn a_log_that_cannot_be_written_is_read_only_and_loses_nothing() {
    let mut random = Random::new(3);
    for round in 0..rounds(8, 80) {
        let (call, errno) = [("fdatasync", EIO), ("write", EIO), ("fdatasync", ENOSPC), ("write", ENOSPC)][round % 4];
        // The next call would go well; or space is gone for good.
        let times = if errno == EIO { 1 } else { 1_000_000 };
        let disk = Disk::new();
        let mut history = History::default();
        works_again(&mut history, &disk.dir());
        let mut child = history.child(&disk.dir());
        let_fail(&disk, &mut child, call, "db", 30 + random.below(300), errno, times);
        let power_goes = round % 8 > 3;
        if power_goes {
            disk.settle();
            disk.under(&mut child);
        } else {
            disk.failing_under(&mut child);
        }
        let end = history.run(child, Kill::Never);
        assert_read_only(&end, if call == "write" { "frames" } else { "sync frames" });
        let log = take_log(&disk);
        assert!(log.iter().any(|line| *line == format!("failed {call}")), "{log:?}");
        // A write may fail in a thread of the store's own, while what was written before it is being synced.
        let again = call == "fdatasync" && log.contains(&"fdatasync".to_string());
        assert!(!again, "the sync was tried again: {log:?}");
        let readable: usize = end.readable.trim_start_matches("Ok(").trim_end_matches(')').parse().unwrap();
        assert!(readable >= history.acknowledged(), "{readable} of {}", history.acknowledged());
        if power_goes {
            disk.lose_power(Unsynced::Torn(random.below(101)), &mut random);
        }
        history.check(&disk.dir()).unwrap_or_else(|wrong| panic!("round {round}, {call} {errno}: {wrong}"));
        works_again(&mut history, &disk.dir());
    }
}

#[test]
fn what_fails_beside_the_log_does_not_stop_it() {
    for (call, file) in
        [("write", "heads.jsonl"), ("write", "index.checkpoint"), ("write", "segments"), ("fsync", "segments")]
    {
        for times in [1, 1_000_000] {
            let disk = Disk::new();
            let mut history = History::default();
            // It is written when its turn comes, which may be after the kill: then the next child runs for longer.
            let failed = (0..20).any(|runs| {
                let mut child = history.child(&disk.dir());
                let_fail(&disk, &mut child, call, file, 3, ENOSPC, times);
                disk.failing_under(&mut child);
                history.run(child, Kill::AfterAcknowledged(300, Duration::from_millis(20) * runs));
                // What the next child sends again is known from what is found now.
                history.check(&disk.dir()).unwrap_or_else(|wrong| panic!("{call} {file} {times}: {wrong}"));
                take_log(&disk).iter().any(|line| *line == format!("failed {call}"))
            });
            assert!(failed, "{call} {file}");
            assert!(history.acknowledged() >= 300);
            works_again(&mut history, &disk.dir());
        }
    }
}
