//! Whether a request carries the name and password that a service asks for (`HAPROXY_n_AUTH`).
//!
//! Passwords are kept as crypt(3) hashes, which are slow to check on purpose. So the check runs on a
//! thread of its own, few at a time, and its outcome is remembered by a keyed digest: neither the
//! password nor anything it could be guessed from offline stays in memory.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
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

/// Checks of one worker at a time. How many may wait is [`crate::Limits::waiting_passwords`].
const CHECKS: usize = 2;

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
    checks: Arc<Semaphore>,
    /// Passwords that wait or are being checked, and how many that may be.
    waiting: Arc<AtomicUsize>,
    most_waiting: usize,
}

impl Passwords {
    pub(crate) fn new(most_waiting: usize) -> Passwords {
        Passwords {
            secret: rand::random(),
            right: RefCell::default(),
            wrong: RefCell::default(),
            checks: Arc::new(Semaphore::new(CHECKS)),
            waiting: Arc::default(),
            most_waiting,
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
        if self.waiting.load(Relaxed) >= self.most_waiting {
            return Checked::Busy;
        }
        let waits = Waits::new(&self.waiting);
        // The semaphore is never closed.
        let Ok(permit) = self.checks.clone().acquire_owned().await else { return Checked::Busy };
        let Unchecked { key, password, hash } = unchecked;
        // Another request may have brought the same meanwhile.
        let right = match self.remembered(&key) {
            Some(right) => right,
            None => {
                let verified = spawn_blocking(move || {
                    let right = pwhash::unix::verify(password, &hash);
                    // Not before: this goes on when nobody waits for it any more.
                    drop((permit, waits));
                    right
                });
                let right = verified.await.unwrap_or(false);
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

/// One that waits or is being checked.
struct Waits(Arc<AtomicUsize>);

impl Waits {
    fn new(waiting: &Arc<AtomicUsize>) -> Waits {
        waiting.fetch_add(1, Relaxed);
        Waits(waiting.clone())
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
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
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::Poll;

    use super::*;

    const WAITING: usize = 256;

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
        let (passwords, auth) = (Passwords::new(WAITING), auth());
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
        let (passwords, auth) = (Passwords::new(WAITING), auth());
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
        let (passwords, auth) = (Passwords::new(WAITING), auth());
        let value = format!("Basic {}", STANDARD.encode("u:secret"));
        let unchecked = || match passwords.verdict(&auth, Some(value.as_bytes())) {
            Verdict::Unknown(unchecked) => unchecked,
            verdict => panic!("{verdict:?}"),
        };
        passwords.waiting.store(WAITING, Relaxed);
        assert_eq!(passwords.check(unchecked()).await, Checked::Busy);
        passwords.waiting.store(WAITING - 1, Relaxed);
        assert_eq!(passwords.check(unchecked()).await, Checked::Right);
        assert_eq!(passwords.waiting.load(Relaxed), WAITING - 1);
    }

    #[test]
    fn a_check_counts_until_it_is_over_though_its_client_has_gone() {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let (passwords, auth) = (Passwords::new(WAITING), auth());
            // The only thread that could check has something else to do.
            let (done, doing) = mpsc::channel::<()>();
            let busy = spawn_blocking(move || doing.recv());
            let value = format!("Basic {}", STANDARD.encode("u:secret"));
            let Verdict::Unknown(unchecked) = passwords.verdict(&auth, Some(value.as_bytes()))
            else {
                panic!("it is known")
            };
            {
                let mut check = pin!(passwords.check(unchecked));
                poll_fn(|cx| {
                    assert!(check.as_mut().poll(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
            }
            assert_eq!(passwords.checks.available_permits(), CHECKS - 1);
            assert_eq!(passwords.waiting.load(Relaxed), 1);
            done.send(()).unwrap();
            busy.await.unwrap().unwrap();
            let all = u32::try_from(CHECKS).unwrap();
            let free = passwords.checks.acquire_many(all);
            let _free = tokio::time::timeout(Duration::from_secs(60), free).await.unwrap();
            // The thread has one job at a time: when this is done, the check is too.
            spawn_blocking(|| ()).await.unwrap();
            assert_eq!(passwords.waiting.load(Relaxed), 0);
        });
    }

    #[test]
    fn what_is_no_basic_is_denied() {
        let (passwords, auth) = (Passwords::new(WAITING), auth());
        for value in ["", "Basic", "Basic !", "Bearer dTpzZWNyZXQ=", "Basic dQ=="] {
            let verdict = passwords.verdict(&auth, Some(value.as_bytes()));
            assert!(matches!(verdict, Verdict::Denied), "{value}");
        }
        assert!(matches!(passwords.verdict(&auth, None), Verdict::Denied));
    }
}
