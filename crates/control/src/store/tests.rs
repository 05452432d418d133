use std::fs;
use std::io;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use waymark_model::{
    Agent, App, Group, HealthCheck, HealthResult, PathId, PortDefinition, PortReference, Task,
    TaskId, TaskState, Timestamp,
};

use super::*;
use crate::{Action, ActionKind, Deployment, DeploymentId, Failure, Step};

/// A storage in memory that can be full or broken, and outlives its database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faulty {
    bytes: Arc<Mutex<Vec<u8>>>,
    limit: Arc<AtomicU64>,
    broken: Arc<AtomicBool>,
}

impl Faulty {
    pub(crate) fn new() -> Faulty {
        let faulty = Faulty::default();
        faulty.limit.store(u64::MAX, Ordering::SeqCst);
        faulty
    }

    /// From now on every access fails, or none.
    pub(crate) fn break_it(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    fn check(&self, end: u64) -> io::Result<()> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(io::Error::other("broken"));
        }
        if end > self.limit.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes.lock().unwrap();
        let from = offset as usize;
        let part = bytes.get(from..from + out.len());
        out.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check(len)?;
        self.bytes.lock().unwrap().resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check(0)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check(0)?;
        let mut bytes = self.bytes.lock().unwrap();
        bytes[offset as usize..offset as usize + data.len()].copy_from_slice(data);
        Ok(())
    }
}

fn id(text: &str) -> PathId {
    PathId::parse(text).unwrap()
}

fn app(name: &str, version: u64) -> Arc<App> {
    let mut app = App::new(id(name));
    app.cmd = Some("sleep 1".to_owned());
    app.port_definitions = vec![PortDefinition { port: 10_000, ..PortDefinition::default() }];
    // As the API writes it out for an app with ports.
    let port = Some(PortReference::Index(0));
    app.health_checks = vec![HealthCheck { port, ..HealthCheck::default() }];
    app.version = Timestamp(version);
    app.last_scaling_at = Timestamp(version);
    app.last_config_change_at = Timestamp(version - 1);
    Arc::new(app)
}

fn put(app: &Arc<App>, referred: &[u64]) -> (Key, Record) {
    let referred = referred.iter().map(|v| Timestamp(*v)).collect();
    (Key::App(app.id.clone()), Record::App { current: Some(app.clone()), referred })
}

fn removed(name: &str, referred: &[u64]) -> (Key, Record) {
    let referred = referred.iter().map(|v| Timestamp(*v)).collect();
    (Key::App(id(name)), Record::App { current: None, referred })
}

fn task(name: &str, app: &Arc<App>) -> Arc<Task> {
    let health = HealthResult {
        alive: true,
        consecutive_failures: 2,
        first_success: Some(Timestamp(5)),
        last_success: Some(Timestamp(6)),
        last_failure: None,
        last_failure_cause: Some("status 503".to_owned()),
    };
    Arc::new(Task {
        id: TaskId::from_text(name),
        app: app.clone(),
        // The loader leaves the machine to the core.
        agent: Arc::new(Agent {
            id: String::new(),
            hostname: String::new(),
            address: [127, 0, 0, 1].into(),
        }),
        state: TaskState::Running,
        host_ports: vec![Some(31_000), None],
        addresses: vec![[10, 0, 0, 1].into()],
        staged_at: Timestamp(1),
        started_at: Some(Timestamp(2)),
        health: vec![Some(health), None],
        ready: true,
        draining_since: Some(Timestamp(9)),
    })
}

fn task_record(task: &Arc<Task>) -> (Key, Record) {
    (Key::Task(task.id.clone()), Record::Task(Some(task.clone())))
}

#[test]
fn everything_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let old = app("/a/b", 10);
    let new = app("/a/b", 20);
    let task = task("a_b.1", &old);
    let deployment = Arc::new(Deployment {
        id: DeploymentId::from("d-1"),
        version: Timestamp(20),
        steps: vec![Step {
            actions: vec![
                Action { kind: ActionKind::Restart, app: id("/a/b") },
                Action { kind: ActionKind::Stop, app: id("/x") },
            ],
        }],
        current: 0,
        affected: [id("/a/b"), id("/x")].into_iter().collect(),
        before: [(id("/a/b"), Some(old.clone())), (id("/x"), None)].into_iter().collect(),
    });
    let group = Arc::new(Group { dependencies: vec![id("/db")], version: Timestamp(20) });
    let failure = Arc::new(Failure {
        task: TaskId::from_text("a_b.0"),
        host: "h".to_owned(),
        agent: "S0".to_owned(),
        state: TaskState::Failed,
        message: "exited with status 1".to_owned(),
        at: Timestamp(7),
        version: Timestamp(10),
    });

    let mut store = Store::open(folder.path()).unwrap();
    assert_eq!(store.load().unwrap().apps.len(), 0);
    store.set_framework_id("f-0000").unwrap();
    store.raise_version_ceiling(700).unwrap();
    store
        .commit(&[
            (Key::Root, Record::Root(Timestamp(20))),
            put(&new, &[10]),
            (Key::Group(id("/a")), Record::Group(Some(group.clone()))),
            task_record(&task),
            (Key::Deployment(deployment.id.clone()), Record::Deployment(Some(deployment.clone()))),
            (Key::Failure(id("/a/b")), Record::Failure(Some(failure.clone()))),
        ])
        .unwrap();
    drop(store);

    let mut store = Store::open(folder.path()).unwrap();
    assert_eq!(store.version_ceiling().unwrap(), 700);
    let stored = store.load().unwrap();
    assert_eq!(stored.framework_id, "f-0000");
    assert_eq!(stored.root_version, Timestamp(20));
    assert_eq!(stored.apps, [new]);
    assert_eq!(stored.groups, [(id("/a"), group)]);
    assert_eq!(stored.tasks, std::slice::from_ref(&task));
    assert_eq!(stored.deployments, std::slice::from_ref(&deployment));
    assert_eq!(stored.failures, [(id("/a/b"), failure)]);

    store
        .commit(&[
            removed("/a/b", &[]),
            (Key::Group(id("/a")), Record::Group(None)),
            (Key::Task(task.id.clone()), Record::Task(None)),
            (Key::Deployment(deployment.id.clone()), Record::Deployment(None)),
            (Key::Failure(id("/a/b")), Record::Failure(None)),
        ])
        .unwrap();
    let stored = store.load().unwrap();
    assert!(stored.apps.is_empty() && stored.groups.is_empty() && stored.tasks.is_empty());
    assert!(stored.deployments.is_empty() && stored.failures.is_empty());
}

fn versions(store: &mut Store, name: &str) -> Vec<u64> {
    use redb::ReadableTable;
    let transaction = store.database().unwrap().begin_read().unwrap();
    let table = transaction.open_table(VERSIONS).unwrap();
    let rows = table.iter().unwrap().map(|row| row.unwrap().0);
    rows.filter(|key| key.value().0 == name).map(|key| key.value().1).collect()
}

#[test]
fn old_versions_are_forgotten_unless_referred_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path()).unwrap();
    for version in 1..=40 {
        store.commit(&[put(&app("/a", version), &[3]), put(&app("/b", version), &[])]).unwrap();
    }
    let mut want: Vec<u64> = (16..=40).collect();
    assert_eq!(versions(&mut store, "/b"), want);
    want.insert(0, 3);
    assert_eq!(versions(&mut store, "/a"), want);
    // A task of a version that was put and replaced within one transaction brings it along.
    let between = app("/a", 41);
    store.commit(&[task_record(&task("a.1", &between))]).unwrap();
    store.commit(&[removed("/a", &[41])]).unwrap();
    assert_eq!(versions(&mut store, "/a"), [41]);
    assert_eq!(store.load().unwrap().tasks[0].app, between);
    store.commit(&[removed("/a", &[])]).unwrap();
    assert!(versions(&mut store, "/a").is_empty());
    assert_eq!(versions(&mut store, "/b").len(), 25);
}

/// Fills the store until it fails, and returns what is in it for certain.
fn fill(store: &mut Store) -> (u64, StoreError) {
    for version in 1..100_000 {
        if let Err(error) = store.commit(&[put(&app("/a", version), &[])]) {
            return (version - 1, error);
        }
    }
    panic!("it never fails")
}

/// Works after a failure, with everything that had been stored.
fn works_again(store: &mut Store, last: u64) {
    let next = app("/a", last + 1000);
    store.commit(&[put(&next, &[])]).unwrap();
    assert_eq!(store.load().unwrap().apps, [next]);
    assert!(versions(store, "/a").contains(&last));
}

#[test]
fn a_full_storage_works_again_when_there_is_room() {
    let faulty = Faulty::new();
    let backend = faulty.clone();
    let mut store = Store::open_on("memory", move || backend.clone()).unwrap();
    store.commit(&[put(&app("/a", 1), &[])]).unwrap();
    faulty.limit.store(faulty.len().unwrap(), Ordering::SeqCst);
    // The history is bounded, so one app alone cannot fill it.
    let names: Vec<Arc<App>> = (0..20_000).map(|n| app(&format!("/a{n}"), 2)).collect();
    let many: Vec<_> = names.iter().map(|a| put(a, &[])).collect();
    let error = store.commit(&many).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert!(store.commit(&many).is_err(), "it fails as long as it is full");
    faulty.limit.store(u64::MAX, Ordering::SeqCst);
    works_again(&mut store, 1);
}

#[test]
fn a_broken_storage_works_again_when_repaired() {
    let faulty = Faulty::new();
    let backend = faulty.clone();
    let mut store = Store::open_on("memory", move || backend.clone()).unwrap();
    store.commit(&[put(&app("/a", 1), &[])]).unwrap();
    faulty.break_it(true);
    for _ in 0..3 {
        assert!(matches!(fill(&mut store), (0, StoreError::Failed { .. })));
    }
    faulty.break_it(false);
    works_again(&mut store, 1);
}

/// A small file system of its own; `None` when this process may not mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Option<SmallDisk> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"])
            .arg(folder.path())
            .output();
        mount.is_ok_and(|m| m.status.success()).then(|| SmallDisk(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_works_again_when_there_is_room() {
    let Some(disk) = SmallDisk::new() else {
        eprintln!("skipped: mounting needs root");
        return;
    };
    let mut store = Store::open(disk.0.path()).unwrap();
    store.commit(&[put(&app("/a", 1), &[])]).unwrap();
    // Takes all the room there is; the file ends up as large as fits.
    let ballast = disk.0.path().join("ballast");
    let _ = fs::write(&ballast, vec![1u8; 4 << 20]);
    let mut last = 1;
    let error = loop {
        let many: Vec<_> = (0..100).map(|n| put(&app(&format!("/b{n}"), last + 1), &[])).collect();
        match store.commit(&many).and_then(|()| store.commit(&[put(&app("/a", last + 1), &[])])) {
            Ok(()) => last += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert!(store.commit(&[put(&app("/a", 5_000), &[])]).is_err());
    fs::remove_file(ballast).unwrap();
    works_again(&mut store, last);
}

#[test]
fn files_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let first = Store::open(folder.path()).unwrap();
    let error = Store::open(folder.path()).err().unwrap();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    drop(first);

    let mut store = Store::open(folder.path()).unwrap();
    write::meta(store.database().unwrap(), META_FORMAT, "2").unwrap();
    drop(store);
    let error = Store::open(folder.path()).err().unwrap();
    assert!(matches!(error, StoreError::Newer { found: 2, .. }), "{error}");
    assert!(error.to_string().contains(FILE_NAME), "{error}");

    let file = folder.path().join(FILE_NAME);
    fs::write(&file, b"this is not a database, but it is long enough to be looked at").unwrap();
    let error = Store::open(folder.path()).err().unwrap();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");

    let error = Store::open(&folder.path().join("missing")).err().unwrap();
    assert!(matches!(error, StoreError::Failed { .. }), "{error}");
}

#[test]
fn a_record_that_makes_no_sense() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path()).unwrap();
    let transaction = store.database().unwrap().begin_write().unwrap();
    transaction.open_table(TASKS).unwrap().insert("a.1", "{").unwrap();
    transaction.commit().unwrap();
    let error = store.load().unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("task a.1"), "{error}");
}
