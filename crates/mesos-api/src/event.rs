//! Events of the v1 operator API, as `SUBSCRIBE` gives them.

use std::sync::Arc;
use std::time::Duration;

use serde::de::MapAccess;
use waymark_model::TaskId;

use crate::document::{
    self, Agent, Document, Framework, Leader, Lists, ParseError, RawAgent, RawFramework,
};
use crate::intake::Intake;
use crate::json::{self, Listed, Object};
use crate::pid::{self, HostPort};
use crate::status::{RawStatus, Status};
use crate::task::{Phase, RawTask, Task};

/// One event.
#[derive(Clone, Debug)]
pub enum Event {
    /// The first one: the whole state.
    Subscribed {
        /// The state.
        document: Box<Document>,
        /// How often a heartbeat will come; Mesos before 1.2 does not say it.
        heartbeat: Option<Duration>,
    },
    /// A task is new, or is told again after its agent came back.
    TaskAdded(Box<Task>),
    /// A task has a new state or a new status.
    TaskUpdated(Box<TaskUpdate>),
    /// An agent is new or has come back.
    AgentAdded(Agent),
    /// An agent, by its id, is gone with its tasks.
    AgentRemoved(Arc<str>),
    /// A framework is new, has come back, or has changed.
    Framework(Framework),
    /// A framework, by its id, is gone with its tasks.
    FrameworkRemoved(Arc<str>),
    /// The master is alive.
    Heartbeat,
    /// Something that does not matter here, or that later masters send.
    Other,
}

/// A task's new state.
#[derive(Clone, Debug)]
pub struct TaskUpdate {
    /// The framework's id.
    pub framework: Arc<str>,
    /// The task's id.
    pub task: TaskId,
    /// The state it is in now.
    pub phase: Phase,
    /// The status that told it.
    pub status: Option<Status>,
}

impl Event {
    /// Reads one record of the stream. An error means that something happened that cannot be
    /// understood, so that the state is no longer known and must be asked for anew.
    pub fn parse(bytes: &[u8]) -> Result<Event, ParseError> {
        let mut intake = Intake::default();
        let raw: RawEvent = document::whole(bytes, &mut intake)?;
        let body = raw.body;
        match raw.kind.as_deref() {
            None => Err(ParseError::Shape("event without type")),
            Some("SUBSCRIBED") => subscribed(raw.subscribed, intake),
            Some("TASK_ADDED") => {
                let task = body.task.ok_or(ParseError::Shape("no task"))?;
                let task = task.finish(None, &mut intake).map_err(ParseError::Shape)?;
                Ok(Event::TaskAdded(Box::new(task)))
            }
            Some("TASK_UPDATED") => body.task_update(),
            Some("AGENT_ADDED") => {
                let agent = body.agent.ok_or(ParseError::Shape("no agent"))?;
                let agent = agent.finish(&mut intake).map_err(ParseError::Shape)?;
                Ok(Event::AgentAdded(agent))
            }
            Some("AGENT_REMOVED") => {
                let id = body.agent_id.ok_or(ParseError::Shape("no agent's id"))?;
                Ok(Event::AgentRemoved(id))
            }
            Some("FRAMEWORK_ADDED" | "FRAMEWORK_UPDATED") => {
                body.framework(&mut intake).map(Event::Framework)
            }
            Some("FRAMEWORK_REMOVED") => {
                body.framework(&mut intake).map(|f| Event::FrameworkRemoved(f.id))
            }
            Some("HEARTBEAT") => Ok(Event::Heartbeat),
            Some(_) => Ok(Event::Other),
        }
    }
}

/// Reads the answer to `GET_MASTER`: where the leading master says that it is.
pub fn parse_master(bytes: &[u8]) -> Result<HostPort, ParseError> {
    let mut intake = Intake::default();
    let raw: RawMaster = document::whole(bytes, &mut intake)?;
    raw.pid.as_deref().and_then(pid::pid).ok_or(ParseError::Shape("no master's pid"))
}

fn subscribed(raw: Option<Subscribed>, intake: Intake) -> Result<Event, ParseError> {
    let raw = raw.ok_or(ParseError::Shape("no subscription"))?;
    let state = raw.state.ok_or(ParseError::Shape("no state"))?;
    if !state.has_tasks {
        return Err(ParseError::Shape("no list of tasks"));
    }
    state.lists.check(&intake)?;
    let heartbeat = raw.heartbeat.filter(|s| *s > 0.0);
    let heartbeat = heartbeat.and_then(|s| Duration::try_from_secs_f64(s).ok());
    let document = Box::new(document::finish(Leader::default(), intake));
    Ok(Event::Subscribed { document, heartbeat })
}

#[derive(Default)]
struct RawEvent {
    kind: Option<String>,
    subscribed: Option<Subscribed>,
    body: Body,
}

impl Object for RawEvent {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error> {
        match name {
            "type" => self.kind = json::text(map)?.map(|text| text.into_owned()),
            "subscribed" => self.subscribed = json::object(map, intake)?,
            "task_added" | "task_updated" | "agent_added" | "agent_removed" | "framework_added"
            | "framework_updated" | "framework_removed" => {
                self.body = json::object(map, intake)?.unwrap_or_default();
            }
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// What stands in an event; each kind of event has some of it.
#[derive(Default)]
struct Body {
    task: Option<RawTask>,
    status: Option<StatusOfTask>,
    phase: Option<Phase>,
    framework_id: Option<Arc<str>>,
    agent: Option<RawAgent>,
    agent_id: Option<Arc<str>>,
    framework: Option<RawFramework>,
}

impl Body {
    fn task_update(self) -> Result<Event, ParseError> {
        let framework = self.framework_id.ok_or(ParseError::Shape("no framework's id"))?;
        let StatusOfTask { task, status } = self.status.ok_or(ParseError::Shape("no status"))?;
        let task = task.ok_or(ParseError::Shape("no task's id"))?;
        let status = status.finish();
        let phase = self.phase.unwrap_or(status.phase);
        let status = Some(status);
        Ok(Event::TaskUpdated(Box::new(TaskUpdate { framework, task, phase, status })))
    }

    fn framework(self, intake: &mut Intake) -> Result<Framework, ParseError> {
        let framework = self.framework.ok_or(ParseError::Shape("no framework"))?;
        framework.finish(intake).map_err(ParseError::Shape)
    }
}

impl Object for Body {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error> {
        match name {
            "task" => self.task = json::object(map, intake)?,
            "status" => self.status = json::object(map, intake)?,
            "state" => self.phase = json::text(map)?.as_deref().map(Phase::parse),
            "framework_id" => self.framework_id = json::id(map)?.map(|id| intake.name(&id)),
            "agent" => self.agent = json::object(map, intake)?,
            "agent_id" => self.agent_id = json::id(map)?.map(|id| intake.name(&id)),
            "framework" => self.framework = json::object(map, intake)?,
            "framework_info" => self.framework = json::object(map, intake)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// A status with the id of its task.
#[derive(Default)]
struct StatusOfTask {
    task: Option<TaskId>,
    status: RawStatus,
}

impl Object for StatusOfTask {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error> {
        match name {
            "task_id" => self.task = json::id(map)?.map(|id| TaskId::from_text(&id)),
            _ => self.status.member(name, map, intake)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Subscribed {
    state: Option<GetState>,
    heartbeat: Option<f64>,
}

impl Object for Subscribed {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error> {
        match name {
            "get_state" => self.state = json::object(map, intake)?,
            "heartbeat_interval_seconds" => self.heartbeat = json::number(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct GetState {
    lists: Lists,
    has_tasks: bool,
}

impl Object for GetState {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error> {
        match name {
            "get_tasks" => self.has_tasks = json::object::<GetTasks, _>(map, intake)?.is_some(),
            "get_agents" => {
                let part: Option<GetAgents> = json::object(map, intake)?;
                self.lists.agents = part.map_or(Listed::Absent, |part| part.0);
            }
            "get_frameworks" => {
                let part: Option<GetFrameworks> = json::object(map, intake)?;
                self.lists.frameworks = part.map_or(Listed::Absent, |part| part.0);
            }
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

// An empty list may be left out of the three parts; the part itself must be there.

#[derive(Default)]
struct GetTasks;

impl Object for GetTasks {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error> {
        match name {
            "tasks" => document::tasks(map, intake, None),
            _ => json::skip(map),
        }
    }
}

struct GetAgents(Listed);

impl Default for GetAgents {
    fn default() -> GetAgents {
        GetAgents(Listed::Of(0))
    }
}

impl Object for GetAgents {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error> {
        match name {
            "agents" => self.0 = document::agents(map, intake)?,
            "recovered_agents" => document::recovered(map, intake)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

struct GetFrameworks(Listed);

impl Default for GetFrameworks {
    fn default() -> GetFrameworks {
        GetFrameworks(Listed::Of(0))
    }
}

impl Object for GetFrameworks {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error> {
        match name {
            "frameworks" => self.0 = document::frameworks(map, intake)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// The answer to `GET_MASTER`, at any depth of it.
#[derive(Default)]
struct RawMaster {
    pid: Option<String>,
}

impl Object for RawMaster {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error> {
        match name {
            "pid" => self.pid = json::text(map)?.map(|text| text.into_owned()),
            "get_master" | "master_info" => {
                self.pid = json::object::<RawMaster, _>(map, intake)?.and_then(|inner| inner.pid);
            }
            _ => json::skip(map)?,
        }
        Ok(())
    }
}
