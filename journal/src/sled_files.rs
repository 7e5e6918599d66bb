//! What sled 0.34.7 leaves undone for its own files, so that no crash keeps it from opening them again:
//!
//! * It writes `conf`, how it cuts its data file, once, in place, and never syncs it: a power loss soon after could
//!   leave zeros. So `conf` is made elsewhere, and put in place when it is whole and on disk.
//! * It writes a snapshot of its page table as `snap.<n>.generating` and then renames it, but takes what is still named
//!   so for the latest snapshot when it opens: after a kill in between, for a torn one. So drafts are removed first.
//!
//! **Invariant:** `conf` is whole before there is any other file of sled; sled sees no draft.

use crate::segments::sync_dir;
use std::{
    fs::{self, File},
    io,
    path::Path,
};

const CONF: &str = "conf";
const CONF_DRAFT: &str = "conf.draft";
const SNAPSHOT_DRAFT: &str = "generating";

/// Makes `dir` ready for sled to open, with the configuration that `config_of` gives for a directory.
pub(crate) fn prepare(dir: &Path, config_of: impl Fn(&Path) -> sled::Config) -> io::Result<()> {
    if dir.join(CONF).exists() {
        return remove_drafts(dir);
    }
    let draft = dir.join(CONF_DRAFT);
    // A crash may have left one that is not whole.
    let _ = fs::remove_dir_all(&draft);
    let made = config_of(&draft).open()?;
    File::open(draft.join(CONF))?.sync_all()?;
    fs::rename(draft.join(CONF), dir.join(CONF))?;
    sync_dir(dir)?;
    drop(made);
    // What is left of it does no harm.
    let _ = fs::remove_dir_all(&draft);
    Ok(())
}

fn remove_drafts(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == SNAPSHOT_DRAFT) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::{Frame, FrameStore, SledStore};

    #[test]
    fn a_kill_while_sled_wrote_its_snapshot_or_conf_was_made_is_no_fault() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("conf.draft")).unwrap();
        std::fs::write(dir.path().join("conf.draft/conf"), [0; 60]).unwrap();
        let frame = Frame { first: 1, last: 1, bytes: b"frame".to_vec() };
        let store = SledStore::open(dir.path()).unwrap();
        store.append(0, std::slice::from_ref(&frame)).unwrap();
        drop(store);
        for torn in [&b""[..], b"torn in the midst of it"] {
            std::fs::write(dir.path().join("snap.00FFFFFFFFFFFFFF.generating"), torn).unwrap();
            let at_rest = SledStore::open_at_rest(dir.path()).unwrap();
            assert_eq!(at_rest.frame_at(1).unwrap().as_ref(), Some(&frame));
            let store = SledStore::open(dir.path()).unwrap();
            assert_eq!(store.frame_at(1).unwrap().as_ref(), Some(&frame));
        }
    }
}
