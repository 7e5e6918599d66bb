//! The ways in: the token of the data directory, sessions, API tokens, and requests signed with an access key.

use super::{Node, credentials::Signed};
use std::sync::Arc;
use switchback_bus::{Refusal, TOKEN_PREFIX};
use switchback_gateway::{Caller, Credentials, FixedTokens, Tokens};

/// Knows who asks.
pub struct Doors {
    token: FixedTokens,
    node: Arc<Node>,
}

impl Doors {
    /// Those of `node`, and `token`.
    pub fn new(token: FixedTokens, node: Arc<Node>) -> Doors {
        Doors { token, node }
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
