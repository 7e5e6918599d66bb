//! What the host's agent leaves for a router's agent before it starts it.

use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf};
use switchback_events::RouterId;

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
    /// The agent's certificate and key, relative to the state directory.
    pub identity: PathBuf,
}

impl Bootstrap {
    /// The name of the file.
    pub const FILE: &str = "bootstrap.json";
}
