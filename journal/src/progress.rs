//! How far the log is durable, for those who wait for it.

use std::sync::Arc;
use switchback_events::Position;
use tokio::sync::watch;

/// Nothing more will become durable: a write failed, or the journal was closed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the journal is read-only: {0}")]
pub struct ReadOnly(pub String);

/// What the writer announces.
#[derive(Clone, Default, Debug)]
pub(crate) struct Progress {
    /// Everything up to here is on disk.
    pub durable: Position,
    /// Why nothing more will be.
    pub ended: Option<Arc<str>>,
    /// The journal was closed.
    pub closed: bool,
}

/// Waits until `position` is durable.
pub(crate) async fn wait_durable(mut progress: watch::Receiver<Progress>, position: Position) -> Result<(), ReadOnly> {
    let reached = |progress: &Progress| progress.durable >= position || progress.ended.is_some();
    let last = match progress.wait_for(reached).await {
        Ok(now) => now.clone(),
        Err(_) => return Err(ReadOnly("the journal was closed".to_string())),
    };
    match last.ended {
        Some(why) if last.durable < position => Err(ReadOnly(why.to_string())),
        _ => Ok(()),
    }
}
