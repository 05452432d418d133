//! The simulated machine: processes that outlive the control plane, and their health.

use std::collections::BTreeMap;
use std::sync::Arc;

use waymark_model::{Task, TaskId, TaskState};

/// A process.
#[derive(Clone, Debug)]
pub struct Process {
    pub task: Arc<Task>,
    pub running: bool,
    /// When it answers probes well; `u64::MAX` = never.
    pub healthy_from: u64,
    pub told_to_end: bool,
}

/// What a process does or has done, in order of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Starting(TaskId),
    Running(TaskId),
    Ended(TaskId, TaskState),
    Probe(TaskId),
    Drained(TaskId),
}

/// All processes, and what comes next.
#[derive(Default)]
pub struct Machine {
    pub processes: BTreeMap<TaskId, Process>,
    /// By time and a serial number.
    pub agenda: BTreeMap<(u64, u64), Event>,
    pub serial: u64,
    /// Ports that another program uses.
    pub foreign_ports: Vec<u16>,
}

impl Machine {
    pub fn plan(&mut self, at: u64, event: Event) {
        self.serial += 1;
        self.agenda.insert((at, self.serial), event);
    }

    /// The next event that is due.
    pub fn due(&mut self, now: u64) -> Option<Event> {
        let (key, _) = self.agenda.first_key_value()?;
        let key = *key;
        if key.0 > now {
            return None;
        }
        self.agenda.remove(&key)
    }

    pub fn next(&self) -> Option<u64> {
        self.agenda.first_key_value().map(|((at, _), _)| *at)
    }

    /// The control plane died: nobody waits for answers any more. What processes do goes on.
    pub fn forget_answers(&mut self) {
        self.agenda.retain(|_, e| !matches!(e, Event::Probe(_) | Event::Drained(_)));
    }

    pub fn port_is_free(&self, port: u16) -> bool {
        // A process that is still starting has not bound its ports yet.
        let used = |p: &Process| p.running && p.task.host_ports.contains(&Some(port));
        !self.foreign_ports.contains(&port) && !self.processes.values().any(used)
    }
}
