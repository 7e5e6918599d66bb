//! Appending and reading: order, versions, idempotence, refusals, and what is seen when.

mod common;

use common::*;
use std::{
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering},
};
use switchback_events::*;
use switchback_journal::*;

#[test]
fn positions_and_versions_are_contiguous_and_known_again_after_a_reopen() {
    let store = memory();
    let journal = open(store.clone());
    let (a, b) = (zone("a"), zone("b"));
    for round in 0..50 {
        let events = vec![(a, created("a")), (b, created("b")), (a, deleted())];
        let commit = append(&journal, proposal(&round.to_string(), events)).unwrap().commit;
        let places: Vec<_> = commit.events.iter().map(|event| (event.position, event.version)).collect();
        assert_eq!(
            places,
            [(round * 3 + 1, round * 2 + 1), (round * 3 + 2, round + 1), (round * 3 + 3, round * 2 + 2)]
        );
    }
    journal.close();
    let journal = open(store);
    assert_eq!((journal.head(), journal.durable()), (150, 150));
    assert_eq!((journal.version(a), journal.version(b), journal.version(zone("c"))), (100, 50, 0));
    assert_eq!(journal.streams(StreamKind::Zone), [a.id, b.id]);
    assert_eq!(journal.streams(StreamKind::Host), []);
    let versions: Vec<_> = journal.read_stream(a, 90).unwrap().iter().map(|(_, event)| event.version).collect();
    assert_eq!(versions, (91..=100).collect::<Vec<_>>());
    assert_eq!(journal.read(0, 1_000).unwrap().len(), 50);
    assert_eq!(journal.verify(|_| {}).unwrap().commits, 50);
    assert_eq!(journal.verify(|_| {}).unwrap().chain, journal.chain_head().1);
}

#[test]
fn a_commit_is_the_same_after_a_reopen() {
    let store = memory();
    let journal = open(store.clone());
    let cluster = StreamKey::new(StreamKind::Cluster, Id::of_name("cluster"));
    let mut wanted = proposal("one", vec![(zone("a"), created("a")), (cluster, cluster_in(zone("a")))]);
    wanted.reads = vec![(zone("a"), 0), (zone("other"), 0)];
    let commit = append(&journal, wanted).unwrap().commit;
    assert_eq!(commit.events[1].tags, [cluster.id, zone("a").id]);
    journal.close();
    assert_eq!(*open(store).read(0, 9).unwrap()[0], *commit);
}

#[test]
fn the_same_command_gets_the_same_answer_also_after_a_reopen() {
    let store = memory();
    let journal = open(store.clone());
    let once = append(&journal, proposal("one", vec![(zone("a"), created("a"))])).unwrap();
    assert!(!once.repeated);
    let again = |journal: &Journal| {
        let other = proposal("one", vec![(zone("b"), created("b"))]);
        let again = journal.append(other, || panic!("not asked"), |_| panic!("not sequenced")).unwrap();
        assert!(again.repeated);
        assert_eq!(again.commit, once.commit);
        assert_eq!(wait(again.durable()).unwrap(), once.commit);
        assert_eq!(journal.head(), 1);
    };
    again(&journal);
    journal.close();
    let journal = open(store);
    again(&journal);
    let id = once.commit.provenance.command_id;
    assert!(journal.lookup(id, Id::of_name("body")).unwrap().unwrap().repeated);
    assert!(journal.lookup(CommandId(Id::of_name("two")), Id::NIL).unwrap().is_none());
    journal.clone().close();
    again(&journal);
}

#[test]
fn the_same_command_id_with_another_body_is_refused() {
    let journal = open(memory());
    add(&journal, "one", zone("a"));
    let mut other = proposal("one", vec![(zone("a"), deleted())]);
    other.provenance.body = Id::of_name("another body");
    let (id, body) = (other.provenance.command_id, other.provenance.body);
    assert!(matches!(append(&journal, other), Err(AppendError::OtherBody(refused)) if refused == id));
    assert!(matches!(journal.lookup(id, body), Err(AppendError::OtherBody(_))));
}

#[test]
fn a_decision_on_moved_versions_is_refused() {
    let journal = open(memory());
    add(&journal, "one", zone("a"));
    for expected in [0, 2] {
        let mut late = proposal("late", vec![(zone("b"), created("b"))]);
        late.reads = vec![(zone("b"), 0), (zone("a"), expected)];
        match journal.append(late, || panic!("not asked"), |_| panic!("not sequenced")) {
            Err(AppendError::Conflict { stream, expected: read, actual }) => {
                assert_eq!((stream, read, actual), (zone("a"), expected, 1));
            }
            other => panic!("{other:?}"),
        }
    }
    let mut current = proposal("current", vec![(zone("b"), created("b"))]);
    current.reads = vec![(zone("a"), 1)];
    append(&journal, current).unwrap();
}

#[test]
fn what_cannot_be_appended_leaves_no_trace() {
    let journal = open(memory());
    let stale = journal.append(proposal("x", vec![(zone("a"), created("a"))]), || false, |_| panic!("not sequenced"));
    assert!(matches!(stale, Err(AppendError::Stale)));
    assert!(matches!(append(&journal, proposal("x", vec![])), Err(AppendError::Empty)));
    let wrong = proposal("x", vec![(StreamKey::new(StreamKind::Host, Id::of_name("h")), created("a"))]);
    assert!(matches!(append(&journal, wrong), Err(AppendError::Encode(EncodeError::Stream { .. }))));
    let huge = proposal("x", vec![(zone("a"), created(&"x".repeat(COMMIT_BYTES_MAX)))]);
    assert!(matches!(append(&journal, huge), Err(AppendError::Encode(EncodeError::TooLarge { .. }))));
    assert_eq!((journal.head(), journal.version(zone("a"))), (0, 0));
    assert_eq!(add(&journal, "x", zone("a")).events[0].position, 1);
}

#[test]
fn a_full_queue_is_busy_and_then_free_again() {
    let store = Arc::new(Faulty::default());
    let journal = Journal::open(store.clone(), Options { max_pending: 3, recent: 2, ..Options::default() }).unwrap();
    let held = store.hold();
    let waiting: Vec<_> =
        ["1", "2", "3"].map(|name| append(&journal, proposal(name, vec![(zone("a"), created(name))])).unwrap()).into();
    assert!(matches!(append(&journal, proposal("4", vec![(zone("a"), deleted())])), Err(AppendError::Busy)));
    assert!(append(&journal, proposal("2", vec![])).unwrap().repeated);
    drop(held);
    for appended in waiting {
        wait(appended.durable()).unwrap();
    }
    add(&journal, "4", zone("a"));
}

#[test]
fn a_stream_shows_what_is_sequenced_and_all_else_what_is_durable() {
    let store = Arc::new(Faulty::default());
    let journal = Journal::open(store.clone(), Options { recent: 0, ..Options::default() }).unwrap();
    add(&journal, "1", zone("a"));
    let held = store.hold();
    let pending = append(&journal, proposal("2", vec![(zone("a"), deleted()), (zone("b"), created("b"))])).unwrap();
    let versions =
        |after| journal.read_stream(zone("a"), after).unwrap().iter().map(|(_, e)| e.version).collect::<Vec<_>>();
    assert_eq!((versions(0), versions(1), versions(2)), (vec![1, 2], vec![2], vec![]));
    assert_eq!(journal.sequenced(|heads| (heads.version(zone("a")), heads.head())), (2, 3));
    assert_eq!((journal.head(), journal.durable(), journal.chain_head().0), (3, 1, 1));
    assert_eq!(journal.read(0, 10).unwrap().len(), 1);
    assert_eq!(journal.read(1, 10).unwrap(), []);
    assert_eq!(journal.commit_at(2).unwrap(), None);
    let first = |name| journal.first_event(zone(name)).unwrap().map(|event| (event.position, event.version));
    assert_eq!((first("a"), first("b"), first("c")), (Some((1, 1)), None, None), "`b` is only sequenced");
    assert_eq!(journal.position_at(Micros::MAX), 1);
    assert_eq!(journal.tagged_positions(zone("a").id), [1]);
    let mut tagged = 0;
    journal.read_tagged(&[zone("a").id], 0, 99, &mut |_| tagged += 1).unwrap();
    assert_eq!(tagged, 1);
    drop(held);
    wait(pending.durable()).unwrap();
    assert_eq!(journal.read(1, 10).unwrap().len(), 1);
    assert_eq!(journal.first_event(zone("b")).unwrap().unwrap().position, 3);
}

/// Enough commits that several threads decode them, some still in memory; then all of them read from the store.
#[test]
fn a_replay_gives_what_reading_everything_gives() {
    let store = memory();
    let journal = Journal::open(store.clone(), Options { recent: 100, ..Options::default() }).unwrap();
    for round in 0..3_000u64 {
        let name = ["a", "b", "c"][round as usize % 3];
        let events = vec![(zone(name), created(name)), (zone("all"), deleted())];
        append(&journal, proposal(&round.to_string(), events)).unwrap();
    }
    wait(journal.wait_durable(6_000)).unwrap();
    let check = |journal: &Journal| {
        let commits = journal.read(0, 10_000).unwrap();
        let all: Vec<Recorded> = commits.iter().flat_map(|commit| commit.events.clone()).collect();
        assert_eq!(all.len(), 6_000);
        for (tags, after, upto) in [
            (Some(vec!["a"]), 0, 6_000),
            (Some(vec!["a", "all"]), 1, 5_998),
            (Some(vec!["b", "c", "b"]), 5_000, Position::MAX),
            (Some(vec!["nobody"]), 0, Position::MAX),
            (Some(vec![]), 0, Position::MAX),
            (Some(vec!["a"]), 9, 3),
            (Some(vec!["a"]), 0, 0),
            (None, 0, Position::MAX),
            (None, 2, 2_500),
            (None, 7_000, Position::MAX),
        ] {
            let ids = tags.as_ref().map(|tags| tags.iter().map(|tag| zone(tag).id).collect::<Vec<Id>>());
            let asked = |event: &&Recorded| {
                let tagged = |ids: &Vec<Id>| event.tags.iter().any(|tag| ids.contains(tag));
                event.position > after && event.position <= upto && ids.as_ref().is_none_or(tagged)
            };
            let expected: Vec<&Recorded> = all.iter().filter(asked).collect();
            let mut found = Vec::new();
            let mut take = |event| {
                found.push(event);
                ControlFlow::Continue(())
            };
            journal.replay(ids.as_deref(), after, upto, &|_| true, &mut take).unwrap();
            assert!(found.iter().eq(expected.iter().copied()), "{tags:?} {after} {upto}: {} events", found.len());
            // What is not wanted may be given, and what is wanted always is.
            let wanted = |head: &EventHead<'_>| head.name == "Created" && head.version != 1;
            let held = |event: &Recorded| event.event.name() == "Created" && event.version != 1;
            let mut found = Vec::new();
            let mut take = |event: Recorded| {
                if held(&event) {
                    found.push(event);
                }
                ControlFlow::Continue(())
            };
            journal.replay(ids.as_deref(), after, upto, &wanted, &mut take).unwrap();
            assert!(found.iter().eq(expected.iter().copied().filter(|event| held(event))), "{tags:?} {after} {upto}");
        }
        let mut last = 0;
        let mut until = |event: Recorded| {
            last = event.position;
            if last == 1_234 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        journal.replay(None, 0, Position::MAX, &|_| true, &mut until).unwrap();
        assert_eq!(last, 1_234);
    };
    check(&journal);
    journal.close();
    let journal = Journal::open(store, Options::default()).unwrap();
    check(&journal);
}

#[test]
fn commits_are_found_by_tag_position_and_time() {
    // Nothing recent is kept, so that all is read from frames.
    let journal = Journal::open(memory(), Options { recent: 0, ..Options::default() }).unwrap();
    for round in 0..3_000u64 {
        let name = ["a", "b", "c"][round as usize % 3];
        let events = vec![(zone(name), created(name)), (zone("all"), deleted())];
        let mut next = proposal(&round.to_string(), events);
        // The clock goes back now and then; the log's time does not.
        next.at = (round as Micros * 10) - (round as Micros % 2) * 15;
        append(&journal, next).unwrap();
    }
    wait(journal.wait_durable(6_000)).unwrap();
    let tagged = |tags: &[&str], after, upto| {
        let tags: Vec<Id> = tags.iter().map(|tag| zone(tag).id).collect();
        let mut firsts = Vec::new();
        journal.read_tagged(&tags, after, upto, &mut |commit| firsts.push(commit.events[0].position)).unwrap();
        firsts
    };
    assert_eq!(tagged(&["a"], 0, 12), [1, 7]);
    assert_eq!(tagged(&["a"], 0, 13), [1, 7, 13]);
    assert_eq!(tagged(&["a"], 1, 13), [1, 7, 13], "half of the first commit is still wanted");
    assert_eq!(tagged(&["a"], 2, 13), [7, 13]);
    assert_eq!(tagged(&["a", "b", "all", "b"], 5_990, 6_000), [5_991, 5_993, 5_995, 5_997, 5_999]);
    assert_eq!(tagged(&["all"], 0, Position::MAX).len(), 3_000);
    assert_eq!(tagged(&["a", "c"], 0, Position::MAX).len(), 2_000);
    assert!(tagged(&["a"], 0, 0).is_empty());
    assert!(tagged(&["nobody"], 0, 6_000).is_empty());
    assert_eq!(journal.tagged_positions(zone("b").id)[..2], [4, 10]);

    assert_eq!(journal.commit_at(0).unwrap(), None);
    assert_eq!(journal.commit_at(6_001).unwrap(), None);
    for position in [1, 2, 3, 5_999, 6_000] {
        let commit = journal.commit_at(position).unwrap().unwrap();
        assert!(commit.events.iter().any(|event| event.position == position));
    }
    assert_eq!(journal.position_at(-1), 0);
    assert_eq!(journal.position_at(0), 4, "the second commit's clock was behind the first");
    assert_eq!(journal.position_at(20), 8);
    assert_eq!(journal.position_at(Micros::MAX), 6_000);
}

#[test]
fn a_failed_write_makes_the_journal_read_only_and_loses_nothing_acknowledged() {
    let store = Arc::new(Faulty::default());
    let journal = open(store.clone());
    let kept = add(&journal, "kept", zone("a"));
    let held = store.hold();
    store.fail.store(true, Ordering::SeqCst);
    let events = vec![(zone("b"), created("b")), (zone("a"), deleted()), (zone("b"), deleted())];
    let lost = append(&journal, proposal("lost", events)).unwrap();
    drop(held);
    let why = wait(lost.durable()).unwrap_err().to_string();
    assert!(why.contains("read-only") && why.contains("No space left on device"), "{why}");
    store.fail.store(false, Ordering::SeqCst);

    let refused = append(&journal, proposal("later", vec![(zone("a"), deleted())]));
    assert!(matches!(refused, Err(AppendError::ReadOnly(why)) if why.contains("No space left on device")));
    assert!(journal.read_only().is_some());
    assert!(wait(journal.wait_durable(2)).is_err());
    wait(journal.wait_durable(1)).unwrap();
    // Reading goes on, of what was acknowledged and of nothing else; and the answers to old commands stay.
    assert_eq!(journal.read(0, 10).unwrap(), std::slice::from_ref(&kept));
    assert_eq!((journal.head(), journal.version(zone("a")), journal.version(zone("b"))), (1, 1, 0));
    assert_eq!(journal.streams(StreamKind::Zone), [zone("a").id]);
    assert_eq!(journal.read_stream(zone("a"), 0).unwrap().len(), 1);
    assert!(append(&journal, proposal("kept", vec![])).unwrap().repeated);
    journal.close();
    assert_eq!(open(store).read(0, 10).unwrap(), [kept]);
}

#[test]
fn a_closed_journal_has_written_everything_and_takes_no_more() {
    let store = memory();
    let journal = open(store.clone());
    for at in 0..500 {
        append(&journal, proposal(&at.to_string(), vec![(zone("a"), created("a"))])).unwrap();
    }
    journal.clone().close();
    assert_eq!(store.head().unwrap(), 500);
    let refused = append(&journal, proposal("late", vec![(zone("a"), deleted())]));
    assert!(matches!(refused, Err(AppendError::ReadOnly(_))));
    assert_eq!(journal.read(499, 10).unwrap().len(), 1);
    assert!(wait(journal.wait_durable(501)).is_err());
}

#[test]
fn a_large_commit_has_a_frame_of_its_own() {
    let store = memory();
    let journal = open(store.clone());
    let large = "x".repeat(3 * FRAME_BYTES_MAX);
    append(&journal, proposal("1", vec![(zone("a"), created("small"))])).unwrap();
    append(&journal, proposal("2", vec![(zone("a"), created(&large))])).unwrap();
    append(&journal, proposal("3", vec![(zone("a"), created("small"))])).unwrap();
    journal.close();
    let frames = store.read_from(0, 10).unwrap();
    assert_eq!(frames.len(), 3);
    assert_eq!(open(store).read_stream(zone("a"), 0).unwrap().len(), 3);
}

#[test]
fn a_panic_in_the_callers_fold_leaves_the_log_whole() {
    let journal = open(memory());
    let append = || journal.append(proposal("1", vec![(zone("a"), created("a"))]), || true, |_| panic!("a bug"));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(append)).is_err());
    add(&journal, "2", zone("a"));
    assert_eq!(journal.verify(|_| {}).unwrap().head, 2);
}

#[test]
fn without_a_thread_nothing_is_durable_before_a_step_says_so() {
    let store = memory();
    let (journal, mut stepper) = Journal::open_stepped(store.clone(), Options::default()).unwrap();
    assert!(stepper.step(), "there is nothing to write");
    for name in ["a", "b", "c"] {
        append(&journal, proposal(name, vec![(zone(name), created(name))])).unwrap();
    }
    assert_eq!((journal.head(), journal.durable(), store.head().unwrap()), (3, 0, 0));
    assert!(stepper.step());
    assert_eq!((journal.head(), journal.durable(), store.head().unwrap()), (3, 3, 3));
    append(&journal, proposal("lost", vec![(zone("lost"), created("lost"))])).unwrap();
    drop((journal, stepper));
    let (journal, stepper) = Journal::open_stepped(store.clone(), Options::default()).unwrap();
    assert_eq!((journal.head(), journal.version(zone("lost"))), (3, 0));
    append(&journal, proposal("kept", vec![(zone("kept"), created("kept"))])).unwrap();
    stepper.finish();
    assert_eq!((journal.durable(), store.head().unwrap()), (4, 4));
}
