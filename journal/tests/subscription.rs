//! Following the log: no gap between catching up and live, and an end when the journal is closed.

mod common;

use common::*;
use std::{sync::Arc, time::Duration};
use switchback_journal::*;

#[test]
fn subscribers_see_every_commit_once_whenever_they_start() {
    const COMMITS: u64 = 3_000;
    // A small memory, so that catching up reads frames and following reads recent commits.
    let journal = Journal::open(memory(), Options { max_pending: 100_000, recent: 16, ..Options::default() }).unwrap();
    std::thread::scope(|scope| {
        for start in [0, 1, 500, 2_999] {
            for max in [1, 7, 1_000] {
                let mut subscription = journal.subscribe(start);
                scope.spawn(move || {
                    wait(async {
                        let mut seen = start;
                        while seen < COMMITS {
                            for commit in subscription.next(max).await.unwrap() {
                                seen += 1;
                                assert_eq!(commit.events[0].position, seen);
                            }
                            assert_eq!(subscription.position(), seen);
                        }
                    });
                });
            }
        }
        let mut blocking = journal.subscribe(0);
        scope.spawn(move || {
            let mut seen = 0;
            while seen < COMMITS {
                for commit in blocking.next_blocking(64, Duration::from_secs(10)).unwrap() {
                    seen += 1;
                    assert_eq!(commit.events[0].position, seen);
                }
            }
        });
        for at in 0..COMMITS {
            append(&journal, proposal(&at.to_string(), vec![(zone("a"), created("a"))])).unwrap();
        }
    });
}

#[test]
fn a_subscriber_sees_nothing_before_it_is_durable() {
    let store = Arc::new(Faulty::default());
    let journal = open(store.clone());
    let mut subscription = journal.subscribe(0);
    let held = store.hold();
    append(&journal, proposal("1", vec![(zone("a"), created("a"))])).unwrap();
    assert_eq!(subscription.next_blocking(10, Duration::from_millis(30)).unwrap(), []);
    drop(held);
    assert_eq!(subscription.next_blocking(10, Duration::from_secs(10)).unwrap().len(), 1);
    assert_eq!(subscription.next_blocking(10, Duration::ZERO).unwrap(), []);
}

#[test]
fn closing_ends_subscriptions_after_the_last_commit() {
    let journal = open(memory());
    let mut waiting = journal.subscribe(0);
    let mut blocking = journal.subscribe(0);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            wait(async {
                while waiting.position() < 2 {
                    waiting.next(1).await.unwrap();
                }
                assert!(matches!(waiting.next(1).await, Err(ReadError::Closed)));
            });
        });
        scope.spawn(move || {
            while blocking.position() < 2 {
                blocking.next_blocking(1, Duration::from_secs(10)).unwrap();
            }
            assert!(matches!(blocking.next_blocking(1, Duration::from_secs(60)), Err(ReadError::Closed)));
        });
        append(&journal, proposal("1", vec![(zone("a"), created("a"))])).unwrap();
        append(&journal, proposal("2", vec![(zone("a"), created("a"))])).unwrap();
        journal.clone().close();
    });
}
