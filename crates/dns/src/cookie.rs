//! DNS cookies (RFC 7873, RFC 9018): proof that a client receives what is sent to its address.
//!
//! Who shows a cookie that we made for it is no victim of a forged sender address, and is not rate
//! limited. Queries without cookies are answered as well. Pure: time and secret are arguments.
//!
//! The secret that makes cookies is drawn anew every [`PERIOD`] seconds from one random root. A
//! cookie tells when it was made, so both sides of a change know which secret is meant, and nothing
//! is kept for any client.

use std::hash::Hasher as _;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

/// The length of a whole cookie, the client's part and ours, in bytes.
pub const LENGTH: usize = CLIENT + SERVER;
/// The EDNS option's code.
pub const OPTION: u16 = 10;

const CLIENT: usize = 8;
const SERVER: usize = 16;
/// The lengths that a cookie with a server's part may have (RFC 7873 §4).
const WHOLE: std::ops::RangeInclusive<usize> = 16..=40;
/// Version 1 of the server's part, and three bytes that are 0 (RFC 9018 §4).
const VERSION: [u8; 4] = [1, 0, 0, 0];
/// For how long a cookie is taken, and how far it may come from the future, in seconds (RFC 9018
/// §4.3).
const VALID: u32 = 3600;
const AHEAD: u32 = 300;
/// A cookie older than this is replaced by a new one, in seconds.
const RENEW: u32 = 1800;
/// How often the secret changes, in seconds.
const PERIOD: u32 = 36_000;

/// Makes cookies and knows them again.
#[derive(Clone)]
pub struct Cookies {
    root: [u8; 16],
}

impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The root is a secret.
        f.write_str("Cookies")
    }
}

/// What a cookie of a query says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Whether the client has shown that it receives what is sent to its address.
    pub known: bool,
    /// The cookie that the reply has.
    pub cookie: [u8; LENGTH],
}

impl Cookies {
    /// Cookies from a random root.
    pub fn new(root: [u8; 16]) -> Cookies {
        Cookies { root }
    }

    /// Judges the option's data in a query that came from `client` at `now` (seconds, modulo 2³²,
    /// since 1970); `None` = it breaks the format.
    pub fn judge(&self, option: &[u8], client: IpAddr, now: u32) -> Option<Judged> {
        let (own, server) = option.split_first_chunk::<CLIENT>()?;
        if !server.is_empty() && !WHOLE.contains(&option.len()) {
            return None;
        }
        let age = self.age(own, server, client, now);
        let cookie = match age.filter(|age| *age < RENEW) {
            Some(_) => server.try_into().unwrap_or([0; SERVER]),
            None => self.make(own, client, now),
        };
        let mut whole = [0; LENGTH];
        let (first, second) = whole.split_at_mut(CLIENT);
        first.copy_from_slice(own);
        second.copy_from_slice(&cookie);
        Some(Judged { known: age.is_some(), cookie: whole })
    }

    /// How old the server's part is, in seconds; `None` when we did not make it for this client, or
    /// too long ago.
    fn age(&self, own: &[u8; CLIENT], server: &[u8], client: IpAddr, now: u32) -> Option<u32> {
        let server: &[u8; SERVER] = server.try_into().ok()?;
        let made_at = u32::from_be_bytes(*server.get(4..)?.first_chunk()?);
        // Serial numbers (RFC 1982): the difference is what counts.
        let age = now.wrapping_sub(made_at);
        let age = if made_at.wrapping_sub(now) <= AHEAD { 0 } else { age };
        (age <= VALID && self.make(own, client, made_at) == *server).then_some(age)
    }

    fn make(&self, own: &[u8; CLIENT], client: IpAddr, now: u32) -> [u8; SERVER] {
        hashed(&self.secret(now / PERIOD), own, client, now)
    }

    fn secret(&self, period: u32) -> [u8; 16] {
        let half = |half: u8| {
            let mut hasher = SipHasher24::new_with_key(&self.root);
            hasher.write(&period.to_be_bytes());
            hasher.write(&[half]);
            hasher.finish().to_le_bytes()
        };
        let mut secret = [0; 16];
        let (first, second) = secret.split_at_mut(8);
        first.copy_from_slice(&half(0));
        second.copy_from_slice(&half(1));
        secret
    }
}

/// The server's part (RFC 9018 §4.4).
fn hashed(secret: &[u8; 16], own: &[u8; CLIENT], client: IpAddr, at: u32) -> [u8; SERVER] {
    let mut hasher = SipHasher24::new_with_key(secret);
    hasher.write(own);
    hasher.write(&VERSION);
    hasher.write(&at.to_be_bytes());
    match client {
        IpAddr::V4(address) => hasher.write(&address.octets()),
        IpAddr::V6(address) => hasher.write(&address.octets()),
    }
    let mut cookie = [0; SERVER];
    let (fixed, hash) = cookie.split_at_mut(8);
    let (version, time) = fixed.split_at_mut(4);
    version.copy_from_slice(&VERSION);
    time.copy_from_slice(&at.to_be_bytes());
    hash.copy_from_slice(&hasher.finish().to_le_bytes());
    cookie
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        std::array::from_fn(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap())
    }

    /// The examples of RFC 9018, appendix A.
    #[test]
    fn hashes_as_the_standard_does() {
        for (secret, own, client, at, hash) in [
            (
                "e5e973e5a6b2a43f48e7dc849e37bfcf",
                "2464c4abcf10c957",
                "198.51.100.100",
                1_559_731_985,
                "010000005cf79f111f8130c3eee29480",
            ),
            (
                "e5e973e5a6b2a43f48e7dc849e37bfcf",
                "2464c4abcf10c957",
                "198.51.100.100",
                1_559_734_385,
                "010000005cf7a871d4a564a1442aca77",
            ),
            (
                "dd3bdf9344b678b185a6f5cb60fca715",
                "22681ab97d52c298",
                "2001:db8:220:1:59de:d0f4:8769:82b8",
                1_559_741_817,
                "010000005cf7c57926556bd0934c72f8",
            ),
            (
                "445536bcd2513298075a5d379663c962",
                "22681ab97d52c298",
                "2001:db8:220:1:59de:d0f4:8769:82b8",
                1_559_741_961,
                "010000005cf7c609a6bb79d16625507a",
            ),
        ] {
            let got = hashed(&bytes(secret), &bytes(own), client.parse().unwrap(), at);
            assert_eq!(got, bytes::<16>(hash), "{client}");
        }
    }

    const NOW: u32 = 1_800_000_000;

    #[test]
    fn knows_its_own() {
        let cookies = Cookies::new([7; 16]);
        let client = IpAddr::from([192, 0, 2, 1]);
        let first = cookies.judge(&[1; 8], client, NOW).unwrap();
        assert!(!first.known && first.cookie.starts_with(&[1; 8]));
        for (later, known, same) in [
            (0, true, true),
            (1799, true, true),
            (1800, true, false),
            (3600, true, false),
            (3601, false, false),
            // The clock was set back a little, or far.
            (0u32.wrapping_sub(300), true, true),
            (0u32.wrapping_sub(301), false, false),
        ] {
            let judged = cookies.judge(&first.cookie, client, NOW.wrapping_add(later)).unwrap();
            assert_eq!((judged.known, judged.cookie == first.cookie), (known, same), "{later}");
        }
        let known = |cookies: &Cookies, cookie: &[u8], client| {
            cookies.judge(cookie, client, NOW).unwrap().known
        };
        assert!(!known(&cookies, &first.cookie, IpAddr::from([192, 0, 2, 2])));
        assert!(!known(&Cookies::new([8; 16]), &first.cookie, client));
        for place in 0..LENGTH {
            let mut forged = first.cookie;
            forged[place] ^= 1;
            assert!(!known(&cookies, &forged, client), "{place}");
        }
    }

    /// A cookie outlives the secret it was made with.
    #[test]
    fn secrets_change() {
        let cookies = Cookies::new([7; 16]);
        let client = IpAddr::from([192, 0, 2, 1]);
        let end = NOW / PERIOD * PERIOD + PERIOD;
        assert_ne!(cookies.secret(end / PERIOD), cookies.secret(end / PERIOD - 1));
        let before = cookies.judge(&[1; 8], client, end - 1).unwrap();
        assert!(cookies.judge(&before.cookie, client, end + 100).unwrap().known);
    }

    proptest! {
        #[test]
        fn takes_anything(option in prop::collection::vec(any::<u8>(), 0..50), now: u32) {
            let judged = Cookies::new([1; 16]).judge(&option, IpAddr::from([0; 16]), now);
            let fits = option.len() == 8 || (16..=40).contains(&option.len());
            prop_assert_eq!(judged.is_some(), fits);
            prop_assert!(!judged.is_some_and(|judged| judged.known));
        }
    }
}
