//! Packets that are sent in namespaces, and what is seen of them: who got them, from whom, and what the sender heard.

use super::PORTS;
use crate::site::{Site, talk::within};
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6,
    SockaddrStorage, bind, listen, recv, recvmsg, sendto, setsockopt, socket, sockopt,
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt, fs,
    io::IoSliceMut,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    os::fd::{AsRawFd, OwnedFd},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use switchback_appliance::explain::{Packet, PacketProtocol};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Handle,
};

/// A small generator of numbers that look like chance.
pub struct Rng(pub u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// What should be seen of a packet.
#[derive(Clone, PartialEq, Debug)]
pub enum Expected {
    /// It gets there.
    Got { place: String, to: SocketAddr, from: SocketAddr, answered: bool },
    /// Something that is not ours takes the connection.
    Connects,
    /// The sender is told that it may not.
    Refused,
    /// The connection is taken, and closed without a word.
    Closed,
    /// Nobody gets it.
    Nothing,
    /// Nobody here could tell.
    Anything,
}

/// A packet to be sent.
#[derive(Clone, Debug)]
pub struct Probe {
    pub number: u32,
    pub place: String,
    pub packet: Packet,
    /// Its source is another's: no answer comes to its sender.
    pub spoofed: bool,
    /// Any of these.
    pub expected: Vec<Expected>,
    /// What was explained.
    pub told: String,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}: {:?}\n    {}", self.packet, self.place, self.expected, self.told)
    }
}

/// What was seen, by number.
#[derive(Default)]
struct Seen {
    got: HashMap<u32, Vec<(String, SocketAddr, SocketAddr)>>,
    answered: HashSet<u32>,
    connected: HashSet<u32>,
    closed: HashSet<u32>,
    errors: HashMap<u32, i32>,
}

type Shared = Arc<Mutex<Seen>>;

/// How long what is expected may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(8);
/// What nobody should get has this long to get there after all else has.
const SETTLED: Duration = Duration::from_millis(80);
/// What is sent again has another number, and another port.
const AGAIN: u32 = 1 << 28;
const AGAIN_PORTS: u16 = 20_000;
/// `EHOSTUNREACH`, and `EACCES` of IPv6: what a sender hears of packets that are refused by rule.
const REFUSED: [i32; 2] = [113, 13];
/// `ECONNRESET`: a connection that is closed before its maker has looked at it.
const RESET: i32 = 104;
const MARK: [u8; 4] = *b"sbxp";

/// The places of the site, with servers in all of them.
pub struct Places {
    places: BTreeMap<String, PathBuf>,
    seen: Shared,
}

fn text(number: u32) -> [u8; 8] {
    let mut text = [0; 8];
    text[..4].copy_from_slice(&MARK);
    text[4..].copy_from_slice(&number.to_be_bytes());
    text
}

fn number(text: &[u8]) -> Option<u32> {
    let text: [u8; 8] = text.get(..8)?.try_into().ok()?;
    (text[..4] == MARK).then(|| u32::from_be_bytes([text[4], text[5], text[6], text[7]]))
}

fn sysctl(name: &str, value: &str) {
    fs::write(format!("/proc/sys/net/{name}"), value).unwrap();
}

fn family(v4: bool) -> AddressFamily {
    if v4 { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn open(kind: SockType, v4: bool) -> OwnedFd {
    socket(family(v4), kind, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None).unwrap()
}

impl Places {
    /// Gives the places addresses and ways, and starts the servers.
    pub fn new(site: &Site, vms: u16) -> Places {
        let mut places: BTreeMap<String, PathBuf> = [
            ("net".to_string(), site.place("net")),
            ("mgmt".to_string(), site.place("mgmt")),
            ("router".to_string(), site.router_place()),
        ]
        .into();
        places.extend((1..=vms).map(|number| (format!("vm{number}"), site.vm_place(number))));
        // What stands for the public has ends among the guests too, which are to stay strangers.
        let ways = "set -e
            ip addr add 203.0.113.200/24 dev eth0; ip addr add 198.51.100.7/32 dev lo; ip addr add 192.0.2.9/32 dev lo
            for to in 10.0.0.0/8 172.20.0.0/24 169.254.169.254; do ip route replace $to via 203.0.113.1; done
            for own in eth1 eth1.10; do echo 1 >/proc/sys/net/ipv6/conf/$own/disable_ipv6; done
            for ip in fe c8; do ip -6 addr add 2001:db8::$ip/64 dev eth0 nodad; done
            for ip in 7::7 9::9; do ip -6 addr add 2001:db8:$ip/128 dev lo; done
            for to in fd00::/8 2001:db8:bad::/48; do ip -6 route replace $to via 2001:db8::1; done";
        assert!(site.in_net(ways) && site.in_mgmt("ip route replace default via 172.20.0.2"));
        let seen = Shared::default();
        for (name, path) in &places {
            let of_router = name == "router";
            within(path, move || {
                // Whoever is refused hears of it, however often.
                sysctl("ipv4/icmp_ratemask", "0");
                sysctl("ipv6/icmp/ratelimit", "0");
                if !of_router {
                    let names = ["all", "default", "eth0"];
                    names.iter().for_each(|name| sysctl(&format!("ipv4/conf/{name}/rp_filter"), "0"));
                }
            });
            serve(name, path, addresses(name), &seen);
            hear(name, path, &seen);
            hear6(name, path, &seen);
        }
        Places { places, seen }
    }

    /// Sends all of them; answers those of which other things were seen than expected.
    pub fn try_all(&self, probes: &[Probe]) -> Vec<Probe> {
        let tasks = self.send(probes);
        let settled = || {
            let seen = self.seen.lock().unwrap();
            let waits = |probe: &&Probe| !matches!(probe.expected[..], [Expected::Nothing | Expected::Anything]);
            probes.iter().filter(waits).all(|probe| seen.agrees(probe))
        };
        self.wait(settled);
        tasks.iter().for_each(|task| task.abort());
        let seen = self.seen.lock().unwrap();
        probes.iter().filter(|probe| !seen.agrees(probe)).cloned().collect()
    }

    fn wait(&self, settled: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !settled() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(SETTLED);
    }

    /// Sends one again; answers what was seen, where that is not what was expected.
    pub fn again(&self, probe: &Probe, time: u16) -> Option<String> {
        let mut again = probe.clone();
        again.number += AGAIN * u32::from(time);
        let ports = AGAIN_PORTS * time;
        if again.packet.source_port > 0 {
            again.packet.source_port += ports;
        }
        for expected in &mut again.expected {
            if let Expected::Got { from, .. } = expected
                && from.port() > 0
            {
                from.set_port(from.port() + ports);
            }
        }
        let found = self.try_all(std::slice::from_ref(&again)).pop()?;
        let seen = self.seen.lock().unwrap();
        let number = found.number;
        Some(format!(
            "got {:?}, answered {}, connected {}, closed {}, error {:?}",
            seen.got.get(&number),
            seen.answered.contains(&number),
            seen.connected.contains(&number),
            seen.closed.contains(&number),
            seen.errors.get(&number)
        ))
    }

    fn send(&self, probes: &[Probe]) -> Vec<tokio::task::JoinHandle<()>> {
        let mut tasks = Vec::new();
        for (name, path) in &self.places {
            let own: Vec<Probe> = probes.iter().filter(|probe| probe.place == *name).cloned().collect();
            let sockets =
                within(path, move || own.into_iter().map(|probe| (probe.number, client(&probe))).collect::<Vec<_>>());
            for (number, client) in sockets {
                let seen = self.seen.clone();
                match client {
                    Client::Tcp(stream, to) => tasks.push(Handle::current().spawn(ask_tcp(number, stream, to, seen))),
                    Client::Udp(socket) => tasks.push(Handle::current().spawn(ask_udp(number, socket, seen))),
                    Client::Sent => {}
                    Client::Failed(error) => seen.lock().unwrap().fails(number, Some(error)),
                }
            }
        }
        tasks
    }
}

impl Seen {
    fn answers(&mut self, number: u32) {
        self.answered.insert(number);
    }

    fn fails(&mut self, number: u32, error: Option<i32>) {
        self.errors.insert(number, error.unwrap_or(0));
    }

    fn agrees(&self, probe: &Probe) -> bool {
        probe.expected.iter().any(|expected| self.is(probe, expected))
    }

    fn is(&self, probe: &Probe, expected: &Expected) -> bool {
        let number = probe.number;
        let got = self.got.get(&number).map_or(&[][..], Vec::as_slice);
        match expected {
            Expected::Anything => true,
            // Both ways are needed for that.
            Expected::Got { answered: false, .. } if probe.packet.protocol == PacketProtocol::Tcp => true,
            Expected::Got { place, to, from, answered } => {
                let same = |seen: &SocketAddr, said: &SocketAddr| {
                    seen.ip() == said.ip() && (said.port() == 0 || seen.port() == said.port())
                };
                let all = got
                    .iter()
                    .all(|(at, seen_to, seen_from)| at == place && same(seen_to, to) && same(seen_from, from));
                !got.is_empty() && all && (!answered || self.answered.contains(&number))
            }
            Expected::Connects => got.is_empty() && self.connected.contains(&number),
            Expected::Closed => {
                let closed = self.closed.contains(&number) || self.errors.get(&number) == Some(&RESET);
                got.is_empty() && closed && !self.answered.contains(&number)
            }
            Expected::Refused => {
                let icmp = probe.packet.protocol == PacketProtocol::Icmp;
                let refused = REFUSED[usize::from(probe.packet.destination.is_ipv6())];
                got.is_empty() && (icmp || self.errors.get(&number) == Some(&refused))
            }
            Expected::Nothing => {
                got.is_empty() && !self.connected.contains(&number) && !self.answered.contains(&number)
            }
        }
    }
}

/// What servers listen at in a place: all of the router's addresses there may ever be, since an answer comes from the one
/// that was asked.
fn addresses(place: &str) -> Vec<IpAddr> {
    match place {
        "net" => [true, false].into_iter().flat_map(super::internet).collect(),
        "router" => super::of_router(),
        "mgmt" => vec![super::v4(super::MANAGER)],
        vm => super::vm_addresses(vm[2..].parse().unwrap()).into(),
    }
}

fn serve(place: &str, path: &std::path::Path, addresses: Vec<IpAddr>, seen: &Shared) {
    let opened = within(path, move || {
        let mut opened = Vec::new();
        for ip in addresses {
            for port in PORTS {
                let at = SocketAddr::new(ip, port);
                let bound = |kind| {
                    let fd = open(kind, ip.is_ipv4());
                    setsockopt(&fd, sockopt::IpFreebind, &true).unwrap();
                    bind(fd.as_raw_fd(), &SockaddrStorage::from(at)).unwrap();
                    fd
                };
                let (udp, tcp) = (bound(SockType::Datagram), bound(SockType::Stream));
                listen(&tcp, Backlog::new(64).unwrap()).unwrap();
                opened.push((at, udp, tcp));
            }
        }
        opened
    });
    for (at, udp, tcp) in opened {
        let (name, shared) = (place.to_string(), seen.clone());
        let socket = tokio::net::UdpSocket::from_std(UdpSocket::from(udp)).unwrap();
        Handle::current().spawn(async move {
            let mut buffer = [0; 64];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                if let Some(number) = number(&buffer[..length]) {
                    note(&shared, number, &name, at, from);
                    let _ = socket.send_to(&buffer[..length], from).await;
                }
            }
        });
        let (name, shared) = (place.to_string(), seen.clone());
        let listener = tokio::net::TcpListener::from_std(tcp.into()).unwrap();
        Handle::current().spawn(async move {
            while let Ok((mut stream, from)) = listener.accept().await {
                let (name, shared) = (name.clone(), shared.clone());
                Handle::current().spawn(async move {
                    let mut line = [0; 8];
                    if stream.read_exact(&mut line).await.is_ok()
                        && let Some(number) = number(&line)
                    {
                        note(&shared, number, &name, at, from);
                        let _ = stream.write_all(&line).await;
                    }
                });
            }
        });
    }
}

fn note(seen: &Shared, number: u32, place: &str, to: SocketAddr, from: SocketAddr) {
    seen.lock().unwrap().got.entry(number).or_default().push((place.to_string(), to, from));
}

/// Hears the pings that come, and the answers to those that went out.
fn hear(place: &str, path: &std::path::Path, seen: &Shared) {
    let fd = within(path, || {
        socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Icmp).unwrap()
    });
    let (name, seen) = (place.to_string(), seen.clone());
    std::thread::spawn(move || {
        let mut buffer = [0; 256];
        while let Ok(length) = recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            let packet = &buffer[..length];
            let header = usize::from(packet[0] & 15) * 4;
            let end = |at: usize| -> SocketAddr {
                let ip = Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
                SocketAddr::new(ip.into(), 0)
            };
            let Some(number) = packet.get(header + 8..).and_then(number) else { continue };
            match packet[header] {
                8 => note(&seen, number, &name, end(16), end(12)),
                0 => seen.lock().unwrap().answers(number),
                _ => {}
            }
        }
    });
}

/// The same of IPv6, where the header is not told.
fn hear6(place: &str, path: &std::path::Path, seen: &Shared) {
    let fd = within(path, || {
        let fd = socket(AddressFamily::Inet6, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::IcmpV6).unwrap();
        setsockopt(&fd, sockopt::Ipv6RecvPacketInfo, &true).unwrap();
        fd
    });
    let (name, seen) = (place.to_string(), seen.clone());
    std::thread::spawn(move || {
        let mut buffer = [0; 256];
        let mut space = nix::cmsg_space!(nix::libc::in6_pktinfo);
        loop {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let heard = recvmsg::<SockaddrIn6>(fd.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty());
            let Ok(heard) = heard else { break };
            let to = heard.cmsgs().ok().and_then(|mut all| {
                all.find_map(|one| match one {
                    ControlMessageOwned::Ipv6PacketInfo(info) => Some(Ipv6Addr::from(info.ipi6_addr.s6_addr)),
                    _ => None,
                })
            });
            let (Some(to), Some(from), length) = (to, heard.address, heard.bytes) else { continue };
            let Some(number) = buffer[..length].get(8..).and_then(number) else { continue };
            match buffer[0] {
                128 => {
                    let ends = [to, from.ip()].map(|ip| SocketAddr::new(ip.into(), 0));
                    note(&seen, number, &name, ends[0], ends[1]);
                }
                129 => seen.lock().unwrap().answers(number),
                _ => {}
            }
        }
    });
}

enum Client {
    Udp(UdpSocket),
    Tcp(OwnedFd, SocketAddr),
    Sent,
    Failed(i32),
}

/// Opens what sends a packet, in the namespace that this thread is in.
fn client(probe: &Probe) -> Client {
    let packet = probe.packet;
    let v4 = packet.destination.is_ipv4();
    // The router chooses by itself.
    let source = match probe.place == "router" {
        true if v4 => Ipv4Addr::UNSPECIFIED.into(),
        true => Ipv6Addr::UNSPECIFIED.into(),
        false => packet.source,
    };
    let own = SockaddrStorage::from(SocketAddr::new(source, packet.source_port));
    let to = SocketAddr::new(packet.destination, packet.destination_port);
    let failed = |error: std::io::Error| Client::Failed(error.raw_os_error().unwrap_or(0));
    match packet.protocol {
        PacketProtocol::Tcp => {
            let fd = open(SockType::Stream, v4);
            match bind(fd.as_raw_fd(), &own) {
                Ok(()) => Client::Tcp(fd, to),
                Err(error) => failed(error.into()),
            }
        }
        PacketProtocol::Udp => {
            let fd = open(SockType::Datagram, v4);
            if probe.spoofed {
                setsockopt(&fd, sockopt::IpTransparent, &true).unwrap();
            }
            if let Err(error) = bind(fd.as_raw_fd(), &own) {
                return failed(error.into());
            }
            let socket = UdpSocket::from(fd);
            match socket.connect(to).and_then(|()| socket.send(&text(probe.number))) {
                Ok(_) => Client::Udp(socket),
                Err(error) => failed(error),
            }
        }
        PacketProtocol::Icmp => {
            let of = if v4 { SockProtocol::Icmp } else { SockProtocol::IcmpV6 };
            let fd = socket(family(v4), SockType::Raw, SockFlag::SOCK_CLOEXEC, of).unwrap();
            bind(fd.as_raw_fd(), &own).unwrap();
            let (line, to) = (ping(probe.number, v4), SockaddrStorage::from(to));
            let sent = sendto(fd.as_raw_fd(), &line, &to, MsgFlags::empty());
            sent.map_or_else(|error| failed(error.into()), |_| Client::Sent)
        }
    }
}

/// An echo request with a number. The sum of IPv6 is the kernel's.
fn ping(number: u32, v4: bool) -> Vec<u8> {
    let [_, _, high, low] = number.to_be_bytes();
    let mut text =
        [vec![if v4 { 8 } else { 128 }, 0, 0, 0, high, low, (number >> 24) as u8, 1], self::text(number).to_vec()]
            .concat();
    let mut sum: u32 = text.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    text[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    text
}

async fn ask_udp(number: u32, socket: UdpSocket, seen: Shared) {
    let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
    let mut buffer = [0; 64];
    match socket.recv(&mut buffer).await {
        Ok(length) if self::number(&buffer[..length]) == Some(number) => seen.lock().unwrap().answers(number),
        Ok(_) => {}
        Err(error) => seen.lock().unwrap().fails(number, error.raw_os_error()),
    }
}

async fn ask_tcp(number: u32, fd: OwnedFd, to: SocketAddr, seen: Shared) {
    let socket = tokio::net::TcpSocket::from_std_stream(TcpStream::from(fd));
    let mut stream = match socket.connect(to).await {
        Ok(stream) => stream,
        Err(error) => return seen.lock().unwrap().fails(number, error.raw_os_error()),
    };
    seen.lock().unwrap().connected.insert(number);
    let mut line = [0; 8];
    if stream.write_all(&text(number)).await.is_ok()
        && stream.read_exact(&mut line).await.is_ok()
        && self::number(&line) == Some(number)
    {
        seen.lock().unwrap().answers(number);
    } else {
        seen.lock().unwrap().closed.insert(number);
    }
}
