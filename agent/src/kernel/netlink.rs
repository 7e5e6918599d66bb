//! Questions to the kernel that no tool answers well: whether anybody has changed the packet filter, which connections it
//! tracks, with the order to forget some of them, and its links with thousands of addresses.

use super::{Class, Connection, KernelError, Link, ObservedClass, Result, Shaper, Tuple};
use ipnet::IpNet;
use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sys::{
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, setsockopt,
            socket, sockopt::RcvBuf,
        },
        time::TimeVal,
    },
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd, OwnedFd},
};
use switchback_appliance::Counter;
use switchback_events::Mac;

pub(super) const REQUEST: u16 = 1;
pub(super) const ACK: u16 = 4;
pub(super) const DUMP: u16 = 0x300;
pub(super) const NESTED: u16 = 0x8000;
const KIND: u16 = 0x3fff;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// `NFNL_SUBSYS_CTNETLINK`.
pub(super) const CONNECTIONS: u16 = 1 << 8;
/// `NFNL_SUBSYS_NFTABLES`.
const TABLES: u16 = 10 << 8;
pub(super) const GET_CONNECTION: u16 = CONNECTIONS | 1;
const DELETE_CONNECTION: u16 = CONNECTIONS | 2;
const GET_LINK: u16 = 18;
const GET_GENERATION: u16 = TABLES | 16;

pub(super) const ORIGINAL: u16 = 1;
pub(super) const REPLY: u16 = 2;
const ID: u16 = 12;
pub(super) const ZONE: u16 = 18;

/// The number of the packet filter's state: every change by anybody raises it.
pub fn generation() -> Result<u32> {
    const GENERATION: u16 = 1;
    let failed = |error: Errno| KernelError::new("ask for the generation of the packet filter", error);
    let socket = Socket::open(SockProtocol::NetlinkNetFilter).map_err(failed)?;
    let mut found = None;
    socket
        .ask(GET_GENERATION, REQUEST, &[0; 4], &mut |body| {
            let body = body.get(4..).unwrap_or_default();
            found = attributes(body).find(|(kind, _)| *kind == GENERATION).and_then(|(_, value)| be32(value));
        })
        .map_err(failed)?;
    found.ok_or_else(|| failed(Errno::EPROTO))
}

/// Forgets the connections of IPv4 that are `stale`, and says how many.
pub fn forget_connections(stale: &dyn Fn(&Connection) -> bool) -> Result<usize> {
    let failed = |error: Errno| KernelError::new("look at the connections", error);
    let socket = Socket::open(SockProtocol::NetlinkNetFilter).map_err(failed)?;
    let head = [AddressFamily::Inet as u8, 0, 0, 0];
    let mut chosen: Vec<Vec<u8>> = Vec::new();
    socket
        .ask(GET_CONNECTION, REQUEST | DUMP, &head, &mut |body| {
            let body = body.get(4..).unwrap_or_default();
            let part = |wanted: u16| attributes(body).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
            let (Some(original), Some(reply)) = (part(ORIGINAL), part(REPLY)) else { return };
            let (Some(from), Some(back)) = (tuple(original), tuple(reply)) else { return };
            if !stale(&Connection { original: from, reply: back }) {
                return;
            }
            let mut order = head.to_vec();
            put(&mut order, ORIGINAL | NESTED, original);
            for kind in [ZONE, ID] {
                if let Some(value) = part(kind) {
                    put(&mut order, kind, value);
                }
            }
            chosen.push(order);
        })
        .map_err(failed)?;
    for order in &chosen {
        match socket.ask(DELETE_CONNECTION, REQUEST | ACK, order, &mut |_| {}) {
            // It has ended meanwhile.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(KernelError::new("forget a connection", error)),
        }
    }
    Ok(chosen.len())
}

/// The links of this namespace with all their addresses.
pub fn links() -> Result<Vec<Link>> {
    const GET_ADDRESS: u16 = 22;
    let failed = |error: Errno| KernelError::new("look at the links", error);
    let socket = Socket::open(SockProtocol::NetlinkRoute).map_err(failed)?;
    let mut links: Vec<(u32, Option<u32>, Link)> = Vec::new();
    socket.ask(GET_LINK, REQUEST | DUMP, &[0; 16], &mut |body| links.extend(link(body))).map_err(failed)?;
    let names: BTreeMap<u32, String> = links.iter().map(|(index, _, link)| (*index, link.name.clone())).collect();
    let places: BTreeMap<u32, usize> = links.iter().enumerate().map(|(at, (index, ..))| (*index, at)).collect();
    let mut take = |body: &[u8]| {
        if let Some((index, address)) = address(body)
            && let Some((_, _, link)) = places.get(&index).and_then(|at| links.get_mut(*at))
        {
            link.addresses.push(address);
        }
    };
    socket.ask(GET_ADDRESS, REQUEST | DUMP, &[0; 8], &mut take).map_err(failed)?;
    let with_master = |(_, master, link): (u32, Option<u32>, Link)| Link {
        master: master.and_then(|index| names.get(&index).cloned()),
        ..link
    };
    Ok(links.into_iter().map(with_master).collect())
}

/// The link of this name, with its number and without its addresses: however many it has, nobody lists them.
pub(super) fn link_of(name: &str) -> Result<Option<(u32, Link)>> {
    let failed = |error: Errno| KernelError::new(format!("look at the link {name}"), error);
    let index = match if_nametoindex(name) {
        Ok(index) => index,
        Err(Errno::ENODEV) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut head = [0; 16];
    head[4..8].copy_from_slice(&index.to_ne_bytes());
    let socket = Socket::open(SockProtocol::NetlinkRoute).map_err(failed)?;
    let mut found = None;
    match socket.ask(GET_LINK, REQUEST, &head, &mut |body| found = link(body)) {
        Ok(()) => Ok(found.map(|(index, _, link)| (index, link))),
        // It has gone meanwhile.
        Err(Errno::ENODEV) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// An address of IPv4 of a link that is a subnet of its own, to be added or taken away.
pub(super) struct OwnAddress<'a> {
    /// To be added.
    pub(super) add: bool,
    /// By its name.
    pub(super) link: &'a str,
    /// The address.
    pub(super) ip: Ipv4Addr,
}

/// Adds and removes addresses in their order, up to the first failure of a round of some.
pub(super) fn change_addresses(changes: &[OwnAddress<'_>]) -> Result<()> {
    const NEW_ADDRESS: u16 = 20;
    const DELETE_ADDRESS: u16 = 21;
    const CREATE: u16 = 0x400;
    const EXCLUSIVE: u16 = 0x200;
    /// The answers to so many are waiting at most.
    const ROUND: usize = 128;
    let said = |change: &OwnAddress<'_>| {
        let OwnAddress { add, link, ip } = change;
        if *add { format!("add {ip} to {link}") } else { format!("remove {ip} from {link}") }
    };
    let failed = |change: &OwnAddress<'_>, error: Errno| KernelError::new(said(change), error);
    let Some(first) = changes.first() else { return Ok(()) };
    let socket = Socket::open(SockProtocol::NetlinkRoute).map_err(|error| failed(first, error))?;
    let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
    for round in changes.chunks(ROUND) {
        let mut messages = Vec::new();
        for change in round {
            let number = match numbers.get(change.link) {
                Some(number) => *number,
                None => if_nametoindex(change.link).map_err(|error| failed(change, error))?,
            };
            numbers.insert(change.link, number);
            // Of IPv4, all bits of it, good everywhere.
            let mut body = vec![AddressFamily::Inet as u8, 32, 0, 0];
            body.extend(number.to_ne_bytes());
            [1, 2].iter().for_each(|kind| put(&mut body, *kind, &change.ip.octets()));
            let (kind, flags) =
                if change.add { (NEW_ADDRESS, ACK | CREATE | EXCLUSIVE) } else { (DELETE_ADDRESS, ACK) };
            messages.extend(message(kind, REQUEST | flags, &body));
        }
        let done = socket.tell(&messages, round.len());
        done.map_err(|(at, error)| failed(round.get(at).unwrap_or(first), error))?;
    }
    Ok(())
}

/// How the links of this namespace shape what they send: those that have classes.
pub fn shaping() -> Result<BTreeMap<String, Shaper>> {
    const GET_QUEUE: u16 = 38;
    const GET_CLASS: u16 = 42;
    const ROOT: u32 = u32::MAX;
    let failed = |error: Errno| KernelError::new("look at how links shape", error);
    let socket = Socket::open(SockProtocol::NetlinkRoute).map_err(failed)?;
    let mut shapers: BTreeMap<u32, Shaper> = BTreeMap::new();
    let mut queues: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    let mut take = |body: &[u8]| {
        let Some(of) = queue(body) else { return };
        match (of.kind.as_str(), of.parent) {
            ("htb", ROOT) => {
                let handle = major(of.handle);
                shapers.insert(of.link, Shaper { handle, ..Shaper::default() });
            }
            ("bfifo", parent) => drop(of.limit.map(|limit| queues.insert((of.link, parent), limit))),
            _ => {}
        }
    };
    socket.ask(GET_QUEUE, REQUEST | DUMP, &[0; 20], &mut take).map_err(failed)?;
    for (link, shaper) in &mut shapers {
        let mut head = [0; 20];
        head[4..8].copy_from_slice(&link.to_ne_bytes());
        let mut take = |body: &[u8]| {
            if let Some((id, mut class)) = class(body).filter(|(id, _)| major(*id) == shaper.handle) {
                class.class.queue = queues.get(&(*link, id)).copied();
                shaper.classes.insert(minor(id), class);
            }
        };
        socket.ask(GET_CLASS, REQUEST | DUMP, &head, &mut take).map_err(failed)?;
    }
    if shapers.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut names: BTreeMap<u32, String> = BTreeMap::new();
    let mut named = |body: &[u8]| names.extend(link(body).map(|(index, _, link)| (index, link.name)));
    socket.ask(GET_LINK, REQUEST | DUMP, &[0; 16], &mut named).map_err(failed)?;
    Ok(shapers.into_iter().filter_map(|(index, shaper)| Some((names.get(&index)?.clone(), shaper))).collect())
}

fn major(id: u32) -> u16 {
    (id >> 16) as u16
}

fn minor(id: u32) -> u16 {
    id as u16
}

/// A queue of a link: what holds packets, or gives them to classes.
struct Queue {
    link: u32,
    handle: u32,
    parent: u32,
    kind: String,
    /// Bytes, of a plain one.
    limit: Option<u32>,
}

const QUEUE_HEAD: usize = 20;
const QUEUE_OPTIONS: u16 = 2;

fn queue(body: &[u8]) -> Option<Queue> {
    let word = |at: usize| ne32(body.get(at..)?);
    let part = |wanted: u16| {
        let found = attributes(body.get(QUEUE_HEAD..)?).find(|(kind, _)| *kind == wanted);
        found.map(|(_, value)| value)
    };
    let kind = String::from_utf8_lossy(part(1)?).trim_end_matches('\0').to_string();
    let limit = part(QUEUE_OPTIONS).and_then(ne32);
    Some(Queue { link: word(4)?, handle: word(8)?, parent: word(12)?, kind, limit })
}

/// A class of HTB, with its number.
fn class(body: &[u8]) -> Option<(u32, ObservedClass)> {
    const ROOT: u32 = u32::MAX;
    const STATISTICS: u16 = 7;
    let (number, parent) = (ne32(body.get(8..)?)?, ne32(body.get(12..)?)?);
    fn find(nested: &[u8], wanted: u16) -> Option<&[u8]> {
        attributes(nested).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    }
    let parts = body.get(QUEUE_HEAD..)?;
    let options = find(parts, QUEUE_OPTIONS)?;
    // Two rates of 12 bytes, each with its number at the end; larger ones are told besides.
    let told = find(options, 1)?;
    let wide = |kind: u16| find(options, kind).and_then(ne64);
    let rate = wide(6).or_else(|| ne32(told.get(8..)?).map(u64::from))?;
    let ceil = wide(7).or_else(|| ne32(told.get(20..)?).map(u64::from))?;
    let parent = Some(parent).filter(|parent| *parent != ROOT).map(minor).filter(|parent| *parent != 0);
    let statistics = find(parts, STATISTICS).unwrap_or_default();
    let sent = find(statistics, 1)
        .and_then(|basic| Some(Counter { packets: u64::from(ne32(basic.get(8..)?)?), bytes: ne64(basic)? }));
    let dropped = find(statistics, 3).and_then(|queue| ne32(queue.get(8..)?)).unwrap_or(0);
    let class = Class { parent, rate, ceil, queue: None };
    Some((number, ObservedClass { class, sent: sent.unwrap_or_default(), dropped: dropped.into() }))
}

/// The number of a link, that of its bridge, and what else is known of it.
fn link(body: &[u8]) -> Option<(u32, Option<u32>, Link)> {
    const UP: u32 = 1;
    let (index, flags) = (ne32(body.get(4..)?)?, ne32(body.get(8..)?)?);
    let part = |wanted: u16| attributes(body.get(16..)?).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let text = |value: &[u8]| String::from_utf8_lossy(value).trim_end_matches('\0').to_string();
    let kind = part(18).and_then(|info| attributes(info).find(|(kind, _)| *kind == 1));
    let link = Link {
        name: text(part(3)?),
        mac: part(1).and_then(|mac| mac.try_into().ok()).map(Mac),
        mtu: part(4).and_then(ne32).unwrap_or(0),
        up: flags & UP != 0,
        master: None,
        kind: kind.map(|(_, value)| text(value)),
        addresses: Vec::new(),
    };
    Some((index, part(10).and_then(ne32), link))
}

/// An address, and the number of its link.
fn address(body: &[u8]) -> Option<(u32, IpNet)> {
    let (length, index) = (*body.get(1)?, ne32(body.get(4..)?)?);
    let part = |wanted: u16| attributes(body.get(8..)?).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    // The own one; the first is that of the other end where there is one.
    let value = part(2).or_else(|| part(1))?;
    let ip = match value.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(value).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(value).ok()?),
    };
    Some((index, IpNet::new(ip, length).ok()?))
}

/// A way to the kernel.
pub(super) struct Socket(OwnedFd);

impl Socket {
    /// Opens one in the namespace of the calling thread.
    pub(super) fn open(protocol: SockProtocol) -> nix::Result<Self> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        setsockopt(&fd, RcvBuf, &(1 << 20))?;
        setsockopt(&fd, nix::sys::socket::sockopt::ReceiveTimeout, &TimeVal::new(10, 0))?;
        Ok(Self(fd))
    }

    /// Sends one message and hands the body of each answer on, up to the last.
    pub(super) fn ask(&self, kind: u16, flags: u16, body: &[u8], answer: &mut dyn FnMut(&[u8])) -> nix::Result<()> {
        sendto(self.0.as_raw_fd(), &message(kind, flags, body), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let mut rest = buffer.get(..length).unwrap_or_default();
            while let (Some(length), Some(kind)) = (ne32(rest), rest.get(4..6)) {
                let kind = u16::from_ne_bytes([kind[0], kind[1]]);
                let length = length as usize;
                let Some(body) = rest.get(16..length) else { return Err(Errno::EPROTO) };
                match kind {
                    DONE => return Ok(()),
                    ERROR => {
                        let code = ne32(body).map_or(0, |code| code as i32);
                        return if code == 0 { Ok(()) } else { Err(Errno::from_raw(-code)) };
                    }
                    _ => answer(body),
                }
                if flags & (DUMP | ACK) == 0 {
                    return Ok(());
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

impl Socket {
    /// Sends so many messages at once, which are all acknowledged in their order; says which is the first that is not.
    fn tell(&self, messages: &[u8], count: usize) -> std::result::Result<(), (usize, Errno)> {
        let fd = self.0.as_raw_fd();
        sendto(fd, messages, &NetlinkAddr::new(0, 0), MsgFlags::empty()).map_err(|error| (0, error))?;
        let mut buffer = vec![0; 1 << 16];
        let (mut answered, mut first) = (0, Ok(()));
        while answered < count {
            let length = recv(fd, &mut buffer, MsgFlags::empty()).map_err(|error| (answered, error))?;
            let mut rest = buffer.get(..length).unwrap_or_default();
            while let (Some(length), Some(kind)) = (ne32(rest), rest.get(4..6)) {
                let kind = u16::from_ne_bytes([kind[0], kind[1]]);
                let Some(body) = rest.get(16..length as usize) else { return Err((answered, Errno::EPROTO)) };
                if kind == ERROR {
                    let code = ne32(body).map_or(0, |code| code as i32);
                    if code != 0 && first.is_ok() {
                        first = Err((answered, Errno::from_raw(-code)));
                    }
                    answered += 1;
                }
                rest = rest.get((length as usize).next_multiple_of(4)..).unwrap_or_default();
            }
        }
        first
    }
}

/// A message with its header.
fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(16 + body.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// The attributes of a message, or of one of its attributes, by kind.
pub(super) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header = rest.get(..4)?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & KIND;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Adds an attribute.
pub(super) fn put(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// One direction of a connection of IPv4.
fn tuple(nested: &[u8]) -> Option<Tuple> {
    const ADDRESSES: u16 = 1;
    const PROTOCOL: u16 = 2;
    let part = |wanted: u16| attributes(nested).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let (addresses, protocol) = (part(ADDRESSES)?, part(PROTOCOL)?);
    let address = |wanted: u16| {
        let found = attributes(addresses).find(|(kind, _)| *kind == wanted)?;
        be32(found.1).map(Ipv4Addr::from)
    };
    let of_protocol = |wanted: u16| attributes(protocol).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let port =
        |wanted: u16| of_protocol(wanted).and_then(|value| Some(u16::from_be_bytes([*value.first()?, *value.get(1)?])));
    Some(Tuple {
        protocol: *of_protocol(1)?.first()?,
        source: address(1)?,
        destination: address(2)?,
        // Other protocols have none.
        source_port: port(2).unwrap_or(0),
        destination_port: port(3).unwrap_or(0),
    })
}

fn be32(value: &[u8]) -> Option<u32> {
    value.get(..4)?.try_into().ok().map(u32::from_be_bytes)
}

fn ne64(value: &[u8]) -> Option<u64> {
    value.get(..8)?.try_into().ok().map(u64::from_ne_bytes)
}

fn ne32(value: &[u8]) -> Option<u32> {
    value.get(..4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_link_is_there_with_its_address() {
        let links = links().unwrap();
        let loopback = links.iter().find(|link| link.name == "lo").unwrap();
        assert_eq!((loopback.mac, loopback.mtu > 0), (Some(Mac([0; 6])), true));
        let known: Vec<IpNet> = ["127.0.0.1/8", "::1/128"].map(|net| net.parse().unwrap()).into();
        assert!(!loopback.up || loopback.addresses.iter().any(|net| known.contains(net)), "{loopback:?}");
    }
}
