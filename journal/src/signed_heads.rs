//! Signed heads: "at this position the chain was this", signed with the journal's own Ed25519 key. One is kept
//! for at least every minute and every 1,000 commits (`Options`), and at close, in `heads.jsonl` beside the log.
//! Whoever can write the directory can forge them all, so take one outside now and then
//! ([`Journal::signed_head`]): a log that was rewritten or cut does not hold against it.
//!
//! **Invariant:** a head is signed only of what is durable, so none is ever ahead of the log. The file itself is not
//! synced, which would cost the clients a sync each time: a power loss may take the last heads, and leave zeros where
//! parts of them were not written. Such a line counts for nothing; any other line that is no signed head is an error.

use crate::record::Hash;
use crate::verify::Broken;
use crate::{Journal, Options};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    time::{Duration, Instant},
};
use switchback_events::{Micros, Position};

const KEY_FILE: &str = "head.key";
const HEADS_FILE: &str = "heads.jsonl";
const CONTEXT: &[u8] = b"switchback signed head 1\n";

/// A statement about the log that can be checked anywhere.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignedHead {
    /// The last position of a commit.
    pub position: Position,
    /// The time of that commit.
    pub at: Micros,
    /// The hash chain there.
    #[serde(with = "hex")]
    pub chain: Hash,
    /// The public key.
    #[serde(with = "hex")]
    pub key: [u8; 32],
    /// Ed25519 over all but the key.
    #[serde(with = "hex")]
    pub signature: [u8; 64],
}

impl SignedHead {
    fn message(position: Position, at: Micros, chain: &Hash) -> Vec<u8> {
        [CONTEXT, &position.to_le_bytes(), &at.to_le_bytes(), chain].concat()
    }

    /// Whether the signature is that of `key`.
    pub fn is_signed(&self) -> bool {
        let message = SignedHead::message(self.position, self.at, &self.chain);
        let signature = Signature::from_bytes(&self.signature);
        VerifyingKey::from_bytes(&self.key).is_ok_and(|key| key.verify_strict(&message, &signature).is_ok())
    }

    /// Compares with the chain that the log has at this position.
    pub(crate) fn check(&self, chain: &Hash) -> Result<(), Broken> {
        if self.chain == *chain {
            return Ok(());
        }
        Err(Broken { position: self.position, why: "is not the one that the signed head tells of".to_string() })
    }

    pub(crate) fn missing(&self, head: Position) -> Broken {
        Broken { position: head + 1, why: format!("is missing: a signed head tells of position {}", self.position) }
    }
}

impl Journal {
    /// The durable head, signed: to be kept outside. `None` for a log in memory and for an empty one.
    pub fn signed_head(&self) -> Option<SignedHead> {
        let (position, at, chain) = {
            let state = self.shared().state.lock();
            (state.durable_position(), state.durable_time(), state.chain)
        };
        let mut book = self.shared().heads.as_ref()?.lock();
        (position > 0).then(|| book.sign(position, at, chain))
    }
}

/// Signs heads and keeps them.
pub(crate) struct HeadBook {
    key: SigningKey,
    file: File,
    /// Of the whole lines in the file.
    length: u64,
    /// There may be part of a line after them.
    torn: bool,
    last: Option<SignedHead>,
    /// The number of durable commits after the last one.
    unsigned: u32,
    signed: Instant,
    commits_max: u32,
    age_max: Duration,
}

impl HeadBook {
    /// Opens the book of the log in `dir`, which is durable up to `durable`; makes the key, for the owner's eyes only,
    /// when there is none.
    pub fn open(dir: &Path, durable: Position, options: &Options) -> io::Result<HeadBook> {
        let key = match std::fs::read_to_string(dir.join(KEY_FILE)) {
            Ok(text) => {
                let damaged = || io::Error::other(format!("`{KEY_FILE}` holds no key"));
                hex::parse::<32>(text.trim()).ok_or_else(damaged)?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(dir)?,
            Err(error) => return Err(error),
        };
        let last = read_heads(dir)?.into_iter().next_back();
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(HEADS_FILE))?;
        let bytes = std::fs::read(dir.join(HEADS_FILE))?;
        let length = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        Ok(HeadBook {
            key: SigningKey::from_bytes(&key),
            file,
            length: length as u64,
            torn: length < bytes.len(),
            // The commits after the last head are to be signed, whoever wrote them.
            unsigned: u32::from(last.as_ref().map_or(0, |head| head.position) < durable),
            last,
            signed: Instant::now(),
            commits_max: options.head_commits,
            age_max: options.head_age,
        })
    }

    pub fn last(&self) -> Option<&SignedHead> {
        self.last.as_ref()
    }

    /// Notes that `commits` more are durable.
    pub fn note(&mut self, commits: u32) {
        self.unsigned += commits;
    }

    /// When a signature is next due, from now; `None` when all is signed.
    pub fn due_in(&self) -> Option<Duration> {
        (self.unsigned > 0).then(|| self.age_max.saturating_sub(self.signed.elapsed()))
    }

    /// Whether enough commits came since the last signature, or long enough ago.
    pub fn is_due(&self) -> bool {
        self.unsigned >= self.commits_max || self.due_in().is_some_and(|due| due.is_zero())
    }

    /// Signs a durable head, and keeps it. That it cannot be kept is no reason to stop the log.
    pub fn sign(&mut self, position: Position, at: Micros, chain: Hash) -> SignedHead {
        (self.unsigned, self.signed) = (0, Instant::now());
        if let Some(last) = self.last.as_ref().filter(|last| last.position >= position) {
            return last.clone();
        }
        let signature = self.key.sign(&SignedHead::message(position, at, &chain)).to_bytes();
        let head = SignedHead { position, at, chain, key: self.key.verifying_key().to_bytes(), signature };
        if let Err(error) = self.keep(&head) {
            tracing::warn!(%error, "a signed head cannot be kept");
        }
        self.last = Some(head.clone());
        head
    }

    fn keep(&mut self, head: &SignedHead) -> io::Result<()> {
        if self.torn {
            // For good, so that it is never mixed with what comes in its place.
            self.file.set_len(self.length)?;
            self.file.sync_data()?;
        }
        let line = serde_json::to_string(head)? + "\n";
        self.torn = true;
        self.file.write_all_at(line.as_bytes(), self.length)?;
        self.torn = false;
        self.length += line.len() as u64;
        Ok(())
    }
}

/// The key is whole before it has its name.
fn make_key(dir: &Path) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let draft = dir.join(format!("{KEY_FILE}.draft"));
    let _ = std::fs::remove_file(&draft);
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft)?;
    file.write_all(hex::text(&key).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(draft, dir.join(KEY_FILE))?;
    File::open(dir)?.sync_all()?;
    Ok(key)
}

/// The heads that are kept in `dir`, in order, but those that a power loss or a crash tore. A line that was changed
/// is an error.
pub(crate) fn read_heads(dir: &Path) -> io::Result<Vec<SignedHead>> {
    let bytes = match std::fs::read(dir.join(HEADS_FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut heads = Vec::new();
    for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        match serde_json::from_slice::<SignedHead>(line) {
            Ok(head) if head.is_signed() => heads.push(head),
            _ if line.contains(&0) || !line.ends_with(b"\n") => {}
            _ => return Err(io::Error::other(format!("line {number} of `{HEADS_FILE}` is no signed head"))),
        }
    }
    Ok(heads)
}

/// Bytes as lower-case hexadecimal text.
pub(crate) mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::fmt::Write;

    pub fn text(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    pub fn parse<const N: usize>(text: &str) -> Option<[u8; N]> {
        let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
        let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair.last().unwrap_or(&0)).collect();
        (digits.len() == 2 * N).then(|| bytes.try_into().ok())?
    }

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[u8; N], D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is not {N} bytes in hexadecimal")))
    }
}
