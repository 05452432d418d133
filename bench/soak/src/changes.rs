//! Changes of every kind that a catalog has, drawn from one seed.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use waymark_model::{
    Agent, AppEntry, AppId, Endpoint, PathId, Protocol, Readiness, Service, TaskEntry, TaskId,
};

/// The first service port.
const FIRST_PORT: u16 = 20_000;

/// One app's change, as a catalog is told of it.
type Change = (AppId, Option<AppEntry>);

/// Apps, and what happens to them.
pub struct Changes {
    random: SmallRng,
    apps: Vec<Option<AppEntry>>,
    agent: Arc<Agent>,
    tasks: u64,
}

impl Changes {
    /// So many apps with two tasks each.
    pub fn new(count: usize) -> Changes {
        let address = Ipv4Addr::LOCALHOST.into();
        let agent = Arc::new(Agent { id: "S0".into(), hostname: "localhost".into(), address });
        let mut changes =
            Changes { random: SmallRng::seed_from_u64(1), apps: Vec::new(), agent, tasks: 0 };
        for n in 0..count {
            let app = changes.app(n);
            changes.apps.push(Some(app));
        }
        changes
    }

    /// Every app, as it is.
    pub fn all(&self) -> Vec<Change> {
        self.apps.iter().flatten().map(|app| (app.id.clone(), Some(app.clone()))).collect()
    }

    /// A service port that an app may have.
    pub fn a_port(&mut self) -> u16 {
        let n = self.random.random_range(0..self.apps.len().max(1));
        port(n)
    }

    /// The next change: a task comes, goes, drains or falls ill; labels change, for the worse too;
    /// an app goes or comes back.
    pub fn next(&mut self) -> Vec<Change> {
        let n = self.random.random_range(0..self.apps.len().max(1));
        let kind = self.random.random_range(0..100);
        let Some(mut app) = self.apps.get_mut(n).and_then(Option::take) else {
            let app = self.app(n);
            return self.put(n, Some(app));
        };
        match kind {
            0..40 => {
                let task = self.task(n);
                app.tasks.push(task);
                if app.tasks.len() > 4 {
                    app.tasks.remove(0);
                }
            }
            40..80 => {
                let to = [Readiness::Ready, Readiness::Unhealthy, Readiness::Draining];
                let to = to.get(kind % to.len()).copied().unwrap_or(Readiness::Ready);
                if let Some(first) = app.tasks.first_mut() {
                    *first = Arc::new(TaskEntry { readiness: to, ..TaskEntry::clone(first) });
                }
            }
            80..95 => app.labels = self.labels(n),
            _ => return self.put_gone(n, app.id),
        }
        self.put(n, Some(app))
    }

    fn put(&mut self, n: usize, app: Option<AppEntry>) -> Vec<Change> {
        let change = app.iter().map(|app| (app.id.clone(), Some(app.clone()))).collect();
        if let Some(place) = self.apps.get_mut(n) {
            *place = app;
        }
        change
    }

    fn put_gone(&mut self, n: usize, id: AppId) -> Vec<Change> {
        self.put(n, None);
        vec![(id, None)]
    }

    fn app(&mut self, n: usize) -> AppEntry {
        let id = PathId::parse(&format!("/soak/app-{n}")).unwrap_or_else(|_| PathId::root());
        let service = Service {
            index: 0,
            port: port(n),
            protocol: Protocol::Tcp,
            name: None,
            labels: BTreeMap::new(),
        };
        AppEntry {
            services: vec![service],
            tasks: vec![self.task(n), self.task(n)],
            labels: self.labels(n),
            ..AppEntry::new(id, "marathon")
        }
    }

    /// A task that nobody has seen before.
    fn task(&mut self, n: usize) -> Arc<TaskEntry> {
        self.tasks += 1;
        let port = 1 + u16::try_from(self.tasks % 10_000).unwrap_or(0);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Arc::new(TaskEntry {
            id: TaskId::from_text(&format!("soak_app-{n}.{}", self.tasks)),
            agent: self.agent.clone(),
            addresses: Vec::new(),
            host_ports: vec![port],
            discovery: Vec::new(),
            endpoints: vec![Endpoint { service: 0, address }],
            readiness: Readiness::Ready,
        })
    }

    fn labels(&mut self, n: usize) -> BTreeMap<String, String> {
        let version = self.random.random_range(0..1_000);
        let sets: [&[(&str, String)]; 5] = [
            &[("HAPROXY_0_VHOST", format!("app-{n}.test"))],
            &[("HAPROXY_0_VHOST", format!("v{version}.test,*.v{version}.test"))],
            &[("HAPROXY_0_VHOST", "shared.test".into()), ("HAPROXY_0_PATH", format!("/{n}"))],
            &[("HAPROXY_DEPLOYMENT_GROUP", format!("/soak/group-{}", n / 2))],
            &[("HAPROXY_0_BACKEND_WEIGHT", "no number".into())],
        ];
        let set = sets.get(self.random.random_range(0..sets.len())).copied().unwrap_or_default();
        set.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }
}

fn port(n: usize) -> u16 {
    FIRST_PORT + u16::try_from(n % 10_000).unwrap_or(0)
}
