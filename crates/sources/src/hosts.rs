//! Addresses of hosts that servers give by name. Looked up beside everything
//! else, through the system's resolver; nothing waits for it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use waymark_mesos_api::Hosts;

/// The most names that are kept; further ones are not looked up.
const MAX_NAMES: usize = 20_000;

/// The most look-ups at a time.
const MAX_LOOKUPS: usize = 32;

/// The longest that one look-up may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// After this time a name is looked up again.
const LIFE: Duration = Duration::from_secs(60);

/// After this time a name that was not found is looked up again.
const FAILED_LIFE: Duration = Duration::from_secs(5);

/// The addresses of one host are that many at most.
const MAX_ADDRESSES: usize = 64;

/// What is known of hosts.
#[derive(Default)]
pub(crate) struct HostCache {
    names: HashMap<Arc<str>, Known>,
    lookups: JoinSet<(Arc<str>, Option<Vec<IpAddr>>)>,
}

struct Known {
    addresses: Option<Vec<IpAddr>>,
    /// When to look it up again; `None` while that is being done.
    due: Option<Instant>,
    /// Whether somebody asked for it since the last sweep.
    wanted: bool,
}

impl HostCache {
    /// Takes over an address that was known before this process began.
    pub fn remember(&mut self, host: &str, address: IpAddr, now: Instant) {
        if host.parse::<IpAddr>().is_err() && self.names.len() < MAX_NAMES {
            let known = Known { addresses: Some(vec![address]), due: Some(now), wanted: true };
            self.names.insert(Arc::from(host), known);
        }
    }

    /// Sees to it that these hosts get known, and forgets the others.
    pub fn want<'a>(&mut self, hosts: impl Iterator<Item = &'a Arc<str>>, now: Instant) {
        self.want_also(hosts, now);
        self.names.retain(|_, known| std::mem::take(&mut known.wanted) || known.due.is_none());
    }

    /// Sees to it that these hosts get known, too.
    pub fn want_also<'a>(&mut self, hosts: impl Iterator<Item = &'a Arc<str>>, now: Instant) {
        for host in hosts.filter(|host| host.parse::<IpAddr>().is_err()) {
            let room = self.names.len() < MAX_NAMES;
            match self.names.get_mut(host) {
                Some(known) => known.wanted = true,
                None if room => {
                    let known = Known { addresses: None, due: Some(now), wanted: true };
                    self.names.insert(host.clone(), known);
                }
                None => {}
            }
        }
        self.start(now);
    }

    /// Starts the look-ups that are due, as many as may run.
    pub fn start(&mut self, now: Instant) {
        let room = MAX_LOOKUPS.saturating_sub(self.lookups.len());
        let due = self.names.iter_mut().filter(|(_, known)| known.due.is_some_and(|d| d <= now));
        for (name, known) in due.take(room) {
            known.due = None;
            let name = name.clone();
            self.lookups.spawn(async move {
                let found = look_up(&name).await;
                (name, found)
            });
        }
    }

    /// When [`HostCache::start`] has something to do; `None` without names, and while as many
    /// look-ups run as may, since the end of each starts the next.
    pub fn next_due(&self) -> Option<Instant> {
        if self.lookups.len() >= MAX_LOOKUPS {
            return None;
        }
        self.names.values().filter_map(|known| known.due).min()
    }

    /// What is known now.
    pub fn known(&self) -> KnownHosts {
        let known =
            |(name, known): (&Arc<str>, &Known)| Some((name.clone(), known.addresses.clone()?));
        KnownHosts(self.names.iter().filter_map(known).collect())
    }

    /// Whether some host has never been answered for and is being looked up.
    pub fn is_busy(&self) -> bool {
        self.names.values().any(|known| known.due.is_none() && known.addresses.is_none())
    }

    /// Number of names without addresses.
    pub fn unresolved(&self) -> usize {
        self.names.values().filter(|known| known.addresses.is_none()).count()
    }

    /// Waits for the next look-up to end; the host, if something new was said of it. Pending for
    /// ever while none runs.
    pub async fn next(&mut self) -> Option<Arc<str>> {
        match self.lookups.join_next().await {
            None => std::future::pending().await,
            Some(Err(_)) => None,
            Some(Ok((name, found))) => self.learn(&name, found, Instant::now()).then_some(name),
        }
    }

    fn learn(&mut self, name: &str, found: Option<Vec<IpAddr>>, now: Instant) -> bool {
        let Some(known) = self.names.get_mut(name) else { return false };
        known.due = Some(now + if found.is_some() { LIFE } else { FAILED_LIFE });
        let news = found.is_some() && known.addresses != found;
        if news {
            known.addresses = found;
        }
        self.start(now);
        news
    }
}

/// What was known at one moment.
pub(crate) struct KnownHosts(HashMap<Arc<str>, Vec<IpAddr>>);

impl Hosts for KnownHosts {
    fn addresses(&self, host: &str) -> Option<Vec<IpAddr>> {
        literal(host).or_else(|| self.0.get(host).cloned())
    }
}

fn literal(host: &str) -> Option<Vec<IpAddr>> {
    host.parse().ok().map(|address: IpAddr| vec![address.to_canonical()])
}

impl Hosts for HostCache {
    fn addresses(&self, host: &str) -> Option<Vec<IpAddr>> {
        literal(host).or_else(|| self.names.get(host)?.addresses.clone())
    }
}

async fn look_up(name: &str) -> Option<Vec<IpAddr>> {
    let looking = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((name, 0)));
    let found = looking.await.ok()?.ok()?;
    let mut addresses: Vec<IpAddr> = found.map(|a| a.ip().to_canonical()).collect();
    // Resolvers turn the order; that is no news.
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MAX_ADDRESSES);
    (!addresses.is_empty()).then_some(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn names_get_known_and_addresses_are_known() {
        let mut cache = HostCache::default();
        let hosts: Vec<Arc<str>> =
            ["localhost", "::ffff:10.0.0.1", "10.0.0.2"].map(Arc::from).into();
        let now = Instant::now();
        cache.want(hosts.iter(), now);
        assert_eq!(cache.addresses("10.0.0.2"), Some(vec![IpAddr::from([10, 0, 0, 2])]));
        assert_eq!(cache.addresses("::ffff:10.0.0.1"), Some(vec![IpAddr::from([10, 0, 0, 1])]));
        assert_eq!(cache.addresses("localhost"), None);
        assert!(cache.is_busy() && cache.next().await.is_some() && !cache.is_busy());
        assert!(cache.addresses("localhost").unwrap().iter().all(IpAddr::is_loopback));
        // A name that is lost keeps what was known of it.
        assert!(!cache.learn("localhost", None, now));
        assert!(cache.addresses("localhost").is_some());
        assert_eq!(cache.next_due(), Some(now + FAILED_LIFE));
        cache.want([].iter(), now);
        assert_eq!(cache.addresses("localhost"), None);
    }
}
