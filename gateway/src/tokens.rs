//! Who asks: from a token or session to its account.

use sha2::{Digest, Sha256};
use std::hint::black_box;
use switchback_bus::Caller;

/// Knows whose token it is. Asked for each request, so it must be quick and must not block.
pub trait Tokens: Send + Sync {
    /// Whose token or session this is. How long it takes must say nothing about how near a wrong token is.
    fn caller(&self, token: &str) -> Option<Caller>;
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

impl Tokens for FixedTokens {
    fn caller(&self, token: &str) -> Option<Caller> {
        let asked = digest(token);
        let mut found = None;
        for (known, principal) in &self.digests {
            if equal(known, &asked) {
                found = Some(principal);
            }
        }
        found.map(Caller::administrator)
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
        let name = |token: &str| tokens.caller(token).map(|caller| caller.name);
        assert_eq!(name("secret").as_deref(), Some("admin"));
        assert_eq!(name("other").as_deref(), Some("eve"));
        for wrong in ["", "secre", "secrets", "Secret", "secret "] {
            assert_eq!(name(wrong), None);
        }
    }
}
