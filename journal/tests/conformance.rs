//! What every frame store must do. Each store runs the whole suite; a new store adds one line at the end.

use std::sync::Arc;
use switchback_events::Position;
use switchback_journal::{Frame, FrameStore, MemoryStore, SledStore, StoreError};

fn frame(first: Position, last: Position, size: usize) -> Frame {
    let bytes = (0..size).map(|at| (at as u64 * 31 + first) as u8).collect();
    Frame { first, last, bytes }
}

fn an_empty_store_has_no_frames(store: Arc<dyn FrameStore>) {
    assert_eq!(store.head().unwrap(), 0);
    assert_eq!(store.read_from(0, 10).unwrap(), []);
    assert_eq!(store.read_from(7, 10).unwrap(), []);
    assert_eq!(store.frame_at(1).unwrap(), None);
}

fn what_was_appended_is_read_in_order(store: Arc<dyn FrameStore>) {
    let frames = [frame(1, 3, 10), frame(4, 4, 0), frame(5, 300, 7_000)];
    store.append(0, &frames[..2]).unwrap();
    store.append(4, &frames[2..]).unwrap();
    assert_eq!(store.head().unwrap(), 300);
    assert_eq!(store.read_from(0, 10).unwrap(), frames);
    assert_eq!(store.read_from(0, 2).unwrap(), frames[..2]);
    for (after, from) in [(2, 0), (3, 1), (4, 2), (5, 2), (299, 2), (300, 3), (1_000, 3)] {
        assert_eq!(store.read_from(after, 10).unwrap(), frames[from..], "after {after}");
    }
    for found in &frames {
        assert_eq!(store.frame_at(found.first).unwrap().as_ref(), Some(found));
    }
    assert_eq!(store.frame_at(2).unwrap(), None);
    assert_eq!(store.frame_at(301).unwrap(), None);
}

fn another_head_is_refused(store: Arc<dyn FrameStore>) {
    store.append(0, &[frame(1, 2, 5)]).unwrap();
    for expected in [0, 1, 3] {
        let refused = store.append(expected, &[frame(expected + 1, expected + 1, 5)]);
        assert!(matches!(refused, Err(StoreError::Head { actual: 2, .. })), "{refused:?}");
    }
    store.append(2, &[frame(3, 3, 5)]).unwrap();
    assert_eq!(store.head().unwrap(), 3);
}

fn frames_that_do_not_follow_are_refused_whole(store: Arc<dyn FrameStore>) {
    for frames in [[frame(1, 2, 1), frame(4, 4, 1)], [frame(1, 2, 1), frame(2, 3, 1)], [frame(2, 2, 1), frame(3, 3, 1)]]
    {
        assert!(matches!(store.append(0, &frames), Err(StoreError::Gap { .. })));
    }
    assert!(matches!(store.append(0, &[frame(1, 0, 1)]), Err(StoreError::Gap { .. })));
    assert_eq!(store.head().unwrap(), 0);
    assert_eq!(store.read_from(0, 10).unwrap(), []);
}

fn a_frame_of_any_size_is_kept(store: Arc<dyn FrameStore>) {
    let sizes = [0, 1, 6_131, 6_132, 6_133, 6_144, 12_276, 61_440, 1_000_000, 17_000_000];
    for (first, size) in (1..).zip(sizes) {
        store.append(first - 1, &[frame(first, first, size)]).unwrap();
    }
    for (first, size) in (1..).zip(sizes) {
        assert_eq!(store.frame_at(first).unwrap(), Some(frame(first, first, size)));
    }
    assert_eq!(store.read_from(0, 100).unwrap().len(), sizes.len());
}

fn of_writers_with_the_same_head_one_wins(store: Arc<dyn FrameStore>) {
    for head in 0..20 {
        let append = || store.append(head, &[frame(head + 1, head + 1, 50)]).is_ok();
        let wins = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4).map(|_| scope.spawn(append)).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).filter(|won| *won).count()
        });
        assert_eq!(wins, 1);
    }
}

fn reading_works_while_another_thread_appends(store: Arc<dyn FrameStore>) {
    const FRAMES: Position = 200;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for head in 0..FRAMES {
                store.append(head, &[frame(head + 1, head + 1, 7_000)]).unwrap();
            }
        });
        let mut seen = 0;
        while seen < FRAMES {
            let head = store.head().unwrap();
            let found = store.read_from(seen, 16).unwrap();
            assert!(!found.is_empty() || head <= seen, "what the head counts can be read");
            for next in found {
                seen += 1;
                assert_eq!(next, frame(seen, seen, 7_000));
            }
        }
    });
}

macro_rules! conformance {
    ($store:ident, $open:expr; $($case:ident),* $(,)?) => {
        mod $store {
            use super::*;
            $(#[test] fn $case() {
                let dir = tempfile::tempdir().unwrap();
                let open: fn(&std::path::Path) -> Arc<dyn FrameStore> = $open;
                super::$case(open(dir.path()));
            })*
        }
    };
}

macro_rules! stores {
    ($($store:ident: $open:expr;)*) => {$(
        conformance!($store, $open;
            an_empty_store_has_no_frames,
            what_was_appended_is_read_in_order,
            another_head_is_refused,
            frames_that_do_not_follow_are_refused_whole,
            a_frame_of_any_size_is_kept,
            of_writers_with_the_same_head_one_wins,
            reading_works_while_another_thread_appends,
        );
    )*};
}

stores! {
    memory: |_| Arc::new(MemoryStore::default());
    sled: |dir| Arc::new(SledStore::open(dir).unwrap());
}

#[test]
fn sled_keeps_frames_and_head_over_a_reopen_and_has_one_user_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let frames: Vec<Frame> = (1..=40).map(|at| frame(at * 2 - 1, at * 2, 3_000)).collect();
    let store = SledStore::open(dir.path()).unwrap();
    store.append(0, &frames[..30]).unwrap();
    assert!(matches!(SledStore::open(dir.path()), Err(StoreError::Open { .. })));
    drop(store);
    let store = SledStore::open(dir.path()).unwrap();
    assert_eq!(store.head().unwrap(), 60);
    store.append(60, &frames[30..]).unwrap();
    drop(store);
    assert_eq!(SledStore::open(dir.path()).unwrap().read_from(0, 100).unwrap(), frames);
}

#[test]
fn sled_says_why_a_directory_cannot_be_opened() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), b"no directory").unwrap();
    let error = SledStore::open(dir.path().join("file")).err().unwrap();
    assert!(error.to_string().starts_with("open frame store `"), "{error}");
}
