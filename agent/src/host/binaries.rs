//! Binaries of routers' agents: put in place by digest, and switched to one router at a time.

use super::{HostEngine, appliances};
use crate::{check::invalid, document::problem};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use switchback_appliance::{AgentProblem, AgentProblemCode, AgentRestart, hex};
use switchback_events::RouterId;

/// Where a binary is.
pub fn path(state_dir: &Path, digest: &str) -> PathBuf {
    state_dir.join("agents").join(digest)
}

impl HostEngine {
    /// Keeps a binary, and drops those that no router uses.
    pub fn put_binary(&self, digest: &str, bytes: &[u8]) -> Result<(), AgentProblem> {
        let failed = |error: crate::kernel::KernelError| problem(AgentProblemCode::Failed, error.to_string());
        if digest != hex(&Sha256::digest(bytes)) {
            return Err(invalid("agent", "the digest is not that of the bytes"));
        }
        let mut state = self.state.lock();
        let directory = &self.settings.state_dir;
        self.kernel.write(&path(directory, digest), bytes, 0o755).map_err(failed)?;
        let made = &mut state.record.made;
        made.binaries.insert(digest.to_string());
        let of_successor = |held: &super::record::MadeAppliance| held.successor.as_ref()?.binary.clone();
        let held = made.appliances.values();
        let used: Vec<String> =
            held.flat_map(|held| held.binary.clone().into_iter().chain(of_successor(held))).collect();
        let unused = |held: &&String| *held != digest && !used.contains(held);
        let unused: Vec<String> = made.binaries.iter().filter(unused).cloned().collect();
        for digest in unused {
            self.kernel.remove(&path(directory, &digest)).map_err(failed)?;
            made.binaries.remove(&digest);
        }
        state.record.write(self.kernel.as_ref(), directory).map_err(failed)
    }

    /// Starts a router's agent again, with another binary where one is named. The namespace with its addresses
    /// and its table stays. A binary that does not come up is given up for the one before.
    pub fn restart_agent(&self, router: RouterId, restart: &AgentRestart) -> Result<(), AgentProblem> {
        let mut state = self.state.lock();
        let Some(mut made) = state.record.made.appliances.get(&router).cloned() else {
            return Err(problem(AgentProblemCode::WrongRouter, format!("router {router} is not on this host")));
        };
        if let Some(digest) = &restart.digest
            && !state.record.made.binaries.contains(digest)
        {
            return Err(invalid("agent", format!("no binary with digest `{digest}` was put in place")));
        }
        if super::succession::has_changed_places(&made) {
            return Err(problem(AgentProblemCode::Failed, format!("router {router} is being replaced")));
        }
        let failed = |detail: String| problem(AgentProblemCode::Failed, detail);
        let site = self.site().map_err(|error| failed(error.to_string()))?;
        let before = made.binary.clone();
        made.binary = restart.digest.clone().or(before.clone());
        let start = |made: &mut super::record::MadeAppliance| {
            appliances::end(site.kernel, &made.process);
            let home = appliances::Home::of(&self.settings, router, made.second);
            made.process = appliances::start(&site, router, &home, &made.config, made.binary.as_deref())?;
            appliances::wait(&site, &home, &made.config, &made.process)
        };
        let mut done = start(&mut made);
        if let Err(why) = &done
            && made.binary != before
        {
            made.binary = before;
            let back = start(&mut made).err().map_or("is back".to_string(), |error| format!("fails too: {error}"));
            done = Err(format!("{why}; the binary before it {back}"));
        }
        state.record.made.appliances.insert(router, made);
        state
            .record
            .write(self.kernel.as_ref(), &self.settings.state_dir)
            .map_err(|error| failed(error.to_string()))?;
        done.map_err(failed)
    }
}
