//! The append-only log: append, read, subscribe, verify, over a small frame store.
//!
//! ```text
//!  append ──► State (one mutex: versions, indexes, recent commits) ──► queue
//!                ▲                                                       │ up to 512 commits, 1 MB
//!                │ durable, frames, chain                                ▼
//!                └────────────────────────── writer thread: pack, hash, FrameStore::append (durable)
//!                                                │ watch
//!                                                ▼
//!                                waiters for durability, subscriptions
//! ```
//!
//! A commit is first *sequenced* (in memory, microseconds: versions are checked and positions given) and then
//! *durable* (on disk, by group commit). What was sequenced is seen by deciders only; what leaves the process is
//! durable. Durability is a prefix of the log.
//!
//! **Invariant:** positions of events and versions of streams have no gaps; a commit is in the log whole or not
//! at all; what was reported durable is found again at the next open, or the open is refused with the position.
//!
//! Not here: deciding, folding, and any clock. A store with a directory keeps an index checkpoint and signed heads in it.

#![forbid(unsafe_code)]

mod append;
mod backup;
#[doc(hidden)]
pub mod bench;
mod checkpoint;
mod durability;
mod frame_cache;
mod index;
mod journal;
mod jsonl;
mod lanes;
mod memory_store;
mod pace;
mod progress;
mod read;
mod record;
mod replay;
mod segments;
mod signed_heads;
mod sled_files;
mod sled_store;
mod state;
mod store;
mod subscription;
mod verify;
mod writer;

pub use append::{AppendError, Appended, EncodeError, Proposal};
pub use backup::{BackupError, Upto, last_backup, receive_backup, restore, restore_with};
pub use journal::{Journal, OpenError, Options};
pub use jsonl::{JsonlError, Lines, import_jsonl};
pub use memory_store::MemoryStore;
pub use progress::ReadOnly;
pub use read::ReadError;
pub use record::{COMMIT_BYTES_MAX, EventHead, FRAME_BYTES_MAX, Hash};
pub use segments::Manifest;
pub use signed_heads::SignedHead;
pub use sled_store::SledStore;
pub use state::Heads;
pub use store::{Frame, FrameStore, StoreError};
pub use subscription::Subscription;
pub use verify::{
    Broken, Inspection, Verified, inspect_dir, verify_dir, verify_dir_against, verify_dir_with, verify_store,
};
pub use writer::Stepper;
