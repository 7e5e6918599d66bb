//! Who asks: from what a request comes with to an account.

use crate::{Caller, Refusal};
use sha2::{Digest, Sha256};
use std::hint::black_box;

/// What a request comes with.
#[derive(Clone, Copy)]
pub enum Credentials<'a> {
    /// A token or a session: `Bearer`, or `OAuth` as ZStack's clients say.
    Token(&'a str),
    /// A signature, `ZStack <id>:<signature>`.
    Signature {
        /// The id of the access key.
        key_id: &'a str,
        /// The HMAC-SHA1 in base64.
        signature: &'a str,
        /// The request's method.
        method: &'a str,
        /// Its header `Date`, as it was sent.
        date: &'a str,
        /// Its path below the context path, as it was sent.
        path: &'a str,
    },
}

/// Knows whose token it is. Asked for each request, so it must be quick and must not block.
pub trait Tokens: Send + Sync {
    /// Who comes in with this. How long it takes must say nothing about how near a wrong token is.
    ///
    /// # Errors
    /// Why nobody does.
    fn caller(&self, given: &Credentials<'_>) -> Result<Caller, Refusal>;
}

/// A fixed list of tokens of administrators, kept as SHA-256 digests only.
pub struct FixedTokens {
    digests: Vec<([u8; 32], String)>,
}

impl FixedTokens {
    /// From pairs of a token and its principal. Empty tokens are left out: nobody may come in with nothing.
    pub fn new<T: AsRef<str>, P: Into<String>>(tokens: impl IntoIterator<Item = (T, P)>) -> FixedTokens {
        let digests = tokens
            .into_iter()
            .filter(|(token, _)| !token.as_ref().is_empty())
            .map(|(token, principal)| (digest(token.as_ref()), principal.into()))
            .collect();
        FixedTokens { digests }
    }
}

impl FixedTokens {
    /// Whose token this is. Whoever holds it owns the machine, and no limit holds it up.
    pub fn find(&self, token: &str) -> Option<Caller> {
        let asked = digest(token);
        let mut found = None;
        for (known, principal) in &self.digests {
            if equal(known, &asked) {
                found = Some(principal);
            }
        }
        found.map(|name| Caller { unlimited: true, ..Caller::administrator(name) })
    }
}

impl Tokens for FixedTokens {
    fn caller(&self, given: &Credentials<'_>) -> Result<Caller, Refusal> {
        match given {
            Credentials::Token(token) => self.find(token),
            Credentials::Signature { .. } => None,
        }
        .ok_or_else(Caller::unknown)
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Looks at every byte, whatever the first ones are.
fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let difference = a.iter().zip(b).fold(0, |difference, (a, b)| black_box(difference | (a ^ b)));
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_opens() {
        let tokens = FixedTokens::new([("secret", "admin"), ("other", "eve"), ("", "nobody")]);
        let name = |token: &str| tokens.find(token).map(|caller| caller.name);
        assert_eq!(name("secret").as_deref(), Some("admin"));
        assert_eq!(name("other").as_deref(), Some("eve"));
        for wrong in ["", "secre", "secrets", "Secret", "secret "] {
            assert_eq!(name(wrong), None);
        }
    }
}
