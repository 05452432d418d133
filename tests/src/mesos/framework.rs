//! A framework of a real Mesos that launches and kills tasks when told.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::MesosTask;
use crate::eventually;

/// One registered framework; its tasks are killed by Mesos some time after it is dropped.
pub struct Framework {
    child: Child,
    stdin: Mutex<ChildStdin>,
    seen: Arc<Mutex<Seen>>,
    launched: AtomicUsize,
    agent_host: Box<dyn Fn(usize) -> String + Send + Sync>,
}

#[derive(Default)]
struct Seen {
    id: Option<String>,
    master: Option<String>,
    /// The latest status of each task.
    statuses: HashMap<String, Value>,
}

impl Framework {
    /// Starts `framework.py` by this command, and waits until a master has registered it.
    pub(super) fn start(
        mut command: Command,
        log: &std::path::Path,
        agent_host: impl Fn(usize) -> String + Send + Sync + 'static,
    ) -> Framework {
        let errors = std::fs::File::create(log).expect("the log opens");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut child = command.spawn().expect("python3 is installed");
        let stdin = Mutex::new(child.stdin.take().expect("it is a pipe"));
        let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let listener = seen.clone();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                listener.lock().expect("nobody panicked").read(&line);
            }
        });
        let framework = Framework {
            child,
            stdin,
            seen,
            launched: AtomicUsize::new(0),
            agent_host: Box::new(agent_host),
        };
        eventually("the framework is registered", || framework.seen().id.clone());
        framework
    }

    /// Its id.
    pub fn id(&self) -> String {
        self.seen().id.clone().expect("it is registered")
    }

    /// Address and port of the master that it last subscribed to.
    pub fn master(&self) -> String {
        self.seen().master.clone().expect("it is registered")
    }

    /// Has it launch a task, and gives the task's id; waits for nothing.
    pub fn launch(&self, task: MesosTask) -> String {
        let number = self.launched.fetch_add(1, Ordering::Relaxed);
        let id = match task.task_id() {
            Some(id) => id.to_owned(),
            None => format!("{}.{number}", task.name()),
        };
        let line = task.id(&id).line(&self.agent_host);
        self.tell(&line);
        id
    }

    /// Has it launch a task and waits until it runs.
    pub fn run(&self, task: MesosTask) -> String {
        let id = self.launch(task);
        self.wait_for(&id, "TASK_RUNNING");
        id
    }

    /// Has it kill a task that it launched; waits for nothing.
    pub fn kill(&self, id: &str) {
        self.tell(&serde_json::json!({"kill": id}).to_string());
    }

    /// The latest status (`TaskStatus`) that it got for a task; `at` is when, in Unix seconds.
    pub fn status(&self, id: &str) -> Option<Value> {
        self.seen().statuses.get(id).cloned()
    }

    /// Waits until the latest state of a task is this one, and gives the status.
    pub fn wait_for(&self, id: &str, state: &str) -> Value {
        eventually(&format!("{id} is {state}"), || {
            let status = self.status(id)?;
            let now = status["state"].as_str().unwrap_or_default();
            let over = ["TASK_FAILED", "TASK_ERROR", "TASK_DROPPED"];
            assert!(now == state || !over.contains(&now), "{status}");
            (now == state).then_some(status)
        })
    }

    fn tell(&self, line: &str) {
        let mut stdin = self.stdin.lock().expect("nobody panicked");
        writeln!(stdin, "{line}").expect("the framework reads");
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("nobody panicked")
    }
}

impl Seen {
    fn read(&mut self, line: &str) {
        let said: Value = serde_json::from_str(line).expect("it writes JSON");
        let text = |v: &Value| v.as_str().map(str::to_owned);
        if let Some(id) = text(&said["subscribed"]) {
            self.id = Some(id);
            self.master = text(&said["master"]);
        } else if let Some(task) = text(&said["update"]["task_id"]["value"]) {
            let mut status = said["update"].clone();
            status["at"] = said["at"].clone();
            self.statuses.insert(task, status);
        }
    }
}

impl Drop for Framework {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
