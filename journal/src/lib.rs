//! The append-only log: append, read, subscribe, verify, over a small frame store.
