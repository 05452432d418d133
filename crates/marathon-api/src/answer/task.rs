//! A task, as a Marathon tells of it.

use std::net::IpAddr;
use std::sync::Arc;

use waymark_model::{TaskId, Timestamp};

use crate::app::timestamp;
use crate::reader::{Fields, boolean, list, literal, object, port, string};

/// What a Marathon says about one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskFacts {
    /// The task.
    pub id: TaskId,
    /// The agent's id; empty when it was not said.
    pub agent: String,
    /// The agent's host name or address; empty when it was not said.
    pub host: Arc<str>,
    /// Its host ports, in order.
    pub ports: Vec<u16>,
    /// Its addresses; in host mode the agent's.
    pub addresses: Vec<IpAddr>,
    /// Where in its life it is.
    pub phase: Phase,
    /// What each health check that has a result found last: alive or not.
    pub results: Vec<bool>,
    /// The app's version that it was started from.
    pub version: Timestamp,
}

/// Where in its life a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It does not run yet.
    Coming,
    /// It runs, or nobody has said otherwise: a task that is lost or unreachable may well answer, and
    /// marathon-lb sends to it, too.
    Running,
    /// It was told to end.
    Leaving,
    /// It runs no more.
    Ended,
}

impl Phase {
    /// The phase of a task in the state with this Mesos name; states not known here count as
    /// running.
    fn of(state: &str) -> Phase {
        match state {
            "TASK_STAGING" | "TASK_STARTING" => Phase::Coming,
            "TASK_KILLING" => Phase::Leaving,
            "TASK_FINISHED"
            | "TASK_FAILED"
            | "TASK_KILLED"
            | "TASK_ERROR"
            | "TASK_DROPPED"
            | "TASK_GONE"
            | "TASK_GONE_BY_OPERATOR"
            | "TASK_UNKNOWN" => Phase::Ended,
            _ => Phase::Running,
        }
    }
}

pub(super) fn facts(f: &mut Fields<'_, '_>) -> TaskFacts {
    let text = |f: &mut Fields<'_, '_>, name| f.read(name, string).unwrap_or_default();
    let state = f.read("state", string);
    // Old ones tell the state by the times only.
    let staged = f.has("stagedAt") && !f.has("startedAt");
    let phase = match state {
        Some(state) => Phase::of(&state),
        None if staged => Phase::Coming,
        None => Phase::Running,
    };
    // A check that has not said anything yet has no entry, or in old ones null.
    let results = f.read("healthCheckResults", |node, errors| {
        let one = object(|f| f.read("alive", boolean).unwrap_or(false));
        list(|node, errors| match node.value.is_null() {
            true => Some(None),
            false => one(node, errors).map(Some),
        })(node, errors)
    });
    let address = object(|f| f.read("ipAddress", literal(|text| text.parse().ok())));
    let addresses = f.read("ipAddresses", list(address)).unwrap_or_default();
    TaskFacts {
        id: TaskId::from_text(&f.need("id", string)),
        agent: text(f, "slaveId"),
        host: text(f, "host").into(),
        ports: f.read("ports", list(port)).unwrap_or_default(),
        addresses: addresses.into_iter().flatten().map(|a: IpAddr| a.to_canonical()).collect(),
        phase,
        results: results.unwrap_or_default().into_iter().flatten().collect(),
        version: f.read("version", timestamp).unwrap_or(Timestamp::ZERO),
    }
}
