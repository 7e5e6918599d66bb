//! The ways in: the token of the data directory, sessions, API tokens, and requests signed with an access key.

use super::{Node, credentials::Signed};
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use switchback_bus::{Refusal, TOKEN_PREFIX};
use switchback_gateway::{Caller, Credentials, FixedTokens, Tokens};

/// Knows who asks.
pub struct Doors {
    token: FixedTokens,
    /// By the digest of a token that was drawn for this run, the account whose key it stands for.
    keys: HashMap<[u8; 32], String>,
    node: Arc<Node>,
}

impl Doors {
    /// Those of `node`, and `token`.
    pub fn new(token: FixedTokens, node: Arc<Node>) -> Doors {
        Doors { token, keys: HashMap::new(), node }
    }

    /// From now on, for each key of NATS and its account, a token that the holder of the key comes in by: by key.
    ///
    /// # Errors
    /// When no token can be drawn.
    pub fn keys(&mut self, keys: &BTreeMap<String, String>) -> anyhow::Result<BTreeMap<String, Arc<str>>> {
        let mut tokens = BTreeMap::new();
        for (key, account) in keys {
            let mut drawn = [0; 32];
            SystemRandom::new().fill(&mut drawn).map_err(|_| anyhow::anyhow!("draw a token"))?;
            let token: String = drawn.iter().map(|byte| format!("{byte:02x}")).collect();
            self.keys.insert(Sha256::digest(token.as_bytes()).into(), account.clone());
            tokens.insert(key.clone(), token.into());
        }
        Ok(tokens)
    }

    /// The account that a token stands for which was drawn for a key.
    fn of_key(&self, token: &str) -> Option<Caller> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let (account, state) = self.node.account_named(self.keys.get(&digest)?)?;
        Some(Caller::new(&state.name, account, state.admin))
    }
}

impl Tokens for Doors {
    fn caller(&self, given: &Credentials<'_>) -> Result<Caller, Refusal> {
        match given {
            Credentials::Token(token) if token.starts_with(TOKEN_PREFIX) => {
                let (account, state, uuid, token) = self.node.api_token(token)?;
                let caller = Caller::new(&state.name, account, state.admin);
                Ok(Caller { credential: Some(uuid.0), scopes: Some(token.scopes.into()), ..caller })
            }
            Credentials::Token(token) => self.token.find(token).map_or_else(
                || {
                    if let Some(caller) = self.of_key(token) {
                        return Ok(caller);
                    }
                    let (account, state) = self.node.session(token).ok_or_else(Caller::unknown)?;
                    Ok(Caller::new(&state.name, account, state.admin))
                },
                Ok,
            ),
            Credentials::Signature { key_id, signature, method, date, path } => {
                let signed = Signed { key_id, signature, method, date, path };
                let (account, state, uuid) = self.node.signed(&signed)?;
                Ok(Caller { credential: Some(uuid.0), ..Caller::new(&state.name, account, state.admin) })
            }
        }
    }
}
