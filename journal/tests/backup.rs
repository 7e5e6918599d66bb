//! Backups, full and incremental, restored to the end, a position or a time; and the log as JSON lines and back.

mod common;

use common::*;
use std::{path::Path, sync::Arc};
use switchback_events::*;
use switchback_journal::*;

fn open_dir(dir: &Path) -> Journal {
    open(Arc::new(SledStore::open(dir).unwrap()))
}

/// Commits of two events, one microsecond apart.
fn fill(journal: &Journal, commands: std::ops::Range<u64>) {
    for at in commands {
        let mut next = proposal(&at.to_string(), vec![(zone("a"), created("a")), (zone("b"), deleted())]);
        next.at = at as Micros;
        next.reads = vec![(zone("a"), journal.version(zone("a"))), (zone("c"), 0)];
        append(journal, next).unwrap();
        if at % 30 == 0 {
            wait(journal.wait_durable(journal.head())).unwrap();
        }
    }
    wait(journal.wait_durable(journal.head())).unwrap();
}

fn commits(dir: &Path) -> Vec<Arc<Commit>> {
    open_dir(dir).read(0, 10_000).unwrap()
}

#[test]
fn a_restore_of_a_full_and_two_incremental_backups_is_the_log() {
    let (home, full, second, third) = (dir(), dir(), dir(), dir());
    let journal = open_dir(home.path());
    assert_eq!(journal.backup(full.path(), 0).unwrap(), None);
    fill(&journal, 0..100);
    let first = journal.backup(full.path(), 0).unwrap().unwrap();
    assert_eq!((first.first, first.last), (1, 200));
    fill(&journal, 100..150);
    journal.seal(220).unwrap();
    let next = journal.backup(second.path(), first.last).unwrap().unwrap();
    assert_eq!((next.first, next.last, next.chain_before), (201, 300, first.chain_after));
    assert_eq!(journal.backup(third.path(), next.last).unwrap(), None);
    fill(&journal, 150..200);
    journal.backup(third.path(), next.last).unwrap().unwrap();
    let (expected, head) = (journal.read(0, 10_000).unwrap(), journal.chain_head());

    let target = dir();
    let dirs = [third.path(), full.path(), second.path()];
    let verified = restore(&dirs, target.path(), Upto::End).unwrap();
    assert_eq!((verified.head, verified.chain), head);
    assert!(matches!(restore(&dirs, target.path(), Upto::End), Err(BackupError::NotEmpty(_))));
    assert!(commits(target.path()) == expected);

    for position in [0, 1, 2, 3, 57, 58, 200, 201, 399, 400, 500] {
        let target = dir();
        let verified = restore(&dirs, target.path(), Upto::Position(position)).unwrap();
        assert_eq!(verified.head, position.min(400) / 2 * 2);
        assert!(commits(target.path()) == expected[..verified.commits as usize]);
    }
    for time in [-1, 0, 1, 99, 120, 199, 999] {
        let target = dir();
        let verified = restore(&dirs, target.path(), Upto::Time(time)).unwrap();
        assert_eq!(verified.commits as i64, (time + 1).clamp(0, 200));
        // It is a log like any other.
        let journal = open_dir(target.path());
        add(&journal, "more", zone("d"));
        journal.verify(|_| {}).unwrap();
    }
    let gap = restore(&[full.path(), third.path()], dir().path(), Upto::End).unwrap_err();
    assert!(matches!(gap, BackupError::Gap { next: 201, found: 301 }), "{gap}");
}

#[test]
fn a_changed_backup_is_not_restored() {
    let (home, backup) = (dir(), dir());
    let journal = open_dir(home.path());
    fill(&journal, 0..100);
    journal.backup(backup.path(), 0).unwrap();
    let path = backup.path().join(format!("{:020}.segment", 1));
    let whole = std::fs::read(&path).unwrap();
    for step in 0..50 {
        let mut changed = whole.clone();
        let at = whole.len() * step / 50;
        changed[at] ^= 4;
        std::fs::write(&path, changed).unwrap();
        restore(&[backup.path()], dir().path(), Upto::End).unwrap_err();
    }
}

#[test]
fn json_lines_become_the_same_log_again() {
    let home = dir();
    let journal = open_dir(home.path());
    fill(&journal, 0..1_200);
    let mut lines = Vec::new();
    assert_eq!(journal.export_jsonl(&mut lines, 0, Position::MAX).unwrap(), 2_400);
    let (expected, head) = (journal.read(0, 10_000).unwrap(), journal.chain_head());
    let target = dir();
    let verified = import_jsonl(&mut &lines[..], target.path()).unwrap();
    assert_eq!((verified.head, verified.chain), head);
    assert!(commits(target.path()) == expected);

    let text = String::from_utf8(lines).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    assert_eq!(line["specversion"], "1.0");
    assert_eq!(line["id"], "2");
    assert_eq!(line["type"], "switchback.zone.Deleted.v1");
    assert_eq!(line["subject"], format!("zone/{}", zone("b").id));
    assert_eq!(line["time"], "1970-01-01T00:00:00.000000Z");
    assert_eq!(line["principal"], "admin");

    let mut part = Vec::new();
    assert_eq!(journal.export_jsonl(&mut part, 10, 13).unwrap(), 4);
    assert!(import_jsonl(&mut &part[..], dir().path()).is_err());
}

#[test]
fn edited_lines_are_refused_with_their_number() {
    let home = dir();
    let journal = open_dir(home.path());
    fill(&journal, 0..10);
    let mut lines = Vec::new();
    journal.export_jsonl(&mut lines, 0, Position::MAX).unwrap();
    let text = String::from_utf8(lines).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let changed = |number: usize, line: Option<String>| {
        let mut changed: Vec<String> = lines.iter().map(|line| line.to_string()).collect();
        match line {
            Some(line) => changed[number] = line,
            None => drop(changed.remove(number)),
        }
        import_jsonl(&mut changed.join("\n").as_bytes(), dir().path()).unwrap_err()
    };
    for number in 0..lines.len() {
        let error = changed(number, Some(lines[number].replace("\"admin\"", "\"nobody\"")));
        assert!(matches!(error, JsonlError::Line { line, .. } if line == number as u64 + 1), "{error}");
        assert!(error.to_string().contains("`principal` was changed"), "{error}");
        assert!(number + 1 == lines.len() || matches!(changed(number, None), JsonlError::Line { .. }));
    }
    changed(lines.len() - 1, None);
}

/// What a backup is as bytes.
fn sent(journal: &Journal, after: Position) -> Vec<u8> {
    let (mut bytes, upto) = journal.backup_head(after).unwrap();
    let mut reached = after;
    while let Some((frames, last)) = journal.backup_frames(reached, upto).unwrap() {
        bytes.extend(frames);
        reached = last;
    }
    bytes
}

#[test]
fn a_backup_that_arrives_cut_or_changed_is_not_kept() {
    let (home, target) = (dir(), dir());
    let journal = open_dir(home.path());
    fill(&journal, 0..60);
    let whole = sent(&journal, 0);
    for at in (0..whole.len()).step_by(31).chain([whole.len() - 1]) {
        let mut changed = whole.clone();
        changed[at] ^= 4;
        for bytes in [&whole[..at], &changed] {
            let received = receive_backup(&mut &bytes[..], target.path(), None, |_| {});
            assert!(received.is_err(), "{at}: {received:?}");
            assert_eq!(std::fs::read_dir(target.path()).unwrap().count(), 0, "{at}");
        }
    }
    let manifest = receive_backup(&mut &whole[..], target.path(), None, |_| {}).unwrap().unwrap();
    assert_eq!(last_backup(target.path()).unwrap(), Some(manifest));
}

#[test]
fn a_backup_is_continued_only_by_the_same_log() {
    let (home, other, target) = (dir(), dir(), dir());
    let (journal, other) = (open_dir(home.path()), open_dir(other.path()));
    fill(&journal, 0..50);
    fill(&other, 50..150);
    let base = receive_backup(&mut &sent(&journal, 0)[..], target.path(), None, |_| {}).unwrap().unwrap();
    let wrong = receive_backup(&mut &sent(&other, base.last)[..], target.path(), Some(&base), |_| {}).unwrap_err();
    assert!(matches!(wrong, BackupError::OtherLog(100)), "{wrong}");
    let nothing = receive_backup(&mut &sent(&journal, base.last)[..], target.path(), Some(&base), |_| {}).unwrap();
    assert_eq!(nothing, None);
    fill(&journal, 50..70);
    let mut reached = 0;
    let more = receive_backup(&mut &sent(&journal, base.last)[..], target.path(), Some(&base), |at| reached = at);
    assert_eq!((more.unwrap().unwrap().last, reached), (140, 140));
    let verified = restore(&[target.path()], dir().path(), Upto::End).unwrap();
    assert_eq!((verified.head, verified.chain), journal.chain_head());
    let empty = restore(&[dir().path()], dir().path(), Upto::End).unwrap_err();
    assert!(matches!(empty, BackupError::Empty(_)), "{empty}");
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}
