//! Sealed segments: read through as if nothing had happened, at every step of sealing and after a crash between.

mod common;

use common::*;
use std::{path::Path, sync::Arc};
use switchback_events::*;
use switchback_journal::*;

fn open_dir(dir: &Path) -> Journal {
    let options = Options { recent: 0, ..Options::default() };
    Journal::open(Arc::new(SledStore::open(dir).unwrap()), options).unwrap()
}

fn fill(journal: &Journal, commands: std::ops::Range<u64>) {
    for at in commands {
        let size = if at % 40 == 39 { 70_000 } else { 50 };
        append(
            journal,
            proposal(&at.to_string(), vec![(zone("a"), created(&"x".repeat(size))), (zone("b"), deleted())]),
        )
        .unwrap();
        if at % 10 == 0 {
            wait(journal.wait_durable(journal.head())).unwrap();
        }
    }
    wait(journal.wait_durable(journal.head())).unwrap();
}

fn all(journal: &Journal) -> Vec<Arc<Commit>> {
    journal.read(0, 10_000).unwrap()
}

#[test]
fn what_is_sealed_reads_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open_dir(dir.path());
    fill(&journal, 0..100);
    let expected = all(&journal);
    for upto in [50, 50, 120, 200, 999] {
        let sealed = journal.seal(upto).unwrap();
        assert!(sealed <= upto && sealed + 40 > upto.min(200), "{sealed} of {upto}");
        assert!(all(&journal) == expected);
        assert_eq!(journal.verify(|_| {}).unwrap().head, 200);
    }
    fill(&journal, 100..150);
    let expected = all(&journal);
    let stream = journal.read_stream(zone("b"), 0).unwrap();
    journal.close();
    for checkpoint in [true, false] {
        if !checkpoint {
            std::fs::remove_file(dir.path().join("index.checkpoint")).unwrap();
        }
        let journal = open_dir(dir.path());
        assert!(all(&journal) == expected);
        assert!(journal.read_stream(zone("b"), 0).unwrap() == stream);
        journal.close();
    }
    let verified = verify_dir(dir.path()).unwrap();
    assert_eq!((verified.head, verified.commits), (300, 150));
}

#[test]
fn large_logs_are_sealed_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes: 20_000, ..Options::default() };
    let store = Arc::new(SledStore::open(dir.path()).unwrap());
    let journal = Journal::open(store.clone(), options).unwrap();
    for round in 0..50 {
        fill(&journal, round * 20..(round + 1) * 20);
    }
    let expected = all(&journal);
    journal.close();
    assert_eq!(expected.len(), 1_000);
    drop(store);
    let segments = std::fs::read_dir(dir.path().join("segments")).unwrap().count();
    assert!(segments >= 4, "{segments}");
    assert!(all(&open_dir(dir.path())) == expected);
}

/// A crash after the segment has its name, after it has its manifest, and before anything is removed from sled.
#[test]
fn a_crash_at_any_step_of_sealing_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open_dir(dir.path());
    fill(&journal, 0..100);
    let expected = all(&journal);
    journal.close();
    let sealed = tempfile::tempdir().unwrap();
    copy(dir.path(), sealed.path());
    let journal = open_dir(sealed.path());
    journal.seal(120).unwrap();
    journal.close();
    let segments: Vec<_> =
        std::fs::read_dir(sealed.path().join("segments")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(segments.len(), 2);
    for kept in [&[][..], &["segment"], &["segment", "json"]] {
        let crashed = tempfile::tempdir().unwrap();
        copy(dir.path(), crashed.path());
        std::fs::create_dir(crashed.path().join("segments")).unwrap();
        std::fs::write(crashed.path().join("segments/segment.draft"), b"half a segm").unwrap();
        for path in &segments {
            if kept.contains(&path.extension().unwrap().to_str().unwrap()) {
                std::fs::copy(path, crashed.path().join("segments").join(path.file_name().unwrap())).unwrap();
            }
        }
        verify_dir(crashed.path()).unwrap();
        for _ in 0..2 {
            let journal = open_dir(crashed.path());
            assert!(all(&journal) == expected, "{kept:?}");
            journal.seal(160).unwrap();
            assert!(all(&journal) == expected, "{kept:?}");
            journal.verify(|_| {}).unwrap();
            journal.close();
        }
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_changed_segment_or_manifest_is_found_with_its_position() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open_dir(dir.path());
    fill(&journal, 0..100);
    journal.seal(120).unwrap();
    journal.close();
    for entry in std::fs::read_dir(dir.path().join("segments")).unwrap().map(Result::unwrap) {
        let whole = std::fs::read(entry.path()).unwrap();
        for step in 0..60 {
            let at = whole.len() * step / 60;
            let mut changed = whole.clone();
            changed[at] ^= 1 << (step % 7);
            std::fs::write(entry.path(), &changed).unwrap();
            match verify_dir(dir.path()) {
                // A manifest may now promise what is not there: that is missing from the next position on.
                Err(broken) => assert!(broken.position <= 121, "{broken}"),
                // White space in the manifest, or the case of a hexadecimal digit: it says the same.
                Ok(_) => {
                    let same = changed[at].is_ascii_whitespace() || changed[at].eq_ignore_ascii_case(&whole[at]);
                    assert!(entry.path().extension().unwrap() == "json" && same);
                }
            }
            std::fs::write(entry.path(), &whole[..at]).unwrap();
            verify_dir(dir.path()).unwrap_err();
        }
        std::fs::write(entry.path(), &whole).unwrap();
    }
    verify_dir(dir.path()).unwrap();
}

#[test]
fn verifying_at_rest_writes_nothing() {
    fn state_of(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>, std::time::SystemTime)> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                files.extend(state_of(&entry.path()));
            } else {
                let modified = entry.metadata().unwrap().modified().unwrap();
                files.push((entry.path(), std::fs::read(entry.path()).unwrap(), modified));
            }
        }
        files.sort();
        files
    }
    let dir = tempfile::tempdir().unwrap();
    let journal = open_dir(dir.path());
    fill(&journal, 0..100);
    journal.seal(100).unwrap();
    let busy = verify_dir(dir.path()).unwrap_err();
    assert!(busy.why.contains("another process"), "{busy}");
    journal.close();
    let before = state_of(dir.path());
    verify_dir(dir.path()).unwrap();
    assert!(state_of(dir.path()) == before);
}
