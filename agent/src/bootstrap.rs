//! What the host's agent leaves for a router's agent before it starts it.

use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf};
use switchback_events::{Position, RouterId};

/// The file of the agent's certificate and key.
pub const IDENTITY: &str = "identity.json";

/// `bootstrap.json` in the router's state directory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bootstrap {
    /// Which router.
    pub router: RouterId,
    /// Where to listen.
    pub listen: SocketAddr,
    /// The agent's certificate and key, seen from the state directory.
    pub identity: PathBuf,
}

/// What a router's agent says when it has come up: `started.json` in its state directory.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Started {
    /// The revision in force.
    pub revision: Position,
    /// What is not well; empty when all is.
    pub unwell: Vec<String>,
}

impl Started {
    /// The name of the file.
    pub const FILE: &str = "started.json";
}

impl Bootstrap {
    /// The name of the file.
    pub const FILE: &str = "bootstrap.json";
}
