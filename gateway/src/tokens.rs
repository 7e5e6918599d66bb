//! Who asks: from the bearer token to the principal's name.

use sha2::{Digest, Sha256};
use std::hint::black_box;

/// Knows whose token it is. Asked for each request, so it must be quick and must not block.
pub trait Tokens: Send + Sync {
    /// The principal whose token this is. How long it takes must say nothing about how near a wrong token is.
    fn principal(&self, token: &str) -> Option<String>;
}

/// A fixed list of tokens, kept as SHA-256 digests only.
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
    fn principal(&self, token: &str) -> Option<String> {
        let asked = digest(token);
        let mut found = None;
        for (known, principal) in &self.digests {
            if equal(known, &asked) {
                found = Some(principal);
            }
        }
        found.cloned()
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
        assert_eq!(tokens.principal("secret").as_deref(), Some("admin"));
        assert_eq!(tokens.principal("other").as_deref(), Some("eve"));
        for wrong in ["", "secre", "secrets", "Secret", "secret "] {
            assert_eq!(tokens.principal(wrong), None);
        }
    }
}
