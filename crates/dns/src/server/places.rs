//! Places for TCP connections: so many in all, and so many for each client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places of all workers.
#[derive(Debug)]
pub(crate) struct Places {
    total: usize,
    per_client: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    /// Only clients that have connections.
    by_client: HashMap<u64, usize>,
}

/// A taken place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    client: u64,
}

impl Places {
    pub(crate) fn new(total: usize, per_client: usize) -> Places {
        Places { total, per_client, taken: Mutex::default() }
    }

    /// A place for a client, if there is one.
    pub(super) fn take(self: &Arc<Places>, client: IpAddr) -> Option<Place> {
        let client = key(client);
        let mut taken = self.lock();
        let by_client = taken.by_client.get(&client).copied().unwrap_or(0);
        if taken.total >= self.total || by_client >= self.per_client {
            return None;
        }
        taken.total += 1;
        taken.by_client.insert(client, by_client + 1);
        Some(Place { places: self.clone(), client })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Nothing panics while it is held.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.total -= 1;
        if let Some(count) = taken.by_client.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                taken.by_client.remove(&self.client);
            }
        }
    }
}

/// An IPv4 address, or the /64 of an IPv6 one: what one machine can have many of. No IPv6 network
/// in use begins as IPv4's keys do.
fn key(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64 | 1 << 63,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_each_and_all() {
        let places = Arc::new(Places::new(3, 2));
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        let first = places.take(ip("192.0.2.1")).unwrap();
        let _second = places.take(ip("::ffff:192.0.2.1")).unwrap();
        assert!(places.take(ip("192.0.2.1")).is_none());
        let third = places.take(ip("2001:db8::1")).unwrap();
        assert!(places.take(ip("2001:db8::2")).is_none(), "full");
        drop(first);
        let _fourth = places.take(ip("2001:db8::2")).unwrap();
        assert!(places.take(ip("192.0.2.1")).is_none(), "full");
        drop(third);
        assert!(places.take(ip("192.0.2.1")).is_some());
        assert_eq!(places.lock().by_client.len(), 2);
    }
}
