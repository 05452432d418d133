//! Response rate limiting: a server that answers anybody must not be what floods somebody whose
//! address is forged.
//!
//! Replies are counted by the network they go to (/24 and /56) and their kind. Beyond the rate they
//! are not sent, except each so many as a small one that sends real clients to TCP. Who has shown a
//! cookie or comes by TCP is not counted. Pure: time is an argument.
//!
//! The table has a fixed size and no keys: networks that fall on one place share it. A flood from
//! addresses all over the world is then spread thin, and cannot push anybody's count out.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::Duration;

use foldhash::quality::FixedState;

use crate::access::AccessList;

/// Settings. Each UDP thread counts by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Replies a second for each network and kind; 0 = no limit. As many may come at once.
    pub per_second: u32,
    /// Each so many limited replies is sent as a small one (TC, or a cookie); 1 = each, 0 = none.
    pub slip: u32,
    /// Networks without a limit. By default those whose addresses nobody outside can forge:
    /// loopback and private ones.
    pub exempt: AccessList,
}

impl Default for RateLimit {
    fn default() -> RateLimit {
        RateLimit { per_second: 1000, slip: 2, exempt: AccessList::private() }
    }
}

impl RateLimit {
    /// No limit.
    pub fn off() -> RateLimit {
        RateLimit { per_second: 0, ..RateLimit::default() }
    }
}

/// What a reply is, as far as limits go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Records, or none of that type.
    Answer,
    /// No such name.
    NoSuchName,
    /// An error or a refusal.
    Error,
    /// What other servers are asked.
    Forwarded,
}

/// What is to become of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// It is sent.
    No,
    /// A small one is sent instead.
    Slip,
    /// Nothing is sent.
    Drop,
}

/// Places of the table, 8 bytes each.
const PLACES: usize = 1 << 14;
/// What may come at once, as time at the full rate.
const BURST: Duration = Duration::from_secs(1);

/// Counts replies.
#[derive(Debug)]
pub struct RateLimiter {
    /// The time a reply takes at the full rate, in nanoseconds.
    step: u64,
    slip: u32,
    exempt: AccessList,
    /// For each place the time until which its replies would take at the full rate (the generic
    /// cell rate algorithm), in nanoseconds.
    busy_until: Box<[u64]>,
    hasher: FixedState,
    /// Limited replies since the last that was sent small.
    since_slip: u32,
}

impl RateLimiter {
    /// A limiter; `None` when there is no limit. `seed` keeps others from knowing who shares a
    /// place.
    pub fn new(config: &RateLimit, seed: u64) -> Option<RateLimiter> {
        let step = 1_000_000_000u64.checked_div(u64::from(config.per_second))?;
        Some(RateLimiter {
            step,
            slip: config.slip,
            exempt: config.exempt.clone(),
            busy_until: std::iter::repeat_n(0, PLACES).collect(),
            hasher: FixedState::with_seed(seed),
            since_slip: 0,
        })
    }

    /// Counts a reply of a kind to a client, `now` since some start.
    pub fn count(&mut self, client: IpAddr, kind: Kind, now: Duration) -> Limited {
        if self.exempt.allows(client) {
            return Limited::No;
        }
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let place = self.hasher.hash_one((network(client), kind)) as usize % PLACES;
        let Some(busy_until) = self.busy_until.get_mut(place) else { return Limited::No };
        let next = (*busy_until).max(now).saturating_add(self.step);
        if next <= now.saturating_add(BURST.as_nanos() as u64) {
            *busy_until = next;
            return Limited::No;
        }
        self.since_slip = self.since_slip.saturating_add(1);
        if self.slip == 0 || self.since_slip < self.slip {
            return Limited::Drop;
        }
        self.since_slip = 0;
        Limited::Slip
    }
}

/// The network of an address: what one site usually has. IPv4's lie where IPv6 has none.
fn network(client: IpAddr) -> u64 {
    match client {
        IpAddr::V4(address) => u64::from(address.to_bits() >> 8),
        IpAddr::V6(address) => (address.to_bits() >> 72) as u64 | 1 << 63,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(per_second: u32, slip: u32) -> RateLimiter {
        RateLimiter::new(&RateLimit { per_second, slip, ..RateLimit::default() }, 1).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn so_many_at_once_and_so_many_a_second() {
        let mut limiter = limiter(10, 0);
        let mut sent = |client: &str, kind, millis, tries: usize| {
            let now = Duration::from_millis(millis);
            (0..tries).filter(|_| limiter.count(ip(client), kind, now) == Limited::No).count()
        };
        assert_eq!(sent("192.0.2.1", Kind::Answer, 5, 30), 10);
        // The same network, another network, another kind.
        assert_eq!(sent("192.0.2.200", Kind::Answer, 5, 30), 0);
        assert_eq!(sent("198.51.100.1", Kind::Answer, 5, 30), 10);
        assert_eq!(sent("192.0.2.1", Kind::NoSuchName, 5, 30), 10);
        // In steps of 100 ms.
        assert_eq!(sent("192.0.2.1", Kind::Answer, 104, 9), 0);
        assert_eq!(sent("192.0.2.1", Kind::Answer, 105, 9), 1);
        assert_eq!(sent("192.0.2.1", Kind::Answer, 460, 9), 3);
        assert_eq!(sent("192.0.2.1", Kind::Answer, 9999, 30), 10);
        assert_eq!(sent("2001:db8:0:ff::1", Kind::Answer, 9999, 30), 10);
        assert_eq!(sent("2001:db8:0:1::", Kind::Answer, 9999, 30), 0);
        assert_eq!(sent("2001:db8:0:100::", Kind::Answer, 9999, 30), 10);
        for exempt in ["127.0.0.1", "10.1.2.3", "::1", "fd00::1"] {
            assert_eq!(sent(exempt, Kind::Answer, 9999, 100), 100);
        }
    }

    #[test]
    fn slips() {
        for (slip, small) in [(0, 0), (1, 40), (2, 20), (3, 13)] {
            let mut limiter = limiter(1, slip);
            let all: Vec<Limited> = (0..41)
                .map(|_| limiter.count(ip("192.0.2.1"), Kind::Error, Duration::ZERO))
                .collect();
            assert_eq!(all.iter().filter(|limited| **limited == Limited::No).count(), 1);
            assert_eq!(all.iter().filter(|limited| **limited == Limited::Slip).count(), small);
        }
        assert!(RateLimiter::new(&RateLimit::off(), 1).is_none());
    }

    /// A flood from everywhere neither grows the table nor keeps others from being answered.
    #[test]
    fn a_flood_from_everywhere_is_spread_thin() {
        let mut limiter = limiter(1000, 2);
        let mut now = Duration::ZERO;
        for n in 0..500_000u32 {
            // Half a million a second.
            now += Duration::from_micros(2);
            let forged = IpAddr::from((n.wrapping_mul(2_654_435_761) | 0x8000_0000).to_be_bytes());
            limiter.count(forged, Kind::Answer, now);
            if n % 1000 == 0 {
                assert_eq!(limiter.count(ip("192.0.2.1"), Kind::Answer, now), Limited::No);
            }
        }
        assert_eq!(limiter.busy_until.len(), PLACES);
    }
}
