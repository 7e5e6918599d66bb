//! Passwords and keys: what is kept of them, and how they are hidden in the record of commands.
//!
//! The secret of an access key is needed again, to verify what was signed with it, and the key of a certificate, for the
//! routers that show it, and the password of a VM, for the routers that it takes it from: all are kept sealed (ChaCha20-Poly1305) under a key that is drawn from this data directory's.
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
use base64::Engine;
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use serde_json::Value;
use sha2::{Digest, Sha256, Sha512};
use std::sync::Arc;
use switchback_actors::{Certificate, VmInstance};
use switchback_agent::pki;
use switchback_appliance::{Password, Pem, hex, password_digest};
use switchback_bus::{Command, Message, Refusal, SealedCertificate, Secret, TOKEN_PREFIX};
use switchback_events::{Id, PasswordHash, SealedSecret, VmInstanceId};
use tokio::sync::Semaphore;

/// How many hashes are made at a time: each takes a core for some hundredths of a second, and 19 MiB.
const HASHES: usize = 2;

/// What a node needs for passwords.
pub(super) struct Secrets {
    key: [u8; 32],
    /// What secrets are sealed under.
    sealing: LessSafeKey,
    /// Where the administrator's first password is put; none: there is none.
    directory: Option<DataDir>,
    hashes: Arc<Semaphore>,
}

impl Secrets {
    /// Those of a data directory.
    pub fn open(directory: &DataDir) -> anyhow::Result<Secrets> {
        Secrets::of(directory.secrets_key()?, Some(directory.clone()))
    }

    /// Those of a node that keeps nothing.
    pub fn in_memory() -> anyhow::Result<Secrets> {
        Secrets::of(random(), None)
    }

    fn of(key: [u8; 32], directory: Option<DataDir>) -> anyhow::Result<Secrets> {
        // Another key for another purpose.
        let drawn = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), b"switchback: sealed secrets, 1");
        let sealing = UnboundKey::new(&CHACHA20_POLY1305, drawn.as_ref());
        let sealing = sealing.map_err(|_| anyhow::anyhow!("a key for sealed secrets has a wrong length"))?;
        let hashes = Arc::new(Semaphore::new(HASHES));
        Ok(Secrets { key, sealing: LessSafeKey::new(sealing), directory, hashes })
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
            Command::ChangeVmPassword(change) => return self.keep_vm_password(change.uuid, &mut change.password),
            Command::CreateCertificate(create) => return self.keep_certificate(&mut create.certificate),
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
    /// Seals the key of a certificate; the rest of it is public.
    fn keep_certificate(&self, secret: &mut Secret) -> Result<(), Refusal> {
        let Secret::Sent(sent) = secret else { return Ok(()) };
        let pair = pki::pair(sent).map_err(|right| Refusal::argument("certificate", "(secret)", right))?;
        let digest = Pem::new(format!("{}{}", pair.chain, pair.key)).digest();
        let key = self.seal(&about_key(&digest), &pair.key)?;
        *secret = Secret::Sealed(Box::new(SealedCertificate { chain: pair.chain, digest, key }));
        Ok(())
    }

    /// Seals the password of a VM.
    fn keep_vm_password(&self, vm: VmInstanceId, secret: &mut Secret) -> Result<(), Refusal> {
        let Secret::Sent(sent) = secret else { return Ok(()) };
        *secret = Secret::Closed(self.seal(&about_password(vm), sent)?);
        Ok(())
    }

    /// The password that waits for a VM, for its routers. Nothing where it is another one by now, or was sealed with another
    /// `secrets.key`.
    pub fn vm_password(&self, vm: VmInstanceId, digest: &str, known: &VmInstance) -> Option<Password> {
        let sealed = known.password.as_ref().filter(|sealed| password_digest(sealed) == digest)?;
        String::from_utf8(self.unseal(&about_password(vm), sealed)?).ok().map(Password::new)
    }

    /// A certificate with its key, for the router that shows it. Nothing where the key was sealed with another
    /// `secrets.key`.
    pub fn certificate(&self, held: &Certificate) -> Option<Pem> {
        let key = String::from_utf8(self.unseal(&about_key(&held.digest), held.key.as_ref()?)?).ok()?;
        let pem = Pem::new(format!("{}{key}", held.chain));
        (pem.digest() == held.digest).then_some(pem)
    }

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
        hex(&random::<16>())
    }

    /// A new API token: 256 random bits.
    pub fn api_token(&self) -> String {
        format!("{TOKEN_PREFIX}{}", hex(&random::<32>()))
    }

    /// So many random letters and digits.
    pub fn letters(&self, length: usize) -> String {
        const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut letters = String::with_capacity(length);
        while letters.len() < length {
            // 248 is 4 times 62: so is none drawn more often than another.
            let drawn = random::<64>().into_iter().filter(|byte| *byte < 248);
            letters.extend(drawn.map(|byte| char::from(LETTERS[usize::from(byte) % 62])).take(length - letters.len()));
        }
        letters
    }

    /// Seals a secret, bound to what it is about.
    ///
    /// # Errors
    /// A fault of ours.
    pub fn seal(&self, about: &str, secret: &str) -> Result<SealedSecret, Refusal> {
        let nonce = random::<NONCE_LEN>();
        let mut sealed = secret.as_bytes().to_vec();
        let bound = Aad::from(about.as_bytes());
        if self.sealing.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound, &mut sealed).is_err() {
            return Err(Refusal::internal("seal a secret"));
        }
        Ok(SealedSecret::new([&nonce[..], &sealed].concat()))
    }

    /// The secret that was sealed; nothing where another key has sealed it, or it was about something else.
    pub fn unseal(&self, about: &str, sealed: &SealedSecret) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.bytes().split_first_chunk::<NONCE_LEN>()?;
        let mut bytes = sealed.to_vec();
        let bound = Aad::from(about.as_bytes());
        let secret = self.sealing.open_in_place(Nonce::assume_unique_for_key(*nonce), bound, &mut bytes).ok()?;
        Some(secret.to_vec())
    }
}

/// Whether `given` is the HMAC-SHA1 of `text` in base64. How long it takes says nothing about where it is wrong.
pub(super) fn signature_is(secret: &[u8], text: &str, given: &str) -> bool {
    let Ok(given) = base64::engine::general_purpose::STANDARD.decode(given) else { return false };
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    hmac::verify(&key, text.as_bytes(), &given).is_ok()
}

/// What a certificate's key is sealed for.
fn about_key(digest: &str) -> String {
    format!("certificate/{digest}")
}

/// What a VM's password is sealed for.
fn about_password(vm: VmInstanceId) -> String {
    format!("password/{vm}")
}

fn random<const N: usize>() -> [u8; N] {
    let mut random = [0; N];
    OsRng.fill_bytes(&mut random);
    random
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_where_it_was_sealed_for_what_it_is_about_and_nowhere_else() {
        let (ours, other) = (Secrets::in_memory().unwrap(), Secrets::in_memory().unwrap());
        let sealed = ours.seal("bob/k", "secret").unwrap();
        assert_eq!(ours.unseal("bob/k", &sealed).as_deref(), Some(&b"secret"[..]));
        assert_eq!((ours.unseal("eve/k", &sealed), other.unseal("bob/k", &sealed)), (None, None));
        let mut bytes = sealed.bytes().to_vec();
        bytes[NONCE_LEN] ^= 1;
        for bad in [&bytes[..], &[], &sealed.bytes()[..NONCE_LEN]] {
            assert_eq!(ours.unseal("bob/k", &SealedSecret::new(bad)), None);
        }
        assert_ne!(ours.seal("bob/k", "secret").unwrap(), sealed);
    }

    #[test]
    fn letters_are_letters_and_digits_and_never_the_same() {
        let secrets = Secrets::in_memory().unwrap();
        let (one, two) = (secrets.letters(40), secrets.letters(40));
        assert!(one != two && one.len() == 40 && one.bytes().all(|c| c.is_ascii_alphanumeric()));
        let all: std::collections::BTreeSet<char> = secrets.letters(10_000).chars().collect();
        assert_eq!(all.len(), 62);
    }

    #[test]
    fn a_signature_is_that_of_rfc_2202() {
        let good = "7/zfauXrL6LSdBbV8YTfnCWafHk=";
        assert!(signature_is(b"Jefe", "what do ya want for nothing?", good));
        for bad in ["", "x", "7/zfauXrL6LSdBbV8YTfnCWafHg=", "7/zfauXrL6LSdBbV8YTfnCWafHk"] {
            assert!(!signature_is(b"Jefe", "what do ya want for nothing?", bad), "{bad}");
        }
        assert!(
            !signature_is(b"Jefe", "what do ya want", good)
                && !signature_is(b"jefe", "what do ya want for nothing?", good)
        );
    }
}
