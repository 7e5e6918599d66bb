//! HTTP: the native API and ZStack's, from the one catalogue of messages.
//!
//! A request becomes a message, goes over the [`Bus`](switchback_bus::Bus), and its reply or refusal becomes a
//! response. Nothing is decided here: not what a message means, not whether it is allowed, only how it looks in HTTP.
//!
//! **Invariant:** every response that is not a success is made in `error.rs`: an RFC 9457 problem, or below `/zstack/v1`
//! an `error` of ZStack's; no request, however malformed, ends the process.
//!
//! Not here: the console.

#![forbid(unsafe_code)]

mod audit;
mod command;
mod error;
mod events;
mod guard;
mod health;
mod jobs;
mod limits;
mod message;
mod metrics;
mod openapi;
mod parameters;
mod query;
mod routes;
mod rules;
mod server;
mod tls;
mod viewer;
mod zstack;

pub use error::Problem;
pub use events::StreamTimes;
pub use limits::Limits;
pub use openapi::document as openapi_document;
pub use routes::Gateway;
pub use server::{Listening, Options, serve};
pub use switchback_bus::{Asked, Caller, Credentials, FixedTokens, Rates, Tokens};
pub use tls::Certificate;
