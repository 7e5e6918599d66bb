//! The passwords that wait for VMs, by the protocol of CloudStack's routers: a VM asks for its own, and says when it has saved
//! it. They are kept where the agent after this one finds them, and beside the document, which is shown.
//!
//! ```text
//!   waits ──send_my_password──► given ──saved_password──► taken: the text is gone; the server is told when it asks
//!     ▲                           │
//!     └────── another one ◄───────┘
//! ```
//!
//! **Invariant:** what a VM has saved is given to nobody again, and what was not given to it is not taken for saved.

use crate::{
    kernel::{Kernel, KernelError},
    services::metadata::Answer,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};
use switchback_appliance::{MetadataConfig, Password};
use switchback_events::VmInstanceId;

/// Where they are kept.
pub(crate) const PASSWORDS: &str = "passwords.json";

/// What is answered where no password waits, and to who has saved it.
const SAVED: &str = "saved_password";
/// What is answered to a request that there is not.
const BAD: &str = "bad_request";

/// One of them.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    digest: String,
    /// None: the VM has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<Password>,
    /// The VM has asked for it.
    #[serde(default)]
    given: bool,
}

#[derive(Default)]
struct State {
    kept: BTreeMap<VmInstanceId, Kept>,
    /// Whose having it the server has heard of.
    told: BTreeSet<VmInstanceId>,
}

/// The passwords of a router.
pub struct Passwords {
    path: PathBuf,
    state: Mutex<State>,
}

impl Passwords {
    /// Those of the agent before.
    pub fn open(kernel: &dyn Kernel, directory: &Path) -> Result<Passwords, KernelError> {
        let path = directory.join(PASSWORDS);
        let text = kernel.read(&path)?;
        let kept = text.map_or_else(|| Ok(BTreeMap::new()), |text| serde_json::from_str(&text));
        // What is wrong there may be told by a piece of it.
        let unreadable = || tracing::warn!("the passwords of before cannot be read");
        let kept = kept.unwrap_or_else(|_| {
            unreadable();
            BTreeMap::new()
        });
        Ok(Passwords { path, state: Mutex::new(State { kept, ..State::default() }) })
    }

    /// Takes those that came with a document.
    pub fn come(
        &self,
        kernel: &dyn Kernel,
        config: &MetadataConfig,
        mut texts: BTreeMap<VmInstanceId, Password>,
    ) -> Result<(), KernelError> {
        let mut state = self.state.lock();
        let mut changed = false;
        for client in &config.clients {
            let Some(digest) = &client.password else { continue };
            let Some(text) = texts.remove(&client.vm) else { continue };
            if state.kept.get(&client.vm).is_none_or(|kept| kept.digest != *digest) {
                let kept = Kept { digest: digest.clone(), text: Some(text), given: false };
                state.kept.insert(client.vm, kept);
                state.told.remove(&client.vm);
                changed = true;
            }
        }
        if changed { self.write(kernel, &state) } else { Ok(()) }
    }

    /// Forgets those that the document in force does not name, but for what the server has not heard of yet.
    pub fn forget(&self, kernel: &dyn Kernel, config: &MetadataConfig) {
        let state = &mut *self.state.lock();
        if state.kept.is_empty() {
            return;
        }
        let named: BTreeSet<_> =
            config.clients.iter().filter_map(|client| Some((client.vm, client.password.as_deref()?))).collect();
        let (before, told) = (state.kept.len(), &state.told);
        state.kept.retain(|vm, kept| {
            named.contains(&(*vm, kept.digest.as_str())) || kept.text.is_none() && !told.contains(vm)
        });
        if state.kept.len() != before {
            let kept = &state.kept;
            state.told.retain(|vm| kept.contains_key(vm));
            self.note(kernel, state);
        }
    }

    /// Answers a VM, for which the password with this digest waits.
    pub fn answer(&self, kernel: &dyn Kernel, vm: VmInstanceId, digest: Option<&str>, request: &[u8]) -> Answer {
        let word = |word: &str| Answer::Body(word.as_bytes().to_vec());
        let mut state = self.state.lock();
        let kept = state.kept.get_mut(&vm).filter(|kept| Some(kept.digest.as_str()) == digest);
        match (request, kept) {
            // The server brings it when it finds that this agent is a new one.
            (b"send_my_password", None) if digest.is_some() => Answer::NotYet,
            (b"send_my_password", Some(Kept { text: Some(text), given, .. })) => {
                let answer = word(text.text());
                if !std::mem::replace(given, true) {
                    self.note(kernel, &state);
                }
                answer
            }
            (b"saved_password", Some(kept)) if kept.given && kept.text.is_some() => {
                kept.text = None;
                self.note(kernel, &state);
                word(SAVED)
            }
            (b"send_my_password" | b"saved_password", _) => word(SAVED),
            _ => word(BAD),
        }
    }

    /// Those that VMs have, by their digests, for the server.
    pub fn saved(&self) -> BTreeMap<VmInstanceId, String> {
        let state = &mut *self.state.lock();
        let taken = state.kept.iter().filter(|(_, kept)| kept.text.is_none());
        let taken: BTreeMap<_, _> = taken.map(|(vm, kept)| (*vm, kept.digest.clone())).collect();
        state.told.extend(taken.keys());
        taken
    }

    fn note(&self, kernel: &dyn Kernel, state: &State) {
        if let Err(error) = self.write(kernel, state) {
            tracing::error!(%error, "what became of passwords is not kept");
        }
    }

    fn write(&self, kernel: &dyn Kernel, state: &State) -> Result<(), KernelError> {
        if state.kept.is_empty() {
            return kernel.remove(&self.path);
        }
        let text = serde_json::to_vec(&state.kept).map_err(|error| KernelError::new("keep passwords", error))?;
        kernel.write(&self.path, &text, 0o600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::SimulatedKernel;
    use std::net::Ipv4Addr;
    use switchback_appliance::MetadataClient;
    use switchback_events::{Id, Mac};

    const ASK: &[u8] = b"send_my_password";
    const HAVE: &[u8] = b"saved_password";

    fn vm() -> VmInstanceId {
        VmInstanceId(Id::of_name("vm"))
    }

    fn named(digest: &str) -> MetadataConfig {
        let client = MetadataClient {
            ip: Ipv4Addr::new(10, 0, 0, 5),
            mac: Mac([0xfa, 0, 0, 0, 0, 5]),
            vm: vm(),
            hostname: "web".to_string(),
            domain: None,
            userdata: None,
            password: Some(digest.to_string()),
        };
        MetadataConfig { clients: vec![client] }
    }

    fn came(passwords: &Passwords, kernel: &SimulatedKernel, digest: &str, text: &str) {
        passwords.come(kernel, &named(digest), BTreeMap::from([(vm(), Password::new(text))])).unwrap();
        passwords.forget(kernel, &named(digest));
    }

    fn body(text: &str) -> Answer {
        Answer::Body(text.as_bytes().to_vec())
    }

    #[test]
    fn a_password_is_given_until_it_is_saved_also_by_the_agent_after_this_one() {
        let kernel = SimulatedKernel::new([]);
        let open = || Passwords::open(&kernel, Path::new("/state")).unwrap();
        let passwords = open();
        let ask = |passwords: &Passwords, digest, request: &[u8]| passwords.answer(&kernel, vm(), digest, request);
        assert_eq!(ask(&passwords, None, ASK), body(SAVED));
        assert_eq!(ask(&passwords, Some("one"), ASK), Answer::NotYet);
        came(&passwords, &kernel, "one", "sesame");
        // Nobody has it yet.
        assert_eq!(ask(&passwords, Some("one"), HAVE), body(SAVED));
        assert_eq!(ask(&passwords, Some("one"), ASK), body("sesame"));
        assert_eq!(ask(&open(), Some("one"), ASK), body("sesame"));
        for request in [&b"save_password"[..], b"", b"\xff"] {
            assert_eq!(ask(&passwords, Some("one"), request), body(BAD));
        }
        assert!(passwords.saved().is_empty());
        assert_eq!(ask(&passwords, Some("one"), HAVE), body(SAVED));
        let kept = kernel.read(Path::new("/state/passwords.json")).unwrap().unwrap();
        assert!(!kept.contains("sesame"), "{kept}");
        // It comes again before the server knows.
        let next = open();
        came(&next, &kernel, "one", "sesame");
        assert_eq!(ask(&next, Some("one"), ASK), body(SAVED));
        // The VM goes before the server has asked.
        next.forget(&kernel, &MetadataConfig::default());
        assert_eq!(next.saved(), BTreeMap::from([(vm(), "one".to_string())]));
        next.forget(&kernel, &MetadataConfig::default());
        assert!(next.saved().is_empty());
        assert_eq!(kernel.read(Path::new("/state/passwords.json")).unwrap(), None);
    }

    #[test]
    fn another_one_is_not_taken_for_the_one_that_was_saved() {
        let kernel = SimulatedKernel::new([]);
        let passwords = Passwords::open(&kernel, Path::new("/state")).unwrap();
        came(&passwords, &kernel, "one", "sesame");
        assert_eq!(passwords.answer(&kernel, vm(), Some("one"), ASK), body("sesame"));
        came(&passwords, &kernel, "two", "mellon");
        assert_eq!(passwords.answer(&kernel, vm(), Some("two"), HAVE), body(SAVED));
        assert_eq!(passwords.answer(&kernel, vm(), Some("two"), ASK), body("mellon"));
        // One that the document does not name any more.
        passwords.forget(&kernel, &MetadataConfig::default());
        assert_eq!(passwords.answer(&kernel, vm(), None, ASK), body(SAVED));
        assert_eq!(kernel.read(Path::new("/state/passwords.json")).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_read_is_no_password() {
        let kernel = SimulatedKernel::new([]);
        kernel.write(Path::new("/state/passwords.json"), b"{", 0o600).unwrap();
        assert!(Passwords::open(&kernel, Path::new("/state")).unwrap().saved().is_empty());
    }
}
