//! Makes a kernel match a configuration: observe, plan, apply; host role and router role.
//!
//! **Invariant:** the agent recomputes from the whole document each time; what changed only wakes it.

pub mod check;
pub mod document;
pub mod kernel;
pub mod router;
pub mod services;
pub mod version;
