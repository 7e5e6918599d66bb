//! Which agent this is: the digest of its binary, its release, and this run of it.

use sha2::{Digest, Sha256};
use std::{fs, io, sync::OnceLock};
use switchback_appliance::hex;

/// The identity of a running agent.
pub struct Build {
    digest: OnceLock<String>,
    /// The release.
    pub version: String,
    /// Chosen at start.
    pub boot_id: String,
}

impl Build {
    /// This process.
    pub fn own() -> Self {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
        let boot_id = boot_id.trim().replace('-', "");
        Self { digest: OnceLock::new(), version: env!("CARGO_PKG_VERSION").to_string(), boot_id }
    }

    /// Another one, for simulations.
    pub fn of(digest: &str, boot_id: &str) -> Self {
        Self {
            digest: OnceLock::from(digest.to_string()),
            version: env!("CARGO_PKG_VERSION").to_string(),
            boot_id: boot_id.to_string(),
        }
    }

    /// SHA-256 of the binary, read the first time that somebody asks.
    pub fn digest(&self) -> &str {
        self.digest.get_or_init(|| own_digest().unwrap_or_default())
    }
}

/// SHA-256 of the binary of this process, in hexadecimal.
pub fn own_digest() -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut fs::File::open("/proc/self/exe")?, &mut hasher)?;
    Ok(hex(&hasher.finalize()))
}
