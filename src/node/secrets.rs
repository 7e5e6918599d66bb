//! Passwords: what is kept of them, and how they are hidden in the record of commands.
//!
//! **Invariant:** behind this file there is no password as it was sent: the log holds an argon2id hash with a salt of its
//! own, and the digest by which a command is known again has the password under a key of this data directory, so that
//! nobody who reads the log can try passwords on it.

use super::DataDir;
use anyhow::Context;
use argon2::{
    Argon2, PasswordHasher, PasswordVerifier,
    password_hash::{
        SaltString,
        rand_core::{OsRng, RngCore},
    },
};
use serde_json::Value;
use sha2::{Digest, Sha256, Sha512};
use std::sync::Arc;
use switchback_appliance::hex;
use switchback_bus::{Command, Message, Refusal, Secret};
use switchback_events::{Id, PasswordHash};
use tokio::sync::Semaphore;

/// How many hashes are made at a time: each takes a core for some hundredths of a second, and 19 MiB.
const HASHES: usize = 2;

/// What a node needs for passwords.
pub(super) struct Secrets {
    key: [u8; 32],
    /// Where the administrator's first password is put; none: there is none.
    directory: Option<DataDir>,
    hashes: Arc<Semaphore>,
}

impl Secrets {
    /// Those of a data directory.
    pub fn open(directory: &DataDir) -> anyhow::Result<Secrets> {
        let key = directory.secrets_key()?;
        Ok(Secrets { key, directory: Some(directory.clone()), hashes: Arc::new(Semaphore::new(HASHES)) })
    }

    /// Those of a node that keeps nothing.
    pub fn in_memory() -> Secrets {
        let mut key = [0; 32];
        OsRng.fill_bytes(&mut key);
        Secrets { key, directory: None, hashes: Arc::new(Semaphore::new(HASHES)) }
    }

    /// The administrator's first password, whose text is in a file of the data directory.
    pub fn founding(&self) -> anyhow::Result<Option<PasswordHash>> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let sent = hex(&Sha512::digest(directory.admin_password()?));
        hash(&sent).map(Some).map_err(anyhow::Error::msg).context("make a hash of the administrator's password")
    }

    /// The digest of a command's words: maps are ordered, so equal words have equal digests.
    pub fn body_of(&self, message: &Message, parameters: &Value) -> Id {
        let mut hidden = parameters.clone();
        for parameter in message.parameters.iter().filter(|parameter| parameter.check.is_secret()) {
            if let Some(Value::String(secret)) = hidden.get_mut(parameter.api_name()) {
                let digest = Sha256::new().chain_update(self.key).chain_update(secret.as_bytes()).finalize();
                *secret = hex(&digest);
            }
        }
        Id::of_name(&format!("{} {hidden}", message.name))
    }

    /// Puts what may be kept in the place of what was sent.
    ///
    /// # Errors
    /// A fault of ours.
    pub async fn keep(&self, command: &mut Command) -> Result<(), Refusal> {
        let secret = match command {
            Command::CreateAccount(create) => &mut create.password,
            Command::UpdateAccount(update) => match &mut update.password {
                Some(password) => password,
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        let Secret::Sent(sent) = secret else { return Ok(()) };
        let sent = sent.clone();
        let _permit = self.hashes.clone().acquire_owned().await;
        let made = tokio::task::spawn_blocking(move || hash(&sent)).await;
        match made.unwrap_or_else(|failure| Err(failure.to_string())) {
            Ok(hash) => {
                *secret = Secret::Kept(hash);
                Ok(())
            }
            Err(why) => Err(Refusal::internal(format!("make a hash of the password: {why}"))),
        }
    }
}

impl Secrets {
    /// Whether `sent` is the password. It takes as long where there is no hash: who asks shall not learn which names there
    /// are.
    pub async fn verify(&self, hash: Option<PasswordHash>, sent: &Secret) -> bool {
        let Secret::Sent(sent) = sent else { return false };
        let (sent, known) = (sent.clone(), hash.is_some());
        let hash = hash.unwrap_or_else(|| PasswordHash::new(NOBODYS));
        let _permit = self.hashes.clone().acquire_owned().await;
        let verified = tokio::task::spawn_blocking(move || {
            let hash = argon2::PasswordHash::new(hash.phc());
            hash.is_ok_and(|hash| Argon2::default().verify_password(sent.as_bytes(), &hash).is_ok())
        });
        verified.await.unwrap_or(false) && known
    }

    /// The uuid of a new session: 128 random bits.
    pub fn session(&self) -> String {
        let mut random = [0; 16];
        OsRng.fill_bytes(&mut random);
        hex(&random)
    }
}

/// A hash of no password, as long to verify as any.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyBpdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Makes a hash of a password as it was sent. Slow, as it must be.
fn hash(sent: &str) -> Result<PasswordHash, String> {
    let salt = SaltString::generate(&mut OsRng);
    match Argon2::default().hash_password(sent.as_bytes(), &salt) {
        Ok(hash) => Ok(PasswordHash::new(hash.to_string())),
        Err(error) => Err(error.to_string()),
    }
}
