//! A disk that is full: the log becomes read-only with a clear word, reads go on, nothing that was acknowledged
//! is lost, and after a reopen with space it takes commits again. On a small tmpfs, which needs root.

mod common;

use common::*;
use std::{path::Path, sync::Arc};
use switchback_journal::*;

/// A tmpfs for as long as the value lives.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(megabytes: u32) -> SmallDisk {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={megabytes}m");
        nix::mount::mount(
            Some("tmpfs"),
            dir.path(),
            Some("tmpfs"),
            nix::mount::MsFlags::empty(),
            Some(options.as_str()),
        )
        .expect("mounting a tmpfs needs root");
        SmallDisk(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn grow(&self, megabytes: u32) {
        let options = format!("size={megabytes}m");
        nix::mount::mount(
            None::<&str>,
            self.path(),
            None::<&str>,
            nix::mount::MsFlags::MS_REMOUNT,
            Some(options.as_str()),
        )
        .unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_makes_the_journal_read_only_and_space_heals_it() {
    let disk = SmallDisk::mount(8);
    let dir = disk.path().join("journal");
    let journal = open(Arc::new(SledStore::open(&dir).unwrap()));
    let mut acknowledged = 0;
    let why = loop {
        let name = acknowledged.to_string();
        let next = proposal(&name, vec![(zone("a"), created(&"x".repeat(20_000)))]);
        let appended = match append(&journal, next) {
            Ok(appended) => appended,
            Err(refused) => break refused.to_string(),
        };
        match wait(appended.durable()) {
            Ok(commit) => acknowledged = commit.last_position(),
            Err(read_only) => break read_only.to_string(),
        }
        assert!(acknowledged < 10_000, "the disk is never full");
    };
    assert!(why.contains("read-only"), "{why}");
    assert!(acknowledged > 10, "{acknowledged}: {why}");
    assert!(journal.read_only().is_some());
    let refused = append(&journal, proposal("later", vec![(zone("a"), deleted())]));
    assert!(matches!(refused, Err(AppendError::ReadOnly(_))));
    assert_eq!((journal.head(), journal.durable()), (acknowledged, acknowledged));
    assert_eq!(journal.read(0, usize::MAX).unwrap().len() as u64, acknowledged);
    assert_eq!(journal.read_stream(zone("a"), 0).unwrap().len() as u64, acknowledged);
    drop(journal);

    disk.grow(64);
    let journal = open(Arc::new(SledStore::open(&dir).unwrap()));
    assert!(journal.head() >= acknowledged, "{} of {acknowledged} are left", journal.head());
    assert!(append(&journal, proposal("0", vec![])).unwrap().repeated);
    add(&journal, "later", zone("a"));
    journal.verify(|_| {}).unwrap();
}
