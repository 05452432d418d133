//! What client commands read of the API's documents, and how it is shown.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use waymark_model::Timestamp;

/// An app as lists and details need it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct App {
    pub id: String,
    pub cmd: Option<String>,
    pub args: Vec<String>,
    pub instances: u32,
    pub cpus: f64,
    pub mem: f64,
    pub version: String,
    pub tasks_staged: u32,
    pub tasks_running: u32,
    pub tasks_healthy: u32,
    pub tasks_unhealthy: u32,
    pub health_checks: Vec<serde_json::Value>,
    pub port_definitions: Vec<Port>,
    pub container: Option<Container>,
    pub deployments: Vec<Deployment>,
    pub last_task_failure: Option<Failure>,
}

/// A container, for its ports.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    pub port_mappings: Vec<Port>,
}

/// A port in either notation.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    pub port: u16,
    pub service_port: u16,
}

/// A deployment by its id, or with how far it has got.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Deployment {
    pub id: String,
    pub affected_apps: Vec<String>,
    pub current_step: usize,
    pub total_steps: usize,
    pub current_actions: Vec<Action>,
}

/// What a deployment does now.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Action {
    pub action: String,
    pub app: String,
}

/// How a task of an app failed last.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Failure {
    pub task_id: String,
    pub state: String,
    pub message: String,
    pub timestamp: String,
}

/// A task.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Task {
    pub id: String,
    pub app_id: String,
    pub state: String,
    pub host: String,
    pub ports: Vec<u16>,
    pub started_at: Option<String>,
    pub health_check_results: Vec<Health>,
}

/// The result of one health check.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Health {
    pub alive: bool,
    pub last_failure_cause: Option<String>,
}

impl App {
    /// Tasks that are as they should be: healthy if there are health checks, else running.
    pub fn good(&self) -> u32 {
        if self.health_checks.is_empty() { self.tasks_running } else { self.tasks_healthy }
    }

    /// `2/3`: good of wanted.
    pub fn good_of_wanted(&self) -> String {
        format!("{}/{}", self.good(), self.instances)
    }

    /// Its service ports, joined.
    pub fn service_ports(&self) -> String {
        let mappings = self.container.as_ref().map_or(&[][..], |c| &c.port_mappings);
        let ports: Vec<String> = if mappings.is_empty() {
            self.port_definitions.iter().map(|p| p.port.to_string()).collect()
        } else {
            mappings.iter().map(|p| p.service_port.to_string()).collect()
        };
        ports.join(" ")
    }

    /// One word on how it is.
    pub fn condition(&self) -> &'static str {
        if !self.deployments.is_empty() {
            "deploying"
        } else if self.instances == 0 {
            "suspended"
        } else if self.good() >= self.instances {
            "running"
        } else if self.tasks_unhealthy > 0 {
            "unhealthy"
        } else {
            "waiting"
        }
    }
}

impl Task {
    /// One word on its health; empty without health checks.
    pub fn health(&self) -> &'static str {
        match self.health_check_results.as_slice() {
            [] => "",
            results if results.iter().all(|r| r.alive) => "healthy",
            _ => "unhealthy",
        }
    }

    /// Its addresses, joined.
    pub fn addresses(&self) -> String {
        if self.ports.is_empty() {
            return self.host.clone();
        }
        let addresses: Vec<String> =
            self.ports.iter().map(|port| format!("{}:{port}", self.host)).collect();
        addresses.join(" ")
    }

    /// Its state without the prefix that all states have, in lower case.
    pub fn state(&self) -> String {
        self.state.trim_start_matches("TASK_").to_lowercase()
    }
}

/// How long ago a timestamp of the API was, roughly: `12s`, `5m`, `3h`, `2d`.
pub fn age(timestamp: Option<&str>) -> String {
    let Some(at) = timestamp.and_then(Timestamp::parse) else { return String::new() };
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    rough((Timestamp::ZERO + since_epoch).since(at))
}

/// A span in its largest unit.
pub fn rough(span: Duration) -> String {
    match span.as_secs() {
        s @ 0..120 => format!("{s}s"),
        s @ 120..7200 => format!("{}m", s / 60),
        s @ 7200..172_800 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        let app = |json: &str| serde_json::from_str::<App>(json).unwrap().condition();
        for (json, want) in [
            (r#"{"instances":0}"#, "suspended"),
            (r#"{"instances":1,"tasksRunning":1}"#, "running"),
            (r#"{"instances":1,"tasksRunning":1,"healthChecks":[{}]}"#, "waiting"),
            (r#"{"instances":1,"tasksUnhealthy":1,"healthChecks":[{}]}"#, "unhealthy"),
            (r#"{"instances":1,"deployments":[{"id":"x"}]}"#, "deploying"),
        ] {
            assert_eq!(app(json), want, "{json}");
        }
    }

    #[test]
    fn spans() {
        for (seconds, want) in
            [(5, "5s"), (119, "119s"), (600, "10m"), (7200, "2h"), (1 << 20, "12d")]
        {
            assert_eq!(rough(Duration::from_secs(seconds)), want);
        }
    }
}
