//! A stored log that was changed at random: bytes changed, ranges cut, swapped and repeated, whole files exchanged
//! for others and for older ones; in frames, and in all the files of a directory at rest. Each change is found with its
//! position, or is harmless: the same commits with the same chain are read. Never a panic, never a change to what is
//! there. `SWITCHBACK_FULL=1` tries ten times as many.
//!
//! Harmless are: sled's padding and the old versions of its pages; its snapshots, when the pages are found without
//! them; the index checkpoint, which is not believed; a signed head that is cut off or torn, since the log says the
//! same without it; the signing key, which only signs.

mod common;

use common::*;
use std::{
    collections::BTreeMap,
    ops::Range,
    panic::catch_unwind,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};
use switchback_journal::*;

const COMMITS: u64 = 120;

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

fn fill(journal: &Journal, commands: Range<u64>) {
    for at in commands {
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
    fill(&journal, 0..COMMITS);
    let anchor = journal.chain_head();
    journal.close();
    let frames = store.read_from(0, 1_000).unwrap();
    let mut random = Random::new(7);
    let mut harmless = 0;
    for round in 0..rounds(10_000, 100_000) {
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
    assert!(harmless < rounds(10_000, 100_000) / 4);
}

const CHILD_SEED: &str = "DAMAGE_SEED";
/// As many processes at once: sled has threads of its own in each.
const LANES: usize = 2;

/// Not a test of its own: one lane of the test below, which does nothing when it is run without it.
#[test]
fn child_changes_files() {
    if let Ok(seed) = std::env::var(CHILD_SEED) {
        change_files(seed.parse().unwrap(), rounds(10_000, 100_000) / LANES);
    }
}

#[test]
fn changed_files_are_found_or_harmless() {
    let lane = |seed: usize| {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "child_changes_files", "--nocapture"]).env(CHILD_SEED, seed.to_string());
        // In memory: nothing here is about what was synced.
        if Path::new("/dev/shm").is_dir() {
            child.env("TMPDIR", "/dev/shm");
        }
        child.spawn().unwrap()
    };
    let children: Vec<_> = (0..LANES).map(lane).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let (dirs, mut files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
    files.extend(dirs.iter().flat_map(|dir| self::files(dir)));
    files.sort();
    files
}

/// What became of the changes to the files of one kind.
#[derive(Default, Debug)]
struct Outcomes {
    found: usize,
    harmless: usize,
}

/// A file as it is, and how it was earlier.
struct Stored {
    path: PathBuf,
    kind: &'static str,
    now: Vec<u8>,
    earlier: Option<Vec<u8>>,
    /// Where it is not zero.
    written: Vec<usize>,
}

impl Stored {
    fn read(path: PathBuf, dir: &Path, earlier: &Path) -> Stored {
        let now = std::fs::read(&path).unwrap();
        let name = path.strip_prefix(dir).unwrap();
        let kinds = ["db", "json", "segment", "snap", "heads.jsonl", "head.key", "index.checkpoint", "conf"];
        let is = |kind: &&&str| {
            name.extension().is_some_and(|end| end == **kind) || name.to_string_lossy().starts_with(**kind)
        };
        let kind = kinds.iter().find(is).unwrap_or_else(|| panic!("{}", name.display()));
        let earlier = std::fs::read(earlier.join(name)).ok();
        let written = (0..now.len()).filter(|at| now[*at] != 0).collect();
        Stored { kind, earlier, now, written, path }
    }

    /// The file changed at random.
    fn changed(&self, others: &[Stored], random: &mut Random) -> Vec<u8> {
        let mut changed = self.now.clone();
        match random.below(12) {
            0 => others[random.below(others.len())].now.clone(),
            1 => self.earlier.clone().unwrap_or_default(),
            // Most of what sled keeps is padding.
            2..7 if !self.written.is_empty() => {
                let at = self.written[random.below(self.written.len())];
                changed[at] ^= 1 + random.below(255) as u8;
                changed
            }
            _ if changed.len() > 2 => {
                change(&mut changed, random);
                changed
            }
            _ => Vec::new(),
        }
    }
}

fn change_files(seed: u64, rounds: usize) {
    let (dir, earlier) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open_dir = |dir: &Path| Journal::open(Arc::new(SledStore::open(dir)?), Options::default());
    let journal = open_dir(dir.path()).unwrap();
    fill(&journal, 0..COMMITS / 2);
    journal.seal(COMMITS / 4).unwrap();
    journal.seal(COMMITS / 3).unwrap();
    journal.close();
    load::copy_tree(dir.path(), earlier.path());
    let journal = open_dir(dir.path()).unwrap();
    fill(&journal, COMMITS / 2..COMMITS);
    journal.seal(COMMITS * 2 / 3).unwrap();
    let anchor = journal.signed_head().unwrap();
    journal.close();
    let whole = verify_dir(dir.path()).unwrap();
    assert_eq!(whole.head, COMMITS);
    let stored: Vec<Stored> =
        files(dir.path()).into_iter().map(|path| Stored::read(path, dir.path(), earlier.path())).collect();
    let of_kind = |kind| (0..stored.len()).filter(|at| stored[*at].kind == kind).collect::<Vec<_>>();
    let (db, segments) = (of_kind("db"), of_kind("segment"));
    assert!(db.len() == 1 && segments.len() == 3 && stored.len() >= 12, "{} files", stored.len());
    // sled's own words about what it finds are of no interest.
    std::panic::set_hook(Box::new(|_| {}));
    let mut random = Random::new(seed);
    let mut outcomes: BTreeMap<&str, Outcomes> = BTreeMap::new();
    let mut faults = Vec::new();
    for round in 0..rounds {
        let at = match round % 4 {
            0 | 1 => db[0],
            2 => segments[random.below(segments.len())],
            _ => random.below(stored.len()),
        };
        let file = &stored[at];
        let changed = file.changed(&stored, &mut random);
        std::fs::write(&file.path, &changed).unwrap();
        let mut fault = |what: String| faults.push(format!("round {round}, {}: {what}", file.path.display()));
        let verified = catch_unwind(|| verify_dir_against(dir.path(), Some(&anchor)));
        let outcomes = outcomes.entry(file.kind).or_default();
        match &verified {
            Ok(Err(broken)) if changed != file.now && broken.position <= COMMITS + 1 => outcomes.found += 1,
            Ok(Ok(verified)) if *verified == whole => outcomes.harmless += 1,
            other => fault(format!("{other:?}")),
        }
        if std::fs::read(&file.path).unwrap() != changed {
            fault("was changed by looking at it".to_string());
        }
        // A server that starts on it refuses as well, or finds the fault when it reads it all, or has the whole log.
        if round % 10 == 0 {
            let copy = tempfile::tempdir().unwrap();
            load::copy_tree(dir.path(), copy.path());
            let started = catch_unwind(|| match open_dir(copy.path()) {
                Err(refused) => Err(refused.to_string()),
                Ok(journal) => journal.verify_against(Some(&anchor), |_| {}).map_err(|broken| broken.to_string()),
            });
            match started {
                Ok(Err(_)) if changed != file.now => {}
                Ok(Ok(verified)) if verified == whole => {}
                other => fault(format!("opened: {other:?}")),
            }
        }
        std::fs::write(&file.path, &file.now).unwrap();
    }
    drop(std::panic::take_hook());
    assert!(faults.is_empty(), "seed {seed}: {}", faults.join("\n"));
    eprintln!("seed {seed}: {outcomes:?}");
    // What holds the commits is not damaged unnoticed.
    let share = |kind: &str| outcomes[kind].found * 100 / (outcomes[kind].found + outcomes[kind].harmless);
    assert!(share("segment") > 90 && share("json") > 60 && share("db") > 30, "{outcomes:?}");
    assert_eq!(verify_dir(dir.path()).unwrap(), whole);
}
