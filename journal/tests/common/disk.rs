//! A disk that can lose power and fail, around a child process: `disk.c` keeps what was synced, and this file makes
//! of it what would be left.
//!
//! After a power loss a file has the bytes of its last sync, and at random some of the sectors and of the length that
//! were written since; a directory has the entries of its last sync or, at random, all that it had in the end.
//!
//! Not here: operations on one directory that survive out of their order, and bytes that were overwritten twice
//! between two syncs.

use super::random::Random;
use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

const SECTOR_BYTES: usize = 512;
const PAGE_BYTES: usize = 4096;

/// The library that is loaded into the child.
static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("disk.so");
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../journal/tests/common/disk.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]).arg(&draft).arg(&source);
    assert!(compiler.args(["-ldl", "-lpthread"]).status().unwrap().success());
    fs::rename(draft, &path).unwrap();
    path
});

/// How much of what was not synced survives a power loss.
#[derive(Clone, Copy, Debug)]
pub enum Unsynced {
    /// Nothing.
    Lost,
    /// This percentage of the sectors, of the grown lengths and of the directories.
    Torn(usize),
}

/// A directory, and what would be left of it.
pub struct Disk {
    root: tempfile::TempDir,
}

impl Disk {
    /// With an empty directory.
    pub fn new() -> Disk {
        let disk = Disk { root: tempfile::tempdir().unwrap() };
        fs::create_dir(disk.dir()).unwrap();
        disk.settle();
        disk
    }

    /// The directory on this disk.
    pub fn dir(&self) -> PathBuf {
        self.root.path().canonicalize().unwrap().join("dir")
    }

    fn shadow(&self) -> PathBuf {
        self.root.path().join("shadow")
    }

    /// Puts the disk under `child`. Only what it syncs will be left.
    pub fn under(&self, child: &mut Command) {
        self.failing_under(child);
        child.env("DISK_SHADOW", self.shadow()).env("DISK_DELAY_US", "2000");
    }

    /// Puts the disk under `child`, to fail as the environment says, and not to lose power.
    pub fn failing_under(&self, child: &mut Command) {
        child.env("LD_PRELOAD", &*LIBRARY).env("DISK_DIR", self.dir());
    }

    /// All that is there now is durable.
    pub fn settle(&self) {
        let shadow = self.shadow();
        let _ = fs::remove_dir_all(&shadow);
        for folder in ["inodes", "names"] {
            fs::create_dir_all(shadow.join(folder)).unwrap();
        }
        for (inode, path) in inodes(&self.dir()) {
            if path.is_dir() {
                let lines = entries(&path).iter().map(|entry| entry.line()).collect::<String>();
                fs::write(shadow.join("names").join(inode.to_string()), lines).unwrap();
            } else {
                fs::copy(&path, shadow.join("inodes").join(inode.to_string())).unwrap();
            }
        }
    }

    /// Takes away what does not survive. The child must be dead.
    pub fn lose_power(&self, unsynced: Unsynced, random: &mut Random) {
        let left = self.root.path().join("left");
        let dir = self.dir();
        let now = inodes(&dir);
        let root = fs::metadata(&dir).unwrap().ino();
        Loss { shadow: self.shadow(), now, unsynced, random }.dir(root, &left);
        fs::remove_dir_all(&dir).unwrap();
        fs::rename(left, &dir).unwrap();
        self.settle();
    }
}

struct Entry {
    inode: u64,
    is_dir: bool,
    name: String,
}

impl Entry {
    fn line(&self) -> String {
        format!("{} {} {}\n", self.inode, if self.is_dir { 'd' } else { 'f' }, self.name)
    }

    fn parse(line: &str) -> Entry {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().unwrap();
        Entry { inode: word().parse().unwrap(), is_dir: word() == "d", name: word().to_string() }
    }
}

fn entries(dir: &Path) -> Vec<Entry> {
    let entry = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        Entry { inode: metadata.ino(), is_dir: metadata.is_dir(), name: entry.file_name().into_string().unwrap() }
    };
    let mut entries: Vec<Entry> = fs::read_dir(dir).unwrap().map(entry).collect();
    // The same seed is the same loss.
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    entries
}

/// Where each inode of a tree is.
fn inodes(dir: &Path) -> HashMap<u64, PathBuf> {
    let mut found = HashMap::from([(fs::metadata(dir).unwrap().ino(), dir.to_path_buf())]);
    for entry in entries(dir) {
        let path = dir.join(entry.name);
        match entry.is_dir {
            true => found.extend(inodes(&path)),
            false => _ = found.insert(entry.inode, path),
        }
    }
    found
}

struct Loss<'r> {
    shadow: PathBuf,
    now: HashMap<u64, PathBuf>,
    unsynced: Unsynced,
    random: &'r mut Random,
}

impl Loss<'_> {
    fn survives(&mut self) -> bool {
        matches!(self.unsynced, Unsynced::Torn(percent) if self.random.below(100) < percent)
    }

    fn dir(&mut self, inode: u64, to: &Path) {
        fs::create_dir(to).unwrap();
        let names = fs::read_to_string(self.shadow.join("names").join(inode.to_string())).unwrap_or_default();
        let mut left: Vec<Entry> = names.lines().map(Entry::parse).collect();
        left.sort_by(|one, other| one.name.cmp(&other.name));
        if self.survives()
            && let Some(now) = self.now.get(&inode)
        {
            left = entries(now);
        }
        for entry in left {
            let to = to.join(entry.name);
            match entry.is_dir {
                true => self.dir(entry.inode, &to),
                false => fs::write(to, self.file(entry.inode)).unwrap(),
            }
        }
    }

    fn file(&mut self, inode: u64) -> Vec<u8> {
        let mut left = fs::read(self.shadow.join("inodes").join(inode.to_string())).unwrap_or_default();
        let Some(now) = self.now.get(&inode).map(|path| fs::read(path).unwrap()) else { return left };
        if self.survives() {
            // A length grows with the pages that are written back.
            let grown = now.len().saturating_sub(left.len());
            let pages = (now.len() - self.random.below(grown)).next_multiple_of(PAGE_BYTES);
            left.resize(pages.min(now.len()), 0);
        }
        for (left, now) in left.chunks_mut(SECTOR_BYTES).zip(now.chunks(SECTOR_BYTES)) {
            let same = left.len().min(now.len());
            if left[..same] != now[..same] && self.survives() {
                left[..same].copy_from_slice(&now[..same]);
            }
        }
        left
    }
}
