//! A log that was changed: any flipped byte, lost frame or foreign record is found, with its position, at open
//! and by verify, and never as a panic.

mod common;

use common::*;
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};
use switchback_events::*;
use switchback_journal::*;

/// A log of several frames of several commits of one to three events, and the commits.
static LOG: LazyLock<(Vec<Frame>, Vec<Arc<Commit>>)> = LazyLock::new(|| {
    let store = Arc::new(Faulty::default());
    let journal = open(store.clone());
    for group in 0..8 {
        let held = store.hold();
        for at in 0..6 {
            let events = (0..=at % 3).map(|name| (zone(&format!("{group}{name}")), created("some name"))).collect();
            append(&journal, proposal(&format!("{group}/{at}"), events)).unwrap();
        }
        drop(held);
        wait(journal.wait_durable(journal.head())).unwrap();
    }
    (store.read_from(0, 1_000).unwrap(), journal.read(0, 1_000).unwrap())
});

fn store_of(frames: &[Frame]) -> Arc<MemoryStore> {
    let store = memory();
    store.append(0, frames).unwrap();
    store
}

/// Where the first commit that touches byte `at` of the frame begins.
fn commit_at_byte(frame: &Frame, at: usize) -> Position {
    let commits = LOG.1.iter().filter(|commit| commit.last_position() >= frame.first);
    let mut end = 1;
    for commit in commits {
        let length = u32::from_le_bytes(frame.bytes[end..end + 4].try_into().unwrap()) as usize;
        end += 40 + length;
        if at < end {
            return commit.events[0].position;
        }
    }
    unreachable!("every byte belongs to a commit");
}

/// The position that opening `store` complains of.
fn refused_at(store: Arc<MemoryStore>) -> Position {
    match Journal::open(store, Options::default()).map(|_| ()) {
        Err(OpenError::Broken(broken)) => broken.position,
        Err(OpenError::Unreadable { position, .. }) => position,
        other => panic!("not refused: {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_changed_byte_is_found_where_it_is(frame: prop::sample::Index, byte: prop::sample::Index, flip in 1..=255u8) {
        let mut frames = LOG.0.clone();
        let frame = frame.index(frames.len());
        let byte = byte.index(frames[frame].bytes.len());
        frames[frame].bytes[byte] ^= flip;
        let position = commit_at_byte(&LOG.0[frame], byte);
        let store = store_of(&frames);
        let broken = verify_store(&*store, |_| {}).unwrap_err();
        prop_assert_eq!(broken.position, position, "{}", broken);
        prop_assert_eq!(refused_at(store), position);
    }

    #[test]
    fn a_frame_cut_short_is_found(frame: prop::sample::Index, length: prop::sample::Index) {
        let mut frames = LOG.0.clone();
        let frame = frame.index(frames.len());
        let length = length.index(frames[frame].bytes.len());
        frames[frame].bytes.truncate(length);
        let broken = verify_store(&*store_of(&frames), |_| {}).unwrap_err();
        prop_assert!((frames[frame].first..=frames[frame].last + 1).contains(&broken.position), "{}", broken);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let mut bytes = bytes;
        bytes.insert(0, 1);
        let frames = [Frame { first: 1, last: 1, bytes }];
        prop_assert_eq!(refused_at(store_of(&frames)), 1);
    }
}

#[test]
fn an_absent_tail_is_a_shorter_log() {
    for length in 0..LOG.0.len() {
        let store = store_of(&LOG.0[..length]);
        assert_eq!(open(store.clone()).head(), store.head().unwrap());
    }
}

#[test]
fn commits_of_another_log_do_not_continue_this_one() {
    let mut frames = LOG.0.clone();
    let other = open(memory());
    let mut first = proposal("other", vec![(zone("x"), created("x"))]);
    first.at = 0;
    append(&other, first).unwrap();
    other.close();
    let journal_frames = {
        let store = memory();
        let journal = open(store.clone());
        add(&journal, "another", zone("00"));
        journal.close();
        store.read_from(0, 1).unwrap()
    };
    frames[0] = Frame { last: frames[0].last, ..journal_frames[0].clone() };
    let broken = verify_store(&*store_of(&frames), |_| {}).unwrap_err();
    assert_eq!(broken.position, 2, "{broken}");
}

#[test]
fn an_exchanged_log_is_found_by_the_running_journal() {
    let store = Arc::new(Exchanged { one: memory(), other: memory(), exchanged: false.into() });
    let journal = open(store.clone());
    add(&journal, "1", zone("a"));
    let forged = open(store.other.clone());
    add(&forged, "1", zone("b"));
    journal.verify(|_| {}).unwrap();
    store.exchanged.store(true, std::sync::atomic::Ordering::SeqCst);
    let broken = journal.verify(|_| {}).unwrap_err();
    assert!(broken.why.contains("exchanged"), "{broken}");
}

/// A store behind which another one takes its place.
struct Exchanged {
    one: Arc<MemoryStore>,
    other: Arc<MemoryStore>,
    exchanged: std::sync::atomic::AtomicBool,
}

impl Exchanged {
    fn now(&self) -> &MemoryStore {
        if self.exchanged.load(std::sync::atomic::Ordering::SeqCst) { &self.other } else { &self.one }
    }
}

impl FrameStore for Exchanged {
    fn append(&self, expected_head: Position, frames: &[Frame]) -> Result<(), StoreError> {
        self.now().append(expected_head, frames)
    }
    fn read_from(&self, after: Position, max_frames: usize) -> Result<Vec<Frame>, StoreError> {
        self.now().read_from(after, max_frames)
    }
    fn frame_at(&self, first: Position) -> Result<Option<Frame>, StoreError> {
        self.now().frame_at(first)
    }
    fn head(&self) -> Result<Position, StoreError> {
        self.now().head()
    }
}
