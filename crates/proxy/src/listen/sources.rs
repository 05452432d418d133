//! How many connections each source has, where that is limited.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The connections of each source. Without a limit nothing is kept.
#[derive(Debug)]
pub(crate) struct Sources {
    /// The most for one source; 0 = no limit.
    most: usize,
    counts: Mutex<HashMap<IpAddr, usize, foldhash::fast::RandomState>>,
}

/// One connection of a source, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    sources: Arc<Sources>,
    source: IpAddr,
}

/// The source has its most.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Sources {
    pub(crate) fn new(most: usize) -> Sources {
        Sources { most, counts: Mutex::default() }
    }

    /// A place for one more connection; `None` where there is no limit.
    pub(crate) fn enter(self: &Arc<Self>, source: IpAddr) -> Result<Option<Place>, TooMany> {
        if self.most == 0 {
            return Ok(None);
        }
        let source = network(source);
        let mut counts = self.locked();
        let count = counts.entry(source).or_default();
        if *count >= self.most {
            return Err(TooMany);
        }
        *count += 1;
        Ok(Some(Place { sources: self.clone(), source }))
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<IpAddr, usize, foldhash::fast::RandomState>> {
        // Nothing in here can panic halfway, so a poisoned map is whole.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.sources.locked();
        if let Some(count) = counts.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.source);
            }
        }
    }
}

/// What counts as one source: an address of IPv4, a /64 of IPv6, which is what one line gets.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_so_many_places() {
        let sources = Arc::new(Sources::new(2));
        let enter = |ip: &str| sources.enter(ip.parse().unwrap()).map(Option::unwrap);
        let (first, _second) = (enter("192.0.2.1").unwrap(), enter("::ffff:192.0.2.1").unwrap());
        assert_eq!(enter("192.0.2.1").unwrap_err(), TooMany);
        let _another = enter("192.0.2.2").unwrap();
        drop(first);
        let _third = enter("192.0.2.1").unwrap();
        let six = [enter("2001:db8::1").unwrap(), enter("2001:db8::ffff:1:2").unwrap()];
        assert_eq!(enter("2001:db8::3").unwrap_err(), TooMany, "of one /64");
        let _other = enter("2001:db8:0:1::1").unwrap();
        drop(six);
        assert_eq!(sources.locked().len(), 3, "nothing is kept of who is gone");
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let sources = Arc::new(Sources::new(0));
        assert!(sources.enter(Ipv6Addr::LOCALHOST.into()).unwrap().is_none());
        assert!(sources.locked().is_empty());
    }
}
