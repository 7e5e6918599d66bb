//! Who comes in: by a token, by a name and a password, or by a key.
//!
//! Not here: whether a token is good, which the [`Service`] knows, and is asked again with each request.

use super::{options::ListenerOptions, protocol::Hello};
use crate::Service;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::{KeyPair, KeyPairType};
use ring::{
    digest,
    rand::{SecureRandom, SystemRandom},
};
use serde_json::json;
use std::{fmt::Write, net::IpAddr, sync::Arc};
use switchback_bus::{Caller, CommandRequest, Wait};
use switchback_events::Origin;

/// What a connection came in by.
#[derive(Clone, Default)]
pub(super) struct Entry {
    /// What its requests are asked with; none: each brings its own.
    pub token: Option<Arc<str>>,
    /// It is a session that was made for this connection, and ends with it.
    pub session: bool,
}

/// Lets in who says so, or nobody.
pub(super) async fn enter(
    hello: &Hello,
    nonce: &str,
    peer: IpAddr,
    options: &ListenerOptions,
    service: &Service,
) -> Option<Entry> {
    let by = |token: Arc<str>| Some(Entry { token: Some(token), session: false });
    if let Some(key) = given(&hello.nkey) {
        let signed = hello.sig.as_deref().unwrap_or_default();
        let held = options.keys.get(key).filter(|_| is_signed(key, nonce, signed));
        return match held {
            Some(token) => by(token.clone()),
            None => refused(service, peer),
        };
    }
    if given(&hello.jwt).is_some() {
        return refused(service, peer);
    }
    // A client that has one word only sends it as either.
    let token = match (given(&hello.user), given(&hello.pass)) {
        (Some(user), Some(password)) => return session(user, password, peer, service).await,
        (user, _) => given(&hello.auth_token).or(user),
    };
    let Some(token) = token else { return Some(Entry::default()) };
    match service.admit(token, peer) {
        Ok(_) => by(token.into()),
        Err(refusal) => {
            tracing::info!(%peer, code = %refusal.code, "a client of the bus did not come in");
            None
        }
    }
}

fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

/// Nobody comes in so, and it counts as a try.
fn refused(service: &Service, peer: IpAddr) -> Option<Entry> {
    let busy = service.count(None, peer).is_err();
    tracing::info!(%peer, busy, "a client of the bus did not come in");
    None
}

/// Logs in as over HTTP, where a password travels as its digest.
async fn session(user: &str, password: &str, peer: IpAddr, service: &Service) -> Option<Entry> {
    service.count(None, peer).ok()?;
    let hex = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
    let password = match password.len() == 128 && password.bytes().all(hex) {
        true => password.to_string(),
        false => digested(password),
    };
    let body = json!({"accountName": user, "password": password});
    let mut command = CommandRequest::new("LogInByAccount", body, Caller::nobody(), Origin::Bus);
    command.wait = Wait::Durable;
    match service.bus().command(command).await {
        Ok(reply) => {
            let session = reply.inventory?["uuid"].as_str()?.into();
            Some(Entry { token: Some(session), session: true })
        }
        Err(refusal) => {
            tracing::info!(%peer, code = %refusal.code, "a client of the bus did not log in");
            None
        }
    }
}

/// Ends what was made for a connection.
pub(super) async fn leave(entry: Entry, service: &Service) {
    let Some(session) = entry.token.filter(|_| entry.session) else { return };
    let body = json!({"sessionUuid": &*session});
    let mut command = CommandRequest::new("LogOut", body, Caller::nobody(), Origin::Bus);
    command.wait = Wait::Durable;
    if let Err(refusal) = service.bus().command(command).await {
        tracing::info!(code = %refusal.code, detail = %refusal.detail, "a session of the bus did not end");
    }
}

fn digested(password: &str) -> String {
    digest::digest(&digest::SHA512, password.as_bytes()).as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a client signs to show that it has a key: drawn for each connection.
pub(super) fn nonce() -> String {
    let mut bytes = [0; 16];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }),
        // Without chance nobody may come in by a key.
        Err(_) => String::new(),
    }
}

/// Whether `signed` is the signature of `nonce` by the user key `key`, in base 64 of either alphabet.
fn is_signed(key: &str, nonce: &str, signed: &str) -> bool {
    let signed = URL_SAFE_NO_PAD.decode(signed.trim_end_matches('=').replace('+', "-").replace('/', "_"));
    let (Some(key), Ok(signed)) = (user_key(key), signed) else { return false };
    !nonce.is_empty() && key.verify(nonce.as_bytes(), &signed).is_ok()
}

/// Whether this is the public key of a user.
pub fn is_user_key(text: &str) -> bool {
    user_key(text).is_some()
}

fn user_key(text: &str) -> Option<KeyPair> {
    KeyPair::from_public_key(text).ok().filter(|key| key.key_pair_type() == KeyPairType::User)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with nkeys' own seed of its documentation.
    const KEY: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

    #[test]
    fn a_users_key_is_known_by_its_kind_and_sum() {
        assert!(user_key(KEY).is_some());
        for wrong in [&KEY[1..], &KEY.replace("UDX", "UDY"), &KEY.replace('U', "A"), &KEY.to_lowercase(), ""] {
            assert!(user_key(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_signature_is_read_in_both_alphabets() {
        let key = KeyPair::new_user();
        // A nonce whose signature has what the alphabets differ in.
        let (nonce, signed) = (0..1000)
            .map(|nonce| (nonce.to_string(), URL_SAFE_NO_PAD.encode(key.sign(nonce.to_string().as_bytes()).unwrap())))
            .find(|(_, signed)| signed.contains('-') && signed.contains('_'))
            .unwrap();
        let plain = format!("{}==", signed.replace('-', "+").replace('_', "/"));
        for right in [&signed, &plain] {
            assert!(is_signed(&key.public_key(), &nonce, right), "{right}");
        }
        for (nonce, wrong) in [("other", signed.as_str()), (&nonce, "?"), (&nonce, ""), ("", &signed)] {
            assert!(!is_signed(&key.public_key(), nonce, wrong), "{wrong}");
        }
        assert_eq!(digested("password")[..12], *"b109f3bbbc24");
    }
}
