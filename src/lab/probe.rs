//! Small probes that cost no process, for measuring.

use anyhow::{Context, bail};
use std::{
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

/// Asks `server` for the address of `name` from where the thread is, once. `None`: an answer without address.
pub fn dns_a(server: Ipv4Addr, name: &str, timeout: Duration) -> anyhow::Result<Option<Ipv4Addr>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("bind a socket")?;
    socket.set_read_timeout(Some(timeout)).context("set a timeout")?;
    socket.connect((server, 53)).with_context(|| format!("reach {server}"))?;
    // Recursion desired, one question.
    let mut query = vec![0x53, 0x42, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        query.push(u8::try_from(label.len()).context("a label of a name has at most 63 bytes")?);
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    socket.send(&query).with_context(|| format!("ask {server}"))?;
    let mut answer = [0; 1500];
    let length = socket.recv(&mut answer).with_context(|| format!("hear from {server}"))?;
    first_address(&answer[..length], query.len())
}

fn first_address(answer: &[u8], question_end: usize) -> anyhow::Result<Option<Ipv4Addr>> {
    if answer.len() < question_end || answer[..2] != [0x53, 0x42] {
        bail!("an answer to another question");
    }
    let count = u16::from_be_bytes([answer[6], answer[7]]);
    let mut at = question_end;
    for _ in 0..count {
        // A name: labels up to a zero, or a pointer.
        while *answer.get(at).context("a short answer")? != 0 && answer[at] & 0xc0 != 0xc0 {
            at += 1 + usize::from(answer[at]);
        }
        at += if answer[at] == 0 { 1 } else { 2 };
        let record = answer.get(at..at + 10).context("a short record")?;
        let length = usize::from(u16::from_be_bytes([record[8], record[9]]));
        let data = answer.get(at + 10..at + 10 + length).context("a short record")?;
        if record[..2] == [0, 1]
            && let [a, b, c, d] = *data
        {
            return Ok(Some(Ipv4Addr::new(a, b, c, d)));
        }
        at += 10 + length;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_behind_an_alias() {
        let question = 12 + 7;
        let mut answer = vec![0x53, 0x42, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0];
        answer.extend_from_slice(&[1, b'a', 0, 0, 1, 0, 1]);
        answer.extend_from_slice(&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 1, 0, 3, 1, b'b', 0]);
        answer.extend_from_slice(&[1, b'b', 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 10, 0, 0, 7]);
        assert_eq!(first_address(&answer, question).unwrap(), Some(Ipv4Addr::new(10, 0, 0, 7)));
        assert!(first_address(&answer[..question], question).is_err());
        answer[7] = 0;
        assert_eq!(first_address(&answer, question).unwrap(), None);
    }
}
