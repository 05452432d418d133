use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use waymark_catalog::{InUse, Output};
use waymark_model::{
    Agent, App, AppId, Catalog, CheckProtocol, HealthCheck, PathId, PortDefinition, Readiness,
    TaskId, TaskState, Version,
};

use super::*;
use crate::simulated::SimulatedExecutor;
use crate::{Accepted, Change, Refusal, Request};

/// Everything a control plane needs, in a folder that outlives it.
struct Place {
    folder: tempfile::TempDir,
    /// The same processes for every start, as on a real machine.
    executor: Mutex<Option<Arc<SimulatedExecutor>>>,
}

struct Started {
    running: Running,
    handle: Handle,
    reader: Reader,
    executor: Arc<SimulatedExecutor>,
}

fn config() -> ControlConfig {
    let agent = Agent {
        id: "uuid-S0".to_owned(),
        hostname: "localhost".to_owned(),
        address: [127, 0, 0, 1].into(),
    };
    ControlConfig { settings: Settings::new(agent), probes: waymark_health::Config::default() }
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap(), executor: Mutex::new(None) }
    }

    fn store(&self) -> Store {
        Store::open(self.folder.path()).unwrap()
    }

    fn start(&self) -> Started {
        self.start_with(self.store(), Outputs::default())
    }

    fn start_with(&self, store: Store, outputs: Outputs) -> Started {
        let plane = ControlPlane::open(config(), store, "f-0000").unwrap();
        let (sender, statuses) = mpsc::channel(64);
        let executor = SimulatedExecutor::new(sender, true);
        if let Some(before) = self.executor.lock().unwrap().replace(executor.clone()) {
            executor.take_over(&before);
        }
        let reader = plane.reader();
        assert_eq!(reader.latest().version, 0, "nothing is published before the start");
        let running = plane.start(executor.clone(), statuses, outputs);
        Started { handle: running.handle(), running, reader, executor }
    }
}

fn id(text: &str) -> AppId {
    PathId::parse(text).unwrap()
}

fn app(name: &str, instances: u32) -> App {
    let mut app = App::new(id(name));
    app.instances = instances;
    app.cmd = Some("run".to_owned());
    app.port_definitions = vec![PortDefinition::default()];
    app
}

fn checked(name: &str, instances: u32) -> App {
    let check = HealthCheck {
        protocol: CheckProtocol::Command,
        command: Some("true".to_owned()),
        grace_period: Duration::from_secs(60),
        interval: Duration::from_millis(100),
        timeout: Duration::from_millis(50),
        ..HealthCheck::default()
    };
    App { health_checks: vec![check], ..app(name, instances) }
}

async fn put(handle: &Handle, app: App) -> Result<Accepted, Refusal> {
    let apps = [(app.id.clone(), Some(app))].into();
    let change = Change { apps, ..Change::default() };
    handle.submit(Request::Change { change: Box::new(|_| Ok(change)), force: true }).await
}

/// Waits until it holds.
async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} has not come");
        sleep(Duration::from_millis(2)).await;
    }
}

fn ready(catalog: &Catalog, app: &str) -> Vec<TaskId> {
    let entry = catalog.apps.get(&id(app));
    let tasks = entry.iter().flat_map(|e| &e.tasks);
    tasks.filter(|t| t.readiness == Readiness::Ready).map(|t| t.id.clone()).collect()
}

async fn until_ready(started: &Started, app: &str, count: usize) -> Vec<TaskId> {
    let look = || {
        let tasks = ready(&started.reader.latest(), app);
        (tasks.len() == count && started.handle.state().deployments.is_empty()).then_some(tasks)
    };
    until(app, look).await
}

#[tokio::test]
async fn apps_run_are_scaled_and_stop() {
    let place = Place::new();
    let started = place.start();
    let mut events = started.handle.subscribe();
    let accepted = put(&started.handle, checked("/shop/web", 3)).await.unwrap();
    assert_eq!(accepted.apps[0].service_ports(), [10_000]);
    until_ready(&started, "/shop/web", 3).await;
    let version = started.handle.state().catalog_version;
    assert_eq!(version, started.reader.latest().version);
    put(&started.handle, checked("/shop/web", 1)).await.unwrap();
    until("the end of two", || (started.executor.len() == 1).then_some(())).await;
    let mut types = Vec::new();
    while let Ok(event) = events.try_recv() {
        types.push(event.event_type());
    }
    for wanted in ["group_change_success", "status_update_event", "health_status_changed_event"] {
        assert!(types.contains(&wanted), "{types:?}");
    }
    started.running.stop(false).await.unwrap();
    assert!(started.executor.is_empty());
    assert_eq!(put(&started.handle, app("/b", 1)).await.unwrap_err(), Refusal::Stopping);
    // The store is closed, and what was wanted still is.
    let started = place.start();
    until_ready(&started, "/shop/web", 1).await;
}

#[tokio::test]
async fn kept_tasks_are_adopted_and_dead_ones_replaced() {
    let place = Place::new();
    let started = place.start();
    put(&started.handle, checked("/a", 3)).await.unwrap();
    let before = until_ready(&started, "/a", 3).await;
    let version = started.reader.latest().version;
    started.running.stop(true).await.unwrap();
    assert_eq!(started.executor.len(), 3);
    started.executor.crash(&before[0], TaskState::Failed);

    let started = place.start();
    let first = until("the first catalog", || {
        let catalog = started.reader.latest();
        (catalog.version > 0).then_some(catalog)
    })
    .await;
    assert!(first.version > version, "versions grow over restarts");
    let known = ready(&first, "/a");
    assert!(before[1..].iter().all(|t| known.contains(t)), "known health counts");
    assert!(!known.contains(&before[0]), "the dead one is left out");
    let after = until_ready(&started, "/a", 3).await;
    assert!(before[1..].iter().all(|t| after.contains(t)));
}

#[tokio::test]
async fn a_killed_control_plane_goes_on_where_it_was() {
    let place = Place::new();
    let started = place.start();
    put(&started.handle, app("/a", 2)).await.unwrap();
    let before = until_ready(&started, "/a", 2).await;
    let framework = started.handle.state().framework_id.clone();
    // As kill -9: no chance to store anything more.
    started.running.task.abort();
    let _ = started.running.task.await;
    drop(started.handle);
    let store = until("the lock", || Store::open(place.folder.path()).ok()).await;
    let started = place.start_with(store, Outputs::default());
    assert_eq!(until_ready(&started, "/a", 2).await, before);
    assert_eq!(started.handle.state().framework_id, framework);
}

/// An output that is busy until told otherwise.
#[derive(Default)]
struct Busy {
    applied: AtomicU64,
    connections: AtomicU64,
}

impl Output for Busy {
    fn name(&self) -> &'static str {
        "busy"
    }
    fn applied(&self) -> Version {
        self.applied.load(Ordering::SeqCst)
    }
    fn in_use(&self, _: &TaskId) -> InUse {
        let connections = self.connections.load(Ordering::SeqCst) as usize;
        InUse { connections, lease_until: None }
    }
}

#[tokio::test]
async fn a_task_in_use_is_not_killed() {
    let place = Place::new();
    let output = Arc::new(Busy::default());
    let started = place.start_with(place.store(), Outputs::new(vec![output.clone()]));
    put(&started.handle, app("/a", 1)).await.unwrap();
    let task = until_ready(&started, "/a", 1).await.remove(0);
    output.connections.store(1, Ordering::SeqCst);
    put(&started.handle, app("/a", 0)).await.unwrap();
    let draining = until("the drain", || {
        let catalog = started.reader.latest();
        ready(&catalog, "/a").is_empty().then_some(catalog.version)
    })
    .await;
    // Connections end before the output has heard of the drain: that says nothing yet.
    output.connections.store(0, Ordering::SeqCst);
    sleep(Duration::from_millis(50)).await;
    assert_eq!(started.handle.state().task(&task).unwrap().state, TaskState::Running);
    output.applied.store(draining, Ordering::SeqCst);
    until("the end", || started.executor.is_empty().then_some(())).await;
}

#[tokio::test]
async fn changes_wait_for_nothing_but_a_working_store() {
    let place = Place::new();
    let faulty = crate::store::tests::Faulty::new();
    let backend = faulty.clone();
    let store = Store::open_on("memory", move || backend.clone()).unwrap();
    let started = place.start_with(store, Outputs::default());
    put(&started.handle, app("/a", 2)).await.unwrap();
    let tasks = until_ready(&started, "/a", 2).await;

    faulty.break_it(true);
    let refusal = put(&started.handle, app("/b", 1)).await.unwrap_err();
    assert!(matches!(&refusal, Refusal::Storage(why) if why.contains("broken")), "{refusal}");
    assert!(started.handle.state().app(&id("/b")).is_none());
    assert!(started.handle.state().store_failing.is_some());
    // A crash is seen and taken out of service; its replacement waits for the store.
    started.executor.crash(&tasks[0], TaskState::Lost);
    until("the loss", || (ready(&started.reader.latest(), "/a").len() == 1).then_some(())).await;
    sleep(Duration::from_millis(20)).await;
    assert_eq!(started.executor.len(), 1);
    // Killing is possible.
    let kill = Request::Kill { tasks: vec![tasks[1].clone()], scale: false, force: false };
    assert_eq!(started.handle.submit(kill).await.unwrap().killed.len(), 1);

    faulty.break_it(false);
    until_ready(&started, "/a", 2).await;
    assert!(started.handle.state().store_failing.is_none());
    put(&started.handle, app("/b", 1)).await.unwrap();
    until_ready(&started, "/b", 1).await;
}

#[tokio::test]
async fn unhealthy_tasks_leave_the_catalog() {
    let place = Place::new();
    let started = place.start();
    put(&started.handle, checked("/a", 2)).await.unwrap();
    let tasks = until_ready(&started, "/a", 2).await;
    started.executor.set_healthy(&tasks[0], false);
    let left = until_ready(&started, "/a", 1).await;
    assert_eq!(left, tasks[1..]);
    started.executor.set_healthy(&tasks[0], true);
    assert_eq!(until_ready(&started, "/a", 2).await, tasks);
}

#[tokio::test]
async fn another_process_can_act_while_it_pauses_and_then_it_goes_on() {
    let place = Place::new();
    let started = place.start();
    put(&started.handle, app("/a", 2)).await.unwrap();
    let tasks = until_ready(&started, "/a", 2).await;
    assert!(Store::open(place.folder.path()).is_err(), "it is ours");
    let paused = started.running.pause().await.unwrap();
    {
        let mut stored = place.store();
        let found = stored.load().unwrap();
        assert_eq!(found.tasks.len(), 2, "everything is stored");
    }
    let handle = started.handle.clone();
    let mut waiting = tokio::spawn(async move { put(&handle, app("/a", 3)).await });
    let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
    assert!(early.is_err() && started.executor.len() == 2, "nothing is done");
    paused.resume();
    waiting.await.unwrap().unwrap();
    let more = until_ready(&started, "/a", 3).await;
    assert!(tasks.iter().all(|task| more.contains(task)));
    // Nobody goes on.
    drop(started.running.pause().await.unwrap());
    started.handle.ended().await;
    assert_eq!(place.store().load().unwrap().tasks.len(), 3);
    started.running.stop(false).await.unwrap();
    assert_eq!(started.executor.len(), 3, "it does nothing any more");
}
