//! sled's `conf`: how it cuts its data file. sled writes it once, in place, and never syncs it, so that a power loss
//! soon after could leave zeros, and sled would not open the log again. It is made elsewhere, and put in place when it
//! is whole and on disk.
//!
//! **Invariant:** `conf` is whole before there is any other file of sled.

use crate::segments::sync_dir;
use std::{
    fs::{self, File},
    io,
    path::Path,
};

const CONF: &str = "conf";
const DRAFT: &str = "conf.draft";

/// Puts `conf` in `dir`, unless there is one, as sled makes it for a database of this configuration.
pub(crate) fn place(dir: &Path, config_of: impl Fn(&Path) -> sled::Config) -> io::Result<()> {
    if dir.join(CONF).exists() {
        return Ok(());
    }
    let draft = dir.join(DRAFT);
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
