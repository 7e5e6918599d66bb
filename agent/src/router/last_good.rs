//! The document in force, as it is kept on disk: one file, and beside it the changes since, a line each. Of changes that are
//! cut off by a crash those before hold.
//!
//! **Invariant:** what is read is a document that was in force, with the digests that it had then.

use crate::{
    document,
    kernel::{Kernel, KernelError},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};
use switchback_appliance::{Push, Sections, changes::few_of};
use switchback_events::Position;

/// The document.
pub const LAST_GOOD: &str = "last-good.json";
/// What changed since.
pub const CHANGES: &str = "last-good.changes";
/// After so many changes the whole document is written again.
pub const CHANGES_MAX: u32 = 512;

/// A document in force.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastGood {
    pub revision: Position,
    pub epoch: u64,
    pub sections: Sections,
    /// Those of the sections.
    #[serde(skip)]
    pub digests: BTreeMap<String, String>,
}

/// Reads what was kept, if anything was.
pub fn read(kernel: &dyn Kernel, directory: &Path) -> Result<Option<LastGood>, KernelError> {
    let Some(text) = kernel.read(&directory.join(LAST_GOOD))? else { return Ok(None) };
    // One of an earlier agent may have another form: the server sends a whole one anyhow.
    let unreadable = |error: &serde_json::Error| tracing::warn!(%error, "the last good configuration cannot be read");
    let Ok(mut good) = serde_json::from_str::<LastGood>(&text).inspect_err(unreadable) else { return Ok(None) };
    good.digests = good.sections.digests();
    let changes = kernel.read(&directory.join(CHANGES))?.unwrap_or_default();
    let base = (!changes.is_empty()).then(|| good.clone());
    for line in changes.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        match serde_json::from_str::<Push>(line)
            .map_err(|error| error.to_string())
            .and_then(|push| after(&mut good, push))
        {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(
                    error,
                    revision = good.revision,
                    "changes to the last good configuration are passed over"
                );
                break;
            }
        }
    }
    // Each names the digests of what comes of it: they are right all together, or not at all.
    match base {
        Some(base) if good.sections.digests() != good.digests => {
            tracing::warn!(revision = base.revision, "changes to the last good configuration lead elsewhere");
            Ok(Some(base))
        }
        _ => Ok(Some(good)),
    }
}

/// Changes the document, where it is not a later one than what they come to.
fn after(good: &mut LastGood, push: Push) -> Result<(), String> {
    let (revision, epoch) = (push.revision, push.epoch);
    if revision <= good.revision {
        return Ok(());
    }
    let digests = push.sections.iter().map(|(name, section)| (name.clone(), section.digest.clone())).collect();
    match few_of(&push.sections, &good.sections, &good.digests) {
        Some(few) => few.make(&mut good.sections),
        None => {
            let known = document::Known { digests: &good.digests, doubted: false };
            let sections = document::router_sections(push, &good.sections, known);
            good.sections = sections.map_err(|problem| problem.to_string())?;
        }
    }
    (good.revision, good.epoch, good.digests) = (revision, epoch, digests);
    Ok(())
}

/// Keeps a document.
pub fn write(kernel: &dyn Kernel, directory: &Path, good: &LastGood) -> Result<(), KernelError> {
    let text =
        serde_json::to_vec(good).map_err(|error| KernelError::new("write the last good configuration", error))?;
    kernel.write(&directory.join(LAST_GOOD), &text, 0o600)?;
    kernel.remove(&directory.join(CHANGES))
}

/// Keeps what makes the document that is kept the one in force now.
pub fn add(kernel: &dyn Kernel, directory: &Path, changes: &Push) -> Result<(), KernelError> {
    let mut line =
        serde_json::to_vec(changes).map_err(|error| KernelError::new("note changes of the configuration", error))?;
    line.push(b'\n');
    kernel.append(&directory.join(CHANGES), &line, 0o600)
}
