//! What is kept beside the log: the index checkpoint, which changes nothing but time; signed heads, which a
//! changed log does not hold against; and the window in which commands are known again.

mod common;

use common::*;
use std::{path::Path, sync::Arc, time::Duration};
use switchback_events::*;
use switchback_journal::*;

const CHECKPOINT: &str = "index.checkpoint";
const HEADS: &str = "heads.jsonl";

fn open_dir(dir: &Path) -> Journal {
    open(Arc::new(SledStore::open(dir).unwrap()))
}

fn fill(journal: &Journal, commands: std::ops::Range<u64>) {
    for at in commands {
        let name = format!("zone {}", at % 7);
        let mut next = proposal(&at.to_string(), vec![(zone(&name), created(&name)), (zone("all"), deleted())]);
        next.at = at as Micros;
        append(journal, next).unwrap();
        if at % 10 == 0 {
            wait(journal.wait_durable(journal.head())).unwrap();
        }
    }
    wait(journal.wait_durable(journal.head())).unwrap();
}

/// All that the indexes answer.
fn answers(journal: &Journal) -> String {
    let zones = (0..7).map(|at| zone(&format!("zone {at}"))).chain([zone("all"), zone("nobody")]);
    let of_zones: Vec<_> = zones
        .map(|zone| (journal.version(zone), journal.read_stream(zone, 3).unwrap(), journal.tagged_positions(zone.id)))
        .collect();
    let times: Vec<_> = (-1..400).map(|at| journal.position_at(at)).collect();
    let commands: Vec<_> = (0..400)
        .map(|at| journal.lookup(CommandId(Id::of_name(&at.to_string())), Id::of_name("body")).unwrap().is_some())
        .collect();
    let commits = journal.read(0, 10_000).unwrap();
    format!(
        "{:?} {of_zones:?} {times:?} {commands:?} {commits:?} {:?}",
        journal.chain_head(),
        journal.streams(StreamKind::Zone)
    )
}

#[test]
fn an_index_checkpoint_changes_nothing_but_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(CHECKPOINT);
    let mut expected = String::new();
    for round in 0..4 {
        let journal = open_dir(dir.path());
        assert!(round == 0 || answers(&journal) == expected);
        fill(&journal, round * 100..(round + 1) * 100);
        expected = answers(&journal);
        journal.close();
    }
    let whole = std::fs::read(&path).unwrap();
    let half = whole.len() / 2;
    let changes = [
        ("none", None),
        ("as it is", Some(whole.clone())),
        ("empty", Some(Vec::new())),
        ("torn", Some(whole[..whole.len() - 3].to_vec())),
        ("changed", Some([&whole[..half], &[whole[half] ^ 1], &whole[half + 1..]].concat())),
        ("of the first rounds only", Some(whole[..half].to_vec())),
    ];
    for (name, change) in changes {
        match change {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let journal = open_dir(dir.path());
        assert!(answers(&journal) == expected, "{name}");
        journal.verify(|_| {}).unwrap();
        journal.close();
        // What was missing is there again.
        let journal = open_dir(dir.path());
        assert!(answers(&journal) == expected, "{name}, again");
        journal.close();
    }
}

#[test]
fn the_checkpoint_of_another_log_is_not_believed() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (dir, from) in [(&one, 0), (&other, 1)] {
        let journal = open_dir(dir.path());
        fill(&journal, from..from + 100);
        journal.close();
    }
    std::fs::copy(other.path().join(CHECKPOINT), one.path().join(CHECKPOINT)).unwrap();
    let journal = open_dir(one.path());
    assert!(journal.lookup(CommandId(Id::of_name("0")), Id::of_name("body")).unwrap().is_some());
    assert!(journal.lookup(CommandId(Id::of_name("100")), Id::of_name("body")).unwrap().is_none());
}

#[test]
fn commands_are_known_again_in_a_window_of_count_and_time_that_the_log_decides() {
    let dir = tempfile::tempdir().unwrap();
    let known = |journal: &Journal, at: u64| {
        journal.lookup(CommandId(Id::of_name(&at.to_string())), Id::of_name("body")).unwrap().is_some()
    };
    let all = |journal: &Journal| (0..100).map(|at| known(journal, at)).collect::<Vec<_>>();
    for (dedup_age, dedup_commands, first_known) in
        [(Duration::from_micros(30), 1_000, 69), (Duration::from_secs(9), 20, 80), (Duration::MAX, usize::MAX, 0)]
    {
        let options = Options { dedup_age, dedup_commands, ..Options::default() };
        let reopen = || Journal::open(Arc::new(SledStore::open(dir.path()).unwrap()), options).unwrap();
        let journal = reopen();
        if journal.head() == 0 {
            fill(&journal, 0..100);
        }
        let expected: Vec<_> = (0..100).map(|at| at >= first_known).collect();
        assert_eq!(all(&journal), expected);
        journal.close();
        std::fs::remove_file(dir.path().join(CHECKPOINT)).unwrap();
        let journal = reopen();
        assert_eq!(all(&journal), expected, "without a checkpoint");
        journal.close();
        let journal = reopen();
        assert_eq!(all(&journal), expected, "with one");
        journal.close();
    }
}

#[test]
fn a_command_is_done_again_after_its_window_and_then_known_again() {
    let options = Options { dedup_commands: 2, ..Options::default() };
    let store = memory();
    let journal = Journal::open(store.clone(), options).unwrap();
    for name in ["1", "2", "3", "1", "4"] {
        assert!(!append(&journal, proposal(name, vec![(zone("a"), deleted())])).unwrap().repeated, "{name}");
    }
    assert!(append(&journal, proposal("1", vec![])).unwrap().repeated);
    journal.close();
    let journal = Journal::open(store, options).unwrap();
    assert!(append(&journal, proposal("1", vec![])).unwrap().repeated);
}

#[test]
fn heads_are_signed_every_thousand_commits_and_at_close_and_hold() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let journal = open_dir(dir.path());
    assert_eq!(journal.signed_head(), None);
    fill(&journal, 0..2_100);
    let anchor = journal.signed_head().unwrap();
    assert!(anchor.is_signed());
    assert_eq!((anchor.position, anchor.chain), journal.chain_head());
    fill(&journal, 2_100..2_200);
    journal.verify_against(Some(&anchor), |_| {}).unwrap();
    journal.close();
    assert_eq!(std::fs::metadata(dir.path().join("head.key")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(dir.path().join(HEADS)).unwrap().lines().count(), 4);
    verify_dir_against(dir.path(), Some(&anchor)).unwrap();

    let mut forged = anchor.clone();
    forged.chain[0] ^= 1;
    assert!(!forged.is_signed());
    assert!(verify_dir_against(dir.path(), Some(&forged)).unwrap_err().why.contains("signature"));
    let again: SignedHead = serde_json::from_str(&serde_json::to_string(&anchor).unwrap()).unwrap();
    assert_eq!(again, anchor);
}

/// Waits until so many heads are kept.
fn wait_for_heads(dir: &Path, count: usize) {
    let kept = || std::fs::read_to_string(dir.join(HEADS)).unwrap_or_default().lines().count();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while kept() < count {
        assert!(std::time::Instant::now() < deadline, "{} of {count} heads", kept());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(kept(), count);
}

#[test]
fn a_head_is_signed_by_age_or_by_count_whichever_is_first() {
    let usual = Options::default();
    assert!(usual.head_age <= Duration::from_secs(60) && usual.head_commits <= 1_000);
    let (soon, never) = (Duration::from_millis(20), Duration::from_secs(24 * 3600));
    let dir = tempfile::tempdir().unwrap();
    let open = |head_age, head_commits| {
        let store = Arc::new(SledStore::open(dir.path()).unwrap());
        Journal::open(store, Options { head_age, head_commits, ..usual }).unwrap()
    };

    let journal = open(soon, u32::MAX);
    add(&journal, "1", zone("a"));
    wait_for_heads(dir.path(), 1);
    add(&journal, "2", zone("a"));
    wait_for_heads(dir.path(), 2);
    journal.close();

    let journal = open(never, 5);
    (3..16).for_each(|at| _ = add(&journal, &at.to_string(), zone("a")));
    wait_for_heads(dir.path(), 4);
    journal.close();
    wait_for_heads(dir.path(), 5);

    // What a crash left unsigned, though nothing more comes.
    std::fs::remove_file(dir.path().join(HEADS)).unwrap();
    let journal = open(soon, u32::MAX);
    wait_for_heads(dir.path(), 1);
    drop(journal);
    verify_dir(dir.path()).unwrap();
}

/// Lines that were on their way to the disk when the power went have zeros in them.
#[test]
fn torn_heads_are_no_fault_wherever_they_are_and_a_key_has_its_name_when_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("head.key.draft"), "half").unwrap();
    for commands in [0..10, 10..20, 20..30] {
        let journal = open_dir(dir.path());
        fill(&journal, commands);
        journal.close();
    }
    let path = dir.path().join(HEADS);
    let whole = std::fs::read(&path).unwrap();
    let line = whole.iter().position(|byte| *byte == b'\n').unwrap();
    for zeros in [0..100, 100..line, line - 10..line + 10, line + 5..whole.len() - 5] {
        let mut torn = whole.clone();
        torn[zeros].fill(0);
        std::fs::write(&path, &torn).unwrap();
        verify_dir(dir.path()).unwrap();
        let journal = open_dir(dir.path());
        journal.verify(|_| {}).unwrap();
        journal.close();
    }
    let journal = open_dir(dir.path());
    fill(&journal, 30..40);
    journal.close();
    verify_dir(dir.path()).unwrap();
}

/// Someone writes the whole log anew, key and heads included; or goes back to an older copy of it.
#[test]
fn an_anchor_names_a_rewritten_log_and_a_cut_one() {
    let (dir, forged, old) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let write = |dir: &Path, commands: std::ops::Range<u64>| {
        let journal = open_dir(dir);
        fill(&journal, commands);
        let head = journal.signed_head();
        journal.close();
        head.unwrap()
    };
    let anchor = write(dir.path(), 0..100);
    write(forged.path(), 1..111);
    write(old.path(), 0..50);
    verify_dir(forged.path()).unwrap();
    assert_eq!(verify_dir_against(forged.path(), Some(&anchor)).unwrap_err().position, 200);
    let cut = verify_dir_against(old.path(), Some(&anchor)).unwrap_err();
    assert_eq!(cut.position, 101, "{cut}");
    assert!(cut.why.contains("is missing"), "{cut}");

    // With its own heads beside it, a cut log is not even opened.
    std::fs::copy(dir.path().join(HEADS), old.path().join(HEADS)).unwrap();
    let store = Arc::new(SledStore::open(old.path()).unwrap());
    let refused = Journal::open(store, Options::default()).map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::Broken(Broken { position: 101, .. })), "{refused}");
}

#[test]
fn a_torn_last_head_is_no_fault_and_a_changed_one_is() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open_dir(dir.path());
    fill(&journal, 0..10);
    journal.close();
    let path = dir.path().join(HEADS);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{}", &text[..20])).unwrap();
    verify_dir(dir.path()).unwrap();
    let journal = open_dir(dir.path());
    fill(&journal, 10..20);
    journal.close();
    verify_dir(dir.path()).unwrap();
    std::fs::write(&path, text.replace("\"position\":20", "\"position\":18")).unwrap();
    assert!(verify_dir(dir.path()).unwrap_err().why.contains("signed head"));
}
