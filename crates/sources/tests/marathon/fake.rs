//! A Marathon whose apps a test sets, and a source that follows it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use waymark_catalog::{Freshness, Reader, Standing, Writer};
use waymark_model::Catalog;
use waymark_sources::marathon::{MarathonConfig, MarathonReport, MarathonSource, MarathonStatus};

use crate::server::{Asked, Reply, Server};

/// Nothing here takes as long on a working machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

type Fault = Box<dyn FnMut(&Asked) -> Option<Reply> + Send>;
type Feed = mpsc::UnboundedSender<Vec<u8>>;

/// What the Marathon has and how it answers.
pub struct World {
    pub apps: BTreeMap<String, Value>,
    pub leader: String,
    pub pods: usize,
    /// What is answered in place of the right answer, while it is there.
    pub fault: Option<Fault>,
    streams: Vec<Feed>,
}

/// A Marathon.
#[derive(Clone)]
pub struct Fake {
    pub server: Server,
    world: Arc<Mutex<World>>,
}

impl Fake {
    pub async fn start(apps: &[Value]) -> Fake {
        let server = Server::start().await;
        let leader = server.addr.to_string();
        let world =
            World { apps: BTreeMap::new(), leader, pods: 1, fault: None, streams: Vec::new() };
        let fake = Fake { server, world: Arc::new(Mutex::new(world)) };
        apps.iter().for_each(|app| fake.put(app.clone()));
        let serving = fake.clone();
        fake.server.answer(move |asked| serving.reply(asked));
        fake
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.addr)
    }

    pub fn with<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.world.lock().unwrap())
    }

    /// Puts an app in, without a word.
    pub fn put(&self, app: Value) {
        let id = app["id"].as_str().unwrap().to_owned();
        self.with(|world| world.apps.insert(id, app));
    }

    /// From now on answers so where the function says something.
    pub fn fail(&self, fault: impl FnMut(&Asked) -> Option<Reply> + Send + 'static) {
        self.with(|world| world.fault = Some(Box::new(fault)));
    }

    pub fn mend(&self) {
        self.with(|world| world.fault = None);
    }

    /// Sends an event to all streams.
    pub fn event(&self, kind: &str, mut data: Value) {
        data["eventType"] = kind.into();
        let text = format!("event: {kind}\r\ndata: {data}\r\n\r\n").into_bytes();
        self.with(|world| world.streams.retain(|feed| feed.send(text.clone()).is_ok()));
    }

    /// Sends a sign of life to all streams.
    pub fn beat(&self) {
        self.with(|world| world.streams.retain(|feed| feed.send(b"\r\n".to_vec()).is_ok()));
    }

    /// Ends all streams.
    pub fn hang_up(&self) {
        self.with(|world| world.streams.clear());
    }

    /// How often something was asked for that begins so.
    pub fn asked(&self, path: &str) -> usize {
        self.server.asked().iter().filter(|asked| asked.path.starts_with(path)).count()
    }

    fn reply(&self, asked: &Asked) -> Reply {
        let mut world = self.world.lock().unwrap();
        if let Some(fault) = &mut world.fault
            && let Some(reply) = fault(asked)
        {
            return reply;
        }
        assert!(asked.body.is_empty(), "only questions are asked");
        let path = asked.path.split('?').next().unwrap_or_default();
        match path {
            "/v2/info" => Reply::json(json!({"name": "mine", "version": "1.8.222",
                "leader": world.leader, "elected": true, "frameworkId": "F"})),
            "/v2/events" => {
                let (feed, pieces) = mpsc::unbounded_channel();
                let hello = "event: event_stream_attached\r\ndata: \
                             {\"eventType\":\"event_stream_attached\"}\r\n\r\n";
                let _ = feed.send(hello.as_bytes().to_vec());
                world.streams.push(feed);
                Reply::Pieces(pieces)
            }
            "/v2/apps" => Reply::json(json!({"apps": world.apps.values().collect::<Vec<_>>()})),
            "/v2/pods" => Reply::json(json!(vec![json!({"id": "/p"}); world.pods])),
            path => match path.strip_prefix("/v2/apps").and_then(|id| world.apps.get(id)) {
                Some(app) => Reply::json(json!({"app": app})),
                None => gone(path),
            },
        }
    }
}

/// Marathon's word that there is no such app.
pub fn gone(path: &str) -> Reply {
    let id = path.strip_prefix("/v2/apps").unwrap_or_default();
    let body = json!({"message": format!("App '{id}' does not exist")}).to_string();
    Reply::Full(404, "", body.into_bytes())
}

/// An app in host mode with one port and so many tasks, each on a port of its own from 31000.
pub fn app(id: &str, service_port: u16, tasks: u16) -> Value {
    let tasks: Vec<Value> = (0..tasks).map(|n| task(id, n)).collect();
    json!({"id": id, "instances": tasks.len(), "labels": {"HAPROXY_GROUP": "external"},
        "networks": [{"mode": "host"}], "version": "2026-01-05T10:00:00.000Z",
        "portDefinitions": [{"port": service_port, "protocol": "tcp", "name": "default"}],
        "tasks": tasks})
}

pub fn task(app: &str, n: u16) -> Value {
    let path = app.trim_start_matches('/').replace('/', "_");
    json!({"id": format!("{path}.instance-{n}._app.1"), "appId": app, "state": "TASK_RUNNING",
        "host": "127.0.0.1", "ports": [31000 + n], "slaveId": "S0",
        "ipAddresses": [{"ipAddress": "127.0.0.1", "protocol": "IPv4"}],
        "startedAt": "2026-01-05T10:00:00.000Z", "version": "2026-01-05T10:00:00.000Z"})
}

/// Settings for Marathons that answer quickly.
pub fn config(urls: &[String]) -> MarathonConfig {
    MarathonConfig {
        urls: urls.to_vec(),
        refresh: Duration::from_secs(300),
        poll: Duration::from_millis(50),
        timeout: Duration::from_secs(2),
        max_backoff: Duration::from_millis(50),
        believe_gone: Duration::from_millis(300),
        believe_empty: Duration::from_millis(1500),
        ..MarathonConfig::default()
    }
}

/// A source that follows.
pub struct Following {
    pub reader: Reader,
    pub freshness: Freshness,
    pub status: MarathonStatus,
    task: tokio::task::JoinHandle<()>,
}

impl Following {
    pub fn start(config: MarathonConfig) -> Following {
        let source = MarathonSource::new(config).unwrap();
        let (writer, reader) = Writer::new(source.last_version());
        let (freshness, status) = (source.freshness(), source.status());
        let task = tokio::spawn(source.run(writer));
        Following { reader, freshness, status, task }
    }

    /// Follows the Marathon and has read everything once.
    pub async fn of(fake: &Fake) -> Following {
        let following = Following::start(config(&[fake.url()]));
        following.until(|_, standing, _| matches!(standing, Standing::Fresh(_))).await;
        following
    }

    /// Waits until the source is as wanted.
    pub async fn until(&self, wanted: impl Fn(&Catalog, &Standing, &MarathonReport) -> bool) {
        let start = Instant::now();
        loop {
            let standing = self.freshness.standing(Instant::now());
            let (catalog, report) = (self.reader.latest(), self.status.report());
            if wanted(&catalog, &standing, &report) {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "{standing:?} {report:#?} {catalog:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until an app has so many tasks; -1 is none at all.
    pub async fn until_tasks(&self, id: &str, tasks: i32) {
        self.until(|catalog, _, _| tasks_of(catalog, id) == tasks).await;
    }

    pub fn tasks(&self, id: &str) -> i32 {
        tasks_of(&self.reader.latest(), id)
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

    /// Waits until the source is up to date.
    pub async fn until_fresh(&self) {
        self.until(|_, standing, _| matches!(standing, Standing::Fresh(_))).await;
    }
}

fn tasks_of(catalog: &Catalog, id: &str) -> i32 {
    let entry = catalog.apps.iter().find(|(app, _)| app.as_str() == id);
    entry.map_or(-1, |(_, entry)| i32::try_from(entry.tasks.len()).unwrap())
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}
