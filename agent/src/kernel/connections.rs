//! Tracked connections, given from one network namespace to another: with their translations, states and timeouts.
//!
//! The kernel tells a translation by the two tuples of a connection only: where the reply is not the original turned round,
//! one was translated. It is told of it in another way: the reply plain, and beside it what to translate to.
//!
//! ```text
//!   told to us    original 10.0.0.7:4000 -> 198.51.100.1:80     reply 198.51.100.1:80 -> 203.0.113.5:61000
//!   told by us    original 10.0.0.7:4000 -> 198.51.100.1:80     reply 198.51.100.1:80 -> 10.0.0.7:4000
//!                 source becomes 203.0.113.5:61000
//! ```
//!
//! The windows of TCP are not told by the kernel. A connection that is given on is therefore not held to them.

use super::{
    KernelError, Known, Result, Tracked,
    netlink::{
        ACK, CONNECTIONS, DUMP, GET_CONNECTION, NESTED, ORIGINAL, REPLY, REQUEST, Socket, ZONE, attributes, put,
    },
};
use nix::{errno::Errno, sys::socket::SockProtocol};

const NEW_CONNECTION: u16 = CONNECTIONS;
const CREATE: u16 = 0x400;
const EXCLUSIVELY: u16 = 0x200;

const STATUS: u16 = 3;
const PROTOCOL_INFO: u16 = 4;
const SOURCE_NAT: u16 = 6;
const TIMEOUT: u16 = 7;
const MARK: u16 = 8;
const DESTINATION_NAT: u16 = 13;

/// Of a tuple.
const ADDRESSES: u16 = 1;
const PROTOCOL: u16 = 2;
/// Of the addresses: source and destination of IPv4, then of IPv6.
const SOURCES: [u16; 2] = [1, 3];
const DESTINATIONS: [u16; 2] = [2, 4];
/// Of the protocol.
const NUMBER: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;
/// The number of an echo, its type and its code; of ICMP, then of ICMPv6.
const ECHOES: [[u16; 3]; 2] = [[4, 5, 6], [7, 8, 9]];

/// What the kernel may be told of a status: an answer was seen, it is to be kept, it is there.
const STATUS_TOLD: u32 = 2 | 4 | 8;
const STATUS_THERE: u32 = 8;

const TCP: u16 = 1;
const TCP_FLAGS: [u16; 2] = [4, 5];
/// Nobody looks at the windows.
const BE_LIBERAL: u8 = 8;

/// All connections of this namespace, as they are to be told to another: the first packet, and the order.
pub fn all() -> Result<Vec<Tracked>> {
    let failed = |error: Errno| KernelError::new("look at the connections", error);
    let socket = Socket::open(SockProtocol::NetlinkNetFilter).map_err(failed)?;
    let mut orders = Vec::new();
    // Of any family.
    socket.ask(GET_CONNECTION, REQUEST | DUMP, &[0; 4], &mut |body| orders.extend(order(body))).map_err(failed)?;
    Ok(orders)
}

/// Adds connections to those of this namespace, but those that are `known`, and says how many were added.
pub fn add(orders: &[Tracked], known: &mut Known) -> Result<usize> {
    let failed = |error: Errno| KernelError::new("add a connection", error);
    let socket = Socket::open(SockProtocol::NetlinkNetFilter).map_err(failed)?;
    let mut added = 0;
    for (original, order) in orders {
        if !known.insert(original.clone()) {
            continue;
        }
        match socket.ask(NEW_CONNECTION, REQUEST | ACK | CREATE | EXCLUSIVELY, order, &mut |_| {}) {
            Ok(()) => added += 1,
            Err(Errno::EEXIST) => {}
            // One that cannot be given on is no reason to lose the others.
            Err(error) => tracing::debug!(%error, "a connection is not given on"),
        }
    }
    Ok(added)
}

fn part(body: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(body).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// A connection as the kernel has told it, as it is to be told.
fn order(message: &[u8]) -> Option<Tracked> {
    let (family, body) = (*message.first()?, message.get(4..)?);
    let (original, reply) = (part(body, ORIGINAL)?, part(body, REPLY)?);
    let mut order = vec![family, 0, 0, 0];
    put(&mut order, ORIGINAL | NESTED, original);
    let (plain, source, destination) = undo(original, reply)?;
    put(&mut order, REPLY | NESTED, &plain);
    let status = u32::from_be_bytes(part(body, STATUS)?.try_into().ok()?);
    put(&mut order, STATUS, &(status & STATUS_TOLD | STATUS_THERE).to_be_bytes());
    for kind in [TIMEOUT, MARK, ZONE] {
        if let Some(value) = part(body, kind) {
            put(&mut order, kind, value);
        }
    }
    if let Some(info) = part(body, PROTOCOL_INFO) {
        put(&mut order, PROTOCOL_INFO | NESTED, &liberal(info));
    }
    for (kind, translation) in [(SOURCE_NAT, source), (DESTINATION_NAT, destination)] {
        if let Some(translation) = translation {
            put(&mut order, kind | NESTED, &translation);
        }
    }
    Some((original.to_vec(), order))
}

/// The reply without translation, and what the source and the destination become.
type Undone = (Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>);

fn undo(original: &[u8], reply: &[u8]) -> Option<Undone> {
    let (there, back) = (part(original, ADDRESSES)?, part(reply, ADDRESSES)?);
    let (how, how_back) = (part(original, PROTOCOL)?, part(reply, PROTOCOL)?);
    let version = usize::from(part(there, SOURCES[0]).is_none());
    let (source, destination) = (part(there, SOURCES[version])?, part(there, DESTINATIONS[version])?);
    let (from, to) = (part(back, SOURCES[version])?, part(back, DESTINATIONS[version])?);
    let mut addresses = Vec::new();
    put(&mut addresses, SOURCES[version], destination);
    put(&mut addresses, DESTINATIONS[version], source);
    let mut protocol = Vec::new();
    put(&mut protocol, NUMBER, part(how, NUMBER)?);
    let mut source_becomes = to != source;
    let mut destination_becomes = from != destination;
    let (mut source_number, mut destination_number) = (None, None);
    let ports = (part(how, SOURCE_PORT), part(how, DESTINATION_PORT));
    let ports_back = (part(how_back, SOURCE_PORT), part(how_back, DESTINATION_PORT));
    if let ((Some(own), Some(other)), (Some(from_port), Some(to_port))) = (ports, ports_back) {
        put(&mut protocol, SOURCE_PORT, other);
        put(&mut protocol, DESTINATION_PORT, own);
        source_becomes |= to_port != own;
        destination_becomes |= from_port != other;
        (source_number, destination_number) = (Some(to_port), Some(from_port));
    }
    let [id, kind, code] = ECHOES[version];
    if let (Some(own), Some(other)) = (part(how, id), part(how_back, id)) {
        put(&mut protocol, id, own);
        put(&mut protocol, kind, part(how_back, kind)?);
        put(&mut protocol, code, part(how_back, code)?);
        source_becomes |= other != own;
        source_number = Some(other);
    }
    let mut plain = Vec::new();
    put(&mut plain, ADDRESSES | NESTED, &addresses);
    put(&mut plain, PROTOCOL | NESTED, &protocol);
    let source = source_becomes.then(|| translation(version, to, source_number));
    let destination = destination_becomes.then(|| translation(version, from, destination_number));
    Some((plain, source, destination))
}

/// What an end of a connection becomes: exactly this address, and this port or number of an echo.
fn translation(version: usize, address: &[u8], number: Option<&[u8]>) -> Vec<u8> {
    // The least and the greatest address, of IPv4 and of IPv6.
    const BOUNDS: [[u16; 2]; 2] = [[1, 2], [4, 5]];
    const NUMBERS: u16 = 3;
    let mut translation = Vec::new();
    for bound in BOUNDS[version] {
        put(&mut translation, bound, address);
    }
    if let Some(number) = number {
        let mut numbers = Vec::new();
        put(&mut numbers, 1, number);
        put(&mut numbers, 2, number);
        put(&mut translation, NUMBERS | NESTED, &numbers);
    }
    translation
}

/// What is known of a connection of TCP, with windows that nobody looks at; of another protocol, as it is.
fn liberal(info: &[u8]) -> Vec<u8> {
    let mut told = Vec::new();
    for (kind, value) in attributes(info) {
        if kind != TCP {
            put(&mut told, kind | NESTED, value);
            continue;
        }
        let mut of_tcp = Vec::new();
        for (kind, value) in attributes(value) {
            match value.first() {
                Some(flags) if TCP_FLAGS.contains(&kind) => {
                    // The flags, and which of them are told.
                    let flags = flags | BE_LIBERAL;
                    put(&mut of_tcp, kind, &[flags, flags]);
                }
                _ => put(&mut of_tcp, kind, value),
            }
        }
        put(&mut told, TCP | NESTED, &of_tcp);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(source: ([u8; 4], u16), destination: ([u8; 4], u16)) -> Vec<u8> {
        let (mut addresses, mut protocol, mut tuple) = (Vec::new(), Vec::new(), Vec::new());
        put(&mut addresses, SOURCES[0], &source.0);
        put(&mut addresses, DESTINATIONS[0], &destination.0);
        put(&mut protocol, NUMBER, &[6]);
        put(&mut protocol, SOURCE_PORT, &source.1.to_be_bytes());
        put(&mut protocol, DESTINATION_PORT, &destination.1.to_be_bytes());
        put(&mut tuple, ADDRESSES | NESTED, &addresses);
        put(&mut tuple, PROTOCOL | NESTED, &protocol);
        tuple
    }

    #[test]
    fn a_translation_is_told_apart_from_the_reply() {
        let vm = ([10, 0, 0, 7], 4000);
        let web = ([198, 51, 100, 1], 80);
        let public = ([203, 0, 113, 5], 61000);
        let (original, reply) = (tuple(vm, web), tuple(web, public));
        let (plain, source, destination) = undo(&original, &reply).unwrap();
        assert_eq!(plain, tuple(web, vm));
        assert_eq!(source, Some(translation(0, &public.0, Some(&public.1.to_be_bytes()))));
        assert_eq!(destination, None);
        // From outside to a forwarded port.
        let (original, reply) = (tuple(web, public), tuple(vm, web));
        let (plain, source, destination) = undo(&original, &reply).unwrap();
        assert_eq!((plain, source), (tuple(public, web), None));
        assert_eq!(destination, Some(translation(0, &vm.0, Some(&vm.1.to_be_bytes()))));
        // Nothing is translated.
        let (plain, source, destination) = undo(&tuple(vm, web), &tuple(web, vm)).unwrap();
        assert_eq!((plain, source, destination), (tuple(web, vm), None, None));
    }

    #[test]
    fn windows_are_not_held_to() {
        let (mut of_tcp, mut info) = (Vec::new(), Vec::new());
        put(&mut of_tcp, 1, &[3]);
        put(&mut of_tcp, TCP_FLAGS[0], &[0x03, 0]);
        put(&mut info, TCP | NESTED, &of_tcp);
        let told = liberal(&info);
        let of_tcp = part(&told, TCP).unwrap();
        assert_eq!(part(of_tcp, 1), Some(&[3][..]));
        assert_eq!(part(of_tcp, TCP_FLAGS[0]), Some(&[0x0b, 0x0b][..]));
    }
}
