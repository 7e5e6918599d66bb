//! kill -9: a child appends under load from several clients, to several streams a commit, with read sets, while
//! frames are sealed, heads signed and the index checkpointed; it is killed at random moments, when it opens the log
//! too, again and again on the same directory. Nothing that was acknowledged is lost, nothing is there that was not
//! sent, and what is sent again takes effect once. `SWITCHBACK_FULL=1` kills 1,000 times.

mod common;

use common::{load::*, *};
use std::time::Duration;
use switchback_journal::verify_dir;

/// As many at once.
const LANES: usize = 2;
/// As often on the same directory.
const KILLS: usize = 15;

/// Not a test of its own: the child of the test below, which does nothing when it is run without it.
#[test]
fn child_appends_until_it_is_killed() {
    load::child();
}

#[test]
fn kill_9_at_any_moment_loses_no_acknowledged_commit() {
    let kills = rounds(30, 1_000);
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            scope.spawn(move || {
                for at in (lane * KILLS..kills).step_by(LANES * KILLS) {
                    kill_again_and_again(at as u64, KILLS.min(kills - at));
                }
            });
        }
    });
}

fn kill_again_and_again(seed: u64, kills: usize) {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::new(seed);
    let mut history = History::default();
    for kill in 0..kills {
        let child = history.child(dir.path());
        let when = if kill == 0 { Kill::AfterAcknowledged(300, Duration::ZERO) } else { Kill::at_random(&mut random) };
        history.run(child, when);
        if let Err(wrong) = history.check(dir.path()) {
            panic!("seed {seed}, kill {kill}, {when:?}: {wrong}");
        }
    }
    if kills == KILLS {
        history.assert_much_happened();
        assert!(history.repeated > 0, "no command was in the log before it was sent again");
    }
    verify_dir(dir.path()).unwrap();
    eprintln!("seed {seed}: {}", history.summary());
}
