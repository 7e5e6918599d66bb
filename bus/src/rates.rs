//! How often one may ask: so many requests a second of one account, or of one address where nobody has logged in.
//!
//! What is kept of each who asks is one number: the moment at which all his requests would have been due, had he asked
//! evenly (GCRA). It may run ahead of now by the burst.
//!
//! **Invariant:** memory is bounded: there are never more than [`MOST`] such numbers; who comes when all are taken shares one.

use crate::{Caller, Refusal, RefusalKind, code};
use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use switchback_events::AccountId;

/// How often one may ask. 0 a second: as often as he likes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rates {
    /// Requests a second of one account.
    pub account_per_second: u32,
    /// So many at once, after a pause.
    pub account_burst: u32,
    /// Requests a second of one address without an account.
    pub address_per_second: u32,
    /// So many at once, after a pause.
    pub address_burst: u32,
}

impl Default for Rates {
    fn default() -> Rates {
        Rates { account_per_second: 10_000, account_burst: 20_000, address_per_second: 100, address_burst: 400 }
    }
}

/// The most accounts, and the most addresses, that are kept.
const MOST: usize = 16_384;

/// Who has asked, and how often.
pub struct Asked {
    begin: Instant,
    accounts: Rate<AccountId>,
    addresses: Rate<IpAddr>,
}

impl Asked {
    /// Nobody yet.
    pub fn new(rates: Rates) -> Asked {
        Asked {
            begin: Instant::now(),
            accounts: Rate::new(rates.account_per_second, rates.account_burst),
            addresses: Rate::new(rates.address_per_second, rates.address_burst),
        }
    }

    /// Counts a request of who asks: who has logged in as an account, anybody else by the address `peer`.
    ///
    /// # Errors
    /// It is one too many, with the seconds after which the next may come.
    pub fn count(&self, caller: Option<&Caller>, peer: Option<IpAddr>) -> Result<(), Refusal> {
        match caller {
            Some(Caller { unlimited: true, .. }) => Ok(()),
            Some(Caller { account: Some(account), name, .. }) => self.of_account(*account, name),
            _ => self.of_address(peer),
        }
    }

    fn of_account(&self, account: AccountId, name: &str) -> Result<(), Refusal> {
        let wait = self.accounts.take(account, self.begin.elapsed());
        wait.map_err(|wait| too_many(&format!("account `{name}`"), self.accounts.per_second, wait))
    }

    fn of_address(&self, peer: Option<IpAddr>) -> Result<(), Refusal> {
        let peer = peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), network);
        let wait = self.addresses.take(peer, self.begin.elapsed());
        wait.map_err(|wait| too_many(&format!("{peer}, without a log-in,"), self.addresses.per_second, wait))
    }
}

/// Whoever has one address of IPv6 has all of its network.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(peer) => IpAddr::V6(Ipv6Addr::from_bits(peer.to_bits() >> 64 << 64)),
        peer => peer,
    }
}

fn too_many(who: &str, per_second: u32, wait: Duration) -> Refusal {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let detail = format!("{who} asks more than {per_second} times a second");
    let refusal = Refusal::new(RefusalKind::Busy, code::BUSY, detail).hint(format!("try again in {seconds} seconds"));
    Refusal { retry_after_secs: Some(seconds), ..refusal }
}

/// The rate of each who asks.
struct Rate<K> {
    per_second: u32,
    /// From one request to the next, were they even.
    gap: Duration,
    /// So far may somebody be ahead.
    ahead: Duration,
    due: Mutex<HashMap<Option<K>, Duration>>,
}

impl<K: Copy + Eq + Hash> Rate<K> {
    fn new(per_second: u32, burst: u32) -> Rate<K> {
        let gap = Duration::from_secs(1) / per_second.max(1);
        Rate { per_second, gap, ahead: gap * burst.max(1), due: Mutex::default() }
    }

    /// Counts a request at `now`.
    ///
    /// # Errors
    /// It is one too many; the next may come after so long.
    fn take(&self, who: K, now: Duration) -> Result<(), Duration> {
        if self.per_second == 0 {
            return Ok(());
        }
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = Some(who);
        if due.len() >= MOST && !due.contains_key(&key) {
            // Who is not ahead is as if he had never asked.
            due.retain(|_, due| *due > now);
            if due.len() >= MOST {
                key = None;
            }
        }
        let next = due.get(&key).copied().unwrap_or_default().max(now) + self.gap;
        match next.checked_sub(now + self.ahead).filter(|wait| !wait.is_zero()) {
            Some(wait) => Err(wait),
            None => {
                due.insert(key, next);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_then_so_many_a_second_and_each_has_its_own() {
        let rate = Rate::new(10, 3);
        for _ in 0..3 {
            assert_eq!(rate.take("bob", SECOND), Ok(()));
        }
        assert_eq!(rate.take("bob", SECOND), Err(SECOND / 10));
        assert_eq!(rate.take("bob", SECOND), Err(SECOND / 10), "asking does not make it longer");
        assert_eq!(rate.take("eve", SECOND), Ok(()));
        assert_eq!(rate.take("bob", SECOND + SECOND / 10), Ok(()));
        assert_eq!(rate.take("bob", SECOND + SECOND / 10), Err(SECOND / 10));
        for _ in 0..3 {
            assert_eq!(rate.take("bob", 9 * SECOND), Ok(()));
        }
        assert!(rate.take("bob", 9 * SECOND).is_err());
    }

    #[test]
    fn no_limit_is_none() {
        let rate = Rate::new(0, 0);
        assert!((0..100_000).all(|_| rate.take("bob", SECOND).is_ok()));
        assert!(rate.due.lock().unwrap().is_empty());
    }

    #[test]
    fn many_who_ask_take_no_more_room_and_share_one_rate() {
        let rate = Rate::new(1, 2);
        for who in 0..MOST {
            assert_eq!(rate.take(who, SECOND), Ok(()));
        }
        assert_eq!(rate.take(MOST, SECOND), Ok(()));
        assert_eq!(rate.take(MOST + 1, SECOND), Ok(()));
        assert_eq!(rate.take(MOST + 2, SECOND), Err(SECOND), "the two before have taken what there is");
        assert_eq!(rate.take(0, SECOND), Ok(()), "who was there keeps his own");
        assert!(rate.due.lock().unwrap().len() <= MOST + 1);
        // Later nobody is ahead any more.
        assert_eq!(rate.take(MOST + 2, 60 * SECOND), Ok(()));
        assert_eq!(rate.due.lock().unwrap().len(), 1);
    }

    #[test]
    fn one_network_of_ipv6_is_one_who_asks() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("fd00:1:2:3::1"), of("fd00:1:2:3:ffff::9"));
        assert_ne!(of("fd00:1:2:3::1"), of("fd00:1:2:4::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
