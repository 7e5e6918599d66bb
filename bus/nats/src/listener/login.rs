//! Who comes in: by a token, by a name and a password, or by a key.
//!
//! Not here: whether a token is good, which the [`Service`] knows, and is asked again with each request.

use super::{options::ListenerOptions, protocol::Hello};
use crate::Service;
use ring::{
    digest,
    rand::{SecureRandom, SystemRandom},
    signature::{ED25519, UnparsedPublicKey},
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

/// Whether `signed` is the signature of `nonce` by the user key `key`.
fn is_signed(key: &str, nonce: &str, signed: &str) -> bool {
    let (Some(key), Some(signed)) = (public_key(key), base64(signed)) else { return false };
    !nonce.is_empty() && UnparsedPublicKey::new(&ED25519, key).verify(nonce.as_bytes(), &signed).is_ok()
}

/// How the bytes of a user's key begin: `U` in base 32.
const USER: u8 = 20 << 3;

/// The bytes of a user's public key: 32 with what kind they are before them and a sum behind; none of anything else.
pub fn public_key(text: &str) -> Option<[u8; 32]> {
    if text.len() != 56 {
        return None;
    }
    let (mut bytes, mut held, mut bits) = (Vec::with_capacity(35), 0u32, 0);
    for c in text.bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'2'..=b'7' => c - b'2' + 26,
            _ => return None,
        };
        held = (held << 5 | u32::from(value)) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    let [USER, key @ .., low, high] = bytes.as_slice() else { return None };
    let sum = bytes.iter().take(33).fold(0, crc16);
    (sum.to_le_bytes() == [*low, *high]).then(|| key.try_into().ok()).flatten()
}

/// CRC-16/XMODEM, a byte more.
fn crc16(sum: u16, byte: &u8) -> u16 {
    (0..8).fold(sum ^ u16::from(*byte) << 8, |sum, _| if sum & 0x8000 != 0 { sum << 1 ^ 0x1021 } else { sum << 1 })
}

/// From base 64 in either alphabet, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut held, mut bits) = (vec![], 0u32, 0);
    for c in text.trim_end_matches('=').bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'-' | b'+' => 62,
            b'_' | b'/' => 63,
            _ => return None,
        };
        held = (held << 6 | u32::from(value)) & 0x3fff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with nkeys' own seed of its documentation.
    const KEY: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

    #[test]
    fn a_users_key_is_known_by_its_kind_and_sum() {
        assert!(public_key(KEY).is_some());
        for wrong in [&KEY[1..], &KEY.replace("UDX", "UDY"), &KEY.replace('U', "A"), &KEY.to_lowercase(), ""] {
            assert_eq!(public_key(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn both_alphabets_are_read() {
        assert_eq!(base64("_-8").as_deref(), Some(&[0xff, 0xef][..]));
        assert_eq!(base64("/+8=").as_deref(), Some(&[0xff, 0xef][..]));
        assert_eq!(base64("?"), None);
        assert_eq!(digested("password")[..12], *"b109f3bbbc24");
    }
}
