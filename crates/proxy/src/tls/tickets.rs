//! The keys with which clients are given their sessions to keep (RFC 8446 §4.6.1, RFC 5077).
//!
//! Whoever gets hold of a key can read what was sent in the sessions that were resumed by it, so a
//! key lives shortly and only in memory. All workers share it: a client may come back to another.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::Error;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;

/// How long a key makes new tickets, in seconds. Its tickets are accepted for as long again.
pub(crate) const TICKET_KEY_LIFE: i64 = 3600;

type Key = Arc<dyn ProducesTickets>;

/// A present key, the one before, and when the present one was made.
#[derive(Debug)]
struct Keys {
    present: Key,
    previous: Option<Key>,
    made: i64,
}

/// Makes and reads tickets.
#[derive(Debug)]
pub(crate) struct Tickets(ArcSwap<Keys>);

impl Tickets {
    /// With a first key, made at `now` in seconds since 1970.
    pub(crate) fn new(now: i64) -> Result<Tickets, Error> {
        let keys = Keys { present: Ticketer::new()?, previous: None, made: now };
        Ok(Tickets(ArcSwap::from_pointee(keys)))
    }

    /// Puts a new key in the place of one whose time is over. Must be called more often than that.
    pub(crate) fn rotate(&self, now: i64) -> Result<(), Error> {
        let keys = self.0.load();
        let age = now.saturating_sub(keys.made);
        if (0..TICKET_KEY_LIFE).contains(&age) {
            return Ok(());
        }
        // After a long sleep of the machine even the present key is too old to be accepted.
        let previous = (age < 2 * TICKET_KEY_LIFE).then(|| keys.present.clone());
        self.0.store(Arc::new(Keys { present: Ticketer::new()?, previous, made: now }));
        Ok(())
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        // At least that long it is accepted, whenever in its key's life it was made.
        u32::try_from(TICKET_KEY_LIFE).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.load().present.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let keys = self.0.load();
        keys.present.decrypt(cipher).or_else(|| keys.previous.as_ref()?.decrypt(cipher))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_the_one_before_are_accepted() {
        let tickets = Tickets::new(0).unwrap();
        let first = tickets.encrypt(b"first").unwrap();
        tickets.rotate(TICKET_KEY_LIFE - 1).unwrap();
        tickets.rotate(TICKET_KEY_LIFE).unwrap();
        let second = tickets.encrypt(b"second").unwrap();
        assert_eq!(tickets.decrypt(&first).as_deref(), Some(&b"first"[..]));
        tickets.rotate(2 * TICKET_KEY_LIFE - 1).unwrap();
        assert!(tickets.decrypt(&first).is_some());
        tickets.rotate(2 * TICKET_KEY_LIFE).unwrap();
        assert!(tickets.decrypt(&first).is_none(), "two rotations ago");
        assert_eq!(tickets.decrypt(&second).as_deref(), Some(&b"second"[..]));
        tickets.rotate(10 * TICKET_KEY_LIFE).unwrap();
        assert!(tickets.decrypt(&second).is_none(), "made long ago");
        let third = tickets.encrypt(b"third").unwrap();
        // The clock was set back: a new key, and the old one's tickets go on.
        tickets.rotate(0).unwrap();
        assert!(tickets.decrypt(&third).is_some());
        assert!(tickets.decrypt(b"").is_none());
    }
}
