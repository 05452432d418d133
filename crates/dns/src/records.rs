//! What one app adds to the zone: the names of its tasks with their records, compiled into a few
//! flat tables that answers are written from. The unit that the zone adds, replaces and removes.
//!
//! Input: one app of the catalog, the label rule, the tasks' leases. Pure.
//!
//! The records of a task by Mesos-DNS's rules, with the name `n` (in both its forms), the canonical
//! name `c` and the framework `fw`; D, the domain, is left out everywhere here:
//!
//! | name | records |
//! |---|---|
//! | `n.fw`, `c.fw` | the task's addresses |
//! | `n.fw.slave`, `c.fw.slave` | its agent's address |
//! | `_n._tcp.fw.slave`, `_n._udp.fw.slave` | SRV `c.fw.slave` with each host port |
//! | `_n._P.fw` | SRV `c.fw` with each port of protocol P in its DiscoveryInfo |
//! | `_port._n._P.fw` | the same for the ports named so |

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use waymark_model::{AppEntry, Readiness, TaskEntry};

use crate::lease::{Lease, Leases};
use crate::naming::{self, LabelRule};
use crate::wire;

/// Records of one contributor. All tables are indexed by [`Entry`] and [`Value`].
#[derive(Debug, Default)]
pub struct Records {
    /// The labels of all names, one behind the other.
    arena: Box<[u8]>,
    entries: Box<[Entry]>,
    /// The values of all sets, one behind the other.
    values: Box<[Value]>,
    addresses: Box<[IpAddr]>,
    leases: Box<[Arc<Lease>]>,
    /// Names above these that are not the apex, once each.
    above: Box<[Span]>,
    /// The agents of the named tasks, once each.
    agents: Box<[IpAddr]>,
}

/// A part of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

/// One name with one set of values. A name may have several entries, in one contributor as well as
/// over several; its records are their union.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    name: Span,
    values: Span,
}

/// One record of a set, and whose lease it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// An address by its place in the table; equal ones stand side by side.
    Address { address: u32, lease: u32 },
    /// A service: the port, and the entry of the name where it is.
    Service { target: u32, port: u16, lease: u32 },
}

impl Value {
    /// The place of its lease.
    pub fn lease(self) -> u32 {
        match self {
            Value::Address { lease, .. } | Value::Service { lease, .. } => lease,
        }
    }
}

impl Span {
    fn of<T>(self, table: &[T]) -> &[T] {
        table.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

impl Records {
    /// The records of an app's ready tasks; `None` when nothing of it has a name.
    pub fn of_app(app: &AppEntry, rule: LabelRule, leases: &Leases) -> Option<Records> {
        let framework = naming::dotted(&app.framework, rule);
        let ready: Vec<&TaskEntry> = app
            .tasks
            .iter()
            .filter(|task| task.readiness == Readiness::Ready)
            .map(|task| &**task)
            .collect();
        if framework.is_empty() || ready.is_empty() {
            return None;
        }
        let mut plan = Plan { suffix: framework, ..Plan::default() };
        plan.leases = ready.iter().map(|task| leases.of(&task.id)).collect();
        let suffixes: Vec<String> = ready
            .iter()
            .map(|task| naming::task_suffix(task.id.as_str(), &task.agent.id))
            .collect();
        let shared = plan.task_sets(&ready);
        for name in naming::task_names(&app.id, rule) {
            plan.name_tasks(&name, &ready, &suffixes, &shared, rule);
        }
        plan.agents = ready.iter().map(|task| task.agent.address).collect();
        Some(plan.finish()).filter(|records| !records.entries.is_empty())
    }

    /// Fixed names with their addresses, that lead to no task. Names that are none are left out.
    pub fn fixed<'a>(names: impl IntoIterator<Item = (&'a str, Vec<IpAddr>)>) -> Records {
        let mut plan = Plan::default();
        for (name, addresses) in names {
            let set = plan.address_set(addresses.iter().map(|address| (*address, NO_LEASE)));
            plan.push_entry(name, set);
        }
        plan.finish()
    }

    /// The number of entries; their places are below it.
    pub fn len(&self) -> u32 {
        place_of(self.entries.len())
    }

    /// The entry at a place.
    pub fn entry(&self, place: u32) -> Option<&Entry> {
        self.entries.get(place as usize)
    }

    /// The entry's name, relative to the domain.
    pub fn name(&self, entry: &Entry) -> &[u8] {
        entry.name.of(&self.arena)
    }

    /// The name of the entry at a place, relative to the domain.
    pub fn name_at(&self, place: u32) -> Option<&[u8]> {
        self.entry(place).map(|entry| self.name(entry))
    }

    /// The entry's records.
    pub fn values(&self, entry: &Entry) -> &[Value] {
        entry.values.of(&self.values)
    }

    /// The address at a place.
    pub fn address(&self, place: u32) -> Option<IpAddr> {
        self.addresses.get(place as usize).copied()
    }

    /// The lease at a place; `None` for records that lead to no task.
    pub fn lease(&self, place: u32) -> Option<&Lease> {
        self.leases.get(place as usize).map(|lease| &**lease)
    }

    /// The leases of all named tasks.
    pub fn leases(&self) -> &[Arc<Lease>] {
        &self.leases
    }

    /// Names above the entries' names, without the apex.
    pub fn above(&self) -> impl Iterator<Item = &[u8]> {
        self.above.iter().map(|span| span.of(&self.arena))
    }

    /// The addresses of the agents.
    pub fn agents(&self) -> &[IpAddr] {
        &self.agents
    }
}

/// The lease's place in records that lead to no task.
const NO_LEASE: u32 = u32::MAX;

/// Records in the making.
#[derive(Default)]
struct Plan {
    /// The framework's labels.
    suffix: String,
    arena: Vec<u8>,
    entries: Vec<Entry>,
    values: Vec<Value>,
    addresses: Vec<IpAddr>,
    places: BTreeMap<IpAddr, u32>,
    leases: Vec<Arc<Lease>>,
    agents: BTreeSet<IpAddr>,
}

/// The address sets that both forms of a name share.
struct TaskSets {
    tasks: Span,
    agents: Span,
    /// Of each task alone: its own addresses, its agent's.
    single: Vec<(Span, Span)>,
}

impl Plan {
    fn task_sets(&mut self, tasks: &[&TaskEntry]) -> TaskSets {
        let own = |task: u32, entry: &TaskEntry| -> Vec<(IpAddr, u32)> {
            entry.named_addresses().iter().map(|address| (*address, task)).collect()
        };
        let all_own = (0..).zip(tasks).flat_map(|(n, task)| own(n, task));
        let all_agents = (0..).zip(tasks).map(|(n, task)| (task.agent.address, n));
        let tasks_set = self.address_set(all_own);
        let agents_set = self.address_set(all_agents);
        let single = (0..)
            .zip(tasks)
            .map(|(n, task)| {
                let own = self.address_set(own(n, task));
                (own, self.address_set([(task.agent.address, n)]))
            })
            .collect();
        TaskSets { tasks: tasks_set, agents: agents_set, single }
    }

    /// Everything under one form of the tasks' common name.
    fn name_tasks(
        &mut self,
        name: &str,
        tasks: &[&TaskEntry],
        suffixes: &[String],
        sets: &TaskSets,
        rule: LabelRule,
    ) {
        let fw = self.suffix.clone();
        self.push_entry(&format!("{name}.{fw}"), sets.tasks);
        self.push_entry(&format!("{name}.{fw}.slave"), sets.agents);
        let mut services: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let service = naming::service_label(name);
        for (((n, task), suffix), (own, agent)) in (0..).zip(tasks).zip(suffixes).zip(&sets.single)
        {
            let canonical = naming::canonical(name, suffix);
            let own = self.push_entry(&format!("{canonical}.{fw}"), *own);
            let agent = self.push_entry(&format!("{canonical}.{fw}.slave"), *agent);
            // A target whose name does not fit cannot be told to anybody.
            if let Some(target) = agent {
                for protocol in ["tcp", "udp"] {
                    let values = services.entry(format!("{service}._{protocol}.{fw}.slave"));
                    values.or_default().extend(task.host_ports.iter().map(|port| Value::Service {
                        target,
                        port: *port,
                        lease: n,
                    }));
                }
            }
            let Some(target) = own else { continue };
            for port in &task.discovery {
                let value = Value::Service { target, port: port.number, lease: n };
                let of_protocol = format!("{service}._{}.{fw}", port.protocol);
                let port_name = naming::label(port.name.as_deref().unwrap_or_default(), rule);
                if !port_name.is_empty() {
                    let named = format!("{}.{of_protocol}", naming::service_label(&port_name));
                    services.entry(named).or_default().push(value);
                }
                services.entry(of_protocol).or_default().push(value);
            }
        }
        self.push_services(services);
    }

    /// An entry for each service name; names with equal values share them.
    fn push_services(&mut self, services: BTreeMap<String, Vec<Value>>) {
        let mut last: Option<Span> = None;
        for (name, mut values) in services {
            values.sort_unstable();
            values.dedup();
            if values.is_empty() {
                continue;
            }
            let set = match last.filter(|span| span.of(&self.values) == values) {
                Some(span) => span,
                None => self.push_values(values),
            };
            last = Some(set);
            self.push_entry(&name, set);
        }
    }

    fn address_set(&mut self, of: impl IntoIterator<Item = (IpAddr, u32)>) -> Span {
        let mut values: Vec<Value> = of
            .into_iter()
            .map(|(address, lease)| Value::Address { address: self.place(address), lease })
            .collect();
        values.sort_unstable();
        values.dedup();
        self.push_values(values)
    }

    fn push_values(&mut self, values: Vec<Value>) -> Span {
        let start = place_of(self.values.len());
        self.values.extend(values);
        Span { start, end: place_of(self.values.len()) }
    }

    fn place(&mut self, address: IpAddr) -> u32 {
        let next = place_of(self.addresses.len());
        let place = *self.places.entry(address).or_insert(next);
        if place == next {
            self.addresses.push(address);
        }
        place
    }

    /// Adds an entry and gives its place; `None` when the text is no name.
    fn push_entry(&mut self, name: &str, values: Span) -> Option<u32> {
        let start = place_of(self.arena.len());
        if !wire::push_labels(&mut self.arena, name) {
            return None;
        }
        let name = Span { start, end: place_of(self.arena.len()) };
        let place = place_of(self.entries.len());
        self.entries.push(Entry { name, values });
        Some(place)
    }

    fn finish(self) -> Records {
        let mut above: BTreeMap<&[u8], Span> = BTreeMap::new();
        for entry in &self.entries {
            let name = entry.name.of(&self.arena);
            for tail in wire::above(name) {
                let start = entry.name.end - place_of(tail.len());
                above.entry(tail).or_insert(Span { start, end: entry.name.end });
            }
        }
        Records {
            above: above.into_values().collect(),
            arena: self.arena.into(),
            entries: self.entries.into(),
            values: self.values.into(),
            addresses: self.addresses.into(),
            leases: self.leases.into(),
            agents: self.agents.into_iter().collect(),
        }
    }
}

/// A place in a table. One app's tables stay far below 4 GiB: the tasks of an app are bounded by
/// the ports of its machines.
fn place_of(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
