//! The few packets that the agent sends itself: a DNS question, a DHCP question, a DHCP release, a TCP connection, an announcement.

use super::{KernelError, ProcessId, Result, Talk, namespace, process};
use nix::{
    net::if_::if_nametoindex,
    sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, bind, sendto, setsockopt, socket,
        sockopt::{BindToDevice, Ipv6MulticastHops},
    },
};
use std::{
    ffi::OsString,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::Path,
    time::{Duration, Instant},
};
use switchback_appliance::Protocol;
use switchback_events::Mac;

const AAAA: u16 = 28;
const INTERNET: u16 = 1;

const DHCP_COOKIE: [u8; 4] = [99, 130, 83, 99];
const DHCP_INFORM: u8 = 8;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Tells the neighbours on a link who has an address now: an advertisement that nobody asked for (RFC 4861, 7.2.6).
pub fn advertise(interface: &str, mac: Mac, ip: Ipv6Addr) -> Result<()> {
    let failed = |error: nix::Error| KernelError::new(format!("advertise {ip} on {interface}"), error);
    let index = if_nametoindex(interface).map_err(failed)?;
    let socket = socket(AddressFamily::Inet6, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::IcmpV6);
    let socket = socket.map_err(failed)?;
    setsockopt(&socket, Ipv6MulticastHops, &255).map_err(failed)?;
    bind(socket.as_raw_fd(), &SockaddrIn6::from(SocketAddrV6::new(ip, 0, 0, index))).map_err(failed)?;
    let to = SockaddrIn6::from(SocketAddrV6::new(ALL_NODES, 0, 0, index));
    sendto(socket.as_raw_fd(), &advertisement(mac, ip), &to, MsgFlags::empty()).map_err(failed)?;
    Ok(())
}

/// The kernel puts in the checksum.
fn advertisement(mac: Mac, ip: Ipv6Addr) -> Vec<u8> {
    const ADVERTISEMENT: u8 = 136;
    const ROUTER_OVERRIDE: u8 = 0xa0;
    const TARGET_LINK_ADDRESS: u8 = 2;
    let mut packet = vec![ADVERTISEMENT, 0, 0, 0, ROUTER_OVERRIDE, 0, 0, 0];
    packet.extend(ip.octets());
    packet.extend([TARGET_LINK_ADDRESS, 1]);
    packet.extend(mac.0);
    packet
}

/// Asks for the IPv6 address of a name, once.
pub fn ask_dns(server: IpAddr, name: &str, patience: Duration) -> Result<Option<Ipv6Addr>> {
    let failed = |detail: &dyn std::fmt::Display| KernelError::new(format!("ask {server} for {name}"), detail);
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).map_err(|error| failed(&error))?;
    socket.set_read_timeout(Some(patience)).map_err(|error| failed(&error))?;
    socket.connect((server, 53)).map_err(|error| failed(&error))?;
    let id = socket.local_addr().map_err(|error| failed(&error))?.port();
    socket.send(&question(id, name)).map_err(|error| failed(&error))?;
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).map_err(|error| failed(&error))?;
    answer(&buffer[..length], id).ok_or_else(|| failed(&"an answer that makes no sense"))
}

fn question(id: u16, name: &str) -> Vec<u8> {
    let mut packet = Vec::with_capacity(18 + name.len());
    // Recursion desired, one question.
    for word in [id, 0x0100, 1, 0, 0, 0] {
        packet.extend(word.to_be_bytes());
    }
    for label in name.split('.') {
        packet.push(u8::try_from(label.len()).unwrap_or(0));
        packet.extend(label.as_bytes());
    }
    packet.push(0);
    packet.extend(AAAA.to_be_bytes());
    packet.extend(INTERNET.to_be_bytes());
    packet
}

/// The first address of an answer; the inner `None` where the name has none.
fn answer(packet: &[u8], id: u16) -> Option<Option<Ipv6Addr>> {
    let word = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    if word(0)? != id {
        return None;
    }
    if word(6)? == 0 {
        return Some(None);
    }
    let mut at = 12;
    while *packet.get(at)? != 0 {
        at += 1 + usize::from(packet[at]);
    }
    // End of the name, type and class; then a pointer to the name, type, class, time to live and length.
    at += 5;
    if *packet.get(at)? & 0xc0 != 0xc0 || word(at + 2)? != AAAA || word(at + 10)? != 16 {
        return Some(None);
    }
    let bytes: [u8; 16] = packet.get(at + 12..at + 28)?.try_into().ok()?;
    Some(Some(Ipv6Addr::from(bytes)))
}

/// Sends the DHCPRELEASE that a client would. The socket is bound to the interface, or the server would
/// see the packet come from `lo`.
pub fn release_lease(interface: &str, server: Ipv4Addr, ip: Ipv4Addr, mac: Mac) -> Result<()> {
    let failed = |detail: &dyn std::fmt::Display| KernelError::new(format!("release lease of {ip}"), detail);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(|error| failed(&error))?;
    setsockopt(&socket, BindToDevice, &OsString::from(interface)).map_err(|error| failed(&error))?;
    socket.send_to(&release(server, ip, mac), (server, 67)).map_err(|error| failed(&error))?;
    Ok(())
}

/// What every DHCP packet that the agent sends begins with.
fn of_client(transaction: [u8; 4], ip: Ipv4Addr, mac: Mac) -> Vec<u8> {
    let mut packet = vec![0; 236];
    packet[..3].copy_from_slice(&[1, 1, 6]);
    packet[4..8].copy_from_slice(&transaction);
    packet[12..16].copy_from_slice(&ip.octets());
    packet[28..34].copy_from_slice(&mac.0);
    packet.extend(DHCP_COOKIE);
    packet
}

/// Asks for one option, from the server's own address: there the answer comes back to this socket.
pub fn ask_dhcp(interface: &str, server: Ipv4Addr, mac: Mac, option: u8, patience: Duration) -> Result<Option<String>> {
    let failed = |detail: &dyn std::fmt::Display| KernelError::new(format!("ask {server} by DHCP"), detail);
    let socket = UdpSocket::bind((server, 0)).map_err(|error| failed(&error))?;
    setsockopt(&socket, BindToDevice, &OsString::from(interface)).map_err(|error| failed(&error))?;
    let port = socket.local_addr().map_err(|error| failed(&error))?.port();
    let [high, low] = port.to_be_bytes();
    let transaction = [0x73, 0x77, high, low];
    let mut packet = of_client(transaction, server, mac);
    packet.extend([53, 1, DHCP_INFORM, 55, 1, option, 255]);
    packet.resize(300, 0);
    socket.send_to(&packet, (server, 67)).map_err(|error| failed(&error))?;
    let deadline = Instant::now() + patience;
    let mut buffer = [0; 1500];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(failed(&format!("silence for {patience:?}")));
        }
        socket.set_read_timeout(Some(left)).map_err(|error| failed(&error))?;
        match socket.recv(&mut buffer) {
            Ok(length) => {
                if let Some(found) = dhcp_option(&buffer[..length], transaction, option) {
                    return Ok(found);
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(failed(&error)),
        }
    }
}

/// The text of an option of an answer to `transaction`; the outer `None` where it is none.
fn dhcp_option(packet: &[u8], transaction: [u8; 4], option: u8) -> Option<Option<String>> {
    let (head, mut options) = packet.split_at_checked(240)?;
    if head[0] != 2 || head[4..8] != transaction || head[236..240] != DHCP_COOKIE {
        return None;
    }
    while let [code, rest @ ..] = options {
        match (*code, rest) {
            (0, rest) => options = rest,
            (255, _) => break,
            (code, [length, rest @ ..]) => {
                let (value, after) = rest.split_at_checked(usize::from(*length))?;
                if code == option {
                    return Some(Some(String::from_utf8_lossy(value).into_owned()));
                }
                options = after;
            }
            _ => break,
        }
    }
    Some(None)
}

fn release(server: Ipv4Addr, ip: Ipv4Addr, mac: Mac) -> Vec<u8> {
    let mut packet = of_client(ip.octets(), ip, mac);
    packet.extend([53, 1, 7, 54, 4]);
    packet.extend(server.octets());
    packet.push(255);
    packet.resize(300, 0);
    packet
}

/// Says one line by a socket of the machine, and reads all that is answered.
pub fn ask_socket(socket: &Path, line: &str, patience: Duration) -> Result<String> {
    let failed = |error: io::Error| KernelError::new(format!("ask by `{}`", socket.display()), error);
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    stream.set_read_timeout(Some(patience)).map_err(failed)?;
    stream.set_write_timeout(Some(patience)).map_err(failed)?;
    stream.write_all(format!("{line}\n").as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    Ok(answer)
}

/// A conversation with haproxy, which ends each answer with its prompt.
pub struct Prompt(UnixStream);

impl Prompt {
    const END: &[u8] = b"\n> ";

    /// Opens it.
    pub fn open(socket: &Path, patience: Duration) -> Result<Prompt> {
        let failed = |error: io::Error| KernelError::new(format!("talk by `{}`", socket.display()), error);
        let stream = UnixStream::connect(socket).map_err(failed)?;
        stream.set_read_timeout(Some(patience)).map_err(failed)?;
        stream.set_write_timeout(Some(patience)).map_err(failed)?;
        let mut prompt = Prompt(stream);
        prompt.ask("prompt")?;
        Ok(prompt)
    }
}

impl Talk for Prompt {
    fn ask(&mut self, line: &str) -> Result<String> {
        let failed = |error: io::Error| KernelError::new(format!("say `{line}`"), error);
        self.0.write_all(format!("{line}\n").as_bytes()).map_err(failed)?;
        let (mut answer, mut buffer) = (Vec::new(), [0; 16384]);
        while !answer.ends_with(Self::END) {
            match self.0.read(&mut buffer).map_err(failed)? {
                0 => return Err(failed(io::ErrorKind::UnexpectedEof.into())),
                length => answer.extend(&buffer[..length]),
            }
        }
        answer.truncate(answer.len() - Self::END.len());
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// Whether a server is well. Of UDP silence is well: only a port that is closed says so.
pub fn knock(protocol: Protocol, server: SocketAddr, patience: Duration) -> Result<()> {
    let failed = |error: io::Error| KernelError::new(format!("knock at {server}"), error);
    if protocol == Protocol::Tcp {
        return TcpStream::connect_timeout(&server, patience).map(|_| ()).map_err(failed);
    }
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).map_err(failed)?;
    socket.set_read_timeout(Some(patience)).map_err(failed)?;
    socket.connect(server).map_err(failed)?;
    socket.send(&[]).map_err(failed)?;
    match socket.recv(&mut [0; 1]) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Err(failed(error))
        }
        _ => Ok(()),
    }
}

/// Connects until something accepts, in the namespace, from a thread of its own.
pub fn wait_accepting(name: &str, address: SocketAddr, waited_for: &ProcessId, patience: Duration) -> Result<()> {
    let failed = |detail: &dyn std::fmt::Display| KernelError::new(format!("wait for {address}"), detail);
    let attempt = || {
        namespace::enter(name)?;
        let deadline = Instant::now() + patience;
        loop {
            match TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
                Ok(_) => return Ok(()),
                Err(_) if !process::alive(waited_for) => return Err(failed(&"the process ended")),
                Err(error) if Instant::now() >= deadline => return Err(failed(&error)),
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    };
    std::thread::scope(|scope| scope.spawn(attempt).join()).unwrap_or_else(|_| Err(failed(&"a panic")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_of_an_answer_is_found_whatever_comes_before_it() {
        let mut packet = of_client([1, 2, 3, 4], Ipv4Addr::LOCALHOST, Mac([3; 6]));
        packet[0] = 2;
        packet.extend([0, 53, 1, 5, 224, 2, b'o', b'k', 255]);
        assert_eq!(dhcp_option(&packet, [1, 2, 3, 4], 224), Some(Some("ok".to_string())));
        assert_eq!(dhcp_option(&packet, [1, 2, 3, 4], 225), Some(None));
        assert_eq!(dhcp_option(&packet, [1, 2, 3, 5], 224), None, "another's");
        packet[0] = 1;
        assert_eq!(dhcp_option(&packet, [1, 2, 3, 4], 224), None, "a question");
        for length in 0..packet.len() {
            let _ = dhcp_option(&packet[..length], [1, 2, 3, 4], 224);
        }
    }

    #[test]
    fn an_answer_is_read_back() {
        let mut packet = question(7, "a.bc");
        assert_eq!(packet[12..18], [1, b'a', 2, b'b', b'c', 0]);
        packet[7] = 1;
        packet.extend([0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 0, 0, 16]);
        packet.extend(Ipv6Addr::LOCALHOST.octets());
        assert_eq!(answer(&packet, 7), Some(Some(Ipv6Addr::LOCALHOST)));
        assert_eq!(answer(&packet, 8), None);
        assert_eq!(answer(&packet[..20], 7), None);
    }
}
