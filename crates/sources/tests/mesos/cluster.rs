//! Small states and what a source makes of them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use waymark_catalog::{Freshness, Reader, Standing, Writer};
use waymark_mesos_api::recordio;
use waymark_model::Catalog;
use waymark_sources::mesos::{MesosConfig, MesosReport, MesosSource, MesosStatus};

use crate::server::Asked;

/// Nothing here takes as long on a working machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A `/master/state` of a master at `leader` with so many running tasks.
pub fn state(leader: &str, tasks: usize) -> Value {
    let tasks: Vec<Value> = (0..tasks)
        .map(|n| {
            json!({"id": format!("t.{n}"), "name": format!("t{n}"), "slave_id": "S0",
            "state": "TASK_RUNNING", "statuses": [{"state": "TASK_RUNNING", "timestamp": 1.0}],
            "resources": {"ports": "[31000-31000]"}})
        })
        .collect();
    json!({"leader": format!("master@{leader}"), "pid": format!("master@{leader}"),
        "slaves": [{"id": "S0", "pid": "slave(1)@10.0.0.1:5051", "hostname": "n"}],
        "frameworks": [{"id": "F", "name": "marathon", "hostname": "10.0.0.9",
            "pid": "scheduler@10.0.0.9:1234", "tasks": tasks}]})
}

fn v1_task(n: usize) -> Value {
    json!({"task_id": {"value": format!("t.{n}")}, "name": format!("t{n}"),
        "framework_id": {"value": "F"}, "agent_id": {"value": "S0"}, "state": "TASK_RUNNING",
        "statuses": [{"state": "TASK_RUNNING", "timestamp": 1.0}],
        "resources": [{"name": "ports", "ranges": {"range": [{"begin": 31000, "end": 31000}]}}]})
}

/// The same state as the first record of a stream.
pub fn subscribed(tasks: usize, heartbeat: f64) -> Vec<u8> {
    let tasks: Vec<Value> = (0..tasks).map(v1_task).collect();
    record(&json!({"type": "SUBSCRIBED", "subscribed": {"heartbeat_interval_seconds": heartbeat,
        "get_state": {"get_tasks": {"tasks": tasks},
            "get_agents": {"agents": [{"agent_info": {"id": {"value": "S0"}, "hostname": "n"},
                "pid": "slave(1)@10.0.0.1:5051"}]},
            "get_frameworks": {"frameworks": [{"framework_info": {"id": {"value": "F"},
                "name": "marathon", "hostname": "10.0.0.9"}}]}}}}))
}

/// A task that starts, as a record.
pub fn added(n: usize) -> Vec<u8> {
    record(&json!({"type": "TASK_ADDED", "task_added": {"task": v1_task(n)}}))
}

/// A task's new state, as a record.
pub fn updated(n: usize, state: &str) -> Vec<u8> {
    let status = json!({"task_id": {"value": format!("t.{n}")}, "state": state, "timestamp": 2.0});
    record(&json!({"type": "TASK_UPDATED", "task_updated": {"framework_id": {"value": "F"},
        "state": state, "status": status}}))
}

fn record(value: &Value) -> Vec<u8> {
    recordio::encode(value.to_string().as_bytes())
}

/// The answer to `GET_MASTER`.
pub fn master(at: &str) -> Value {
    json!({"type": "GET_MASTER", "get_master": {"master_info": {"pid": format!("master@{at}")}}})
}

/// The call of the v1 API that a master is asked with.
pub fn call(asked: &Asked) -> &str {
    asked.body.strip_prefix(r#"{"type":""#).and_then(|b| b.strip_suffix(r#""}"#)).unwrap_or("")
}

/// Settings for masters that answer quickly.
pub fn config(masters: &[&str]) -> MesosConfig {
    MesosConfig {
        masters: masters.iter().map(|m| (*m).to_owned()).collect(),
        refresh: Duration::from_millis(50),
        state_timeout: Duration::from_millis(700),
        ..MesosConfig::default()
    }
}

/// A source that follows.
pub struct Following {
    pub reader: Reader,
    pub freshness: Freshness,
    pub status: MesosStatus,
    pub task: tokio::task::JoinHandle<()>,
}

impl Following {
    pub fn start(config: MesosConfig) -> Following {
        let source = MesosSource::new(config).unwrap();
        let (writer, reader) = Writer::new(source.last_version());
        let (freshness, status) = (source.freshness(), source.status());
        let task = tokio::spawn(source.run(writer));
        Following { reader, freshness, status, task }
    }

    /// Waits until the source is as wanted.
    pub async fn until(&self, wanted: impl Fn(&Catalog, &Standing, &MesosReport) -> bool) {
        let start = Instant::now();
        loop {
            let standing = self.freshness.standing(Instant::now());
            let (catalog, report) = (self.reader.latest(), self.status.report());
            if wanted(&catalog, &standing, &report) {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "{standing:?} {report:?} {catalog:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until there are so many tasks.
    pub async fn until_tasks(&self, tasks: usize) {
        self.until(|catalog, standing, _| {
            catalog.cluster.tasks() == tasks && matches!(standing, Standing::Fresh(_))
        })
        .await;
    }

    /// Waits until the source is lost for a reason with this in it.
    pub async fn until_lost(&self, why: &str) {
        self.until(|_, standing, _| {
            matches!(
                standing,
                Standing::Stale { reason, .. } | Standing::Silent { reason: Some(reason) }
                    if reason.contains(why)
            )
        })
        .await;
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}
