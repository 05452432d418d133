//! Makes the records of one contributor: of tasks that share their names, or of anything that has
//! addresses.
//!
//! Input: what the tasks are called, the tasks, the rules, their leases. Pure.
//!
//! The records of a task by Mesos-DNS's rules, with the name `n` (in each of its forms), the
//! canonical name `c` and the framework `fw`; D, the domain, is left out everywhere here:
//!
//! | name | records |
//! |---|---|
//! | `n.fw`, `c.fw` | the task's addresses |
//! | `n.fw.slave`, `c.fw.slave` | its agent's addresses |
//! | `_n._tcp.fw.slave`, `_n._udp.fw.slave` | SRV `c.fw.slave` with each host port |
//! | `_n._P.fw` | SRV `c.fw` with each port of protocol P in its DiscoveryInfo |
//! | `_port._n._P.fw` | the same for the ports named so |
//! | `_n._tcp.fw`, `_n._udp.fw` without DiscoveryInfo | as under `slave` |

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::config::Rules;
use crate::lease::{Lease, Leases};
use crate::naming;
use crate::records::{
    Entry, HAS_A, HAS_AAAA, HAS_PTR, HAS_SRV, NO_LEASE, Origin, Records, Span, Value,
};
use crate::reverse::Key;
use crate::tasks::{Names, Task};
use crate::wire;

impl Plan<'_> {
    /// The records of tasks that share their names, all of them named; `None` when none has a
    /// record.
    pub(crate) fn tasks(
        &mut self,
        names: &Names,
        tasks: Vec<Task>,
        leases: &Leases,
    ) -> Option<Records> {
        let mut own_tail = Vec::new();
        if tasks.is_empty() || !wire::push_labels(&mut own_tail, &names.framework) {
            return None;
        }
        let mut agent_tail = own_tail.clone();
        wire::push_labels(&mut agent_tail, "slave");
        let group = Group {
            suffixes: tasks.iter().map(Task::suffix).collect(),
            services: Services::of(&tasks, names.discovered),
            names,
            own_tail,
            agent_tail,
        };
        self.ttls = tasks.iter().map(|task| task.ttl().unwrap_or(names.ttl)).collect();
        let sets = self.task_sets(&tasks);
        let mut places = Vec::new();
        for form in &names.forms {
            places = self.name_tasks(form, &group, &sets);
        }
        self.name_addresses(&tasks, &places);
        let leases = leases.of_each(tasks.iter().map(Task::id));
        self.finish(names.origin.clone(), tasks, leases)
    }
}

/// Tasks that share their names, with what all forms of these need.
struct Group<'g> {
    names: &'g Names,
    suffixes: Vec<String>,
    services: Services<'g>,
    /// What every name ends in: the framework, and that with `slave`.
    own_tail: Vec<u8>,
    agent_tail: Vec<u8>,
}

/// The address sets that all forms of a name share.
struct TaskSets {
    all: Set,
    /// Of each task alone.
    single: Vec<Set>,
}

/// Where a task is: its own addresses, its agent's.
#[derive(Clone, Copy)]
struct Set {
    own: Span,
    agent: Span,
}

/// Ports, each with its task's place.
type TaskPorts = Vec<(u32, u16)>;

/// The ports of the tasks.
struct Services<'t> {
    host: TaskPorts,
    /// By protocol, and by protocol and name, as they are written.
    discovery: BTreeMap<(&'t str, Option<&'t str>), TaskPorts>,
}

impl<'t> Services<'t> {
    fn of(tasks: &'t [Task], discovered: bool) -> Services<'t> {
        let mut services = Services { host: Vec::new(), discovery: BTreeMap::new() };
        for (n, task) in (0..).zip(tasks) {
            services.host.extend(task.host_ports().iter().map(|port| (n, *port)));
            for port in task.ports().filter(|_| discovered) {
                let named = port.name.map(|name| (port.protocol, Some(name)));
                for key in named.into_iter().chain([(port.protocol, None)]) {
                    services.discovery.entry(key).or_default().push((n, port.number));
                }
            }
        }
        services
    }
}

/// Records in the making, one contributor's after another's: the room is kept.
pub(crate) struct Plan<'r> {
    rules: &'r Rules,
    arena: Vec<u8>,
    entries: Vec<Entry>,
    values: Vec<Value>,
    addresses: Vec<IpAddr>,
    places: HashMap<IpAddr, u32, RandomState>,
    /// Entries whose names above have no entries here.
    below_others: Vec<Span>,
    /// The TTLs of the tasks, in seconds.
    ttls: Vec<u32>,
    text: String,
}

impl<'r> Plan<'r> {
    pub(crate) fn new(rules: &'r Rules) -> Plan<'r> {
        Plan {
            rules,
            arena: Vec::new(),
            entries: Vec::new(),
            values: Vec::new(),
            addresses: Vec::new(),
            places: HashMap::default(),
            below_others: Vec::new(),
            ttls: Vec::new(),
            text: String::new(),
        }
    }

    pub(crate) fn rules(&self) -> &'r Rules {
        self.rules
    }

    /// A name with addresses, that leads to no task; its place as a target. Without addresses, or
    /// when the text is no name, there is none.
    pub(crate) fn host(&mut self, name: &str, addresses: &[IpAddr]) -> Option<u32> {
        let set = self.address_set(addresses.iter().map(|address| (*address, NO_LEASE)));
        self.push_below_others(name, &[], set)
    }

    /// The same, also a target while it has no addresses.
    pub(crate) fn target(&mut self, name: &str, addresses: &[IpAddr]) -> Option<u32> {
        match self.host(name, addresses) {
            None => self.push_entry(name, &[], Span { start: 0, end: 0 }),
            place => place,
        }
    }

    /// A name with a service at a target; equal ports are one record.
    pub(crate) fn service(&mut self, name: &str, target: u32, ports: &[u16]) {
        let lease = NO_LEASE;
        let values = ports.iter().map(|port| Value::Service { target, port: *port, lease });
        let set = self.push_values(values);
        self.push_below_others(name, &[], set);
    }

    fn task_sets(&mut self, tasks: &[Task]) -> TaskSets {
        let rules = self.rules;
        let single: Vec<Set> = (0..)
            .zip(tasks)
            .map(|(n, task)| Set {
                own: self.address_set(addresses(task.addresses(rules), n)),
                agent: self.address_set(addresses(task.agent_addresses(), n)),
            })
            .collect();
        let all = match &single[..] {
            [one] => *one,
            _ => {
                let own = (0..).zip(tasks).flat_map(|(n, t)| addresses(t.addresses(rules), n));
                let own = self.address_set(own);
                let agent = (0..).zip(tasks).flat_map(|(n, t)| addresses(t.agent_addresses(), n));
                Set { own, agent: self.address_set(agent) }
            }
        };
        TaskSets { all, single }
    }

    /// The names of the tasks' own addresses: canonical ones. An address that is the machine's is
    /// named like the machine.
    fn name_addresses(&mut self, tasks: &[Task], places: &[Option<u32>]) {
        let rules = self.rules;
        for (task, place) in tasks.iter().zip(places) {
            let Some(place) = place else { continue };
            for address in task.addresses(rules) {
                if !task.agent_addresses().contains(address) {
                    self.name_address(*address, *place);
                }
            }
        }
    }

    /// Everything under one form of the tasks' common name; gives the places of their canonical
    /// names.
    fn name_tasks(&mut self, form: &str, group: &Group<'_>, sets: &TaskSets) -> Vec<Option<u32>> {
        self.push_below_others(form, &group.own_tail, sets.all.own);
        self.push_below_others(form, &group.agent_tail, sets.all.agent);
        let mut targets = |tail: &[u8], of: fn(&Set) -> Span| -> Vec<Option<u32>> {
            let names = group.suffixes.iter().zip(&sets.single);
            names.map(|(suffix, set)| self.push_target(form, suffix, tail, of(set))).collect()
        };
        let own = targets(&group.own_tail, |set| set.own);
        let agents = targets(&group.agent_tail, |set| set.agent);

        let service = naming::service_label(form);
        let host = self.service_set(&group.services.host, &agents);
        for protocol in ["tcp", "udp"] {
            self.push_service(&["", &service, protocol], &group.agent_tail, host);
            if !group.names.discovered {
                self.push_service(&["", &service, protocol], &group.own_tail, host);
            }
        }
        let rule = self.rules.label_rule;
        let mut last: Option<(&[(u32, u16)], Span)> = None;
        for ((protocol, name), ports) in &group.services.discovery {
            let name = naming::label(name.unwrap_or_default(), rule);
            // Most tasks have one port, found with and without its name.
            let set = match last.filter(|(same, _)| *same == &ports[..]) {
                Some((_, set)) => set,
                None => self.service_set(ports, &own),
            };
            last = Some((ports, set));
            let named = if name.is_empty() { name } else { naming::service_label(&name) };
            for protocol in naming::protocols(protocol, rule) {
                self.push_service(&[&named, &service, &protocol], &group.own_tail, set);
            }
        }
        own
    }

    /// A task's canonical name. Without addresses it does not exist, yet SRV records may lead there.
    /// Names between it and the tail are the task's alone.
    fn push_target(&mut self, form: &str, suffix: &str, tail: &[u8], set: Span) -> Option<u32> {
        let mut name = std::mem::take(&mut self.text);
        naming::canonical(form, suffix, &mut name);
        let place = self.push_entry(&name, tail, set);
        self.text = name;
        let place = place?;
        let entry = self.entries.get(place as usize).filter(|entry| entry.exists);
        let Some(name) = entry.map(Entry::name_span) else { return Some(place) };
        let mut start = name.start;
        loop {
            // Labels are at most 63 bytes long, names 255.
            let label = self.arena.get(start as usize).copied().unwrap_or_default();
            start += 1 + u32::from(label);
            let Some(length) = u8::try_from(name.end.saturating_sub(start)).ok() else { break };
            if usize::from(length) <= tail.len() {
                break;
            }
            self.entries.push(Entry { name: start, name_length: length, ..NOTHING });
        }
        Some(place)
    }

    /// `[_port.]_n._protocol` below a tail.
    fn push_service(&mut self, labels: &[&str; 3], tail: &[u8], set: Span) {
        let [port, service, protocol] = labels;
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        if !port.is_empty() {
            text.extend([port, "."]);
        }
        text.extend([service, "._", protocol]);
        if !port.is_empty() {
            // The name above is that of all ports of the protocol.
            if set.start < set.end {
                self.push_entry(&text, tail, set);
            }
        } else {
            self.push_below_others(&text, tail, set);
        }
        self.text = text;
    }

    /// Ports at their tasks' targets. A target whose name does not fit cannot be told to anybody.
    fn service_set(&mut self, ports: &[(u32, u16)], targets: &[Option<u32>]) -> Span {
        let values = ports.iter().filter_map(|(task, port)| {
            let target = (*targets.get(*task as usize)?)?;
            Some(Value::Service { target, port: *port, lease: *task })
        });
        self.push_values(values)
    }

    fn address_set(&mut self, of: impl IntoIterator<Item = (IpAddr, u32)>) -> Span {
        let start = self.values.len();
        for (address, lease) in of {
            let address = self.place(address);
            self.values.push(Value::Address { address, lease });
        }
        self.finish_set(start)
    }

    fn push_values(&mut self, values: impl Iterator<Item = Value>) -> Span {
        let start = self.values.len();
        self.values.extend(values);
        self.finish_set(start)
    }

    /// Makes a set of the values from `start` on: in order, each once.
    fn finish_set(&mut self, start: usize) -> Span {
        let set = self.values.get_mut(start..).unwrap_or_default();
        if !set.is_sorted_by(|a, b| a < b) {
            set.sort_unstable();
            let mut kept = start;
            for at in start..self.values.len() {
                if at == start || self.values.get(at) != self.values.get(kept - 1) {
                    self.values.swap(at, kept);
                    kept += 1;
                }
            }
            self.values.truncate(kept);
        }
        Span { start: place_of(start), end: place_of(self.values.len()) }
    }

    fn place(&mut self, address: IpAddr) -> u32 {
        let next = place_of(self.addresses.len());
        let place = *self.places.entry(address).or_insert(next);
        if place == next {
            self.addresses.push(address);
        }
        place
    }

    /// Adds a name with records, whose names above are to be counted. None without records.
    fn push_below_others(&mut self, text: &str, tail: &[u8], set: Span) -> Option<u32> {
        if set.start == set.end {
            return None;
        }
        let place = self.push_entry(text, tail, set)?;
        self.below_others.push(self.entries.get(place as usize)?.name_span());
        Some(place)
    }

    /// Adds an entry and gives its place; `None` when text and tail are no name below the domain.
    fn push_entry(&mut self, text: &str, tail: &[u8], values: Span) -> Option<u32> {
        let start = self.arena.len();
        let named = wire::push_labels(&mut self.arena, text);
        self.arena.extend_from_slice(tail);
        let length = self.arena.len() - start;
        let fits = named && length <= self.rules.max_name;
        let Some(name_length) = u8::try_from(length).ok().filter(|_| fits) else {
            self.arena.truncate(start);
            return None;
        };
        let (kinds, ttl) = self.facts(values);
        let (name, exists) = (place_of(start), values.start < values.end);
        let entry = Entry { name, name_length, values, kinds, ttl, exists, is_absolute: false };
        Some(self.push(entry))
    }

    fn push(&mut self, entry: Entry) -> u32 {
        let place = place_of(self.entries.len());
        self.entries.push(entry);
        place
    }

    /// Which kinds of records a set has, and its TTL.
    fn facts(&self, set: Span) -> (u8, u32) {
        let (mut kinds, mut ttl) = (0, u32::MAX);
        for value in set.of(&self.values) {
            kinds |= match value {
                Value::Address { address, .. } => match self.addresses.get(*address as usize) {
                    Some(IpAddr::V6(_)) => HAS_AAAA,
                    _ => HAS_A,
                },
                Value::Service { .. } => HAS_SRV,
                Value::Name { .. } => HAS_PTR,
            };
            let of_task = self.ttls.get(value.lease() as usize);
            ttl = ttl.min(of_task.copied().unwrap_or(self.rules.ttl));
        }
        (kinds, ttl)
    }

    /// The name of an address: an entry's. Addresses that every machine has have none.
    pub(crate) fn name_address(&mut self, address: IpAddr, target: u32) {
        if !self.rules.reverse || address.is_loopback() || address.is_unspecified() {
            return;
        }
        let values = self.push_values(std::iter::once(Value::Name { target }));
        let name = place_of(self.arena.len());
        let key = Key::from(address);
        self.arena.extend_from_slice(key.as_bytes());
        let name_length = place_of(key.as_bytes().len()) as u8;
        let (kinds, ttl) = self.facts(values);
        self.push(Entry { name, name_length, values, kinds, ttl, ..NOTHING });
    }

    /// A name outside the domain, as a target of addresses' names; `None` when the text is none, or
    /// an address.
    pub(crate) fn outside(&mut self, name: &str) -> Option<u32> {
        let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
            && name.bytes().any(|b| b.is_ascii_alphabetic());
        let wire = wire::absolute(name).filter(|_| is_name)?;
        let start = place_of(self.arena.len());
        self.arena.extend_from_slice(&wire);
        let name_length = u8::try_from(wire.len()).ok()?;
        let exists = false;
        Some(self.push(Entry { name: start, name_length, exists, is_absolute: true, ..NOTHING }))
    }

    /// The records, `None` without any; the next contributor's can be made then.
    pub(crate) fn finish(
        &mut self,
        origin: Origin,
        tasks: Vec<Task>,
        leases: Box<[Arc<Lease>]>,
    ) -> Option<Records> {
        let mut seen: HashSet<&[u8], RandomState> = HashSet::default();
        let mut above = Vec::new();
        for name in &self.below_others {
            for tail in wire::above(name.of(&self.arena)) {
                // With a name, all names above it have been seen.
                if !seen.insert(tail) {
                    break;
                }
                above.push(Span { start: name.end - place_of(tail.len()), end: name.end });
            }
        }
        let records = Records {
            above: above.into(),
            arena: Box::from(&self.arena[..]),
            entries: Box::from(&self.entries[..]),
            values: Box::from(&self.values[..]),
            addresses: Box::from(&self.addresses[..]),
            origin,
            longest_ttl: self.ttls.iter().copied().max().unwrap_or(self.rules.ttl),
            tasks: tasks.into(),
            leases,
        };
        self.arena.clear();
        self.entries.clear();
        self.values.clear();
        self.addresses.clear();
        self.places.clear();
        self.below_others.clear();
        self.ttls.clear();
        Some(records).filter(|records| !records.entries.is_empty())
    }
}

/// An entry that only makes a name exist.
const NOTHING: Entry = Entry {
    name: 0,
    values: Span { start: 0, end: 0 },
    ttl: 0,
    name_length: 0,
    kinds: 0,
    is_absolute: false,
    exists: true,
};

/// Addresses, each with its task's place.
fn addresses(addresses: &[IpAddr], task: u32) -> impl Iterator<Item = (IpAddr, u32)> {
    addresses.iter().map(move |address| (*address, task))
}

/// A place in a table. One contributor's tables stay far below 4 GiB: large groups of tasks are
/// split.
fn place_of(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
