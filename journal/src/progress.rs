//! How far the log is durable, for those who follow it.

use std::sync::Arc;
use switchback_events::Position;

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
