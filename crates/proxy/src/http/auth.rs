//! Whether a request carries the name and password that a service asks for (`HAPROXY_n_AUTH`).
//!
//! Passwords are kept as crypt(3) hashes, which are slow to check on purpose. So the check runs on a
//! thread of its own, few at a time, and its outcome is remembered by a keyed digest: neither the
//! password nor anything it could be guessed from offline stays in memory.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use waymark_routing::Auth;

/// The longest `Authorization` that is looked at, in bytes.
const MAX_HEADER: usize = 1024;

/// Right passwords that one worker remembers, and for how long.
const RIGHT: Bounds = Bounds { most: 4096, time: Duration::from_secs(600) };

/// The same of wrong ones. Guesses fill only their own memory: whoever is known stays so.
const WRONG: Bounds = Bounds { most: 4096, time: Duration::from_secs(10) };

/// Checks of one worker at a time, and how many more may wait; what comes then is refused.
const CHECKS: usize = 2;
const WAITING: usize = 256;

/// What is known of a request's credentials.
#[derive(Debug)]
pub(crate) enum Verdict {
    Granted,
    /// None, malformed or wrong ones.
    Denied,
    /// They have to be checked first.
    Unknown(Unchecked),
}

/// A password that has to be checked. Never shown.
pub(crate) struct Unchecked {
    key: Key,
    password: Vec<u8>,
    hash: String,
}

impl std::fmt::Debug for Unchecked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unchecked")
    }
}

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    Right,
    Wrong,
    /// Too many wait to be checked: nothing is known of this one.
    Busy,
}

type Key = [u8; 20];

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    most: usize,
    time: Duration,
}

/// Passwords of one kind, each until a time.
#[derive(Debug, Default)]
struct Memory(HashMap<Key, Instant>);

impl Memory {
    fn has(&self, key: &Key, now: Instant) -> bool {
        self.0.get(key).is_some_and(|until| now < *until)
    }

    /// Adds one. When there is no room, those whose time is over go, and if there are none, all.
    fn add(&mut self, key: Key, bounds: Bounds, now: Instant) {
        if self.0.len() >= bounds.most {
            self.0.retain(|_, until| now < *until);
        }
        if self.0.len() >= bounds.most {
            self.0.clear();
        }
        self.0.insert(key, now + bounds.time);
    }
}

/// The outcomes that one worker remembers.
#[derive(Debug)]
pub(crate) struct Passwords {
    secret: [u8; 32],
    right: RefCell<Memory>,
    wrong: RefCell<Memory>,
    checks: Semaphore,
    waiting: Cell<usize>,
}

impl Passwords {
    pub(crate) fn new() -> Passwords {
        Passwords {
            secret: rand::random(),
            right: RefCell::default(),
            wrong: RefCell::default(),
            checks: Semaphore::new(CHECKS),
            waiting: Cell::new(0),
        }
    }

    /// What is known of the value of `Authorization` (RFC 7617).
    pub(crate) fn verdict(&self, auth: &Auth, authorization: Option<&[u8]>) -> Verdict {
        let Some((user, password)) = authorization.and_then(credentials) else {
            return Verdict::Denied;
        };
        if user != auth.user.as_bytes() {
            return Verdict::Denied;
        }
        let key = self.digest(auth, &password);
        match self.remembered(&key) {
            Some(true) => Verdict::Granted,
            Some(false) => Verdict::Denied,
            None => Verdict::Unknown(Unchecked { key, password, hash: auth.hash.clone() }),
        }
    }

    fn remembered(&self, key: &Key) -> Option<bool> {
        let now = Instant::now();
        if self.right.borrow().has(key, now) {
            return Some(true);
        }
        self.wrong.borrow().has(key, now).then_some(false)
    }

    fn remember(&self, key: Key, right: bool) {
        let (memory, bounds) = if right { (&self.right, RIGHT) } else { (&self.wrong, WRONG) };
        memory.borrow_mut().add(key, bounds, Instant::now());
    }

    /// Checks a password, unless too many wait for that.
    pub(crate) async fn check(&self, unchecked: Unchecked) -> Checked {
        if self.waiting.get() >= WAITING {
            return Checked::Busy;
        }
        self.waiting.set(self.waiting.get() + 1);
        let _waits = Waits(&self.waiting);
        // The semaphore is never closed.
        let Ok(_permit) = self.checks.acquire().await else { return Checked::Busy };
        let Unchecked { key, password, hash } = unchecked;
        // Another request may have brought the same meanwhile.
        let right = match self.remembered(&key) {
            Some(right) => right,
            None => {
                let verified = spawn_blocking(move || pwhash::unix::verify(password, &hash)).await;
                let right = verified.unwrap_or(false);
                self.remember(key, right);
                right
            }
        };
        if right { Checked::Right } else { Checked::Wrong }
    }

    /// HMAC-SHA-1 (RFC 2104) of hash and password, by a secret that no other process has.
    fn digest(&self, auth: &Auth, password: &[u8]) -> Key {
        let pad = |with: u8| {
            let mut block = [with; 64];
            block.iter_mut().zip(self.secret).for_each(|(b, s)| *b ^= s);
            Sha1::new().chain_update(block)
        };
        let inner = pad(0x36).chain_update(&auth.hash).chain_update([0]).chain_update(password);
        pad(0x5c).chain_update(inner.finalize()).finalize().into()
    }
}

struct Waits<'a>(&'a Cell<usize>);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// Name and password of `Basic …`.
fn credentials(value: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, token) = value.split_at_checked(6).filter(|_| value.len() <= MAX_HEADER)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut user = STANDARD.decode(token.trim_ascii()).ok()?;
    let colon = user.iter().position(|&b| b == b':')?;
    let password = user.split_off(colon + 1);
    user.truncate(colon);
    Some((user, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth() -> Auth {
        // `crypt` of "secret".
        let hash = pwhash::sha512_crypt::hash("secret").unwrap();
        Auth { realm: "r".into(), user: "u".into(), hash }
    }

    async fn is_granted(passwords: &Passwords, auth: &Auth, pair: &str) -> (bool, bool) {
        let value = format!("Basic {}", STANDARD.encode(pair));
        match passwords.verdict(auth, Some(value.as_bytes())) {
            Verdict::Granted => (true, false),
            Verdict::Denied => (false, false),
            Verdict::Unknown(unchecked) => {
                (passwords.check(unchecked).await == Checked::Right, true)
            }
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_password_is_checked_once() {
        let (passwords, auth) = (Passwords::new(), auth());
        assert_eq!(is_granted(&passwords, &auth, "u:secret").await, (true, true));
        assert_eq!(is_granted(&passwords, &auth, "u:secret").await, (true, false));
        assert_eq!(is_granted(&passwords, &auth, "u:wrong").await, (false, true));
        assert_eq!(is_granted(&passwords, &auth, "u:wrong").await, (false, false));
        assert_eq!(is_granted(&passwords, &auth, "x:secret").await, (false, false));
        let hash = pwhash::sha512_crypt::hash("other").unwrap();
        let other = Auth { hash, ..auth };
        assert_eq!(is_granted(&passwords, &other, "u:secret").await, (false, true));
        assert_eq!(is_granted(&passwords, &other, "u:other").await, (true, true));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn guesses_do_not_make_a_known_password_unknown() {
        let (passwords, auth) = (Passwords::new(), auth());
        assert_eq!(is_granted(&passwords, &auth, "u:secret").await, (true, true));
        for guess in 0..2 * WRONG.most {
            passwords.remember(passwords.digest(&auth, &guess.to_be_bytes()), false);
        }
        assert!(passwords.wrong.borrow().0.len() <= WRONG.most);
        assert_eq!(is_granted(&passwords, &auth, "u:secret").await, (true, false));
    }

    #[test]
    fn what_is_over_makes_room_first() {
        let (bounds, start) = (Bounds { most: 2, time: Duration::from_secs(10) }, Instant::now());
        let mut memory = Memory::default();
        let late = start + Duration::from_secs(5);
        memory.add([1; 20], bounds, start);
        memory.add([2; 20], bounds, late);
        memory.add([3; 20], bounds, start + bounds.time);
        let has = |memory: &Memory, n: u8| memory.has(&[n; 20], late);
        assert_eq!([1, 2, 3].map(|n| has(&memory, n)), [false, true, true]);
        memory.add([4; 20], bounds, late);
        assert_eq!([2, 3, 4].map(|n| has(&memory, n)), [false, false, true]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn when_too_many_wait_nothing_is_said_of_a_password() {
        let (passwords, auth) = (Passwords::new(), auth());
        let value = format!("Basic {}", STANDARD.encode("u:secret"));
        let unchecked = || match passwords.verdict(&auth, Some(value.as_bytes())) {
            Verdict::Unknown(unchecked) => unchecked,
            verdict => panic!("{verdict:?}"),
        };
        passwords.waiting.set(WAITING);
        assert_eq!(passwords.check(unchecked()).await, Checked::Busy);
        passwords.waiting.set(WAITING - 1);
        assert_eq!(passwords.check(unchecked()).await, Checked::Right);
        assert_eq!(passwords.waiting.get(), WAITING - 1);
    }

    #[test]
    fn what_is_no_basic_is_denied() {
        let (passwords, auth) = (Passwords::new(), auth());
        for value in ["", "Basic", "Basic !", "Bearer dTpzZWNyZXQ=", "Basic dQ=="] {
            let verdict = passwords.verdict(&auth, Some(value.as_bytes()));
            assert!(matches!(verdict, Verdict::Denied), "{value}");
        }
        assert!(matches!(passwords.verdict(&auth, None), Verdict::Denied));
    }
}
