//! A small master: it changes as a real one does, and tells its state both as `/master/state` and
//! as the v1 API with its events.

use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub struct Status {
    pub state: &'static str,
    pub time: f64,
    pub address: u8,
    pub healthy: Option<bool>,
}

#[derive(Clone, Debug)]
pub struct Task {
    pub id: String,
    pub name: String,
    pub framework: usize,
    pub agent: usize,
    pub state: &'static str,
    pub statuses: Vec<Status>,
    pub discovery: bool,
    pub checked: bool,
    pub ports: Vec<u16>,
}

#[derive(Clone, Debug, Default)]
pub struct Master {
    pub agents: Vec<usize>,
    pub frameworks: Vec<usize>,
    pub tasks: Vec<Task>,
    pub time: f64,
}

const GONE: [&str; 3] = ["TASK_FINISHED", "TASK_FAILED", "TASK_UNREACHABLE"];

/// One thing that happens; numbers choose among what there is.
#[derive(Clone, Debug)]
pub enum Step {
    Agent(usize),
    AgentGone(usize),
    Framework(usize),
    FrameworkGone(usize),
    Launch { id: usize, name: usize, framework: usize, agent: usize, odd: bool },
    Update { task: usize, state: usize, healthy: Option<bool>, address: u8, back: bool },
}

impl Master {
    /// Does it; the events that tell it.
    pub fn step(&mut self, step: &Step) -> Vec<Value> {
        self.time += 1.0;
        match step {
            Step::Agent(n) if !self.agents.contains(n) => {
                self.agents.push(*n);
                vec![json!({"type": "AGENT_ADDED", "agent_added": {"agent": v1_agent(*n)}})]
            }
            Step::AgentGone(n) if self.agents.contains(n) => {
                let mut events = self.end_tasks(|task| task.agent == *n);
                self.agents.retain(|agent| agent != n);
                let id = json!({"value": format!("a-S{n}")});
                events.push(json!({"type": "AGENT_REMOVED", "agent_removed": {"agent_id": id}}));
                events
            }
            Step::Framework(n) if !self.frameworks.contains(n) => {
                self.frameworks.push(*n);
                let framework = v1_framework(*n);
                vec![
                    json!({"type": "FRAMEWORK_ADDED", "framework_added": {"framework": framework}}),
                ]
            }
            Step::FrameworkGone(n) if self.frameworks.contains(n) => {
                let mut events = self.end_tasks(|task| task.framework == *n);
                self.frameworks.retain(|framework| framework != n);
                let info = v1_framework(*n)["framework_info"].clone();
                let body = json!({"framework_info": info});
                events.push(json!({"type": "FRAMEWORK_REMOVED", "framework_removed": body}));
                events
            }
            Step::Launch { .. } => self.launch(step),
            Step::Update { .. } => self.update(step),
            _ => Vec::new(),
        }
    }

    fn end_tasks(&mut self, which: impl Fn(&Task) -> bool) -> Vec<Value> {
        let (gone, stay): (Vec<Task>, Vec<Task>) =
            std::mem::take(&mut self.tasks).into_iter().partition(which);
        self.tasks = stay;
        let status = |time| Status { state: "TASK_LOST", time, address: 0, healthy: None };
        gone.iter().map(|task| updated(task, "TASK_LOST", &status(self.time))).collect()
    }

    fn launch(&mut self, step: &Step) -> Vec<Value> {
        let Step::Launch { id, name, framework, agent, odd } = step else { return Vec::new() };
        let id = format!("task.{id}");
        let (framework, agent) =
            match (pick(&self.frameworks, *framework), pick(&self.agents, *agent)) {
                (Some(framework), Some(agent)) => (*framework, *agent),
                _ => return Vec::new(),
            };
        if self.tasks.iter().any(|t| t.id == id && t.framework == framework) {
            return Vec::new();
        }
        let port = 31_000 + self.time as u16 % 100;
        let task = Task {
            id,
            name: format!("name-{name}"),
            framework,
            agent,
            state: "TASK_STAGING",
            statuses: Vec::new(),
            discovery: *odd,
            checked: *odd,
            ports: vec![port, port + 1, port + 7],
        };
        self.tasks.push(task.clone());
        vec![json!({"type": "TASK_ADDED", "task_added": {"task": v1_task(&task)}})]
    }

    fn update(&mut self, step: &Step) -> Vec<Value> {
        let Step::Update { task, state, healthy, address, back } = step else { return Vec::new() };
        let count = self.tasks.len();
        if count == 0 {
            return Vec::new();
        }
        let all = ["TASK_STARTING", "TASK_RUNNING", "TASK_RUNNING", "TASK_KILLING"];
        let state = *all.iter().chain(&GONE).nth(state % (all.len() + GONE.len())).unwrap();
        let time = if *back { self.time - 3.5 } else { self.time };
        let status = Status { state, time, address: *address, healthy: *healthy };
        let n = task % count;
        let task = &mut self.tasks[n];
        if GONE.contains(&task.state) {
            return Vec::new();
        }
        task.state = state;
        if task.statuses.last().is_some_and(|last| last.state == state) {
            task.statuses.pop();
        }
        task.statuses.push(status.clone());
        let event = updated(task, state, &status);
        // A task that ended stays listed until its scheduler has said that it knows.
        if state == "TASK_UNREACHABLE" || (GONE.contains(&state) && !back) {
            self.tasks.remove(n);
        }
        vec![event]
    }

    /// The whole as `/master/state`.
    pub fn state(&self) -> Value {
        let frameworks: Vec<Value> = self
            .frameworks
            .iter()
            .map(|n| {
                let tasks = self.tasks.iter().filter(|t| t.framework == *n).map(old_task);
                let tasks: Vec<Value> = tasks.collect();
                json!({"tasks": tasks, "id": format!("f-{n}"), "name": format!("fw{}", n % 2),
                "hostname": "10.9.9.9", "completed_tasks": [{"id": "x", "state": "TASK_RUNNING"}]})
            })
            .collect();
        let agents: Vec<Value> = self
            .agents
            .iter()
            .map(|n| {
                json!({"id": format!("a-S{n}"), "hostname": format!("node{n}"), "port": 5051,
                "pid": format!("slave(1)@10.0.0.{n}:5051"), "resources": {"ports": "[1-2]"}})
            })
            .collect();
        json!({"pid": "master@10.1.1.1:5050", "leader": "master@10.1.1.1:5050",
            "frameworks": frameworks, "slaves": agents, "orphan_tasks": []})
    }

    /// The whole as `SUBSCRIBED`.
    pub fn subscribed(&self) -> Value {
        let tasks: Vec<Value> = self.tasks.iter().map(v1_task).collect();
        let agents: Vec<Value> = self.agents.iter().map(|n| v1_agent(*n)).collect();
        let frameworks: Vec<Value> = self.frameworks.iter().map(|n| v1_framework(*n)).collect();
        json!({"type": "SUBSCRIBED", "subscribed": {"heartbeat_interval_seconds": 15.0,
            "get_state": {"get_tasks": {"tasks": tasks}, "get_executors": {},
                "get_frameworks": {"frameworks": frameworks}, "get_agents": {"agents": agents}}}})
    }
}

fn pick<T>(list: &[T], n: usize) -> Option<&T> {
    list.get(n.checked_rem(list.len())?)
}

fn updated(task: &Task, state: &str, status: &Status) -> Value {
    let mut told = v1_status(status);
    told["task_id"] = json!({"value": task.id});
    json!({"type": "TASK_UPDATED", "task_updated": {"state": state, "status": told,
        "framework_id": {"value": format!("f-{}", task.framework)}}})
}

fn v1_agent(n: usize) -> Value {
    json!({"agent_info": {"hostname": format!("node{n}"), "port": 5051,
        "id": {"value": format!("a-S{n}")}}, "active": true,
        "pid": format!("slave(1)@10.0.0.{n}:5051")})
}

fn v1_framework(n: usize) -> Value {
    json!({"framework_info": {"user": "root", "name": format!("fw{}", n % 2),
        "hostname": "10.9.9.9", "id": {"value": format!("f-{n}")}}, "active": true})
}

fn v1_status(status: &Status) -> Value {
    let network = json!({"ip_addresses": [{"ip_address": format!("172.16.0.{}", status.address)}]});
    let mut told = json!({"state": status.state, "timestamp": status.time,
        "container_status": {"network_infos": [network]}});
    if let Some(healthy) = status.healthy {
        told["healthy"] = json!(healthy);
    }
    told
}

fn v1_task(task: &Task) -> Value {
    let ranges: Vec<Value> =
        task.ports.iter().rev().map(|p| json!({"begin": p, "end": p})).collect();
    let mut told = json!({"name": task.name, "task_id": {"value": task.id}, "state": task.state,
        "framework_id": {"value": format!("f-{}", task.framework)},
        "agent_id": {"value": format!("a-S{}", task.agent)},
        "statuses": task.statuses.iter().map(v1_status).collect::<Vec<_>>(),
        "labels": {"labels": [{"key": "k", "value": "old"}, {"key": "k", "value": "v"}]},
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}},
            {"name": "ports", "type": "RANGES", "ranges": {"range": ranges}}]});
    odd(task, &mut told);
    told
}

fn old_task(task: &Task) -> Value {
    let ranges: Vec<String> = task.ports.iter().map(|p| format!("{p}-{p}")).collect();
    let mut told = json!({"name": task.name, "id": task.id, "state": task.state,
        "framework_id": format!("f-{}", task.framework), "slave_id": format!("a-S{}", task.agent),
        "statuses": task.statuses.iter().map(v1_status).collect::<Vec<_>>(),
        "labels": [{"key": "k", "value": "old"}, {"key": "k", "value": "v"}],
        "resources": {"cpus": 1.0, "ports": format!("[{}]", ranges.join(", "))}});
    odd(task, &mut told);
    told
}

fn odd(task: &Task, told: &mut Value) {
    if task.discovery {
        let ports = json!({"ports": [{"number": 80, "name": "http", "protocol": "tcp"}]});
        told["discovery"] = json!({"name": format!("found.{}", task.name), "ports": ports});
    }
    if task.checked {
        told["health_check"] = json!({"type": "TCP"});
    }
}
