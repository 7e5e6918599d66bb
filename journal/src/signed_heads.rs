//! Signed heads: "at this position the chain was this", signed with the journal's own Ed25519 key. One is kept
//! for at least every minute and every 1,000 commits, and at close, in `heads.jsonl` beside the log. Whoever can
//! write the directory can forge them all, so take one outside now and then ([`Journal::signed_head`]): a log
//! that was rewritten or cut does not hold against it.

use crate::Journal;
use crate::record::Hash;
use crate::verify::Broken;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{Duration, Instant},
};
use switchback_events::{Micros, Position};

const KEY_FILE: &str = "head.key";
const HEADS_FILE: &str = "heads.jsonl";
const COMMITS_MAX: u32 = 1_000;
const AGE_MAX: Duration = Duration::from_secs(60);
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
    last: Option<SignedHead>,
    /// The number of durable commits after the last one.
    unsigned: u32,
    signed: Instant,
}

impl HeadBook {
    /// Opens the book in `dir`; makes the key, for the owner's eyes only, when there is none.
    pub fn open(dir: &Path) -> io::Result<HeadBook> {
        let key = match std::fs::read_to_string(dir.join(KEY_FILE)) {
            Ok(text) => {
                let damaged = || io::Error::other(format!("`{KEY_FILE}` holds no key"));
                hex::parse::<32>(text.trim()).ok_or_else(damaged)?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(dir)?,
            Err(error) => return Err(error),
        };
        let last = read_heads(dir)?.into_iter().next_back();
        let file = OpenOptions::new().create(true).append(true).open(dir.join(HEADS_FILE))?;
        cut_torn_line(dir, &file)?;
        Ok(HeadBook { key: SigningKey::from_bytes(&key), file, last, unsigned: 0, signed: Instant::now() })
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
        (self.unsigned > 0).then(|| AGE_MAX.saturating_sub(self.signed.elapsed()))
    }

    /// Whether enough commits came since the last signature, or long enough ago.
    pub fn is_due(&self) -> bool {
        self.unsigned >= COMMITS_MAX || self.due_in().is_some_and(|due| due.is_zero())
    }

    /// Signs a head, and keeps it. That it cannot be kept is no reason to stop the log.
    pub fn sign(&mut self, position: Position, at: Micros, chain: Hash) -> SignedHead {
        if let Some(last) = self.last.as_ref().filter(|last| last.position >= position) {
            return last.clone();
        }
        let signature = self.key.sign(&SignedHead::message(position, at, &chain)).to_bytes();
        let head = SignedHead { position, at, chain, key: self.key.verifying_key().to_bytes(), signature };
        (self.unsigned, self.signed) = (0, Instant::now());
        let line = serde_json::to_string(&head).unwrap_or_default() + "\n";
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            tracing::warn!(%error, "a signed head cannot be kept");
        }
        self.last = Some(head.clone());
        head
    }
}

/// Makes an end after the last whole line, so that the next one stands by itself.
fn cut_torn_line(dir: &Path, file: &File) -> io::Result<()> {
    let bytes = std::fs::read(dir.join(HEADS_FILE))?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole < bytes.len() { file.set_len(whole as u64) } else { Ok(()) }
}

fn make_key(dir: &Path) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(dir.join(KEY_FILE))?;
    file.write_all(hex::text(&key).as_bytes())?;
    file.sync_all()?;
    File::open(dir)?.sync_all()?;
    Ok(key)
}

/// The heads that are kept in `dir`, in order. The last line may be torn by a crash; any other is an error.
pub(crate) fn read_heads(dir: &Path) -> io::Result<Vec<SignedHead>> {
    let text = match std::fs::read_to_string(dir.join(HEADS_FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut heads = Vec::new();
    for line in text.split_inclusive('\n') {
        match serde_json::from_str::<SignedHead>(line) {
            Ok(head) if head.is_signed() => heads.push(head),
            // Torn by a crash.
            _ if !line.ends_with('\n') => {}
            _ => return Err(io::Error::other(format!("line {} of `{HEADS_FILE}` is no signed head", heads.len() + 1))),
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
