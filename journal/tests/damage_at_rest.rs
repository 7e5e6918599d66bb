//! A stored log that was changed at random: bytes changed, ranges cut, swapped and repeated, in frames and in the
//! files of a directory at rest. Each change is found with its position, or is harmless: the same commits with the
//! same chain are read. Never a panic. `SWITCHBACK_FULL=1` tries ten times as many.

mod common;

use common::*;
use std::{path::Path, path::PathBuf, sync::Arc};
use switchback_journal::*;

const COMMITS: u64 = 120;

fn rounds(usual: usize) -> usize {
    if std::env::var_os("SWITCHBACK_FULL").is_some() { usual * 10 } else { usual }
}

/// xorshift64*: the same changes in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }
}

/// Changes a byte, cuts, swaps two ranges, or puts one range in the place of another. At random, this may well
/// change nothing.
fn change(bytes: &mut Vec<u8>, random: &mut Random) {
    let length = bytes.len();
    let span = 1 + random.below(length.min(600) / 2);
    let (one, other) = (random.below(length - span), random.below(length - span));
    match random.below(4) {
        0 => bytes[one] ^= 1 + random.below(255) as u8,
        1 => bytes.truncate(one),
        2 => {
            let (first, second) = (bytes[one..one + span].to_vec(), bytes[other..other + span].to_vec());
            bytes[one..one + span].copy_from_slice(&second);
            bytes[other..other + span].copy_from_slice(&first);
        }
        _ => bytes.copy_within(one..one + span, other),
    }
}

fn fill(journal: &Journal) {
    for at in 0..COMMITS {
        let name = format!("zone {}", at % 5);
        append(journal, proposal(&at.to_string(), vec![(zone(&name), created(&name))])).unwrap();
        if at % 7 == 0 {
            wait(journal.wait_durable(journal.head())).unwrap();
        }
    }
    wait(journal.wait_durable(journal.head())).unwrap();
}

#[test]
fn changed_frames_are_found() {
    let store = memory();
    let journal = open(store.clone());
    fill(&journal);
    let anchor = journal.chain_head();
    journal.close();
    let frames = store.read_from(0, 1_000).unwrap();
    let mut random = Random(7);
    let mut harmless = 0;
    for round in 0..rounds(10_000) {
        let mut changed = frames.clone();
        let at = random.below(frames.len());
        match random.below(4) {
            // Whole frames: one for another, at its place; or the log is cut.
            0 => changed[at].bytes = frames[random.below(frames.len())].bytes.clone(),
            1 if round % 8 == 0 => changed.truncate(at),
            _ => change(&mut changed[at].bytes, &mut random),
        }
        let same = changed == frames;
        let store = memory();
        store.append(0, &changed).unwrap();
        match verify_store(&*store, |_| {}) {
            Err(broken) => {
                assert!(!same && broken.position >= frames[at].first, "{broken}");
                assert!(broken.position <= frames[at].last + 1, "{broken}, changed was {}", frames[at].first);
            }
            Ok(verified) if (verified.head, verified.chain) == anchor => {
                assert!(same, "a change in frame {at} was not found");
                harmless += 1;
            }
            // Only an anchor knows of commits that are cut off.
            Ok(verified) => assert_eq!(verified.head + 1, frames[at].first),
        }
    }
    assert!(harmless < rounds(10_000) / 4);
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let (dirs, mut files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
    files.extend(dirs.iter().flat_map(|dir| self::files(dir)));
    files.sort();
    files
}

#[test]
fn changed_files_are_found_or_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(Arc::new(SledStore::open(dir.path()).unwrap()));
    fill(&journal);
    journal.seal(COMMITS / 2).unwrap();
    let anchor = journal.signed_head().unwrap();
    journal.close();
    let whole = verify_dir(dir.path()).unwrap();
    let files = files(dir.path());
    assert!(files.iter().any(|path| path.ends_with("db")) && files.len() >= 7, "{files:?}");
    // sled's own words about what it finds are of no interest.
    std::panic::set_hook(Box::new(|_| {}));
    let mut random = Random(11);
    let mut found = 0;
    let mut faults = Vec::new();
    for round in 0..rounds(400) {
        let path = &files[round % files.len()];
        let kept = std::fs::read(path).unwrap();
        let mut changed = kept.clone();
        if kept.len() > 2 {
            change(&mut changed, &mut random);
        }
        std::fs::write(path, &changed).unwrap();
        match std::panic::catch_unwind(|| verify_dir_against(dir.path(), Some(&anchor))) {
            Ok(Err(broken)) if broken.position <= COMMITS + 1 => found += 1,
            Ok(Ok(verified)) if verified == whole => {}
            other => faults.push(format!("{}: {other:?}", path.display())),
        }
        std::fs::write(path, &kept).unwrap();
    }
    drop(std::panic::take_hook());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(found > rounds(400) / 5, "{found}");
    assert_eq!(verify_dir(dir.path()).unwrap(), whole);
}
