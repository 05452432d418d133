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

/// Outcomes that one worker remembers; when there are more, it begins anew.
const MAX_KNOWN: usize = 4096;

/// How long it remembers that a password was right, and that it was wrong.
const KNOWN_FOR: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(10));

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
    key: [u8; 20],
    password: Vec<u8>,
    hash: String,
}

impl std::fmt::Debug for Unchecked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unchecked")
    }
}

/// The outcomes that one worker remembers.
#[derive(Debug)]
pub(crate) struct Passwords {
    secret: [u8; 32],
    known: RefCell<HashMap<[u8; 20], (bool, Instant)>>,
    checks: Semaphore,
    waiting: Cell<usize>,
}

impl Passwords {
    pub(crate) fn new() -> Passwords {
        Passwords {
            secret: rand::random(),
            known: RefCell::default(),
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
        match self.known.borrow().get(&key) {
            Some((right, until)) if Instant::now() < *until => {
                if *right {
                    Verdict::Granted
                } else {
                    Verdict::Denied
                }
            }
            _ => Verdict::Unknown(Unchecked { key, password, hash: auth.hash.clone() }),
        }
    }

    /// Checks a password. When too many wait for that, it counts as wrong.
    pub(crate) async fn check(&self, unchecked: Unchecked) -> bool {
        if self.waiting.get() >= WAITING {
            return false;
        }
        self.waiting.set(self.waiting.get() + 1);
        let _waits = Waits(&self.waiting);
        let Ok(_permit) = self.checks.acquire().await else { return false };
        // Another request may have brought the same meanwhile.
        if let Some((right, until)) = self.known.borrow().get(&unchecked.key).copied()
            && Instant::now() < until
        {
            return right;
        }
        let Unchecked { key, password, hash } = unchecked;
        let right = spawn_blocking(move || pwhash::unix::verify(password, &hash)).await;
        let right = right.unwrap_or(false);
        let until = Instant::now() + if right { KNOWN_FOR.0 } else { KNOWN_FOR.1 };
        let mut known = self.known.borrow_mut();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(key, (right, until));
        right
    }

    /// HMAC-SHA-1 (RFC 2104) of hash and password, by a secret that no other process has.
    fn digest(&self, auth: &Auth, password: &[u8]) -> [u8; 20] {
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
            Verdict::Unknown(unchecked) => (passwords.check(unchecked).await, true),
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
