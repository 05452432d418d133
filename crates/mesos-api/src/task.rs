//! A task as a master tells of it, in `/state` and in the v1 API alike.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use serde::de::MapAccess;
use waymark_model::{ClusterPort, ClusterTask, Readiness, TaskAddresses, TaskGroupId, TaskId};

use crate::intake::Intake;
use crate::json::{self, Object};
use crate::ports;
use crate::status::{Label, RawStatus, Status};

/// The state of a task as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It does not run yet.
    Pending,
    /// `TASK_RUNNING`.
    Running,
    /// `TASK_KILLING`.
    Killing,
    /// It has ended, its agent is lost, or nothing is known.
    #[default]
    Gone,
}

impl Phase {
    pub(crate) fn parse(text: &str) -> Phase {
        match text {
            "TASK_RUNNING" => Phase::Running,
            "TASK_KILLING" => Phase::Killing,
            "TASK_STAGING" | "TASK_STARTING" => Phase::Pending,
            _ => Phase::Gone,
        }
    }

    /// Whether a task in this phase is among those that the catalog knows.
    pub(crate) fn counts(self) -> bool {
        matches!(self, Phase::Running | Phase::Killing)
    }
}

/// A task.
#[derive(Clone, Debug)]
pub struct Task {
    pub(crate) group: TaskGroupId,
    pub(crate) phase: Phase,
    /// Its `TASK_RUNNING` statuses in the order in which they came.
    running: Vec<Running>,
    /// Which of them tells the addresses; its addresses are in `facts`.
    chosen: Option<usize>,
    /// Whether the last status of all is `TASK_RUNNING`.
    last_runs: bool,
    /// Whether it has a health check.
    checked: bool,
    /// What the catalog gets. The agent in it has its id only, until the state has put the right
    /// one there.
    pub(crate) facts: Arc<ClusterTask>,
}

/// A `TASK_RUNNING` status.
#[derive(Clone, Debug)]
struct Running {
    timestamp: f64,
    healthy: Option<bool>,
    /// `None` when it is the chosen one, and when there are none.
    addresses: Option<Box<TaskAddresses>>,
}

impl Running {
    fn new(status: Status) -> Running {
        let none = status.addresses == TaskAddresses::default();
        let addresses = (!none).then(|| Box::new(status.addresses));
        Running { timestamp: status.timestamp, healthy: status.healthy, addresses }
    }
}

/// The status that tells the addresses: the latest, of several the first. As in Mesos-DNS the time
/// must be above -1.
fn choose(running: &[Running]) -> Option<usize> {
    let mut chosen: Option<(usize, f64)> = None;
    for (n, status) in running.iter().enumerate() {
        if status.timestamp > chosen.map_or(-1.0, |(_, latest)| latest) {
            chosen = Some((n, status.timestamp));
        }
    }
    chosen.map(|(n, _)| n)
}

impl Task {
    /// Its id.
    pub fn id(&self) -> &TaskId {
        &self.facts.id
    }

    /// A task of which only the catalog's view is known, from an earlier run.
    pub(crate) fn restored(group: TaskGroupId, facts: Arc<ClusterTask>) -> Task {
        let phase = match facts.readiness {
            Readiness::Draining => Phase::Killing,
            _ => Phase::Running,
        };
        let checked = facts.readiness == Readiness::HealthUnknown;
        Task { group, phase, running: Vec::new(), chosen: None, last_runs: false, checked, facts }
    }

    /// Whether `other` says the same of the same task; the agent's id is compared, not what is
    /// known of the agent.
    pub(crate) fn says_the_same(&self, other: &Task) -> bool {
        let (a, b) = (&*self.facts, &*other.facts);
        self.group == other.group
            && self.phase == other.phase
            && a.readiness == b.readiness
            && a.agent.id == b.agent.id
            && a.addresses == b.addresses
            && a.host_ports == b.host_ports
            && a.name == b.name
            && a.ports == b.ports
            && a.labels == b.labels
    }

    /// Takes over a newer state and, where there is one, the status that told it. Whether that
    /// changes anything for the catalog.
    pub(crate) fn update(&mut self, phase: Phase, status: Option<Status>) -> bool {
        let counted = self.phase.counts();
        let before = self.facts.clone();
        self.phase = phase;
        let facts = Arc::make_mut(&mut self.facts);
        if let Some(status) = status {
            if let Some(chosen) = self.chosen.and_then(|n| self.running.get_mut(n)) {
                chosen.addresses = Some(Box::new(mem::take(&mut facts.addresses)));
            }
            // Of statuses in a row with the same state the master keeps only the last one.
            let runs = status.phase == Phase::Running;
            if runs && self.last_runs {
                self.running.pop();
            }
            if runs {
                self.running.push(Running::new(status));
            }
            self.last_runs = runs;
            self.chosen = choose(&self.running);
            facts.addresses = take_addresses(&mut self.running, self.chosen);
        }
        facts.readiness = readiness(phase, &self.running, self.chosen, self.checked);
        if self.facts == before {
            self.facts = before;
            return counted != phase.counts();
        }
        true
    }
}

fn take_addresses(running: &mut [Running], chosen: Option<usize>) -> TaskAddresses {
    let chosen = chosen.and_then(|n| running.get_mut(n));
    chosen.and_then(|status| status.addresses.take()).map_or_else(Default::default, |a| *a)
}

fn readiness(phase: Phase, running: &[Running], chosen: Option<usize>, checked: bool) -> Readiness {
    let healthy = chosen.and_then(|n| running.get(n)).and_then(|status| status.healthy);
    match healthy {
        _ if phase == Phase::Killing => Readiness::Draining,
        Some(false) => Readiness::Unhealthy,
        None if checked => Readiness::HealthUnknown,
        _ => Readiness::Ready,
    }
}

/// A task as it is being read; member names of both APIs are understood.
#[derive(Default)]
pub(crate) struct RawTask {
    id: Option<TaskId>,
    name: Option<Arc<str>>,
    framework: Option<Arc<str>>,
    agent: Option<Arc<waymark_model::ClusterAgent>>,
    phase: Option<Phase>,
    running: Vec<Running>,
    last_runs: bool,
    checked: bool,
    discovery: Discovery,
    host_ports: Vec<u16>,
    labels: BTreeMap<String, String>,
}

impl RawTask {
    /// The task, or why it is left out. `framework` is the one it stands in, if it stands in one.
    pub fn finish(
        mut self,
        framework: Option<&Arc<str>>,
        intake: &mut Intake,
    ) -> Result<Task, &'static str> {
        let id = self.id.ok_or("task without id")?;
        let phase = self.phase.ok_or("task without state")?;
        let agent = self.agent.ok_or("task without agent")?;
        let framework = framework.cloned().or(self.framework).ok_or("task without framework")?;
        let name = self.name.unwrap_or_else(|| intake.name(""));
        let chosen = choose(&self.running);
        let addresses = take_addresses(&mut self.running, chosen);
        let readiness = readiness(phase, &self.running, chosen, self.checked);
        let group = match self.discovery.name {
            Some(found) => TaskGroupId { framework, name: found, discovered: true },
            None => TaskGroupId { framework, name: name.clone(), discovered: false },
        };
        self.host_ports.shrink_to_fit();
        let facts = Arc::new(ClusterTask {
            id,
            name,
            agent,
            addresses,
            host_ports: self.host_ports,
            ports: self.discovery.ports,
            labels: self.labels,
            readiness,
        });
        let (running, last_runs, checked) = (self.running, self.last_runs, self.checked);
        Ok(Task { group, phase, running, chosen, last_runs, checked, facts })
    }

    /// Whether it has ended, so that nothing needs to be known of it.
    pub fn is_gone(&self) -> bool {
        self.phase == Some(Phase::Gone)
    }

    fn labels<'de, A: MapAccess<'de>>(
        &mut self,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error> {
        let labels = &mut self.labels;
        labels.clear();
        json::list_or_in::<Label, _>(map, intake, "labels", &mut |_, label| {
            if let Some(Label { key: Some(key), value }) = label {
                labels.insert(key, value.unwrap_or_default());
            }
        })?;
        Ok(())
    }

    fn statuses<'de, A: MapAccess<'de>>(
        &mut self,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error> {
        self.running.clear();
        self.last_runs = false;
        json::list::<RawStatus, _>(map, intake, &mut |_, status| {
            let Some(status) = status.map(RawStatus::finish) else { return };
            self.last_runs = status.phase == Phase::Running;
            if self.last_runs {
                self.running.push(Running::new(status));
            }
        })?;
        self.running.shrink_to_fit();
        Ok(())
    }

    fn resources<'de, A: MapAccess<'de>>(
        &mut self,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error> {
        let ports = &mut self.host_ports;
        ports.clear();
        // In `/state` an object with the text, in the v1 API a list of resources.
        let mut text = None;
        let sink = &mut |_: &mut Intake, resource: Option<Resource>| {
            let Some(resource) = resource.filter(|r| r.is_ports) else { return };
            let room = ports::MAX_PORTS.saturating_sub(ports.len());
            ports.extend(resource.ports.into_iter().take(room));
        };
        json::list_or_member(map, intake, "ports", &mut text, sink)?;
        match text {
            Some(text) => {
                if !ports::from_text(&text, ports, &mut intake.ports) {
                    intake.skip("port range that is none");
                }
            }
            None => {
                // `/state` has them sorted and joined.
                ports.sort_unstable();
                ports.dedup();
            }
        }
        Ok(())
    }
}

impl Object for RawTask {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error> {
        match name {
            "id" | "task_id" => self.id = json::id(map)?.map(|id| TaskId::from_text(&id)),
            "name" => self.name = json::text(map)?.map(|name| intake.name(&name)),
            "framework_id" => self.framework = json::id(map)?.map(|id| intake.name(&id)),
            "slave_id" | "agent_id" => {
                self.agent = json::id(map)?.map(|id| intake.unlisted_agent(&id));
            }
            "state" => self.phase = json::text(map)?.as_deref().map(Phase::parse),
            "statuses" => self.statuses(map, intake)?,
            "labels" => self.labels(map, intake)?,
            "resources" => self.resources(map, intake)?,
            "health_check" => self.checked = json::object::<Anything, _>(map, intake)?.is_some(),
            "discovery" => self.discovery = json::object(map, intake)?.unwrap_or_default(),
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// An object of which only counts that it is there.
#[derive(Default)]
struct Anything;

impl Object for Anything {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        _: &str,
        map: &mut A,
        _: &mut Intake,
    ) -> Result<(), A::Error> {
        json::skip(map)
    }
}

#[derive(Default)]
struct Discovery {
    name: Option<Arc<str>>,
    ports: Vec<ClusterPort>,
}

impl Object for Discovery {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error> {
        match name {
            "name" => {
                let name = json::text(map)?.filter(|name| !name.is_empty());
                self.name = name.map(|name| intake.name(&name));
            }
            "ports" => {
                let ports = &mut self.ports;
                json::list_or_in::<RawPort, _>(
                    map,
                    intake,
                    "ports",
                    &mut |intake, port| match port {
                        Some(port) => ports.push(port.finish()),
                        None => intake.skip("discovery port that is none"),
                    },
                )?;
                ports.shrink_to_fit();
            }
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct RawPort {
    number: i64,
    name: Option<String>,
    protocol: String,
}

impl RawPort {
    fn finish(self) -> ClusterPort {
        // As in Mesos-DNS any number is a port, modulo 65,536.
        let number = u16::try_from(self.number.rem_euclid(65_536)).unwrap_or_default();
        ClusterPort { number, name: self.name, protocol: self.protocol }
    }
}

impl Object for RawPort {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        _: &mut Intake,
    ) -> Result<(), A::Error> {
        match name {
            "number" => self.number = json::whole(map)?.unwrap_or(0),
            "name" => {
                let name = json::text(map)?.filter(|name| !name.is_empty());
                self.name = name.map(|name| name.into_owned());
            }
            "protocol" => {
                self.protocol = json::text(map)?.map(|text| text.into_owned()).unwrap_or_default();
            }
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// A resource of the v1 API.
#[derive(Default)]
struct Resource {
    is_ports: bool,
    ports: Vec<u16>,
}

impl Object for Resource {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error> {
        match name {
            "name" => self.is_ports = json::text(map)?.as_deref() == Some("ports"),
            "ranges" => {
                let ports = &mut self.ports;
                json::list_or_in::<Range, _>(map, intake, "range", &mut |intake, range| {
                    let range = range.and_then(|range| Some((range.begin?, range.end?)));
                    let taken = &mut intake.ports;
                    if !range.is_some_and(|(begin, end)| ports::add(begin, end, ports, taken)) {
                        intake.skip("port range that is none");
                    }
                })?;
            }
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Range {
    begin: Option<i64>,
    end: Option<i64>,
}

impl Object for Range {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        _: &mut Intake,
    ) -> Result<(), A::Error> {
        match name {
            "begin" => self.begin = json::whole(map)?,
            "end" => self.end = json::whole(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}
