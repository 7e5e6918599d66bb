//! Makes a kernel match a configuration: observe, plan, apply; host role and router role.
//!
//! **Invariant:** the agent recomputes from the whole document each time; what changed only wakes it.
//!
//! ```text
//!   server: Agents ──► client ──(mTLS)──► server.rs ──► host, router ──► services ──► kernel: Linux
//!                └───► simulated ───────────────────────────┘                  └────► kernel: in memory
//! ```

pub mod agents;
pub mod bootstrap;
pub mod check;
pub mod client;
pub mod document;
pub mod host;
pub mod kernel;
pub mod pki;
pub mod router;
pub mod run;
pub mod server;
pub mod services;
pub mod simulated;
pub mod version;

pub use agents::{AgentAt, AgentOf, Agents};
pub use client::{AgentClient, Timeouts};
pub use document::{push_of_host, push_of_router};
pub use host::clean_up;
pub use pki::{Authority, identity_of_token, install_provider};
pub use run::{HostOptions, RouterOptions, run_host, run_router};
pub use simulated::{FleetOptions, SimulatedFleet};
