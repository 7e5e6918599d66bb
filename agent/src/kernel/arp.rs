//! The question "who has this address?", asked by ARP as RFC 5227 has it: from nobody, so that no neighbour's table
//! changes. And the announcement by which all of them change.

use super::{KernelError, Result, netlink};
use nix::{
    errno::Errno,
    libc::{AF_PACKET, sa_family_t, sockaddr, sockaddr_ll, socklen_t},
    sys::{
        socket::{
            AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike, bind, recvfrom, send,
            setsockopt, socket, sockopt::ReceiveTimeout,
        },
        time::{TimeVal, TimeValLike},
    },
};
use std::{
    mem::size_of,
    net::Ipv4Addr,
    os::fd::AsRawFd,
    time::{Duration, Instant},
};
use switchback_events::Mac;

/// A question is asked again after so long.
const AGAIN: Duration = Duration::from_millis(300);
const BROADCAST: [u8; 6] = [0xff; 6];
const ETHERNET: [u8; 2] = [0x08, 0x06];
/// Ethernet and IPv4, with addresses of 6 and 4 bytes.
const KINDS: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];

/// Asks until somebody answers, or has the address in a question of his own.
pub fn ask(interface: &str, ip: Ipv4Addr, patience: Duration) -> Result<Option<Mac>> {
    let action = format!("ask by ARP on {interface} for {ip}");
    let failed = |error: Errno| KernelError::new(&action, error);
    let (index, link) = netlink::link_of(interface)?.ok_or_else(|| KernelError::new(&action, "no such link"))?;
    let address = link_address(index).map_err(failed)?;
    let own = link.mac.ok_or_else(|| KernelError::new(&action, "it has no MAC"))?;
    // Closed when it goes out of scope. Frames of other protocols are passed over below.
    let socket =
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).map_err(failed)?;
    bind(socket.as_raw_fd(), &address).map_err(failed)?;
    let deadline = Instant::now() + patience;
    let mut ask_at = Instant::now();
    let mut frame = [0; 128];
    loop {
        let now = Instant::now();
        if now >= deadline {
            return Ok(None);
        }
        if now >= ask_at {
            send(socket.as_raw_fd(), &question(own, ip), MsgFlags::empty()).map_err(failed)?;
            ask_at = now + AGAIN;
        }
        let wait = ask_at.min(deadline).saturating_duration_since(now).max(Duration::from_millis(1));
        let wait = TimeVal::milliseconds(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
        setsockopt(&socket, ReceiveTimeout, &wait).map_err(failed)?;
        match recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut frame) {
            // Until it was bound, the socket took frames of every link.
            Ok((length, Some(from))) if from.ifindex() == address.ifindex() => {
                if let Some(holder) = holder(&frame[..length], ip).filter(|holder| *holder != own) {
                    return Ok(Some(holder));
                }
            }
            Ok(_) => {}
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Says to all neighbours that `own` has these addresses.
pub fn announce(interface: &str, own: Mac, ips: &[Ipv4Addr]) -> Result<()> {
    if ips.is_empty() {
        return Ok(());
    }
    let action = format!("announce addresses on {interface}");
    let failed = |error: Errno| KernelError::new(&action, error);
    let (index, _) = netlink::link_of(interface)?.ok_or_else(|| KernelError::new(&action, "no such link"))?;
    let address = link_address(index).map_err(failed)?;
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).map_err(failed)?;
    bind(socket.as_raw_fd(), &address).map_err(failed)?;
    for ip in ips {
        send(socket.as_raw_fd(), &announcement(own, *ip), MsgFlags::empty()).map_err(failed)?;
    }
    Ok(())
}

/// The link with this number, as a socket is bound to it.
fn link_address(index: u32) -> nix::Result<LinkAddr> {
    let place = sockaddr_ll {
        sll_family: sa_family_t::try_from(AF_PACKET).map_err(|_| Errno::EINVAL)?,
        sll_protocol: 0,
        sll_ifindex: i32::try_from(index).map_err(|_| Errno::ENODEV)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = socklen_t::try_from(size_of::<sockaddr_ll>()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the address is one of AF_PACKET, lives until the call is over, and the length is its own. It is copied.
    #[allow(unsafe_code)]
    unsafe { LinkAddr::from_raw(std::ptr::from_ref(&place).cast::<sockaddr>(), Some(length)) }.ok_or(Errno::EINVAL)
}

fn question(own: Mac, ip: Ipv4Addr) -> Vec<u8> {
    request(own, Ipv4Addr::UNSPECIFIED, ip)
}

/// A question about the own address.
fn announcement(own: Mac, ip: Ipv4Addr) -> Vec<u8> {
    request(own, ip, ip)
}

fn request(own: Mac, from: Ipv4Addr, about: Ipv4Addr) -> Vec<u8> {
    let (from, about) = (from.octets(), about.octets());
    let parts: [&[u8]; 9] = [&BROADCAST, &own.0, &ETHERNET, &KINDS, &REQUEST, &own.0, &from, &[0; 6], &about];
    parts.concat()
}

/// Who says in this frame that he has the address.
fn holder(frame: &[u8], ip: Ipv4Addr) -> Option<Mac> {
    let arp = frame.get(12..42).filter(|_| frame[12..14] == ETHERNET && frame[14..20] == KINDS)?;
    let sender: [u8; 6] = arp[10..16].try_into().ok()?;
    (arp[16..20] == ip.octets()).then_some(Mac(sender))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_or_asks_from_an_address_has_it() {
        let (own, other) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let ip = Ipv4Addr::new(10, 0, 0, 7);
        let asked = question(own, ip);
        assert_eq!(asked.len(), 42);
        assert_eq!(holder(&asked, ip), None, "a question from nobody");
        let mut answer = asked.clone();
        answer[21] = 2;
        answer[22..28].copy_from_slice(&other.0);
        answer[28..32].copy_from_slice(&ip.octets());
        assert_eq!(holder(&answer, ip), Some(other));
        assert_eq!(holder(&answer, Ipv4Addr::new(10, 0, 0, 8)), None);
        assert_eq!(holder(&answer[..41], ip), None);
        assert_eq!(holder(&announcement(own, ip), ip), Some(own));
        answer[13] = 0;
        assert_eq!(holder(&answer, ip), None, "another protocol");
    }
}
