//! A full state: a `/master/state` document, or what `SUBSCRIBED` begins with.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::MapAccess;

use crate::intake::Intake;
use crate::json::{self, Listed, Object};
use crate::pid::{self, HostPort};
use crate::task::{RawTask, Task};

/// What was left out, counted by the reason.
pub type Skipped = BTreeMap<&'static str, u64>;

/// A full state. Its elements are opaque: [`crate::State::replace`] takes them over.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// Who leads, as far as the document says.
    pub leader: Leader,
    /// What was left out of the lists.
    pub skipped: Skipped,
    /// Whether frameworks without pid have none; the v1 API tells it of no framework.
    pub(crate) tells_pids: bool,
    pub(crate) agents: Vec<Agent>,
    pub(crate) frameworks: Vec<Framework>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) recovered: Vec<Arc<str>>,
}

/// Who leads, as a `/state` document says it. The v1 API does not say it there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leader {
    /// The member `leader`.
    pub leader: Option<HostPort>,
    /// The address of the master that wrote the document (its member `pid`).
    pub own: Option<HostPort>,
}

/// An agent as its master tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its id.
    pub id: Arc<str>,
    /// Its host name, as it registered.
    pub hostname: Arc<str>,
    /// Where it is: the host of its pid, or its host name when the pid makes no sense.
    pub host: Arc<str>,
    /// The port of its API.
    pub port: u16,
}

/// A framework as its master tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framework {
    /// Its id.
    pub id: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The host name that its scheduler told; may be empty.
    pub hostname: Arc<str>,
    /// Where its scheduler is; schedulers that use the HTTP API have none, and the v1 API tells it
    /// of none.
    pub pid: Option<HostPort>,
}

/// Why a document or an event is refused as a whole.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// It is no JSON.
    #[error("not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// It is JSON of another shape.
    #[error("not a state: {0}")]
    Shape(&'static str),
}

/// Reads a `/master/state` document. Refused are documents without the lists `slaves` and
/// `frameworks` and those in which a list has elements but none that makes sense: were they taken
/// for a state, every name would be gone. An empty list is empty.
pub fn parse(bytes: &[u8]) -> Result<Document, ParseError> {
    let mut intake = Intake::default();
    let raw: RawState = whole(bytes, &mut intake)?;
    let leader = Leader {
        leader: raw.leader.as_deref().and_then(pid::pid),
        own: raw.own.as_deref().and_then(pid::pid),
    };
    raw.listed.check(&intake)?;
    Ok(Document { tells_pids: true, ..finish(leader, intake) })
}

/// Reads a text that is one object. Text that is not UTF-8 is read as far as it is.
pub(crate) fn whole<T: Object>(bytes: &[u8], intake: &mut Intake) -> Result<T, ParseError> {
    let object = match std::str::from_utf8(bytes) {
        Ok(text) => json::document(text, intake)?,
        Err(_) => {
            intake.skip("text that is not UTF-8");
            json::document(&String::from_utf8_lossy(bytes), intake)?
        }
    };
    object.ok_or(ParseError::Shape("not an object"))
}

pub(crate) fn finish(leader: Leader, intake: Intake) -> Document {
    let Intake { agents, frameworks, tasks, recovered, skipped, .. } = intake;
    Document { leader, skipped, tells_pids: false, agents, frameworks, tasks, recovered }
}

/// What the lists of a state turned out to be.
#[derive(Default)]
pub(crate) struct Lists {
    pub agents: Listed,
    pub frameworks: Listed,
}

impl Lists {
    /// Refuses what cannot be meant.
    pub fn check(&self, intake: &Intake) -> Result<(), ParseError> {
        let of = |listed, absent| match listed {
            Listed::Of(n) => Ok(n),
            Listed::Absent => Err(ParseError::Shape(absent)),
        };
        let agents = of(self.agents, "no list of agents")?;
        let frameworks = of(self.frameworks, "no list of frameworks")?;
        if agents > 0 && intake.agents.is_empty() {
            return Err(ParseError::Shape("no agent makes sense"));
        }
        if frameworks > 0 && intake.frameworks.is_empty() {
            return Err(ParseError::Shape("no framework makes sense"));
        }
        if intake.tasks_seen > 0 && intake.tasks_sound == 0 {
            return Err(ParseError::Shape("no task makes sense"));
        }
        Ok(())
    }
}

#[derive(Default)]
struct RawState {
    leader: Option<String>,
    own: Option<String>,
    listed: Lists,
}

impl Object for RawState {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error> {
        match name {
            "leader" => self.leader = json::text(map)?.map(|text| text.into_owned()),
            "pid" => self.own = json::text(map)?.map(|text| text.into_owned()),
            "slaves" => self.listed.agents = agents(map, intake)?,
            "recovered_slaves" => recovered(map, intake)?,
            "frameworks" => self.listed.frameworks = frameworks(map, intake)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// Reads a list of agents.
pub(crate) fn agents<'de, A: MapAccess<'de>>(
    map: &mut A,
    intake: &mut Intake,
) -> Result<Listed, A::Error> {
    intake.agents.clear();
    json::list::<RawAgent, _>(map, intake, &mut |intake, raw| match raw
        .ok_or("agent that is no object")
        .and_then(|raw| raw.finish(intake))
    {
        Ok(agent) => intake.agents.push(agent),
        Err(reason) => intake.skip(reason),
    })
}

/// Reads a list of agents that the master knows from its registry alone.
pub(crate) fn recovered<'de, A: MapAccess<'de>>(
    map: &mut A,
    intake: &mut Intake,
) -> Result<(), A::Error> {
    intake.recovered.clear();
    json::list::<RawAgent, _>(map, intake, &mut |intake, raw| {
        intake.recovered.extend(raw.and_then(|raw| raw.id));
    })?;
    Ok(())
}

/// Reads a list of frameworks, with their tasks where they have any.
pub(crate) fn frameworks<'de, A: MapAccess<'de>>(
    map: &mut A,
    intake: &mut Intake,
) -> Result<Listed, A::Error> {
    intake.frameworks.clear();
    json::list::<RawFramework, _>(map, intake, &mut |intake, raw| {
        let tasks = raw.as_ref().and_then(|raw| raw.first_task);
        match raw.ok_or("framework that is no object").and_then(|raw| raw.finish(intake)) {
            Ok(framework) => {
                for task in tasks.and_then(|n| intake.tasks.get_mut(n..)).unwrap_or_default() {
                    task.group.framework = framework.id.clone();
                }
                intake.frameworks.push(framework);
            }
            Err(reason) => {
                if let Some(n) = tasks {
                    intake.tasks.truncate(n);
                }
                intake.skip(reason);
            }
        }
    })
}

/// Reads a list of tasks; in a framework's own list `framework` stands for it.
pub(crate) fn tasks<'de, A: MapAccess<'de>>(
    map: &mut A,
    intake: &mut Intake,
    framework: Option<&Arc<str>>,
) -> Result<(), A::Error> {
    json::list::<RawTask, _>(map, intake, &mut |intake, raw| {
        intake.tasks_seen += 1;
        let Some(raw) = raw else { return intake.skip("task that is no object") };
        if raw.is_gone() {
            intake.tasks_sound += 1;
            return;
        }
        match raw.finish(framework, intake) {
            Ok(task) => {
                intake.tasks_sound += 1;
                intake.tasks.push(task);
            }
            Err(reason) => intake.skip(reason),
        }
    })?;
    Ok(())
}

/// An agent as it is being read: of `/state`, of the v1 API, or the `AgentInfo` in the latter.
#[derive(Default)]
pub(crate) struct RawAgent {
    id: Option<Arc<str>>,
    hostname: Option<Arc<str>>,
    pid: Option<String>,
    port: Option<i64>,
}

impl RawAgent {
    /// The agent, or why it is left out.
    pub fn finish(self, intake: &mut Intake) -> Result<Agent, &'static str> {
        let id = self.id.ok_or("agent without id")?;
        let hostname = self.hostname.unwrap_or_else(|| Arc::from(""));
        let at = self.pid.as_deref().and_then(pid::pid).unwrap_or_else(|| {
            intake.skip("agent's pid that is none");
            let port = self.port.and_then(|port| u16::try_from(port).ok());
            HostPort { host: hostname.clone(), port: port.unwrap_or(AGENT_PORT) }
        });
        Ok(Agent { id, hostname, host: at.host, port: at.port })
    }
}

/// Where an agent's API is when nothing else is told.
const AGENT_PORT: u16 = 5051;

impl Object for RawAgent {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error> {
        match name {
            "id" => self.id = json::id(map)?.map(|id| intake.name(&id)),
            "hostname" => self.hostname = json::text(map)?.map(|text| Arc::from(&*text)),
            "pid" => self.pid = json::text(map)?.map(|text| text.into_owned()),
            "port" => self.port = json::whole(map)?,
            "agent_info" => {
                let pid = self.pid.take();
                *self = json::object(map, intake)?.unwrap_or_default();
                self.pid = pid;
            }
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// A framework as it is being read: of `/state`, of the v1 API, or the `FrameworkInfo` in it.
#[derive(Default)]
pub(crate) struct RawFramework {
    id: Option<Arc<str>>,
    name: Option<Arc<str>>,
    hostname: Option<Arc<str>>,
    pid: Option<String>,
    /// Where its tasks begin among all.
    first_task: Option<usize>,
}

impl RawFramework {
    /// The framework, or why it is left out.
    pub fn finish(self, intake: &mut Intake) -> Result<Framework, &'static str> {
        let id = self.id.ok_or("framework without id")?;
        let pid = self.pid.and_then(|text| {
            let read = pid::pid(&text);
            if read.is_none() {
                intake.skip("framework's pid that is none");
            }
            read
        });
        let empty = || Arc::from("");
        let name = self.name.unwrap_or_else(empty);
        Ok(Framework { id, name, hostname: self.hostname.unwrap_or_else(empty), pid })
    }
}

impl Object for RawFramework {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error> {
        match name {
            "id" => self.id = json::id(map)?.map(|id| intake.name(&id)),
            "name" => self.name = json::text(map)?.map(|text| Arc::from(&*text)),
            "hostname" => self.hostname = json::text(map)?.map(|text| Arc::from(&*text)),
            "pid" => self.pid = json::text(map)?.map(|text| text.into_owned()),
            "framework_info" => *self = json::object(map, intake)?.unwrap_or_default(),
            "tasks" => {
                let first = *self.first_task.get_or_insert(intake.tasks.len());
                intake.tasks.truncate(first);
                let this = intake.name("");
                tasks(map, intake, Some(&this))?;
            }
            _ => json::skip(map)?,
        }
        Ok(())
    }
}
