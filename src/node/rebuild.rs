//! What a data directory holds besides the log, made again from the log.

use super::{DataDir, Progress, at_rest::locked, config_defaults};
use anyhow::Context;
use std::{fs, io::ErrorKind, path::Path, sync::Arc, time::Duration};
use switchback_events::Position;
use switchback_journal::{Journal, Options, SledStore};
use switchback_projections::Projections;

const CHECKPOINT: &str = "index.checkpoint";
const INVENTORIES: &str = "inventories.db";
/// How often it is looked how far the inventories are.
const LOOK: Duration = Duration::from_millis(100);

/// Deletes index checkpoint, snapshots and inventories of a data directory, and makes checkpoint and inventories again
/// from the whole log; snapshots come by and by. Gives the position of the log's end.
///
/// # Errors
/// No data directory, a server that has it open, a log that is not what was written, files that cannot be written.
pub fn rebuild(directory: &Path, progress: &Progress) -> anyhow::Result<Position> {
    drop(locked(directory)?);
    let data = DataDir::at(directory);
    // Opened first: while it is, no server starts; and a log that is not sound loses nothing.
    let store = Arc::new(SledStore::open(data.journal()).context("open the log")?);
    remove(&data.journal().join(CHECKPOINT))?;
    remove(&data.snapshots())?;
    for entry in fs::read_dir(directory).with_context(|| format!("read `{}`", directory.display()))? {
        let path = entry.with_context(|| format!("read `{}`", directory.display()))?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(INVENTORIES)) {
            remove(&path)?;
        }
    }
    let journal = Journal::open(store, Options::default()).context("read the log")?;
    let upto = journal.durable();
    let projections = Projections::open(&data.inventories(), journal.clone(), &config_defaults())?;
    let folded = wait(&projections, upto, progress);
    projections.stop();
    journal.close();
    folded.map(|()| upto)
}

fn wait(projections: &Projections, upto: Position, progress: &Progress) -> anyhow::Result<()> {
    while projections.position() < upto {
        if let Some(why) = projections.failure() {
            anyhow::bail!("fold the log: {why}");
        }
        let reached = projections.progress().rebuild.map_or(projections.position(), |rebuild| rebuild.folded);
        progress(reached, upto);
        std::thread::sleep(LOOK);
    }
    Ok(())
}

fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("delete `{}`", path.display()))
        }
        _ => Ok(()),
    }
}
