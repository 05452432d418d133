//! What reading a document fills: the elements found so far, the names they share, and what was
//! left out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use waymark_model::ClusterAgent;

use crate::document::{Agent, Framework, Skipped};
use crate::task::Task;

/// What is being filled.
#[derive(Default)]
pub(crate) struct Intake {
    pub agents: Vec<Agent>,
    pub frameworks: Vec<Framework>,
    pub tasks: Vec<Task>,
    /// Ids of agents that the master knows from its registry and that have not come back yet.
    pub recovered: Vec<Arc<str>>,
    /// How many tasks stood in the lists.
    pub tasks_seen: usize,
    /// How many of them had ended or could be read.
    pub tasks_sound: usize,
    pub skipped: Skipped,
    /// Host ports read so far, over all tasks.
    pub ports: usize,
    names: HashSet<Arc<str>, RandomState>,
    unlisted: HashMap<Arc<str>, Arc<ClusterAgent>, RandomState>,
}

impl Intake {
    /// The one copy of a name that many elements share.
    pub fn name(&mut self, text: &str) -> Arc<str> {
        if let Some(name) = self.names.get(text) {
            return name.clone();
        }
        let name: Arc<str> = Arc::from(text);
        self.names.insert(name.clone());
        name
    }

    /// What stands for an agent of which nothing but the id is known.
    pub fn unlisted_agent(&mut self, id: &str) -> Arc<ClusterAgent> {
        if let Some(agent) = self.unlisted.get(id) {
            return agent.clone();
        }
        let id = self.name(id);
        let agent = Arc::new(ClusterAgent {
            id: id.clone(),
            hostname: Arc::from(""),
            addresses: Vec::new(),
            port: 0,
        });
        self.unlisted.insert(id, agent.clone());
        agent
    }

    /// Counts something that was left out.
    pub fn skip(&mut self, reason: &'static str) {
        *self.skipped.entry(reason).or_default() += 1;
    }
}
