//! What one connection has subscribed to.
//!
//! Replies go by this table: to the subscriptions of the connection that asked, and to nobody else's.

use super::outbox::Outbox;
use crate::{Outgoing, subject};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use switchback_events::AccountId;

/// One subscription.
struct Subscription {
    /// No two have the same, whatever the client calls them.
    serial: u64,
    subject: Box<str>,
    queue: Option<Box<str>>,
    delivered: u64,
    max: Option<u64>,
}

/// A connection as others see it who have something for it.
pub(super) struct Peer {
    /// Its number.
    pub id: u64,
    /// What is to go out.
    pub outbox: Outbox,
    /// It reads `HMSG`.
    headers: AtomicBool,
    table: Mutex<BTreeMap<Box<str>, Subscription>>,
    serial: AtomicU64,
    /// How many subscriptions all have, and how many messages went to them.
    counts: [Arc<AtomicU64>; 2],
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Delivered {
    /// It goes out.
    Yes,
    /// It goes out, and was the last.
    Last,
    /// There is no such subscription any more, or nothing can go out.
    No,
}

/// A message in the form in which it travels, but for the line before it, which each subscriber has its own of.
#[derive(Clone, Debug)]
pub(super) struct Rendered {
    /// Where to.
    pub subject: String,
    /// So long are the headers.
    headers: usize,
    /// Headers and payload, with the end of the message.
    body: Bytes,
}

impl Rendered {
    /// Renders `message`.
    pub fn new(message: Outgoing) -> Rendered {
        let mut text = String::new();
        if !message.headers.is_empty() {
            message.headers.write(&mut text);
        }
        Rendered::of(message.subject, text, &message.payload)
    }

    /// The word that nobody answers at `asked`.
    pub fn no_responders(reply: &str, asked: &str) -> Rendered {
        let headers = format!("NATS/1.0 503\r\nNats-Subject: {asked}\r\n\r\n");
        Rendered::of(reply.to_string(), headers, b"")
    }

    fn of(subject: String, headers: String, payload: &[u8]) -> Rendered {
        let length = headers.len();
        let mut body = headers.into_bytes();
        body.extend_from_slice(payload);
        body.extend_from_slice(b"\r\n");
        Rendered { subject, headers: length, body: body.into() }
    }

    /// The message for the subscription `sid`; without headers for who does not read them.
    fn chunks(&self, sid: &str, headers: bool) -> [Bytes; 2] {
        let (subject, length) = (&self.subject, self.body.len().saturating_sub(2));
        match headers && self.headers > 0 {
            true => [format!("HMSG {subject} {sid} {} {length}\r\n", self.headers).into(), self.body.clone()],
            false => {
                let length = length.saturating_sub(self.headers);
                [format!("MSG {subject} {sid} {length}\r\n").into(), self.body.slice(self.headers..)]
            }
        }
    }
}

impl Peer {
    /// A connection that has subscribed to nothing.
    pub fn new(id: u64, outbox: Outbox, counts: [Arc<AtomicU64>; 2]) -> Peer {
        let (headers, table, serial) = (AtomicBool::new(false), Mutex::default(), AtomicU64::new(0));
        Peer { id, outbox, headers, table, serial, counts }
    }

    /// It has said whether it reads headers.
    pub fn reads_headers(&self, headers: bool) {
        self.headers.store(headers, Ordering::Release);
    }

    /// How many subscriptions there are.
    pub fn count(&self) -> usize {
        self.table.lock().len()
    }

    /// Puts one in, and answers its serial; none where it has one of that name.
    pub fn subscribe(&self, sid: &str, subject: &str, queue: Option<&str>) -> Option<u64> {
        let mut table = self.table.lock();
        if table.contains_key(sid) {
            return None;
        }
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let (subject, queue) = (subject.into(), queue.map(Into::into));
        self.counts[0].fetch_add(1, Ordering::Relaxed);
        table.insert(sid.into(), Subscription { serial, subject, queue, delivered: 0, max: None });
        Some(serial)
    }

    /// Takes one out, now or after `max` messages. Its serial, if it is gone now.
    pub fn unsubscribe(&self, sid: &str, max: Option<u64>) -> Option<u64> {
        let mut table = self.table.lock();
        let held = table.get_mut(sid)?;
        if let Some(max) = max.filter(|max| *max > held.delivered) {
            held.max = Some(max);
            return None;
        }
        self.counts[0].fetch_sub(1, Ordering::Relaxed);
        table.remove(sid).map(|gone| gone.serial)
    }

    /// Gives a message to one subscription, if it is still the same. It goes out when the connection is next told to look.
    pub fn deliver(&self, sid: &str, serial: u64, message: &Rendered) -> Delivered {
        let mut table = self.table.lock();
        match table.get(sid) {
            Some(held) if held.serial == serial => self.give(&mut table, sid, message),
            _ => Delivered::No,
        }
    }

    /// Gives a message to all that match: to one of each queue group. To how many.
    pub fn answer(&self, message: &Rendered) -> usize {
        let mut table = self.table.lock();
        let mut queues: Vec<&str> = vec![];
        let mut to: Vec<Box<str>> = vec![];
        for (sid, held) in table.iter().filter(|(_, held)| subject::matches(&held.subject, &message.subject)) {
            if let Some(queue) = held.queue.as_deref() {
                if queues.contains(&queue) {
                    continue;
                }
                queues.push(queue);
            }
            to.push(sid.clone());
        }
        let count = to.iter().filter(|sid| self.give(&mut table, sid, message) != Delivered::No).count();
        self.outbox.look();
        count
    }

    fn give(&self, table: &mut BTreeMap<Box<str>, Subscription>, sid: &str, message: &Rendered) -> Delivered {
        let Some(held) = table.get_mut(sid) else { return Delivered::No };
        if !self.outbox.put(message.chunks(sid, self.headers.load(Ordering::Acquire))) {
            return Delivered::No;
        }
        self.counts[1].fetch_add(1, Ordering::Relaxed);
        held.delivered += 1;
        if held.max.is_some_and(|max| held.delivered >= max) {
            table.remove(sid);
            self.counts[0].fetch_sub(1, Ordering::Relaxed);
            return Delivered::Last;
        }
        Delivered::Yes
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.counts[0].fetch_sub(self.table.get_mut().len() as u64, Ordering::Relaxed);
    }
}

/// A queue group: of one account, so that no other takes what is for it.
pub(super) type Group = (Option<AccountId>, Box<str>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Headers,
        listener::outbox::{Chunks, Held},
    };
    use bytes::Buf;

    fn peer() -> Peer {
        Peer::new(1, Outbox::new(10_000, Arc::new(Held::new(usize::MAX))), Default::default())
    }

    fn out(peer: &Peer) -> String {
        let mut chunks = Chunks::default();
        peer.outbox.take(&mut chunks);
        String::from_utf8(chunks.copy_to_bytes(chunks.remaining()).to_vec()).unwrap()
    }

    fn message(subject: &str) -> Rendered {
        let headers = Headers::new().with("A", "b");
        Rendered::new(Outgoing { subject: subject.to_string(), headers, payload: Bytes::from_static(b"{}") })
    }

    #[test]
    fn a_reply_goes_to_each_that_matches_and_to_one_of_a_group() {
        let peer = peer();
        for (sid, subject, queue) in
            [("1", "in.*", None), ("2", "in.x", Some("q")), ("3", "in.>", Some("q")), ("4", "out", None)]
        {
            assert!(peer.subscribe(sid, subject, queue).is_some());
        }
        assert_eq!(peer.subscribe("1", "other", None), None, "the first stays");
        assert_eq!(peer.answer(&message("in.x")), 2);
        assert_eq!(out(&peer), "MSG in.x 1 2\r\n{}\r\nMSG in.x 2 2\r\n{}\r\n", "without headers who has not said so");
        peer.reads_headers(true);
        assert_eq!(peer.answer(&message("out")), 1);
        assert_eq!(out(&peer), "HMSG out 4 18 20\r\nNATS/1.0\r\nA: b\r\n\r\n{}\r\n");
        assert_eq!(peer.answer(&message("elsewhere")), 0);
        assert_eq!(peer.answer(&Rendered::no_responders("out", "x")), 1);
        assert_eq!(out(&peer), "HMSG out 4 33 33\r\nNATS/1.0 503\r\nNats-Subject: x\r\n\r\n\r\n");
    }

    #[test]
    fn a_subscription_ends_after_as_many_as_it_was_told() {
        let peer = peer();
        let serial = peer.subscribe("1", "a", None).unwrap();
        assert_eq!(peer.deliver("1", serial + 1, &message("a")), Delivered::No, "another of that name");
        assert_eq!(peer.deliver("1", serial, &message("a")), Delivered::Yes);
        assert_eq!(peer.unsubscribe("1", Some(3)), None);
        assert_eq!(peer.deliver("1", serial, &message("a")), Delivered::Yes);
        assert_eq!(peer.deliver("1", serial, &message("a")), Delivered::Last);
        assert_eq!(peer.deliver("1", serial, &message("a")), Delivered::No);
        let serial = peer.subscribe("1", "a", None).unwrap();
        assert_eq!(peer.deliver("1", serial, &message("a")), Delivered::Yes);
        assert_eq!(peer.unsubscribe("1", Some(1)), Some(serial), "it had as many already");
        assert_eq!((peer.count(), peer.unsubscribe("1", None)), (0, None));
    }
}
