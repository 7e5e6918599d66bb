//! Notes in test builds which refusals are made, so that a run of all tests says which of them no test reaches.
//!
//! ```text
//!  Refusal::argument(…) ──► <directory>/<process>: `file:line`, once each ──► tests/tidy/refusals.rs
//! ```
//! Only where `SWITCHBACK_REFUSALS` names a directory, and not in a release, which has nothing of it.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::Write,
    panic::Location,
    path::PathBuf,
    sync::{Mutex, OnceLock, PoisonError},
};

/// The file of this process, and the lines that are in it.
type Notes = Mutex<(File, BTreeSet<String>)>;

static NOTES: OnceLock<Option<Notes>> = OnceLock::new();

fn open() -> Option<Notes> {
    let directory = PathBuf::from(std::env::var_os("SWITCHBACK_REFUSALS")?);
    let file = directory.join(std::process::id().to_string());
    let file = OpenOptions::new().create(true).append(true).open(file).ok()?;
    Some(Mutex::new((file, BTreeSet::new())))
}

pub fn note(made: &Location) {
    let Some(notes) = NOTES.get_or_init(open) else { return };
    let line = format!("{}:{}\n", made.file(), made.line());
    let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
    if !notes.1.contains(&line) {
        // One write a line: a process that is killed leaves whole lines.
        let _ = notes.0.write_all(line.as_bytes());
        notes.1.insert(line);
    }
}
