//! The host ports of one machine: which task holds which number.
//!
//! ```text
//! App ──► demand() ──► HostPorts::take ──► host port by position, or why not
//! adopted tasks ─────► HostPorts::hold         task gone ──► HostPorts::release
//! ```
//!
//! Dynamic ports come from a pool of ranges, as Marathon takes them from an offer: a random start,
//! then one after the other with wrap-around. So the ports of one task are neighbours, tasks
//! spread, and a restarted task seldom meets the connections of its predecessor. A number that was
//! just freed rests for a while; it is taken earlier only when nothing else is left.
//!
//! Explicit numbers may also lie outside the pool: there are no offers on one machine. Whether a
//! number can really be bound is asked of the caller; nothing here opens a socket.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use thiserror::Error;

use crate::{App, Protocol, TaskId, Timestamp};

/// How long a freed number rests.
pub const COOL_DOWN: Duration = Duration::from_secs(60);

/// What one position of an app's port list asks of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortDemand {
    /// `None` = no host port, 0 = any of the pool, n = exactly n.
    pub port: Option<u16>,
    /// For which protocols.
    pub protocol: Protocol,
}

/// What `app` asks of the machine, by position.
///
/// With `requirePorts` a definition's service port is demanded as host port. Numbers in
/// `automatic`, the range that service ports are chosen from, are not: there a 0 has been replaced
/// by a number that nobody named and that the load balancer listens on, so any host port will do.
/// (Marathon demands it nevertheless and waits for ever.)
pub fn demand(app: &App, automatic: &RangeInclusive<u16>) -> Vec<PortDemand> {
    let exact = |port: u16, is_mapping: bool| is_mapping || !automatic.contains(&port);
    app.ports()
        .iter()
        .map(|p| PortDemand {
            port: p
                .host_port
                .map(|port| if exact(port, p.container_port.is_some()) { port } else { 0 }),
            protocol: p.protocol,
        })
        .collect()
}

/// Why a task cannot get its host ports now. The text is shown as the reason for waiting.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PortShortage {
    /// An explicit number belongs to a task.
    #[error("host port {port} is used by task {holder}")]
    Held {
        /// The number.
        port: u16,
        /// Who has it.
        holder: TaskId,
    },
    /// An explicit number cannot be bound.
    #[error("host port {port} is in use by another program on this machine")]
    Busy {
        /// The number.
        port: u16,
    },
    /// The app demands a number twice for one protocol. Waiting does not help.
    #[error("host port {port} is demanded twice by the same app")]
    Twice {
        /// The number.
        port: u16,
    },
    /// The pool has not enough dynamic ports.
    #[error("{wanted} host ports are needed and {found} are free in {pool}")]
    Pool {
        /// How many dynamic ports the task needs.
        wanted: usize,
        /// How many could be had.
        found: usize,
        /// The pool's ranges, as text.
        pool: String,
    },
}

/// A task that holds a number.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    task: TaskId,
    protocol: Protocol,
}

/// The pool and what is taken of it. Cloning is cheap and shares what did not change.
#[derive(Clone, Debug)]
pub struct HostPorts {
    /// Ascending, not empty, without overlaps.
    pool: Arc<[RangeInclusive<u16>]>,
    /// Who holds a number; more than one only for different protocols, or by [`HostPorts::hold`].
    held: OrdMap<u16, Arc<[Holder]>>,
    /// Each task's numbers.
    by_task: OrdMap<TaskId, Arc<[u16]>>,
    /// When the rest of a freed number of the pool ends. At most one entry a number.
    resting: OrdMap<u16, Timestamp>,
}

impl HostPorts {
    /// A pool of these ranges; Mesos's default is 31000–32000. Empty ones and number 0 are left
    /// out, overlaps count once.
    pub fn new(ranges: &[RangeInclusive<u16>]) -> HostPorts {
        let mut ranges: Vec<_> = ranges
            .iter()
            .map(|r| (*r.start()).max(1)..=*r.end())
            .filter(|r| !r.is_empty())
            .collect();
        ranges.sort_by_key(|r| *r.start());
        let mut pool: Vec<RangeInclusive<u16>> = Vec::new();
        for range in ranges {
            match pool.last_mut() {
                Some(last) if range.start() <= last.end() => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => pool.push(range),
            }
        }
        HostPorts {
            pool: pool.into(),
            held: OrdMap::new(),
            by_task: OrdMap::new(),
            resting: OrdMap::new(),
        }
    }

    /// Takes host ports for `task`, by position of `demand`; on an error none has been taken.
    ///
    /// `is_free` tells whether a number can be bound at this moment, `random` gives any 64 bits.
    /// What the task held before is kept as well.
    pub fn take(
        &mut self,
        task: &TaskId,
        demand: &[PortDemand],
        now: Timestamp,
        random: &mut dyn FnMut() -> u64,
        is_free: &mut dyn FnMut(u16) -> bool,
    ) -> Result<Vec<Option<u16>>, PortShortage> {
        self.check_explicit(demand, is_free)?;
        let wanted = demand.iter().filter(|d| d.port == Some(0)).count();
        let mut dynamic = self.pick(wanted, demand, now, random, is_free)?.into_iter();
        let ports: Vec<Option<u16>> = demand
            .iter()
            .map(|d| if d.port == Some(0) { dynamic.next() } else { d.port })
            .collect();
        let protocols = demand.iter().map(|d| d.protocol);
        let held: Vec<_> =
            ports.iter().zip(protocols).filter_map(|(p, proto)| p.map(|p| (p, proto))).collect();
        self.hold(task, &held);
        Ok(ports)
    }

    fn check_explicit(
        &self,
        demand: &[PortDemand],
        is_free: &mut dyn FnMut(u16) -> bool,
    ) -> Result<(), PortShortage> {
        let explicit = |d: &PortDemand| d.port.filter(|p| *p != 0).map(|p| (p, d.protocol));
        for (at, (port, protocol)) in
            demand.iter().enumerate().filter_map(|(at, d)| explicit(d).map(|e| (at, e)))
        {
            let before = || demand.iter().take(at).filter_map(explicit).filter(|e| e.0 == port);
            if before().any(|(_, other)| overlap(other, protocol)) {
                return Err(PortShortage::Twice { port });
            }
            if let Some(holder) = self.holders(port).find(|h| overlap(h.protocol, protocol)) {
                return Err(PortShortage::Held { port, holder: holder.task.clone() });
            }
            // A second protocol on a number that a task holds already cannot be tested here: the
            // test would meet that task's own socket.
            let shared = before().next().is_some() || self.held.contains_key(&port);
            if !shared && !is_free(port) {
                return Err(PortShortage::Busy { port });
            }
        }
        Ok(())
    }

    /// `wanted` numbers of the pool; those at rest only when there are not enough others.
    fn pick(
        &self,
        wanted: usize,
        demand: &[PortDemand],
        now: Timestamp,
        random: &mut dyn FnMut() -> u64,
        is_free: &mut dyn FnMut(u16) -> bool,
    ) -> Result<Vec<u16>, PortShortage> {
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let size = self.pool_size();
        let start = random().checked_rem(size).unwrap_or(0);
        let usable =
            |p: &u16| !self.held.contains_key(p) && !demand.iter().any(|d| d.port == Some(*p));
        let resting = |p: &u16| self.resting.get(p).is_some_and(|until| *until > now);
        let rested = self.ports_from(start).filter(|p| !resting(p));
        let others = self.ports_from(start).filter(resting);
        let picked: Vec<u16> =
            rested.chain(others).filter(usable).filter(|p| is_free(*p)).take(wanted).collect();
        if picked.len() < wanted {
            return Err(PortShortage::Pool { wanted, found: picked.len(), pool: self.pool_text() });
        }
        Ok(picked)
    }

    /// All numbers of the pool once, beginning at index `start`, with wrap-around.
    fn ports_from(&self, start: u64) -> impl Iterator<Item = u16> {
        let all = || self.pool.iter().cloned().flatten();
        let start = usize::try_from(start).unwrap_or(0);
        all().skip(start).chain(all().take(start))
    }

    /// Notes that `task` holds these numbers, as a task that was adopted does. Nothing is checked.
    pub fn hold(&mut self, task: &TaskId, ports: &[(u16, Protocol)]) {
        let mut of_task: Vec<u16> = self.of(task).to_vec();
        for (port, protocol) in ports.iter().filter(|(port, _)| *port != 0) {
            let holder = Holder { task: task.clone(), protocol: *protocol };
            let holders = self.holders(*port).cloned().chain([holder]).collect();
            self.held.insert(*port, holders);
            self.resting.remove(port);
            of_task.push(*port);
        }
        of_task.sort_unstable();
        of_task.dedup();
        if !of_task.is_empty() {
            self.by_task.insert(task.clone(), of_task.into());
        }
    }

    /// Gives back all numbers of `task`; those of the pool rest for [`COOL_DOWN`]. Unknown tasks
    /// are no error.
    pub fn release(&mut self, task: &TaskId, now: Timestamp) {
        let ports = self.by_task.remove(task);
        for port in ports.iter().flat_map(|p| p.iter()) {
            let others: Arc<[Holder]> =
                self.holders(*port).filter(|h| h.task != *task).cloned().collect();
            if !others.is_empty() {
                self.held.insert(*port, others);
                continue;
            }
            self.held.remove(port);
            if self.pool.iter().any(|r| r.contains(port)) {
                self.resting.insert(*port, now + COOL_DOWN);
            }
        }
    }

    /// The distinct numbers of `task`, ascending.
    pub fn of(&self, task: &TaskId) -> &[u16] {
        self.by_task.get(task).map_or(&[], |ports| ports)
    }

    /// How many numbers are held, inside the pool and outside.
    pub fn held_count(&self) -> usize {
        self.held.len()
    }

    fn holders(&self, port: u16) -> impl Iterator<Item = &Holder> {
        self.held.get(&port).into_iter().flat_map(|holders| holders.iter())
    }

    fn pool_size(&self) -> u64 {
        self.pool.iter().map(|r| u64::from(*r.end()) - u64::from(*r.start()) + 1).sum()
    }

    fn pool_text(&self) -> String {
        let ranges: Vec<_> =
            self.pool.iter().map(|r| format!("{}-{}", r.start(), r.end())).collect();
        if ranges.is_empty() { "an empty pool".to_owned() } else { ranges.join(",") }
    }
}

fn overlap(a: Protocol, b: Protocol) -> bool {
    a.has_tcp() && b.has_tcp() || a.has_udp() && b.has_udp()
}

#[cfg(test)]
mod tests;
