//! What a framework is told to launch.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// A task for [`Framework::launch`](crate::Framework::launch). Its command sleeps.
#[derive(Clone, Debug)]
pub struct MesosTask {
    info: Value,
    ports: Vec<u16>,
    agent: Option<usize>,
    kind: &'static str,
    status: Value,
}

impl MesosTask {
    /// A task of this name with a command executor and an id made from the name.
    pub fn new(name: &str) -> MesosTask {
        let info = json!({
            "name": name,
            "command": {"shell": true, "value": "exec sleep 100000"},
        });
        MesosTask { info, ports: Vec::new(), agent: None, kind: "command", status: Value::Null }
    }

    /// Sets its id.
    pub fn id(self, id: &str) -> MesosTask {
        self.member("task_id", json!({"value": id}))
    }

    /// Gives it one more host port, which the agent must offer (31000 to 32000).
    pub fn port(mut self, port: u16) -> MesosTask {
        self.ports.push(port);
        self
    }

    /// Sets its `DiscoveryInfo`.
    pub fn discovery(self, discovery: Value) -> MesosTask {
        self.member("discovery", discovery)
    }

    /// Adds a label.
    pub fn label(mut self, key: &str, value: &str) -> MesosTask {
        let mut labels = self.info["labels"]["labels"].take();
        match labels.as_array_mut() {
            Some(list) => list.push(json!({"key": key, "value": value})),
            None => labels = json!([{"key": key, "value": value}]),
        }
        self.member("labels", json!({"labels": labels}))
    }

    /// Sets its `HealthCheckInfo` or any other member of its `TaskInfo`.
    pub fn member(mut self, name: &str, value: Value) -> MesosTask {
        self.info[name] = value;
        self
    }

    /// Sets its command line.
    pub fn command(mut self, line: &str) -> MesosTask {
        self.info["command"]["value"] = json!(line);
        self
    }

    /// Has its executor add these members to each status, as container runtimes do
    /// (`container_status`, `labels`).
    pub fn status(mut self, members: Value) -> MesosTask {
        self.status = members;
        self
    }

    /// Has its executor report these container addresses, one network each.
    pub fn networks(self, addresses: &[&str]) -> MesosTask {
        let networks: Vec<Value> = addresses
            .iter()
            .map(|a| json!({"name": "net", "ip_addresses": [{"ip_address": a}]}))
            .collect();
        self.status(json!({"container_status": {"network_infos": networks}}))
    }

    /// Wants this agent; else any.
    pub fn on(mut self, agent: usize) -> MesosTask {
        self.agent = Some(agent);
        self
    }

    /// Launches it as a task group with the default executor.
    pub fn pod(mut self) -> MesosTask {
        self.kind = "pod";
        self
    }

    /// Launches it in an executor that all such tasks on an agent share and that starts no process
    /// for them: for many tasks.
    pub fn shared(mut self) -> MesosTask {
        self.kind = "shared";
        self
    }

    /// Its id, if it was set.
    pub(crate) fn task_id(&self) -> Option<&str> {
        self.info["task_id"]["value"].as_str()
    }

    pub(crate) fn name(&self) -> &str {
        self.info["name"].as_str().unwrap_or_default()
    }

    /// The line that the framework reads; `host` gives an agent's host name.
    pub(crate) fn line(mut self, host: impl Fn(usize) -> String) -> String {
        if !self.status.is_null() {
            let text = self.status.to_string();
            if self.kind == "shared" {
                self.info["data"] = json!(BASE64_STANDARD.encode(text));
            } else {
                let variables = json!([{"name": "STATUS", "value": text}]);
                self.info["command"]["environment"] = json!({"variables": variables});
            }
        }
        let launch = json!({
            "task": self.info, "ports": self.ports, "kind": self.kind, "agent": self.agent.map(host),
        });
        json!({"launch": launch}).to_string()
    }
}
