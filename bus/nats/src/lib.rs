//! The bus over NATS: commands, reads and events on subjects that any NATS client can ask and follow.
//!
//! ```text
//!  NATS client ──► listener (ours, embedded) ──┐            ┌──► Bus: commands, reads
//!                                              ├─► Service ─┤
//!  NATS client ──► nats-server ──► remote ─────┘            └──► Bus: the past, page by page
//!
//!  Bus: durable events ──► event ──► listener's subscribers, and remote ──► nats-server (and its JetStream)
//! ```
//! What a subject means is decided in `service.rs` and `event.rs`, once for both ways, so that a client does not see
//! which of them carries it.
//!
//! **Invariants:** a request is answered by what HTTP would answer to the same account; an event goes out only after it
//! is durable, in the order of the log; a client that does not read costs only itself.
//!
//! Not here: what a message means or whether it is allowed, which is behind the [`Bus`](switchback_bus::Bus).

#![forbid(unsafe_code)]

mod credentials;
mod event;
mod fill;
mod headers;
mod limits;
mod listener;
mod remote;
mod replay;
mod service;
mod subject;

pub use credentials::{Login, LoginError};
pub use event::published;
pub use fill::{Fill, JetStream, STREAM};
pub use headers::Headers;
pub use limits::Limits;
pub use listener::{Head, ListenerLimits, ListenerOptions, Listening, is_user_key, listen};
pub use remote::{Remote, RemoteError, RemoteOptions};
pub use service::{Request, Service};
pub use subject::Asked as AskedSubject;

use bytes::Bytes;

/// A message as it goes out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// Where to: of a reply, the subject that the request named.
    pub subject: String,
    /// What stands beside the payload.
    pub headers: Headers,
    /// The payload: JSON.
    pub payload: Bytes,
}
