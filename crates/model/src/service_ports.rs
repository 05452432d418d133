//! The service-port allocator: which number on a load balancer belongs to which app.
//!
//! ```text
//! root update ──► assign(old, new) ──► numbers written into the new apps
//!                       ▲                        │
//!                 ServicePorts ◄── claim / release (once the update is accepted)
//! ```
//!
//! It does what Marathon's `GroupManager.assignDynamicServicePorts` does, without walking over all
//! apps: who owns what, and which automatic numbers are free, is kept up to date by [`claim`] and
//! [`release`], so that an update costs O(log n) a port of the apps it touches. Cloning is cheap
//! and shares what did not change.
//!
//! Explicit numbers are never judged here: two apps may name the same one (blue/green switches do
//! so on purpose); [`conflicts`] tells where that happens. It never chooses a number that any app
//! uses, and never changes a number that an app named.
//!
//! [`claim`]: ServicePorts::claim
//! [`release`]: ServicePorts::release
//! [`conflicts`]: ServicePorts::conflicts

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use thiserror::Error;

use crate::{App, AppId};

/// The most conflicts that [`ServicePorts::conflicts`] lists; the rest would tell nothing new.
pub const MAX_CONFLICTS: usize = 100;

/// Who owns which service port, and which automatic numbers are free.
#[derive(Clone, Debug)]
pub struct ServicePorts {
    min: u16,
    max: u16,
    /// Every (port, owner).
    owned: OrdSet<(u16, AppId)>,
    /// Each owner's distinct ports, ascending.
    by_app: OrdMap<AppId, Arc<[u16]>>,
    /// The numbers of `min..=max` that nobody owns.
    free: OrdSet<u16>,
    /// The least of all ids: where the owners of a port begin in `owned`.
    first_id: AppId,
}

/// No automatic number is left for a port that asks for one. The text is Marathon's, whose closing
/// bracket is a slip: `max` is part of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("All ports in the range [{min}-{max}) are already in use")]
pub struct Exhausted {
    /// First number of the range.
    pub min: u16,
    /// Last number of the range.
    pub max: u16,
}

/// A service port that another app uses too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The port.
    pub port: u16,
    /// The other app.
    pub other: AppId,
}

/// One app of a root update: what it was (`None` = it is new) and what it is to be.
pub type AppUpdate<'a> = (Option<&'a App>, &'a mut App);

impl ServicePorts {
    /// An allocator that chooses from `min..=max` (Marathon's default is 10000–20000) and knows no
    /// app yet. 0 is never chosen; with `min > max` nothing can be.
    pub fn new(min: u16, max: u16) -> ServicePorts {
        ServicePorts {
            min,
            max,
            owned: OrdSet::new(),
            by_app: OrdMap::new(),
            free: (min.max(1)..=max).collect(),
            first_id: AppId::root(),
        }
    }

    /// Gives a number to every service port that is 0, for all apps of one root update; each app
    /// may occur once. On an error nothing has been written.
    ///
    /// A 0 takes the app's own old numbers first, in order, as far as they lie in the range and are
    /// not named by the new definition; so posting the same zeros again changes nothing. Then it
    /// takes the lowest number that no app uses, before or after this update: a number that this
    /// very update gives up is handed out by a later one only.
    ///
    /// This reads what is claimed and claims nothing itself: call [`claim`](Self::claim) and
    /// [`release`](Self::release) for the apps of the update when it has been accepted, not before.
    pub fn assign(&self, updates: &mut [AppUpdate<'_>]) -> Result<(), Exhausted> {
        let wanted: Vec<Vec<u16>> = updates.iter().map(|(_, new)| new.service_ports()).collect();
        let named: BTreeSet<u16> = wanted.iter().flatten().copied().filter(|p| *p != 0).collect();
        let mut free = self.free.iter().copied().filter(|p| !named.contains(p));
        let numbers = updates
            .iter()
            .zip(wanted)
            .map(|((old, _), wanted)| self.fill(*old, wanted, &mut free))
            .collect::<Result<Vec<_>, _>>()?;
        for ((_, new), numbers) in updates.iter_mut().zip(numbers) {
            if let Some(numbers) = numbers {
                new.set_service_ports(&numbers);
            }
        }
        Ok(())
    }

    /// The numbers of one app; `None` when it asks for none.
    fn fill(
        &self,
        old: Option<&App>,
        mut wanted: Vec<u16>,
        free: &mut impl Iterator<Item = u16>,
    ) -> Result<Option<Vec<u16>>, Exhausted> {
        if !wanted.contains(&0) {
            return Ok(None);
        }
        let named: BTreeSet<u16> = wanted.iter().copied().collect();
        let mut reuse = old
            .map(App::service_ports)
            .unwrap_or_default()
            .into_iter()
            .filter(|p| self.in_range(*p) && !named.contains(p));
        for number in wanted.iter_mut().filter(|n| **n == 0) {
            *number = reuse
                .next()
                .or_else(|| free.next())
                .ok_or(Exhausted { min: self.min, max: self.max })?;
        }
        Ok(Some(wanted))
    }

    /// Notes that `app` owns exactly `ports` from now on (0s do not count). What it owned before
    /// and does not own any more becomes free unless another app owns it too.
    pub fn claim(&mut self, app: &AppId, ports: &[u16]) {
        let ports: BTreeSet<u16> = ports.iter().copied().filter(|p| *p != 0).collect();
        let ports: Arc<[u16]> = ports.into_iter().collect();
        if self.by_app.get(app) == Some(&ports) {
            return;
        }
        self.release(app);
        for port in ports.iter() {
            self.owned.insert((*port, app.clone()));
            self.free.remove(port);
        }
        if !ports.is_empty() {
            self.by_app.insert(app.clone(), ports);
        }
    }

    /// Notes that `app` is gone. Unknown apps are no error.
    pub fn release(&mut self, app: &AppId) {
        let ports = self.by_app.remove(app);
        for port in ports.iter().flat_map(|p| p.iter()) {
            self.owned.remove(&(*port, app.clone()));
            if self.in_range(*port) && self.owners(*port).next().is_none() {
                self.free.insert(*port);
            }
        }
    }

    /// Which of `ports` other apps than `app` use, by port and then by id; at most
    /// [`MAX_CONFLICTS`].
    pub fn conflicts(&self, app: &AppId, ports: &[u16]) -> Vec<Conflict> {
        let ports: BTreeSet<u16> = ports.iter().copied().filter(|p| *p != 0).collect();
        ports
            .into_iter()
            .flat_map(|port| self.owners(port).map(move |other| (port, other)))
            .filter(|(_, other)| *other != app)
            .map(|(port, other)| Conflict { port, other: other.clone() })
            .take(MAX_CONFLICTS)
            .collect()
    }

    /// The apps that own `port`, in order of their ids.
    pub fn owners(&self, port: u16) -> impl Iterator<Item = &AppId> {
        self.owned
            .range((port, self.first_id.clone())..)
            .take_while(move |(p, _)| *p == port)
            .map(|(_, app)| app)
    }

    /// Every (port, owner), ascending.
    pub fn used(&self) -> impl Iterator<Item = (u16, &AppId)> {
        self.owned.iter().map(|(port, app)| (*port, app))
    }

    /// The distinct ports of `app`, ascending.
    pub fn of(&self, app: &AppId) -> &[u16] {
        self.by_app.get(app).map_or(&[], |ports| ports)
    }

    /// How many automatic numbers are left.
    pub fn free_count(&self) -> usize {
        self.free.len()
    }

    /// The range of automatic numbers, both ends included.
    pub fn range(&self) -> std::ops::RangeInclusive<u16> {
        self.min..=self.max
    }

    fn in_range(&self, port: u16) -> bool {
        port != 0 && self.range().contains(&port)
    }
}

#[cfg(test)]
mod tests;
